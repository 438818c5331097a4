"""Several runs of lspci in one text: the last reading of each field counts, and what changed is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from boxcheck.decode.lspci_types import LspciChange, LspciFunction
from boxcheck.model import Scalar

_WATCHED = (
    "width", "speed_gts", "max_width", "target_speed_gts", "driver", "correctable_status", "uncorrectable_status",
    "dpc_triggered", "presence", "dll_active", "secondary_bus", "iommu_group",
)  # fmt: skip
"""What a second run is made for. Addresses and interrupts change at each boot and say nothing."""
_READ_ALIVE = frozenset((
    "line", "bdf", "name", "class_name", "class_code", "vendor", "device", "subsystem_vendor", "subsystem_device",
    "physical_slot", "numa_node", "iommu_group", "driver", "modules", "tree_parent", "secondary_bus",
    "subordinate_bus",
))  # fmt: skip
"""What stays known of a device that has since stopped answering."""


def merged(readings: Sequence[LspciFunction]) -> LspciFunction:
    """One function out of its readings, in order."""
    readings = _of_one_device(readings)
    if len(readings) == 1:
        return readings[0]
    last = readings[-1]
    fields: dict[str, Any] = {}
    for name in LspciFunction.__struct_fields__:
        value = getattr(last, name)
        if _empty(name, value) and (not last.gone or name in _READ_ALIVE):
            earlier = (getattr(reading, name) for reading in reversed(readings[:-1]))
            value = next((known for known in earlier if not _empty(name, known)), value)
        fields[name] = value
    if last.gone and readings[0].revision not in (None, 0xFF):
        fields["revision"] = readings[0].revision
    # A run that says less (lspci after lspci -vvv) proves no change; one that answers again does.
    fields |= {"gone": last.gone, "line": last.line, "detailed": any(reading.detailed for reading in readings),
               "denied": all(reading.denied for reading in readings if reading.denied or reading.detailed)
               and any(reading.denied for reading in readings)}
    return msgspec.structs.replace(last, **fields)


def _ids(function: LspciFunction) -> tuple[int, int] | None:
    if function.vendor is None or function.device is None:
        return None
    return function.vendor, function.device


def _of_one_device(readings: Sequence[LspciFunction]) -> Sequence[LspciFunction]:
    """Without the readings before another device came to this address: another machine, or a card swapped."""
    last = _ids(readings[-1])
    start = 0
    for place, reading in enumerate(readings):
        ids = _ids(reading)
        if last is not None and ids is not None and ids != last and not reading.gone:
            start = place + 1
    return readings[start:]


_UNTOLD = {"regions": (), "modules": (), "disagrees": (), "hex_bytes": 0}
"""Fields that are not None when nothing was printed. Of the others, () and False are readings."""


def _empty(name: str, value: object) -> bool:
    return value is None or (name in _UNTOLD and value == _UNTOLD[name])


def _shown(value: Any) -> Scalar:
    return ", ".join(map(str, value)) or "none" if isinstance(value, tuple) else value


def changes_of(readings: Sequence[LspciFunction]) -> list[LspciChange]:
    """What differs between the first reading that has a field and the last one."""
    last = readings[-1]
    assert last.bdf is not None
    before = next((ids for reading in readings if (ids := _ids(reading)) is not None and not reading.gone), None)
    if len(_of_one_device(readings)) < len(readings) and before is not None:
        shown = ["{:04x}:{:04x}".format(*ids) for ids in (before, _ids(last) or before)]
        return [LspciChange(bdf=last.bdf, field="device", before=shown[0], after=shown[1])]
    if last.gone != readings[0].gone:
        return [LspciChange(bdf=last.bdf, field="gone", before=readings[0].gone, after=last.gone)]
    found = []
    for name in _WATCHED:
        values = [getattr(reading, name) for reading in readings if getattr(reading, name) is not None]
        if len(values) > 1 and values[0] != values[-1]:
            found.append(LspciChange(bdf=last.bdf, field=name, before=_shown(values[0]), after=_shown(values[-1])))
    return found

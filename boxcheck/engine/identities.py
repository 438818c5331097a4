"""Serial numbers and UUIDs of devices, where their runtime told none: by address, from what doctor's probes read.

CUDA and HIP tell a UUID and no serial number, OpenCL neither. A run keeps both with its devices (`serial`, `uuid` in
the store, names that redaction knows), so that a card is the same card in another slot, and a report names it.

By hand nvidia-smi --query-gpu=pci.bus_id,serial,uuid --format=csv; cat /sys/bus/pci/devices/*/{serial_number,unique_id}
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from boxcheck.engine.inspect import Facts
from boxcheck.gpu import GpuInfo
from boxcheck.model import Unread
from boxcheck.probes.amdgpu import Amdgpu
from boxcheck.probes.gpus import Gpus
from boxcheck.probes.nvml import Nvml


def identified(gpus: Sequence[GpuInfo], facts: Facts) -> tuple[GpuInfo, ...]:
    """The devices with what was read of them; what a runtime told itself stays."""
    known = numbers_in(facts)
    return tuple(_filled(info, *known.get(info.bdf or "", (None, None))) for info in gpus)


def _filled(info: GpuInfo, serial: str | None, uuid: str | None) -> GpuInfo:
    if not info.is_gpu or (serial is None and uuid is None):
        return info
    return msgspec.structs.replace(info, serial=info.serial or serial, uuid=info.uuid or uuid)


def with_cards(gpus: Sequence[GpuInfo], facts: Facts) -> tuple[GpuInfo, ...]:
    """The devices with the id and revision of their cards, where the worker could not read these: without an id any
    rate would be possible."""
    found = facts.of(Gpus)
    cards = {} if isinstance(found, Unread) else {str(one.bdf): one for one in found.gpus}
    return tuple(
        msgspec.structs.replace(info, pci_id=cards[info.bdf].pci_id, pci_revision=cards[info.bdf].revision)
        if info.is_gpu and info.pci_id is None and info.bdf in cards else info for info in gpus)


def numbers_in(facts: Facts) -> dict[str, tuple[str | None, str | None]]:
    """Serial number and UUID by address."""
    found: dict[str, tuple[str | None, str | None]] = {}
    nvml, amdgpu = facts.of(Nvml), facts.of(Amdgpu)
    if not isinstance(nvml, Unread) and not isinstance(nvml.gpus, Unread):
        found |= {one.bdf: (_number(one.serial), _number(one.uuid)) for one in nvml.gpus if one.bdf is not None}
    if not isinstance(amdgpu, Unread):
        for card in amdgpu.cards.values():
            unique = _number(card.unique_id)
            # As rocminfo and HIP print it (boxcheck.gpu.hip): 16 digits.
            uuid = f"GPU-{unique.lower()}" if unique and re.fullmatch(r"[0-9a-fA-F]{16}", unique) else None
            found[card.bdf] = (_number(card.serial), uuid)
    return found


def _number(value: str | Unread | None) -> str | None:
    """None where it was not read, and for what stands for none: `N/A`, zeros. Cards for the desk have no serial number
    that their driver knows."""
    if value is None or isinstance(value, Unread):
        return None
    return value if re.search(r"[1-9a-fA-F]", value) and re.search(r"\d", value) else None

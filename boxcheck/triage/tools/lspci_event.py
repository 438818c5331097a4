"""Events out of lspci, with the words that several of its judgements share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from boxcheck.decode.klog.events import Cause, Event, Severity
from boxcheck.decode.lspci import LspciFunction
from boxcheck.triage.tools.lspci_scene import Gpu, Scene
from boxcheck.triage.tools.steps import RESEAT_CONTACTS

GIB = 1 << 30
MIB = 1 << 20
UNDER_LOAD = (
    "read it while the GPU works: `nvidia-smi -q -d PCIE`, or `sudo lspci -vv -s {bdf} | grep LnkSta`, during gpu_burn "
    "or the real job")
RESEAT = (
    RESEAT_CONTACTS,
    "still so: swap card and riser one at a time to tell them apart",
)


def event(
    function: LspciFunction, kind: str, severity: Severity, cause: Cause | None, says: str, **more: Any
) -> Event:
    """An event about a function. `line` is its offset; the reader turns it into the line of the file."""
    fields: dict[str, Any] = {"bdf": function.bdf, "line": function.line, **more}
    return Event(kind=kind, severity=severity, cause=cause, says=says, **fields)


def size(size_bytes: int) -> str:
    """`256 MiB`, `32 GiB`."""
    if size_bytes >= GIB:
        return f"{size_bytes / GIB:g} GiB"
    return f"{size_bytes / MIB:g} MiB" if size_bytes >= MIB else f"{size_bytes} bytes"


def listed(items: Iterable[object], most: int = 6) -> str:
    """`a, b and c`; with more than `most`, the rest is a number."""
    names = [str(item) for item in items]
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else "none"


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


_PORTS = {"root-port": "root port", "upstream-port": "switch", "downstream-port": "switch port"}


def kind_of(function: LspciFunction) -> str:
    """What a function is, for people: `NVMe drive`, `network card`, `root port`, `device`."""
    if function.port_type in _PORTS:
        return _PORTS[function.port_type]
    code = (function.class_code or 0) >> 8
    words = {0x0108: "NVMe drive", 0x0604: "bridge"}
    return words.get(code) or {0x02: "network card", 0x01: "storage controller", 0x03: "graphics device"}.get(
        code >> 8, "device")


def called(scene: Scene, function: LspciFunction) -> str:
    """`the RTX 4090`, `the NVMe drive`, `a device` where the text names none. Who shows an event shows its address."""
    if function.bdf is None:
        return "a device"
    gpu = scene.gpu_at.get(function.bdf)
    return f"the {gpu.name}" if gpu is not None else f"the {kind_of(function)}"


def gpus_text(gpus: tuple[Gpu, ...]) -> str:
    """`the RTX 4090`, `4 GPUs`."""
    return f"the {gpus[0].name}" if len(gpus) == 1 else f"{len(gpus)} GPUs"

"""Which modules of `stress run all` have something to work on here. One that is named is run and says itself why not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from boxcheck.gpu import GpuError, GpuInfo
from boxcheck.host import Host
from boxcheck.registry import STRESSES


def without_work(
    modules: Sequence[str], gpus: Sequence[GpuInfo], options: Mapping[str, str], host: Host
) -> dict[str, str]:
    """Modules that have nothing to work on, and why."""
    alike = max(Counter(info.backend for info in gpus).values(), default=0)
    found: dict[str, str] = {}
    for name in modules:
        module = STRESSES[name]
        if module.scope not in ("host", "each") and alike < module.peers:
            found[name] = f"it needs {module.peers} GPUs of one runtime, {alike or 'none'} {_are(alike)} here"
        elif name == "nvme" and not options.get("files") and not options.get("drives") and _no_drive(host):
            found[name] = "there is no NVMe drive on PCIe"
    return found


def _are(number: int) -> str:
    return "is" if number <= 1 else "are"


def _no_drive(host: Host) -> bool:
    """Whether it is certain that there is none."""
    from boxcheck.stress.host_nvme_targets import drives

    try:
        return not drives(host)
    except GpuError:  # they cannot be listed: the module says so
        return False

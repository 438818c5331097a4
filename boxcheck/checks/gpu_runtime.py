"""Whether a driver failed to put a GPU to sleep or to wake it."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.checks.places import wanted_gpus, where
from boxcheck.checks.steps import REVIVE
from boxcheck.checks.wording import not_read
from boxcheck.model import BOX, Finding, Quantity, Unread
from boxcheck.probes.gpu_runtime import GpuRuntime
from boxcheck.probes.gpus import Gpus
from boxcheck.probes.links import Links
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, passed, skipped

STATES = frozenset({"active", "suspended", "suspending", "resuming", "unsupported"})
"""Without `error`; Documentation/ABI/testing/sysfs-devices-power."""


@check("driver.runtime-error", reads=[Gpus, GpuRuntime, Links])
def runtime_error(gpus: Gpus, runtime: GpuRuntime, links: Links, want: Profile) -> Iterator[Finding]:
    """The driver failed to put a GPU to sleep or to wake it up.

    Why it matters: the kernel then leaves the device as it is, half asleep in most cases: programs hang on it, and its
    registers and sensors may be stale.
    What to do: power off and on; then keep the GPU awake: `echo on | sudo tee
    /sys/bus/pci/devices/<gpu>/power/control`, amdgpu.runpm=0 on the kernel command line for amdgpu.
    Not a fault: a GPU that sleeps (`suspended`), or whose driver does not support it.
    By hand: cat /sys/bus/pci/devices/<gpu>/power/runtime_status
    """
    if gpus.unreadable is not None:
        yield not_read(BOX, gpus.unreadable)
        return
    judged = wanted_gpus(gpus, want)
    if not judged:
        yield skipped(BOX, "no GPU is here that the profile is about")
    for gpu in judged:
        status = runtime.status.get(gpu.bdf)
        evidence = (f"/sys/bus/pci/devices/{gpu.bdf}/power/runtime_status",)
        link = links.slot_link(gpu.bdf)
        if isinstance(status, Unread):
            yield not_read(gpu.subject, status, evidence=evidence)
        elif status is None:
            yield not_read(gpu.subject, Unread(f"{evidence[0]}: empty", "malformed"), evidence=evidence)
        elif status == "error":
            yield failed(
                gpu.subject, "runtime power management is in the state `error`", measured=Quantity(status),
                evidence=evidence, cause=f"gpu-fault:{gpu.bdf}", where=where(link, gpu, links, want) if link else None,
                title=f"{gpu.slot or gpu.subject.name}: the GPU did not go to sleep or wake up as it was told",
                help=("sudo dmesg | grep -iE 'suspend|resume|D3' | tail  says which of the two failed", REVIVE))
        elif status not in STATES:
            yield not_read(gpu.subject, Unread(f"{evidence[0]}: {status!r} is no state that is known", "malformed"),
                           evidence=evidence)
        else:
            yield passed(gpu.subject, status, measured=Quantity(status), evidence=evidence)

"""Whether every GPU that the PCI bus shows is one that a runtime can compute on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from boxcheck.gpu import GpuInfo
from boxcheck.model import BOX, Finding
from boxcheck.probes.gpus import Gpu, Gpus
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, passed, skipped, unknown
from boxcheck.stress import Trouble

RUNTIMES = {"10de": ("cuda", "opencl"), "1002": ("hip", "opencl"), "8086": ("opencl",)}
"""By PCI vendor: which backends can drive its GPUs."""


class RuntimeGpus(msgspec.Struct, frozen=True):
    """What the runtimes show, or why one shows nothing."""

    gpus: tuple[GpuInfo, ...]
    troubles: Mapping[str, Trouble]
    """By backend."""
    asked: tuple[str, ...]
    """Backends that were asked."""


@check("gpu.in-runtime", reads=[Gpus, RuntimeGpus], stress="*")
def in_runtime(gpus: Gpus, runtime: RuntimeGpus, want: Profile) -> Iterator[Finding]:
    """A GPU is on the PCI bus, and no runtime can compute on it.

    Why it matters: what cannot be driven was not stressed; the owner's programs will not see the card either.
    What to do: what the runtime says, below; then boxcheck doctor driver kfd nodes (ends in PARTIAL).
    Not a fault: the graphics of the processor beside cards that compute; a GPU bound to vfio for a virtual machine.
    Where only the processor was asked for (--backend cpu) and the profile has GPUs, it is unknown.
    By hand: nvidia-smi -L; rocminfo | grep gfx; clinfo -l
    """
    expected = want.gpus.count
    if runtime.asked == ("cpu",):
        yield _only_processors(gpus, expected, want)
        return
    shown = {info.bdf for info in runtime.gpus if info.bdf is not None}
    cards = [gpu for gpu in gpus.gpus if not gpu.integrated] or list(gpus.gpus)
    if not cards and not expected:
        yield skipped(BOX, "the PCI bus shows no GPU")
    if expected is not None and len(cards) < expected:
        here = f"{len(cards)} GPU{'' if len(cards) == 1 else 's'}" if cards else "no GPU"
        yield failed(
            BOX, f"{here} {'is' if len(cards) < 2 else 'are'} on the bus, the profile has {expected}",
            cause="gpu-missing:",
            title="a GPU is missing", where="the box", help=("boxcheck doctor inventory pcie  (ends in PARTIAL)",))
    for gpu in cards:
        if not set(RUNTIMES.get(gpu.vendor, ())) & set(runtime.asked):
            yield unknown(gpu.subject, f"only {' and '.join(runtime.asked)} was asked, which does not drive it")
        elif gpu.bdf in shown:
            yield passed(gpu.subject, "a runtime shows it")
        elif gpu.driver == "vfio-pci":
            yield unknown(gpu.subject, "it is bound to vfio-pci, for a virtual machine")
        else:
            yield _missing(gpu, runtime)


def _only_processors(gpus: Gpus, expected: int | None, want: Profile) -> Finding:
    """Nobody asked for the GPUs: no pass of a box that is one for its GPUs."""
    if not expected:
        return skipped(BOX, "only the processor was asked for")
    here = ", ".join(str(gpu.subject) for gpu in gpus.gpus) or "none"
    return unknown(
        BOX, f"only the processor worked; the profile {want.name} has {expected} GPUs, on the bus: {here}",
        help=("leave out --backend cpu, so that the GPUs work",))


def _missing(gpu: Gpu, runtime: RuntimeGpus) -> Finding:
    why = [
        runtime.troubles[name] for name in RUNTIMES.get(gpu.vendor, ()) if name in runtime.troubles
        and name in runtime.asked]
    binding = bool(why) and all(one.kind == "no-binding" for one in why if one.says)
    says = "; ".join(dict.fromkeys(one.says for one in why)) or "its runtime shows other GPUs, and not this one"
    help = tuple(dict.fromkeys(one.help for one in why if one.help))
    if binding:
        return unknown(gpu.subject, f"no runtime was asked: {says}", help=help)
    return failed(
        gpu.subject, f"no runtime shows it: {says}", cause=f"gpu-runtime:{gpu.bdf}", where=str(gpu.subject),
        title=f"{gpu.subject}: on the bus, and in no runtime",
        help=(*help, "boxcheck doctor driver kfd nodes  (ends in PARTIAL)"))

"""Which of the three Strix Halo GPUs it is: one PCI id covers them, and their compute units tell them apart."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.checks.places import wanted_gpus
from boxcheck.checks.strix_memory import NO_DRIVER, wanted
from boxcheck.checks.wording import broken_bound, judged, not_read
from boxcheck.model import BOX, Finding, Unread
from boxcheck.probes.gpus import Gpus
from boxcheck.probes.kfd import NODES, Kfd
from boxcheck.profile import Profile
from boxcheck.registry import check, limit, skipped, unknown

UNITS = limit(
    "strix.compute_units", int, "ge", "units", "Compute units of the processor's GPU: 40 of an 8060S, 32 of an 8050S, "
    "16 of an 8040S.", low=1, high=1024)


@check("strix.compute-units", reads=[Gpus, Kfd], limits=[UNITS])
def compute_units(gpus: Gpus, kfd: Kfd, want: Profile) -> Iterator[Finding]:
    """The GPU has fewer compute units than the one that this box is built with.

    Why it matters: Radeon 8060S, 8050S and 8040S share one PCI id; the second has four fifths of the first's compute
    units, the third two fifths.
    What to do: compare the processor's name with what was bought. The right processor with too few units: update BIOS
    and linux-firmware; it stays: the processor is damaged or was relabelled.
    Not a fault: of the driver, which counts what the chip reports.
    By hand: grep simd_count /sys/class/kfd/kfd/topology/nodes/*/properties   (two for each compute unit)
    """
    bound = want.limit(UNITS)
    if bound is None:
        yield skipped(BOX, f"the profile sets no {UNITS}")
        return
    chosen = [gpu for gpu in wanted_gpus(gpus, want) if gpu.vendor == "1002"]
    if gpus.unreadable is not None:
        yield not_read(BOX, gpus.unreadable)
    elif not chosen and wanted(want):
        yield unknown(BOX, "no Strix Halo GPU answers, so its compute units cannot be counted")
    elif not chosen:
        yield skipped(BOX, "no GPU of AMD is here that the profile is about")
    for gpu in chosen:
        bare = unknown(gpu.subject, NO_DRIVER, evidence=(NODES,))
        if isinstance(kfd.nodes, Unread):
            yield not_read(gpu.subject, kfd.nodes, evidence=(NODES,)) if gpu.driver is not None else bare
            continue
        node = kfd.of(gpu.bdf)
        if node is None or node.compute_units is None:
            why = "KFD has no node for it" if node is None else "KFD does not say how many compute units it has"
            yield unknown(gpu.subject, f"not read: {why}", evidence=(NODES,)) if gpu.driver is not None else bare
            continue
        yield judged(
            gpu.subject, node.compute_units, bound,
            f"{node.compute_units} compute units, {broken_bound(node.compute_units, bound)}",
            evidence=(f"{NODES}/{node.index}/properties",), cause=f"gpu:{gpu.bdf}",
            title="the GPU has fewer compute units than this box is built with",
            help=("grep -m1 'model name' /proc/cpuinfo, and compare with what was bought",
                  "the right processor: update BIOS and linux-firmware"))

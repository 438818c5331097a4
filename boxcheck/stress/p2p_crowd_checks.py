"""Judgement on copies between all GPUs at once: what pairs one by one do not show."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from boxcheck.model import Finding, Quantity
from boxcheck.profile import Profile
from boxcheck.registry import check, marginal, passed, skipped, unknown
from boxcheck.stress import StressResults
from boxcheck.stress.p2p_checks import all_of, by_pair
from boxcheck.stress.transfer_judging import good

COLLAPSE = 0.5
"""Writes below this part of reads have collapsed: from one switch to several root complexes, posted writes were seen to
fall from 52 to 7 GB/s a pair and from 37 to 2.7 while reads stayed (local-inference-lab/rtx6kpro, collapse report)."""


@check("p2p.crowd", reads=[StressResults], stress="p2p")
def crowd(results: StressResults, want: Profile) -> Iterator[Finding]:
    """When all GPUs write to all others at once, writes fall to a part of what reads do.

    Why it matters: behind PCIe switches, posted writes to several root complexes can collapse to a tenth while every
    pair by itself is fast, and so are reads. Collectives write to all others at once.
    What to do: put cards that talk to each other below one switch; have libraries read instead of write.
    Not a fault: patterns slower than pairs, which share links: both directions of this comparison share them alike.
    """
    if not results.full_size or not all(info.is_gpu for info in results.gpus):
        yield skipped(all_of(results), "a processor's rate is not judged")
        return
    if len(results.gpus) < 3:
        yield skipped(all_of(results), "with two GPUs all to all is a pair")
        return
    rates: dict[str, float] = {}
    for way in ("engine-write", "engine-read"):
        pairs = by_pair(results, f"p2p.all-to-all.{way}").values()
        values = [one.value for of in pairs for one in good(of) if one.value]
        if values:
            rates[way] = median(values)
    if len(rates) < 2:
        missing = "writes" if "engine-write" not in rates else "reads"
        yield unknown(all_of(results), f"all to all at once: no {missing} were timed and found right")
        return
    wrote, read = rates["engine-write"], rates["engine-read"]
    says = f"all to all at once: {wrote:.1f} GB/s a pair written, {read:.1f} read"
    measured = Quantity(round(wrote / read, 3), "of reads")
    if wrote >= COLLAPSE * read:
        yield passed(all_of(results), says, measured=measured)
        return
    yield marginal(
        all_of(results), f"{says}: writes have collapsed", measured=measured, cause="p2p-collapse:box", where="box",
        title="writes between all GPUs at once collapse",
        help=("put cards that talk to each other below one switch, or have the library read instead of write",
              "boxcheck doctor pcie acs (ends in PARTIAL): whether ACS sends packets by the root port"))

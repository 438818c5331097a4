"""Judgement on the copies that put links under load: what came back is what was sent."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.model import Finding
from boxcheck.profile import Profile
from boxcheck.registry import check
from boxcheck.stress import StressResults
from boxcheck.stress.judging import judge_wrong, per_gpu


@check("wake.wrong-words", reads=[StressResults], stress="wake")
def wrong_words(results: StressResults, want: Profile) -> Iterator[Finding]:
    """What a GPU sent back is not what it was sent.

    Why it matters: PCIe repairs what arrives damaged, so wrong data that arrives is a fault of memory, of a driver, or
    of an IOMMU that maps a wrong page.
    What to do: boxcheck stress run copy vram tells the direction and the memory apart.
    Not a fault: nothing else writes to these buffers.
    By hand: boxcheck stress run wake --gpu N
    """
    for info, samples in per_gpu(results, "wake"):
        yield judge_wrong(results, info.key, samples, "word", ("boxcheck stress run copy vram --gpu N",))

"""Rules about what programs computed or copied: wrong results, slow cards."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.decode.klog.events import Cause
from boxcheck.triage.rules import rule
from boxcheck.triage.rules.words import indices
from boxcheck.triage.scene import Diagnosis, Scene, Sighting, Sure, gravest, helps

_WRONG = ("wrong-results",)
_WRONG_COPIES = ("validation-failed",)
_SLOW = ("p2p-slow", "copy-slow", "slow")


def _subject(scene: Scene, sighting: Sighting) -> str:
    """The card, as far as the text names it: by address, else by the tool's own number (`GPU 3`)."""
    if sighting.bdf is not None:
        return scene.machine.short(sighting.bdf)
    label = sighting.labels[0] if sighting.labels else ""
    return f"GPU {label[3:]}" if label.startswith("gpu") and label[3:].isdigit() else label or "a GPU"


@rule("wrong-results")
def wrong_results(scene: Scene) -> Iterator[Diagnosis]:
    """A program computed wrong values: one card alone is that card, several at once are what they share.

    Why: a card whose memory or core is bad is wrong wherever it sits. Several cards that are wrong in one run share the
    supply, the heat and the driver, and rarely all have bad memory.
    Not: a link with intact counters, first: damaged packets are sent again, and arrive right.
    Source: PCI Express Base Specification 3.6.3 (LCRC and replay); wilicc/gpu-burn (compares products of one card).
    """
    wrong = scene.of(*_WRONG, bad=True)
    if not wrong:
        return
    names = list(dict.fromkeys(_subject(scene, sighting) for sighting in wrong))
    several = len(names) > 1
    cause: Cause | None = "power" if several else "memory"
    sure: Sure = "possible"
    says = wrong[0].event.says
    title = f"{len(names)} GPUs computed wrong values" if several else (
        says if says.startswith(names[0]) else f"{names[0]}: {says}")
    where = ", ".join(names[:16]) + (f" and {len(names) - 16} more" if len(names) > 16 else "")
    because = [f"wrong on {where}"]
    because += list(dict.fromkeys(sighting.event.says for sighting in wrong[:3]))
    because.append("several cards in one run share the supply, the heat and the driver" if several else
                   "one card alone: its memory or its core, unless the fault stays with the slot")
    yield Diagnosis(
        rule="", key="wrong:" + ("" if several else names[0]), title=title, where=where, cause=cause,
        sure=sure, because=tuple(because), events=indices(list(wrong)), severity=gravest(wrong), help=helps(wrong)[:5],
        not_=("a link whose counters stand still: it repeats damaged packets, and they arrive right",),
    )


@rule("wrong-copies")
def wrong_copies(scene: Scene) -> Iterator[Diagnosis]:
    """A copy arrived wrong: between GPUs the IOMMU, ACS or the driver's peer-to-peer patch before the hardware.

    Why: a packet that is damaged on the wire is sent again. What arrives wrong went to a wrong address, was read before
    it was there, or was wrong where it came from.
    Not: a link with errors, first: those are repaired or reported.
    Source: PCI Express Base Specification 3.6.3 (LCRC and replay); aikitoria/open-gpu-kernel-modules issue 25 (peer
    copies wrong under a translating IOMMU).
    """
    wrong = list(scene.of(*_WRONG_COPIES, bad=True))
    if not wrong:
        return
    named = [bdf for bdf in dict.fromkeys(sighting.bdf for sighting in wrong) if bdf is not None]
    yield Diagnosis(
        rule="", key="wrong-copies:", title="copies arrived wrong",
        where=", ".join(map(scene.machine.short, named[:8])) or "the copies that the test names", cause="config",
        sure="possible", because=tuple(dict.fromkeys(sighting.event.says for sighting in wrong[:5])),
        events=indices(wrong), severity=gravest(wrong), help=tuple(dict.fromkeys((
            "look at the IOMMU's mode and ACS: sudo boxcheck doctor iommu acs; with a peer-to-peer patch of the driver,"
            " boot once with the IOMMU off", *helps(wrong))))[:5],
        not_=("damaged packets: they are sent again, and arrive right",),
    )


@rule("slow-card")
def slow_card(scene: Scene) -> Iterator[Diagnosis]:
    """A card copies or computes much slower than its peers, and nothing else in the evidence says why.

    Why: a card that is slow towards every other one shares its own link with all of these copies; a single slow pair
    shares the route between the two.
    Not: proof of a bad link: a busy card, a power limit or a chipset slot look the same.
    Source: what the copies share, by the topology; NVIDIA/nvbandwidth and cuda-samples say no expected value.
    """
    slow = [sighting for sighting in scene.of(*_SLOW, bad=True) if sighting.event.cause != "config"]
    for name in dict.fromkeys(_subject(scene, sighting) for sighting in slow):
        mine = [sighting for sighting in slow if _subject(scene, sighting) == name]
        bdf = mine[0].bdf
        yield Diagnosis(
            rule="", key=f"slow:{name}", title=f"{name} is slower than its peers",
            where=scene.machine.where(bdf) if bdf is not None else name, cause=mine[0].event.cause, sure="possible",
            because=tuple(dict.fromkeys(sighting.event.says for sighting in mine))[:5], events=indices(mine),
            severity=gravest(mine), help=helps(mine)[:5],
            not_=("proof of a bad link: read its width and speed under load first",),
        )

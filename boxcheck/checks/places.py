"""Where a part is, in a builder's words: the chain from the root port to the card, and which links belong to GPUs."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.checks.steps import RESEATS
from boxcheck.model import BOX, Bdf, Finding, Subject
from boxcheck.probes.gpus import Gpu, Gpus
from boxcheck.probes.links import Link, Links
from boxcheck.profile import Profile
from boxcheck.registry import skipped, unknown


def short(bdf: str) -> str:
    """`0000:41:00.0` -> `41:00.0`; other domains stay whole."""
    return bdf[5:] if bdf.startswith("0000:") else bdf


def wanted_gpus(gpus: Gpus, want: Profile) -> tuple[Gpu, ...]:
    """The GPUs that this profile is about: those of its parts by PCI id, or every discrete one where it names none."""
    ids = {pci_id for part in want.gpus.parts for pci_id in part.pci_ids}
    return tuple(gpu for gpu in gpus.gpus if (gpu.pci_id in ids if ids else not gpu.integrated))


def slot_links(gpus: Gpus, links: Links, want: Profile) -> Iterator[tuple[Gpu, Link]]:
    """Each wanted GPU that sits in a slot, with the link of that slot."""
    for gpu in wanted_gpus(gpus, want):
        if gpu.slot_link is not None and not gpu.integrated:
            yield gpu, links.links[gpu.slot_link]


def path_links(gpus: Gpus, links: Links, want: Profile) -> Iterator[tuple[Gpu, Link]]:
    """The slot links of `slot_links`, then every link above them, once each, with the first GPU below it: a card with a
    switch sits in a slot and on a riser like any other, and all GPUs below it hang on that."""
    seated = list(slot_links(gpus, links, want))
    yield from seated
    told = {link.id for _, link in seated}
    for gpu, link in seated:
        for above in links.chain(link.id):
            if above.id not in told and not above.on_card:
                told.add(above.id)
                yield gpu, above


def is_uplink(gpu: Gpu, link: Link) -> bool:
    """Whether a link on the way to a GPU lies above its slot link."""
    return link.id != gpu.slot_link and not link.on_card


def unjudged(gpus: Gpus, want: Profile, judged: bool, what: str = "no GPU sits in a slot of this machine"
             ) -> Iterator[Finding]:
    """What a check of slot links says beyond the links it judged: a GPU whose port could not be read is unknown, and so
    is a machine whose bus could not be; only a machine that has no such GPU is left out."""
    lost = [gpu for gpu in wanted_gpus(gpus, want) if gpu.slot_link is None and not gpu.integrated]
    for gpu in lost:
        if gpu.function.parent is not None:
            yield unknown(gpu.subject, f"not read: the port above {short(gpu.bdf)}")
        elif want.gpus.parts:
            yield unknown(gpu.subject, "hangs on no link that can be seen, as in a virtual machine")
    if gpus.unreadable is not None:
        yield unknown(BOX, f"not read: {gpus.unreadable.why}")
    elif not judged and not any(gpu.function.parent is not None or want.gpus.parts for gpu in lost):
        yield skipped(BOX, what)


def link_subject(link: Link, gpu: Gpu | None) -> Subject:
    """A link by its GPU. One that several GPUs share is named by its port."""
    gpu = None if gpu is not None and is_uplink(gpu, link) else gpu
    name = f"GPU {gpu.index}" if gpu else f"port {short(link.id)}"
    return Subject("link", name=name, slot=link.slot, bdf=gpu.bdf if gpu else link.id)


def where(link: Link, gpu: Gpu | None, links: Links, want: Profile) -> str:
    """`root port 40:01.1 > slot PCIE3 > riser R3 > GPU 2 41:00.0`; of a link that several GPUs share, down to the
    switch above the first of them."""
    chain = [*links.chain(link.id), link]
    parts: list[str] = []
    for number, step in enumerate(chain):
        parts.append(f"{'switch' if number else 'root'} port {short(step.id)}")
        if (step.slot or step is link) and (slot := in_slot(step)):
            parts.append(slot.removesuffix(" > "))
    wanted = want.slot(link.slot)
    if wanted is not None and wanted.riser:
        parts.append(f"riser {wanted.riser}")
    if gpu is not None:
        last = f"GPU {gpu.index} {short(gpu.bdf)}"
        parts.append(f"switch above {last}" if is_uplink(gpu, link) else last)
    return " > ".join(parts)


def in_slot(link: Link) -> str:
    """`slot PCIE3 > `, or `slot 3 (kernel number) > ` where no table knows the print: the number that kernel and port
    count the slot by is firmware's own. Empty for a link without a slot."""
    number = link.kernel_slot or link.slot_number
    if link.slot:
        return f"slot {link.slot} > "
    return "" if number is None else f"slot {number} (kernel number) > "


def path_name(link: Link, want: Profile) -> str:
    """What a hand would take hold of: `riser R3`, or `its riser` where the profile names none."""
    wanted = want.slot(link.slot)
    return f"riser {wanted.riser}" if wanted is not None and wanted.riser else "its riser"


def reseat(link: Link, want: Profile) -> tuple[str, str]:
    """What to do about a link with a bad contact: reseat, and if that does not cure it, a swap that tells the parts
    apart."""
    return (
        f"{RESEATS}{path_name(link, want)}, power on; with the card busy, run: "
        + read_again(link.slot or "the card"),
        "not cured: move the card alone to another slot. The fault moves with it: the card; it stays: riser or slot; "
        "then swap only the riser",
    )


def read_again(place: str) -> str:
    """The command that shows whether a link is cured, and by what. A card that is off the bus has no errors either, so
    the cards are counted too; not every profile names their number, so the link has to be in the table."""
    return ("boxcheck doctor pcie aer inventory  (cured when that ends in PARTIAL, nothing failed, and "
            f"{place} is in its table)")


def seat(link: Link, want: Profile) -> tuple[str, str]:
    """What to do about a card that is in its slot and not on its link."""
    return (
        "power off; check every power lead of the card, and the riser's own where it has one; reseat the card and both "
        f"ends of {path_name(link, want)}, power on",
        "not cured: try the card in the slot without a riser, then in a slot that works",
    )


def link_evidence(link: Link, *names: str) -> tuple[str, ...]:
    """Sysfs files of both ends."""
    ends = [link.downstream.bdf, *([link.upstream.bdf] if link.upstream else [])]
    return tuple(f"/sys/bus/pci/devices/{Bdf(bdf)}/{name}" for bdf in ends for name in names)

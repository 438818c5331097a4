"""Who sits where: slots by the board's names, cards by what they tell of themselves, risers by the operator's labels.

Reads   nothing; Gpus and Links (slots), NVML and amdgpu (UUID, serial), config space (Device Serial Number)
By hand nvidia-smi -L; cat /sys/class/drm/card*/device/unique_id

A riser has no identity that software can read. So its label is what somebody said: on the command line, in the
profile's [[slot]], or in the notebook. A card that tells no number of its own is called after the slot it was found in,
and follows the operator's word like a riser.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from boxcheck.checks.wording import natural
from boxcheck.engine.inspect import Facts
from boxcheck.model import Bdf, Unread
from boxcheck.probes.amdgpu import Amdgpu
from boxcheck.probes.gpus import Gpu, Gpus
from boxcheck.probes.links import Link, Links
from boxcheck.probes.nvml import Nvml
from boxcheck.probes.pci import PciInventory
from boxcheck.profile import Profile
from boxcheck.riser.evidence import NO_RISER, Place


class Seat(msgspec.Struct, frozen=True, kw_only=True):
    """A slot's link, and the card in it as this boot shows it."""

    slot: str
    """As the board prints it; the address of its port where no table names it."""
    link: Link
    gpu: Bdf | None
    """Function of the GPU below; None where nothing answers, or what answers is no GPU."""
    card: str | None
    """What the card says it is; `unnamed NAME` where it tells no number, None where there is none."""
    name: str = ""
    """What the card is sold as."""


def slot_name(link: Link) -> str:
    return link.slot or link.id


def seats_of(facts: Facts, want: Profile, also: Bdf | None = None) -> tuple[Seat, ...]:
    """Every slot that holds a GPU, or that the profile names, or that feels a card and shows none; by their names.
    `also`: a port whose slot belongs to them, whatever is in it."""
    links, gpus = facts.of(Links), facts.of(Gpus)
    if isinstance(links, Unread) or isinstance(gpus, Unread):
        return ()
    found: dict[Bdf, Seat] = {}
    for gpu in gpus.gpus:
        link = None if gpu.integrated or gpu.slot_link is None else links.links.get(gpu.slot_link)
        if link is not None and link.id not in found:
            here = None if gpu.gone else gpu.bdf
            found[link.id] = Seat(
                slot=slot_name(link), link=link, gpu=here, card=_identity(gpu, facts) if here else None, name=gpu.name)
    wanted = {slot.label for slot in want.slots}
    for link in links.links.values():
        empty = link.upstream is None and (link.slot in wanted or link.presence_detect is True)
        if link.id not in found and (empty or link.id == also) and not link.on_card:
            found[link.id] = Seat(slot=slot_name(link), link=link, gpu=None, card=None)
    return tuple(sorted(found.values(), key=lambda seat: natural(seat.slot)))


def _identity(gpu: Gpu, facts: Facts) -> str:
    nvml, amdgpu, pci = facts.of(Nvml), facts.of(Amdgpu), facts.of(PciInventory)
    known = None if isinstance(nvml, Unread) else nvml.of(gpu.bdf)
    if known is not None and (known.uuid or known.serial):
        return str(known.uuid or known.serial)
    if not isinstance(amdgpu, Unread):
        card = amdgpu.cards.get(gpu.bdf)
        for word in () if card is None else (card.unique_id, card.serial):
            if isinstance(word, str) and word.strip("0 "):
                return word
    if not isinstance(pci, Unread):
        function = pci.functions.get(gpu.bdf)
        serial = None if function is None or isinstance(function.config, Unread) else function.config.serial
        if isinstance(serial, str) and serial.strip("0-f"):  # a serial of zeros or ones is none
            return serial
    return f"{UNNAMED}{gpu.name}"


UNNAMED = "unnamed "


def is_called(card: str) -> bool:
    """Whether a card tells no number, so that it is called after the slot it was found in."""
    return card.startswith(("of ", UNNAMED))


def short_card(card: str | None) -> str:
    """`…4417`: the last four characters of a long number, as a label on a card's back shows them."""
    if card is None:
        return "-"
    if is_called(card):
        return card
    return card if len(card) <= 8 else f"…{card[-4:]}"


def first_places(
    seats: Sequence[Seat], want: Profile, risers: Mapping[str, str], supplies: Mapping[str, str],
) -> tuple[Place, ...]:
    """The places of a first boot. `risers`: slot -> label as the operator said; else as the profile says, else the
    riser is called after its slot (`R-PCIE3`), since every card of a riser box sits on one."""
    planned = {slot.label: slot.riser for slot in want.slots}
    cards: dict[str, int] = {}
    for seat in seats:
        if seat.card is not None:
            cards[seat.card] = cards.get(seat.card, 0) + 1
    return tuple(
        Place(
            slot=seat.slot, riser=risers.get(seat.slot) or planned.get(seat.slot) or f"R-{seat.slot}",
            card=_called(seat, cards), supply=supplies.get(seat.slot, ""))
        for seat in seats)


def cards_of(seats: Sequence[Seat]) -> dict[str, str | None]:
    """Slot -> what the card there tells of itself, as a later boot is read. A number that several cards tell is none:
    such cards follow the operator's word."""
    every = [seat.card for seat in seats]
    return {seat.slot: f"{UNNAMED}{seat.name}" if seat.card is not None and every.count(seat.card) > 1 else seat.card
            for seat in seats}


def _called(seat: Seat, cards: Mapping[str, int]) -> str | None:
    """A number that several cards tell, or none, tells no card from another: called after its slot."""
    if seat.card is None:
        return None
    return f"of {seat.slot}" if seat.card.startswith(UNNAMED) or cards[seat.card] > 1 else seat.card


def repeated_labels(places: Sequence[Place]) -> tuple[str, ...]:
    """Riser labels that stand in two places."""
    labels = [place.riser for place in places if place.riser != NO_RISER]
    return tuple(sorted({label for label in labels if labels.count(label) > 1}))

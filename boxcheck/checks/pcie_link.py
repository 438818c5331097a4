"""Width and speed of the links that GPUs hang on, judged as pairs of ports.

Width is judged as it is read. Speed only where the reading settles it: a card at rest lowers its speed by itself, so a
low speed counts under load, or where the port's target is capped, or where an end cannot do more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from boxcheck.checks.pcie_signal import ends
from boxcheck.checks.places import (
    is_uplink,
    link_evidence,
    link_subject,
    path_links,
    reseat,
    seat,
    short,
    slot_links,
    unjudged,
    wanted_gpus,
    where,
)
from boxcheck.checks.steps import NO_CONTACT, NO_FALL, NO_SIGNAL
from boxcheck.checks.wording import counted
from boxcheck.decode.pci_link import LEGAL_WIDTHS
from boxcheck.model import BOX, Bdf, Finding, Limit, Outcome, Quantity, Unread
from boxcheck.probes.gpus import Gpu, Gpus
from boxcheck.probes.links import Link, Links
from boxcheck.probes.pci import PciInventory
from boxcheck.profile import Profile
from boxcheck.registry import check, compared, failed, limit, marginal, passed, skipped, unknown

WIDTH = limit(
    "link.width", int, "ge", "lanes", "Lanes that the slot link of every GPU must have.", among=(1, 2, 4, 8, 12, 16, 32)
)
SPEED = limit(
    "link.speed_gts", float, "ge", "GT/s", "Speed of the slot link of every GPU, under load.",
    among=(2.5, 5.0, 8.0, 16.0, 32.0, 64.0, 128.0),
)

COLD = "D3cold"
TUNNEL = "a tunnel of Thunderbolt or USB4: it has no lanes, and tells 2.5 GT/s whatever its cable carries"
ASLEEP = "the card sleeps without power (D3cold), so its link was not judged"

GIGABYTES_PER_SECOND_PER_LANE = {2.5: 0.25, 5.0: 0.5, 8.0: 0.985, 16.0: 1.969, 32.0: 3.938, 64.0: 7.563}
"""Raw rate of one lane and direction after line coding; 8b/10b up to 5 GT/s, 128b/130b to 32, flits at 64.
Source: PCI Express Base Specification, section 4.2."""


def _cause(link: Link) -> str:
    return f"link:{link.id}"


def _rate(width: int, speed_gts: float) -> str:
    return f"{width * GIGABYTES_PER_SECOND_PER_LANE.get(speed_gts, 0.0):.1f} GB/s"


def wanted_width(link: Link, want: Profile, shared: bool = False) -> Limit | None | Unread:
    """The slot's own width where the profile reduces it by design, else the profile's, else what both ends can do.

    `shared`: the link is above a slot, at a switch. The profile's number is about slots, so such a link must have no
    more than both of its ends can do."""
    slot = want.slot(link.slot)
    set_limit = want.limit(WIDTH)
    if slot is not None and slot.width is not None:
        set_limit = Limit(WIDTH, "ge", must=slot.width, unit="lanes", source=f"profile {want.name}, slot {slot.label}")
    return _wanted(link.capable_width, set_limit, WIDTH, "lanes", shared, firm=bool(want.gpus.parts))


def wanted_speed(link: Link, want: Profile, shared: bool = False) -> Limit | None | Unread:
    """As `wanted_width`. What both ends can do must hold under load, of a slot's link also without a profile."""
    slot = want.slot(link.slot)
    set_limit = want.limit(SPEED)
    if slot is not None and slot.speed_gts is not None:
        set_limit = Limit(SPEED, "ge", must=slot.speed_gts, unit="GT/s",
                          source=f"profile {want.name}, slot {slot.label}")
    return _wanted(link.capable_speed_gts, set_limit, SPEED, "GT/s", shared, firm=bool(want.gpus.parts) or not shared)


def _wanted(
    capable: float | None | Unread, set_limit: Limit | None, name: str, unit: str, shared: bool, firm: bool,
) -> Limit | None | Unread:
    """`firm`: whether less than both ends can do fails. Boards announce lanes that nobody wired, so of a machine that
    no profile describes it is marginal."""
    if set_limit is not None and not (shared and isinstance(capable, (int, float)) and capable < _bound(set_limit)):
        return set_limit
    if capable is None or isinstance(capable, Unread):
        return capable
    source = "LnkCap of both ends of the link"
    if firm:
        return Limit(name, "ge", must=capable, unit=unit, source=source)
    return Limit(name, "ge", should=capable, unit=unit, source=source)


def _bound(limit: Limit) -> int | float:
    value: int | float = limit.must if limit.must is not None else limit.should
    return value


@check("pcie.link-width", reads=[Gpus, Links], limits=[WIDTH])
def link_width(gpus: Gpus, links: Links, want: Profile) -> Iterator[Finding]:
    """A GPU's slot link trained with fewer lanes than it must have.

    Why it matters: every lane that is missing takes its share of the bandwidth, and a link that lost lanes lost them to
    a bad contact that may take more.
    What to do: power off, reseat the card and both ends of its riser, look at the gold contacts; then
    swap card and riser one at a time to tell them apart.
    Not a fault: a slot that is wired or set to fewer lanes; say so in the profile, `[[slot]] label = ... width = 8`.
    On cards with a switch of their own (RDNA) the GPU's own link is on the card and always full: the slot's is judged.
    By hand: cat /sys/bus/pci/devices/<port>/{current,max}_link_width; sudo lspci -vv -s <port> | grep Lnk
    """
    judged = False
    for gpu, link in path_links(gpus, links, want):
        judged = True
        yield _judge_width(gpu, link, links, want)
    for gpu, link in on_card_links(gpus, links, want):
        found = _judge_width(gpu, link, links, want)
        if found.outcome is not Outcome.PASS:
            yield _of_the_card(found, gpu, "width")
    yield from unjudged(gpus, want, judged)


def on_card_links(gpus: Gpus, links: Links, want: Profile) -> Iterator[tuple[Gpu, Link]]:
    """The links between cards' own switches and their GPUs. They are told where something is wrong with them: what is
    required is said of the links that a hand can reach."""
    for gpu in wanted_gpus(gpus, want):
        if not gpu.gone and not gpu.integrated:
            yield from ((gpu, link) for link in links.chain(gpu.bdf) if link.on_card)


def _of_the_card(found: Finding, gpu: Gpu, what: str) -> Finding:
    """A finding on a link that no hand can reach: the card is at fault."""
    if found.outcome is Outcome.UNKNOWN:
        return msgspec.structs.replace(found, says=f"the link on the card: {found.says}")
    return msgspec.structs.replace(
        found, says=f"the link on the card {found.says}",
        title=f"the {what} of the link on the card in {gpu.slot or gpu.subject.name} is reduced",
        help=("no riser is in this link: move the card alone to another slot; what moves with it is the card's own",
              "not cured: replace the card"),
        not_=("the riser or the slot (this link is on the card)",))


SHARES = re.compile(r"\bshares?\b.{0,40}\blanes?\b")
"""In the profile's note on a slot: that its lanes may go elsewhere."""


def slot_note(link: Link, want: Profile) -> str:
    """What the profile notes of this link's slot; empty where nothing."""
    slot = want.slot(link.slot)
    return "" if slot is None else slot.note


def _judge_width(gpu: Gpu, link: Link, links: Links, want: Profile) -> Finding:
    subject = link_subject(link, gpu)
    evidence = link_evidence(link, "current_link_width", "max_link_width")
    wanted = wanted_width(link, want, is_uplink(gpu, link) or link.on_card)
    width = link.width
    if link.id in links.tunnels(gpu.bdf):
        return skipped(subject, TUNNEL, evidence=evidence)
    if gpu.gone:
        return unknown(subject, "the card no longer answers, so its link was not judged", evidence=evidence)
    if gpu.function.power_state == COLD:
        return unknown(subject, ASLEEP, evidence=evidence)
    if link.upstream is not None and isinstance(width, int) and link.upstream.width != width:
        other = link.upstream.width
        why = other.why if isinstance(other, Unread) else f"the port says x{width}, the card x{other}"
        return unknown(subject, f"the two ends of the link do not agree: {why}", evidence=evidence)
    if not isinstance(link.under_load, Unread) and isinstance(width, int):
        if link.under_load.width not in LEGAL_WIDTHS:
            return unknown(subject, f"trained x{width}; under load its width could not be read", evidence=evidence)
        width = min(width, link.under_load.width)
    if isinstance(width, Unread):
        return unknown(subject, f"link width not read: {width.why}", evidence=evidence)
    if isinstance(wanted, Unread):
        return unknown(subject, f"trained x{width}; what it could do was not read: {wanted.why}", evidence=evidence)
    if wanted is None:
        return unknown(subject, f"trained x{width}; neither the profile nor both ends say what it should be",
                       evidence=evidence)
    if width is None and link.downstream.width != 0:
        return unknown(subject, f"the port reads width {link.downstream.width}, which no link has", evidence=evidence)
    if width is None:
        return failed(
            subject, f"no working link: the port reads width {link.downstream.width}, x{_bound(wanted)} required",
            cause=_cause(link), evidence=evidence, where=where(link, gpu, links, want), limit=wanted,
        )
    capable = link.capable_width
    if isinstance(capable, Unread) and capable.kind == "malformed":
        return unknown(subject, f"trained x{width}, and {capable.why}", evidence=evidence)
    if isinstance(capable, int) and width > capable:
        return unknown(subject, f"trained x{width}, and its ends say that they can do x{capable} at most",
                       evidence=evidence)
    name = f"slot {link.slot}" if link.slot else str(subject)
    bound = int(_bound(wanted))
    if width >= bound:
        return compared(subject, width, wanted, f"trained x{width}, x{bound} required", evidence=evidence)
    ends: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    helps: tuple[str, ...] = reseat(link, want)
    if isinstance(capable, int) and capable >= bound:
        ends = (f"both ends can do x{capable}",)
        excluded = ("a slot that is wired or bifurcated to fewer lanes (both ends announce more)",)
        if SHARES.search(slot_note(link, want)):
            excluded = ()  # a jumper or setting may give half of the lanes away, and the port announces all of them
    elif isinstance(capable, int):
        lower, end = _lower_end(link, "width")
        ends = (f"the {end} announces x{lower} at most",)
        excluded = (NO_CONTACT,)
        helps = (
            "look for bifurcation of this slot in the BIOS, and for a lane-share jumper in the board's manual",
            "a narrower adapter or riser between slot and card also announces less",
        )
    speed = _best_speed(link)
    if note := slot_note(link, want):
        ends = (f"slot {link.slot}: {note}", *ends)
        if SHARES.search(note) and isinstance(capable, int) and capable >= bound:
            helps = ("look in the board's manual and its BIOS setup for what takes this slot's lanes", *helps)
    if speed is not None:
        ends = (*ends, f"this link carries {_rate(width, speed)} each way at most instead of {_rate(bound, speed)}")
    return compared(
        subject, width, wanted, f"trained x{width}, x{bound} required", evidence=evidence, cause=_cause(link),
        title=f"{name} runs x{width} of x{bound}", where=where(link, gpu, links, want), notes=ends, help=helps,
        not_=excluded,
    )


def _best_speed(link: Link) -> float | None:
    """The speed that the link has when it works: under load where that was read, else what both ends can do."""
    if not isinstance(link.under_load, Unread) and link.under_load.speed_gts is not None:
        return link.under_load.speed_gts
    capable = link.capable_speed_gts
    return capable if isinstance(capable, float) else None


def _lower_end(link: Link, what: str) -> tuple[float | int, str]:
    """The end that can do less, and what to call it."""
    above = link.downstream.max_width if what == "width" else link.downstream.max_speed_gts
    below = above
    if link.upstream is not None:
        below = link.upstream.max_width if what == "width" else link.upstream.max_speed_gts
    if isinstance(above, (int, float)) and isinstance(below, (int, float)) and below < above:
        return below, "card"
    return above if isinstance(above, (int, float)) else 0, "port above"


@check("pcie.link-speed", reads=[Gpus, Links], limits=[SPEED])
def link_speed(gpus: Gpus, links: Links, want: Profile) -> Iterator[Finding]:
    """A GPU's slot link runs slower than it must.

    Why it matters: a link that fell back a generation moves half the bytes, and it fell back because the signal was too
    poor for the higher speed. The usual parts are a riser that is not made for the speed and a dirty contact.
    What to do: power off, reseat card and riser. Where the port's target speed is capped,
    look for the slot's link speed in the BIOS setup first.
    Not a fault: a card at rest lowers its speed by itself (2.5 GT/s is usual). A low speed is judged only under load,
    or where the target is capped, or where an end cannot do more. Otherwise this check says `unknown`.
    By hand: keep the GPU busy, then cat /sys/bus/pci/devices/<port>/current_link_speed
    """
    judged = False
    for gpu, link in path_links(gpus, links, want):
        judged = True
        yield _judge_speed(gpu, link, links, want)
    for gpu, link in on_card_links(gpus, links, want):
        found = _judge_speed(gpu, link, links, want)
        at_rest = isinstance(link.under_load, Unread) and found.outcome is Outcome.UNKNOWN
        if found.outcome is not Outcome.PASS and not at_rest:
            yield _of_the_card(found, gpu, "speed")
    yield from unjudged(gpus, want, judged)


def _judge_speed(gpu: Gpu, link: Link, links: Links, want: Profile) -> Finding:
    subject = link_subject(link, gpu)
    evidence = link_evidence(link, "current_link_speed", "max_link_speed")
    wanted = wanted_speed(link, want, is_uplink(gpu, link) or link.on_card)
    place = where(link, gpu, links, want)
    if link.id in links.tunnels(gpu.bdf):
        return skipped(subject, TUNNEL, evidence=evidence)
    if gpu.gone:
        return unknown(subject, "the card no longer answers, so its link was not judged", evidence=evidence)
    if gpu.function.power_state == COLD:
        return unknown(subject, ASLEEP, evidence=evidence)
    if isinstance(wanted, Unread):
        return unknown(subject, f"what the link could do was not read: {wanted.why}", evidence=evidence)
    if wanted is None:
        return unknown(subject, "neither the profile nor both ends say how fast the link should be", evidence=evidence)
    bound = float(_bound(wanted))
    make = failed if wanted.must is not None else marginal
    at_rest = link.speed_gts
    loaded = link.under_load
    if isinstance(at_rest, Unread):
        return unknown(subject, f"link speed not read: {at_rest.why}", evidence=evidence)
    if link.upstream is not None and isinstance(at_rest, float):
        below = link.upstream.speed_gts
        if isinstance(below, Unread):
            return unknown(subject, f"link speed at the card not read: {below.why}", evidence=evidence)
        at_rest = None if below is None else min(at_rest, below)
    capable = link.capable_speed_gts
    if isinstance(capable, Unread) and capable.kind == "malformed":
        return unknown(subject, f"{capable.why}, so neither is believed", evidence=evidence)
    name = f"slot {link.slot}" if link.slot else str(subject)
    target = link.downstream.target_speed_gts
    capped = isinstance(target, float) and target < bound
    if not isinstance(loaded, Unread):
        speed, how = loaded.speed_gts, "under load"
    else:
        speed, how = at_rest, "at rest"
    if speed is not None and speed >= bound:
        if capped:
            return marginal(
                subject, f"runs at {speed} GT/s {how}, but the port's target is {target} GT/s: a retrain lowers it",
                measured=Quantity(speed, "GT/s"), limit=wanted, evidence=evidence, cause=_cause(link), where=place,
                title=f"{name} is capped at {target} GT/s",
            )
        if not isinstance(loaded, Unread) and loaded.fell_to_gts is not None and loaded.fell_to_gts < bound:
            return marginal(
                subject, f"fell back to {loaded.fell_to_gts} GT/s under load after it had reached {bound}",
                measured=Quantity(loaded.fell_to_gts, "GT/s"), limit=wanted, evidence=evidence, cause=_cause(link),
                where=place, title=f"{name} does not hold {bound} GT/s under load", help=reseat(link, want),
            )
        return compared(subject, speed, wanted, f"runs at {speed} GT/s {how}, {bound} required", evidence=evidence)
    shown = "an unknown speed" if speed is None else f"{speed} GT/s"
    if isinstance(capable, float) and capable < bound:
        lower, end = _lower_end(link, "speed")
        return make(
            subject, f"can run at {lower} GT/s at most, {bound} required: the {end} announces no more",
            measured=None if speed is None else Quantity(speed, "GT/s"), limit=wanted, evidence=evidence,
            cause=_cause(link), where=place, title=f"{name} can do {lower} GT/s at most",
            help=(f"check that the {end} is the part that the profile names, and that the BIOS sets no lower speed",),
            not_=(NO_SIGNAL,),
        )
    if capped:
        return make(
            subject, f"runs at {shown} {how}, {bound} required; the port's target is capped at {target} GT/s",
            measured=None if speed is None else Quantity(speed, "GT/s"), limit=wanted, evidence=evidence,
            cause=_cause(link), where=place, title=f"{name} is capped at {target} GT/s",
            help=(
                f"BIOS setup: set the link speed of {name} to Auto or Gen{_generation(bound)}, then boot again",
                "no such setting: the kernel or a tool lowered it after failed training; look for `retraining` in the "
                "kernel log, and treat the riser as suspect",
            ),
            not_=(NO_FALL,),
        )
    if speed is None:
        return unknown(subject, f"the kernel reads no speed of it {how} (Unknown), {bound} required", evidence=evidence)
    if isinstance(loaded, Unread):
        return unknown(
            subject, f"runs at {shown} at rest, {bound} required; cards lower their speed at rest and this one was not "
            f"seen under load",
            measured=None if speed is None else Quantity(speed, "GT/s"), limit=wanted, evidence=evidence,
            help=("keep every GPU busy with any job and run meanwhile, on the box: boxcheck doctor",),
        )
    excluded: tuple[str, ...] = ("idle power saving (read under load)",)
    if isinstance(target, float):
        excluded = (f"a BIOS speed cap (target {target} GT/s)", *excluded)
    width = link.width
    notes: tuple[str, ...] = (f"both ends can do {capable} GT/s",) if isinstance(capable, float) else ()
    if isinstance(width, int):
        notes = (*notes, f"this link carries {_rate(width, speed)} each way at most instead of {_rate(width, bound)}")
    return make(
        subject, f"runs at {shown} under load, {bound} required",
        measured=Quantity(speed, "GT/s"), limit=wanted, evidence=evidence,
        cause=_cause(link), where=place, title=f"{name} runs at {shown}, not {bound}", notes=notes, not_=excluded,
        help=(*reseat(link, want), f"it is the riser: it must be made for {bound} GT/s"),
    )


def _generation(speed_gts: float) -> int:
    return {2.5: 1, 5.0: 2, 8.0: 3, 16.0: 4, 32.0: 5, 64.0: 6}.get(speed_gts, 0)


NO_ANSWER = (
    "echo 1 | sudo tee /sys/bus/pci/rescan  brings it back where software took it out (echo 1 > remove)",
    "still missing: switch off at the mains for a minute, then on: its chip or firmware hangs",
    "still missing: try the card in a slot that works; it is missing there too: the card")
"""For a card that has trained its link and answers nothing."""


@check("pcie.link-down", reads=[Gpus, Links], needs=["root"])
def link_down(gpus: Gpus, links: Links, want: Profile) -> Iterator[Finding]:
    """A slot feels a card, but the card's link did not come up.

    Why it matters: the card is seated well enough for its presence pins and still invisible to every driver. The usual
    parts are a riser that is dead or plugged in halfway, missing power on the card, or a missing clock or reset.
    What to do: check the card's power leads, reseat the riser at both ends, try the card without the riser. Told apart
    is a card whose link is up and that the kernel does not list: software took it out, or its chip does not start.
    Not a fault: an empty slot. Nor a port whose link or slot power is switched off (BIOS setup, hot-plug), where the
    profile misses no card: skipped, with which of both it is. Where it misses one there, it fails, and says so too.
    By hand: sudo lspci -vv -s <port> | grep -E 'LnkCtl:|LnkSta|SltCtl|SltSta'
    (PresDet+ with DLActive-; switched off: Disabled+ in LnkCtl, Power- in SltCtl)
    """
    if links.unreadable is not None:
        yield unknown(BOX, f"not read: {links.unreadable.why}")
        return
    hidden = empty = up = down = off = 0
    for link in links.links.values():
        if link.on_card or link.presence_detect is None:
            continue
        if isinstance(link.presence_detect, Unread):
            hidden += 1
            empty += link.upstream is None
            continue
        if not link.presence_detect:
            continue
        if link.upstream is not None and link.dll_active is not False:
            up += 1
            continue
        if link.switched_off is not None and link.upstream is None and not link.power_fault:
            off += 1
            yield _judge_switched_off(link, link.switched_off, gpus, links, want)
            continue
        down += 1
        gpu = next((gpu for gpu in gpus.gpus if gpu.slot_link == link.id), None)
        name = f"slot {link.slot}" if link.slot else f"port {short(link.id)}"
        if link.upstream is None and link.dll_active is True:
            yield failed(
                link_subject(link, gpu), "a card is present and its link is up, but the kernel lists nothing behind it",
                evidence=link_evidence(link, "config"), cause=f"link-down:{link.id}",
                where=where(link, gpu, links, want),
                title=f"the card in {name} has a link and does not answer", help=NO_ANSWER,
                not_=("an empty slot (its presence pins are closed)", "a riser without contact (the link trained)"))
            continue
        yield failed(
            link_subject(link, gpu), "a card is present, its link is down", evidence=link_evidence(link, "config"),
            cause=f"link-down:{link.id}", where=where(link, gpu, links, want),
            title=f"the card in {name} is seated but its link is down",
            help=seat(link, want), notes=_down_notes(link),
            not_=("an empty slot (its presence pins are closed)",),
        )
    if up:
        yield passed(BOX, f"{counted(up, 'slot')} with a card whose link is up")
    if hidden:
        yield unknown(
            BOX, f"whether {hidden} ports feel a card needs root; {empty} of them have nothing below", needs_root=True
        )
    elif gpus.unreadable is not None:
        yield unknown(BOX, f"not read: {gpus.unreadable.why}")
    elif not up and not down and not off:
        yield skipped(BOX, "no port of this machine can feel a card")


def _down_notes(link: Link) -> tuple[str, ...]:
    """What else the port tells of a link that is down."""
    fault = ("the slot has seen a fault of its power",) if link.power_fault else ()
    return fault if link.switched_off is None else (*fault, link.switched_off)


def _judge_switched_off(link: Link, how: str, gpus: Gpus, links: Links, want: Profile) -> Finding:
    """A card that is seated below a port that is switched off: a fault where the profile misses a card there."""
    says = f"a card is present, and {how}"
    subject, evidence = link_subject(link, None), link_evidence(link, "config")
    if not _is_missed(link, gpus, want):
        return skipped(subject, f"{says}; the profile misses no card there", evidence=evidence)
    name = f"slot {link.slot}" if link.slot else f"port {short(link.id)}"
    return failed(
        subject, says, evidence=evidence, cause=f"link-down:{link.id}", where=where(link, None, links, want),
        title=f"the card in {name} is seated and switched off",
        help=("BIOS setup: enable the slot; then power off for a minute and on again",
              "not cured: a hot-plug or containment event switched it off: sudo dmesg | grep -iE 'pciehp|dpc'"),
        not_=("an empty slot (its presence pins are closed)", "a link that was tried and did not train"),
    )


def _is_missed(link: Link, gpus: Gpus, want: Profile) -> bool:
    """Whether the profile wants a card here that is not there: fewer than it counts answer, or its slot is named."""
    named = {slot.label for slot in want.slots}
    if want.gpus.count is None:
        return link.slot in named
    return len(wanted_gpus(gpus, want)) < want.gpus.count and (not named or link.slot is None or link.slot in named)


def silent(bdf: Bdf, pci: PciInventory) -> bool:
    """Whether the registers of a function read all ones."""
    return bdf in pci.functions and pci.functions[bdf].gone


@check("pcie.chain", reads=[Gpus, Links, PciInventory])
def chain(gpus: Gpus, links: Links, pci: PciInventory, want: Profile) -> Iterator[Finding]:
    """A link above a GPU's slot is narrower or slower than the slot's own, and holds it back.

    Why it matters: the slowest hop between the processor and the card sets the rate, however good the slot link is.
    A port above a card that reads all ones while the card answers is told here too: one of the two readings is wrong.
    What to do: move the card to a slot that hangs on the processor directly, or widen the switch's uplink.
    Not a fault: several cards that share one uplink by design; the rate they share is then the uplink's. Of a tunnel of
    Thunderbolt or USB4 nobody can read the rate: skipped, unless another link holds the card back.
    By hand: walk up /sys/bus/pci/devices/<gpu>/.. and compare current_link_width and max_link_speed at each port.
    """
    judged = False
    for gpu, link in slot_links(gpus, links, want):
        judged = True
        subject = link_subject(link, gpu)
        tunnels = links.tunnels(gpu.bdf)
        above = [step for step in links.chain(link.id) if not step.on_card and step.id not in tunnels]
        width, speed = link.capable_width, link.capable_speed_gts
        dead = next((end for step in links.chain(gpu.bdf) for end in ends(step)
                     if end.bdf != gpu.bdf and silent(end.bdf, pci)), None)
        if dead is not None and not gpu.gone and gpu.function.power_state != COLD:
            yield unknown(subject, f"the port {short(dead.bdf)} above the card reads all ones, as one does that no "
                          "longer answers, while the card does answer",
                          evidence=(f"/sys/bus/pci/devices/{dead.bdf}/config",))
            continue
        slow = next((step for step in above if _narrower(step, width, speed)), None)
        steps = [value for step in above for value in (step.width, step.capable_speed_gts)]
        hidden = next((value for value in steps if isinstance(value, Unread)), None)
        if slow is None and hidden is not None:
            yield unknown(subject, f"a link above its slot was not read: {hidden.why}")
            continue
        own = next((value for value in (width, speed) if isinstance(value, Unread)), None)
        if slow is None and above and own is not None:
            yield unknown(subject, f"what its slot can do was not read: {own.why}")
            continue
        if slow is None and above and None in (*steps, width, speed):
            yield unknown(subject, "a link on its way shows no legal width or speed, so they cannot be compared")
            continue
        if slow is None and tunnels:
            yield skipped(subject, f"above it is {TUNNEL}")
            continue
        if slow is None:
            hops = f"through {len(above)} links above its slot" if above else "on a root port directly"
            yield passed(subject, f"hangs {hops}")
            continue
        yield marginal(
            subject, f"the uplink at {short(slow.id)} is x{slow.width} of {slow.capable_speed_gts} GT/s, "
            f"the slot x{width} of {speed} GT/s", evidence=link_evidence(slow, "current_link_width", "max_link_speed"),
            cause=f"link:{slow.id}", where=where(link, gpu, links, want),
            title=f"the uplink {f'in slot {slow.slot}' if slow.slot else f'at {short(slow.id)}'} holds the GPUs below "
            "it back",
            help=("move the card to a slot that hangs on the processor directly, or widen the switch's uplink",),
        )
    yield from unjudged(gpus, want, judged)


def _narrower(step: Link, width: object, speed: object) -> bool:
    here, fastest = step.width, step.capable_speed_gts
    return (isinstance(here, int) and isinstance(width, int) and here < width) or (
        isinstance(fastest, float) and isinstance(speed, float) and fastest < speed
    )

"""Judgements on the links of a whole burn-in: what drivers and ports counted between its phases, and whether the bits
that were moved show the bit error rate that was asked for."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from boxcheck.checks.wording import duration
from boxcheck.model import BOX, Bdf, Finding, Quantity, Subject
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, marginal, passed, skipped, unknown
from boxcheck.stress.boundaries import Boundaries
from boxcheck.stress.link_ledger import Direction
from boxcheck.stress.link_rate_checks import HELP, TOWARD, ends_of, link_subject, size_words
from boxcheck.stress.link_rates import (
    bounds_in_words,
    counts_in_words,
    is_above,
    is_shown,
    per_bit,
    rate_of,
    seconds_to_show,
)
from boxcheck.stress.link_routes import LinkMap

NO_FAULT = frozenset(("LBMS", "LABS", "notified", "recoveries", "corrected", "uncorrected"))
"""Counters that tell of no damaged packet: links change their speed to save power, and recover each time they do.
Errors of the host's memory are judged by `burn.memory-errors`."""
GRAVE = frozenset(("replay rollovers", "fatal"))


class BerAsked(msgspec.Struct, frozen=True, kw_only=True):
    """What `--until-ber` asked for, and what the whole run has to say of it."""

    ber: float
    directions: tuple[Direction, ...]
    """Of every link on the way to the GPUs."""


@check("burn.link-counters", reads=[Boundaries, LinkMap], stress="burn")
def link_counters(boundaries: Boundaries, where: LinkMap, want: Profile) -> Iterator[Finding]:
    """A GPU sent packets again during a burn-in, by its driver's own count.

    Why it matters: a replay is a packet that was damaged or not acknowledged. Drivers count them where the ports' AER
    counters are silent, because the firmware keeps these.
    What to do: reseat the card and both ends of its riser; boxcheck doctor aer (ends in PARTIAL) names the direction.
    Not a fault: a link that changed its speed or width to save power. That is told where a port shows it (LBMS, LABS),
    and judged by `stress.link-speed`. On RDNA cards the counter is that of the link on the card, behind its own switch.
    What was counted until a restart is lost with it: none counted in the rest is unknown. So is a GPU whose driver
    counts nothing beside one whose driver does; where no driver counts, the question does not arise.
    By hand: nvidia-smi -q | grep -i replay; cat /sys/class/drm/card*/device/pcie_replay_count
    """
    if boundaries.missing and not boundaries.steps:
        yield unknown(BOX, f"counters were not read between the phases: {boundaries.missing[0]}")
        return
    grown, anew = boundaries.of_kind("grown"), boundaries.of_kind("anew")
    unread, compared = boundaries.of_kind("unread"), boundaries.of_kind("compared")
    told = set[str]()
    for bdf in sorted({*grown, *unread, *compared, *anew}):
        counters = {name for names in (grown, unread, compared, anew) for name in names.get(bdf, {})} - NO_FAULT
        if not counters:
            continue
        told.add(bdf)
        subject = Subject("gpu", f"GPU {bdf}", bdf=Bdf(bdf))
        lost = _lost(boundaries)
        notes = (*_moved(boundaries, bdf), *_trained(boundaries), *lost)
        bad = {name: boundaries.total(bdf, name) for name in sorted({*grown.get(bdf, {})} & counters)}
        again = sorted({*anew.get(bdf, {})} & counters)
        if bad:
            least = "at least " if again or boundaries.restarts else ""
            says = "; ".join(f"{name} {least}{number} ({', '.join(where)})" for name, (number, where) in bad.items())
            total = sum(number for number, _ in bad.values())
            yield (failed if GRAVE & {*bad} else marginal)(
                subject, f"its driver counted {says}", measured=Quantity(total, "errors"), cause=f"link-errors:{bdf}",
                where=str(subject), title=f"GPU {bdf}: sent packets again under load", help=HELP,
                notes=notes, ends=_ends(where, bdf))
        elif again:
            yield unknown(subject, f"{', '.join(again)} began anew during the run; what was counted is not known")
        elif missing := {name: whys[0] for name, whys in unread.get(bdf, {}).items() if name in counters}:
            yield unknown(subject, "; ".join(f"{name} was not compared: {why}" for name, why in missing.items()))
        elif boundaries.missing:
            yield unknown(subject, f"none was counted, and at some boundary {boundaries.missing[0]}")
        elif lost:
            yield unknown(subject, f"not known: none was counted as long as it was read; {'; '.join(lost)}")
        else:
            yield passed(subject, f"none was counted: {', '.join(sorted(counters))}", measured=Quantity(0, "errors"),
                         notes=notes)
    if not told:
        yield skipped(BOX, "no driver here counts packets that are sent again", notes=_trained(boundaries))
        return
    for bdf in boundaries.uncounted():
        if bdf not in told and (_ends(where, bdf) or not where.hops):
            yield unknown(Subject("gpu", f"GPU {bdf}", bdf=Bdf(bdf)),
                          "its driver counts no packets that are sent again")


def _ends(where: LinkMap, bdf: str) -> tuple[Bdf, ...]:
    """Both ends of the link that ends at this function: the one that its driver tells of. None of a GPU on no link."""
    return next((ends_of(hop) for hop in where.hops.values() if hop.card == bdf), ())


def _moved(boundaries: Boundaries, bdf: str) -> tuple[str, ...]:
    """Bytes as the driver counts them, overhead included where it does: to be held against what samples moved."""
    found = boundaries.of_kind("bytes").get(bdf, {})
    return tuple(f"its driver counted {sum(sizes) / 1e12:.3g} TB {way}" for way, sizes in sorted(found.items()))


def _lost(boundaries: Boundaries) -> tuple[str, ...]:
    """Between a boundary and the end of its boot a driver counts for itself alone."""
    return tuple(f"what was counted {f'after {phase}' if phase else 'from the start'} until the machine went down was "
                 "lost with the restart" for phase in boundaries.restarts)


def _trained(boundaries: Boundaries) -> tuple[str, ...]:
    """Ports that say that their link changed while the run went on."""
    words = {"LBMS": "retrained its link, or lowered it to keep it working (LBMS)",
             "LABS": "changed its link by itself (LABS)", "notified": "changes of its link were counted (bwctrl)"}
    found = []
    for bdf, names in sorted(boundaries.of_kind("grown").items()):
        for name, says in words.items():
            if name in names:
                found.append(f"port {bdf}: {says}: {', '.join(boundaries.total(bdf, name)[1])}")
    return tuple(found)


@check("burn.until-ber", reads=[BerAsked], needs=["root"], stress="burn")
def until_ber(asked: BerAsked, want: Profile) -> Iterator[Finding]:
    """The bit error rate that was asked for (`burn --until-ber`) is not shown for a link.

    Why it matters: no error in N bits shows a rate below 3/N at 95 %, and nothing better. What was not shown is not
    known, whatever else the run found.
    What to do: go on for longer, where the link counts and moved bits; reseat card and riser, where errors were found.
    Where an end counts nothing: `boxcheck explain aer.live`.
    Not a fault: a run that was told to end before. It is unknown then, as all that was not shown.
    By hand: 3 / (bytes that crossed the link x 8), where /sys/bus/pci/devices/*/aer_dev_correctable did not grow
    """
    if not asked.directions:
        yield unknown(BOX, f"a rate below {per_bit(asked.ber)} per bit was asked for and cannot be shown: "
                      "no GPU is on a link that can be seen")
    for one in asked.directions:
        yield _shown(one, asked.ber)


def _shown(one: Direction, ber: float) -> Finding:
    subject, way, wanted = link_subject(one.hop), TOWARD[one.toward], per_bit(ber)
    rate = rate_of(one)
    measured = None if rate is None or rate.at_most is None else Quantity(rate.at_most, "errors/bit")
    over = f"in {size_words(one.payload_bits)}"
    if is_shown(one, ber):
        errors = counts_in_words(one) or "no error"
        return passed(subject, f"{way}: {errors} {over}, {bounds_in_words(one)}, asked {wanted}", measured=measured)
    options = {"cause": f"link-errors:{one.hop.receiver(one.toward)}", "ends": ends_of(one.hop),
               "where": str(subject), "help": HELP, "title": f"{subject}: damaged packets {way}"}
    if is_above(one, ber):
        return failed(subject, f"{way}: {counts_in_words(one)} {over}, {bounds_in_words(one)}, asked {wanted}",
                      measured=measured, **options)
    reasons = [*([one.unread] if one.unread is not None else []), *one.at_least]
    if reasons:
        counted = f"{counts_in_words(one)}; " if one.errors else ""
        return unknown(subject, f"{way}: {wanted} cannot be shown: {counted}{reasons[0]}", needs_root=one.needs_root)
    if not one.payload_bits:
        return unknown(subject, f"{way}: {wanted} is not shown: no byte is known to have crossed it")
    more = seconds_to_show(one, ber)
    longer = "more traffic shows it only where the errors end" if more is None else f"{duration(more + 1)} more show it"
    counted = f"{counts_in_words(one)} " if one.errors else "no error "
    return unknown(subject, f"{way}: {wanted} is not shown: {counted}{over}, {bounds_in_words(one)}; {longer}",
                   measured=measured)

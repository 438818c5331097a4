"""`boxcheck burn --until-ber X`: copies until every link is shown to damage less than one bit in 1/X, or cannot be.

The whole run counts: bits and errors of all phases are in one ledger (boxcheck.stress.link_ledger), and the rounds of
copies add what is missing. No error in N bits shows a rate below 2.996/N at 95 %; each error asks for more bits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec

from boxcheck.checks.wording import duration as words
from boxcheck.engine.around import weighs
from boxcheck.engine.inspect import Facts, findings_of
from boxcheck.engine.plan import LONGEST_SECONDS, Plan, Step
from boxcheck.gpu import GpuInfo
from boxcheck.model import Crash, Finding, Outcome, Unread
from boxcheck.probes.kernel_log import KernelLogs
from boxcheck.probes.links import Links
from boxcheck.probes.pci import PciInventory
from boxcheck.probes.pcie_aer import Aer
from boxcheck.profile import Profile
from boxcheck.registry import CHECKS
from boxcheck.stress.boundaries import Boundaries
from boxcheck.stress.burn_link_checks import BerAsked
from boxcheck.stress.link_ledger import Direction, Ledger
from boxcheck.stress.link_rate_checks import TOWARD, link_subject
from boxcheck.stress.link_rates import (
    bits_needed,
    bounds_in_words,
    is_above,
    is_shown,
    per_bit,
    seconds_to_show,
)
from boxcheck.stress.link_routes import WAYS, Hop, LinkMap, link_map
from boxcheck.usage import UsageError

STEP = "until-ber"
LEAST_BER, MOST_BER = 1e-17, 1e-6
SHARE = 0.1
"""Payload that verified copies put on a link one way, as a part of what it could carry, beside start-up, the other
direction, pageable memory, comparing, and GPUs that copy alone first. An estimate for the plan; the run goes by what it
measures."""
START_SECONDS = 5.0
"""Of a round's time, in which workers open their devices."""
ROUND_SECONDS = (20.0, 300.0)
PEERS_EVERY = 3
"""Each third round copies between GPUs, where there are some: other routes, and all of them at once."""
OVERTIME, SPARE_SECONDS = 1.5, 300.0
"""The hard end of the step, beyond its estimate."""


def parse_ber(text: str) -> float:
    """UsageError for what is no bit error rate."""
    try:
        ber = float(text)
    except ValueError:
        ber = 0.0
    if not LEAST_BER <= ber <= MOST_BER:
        raise UsageError(f"{text!r} is no bit error rate that can be shown", "from 1e-6 to 1e-17, such as 1e-12")
    return ber


def map_of(gpus: Sequence[GpuInfo], facts: Facts) -> LinkMap:
    """The links above the devices by what was read before the load; none where that was not read."""
    links, aer, pci, logs = facts.of(Links), facts.of(Aer), facts.of(PciInventory), facts.of(KernelLogs)
    if isinstance(links, Unread) or isinstance(aer, Unread) or isinstance(pci, Unread) or isinstance(logs, Unread):
        return LinkMap(hops={}, ways={})
    return link_map(gpus, links, aer, pci, logs)


def with_ber(plan: Plan, ber: float, where: LinkMap, peers: int) -> Plan:
    """The plan with a step that goes on until the rate is shown, after the load and before the cool-down. UsageError
    where that takes longer than a run may. A rate that cannot be shown at all still has its step, which says so."""
    seconds, why = estimate(where, ber)
    if seconds > LONGEST_SECONDS:
        raise UsageError(
            f"to show {ber:g} takes about {words(seconds)}{why and f' ({why})'}, and a run lasts 30 d at most",
            f"{per_bit(ber * seconds / LONGEST_SECONDS)} can be shown in that time")
    between = {"between": "yes"} if peers > 1 else {}
    step = Step(name=STEP, kind="until-ber", seconds=seconds, ber=ber, options=between)
    last = next((at for at, one in enumerate(plan.steps) if one.kind == "cool-down"), len(plan.steps))
    if last == len(plan.steps) and plan.steps and plan.steps[-1].kind == "doctor":
        last -= 1
    left_out = {**plan.left_out, STEP: f"cannot be shown: {why}"} if why and not seconds else plan.left_out
    return msgspec.structs.replace(
        plan, name=f"{plan.name}, until {ber:g}", left_out=left_out,
        steps=(*plan.steps[:last], step, *plan.steps[last:]))


def estimate(where: LinkMap, ber: float) -> tuple[float, str]:
    """Seconds that the slowest link takes, and which that is; 0 and the reason where no link can show anything."""
    open_hops = [(hop, toward) for hop in where.hops.values() for toward in WAYS if _is_heard(hop, toward)]
    if not where.hops:
        return 0.0, "no GPU is on a link that can be seen"
    if not open_hops:
        return 0.0, "no end of any link is known to count errors (boxcheck explain aer.live; root can read it)"
    paces = {hop.port: hop.gigabits for hop, _ in open_hops}
    known = [(pace, port) for port, pace in paces.items() if pace is not None]
    if not known:
        return 0.0, "speed and width of no link were read"
    pace, port = min(known)
    hop = where.hops[port]
    seconds = bits_needed(0, ber) / (pace * 1e9 * SHARE)
    rounds = max(1.0, seconds / ROUND_SECONDS[1])
    return seconds + START_SECONDS * rounds, f"{link_subject(hop)} at x{hop.lanes} {hop.gigatransfers:g} GT/s"


def _is_heard(hop: Hop, toward: str) -> bool:
    receiver = hop.card if toward == "card" else hop.port
    return receiver is not None and receiver not in hop.silent


def left(ledger: Ledger, ber: float) -> list[Direction]:
    """Directions that are not shown yet and can be: their errors are known, and are not too many."""
    return [one for one in expected(ledger) if one.unread is None and not one.at_least
            and not is_shown(one, ber) and not is_above(one, ber)]


def expected(ledger: Ledger) -> list[Direction]:
    """Every direction of every link, also of those that nothing was put on."""
    found = {(one.hop.port, one.toward): one for one in ledger.directions()}
    return [
        found.get((port, toward)) or _untouched(ledger.where.hops[port], toward == "card")
        for port in sorted(ledger.where.hops) for toward in WAYS]


def _untouched(hop: Hop, to_card: bool) -> Direction:
    toward = WAYS[0] if to_card else WAYS[1]
    receiver = hop.receiver(toward)
    silent = hop.silent.get(receiver) if receiver is not None else "nothing was read of what hangs below the port"
    if silent is None:
        return Direction(hop=hop, toward=toward)
    if isinstance(silent, Unread):
        return Direction(hop=hop, toward=toward, needs_root=silent.kind == "permission",
                         unread=f"whether {receiver} reports errors was not read: {silent.why}")
    return Direction(hop=hop, toward=toward, unread=f"{receiver} counts no errors: {silent}")


def rounds(
    step: Step, ledger: Ledger, *, load: Callable[[Step], None], stopping: Callable[[], bool],
    say: Callable[[str], None], now: Callable[[], float] = time.monotonic,
) -> str:
    """Runs rounds until nothing is left to show, or the hard end. `load` runs one step and adds it to the ledger. Gives
    how it ended, in words."""
    ber, began, number = step.ber or MOST_BER, now(), 0
    end = began + step.seconds * OVERTIME + SPARE_SECONDS
    while not stopping():
        open_ones = left(ledger, ber) if step.seconds else []
        if not open_ones:
            return _ended(ledger, ber)
        if now() >= end:
            return f"its hard end came after {words(now() - began)}; not shown for {len(open_ones)} directions"
        before = [one.payload_bits for one in open_ones]
        number += 1
        module = "p2p" if "between" in step.options and number % PEERS_EVERY == 0 else "copy"
        seconds = min(max(_more(open_ones, ber, step.seconds), ROUND_SECONDS[0]), ROUND_SECONDS[1])
        load(Step(name=f"{STEP}, round {number}", kind="stress", modules=(module,), seconds=min(seconds, end - now())))
        after = left(ledger, ber)
        say(progress(after, ber, now() - began) if after else _ended(ledger, ber))
        moved = [one.payload_bits for one in after]
        if module == "copy" and after and moved == before:
            return "a round moved nothing over the links that are left"
    return "it was stopped"


def _more(open_ones: Sequence[Direction], ber: float, planned: float) -> float:
    """How long the next round should be: half of what is left, so that the pace is measured anew."""
    known = [more for one in open_ones if (more := seconds_to_show(one, ber)) is not None]
    return max(known) / 2 + START_SECONDS if known else planned / 4


def _ended(ledger: Ledger, ber: float) -> str:
    every = expected(ledger)
    if not every:
        return f"{per_bit(ber)} cannot be shown: no GPU is on a link that can be seen"
    shown = sum(is_shown(one, ber) for one in every)
    if shown == len(every):
        return f"{per_bit(ber)} is shown for all {shown} directions"
    return f"{per_bit(ber)} is shown for {shown} of {len(every)} directions, and cannot be for the others"


def progress(open_ones: Sequence[Direction], ber: float, seconds: float) -> str:
    """The direction that is furthest from being shown, and how much longer it takes at the pace so far."""
    worst = min(open_ones, key=lambda one: one.payload_bits / bits_needed(one.errors, ber))
    percent = 100.0 * worst.payload_bits / bits_needed(worst.errors, ber)
    more = seconds_to_show(worst, ber)
    eta = "" if more is None else f", about {words(more)} more"
    name = f"{link_subject(worst.hop)} {TOWARD[worst.toward]}"
    return (f"{len(open_ones)} directions to go after {words(seconds)}; {name}: "
            f"{bounds_in_words(worst)}, {percent:.0f} % of the bits{eta}")


def judge_links(
    ledger: Ledger, ber: float | None, found: Boundaries, want: Profile, crashes: list[Crash]
) -> list[Finding]:
    """What is judged once for the whole run: the rate that was asked for, and counters between phases. Whoever asks for
    a rate asks for a pass of it; counters that could not be read decide only where the profile requires them."""
    facts, findings = Facts(), list[Finding]()
    facts.put(Boundaries, found)
    facts.put(LinkMap, ledger.where)
    if ber is not None:
        facts.put(BerAsked, BerAsked(ber=ber, directions=tuple(expected(ledger))))
        findings = [msgspec.structs.replace(one, blocker=one.outcome is not Outcome.SKIP)
                    for one in findings_of(CHECKS["burn.until-ber"], facts, want, crashes)]
    counters = findings_of(CHECKS["burn.link-counters"], facts, want, crashes)
    return [*findings, *(msgspec.structs.replace(one, blocker=weighs(one, want)) for one in counters)]

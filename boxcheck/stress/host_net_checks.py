"""Judgements on what went over the network: right, fast enough, and without errors of the interface."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from boxcheck.checks.wording import broken_bound, judged, size
from boxcheck.model import BOX, Finding, Limit, Outcome, Quantity, Subject
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, limit, marginal, outcome_of, passed, skipped, unknown
from boxcheck.stress import Sample, StressResults
from boxcheck.stress.judging import SHOWN, in_words, many, middle

RATE = limit(
    "net.gbs", float, "ge", "GB/s", "Rate of verified payload to and from another machine, in each direction while the "
    "other is loaded too.", low=0.01, high=200)
UNASKED = "no other machine was named: --option peer=HOST[:PORT] here and listen=[ADDRESS:]PORT there, or the other way"
LOOPBACK = "it went over the loopback, which is no network"
LEAST_PIECES = 3
BEYOND = 1.02
"""Pieces are timed at one end and verified at the other: a block or two may fall into the next."""
BIT_ERRORS = 1e-11
"""Ten times the bit error rate that IEEE 802.3 asks a link to stay below (1e-12; from memory)."""
LOSS = 1e-4
"""Part of the packets that a host may leave out before it is a finding: kernels count frames of protocols that nobody
speaks as dropped too, some a minute on most networks."""
DAMAGED = {
    "rx_crc_errors": "frames with a wrong checksum", "rx_frame_errors": "misaligned frames",
    "rx_length_errors": "frames of a wrong length", "tx_carrier_errors": "frames that lost the carrier",
    "tx_aborted_errors": "frames that were broken off", "collisions": "collisions"}
LEFT_OUT = {
    "rx_dropped": "dropped on arrival", "tx_dropped": "dropped before they were sent",
    "rx_missed_errors": "missed by the host", "rx_fifo_errors": "lost in a full queue",
    "rx_over_errors": "lost in a full ring", "tx_fifo_errors": "not fetched in time"}
TOTALS = {"rx_errors": "errors on arrival of a kind that the driver does not name",
          "tx_errors": "errors in sending of a kind that the driver does not name"}
CABLE = (
    "reseat the cable or the module, then another one: the counters follow what is bad",
    "ethtool -S IF  names what the card itself counts")
WAYS = {"net.receive": "received", "net.send": "sent"}


def _of(results: StressResults, what: str) -> list[Sample]:
    return [one for one in results.samples if one.what == what]


def _nothing(results: StressResults) -> Finding | None:
    """The one finding where nothing was moved: skipped where nobody asked for it. None where there is something."""
    if any(one.what in WAYS for one in results.samples):
        return None
    if results.ended and not results.troubles and not results.stopped:
        return skipped(BOX, UNASKED)
    return unknown(BOX, "nothing went over a network")


def _last(results: StressResults) -> list[Sample]:
    """The sample with what was read at the end; none where the end was not reached."""
    return [one for one in results.samples if one.what == "net.receive" and "came_through" in one.notes][-1:]


def _subject(samples: Sequence[Sample]) -> Subject:
    name = str(samples[0].notes.get("interface", ""))
    return Subject("nic", name) if name else BOX


def _cause(samples: Sequence[Sample]) -> str:
    return f"network:{samples[0].notes.get('interface', '')}"


def _loopback(samples: Sequence[Sample]) -> bool:
    return samples[0].notes.get("interface") == "lo"


@check("net.wrong-payload", reads=[StressResults], stress="net")
def wrong_payload(results: StressResults, want: Profile) -> Iterator[Finding]:
    """What came over the network was not what was sent.

    Why it matters: TCP compares a sum of 16 bits, and cards do that on their own: what was damaged behind it, in the
    memory of a card or of a host, reaches programs as if it were right.
    What to do: boxcheck stress run dram on both machines first; then another card, and its offloads off
    (`ethtool -K IF rx off tx off`), to see which of them it is.
    Not a fault: of the cable: what it damages is thrown away by the card and counted (net.errors). What the other end
    says it got wrong may be its own memory's fault.
    By hand: boxcheck stress run net --option peer=HOST --seconds 60
    """
    nothing = _nothing(results)
    if nothing is not None:
        yield nothing
        return
    for what, way in WAYS.items():
        samples = _of(results, what)
        if not samples:
            yield unknown(BOX, f"nothing was {way}")
            continue
        subject, other = _subject(samples), samples[0].notes["other"]
        checked, wrong = sum(one.checked for one in samples), sum(one.wrong for one in samples)
        notes = (LOOPBACK,) if _loopback(samples) else ()
        if wrong:
            words = [word for one in samples for word in one.words]
            bytes_ = f"{many(wrong, 'byte')} wrong, of {size(checked)}"
            came = what == "net.receive"
            says = f"{bytes_} that came from {other}" if came else f"{other} found {bytes_} that were sent to it"
            yield failed(
                subject, says, measured=Quantity(wrong, "bytes"), cause=_cause(samples), where=str(subject),
                notes=(*(in_words(word) for word in words[:SHOWN]), *notes), title=f"{subject}: wrong data",
                help=("boxcheck stress run dram, on both machines",
                      "ethtool -K IF rx off tx off  lets the processor compare instead of the card; repeat it"))
        elif not checked:
            yield unknown(subject, f"nothing that was {way} was compared", notes=notes)
        else:
            end = f"from {other}" if what == "net.receive" else f"to {other}, and compared there"
            yield passed(subject, f"{size(checked)} {way} {end}, none of it wrong", measured=Quantity(0, "bytes"),
                         notes=notes)


@check("net.rate", reads=[StressResults], limits=[RATE], stress="net")
def rate(results: StressResults, want: Profile) -> Iterator[Finding]:
    """The network moved payload more slowly than the profile asks.

    Why it matters: training over several machines waits for its slowest link. A link that came up at a lower speed, or
    that loses frames, shows here.
    What to do: cat /sys/class/net/IF/speed; then net.errors, the other machine's side, and more streams.
    Not a fault: a switch or a link that others use at the same time; a slower card at the other end.
    By hand: boxcheck stress run net --option peer=HOST --option streams=8; iperf3 -c HOST --bidir
    """
    nothing = _nothing(results)
    if nothing is not None:
        yield nothing
        return
    bound = want.limit(RATE)
    for what, way in WAYS.items():
        samples = _of(results, what)
        if not samples:
            yield unknown(BOX, f"nothing was {way}")
            continue
        subject = _subject(samples)
        good = [one.value for one in samples if one.value is not None and one.checked and not one.wrong]
        if any(one.wrong for one in samples):
            yield unknown(subject, f"what was {way} was not all right, so that its rate says nothing")
        elif not good:
            yield unknown(subject, f"what was {way} has no rate")
        else:
            yield _rated(results, samples, bound, middle(good), way, len(good))


def _rated(
    results: StressResults, samples: Sequence[Sample], bound: Limit | None, value: float, way: str, pieces: int
) -> Finding:
    subject, notes = _subject(samples), samples[0].notes
    speed = notes.get("speed_mbps")
    link = f", of {float(speed) / 8000:.3g} GB/s of the link ({speed} Mb/s)" if speed is not None else ""
    again = sum(int(one.notes.get("retransmits", 0)) for one in _last(results))
    says = f"{value:.3g} GB/s {way} over {many(int(notes['streams']), 'stream')}{link}" + (
        f"; {many(again, 'segment')} sent again" if again else "")
    if _loopback(samples):
        return skipped(subject, f"{says}; {LOOPBACK}")
    if not results.full_size:
        return skipped(subject, f"small sizes; their rate is not judged; {says}")
    if bound is None:
        return skipped(subject, f"the profile sets no {RATE}; {says}")
    if speed is not None and value > BEYOND * float(speed) / 8000:
        return unknown(subject, f"{says}, which is more than that link can move", measured=Quantity(value, "GB/s"))
    if pieces < LEAST_PIECES:
        return unknown(subject, f"{says}, in {many(pieces, 'piece')}: too few to tell", help=("run it longer",))
    said = f"{says}, {broken_bound(value, bound)}"
    return judged(subject, round(value, 4), bound, said, cause=_cause(samples) if (
        outcome_of(value, bound) is not Outcome.PASS) else None, help=(
            "cat /sys/class/net/IF/speed at both ends, and the switch's port", *CABLE))


@check("net.errors", reads=[StressResults], stress="net")
def errors(results: StressResults, want: Profile) -> Iterator[Finding]:
    """The interface counted errors, lost frames, or its link went down while payload crossed it.

    Why it matters: TCP sends again what is lost, so that a bad cable is only slow, until it is out. What is counted
    under load here is what training over it waits for.
    What to do: reseat the cable or the module and try another; for frames that the host missed, more or larger queues
    (ethtool -G, -L) and interrupts on cores near the card.
    Not a fault: some dropped frames a minute of protocols that nobody speaks; one damaged frame in a hundred gigabytes.
    By hand: ip -s -s link show dev IF; ethtool -S IF; cat /sys/class/net/IF/carrier_changes
    """
    nothing = _nothing(results)
    if nothing is not None:
        yield nothing
        return
    told = _last(results)
    if not told:
        yield unknown(_subject([one for one in results.samples if one.what in WAYS]),
                      "the counters of the interface were not read at the end")
        return
    subject = _subject(told)
    if _loopback(told):
        yield skipped(subject, LOOPBACK)
        return
    if subject is BOX:
        yield unknown(BOX, f"no interface has the address {told[0].notes['own']}, so that no counter was read")
        return
    counts = {name.removeprefix("if_"): int(value) for name, value in told[0].notes.items() if name.startswith("if_")}
    yield _counted(told, subject, counts)


def _counted(told: Sequence[Sample], subject: Subject, counts: dict[str, int]) -> Finding:
    missing = [name for name in ("rx_errors", "tx_errors", "rx_dropped", "tx_dropped", "rx_crc_errors",
                                 "carrier_changes") if name not in counts]
    if any(value < 0 for value in counts.values()):
        return unknown(subject, "its counters began anew meanwhile: its driver was loaded again, or it was reset")
    moved = counts.get("rx_bytes", 0) + counts.get("tx_bytes", 0)
    packets = counts.get("rx_packets", 0) + counts.get("tx_packets", 0)
    named = {**DAMAGED, **LEFT_OUT}
    found = [(name, counts[name], f"{counts[name]} {words}") for name, words in named.items() if counts.get(name)]
    for name, words in TOTALS.items():
        side = name[:3]
        rest = counts.get(name, 0) - sum(value for one, value, _ in found if one.startswith(side))
        if rest > 0:
            found.append((name, rest, f"{rest} {words}"))
    downs = counts.get("carrier_changes", 0)
    damaged = sum(value for name, value, _ in found if name not in LEFT_OUT)
    left_out = sum(value for name, value, _ in found if name in LEFT_OUT)
    over = f"in {size(moved)} that crossed it"
    notes = tuple(words for _, _, words in found)
    more = {"cause": _cause(told), "where": str(subject), "help": CABLE, "notes": notes}
    if downs:
        return failed(subject, f"its link changed {many(downs, 'time')} under load, {over}",
                      measured=Quantity(downs, "changes"), title=f"{subject}: its link went down under load", **more)
    if damaged > 1 + BIT_ERRORS * 8 * moved:
        return failed(subject, f"{many(damaged, 'damaged frame')} {over}", measured=Quantity(damaged, "frames"),
                      title=f"{subject}: damaged frames", **more)
    if damaged:
        return marginal(subject, f"{many(damaged, 'damaged frame')} {over}", measured=Quantity(damaged, "frames"),
                        title=f"{subject}: damaged frames", **more)
    if left_out > LOSS * packets:
        return marginal(
            subject, f"{many(left_out, 'frame')} of {packets} lost by the host, {over}",
            measured=Quantity(left_out, "frames"), title=f"{subject}: frames lost by the host", **{
                **more, "help": ("ethtool -G IF rx 4096  gives it longer queues", "ethtool -S IF  names the queue")})
    if missing:
        return unknown(subject, f"not all of its counters could be read: {', '.join(missing)}", notes=notes)
    if not moved:
        return unknown(subject, "it counted no byte, so that what crossed it went another way")
    return passed(subject, f"no damaged frame and no change of its link {over}", measured=Quantity(damaged, "frames"),
                  notes=notes)

"""Judgements on how fast NVMe drives read: each, all together, a small read, and to the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from boxcheck.checks.wording import broken_bound, judged
from boxcheck.model import BOX, Finding, Limit, Outcome, Quantity, Subject
from boxcheck.profile import Profile
from boxcheck.registry import check, limit, outcome_of, skipped, unknown
from boxcheck.stress import Sample, StressResults
from boxcheck.stress.host_nvme_checks import SCRATCH, drive_cause, drive_subject, none_read, of_drives
from boxcheck.stress.judging import middle
from boxcheck.stress.kept import percent_of

READ = limit(
    "nvme.read_gbs", float, "ge", "GB/s", "Rate of large reads of each NVMe drive, all drives at once.",
    low=0.1, high=100)
ALL = limit(
    "nvme.all_read_gbs", float, "ge", "GB/s", "Rate of large reads of all NVMe drives together.", low=0.1, high=10_000)
SMALL = limit(
    "nvme.random_p99_us", float, "le", "us", "Time within which 99 of 100 reads of 4 KiB, one at a time, come back.",
    low=5, high=1_000_000)
KEPT = Limit("nvme.rate-drop", "ge", must=25.0, should=50.0, unit="%", source=(
    "drives that become too hot lower their rate in steps, light and heavy (NVM Express Base Specification, host "
    "controlled thermal management); half of it is more than copies of one drive differ by themselves"))
MOSTLY_ZERO_PERCENT = 50.0
LEAST_PIECES = 4
SMALL_SIZES = "small sizes; their rate is not judged"
FASTER = (
    "boxcheck doctor disk pcie (ends in PARTIAL) says whether its link has all lanes and its full speed",
    "stop what else reads or writes on it, and repeat")


def _large(samples: Sequence[Sample]) -> list[Sample]:
    """Large reads that count: timed, compared, right."""
    return [
        one for one in samples if one.what.startswith("nvme.sequential.") and one.value is not None and one.checked
        and not one.wrong]


def rate_of(samples: Sequence[Sample]) -> float | None:
    """The middle rate of large reads; None without any."""
    good = _large(samples)
    return middle([one.value or 0.0 for one in good]) if good else None


def zero_percent(samples: Sequence[Sample]) -> float:
    """How much of the large reads was nothing but zeros: blocks never written, for which a drive need not read."""
    good = _large(samples)
    blocks = sum(int(one.notes.get("blocks", 0)) for one in good)
    zeros = sum(float(one.notes.get("zero_percent", 0.0)) * int(one.notes.get("blocks", 0)) for one in good)
    return zeros / blocks if blocks else 0.0


def _judged(subject: Subject, value: float, bound: Limit, says: str, zeros: float, cause: str | None) -> Finding:
    """A rate against its limit; one that holds because the drive is empty is unknown."""
    said = f"{says}, {broken_bound(value, bound)}"
    if outcome_of(value, bound) is Outcome.PASS and zeros > MOSTLY_ZERO_PERCENT:
        return unknown(
            subject, f"{said}; {zeros:.0f} % of it was zeros, which an empty drive makes without reading", limit=bound,
            measured=Quantity(value, bound.unit), help=(SCRATCH,))
    return judged(subject, value, bound, said, cause=cause, help=FASTER)


@check("nvme.read-rate", reads=[StressResults], limits=[READ, ALL], stress="nvme")
def read_rate(results: StressResults, want: Profile) -> Iterator[Finding]:
    """A drive, or all of them together, read more slowly than the profile asks.

    Why it matters: a drive on half its lanes, or behind a slower slot, loads every model at half the speed; an array is
    as fast as its slowest member.
    What to do: boxcheck doctor disk pcie (ends in PARTIAL) names the link; then heat sinks, and drives that share the
    lanes of one slot or of the chipset.
    Not a fault: an encrypted or compressed file system under a scratch file; a drive that others use at the same time;
    an empty drive, which gives zeros without reading (then the check is unknown).
    By hand: sudo boxcheck stress run nvme --seconds 60; cat /sys/class/nvme/nvme0/device/current_link_width
    """
    each, together = want.limit(READ), want.limit(ALL)
    drives = of_drives(results)
    rates: dict[str, float] = {}
    for name, samples in drives.items():
        subject, value = drive_subject(samples), rate_of(samples)
        if value is not None:
            rates[name] = value
        if not results.full_size:
            yield skipped(subject, SMALL_SIZES)
        elif value is None:
            yield unknown(subject, "no rate with right data past the page cache")
        elif each is None:
            yield skipped(subject, f"the profile sets no {READ}; {value:.2f} GB/s")
        else:
            yield _judged(
                subject, value, each, f"{value:.2f} GB/s with {len(drives)} at once", zero_percent(samples),
                drive_cause(samples))
    if together is not None and results.full_size and drives:
        if len(rates) < len(drives):
            yield unknown(BOX, f"{len(drives) - len(rates)} of {len(drives)} drives have no rate")
        else:
            total = sum(rates.values())
            zeros = max(zero_percent(samples) for samples in drives.values())
            yield _judged(BOX, total, together, f"{len(rates)} drives together {total:.2f} GB/s", zeros, "nvme-slow:")
    if not drives:
        yield none_read(results)


@check("nvme.latency", reads=[StressResults], limits=[SMALL], stress="nvme")
def latency(results: StressResults, want: Profile) -> Iterator[Finding]:
    """Small reads of a drive take longer than the profile allows.

    Why it matters: what reads many small pieces (datasets, package trees) waits for each of them. A drive that reads
    its cells again and again before it gives an answer is worn or about to fail; its health log shows it last.
    What to do: look at wear and errors in the health log; leave the drive some free space; update its firmware.
    Not a fault: a drive that others use at the same time; the first reads after a rest, from which a drive wakes.
    By hand: sudo boxcheck stress run nvme --seconds 60; sudo nvme smart-log /dev/nvme0
    """
    bound = want.limit(SMALL)
    drives = of_drives(results)
    for samples in drives.values():
        subject = drive_subject(samples)
        good = [
            one for one in samples if one.what.startswith("nvme.random.") and one.value is not None and one.checked
            and not one.wrong and "p99_us" in one.notes]
        if not results.full_size:
            yield skipped(subject, SMALL_SIZES)
        elif not good:
            yield unknown(subject, "no small read was timed with right data")
        else:
            value = middle([float(one.notes["p99_us"]) for one in good])
            half = middle([one.value or 0.0 for one in good])
            says = f"4 KiB: 99 of 100 within {value:.0f} us, half within {half:.0f} us"
            if bound is None:
                yield skipped(subject, f"the profile sets no {SMALL}; {says}")
            else:
                yield judged(
                    subject, value, bound, f"{says}, {broken_bound(value, bound)}", cause=drive_cause(samples),
                    help=FASTER)
    if not drives:
        yield none_read(results)


@check("nvme.rate-drop", reads=[StressResults], stress="nvme")
def rate_drop(results: StressResults, want: Profile) -> Iterator[Finding]:
    """A drive became slower while it was read.

    Why it matters: a drive that becomes too hot lowers its rate, and ages. Drives between GPUs start warm.
    What to do: boxcheck doctor disk thermal (ends in PARTIAL); a heat sink, and air over it.
    Not a fault: another program that began to use the drive meanwhile.
    By hand: sudo nvme smart-log /dev/nvme0 | grep -i -E 'temperature|thermal'
    """
    drives = of_drives(results)
    for samples in drives.values():
        subject, good = drive_subject(samples), _large(samples)
        if not good:
            yield unknown(subject, "no rate with right data past the page cache")
        elif len(good) < LEAST_PIECES:
            yield skipped(subject, "it ran too briefly to tell")
        else:
            kept = percent_of(good)
            yield judged(
                subject, kept, KEPT, f"at the end {kept:.0f} % of the rate at the start", cause=drive_cause(samples),
                help=("boxcheck doctor disk thermal (ends in PARTIAL)", "stop what else uses it, and repeat"))
    if not drives:
        yield none_read(results)

"""Judgements on what the instruments showed during a run: heat, and what held the clocks down.

On links and on errors of memory: watched_links.py, watched_memory.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.checks.thermal_gpu import ANY_TIME
from boxcheck.model import Finding, Outcome, Quantity
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, marginal, passed, skipped, unknown
from boxcheck.stress import StressResults
from boxcheck.stress.judging import cause_of, judge_value, subject_of
from boxcheck.stress.tally import Tally as Tally
from boxcheck.stress.tally import Watching as Watching

CUTS = frozenset(("thermal-hardware", "power-brake", "prochot", "hardware"))
"""Kinds of throttling by which hardware cuts the clock in an emergency."""


SILENT_SECONDS = 5.0
"""A device may tell nothing for as long, since heat does not come and go between: several readings, of one a second."""


def untold(watching: Watching, key: str, what: str) -> str | None:
    """`it told nothing for 60 s of 61 s: NVML ...`, where that was for too long; else None."""
    gap = watching.untold_seconds.get(key, {}).get(what, 0.0)
    if gap <= SILENT_SECONDS:
        return None
    why = watching.silent.get(key)
    return f"it told nothing for {gap:.0f} s of {watching.seconds:.0f} s{f': {why}' if why else ''}"


@check("stress.temperature", reads=[StressResults, Watching], limits=[ANY_TIME], stress="*")
def temperature(results: StressResults, watching: Watching, want: Profile) -> Iterator[Finding]:
    """A GPU becomes too hot under load.

    Why it matters: it will throttle, and its memory and solder age. Above its stop limit (stress.safety; 100 degrees
    for core and edge, 110 for junction and memory, where no profile sets another) the run is ended, with exit code 5.
    What to do: look at fans, dust, paste, and at the air between the cards; the hottest card is often the one whose
    intake is its neighbour's exhaust.
    Not a fault: a junction some 20 degrees above the edge.
    By hand: watch -n 1 nvidia-smi -q -d TEMPERATURE; sensors 'amdgpu-*'
    """
    bound = want.limit(ANY_TIME)
    for info in results.gpus:
        subject, hot = subject_of(results, info.key), watching.hottest_celsius.get(info.key, {})
        stopped = next((one for one in results.troubles if info.key in one.gpus and one.kind == "too-hot"), None)
        if stopped is not None:
            yield failed(
                subject, stopped.says, cause=f"safety-stop:{info.bdf or info.key}", where=str(subject),
                title=f"{subject}: stopped for safety", help=(stopped.help,))
        elif not info.is_gpu and not hot:
            yield skipped(subject, "a processor; doctor judges its temperature")
        elif not hot:
            yield unknown(subject, f"no temperature was read: {watching.silent.get(info.key, 'its driver tells none')}")
        else:
            told = ", ".join(f"{name} {value:g} °C" for name, value in hot.items())
            core = max((value for name, value in hot.items() if name in ("core", "edge")), default=None)
            if bound is None:
                yield skipped(subject, f"at most {told}; the profile sets no {ANY_TIME}")
            elif core is None:
                yield unknown(subject, f"at most {told}; neither core nor edge was read")
            else:
                found = judge_value(results, info.key, core, bound, f"at most {told}", (
                    "look at fans, dust, paste and the air between the cards",))
                silent = untold(watching, info.key, "temperature") if found.outcome is not Outcome.FAIL else None
                yield found if silent is None else unknown(subject, f"at most {told} as long as it was read; {silent}")


@check("stress.throttled", reads=[StressResults, Watching], stress="*")
def throttled(results: StressResults, watching: Watching, want: Profile) -> Iterator[Finding]:
    """Something held a GPU's clock down while it worked.

    Why it matters: an emergency cut by the hardware (heat, power brake, PROCHOT) halves the clock or worse, and comes
    from outside of the work: heat, a supply, a cable. A software slowdown for heat costs some percent.
    What to do: heat: fans and air. Power brake: the card's power connectors at both ends, then the supply.
    Not a fault: the card's own power limit, which full load always reaches; idle; clocks that somebody set.
    By hand: nvidia-smi -q -d PERFORMANCE
    """
    for info in results.gpus:
        subject, held = subject_of(results, info.key), watching.throttled.get(info.key, {})
        number = watching.readings.get(info.key, 0)
        cuts = {says: times for says, (kind, times) in held.items() if kind in CUTS}
        warm = {says: times for says, (kind, times) in held.items() if kind == "thermal-software"}
        if not info.is_gpu and not number:
            yield skipped(subject, "a processor")
        elif not number:
            yield unknown(subject, f"not read: {watching.silent.get(info.key, 'its driver does not tell')}")
        elif cuts or warm:
            course = watching.courses.get(info.key)
            lasting = course.throttle_seconds if course is not None else {}
            named = ", ".join(
                f"{says} in {times} of {number} readings{f', for {lasting[says]:.0f} s' if says in lasting else ''}"
                for says, times in {**cuts, **warm}.items())
            make = failed if cuts else marginal
            yield make(
                subject, f"held down by {named}", measured=Quantity(sum({**cuts, **warm}.values()), "readings"),
                cause=cause_of(results, info.key), where=str(subject), title=f"{subject}: its clock was cut under load",
                help=("heat: fans and air; power brake: the power connectors at both ends, then the supply",))
        elif (silent := untold(watching, info.key, "throttled")) is not None:
            yield unknown(subject, f"held down by nothing that cuts it in {number} readings; {silent}")
        else:
            others = ", ".join(held) or "nothing"
            yield passed(subject, f"held down by {others} in {number} readings")

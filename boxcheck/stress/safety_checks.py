"""Whether a run was stopped before harm, and the limits by which it would be.

Each limit has a default in boxcheck.engine.safety, so that none is ever off; a profile may set another within what is
possible, with its source. `must` alone counts.
"""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.model import BOX, Finding, Limit, Quantity, Subject
from boxcheck.profile import Profile
from boxcheck.registry import LIMITS, check, failed, limit, passed, skipped, unknown
from boxcheck.stress import StressResults
from boxcheck.stress.judging import subject_of
from boxcheck.stress.safety import BlindStop, Safety, SafetyStop

GPU = limit(
    "safety.gpu_celsius", float, "le", "°C", "Core (NVIDIA) or edge (AMD) of a GPU: above it, all load is stopped.",
    low=60, high=110)
JUNCTION = limit(
    "safety.gpu_junction_celsius", float, "le", "°C", "Hottest spot of a GPU: above it, all load is stopped.",
    low=70, high=115)
MEMORY = limit(
    "safety.gpu_memory_celsius", float, "le", "°C", "Memory of a GPU: above it, all load is stopped.", low=70, high=115)
CPU = limit(
    "safety.cpu_celsius", float, "le", "°C", "Processor (Tctl, package): above it twice in a row, all load is stopped.",
    low=60, high=115)
GPU_WATTS = limit(
    "safety.gpu_watts", float, "le", "W", "Power of one GPU's board: above it twice in a row, all load is stopped.",
    low=20, high=2000)
GPUS_WATTS = limit(
    "safety.gpus_watts", float, "le", "W", "Power of all GPUs together: above it twice in a row, all load is stopped.",
    low=20, high=50_000)
SUPPLY_WATTS = limit(
    "safety.supply_watts", float, "le", "W",
    "What the box takes from the mains, where something tells it: above it twice in a row, all load is stopped.",
    low=50, high=50_000)
RAIL_VOLTS = limit(
    "safety.rail_volts", float, "ge", "V",
    "12 V of supplies that tell it: below it twice in a row, all load is stopped.", low=10.8, high=12)
STOPS = (GPU, JUNCTION, MEMORY, CPU, GPU_WATTS, GPUS_WATTS, SUPPLY_WATTS, RAIL_VOLTS)
GPU_HEAT = frozenset((GPU, JUNCTION, MEMORY))
SILENT = (
    "sudo dmesg | boxcheck triage -  says what the driver reported meanwhile",
    "nvidia-smi, or amd-smi metric, as the driver's own answer: one that hangs means a card that has left the bus")
HELP = {
    GPU: "look at fans, dust, paste and the air between the cards before it is run again",
    JUNCTION: "look at the cooler's mounting and paste, fans and air before it is run again",
    MEMORY: "look at the pads of the memory, fans and air before it is run again",
    CPU: "look at the processor's cooler, its fan or pump, and the air of the case before it is run again",
    GPU_WATTS: "its driver does not hold its power limit: look at the card's firmware and at what set the limit",
    GPUS_WATTS: "lower the cards' power limits, or give them more supply, before it is run again",
    SUPPLY_WATTS: "lower the cards' power limits, or give the box another circuit, before it is run again",
    RAIL_VOLTS: "look at the supply, its cables and connectors, and what hangs on it, before it is run again",
}


@check("stress.safety", reads=[StressResults], limits=list(STOPS), stress="*")
def safety(results: StressResults, want: Profile) -> Iterator[Finding]:
    """A run was stopped before harm was done.

    Why it matters: heat, power or a supply went beyond the limit at which load must end. All load was ended, on every
    GPU and on the host, and the exit code is 5. So was it where no temperature of a GPU came for 30 s any more: a card
    that has left the bus, or whose driver hangs, may go on at full power. That fails too, with exit code 1, since no
    limit was seen to be crossed. A sensor that was silent for some seconds, though it was asked, is unknown.
    What to do: what the finding says, before the box is loaded again.
    Not a fault: a limit that a profile sets too low; the finding names the source of the limit. A silence because the
    process that reads the sensors is gone; that is unknown. So is a GPU of which no temperature was read at all.
    By hand: nvidia-smi -q -d TEMPERATURE,POWER; sensors
    """
    seen = results.safety
    if seen is not None and seen.stop is not None:
        yield _stopped(results, seen.stop, seen.ended_after_seconds)
    elif seen is not None and seen.blind_stop is not None:
        yield _went_dark(results, seen.blind_stop, seen.ended_after_seconds)
    elif seen is not None and not seen.nearest and not seen.silent and not any(one.is_gpu for one in results.gpus):
        yield skipped(BOX, "no GPU worked, and this machine shows no sensor of a processor or supply")
    elif seen is None:
        yield unknown(BOX, "no record of what watched heat and power, which is written when a phase ends")
    elif not seen.nearest:
        why = f": {seen.silent}" if seen.silent else ""
        # That boxcheck's own guard is gone is no lack of rights or sensors: no profile makes that unimportant.
        yield unknown(
            BOX, f"no temperature and no power was read, so that nothing would have stopped it{why}",
            **({"cause": "guard-gone:box", "where": "box", "title": "nothing watched the heat"} if why else {}))
    else:
        if seen.silent:
            yield unknown(BOX, f"not watched all the time: {seen.silent}", help=("repeat it with less else to do",))
        for one in seen.blind:
            yield unknown(
                _subject(results, one.limit, one.subject),
                f"{one.sensor} told nothing for {one.silent_seconds:.0f} s, after it had told something before: what "
                f"{one.limit} is for was not watched", help=SILENT)
        yield from _unwatched(results, seen)
        dark = {(one.limit, one.subject) for one in seen.blind}
        for name, near in seen.nearest.items():
            if (name, near.subject) in dark:
                continue
            spec = LIMITS[name]
            most = "at least" if spec.compare == "ge" else "at most"
            yield passed(
                _subject(results, name, near.subject),
                f"{near.sensor} {most} {near.value:g} {spec.unit}; load would have ended at {near.bound:g}",
                measured=Quantity(near.value, spec.unit),
                limit=Limit(name, spec.compare, must=near.bound, unit=spec.unit, source=near.source))


def _unwatched(results: StressResults, seen: Safety) -> Iterator[Finding]:
    """`unknown` for every GPU of which no temperature was ever read: what others told says nothing of its heat."""
    known = {*seen.watched, *(near.subject for name, near in seen.nearest.items() if name in GPU_HEAT), *(
        one.subject for one in seen.blind if one.limit in GPU_HEAT)}
    for info in results.gpus:
        if info.is_gpu and info.bdf not in known and info.key not in known:
            yield unknown(
                subject_of(results, info.key), "no temperature of it was read, so that no heat would have stopped it",
                help=("boxcheck doctor driver thermal  (ends in PARTIAL)", *SILENT[1:]))


def _subject(results: StressResults, limit: str, word: str) -> Subject:
    """The part that a limit is about; `word` is what the readings call it."""
    info = next((one for one in results.gpus if word in (one.bdf, one.key)), None)
    if info is not None:
        return subject_of(results, info.key)
    if limit in GPU_HEAT or limit == GPU_WATTS:
        return Subject("gpu", word)
    return Subject("cpu", "processor") if limit == CPU else BOX


def _stopped(results: StressResults, stop: SafetyStop, after: float | None) -> Finding:
    subject = _subject(results, stop.limit, stop.subject)
    spec = LIMITS[stop.limit]
    in_words = f"; the load ended {after:.1f} s after that reading" if after is not None else ""
    who = f"{stop.subject}: " if subject is BOX else ""
    return failed(
        subject, f"stopped for safety: {who}{stop.says}{in_words}", measured=Quantity(stop.value, stop.unit),
        limit=Limit(stop.limit, spec.compare, must=stop.bound, unit=stop.unit, source=stop.source),
        notes=(f"readings in a row: {', '.join(f'{one:g}' for one in stop.readings)} {stop.unit}",
               f"at {_clock(stop.wall)}, {stop.monotonic_seconds:.3f} s since the machine started"),
        cause=f"safety-stop:{stop.subject}", where=str(subject), title=f"{subject}: stopped for safety",
        help=(HELP[stop.limit],))


def _went_dark(results: StressResults, stop: BlindStop, after: float | None) -> Finding:
    """No temperature came: a fault of the GPU or its driver where somebody asked for it, as a hang is."""
    subject = _subject(results, GPU, stop.subject)
    ended = f"; it ended {after:.1f} s after that was seen" if after is not None else ""
    says = f"load was stopped: {stop.says}{ended}"
    if not stop.asked:
        return unknown(subject, says, help=("repeat it with less else to do",))
    return failed(
        subject, says, measured=Quantity(stop.silent_seconds, "s"), cause=f"gpu-silent:{stop.subject}",
        where=str(subject), title=f"{subject}: told no temperature any more under load", help=SILENT)


def _clock(wall: float) -> str:
    from datetime import UTC, datetime

    try:
        return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, OSError, ValueError):
        return "a time that no calendar has"

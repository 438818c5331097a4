"""What a burn-in does, step by step, known before it starts. Pure.

A plan is made from a level or a duration, or read from a TOML file:

    name = "night"
    [[step]]
    module = "matmul"          # or "everything", "doctor", "warm-up", "cool-down"
    minutes = 30
    options = { phase = "power" }
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from boxcheck.profile import BurnWanted, Profile
from boxcheck.store.texts import plain_line
from boxcheck.stress.options import is_asked, wrong_option
from boxcheck.usage import UsageError, nearest

StepKind = Literal["doctor", "stress", "together", "cool-down", "until-ber"]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One phase of a run."""

    name: str
    """`doctor before`, `matmul`, `everything`, `cool-down` ..."""
    kind: StepKind
    modules: tuple[str, ...] = ()
    """Stress modules; several run side by side, each on what it works on."""
    seconds: float
    options: Mapping[str, str] = {}
    ber: float | None = None
    """Of `until-ber`: the bit error rate that is to be shown."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    """`level 2`, `for 4 h`, the name of a plan file."""
    steps: tuple[Step, ...]
    left_out: Mapping[str, str] = {}
    """Steps that this machine cannot do, or its profile leaves out, with the reason."""
    not_asked: tuple[str, ...] = ()
    """Loads that this machine could do, and that `--only` leaves out."""
    by_profile: str = ""
    """The profile that changed the plan; empty where none did."""
    exact: bool = False
    """Whether each step lasts as long as it says, whatever the others took: a plan of the owner's."""

    @property
    def seconds(self) -> float:
        """The promised duration."""
        return sum(step.seconds for step in self.steps)


LEVEL_SECONDS = {1: 120.0, 2: 900.0, 3: 3600.0, 4: 28800.0}
DOCTOR_SECONDS = 8.0
"""Reading, and the copies that put links under load."""
WARM_UP = "warm-up"
SHARES = {
    WARM_UP: 0.04, "matmul": 0.25, "vram": 0.20, "copy": 0.08, "p2p": 0.08, "collective": 0.12, "everything": 0.16,
    "power-pulse": 0.05, "cool-down": 0.02,
}
"""Of the time between the two readings by doctor. Memory and products find most faults; what needs both heat and
traffic comes last, when the box is warm."""
WARM_UP_OPTIONS = {"phase": "power", "elements": "fp16"}
"""Full power; fp16 is what most matrix units have."""
MOST_SECONDS = {WARM_UP: 180.0, "cool-down": 120.0}
"""A cooler is as warm as it becomes after some three minutes (from memory)."""
RESTS = {28800.0: "300", 3600.0: "60"}
"""Seconds that memory rests before it is compared, in runs that last at least so long: what leaks slowly shows late."""
SHORTEST_SECONDS = 4.0
"""A step below this proves too little to be called one."""
HOST = ("cpu", "dram", "nvme", "net")
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
LONGEST_SECONDS = 30 * 86400.0


def duration(text: str) -> float:
    """Seconds of `90`, `15m`, `1h30m`, `2d`. UsageError for what is no duration, or none that can be kept."""
    parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)\s*(d|h|min|m|s|)", text.strip())
    joined = "".join(number + unit for number, unit in parts)
    if not parts or joined != re.sub(r"\s+", "", text):
        raise UsageError(f"{text!r} is no duration", "write it as 90s, 15m, 1h30m or 2d")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if not 10 <= seconds <= LONGEST_SECONDS:
        raise UsageError(f"a run of {text} cannot be made", "from 10 s to 30 d")
    return seconds


def refuse_phases(only: Sequence[str]) -> None:
    """UsageError for a word that names no phase."""
    unknown = [word for word in only if word not in SHARES]
    if unknown:
        raise UsageError(f"no phase is called {unknown[0]!r}", nearest(unknown[0], SHARES) or ", ".join(SHARES))


def plan_for(
    seconds: float, name: str, *, gpus: int, peers: int, known: Sequence[str], only: Sequence[str] = (),
    options: Mapping[str, str] | None = None, want: Profile | None = None,
) -> Plan:
    """The plan for a duration. `gpus` devices are worked on, `peers` of one runtime; `known` are the stress modules
    that there are; `want` may ask for another plan in [burn]. Steps that cannot be done give their time to the others,
    and are named."""
    burn = want.burn if want is not None else BurnWanted()
    wanted = [name for name in SHARES if not only or name in only]
    refuse_phases(only)
    cannot: dict[str, str] = {}
    for phase in SHARES:
        if phase in burn.left_out:
            cannot[phase] = f"{AS_PROFILE}{want.name if want else ''} has it: {burn.left_out[phase]}"
        elif phase in ("p2p", "collective") and peers < 2:
            cannot[phase] = "it needs two GPUs of one runtime"
        elif phase not in ("everything", "cool-down") and (phase if phase != WARM_UP else "matmul") not in known:
            cannot[phase] = "this boxcheck has no such module"
    left_out = {phase: why for phase, why in cannot.items() if phase in wanted}
    not_asked = tuple(one for one in SHARES if one not in wanted and one not in cannot and one not in MOST_SECONDS)
    able = [phase for phase in wanted if phase not in left_out]
    loads = [phase for phase in able if phase not in MOST_SECONDS]
    if not loads or not gpus:
        raise UsageError("nothing is left to run", "; ".join(f"{phase}: {why}" for phase, why in left_out.items()))
    work = max(SHORTEST_SECONDS, seconds - 2 * DOCTOR_SECONDS)
    each = {phase: work * share for phase, share in _shares(able, burn.shares).items()}
    for phase, most in MOST_SECONDS.items():
        spare = max(0.0, each.get(phase, 0.0) - most) if phase not in burn.shares else 0.0
        if spare:
            each[phase] -= spare
            each[loads[0]] += spare
    steps = [Step(name="doctor before", kind="doctor", seconds=DOCTOR_SECONDS)]
    rest = next((word for least, word in RESTS.items() if seconds >= least), None)
    for phase in able:
        longer = {"rest": rest} if rest is not None and phase == "vram" else {}
        given = {**longer, **burn.options.get(phase, {}), **(options or {})}
        steps.append(_step(phase, max(each[phase], SHORTEST_SECONDS if phase != "cool-down" else 0.0), known, given))
    steps.append(Step(name="doctor after", kind="doctor", seconds=DOCTOR_SECONDS))
    changed = want is not None and bool(burn.shares or burn.options or burn.left_out)
    return Plan(
        name=name, steps=tuple(steps), left_out=left_out, not_asked=not_asked,
        by_profile=want.name if want is not None and changed else "")


def _shares(able: Sequence[str], asked: Mapping[str, float]) -> dict[str, float]:
    """Parts of the time, 1 together: those that were asked for, and the usual ones of what they leave."""
    fixed = {phase: asked[phase] for phase in able if phase in asked}
    others = {phase: SHARES[phase] for phase in able if phase not in asked}
    left = 1.0 - sum(fixed.values()) if others else 0.0
    scale = 1.0 if others else 1.0 / sum(fixed.values())
    usual = sum(others.values())
    return {phase: fixed[phase] * scale if phase in fixed else others[phase] * left / usual for phase in able}


def paced(step: Step, later: Sequence[Step], left_seconds: float) -> Step:
    """The step, longer or shorter by what those before it took less or more than was planned, so that the whole lasts
    as long as was promised: starting workers and building kernels takes a time that no plan knows."""
    loads = [one for one in (step, *later) if one.kind in LOADS]
    if step not in loads:
        return step
    others = sum(one.seconds for one in later if one not in loads)
    planned = sum(one.seconds for one in loads)
    factor = min(max((left_seconds - others) / planned, LEAST_PACE), MOST_PACE)
    return msgspec.structs.replace(step, seconds=max(step.seconds * factor, min(step.seconds, SHORTEST_SECONDS)))


LOADS = ("stress", "together")
AS_PROFILE = "as profile "
"""How the reason begins why a profile has a step left out."""
LEAST_PACE, MOST_PACE = 0.5, 1.5


def is_rate(check: str) -> bool:
    """Whether a check judges how fast something was, and not whether it was right: a box that is still cold says
    nothing of that."""
    name = check.partition(".")[2]
    return name in COLD or name.startswith("rate") or name.endswith("-rate")


COLD = frozenset(("spread", "library-slow", "still-heating"))
"""Beside rates: what is compared between GPUs that are not yet as warm as each other, and the heating itself."""


class Pace:
    """Keeps a run to its promised duration, step by step."""

    def __init__(self, plan: Plan, steps: Sequence[Step], began: float) -> None:
        self._steps = tuple(steps)
        self._before: tuple[Step, float] | None = None
        """The step before, as it was given, and when."""
        self._extra: list[float] = []
        """What each load took beyond its time: workers that start, kernels that are built."""
        self._ends = began + sum(step.seconds for step in steps)
        self._off = plan.exact or any(step.kind == "until-ber" for step in steps)

    def of(self, number: int, now: float) -> Step:
        """The step of that number, as long as the time that is left allows."""
        step, later = self._steps[number], self._steps[number + 1:]
        if self._before is not None and self._before[0].kind in LOADS:
            self._extra.append(max(0.0, now - self._before[1] - self._before[0].seconds))
        if not self._off:
            usual = sum(self._extra) / len(self._extra) if self._extra else 0.0
            coming = usual * sum(one.kind in LOADS for one in (step, *later))
            step = paced(step, later, self._ends - now - coming)
        self._before = (step, now)
        return step


def _step(phase: str, seconds: float, known: Sequence[str], options: Mapping[str, str] | None) -> Step:
    given = dict(options or {})
    if phase == "cool-down":
        return Step(name=phase, kind="cool-down", seconds=seconds)
    if phase == WARM_UP:
        return Step(name=phase, kind="stress", modules=("matmul",), seconds=seconds, options={
            **WARM_UP_OPTIONS, **given})
    if phase == "everything":
        host = tuple(name for name in HOST if name in known and is_asked(name, given))
        return Step(name=phase, kind="together", modules=("matmul", *host), seconds=seconds, options={
            "phase": "power", **given})
    return Step(name=phase, kind="stress", modules=(phase,), seconds=seconds, options=given)


class _FileStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    module: str
    minutes: float
    options: Mapping[str, str] = {}


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    step: tuple[_FileStep, ...]


def plan_from(text: str, place: str, known: Sequence[str]) -> Plan:
    """A plan file. UsageError says what is wrong with it."""
    try:
        found = msgspec.toml.decode(text, type=_File)
    except msgspec.DecodeError as error:
        raise UsageError(f"plan {place}: {error}", "see docs/how-to/burn-in.md for the format") from None
    steps = []
    for number, one in enumerate(found.step, 1):
        if not 0 < one.minutes * 60 <= LONGEST_SECONDS:
            raise UsageError(f"plan {place}: step {number} lasts {one.minutes:g} minutes", "from 0 to 43200")
        if one.module == "doctor":
            place_word = "before" if number == 1 else "after" if number == len(found.step) else f"step {number}"
            steps.append(Step(name=f"doctor {place_word}", kind="doctor", seconds=one.minutes * 60))
        elif one.module in ("everything", "cool-down", WARM_UP) or one.module in known:
            steps.append(_step(one.module, one.minutes * 60, known, one.options))
        else:
            raise UsageError(
                f"plan {place}: no module is called {one.module!r}",
                nearest(one.module, known) or "boxcheck stress list names them")
    for number, step in enumerate(steps, 1):
        for key, value in step.options.items():
            wrong = wrong_option(step.modules, key, value) if step.modules else (f"{step.name} takes no options", "")
            if wrong is not None:
                raise UsageError(f"plan {place}: step {number}: {wrong[0]}", wrong[1])
    if not any(step.kind in LOADS for step in steps):
        raise UsageError(f"plan {place}: it puts load on nothing", "name a stress module")
    return Plan(name=plain_line(found.name), steps=tuple(steps), exact=True)

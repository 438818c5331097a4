"""What a burn-in does, step by step, known before it starts. Pure.

A plan is made from a level or a duration, or read from a TOML file:

    name = "night"
    [[step]]
    module = "matmul"          # or "everything", "doctor", "cool-down"
    minutes = 30
    options = { elements = "bf16,fp16" }
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from boxcheck.usage import UsageError, nearest

StepKind = Literal["doctor", "stress", "together", "cool-down"]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One phase of a run."""

    name: str
    """`doctor before`, `matmul`, `everything`, `cool-down` ..."""
    kind: StepKind
    modules: tuple[str, ...] = ()
    """Stress modules; several run side by side, each on what it works on."""
    seconds: float
    options: Mapping[str, str] = {}


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    """`level 2`, `for 4 h`, the name of a plan file."""
    steps: tuple[Step, ...]
    left_out: Mapping[str, str] = {}
    """Steps that this machine cannot do, with the reason."""

    @property
    def seconds(self) -> float:
        """The promised duration."""
        return sum(step.seconds for step in self.steps)


LEVEL_SECONDS = {1: 120.0, 2: 900.0, 3: 3600.0, 4: 28800.0}
DOCTOR_SECONDS = 8.0
"""Reading, and the copies that put links under load."""
SHARES = {
    "matmul": 0.28, "vram": 0.20, "copy": 0.08, "p2p": 0.08, "collective": 0.12, "everything": 0.16,
    "power-pulse": 0.06, "cool-down": 0.02,
}
"""Of the time between the two readings by doctor. Memory and products find most faults; what needs both heat and
traffic comes last, when the box is warm."""
SHORTEST_SECONDS = 4.0
"""A step below this proves too little to be called one."""
COOL_DOWN_MOST_SECONDS = 120.0
HOST = ("cpu", "dram", "nvme")
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


def words(seconds: float) -> str:
    """`2 min`, `1 h 30 min`, `45 s`."""
    whole = round(seconds)
    days, rest = divmod(whole, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, left = divmod(rest, 60)
    shown = [f"{number} {unit}" for number, unit in ((days, "d"), (hours, "h"), (minutes, "min")) if number]
    if left and not days and not hours:
        shown.append(f"{left} s")
    return " ".join(shown) or "0 s"


def plan_for(
    seconds: float, name: str, *, gpus: int, peers: int, known: Sequence[str], only: Sequence[str] = (),
    options: Mapping[str, str] | None = None,
) -> Plan:
    """The plan for a duration. `gpus` devices are worked on, `peers` of one runtime; `known` are the stress modules
    that there are. Steps that cannot be done give their time to the others, and are named."""
    wanted = [name for name in SHARES if not only or name in only]
    unknown = [word for word in only if word not in SHARES]
    if unknown:
        raise UsageError(f"no phase is called {unknown[0]!r}", nearest(unknown[0], SHARES) or ", ".join(SHARES))
    left_out: dict[str, str] = {}
    for phase in wanted:
        if phase in ("p2p", "collective") and peers < 2:
            left_out[phase] = "it needs two GPUs of one runtime"
        elif phase not in ("everything", "cool-down") and phase not in known:
            left_out[phase] = "this boxcheck has no such module"
    able = [phase for phase in wanted if phase not in left_out]
    loads = [phase for phase in able if phase != "cool-down"]
    if not loads or not gpus:
        raise UsageError("nothing is left to run", "; ".join(f"{phase}: {why}" for phase, why in left_out.items()))
    work = max(SHORTEST_SECONDS, seconds - 2 * DOCTOR_SECONDS)
    total = sum(SHARES[phase] for phase in able)
    each = {phase: work * SHARES[phase] / total for phase in able}
    if "cool-down" in each:
        spare = max(0.0, each["cool-down"] - COOL_DOWN_MOST_SECONDS)
        each["cool-down"] -= spare
        each[loads[0]] += spare
    steps = [Step(name="doctor before", kind="doctor", seconds=DOCTOR_SECONDS)]
    for phase in able:
        steps.append(_step(phase, max(each[phase], SHORTEST_SECONDS if phase != "cool-down" else 0.0), known, options))
    steps.append(Step(name="doctor after", kind="doctor", seconds=DOCTOR_SECONDS))
    return Plan(name=name, steps=tuple(steps), left_out=left_out)


def _step(phase: str, seconds: float, known: Sequence[str], options: Mapping[str, str] | None) -> Step:
    given = dict(options or {})
    if phase == "cool-down":
        return Step(name=phase, kind="cool-down", seconds=seconds)
    if phase == "everything":
        host = tuple(name for name in HOST if name in known)
        return Step(name=phase, kind="together", modules=("matmul", *host), seconds=seconds, options={
            **given, "phase": "power"})
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
        elif one.module in ("everything", "cool-down") or one.module in known:
            steps.append(_step(one.module, one.minutes * 60, known, one.options))
        else:
            raise UsageError(
                f"plan {place}: no module is called {one.module!r}",
                nearest(one.module, known) or "boxcheck stress list names them")
    if not any(step.kind in ("stress", "together") for step in steps):
        raise UsageError(f"plan {place}: it puts load on nothing", "name a stress module")
    return Plan(name=found.name, steps=tuple(steps))


def as_object(plan: Plan) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(plan)
    return found

"""What a store holds, as values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from boxcheck.gpu import GpuInfo
from boxcheck.stress import StressResults

EndState = Literal["finished", "stopped"]
RunState = Literal["running", "finished", "stopped", "crashed"]
"""`crashed`: nobody writes it, and it has no end."""
PhaseState = Literal["planned", "about", "running", "ended", "cut"]
"""`about`: it was said that it begins; `cut`: the run ended, or began anew, while it was going on."""
Severity = Literal["info", "warn", "fail"]


class ProfileName(msgspec.Struct, frozen=True):
    """Which profile, exactly."""

    name: str
    revision: int
    sha256: str
    """Of its resolved limits."""


class RunInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a run when it begins."""

    kind: str
    """`burn`, `certify`, `stress`, `riser`."""
    id: str = ""
    """Name of the file without its ending; made from time and kind where it is empty."""
    version: str
    commit: str | None = None
    boot: str = ""
    """/proc/sys/kernel/random/boot_id: which boot the monotonic clock counts from."""
    box: str = ""
    """Serial number, or whatever names the box."""
    host: str = ""
    profile: ProfileName | None = None
    plan: Any = None
    """What is to be run, as JSON."""


class Moment(msgspec.Struct, frozen=True):
    seconds: float
    """Since the run began, by the monotonic clock."""
    wall: float
    """Seconds since the epoch, as the wall clock had it then."""


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A time in which one process wrote the store."""

    number: int
    boot: str
    pid: int
    version: str
    began: Moment
    monotonic_seconds: float
    """CLOCK_MONOTONIC when it began."""


class PhasePlan(msgspec.Struct, frozen=True, kw_only=True):
    number: int
    name: str
    module: str
    """The stress module; empty where it is none."""
    devices: tuple[str, ...] = ()
    planned_seconds: float | None = None


class PhaseStart(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a phase when its work begins: as in StressResults."""

    gpus: tuple[GpuInfo, ...] = ()
    slots: Mapping[str, str] = {}
    injected: str | None = None
    full_size: bool = True
    step: int = 0
    """Which step of the plan it is, from 1: several may have one name. 0 in stores from before this was kept."""
    warm_up: bool = False
    """Rates are not judged, also where it is cut off. False in stores from before this was kept."""


class PhaseEnd(msgspec.Struct, frozen=True, kw_only=True):
    outcome: str | None = None
    results: StressResults | None = None
    """Without its samples, which are records. None for a phase that is no module's."""
    samples: int = 0
    readings: int = 0
    """How many records of it there must be."""


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """A phase, as far as it has come."""

    plan: PhasePlan
    state: PhaseState = "planned"
    about: Moment | None = None
    doing: str = ""
    """What was about to be run last."""
    started: Moment | None = None
    start: PhaseStart | None = None
    ended: Moment | None = None
    end: PhaseEnd | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True):
    number: int
    phase: int
    """0: of no phase."""
    at: Moment
    kind: str
    severity: Severity
    subject: str
    says: str
    data: Any = None


class Counts(msgspec.Struct, frozen=True):
    """Rows of each table that there must be."""

    counts: Mapping[str, int]


class End(msgspec.Struct, frozen=True, kw_only=True):
    at: Moment
    state: EndState
    outcome: str | None
    reason: str
    counts: Mapping[str, int]
    """As in Counts."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of a run in short."""

    path: str
    info: RunInfo
    state: RunState
    sessions: tuple[Session, ...]
    end: End | None
    salvaged: Any = None
    """What a salvage could not save; None where the store is as it was written."""

    @property
    def started(self) -> float:
        """Seconds since the epoch."""
        return self.sessions[0].began.wall if self.sessions else 0.0


def steps_of(plan: Any) -> list[Mapping[str, Any]]:
    """The steps of a plan as a store has it; none where something else stands in their place, as a store from elsewhere
    may have it."""
    steps = plan.get("steps") if isinstance(plan, dict) else None
    return [one for one in steps if isinstance(one, dict)] if isinstance(steps, (list, tuple)) else []


def step_seconds(step: Mapping[str, Any]) -> float:
    """How long a step was to last; 0 where it does not say."""
    seconds = step.get("seconds")
    return float(seconds) if isinstance(seconds, (int, float)) else 0.0


def bare(results: StressResults) -> StressResults:
    """Results without samples."""
    return msgspec.structs.replace(results, samples=())

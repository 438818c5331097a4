"""What is on the screen at one moment, as values: made by `state`, drawn by widgets. Nothing here is computed while
drawing, and nothing that was not read is a number."""

from __future__ import annotations

from typing import Literal

import msgspec

from boxcheck.model import Bdf, Outcome
from boxcheck.report.matrices import Matrix
from boxcheck.stress.link_errors import is_link_error

SILENT_SECONDS = 4.0
"""Instruments are read once a second; a worker that builds kernels may miss one or two."""
OLD_SECONDS, GONE_SECONDS = 20.0, 120.0
"""Ages of a rate from which it is marked as old, and not shown any more."""
GRAVE_HOLDS = frozenset(("thermal-hardware", "power-brake", "prochot", "hardware", "thermal-software"))
"""Kinds of reasons why clocks are held down that are an emergency."""

GRAVE = (Outcome.FAIL, Outcome.MARGINAL)
OF_A_WAY = ("link", "slot-power:", "gpu-lost:", "gpu-missing:")
"""How causes begin that a link, its slot or either of its ends has; others that name a card are of its inside."""

GpuState = Literal["ok", "marginal", "fail", "unknown", "waiting", "working", "silent", "lost"]
"""`working`: at work, and not judged yet; `waiting`: no phase works on it; `silent`: its instruments tell nothing."""
RunState = Literal["running", "finished", "stopped", "crashed"]


def is_old(age_seconds: float | None) -> bool:
    """Whether a reading of that age is too old to be shown as one of the frame's moment; None: there was none."""
    return age_seconds is None or age_seconds > SILENT_SECONDS


class Held(msgspec.Struct, frozen=True):
    """Why clocks are held down, and whether that is an emergency."""

    says: str
    grave: bool


class LinkView(msgspec.Struct, frozen=True, kw_only=True):
    """One function on the way to a GPU, root port first."""

    bdf: Bdf
    speed_gts: float | None
    width: int | None
    best_gts: float | None
    best_width: int | None
    """The highest that it had in this run: what it fell from."""
    errors: tuple[tuple[str, int], ...]
    """What its counters grew by since the run began, where they grew."""
    counted: bool
    """Whether anything counts there: without it no error is no zero."""
    counts_now: bool = True
    """Whether its counters were told when it was read last."""
    gone: bool
    age_seconds: float
    """At the frame's moment."""

    @property
    def is_stale(self) -> bool:
        return is_old(self.age_seconds)

    @property
    def is_counting(self) -> bool:
        """Whether its counters are read: what they did not grow by is a zero then, and else is not known."""
        return self.counted and self.counts_now and not self.gone and not self.is_stale

    @property
    def low(self) -> bool:
        return (self.speed_gts or 0) < (self.best_gts or 0) or (self.width or 0) < (self.best_width or 0)

    @property
    def total(self) -> int:
        return sum(number for _, number in self.errors)

    @property
    def of_link(self) -> int:
        """Those that tell of the link itself: advisory errors, and errors within a device, do not."""
        return sum(number for name, number in self.errors if is_link_error(name))


class GpuRow(msgspec.Struct, frozen=True, kw_only=True):
    """One device."""

    key: str
    number: int
    name: str
    is_gpu: bool = True
    arch: str = ""
    slot: str | None
    bdf: Bdf | None
    serial: str | None = None
    uuid: str | None = None
    state: GpuState
    why: str
    """The gravest thing that was found of it, in words; empty where nothing was."""
    sample: str = ""
    """Full name of the samples that the rate is of."""
    what: str
    """The same without its module: `bf16.power`."""
    rate: float | None
    unit: str
    rate_age_seconds: float | None
    expected: float | None
    history: tuple[float | None, ...]
    """Rates of the last two minutes, the oldest first; None where there was none."""
    core_celsius: float | None
    junction_celsius: float | None
    memory_celsius: float | None
    watts: float | None
    limit_watts: float | None
    clock_mhz: float | None
    fan: str
    held: tuple[Held, ...] | None
    """None where its driver does not tell."""
    chain: tuple[LinkView, ...]
    wrong: int
    checked: int
    """How much was verified since this view began to follow."""
    told_seconds: float | None
    """How old the newest reading of it is at the frame's moment; None where there was none. That its instruments tell
    nothing is no reading."""

    @property
    def is_stale(self) -> bool:
        """Whether its readings are too old to be shown as if they were of the frame's moment."""
        return is_old(self.told_seconds)

    @property
    def title(self) -> str:
        """`GPU 2`, `processor 0`."""
        return f"{'GPU' if self.is_gpu else 'processor'} {self.number}"

    @property
    def percent(self) -> float | None:
        return None if self.rate is None or not self.expected else 100 * self.rate / self.expected

    @property
    def place(self) -> str:
        """What a person calls it: the slot, else the address, else the device's key."""
        return self.slot or (self.bdf or self.key).removeprefix("0000:")

    @property
    def errors(self) -> int | None:
        """Of all functions on the way to it; None where nothing counts, and where there was none as far as it was
        read, but one of them is read no more."""
        counted = [link for link in self.chain if link.counted]
        total = sum(link.of_link for link in counted)
        return total if total or (counted and all(link.is_counting for link in counted)) else None


OLD_BOX_SECONDS = 15.0
"""Drives, supplies and fans are read every five seconds (telemetry.box)."""


class Drives(msgspec.Struct, frozen=True, kw_only=True):
    """Of all NVMe drives the warmest and the busiest."""

    celsius: float | None
    busy_percent: float | None
    unread: int
    """Drives whose temperature was not read."""


class Fans(msgspec.Struct, frozen=True, kw_only=True):
    least_rpm: float | None
    """Of those that turn."""
    most_rpm: float | None
    standing: tuple[str, ...]
    """Those that turned in this run, and do no more."""
    unread: int


class HostRow(msgspec.Struct, frozen=True, kw_only=True):
    """The host, and what stands around it. None is what was not read."""

    busy_percent: float | None
    celsius: float | None
    sensor: str
    watts: float | None
    clock_mhz: float | None
    memory_used_bytes: int | None
    memory_total_bytes: int | None
    told_seconds: float | None
    box_seconds: float | None = None
    """How old the next three are; None where they were never read."""
    drives: Drives | None = None
    mains_watts: float | None = None
    fans: Fans | None = None
    rates: tuple[tuple[str, float, str, float], ...] = ()
    """Of host modules: name, value, unit, age in seconds."""

    @property
    def is_stale(self) -> bool:
        return is_old(self.told_seconds)

    @property
    def box_is_stale(self) -> bool:
        return self.box_seconds is None or self.box_seconds > OLD_BOX_SECONDS


class PhaseView(msgspec.Struct, frozen=True, kw_only=True):
    number: int
    name: str
    module: str
    state: str
    outcome: Outcome | None
    planned_seconds: float | None
    seconds: float | None
    """How long it took, or has taken so far."""


class EventRow(msgspec.Struct, frozen=True, kw_only=True):
    number: int
    seconds: float
    severity: str
    kind: str
    subject: str
    says: str


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    outcome: Outcome
    check: str
    subject: str
    says: str
    blocker: bool
    help: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    bdf: Bdf | None = None
    slot: str | None = None
    name: str = ""
    cause: str = ""
    """`kind:identity`, as the finding has it; empty where it has none."""
    where: str = ""
    """The chain of parts from the root down."""

    @property
    def blames(self) -> str:
        """The part that its cause names, most often an address; empty where it names none."""
        return self.cause.partition(":")[2]

    def is_of(self, row: GpuRow) -> bool:
        """Whether it is of this device or of a link on the way to it."""
        ways = {row.bdf, *(link.bdf for link in row.chain)} - {None}
        if self.bdf is not None or self.blames in ways:
            return self.bdf in ways or self.blames in ways
        return self.name in (row.key, f"{row.name} ({row.key})") or (self.slot is not None and self.slot == row.slot)


class LinkSays(msgspec.Struct, frozen=True, kw_only=True):
    """What was found of the error rate of one direction of a link."""

    bdf: Bdf
    """Of the port above it."""
    outcome: Outcome
    says: str


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    run: str
    kind: str
    box: str
    profile: str
    state: RunState
    live: bool
    """Whether what it shows is of now. Of a run that is over it is the last that was known."""
    seconds: float
    """Since the run began; where the view is, in a run that is played again."""
    planned_seconds: float | None
    """Its age at its planned end; None where no time ends it."""
    outcome: Outcome
    """So far, or in the end."""
    over: bool
    """Whether `outcome` is the run's last word."""
    reason: str
    phases: tuple[PhaseView, ...]
    doing: str
    total_watts: float | None
    watts_of: int
    """How many devices `total_watts` is of."""
    gpus: tuple[GpuRow, ...]
    host: HostRow | None
    matrices: tuple[Matrix, ...]
    events: tuple[EventRow, ...]
    events_before: int
    """Older ones that are not among them."""
    problems: tuple[Problem, ...]
    link_says: tuple[LinkSays, ...] = ()
    judged: int = 0
    """How many findings there are: without one, no problem is no good news."""
    step: int = 0
    """Of the plan, from 1; 0 before the first."""
    steps: int = 0
    until: str = ""
    """What ends a run that no time ends, in words; empty where that is not known."""
    playing: str = ""
    """How fast it is played again; empty where it is not."""
    lost: str = ""
    """Why the store can no longer be read; all of it is of before then."""
    opening: bool = False
    """Whether nothing of the run was read yet."""
    unheard_seconds: float = 0.0
    """For how long nothing new has come of a run that goes on, where something is due; 0 where it is not late."""

    def blaming(self, bdf: Bdf) -> tuple[Problem, ...]:
        """What is bad by findings, and caused by this part of the way. What is only not known blames nobody, and what a
        card computes, too slowly or wrongly, no link."""
        return tuple(
            one for one in self.problems
            if one.blames == bdf and one.outcome in GRAVE and one.cause.startswith(OF_A_WAY))

    @property
    def as_of(self) -> str:
        """What to say beside values that are not of now; empty where they are."""
        return "" if self.live or self.opening else "as last read" if self.lost else "as it was at the end"

    @property
    def ages_count(self) -> bool:
        """Whether an old rate is marked as old: it goes on, or went on when it was read last."""
        return self.live or bool(self.lost and not self.over)

    @property
    def untold(self) -> tuple[GpuRow, ...]:
        """GPUs that tell nothing now: a verdict so far is without what they would have told."""
        return tuple(row for row in self.gpus if row.state in ("silent", "lost"))

    @property
    def proven(self) -> Outcome:
        """`outcome`, and of a run that goes on no pass while it is not known what all GPUs do."""
        doubtful = not self.over and self.outcome is Outcome.PASS and (self.untold or self.unheard_seconds)
        return Outcome.UNKNOWN if doubtful else self.outcome

    @property
    def fraction(self) -> float | None:
        """How far it is by its plan; None where none is known, or it is over."""
        return None if self.over else min(1.0, self.seconds / self.planned_seconds) if self.planned_seconds else None

    @property
    def phase(self) -> PhaseView | None:
        """What runs, else what came last."""
        running = [one for one in self.phases if one.state in ("about", "running")]
        begun = [one for one in self.phases if one.state != "planned"]
        return next(reversed(running or begun), None)

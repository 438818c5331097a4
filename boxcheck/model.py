"""The nouns that every part of boxcheck shares. No I/O, no imports from the rest of the package.

Values are frozen msgspec structs: they are cheap to define (start-up time counts), hashable where it matters and
encode to JSON as they are. Units are in names or in `Quantity.unit`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Literal, NewType, NoReturn, TypeVar

import msgspec

Bdf = NewType("Bdf", str)
"""A PCI address as the kernel writes it: `0000:41:00.0` (domain, bus, device, function, lower-case hex)."""

UnreadKind = Literal[
    "absent",  # the machine was asked and has no such thing
    "permission",  # it is there, this user may not read it (root may)
    "not-captured",  # this capture does not hold it, so nobody knows
    "error",  # the kernel answered with an error (EIO, ENODEV ...)
    "timeout",  # it did not answer in time
    "malformed",  # it answered with something that cannot be decoded
    "unsupported",  # the hardware or driver has no such function
    "one-reading",  # the fact needs two readings and there is one
    "crashed",  # boxcheck's own code broke while reading it
]


class Unread(msgspec.Struct, frozen=True, tag="unread"):
    """Something that was not read, and why. It is no zero, no empty string and no False.

    Truth tests, arithmetic and ordering raise TypeError, so that a missing reading cannot slip through
    `if errors:` or `errors > limit` and come out as a pass.
    """

    why: str
    """One clause for a person, with no full stop: `config space needs root`."""
    kind: UnreadKind = "error"

    def _refuse(self, *_: object) -> NoReturn:
        raise TypeError(f"an unread value was used as if it had been read: {self.why}")

    __bool__ = _refuse
    __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _refuse
    __truediv__ = __rtruediv__ = __floordiv__ = __mod__ = __neg__ = _refuse
    __int__ = __float__ = __index__ = __len__ = __iter__ = __contains__ = _refuse


T = TypeVar("T")


def is_read(value: T | Unread) -> bool:
    """True when `value` was read. Prefer `isinstance(value, Unread)` where a type checker must narrow."""
    return not isinstance(value, Unread)


class Outcome(StrEnum):
    """What a check found. Whether it ran at all is part of it: a check that could not look is `unknown`."""

    PASS = "pass"
    MARGINAL = "marginal"
    FAIL = "fail"
    UNKNOWN = "unknown"
    SKIP = "skip"

    @property
    def rank(self) -> int:
        """Order of gravity: fail, unknown, marginal, pass, skip."""
        return _RANK[self]


_RANK = {Outcome.FAIL: 0, Outcome.UNKNOWN: 1, Outcome.MARGINAL: 2, Outcome.PASS: 3, Outcome.SKIP: 4}


def worst(outcomes: Iterable[Outcome]) -> Outcome | None:
    """The gravest of the outcomes, None when there are none."""
    return min(outcomes, key=lambda outcome: outcome.rank, default=None)


Scalar = int | float | str | bool


class Quantity(msgspec.Struct, frozen=True):
    """A measured value with its unit. `value` is a number where it can be compared, else the words that were read."""

    value: Scalar
    unit: str = ""


SubjectKind = Literal[
    "box", "gpu", "link", "function", "slot", "cpu", "memory", "dimm", "nvme", "disk", "nic", "sensor", "node",
    "module", "kernel", "bmc", "group",
]


class Subject(msgspec.Struct, frozen=True):
    """The part that a finding is about, named as printed on the metal where that is known, bus address second."""

    kind: SubjectKind
    name: str = ""
    slot: str | None = None
    bdf: Bdf | None = None

    def __str__(self) -> str:
        """The shortest name a person can act on: slot, then name, then bus address, then kind. Boards that print plain
        numbers on their slots get the word with it."""
        if self.slot:
            return f"slot {self.slot}" if self.slot.isdigit() else self.slot
        return self.name or self.bdf or self.kind


BOX = Subject("box")


class Limit(msgspec.Struct, frozen=True):
    """A limit of a profile, resolved: what was demanded, how it compares, and where the demand comes from.

    `must` broken is a fail; `should` broken (and `must` held) is marginal. At least one of them is set.
    """

    name: str
    compare: Literal["ge", "le", "eq", "in", "not-in", "info"]
    must: Any = None
    should: Any = None
    unit: str = ""
    source: str = ""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One judgement of one check about one subject."""

    check: str
    subject: Subject
    outcome: Outcome
    says: str
    """What is so, in one clause: lower case, both numbers, no full stop. `trained x8, profile requires x16`."""
    measured: Quantity | None = None
    limit: Limit | None = None
    blocker: bool = False
    """Whether the profile makes this check a blocker at the stage being judged. Filled by the judge."""
    evidence: tuple[str, ...] = ()
    """Absolute paths (or program lines) on the machine; the capture holds them at the same paths."""
    help: tuple[str, ...] = ()
    """What to do, one step each."""
    notes: tuple[str, ...] = ()
    cause: str | None = None
    """Key of the physical or software cause, `kind:identity` (`link:0000:40:01.1`). Findings of one cause become one
    problem. None on passes, and where the finding stands alone."""
    ends: tuple[Bdf, ...] = ()
    """Both ends of the link that a finding is about, where its cause names one of them."""
    title: str | None = None
    """Title of the problem where this finding leads it: `slot PCIE3 is capped at 8.0 GT/s`."""
    where: str | None = None
    """The chain of parts from the root down, as a builder would walk it: `root port 40:01.1 > slot PCIE3 > GPU 0`."""
    not_: tuple[str, ...] = msgspec.field(default=(), name="not")
    """What this finding is not, where readings exclude it: `a BIOS speed cap (target 16.0 GT/s)`."""
    needs_root: bool = False
    """The check is unknown only because it ran without root."""
    problem: int | None = None
    """Index into `Verdict.problems`. Filled by the judge."""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Findings that one cause explains: where it is, what to do next, and what it is not."""

    id: str
    title: str
    where: str
    outcome: Outcome
    findings: tuple[int, ...]
    help: tuple[str, ...] = ()
    not_: tuple[str, ...] = msgspec.field(default=(), name="not")


class Crash(msgspec.Struct, frozen=True):
    """A bug of boxcheck's own that the run survived."""

    where: str
    traceback: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    outcome: Outcome
    reason: str
    """One sentence: why this outcome and no better one."""
    counts: Mapping[str, int]
    findings: tuple[Finding, ...]
    problems: tuple[Problem, ...]
    crashed: bool = False
    """A probe or check broke; exit code 4 unless a failure was proven."""
    crashes: tuple[Crash, ...] = ()
    device_lost: bool = False
    """A GPU that was there is gone (fell off the bus), or a run was stopped for safety; exit code 5."""
    not_run: int = 0
    """Required checks that were left out because somebody chose others."""
    partial: bool = False
    """Unknown for no other reason than that: all that was run was read, and nothing required failed."""

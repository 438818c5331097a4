"""Probes, checks and limits: how they are declared, and the tables of all of them.

A probe turns readings into one fact; a check judges facts against limits and never sees the host. Both say by type what
they read, and get exactly that as plain values. Discovery imports every module of `boxcheck.probes` and
`boxcheck.checks`; adding a file there is all it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from boxcheck.model import Finding, Limit, Outcome, Quantity, Scalar, Subject

if TYPE_CHECKING:
    from boxcheck.profile import Profile

Compare = Literal["ge", "le", "eq", "in", "not-in", "info"]
F = TypeVar("F", bound=Callable[..., Any])


class Probe(msgspec.Struct, frozen=True):
    name: str
    """Key of the fact in `boxcheck facts --json`."""
    gives: type
    reads: tuple[type, ...]
    function: Callable[..., Any]


class Check(msgspec.Struct, frozen=True):
    id: str
    area: str
    reads: tuple[type, ...]
    limits: tuple[str, ...]
    needs: tuple[str, ...]
    """What it cannot do without, for people: `root`, `amdgpu`, `NVML` ..."""
    function: Callable[..., Iterable[Finding]]
    stress: str | None = None
    """The stress module whose samples it judges; None for a check of what doctor reads."""

    @property
    def title(self) -> str:
        """What is true when it fires: the first line of the docstring."""
        return (self.function.__doc__ or "").strip().split("\n", 1)[0].rstrip(".")

    @property
    def text(self) -> str:
        import inspect

        return inspect.cleandoc(self.function.__doc__ or "")


class Stress(msgspec.Struct, frozen=True):
    """A stress module: a generator of samples, run in a worker process."""

    name: str
    scope: Literal["each", "all", "host"]
    """`each`: one worker a GPU, side by side; `all`: one worker over all GPUs of a backend; `host`: one worker on the
    processor, whatever GPUs there are."""
    peers: int
    """How many GPUs it needs at least."""
    faults: tuple[str, ...]
    """Faults that can be injected, each of which its checks find."""
    alone_first: bool
    """Whether each GPU runs alone before all run together (`together=no`): they share what is measured."""
    function: Callable[..., Iterable[Any]]

    @property
    def title(self) -> str:
        """What it does: the first line of the docstring."""
        return (self.function.__doc__ or "").strip().split("\n", 1)[0].rstrip(".")


class LimitSpec(msgspec.Struct, frozen=True):
    """A limit that a profile may set. Values out of `low`..`high`, or not among `among`, are impossible."""

    name: str
    type: type
    """int, float, str or bool; lists of these where `compare` is in or not-in."""
    compare: Compare
    unit: str
    doc: str
    low: float | None = None
    high: float | None = None
    among: tuple[Scalar, ...] = ()


PROBES: dict[type, Probe] = {}
CHECKS: dict[str, Check] = {}
LIMITS: dict[str, LimitSpec] = {}
STRESSES: dict[str, Stress] = {}


def probe(name: str, gives: type, reads: Sequence[type] = ()) -> Callable[[F], F]:
    """Registers `function(host, *facts) -> gives`; the facts are of the types in `reads`, in that order."""

    def register(function: F) -> F:
        if gives in PROBES:
            raise ValueError(f"two probes give {gives.__name__}")
        PROBES[gives] = Probe(name, gives, tuple(reads), function)
        return function

    return register


def stress(
    name: str, *, scope: Literal["each", "all", "host"] = "each", peers: int = 1, faults: Sequence[str] = (),
    alone_first: bool = False,
) -> Callable[[F], F]:
    """Registers `function(rig) -> samples` (boxcheck.stress.Rig, boxcheck.stress.Sample)."""

    def register(function: F) -> F:
        if name in STRESSES:
            raise ValueError(f"two stress modules are called {name}")
        STRESSES[name] = Stress(name, scope, peers, tuple(faults), alone_first, function)
        return function

    return register


def check(
    id: str, reads: Sequence[type], limits: Sequence[str] = (), needs: Sequence[str] = (), stress: str | None = None,
) -> Callable[[F], F]:
    """Registers `function(*facts, want) -> findings`; `want` is the profile.

    The docstring is the catalogue entry: its first line says what is true when the check fires; then paragraphs
    `Why it matters:`, `What to do:`, `Not a fault:` and `By hand:`.
    """

    def register(function: F) -> F:
        if id in CHECKS:
            raise ValueError(f"two checks are called {id}")
        area = id.split(".", 1)[0]
        CHECKS[id] = Check(id, area, tuple(reads), tuple(limits), tuple(needs), function, stress)
        return function

    return register


def limit(
    name: str, type: type, compare: Compare, unit: str, doc: str, *,
    low: float | None = None, high: float | None = None, among: Sequence[Scalar] = (),
) -> str:
    """Declares a limit beside the check that reads it, and returns its name."""
    if name in LIMITS:
        raise ValueError(f"two limits are called {name}")
    LIMITS[name] = LimitSpec(name, type, compare, unit, doc, low, high, tuple(among))
    return name


@cache
def discover() -> None:
    """Imports every probe and check of the package, so that their tables are full."""
    import importlib
    import pkgutil

    import boxcheck.checks
    import boxcheck.probes
    import boxcheck.stress

    for package in (boxcheck.probes, boxcheck.checks, boxcheck.stress):
        for module in sorted(name for _, name, _ in pkgutil.iter_modules(package.__path__)):
            # Stress modules load numpy, which takes longer than reading a machine; their checks need none of it.
            if package is not boxcheck.stress or module.endswith(STRESS_CHECKS):
                importlib.import_module(f"{package.__name__}.{module}")


STRESS_CHECKS = ("_checks", "judging", "runtime", "watched", "watched_links", "watched_memory")
"""Ends of the names of modules of `boxcheck.stress` that hold checks."""
STRESS_MODULES = (
    "collective", "copy", "host_cpu", "host_memory", "host_net", "host_nvme", "matmul", "p2p", "power_pulse", "vram",
    "wake")
"""Modules of `boxcheck.stress` that declare what can be run (`@stress`); the others are what these are made of."""


@cache
def discover_stress() -> None:
    """Imports every stress module, and all checks of their results. What modules work with, numpy above all, they
    import themselves when they run."""
    import importlib
    import pkgutil

    import boxcheck.stress

    for name in sorted(name for _, name, _ in pkgutil.iter_modules(boxcheck.stress.__path__)):
        if name in STRESS_MODULES or name.endswith(STRESS_CHECKS):
            importlib.import_module(f"boxcheck.stress.{name}")


def stress_named(name: str) -> Stress:
    """One stress module, without importing the others and their checks: each of eight workers would spend as long on
    them as on numpy. KeyError where there is none of that name."""
    import importlib

    for file in (name, f"host_{name}"):
        if name not in STRESSES:
            with suppress(ModuleNotFoundError):
                importlib.import_module(f"boxcheck.stress.{file.replace('-', '_')}")
    if name not in STRESSES:
        discover_stress()
    return STRESSES[name]


# Findings, as a check yields them. `check` and `blocker` are filled in by the judge.


def _finding(outcome: Outcome, subject: Subject, says: str, options: Mapping[str, Any]) -> Finding:
    return Finding(check="", subject=subject, outcome=outcome, says=says, **options)


def passed(subject: Subject, says: str, **options: Any) -> Finding:
    """The check looked and found what it should be. Options are the other fields of `Finding`."""
    return _finding(Outcome.PASS, subject, says, options)


def marginal(subject: Subject, says: str, **options: Any) -> Finding:
    """Within what must be, outside what should be; or faults below the rate that fails."""
    return _finding(Outcome.MARGINAL, subject, says, options)


def failed(subject: Subject, says: str, **options: Any) -> Finding:
    return _finding(Outcome.FAIL, subject, says, options)


def unknown(subject: Subject, says: str, **options: Any) -> Finding:
    """The check could not look, or what it saw does not settle the question. `says` names what was not read."""
    return _finding(Outcome.UNKNOWN, subject, says, options)


def skipped(subject: Subject, says: str, **options: Any) -> Finding:
    """The question does not arise on this machine or for this profile. Never for something that could not be read."""
    return _finding(Outcome.SKIP, subject, says, options)


_HOLDS: Mapping[str, Callable[[Any, Any], bool]] = {
    "ge": lambda value, bound: bool(value >= bound),
    "le": lambda value, bound: bool(value <= bound),
    "eq": lambda value, bound: bool(value == bound),
    "in": lambda value, bound: value in bound,
    "not-in": lambda value, bound: value not in bound,
}


def outcome_of(value: Scalar, limit: Limit) -> Outcome:
    """pass, marginal (only `should` is broken) or fail (`must` is broken). `info` limits always pass."""
    if limit.compare == "info":
        return Outcome.PASS
    holds = _HOLDS[limit.compare]
    if limit.must is not None and not holds(value, limit.must):
        return Outcome.FAIL
    if limit.should is not None and not holds(value, limit.should):
        return Outcome.MARGINAL
    return Outcome.PASS


def compared(subject: Subject, value: Scalar, limit: Limit, says: str, **options: Any) -> Finding:
    """A finding whose outcome follows from `value` and `limit`. `says` should hold both numbers."""
    return _finding(
        outcome_of(value, limit), subject, says,
        {"measured": Quantity(value, limit.unit), "limit": limit, **options},
    )


def selected(patterns: Sequence[str], id: str) -> bool:
    """Whether a check id is named by one of the patterns: an id, an area (`pcie`) or a glob (`aer.*`)."""
    names, heads, globs = _sorted_out(tuple(patterns))
    if id in names or id.partition(".")[0] in names or id.startswith(heads):
        return True
    if not globs:
        return False
    from fnmatch import fnmatchcase

    return any(fnmatchcase(id, glob) for glob in globs)


@lru_cache(maxsize=256)
def _sorted_out(patterns: tuple[str, ...]) -> tuple[frozenset[str], tuple[str, ...], tuple[str, ...]]:
    """The patterns as names, beginnings (`aer.*`) and other globs: a profile has dozens, asked for each check, and only
    the last kind needs a regular expression."""
    plain = {pattern: not set(pattern.removesuffix("*")) & set("*?[") for pattern in patterns}
    return (
        frozenset(patterns), tuple(pattern[:-1] for pattern in patterns if plain[pattern] and pattern.endswith("*")),
        tuple(pattern for pattern in patterns if not plain[pattern]),
    )


def run_check(check: Check, facts: Sequence[Any], want: Profile) -> Iterator[Finding]:
    """The findings of one check over plain facts, with its id filled in."""
    for finding in check.function(*facts, want):
        yield msgspec.structs.replace(finding, check=check.id)

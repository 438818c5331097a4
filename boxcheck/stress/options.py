"""Options of stress modules: what `--option KEY=VALUE` takes, and what a value may be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import nan

from boxcheck.gpu import GpuError

Values = tuple[str, ...] | None
"""The values that there are; None where the module looks at the value itself: a number, a list, a name."""

_SIZE: Mapping[str, Values] = {"size": ("test",)}
OPTIONS: Mapping[str, Mapping[str, Values]] = {
    "matmul": {
        **_SIZE, "elements": None, "phase": ("exact", "power"), "kernel": None, "engine": ("own", "library")},
    "vram": {**_SIZE, "megabytes": None, "rest": None},
    "copy": {**_SIZE, "megabytes": None},
    "p2p": {**_SIZE, "megabytes": None},
    "collective": {**_SIZE, "megabytes": None, "compute": None, "engine": ("own", "library")},
    "power-pulse": {**_SIZE, "hertz": None, "duty": None},
    "wake": {**_SIZE, "way": ("both", "to", "from"), "pieces": ("mixed",)},
    "cpu": {**_SIZE, "elements": None, "threads": ("all",), "spare": None},
    "dram": {**_SIZE, "megabytes": None, "percent": None, "spare": None},
    "nvme": {**_SIZE, "files": None, "scratch": ("yes",), "scratch_mib": None, "drives": None},
    "net": {**_SIZE, "peer": None, "listen": None, "streams": None, "wait": None},
}
ASKED_BY: Mapping[str, tuple[str, ...]] = {"net": ("peer", "listen")}
"""Modules that run only where one of these options asks for them: `all` and `everything` leave them out else."""


def is_asked(module: str, options: Iterable[str]) -> bool:
    """Whether a module that needs asking was asked for by an option; true for every other."""
    needed = ASKED_BY.get(module)
    return needed is None or any(name in needed for name in options)


def options_of(module: str, given: Mapping[str, str]) -> dict[str, str]:
    """Of options that were given, those that a module has."""
    return {name: value for name, value in given.items() if name in OPTIONS.get(module, ())}


def wrong_option(modules: Sequence[str], key: str, value: str) -> tuple[str, str] | None:
    """What is wrong with an option for these modules, and what to write instead; None where one of them takes it."""
    known = sorted({name for module in modules for name in OPTIONS.get(module, ())})
    takers = [OPTIONS[module][key] for module in modules if key in OPTIONS.get(module, ())]
    if not takers:
        return f"{' and '.join(modules)} has no option {key!r}", f"known are {', '.join(known)}"
    allowed = {one for values in takers for one in values or ()}
    if None in takers or value in allowed:
        return None
    return f"{key}={value} is no value of this option", f"{key} may be {' or '.join(sorted(allowed))}"


def number_of(given: Mapping[str, str], name: str, low: float, high: float) -> float | None:
    """An option that is a number; None where it was not given. GpuError for what is none, or out of range."""
    word = given.get(name)
    if word is None:
        return None
    try:
        value = float(word)
    except ValueError:
        value = nan
    if not low <= value <= high:
        raise GpuError("unsupported", f"{name}={word} is no number from {low:g} to {high:g}")
    return value

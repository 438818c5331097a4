"""Options of stress modules: what `--option KEY=VALUE` takes, and what a value may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Values = tuple[str, ...] | None
"""The values that there are; None where the module looks at the value itself: a number, a list, a name."""

_SIZE: Mapping[str, Values] = {"size": ("test",)}
OPTIONS: Mapping[str, Mapping[str, Values]] = {
    "matmul": {
        **_SIZE, "elements": None, "phase": ("exact", "power"), "kernel": None, "engine": ("own", "library")},
    "vram": {**_SIZE, "megabytes": None, "rest": None},
    "copy": {**_SIZE, "megabytes": None},
    "p2p": {**_SIZE, "megabytes": None},
    "collective": {**_SIZE, "megabytes": None, "compute": None},
    "power-pulse": {**_SIZE, "hertz": None, "duty": None},
    "wake": _SIZE,
    "cpu": {**_SIZE, "elements": None, "threads": ("all",)},
    "dram": {**_SIZE, "megabytes": None, "percent": None},
    "nvme": {**_SIZE, "files": None, "scratch": ("yes",), "scratch_mib": None, "drives": None},
}


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

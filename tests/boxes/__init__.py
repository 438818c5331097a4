"""Machines that were built, not recorded: every profile's healthy box, and named mutations of its bytes.

    from tests.boxes import build
    build("wopr-7x4090").write_tar("wopr.tar.gz")
    build("wopr-7x4090+riser-x8")            # one mutation, or several joined with +

`python -m tests.boxes list` names them, `python -m tests.boxes build NAME OUT.tar.gz` writes one (`OUT` without .tar.gz
becomes a directory). See README.md in this folder for what was taken from where, and what was made up.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module

from tests.boxes import (  # noqa: F401  they register themselves
    mutations_drivers,
    mutations_errors,
    mutations_links,
    mutations_log,
    mutations_parts,
    mutations_strix,
    mutations_system,
    mutations_uplinks,
)
from tests.boxes.machine import Machine
from tests.boxes.mutations import MUTATIONS, Mutation
from tests.boxes.tree import Symlink, Tree

__all__ = ["BOXES", "MUTATIONS", "Mutation", "Symlink", "Tree", "build", "machine", "names"]

_BUILDERS = {
    "wopr-7x4090": ("wopr_7x4090", "machine"),
    "wopr-7x4090-one-reading": ("wopr_7x4090", "machine_one_reading"),
    "tinybox-red": ("tinybox_red", "machine"),
    "tinybox-red-v2": ("tinybox_red_v2", "machine"),
    "tinybox-green": ("tinybox_green", "machine"),
    "tinybox-green-v2": ("tinybox_green_v2", "machine"),
    "tinybox-pro": ("tinybox_pro", "machine"),
    "geohot-amd-dev": ("geohot_amd_dev", "machine"),
    "strix-halo": ("strix_halo", "machine"),
    "laptop": ("laptop", "machine"),
}


def machine(name: str) -> Machine:
    """A new machine: a box, then the mutations after each `+` in their order. For tests that change it further."""
    base, *changes = name.split("+")
    if base not in _BUILDERS:
        raise KeyError(f"no box is called {base}; there are {', '.join(_BUILDERS)}")
    module, function = _BUILDERS[base]
    made: Machine = getattr(import_module(f"tests.boxes.{module}"), function)()
    for change in changes:
        if change not in MUTATIONS:
            raise KeyError(f"no mutation is called {change}")
        mutation = MUTATIONS[change]
        if not mutation.fits(base):
            raise ValueError(f"{change} is for {', '.join(mutation.bases)}, not for {base}")
        mutation.change(made)
        made.assemble()
    return made


@cache
def _built(name: str) -> Tree:
    return machine(name).tree()


def build(name: str) -> Tree:
    """The capture of a box, with mutations after `+`. Rendered once in a process; the copy is the caller's own."""
    return _built(name).copy()


def _builder(name: str) -> Callable[[], Tree]:
    return lambda: build(name)


BOXES: dict[str, Callable[[], Tree]] = {name: _builder(name) for name in _BUILDERS}


def names() -> list[str]:
    """Every healthy box, then every mutation on the box it is meant for."""
    return [*BOXES, *(f"{mutation.base}+{name}" for name, mutation in MUTATIONS.items())]

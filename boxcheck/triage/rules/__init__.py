"""Causes across events: which events are one happening, to which part, and how sure that is.

Each rule is a function over the scene that yields a `Diagnosis` for each time its pattern is there. Rules run in the
order of `ORDER`, from the most specific; what one has explained, the later ones do not see. What is left stands alone,
explained by its own event.

A rule's docstring is its page in `boxcheck explain`: what it concludes; `Why:`; `Not:`; `Source:`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from typing import TypeVar

import msgspec

from boxcheck.triage.scene import Diagnosis, Scene

Conclude = Callable[[Scene], Iterable[Diagnosis]]
F = TypeVar("F", bound=Conclude)

MODULES = (
    "power", "link_gpu", "drive", "lost", "link", "narrow", "settings", "driver", "memory", "results", "machine",
    "alone",
)
"""Files of this package, in the order in which their rules run."""


class Rule(msgspec.Struct, frozen=True):
    id: str
    conclude: Conclude

    @property
    def title(self) -> str:
        return (self.conclude.__doc__ or "").strip().split("\n", 1)[0].rstrip(".")

    @property
    def text(self) -> str:
        import inspect

        return inspect.cleandoc(self.conclude.__doc__ or "")


RULES: dict[str, Rule] = {}


def rule(id: str) -> Callable[[F], F]:
    """Registers a rule, after those registered before it."""

    def register(function: F) -> F:
        if id in RULES:
            raise ValueError(f"two rules are called {id}")
        RULES[id] = Rule(id, function)
        return function

    return register


def discover() -> None:
    """Imports all rules, in order."""
    for module in MODULES:
        import_module(f"{__name__}.{module}")


def diagnose(scene: Scene) -> Iterator[Diagnosis]:
    """All diagnoses, in the order of the rules."""
    discover()
    for entry in RULES.values():
        for diagnosis in entry.conclude(scene):
            scene.claim(diagnosis)
            yield msgspec.structs.replace(diagnosis, rule=entry.id)

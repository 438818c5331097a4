"""One GPU that a text shows several times: `amd-smi metric` before a load and after it, the log of `nvidia-smi -l`.

Each state is judged, since a fault may come and go; what several of them show is told once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from boxcheck.decode.klog.events import Event
from boxcheck.model import Bdf


class _State(Protocol):
    @property
    def at_work(self) -> bool | None: ...


State = TypeVar("State", bound=_State)


def typical(states: Sequence[State]) -> State:
    """The state by which a GPU is described: the last under load, where its link runs at full speed, else the last."""
    return next((state for state in reversed(states) if state.at_work), states[-1])


def told_once(events: Iterable[Event]) -> list[Event]:
    """The events of all states: of those that are alike the first, and for a counter the one that counts most."""
    found: dict[tuple[str, Bdf | None, str, tuple[str, ...]], Event] = {}
    for event in events:
        key = (event.kind, event.bdf, event.severity, event.labels)
        if key not in found or event.count > found[key].count:
            found[key] = event
    return list(found.values())

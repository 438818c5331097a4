"""Made-up burn-ins of whole boxes that pass, by the store alone as well: the patterns that limits are drafted from.

    path = stored("one")        # made once a session; see MADE
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from hashlib import sha256
from random import Random
from tempfile import mkdtemp
from typing import Any

import msgspec

from boxcheck.engine.surroundings import keep
from boxcheck.store.errors import StoreTrouble
from boxcheck.store.rows import PhaseStart
from boxcheck.stress.happenings import Detail, Happening, Source
from tests.report.scenes import Acceptable
from tests.tui.box import STARTED

FOLLOWED: tuple[Source, ...] = ("log", "devices", "memory")
USUAL = "W-0007"
BRIEF = 0.1
"""Of the lengths of phases: 12 s of products, two of each kind of number."""


def _own(serial: str, uuid: str | None) -> str:
    """Another box has other cards."""
    digits = sha256(f"{serial} {uuid}".encode()).hexdigest()
    return f"GPU-{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:32]}"


def _nothing(run: Acceptable) -> None:
    """Nothing is changed."""


def burned(
    folder: str, *, serial: str = USUAL, rates: Sequence[float] = (), day: int = 0, box: str = "wopr-7x4090",
    change: Callable[[Acceptable], None] = _nothing, scale: float = BRIEF, left_out: tuple[str, ...] = ("copy", "p2p"),
    finish: Callable[[Acceptable], object] = lambda run: run.finish(), **fields: Any,
) -> str:
    """Path of the store of a run. `rates`: of each GPU, the part of the usual rate; `change`: is called before it
    begins."""
    run = Acceptable(
        folder, box, left_out, scale, serial=serial, wall=STARTED + 86400.0 * day, **fields)
    run.machine.random = Random(f"{serial} {day}")
    run.machine.slow = dict(enumerate(rates))
    if serial != USUAL:
        run.infos = tuple(msgspec.structs.replace(info, uuid=_own(serial, info.uuid)) for info in run.infos)
    change(run)
    _followed(run, "began")
    run.whole()
    _followed(run, "ended")
    finish(run)
    return run.path


def _followed(run: Acceptable, state: Any) -> None:
    for source in FOLLOWED:
        keep(run.store, Happening(
            kind=f"{source}-followed", says="followed", detail=Detail(source=source, state=state)))


def spread(seed: int, sigma: float = 0.01, box_sigma: float = 0.004, count: int = 7) -> tuple[float, ...]:
    """Parts of the usual rate, by GPU, of one box among many."""
    random = Random(seed)
    mean = random.gauss(1.0, box_sigma)
    return tuple(random.gauss(mean, sigma) for _ in range(count))


def _hot(run: Acceptable) -> None:
    run.machine.hot[3] = 2.0


def _other_cards(run: Acceptable) -> None:
    run.infos = tuple(msgspec.structs.replace(info, name="RTX 5090", pci_id="10de:2b85") for info in run.infos)


def _injected(run: Acceptable) -> None:
    begin = run.store.begin_phase

    def injected(phase: int, start: PhaseStart | None = None) -> StoreTrouble | None:
        return begin(phase, msgspec.structs.replace(start or PhaseStart(), injected="flip-output"))

    run.store.begin_phase = injected  # type: ignore[method-assign]


def _other_driver(run: Acceptable) -> None:
    run.infos = tuple(msgspec.structs.replace(info, driver="CUDA 13.0, driver 590.10") for info in run.infos)


MADE: Mapping[str, Mapping[str, Any]] = {
    "one": {"rates": spread(1)},
    "two": {"serial": "W-0008", "day": 1, "rates": spread(2)},
    "three": {"serial": "W-0009", "day": 2, "rates": spread(3), "change": _other_driver},
    "whole": {"rates": spread(1), "left_out": (), "scale": 0.2},
    "slow": {"serial": "W-0010", "day": 3, "rates": (1.0, 1.0, 1.0, 0.9, 1.0, 1.0, 1.0)},
    "failed": {"rates": (1.0, 1.0, 1.0, 0.5, 1.0, 1.0, 1.0)},
    "marginal": {"rates": (0.95,) * 7},
    "throttled": {"change": _hot},
    "injected": {"change": _injected},
    "stopped": {"finish": lambda run: run.finish("stopped", "somebody ended it")},
    "crashed": {"finish": lambda run: run.crash()},
    "other-cards": {"serial": "W-0011", "change": _other_cards},
}


@cache
def stored(name: str) -> str:
    """Path of the store of one of `MADE`, which nobody writes any more."""
    return burned(mkdtemp(prefix=f"boxcheck-test-golden-{name}-"), **MADE[name])

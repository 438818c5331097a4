"""Made-up runs, each built once a session."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.tui.box import Burning
from tests.tui.runs import RUNS
from tests.tui.showing import Still, frame_of

Runs = Callable[[str], Burning]


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """The run of a name. Its writer holds it until the session ends, where it goes on; tests only read it."""
    folder: Path = tmp_path_factory.mktemp("runs")
    made: dict[str, Burning] = {}

    def of(name: str) -> Burning:
        if name not in made:
            made[name] = RUNS[name](str(folder / name))
            made[name].store.flush()
        return made[name]

    yield of
    for one in made.values():
        one.close()


Frames = Callable[[str], Still]


@pytest.fixture(scope="session")
def stills(runs: Runs) -> Frames:
    """A feed of the frame that the run of a name shows; a new one each time."""
    known: dict[str, Still] = {}

    def of(name: str) -> Still:
        if name not in known:
            known[name] = Still(runs(name).path, frame_of(runs(name)))
        return Still(known[name].path, known[name].frame)

    return of

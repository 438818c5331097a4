"""The pictures in tests/tui/snapshots are what is drawn. `python -m tests.tui.snapshots --write` writes them again."""

from __future__ import annotations

import asyncio

import pytest

from tests.tui.conftest import Frames
from tests.tui.snapshots.__main__ import HERE, SCENES, Scene, taken


@pytest.mark.parametrize("one", SCENES, ids=lambda one: f"{one.run}{one.what and '-'}{one.what}")
def test_a_screen_looks_as_it_did_at_every_size(stills: Frames, one: Scene) -> None:
    still = stills(one.run)
    for name, svg in zip(one.names, asyncio.run(taken(one, still.path, still.frame)), strict=True):
        place = HERE / f"{name}.svg"
        assert place.exists(), "python -m tests.tui.snapshots --write"
        kept = place.read_text(encoding="utf-8")
        if kept == svg:
            continue
        before, now = set(kept.splitlines()), set(svg.splitlines())
        changed = [line for line in svg.splitlines() if line not in before][:5]
        raise AssertionError(
            f"{name} is drawn otherwise ({len(now ^ before)} lines): look at it, then python -m tests.tui.snapshots"
            f" --write\n" + "\n".join(changed))


def test_pictures_fetch_nothing_and_hold_no_marks_of_their_maker() -> None:
    found = list(HERE.glob("*.svg"))
    assert {place.stem for place in found} == {name for one in SCENES for name in one.names}
    for place in found:
        text = place.read_text(encoding="utf-8")
        assert "http" not in text.replace("http://www.w3.org/2000/svg", ""), place.name
        assert "Rich" not in text, place.name
        assert len(text) < 100_000, place.name

"""What `python -m tests.tui.real_terminal` goes by: that it sees what is wrong on a screen."""

from __future__ import annotations

import pytest

from tests.tui.conftest import Frames
from tests.tui.keys_of_page import promised
from tests.tui.showing import app_over, on_screen, run, shown
from tests.tui.tmux import misaligned, not_ascii


@pytest.mark.parametrize("ascii", [False, True])
def test_a_screen_as_it_should_be_has_nothing_wrong_and_one_that_is_shifted_has(stills: Frames, ascii: bool) -> None:
    seen: list[str] = []

    async def test() -> None:
        app = app_over(stills("all-well"), ascii=ascii)
        async with on_screen(app, (80, 24)):
            seen.extend(shown(app))

    run(test)
    assert misaligned(seen, 80) == []
    assert bool(not_ascii("\n".join(seen))) is not ascii
    row = next(place for place, line in enumerate(seen) if "PCIE2" in line)
    for changed, says in (
            (seen[row][:40] + seen[row][41:], "open"), (seen[row] + "|", "longer"),
            (seen[row][:30] + " " + seen[row][30:-2] + seen[row][-1], "does not stand under")):
        wrong = misaligned([*seen[:row], changed, *seen[row + 1:]], 80)
        assert any(says in one for one in wrong), (changed, wrong)


def test_the_page_promises_keys_of_every_screen() -> None:
    found = promised()
    assert {where for where, _ in found} == {"everywhere", "run", "GPU", "links", "doctor", "runs", "side by side", "played again"}
    assert {("run", "up"), ("run", "/"), ("GPU", "0"), ("played again", "["), ("everywhere", "ctrl+p")} <= found
    assert len(found) > 35

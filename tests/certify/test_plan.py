"""How long an acceptance lasts: by the profile, and what is shorter is said."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from boxcheck.certify.acceptance import Identity
from boxcheck.certify.attempts import Asked
from boxcheck.certify.planned_load import load_of
from boxcheck.certify.run import accept
from boxcheck.commands.certify import Options, certify
from boxcheck.engine.kept_profile import keep_profile
from boxcheck.profile import BurnWanted, Profile, ProfileError, load_profile, shipped_profiles
from boxcheck.report.profile import show_text
from boxcheck.usage import UsageError
from tests.golden.runs import burned
from tests.report.scenes import Acceptable
from tests.tui.box import STARTED


def profile(**burn: float) -> Profile:
    return Profile(name="p", revision=1, title="t", burn=BurnWanted(**burn))


@pytest.mark.parametrize(("burn", "options", "seconds", "short"), [
    ({}, (None, None), 3600, ""), ({}, (4, None), 28800, ""), ({}, (2, None), 900, "15 min instead of 1 h"),
    ({"acceptance_seconds": 14400}, (None, None), 14400, ""), ({"acceptance_seconds": 14400}, (None, "1h"), 3600, "1 h instead of 4 h"),
    ({"acceptance_seconds": 14400, "acceptance_least_seconds": 3600}, (None, "1h"), 3600, ""),
    ({"acceptance_seconds": 14400, "acceptance_least_seconds": 3600}, (None, "59m"), 3540, "59 min instead of 1 h"),
])
def test_what_is_shorter_than_the_profile_wants_is_said(
    burn: dict[str, float], options: tuple[int | None, str | None], seconds: float, short: str,
) -> None:
    found = load_of(profile(**burn), *options)
    assert (found.seconds, found.shortened) == (seconds, short)


TEXT = 'name = "p"\nrevision = 1\ntitle = "t"\n[burn]\n'


def test_a_profile_says_how_long(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(TEXT + 'acceptance = "4h"\nacceptance_least = "90m"\n')
    burn = load_profile(str(path)).burn
    assert (burn.acceptance_seconds, burn.acceptance_least_seconds) == (14400, 5400)


@pytest.mark.parametrize("lines", [
    "acceptance = 4", 'acceptance_from = "a page"', 'acceptance = "4h"\nacceptance_from = " "', 'acceptance = "4"', 'acceptance = "5s"', 'acceptance = "31d"', 'acceptance_least = "1h"',
    'acceptance = "1h"\nacceptance_least = "2h"'])
def test_a_time_that_is_none_is_a_mistake_with_its_line(tmp_path: Path, lines: str) -> None:
    path = tmp_path / "p.toml"
    path.write_text(TEXT + lines)
    with pytest.raises(ProfileError, match=rf"p\.toml:{4 + len(lines.splitlines())}: burn\.acceptance"):
        load_profile(str(path))


def test_every_shipped_profile_of_a_box_says_how_long_and_where_from() -> None:
    boxes = [one for one in map(load_profile, shipped_profiles()) if one.gpus.parts]
    assert len(boxes) >= 8
    for one in boxes:
        assert one.burn.acceptance_seconds == 14400, one.name
        assert "14400 s" in one.burn.acceptance_source
        assert "certify: 4 h; source: Canonical checkbox" in show_text(one)


@pytest.mark.parametrize("options", [
    Options(level=1, lasting="1h", profile="generic"), Options(resume=True, operator="A"), Options(end=True), Options(box="W-1"),
    Options(json="-", jsonl="-"), Options(json="/nowhere/x"), Options(profile="generic", risers=("PCIE3",)),
    Options(profile="generic", fields=("colour=red",)), Options(profile="generic", waivers="/nowhere/x")])
def test_options_that_cannot_be_are_refused_before_anything_is_asked(
    options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with pytest.raises(UsageError):
        certify(options)
    assert not list(tmp_path.rglob("attempt-*"))


def test_a_profile_that_asks_for_more_by_the_time_of_the_load_passes_no_shorter_one(tmp_path: Path) -> None:
    """Its file was written anew while the questions were answered: what was asked says nothing of the shortening."""
    def agreed(run: Acceptable) -> None:
        keep_profile(run.store, msgspec.structs.replace(run.want, burn=BurnWanted(acceptance_seconds=14400)))

    for change, disposition in ((agreed, "INCOMPLETE"), (lambda run: None, "PASS")):
        (tmp_path / disposition).mkdir()
        asked = Asked(id="x", identity=Identity(serial="W-1", serial_from="operator"), attempt=1, began=STARTED,
                      run=burned(str(tmp_path / disposition), change=change))
        told = accept(asked, (), now=STARTED + 3600, clock_trusted=True, machine={}).told
        assert told.disposition == disposition, told.reason
        assert ("planned for 28 s, and wopr-7x4090 asks for 4 h" in told.reason) is (change is agreed)

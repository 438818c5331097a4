"""A profile of a box without GPUs says so: `[gpus]`, `count = 0`, and no card."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxcheck.golden.profile_toml import profile_toml
from boxcheck.profile import ProfileError, load_profile
from boxcheck.report.profile import show_text

HEAD = 'name = "x"\nrevision = 1\ntitle = "x"\n[require]\ninspect = ["inventory.gpu-count"]\n'


def written(folder: Path, text: str) -> str:
    path = folder / "x.toml"
    path.write_text(HEAD + text)
    return str(path)


def test_none_is_none_and_nothing_said_is_any(tmp_path: Path) -> None:
    want = load_profile(written(tmp_path, "[gpus]\ncount = 0\n"))
    assert (want.gpus.count, want.gpus.none, want.gpus.parts) == (0, True, ())
    assert "\n  none\n" in show_text(want)
    again = tmp_path / "again.toml"
    again.write_text(profile_toml(want))
    assert load_profile(str(again)).sha256 == want.sha256
    other = load_profile(written(tmp_path, ""))
    assert not other.gpus.none
    assert other.sha256 != want.sha256


@pytest.mark.parametrize("text", ["count = false", "count = 0\npart = 'rtx4090'", "count = { now = 0 }", "count = 1"])
def test_what_is_not_none_names_its_card(tmp_path: Path, text: str) -> None:
    with pytest.raises(ProfileError):
        load_profile(written(tmp_path, f"[gpus]\n{text}\n"))

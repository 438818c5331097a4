"""An attempt that is cut off at any moment is found again, with its number and its run."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from boxcheck.certify.acceptance import Identity
from boxcheck.certify.attempts import Asked, open_attempts, reserve, write_asked
from boxcheck.certify.held import begin, take_up
from boxcheck.commands.runs import Pruning, prune
from boxcheck.engine.resume import machine_name
from boxcheck.host.live import LiveHost
from boxcheck.usage import UsageError
from tests.certify.attempt import run_of
from tests.store.disks import Ballast, small_disk
from tests.store.test_power_cut import mounted


def asked(began: float = 1.0e9) -> Asked:
    return Asked(id="x", identity=Identity(serial="W-1", serial_from="operator"), attempt=0, began=began)


def test_after_a_power_cut_its_number_and_its_run_are_on_the_disk(tmp_path: Path) -> None:
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        pytest.skip("takes root and mkfs.ext4")
    disk, after = tmp_path / "disk", tmp_path / "after"
    with open(disk, "wb") as stream:
        stream.truncate(16 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(disk)], check=True, capture_output=True, timeout=20)

    def left(image: Path) -> list[tuple[str, str]]:
        shutil.copyfile(disk, after)
        with mounted(after, tmp_path / "again") as again:
            box = again / "certify" / "W-1"
            return [(one.parent.name, msgspec.json.decode(one.read_bytes(), type=Asked).run) for one in box.glob("*/asked.json")]

    with mounted(disk, tmp_path / "mount") as place:
        part, first = reserve(str(place / "certify" / "W-1"), asked())
        assert left(disk) == [("attempt-01.part", "")]
        write_asked(part, msgspec.structs.replace(first, run="/x.sqlite"))
        assert left(disk) == [("attempt-01.part", "/x.sqlite")]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "boxcheck").mkdir()
    return tmp_path / "boxcheck"


def test_a_run_that_had_just_begun_is_known_by_what_it_says(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Certify was killed before it kept which run it is."""
    place, _ = reserve(str(state / "certify" / "W-1"), asked())
    run_of(state / "runs", machine_name(), "attempt 2 of box W-1")
    run_of(state / "runs", machine_name(), "attempt 1 of box W-11")
    with pytest.raises(UsageError, match="attempt 1 of box W-1 was cut off before its run began"):
        take_up("W-1", LiveHost())
    run = run_of(state / "runs", machine_name(), "attempt 1 of box W-1")
    assert [(where, one.run) for where, one in open_attempts(str(state / "certify"))] == [(place, run)]
    assert prune(Pruning(state="crashed", keep=0, yes=True)) == 0
    assert [str(one) for one in (state / "runs").glob("*.sqlite")] == [run]
    assert "1 of attempts that are not finished stay" in capsys.readouterr().err
    attempt, more = take_up(None, LiveHost())
    with attempt:
        assert (attempt.asked.run, attempt.state, more) == (run, "crashed", 0)
    run_of(state / "runs", machine_name(), "attempt 1 of box W-1")
    assert open_attempts(str(state / "certify")) == [], "nobody can tell which of the two it is"


def test_a_run_from_before_an_attempt_is_none_of_it(state: Path) -> None:
    reserve(str(state / "certify" / "W-1"), asked(began=4.0e9))
    run_of(state / "runs", machine_name(), "attempt 1 of box W-1")
    assert open_attempts(str(state / "certify")) == []


def test_on_a_full_disk_an_attempt_goes_on_with_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    with small_disk(tmp_path / "disk", 2048) as disk:
        monkeypatch.setenv("XDG_STATE_HOME", str(disk))
        with begin(asked(), LiveHost()) as attempt:
            run = run_of(disk / "boxcheck" / "runs", machine_name(), attempt.name)
            ballast = Ballast(disk)
            attempt.run_began(run)
            assert attempt.asked.run == run
            assert "no space left on device" in capsys.readouterr().err
            ballast.remove()
        assert [one.run for _, one in open_attempts(str(disk / "boxcheck" / "certify"))] == [run]

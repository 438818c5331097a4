"""Attempts are numbered, kept, and whole or not there; their folder is made of the store of a run."""

from __future__ import annotations

import errno
import importlib.util
import os
import shutil
import sqlite3
import subprocess
import tempfile
import tomllib
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from boxcheck.certify import folder as folder_module
from boxcheck.certify.acceptance import Acceptance, Identity
from boxcheck.certify.attempts import (
    Asked,
    AttemptHeldError,
    attempts_of,
    earlier_lines,
    finish,
    forget,
    hold,
    open_attempts,
    read_asked,
    reserve,
    safe_name,
    write_asked,
)
from boxcheck.certify.changes import compare
from boxcheck.certify.contents import contents_of_folder
from boxcheck.certify.folder import resolved_toml, write_folder
from boxcheck.certify.machine import marks
from boxcheck.certify.run import Made, accept
from boxcheck.certify.run_gone import mark_of
from boxcheck.commands.certify import Options as CertifyOptions
from boxcheck.commands.certify import certify
from boxcheck.commands.report import read_acceptance, render_folder, riser_in
from boxcheck.commands.runs import Pruning, prune
from boxcheck.engine.record import as_user
from boxcheck.engine.resume import machine_name
from boxcheck.profile import load_profile, shipped_profiles
from boxcheck.registry import CHECKS
from boxcheck.report.certified import certified_json, certified_text
from boxcheck.report.text import Style
from boxcheck.riser.evidence import Boot, Notebook, Place
from boxcheck.riser.notebook import Stored as StoredNotebook
from boxcheck.usage import UsageError
from tests.certify.attempt import acceptance, run_of
from tests.report.stored import stored
from tests.store.disks import small_disk

HOSTILE = "<img src=x onerror=alert(1)>\u202e\x1b[2J=cmd()"


def asked(serial: str = "W-1", **more: Any) -> Asked:
    return Asked(**{"id": "x", "identity": Identity(serial=serial, serial_from="operator"), "attempt": 0, "began": 1.8e9, **more})


def whole(place: str, told: Acceptance) -> None:
    told = msgspec.structs.replace(told, identity=Identity(serial="W-1", serial_from="operator"))
    os.mkdir(os.path.join(place, "files"))
    Path(place, "files", "acceptance.json").write_bytes(msgspec.json.encode(told))
    finish(place)


@pytest.mark.parametrize("serial", ["../../etc", "a/b", "..", ".", "a.b", "W 1", "", "x" * 500, "\u202e", "-rf", "a\0b", "ä"])
def test_no_serial_number_leaves_the_folder_of_attempts(serial: str) -> None:
    name = safe_name(serial)
    assert name == Path(name).name
    assert name not in (".", "..")
    assert name.isascii()
    assert 0 < len(name) < 80
    assert not name.startswith(("-", "."))
    assert safe_name(f"{serial}!") != name


def test_plain_serial_numbers_stay_and_no_two_become_one() -> None:
    assert safe_name("W-0007") == "W-0007"
    assert len({safe_name(one) for one in ("a/b", "a.b", "a-b", "a b", "a\\b")}) == 5


def test_numbers_go_up_and_what_came_before_stays_in_sight(tmp_path: Path) -> None:
    box = str(tmp_path / "certify" / "W-1")
    place, first = reserve(box, asked())
    assert (first.attempt, place) == (1, os.path.join(box, "attempt-01.part"))
    whole(place, acceptance(attempt=1, disposition="FAIL", verdict_string="pcie.link-width PCIE3"))
    place, second = reserve(box, asked())
    assert second.attempt == 2
    earlier = earlier_lines(attempts_of(box), 2)
    assert earlier == ("1: FAIL pcie.link-width PCIE3 2026-11-28",)
    whole(place, acceptance(attempt=2, earlier=earlier))
    # Somebody removes the first, and the last one is damaged: what is known of them stays, and no number comes again.
    shutil.rmtree(os.path.join(box, "attempt-01"))
    third, _ = reserve(box, asked())
    whole(third, acceptance(attempt=3, earlier=earlier_lines(attempts_of(box), 3)))
    Path(box, "attempt-03", "acceptance.json").write_text("{")
    _, fourth = reserve(box, asked())
    assert fourth.attempt == 4
    assert earlier_lines(attempts_of(box), 4) == (
        "1: FAIL pcie.link-width PCIE3 2026-11-28", "2: PASS 2026-11-28", "3: PASS 2026-11-28")
    Path(box, "attempts.txt").unlink()
    assert earlier_lines(attempts_of(box), 4)[2] == "3: cannot be read"
    shutil.copytree(os.path.join(box, "attempt-02"), os.path.join(tmp_path, "certify", "W-2", "attempt-01"))
    assert earlier_lines(attempts_of(os.path.join(tmp_path, "certify", "W-2")), 2) == (
        "1: PASS 2026-11-28, by its folder attempt 2 of box W-1",)


def test_an_attempt_that_was_moved_elsewhere_keeps_its_number_and_stays_in_sight(tmp_path: Path) -> None:
    """Also the last one, and all of them: a station that signs takes the folder, not a copy."""
    box, lines = tmp_path / "certify" / "W-1", []
    for number, disposition in enumerate(("FAIL", "PASS", "PASS"), 1):
        place, one = reserve(str(box), asked())
        assert (one.attempt, earlier_lines(attempts_of(str(box)), number)) == (number, tuple(lines))
        whole(place, acceptance(attempt=number, disposition=disposition, earlier=tuple(lines)))
        lines.append(f"{number}: {disposition} 2026-11-28")
        os.rename(box / f"attempt-{number:02d}", tmp_path / f"station-{number}")
    assert (box / "attempts.txt").read_text().splitlines() == lines
    open_attempt, _ = reserve(str(box), asked())
    (box / "attempts.txt").write_bytes(b"\xff\n7: x\x1b[2J\n7: y\n")
    assert [(one.number, one.state, one.says) for one in attempts_of(str(box))] == [
        (4, "open", "4: not finished 2027-01-15"), (7, "gone", "7: x\ufffd[2J")]
    forget(open_attempt)
    assert (box / "attempts.txt").exists()


def test_what_is_left_of_an_attempt_that_ended_is_not_ended_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The power went before it was taken away; then the folder was moved to the station."""
    box = tmp_path / "certify" / "W-1"
    place, first = reserve(str(box), asked())
    write_asked(place, msgspec.structs.replace(first, run="/x.sqlite"))
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    whole(place, acceptance(attempt=1, disposition="FAIL"))
    os.rename(box / "attempt-01", tmp_path / "station")
    assert os.listdir(place) == ["asked.json"]
    assert open_attempts(str(tmp_path / "certify")) == []
    assert [one.says for one in attempts_of(str(box))] == ["1: FAIL 2026-11-28"]


def test_an_attempt_that_was_cut_off_keeps_its_number_and_is_found_again(tmp_path: Path) -> None:
    root = str(tmp_path)
    place, first = reserve(os.path.join(root, "W-1"), asked())
    assert open_attempts(root) == [], "its run has not begun"
    write_asked(place, msgspec.structs.replace(first, run="/x.sqlite"))
    assert [(where, one.run) for where, one in open_attempts(root)] == [(place, "/x.sqlite")]
    other, second = reserve(os.path.join(root, "W-1"), asked())
    assert second.attempt == 2
    assert earlier_lines(attempts_of(os.path.join(root, "W-1")), 2)[0].startswith("1: not finished 2027-")
    forget(other)
    assert read_asked(place) is not None
    Path(place, "asked.json").write_text("{")
    assert open_attempts(root) == []


def test_a_box_whose_folder_cannot_be_listed_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, listed = str(tmp_path), os.listdir
    place, first = reserve(os.path.join(root, "W-2"), asked())
    write_asked(place, msgspec.structs.replace(first, run="/x.sqlite"))
    os.mkdir(os.path.join(root, "W-1"))

    def listing(folder: str) -> list[str]:
        if folder == os.path.join(root, "W-1"):
            raise PermissionError(errno.EACCES, "no", folder)
        return sorted(listed(folder))

    monkeypatch.setattr(os, "listdir", listing)
    assert [where for where, _ in open_attempts(root)] == [place]


def test_attempts_that_nobody_can_list_are_not_none(tmp_path: Path) -> None:
    (tmp_path / "certify").write_text("no folder")
    with pytest.raises(UsageError, match="not a directory"):
        open_attempts(str(tmp_path / "certify"))
    assert open_attempts(str(tmp_path / "none")) == []


def test_a_folder_that_is_there_is_never_overwritten(tmp_path: Path) -> None:
    place, _ = reserve(str(tmp_path), asked())
    os.mkdir(os.path.join(place, "files"))
    os.mkdir(tmp_path / "attempt-01")
    with pytest.raises(UsageError, match="is there already"):
        finish(place)
    assert os.path.isdir(place)


def accepted(name: str, **more: Any) -> Made:
    identity = Identity(serial=HOSTILE, serial_from="operator", operator=HOSTILE, more={"lot": HOSTILE})
    return accept(asked(run=stored(name), identity=identity, **more), ("1: FAIL x 2026-11-28",), now=4e9,
                  clock_trusted=None, machine={})


@pytest.mark.parametrize(("name", "dispositions"), [
    ("failed", {"FAIL"}), ("stopped", {"ABORTED", "FAIL"}), ("crashed", {"INCOMPLETE", "FAIL"})])
def test_what_a_store_holds_decides(name: str, dispositions: set[str]) -> None:
    made = accepted(name)
    assert made.told.disposition in dispositions
    assert made.told.exit_code in (1, 3, 5)
    assert made.told.run


def test_a_folder_is_made_of_a_store_and_hostile_words_stay_words(tmp_path: Path) -> None:
    made = accepted("failed")
    place, _ = reserve(str(tmp_path / "W"), asked())
    told = write_folder(place, stored("failed"), made.told, made.want, made.verdict_json)
    folder = Path(finish(place))
    subprocess.run(["sha256sum", "-c", "--quiet", "--strict", "SHA256SUMS"], cwd=folder, check=True)
    assert not any("boxcheck itself broke" in line for line in told.left_out), told.left_out
    html = folder / "report.html"
    if html.exists():
        assert "<img src" not in html.read_text()
    tomllib.loads((folder / "profile.toml").read_text())
    for ascii in (True, False):
        text = certified_text(told, str(folder), Style(columns=80, ascii=ascii))
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert text.isascii() or not ascii
        assert max(len(line) for line in text.splitlines() if "/" not in line) <= 80
        assert "1: FAIL x 2026-11-28" in text
    assert msgspec.json.decode(certified_json(told, str(folder)))["folder"] == str(folder)


def test_a_riser_experiment_lies_in_the_folder_and_in_its_reports(tmp_path: Path) -> None:
    """Also in those that are made anew, where the folder is signed on the box."""
    made = accepted("failed")
    place, _ = reserve(str(tmp_path / "W"), asked())
    book = Notebook(id="r-20261121-1", slot="PCIE7", started=1.0, boots=(
        Boot(id="boot-1", started=1.0, places=(Place(slot="PCIE7", riser="R7"),)),))
    write_folder(place, stored("failed"), made.told, made.want, made.verdict_json, riser=StoredNotebook(notebook=book))
    folder = Path(finish(place))
    assert "Riser experiment at PCIE7" in (folder / "report.html").read_text()
    again = render_folder(str(folder), read_acceptance(str(folder)))
    assert b"Riser experiment at PCIE7" in again["report.html"]
    assert "riser.json" in (folder / "SHA256SUMS").read_text()
    for broken in (b"{", b'{"schema": "boxcheck.notebook/1", "notebook": {}}'):
        (folder / "riser.json").write_bytes(broken)
        with pytest.raises(UsageError, match="no notebook"):
            riser_in(str(folder))
    (folder / "riser.json").unlink()
    (folder / "riser.json").symlink_to("/etc/hostname")
    with pytest.raises(UsageError, match="is no plain file"):
        riser_in(str(folder))


def test_a_disk_that_is_full_leaves_nothing_that_looks_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = accepted("failed")
    place, _ = reserve(str(tmp_path / "W"), asked())
    put = folder_module._put

    def full(folder: str, name: str, data: bytes) -> None:
        if name == "verdict.json":
            raise OSError(errno.ENOSPC, "No space left on device", name)
        put(folder, name, data)

    monkeypatch.setattr(folder_module, "_put", full)
    with pytest.raises(UsageError, match=r"could not be written: .*/files: no space left on device"):
        write_folder(place, stored("failed"), made.told, made.want, made.verdict_json)
    assert [one.state for one in attempts_of(str(tmp_path / "W"))] == ["open"]
    assert os.listdir(place) == ["asked.json"]
    monkeypatch.undo()
    write_folder(place, stored("failed"), made.told, made.want, made.verdict_json)
    assert [one.state for one in attempts_of(os.path.dirname(finish(place)))] == ["whole"]


def test_a_report_that_breaks_is_left_out_and_said_and_changes_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = accepted("failed")
    place, _ = reserve(str(tmp_path / "W"), asked())

    def broken(one: Any, *rest: Any) -> None:
        raise (ImportError(name="fpdf") if one.name == "pdf" else RuntimeError("bad"))

    monkeypatch.setattr(folder_module, "write_form", broken)
    monkeypatch.setattr(folder_module, "is_made", lambda one: True)
    told = write_folder(place, stored("failed"), made.told, made.want, made.verdict_json)
    assert (told.disposition, told.exit_code) == (made.told.disposition, made.told.exit_code)
    assert "report.pdf: the library fpdf is not installed (pip install 'boxcheck[pdf]')" in told.left_out
    assert "report.html: boxcheck itself broke: RuntimeError: bad" in told.left_out


def test_a_pdf_without_its_library_is_left_out_with_what_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = accepted("failed")
    place, _ = reserve(str(tmp_path / "W"), asked())
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "fpdf" else find(name, *more))
    told = write_folder(place, stored("failed"), made.told, made.want, made.verdict_json)
    assert "report.pdf: a PDF needs fpdf2, which is not installed (pip install 'boxcheck[pdf]')" in told.left_out


@pytest.mark.parametrize("name", shipped_profiles())
def test_the_resolved_profile_of_a_folder_is_one_that_judge_takes(name: str, tmp_path: Path) -> None:
    want, path = load_profile(name), tmp_path / "profile.toml"
    path.write_text(resolved_toml(want))
    again = load_profile(str(path))
    assert (again.name, again.revision, again.limits, again.burn) == (want.name, want.revision, want.limits, want.burn)
    for id in CHECKS:
        for stage in ("inspect", "stress"):
            assert again.is_blocker(id, stage) == want.is_blocker(id, stage), (id, stage)  # type: ignore[arg-type]
    assert f"# sha256 of what is judged: {want.sha256}\n" in path.read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, as under sudo")
def test_under_sudo_the_folder_belongs_to_whoever_asked() -> None:
    nobody = 65534
    with tempfile.TemporaryDirectory(dir="/tmp") as top:
        os.chmod(top, 0o755)
        box = os.path.join(top, "W")
        place, _ = reserve(box, asked())
        for folder in (box, place):
            os.chown(folder, nobody, nobody)
        made = accepted("stopped")
        write_folder(place, stored("stopped"), made.told, made.want, made.verdict_json, nobody, nobody)
        with as_user(nobody, nobody):
            folder = finish(place)
        assert {os.stat(os.path.join(folder, name)).st_uid for name in os.listdir(folder)} == {nobody}
        subprocess.run(["sha256sum", "-c", "--quiet", "--strict", "SHA256SUMS"], cwd=folder, check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, as under sudo")
def test_under_sudo_a_full_place_for_temporary_files_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root makes the files there, and hands them over."""
    made = accepted("stopped")
    place, _ = reserve(str(tmp_path / "W"), asked())
    with small_disk(tmp_path / "disk", 256) as disk:
        monkeypatch.setattr(tempfile, "tempdir", str(disk))
        with pytest.raises(UsageError, match=f"could not be written: {disk}: no space left on device"):
            write_folder(place, stored("stopped"), made.told, made.want, made.verdict_json, 65534, 65534)
        assert list(disk.iterdir()) == []


def test_an_attempt_that_one_makes_is_made_by_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("boxcheck.store.lock.WAIT_SECONDS", 0.0)
    root = os.path.join(tmp_path, "boxcheck", "certify")
    place, first = reserve(os.path.join(root, "W-1"), asked())
    write_asked(place, msgspec.structs.replace(first, run="/none.sqlite"))
    lock = hold(place)
    for box in (None, "W-1"):
        with pytest.raises(AttemptHeldError, match="another boxcheck is at work on W-1, attempt-01"):
            certify(CertifyOptions(resume=True, box=box))
    lock.release()
    with pytest.raises(UsageError, match=r"none\.sqlite"):
        certify(CertifyOptions(resume=True))
    forget(place)
    with pytest.raises(AttemptHeldError, match="has just ended"):
        hold(place)
    with pytest.raises(UsageError, match="no attempt was cut off"):
        certify(CertifyOptions(resume=True))


@pytest.mark.parametrize("begun_on", [{"machine-id": "another", "boot": "1"}, {}])
def test_an_attempt_of_another_machine_that_shares_the_home_is_not_made_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun_on: dict[str, str],
) -> None:
    """By its own marks, or by what its run tells where it has none."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("boxcheck.certify.held.marks", lambda: {"machine-id": "a station", "boot": "2"})
    place, first = reserve(os.path.join(tmp_path, "boxcheck", "certify", "W-1"), asked(machine=begun_on))
    write_asked(place, msgspec.structs.replace(first, run=run_of(tmp_path / "runs", "another")))
    for end in (False, True):
        with pytest.raises(UsageError, match="attempt 1 of box W-1 was begun on another machine"):
            certify(CertifyOptions(resume=True, box="W-1", end=end))
    assert os.listdir(place) == ["asked.json"]


class Cut:
    """An attempt that was cut off, and its run, in a state folder of their own."""

    def __init__(self, state: Path) -> None:
        (state / "boxcheck").mkdir()
        self.run = Path(run_of(state / "boxcheck" / "runs", machine_name()))
        place, first = reserve(str(state / "boxcheck" / "certify" / "W-1"), asked(
            machine=marks(), profile="quick", profile_revision=2, profile_sha256="0" * 64))
        write_asked(place, msgspec.structs.replace(first, run=str(self.run), run_mark=mark_of(str(self.run))))
        self.place, self.folder = Path(place), Path(place.removesuffix(".part"))


@pytest.fixture
def cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cut:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return Cut(tmp_path)


@pytest.mark.parametrize(("here", "refused"), [
    ({"boot": "2"}, True), ({"boot": "1"}, False), ({"boot": "2", "board-serial": "b"}, False)])
def test_after_a_restart_root_alone_knows_the_machine_of_an_attempt_that_root_began(
    cut: Cut, monkeypatch: pytest.MonkeyPatch, here: dict[str, str], refused: bool,
) -> None:
    """By its machine-id alone every box that starts from one stick would be it."""
    begun = read_asked(str(cut.place))
    assert begun is not None
    write_asked(str(cut.place), msgspec.structs.replace(begun, machine={"machine-id": "m", "boot": "1", "board-serial": "b"}))
    monkeypatch.setattr("boxcheck.certify.held.marks", lambda: {"machine-id": "m", **here})
    if refused:
        with pytest.raises(UsageError, match="attempt 1 of box W-1 was begun as root") as caught:
            certify(CertifyOptions(resume=True, end=True))
        assert caught.value.help == "sudo boxcheck certify --resume"
    else:
        assert certify(CertifyOptions(resume=True, end=True)) == 3


def test_prune_leaves_the_runs_of_attempts_that_are_not_finished(cut: Cut, capsys: pytest.CaptureFixture[str]) -> None:
    assert prune(Pruning(state="crashed", keep=0, yes=True)) == 0
    assert "1 of attempts that are not finished stay" in capsys.readouterr().err
    assert cut.run.exists()
    forget(str(cut.place))
    assert prune(Pruning(state="crashed", keep=0, yes=True)) == 0
    assert not cut.run.exists()


@pytest.mark.parametrize("where", [0, 4096])
def test_an_attempt_whose_run_is_damaged_can_be_ended(cut: Cut, where: int) -> None:
    with closing(sqlite3.connect(cut.run)) as store:
        store.execute("PRAGMA journal_mode = DELETE")
    data = bytearray(cut.run.read_bytes())
    data[where:] = b"\xff" * (len(data) - where)
    cut.run.write_bytes(data)
    with pytest.raises(UsageError, match="the run of attempt 1 of box W-1 is lost: ") as caught:
        certify(CertifyOptions(resume=True))
    assert "boxcheck runs salvage" in caught.value.help
    assert "--resume SERIAL --end" in caught.value.help
    assert certify(CertifyOptions(resume=True, end=True)) == 3
    told = read_acceptance(str(cut.folder))
    assert (told.disposition, told.verdict_string) == ("INCOMPLETE", "run-gone")
    assert "is lost" in told.reason


@pytest.mark.parametrize("other", [False, True])
def test_an_attempt_whose_run_is_gone_ends_in_words_and_another_run_is_not_taken_for_it(
    cut: Cut, tmp_path: Path, capsys: pytest.CaptureFixture[str], other: bool,
) -> None:
    cut.run.unlink()
    says = "the run of attempt 1 of box W-1 is gone"
    if other:
        os.replace(run_of(tmp_path / "runs", machine_name()), cut.run)
        says = "is another run than the one that attempt 1 of box W-1 began"
    with pytest.raises(UsageError, match=says) as caught:
        certify(CertifyOptions(resume=True))
    assert "--resume SERIAL --end" in caught.value.help
    assert cut.place.exists()
    assert certify(CertifyOptions(resume=True, end=True)) == 3
    told = read_acceptance(str(cut.folder))
    assert (told.disposition, told.profile, told.exit_code) == ("INCOMPLETE", "quick", 3)
    assert says in told.reason
    assert "INCOMPLETE" in capsys.readouterr().out
    assert compare(contents_of_folder(str(cut.folder)))[1] == ()
    with pytest.raises(UsageError, match="no attempt was cut off"):
        certify(CertifyOptions(resume=True))

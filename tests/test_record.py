"""The record of a run: whose it is, and what happens where it cannot be written."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import msgspec
import pytest

from boxcheck.account import Account
from boxcheck.commands.doctor import Options, examine
from boxcheck.engine.record import save_record
from boxcheck.host import Host, Who
from tests.boxes import build
from tests.reachable import reachable

CALLER = 54321


@pytest.fixture(scope="module")
def examined(tmp_path_factory: pytest.TempPathFactory) -> tuple[Account, Host]:
    folder = tmp_path_factory.mktemp("box")
    build("laptop").write_dir(folder)
    return examine(Options(sysroot=str(folder), checks=("env",)))


@pytest.fixture(autouse=True)
def without_sudo(monkeypatch: pytest.MonkeyPatch, examined: tuple[Account, Host]) -> None:
    """Not the login of the capture, which would name a user of this machine."""
    who = Who(name="me", uid=os.geteuid(), gid=os.getegid(), groups=(), root=os.geteuid() == 0)
    monkeypatch.setattr(type(examined[1]), "who", lambda self: who)


@pytest.fixture
def behind_sudo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examined: tuple[Account, Host]) -> Path:
    """Root behind sudo, and the home of who called."""
    if os.geteuid() != 0:
        pytest.skip("files of several owners take root")
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, CALLER, CALLER)
    reachable(tmp_path)
    entry = pwd.struct_passwd(("caller", "x", CALLER, CALLER, "", str(home), "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: entry)
    who = Who(name="root", uid=0, gid=0, groups=(0,), root=True, invoked_by=CALLER)
    monkeypatch.setattr(type(examined[1]), "who", lambda self: who)
    return home


def test_behind_sudo_it_belongs_to_the_caller_alone(behind_sudo: Path, examined: tuple[Account, Host]) -> None:
    account = save_record(*examined)
    record = Path(str(account.record))
    assert record.parent == behind_sudo / ".local/state/boxcheck/runs"
    assert msgspec.json.decode(record.read_bytes())["schema"] == "boxcheck.run/1"
    assert (record.stat().st_uid, record.stat().st_gid, record.stat().st_mode & 0o777) == (CALLER, CALLER, 0o600)
    for folder in list(record.parents)[:4]:
        assert (folder.stat().st_uid, folder.stat().st_mode & 0o777) == (CALLER, 0o700)
    assert (os.geteuid(), os.getegid()) == (0, 0)


def test_a_link_in_the_callers_home_leads_root_nowhere(
    behind_sudo: Path, examined: tuple[Account, Host], tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    """Root would write into /etc for whoever made the link."""
    target = tmp_path / "etc"
    target.mkdir(mode=0o755)
    (behind_sudo / ".local").mkdir()
    (behind_sudo / ".local" / "state").symlink_to(target)
    assert save_record(*examined).record is None
    assert list(target.iterdir()) == []
    assert "the record was not saved" in capsys.readouterr().err
    assert os.geteuid() == 0


def test_a_home_that_is_not_there_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examined: tuple[Account, Host], capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "nonexistent"))
    assert save_record(*examined).record is None
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().err == f"the record was not saved: {tmp_path}/nonexistent: no such file or directory\n"


def test_without_a_home_nothing_is_written_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examined: tuple[Account, Host], capsys: pytest.CaptureFixture[str],
) -> None:
    """A user that /etc/passwd does not name, without HOME: `~` stays `~`."""
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    monkeypatch.chdir(tmp_path)
    assert save_record(*examined).record is None
    assert list(tmp_path.iterdir()) == []
    assert "the record was not saved" in capsys.readouterr().err


def test_a_state_directory_that_was_named_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examined: tuple[Account, Host],
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "a" / "b"))
    account = save_record(*examined)
    assert Path(str(account.record)).stat().st_mode & 0o777 == 0o600


def test_records_of_one_second_keep_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examined: tuple[Account, Host]) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    first, second = (Path(os.path.expanduser(str(save_record(*examined).record))) for _ in range(2))
    assert first != second
    assert first.read_bytes() == second.read_bytes()
    assert sorted(path.name for path in first.parent.iterdir()) == sorted([first.name, second.name])

"""What root makes for somebody is theirs, and no link in their folders leads it astray."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from boxcheck.host import owner
from boxcheck.host.write import Members, write_capture
from boxcheck.report.lines import Lines
from boxcheck.report.output import write_output
from boxcheck.usage import UsageError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root stands behind sudo")
CALLER, GROUP, OTHER = 54321, 54323, 54322
MEMBERS = Members({"/proc/cmdline": b"quiet\n", "/boxcheck/capture.json": b"{}"}, {"/sys/link": "../proc"})


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that all users reach, with one of the caller's in it, behind sudo."""
    monkeypatch.setenv("SUDO_UID", str(CALLER))
    monkeypatch.setenv("SUDO_GID", str(GROUP))
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        home = Path(folder, "home")
        home.mkdir(mode=0o700)
        os.chown(home, CALLER, GROUP)
        yield Path(folder)


def owners(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_uid, status.st_gid


def test_reports_are_the_callers_where_they_may_write(place: Path) -> None:
    write_output(str(place / "home" / "out.json"), "{}")
    with Lines(str(place / "home" / "out.jsonl")) as lines:
        lines.write(["{}"])
    assert owners(place / "home" / "out.json") == owners(place / "home" / "out.jsonl") == (CALLER, GROUP)
    assert os.geteuid() == 0


def test_reports_are_roots_where_only_root_may_write(place: Path) -> None:
    write_output(str(place / "box.prom"), "first")
    write_output(str(place / "box.prom"), "second")
    assert owners(place / "box.prom") == (0, 0)
    assert (place / "box.prom").read_text() == "second\n"


@pytest.mark.parametrize("name", ["box.tar.gz", "box"])
@pytest.mark.parametrize("where", ["home", "."])
def test_a_capture_is_the_callers_wherever_it_lies(place: Path, where: str, name: str) -> None:
    write_capture(MEMBERS, str(place / where / name))
    assert os.listdir(place / where) == [name] if where == "home" else sorted(os.listdir(place)) == sorted(["home", name])
    for folder, names, files in os.walk(place / where / name):
        for one in (folder, *(os.path.join(folder, inside) for inside in (*names, *files))):
            assert owners(Path(one)) == (CALLER, GROUP), one
    assert owners(place / where / name) == (CALLER, GROUP)
    assert stat.S_IMODE((place / where / name).stat().st_mode) in (0o600, 0o700)


def test_root_follows_no_link_of_the_callers(place: Path) -> None:
    """Where the caller may write behind it they do; what only root could write stays as it was."""
    secret = place / "shadow"
    secret.write_text("root's")
    for link, target in (("out", secret), ("mine", place / "home" / "real")):
        (place / "home" / link).symlink_to(target)
        os.chown(place / "home" / link, CALLER, GROUP, follow_symlinks=False)
    with pytest.raises(UsageError, match="out: permission denied"):
        write_output(str(place / "home" / "out"), "{}")
    with pytest.raises(UsageError, match="out: permission denied"):
        Lines(str(place / "home" / "out"))
    assert secret.read_text() == "root's"
    write_output(str(place / "home" / "mine"), "{}")
    assert (place / "home" / "mine").is_symlink()
    assert owners(place / "home" / "real") == (CALLER, GROUP)


@pytest.mark.parametrize("root", [True, False])
def test_a_strangers_link_in_tmp_is_not_followed(place: Path, monkeypatch: pytest.MonkeyPatch, root: bool) -> None:
    if root:
        monkeypatch.delenv("SUDO_UID")
    shared = place / "tmp"
    shared.mkdir()
    shared.chmod(0o1777)
    precious = place / "precious"
    precious.write_text("as it was")
    (shared / "out.json").symlink_to(precious)
    os.chown(shared / "out.json", OTHER, OTHER, follow_symlinks=False)
    with pytest.raises(UsageError, match=r"out.json: permission denied"):
        write_output(str(shared / "out.json"), "{}")
    assert precious.read_text() == "as it was"
    os.chown(shared / "out.json", 0, 0, follow_symlinks=False)
    write_output(str(shared / "out.json"), "{}")
    assert (shared / "out.json").is_symlink()
    assert precious.read_text() == "{}\n"


def test_a_second_name_of_roots_file_is_not_given_away(place: Path) -> None:
    precious = place / "precious"
    precious.write_text("root's")
    for name, wanted in (("engine.log", 0), ("fresh", CALLER)):
        if name == "engine.log":
            os.link(precious, place / "home" / name)
        file = os.open(place / "home" / name, os.O_RDWR | os.O_CREAT, 0o600)
        owner.give_to_owner(str(place / "home"), file)
        os.close(file)
        assert owners(place / "home" / name)[0] == wanted
    assert owners(precious) == (0, 0)


def test_who_calls_sudo_as_root_is_root(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert owner.invoker() == (CALLER, GROUP)
    for uid in ("0", "", "x", "-1", "99999999999"):
        monkeypatch.setenv("SUDO_UID", uid)
        assert owner.invoker() is None


def test_what_fails_for_the_caller_otherwise_fails(place: Path) -> None:
    def full() -> None:
        assert os.geteuid() == CALLER
        raise OSError(errno.ENOSPC, "full")

    with pytest.raises(OSError, match="full"):
        owner.as_caller(full)
    assert (os.geteuid(), os.getegid()) == (0, 0)


def test_a_directory_is_given_away_with_itself_last(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who owns the top can put a link where a part of it was, and the next of root's calls would follow it."""
    given: list[str] = []
    real = os.chown

    def told(path: str, *ids: int, **options: object) -> None:
        given.append(path)
        real(path, *ids, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "chown", told)
    write_capture(MEMBERS, str(place / "box"))
    assert sorted(given[:-1]) == ["boxcheck", "capture.json", "cmdline", "link", "proc", "sys"]
    assert os.path.basename(given[-1]).startswith(".boxcheck-")


def test_root_leaves_no_byte_code_in_the_callers_checkout(place: Path) -> None:
    """Neither boxcheck nor the worker that lists the devices; what Python wrote before is given away."""
    import shutil

    import boxcheck

    checkout = place / "home" / "checkout"
    shutil.copytree(Path(boxcheck.__file__).parent, checkout / "boxcheck", ignore=shutil.ignore_patterns("__pycache__"))
    for folder, _, files in os.walk(place / "home"):
        for path in (folder, *(os.path.join(folder, name) for name in files)):
            os.chown(path, CALLER, GROUP)
    (checkout / "profiles").symlink_to(Path(boxcheck.__file__).parents[1] / "profiles")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-m", "boxcheck", "stress", "run", "copy", "--backend", "cpu", "--seconds", "0.1", "--option", "size=test"],
        cwd=checkout, capture_output=True, text=True, timeout=120, check=False, env={
            **environment, "PYTHONPATH": str(checkout), "XDG_STATE_HOME": str(place / "home"),
            "BOXCHECK_CACHE_DIR": str(place / "cache"), "OPENBLAS_NUM_THREADS": "1"})
    assert done.returncode in (0, 3), done.stderr
    left = sorted(checkout.rglob("*.pyc"))
    assert {path.name.partition(".")[0] for path in left} <= {"__init__", "__main__"}
    assert {path.parent.parent.name for path in left} == {"boxcheck"}
    assert {path.lstat().st_uid for path in (checkout / "boxcheck").rglob("*")} == {CALLER}


@pytest.mark.parametrize("grown", [False, True])
def test_a_link_that_comes_after_the_look_is_not_followed(place: Path, grown: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    secret, shared = place / "secret", place / "shared"
    secret.write_text("root's")
    shared.mkdir()
    shared.chmod(0o1777)
    monkeypatch.delenv("SUDO_UID")

    def raced(where: str) -> str:
        real = owner.place_behind(where)
        Path(where).unlink()
        Path(where).symlink_to(secret)
        os.lchown(where, OTHER, OTHER)
        return real

    monkeypatch.setattr("boxcheck.report.output.place_behind", raced)
    (shared / "out").write_text("another's")
    if grown:
        with pytest.raises(UsageError), Lines(str(shared / "out")) as lines:
            lines.write(["{}"])
    else:
        write_output(str(shared / "out"), "{}")
        assert not (shared / "out").is_symlink()
    assert secret.read_text() == "root's"


def test_a_link_of_roots_to_another_users_link_is_not_followed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_UID")
    secret = place / "secret"
    secret.write_text("root's")
    (place / "theirs").symlink_to(secret)
    os.lchown(place / "theirs", OTHER, OTHER)
    (place / "out").symlink_to("theirs")
    with pytest.raises(UsageError, match="permission denied"):
        write_output(str(place / "out"), "{}")
    assert secret.read_text() == "root's"


def test_a_link_of_ones_own_leads_where_it_leads(place: Path) -> None:
    (place / "real").mkdir()
    (place / "out").symlink_to("real/out")
    write_output(str(place / "out"), "{}")
    assert (place / "real" / "out").read_text() == "{}\n"
    assert (place / "out").is_symlink()

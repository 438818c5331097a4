"""Root runs nothing that others than root and the one who called can write; the owner's own sudo goes through."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from boxcheck.engine import installation
from boxcheck.host import Who
from boxcheck.usage import UsageError

OWNER, OTHER = 54321, 54322

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="files of several owners take root")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation of one user, as an ordinary checkout is: nothing else of this process counts."""
    folder = tmp_path / "home" / "checkout" / "boxcheck"
    folder.mkdir(parents=True)
    (folder / "cli.py").write_text("")
    for path in (tmp_path / "home", folder.parent, folder, folder / "cli.py"):
        os.chown(path, OWNER, OWNER)
    os.chmod(tmp_path, 0o755)
    monkeypatch.setattr(installation, "PACKAGE", str(folder))
    monkeypatch.setattr(installation, "imported_from", lambda: [str(folder.parent)])
    return folder


def test_the_owner_behind_sudo_goes_through(package: Path) -> None:
    assert installation.written_by_others(OWNER) is None


def test_a_root_login_takes_the_one_owner_for_the_caller(package: Path) -> None:
    assert installation.written_by_others(None) is None
    assert installation.written_by_others(0) is None
    os.chown(package / "cli.py", OTHER, OTHER)
    assert ", who owns it" in str(installation.written_by_others(None))


def test_another_owner_is_named(package: Path) -> None:
    os.chown(package / "cli.py", OTHER, OTHER)
    assert installation.written_by_others(OWNER) == f"{package}/cli.py can be written by user {OTHER}, who owns it"
    assert f"user {OWNER}" in str(installation.written_by_others(OTHER))


@pytest.mark.parametrize("where", ["cli.py", ".", "..", "../.."])
def test_what_everybody_can_write_is_named(package: Path, where: str) -> None:
    path = (package / where).resolve()
    os.chmod(path, 0o777)
    assert installation.written_by_others(OWNER) == f"{path} can be written by everybody"


def test_a_sticky_directory_above_is_no_way_in(package: Path) -> None:
    os.chmod(package.parent.parent, 0o1777)
    assert installation.written_by_others(OWNER) is None


def test_a_group_of_its_own_is_no_one_else(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of umask 002 are the rule on Ubuntu and Fedora: group alice holds alice alone."""
    import grp
    import pwd

    os.chmod(package / "cli.py", 0o664)
    alice = pwd.struct_passwd(("alice", "x", OWNER, OWNER, "", "/home/alice", "/bin/sh"))
    bob = pwd.struct_passwd(("bob", "x", OTHER, OTHER, "", "/home/bob", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwall", lambda: [alice, bob])
    for members, wanted in (([], None), (["alice"], None), (["alice", "bob"], "group alice (bob)")):
        monkeypatch.setattr(grp, "getgrgid", lambda gid, members=members: grp.struct_group(("alice", "x", gid, members)))
        found = installation.written_by_others(OWNER)
        assert found == (wanted and f"{package}/cli.py can be written by {wanted}")


def test_a_module_from_elsewhere_counts(package: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = tmp_path / "lib.py"
    other.write_text("")
    monkeypatch.setattr(installation, "imported_from", lambda: ["", "relative", "/nowhere", str(other)])
    assert installation.written_by_others(OWNER) is None
    os.chmod(other, 0o666)
    assert installation.written_by_others(OWNER) == f"{other} can be written by everybody"


def test_the_running_interpreter_and_its_modules_are_looked_at() -> None:
    places = installation.imported_from()
    assert sys.executable in places
    assert installation.__file__ in places


def test_only_root_is_refused(package: Path) -> None:
    os.chmod(package, 0o777)

    def who(uid: int, invoked_by: int | None) -> Who:
        return Who(name="", uid=uid, gid=uid, groups=(), root=uid == 0, invoked_by=invoked_by)

    installation.refuse_shared(who(1000, None))
    with pytest.raises(UsageError, match=r"not run as root: .* can be written by everybody"):
        installation.refuse_shared(who(0, OWNER))

"""Root runs nothing that others than root and the one who called can write; the owner's own sudo goes through."""

from __future__ import annotations

import os
import subprocess
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
    monkeypatch.setattr(sys, "path", [str(folder.parent), "relative", "/nowhere", *sys.path])
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


LATER = """
import sys
import boxcheck.commands.doctor
before = set(sys.modules)
import boxcheck.engine.worker, boxcheck.engine.burn, boxcheck.gpu.cpu, boxcheck.tui.app, boxcheck.report.pdf, boxcheck.host.nvml
for name in ("pynvml", "fpdf", "cryptography.hazmat.primitives.asymmetric.ed25519", "cuda.bindings.driver", "hip", "pyudev",
             "zstandard", "textual", "ahocorasick_rs"):
    try:
        __import__(name)
    except ImportError:
        pass
try:
    from boxcheck.gpu import opencl
    opencl.devices()
except Exception:
    pass
for name in set(sys.modules) - before:
    print(getattr(sys.modules[name], "__file__", None) or "")
"""


def test_every_library_that_is_loaded_later_is_looked_at() -> None:
    done = subprocess.run([sys.executable, "-P", "-c", LATER], capture_output=True, text=True, timeout=300, check=True)
    names = {line.rpartition("/site-packages/")[2].partition("/")[0] for line in done.stdout.splitlines() if "/site-packages/" in line}
    assert {"numpy", "textual"} <= names
    single = {name for name in names if name.endswith(".so")}
    assert names - single <= set(installation.LOADED_LATER)


def test_a_library_that_a_worker_loads_counts(package: Path) -> None:
    library = package.parent / "numpy"
    (library / "core").mkdir(parents=True)
    (library / "core" / "multiarray.so").write_text("")
    (package.parent / "unused").mkdir()
    os.chmod(package.parent / "unused", 0o777)
    assert installation.written_by_others(OWNER) is None
    os.chmod(library / "core" / "multiarray.so", 0o666)
    assert str(installation.written_by_others(OWNER)).endswith("numpy/core/multiarray.so can be written by everybody")


def test_lines_that_python_runs_at_its_start_count(package: Path) -> None:
    (package.parent / "extra.pth").write_text("import os\n")
    assert installation.written_by_others(OWNER) is None
    os.chmod(package.parent / "extra.pth", 0o666)
    assert str(installation.written_by_others(OWNER)).endswith("extra.pth can be written by everybody")


def test_where_a_link_leads_counts(package: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = tmp_path / "shared" / "lib"
    real.mkdir(parents=True)
    os.chmod(real.parent, 0o777)
    (package.parent / "lib").symlink_to(real)
    monkeypatch.setattr(installation, "imported_from", lambda: [str(package.parent / "lib")])
    assert installation.written_by_others(OWNER) == f"{real.parent} can be written by everybody"


def test_who_is_outside_of_a_container_of_no_root_is_nobody(
    package: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As podman without root shows the owner of what is mounted from outside."""
    os.chown(package / "cli.py", 65534, 65534)
    said = f"{package}/cli.py can be written by user "
    assert str(installation.written_by_others(OWNER)).startswith(said)
    inside = tmp_path / "uid_map"
    inside.write_text("         0       1000          1\n         1     100000      65536\n")
    monkeypatch.setattr(installation, "_NAMESPACE", str(inside))
    assert installation.written_by_others(OWNER) is None


def test_a_cache_of_kernels_that_others_can_write_is_refused(
    package: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("BOXCHECK_CACHE_DIR", str(cache))
    root = Who(name="", uid=0, gid=0, groups=(), root=True, invoked_by=OWNER)
    installation.refuse_shared(root)  # there is none yet
    for owner, mode, says in ((0, 0o700, ""), (OWNER, 0o700, ""), (OTHER, 0o700, f"user {OTHER}"), (0, 0o777, "everybody")):
        (cache / "kernels").mkdir(parents=True, exist_ok=True)
        os.chown(cache / "kernels", owner, owner)
        os.chmod(cache / "kernels", mode)
        if not says:
            installation.refuse_shared(root)
            continue
        with pytest.raises(UsageError, match=rf"not run as root: {cache}/kernels can be written by {says}") as refused:
            installation.refuse_shared(root)
        assert "BOXCHECK_CACHE_DIR" in refused.value.help
    installation.refuse_shared(Who(name="", uid=OWNER, gid=OWNER, groups=(), root=False, invoked_by=None))


@pytest.mark.parametrize("words", [("doctor",), ("facts",), ("capture", "box.tar"), ("stress", "run", "copy"), ("burn", "--dry-run"),
                                   ("watch", "--pid", "1"), ("riser", "--all"), ("certify", "--dry-run")])
def test_every_command_that_reads_or_loads_this_machine_refuses(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    """From a checkout that everybody can write: one error, exit code 2, and nothing is written."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "boxcheck").symlink_to(installation.PACKAGE)
    (checkout / "extra.pth").write_text("")
    os.chmod(checkout, 0o777)
    done = subprocess.run(
        [sys.executable, "-m", "boxcheck", *words], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": str(checkout), "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")})
    assert done.returncode == 2, done.stderr
    assert f"error: not run as root: {checkout} can be written by everybody" in done.stderr
    assert "help: run it without sudo" in done.stderr
    assert not (tmp_path / "box.tar").exists()

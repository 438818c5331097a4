"""Compiled kernels on disk: what is kept, what is trusted, and what happens when the disk does not do its part."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from boxcheck.gpu import cache
from boxcheck.gpu.cache import Compiled, cached, key_of, load, store
from boxcheck.kernels import Source

SOURCE = Source("a.cu", "text", (), (("WIDTH", "4"),), "cuda", ("-x",))
KEY = "ab" * 32
CODE = Compiled(b"\x7fELF code", "ptxas: 32 registers")


@pytest.fixture
def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BOXCHECK_CACHE_DIR", str(tmp_path))
    return tmp_path / "kernels"


def test_what_was_kept_comes_back_with_the_compilers_words(kernels: Path) -> None:
    assert load(KEY) is None
    assert store(KEY, CODE)
    assert load(KEY) == CODE
    assert load("cd" * 32) is None


def test_only_the_owner_may_look(kernels: Path) -> None:
    before = os.umask(0)
    try:
        store(KEY, CODE)
    finally:
        os.umask(before)
    assert stat.S_IMODE(kernels.stat().st_mode) == 0o700
    assert [stat.S_IMODE(file.stat().st_mode) for file in kernels.iterdir()] == [0o600]


def test_everything_that_the_code_depends_on_is_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    def key(source: Source = SOURCE, arch: str = "sm_89", options: tuple[str, ...] = ("-x",), compiler: str = "c 1") -> str:
        return key_of(source, arch, options, compiler)

    others = [
        key(msgspec.structs.replace(SOURCE, text="text ")), key(msgspec.structs.replace(SOURCE, defines=(("WIDTH", "5"),))),
        key(msgspec.structs.replace(SOURCE, language="hip")), key(arch="sm_90"), key(options=("-y",)), key(options=("-x", "")),
        key(compiler="c 2"),
    ]
    same = key(msgspec.structs.replace(SOURCE, name="b.cu"))
    monkeypatch.setattr(cache, "__version__", "9.9")
    others.append(key())
    monkeypatch.undo()
    assert same == key()
    assert len({key(), *others}) == 1 + len(others)


def test_the_compiler_runs_once(kernels: Path) -> None:
    runs: list[int] = []

    def compile() -> Compiled:
        runs.append(1)
        return CODE

    for _ in range(3):
        assert cached(SOURCE, "sm_89", (), "c 1", compile) == CODE
    assert len(runs) == 1
    cached(SOURCE, "sm_90", (), "c 1", compile)
    assert len(runs) == 2


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "head", "other", "long"])
def test_a_damaged_entry_is_not_used_and_is_written_anew(kernels: Path, damage: str) -> None:
    store(KEY, CODE)
    (file,) = kernels.iterdir()
    good = file.read_bytes()
    end = good.index(b"\n")
    file.write_bytes({
        "flip": good[:-1] + bytes([good[-1] ^ 1]), "cut": good[:-1], "empty": b"", "head": b"x" * 5000 + good,
        "other": good.replace(KEY.encode(), b"ba" * 32), "long": good[:end] + b" " * 5000 + good[end:],
    }[damage])
    assert load(KEY) is None
    assert not list(kernels.iterdir())
    assert store(KEY, CODE)
    assert load(KEY) == CODE


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_folder_that_others_may_write_is_not_used(kernels: Path, mode: int) -> None:
    store(KEY, CODE)
    kernels.chmod(mode)
    assert load(KEY) is None
    assert not store(KEY, CODE)
    kernels.chmod(0o755)
    assert load(KEY) == CODE


def test_a_file_that_others_may_write_is_not_used(kernels: Path) -> None:
    store(KEY, CODE)
    (file,) = kernels.iterdir()
    file.chmod(0o620)
    assert load(KEY) is None
    assert file.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_belongs_to_another_user_is_not_used(kernels: Path) -> None:
    store(KEY, CODE)
    (file,) = kernels.iterdir()
    os.chown(file, 12345, 12345)
    assert load(KEY) is None
    os.chown(file, 0, 0)
    os.chown(kernels, 12345, 12345)
    assert load(KEY) is None
    assert not store(KEY, CODE)


def test_links_are_not_followed(kernels: Path, tmp_path: Path) -> None:
    store(KEY, CODE)
    (file,) = kernels.iterdir()
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    assert load(KEY) is None
    file.unlink()
    os.mkfifo(file)
    assert load(KEY) is None
    file.unlink()
    kernels.rename(tmp_path / "real")
    kernels.symlink_to(tmp_path / "real")
    assert not store(KEY, CODE)


def test_a_full_disk_does_no_harm(kernels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store("cd" * 32, CODE)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    for name in ("rename", "open"):
        with monkeypatch.context() as patched:
            patched.setattr(cache.os, name, full)  # type: ignore[attr-defined]
            assert cached(SOURCE, "sm_89", (), "c 1", lambda: CODE) == CODE
    assert len(list(kernels.iterdir())) == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_write_that_fails_leaves_no_half_entry(kernels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def to_a_full_disk(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if flags & os.O_WRONLY:
            return opened("/dev/full", os.O_WRONLY)
        return opened(path, flags, *rest, **more)

    monkeypatch.setattr(cache.os, "open", to_a_full_disk)  # type: ignore[attr-defined]
    assert not store(KEY, CODE)
    assert not list(kernels.iterdir())


def test_a_place_that_cannot_be_made_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BOXCHECK_CACHE_DIR", str(tmp_path / "file"))
    assert not store(KEY, CODE)
    assert cached(SOURCE, "sm_89", (), "c 1", lambda: CODE) == CODE


def test_the_entries_used_longest_ago_go_first(kernels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [f"{n:064x}" for n in range(4)]
    big = Compiled(b"x" * 1000)
    for age, key in enumerate(keys):
        store(key, big)
        os.utime(kernels / f"{key}{cache.SUFFIX}", (time.time() - 1000 + age,) * 2)
    load(keys[0])  # now the last used
    size = (kernels / f"{keys[0]}{cache.SUFFIX}").stat().st_size
    monkeypatch.setattr(cache, "LIMIT_BYTES", 3 * size)
    store("ff" * 32, big)
    left = {file.name.removesuffix(cache.SUFFIX) for file in kernels.iterdir()}
    assert left == {keys[0], keys[3], "ff" * 32}


def test_what_a_dead_writer_left_is_removed_in_time(kernels: Path) -> None:
    store(KEY, CODE)
    old, young = kernels / f"a{cache.UNFINISHED}", kernels / f"b{cache.UNFINISHED}"
    for file, age in ((old, 7200), (young, 60)):
        file.write_bytes(b"half")
        os.utime(file, (time.time() - age,) * 2)
    store("cd" * 32, CODE)
    assert (old.exists(), young.exists()) == (False, True)


def test_what_is_too_large_is_not_kept(kernels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "ENTRY_LIMIT_BYTES", 100)
    assert not store(KEY, Compiled(b"x" * 100))


def test_the_place_follows_the_xdg_specification(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("BOXCHECK_CACHE_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache.folder() == tmp_path / ".cache" / "boxcheck" / "kernels"
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache/me")
    assert cache.folder() == Path("/var/cache/me/boxcheck/kernels")
    monkeypatch.setenv("BOXCHECK_CACHE_DIR", "/srv/x")
    assert cache.folder() == Path("/srv/x/kernels")


def test_two_processes_write_one_entry_side_by_side(kernels: Path) -> None:
    script = (
        "from boxcheck.gpu.cache import Compiled, store, load\n"
        f"for n in range(100): store({KEY!r}, Compiled(bytes([n]) * 5000)); assert load({KEY!r}) is not None\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE) for _ in range(2)]
    assert [process.communicate(timeout=60)[1] for process in running] == [b"", b""]
    assert len(list(kernels.iterdir())) == 1

"""A file that a later start depends on: whole and on the disk, or not there at all."""

from __future__ import annotations

import errno
import os
import resource
import stat
from pathlib import Path

import pytest

from boxcheck.host.on_disk import write_kept


def test_it_is_whole_for_its_owner_alone_and_nothing_is_beside_it(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000
    write_kept(str(tmp_path / "kept"), data)
    assert (tmp_path / "kept").read_bytes() == data
    assert stat.S_IMODE((tmp_path / "kept").stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["kept"]


@pytest.mark.parametrize("step", ["fsync", "rename"])
def test_of_one_that_cannot_be_put_on_the_disk_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*asked: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match="full"):
        write_kept(str(tmp_path / "kept"), b"x")
    assert os.listdir(tmp_path) == []


def test_a_disk_that_takes_only_the_beginning_leaves_nothing(tmp_path: Path) -> None:
    """What of a file would be there is not what is to be put back."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_kept(str(tmp_path / "kept"), bytes(10_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == []


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / f"kept.{os.getpid()}.part").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        write_kept(str(tmp_path / "kept"), b"x")
    assert os.listdir(tmp_path) == []

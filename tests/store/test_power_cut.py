"""The power goes: what a run was told is on the disk is there when the machine is up again.

A file system in a file stands for the disk. A copy of that file, made while the writer stands still, holds what has been
handed to the disk and nothing that only the kernel knows; mounting the copy is the start after the cut.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.store.test_kill import assert_all_is_there


@contextmanager
def mounted(image: Path, place: Path) -> Iterator[Path]:
    place.mkdir(exist_ok=True)
    # The journal is committed by nothing but a flush that somebody asked for.
    done = subprocess.run(
        ["mount", "-o", "loop,commit=1000", str(image), str(place)], capture_output=True, timeout=20)
    if done.returncode:
        pytest.skip("mounting a file system takes root and loop devices")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], capture_output=True, timeout=20)


@pytest.mark.parametrize("acknowledged", [2, 30, 300])
def test_after_a_power_cut_all_is_there_that_was_acknowledged(tmp_path: Path, acknowledged: int) -> None:
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        pytest.skip("takes root and mkfs.ext4")
    disk, after = tmp_path / "disk", tmp_path / "after"
    with open(disk, "wb") as stream:
        stream.truncate(48 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(disk)], check=True, capture_output=True, timeout=20)
    with mounted(disk, tmp_path / "mount") as place, subprocess.Popen(
            [sys.executable, "-m", "tests.store.victim"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            cwd=Path(__file__).parents[2]) as zygote:
        assert zygote.stdin is not None
        assert zygote.stdout is not None
        zygote.stdin.write(f"{place} -\n")
        zygote.stdin.flush()
        number = int(zygote.stdout.readline().split()[1])
        said = [zygote.stdout.readline().split(maxsplit=1) for _ in range(acknowledged)]
        os.kill(number, signal.SIGSTOP)
        os.set_blocking(zygote.stdout.fileno(), False)
        said += [line.split(maxsplit=1) for line in zygote.stdout.readlines() if line.endswith("\n")]
        shutil.copyfile(disk, after)
        os.kill(number, signal.SIGKILL)
        zygote.stdin.close()
    said = [[word, rest.strip()] for word, rest in said]
    name = os.path.basename(next(rest for word, rest in said if word == "store"))
    # What telemetry is on the disk without a flush is not promised.
    said = [one for one in said if one[0] not in ("store", "readings")]
    assert len(said) >= acknowledged // 2
    with mounted(after, tmp_path / "again") as place:
        assert_all_is_there(str(place / name), said)

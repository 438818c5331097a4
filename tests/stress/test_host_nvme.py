"""Drives are read twice and compared; what somebody wrote meanwhile is no fault, and what nobody wrote is."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from boxcheck.gpu import GpuError
from boxcheck.model import Outcome
from boxcheck.stress import host_team
from boxcheck.stress.host_child import Pulse
from boxcheck.stress.host_nvme_source import Mark, Source, device_mark, untouched
from boxcheck.stress.host_nvme_targets import IN_MEMORY, disks_below, drives, file_system, files
from boxcheck.stress.host_nvme_work import Work
from boxcheck.stress.host_orders import Done, Job, Order
from tests.boxes.memory import host as host_of
from tests.boxes.tree import Symlink, Tree
from tests.stress.host_doubles import failure, judge, only, outcomes, run

MIB = 1 << 20
PULSE = Pulse(lambda report: None)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[str]:
    """A directory on a file system that reads past the page cache."""
    from boxcheck.host.live import LiveHost

    if file_system(LiveHost(), str(tmp_path)) in IN_MEMORY:
        pytest.skip(f"{tmp_path} is in memory; set --basetemp to a directory on a drive")
    yield str(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted(name for name in os.listdir(tmp_path) if name.startswith("kept"))


def old_file(folder: str, size: int = 4 * MIB, name: str = "kept.bin") -> str:
    """A file that was written a minute ago."""
    path = os.path.join(folder, name)
    Path(path).write_bytes(np.random.default_rng(3).bytes(size))
    os.utime(path, (time.time() - 60, time.time() - 60))
    return path


def work(path: str, kind: str, size: int = 4 * MIB, **changes: Any) -> Work:
    return Work(Job(work="drive", name=os.path.basename(path), number=0, settings={
        "path": path, "kind": kind, "bdf": "", "seconds": 60.0, "scratch_bytes": size}, **changes), PULSE)


def read(at: Work, do: str = "sequential", seconds: float = 60.0) -> Done:
    """Every large block once, or small ones for half of the time; then the same again."""
    size, threads = (MIB, 4) if do == "sequential" else (4096, 1)
    return at.do(Order(do=do, seconds=seconds, settings={"block_bytes": size, "threads": threads}))


# One drive or file, in this process.


def test_thousands_of_blocks_are_read_twice_and_nothing_is_found(folder: str) -> None:
    path, blocks = old_file(folder), 0
    for kind, where in (("file", path), ("scratch", folder)):
        at = work(where, kind)
        for do in ("sequential", "random"):
            done = read(at, do, seconds=0.4 if do == "random" else 60.0)
            assert (done.wrong, done.notes["errors"], done.notes["unproven"]) == (0, 0, 0)
            assert done.checked > 0
            blocks += done.checked // 4096
    assert blocks > 1000


class Damaged(Source):
    """A source that gives another word from the `after`-th read of a place on, for so many readings."""

    place, after, times = 3 * MIB, 1, 1

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.seen = 0

    def read(self, memory: Any, offset: int) -> int:
        got = super().read(memory, offset)
        if offset == self.place:
            self.seen += 1
            if self.after < self.seen <= self.after + self.times:
                np.frombuffer(memory, np.uint64)[77] ^= np.uint64(1 << self.seen)
        return got


@pytest.mark.parametrize(("after", "times", "kind"), [
    (0, 1, "digests of the block, as first and then read"), (1, 1, "the second of four readings was another"),
    (0, 9, "every reading differs")])
def test_a_file_that_nobody_wrote_and_that_reads_differently_is_a_fault(
        folder: str, monkeypatch: pytest.MonkeyPatch, after: int, times: int, kind: str) -> None:
    monkeypatch.setattr("boxcheck.stress.host_nvme_work.Source", Damaged)
    monkeypatch.setattr(Damaged, "after", after)
    monkeypatch.setattr(Damaged, "times", times)
    done = read(work(old_file(folder), "file"))
    assert done.wrong == 8
    (word,) = done.words
    assert word.kind == kind
    assert word.where.startswith("kept.bin, byte ")
    assert word.index * 4 - 3 * MIB in (0, 77 * 8)


def test_a_scratch_file_that_reads_alike_and_wrong_is_found_too(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Constant(Damaged):
        def read(self, memory: Any, offset: int) -> int:
            got = Source.read(self, memory, offset)
            if offset == self.place:
                np.frombuffer(memory, np.uint64)[77] ^= np.uint64(4)
            return got

    monkeypatch.setattr("boxcheck.stress.host_nvme_work.Source", Constant)
    done = read(work(folder, "scratch"))
    assert done.wrong == 16  # in both readings
    assert {(word.kind, word.index * 4) for word in done.words} == {("one bit", 3 * MIB + 77 * 8)}


class Written(Source):
    """A source that is written by somebody else between the first and the second reading."""

    def forget(self) -> None:
        self.times = getattr(self, "times", 0) + 1
        if self.times == 2:
            with open(self.path, "r+b") as file:
                file.seek(MIB + 40)
                file.write(b"another")


def test_what_somebody_wrote_meanwhile_is_not_provable_and_no_fault(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boxcheck.stress.host_nvme_work.Source", Written)
    monkeypatch.setattr("boxcheck.stress.host_nvme_source.OLD_SECONDS", -1.0)
    done = read(work(old_file(folder), "file"))
    assert (done.wrong, done.notes["unproven"], done.notes["quiet"]) == (0, 1, 0)
    assert done.checked == 3 * MIB


def test_a_file_that_is_written_without_a_pause_gives_no_false_alarm(folder: str) -> None:
    path, stop = old_file(folder), threading.Event()

    def scribble() -> None:
        with open(path, "r+b", buffering=0) as file:
            while not stop.is_set():
                file.seek(MIB)
                file.write(os.urandom(4096))
                time.sleep(0.001)

    writer = threading.Thread(target=scribble)
    writer.start()
    at = work(path, "file")
    found = [read(at) for _ in range(10)]
    stop.set()
    writer.join()
    assert sum(done.wrong for done in found) == 0
    assert sum(int(done.notes["unproven"]) for done in found) > 0


@pytest.mark.parametrize(("first", "last", "quiet"), [
    (Mark((5, 40), 10, 0), Mark((5, 40), 20, 0), True),
    (Mark((5, 40), 10, 0), Mark((6, 48), 20, 0), False),  # written
    (Mark((5, 40), 10, 0), Mark((5, 40), 20, 1), False),  # a write is on its way
    (Mark((5, 40), 10, 1), Mark((5, 40), 20, 0), False),
    (Mark((5, 40), 10, 0), Mark((5, 40), 10, 0), False),  # nobody counts: not even our own reads
    (None, Mark((5, 40), 10, 0), False),
])
def test_a_drive_is_untouched_only_where_its_counters_live_and_stand_still(
        first: Mark | None, last: Mark, quiet: bool) -> None:
    assert untouched(first, last, "device", 0.0) is quiet


def test_counters_of_a_drive_are_read(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("100 1 2000 3 50 4 600 5 0 6 7 8 0 900 9 10 11\n")
    (tmp_path / "inflight").write_text("       3        2\n")
    assert device_mark(str(tmp_path)) == Mark((50, 600, 8, 900), 100, 2)
    (tmp_path / "inflight").unlink()
    assert device_mark(str(tmp_path)) is None


def test_an_error_of_the_drive_is_counted_and_the_rest_is_read(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Source):
        def read(self, memory: Any, offset: int) -> int:
            if offset == 2 * MIB:
                raise OSError(errno.EIO, "Input/output error")
            return super().read(memory, offset)

    monkeypatch.setattr("boxcheck.stress.host_nvme_work.Source", Broken)
    done = read(work(old_file(folder), "file"))
    assert done.notes["errors"] == 2
    assert done.notes["first_error"] == f"Input/output error at byte {2 * MIB}"
    assert (done.checked, done.wrong) == (3 * MIB, 0)


def test_where_o_direct_is_refused_it_reads_and_says_so(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def refuse(path: Any, flags: int, *more: Any) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(path, flags, *more)

    monkeypatch.setattr(os, "open", refuse)
    for where, kind in ((old_file(folder), "file"), (folder, "scratch")):
        at = work(where, kind)
        assert at.notes()["direct"] == 0
        assert read(at).wrong == 0


@pytest.mark.parametrize(("number", "user", "says"), [
    (errno.EACCES, 1000, "^reading /dev/nvme9n1 needs root$"), (errno.EPERM, 0, "refused to root"),
    (errno.ENOENT, 0, "No such file or directory, as in a container")])
def test_what_may_not_be_opened_is_a_clear_sentence(
        monkeypatch: pytest.MonkeyPatch, number: int, user: int, says: str) -> None:
    def refuse(*arguments: Any) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    with pytest.raises(GpuError, match=says):
        Source("/dev/nvme9n1", "device", "nvme9n1", 0, 1)


# Which drives there are.


def disks() -> Tree:
    """Two drives with a partition each, one over a network, and a disk that is no NVMe drive."""
    tree = Tree()
    for name, address in (("nvme0", "0000:01:00.0"), ("nvme1", "0000:42:00.0")):
        base = f"devices/pci0000:00/{address}/nvme/{name}"
        tree[f"/sys/{base}/model"] = b"FAST 4TB\n"
        tree[f"/sys/{base}/transport"] = b"pcie\n"
        tree[f"/sys/{base}/{name}n1/device"] = Symlink(f"../../{name}")
        tree[f"/sys/{base}/{name}n1/{name}n1p1/partition"] = b"1\n"
        tree[f"/sys/block/{name}n1"] = Symlink(f"../{base}/{name}n1")
        tree[f"/sys/class/block/{name}n1"] = Symlink(f"../../{base}/{name}n1")
        tree[f"/sys/class/block/{name}n1p1"] = Symlink(f"../../{base}/{name}n1/{name}n1p1")
    tree["/sys/devices/virtual/nvme-fabrics/ctl/nvme2/transport"] = b"tcp\n"
    tree["/sys/devices/virtual/nvme-fabrics/ctl/nvme2/nvme2n1/device"] = Symlink("../../nvme2")
    tree["/sys/block/nvme2n1"] = Symlink("../devices/virtual/nvme-fabrics/ctl/nvme2/nvme2n1")
    tree["/sys/devices/virtual/block/sda/size"] = b"8\n"
    tree["/sys/block/sda"] = Symlink("../devices/virtual/block/sda")
    return tree


def test_every_namespace_on_pcie_is_found_and_no_other_disk() -> None:
    found = drives(host_of(disks()))
    assert [(one.name, one.path, one.bdf, one.model) for one in found] == [
        ("nvme0n1", "/dev/nvme0n1", "0000:01:00.0", "FAST 4TB"), ("nvme1n1", "/dev/nvme1n1", "0000:42:00.0", "FAST 4TB")]
    assert [one.name for one in drives(host_of(disks()), ["nvme1n1"])] == ["nvme1n1"]
    with pytest.raises(GpuError, match="there is no NVMe namespace nvme7n1; here are nvme0n1, nvme1n1"):
        drives(host_of(disks()), ["nvme7n1"])


def test_the_drives_below_a_file_are_named_through_partitions_and_arrays(tmp_path: Path) -> None:
    tree, number = disks(), os.stat(tmp_path).st_dev
    tree["/sys/devices/virtual/block/md0/slaves/nvme0n1p1"] = Symlink("../../../../class/block/nvme0n1p1")
    tree["/sys/devices/virtual/block/md0/slaves/nvme1n1p1"] = Symlink("../../../../class/block/nvme1n1p1")
    tree["/sys/class/block/md0"] = Symlink("../../devices/virtual/block/md0")
    tree[f"/sys/dev/block/{os.major(number)}:{os.minor(number)}"] = Symlink("../../devices/virtual/block/md0")
    assert disks_below(host_of(tree), str(tmp_path)) == ("nvme0n1", "nvme1n1")
    assert disks_below(host_of(disks()), str(tmp_path)) == ()


def test_files_are_written_only_with_leave_and_never_in_memory(tmp_path: Path) -> None:
    mounts = Tree()
    mounts["/proc/self/mountinfo"] = (
        b"1 0 8:1 / / rw - ext4 /dev/sda1 rw\n" + f"2 1 0:9 / {tmp_path} rw - tmpfs tmpfs rw\n".encode())
    with pytest.raises(GpuError, match="is a directory, and a scratch file in it is written"):
        files(host_of(mounts), [str(tmp_path)], False)
    with pytest.raises(GpuError, match="is on tmpfs, which is memory and no drive"):
        files(host_of(mounts), [str(tmp_path)], True)
    with pytest.raises(GpuError, match="No such file"):
        files(host_of(mounts), [f"{tmp_path}/none"], True)
    assert file_system(host_of(mounts), "/usr") == "ext4"


# The whole module.


def test_scratch_files_pass_and_are_gone(folder: str) -> None:
    results = run("nvme", files=folder, scratch="yes")
    for check in ("nvme.wrong-payload", "nvme.read-errors"):
        assert outcomes(check, results) == {Outcome.PASS}, check
    finding = only("nvme.wrong-payload", results)
    assert str(finding.subject) == f"scratch file in {folder}"
    assert "compared with what was written" in finding.says
    assert {one.what for one in results.samples} == {"nvme.sequential.scratch0", "nvme.random.scratch0", "nvme.drives"}
    assert all(one.value for one in results.samples if one.unit)
    assert {"p50_us", "p99_us", "p999_us", "max_us"} <= results.samples[-2].notes.keys()


def test_a_file_is_read_and_left_as_it_is(folder: str) -> None:
    path = old_file(folder)
    before = os.stat(path).st_mtime_ns, Path(path).read_bytes()
    assert outcomes("nvme.wrong-payload", run("nvme", files=path, seconds=0.2)) == {Outcome.PASS}
    assert (os.stat(path).st_mtime_ns, Path(path).read_bytes()) == before


@pytest.mark.parametrize("scratch", ["yes", "no"])
def test_a_flipped_bit_is_found(folder: str, scratch: str) -> None:
    where = folder if scratch == "yes" else old_file(folder)
    results = run("nvme", files=where, scratch=scratch, fault="flip-payload", seconds=0.2)
    assert failure("nvme.wrong-payload", results).measured is not None


def test_a_drive_that_becomes_slow_is_found(folder: str) -> None:
    results = run("nvme", files=folder, scratch="yes", fault="slow", seconds=1.5)
    assert outcomes("nvme.rate-drop", results) <= {Outcome.FAIL, Outcome.MARGINAL}  # a tenth, of a rate that varies itself


def test_a_drive_that_stops_answering_is_found_and_the_other_goes_on(
        folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_team, "HUNG_SECONDS", 1.0)
    results = run("nvme", files=f"{old_file(folder)},{folder}", scratch="yes", fault="hang", seconds=0.3)
    finding = failure("nvme.read-errors", results)
    assert str(finding.subject) == f"scratch file in {folder}"
    assert "stopped answering" in finding.says
    assert Outcome.PASS in {one.outcome for one in judge("nvme.wrong-payload", results)}


@pytest.mark.parametrize(("options", "says"), [
    ({"scratch": "yes"}, "scratch=yes without a directory"), ({"scratch": "maybe"}, "scratch=maybe is neither"),
    ({"drives": "nvme99n9"}, "there is no NVMe namespace nvme99n9"),
    ({"files": "/proc/version", "scratch_mib": "x"}, "scratch_mib=x is no number")])
def test_impossible_options_are_refused_in_words(options: dict[str, str], says: str) -> None:
    with pytest.raises(GpuError, match=says):
        run("nvme", **options)

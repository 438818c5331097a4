"""What several workers could read, one of them reads; and when it reads no more, another does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from boxcheck.engine import turns
from boxcheck.engine.messages import Beat, Run, Watched
from boxcheck.engine.supervise import Crew, list_devices
from boxcheck.engine.turns import HOST, TAKE_SECONDS, Table, Turns
from boxcheck.engine.watch import Watch
from boxcheck.gpu import GpuInfo
from boxcheck.model import Bdf
from boxcheck.stress import Sample, Trouble
from boxcheck.telemetry.instruments import AMD, Instruments
from boxcheck.telemetry.readings import HostReading, LinkReading, Reading
from tests.telemetry.trees import function, processors

THREE = {"BOXCHECK_CPU_DEVICES": "3", "OPENBLAS_NUM_THREADS": "1"}
ROOT_PORT, UP, GPUS = Bdf("0000:40:01.1"), Bdf("0000:41:00.0"), (Bdf("0000:43:00.0"), Bdf("0000:44:00.0"))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(turns, "time", made)
    return made


@pytest.fixture
def table() -> Iterator[Table]:
    made = Table()
    assert made.descriptor is not None
    yield made
    made.close()


def test_who_looks_first_reads_and_keeps_it(table: Table, clock: Clock) -> None:
    one, other = (Turns(table.descriptor, me) for me in (1, 2))
    assert (one.mine(HOST), other.mine(HOST)) == (True, False)
    for _ in range(20):
        clock.now += 1.0
        assert (other.mine(HOST), one.mine(HOST)) == (False, True)


def test_what_nobody_reads_any_more_is_taken_over_and_kept(table: Table, clock: Clock) -> None:
    one, other = (Turns(table.descriptor, me) for me in (1, 2))
    assert one.mine(HOST)
    clock.now += TAKE_SECONDS - 0.01
    assert not other.mine(HOST)
    clock.now += 0.02
    assert other.mine(HOST)
    assert not one.mine(HOST)  # it had hung, and comes back


def test_who_ends_leaves_it_at_once(table: Table, clock: Clock) -> None:
    one, other = (Turns(table.descriptor, me) for me in (1, 2))
    assert one.mine(HOST)
    assert not other.mine(HOST)
    one.leave()
    assert other.mine(HOST)
    one.leave()  # not its own any more
    assert not one.mine(HOST)


def test_without_a_table_everybody_reads_everything(clock: Clock) -> None:
    assert all(Turns(None, me).mine(HOST) for me in (1, 2, 1))
    closed = Table()
    gone = closed.descriptor
    closed.close()
    assert all(Turns(gone, me).mine(HOST) for me in (1, 2))


def test_two_things_in_one_place_are_read_by_everybody(
        table: Table, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PLACES", 1)
    monkeypatch.setattr(turns, "_BYTES", 24)
    one, other = (Turns(table.descriptor, me) for me in (1, 2))
    assert (one.mine("a"), other.mine("a")) == (True, False)
    assert [who.mine("b") for who in (one, other, one)] == [True] * 3
    assert not other.mine("a")


def two_gpus_below_a_switch(root: Path) -> None:
    processors(root)
    above = f"pci0000:40/{ROOT_PORT}/{UP}"
    for number, bdf in enumerate(GPUS):
        function(root, above.rsplit("/", 1)[0]) if not number else None
        function(root, above) if not number else None
        function(root, f"{above}/0000:42:{number:02x}.0/{bdf}")


def test_ports_above_several_gpus_and_the_host_are_read_once_and_each_gpus_own_by_its_worker(
        tmp_path: Path, table: Table) -> None:
    two_gpus_below_a_switch(tmp_path)
    read: list[Reading] = []
    for me, bdf in enumerate(GPUS, 1):
        with Instruments([(bdf, AMD)], str(tmp_path)) as instruments:
            whole, shared = instruments.read(), instruments.read(Turns(table.descriptor, me).mine)
        assert sum(isinstance(one, HostReading) for one in whole) == 1
        assert {ROOT_PORT, UP, bdf} < {one.bdf for one in whole if isinstance(one, LinkReading)}
        read += shared
    links = [one.bdf for one in read if isinstance(one, LinkReading)]
    assert sorted(links) == sorted({ROOT_PORT, UP, *GPUS, Bdf("0000:42:00.0"), Bdf("0000:42:01.0")})
    assert sum(isinstance(one, HostReading) for one in read) == 1


def test_modules_side_by_side_each_have_their_links_and_the_last_look_is_at_all_of_it(table: Table) -> None:
    asked: list[tuple[int, str]] = []
    looking = {me: Watch([], turns=Turns(table.descriptor, me), module=name)
               for me, name in ((1, "matmul"), (2, "matmul"), (3, "copy"))}
    for me, one in looking.items():
        asked += [(me, name) for name in (HOST, "0000:40:01.1") if one._mine(name)]
    assert asked == [(1, HOST), (1, "0000:40:01.1"), (3, "0000:40:01.1")]
    for one in looking.values():
        last = one.look(at_once=True)
        assert last is not None
        assert any(isinstance(reading, HostReading) for reading in last)
    for one in looking.values():
        one.close()


@pytest.fixture(scope="module")
def three() -> tuple[GpuInfo, ...]:
    found = list_devices("cpu", environment=THREE)
    assert not isinstance(found, Trouble)
    return found


def test_of_workers_side_by_side_one_reads_the_host_and_when_it_is_killed_another_does(
        three: tuple[GpuInfo, ...]) -> None:
    """By real processes. The last look of each is at everything, and is not counted.

    On a busy machine a worker may be kept waiting for longer than a reader may be silent: another then takes over
    rightly, so who reads how often is for the tests above, whose clock is their own.
    """
    told: list[tuple[str, bool]] = []
    killed: list[tuple[str, int]] = []
    with Crew([[info] for info in three], environment=THREE) as crew:
        workers = dict(zip((info.key for info in three), crew.open_workers(), strict=True))

        def seen(gpus: tuple[GpuInfo, ...], what: Beat | Sample | Watched | Trouble) -> None:
            if isinstance(what, Watched):
                host = any(isinstance(one, HostReading) for one in what.readings)
                told.append((gpus[0].key, host))
                if host and not killed and sum(one[1] for one in told) == 2:
                    killed.append((gpus[0].key, len(told)))
                    os.kill(workers[gpus[0].key].pid, signal.SIGKILL)

        parts = crew.run(Run(module="wake", seconds=8.0, seed=1), seen=seen)
    assert [part.trouble is None for part in parts].count(False) == 1
    (reader, when), = killed
    last = {key: place for place, (key, _) in enumerate(told)}
    looks = [(place, key, host) for place, (key, host) in enumerate(told) if key == reader or place != last[key]]
    assert [key for _, key, host in looks if not host], "nobody left the host to another"
    assert {key for place, key, host in looks if host and place >= when} - {reader}, "nobody took it over"


def test_a_worker_that_was_given_a_number_that_is_no_table_reads_all() -> None:
    code = "import sys; from boxcheck.engine.turns import Turns; t = Turns(int(sys.argv[1])); print(t.mine('host'))"
    with open(os.devnull) as nothing:
        done = subprocess.run(
            [sys.executable, "-c", code, str(nothing.fileno())], pass_fds=(nothing.fileno(),), capture_output=True,
            text=True, timeout=30, check=False)
    assert (done.stdout.strip(), done.stderr) == ("True", "")

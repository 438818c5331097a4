"""Registers of a link's ends as root reads them while it is watched."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from boxcheck.model import Bdf
from boxcheck.riser.evidence import Conditions, Look, Way
from boxcheck.riser.links.ports import End, LinkPair
from boxcheck.riser.measuring.bounds import call_link, call_way
from boxcheck.riser.measuring.looks import Subject, looks_of
from boxcheck.riser.measuring.registers import EndRegisters
from boxcheck.riser.measuring.stuck import Standing, doubted
from boxcheck.riser.measuring.watch import LinkWatch, Watched
from boxcheck.stress.link_routes import WAYS
from tests.riser.simulated.machine import Machine
from tests.riser.tree import FakeLink

EXPRESS, AER, SECONDARY, PHY16, PHY32 = 0x40, 0x100, 0x200, 0x300, 0x340


def put(machine: Machine, bdf: str, offset: int, size_bytes: int, value: int) -> None:
    machine.space[Bdf(bdf)][offset:offset + size_bytes] = value.to_bytes(size_bytes, "little")


def end(bdf: str) -> End:
    return End(bdf=Bdf(bdf), express=EXPRESS, aer=AER, secondary=SECONDARY, phy16=PHY16, phy32=PHY32,
               max_speed_gts=32.0, max_width=16)


class Passing(threading.Event):
    """Waits in no time: the bench's clock goes on instead, and its link is as it is."""

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self.bench, self.waits = bench, 0

    def wait(self, timeout: float | None = None) -> bool:
        self.waits += 1
        self.bench.now += timeout or 0.0
        if self.bench.late is not None and self.waits == 1:
            self.bench.late()
        return False


class Bench:
    """A link of a fake tree with registers of a fake machine, watched by hand."""

    def __init__(self, root: Path, *, status_bits: bool = False) -> None:
        self.link, self.machine = FakeLink(root), Machine()
        for bdf in (self.link.port.bdf, self.link.card.bdf):
            self.machine.add(bdf)
            put(self.machine, bdf, EXPRESS + 0x12, 2, 0x2104)  # x16, 16 GT/s, data link layer active
            put(self.machine, bdf, PHY16 + 0xC, 4, 0x0F)
        put(self.machine, self.link.port.bdf, EXPRESS + 0x0C, 4, 1 << 20)
        put(self.machine, self.link.port.bdf, EXPRESS + 0x02, 2, 0x0142)
        put(self.machine, self.link.port.bdf, EXPRESS + 0x1A, 2, 0x0040)
        pair = LinkPair(port=end(self.link.port.bdf), card=end(self.link.card.bdf))
        bits = frozenset((self.link.port.bdf, self.link.card.bdf)) if status_bits else frozenset[Bdf]()
        self.now = 100.0
        self.late: Callable[[], None] | None = None
        self.watch = LinkWatch(
            [Watched(port=self.link.port.bdf, card=self.link.card.bdf, pair=pair, status_bits=bits)], root=str(root),
            ports=self.machine, clock=lambda: self.now)
        self.step()
        self.watch.split()

    def again(self) -> Bench:
        """The same machine, watched from now on."""
        other = Bench.__new__(Bench)
        other.link, other.machine, other.now, other.late = self.link, self.machine, self.now, None
        (of,) = (link.of for link in self.watch._links)
        other.watch = LinkWatch([of], root=str(self.link.port._root), ports=self.machine, clock=lambda: other.now)
        other.step()
        other.watch.split()
        return other

    def step(self, times: int = 10) -> None:
        for _ in range(times):
            self.now += 0.1
            self.watch._read()

    def look(self, **silent: str) -> Look:
        self.step(11)
        return self.ended(**silent)

    def ended(self, **silent: str) -> Look:
        """As `measure` ends a look."""
        self.watch._stop = Passing(self)
        self.watch.settle()
        self.watch.split()
        subject = Subject(hop=self.link.hop(**silent), slot="PCIE3")
        (look,) = looks_of(subject, self.watch.seen()[self.link.port.bdf], (), Conditions(), wanted_payload=False)
        return look


def test_presence_and_the_data_link_layer_come_from_the_port(tmp_path: Path) -> None:
    look = Bench(tmp_path).look()
    assert (look.present, look.active, look.dropped) == (True, True, 0)


def test_a_data_link_layer_that_went_down_between_two_readings_is_a_drop(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    put(bench.machine, bench.link.port.bdf, EXPRESS + 0x12, 2, 0x0104)
    bench.step(1)
    put(bench.machine, bench.link.port.bdf, EXPRESS + 0x12, 2, 0x2104)
    look = bench.look()
    assert (look.dropped, look.active) == (1, True)


def test_lanes_are_those_that_the_receiver_noted_newly(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    put(bench.machine, bench.link.card.bdf, SECONDARY + 8, 4, 1 << 11)
    bench.step(20)
    put(bench.machine, bench.link.card.bdf, SECONDARY + 8, 4, 1 << 11 | 1 << 17)
    put(bench.machine, bench.link.card.bdf, PHY16 + 0x10, 4, 1 << 3)
    look = bench.look()
    to, back = look.way("card"), look.way("host")
    assert to is not None
    assert back is not None
    assert (to.lanes, back.lanes) == ((3, 11, 17), ())


def test_lanes_that_were_noted_before_say_nothing_of_now(tmp_path: Path) -> None:
    machine = Machine()
    machine.add("0000:50:00.0")
    put(machine, "0000:50:00.0", SECONDARY + 8, 4, 0xF)
    registers = EndRegisters(machine, end("0000:50:00.0"))
    assert not registers.news(errors=True)
    assert not registers.news(errors=True)


def test_status_bits_stand_in_where_the_kernel_counts_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, status_bits=True)
    why = "the kernel's AER service is not bound to the root port: the firmware keeps AER"
    for value in (1 << 6, 0, 1 << 6, 1 << 6 | 1 << 12):  # firmware clears it now and then
        put(bench.machine, bench.link.card.bdf, AER + 0x10, 4, value)
        bench.step(1)
    look = bench.look(card=why, port=why)
    to, back = look.way("card"), look.way("host")
    assert to is not None
    assert back is not None
    assert (dict(to.received), dict(back.unanswered)) == ({"BadTLP": 2}, {"Timeout": 1})
    assert "a status bit that was seen to go up stands for one error or more" in to.at_least[0]
    assert to.unread is None
    assert back.unread is not None
    quiet = Bench(tmp_path / "quiet", status_bits=True).look(card=why, port=why).way("card")
    assert quiet is not None
    assert quiet.unread is not None
    assert call_way(quiet).call == "unread"


def test_status_bits_are_left_alone_where_the_kernel_counts(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    put(bench.machine, bench.link.card.bdf, AER + 0x10, 4, 1 << 6)
    bench.step(11)
    put(bench.machine, bench.link.card.bdf, AER + 0x10, 4, 0)
    to = bench.look().way("card")
    assert to is not None
    assert to.errors == 0


def ways(look: Look) -> tuple[Way, Way]:
    to, back = look.way("card"), look.way("host")
    assert to is not None
    assert back is not None
    return to, back


def test_a_status_bit_that_stands_while_no_counter_moves_makes_the_direction_unread(tmp_path: Path) -> None:
    """It stood before the watch began: somebody should have counted and cleared it."""
    bench = Bench(tmp_path)
    put(bench.machine, bench.link.card.bdf, AER + 0x10, 4, 1 << 6)
    watch = bench.again()
    watch.step(30)
    to, back = ways(watch.look())
    assert (to.errors, back.unread) == (0, None)
    assert to.unread == ("the counters of 0000:50:00.0 are stuck: BadTLP stands in its AER status (CESta), and nobody "
                         "counts or clears it")
    assert call_way(to).call == "unread"


def test_an_error_that_came_while_counters_were_stuck_is_one_at_least(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.step(10)
    put(bench.machine, bench.link.port.bdf, AER + 0x10, 4, 1)
    bench.step(40)
    to, back = ways(bench.look())
    assert (to.errors, to.unread) == (0, None)
    assert dict(back.received) == {"RxErr": 1}
    assert call_way(back).call == "marginal"
    assert "stands for one error or more" in back.at_least[0]


def test_a_time_out_that_stands_at_the_sender_bars_both_of_its_directions(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    put(bench.machine, bench.link.port.bdf, AER + 0x10, 4, 1 << 12)
    watch = bench.again()
    watch.step(30)
    assert [way.unread is not None for way in ways(watch.look())] == [True, True]


STANDS = {"BadTLP": 3}


def stuck_by(now: float) -> Standing:
    """BadTLP stands, and its counter stays at 3."""
    standing = Standing()
    for tenth in range(int(10 * now)):
        standing.add(tenth / 10, ("BadTLP",), STANDS)
    assert standing.stuck == {"BadTLP": False}
    return standing


def test_what_was_stuck_in_one_look_is_stuck_from_the_first_reading_of_the_next() -> None:
    standing = stuck_by(3.0)
    standing.begin()
    assert standing.add(60.0, ("BadTLP",), STANDS) == ()
    assert standing.stuck == {"BadTLP": False}
    assert not standing.is_open


@pytest.mark.parametrize(("bits", "counts"), [((), STANDS), (("BadTLP",), {"BadTLP": 4})])
def test_what_was_cleared_or_counted_between_two_looks_is_stuck_no_more(
    bits: tuple[str, ...], counts: dict[str, int],
) -> None:
    standing = stuck_by(3.0)
    standing.begin()
    standing.add(60.0, bits, counts)
    assert standing.stuck == {}
    standing.add(61.0, ("BadTLP",), counts)
    assert standing.stuck == {}, "once cleared, the look before says nothing"


def test_what_came_up_between_two_looks_is_no_error_of_the_second() -> None:
    standing = Standing()
    standing.add(0.0, (), STANDS)
    standing.begin()
    came = [name for tenth in range(40) for name in standing.add(60 + tenth / 10, ("BadTLP",), STANDS)]
    assert came == []
    assert standing.stuck == {"BadTLP": False}


@pytest.mark.parametrize("kernel", ["late", "counts again", "masked", "clears"])
def test_a_kernel_that_counts_is_not_called_stuck(tmp_path: Path, kernel: str) -> None:
    bench = Bench(tmp_path)
    card = bench.link.card
    if kernel == "masked":
        put(bench.machine, card.bdf, AER + 0x14, 4, 1 << 6)
    for turn in range(6):
        put(bench.machine, card.bdf, AER + 0x10, 4, 1 << 6)
        bench.step(18 if kernel == "late" else 10)
        if kernel in ("late", "counts again"):
            card.count("BadTLP")
        if kernel in ("late", "clears") or turn == 5:
            put(bench.machine, card.bdf, AER + 0x10, 4, 0)
            bench.step(10)
    to, _ = ways(bench.look())
    assert to.unread is None
    assert to.errors == (6 if kernel in ("late", "counts again") else 0)


@pytest.mark.parametrize("steps", [1, 15, 600])
def test_an_error_that_nobody_counts_is_found_at_the_very_end_of_a_look_too(tmp_path: Path, steps: int) -> None:
    bench = Bench(tmp_path)
    bench.step(steps)
    put(bench.machine, bench.link.card.bdf, AER + 0x10, 4, 1 << 6)
    to, back = ways(bench.ended())
    assert to.unread is not None or to.at_least
    assert call_way(to).call != "bounded"
    assert back.unread is None


def test_an_error_that_the_kernel_counts_a_moment_later_is_counted_and_no_more(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.step(15)
    card = bench.link.card
    put(bench.machine, card.bdf, AER + 0x10, 4, 1 << 6)

    def handled() -> None:
        card.count("BadTLP")
        put(bench.machine, card.bdf, AER + 0x10, 4, 0)

    bench.late = handled
    to, _ = ways(bench.ended())
    assert (to.errors, to.unread, to.at_least) == (1, None, ())


def test_a_look_at_a_link_without_errors_takes_no_longer(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.look()
    assert isinstance(bench.watch._stop, Passing)
    assert bench.watch._stop.waits == 0


@pytest.mark.parametrize(("vendor", "unread"), [("10de", ["host"]), ("1002", ["card", "host"])])
def test_packets_sent_again_while_no_counter_moves_are_no_zero(vendor: str, unread: list[str]) -> None:
    clean = Look(slot="PCIE3", ways=tuple(Way(toward=toward, bits=1e14, most_bits=1e14, seconds=60.0) for toward in WAYS))
    (look,) = doubted((clean,), 3, vendor)
    assert [way.toward for way in look.ways if way.unread is not None] == unread
    assert "3 packets that had to be sent again, and no AER counter of that direction moved" in look.notes[-1]
    assert call_link(clean).call == "bounded"
    assert call_link(look).call == "unread"
    dirty = msgspec.structs.replace(clean, ways=(clean.ways[0], msgspec.structs.replace(clean.ways[1], received={"BadTLP": 3})))
    for looks, replays in (((clean,), 0), ((clean,), None), ((dirty,), 3)):
        assert doubted(looks, replays, vendor) == looks


@pytest.mark.parametrize("vendor", ["10de", "1002"])
def test_replays_are_not_explained_by_errors_of_the_other_direction_nor_by_a_few(vendor: str) -> None:
    clean = Look(slot="PCIE3", ways=tuple(Way(toward=toward, bits=1e14, most_bits=1e14, seconds=60.0) for toward in WAYS))
    other = msgspec.structs.replace(clean, ways=tuple(
        msgspec.structs.replace(way, received={"RxErr": 1}) if way.toward == "card" else way for way in clean.ways))
    (look,) = doubted((other,), 5000, vendor)
    to, back = look.way("card"), look.way("host")
    assert to is not None
    assert back is not None
    assert back.unread is not None
    assert (to.unread, bool(to.at_least)) == (None, vendor == "1002"), "NVML counts what the GPU sent, amdgpu both ways"
    few = msgspec.structs.replace(clean, ways=tuple(
        msgspec.structs.replace(way, received={"BadTLP": 2}) if way.toward == "host" else way for way in clean.ways))
    (look,) = doubted((few,), 5000, vendor)
    back = look.way("host")
    assert back is not None
    assert "5000 packets that had to be sent again, and AER counted 2" in back.at_least[0]
    assert doubted((few,), 60, vendor) == (few,), "each error makes several packets be sent again"


def test_an_error_of_a_kind_that_nobody_counts_is_noted(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    put(bench.machine, bench.link.card.bdf, EXPRESS + 0x0A, 2, 1)
    look = bench.look(card="it has no AER capability")
    assert "0000:50:00.0 noted a correctable error of a kind that nobody counts (DevSta)" in look.notes
    counted = Bench(tmp_path / "counted")
    put(counted.machine, counted.link.card.bdf, EXPRESS + 0x0A, 2, 1)
    assert not any("DevSta" in note for note in counted.look().notes)


def test_training_and_equalisation_are_noted(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    put(bench.machine, bench.link.port.bdf, EXPRESS + 0x12, 2, 0xE104)
    put(bench.machine, bench.link.card.bdf, PHY16 + 0xC, 4, 0x1E)
    notes = " ".join(bench.look().notes)
    assert "0000:40:01.1 noted that the link was trained anew to keep working (LBMS)" in notes
    assert "0000:40:01.1 noted that the hardware changed speed or width by itself (LABS)" in notes
    assert "0000:50:00.0: equalisation is not complete at 16.0 GT/s" in notes
    assert "0000:50:00.0: another equalisation is asked for at 16.0 GT/s" in notes


def test_at_32_gts_both_ends_may_agree_to_do_without_equalisation(tmp_path: Path) -> None:
    machine = Machine()
    machine.add("0000:50:00.0")
    registers = EndRegisters(machine, end("0000:50:00.0"))
    assert registers.equalisation(32.0) == ("equalisation is not complete at 32.0 GT/s",)
    put(machine, "0000:50:00.0", PHY32 + 0xC, 4, 0x400)
    assert registers.equalisation(32.0) == ()
    assert registers.equalisation(5.0) == ()


def test_registers_of_an_end_that_left_say_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, status_bits=True)
    bench.machine.gone.add(bench.link.card.bdf)
    to = bench.look().way("card")
    assert to is not None
    assert (to.errors, to.lanes) == (0, ())


def test_nothing_is_written(tmp_path: Path) -> None:
    bench = Bench(tmp_path, status_bits=True)
    bench.look()
    assert {entry[1] for entry in bench.machine.log} == {"read"}

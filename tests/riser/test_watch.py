"""Watching a link: which end counted what, and what a zero is worth."""

from __future__ import annotations

import random
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from boxcheck.engine.logwatch import LogWatch
from boxcheck.model import Bdf, Unread
from boxcheck.poisson import link_bits
from boxcheck.riser.evidence import Conditions, Look, Way
from boxcheck.riser.measuring.bounds import call_link, call_way, showing, terabytes
from boxcheck.riser.measuring.course import Course
from boxcheck.riser.measuring.looks import IDLE, Moved, Subject, looks_of
from boxcheck.riser.measuring.rank import rank
from boxcheck.riser.measuring.watch import LinkWatch, Seen, Watched
from boxcheck.stress.link_routes import WAYS, Hop
from boxcheck.telemetry.readings import Count, LinkReading
from tests.riser.tree import CORRECTABLE, FakeLink

Act = Callable[[FakeLink], object]


class Stepped(LinkWatch):
    """A watch whose readings are made by hand, at a clock of its own."""

    def __init__(self, watched: Sequence[Watched], root: Path, **more: Any) -> None:
        self.now = 100.0
        super().__init__(watched, root=str(root), clock=lambda: self.now, **more)

    def step(self, seconds: float = 0.1) -> None:
        self.now += seconds
        self._guarded(self._read)


def watched(link: FakeLink) -> Watched:
    return Watched(port=link.port.bdf, card=link.card.bdf)


def seen(tmp_path: Path, *acts: Act, hop: Hop | None = None, conditions: Conditions | None = None,
         moved: Sequence[Moved] = (), every: float = 0.1, link: FakeLink | None = None) -> tuple[Look, ...]:
    """Looks at a link to which one thing happens between each two readings, 2 s of them at the least."""
    link = link or FakeLink(tmp_path)
    watch = Stepped([watched(link)], tmp_path)
    watch._guarded(watch._read)
    watch.split()
    for act in (*acts, *([lambda link: None] * 20)):
        act(link)
        watch.step(every)
    watch.split()
    for link_of in watch._links:
        link_of.close()
    subject = Subject(hop=hop or link.hop(), slot="PCIE3", full_width=16, full_speed_gts=16.0)
    return looks_of(subject, watch.seen()[link.port.bdf], moved, conditions or Conditions(), wanted_payload=bool(moved))


def one(looks: Sequence[Look]) -> tuple[Way, Way]:
    (look,) = looks
    to, back = look.way("card"), look.way("host")
    assert to is not None
    assert back is not None
    return to, back


def still(link: FakeLink) -> None:
    """Nothing happens."""


def test_the_receiver_counts_what_arrives_damaged(tmp_path: Path) -> None:
    to, back = one(seen(tmp_path, lambda link: link.card.count("BadTLP"), still, lambda link: link.port.count("RxErr")))
    assert (dict(to.received), dict(back.received)) == ({"BadTLP": 1}, {"RxErr": 1})
    assert (to.unanswered, back.unanswered, to.at_least, back.at_least, to.unread, back.unread) == ({}, {}, (), (), None, None)


def test_the_sender_counts_what_was_not_acknowledged(tmp_path: Path) -> None:
    to, back = one(seen(tmp_path, lambda link: link.port.count("Timeout"), still, lambda link: link.card.count("Rollover")))
    assert (dict(to.unanswered), dict(back.unanswered)) == ({"Timeout": 1}, {"Rollover": 1})
    assert to.received == back.received == {}


def test_what_was_counted_before_is_not_counted(tmp_path: Path) -> None:
    link = FakeLink(tmp_path)
    link.card.count("BadTLP", 4000)
    assert one(seen(tmp_path, link=link))[0].errors == 0


def test_payload_counts_for_the_upper_bound_and_time_for_the_lower_one(tmp_path: Path) -> None:
    moved = [Moved(toward="card", size_bytes=1000, began=100.0, ended=101.0), Moved(toward="host", size_bytes=10, began=100.5, ended=101.0),
             Moved(toward="card", size_bytes=7, began=99.0, ended=100.5)]
    to, back = one(seen(tmp_path, moved=moved))
    assert (to.bits, back.bits) == (8000.0, 80.0)  # the piece that began before the watch is left out
    assert to.most_bits == pytest.approx(link_bits(16.0, 16, to.seconds))
    assert to.seconds == pytest.approx(2.0)


def test_a_watch_without_traffic_has_no_bound_and_says_so(tmp_path: Path) -> None:
    (look,) = seen(tmp_path)
    assert IDLE in look.notes
    assert call_link(look).call == "unread"
    assert look.active
    assert (look.width, look.speed_gts) == (16, 16.0)
    assert [way.most_bits is not None and way.most_bits > 0 for way in look.ways] == [True, True]


@pytest.mark.parametrize("why", ["it does not report correctable errors (DevCtl)", Unread("config space needs root", "permission")])
def test_a_direction_whose_receiver_does_not_report_is_unread_whatever_the_other_end_says(tmp_path: Path, why: str | Unread) -> None:
    link = FakeLink(tmp_path)
    moved = [Moved(toward=toward, size_bytes=10 ** 12, began=100.0, ended=101.0) for toward in ("card", "host")]  # type: ignore[arg-type]
    (look,) = seen(tmp_path, hop=link.hop(card=why), moved=moved, link=link)
    to, back = one([look])
    assert to.unread is not None
    assert (why.why if isinstance(why, Unread) else why) in to.unread
    assert back.unread is None
    assert [call_way(way).call for way in (to, back)] == ["unread", "bounded"]
    assert terabytes(to).startswith("no bound")
    assert call_link(look).call == "unread"


def test_an_end_that_is_said_to_be_silent_and_counts_has_a_lower_bound(tmp_path: Path) -> None:
    link = FakeLink(tmp_path)
    to, _ = one(seen(tmp_path, lambda link: link.card.count("BadTLP", 1), hop=link.hop(card="it masks BadTLP"), link=link))
    assert to.errors == 1
    assert terabytes(to).startswith("at least 1 error")


def test_an_end_without_counters_is_unread(tmp_path: Path) -> None:
    link = FakeLink(tmp_path)
    link.card.uncounted()
    to, back = one(seen(tmp_path, link=link))
    assert to.unread == f"{link.card.bdf}: it has no AER counters"
    assert back.unread is None


def test_a_port_with_nothing_below_has_one_direction_that_nobody_reads(tmp_path: Path) -> None:
    link = FakeLink(tmp_path)
    link.port.train("2.5 GT/s PCIe", 0)
    watch = Stepped([Watched(port=link.port.bdf, card=None)], tmp_path)
    watch._guarded(watch._read)
    watch.split()
    for _ in range(20):
        watch.step()
    subject = Subject(hop=Hop(port=link.port.bdf, card=None), slot="PCIE3")
    (look,) = looks_of(subject, watch.seen()[link.port.bdf], (), Conditions(), wanted_payload=False)
    assert (look.active, look.width, look.dropped) == (False, None, 0)
    assert {way.unread for way in look.ways} == {"nothing was read of what hangs below the port", "the link was down"}
    assert call_link(look).call == "unread"


@pytest.mark.parametrize(("count", "least"), [(1, False), (2, True), (40, True)])
def test_several_between_two_readings_are_at_least_so_many(tmp_path: Path, count: int, least: bool) -> None:
    to, _ = one(seen(tmp_path, lambda link: link.card.count("BadTLP", count), every=4.0))
    assert to.errors == count
    assert bool(to.at_least) is least


def test_one_a_second_is_at_least_so_many(tmp_path: Path) -> None:
    def tick(link: FakeLink) -> None:
        link.card.count("BadTLP")

    fast = one(seen(tmp_path / "a", *[tick, *[still] * 9] * 5))[0]
    slow = one(seen(tmp_path / "b", *[tick, *[still] * 29] * 5))[0]
    assert (fast.errors, slow.errors) == (5, 5)
    assert fast.at_least
    assert not slow.at_least


def test_counters_that_began_anew_are_no_improvement(tmp_path: Path) -> None:
    link = FakeLink(tmp_path)
    link.card.count("BadTLP", 9)
    to, back = one(seen(tmp_path, still, lambda link: link.card.reset(), lambda link: link.card.count("BadTLP"), link=link))
    assert to.errors == 1
    assert any("began anew" in why for why in to.at_least)
    assert back.at_least == ()


def test_what_was_counted_since_counters_began_anew_counts(tmp_path: Path) -> None:
    def again(link: FakeLink) -> None:
        link.card.reset()
        link.card.count("BadTLP", 3)

    link = FakeLink(tmp_path)
    link.card.count("BadTLP", 9)
    to, _ = one(seen(tmp_path, still, again, link=link))
    assert to.errors == 3
    assert any("began anew" in why for why in to.at_least)


def test_a_reset_without_an_error_has_no_bound_either(tmp_path: Path) -> None:
    link = FakeLink(tmp_path)
    link.port.count("BadTLP", 9)
    moved = [Moved(toward="host", size_bytes=10 ** 13, began=100.0, ended=101.0)]
    _, back = one(seen(tmp_path, still, lambda link: link.port.reset(), link=link, moved=moved))
    assert back.errors == 0
    assert call_way(back).call == "unread"


def test_an_error_without_a_name_bounds_neither_direction_and_accuses_none(tmp_path: Path) -> None:
    moved = [Moved(toward=toward, size_bytes=10 ** 13, began=100.0, ended=101.0) for toward in ("card", "host")]  # type: ignore[arg-type]
    to, back = one(seen(tmp_path, lambda link: link.card.count("?", 2), moved=moved))
    assert to.errors == back.errors == 0
    assert "2 correctable errors under no name" in to.at_least[0]
    assert call_way(to).call == "unread"


def test_advisory_errors_are_no_damage(tmp_path: Path) -> None:
    to, back = one(seen(tmp_path, lambda link: link.card.count("NonFatalErr", 5)))
    assert (to.errors, back.errors, to.at_least, back.at_least) == (0, 0, (), ())


def test_uncorrectable_errors_are_told_with_their_end(tmp_path: Path) -> None:
    (look,) = seen(tmp_path, lambda link: link.port.count("SDES", kind="fatal"))
    assert dict(look.uncorrectable) == {"fatal SDES at 0000:40:01.1": 1}
    assert call_link(look).call == "failing"


def test_a_window_is_split_where_the_speed_changed(tmp_path: Path) -> None:
    moved = [Moved(toward="card", size_bytes=100, began=100.0, ended=100.39), Moved(toward="card", size_bytes=30, began=100.39, ended=100.9),
             Moved(toward="card", size_bytes=1, began=101.0, ended=101.5)]

    looks = seen(tmp_path, still, lambda link: link.card.count("BadTLP"), still, still,
                 lambda link: link.train("8.0 GT/s PCIe"), lambda link: link.card.count("RxErr"), moved=moved)
    assert [look.speed_gts for look in looks] == [8.0, 16.0]  # the longer one first
    slow, fast = (look.way("card") for look in looks)
    assert slow is not None
    assert fast is not None
    assert (dict(fast.received), fast.bits) == ({"BadTLP": 1}, 800.0)
    assert (dict(slow.received), slow.bits) == ({"RxErr": 1}, 8.0)  # the piece during the change is left out
    assert "x16 16 GT/s to x16 8 GT/s" in looks[0].notes[-1]


def test_what_is_counted_while_the_speed_changes_is_of_neither(tmp_path: Path) -> None:
    def change(link: FakeLink) -> None:
        link.card.count("BadTLP", 3)
        link.train("8.0 GT/s PCIe", 8)

    looks = seen(tmp_path, *[still] * 6, change)
    assert [look.way("card").errors for look in looks] == [0, 0]  # type: ignore[union-attr]
    assert ["3 BadTLP" in " ".join(look.way("card").at_least) for look in looks] == [True, False]  # type: ignore[union-attr]
    assert {look.width for look in looks} == {8, 16}


def test_a_link_that_rests_at_a_low_speed_is_not_called_slow(tmp_path: Path) -> None:
    """A card that moves nothing saves power; under load the same speed is one that was lost."""
    (rests,) = seen(tmp_path / "a", link=FakeLink(tmp_path / "a", speed="2.5 GT/s PCIe"))
    assert (rests.speed_gts, rests.width) == (None, 16)
    assert any("at rest it ran at 2.5 GT/s" in note for note in rests.notes)
    assert [way.most_bits for way in rests.ways] == [pytest.approx(link_bits(2.5, 16, 2.0))] * 2
    assert rank((rests,))[0].standing == "unread"
    moved = [Moved(toward="card", size_bytes=1000, began=100.0, ended=101.0)]
    (works,) = seen(tmp_path / "b", link=FakeLink(tmp_path / "b", speed="2.5 GT/s PCIe"), moved=moved)
    assert works.speed_gts == 2.5
    assert rank((works,))[0].standing == "short"
    forced = Conditions(speed_gts=2.5)
    (held,) = seen(tmp_path / "c", link=FakeLink(tmp_path / "c", speed="2.5 GT/s PCIe"), conditions=forced)
    assert (held.speed_gts, held.conditions) == (2.5, forced)


def test_a_forced_speed_that_did_not_last_is_no_forced_speed(tmp_path: Path) -> None:
    forced = Conditions(speed_gts=16.0)
    (held,) = seen(tmp_path / "a", conditions=forced)
    assert held.conditions == forced
    (other,) = seen(tmp_path / "b", conditions=Conditions(speed_gts=8.0))
    assert other.conditions.speed_gts is None
    assert any("was forced to 8 GT/s and ran at 16 GT/s" in note for note in other.notes)


@pytest.mark.parametrize("drop", [
    lambda link: link.port.train("2.5 GT/s PCIe", 0), lambda link: link.card.ones(), lambda link: link.port.ones()])
def test_a_link_that_goes_down_is_counted_and_comes_back_as_itself(tmp_path: Path, drop: Act) -> None:
    def again(link: FakeLink) -> None:
        link.train("16.0 GT/s PCIe")

    (look,) = seen(tmp_path, still, drop, again, still, drop, still, again)
    assert (look.dropped, look.active, look.width) == (2, True, 16)
    assert call_link(look).call == "failing"


def test_a_link_that_stays_down_is_said_to_be_down(tmp_path: Path) -> None:
    looks = seen(tmp_path, *[still] * 10, lambda link: link.port.train("2.5 GT/s PCIe", 0))
    assert looks[0].dropped == 1
    assert looks[0].active is False


def test_a_card_that_was_taken_out_and_enumerated_again_is_read_again(tmp_path: Path) -> None:
    def leave(link: FakeLink) -> None:
        link.card.ones()
        link.card.remove()

    link = FakeLink(tmp_path)
    link.card.count("BadTLP", 5)
    (look,) = seen(tmp_path, still, leave, still, lambda link: link.card.seated_again(), still,
                   lambda link: link.card.train("16.0 GT/s PCIe", 16), lambda link: link.card.count("BadTLP"), link=link)
    to = look.way("card")
    assert to is not None
    assert (look.dropped, look.active, to.errors) == (1, True, 1)
    assert any("changed while it was watched" in note for note in look.notes)


class Said:
    """What a kernel's log says, in place of /dev/kmsg."""

    unread, lost = None, 0

    def __init__(self, *lines: str) -> None:
        self.lines = list(lines)

    def read(self) -> bytes:
        return f"[  100.0] {self.lines.pop(0)}\n".encode() if self.lines else b""

    def close(self) -> None: ...


@pytest.mark.parametrize(("by", "of", "least"), [
    ("0000:40:01.1", "0000:50:00.0", True), ("0000:00:01.1", "0000:50:00.0", True), ("0000:40:01.1", "0000:00:00.0", True),
    ("0000:60:01.1", "0000:61:00.0", False)])
def test_a_message_of_several_errors_makes_a_count_a_lower_bound(tmp_path: Path, by: str, of: str, least: bool) -> None:
    link = FakeLink(tmp_path)
    said: Any = Said(f"pcieport {by}: AER: Multiple Correctable error message received from {of}")
    watch = Stepped([watched(link)], tmp_path, log=LogWatch(said))
    watch._guarded(watch._read)
    watch.split()
    link.card.count("BadTLP")
    for _ in range(20):
        watch.step()
    subject = Subject(hop=link.hop(), slot="PCIE3")
    to, back = one(looks_of(subject, watch.seen()[link.port.bdf], (), Conditions(), wanted_payload=False))
    assert to.errors == 1
    assert bool(to.at_least) is least
    assert back.at_least == ()


def test_a_gap_in_the_readings_is_told(tmp_path: Path) -> None:
    (look,) = seen(tmp_path, every=3.0)
    assert "it was not read for 3.0 s at one time" in look.notes


def test_a_reading_that_breaks_leaves_no_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: object, now: float) -> None:
        raise RuntimeError("broken")

    def break_it(link: FakeLink) -> None:
        monkeypatch.setattr("boxcheck.riser.measuring.watch._End.read", fail)

    moved = [Moved(toward="card", size_bytes=10 ** 13, began=100.0, ended=100.4)]
    to, _ = one(seen(tmp_path, *[still] * 8, break_it, moved=moved))
    assert to.unread == "it was not watched to the end: boxcheck's own error: RuntimeError: broken"
    assert call_way(to).call == "unread"


def minute(ber: float, seed: int) -> Look:
    """A minute of both ways at Gen4 x16 with errors at this rate toward the card, as a kernel counts them: those that
    come within a millisecond are one interrupt. Payload fills 70 % of the link."""
    source, port, card = random.Random(seed), Bdf("0000:40:01.1"), Bdf("0000:50:00.0")
    at, times = 0.0, list[float]()
    while ber and (at := at + source.expovariate(ber * link_bits(16.0, 16, 1.0))) < 60.0:
        if not times or at - times[-1] > 0.001:
            times.append(at)
    course = Course(port, card)
    course.add(100.0, {port: reading(port, 0), card: reading(card, 0)})
    course.split()
    for step in range(1, 601):
        done = bisect_right(times, step / 10)
        course.add(100.0 + step / 10, {port: reading(port, 0), card: reading(card, done)})
    size = int(0.7 * link_bits(16.0, 16, 1.0) / 8)
    moved = [Moved(toward=toward, size_bytes=size, began=100.01 + at, ended=101.0 + at) for at in range(59) for toward in WAYS]
    subject = Subject(hop=Hop(port=port, card=card), slot="PCIE3")
    (look,) = looks_of(subject, Seen(segments=tuple(course.segments())), moved, Conditions(), wanted_payload=True)
    return look


def reading(bdf: Bdf, bad: int) -> LinkReading:
    zeros = tuple(Count(name, bad if name == "BadTLP" else 0) for name in CORRECTABLE)
    return LinkReading(bdf=bdf, monotonic_seconds=0.0, speed_gts=16.0, width=16, correctable=zeros, nonfatal=(), fatal=())


def test_a_minute_tells_1e_11_from_1e_12_and_bounds_a_sound_link() -> None:
    """The issue's promise, by 20 minutes of each rate."""
    assert {call_link(minute(1e-11, seed)).call for seed in range(20)} == {"failing"}
    assert {call_link(minute(1e-12, seed)).call for seed in range(20)} <= {"marginal", "failing"}
    sound = minute(0.0, 1)
    assert call_link(sound).call == "bounded"
    assert [showing(way)[0].more_seconds for way in sound.ways] == [0.0, 0.0]


def test_a_link_at_half_of_what_is_allowed_is_not_called_failing() -> None:
    """95 %: of 100 minutes at 5e-13 fewer than 5."""
    assert sum(call_link(minute(5e-13, seed)).call == "failing" for seed in range(100)) < 5


def test_the_thread_reads_ten_times_a_second(tmp_path: Path) -> None:
    link = FakeLink(tmp_path)
    with LinkWatch([watched(link)], root=str(tmp_path)) as watch:
        watch.split()
        time.sleep(1.05)
        watch.split()
    (segment,) = [one for one in watch.seen()[link.port.bdf].segments if one.phase == 1]
    assert segment.readings >= 9
    assert threading.active_count() == 1 or all(thread.name != "riser watch" for thread in threading.enumerate())


def test_a_reading_that_hangs_is_told_and_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = threading.Event()
    monkeypatch.setattr("boxcheck.riser.measuring.watch.END_SECONDS", 0.2)
    link = FakeLink(tmp_path)
    read = LinkWatch._read
    turns: list[int] = []

    def hang(self: LinkWatch) -> None:
        turns.append(1)
        if len(turns) > 2:
            free.wait(10)
        read(self)

    monkeypatch.setattr(LinkWatch, "_read", hang)
    with LinkWatch([watched(link)], root=str(tmp_path), every_seconds=0.02) as watch:
        time.sleep(0.2)
    assert watch.seen()[Bdf("0000:40:01.1")].trouble.startswith("its registers do not answer")
    free.set()

"""The flow of experiments over a simulated link: what is kept, what is called what, what is not tried and why."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from boxcheck.engine.inspect import Facts
from boxcheck.host import Host
from boxcheck.riser import live as live_module
from boxcheck.riser.account import Tried
from boxcheck.riser.evidence import Conditions, Look, Way
from boxcheck.riser.experiments import BACK_SECONDS, Bench, Done, experiments
from boxcheck.riser.links.hold import Held, holding
from boxcheck.riser.links.link_state import Now, link_now
from boxcheck.riser.links.ports import LinkPair
from boxcheck.riser.live import Live
from boxcheck.riser.measuring.targets import Measurable
from boxcheck.riser.parts import Seat
from boxcheck.riser.suspects.symptoms import is_slow
from boxcheck.stress.link_routes import LinkMap
from tests.riser.held_link import BOOT, journals, linked, settings
from tests.riser.simulated.link import SYS, SimulatedLink
from tests.riser.simulated.machine import Machine

AGAIN = "sudo boxcheck riser --resume r-1 --again --allow-writes"
LOCKDOWN = "/sys/kernel/security/lockdown"
GTS = {1: 2.5, 2: 5.0, 3: 8.0, 4: 16.0, 5: 32.0}


class Stage:
    """A link, and a measurement that a test makes up: so many errors at each speed."""

    def __init__(self, folder: Path, errors: dict[float, int] | None = None, **options: Any) -> None:
        self.folder = folder
        self.machine, self.link, self.pair = linked(**options)
        self.errors = {16.0: 12} if errors is None else errors
        self.asked: list[tuple[float, Conditions]] = []
        self.held: list[str] = []
        self.meanwhile: Callable[[], None] = lambda: None
        """Done in the middle of each measurement."""
        self.looks: Callable[[Conditions], tuple[Look, ...]] = lambda held: (self.look(held),)

    def look(self, held: Conditions) -> Look:
        now = link_now(self.machine, self.pair)
        gts = now.speed_gts if isinstance(now, Now) else None
        count = self.errors.get(gts or 0.0, 0)
        return Look(
            slot="PCIE3", conditions=held, speed_gts=gts, full_speed_gts=16.0, width=16, full_width=16,
            ways=(Way(toward="card", bits=8e12, received={"BadTLP": count} if count else {}), Way(toward="host", bits=8e12)))

    def measure(
        self, seconds: float, conditions: Conditions, *, everyone: bool = False, sample: Callable[[], None] | None = None,
    ) -> tuple[Look, ...]:
        self.asked.append((seconds, conditions))
        self.link.traffic = {"card", "host"}
        for number in range(4):
            self.machine.sleep(0.1)
            if number == 1:
                self.meanwhile()
            if sample is not None:
                sample()
        found = self.looks(conditions)
        self.link.traffic = set()
        return found

    @contextmanager
    def hold(self, what: str) -> Iterator[Held]:
        self.held.append(what)
        with holding(self.machine, self.pair, str(self.folder), boot=BOOT, what=what, load=self.load) as held:
            yield held

    def load(self, sample: Callable[[], None]) -> object:
        self.link.traffic = {"card"}
        self.machine.sleep(0.1)
        sample()
        self.link.traffic = set()
        return None

    def bench(self, **more: Any) -> Bench:
        given: dict[str, Any] = {
            "ports": self.machine, "slot": "PCIE3", "pair": self.pair, "measure": self.measure, "seconds": 60.0, "hold": self.hold,
            "load": self.load, "siblings": False, "writes": True, "retrainings": 3, "margining": False, "again": AGAIN}
        return Bench(**{**given, **more})

    def run(self, **more: Any) -> list[Done]:
        return list(experiments(self.bench(**more)))


def tried(done: list[Done], name: str) -> Tried:
    (found,) = [one for each in done for one in each.tried if one.name == name]
    return found


def looks(done: list[Done]) -> list[Look]:
    return [look for each in done for look in each.looks]


@pytest.mark.parametrize(("more", "asked"), [
    ({"siblings": True, "peers": True}, [("quiet", "host"), ("loaded", "host"), ("loaded", "peers")]),
    ({"siblings": True, "peers": False}, [("quiet", "host"), ("loaded", "host")]),
    ({"siblings": True, "peers": True, "loaded": False}, [("quiet", "host")])])
def test_cards_of_a_kind_copy_to_each_other_too(tmp_path: Path, more: dict[str, bool], asked: list[tuple[str, str]]) -> None:
    stage = Stage(tmp_path, {})
    done = stage.run(writes=False, **more)
    assert [(held.neighbours, held.traffic) for _, held in stage.asked] == asked
    assert [look.conditions.traffic for look in looks(done)] == [traffic for _, traffic in asked]


def test_lower_speeds_are_measured_and_full_speed_once_more_after_them(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    before = settings(stage.link)
    done = stage.run()
    found = [(look.conditions.speed_gts, look.speed_gts, look.ways[0].errors) for look in looks(done) if look.ways]
    assert found == [(None, 16.0, 12), (None, 16.0, 12), (8.0, 8.0, 0), (5.0, 5.0, 0), (None, 16.0, 12)]
    assert [held.aspm_off for _, held in stage.asked] == [False, True, False, False, False]
    assert stage.asked[-1] == (BACK_SECONDS, Conditions())
    assert tried(done, "and back").says.endswith("; 12 errors were counted in 2.0 TB")
    assert settings(stage.link) == before
    assert journals(tmp_path) == []


def test_errors_at_another_speed_than_the_forced_one_are_kept(tmp_path: Path) -> None:
    """The watch saw the link at two speeds while one was set: both looks count, the slower one as no slow link."""
    stage = Stage(tmp_path, {16.0: 12, 8.0: 3, 5.0: 0})

    def two(held: Conditions) -> tuple[Look, ...]:
        now = stage.look(held)
        other = msgspec.structs.replace(now, speed_gts=16.0, ways=(Way(toward="card", bits=1e9, received={"RxErr": 7}),))
        return (now, other) if now.speed_gts == 8.0 else (now,)

    stage.looks = two
    done = stage.run()
    (other,) = [look for look in looks(done) if look.ways and look.ways[0].received == {"RxErr": 7}]
    assert (other.conditions.speed_gts, other.speed_gts) == (None, 16.0)
    assert other.notes[-1].startswith("measured at 16 GT/s while 8 was set")
    assert [look.ways[0].errors for look in looks(done) if look.conditions.speed_gts == 8.0] == [3]


def test_a_speed_that_was_not_confirmed_keeps_its_errors_and_its_silence_proves_nothing(tmp_path: Path) -> None:
    stage = Stage(tmp_path, {16.0: 12, 8.0: 4})

    def rewritten() -> None:
        if stage.link.code in (2, 3):  # as a driver does; the link stays until it is trained
            stage.link.port.bits(stage.link.port.express + 0x30, 0xF, 4)

    stage.meanwhile = rewritten
    done = stage.run()
    eight, five = (look for look in looks(done) if look.notes)
    for look in (eight, five):
        assert (look.conditions.speed_gts, look.speed_gts) == (None, None)
        assert not is_slow(look), "it was told to be slow"
        assert "somebody set 16 GT/s while the load ran" in look.notes[-1]
        assert all(way.unread for way in look.ways)
    assert (eight.ways[0].errors, five.ways[0].errors) == (4, 0)
    assert not [look for look in looks(done) if look.conditions.speed_gts is not None]


@pytest.mark.parametrize("cooling", [5, None])
def test_under_lockdown_what_the_kernel_itself_does_is_tried(tmp_path: Path, cooling: int | None) -> None:
    stage = Stage(tmp_path, cooling=cooling)
    stage.machine.attributes[LOCKDOWN] = "none [integrity] confidentiality"
    stage.machine.refuses = "lockdown"
    before = settings(stage.link)
    done = stage.run(margining=True)
    for name in ("retrain", "margining"):
        assert not tried(done, name).done
        assert "locked down" in tried(done, name).says or "refused" in tried(done, name).says
    assert tried(done, "ASPM off").done
    assert [look.conditions.aspm_off for look in looks(done)].count(True) == 1
    if cooling is None:
        assert not tried(done, "lower speeds").done
    else:
        assert [look.conditions.speed_gts for look in looks(done) if look.conditions.speed_gts] == [8.0, 5.0]
    assert not [entry for entry in stage.machine.log if entry[1] == "write"]
    assert settings(stage.link) == before


@pytest.mark.parametrize(("options", "says"), [
    ({"writes": False}, "these write to the link's registers and put them back"),
    ({"pair": None, "pair_unread": "its registers need root"}, "its registers need root")])
def test_without_the_right_to_write_nothing_is_changed_and_each_is_told(tmp_path: Path, options: dict[str, Any], says: str) -> None:
    stage = Stage(tmp_path)
    done = stage.run(margining=True, capped=lambda: pytest.fail("power") if not options.get("writes", True) else (), **options)
    for name in ("retrain", "lower speeds", "ASPM off", "margining"):
        assert tried(done, name) == Tried(name=name, done=False, says=says, help=AGAIN)
    assert stage.held == []
    assert not [entry for entry in stage.machine.log if entry[1] == "write"]


def test_a_card_s_power_is_limited_only_where_writes_are_allowed(tmp_path: Path) -> None:
    capped: list[int] = []

    def cap() -> tuple[Look, ...]:
        capped.append(1)
        return (Look(slot="PCIE3", conditions=Conditions(power_capped=True)),)

    done = Stage(tmp_path).run(writes=False, capped=cap)
    assert capped == []
    assert tried(done, "power capped") == Tried(
        name="power capped", done=False, says="it sets the card's power limit and puts it back", help=AGAIN)
    done = Stage(tmp_path).run(capped=cap)
    assert capped == [1]
    assert [look.conditions.power_capped for look in looks(done)].count(True) == 1


def test_aspm_that_stays_on_is_told_and_nothing_is_measured_as_if_it_was_off(tmp_path: Path) -> None:
    stage = Stage(tmp_path, {16.0: 12})
    stage.machine.on_set.insert(0, lambda path, text: path.endswith("/link/l1_aspm"))
    done = stage.run()
    assert tried(done, "ASPM off") == Tried(
        name="ASPM off", done=False, says="ASPM stays on although it was switched off (l1_aspm)")
    assert not [held for _, held in stage.asked if held.aspm_off]
    assert not [look for look in looks(done) if look.conditions.aspm_off]


def test_aspm_that_somebody_switches_on_meanwhile_was_not_off(tmp_path: Path) -> None:
    stage = Stage(tmp_path)

    def on() -> None:
        if stage.asked[-1][1].aspm_off:
            stage.machine.set_attribute(f"{SYS}{stage.link.card_bdf}/link/l1_aspm", "1")

    stage.meanwhile = on
    done = stage.run()
    assert not [look for look in looks(done) if look.conditions.aspm_off]
    assert [look.notes for look in looks(done) if look.notes] == [
        ("ASPM was switched on again by somebody else while the link was measured",)]
    assert not tried(done, "ASPM off").done


def test_aspm_that_was_off_is_said_with_what_was_counted(tmp_path: Path) -> None:
    done = Stage(tmp_path).run()
    says = "ASPM is off, switched by the kernel; it was on: l1_aspm; 12 errors were counted in 2.0 TB"
    assert tried(done, "ASPM off") == Tried(name="ASPM off", says=says)


def test_lanes_that_have_logged_errors_before_are_cleared_first(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    at = stage.link.card.at["secondary"] + 8
    stage.link.card.put(at, 1 << 7, 4)
    done = stage.run()
    assert done[0].tried[0].says == "cleared: 0000:41:00.0 had logged errors on lanes 7"
    assert stage.link.card.get(at, 4) == 0
    clean = Stage(tmp_path)
    clean.run()
    assert "clearing lane errors" not in clean.held, "nothing is written where nothing is logged"
    alone = Stage(tmp_path)
    alone.link.card.put(at, 1 << 7, 4)
    alone.run(writes=False)
    assert alone.link.card.get(at, 4) == 1 << 7


def test_what_was_measured_is_kept_when_somebody_stops_it(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    before = settings(stage.link)
    old = signal.signal(signal.SIGTERM, lambda number, frame: None)

    def stop() -> None:
        if stage.asked[-1][1].aspm_off:
            os.kill(os.getpid(), signal.SIGTERM)

    stage.meanwhile = stop
    done: list[Done] = []

    def each() -> None:
        for one in experiments(stage.bench()):
            done.append(one)

    try:
        with pytest.raises(KeyboardInterrupt):
            each()
    finally:
        signal.signal(signal.SIGTERM, old)
    assert settings(stage.link) == before
    assert journals(tmp_path) == []
    last = done[-1].looks
    assert [(look.ways[0].errors, look.conditions.aspm_off) for look in last] == [(12, False)]
    assert len(stage.asked) == 2, "and no other experiment begins"


def test_a_card_is_kept_awake_while_its_link_is_trained(tmp_path: Path) -> None:
    """One in D3cold has no link, and would be told as one that did not come back."""
    stage = Stage(tmp_path)
    path = f"{SYS}{stage.link.card_bdf}/power/control"
    power: dict[str, str] = {}
    trained = stage.link.retrain

    def retrain() -> None:
        power.setdefault(stage.held[-1], stage.machine.attributes[path])
        trained()

    stage.link.retrain = retrain  # type: ignore[method-assign]
    stage.run()
    assert power == {"retraining": "on", "lower speeds": "on"}
    assert stage.machine.attributes[path] == "auto"


def live_of(machine: Machine, link: SimulatedLink, pair: LinkPair, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Live:
    monkeypatch.setattr(live_module, "pci_pair", lambda link, pci: pair)
    monkeypatch.setattr(live_module, "stakes", lambda *what: ())
    made = Live.__new__(Live)
    made.host, made.facts = cast(Host, None), cast(Facts, SimpleNamespace(of=lambda kind: object()))
    made.ports, made.journals, made.say = cast(Any, machine), str(folder), lambda says: None
    made.traffic, made.measurable = None, Measurable(targets=(), where=LinkMap(hops={}, ways={}))
    made.stopping, made._standing = lambda: False, {}
    return made


def test_a_measurement_inside_a_hold_ends_at_once_when_somebody_stops_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine, link, pair = linked()
    made = live_of(machine, link, pair, tmp_path, monkeypatch)
    polled: list[bool] = []

    def measured(*what: Any, stopping: Callable[[], bool], **more: Any) -> tuple[Look, ...]:
        assert more["standing"] is made._standing, "every look goes on from what the one before knew"
        polled.append(stopping())
        os.kill(os.getpid(), signal.SIGTERM)
        polled.append(stopping())
        return ()

    monkeypatch.setattr(live_module, "measure", measured)
    seat = cast(Seat, SimpleNamespace(slot="PCIE3", link=SimpleNamespace(id=link.port_bdf)))
    ended: list[int] = []
    old = signal.signal(signal.SIGTERM, lambda number, frame: ended.append(number))

    def work() -> None:
        with made._hold(seat, "ASPM off", False) as held:
            made.measure("PCIE3", 60.0, Conditions())
            held.read(link.port_bdf, 0, 2)
            pytest.fail("it went on")

    try:
        with pytest.raises(KeyboardInterrupt):
            work()
    finally:
        signal.signal(signal.SIGTERM, old)
    assert polled == [False, True]
    assert ended == [signal.SIGTERM]
    assert not made.stopping(), "of a link that is held no more"
    assert journals(tmp_path) == []

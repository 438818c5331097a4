"""Links measured under real copies: of processors that stand for cards, over links of a fake tree."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from boxcheck.engine.supervise import list_devices
from boxcheck.gpu import GpuInfo
from boxcheck.model import Bdf
from boxcheck.riser.evidence import Conditions, Look
from boxcheck.riser.live import Live
from boxcheck.riser.measuring.bounds import call_link
from boxcheck.riser.measuring.cards import steps
from boxcheck.riser.measuring.looks import IDLE
from boxcheck.riser.measuring.measure import _neighbours, loaded, measure
from boxcheck.riser.measuring.targets import Measurable, Target
from boxcheck.riser.measuring.traffic import Traffic, _pairs
from boxcheck.stress import Trouble
from boxcheck.stress.link_routes import LinkMap
from boxcheck.stress.safety import Safety, SafetyStop
from tests.riser.tree import FakeLink

ENVIRONMENT = {"BOXCHECK_CPU_DEVICES": "2"}


@pytest.fixture(scope="module")
def devices() -> tuple[GpuInfo, ...]:
    found = list_devices("cpu", environment=ENVIRONMENT)
    assert not isinstance(found, Trouble)
    return found


class Box:
    """Two links, each with a processor at its end."""

    def __init__(self, root: Path, devices: Sequence[GpuInfo], **more: Any) -> None:
        self.root = root
        self.links = [FakeLink(root, number) for number in range(2)]
        keys = [info.key for info in devices[:2]]
        hops = {link.port.bdf: link.hop() for link in self.links}
        self.measurable = Measurable(
            targets=tuple(Target(hop=link.hop(), slot=slot, keys=(key,), full_width=16, full_speed_gts=16.0)
                          for link, slot, key in zip(self.links, "AB", keys, strict=True)),
            where=LinkMap(hops=hops, ways={key: (link.port.bdf,) for key, link in zip(keys, self.links, strict=True)},
                          pcie_alone=frozenset(keys)))
        self.traffic = Traffic(devices, options={"size": "test"}, environment=ENVIRONMENT, **more)

    def measure(self, seconds: float, load: str = "", conditions: Conditions | None = None, **more: Any) -> tuple[Look, ...]:
        return measure(
            self.measurable, seconds, conditions, load=tuple(load), traffic=self.traffic if load else None,
            root=str(self.root), follow_log=False, **more)


@contextmanager
def happening(after: float, act: Callable[[], object]) -> Iterator[None]:
    timer = threading.Timer(after, act)
    timer.start()
    yield
    timer.join()


def bits(look: Look) -> list[float]:
    return [way.bits for way in look.ways]


def test_without_traffic_errors_are_counted_while_seconds_pass(tmp_path: Path, devices: tuple[GpuInfo, ...]) -> None:
    box = Box(tmp_path, devices)
    with happening(0.2, lambda: box.links[1].card.count("BadTLP")):
        one, other = box.measure(0.6)
    assert [sum(way.errors for way in look.ways) for look in (one, other)] == [0, 1]
    assert other.way("card").received == {"BadTLP": 1}  # type: ignore[union-attr]
    assert IDLE in one.notes
    assert bits(one) == bits(other) == [0.0, 0.0]
    assert call_link(one).call == "unread"
    assert call_link(other).call == "marginal"


def test_traffic_both_ways_is_counted_on_the_link_it_crossed(tmp_path: Path, devices: tuple[GpuInfo, ...]) -> None:
    box = Box(tmp_path, devices)
    one, other = box.measure(1.6, "A")
    assert min(bits(one)) > 1e9
    assert bits(one)[0] == bits(one)[1]
    assert bits(other) == [0.0, 0.0]
    assert call_link(one).call == "bounded"
    assert call_link(other).call == "unread"
    assert IDLE in other.notes
    assert IDLE not in one.notes
    assert one.conditions.neighbours == other.conditions.neighbours == "quiet"
    assert 1.5 < one.ways[0].seconds < 5.0


@pytest.mark.parametrize(("direction", "to", "back"), [("to", True, False), ("from", False, True)])
def test_traffic_goes_one_way_alone(tmp_path: Path, devices: tuple[GpuInfo, ...], direction: Any, to: bool, back: bool) -> None:
    one, _ = Box(tmp_path, devices, direction=direction).measure(2.2, "A")
    assert [found > 0 for found in bits(one)] == [to, back]


def test_neighbours_are_loaded_together_and_cards_copy_to_each_other(tmp_path: Path, devices: tuple[GpuInfo, ...]) -> None:
    box = Box(tmp_path, devices, direction="peers")
    looks = box.measure(2.0, "AB", Conditions(neighbours="loaded"))
    assert [look.conditions.neighbours for look in looks] == ["loaded", "loaded"]
    assert all(min(bits(look)) > 0 for look in looks), [look.notes for look in looks]


def test_a_card_behind_another_link_is_a_peer_and_one_behind_the_same_is_none(
        tmp_path: Path, devices: tuple[GpuInfo, ...]) -> None:
    box = Box(tmp_path, devices)
    live = Live.__new__(Live)
    live.traffic, live.measurable = box.traffic, box.measurable
    assert live._pairs_up("A")
    one, other = box.measurable.targets
    both = msgspec.structs.replace(one, keys=(*one.keys, *other.keys))
    live.measurable = msgspec.structs.replace(box.measurable, targets=(both, msgspec.structs.replace(other, keys=())))
    assert not live._pairs_up("A")
    live.traffic = None
    assert not live._pairs_up("A")


def test_two_cards_of_one_link_are_no_pair(devices: tuple[GpuInfo, ...]) -> None:
    cards = [msgspec.structs.replace(devices[0], index=index) for index in range(4)]
    keys = [card.key for card in cards]
    twins = {keys[0]: "A", keys[1]: "A", keys[2]: "B", keys[3]: "B"}
    assert [[info.key for info in pair] for pair in _pairs(cards, twins)] == [[keys[0], keys[2]], [keys[1], keys[3]]]
    assert [len(pair) for pair in _pairs(cards[:2], twins)] == [1, 1]
    assert [len(pair) for pair in _pairs(cards[:2], {})] == [2]


def test_a_card_that_is_left_over_is_not_said_to_have_copied_to_another(
        tmp_path: Path, devices: tuple[GpuInfo, ...]) -> None:
    """It copies from and to the host meanwhile."""
    box = Box(tmp_path, devices, direction="peers")
    box.traffic = box.traffic.going(behind={info.key: "one link" for info in devices})
    looks = box.measure(2.0, "AB", Conditions(neighbours="loaded", traffic="peers"))
    assert [look.conditions.traffic for look in looks] == ["host", "host"]
    assert all(min(bits(look)) > 0 for look in looks), [look.notes for look in looks]
    assert all("no other card of its kind was left to copy to" in " ".join(look.notes) for look in looks)
    paired = Box(tmp_path, devices, direction="peers").measure(2.0, "AB", Conditions(neighbours="loaded", traffic="peers"))
    assert [look.conditions.traffic for look in paired] == ["peers", "peers"]


def test_the_card_in_question_is_paired_first(devices: tuple[GpuInfo, ...]) -> None:
    other = msgspec.structs.replace(devices[0], index=9, arch="another")
    traffic = Traffic((other, *devices), direction="peers").going("peers", first=(devices[1].key,))
    assert [[info.key for info in pair] for pair in _pairs(traffic.devices, {})] == [
        [devices[1].key, devices[0].key], ["cpu:9"]]
    assert traffic.pairs_up(devices[0].key)
    assert not traffic.pairs_up("cpu:9")
    assert not traffic.pairs_up("cuda:0")


@pytest.mark.parametrize(("asked", "load", "began", "held", "note"), [
    ("loaded", "A", "A", "quiet", "no other card moved data meanwhile, though the neighbours were to be loaded"),
    ("loaded", "AB", "A", "quiet", "no other card moved data meanwhile, though the neighbours were to be loaded"),
    ("loaded", "AB", "AB", "loaded", None), ("quiet", "A", "A", "quiet", None), ("quiet", "AB", "AB", "loaded", None),
    ("quiet", "AB", "A", "quiet", "B moved nothing, so not all neighbours were loaded"), ("quiet", "B", "B", "quiet", None)])
def test_neighbours_are_called_what_they_were(
        tmp_path: Path, devices: tuple[GpuInfo, ...], asked: Any, load: str, began: str, held: str, note: str | None) -> None:
    box = Box(tmp_path, devices)
    keys = frozenset(f"cpu:{'AB'.index(slot)}" for slot in began)
    conditions, notes = _neighbours(Conditions(neighbours=asked), box.measurable.targets[0], box.measurable, tuple(load), keys)
    assert conditions.neighbours == held
    assert notes == ([] if note is None else [note])


def test_pieces_of_payload_have_a_time_and_follow_each_other(tmp_path: Path, devices: tuple[GpuInfo, ...]) -> None:
    box = Box(tmp_path, devices)
    with box.traffic.on(("cpu:0",), 1.0) as moving:
        moving.wait_begun(lambda: False)
        moving.wait_over(1.3, lambda: False)
        moving.end()
    flows = [flow for flow in moving.flows() if flow.way.startswith("host>")]
    assert len(flows) > 1
    assert all(0.1 < flow.ended - flow.began < 5.0 for flow in flows)
    assert all(before.ended <= after.began for before, after in pairwise(flows))


def test_a_gpu_that_its_driver_has_lost_is_a_drop(tmp_path: Path, devices: tuple[GpuInfo, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    from boxcheck.riser.measuring.traffic import Ended, Moving

    monkeypatch.setattr(Moving, "ended", lambda self: (Ended(key="cpu:0", says="cpu:0: it is gone", early=True, lost=True),))
    one, other = Box(tmp_path, devices).measure(0.6, "AB")
    assert (one.dropped, other.dropped) == (1, 0)
    assert call_link(one).call == "failing"


class Halting:
    """A guard that finds a card too hot after a time."""

    def __init__(self, *_: object, **more: object) -> None:
        self.since = time.monotonic()
        self.seen = 0

    def __enter__(self) -> Halting:
        return self

    def __exit__(self, *_: object) -> None: ...

    def halted(self) -> bool:
        return time.monotonic() > self.since + 1.5

    def see(self, worker: int, readings: object) -> None:
        self.seen += 1

    def load_ended(self) -> None: ...

    def result(self) -> Safety:
        return Safety(stop=SafetyStop(
            limit="safety.gpu_celsius", subject="0000:41:00.0", sensor="core", value=104.0, bound=100.0, unit="C", source="",
            readings=(104.0,), monotonic_seconds=0.0, wall=0.0) if self.halted() else None)


def test_a_card_that_is_too_hot_ends_all_traffic_with_the_reading(tmp_path: Path, devices: tuple[GpuInfo, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Processors have no address on a bus; these are given one once they are open."""
    import msgspec

    named = [msgspec.structs.replace(info, bdf=Bdf(f"0000:{at + 41}:00.0")) for at, info in enumerate(devices)]
    box = Box(tmp_path, named, guarding=Halting)
    began = time.monotonic()
    looks = box.measure(60.0, "AB")
    assert time.monotonic() - began < 20
    assert all(look.notes[0] == "load was ended for safety: 0000:41:00.0: core at 104 C, above 100 C" for look in looks)
    assert all(look.cut_short == look.notes[0] for look in looks)


def test_a_link_without_a_device_is_said_to_have_carried_nothing(tmp_path: Path, devices: tuple[GpuInfo, ...]) -> None:
    box = Box(tmp_path, devices)
    bare = [Target(hop=target.hop, slot=target.slot) for target in box.measurable.targets]
    looks = measure(Measurable(targets=tuple(bare), where=box.measurable.where), 0.6, load=("A",), traffic=box.traffic,
                    root=str(tmp_path), follow_log=False)
    assert looks[0].notes[0] == "no runtime drives a device behind this link, so nothing was moved over it"
    assert call_link(looks[0]).call == "unread"


def test_a_gpu_that_vanishes_ends_its_part_with_a_sentence(tmp_path: Path, devices: tuple[GpuInfo, ...]) -> None:
    """Its worker is killed, as the driver of a GPU that is gone kills it; the other goes on."""
    box = Box(tmp_path, devices)

    def vanish() -> None:
        import os
        import signal

        from boxcheck.host.programs import STARTED

        os.kill(min(STARTED), signal.SIGKILL)

    with happening(2.8, vanish):
        looks = box.measure(3.5, "AB", Conditions(neighbours="loaded"))
    told = [[note for note in look.notes if "its traffic broke off" in note] for look in looks]
    assert sorted(map(len, told)) == [0, 1]
    (says,) = next(notes for notes in told if notes)
    assert "was killed by SIGKILL" in says
    assert all(min(bits(look)) > 0 for look in looks)
    whole = next(look for look, notes in zip(looks, told, strict=True) if not notes)
    assert whole.ways[0].seconds > 3.4


def test_a_worker_that_hangs_costs_its_own_link_alone(tmp_path: Path, devices: tuple[GpuInfo, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    import msgspec

    from boxcheck.engine.messages import Run

    box = Box(tmp_path, devices, silence_seconds=1.0)
    order = Traffic._order

    def hang_first(self: Traffic, group: Sequence[GpuInfo], seconds: float) -> Run:
        made = order(self, group, seconds)
        return msgspec.structs.replace(made, inject="hang", inject_after=2) if group[0].key == "cpu:0" else made

    monkeypatch.setattr(Traffic, "_order", hang_first)
    one, other = box.measure(1.5, "AB", Conditions(neighbours="loaded"))
    assert "no sign of life" in one.notes[0]
    assert call_link(one).call == "unread"
    assert min(bits(other)) > 0


def test_data_that_arrives_wrong_counts_for_nothing(tmp_path: Path, devices: tuple[GpuInfo, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    import msgspec

    from boxcheck.engine.messages import Run

    box = Box(tmp_path, devices)
    order = Traffic._order

    def damaged(self: Traffic, group: Sequence[GpuInfo], seconds: float) -> Run:
        return msgspec.structs.replace(order(self, group, seconds), inject="flip-payload", inject_after=9)

    monkeypatch.setattr(Traffic, "_order", damaged)
    one, _ = box.measure(1.5, "A")
    assert any("arrived wrong" in note for note in one.notes)
    assert one.wrong_words > 0
    assert call_link(one).call == "failing"


def test_a_speed_that_changes_under_load_splits_what_was_moved(tmp_path: Path, devices: tuple[GpuInfo, ...]) -> None:
    box = Box(tmp_path, devices)
    with happening(2.4, lambda: box.links[0].train("8.0 GT/s PCIe")):
        looks = [look for look in box.measure(3.5, "A", Conditions(speed_gts=16.0)) if look.slot == "A"]
    assert {look.speed_gts for look in looks} == {8.0, 16.0}
    assert {look.speed_gts: look.conditions.speed_gts for look in looks} == {16.0: 16.0, 8.0: None}
    assert all(look.ways[0].bits > 0 for look in looks)


def test_a_driver_of_opencl_carries_traffic_too(tmp_path: Path) -> None:
    found = list_devices("opencl", environment={"POCL_DEVICES": "pthread pthread"})
    if isinstance(found, Trouble):
        pytest.skip(found.says)
    box = Box(tmp_path, found)
    box.traffic = Traffic(found, options={"size": "test"}, environment={"POCL_DEVICES": "pthread pthread"})
    looks = box.measure(1.2, "AB", Conditions(neighbours="loaded"))
    assert all(min(bits(look)) > 0 for look in looks), [look.notes for look in looks]


def test_it_ends_when_it_is_told_to(tmp_path: Path, devices: tuple[GpuInfo, ...]) -> None:
    box = Box(tmp_path, devices)
    until = time.monotonic() + 0.3
    began = time.monotonic()
    box.measure(60.0, stopping=lambda: time.monotonic() > until)
    assert time.monotonic() - began < 3.0


def test_ctrl_c_ends_the_traffic_and_goes_on_to_the_caller(tmp_path: Path, devices: tuple[GpuInfo, ...]) -> None:
    from boxcheck.host.programs import STARTED

    box = Box(tmp_path, devices)
    before = set(STARTED)
    until = time.monotonic() + 1.5

    def interrupt() -> bool:
        if len(STARTED - before) and time.monotonic() > until:
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        box.measure(60.0, "A", stopping=interrupt)
    assert set(STARTED) == before
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("riser")]


def test_traffic_goes_on_around_something_else(tmp_path: Path, devices: tuple[GpuInfo, ...]) -> None:
    box = Box(tmp_path, devices)
    with loaded(box.measurable, box.traffic, ("A",), 5.0) as busy:
        assert busy == {"A"}


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf"), 1e9])
def test_a_time_that_is_none_is_refused(tmp_path: Path, devices: tuple[GpuInfo, ...], seconds: float) -> None:
    with pytest.raises(ValueError, match="is no time to measure for"):
        Box(tmp_path, devices).measure(seconds)


def test_replays_and_heat_come_from_the_drivers_of_the_cards(tmp_path: Path) -> None:
    from tests.telemetry.trees import amd_card, home, put

    bdf = amd_card(tmp_path)
    link = FakeLink(tmp_path, 1)
    target = Target(hop=link.hop(), slot="A", gpus=((bdf, "1002"),))
    with happening(1.4, lambda: put(home(tmp_path, bdf), "pcie_replay_count", 10)):
        (look,) = measure(Measurable(targets=(target,), where=LinkMap(hops={}, ways={})), 3.2, root=str(tmp_path),
                          follow_log=False)
    assert look.replays == 7
    assert look.celsius is not None
    assert look.celsius > 40


def test_a_replay_counter_that_begins_anew_is_no_fall() -> None:
    assert list(steps([5, 9, 2, 3])) == [4, 2, 1]

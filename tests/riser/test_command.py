"""`boxcheck riser` over several boots: what is kept, what is asked, what is recognised."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from copy import copy
from pathlib import Path

import msgspec
import pytest

from boxcheck.commands import riser_experiment
from boxcheck.commands.riser import Options, riser
from boxcheck.commands.riser_all import code_of, no_slot
from boxcheck.commands.riser_box import Leave
from boxcheck.commands.riser_experiment import KINDS, Experiment
from boxcheck.probes.gpus import Gpus
from boxcheck.riser.evidence import Conditions, Look
from boxcheck.riser.links.hold import NotRestored
from boxcheck.riser.links.restore import Restored
from boxcheck.riser.measuring.rank import rank
from boxcheck.riser.notebook import Stored, every, save
from boxcheck.riser.parts import Seat
from boxcheck.usage import UsageError
from tests.riser.command_box import TestBox
from tests.riser.facts import facts_of
from tests.riser.showing import look

Run = Callable[..., int]


def bad_riser(at: dict[str, str]) -> Callable[[tuple[Seat, ...], Conditions], Sequence[Look]]:
    """Errors toward the card in the slot that `at["slot"]` names."""
    return lambda seats, conditions: [
        look(seat.slot, 400 if seat.slot == at["slot"] else 0, conditions=conditions) for seat in seats]


class Bench:
    """One user's experiments, boot after boot."""

    def __init__(self, box: TestBox, monkeypatch: pytest.MonkeyPatch) -> None:
        self.box, self.boot = box, "boot-1"
        monkeypatch.setattr(riser_experiment, "boot_id", lambda: self.boot)
        monkeypatch.setenv("BOXCHECK_LOCK", "boxcheck-test-riser-command")

    def run(self, **options: object) -> int:
        given = Options(**{"slot": "PCIE3", "quiet": True, **options})  # type: ignore[arg-type]
        try:
            return Experiment(given, self.box).run()  # type: ignore[arg-type]
        except Leave as leave:
            return leave.code

    def resume(self, **options: object) -> int:
        return self.run(slot=None, resume="", **options)

    def kept(self) -> Stored:
        return next(every(self.box.folder()))


@pytest.fixture
def at() -> dict[str, str]:
    return {"slot": "PCIE3"}


@pytest.fixture
def bench(tmp_path_factory: pytest.TempPathFactory, tmp_path: object, at: dict[str, str],
          monkeypatch: pytest.MonkeyPatch) -> Bench:
    facts, want = facts_of("wopr-7x4090", "wopr-7x4090", str(tmp_path_factory.getbasetemp()))
    return Bench(TestBox(facts, want, str(tmp_path), bad_riser(at)), monkeypatch)


def do_as_asked(bench: Bench, at: dict[str, str], riser: str) -> None:
    """The box is powered off, all moves of the step are made, and it starts again; errors follow the riser."""
    step = bench.kept().notebook.next
    assert step is not None
    places = {place.slot: place for place in bench.kept().notebook.boots[-1].places}
    for move in step.moves:
        if move.part == "riser" and move.name == riser:
            at["slot"] = move.to
    cards = {slot: bench.box.order.get(slot, slot) for slot in places}
    for move in step.moves:
        if move.part == "card":
            home = next(slot for slot, place in places.items() if place.card == move.name)
            bench.box.order[move.to] = cards[home]
    bench.boot = f"{bench.boot}x"


def test_an_experiment_ends_with_the_part_that_errors_followed(bench: Bench, at: dict[str, str]) -> None:
    assert bench.run(risers=("PCIE3=R3",)) == 75
    assert bench.kept().notebook.next is not None
    for _ in range(4):
        do_as_asked(bench, at, "R3")
        code = bench.resume()
        if code != 75:
            break
    stored = bench.kept()
    assert code == 1
    assert "R3" in stored.closed
    assert not any(boot.strayed for boot in stored.notebook.boots)
    with pytest.raises(UsageError, match="no experiment goes on"):
        bench.resume()


def test_a_box_that_was_not_powered_off_is_not_measured_as_if_it_was(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.run()
    before = bench.kept()
    assert bench.resume() == 75
    assert "was not powered off since this was asked" in capsys.readouterr().err
    assert bench.kept() == before
    assert bench.resume(again=True) == 75
    after = bench.kept().notebook
    assert len(after.boots) == 1
    assert len(after.boots[0].looks) > len(before.notebook.boots[0].looks)


def test_a_step_that_is_not_possible_is_not_asked_again(bench: Bench) -> None:
    bench.run()
    first = bench.kept().notebook.next
    assert first is not None
    bench.resume(again=True, cannot=(first.kind,))
    second = bench.kept().notebook.next
    assert second is not None
    assert second.kind != first.kind


def test_cards_that_are_elsewhere_than_asked_are_told_and_counted_from_there(bench: Bench) -> None:
    bench.run()
    bench.box.swap("PCIE6", "PCIE7")
    bench.boot = "boot-2"
    bench.resume()
    last = bench.kept().notebook.boots[-1]
    assert any("sits in PCIE6" in says for says in last.strayed)
    assert last.places[5].card == bench.kept().notebook.boots[0].places[6].card


def test_ctrl_c_keeps_what_was_measured(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    real = bench.box.looks
    count = 0

    def interrupted(seats: tuple[Seat, ...], conditions: Conditions) -> Sequence[Look]:
        nonlocal count
        count += 1
        if count == 2:
            raise KeyboardInterrupt
        return real(seats, conditions)

    bench.box.looks = interrupted
    with pytest.raises(KeyboardInterrupt):
        bench.run()
    stored = bench.kept()
    assert stored.notebook.boots[0].looks
    assert not stored.closed
    assert any("interrupted" in says for says in bench.box.said)


def test_a_link_that_could_not_be_put_back_ends_with_5_and_says_so(
        bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(of: object) -> object:
        raise NotRestored(Restored(outcome="down", says="the link of PCIE3 is down", help="shut down, and start again"))
        yield

    monkeypatch.setattr(riser_experiment, "experiments", broken)
    assert bench.run() == 5
    assert "! the link of PCIE3 is down; shut down, and start again" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("what", ["its own link", "its card's power limit", "a neighbour's link"])
def test_nothing_is_measured_while_an_earlier_start_left_something_changed(bench: Bench, what: str) -> None:
    mine = next(seat for seat in bench.box.seats() if seat.slot == "PCIE3")
    other = next(seat for seat in bench.box.seats() if seat.slot != "PCIE3")
    assert mine.link.downstream is not None
    bench.box.left = frozenset(({"its own link": mine.link.id, "its card's power limit": mine.link.downstream.bdf,
                                 "a neighbour's link": other.link.id}[what],))
    assert bench.run() == 5
    assert not os.listdir(bench.box.folder())


def test_an_experiment_of_another_box_is_refused(bench: Bench) -> None:
    bench.run()
    id = bench.kept().notebook.id
    bench.box.name = "W-0008"
    with pytest.raises(UsageError, match="is of the box W-0007"):
        bench.run(slot=None, resume=id)
    with pytest.raises(UsageError, match="no experiment goes on here"):
        bench.resume()


@pytest.mark.parametrize(("user", "help"), [
    (1000, "run it with sudo, as it was begun"),
    (0, r"it may be of another box \(W-0007\); boxcheck riser --resume r-\d+-1 --close ends it")])
def test_slots_that_nobody_knows_are_not_blamed_on_the_user_who_is_root(
        bench: Bench, user: int, help: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.run()
    kept = bench.kept()
    first = kept.notebook.boots[0]
    others = tuple(msgspec.structs.replace(place, slot=f"J{at}") for at, place in enumerate(first.places))
    save(bench.box.folder(), msgspec.structs.replace(kept, notebook=msgspec.structs.replace(
        kept.notebook, slot="J1", boots=(msgspec.structs.replace(first, places=others),))))
    monkeypatch.setattr("os.geteuid", lambda: user)
    with pytest.raises(UsageError, match="is known by its name here") as refused:
        bench.resume()
    assert re.search(help, refused.value.help)


@pytest.mark.parametrize(("box", "says", "help"), [
    ("strix-halo", "is built in: it hangs on no riser", "boxcheck doctor"),
    ("wopr-7x4090", "holds a GPU, and no profile names one", "by the slot or the address of its port")])
def test_where_no_slot_holds_a_gpu_the_help_leads_on(
        box: str, says: str, help: str, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    facts, want = facts_of(box, box, str(tmp_path_factory.getbasetemp()))
    if box != "strix-halo":
        facts = copy(facts)
        facts._values = {**facts._values, Gpus: Gpus(gpus=())}
    error = no_slot(TestBox(facts, want, str(tmp_path), lambda seats, conditions: ()))  # type: ignore[arg-type]
    assert says in str(error)
    assert help in error.help


def test_one_that_a_user_began_goes_on_as_root(bench: Bench) -> None:
    """An ordinary user does not see the board's serial number."""
    bench.box.name = "wopr"
    bench.run()
    bench.box.name, bench.boot = "BX01 (wopr)", "boot-2"
    assert bench.resume() in (1, 75)
    assert len(bench.kept().notebook.boots) == 2


def test_a_port_that_is_gone_is_a_link_that_is_not_there(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.run()
    whole = bench.box.seats
    monkeypatch.setattr(bench.box, "seats", lambda also=None: tuple(one for one in whole() if one.slot != "PCIE3"))
    bench.boot = "boot-2"
    assert bench.resume() in (1, 75)
    assert bench.kept().notebook.boots[-1].looks[-1].active is False


def test_a_verdict_that_cannot_be_kept_is_told(
        bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from boxcheck.riser import notebook

    real, calls = notebook.save, 0

    def full(folder: str, stored: Stored) -> str:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise UsageError("no space left on device", "make room")
        return real(folder, stored)

    monkeypatch.setattr(notebook, "save", full)
    assert bench.run() == 3
    told = capsys.readouterr()
    assert "Do now" in told.out
    assert "no space left on device" in told.err


def test_what_cannot_be_moved_is_named_as_it_is_shown(bench: Bench) -> None:
    bench.run()
    card = bench.kept().notebook.boots[0].places[2].card
    assert card is not None
    bench.resume(again=True, cannot=(card[-4:],))
    assert bench.kept().notebook.cannot == (card,)
    with pytest.raises(UsageError, match="is no kind of step"):
        bench.resume(again=True, cannot=("swop",))


def test_the_same_slot_goes_on_with_its_experiment(bench: Bench) -> None:
    bench.run()
    bench.boot = "boot-2"
    bench.run()
    assert len(list(every(bench.box.folder()))) == 1
    assert any("going on with experiment" in says for says in bench.box.said)


def test_json_alone_stands_on_standard_output(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.run(json="-")
    found = json.loads(capsys.readouterr().out)
    assert found["state"] == "waiting"
    assert found["experiment"]["slot"] == "PCIE3"
    assert found["next"]["expect"]


@pytest.mark.parametrize(("options", "says"), [
    (Options(), "say which link"),
    (Options(slot="PCIE3", every=True), "a slot and --all exclude each other"),
    (Options(slot="PCIE3", risers=("PCIE3",)), "is no SLOT=LABEL"),
    (Options(every=True, risers=("PCIE3=R3",)), "belongs to the experiment on one link"),
    (Options(slot="PCIE3", sysroot="x", writes=True), "a capture can be looked at"),
])
def test_words_that_do_not_fit_are_refused_before_anything_is_read(options: Options, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        riser(options)


def test_a_slot_that_is_none_is_named_with_those_there_are(bench: Bench) -> None:
    with pytest.raises(UsageError, match="no slot is called 'PCIE9'"):
        bench.run(slot="PCIE9")
    with pytest.raises(UsageError, match="--riser: no slot is called 'PCIE8'"):
        bench.run(risers=("PCIE8=R8",))


def test_where_no_step_tells_more_a_longer_look_is_offered(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    places = {slot: f"R{slot[-1]}" for slot in ("PCIE1", "PCIE2", "PCIE3", "PCIE4", "PCIE5", "PCIE6", "PCIE7")}
    assert bench.run(quiet=False, seconds=60.0, cannot=KINDS, risers=tuple(f"{slot}={label}" for slot, label in places.items())) == 3
    told = capsys.readouterr().out
    assert "a longer look shows rarer errors" in told
    assert "--again --seconds 600" in told
    assert bench.kept().notebook.boots[0].told == tuple(places)


@pytest.mark.parametrize(("looks", "code"), [
    ([look("PCIE1"), look("PCIE2")], 0),
    ([look("PCIE1"), look("PCIE2", 3)], 0),
    ([look("PCIE1"), look("PCIE2", 4000)], 1),
    ([look("PCIE1"), Look(slot="PCIE2", present=False, active=False)], 3),
    ([Look(slot="PCIE1", present=False, active=False)], 3),
    ([Look(slot="PCIE1", present=True, active=False)], 1),
    ([msgspec.structs.replace(look("PCIE1", 3), ways=(look("PCIE1", 3).ways[0],))], 3),
    ([], 3),
])
def test_a_ranking_passes_nothing_that_was_not_looked_at(looks: list[Look], code: int) -> None:
    """An empty slot, a direction that nobody read beside one with a few errors, no link at all."""
    assert code_of(rank(looks)) == code

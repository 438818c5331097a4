"""`--until-ber`: planned, refused where it takes too long, ended when it is shown or cannot be; never a silent pass."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from boxcheck.engine import boundaries as engine_boundaries
from boxcheck.engine import link_course, until_ber
from boxcheck.engine.boundaries import Recorder, read_counters, stored
from boxcheck.engine.burn import Burn, Job
from boxcheck.engine.link_course import LinkCourse, asked, judge_stored
from boxcheck.engine.plan import Plan, Step, plan_for
from boxcheck.engine.rejudge import rejudge
from boxcheck.engine.until_ber import STEP, estimate, expected, judge_links, map_of, parse_ber, rounds, with_ber
from boxcheck.gpu import GpuInfo
from boxcheck.model import Bdf, Finding, Outcome, Unread
from boxcheck.profile import load_profile
from boxcheck.registry import discover, discover_stress
from boxcheck.store.creating import create_run, reopen_run
from boxcheck.store.errors import StoreError
from boxcheck.store.reader import RunReader
from boxcheck.store.rows import PhasePlan, PhaseStart, RunInfo
from boxcheck.stress import StressResults
from boxcheck.stress.boundaries import Boundaries, Boundary, boundaries
from boxcheck.stress.link_ledger import Ledger
from boxcheck.stress.link_routes import Hop, LinkMap
from boxcheck.stress.tally import Watching
from boxcheck.telemetry.boundary import GpuCounters, PortBits, Snapshot
from boxcheck.telemetry.readings import Count, LinkReading
from boxcheck.usage import UsageError
from tests.engine.test_burn import Box
from tests.stress.every_check import device, results, sample
from tests.stress.test_link_rates import gpus_of, machine

discover()
discover_stress()
PORT, CARD = Bdf("0000:40:01.1"), Bdf("0000:41:00.0")
OTHER_PORT, OTHER = Bdf("0000:40:03.1"), Bdf("0000:42:00.0")
GPUS = (device(0, bdf=CARD),)
WANT = load_profile("wopr-7x4090")
LOAD = ("matmul", "copy", "vram")


def links(lanes: int = 16, **silent: Any) -> LinkMap:
    """One card; `port` and `card` say why an end counts nothing."""
    ends = {"port": PORT, "card": CARD}
    hop = Hop(port=PORT, card=CARD, slot="PCIE3", gigatransfers=16.0, lanes=lanes,
              silent={ends[name]: why for name, why in silent.items()})
    return LinkMap(hops={PORT: hop}, ways={"cuda:0": (PORT,)}, ends=dict.fromkeys(ends.values()))


def planned(ber: float = 1e-12, where: LinkMap | None = None, peers: int = 1) -> Plan:
    base = plan_for(600, "level 2", gpus=1, peers=1, known=LOAD)
    return with_ber(base, ber, links() if where is None else where, peers)


def the_step(plan: Plan) -> Step:
    (step,) = [one for one in plan.steps if one.kind == "until-ber"]
    return step


def test_its_step_comes_after_the_load_and_before_the_cool_down() -> None:
    plan = planned()
    kinds = [step.kind for step in plan.steps]
    assert kinds[-3:] == ["until-ber", "cool-down", "doctor"]
    assert the_step(plan).seconds == pytest.approx(122, abs=1)
    assert plan.seconds == pytest.approx(600 + 122, rel=0.1)
    assert msgspec.convert(msgspec.to_builtins(plan), Plan) == plan
    assert asked(msgspec.to_builtins(plan)) == 1e-12
    assert asked(msgspec.to_builtins(plan_for(600, "x", gpus=1, peers=1, known=LOAD))) is None


def test_without_a_cool_down_it_comes_before_the_last_doctor() -> None:
    base = plan_for(600, "x", gpus=1, peers=1, known=LOAD, only=["copy"])
    assert [step.kind for step in with_ber(base, 1e-12, links(), 1).steps] == [
        "doctor", "stress", "until-ber", "doctor"]


def test_a_rate_takes_days_where_it_is_a_thousand_times_lower() -> None:
    assert the_step(planned(1e-15)).seconds / 86400 == pytest.approx(1.4, abs=0.1)


@pytest.mark.parametrize("ber", [1e-16, 1e-17])
def test_above_thirty_days_it_is_refused(ber: float) -> None:
    with pytest.raises(UsageError, match="30 d at most") as refused:
        planned(ber, links(lanes=4))
    assert " d" in str(refused.value)
    assert "PCIE3 at x4 16 GT/s" in str(refused.value)
    assert "can be shown in that time" in refused.value.help


@pytest.mark.parametrize("text", ["", "x", "0", "1", "-1e-12", "1e-20", "nan", "inf"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_ber(text)


@pytest.mark.parametrize(("where", "why"), [
    (LinkMap(hops={}, ways={}), "no GPU is on a link"),
    (links(port="it has no AER counters", card=Unread("needs root", "permission")), "no end of any link")])
def test_what_cannot_be_shown_has_a_step_of_no_time_and_its_reason(where: LinkMap, why: str) -> None:
    plan = planned(where=where)
    assert the_step(plan).seconds == 0
    assert why in plan.left_out[STEP]


class Machine:
    """Copies that take as long as asked and put so many bits on the link each way."""

    def __init__(self, where: LinkMap, bits_a_second: float = 2e10, **watching: Any) -> None:
        self.ledger, self.pace, self.watching = Ledger(where), bits_a_second, watching
        self.now, self.ran, self.said = 0.0, list[Step](), list[str]()

    def load(self, step: Step) -> None:
        self.now += step.seconds
        self.ran.append(step)
        size = int(self.pace * step.seconds / 8)
        moved = {"host>cuda:0": size, "cuda:0>host": size}
        made = results(step.modules[0], [sample("copy", moved=moved)] if size else [], gpus=GPUS)
        watching = {"seconds": step.seconds, "links": (PORT, CARD), **self.watching}
        self.ledger.add(made[StressResults], msgspec.structs.replace(made[Watching], **watching))

    def go(self, step: Step, stopping: Any = lambda: False) -> str:
        return rounds(step, self.ledger, load=self.load, stopping=stopping, say=self.said.append, now=lambda: self.now)

    def found(self, ber: float = 1e-12) -> list[Finding]:
        return judge_links(self.ledger, ber, Boundaries(), WANT, [])[:2]


def test_it_ends_as_soon_as_it_is_shown() -> None:
    machine = Machine(links())
    assert "is shown for all 2 directions" in machine.go(the_step(planned()))
    assert 2.9958e12 / 2e10 <= machine.now < 2 * 2.9958e12 / 2e10
    assert [one.outcome for one in machine.found()] == [Outcome.PASS] * 2
    assert len(machine.ran) > 1
    assert "2 directions to go" in machine.said[0]
    assert "% of the bits, about" in machine.said[0]


def test_bits_of_the_phases_before_count() -> None:
    machine = Machine(links())
    machine.load(Step(name="copy", kind="stress", modules=("copy",), seconds=150))
    assert "is shown" in machine.go(the_step(planned()))
    assert machine.ran[1:] == []


def test_every_third_round_copies_between_gpus_where_there_are_some() -> None:
    machine = Machine(links(), bits_a_second=4e9)
    machine.go(the_step(planned(peers=2)))
    assert [step.modules for step in machine.ran][:3] == [("copy",), ("copy",), ("p2p",)]


def test_an_error_asks_for_more_bits() -> None:
    machine = Machine(links())
    machine.load(Step(name="copy", kind="stress", modules=("copy",), seconds=10))
    machine.watching = {"link_errors": {CARD: {"BadTLP": 1}}}
    machine.load(Step(name="copy", kind="stress", modules=("copy",), seconds=150))
    machine.watching = {}
    assert "is shown for all 2" in machine.go(the_step(planned()))
    assert machine.now * 2e10 > 4.7438e12
    assert [one.outcome for one in machine.found()] == [Outcome.PASS] * 2


def test_a_rate_that_is_proven_to_be_higher_ends_it_and_fails() -> None:
    machine = Machine(links(), link_errors={CARD: {"BadTLP": 9}})
    assert "cannot be for the others" in machine.go(the_step(planned()))
    to_card, from_card = machine.found()
    assert (to_card.outcome, from_card.outcome) == (Outcome.FAIL, Outcome.PASS)
    assert to_card.blocker
    assert "9" in to_card.says


@pytest.mark.parametrize("watching", [
    {"reset_links": (CARD,)}, {"links": (PORT,)}, {"unread_links": {CARD: "gone"}},
    {"link_errors": {CARD: {"BadTLP": 4}}, "link_steps": {CARD: {"BadTLP": 4}}}])
def test_a_direction_that_cannot_be_bounded_is_no_pass_and_does_not_hold_up_the_other(watching: dict[str, Any]) -> None:
    machine = Machine(links(), **watching)
    machine.go(the_step(planned()))
    to_card, from_card = machine.found()
    assert to_card.outcome in (Outcome.UNKNOWN, Outcome.FAIL)
    assert to_card.blocker
    assert from_card.outcome is Outcome.PASS
    assert machine.now < 400


def test_a_port_that_counts_nothing_is_unknown_and_blocks() -> None:
    machine = Machine(links(card="it has no AER capability"))
    machine.go(the_step(planned(where=machine.ledger.where)))
    to_card, from_card = machine.found()
    assert to_card.outcome is Outcome.UNKNOWN
    assert to_card.blocker
    assert "no AER capability" in to_card.says
    assert from_card.outcome is Outcome.PASS


def test_no_gpu_on_pcie_is_unknown_and_runs_nothing() -> None:
    machine = Machine(LinkMap(hops={}, ways={}))
    machine.go(the_step(planned(where=machine.ledger.where)))
    assert machine.ran == []
    one, *_ = machine.found()
    assert one.outcome is Outcome.UNKNOWN
    assert one.blocker


def test_copies_that_move_nothing_end_it() -> None:
    machine = Machine(links(), bits_a_second=0)
    assert "moved nothing" in machine.go(the_step(planned()))
    assert len(machine.ran) == 1
    assert {one.outcome for one in machine.found()} == {Outcome.UNKNOWN}


def test_its_hard_end_comes() -> None:
    machine = Machine(links(), bits_a_second=1e9)
    step = the_step(planned())
    assert "hard end" in machine.go(step)
    assert machine.now == pytest.approx(1.5 * step.seconds + 300)
    one, *_ = machine.found()
    assert one.outcome is Outcome.UNKNOWN
    assert "more show it" in one.says


def test_a_stop_ends_it_between_rounds() -> None:
    machine = Machine(links())
    assert machine.go(the_step(planned()), stopping=lambda: bool(machine.ran)) == "it was stopped"
    assert len(machine.ran) == 1


def test_what_nothing_was_put_on_is_expected_all_the_same() -> None:
    assert [one.toward for one in expected(Ledger(links()))] == ["card", "host"]


def test_the_slowest_link_that_counts_sets_the_estimate() -> None:
    slow = Hop(port=Bdf("0000:80:01.1"), card=Bdf("0000:81:00.0"), gigatransfers=8.0, lanes=4)
    both = msgspec.structs.replace(links(), hops={PORT: links().hops[PORT], slow.port: slow})
    assert estimate(both, 1e-12)[0] > 7 * estimate(links(), 1e-12)[0]
    deaf = msgspec.structs.replace(slow, silent={slow.port: "no", Bdf("0000:81:00.0"): "no"})
    both = msgspec.structs.replace(both, hops={PORT: links().hops[PORT], slow.port: deaf})
    assert estimate(both, 1e-12) == estimate(links(), 1e-12)


# The store


def stored_run(folder: Path, gpus: tuple[GpuInfo, ...], ports: tuple[Bdf, ...], bad: int = 0) -> str:
    """A run of copies on the WOPR, in which the first GPU counted so many bad packets."""
    store = create_run(str(folder), RunInfo(kind="burn", version="1", plan=msgspec.to_builtins(planned())))
    store.plan_phase(PhasePlan(number=1, name="copy", module="copy"))
    store.begin_phase(1, PhaseStart(gpus=gpus))
    moved = {f"{a}>{b}": 10 ** 12 for info in gpus for a, b in ((info.key, "host"), ("host", info.key))}
    made = results("copy", [sample("copy", moved=moved)], gpus=gpus)[StressResults]
    store.sample(1, made.samples[0])
    for at in range(4):
        store.watched(1, [LinkReading(
            bdf=bdf, monotonic_seconds=100.0 + at, speed_gts=16.0, width=16, nonfatal=(), fatal=(),
            correctable=(Count("BadTLP", 5 + (bad if at > 1 and bdf == gpus[0].bdf else 0)),)) for bdf in ports])
    store.end_phase(1, made)
    recorder = Recorder(store, ())
    recorder.take("")
    recorder.take("copy", 1)
    store.end("finished", outcome="pass")
    return store.path


@pytest.mark.parametrize(("bad", "outcome"), [(0, Outcome.PASS), (1, Outcome.PASS)])
def test_a_store_judges_the_links_alike(
    tmp_path: Path, bad: int, outcome: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_boundaries, "read_counters", lambda gpus: Snapshot(monotonic_seconds=0.0))
    gpus, facts = gpus_of("wopr-7x4090"), machine("wopr-7x4090")
    from boxcheck.store.results import results_of, watching_of

    where = map_of(gpus, facts)
    path = stored_run(tmp_path, gpus, tuple(where.ends), bad)
    with RunReader(path) as reader:
        phases = reader.phases()
        every = [(phase, results_of(reader, phase.plan.number), watching_of(reader, phase.plan.number))
                 for phase in phases]
        found = judge_stored(reader, every, facts, WANT, [])
        assert stored(reader) == boundaries((
            Boundary(after="", snapshot=Snapshot(monotonic_seconds=0.0)),
            Boundary(after="copy", snapshot=Snapshot(monotonic_seconds=0.0))))
    of_rate = {(str(one.subject.bdf), one.says.partition(" ")[0]): one for one in found if one.check == "burn.until-ber"}
    assert len(of_rate) == 14
    first = of_rate[where.ways["cuda:0"][0], "to"]
    assert first.outcome is outcome
    assert ("1 BadTLP" in first.says) is bool(bad)
    assert {one.outcome for one in found if one.check == "burn.link-counters"} == {Outcome.SKIP}


# Counters between phases


def counted(*replays: int | None, after: tuple[str, ...] = ("", "copy", "p2p")) -> list[Finding]:
    """`burn.link-counters` over boundaries at which the GPU's driver told so many replays; None: nothing was read."""
    found = [Boundary(after=name, why="a driver hung") if count is None else Boundary(after=name, snapshot=Snapshot(
        monotonic_seconds=0.0, gpus={CARD: GpuCounters(replays=count)},
        ports={PORT: PortBits(managed=count > 100, autonomous=False)})) for name, count in zip(after, replays, strict=True)]
    return judge_links(Ledger(LinkMap(hops={}, ways={})), None, boundaries(found), WANT, [])


def test_replays_are_told_with_the_phases_in_which_they_came() -> None:
    (finding,) = counted(4, 6, 7)
    assert finding.outcome is Outcome.MARGINAL
    assert finding.says == "its driver counted replays 3 (2 in copy, 1 in p2p)"
    assert finding.blocker


def of_two(first: GpuCounters, second: GpuCounters, where: LinkMap) -> list[Finding]:
    """The same of two GPUs, of which each has the same counters at both boundaries."""
    found = [Boundary(after=after, snapshot=Snapshot(monotonic_seconds=0.0, gpus={CARD: first, OTHER: second}))
             for after in ("", "copy")]
    return judge_links(Ledger(where), None, boundaries(found), WANT, [])


def test_a_gpu_whose_driver_counts_nothing_is_unknown_beside_one_whose_driver_counts() -> None:
    unseen = LinkMap(hops={}, ways={})
    seen = LinkMap(ways={}, hops={port: Hop(port=port, card=card) for port, card in ((PORT, CARD), (OTHER_PORT, OTHER))})
    for where in (unseen, seen):
        counted_one, silent = of_two(GpuCounters(replays=4), GpuCounters(), where)
        assert (counted_one.subject.bdf, counted_one.outcome) == (CARD, Outcome.PASS)
        assert (silent.subject.bdf, silent.outcome) == (OTHER, Outcome.UNKNOWN)
        assert silent.says == "its driver counts no packets that are sent again"
    (alone,) = of_two(GpuCounters(), GpuCounters(), seen)
    assert alone.outcome is Outcome.SKIP


def test_a_gpu_on_no_link_has_no_packets_that_are_sent_again() -> None:
    (finding,) = of_two(GpuCounters(replays=4), GpuCounters(), LinkMap(
        hops={PORT: Hop(port=PORT, card=CARD)}, ways={}))
    assert finding.subject.bdf == CARD


def test_what_a_driver_counted_names_both_ends_of_its_link() -> None:
    found = [Boundary(after=after, snapshot=Snapshot(monotonic_seconds=0.0, gpus={CARD: GpuCounters(replays=count)}))
             for after, count in (("", 0), ("copy", 3))]
    where = LinkMap(hops={PORT: Hop(port=PORT, card=CARD)}, ways={})
    (finding,) = judge_links(Ledger(where), None, boundaries(found), WANT, [])
    assert finding.ends == (PORT, CARD)
    (finding,) = judge_links(Ledger(LinkMap(hops={}, ways={})), None, boundaries(found), WANT, [])
    assert finding.ends == ()


def test_a_link_that_retrained_is_told_and_is_no_fault_by_itself() -> None:
    (finding,) = counted(101, 101, 101)
    assert finding.outcome is Outcome.PASS
    assert finding.notes == ()
    (finding,) = counted(99, 99, 101)
    assert finding.outcome is Outcome.MARGINAL
    assert "retrained its link" in finding.notes[0]
    assert finding.notes[0].endswith("1 in p2p")


def test_a_boundary_that_was_not_read_is_bridged_and_no_pass() -> None:
    (finding,) = counted(4, None, 4)
    assert finding.outcome is Outcome.UNKNOWN
    assert not finding.blocker
    (finding,) = counted(4, None, 9)
    assert finding.outcome is Outcome.MARGINAL
    assert "5 in copy and p2p" in finding.says
    (finding,) = counted(None, None, None)
    assert finding.outcome is Outcome.UNKNOWN


def test_a_run_that_is_gone_on_with_begins_its_boundaries_anew() -> None:
    (finding,) = counted(50, 50, 0, 0, after=("", "copy", "", "p2p"))
    assert finding.outcome is Outcome.UNKNOWN
    (finding,) = counted(50, 50, 0, 3, after=("", "copy", "", "p2p"))
    assert finding.outcome is Outcome.MARGINAL
    assert "at least 3 (3 in p2p)" in finding.says
    (finding,) = counted(50, 7, 7)
    assert finding.outcome is Outcome.MARGINAL
    assert "at least 7" in finding.says


def test_counters_are_read_by_a_process_that_is_given_up_when_it_hangs() -> None:
    found = read_counters(())
    assert isinstance(found, Snapshot)
    late = read_counters((), patience=0.0)
    assert isinstance(late, Unread)
    assert late.kind == "timeout"


# A whole run


def test_a_run_that_cannot_show_it_says_so_and_is_no_pass_also_when_it_is_judged_again(tmp_path: Path) -> None:
    box = Box(tmp_path)
    (tmp_path / "copies.toml").write_text('name = "copies"\n[[step]]\nmodule = "copy"\nminutes = 0.01\n')
    done = box.call("burn", "--backend", "cpu", "--profile", "generic", "--plan", str(tmp_path / "copies.toml"),
                    "--until-ber", "1e-12", "--json", str(tmp_path / "out.json"))
    assert done.returncode == 3, done.stderr
    found = json.loads((tmp_path / "out.json").read_text())
    (asked_for,) = [one for one in found["findings"] if one["check"] == "burn.until-ber"]
    assert asked_for["outcome"] == "unknown"
    assert asked_for["blocker"]
    assert "no GPU is on a link" in asked_for["says"]
    (run,) = box.listed()
    assert run["state"] == "finished"
    assert run["outcome"] == found["verdict"]["outcome"] == "unknown"
    again = json.loads(box.call("judge", run["id"], "--json", "-").stdout)
    assert again["findings"] == found["findings"]
    with RunReader(run["path"]) as reader:
        assert [event.kind for event in reader.events()].count("counters") == 3
        assert stored(reader).missing == ()


def test_rounds_are_phases_of_their_own_and_count_once_when_judged_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A processor stands for a card whose counters nobody reads: the first round shows that nothing can be shown."""
    where = LinkMap(hops={PORT: links().hops[PORT]}, ways={"cpu:0": (PORT,)})
    monkeypatch.setattr(until_ber, "map_of", lambda gpus, facts: where)
    monkeypatch.setattr(until_ber, "ROUND_SECONDS", (0.2, 0.4))
    want = load_profile("generic")
    plan = Plan(name="x", steps=(Step(name=STEP, kind="until-ber", seconds=2.0, ber=1e-12),))
    store = create_run(str(tmp_path), RunInfo(kind="burn", version="1", plan=msgspec.to_builtins(plan)))
    job = Job(plan=plan, folder=str(tmp_path), gpus=("cpu:0",), backend="cpu", profile="generic")
    verdict = Burn(job, store, want).run()
    store.end("finished", verdict)
    assert verdict.outcome is Outcome.UNKNOWN
    with RunReader(store.path) as reader:
        assert [(one.plan.number, one.plan.name, one.plan.module, one.state) for one in reader.phases()] == [
            (1, STEP, "", "ended"), (2, f"{STEP}, round 1", "copy", "ended")]
        said = [event.says for event in reader.events() if event.kind == "bit-errors"]
        assert said[-1] == "1.0e-12 is shown for 0 of 2 directions, and cannot be for the others"
        found = [one for one in rejudge(reader, want, False).verdict.findings if one.check == "burn.until-ber"]
    assert found == [one for one in verdict.findings if one.check == "burn.until-ber"]
    assert {one.says for one in found} == {
        f"to the card: 1.0e-12 cannot be shown: the counters of {CARD} were not read twice",
        f"from the card: 1.0e-12 cannot be shown: the counters of {PORT} were not read twice"}


def test_a_run_that_is_gone_on_with_has_the_bits_of_before_and_survives_a_store_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_boundaries, "read_counters", lambda gpus: Snapshot(monotonic_seconds=0.0))
    gpus, facts = gpus_of("wopr-7x4090"), machine("wopr-7x4090")
    path = stored_run(tmp_path, gpus, tuple(map_of(gpus, facts).ends))
    store = reopen_run(path, version="1", boot="")
    course = LinkCourse(store, gpus, facts, planned().steps)
    course.take_over()
    found = course.judged(WANT, [])
    assert [one.outcome for one in found if one.check == "burn.until-ber"] == [Outcome.PASS] * 14

    def broken(path: str) -> RunReader:
        raise StoreError("damaged", "row 7 does not fit its sum")

    monkeypatch.setattr(link_course, "RunReader", broken)
    blind = LinkCourse(store, gpus, facts, planned().steps)
    blind.take_over()
    found = blind.judged(WANT, [])
    assert [one.outcome for one in found if one.check == "burn.until-ber"] == [Outcome.UNKNOWN] * 14
    store.end("finished", outcome="unknown")


def gone_on_with(*boots: str) -> list[Finding]:
    """A run that was cut off in its second phase and gone on with, in these boots; a packet was sent again meanwhile."""
    found = [
        Boundary(after=after, boot=boot, snapshot=Snapshot(
            monotonic_seconds=0.0, gpus={CARD: GpuCounters(replays=count)}, ports={}))
        for after, boot, count in (("", boots[0], 4), ("copy", boots[0], 4), ("", boots[1], 5), ("p2p", boots[1], 5))]
    return judge_links(Ledger(LinkMap(hops={}, ways={})), None, boundaries(found), WANT, [])


def test_what_was_counted_until_a_run_was_gone_on_with_counts_within_one_boot() -> None:
    (finding,) = gone_on_with("a", "a")
    assert finding.outcome is Outcome.MARGINAL
    assert finding.says == "its driver counted replays 1 (1 in the time until it was gone on with)"
    for boots in (("a", "b"), ("", "")):  # from zero, or nobody knows
        (finding,) = gone_on_with(*boots)
        assert finding.outcome is Outcome.UNKNOWN
        assert finding.says == (
            "not known: none was counted as long as it was read; what was counted after copy until the machine went "
            "down was lost with the restart")


def test_a_boundary_says_in_which_boot_it_was_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_boundaries, "read_counters", lambda gpus: Snapshot(monotonic_seconds=0.0))
    monkeypatch.setattr(engine_boundaries, "boot_id", lambda: "one boot")
    store = create_run(str(tmp_path), RunInfo(kind="burn", version="1"))
    Recorder(store, ()).take("")
    store.end("finished")
    with RunReader(store.path) as reader:
        (event,) = reader.events()
    assert event.data["boot"] == "one boot"


@pytest.mark.parametrize(("bad", "shown"), [(0, True), (3, False)])
def test_errors_of_a_phase_that_was_cut_off_count_and_its_bits_do_not(bad: int, shown: bool) -> None:
    machine = Machine(links())
    machine.load(Step(name="copy", kind="stress", modules=("copy",), seconds=200))
    before = {one.toward: one.payload_bits for one in machine.ledger.directions()}
    assert all(one.outcome is Outcome.PASS for one in machine.found())
    made = results("copy", [sample("copy", moved={"host>cuda:0": 10 ** 12})], gpus=GPUS)
    watching = msgspec.structs.replace(made[Watching], seconds=10.0, links=(PORT, CARD), link_errors={
        CARD: {"BadTLP": bad}} if bad else {})
    machine.ledger.add_cut(made[StressResults], watching)
    after = {one.toward: one for one in machine.ledger.directions()}
    assert {toward: one.payload_bits for toward, one in after.items()} == before
    assert after["card"].received == ({"BadTLP": bad} if bad else {})
    assert bool(after["card"].at_least) is bool(bad)
    to_card, from_card = machine.found()
    assert (to_card.outcome is Outcome.PASS) is shown
    assert from_card.outcome is Outcome.PASS

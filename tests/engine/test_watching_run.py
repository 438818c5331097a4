"""A watch over made-up GPUs: what is read, told, kept and judged."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from boxcheck.engine.devices_watch import DevicesWatch
from boxcheck.engine.edac_watch import EdacWatch
from boxcheck.engine.heard import Heard
from boxcheck.engine.inspect import Facts, read_facts
from boxcheck.engine.instruments_child import Asked, InstrumentsChild
from boxcheck.engine.logwatch import LogWatch
from boxcheck.engine.notices import COLUMNS, Notices
from boxcheck.engine.rejudge import rejudge
from boxcheck.engine.surroundings import Surroundings
from boxcheck.engine.watch_judging import compare, judge_watch
from boxcheck.engine.watching_run import Ended, Told, WatchRun, gpus_of
from boxcheck.host.live import LiveHost
from boxcheck.model import BOX, Bdf, Finding, Outcome, Unread
from boxcheck.probes.gpus import Gpu, Gpus
from boxcheck.problems import group
from boxcheck.profile import load_profile
from boxcheck.registry import discover, discover_stress
from boxcheck.store.creating import create_run
from boxcheck.store.reader import RunReader
from boxcheck.store.rows import RunInfo
from boxcheck.stress.happenings import Happened, Severity
from boxcheck.stress.watch_checks import Looked, changes_between
from boxcheck.telemetry.links import ports_above
from boxcheck.telemetry.readings import Count, GpuReading, GpuSilent, LinkReading, Named, Pcie, SilentState
from boxcheck.telemetry.throttle import NVML
from tests.boxes import build
from tests.boxes.verdicts import host as captured
from tests.engine.test_devices_watch import Told as NoUevents
from tests.engine.test_surroundings import Fed
from tests.telemetry.trees import CORRECTABLE, advisory, amd_card, home, processors, put
from tests.test_wrong_passes import deny

discover()
discover_stress()
GENERIC = load_profile("generic")


def facts_with(*gpus: Gpu) -> Facts:
    facts = Facts()
    facts.put(Gpus, Gpus(gpus))
    return facts


def gpu(bdf: Bdf, **changes: Any) -> Gpu:
    found = Gpu(
        index=0, bdf=bdf, vendor="1002", pci_id="1002:744c", revision=None, name="RX 7900 XTX", part=None, slot="PCIE3",
        slot_link=None, integrated=False, driver="amdgpu", gone=False, function=None)  # type: ignore[arg-type]
    return msgspec.structs.replace(found, **changes)


class Work:
    """What is watched: something happens a moment after it began, and it ends some seconds after that."""

    def __init__(self, happens: Callable[[], object] | None, seconds: float) -> None:
        self.says = "python train.py"
        self.status: int | None = 0
        self._happens, self._seconds, self._begun = happens, seconds, time.monotonic()

    def ended(self) -> bool:
        spent = time.monotonic() - self._begun
        if self._happens is not None and spent > 0.3:
            self._happens()
            self._happens = None
        return self._happens is None and spent > 0.3 + self._seconds

    def pass_on(self, number: int) -> bool:
        return False

    def close(self) -> None:
        """Nothing is open."""


class Watched:
    """A watch of one card, on a machine of files."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.card = amd_card(self.root)
        processors(self.root)
        for bdf in ports_above(str(self.root), self.card):
            put(home(self.root, bdf), "class", "0x030000" if bdf == self.card else "0x060400")
            put(home(self.root, bdf), "vendor", "0x1002")
            put(home(self.root, bdf), "config", b"\x02\x10\x4c\x74")
        (folder / "runs").mkdir()
        self.store = create_run(str(folder / "runs"), RunInfo(kind="watch", version="1", plan={
            "name": "watch", "steps": [], "certain": True, "profile_why": "test"}), least_free_bytes=0)
        self.log, self.told = Fed(), list[Told]()

    def run(self, happens: Callable[[], object] | None = None, seconds: float = 0.0) -> Ended:
        facts = facts_with(gpu(self.card))
        around = Surroundings(
            str(self.root), log=LogWatch(self.log), memory=EdacWatch(str(self.root)),
            devices=DevicesWatch(str(self.root), uevents=NoUevents()))
        run = WatchRun(
            self.store, GENERIC, certain=True, host=LiveHost(), facts=facts, start=lambda: Work(happens, seconds),
            told=self.told.append, root=str(self.root), around=around, doctor=lambda: (LiveHost(), facts))
        return run.run()

    def bad_tlps(self, count: int) -> None:
        put(home(self.root, self.card), "aer_dev_correctable", CORRECTABLE.format(bad=count))


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watched:
    import boxcheck.engine.watching_run as module

    monkeypatch.setattr(module, "TICK_SECONDS", 0.1)
    return Watched(tmp_path)


def _found(ended: Ended, check: str) -> list[tuple[Outcome, str]]:
    return [(one.outcome, one.says) for one in ended.verdict.findings if one.check == check]


def test_errors_of_a_link_that_come_meanwhile_are_told_at_once_kept_and_judged(watched: Watched) -> None:
    ended = watched.run(lambda: watched.bad_tlps(7), 1.2)
    assert [(one.kind, one.severity) for one in watched.told if one.severity != "info"] == [("link-errors", "warn")]
    assert ended.watching.link_errors == {watched.card: {"BadTLP": 7}}
    (link,) = [one for one in ended.ledger["links"] if one["errors"]]
    assert (link["bdf"], link["errors"]) == (watched.card, {"BadTLP": 7})
    with RunReader(watched.store.path) as reader:
        assert [event.kind for event in reader.events() if event.severity == "warn"] == ["link-errors"]
        again = rejudge(reader, GENERIC, False)
    assert again.watching[0].link_errors == ended.watching.link_errors
    judged = {(one.check, one.outcome, one.says) for one in ended.verdict.findings
              if one.check not in ("watch.changed", "stress.link-errors", "stress.link-speed")}  # the machine of files has no facts
    assert judged <= {(one.check, one.outcome, one.says) for one in again.verdict.findings}


@pytest.mark.parametrize(("messages", "told"), [(0, []), (1, [("link-errors", "fail")])])
def test_errors_that_a_card_reports_as_advisory_are_no_errors_of_its_link(
    messages: int, told: list[tuple[str, str]], watched: Watched,
) -> None:
    advisory(watched.root, watched.card, 0)
    ended = watched.run(lambda: advisory(watched.root, watched.card, 5, messages), 1.2)
    assert [(one.kind, one.severity) for one in watched.told if one.severity != "info"] == told
    errors = {"NonFatalErr": 5, **({"nonfatal UnsupReq": 5} if messages else {})}
    assert ended.watching.link_errors == {watched.card: errors}


def test_bytes_that_nobody_counts_are_unknown_and_never_zero(watched: Watched) -> None:
    (one,) = watched.run().ledger["gpus"]
    assert (one["sent_bytes"], one["received_bytes"]) == (None, None)
    assert one["bytes_unknown"] == "its driver counts none"


def test_a_gpu_that_is_lost_is_told_once_and_ends_in_a_lost_device(watched: Watched) -> None:
    def die() -> None:
        here = home(watched.root, watched.card)
        put(here, "config", b"\xff" * 64)
        put(here, "current_link_width", 63)
        put(here, "current_link_speed", "Unknown")

    ended = watched.run(die, 2.2)
    assert [one.kind in ("gpu-lost", "device-dead") for one in watched.told if one.severity == "fail"] == [True]
    assert ended.verdict.device_lost
    assert [outcome for outcome, _ in _found(ended, "burn.devices")] == [Outcome.FAIL]


def test_an_xid_of_the_log_fails_the_watch(watched: Watched) -> None:
    def log() -> None:
        watched.log.text += b"[  100.0] amdgpu %s: amdgpu: GPU reset begin!\n" % watched.card.encode()

    ended = watched.run(log, 0.5)
    assert {outcome for outcome, _ in _found(ended, "burn.log")} & {Outcome.FAIL, Outcome.MARGINAL}


def test_instruments_that_die_are_told_and_nothing_they_would_have_read_passes(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boxcheck.engine.watching_run as module

    monkeypatch.setattr(module, "SILENT_SECONDS", 0.3)
    monkeypatch.setattr(module, "STARTS", 1)
    made: list[InstrumentsChild] = []

    def make(asked: Asked) -> InstrumentsChild:
        made.append(InstrumentsChild(asked))
        return made[-1]

    monkeypatch.setattr(module, "InstrumentsChild", make)
    ended = watched.run(
        lambda: os.kill(made[0]._process.pid, signal.SIGKILL), 1.0)
    assert [one.kind for one in watched.told if one.severity == "warn"] == ["instruments-silent"]
    assert [outcome for outcome, _ in _found(ended, "watch.instruments")] == [Outcome.UNKNOWN]
    assert ended.verdict.outcome is Outcome.UNKNOWN


def test_a_watch_that_found_nothing_passes_no_check_that_asks_for_samples(watched: Watched) -> None:
    checks = {one.check for one in watched.run().verdict.findings}
    assert not checks & {"stress.completed", "stress.wrong-results", "stress.size"}
    assert {"stress.temperature", "stress.throttled", "burn.log", "burn.devices", "watch.changed"} <= checks


def test_signals_are_as_before_when_it_is_over(watched: Watched) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)]
    watched.run()
    assert before == [
        signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)]


# Parts of it


def test_a_gpu_of_a_virtual_machine_and_the_graphics_beside_cards_are_not_watched() -> None:
    card, given = Bdf("0000:41:00.0"), Bdf("0000:42:00.0")
    infos, vendors, slots = gpus_of(facts_with(
        gpu(Bdf("0000:01:00.0"), integrated=True), gpu(given, driver="vfio-pci"), gpu(card)))
    assert [(info.key, info.bdf) for info in infos] == [("hip:0", card)]
    assert (vendors, slots) == (("1002",), {"hip:0": "PCIE3"})
    alone, _, _ = gpus_of(facts_with(gpu(Bdf("0000:01:00.0"), integrated=True)))
    assert len(alone) == 1
    assert gpus_of(Facts())[0] == ()


NVIDIA = gpus_of(facts_with(gpu(Bdf("0000:41:00.0"), vendor="10de", name="RTX 4090")))


def _notices(*readings: Any) -> tuple[Notices, list[tuple[str, Severity]]]:
    notices = Notices(NVIDIA[0], NVIDIA[2])
    found = [(one.kind, one.severity) for reading in readings for one in notices.feed([reading])]
    return notices, found


def _reading(at: float, **fields: Any) -> GpuReading:
    return GpuReading(bdf=Bdf("0000:41:00.0"), monotonic_seconds=at, **fields)


def _link(at: float, width: int = 16, **counts: int) -> LinkReading:
    return LinkReading(
        bdf=Bdf("0000:40:01.1"), monotonic_seconds=at, speed_gts=16.0, width=width,
        correctable=tuple(Count(name, number) for name, number in counts.items()), nonfatal=(), fatal=())


def test_bytes_are_the_growth_of_nvmls_counters_and_unknown_where_these_began_anew() -> None:
    notices, _ = _notices(*(_reading(at, pcie=Pcie(sent_bytes=100 + at, received_bytes=at)) for at in range(5)))
    (one,) = notices.ledger(NVIDIA[0], NVIDIA[2])["gpus"]
    assert (one["sent_bytes"], one["received_bytes"], one["bytes_unknown"]) == (4, 4, None)
    notices, _ = _notices(*(_reading(float(at), pcie=Pcie(sent_bytes=5 - at, received_bytes=at)) for at in range(4)))
    (one,) = notices.ledger(NVIDIA[0], NVIDIA[2])["gpus"]
    assert (one["sent_bytes"], one["bytes_unknown"]) == (None, "its counters began anew")


def test_a_link_that_goes_on_counting_is_told_once_a_minute_and_nothing_is_left_out() -> None:
    notices, found = _notices(*(_link(float(at), BadTLP=at) for at in range(100)))
    assert found == [("link-errors", "warn")] * 2
    assert [one.says for one in notices.rest()] == ["its link counted BadTLP 38"]
    assert notices.link_errors == 99


def test_lanes_that_are_lost_and_clocks_that_are_cut_are_told() -> None:
    _, found = _notices(
        _link(1.0), _link(2.0, 8), _link(3.0, 16), _reading(4.0, throttle=(NVML[2],)),
        _reading(5.0, throttle=(NVML[7],)), _reading(6.0, throttle=(NVML[7],)), _reading(7.0, throttle=()))
    assert found == [("link-width", "warn"), ("link-width", "info"), ("throttled", "warn")]


def test_the_line_of_a_minute_fits_a_terminal_and_says_what_nobody_told() -> None:
    notices, _ = _notices(_reading(
        1.0, temperatures_celsius=(Named("core", 61.0), Named("mem", 80.0)), power_watts=401.4, throttle=()))
    assert notices.line() == "1 GPU  80 °C  401 W  link errors 0"
    blind, _ = _notices(_reading(1.0, temperatures_celsius=Unread("no", "error"), power_watts=Unread("no", "error")))
    assert blind.line() == "1 GPU  ? °C  ? W  link errors 0"
    assert len(f"00:00:00  {notices.line()}  events 99999") <= COLUMNS


def test_findings_that_are_worse_than_before_are_told_and_those_of_a_warm_machine_are_not() -> None:
    def finding(check: str, outcome: Outcome) -> Finding:
        return Finding(check=check, subject=BOX, outcome=outcome, says="so", blocker=True)

    before = [finding(name, Outcome.PASS) for name in ("pcie.link-width", "thermal.gpu-idle", "log.xid", "disk.raid")]
    after = [finding("pcie.link-width", Outcome.FAIL), finding("thermal.gpu-idle", Outcome.MARGINAL),
             finding("log.xid", Outcome.UNKNOWN), finding("disk.raid", Outcome.PASS), finding("new.one", Outcome.MARGINAL)]
    changes = changes_between(before, after)
    assert [(one.before, one.finding.check) for one in changes.worse] == [
        (Outcome.PASS, "pcie.link-width"), (None, "new.one")]
    assert changes.same == 1
    assert changes_between(after, before).better == 1


def test_a_card_that_is_gone_is_worse_also_where_no_profile_counts_cards() -> None:
    """Nothing fails of a card that is not there, and the ones behind it get its number."""
    before, after = (read_facts(captured(build(name))) for name in ("wopr-7x4090", "wopr-7x4090+card-absent"))
    worse = compare(before, after, GENERIC).worse
    assert [(one.before, one.finding.outcome, one.finding.subject.slot, one.finding.cause) for one in worse] == [
        (Outcome.PASS, Outcome.FAIL, "PCIE3", "gpu-lost:0000:41:00.0")]
    assert worse[0].finding.blocker
    assert compare(after, before, GENERIC).worse == ()


def test_a_card_that_is_gone_is_one_problem_where_the_profile_counts_cards() -> None:
    want = load_profile("wopr-7x4090")
    before, after = (read_facts(captured(build(name))) for name in ("wopr-7x4090", "wopr-7x4090+card-absent"))
    found = judge_watch(Happened(), compare(before, after, want), Looked(7), want, [])
    bad = [one for one in found if one.outcome is Outcome.FAIL]
    assert [one.cause for one in bad] == ["gpu-lost:0000:41:00.0", "gpu-missing:0000:40:01.1"]
    (problem,) = group(found)[0]
    assert problem.id == "gpu-lost:0000:41:00.0"


def test_no_card_is_lost_where_the_look_afterwards_could_not_list_the_bus() -> None:
    tree = build("wopr-7x4090")
    tree.remove("/sys/bus/pci/devices")
    worse = compare(read_facts(captured(build("wopr-7x4090"))), read_facts(captured(tree)), GENERIC).worse
    cards = [one.finding for one in worse if one.before is Outcome.PASS and one.finding.subject.kind == "gpu"]
    assert len({one.subject for one in cards}) == 7
    assert {(one.outcome, one.says, one.cause) for one in cards} == {
        (Outcome.UNKNOWN, "whether it is still there is not known: /sys/bus/pci/devices: no such file", None)}
    assert not any(one.finding.cause == "nvme-lost:0000:82:00.0" for one in worse)


@pytest.mark.parametrize(("box", "lost"), [
    ("wopr-7x4090", {}), ("wopr-7x4090+card-absent", {"PCIE3": Outcome.FAIL})])
def test_a_card_whose_ids_cannot_be_read_is_not_lost_and_hides_no_other(box: str, lost: dict[str, Outcome]) -> None:
    tree = build(box)
    deny(tree, "0000:01:00.0")
    worse = compare(read_facts(captured(build("wopr-7x4090"))), read_facts(captured(tree)), GENERIC).worse
    assert {one.finding.subject.slot: one.finding.outcome for one in worse if one.finding.subject.kind == "gpu"} == {
        "PCIE5": Outcome.UNKNOWN, **lost}


def test_the_same_machine_twice_is_no_change() -> None:
    facts = facts_with()
    assert compare(facts, facts, GENERIC).worse == ()


def test_the_process_that_reads_ends_with_whoever_started_it(tmp_path: Path) -> None:
    processors(tmp_path)
    child = InstrumentsChild(Asked((), str(tmp_path), 0.05))
    found: list[Any] = []
    while len(found) < 3:
        found += child.read()
    assert child._process.stdin is not None
    child._process.stdin.close()
    assert child._process.wait(timeout=5) == 0
    child.close()


def test_a_gpu_that_told_nothing_is_not_called_watched_however_many_messages_came(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvidia = gpu(watched.card, vendor="10de", name="RTX 4090", driver="nvidia")  # NVML is not there
    monkeypatch.setattr("tests.engine.test_watching_run.gpu", lambda bdf, **changes: nvidia)
    ended = watched.run(None, 1.2)
    ((outcome, says),) = _found(ended, "watch.instruments")
    assert outcome is Outcome.UNKNOWN
    assert "1 of 1 GPUs were not watched all the time: " in says
    assert "told nothing (NVML did not start" in says
    with RunReader(watched.store.path) as reader:
        again = rejudge(reader, GENERIC, False)
    assert [one.says for one in again.verdict.findings if one.check == "watch.instruments"] == [says]


CARD = Bdf("0000:41:00.0")


def _silent(seconds: float, state: SilentState) -> GpuSilent:
    return GpuSilent(bdf=CARD, monotonic_seconds=seconds, state=state, why=Unread("NVML did not answer", "error"))


def _told(seconds: float) -> GpuReading:
    return GpuReading(bdf=CARD, monotonic_seconds=seconds, temperatures_celsius=(Named("core", 50.0),))


@pytest.mark.parametrize(("readings", "says"), [
    ([_told(0), _told(4), _told(8.9)], None),
    ([_silent(0, "asleep"), _silent(4, "asleep"), _told(8)], None),
    ([_told(0), _silent(1, "unread"), _told(4.9)], None),
    ([_told(0), _silent(1, "unread"), _told(5)], "told nothing for 5 s (NVML did not answer)"),
    ([_told(0), _silent(1, "unread"), _silent(7, "unread")], "told nothing for 7 s (NVML did not answer)"),
    ([_silent(0, "unread")], "told nothing (NVML did not answer)"),
    ([GpuReading(bdf=CARD, monotonic_seconds=0.0, temperatures_celsius=Unread("no sensors", "absent"))],
     "told nothing (no sensors)"),
    ([GpuReading(bdf=CARD, monotonic_seconds=0.0)], "a reading without a single value"),
    ([], "told nothing (nobody asked it)")])
def test_a_gpu_is_watched_as_long_as_it_tells_something_or_sleeps(
    readings: list[GpuReading | GpuSilent], says: str | None
) -> None:
    infos, _, slots = gpus_of(facts_with(gpu(CARD)))
    heard = Heard(infos, slots)
    heard.add(readings)
    found = heard.gap()
    assert found is None if says is None else says in str(found)

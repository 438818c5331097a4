"""What happens around a run: told once, kept in the store, and judged alike from there."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxcheck.engine.around import earlier_happenings, happened_of, judge_around
from boxcheck.engine.burn import Burn, Job
from boxcheck.engine.devices_watch import DevicesWatch
from boxcheck.engine.logwatch import LogWatch
from boxcheck.engine.plan import Plan
from boxcheck.engine.rejudge import rejudge
from boxcheck.engine.surroundings import Surroundings, keep
from boxcheck.gpu import GpuInfo
from boxcheck.host.kmsg import KmsgFollower
from boxcheck.judge import judge
from boxcheck.model import Finding, Outcome, Unread
from boxcheck.profile import Profile, load_profile
from boxcheck.registry import discover
from boxcheck.store.creating import create_run, reopen_run
from boxcheck.store.reader import RunReader
from boxcheck.store.rows import RunInfo
from boxcheck.stress.burn_checks import NO_EDAC
from boxcheck.stress.happenings import Happened, Happening, happening_of
from boxcheck.telemetry.links import ports_above
from tests.engine.test_devices_watch import Told
from tests.stress.around_doubles import happened
from tests.telemetry.trees import amd_card, home, put

discover()

RING = b"[  100.0] amdgpu %s: amdgpu: ring gfx_0.0.0 timeout, signaled seq=10, emitted seq=12\n"
XID = b"[  100.0] NVRM: Xid (PCI:%s): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.\n"
AER = (
    b"[  %d.0] pcieport 0000:40:01.1: AER: Corrected error received: 0000:40:01.1\n"
    b"[  %d.1] pcieport 0000:40:01.1: PCIe Bus Error: severity=Corrected, type=Data Link Layer, (Receiver ID)\n"
    b"[  %d.2] pcieport 0000:40:01.1:   device [1022:1483] error status/mask=00000080/00006000\n"
    b"[  %d.3] pcieport 0000:40:01.1:    [ 7] BadDLLP\n")
MCE = b"[  100.0] mce: [Hardware Error]: CPU 3: Machine Check Exception: 5 Bank 5: be00000000800400\n"


class Fed(KmsgFollower):
    """A follower of the log that is given its lines."""

    def __init__(self, unread: Unread | None = None) -> None:
        self.unread, self.lost, self.text = unread, 0, b""

    def read(self) -> bytes:
        found, self.text = self.text, b""
        return found

    def close(self) -> None:
        pass


class Run:
    """A run with a store, on a machine with one card behind a switch of its own."""

    def __init__(self, folder: Path, unread: Unread | None = None) -> None:
        self.root = folder / "root"
        self.bdf = amd_card(self.root)
        for bdf in ports_above(str(self.root), self.bdf):
            put(home(self.root, bdf), "class", "0x030000" if bdf == self.bdf else "0x060400")
            put(home(self.root, bdf), "vendor", "0x1002")
            put(home(self.root, bdf), "config", b"\x02\x10\x4c\x74")
        self.log, self.now = Fed(unread), 0.0
        self.around = Surroundings(
            str(self.root), log=LogWatch(self.log), clock=lambda: self.now,
            devices=DevicesWatch(str(self.root), uevents=Told(), clock=lambda: self.now))
        (folder / "runs").mkdir()
        self.store = create_run(str(folder / "runs"), RunInfo(kind="burn", version="1"), least_free_bytes=0)
        info = GpuInfo(
            backend="hip", index=0, name="RX 7900 XTX", arch="gfx1100", bdf=self.bdf, memory_bytes=1, free_bytes=1,
            compute_units=1, unified=False, is_gpu=True, driver="test")
        self.around.follow([info], {"hip:0": "PCIE3"})

    def look(self, text: bytes = b"", seconds: float = 2.0) -> list[Happening]:
        self.log.text += text
        self.now += seconds
        found = self.around.look()
        self._keep(found)
        return [one for one in found if not one.detail.state]

    def _keep(self, found: list[Happening]) -> None:
        for one in found:
            keep(self.store, one)

    def findings(self, want: Profile, *, close: bool = True) -> list[Finding]:
        """As the run judges, which is the same from its store."""
        if close:
            self._keep(self.around.close())
            self.store.end("finished", outcome="pass")
        self.store.close()
        live = judge_around(self.around.happened(), want, []) if close else None
        with RunReader(self.store.path) as reader:
            stored = judge_around(happened_of(reader), want, [])
        assert live is None or live == stored
        return stored


GENERIC = load_profile("generic")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def _outcomes(found: list[Finding]) -> dict[str, Outcome]:
    return {one.check: one.outcome for one in sorted(found, key=lambda one: -one.outcome.rank)}


def test_a_run_in_which_nothing_happened_passes_and_says_how_it_was_followed(run: Run) -> None:
    run.look()
    found = run.findings(GENERIC)
    assert _outcomes(found) == {
        "burn.log": Outcome.PASS, "burn.devices": Outcome.PASS, "burn.memory-errors": Outcome.SKIP}
    assert NO_EDAC in [one.says for one in found]
    assert judge(found, GENERIC).outcome is Outcome.PASS


def test_a_ring_that_hung_fails_the_run_on_the_gpu_by_its_slot(run: Run) -> None:
    (event,) = run.look(RING % run.bdf.encode())
    assert (event.severity, event.subject) == ("fail", "PCIE3")
    found = run.findings(GENERIC)
    (failed,) = [one for one in found if one.outcome is Outcome.FAIL]
    assert (failed.check, failed.subject.slot, failed.cause) == ("burn.log", "PCIE3", f"gpu-fault:{run.bdf}")
    assert failed.blocker


def test_a_gpu_that_fell_off_the_bus_is_lost_by_log_and_bus_as_one_problem(run: Run) -> None:
    run.look(XID % run.bdf[:-2].encode())
    (run.root / "sys/bus/pci/devices" / run.bdf).unlink()
    assert [one.kind for one in run.look()] == ["device-left"]
    found = run.findings(GENERIC)
    assert {one.cause for one in found if one.outcome is Outcome.FAIL} == {f"gpu-lost:{run.bdf}"}
    verdict = judge(found, GENERIC)
    assert verdict.device_lost
    assert len(verdict.problems) == 1


def test_a_corrected_error_of_a_link_is_marginal_and_told_with_how_often(run: Run) -> None:
    for at in range(3):
        run.look(AER % ((at,) * 4))
    (found,) = [one for one in run.findings(GENERIC) if one.check == "burn.log"]
    assert found.outcome is Outcome.MARGINAL
    assert found.measured is not None
    assert found.measured.value == 3


def test_a_machine_check_fails_the_box(run: Run) -> None:
    run.look(MCE)
    (found,) = [one for one in run.findings(GENERIC) if one.check == "burn.log"]
    assert (found.outcome, found.subject.kind) == (Outcome.FAIL, "box")


def test_a_profile_that_calls_the_log_advisory_is_shown_it_and_not_judged_by_it(run: Run) -> None:
    run.look(MCE)
    want = Profile(name="lenient", revision=1, title="", advisory=("burn.log",))
    (found,) = [one for one in run.findings(want) if one.check == "burn.log"]
    assert (found.outcome, found.blocker) == (Outcome.FAIL, False)


@pytest.mark.parametrize("decides", [True, False])
def test_a_log_that_is_not_followed_is_unknown_and_decides_where_the_profile_requires_it(
    tmp_path: Path, decides: bool
) -> None:
    run = Run(tmp_path, Unread("it needs root", "permission"))
    run.look()
    want = GENERIC if decides else Profile(name="lenient", revision=1, title="")
    found = run.findings(want)
    (log,) = [one for one in found if one.check == "burn.log"]
    assert (log.outcome, log.blocker) == (Outcome.UNKNOWN, decides)
    assert "it needs root" in log.says
    assert judge(found, want).outcome is (Outcome.UNKNOWN if decides else Outcome.PASS)


def test_a_log_of_which_messages_were_overwritten_is_no_pass(run: Run) -> None:
    run.look()
    run.log.lost = 1
    run.look()
    assert _outcomes(run.findings(GENERIC))["burn.log"] is Outcome.UNKNOWN


def test_what_was_found_fails_also_where_the_log_was_not_followed_to_the_end(run: Run) -> None:
    run.look(MCE)
    run.log.unread = Unread("it broke", "error")
    run.look()
    found = [one.outcome for one in run.findings(GENERIC) if one.check == "burn.log"]
    assert found == [Outcome.FAIL, Outcome.UNKNOWN]


def test_a_run_that_was_cut_off_passes_nothing_that_happened_around_it(run: Run) -> None:
    run.look()
    found = run.findings(GENERIC, close=False)
    assert {one.outcome for one in found} == {Outcome.UNKNOWN, Outcome.SKIP}


def test_what_happened_before_a_run_was_gone_on_with_counts(run: Run) -> None:
    run.look(MCE)
    run.store.close()
    run.store = reopen_run(run.store.path, version="1")
    again = Surroundings(str(run.root), log=LogWatch(Fed()), devices=DevicesWatch(str(run.root), uevents=Told()))
    again.take_in(earlier_happenings(run.store.path))
    run.around = again
    run.look()
    found = [one.outcome for one in run.findings(GENERIC) if one.check == "burn.log"]
    assert found == [Outcome.FAIL, Outcome.UNKNOWN]  # nobody looked in between


def test_what_happened_counts_though_its_details_are_not_understood() -> None:
    event = happening_of("xid", "Xid 79", "fail", {"source": "log", "count": "many"})
    assert event is not None
    judged = judge_around(happened(event)[Happened], GENERIC, [], ids=("burn.log",))
    assert [one.outcome for one in judged] == [Outcome.FAIL]
    assert happening_of("phase-note", "as planned", "info", {"source": "somebody"}) is None


def test_a_store_that_cannot_be_read_any_more_is_a_gap() -> None:
    assert {one.detail.state for one in earlier_happenings("/nonexistent.run")} == {"gap"}


def test_errors_of_the_hosts_memory_are_named_by_module(tmp_path: Path) -> None:
    here = tmp_path / "root/sys/devices/system/edac/mc/mc0"
    for name in ("ce_count", "ue_count", "dimm0/dimm_ce_count", "dimm0/dimm_ue_count"):
        put(here, name, 0)
    put(here, "dimm0/dimm_label", "DIMM_A1")
    run = Run(tmp_path)
    run.look()
    put(here, "ue_count", 1)
    put(here, "dimm0/dimm_ue_count", 1)
    run.look()
    (found,) = [one for one in run.findings(GENERIC) if one.check == "burn.memory-errors"]
    assert (found.outcome, found.subject.name) == (Outcome.FAIL, "DIMM_A1")


def test_the_store_keeps_what_is_needed_to_name_it_again(run: Run) -> None:
    run.look(RING % run.bdf.encode())
    run.store.close()
    with RunReader(run.store.path) as reader:
        (event,) = [one for one in reader.events() if one.severity == "fail"]
    assert event.subject == "PCIE3"
    assert event.data["gpus"] == [{"bdf": run.bdf, "key": "hip:0", "name": "RX 7900 XTX", "slot": "PCIE3"}]




def test_a_burn_in_fails_by_what_the_log_told_and_keeps_it_with_its_findings(run: Run) -> None:
    burn = Burn(Job(plan=Plan(name="short", steps=()), folder="", profile="generic"), run.store, GENERIC)
    burn._around.close()
    burn._around = run.around
    run.log.text += RING % run.bdf.encode()
    burn._look_around()
    burn._judge_around()
    assert burn._verdict().outcome is Outcome.FAIL
    run.store.close()
    with RunReader(run.store.path) as reader:
        kept = {(one.check, one.outcome) for one in reader.findings(0)}
        judged = rejudge(reader, GENERIC, False)
    assert ("burn.log", Outcome.FAIL) in kept
    assert kept <= {(one.check, one.outcome) for one in judged.verdict.findings}
    assert judged.verdict.outcome is Outcome.FAIL

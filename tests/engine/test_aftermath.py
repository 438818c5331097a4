"""After a crash: what the logs of that time hold is taken in, each reason is told by itself, and none is a pass."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from boxcheck.engine import aftermath, untold
from boxcheck.engine.aftermath import Machine as Here
from boxcheck.engine.aftermath import take_in
from boxcheck.engine.survival import BROKE, findings_of_survival, survival_of
from boxcheck.host import ProgramOutput
from boxcheck.model import Finding, Outcome, Unread
from boxcheck.profile import load_profile
from boxcheck.registry import discover
from boxcheck.store.creating import create_run
from boxcheck.store.lock import lock_path
from boxcheck.store.reader import RunReader
from boxcheck.store.rows import PhasePlan, PhaseStart, RunInfo
from tests.store.machine import HandClock, Machine

discover()

BEFORE, NOW = "aaaaaaaa-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002"
BEGAN, LASTED = 1000.0, 60
LAST = BEGAN + LASTED
WALL = 1_800_000_000.0
Journal = Callable[[Sequence[str]], str | None]


def crashed(folder: Path, phase: str = "power-pulse", gpus: int = 2) -> str:
    """A run of two GPUs that was cut off in a phase, a minute old."""
    hand, machine = HandClock(BEGAN, WALL), Machine(gpus)
    store = create_run(str(folder), RunInfo(kind="burn", version="0.4.0", boot=BEFORE), clock=hand.clock())
    module = phase if phase not in ("doctor before", "everything") else "matmul" if phase == "everything" else ""
    store.plan_phase(PhasePlan(number=1, name=phase, module=module))
    store.about(1, phase)
    store.begin_phase(1, PhaseStart(gpus=machine.gpus if module else (), slots={"cuda:0": "PCIE3"}))
    for _ in range(LASTED):
        hand.pass_by(1)
        for number in range(gpus):
            store.watched(1, machine.told_by(number, hand.monotonic))
    assert store.flush() is None
    Path(lock_path(store.path)).rename(folder / "kept")  # what a kill leaves
    store.close()
    (folder / "kept").rename(lock_path(store.path))
    return store.path


def here(
    folder: Path, kernel: str | None = "[ 1030.000000] usb 1-1: new device\n", shutdown: str = "", this_boot: str = "",
    boot: str = NOW, bmc: str | None = None, uptime: float = 40.0, monotonic: float = LAST + 90,
) -> Here:
    """The machine that was started again 20 s after the last record, and has been up for 40 s."""

    def run(argv: Sequence[str], timeout_seconds: float) -> ProgramOutput | Unread:
        assert timeout_seconds > 0
        answers: dict[str, str | None] = {"elist": bmc, "time": "11/28/2027 12:00:00" if bmc else None}
        if argv[0] == "journalctl":
            assert BEFORE.replace("-", "") in argv
            text = kernel if "-k" in argv else shutdown
        else:
            text = next((answer for word, answer in answers.items() if word in argv), None)
        if text is None:
            return Unread(f"{argv[0]} is not installed", "absent")
        return ProgramOutput(tuple(argv), 0, text, "")

    if bmc:
        (folder / "dev").mkdir()
        (folder / "dev" / "ipmi0").touch()
    return Here(
        boot=boot, uptime_seconds=uptime, kernel_log=lambda: this_boot, root=str(folder), run=run,
        now=lambda: WALL + LASTED + 20 + uptime, monotonic=lambda: monotonic)


def judged(path: str) -> Finding:
    with RunReader(path) as reader:
        (found,) = findings_of_survival(survival_of(reader), load_profile("generic"), [])
    return found


def after(folder: Path, phase: str = "power-pulse", **machine: object) -> Finding:
    """What is found on a run that was cut off, once this machine was looked at."""
    runs = folder / "runs"
    runs.mkdir()
    path = crashed(runs, phase)
    assert take_in(path, here(folder, **machine)).trouble == ""  # type: ignore[arg-type]
    assert judged(path) == judged(path)
    return judged(path)


def stamp(seconds: float, says: str) -> str:
    return f"[ {seconds:.6f}] {says}\n"


XID = "NVRM: Xid (PCI:0000:41:00): 79, pid=0, GPU has fallen off the bus."
HOT = "thermal thermal_zone0: acpitz: critical temperature reached, shutting down"
MCE = "mce: [Hardware Error]: CPU 0: Machine Check: 4 Bank 5: bea0000000000108"
PANIC = "Kernel panic - not syncing: Fatal exception in interrupt"
HARD = "watchdog: Watchdog detected hard LOCKUP on cpu 3"
SHUTDOWN = stamp(LAST - 1, "systemd-logind[700]: System is rebooting.")
RESET = "x86/amd: Previous system reset reason [0x{}]: {}"


def test_a_box_that_goes_down_in_the_pulse_without_a_word_is_a_finding_about_the_supply(tmp_path: Path) -> None:
    found = after(tmp_path)
    assert found.outcome is Outcome.FAIL
    assert found.cause == "box-down:power"
    assert "phase power-pulse on cuda:0 (PCIE3), cuda:1 at 9" in found.says
    assert "up again 20 s after the last record" in found.says
    assert "°C" in found.says


@pytest.mark.parametrize(("phase", "outcome"), [
    ("everything", "fail"), ("matmul", "fail"), ("doctor before", "unknown"), ("cool-down", "unknown")])
def test_it_is_held_against_a_box_only_under_load(tmp_path: Path, phase: str, outcome: str) -> None:
    assert after(tmp_path, phase).outcome == outcome


@pytest.mark.parametrize(("line", "cause"), [
    (XID, "gpu-lost:0000:41:00.0"), (HOT, "box-down:heat"), (MCE, "box-down:hardware"), (PANIC, "box-down:kernel"),
    (HARD, "box-down:kernel")])
def test_what_the_log_says_last_is_the_reason(tmp_path: Path, line: str, cause: str) -> None:
    found = after(tmp_path, kernel=stamp(LAST - 3, line))
    assert (found.outcome, found.cause) == (Outcome.FAIL, cause)
    assert found.notes


@pytest.mark.parametrize("seconds", [BEGAN - 100, LAST - 4000])
def test_what_the_log_said_long_before_is_no_reason(tmp_path: Path, seconds: float) -> None:
    assert after(tmp_path, kernel=stamp(seconds, MCE)).cause == "box-down:power"


def test_heat_that_shuts_a_machine_down_in_order_is_heat(tmp_path: Path) -> None:
    assert after(tmp_path, kernel=stamp(LAST - 3, HOT), shutdown=SHUTDOWN).cause == "box-down:heat"


def test_a_shutdown_in_order_is_nobodys_fault_and_no_pass(tmp_path: Path) -> None:
    found = after(tmp_path, shutdown=SHUTDOWN)
    assert found.outcome is Outcome.UNKNOWN
    assert "System is rebooting" in found.says


def test_a_shutdown_before_the_run_is_not_its_end(tmp_path: Path) -> None:
    assert after(tmp_path, shutdown=stamp(BEGAN - 50, "systemd-logind[700]: System is rebooting.")).outcome == "fail"


def test_without_a_log_only_the_time_and_the_phase_speak(tmp_path: Path) -> None:
    found = after(tmp_path, kernel=None)
    assert found.outcome is Outcome.UNKNOWN
    assert "only the time and the phase speak: the phase speaks for the supply" in found.says
    assert any("journalctl is not installed" in note for note in found.notes)


@pytest.mark.parametrize(("row", "outcome", "cause"), [
    ("Power Supply #0x51 | Power Supply AC lost | Asserted", "fail", "box-down:power"),
    ("Processor CPU0 | Thermal Trip | Asserted", "fail", "box-down:heat"),
    ("Processor CPU0 | IERR | Asserted", "fail", "box-down:hardware"),
    ("Watchdog2 #0x03 | Hard reset | Asserted", "fail", "box-down:kernel"),
    ("Button #0x02 | Power Button pressed | Asserted", "unknown", None),
    ("Fan #0x02 | Lower Critical going low | Asserted", "fail", "box-down:power")])
def test_the_bmc_says_why_by_a_clock_of_its_own(tmp_path: Path, row: str, outcome: str, cause: str | None) -> None:
    # Its clock is in another year: 12:00:00 there is now here, 60 s after the end of the last record.
    found = after(tmp_path, phase="matmul", bmc=f" 1 | 11/28/2027 | 11:59:10 | {row}\n")
    assert (found.outcome, found.cause) == (outcome, cause)


def test_an_old_row_of_the_bmc_is_no_reason(tmp_path: Path) -> None:
    found = after(tmp_path, phase="matmul", bmc=" 1 | 11/27/2027 | 11:59:10 | Processor CPU0 | IERR | Asserted\n")
    assert found.cause == "box-down:power"


@pytest.mark.parametrize(("reason", "outcome", "cause"), [
    ("an uncorrected error caused a data fabric sync flood event", "fail", "box-down:hardware"),
    ("internal CPU thermal limit was tripped", "fail", "box-down:heat"),
    ("power button was pressed for 4 seconds", "unknown", None),
    ("software wrote 0x6 to reset control register 0xCF9", "unknown", None)])
def test_the_next_start_says_why_the_processor_was_reset(
    tmp_path: Path, reason: str, outcome: str, cause: str | None
) -> None:
    found = after(tmp_path, this_boot=stamp(0.5, RESET.format("08000800", reason)))
    assert (found.outcome, found.cause) == (outcome, cause)


def test_a_start_a_day_later_says_nothing_of_that_end(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    path = crashed(runs)
    machine = here(tmp_path, this_boot=stamp(0.5, MCE))
    take_in(path, msgspec.structs.replace(machine, now=lambda: WALL + 86400))
    found = judged(path)
    assert found.cause == "box-down:power"
    assert any("not soon after" in note for note in found.notes)


def test_machine_checks_that_the_next_start_finds_are_a_reason(tmp_path: Path) -> None:
    assert after(tmp_path, this_boot=stamp(0.9, MCE)).cause == "box-down:hardware"


def test_a_dying_kernels_record_is_read_and_an_old_one_is_not(tmp_path: Path) -> None:
    pstore = tmp_path / "sys/fs/pstore"
    pstore.mkdir(parents=True)
    for name, wall in (("dmesg-efi-1", WALL + LASTED), ("dmesg-efi-0", WALL - 9000)):
        (pstore / name).write_text(f"Panic#1 Part1\n<0>{stamp(LAST + 1, PANIC)}")
        os.utime(pstore / name, (wall, wall))
    found = after(tmp_path)
    assert found.cause == "box-down:kernel"
    assert any("crash record: " in note for note in found.notes)
    assert any("older than the run" in note for note in found.notes)


def test_a_file_of_the_system_log_stands_in_for_the_journal_by_its_times(tmp_path: Path) -> None:
    log = tmp_path / "var/log/kern.log"
    log.parent.mkdir(parents=True)

    def line(wall: float, seconds: float, says: str) -> str:
        return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(wall))}.000000+00:00 wopr kernel: {stamp(seconds, says)}"

    log.write_text(
        line(WALL - 9000, LAST - 3, PANIC) + line(WALL + LASTED - 3, LAST - 3, HOT)
        + line(WALL + LASTED + 21, 0.0, "Linux version 6.8.0") + line(WALL + LASTED + 22, LAST - 2, XID))
    found = after(tmp_path, kernel=None)
    assert found.cause == "box-down:heat"
    assert found.notes == ("kernel log: a sensor reached the shutdown temperature",)


def test_a_killed_engine_is_told_from_a_box_that_went_down(tmp_path: Path) -> None:
    found = after(tmp_path, boot=BEFORE, this_boot=stamp(LAST - 100, "usb 1-1: new device"))
    assert found.outcome is Outcome.UNKNOWN
    assert found.says.startswith("boxcheck went down in phase power-pulse")
    assert "the box stayed up" in found.says


def test_memory_that_ran_out_is_no_fault_of_the_box(tmp_path: Path) -> None:
    found = after(tmp_path, boot=BEFORE, this_boot=stamp(
        LAST + 1, "Out of memory: Killed process 812 (python3) total-vm:8123kB, anon-rss:812kB"))
    assert found.outcome is Outcome.UNKNOWN
    assert "memory ran out" in found.says


def test_a_gpu_that_was_lost_while_the_box_stayed_up_fails(tmp_path: Path) -> None:
    assert after(tmp_path, boot=BEFORE, this_boot=stamp(LAST, XID)).cause == "gpu-lost:0000:41:00.0"


def test_a_watch_that_the_box_went_down_under_is_judged_too_and_not_gone_on_with(tmp_path: Path) -> None:
    with RunReader(crashed(tmp_path)) as reader:
        survival = survival_of(reader)
    down = msgspec.structs.replace(survival.downs[0], rebooted=True, looked=True, log="the journal")
    (found,) = findings_of_survival(
        msgspec.structs.replace(survival, downs=(down,), kind="watch"), load_profile("generic"), [])
    assert found.outcome is Outcome.FAIL
    assert found.help
    assert not any("--resume" in step for step in found.help)


def test_an_engine_that_broke_says_so_in_its_own_store(tmp_path: Path) -> None:
    store = create_run(str(tmp_path), RunInfo(kind="burn", version="0.4.0", boot=BEFORE))
    store.event(BROKE, "boxcheck itself broke: KeyError: 'x'", severity="fail")
    store.close()
    take_in(store.path, here(tmp_path, boot=BEFORE, this_boot=stamp(LAST, "usb 1-1: new device")))
    found = judged(store.path)
    assert (found.outcome, "boxcheck itself broke: KeyError" in found.says) == (Outcome.UNKNOWN, True)


def test_nobody_has_looked_yet_is_unknown(tmp_path: Path) -> None:
    found = judged(crashed(tmp_path))
    assert found.outcome is Outcome.UNKNOWN
    assert "not known" in found.says


def test_it_is_taken_in_once_and_kept_with_its_texts(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    path = crashed(runs)
    assert len(take_in(path, here(tmp_path, kernel=stamp(LAST - 3, HOT))).downs) == 1
    before = judged(path)
    assert take_in(path, here(tmp_path / "elsewhere", kernel=stamp(LAST - 3, PANIC))).downs == ()
    assert judged(path) == before
    with RunReader(path) as reader:
        assert reader.run().state == "crashed"
        assert HOT.encode() in (reader.attachment("down-1-kernel-log") or b"")
        assert [one.kind for one in reader.events()] == ["log-left", "went-down"]
        assert len(list(reader.readings())) > LASTED


# The word that the next command says.


def test_the_next_command_says_where_the_run_was_until_somebody_looks(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    path = crashed(runs)
    line = untold.word_of(str(runs), NOW)
    assert line is not None
    assert line.startswith(f"run {os.path.basename(path).removesuffix('.sqlite')}: the box went down in phase power-pulse "
                           "on cuda:0 (PCIE3), cuda:1 at 9")
    assert "boxcheck burn --resume" in line
    assert "boxcheck went down" in (untold.word_of(str(runs), BEFORE) or "")
    take_in(path, here(tmp_path))
    assert untold.word_of(str(runs), NOW) is None


def test_a_run_that_finished_later_ends_the_telling(tmp_path: Path) -> None:
    path = crashed(tmp_path)
    hand = HandClock(9000.0, WALL + 5000)
    create_run(str(tmp_path), RunInfo(kind="burn", version="0.4.0", boot=NOW), clock=hand.clock()).end("finished")
    os.utime(path, (1, 1))
    assert untold.word_of(str(tmp_path), NOW) is None


def test_a_folder_that_cannot_be_read_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert untold.word_of(str(tmp_path / "absent"), NOW) is None
    (tmp_path / "x.sqlite.lock").touch()
    (tmp_path / "x.sqlite").write_text("no store")
    assert untold.word_of(str(tmp_path), NOW) is None


def test_where_no_run_was_cut_off_it_costs_less_than_5_ms(tmp_path: Path) -> None:
    for number in range(200):
        (tmp_path / f"2026-01-01T{number:06d}Z-burn.sqlite").touch()
    took = []
    for _ in range(5):
        began = time.process_time()
        assert untold.word_of(str(tmp_path), NOW) is None
        took.append(time.process_time() - began)
    assert min(took) < 0.005


def test_a_run_of_another_machine_is_not_looked_after_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = crashed(tmp_path)
    os.unlink(lock_path(path))
    monkeypatch.setattr(aftermath, "take_in", lambda path: pytest.fail("it was"))
    aftermath.look_after(path)

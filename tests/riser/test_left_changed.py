"""What an experiment that was cut off left changed: doctor finds it, no load begins on it, one command puts it back."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from boxcheck.commands import put_back as commands
from boxcheck.commands.burn import Options as BurnOptions
from boxcheck.commands.burn import burn
from boxcheck.commands.certify import Options as CertifyOptions
from boxcheck.commands.certify import certify
from boxcheck.commands.riser import Options, riser
from boxcheck.commands.stress import Options as StressOptions
from boxcheck.commands.stress import run as stress
from boxcheck.engine.box_lock import whole_box
from boxcheck.engine.inspect import read_facts
from boxcheck.host import config_space
from boxcheck.host import left_changed as left_changed_module
from boxcheck.host.left_changed import LeftChanged, left_changed
from boxcheck.host.live import LiveHost
from boxcheck.host.marks import Mark, mark
from boxcheck.host.marks import marks as marked
from boxcheck.model import Bdf, Finding, Outcome, Unread
from boxcheck.probes.gpus import Gpus
from boxcheck.probes.left_changed import BOOT_ID, LeftBehind
from boxcheck.probes.links import Links
from boxcheck.profile import load_profile
from boxcheck.registry import CHECKS, discover, run_check
from boxcheck.riser.links.hold import holding
from boxcheck.riser.links.journal import lock_links
from boxcheck.riser.links.pending import restore_pending
from boxcheck.riser.measuring.power_cap import capped, restore_power
from boxcheck.riser.measuring.power_limits import PowerLimits
from boxcheck.usage import UsageError
from tests.riser.facts import facts_of
from tests.riser.held_link import BOOT, linked
from tests.riser.simulated.machine import Machine
from tests.riser.test_pending import left_slow

CARD = Bdf("0000:41:00.0")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("BOXCHECK_LOCK", "boxcheck-test-left-changed")
    monkeypatch.delenv("SUDO_UID", raising=False)
    monkeypatch.setattr(commands, "boot_id", lambda: BOOT)
    for name in ("links", "riser", "runs"):
        (tmp_path / "boxcheck" / name).mkdir(parents=True)
    return tmp_path


@pytest.fixture
def slow(state: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A link at 2.5 GT/s whose experiment was killed, on the machine that the commands reach."""
    machine, link, _, _ = left_slow(state / "boxcheck" / "links")
    assert link.code == 1
    monkeypatch.setattr(config_space, "LivePorts", lambda: machine)
    monkeypatch.setattr("boxcheck.riser.links.pending.boot_id", lambda: BOOT)
    return machine


def lower_power(state: Path, boot: str = BOOT) -> Path:
    path = state / "boxcheck" / "riser" / f"{CARD}.{boot}.power.json"
    path.write_bytes(msgspec.json.encode({"bdf": CARD, "vendor": "10de", "watts": 450.0}))
    return path


def judged(left: LeftBehind) -> list[Finding]:
    facts, want = facts_of("wopr-7x4090", "wopr-7x4090", os.environ["XDG_STATE_HOME"])
    discover()
    return list(run_check(CHECKS["pcie.left-changed"], [left, facts.of(Gpus), facts.of(Links)], want))


def test_files_of_this_boot_wait_and_those_of_another_do_not(state: Path, slow: Machine) -> None:
    (link,) = left_changed(str(state), BOOT)
    assert (link.kind, link.what, link.at_work) == ("link", "target speeds", False)
    assert left_changed(str(state), "another-boot") == ()
    assert left_changed(str(state), "") == (link,)
    lower_power(state)
    assert [one.kind for one in left_changed(str(state), BOOT)] == ["link", "power"]


def test_a_file_that_cannot_be_read_waits_all_the_same(state: Path) -> None:
    (state / "boxcheck" / "links" / f"0000:40:01.1.{BOOT}.link.json").write_bytes(b"{")
    assert [one.bdf for one in left_changed(str(state), BOOT)] == ["0000:40:01.1"]


def test_who_works_on_a_link_now_has_not_left_it(state: Path, slow: Machine) -> None:
    lock = lock_links(str(state / "boxcheck" / "links"))
    assert lock is not None
    try:
        (link,) = left_changed(str(state), BOOT)
        assert link.at_work
        (finding,) = judged(LeftBehind((link,)))
        assert finding.outcome is Outcome.UNKNOWN
    finally:
        lock.release()


def test_doctor_reads_it_on_the_machine(state: Path) -> None:
    boot = Path(BOOT_ID).read_text().strip()
    (state / "boxcheck" / "links" / f"0000:40:01.1.{boot}.link.json").write_text('{"what": "lower speeds"}')
    left = read_facts(LiveHost(), {LeftBehind}).of(LeftBehind)
    assert isinstance(left, LeftBehind)
    assert left.changed == (LeftChanged(kind="link", bdf=Bdf("0000:40:01.1"), what="lower speeds"),)


def test_doctor_fails_what_was_left_changed_and_names_the_command(state: Path) -> None:
    facts, want = facts_of("wopr-7x4090", "wopr-7x4090", str(state))
    links = facts.of(Links)
    assert not isinstance(links, Unread)
    port = next(link.id for link in links.links.values() if link.slot == "PCIE3")
    link, power = judged(LeftBehind((
        LeftChanged(kind="link", bdf=port, what="lower speeds"), LeftChanged(kind="power", bdf=CARD))))
    assert (link.outcome, link.subject.slot, link.cause) == (Outcome.FAIL, "PCIE3", f"link:{port}")
    assert "was cut off (lower speeds), and the link was not put back" in link.says
    assert power.outcome is Outcome.FAIL
    assert link.help == power.help == ("sudo boxcheck riser --restore",)
    for profile in ("generic", want.name):
        assert load_profile(profile).blocks("pcie.left-changed", Outcome.FAIL)


@pytest.mark.parametrize(("changed", "outcome"), [
    ((), Outcome.PASS), (Unread("not there", "not-captured"), Outcome.SKIP), (Unread("no", "permission"), Outcome.UNKNOWN)])
def test_nothing_left_passes_and_what_was_not_read_does_not(
        state: Path, changed: tuple[LeftChanged, ...] | Unread, outcome: Outcome) -> None:
    (finding,) = judged(LeftBehind(changed))
    assert finding.outcome is outcome


@pytest.mark.parametrize("begin", [
    lambda: burn(BurnOptions()), lambda: burn(BurnOptions(resume=True)), lambda: certify(CertifyOptions(profile="generic")),
    lambda: stress(StressOptions(modules=("wake",)))])
def test_no_load_begins_on_a_link_that_boxcheck_left_slow(
        state: Path, slow: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
        begin: object) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert begin() == 5  # type: ignore[operator]
    told = " ".join(capsys.readouterr().err.split())
    assert "nothing was begun: an experiment of boxcheck riser was cut off and left the link below" in told
    assert "sudo boxcheck riser --restore" in told
    assert not [entry for entry in slow.log if entry[1] == "write"]
    assert not list((state / "boxcheck" / "runs").iterdir())


def test_while_riser_is_at_work_others_wait(state: Path, slow: Machine) -> None:
    lock = lock_links(str(state / "boxcheck" / "links"))
    assert lock is not None
    try:
        with pytest.raises(UsageError, match="boxcheck riser works on a link now"):
            commands.refuse_changed(LiveHost(), lambda says: None)
    finally:
        lock.release()


def test_root_puts_it_back_and_goes_on(state: Path, slow: Machine, monkeypatch: pytest.MonkeyPatch,
                                       capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    said: list[str] = []
    assert commands.refuse_changed(LiveHost(), said.append) is None
    assert "putting its link back" in said[0]
    assert "PCIE3 is as it was: x16 at 16 GT/s" in capsys.readouterr().err
    assert left_changed(str(state), BOOT) == ()


def test_what_cannot_be_put_back_keeps_load_off(state: Path, monkeypatch: pytest.MonkeyPatch,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    path = lower_power(state)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("boxcheck.riser.measuring.power_cap.boot_id", lambda: BOOT)
    monkeypatch.setattr(commands, "limiter_of", lambda bdf, vendor, ports: Unread("the driver does not answer", "unsupported"))
    assert commands.refuse_changed(LiveHost(), lambda says: None) == 5
    assert "left the power limit of 0000:41:00.0 changed" in " ".join(capsys.readouterr().err.split())
    assert path.exists()
    assert riser(Options(restore=True)) == 5


def test_restore_needs_root_only_where_something_waits(state: Path, monkeypatch: pytest.MonkeyPatch,
                                                       capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert riser(Options(restore=True)) == 0
    assert "no experiment left anything changed" in capsys.readouterr().out
    lower_power(state)
    with pytest.raises(UsageError, match=r"the power limit of .* waits to be put back, which needs root"):
        riser(Options(restore=True))


@pytest.mark.parametrize("also", [{"slot": "PCIE3"}, {"json": "-"}, {"writes": True}, {"close": True}, {"sysroot": "x"}])
def test_restore_takes_nothing_beside_it(also: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        riser(Options(restore=True, **also))  # type: ignore[arg-type]


# -- whoever asks, with whatever state directory


@pytest.fixture
def elsewhere(state: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A link at 2.5 GT/s whose experiment was killed, by root with another state directory."""
    folder = tmp_path_factory.mktemp("root") / "boxcheck" / "links"
    folder.mkdir(parents=True)
    machine, _, _, _ = left_slow(folder)
    monkeypatch.setattr(config_space, "LivePorts", lambda: machine)
    monkeypatch.setattr("boxcheck.riser.links.pending.boot_id", lambda: BOOT)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (journal,) = folder.glob("*.link.json")
    mark(journal.name, Mark(what="target speeds", folder=str(folder)))
    return folder


def test_root_marks_for_all_users_what_it_changes_until_it_is_put_back(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    machine, _, pair = linked()
    with holding(machine, pair, str(tmp_path), boot=BOOT, what="target speeds"):
        assert marked() == {f"0000:40:01.1.{BOOT}.link.json": Mark(what="target speeds", folder=str(tmp_path))}
    assert marked() == {}


def test_another_state_directory_hides_nothing(elsewhere: Path, state: Path, monkeypatch: pytest.MonkeyPatch,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    (link,) = left_changed(str(state), BOOT)
    assert (link.kind, link.what, link.at_work) == ("link", "target speeds", False)
    (finding,) = judged(LeftBehind((link,)))
    assert finding.outcome is Outcome.FAIL
    assert commands.refuse_changed(LiveHost(), lambda says: None) == 5
    with pytest.raises(UsageError, match="waits to be put back, which needs root"):
        riser(Options(restore=True))


def test_root_puts_back_what_any_user_has_written_down(elsewhere: Path, state: Path,
                                                       capsys: pytest.CaptureFixture[str]) -> None:
    assert riser(Options(restore=True)) == 0
    assert "PCIE3 is as it was: x16 at 16 GT/s" in capsys.readouterr().err
    assert not list(elsewhere.glob("*.link.json"))
    assert marked() == {}
    assert left_changed(str(state), BOOT) == ()


def test_a_mark_whose_journal_was_removed_waits_for_a_cold_boot(elsewhere: Path, state: Path,
                                                                capsys: pytest.CaptureFixture[str]) -> None:
    next(elsewhere.glob("*.link.json")).unlink()
    assert riser(Options(restore=True)) == 5
    assert "is not written down any more; shut down" in " ".join(capsys.readouterr().err.split())
    assert left_changed(str(state), "another-boot") == ()


def test_marks_that_others_can_write_are_not_believed(marks: Path, state: Path) -> None:
    marks.mkdir()
    marks.chmod(0o777)
    with pytest.raises(UsageError, match="is not known"):
        commands.waiting(LiveHost())


def test_a_link_in_place_of_the_marks_is_not_followed(marks: Path, state: Path, tmp_path: Path) -> None:
    marks.symlink_to(tmp_path)
    with pytest.raises(UsageError, match="is not known"):
        commands.waiting(LiveHost())


# -- guards


class Limiter:
    bdf = CARD
    watts = 450.0

    def read(self) -> PowerLimits:
        return PowerLimits(watts=self.watts, default_watts=450.0, least_watts=100.0, most_watts=450.0)

    def set(self, watts: float) -> None:
        self.watts = watts


@pytest.mark.parametrize("user", [0, 1000])
def test_a_limit_that_an_experiment_holds_now_is_neither_undone_nor_called_cut_off(
        state: Path, user: int, monkeypatch: pytest.MonkeyPatch) -> None:
    limiter = Limiter()
    monkeypatch.setattr(commands, "limiter_of", lambda bdf, vendor, ports: limiter)
    with whole_box(), capped(limiter, str(state / "boxcheck" / "riser"), vendor="10de", boot=BOOT) as cap:
        monkeypatch.setattr(os, "geteuid", lambda: user)
        (left,) = left_changed(str(state), BOOT)
        assert left.at_work
        (finding,) = judged(LeftBehind((left,)))
        assert finding.outcome is Outcome.UNKNOWN
        with pytest.raises(UsageError, match="works on a link now"):
            commands.refuse_changed(LiveHost(), lambda says: None)
        assert limiter.watts == cap.watts < 450
    assert limiter.watts == 450


def test_a_kernel_that_another_one_started_has_no_fresh_registers(
        state: Path, slow: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = tmp_path / "bootloader_type"
    monkeypatch.setattr(left_changed_module, "BOOTLOADER", str(loader))
    loader.write_text("113\n")  # GRUB
    assert left_changed(str(state), "another-boot") == ()
    loader.write_text("208\n")  # kexec
    (link,) = left_changed(str(state), "another-boot")
    assert link.what == "target speeds"
    (recovered,) = restore_pending(slow, str(state / "boxcheck" / "links"), boot="another-boot")
    assert recovered.says == "PCIE3 is as it was: x16 at 16 GT/s"
    lower_power(state)
    limiter = Limiter()
    limiter.watts = 270.0
    restore_power(str(state / "boxcheck" / "riser"), lambda bdf, vendor: limiter, boot="another-boot")
    assert limiter.watts == 450

"""From a verdict and waivers to a disposition: nothing that is required and not passed is a PASS."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from boxcheck.certify.acceptance import Waiver
from boxcheck.certify.disposition import Decided, Ended, decide
from boxcheck.certify.waivers import read_waivers
from boxcheck.judge import judge
from boxcheck.model import Crash, Finding, Outcome, Subject, Verdict
from boxcheck.profile import Profile
from boxcheck.registry import discover, discover_stress
from boxcheck.usage import UsageError

DAY = datetime(2026, 11, 28, 16, tzinfo=UTC).timestamp()
WANT = Profile(name="p", revision=1, title="t")
PCIE3 = Subject("link", slot="PCIE3", bdf="0000:41:00.0")


def found(outcome: Outcome, check: str = "pcie.link-width", subject: Subject = PCIE3, **more: Any) -> Finding:
    return Finding(check=check, subject=subject, outcome=outcome, says="so", **{"blocker": True, **more})


def decided(
    *findings: Finding, waivers: Sequence[Waiver] = (), crashes: Sequence[Crash] = (), ended: Ended | None = None, **more: Any,
) -> Decided:
    ended = ended or Ended(state="finished", started=DAY, finished=DAY + 3600, now=DAY + 3700)

    def verdict(indices: frozenset[int] = frozenset()) -> Verdict:
        return judge([msgspec.structs.replace(one, blocker=one.blocker and index not in indices)
                      for index, one in enumerate(findings)], WANT, crashes=crashes)

    return decide(verdict(), ended, waivers, verdict, **more)


def waiver(**more: Any) -> Waiver:
    return Waiver(**{"check": "pcie.link-width", "where": "PCIE3", "who": "J", "why": "w", "until": "2026-11-28", **more})


GOOD = found(Outcome.PASS, "aer.correctable")


@pytest.mark.parametrize(("findings", "disposition", "code"), [
    ((GOOD,), "PASS", 0),
    ((GOOD, found(Outcome.MARGINAL)), "MARGINAL PASS", 0),
    ((GOOD, found(Outcome.FAIL)), "FAIL", 1),
    ((GOOD, found(Outcome.UNKNOWN)), "INCOMPLETE", 3),
    ((GOOD, found(Outcome.FAIL), found(Outcome.UNKNOWN, "x.y")), "FAIL", 1),
    ((GOOD, found(Outcome.FAIL, blocker=False)), "PASS", 0),
    ((found(Outcome.SKIP),), "INCOMPLETE", 3),
    ((), "INCOMPLETE", 3),
    ((GOOD, found(Outcome.FAIL, cause="gpu-lost:0000:41:00.0")), "FAIL", 5),
])
def test_each_verdict_has_its_disposition(findings: tuple[Finding, ...], disposition: str, code: int) -> None:
    got = decided(*findings)
    assert (got.disposition, got.exit_code, got.with_waivers) == (disposition, code, False)


def test_what_it_is_booked_on_is_short() -> None:
    assert decided(GOOD, found(Outcome.FAIL)).verdict_string == "pcie.link-width PCIE3"
    assert decided(GOOD).verdict_string == ""
    follows = found(Outcome.FAIL, "bar.size", cause="bar:0000:41:00.0")
    lost = found(Outcome.FAIL, "gpu.lost", cause="gpu-lost:0000:41:00.0")
    assert decided(follows, GOOD, lost).verdict_string == "gpu.lost PCIE3"  # its BAR is gone with the card
    alone = found(Outcome.FAIL, "copy.rate")
    assert decided(alone, found(Outcome.UNKNOWN, "x.y"), follows).verdict_string == "bar.size PCIE3"
    hostile = Subject("gpu", name="x\x1b[2J" + "y" * 500)
    text = decided(GOOD, found(Outcome.FAIL, subject=hostile)).verdict_string
    assert len(text) <= 100
    assert text.isprintable()


def test_a_run_that_was_stopped_is_aborted_unless_something_failed_before() -> None:
    ended = Ended(state="stopped", reason="stopped by the operator", started=DAY, finished=DAY, now=DAY)
    assert decided(GOOD, ended=ended).disposition == "ABORTED"
    assert decided(GOOD, ended=ended).exit_code == 3
    failed = decided(GOOD, found(Outcome.FAIL), ended=ended)
    assert (failed.disposition, failed.exit_code) == ("FAIL", 1)
    assert failed.reason.endswith("; stopped by the operator")


def test_a_run_stopped_for_safety_is_aborted_with_5() -> None:
    ended = Ended(state="stopped", reason="stopped for safety: GPU 4: 110 C", started=DAY, finished=DAY, now=DAY)
    stop = found(Outcome.FAIL, "burn.safety", cause="safety-stop:temperature")
    assert (decided(GOOD, stop, ended=ended).disposition, decided(GOOD, stop, ended=ended).exit_code) == ("ABORTED", 5)
    both = decided(GOOD, stop, found(Outcome.FAIL), ended=ended)
    assert (both.disposition, both.exit_code) == ("FAIL", 5)
    waived = decided(GOOD, stop, ended=ended, waivers=[waiver(check="burn.safety", where="")])
    assert (waived.disposition, waived.waivers[0].state) == ("ABORTED", "unused")


def test_a_run_that_was_cut_off_or_short_never_passes() -> None:
    cut = Ended(state="crashed", started=DAY, finished=DAY, now=DAY)
    assert decided(GOOD, ended=cut).disposition == "INCOMPLETE"
    far = Ended(state="stopped", reason="it went far beyond its plan", started=DAY, finished=DAY, now=DAY)
    assert decided(GOOD, ended=far).disposition == "INCOMPLETE"
    short = decided(GOOD, shortened="10 s instead of 1 h")
    assert (short.disposition, short.verdict, short.verdict_string) == ("INCOMPLETE", "pass", "plan-shortened")
    assert "10 s instead of 1 h" in short.reason
    assert decided(GOOD, lacking=["the load was put on devices of cpu"]).disposition == "INCOMPLETE"
    assert decided(GOOD, found(Outcome.FAIL), shortened="10 s instead of 1 h").disposition == "FAIL"


def test_what_boxcheck_broke_in_is_incomplete_with_4() -> None:
    got = decided(GOOD, crashes=[Crash("check x.y", "ValueError")])
    assert (got.disposition, got.exit_code) == ("INCOMPLETE", 4)


def test_strict_makes_marginal_fail() -> None:
    got = decided(GOOD, found(Outcome.MARGINAL), strict=True)
    assert (got.disposition, got.exit_code) == ("FAIL", 1)


def test_a_waiver_answers_for_a_failure_and_is_said() -> None:
    got = decided(GOOD, found(Outcome.FAIL), waivers=[waiver(), waiver(where="PCIE4")])
    assert (got.disposition, got.with_waivers, got.verdict, got.exit_code) == ("PASS", True, "fail", 0)
    assert got.reason.endswith("waived: pcie.link-width")
    assert [one.state for one in got.waivers] == ["used", "unused"]


def test_a_waiver_of_one_failure_leaves_the_other() -> None:
    got = decided(GOOD, found(Outcome.FAIL), found(Outcome.FAIL, "aer.uncorrectable"), waivers=[waiver()])
    assert (got.disposition, got.with_waivers, got.exit_code) == ("FAIL", False, 1)
    assert got.verdict_string == "aer.uncorrectable PCIE3"


@pytest.mark.parametrize("more", [
    {"findings": (found(Outcome.UNKNOWN, "x.y"),)}, {"crashes": [Crash("check x.y", "ValueError")]},
    {"shortened": "10 s instead of 1 h"}])
def test_a_waiver_passes_nothing_that_was_not_looked_at(more: dict[str, Any]) -> None:
    findings = more.pop("findings", ())
    got = decided(GOOD, found(Outcome.FAIL), *findings, waivers=[waiver()], **more)
    assert (got.disposition, got.with_waivers) == ("INCOMPLETE", False)
    assert decided(GOOD, found(Outcome.UNKNOWN), waivers=[waiver()]).disposition == "INCOMPLETE"


def test_nobody_can_answer_for_a_lost_gpu() -> None:
    got = decided(GOOD, found(Outcome.FAIL, cause="gpu-lost:0000:41:00.0"), waivers=[waiver()])
    assert (got.disposition, got.exit_code) == ("FAIL", 5)


@pytest.mark.parametrize(("until", "times", "state"), [
    ("2026-11-28", (DAY, DAY + 3600, DAY + 3700), "used"),  # its last day counts
    ("2026-11-27", (DAY, DAY + 3600, DAY + 3700), "expired"),
    ("2030-01-01", (60.0, 3660.0, 3700.0), "not-yet-dated"),  # 1970
    ("2030-01-01", (DAY, DAY - 3600, DAY + 3700), "not-yet-dated"),  # went back during the run
    ("2030-01-01", (DAY, DAY + 3600, DAY), "not-yet-dated"),  # or after it
])
def test_a_waiver_holds_until_its_day_by_a_clock_that_can_be_believed(
    until: str, times: tuple[float, float, float], state: str,
) -> None:
    started, finished, now = times
    got = decided(GOOD, found(Outcome.FAIL), waivers=[waiver(until=until)],
                  ended=Ended(state="finished", started=started, finished=finished, now=now))
    assert got.waivers[0].state == state
    assert got.disposition == ("PASS" if state == "used" else "FAIL")


FULL = '[[waiver]]\ncheck = "pcie.link-width"\nwho = "J"\nwhy = "w"\nuntil = 2026-12-31\n'


def test_waivers_are_read(tmp_path: Path) -> None:
    discover()
    discover_stress()
    path = tmp_path / "waivers.toml"
    path.write_text(FULL + FULL.replace("2026-12-31", '"2027-01-01"').replace("link-width", "*"))
    first, second = read_waivers(str(path))
    assert (first.until, second.until, first.where, first.state) == ("2026-12-31", "2027-01-01", "", "unused")


@pytest.mark.parametrize(("old", "new", "says"), [
    ("pcie.link-width", "pcie.link-widht", "no check is called 'pcie.link-widht'"), ("pcie.link-width", "*", "waives every check"),
    ("pcie.link-width", "*e*", "areas"), ("pcie.link-width", "?[a-z]*", "areas"), ("pcie.link-width", "p*", "areas"),
    ('who = "J"\n', "", "who is not said"), ('"w"', '" "', "why is not said"), ("2026-12-31", '"soon"', "no date"),
    ("until = 2026-12-31\n", "", "until is not said"), ('"J"', '"J\\u001b"', "holds a control character"),
    ('who = "J"', 'who = "J"\nwhom = "K"', "whom is not known"), ("[[waiver]]", "[waiver]", "no list of tables"),
    ('who = "J"', 'who = "J"\nwhere = "  "', "where is blank"), ('who = "J"', 'who = "J"\nwhere = ""', "where is blank"),
])
def test_a_waiver_that_is_none_is_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    discover()
    discover_stress()
    path = tmp_path / "waivers.toml"
    path.write_text(FULL.replace(old, new))
    with pytest.raises(UsageError) as told:
        read_waivers(str(path))
    assert says in str(told.value)


def test_a_waived_hang_is_no_load_that_was_run() -> None:
    hung = found(Outcome.FAIL, "stress.completed", cause="gpu-fault:0000:41:00.0")
    got = decided(GOOD, hung, hung, waivers=[waiver(check="stress.completed")])
    assert (got.disposition, got.with_waivers, got.exit_code) == ("INCOMPLETE", False, 3)
    assert got.reason == (
        "what was run passed, and the load on PCIE3 did not come to its end; waived: stress.completed")


def test_a_waived_gpu_that_nothing_drives_got_no_load() -> None:
    dead = found(Outcome.FAIL, "gpu.in-runtime", Subject("gpu", slot="PCIE3"), cause="gpu-runtime:0000:41:00.0")
    got = decided(GOOD, dead, waivers=[waiver(check="gpu.in-runtime")])
    assert (got.disposition, got.with_waivers, got.exit_code) == ("INCOMPLETE", False, 3)
    assert got.reason == "what was run passed, and PCIE3 got no load; waived: gpu.in-runtime"
    missing = found(Outcome.FAIL, "gpu.in-runtime", Subject("gpu", slot="PCIE3"), cause="gpu-missing:")
    assert decided(GOOD, missing, waivers=[waiver(check="gpu.in-runtime")]).disposition == "PASS", "nobody can load what is not there"

"""A log that was cut in two is one log; two logs that do not follow on each other are said not to."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.triage.test_attribution import syslog
from tests.triage.texts import BUSES, aer, fell, rules, told

PORT = "0000:40:01.1"
FIRST, SECOND = BUSES + aer(500.0, PORT, 6, "BadTLP"), fell(500.6, "41")


@pytest.mark.parametrize("texts", [(FIRST + SECOND,), (FIRST, SECOND), (SECOND, FIRST)])
def test_cut_in_two_it_says_the_same(texts: tuple[str, ...], tmp_path: Path) -> None:
    """In either order, and with the cause in the first part and the failure in the second."""
    found = told(tmp_path, *texts)
    assert rules(found) == ["link-took-the-gpu"]
    assert any("read as one log" in note for note in found.notes) is (len(texts) > 1)
    assert not any("begins" in note for note in found.notes)


def test_in_three(tmp_path: Path) -> None:
    parts = (SECOND, aer(500.0, PORT, 6, "BadTLP"), BUSES + "[  480.000000] usb 1-1: new device\n")
    found = told(tmp_path, *parts)
    assert rules(found) == ["link-took-the-gpu"]
    assert sum("read as one log" in note for note in found.notes) == 2


def test_a_loss_in_a_log_that_was_seen_from_the_boot_on(tmp_path: Path) -> None:
    """No damaged packet from the boot to the loss: power comes first, though the loss stands in the second part."""
    quiet = BUSES + "".join(f"[{at:5}.000000] usb 1-1: new device\n" for at in range(10, 490, 10))
    tail = "".join(f"[{at:5}.000000] usb 1-1: new device\n" for at in range(490, 500)) + SECOND
    for texts in ((quiet + tail,), (quiet, tail)):
        problem, = told(tmp_path, *texts).problems
        assert any("power comes before the riser" in why for why in problem.because), problem.because
    problem, = told(tmp_path, tail).problems
    assert not any("power comes before the riser" in why for why in problem.because)


@pytest.mark.parametrize(("before", "joined"), [(440.7, True), (440.5, False), (501.0, False)])
def test_a_longer_silence_may_be_a_reboot(before: float, joined: bool, tmp_path: Path) -> None:
    found = told(tmp_path, BUSES + aer(before, PORT, 6, "BadTLP"), SECOND)
    assert any("read as one log" in note for note in found.notes) is joined
    assert any("do not go on from each other" in note for note in found.notes) is not joined


def test_the_start_of_a_boot_goes_on_from_nothing(tmp_path: Path) -> None:
    """A second boot begins at 0 again, so its seconds are no later ones."""
    found = told(tmp_path, fell(0.5, "42"), BUSES + aer(500.0, PORT, 6, "BadTLP"))
    assert set(rules(found)) == {"gpu-lost", "damaged-link"}
    assert any("do not go on from each other" in note for note in found.notes)


def test_what_grep_left_of_a_log_is_of_that_log(tmp_path: Path) -> None:
    found = told(tmp_path, FIRST + SECOND, aer(500.0, PORT, 6, "BadTLP"))
    assert rules(found) == ["link-took-the-gpu"]
    assert [note for note in found.notes if "log" in note] == [
        f"{tmp_path}/evidence-1.txt is of the same boot as {tmp_path}/evidence-0.txt: both are read as one log"]


def test_rotated_logs_of_one_host(tmp_path: Path) -> None:
    """Wall times, and one name; of two names nothing is joined."""
    first = "".join(syslog("rig1", line.split("] ", 1)[1], 1) for line in FIRST.splitlines(keepends=True)[1:])
    second = "".join(syslog("rig1", line.split("] ", 1)[1], 2) for line in SECOND.splitlines(keepends=True))
    assert rules(told(tmp_path, first, second)) == ["link-took-the-gpu"]
    apart = told(tmp_path, first, second.replace("rig1", "rig2"))
    assert set(rules(apart)) == {"gpu-lost", "damaged-link"}

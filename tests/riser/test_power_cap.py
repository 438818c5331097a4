"""A card's power is limited for a time and set back, however that time ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from boxcheck.host.config_space import LivePorts
from boxcheck.host.left_changed import SUFFIXES
from boxcheck.model import Bdf, Unread
from boxcheck.riser.links.ports import Refused
from boxcheck.riser.measuring.power_cap import capped, restore_power
from boxcheck.riser.measuring.power_limits import AmdgpuLimiter, Limiter, NvmlLimiter, PowerLimits, answer, limiter_of
from tests.riser.simulated.machine import Machine
from tests.telemetry.trees import put

BDF = Bdf("0000:43:00.0")
CARD = Path(f"sys/bus/pci/devices/{BDF}/hwmon/hwmon3")


def tree(root: Path, watts: int = 300) -> AmdgpuLimiter:
    for name, value in (("", watts), ("_min", 100), ("_max", 339), ("_default", 300)):
        put(root, f"{CARD}/power1_cap{name}", value * 1_000_000)
    return AmdgpuLimiter(LivePorts(str(root)), BDF, str(root))


def now(root: Path) -> float:
    return int((root / CARD / "power1_cap").read_text()) / 1e6


class Stubborn:
    """A driver that takes a limit only so often, or rounds it away."""

    def __init__(self, takes: int = 99, watts: float = 300.0) -> None:
        self.bdf, self.takes, self.watts = BDF, takes, watts

    def read(self) -> PowerLimits | Unread:
        return PowerLimits(watts=self.watts, default_watts=300.0, least_watts=100.0, most_watts=339.0)

    def set(self, watts: float) -> None:
        if self.takes <= 0:
            raise Refused("permission", "the driver does not take it", "run it with sudo")
        self.takes -= 1
        self.watts = watts


def kept(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.endswith(SUFFIXES["power"])]


def test_the_limit_is_lowered_and_put_back(tmp_path: Path) -> None:
    limiter, said = tree(tmp_path), list[str]()
    with capped(limiter, str(tmp_path), vendor="1002", say=said.append) as cap:
        assert now(tmp_path) == cap.watts == 180.0
        assert len(kept(tmp_path)) == 1
    assert now(tmp_path) == 300.0
    assert (cap.held, cap.restored, cap.says) == (True, True, f"the power limit of {BDF} is 300 W again")
    assert not kept(tmp_path)
    assert said == [f"the power of {BDF} is limited to 180 W, from 300 W, and set back afterwards"]


def test_an_owner_s_own_limit_is_what_comes_back(tmp_path: Path) -> None:
    with capped(tree(tmp_path, 250), str(tmp_path), vendor="1002"):
        assert now(tmp_path) == 180.0
    assert now(tmp_path) == 250.0


def test_it_is_not_lowered_below_what_the_card_takes(tmp_path: Path) -> None:
    with capped(tree(tmp_path), str(tmp_path), vendor="1002", part=0.1) as cap:
        assert cap.watts == 100.0


def test_a_limit_that_is_low_already_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="cannot be limited further"), capped(tree(tmp_path, 150), str(tmp_path), vendor="1002"):
        raise AssertionError
    assert now(tmp_path) == 150.0


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_it_is_put_back_when_the_measurement_breaks(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), capped(tree(tmp_path), str(tmp_path), vendor="1002"):
        raise error
    assert now(tmp_path) == 300.0
    assert not kept(tmp_path)


def test_where_it_cannot_be_kept_nothing_is_set(tmp_path: Path) -> None:
    limiter = tree(tmp_path)
    with pytest.raises(Refused, match="cannot be kept in"), capped(limiter, str(tmp_path / "nowhere"), vendor="1002"):
        raise AssertionError
    assert now(tmp_path) == 300.0


def test_without_the_right_to_set_it_nothing_is_left_behind(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="does not take it"), capped(Stubborn(0), str(tmp_path), vendor="10de"):
        raise AssertionError
    assert not kept(tmp_path)


def test_a_driver_that_changes_it_meanwhile_is_found(tmp_path: Path) -> None:
    limiter = Stubborn()
    with capped(limiter, str(tmp_path), vendor="10de") as cap:
        limiter.watts = 240.0
    assert cap.held is False
    assert limiter.watts == 300.0


def test_one_that_cannot_be_put_back_is_said_and_waits_for_the_next_start(tmp_path: Path) -> None:
    limiter, said = Stubborn(1), list[str]()
    with capped(limiter, str(tmp_path), vendor="10de", say=said.append) as cap:
        pass
    assert cap.restored is False
    assert said[-1] == (f"the power limit of {BDF} could not be put back to 300 W (the driver does not take it): a restart of the "
                        "machine does")
    with pytest.raises(Refused, match="by an earlier run that did not put it back"), capped(Stubborn(watts=180.0), str(tmp_path), vendor="10de", part=0.4):
        raise AssertionError
    limiter.takes = 9
    assert restore_power(str(tmp_path), lambda bdf, vendor: limiter) == (f"the power limit of {BDF} is 300 W again",)
    assert limiter.watts == 300.0
    assert not kept(tmp_path)
    assert restore_power(str(tmp_path), lambda bdf, vendor: limiter) == ()


def test_a_folder_that_cannot_be_listed_is_told_and_one_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "riser").write_text("no folder")
    (says,) = restore_power(str(tmp_path / "riser"), lambda bdf, vendor: limiter_of(bdf, vendor, None))
    assert says == f"whether the power of a card is still limited is not known: {tmp_path}/riser: not a directory"
    assert restore_power(str(tmp_path / "none"), lambda bdf, vendor: limiter_of(bdf, vendor, None)) == ()


def test_after_a_restart_of_the_machine_nothing_is_set(tmp_path: Path) -> None:
    limiter = Stubborn(1)
    with capped(limiter, str(tmp_path), vendor="10de", boot="before"):
        pass
    limiter.takes = 9
    (says,) = restore_power(str(tmp_path), lambda bdf, vendor: limiter, boot="after")
    assert "before the machine was restarted" in says
    assert limiter.watts == 180.0
    assert not kept(tmp_path)


@pytest.mark.parametrize("text", [b"", b"garbage", b'{"bdf":"0000:44:00.0","vendor":"10de","watts":300}', b'{"bdf":"0000:43:00.0","vendor":"10de","watts":-5}',
                                  b'{"bdf":"0000:43:00.0","vendor":"10de","watts":9000}'])
def test_a_damaged_file_sets_nothing(tmp_path: Path, text: bytes) -> None:
    (tmp_path / f"{BDF}.boot{SUFFIXES['power']}").write_bytes(text)
    limiter = Stubborn(watts=180.0)
    (says,) = restore_power(str(tmp_path), lambda bdf, vendor: limiter, boot="boot")
    assert "may still be limited" in says
    assert limiter.watts == 180.0


CHILD = """
import sys, time
from pathlib import Path
from boxcheck.riser.measuring.power_cap import capped
from tests.riser.test_power_cap import AmdgpuLimiter, LivePorts, BDF
root = sys.argv[1]
with capped(AmdgpuLimiter(LivePorts(root), BDF, root), root, vendor="1002") as cap:
    print("held", flush=True)
    for _ in range(600):
        if cap.stopping():
            break
        time.sleep(0.05)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_signal_puts_it_back_or_the_next_start_does(tmp_path: Path, number: signal.Signals) -> None:
    limiter = tree(tmp_path)
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                             cwd=Path(__file__).parents[2])
    assert child.stdout is not None
    assert child.stdout.readline() == b"held\n"
    assert now(tmp_path) == 180.0
    child.send_signal(number)
    assert child.wait(10) != 0
    child.stdout.close()
    if number == signal.SIGKILL:
        assert now(tmp_path) == 180.0
        assert restore_power(str(tmp_path), lambda bdf, vendor: limiter) == (f"the power limit of {BDF} is 300 W again",)
    assert now(tmp_path) == 300.0
    assert not kept(tmp_path)


TWICE = """
import signal, sys, time
from boxcheck import __main__ as program
from boxcheck.riser.measuring.power_cap import capped
from tests.riser.test_power_cap import AmdgpuLimiter, LivePorts, BDF
class Slow(AmdgpuLimiter):
    def set(self, watts):
        print("setting", flush=True)
        time.sleep(0.5)
        super().set(watts)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, program._end)
root = sys.argv[1]
with capped(Slow(LivePorts(root), BDF, root), root, vendor="1002") as cap:
    print("held", flush=True)
    for _ in range(600):
        if cap.stopping():
            break
        time.sleep(0.05)
print("went on", flush=True)
"""


def test_a_second_ctrl_c_while_it_is_put_back_does_not_leave_it_lowered(tmp_path: Path) -> None:
    """The program's own handler lets the second signal kill it."""
    tree(tmp_path)
    child = subprocess.Popen([sys.executable, "-c", TWICE, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                             cwd=Path(__file__).parents[2])
    assert child.stdout is not None
    assert [child.stdout.readline() for _ in range(2)] == [b"setting\n", b"held\n"]
    child.send_signal(signal.SIGINT)
    assert child.stdout.readline() == b"setting\n"
    child.send_signal(signal.SIGINT)
    assert child.stdout.read() == b"", "it does not go on after that"
    assert child.wait(10) != 0
    child.stdout.close()
    assert now(tmp_path) == 300.0
    assert not kept(tmp_path)


def test_a_measurement_at_limited_power_is_told_to_stop(tmp_path: Path) -> None:
    old = signal.signal(signal.SIGTERM, lambda number, frame: None)
    try:
        with capped(tree(tmp_path), str(tmp_path), vendor="1002") as cap:
            assert not cap.stopping()
            signal.raise_signal(signal.SIGTERM)
            assert cap.stopping()
    finally:
        signal.signal(signal.SIGTERM, old)


def test_a_hangup_that_is_ignored_stops_nothing(tmp_path: Path) -> None:
    old = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with capped(tree(tmp_path), str(tmp_path), vendor="1002") as cap:
            signal.raise_signal(signal.SIGHUP)
            assert not cap.stopping()
    finally:
        signal.signal(signal.SIGHUP, old)


class Nvml:
    """pynvml, as far as it goes."""

    def __init__(self, refuses: int | None = None) -> None:
        self.refuses, self.limit = refuses, 450_000

    def __getattr__(self, name: str) -> Any:
        answers = {"nvmlDeviceGetPowerManagementLimitConstraints": (150_000, 600_000), "nvmlDeviceGetPowerManagementDefaultLimit": 450_000}
        return lambda *arguments: answers.get(name)

    def nvmlDeviceGetPowerManagementLimit(self, handle: object) -> int:
        return self.limit

    def nvmlDeviceSetPowerManagementLimit(self, handle: object, milliwatts: int) -> None:
        if self.refuses is not None:
            error = RuntimeError("Insufficient Permissions")
            error.value = self.refuses  # type: ignore[attr-defined]
            raise error
        self.limit = milliwatts


def test_nvml_is_asked_in_milliwatts() -> None:
    nvml = Nvml()
    assert answer(nvml, BDF, 270.0) == {"watts": 270.0, "default_watts": 450.0, "least_watts": 150.0, "most_watts": 600.0}
    assert answer(Nvml(4), BDF, 270.0) == {"error": "Insufficient Permissions", "code": 4}


def test_what_nvml_refuses_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for found, kind in ((answer(Nvml(4), BDF, 1.0), "permission"), (answer(Nvml(3), BDF, 1.0), "unsupported")):
        monkeypatch.setattr("boxcheck.riser.measuring.power_limits._ask", lambda bdf, watts=None, found=found: found)
        with pytest.raises(Refused) as refused:
            NvmlLimiter(BDF).set(1.0)
        assert refused.value.kind == kind
        assert isinstance(NvmlLimiter(BDF).read(), Unread)
    monkeypatch.setattr("boxcheck.riser.measuring.power_limits._ask", lambda bdf, watts=None: answer(Nvml(), bdf, watts))
    assert NvmlLimiter(BDF).read() == PowerLimits(watts=450.0, default_watts=450.0, least_watts=150.0, most_watts=600.0)


def test_a_machine_without_nvidias_driver_says_so() -> None:
    found = NvmlLimiter(BDF).read()
    assert isinstance(found, Unread)
    assert str(BDF) in found.why


def test_a_driver_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boxcheck.riser.measuring.power_limits.ASK_SECONDS", 0.01)
    began = time.monotonic()
    found = NvmlLimiter(BDF).read()
    assert isinstance(found, Unread)
    assert found.kind == "timeout"
    assert time.monotonic() - began < 2
    with pytest.raises(Refused, match=r"whether the power limit .* was set is not known"):
        NvmlLimiter(BDF).set(250.0)


def test_a_card_without_a_limit_is_told(tmp_path: Path) -> None:
    limiter = AmdgpuLimiter(LivePorts(str(tmp_path)), BDF, str(tmp_path))
    assert isinstance(limiter.read(), Unread)
    with pytest.raises(Refused, match="was not limited"), capped(limiter, str(tmp_path), vendor="1002"):
        raise AssertionError
    assert isinstance(limiter_of(BDF, "8086", Machine()), Unread)
    found: Limiter | Unread = limiter_of(BDF, "1002", None)
    assert isinstance(found, Unread)
    assert isinstance(limiter_of(BDF, "10de", None), NvmlLimiter)

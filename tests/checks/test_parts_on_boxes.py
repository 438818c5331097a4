"""The checks of processors, memory, drives, network, sensors, power and environment on built boxes.

A healthy box trips none of them. A box with one fault trips those named here, and nothing else.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from boxcheck.engine.inspect import choose_checks, inspect_facts, read_facts
from boxcheck.host.capture import CaptureHost
from boxcheck.model import Outcome, Verdict
from boxcheck.profile import Profile
from tests.boxes import build
from tests.checks.judging import want

AREAS = ("cpu", "memory", "disk", "nic", "thermal", "fan", "power", "bmc", "clock", "env", "limits",
         "pcie.thermal-link-limit")

GPU_BOX = {
    "cpu.governor": {"should": ["performance"]}, "cpu.sockets": 1, "cpu.numa_balancing": {"should": 0},
    "memory.channels": 8, "memory.speed_mts": {"should": 3200}, "memory.ecc": True, "memory.uniform": {"should": True},
    "disk.nvme_link_speed_gts": 16.0, "disk.nvme_link_width": 4, "disk.nvme_used_percent": {"should": 90},
    "disk.free_percent": {"should": 10.0}, "thermal.cpu_celsius": {"should": 85, "must": 90},
    "thermal.gpu_idle_celsius": {"should": 50, "must": 95}, "thermal.gpu_spread_celsius": {"should": 12},
    "power.budget_percent": {"should": 92.0, "must": 100.0}, "bmc.present": True,
    "clock.synchronized": {"should": True},
    "limits.open_files": {"should": 65536}, "limits.shm_gib": {"should": 8.0}, "limits.memlock_gib": 64.0,
    "nic.ports": {"should": 2},
}
TINYBOX = {
    **GPU_BOX, "cpu.cores": 32, "cpu.model": {"should": ["AMD EPYC 7*32-Core*"]}, "memory.total_gib": 128,
    "disk.nvme_count": 4, "disk.raid_members": 4, "disk.raid_mount": "/raid", "disk.boot_usb_mbps": 5000,
    "power.supplies": 2, "power.supply_watts": 3200.0, "power.cpu_watts": 225.0,
}
WOPR = {
    **GPU_BOX, "cpu.cores": 64, "cpu.model": {"should": ["AMD Eng Sample: 100-000000314*"]}, "memory.total_gib": 512,
    "disk.nvme_count": 1, "nic.cards": {"should": ["8086:1563 x2"]}, "power.supply_watts": 4000.0,
    "power.cpu_watts": 280.0,
}
BOXES = {"tinybox-red": TINYBOX, "wopr-7x4090": WOPR}


@cache
def profile(box: str) -> Profile:
    return want(BOXES[box])


def inspect(name: str, folder: Path) -> Verdict:
    """What these checks find on a box."""
    wanted = profile(name.split("+")[0])
    checks = choose_checks(AREAS)
    capture = folder / "box.tar"  # one file: a directory of thousands takes seconds to write on a busy disk
    capture.write_bytes(build(name).to_tar())
    facts = read_facts(CaptureHost(str(capture)), {kind for check in checks for kind in check.reads})
    assert not facts.crashes, facts.crashes[0].traceback
    return inspect_facts(facts, wanted, checks)


def bad(verdict: Verdict) -> dict[str, str]:
    """Check -> its worst outcome, for those that found something."""
    found: dict[str, str] = {}
    for finding in sorted(verdict.findings, key=lambda finding: -finding.outcome.rank):
        if finding.outcome in (Outcome.FAIL, Outcome.MARGINAL):
            found[finding.check] = finding.outcome.value
    return found


@pytest.mark.parametrize("box", BOXES)
def test_a_healthy_box_trips_nothing(box: str, tmp_path: Path) -> None:
    verdict = inspect(box, tmp_path)
    assert bad(verdict) == {}
    unread = {finding.check: finding.says for finding in verdict.findings if finding.outcome is Outcome.UNKNOWN}
    assert unread == {}


FAULTS: tuple[tuple[str, dict[str, str], str], ...] = (
    ("tinybox-red+dimm-missing", {"memory.total": "fail", "memory.channels": "fail"}, "memory-dimm:DIMM_C1"),
    ("wopr-7x4090+dimm-missing", {"memory.total": "fail", "memory.channels": "fail"}, "memory-dimm:DIMM_C1"),
    ("wopr-7x4090+dimm-slow", {"memory.speed": "marginal", "memory.uniform": "marginal"}, "memory-dimm:DIMM_E1"),
    ("tinybox-red+memory-underclocked", {"memory.speed": "marginal"}, "memory-speed:"),
    ("wopr-7x4090+ecc-off", {"memory.ecc": "fail"}, "memory-ecc:"),
    ("wopr-7x4090+edac-ce", {"memory.edac-ce": "marginal"}, "memory-dimm:DIMM_D1"),
    ("wopr-7x4090+edac-ue", {"memory.edac-ue": "fail"}, "memory-dimm:DIMM_D1"),
    ("tinybox-red+governor-powersave", {"cpu.governor": "marginal"}, "cpu-governor:"),
    ("tinybox-red+nvme-x2", {"disk.nvme-link": "fail"}, "link:"),
    ("tinybox-red+nvme-gen3", {"disk.nvme-link": "fail"}, "link:"),
    ("tinybox-red+raid-inactive", {"disk.raid": "fail", "disk.raid-mounted": "fail"}, "raid:md0"),
    ("tinybox-red+nvme-critical-warning", {"disk.nvme-health": "fail"}, "nvme:nvme0"),
    ("tinybox-red+boot-usb-480", {"disk.boot-usb-speed": "fail"}, "usb-boot:sda"),
    ("wopr-7x4090+disk-full", {"disk.free": "marginal"}, "disk-full:/"),
    ("wopr-7x4090+nic-missing", {"nic.present": "marginal"}, "nic-missing:"),
    ("tinybox-red+psu-dead", {"power.psu-missing": "fail", "bmc.sel-critical": "marginal"}, "power-supply:"),
    ("tinybox-red+psu-absent", {"power.psu-missing": "fail"}, "power-supply:"),
    ("tinybox-red+fan-dead", {"fan.case": "fail"}, "fan:FAN3"),
    ("tinybox-red+sel-critical", {"bmc.sel-critical": "marginal"}, "bmc-events:"),
    ("tinybox-red+clock-unsynchronised", {"clock.synchronized": "marginal"}, "clock:"),
    ("tinybox-red+cpu-hot", {"thermal.cpu": "fail"}, "cpu-hot:0"),
    ("tinybox-red+hsa-override", {"env.override": "marginal"}, "env:HSA_OVERRIDE_GFX_VERSION"),
    ("tinybox-red+visible-devices", {"env.override": "marginal"}, "env:HIP_VISIBLE_DEVICES"),
    ("wopr-7x4090+nccl-p2p-disabled", {"env.override": "marginal"}, "env:NCCL_P2P_DISABLE"),
    ("tinybox-red+gpu-hot-idle", {"thermal.gpu-idle": "marginal", "thermal.gpu-spread": "marginal"}, "gpu-hot:"),
    ("tinybox-red+power-cap-lowered", {"power.gpu-cap": "marginal"}, "gpu-power-cap:"),
    ("wopr-7x4090+nvidia-hot-idle", {"thermal.gpu-idle": "marginal", "thermal.gpu-spread": "marginal"}, "gpu-hot:"),
    ("wopr-7x4090+nvidia-cap-lowered", {"power.gpu-cap": "marginal"}, "gpu-power-cap:"),
    ("wopr-7x4090+nvidia-power-brake", {"power.throttle": "fail"}, "gpu-power:"),
    ("tinybox-red+nofile-small", {"limits.nofile": "marginal"}, "limits:nofile"),
    ("tinybox-red+shm-small", {"limits.shm": "marginal"}, "limits:shm"),
)


@pytest.mark.parametrize(("name", "trips", "cause"), FAULTS, ids=[fault[0] for fault in FAULTS])
def test_a_fault_trips_its_checks_and_no_other(name: str, trips: dict[str, str], cause: str, tmp_path: Path) -> None:
    verdict = inspect(name, tmp_path)
    assert bad(verdict) == trips
    assert verdict.problems[0].id.startswith(cause)


@pytest.mark.parametrize("name", [
    "tinybox-red+dimm-missing", "wopr-7x4090+dimm-slow", "tinybox-red+raid-inactive", "tinybox-red+psu-absent"])
def test_one_cause_is_one_problem(name: str, tmp_path: Path) -> None:
    assert len(inspect(name, tmp_path).problems) == 1


def test_a_lost_drive_names_the_drive_and_the_array(tmp_path: Path) -> None:
    verdict = inspect("tinybox-red+nvme-missing", tmp_path)
    assert bad(verdict) == {"disk.nvme-count": "fail", "disk.raid": "fail", "disk.raid-mounted": "fail"}
    assert {problem.id for problem in verdict.problems} <= {"nvme-missing:", "raid:md0"}


def test_a_wrong_processor(tmp_path: Path) -> None:
    assert bad(inspect("tinybox-red+wrong-cpu", tmp_path)) == {"cpu.cores": "fail", "cpu.model": "marginal"}

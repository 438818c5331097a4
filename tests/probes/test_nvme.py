from __future__ import annotations

import json
from pathlib import Path

import pytest

from boxcheck.model import Unread
from boxcheck.probes.nvme import Nvme, SmartLog, parse_smart_log
from tests.boxes.tree import Tree
from tests.probes.reading import HOSTILE, fact, kind_of, live, never_raises, tree

FUNCTION = "/sys/devices/pci0000:00/0000:00:01.1/0000:01:00.0"
LOG = {"critical_warning": 0, "temperature": 310, "avail_spare": 100, "spare_thresh": 10, "percent_used": 1,
       "media_errors": 0, "unsafe_shutdowns": 3, "power_on_hours": 1210}


def machine(root: bool = True) -> Tree:
    made = tree({
        f"{FUNCTION}/vendor": "0x144d", f"{FUNCTION}/device": "0xa80c", f"{FUNCTION}/class": "0x010802",
        f"{FUNCTION}/nvme/nvme0/model": "Samsung SSD 990 PRO 2TB                 ", f"{FUNCTION}/nvme/nvme0/serial":
        "S7KGNJ0W000000", f"{FUNCTION}/nvme/nvme0/firmware_rev": "4B2QJXD7", f"{FUNCTION}/nvme/nvme0/state": "live",
        f"{FUNCTION}/nvme/nvme0/transport": "pcie", f"{FUNCTION}/nvme/nvme0/address": "0000:01:00.0",
        f"{FUNCTION}/nvme/nvme0/nvme0n1/size": "3907029168", f"{FUNCTION}/nvme/nvme0/hwmon1/name": "nvme",
    }, root=root)
    made.link(f"{FUNCTION}/nvme/nvme0/device", FUNCTION)
    made.link("/sys/class/nvme/nvme0", f"{FUNCTION}/nvme/nvme0")
    made.link("/sys/bus/pci/devices/0000:01:00.0", FUNCTION)
    return made


def test_reads_a_drive(tmp_path: Path) -> None:
    made = machine()
    made.run(["nvme", "smart-log", "/dev/nvme0", "-o", "json"], json.dumps(LOG))
    drive = fact(Nvme, made, tmp_path).drives[0]
    assert (drive.name, drive.bdf, drive.model, drive.firmware, drive.state) == (
        "nvme0", "0000:01:00.0", "Samsung SSD 990 PRO 2TB", "4B2QJXD7", "live")
    assert [(space.name, space.size_bytes) for space in drive.namespaces] == [("nvme0n1", 3907029168 * 512)]
    assert isinstance(drive.smart, SmartLog)
    assert (drive.smart.used_percent, drive.smart.media_errors, drive.smart.temperature_celsius) == (1, 0, 36.9)


@pytest.mark.parametrize("name", ["nvme0n1", "nvme0c0n1", "nvme1n1", "nvme1c0n1", "nvme12c0n3"])
def test_namespaces_are_the_drives_whatever_number_their_subsystem_has(name: str, tmp_path: Path) -> None:
    made = machine()
    made.remove(f"{FUNCTION}/nvme/nvme0/nvme0n1/size")
    made.put(f"{FUNCTION}/nvme/nvme0/{name}/size", "3907029168")
    made.put(f"{FUNCTION}/nvme/nvme0/ng0n1/dev", "240:0")
    spaces = fact(Nvme, made, tmp_path).drives[0].namespaces
    assert [(space.name, space.size_bytes) for space in spaces] == [(name, 3907029168 * 512)]


def test_without_root_the_health_log_is_unread_and_the_rest_is_not(tmp_path: Path) -> None:
    drive = fact(Nvme, machine(root=False), tmp_path).drives[0]
    assert drive.state == "live"
    assert kind_of(drive.smart) == "permission"


def test_without_nvme_cli_the_health_log_is_unread(tmp_path: Path) -> None:
    made = machine()
    made.run(["nvme", "smart-log", "/dev/nvme0", "-o", "json"], "", "Permission denied", exit_status=1)
    drive = fact(Nvme, made, tmp_path).drives[0]
    assert kind_of(drive.smart) == "error"
    assert isinstance(drive.smart, Unread)
    assert "Permission denied" in drive.smart.why


def test_namespaces_that_nobody_could_list_are_told(tmp_path: Path) -> None:
    made = machine()
    assert fact(Nvme, made, tmp_path).drives[0].namespaces_unread is None
    made.denied(f"{FUNCTION}/nvme/nvme0", "permission denied")
    drive = fact(Nvme, made, tmp_path).drives[0]
    assert drive.namespaces == ()
    assert kind_of(drive.namespaces_unread) == "permission"


def test_a_controller_without_driver_is_seen(tmp_path: Path) -> None:
    made = machine()
    made.remove("/sys/class/nvme/nvme0")
    nvme = fact(Nvme, made, tmp_path)
    assert nvme.drives == ()
    assert nvme.undriven == ("0000:01:00.0",)


def test_no_drive_and_nobody_looked_are_not_the_same(tmp_path: Path) -> None:
    assert fact(Nvme, tree(), tmp_path).unreadable is None
    assert kind_of(fact(Nvme, tree(whole=False), tmp_path).unreadable) == "not-captured"


def test_smart_log_in_its_spellings() -> None:
    assert isinstance(parse_smart_log(json.dumps(LOG)), SmartLog)
    verbose = parse_smart_log(json.dumps({**LOG, "critical_warning": {"value": 4, "reliability_degraded": 1}}))
    assert isinstance(verbose, SmartLog)
    assert verbose.critical_warning == 4
    text = parse_smart_log(json.dumps({**LOG, "media_errors": "12", "power_on_hours": 1.5e3, "unsafe_shutdowns": True}))
    assert isinstance(text, SmartLog)
    assert (text.media_errors, text.power_on_hours, text.unsafe_shutdowns) == (12, 1500, None)


def test_what_is_no_smart_log_is_malformed() -> None:
    for text in ("[]", "{}", '{"critical_warning": "no"}', '{"critical_warning": true}', "Error: no such device"):
        assert kind_of(parse_smart_log(text)) == "malformed"
    never_raises(parse_smart_log, *HOSTILE, "[" * 100_000, '{"critical_warning": 0, "media_errors": 1e999}')


def test_this_machine() -> None:
    assert isinstance(live(Nvme).drives, tuple)

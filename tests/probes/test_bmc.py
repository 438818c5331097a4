from __future__ import annotations

from pathlib import Path

import pytest

from boxcheck.probes.bmc import EVENTS, FANS, MC_INFO, SUPPLIES, Bmc, parse_events, parse_info, parse_sensors
from tests.boxes import smbios_build as smbios
from tests.boxes.tree import Tree
from tests.probes.reading import HOSTILE, fact, kind_of, live, never_raises, tree

FAN_ROWS = "FAN1             | 41h | ok  | 29.1 | 1400 RPM\nFAN2             | 42h | ns  | 29.2 | No Reading\n"
SUPPLY_ROWS = ("PSU1 Status      | C4h | ok  | 10.1 | Presence detected\n"
               "PSU2 Status      | C5h | ok  | 10.2 | Presence detected, Power Supply AC lost\n")
EVENT_ROWS = ("   1 | 08/30/2026 | 10:11:12 | Power Supply PSU2 Status | Power Supply AC lost | Asserted\n"
              "   2 | 08/30/2026 | 10:12:00 | Power Supply PSU2 Status | Power Supply AC lost | Deasserted\n"
              "   3 |  Pre-Init  |0000000029| Fan FAN1 | Lower Critical going low  | Asserted\n")


def server(root: bool = True) -> Tree:
    made = tree(root=root)
    made.stat("/dev/ipmi0", 0o600)
    made.run(list(MC_INFO), "Device ID : 32\nFirmware Revision : 2.02\nManufacturer Name : ASRock\n")
    made.run(list(SUPPLIES), SUPPLY_ROWS)
    made.run(list(FANS), FAN_ROWS)
    made.run(list(EVENTS), EVENT_ROWS)
    return made


def test_reads_a_server(tmp_path: Path) -> None:
    bmc = fact(Bmc, server(), tmp_path)
    assert bmc.node == "/dev/ipmi0"
    assert isinstance(bmc.fans, tuple)
    assert [(fan.name, fan.status, fan.reading) for fan in bmc.fans] == [
        ("FAN1", "ok", "1400 RPM"), ("FAN2", "ns", "No Reading")]
    assert isinstance(bmc.supplies, tuple)
    assert bmc.supplies[1].reading == "Presence detected, Power Supply AC lost"
    assert isinstance(bmc.events, tuple)
    assert [event.asserted for event in bmc.events] == [True, False, True]


def test_without_root_it_is_there_and_not_asked(tmp_path: Path) -> None:
    bmc = fact(Bmc, server(root=False), tmp_path)
    assert bmc.node == "/dev/ipmi0"
    assert kind_of(bmc.fans) == kind_of(bmc.events) == kind_of(bmc.supplies) == "permission"


def test_a_command_that_fails_is_unread(tmp_path: Path) -> None:
    made = tree()
    made.stat("/dev/ipmi0", 0o600)
    made.run(list(FANS), "", "Could not open device at /dev/ipmi0", exit_status=1)
    assert kind_of(fact(Bmc, made, tmp_path).fans) == "error"
    assert kind_of(fact(Bmc, made, tmp_path).events) == "not-captured"


@pytest.mark.parametrize(("events", "kind"), [
    ("Timeout while reading the SEL\n", "malformed"), ("SEL has no entries\n", None), ("", None)])
def test_a_table_of_another_form_is_no_empty_one(events: str, kind: str | None, tmp_path: Path) -> None:
    made = tree()
    made.stat("/dev/ipmi0", 0o600)
    made.run(list(EVENTS), events)
    made.run(list(FANS), "FAN1: 1400 RPM\n")
    made.run(list(SUPPLIES), "")
    bmc = fact(Bmc, made, tmp_path)
    assert kind_of(bmc.events) == kind
    assert kind is not None or bmc.events == ()
    assert kind_of(bmc.fans) == "malformed"
    assert bmc.supplies == ()


def test_a_board_without_bmc(tmp_path: Path) -> None:
    made = tree()
    made.directory("/sys/bus/pci/devices")
    bmc = fact(Bmc, made, tmp_path)
    assert bmc.node is None
    assert bmc.announced is False


def test_a_bmc_without_its_driver_is_announced(tmp_path: Path) -> None:
    table, entry = smbios.table([smbios.ipmi()])
    tables = "/sys/firmware/dmi/tables"
    bmc = fact(Bmc, tree({f"{tables}/DMI": table, f"{tables}/smbios_entry_point": entry}), tmp_path)
    assert bmc.node is None
    assert bmc.announced is True


def test_nobody_looked(tmp_path: Path) -> None:
    bmc = fact(Bmc, tree(whole=False), tmp_path)
    assert kind_of(bmc.node) == kind_of(bmc.announced) == "not-captured"


def test_parsers() -> None:
    assert parse_info("Firmware Revision : 2.02\n").firmware == "2.02"
    assert parse_sensors("garbage\n | | | | \n") == ()
    for parse in (parse_sensors, parse_events, parse_info):
        never_raises(parse, *HOSTILE)


def test_this_machine() -> None:
    assert live(Bmc) is not None

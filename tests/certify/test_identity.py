"""Who and what: patterns, scanners, what is refused, where a serial number comes from."""

from __future__ import annotations

import io
import os
import pty
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from boxcheck.certify.acceptance import Identity
from boxcheck.certify.identity import (
    Given,
    Station,
    collect,
    lines_of,
    option_pairs,
    read_identity,
    read_station,
    serial_of,
)
from boxcheck.certify.prompts import Left, Prompts
from boxcheck.decode.smbios import Smbios
from boxcheck.engine.inspect import Facts
from boxcheck.model import Unread
from boxcheck.probes.dmi import Dmi
from boxcheck.usage import UsageError

STATION = """
[fields.serial]
pattern = "W-[0-9]{4}"
prompt = "serial, from the label at the back"
[fields.lot]
required = true
[fields.station]
default = "bench 3"
[fields.riser]
pattern = "R[0-9]+"
required = true
"""


@pytest.fixture
def station(tmp_path: Path) -> Station:
    path = tmp_path / "station.toml"
    path.write_text(STATION)
    return read_station(str(path))


def no_wish(prompt: str, default: str, why: Callable[[str], str]) -> str:
    return default


def test_everything_that_is_missing_or_wrong_is_named_at_once(station: Station) -> None:
    given = Given(values={"serial": "X-1"}, risers={"PCIE9": "R1"})
    with pytest.raises(UsageError) as told:
        collect(given, station, ("", ""), {"PCIE3": "", "PCIE4": "R4"}, None, ("PCIE3", "PCIE4"))
    says = str(told.value)
    for part in ("serial is 'X-1', and must match W-[0-9]{4}", "operator is missing", "lot is missing",
                 "no slot is called 'PCIE9'", "riser of PCIE3 is missing"):
        assert part in says
    assert told.value.help is not None
    assert told.value.help.startswith("give --serial, --operator, --field lot=TEXT, --riser SLOT=LABEL, or")
    assert "PCIE4 is missing" not in says, "the profile has its label"


def test_the_machines_own_number_is_taken_where_nobody_says_another(station: Station) -> None:
    given = Given(values={"operator": "A", "lot": "7"}, risers={"PCIE3": "R3"})
    found = collect(given, station, ("W-0042", "baseboard"), {"PCIE3": ""}, None)
    assert (found.serial, found.serial_from, found.station) == ("W-0042", "baseboard", "bench 3")
    assert (dict(found.risers), dict(found.more)) == ({"PCIE3": "R3"}, {"lot": "7"})
    other = collect(Given(values={**given.values, "serial": "W-0007"}), station, ("W-0042", "baseboard"), {}, None)
    assert (other.serial, other.serial_from) == ("W-0007", "operator")
    with pytest.raises(UsageError, match="serial is missing"):
        collect(given, station, ("M80-C1234", "baseboard"), {}, None)  # the board's number is not of this form


@pytest.mark.parametrize("text", ["a\x1b[2J", "a\nb", "a\u202eb", "a\u200bb", "a\udcff", "a\x00", "a\u2028b", "x" * 121])
def test_controls_and_writing_that_turns_round_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"operator (holds a control character|has 121 characters)"):
        collect(Given(values={"serial": "1", "operator": text}), Station(), ("", ""), {}, None)


def test_a_person_is_asked_again_for_what_was_given_wrong(station: Station) -> None:
    asked: list[str] = []

    def ask(prompt: str, default: str, why: Callable[[str], str]) -> str:
        asked.append(prompt)
        if prompt.endswith("the label at the back"):
            assert why("X") == "is 'X', and must match W-[0-9]{4}"
            assert why("W-0007") == ""
            return "W-0007"
        return default or ("R3" if "PCIE3" in prompt else "someone")

    found = collect(Given(values={"serial": "X"}), station, ("", ""), {"PCIE3": ""}, ask, ("PCIE3",))
    assert (found.serial, found.operator, found.risers["PCIE3"]) == ("W-0007", "someone", "R3")
    assert asked[0].startswith("serial is 'X', and must match")


def test_a_placeholder_of_the_firmware_is_no_serial_number() -> None:
    from boxcheck.decode.smbios import Baseboard, Chassis, System

    def facts(board: str | None, product: str | None) -> Facts:
        def made(kind: type, serial: str | None) -> object:
            fields = {name: None for name in kind.__struct_fields__}  # type: ignore[attr-defined]
            return kind(**{**fields, "serial": serial})

        class Table:
            baseboard, system, chassis = made(Baseboard, board), made(System, product), (made(Chassis, "C-9"),)

        found = Facts()
        names = {name: None for name in Dmi.__struct_fields__}
        found.put(Dmi, Dmi(**{**names, "smbios": Table()}))
        return found

    assert Smbios is not None
    assert serial_of(facts("B-1", "P-1")) == ("B-1", "baseboard")
    assert serial_of(facts("To be filled by O.E.M.", "P-1")) == ("P-1", "product")
    assert serial_of(facts("Default string", "0000000000")) == ("C-9", "chassis")
    assert serial_of(facts("B\x1b[31m", "P-1")) == ("P-1", "product")
    unread = Facts()
    unread.put(Dmi, Unread("the SMBIOS tables need root", "permission"))
    assert serial_of(unread) == ("", "")


@pytest.mark.parametrize(("text", "says"), [
    ("serial = 7", "serial is no text"), ('serail = "7"', "no field is called 'serail'"), ("risers = 1", "risers is no table"),
    ("serial = ", "Invalid"), ('[risers]\nA = "x"\nB = 2', "B is no text")])
def test_a_mistake_in_an_identity_file_is_one_sentence(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "id.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as told:
        read_identity(str(path), Station())
    assert says in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", [
    "disposition", "verdict", "Verdict", "verdict-string", "verdict_string", "re_sult", "attempt", "attempt-2", "status",
    "profile", "outcome1", "pass", "report-id", "self_signed", "with-waivers"])
def test_no_field_of_ones_own_is_called_like_what_is_found(tmp_path: Path, name: str) -> None:
    path = tmp_path / "station.toml"
    path.write_text(f"[fields.{name}]\nask = false\n")
    with pytest.raises(UsageError) as told:
        read_station(str(path))
    assert "cannot be called" in str(told.value) or "can be called" in str(told.value)


def test_what_was_entered_is_told_as_entered() -> None:
    told = Identity(serial="W-1", serial_from="operator", more={"lot": "PASS: every required check passed"})
    assert ("entered", "lot: PASS: every required check passed") in lines_of(told)


@pytest.mark.parametrize(("text", "says"), [
    ('[fields.serial]\npattern = "("', "pattern is no regular expression"), ("[fields.serial]\nform = 1", "form"),
    ('[other]\na = 1', "other is not known"), ('[fields."A B"]\nask = true', "no field can be called"),
    ('[fields.station]\npattern = "a"\ndefault = "b"', "default is 'b'")])
def test_a_mistake_in_a_station_file_is_one_sentence(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "station.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as told:
        read_station(str(path))
    assert says in str(told.value)


def test_a_file_that_is_none_is_said_and_waits_for_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    for name in ("pipe", "bytes", "absent", "a\0b"):
        with pytest.raises(UsageError):
            read_station(str(tmp_path / name))


def test_risers_on_the_command_line_are_pairs() -> None:
    assert option_pairs(["PCIE3=R3", "PCIE4=a=b"], "--riser") == {"PCIE3": "R3", "PCIE4": "a=b"}
    with pytest.raises(UsageError, match="is no NAME=VALUE"):
        option_pairs(["PCIE3"], "--riser")


def test_the_lines_of_an_identity_leave_out_what_is_empty(station: Station) -> None:
    given = Given(values={"operator": "A", "lot": "7"}, risers={"PCIE3": "R3"})
    found = lines_of(collect(given, station, ("W-0042", "baseboard"), {}, None))
    assert found == [("serial", "W-0042 (baseboard)"), ("operator", "A"), ("station", "bench 3"), ("entered", "lot: 7"),
                     ("risers", "PCIE3 R3")]


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    ours, theirs = pty.openpty()
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


def test_cr_and_lf_of_a_scanner_end_one_line(terminal: tuple[int, int]) -> None:
    ours, theirs = terminal
    out = io.StringIO()
    prompts = Prompts(theirs, out)
    os.write(ours, b"W-0007\r\n")
    assert prompts.ask("serial", "", lambda text: "") == "W-0007"
    os.write(ours, b"first\r\nsecond\n")  # two fields, faster than they are asked for
    assert prompts.ask("operator", "", lambda text: "") == "first"
    assert prompts.ask("station", "bench 3", lambda text: "") == "second"
    os.write(ours, b"\r")
    assert prompts.ask("station", "bench 3", lambda text: "") == "bench 3"
    os.write(ours, b"\xff\rfine\r")
    assert prompts.ask("notes", "", lambda text: "") == "fine"
    assert "it is no UTF-8; once more" in out.getvalue()


def test_the_end_of_the_input_leaves_and_old_keys_start_nothing(terminal: tuple[int, int]) -> None:
    ours, theirs = terminal
    prompts = Prompts(theirs, io.StringIO())
    os.write(ours, b"\x04")
    with pytest.raises(Left):
        prompts.ask("serial", "", lambda text: "")
    os.write(ours, b"\r\n\r\n")  # what a scanner sent too much
    time.sleep(0.1)
    later = threading.Timer(0.4, os.write, (ours, b"q"))
    later.start()
    with pytest.raises(Left):
        prompts.start("enter starts, q leaves ")
    later.join()
    later = threading.Timer(0.2, os.write, (ours, b"x\r"))
    later.start()
    prompts.start("enter starts, q leaves ")
    later.join()

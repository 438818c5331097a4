"""Redaction of SMBIOS tables: secrets planted in every place that may hold one, and none left in the bytes."""

from __future__ import annotations

import hashlib
import hmac
import re
import struct
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from boxcheck.decode.smbios import Smbios, System, decode_smbios, empty_channels, redact_smbios
from boxcheck.decode.smbios_table import iterate_regions
from boxcheck.model import Unread
from tests.boxes import smbios_build as b
from tests.boxes.smbios_build import Structure
from tests.boxes.smbios_machines import MACHINES, romed8_2t


def salted(text: str) -> str:
    """A token as a capture would make it."""
    return "redacted-" + hmac.new(b"salt", text.encode(), hashlib.sha256).hexdigest()[:16]


class Planter:
    """Makes secrets and remembers them."""

    def __init__(self) -> None:
        self.secrets: list[bytes] = []

    def __call__(self, place: str) -> str:
        secret = f"SECRET{len(self.secrets):03d}{place}"
        self.secrets.append(secret.encode())
        return secret

    def left_in(self, raw: bytes) -> list[bytes]:
        return [secret for secret in self.secrets if secret in raw]


def with_orphan(structure: Structure, *texts: str) -> Structure:
    """With strings that no field names."""
    return msgspec.structs.replace(structure, strings=(*structure.strings, *(text.encode() for text in texts)))


UUID = "5ec2e75e-c2e7-4ec2-8ec2-5ec2e75ec2e7"


def planted(plant: Planter) -> list[Structure]:
    """A machine with a secret in every place that can hold one."""
    return [
        with_orphan(b.bios(), plant("bios orphan")),
        with_orphan(b.system(serial=plant("system serial"), uuid=UUID), plant("system orphan")),
        with_orphan(b.baseboard(serial=plant("board serial"), asset=plant("board asset")), plant("board orphan")),
        b.chassis(serial=plant("chassis serial"), asset=plant("chassis asset"), elements=[b"\x83\x01\x02"]),
        b.processor(serial=plant("cpu serial"), asset=plant("cpu asset")),
        b.oem_strings(plant("oem one"), plant("oem two"), f"mac {plant('oem three')}"),
        b.configuration_options(plant("option")),
        b.memory_array(),
        b.memory_device(serial=plant("dimm serial"), asset=plant("dimm asset")),
        with_orphan(b.memory_device(), plant("dimm orphan")),
        # A part number that shares its string with the serial number goes with it.
        Structure(17, b.memory_device().body[: 0x1A - 4] + b"\x04" + b.memory_device().body[0x1B - 4 :],
                  (b"DIMM 0", b"P0 CHANNEL B", b"Samsung", plant("shared").encode(), b"asset", b"part", b"Unknown")),
        b.power_supply(serial=plant("supply serial"), asset=plant("supply asset")),
        # Portable battery: serial number and date as strings, then the serial number in binary.
        b.raw(22, bytes((1, 2, 3, 4, 5, 2)) + struct.pack("<HHBBHHBB", 1, 1, 6, 1, 0x5EC2, 0x5EC2, 7, 1),
              ["rear", "SANYO", plant("battery date"), plant("battery serial"), "DR-36", "1.0", plant("battery x")]),
        b.raw(13, bytes(18), [plant("language")]),
        # Group associations, additional information, host interface, string property, firmware inventory.
        b.raw(14, bytes(4), [plant("group")]),
        b.raw(40, plant("additional").encode(), [plant("additional text")]),
        b.raw(42, plant("host interface").encode(), [plant("host interface text")]),
        b.raw(45, bytes(20), [plant("firmware")]),
        b.raw(46, bytes(5), [plant("property")]),
        b.raw(99, plant("future").encode(), [plant("future text")]),
        b.raw(126, plant("inactive").encode(), [plant("inactive text")]),
        b.raw(128, plant("vendor").encode(), [plant("vendor text"), plant("vendor text")]),
        b.raw(199, plant("vendor").encode(), [plant("vendor text")]),
        b.raw(255, plant("vendor").encode(), [plant("vendor text")]),
        # Known structures that are longer than anybody knows.
        Structure(16, b.memory_array().body + plant("array tail").encode(), ()),
        Structure(1, b.system().body + plant("system tail").encode(), (b"a", b"b", b"c", b"d", b"e", b"f")),
        Structure(41, b.onboard_device().body + plant("chip tail").encode(), (b"ASPEED",)),
        b.raw(127, b"", [plant("end of table")]),
    ]


def test_no_secret_is_left() -> None:
    plant = Planter()
    members = planted(plant)
    trailer = plant("trailer").encode()
    dmi = b.table(members, end=False)[0] + b"\0\0\0\0" + trailer
    assert len(plant.left_in(dmi)) == len(plant.secrets) >= 40
    redacted = redact_smbios(dmi, salted)
    assert plant.left_in(redacted) == []
    assert b"SECRET" not in redacted
    for order in (bytes.fromhex(UUID.replace("-", "")), b.system(uuid=UUID).body[4:20]):
        assert order not in redacted
    assert b"\xc2\x5e" not in redacted
    assert len(redacted) == len(dmi)
    assert framing(redacted) == framing(dmi)


def framing(dmi: bytes) -> list[tuple[object, ...]]:
    return [(None, start, end) if each is None else (each.type, each.handle, len(each.body), start, end)
            for each, start, end in iterate_regions(dmi)]


def test_named_secrets_anywhere() -> None:
    """Host and user names may stand in any string, in any case."""
    members = [
        b.bios(version="built by jane"), b.system(product="JANE-BOX"), b.slot("GPU of Jane"),
        b.onboard_device("tinyrig42"), b.memory_device("DIMM_JANE_A1"), b.baseboard(),
        b.raw(8, bytes((1, 0, 2, 0, 0)), ["J1", "usb@TinyRig42"]),
    ]
    dmi, entry_point = b.table(members)
    redacted = redact_smbios(dmi, salted, ["jane", "tinyrig42", "", "  "])
    assert b"jane" not in redacted.lower()
    assert b"tinyrig42" not in redacted.lower()
    board = decode_smbios(redacted, entry_point).baseboard
    assert not isinstance(board, Unread)
    assert board.product == "ROMED8-2T"


def test_secret_in_a_formatted_area() -> None:
    body = bytearray(b.memory_array().body)
    body[11:19] = b"jane-box"
    redacted = redact_smbios(b.table([Structure(16, bytes(body))])[0], salted, ["jane-box"])
    assert b"jane-box" not in redacted


@pytest.mark.parametrize("callback", [
    lambda text: text, lambda text: text.upper(), lambda text: "", lambda text: "\0\n", lambda text: "Köln",
    lambda text: "x" * 5000, lambda text: "\x1b[31m",
])
def test_bad_callbacks(callback: Callable[[str], str]) -> None:
    """Whatever the callback gives, the framing holds, and a listed secret goes."""
    plant = Planter()
    dmi, entry_point = b.table([*planted(plant), b.system(serial="jane-4711")], end=False)
    redacted = redact_smbios(dmi, callback, ["jane-4711"])
    assert len(redacted) == len(dmi)
    assert framing(redacted) == framing(dmi)
    assert b"jane-4711" not in redacted.lower()
    assert decode_smbios(redacted, entry_point).truncated is None


@pytest.mark.parametrize("name", MACHINES)
def test_facts_stay(name: str) -> None:
    """All that is not private decodes as before, and what was a placeholder still is one."""
    dmi, entry_point = MACHINES[name]()
    before, after = decode_smbios(dmi, entry_point), decode_smbios(redact_smbios(dmi, salted), entry_point)
    assert without_private(after) == without_private(before)
    assert empty_channels(after) == empty_channels(before)
    assert isinstance(before.system, System)
    assert isinstance(after.system, System)
    assert before.system.uuid != after.system.uuid
    assert isinstance(after.system.uuid, str)


def without_private(smbios: Smbios) -> Smbios:
    def bare(value: Any) -> Any:
        names = {"serial", "asset", "uuid"} & set(getattr(value, "__struct_fields__", ()))
        return msgspec.structs.replace(value, **dict.fromkeys(names)) if isinstance(value, msgspec.Struct) else value

    parts: dict[str, Any] = {name: getattr(smbios, name) for name in smbios.__struct_fields__}
    bared: dict[str, Any] = {name: tuple(bare(each) for each in part) if isinstance(part, tuple) else bare(part)
                             for name, part in parts.items()}
    return Smbios(**bared)


def test_tokens_are_stable_and_distinct() -> None:
    """Equal serial numbers stay equal, and different ones different, also when a token does not fit whole."""
    serials = ["4A8A31F0", "4B8A31F1", "4A8A31F0", "S1", "a serial number longer than any token is"]
    dmi, entry_point = b.table([b.memory_device(serial=serial) for serial in serials])
    new = [device.serial or "" for device in decode_smbios(redact_smbios(dmi, salted), entry_point).memory_devices]
    assert new[0] == new[2] != new[1]
    assert [len(each) for each in new] == [len(each) for each in serials]
    assert not set(new) & set(serials)
    assert new[0] == salted("4A8A31F0")[-8:]


def test_padding_and_placeholders_stay() -> None:
    asked: list[str] = []

    def note(text: str) -> str:
        asked.append(text)
        return "t"

    dmi, entry_point = b.table([
        b.system(serial="To Be Filled By O.E.M.", uuid=None), b.baseboard(serial=b"  M80-1  ", asset=" "),
        b.memory_device(serial="00000000", asset="Not Specified", part="part"),
        b.power_supply(serial="N/A", asset="   ")])
    after = decode_smbios(redact_smbios(dmi, note), entry_point)
    assert asked == ["M80-1"]
    assert isinstance(after.system, System)
    assert after.system.serial == "To Be Filled By O.E.M."
    assert isinstance(after.system.uuid, Unread)
    assert b"  ttttt  " in redact_smbios(dmi, note)
    assert after.memory_devices[0].serial == "00000000"


def test_uuid_token_is_taken_as_it_is() -> None:
    """So that the table and /sys/class/dmi/id/product_uuid of a redacted capture agree."""
    token = "00112233-4455-6677-8899-aabbccddeeff"
    seen: list[str] = []

    def replace(text: str) -> str:
        seen.append(text)
        return token

    dmi, entry_point = b.table([b.system(uuid=UUID, serial=None)])
    after = decode_smbios(redact_smbios(dmi, replace), entry_point).system
    assert isinstance(after, System)
    assert after.uuid == token
    assert seen[-1] == UUID


def test_uuid_is_stable() -> None:
    dmi, entry_point = romed8_2t()
    first, second = (decode_smbios(redact_smbios(dmi, salted), entry_point).system for _ in range(2))
    assert isinstance(first, System)
    assert first == second
    assert re.fullmatch(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", str(first.uuid))


@pytest.mark.parametrize("cut", [1, 5, 40, 90, 200, 333, 700])
def test_broken_tables(cut: int) -> None:
    """A cut table keeps the reason why it is incomplete, and no secret hides in the part that cannot be decoded."""
    plant = Planter()
    whole, entry_point = b.table(planted(plant), end=False)
    dmi = whole[:-cut]
    redacted = redact_smbios(dmi, salted)
    assert b"SECRET" not in redacted
    assert len(redacted) == len(dmi)
    assert decode_smbios(redacted, entry_point).truncated == decode_smbios(dmi, entry_point).truncated


def test_more_strings_than_can_be_named() -> None:
    dmi = b.table([b.raw(0, bytes((1, 2, 0, 0, 3)), ["v", "1", "d", *(f"SECRET{number}" for number in range(400))])])[0]
    redacted = redact_smbios(dmi, salted)
    assert b"SECRET" not in redacted
    assert framing(redacted) == framing(dmi)


def test_empty() -> None:
    assert redact_smbios(b"", salted) == b""

"""Hex dumps as people paste them, and configuration space with its serial number taken out."""

from __future__ import annotations

import pytest

from boxcheck.decode.pci_config import ConfigSpace, decode_config, parse_hex_dump, redact_config

from .pci_builder import ROOT_PORT, ConfigBuilder, dwords, hex_dump, root_port
from .pci_zoo import switch_tree

ROWS = "00: 22 10 83 14 06 00 10 00 01 00 04 06 00 00 81 00\n10: 00 00 00 00 00 00 00 00 40 41 43 00 f1 01 00 00\n"


def test_what_lspci_prints_comes_back() -> None:
    spaces = switch_tree(5)
    assert parse_hex_dump(hex_dump(spaces)) == spaces


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("40:01.1", "0000:40:01.1"),
        ("0000:40:01.1", "0000:40:01.1"),
        ("10000:e1:00.0", "10000:e1:00.0"),
        ("0000:C1:1F.7", "0000:c1:1f.7"),
    ],
)
def test_addresses_with_and_without_domain(address: str, expected: str) -> None:
    assert list(parse_hex_dump(f"{address} PCI bridge: Something\n{ROWS}")) == [expected]


@pytest.mark.parametrize("address", ["40:01.8", "40:20.0", "4:01.0", "40:01", "40-01.0", "", "zz:01.0", "123:40:01.0"])
def test_rows_without_an_address_belong_to_nobody(address: str) -> None:
    assert parse_hex_dump(f"{address} PCI bridge\n{ROWS}") == {}


def test_verbose_text_and_quotes_stand_between() -> None:
    text = "Hello,\n> 40:01.1 PCI bridge: x\n> \tControl: I/O+ Mem+\n> \tCapabilities: [40] Express\n"
    text += "".join(f"> {row}\r\n" for row in ROWS.splitlines()) + "\n-- \nregards\n"
    data = parse_hex_dump(text)["0000:40:01.1"]
    assert len(data) == 32
    assert data[:2] == b"\x22\x10"


@pytest.mark.parametrize(
    ("rows", "size"),
    [
        (ROWS, 32),
        (ROWS + "30: " + "00 " * 16, 32),  # row 20 is missing
        (ROWS + "20: 01 02 03", 35),  # cut off
        (ROWS + "20: 01 02 03\n30: " + "00 " * 16, 35),
        (ROWS + "20: 01 02 0x 04", 34),
        (ROWS + ROWS, 32),
        (ROWS + "20: " + "00 " * 17, 48),
        ("10: " + "00 " * 16, 0),
        ("00:", 0),
        ("00: not a dump", 0),
    ],
)
def test_a_dump_ends_at_its_first_gap(rows: str, size: int) -> None:
    found = parse_hex_dump(f"40:01.1 x\n{rows}\n")
    assert len(found.get("0000:40:01.1", b"")) == size


def test_of_two_dumps_of_a_function_the_last_counts() -> None:
    text = f"40:01.1 x\n{ROWS}\n40:01.1 x\n" + ROWS.replace("22 10", "de 10")
    assert parse_hex_dump(text)["0000:40:01.1"][:1] == b"\xde"


def test_no_more_than_4096_bytes() -> None:
    rows = "\n".join(f"{offset:02x}: " + " ".join(["00"] * 16) for offset in range(0, 8192, 16))
    assert len(parse_hex_dump(f"40:01.1 x\n{rows}")["0000:40:01.1"]) == 4096


# ---- redaction ----

TOKEN = b"0123456789abcdef"


def serial_at(data: bytes) -> int:
    space = decode_config(data)
    assert isinstance(space, ConfigSpace)
    assert isinstance(space.extended, tuple)
    return next(offset for capability, _, offset in space.extended if capability == 0x0003) + 4


def test_the_serial_number_goes_and_nothing_else_changes() -> None:
    data = root_port().bytes()
    redacted = redact_config(data, TOKEN)
    at = serial_at(data)
    assert redacted[at : at + 8] != data[at : at + 8]
    assert redacted[:at] + redacted[at + 8 :] == data[:at] + data[at + 8 :]


def test_one_token_keeps_equal_numbers_equal_and_others_apart() -> None:
    one, two = root_port(), root_port()
    two.u8(0x0A, 0x80)
    other = root_port()
    other.u8(serial_at(one.bytes()), 0)
    at = serial_at(one.bytes())
    serials = [redact_config(port.bytes(), TOKEN)[at : at + 8] for port in (one, two, other)]
    assert serials[0] == serials[1] != serials[2]
    assert redact_config(one.bytes(), b"another")[at : at + 8] != serials[0]


@pytest.mark.parametrize("token", [b"", b"x", b"x" * 1000])
def test_any_token_will_do(token: bytes) -> None:
    assert redact_config(root_port().bytes(), token) != root_port().bytes()


def test_every_serial_number_goes_even_from_broken_chains() -> None:
    port = ConfigBuilder()  # no PCI Express capability: nothing says that there is an extended space
    first = port.ext(0x0003, dwords(0x1111_1111, 0x1111_1111))
    second = port.ext(0x0003, dwords(0x2222_2222, 0x2222_2222))
    port.u32(second, 0x0003 | 1 << 16 | first << 20)
    redacted = redact_config(port.bytes(), TOKEN)
    assert b"\x11" * 8 not in redacted
    assert b"\x22" * 8 not in redacted


def test_a_serial_number_cut_off_by_the_end_goes_as_far_as_it_is_there() -> None:
    port = ConfigBuilder()
    port.express(ROOT_PORT)
    port.ext(0x0003, dwords(0x1111_1111, 0x1111_1111))
    cut = port.bytes()[: 0x100 + 4 + 5]
    redacted = redact_config(cut, TOKEN)
    assert len(redacted) == len(cut)
    assert b"\x11" * 5 not in redacted


@pytest.mark.parametrize("size", [0, 64, 256])
def test_short_reads_hold_no_serial_number(size: int) -> None:
    data = root_port().bytes()[:size]
    assert redact_config(data, TOKEN) == data

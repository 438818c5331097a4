"""Memory by channel, from the spellings of board vendors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from boxcheck.decode.smbios import ChannelKey, Smbios, channel_of, decode_smbios, empty_channels, memory_channels
from boxcheck.model import Unread
from tests.boxes import smbios_build as b
from tests.boxes.smbios_machines import Tables, as_4124gs_tnr, esc4000a_e10, framework_desktop, romed8_2t


def board(names: Sequence[tuple[str, str | None]], sockets: int = 1, empty: Sequence[int] = ()) -> Smbios:
    members = [b.processor(f"CPU{number}") for number in range(sockets)]
    members.append(b.memory_array(devices=len(names)))
    members += [b.empty_memory_device(*pair) if number in empty else b.memory_device(*pair)
                for number, pair in enumerate(names)]
    return decode_smbios(*b.table(members))


def keys(smbios: Smbios) -> list[tuple[int, str] | None]:
    return [None if key is None else (key.socket, key.channel)
            for key in (channel_of(device, smbios) for device in smbios.memory_devices)]


@pytest.mark.parametrize(("locator", "bank", "key"), [
    ("DIMM_A1", "NODE 1", (0, "A")),
    ("DIMM_H2", "NODE 1", (0, "H")),
    ("DIMMA1", "P0_Node0_Channel0_Dimm0", (0, "A")),
    ("DIMM 0", "P0 CHANNEL A", (0, "A")),
    ("DIMM 1", "P0 CHANNEL L", (0, "L")),
    ("DIMM 0", "P1 CHANNEL B", (1, "B")),
    ("P0 CHANNEL A", "DIMM 0", (0, "A")),
    ("P0_Node0_Channel0_Dimm0", "Unknown", (0, "0")),
    ("DIMM 0", "P0_Node0_Channel7_Dimm1", (0, "7")),
    ("DIMM 0", "P1_Node2_Channel1_Dimm0", (1, "2.1")),
    ("CPU1_DIMM_A1", "NODE 1", (0, "A")),
    ("CPU0_DIMM_C1", None, (0, "C")),
    ("DIMM_P0_A0", "BANK 0", (0, "A")),
    ("P1-DIMMA1", "Unknown", (0, "A")),
    ("Controller0-ChannelA-DIMM0", "BANK 0", (0, "0A")),
    ("Controller1-ChannelB-DIMM1", "BANK 3", (0, "1B")),
    ("ChannelA-DIMM0", "BANK 0", (0, "A")),
    # Not known: Dell's letter is the processor, the others name no channel at all.
    ("A1", "Not Specified", None),
    ("B12", "Not Specified", None),
    ("DIMM 0", "BANK 0", None),
    ("DIMM1", "BANK 1", None),
    ("PROC 1 DIMM 1", "Not Specified", None),
    ("RAM slot #0", "RAM slot #0", None),
    ("A1_DIMM0", "A1_BANK0", None),
    ("Unknown", "Unknown", None),
    ("To Be Filled By O.E.M.", None, None),
    ("DIMM_A1\x1b[0m; rm", "P0 CHANNEL AA", None),
])
def test_spelling(locator: str, bank: str | None, key: tuple[int, str] | None) -> None:
    assert keys(board([(locator, bank)])) == [key]


def test_sockets_that_count_from_one() -> None:
    names = [(f"CPU{cpu}_DIMM_{channel}1", "NODE") for cpu in (1, 2) for channel in "AB"]
    assert keys(board(names, sockets=2)) == [(0, "A"), (0, "B"), (1, "A"), (1, "B")]


def test_sockets_that_count_from_zero() -> None:
    names = [(f"CPU{cpu}_DIMM_{channel}1", "NODE") for cpu in (0, 1) for channel in "AB"]
    assert keys(board(names, sockets=2)) == [(0, "A"), (0, "B"), (1, "A"), (1, "B")]


def test_bank_tells_the_socket_and_locator_the_channel() -> None:
    smbios = decode_smbios(*as_4124gs_tnr(populated="ABCDEFG"))
    groups = memory_channels(smbios)
    assert list(groups) == [ChannelKey(cpu, channel) for cpu in (0, 1) for channel in "ABCDEFGH"]
    assert all(len(members) == 2 for members in groups.values())
    assert empty_channels(smbios) == (ChannelKey(0, "H"), ChannelKey(1, "H"))


def test_letters_alone_with_two_processors() -> None:
    """Which processor has `DIMM_A1`? Nobody says, so nobody knows."""
    names = [("DIMM_A1", "NODE 1"), ("DIMM_B1", "NODE 1")]
    assert keys(board(names, sockets=2)) == [None, None]
    assert isinstance(empty_channels(board(names, sockets=2)), Unread)


@pytest.mark.parametrize("tables", [romed8_2t, esc4000a_e10])
@pytest.mark.parametrize(("populated", "empty"), [
    ("ABCDEFGH", ()), ("ABDEFGH", ("C",)), ("CDGH", ("A", "B", "E", "F")),
])
def test_empty_channels(tables: Callable[..., Tables], populated: str, empty: tuple[str, ...]) -> None:
    smbios = decode_smbios(*tables(populated=populated))
    assert empty_channels(smbios) == tuple(ChannelKey(0, channel) for channel in empty)


def test_soldered_memory() -> None:
    smbios = decode_smbios(*framework_desktop())
    assert len(memory_channels(smbios)) == 8
    assert empty_channels(smbios) == ()


def test_one_filled_socket_fills_its_channel() -> None:
    names = [("DIMM_A1", None), ("DIMM_A2", None), ("DIMM_B1", None), ("DIMM_B2", None)]
    assert empty_channels(board(names, empty=(0, 2))) == ()
    assert empty_channels(board(names, empty=(0, 2, 3))) == (ChannelKey(0, "B"),)


def test_one_unknown_spelling_spoils_the_answer() -> None:
    answer = empty_channels(board([("DIMM_A1", None), ("slot of glory", None)], empty=(1,)))
    assert isinstance(answer, Unread)
    assert "'slot of glory'" in answer.why
    assert "1 of 2 sockets" in answer.why


def test_unknown_size_spoils_an_empty_channel_only() -> None:
    array = b.memory_array(devices=2)
    sure = b.memory_device("DIMM_A1", None)
    unsure = b.memory_device("DIMM_B1", None, size_bytes=None)
    assert isinstance(empty_channels(decode_smbios(*b.table([array, sure, unsure]))), Unread)
    both = b.memory_device("DIMM_B2", None)
    assert empty_channels(decode_smbios(*b.table([array, sure, unsure, both]))) == ()


def test_incomplete_table() -> None:
    dmi, entry_point = romed8_2t(populated="ABDEFGH")
    answer = empty_channels(decode_smbios(dmi[:-20], entry_point))
    assert isinstance(answer, Unread)
    assert "incomplete" in answer.why


def test_no_memory_at_all() -> None:
    answer = empty_channels(decode_smbios(*b.table([b.bios()])))
    assert isinstance(answer, Unread)
    assert answer.kind == "absent"


def test_as_said() -> None:
    assert str(ChannelKey(0, "C")) == "channel C of socket 0"

"""Hostile tables: nothing raises, nothing hangs, nothing that was cut off passes for a whole table.

    BOXCHECK_FUZZ_EXAMPLES=100000 python -m pytest tests/decode/test_smbios_fuzz.py

runs each test over that many inputs, which takes some minutes.
"""

from __future__ import annotations

import os
import unicodedata
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from boxcheck.decode.smbios import Smbios, decode_smbios, empty_channels, memory_channels, redact_smbios
from boxcheck.decode.smbios_table import iterate_regions
from boxcheck.model import Unread
from tests.boxes import smbios_build as b
from tests.boxes.smbios_machines import MACHINES

fuzz = settings(max_examples=int(os.environ.get("BOXCHECK_FUZZ_EXAMPLES", "150")), deadline=None,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])

BOARDS = [machine() for machine in MACHINES.values()] + [
    b.table([b.bios(), b.system(), b.slot(base_lanes=16, peers=[("0000:42:00.0", 8)], generation=4), b.ipmi(),
             b.power_supply(), b.chassis(elements=[b"abc"]), b.oem_strings("one", "two")], (2, 8, 0)),
]


@st.composite
def structures(draw: st.DrawFn) -> bytes:
    """Structures that are plausible in their framing and arbitrary in all else."""
    kinds = st.sampled_from((0, 1, 2, 3, 4, 9, 16, 17, 38, 39, 41, 11, 22, 127, 200))
    parts = []
    for _ in range(draw(st.integers(0, 6))):
        kind = draw(st.one_of(kinds, st.integers(0, 255)))
        body = draw(st.binary(max_size=110))
        texts = draw(st.lists(st.binary(min_size=1, max_size=12).filter(lambda text: b"\0" not in text), max_size=8))
        parts.append(b.Structure(kind, body, tuple(texts)).packed(draw(st.integers(0, 0xFFFF))))
    return b"".join(parts) + draw(st.binary(max_size=12))


@st.composite
def mutated(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A real board's table with bytes changed, cut out, put in or cut off, in table and entry point."""
    dmi, entry_point = draw(st.sampled_from(BOARDS))
    raw = bytearray(dmi)
    for _ in range(draw(st.integers(1, 8))):
        at = draw(st.integers(0, len(raw)))
        match draw(st.integers(0, 3)):
            case 0:
                raw[at : at + 1] = bytes((draw(st.sampled_from((0, 1, 4, 0x7F, 0x80, 0xFF))),))
            case 1:
                del raw[at : at + draw(st.integers(1, 40))]
            case 2:
                raw[at:at] = draw(st.binary(max_size=20))
            case _:
                raw[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
    if draw(st.booleans()):
        del raw[draw(st.integers(0, len(raw))) :]
    entry = bytearray(entry_point)
    for _ in range(draw(st.integers(0, 3))):
        entry[draw(st.integers(0, len(entry) - 1))] = draw(st.integers(0, 255))
    return bytes(raw), bytes(entry[: draw(st.integers(0, len(entry)))] if draw(st.booleans()) else entry)


def strings_of(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, tuple):
        return [text for each in value for text in strings_of(each)]
    if isinstance(value, msgspec.Struct):
        return [text for name in value.__struct_fields__ for text in strings_of(getattr(value, name))]
    return []


def examine(dmi: bytes, entry_point: bytes | None) -> Smbios:
    """Everything that is promised for any input."""
    ours = decode_smbios(dmi, entry_point)
    msgspec.json.encode(ours)
    for text in strings_of(ours):
        assert len(text) <= 600
        assert not {unicodedata.category(char) for char in text} & {"Cc", "Cs", "Zl", "Zp"}
    total = ours.installed_memory_bytes
    assert isinstance(total, Unread) or (total > 0 and ours.truncated is None)
    placed = memory_channels(ours)
    assert sum(map(len, placed.values())) == len(ours.system_memory_devices)
    empty = empty_channels(ours)
    assert isinstance(empty, Unread) or (ours.truncated is None and None not in placed)
    assert isinstance(ours.baseboard, Unread) == (not ours.baseboards)
    redacted = redact_smbios(dmi, lambda text: f"token-{len(text)}", ["jane"])
    assert len(redacted) == len(dmi)
    again = decode_smbios(redacted, entry_point)
    assert again.truncated == ours.truncated
    assert framing(redacted) == framing(dmi)
    return ours


def framing(dmi: bytes) -> list[tuple[object, ...]]:
    return [(start, end) if each is None else (each.type, each.handle, len(each.body), start, end)
            for each, start, end in iterate_regions(dmi)]


@fuzz
@given(st.binary(max_size=400), st.one_of(st.none(), st.binary(max_size=40)))
def test_arbitrary_bytes(dmi: bytes, entry_point: bytes | None) -> None:
    examine(dmi, entry_point)


@fuzz
@given(structures(), st.sampled_from((None, b.entry_point_3(4096), b.entry_point_2(300, 5), b.entry_point_2(0, 0))))
def test_arbitrary_structures(dmi: bytes, entry_point: bytes | None) -> None:
    examine(dmi, entry_point)


@fuzz
@given(mutated())
def test_mutated_boards(tables: tuple[bytes, bytes]) -> None:
    examine(*tables)


@fuzz
@given(st.sampled_from(BOARDS), st.data())
def test_cut_boards(tables: tuple[bytes, bytes], data: st.DataObject) -> None:
    """A table that lost its end says so, wherever the cut is."""
    dmi, entry_point = tables
    cut = data.draw(st.integers(0, len(dmi) - 3))
    assert examine(dmi[:cut], entry_point).truncated is not None
    assert examine(dmi[:cut], None).truncated is not None

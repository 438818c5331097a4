"""Bytes that no hardware sends: the decoder returns a value for all of them.

`BOXCHECK_FUZZ_EXAMPLES=100000 pytest tests/decode/test_pci_config_fuzz.py` runs each property that many times
(default 200).
"""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from boxcheck.decode.pci_config import decode_config, parse_hex_dump, redact_config
from boxcheck.decode.pci_walk import walk_extended
from boxcheck.model import Unread

from .pci_builder import hex_dump
from .pci_zoo import random_functions, switch_tree

FIXTURES = Path(__file__).parents[3] / "shared" / "fixtures" / "pciutils"

fuzz = settings(
    max_examples=int(os.environ.get("BOXCHECK_FUZZ_EXAMPLES", "200")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def _seeds() -> list[bytes]:
    """Made-up functions, and recorded ones where they are at hand."""
    spaces = [*switch_tree(5).values(), *random_functions(Random(7), 22).values()]
    if FIXTURES.is_dir():
        for path in sorted(FIXTURES.iterdir()):
            spaces.extend(parse_hex_dump(path.read_text(errors="replace")).values())
    return spaces


SEEDS = _seeds()
_SEED = st.integers(0, len(SEEDS) - 1)  # the number, not the bytes: a failure then prints one line and not 4096 bytes

# Places where a changed byte changes the shape of what is decoded: status, header type, pointers, ids and headers.
_PLACES = st.one_of(
    st.sampled_from((0x06, 0x0E, 0x14, 0x34)), st.integers(0x40, 0xFF), st.integers(0x100, 0x2FF), st.integers(0, 4095)
)
_BYTES = st.one_of(st.sampled_from((0x00, 0x10, 0x40, 0xFF)), st.integers(0, 255))
_EDITS = st.lists(st.tuples(_PLACES, _BYTES), max_size=24)


def check(data: bytes) -> None:
    space = decode_config(data)
    if isinstance(space, Unread):
        assert len(data) < 64
        return
    assert space.size == min(len(data), 4096)
    msgspec.json.encode(space)
    if isinstance(space.capabilities, tuple):
        assert len(space.capabilities) <= 48
        # The list was read to its end: a capability is in it and decoded (or cut off), or it is not there.
        listed = {capability for capability, _ in space.capabilities}
        assert (0x10 in listed) == (space.express is not None)
        assert (0x01 in listed) == (space.power is not None)
        assert space.vpd is (0x03 in listed)
    if isinstance(space.extended, tuple):
        assert len(space.extended) <= 960
        listed = {capability for capability, _, _ in space.extended}
        for capability, name in ((0x01, "aer"), (0x0D, "acs"), (0x1D, "dpc"), (0x19, "secondary"), (0x15, "rebar")):
            assert (capability in listed) == (getattr(space, name) is not None)
    else:
        assert space.aer is not None  # never "absent" where the list was not read to its end
    check_redaction(data)


def check_redaction(data: bytes) -> None:
    """Only the eight bytes of a serial number may change, wherever a chain of any shape leads to one."""
    redacted = redact_config(data, b"token")
    assert len(redacted) == len(data)
    serials = [offset for capability, _, offset in walk_extended(data)[0] if capability == 0x0003]
    before, after = bytearray(data), bytearray(redacted)
    for offset in serials:
        before[offset + 4 : offset + 12] = after[offset + 4 : offset + 12]
    assert before == after
    assert (redacted == data) or serials


@fuzz
@given(st.binary(max_size=320))
def test_arbitrary_bytes(data: bytes) -> None:
    check(data)


@fuzz
@given(st.randoms(use_true_random=False), st.integers(0, 4200))
def test_arbitrary_bytes_of_any_length(random: Random, size: int) -> None:
    check(random.randbytes(size))


@fuzz
@given(_SEED, _EDITS, st.one_of(st.none(), st.integers(0, 4096)))
def test_mutated_functions(seed: int, edits: list[tuple[int, int]], size: int | None) -> None:
    data = bytearray(SEEDS[seed])
    for offset, value in edits:
        if offset < len(data):
            data[offset] = value
    check(bytes(data[:size]))


@fuzz
@given(st.text(alphabet=st.sampled_from("0123456789abcdef:. \n>xX\t"), max_size=400))
def test_arbitrary_text_as_a_dump(text: str) -> None:
    for address, data in parse_hex_dump(text).items():
        assert address.count(":") == 2
        assert 0 < len(data) <= 4096


@fuzz
@given(_SEED, st.lists(st.tuples(st.integers(0, 300), st.text(max_size=8)), max_size=6))
def test_damaged_dumps(seed: int, edits: list[tuple[int, str]]) -> None:
    text = hex_dump({"0000:01:00.0": SEEDS[seed]})
    for position, inserted in edits:
        text = text[:position] + inserted + text[position:]
    for data in parse_hex_dump(text).values():
        check(data)

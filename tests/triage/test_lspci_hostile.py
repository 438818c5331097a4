"""Text that no lspci prints: the reader returns, in time that grows with the text, and what it returns is bounded.

`BOXCHECK_FUZZ_EXAMPLES=100000 pytest tests/triage/test_lspci_hostile.py` runs each property that many times.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from boxcheck.decode.lspci import MAX_FUNCTIONS, parse
from boxcheck.triage.evidence import Evidence, Section
from boxcheck.triage.tools import lspci

from .lspci_text import acs, aer, bridge, dpc, lane_errors, nvidia, nvme, rdna_card, slot_lines

fuzz = settings(
    max_examples=int(os.environ.get("BOXCHECK_FUZZ_EXAMPLES", "100")), deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])

LINES = "\n".join((
    bridge("40:01.1", 0x41, slot=slot_lines(3), extra=(aer(root=True), acs(), dpc(), lane_errors("3"))),
    nvidia("41:00.0", extra=(aer(ce="BadTLP"),)), rdna_card(0x61, "60:01.1"), nvme("04:00.0"),
    "-[0000:40]-+-00.0  Host", "           \\-01.1-[41]----00.0  Card",
    "Slot:\t41:00.0", "Class:\t0300", "Vendor:\t10de", "Device:\t2684", "Rev:\tff",
    '41:00.0 "0300" "10de" "2684" -ra1 -p00 "1458" "40bf"',
    "00: de 10 84 26 07 05 10 00 a1 00 00 03 10 00 80 00", "10: " + "ff " * 16,
    "pcilib: Cannot open /sys/bus/pci", "IOMMU Group 4:", "\t!!! Unknown header type 7f",
    "\tCapabilities: <access denied>",
)).splitlines()


def read(lines: list[str]) -> Evidence:
    evidence = lspci.read(Section(variant="lspci", lines=tuple(lines), first_line=1))
    msgspec.json.encode(evidence)
    for line in lines[:200]:
        lspci.begins(line)
        for variant in ("lspci", lspci.TREE, lspci.VMM):
            lspci.belongs(variant, line)
    return evidence


_MARKS = st.sampled_from(("x", "0", "99999999999999999999", "-", "+", "ff", "[", "]", "<", ":", ".", "NaN", "\t", "é", "\u2028", ""))


@fuzz
@given(st.lists(st.tuples(st.integers(0, len(LINES) - 1), st.integers(0, 200), st.integers(0, 8), _MARKS), max_size=60))
def test_fuzz_mutated_lines(edits: list[tuple[int, int, int, str]]) -> None:
    lines = list(LINES)
    for number, at, length, mark in edits:
        line = lines[number]
        place = at % (len(line) + 1)
        lines[number] = line[:place] + mark + line[place + length:]
    read(lines)


@fuzz
@given(st.lists(st.integers(0, len(LINES) - 1), max_size=80))
def test_fuzz_lines_in_any_order(order: list[int]) -> None:
    read([LINES[number] for number in order])


@fuzz
@given(st.lists(st.text(max_size=200), max_size=30))
def test_fuzz_any_text(lines: list[str]) -> None:
    read(lines)


@fuzz
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 255), st.integers(0, 255), st.integers(0, 255)), max_size=60))
def test_fuzz_bridges_in_loops(bridges: list[tuple[int, int, int, int]]) -> None:
    """Bus numbers that lead in circles."""
    lines: list[str] = []
    for device, bus, secondary, last in bridges:
        lines.append(f"{bus:02x}:{device:02x}.0 PCI bridge [0604]: AMD [1022:1483]")
        lines.append(f"\tBus: primary={bus:02x}, secondary={secondary:02x}, subordinate={last:02x}, sec-latency=0")
        lines.append(f"{secondary:02x}:00.0 VGA compatible controller [0300]: NVIDIA Corporation [10de:2684]")
    read(lines)


def _seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


SHAPES: dict[str, Callable[[int], list[str]]] = {
    "one line of flags": lambda n: ["41:00.0 3D controller: X", "\t\tUESta:\t" + "DLP+ " * n],
    "one line of dashes": lambda n: ["41:00.0 3D controller: X", "\t\tUESta:\t" + "-" * n],
    "one line of words": lambda n: ["41:00.0 3D controller: " + "word " * n],
    "one line of brackets": lambda n: ["41:00.0 3D controller: " + "[" * n, "Capabilities: [" * n],
    "one tree line": lambda n: ["-[0000:00]-" + "+-00.0-[01]-" * n],
    "many tree lines": lambda n: ["-[0000:00]-+-00.0"] + ["           +-01.0-[01]----00.0"] * n,
    "a register that goes on": lambda n: ["41:00.0 3D controller: X", "\t\tLnkSta:\tSpeed 8GT/s"] + ["\t\t\tDLActive+"] * n,
    "a register many times": lambda n: ["\t\tLnkSta:\tSpeed 8GT/s, Width x8"] * n,
    "capabilities without end": lambda n: ["41:00.0 3D controller: X"] + ["\tCapabilities: [100 v1] Advanced Error Reporting"] * n,
    "rows of bytes": lambda n: ["41:00.0 3D controller: X"] + [f"{(k % 256) * 16:02x}: " + "00 " * 15 + "00" for k in range(n)],
    "GPUs": lambda n: [f"{k >> 16 & 0xffff:04x}:{k >> 8 & 0xff:02x}:{k >> 3 & 0x1f:02x}.{k & 7} VGA compatible controller [0300]: "
                       "NVIDIA Corporation AD102 [10de:2684] (rev ff)" for k in range(n)],
    "one GPU again and again": lambda n: ["41:00.0 VGA compatible controller [0300]: NVIDIA Corporation AD102 [10de:2684]",
                                          "\t\tLnkSta:\tSpeed 8GT/s, Width x8"] * n,
}


@pytest.mark.parametrize("shape", SHAPES, ids=lambda name: name.replace(" ", "-"))
def test_time_grows_with_the_text_and_no_faster(shape: str) -> None:
    """Sixteen times the text takes at most 50 times as long; quadratic would be 256 times."""
    small, large = SHAPES[shape](1_000), SHAPES[shape](16_000)
    read(small)
    base = max(min(_seconds(lambda: read(small)) for _ in range(3)), 0.002)
    # The machine may be busy with something else: the best of a few counts, and the first that is quick enough is enough.
    taken = next((seconds for _ in range(4) if (seconds := _seconds(lambda: read(large))) < 50 * base), 50 * base)
    assert taken < 50 * base, f"{taken:.3f} s against {base:.4f} s"


def test_a_million_functions_are_bounded() -> None:
    lines = [f"{k >> 16:04x}:{k >> 8 & 0xff:02x}:{k >> 3 & 0x1f:02x}.{k & 7} 3D controller: X" for k in range(MAX_FUNCTIONS + 5000)]
    dump = parse(lines)
    assert dump.truncated
    assert len(dump.functions) == MAX_FUNCTIONS
    evidence = lspci.read(Section(variant="lspci", lines=tuple(lines), first_line=1))
    assert any("absence proves nothing" in note for note in evidence.notes)


def test_a_megabyte_line_is_looked_at_no_further_than_its_start() -> None:
    line = "41:00.0 3D controller: " + "x" * (1 << 20)
    (function,) = parse([line]).functions
    assert function.name is not None
    assert len(function.name) <= 256


def test_numbers_of_any_size() -> None:
    digits = "9" * 400
    lines = [
        "41:00.0 VGA compatible controller [0300]: NVIDIA Corporation AD102 [10de:2684] (rev a1)",
        f"\tNUMA node: {digits}", f"\tIOMMU group: {digits}", f"\tRegion 1: Memory at f000 (64-bit, prefetchable) [size={digits}G]",
        f"\t\tLnkCap:\tPort #{digits}, Speed {digits}GT/s, Width x{digits}", f"\t\tLnkSta:\tSpeed -{digits}GT/s, Width x-1",
        f"\t\tSltCap:\tSlot #{digits}, PowerLimit {digits}W", f"\t\tBAR 1: current size: {digits}MB, supported: {digits}GB",
    ]
    read(lines)
    read([line.replace(digits, "NaN") for line in lines])


def test_what_was_typed_into_a_name_reaches_no_terminal() -> None:
    evidence = read(["41:00.0 VGA compatible controller: NVIDIA Corporation \x1b[31mred\x07 (rev ff)",
                     "\tKernel driver in use: \x1b]0;title\x07"])
    assert "\x1b" not in msgspec.json.encode(evidence).decode()
    assert "\\u001b" not in msgspec.json.encode(evidence).decode()


@pytest.mark.parametrize("piece", [
    "-", "+", "a-", "a+ ", "00:00.0 ", "[", "]", "(rev 00) ", "(prog-if ", "[0000:0000]", "lspci ", "$ lspci", "root@", "\" \"",
    "IOMMU Group 1 ", "00 ", "Radeon ", "Width x1 ", "|", " | ", "+-", "-[00]-", "Capabilities: [", "\t", "\xa0", "Device ",
])
def test_no_line_makes_a_pattern_wander(piece: str) -> None:
    """Whether a line begins or belongs is told in milliseconds, however it is made up. Four times the length takes at
    most about four times as long, up to where lines are cut."""
    def ask(line: str) -> None:
        lspci.begins(line)
        for variant in ("lspci", lspci.TREE, lspci.VMM):
            lspci.belongs(variant, line)

    for head in ("", "00:00.0 ", "\t\t", "41:00.0 VGA compatible controller: ", "UESta: "):
        for length in (500, 1_990, 60_000):
            line = (head + piece * length)[:length]
            assert min(_seconds(lambda line=line: ask(line)) for _ in range(3)) < 0.02, (head, length)

"""Cutting a text into the outputs of tools and the log around them."""

from __future__ import annotations

import pytest

from boxcheck.triage.cut import MAX_LINE_CHARACTERS, Cutter, cut
from boxcheck.triage.evidence import at_line

BURN = """\
Using compare file: compare.ptx
Burning for 20 seconds.
GPU 0: NVIDIA GeForce RTX 4090 (UUID: GPU-8c1f2a54-1111-2222-3333-444455556666)
10.0%  proc'd: 100 (50000 Gflop/s)   errors: 0   temps: 60 C
"""
LOG = "[   12.000001] usb 1-1: new high-speed USB device number 2 using xhci_hcd\n"


def test_a_text_of_one_log_goes_through_as_it_is() -> None:
    text = LOG * 50
    sections, log = cut(text)
    assert sections == []
    assert log == text.encode()


def test_a_section_leaves_as_many_empty_lines() -> None:
    sections, log = cut(LOG * 3 + BURN + LOG * 2)
    assert log.count(b"\n") == 3 + BURN.count("\n") + 2
    assert log.decode().splitlines()[-1] == LOG.strip()
    assert sections[0][1].first_line == 4


@pytest.mark.parametrize("size", [1, 2, 7, 64, 1000])
def test_blocks_may_be_cut_anywhere(size: int) -> None:
    text = (LOG * 5 + BURN + LOG + BURN + LOG).encode()
    whole_sections, whole_log = cut(text)
    sections: list[tuple[str, int, tuple[str, ...]]] = []
    log: list[bytes] = []
    cutter = Cutter(log.append, lambda reader, section: sections.append(
        (section.variant, section.first_line, section.lines)))
    for at in range(0, len(text), size):
        cutter.feed(text[at:at + size])
    cutter.finish()
    assert b"".join(log) == whole_log
    assert sections == [(one.variant, one.first_line, one.lines) for _, one in whole_sections]


def test_progress_that_overwrites_itself_is_several_lines_of_one_number() -> None:
    text = LOG + BURN.rstrip("\n") + "\r20.0%  proc'd: 200 (50000 Gflop/s)   errors: 0   temps: 61 C\n" + LOG
    sections, _ = cut(text)
    section = next(one for _, one in sections if any("20.0%" in line for line in one.lines))
    last = max(index for index, line in enumerate(section.lines) if "20.0%" in line)
    assert at_line(section, last) == at_line(section, last - 1) == 5


def test_a_line_that_begins_as_the_section_s_and_ends_as_something_else_is_used_up() -> None:
    """Found by fuzzing: it was begun again for ever."""
    text = BURN + "20.0%  proc'd: 200 (50000 Gflop/s)   errors: 0   temps: 61 C\rprose of no tool\n" + LOG * 2
    _, log = cut(text)
    assert log.decode().splitlines()[-1] == LOG.strip()
    assert log.count(b"\n") == text.count("\n")
    begins = "Using compare file: compare.ptx\rprose of no tool\n"
    assert cut(begins * 3)[1].count(b"\n") == 3


@pytest.mark.parametrize("before", ["", LOG, BURN])
def test_a_line_longer_than_any_is_cut_and_nothing_after_it_is_lost(before: str) -> None:
    text = (before + "x" * (5 * MAX_LINE_CHARACTERS) + "\n" + LOG + BURN).encode()
    sections, log = [], []
    cutter = Cutter(log.append, lambda reader, section: sections.append(section))
    for at in range(0, len(text), 4096):
        cutter.feed(text[at:at + 4096])
    cutter.finish()
    assert LOG.encode() in b"".join(log)
    assert sections[-1].first_line == text[:text.rindex(b"Using compare")].count(b"\n") + 1


@pytest.mark.parametrize("size", [4096, 1 << 20])
def test_an_overlong_line_that_ends_a_section_is_counted_once(size: int) -> None:
    row = "20.0%  proc'd: 200 (50000 Gflop/s)   errors: 0   temps: 61 C\r" + "x" * (3 * MAX_LINE_CHARACTERS) + "\n"
    text = (BURN + row + LOG + BURN).encode()
    sections, log = [], []
    cutter = Cutter(log.append, lambda reader, section: sections.append(section))
    for at in range(0, len(text), size):
        cutter.feed(text[at:at + size])
    cutter.finish()
    assert [one.first_line for one in sections] == [1, BURN.count("\n") + 3]
    assert b"".join(log).count(b"\n") == text.count(b"\n")


def test_blank_lines_within_and_after_a_section() -> None:
    inside = BURN.replace("Burning", "\nBurning")
    sections, log = cut(inside + "\n\n\n\n\n" + LOG)
    assert len(sections) == 1
    assert sections[0][1].lines.count("") == 1
    assert log.decode().splitlines()[-1] == LOG.strip()


LSPCI = """\
40:01.1 PCI bridge [0604]: Advanced Micro Devices, Inc. [AMD] Starship/Matisse GPP Bridge [1022:1483]
\t\tLnkCap:\tPort #0, Speed 16GT/s, Width x16, ASPM L1, Exit Latency L1 <64us
"""


@pytest.mark.parametrize("page", [
    "<pre>{}</pre>", '<pre class="x"><code>{}', "<div>{}<br>", "{}",
])
def test_what_a_saved_page_adds_is_no_part_of_a_line(page: str) -> None:
    (_, section), = cut(page.format(LSPCI.replace("<", "&lt;")))[0]
    assert section.first_line == 1
    assert section.lines[0].startswith("40:01.1 PCI bridge")
    assert section.lines[1] == LSPCI.splitlines()[1]


def test_an_entity_makes_no_control_character() -> None:
    (_, section), = cut(LSPCI.replace("Advanced", "&#27;[31mAdvanced &amp;#27;"))[0]
    assert "\x1b" not in section.text

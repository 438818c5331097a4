"""Which lines make a text a kernel log, also one without an event."""

from __future__ import annotations

import pytest

from boxcheck.triage.reading import is_kernel_line


@pytest.mark.parametrize("text", [
    "kernel: pci 0000:41:00.0: BAR 0 assigned",
    "Sep 19 16:18:02 box kernel: usb 1-1: new device",
    "[   12.345678] usb 1-1: new device",
])
def test_a_line_of_a_kernel_log(text: str) -> None:
    assert is_kernel_line(text)


@pytest.mark.parametrize("text", [
    "kernel:         5.15.0-171-generic",  # the head of a collected report
    "kernel: 6.1.0",
    "os:             linux (Ubuntu 22.04.5 LTS)",
])
def test_a_table_of_facts_is_none(text: str) -> None:
    assert not is_kernel_line(text)

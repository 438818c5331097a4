"""Decoding 10 000 functions costs per function what decoding 1 000 does, and keeping them costs little memory."""

from __future__ import annotations

import time
import tracemalloc

from boxcheck.decode.pci_config import decode_config

from ..decode.pci_builder import root_port

DATA = root_port().bytes()


def _seconds_per_function(count: int) -> float:
    start = time.perf_counter()
    kept = [decode_config(DATA) for _ in range(count)]
    return (time.perf_counter() - start) / len(kept)


def test_time_per_function_is_flat() -> None:
    _seconds_per_function(200)
    few = min(_seconds_per_function(1_000) for _ in range(5))
    many = min(_seconds_per_function(10_000) for _ in range(3))
    assert many <= 1.3 * few, f"{many * 1e6:.0f} us of 10 000, {few * 1e6:.0f} us of 1 000"


def test_memory_per_function() -> None:
    tracemalloc.start()
    kept = [decode_config(DATA) for _ in range(1_000)]
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used / len(kept) < 8_000, f"{used / len(kept):.0f} bytes a function"

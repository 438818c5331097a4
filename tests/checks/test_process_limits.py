from __future__ import annotations

from typing import Any

import pytest

from boxcheck.model import Unread
from boxcheck.probes.process_limits import ProcessLimits, parse_limit
from tests.checks.judging import DENIED, GONE, outcome

GIB = 1 << 30


def limits(locked: Any = None, files: Any = 65536, shared: Any = 8 * GIB) -> ProcessLimits:
    return ProcessLimits(locked_memory_bytes=locked, open_files=files, shared_memory_bytes=shared)


@pytest.mark.parametrize(("check", "facts", "demand", "wanted"), [
    ("limits.nofile", limits(), {"limits.open_files": {"should": 65536}}, "pass"),
    ("limits.nofile", limits(files=65535), {"limits.open_files": {"should": 65536}}, "marginal"),
    ("limits.nofile", limits(files=None), {"limits.open_files": 65536}, "pass"),
    ("limits.nofile", limits(files=DENIED), {"limits.open_files": 65536}, "unknown"),
    ("limits.nofile", limits(), None, "skip"),
    ("limits.shm", limits(), {"limits.shm_gib": {"should": 8.0}}, "pass"),
    ("limits.shm", limits(shared=8 * GIB - 1), {"limits.shm_gib": {"should": 8.0}}, "marginal"),
    ("limits.shm", limits(shared=64 << 20), {"limits.shm_gib": 8.0}, "fail"),
    ("limits.shm", limits(shared=GONE), {"limits.shm_gib": 8.0}, "unknown"),
    ("limits.shm", limits(), None, "skip"),
])
def test_limits(check: str, facts: ProcessLimits, demand: Any, wanted: str) -> None:
    assert outcome(check, facts, limits=demand) == wanted


def test_rows_of_proc_limits() -> None:
    text = "Limit                     Soft Limit\nMax open files            1024                 4096"
    assert parse_limit(text, "Max open files") == 1024
    assert parse_limit(text.replace("1024 ", "unlimited "), "Max open files") is None


def test_a_limit_of_no_kernel_is_malformed() -> None:
    found = parse_limit(f"Max open files  {'9' * 5000}  4096", "Max open files")
    assert isinstance(found, Unread)
    assert found.kind == "malformed"

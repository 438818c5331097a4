"""Kernel logs: from text in any envelope to events and facts.

`parse_log` is the one entry; `LogParser` takes a log in pieces. Families of messages (AER, NVIDIA, amdgpu ...) are
a file each and are imported when a log first needs them.
"""

from __future__ import annotations

from .asides import Residue, Suppressed
from .events import (
    AmdgpuMemory,
    BridgeControl,
    Cause,
    Event,
    Firmware,
    KernelFacts,
    KernelLog,
    NvidiaModule,
    Severity,
    Stamp,
)
from .parser import MAX_LINES, LogParser, parse_log

__all__ = [
    "MAX_LINES", "AmdgpuMemory", "BridgeControl", "Cause", "Event", "Firmware", "KernelFacts", "KernelLog", "LogParser",
    "NvidiaModule", "Residue", "Severity", "Stamp", "Suppressed", "parse_log",
]

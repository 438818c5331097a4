"""Counters at the boundaries of a burn-in's phases: read in a process of their own, kept as events of the store."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress

import msgspec

from boxcheck.engine.aftermath import boot_id
from boxcheck.engine.watch import vendor_of
from boxcheck.gpu import GpuInfo
from boxcheck.host.programs import STARTED, start_session
from boxcheck.model import Unread
from boxcheck.store.reader import RunReader
from boxcheck.store.rows import Severity
from boxcheck.store.writer import RunWriter
from boxcheck.stress.boundaries import (
    COUNTERS,
    Boundaries,
    Boundary,
    boundaries,
    boundary_of,
    in_words,
    taken,
)
from boxcheck.stress.burn_link_checks import NO_FAULT
from boxcheck.telemetry.boundary import Snapshot, difference

PATIENCE_SECONDS = 15.0
"""For a snapshot. Drivers without persistence start a GPU when they are asked, which takes seconds."""


def read_counters(gpus: Sequence[GpuInfo], patience: float = PATIENCE_SECONDS) -> Snapshot | Unread:
    """A snapshot by a process of its own, which is given up when it hangs."""
    known = [(info.bdf, vendor) for info in gpus if info.bdf is not None and (vendor := vendor_of(info))]
    process = start_session(
        [sys.executable, "-P", "-m", "boxcheck.telemetry.boundary"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL)
    try:
        out, _ = process.communicate(msgspec.json.encode(known), patience)
        return msgspec.json.decode(out, type=Snapshot)
    except subprocess.TimeoutExpired:
        return Unread(f"a driver did not answer within {patience:.0f} s", "timeout")
    except (msgspec.DecodeError, OSError):
        return Unread(f"the process that reads them ended with status {process.returncode}", "error")
    finally:
        STARTED.discard(process.pid)
        with suppress(OSError):
            process.kill()
        with suppress(subprocess.TimeoutExpired):
            process.wait(1.0)


class Recorder:
    """Takes snapshots of one run and keeps them."""

    def __init__(self, store: RunWriter, gpus: Sequence[GpuInfo]) -> None:
        self._store, self._gpus = store, tuple(gpus)
        self._found: list[Boundary] = []

    def take(self, after: str, phase: int = 0) -> None:
        """`after`: the phase that has ended; empty before the first."""
        found = taken(after, read_counters(self._gpus), boot_id())
        before = self._found[-1].snapshot if self._found else None
        self._found.append(found)
        severity: Severity = "info"
        says = "counters were read before the first phase"
        if found.snapshot is None:
            severity, says = "warn", f"counters after {after or 'the start'} were not read: {found.why}"
        elif before is not None:
            grown = difference(before, found.snapshot)
            severity = "warn" if any({*names} - NO_FAULT for names in grown.grown.values()) else "info"
            says = f"counters after {after}: {in_words(grown)}"
        self._store.event(COUNTERS, says, severity=severity, phase=phase, data=msgspec.to_builtins(found))

    def result(self) -> Boundaries:
        return boundaries(self._found)


def stored(reader: RunReader) -> Boundaries:
    """The same from a store."""
    found = (boundary_of(event.data) for event in reader.events() if event.kind == COUNTERS)
    return boundaries(one for one in found if one is not None)

"""The last frame of a feed that gives none any more: what was known, without what would be taken for now."""

from __future__ import annotations

import os

import msgspec

from boxcheck.model import Outcome
from boxcheck.store.schema import SUFFIX
from boxcheck.tui.frame import Frame, GpuRow

KEPT = ("fail", "lost")
"""States that stay, whatever comes later."""


def lost(frame: Frame | None, why: str, path: str) -> Frame:
    """What was last known, and that it is no more."""
    if frame is not None and not frame.opening:
        return msgspec.structs.replace(frame, live=False, lost=why)
    return Frame(
        run=path, kind="", box="", profile="", state="crashed", live=False, seconds=0.0, planned_seconds=None,
        outcome=Outcome.UNKNOWN, over=True, reason=why, phases=(), doing="", total_watts=None, watts_of=0, gpus=(),
        host=None, matrices=(), events=(), events_before=0, problems=(), lost=why)


def opening(path: str) -> Frame:
    """Of a run of which nothing was read yet."""
    return Frame(
        run=path, kind="", box="", profile=os.path.basename(path).removesuffix(SUFFIX), state="running", live=False,
        seconds=0.0, planned_seconds=None, outcome=Outcome.UNKNOWN, over=False, reason="nothing of it was read yet",
        phases=(), doing="", total_watts=None, watts_of=0, gpus=(), host=None, matrices=(), events=(), events_before=0,
        problems=(), opening=True)


def unheard(frame: Frame, seconds: float, *, later: float | None = None) -> Frame:
    """The same when nothing was read for so long: no figure that would be of now, and no GPU that does well. `later`:
    how long after the frame's moment that is; None: as long as nothing was read."""
    replace = msgspec.structs.replace
    later = seconds if later is None else later
    host = frame.host and replace(
        frame.host, rates=(), told_seconds=(frame.host.told_seconds or 0.0) + later,
        box_seconds=None if frame.host.box_seconds is None else frame.host.box_seconds + later)
    return replace(
        frame, unheard_seconds=seconds, total_watts=None, watts_of=0, host=host,
        gpus=tuple(_unheard(row, seconds, later) for row in frame.gpus))


def _unheard(row: GpuRow, seconds: float, later: float) -> GpuRow:
    replace = msgspec.structs.replace
    kept = row.state in KEPT
    return replace(
        row, state=row.state if kept else "silent", why=row.why if kept else f"nothing read for {seconds:.0f} s",
        rate=None, rate_age_seconds=None, history=(), core_celsius=None, junction_celsius=None, memory_celsius=None,
        watts=None, limit_watts=None, clock_mhz=None, fan="", held=None,
        told_seconds=None if row.told_seconds is None else row.told_seconds + later,
        chain=tuple(
            replace(link, age_seconds=link.age_seconds + later, width=None, counts_now=False) for link in row.chain))

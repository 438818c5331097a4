"""The last frame of a feed that gives none any more: what was known, without what would be taken for now."""

from __future__ import annotations

import msgspec

from boxcheck.model import Outcome
from boxcheck.tui.frame import Frame, GpuRow

KEPT = ("fail", "lost")
"""States that stay, whatever comes later."""


def lost(frame: Frame | None, why: str, path: str) -> Frame:
    """What was last known, and that it is no more."""
    if frame is not None:
        return msgspec.structs.replace(frame, live=False, lost=why)
    return Frame(
        run=path, kind="", box="", profile="", state="crashed", live=False, seconds=0.0, planned_seconds=None,
        outcome=Outcome.UNKNOWN, over=True, reason=why, phases=(), doing="", total_watts=None, watts_of=0, gpus=(),
        host=None, matrices=(), events=(), events_before=0, problems=(), lost=why)


def unheard(frame: Frame, seconds: float) -> Frame:
    """The same when nothing was read for so long: no figure that would be of now, and no GPU that does well."""
    replace = msgspec.structs.replace
    host = frame.host and replace(frame.host, told_seconds=(frame.host.told_seconds or 0.0) + seconds, rates=())
    return replace(
        frame, unheard_seconds=seconds, total_watts=None, watts_of=0, host=host,
        gpus=tuple(_unheard(row, seconds) for row in frame.gpus))


def _unheard(row: GpuRow, seconds: float) -> GpuRow:
    replace = msgspec.structs.replace
    kept = row.state in KEPT
    return replace(
        row, state=row.state if kept else "silent", why=row.why if kept else f"nothing read for {seconds:.0f} s",
        rate=None, rate_age_seconds=None, history=(), core_celsius=None, junction_celsius=None, memory_celsius=None,
        watts=None, limit_watts=None, clock_mhz=None, fan="", held=None,
        told_seconds=None if row.told_seconds is None else row.told_seconds + seconds,
        chain=tuple(replace(link, age_seconds=link.age_seconds + seconds, width=None) for link in row.chain))

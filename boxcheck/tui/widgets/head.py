"""The first lines: which run, how far, and the verdict so far with its one reason."""

from __future__ import annotations

from rich.cells import cell_len
from textual.content import Content
from textual.widgets import Static

from boxcheck.checks.wording import clock
from boxcheck.model import Outcome
from boxcheck.tui.ends import left
from boxcheck.tui.frame import Frame
from boxcheck.tui.look import Glyphs, bar, cut, plain, reason_of, style_of, word_of


class Head(Static):
    """`boxcheck burn  wopr-7x4090 r3  box W-0007        00:42:17 of 04:00:00  ###..... 18 %`."""

    def show(self, frame: Frame, glyphs: Glyphs) -> None:
        width = self.size.width or 80
        parts = [f" boxcheck {plain(frame.kind)}"]
        parts += [f"played again, {frame.playing}"] if frame.playing else []
        parts += [plain(frame.profile)]
        parts += [f"box {plain(frame.box)}"] if frame.box and width >= 100 else []
        right = clock(frame.seconds)
        if frame.planned_seconds:
            right += f" of {clock(frame.planned_seconds)}"
        elif frame.until and not frame.over:
            right += f" {cut(plain(frame.until), 40)}"
        if frame.fraction is not None and width >= 70:
            right += f"  {bar(frame.fraction, 10 if width < 110 else 20, glyphs)} {100 * frame.fraction:3.0f} %"
        room = max(0, width - len(right) - 2)
        while len(parts) > 1 and len("   ".join(parts)) > room:  # whole words, or none
            short = frame.playing and len(parts) == 2 and parts[1] != frame.playing
            parts[1:] = [frame.playing] if short else parts[1:-1]
        left = cut("   ".join(parts), room)
        gap = " " * max(1, width - len(left) - len(right) - 1)
        self.update(Content.assemble((left, "bold"), gap, right), layout=False)


class VerdictBar(Static):
    """The word, why, what runs, and the two figures that everybody looks at first."""

    def show(self, frame: Frame, glyphs: Glyphs) -> None:
        width = max(20, self.size.width - 2)
        self.border_title = "verdict" if frame.over else "verdict so far"
        if frame.lost:
            self.border_title = "no verdict: what is below is as last read"
        word, style = word_of(frame), style_of(frame)
        reason = plain(reason_of(frame))
        parts = self._right(frame, glyphs, width)
        # The reason comes first, the figures as far as there is room; one that is cut anyhow leaves them some.
        wanted = cell_len(reason) if cell_len(reason) + len(word) + 3 <= width else int(0.7 * width)
        while parts and len(word) + wanted + len("   ".join(parts)) + 5 > width:
            parts.pop()
        right = "   ".join(parts)
        room = max(8, width - len(word) - (len(right) + 5 if right else 3))
        reason = cut(reason, room)
        gap = max(2, width - len(word) - 2 - cell_len(reason) - len(right) - 1)
        weight = "bold $unknown" if (frame.unheard_seconds or frame.untold) and frame.outcome is Outcome.PASS else ""
        self.update(Content.assemble(
            " ", (word, f"bold {style}"), "  ", (reason, weight), " " * gap, (right, "$quiet")), layout=False)

    def _right(self, frame: Frame, glyphs: Glyphs, width: int) -> list[str]:
        parts = []
        phase = frame.phase
        if phase is not None and not frame.over:
            at = f"step {frame.step} of {frame.steps} " if frame.steps else ""
            parts.append(left(frame) or f"{at}{plain(phase.name)}")
        if frame.total_watts is not None:
            told, every = frame.watts_of, sum(row.bdf is not None for row in frame.gpus)
            of = f"{told} of {every} GPUs" if told < every else f"{told} GPU{'' if told == 1 else 's'}"
            parts.append(f"{of} {frame.total_watts:.0f} W")
        hot = max(
            (row for row in frame.gpus if row.core_celsius is not None and not row.is_stale),
            key=lambda row: row.core_celsius or 0.0, default=None)
        if hot is not None and width >= 96:
            parts.append(f"hottest {plain(hot.place)} {hot.core_celsius:.0f} {glyphs.degree}")
        while len(parts) > 1 and len("   ".join(parts)) > width * 0.6:
            parts.pop()
        return parts

"""What tests of screens share."""

from __future__ import annotations

import re
from collections.abc import Callable

from rich.cells import cell_len

from boxcheck.tui.app import BoxcheckApp
from boxcheck.tui.screens.burn import BurnScreen
from boxcheck.tui.start import StartApp
from boxcheck.tui.widgets.gpus import GAP, LEAD, GpuTable, fitting
from tests.tui.showing import press, shown


def top(app: BoxcheckApp | StartApp) -> type:
    return type(app.screen)


def noting(stopped: list[str]) -> Callable[[str], str]:
    """Ends no run, and notes which it was asked to end."""
    def stop(path: str) -> str:
        stopped.append(path)
        return "told"

    return stop


# Sizes


def table_lines(app: BoxcheckApp) -> tuple[str, list[str]]:
    """The titles of the GPUs' table, and its rows, within their border."""
    lines = shown(app)
    first = next(at for at, line in enumerate(lines) if re.match(r"^(╭─ |\+- )(GPUs|processor)", line))
    inner = []
    for line in lines[first + 1:]:
        if line[:1] not in "│|":
            break
        inner.append(line[1:])
    return inner[0], inner[1:]


def hold_columns(app: BoxcheckApp, width: int) -> None:
    """Every cell of every row lies under its title, and what is between columns is a space."""
    head, rows = table_lines(app)
    table = app.screen.query_one(GpuTable)
    assert table.frame is not None
    columns = fitting(table.size.width, table.frame.gpus)
    assert rows
    assert len(columns) >= 4
    at = LEAD
    for column in columns:
        assert head[at:at + column.width].strip() == column.title, (column.title, head)
        for row in rows:
            assert row[at + column.width:at + column.width + GAP].strip(" │|▁▂▃▄▅▆▇█#:-") == "", (column.title, row)
            assert len(row[at:at + column.width].strip()) > 0 or column.title in ("last 2 min", "limit", "why"), row
        at += column.width + GAP


def hold_lines(app: BoxcheckApp, size: tuple[int, int]) -> None:
    """Nothing is wider than the terminal, and borders close."""
    lines = [strip.text for strip in app.screen._compositor.render_strips()]
    assert len(lines) == size[1]
    for line in lines:
        assert cell_len(line) == size[0], line
        assert (line.count("╭"), line.count("╰")) == (line.count("╮"), line.count("╯")), line


async def walk(app: BoxcheckApp, pilot, ways, seen) -> None:  # type: ignore[no-untyped-def]
    for keys in ways:
        await press(pilot, *keys)
        if keys in (("enter",), ("d",), ("r",), ("ctrl+p",)):
            await pilot.pause(0.3)
        seen(keys)
    assert top(app) is BurnScreen

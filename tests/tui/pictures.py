"""Pictures of every screen for the docs, from made-up runs that are played again: `python -m tests.tui.pictures`.

Writes docs/pictures/*.svg, which docs/how-to/watch-a-run.md shows. They need no font and nothing from elsewhere.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from boxcheck.tui.base import Look, Means
from boxcheck.tui.expected import expected_by
from boxcheck.tui.replay import ReplayFeed
from boxcheck.tui.start import StartApp
from tests.tui.box import Burning
from tests.tui.picturing import colours, picture
from tests.tui.runs import made
from tests.tui.showing import Still, app_over, frame_of

HERE = Path(__file__).parents[2] / "docs" / "pictures"
SIZE, SMALL, GPU_SIZE = (120, 34), (80, 24), (120, 46)
PICTURES: tuple[tuple[str, str, tuple[int, int], tuple[str, ...]], ...] = (
    ("run", "failing", SIZE, ()), ("run-80x24", "failing", SMALL, ()), ("stale", "stale", SIZE, ()),
    ("copies", "failing", SIZE, ("m",)), ("links", "failing", SIZE, ("l",)),
    ("gpu", "failed", GPU_SIZE, ("down", "down", "enter")), ("link", "failing", SIZE, ("down", "down", "enter", "l")),
    ("big-failing", "failing", SIZE, ("b",)), ("doctor", "failed", SIZE, ("d",)),
    ("explain", "failed", SIZE, ("d", "enter")))
"""Name, run, size, keys."""
ASCII = ("ascii", "failing", SMALL, ("l",))
WRITTEN: set[str] = set()
THREADS_SECONDS = 1.5
"""For what a thread reads: curves, records of doctor, lists of runs."""


async def of_run(run: Burning, size: tuple[int, int], keys: tuple[str, ...], *, ascii: bool = False) -> str:
    app = app_over(Still(run.path, frame_of(run)), ascii=ascii, color=not ascii, stop=lambda path: "told")
    return await picture(app, size, keys, title="boxcheck", wait=THREADS_SECONDS)


async def of_replay(run: Burning) -> str:
    feed = ReplayFeed(run.path, run.want, speed=4.0, expected=expected_by(run.want), clock=lambda: 0.0)
    feed.by(45.0)
    try:
        return await picture(app_over(feed), SIZE, (), title="boxcheck", wait=0.5)
    finally:
        feed.close()


async def of_folder(folder: str, keys: tuple[str, ...], start: bool, frame: Still) -> str:
    if start:
        app = StartApp(Means(folder=folder, is_here=lambda path: True), Look(), has_riser=True)
        return await picture(app, SMALL, keys, title="boxcheck", wait=THREADS_SECONDS)
    return await picture(app_over(frame, folder=folder), SIZE, keys, title="boxcheck", wait=THREADS_SECONDS)


def write(name: str, made_by: Coroutine[Any, Any, str], *, color: bool = True) -> None:
    with colours(color):
        (HERE / f"{name}.svg").write_text(asyncio.run(made_by), encoding="utf-8")
    WRITTEN.add(name)
    print(f"docs/pictures/{name}.svg", flush=True)


def of_records(run: Burning, folder: str) -> None:
    """Those that show more than one run: there is a failed one beside it."""
    still, listed = Still(run.path, frame_of(run)), f"{folder}/listed"
    Path(listed).mkdir()
    shutil.copy(run.path, f"{listed}/2026-11-21T132004Z-burn.sqlite")
    shutil.copy(next(Path(f"{folder}/failed").glob("*.sqlite")), f"{listed}/2026-11-20T081502Z-burn.sqlite")
    write("replay", of_replay(run))
    write("runs", of_folder(listed, ("r",), False, still))
    write("compare", of_folder(listed, ("r", "space", "down", "space", "c"), False, still))
    write("start", of_folder(listed, (), True, still))


def main() -> None:
    HERE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for scene in dict.fromkeys(run for _, run, _, _ in PICTURES):
            with made(scene, f"{folder}/{scene}") as run:
                for name, of, size, keys in PICTURES:
                    if of == scene:
                        write(name, of_run(run, size, keys))
                if scene == ASCII[1]:
                    write(ASCII[0], of_run(run, ASCII[2], ASCII[3], ascii=True), color=False)
        with made("finished", f"{folder}/finished") as run:
            of_records(run, folder)
    for place in HERE.glob("*.svg"):
        if place.stem not in WRITTEN:
            place.unlink()


if __name__ == "__main__":
    main()

"""The application over a frame that does not change, and what is on its screen, line by line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from textual.app import App
from textual.pilot import Pilot

from boxcheck.registry import discover, discover_stress
from boxcheck.tui.app import BoxcheckApp
from boxcheck.tui.base import Look, Means
from boxcheck.tui.expected import expected_by
from boxcheck.tui.feed import Feed, StoreFeed
from boxcheck.tui.frame import Frame
from tests.tui.box import Burning

SIZES = ((60, 16), (80, 24), (120, 34), (200, 60), (300, 80))


class Still:
    """Always the same frame: nothing on a screen moves by itself."""

    def __init__(self, path: str, frame: Frame) -> None:
        self.path, self.frame = path, frame
        self.looks = 0

    def look(self) -> Frame:
        self.looks += 1
        return self.frame

    def close(self) -> None:
        pass


def frame_of(run: Burning) -> Frame:
    """What a run shows at the moment at which it was left."""
    discover()
    discover_stress()
    feed = StoreFeed(run.path, run.want, expected=expected_by(run.want), clock=lambda: run.hand.monotonic)
    try:
        return feed.look()
    finally:
        feed.close()


def explain(id: str, columns: int) -> str:
    """As the command's own screen has it."""
    from boxcheck.commands.catalogue import explanation
    from boxcheck.registry import CHECKS

    return explanation(CHECKS[id], columns=columns) if id in CHECKS else ""


def app_over(
    feed: Feed, *, folder: str = "/nowhere", ascii: bool = False, light: bool = False, color: bool = True,
    stop: Callable[[str], str] | None = None, opens: Callable[[str], Feed] | None = None,
    doctor: tuple[str, ...] = (), every_seconds: float = 60.0, is_here: Callable[[str], bool | None] = lambda path: True,
) -> BoxcheckApp:
    def same(path: str) -> Feed:
        return feed

    return BoxcheckApp(
        feed, opens=opens or same, means=Means(folder=folder, explain=explain, doctor=doctor, is_here=is_here),
        look=Look(ascii=ascii, light=light, color=color), stop=stop, every_seconds=every_seconds)


@asynccontextmanager
async def on_screen(app: App[Any], size: tuple[int, int]) -> AsyncIterator[Pilot[Any]]:
    """The application at work, with its first frame drawn."""
    async with app.run_test(size=size, notifications=True) as pilot:
        await settled(pilot)
        yield pilot
        if isinstance(app, BoxcheckApp):
            app._over.set()
            app._now.set()


async def settled(pilot: Pilot[Any], seconds: float = 5.0) -> None:
    """When a frame was shown and what it asked for was drawn."""
    app = pilot.app
    waited = 0.0
    while isinstance(app, BoxcheckApp) and app.frame is None and waited < seconds:
        await pilot.pause(0.02)
        waited += 0.02
    for _ in range(3):
        await pilot.pause()


async def press(pilot: Pilot[Any], *keys: str) -> None:
    await pilot.press(*keys)
    await pilot.pause()


async def until(pilot: Pilot[Any], holds: Callable[[], bool], seconds: float = 8.0) -> None:
    """Waits for something that a thread brings; fails when it does not come."""
    for _ in range(int(seconds / 0.02)):
        if holds():
            await pilot.pause()
            return
        await pilot.pause(0.02)
    raise AssertionError("what was waited for did not come:\n" + "\n".join(shown(pilot.app)))


def shown(app: App[Any]) -> list[str]:
    """All lines of the terminal, without spaces at their ends."""
    return [strip.text.rstrip() for strip in app.screen._compositor.render_strips()]


def text(app: App[Any]) -> str:
    return "\n".join(shown(app))


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await test()

    asyncio.run(main())


def line_with(lines: Sequence[str], words: str) -> str:
    found = [line for line in lines if words in line]
    assert found, f"no line has {words!r}:\n" + "\n".join(lines)
    return found[0]

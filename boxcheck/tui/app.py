"""The application over a run: follows each feed in a thread of its own, hands each frame to the screen on top. It never
judges, and leaving it never ends a run. A thread that hangs in a disk keeps no other run from being shown."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from textual import events
from textual.await_complete import AwaitComplete
from textual.message import Message
from textual.screen import Screen

from boxcheck.tui.base import BoxcheckBase, Look, Means
from boxcheck.tui.feed import Feed, Later
from boxcheck.tui.frame import Frame
from boxcheck.tui.look import in_words
from boxcheck.tui.replay import ReplayFeed
from boxcheck.tui.screens.big import BigVerdict
from boxcheck.tui.screens.burn import BurnScreen
from boxcheck.tui.screens.dialogs import AskAccount, AskStop
from boxcheck.tui.screens.gpu import GpuScreen
from boxcheck.tui.screens.link import LinkScreen
from boxcheck.tui.screens.runs import OpenRun
from boxcheck.tui.threads import in_thread, say
from boxcheck.tui.unheard import lost, opening, unheard
from boxcheck.tui.widgets.gpus import GpuTable
from boxcheck.tui.widgets.panes import OpenLink

EVERY_SECONDS = 0.5
LATE_SECONDS = 3.0
"""A frame that is later than that is missed, and what is shown is no longer called live."""
AGAIN_SECONDS = 2.0
"""After that a run that could not be read is tried once more."""
NOT_TOLD = {
    "nobody": "nobody works on this run any more",
    "not permitted": "not permitted: the run is another user's, who can end it"}
"""By what `stop` gives."""


class FrameCame(Message):
    """A newer frame; one that waits is replaced by it."""

    def __init__(self, frame: Frame, feed: Feed) -> None:
        super().__init__()
        self.frame, self.feed = frame, feed

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, FrameCame) and message.feed is self.feed


class Lost(Message):
    """The store can no longer be read."""

    def __init__(self, why: str, feed: Feed) -> None:
        super().__init__()
        self.why, self.feed = why, feed


class BoxcheckApp(BoxcheckBase[str]):
    """`exit` gives the path of the run that was shown last; whoever started it prints its account afterwards."""

    def __init__(
        self, feed: Feed, *, opens: Callable[[str], Feed], means: Means, look: Look | None = None,
        stop: Callable[[str], str] | None = None, every_seconds: float = EVERY_SECONDS,
    ) -> None:
        """`opens` makes the feed of another run; `stop` asks the engine of a run to come to an end, and says `told`,
        `nobody` or `not permitted`; StoreError where the run cannot be read."""
        super().__init__(means, look or Look())
        self._opens = opens
        self.feed, self._stop_run, self._every = feed, stop, every_seconds
        self.frame: Frame | None = None
        """What is shown."""
        self._frame: Frame | None = None
        """What came last; what is shown is more cautious when it is old."""
        self._stopping = False
        self._given = feed
        """The feed that whoever started it closes; others are closed by the threads that read them."""
        self._choosing = threading.Lock()
        """Held while the feed that is shown is replaced by another."""
        self._asked = 0
        """How often another run was asked for: the last counts."""
        self._came, self._late = time.monotonic(), max(LATE_SECONDS, 2 * every_seconds)
        """When the newest frame came; how old it may be."""
        self._over = threading.Event()
        self._now = threading.Event()
        """A frame is wanted before its time: a key was pressed that changes what is shown."""

    def on_mount(self) -> None:
        self.push_screen(BurnScreen())
        self.set_interval(min(1.0, self._late / 3), self._mind)
        in_thread(self._follow, self.feed)

    def _later(self, work: Callable[..., None], *given: object) -> None:
        """From a thread, which does not wait for it: on the screen, where that still stands."""
        self._say(events.Callback(callback=partial(work, *given)))

    def _say(self, message: Message) -> None:
        """From a thread. The loop of a screen that was left meanwhile takes nothing any more."""
        if not self._over.is_set():
            say(self, message)

    def stored_run(self) -> str | None:
        return self.feed.path

    def _follow(self, feed: Feed) -> None:
        """Reads it as long as it is the one that is shown."""
        broken = False
        while feed is self.feed and not self._over.is_set():
            try:
                feed = self._opened(feed, again=broken)
                if feed is self.feed:
                    self._say(FrameCame(feed.look(), feed))
                broken = False
            except Exception as error:  # noqa: BLE001  a thread that dies leaves its last frame standing as live
                broken = True
                self._say(Lost(in_words(error), feed))
                until = time.monotonic() + AGAIN_SECONDS
                while feed is self.feed and time.monotonic() < until and not self._over.wait(0.1):
                    pass
            else:
                self._now.wait(self._every)
                if feed is self.feed:  # else whoever follows the other one is called
                    self._now.clear()
        self._close(feed)

    def _opened(self, feed: Feed, *, again: bool) -> Feed:
        """What is read. After a look that broke off in the middle, what was summed up so far is not relied on."""
        if isinstance(feed, Later):
            found = feed.opened()
        elif again and not isinstance(feed, ReplayFeed):
            found = self._opens(feed.path)
        else:
            return feed
        with self._choosing:
            if self.feed is feed:  # else another run was chosen meanwhile
                self.feed = found
        self._close(feed)
        return found

    def _close(self, feed: Feed) -> None:
        if feed is not self._given:
            with suppress(Exception):  # it may be as broken as it likes
                feed.close()

    def _mind(self) -> None:
        """Says that frames stay away; a thread that hangs in a disk cannot."""
        quiet = time.monotonic() - self._came
        if quiet <= self._late:
            return
        frame = self._frame or opening(self.feed.path)
        if frame.live or frame.opening:
            self.frame = unheard(frame, frame.unheard_seconds + quiet, later=quiet)
            self._show()

    def on_frame_came(self, message: FrameCame) -> None:
        if message.feed is not self.feed:
            return
        ended = self.frame is not None and self.frame.live and not message.frame.live
        self.frame = self._frame = message.frame
        self._came = time.monotonic()
        self._show()
        if ended and self._stopping:
            self._stopping = False
            self.push_screen(AskAccount(), lambda yes: self.action_leave() if yes else None)

    def on_lost(self, message: Lost) -> None:
        """What was shown is of the past from now on, and the screen says so."""
        if message.feed is self.feed:
            self.frame = self._frame = lost(self._frame, message.why, message.feed.path)
            self._show()

    def on_gpu_table_opened(self, message: GpuTable.Opened) -> None:
        self.open(GpuScreen(self.feed.path, message.key))

    def on_open_link(self, message: OpenLink) -> None:
        self.open(LinkScreen(message.key))

    def action_big(self) -> None:
        if not isinstance(self.screen, BigVerdict):
            self.open(BigVerdict())

    def open(self, screen: Screen[None]) -> None:
        self.push_screen(screen)
        self.call_after_refresh(self._show)

    def pop_screen(self) -> AwaitComplete:
        """What comes to the top shows what is so now."""
        found = super().pop_screen()
        self.call_after_refresh(self._show)
        return found

    def _show(self) -> None:
        if not self.is_running:  # it closes, and widgets are going
            return
        screen = self.screen
        if self.frame is not None and hasattr(screen, "show"):
            screen.show(self.frame, self.glyphs)

    @property
    def can_stop(self) -> bool:
        """Whether a run goes on that could be ended."""
        return (
            self._stop_run is not None and self.frame is not None and self.frame.live
            and not isinstance(self.feed, ReplayFeed))

    def action_stop(self) -> None:
        if not self.can_stop:
            self.notify("no run goes on here that could be ended", markup=False)
            return
        self.push_screen(AskStop(), self._answered)

    def _answered(self, yes: bool | None) -> None:
        if yes:
            in_thread(self._tell_to_stop, self.feed.path)

    def _tell_to_stop(self, path: str) -> None:
        """In a thread: it reads the store, which may lie on a disk that hangs."""
        if self._stop_run is None:
            return
        try:
            said = self._stop_run(path)
        except Exception as error:  # noqa: BLE001  said, and the screen stays
            self._later(self._not_told, f"the run was not told to stop: {in_words(error)}")
            return
        self._later(self._told_to_stop, said)

    def _not_told(self, says: str) -> None:
        self.notify(says, severity="error", markup=False)

    def _told_to_stop(self, said: str) -> None:
        self._stopping = said == "told"
        told = "the load ends; doctor looks once more, then the verdict comes"
        self.notify(
            told if self._stopping else NOT_TOLD.get(said, said), severity="information" if self._stopping else "error",
            markup=False)

    def on_open_run(self, message: OpenRun) -> None:
        self._change_feed(message.path)

    def _change_feed(self, path: str) -> None:
        self._asked += 1
        in_thread(self._open, path, self._asked)
        self.set_timer(self._late, lambda asked=self._asked: self._warn(path, asked))

    def _open(self, path: str, asked: int) -> None:
        try:
            feed = self._opens(path)
        except Exception as error:  # noqa: BLE001  said, and the run of before stays
            self._later(self._not_opened, in_words(error), asked)
            return
        self._later(self._take_feed, feed, asked)

    def _warn(self, path: str, asked: int) -> None:
        """The run of before is followed meanwhile, so that what is shown is right; but it is not what was asked for."""
        if asked == self._asked:
            self.notify(f"{path} is still being opened; the run of before is shown", severity="warning", markup=False)

    def _not_opened(self, says: str, asked: int) -> None:
        if asked == self._asked:
            self._asked += 1
            self.notify(says, severity="error", markup=False)

    def _take_feed(self, feed: Feed, asked: int) -> None:
        if asked != self._asked:  # another one was asked for meanwhile
            in_thread(self._close, feed)
            return
        self._asked += 1
        with self._choosing:
            self.feed = feed
        in_thread(self._follow, feed)
        self.frame = self._frame = opening(feed.path)
        self._came = time.monotonic()
        self._now.set()
        while len(self.screen_stack) > 2:
            self.pop_screen()
        self._show()

    def action_speed(self, by: float) -> None:
        if isinstance(self.feed, ReplayFeed):
            self.feed.speed = min(3600.0, max(0.25, self.feed.speed * by))
            self._now.set()

    def action_pause(self) -> None:
        if isinstance(self.feed, ReplayFeed):
            self.feed.paused = not self.feed.paused
            self._now.set()

    def action_seek(self, seconds: float) -> None:
        if isinstance(self.feed, ReplayFeed):
            self.feed.by(seconds)
            self._now.set()

    def action_leave(self) -> None:
        self._over.set()
        self._now.set()
        self.exit(self.feed.path)

    def on_unmount(self) -> None:
        self._over.set()
        self._now.set()

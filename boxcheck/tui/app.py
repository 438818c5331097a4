"""The application over a run: follows a feed in a thread of its own, hands each frame to the screen on top. It never
judges, and leaving it never ends a run."""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec
from textual import work
from textual.await_complete import AwaitComplete
from textual.message import Message
from textual.screen import Screen

from boxcheck.model import Outcome
from boxcheck.store.errors import StoreError
from boxcheck.tui.base import BoxcheckBase, Look, Means
from boxcheck.tui.feed import Feed, Later, ReplayFeed
from boxcheck.tui.frame import Frame
from boxcheck.tui.screens.big import BigVerdict
from boxcheck.tui.screens.burn import BurnScreen
from boxcheck.tui.screens.dialogs import AskAccount, AskStop
from boxcheck.tui.screens.gpu import GpuScreen
from boxcheck.tui.screens.link import LinkScreen
from boxcheck.tui.screens.runs import OpenRun
from boxcheck.tui.widgets.gpus import GpuTable
from boxcheck.tui.widgets.panes import OpenLink

EVERY_SECONDS = 0.5


class FrameCame(Message):
    """A newer frame; one that waits is replaced by it."""

    def __init__(self, frame: Frame, feed: Feed) -> None:
        super().__init__()
        self.frame, self.feed = frame, feed

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, FrameCame)


class Lost(Message):
    """The store can no longer be read."""

    def __init__(self, why: str, feed: Feed) -> None:
        super().__init__()
        self.why, self.feed = why, feed


def lost(frame: Frame | None, why: str, path: str) -> Frame:
    """What was last known, and that it is no more."""
    if frame is not None:
        return msgspec.structs.replace(frame, live=False, lost=why)
    return Frame(
        run=path, kind="", box="", profile="", state="crashed", live=False, seconds=0.0, planned_seconds=None,
        outcome=Outcome.UNKNOWN, over=True, reason=why, phases=(), doing="", total_watts=None, watts_of=0, gpus=(),
        host=None, matrices=(), events=(), events_before=0, problems=(), lost=why)


class BoxcheckApp(BoxcheckBase[str]):
    """`exit` gives the path of the run that was shown last; whoever started it prints its account afterwards."""

    def __init__(
        self, feed: Feed, *, opens: Callable[[str], Feed], means: Means, look: Look | None = None,
        stop: Callable[[str], bool] | None = None, every_seconds: float = EVERY_SECONDS,
    ) -> None:
        """`opens` makes the feed of another run; `stop` asks the engine of a run to come to an end."""
        super().__init__(means, look or Look())
        self._opens = opens
        self.feed, self._stop_run, self._every = feed, stop, every_seconds
        self.frame: Frame | None = None
        self._stopping = False
        self._over = threading.Event()
        self._now = threading.Event()
        """A frame is wanted before its time: a key was pressed that changes what is shown."""

    def on_mount(self) -> None:
        self.push_screen(BurnScreen())
        self._follow()

    def stored_run(self) -> str | None:
        return self.feed.path

    @work(thread=True, exit_on_error=False)
    def _follow(self) -> None:
        while not self._over.is_set():
            feed = self.feed
            try:
                if isinstance(feed, Later):
                    feed = self._open_first(feed)
                self.post_message(FrameCame(feed.look(), feed))
            except StoreError as error:
                self.post_message(Lost(str(error), feed))
                while feed is self.feed and not self._over.wait(0.2):
                    pass
                continue
            self._now.wait(self._every)
            self._now.clear()

    def _open_first(self, later: Later) -> Feed:
        feed = later.opened()
        if self.feed is later:  # else another run was chosen meanwhile
            self.feed = feed
        return feed

    def on_frame_came(self, message: FrameCame) -> None:
        if message.feed is not self.feed:
            return
        ended = self.frame is not None and self.frame.live and not message.frame.live
        self.frame = message.frame
        self._show()
        if ended and self._stopping:
            self._stopping = False
            self.push_screen(AskAccount(), lambda yes: self.action_leave() if yes else None)

    def on_lost(self, message: Lost) -> None:
        """What was shown is of the past from now on, and the screen says so."""
        if message.feed is self.feed:
            self.frame = lost(self.frame, message.why, message.feed.path)
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

    def action_stop(self) -> None:
        if self._stop_run is None or self.frame is None or not self.frame.live or isinstance(self.feed, ReplayFeed):
            self.notify("no run goes on here that could be ended", markup=False)
            return
        self.push_screen(AskStop(), self._answered)

    def _answered(self, yes: bool | None) -> None:
        if yes and self._stop_run is not None:
            self._stopping = self._stop_run(self.feed.path)
            told = "the load ends; doctor looks once more, then the verdict comes"
            self.notify(told if self._stopping else "nobody works on this run any more", markup=False)

    def on_open_run(self, message: OpenRun) -> None:
        self._change_feed(message.path)

    @work(thread=True, exclusive=True, group="opening", exit_on_error=False)
    def _change_feed(self, path: str) -> None:
        try:
            feed = self._opens(path)
        except StoreError as error:
            self.call_from_thread(self.notify, str(error), severity="error", markup=False)
            return
        self.call_from_thread(self._take_feed, feed)

    def _take_feed(self, feed: Feed) -> None:
        self.feed, self.frame = feed, None
        self._now.set()
        while len(self.screen_stack) > 2:
            self.pop_screen()

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

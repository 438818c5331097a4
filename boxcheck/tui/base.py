"""What both applications share, the one over a run and the one that begins with nothing: themes, ASCII, help, commands
by name, doctor and the list of runs."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import Callable
from typing import ClassVar, TypeVar

import msgspec
from textual.app import App
from textual.binding import Binding, BindingType

from boxcheck.tui.ascii_filter import AsciiFilter
from boxcheck.tui.known import made_here
from boxcheck.tui.look import ASCII, UNICODE
from boxcheck.tui.palette import Actions
from boxcheck.tui.screens.dialogs import Help
from boxcheck.tui.screens.doctor import DoctorScreen
from boxcheck.tui.screens.runs import RunsScreen
from boxcheck.tui.themes import DARK, LIGHT

Result = TypeVar("Result")
TERMINAL_SECONDS = 5.0
"""Between two looks whether the terminal is still there."""


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """How it looks, by the terminal, the environment and the options."""

    ascii: bool = False
    light: bool = False
    color: bool = True


class Means(msgspec.Struct, frozen=True, kw_only=True):
    """What the application may do; whoever starts it gives it."""

    folder: str
    """Where runs lie."""
    explain: Callable[[str, int], str] = lambda id, columns: ""
    """What a check is about, as `boxcheck explain` prints it; empty where nobody knows."""
    signals: bool = False
    """Whether SIGHUP, SIGTERM and a terminal that is gone close the screen in order."""
    is_here: Callable[[str], bool | None] = made_here
    """Whether the run of a path was made on this box; None where nobody knows. It may read a disk that hangs."""
    doctor: tuple[str, ...] = ()
    """The program that reads the machine and prints its record as JSON; none where it cannot be read anew."""


class BoxcheckBase(App[Result]):
    CSS_PATH = "boxcheck.tcss"
    TITLE = "boxcheck"
    ENABLE_COMMAND_PALETTE = True
    COMMANDS: ClassVar = {Actions}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "help", "help"),
        Binding("ctrl+p", "command_palette", "commands", show=False),
        Binding("T", "other_theme", "dark or light", show=False),
        Binding("ctrl+q,ctrl+c", "leave", "leave", show=False, priority=True),
    ]

    def __init__(self, means: Means, look: Look) -> None:
        super().__init__(ansi_color=None if look.color else True)
        for theme in (DARK, LIGHT):
            self.register_theme(theme)
        # Now: a theme that is set when the screen stands has the whole stylesheet read a second time.
        self.set_reactive(App.theme, LIGHT.name if look.light else DARK.name)
        self.stylesheet.set_variables(self.get_css_variables())
        self.means, self.look = means, look
        self.glyphs = ASCII if look.ascii else UNICODE
        self.signalled = 0
        """The signal that closed it; 0 for none."""
        if look.ascii:
            self._filters.append(AsciiFilter())

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return dict(DARK.variables)

    def on_mount(self) -> None:
        self.set_class(self.look.ascii, "ascii")
        if self.means.signals:
            for number in (signal.SIGHUP, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, self._signal, number)
            self.set_interval(TERMINAL_SECONDS, self._look_for_terminal)

    def _look_for_terminal(self) -> None:
        """SIGHUP goes to the leader of the session, which may keep it to itself (setsid, a tracer, nohup). Reading a
        terminal that is gone gives nothing at once, and Textual would go on with it on a whole core."""
        try:
            os.tcgetpgrp(0)
        except OSError as error:
            if error.errno == errno.EIO:
                self._signal(signal.SIGHUP)

    def _signal(self, number: int) -> None:
        self.signalled = number
        self.action_leave()

    def action_other_theme(self) -> None:
        self.theme = LIGHT.name if self.theme == DARK.name else DARK.name

    def action_help(self) -> None:
        if not isinstance(self.screen, Help):
            self.push_screen(Help())

    def action_runs(self) -> None:
        self.push_screen(RunsScreen(self.means.folder))

    def action_doctor(self) -> None:
        means = self.means
        self.push_screen(DoctorScreen(self.stored_run(), means.doctor, means.explain, means.is_here))

    def stored_run(self) -> str | None:
        """The store whose doctor is shown; None where there is none."""
        return None

    def action_leave(self) -> None:
        self.exit()

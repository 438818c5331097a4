"""What doctor found: before and after a run, and now. What a check is about is shown in place."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from typing import ClassVar

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from boxcheck.model import Outcome
from boxcheck.tui.doctor_read import Found, Reading, Record, Whose, read_now, stored, whose
from boxcheck.tui.look import FINAL, OF_OUTCOME, cut, filled, in_words, plain
from boxcheck.tui.screens.view import Sized
from boxcheck.tui.threads import in_thread, say
from boxcheck.tui.widgets.keys import Keys

NOW = "doctor now"
HIDDEN = (Outcome.PASS, Outcome.SKIP)


class ReadingsCame(Message):
    def __init__(self, readings: tuple[Reading, ...], whose: Whose | None = None) -> None:
        """`whose`: of which box the run is, where its records were read."""
        super().__init__()
        self.readings, self.whose = readings, whose


class DoctorScreen(Sized):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "explain", "explain"), Binding("a", "passes", "passes too"), Binding("n", "now", "read now"),
        Binding("left", "other(-1)", "before"), Binding("right", "other(1)", "after"),
        Binding("escape,q,d", "back", "back"),
    ]

    def __init__(
        self, path: str | None, program: tuple[str, ...], explain: Callable[[str, int], str],
        is_here: Callable[[str], bool | None],
    ) -> None:
        super().__init__()
        self._path, self._program, self._explain, self._is_here = path, program, explain, is_here
        self._whose: Whose | None = None
        self._readings: tuple[Reading, ...] = ()
        self._at = 0
        self._passes = self._explaining = False
        self._busy = ""
        """What is being read."""
        self._lines: list[Found | None] = []
        self._child: subprocess.Popen[bytes] | None = None
        """What reads the machine: it ends with the screen, so that it reads beside nothing that comes after."""
        self._left = False

    def compose(self) -> ComposeResult:
        yield Static("", id="doctor-head", classes="head", markup=False)
        with Horizontal(id="doctor-body"):
            yield OptionList(id="doctor-list", markup=False)
            with VerticalScroll(id="doctor-detail-box"):
                yield Static("", id="doctor-detail", markup=False)
        yield Keys()

    def on_mount(self) -> None:
        self.query_one(OptionList).focus()
        self._busy = "reading what is kept" if self._path is not None else "reading the machine"
        self._draw()
        in_thread(self._read_stored)

    def on_resize(self) -> None:
        self.set_class(self.app.size.width < 100, "narrow")
        self.call_after_refresh(self._draw)

    def _read_stored(self) -> None:
        try:
            say(self, ReadingsCame(stored(self._path), whose(self._path, self._is_here)))
        except Exception as error:  # noqa: BLE001  said: else it reads for ever
            say(self, ReadingsCame((Reading(name="doctor of this run", why=in_words(error)),), Whose()))

    def _read_now(self) -> None:
        try:
            say(self, ReadingsCame((read_now(self._program, self._began),)))
        except Exception as error:  # noqa: BLE001  said: else it reads for ever
            say(self, ReadingsCame((Reading(name="doctor now", why=in_words(error)),)))

    def _began(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child
        if self._left:
            child.terminate()

    def on_unmount(self) -> None:
        self._left = True
        if self._child is not None:
            self._child.terminate()

    def action_now(self) -> None:
        if not self._program:
            self.notify("the machine is not read from here", markup=False)
            return
        if self._whose is None or self._busy:  # not before it is known what would be read, and once at a time
            return
        if self._whose.is_here is False:
            box = f"box {plain(self._whose.box)}" if self._whose.box else "another box"
            self.notify(
                f"this run is of {box}; doctor would read this machine, {os.uname().nodename}. boxcheck doctor does",
                severity="warning", markup=False)
            return
        self._busy = "reading the machine"
        self._draw()
        in_thread(self._read_now)

    def on_readings_came(self, message: ReadingsCame) -> None:
        if message.whose is not None:
            self._whose = message.whose
        names = {one.name for one in message.readings}
        self._readings = (*(one for one in self._readings if one.name not in names), *message.readings)
        self._busy, self._at = "", max(0, len(self._readings) - 1)
        self._draw()
        if message.whose is not None and self._path is None:
            self.action_now()

    def _called(self, reading: Reading) -> str:
        """Which reading; of which machine, where it is not certain that it is the run's."""
        if reading.name != NOW or self._whose is None or self._whose.is_here:
            return plain(reading.name)
        return f"{NOW}, of this machine, {plain(os.uname().nodename)}"

    @property
    def _reading(self) -> Reading | None:
        return self._readings[self._at] if self._readings else None

    def action_other(self, by: int) -> None:
        if self._readings:
            self._at = min(max(0, self._at + by), len(self._readings) - 1)
            self._draw()

    def action_passes(self) -> None:
        self._passes = not self._passes
        self._draw()

    def action_back(self) -> None:
        if self._explaining:
            self._explaining = False
            self._detail()
        else:
            self.app.pop_screen()

    def action_explain(self) -> None:
        self._explaining = not self._explaining
        self._detail()

    def on_option_list_option_selected(self) -> None:
        self.action_explain()

    def on_option_list_option_highlighted(self) -> None:
        self._explaining = False
        self._detail()

    def _draw(self) -> None:
        head, table = self.query_one("#doctor-head", Static), self.query_one(OptionList)
        reading, width = self._reading, self.size.width or 80
        busy = f"   {self._busy} ..." if self._busy else ""
        which = f"   {self._at + 1} of {len(self._readings)}" if len(self._readings) > 1 else ""
        if reading is None or reading.record is None:
            none = "doctor has not read this box in this run yet; n reads it now"
            says = "" if self._busy else plain(reading.why) if reading else none
            head.update(cut(f" {self._called(reading) if reading else 'doctor'}{which}{busy}   {says}", width))
            self._lines = []
            table.clear_options()
            self._detail()
            return
        verdict = reading.record.verdict
        word, reason = FINAL[verdict.outcome], plain(verdict.reason)
        name, when = f" {self._called(reading)}{which}{busy}", f"   {plain(reading.record.started)}"
        if cell_len(f"{name}{when}   {word}   {reason}") > width:  # the reason is worth more than the time
            when = ""
        room = width - cell_len(f"{name}{when}   {word}   ")
        head.update(Content.assemble(
            cut(f"{name}{when}", max(20, width - len(word) - 3)), "   ", (word, f"bold {OF_OUTCOME[verdict.outcome]}"),
            f"   {cut(reason, room)}" if room > 8 else ""))
        before = table.highlighted
        listed = list(rows(reading.record, self._passes, max(30, (table.size.width or width) - 3)))
        self._lines = [found for _, found in listed]
        table.clear_options()
        table.add_options([Option(text, disabled=found is None) for text, found in listed])
        firsts = [place for place, found in enumerate(self._lines) if found is not None]
        if firsts:
            table.highlighted = before if before in firsts else firsts[0]
        self._detail()

    def _detail(self) -> None:
        at = self.query_one(OptionList).highlighted
        found = self._lines[at] if at is not None and at < len(self._lines) else None
        body = self.query_one("#doctor-detail", Static)
        if found is None:
            body.update("")
        elif self._explaining:
            text = self._explain(found.check, max(24, body.size.width or 60))
            body.update(text or f"nothing more is known of {plain(found.check)}")
        else:
            body.update(Content("\n").join(detail(found, self._reading, max(24, (body.size.width or 60) - 1))))


def rows(record: Record, passes: bool, width: int) -> list[tuple[Content, Found | None]]:
    """Problems with what belongs to them, then what stands alone, then what passed: all of it, or how much."""
    found: list[tuple[Content, Found | None]] = []
    for at, problem in enumerate(record.problems):
        found.append((Content.styled(cut(plain(problem.title), width), f"bold {OF_OUTCOME[problem.outcome]}"), None))
        found += [(_line(one, width, "  "), one) for one in record.findings if one.problem == at]
    alone = [one for one in record.findings if one.problem is None and one.outcome not in HIDDEN]
    if alone and found:
        found.append((Content.styled("by themselves", "bold"), None))
    found += [(_line(one, width, "  " if record.problems else ""), one) for one in sorted(
        alone, key=lambda one: (not one.blocker, one.outcome.rank))]
    hidden = [one for one in record.findings if one.problem is None and one.outcome in HIDDEN]
    passed = sum(one.outcome is Outcome.PASS for one in hidden)
    says = f"{passed} passed, {len(hidden) - passed} did not apply"
    found.append((Content.styled(says if passes else f"{says}; a shows them", "$quiet"), None))
    if passes:
        found += [(_line(one, width, "  "), one) for one in hidden]
    return found


def _line(one: Found, width: int, lead: str) -> Content:
    says = f"{plain(one.place)}: {plain(one.says)}"
    return Content.assemble(
        lead, (f"{one.outcome.value:<9}", f"bold {OF_OUTCOME[one.outcome]}"), cut(says, max(8, width - len(lead) - 9)))


def detail(one: Found, reading: Reading | None, width: int) -> list[Content]:
    lines = [
        Content.assemble((f"{one.outcome.value}", f"bold {OF_OUTCOME[one.outcome]}"), (f"  {plain(one.check)}", "bold"),
                         ("" if one.blocker else "  not required", "$quiet")),
        Content.styled(plain(one.place), "$quiet"), Content(""), *(Content(line) for line in filled(one.says, width))]
    record = reading.record if reading else None
    problem = record.problems[one.problem] if record and one.problem is not None and (
        0 <= one.problem < len(record.problems)) else None
    parts = [("note", text) for text in one.notes]
    if problem is not None:
        parts += [("where", problem.where)] if problem.where else []
        parts += [("help", text) for text in problem.help] + [("not", text) for text in problem.not_]
    else:
        parts += [("help", text) for text in one.help]
    for word, text in parts:
        first, *rest = filled(text, width - 7)
        lines.append(Content.assemble((f"{word:<7}", "bold $primary"), first))
        lines += [Content(f"{'':<7}{line}") for line in rest]
    return [*lines, Content(""), Content.styled("enter: what this check is about", "$quiet")]

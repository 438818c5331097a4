"""What `boxcheck` alone opens: what can be done with this box, and what is known of it from its records. Nothing is
read from the hardware before something is chosen."""

from __future__ import annotations

import os
from typing import ClassVar

import msgspec
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from boxcheck.tui.base import BoxcheckBase, Look, Means
from boxcheck.tui.known import Known, known_of
from boxcheck.tui.look import FINAL, OF_OUTCOME, cut, in_words, moment, plain
from boxcheck.tui.screens.doctor import DoctorScreen
from boxcheck.tui.screens.runs import OpenRun, outcome_of
from boxcheck.tui.screens.view import Sized
from boxcheck.tui.threads import in_thread, say
from boxcheck.tui.widgets.keys import Keys

LEVELS = (
    ("1", "about 2 minutes", "does all of it work"), ("2", "15 minutes", "after a change"),
    ("3", "an hour", "warm through"), ("4", "eight hours", "before it is handed over"))
"""As `boxcheck burn --level` has them."""


class Choice(msgspec.Struct, frozen=True):
    """What is to be done once the screen is closed."""

    command: str
    """`burn`, `watch`, `riser`, `attach`."""
    word: str = ""
    """Level of a burn-in, path of a run."""


class KnownCame(Message):
    def __init__(self, known: Known) -> None:
        super().__init__()
        self.known = known


class StartScreen(Sized):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "choose"), Binding("d", "pick('doctor')", "doctor", show=False),
        Binding("b", "pick('burn')", "burn in", show=False), Binding("w", "pick('watch')", "watch", show=False),
        Binding("i", "pick('riser')", "riser", show=False), Binding("a", "pick('attach')", "attach", show=False),
        Binding("r", "pick('runs')", "runs", show=False), Binding("q,escape", "app.leave", "leave"),
    ]

    def __init__(self, has_riser: bool) -> None:
        super().__init__()
        self._known: Known | None = None
        self._has_riser = has_riser

    def compose(self) -> ComposeResult:
        yield Static(" boxcheck   bring up, validate and certify this box", classes="head", markup=False)
        yield Static(" reading the records ...", id="known", markup=False)
        yield OptionList(id="menu", markup=False)
        yield Static("", id="start-rest")
        yield Keys()

    def on_mount(self) -> None:
        self._fill()
        self.query_one(OptionList).focus()
        in_thread(self._read)

    def _read(self) -> None:
        assert isinstance(self.app, BoxcheckBase)
        means = self.app.means
        try:
            known = known_of(means.folder, means.is_here)
        except Exception as error:  # noqa: BLE001  said: else it reads for ever
            known = Known(why=in_words(error))
        say(self, KnownCame(known))

    def on_resize(self) -> None:
        self._say()
        self._fill()

    def on_known_came(self, message: KnownCame) -> None:
        self._known = message.known
        self._say()
        self._fill()

    def _say(self) -> None:
        if self._known is not None:
            self.query_one("#known", Static).update(words_of(self._known, max(40, self.app.size.width - 2)))
        self.set_class(self.app.size.height < 20, "low")

    def _fill(self) -> None:
        running = self._known.running if self._known else None
        items = [
            ("doctor", "d", "doctor", "what is wrong with this box, and what to do; takes seconds"),
            ("burn", "b", "burn in", "load on all of it, every result verified; 2 minutes to 8 hours"),
            ("watch", "w", "watch", "links, heat and power beside your own work; no load"),
            ("runs", "r", "runs", "what was run, reports, two of them side by side")]
        if self._has_riser:
            items.insert(3, ("riser", "i", "riser", "which part of a bad link is at fault, by swapping"))
        if running is not None:
            items.insert(0, ("attach", "a", "attach", f"the run that goes on: {plain(running.id)}"))
        menu = self.query_one(OptionList)
        at, room = menu.highlighted, max(20, self.app.size.width - 17)
        menu.clear_options()
        menu.add_options([
            Option(Content.assemble((f" {key}  ", "bold $primary"), (f"{name:<10}", "bold"), cut(says, room)), id=id)
            for id, key, name, says in items])
        menu.highlighted = at if at is not None and at < len(items) else 0

    def action_choose(self) -> None:
        menu = self.query_one(OptionList)
        if menu.highlighted is not None:
            self.action_pick(menu.get_option_at_index(menu.highlighted).id or "")

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.action_pick(event.option.id or "")

    async def _do(self, action: str) -> None:
        await self.app.run_action(action)

    def _burn(self, level: str | None) -> None:
        if level:
            self.app.exit(Choice("burn", level))

    @property
    def run_goes_on(self) -> bool:
        """Whether a run goes on, beside which doctor puts no load on anything."""
        return self._known is not None and self._known.running is not None

    def action_pick(self, what: str) -> None:
        running = self._known.running if self._known else None
        if what in ("doctor", "runs"):
            self.app.call_later(self._do, what)
        elif what == "burn":
            if running is not None and running.kind != "watch":
                self.notify("a run goes on; a shows it", markup=False)
                return
            self.app.push_screen(AskLevel(), self._burn)
        elif what == "attach" and running is not None:
            self.app.exit(Choice("attach", running.path))
        elif what == "watch" or (what == "riser" and self._has_riser):
            self.app.exit(Choice(what))


class AskLevel(ModalScreen[str]):
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(key, f"dismiss('{key}')", f"level {key}") for key, _, _ in LEVELS),
        Binding("escape,q", "dismiss('')", "back")]

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Content.styled("Burn in: how long?\n", "bold"))
            yield OptionList(*(
                Option(Content.assemble((f" {key}  ", "bold $primary"), f"{time:<18}", (why, "$quiet")), id=key)
                for key, time, why in LEVELS), id="levels")
            yield Static(Content.styled("\nThe run goes on without this screen. escape: back", "$quiet"))

    def on_mount(self) -> None:
        self.query_one(OptionList).focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option.id)


def words_of(known: Known, width: int) -> Content:
    """The last verdict on this box, its profile, and what came since that no verdict tells."""
    if known.why:
        return Content.styled(f" {cut(plain(known.why), width)}", "$unknown")
    lines: list[Content] = []
    last = known.last
    outcome = outcome_of(last) if last is not None else None
    if last is not None and outcome is not None:
        box = f"box {plain(last.box)}   " if last.box else ""
        when = moment(last.finished or last.started)
        lines += [
            Content.assemble((f" {box}", "bold"), cut(f"profile {plain(last.profile or 'none')}", width)),
            Content.assemble(
                " last verdict  ", (FINAL[outcome], f"bold {OF_OUTCOME[outcome]}"),
                cut(f"  by {plain(last.kind or 'a run')}, {when} UTC", max(20, width - 24)))]
        if not known.is_here:
            lines.append(Content.styled(" of a box that is not known to be this one", "bold $unknown"))
    else:
        none = "no verdict on this box yet"
        lines.append(Content(f" {none if known.runs else 'no record of this box yet: doctor makes the first'}"))
    lines += [Content.styled(cut(f" {line}", width), "bold $unknown") for line in _since(known)]
    count = f"{known.runs} record{'' if known.runs == 1 else 's'} here"
    if known.others:
        boxes = ", ".join(dict.fromkeys(plain(one.box) for one in known.others if one.box))
        count += f"; {len(known.others)} {'newer ' if known.last else ''}of other boxes{f': {boxes}' if boxes else ''}"
    return Content("\n").join([*lines, Content.styled(cut(f" {count}", width), "$quiet")])


def _since(known: Known) -> list[str]:
    since = "newer: " if known.last is not None else ""
    found = []
    if known.crashed:
        one = known.crashed[0]
        how = "was cut off" if one.state == "crashed" else f"{one.state} without a verdict"
        more = f", and {len(known.crashed) - 1} more" if len(known.crashed) > 1 else ""
        where = f" in {plain(one.phase)}" if one.phase else ""
        found.append(f"{since}{plain(one.kind or 'a run')}, {moment(one.started)}, {how}{where}{more}")
    if known.unread:
        more = f" and {len(known.unread) - 1} more" if len(known.unread) > 1 else ""
        found.append(f"{since}{os.path.basename(plain(known.unread[0].path))}{more} cannot be read: r tells why")
    return found


class StartApp(BoxcheckBase[Choice]):
    def __init__(self, means: Means, look: Look, *, has_riser: bool = False) -> None:
        super().__init__(means, look)
        self._has_riser = has_riser

    def on_mount(self) -> None:
        self.push_screen(StartScreen(self._has_riser))

    def action_doctor(self) -> None:
        screen = self.screen
        quiet = ("--no-wake",) if isinstance(screen, StartScreen) and screen.run_goes_on else ()
        means = self.means
        self.push_screen(DoctorScreen(None, (*means.doctor, *quiet), means.explain, means.is_here))

    def on_open_run(self, message: OpenRun) -> None:
        self.exit(Choice("attach", message.path))

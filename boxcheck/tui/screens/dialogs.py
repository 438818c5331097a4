"""Questions, and the keys."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static


class Ask(ModalScreen[bool]):
    """Asks once. Only y is yes: enter, which opens things everywhere else, is no, as is anything that leaves."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "dismiss(True)", "yes"), Binding("n,enter,escape,q", "dismiss(False)", "no")]
    QUESTION, SAYS, YES, NO = "", "", "yes", "no"

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Content.assemble(
                (f"{self.QUESTION}\n\n", "bold"), f"{self.SAYS}\n\n",
                ("y", "bold $primary"), f" {self.YES}     ", ("n", "bold $primary"), " or ",
                ("enter", "bold $primary"), f" {self.NO}"))

    def on_mount(self) -> None:
        self.app.clear_notifications()  # what was said before would lie over the question


class AskStop(Ask):
    QUESTION = "End the run?"
    SAYS = (
        "The load stops within two seconds. What was measured is judged; what was not run makes the verdict unknown.")
    YES, NO = "end it", "go on"


class AskAccount(Ask):
    QUESTION = "The run has ended."
    SAYS = "Leave this screen and print its account?"
    YES, NO = "print it", "stay here"


KEYS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("on every screen", (
        ("?", "this"), ("ctrl+p", "all commands, by name"), ("T", "dark or light"),
        ("q, escape", "back; on the first screen q leaves, and the run goes on"),
        ("ctrl+c ctrl+q", "leave at once; the run goes on"))),
    ("run", (
        ("up, down", "choose a GPU (j and k as well)"), ("enter", "its curves, its link, what was found of it"),
        ("e m l f", "events, copies between GPUs, links, findings; up and down scroll there"),
        ("/", "show events with some words only; escape shows all"),
        ("b", "the verdict, for the other side of the room"), ("s", "end the run (asks once; y ends it)"),
        ("r", "other runs"), ("d", "what doctor found before and after, or finds now"))),
    ("GPU", (
        ("+ - 0", "nearer, farther, the whole run"), ("left, right", "earlier, later"),
        ("r R", "the rate of the next kind of work, or of the one before"),
        ("a", "the rates of all kinds, or of one"),
        ("n p", "next and previous GPU"), ("l", "its link, from the root port to the card"))),
    ("links", (("up, down", "choose a GPU's link"), ("enter", "that link as a tree"))),
    ("doctor", (
        ("up, down", "choose a finding"), ("enter", "what its check is about, and back"),
        ("left, right", "the reading before, after, now"), ("a", "passes too"), ("n", "read the machine now"))),
    ("runs", (
        ("enter", "open it"), ("space", "mark it, or not"), ("c", "the two marked ones side by side"),
        ("r", "look again"))),
    ("two runs side by side", (
        ("a", "what changed alone, or all of it"), ("up, down", "the chosen row in full, below"))),
    ("a run that is played again", (
        ("space", "stand still, go on"), ("< >", "slower, faster"), ("[ ]", "a minute back, a minute on"))),
    ("words and marks", (
        ("x8! 16", "eight lanes at 16 GT/s, and it had more lanes before; x16 8!: it was faster"),
        ("(158.2)", "measured more than 20 s ago"),
        ("-", "not read, or too old to be shown; never zero"),
        ("25.1<", "less than the profile asks"), ("25.1!", "wrong data arrived"),
        ("15.7*", "more than a tenth from the median of its matrix, where the profile asks nothing; no judgement"),
        ("so far", "of what was judged until now; the verdict comes at the end"))),
)


class Help(ModalScreen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,enter,question_mark", "app.pop_screen", "back")]

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog tall"):
            yield Static("", id="help-text")

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()

    def on_resize(self) -> None:
        import textwrap

        width = max(20, self.query_one(VerticalScroll).size.width - 22)
        lines: list[Content] = []
        for title, keys in KEYS:
            lines.append(Content.styled(title, "bold"))
            for key, words in keys:
                first, *rest = textwrap.wrap(words, width)
                lines.append(Content.assemble((f"  {key:<15}", "$primary"), first))
                lines += [Content(f"{'':<17}{line}") for line in rest]
            lines.append(Content(""))
        self.query_one("#help-text", Static).update(Content("\n").join(lines[:-1]))

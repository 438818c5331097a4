"""What a family of messages looks like to the parser, and the table-driven part that most families share."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from boxcheck.model import Bdf

from .envelope import Line
from .events import Cause, Severity
from .ledger import Fold, Ledger
from .words import Rx, normal_bdf


class Family(Protocol):
    """Messages of one subject. It sees the lines that hold one of its anchors, in order, and those it asks for."""

    def read(self, line: Line, out: Ledger) -> int:
        """Take a line in. Returns how many of the following lines it wants to see whatever they hold."""
        ...

    def finish(self, out: Ledger) -> None:
        """The boot or the text is over: hand in what is still open."""
        ...


class Rule(NamedTuple):
    """One message that is one event."""

    needle: str
    """Must be in the message; looked for before any pattern."""
    kind: str
    severity: Severity
    cause: Cause | None
    says: str
    """May hold {label} and {bdf}."""
    help: tuple[str, ...] = ()
    pattern: Rx | None = None
    """Must match too. Its groups: `label`, `label2`, `bdf`, `count`, `process`."""
    variant: str = ""
    label: str | None = None
    """A fixed label, when the pattern gives none."""


class Fitting(NamedTuple):
    """A rule that fits a message, and what its pattern found there."""

    rule: Rule
    labels: tuple[str, ...]
    bdf: Bdf | None
    times: int
    process: str | None


_Fitting = Fitting | None
_REMEMBERED: dict[int, tuple[tuple[Rule, ...], dict[str, _Fitting]]] = {}
"""By the identity of a table, which is kept so that no other takes it: message -> what fits it."""
_MOST_REMEMBERED = 1024
_LONGEST_REMEMBERED = 512
"""Messages of one table, and characters of one. A flood repeats a few of them."""


def _fitting(rules: tuple[Rule, ...], message: str) -> _Fitting:
    """The first rule that fits a message."""
    own = _REMEMBERED.get(id(rules))
    if own is None:
        own = _REMEMBERED[id(rules)] = (rules, {})
    table = own[1]
    if message in table:
        return table[message]
    fitting = _first(rules, message)
    if len(message) <= _LONGEST_REMEMBERED:
        if len(table) >= _MOST_REMEMBERED:
            table.clear()
        table[message] = fitting
    return fitting


def _first(rules: tuple[Rule, ...], message: str) -> _Fitting:
    for rule in rules:
        if rule.needle not in message:
            continue
        if rule.pattern is None:
            return Fitting(rule, (rule.label,) if rule.label else (), None, 1, None)
        found = rule.pattern.search(message)
        if found is not None:
            groups = found.groupdict()
            labels = tuple(text for text in (groups.get("label"), groups.get("label2")) if text)
            if not labels and rule.label:
                labels = (rule.label,)
            count = groups.get("count")
            return Fitting(rule, labels, normal_bdf(groups.get("bdf")), int(count[:9]) if count else 1,
                           groups.get("process"))
    return None


def apply(rules: tuple[Rule, ...], line: Line, out: Ledger, fallback: Bdf | None = None) -> Fold | None:
    """Book the first rule that fits `line`, None when none does. `fallback` is the device when the line names none."""
    fitting = _fitting(rules, line.message)
    if fitting is None:
        return None
    rule, labels, named, count, process = fitting
    bdf = named or line.bdf or fallback
    fold = out.add(rule.kind, line, bdf=bdf, labels=labels, variant=rule.variant, count=count)
    if fold.wants(rule.severity):
        label = labels[0] if labels else ""
        fold.describe(rule.severity, rule.cause, rule.says.format(label=label, bdf=bdf or "a device"), rule.help)
        if process:
            fold.details["process"] = process[:80]
    return fold

"""Messages that somebody quotes within a sentence: `My card never reports "NVRM: Xid ...", what does it mean?`

A message of the kernel begins its line, behind the envelope if there is one. Where words of a sentence stand before it,
nobody knows whether it happened, and on which machine: what it would tell is told as info, apart from what the log
itself has, and it neither begins nor ends anything that takes several lines.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

from .envelope import Line, begins_message
from .family import Family
from .ledger import Ledger
from .words import Rx

_WORDS = Rx(
    r"(?i)(?<![\w/.-])(?:i|i'm|i've|my|me|we|our|you|your|he|she|they|their|it|it's|is|are|was|were|does|do|did|don't|doesn't"
    r"|what|why|how|who|where|when|whether|if|that|this|these|those|there|see|saw|seen|get|gets|got|getting|read|search"
    r"|say|says|said|about|because|caused|called|like|never|ever|always|only|just|also|please|hi|hello|thanks|anyone"
    r"|someone|somebody|messages?|terms?|example|means?|ignore|safe|have|has|had|with|and|but|the)(?![\w/-])"
)
"""Words that stand before a quoted message. Few messages of the kernel begin with one of them."""
_FIELD = Rx(r"""(?i)[\s{,]?["']?(?:message|msg|log|line|text|body)["']?\s{0,4}[:=]\s{0,4}["']?(?:N|NVRM: ?)?$""")
"""Name of a field that holds a message, as log servers and clusters print it: no sentence."""


class Sentences:
    """Tells such lines from others, and reads them."""

    def __init__(self, first_word: Callable[[bytes], int]) -> None:
        """`first_word` finds where in a message the first word stands that a family is called for, -1 for none."""
        self._first_word = first_word
        self._quotes = functools.lru_cache(maxsize=2048)(self._looks_quoted)

    def quotes(self, line: Line) -> bool:
        """Whether a line without an envelope quotes a message within a sentence."""
        return not line.headed and _WORDS.search(line.message) is not None and self._quotes(line.message)

    def _looks_quoted(self, message: str) -> bool:
        if begins_message(message, stamped=False):
            return False
        encoded = message.encode("utf-8", "replace")
        at = self._first_word(encoded)
        before = encoded[:at].decode("utf-8", "ignore") if at > 0 else ""
        field = _FIELD.search(before[-64:])
        if field is not None:
            before = before[: len(before) - len(field[0])]
        return _WORDS.search(before) is not None

    def read(self, line: Line, families: Iterable[type[Family]], out: Ledger) -> None:
        """Book what the line tells, with families of its own, which know nothing else and are asked nothing more."""
        line.quoted = True
        for make in families:
            family = make()
            family.read(line, out)
            family.finish(out)

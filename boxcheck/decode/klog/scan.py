"""Where any of many words stand in a block of bytes.

Two ways to the same answer. `bytes.find` for each word needs nothing, and has read some pages of a log before the other
way is even imported. A longer text goes through an automaton that looks for all words in one pass (Aho-Corasick, the
`ahocorasick_rs` wheel): 20 times the speed for a hundred words. Without the wheel the first way serves for all sizes.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Protocol

_WINDOW_BYTES = 4096
"""Of a line without an end, a word is reported at least once in each stretch of this length."""


class _Automaton(Protocol):
    def find_matches_as_indexes(
        self, haystack: bytes | memoryview, overlapping: bool = False
    ) -> list[tuple[int, int, int]]: ...


@functools.lru_cache(maxsize=8)
def _made(words: tuple[bytes, ...]) -> _Automaton | None:
    """The automaton of these words: a run reads several logs, and making it costs as much as reading 20 KB."""
    try:
        from ahocorasick_rs import BytesAhoCorasick, Implementation
    except ImportError:
        return None
    automaton: _Automaton = BytesAhoCorasick(words, implementation=Implementation.DFA)
    return automaton


class Scanner:
    """Looks for words, all at once. Words may overlap and hold each other (` reset` in ` GPU reset`)."""

    def __init__(self, words: Sequence[bytes]) -> None:
        self.words = tuple(words)
        self._automaton: _Automaton | None = None

    def quicken(self) -> bool:
        """Prepare for megabytes. Returns whether the automaton is at hand; without it, `find` stays as it is."""
        if self._automaton is None and self.words:
            self._automaton = _made(self.words)
        return self._automaton is not None

    def find(self, block: bytes, start: int, end: int) -> list[tuple[int, int]]:
        """Return (offset, index of the word) of what stands between `start` and `end`, in the order of the words' ends.

        Of a word that stands several times on one line, at least the first is reported.
        """
        if self._automaton is not None:
            with memoryview(block) as view, view[start:end] as part:
                found = self._automaton.find_matches_as_indexes(part, overlapping=True)
            return [(start + first, index) for index, first, _ in found]
        hits: list[tuple[int, int, int]] = []
        find = block.find
        for index, word in enumerate(self.words):
            at = find(word, start, end)
            while at >= 0:
                hits.append((at + len(word), at, index))
                beyond = at + _WINDOW_BYTES
                line_end = find(b"\n", at + len(word), beyond)
                at = find(word, line_end if line_end >= 0 else beyond, end)
        hits.sort()
        return [(at, index) for _, at, index in hits]

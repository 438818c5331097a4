"""Which lines of a block hold a word of interest, and for whom."""

from __future__ import annotations

from collections.abc import Sequence

from . import notes
from .anchors import ANCHORS, BOOT, FAMILIES
from .assemble import MAX_LINE_CHARACTERS, MAX_RECORD_CHARACTERS, head_of_long_line
from .boots import PART_WORD
from .scan import Scanner

# What a line may be of interest for, one bit each: the families, then what the parser reads itself.
_NAMES = (*FAMILIES, BOOT, "note", "repeat", "part", "array", "residue")
_BITS = {name: 1 << index for index, name in enumerate(_NAMES)}
FAMILY_OF_BIT = {_BITS[name]: FAMILIES[name] for name in FAMILIES}
"""Bit -> (module, class)."""
BOOT_BIT, NOTE_BIT, REPEAT_BIT, PART_BIT, ARRAY_BIT, RESIDUE_BIT = (
    _BITS[name] for name in (BOOT, "note", "repeat", "part", "array", "residue"))
FAMILY_BITS = sum(FAMILY_OF_BIT)
OWN_BITS = NOTE_BIT | REPEAT_BIT | PART_BIT | ARRAY_BIT
_OWN_WORDS: tuple[tuple[str, tuple[bytes, ...]], ...] = (
    ("note", notes.WORDS), ("repeat", (notes.REPEAT_WORD,)), ("part", (PART_WORD,)), ("array", (b'"MESSAGE":[',)),
)

_QUICKEN_WORK = 6_000_000
"""Bytes times words from which the scanner's automaton pays for its import and making, 2 ms: 40 KB for 140 words."""


class Marks:
    """Looks for all words: those of the families, of the residue, and those that somebody asked for beside."""

    def __init__(self, residue: Sequence[bytes], also: Sequence[bytes]) -> None:
        bits: dict[bytes, int] = {}
        for name, words in (*((name, tuple(word.encode() for word in words)) for name, words in ANCHORS), *_OWN_WORDS,
                            ("residue", tuple(residue))):
            for word in words:
                bits[word] = bits.get(word, 0) | _BITS[name]
        self._bits = [*bits.values(), *(0 for _ in also)]
        self._own = len(bits)
        self._scanner = Scanner((*bits, *also))
        self._lengths = [len(word) for word in self._scanner.words]
        self._residue = bool(residue)

    def mask_of(self, text: bytes) -> int:
        """What one message is of interest for."""
        mask = 0
        for _, index in self._scanner.find(text, 0, len(text)):
            mask |= self._bits[index]
        return mask

    def first_word(self, text: bytes) -> int:
        """Where the first word of a family stands in a message, -1 for none."""
        return min((at for at, index in self._scanner.find(text, 0, len(text))
                    if index < self._own and self._bits[index] & FAMILY_BITS), default=-1)

    def lines(self, buffer: bytes, start: int, base: int) -> tuple[list[int], list[int], list[tuple[int, int]]]:
        """Where the lines from `start` on begin that hold a word, what each is for, and the words asked for beside.

        A line without an end counts as one for each `MAX_LINE_CHARACTERS` of it. `base` is where in the text the
        buffer begins.
        """
        if (base + len(buffer)) * len(self._lengths) > _QUICKEN_WORK:
            self._scanner.quicken()
        heads: list[int] = []
        masks: list[int] = []
        also: list[tuple[int, int]] = []
        bits, lengths, own = self._bits, self._lengths, self._own
        find, rfind = buffer.find, buffer.rfind
        stop = start
        listed = False
        """Whether the line that ends at `stop` is among them."""
        if self._residue and base + start == 0:
            # The level of the first line has no line end before it.
            heads.append(0)
            masks.append(RESIDUE_BIT)
            stop = find(b"\n", 0, MAX_LINE_CHARACTERS)
            stop = stop if stop >= 0 else MAX_LINE_CHARACTERS
            listed = True
        # A word of the residue begins with the line end before its line.
        for first, index in self._scanner.find(buffer, max(start - 1, 0), len(buffer)):
            if index >= own:
                if first >= start:
                    also.append((first, index - own))
                continue
            at = first + lengths[index] - 1
            if at >= stop:
                floor = max(stop, at - MAX_LINE_CHARACTERS)
                reach = MAX_LINE_CHARACTERS
                head = rfind(b"\n", floor, at) + 1
                whole: int | None = head
                if head == 0:
                    head = floor
                    whole = head_of_long_line(buffer, floor, at) if floor > 0 else floor
                    if whole is not None and floor > whole >= stop:
                        head, reach = whole, MAX_RECORD_CHARACTERS
                tail = find(b"\n", at, at + reach)
                stop = tail if tail >= 0 else at + reach
                listed = whole is not None
                if listed:
                    heads.append(head)
                    masks.append(bits[index])
            elif listed:
                masks[-1] |= bits[index]
        return heads, masks, also

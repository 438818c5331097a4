"""What wrong words of memory have in common: a data line, an address line, a lost write, a range, a cell, reading.

Pure functions over records. A conclusion needs more than chance would give: the reasons stand beside each number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from boxcheck.kernels import reference
from boxcheck.stress import bits_word
from boxcheck.stress.transfers import GRANULE
from boxcheck.stress.vram_patterns import ADDRESS, Pattern
from boxcheck.stress.vram_records import Fault, FaultKind, Record

SECTOR_WORDS = 8
"""32 bytes: what one access to GDDR6, GDDR7, HBM or LPDDR5 brings (a burst of 16 on 16 lines, of 4 on 64 lines)."""
LINE_SECTORS = 4
"""One bit of 32 at that many places by chance: 1 in 32^3."""
MOST_LINES = 4
LINE_PART = 0.9
LANE_BITS = 8
"""Data lines that share a clock and a parity come in eights (GDDR: one EDC or DBI pin for eight DQ pins)."""
LANE_WORDS = 12
"""All of that many words within one byte by chance: 1 in 4^11 for single bits, less for more bits."""


class _Sorting:
    """Records that are not explained yet, and the faults found so far."""

    def __init__(self, records: Sequence[Record], granules: int) -> None:
        self.records = records
        self.granules = granules
        self.left = list(range(len(records)))
        self.kinds: dict[int, str] = {}
        self.faults: list[Fault] = []
        wrong = {(record.number, record.block_first): record.block_wrong for record in records}
        self._all_kept = sum(wrong.values()) == len(records)

    def explain(self, kind: FaultKind, numbers: Mapping[int, str], says: str) -> None:
        """These records, each with a word for it, are one fault. One record may be of two data lines."""
        if numbers:
            self.faults.append(Fault(kind=kind, words=len(numbers), says=says))
            self.kinds = {**numbers, **self.kinds}
            self.left = [number for number in self.left if number not in numbers]

    def places(self, numbers: Iterable[int]) -> str:
        """`3 places`; where more was wrong than was kept, of how many that were looked at."""
        count = len({self.records[number].index for number in numbers})
        if self._all_kept:
            return f"{count} place{'' if count == 1 else 's'}"
        known = len({record.index for record in self.records})
        return f"all {count} places looked at" if count == known else f"{count} of {known} places looked at"


def classify(records: Sequence[Record], granules: int) -> tuple[tuple[Fault, ...], tuple[str, ...]]:
    """The faults that explain the records of a run, the most frequent first, and for each record a word for what it
    looks like. `granules` is the size of the region."""
    sorting = _Sorting(records, granules)
    read = {number: "read fault" for number in sorting.left if _read_wrong(records[number])}
    sorting.explain("read", read, (
        f"right when read again, in {sorting.places(read)}: stored right and read wrong, by the lines between memory "
        "and GPU or by a cache, not by dead cells"))
    lost = {number: "old value" for number in sorting.left if _is_of(records[number], records[number].before)}
    sorting.explain("lost-write", lost, f"the value of the pass before in {sorting.places(lost)}: a write was lost")
    _explain_misplaced(sorting)
    _explain_lines(sorting)
    _explain_ranges(sorting)
    _explain_cells(sorting)
    ordered = sorted(sorting.faults, key=lambda fault: -fault.words)
    return tuple(ordered), tuple(sorting.kinds[number] for number in range(len(records)))


def _read_wrong(record: Record) -> bool:
    if record.again == record.expected:
        return True
    return bool(record.later) and not record.rewritten and not any(record.later)


def _is_of(record: Record, pattern: Pattern | None) -> bool:
    """Whether the word is what this pattern has there. Patterns that follow one another differ in more than one bit of
    nearly every word, so that one bit that flipped is not taken for it."""
    return pattern is not None and record.flipped.bit_count() > 1 and pattern.word(record.index) == record.found


def _explain_misplaced(sorting: _Sorting) -> None:
    """Words that were meant for another address.

    A damaged word names some address of the region by chance as often as the region fills the 2^32 granules that a key
    can name. So an address counts only when it differs from the word's own in one bit (32 of 2^32), or when several
    words agree on the distance.
    """
    records = sorting.records
    distances = {number: _distances(records[number], sorting.granules) for number in sorting.left}
    votes: defaultdict[int, set[int]] = defaultdict(set)
    for number, found in distances.items():
        for distance in found:
            votes[distance].add(records[number].index)
    lines: defaultdict[int, dict[int, str]] = defaultdict(dict)
    elsewhere: dict[int, str] = {}
    for number, found in distances.items():
        record = records[number]
        best = max(found, key=lambda one: (one.bit_count() == 1, len(votes[one])), default=0)
        if best.bit_count() == 1:
            lines[best.bit_length() - 1][number] = _meant(record, best)
        elif best and len(votes[best]) > 1:
            elsewhere[number] = _meant(record, best)
        elif record.after is not None and record.after.kind != ADDRESS and _is_of(record, record.after):
            # It is compared before it is written, so a write to another address brought it there.
            elsewhere[number] = "the next value, before its turn"
    if lines and elsewhere:  # what passes with other patterns show of the same fault
        lines[max(lines, key=lambda bit: len(lines[bit]))].update(elsewhere)
        elsewhere = {}
    for bit, numbers in lines.items():
        of_offset = bit + GRANULE.bit_length() - 1
        sorting.explain("address-line", numbers, (
            f"bit {of_offset} of the place in the region: {sorting.places(numbers)} hold what was meant for the place "
            f"{_size(1 << of_offset)} away: an address line of a memory chip, its solder, or the memory controller"))
    sorting.explain("misplaced", elsewhere, (
        f"{sorting.places(elsewhere)} hold what was meant for other addresses: the memory controller, or the "
        "translation of addresses"))


def _distances(record: Record, granules: int) -> set[int]:
    """Granule numbers, as differences (exclusive or) to its own, for which the found word would be right. None for one
    bit that flipped."""
    found: set[int] = set()
    own = record.index // 4
    if record.flipped.bit_count() < 2:
        return found
    for pattern in (record.pattern, record.after):
        if pattern is None or pattern.kind != ADDRESS:
            continue
        for high in range((granules - 1 >> 32) + 1):
            index = (high << 34) | record.index & 0x3FFFFFFFF
            granule = reference.meant_for(index, record.found, pattern.key)
            if granule < granules and granule != own:
                found.add(granule ^ own)
    return found


def _meant(record: Record, distance: int) -> str:
    return f"meant for word {4 * (record.index // 4 ^ distance) + record.index % 4}"


def _explain_lines(sorting: _Sorting) -> None:
    """Few bits of the word, at many addresses."""
    records, left = sorting.records, sorting.left
    sectors: defaultdict[int, set[int]] = defaultdict(set)
    for number in left:
        for bit in _bits(records[number].flipped):
            sectors[bit].add(records[number].index // SECTOR_WORDS)
    lines = sorted(bit for bit, places in sectors.items() if len(places) >= LINE_SECTORS)
    mask = sum(1 << bit for bit in lines)
    of_lines = [number for number in left if not records[number].flipped & ~mask]
    if lines and len(lines) <= MOST_LINES and len(of_lines) >= LINE_PART * len(left):
        for bit in lines:
            mine = [number for number in of_lines if records[number].flipped >> bit & 1]
            stuck = {records[number].found >> bit & 1 for number in mine}
            state = f", always {min(stuck)}" if len(stuck) == 1 else ""
            sorting.explain("data-line", dict.fromkeys(mine, f"data line {bit}"), (
                f"bit {bit} of the data lines{state}, in {sorting.places(mine)}: a memory chip or its solder, or the "
                "memory controller"))
        return
    for lane in range(32 // LANE_BITS):
        low = lane * LANE_BITS
        inside = ((1 << LANE_BITS) - 1) << low
        mine = [number for number in left if not records[number].flipped & ~inside]
        spread = {records[number].index // SECTOR_WORDS for number in mine}
        bits = {bit for number in mine for bit in _bits(records[number].flipped)}
        if len(mine) >= max(LANE_WORDS, LINE_PART * len(left)) and len(spread) >= 2 * LINE_SECTORS and len(bits) > 1:
            sorting.explain("data-line", dict.fromkeys(mine, f"byte lane {lane}"), (
                f"bits {low} to {low + LANE_BITS - 1} of the data lines and no others, in {sorting.places(mine)}: a "
                "byte lane of a memory chip, its solder, or the memory controller"))
            return


def _explain_ranges(sorting: _Sorting) -> None:
    """Sectors all of whose words are wrong."""
    records = sorting.records
    words: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
    for number in sorting.left:
        words[_sector(records[number])].add(records[number].index)
    mine = [number for number in sorting.left if len(words[_sector(records[number])]) == SECTOR_WORDS]
    if not mine:
        return
    found = {records[number].found for number in mine}
    value = ", all zeros" if found == {0} else ", all ones" if found == {0xFFFFFFFF} else ""
    passes = {records[number].number for number in mine}
    size = max(_extent([records[number] for number in mine if records[number].number == one]) for one in passes)
    sorting.explain("range", dict.fromkeys(mine, "part of a range"), (
        f"whole ranges of {SECTOR_WORDS * 4} bytes and more, up to {_size(size)}{value}: a burst on the way to or from "
        "memory, a row of a chip, or something else that wrote there"))


def _sector(record: Record) -> tuple[int, int]:
    """Pass and sector."""
    return record.number, record.index // SECTOR_WORDS


def _extent(records: Sequence[Record]) -> int:
    """Bytes of the aligned range, a power of two, that holds the records of one pass, or that all the wrong words of a
    block would fill where more were wrong than were kept."""
    sizes = []
    for first in {record.block_first for record in records}:
        mine = [record for record in records if record.block_first == first]
        low, high = min(record.index for record in mine), max(record.index for record in mine)
        span = 1 << ((low - first) ^ (high - first)).bit_length()
        wrong = max(record.block_wrong for record in mine)
        filled = 1 << (wrong - 1).bit_length()
        sizes.append(4 * (span if wrong <= len(mine) else max(span if span <= 2 * filled else 0, filled)))
    return max(sizes)


def _explain_cells(sorting: _Sorting) -> None:
    """What is left: single bits, and words with many wrong bits."""
    records = sorting.records
    single = {number: f"one bit ({_bits(records[number].flipped)[0]})" for number in sorting.left
              if records[number].flipped.bit_count() == 1}
    mine = [records[number] for number in single]
    places = len({(record.index, record.flipped) for record in mine})
    repeated = _repeated(mine)
    if places == 1:
        sorting.explain("cell", single, f"one bit of one word{repeated}")
    elif places < 2 * LINE_SECTORS:
        sorting.explain("cells", single, f"single bits in {places} places{repeated}")
    else:
        sorting.explain("scattered", single, (
            f"single bits in {places} places, no line in common: memory clock, voltage or heat, rather than one "
            f"chip{repeated}"))
    many = {number: bits_word(records[number].expected, records[number].found) for number in sorting.left}
    sorting.explain("garbled", many, (
        f"many bits of single words, in {sorting.places(many)}, no line or address in "
        f"common{_repeated([records[number] for number in many])}"))


def _repeated(records: Sequence[Record]) -> str:
    """Whether the same places were wrong with other patterns, and when they were written anew; empty where neither was
    tried. What stays wrong until it is written again says nothing."""
    patterns: defaultdict[int, set[Pattern]] = defaultdict(set)
    for record in records:
        patterns[record.index].add(record.pattern)
    tried = [record.retests for record in records if record.retests is not None]
    wrong, times = sum(bad for bad, _ in tried), sum(of for _, of in tried)
    most = max(map(len, patterns.values()), default=0)
    if wrong:
        return f"; wrong again in {wrong} of {times} tries when it was written anew: bad cells"
    if most > 1:
        return f"; wrong with {most} patterns: bad cells"
    return f"; right in all {times} tries when it was written anew: disturbed once, or rarely bad" if tried else ""


def _bits(word: int) -> list[int]:
    return [bit for bit in range(32) if word >> bit & 1]


def _size(size_bytes: int) -> str:
    """`64 bytes`, `4 KiB`, `64 MiB`."""
    for unit, one in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size_bytes >= one:
            return f"{size_bytes // one} {unit}"
    return f"{size_bytes} bytes"

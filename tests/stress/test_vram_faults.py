"""What wrong words have in common, from records alone: each kind, and by a notch not that kind."""

from __future__ import annotations

from itertools import islice, pairwise
from typing import Any

import msgspec
import numpy as np
import pytest

from boxcheck.stress import Rig
from boxcheck.stress.vram_faults import classify
from boxcheck.stress.vram_passes import Passes
from boxcheck.stress.vram_patterns import ADDRESS, WALKING_ONE, WORD, Pattern
from boxcheck.stress.vram_records import Record

KEYED = Pattern(ADDRESS, 0x12345678)
OTHER = Pattern(ADDRESS, 0x9ABCDEF0)
ZEROS, ONES = Pattern(WORD, 0), Pattern(WORD, 0xFFFFFFFF)
GRANULES = 1 << 26
"""1 GiB."""
RANDOM = np.random.default_rng(1)


def _record(index: int, found: int, pattern: Pattern = KEYED, **more: Any) -> Record:
    return Record(
        index=index, expected=pattern.word(index), found=found, **{"again": found, "pattern": pattern, **more})


def _flipped(index: int, mask: int, pattern: Pattern = KEYED, **more: Any) -> Record:
    return _record(index, pattern.word(index) ^ mask, pattern, **more)


def _kinds(records: list[Record], granules: int = GRANULES) -> list[str]:
    faults, words = classify(records, granules)
    assert len(words) == len(records)
    return [fault.kind for fault in faults]


def _kept(records: list[Record]) -> list[Record]:
    """Records of one block pass, all of whose wrong words were kept."""
    return [msgspec.structs.replace(record, block_wrong=len(records)) for record in records]


def test_one_bit_at_many_addresses_is_a_data_line_and_says_which_and_how() -> None:
    records = _kept([_record(8 * at, KEYED.word(8 * at) | 1 << 17) for at in range(400)
                     if not KEYED.word(8 * at) >> 17 & 1])
    (fault,), words = classify(records, GRANULES)
    assert fault.kind == "data-line"
    assert fault.says.startswith(f"bit 17 of the data lines, always 1, in {len(records)} places: a memory chip or its solder")
    assert set(words) == {"data line 17"}


@pytest.mark.parametrize(("places", "kind"), [(4, "data-line"), (3, "cells")])
def test_a_data_line_needs_four_places(places: int, kind: str) -> None:
    assert _kinds([_flipped(1000 * at, 1 << 5) for at in range(places)]) == [kind]


def test_four_words_of_one_sector_are_one_place() -> None:
    assert _kinds([_flipped(at, 1 << 5) for at in range(4)]) == ["cells"]


def test_two_broken_lines_are_both_named() -> None:
    records = [_flipped(80 * at, mask) for at, mask in enumerate([1 << 3, 1 << 21, 1 << 3 | 1 << 21] * 6)]
    faults, _ = classify(records, GRANULES)
    assert [fault.kind for fault in faults] == ["data-line", "data-line"]
    assert {fault.says.split(" of ")[0] for fault in faults} == {"bit 3", "bit 21"}


def test_single_bits_all_over_are_no_line() -> None:
    records = [_flipped(97 * at, 1 << int(RANDOM.integers(32))) for at in range(60)]
    assert _kinds(records) == ["scattered"]


def test_bits_of_one_byte_are_a_byte_lane_and_one_bit_outside_it_by_a_tenth_is_not() -> None:
    inside = [_flipped(97 * at, int(RANDOM.integers(1, 256)) << 8) for at in range(40)]
    (fault,), words = classify(inside, GRANULES)
    assert fault.kind == "data-line"
    assert fault.says.startswith("bits 8 to 15 of the data lines and no others")
    assert set(words) == {"byte lane 1"}
    outside = [_flipped(97 * (100 + at), 0x80000001) for at in range(5)]
    assert "data-line" not in _kinds([*inside, *outside])


@pytest.mark.parametrize("bit", [0, 9, 25])
def test_words_of_the_place_that_differs_in_one_bit_are_an_address_line(bit: int) -> None:
    granules = [5, 1000, 77777, 400001]
    records = _kept([
        _record(4 * granule + lane, KEYED.word(4 * (granule ^ 1 << bit) + lane)) for granule in granules
        for lane in range(4)])
    (fault,), words = classify(records, GRANULES)
    assert fault.kind == "address-line"
    assert f"bit {bit + 4} of the place in the region: 16 places" in fault.says
    assert words[0] == f"meant for word {4 * (5 ^ 1 << bit)}"


def test_an_address_line_above_64_gib_is_found_too() -> None:
    granules = 3 << 32
    records = [_record(4 * (7 + at), KEYED.word(4 * (7 + at | 1 << 32))) for at in range(3)]
    (fault,), words = classify(records, granules)
    assert fault.kind == "address-line"
    assert "bit 36" in fault.says
    assert "64 GiB away" in fault.says
    assert words[0] == f"meant for word {4 * (7 | 1 << 32)}"


def test_a_place_outside_the_region_is_no_address() -> None:
    records = [_record(4 * at, KEYED.word(4 * (at | 1 << 26))) for at in (1, 50, 900)]
    assert _kinds(records) == ["garbled"]


def test_one_garbled_word_names_no_address_though_its_value_may_be_that_of_one() -> None:
    """In a region of 64 GiB every value is that of some place."""
    assert _kinds([_flipped(4 * 1234567, 0x0F3C5A99)], 1 << 32) == ["garbled"]


def test_words_that_agree_on_the_distance_were_meant_for_another_place() -> None:
    distance = 0x5A5
    granules = (100, 2000, 30000)
    records = [_record(4 * granule, KEYED.word(4 * (granule ^ distance))) for granule in granules]
    (fault,), words = classify(records, GRANULES)
    assert fault.kind == "misplaced"
    assert words[0] == f"meant for word {4 * (100 ^ distance)}"
    apart = [_record(4 * granule, KEYED.word(4 * (granule ^ distance + at))) for at, granule in enumerate(granules)]
    assert _kinds(apart) == ["garbled"]


def test_the_next_value_before_its_turn_is_of_the_address_line_that_another_pass_names() -> None:
    line = [_record(4 * at, KEYED.word(4 * (at ^ 64))) for at in (1, 2, 3)]
    early = [_record(4 * at, 0, ONES, after=ZEROS, number=2) for at in (700, 900)]
    assert _kinds([*line, *early]) == ["address-line"]
    assert _kinds(early) == ["misplaced"]
    keyed = [_record(4 * at, OTHER.word(4 * (at ^ 64)), KEYED, after=OTHER) for at in (5, 6)]
    assert _kinds(keyed) == ["address-line"]


def test_the_value_of_the_pass_before_is_a_lost_write() -> None:
    records = [_record(at, OTHER.word(at), before=OTHER) for at in range(64)]
    (fault,), words = classify(records, GRANULES)
    assert fault.kind == "lost-write"
    assert set(words) == {"old value"}
    assert _kinds([_record(at, OTHER.word(at) ^ 2, before=OTHER) for at in range(0, 64, 9)]) == ["garbled"]


def test_one_bit_that_flipped_to_what_it_was_before_is_no_lost_write() -> None:
    before, now = Pattern(WORD, 0b100), Pattern(WORD, 0b101)
    assert _kinds([_record(12, 0b100, now, before=before)]) == ["cell"]


def test_what_is_right_when_read_again_was_read_wrong() -> None:
    records = [_flipped(at, 0xF0, again=KEYED.word(at)) for at in (3, 77)]
    (fault,), words = classify(records, GRANULES)
    assert fault.kind == "read"
    assert "2 places" in fault.says
    assert set(words) == {"read fault"}


@pytest.mark.parametrize(("later", "rewritten", "kind"), [
    ((0, 0, 0), False, "read"), ((0, 0, 1), False, "cell"), ((0, 0, 0), True, "cell"), ((), False, "cell")])
def test_later_reads_tell_only_where_nothing_was_written_between(later: tuple[int, ...], rewritten: bool, kind: str) -> None:
    assert _kinds([_flipped(3, 4, later=later, rewritten=rewritten)]) == [kind]


@pytest.mark.parametrize(("words", "kind"), [(8, "range"), (7, "garbled")])
def test_a_range_is_whole_sectors(words: int, kind: str) -> None:
    assert _kinds([_flipped(800 + at, 0xDEADBEEF) for at in range(words)]) == [kind]


def test_a_range_of_zeros_tells_its_size_though_not_all_of_it_was_kept() -> None:
    page = [_record(4096 + at, 0, block_wrong=1024) for at in range(64)]
    (fault,), words = classify(page, GRANULES)
    assert "up to 4 KiB, all zeros" in fault.says
    assert set(words) == {"part of a range"}
    (fault,), _ = classify(_kept(page[:16]), GRANULES)
    assert "up to 64 bytes, all zeros" in fault.says


def test_one_bit_of_one_word_is_a_cell_and_the_tries_tell_whether_it_is_bad() -> None:
    def says(*records: Record) -> str:
        (fault,), _ = classify(records, GRANULES)
        assert fault.kind == "cell"
        return fault.says

    one = _flipped(4000, 1 << 7)
    assert says(one) == "one bit of one word"
    assert "wrong again in 3 of 4 tries" in says(_flipped(4000, 1 << 7, retests=(3, 4)))
    assert "disturbed once" in says(_flipped(4000, 1 << 7, retests=(0, 4)))
    # It stays wrong until it is written again: a second pass over the same pattern says no more.
    assert says(one, _flipped(4000, 1 << 7, number=2)) == "one bit of one word"
    assert "wrong with 2 patterns: bad cells" in says(one, _flipped(4000, 1 << 7, OTHER, number=3))


def test_several_faults_are_told_apart_the_most_frequent_first() -> None:
    lost = [_record(at, OTHER.word(at), before=OTHER) for at in range(64)]
    read = [_flipped(9000 + 10 * at, 2, again=KEYED.word(9000 + 10 * at)) for at in range(5)]
    assert _kinds([*read, *lost]) == ["lost-write", "read"]


def test_where_more_was_wrong_than_was_kept_the_number_of_places_is_not_claimed() -> None:
    records = [_record(at, OTHER.word(at), before=OTHER, block_wrong=4096) for at in range(64)]
    (fault,), _ = classify(records, GRANULES)
    assert "in all 64 places looked at" in fault.says


def test_patterns_that_follow_one_another_differ_in_more_than_one_bit() -> None:
    passes = Passes(Rig([], seconds=1), None, None)  # type: ignore[arg-type]
    steps = list(islice(passes.plan(), 400))
    for one, other in pairwise(steps):
        first, second = (step.pattern.words(1 << 20, 256) for step in (one, other))
        bits = np.unpackbits((first ^ second).view(np.uint8)).reshape(-1, 32).sum(axis=1)
        assert (bits > 1).mean() > 0.999, (one, other)
    assert {step.pattern.key for step in steps if step.pattern.kind == WALKING_ONE} == set(range(32))
    keys = [step.pattern.key for step in steps if step.pattern.kind == ADDRESS]
    assert len(set(keys)) == len(keys)

"""The passes over a region of memory: their order, what they found, and the samples that tell it."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from itertools import count
from typing import Literal

import msgspec

from boxcheck.gpu import GpuError
from boxcheck.kernels import reference
from boxcheck.stress import Rig, Sample, WrongWord
from boxcheck.stress.host_look import Seen
from boxcheck.stress.vram_faults import classify
from boxcheck.stress.vram_look import look_at
from boxcheck.stress.vram_patterns import ADDRESS, POISON, WALKING_ONE, WALKING_ZERO, WORD, Pattern
from boxcheck.stress.vram_proof import self_test
from boxcheck.stress.vram_records import Record, records_of, spread
from boxcheck.stress.vram_region import Pass, Region
from boxcheck.stress.vram_retest import look_again
from boxcheck.stress.vram_room import Room

Family = Literal["address", "retention", "inversion", "random", "walking"]
Notes = dict[str, str | int | float]
REST_SECONDS = 10.0
REST_PART = 0.2
"""Of the time is rested at most, after the first rest."""
TEST_REST_SECONDS = 0.2
MOST_RECORDS = 512
"""Of a run are classified together; more of one fault say no more."""
MOST_LOOKS = 4
"""Failing passes that are looked into: what is wrong in all of them is wrong in the next."""
MOST_WORDS = 64
MOST_WORDS_LATER = 8
"""Wrong words that a sample names: at first, and when as many samples have named theirs as passes were looked into."""
UNSEEN = "unseen"
"""In place of a FaultKind: of a pass that found nothing where the host had found something."""
PROOF_SECONDS = 1.0
"""Between two proofs that the kernels see damage; one comes after the last pass as well."""
SAMPLES = 50
"""Of each kind in a run, about: passes of one kind are told together, at least every LONGEST_SECONDS."""
LONGEST_SECONDS = 10.0


class Step(msgspec.Struct, frozen=True):
    """One pattern of the plan. `down`: compared, and written over, from the end of each block to its start."""

    family: Family
    pattern: Pattern
    down: bool = False


class Passes:
    """One run over a region."""

    def __init__(self, rig: Rig, region: Region, room: Room) -> None:
        self._rig = rig
        self._region = region
        self._room = room
        self._records: list[Record] = []
        self._number = 0
        self._failed = 0
        self._unseen = 0
        self._proofs = 0
        self._proven = time.monotonic()
        self._copy_gbs = 0.0
        self._rested = 0.0
        self._clean: dict[tuple[Family, str], list[Pass]] = {}
        self._told = 0.0

    def run(self, rest: float | None) -> Iterator[Sample]:
        """All patterns, round after round, until the time is over; the address-keyed one, whole, and a rest always."""
        region, pulse = self._region, self._region.pulse
        plan = self.plan()
        step, before = next(plan), Pattern(WORD, POISON)
        region.poison()
        whole = region.fill(step.pattern, "writing the first pattern").whole
        while whole:
            family, compared = step.family, False
            if family == "address":
                yield from self._pass(family, "read", step, before, None)
                compared = True
                if not pulse.stopping() and (seconds := self._rest_due(rest)) is not None:
                    region.gpu.finish()
                    self._rested += pulse.rest(seconds, "resting")
                    family, compared = "retention", False
            if pulse.over:
                if not compared:  # what was written last, or has rested
                    yield from self._pass(family, "read", step, before, None)
                break
            following = next(plan)
            whole = yield from self._pass(family, "read+write", step, before, following.pattern)
            before, step = step.pattern, following
        yield from self._flush()
        yield self.noted(self._prove())

    def _pass(
        self, family: Family, accounting: str, step: Step, before: Pattern, after: Pattern | None
    ) -> Generator[Sample, None, bool]:
        """Compares with a step's pattern, and writes the next one where there is one; the host looks first. False where
        it did not come to the end of the region, and where nothing that follows would say anything."""
        region, seen = self._region, look_at(self._region, step.pattern, self._number)
        done = region.check(step.pattern, family) if after is None else (
            region.check_and_fill(step.pattern, after, step.down, family))
        if seen.wrong and not done.wrong:
            self._number += 1
            self._unseen += 1
            yield from self._flush()
            yield self._not_seen(family, accounting, done, step.pattern, seen)
        else:
            yield from self._done(family, accounting, done, step.pattern, before, after)
        if time.monotonic() - self._proven >= PROOF_SECONDS:
            proof = self._prove()
            if proof.wrong:
                yield self.noted(proof)
        return done.whole and self._unseen < MOST_LOOKS

    def _prove(self) -> Sample:
        self._proven, self._proofs = time.monotonic(), self._proofs + 1
        return self_test(self._region, self._proofs)

    def plan(self) -> Iterator[Step]:
        """Patterns in the order in which they are written. Neighbours differ in several bits of nearly every word."""
        for number in count():
            yield Step("address", self._keyed(number, 0))
            for word in (0, 0x55555555, self._key(number, 1)):
                yield Step("inversion", Pattern(WORD, word))
                yield Step("inversion", Pattern(WORD, word ^ 0xFFFFFFFF), down=True)
                yield Step("inversion", Pattern(WORD, word))
            for which in (2, 3):
                yield Step("random", self._keyed(number, which), down=which == 3)
            for shift in (2 * number, 2 * number + 1):
                yield Step("walking", Pattern(WALKING_ONE, shift % 32))
                yield Step("walking", Pattern(WALKING_ZERO, shift % 32), down=True)

    def _key(self, number: int, which: int) -> int:
        return int(reference.mix((self._rig.seed * 0x9E3779B9 + number * 8 + which) & 0xFFFFFFFF))

    def _keyed(self, number: int, which: int) -> Pattern:
        return Pattern(ADDRESS, self._key(number, which))

    def _rest_due(self, asked: float | None) -> float | None:
        """How long to rest now: once, and then as often as resting takes a fifth of the time. None: not now."""
        usual = min(REST_SECONDS, max(TEST_REST_SECONDS, REST_PART * self._rig.seconds))
        seconds = asked if asked is not None else usual if self._rig.full_size else TEST_REST_SECONDS
        if not seconds or (self._rested and self._rested + seconds > REST_PART * self._region.pulse.elapsed):
            return None
        return seconds

    # What passes come to.

    def _not_seen(self, family: Family, accounting: str, done: Pass, pattern: Pattern, seen: Seen) -> Sample:
        """Of a pass that found nothing where the host had found something."""
        more: Notes = {
            "pattern": str(pattern), "pass": self._number, "fault": UNSEEN,
            "looks_like": "the host reads other words than were written, and the GPU's comparison saw nothing"}
        sample = self._sample(family, accounting, [done], tuple(seen.words), more)
        return msgspec.structs.replace(sample, wrong=seen.wrong)

    def copied(self, sample: Sample) -> Sample:
        """A copy's sample; passes are measured by the fastest copy."""
        self._copy_gbs = max(self._copy_gbs, sample.value or 0.0)
        return self.noted(sample)

    def noted(self, sample: Sample) -> Sample:
        """The sample with what every sample of the run tells: how much memory is held, of how much."""
        region, room = self._region, self._room
        notes: Notes = {
            "held_bytes": region.held_bytes, "usable_bytes": room.usable_bytes, "free_bytes": room.free_bytes,
            "held_percent": round(100.0 * region.held_bytes / max(1, room.usable_bytes), 2),
            "blocks": len(region.blocks)}
        if room.words:
            notes["usable"] = room.words
        slow = region.slowest()
        if slow is not None:
            notes["slowest_block"], notes["slowest_percent"] = slow[0] + 1, round(slow[1], 1)
        return msgspec.structs.replace(sample, notes={**notes, **sample.notes})

    def _done(
        self, family: Family, accounting: str, done: Pass, pattern: Pattern, before: Pattern, after: Pattern | None
    ) -> Iterator[Sample]:
        """Samples of a pass: at once when something was wrong, else together with others of its kind."""
        self._number += 1
        if done.wrong:
            yield from self._flush()
            yield from self._wrong(family, accounting, done, pattern, before, after)
            return
        if done.words:
            self._clean.setdefault((family, accounting), []).append(done)
        if self._region.pulse.elapsed - self._told >= min(LONGEST_SECONDS, self._rig.seconds / SAMPLES):
            yield from self._flush()

    def _flush(self) -> Iterator[Sample]:
        self._told = self._region.pulse.elapsed
        clean, self._clean = self._clean, {}
        for (family, accounting), passes in clean.items():
            yield self._sample(family, accounting, passes)

    def _sample(
        self, family: Family, accounting: str, passes: list[Pass], words: tuple[WrongWord, ...] = (),
        more: Notes | None = None,
    ) -> Sample:
        seconds = sum(done.seconds for done in passes)
        rate = sum(done.moved_bytes for done in passes) / max(seconds, 1e-9) / 1e9
        notes: Notes = {"accounting": accounting, "passes": len(passes), **(more or {})}
        if self._copy_gbs:
            notes["of_copy_percent"] = round(100.0 * rate / self._copy_gbs, 1)
        if family == "retention":
            notes["rested_seconds"] = round(self._rested, 1)
        if not all(done.whole for done in passes):
            notes["stopped"] = "before the end of the region"
        return self.noted(Sample(
            what=f"vram.{family}", gpu=self._rig.gpu.info.key, seconds=seconds, value=rate, unit="GB/s",
            checked=sum(done.words for done in passes),
            wrong=sum(wrong.count for done in passes for wrong in done.wrong), words=words, notes=notes))

    def _wrong(
        self, family: Family, accounting: str, done: Pass, pattern: Pattern, before: Pattern, after: Pattern | None
    ) -> Iterator[Sample]:
        """What a failing pass found, looked into, and what all failing passes have in common so far."""
        region, failure = self._region, None
        fresh = spread(records_of(done, self._number, pattern, before, after), MOST_RECORDS // MOST_LOOKS)
        if self._failed < MOST_LOOKS and not region.pulse.stopping():
            try:
                fresh = look_again(region, fresh, after or pattern)
            except GpuError as error:  # what was found is told first
                failure = error
        records = [*self._records, *fresh]
        self._records = records[:MOST_RECORDS]
        faults, kinds = classify(records, region.granules)
        words = [
            WrongWord(
                index=record.index, expected=record.expected, found=record.found, again=record.again,
                where=region.where(record.index), kind=kind)
            for record, kind in list(zip(records, kinds, strict=True))[-len(fresh):]]
        most = MOST_WORDS if self._failed < MOST_LOOKS else MOST_WORDS_LATER
        self._failed += 1
        more: Notes = {
            "pattern": str(pattern), "pass": self._number, "blocks_wrong": len(done.wrong), "fault": faults[0].kind,
            "looks_like": "; ".join(one.says for one in faults[:3])}
        yield self._sample(family, accounting, [done], tuple(words[:most]), more)
        if failure is not None:
            raise failure

"""Every core multiplies matrices at once, each in a process that is pinned to it; each product is verified there.

Data is integers whose products are exact in every order of work, so every element has one right value; each product is
proven by two weighted sums of the bits of each row, and the products of all cores must have the same digest. A wrong
element is found with its core, row and column. fp64 first, then fp32, with the matrix library that numpy brings
(OpenBLAS), which picks the widest instructions that the processor has.

By hand  boxcheck stress run cpu --seconds 60
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from boxcheck.gpu import GpuError
from boxcheck.registry import stress
from boxcheck.stress import Rig, Sample

if TYPE_CHECKING:
    from boxcheck.stress.host_cores import Core
    from boxcheck.stress.host_orders import Done, Notes
    from boxcheck.stress.host_team import Team

ELEMENTS = ("fp64", "fp32")
FULL_SIDE, TEST_SIDE = 1024, 256
"""Rows and columns: inputs of 8 MiB each fill what caches a core has of its own, and a product takes some 30 ms."""
PIECE_SECONDS = 5.0
PIECES = 8
"""Of an element in a run, at least: a rate that falls shows in them."""
SAMPLES = 12
"""Of a core and an element in a run, about; clean pieces are told together."""


@stress("cpu", scope="host", faults=("flip-output", "flip-input", "stale", "hang", "slow"))
def cpu(rig: Rig) -> Iterator[Sample]:
    """Matrix products on every core of the processor, each verified, and the core of a wrong one named.

    Options: `threads=all` (every logical processor, not one of each core), `elements` (fp64 or fp32; both), `spare`
    (cores that are left free; beside GPUs one for each and one more), `size=test`.
    """
    from boxcheck.stress.host_orders import Job, Order, fault_of, full_size
    from boxcheck.stress.host_team import Team, followed, stop_if_none_is_left

    elements = _elements(rig)
    found, spared = _cores(rig)
    fault, after = fault_of(rig)
    side = FULL_SIDE if full_size(rig) else TEST_SIDE
    jobs = [
        Job(work="cpu", name=core.name, number=number, cpu=core.cpu, seed=rig.seed,
            settings={"side": side, "seconds": rig.seconds},
            # On the last core, so that one that is not the first is named.
            fault=fault if number == len(found) - 1 else None, after=after)
        for number, core in enumerate(found)]
    with Team(rig, jobs) as team:
        facts = team.ready("starting a process on each core")
        stop_if_none_is_left(team)
        common = {**_common(facts), **({"spared_cores": spared} if spared else {})}
        rig.wait_for_start()
        team.restart()
        for number, element in enumerate(elements):
            if rig.stopping():
                break
            team.go(Order(do="prepare", settings={"element": element}), f"{element}: making the data")
            # What is prepared takes time of its own; the end of the last element is the end of the run.
            left = max(0.0, rig.seconds - team.elapsed) / (len(elements) - number)
            yield from _Phase(rig, team, found, element, {**common, "side": side}).run(left)
        by_name = {core.name: core for core in found}
        more = {"spared_cores": spared} if spared else {}
        yield from followed(team, "cpu.cores", rig.gpu.info.key, lambda name: _place(by_name[name]), more)


class _Phase:
    """Products of one element on all cores."""

    def __init__(self, rig: Rig, team: Team, cores: Sequence[Core], element: str, notes: Notes) -> None:
        self._rig = rig
        self._team = team
        self._cores = {core.name: core for core in cores}
        self._element = element
        self._notes = notes
        self._clean: dict[str, list[Done]] = {}
        self._rates: dict[str, tuple[float, float]] = {}
        """Operations and seconds of each core."""

    def run(self, seconds: float) -> Iterator[Sample]:
        from boxcheck.stress.host_orders import Order

        piece = min(PIECE_SECONDS, seconds / PIECES)
        order = Order(do="multiply", seconds=piece, settings={"element": self._element})
        began = told = self._team.elapsed
        rounds = 0
        while self._team.members and (
                not rounds or (self._team.elapsed - began < seconds and not self._rig.stopping())):
            done = self._team.go(order, f"{self._element}: {len(self._team.members)} cores")
            rounds += 1
            for name, one in done.items():
                operations, spent = self._rates.get(name, (0.0, 0.0))
                self._rates[name] = operations + one.amount, spent + one.seconds
                if one.wrong:
                    yield from self._flush(name)
                    yield self._sample(name, [one])
                else:
                    self._clean.setdefault(name, []).append(one)
            if self._team.elapsed - told > seconds / SAMPLES:
                told = self._team.elapsed
                for name in tuple(self._clean):
                    yield from self._flush(name)
        for name in tuple(self._clean):
            yield from self._flush(name)
        yield from self._together()

    def _flush(self, name: str) -> Iterator[Sample]:
        clean = self._clean.pop(name, [])
        if clean:
            yield self._sample(name, clean)

    def _sample(self, name: str, done: Sequence[Done]) -> Sample:
        core, spent = self._cores[name], sum(one.seconds for one in done)
        busy, verifying = (sum(float(one.notes[key]) for one in done) for key in ("busy_seconds", "verify_seconds"))
        products = sum(int(one.notes["products"]) for one in done)
        inputs = sum(int(one.notes["wrong_input_words"]) for one in done)
        return Sample(
            what=f"cpu.{self._element}.exact", gpu=self._rig.gpu.info.key, seconds=spent, unit="GFLOPS",
            value=sum(one.amount for one in done) / max(spent, 1e-9) / 1e9, of="elements",
            checked=sum(one.checked for one in done), wrong=sum(one.wrong for one in done),
            words=tuple(word for one in done for word in one.words), notes={
                **self._notes, **_place(core), "products": products, "wrong_input_words": inputs,
                "busy_percent": round(100 * busy / max(spent, 1e-9), 1),
                "verify_percent": round(100 * verifying / max(spent + verifying, 1e-9), 2)})

    def _together(self) -> Iterator[Sample]:
        """Inputs of each core compared once more; the digests of all cores, and what all of them reached."""
        from boxcheck.stress.host_orders import Order

        if not self._team.members:
            return
        done = self._team.go(
            Order(do="inputs", settings={"element": self._element}), f"{self._element}: comparing inputs")
        if not done:
            return
        key = self._rig.gpu.info.key
        good = [one for one in done.values() if not one.wrong]
        for name, one in done.items():
            if one.wrong:
                yield Sample(
                    what=f"cpu.{self._element}.inputs", gpu=key, seconds=0.0, checked=one.checked, of="elements",
                    wrong=one.wrong, words=one.words, notes={**self._notes, **_place(self._cores[name])})
        if good:
            yield Sample(
                what=f"cpu.{self._element}.inputs", gpu=key, seconds=0.0, of="elements", wrong=0,
                checked=sum(one.checked for one in good), notes={**self._notes, "cores": len(good)})
        common = most([str(one.notes["digest"]) for one in done.values()])
        odd = [name for name, one in done.items() if one.notes["digest"] != common or one.notes["wrong_elements"]]
        rates = {
            name: done_ / max(spent, 1e-9) / 1e9 for name, (done_, spent) in self._rates.items() if name in done}
        yield Sample(
            what=f"cpu.{self._element}.together", gpu=key, unit="GFLOPS", of="digests", value=sum(rates.values()),
            seconds=max(self._rates[name][1] for name in rates), checked=len(done), wrong=len(odd),
            words=tuple(word for name in odd for word in done[name].words), notes={
                **self._notes, "cores": len(done), "digest": common, "odd": ", ".join(odd)})


def most(digests: Sequence[str]) -> str:
    """The digest that most cores have; of equals the first."""
    return Counter(digests).most_common(1)[0][0]


def _place(core: Core) -> dict[str, str | int | float]:
    found: dict[str, str | int | float] = {"core": core.cpu, "node": core.node, "package": core.package}
    return {**found, "core_kind": core.kind} if core.kind else found


def _common(facts: Mapping[str, object]) -> dict[str, str | int | float]:
    """The matrix library, which is the same in every process."""
    first = next(iter(facts.values()), None)
    return dict(getattr(first, "notes", {}))


def _cores(rig: Rig) -> tuple[tuple[Core, ...], int]:
    """One logical processor of each core, or all of them, and how many cores were left to others."""
    from boxcheck.host.live import LiveHost
    from boxcheck.stress.host_cores import Core, cores, left_over, spare_of

    word = rig.options.get("threads", "one")
    if word not in ("one", "all"):
        raise GpuError("unsupported", f"threads={word} is neither `one` (of each core) nor `all`")
    there = cores(LiveHost(), os.sched_getaffinity(0))
    found = left_over(there, spare_of(rig.options))
    if word == "all":
        return tuple(
            Core(cpu=cpu, threads=(cpu,), package=core.package, node=core.node, kind=core.kind)
            for core in found for cpu in core.threads), len(there) - len(found)
    return found, len(there) - len(found)


def _elements(rig: Rig) -> list[str]:
    asked = rig.options.get("elements", ",".join(ELEMENTS)).split(",")
    wrong = [name for name in asked if name not in ELEMENTS]
    if wrong:
        raise GpuError("unsupported", f"there is no element {wrong[0]!r} here; known are {', '.join(ELEMENTS)}")
    return [name for name in ELEMENTS if name in asked]

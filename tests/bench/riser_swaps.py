"""How often `boxcheck riser` names the right part, over made-up boxes. By hand:

    python -m tests.bench.riser_swaps --boxes 1000 --seed 1 --jobs 2
    python -m tests.bench.riser_swaps --boxes 200 --wrong /tmp/wrong     writes notebooks of wrong accusations there
    python -m tests.bench.riser_swaps --bounds                           do the bounds on error rates hold, and how soon

Boxes are those of tests/riser/boxes, which share nothing with the solver but the form of a notebook. The same seed gives
the same boxes; a solver that asks for other steps sees other boots of them. Exit code 1 when a promise is broken: the
right suspect first in 95 % of all boxes and of those with a verdict, a healthy box accused in under 1 %, a median of at most
two power cycles, and those given about 90 % guilty that often, within two standard deviations.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import msgspec

from tests.riser.boxes import guilt, links
from tests.riser.boxes.box import random_box
from tests.riser.boxes.drive import Journey, Weigh, drive
from tests.riser.boxes.faults import KINDS

ROWS = (*KINDS, "two", "none")
BINS = (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98, 1.0)


@dataclass(frozen=True)
class Result:
    """What is kept of a box."""

    index: int
    kind: str
    truth: str
    symptoms: str
    traced: bool
    first: bool
    both: bool
    rightly: bool
    wrongly: bool
    verdict: str
    cycles: int
    wrong_steps: tuple[str, ...]
    changes: tuple[str, ...]
    counts: str
    strongest: float | None
    """log10 of the highest error rate of a bad part in the first boot; None where it makes no errors."""
    suspects: tuple[tuple[str, float, bool], ...]
    """As they ended: kind and name, probability, guilt."""
    healthy: float
    seconds: tuple[float, ...]
    odd: tuple[str, ...]
    failed: str | None = None
    """The solver's exception."""


def judge(index: int, seed: int, weigh: Weigh, wrong: Path | None = None, plain_users: float = 0.0) -> Result:
    box = random_box(seed, index, plain_users)
    truth = " and ".join(f"{fault.kind} {fault.name}" for fault in box.faults) or "nothing"
    symptoms = " and ".join(
        fault.symptom + ("" if fault.needs == "always" else f" when {fault.needs}") for fault in box.faults)
    strongest = max((log for fault in box.faults for log in fault.log_ber.values()), default=None)
    empty = Result(index, box.kind, truth, symptoms, False, False, False, False, False, "none", 0, (), (), box.counts,
                   strongest, (), 0.0, (), ())
    try:
        story = drive(box, weigh)
    except Exception as error:  # noqa: BLE001 - whatever a solver does wrong is a row of the table
        return replace(empty, failed=f"{type(error).__name__}: {error}", traced=guilt.traced(box))
    result = replace(
        empty, traced=guilt.traced(box), first=guilt.first_right(story), both=guilt.both_right(story),
        rightly=guilt.accused_rightly(story), wrongly=guilt.accused_wrongly(story), verdict=story.last.verdict,
        cycles=story.cycles, wrong_steps=tuple(box.wrong_steps),
        changes=tuple(change for fault in box.faults for change in fault.changes),
        suspects=tuple((f"{one.kind} {one.name}", one.probability, guilt.guilty(box, one))
                       for one in story.last.suspects),
        healthy=story.last.healthy, seconds=tuple(story.seconds), odd=tuple(story.odd))
    if wrong is not None and result.wrongly:
        _write(wrong, story, result)
    return result


def _write(folder: Path, story: Journey, result: Result) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    told = {"truth": result.truth, "symptoms": result.symptoms, "wrong_steps": result.wrong_steps,
            "changes": result.changes, "weighed": story.weighed, "notebook": story.notebook}
    (folder / f"box-{result.index}-{result.kind}.json").write_bytes(msgspec.json.format(msgspec.json.encode(told)))


def run(boxes: int, seed: int, weigh: Weigh, jobs: int, wrong: Path | None = None, plain_users: float = 0.0) -> list[
        Result]:
    one = partial(judge, seed=seed, weigh=weigh, wrong=wrong, plain_users=plain_users)
    if jobs <= 1:
        return [one(index) for index in range(boxes)]
    with multiprocessing.Pool(jobs) as pool:
        return pool.map(one, range(boxes), chunksize=4)


def percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:5.1f}" if whole else "    -"


def nth(values: Sequence[float], share: float) -> float:
    """The smallest value that this share does not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def table(results: Sequence[Result]) -> list[str]:
    """By kind of fault; shares in per cent of the row's boxes."""
    lines = ["bad part   boxes  trace  first  both  right  wrong  missed  not told  cycles: median  90 %"]
    for kind in (*ROWS, "any fault"):
        rows = [one for one in results if one.kind == kind or (kind == "any fault" and one.kind != "none")]
        if not rows:
            continue
        share: Callable[[Callable[[Result], bool]], str] = lambda of: percent(sum(map(of, rows)), len(rows))  # noqa: B023, E731
        faulty = kind != "none"
        lines.append(
            f"{kind:<10} {len(rows):>5}  {share(lambda one: one.traced) if faulty else '    -'}"
            f"  {share(lambda one: one.first)} {share(lambda one: one.both) if kind == 'two' else '    -'}"
            f"  {share(lambda one: one.rightly) if faulty else '    -'}  {share(lambda one: one.wrongly)}"
            f"   {share(lambda one: one.verdict == 'healthy') if faulty else '    -'}"
            f"     {share(lambda one: one.verdict in ('not-yet', 'exhausted'))}"
            f"          {statistics.median(one.cycles for one in rows):>5g} {nth([one.cycles for one in rows], 0.9):>5g}")
    return lines


def calibration(results: Sequence[Result]) -> list[str]:
    """Probability that was given against guilt: of the first suspects, and of all."""
    lines = ["given            first suspects  guilty %    all suspects  guilty %"]
    for low, high in itertools.pairwise(BINS):
        inside: Callable[[float], bool] = lambda p: low <= p < high or (high == 1.0 and p >= 1.0)  # noqa: B023, E731
        firsts = [one.suspects[0] for one in results if one.suspects and inside(one.suspects[0][1])]
        every = [suspect for one in results for suspect in one.suspects if inside(suspect[1])]
        lines.append(f"{low:.2f} to {high:.2f}     {len(firsts):>14}  {percent(sum(one[2] for one in firsts), len(firsts)):>8}"
                     f"  {len(every):>14}  {percent(sum(one[2] for one in every), len(every)):>8}")
    return lines


def classes(results: Sequence[Result]) -> list[str]:
    """Where it goes wrong: faulty boxes whose first suspect is innocent, by what is special about them."""
    bad = [one for one in results if one.kind != "none" and not one.first]
    groups: dict[str, list[Result]] = collections.defaultdict(list)
    for one in results:
        if one.kind == "none":
            continue
        for name in _specials(one):
            groups[name].append(one)
    lines = ["class                                boxes  first wrong %  accused wrongly %"]
    for name, rows in sorted(groups.items(), key=lambda item: -sum(not one.first for one in item[1]) / len(item[1])):
        lines.append(f"{name:<36} {len(rows):>5}  {percent(sum(not one.first for one in rows), len(rows)):>13}"
                     f"  {percent(sum(one.wrongly for one in rows), len(rows)):>17}")
    named = collections.Counter(
        f"{one.kind} taken for {one.suspects[0][0].split()[0] if one.suspects else 'nothing'}" for one in bad)
    return [*lines, *(f"{number:>5}  {what}" for what, number in named.most_common(12))]


def _specials(one: Result) -> Iterable[str]:
    if not one.traced:
        yield "no trace in any boot"
    if one.wrong_steps:
        yield "a step done wrongly"
    if one.counts != "both":
        yield "one end counts"
    if one.strongest is not None and "errors" in one.symptoms:
        yield f"errors, at first {'below 1e-12' if one.strongest < -12 else '1e-12 to 1e-11' if one.strongest < -11 else 'above 1e-11'}"
    for change in set(one.changes):
        yield f"plugging anew: {change}"
    if one.kind == "two":
        yield "two bad parts"
    else:
        yield f"{one.kind}: {one.symptoms}"


def promises(results: Sequence[Result]) -> list[tuple[bool, str]]:
    faulty = [one for one in results if one.kind != "none"]
    healthy = [one for one in results if one.kind == "none"]
    told = [one for one in results if one.verdict in ("found", "healthy")]
    shown = [one for one in results if one.traced or one.kind == "none"]
    accused = sum(one.verdict == "found" for one in healthy)
    cycles = statistics.median(one.cycles for one in faulty) if faulty else 0
    ninety = [suspect for one in results for suspect in one.suspects[:1] if 0.85 <= suspect[1] < 0.95]
    guilty = sum(suspect[2] for suspect in ninety)
    given = sum(suspect[1] for suspect in ninety) / max(1, len(ninety))
    chance = 2 * (given * (1 - given) / max(1, len(ninety))) ** 0.5  # two standard deviations of the count
    ranked: Callable[[Sequence[Result]], float] = lambda rows: sum(one.first for one in rows) / max(1, len(rows))  # noqa: E731
    return [
        (ranked(results) >= 0.95, f"right suspect first, or none where none is bad: {100 * ranked(results):.1f} % of all "
                                  f"{len(results)} boxes, at least 95 % ({100 * ranked(shown):.1f} % of the {len(shown)} "
                                  f"without those whose fault left no trace)"),
        (ranked(told) >= 0.95, f"the same of boxes with a verdict: {100 * ranked(told):.1f} % of {len(told)}, at least 95 % "
                               f"(not told apart: {len(results) - len(told)})"),
        (accused * 100 < len(healthy) or not accused, f"healthy boxes accused: {accused} of {len(healthy)}, under 1 %"),
        (cycles <= 2, f"median number of power cycles: {cycles:g}, at most 2"),
        (not ninety or abs(guilty / len(ninety) - given) <= chance,
         f"first suspects given 85 to 95 %: {percent(guilty, len(ninety)).strip()} % of {len(ninety)} guilty, were given "
         f"{100 * given:.1f} % on average, within {100 * chance:.1f}"),
    ]


def report(results: Sequence[Result]) -> int:
    failed = [one for one in results if one.failed is not None]
    good = [one for one in results if one.failed is None]
    for one in failed[:5]:
        print(f"BROKEN  box {one.index} ({one.truth}): the solver gave up: {one.failed}")
    if not good:
        return 1
    print("\n".join(["", *table(good), "", *calibration(good), "", *classes(good), ""]))
    seconds = [spent for one in good for spent in one.seconds]
    print(f"        a decision takes {1e3 * statistics.median(seconds):.0f} ms (median of {len(seconds)}), "
          f"{1e3 * nth(seconds, 0.9):.0f} ms (90 %), {1e3 * max(seconds):.0f} ms at most")
    odd = collections.Counter(what for one in good for what in one.odd)
    print(f"        steps that could not be followed: {sum(odd.values())}{''.join(f'; {what}' for what in list(odd)[:3])}")
    unsure = [one for one in good if one.verdict not in ("found", "healthy")]
    print(f"        of the {len(unsure)} not told apart the right one stands first in "
          f"{percent(sum(one.first for one in unsure), len(unsure)).strip()} %")
    held = not failed
    for kept, says in promises(good):
        print(f"{'ok    ' if kept else 'BROKEN'}  {says}")
        held = held and kept
    return 0 if held else 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.riser_swaps", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--boxes", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--wrong", type=Path, help="folder for notebooks of wrong accusations")
    parser.add_argument("--plain-users", type=float, default=0.0, help="share of the boxes without writes that are looked "
                        "at by an ordinary user, to whom a direction without errors is unread; not part of the promise")
    parser.add_argument("--bounds", action="store_true", help="only the bounds on error rates")
    asked = parser.parse_args()
    if asked.bounds:
        return links.report()
    from boxcheck.riser.suspects.weigh import weigh

    start = time.perf_counter()
    print(f"        Python {sys.version.split()[0]}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, "
          f"{asked.boxes} boxes of seed {asked.seed}", flush=True)
    results = run(asked.boxes, asked.seed, weigh, asked.jobs, asked.wrong, asked.plain_users)
    code = report(results)
    print(f"        {time.perf_counter() - start:.0f} s, {asked.jobs} at a time")
    return code


if __name__ == "__main__":
    sys.exit(main())

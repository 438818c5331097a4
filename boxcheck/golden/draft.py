"""A profile whose rates are those of good runs. The rest is what the runs' own profile says: they passed by it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from boxcheck.checks.wording import duration
from boxcheck.engine.history_series import day
from boxcheck.golden.good import NotGood
from boxcheck.golden.limits import ALONE, SOURCE, Drafted, LeftOut, Pattern, cards_in_words, count, in_words
from boxcheck.golden.profile_toml import one_list_each, profile_toml
from boxcheck.model import Limit
from boxcheck.profile import Profile, ProfileError, load_profile
from boxcheck.profile_resolve import digest
from boxcheck.registry import selected
from boxcheck.store.texts import plain_line

MOST_RUNS = 12
ENDING = "-golden"
WHOLE = 0.95
"""Of the length that was asked for: phases are rounded to seconds."""


def golden_profile(want: Profile, pattern: Pattern, drafted: Sequence[Drafted]) -> Profile:
    """The profile: `want`, with these limits instead of its own of the same names, and required. What it asks for
    below that a box is marginal stays, where it is the stricter one: a box that was marginal by it is not good now."""
    source = runs_in_words(pattern)
    limits = dict(want.limits)
    for one in drafted:
        limits[one.limit] = Limit(
            one.limit, one.compare, must=one.bound, should=_should(want, one), unit=one.unit,  # type: ignore[arg-type]
            source=f"{SOURCE}: {source}; {in_words(one)}")
    required = [
        id for one in drafted for id in one.checks
        if not selected(want.stress, id) and not selected(want.advisory, id)]
    name = want.name.removesuffix(ENDING)[:64 - len(ENDING)] + ENDING
    title = f"{want.title}, with rates measured on {count(len(pattern.boxes), 'box')}"
    base = one_list_each(want)
    return msgspec.structs.replace(
        base, name=name, revision=1, title=title, limits=dict(sorted(limits.items())), parts=(),
        stress=tuple(dict.fromkeys((*base.stress, *required))), judged=b"", path="")


def _should(want: Profile, one: Drafted) -> float | None:
    before = want.limits.get(one.limit)
    should = before.should if before is not None and before.compare == one.compare else None
    return should if isinstance(should, (int, float)) and _is_looser(one, should) else None


def _is_looser(one: Drafted, than: float) -> bool:
    return one.bound < than if one.compare == "ge" else one.bound > than


def with_doubts(want: Profile, drafted: Sequence[Drafted]) -> tuple[Drafted, ...]:
    """The limits; of those that let more pass than the profile did it is said."""
    made = []
    for one in drafted:
        before = want.limits.get(one.limit)
        must = before.must if before is not None and before.compare == one.compare else None
        if isinstance(must, (int, float)) and _is_looser(one, must):
            one = msgspec.structs.replace(one, doubts=(*one.doubts, (
                f"looser than {want.name} has it: must {must:g} {one.unit}, now {one.bound:g}; keep that one unless "
                "you know why a good box may do less")))
        made.append(one)
    return tuple(made)


def short_runs(want: Profile, pattern: Pattern, needed: float) -> tuple[str, ...]:
    """Runs that were planned for less than an acceptance by that profile takes. `needed`: seconds of one where the
    profile says none."""
    least = want.burn.acceptance_least_seconds or want.burn.acceptance_seconds or needed
    return tuple(
        plain_line(f"run {run.run} was planned for {duration(run.planned_seconds)}, an acceptance by {want.name} takes "
                   f"{duration(least)}: a box that is not yet hot is faster than it stays")
        for run in pattern.runs if run.planned_seconds < WHOLE * least)


def one_profile(wants: Sequence[Profile]) -> tuple[Profile, tuple[str, ...]]:
    """The profile that all of the runs passed, and what is to be said of it: that of the last, where it changed between
    them. NotGood where they passed different ones."""
    last = wants[-1]
    other = next((want for want in wants if want.name != last.name), None)
    if other is not None:
        raise NotGood(
            f"the runs passed different profiles, {plain_line(other.name)} and {plain_line(last.name)}",
            "boxcheck judge RUN --profile NAME says whether a run passes another; draft from runs of one profile")
    if all(want.sha256 == last.sha256 for want in wants):
        return last, ()
    return last, (f"the runs passed different states of {last.name}: that of the last run, r{last.revision}, is taken",)


def golden_toml(want: Profile, pattern: Pattern, drafted: Sequence[Drafted], left_out: Sequence[LeftOut]) -> str:
    """The text of it: loads as it stands."""
    profile = golden_profile(want, pattern, drafted)
    text = profile_toml(
        profile, told=tuple(_told(want, pattern)),
        comments={one.limit: plain_line(_comment(want, one)) for one in drafted},
        left_out=tuple(_left_out(left_out, want)))
    _refuse_other(text, profile)
    return text


def _refuse_other(text: str, profile: Profile) -> None:
    """NotGood where the text is read as another profile than it was made of: the one in a store from elsewhere may
    hold names that end a line."""
    with tempfile.TemporaryDirectory(prefix="boxcheck-") as folder:
        path = Path(folder) / f"{ENDING[1:]}.toml"
        path.write_text(text, encoding="utf-8")
        try:
            read = load_profile(str(path))
            # What gpus.toml says of a card may have changed since the run.
            same = digest(msgspec.structs.replace(read, gpus=profile.gpus)) == digest(profile)
            why = "it would be read as another"
        except ProfileError as error:
            same, why = False, plain_line(str(error).rpartition(": ")[2])
    if not same:
        raise NotGood(f"the profile that the runs passed by cannot be written as a file: {why}",
                      "burn the box in by a profile that boxcheck profile check takes")


def _told(want: Profile, pattern: Pattern) -> Iterator[str]:
    yield f"Drafted from {runs_in_words(pattern)}."
    yield f"{count(len(pattern.boxes), 'box')} with {cards_in_words(pattern.runs[0].cards)}."
    yield "Each rate is measured and nobody agreed to it yet: read every line, and say in [[source]] who did."
    yield f"All else is what {want.name} r{want.revision} says, by which the runs passed."
    if len(pattern.boxes) == 1:
        yield "One box cannot show how boxes differ: the next one may be slower, and still be good."
    yield from pattern.told


def _comment(want: Profile, one: Drafted) -> str:
    """Behind the limit: what it is of, and what was asked before."""
    before = want.limits.get(one.limit)
    asked = ""
    if before is not None:
        bounds = [f"{word} {bound:g}" for word, bound in (("must", before.must), ("should", before.should))
                  if isinstance(bound, (int, float))]
        asked = f"; {want.name} has {', '.join(bounds)}"
    doubts = "".join(f"; {doubt}" for doubt in one.doubts if doubt != ALONE)  # said once, at the top
    return (f"{SOURCE}: {one.margin_percent:.2g} % from the mean {one.mean:.4g} of {count(one.devices, 'device')} in "
            f"{count(one.boxes, 'box')}{asked}{doubts}")


def _left_out(left_out: Sequence[LeftOut], want: Profile) -> Iterator[str]:
    if left_out:
        yield "Not drafted:"
    for one in left_out:
        stays = f" (that of {want.name} stays)" if one.limit in want.limits else ""
        yield f"  {one.limit}: {one.why}{stays}"


def runs_in_words(pattern: Pattern) -> str:
    """`run 2026-11-21T132004Z-burn (2026-11-21)`; of many the first, and how many more."""
    runs = [f"{plain_line(run.run)} ({day(run.started)})" for run in pattern.runs]
    more = f" and {len(runs) - MOST_RUNS} more" if len(runs) > MOST_RUNS else ""
    return f"run{'' if len(runs) == 1 else 's'} {', '.join(runs[:MOST_RUNS])}{more}"

"""Problems: findings that one cause explains, where it is, what to do, what it is not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from boxcheck.model import Finding, Outcome, Problem
from boxcheck.problems import is_own
from boxcheck.report.acceptance_requirements import where_words
from boxcheck.report.acceptance_told import Told
from boxcheck.report.acceptance_words import WORDS, code, dim, mixed, strong
from boxcheck.report.document import Block, Facts, Heading, Items, Paragraph, Words


def problems(told: Told) -> Iterator[Block]:
    found = told.verdict.problems
    yield Heading(level=2, text="Problems", anchor="problems")
    alone = [one for one in told.findings
             if one.problem is None and one.outcome in (Outcome.FAIL, Outcome.MARGINAL) and one.help]
    if not found and not alone:
        yield Paragraph(words="No finding that failed or was marginal has a cause to look for.")
        return
    for numbers in _alike(found, told):
        yield from _problem(numbers, told)
    if alone:
        yield Heading(level=3, text="Findings that stand alone", anchor="problems-alone")
        yield Items(items=tuple(
            mixed(strong(f"{WORDS[one.outcome]} "), code(one.check), f" {one.subject}: {one.says}. ", dim(
                "; ".join(one.help))) for one in alone))


def _alike(found: Sequence[Problem], told: Told) -> list[list[int]]:
    """Places of the problems, those together that tell the same of several parts."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for at, one in enumerate(found):
        said = tuple((finding.check, finding.outcome, finding.says) for finding in _findings(one, told))
        groups.setdefault((one.outcome, one.help, one.not_, said), []).append(at)
    return list(groups.values())


def _findings(problem: Problem, told: Told) -> list[Finding]:
    return [told.findings[index] for index in problem.findings if index < len(told.findings)]


def _problem(numbers: Sequence[int], told: Told) -> Iterator[Block]:
    found = told.verdict.problems
    problem = found[numbers[0]]
    others = [_where(found[at], told) for at in numbers]
    head = f"Problem {numbers[0] + 1} of {len(found)}" if len(numbers) == 1 else (
        f"Problems {', '.join(str(at + 1) for at in numbers)} of {len(found)}, alike")
    yield Heading(level=3, text=f"{head}: {told.placed(problem.title)}", anchor=f"problem-{numbers[0] + 1}")
    yield Facts(rows=(("Where", "; ".join(dict.fromkeys(others))),))
    findings = _findings(problem, told)
    own = [one for one in findings if is_own(problem.id, one)]
    follows = [one for one in findings if not is_own(problem.id, one)]
    yield _listed(own or findings, told)
    if own and follows:
        yield Paragraph(words=mixed(strong("What it explains")))
        yield _listed(follows, told)
    if problem.help:
        yield Paragraph(words=mixed(strong("What to do")))
        yield Items(items=problem.help, ordered=True)
    if problem.not_:
        yield Paragraph(words=mixed(strong("It is not: "), "; ".join(problem.not_)))


def _listed(findings: Sequence[Finding], told: Told) -> Items:
    """What is said of several ends of one thing is said once, with where."""
    same: dict[tuple[object, ...], list[Finding]] = {}
    for one in findings:
        same.setdefault((one.check, one.outcome, one.says, one.notes), []).append(one)
    return Items(items=tuple(_item(some, told) for some in same.values()))


def _item(some: Sequence[Finding], told: Told) -> Words:
    one = some[0]
    places = dict.fromkeys(where_words(each, told) for each in some)
    notes = [*(("at " + " and at ".join(places),) if len(some) > 1 else ()), *one.notes]
    return mixed(strong(f"{WORDS[one.outcome]} "), code(one.check), f"  {one.says}",
                 *([dim(f"  {'; '.join(notes)}")] if notes else []))


def _where(problem: Problem, told: Told) -> str:
    """With the riser's label between slot and GPU, where one was told."""
    where = told.placed(problem.where)
    for slot, riser in told.risers.items():
        for name in (f"slot {slot}", slot):
            if f"{name} > " in where and riser not in where:
                return where.replace(f"{name} > ", f"{name} > riser {riser} > ", 1)
    return where

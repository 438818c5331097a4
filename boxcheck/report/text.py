"""The terminal account: one line an area where all is well, the link table, a block a problem, what to do next.

Renders an `Account` and decides nothing. `plain()` is the other text: one finding a line, stable order, for grep and
for screen readers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC

import msgspec

from boxcheck.account import AREAS, Account, LinkRow, area_of
from boxcheck.judge import NO_GPU
from boxcheck.model import Finding, Outcome, Problem, worst
from boxcheck.report.command import command_line, with_commands
from boxcheck.report.encoding import ascii_of
from boxcheck.report.wrapping import wrapped

WORDS = {
    Outcome.PASS: "ok", Outcome.MARGINAL: "marginal", Outcome.FAIL: "FAIL", Outcome.UNKNOWN: "unknown",
    Outcome.SKIP: "skip",
}
_COLORS = {
    # Blue, yellow, red and magenta stay apart for people who do not tell red from green.
    Outcome.PASS: "34", Outcome.MARGINAL: "33", Outcome.FAIL: "1;31", Outcome.UNKNOWN: "35", Outcome.SKIP: "2",
}
WORD_COLUMNS = 9


class Style(msgspec.Struct, frozen=True):
    """How wide, with colour or not, in ASCII or not."""

    columns: int = 100
    color: bool = False
    ascii: bool = False
    verbose: int = 0
    quiet: bool = False

    def text(self, text: str) -> str:
        if not self.ascii:
            return text
        return ascii_of(text)

    def word(self, outcome: Outcome, word: str | None = None, columns: int = 0) -> str:
        shown = (word or WORDS[outcome]).ljust(columns)
        return f"\x1b[{_COLORS[outcome]}m{shown}\x1b[0m" if self.color else shown

    def bold(self, text: str) -> str:
        return f"\x1b[1m{text}\x1b[0m" if self.color else text


def wrap(text: str, style: Style, first: str = "", rest: str | None = None) -> list[str]:
    """Lines no wider than the terminal, no command broken; `first` and `rest` are the indents."""
    return wrapped(style.text(text), style.columns, first, rest)


def account_text(account: Account, style: Style) -> str:
    """The whole account, ending in a line feed."""
    if style.quiet:
        return "\n".join(_closing(account, style)) + "\n"
    account = with_commands(account)
    lines = [*_head(account, style), "", *_areas(account, style)]
    if account.link_rows:
        lines += ["", *_link_table(account, style)]
    for number, problem in enumerate(account.verdict.problems, 1):
        lines += ["", *_problem(account, problem, number, style)]
    loose = list(_loose(account, style))
    if loose:
        lines += ["", *loose]
    if style.verbose:
        lines += ["", *_everything(account, style)]
    lines += ["", *_closing(account, style)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _head(account: Account, style: Style) -> list[str]:
    from datetime import datetime

    stamp = datetime.fromtimestamp(account.started, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    parts = [f"boxcheck {account.version}"]
    if account.profile is not None:
        goal = f" goal {account.goal}" if account.goal != "any" or account.own_goal != "any" else ""
        if account.own_goal not in (account.goal, "any"):
            goal += f", not its own {account.own_goal}"
        parts.append(f"profile {account.profile.name} r{account.profile.revision}{goal}")
    else:
        parts.append("no profile")
    if account.box:
        parts.append(f"box {account.box}")
    parts.append(stamp)
    lines = wrap("   ".join(parts), style, "", "  ")
    lines[0] = style.bold(lines[0])
    lines += wrap(account.profile_why, style, "  ")
    if not account.live:
        lines += wrap(f"reading the capture {account.origin}", style, "  ")
    for complaint in account.complaints[:5]:
        lines += wrap(complaint, style, "  ")
    return lines


def _areas(account: Account, style: Style) -> Iterator[str]:
    findings = account.verdict.findings
    for area in _area_order(findings):
        here = [finding for finding in findings if area_of(finding.check) == area]
        judged = [finding for finding in here if finding.outcome is not Outcome.SKIP]
        if not judged:
            continue
        gravest = _area_outcome(here)
        text = account.summaries.get(area) or _tally(judged)
        trouble = _trouble(account, here)
        text = " · ".join(filter(None, (text, trouble, "" if _names_parts(account) else _how_much(here))))
        indent = " " * (WORD_COLUMNS + 1 + 11)
        for index, line in enumerate(wrap(text, style, indent)):
            if index == 0:
                yield f" {style.word(gravest, columns=WORD_COLUMNS)}{area:<11}{line[len(indent):]}"
            else:
                yield line


def _names_parts(account: Account) -> bool:
    """Whether a profile says what this machine is made of; else nothing judges most of what an area shows."""
    return account.profile is not None and bool(account.profile.gpus.parts)


def _how_much(findings: Sequence[Finding]) -> str:
    checks = {finding.check for finding in findings}
    judged = {finding.check for finding in findings if finding.outcome not in (Outcome.SKIP, Outcome.UNKNOWN)}
    return f"{len(judged)} of {len(checks)} check{'' if len(checks) == 1 else 's'} judged"


def _area_order(findings: Sequence[Finding]) -> list[str]:
    present = dict.fromkeys(area_of(finding.check) for finding in findings)
    return [area for area in AREAS if area in present] + [area for area in present if area not in AREAS]


def _area_outcome(findings: Sequence[Finding]) -> Outcome:
    """What the area's word is. A missing reading that nothing depends on does not hide what was read, and what is not
    required does not fail it."""
    graver = worst(finding.outcome for finding in findings if finding.blocker)
    if graver in (Outcome.FAIL, Outcome.UNKNOWN):
        return graver
    shown = worst(
        finding.outcome for finding in findings
        if finding.outcome is not Outcome.SKIP and (finding.blocker or finding.outcome is not Outcome.UNKNOWN)
    ) or Outcome.UNKNOWN
    return Outcome.MARGINAL if shown is Outcome.FAIL else shown


def _tally(findings: Sequence[Finding]) -> str:
    passes = list(dict.fromkeys(finding.says for finding in findings if finding.outcome is Outcome.PASS))
    if 0 < len(passes) <= 2 and len(" · ".join(passes)) <= 100:
        return " · ".join(passes)
    checks = len({finding.check for finding in findings if finding.outcome is Outcome.PASS})
    return f"{checks} check{'' if checks == 1 else 's'} passed" if passes else ""


def _trouble(account: Account, findings: Sequence[Finding]) -> str:
    problems = {finding.problem for finding in findings if finding.problem is not None}
    unread = {finding.check for finding in findings if finding.outcome is Outcome.UNKNOWN}
    words = []
    if problems:
        words.append(f"{len(problems)} problem{'' if len(problems) == 1 else 's'}")
    if unread:
        words.append(f"{len(unread)} check{'' if len(unread) == 1 else 's'} not read")
    return ", ".join(words)


_TABLE: tuple[tuple[str, str, int], ...] = (
    # field, heading, columns below which it is dropped
    ("slot", "slot", 0), ("gpu", "gpu", 60), ("bus", "bus", 0), ("link", "link", 0), ("bar", "BAR", 96),
    ("bad_tlp", "TLP", 52), ("bad_dllp", "DLLP", 88), ("replay", "replay", 72),
)


def _link_table(account: Account, style: Style) -> Iterator[str]:
    columns = [(field, heading) for field, heading, least in _TABLE if style.columns >= least]
    rows = [[_cell(row, field) for field, _ in columns] for row in account.link_rows]
    widths = [max(len(heading), *(len(row[index]) for row in rows)) for index, (_, heading) in enumerate(columns)]
    right = {"bad_tlp", "bad_dllp", "replay", "bar", "gpu"}
    how = "measured under load" if account.links_under_load else "read at rest"
    yield from wrap(f"GPU links, {how}; bad packets since boot, counted at both ends", style, "")
    yield style.text("  " + "  ".join(
        heading.rjust(width) if field in right else heading.ljust(width)
        for (field, heading), width in zip(columns, widths, strict=True)))
    for row, cells in zip(account.link_rows, rows, strict=True):
        line = "  " + "  ".join(
            cell.rjust(width) if field in right else cell.ljust(width)
            for cell, (field, _), width in zip(cells, columns, widths, strict=True))
        word = style.word(Outcome(row.outcome)) if row.outcome else "-"
        want = f"   want {row.want}" if row.want else ""
        line = style.text(f"{line}  ")
        if len(line) + 4 + len(want) > style.columns:
            yield f"{line}{word}"
            if want:
                yield style.text(f"      {want.strip()}")
        else:
            yield f"{line}{word}{style.text(want)}"


def _cell(row: LinkRow, field: str) -> str:
    value = getattr(row, field)
    return "-" if value in (None, "") else str(value)


def _problem(account: Account, problem: Problem, number: int, style: Style) -> Iterator[str]:
    total = len(account.verdict.problems)
    count = len(problem.findings)
    title = f"problem {number} of {total}: {problem.title}"
    tail = f"{count} finding{'' if count == 1 else 's'}"
    room = min(style.columns, 100) - len(title) - len(tail)
    if room >= 2:
        yield style.bold(style.text(title)) + " " * room + tail
    else:
        for line in wrap(title, style, "", "  "):
            yield style.bold(line)
    yield from wrap(problem.where, style, "  where   ", " " * 10)
    yield ""
    by_check: dict[tuple[str, Outcome], list[Finding]] = {}
    for index in problem.findings:
        finding = account.verdict.findings[index]
        by_check.setdefault((finding.check, finding.outcome), []).append(finding)
    for alike in by_check.values():
        shown = alike if len(alike) <= MOST_ALIKE or style.verbose else alike[:MOST_ALIKE - 1]
        for finding in shown:
            yield from _finding(finding, style, "  ", with_help=False)
        rest = alike[len(shown):]
        if rest:
            names = ", ".join(dict.fromkeys(str(finding.subject) for finding in rest))
            yield from wrap(f"and the same of {names}", style, "    ")
    if problem.help:
        yield ""
        yield from numbered(problem.help, style)
    for position, text in enumerate(problem.not_):
        yield from wrap(text, style, "  not     " if position == 0 else " " * 10, " " * 10)


MOST_ALIKE = 4
"""Findings of one check in one problem that are all shown; of more, the rest are named in one line."""


def numbered(steps: Sequence[str], style: Style, indent: str = "") -> Iterator[str]:
    """The steps below one another, numbered where there are several; each once."""
    steps = list(dict.fromkeys(steps))
    digits = len(str(len(steps)))
    for position, step in enumerate(steps, 1):
        head = f"{indent}  help    " if position == 1 else " " * (len(indent) + 10)
        number = f"{position:>{digits}}. " if len(steps) > 1 else ""
        yield from wrap(step, style, f"{head}{number}", " " * (len(head) + len(number)))


def _finding(finding: Finding, style: Style, indent: str, with_help: bool, names: str | None = None) -> Iterator[str]:
    tag = f"{WORDS[finding.outcome].lower()}[{finding.check}]"
    subject = names if names is not None else str(finding.subject)
    body = f"{subject}: {finding.says}" if subject not in ("box", "") else finding.says
    if not finding.blocker and finding.outcome in (Outcome.FAIL, Outcome.UNKNOWN):
        body += " (not required)"
    lines = wrap(f"{tag} {body}", style, indent, indent + "  ")
    lines[0] = lines[0].replace(tag, style.word(finding.outcome, tag), 1)
    yield from lines
    for note in finding.notes:
        yield from wrap(note, style, f"{indent}  note    ", f"{indent}          ")
    if with_help:
        yield from numbered(finding.help, style, indent)


def _loose(account: Account, style: Style) -> Iterator[str]:
    """Findings of no problem that somebody should see. Those that root would settle are summed up at the end."""
    shown: dict[tuple[str, Outcome, str, bool], list[Finding]] = {}
    for finding in account.verdict.findings:
        if finding.problem is not None or finding.outcome in (Outcome.PASS, Outcome.SKIP):
            continue
        if finding.outcome is Outcome.UNKNOWN and (finding.needs_root or not finding.blocker) and not style.verbose:
            continue
        shown.setdefault((finding.check, finding.outcome, finding.says, finding.blocker), []).append(finding)
    order = sorted(shown.values(), key=lambda group: (not group[0].blocker, group[0].outcome.rank))
    for group in order:
        names = ", ".join(dict.fromkeys(str(finding.subject) for finding in group))
        yield from _finding(group[0], style, "", with_help=True, names=names)


def _everything(account: Account, style: Style) -> Iterator[str]:
    """With -v: every finding in one line, with -vv its evidence too."""
    for finding in account.verdict.findings:
        subject = str(finding.subject)
        yield from wrap(
            f"{WORDS[finding.outcome]:<9}{finding.check}  {subject}: {finding.says}", style, "  ", " " * 11)
        if style.verbose > 1:
            if finding.limit is not None and finding.limit.source:
                yield from wrap(f"limit {finding.limit.name}: {finding.limit.source}", style, " " * 13)
            for path in finding.evidence:
                yield style.text(f"             {path}")


def _closing(account: Account, style: Style) -> Iterator[str]:
    verdict = account.verdict
    unread_advisory = sorted({
        finding.check for finding in verdict.findings
        if finding.outcome is Outcome.UNKNOWN and not finding.blocker and not finding.needs_root
    })
    if unread_advisory and not style.quiet and not style.verbose:
        yield from wrap(
            f"{len(unread_advisory)} advisory check{'' if len(unread_advisory) == 1 else 's'} could not be read: "
            f"{', '.join(unread_advisory)} (-v says why)", style, "", "  ")
    rooted = account.needs_root
    if rooted and not style.quiet:
        yield from wrap(
            f"{len(rooted)} check{'' if len(rooted) == 1 else 's'} need{'s' if len(rooted) == 1 else ''} root: "
            f"{', '.join(rooted)}", style, "", "  ")
        again = command_line("doctor", *account.asked, *account.options, root=True)
        yield style.text(f"  run  {again}" if account.live else "  capture the box again as root")
    words = _tallies(verdict.findings)
    word = "PARTIAL" if verdict.partial else verdict.outcome.value.upper()
    ran = f"{len(account.checks)} check{'' if len(account.checks) == 1 else 's'} in {account.elapsed_seconds:.1f} s"
    yield from _summary(verdict.outcome, word, ", ".join(words), ran, style)
    yield from wrap(_meaning(account, style.quiet), style, "  ")
    if verdict.partial:
        yield style.text(f"next   {command_line('doctor', *account.options)}")
    hint = verdict.findings[verdict.problems[0].findings[0]].check if verdict.problems else None
    if hint is not None and not style.quiet:
        yield style.text(f"why    {command_line('explain', hint)}")
    if account.record and not style.quiet:
        yield style.text(f"saved  {account.record}")


def _summary(outcome: Outcome, word: str, counts: str, ran: str, style: Style) -> Iterator[str]:
    line = f"{word:<7} {counts}"
    room = min(style.columns, 100) - len(line) - len(ran)
    tail = " " * room + ran if room >= 2 else ""
    yield style.word(outcome, word, 7) + style.text(f" {counts}{tail}")


def _tallies(findings: Sequence[Finding]) -> list[str]:
    """Findings by outcome. Failures that decide nothing are counted apart: a PASS holds none of the others."""
    def count(outcome: Outcome, blocker: bool | None = None) -> int:
        return sum(finding.outcome is outcome and blocker in (None, finding.blocker) for finding in findings)

    tallies = (
        (count(Outcome.FAIL, True), "failed"), (count(Outcome.FAIL, False), "not required failed"),
        (count(Outcome.MARGINAL), "marginal"), (count(Outcome.UNKNOWN), "not read"), (count(Outcome.PASS), "passed"),
    )
    return [f"{number} {word}" for number, word in tallies if number or word == "passed"]


def _meaning(account: Account, quiet: bool) -> str:
    """What the verdict does and does not say."""
    verdict, profile = account.verdict, account.profile
    if verdict.outcome is Outcome.PASS and profile is not None:
        return (
            f"This box matches {profile.name} r{profile.revision} in everything that doctor reads and the profile "
            "requires; it has not been stressed."
        )
    if verdict.outcome is Outcome.MARGINAL and profile is not None:
        return f"Nothing that {profile.name} requires failed, but {verdict.reason}; it has not been stressed."
    if verdict.outcome is Outcome.FAIL:
        if quiet:
            broken = [finding for finding in verdict.findings if finding.blocker and finding.outcome is Outcome.FAIL]
            if not broken:  # with --strict
                broken = [one for one in verdict.findings if one.blocker and one.outcome is Outcome.MARGINAL]
            failed = dict.fromkeys(finding.check for finding in broken)
            return f"{verdict.reason}: {', '.join(failed)}."
        return f"{verdict.reason}: see the problems above." if verdict.problems else f"{verdict.reason}: see above."
    if verdict.reason.startswith("no profile"):
        said = f"Nothing can pass: {verdict.reason}. It was judged by what holds for any box. "
        if NO_GPU in verdict.reason:
            return (
                f"{said}`{command_line('demo')}` shows what is said of boxes with GPUs; if this one should have some, "
                f"name its profile with --profile (`{command_line('profile', 'list')}`).")
        return (
            f"{said}`{command_line('profile', 'list')}` shows the known boxes; choose one with --profile, or --profile "
            "generic."
        )
    if verdict.partial:
        said = verdict.reason.partition("; `boxcheck doctor`")[0]  # the next line says which command
        return f"{said[:1].upper()}{said[1:]}."
    return f"Not a pass: {verdict.reason}."


def plain(account: Account, quiet: bool = False) -> str:
    """`outcome check subject says`, gravest first, then by check and subject; the verdict last, alone when quiet."""
    lines = [] if quiet else [
        f"{finding.outcome.value} {finding.check} {str(finding.subject).replace(' ', '-')} {finding.says}"
        for finding in sorted(
            account.verdict.findings, key=lambda item: (item.outcome.rank, item.check, str(item.subject)))
    ]
    lines.append(f"verdict {account.verdict.outcome.value} {account.verdict.reason}")
    return "\n".join(lines) + "\n"

"""The cover: the verdict's word, which box, by what, when, by whom. What is not whole or not proven is said here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from boxcheck.certify.acceptance import Disposition
from boxcheck.certify.proves import SELF_SIGNED
from boxcheck.certify.waivers import answered
from boxcheck.checks.wording import duration
from boxcheck.gpu import GpuInfo
from boxcheck.model import Finding, Outcome, Subject, Unread, worst
from boxcheck.probes.dmi import Dmi
from boxcheck.report.acceptance_told import Told
from boxcheck.report.acceptance_words import WORDS, code, dim, iso, mixed, outcome_cell, strong
from boxcheck.report.certified import OUTCOMES
from boxcheck.report.document import (
    Block,
    Cell,
    Column,
    Facts,
    Heading,
    Items,
    Paragraph,
    Row,
    Table,
    VerdictWord,
    Words,
)
from boxcheck.report.judged_run import forced_in

OF_OUTCOME: dict[Outcome, Disposition] = {
    Outcome.PASS: "PASS", Outcome.MARGINAL: "MARGINAL PASS", Outcome.FAIL: "FAIL", Outcome.UNKNOWN: "INCOMPLETE",
    Outcome.SKIP: "INCOMPLETE"}
PASSING = ("PASS", "MARGINAL PASS")


def disposition_of(told: Told) -> tuple[Disposition, str]:
    """The word of the cover and its reason. A word that says more than the run is not repeated."""
    own, outcome = told.acceptance, told.verdict.outcome
    if own is None:
        said = OF_OUTCOME[outcome]
        if told.run.state == "stopped" and said != "FAIL":
            said = "ABORTED"
        return said, told.verdict.reason
    passes = own.disposition in PASSING
    if passes and not told.is_whole:
        return "INCOMPLETE", f"the record of the acceptance says {own.disposition}, and the run is not whole"
    waived = answered(own, told.findings)
    if passes and not waived and outcome in (Outcome.FAIL, Outcome.UNKNOWN):
        return OF_OUTCOME[outcome], (
            f"the record of the acceptance says {own.disposition}, and the run does not: {told.verdict.reason}")
    if told.strict and own.disposition == "MARGINAL PASS":
        return "FAIL", f"{own.reason}, which --strict fails"
    if own.disposition == "PASS" and not waived and outcome is Outcome.MARGINAL:
        return "MARGINAL PASS", told.verdict.reason
    return own.disposition, own.reason or told.verdict.reason


def serial_of(told: Told) -> str:
    """Of the box; its name where nothing told a serial number."""
    return (told.acceptance.identity.serial if told.acceptance else "") or told.run.info.box or told.run.info.host


def title_of(told: Told) -> str:
    what = "Acceptance report" if told.acceptance else KINDS.get(told.run.info.kind, "Run report")
    return f"{what}, box {serial_of(told)}" if serial_of(told) else what


KINDS = {"burn": "Burn-in report", "watch": "Report of a watch", "stress": "Report of a stress run",
         "certify": "Acceptance report"}


def cover(told: Told) -> Iterator[Block]:
    said, reason = disposition_of(told)
    waived = told.acceptance is not None and told.acceptance.with_waivers and said in PASSING
    yield Heading(level=1, text=title_of(told), anchor="cover")
    # Incomplete is not failed, and never looks passed.
    yield VerdictWord(word=said, outcome=OUTCOMES[said], reason=_sentence(reason), with_waivers=waived)
    for words in _notices(told):
        yield Paragraph(words=words)
    yield from _in_short(told)
    yield Facts(rows=tuple(_facts(told)))
    yield from _glance(told)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""


def _notices(told: Told) -> Iterator[Words]:
    """What nobody may overlook."""
    own = told.acceptance
    state = told.run.state
    if not told.is_whole:
        how = {"crashed": "The run did not come to its end: boxcheck or the machine went down. ",
               "running": "The run still goes on. ", "stopped": "The run was stopped before its end. "}.get(state, "")
        lacks = "; ".join(told.missing)
        missing = f"Missing: {lacks}. " if lacks else ""
        yield mixed(strong("A part only. "), f"{how}{missing}What is not shown here was not tested.")
    if own is None:
        yield mixed(strong("Not an acceptance. "), "This is the record of one run; nobody answers for the identity of "
                    "the box, and no disposition was given.")
    if any(one.results.injected for one in told.done):
        fault = next(one.results.injected for one in told.done if one.results.injected)
        yield mixed(strong("A fault was put in on purpose: "), f"{fault}. Nothing in this run can pass.")
    if own is not None and own.self_signed:
        yield mixed(strong("Self-signed. "), SELF_SIGNED.partition(": ")[2].capitalize())
    if own is not None and own.clock_trusted is False:
        yield mixed(strong("The clock was not synchronised. "), "Dates and times are those of the box and may be "
                    "wrong; durations are right.")
    if own is not None and own.profile_note:
        yield mixed(strong("Not a shipped profile. "), f"It {own.profile_note}.")
    if forced := forced_in(told.run):
        yield mixed(strong("The profile of another box. "), f"It was taken by --force-profile: {forced}.")
    if told.profile_note:
        yield mixed(strong("Profile: "), _sentence(told.profile_note))
    if told.verdict.crashed:
        yield mixed(strong("boxcheck itself broke "), "in a part of this run; see the raw appendix.")


def _facts(told: Told) -> Iterator[tuple[str, Words]]:
    own, run = told.acceptance, told.run
    if own is not None:
        identity = own.identity
        yield "Box serial", mixed(strong(identity.serial), dim(f"  told by: {identity.serial_from}"))
    elif run.info.box:
        yield "Box", mixed(strong(run.info.box))
    if (board := _board(told)) is not None:
        yield "Board", board
    if own is not None:
        before = f"  earlier: {'; '.join(own.earlier)}" if own.earlier else ""
        yield "Attempt", mixed(f"{own.attempt} of {own.attempts}", dim(before))
        yield "Work order", own.identity.work_order or "not given"
        yield "Operator", own.identity.operator or "not given"
        yield "Station", own.identity.station or "not given"
        if own.identity.more:
            yield "Entered by the operator", "; ".join(f"{name}: {text}" for name, text in own.identity.more.items())
        if own.identity.notes:
            yield "Notes", own.identity.notes
    yield "Profile", mixed(strong(f"{told.want.name} r{told.want.revision}"), f"  {told.want.title}")
    yield "Profile hash", (code(told.want.sha256 or (run.info.profile.sha256 if run.info.profile else "") or "none"),)
    if own is not None and own.planned:
        yield "Load asked for", f"{own.planned}{f'; shortened: {own.shortened}' if own.shortened else ''}"
    yield "Started", iso(run.started)
    yield "Finished", iso(run.end.at.wall) if run.end else (strong("it did not come to its end"),)
    yield "Length", f"{duration(told.seconds)}{_sessions(told)}"
    yield "Energy used", energy_words(told)
    commit = (own.commit if own else run.info.commit or "")[:12]
    yield "boxcheck", f"{own.version if own else run.info.version}{f' ({commit})' if commit else ''}"
    yield "Judged", told.judged
    if own is not None:
        yield "Report id", (code(own.id),)
        if own.verdict_string:
            yield "Verdict string", (code(own.verdict_string),)
    yield "Run", (code(told.run_id),)
    if told.store_sha256:
        yield "Short hash of the run", (code(told.store_sha256[:16]),)


def _sessions(told: Told) -> str:
    number = len(told.run.sessions)
    return f", in {number} sessions" if number > 1 else ""


def _board(told: Told) -> str | None:
    dmi = told.facts.of(Dmi)
    if isinstance(dmi, Unread):
        return None
    names = [one for one in (dmi.sys_vendor, dmi.product_name, dmi.board_name) if isinstance(one, str)]
    return " ".join(dict.fromkeys(names)) or None


def energy_words(told: Told) -> str:
    """At the mains where something measured there, else of the GPUs alone; never zero for what nobody measured."""
    series = told.series
    cards = [one.energy_joules for one in series.gpus.values() if one.energy_joules is not None]
    known = [info for info in told.gpus if (one := series.gpus.get(info.bdf or info.key)) is not None
             and one.energy_joules is not None]
    gpus = f"{_kilowatt_hours(sum(cards))} by {len(known)} of {len(told.gpus)} GPUs" if cards else ""
    if series.mains_joules is not None:
        mains = f"{_kilowatt_hours(series.mains_joules)} from the mains ({series.mains_of}) while loads ran"
        return f"{mains}; {gpus}" if gpus else mains
    return f"{gpus}; the box as a whole has no meter that was read" if gpus else "not measured"


def _kilowatt_hours(joules: float) -> str:
    hours = joules / 3.6e6
    return f"{hours:.1f} kWh" if hours >= 10 else f"{hours:.2f} kWh" if hours >= 0.1 else f"{joules / 3600:.1f} Wh"


MOST_PROBLEMS = 6
COUNTED = (("fail", "failed"), ("marginal", "marginal"), ("unknown", "not read"), ("pass", "passed"),
           ("skip", "skipped"))


def counts_words(told: Told) -> str:
    counts = told.verdict.counts
    return ", ".join(f"{counts.get(name, 0)} {word}" for name, word in COUNTED if counts.get(name, 0) or name == "fail")


def _in_short(told: Told) -> Iterator[Block]:
    """How many findings came to what (a check has one for each part), and the problems by their titles."""
    yield Paragraph(words=mixed(strong("Findings: "), f"{counts_words(told)}."))
    found = told.verdict.problems
    if found:
        titles = [f"{WORDS[one.outcome]}  {told.placed(one.title)}" for one in found]
        left = f"and {len(found) - MOST_PROBLEMS} more, below" if len(found) > MOST_PROBLEMS else ""
        yield Paragraph(words=mixed(strong("Problems"), dim(f"  {left}")))
        yield Items(ordered=True, items=tuple(
            mixed(strong(word), f"  {rest}") for word, _, rest in (
                title.partition("  ") for title in titles[:MOST_PROBLEMS])))


def _glance(told: Told) -> Iterator[Block]:
    """Each GPU in a row: where it is, what became of it."""
    rows = []
    found = _by_gpu(told)
    for info in told.gpus:
        place, mine = told.place(info), found[info.key]
        # As the verdict: what nobody required and nobody read makes no GPU unknown.
        deciding = [one for one in mine if one.blocker] or mine
        gravest = worst(one.outcome for one in deciding if one.outcome is not Outcome.SKIP)
        bad = [one for one in mine if one.outcome in (Outcome.FAIL, Outcome.MARGINAL)]
        names = list(dict.fromkeys(one.check for one in sorted(bad, key=lambda one: one.outcome.rank)))
        says = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        rows.append(Row(head=True, cells=(
            Cell(words=place),
            outcome_cell(gravest) if gravest is not None else Cell(words="not judged", outcome=Outcome.UNKNOWN),
            Cell(words=says or "-"), Cell(words=info.name), Cell(words=info.serial or info.uuid or "not read"),
            Cell(words=told.risers.get(place, "no label")))))
    if rows:
        yield Table(
            caption=f"{told.kinds} at a glance", rows=tuple(rows),
            columns=(Column(head="place", share=0.8), Column(head="outcome", share=0.9),
                     Column(head="what was found", share=2.2), Column(head=told.kind, share=_share(rows, 3, 2.6)),
                     Column(head="serial, else UUID", share=_share(rows, 4, 3.6)), Column(head="riser", share=0.7)))


def _share(rows: Sequence[Row], column: int, most: float) -> float:
    """Of the width: a UUID stands in one line also on paper, where the cover of eight GPUs has one page so."""
    return min(most, max(1.3, 0.09 * max(len(str(row.cells[column].words)) for row in rows)))


def _by_gpu(told: Told) -> dict[str, list[Finding]]:
    """Findings by the key of the GPU that they are about. One about a pair is about both, unless one of them fails by
    itself: then the other is not to blame."""
    gpus = told.gpus
    of = [(one, [info.key for info in gpus if belongs(one.subject, told, info)]) for one in told.findings]
    failing = {keys[0] for one, keys in of if len(keys) == 1 and one.outcome is Outcome.FAIL}
    found: dict[str, list[Finding]] = {info.key: [] for info in gpus}
    for one, keys in of:
        for key in [key for key in keys if key in failing] or keys:
            found[key].append(one)
    return found


def belongs(subject: Subject, told: Told, info: GpuInfo) -> bool:
    """Whether a subject is this GPU, its slot or its link."""
    own, slot, bdf, name = told.slots.get(info.key), subject.slot, subject.bdf, subject.name
    if slot is not None and own is not None:
        return slot == own
    if bdf is not None and bdf in {info.bdf, *(one.hop.port for one in told.directions if one.hop.card == info.bdf)}:
        return True
    return f"({info.key})" in name  # of a pair, both

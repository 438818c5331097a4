"""The account of a triage for a terminal: what was given, what happened when, why, and what to do next.

Renders a `Triage` and decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from boxcheck import __version__
from boxcheck.checks.wording import counted
from boxcheck.model import Outcome
from boxcheck.report.text import Style, numbered, wrap
from boxcheck.triage.account import Triage
from boxcheck.triage.machine import bus_of
from boxcheck.triage.scene import GRAVITY, Diagnosis, Sighting
from boxcheck.triage.times import clock_text

_OUTCOMES = {"fail": Outcome.FAIL, "warn": Outcome.MARGINAL, "info": Outcome.PASS, "benign": Outcome.SKIP}
_WORDS = {"fail": "FAIL", "warn": "warn", "info": "info", "benign": "benign"}
CAUSES = {
    "signal": "the link: riser, slot, connector or card edge",
    "power": "power: supply, cables, cooling or power saving",
    "config": "a setting of BIOS or kernel", "driver": "a driver or a program", "firmware": "firmware",
    "memory": "memory", "benign": "none", None: "not told by this evidence",
}
_BOX = (("product", ""), ("board", ""), ("bios", ""), ("cpu", ""), ("kernel", "Linux "), ("driver", "driver "))
MOST_ROWS = 30
ALIKE = 4
"""From so many rows on that differ in their device alone, they are one row."""
MOST_PROBLEMS = 20
QUIET_TITLES = 4
MOST_RESIDUE = 5
MOST_HARMLESS = 4
MOST_PIECES = 6
_WORD_COLUMNS = 7


def triage_text(triage: Triage, style: Style) -> str:
    """The whole account, ending in a line feed."""
    if style.quiet:
        return "\n".join(_closing(triage, style)) + "\n"
    lines = [*_head(triage, style)]
    if triage.events:
        lines += ["", *_timeline(triage, style)]
    shown = triage.faults if style.verbose else triage.faults[:MOST_PROBLEMS]
    for number, problem in enumerate(shown, 1):
        lines += ["", *_problem(triage, problem, number, style)]
    if len(shown) < len(triage.faults):
        lines += ["", *wrap(f"and {len(triage.faults) - len(shown)} more problems (-v shows them)", style)]
    harmless = [problem for problem in triage.problems if problem not in triage.faults]
    if harmless:
        lines.append("")
        for problem in harmless[:MOST_HARMLESS]:
            lines += wrap(f"no fault: {problem.title}", style, "", "  ")
    if triage.unjudged:
        lines += ["", *wrap(
            f"causes were looked for among the gravest events only; {triage.unjudged} were left out", style)]
    lines += [*_residue(triage, style), *_notes(triage, style), "", *_closing(triage, style)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def plain(triage: Triage) -> str:
    """One event a line, stable order: severity, kind, device, count, words."""
    rows = []
    for sighting in triage.events:
        event = sighting.event
        device = triage.machine_of(sighting).short(event.bdf) if event.bdf is not None else "-"
        rows.append(f"{event.severity} {event.kind} {device} x{event.count} {event.says}")
    rows += [f"residue {triage.sources[item.source].name}:{item.line} x{item.count} {item.text}"
             for item in triage.residue]
    return "".join(row + "\n" for row in rows)


# What was given

def _head(triage: Triage, style: Style) -> Iterator[str]:
    stamp = datetime.fromtimestamp(triage.started, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    count = len(triage.sources)
    first, *rest = wrap(f"boxcheck {__version__}   triage of {counted(count, 'file')}   {stamp}", style, "", "  ")
    yield style.bold(first)
    yield from rest
    for source in triage.sources:
        pieces = list(source.pieces[:MOST_PIECES])
        if len(source.pieces) > MOST_PIECES:
            pieces.append(f"and {len(source.pieces) - MOST_PIECES} more")
        empty = not source.lines and not source.complaints
        text = "; ".join(pieces) or ("it is empty" if empty else "nothing in it is known here")
        yield from wrap(f"{source.name}: {text}", style, "  ", "    ")
        for complaint in source.complaints[:3]:
            yield from wrap(complaint, style, "    note  ", " " * 10)
    for number, machine in enumerate(triage.machines, 1):
        known = [f"{word}{machine.box[name]}" for name, word in _BOX if machine.box.get(name)]
        which = f"machine {number}" if len(triage.machines) > 1 else "machine"
        if known:
            yield from wrap(f"{which}: " + " · ".join(dict.fromkeys(known)), style, "  ", "    ")
    if triage.only:
        grave = f", {triage.other_faults} of them fail" if triage.other_faults else ""
        yield from wrap(
            f"only {', '.join(triage.only)}: {triage.other_kinds} other events are left out{grave}", style, "  ")
    if triage.before_since:
        yield from wrap(f"{triage.before_since} events or lines before --since are left out", style, "  ")


# What happened

def _timeline(triage: Triage, style: Style) -> Iterator[str]:
    events = [sighting for sighting in triage.events if sighting.bad or style.verbose]
    quiet = len(triage.events) - len(events)
    if events:
        events.sort(key=_order)
        telling = events if style.verbose or len(events) <= MOST_ROWS else _most_telling(events)
        shown = telling
        shown, devices = _folded(triage, shown)
        hidden = len(events) - len(telling)
        whens = {sighting.index: clock_text(sighting.event.first) for sighting in shown}
        width = min(max((len(text) for text in devices.values()), default=0), 26)
        when = max(max(len(text) for text in whens.values()), 2)
        yield style.text("what happened")
        source = None
        for sighting in shown:
            if len(triage.sources) > 1 and sighting.source != source:
                source = sighting.source
                yield from wrap(triage.sources[source].name, style, "  ")
            yield from _row(sighting, whens[sighting.index], devices[sighting.index], when, width, style)
        if hidden:
            yield f"  and {hidden} more (-v shows all)"
    if quiet:
        kinds = ", ".join(dict.fromkeys(
            sighting.kind for sighting in sorted(triage.events, key=lambda item: GRAVITY.index(item.event.severity))
            if not sighting.bad and sighting.kind != "harmless"))
        what = "1 event that is" if quiet == 1 else f"{quiet} events that are"
        named = f": {kinds}" if kinds else ""
        yield from wrap(f"{what} no fault by {'itself' if quiet == 1 else 'themselves'}{named} (-v shows them)",
                        style, "  ", "  ")


def _order(sighting: Sighting) -> tuple[object, ...]:
    event = sighting.event
    timed = isinstance(event.first, float)
    return (sighting.source, event.boot, not sighting.log, (event.first if timed else 0.0), event.line)


def _most_telling(events: Sequence[Sighting]) -> list[Sighting]:
    """As many as fit, the gravest, in their order."""
    chosen = sorted(events, key=lambda sighting: GRAVITY.index(sighting.event.severity))[:MOST_ROWS]
    keep = {sighting.index for sighting in chosen}
    return [sighting for sighting in events if sighting.index in keep]


def _folded(triage: Triage, events: Sequence[Sighting]) -> tuple[list[Sighting], dict[int, str]]:
    """The rows to show, those that differ in their device alone as one, and the text of each one's device."""
    alike: dict[tuple[object, ...], list[Sighting]] = {}
    for sighting in events:
        event = sighting.event
        timed = sighting.log and event.first is not None
        alike.setdefault((sighting.source, event.boot, event.kind, event.severity, event.says, event.count,
                          sighting.index if timed else None), []).append(sighting)
    rows, devices = [], {}
    for group in alike.values():
        whole = len(group) >= ALIKE
        for sighting in group[:1] if whole else group:
            rows.append(sighting)
            devices[sighting.index] = _device(triage, sighting) + (f" +{len(group) - 1} more" if whole else "")
    return sorted(rows, key=_order), devices


def _device(triage: Triage, sighting: Sighting) -> str:
    bdf = sighting.bdf
    if bdf is None:
        return ""
    slot = triage.machine_of(sighting).slot(bdf)
    return f"{slot} {bus_of(bdf)}" if slot and not slot.isdigit() else bus_of(bdf)


def _row(sighting: Sighting, when: str, device: str, when_width: int, width: int, style: Style) -> Iterator[str]:
    event = sighting.event
    least = "at least " if event.at_least else ""
    count = f"{least}{event.count} x " if event.count > 1 or least else ""
    until = ""
    if event.last is not None and event.last != event.first and event.count > 1:
        until = f", last at {clock_text(event.last)}"
    hidden = f", {event.suppressed} more suppressed by the kernel" if event.suppressed else ""
    process = f" ({event.process})" if event.process else ""
    process += " (which card it is, is assumed)" if sighting.assumed else ""
    place = f" [{sighting.file}:{event.line}]" if style.verbose else ""
    narrow = style.columns < 72
    head = f"  {_WORDS[event.severity]:<{_WORD_COLUMNS}}{when:<{when_width}}  {device:<{width}}  "
    indent = " " * (4 + _WORD_COLUMNS if narrow else len(head))
    text = f"{count}{event.says}{process}{until}{hidden}{place}"
    if narrow:
        yield style.text(head.rstrip())
        yield from wrap(text, style, indent)
        return
    lines = wrap(text, style, head, indent)
    word = _WORDS[event.severity]
    lines[0] = lines[0].replace(word, style.word(_OUTCOMES[event.severity], word), 1)
    yield from lines


# Why

def _problem(triage: Triage, problem: Diagnosis, number: int, style: Style) -> Iterator[str]:
    title = f"problem {number} of {len(triage.faults)}: {problem.title}"
    room = min(style.columns, 100) - len(title) - len(problem.sure)
    if room >= 2:
        yield style.bold(style.text(title)) + " " * room + problem.sure
    else:
        for line in wrap(f"{title} ({problem.sure})", style, "", "  "):
            yield style.bold(line)
    machine = triage.machine_of(triage.events[problem.events[0]])
    host = f"{machine.host}: " if machine.host and len(triage.machines) > 1 else ""
    if problem.where or host:
        yield from wrap(f"{host}{problem.where}", style, "  where   ", " " * 10)
    yield from wrap(problem.part or CAUSES[problem.cause], style, "  cause   ", " " * 10)
    for position, text in enumerate(problem.because):
        yield from wrap(text, style, "  because " if position == 0 else " " * 10, " " * 12)
    yield from numbered(problem.help, style)
    for position, text in enumerate(problem.not_):
        yield from wrap(text, style, "  not     " if position == 0 else " " * 10, " " * 12)
    if problem.rule != "alone":
        yield style.text(f"  why     boxcheck explain triage.{problem.rule}")


# What is left

def _residue(triage: Triage, style: Style) -> Iterator[str]:
    if not triage.residue:
        return
    lines = sum(item.count for item in triage.residue) + triage.residue_dropped
    yield ""
    yield from wrap(
        "1 line that sounds like trouble and is not known here (not judged)" if lines == 1 else
        f"{lines} lines that sound like trouble and are not known here (not judged)", style)
    shown = triage.residue if style.verbose else triage.residue[:MOST_RESIDUE]
    for item in shown:
        place = f"{triage.sources[item.source].name}:" if len(triage.sources) > 1 else "line "
        count = f"{item.count} x " if item.count > 1 else ""
        text = item.text if style.verbose or len(item.text) <= 160 else item.text[:159] + "…"
        yield from wrap(f"{place}{item.line}  {count}{text}", style, "  ", "    ")
    rest = len(triage.residue) - len(shown)
    if rest or triage.residue_dropped:
        more = f"and {rest + triage.residue_dropped} more" + ("" if style.verbose else " (-v shows them)")
        yield f"  {more}"


def _notes(triage: Triage, style: Style) -> Iterator[str]:
    if not triage.notes:
        return
    yield ""
    yield style.text("what this evidence cannot tell")
    shown = triage.notes if style.verbose else triage.notes[:8]
    for note in shown:
        yield from wrap(note, style, "  - ", "    ")
    if len(shown) < len(triage.notes):
        yield f"  and {len(triage.notes) - len(shown)} more (-v shows them)"


def _closing(triage: Triage, style: Style) -> Iterator[str]:
    if not triage.recognised:
        yield style.word(Outcome.UNKNOWN, "UNKNOWN") + "  nothing that boxcheck knows was found in what was given"
        yield from wrap(
            "It reads kernel logs, lspci, nvidia-smi, dcgmi, rocm-smi, amd-smi, rocminfo, dmidecode, nvbandwidth,"
            " p2pBandwidthLatencyTest, rocm_bandwidth_test, nccl-tests, rccl-tests, gpu_burn, RVS and captures. What"
            " was given holds none of them, so nothing follows from it.", style, "  ")
        refused = list(dict.fromkeys(command for source in triage.sources for command in source.refused))
        if refused:
            yield from wrap(
                f"A program was not let to read the kernel's log; root may: {refused[0]} | boxcheck triage -",
                style, "  ")
        elif not any(source.lines or source.complaints for source in triage.sources):
            yield from wrap(
                "A program that was refused writes nothing, as dmesg does where root alone may read the log: sudo dmesg"
                " | boxcheck triage -", style, "  ")
        return
    counts = {word: sum(sighting.event.severity == word for sighting in triage.events) for word in GRAVITY}
    harmless = counts["info"] + counts["benign"]
    kinds = [f"{counts['fail']} that fail", f"{counts['warn']} to watch", f"{harmless} harmless"]
    tally = ", ".join(text for text in kinds if not text.startswith("0 ")) or "no event"
    titles = "; ".join(problem.title for problem in triage.faults[:QUIET_TITLES]) + (
        f"; and {len(triage.faults) - QUIET_TITLES} more" if len(triage.faults) > QUIET_TITLES else "")
    if triage.failed:
        word, outcome = "FAIL", Outcome.FAIL
        told = titles if style.quiet else "see above"
        meaning = f"{len(triage.faults)} problem{'' if len(triage.faults) == 1 else 's'}: {told}."
    elif triage.warned:
        word, outcome = "WARN", Outcome.MARGINAL
        told = f": {titles}" if style.quiet else "; what is listed above is worth a look"
        meaning = f"None of it proves a fault{told}."
    else:
        word, outcome = "NOTHING", Outcome.PASS
        meaning = ("Nothing in what was given is a fault. That is no verdict on the machine: what was not given was not"
                   " looked at.")
        if triage.only or triage.before_since:
            meaning = "Nothing that --only and --since leave is a fault; they do not leave everything (see above)."
    yield style.word(outcome, word) + style.text(f"   events: {tally}")
    yield from wrap(meaning, style, "  ")
    if not style.quiet:
        yield from _next(triage, style)


def _next(triage: Triage, style: Style) -> Iterator[str]:
    """What would tell more, of what was not given."""
    text = " ".join(piece for source in triage.sources for piece in source.pieces)
    if "capture" in text:
        return
    missing = [command for word, command in (
        ("kernel log", "sudo dmesg"), ("lspci", "sudo lspci -vvvnnxxxx")) if word not in text]
    if "lspci" in text and any(problem.rule == "narrow-link" for problem in triage.problems):
        missing.insert(0, "the whole sudo lspci -vvvnnxxxx")
    if any(sighting.kind in ("xid", "gpu-lost") for sighting in triage.events) and "nvidia-smi" not in text:
        missing.append("nvidia-smi -q")
    if missing:
        yield from wrap(f"next   of the same machine, give as well: {', '.join(missing)}", style, "", "       ")
    yield from wrap(
        "next   all at once: sudo boxcheck capture --redact box.tar.gz on that machine", style, "", "       ")

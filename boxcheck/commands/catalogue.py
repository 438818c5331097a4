"""`boxcheck checks` and `boxcheck explain`: the catalogue, from the checks' own docstrings."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import Any

import msgspec

from boxcheck.account import AREAS, in_row
from boxcheck.commands.glossary import FOLDED, TERMS
from boxcheck.model import Outcome
from boxcheck.profile import Profile, load_profile
from boxcheck.registry import CHECKS, LIMITS, PROBES, Check, discover
from boxcheck.report.output import write_output
from boxcheck.report.pager import page
from boxcheck.report.profile import bound_text
from boxcheck.report.wrapping import wrapped
from boxcheck.usage import UsageError, nearest


def catalogue() -> list[dict[str, Any]]:
    """The objects of `boxcheck checks --json`."""
    discover()
    return [
        {
            "id": check.id, "area": check.area, "title": check.title, "needs": list(check.needs),
            "stress": check.stress, "limits": list(check.limits), "reads": reads_of(check),
        }
        for _, check in sorted(CHECKS.items())
    ]


STRESS_FACTS = {
    "StressResults": "samples", "Watching": "watched", "RuntimeGpus": "runtimes", "Happened": "events",
    "Survival": "sessions", "Changes": "changes", "Looked": "devices", "Boundaries": "counters", "BerAsked": "plan",
    "LinkMap": "links"}
"""What the checks of stress modules read beside facts, by its keys in `boxcheck stress run NAME --json FILE`."""


def reads_of(check: Check) -> list[str]:
    """Keys of `boxcheck facts --json`, and of `boxcheck stress run NAME --json FILE` for a check of a stress module."""
    return [PROBES[kind].name if kind in PROBES else STRESS_FACTS[kind.__name__] for kind in check.reads]


def judged_by(check: Check) -> str:
    """The command that runs a check of a stress module; empty for doctor's own checks."""
    if check.stress is None:
        return ""
    if check.stress in WHOLE_RUNS:
        return WHOLE_RUNS[check.stress]
    return "boxcheck stress run " + ("MODULE, whichever it is" if check.stress == "*" else check.stress)


WHOLE_RUNS = {"burn": "boxcheck burn", "watch": "boxcheck watch"}
"""What stands for a module where a run as a whole is judged."""


_BLOCKS = {"blocker": "a blocker", "fault": "a blocker when it finds a fault", "advisory": "advisory"}


def blocks(id: str, want: Profile) -> str:
    """`blocker`, `fault` (blocks when it finds one, not when it cannot look) or `advisory`: in the verdict of doctor,
    or of certify for what a stress module measures."""
    if want.is_blocker(id, "stress" if CHECKS[id].stress else "inspect"):
        return "blocker"
    return "fault" if want.blocks(id, Outcome.FAIL) else "advisory"


def list_checks(json: str | None, profile: str | None) -> int:
    from boxcheck.commands.runs import terminal_columns

    found = catalogue()
    want = load_profile(profile) if profile else None
    if want is not None:
        found = [
            {**entry, "blocker": how == "blocker", "blocks": how}
            for entry, how in ((entry, blocks(entry["id"], want)) for entry in found)]
    if json:
        write_output(json, msgspec.json.format(msgspec.json.encode(found), indent=1).decode())
        return 0
    width = max(len(entry["id"]) for entry in found)
    # A line a check for grep; on a terminal, or where COLUMNS says how wide, lines that fit.
    columns = terminal_columns()
    text: list[str] = []
    for entry in found:
        mark = "" if want is None else f"{entry['blocks']:<10}"
        needs = f"  (needs {', '.join(entry['needs'])})" if entry["needs"] else ""
        by = {None: "", "*": "  (stress run)", "burn": "  (burn)", "watch": "  (watch)"}.get(
            entry["stress"], f"  (stress run {entry['stress']})")
        text += wrapped(
            f"{entry['title']}{needs}{by}", columns, f"{entry['id']:<{width}}  {mark}", " " * (width + 2 + len(mark)))
    page("\n".join(text) + "\n")
    return 0


def explain(words: Sequence[str], profile: str | None) -> int:
    """Without a word: what the glossary has."""
    discover()
    columns = min(shutil.get_terminal_size((96, 24)).columns, 96)
    if not words:
        ids = "Ids of checks: boxcheck checks lists them. Kinds of events: those of boxcheck triage, and xid.79."
        page("\n".join([
            *wrapped(ids, columns), *wrapped(f"Areas and rows of doctor's account: {', '.join(AREAS)}.", columns),
            *wrapped(f"Terms: {', '.join(sorted(TERMS, key=str.casefold))}.", columns)]) + "\n")
        return 0
    id = " ".join(words)
    if id.casefold() not in FOLDED:
        id = id.replace(" ", ".")  # `xid 79`
        id = id.lower() if id.lower().startswith("xid.") else id
    if id.startswith(TRIAGE):
        page(rule_explanation(id.removeprefix(TRIAGE), columns))
        return 0
    if id not in CHECKS and (text := event_explanation(id, columns)):
        page(text)
        return 0
    if id not in CHECKS and (text := word_explanation(id, columns)):
        page(text)
        return 0
    if id not in CHECKS:
        raise UsageError(
            f"no check, event or term is called {id!r}",
            (id.isdecimal() and f"did you mean xid.{id}?") or nearest(id, CHECKS) or nearest(id.casefold(), FOLDED) or
            "boxcheck checks lists the checks, boxcheck explain the terms")
    page(explanation(CHECKS[id], load_profile(profile) if profile else None, columns))
    return 0


def explanation(check: Check, want: Profile | None = None, columns: int = 96) -> str:
    """The text of `boxcheck explain`: meaning, reading, limits."""
    lines = [check.id, ""]
    for paragraph in paragraphs(check.text):
        lines += [*wrapped(paragraph, columns, "  "), ""]
    if check.stress:
        lines += wrapped(judged_by(check), columns, "  run by   ", " " * 11)
    lines += wrapped(", ".join(reads_of(check)), columns, "  reads    ", " " * 11)
    if check.needs:
        lines += wrapped(", ".join(check.needs), columns, "  needs    ", " " * 11)
    for name in check.limits:
        spec = LIMITS[name]
        unit = f" ({spec.unit})" if spec.unit else ""
        lines += wrapped(f"{name}{unit}: {spec.doc}", columns, "  limit    ", " " * 11)
        limit = want.limit(name) if want else None
        if limit is not None and want is not None:
            bounds = ", ".join(
                f"{word} be {bound_text(limit, value)}"
                for word, value in (("must", limit.must), ("should", limit.should)) if value is not None)
            lines += wrapped(f"{want.name}: {bounds}. {limit.source}", columns, " " * 11, " " * 13)
    if want is not None:
        stage = " (certify)" if check.stress else ""
        lines.append(f"  in {want.name}: {_BLOCKS[blocks(check.id, want)]}{stage}")
    return "\n".join(lines).rstrip() + "\n"


def word_explanation(word: str, columns: int = 96) -> str:
    """The text of `boxcheck explain TERM`, and of an area or a row of doctor's account with the checks in it; empty for
    a word that is none."""
    term = FOLDED.get(word.casefold(), "")
    lines = [term, "", *wrapped(TERMS[term], columns, "  ")] if term else [word]
    areas = in_row(word.casefold())
    here = [check for _, check in sorted(CHECKS.items()) if check.area in areas]
    if not term and not here:
        return ""
    if here:
        lines += ["", *wrapped("Its checks; boxcheck explain ID tells of one.", columns, "  "), ""]
        width = max(len(check.id) for check in here)
        for check in here:
            lines += wrapped(check.title, columns, f"  {check.id:<{width}}  ", " " * (width + 4))
    return "\n".join(lines) + "\n"


TRIAGE = "triage."
"""What the id of a rule of triage begins with."""


def rule_explanation(id: str, columns: int = 96) -> str:
    """The text of `boxcheck explain triage.RULE`."""
    from boxcheck.triage.rules import RULES
    from boxcheck.triage.rules import discover as discover_rules

    discover_rules()
    if id not in RULES:
        raise UsageError(f"no rule of triage is called {id!r}", nearest(id, RULES) or f"one of {', '.join(RULES)}")
    lines = [f"{TRIAGE}{id}", ""]
    for paragraph in paragraphs(RULES[id].text):
        lines += [*wrapped(paragraph, columns, "  "), ""]
    return "\n".join(lines).rstrip() + "\n"


def event_explanation(id: str, columns: int = 96) -> str:
    """The text of `boxcheck explain KIND` and `boxcheck explain xid.79`; empty for a word that is neither."""
    from boxcheck.decode.klog.kinds import KINDS
    from boxcheck.decode.klog.xids import XIDS
    from boxcheck.triage.kinds import TOOL_KINDS

    word, dot, number = id.partition(".")
    lines = [id, ""]
    if word == "xid" and dot and number.isdecimal() and len(number) < 6:
        entry = XIDS.get(int(number))
        if entry is None:
            return ""
        lines += [*wrapped(f"{entry.says} ({entry.severity})", columns, "  "), ""]
        lines += wrapped(entry.blame or "not told", columns, "  first look at  ", " " * 17)
        lines += wrapped(entry.help, columns, "  what to do     ", " " * 17)
    elif id in KINDS:
        kind = KINDS[id]
        lines += [*wrapped(f"An event of the kernel log: {kind.title}.", columns, "  "), ""]
        lines += wrapped(", ".join(kind.severities) + " (the wording decides)" if len(kind.severities) > 1
                         else kind.severities[0], columns, "  severity  ", " " * 12)
        if id == "xid":
            lines += wrapped("boxcheck explain xid.79 tells what one number means", columns, "  numbers   ", " " * 12)
    elif id in TOOL_KINDS:
        lines += wrapped(f"An event in the output of a tool: {TOOL_KINDS[id]}.", columns, "  ")
    else:
        return ""
    return "\n".join(lines).rstrip() + "\n"


def paragraphs(text: str) -> list[str]:
    """A docstring's first line, then one paragraph for each of its labels."""
    found: list[str] = []
    for line in text.splitlines():
        stripped = line.strip()
        if not stripped:
            continue
        starts = stripped.startswith(LABELS)
        if starts or not found or (len(found) == 1 and not found[0].startswith(LABELS)):
            found.append(stripped)
        else:
            found[-1] += " " + stripped
    return found


LABELS = ("Why it matters:", "What to do:", "Not a fault:", "By hand:", "Trade-off:", "Why:", "Not:", "Source:")

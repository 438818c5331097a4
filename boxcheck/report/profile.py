"""Profiles as text and as JSON: `boxcheck profile list`, `show`, `check` and `detect`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from boxcheck.checks.wording import duration, size
from boxcheck.model import Limit, Outcome
from boxcheck.profile import BurnWanted, GpuPart, Profile
from boxcheck.profile_detect import Detection
from boxcheck.profile_values import show
from boxcheck.registry import CHECKS

SHOW_SCHEMA = "boxcheck.profile/1"
LIST_SCHEMA = "boxcheck.profiles/1"
DETECT_SCHEMA = "boxcheck.detection/1"

SLOT_FIELDS = ("label", "riser", "root_port", "width", "speed_gts", "note")
_SINGULAR = {
    "cores": "core", "sockets": "socket", "drives": "drive", "lanes": "lane", "channels": "channel", "ports": "port",
    "supplies": "supply", "files": "file",
}
_WORDS = {"ge": "at least ", "le": "at most ", "eq": "", "in": "one of ", "not-in": "none of ", "info": ""}


def list_text(profiles: Sequence[Profile]) -> str:
    width = max((len(profile.name) for profile in profiles), default=0)
    return "".join(f"{profile.name:<{width}}  r{profile.revision}  {profile.title}\n" for profile in profiles)


def list_json(profiles: Sequence[Profile]) -> str:
    return _json({"schema": LIST_SCHEMA, "profiles": [
        {"name": profile.name, "revision": profile.revision, "title": profile.title, "goal": profile.goal,
         "gpus": {"count": profile.gpus.count, "planned": profile.gpus.planned,
                  "parts": [part.key for part in profile.gpus.parts]}, "sha256": profile.sha256}
        for profile in profiles]})


def _json(value: Mapping[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=1).decode()


def blockers(profile: Profile) -> dict[str, list[str]]:
    """Ids of the checks that block, by stage, and of those that are known and only advise."""
    found = {"inspect": [id for id in sorted(CHECKS) if profile.is_blocker(id)],
             "stress": [id for id in sorted(CHECKS) if profile.is_blocker(id, "stress")]}
    found["faults"] = [
        id for id in sorted(CHECKS) if profile.blocks(id, Outcome.FAIL) and not profile.is_blocker(id)]
    return {**found, "advisory": [id for id in sorted(CHECKS) if not any(id in ids for ids in found.values())]}


def show_json(profile: Profile) -> str:
    return _json({
        "schema": SHOW_SCHEMA, "name": profile.name, "revision": profile.revision, "title": profile.title,
        "goal": profile.goal, "parts": list(profile.parts), "sha256": profile.sha256,
        "gpus": {"count": profile.gpus.count, "planned": profile.gpus.planned, "parts": [
            {**{field: getattr(part, field) for field in (
                "key", "name", "pci_ids", "arch", "vram_gib", "link_generation", "link_width", "board_power_watts",
                "bar_gib", "source")}, "revisions": [f"{revision:02x}" for revision in part.revisions]}
            for part in profile.gpus.parts]},
        "limits": [
            {"name": limit.name, "compare": limit.compare, "must": limit.must, "should": limit.should,
             "unit": limit.unit, "source": limit.source} for limit in profile.limits.values()],
        "blockers": blockers(profile),
        "slots": [{field: getattr(slot, field) for field in SLOT_FIELDS} for slot in profile.slots],
        "match": dict(profile.match),
        "recommend": [{field: getattr(entry, field) for field in ("group", "name", "value", "note", "source")}
                      for entry in profile.recommend],
        "burn": {"shares": dict(profile.burn.shares), "left_out": dict(profile.burn.left_out),
                 "options": {phase: dict(options) for phase, options in profile.burn.options.items()},
                 "acceptance_seconds": profile.burn.acceptance_seconds,
                 "acceptance_least_seconds": profile.burn.acceptance_least_seconds,
                 "acceptance_source": profile.burn.acceptance_source},
        "notes": list(profile.notes),
    })


def detect_text(found: Detection) -> str:
    return f"{found.name}: {found.why}\n" if found.name else f"no profile: {found.why}\n"


def detect_json(found: Detection) -> str:
    return _json({"schema": DETECT_SCHEMA, "name": found.name, "why": found.why,
                  "candidates": list(found.candidates)})


def bound_text(limit: Limit, bound: object) -> str:
    """`at least 16 lanes`; `-` where the limit sets no such bound."""
    if bound is None:
        return "-"
    if isinstance(bound, tuple | list):
        values = ", ".join(item if isinstance(item, str) else show(item) for item in bound)
        return values if len(bound) == 1 else f"{_WORDS[limit.compare]}{values}"
    value = bound if isinstance(bound, str) else f"{bound:.10g}" if type(bound) is float else show(bound)
    if limit.name.endswith("mask") and isinstance(bound, int):
        value = f"{bound:#x}"
    unit = limit.unit.replace("\u00b0", "")  # the degree sign is not in every terminal's character set
    if unit == "bytes" and type(bound) is int:
        return f"{_WORDS[limit.compare]}{size(bound)}"
    if bound == 1 and type(bound) is int:
        unit = _SINGULAR.get(unit, unit)
    return f"{_WORDS[limit.compare]}{value}{f' {unit}' if unit else ''}"


def show_text(profile: Profile, width: int = 100) -> str:
    """Everything a profile says, for a person: who it is, its GPUs, limits with their sources, blockers, settings."""
    lines = [f"{profile.name} r{profile.revision}   {profile.title}"]
    lines += _wrapped([f"goal {profile.goal}; parts {', '.join(profile.parts) or 'none'}; "
                       f"sha256 of what is judged {profile.sha256[:12]}"], width, 0)
    lines += _section("GPUs", _gpus(profile), width)
    lines += _limits(profile, width)
    lists = blockers(profile)
    titles = (("inspect", "Blockers of doctor"), ("stress", "Blockers of certify, beside those of doctor"),
              ("faults", "Blockers when they find a fault"), ("advisory", "Advisory"))
    for stage, title in titles:
        lines += _section(title, [", ".join(lists[stage])] if lists[stage] else [], width)
    lines += _section("Slots", [_slot(slot) for slot in profile.slots], width)
    for group in dict.fromkeys(entry.group for entry in profile.recommend):
        lines += ["", f"Recommended: {group}"]
        for entry in (entry for entry in profile.recommend if entry.group == group):
            value = entry.value if isinstance(entry.value, str) else show(entry.value)
            lines += [f"  {entry.name} = {value}"]
            lines += _wrapped([*([entry.note] if entry.note else []), f"source: {entry.source}"], width, 6)
    lines += _section("Burn-in", _burn(profile), width)
    lines += _section("Notes", profile.notes, width)
    return "\n".join(lines) + "\n"


def acceptance_words(burn: BurnWanted) -> str:
    """`4 h, 1 h at least; source: ...`; empty where the profile asks for no time."""
    if burn.acceptance_seconds is None:
        return ""
    least = burn.acceptance_least_seconds
    return (f"{duration(burn.acceptance_seconds)}{f', {duration(least)} at least' if least is not None else ''}"
            f"{f'; source: {burn.acceptance_source}' if burn.acceptance_source else ''}")


def _burn(profile: Profile) -> Iterator[str]:
    if asked := acceptance_words(profile.burn):
        yield f"certify: {asked}"
    for phase, share in profile.burn.shares.items():
        yield f"{phase}: {share:.0%} of the time"
    for phase, options in profile.burn.options.items():
        yield f"{phase}: {', '.join(f'{key}={value}' for key, value in options.items())}"
    for phase, why in profile.burn.left_out.items():
        yield f"{phase} is left out: {why}"


def _section(title: str, texts: Iterable[str], width: int) -> list[str]:
    found = list(texts)
    return ["", title, *_wrapped(found, width, 2)] if found else []


def _wrapped(texts: Iterable[str], width: int, indent: int) -> list[str]:
    return [line for text in texts for line in textwrap.wrap(
        text, width, initial_indent=" " * indent, subsequent_indent=" " * (indent + 2),
        break_long_words=False, break_on_hyphens=False)]


def _gpus(profile: Profile) -> Iterator[str]:
    names = " or ".join(_gpu(part) for part in profile.gpus.parts)
    if not names:
        yield "none" if profile.gpus.none else "any, in any number"
        return
    count = "any number of" if profile.gpus.count is None else f"{profile.gpus.count} x"
    planned = f"; {profile.gpus.planned} planned" if profile.gpus.planned else ""
    yield f"{count} {names}{planned}"


def _gpu(part: GpuPart) -> str:
    revisions = f" rev {', '.join(f'{revision:02x}' for revision in part.revisions)}" if part.revisions else ""
    facts = [f"{'/'.join(part.pci_ids)}{revisions}"]
    if part.vram_gib:
        facts.append(f"{part.vram_gib:g} GiB")
    if part.link_generation and part.link_width:
        facts.append(f"PCIe {part.link_generation}.0 x{part.link_width}")
    if part.board_power_watts:
        facts.append(f"{part.board_power_watts:g} W")
    return f"{part.name} ({', '.join(facts)})" if part.name != part.key else part.name


def _slot(slot: Any) -> str:
    facts = [f"riser {slot.riser}" if slot.riser else "", f"port {slot.root_port}" if slot.root_port else "",
             f"x{slot.width} by design" if slot.width else "",
             f"{slot.speed_gts:g} GT/s by design" if slot.speed_gts else "", slot.note]
    said = ", ".join(filter(None, facts))
    return f"{slot.label}: {said}" if said else str(slot.label)


def _limits(profile: Profile, width: int) -> list[str]:
    """A row a limit, its source below it."""
    rows = [(limit.name, bound_text(limit, limit.must), bound_text(limit, limit.should), limit.source)
            for limit in profile.limits.values()]
    if not rows:
        return ["", "Limits", "  none"]
    first = max(len(row[0]) for row in rows)
    second = min(max(len(row[1]) for row in rows), 30)
    lines = ["", f"{'Limits':<{first + 2}}  {'must':<{second}}  should"]
    for name, must, should, source in rows:
        lines += _row(f"{name:<{first}}  {must:<{second}}  {should}", width)
        lines += _wrapped([source], width, 6)
    return lines


def _row(text: str, width: int) -> list[str]:
    """A row as it is where it fits, so that its columns stay; else wrapped."""
    return [f"  {text}".rstrip()] if len(text) + 2 <= width else _wrapped([text], width, 2)

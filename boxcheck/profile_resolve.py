"""A profile and the parts it names, put together: one `Profile`, and every mistake in any of the files.

The profile's own value of a limit wins over that of its parts. Two parts that set one limit differently contradict each
other unless the profile settles it. Lists of checks, slots and recommendations add up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from boxcheck.model import Limit
from boxcheck.profile import (
    GpuPart,
    GpusWanted,
    Mistake,
    Profile,
    ProfileError,
    load_gpus,
    part_of,
    profiles_directory,
    shipped_profiles,
)
from boxcheck.profile_file import read_text, show_text, tables_of
from boxcheck.profile_read import Sheet
from boxcheck.profile_values import show
from boxcheck.registry import CHECKS, LIMITS, discover, selected
from boxcheck.usage import closest


def find(name_or_path: str) -> tuple[Path, str]:
    """The file of a profile, and what to call it in messages."""
    if name_or_path in shipped_profiles():
        return profiles_directory() / f"{name_or_path}.toml", f"{name_or_path}.toml"
    if "/" in name_or_path or name_or_path.endswith(".toml"):
        return Path(name_or_path), show_text(name_or_path)
    begins = {name.partition("-")[0]: name for name in reversed(shipped_profiles())}
    near = closest(name_or_path, shipped_profiles()) or begins.get(closest(name_or_path, begins))
    help = "boxcheck profile list names them all"
    raise ProfileError(f"no profile is called {show(name_or_path)}", f"did you mean {near}? {help}" if near else help)


def load(name_or_path: str) -> Profile:
    """The profile, or a ProfileError that holds all of its mistakes and speaks of the first."""
    profile, mistakes = resolve(name_or_path)
    if not mistakes:
        return profile
    first = mistakes[0]
    help = first.help
    if len(mistakes) > 1:
        more = f"boxcheck profile check {show_text(name_or_path)} shows all {len(mistakes)} mistakes"
        help = f"{help}{' ' if help.endswith('?') else '; '}{more}" if help else more
    raise ProfileError(str(first), help, tuple(mistakes))


def resolve(name_or_path: str) -> tuple[Profile, list[Mistake]]:
    """The profile as far as it makes sense, and all that is wrong with it.

    Raises ProfileError when there is no file, or none that can be read as text.
    """
    discover()
    path, file = find(name_or_path)
    text = read_text(path, file) if _exists(path, file) else ""
    try:
        sheet = Sheet(text, file)
    except ProfileError as error:
        return Profile(name="", revision=0, title=""), list(error.mistakes)
    parts = [part for name in sheet.parts if (part := _part(sheet, name, path.parent)) is not None]
    limits = _limits(sheet, parts)
    gpus = _gpus(sheet)
    everything = [*parts, sheet]
    profile = Profile(
        name=sheet.name, revision=sheet.revision, title=sheet.title, goal=sheet.goal,  # type: ignore[arg-type]
        gpus=gpus, limits=limits, slots=_slots(everything),
        inspect=_patterns(everything, "inspect"), stress=_patterns(everything, "stress"),
        faults=_patterns(everything, "faults"), advisory=_patterns(everything, "advisory"),
        match={key: value for one in everything for key, value in one.match.items()},
        recommend=tuple(entry for one in everything for entry in one.recommend),
        notes=tuple(note for one in everything for note in one.notes),
        burn=sheet.burn, parts=sheet.parts, path=str(path),
    )
    _one_board(sheet, parts)
    _something_decides(sheet, profile)
    mistakes = sorted(sheet.mistakes, key=lambda one: one.line)
    for part in parts:
        mistakes += sorted(part.mistakes, key=lambda one: one.line)
    return msgspec.structs.replace(profile, judged=judged(profile)), mistakes


BOARD = "memory.channels"
"""The limit that only a part about a board sets: its sockets for memory."""


def _one_board(sheet: Sheet, parts: Sequence[Sheet]) -> None:
    boards = [part for part in parts if BOARD in part.limits]
    for other in boards[1:]:
        line = ("parts", sheet.parts.index(other.name)) if other.name in sheet.parts else ("parts",)
        sheet.wrong(line, f"parts {boards[0].name} and {other.name} each describe a board",
                    "a box has one: keep one of them")


def _something_decides(sheet: Sheet, profile: Profile) -> None:
    """A profile by which every check is advisory judges nothing, so that no box could ever pass by it."""
    if set(profile.advisory) & set(profile.inspect):
        return  # said where it is written
    if not profile.advisory or any(profile.is_blocker(check) for check in CHECKS):
        return
    if profile.inspect or all(selected(profile.advisory, check) for check in CHECKS):
        says = "every check is advisory, so that nothing is required and no box can pass"
        sheet.wrong(("require", "advisory"), says, "name in require.advisory only what may fail")


def outline(name: str) -> Profile:
    """What a shipped profile is recognised by: name, match and gpus as `load` gives them, and nothing else.

    The rest of the files is not parsed, which is most of the work, so that a mistake there is found by whoever loads
    the profile. Raises ProfileError for a mistake in what is parsed.
    """
    path, file = find(name)
    sheet = _outlined(read_text(path, file), file)
    if sheet is None or sheet.mistakes:
        return load(name)
    match: dict[str, Any] = {}
    for part in sheet.parts:
        beneath = _match_of_part(path.parent / "parts" / f"{part}.toml")
        if beneath is None:
            return load(name)
        match.update(beneath)
    gpus = _gpus(sheet)
    if sheet.mistakes:
        return load(name)
    return Profile(name=sheet.name, revision=sheet.revision, title=sheet.title, gpus=gpus,
                   match={**match, **sheet.match}, path=str(path))


def _outlined(text: str, file: str, part: bool = False) -> Sheet | None:
    """The head of a file with its [match] and [gpus], None where these cannot be told from the rest."""
    tables = tables_of(text)
    if tables is None:
        return None
    try:
        return Sheet(tables[""] + tables.get("match", "") + tables.get("gpus", ""), file, part=part)
    except ProfileError:
        return None


@lru_cache(maxsize=32)
def _match_of_part(path: Path) -> Mapping[str, Any] | None:
    """[match] of a shipped part, None where it cannot be told from the rest. Few parts have one."""
    try:
        text = read_text(path, f"parts/{path.name}")
    except ProfileError:
        return None
    tables = tables_of(text)
    if tables is not None and "match" not in tables and "match" not in tables[""]:
        return {}
    sheet = _outlined(text, f"parts/{path.name}", part=True)
    return None if sheet is None or sheet.mistakes else sheet.match


def _exists(path: Path, file: str) -> bool:
    try:
        found = path.exists()
    except (OSError, ValueError):
        found = False
    if not found:
        raise ProfileError(f"there is no profile file {file}", "boxcheck profile list names the shipped profiles")
    return True


def _part(sheet: Sheet, name: str, beside: Path) -> Sheet | None:
    """The part of that name: from `parts/` beside the profile, else a shipped one."""
    line = ("parts", sheet.parts.index(name))
    for directory in (beside / "parts", profiles_directory() / "parts"):
        path = directory / f"{name}.toml"
        if path.is_file():
            try:
                return _part_sheet(read_text(path, f"parts/{name}.toml"), name, len(LIMITS), len(CHECKS))
            except ProfileError as error:
                sheet.mistakes += error.mistakes
                return None
    known = sorted(path.stem for path in (profiles_directory() / "parts").glob("*.toml"))
    near = closest(name, known)
    sheet.wrong(line, f"no part is called {show(name)}",
                f"did you mean {near}?" if near else f"known are {', '.join(known)}")
    return None


@lru_cache(maxsize=32)
def _part_sheet(text: str, name: str, limits: int, checks: int) -> Sheet:
    """A part, checked once for all the profiles that name it. The counts stand for the tables it was checked by."""
    part = Sheet(text, f"parts/{name}.toml", part=True)
    if part.name and part.name != name:
        part.wrong(("part",), f"part is {show(part.name)}, in a file called {name}.toml", "use one name")
    return part


def _limits(sheet: Sheet, parts: Sequence[Sheet]) -> dict[str, Limit]:
    found: dict[str, Limit] = {}
    setter: dict[str, str] = {}
    for one in (*parts, sheet):
        for name, value in one.limits.items():
            spec = LIMITS[name]
            limit = Limit(name, spec.compare, value.must, value.should, spec.unit, one.sources.get(name, ""))
            before = found.get(name)
            if one is not sheet and name not in sheet.limits and before is not None and (
                    (before.must, before.should) != (limit.must, limit.should)):
                sheet.wrong(("parts",), f"parts {setter[name]} and {one.name} set {name} differently",
                            f"set {name} in the profile itself")
            found[name] = limit
            setter[name] = one.name
    return dict(sorted(found.items()))


def _gpus(sheet: Sheet) -> GpusWanted:
    known = load_gpus()
    parts: list[GpuPart] = []
    for index, key in enumerate(sheet.gpus.parts):
        if key in known:
            parts.append(known[key])
        else:
            near = closest(key, known)
            sheet.wrong(("gpus", "part", index), f"gpus.part is {show(key)}, which gpus.toml does not hold",
                        f"did you mean {near}?" if near else 'name the card by pci_id = "vendor:device"')
    parts += [_card_of_id(pci_id, revision) for pci_id, revision in sheet.gpus.ids]
    return GpusWanted(parts=tuple(parts), count=sheet.gpus.count, planned=sheet.gpus.planned)


def _card_of_id(pci_id: str, revision: int | None) -> GpuPart:
    """A card that the profile names by its id: with what gpus.toml knows of it, where id and revision are one card
    there, and never wider than the profile names it."""
    revisions = () if revision is None else (revision,)
    known = part_of(pci_id, revision)
    if known is not None:
        return msgspec.structs.replace(known, pci_ids=(pci_id,), revisions=revisions or known.revisions)
    name = pci_id if revision is None else f"{pci_id} rev {revision:02x}"
    return GpuPart(key=name, name=name, pci_ids=(pci_id,), vendor=pci_id[:4], revisions=revisions,
                   source="named by the profile")


def _patterns(sheets: Sequence[Sheet], stage: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(pattern for one in sheets for pattern in one.require.get(stage, ())))


def _slots(sheets: Sequence[Sheet]) -> tuple[Any, ...]:
    """Slots by label; a profile says more of a slot that its platform part has."""
    return tuple({slot.label: slot for one in sheets for slot in one.slots}.values())


def digest(profile: Profile) -> str:
    """SHA-256 of what is judged, as the profile stands."""
    return msgspec.structs.replace(profile, judged=judged(profile)).sha256


def judged(profile: Profile) -> bytes:
    """All that a judgement depends on, as canonical JSON. Titles, notes and sources do not count."""
    return msgspec.json.encode({
        "goal": profile.goal,
        "limits": {name: [limit.compare, limit.must, limit.should] for name, limit in profile.limits.items()},
        "gpus": [
            [[part.pci_ids, part.revisions, part.vram_gib, part.link_generation, part.link_width, part.bar_gib,
              part.board_power_watts] for part in profile.gpus.parts],
            profile.gpus.count, profile.gpus.planned,
        ],
        "require": [profile.inspect, profile.stress, profile.faults, profile.advisory],
        "slots": [[slot.label, slot.root_port, slot.width, slot.speed_gts] for slot in profile.slots],
    }, order="sorted")

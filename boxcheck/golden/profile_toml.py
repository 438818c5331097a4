"""A resolved profile as one TOML file, without parts: what the loader makes a profile of that is judged alike.

Comments are the caller's: `comments` gives the line behind a limit, `told` those before all of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from boxcheck.model import Limit
from boxcheck.profile import GpusWanted, Profile, load_gpus
from boxcheck.profile_draft import literal, quoted

LONGEST = 1600
"""Of one text; profile_file.py takes lines of 2000 characters."""
TEXT = 1200


def profile_toml(
    profile: Profile, *, told: Sequence[str] = (), comments: Mapping[str, str] | None = None,
    left_out: Sequence[str] = (),
) -> str:
    """The text. `left_out`: lines of comment below the limits."""
    profile = one_list_each(profile)
    lines = [*map(comment, told), *_head(profile), *_match(profile), *_gpus(profile.gpus)]
    lines += [*_limits(profile.limits, comments or {}), *([""] if left_out else []), *map(comment, left_out)]
    lines += [*_require(profile), *_slots(profile), *_burn(profile), *_sources(profile.limits), *_recommend(profile)]
    return "\n".join(lines) + "\n"


def comment(text: str) -> str:
    """No character of a machine's ends a comment."""
    return f"# {''.join(filter(str.isprintable, text))}"[:LONGEST].rstrip()


def _text(text: str) -> str:
    return quoted(text, TEXT)


def _head(profile: Profile) -> Iterator[str]:
    yield f"name = {_text(profile.name)}"
    yield f"revision = {profile.revision}"
    yield f"title = {_text(profile.title)}"
    yield f"goal = {_text(profile.goal)}"
    if profile.notes:
        yield "notes = ["
        yield from (f"  {_text(note)}," for note in dict.fromkeys(profile.notes))
        yield "]"


def _match(profile: Profile) -> Iterator[str]:
    if profile.match:
        yield from ("", "[match]")
        yield from (f"{key} = {literal(value)}" for key, value in profile.match.items())


def _gpus(gpus: GpusWanted) -> Iterator[str]:
    if not gpus.parts:
        if gpus.none:
            yield from ("", "[gpus]", "count = 0")
        return
    known = load_gpus()
    keys = [part.key for part in gpus.parts if part.key in known and (
        known[part.key].pci_ids, known[part.key].revisions) == (part.pci_ids, part.revisions)]
    ids = [
        id if not part.revisions else f"{id} rev {part.revisions[0]:02x}" for part in gpus.parts if part.key not in keys
        for id in part.pci_ids]
    yield from ("", "[gpus]")
    if keys:
        yield f"part = {literal(keys)}"
    if ids:
        yield f"pci_id = {literal(ids)}"
    if gpus.planned is not None and gpus.count is not None:
        yield f"count = {{ now = {gpus.count}, planned = {gpus.planned} }}"
    elif gpus.count is not None:
        yield f"count = {gpus.count}"


def _limits(limits: Mapping[str, Limit], comments: Mapping[str, str]) -> Iterator[str]:
    for area in dict.fromkeys(name.split(".", 1)[0] for name in limits):
        yield from ("", f"[{area}]")
        for name, limit in limits.items():
            if name.startswith(f"{area}."):
                said = f"  {comment(comments[name])}" if name in comments else ""
                yield f"{name.split('.', 1)[1]} = {_bounds(limit)}{said}"


def _bounds(limit: Limit) -> str:
    if limit.should is None:
        return literal(limit.must)
    must = "" if limit.must is None else f"must = {literal(limit.must)}, "
    return f"{{ {must}should = {literal(limit.should)} }}"


def one_list_each(profile: Profile) -> Profile:
    """Without what is required and advisory both: a part may require what a profile calls advisory, which counts, but
    one file may not say both."""
    def kept(patterns: Sequence[str]) -> tuple[str, ...]:
        return tuple(one for one in patterns if one not in profile.advisory)

    return msgspec.structs.replace(
        profile, inspect=kept(profile.inspect), stress=kept(profile.stress), faults=kept(profile.faults))


def _require(profile: Profile) -> Iterator[str]:
    yield from ("", "[require]")
    for stage, patterns in (("inspect", profile.inspect), ("stress", profile.stress), ("faults", profile.faults),
                            ("advisory", profile.advisory)):
        if patterns:
            yield f"{stage} = ["
            yield from (f"  {_text(pattern)}," for pattern in patterns)
            yield "]"


def _slots(profile: Profile) -> Iterator[str]:
    for slot in profile.slots:
        yield from ("", "[[slot]]", f"label = {_text(slot.label)}")
        for field in ("riser", "root_port", "width", "speed_gts", "note"):
            value = getattr(slot, field)
            if value not in (None, ""):
                yield f"{field} = {literal(value)}"


def _burn(profile: Profile) -> Iterator[str]:
    burn = profile.burn
    tables = [(name, of) for name, of in (("shares", burn.shares), ("left_out", burn.left_out)) if of]
    seconds = [(name, of) for name, of in (
        ("acceptance", burn.acceptance_seconds), ("acceptance_least", burn.acceptance_least_seconds)) if of is not None]
    if tables or seconds or burn.options:
        yield from ("", "[burn]")
    yield from (f"{name} = {_table(of)}" for name, of in tables)
    yield from (f'{name} = "{of:.0f}s"' for name, of in seconds)
    if burn.acceptance_source:
        yield f"acceptance_from = {_text(burn.acceptance_source)}"
    if burn.options:
        yield from ("", "[burn.options]")
        yield from (f"{phase} = {_table(of)}" for phase, of in burn.options.items())


def _table(values: Mapping[str, object]) -> str:
    return f"{{ {', '.join(f'{quoted(key)} = {literal(value)}' for key, value in values.items())} }}"


def _sources(limits: Mapping[str, Limit]) -> Iterator[str]:
    by_source: dict[str, list[str]] = {}
    for name, limit in limits.items():
        by_source.setdefault(limit.source, []).append(name)
    for source, names in by_source.items():
        yield from ("", "[[source]]", "limit = [", *(f"  {_text(name)}," for name in names), "]")
        yield f"from = {_text(source)}"


def _recommend(profile: Profile) -> Iterator[str]:
    for group in dict.fromkeys(entry.group for entry in profile.recommend):
        yield from ("", f"[recommend.{group}]")
        for entry in profile.recommend:
            if entry.group == group:
                note = f", note = {_text(entry.note)}" if entry.note else ""
                yield (f"{quoted(entry.name)} = {{ value = {literal(entry.value)}{note}, "
                       f"from = {_text(entry.source)} }}")

"""One profile or part file: TOML text -> a checked `Sheet`, with every mistake and its line.

Profiles are written by people, so nothing here stops at the first mistake, and a misspelt name is answered with the
nearest one that exists. What several files say together is the business of `profile_resolve`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import msgspec

from boxcheck import profile_lines
from boxcheck.profile import GOALS, BurnWanted, Mistake, Recommendation, SlotWanted
from boxcheck.profile_burn import read_burn
from boxcheck.profile_file import parse_toml, show_text
from boxcheck.profile_values import LimitValue, areas, check_limit, names_check, show
from boxcheck.registry import CHECKS, LIMITS
from boxcheck.usage import closest

PROFILE_KEYS = ("name", "revision", "title", "goal", "parts", "notes")
PART_KEYS = ("part", "title", "notes")
TABLES = ("match", "gpus", "require", "slot", "source", "recommend", "burn")
STAGES = ("inspect", "stress", "faults", "advisory")
MATCH_GLOBS = ("board", "product", "cpu")
MATCH_RANGES = {"gpu_count": "write [4, 6]", "memory_gib": "write [96, 160]"}
"""Ranges of [match], and an example of each."""
MATCH_KEYS = (*MATCH_GLOBS, *MATCH_RANGES, "sockets")
SLOT_WIDTHS = (1, 2, 4, 8, 16)
SLOT_SPEEDS_GTS = (2.5, 5.0, 8.0, 16.0, 32.0, 64.0)

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_PORT = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_PCI_ID = re.compile(r"([0-9a-f]{4}:[0-9a-f]{4})(?: rev ([0-9a-f]{2}))?")

Key = tuple[str | int, ...]


class GpusAsked(msgspec.Struct, frozen=True):
    """The [gpus] table as written: keys of the database, ids of cards it does not know, and how many."""

    parts: tuple[str, ...] = ()
    ids: tuple[tuple[str, int | None], ...] = ()
    count: int | None = None
    planned: int | None = None


class Sheet:
    """One file as it stands: its own values, each checked, and what is wrong with it in `mistakes`."""

    def __init__(self, text: str, file: str, *, part: bool = False) -> None:
        self.file = file
        self.text = text
        self.mistakes: list[Mistake] = []
        self.data = parse_toml(text, file)
        self._known = PART_KEYS if part else PROFILE_KEYS
        self.name = self._name("part" if part else "name")
        self.title = self._text(("title",), required=True)
        self.notes = self._texts(("notes",))
        self.revision = 0 if part else self._revision()
        self.goal = "any" if part else self._goal()
        self.parts = () if part else self._names(("parts",))
        self._unknown_tables(part)
        self.limits: dict[str, LimitValue] = dict(self._limits())
        self.sources = self._sources()
        self.require = self._require()
        self.slots = self._slots()
        self.match = self._match()
        self.gpus = GpusAsked() if part else self._gpus()
        self.burn = BurnWanted() if part else read_burn(self)
        self.recommend = tuple(self._recommend())

    @cached_property
    def lines(self) -> Mapping[Key, int]:
        return profile_lines.line_map(self.text)

    def wrong(self, path: Key, says: str, help: str = "") -> None:
        self.mistakes.append(Mistake(self.file, profile_lines.line_of(self.lines, path), says, help))

    # Plain values

    def _at(self, path: Key) -> Any:
        here: Any = self.data
        for key in path:
            here = here[key]
        return here

    def _has(self, path: Key) -> bool:
        parent = self._at(path[:-1])
        key = path[-1]
        return isinstance(key, int) or (isinstance(parent, dict) and key in parent)

    def _text(self, path: Key, required: bool = False) -> str:
        name = ".".join(str(key) for key in path if not isinstance(key, int))
        if not self._has(path):
            if required:
                self.wrong(path[:-1], f"{name} is missing", f'add {path[-1]} = "..."')
            return ""
        value = self._at(path)
        if not isinstance(value, str):
            self.wrong(path, f"{name} is {show(value)}, expected text", "put it in quotes")
            return ""
        tidy = " ".join(value.split())
        if not tidy:
            self.wrong(path, f"{name} is empty")
        elif not tidy.isprintable():
            self.wrong(path, f"{name} holds a control character", "write plain text")
            return ""
        return tidy

    def _number(self, path: Key, low: int, high: int, default: int) -> int:
        value = self._at(path)
        name = ".".join(map(str, path))
        if isinstance(value, bool) or not isinstance(value, int):
            quoted = isinstance(value, str) and value.isdecimal()
            self.wrong(path, f"{name} is {show(value)}, expected a number", "remove the quotes" if quoted else "")
            return default
        if not low <= value <= high:
            self.wrong(path, f"{name} is {show(value)}, possible is {low} to {high}")
            return default
        return value

    def _texts(self, path: Key, *, single: bool = False) -> tuple[str, ...]:
        """A list of texts; a text alone counts as a list of one where `single`."""
        if not self._has(path):
            return ()
        value = self._at(path)
        if single and isinstance(value, str):
            return (self._text(path),)
        if not isinstance(value, list):
            self.wrong(path, f"{'.'.join(map(str, path))} is {show(value)}, expected a list", 'write ["...", "..."]')
            return ()
        found = tuple(self._text((*path, index)) for index in range(len(value)))
        for index, text in enumerate(found):
            if text and text in found[:index]:
                self.wrong((*path, index), f"{'.'.join(map(str, path))} names {show(text)} twice", "remove one")
        return tuple(text for text in found if text)

    def _names(self, path: Key) -> tuple[str, ...]:
        found = self._texts(path)
        for index, name in enumerate(found):
            if not _NAME.fullmatch(name):
                self.wrong((*path, index), f"{show(name)} is not the name of a part", "a name, without path or .toml")
        return tuple(name for name in found if _NAME.fullmatch(name))

    def _keys(self, path: Key, known: Sequence[str], what: str) -> dict[str, Any]:
        """The table at `path`, after complaining about keys that are not known. Empty when it is no table."""
        if path and not self._has(path):
            return {}
        table = self._at(path)
        if not isinstance(table, dict):
            self.wrong(path, f"{path[0]} is {show(table)}, expected a table", f"write it as [{path[0]}]")
            return {}
        for key in table:
            if key not in known:
                near = closest(key, known)
                self.wrong((*path, key), f"{show_text(key)} is not known in {what}",
                           f"did you mean {near}?" if near else f"known are {', '.join(known)}")
        return table

    def _tables(self, key: str) -> Iterator[int]:
        """Indices of the elements of [[key]] that are tables."""
        if key not in self.data:
            return
        value = self.data[key]
        if not isinstance(value, list):
            self.wrong((key,), f"{key} is {show(value)}, expected a list of tables", f"write it as [[{key}]]")
            return
        for index, element in enumerate(value):
            if isinstance(element, dict):
                yield index
            else:
                self.wrong((key, index), f"{key} is {show(element)}, expected a table", f"write it as [[{key}]]")

    # The head of the file

    def _name(self, key: str) -> str:
        name = self._text((key,), required=True)
        if name and not _NAME.fullmatch(name):
            self.wrong((key,), f"{key} is {show(name)}", "use lower-case letters, digits, '.', '_' and '-'")
            return ""
        return name

    def _revision(self) -> int:
        if "revision" not in self.data:
            self.wrong((), "revision is missing", "add revision = 1")
            return 0
        return self._number(("revision",), 1, 1_000_000, 0)

    def _goal(self) -> str:
        goal = self._text(("goal",)) if "goal" in self.data else "any"
        if goal and goal not in GOALS:
            near = closest(goal, GOALS)
            self.wrong(("goal",), f"goal is {show(goal)}", f"did you mean {near}?" if near else
                       f"known are {', '.join(GOALS)}")
        return goal if goal in GOALS else "any"

    def _unknown_tables(self, part: bool) -> None:
        tables = [table for table in TABLES if not (part and table in ("gpus", "burn"))]
        known = {*self._known, *tables, *areas()}
        for key, value in self.data.items():
            if key in known:
                continue
            near = closest(key, known)
            what = f"[{show_text(key)}] is not a table" if isinstance(value, dict) else f"{show_text(key)} is not a key"
            self.wrong((key,), f"{what} of a {'part' if part else 'profile'}",
                       f"did you mean {f'[{near}]' if near in areas() or near in tables else near}?" if near else
                       "boxcheck profile show names the limits that exist")

    # Limits and their sources

    def _limits(self) -> Iterator[tuple[str, LimitValue]]:
        for area in areas():
            if area not in self.data:
                continue
            known = [name.split(".", 1)[1] for name in LIMITS if name.split(".", 1)[0] == area]
            if not isinstance(self.data[area], dict):
                self.wrong((area,), f"{area} is {show(self.data[area])}, expected a table", f"write it as [{area}]")
                continue
            for key, value in self.data[area].items():
                name = f"{area}.{key}"
                if name not in LIMITS:
                    near = closest(key, known) or closest(name, LIMITS)
                    full = near if near is None or "." in near else f"{area}.{near}"
                    self.wrong((area, key), f"{show_text(name)} is not a limit that any check reads",
                               f"did you mean {full}?" if full else "boxcheck profile show generic lists limits")
                    continue
                checked, complaints = check_limit(LIMITS[name], value)
                for complaint in complaints:
                    self.wrong((area, key, *complaint.path), complaint.says, complaint.help)
                if checked is not None:
                    yield name, checked

    def _sources(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for index in self._tables("source"):
            path: Key = ("source", index)
            self._keys(path, ("limit", "from"), "[[source]]")
            if "limit" not in self._at(path):
                self.wrong(path, "a source that names no limit", 'add limit = "area.name"')
            text = self._text((*path, "from"), required=True)
            for number, name in enumerate(self._texts((*path, "limit"), single=True)):
                place = (*path, "limit", number)
                if name in found:
                    self.wrong(place, f"{show_text(name)} has two sources", "say both in one text")
                elif not self._sets(name):
                    near = closest(name, self.limits)
                    self.wrong(place, f"a source for {show_text(name)}, which this file does not set",
                               f"did you mean {near}?" if near else "remove it, or set the limit")
                found.setdefault(name, text)
        for name in self.limits:
            if name not in found:
                area, key = name.split(".", 1)
                self.wrong((area, key), f"{name} has no source",
                           f'add [[source]] with limit = "{name}" and from = "where the number comes from"')
        return found

    def _sets(self, name: str) -> bool:
        """Whether the file sets that limit, be it to something impossible."""
        area, _, key = name.partition(".")
        table = self.data.get(area)
        return isinstance(table, dict) and key in table

    # What the limits do not hold

    def _require(self) -> dict[str, tuple[str, ...]]:
        self._keys(("require",), STAGES, "[require]")
        if not isinstance(self.data.get("require"), dict):
            return {}
        found = {stage: self._texts(("require", stage)) for stage in STAGES}
        for stage, patterns in found.items():
            written = self.data["require"].get(stage)
            for pattern in patterns:
                place = ("require", stage, written.index(pattern) if pattern in written else 0)
                if not names_check(pattern):
                    near = closest(pattern, CHECKS)
                    self.wrong(place, f"{show(pattern)} names no check",
                               f"did you mean {near}?" if near else "boxcheck checks lists them")
                if stage != "advisory" and pattern in found["advisory"]:
                    self.wrong(place, f"{show(pattern)} is both required and advisory", "keep it in one list")
        return found

    def _slots(self) -> tuple[SlotWanted, ...]:
        found: list[SlotWanted] = []
        for index in self._tables("slot"):
            path: Key = ("slot", index)
            table = self._keys(path, ("label", "riser", "root_port", "width", "speed_gts", "note"), "[[slot]]")
            label = self._text((*path, "label"), required=True)
            if any(slot.label == label for slot in found):
                self.wrong(path, f"slot {show(label)} is there twice", "remove one")
            port = self._text((*path, "root_port"))
            if port and not _PORT.fullmatch(port):
                self.wrong((*path, "root_port"), f"slot.root_port is {show(port)}, expected an address",
                           'write "0000:40:01.1", as lspci -D prints it')
            elif port and any(slot.root_port == port for slot in found):
                self.wrong((*path, "root_port"), f"two slots hang on port {port}", "one port has one slot")
            for key, possible in (("width", SLOT_WIDTHS), ("speed_gts", SLOT_SPEEDS_GTS)):
                if key in table and (isinstance(table[key], bool) or table[key] not in possible):
                    self.wrong((*path, key), f"slot.{key} is {show(table[key])}, possible are "
                               f"{', '.join(f'{value:g}' for value in possible)}")
            found.append(SlotWanted(
                label=label, riser=self._text((*path, "riser")) or None,
                root_port=port or None, width=table.get("width"),
                speed_gts=table.get("speed_gts"), note=self._text((*path, "note"))))
        return tuple(found)

    def _match(self) -> dict[str, Any]:
        table = self._keys(("match",), MATCH_KEYS, "[match]")
        found: dict[str, Any] = {
            key: self._texts(("match", key), single=True) for key in MATCH_GLOBS if key in table}
        for key in MATCH_GLOBS:
            if table.get(key) == []:
                self.wrong(("match", key), f"match.{key} is an empty list, which no box matches",
                           "name at least one, or remove the line")
        if "sockets" in table:
            found["sockets"] = self._number(("match", "sockets"), 1, 64, 1)
        for name, example in MATCH_RANGES.items():
            if name not in table:
                continue
            value = table[name]
            numbers = isinstance(value, list) and len(value) == 2 and all(type(item) is int for item in value)
            if numbers and 0 <= value[0] <= value[1] <= (1024 if name == "gpu_count" else 1 << 20):
                found[name] = tuple(value)
            else:
                self.wrong(("match", name),
                           f"match.{name} is {show(value)}, expected the fewest and the most", example)
        return found

    def _gpus(self) -> GpusAsked:
        table = self._keys(("gpus",), ("part", "pci_id", "count"), "[gpus]")
        if table == {"count": 0} and table["count"] is not False:  # a box without GPUs
            return GpusAsked(count=0)
        ids: list[tuple[str, int | None]] = []
        for index, text in enumerate(self._texts(("gpus", "pci_id"), single=True) if table else ()):
            matched = _PCI_ID.fullmatch(text)
            if matched is None:
                self.wrong(("gpus", "pci_id", index), f"gpus.pci_id is {show(text)}, expected an id",
                           'write "10de:2684", or "1002:744c rev c8" for one revision')
            else:
                ids.append((matched[1], int(matched[2], 16) if matched[2] else None))
        count = planned = None
        if isinstance(table.get("count"), dict):
            counts = self._keys(("gpus", "count"), ("now", "planned"), "gpus.count")
            if "now" not in counts:
                self.wrong(("gpus", "count"), "gpus.count.now is missing", "write count = { now = 2, planned = 6 }")
            else:
                count = self._number(("gpus", "count", "now"), 1, 64, 1)
            if "planned" in counts:
                planned = self._number(("gpus", "count", "planned"), 1, 64, 1)
            if count and planned and planned < count:
                self.wrong(("gpus", "count", "planned"), f"planned are {planned} GPUs, now there are {count}",
                           "planned is the larger number")
        elif "count" in table:
            count = self._number(("gpus", "count"), 1, 64, 1)
        parts = self._texts(("gpus", "part"), single=True) if table else ()
        if table and "part" not in table and "pci_id" not in table:
            self.wrong(("gpus",), "[gpus] names no card", 'add part = "..." with a name of gpus.toml')
        return GpusAsked(parts, tuple(ids), count, planned)

    def _recommend(self) -> Iterator[Recommendation]:
        groups = self.data.get("recommend", {})
        if not isinstance(groups, dict):
            self.wrong(("recommend",), f"recommend is {show(groups)}, expected a table", "write it as [recommend.env]")
            return
        for group, entries in groups.items():
            if not isinstance(entries, dict) or not _NAME.fullmatch(group):
                self.wrong(("recommend", group), f"recommend.{show_text(group)} is {show(entries)}, expected a table",
                           "write it as [recommend.env]")
                continue
            for name, entry in entries.items():
                path: Key = ("recommend", group, name)
                if not isinstance(entry, dict) or not name.isprintable():
                    self.wrong(path, f"recommend.{group}.{show_text(name)} is {show(entry)}, expected a table",
                               'write { value = ..., from = "..." }')
                    continue
                self._keys(path, ("value", "from", "note"), f"[recommend.{group}]")
                value = entry.get("value")
                if not isinstance(value, str | int | float):
                    self.wrong(path, f"recommend.{group}.{name} has no value", 'add value = "..."')
                    continue
                if isinstance(value, str):
                    value = self._text((*path, "value"))
                yield Recommendation(group=group, name=name, value=value, note=self._text((*path, "note")),
                                     source=self._text((*path, "from"), required=True))

"""The GPU database, gpus.toml: key -> `GpuPart`.

A machine has one or two of the many cards in it, and parsing them all takes longer than reading the machine; `Cards`
parses those that are asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

import msgspec

from boxcheck.profile import GpuPart, Mistake, ProfileError
from boxcheck.profile_file import parse_toml, read_text, tables_of
from boxcheck.profile_lines import line_map, line_of

_PCI_IDS = re.compile(r'^pci_ids = \[("[0-9a-f:]*"(?:, "[0-9a-f:]*")*)\]$', re.MULTILINE)


class Cards(Mapping[str, GpuPart]):
    """The cards of a database, each parsed when it is asked for. The whole file is read as one where it is not laid out
    plainly, and where a card of it is damaged: then ProfileError says what is wrong."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._text = read_text(path, path.name)
        self._tables = tables_of(self._text) or {"": "?"}
        top = self._tables.pop("")
        self._ids = {key: _PCI_IDS.findall(table) for key, table in self._tables.items()}
        self._plain = "[[" not in self._text and all(len(ids) == 1 for ids in self._ids.values()) and all(
            not line or line.startswith("#") for line in top.split("\n"))
        self._known: dict[str, GpuPart] = {}

    @cached_property
    def _all(self) -> Mapping[str, GpuPart]:
        return parse_gpus(self._text, self._path.name)

    def __getitem__(self, key: str) -> GpuPart:
        if not self._plain:
            return self._all[key]
        if key not in self._known:
            try:
                self._known.update(parse_gpus(self._tables[key], self._path.name))
            except ProfileError:
                self._known.update(self._all)  # raises with the right line, and with what is wrong before it
        return self._known[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids if self._plain else self._all)

    def __len__(self) -> int:
        return len(self._ids if self._plain else self._all)

    def of_id(self, pci_id: str) -> tuple[GpuPart, ...]:
        """The cards with this `vendor:device`, in the order of the file."""
        if self._plain:
            return tuple(self[key] for key, ids in self._ids.items() if f'"{pci_id}"' in ids[0])
        return tuple(part for part in self._all.values() if pci_id in part.pci_ids)


def parse_gpus(text: str, file: str) -> Mapping[str, GpuPart]:
    """All cards of a text; `file` names it in messages. ProfileError where it is malformed or claims a card twice."""
    found: dict[str, GpuPart] = {}
    claimed: dict[tuple[str, int | None], str] = {}

    def refuse(key: str, says: str, help: str = "") -> ProfileError:
        mistake = Mistake(file, line_of(line_map(text), (key,)), says, help)
        return ProfileError(str(mistake), help, (mistake,))

    for key, table in parse_toml(text, file).items():
        if not isinstance(table, dict):
            raise refuse(key, f"{key} is not a table", f"write it as [{key}]")
        if unknown := set(table) - set(GpuPart.__struct_fields__):
            raise refuse(key, f"{key} has an unknown key {sorted(unknown)[0]}")
        try:
            part = msgspec.convert({**table, "key": key}, GpuPart)
        except msgspec.ValidationError as error:
            raise refuse(key, f"{key}: {error}") from None
        if not part.pci_ids:
            raise refuse(key, f"{key} has no pci_ids")
        for pci_id in part.pci_ids:
            for revision in part.revisions or (None,):
                if (pci_id, revision) in claimed:
                    raise refuse(key, f"{key} claims the id and revision of {claimed[pci_id, revision]}")
                claimed[pci_id, revision] = key
        found[key] = msgspec.structs.replace(part, vendor=part.pci_ids[0].split(":")[0])
    return found

"""The GPU database, gpus.toml: key -> `GpuPart`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from boxcheck.profile import GpuPart, Mistake, ProfileError
from boxcheck.profile_file import parse_toml, read_text
from boxcheck.profile_lines import line_map, line_of


def read_gpus(path: Path) -> Mapping[str, GpuPart]:
    """All cards of the file. Raises ProfileError for a file that is missing, malformed or claims a card twice."""
    text = read_text(path, path.name)
    found: dict[str, GpuPart] = {}
    claimed: dict[tuple[str, int | None], str] = {}

    def refuse(key: str, says: str, help: str = "") -> ProfileError:
        mistake = Mistake(path.name, line_of(line_map(text), (key,)), says, help)
        return ProfileError(str(mistake), help, (mistake,))

    for key, table in parse_toml(text, path.name).items():
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

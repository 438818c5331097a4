"""The capture's own JSON files, redacted as values, so that neither quoting nor escapes hide anything."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from boxcheck.redact.scrub import Scrubber

_SECRET_KEY = re.compile(r"(?i)serial|uuid|guid|unique_?id|wwid|mac_?addr|host_?name|asset|pdi$|inforom|eui")
_PATHS = frozenset(("path", "argv", "request"))


def redact_json(path: str, value: Any, scrub: Scrubber) -> Any:
    """A decoded file under boxcheck/."""
    if path.startswith("/boxcheck/run/") and isinstance(value, dict):
        value = _program(value, scrub)
    elif path == "/boxcheck/capture.json" and isinstance(value, dict):
        value = _meta(value, scrub)
    elif path == "/boxcheck/list.jsonl" and isinstance(value, list):
        return [_listing(line, scrub) for line in value]
    return _any(value, scrub)


def _any(value: Any, scrub: Scrubber, key: str = "") -> Any:
    if isinstance(value, str):
        if _SECRET_KEY.search(key):
            return scrub.whole(value)
        return scrub.name(value) if key in _PATHS else scrub.text(value)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int) and _SECRET_KEY.search(key):
        return scrub.secrets.tokens.number(value)
    if isinstance(value, list):
        return [_any(inner, scrub, key) for inner in value]
    if isinstance(value, dict):
        return {scrub.name(inner): _any(content, scrub, inner) for inner, content in value.items()}
    return value


def _listing(line: Any, scrub: Scrubber) -> Any:
    """The names in a directory: each as the path is scrubbed that it is part of."""
    if not isinstance(line, dict) or not isinstance(line.get("path"), str) or not isinstance(line.get("names"), list):
        return None
    whole = [f"{line['path'].rstrip('/')}/{name}" for name in line["names"] if isinstance(name, str)]
    return {"path": scrub.name(line["path"]), "names": sorted(scrub.name(path).rpartition("/")[2] for path in whole)}


def _meta(meta: dict[str, Any], scrub: Scrubber) -> dict[str, Any]:
    user = meta.get("user")
    if isinstance(user, dict) and isinstance(user.get("name"), str):
        meta = {**meta, "user": {**user, "name": scrub.person(user["name"])}}
    return meta


_FORMS: dict[str, Callable[[Scrubber, str], str]] = {"chronyc": Scrubber.clock}


def _program(entry: dict[str, Any], scrub: Scrubber) -> dict[str, Any]:
    argv, out = entry.get("argv"), entry.get("stdout")
    if not isinstance(argv, list) or not isinstance(out, str) or not argv:
        return entry
    form = _FORMS.get(str(argv[0]))
    if form is not None:
        return {**entry, "stdout": form(scrub, out)}
    for word in argv:
        if isinstance(word, str) and word.startswith("--query-gpu="):
            return {**entry, "stdout": _columns(out, word.partition("=")[2].split(","), scrub)}
    return entry


def _columns(out: str, fields: list[str], scrub: Scrubber) -> str:
    """The comma-separated output of nvidia-smi: columns that name a card."""
    secret = {number for number, field in enumerate(fields) if _SECRET_KEY.search(field)}
    lines = []
    for line in out.split("\n"):
        cells = line.split(",")
        if len(cells) == len(fields):
            cells = [scrub.whole(cell) if number in secret else cell for number, cell in enumerate(cells)]
        lines.append(",".join(cells))
    return "\n".join(lines)

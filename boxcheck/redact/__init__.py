"""A capture with everything taken out that names the machine, its parts or its people, and nothing that is judged.

First the secrets are collected from the places that hold them by name (`collect`), then every file, link and name is
scrubbed of them, of what has a label and of what has the shape of an address (`scrub`, `binary`); at last everything is
searched once more, and a file that still holds a secret is left out. What is replaced by what: `tokens`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from boxcheck.host.write import Members
from boxcheck.redact.binary import redact_binary
from boxcheck.redact.collect import collect, place_of, text_of
from boxcheck.redact.patterns import MOUNTS, SETTINGS
from boxcheck.redact.scrub import Scrubber
from boxcheck.redact.tokens import Tokens

_META = "/boxcheck/capture.json"


def redact_members(members: Members, salt: bytes | None = None, scrub: Scrubber | None = None) -> Members:
    """The redacted capture. `salt` is for tests: it is random otherwise, and stored nowhere. `scrub`: what
    `scrubber_of` found in these members, where it was asked already."""
    stored = _stored_values(members)
    scrub = scrubber_of(members, salt, stored) if scrub is None else scrub
    files: dict[str, bytes] = {}
    left_out: list[str] = []
    for path, data in members.files.items():
        name = scrub.name(path)
        files[name] = _stored(path, stored[path], scrub) if path in stored else _redacted(path, data, scrub)
        if _leaks(files[name], scrub):
            del files[name]
            left_out.append(name)
    links = {scrub.name(path): scrub.name(target) for path, target in members.links.items()}
    files[_META] = _meta(files.get(_META))
    if left_out:
        lines = (msgspec.json.encode(
            {"path": place_of(path), "kind": "not-captured", "why": "left out when the capture was redacted"})
            for path in left_out if not path.startswith("/boxcheck/"))
        place = "/boxcheck/unread.jsonl"
        files[place] = files.get(place, b"") + b"".join(line + b"\n" for line in lines)
    return Members(files, links)


def scrubber_of(members: Members, salt: bytes | None = None, stored: Mapping[str, Any] | None = None) -> Scrubber:
    """What takes the secrets of a capture out of any text. `stored`: its own JSON files, where they were decoded."""
    tokens = Tokens(os.urandom(32) if salt is None else salt)
    names = (*members.files, *members.links, *members.links.values())
    return Scrubber(collect(members.files, _stored_values(members) if stored is None else stored, names, tokens))


def _stored_values(members: Members) -> dict[str, Any]:
    return {path: value for path, data in members.files.items() if (value := _decoded(path, data)) is not None}


def _decoded(path: str, data: bytes) -> Any:
    """The content of a JSON file of the capture's own: a value, or for lines a list of values. None for other files."""
    if not path.startswith("/boxcheck/") or place_of(path) != path:
        return None
    try:
        if path.endswith(".jsonl"):
            return [msgspec.json.decode(line) for line in data.split(b"\n") if line.strip()]
        return msgspec.json.decode(data) if path.endswith(".json") else None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _redacted(path: str, data: bytes, scrub: Scrubber) -> bytes:
    place = place_of(path)
    secrets = scrub.secrets
    binary = redact_binary(place, data, secrets.tokens, secrets.names)
    if binary is not None:
        return scrub.raw(binary)
    text = text_of(data)
    if text is None:
        return scrub.raw(data)
    if scrub.is_whole(place):
        changed = scrub.whole(text)
    else:
        form = next((form for end, form in _FORMS if place.endswith(end)), None)
        if form is None and MOUNTS.fullmatch(place):
            form = Scrubber.mounts
        elif form is None and SETTINGS.fullmatch(place):
            form = Scrubber.settings
        changed = scrub.text(text if form is None else form(scrub, text), place)
    return data if changed == text else changed.encode("utf-8", "surrogateescape")


_FORMS: tuple[tuple[str, Callable[[Scrubber, str], str]], ...] = (
    ("/etc/passwd", Scrubber.passwd), ("/etc/group", Scrubber.group), ("/etc/passwd-", Scrubber.passwd),
    ("/uevent", Scrubber.uevent), ("/properties", Scrubber.kfd), ("/etc/hosts", Scrubber.hosts),
)


def _stored(path: str, value: Any, scrub: Scrubber) -> bytes:
    from boxcheck.redact.json import redact_json

    changed = redact_json(path, value, scrub)
    if isinstance(changed, list) and path.endswith(".jsonl"):
        return b"".join(msgspec.json.encode(line) + b"\n" for line in changed if line is not None)
    return msgspec.json.format(msgspec.json.encode(changed), indent=1) + b"\n"


def _meta(data: bytes | None) -> bytes:
    """capture.json, saying that the capture is redacted; made where another tool's tree has none."""
    meta = None if data is None else _decoded(_META, data)
    if not isinstance(meta, dict):
        meta = {"schema": "boxcheck.capture/1", "kind": "tree"}
    meta["redacted"] = True
    return msgspec.json.format(msgspec.json.encode(meta), indent=1) + b"\n"


def _leaks(data: bytes, scrub: Scrubber) -> bool:
    """Whether anything known as a secret is still there, as text or as bytes."""
    if any(raw in data for raw in scrub.secrets.raw):
        return True
    text = data.decode("utf-8", "surrogateescape") if b"\0" not in data else data.decode("latin-1")
    return scrub.known(text) != text

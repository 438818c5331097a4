"""The manifest of an attempt: what is signed, as bytes that anybody can make again from the same folder.

Canonical JSON: keys sorted, no white space, UTF-8, one line feed at the end (but for that line feed as RFC 8785 has it:
the values are texts, whole numbers and truth values). By hand, over a folder: `sha256sum -c SHA256SUMS`, and
`jq -cS . manifest.json | cmp - manifest.json`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from boxcheck.certify.acceptance import SCHEMA, Acceptance, AttemptFile, Manifest
from boxcheck.certify.contents import ACCEPTANCE, MANIFEST, SIGNATURE, SUMS, Contents, contents_of_folder, good_name
from boxcheck.store.texts import plain_line

MANIFEST_SCHEMA = "boxcheck.manifest/1"
SUMS_LINE = "{sha256}  {name}\n"
"""As `sha256sum` writes it, of a file read as it is (coreutils manual, "sha2 utilities")."""


class ManifestError(Exception):
    """The manifest, or the folder that it is to be made of, is not what it should be."""


def canonical(value: object) -> bytes:
    """The bytes of a JSON value. UnicodeEncodeError for text that is no Unicode."""
    return msgspec.json.encode(value, order="sorted") + b"\n"


def parse_manifest(data: bytes) -> Manifest:
    """A manifest from its bytes. ManifestError where they are not canonical or hold something else; fields that a later
    boxcheck adds are left alone."""
    try:
        raw: Any = msgspec.json.decode(data)
        same = canonical(raw) == data
        schema = raw.get("schema") if isinstance(raw, dict) else None
        if schema != MANIFEST_SCHEMA:
            raise ManifestError(f"it is no {MANIFEST_SCHEMA}")
        if not same:
            raise ManifestError("its bytes are not the canonical ones (keys sorted, no white space, one line feed)")
        found = msgspec.convert(raw, Manifest)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ManifestError(f"it is no manifest: {plain_line(str(error))[:160]}") from None
    names = [one.name for one in found.files]
    if names != sorted(set(names)):
        raise ManifestError("its files are not sorted, or one is named twice")
    for one in found.files:
        if one.name in (MANIFEST, SUMS, SIGNATURE) or not good_name(one.name):
            raise ManifestError(f"it names a file that no folder of an attempt has: {plain_line(one.name)[:80]}")
        if one.size_bytes < 0 or len(one.sha256) != 64 or set(one.sha256) - set("0123456789abcdef"):
            raise ManifestError(f"size or hash of {one.name} are none")
    return found


def parse_acceptance(data: bytes) -> Acceptance:
    """ManifestError where it is none."""
    try:
        found = msgspec.json.decode(data, type=Acceptance)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ManifestError(f"{ACCEPTANCE} is not understood: {plain_line(str(error))[:160]}") from None
    if found.schema != SCHEMA:
        raise ManifestError(f"{ACCEPTANCE} is no {SCHEMA}")
    return found


def manifest_of(told: Acceptance, files: Iterable[AttemptFile]) -> Manifest:
    """What is signed for an attempt with these files."""
    return Manifest(
        id=told.id, serial=told.identity.serial, attempt=told.attempt, disposition=told.disposition,
        with_waivers=told.with_waivers, verdict=told.verdict, profile=told.profile,
        profile_revision=told.profile_revision, profile_sha256=told.profile_sha256, started=iso(told.started),
        finished=iso(told.finished), self_signed=told.self_signed, planned=told.planned,
        profile_note=told.profile_note, files=tuple(sorted(files, key=lambda one: one.name)))


def iso(seconds: float) -> str:
    """UTC, to the second. ManifestError for a time that no calendar has."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        raise ManifestError(f"{seconds!r} is no time") from None


def sums_of(files: Iterable[AttemptFile]) -> bytes:
    """SHA256SUMS, for `sha256sum -c`."""
    return "".join(
        SUMS_LINE.format(sha256=one.sha256, name=one.name) for one in sorted(files, key=lambda one: one.name)).encode()


def write_manifest(folder: str) -> Manifest:
    """Hashes every file of an attempt's folder and writes SHA256SUMS and manifest.json. ManifestError for a folder
    that holds what cannot be signed (a link, a device, a name that is none), OSError where nothing can be written.

    A signature that lay there is removed: it was over another manifest.
    """
    from boxcheck.report.output import write_output

    found = contents_of_folder(folder)
    told = signable(found)
    made = manifest_of(told, found.files)
    parse_manifest(canonical(made))
    write_output(os.path.join(folder, SUMS), sums_of(found.files).decode(), mode=0o644)
    write_output(os.path.join(folder, MANIFEST), canonical(made).decode(), mode=0o644)
    if os.path.lexists(signature := os.path.join(folder, SIGNATURE)):
        os.unlink(signature)
    return made


def signable(found: Contents) -> Acceptance:
    """The acceptance of a folder of which a manifest can be made. ManifestError where none can."""
    if found.troubles:
        raise ManifestError(f"{found.troubles[0].name} {found.troubles[0].says}")
    if found.acceptance is None:
        raise ManifestError(f"there is no {ACCEPTANCE}: boxcheck certify writes it")
    return parse_acceptance(found.acceptance)

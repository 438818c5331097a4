"""What in a folder is not as its manifest says: which file, what was expected, what was found. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

import msgspec

from boxcheck.certify.acceptance import Acceptance, AttemptFile, Manifest
from boxcheck.certify.contents import ACCEPTANCE, MANIFEST, SIGNATURE, SUMS, Contents
from boxcheck.certify.manifest import ManifestError, manifest_of, parse_acceptance, parse_manifest, sums_of
from boxcheck.store.texts import plain_line

ChangeKind = Literal["missing", "added", "changed", "not-a-file", "not-read", "manifest", "sums", "disagrees"]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One difference between what was signed and what is there."""

    name: str
    kind: ChangeKind
    says: str
    expected: str = ""
    """SHA-256, or a value of the manifest."""
    found: str = ""


def compare(found: Contents) -> tuple[Manifest | None, tuple[Change, ...]]:
    """The manifest, and what in the folder is not as it says."""
    if found.manifest is None:
        return None, tuple(_troubles(found, ()))
    try:
        manifest = parse_manifest(found.manifest)
    except ManifestError as error:
        return None, (Change(name=MANIFEST, kind="manifest", says=f"{MANIFEST} was changed: {plain_line(str(error))}"),)
    changes = [*_troubles(found, [one.name for one in manifest.files]), *_files(found, manifest)]
    if found.sums is None:
        changes.append(Change(name=SUMS, kind="missing", says=f"{SUMS} is missing"))
    elif found.sums != sums_of(manifest.files):
        changes.append(Change(
            name=SUMS, kind="sums", says=f"{SUMS} was changed: it is not what {MANIFEST} says", found=_hash(found.sums),
            expected=_hash(sums_of(manifest.files))))
    if not any(one.name == ACCEPTANCE for one in changes):
        changes += _disagreements(found, manifest)
    return manifest, tuple(changes)


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _troubles(found: Contents, listed: Sequence[str]) -> list[Change]:
    own = {*listed, MANIFEST, SIGNATURE, SUMS}
    made = []
    for one in found.troubles:
        unread = one.kind == "changing" or (one.kind == "unreadable" and one.name in own)
        made.append(Change(
            name=one.name, kind="not-read" if unread else "not-a-file", says=f"{one.name} {one.says}"))
    return made


def _files(found: Contents, manifest: Manifest) -> list[Change]:
    there = {one.name: one for one in found.files}
    troubled = {one.name for one in found.troubles}
    made = []
    for one in manifest.files:
        if one.name in troubled:
            continue
        is_there = there.get(one.name)
        if is_there is None:
            made.append(Change(name=one.name, kind="missing", expected=one.sha256, says=f"{one.name} is missing"))
        elif is_there != one:
            made.append(_changed(one, is_there))
    listed = {one.name for one in manifest.files}
    made += [Change(name=one.name, kind="added", says=f"{one.name} was added: {MANIFEST} does not list it")
             for one in found.files if one.name not in listed]
    return made


def _changed(wanted: AttemptFile, found: AttemptFile) -> Change:
    size = f", {found.size_bytes} bytes instead of {wanted.size_bytes}" if found.size_bytes != wanted.size_bytes else ""
    return Change(
        name=wanted.name, kind="changed", says=f"{wanted.name} was changed{size}", expected=wanted.sha256,
        found=found.sha256)


LATER = ("planned", "profile_note")
"""Fields of the manifest that those of earlier versions have not."""


def _disagreements(found: Contents, manifest: Manifest) -> list[Change]:
    """Fields in which manifest.json says something else than acceptance.json."""
    if found.acceptance is None:
        return [Change(name=ACCEPTANCE, kind="missing", says=f"{ACCEPTANCE} is missing")]
    try:
        acceptance = parse_acceptance(found.acceptance)
        told = manifest_of(acceptance, manifest.files)
    except ManifestError as error:
        return [Change(name=ACCEPTANCE, kind="disagrees", says=plain_line(str(error)))]
    made = _not_as_accepted(acceptance, manifest)
    for field in manifest.__struct_fields__:
        here, there = getattr(manifest, field), getattr(told, field)
        if field in LATER and not here:
            continue  # signed before a manifest said it
        if here != there:
            here, there = plain_line(str(here))[:80], plain_line(str(there))[:80]
            made.append(Change(
                name=MANIFEST, kind="disagrees", expected=there, found=here,
                says=f"{MANIFEST} says {field} is {here}, {ACCEPTANCE} says {there}"))
    return made


def _not_as_accepted(told: Acceptance, manifest: Manifest) -> list[Change]:
    """Files that the acceptance names, and of which the manifest says something else: it was made anew, over a folder
    that had lost them."""
    listed = {one.name: one for one in manifest.files}
    made = []
    for one in told.files:
        name = plain_line(one.name)[:80]
        there = listed.get(one.name)
        if there is None:
            made.append(Change(name=name, kind="missing", expected=one.sha256, says=(
                f"{name} is missing: {ACCEPTANCE} names it, {MANIFEST} does not")))
        elif there != one:
            made.append(Change(name=name, kind="disagrees", expected=one.sha256, found=there.sha256, says=(
                f"{name} is another than the one that {ACCEPTANCE} names")))
    return made

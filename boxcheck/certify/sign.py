"""Signs the manifest of an attempt, away from the box under test, or says "self-signed" in all that is read of it."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from boxcheck.certify.acceptance import Acceptance, AttemptFile, Manifest
from boxcheck.certify.changes import compare
from boxcheck.certify.contents import (
    ACCEPTANCE,
    MANIFEST,
    SIGNATURE,
    SUMS,
    VERDICT,
    Contents,
    ContentsError,
    contents_of_folder,
)
from boxcheck.certify.keys import NO_AGENT, KeyTrouble, check_armor, sign_with_agent, sign_with_file
from boxcheck.certify.machine import Sameness, is_tested_box, marks, marks_of_run
from boxcheck.certify.manifest import (
    ManifestError,
    canonical,
    manifest_of,
    parse_acceptance,
    parse_manifest,
    sums_of,
)
from boxcheck.certify.sshsig import NAMESPACE, SignatureError, parse_armor
from boxcheck.certify.verify import signature_holds
from boxcheck.store.texts import plain_line

RUN = "run.sqlite"


class SignTrouble(Exception):
    """There will be no signature; `help` says what to do."""

    def __init__(self, says: str, help: str = "") -> None:
        super().__init__(says)
        self.help = help


class Signing(msgspec.Struct, frozen=True, kw_only=True):
    """Which key, and where it is."""

    key: str | None = None
    """A private key's file; with `agent` a public one's, or a fingerprint."""
    agent: bool = False
    self_signed: bool = False
    again: bool = False
    """Whether a signature that is there may be replaced."""


class SignedNow(msgspec.Struct, frozen=True, kw_only=True):
    """What was signed."""

    schema: str = "boxcheck.signing/1"
    folder: str
    signature: str
    """Path of the signature file."""
    manifest: Manifest
    fingerprint: str
    key: str
    """Type and key, as in a list of allowed signers."""
    namespace: str = NAMESPACE
    self_signed: bool
    tested_box: Literal["same", "other", "unknown"]
    """Whether this machine is the box under test, by its marks."""
    tested_box_says: str
    agent: Literal["elsewhere", "here", "unknown"] | None
    """Where the agent answers from; None for a key file."""


Render = Callable[[str, Acceptance], Mapping[str, bytes]]
"""The reports of a folder made anew, by name, for an acceptance that now says something else; nothing is written.
SignTrouble where one cannot be made."""


def sign(folder: str, asked: Signing, render: Render) -> SignedNow:
    """Signs a folder. SignTrouble or KeyTrouble where nothing was signed."""
    if not os.path.isdir(folder) and os.path.basename(folder) == MANIFEST:
        folder = os.path.dirname(os.path.abspath(folder))
    if not os.path.isdir(folder):
        raise SignTrouble(
            f"{plain_line(folder)} is no folder", "name the folder that certify wrote; unpack a tar first")
    manifest, told = _unchanged(folder, asked.again)
    place = _is_tested_box(told.machine, _marks_of_run(folder))
    agent = _agent_place() if asked.agent else None
    if place.answer == "same" and not asked.self_signed:
        _refuse_here(place, agent, asked)
    fresh: dict[str, bytes] = {}
    if asked.self_signed != manifest.self_signed:
        manifest, fresh = _saying_self_signed(folder, manifest, told, asked.self_signed, render)
    message = canonical(manifest)
    armor = sign_with_agent(asked.key, message, NAMESPACE) if asked.agent else sign_with_file(
        asked.key or "", message, NAMESPACE)
    key = check_armor(armor, message, NAMESPACE, _holds)
    path = os.path.join(folder, SIGNATURE)
    # Not before there is a signature that holds: what was signed before stays where there is none.
    _replace(folder, {**fresh, SIGNATURE: armor.encode()})
    return SignedNow(
        folder=plain_line(folder), signature=plain_line(path), manifest=manifest, fingerprint=key.fingerprint,
        key=key.line, self_signed=manifest.self_signed, tested_box=place.answer, tested_box_says=place.says,
        agent=agent)


def _unchanged(folder: str, again: bool) -> tuple[Manifest, Acceptance]:
    """Manifest and acceptance of a folder in which everything is as certify left it."""
    try:
        found = contents_of_folder(folder)
    except ContentsError as error:
        raise SignTrouble(str(error)) from None
    if found.manifest is None:
        raise SignTrouble(f"{plain_line(folder)} holds no {MANIFEST}", "boxcheck certify writes one at its end")
    manifest, changes = compare(found)
    if changes or manifest is None or found.acceptance is None:
        more = f", and {len(changes) - 1} more" if len(changes) > 1 else ""
        raise SignTrouble(
            f"nothing is signed: {changes[0].says if changes else f'{ACCEPTANCE} is missing'}{more}",
            "what certify wrote was changed since: certify again, or fetch the folder anew from the box")
    if found.signature is not None and not again:
        raise SignTrouble(f"it is signed already{_by(found)}", "--again replaces the signature")
    try:
        return manifest, parse_acceptance(found.acceptance)
    except ManifestError as error:
        raise SignTrouble(str(error)) from None


def _by(found: Contents) -> str:
    try:
        return f", by the key {parse_armor(found.signature or b'').key.fingerprint}"
    except SignatureError:
        return ""


def _marks_of_run(folder: str) -> Mapping[str, str]:
    """By a copy: a store that is read may get a journal beside it, and a folder that is signed stays as it is."""
    with tempfile.TemporaryDirectory(prefix="boxcheck-") as beside:
        try:
            copy = shutil.copyfile(os.path.join(folder, RUN), os.path.join(beside, RUN))
        except FileNotFoundError:
            return {}
        except OSError as error:
            says = f"{plain_line(str(error.filename or RUN))}: {os.strerror(error.errno or 0).lower()}"
            raise SignTrouble(f"nothing is signed: {says}", "name another directory in TMPDIR") from None
        return marks_of_run(copy)


def _is_tested_box(told: Mapping[str, str], of_run: Mapping[str, str]) -> Sameness:
    """By the marks of the acceptance, and by those of its run where that was made on another machine: the acceptance
    may have been made on a second one that shares the home."""
    here = marks()
    place = is_tested_box(told or of_run, here)
    if place.answer != "same" and of_run and of_run.get("machine-id") != told.get("machine-id"):
        by_run = is_tested_box(of_run, here)
        return by_run if by_run.answer == "same" or place.answer == "unknown" else place
    return place


def _agent_place() -> Literal["elsewhere", "here", "unknown"]:
    from boxcheck.certify.agent import AgentError, agent_place

    try:
        return agent_place()
    except AgentError as error:
        raise KeyTrouble(str(error), NO_AGENT) from None


def _refuse_here(place: Sameness, agent: str | None, asked: Signing) -> None:
    """SignTrouble unless the key is known to be elsewhere."""
    help = ("copy the folder to the station and sign it there, or come with ssh -A and sign with --agent; "
            "--self-signed signs here and says so in the report")
    if not asked.agent:
        raise SignTrouble(f"this is the box under test ({place.says}): a key file on it proves nothing to others", help)
    if agent == "here":
        raise SignTrouble(
            f"this is the box under test ({place.says}), and the ssh-agent is a program on it, not forwarded", help)
    if agent == "unknown":
        raise SignTrouble(
            f"this is the box under test ({place.says}), and whether the ssh-agent is forwarded cannot be told: the "
            "process that made its socket is gone", help)


def _saying_self_signed(
    folder: str, manifest: Manifest, told: Acceptance, is_so: bool, render: Render,
) -> tuple[Manifest, dict[str, bytes]]:
    """The manifest, and the files that change, where acceptance, verdict and reports say it."""
    raw = {name: _json_of(os.path.join(folder, name)) for name in (ACCEPTANCE, VERDICT)}
    for one in (raw[ACCEPTANCE], (raw[VERDICT] or {}).get("acceptance")):
        if isinstance(one, dict):
            one["self_signed"] = is_so  # what a later boxcheck added stays
    told = msgspec.structs.replace(told, self_signed=is_so)
    fresh: dict[str, bytes] = {}
    if raw[VERDICT] is not None:
        fresh[VERDICT] = _formatted(raw[VERDICT])
        new = _file(VERDICT, fresh[VERDICT])
        told = msgspec.structs.replace(told, files=tuple(new if one.name == VERDICT else one for one in told.files))
        for row in (raw[ACCEPTANCE] or {}).get("files", ()):
            if row.get("name") == VERDICT:
                row.update(msgspec.to_builtins(new))
    fresh |= {ACCEPTANCE: _formatted(raw[ACCEPTANCE]), **render(folder, told)}
    files = [_file(one.name, fresh[one.name]) if one.name in fresh else one for one in manifest.files]
    try:
        made = manifest_of(told, files)
        parse_manifest(canonical(made))
    except ManifestError as error:
        raise SignTrouble(f"the manifest could not be made anew: {error}") from None
    return made, {**fresh, SUMS: sums_of(files), MANIFEST: canonical(made)}


def _formatted(whole: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(whole), indent=1) + b"\n"


def _file(name: str, data: bytes) -> AttemptFile:
    return AttemptFile(name=name, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def _json_of(path: str) -> dict[str, Any] | None:
    """The object in a file of the folder; None where there is no such file, or no object in it."""
    try:
        with open(path, "rb") as stream:
            found = msgspec.json.decode(stream.read())
    except (FileNotFoundError, msgspec.DecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _holds(armor: bytes, message: bytes) -> bool | None:
    answer = signature_holds(armor, parse_armor(armor), message)
    return None if isinstance(answer, str) else answer


def _replace(folder: str, files: Mapping[str, bytes]) -> None:
    """Writes these files of the folder, all or none."""
    from boxcheck.report.output import write_together

    for name in files:
        if os.path.islink(path := os.path.join(folder, name)):  # it came in the last moment; it is not written through
            os.unlink(path)
    try:
        write_together({os.path.join(folder, name): (data,) for name, data in files.items()}, mode=0o644)
    except OSError as error:
        where = plain_line(str(error.filename or folder))
        raise SignTrouble(f"nothing is signed: {where}: {os.strerror(error.errno or 0).lower()}",
                          "make the folder one that can be written to, with room in it") from None

"""Signs the manifest of an attempt, away from the box under test, or says "self-signed" in all that is read of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from boxcheck.certify.acceptance import Acceptance, Manifest
from boxcheck.certify.changes import compare
from boxcheck.certify.contents import (
    ACCEPTANCE,
    MANIFEST,
    SIGNATURE,
    VERDICT,
    Contents,
    ContentsError,
    contents_of_folder,
)
from boxcheck.certify.keys import NO_AGENT, KeyTrouble, check_armor, sign_with_agent, sign_with_file
from boxcheck.certify.machine import Sameness, is_tested_box, marks
from boxcheck.certify.manifest import ManifestError, canonical, parse_acceptance, write_manifest
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


Render = Callable[[str, Acceptance], None]
"""Makes the reports of a folder anew, for an acceptance that now says something else. SignTrouble where it cannot."""


def sign(folder: str, asked: Signing, render: Render) -> SignedNow:
    """Signs a folder. SignTrouble or KeyTrouble where nothing was signed."""
    if not os.path.isdir(folder) and os.path.basename(folder) == MANIFEST:
        folder = os.path.dirname(os.path.abspath(folder))
    if not os.path.isdir(folder):
        raise SignTrouble(
            f"{plain_line(folder)} is no folder", "name the folder that certify wrote; unpack a tar first")
    manifest, told = _unchanged(folder, asked.again)
    place = is_tested_box(told.machine or _machine_of_run(folder), marks())
    agent = _agent_place() if asked.agent else None
    if place.answer == "same" and not asked.self_signed:
        _refuse_here(place, agent, asked)
    if asked.self_signed != manifest.self_signed:
        manifest = _say_self_signed(folder, told, asked.self_signed, render)
    message = canonical(manifest)
    armor = sign_with_agent(asked.key, message, NAMESPACE) if asked.agent else sign_with_file(
        asked.key or "", message, NAMESPACE)
    key = check_armor(armor, message, NAMESPACE, _holds)
    path = os.path.join(folder, SIGNATURE)
    _write(path, armor)
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


def _machine_of_run(folder: str) -> Mapping[str, str]:
    """The mark that a run keeps, for acceptances without marks of their own."""
    from boxcheck.store.errors import StoreError
    from boxcheck.store.reader import RunReader

    try:
        with RunReader(os.path.join(folder, RUN)) as reader:
            plan = reader.run().info.plan
    except (StoreError, OSError):
        return {}
    machine = plan.get("machine") if isinstance(plan, dict) else None
    return {"machine-id": machine} if isinstance(machine, str) and machine else {}


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


def _say_self_signed(folder: str, told: Acceptance, is_so: bool, render: Render) -> Manifest:
    """Writes it into acceptance, verdict and reports, and makes the manifest anew."""
    from boxcheck.report.output import write_output

    raw = {name: _json_of(os.path.join(folder, name)) for name in (ACCEPTANCE, VERDICT)}
    for one in (raw[ACCEPTANCE], (raw[VERDICT] or {}).get("acceptance")):
        if isinstance(one, dict):
            one["self_signed"] = is_so  # what a later boxcheck added stays
    render(folder, msgspec.structs.replace(told, self_signed=is_so))
    for name, whole in raw.items():
        if whole is not None:
            write_output(
                os.path.join(folder, name), msgspec.json.format(msgspec.json.encode(whole), indent=1).decode(),
                mode=0o644)
    try:
        return write_manifest(folder)
    except (ManifestError, ContentsError) as error:
        raise SignTrouble(f"the manifest could not be made anew: {error}") from None


def _json_of(path: str) -> dict[str, Any] | None:
    """The object in a file of the folder; None where there is no such file, or no object in it."""
    try:
        with open(path, "rb") as stream:
            found = msgspec.json.decode(stream.read())
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return found if isinstance(found, dict) else None


def _holds(armor: bytes, message: bytes) -> bool | None:
    answer = signature_holds(armor, parse_armor(armor), message)
    return None if isinstance(answer, str) else answer


def _write(path: str, armor: str) -> None:
    from boxcheck.report.output import write_output

    if os.path.islink(path):  # which came in the last moment; it is not written through
        os.unlink(path)
    write_output(path, armor, mode=0o644)

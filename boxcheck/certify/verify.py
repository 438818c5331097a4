"""Verifies the folder of an attempt, or a tar of it: every file against the manifest, the manifest against the
signature, the key against a list of allowed signers. Says exactly what was changed, and never passes what it could not
look at.

By hand: `sha256sum -c SHA256SUMS`, `ssh-keygen -Y verify` (docs/how-to/verify-a-report.md).
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from typing import Literal

import msgspec

from boxcheck.certify.acceptance import Manifest
from boxcheck.certify.allowed import AllowedError, Judged, is_pattern, judge_key, matches, read_list
from boxcheck.certify.changes import Change, compare
from boxcheck.certify.contents import MANIFEST, SIGNATURE, Contents, ContentsError, contents_of_folder
from boxcheck.certify.contents_tar import contents_of_tar
from boxcheck.certify.keygen import KeygenError, find_keygen, keygen_holds
from boxcheck.certify.manifest import ManifestError, canonical, manifest_of, parse_acceptance, parse_manifest
from boxcheck.certify.proves import PROVES, PROVES_NOT
from boxcheck.certify.sshsig import ED25519, NAMESPACE, Signature, SignatureError, has_library, holds, parse_armor
from boxcheck.store.texts import plain_line

SCHEMA = "boxcheck.verification/1"

SignatureState = Literal["good", "wrong", "malformed", "namespace", "missing", "not-checked"]
SignerState = Literal["known", "unknown", "namespace", "not-yet", "expired", "another", "no-list", "no-signature"]


class Signed(msgspec.Struct, frozen=True, kw_only=True):
    """The signature and whose it is."""

    state: SignatureState
    says: str = ""
    namespace: str = ""
    fingerprint: str = ""
    kind: str = ""
    signer: SignerState = "no-signature"
    signer_says: str = ""
    name: str = ""
    """As the list of allowed signers has it; empty unless the key is known."""
    allowed_signers: str = ""
    not_now: str = ""
    """Where the key was allowed at the time that somebody asked for, and is not today: why."""


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    schema: str = SCHEMA
    path: str
    outcome: Literal["verified", "refused", "incomplete"]
    exit_code: int
    reasons: tuple[str, ...]
    """Why it is not verified, the gravest first."""
    manifest: Manifest | None
    """What the manifest says; signed only where `signature.state` is `good`."""
    manifest_sha256: str
    signature: Signed
    self_signed: bool
    changes: tuple[Change, ...]
    files: int
    size_bytes: int
    proves: str = PROVES
    proves_not: tuple[str, ...] = PROVES_NOT


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants to know."""

    allowed: str
    """The list of allowed signers."""
    allowed_named: bool = False
    """Whether somebody named it: then it has to be there."""
    signer: str = ""
    """Only this one will do."""
    at: float | None = None
    """Whether the key was allowed then, in seconds since the epoch; None: now."""
    strict: bool = False
    """Whether self-signed is refused."""


class NothingToVerify(Exception):
    """The path names nothing that could be verified; `help` says what could."""

    def __init__(self, says: str, help: str = "") -> None:
        super().__init__(says)
        self.help = help


def contents_at(path: str) -> Contents:
    """What lies at a folder, a manifest, a file beside one, or a tar. NothingToVerify where that is none of these."""
    real = os.path.realpath(path)
    shown = plain_line(path)
    try:
        if os.path.isdir(real):
            return contents_of_folder(real, _sizes)
        if not os.path.exists(real):
            raise NothingToVerify(f"{shown}: no such file or folder")
        folder = os.path.dirname(real)
        if os.path.lexists(os.path.join(folder, MANIFEST)):
            found = contents_of_folder(folder, _sizes)
            if not _is_tar(real) or os.path.basename(real) in (_sizes(found.manifest) or {}):
                return found
        if _is_tar(real):
            return contents_of_tar(real)
    except ContentsError as error:
        raise NothingToVerify(str(error), "name the folder that certify wrote, or a tar of it") from None
    if real.endswith(".zip"):
        raise NothingToVerify(f"{shown}: a zip is not read", "unpack it and name the folder")
    raise NothingToVerify(
        f"{shown} lies beside no {MANIFEST}: a report alone carries no signature",
        "ask for the whole folder, or a tar of it, and name that")


def _is_tar(path: str) -> bool:
    name = os.path.basename(path)
    return any(name.endswith(end) for end in (".tar", ".tgz", ".tar.gz", ".tar.zst", ".tar.xz", ".tar.bz2", ".tzst"))


def _sizes(data: bytes | None) -> Mapping[str, int] | None:
    """What the manifest expects; nothing is hashed where there is no manifest to compare with."""
    try:
        return {} if data is None else {one.name: one.size_bytes for one in parse_manifest(data).files}
    except ManifestError:
        return None  # what it should be may be found out from all the others


def verify(path: str, asking: Asking) -> Verification:
    """NothingToVerify, AllowedError where a list that somebody named cannot be read."""
    found = contents_at(path)
    if found.manifest is None and found.acceptance is None and found.signature is None:
        raise NothingToVerify(f"{plain_line(path)}: holds no {MANIFEST}", "name the folder of an attempt")
    signed = check_signature(found, asking)
    manifest, changes = compare(found)
    refused = [one.says for one in changes if one.kind != "not-read"]
    lacking = [one.says for one in changes if one.kind == "not-read"]
    if signed.state in ("wrong", "malformed", "namespace"):
        refused.insert(0, signed.says)
    elif signed.state != "good":
        lacking.insert(0, signed.says)
    elif signed.signer == "no-list":
        lacking.insert(0, signed.signer_says)
    elif signed.signer != "known":
        refused.insert(0, signed.signer_says)
    if manifest is None and found.manifest is None:
        lacking.insert(0, f"{MANIFEST} is missing: nothing says what the files were")
    self_signed = manifest is not None and manifest.self_signed
    if self_signed and asking.strict:
        refused.append("it is self-signed, which --strict refuses")
    outcome: Literal["verified", "refused", "incomplete"] = (
        "refused" if refused else "incomplete" if lacking else "verified")
    return Verification(
        path=plain_line(path), outcome=outcome, exit_code={"verified": 0, "refused": 1, "incomplete": 3}[outcome],
        reasons=(*refused, *lacking), manifest=manifest,
        manifest_sha256="" if found.manifest is None else hashlib.sha256(found.manifest).hexdigest(),
        signature=signed, self_signed=self_signed, changes=changes, files=len(found.files),
        size_bytes=sum(one.size_bytes for one in found.files))


def check_signature(found: Contents, asking: Asking) -> Signed:
    """The signature over the manifest, and whose key made it."""
    if found.signature is None:
        return Signed(state="missing", says="it is not signed: anybody can have written it")
    try:
        signature = parse_armor(found.signature)
    except SignatureError as error:
        return Signed(state="malformed", says=f"{SIGNATURE} is no signature: {plain_line(str(error))}")
    about = Signed(
        state="good", namespace=plain_line(signature.namespace), fingerprint=signature.key.fingerprint,
        kind=plain_line(signature.key.kind))
    if signature.namespace != NAMESPACE:
        return msgspec.structs.replace(about, state="namespace", says=(
            f"the signature is for the namespace {about.namespace}, not for {NAMESPACE}: something else was signed"))
    if "-cert-v" in about.kind:
        return msgspec.structs.replace(about, state="not-checked", says=(
            "it is signed with an OpenSSH certificate, which boxcheck does not read; ssh-keygen -Y verify does"))
    if found.manifest is None:
        return msgspec.structs.replace(about, state="not-checked", says=f"there is no {MANIFEST} that it could be over")
    answer = signature_holds(found.signature, signature, found.manifest)
    if isinstance(answer, str):
        return msgspec.structs.replace(about, state="not-checked", says=f"the signature was not checked: {answer}")
    if not answer:
        return msgspec.structs.replace(about, state="wrong", says=_wrong(found, signature))
    return _signer(about, signature, asking)


def signature_holds(armor: bytes, signature: Signature, message: bytes) -> bool | str:
    """Whether it is one over `message`; text says why nobody can tell here."""
    if signature.key.kind == ED25519 and has_library():
        return holds(signature, message)
    if find_keygen() is None:
        if signature.key.kind == ED25519:
            return "it needs cryptography (pip install 'boxcheck[sign]') or ssh-keygen, and neither is installed"
        return f"its key is of kind {plain_line(signature.key.kind)}, which needs ssh-keygen, and that is not installed"
    try:
        return keygen_holds(armor, message, signature.namespace)
    except KeygenError as error:
        return str(error)


def _signer(about: Signed, signature: Signature, asking: Asking) -> Signed:
    shown = plain_line(asking.allowed)
    if not asking.allowed_named and not os.path.lexists(asking.allowed):
        return msgspec.structs.replace(about, signer="no-list", allowed_signers="", signer_says=(
            f"nobody says whose the key {about.fingerprint} is: there is no list of allowed signers ({shown})"))
    try:
        lines = read_list(asking.allowed)
    except AllowedError as error:
        if asking.allowed_named:
            raise
        return msgspec.structs.replace(about, signer="no-list", signer_says=(
            f"nobody says whose the key {about.fingerprint} is: {error}"))
    now = time.time() if asking.at is None else asking.at
    judged = judge_key(signature.key, NAMESPACE, lines.lines, now, asking.signer)
    name = judged.line.principals if judged.line is not None else ""
    if judged.state == "known" and asking.signer:
        if not matches(asking.signer, name):
            other = plain_line(asking.signer)
            return msgspec.structs.replace(about, signer="another", name=name, allowed_signers=shown, signer_says=(
                f"it is signed by a key that the list allows for {name}, not for {other}" if is_pattern(name) else
                f"{name} signed it, not {other}"))
        name = plain_line(asking.signer)
    not_now = ""
    if asking.at is not None and judged.state == "known":
        today = judge_key(signature.key, NAMESPACE, lines.lines, time.time(), asking.signer)
        not_now = today.says if today.state != "known" else ""
    return msgspec.structs.replace(
        about, signer=judged.state, name=name if judged.state == "known" else "", allowed_signers=shown,
        not_now=not_now, signer_says=_words(judged, about, shown, lines.complaints))


def _words(judged: Judged, about: Signed, shown: str, complaints: tuple[str, ...]) -> str:
    if judged.state == "known":
        return judged.says
    if judged.state == "unknown":
        beside = f" ({'; '.join(complaints[:3])})" if complaints else ""
        return f"it is signed by the key {about.fingerprint}, which {shown} does not name{beside}"
    return f"it is signed by the key {about.fingerprint}, which is not allowed: {judged.says}"


def _wrong(found: Contents, signature: Signature) -> str:
    """What a signature that does not hold over the manifest tells: whether it holds over what the other files say."""
    rebuilt = _rebuilt(found)
    if rebuilt is not None and found.signature is not None and canonical(rebuilt) != found.manifest and (
            signature_holds(found.signature, signature, canonical(rebuilt)) is True):
        return f"{MANIFEST} was changed: the signature holds over what the other files say"
    return f"the signature does not hold: {MANIFEST} or {SIGNATURE} was changed"


def _rebuilt(found: Contents) -> Manifest | None:
    try:
        if found.acceptance is None or found.troubles or not all(one.sha256 for one in found.files):
            return None
        return manifest_of(parse_acceptance(found.acceptance), found.files)
    except ManifestError:
        return None

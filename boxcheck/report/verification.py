"""What `report verify` and `report sign` say at a terminal, and the objects of their JSON."""

from __future__ import annotations

import shlex
from typing import Any

import msgspec

from boxcheck.certify.acceptance import Manifest
from boxcheck.certify.allowed import is_pattern
from boxcheck.certify.proves import PROVES, PROVES_NOT, SELF_SIGNED
from boxcheck.certify.sign import SignedNow
from boxcheck.certify.verify import Verification
from boxcheck.checks.wording import counted
from boxcheck.model import Outcome
from boxcheck.report.text import Style, wrap
from boxcheck.store.texts import plain_line, plain_value

_OUTCOME = {"verified": Outcome.PASS, "refused": Outcome.FAIL, "incomplete": Outcome.UNKNOWN}
_WORDS = {"verified": "VERIFIED", "refused": "REFUSED", "incomplete": "NOT VERIFIED"}
MOST_CHANGES = 50


def verification_text(found: Verification, style: Style) -> str:
    """The verdict first, then why, what was signed, by whom, what was changed, and what none of this proves."""
    reason = found.reasons[0] if found.reasons else _verified(found)
    head = style.word(_OUTCOME[found.outcome], _WORDS[found.outcome])
    if style.quiet:
        return f"{head}  {style.text(reason)}\n"
    lines = [head, *wrap(reason, style, "  ")]
    for one in found.reasons[1:MOST_CHANGES]:
        lines += wrap(one, style, "  ")
    if len(found.reasons) > MOST_CHANGES:
        lines.append(f"  and {len(found.reasons) - MOST_CHANGES} more (--json lists them)")
    for change in found.changes[:MOST_CHANGES]:
        if change.expected and change.found:
            lines += ["", f"  {style.text(change.name)}", f"    expected {change.expected}",
                      f"    found    {change.found}"]
    lines += ["", *_signature(found, style)]
    if found.manifest is not None:
        lines += ["", *_manifest(found, found.manifest, style)]
    if found.self_signed:
        lines += ["", *wrap(SELF_SIGNED, style)]
    if found.outcome == "verified" or style.verbose:
        lines += ["", *_proves(style)]
    return "\n".join(lines) + "\n"


def _verified(found: Verification) -> str:
    """With the disposition: a box that failed can be signed for as well as one that passed."""
    manifest = found.manifest
    of = "" if manifest is None else f"{manifest.disposition}{_waived(manifest)} of box {manifest.serial}: "
    own = "self-signed, " if found.self_signed else ""
    name = found.signature.name
    by = f"a key that the list allows for {name}" if is_pattern(name) else name
    ended = ", whose key is not allowed today" if found.signature.not_now else ""
    return plain_line(f"{of}{own}signed by {by}{ended}, nothing was changed")


def _waived(manifest: Manifest) -> str:
    return " with waivers" if manifest.with_waivers else ""


def _signature(found: Verification, style: Style) -> list[str]:
    signed = found.signature
    rows = []
    if signed.fingerprint:
        rows.append(("key", f"{signed.fingerprint} ({signed.kind})"))
    if signed.name:
        rows.append(("allowed for" if is_pattern(signed.name) else "signer", signed.name))
    if signed.not_now:
        rows.append(("today", f"not allowed: {signed.not_now}"))
    if signed.allowed_signers:
        rows.append(("by the list", signed.allowed_signers))
    rows.append(("signature", {
        "good": f"holds, for {signed.namespace}", "missing": "none"}.get(signed.state, signed.says)))
    return _rows(rows, style)


def _manifest(found: Verification, manifest: Manifest, style: Style) -> list[str]:
    title = "Signed" if found.signature.state == "good" else "Not signed, but the manifest says"
    return [title, *_rows([
        *manifest_rows(manifest), ("there are", f"{counted(found.files, 'file')}, {found.size_bytes / 1e6:.1f} MB"),
        ("manifest", f"sha256 {found.manifest_sha256}")], style)]


def manifest_rows(manifest: Manifest) -> list[tuple[str, str]]:
    """What a manifest says, in words."""
    return [
        ("box", manifest.serial or "-"),
        ("disposition", f"{manifest.disposition}{_waived(manifest)}, attempt {manifest.attempt}"),
        ("profile", f"{manifest.profile} r{manifest.profile_revision}, sha256 {manifest.profile_sha256[:16]}"),
        *([("", manifest.profile_note)] if manifest.profile_note else []),
        *([("load", manifest.planned)] if manifest.planned else []),
        ("tested", f"{manifest.started} to {manifest.finished}, by the clock of the box"),
        ("report", manifest.id),
        ("files", counted(len(manifest.files), "file")),
        *([("self-signed", "yes")] if manifest.self_signed else []),
    ]


def _rows(rows: list[tuple[str, str]], style: Style) -> list[str]:
    return [line for name, value in rows for line in wrap(
        plain_line(value), style, f"  {name:<12} ", " " * 15)]


def _proves(style: Style) -> list[str]:
    made = [*wrap(PROVES, style), "It does not prove"]
    for one in PROVES_NOT:
        made += wrap(one, style, "  - ", "    ")
    return made


def verification_object(found: Verification) -> Any:
    """The object of docs/reference/verification.schema.json."""
    return plain_value(msgspec.to_builtins(found))


def signed_text(done: SignedNow, style: Style) -> str:
    """What was signed with which key, and how it is verified."""
    head = style.word(Outcome.PASS, "SIGNED")
    lines = [f"{head}  {style.text(done.signature)}"]
    if style.quiet:
        return "\n".join(lines) + "\n"
    lines += _rows([("key", done.fingerprint), *manifest_rows(done.manifest)], style)
    where = {
        "same": "This is the box under test", "other": "This is not the box under test",
        "unknown": "Whether this is the box under test is not known"}[done.tested_box]
    beside = {"elsewhere": ", and the ssh-agent is forwarded from elsewhere"}.get(done.agent or "", "")
    lines += ["", *wrap(f"{where}: {done.tested_box_says}{beside}.", style)]
    if done.self_signed:
        lines += wrap(SELF_SIGNED, style)
    lines += ["", f"boxcheck report verify {shlex.quote(done.folder)}"]
    return "\n".join(lines) + "\n"


def schemas() -> dict[str, Any]:
    """Of the published schemas: file name -> schema."""
    found = {}
    for name, document in (("verification", Verification), ("signing", SignedNow), ("manifest", Manifest)):
        schema = msgspec.json.schema(document)
        found[f"{name}.schema.json"] = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return found

"""Signs reference measurements and looks at signatures of others: SSHSIG, in a namespace of their own, beside the file.

By hand: `ssh-keygen -Y verify -f LIST -I NAME -n boxcheck-reference@v1 -s FILE.sig < FILE`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from boxcheck.certify.agent import AgentError, agent_place
from boxcheck.certify.allowed import AllowedError, allowed_line, default_list, is_pattern, judge_key, read_list
from boxcheck.certify.keys import NO_AGENT, KeyTrouble, check_armor, sign_with_agent, sign_with_file
from boxcheck.certify.machine import Sameness, is_tested_box, marks
from boxcheck.certify.sshsig import PublicKey, SignatureError, parse_armor
from boxcheck.certify.verify import signature_holds
from boxcheck.golden.reference import read_bytes
from boxcheck.store.reader import RunReader
from boxcheck.store.texts import plain_line
from boxcheck.usage import UsageError

NAMESPACE = "boxcheck-reference@v1"
"""Of its own, so that no acceptance that somebody signed can be passed off as a reference, or the other way round."""
ENDING = ".sig"
ANEW = "ask for both files anew"


class Signing(msgspec.Struct, frozen=True, kw_only=True):
    """Which key, and where it is; neither: nothing is signed."""

    key: str | None = None
    """A private key's file; with `agent` a public one's, or a fingerprint."""
    agent: bool = False
    self_signed: bool = False

    @property
    def asked(self) -> bool:
        return self.agent or self.key is not None


class SignatureSeen(msgspec.Struct, frozen=True, kw_only=True):
    """The signature of a reference from elsewhere. One that does not hold is an error, not this."""

    state: Literal["good", "missing", "not-checked"]
    fingerprint: str = ""
    name: str = ""
    """Of the signer, by a list of allowed signers; empty where none names the key."""
    says: str


def refuse_tested_box(paths: Iterable[str], asked: Signing) -> None:
    """UsageError where the key is on a box that was measured, and nobody says so."""
    if not asked.asked or asked.self_signed:
        return
    here = marks()
    for path in paths:
        place = is_tested_box(_marks_of(path), here)
        if place.answer == "same" and not (asked.agent and _agent() == "elsewhere"):
            _refuse(place, asked)


def _refuse(place: Sameness, asked: Signing) -> None:
    what = "an ssh-agent that is not known to be forwarded" if asked.agent else "a key file on it"
    raise UsageError(
        f"this is a box that was measured ({place.says}): {what} proves nothing to others",
        "copy the stores to another machine and share from there, or come with ssh -A and sign with --agent; "
        "--self-signed signs here and says so in the file")


def _marks_of(path: str) -> Mapping[str, str]:
    with RunReader(path) as reader:
        plan = reader.run().info.plan
    machine = plan.get("machine") if isinstance(plan, dict) else None
    return {"machine-id": machine} if isinstance(machine, str) and machine else {}


def _agent() -> str:
    try:
        return agent_place()
    except AgentError as error:
        raise UsageError(str(error), NO_AGENT) from None


def sign_reference(data: bytes, asked: Signing) -> tuple[str, PublicKey]:
    """The armored signature over the bytes of the file, and whose it is. UsageError where there will be none."""
    def holds(armor: bytes, message: bytes) -> bool | None:
        answer = signature_holds(armor, parse_armor(armor), message)
        return None if isinstance(answer, str) else answer

    try:
        armor = sign_with_agent(asked.key, data, NAMESPACE) if asked.agent else sign_with_file(
            asked.key or "", data, NAMESPACE)
        return armor, check_armor(armor, data, NAMESPACE, holds)
    except KeyTrouble as error:
        raise UsageError(str(error), error.help) from None


def line_for_others(key: PublicKey, name: str = "you@example") -> str:
    """What stands in the list of those who take a reference by this key."""
    return allowed_line(key, name, namespace=NAMESPACE)


def signature_of(place: str, data: bytes, allowed: str | None = None) -> SignatureSeen:
    """What lies beside a reference. UsageError for a signature that is none, or does not hold, and where a list that
    somebody named does not name the key."""
    shown = plain_line(place)
    if not os.path.lexists(place + ENDING):
        if allowed is not None:
            raise UsageError(f"{shown}{ENDING} is missing: nothing says who made the reference", "ask for it, or leave "
                             "--allowed-signers out")
        return SignatureSeen(state="missing", says="it is not signed: anybody can have written it")
    armor = read_bytes(place + ENDING)
    try:
        found = parse_armor(armor)
    except SignatureError as error:
        raise UsageError(f"{shown}{ENDING} is no signature: {plain_line(str(error))}", ANEW) from None
    if found.namespace != NAMESPACE:
        raise UsageError(
            f"{shown}{ENDING} is a signature for {plain_line(found.namespace)}, not for {NAMESPACE}: something else "
            "was signed", ANEW)
    answer = signature_holds(armor, found, data)
    if isinstance(answer, str):
        if allowed is not None:
            raise UsageError(f"the signature of {shown} was not checked: {answer}",
                             "install cryptography or ssh-keygen")
        return SignatureSeen(
            state="not-checked", fingerprint=found.key.fingerprint, says=f"its signature was not checked: {answer}")
    if not answer:
        raise UsageError(f"the signature of {shown} does not hold: it or {shown}{ENDING} was changed", ANEW)
    return _signer(found.key, allowed)


def _signer(key: PublicKey, allowed: str | None) -> SignatureSeen:
    place = allowed or default_list()
    if allowed is None and not os.path.lexists(place):
        return SignatureSeen(state="good", fingerprint=key.fingerprint, says=(
            f"signed by the key {key.fingerprint}; nobody says whose it is: there is no list of allowed signers"))
    try:
        judged = judge_key(key, NAMESPACE, read_list(place).lines, time.time())
    except AllowedError as error:
        if allowed is not None:
            raise UsageError(str(error), "name a list of allowed signers") from None
        return SignatureSeen(state="good", fingerprint=key.fingerprint, says=(
            f"signed by the key {key.fingerprint}; nobody says whose it is: {error}"))
    if judged.state == "known" and judged.line is not None:
        name = plain_line(judged.line.principals)
        if is_pattern(name):
            return SignatureSeen(state="good", fingerprint=key.fingerprint, says=(
                f"signed by the key {key.fingerprint}, which {plain_line(place)} allows for {name}; that names nobody"))
        return SignatureSeen(state="good", fingerprint=key.fingerprint, name=name, says=f"signed by {name}")
    if allowed is not None:
        raise UsageError(
            f"it is signed by the key {key.fingerprint}, which {plain_line(allowed)} does not allow: {judged.says}",
            "add the signer's line to the list, where you know that the key is theirs")
    return SignatureSeen(state="good", fingerprint=key.fingerprint, says=(
        f"signed by the key {key.fingerprint}, which {plain_line(place)} does not allow: {judged.says}"))

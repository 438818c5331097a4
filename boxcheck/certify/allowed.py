"""The list of allowed signers: which keys are whose, for which namespaces, from when until when.

Format: ssh-keygen(1), ALLOWED SIGNERS; patterns: ssh_config(5), PATTERNS. Lines for certificate authorities are passed
over: boxcheck reads no certificates.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from boxcheck.certify.keys import config_folder, read_public
from boxcheck.certify.sshsig import PublicKey, SignatureError
from boxcheck.store.regular import open_regular
from boxcheck.store.texts import plain_line

LIST_LIMIT_BYTES = 4 << 20


class AllowedError(Exception):
    """The list cannot be read."""


class Allowed(msgspec.Struct, frozen=True, kw_only=True):
    """A line."""

    number: int
    principals: str
    """As they stand there: `quality@maker.example`, or a list of patterns."""
    key: PublicKey
    namespaces: str | None = None
    """Patterns; None: every one."""
    valid_after: float | None = None
    valid_before: float | None = None
    authority: bool = False


class Lines(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    lines: tuple[Allowed, ...]
    complaints: tuple[str, ...]
    """Lines that are not understood; none of them allows anybody anything."""


State = Literal["known", "unknown", "namespace", "not-yet", "expired"]


class Judged(msgspec.Struct, frozen=True):
    state: State
    line: Allowed | None
    says: str


def default_list() -> str:
    return os.path.join(config_folder(), "allowed_signers")


def read_list(path: str) -> Lines:
    """AllowedError where the file cannot be read."""
    try:
        with open_regular(path) as stream:
            data = stream.read(LIST_LIMIT_BYTES + 1)
    except (OSError, ValueError) as error:
        why = (error.strerror or str(error)).lower() if isinstance(error, OSError) else "is no path"
        raise AllowedError(f"{plain_line(path)}: {why}") from None
    if len(data) > LIST_LIMIT_BYTES:
        raise AllowedError(f"{plain_line(path)} is larger than {LIST_LIMIT_BYTES >> 20} MiB")
    return parse_list(data.decode("utf-8", "replace"), path)


def parse_list(text: str, path: str = "") -> Lines:
    found, complaints = [], []
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip(_BLANKS)
        if not line or line.startswith("#"):
            continue
        try:
            found.append(_line(line, number))
        except (SignatureError, ValueError) as error:
            complaints.append(f"line {number} allows nobody: {plain_line(str(error))}")
    return Lines(path=path, lines=tuple(found), complaints=tuple(complaints))


_BLANKS = " \t\r"
_WORD = re.compile(r'((?:[^ \t"]|"(?:[^"\\]|\\.)*")+)[ \t]*')
_KIND = re.compile(r"(?:ssh|sk|ecdsa|webauthn)-[a-z0-9@.\-]+")


def _line(line: str, number: int) -> Allowed:
    if line.startswith("\ufeff"):
        raise ValueError("it begins with a byte order mark, which ssh-keygen takes for a part of the name")
    words: list[str] = []
    at = 0
    while len(words) < 2 and (match := _WORD.match(line, at)):
        words.append(match[1])
        at = match.end()
    if len(words) < 2:
        raise ValueError("it has no key")
    quoted = re.fullmatch(r'"([^"]*)"', words[0])
    principals, second, rest = quoted[1] if quoted else words[0], words[1], line[at:]
    options = ""
    if _KIND.fullmatch(second):
        rest = f"{second} {rest}"
    else:
        options = second
    if not principals:
        raise ValueError("it names nobody")
    if '"' in principals or not principals.isprintable():
        raise ValueError("its name has a quote within or a character that is none, which ssh-keygen reads otherwise")
    if any(one.split() != [one] for one in re.split(r"[ \t]+", rest, maxsplit=2)[:2]):
        raise ValueError("a blank in its key is none for ssh-keygen")
    return Allowed(number=number, principals=plain_line(principals), key=read_public(rest), **_options(options))


def _options(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    options = _split(text)
    if ",".join(options) != text:
        raise ValueError("it has a comma in its options with nothing behind it")
    for option in options:
        name, equals, value = option.partition("=")
        field = {"namespaces": "namespaces", "valid-after": "valid_after", "valid-before": "valid_before",
                 "cert-authority": "authority"}.get(name.lower())
        if field is None:
            raise ValueError(f"it has an option that is not known: {name[:40]}")
        if field in found:
            raise ValueError(f"it has {name} twice")
        quoted = re.fullmatch(r'"([^"]*)"', value)
        if field == "authority":
            found[field] = True
            continue
        if quoted is None and value:
            raise ValueError(f"the value of {name} is not in quotes")
        value = quoted[1] if quoted else ""
        if not equals or not value:
            raise ValueError(f"{name} says nothing")
        else:
            found[field] = value if field == "namespaces" else parse_time(value)
    after, before = found.get("valid_after"), found.get("valid_before")
    if isinstance(after, float) and isinstance(before, float) and after >= before:
        raise ValueError("it ends before it begins")
    return found


def _split(text: str) -> list[str]:
    return [one for one in re.findall(r'(?:[^,"]|"[^"]*")+', text) if one]


def parse_time(text: str) -> float:
    """Seconds since the epoch of `YYYYMMDD[HHMM[SS]][Z]`, local time without the Z. ValueError for anything else."""
    match = re.fullmatch(r"([0-9]{8})(?:([0-9]{4})([0-9]{2})?)?(Z?)", text)
    if match is None:
        raise ValueError(f"{text[:40]!r} is no time: write YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, with Z for UTC")
    digits = match[1] + (match[2] or "0000") + (match[3] or "00")
    moment = datetime.strptime(digits, "%Y%m%d%H%M%S")
    try:
        found = (moment.replace(tzinfo=UTC) if match[4] else moment.astimezone()).timestamp()
    except (OverflowError, OSError):
        found = -1.0
    if found < 0:
        raise ValueError(f"{text[:40]!r} is no time")
    return found


def judge_key(
    key: PublicKey, namespace: str, lines: Sequence[Allowed], now: float, signer: str = "",
) -> Judged:
    """Whose key it is by the first line that allows it here and now; else why none does. `signer`: lines that name them
    come first, since a key may have several names; where none has the key, the others tell whose it is."""
    if signer:
        named = judge_key(key, namespace, [one for one in lines if matches(signer, one.principals)], now)
        if named.line is not None:
            return named
    refused: Judged | None = None
    for line in lines:
        if line.authority or line.key.blob != key.blob:
            continue
        state, says = _state(line, namespace, now)
        if state == "known":
            return Judged("known", line, says)
        refused = refused or Judged(state, line, says)
    return refused or Judged("unknown", None, "its key is in no line of the list")


def _state(line: Allowed, namespace: str, now: float) -> tuple[State, str]:
    where = f"line {line.number} of the list ({line.principals})"
    if line.namespaces is not None and not matches(namespace, line.namespaces):
        return "namespace", f"{where} allows its key for {plain_line(line.namespaces)} only, not for {namespace}"
    if line.valid_after is not None and now < line.valid_after:
        return "not-yet", f"{where} allows its key from {_day(line.valid_after)} on"
    if line.valid_before is not None and now > line.valid_before:
        return "expired", f"{where} allowed its key until {_day(line.valid_before)}"
    return "known", where


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def is_pattern(principals: str) -> bool:
    """Whether a line's principals are patterns or several names, of which none says who signed."""
    return any(mark in principals for mark in "*?!,")


def matches(text: str, patterns: str) -> bool:
    """ssh_config(5), PATTERNS: `*`, `?`, and `!` for what is not meant, which wins."""
    found = False
    for pattern in patterns.split(","):
        turned = pattern.startswith("!")
        if _wild(pattern[1:] if turned else pattern, text):
            if turned:
                return False
            found = True
    return found


def _wild(pattern: str, text: str) -> bool:
    """Whether a pattern of `*` and `?` fits; in steps that grow with both lengths, whatever the pattern is."""
    at = back = 0
    star = -1
    here = 0
    while here < len(text):
        if at < len(pattern) and pattern[at] == "*":
            star, back, at = at, here, at + 1
        elif at < len(pattern) and pattern[at] in ("?", text[here]):
            at, here = at + 1, here + 1
        elif star >= 0:
            back += 1
            at, here = star + 1, back
        else:
            return False
    return not pattern[at:].strip("*")


def allowed_line(key: PublicKey, principals: str, *, namespace: str, after: str = "", before: str = "") -> str:
    """A line of a list. ValueError for names or times that none can have."""
    if not principals or not principals.isprintable() or any(mark in principals for mark in ' "\\#'):
        raise ValueError("a signer is called like quality@maker.example: no blanks, no quotes")
    options = [f'namespaces="{namespace}"']
    for name, value in (("valid-after", after), ("valid-before", before)):
        if value:
            parse_time(value)
            options.append(f'{name}="{value}"')
    made = f"{principals} {','.join(options)} {key.line}"
    _line(made, 1)
    return made

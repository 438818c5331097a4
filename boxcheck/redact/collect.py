"""The secrets of one capture: known from the places that hold them by name, so that they are found everywhere else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from boxcheck.decode.smbios import redact_smbios
from boxcheck.decode.text import meaningful
from boxcheck.redact.binary import is_config, is_smbios, is_vpd, redact_vpd, serial_of
from boxcheck.redact.patterns import (
    GENERAL,
    HOST_IN_TEXT,
    KEEP_UUID,
    LABELS,
    MAC,
    MAC_DOTTED,
    MAC_NAME,
    MOUNT_HOSTS,
    MOUNTS,
    NAMING,
    PACKAGES,
    PLAIN_HOSTS,
    SYSTEM_USERS,
    TELLING,
    UEVENT,
    UUID,
    WHOLE,
)
from boxcheck.redact.tokens import Tokens
from boxcheck.redact.vocabulary import Vocabulary

_AGAIN = re.compile(r"/boxcheck/again/\d+(?=/)")


def place_of(path: str) -> str:
    """The path on the machine of a file in the capture, for a later reading as well."""
    return _AGAIN.sub("", path)


class Secrets:
    """Secret -> token, for text; and for binary, bytes -> bytes of the same length."""

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self.texts: dict[str, str] = {}
        """In lower case; specific enough to be replaced wherever it stands."""
        self.words: dict[str, str] = {}
        """In lower case; names, replaced where they stand as a word."""
        self.raw: dict[bytes, bytes] = {}
        self.vocabulary = Vocabulary()
        self.system: set[str] = set(SYSTEM_USERS)
        """Users that belong to the system."""

    def add(self, text: str) -> None:
        """A serial number, UUID, address or the like."""
        secret = meaningful(text)
        if secret is None or secret.lower() in self.tokens.issued or not GENERAL.fullmatch(secret):
            return
        if self.vocabulary.holds(secret) or secret.lower() in KEEP_UUID:
            return
        token = self.tokens.of(secret)
        self.texts.setdefault(secret.lower(), token.lower())
        plain, changed = secret.lower().translate(_DASHES), token.lower().translate(_DASHES)
        if plain != secret.lower() and len(plain) in (12, 16, 32):  # UUID, MAC, device serial number
            self.texts.setdefault(plain, changed)
        if len(plain) in (12, 16, 32) and not plain.strip("0123456789abcdef"):
            self._add_bytes(bytes.fromhex(plain), bytes.fromhex(changed))
        if len(plain) == 16 and not plain.strip("0123456789abcdef"):  # also as a decimal number, as the KFD writes it
            self.texts.setdefault(str(int(plain, 16)), str(int(changed, 16)))

    def remember(self, text: str) -> str:
        """As `add`; gives the token, also of what is too common to be looked for elsewhere."""
        self.add(text)
        return self.tokens.of(text)

    def _add_bytes(self, old: bytes, new: bytes) -> None:
        """The bytes in both orders, and a UUID also as SMBIOS and EFI lay it down."""
        orders = [(old, new), (old[::-1], new[::-1])]
        if len(old) == 16:
            orders += [(_mixed(one), _mixed(other)) for one, other in orders]
        for one, other in orders:
            if len(set(one) - {0, 0xFF}) >= 4:
                self.raw.setdefault(one, other)

    def add_serial(self, raw: bytes, new: bytes) -> None:
        """A Device Serial Number as it lies in configuration space."""
        if len(set(raw) - {0, 0xFF}) < 2:
            return
        old_text, new_text = raw[::-1].hex(), new[::-1].hex()
        self.texts.setdefault(old_text, new_text)
        self.texts.setdefault("-".join(re.findall("..", old_text)), "-".join(re.findall("..", new_text)))
        self.texts.setdefault(raw.hex(), new.hex())
        self._add_bytes(raw, new)

    def add_name(self, name: str) -> None:
        """A host's or a person's name."""
        if len(name) < 3 or name.isdigit() or name.lower() in self.tokens.issued or self.vocabulary.is_word(name):
            return
        self.words.setdefault(name.lower(), self.tokens.like(name.lower()))

    def add_host(self, name: str) -> None:
        parts = name.strip().strip(".").split(".")
        for host in (name.strip().strip("."), parts[0], ".".join(parts[1:])):
            if host.lower() not in PLAIN_HOSTS and not re.fullmatch(r"[\d.:]*", host):
                self.add_name(host)

    def add_user(self, name: str) -> None:
        if name.lower() not in SYSTEM_USERS:
            self.add_name(name)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.words)


_DASHES = str.maketrans("", "", "-:")


def _mixed(raw: bytes) -> bytes:
    """The first three fields of a UUID with their bytes turned round (RFC 4122 to Microsoft's order, or back)."""
    return raw[3::-1] + raw[5:3:-1] + raw[7:5:-1] + raw[8:]


def text_of(data: bytes) -> str | None:
    """The content as text, None when it is binary."""
    return None if b"\0" in data[:65536] else data.decode("utf-8", "surrogateescape")


def lines_of(data: bytes | None) -> Iterator[list[str]]:
    """The fields of /etc/passwd and the like."""
    for line in (data or b"").decode("utf-8", "surrogateescape").splitlines():
        yield line.split(":")


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 11 else -1


def is_person(uid: int) -> bool:
    return 1000 <= uid < 1 << 32 and uid not in (65534, 65535)


def collect(files: Mapping[str, bytes], stored: Mapping[str, Any], names: Iterable[str], tokens: Tokens) -> Secrets:
    """Everything that is secret by its place. `stored` holds the decoded JSON files under boxcheck/; `names` are paths
    and targets of links, in which there are names of disks and interfaces."""
    found = Secrets(tokens)
    found.vocabulary.learn(files)
    _collect_people(found, files, stored.get("/boxcheck/capture.json"))
    for path, data in files.items():
        place = place_of(path)
        if is_smbios(place):
            redact_smbios(data, found.remember)
        elif is_vpd(place):
            redact_vpd(data, found.remember)
        elif is_config(place):
            from boxcheck.decode.pci_config import redact_config

            old, new = serial_of(data), serial_of(redact_config(data, tokens.salt))
            if old is not None and new is not None:
                found.add_serial(old, new)
        elif WHOLE.fullmatch(place):
            for line in (text_of(data) or "").splitlines():
                (found.add_host if place.endswith(("hostname", "mailname", "domainname")) else found.add)(line)
        elif place == "/etc/hosts":
            for line in (text_of(data) or "").splitlines():
                for name in line.split("#", 1)[0].split()[1:]:
                    found.add_host(name)
        if path.startswith("/boxcheck/") and path in stored:
            _collect_texts(found, texts_in(stored[path]))
        else:
            text = text_of(data)
            if text is not None and len(text) > 8 and not PACKAGES.fullmatch(place):
                _collect_texts(found, (text,))
            if text is not None and MOUNTS.fullmatch(place):
                for pattern in MOUNT_HOSTS:
                    for host in pattern.findall(text):
                        found.add_host(host)
            if text is not None and place.endswith("/uevent"):
                for entry in UEVENT.finditer(text):
                    found.add(entry["secret"])
    _collect_texts(found, names)
    return found


def texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from texts_in(key)
            yield from texts_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts_in(inner)


def _collect_people(found: Secrets, files: Mapping[str, bytes], meta: Any) -> None:
    people: set[str] = set()
    for fields in lines_of(files.get("/etc/passwd")):
        if len(fields) < 6:
            continue
        if is_person(_number(fields[2])):
            people.update((fields[0], fields[5].rsplit("/", 1)[-1]))
            for name in fields[4].split(","):
                found.add_name(name.strip())
                for word in name.split():
                    if len(word) >= 4 and word.isalpha():
                        found.add_name(word)
        else:
            found.system.add(fields[0])
    for fields in lines_of(files.get("/etc/group")):
        if len(fields) == 4:
            if is_person(_number(fields[2])):
                people.add(fields[0])
            people.update(name for name in fields[3].split(",") if name)
    user = meta.get("user") if isinstance(meta, dict) else None
    if isinstance(user, dict) and isinstance(user.get("name"), str) and user.get("uid") != 0:
        people.add(user["name"])
    for name in sorted(people - found.system):
        found.add_user(name)


def _collect_texts(found: Secrets, texts: Iterable[str]) -> None:
    for text in texts:
        for pattern in HOST_IN_TEXT:
            for host in pattern.findall(text):
                found.add_host(host)
        if not TELLING.search(text):
            continue
        for pattern in LABELS:
            for labelled in pattern.finditer(text) if pattern is not MAC_NAME else ():
                found.add(labelled["secret"])
        for pattern in NAMING:
            for named in pattern.finditer(text):
                found.add_name(named["secret"])
        for dotted in MAC_DOTTED.findall(text):
            found.add(":".join(re.findall("..", dotted.replace(".", ""))))
        for pattern in (UUID, MAC):
            for shaped in pattern.findall(text):
                found.add(shaped)
        for interface in MAC_NAME.finditer(text):
            found.add(":".join(re.findall("..", interface["secret"])))

"""Texts with secrets replaced: what is known from elsewhere in the capture, what has a label, what has a shape."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import AddressValueError, IPv6Address

from boxcheck.redact.collect import Secrets, is_person
from boxcheck.redact.patterns import (
    BY,
    COMMENT,
    HOST_IN_TEXT,
    IPV4,
    IPV6,
    KEEP_UUID,
    KFD,
    LABELS,
    MAC,
    MAC_DOTTED,
    MAC_NAME,
    MOUNT_HOSTS,
    MOUNT_OPTIONS,
    NQN,
    PACKAGES,
    PLACE_IN_TEXT,
    PLAIN_HOSTS,
    PRIVATE_NET,
    PUBLIC,
    REFERENCE,
    SHARES,
    SYSTEM_USERS,
    TELLING,
    UEVENT,
    URL,
    USER_IN_TEXT,
    UUID,
    VERSION_BEFORE,
    VERSIONS,
    WHOLE,
    WWN,
)


class Scrubber:
    def __init__(self, secrets: Secrets) -> None:
        self.secrets = secrets
        self._tokens = secrets.tokens
        self._patterns: dict[tuple[str, ...], re.Pattern[str]] = {}

    # What is known

    def known(self, text: str) -> str:
        """A text with every known secret replaced."""
        lowered = text.lower()
        # One search a secret, in C; a pattern of hundreds of alternatives would try them all at each character.
        here = tuple(secret for secret in (*self.secrets.texts, *self.secrets.words) if secret in lowered)
        if not here:
            return text
        if here not in self._patterns:
            self._patterns[here] = _alternatives(here, self.secrets)
        return self._patterns[here].sub(self._replace_known, text)

    def _replace_known(self, found: re.Match[str]) -> str:
        secret = found[0].lower()
        token = self.secrets.texts.get(secret) or self.secrets.words[secret]
        return token.upper() if found[0].isupper() and not found[0].islower() else token

    def raw(self, data: bytes) -> bytes:
        """Binary content with every known secret replaced, as text and as bytes; the same length."""
        for old, new in self.secrets.raw.items():
            if old in data:
                data = data.replace(old, new)
        text = data.decode("latin-1")
        cleaned = self._shapes(self.known(text))
        return cleaned.encode("latin-1") if len(cleaned) == len(text) else bytes(len(data))

    # What has a label or a shape

    def text(self, text: str, path: str = "") -> str:
        """Any text: contexts first, so that what they name has its token when the shapes are looked for."""
        text = self.known(text)
        if not TELLING.search(text) or (path and PACKAGES.fullmatch(path)):
            return text
        for pattern in HOST_IN_TEXT:
            text = pattern.sub(self._in_context(PLAIN_HOSTS), text)
        for pattern in USER_IN_TEXT:
            text = pattern.sub(self._in_context(SYSTEM_USERS), text)
        for pattern in PLACE_IN_TEXT:
            text = pattern.sub(self._place, text)
        text = URL.sub(self._url, text)
        for pattern in LABELS:
            text = pattern.sub(self._labelled, text)
        text = self._shapes(text)
        if path and VERSIONS.fullmatch(path):
            return text
        return IPV6.sub(self._ipv6, IPV4.sub(self._ipv4, text))

    def name(self, path: str) -> str:
        """A path: as a text, but nothing in it is taken for an address."""
        path = self.known(path)
        for pattern in USER_IN_TEXT[:1]:
            path = pattern.sub(self._in_context(SYSTEM_USERS), path)
        for pattern in PLACE_IN_TEXT:
            path = pattern.sub(self._place, path)
        for pattern in (BY, WWN, MAC_NAME):
            path = pattern.sub(self._labelled, path)
        return self._shapes(path)

    def whole(self, text: str) -> str:
        """A file that is a secret from end to end, line by line; its white space stays."""
        return "".join(self._line(line) for line in text.splitlines(keepends=True))

    def _line(self, line: str) -> str:
        from boxcheck.decode.text import meaningful

        secret = line.strip()
        if meaningful(secret) is None or secret.lower() in PLAIN_HOSTS or sum(map(str.isalnum, secret)) < 4:
            return line
        changed = self._shapes(NQN.sub(self._labelled, WWN.sub(self._labelled, self.known(line))))
        return changed if changed != line else line.replace(secret, self._secret(secret))

    def _secret(self, secret: str) -> str:
        """The token of a secret; that of a longer one around it where the capture knows one."""
        lowered = secret.lower()
        if lowered in self._tokens.issued:
            return secret
        token = self.secrets.texts.get(lowered) or self.secrets.words.get(lowered)
        return token if token is not None and secret == lowered else self._tokens.of(secret)

    def _labelled(self, found: re.Match[str]) -> str:
        secret = found["secret"]
        if secret.startswith("8250") or secret.lower() in KEEP_UUID:
            return found[0]
        return found["label"] + self._secret(secret)

    def _in_context(self, harmless: frozenset[str]) -> Callable[[re.Match[str]], str]:
        def replace(found: re.Match[str]) -> str:
            start, stop = found.start(1) - found.start(), found.end(1) - found.start()
            name = found[1]
            if name.lower() in harmless or name.lower() in self._tokens.issued:
                return found[0]
            return found[0][:start] + self._tokens.like(name.lower()) + found[0][stop:]

        return replace

    def _place(self, found: re.Match[str]) -> str:
        """`/mnt/NAME`: the name, where it is no word that boxcheck knows, such as `raid` or `data`."""
        name = found[1]
        if name.isdigit() or name.lower() in self._tokens.issued or self.secrets.vocabulary.is_word(name):
            return found[0]
        return found[0][: found.start(1) - found.start()] + self._tokens.like(name.lower())

    def _url(self, found: re.Match[str]) -> str:
        return found[0] if PUBLIC.match(found["secret"]) else self._labelled(found)

    def _dotted(self, found: re.Match[str]) -> str:
        """`0011.2233.aabb`: the token of the address as it is written elsewhere, in this form."""
        if found[0].lower() in self._tokens.issued:
            return found[0]
        digits = self._tokens.mac(":".join(re.findall("..", found[0].replace(".", "")))).replace(":", "")
        token = ".".join(re.findall("....", digits))
        self._tokens.issued.add(token.lower())
        return token

    def _shapes(self, text: str) -> str:
        return MAC_DOTTED.sub(self._dotted, MAC.sub(self._mac, UUID.sub(self._uuid, text)))

    def _uuid(self, found: re.Match[str]) -> str:
        return found[0] if found[0].lower() in KEEP_UUID else self._tokens.of(found[0])

    def _mac(self, found: re.Match[str]) -> str:
        digits = set(found[0].lower()) - {":", "-"}
        return found[0] if digits <= {"0"} or digits <= {"f"} else self._tokens.of(found[0])

    def _ipv4(self, found: re.Match[str]) -> str:
        address = found[0]
        octets = [int(part) for part in address.split(".")]
        if max(octets) > 255 or octets[0] in (0, 127, 240, 255) or address in self._tokens.issued:
            return address
        before = found.string[max(0, found.start() - 24) : found.start()]
        if VERSION_BEFORE.search(before) and not PRIVATE_NET.match(address):
            return address
        return self._tokens.ipv4(address)

    def _ipv6(self, found: re.Match[str]) -> str:
        address = found[0]
        if "::" not in address and address.count(":") != 7:
            return address
        if not any(character.isdigit() for character in address):  # `d::e`
            return address
        try:
            parsed = IPv6Address(address)
        except AddressValueError:
            return address
        if int(parsed) < 1 << 32 or parsed.is_multicast or address.lower() in self._tokens.issued:  # ::, ::1, ::ffff
            return address
        return self._tokens.ipv6(parsed.compressed)

    # Files of a known form

    def uevent(self, text: str) -> str:
        return self.text(UEVENT.sub(self._labelled, text))

    def kfd(self, text: str) -> str:
        """`unique_id` of a KFD node: the number that amdgpu writes in hexadecimal."""

        def replace(found: re.Match[str]) -> str:
            number = int(found["secret"])
            if found["secret"] in self._tokens.issued or number >= 1 << 64:
                return found[0]
            token = self._tokens.like(f"{number:016x}")
            return found["label"] + str(int(token, 16))

        return KFD.sub(replace, text)

    def clock(self, text: str) -> str:
        """`Reference ID : C0A80101 (192.168.1.1)` of chronyc: the time server, twice."""
        return REFERENCE.sub(self._labelled, text)

    def passwd(self, text: str) -> str:
        """/etc/passwd: people's names, full names and homes; what belongs to the system stays."""
        lines = []
        for line in text.splitlines(keepends=True):
            fields = line.split(":")
            if len(fields) >= 6 and fields[2].isdecimal() and is_person(int(fields[2][:10])):
                fields[0] = self.person(fields[0])
                fields[4] = self._tokens.like(fields[4].lower()) if fields[4] else ""
                fields[5] = "/".join(self.person(part) if part else "" for part in fields[5].split("/"))
            lines.append(":".join(fields))
        return self.known("".join(lines))

    def group(self, text: str) -> str:
        """/etc/group: people's own groups and the members."""
        lines = []
        for line in text.splitlines(keepends=True):
            fields = line.rstrip("\n").split(":")
            if len(fields) == 4:
                if fields[2].isdecimal() and is_person(int(fields[2][:10])):
                    fields[0] = self.person(fields[0])
                fields[3] = ",".join(self.person(name) if name else "" for name in fields[3].split(","))
            lines.append(":".join(fields) + ("\n" if line.endswith("\n") else ""))
        return self.known("".join(lines))

    def person(self, name: str) -> str:
        """The token of a person's name; a system's user keeps its own."""
        if name in self.secrets.system or name == "home" or name.lower() in SYSTEM_USERS | self._tokens.issued:
            return name
        return self._tokens.like(name.lower())

    def settings(self, text: str) -> str:
        """A file that people write: no comments, which hold names and no setting."""
        return COMMENT.sub("#", text)

    def mounts(self, text: str) -> str:
        """A table of mounts: servers, what they export, whom they let in."""
        text = self.known(self.settings(text))
        for pattern in (SHARES, MOUNT_OPTIONS):
            text = pattern.sub(self._labelled, text)
        for pattern in MOUNT_HOSTS:
            text = pattern.sub(self._in_context(PLAIN_HOSTS), text)
        return text

    def hosts(self, text: str) -> str:
        """/etc/hosts: every name that is not the same on every machine."""
        lines = []
        for line in text.splitlines(keepends=True):
            for name in line.split("#", 1)[0].split()[1:]:
                if name.lower() not in PLAIN_HOSTS:
                    line = line.replace(name, self._tokens.like(name.lower()))
            lines.append(line)
        return "".join(lines)

    def is_whole(self, place: str) -> bool:
        return WHOLE.fullmatch(place) is not None


def _alternatives(here: tuple[str, ...], secrets: Secrets) -> re.Pattern[str]:
    """One pattern for some of the secrets, longest first. What is short stands by itself only, or it would be found in
    numbers and words that have nothing to do with it."""
    parts: dict[str, list[str]] = {}
    for secret in sorted(here, key=len, reverse=True):
        if secret in secrets.words:
            bound = r"{}" if len(secret) >= 6 else r"(?<![A-Za-z0-9_]){}(?![A-Za-z0-9_])"
        elif len(secret) < 10:
            bound = r"(?<![A-Za-z0-9]){}(?![A-Za-z0-9])"
        else:
            bound = r"(?<!\d){}(?!\d)" if secret.isdigit() else r"{}"
        parts.setdefault(bound, []).append(re.escape(secret))
    return re.compile("|".join(bound.format(f"(?:{'|'.join(found)})") for bound, found in parts.items()), re.IGNORECASE)

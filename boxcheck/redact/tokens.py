"""What stands in a redacted capture in place of a secret: a salted hash in the secret's own shape.

The same secret gives the same token within one capture, so that two cards with one serial number still have one, and a
name in a log is the name in /etc/passwd. The salt is random and never stored, so nothing can be looked up or compared
with another capture. A token has the length of its secret and the same kinds of characters in the same places, so that
what reads it, in text or in binary, reads it as before.
"""

from __future__ import annotations

import re
from hashlib import blake2b

_UUID = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")
_MAC = re.compile(r"[0-9a-fA-F]{2}(?:([:-])[0-9a-fA-F]{2})(?:\1[0-9a-fA-F]{2}){4,}")
_SEPARATORS = str.maketrans("", "", ":-")
_LOWER, _UPPER = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Tokens:
    def __init__(self, salt: bytes) -> None:
        self.salt = salt
        self.issued: set[str] = set()
        """Every token given out, in lower case: a token is no secret and stays what it is."""

    def stream(self, secret: str, length: int) -> bytes:
        """Hash of a secret, as many bytes as needed."""
        out = b""
        while len(out) < length:
            counter = len(out).to_bytes(4, "big")
            out += blake2b(counter + secret.encode("utf-8", "surrogateescape"), key=self.salt[:64]).digest()
        return out[:length]

    def of(self, text: str) -> str:
        """The token of a secret, by its shape: UUID, MAC address, or anything else."""
        if text.lower() in self.issued:
            return text
        if _UUID.fullmatch(text):
            return self.uuid(text)
        if _MAC.fullmatch(text):
            return self.mac(text)
        return self.like(text)

    def _issue(self, token: str) -> str:
        self.issued.add(token.lower())
        return token

    def uuid(self, text: str) -> str:
        """A UUID, with or without dashes. Version 8 (RFC 9562) with the variant bits right."""
        plain = text.lower().translate(_SEPARATORS)
        digits = list(self.stream(plain, 16).hex())
        digits[12], digits[16] = "8", "89ab"[int(digits[16], 16) & 3]
        self.issued.add("".join(digits))
        return self._issue(self._fill(text, "".join(digits)))

    def mac(self, text: str) -> str:
        """A MAC address, in pairs with any separator or none: locally administered, unicast."""
        plain = text.lower().translate(_SEPARATORS)
        digits = "02" + self.stream(plain, len(plain)).hex()[: len(plain) - 2]
        self.issued.add(digits)
        return self._issue(self._fill(text, digits))

    def ipv4(self, text: str) -> str:
        """An address of 240.0.0.0/4, which is nobody's (RFC 1112)."""
        one, two, three = self.stream(text, 3)
        return self._issue(f"240.{one}.{two}.{three}")

    def ipv6(self, text: str) -> str:
        """An address of 2001:db8::/32, which is for documentation (RFC 3849)."""
        digits = self.stream(text, 8).hex()
        return self._issue(f"2001:db8:{digits[:4]}:{digits[4:8]}::{digits[8:12]}")

    def number(self, value: int) -> int:
        """A number of the same size."""
        return int(self.like(str(value))) if value > 0 else value

    def like(self, text: str) -> str:
        """The same length, with digits for digits, letters for letters, and hexadecimal for hexadecimal."""
        lowered = text.lower()
        body = lowered.removeprefix("0x").translate(_SEPARATORS)
        hexadecimal = len(body) >= 8 and not body.strip("0123456789abcdef") and not body.isdigit()
        salt = ""
        while True:
            noise = self.stream(lowered + salt, len(text))
            if hexadecimal:
                digits = self.stream(body + salt, -(-len(body) // 2)).hex()[: len(body)]
                prefix = text[: len(text) - len(lowered.removeprefix("0x"))]
                token = prefix + self._fill(text[len(prefix):], digits)
            else:
                token = "".join(
                    _same_kind(character, byte, not place)
                    for place, (character, byte) in enumerate(zip(text, noise, strict=True))
                )
            if token.lower() != lowered or not any(character.isalnum() for character in text) or len(salt) > 9:
                return self._issue(token)
            salt += "+"

    def _fill(self, shape: str, digits: str) -> str:
        """Hexadecimal digits in the shape of a text: its separators, its case."""
        rest = iter(digits)
        upper = any(character.isupper() for character in shape)
        token = "".join(next(rest) if character.isalnum() else character for character in shape)
        return token.upper() if upper else token


def _same_kind(character: str, byte: int, first: bool) -> str:
    if character.isascii() and character.isdigit():
        return "123456789"[byte % 9] if first else str(byte % 10)  # no zero in front, where a number is read
    if character.islower() or character.isupper():
        return (_LOWER if character.islower() else _UPPER)[byte % 26]
    return character

"""Configuration space with the device's serial number replaced, for captures that leave the house."""

from __future__ import annotations

from boxcheck.decode.pci_extended import SERIAL_AT, SERIAL_BYTES
from boxcheck.decode.pci_walk import CONVENTIONAL_BYTES, walk_extended

_EXT_SERIAL = 0x0003


def redact_config(data: bytes, token: bytes) -> bytes:
    """A copy of `data` with every Device Serial Number overwritten, everything else and the length as they were.

    The replacement is a hash of the number keyed by `token`: one token turns equal numbers into equal ones, so the
    functions of one card stay recognisable as such, and a token that is random and thrown away cannot be undone.
    The chain is followed as far as it can be, without asking whether the function should have one at all, and a
    number cut off by the end of `data` is overwritten as far as it goes. In a broken chain a number may lie over
    another capability: the number still goes.
    """
    from hashlib import blake2b  # only captures need it, and it costs doctor's start-up a millisecond

    if len(data) <= CONVENTIONAL_BYTES:
        return data
    entries, _ = walk_extended(data)
    redacted = bytearray(data)
    key = blake2b(token, digest_size=32).digest()
    for capability, _, offset in entries:
        if capability == _EXT_SERIAL:
            start = offset + SERIAL_AT
            serial = data[start : start + SERIAL_BYTES]
            redacted[start : start + len(serial)] = blake2b(serial, digest_size=SERIAL_BYTES, key=key).digest()[
                : len(serial)
            ]
    return bytes(redacted)

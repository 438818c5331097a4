"""Take what identifies one machine or its owner out of a raw SMBIOS table, in place.

The table keeps its length, its framing, its string numbering and every fact that is not private, so a redacted
capture decodes to the same board, slots and memory. The rule is an allow-list: a string survives only when a field
that is known to be harmless names it. So serial numbers, asset tags and OEM strings go, and so does the string that no
field names, where vendors leave such things. Structures that are vendor-specific, inactive, newer than this list or
known to carry identities (type 42: MAC address and service UUID of the BMC) are blanked altogether.

Source  DMTF DSP0134 3.7, section 7: which byte of which structure names which string.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from boxcheck.decode.smbios_table import HEADER_BYTES, Structure, iterate_regions
from boxcheck.decode.text import clean_text, meaningful

# type -> (length of the structure as far as it is known, offsets of the bytes that name harmless strings). What is
# longer than known is blanked behind that length. Types with parts of varying length are computed in `_policy`.
_HARMLESS: dict[int, tuple[int, tuple[int, ...]]] = {
    0: (0x1A, (0x04, 0x05, 0x08)),
    1: (0x1B, (0x04, 0x05, 0x06, 0x19, 0x1A)),
    4: (0x33, (0x04, 0x07, 0x10, 0x22)),
    6: (0x0C, (0x04,)),
    7: (0x1B, (0x04,)),
    8: (0x09, (0x04, 0x06)),
    11: (0x05, ()),
    12: (0x05, ()),
    13: (0x16, ()),
    16: (0x17, ()),
    17: (0x64, (0x10, 0x11, 0x17, 0x1A, 0x2B)),
    18: (0x17, ()),
    19: (0x1F, ()),
    20: (0x23, ()),
    21: (0x07, ()),
    22: (0x10, (0x04, 0x05, 0x08, 0x0E)),  # behind this: the battery's serial number and date, in binary
    23: (0x0D, ()),
    24: (0x05, ()),
    25: (0x09, ()),
    26: (0x16, (0x04,)),
    27: (0x0F, (0x0E,)),
    28: (0x16, (0x04,)),
    29: (0x16, (0x04,)),
    32: (0x0B, ()),
    33: (0x1F, ()),
    34: (0x0B, (0x04,)),
    35: (0x0B, (0x04,)),
    36: (0x10, ()),
    38: (0x12, ()),
    39: (0x16, (0x05, 0x06, 0x07, 0x0A, 0x0B)),
    41: (0x0B, (0x04,)),
    127: (0x04, ()),
}
# Bytes that name a private string: where such a one shares its string with a harmless field, the string goes.
_PRIVATE: dict[int, tuple[int, ...]] = {
    1: (0x07,),
    2: (0x07, 0x08),
    3: (0x07, 0x08),
    4: (0x20, 0x21),
    17: (0x18, 0x19),
    22: (0x06, 0x07),
    39: (0x08, 0x09),
}
_UUID = slice(0x08, 0x18)
_BLANK = b"x"


def redact_smbios(table: bytes, replace: Callable[[str], str], secrets: Collection[str] = ()) -> bytes:
    """Return `table` with everything private replaced; the same length, and it decodes to the same structures.

    `replace` gives a stable token for a private text (which it gets cleaned and without padding, as sysfs shows it).
    The token is fitted to the bytes there are: its end is kept when it is too long (tokens mostly end in their hash),
    it is repeated when it is too short. For the system UUID, which is binary, a token of 32 hexadecimal digits is taken
    as it is, any other is hashed. Placeholders ("To Be Filled By O.E.M.", all zeros) are private to nobody and stay.
    `secrets` are texts (host and user names ...) that may stand anywhere: a string that holds one, in any case, goes
    whole. Never raises by itself; what `replace` raises comes through.
    """
    needles = tuple({secret.strip().encode("utf-8", "replace").lower() for secret in secrets if secret.strip()})
    result = bytearray(table)
    for structure, start, end in iterate_regions(table):
        if structure is None:
            # No structure: its header may stay, so that the decoder stumbles at the same place; nothing else may.
            _blank(result, min(start + HEADER_BYTES, end), end)
            continue
        _redact(result, structure, replace, needles)
    return bytes(result)


def _policy(structure: Structure) -> tuple[int, tuple[int, ...]] | None:
    """How far the formatted area is known, and which of its bytes name strings that may stay; None when not at all."""
    body, kind = structure.body, structure.type
    if kind == 2:  # contained object handles, two bytes each
        return 0x0F + 2 * (structure.byte(0x0E) or 0), (0x04, 0x05, 0x06, 0x0A)
    if kind == 3:  # contained elements, then the number of the SKU
        sku = 0x15 + (structure.byte(0x13) or 0) * (structure.byte(0x14) or 0)
        return sku + 1, (0x04, 0x06, sku)
    if kind == 9:  # peer groups of five bytes, then what 3.4 and 3.5 added
        return 0x13 + 5 * (structure.byte(0x12) or 0) + 5, (0x04,)
    if kind == 10:  # pairs of type and string number
        return len(body), tuple(range(0x05, len(body), 2))
    return _HARMLESS.get(kind)


def _redact(result: bytearray, structure: Structure, replace: Callable[[str], str], needles: tuple[bytes, ...]) -> None:
    policy = _policy(structure)
    body, base = structure.body, structure.offset
    if policy is None:
        _clear(result, base + HEADER_BYTES, base + len(body))
        _blank(result, base + len(body), structure.end)
        return
    known, offsets = policy
    keep = {body[at] for at in offsets if at < len(body)} - {
        body[at] for at in _PRIVATE.get(structure.type, ()) if at < len(body)}
    at = base + len(body)
    for number, raw in enumerate(structure.strings, start=1):
        stop = at + len(raw)
        if number not in keep or _holds(raw, needles):
            result[at:stop] = _token(raw, replace, number not in keep, needles)
        at = stop + 1
    # Here ends the set, unless it has more strings than a byte can number.
    _blank(result, min(at, structure.end), structure.end)
    if structure.type == 1 and len(body) >= 0x18:
        result[base + _UUID.start : base + _UUID.stop] = _other_uuid(body[_UUID], replace)
    _clear(result, base + min(known, len(body)), base + len(body))
    formatted = bytes(result[base + HEADER_BYTES : base + len(body)])
    if _holds(formatted, needles):
        _clear(result, base + HEADER_BYTES, base + len(body))


def _holds(raw: bytes, needles: tuple[bytes, ...]) -> bool:
    lowered = raw.lower()
    return any(needle in lowered for needle in needles)


def _token(raw: bytes, replace: Callable[[str], str], private: bool, needles: tuple[bytes, ...]) -> bytes:
    """`raw` with a token in place of its text; the padding stays. Placeholders stay unless a secret is in them."""
    text = clean_text(raw).strip()
    if private and meaningful(text) is None and not _holds(raw, needles):
        # Blanks and control characters alone may hide something from `meaningful`; they carry no fact either.
        return raw if text else b" " * len(raw)
    core = raw.strip()
    lead = len(raw) - len(raw.lstrip())
    fitted = _fit(replace(text), len(core))
    if _holds(fitted, needles):
        # A callback that hands back what it was given (or a hash that happens to spell a short secret).
        fitted = _BLANK * len(core)
    return raw[:lead] + fitted + raw[lead + len(core) :]


def _fit(token: str, length: int) -> bytes:
    """`token` as exactly `length` printable ASCII bytes."""
    plain = bytes(byte for byte in token.encode("ascii", "replace") if 0x21 <= byte <= 0x7E) or _BLANK
    if len(plain) >= length:
        return plain[len(plain) - length :]
    return (plain * (length // len(plain) + 1))[:length]


def _other_uuid(raw: bytes, replace: Callable[[str], str]) -> bytes:
    """A UUID in place of `raw`, in the byte order of SMBIOS 2.6 and later; all ones and all zeros say "none"."""
    if raw in (b"\xff" * 16, bytes(16)):
        return raw
    swapped = raw[3::-1] + raw[5:3:-1] + raw[7:5:-1]
    text = "-".join((swapped[:4].hex(), swapped[4:6].hex(), swapped[6:].hex(), raw[8:10].hex(), raw[10:].hex()))
    token = replace(text)
    digits = token.replace("-", "")
    try:
        new = bytes.fromhex(digits) if len(digits) == 32 else b""
    except ValueError:
        new = b""
    if len(new) != 16 or new[3::-1] + new[5:3:-1] + new[7:5:-1] + new[8:] == raw:
        # No UUID, or the very one that was to go. Imported here, for it loads OpenSSL and doctor redacts nothing.
        from hashlib import sha256

        new = sha256(token.encode("utf-8", "replace")).digest()[:16]
    return new[3::-1] + new[5:3:-1] + new[7:5:-1] + new[8:]


def _blank(result: bytearray, start: int, stop: int) -> None:
    """Overwrite everything but the NULs, which end strings, so that the framing stays."""
    result[start:stop] = bytes(byte and _BLANK[0] for byte in result[start:stop])


def _clear(result: bytearray, start: int, stop: int) -> None:
    result[start:stop] = bytes(stop - start)

"""Binary files of a capture with what identifies the machine replaced; each keeps its length."""

from __future__ import annotations

import re
from collections.abc import Callable

from boxcheck.decode.pci_extended import SERIAL_AT, SERIAL_BYTES
from boxcheck.decode.pci_walk import walk_extended
from boxcheck.decode.smbios import redact_smbios
from boxcheck.redact.tokens import Tokens

_EXT_SERIAL = 0x0003
_DMI = re.compile(r"/sys/firmware/dmi/(?:tables/DMI|entries/[^/]+/raw)")
_CONFIG = re.compile(r"/sys/devices/.*/config|/sys/bus/pci/devices/[^/]+/config|/proc/bus/pci/.*")
_VPD = re.compile(r"/sys/.*/vpd")
_WIPED = re.compile(r"/sys/firmware/acpi/tables/(?:.*/)?(?:MSDM|SLIC)\d*|/sys/.*/(?:edid|vpd_pg[0-9a-f]+|inquiry|rom)")
"""Product keys, monitors' and disks' serial numbers: no check reads them."""

_VPD_HARMLESS = frozenset((b"PN", b"EC", b"MN", b"RV"))
"""PCI Local Bus 3.0, appendix I: part number, engineering change level, manufacture id, checksum. The rest (SN, V*, Y*)
is a serial number or whatever the vendor put there."""


def serial_of(config: bytes) -> bytes | None:
    """The Device Serial Number in a configuration space, as it lies there (least significant byte first)."""
    if len(config) <= 256:
        return None
    for capability, _, offset in walk_extended(config)[0]:
        if capability == _EXT_SERIAL and offset + SERIAL_AT + SERIAL_BYTES <= len(config):
            return config[offset + SERIAL_AT : offset + SERIAL_AT + SERIAL_BYTES]
    return None


def is_config(path: str) -> bool:
    return _CONFIG.fullmatch(path) is not None


def is_vpd(path: str) -> bool:
    return _VPD.fullmatch(path) is not None


def is_smbios(path: str) -> bool:
    return _DMI.fullmatch(path) is not None


def redact_binary(path: str, data: bytes, tokens: Tokens, names: tuple[str, ...]) -> bytes | None:
    """The redacted content of a file that is binary by its place; None where the place says nothing.

    `names` are host and user names, which may stand anywhere in an SMBIOS table.
    """
    if is_smbios(path):
        return redact_smbios(data, tokens.of, names)
    if is_config(path):
        from boxcheck.decode.pci_config import redact_config

        return redact_config(data, tokens.salt)
    if _VPD.fullmatch(path):
        return redact_vpd(data, tokens.of)
    return bytes(len(data)) if _WIPED.fullmatch(path) else None


def redact_vpd(data: bytes, token: Callable[[str], str]) -> bytes:
    """Vital Product Data with every field blanked that is not known to be harmless.

    Format: PCI Local Bus Specification 3.0, appendix I. What cannot be walked is zeroed.
    """
    out = bytearray(len(data))
    at = 0
    while at < len(data):
        tag = data[at]
        if tag == 0x78:  # end
            out[at] = tag
            break
        if not tag & 0x80 or at + 3 > len(data):
            break
        length = int.from_bytes(data[at + 1 : at + 3], "little")
        start, stop = at + 3, min(at + 3 + length, len(data))
        out[at:start] = data[at:start]
        if tag == 0x82:  # the product's name
            out[start:stop] = data[start:stop]
        elif tag in (0x90, 0x91):
            _redact_fields(data, out, start, stop, token)
        at = start + length
    return bytes(out)


def _redact_fields(data: bytes, out: bytearray, start: int, stop: int, token: Callable[[str], str]) -> None:
    while start + 3 <= stop:
        keyword, length = data[start : start + 2], data[start + 2]
        inner, end = start + 3, min(start + 3 + length, stop)
        out[start:inner] = data[start:inner]
        value = data[inner:end]
        if keyword in _VPD_HARMLESS:
            out[inner:end] = value
        elif value.strip(b"\0 "):
            text = value.decode("latin-1")
            out[inner:end] = token(text.strip()).encode("latin-1", "replace")[: len(value)].ljust(len(value))
        start = inner + length

"""Text that a machine gave us, made safe to show, and told apart from filler.

A firmware string, a log line or a device's name is whatever its vendor (or an attacker) wrote. `clean_text` takes the
control characters out, so that none reaches a terminal; it does not escape markup (`[red]`, `<b>`), which is the
presenter's work and differs by output. `meaningful` tells a real value from a vendor's placeholder.

By hand  `printf '%q\\n' "$(cat /sys/class/dmi/id/board_serial)"`
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

MAX_TEXT_CHARACTERS = 256
"""The usual bound of one string. SMBIOS strings were at most 64 characters until 2.7 (DSP0134, 6.1.3)."""

_ELLIPSIS = "…"
_REPLACEMENT = "�"

# What a terminal or a page may obey instead of showing: C0, DEL, C1; soft hyphen; the bidirectional controls
# (Unicode TR9, "Trojan Source"); zero-width and invisible operators; interlinear annotation; tags and the variation
# selectors' plane.
_DROPPED = (
    (0x00, 0x1F), (0x7F, 0x9F), (0xAD, 0xAD), (0x61C, 0x61C), (0x180E, 0x180E), (0x200B, 0x200F), (0x2028, 0x202E),
    (0x2060, 0x206F), (0xFEFF, 0xFEFF), (0xFFF0, 0xFFFB), (0xE0000, 0xE0FFF),
)
# These separate words; dropping them would join what stood apart.
_SPACES = frozenset("\t\n\v\f\r\x85\u2028\u2029")


@functools.cache
def _table() -> Mapping[int, str]:
    table = {code: "" for first, last in _DROPPED for code in range(first, last + 1)}
    table.update((ord(space), " ") for space in _SPACES)
    # Lone surrogates come from names decoded with `surrogateescape`; printing one raises UnicodeEncodeError.
    table.update((code, _REPLACEMENT) for code in range(0xD800, 0xE000))
    return table


def clean_text(value: bytes | str, limit: int = MAX_TEXT_CHARACTERS) -> str:
    """Return `value` as text that cannot steer a terminal: at most `limit` characters, the last being `…` when cut.

    Control characters (C0, C1, DEL), bidirectional and zero-width ones are dropped, those that separate words become
    a space, bytes that are no UTF-8 become U+FFFD. Markup stays as it is. Never raises.
    """
    # One UTF-8 character takes at most 4 bytes, so more than this cannot show; hostile megabytes are not decoded.
    head = value[: 4 * (limit + 1)]
    cut = len(head) < len(value)
    if isinstance(head, bytes):
        text = head.decode("ascii") if head.isascii() else head.decode("utf-8", "replace")
    else:
        text = head
    # isprintable is false for every dropped character, and fast: nearly all strings end here.
    if not text.isprintable():
        text = text.translate(_table())
    if len(text) > limit or cut:
        return text[: max(limit - 1, 0)] + _ELLIPSIS if limit > 0 else ""
    return text


# Spelled without blanks, dots, dashes and underscores, in lower case. Seen in linuxhw/DMI, hw-probe and jc's captures
# of AMI, Insyde, ASUS, ASRock, Supermicro, Gigabyte, Dell, Lenovo and VMware firmware.
_PLACEHOLDERS = frozenset((
    "", "?", "asset1234567890", "assettag", "assettagnum0", "assettagnum1", "baseboardassettag",
    "baseboardserialnumber", "baseboardversion", "chassisassettag", "chassismanufacture", "chassismanufacturer",
    "chassisserialnumber", "chassisversion", "defaultstring", "defaultvalue", "empty", "fillbyoem",
    "invalid", "manufacturer", "modulemanufacturer", "modulepartnumber", "moduleserialnumber", "n/a", "na", "nil",
    "noassetinformation", "noassettag", "nodimm", "noenclosure", "nomodule", "nomoduleinstalled", "none", "noserial",
    "noserialnumber", "notapplicable", "notavailable", "notpresent", "notset", "notsettable", "notspecified", "null",
    "oem", "oemdefined", "outofspec", "<outofspec>", "<badindex>", "partnum0", "partnumber", "productname", "reserved",
    "sernum0", "serialnumber", "sku", "skunumber", "systemmanufacturer", "systemname", "systemproductname",
    "systemserialnumber", "systemsku", "systemskunumber", "systemuuid", "systemversion", "tbd", "tobedefined",
    "tobefilledbyoem", "tobefilledbyom", "type1family", "type1productconfigid", "type1skunumber", "type2boardassettag",
    "typechassisassettag", "unavailable", "undefined", "uninitialized", "unknown", "unspecified",
    # Digits in order, the other favourite of a template nobody filled in.
    "0123456789", "123456789", "1234567890", "12345678", "1234567", "123456", "12345678901234567890",
))
_SEPARATORS = str.maketrans("", "", " .-_\t")


def meaningful(text: object) -> str | None:
    """Return `text` without its padding, or None when it is no text, or a placeholder that vendors leave in.

    `To Be Filled By O.E.M.`, `Default string`, `Not Specified`, `0123456789`, `NO DIMM`, blanks and one repeated
    character (`00000000`, `xxxx`, `---`) say nothing about the machine. Case and punctuation do not matter.
    """
    if not isinstance(text, str):
        return None
    stripped = text.strip()
    core = stripped.casefold().translate(_SEPARATORS)
    if core in _PLACEHOLDERS:
        return None
    digits = core.removeprefix("0x")
    # One character, over and over, from those that erased flash and templates give: `2` and `1111` may be real.
    if len(set(digits)) == 1 and digits[0] in "0fx*#?" and (len(digits) > 1 or digits in "0*#?"):
        return None
    return stripped

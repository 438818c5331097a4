"""From the raw fields of an SMBIOS structure to values, or to the reason why there is none.

Three reasons, and no zero among them: the structure is too short (an older firmware), the firmware wrote its code for
"unknown", or it wrote something that the specification does not have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from boxcheck.model import Bdf, Unread


def too_short(what: str) -> Unread:
    """The structure ends before this field."""
    return Unread(f"this SMBIOS structure is too short to hold the {what}", "unsupported")


def meaningless(code: int, what: str) -> Unread:
    """The field has a code that is in no table of DSP0134 3.7."""
    return Unread(f"the firmware gives the {what} as 0x{code:02x}, which has no meaning", "malformed")


def known(value: int | None, what: str, *unknown: int) -> int | Unread:
    """`value`; Unread when the structure is too short (None), and for each of the codes `unknown`."""
    if value is None:
        return too_short(what)
    if value in unknown:
        return Unread(f"the firmware does not give the {what}", "absent")
    return value


def named(table: Mapping[int, str], value: int | None, what: str, *unknown: int) -> str | Unread:
    """The name of a code; Unread as with `known` (unknown are 0 and 2 if not said), and for a code in no table."""
    code = known(value, what, *(unknown or (0, 2)))
    if isinstance(code, Unread):
        return code
    return table.get(code) or meaningless(code, what)


def bit(value: int | None, number: int, what: str) -> bool | Unread:
    """Whether bit `number` is set; Unread as with `known`."""
    flags = known(value, what)
    return flags if isinstance(flags, Unread) else bool(flags >> number & 1)


def bits(value: int | None, names: Iterable[tuple[int, str]], what: str, *unknown: int) -> tuple[str, ...] | Unread:
    """The names of the bits that are set; Unread as with `known`."""
    flags = known(value, what, *unknown)
    return flags if isinstance(flags, Unread) else tuple([name for number, name in names if flags >> number & 1])


def address(segment: int | None, bus: int | None, devfn: int | None) -> Bdf | Unread:
    """A bus address from its three fields (7.10.8, 7.42.3).

    By the specification all ones in every field mean none; firmware writes bus 0xff with segment 0, too (ESC4000A-E10,
    slots without a card), and leaves zeros where nobody filled the field in (ROMED8-2T, all slots). Nothing that can
    be plugged in has the address of the host bridge.
    """
    if segment is None or bus is None or devfn is None:
        return too_short("bus address")
    if bus == 0xFF or segment == 0xFFFF:
        return Unread("the firmware does not give the bus address", "absent")
    if segment == bus == devfn == 0:
        return Unread("the firmware gives the bus address as 0000:00:00.0, which is the host bridge", "malformed")
    return Bdf(f"{segment:04x}:{bus:02x}:{devfn >> 3:02x}.{devfn & 7}")

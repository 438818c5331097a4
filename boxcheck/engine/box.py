"""What names a box, as its records have it: the serial number of its board, and what it calls itself.

Reads   nothing; Dmi (the board's serial number, which only root may read) and Identity (the host name)
By hand sudo dmidecode -s baseboard-serial-number; hostname
"""

from __future__ import annotations

import re

from boxcheck.engine.inspect import Facts
from boxcheck.model import Unread
from boxcheck.probes.dmi import Dmi
from boxcheck.probes.identity import Identity

_BOTH = re.compile(r"(?P<serial>.+) \((?P<host>[^()]+)\)")


def name_of(facts: Facts) -> str:
    """`W1234 (wopr)`, one of them where the other is not known, empty where nothing names it."""
    dmi, identity = facts.of(Dmi), facts.of(Identity)
    host = identity.host_name if isinstance(identity, Identity) else None
    serial = None
    if isinstance(dmi, Dmi) and not isinstance(dmi.smbios, Unread) and not isinstance(dmi.smbios.baseboard, Unread):
        serial = dmi.smbios.baseboard.serial
    words = [word for word in (serial, host if isinstance(host, str) else None) if word]
    return f"{words[0]} ({words[1]})" if len(words) == 2 else words[0] if words else ""


def same_box(one: str, other: str) -> bool | None:
    """Whether two names are of one box: by the serial numbers where both have one, else by the host names. None where
    a name is missing, or one has a serial number and the other is another single name: a host that was renamed, or
    another box. Two single names are taken for host names, since nearly every box has one."""
    if not one or not other:
        return None
    if one == other:
        return True
    first, second = _BOTH.fullmatch(one), _BOTH.fullmatch(other)
    if first and second:
        return first["serial"] == second["serial"]
    for whole, single in ((first, other), (second, one)):
        if whole:
            return True if single in (whole["serial"], whole["host"]) else None
    return False

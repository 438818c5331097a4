"""What the box calls itself.

Reads   /proc/sys/kernel/hostname      (any user)
By hand hostname
"""

from __future__ import annotations

import msgspec

from boxcheck.decode.text import clean_text
from boxcheck.host import Host
from boxcheck.model import Unread
from boxcheck.registry import probe


class Identity(msgspec.Struct, frozen=True):
    host_name: str | Unread


@probe("identity", Identity)
def identity(host: Host) -> Identity:
    name = host.text("/proc/sys/kernel/hostname")
    return Identity(name if isinstance(name, Unread) else clean_text(name, 64))

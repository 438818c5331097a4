"""The profile of tuned, the daemon that sets governor, latency and disk knobs together.

Reads   /etc/tuned/active_profile                                                                     (any user)
Absent  where tuned is not installed
By hand tuned-adm active
"""

from __future__ import annotations

import msgspec

from boxcheck.host import Host
from boxcheck.model import Unread
from boxcheck.probes.attributes import words
from boxcheck.registry import probe

ACTIVE_PROFILE = "/etc/tuned/active_profile"


class Tuning(msgspec.Struct, frozen=True):
    tuned_profile: str | None | Unread
    """`accelerator-performance`; None where tuned is not installed or has no profile."""


@probe("tuning", Tuning)
def tuning(host: Host) -> Tuning:
    profile = words(host, ACTIVE_PROFILE)
    return Tuning(None if isinstance(profile, Unread) and profile.kind == "absent" else profile)

"""Whether the machine's clock follows a time server.

Reads   /run/systemd/timesync/synchronized; else `timedatectl show -p NTPSynchronized --value`, which asks the kernel
        and so knows of any daemon; else `chronyc -n tracking`                                      (any user)
Absent  the file where systemd-timesyncd is not used; both programs on small systems.
By hand timedatectl; chronyc tracking
"""

from __future__ import annotations

import msgspec

from boxcheck.host import Host
from boxcheck.model import Unread
from boxcheck.registry import probe

SYNCHRONIZED = "/run/systemd/timesync/synchronized"
TIMEDATECTL = ("timedatectl", "show", "-p", "NTPSynchronized", "--value")
CHRONYC = ("chronyc", "-n", "tracking")
TIMEOUT_SECONDS = 5.0


class Clock(msgspec.Struct, frozen=True):
    synchronized: bool | Unread
    source: str | None
    """Who said so."""


def parse_tracking(text: str) -> bool | Unread:
    """`chronyc tracking`: the row `Leap status` says `Not synchronised` until a source was selected."""
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon and name.strip() == "Leap status":
            return value.strip().lower() != "not synchronised"
    return Unread("chronyc tracking printed no leap status", "malformed")


@probe("clock", Clock)
def clock(host: Host) -> Clock:
    if host.exists(SYNCHRONIZED) is True:
        return Clock(True, "systemd-timesyncd")
    shown = host.run(TIMEDATECTL, TIMEOUT_SECONDS)
    if not isinstance(shown, Unread) and shown.exit == 0 and shown.stdout in ("yes", "no"):
        return Clock(shown.stdout == "yes", "timedatectl")
    tracking = host.run(CHRONYC, TIMEOUT_SECONDS)
    if not isinstance(tracking, Unread) and tracking.exit == 0:
        return Clock(parse_tracking(tracking.stdout), "chronyc")
    answers = [answer for answer in (shown, tracking) if isinstance(answer, Unread)]
    nobody = Unread("neither timedatectl nor chronyc tells whether the clock is synchronised", "unsupported")
    # A program that is missing says nothing about the clock; one that hung, or that a capture lacks, might have.
    return Clock(next((answer for answer in answers if answer.kind != "absent"), nobody), None)

"""What a burn-in or a watch cannot be told for want of rights, said before it begins: who waits for hours should not
learn at their end that they could not pass."""

from __future__ import annotations

from boxcheck.host.kmsg import KmsgFollower
from boxcheck.model import Finding, Outcome, Unread
from boxcheck.profile import Profile

LOG = "burn.log"
AGAIN = {
    "burn": "sudo boxcheck burn with the same options", "watch": "sudo boxcheck watch --pid PID beside your own work"}


def unread_log() -> Unread | None:
    """Why the kernel's log cannot be followed; None where it can."""
    follower = KmsgFollower()
    follower.close()
    return follower.unread


def word_before(kind: str, want: Profile, unread: Unread | None) -> str:
    """One line; empty where root would add nothing. `kind`: `burn` or `watch`; `unread`: as `unread_log` has it."""
    if unread is None or unread.kind != "permission":
        return ""
    ends = f", and {want.name} requires it: the {'run' if kind == 'burn' else 'watch'} cannot pass" if (
        want.is_blocker(LOG, "stress")) else ""
    return f"the kernel's log is read by root alone here, so {LOG} stays unknown{ends}; {AGAIN[kind]} reads it"


def word_after(kind: str, findings: tuple[Finding, ...]) -> str:
    """The last words of an account on what root would have added; empty where that is nothing."""
    rooted = dict.fromkeys(one.check for one in findings if one.needs_root and one.outcome is Outcome.UNKNOWN)
    if not rooted:
        return ""
    verb = "needs" if len(rooted) == 1 else "need"
    return f"{len(rooted)} check{'' if len(rooted) == 1 else 's'} {verb} root: {', '.join(rooted)}; {AGAIN[kind]}"

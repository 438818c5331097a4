"""Whose state directory boxcheck keeps its things in: the user's, and under sudo that of whoever called it."""

from __future__ import annotations

import contextlib
import os

from boxcheck.host import Host
from boxcheck.model import Unread


def state_and_owner(host: Host) -> tuple[str, int | None, int | None]:
    """State directory, and its owner where that is not this process."""
    who = host.who()
    if not isinstance(who, Unread) and who.root and who.invoked_by:
        import pwd

        with contextlib.suppress(KeyError):
            entry = pwd.getpwuid(who.invoked_by)
            return os.path.join(entry.pw_dir, ".local", "state"), entry.pw_uid, entry.pw_gid
    state = os.environ.get("XDG_STATE_HOME")
    if state and os.path.isabs(state):
        return state, None, None
    return os.path.join(os.path.expanduser("~"), ".local", "state"), None, None

"""The record of a doctor run on a live machine: the account as JSON, in the state directory of whoever asked.

Under sudo it belongs to the invoking user. A record that cannot be written is said on standard error and costs nothing
else.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime

import msgspec

from boxcheck.account import Account
from boxcheck.host import Host
from boxcheck.model import Unread


def _home(host: Host) -> tuple[str, int | None, int | None]:
    """State directory, and owner where it is not this process."""
    who = host.who()
    if not isinstance(who, Unread) and who.root and who.invoked_by:
        import pwd

        try:
            entry = pwd.getpwuid(who.invoked_by)
        except KeyError:
            pass
        else:
            return os.path.join(entry.pw_dir, ".local", "state"), entry.pw_uid, entry.pw_gid
    state = os.environ.get("XDG_STATE_HOME")
    if state and os.path.isabs(state):
        return state, None, None
    return os.path.join(os.path.expanduser("~"), ".local", "state"), None, None


def save_record(account: Account, host: Host) -> Account:
    """Writes the record and returns the account with its path; the account unchanged when it could not be written."""
    from boxcheck.report.json import run_json
    from boxcheck.report.output import write_output

    base, uid, gid = _home(host)
    stamp = datetime.fromtimestamp(account.started, UTC).strftime("%Y-%m-%dT%H%M%SZ")
    folder = os.path.join(base, "boxcheck", "runs")
    path = os.path.join(folder, f"{stamp}-doctor.json")
    try:
        _make(folder, uid, gid)
        write_output(path, run_json(account, with_facts=False))
        os.chmod(path, 0o600)
        if uid is not None and gid is not None:
            os.chown(path, uid, gid, follow_symlinks=False)
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        print(f"the record was not saved: {error.filename or path}: {reason}", file=sys.stderr)
        return account
    shown = path.replace(os.path.expanduser("~"), "~", 1) if path.startswith(os.path.expanduser("~") + "/") else path
    return msgspec.structs.replace(account, record=shown)


def _make(folder: str, uid: int | None, gid: int | None) -> None:
    """Makes the folders that are missing, owned by the user they are for."""
    missing: list[str] = []
    here = folder
    while not os.path.isdir(here) and here != os.path.dirname(here):
        missing.append(here)
        here = os.path.dirname(here)
    for path in reversed(missing):
        os.mkdir(path, 0o700)
        if uid is not None and gid is not None:
            os.chown(path, uid, gid, follow_symlinks=False)

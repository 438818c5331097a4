"""The record of a doctor run on a live machine: the account as JSON, in the state directory of whoever asked.

Under sudo it is written as the invoking user: it belongs to them, and no link in their home leads root astray. A record
that cannot be written is said on standard error and costs nothing else.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from datetime import UTC, datetime

import msgspec

from boxcheck.account import Account
from boxcheck.host import Host
from boxcheck.host.owner import as_user
from boxcheck.host.state import state_and_owner
from boxcheck.usage import UsageError

__all__ = ["as_user", "kept_directory", "runs_directory", "save_record", "state_and_owner", "state_directory"]

MOST_IN_A_SECOND = 1000


def save_record(account: Account, host: Host) -> Account:
    """Writes the record and returns the account with its path; the account unchanged when it could not be written."""
    from boxcheck.report.json import run_json
    from boxcheck.report.output import write_output

    base, uid, gid = state_and_owner(host)
    stamp = datetime.fromtimestamp(account.started, UTC).strftime("%Y-%m-%dT%H%M%SZ")
    folder = os.path.join(base, "boxcheck", "runs")
    path = os.path.join(folder, f"{stamp}-doctor.json")
    try:
        with as_user(uid, gid):
            _make(folder)
            path = _reserved(folder, stamp)
            try:
                write_output(path, run_json(account, with_facts=False), mode=0o600)
            except BaseException:
                with suppress(OSError):
                    os.unlink(path)
                raise
    except UsageError as error:
        print(f"the record was not saved: {error}", file=sys.stderr)
        return account
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        print(f"the record was not saved: {error.filename or path}: {reason}", file=sys.stderr)
        return account
    home = os.path.expanduser("~")
    shown = path.replace(home, "~", 1) if home != "/" and path.startswith(home + "/") else path
    return msgspec.structs.replace(account, record=shown)


def _reserved(folder: str, stamp: str) -> str:
    """A name that no other record has, held by an empty file: machines that share a home may begin in one second."""
    for number in range(1, MOST_IN_A_SECOND):
        path = os.path.join(folder, f"{stamp}-doctor{'' if number == 1 else f'-{number}'}.json")
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            continue
        return path
    raise FileExistsError(17, "too many records of one second", folder)


def state_directory(host: Host) -> str:
    """Where this user's runs lie."""
    return state_and_owner(host)[0]


def runs_directory(host: Host) -> str:
    """Where this user's runs lie, made as that user where it is not there. OSError where it cannot be."""
    return kept_directory(host, "runs")


def kept_directory(host: Host, name: str) -> str:
    """The same for what else is kept: `riser`."""
    base, uid, gid = state_and_owner(host)
    folder = os.path.join(base, "boxcheck", name)
    with as_user(uid, gid):
        _make(folder)
    return folder


def _make(folder: str) -> None:
    """Makes the folders that are missing, for their owner alone; not the home above them, which may be `/nonexistent`
    on purpose, nor anything below a home that nobody knows."""
    if not os.path.isabs(folder):
        raise FileNotFoundError(2, "no home directory", folder)
    missing: list[str] = []
    here = folder
    while not os.path.isdir(here) and here != os.path.dirname(here):
        missing.append(here)
        here = os.path.dirname(here)
    if os.path.dirname(folder).endswith(HOME_PART) and len(missing) > HOME_PART.count("/") + 1:
        raise FileNotFoundError(2, "no such directory", missing[HOME_PART.count("/") + 1])
    for path in reversed(missing):
        os.mkdir(path, 0o700)


HOME_PART = "/.local/state/boxcheck"
"""What is made in a home; what is above is not ours to make."""

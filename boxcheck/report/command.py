"""Commands of boxcheck's own that run as they are printed, by whoever started this one."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys

import msgspec

from boxcheck.account import Account
from boxcheck.model import Verdict

COMMANDS = (
    "attach", "burn", "capture", "certify", "checks", "compare", "demo", "doctor", "explain", "facts", "judge", "keys",
    "profile", "report", "riser", "runs", "stress", "triage", "watch", "yield")
"""What may stand behind `boxcheck`; a test holds it to be all."""
_BARE = re.compile(rf"(?<![\w./-])(sudo )?boxcheck(?= (?:{'|'.join(COMMANDS)})\b)")
_PIP = re.compile(r"(?<![\w./-])pip install(?= )")


def command_line(*words: str, root: bool = False) -> str:
    """`boxcheck explain ID` where `boxcheck` alone finds this program, else with its path as it was called.

    With `root`, under sudo and with the absolute path: sudo's secure_path does not hold a user's own installation.
    """
    called = sys.argv[0]
    name = os.path.basename(called)
    if name == "boxcheck" and os.path.exists(called):
        program = [os.path.abspath(called) if root else _shortest(called)]
    elif name == "__main__.py" and os.path.basename(os.path.dirname(called)) == "boxcheck":
        program = [sys.executable, "-m", "boxcheck"]
    else:
        program = [sys.executable, "-m", "boxcheck"] if root else ["boxcheck"]
    return shlex.join([*(["sudo"] if root else []), *program, *words])


def runnable(text: str) -> str:
    """A text in which the commands of boxcheck's own run as they are printed; `text` itself where its name is found."""
    return own_pip(_BARE.sub(lambda found: command_line(root=found[1] is not None), text))


def own_pip(text: str) -> str:
    """A text in which `pip install` is that of boxcheck's own environment, where the shell would find another: that of
    a distribution refuses, and any other installs where boxcheck does not look."""
    own = os.path.join(sys.prefix, "bin", "pip")
    if "pip install" not in text or not os.path.exists(own):
        return text
    found = shutil.which("pip")
    if found is not None and os.path.realpath(os.path.dirname(found)) == os.path.realpath(os.path.dirname(own)):
        return text
    return _PIP.sub(shlex.quote(own) + " install", text)


def under_sudo(text: str) -> str:
    """A text in which those of its commands that need root run as they are printed: secure_path of sudoers(5) holds the
    system's directories alone."""
    return _BARE.sub(lambda found: command_line(root=True) if found[1] else found[0], text)


def with_commands(account: Account) -> Account:
    """The account of this machine with runnable commands in its steps and notes. Those of a capture are for the box
    that it was taken on, where nobody knows how boxcheck is called: they stay as they are."""
    return msgspec.structs.replace(account, verdict=runnable_verdict(account.verdict)) if account.live else account


def runnable_verdict(verdict: Verdict) -> Verdict:
    """A verdict on this machine with runnable commands in its steps and notes."""
    findings = tuple(
        msgspec.structs.replace(one, help=tuple(map(runnable, one.help)), notes=tuple(map(runnable, one.notes)))
        for one in verdict.findings)
    problems = tuple(
        msgspec.structs.replace(one, help=tuple(map(runnable, one.help))) for one in verdict.problems)
    return msgspec.structs.replace(verdict, findings=findings, problems=problems)


def _shortest(called: str) -> str:
    found = shutil.which("boxcheck")
    return "boxcheck" if found is not None and os.path.realpath(found) == os.path.realpath(called) else called

"""Commands of boxcheck's own that run as they are printed, by whoever started this one."""

from __future__ import annotations

import os
import shlex
import shutil
import sys


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


def _shortest(called: str) -> str:
    found = shutil.which("boxcheck")
    return "boxcheck" if found is not None and os.path.realpath(found) == os.path.realpath(called) else called

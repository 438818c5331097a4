"""Which boxcheck this is: its version, and the commit that it was made from.

In a checkout the commit is read from .git as it lies (gitrepository-layout(5)), without the program git; in an
installation from the file that building it wrote (docs/hatch_hook.py).
"""

from __future__ import annotations

import os
import re

from boxcheck import __version__

COMMIT_FILE = "data/COMMIT"
"""Below the package, in what was built."""
SHORT = 12
_HERE = os.path.dirname(os.path.abspath(__file__))
_HASH = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?(?:-dirty)?")


def source_commit() -> str | None:
    """The first twelve digits, with `-dirty` where more was changed than was committed when it was built. None where
    nobody knows: built outside of git."""
    found = commit_of(os.path.dirname(_HERE)) or _line(os.path.join(_HERE, COMMIT_FILE))
    if found is None or not _HASH.fullmatch(found):
        return None
    return found[:SHORT] + ("-dirty" if found.endswith("-dirty") else "")


def version_line() -> str:
    """`boxcheck 0.1.0 (4bee027f1c2d)`, as --version prints it."""
    return f"boxcheck {__version__} ({source_commit() or 'commit unknown'})"


def commit_of(root: str) -> str | None:
    """The whole hash of what is checked out in a directory; None where it is no checkout of boxcheck."""
    if not os.path.isfile(os.path.join(root, "docs", "hatch_hook.py")):
        return None  # a checkout of something else, in which this package lies
    git = os.path.join(root, ".git")
    linked = _line(git)  # of a worktree it is a file
    if linked is not None and linked.startswith("gitdir: "):
        git = os.path.join(root, linked[8:])
    head = _line(os.path.join(git, "HEAD"))
    if head is None or not head.startswith("ref: "):
        return head
    common = _line(os.path.join(git, "commondir"))
    shared = git if common is None else os.path.join(git, common)
    return _line(os.path.join(shared, head[5:])) or _packed(os.path.join(shared, "packed-refs"), head[5:])


def _packed(path: str, ref: str) -> str | None:
    try:
        with open(path, encoding="ascii") as stream:
            for line in stream:
                commit, _, name = line.strip().partition(" ")
                if name == ref:
                    return commit
    except (OSError, UnicodeDecodeError):
        pass
    return None


def _line(path: str) -> str | None:
    """The first line of a file; None where there is none."""
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.readline(4096).strip() or None
    except (OSError, UnicodeDecodeError):
        return None

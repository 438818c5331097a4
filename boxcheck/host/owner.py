"""Whose a file is that root makes in somebody's folder."""

from __future__ import annotations

import os


def give_to_owner(folder: str, file: int) -> None:
    """Gives an open file to the owner of its folder, who could neither read nor remove it otherwise. Does nothing for
    anybody but root."""
    if os.geteuid() == 0:
        owner = os.stat(folder or ".")
        if owner.st_uid != 0 and os.fstat(file).st_uid == 0:
            os.fchown(file, owner.st_uid, owner.st_gid)

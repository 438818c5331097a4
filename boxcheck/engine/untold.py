"""One line about a run that went down and that nobody has looked at, for the next command.

A writer that ends takes the file of its lock away; one that is killed leaves it. So a folder without such files, the
usual one, costs one listing. `boxcheck judge`, `attach` and `burn --resume` look into the run and take the file away.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

END = ".sqlite.lock"


def left_behind(folder: str) -> list[str]:
    """Stores whose writer went without taking its lock away, the newest name first. Raises nothing."""
    try:
        names = [entry.name for entry in os.scandir(folder) if entry.name.endswith(END)]
    except OSError:
        return []
    if not names:  # before anything is imported: this is asked by every command
        return []
    from boxcheck.store.lock import is_held

    paths = [os.path.join(folder, name.removesuffix(".lock")) for name in sorted(names, reverse=True)]
    return [path for path in paths if os.path.exists(path) and not is_held(path)]


def word_of(folder: str, boot: str | None = None) -> str | None:
    """The line to tell; None where there is nothing to tell, or it cannot be read."""
    from boxcheck.usage import UsageError

    with suppress(UsageError, OSError):  # a StoreError is a UsageError
        for path in left_behind(folder):
            line = _line(path, boot)
            if line is not None:
                return None if _finished_since(folder, path) else line
    return None


def _line(path: str, boot: str | None) -> str | None:
    from boxcheck.engine.aftermath import boot_id
    from boxcheck.engine.survival import cut_sessions, told_by_store
    from boxcheck.store.reader import RunReader
    from boxcheck.store.texts import plain_line
    from boxcheck.stress.survived_checks import situation

    with RunReader(path) as reader:
        cut = cut_sessions(reader)
        run = reader.run()
        if run.state != "crashed" or not cut:
            return None
        down = told_by_store(reader, cut[-1])
        here = boot_id() if boot is None else boot
        rebooted = cut[-1].boot != here if here and cut[-1].boot else None
    import msgspec

    id = plain_line(os.path.basename(path).rpartition(".")[0])
    says = situation(msgspec.structs.replace(down, rebooted=rebooted))
    on = ", boxcheck burn --resume goes on" if run.info.kind == "burn" else ""
    return f"run {id}: {says}; boxcheck judge {id} says why{on}"


def _finished_since(folder: str, path: str) -> bool:
    """Whether a run that began later came to its end: then the box was looked at since."""
    from boxcheck.store.lock import lock_path
    from boxcheck.store.reader import RunReader
    from boxcheck.store.schema import SUFFIX
    from boxcheck.usage import UsageError

    began = os.stat(path).st_mtime
    for entry in os.scandir(folder):
        if entry.name.endswith(SUFFIX) and entry.path != path and entry.name > os.path.basename(path) and (
                entry.stat().st_mtime >= began) and not os.path.exists(lock_path(entry.path)):
            with suppress(UsageError), RunReader(entry.path) as reader:
                if reader.run().state == "finished":
                    return True
    return False


def tell(quiet: bool = False) -> None:
    """Prints that line on standard error. Never an error of the command that is asked for."""
    if quiet:
        return
    from boxcheck.engine.record import state_directory
    from boxcheck.host.live import LiveHost

    line = None
    with suppress(Exception):  # a word on the side; whatever is wrong with those files, the command goes on
        line = word_of(os.path.join(state_directory(LiveHost()), "boxcheck", "runs"))
    if line is not None:
        with suppress(OSError):
            print(line, file=sys.stderr, flush=True)

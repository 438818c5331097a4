"""Long texts on a terminal go through a pager, as those of man and git do."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
from contextlib import suppress


def page(text: str) -> None:
    """Writes `text` to standard output: through $PAGER, else less, where that is a terminal too low for it.

    PAGER=cat shows it all at once. Root gets no pager: one that starts other programs would do so as root.
    """
    if not _wanted(text):
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    import subprocess

    try:
        words = shlex.split(os.environ.get("PAGER") or "less")
    except ValueError:  # a quotation mark that is not closed
        words = []
    program = shutil.which(words[0]) if words else None
    if program is None:
        sys.stdout.write(text)
        return
    # F: ends at once where all fits; R: colours; X: leaves the text on the screen.
    environment = {**os.environ, "LESS": os.environ.get("LESS") or "FRX"}
    sys.stdout.flush()
    with subprocess.Popen([program, *words[1:]], stdin=subprocess.PIPE, env=environment) as reader:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the pager's: it stops a search
        try:
            assert reader.stdin is not None
            with suppress(BrokenPipeError):  # q, before all was read
                reader.stdin.write(text.encode(sys.stdout.encoding or "utf-8", "replace"))
                reader.stdin.close()
            reader.wait()  # as long as somebody reads
        finally:
            signal.signal(signal.SIGINT, before)


def _wanted(text: str) -> bool:
    if not sys.stdout.isatty() or os.geteuid() == 0 or os.environ.get("TERM", "dumb") == "dumb":
        return False
    return text.count("\n") >= shutil.get_terminal_size().lines

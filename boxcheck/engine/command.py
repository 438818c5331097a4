"""A command of the owner's that is watched: started as from a shell, with the terminal its own; or a process that was
there before, by its number.

The command gets a process group of its own, in the foreground where boxcheck was: it reads the terminal, Ctrl-C reaches
it and not boxcheck, Ctrl-Z stops both (setpgid(2), tcsetpgrp(3)). Standard input, output and error are inherited.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from boxcheck.host.common import one_line
from boxcheck.usage import UsageError


class Watched(Protocol):
    """What is watched until it ends."""

    says: str
    """`python train.py`, `process 4711 (python)`."""
    status: int | None
    """Its exit code as a shell has it (128 + the signal that ended it); None where nobody knows, or before."""

    def ended(self) -> bool: ...
    def pass_on(self, number: int) -> bool:
        """Whether a signal for boxcheck is this one's, and was passed on."""
        ...

    def close(self) -> None: ...


def find_program(argv: Sequence[str]) -> str:
    """Path of a command. UsageError where there is none that can be run."""
    found = shutil.which(argv[0])
    if found is not None:
        return found
    shown = one_line(argv[0])
    if os.path.isdir(argv[0]):
        raise UsageError(f"{shown}: is a directory", "name a program")
    if os.path.exists(argv[0]) and "/" in argv[0]:
        raise UsageError(f"{shown}: not executable", f"chmod +x {shown}, or name the interpreter before it")
    raise UsageError(f"{shown}: command not found", "it is looked for as a shell would; aliases are the shell's own")


class Command:
    """A command that was started here."""

    def __init__(self, argv: Sequence[str]) -> None:
        """UsageError where it cannot be started."""
        self.says = one_line(" ".join(argv), 200)
        self.status: int | None = None
        self._terminal = _own_terminal()
        try:
            self._process = subprocess.Popen([*argv], executable=find_program(argv), process_group=0)
        except OSError as error:
            says = os.strerror(error.errno or 0).lower()
            raise UsageError(f"{one_line(argv[0])}: {says}", "start it by hand to see why") from None
        self.pid = self._process.pid
        self._give()

    def ended(self) -> bool:
        """Whether it has. One that was stopped (Ctrl-Z) stops boxcheck as well, as a shell wants it."""
        if self.status is not None:
            return True
        try:
            pid, word = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED)
        except ChildProcessError:  # somebody else took its end
            self._over(None)
            return True
        if pid == 0:
            self._give_where_in_front()
            return False
        if os.WIFSTOPPED(word):
            self._stop_with_it()
            return False
        self._over(os.waitstatus_to_exitcode(word))
        return True

    def _over(self, code: int | None) -> None:
        self.status = 128 - code if code is not None and code < 0 else (code if code is not None else 255)
        self._process.returncode = self.status
        self._take_back()

    def pass_on(self, number: int) -> bool:
        if self.status is not None:
            return False
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)
        return True

    def left_behind(self) -> bool:
        """Whether processes of its group go on after it ended."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, 0)
            return self.status is not None
        return False

    def close(self) -> None:
        self._take_back()

    # The terminal.

    def _give(self) -> None:
        """Puts the command into the foreground, if boxcheck was there."""
        if self._terminal is not None and _foreground(self._terminal) == os.getpgrp():
            _put(self._terminal, self.pid)
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGCONT)  # it may have asked for the terminal before it had it

    def _give_where_in_front(self) -> None:
        """A shell that brings boxcheck to the front means the command."""
        if self._terminal is None:
            self._terminal = _own_terminal()
        self._give()

    def _take_back(self) -> None:
        if self._terminal is not None and _foreground(self._terminal) == self.pid:
            _put(self._terminal, os.getpgrp())

    def _stop_with_it(self) -> None:
        if self._terminal is None or _foreground(self._terminal) not in (self.pid, os.getpgrp()):
            return  # stopped by somebody else, who will go on with it
        self._take_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        # Gone on with, by `fg` or `bg`.
        self._give()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGCONT)


class Process:
    """A process that was there before."""

    def __init__(self, pid: int) -> None:
        """UsageError where there is none."""
        self.status: int | None = None
        self._file: int | None = None
        if pid == os.getpid():
            raise UsageError(f"{pid} is boxcheck itself", "name another process")
        if pid < 1:
            raise UsageError(f"{pid} is no process", "pgrep -f WORDS finds its number")
        try:
            self._file = os.pidfd_open(pid)
        except ProcessLookupError:
            raise UsageError(f"no process has the number {pid}", "pgrep -f WORDS finds it") from None
        except OSError as error:
            if _begun(pid) is None:
                says = os.strerror(error.errno or 0).lower()
                raise UsageError(f"process {pid} cannot be followed: {says}", "name its first thread") from None
        self._pid, self._begun = pid, _begun(pid)
        name = ""
        with suppress(OSError):
            name = one_line(Path(f"/proc/{pid}/comm").read_text().strip())
        self.says = f"process {pid}{f' ({name})' if name else ''}"

    def ended(self) -> bool:
        import select

        if self._file is not None:
            poll = select.poll()
            poll.register(self._file, select.POLLIN)
            return bool(poll.poll(0))
        return _begun(self._pid) != self._begun

    def pass_on(self, number: int) -> bool:
        """It is not boxcheck's: a signal ends the watching."""
        return False

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


class Nothing:
    """Nothing but the machine, until somebody says that it is enough, or for a time."""

    def __init__(self, seconds: float | None = None) -> None:
        self.says = "the machine"
        self.status: int | None = None
        self._end = None if seconds is None else time.monotonic() + seconds

    def ended(self) -> bool:
        return self._end is not None and time.monotonic() >= self._end

    def pass_on(self, number: int) -> bool:
        return False

    def close(self) -> None:
        """There is nothing to close."""


def _begun(pid: int) -> str | None:
    """When a process began, in ticks since boot: field 22 of /proc/PID/stat (proc(5)); None where there is none."""
    with suppress(OSError, IndexError, UnicodeDecodeError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return None


def _own_terminal() -> int | None:
    """The descriptor of the terminal that boxcheck belongs to, where that is its standard input."""
    return 0 if _foreground(0) is not None else None


def _foreground(terminal: int) -> int | None:
    try:
        return os.tcgetpgrp(terminal)
    except OSError:
        return None


def _put(terminal: int, group: int) -> None:
    """A process in the background that does this is stopped by SIGTTOU, unless it blocks it (tcsetpgrp(3))."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        with suppress(OSError):
            os.tcsetpgrp(terminal, group)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

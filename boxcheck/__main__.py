"""Entry point of `boxcheck` and `python -m boxcheck`."""

from __future__ import annotations

import os
import sys
from types import FrameType

_asked: list[int] = []
"""Signals that asked this process to end."""


class Ended(KeyboardInterrupt):
    """A signal asked for the end. A KeyboardInterrupt itself, when it leaves a text that `exec` runs (as dataclasses
    have it), makes `python -m` end itself by SIGINT whatever the exit code is; a class below it does not."""


def main() -> None:
    """Runs the command line; `--version` alone answers without importing anything else."""
    _open_streams()
    if sys.argv[1:] == ["--version"]:
        from boxcheck.version import version_line

        try:
            print(version_line(), flush=True)
        except OSError as error:
            print(f"error: standard output: {os.strerror(error.errno or 0).lower()}", file=sys.stderr)
            os._exit(2)  # without another try to write at exit
        return
    import signal

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) not in (signal.SIG_IGN, None):  # nohup has SIGHUP ignored
            signal.signal(number, _end)
    sys.unraisablehook = _ask_again
    try:
        _run()
    except BaseException:  # what the signal raised may have been made into something else on its way
        if not _asked:
            raise
        _end_programs()
        if "_BOXCHECK_COMPLETE" not in os.environ:  # between TAB and Ctrl-C nobody waited for one
            print("interrupted before a verdict", file=sys.stderr)
        sys.exit(128 + _asked[0])


def _run() -> None:
    import atexit
    import gc

    gc.set_threshold(100_000, 50, 50)  # modules and facts are many, small and all kept; walking over them costs 5 %
    atexit.register(gc.freeze)  # nor is there a use in walking over all of them once more when everything ends: 7 %
    if os.geteuid() == 0 and "SUDO_UID" in os.environ:
        _leave_no_byte_code()
    from boxcheck.cli import run

    run()


def _leave_no_byte_code() -> None:
    """Root's files in a user's checkout, which that user could not remove. Holds for the processes that are started,
    too; what was written before this line ran is given to the checkout's owner."""
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    from contextlib import suppress

    import boxcheck
    from boxcheck.host.owner import give_to_owner

    for file in (getattr(boxcheck, "__cached__", None), globals().get("__cached__")):
        for path in (os.path.dirname(file), file) if file else ():
            with suppress(OSError):
                opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
                try:
                    give_to_owner(os.path.dirname(path), opened)
                finally:
                    os.close(opened)


def _end(number: int, _: FrameType | None) -> None:
    """Ends the process as an exception does: what is being written is taken back on the way out."""
    import signal

    signal.signal(number, signal.SIG_DFL)  # the next one ends it at once
    _asked.append(number)
    programs = sys.modules.get("boxcheck.host.programs")
    if programs is None or not programs.wait_for_start(_raise):
        _raise()


def _raise() -> None:
    raise Ended


def _ask_again(told: sys.UnraisableHookArgs) -> None:
    """An exception that leaves a weak reference's callback or a finaliser is printed and forgotten, and the wish to end
    with it: it is raised once more when that is over."""
    if not isinstance(told.exc_value, Ended):
        sys.__unraisablehook__(told)
        return
    import signal

    signal.signal(signal.SIGALRM, lambda number, frame: _raise())
    signal.setitimer(signal.ITIMER_REAL, 0.001)


def _end_programs() -> None:
    programs = sys.modules.get("boxcheck.host.programs")
    if programs is not None:
        programs.end_started()


def _open_streams() -> None:
    """A standard stream that was closed becomes /dev/null. Else the next file to be opened takes its number, and what
    is printed goes there."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            mode = "r" if number == 0 else "w"
            stream = os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8", closefd=False)
            setattr(sys, name, stream)
    for told in (sys.stdout, sys.stderr):
        if not told.encoding.lower().startswith("utf") and hasattr(told, "reconfigure"):
            from codecs import register_error

            register_error("boxcheck", _unencodable)
            told.reconfigure(errors="boxcheck")


def _unencodable(error: UnicodeError) -> tuple[str, int]:
    """What a terminal cannot show is no reason to end: what comes nearest in ASCII stands in its place."""
    from boxcheck.report.encoding import like_it

    return like_it(error)


if __name__ == "__main__":
    main()

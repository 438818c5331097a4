"""How a worker came to its end without saying so, and what is to be said of that: a silence, a crash.

Both are faults of the GPU or its driver only while the work itself ran. Before it a driver that starts, or a compiler,
may be slow or broken; a library of the vendor runs on the host as well, so its crash is its own.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from boxcheck.engine.messages import Failed, Stage
from boxcheck.engine.process import Worker
from boxcheck.engine.start import LATE

STUCK: Mapping[Stage, str] = {"open": "stuck-opening", "build": "stuck-building", "load": "hang", "library": "hang"}
CRASHED: Mapping[Stage, str] = {
    "open": "crashed-opening", "build": "crashed-building", "load": "crash", "library": "crashed-library"}
"""Kinds of Failed by what the worker was at."""

_NO_PROOF: Mapping[Stage, str] = {
    "open": "the GPU did no work yet: look at its driver (boxcheck doctor), then run it again",
    "build": "the GPU did no work meanwhile: look at the compiler and the driver, then run it again",
    "load": "look into the kernel log: boxcheck triage",
    "library": "look into the kernel log: boxcheck triage; with --option engine=own the library is left out",
}
_WHILE: Mapping[Stage, str] = {
    "open": " before its work began", "build": " while it built a kernel", "load": "",
    "library": " while a library of the vendor worked"}
_LIBRARY_CRASHED = (
    "run it again with --option engine=own: what crashes only with the library is the library's fault, or that of its "
    "version; install library and driver of one release")
_UNLINKED = "Final linking of kernel"
"""PoCL's last words where the linker or a library of its is missing. It links when a kernel is first put in a queue."""
_NO_LINKER = "PoCL links its kernels with ld, libgcc and libc: sudo apt install gcc libc6-dev (Fedora: gcc)"


def hung(worker: Worker, silent: float) -> Failed:
    """Ends a worker that gave no sign of life for so many seconds."""
    gone, stage = worker.end(), worker.stage
    stays = "" if gone else "; its process cannot be killed, it hangs in the kernel's driver: reboot to free the GPU"
    return Failed(STUCK[stage], f"no sign of life for {silent:.0f} s{_WHILE[stage]}{stays}", _NO_PROOF[stage])


def crashed(worker: Worker) -> Failed:
    """Of a worker whose process is gone, or whose pipe is closed: how it ended. What it left behind is ended too."""
    how, stage = worker.how_it_ended(), worker.stage
    worker.end()
    if _UNLINKED in how:
        return Failed(CRASHED["build"], f"the worker {how}", _NO_LINKER)
    help = {"load": "", "library": _LIBRARY_CRASHED}.get(stage, _NO_PROOF[stage])
    return Failed(CRASHED[stage], f"the worker {how}{_WHILE[stage]}", help)


def with_last_words(failed: Failed, text: str | None) -> Failed:
    """A hang or a crash, with what the worker was doing."""
    if failed.kind not in (*STUCK.values(), *CRASHED.values(), LATE) or not text:
        return failed
    return msgspec.structs.replace(failed, says=f"{failed.says}; it was at: {text}")

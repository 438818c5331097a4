"""A process that ends with the one that started it, whatever it is doing.

Since   Linux 2.1.57 (prctl PR_SET_PDEATHSIG)
By hand man 2 PR_SET_PDEATHSIG
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1
"""Of linux/prctl.h: a signal to this process when the one that started it ends."""


def die_with_parent(parent: int | None = None) -> None:
    """Has the kernel kill this process when the thread that started it is gone. A thread that listens for the end of a
    pipe does not suffice: some bindings (hip-python before 10) keep it from running while a call of theirs hangs.

    `parent` is the process that started this one: when it is gone already, this process ends here.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        os._exit(1)

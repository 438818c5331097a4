"""What holds for every test."""

from __future__ import annotations

import ctypes
import ctypes.util
import itertools
import os
import resource
import signal
from pathlib import Path

import pytest

# Readers of made-up trees keep their files open, and not every test closes its reader: a whole run holds over a thousand.
_soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (max(_soft, min(8192, _hard)), _hard))
# Whoever starts the tests may ignore these (nohup, a shell's background), and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
for _number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(_number, signal.SIG_DFL)
os.environ.setdefault("BOXCHECK_LOCK", f"boxcheck-test-{os.getpid()}")
"""A run of this machine's own must neither stop a test nor be stopped by one."""
_NUMBERS = itertools.count()

_LIBRARY = ctypes.CDLL(ctypes.util.find_library("m") or None)
_FE_DFL_ENV = ctypes.c_void_p(-1)
"""fenv.h of glibc on x86: the floating-point environment that a program starts with."""


@pytest.fixture(autouse=True)
def marks(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where root's marks of changed links go: one place a test, made when something is marked."""
    place = tmp_path_factory.getbasetemp() / f"marks-{next(_NUMBERS)}"
    monkeypatch.setenv("BOXCHECK_MARKS", str(place))
    return place


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Libraries that are compiled for speed (OpenCL's among them) leave the thread that loads them with subnormal numbers
    flushed to zero, and other tests need those."""
    if hasattr(_LIBRARY, "fesetenv"):
        _LIBRARY.fesetenv(_FE_DFL_ENV)

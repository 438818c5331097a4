"""What holds for every test."""

from __future__ import annotations

import ctypes
import ctypes.util
import itertools
import os
import resource
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from tests.kernel.units import unit

if TYPE_CHECKING:
    from xdist.scheduler import LoadFileScheduling

# Readers of made-up trees keep their files open, and not every test closes its reader: a whole run holds over a thousand.
_soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (max(_soft, min(8192, _hard)), _hard))
# Whoever starts the tests may ignore these (nohup, a shell's background), and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
for _number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(_number, signal.SIG_DFL)
os.environ["BOXCHECK_LOCK"] = f"boxcheck-test-{os.getpid()}"
"""A run of this machine's own must neither stop a test nor be stopped by one; nor one of the processes that share the tests
another."""
# Programs of Python are started some thousand times; without their byte code each start takes four times as long.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# How long an example takes is other processes' doing too.
settings.register_profile("boxcheck", deadline=None)
settings.load_profile("boxcheck")
_NUMBERS = itertools.count()
MOST_PROCESSES = 8
"""Each takes up to a gigabyte of memory."""
KERNEL_BENCH = os.path.join(os.path.dirname(__file__), "kernel")

_LIBRARY = ctypes.CDLL(ctypes.util.find_library("m") or None)
_FE_DFL_ENV = ctypes.c_void_p(-1)
"""fenv.h of glibc on x86: the floating-point environment that a program starts with."""


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """All tests are shared among the processors, and those of the kernel bench alone; named files run in this process.
    xdist itself would count cores where psutil is installed, and two threads of one core are two processors here."""
    named = config.args_source is not pytest.Config.ArgsSource.TESTPATHS
    if named and not all(os.path.abspath(word) == KERNEL_BENCH for word in config.args):
        return 0
    return min(len(os.sched_getaffinity(0)), MOST_PROCESSES)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    """What one process runs as a whole is a file, since much is made once a module; of the kernel bench also those tests of
    a file that share a guest."""
    from xdist.scheduler import LoadFileScheduling

    class Units(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return unit(nodeid) or super()._split_scope(nodeid)

    return Units(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest units first: begun last, they would run while the other processes are idle."""
    items.sort(key=lambda item: unit(item.nodeid) is None)


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

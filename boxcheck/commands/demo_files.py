"""What `boxcheck demo` shows: files that come with boxcheck, all of machines that were built, none of a real one.

`python -m tests.demo` in a checkout makes them; boxcheck/data/demo/README.md says how.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

import msgspec

from boxcheck.usage import UsageError, nearest

FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data", "demo")
UNPACKED_LIMIT_BYTES = 64 << 20


class Box(msgspec.Struct, frozen=True, kw_only=True):
    """A capture of a built machine."""

    name: str
    file: str
    built_of: str
    """Name of the box in tests/boxes."""
    title: str


BOXES = (
    Box(name="wopr", file="wopr-bad-riser.tar.zst", built_of="wopr-7x4090+riser-x8",
        title="seven RTX 4090 on risers; the one in slot PCIE3 lost half its lanes"),
    Box(name="tinybox-red", file="tinybox-red-hidden-gen3.tar.zst",
        built_of="tinybox-red+hidden-gen3-behind-1478",
        title="six RX 7900 XTX; one slot runs at 8 GT/s, and the card's own switch shows 16"),
    Box(name="strix-halo", file="strix-halo-memory.tar.zst", built_of="strix-halo+strix-memory-default-half",
        title="a Strix Halo whose GPU may use half of the memory only"),
)
RUN, RUN_TITLE = "wopr-burn.sqlite.zst", "a burn-in of seven RTX 4090; the riser of slot PCIE3 fails under load"
LOG, LOG_BUILT_OF = "dmesg.txt", "wopr-7x4090+badtlp-root-port+gpu-fallen-off"
LOG_TITLE = "a kernel log in which a GPU fell off the bus"
NOTEBOOK, NOTEBOOK_TITLE = "riser-notebook.json", "which of slot, riser and card damages a link, over two boots"


def path_of(file: str) -> str:
    """Of a file of the demo. UsageError where the installation lacks it."""
    path = os.path.join(FOLDER, file)
    if not os.path.isfile(path):
        raise UsageError(f"{path}: no such file", "this installation of boxcheck is not whole; install it again")
    return path


def box_named(name: str) -> Box:
    """UsageError where no demo has that name."""
    for one in BOXES:
        if one.name == name:
            return one
    names = [one.name for one in BOXES]
    raise UsageError(f"no demo has a box {name!r}", nearest(name, names) or f"there are {', '.join(names)}")


@contextmanager
def unpacked_run() -> Iterator[str]:
    """Path of the demo's run, in a folder of its own that is removed at the end: SQLite needs a file."""
    import zstandard

    with open(path_of(RUN), "rb") as stream:
        data = zstandard.ZstdDecompressor().decompress(stream.read(), max_output_size=UNPACKED_LIMIT_BYTES)
    with TemporaryDirectory(prefix="boxcheck-demo-") as folder:
        path = os.path.join(folder, "demo-wopr-burn.sqlite")
        with open(path, "wb") as out:
            out.write(data)
        yield path

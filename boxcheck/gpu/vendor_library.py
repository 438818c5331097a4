"""What every vendor's library needs here: finding its file, declaring its functions, its errors, the device's numbers.

Libraries are opened by ctypes, so that no Python package is needed for them. One that is not there, lacks a function or
refuses a product never ends a run: that is a `LibraryError`, or an `Unread` with the reason. One that crashes takes the
process with it, which is why a line on standard error says first what is tried: the supervisor shows the last one.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from boxcheck.gpu import Buffer, Gpu, GpuError
from boxcheck.gpu.device import DriverGpu
from boxcheck.gpu.device_parts import span
from boxcheck.kernels.matrix import ElementName, Layout
from boxcheck.model import Unread

T = TypeVar("T")
Shape = tuple[int, int, int]


class LibraryError(GpuError):
    """What a vendor's library refused. The device is well, as far as this tells."""


class Library(Protocol):
    """A vendor's BLAS with a handle on one device. Its work goes to queue 0."""

    name: str
    """`cublas`."""
    version: str
    """`13.1.0`."""
    layout: Layout
    """How A and B must lie."""
    elements: frozenset[ElementName]

    def multiply(self, element: ElementName, a: Buffer, b: Buffer, c: Buffer, shape: Shape, narrow: bool) -> None:
        """Starts C = A B^T; does not wait. C is row-major of fp32, of int32 for int8; with `narrow`, of the element
        itself (fp16 and bf16 alone). LibraryError when the library refuses."""
        ...

    def close(self) -> None:
        """Lets go of the handle. Never raises."""
        ...


def say(text: str) -> None:
    """A line on standard error, which is the last one that is known of a process that crashes."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def opened(paths: Iterable[str], make: Callable[[ctypes.CDLL, str], T], name: str, help: str) -> T | Unread:
    """What `make` gives for the first of the files that works. Unread: `absent` when there is none of them, else what
    was wrong with the first that is there: `unsupported` where it is not made for this GPU, `error`. Never raises."""
    reasons: list[Unread] = []
    for path in paths:
        try:
            return make(ctypes.CDLL(path), path)
        except OSError as error:
            if not _is_missing(path, error):
                reasons.append(Unread(f"{path} cannot be loaded: {_line(error)}", "error"))
        except GpuError as error:
            reasons.append(Unread(error.says, "unsupported" if error.kind == "unsupported" else "error"))
        except Exception as error:  # noqa: BLE001  a vendor's library, used for the first time
            reasons.append(Unread(f"{path} cannot be used: {_line(error)}", "error"))
    return reasons[0] if reasons else Unread(f"{name} was not found ({help})", "absent")


def _is_missing(path: str, error: OSError) -> bool:
    """Whether the file itself is not there, and not one that it needs: dlopen's words begin with the name."""
    words = str(error)
    return words.startswith(f"{path}:") and "No such file" in words


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def files_in(folders: Iterable[Path], names: Sequence[str]) -> Iterator[str]:
    """The files of these names that exist in the folders, the first name first; then the names alone, for the system's
    loader."""
    known = list(dict.fromkeys(folders))
    for name in names:
        yield from (str(folder / name) for folder in known if (folder / name).is_file())
        yield name


def function(library: ctypes.CDLL, path: str, name: str, *arguments: Any) -> Callable[..., int]:
    """A function that gives a status. LibraryError when the library has none of this name."""
    try:
        found = getattr(library, name)
    except AttributeError:
        raise LibraryError("version", f"{path} has no {name}: it is too old, or not that library") from None
    found.argtypes = arguments
    found.restype = ctypes.c_int
    call: Callable[..., int] = found
    return call


def operands(layout: Layout, shape: Shape) -> tuple[tuple[bool, int], tuple[bool, int]]:
    """How a column-major library multiplies so that C comes out row-major: asked for C^T = B A^T, with n as its m.

    Whether each of (B, A), as it lies in memory, is transposed, and its leading dimension. A k-major B [n][k] is, to a
    column-major library, k x n, and must be n x k.
    """
    m, n, k = shape
    return ((True, k), (False, k)) if layout == "k-major" else ((False, n), (True, m))


@contextmanager
def entered(gpu: Gpu, queue: int = 0) -> Iterator[int]:
    """The device made current for this thread, and one of its queues as libraries take it: the number of a stream."""
    if not isinstance(gpu, DriverGpu):
        raise LibraryError("unsupported", f"{gpu.info.key} is driven by no vendor's runtime")
    with gpu.lent(queue) as stream:
        yield stream


def address(buffer: Buffer) -> int:
    """Where a whole buffer lies on its device."""
    return span(buffer, 0, buffer.size_bytes)


class _Loaded(ctypes.Structure):
    """`struct dl_phdr_info`, as far as it is read (link.h)."""

    _fields_ = (("address", ctypes.c_void_p), ("name", ctypes.c_char_p))


def loaded_files(beginning: str) -> list[str]:
    """Paths of the libraries of this process whose file name begins so, each file once, as the loader got them."""
    found: dict[str, str] = {}

    def note(entry: Any, size: int, data: int) -> int:
        path = os.fsdecode(entry.contents.name or b"")
        if os.path.basename(path).startswith(beginning):
            found.setdefault(os.path.realpath(path), path)
        return 0

    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_Loaded), ctypes.c_size_t, ctypes.c_void_p)
    ctypes.CDLL(None).dl_iterate_phdr(kind(note), None)
    return list(found.values())

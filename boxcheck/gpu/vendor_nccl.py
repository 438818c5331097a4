"""NVIDIA's NCCL and AMD's RCCL, as libraries that are found on the machine: three collectives over several GPUs.

Both have the same functions and numbers, for RCCL keeps NCCL's names. Looked for as the BLAS are: NCCL in the wheel's
folder (nvidia-nccl-cu12 and nvidia-nccl-cu13: nvidia/nccl/lib), CUDA_HOME and CUDA_PATH, /usr/local/cuda, the system's
loader; RCCL beside the HIP runtime in use, in ROCM_PATH and ROCM_HOME, the wheels of ROCm, /opt/rocm, the system's
loader. Neither is shipped, none is needed.

One process and one thread drive all GPUs, so the calls of a collective stand between ncclGroupStart and ncclGroupEnd.
The library uses each device's primary context, as boxcheck does. Sums are of ncclUint32, which wrap at 2^32.

A collective that hangs is aborted from another thread after a time: that ends its kernels, and the GPUs stay usable.

What they do beside that is narrowed first. They listen on the loopback interface alone, though one process with all
ranks needs it only to find itself. No file of messages, topology or graphs is written. NCCL_COMM_ID, which opens a port
of a given number, is dropped, and the service that answers questions about a job (RAS, port 28028, NCCL 2.24 and newer)
is off. Warnings go to standard error; NCCL_DEBUG may ask for more. What else is in the environment or in /etc/nccl.conf
holds here as it does for the owner's programs, such as NCCL_P2P_DISABLE.

Source  nccl.h of NCCL 2.32.3, and that library where no GPU is (ncclCommInitAll gives 1, and says that the driver is
too old); NCCL user guide, environment variables; RCCL documentation, environment variables.

By hand: python -c "import ctypes; ctypes.CDLL('libnccl.so.2')"; all_reduce_perf -g 2 of nccl-tests or rccl-tests
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Literal

from boxcheck.gpu import Buffer, Gpu, GpuError, GpuErrorKind
from boxcheck.gpu.vendor_library import LibraryError, address, entered, files_in, function, opened, say
from boxcheck.model import Unread

Name = Literal["nccl", "rccl"]
NAMES: dict[Name, tuple[str, ...]] = {"nccl": ("libnccl.so.2",), "rccl": ("librccl.so.1", "librccl.so")}
INSTALL: dict[Name, str] = {
    "nccl": "pip install nvidia-nccl-cu13 for CUDA 13, nvidia-nccl-cu12 for CUDA 12",
    "rccl": "install ROCm's package rccl, of the ROCm that is here"}
OLDEST = (2, 8)
"""The first that was made for CUDA 11, and so for GPUs of compute capability 8 and newer."""
SUM, UINT32 = 0, 3
"""ncclSum, ncclUint32."""
STATUSES: dict[int, tuple[GpuErrorKind, str]] = {
    1: ("error", "a call of the GPU's driver failed in it"),
    2: ("error", "a call of the operating system failed in it"),
    3: ("error", "it failed inside"),
    4: ("error", "it refuses how it is called"),
    5: ("error", "it refuses how it is called"),
    6: ("error", "it lost the connection between its own parts"),
    8: ("timeout", "it gave up waiting"),
}
"""ncclResult_t."""
SET = {"NCCL_SOCKET_IFNAME": "=lo", "NCCL_RAS_ENABLE": "0", "NCCL_COMM_BLOCKING": "1"}
"""The last: a call that comes back before it is done would have to be asked for its end."""
DROPPED = ("NCCL_COMM_ID", "NCCL_DEBUG_FILE", "NCCL_TOPO_DUMP_FILE", "NCCL_GRAPH_DUMP_FILE")


def open_collectives(gpus: Sequence[Gpu], began: Callable[[str], None] = lambda engine: None) -> Nccl | Unread:
    """The library of the GPUs' vendor with a rank on each of them; or why not: `absent` where there is none,
    `unsupported` for a backend whose vendor has none, `error` where one is there and cannot be used. Never raises.

    `began` is told library and version before its first work on a GPU, for it may hang or crash there.
    """
    backend = gpus[0].info.backend
    vendors: dict[str, tuple[Name, Callable[[], Iterator[str]]]] = {
        "cuda": ("nccl", nccl_paths), "hip": ("rccl", rccl_paths)}
    if backend not in vendors:
        return Unread(f"the backend {backend} has no library of a vendor", "unsupported")
    name, paths = vendors[backend]

    def make(library: ctypes.CDLL, path: str) -> Nccl:
        return Nccl(name, gpus, library, path, began)

    try:
        return opened(paths(), make, name.upper(), INSTALL[name])
    except Exception as error:  # noqa: BLE001  looking for a library must not end a run
        return Unread(f"looking for the vendor's library failed: {error}", "error")


def nccl_paths() -> Iterator[str]:
    from boxcheck.gpu.vendor_cublas import folders

    return files_in(folders(("nccl",)), NAMES["nccl"])


def rccl_paths() -> Iterator[str]:
    from boxcheck.gpu.vendor_rocblas import folders

    return files_in(folders("rccl"), NAMES["rccl"])


class Nccl:
    """NCCL or RCCL with a rank on each of several devices of one process."""

    def __init__(
        self, name: Name, gpus: Sequence[Gpu], library: ctypes.CDLL, path: str, began: Callable[[str], None]
    ) -> None:
        pointer, number, size = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t
        self.name: Name = name
        self._gpus = tuple(gpus)
        init = function(library, path, "ncclCommInitAll", ctypes.POINTER(pointer), number, ctypes.POINTER(number))
        self._group_start = function(library, path, "ncclGroupStart")
        self._group_end = function(library, path, "ncclGroupEnd")
        self._all_reduce = function(
            library, path, "ncclAllReduce", pointer, pointer, size, number, number, pointer, pointer)
        self._reduce_scatter = function(
            library, path, "ncclReduceScatter", pointer, pointer, size, number, number, pointer, pointer)
        self._all_gather = function(library, path, "ncclAllGather", pointer, pointer, size, number, pointer, pointer)
        self._destroy = function(library, path, "ncclCommDestroy", pointer)
        self._abort = function(library, path, "ncclCommAbort", pointer)
        self._says = _says(library)
        told = version_of(function(library, path, "ncclGetVersion", ctypes.POINTER(number)))
        self.version = ".".join(map(str, told))
        self.engine = f"{name} {self.version}"
        if told < OLDEST:
            oldest = ".".join(map(str, OLDEST))
            raise LibraryError("version", f"{path} is {self.engine}, older than {oldest}", INSTALL[name])
        if name == "rccl":
            from boxcheck.gpu.vendor_rocblas import check_runtime

            check_runtime(path, "RCCL")
        narrow_environment()
        say(f"trying {self.engine} ({path}); --option engine=own leaves it out")
        began(self.engine)
        self._lock = threading.Lock()
        self._aborted = False
        ranks = len(self._gpus)
        self._comms = (pointer * ranks)()
        with entered(self._gpus[0]):
            devices = (number * ranks)(*(gpu.info.index for gpu in self._gpus))
            self._must(init(self._comms, ranks, devices), "ncclCommInitAll")

    # Each starts a collective on a queue of every device; none waits. `words` are of 32 bits. LibraryError when the
    # library refuses.

    def all_reduce(self, send: Sequence[Buffer], out: Sequence[Buffer], words: int, queue: int) -> None:
        """Every rank's `out` becomes the sum of all `send`."""
        self._group("ncclAllReduce", queue, lambda rank, comm, stream: self._all_reduce(
            address(send[rank]), address(out[rank]), words, UINT32, SUM, comm, stream))

    def reduce_scatter(self, send: Sequence[Buffer], out: Sequence[Buffer], words: int, queue: int) -> None:
        """Rank r's `out` becomes the r-th part, of so many words, of the sum of all `send`."""
        self._group("ncclReduceScatter", queue, lambda rank, comm, stream: self._reduce_scatter(
            address(send[rank]), address(out[rank]), words, UINT32, SUM, comm, stream))

    def all_gather(self, send: Sequence[Buffer], out: Sequence[Buffer], words: int, queue: int) -> None:
        """Every rank's `out` becomes so many words of each `send`, one after the other."""
        self._group("ncclAllGather", queue, lambda rank, comm, stream: self._all_gather(
            address(send[rank]), address(out[rank]), words, UINT32, comm, stream))

    def _group(self, call: str, queue: int, start: Callable[[int, Any, int], int]) -> None:
        streams = []
        for gpu in self._gpus:  # before the group: one that is left half full would wait for ranks that never come
            with entered(gpu, queue) as stream:
                streams.append(stream)
        self._must(self._group_start(), "ncclGroupStart")
        status = 0
        for rank, stream in enumerate(streams):
            status = status or start(rank, self._comms[rank], stream)
        ended = self._group_end()
        self._must(status, call)
        self._must(ended, f"{call}, ncclGroupEnd")

    @contextmanager
    def within(self, seconds: float, doing: str) -> Iterator[None]:
        """The block starts a collective and waits for it. One that takes longer is aborted: LibraryError of kind
        `timeout`, after which only `close` may be called."""
        timer = threading.Timer(seconds, self._abort_all)
        timer.daemon = True
        timer.start()
        try:
            yield
        except LibraryError:
            if not self._aborted:
                raise
        finally:
            timer.cancel()
        with self._lock:
            if self._aborted:
                raise LibraryError(
                    "timeout", f"{self.engine}: {doing} did not end within {seconds:g} s and was aborted")

    def _abort_all(self) -> None:
        with self._lock:
            self._aborted = True
        self.close(abort=True)

    def _must(self, status: int, call: str) -> None:
        if status:
            kind, says = STATUSES.get(status, ("error", "it reports an error that boxcheck does not know"))
            words = self._says(status)
            raise LibraryError(
                kind, f"{self.engine}: {says} ({call}: status {status}{': ' + words if words else ''})")

    def close(self, abort: bool = False) -> None:
        """Lets go of the ranks; with `abort`, also of what runs, as after an error. Never raises."""
        with self._lock:
            comms, self._comms = self._comms, (ctypes.c_void_p * len(self._gpus))()
        if abort and any(comms):  # in a group, as the ranks of one process may wait for each other
            self._group_start()
            for comm in filter(None, comms):
                self._abort(comm)
            self._group_end()
            return
        for gpu, comm in zip(self._gpus, comms, strict=True):
            with suppress(GpuError), entered(gpu):
                if comm:
                    self._destroy(comm)


def _says(library: ctypes.CDLL) -> Callable[[int], str]:
    """What the library says of its last error; of the status alone where it is older than 2.13."""
    last, meaning = getattr(library, "ncclGetLastError", None), getattr(library, "ncclGetErrorString", None)
    if last is not None:
        last.argtypes, last.restype = (ctypes.c_void_p,), ctypes.c_char_p
    if meaning is not None:
        meaning.argtypes, meaning.restype = (ctypes.c_int,), ctypes.c_char_p

    def says(status: int) -> str:
        told = (last(None) if last is not None else b"") or (meaning(status) if meaning is not None else b"") or b""
        return " ".join(told.decode("utf-8", "replace").split())[:200]

    return says


def version_of(get_version: Callable[..., int]) -> tuple[int, ...]:
    """(2, 32, 3) of 23203; up to 2.8 a number has four digits (NCCL_VERSION, nccl.h). (0,) where it is not told."""
    code = ctypes.c_int()
    if get_version(ctypes.byref(code)):
        return (0,)
    unit = 10_000 if code.value >= 10_000 else 1000
    return code.value // unit, code.value % unit // 100, code.value % 100


def narrow_environment() -> None:
    """Sets what the library may do beside its collectives, for this process. It reads that once, when it starts."""
    for name in DROPPED:
        os.environ.pop(name, None)
    os.environ.update(SET)
    os.environ.setdefault("NCCL_DEBUG", "WARN")

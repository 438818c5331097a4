"""OpenCL: any device that a vendor's ICD, rusticl or PoCL shows.

The way to test a GPU whose ROCm or CUDA does not come up, and the way to run every kernel on a processor. Devices of
one platform share a context. Copies between GPUs go by way of the host there, so `can_access` is true only between
processors, whose memory is one.

Source  OpenCL 3.0 specification; cl_khr_pci_bus_info, cl_nv_device_attribute_query, cl_amd_device_topology for
addresses.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from boxcheck.gpu import Argument, Buffer, Gpu, GpuError, GpuErrorKind, GpuInfo, Mark, Place
from boxcheck.kernels import Source
from boxcheck.model import Bdf

_PROBE = "__kernel void probe(__global uint *p) { p[get_global_id(0)] = 1u; }"
_TYPES = {"buffer": None, "u32": np.uint32, "u64": np.uint64, "i32": np.int32, "f32": np.float32}
_KINDS: dict[int, GpuErrorKind] = {
    -1: "no-device", -2: "busy", -4: "out-of-memory", -5: "out-of-memory", -6: "out-of-memory", -61: "out-of-memory",
    -11: "compile", -1001: "no-driver", -36: "lost", -14: "lost",
}
"""Codes of CL/cl.h: device not found, not available, allocation failed, out of resources, out of host memory, invalid
buffer size, build failed, no platform, invalid queue, an event waited for failed."""


def _keep_caches_ours() -> None:
    """pyopencl keeps pickles in its cache, and PoCL machine code: who can write there decides what this process runs.
    So pyopencl keeps none, and root takes PoCL's from its own home, never from that of the user who called sudo."""
    os.environ["PYOPENCL_NO_CACHE"] = "1"
    if os.geteuid() == 0:
        import pwd

        own = os.path.join(pwd.getpwuid(0).pw_dir, ".cache", "pocl")
        given = os.environ.get("POCL_CACHE_DIR") or os.path.join(
            os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache"), "pocl")
        os.environ["POCL_CACHE_DIR"] = given if _only_roots(given) else own


def _only_roots(path: str) -> bool:
    """Whether this folder, or the nearest one above it that is there, is root's and nobody else may write it."""
    while not os.path.lexists(path) and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    try:
        status = os.stat(path)
    except OSError:
        return False
    return status.st_uid == 0 and not status.st_mode & 0o022


def _library() -> Any:
    _keep_caches_ours()
    try:
        import pyopencl
    except ImportError as error:
        raise GpuError(
            "no-binding", f"pyopencl is not installed ({error})", "pip install 'boxcheck[opencl]'") from None
    except Exception as error:  # noqa: BLE001  a broken OpenCL loader raises whatever it likes
        raise GpuError("version", f"pyopencl cannot be loaded: {error}") from None
    return pyopencl


@contextmanager
def _told(cl: Any, doing: str) -> Iterator[None]:
    """Turns pyopencl's errors into GpuError."""
    try:
        yield
    except cl.Error as error:
        code = getattr(error, "code", 0)
        kind = _KINDS.get(code, "error")
        words = " ".join(str(error).split())
        raise GpuError(kind, f"OpenCL: {doing}: {words[:600]}") from None


_SIMULATORS = ("Oclgrind",)
"""Platforms that say they are a GPU, and interpret kernels for their author's eyes."""


def _all_devices(cl: Any) -> list[Any]:
    try:
        platforms = [one for one in cl.get_platforms() if one.name.strip() not in _SIMULATORS]
    except cl.Error:
        platforms = []
    if not platforms:
        raise GpuError(
            "no-driver", "no OpenCL platform is installed",
            "install the vendor's ICD or rusticl for a GPU; pip install 'boxcheck[opencl]' brings PoCL for processors")
    found = []
    for platform in platforms:
        with suppress(cl.Error):
            found += platform.get_devices()
    if not found:
        names = ", ".join(platform.name.strip() for platform in platforms)
        raise GpuError("no-device", f"the OpenCL platforms show no device ({names})")
    return found


def _bdf(device: Any) -> Bdf | None:
    with suppress(Exception):
        pci = device.pci_bus_info_khr
        return Bdf(f"{pci.pci_domain:04x}:{pci.pci_bus:02x}:{pci.pci_device:02x}.{pci.pci_function:x}")
    with suppress(Exception):
        slot = device.pci_slot_id_nv
        return Bdf(f"{device.pci_domain_id_nv:04x}:{device.pci_bus_id_nv:02x}:{slot >> 3:02x}.{slot & 7:x}")
    with suppress(Exception):
        amd = device.topology_amd
        return Bdf(f"0000:{amd.bus & 0xFF:02x}:{amd.device:02x}.{amd.function:x}")
    return None


def _arch(device: Any) -> str:
    with suppress(Exception):
        return f"sm_{device.compute_capability_major_nv}{device.compute_capability_minor_nv}"
    match = re.search(r"\bgfx[0-9a-f]+\b", device.name)
    return match[0] if match else "opencl"


def _info(cl: Any, index: int, device: Any) -> GpuInfo:
    is_gpu = bool(device.type & cl.device_type.GPU)
    name = device.name.strip()
    with suppress(Exception):
        name = device.board_name_amd.strip() or name
    return GpuInfo(
        backend="opencl", index=index, name=name, arch=_arch(device), bdf=_bdf(device),
        memory_bytes=device.global_mem_size, free_bytes=device.global_mem_size,
        compute_units=device.max_compute_units, unified=bool(device.host_unified_memory), is_gpu=is_gpu,
        driver=f"{device.platform.name.strip()} {device.driver_version.strip()}",
    )


def _compiles(cl: Any, device: Any) -> bool:
    """Whether a processor's platform can compile at all: one whose LLVM is older than the processor refuses every
    program (`unknown target CPU 'generic'`, pocl issue 1049)."""
    try:
        cl.Program(cl.Context([device]), _PROBE).build()
    except cl.Error:
        return False
    return True


def _usable(cl: Any) -> list[Any]:
    """Those whose platform compiles. Every platform of processors shows the same ones, so the first that compiles has
    them: two installations of PoCL do not make two devices of one."""
    found, refused = [], []
    answers: dict[tuple[str, str], bool] = {}
    processors = None
    for device in _all_devices(cl):
        key = (device.platform.version, device.name)
        if not device.type & cl.device_type.GPU and processors not in (None, device.platform):
            continue
        if device.type & cl.device_type.GPU:
            answers[key] = True
        elif key not in answers:
            answers[key] = _compiles(cl, device)
        if answers[key] and device.max_work_group_size >= 256:
            found.append(device)
            if not device.type & cl.device_type.GPU:
                processors = device.platform
        else:
            refused.append(device)
    if not found:
        names = ", ".join(sorted({device.platform.version.strip()[:60] for device in refused}))
        raise GpuError(
            "version", f"no OpenCL device can run kernels: the compiler of {names} does not know this processor",
            "install a newer PoCL: apt-get install pocl-opencl-icd")
    return found


def devices() -> tuple[GpuInfo, ...]:
    """Every OpenCL device that compiles and runs kernels."""
    cl = _library()
    with _told(cl, "list devices"):
        return tuple(_info(cl, index, device) for index, device in enumerate(_usable(cl)))


_CONTEXTS: dict[int, Any] = {}
"""Context of each platform of this process: memory is shared only within one."""


def open_gpu(index: int) -> Gpu:
    cl = _library()
    with _told(cl, "open device"):
        usable = _usable(cl)
        if not 0 <= index < len(usable):
            raise GpuError("no-device", f"there is no OpenCL device {index}; {len(usable)} are here")
        device = usable[index]
        platform = device.platform.int_ptr
        if platform not in _CONTEXTS:
            _CONTEXTS[platform] = cl.Context([one for one in usable if one.platform == device.platform])
        return OpenClGpu(cl, device, _info(cl, index, device), _CONTEXTS[platform])


class OpenClBuffer:
    def __init__(self, handle: Any, size_bytes: int) -> None:
        self.handle = handle
        self.size_bytes = size_bytes

    def free(self) -> None:
        if self.handle is not None:
            self.handle.release()
            self.handle = None


class OpenClHostBuffer:
    def __init__(self, array: npt.NDArray[np.uint8], handle: Any) -> None:
        self.array = array
        self.size_bytes = len(array)
        self.pinned = handle is not None
        self._handle = handle

    def free(self) -> None:
        self.array = np.empty(0, np.uint8)
        if self._handle is not None:
            self._handle.release()
            self._handle = None


class OpenClProgram:
    def __init__(self, source: Source, kernels: dict[str, Any], log: str) -> None:
        self.source = source
        self.kernels = kernels
        self.log = log


class OpenClMark:
    def __init__(self, event: Any) -> None:
        self.event = event


class OpenClGpu:
    """See `boxcheck.gpu.Gpu`."""

    def __init__(self, cl: Any, device: Any, info: GpuInfo, context: Any) -> None:
        self.info = info
        self._cl = cl
        self._device = device
        self._context = context
        self._queues: dict[int, Any] = {}
        self._buffers: list[OpenClBuffer | OpenClHostBuffer] = []
        self._programs: dict[Source, OpenClProgram] = {}
        self._largest = device.max_mem_alloc_size

    def _queue(self, number: int) -> Any:
        if number not in self._queues:
            profiling = self._cl.command_queue_properties.PROFILING_ENABLE
            with _told(self._cl, "make a queue"):
                self._queues[number] = self._cl.CommandQueue(self._context, self._device, profiling)
        return self._queues[number]

    def free_bytes(self) -> int:
        held = sum(
            buffer.size_bytes for buffer in self._buffers
            if isinstance(buffer, OpenClBuffer) and buffer.handle is not None)
        return max(0, self.info.memory_bytes - held)

    def allocate(self, size_bytes: int) -> OpenClBuffer:
        if size_bytes > self._largest:
            raise GpuError(
                "out-of-memory", f"{size_bytes} bytes are more than this device gives at once ({self._largest})")
        with _told(self._cl, f"allocate {size_bytes} bytes"):
            handle = self._cl.Buffer(self._context, self._cl.mem_flags.READ_WRITE, max(size_bytes, 16))
        buffer = OpenClBuffer(handle, size_bytes)
        self._buffers.append(buffer)
        return buffer

    def host_buffer(self, size_bytes: int, pinned: bool = True) -> OpenClHostBuffer:
        if not pinned:
            return OpenClHostBuffer(np.zeros(size_bytes, np.uint8), None)
        flags = self._cl.mem_flags.READ_WRITE | self._cl.mem_flags.ALLOC_HOST_PTR
        with _told(self._cl, f"allocate {size_bytes} bytes of pinned memory"):
            handle = self._cl.Buffer(self._context, flags, size_bytes)
            array, _ = self._cl.enqueue_map_buffer(
                self._queue(0), handle, self._cl.map_flags.READ | self._cl.map_flags.WRITE, 0, (size_bytes,), np.uint8)
        buffer = OpenClHostBuffer(array, handle)
        self._buffers.append(buffer)
        return buffer

    def write(self, buffer: Buffer, data: npt.NDArray[Any], offset_bytes: int = 0) -> None:
        assert isinstance(buffer, OpenClBuffer)
        with _told(self._cl, "write to the device"):
            self._cl.enqueue_copy(
                self._queue(0), buffer.handle, np.ascontiguousarray(data), dst_offset=offset_bytes, is_blocking=True)

    def read(self, buffer: Buffer, size_bytes: int, offset_bytes: int = 0) -> npt.NDArray[np.uint8]:
        assert isinstance(buffer, OpenClBuffer)
        out = np.empty(size_bytes, np.uint8)
        with _told(self._cl, "read from the device"):
            self._cl.enqueue_copy(
                self._queue(0), out, buffer.handle, src_offset=offset_bytes, is_blocking=True)
        return out

    def copy(
        self, target: Place, source: Place, size_bytes: int, *, target_offset: int = 0, source_offset: int = 0,
        queue: int = 0,
    ) -> None:
        on = self._queue(queue)
        with _told(self._cl, "copy"):
            if isinstance(target, OpenClBuffer) and isinstance(source, OpenClBuffer):
                self._cl.enqueue_copy(
                    on, target.handle, source.handle, byte_count=size_bytes, src_offset=source_offset,
                    dst_offset=target_offset)
            elif isinstance(target, OpenClBuffer) and isinstance(source, OpenClHostBuffer):
                part = source.array[source_offset:source_offset + size_bytes]
                self._cl.enqueue_copy(on, target.handle, part, dst_offset=target_offset, is_blocking=False)
            elif isinstance(target, OpenClHostBuffer) and isinstance(source, OpenClBuffer):
                part = target.array[target_offset:target_offset + size_bytes]
                self._cl.enqueue_copy(on, part, source.handle, src_offset=source_offset, is_blocking=False)
            else:
                raise TypeError("a copy needs memory of the device on one side")

    def build(self, source: Source) -> OpenClProgram:
        if source not in self._programs:
            if source.language != "portable":
                raise GpuError("unsupported", f"{source.name} is no OpenCL text")
            options = [f"-D{name}={value}" for name, value in source.defines]
            try:
                program = self._cl.Program(self._context, source.text).build(options, [self._device])
                kernels = {}
                for declared in source.kernels:
                    kernel = self._cl.Kernel(program, declared.name)
                    kernel.set_scalar_arg_dtypes([_TYPES[param] for param in declared.params])
                    kernels[declared.name] = kernel
            except self._cl.Error as error:
                raise GpuError("compile", f"{source.name} does not compile for {self.info.name}: {error}") from None
            log = program.get_build_info(self._device, self._cl.program_build_info.LOG).strip()
            self._programs[source] = OpenClProgram(source, kernels, log)
        return self._programs[source]

    def launch(
        self, program: Any, kernel: str, groups: int, arguments: Sequence[Argument], *, queue: int = 0
    ) -> None:
        group = program.source.kernel(kernel).group
        handles = [one.handle if isinstance(one, OpenClBuffer) else one for one in arguments]
        with _told(self._cl, f"launch {kernel}"):
            program.kernels[kernel](self._queue(queue), (groups * group,), (group,), *handles)

    def mark(self, queue: int = 0) -> OpenClMark:
        with _told(self._cl, "mark"):
            return OpenClMark(self._cl.enqueue_marker(self._queue(queue)))

    def seconds_between(self, first: Mark, second: Mark) -> float:
        assert isinstance(first, OpenClMark)
        assert isinstance(second, OpenClMark)
        with _told(self._cl, "wait"):
            self._cl.wait_for_events([first.event, second.event])
            return float(second.event.profile.end - first.event.profile.end) / 1e9

    def wait_for(self, mark: Mark, queue: int) -> None:
        assert isinstance(mark, OpenClMark)
        with _told(self._cl, "wait"):
            self._cl.enqueue_marker(self._queue(queue), wait_for=[mark.event])

    def finish(self, queue: int | None = None) -> None:
        with _told(self._cl, "finish"):
            for number in [queue] if queue is not None else list(self._queues):
                self._queue(number).finish()

    def can_access(self, other: Gpu) -> bool:
        return (
            isinstance(other, OpenClGpu) and other is not self and other._context == self._context
            and not (self.info.is_gpu or other.info.is_gpu))

    def enable_peer(self, other: Gpu) -> None:
        if not self.can_access(other):
            raise GpuError("unsupported", "OpenCL gives GPUs no access to each other's memory")

    def release(self) -> None:
        with suppress(Exception):
            for queue in self._queues.values():
                queue.finish()
        for buffer in self._buffers:
            with suppress(Exception):
                buffer.free()
        self._buffers = []

    def close(self) -> None:
        self.release()
        self._queues, self._programs = {}, {}

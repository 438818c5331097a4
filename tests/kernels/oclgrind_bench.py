"""One portable source on Oclgrind's device: buffers of exactly the size that a kernel may touch, and what is in them after."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from boxcheck.gpu import Argument, GpuInfo
from boxcheck.gpu.opencl import OpenClBuffer, OpenClGpu
from boxcheck.kernels import Source
from boxcheck.kernels.matrix import ELEMENTS, ElementName


class Stop(Exception):
    """Enough was seen."""


def simulator() -> OpenClGpu:
    """Oclgrind's device, which must be the only one that the loader shows (OCL_ICD_VENDORS)."""
    import pyopencl as cl

    (platform,) = cl.get_platforms()
    if "oclgrind" not in platform.name.lower():
        raise RuntimeError(f"the OpenCL platform is {platform.name}, not Oclgrind")
    (device,) = platform.get_devices()
    info = GpuInfo(
        backend="opencl", index=0, name=device.name, arch="opencl", bdf=None, memory_bytes=device.global_mem_size,
        free_bytes=device.global_mem_size, compute_units=1, unified=True, is_gpu=False, driver=platform.version)
    return OpenClGpu(cl, device, info, cl.Context([device]))


class Bench:
    """Launches kernels of a source, and notes which were and what came out wrong."""

    def __init__(self, gpu: OpenClGpu, source: Source, enough: Callable[[list[str]], bool]) -> None:
        self.source = source
        self.launched: set[str] = set()
        self.wrong: list[str] = []
        self._gpu = gpu
        self._program = gpu.build(source)
        self._enough = enough

    @property
    def element(self) -> ElementName:
        """That the source is built for."""
        code = dict(self.source.defines)["BC_ELEMENT"]
        return next(element.name for element in ELEMENTS.values() if str(element.code) == code)

    def room(self, size_bytes: int) -> OpenClBuffer:
        """Memory that nobody has written. The backend's own buffers have 16 bytes at least: this one ends where it ends."""
        cl = self._gpu._cl
        return OpenClBuffer(cl.Buffer(self._gpu._context, cl.mem_flags.READ_WRITE, size_bytes), size_bytes)

    def put(self, array: npt.NDArray[Any]) -> OpenClBuffer:
        buffer = self.room(array.nbytes)
        self._gpu.write(buffer, array.reshape(-1))
        return buffer

    def errors(self, most: int, words: int = 6) -> OpenClBuffer:
        """Room for `most` records; only the four words before them are set, as all callers do."""
        buffer = self.room(16 + 4 * words * most)
        self._gpu.write(buffer, np.zeros(4, np.uint32))
        return buffer

    def launch(self, kernel: str, groups: int, *arguments: Argument) -> None:
        """Runs it to its end. Stop where enough was seen."""
        self._gpu.launch(self._program, kernel, groups, arguments)
        self._gpu.finish()
        self.launched.add(kernel)
        if self._enough(self.wrong):
            raise Stop

    def expect(self, what: str, buffer: OpenClBuffer, expected: npt.NDArray[Any]) -> None:
        """That the whole buffer holds this, bit by bit."""
        wanted = np.ascontiguousarray(expected).reshape(-1).view(np.uint8)
        assert buffer.size_bytes == wanted.nbytes, f"{what}: {wanted.nbytes} bytes are expected of {buffer.size_bytes}"
        found = self._gpu.read(buffer, buffer.size_bytes)
        if (found != wanted).any():
            places = np.flatnonzero(found != wanted) // 4
            self._fault(f"{what}: {len(set(places.tolist()))} wrong words, the first is {places[0]}")

    def expect_records(
        self, what: str, errors: OpenClBuffer, most: int, expected: Collection[tuple[int, ...]], words: int = 6
    ) -> None:
        """That all wrong words were counted, and as many as there is room for are told, each once."""
        found = self._gpu.read(errors, errors.size_bytes).view(np.uint32)
        told = [tuple(row) for row in found[4:].reshape(-1, words)[:len(expected)].tolist()]
        if found[0] != len(expected):
            self._fault(f"{what}: {found[0]} were counted, {len(expected)} are wrong")
        elif not set(told) <= set(expected) or len(set(told)) != min(most, len(expected)):
            self._fault(f"{what}: the records are {told}, of {sorted(expected)}")

    def _fault(self, says: str) -> None:
        self.wrong.append(says)
        if self._enough(self.wrong):
            raise Stop

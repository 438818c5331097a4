"""A backend over its mock driver, and the strings by which a scenario pulls it."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from boxcheck.gpu import Gpu, GpuError, GpuErrorKind, backend
from boxcheck.kernels import Kernel, Source, text_of

BUDGET_BYTES = 64 << 20
LIBRARY = {"cuda": "libcuda.so.1", "hip": "libamdhip64.so"}
MADE = ("memory", "host", "streams", "events", "modules", "contexts")

ALL_KINDS = Source(
    "kinds.cu", text_of("prelude.h") + """
BC_KERNEL(t_kinds)(BC_G u32 *out, u32 a, u64 b, i32 c, u32 d, BC_G u32 *other, float e, u64 f) {
    if (BC_LID == 0u && BC_GROUP == 0u) {
        out[0] = a; out[1] = (u32)b; out[2] = (u32)(b >> 32); out[3] = (u32)c; out[4] = d; out[5] = bc_bits(e);
        out[6] = (u32)f; out[7] = (u32)(f >> 32);
        other[0] = 77u;
    }
    out[8u + BC_GROUP * 256u + BC_LID] = BC_GROUP * 1000u + BC_LID;
}
BC_KERNEL(t_add)(BC_G u32 *out, BC_G const u32 *in, u32 more) { out[BC_LID] = in[BC_LID] + more; }
BC_KERNEL(t_none)(void) {}
""", (
        Kernel("t_kinds", ("buffer", "u32", "u64", "i32", "u32", "buffer", "f32", "u64")),
        Kernel("t_add", ("buffer", "buffer", "u32")), Kernel("t_none", ()),
    ))


class Rig:
    """One scenario's own: its devices start afresh, and everything that it made must be gone at its end."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.backend = backend(name)  # type: ignore[arg-type]
        self.mock = ctypes.CDLL(LIBRARY[name])
        self.gpus: list[Gpu] = []
        self.allowed_violations = 0

    def reset(self, devices: int = 2, budget_bytes: int = BUDGET_BYTES) -> None:
        self.mock.mock_reset(devices, ctypes.c_int64(budget_bytes))

    def open(self, index: int = 0) -> Any:
        gpu = self.backend.open_gpu(index)
        self.gpus.append(gpu)
        return gpu

    def pair(self) -> tuple[Any, Any]:
        return self.open(0), self.open(1)

    def build(self, gpu: Gpu, source: Source) -> Any:
        """A program, whose kernels the mock runs as the host's code."""
        self.use_kernels(source)
        return gpu.build(source)

    def use_kernels(self, source: Source) -> None:
        self.mock.mock_kernels(str(self.folder / f"{source.name}.so").encode())

    def fault(self, call: str, code: int, after: int = 0) -> None:
        self.mock.mock_fault(call.encode(), after, code)

    def live(self, what: str) -> int:
        return int(self.mock.mock_live(what.encode()))

    def end(self) -> None:
        """Closes what is open. AssertionError for what is left, or for a call that a driver would not forgive."""
        for gpu in self.gpus:
            gpu.close()
        self.gpus.clear()
        left = {what: self.live(what) for what in MADE}
        assert not any(left.values()), f"left after close: {left}"
        assert self.mock.mock_violations() == self.allowed_violations, f"{self.mock.mock_violations()} calls were wrong"

    @contextmanager
    def refuses(self, kind: GpuErrorKind, *words: str) -> Iterator[None]:
        """The block must raise a GpuError of this kind with these words in it."""
        raised: GpuError | None = None
        try:
            yield
        except GpuError as error:
            raised = error
        assert raised is not None, f"no {kind} was raised"
        told = f"{raised.kind}: {raised.says} | {raised.help}"
        assert raised.kind == kind, f"expected {kind}, got {told}"
        assert "\n" not in raised.says, told
        for word in words:
            assert word in told, f"{word!r} is not in {told}"

    @contextmanager
    def rejects(self, *words: str) -> Iterator[None]:
        """The block must raise ValueError: the caller's mistake, found before the driver sees it."""
        raised: ValueError | None = None
        try:
            yield
        except ValueError as error:
            raised = error
        assert raised is not None, "no ValueError was raised"
        for word in words:
            assert word in str(raised), f"{word!r} is not in {raised}"


@contextmanager
def environment(**values: str | None) -> Iterator[None]:
    """Variables set, or unset where None, for the block."""
    before = {name: os.environ.get(name) for name in values}
    try:
        for name, value in values.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)

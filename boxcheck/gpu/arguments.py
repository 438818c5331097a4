"""Kernel arguments as bytes, by the declared parameters.

One layout serves both drivers: the values lie one behind the other, each at a multiple of its own size (a tensor map at
a multiple of 64), as in a C struct. CUDA takes an array of pointers to the values (`cuLaunchKernel`, kernelParams), HIP
takes the bytes themselves (`hipModuleLaunchKernel`, extra); both copy them before the call returns, so one `Packer`
serves every launch of a kernel. A tensor map that is not aligned to 64 bytes is refused by the driver or read wrongly
(CUDA driver API, cuTensorMapEncodeTiled).
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence
from typing import Any

from boxcheck.gpu import Argument
from boxcheck.kernels import Kernel, Param

MAP_BYTES = 128
FORMATS: dict[Param, tuple[str, int, int]] = {
    "buffer": ("Q", 8, 8), "u64": ("Q", 8, 8), "u32": ("I", 4, 4), "i32": ("i", 4, 4), "f32": ("f", 4, 4),
    "map": (f"{MAP_BYTES}s", MAP_BYTES, 64),
}
"""Code of `struct`, size and alignment in bytes."""
LARGEST_ALIGNMENT = 64


class Packer:
    """Packs the arguments of one kernel, again and again, into the same memory."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        form, offsets, at = "<", [], 0
        for param in kernel.params:
            code, size, alignment = FORMATS[param]
            gap = -at % alignment
            form += f"{gap}x{code}" if gap else code
            offsets.append(at + gap)
            at += gap + size
        self._struct = struct.Struct(form)
        self.size_bytes = at
        self.offsets = tuple(offsets)
        self._memory = (ctypes.c_uint8 * (at + LARGEST_ALIGNMENT))()
        """ctypes aligns to 16 bytes at most, so the values begin at the first multiple of 64 in it."""
        start = ctypes.addressof(self._memory)
        self._first = -start % LARGEST_ALIGNMENT
        self.address = start + self._first
        self._pointers = (ctypes.c_void_p * max(1, len(offsets)))(*(self.address + offset for offset in offsets))
        self.pointers_address = ctypes.addressof(self._pointers)
        """Address of an array with one pointer for each value."""

    def pack(self, arguments: Sequence[Argument]) -> None:
        """Writes the values. ValueError says which argument does not fit its parameter."""
        params = self.kernel.params
        if len(arguments) != len(params):
            raise ValueError(f"{self.kernel.name} takes {len(params)} arguments, not {len(arguments)}")
        values = [value_of(param, argument) for param, argument in zip(params, arguments, strict=True)]
        try:
            self._struct.pack_into(self._memory, self._first, *values)
        except (struct.error, OverflowError):
            raise ValueError(self._misfit(values)) from None

    def packed(self) -> bytes:
        """A copy of what was packed."""
        return bytes(self._memory[self._first:self._first + self.size_bytes])

    def _misfit(self, values: Sequence[Any]) -> str:
        """The first value that does not fit, in words."""
        for number, (param, value) in enumerate(zip(self.kernel.params, values, strict=True)):
            try:
                struct.pack("<" + FORMATS[param][0], value)
            except (struct.error, OverflowError):
                return f"argument {number} of {self.kernel.name} is {value!r}, which is no {param}"
        return f"the arguments of {self.kernel.name} do not fit"


def value_of(param: Param, argument: Argument) -> int | float | bytes:
    """What `struct` packs for an argument: a buffer's address, a tensor map's bytes, a number as it is."""
    if param == "buffer":
        address = getattr(argument, "address", None)
        if not isinstance(address, int):
            raise ValueError(f"a buffer was expected, not {type(argument).__name__}")
        if address == 0:
            raise ValueError("a buffer was used after it was freed")
        return address
    if param == "map":
        if not isinstance(argument, bytes) or len(argument) != MAP_BYTES:
            raise ValueError(f"a tensor map of {MAP_BYTES} bytes was expected")
        return argument
    if not isinstance(argument, (int, float)):
        raise ValueError(f"a number was expected for {param}, not {type(argument).__name__}")
    return argument

"""Arguments as bytes, against structs that ctypes lays out."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import pytest

from boxcheck.gpu.arguments import MAP_BYTES, Packer
from boxcheck.kernels import Kernel, Param

TYPES: dict[Param, Any] = {
    "buffer": ctypes.c_uint64, "u64": ctypes.c_uint64, "u32": ctypes.c_uint32, "i32": ctypes.c_int32,
    "f32": ctypes.c_float,
}


class Memory:
    """As much of a buffer as packing looks at."""

    size_bytes = 64

    def __init__(self, address: int) -> None:
        self.address = address

    def free(self) -> None:
        self.address = 0


def packed(params: tuple[Param, ...], *arguments: Any) -> bytes:
    packer = Packer(Kernel("k", params))
    packer.pack(arguments)
    return packer.packed()


@pytest.mark.parametrize("params", [
    ("u32", "buffer"), ("u32", "u32", "buffer"), ("buffer", "u32", "u64", "i32", "u64", "f32"), ("f32", "i32", "u32"), (),
])
def test_values_lie_where_a_c_struct_has_them(params: tuple[Param, ...]) -> None:
    struct = type("S", (ctypes.Structure,), {"_fields_": [(f"p{n}", TYPES[param]) for n, param in enumerate(params)]})
    packer = Packer(Kernel("k", params))
    assert packer.offsets == tuple(getattr(struct, f"p{n}").offset for n in range(len(params)))
    values = [n + 1 for n in range(len(params))]
    packer.pack([Memory(v) if param == "buffer" else v for param, v in zip(params, values, strict=True)])
    expected = struct(*values) if params else struct()
    # A struct may have bytes behind its last member; a launch needs none.
    assert packer.packed() == bytes(expected)[:packer.size_bytes]
    assert ctypes.sizeof(struct) - packer.size_bytes in range(8)


def test_a_tensor_map_lies_at_a_multiple_of_64() -> None:
    packer = Packer(Kernel("k", ("u32", "map", "u32", "map")))
    first, second = bytes(range(128)), bytes(reversed(range(128)))
    packer.pack((1, first, 2, second))
    assert packer.offsets == (0, 64, 192, 256)
    assert packer.address % 64 == 0
    assert packer.packed()[64:192] == first
    assert packer.packed()[256:] == second


def test_the_pointers_point_at_the_values() -> None:
    packer = Packer(Kernel("k", ("u32", "u64", "buffer")))
    packer.pack((5, 1 << 40, Memory(0x1000)))
    pointers = (ctypes.c_void_p * 3).from_address(packer.pointers_address)
    assert ctypes.c_uint32.from_address(pointers[0] or 0).value == 5
    assert ctypes.c_uint64.from_address(pointers[1] or 0).value == 1 << 40
    assert ctypes.c_uint64.from_address(pointers[2] or 0).value == 0x1000


def test_the_same_memory_serves_every_launch() -> None:
    packer = Packer(Kernel("k", ("u32",)))
    packer.pack((1,))
    before = packer.address
    packer.pack((2,))
    assert (packer.address, packer.packed()) == (before, b"\2\0\0\0")


def test_numbers_go_to_the_ends_of_their_types_and_no_further() -> None:
    assert packed(("u32", "i32", "u64"), 2**32 - 1, -2**31, 2**64 - 1) == b"\xff" * 4 + b"\0\0\0\x80" + b"\xff" * 8
    assert packed(("f32",), math.inf) == b"\0\0\x80\x7f"
    assert packed(("f32",), 3) == packed(("f32",), 3.0)
    for param, value in (("u32", 2**32), ("u32", -1), ("i32", 2**31), ("u64", 2**64), ("u64", 0.5), ("f32", 1e39)):
        with pytest.raises(ValueError, match=f"argument 0 of k is .* which is no {param}"):
            packed((param,), value)  # type: ignore[arg-type]


def test_what_is_no_argument_is_refused() -> None:
    with pytest.raises(ValueError, match="takes 1 arguments, not 2"):
        packed(("u32",), 1, 2)
    with pytest.raises(ValueError, match="after it was freed"):
        packed(("buffer",), Memory(0))
    with pytest.raises(ValueError, match="a buffer was expected, not int"):
        packed(("buffer",), 0x1000)
    with pytest.raises(ValueError, match="a number was expected for u32, not bytes"):
        packed(("u32",), b"1234")
    for wrong in (b"\0" * (MAP_BYTES - 1), bytearray(MAP_BYTES), 5):
        with pytest.raises(ValueError, match="a tensor map of 128 bytes"):
            packed(("map",), wrong)

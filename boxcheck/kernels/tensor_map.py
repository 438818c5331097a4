"""How a matrix is described to the copy engine of Hopper: a tensor map, 128 bytes that only the driver can write.

A kernel with `call="maps"` gets one of A and one of B, by value, as parameters aligned to 64 bytes. `describe` says
what is to be encoded, `arguments` turns that into what `cuda.bindings.driver.cuTensorMapEncodeTiled` takes, and
`content` takes the bytes out of its answer. The object that the binding returns lies at any multiple of 16 (seen at 32
and 48 past one of 64), so its own address must not be given to a launch: the bytes are copied to where the parameters
lie.

Limits: CUDA driver API, "Tensor Map Object Management", cuTensorMapEncodeTiled (CUDA 12.0 and later). The driver says
no more than "invalid value" of what breaks them; here each has a sentence.
"""

from __future__ import annotations

import struct
from types import ModuleType
from typing import Any, Literal

import msgspec

from boxcheck.kernels.matrix import ELEMENTS, ElementName

DataType = Literal["FLOAT32", "FLOAT16", "BFLOAT16", "UINT8"]
DATA_TYPES: dict[ElementName, DataType] = {
    # tf32 as it lies in memory: the type TFLOAT32 would let the copy engine change bits on the way.
    "fp32": "FLOAT32", "tf32": "FLOAT32", "fp16": "FLOAT16", "bf16": "BFLOAT16",
    # There is no type of 8-bit floats or signed bytes; the copy engine only moves them.
    "int8": "UINT8", "e4m3": "UINT8",
}
SWIZZLE_BYTES = 128
LARGEST_BOX = 256
LARGEST_DIMENSION = 1 << 32
LARGEST_STRIDE = 1 << 40
ADDRESS_ALIGNMENT = 16
MAP_WORDS = 16


class TensorMap(msgspec.Struct, frozen=True, kw_only=True):
    """A matrix [rows][k] with k-major rows, and the box of it that one copy brings into shared memory.

    Pairs are innermost first, as the driver takes them: k, then rows. The box is swizzled by 128 bytes; what lies
    outside of the matrix reads as zero.
    """

    data_type: DataType
    dimensions: tuple[int, int]
    row_bytes: int
    """From one row to the next."""
    box: tuple[int, int]

    @property
    def size_bytes(self) -> int:
        """What the matrix takes, from its address on."""
        return self.row_bytes * self.dimensions[1]


def describe(element: ElementName, rows: int, k: int, box: tuple[int, int]) -> TensorMap:
    """The map of a matrix [rows][k] without gaps; `box` is (rows, columns of k), as in `MatrixKernel.map_boxes`.

    ValueError says which limit of the copy engine is broken.
    """
    size = ELEMENTS[element].bytes
    box_rows, box_k = box
    row_bytes, box_bytes = k * size, box_k * size
    if not (0 < rows <= LARGEST_DIMENSION and 0 < k <= LARGEST_DIMENSION):
        raise ValueError(f"a matrix of {rows} x {k} has a side that is not between 1 and 2^32")
    if row_bytes % ADDRESS_ALIGNMENT or row_bytes >= LARGEST_STRIDE:
        raise ValueError(f"rows of {row_bytes} bytes are not a multiple of 16 bytes below 2^40")
    if not (0 < box_rows <= LARGEST_BOX and 0 < box_k <= LARGEST_BOX):
        raise ValueError(f"a box of {box_rows} x {box_k} has a side that is not between 1 and {LARGEST_BOX}")
    if box_bytes % ADDRESS_ALIGNMENT or box_bytes > SWIZZLE_BYTES:
        raise ValueError(f"a box {box_bytes} bytes wide is not a multiple of 16 up to the swizzle's {SWIZZLE_BYTES}")
    return TensorMap(
        data_type=DATA_TYPES[element], dimensions=(k, rows), row_bytes=row_bytes, box=(box_k, box_rows))


def arguments(driver: ModuleType, wanted: TensorMap, address: int) -> tuple[Any, ...]:
    """What `driver.cuTensorMapEncodeTiled` takes, for a matrix at this address of the device.

    `driver` is `cuda.bindings.driver` of 12.0 and later. ValueError for an address that is not a multiple of 16.
    """
    if address % ADDRESS_ALIGNMENT:
        raise ValueError(f"a matrix at {address:#x} does not lie at a multiple of 16 bytes")
    wide, narrow = driver.cuuint64_t, driver.cuuint32_t
    data_type = getattr(driver.CUtensorMapDataType, f"CU_TENSOR_MAP_DATA_TYPE_{wanted.data_type}")
    return (
        data_type, 2, address,
        [wide(side) for side in wanted.dimensions], [wide(wanted.row_bytes)],
        [narrow(side) for side in wanted.box], [narrow(1), narrow(1)],
        driver.CUtensorMapInterleave.CU_TENSOR_MAP_INTERLEAVE_NONE,
        driver.CUtensorMapSwizzle.CU_TENSOR_MAP_SWIZZLE_128B,
        # A row of a box is 128 bytes; asking L2 for 256 brings the half that the next step reads.
        driver.CUtensorMapL2promotion.CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
        driver.CUtensorMapFloatOOBfill.CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
    )


def content(encoded: Any) -> bytes:
    """The 128 bytes of a CUtensorMap of the binding, which may go wherever a parameter lies."""
    return struct.pack(f"<{MAP_WORDS}Q", *(int(word) for word in encoded.opaque))

"""Tensor maps: what the copy engine's limits let through, and how the driver is asked."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any

import pytest

from boxcheck.gpu.arguments import Packer
from boxcheck.kernels.matrix import ElementName
from boxcheck.kernels.tensor_map import DATA_TYPES, TensorMap, arguments, content, describe
from boxcheck.kernels.wgmma import kernels


def test_a_matrix_is_described_innermost_first() -> None:
    assert describe("bf16", 8192, 16384, (128, 64)) == TensorMap(
        data_type="BFLOAT16", dimensions=(16384, 8192), row_bytes=32768, box=(64, 128))


def test_the_size_of_a_matrix_is_told() -> None:
    assert describe("int8", 4, 256, (4, 128)).size_bytes == 1024


@pytest.mark.parametrize(("element", "rows", "k", "box", "says"), [
    ("bf16", 0, 64, (128, 64), "a matrix of 0 x 64 has a side"),
    ("int8", (1 << 32) + 1, 64, (128, 64), "has a side that is not between 1 and 2\\^32"),
    ("bf16", 128, 68, (128, 64), "rows of 136 bytes are not a multiple of 16"),
    ("bf16", 128, 64, (257, 64), "a box of 257 x 64 has a side"),
    ("bf16", 128, 64, (128, 0), "a box of 128 x 0 has a side"),
    ("bf16", 128, 128, (128, 72), "a box 144 bytes wide is not a multiple of 16 up to the swizzle's 128"),
    ("bf16", 128, 128, (128, 60), "a box 120 bytes wide"),
    ("tf32", 128, 128, (128, 64), "a box 256 bytes wide"),
    ("fp16", 128, 128, (128, 128), "a box 256 bytes wide"),
])
def test_what_the_copy_engine_cannot_do_has_a_sentence(
    element: ElementName, rows: int, k: int, box: tuple[int, int], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        describe(element, rows, k, box)


@pytest.mark.parametrize(("element", "rows", "k", "box"), [
    ("int8", 1 << 32, 64, (128, 64)), ("bf16", 128, 72, (128, 64)), ("bf16", 128, 64, (256, 64)),
    ("bf16", 1, 8, (1, 8)), ("e4m3", 128, 128, (128, 128)), ("tf32", 128, 128, (128, 32)),
])
def test_what_is_just_within_the_limits_is_described(
    element: ElementName, rows: int, k: int, box: tuple[int, int]
) -> None:
    assert describe(element, rows, k, box).box == (box[1], box[0])


def test_the_maps_of_every_kernel_can_be_described_and_hold_a_step() -> None:
    for kernel in kernels():
        assert kernel.map_boxes is not None
        for box in kernel.map_boxes:
            assert describe(kernel.element, 8192, 16384, box).box[0] == kernel.tile[2]


class Names:
    """Any attribute is its own name."""

    def __getattr__(self, name: str) -> str:
        return name


FAKE: Any = SimpleNamespace(
    cuuint64_t=lambda value: ("u64", value), cuuint32_t=lambda value: ("u32", value), CUtensorMapDataType=Names(),
    CUtensorMapInterleave=Names(), CUtensorMapSwizzle=Names(), CUtensorMapL2promotion=Names(),
    CUtensorMapFloatOOBfill=Names())


def test_the_driver_is_asked_for_a_swizzle_of_128_bytes() -> None:
    wanted = describe("e4m3", 512, 1024, (256, 128))
    assert arguments(FAKE, wanted, 0x7F0000000010) == (
        "CU_TENSOR_MAP_DATA_TYPE_UINT8", 2, 0x7F0000000010,
        [("u64", 1024), ("u64", 512)], [("u64", 1024)], [("u32", 128), ("u32", 256)], [("u32", 1), ("u32", 1)],
        "CU_TENSOR_MAP_INTERLEAVE_NONE", "CU_TENSOR_MAP_SWIZZLE_128B", "CU_TENSOR_MAP_L2_PROMOTION_L2_256B",
        "CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE")


def test_a_matrix_at_an_odd_address_is_refused() -> None:
    with pytest.raises(ValueError, match="0x1008 does not lie at a multiple of 16 bytes"):
        arguments(FAKE, describe("bf16", 128, 64, (128, 64)), 0x1008)


def test_the_binding_has_every_name_and_takes_these_arguments() -> None:
    driver = pytest.importorskip("cuda.bindings.driver")
    for element in DATA_TYPES:
        asked = arguments(driver, describe(element, 256, 256, (128, 16)), 1 << 20)
        try:  # arguments are turned to C before the driver's library is looked for: what does not fit is a TypeError
            assert isinstance(driver.cuTensorMapEncodeTiled(*asked), tuple)
        except RuntimeError as error:
            assert "driver library" in str(error)  # noqa: PT017  either way is right, by the machine
    assert len(content(driver.CUtensorMap())) == 128


def test_the_words_of_a_map_keep_their_order() -> None:
    encoded = SimpleNamespace(opaque=[1 << 63, *range(1, 16)])
    assert struct.unpack("<16Q", content(encoded)) == (1 << 63, *range(1, 16))


def test_maps_lie_at_multiples_of_64_bytes_where_the_launch_reads_them() -> None:
    """The binding's own object does not, so its address must not be passed on."""
    entry = kernels()[0].source.kernels[0]
    packer = Packer(entry)
    maps = [bytes(range(128)), bytes(range(128, 256))]
    packer.pack([*maps, SimpleNamespace(address=0x1000), 128, 256, 64])  # type: ignore[list-item]
    assert [(packer.address + offset) % 64 for offset in packer.offsets[:2]] == [0, 0]
    packed = packer.packed()
    assert [packed[offset:offset + 128] for offset in packer.offsets[:2]] == maps

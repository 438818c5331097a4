"""Matrix products on one device: inputs from a seed, products by any engine.

`Random` holds two of full-range data, known by their digests; `exact_products` those of which each element is known.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, TypeAlias

from boxcheck.gpu import Buffer, Gpu
from boxcheck.gpu.vendor_blas import LibraryError, LibraryProduct
from boxcheck.kernels.catalogue import GRANULES_A_GROUP, memory, verification
from boxcheck.kernels.matrix import ELEMENTS, MatrixKernel
from boxcheck.stress.digests import Digests

POISON = 0x7FC0DEAD
"""A quiet not-a-number as fp32, and no sum of small integers as int32 that is likely."""
_SEEDS = {"a": 0x1B873593, "b0": 0x2545F491, "b1": 0x3C6EF372, "r": 0x510E527F, "s": 0x68F3C1A5}

Shape = tuple[int, int, int]
"""m, n, k."""
Engine: TypeAlias = MatrixKernel | LibraryProduct
"""What computes a product: both have a name, an element, a layout of inputs and a tile that shapes are multiples of."""


def groups_of(count: int, each: int) -> int:
    return (count + each - 1) // each


class Product:
    """What exact and random products share: memory, kernels, launching."""

    def __init__(self, gpu: Gpu, kernel: Engine, shape: Shape, seed: int) -> None:
        self.gpu = gpu
        self.kernel = kernel
        self.shape = shape
        self.element = ELEMENTS[kernel.element]
        self.seeds = {name: (more + seed * 0x9E3779B9) & 0xFFFFFFFF for name, more in _SEEDS.items()}
        self._buffers: list[Buffer] = []
        self._make = gpu.build(verification(kernel.element))
        self._memory = gpu.build(memory())
        self._program = None if isinstance(kernel, LibraryProduct) else gpu.build(kernel.source)
        m, n, k = shape
        self.a = self._allocate(m * k * self.element.bytes)
        self.c = self._allocate(m * n * 4)

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # After a failure of the device its memory is left to the worker; a library's refusal is none.
        if kind is None or issubclass(kind, (GeneratorExit, LibraryError)):
            for buffer in self._buffers:
                buffer.free()

    def _allocate(self, size_bytes: int) -> Buffer:
        buffer = self.gpu.allocate(size_bytes)
        self._buffers.append(buffer)
        return buffer

    def _fill(self, buffer: Buffer, rows: int, seed: int, side: int, random: bool) -> None:
        depth = self.shape[2]
        words = rows * depth * self.element.bytes // 4
        self.gpu.launch(
            self._make, "bc_fill_matrix", groups_of(words, 256),
            [buffer, rows, depth, seed, side, int(random), int(self.kernel.layout == "k-outer")])

    def _launch(self, b: Buffer) -> None:
        m, n, k = self.shape
        kernel = self.kernel
        if isinstance(kernel, LibraryProduct):
            kernel.multiply(self.a, b, self.c, self.shape)
            return
        assert self._program is not None
        tiles = (m // kernel.tile[0]) * (n // kernel.tile[1])
        groups = min(tiles, self.gpu.info.compute_units) if kernel.persistent else tiles
        inputs: list[Any] = [self.a, b]
        if kernel.call == "maps":
            from boxcheck.kernels.tensor_map import describe

            assert kernel.map_boxes is not None
            device: Any = self.gpu
            inputs = [
                device.tensor_map(buffer, describe(kernel.element, rows, k, box))
                for buffer, rows, box in zip((self.a, b), (m, n), kernel.map_boxes, strict=True)]
        self.gpu.launch(self._program, kernel.entry, groups, [*inputs, self.c, m, n, k])

    def poison(self) -> None:
        granules = self.shape[0] * self.shape[1] // 4
        self.gpu.launch(
            self._memory, "bc_memory_fill", groups_of(granules, GRANULES_A_GROUP), [self.c, 0, granules, 1, POISON])

    @property
    def operations(self) -> float:
        m, n, k = self.shape
        return 2.0 * m * n * k


class Random(Product):
    """Products of full-range data, A B0 and A B1. One is right when its bits are those of its first time, which
    `random_proof.learn` looks at."""

    def __init__(self, gpu: Gpu, kernel: Engine, shape: Shape, seed: int) -> None:
        super().__init__(gpu, kernel, shape, seed)
        m, n, k = shape
        self.b = [self._allocate(n * k * self.element.bytes) for _ in range(2)]
        self._fill(self.a, m, self.seeds["a"], 0, True)
        for number, b in enumerate(self.b):
            self._fill(b, n, self.seeds[f"b{number}"], 1, True)
        self._digests = Digests(gpu, m * n)
        self._buffers += self._digests.buffers

    def multiply(self, number: int = 0) -> None:
        """Starts product A B0 or A B1, by the parity of `number`, into what C holds."""
        self._launch(self.b[number % 2])

    def digest(self) -> int:
        """Digest of the stored product. Reads all of it."""
        return self._digests.of(self.c)

    def take(self, slot: int) -> None:
        """Starts the digest of the stored product into a slot; C is full of poison then."""
        self._digests.take(self.c, slot, POISON)

    def taken(self, count: int) -> list[int]:
        """Digests in the first slots."""
        return self._digests.taken(count)

"""Stress modules: each a generator of samples over opened devices, and the checks that judge them, one file each.

A module yields a `Sample` for every piece of work that it timed and verified. It bounds each piece to about a second,
says `rig.beat(...)` between pieces, and returns when `rig.stopping()` says so. It catches no GpuError: the worker
reports it, and what was yielded before stays.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from boxcheck.gpu import GpuInfo
from boxcheck.stress.safety import Safety

if TYPE_CHECKING:
    from boxcheck.gpu import Gpu

FaultName = Literal[
    "flip-input", "flip-output", "flip-memory", "flip-payload", "drop-write", "stale", "hang", "slow", "hot",
]
FAULTS: Mapping[str, str] = {
    "flip-input": "flips a bit of an input before a product",
    "flip-output": "flips a bit of a result after it was computed",
    "flip-memory": "flips a bit of the memory under test",
    "flip-payload": "flips a bit of what a copy brought",
    "drop-write": "leaves out a write: the target keeps what it held",
    "stale": "gives the result of the time before",
    "hang": "a kernel that never ends",
    "slow": "the device works at a tenth of its speed from half of the time on",
    "hot": "the device reports 120 degrees",
}
"""What `--inject` can do. A run with a fault in it never passes."""


SLOW_LIBRARY_PERCENT = 10.0
"""A vendor's library below this part of our own kernel's rate is a finding of its own."""


class WrongWord(msgspec.Struct, frozen=True, kw_only=True):
    """One wrong word or element: where, what it must be and what it was, as bits."""

    index: int
    """Of the 32-bit word in its region, or of the element (row * columns + column)."""
    expected: int
    found: int
    again: int | None = None
    """What a second read gave; None where there was none."""
    where: str = ""
    """In words: `row 17, column 4093`, `address 0x1f40`."""
    kind: str = ""
    """What it looks like: `one bit`, `not written`, `old value`, `meant for address ...`, `read fault`."""

    @property
    def flipped(self) -> int:
        return self.expected ^ self.found


def bits_word(expected: int, found: int) -> str:
    """How two words differ: `one bit`, `3 bits`."""
    count = (expected ^ found).bit_count()
    return "one bit" if count == 1 else f"{count} bits"


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One timed and verified piece of work. A rate without a verified payload is not a sample."""

    what: str
    """`matmul.bf16.exact`, `copy.host-to-device.pinned`, `p2p.write`: module, then what tells it from the others."""
    gpu: str
    """Key of the device that did it (`cuda:0`); the source of a copy."""
    peer: str | None = None
    """The other end: a device's key, or `host`."""
    seconds: float
    """Device time of the work that `value` is of."""
    value: float | None = None
    unit: str = ""
    """`TFLOPS`, `GB/s` (10^9 bytes), `us`."""
    checked: int
    """How many elements, words or bytes were compared, `of` says which. 0: nothing was verified."""
    of: Literal["elements", "words", "bytes", "digests"] = "words"
    wrong: int
    """How many of them were wrong, all counted."""
    words: tuple[WrongWord, ...] = ()
    """The first of them, located."""
    moved: Mapping[str, int] = {}
    """Bytes over links by direction, `host>cuda:0`: what error rates are divided by."""
    notes: Mapping[str, str | int | float] = {}
    """What else is known of it: kernel, shape, size."""


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """Why a worker ended early: a GpuError, a time-out of the supervisor, a crash."""

    gpus: tuple[str, ...]
    module: str
    kind: str
    """A GpuErrorKind, `hang`, `crash` (the process died), `bug` (boxcheck's own error) or `stopped`; where that came
    before any load: `stuck-opening`, `crashed-opening`, `stuck-building`, `crashed-building`, `not-ready` (for a common
    start); where a library of the vendor died: `crashed-library`."""
    says: str
    help: str = ""
    traceback: str = ""


class StressResults(msgspec.Struct, frozen=True, kw_only=True):
    """All that one run of one module gave: the fact that its checks judge."""

    module: str
    gpus: tuple[GpuInfo, ...]
    """Those that it ran on, or should have."""
    slots: Mapping[str, str] = {}
    """Key of a device to the label of its slot, where that is known."""
    samples: tuple[Sample, ...]
    troubles: tuple[Trouble, ...]
    ended: tuple[str, ...]
    """Keys of the devices whose part came to its end; the others' parts are incomplete."""
    stopped: bool = False
    """Somebody stopped it before its time."""
    injected: str | None = None
    full_size: bool = True
    """False where sizes were made small for a processor: rates say nothing of it then."""
    warm_up: bool = False
    """Whether it only warmed the box: what is right is judged, what is fast is not."""
    safety: Safety | None = None
    """What was held against the stop limits meanwhile; None where nothing was."""
    options: Mapping[str, str] = {}
    """Options that were given, of those that the module has."""

    def of_gpu(self, key: str) -> tuple[Sample, ...]:
        return tuple(sample for sample in self.samples if sample.gpu == key)

    def verified(self, key: str) -> bool:
        """Whether anything that a device did or got was compared, beside the kernels' own proofs."""
        return any(
            sample.checked for sample in self.samples
            if key in (sample.gpu, sample.peer) and not sample.what.endswith("self-test"))

    def named(self, prefix: str) -> tuple[Sample, ...]:
        from boxcheck.stress.judging import by_kind

        every = {what for what, _, _ in by_kind(self)}
        names = {what for what in every if f"{what}.".startswith(f"{prefix}.")}
        if len(names) in (0, len(every)):  # asked often, of a day's samples
            return self.samples if names else ()
        return tuple([sample for sample in self.samples if sample.what in names])


class Rig:
    """What a module works with."""

    def __init__(
        self, gpus: Sequence[Gpu], *, seconds: float, seed: int = 1, options: Mapping[str, str] | None = None,
        stopping: Callable[[], bool] = lambda: False, beat: Callable[[str, float], None] = lambda text, done: None,
        start: Callable[[], float | None] = lambda: None, working: Callable[[str | None], None] = lambda library: None,
    ) -> None:
        self.gpus = tuple(gpus)
        self.seconds = seconds
        """How long the module should work, verification included; it may end a piece later."""
        self.seed = seed
        self.options = dict(options or {})
        self.stopping = stopping
        self.beat = beat
        """`beat(text, done)`: a sign of life with what is being done and the part of the whole that is done, 0 to 1.
        The supervisor ends a worker that gives none for too long."""
        self._start = start
        """Says that this worker is ready, and gives the moment at which all begin; None: at once."""
        self.working = working
        """`working(name)`: from now on a library of the vendor works, whose crash is its own; None: it has worked."""

    @property
    def gpu(self) -> Gpu:
        """The one device of a module of scope `each`."""
        (only,) = self.gpus
        return only

    @property
    def full_size(self) -> bool:
        """Whether sizes fill the device. Processors get small ones: a portable kernel runs there a thousand times
        slower than a GPU runs its own."""
        return all(gpu.info.is_gpu for gpu in self.gpus) and self.options.get("size") != "test"

    def wait_for_start(self) -> float:
        """The moment at which the work begins (CLOCK_MONOTONIC), waited for: that of all workers where they begin
        together, else now. To be called when everything is ready."""
        at = self._start()
        if at is None:
            return time.monotonic()
        while (left := at - time.monotonic()) > 0 and not self.stopping():
            time.sleep(min(left, 0.2) if left > 0.002 else left)
        return at

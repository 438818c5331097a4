"""A day of a box by the plan of a burn-in: what its workers send each second, at the rates at which modules send it.

Rates are those of the modules' constants: a sample of products, of a collective or of steps of training is of about a
second (telling.SAMPLE_SECONDS), a piece of copies a quarter (PIECE_SECONDS), a memory pass about a second, a core's
products 5 s (host_cpu), a drive 2 s (host_nvme).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import cycle, permutations

from boxcheck.stress import Sample
from tests.store.machine import Machine

CORES, NODES, DRIVES = 64, 2, 4
FAMILIES = ("address", "retention", "inversion", "random", "walking")
ELEMENTS = ("bf16", "fp16", "int8", "tf32")
WAYS = ("engine-write", "engine-read", "kernel-write", "kernel-read")
Sent = tuple[int, Sample]
"""Worker and sample."""


class Day:
    """Samples of a module, second by second."""

    def __init__(self, machine: Machine) -> None:
        self.keys = [info.key for info in machine.gpus]
        self.random = random.Random(7)
        self._pairs = cycle([
            (what, one, other) for what in (
                *(f"one-way.{way}" for way in WAYS), "both-ways.engine-write", "all-to-all.engine-write",
                "all-to-all.engine-read", "latency.load", "latency.round-trip")
            for one, other in permutations(self.keys, 2)])

    def second(self, module: str, at: int, of: int) -> Iterator[Sent]:
        """What comes in second `at` of a phase of `of` seconds."""
        match module:
            case "matmul":
                yield from self._products(at)
            case "vram":
                yield from ((number, self._memory(key, at)) for number, key in enumerate(self.keys))
            case "copy":
                yield from self._copies(at, of)
            case "p2p":
                yield from ((0, self._pair(*next(self._pairs))) for _ in range(7))
            case "collective":
                yield from ((0, one) for one in self._collectives(at))
            case "power-pulse":
                yield from ((number, self._pulse(key)) for number, key in enumerate(self.keys))
            case "cpu" if at % 5 == 0:
                yield from ((0, self._core(core)) for core in range(CORES))
            case "dram":
                yield from ((0, self._triad(node)) for node in range(NODES))
            case "nvme" if at % 2 == 0:
                yield from ((0, self._drive(drive)) for drive in range(DRIVES))

    def _products(self, at: int) -> Iterator[Sent]:
        some, element = self.random, ELEMENTS[at // 60 % len(ELEMENTS)]
        for number, key in enumerate(self.keys):
            seconds = some.gauss(0.99, 0.002)
            yield number, Sample(
                what=f"matmul.{element}.power", gpu=key, seconds=seconds, value=156.0 / seconds, unit="TFLOPS",
                checked=some.randrange(15, 27), of="digests", wrong=0, notes={
                    "engine": "own", "kernel": f"mma-{element}-256x128", "shape": "8192x8192x8192",
                    "digest": f"9f3c2a1b00ff17e2-{element}", "products": some.randrange(45, 57),
                    "rate_of": "products alone", "spread_percent": round(some.random(), 1),
                    "verified_percent": round(some.gauss(50, 3), 1), "verify_percent": round(some.gauss(1.5, 0.1), 2)})

    def _memory(self, key: str, at: int) -> Sample:
        seconds = self.random.gauss(0.9, 0.004)
        return Sample(
            what=f"vram.{FAMILIES[at % len(FAMILIES)]}", gpu=key, seconds=seconds, value=800 / seconds, unit="GB/s",
            checked=23 << 28, wrong=0, notes={
                "held_bytes": 23 << 30, "usable_bytes": 24 << 30, "free_bytes": 24 << 30, "held_percent": 97.1,
                "blocks": 92, "accounting": "read", "passes": 1, "of_copy_percent": round(87 / seconds, 1)})

    def _copies(self, at: int, of: int) -> Iterator[Sent]:
        """Each alone in the first half, all in the second."""
        alone = at < of // 2
        first = at * 2 * len(self.keys) // of
        for number, key in ((first, self.keys[first]),) if alone else enumerate(self.keys):
            for what in ("host-to-device", "device-to-host", "both.host-to-device", "both.device-to-host"):
                seconds = self.random.gauss(0.25, 0.002)
                way = f"host>{key}" if "host-to-device" in what else f"{key}>host"
                yield number + (0 if alone else len(self.keys)), Sample(
                    what=f"copy.{what}.{'pinned' if at % 2 else 'pageable'}", gpu=key, peer="host", seconds=seconds,
                    value=6.4 / seconds, unit="GB/s", checked=1600 << 20, wrong=0, moved={way: 6400 << 20}, notes={
                        "bytes": 256 << 20, "rounds": 25, "copies": 25, "together": "no" if alone else "yes",
                        "verify_seconds": round(self.random.gauss(0.0105, 0.0004), 4)})

    def _pair(self, what: str, one: str, other: str) -> Sample:
        seconds = self.random.gauss(0.25, 0.002)
        if what.startswith("latency"):
            return Sample(
                what=f"p2p.{what}", gpu=one, peer=other, seconds=5e-5, value=self.random.gauss(1.4, 0.05), unit="us",
                checked=1024, wrong=0, notes={"steps": 256})
        return Sample(
            what=f"p2p.{what}", gpu=one, peer=other, seconds=seconds, value=6.2 / seconds, unit="GB/s",
            checked=1500 << 20, wrong=0, moved={f"{one}>{other}": 6 << 30},
            notes={"bytes": 64 << 20, "rounds": 96, "links": 1})

    def _collectives(self, at: int) -> Iterator[Sample]:
        """A second of each alone, then five of training; with nobody's library."""
        names = ("all-reduce", "all-gather", "reduce-scatter", *["zero3"] * 5)
        for name in names[at % 8:at % 8 + 1]:
            for rank, key in enumerate(self.keys):
                after, rate = self.keys[(rank + 1) % len(self.keys)], self.random.gauss(24.6, 0.1)
                training = {"products": 28, "product_seconds": round(self.random.gauss(0.6, 0.01), 6)}
                notes = {
                    "bytes": 256 << 20, "rounds": 20, "ranks": 8, "spread_percent": round(self.random.random(), 1), **(
                        training if name == "zero3" else {})}
                yield Sample(
                    what=f"collective.{name}", gpu=key, seconds=10 / rate, value=rate, unit="GB/s", checked=5 << 28,
                    wrong=0, moved={f"{key}>{after}": 5 << 30}, notes=notes)
                yield Sample(
                    what=f"collective.hop.{name}", gpu=key, peer=after, seconds=1 / rate, value=rate + 0.2, unit="GB/s",
                    checked=5 << 26, wrong=0, notes={"bytes": 256 << 20, "rounds": 20})
                if name == "zero3":
                    yield Sample(
                        what="collective.product", gpu=key, seconds=0.6, value=self.random.gauss(150, 1), unit="TFLOPS",
                        checked=4, of="digests", wrong=0, notes={
                            "kernel": "mma-bf16-256x128", "shape": "8192x8192x8192", "products": 28,
                            "digest": "9f3c2a1b00ff17e2", "verified_percent": 14.3,
                            "rate_of": "products with verification"})

    def _pulse(self, key: str) -> Sample:
        seconds = self.random.gauss(0.5, 0.002)
        return Sample(
            what="power-pulse.bf16", gpu=key, seconds=seconds, value=75 / seconds, unit="TFLOPS", checked=5, of="digests",
            wrong=0, notes={
                "kernel": "mma-bf16-256x128", "shape": "8192x8192x8192", "digest": "9f3c2a1b00ff17e2", "hertz": 5.0,
                "duty": 0.5, "pulses": 5, "missed": 0, "planned": 5, "products": 25, "verified_percent": 20.0,
                "rate_of": "products with verification", "first_pulse": self.random.random() * 9e4,
                "last_pulse": self.random.random() * 9e4, "late_percent": round(self.random.random(), 2)})

    def _core(self, core: int) -> Sample:
        return Sample(
            what="cpu.fp64.exact", gpu="cpu:0", seconds=self.random.gauss(4.6, 0.02), value=self.random.gauss(54, 0.4),
            unit="GFLOPS", checked=117 << 20, of="elements", wrong=0, notes={
                "library": "scipy-openblas 0.3.31", "core_name": "Zen", "side": 1024, "core": core, "node": core // 32,
                "package": 0, "products": 112, "wrong_input_words": 0,
                "busy_percent": round(self.random.gauss(96, 1), 1), "verify_percent": 1.77})

    def _triad(self, node: int) -> Sample:
        return Sample(
            what=f"dram.triad.node{node}", gpu="cpu:0", seconds=0.12, value=self.random.gauss(180, 2), unit="GB/s",
            checked=50331648, wrong=0, notes={
                "piece": self.random.randrange(8), "array_mib": 256.0, "node": node, "cores": 32,
                "busy_percent": round(self.random.gauss(96, 1), 1), "local_percent": 100.0})

    def _drive(self, drive: int) -> Sample:
        return Sample(
            what=f"nvme.read.nvme{drive}n1", gpu="cpu:0", seconds=2.0, value=self.random.gauss(6.8, 0.05), unit="GB/s",
            checked=13 << 30, of="bytes", wrong=0, notes={"bytes": 1 << 20, "depth": 8, "drive": f"nvme{drive}n1"})

"""What the process of one core does: multiplies, proves each product, and looks into a wrong one."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from boxcheck.stress import WrongWord
from boxcheck.stress.host_child import HANG_SECONDS, Pulse
from boxcheck.stress.host_cpu_products import MOST_WORDS, Products
from boxcheck.stress.host_orders import Done, Job, Order

SLOWER = 9
"""Products that `--inject slow` adds to each."""


class Work:
    """What the process of one core does. See `host_child.Work`."""

    def __init__(self, job: Job, pulse: Pulse) -> None:
        self._job = job
        self._pulse = pulse
        self._done = 0
        self._slow_from = time.monotonic() + float(job.settings["seconds"]) / 2
        self._random = np.random.default_rng(job.seed)
        self._products: dict[str, Products] = {}
        self._side = int(job.settings["side"])

    def notes(self) -> dict[str, str | int | float]:
        return {"library": library(), "core_name": core_name()}

    def _of(self, element: Any) -> Products:
        if element not in self._products:
            self._products.clear()  # the memory of one kind at a time
            self._products[element] = Products(element, self._side, self._job.seed)
        return self._products[element]

    def do(self, order: Order) -> Done:
        product = self._of(order.settings["element"])
        if order.do == "prepare":
            return Done()
        return self._inputs(product) if order.do == "inputs" else self._multiply(product, order.seconds)

    def _multiply(self, product: Products, seconds: float) -> Done:
        """Products until the time is over, each verified; ends at the first wrong one."""
        until = time.monotonic() + seconds
        spent = busy = verifying = 0.0
        done = wrong = inputs = 0
        words: list[WrongWord] = []
        while not done or (time.monotonic() < until and not self._pulse.stopping and not wrong):
            number = self._done
            began, cpu = time.perf_counter(), time.thread_time()
            self._once(product, number)
            ended = time.perf_counter()
            spent, busy = spent + ended - began, busy + time.thread_time() - cpu
            rows = product.verify(number)
            verifying += time.perf_counter() - ended
            self._done, done = number + 1, done + 1
            if len(rows):
                wrong, words = product.locate(number, rows, self._job.name)
                inputs, damaged = product.damaged_inputs(self._job.name)
                words = [*damaged[:MOST_WORDS // 2], *words]
            self._pulse.alive()
        return Done(
            seconds=spent, amount=done * product.operations, checked=done * product.side ** 2, wrong=wrong,
            words=tuple(words), notes={
                "products": done, "busy_seconds": busy, "verify_seconds": verifying, "wrong_input_words": inputs})

    def _inputs(self, product: Products) -> Done:
        """Compares the inputs with their seed, and takes a digest of one more product."""
        product.multiply(0)
        rows = product.verify(0)
        digest = product.digest()
        wrong, words = product.locate(0, rows, self._job.name) if len(rows) else (0, [])
        count, damaged = product.damaged_inputs(self._job.name)
        return Done(
            checked=product.input_words, wrong=count, words=(*damaged, *words), notes={
                "digest": digest, "wrong_elements": wrong})

    def _once(self, product: Products, number: int) -> None:
        """One product, with the fault that was asked for."""
        fault, now = self._job.fault, number == self._job.after
        if fault == "hang" and now:
            time.sleep(HANG_SECONDS)
        if fault == "flip-input" and now:
            self._flip(product.a, product)
        if not (fault == "stale" and now):
            product.multiply(number)
        if fault == "slow" and time.monotonic() > self._slow_from:
            for _ in range(SLOWER):
                product.multiply(number)
        if fault == "flip-output" and now:
            self._flip(product.c, product)

    def _flip(self, matrix: Any, product: Products) -> None:
        bits = matrix.view(product.kind.bits).reshape(-1)
        place = int(self._random.integers(len(bits)))
        bits[place] ^= product.kind.bits(1 << int(self._random.integers(8 * bits.itemsize)))


def begin(job: Job, pulse: Pulse) -> Work:
    return Work(job, pulse)


def library() -> str:
    """The matrix library of numpy and its version: `scipy-openblas 0.3.31`."""
    with suppress(Exception):  # numpy 1.25 and older cannot tell it as data; a word for people only
        found = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return f"{found['name']} {found['version']}"
    return "not known"


def core_name() -> str:
    """Which of its kernels OpenBLAS chose for this processor: `Zen`, `SkylakeX`. `not known` for another library."""
    with suppress(OSError):
        with open("/proc/self/maps") as file:
            paths = {line.split()[-1] for line in file if "openblas" in line}
        for path in sorted(paths):
            loaded = ctypes.CDLL(path)  # it is loaded already; this names it
            for name in ("scipy_openblas_get_corename64_", "scipy_openblas_get_corename", "openblas_get_corename64_",
                         "openblas_get_corename"):
                ask: Callable[[], bytes] | None = getattr(loaded, name, None)
                if ask is not None:
                    ask.restype = ctypes.c_char_p  # type: ignore[attr-defined]
                    return ask().decode("ascii", "replace")
    return "not known"

"""Copies on every GPU while something else is read: the load behind `boxcheck.engine.wake`."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from boxcheck.engine.messages import Beat, Run, Watched
from boxcheck.engine.stress import find_devices
from boxcheck.engine.supervise import Crew
from boxcheck.gpu import Backend, GpuInfo
from boxcheck.model import Bdf, Unread
from boxcheck.stress import Sample

READY_SECONDS = 20.0
"""For drivers to start the GPUs and for workers to begin to copy; without persistence mode that takes seconds."""
SPARE_SECONDS = 3.0
"""Beyond the load that was asked for, before workers are ended."""


class CopyLoad:
    """Puts copies on GPUs, each by a worker of its own: one that hangs costs its own reading and nothing else."""

    def __init__(self, devices: Iterable[GpuInfo] = (), *, silence_seconds: float = READY_SECONDS) -> None:
        self._devices = tuple(devices)
        self._silence_seconds = silence_seconds
        self.troubles: tuple[str, ...] = ()
        """Why GPUs had no load, known when it is over."""

    @contextmanager
    def load(self, gpus: Iterable[Bdf], seconds: float) -> Iterator[None]:
        """Entering waits until every worker copies, or has failed; leaving ends them all."""
        wanted = set(gpus)
        devices = [info for info in self._devices if info.bdf in wanted]
        begun, over, ready = set[str](), threading.Event(), threading.Event()

        def seen(of: tuple[GpuInfo, ...], what: Beat | Sample | Watched) -> None:
            if isinstance(what, Beat) and what.done > 0:  # it copies; before, it only began to
                begun.update(info.key for info in of)
            if len(begun) == len(devices):
                ready.set()

        def work() -> None:
            try:
                with Crew([[info] for info in devices], silence_seconds=self._silence_seconds) as crew:
                    parts = crew.run(
                        Run(module="wake", seconds=seconds + SPARE_SECONDS, seed=1), stopping=over.is_set, seen=seen)
                self.troubles = tuple(part.trouble.says for part in parts if part.trouble is not None)
            finally:
                ready.set()

        thread = threading.Thread(target=work, name="wake", daemon=True)
        thread.start()
        ready.wait(READY_SECONDS)
        try:
            yield
        finally:
            over.set()
            thread.join(READY_SECONDS)


def find_load(vendors: Iterable[int]) -> CopyLoad | Unread:
    """The load for GPUs of these PCI vendors; Unread says why no runtime can drive them."""
    names: tuple[Backend, ...] = tuple(
        name for vendor, name in ((0x10DE, "cuda"), (0x1002, "hip")) if vendor in set(vendors))  # type: ignore[misc]
    devices: list[GpuInfo] = []
    why: list[str] = []
    for name in (*names, "opencl"):
        if name == "opencl" and devices:
            break
        found = find_devices(name)
        devices += [info for info in found.gpus if info.bdf is not None and info.is_gpu]
        why += [trouble.says for trouble in found.troubles.values()]
    if devices:
        return CopyLoad(devices)
    return Unread(f"no runtime can put load on the GPUs: {'; '.join(why) or 'none shows one'}", "unsupported")

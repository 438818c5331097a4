"""Readings under load: cards lower their link speed at rest, so speed is real only while they copy.

The load is copies between host and GPU, at most 3 s of them, all GPUs side by side, each in a process of its own.
Only what was read while a GPU really copied, from before the first reading until after the last, is kept as read under
load. Where a runtime, its driver or a GPU is missing, nothing is read twice, and checks that need a loaded reading say
`unknown` and how to settle it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from boxcheck.host import Host
from boxcheck.host.live import LiveHost
from boxcheck.model import Bdf, Unread
from boxcheck.probes.gpus import DISPLAY_CLASSES, GPU_VENDORS
from boxcheck.probes.pci import PciInventory, pci

LOAD_SECONDS = 3.0
READINGS = 5
"""Over the second half of the load: a driver may need up to a second to leave the idle speed."""

ATTRIBUTES = ("current_link_speed", "current_link_width")
COUNTERS = ("aer_dev_correctable", "aer_dev_nonfatal", "aer_dev_fatal")


class Loaded(Protocol):
    """GPUs under load."""

    def copying(self) -> frozenset[Bdf]:
        """Those that copied up to now, and still do."""
        ...

    def why_not(self) -> Mapping[Bdf, str]:
        """Why each of the others does not."""
        ...


class Wake(Protocol):
    """Puts copies on GPUs. Entering starts the load, leaving stops it."""

    def load(self, gpus: Iterable[Bdf], seconds: float) -> AbstractContextManager[Loaded]: ...


def find_wake(inventory: PciInventory) -> Wake | Unread:
    """What can put load on this machine's GPUs; Unread says why nothing can."""
    from boxcheck.engine.copy_load import find_load

    gpus, _ = link_paths(inventory)
    return find_load({inventory.functions[bdf].vendor for bdf in gpus})


def link_paths(inventory: PciInventory) -> tuple[tuple[Bdf, ...], Mapping[str, frozenset[Bdf]]]:
    """The GPUs to load; and the directories of all ports between them and the root, each with the GPUs below it."""
    gpus = [
        function for function in inventory.functions.values()
        if function.class_code >> 8 in DISPLAY_CLASSES and function.vendor in GPU_VENDORS
        and not function.virtual_function and function.link is not None
    ]
    paths: dict[str, frozenset[Bdf]] = {}
    for gpu in gpus:
        for path in (gpu.path, *(port.path for port in inventory.ancestors(gpu.bdf))):
            paths[path] = paths.get(path, frozenset()) | {gpu.bdf}
    return tuple(gpu.bdf for gpu in gpus), paths


def read_under_load(host: Host, wake: Wake | Unread | None = None) -> Unread | None:
    """Takes readings of every GPU's links under load and records them. Unread says why none could be taken, or which
    GPUs were not under load: the links above those alone have no such reading then."""
    if not isinstance(host, LiveHost):
        return Unread("a capture is not put under load", "one-reading")
    inventory = pci(host)
    gpus, paths = link_paths(inventory)
    if not gpus:
        return Unread("no GPU to put under load", "absent")
    wake = find_wake(inventory) if wake is None else wake
    if isinstance(wake, Unread):
        return wake
    with wake.load(gpus, LOAD_SECONDS) as loaded:
        time.sleep(LOAD_SECONDS / 2)
        busy = loaded.copying()
        later, taken = host.recording.again, list[tuple[frozenset[Bdf], int]]()
        for _ in range(READINGS):
            for path, below in paths.items():
                for name in ATTRIBUTES if below & busy else ():
                    if not isinstance(host.read_again(f"{path}/{name}", "load"), Unread):
                        taken.append((below, len(later) - 1))
            time.sleep(LOAD_SECONDS / 2 / READINGS)
        still = busy & loaded.copying()
        why = loaded.why_not()
        for below, place in reversed(taken):  # what was not under load after all
            if not below & still:
                del later[place]
    for path in paths:
        for name in COUNTERS:
            host.read_again(f"{path}/{name}", "after")
    idle = [f"GPU {bdf} was not put under load: {why.get(bdf, 'it did not copy')}" for bdf in gpus if bdf not in still]
    return Unread("; ".join(idle), "one-reading") if idle else None

"""The process that looks at heat and power beside the workers, and holds them against the limits itself.

A worker reads its instruments between two pieces of work, so one that hangs reads nothing any more, while its GPU may
go on to heat. This process holds no device and does no work: it only reads, all GPUs at the same moment, so that their
power can be added up; and where a driver hangs, it hangs alone. Started by `boxcheck.engine.guarding`: the order comes
as one line on standard input, accounts go out, one a line; the end of its input ends it.

Reads   what telemetry's amdgpu, nvml, cpu and supply read; for the record alone, what its box reads
By hand echo '{"gpus":[],"root":"/"}' | python -m boxcheck.engine.guard
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import suppress

import msgspec

from boxcheck.engine.safety import Guard, Limits
from boxcheck.host.parent import die_with_parent
from boxcheck.model import Bdf, Unread
from boxcheck.telemetry.amdgpu import AmdgpuReader
from boxcheck.telemetry.box import BOX_SECONDS, BoxReader
from boxcheck.telemetry.cpu import Temperatures
from boxcheck.telemetry.files import SysFile
from boxcheck.telemetry.instruments import AMD, NVIDIA
from boxcheck.telemetry.links import DEVICES
from boxcheck.telemetry.nvml import NvmlReader
from boxcheck.telemetry.readings import HostReading, Reading
from boxcheck.telemetry.supply import Supply, SupplyReading

EVERY_SECONDS = 0.7
"""With what follows, less than two seconds lie between a crossing and the end of the load: at most this, again
(CONFIRM_SECONDS) where it takes two readings, 0.1 until the engine looks, HURRY_SECONDS of supervise.py."""
CONFIRM_SECONDS = 0.25
UNASKED = Unread("the guard does not ask for it", "unsupported")


class Order(msgspec.Struct, frozen=True, kw_only=True):
    gpus: tuple[tuple[str, str], ...] = ()
    """Addresses, with the vendor's PCI id."""
    root: str = "/"
    """Where sys/ is."""
    limits: Limits = Limits()


class Looker:
    """The instruments that safety needs, opened once."""

    def __init__(self, order: Order) -> None:
        root = order.root.rstrip("/")
        self._nvml = NvmlReader()
        self._nvidia = {Bdf(bdf): SysFile(root, f"{DEVICES}/{bdf}/power/runtime_status")
                        for bdf, vendor in order.gpus if vendor == NVIDIA}
        self._amd = [AmdgpuReader(root, Bdf(bdf)) for bdf, vendor in order.gpus if vendor == AMD]
        self._processor, self._supply = Temperatures(root), Supply(root)

    def look(self) -> tuple[tuple[Reading, ...], SupplyReading]:
        found: list[Reading] = [reader.read(time.monotonic()) for reader in self._amd]
        found += [self._nvml.read(bdf, time.monotonic()) for bdf, status in self._nvidia.items() if not status.asleep()]
        now = time.monotonic()
        found.append(HostReading(
            monotonic_seconds=now, cpu_power_watts=(), cpu_clocks=None,
            cpu_temperatures_celsius=self._processor.read(), cpu_busy_percent=UNASKED, memory_available_bytes=UNASKED,
            memory_total_bytes=UNASKED, core_throttles=None, package_throttles=()))
        return tuple(found), self._supply.read()


def _watch_input() -> None:
    """Ends the process with its input, whatever it is doing."""
    while sys.stdin.buffer.read(4096):
        pass
    os._exit(0)


def main() -> None:
    die_with_parent()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # of a machine that shuts down: the end of its input ends it
    with suppress(OSError):  # an ordinary user may not
        os.setpriority(os.PRIO_PROCESS, 0, -10)  # it must be heard while all cores work
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
    threading.Thread(target=_watch_input, daemon=True).start()
    looker, guard, around = Looker(order), Guard(order.limits), BoxReader(order.root.rstrip("/"))
    due = around_due = time.monotonic()
    while True:
        readings, supply = looker.look()
        guard.see("guard", readings, supply)
        told = guard.told()
        if time.monotonic() >= around_due and not guard.pending:  # what ends load comes first
            around_due = time.monotonic() + BOX_SECONDS
            told = msgspec.structs.replace(told, box=around.read(time.monotonic(), supply.watts))
        sys.stdout.buffer.write(msgspec.json.encode(told) + b"\n")
        sys.stdout.buffer.flush()
        due = max(due + (CONFIRM_SECONDS if guard.pending else EVERY_SECONDS), time.monotonic() + 0.05)
        time.sleep(due - time.monotonic())


if __name__ == "__main__":
    main()

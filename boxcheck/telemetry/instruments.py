"""Everything that is watched during a run, opened once: GPUs, the links above them, the host.

    with Instruments([(Bdf("0000:41:00.0"), "10de")]) as instruments:
        readings = instruments.read()
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType

from boxcheck.model import Bdf, Unread
from boxcheck.telemetry.amdgpu import ASLEEP, AmdgpuReader
from boxcheck.telemetry.files import SysFile
from boxcheck.telemetry.links import DEVICES, Port, ports_above
from boxcheck.telemetry.nvml import NvmlReader
from boxcheck.telemetry.readings import GpuReading, GpuSilent, Reading
from boxcheck.telemetry.system import HostReader

NVIDIA, AMD = "10de", "1002"
"""PCI ids of vendors (pci.ids)."""


class Instruments:
    """Reads all of it at each call, in the calling thread. A driver that hangs, hangs the call: run it in a process
    that can be given up. Nothing here raises for what the machine does or lacks."""

    def __init__(self, gpus: Sequence[tuple[Bdf, str]], root: str = "/") -> None:
        """`gpus` are addresses with the vendor's PCI id (`10de`). `root` is where sys/ and proc/ are."""
        root = root.rstrip("/")
        self._gpus = tuple(gpus)
        self._nvml = NvmlReader()
        self._status = {bdf: SysFile(root, f"{DEVICES}/{bdf}/power/runtime_status")
                        for bdf, vendor in self._gpus if vendor == NVIDIA}
        self._amdgpu = {bdf: AmdgpuReader(root, bdf) for bdf, vendor in self._gpus if vendor == AMD}
        ports = dict.fromkeys(port for bdf, _ in self._gpus for port in ports_above(root, bdf))
        self._ports = tuple(Port(root, bdf) for bdf in ports)
        self._own = frozenset(bdf for bdf, _ in self._gpus)
        self._host = HostReader(root)

    def read(self, mine: Callable[[str], bool] = lambda name: True) -> tuple[Reading, ...]:
        """One reading of each GPU in the order given, then of each function on the way to them, then of the host.

        `mine` says of `host` and of each port above GPUs, by its address, whether it is to be read: another may do so.
        """
        gpus = [self._gpu(bdf, vendor) for bdf, vendor in self._gpus]
        links = [port.read(time.monotonic()) for port in self._ports if port.bdf in self._own or mine(port.bdf)]
        gone = {link.bdf for link in links if link.gone}
        found = (*(self._believe(gpu, gone) for gpu in gpus), *links)
        return (*found, self._host.read(time.monotonic())) if mine("host") else found

    def _gpu(self, bdf: Bdf, vendor: str) -> GpuReading | GpuSilent:
        now = time.monotonic()
        if bdf in self._amdgpu:
            return self._amdgpu[bdf].read(now)
        if bdf in self._status:
            if self._status[bdf].asleep():
                return GpuSilent(bdf=bdf, monotonic_seconds=now, state="asleep", why=ASLEEP)
            return self._nvml.read(bdf, now)
        why = Unread(f"GPUs of vendor {vendor} are not read", "unsupported")
        return GpuSilent(bdf=bdf, monotonic_seconds=now, state="unread", why=why)

    def _believe(self, gpu: GpuReading | GpuSilent, gone: set[Bdf]) -> GpuReading | GpuSilent:
        """A GPU whose registers read all ones is lost, whatever its driver still tells from memory."""
        if gpu.bdf not in gone or (isinstance(gpu, GpuSilent) and gpu.state in ("lost", "reset-required")):
            return gpu
        why = Unread(f"{gpu.bdf} does not answer on its bus any more, or was never there", "error")
        return GpuSilent(bdf=gpu.bdf, monotonic_seconds=gpu.monotonic_seconds, state="lost", why=why)

    def close(self) -> None:
        opened: tuple[SysFile | Port | AmdgpuReader | HostReader | NvmlReader, ...] = (
            self._nvml, *self._status.values(), *self._amdgpu.values(), *self._ports, self._host)
        for one in opened:
            one.close()

    def __enter__(self) -> Instruments:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

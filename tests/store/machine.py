"""A made-up machine under load: readings and samples as workers send them, the same at each run.

NVIDIA cards as NVML tells of them and AMD cards as gpu_metrics does, eight functions on the way to each, a host. Power
and clocks are in the parts in which drivers measure; rates and device times are any fraction.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from boxcheck.gpu import GpuInfo
from boxcheck.model import Bdf, Unread
from boxcheck.store.clocks import Clock
from boxcheck.stress import Sample
from boxcheck.telemetry.readings import (
    BoxReading,
    Clocks,
    Count,
    GpuReading,
    HostReading,
    LinkReading,
    Named,
    Pcie,
    Reading,
)
from boxcheck.telemetry.throttle import amdgpu_reasons, nvml_reasons

CORRECTABLE = ("RxErr", "BadTLP", "BadDLLP", "Rollover", "Timeout", "NonFatalErr", "CorrIntErr", "HeaderOF")
UNCORRECTABLE = (
    "Undefined", "DLP", "SDES", "TLP", "FCP", "CmpltTO", "CmpltAbrt", "UnxCmplt", "RxOF", "MalfTLP", "ECRC",
    "UnsupReq", "ACSViol", "UncorrIntErr", "BlockedTLP", "AtomicOpBlocked", "TLPBlockedErr", "PoisonTLPBlocked")


class HandClock:
    """Clocks that a test moves."""

    def __init__(self, monotonic: float = 1000.0, wall: float = 1_800_000_000.0) -> None:
        self.monotonic, self.wall = monotonic, wall

    def clock(self) -> Clock:
        return Clock(monotonic=lambda: self.monotonic, wall=lambda: self.wall)

    def pass_by(self, seconds: float) -> None:
        self.monotonic += seconds
        self.wall += seconds


class Machine:
    """GPUs of one kind, and what each of their workers sends once a second."""

    def __init__(self, gpus: int = 2, *, vendor: str = "nvidia", seed: int = 1, links: int = 8) -> None:
        self.random = random.Random(seed)
        self._around = random.Random(seed)
        self.vendor = vendor
        self.bdfs = [Bdf(f"0000:{0x41 + number:02x}:00.0") for number in range(gpus)]
        self.gpus = tuple(
            GpuInfo(
                backend="cuda" if vendor == "nvidia" else "hip", index=number, name="RTX 4090", arch="sm_89", bdf=bdf,
                memory_bytes=24 << 30, free_bytes=23 << 30, compute_units=128, unified=False, is_gpu=True,
                driver="CUDA 13.0, driver 580.65")
            for number, bdf in enumerate(self.bdfs))
        self._chains = [
            [Bdf(f"0000:{0x40 + number:02x}:{step:02x}.1") for step in range(links - 1)] + [bdf]
            for number, bdf in enumerate(self.bdfs)]
        self._heat = [40.0] * gpus
        self._energy = [1_000_000 * number for number in range(gpus)]
        self._moved = [0] * gpus
        self._held = [0] * gpus
        self.errors: dict[str, int] = {}
        """BadTLP by address: a test may let them grow."""
        self.amd_watts, self.amd_limit_watts = (300, 355), 355.0
        """Of each AMD GPU: what it takes, from and up to, and its limit."""
        self.cpu_watts = 180.0
        self.supply_watts = (3300, 3420)

    def told_by(self, number: int, monotonic: float, *, host: bool = True) -> tuple[Reading, ...]:
        """What the worker of one GPU sends."""
        gpu = self._nvidia(number, monotonic) if self.vendor == "nvidia" else self._amd(number, monotonic)
        links = [self._link(bdf, monotonic + 0.001) for bdf in self._chains[number]]
        return (gpu, *links, *([self._host(monotonic + 0.002)] if host else []))

    def _nvidia(self, number: int, now: float) -> GpuReading:
        some = self.random
        self._heat[number] += (72 - self._heat[number]) * 0.02 + some.uniform(-0.4, 0.4)
        power = round(some.gauss(440_000, 3000))
        self._energy[number] += power
        self._moved[number] += some.randrange(10**9, 2 * 10**9)
        self._held[number] += some.randrange(400_000_000, 900_000_000)
        bits = 4 if some.random() < 0.9 else 0
        return GpuReading(
            bdf=self.bdfs[number], monotonic_seconds=now, power_of="card", power_watts=power / 1000,
            power_instant_watts=round(some.gauss(441_000, 9000)) / 1000, power_limit_watts=450.0,
            energy_joules=self._energy[number] / 1000,
            temperatures_celsius=(Named("core", float(round(self._heat[number]))),),
            clocks_mhz=(Named("gfx", 15.0 * some.randrange(165, 178)), Named("sm", 15.0 * some.randrange(165, 178)),
                        Named("mem", 10501.0)),
            throttle=nvml_reasons(bits), throttle_bits=bits,
            throttle_counters=(Count("power", self._held[number]), Count("thermal", 0), Count("board limit", 0),
                               Count("reliability", 0)),
            busy_percent=100.0, memory_busy_percent=float(some.randrange(20, 60)),
            memory_used_bytes=(22 << 30) + 65536 * some.randrange(3), memory_total_bytes=24 << 30,
            fan_percent=float(some.randrange(60, 64)), fan_rpm=some.randrange(2000, 2060), performance_state=2,
            pcie=Pcie(
                speed_gts=16.0, width=16, replays=0, received_bytes=self._moved[number],
                sent_bytes=self._moved[number] // 2 + some.randrange(10**8), errors=tuple(Count(name, 0) for name in (
                    "replay rollovers", "correctable", "bad TLPs", "bad DLLPs", "non-fatal", "fatal"))),
            memory_errors=(Count("corrected", 0), Count("uncorrected", 0)))

    def _amd(self, number: int, now: float) -> GpuReading:
        some = self.random
        self._heat[number] += (68 - self._heat[number]) * 0.02 + some.uniform(-0.4, 0.4)
        edge = float(round(self._heat[number]))
        bits = 1 if some.random() < 0.8 else 0
        return GpuReading(
            bdf=self.bdfs[number], monotonic_seconds=now, power_of="card", power_watts=float(some.randrange(*self.amd_watts)),
            power_instant_watts=Unread("power1_input: permission denied", "permission"),
            power_limit_watts=self.amd_limit_watts,
            temperatures_celsius=(
                Named("edge", edge), Named("junction", edge + some.randrange(15, 22)),
                Named("mem", edge + some.randrange(10, 14)), Named("vrgfx", edge + some.randrange(8)),
                Named("vrsoc", edge), Named("vrmem", Unread("0 degrees is no temperature of a part that runs",
                                                            "malformed"))),
            clocks_mhz=tuple(Named(name, float(some.randrange(1200, 2500))) for name in (
                "gfx", "gfx average", "soc", "mem", "vclk", "dclk")),
            throttle=amdgpu_reasons(bits), throttle_bits=bits, busy_percent=99.0,
            memory_busy_percent=float(some.randrange(10, 40)), memory_used_bytes=23 << 30, memory_total_bytes=24 << 30,
            host_memory_used_bytes=16 << 20, fan_rpm=some.randrange(2800, 2900),
            voltages_volts=(Named("vddgfx", some.randrange(900, 1100) / 1000), Named("vddsoc", 0.85)),
            pcie=Pcie(speed_gts=16.0, width=16, replays=0))

    def _link(self, bdf: Bdf, now: float) -> LinkReading:
        counts = tuple(Count(name, self.errors.get(bdf, 0) if name == "BadTLP" else 0) for name in CORRECTABLE)
        zero = tuple(Count(name, 0) for name in UNCORRECTABLE)
        return LinkReading(bdf=bdf, monotonic_seconds=now, speed_gts=16.0, width=16, correctable=counts,
                           nonfatal=zero, fatal=zero)

    def _host(self, now: float) -> HostReading:
        some = self.random
        return HostReading(
            monotonic_seconds=now,
            cpu_power_watts=(Named("package-0", some.gauss(self.cpu_watts, self.cpu_watts / 20)), Named("dram", some.gauss(30, 2))),
            cpu_clocks=Clocks(some.uniform(2000, 2400), some.uniform(2500, 3000), some.uniform(3300, 3500), 64),
            cpu_temperatures_celsius=(Named("Tctl", some.randrange(480, 620) / 8),),
            cpu_busy_percent=some.uniform(3, 12), memory_available_bytes=some.randrange(10**10, 11 * 10**9) & ~4095,
            memory_total_bytes=256 << 30, core_throttles=None, package_throttles=())

    def told_around(self, now: float) -> BoxReading:
        """What the guard tells of the box every five seconds: two drives, a meter, seven fans."""
        some = self._around
        return BoxReading(
            monotonic_seconds=now,
            drives_celsius=tuple(Named(f"nvme{at}", some.randrange(410, 440) / 10 - 0.15) for at in range(2)),
            drives_busy_percent=tuple(Named(f"nvme{at}n1", some.uniform(0, 6)) for at in range(2)),
            supply_watts=(Named("hwmon5", float(some.randrange(*self.supply_watts))),),
            fans_rpm=(*(Named(f"nct6798 fan{at}", float(some.randrange(1180, 1320))) for at in range(1, 7)),
                      Named("nct6798 fan7", 0.0)))

    def sample(self, number: int, *, wrong: int = 0) -> Sample:
        """As matmul gives them at full power."""
        some = self.random
        seconds = some.gauss(0.33, 0.002)
        return Sample(
            what="matmul.bf16.power", gpu=self.gpus[number].key, seconds=seconds, value=52.0 / seconds, unit="TFLOPS",
            checked=1, of="digests", wrong=wrong, notes={
                "engine": "own", "kernel": "mma-bf16-256x128", "shape": "8192x8192x8192", "digest": "9f3c2a1b00ff17e2",
                "products": some.randrange(60, 64), "verify_percent": round(some.gauss(1.5, 0.1), 2)})

    def copies(self, number: int) -> Iterator[Sample]:
        """As copy gives them: bytes moved, and notes that are numbers."""
        key = self.gpus[number].key
        for what, way in (("copy.host-to-device.pinned", f"host>{key}"), ("copy.device-to-host.pinned", f"{key}>host")):
            yield Sample(
                what=what, gpu=key, peer="host", seconds=self.random.gauss(0.4, 0.01),
                value=self.random.gauss(25.9, 0.1), unit="GB/s", checked=1 << 28, of="bytes", wrong=0,
                moved={way: 1 << 33}, notes={"bytes": 1 << 28, "rounds": 8, "copies": 32, "together": 1,
                                             "verify_seconds": round(self.random.gauss(0.012, 0.001), 4)})

"""A made-up burn-in of a made-up box, second by second into a real store: findings come from the engine's own judges, the
capture and doctor's records from the built boxes. The same at each run, as all clocks are moved by hand.

    run = Burning(folder, "wopr-7x4090")
    run.doctor("doctor before")
    run.load("matmul", 40)
    run.finish()
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache
from random import Random

import msgspec

from boxcheck.engine.begin import CAPTURE, gravest
from boxcheck.engine.identities import identified
from boxcheck.engine.inspect import Facts, name_slots, read_facts
from boxcheck.engine.safety import Guard, limits_of
from boxcheck.engine.stress import decides, judge_results, slots_of
from boxcheck.gpu import GpuInfo
from boxcheck.host.capture import CaptureHost
from boxcheck.judge import judge
from boxcheck.model import Bdf, Crash, Finding, Unread
from boxcheck.probes.gpus import Gpus
from boxcheck.probes.pci import PciInventory
from boxcheck.profile import Profile, load_profile
from boxcheck.registry import discover, discover_stress
from boxcheck.store.creating import create_run
from boxcheck.store.rows import PhasePlan, PhaseStart, ProfileName, RunInfo
from boxcheck.stress import Sample, StressResults
from boxcheck.stress.copy import names
from boxcheck.stress.p2p_plan import expected
from boxcheck.stress.tally import Tally
from boxcheck.telemetry.readings import GpuReading, GpuSilent, LinkReading, Named, Reading
from boxcheck.telemetry.throttle import nvml_reasons
from tests.boxes import machine
from tests.boxes.mutations import port_of
from tests.store.machine import HandClock, Machine

PROCESSOR = GpuInfo(
    backend="cpu", index=0, name="AMD EPYC 7763 64-Core Processor", arch="cpu", bdf=None, memory_bytes=1 << 38,
    free_bytes=1 << 37, compute_units=64, unified=True, is_gpu=False, driver="numpy")
TFLOPS = {"bf16": 163.0, "fp16": 164.5, "int8": 320.0, "tf32": 84.0, "fp32": 60.0, "e4m3": 163.5}
STARTED = 1_795_267_204.0
"""2026-11-21T13:20:04Z."""


@cache
def packed(box: str, bad_tlps: int = 0) -> bytes:
    """The capture of a built box, as a run attaches it. `bad_tlps`: that the port of PCIE3 has counted."""
    made = machine(box)
    if bad_tlps:
        port_of(made).count({"BadTLP": bad_tlps})
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, CAPTURE)
        made.tree().write_tar(path)
        with open(path, "rb") as stream:
            return stream.read()


@cache
def facts_of(box: str) -> tuple[Facts, PciInventory]:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, CAPTURE)
        with open(path, "wb") as stream:
            stream.write(packed(box))
        facts = read_facts(CaptureHost(path))
    found = facts.of(PciInventory)
    assert not isinstance(found, Unread)
    return facts, found


@cache
def doctor_record(box: str, profile: str, bad_tlps: int = 0) -> tuple[bytes, tuple[Finding, ...], str]:
    """What `boxcheck doctor` says of a built box: its record, findings, outcome. `bad_tlps`: as of `packed`."""
    from boxcheck.commands.doctor import Options, examine
    from boxcheck.report.json import run_json

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "box.tar.gz")
        with open(path, "wb") as stream:
            stream.write(packed(box, bad_tlps) if bad_tlps else packed(box))
        account, _ = examine(Options(profile=profile, sysroot=path, wake=False, save=False))
    account = msgspec.structs.replace(account, started=STARTED, finished=STARTED + 8.0, sysroot="box.tar.gz")
    return run_json(account, with_facts=False).encode(), tuple(account.verdict.findings), account.verdict.outcome.value


class BoxMachine(Machine):
    """The GPUs of a built box and the ways to them, with faults that a scene turns on."""

    def __init__(self, gpus: tuple[GpuInfo, ...], chains: list[list[Bdf]], vendor: str) -> None:
        super().__init__(len(gpus), vendor=vendor)
        self.gpus, self._chains = gpus, chains
        self.bdfs = [Bdf(info.bdf or "0000:00:00.0") for info in gpus]
        self.slow: dict[int, float] = {}
        """By number of a GPU: the part of its rate that it reaches."""
        self.hot: dict[int, float] = {}
        """By number: degrees above what it would have; held down for heat then."""
        self.lanes: dict[str, int] = {}
        self.gone: set[str] = set()
        """Addresses that answer no more."""
        self.wrong: dict[int, int] = {}

    def told_by(self, number: int, monotonic: float, *, host: bool = True) -> tuple[Reading, ...]:
        first, *rest = super().told_by(number, monotonic, host=host)
        if self.bdfs[number] in self.gone:
            why = Unread("NVML: the GPU is lost", "error")
            return (GpuSilent(bdf=self.bdfs[number], monotonic_seconds=monotonic, state="lost", why=why), *rest)
        if number in self.hot and isinstance(first, GpuReading):
            heat = tuple(
                Named(one.name, one.value if isinstance(one.value, Unread) else one.value + self.hot[number])
                for one in (first.temperatures_celsius if isinstance(first.temperatures_celsius, tuple) else ()))
            first = msgspec.structs.replace(first, temperatures_celsius=heat, throttle=nvml_reasons(32), throttle_bits=32)
        return (first, *rest)

    def _link(self, bdf: Bdf, now: float) -> LinkReading:
        found = super()._link(bdf, now)
        if bdf in self.gone:
            ones = Unread("its registers read all ones", "error")
            return msgspec.structs.replace(
                found, speed_gts=ones, width=ones, correctable=ones, nonfatal=ones, fatal=ones, gone=True)
        return msgspec.structs.replace(found, width=self.lanes.get(bdf, 16))

    def value(self, number: int, whole: float) -> float:
        return whole * self.slow.get(number, 1.0) * self.random.uniform(0.994, 1.006)


class Burning:
    """A run that goes on as long as it is told to."""

    def __init__(
        self, folder: str, box: str = "wopr-7x4090", *, profile: str | None = None, count: int | None = None,
        serial: str = "W-0007", planned: Iterable[tuple[str, float]] = (), wall: float = STARTED,
        names: Callable[[int, str], str] = lambda number, name: name, slots: Callable[[str], str] = lambda slot: slot,
        backend: str = "cuda", arch: str = "sm_89", processor: bool = False, capture: bool = True,
        version: str = "0.4.0",
    ) -> None:
        discover()
        discover_stress()
        self.box, self.want = box, load_profile(profile or box.partition("+")[0])
        self.facts, inventory = facts_of(box)
        name_slots(self.facts, self.want)
        found = self.facts.of(Gpus)
        known = [] if isinstance(found, Unread) else sorted(found.gpus, key=lambda gpu: (gpu.slot or "", gpu.bdf))
        infos = tuple(
            GpuInfo(
                backend=backend, index=at, name=names(at, gpu.name or "GPU"), arch=arch, bdf=gpu.bdf,  # type: ignore[arg-type]
                memory_bytes=24 << 30, free_bytes=23 << 30, compute_units=128, unified=False, is_gpu=True,
                driver="CUDA 13.0, driver 580.65") for at, gpu in enumerate(known))
        self.slots = {key: slots(slot) for key, slot in slots_of(infos, self.facts).items()}
        chains = [
            [*(Bdf(one.bdf) for one in reversed(list(inventory.ancestors(Bdf(info.bdf or ""))))), Bdf(info.bdf or "")]
            for info in infos]
        infos = identified(infos, self.facts)
        if count is not None:  # more than any built box has
            infos = tuple(
                msgspec.structs.replace(infos[0], index=at, bdf=Bdf(f"0000:{0x10 + at:02x}:00.0")) for at in range(count))
            chains = [[Bdf(f"0000:00:{at:02x}.1"), Bdf(info.bdf or "")] for at, info in enumerate(infos)]
            self.slots = {info.key: f"PCIE{at + 1}" for at, info in enumerate(infos)}
        if processor:
            infos, chains, self.slots = (PROCESSOR,), [[]], {}
        self.infos, self.hand = infos, HandClock(wall=wall)
        self.machine = BoxMachine(infos, chains, "nvidia" if backend == "cuda" else "amd")
        self.processor = processor
        self.tflops = TFLOPS
        self.silent: set[int] = set()
        """Numbers of GPUs of which nothing is read any more."""
        self._number, self._findings, self._looks = 0, list[Finding](), 0
        plan = {"name": "level 2", "certain": True, "steps": [
            {"name": name, "kind": "stress", "modules": [name], "seconds": seconds} for name, seconds in planned]}
        os.makedirs(folder, exist_ok=True)
        self.store = create_run(folder, RunInfo(
            kind="burn", version=version, boot="b0", box=serial, plan=plan,
            profile=ProfileName(self.want.name, self.want.revision, "0" * 64)), clock=self.hand.clock())
        self.path = self.store.path
        if capture and count is None:
            self.store.attach(CAPTURE, packed(box), "application/gzip")

    # Phases.

    def doctor(self, name: str, seconds: float = 8.0, box: str | None = None, bad_tlps: int = 0) -> None:
        record, findings, outcome = doctor_record(box or self.box, self.want.name, bad_tlps)
        self._begin(name, "", seconds)
        self.hand.pass_by(seconds)
        self.store.attach(name.replace(" ", "-"), record)
        self.store.findings(self._number, findings)
        if name == "doctor after":  # that before is for comparison
            self._findings += findings
        self.store.end_phase(self._number, outcome=outcome)

    def load(
        self, module: str, seconds: int, *, planned: float | None = None, ends: bool = True, troubles: tuple = (),  # type: ignore[type-arg]
        each: Callable[[int], None] = lambda second: None,
    ) -> None:
        """`each` is called before each second of it."""
        self._begin(module, module, planned or float(seconds), self.infos)
        self.store.begin_phase(self._number, PhaseStart(gpus=self.infos, slots=self.slots, full_size=not self.processor))
        tally, samples, guard = Tally(self.infos), list[Sample](), Guard(limits_of(self.want))
        work = self._work(module, seconds)
        for second in range(seconds):
            each(second)
            self.hand.pass_by(1.0)
            self._read(tally, guard)
            for number, one in next(work):
                samples.append(one)
                self._sample(number, one)
            if second % 10 == 9:
                self.store.flush()
        self.store.flush()
        if ends:
            done = tuple(info.key for info in self.infos if not any(info.key in one.gpus for one in troubles))
            self._judge(StressResults(
                module=module, gpus=self.infos, slots=self.slots, samples=tuple(samples), troubles=troubles, ended=done,
                full_size=not self.processor, safety=guard.account()), tally)

    def _begin(self, name: str, module: str, planned: float, devices: tuple[GpuInfo, ...] = ()) -> None:
        self._number += 1
        self.store.plan_phase(PhasePlan(
            number=self._number, name=name, module=module, planned_seconds=planned,
            devices=tuple(info.key for info in devices)))
        self.store.about(self._number, name)
        if not module:
            self.store.begin_phase(self._number, PhaseStart())

    def _read(self, tally: Tally, guard: Guard) -> None:
        for number in range(len(self.infos)):
            if number in self.silent:
                continue
            told = self.machine.told_by(number, self.hand.monotonic - 0.9 + 0.01 * number)
            told = told[-1:] if self.processor else told
            tally.add(told)
            guard.see(str(number), told)
            self.store.watched(self._number, told)
        if self._looks % 5 == 0:
            self.store.watched(self._number, (self.machine.told_around(self.hand.monotonic - 0.5),))
        self._looks += 1

    def _sample(self, number: int, one: Sample) -> None:
        self.store.sample(self._number, one, worker=number)
        if one.wrong:
            self.event("wrong-result", f"{one.what}: {one.wrong} wrong of {one.checked} {one.of}", severity="fail",
                       subject=one.gpu, data={"wrong": one.wrong, "checked": one.checked})

    def event(self, kind: str, says: str, **fields: object) -> None:
        self.store.event(kind, says, phase=self._number, **fields)  # type: ignore[arg-type]

    def _judge(self, results: StressResults, tally: Tally) -> None:
        crashes: list[Crash]
        found, crashes = judge_results(results, tally.result(), self.facts, self.want)
        assert not crashes, crashes
        placed = [msgspec.structs.replace(one, blocker=decides(one, self.want)) for one in found]
        self._findings += placed
        self.store.findings(self._number, placed)
        self.store.end_phase(self._number, results, outcome=gravest(placed).value)

    # Its end.

    def finish(self, state: str = "finished", reason: str = "") -> str:
        verdict = judge(self._findings, self.want, left_out=("copy",) if state == "stopped" else ())
        self.store.end(state, verdict, reason=reason)  # type: ignore[arg-type]
        return self.path

    def crash(self) -> str:
        """Nobody writes it any more, and it has no end."""
        self.store.flush()
        self.store.close()
        return self.path

    def close(self) -> None:
        with suppress(OSError):
            self.store.close()

    # What workers send, a second at a time.

    def _work(self, module: str, seconds: int) -> Iterator[list[tuple[int, Sample]]]:
        if module == "matmul":
            return self._products(max(1, seconds // len(self.tflops)))
        return {"p2p": self._pairs, "copy": self._copies, "cpu": self._cores}[module]()

    def _products(self, each: int) -> Iterator[list[tuple[int, Sample]]]:
        """So many seconds of each kind of number."""
        machine, second = self.machine, 0
        while True:
            element = list(self.tflops)[second // each % len(self.tflops)]
            base = {"kernel": f"mma-{element}-256x128", "shape": "8192x8192x8192", "engine": "own", "digest": "9f3c2a1b"}
            found = []
            for number, info in enumerate(self.infos):
                if info.bdf in machine.gone or (number in machine.wrong and machine.wrong[number] < 0):
                    continue
                if second % each == 0:
                    found += [(number, Sample(
                        what=f"matmul.{element}.{what}", gpu=info.key, seconds=0.3, checked=1 << 26, of="elements", wrong=0,
                        notes={**base, "verdict": "right"})) for what in ("self-test", "exact", "inputs")]
                value = machine.value(number, self.tflops[element])
                found.append((number, Sample(
                    what=f"matmul.{element}.power", gpu=info.key, seconds=1.0, value=value, unit="TFLOPS", checked=8,
                    of="digests", wrong=machine.wrong.pop(number, 0), notes=base)))
            yield found
            second += 1

    def _copies(self) -> Iterator[list[tuple[int, Sample]]]:
        second = 0
        while True:
            found = []
            for number, info in enumerate(self.infos):
                for what in names():
                    rate = self.machine.value(number, 26.0 if "pinned" in what else 12.0)
                    way = f"host>{info.key}" if "host-to-device" in what else f"{info.key}>host"
                    found.append((number, Sample(
                        what=what, gpu=info.key, peer="host", seconds=0.12, value=rate, unit="GB/s", checked=1 << 28,
                        of="bytes", wrong=0, moved={way: 1 << 32},
                        notes={"together": "no" if second % 2 else "yes", "bytes": 1 << 28})))
            yield found
            second += 1

    def _pairs(self) -> Iterator[list[tuple[int, Sample]]]:
        count = len(self.infos)
        keys = [info.key for info in self.infos]
        ends = [(one, other) for one in range(count) for other in range(count) if one != other]
        reach = dict.fromkeys(ends, True)
        first = [(0, Sample(
            what="p2p.access", gpu=keys[one], peer=keys[other], seconds=0.0, checked=0, wrong=0, notes={"access": "yes"}))
            for one, other in ends]
        wanted = expected(count, reach)
        whats = sorted({what for of in wanted.values() for what in of}, key=lambda what: (
            what != "p2p.one-way.engine-write", what))
        work = [(what, one, other) for what in whats for (one, other) in ends if what in wanted[one, other]]
        random, at = Random(3), 0
        while True:
            found, first = first, []
            for _ in range(28 if count < 10 else 100):
                what, one, other = work[at % len(work)]
                at += 1
                rate = 25.9 * min(self.machine.slow.get(one, 1.0), self.machine.slow.get(other, 1.0))
                latency = "latency" in what
                found.append((0, Sample(
                    what=what, gpu=keys[one], peer=keys[other], seconds=0.04, unit="us" if latency else "GB/s", wrong=0,
                    value=(1.4 if latency else rate) * random.uniform(0.99, 1.01), checked=1 << 26, of="bytes",
                    moved={} if latency else {f"{keys[one]}>{keys[other]}": 1 << 30}, notes={"bytes": 1 << 26})))
            yield found

    def _cores(self) -> Iterator[list[tuple[int, Sample]]]:
        second, some = 0, self.machine.random
        while True:
            yield [(0, Sample(
                what="cpu.fp64.exact", gpu="cpu:0", seconds=4.6, value=some.gauss(54, 0.2), unit="GFLOPS",
                checked=117 << 20, of="elements", wrong=0, notes={
                    "library": "scipy-openblas 0.3.31", "core_name": "Zen", "side": 1024, "core": core, "node": 0,
                    "package": 0, "products": 112, "wrong_input_words": 0, "busy_percent": 96.0, "verify_percent": 1.8}))
                for core in range(64)] if second % 5 == 0 else []
            second += 1


def want_of(path: str) -> Profile:
    """The profile that a made-up run names."""
    from boxcheck.store.reader import RunReader

    with RunReader(path) as reader:
        name = reader.run().info.profile
    return load_profile(name.name if name else "generic")

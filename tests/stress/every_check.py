"""For every check of a stress module: results on which it passes and, by a notch, some on which it does not.

Results are made up, sample by sample as the modules give them; limits are those of the shipped profile of a box, so that
a notch also shows what that profile asks for. tests/stress/test_every_check.py judges them, and says what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import msgspec

from boxcheck.engine.inspect import read_facts
from boxcheck.engine.safety import limits_of
from boxcheck.gpu import GpuInfo
from boxcheck.model import Bdf, Finding
from boxcheck.probes.gpus import Gpus
from boxcheck.probes.kernel_log import KernelLogs
from boxcheck.probes.links import Links
from boxcheck.probes.pci import PciInventory
from boxcheck.probes.pcie_aer import Aer
from boxcheck.profile import load_profile
from boxcheck.registry import CHECKS, LIMITS, run_check
from boxcheck.stress import Sample, StressResults, Trouble
from boxcheck.stress.boundaries import Boundaries, Boundary, boundaries
from boxcheck.stress.burn_link_checks import BerAsked
from boxcheck.stress.collective import NAMES, TRAINING
from boxcheck.stress.copy import names
from boxcheck.stress.course import Climb, Course
from boxcheck.stress.growth import Fall
from boxcheck.stress.link_ledger import Direction
from boxcheck.stress.link_routes import Hop, LinkMap
from boxcheck.stress.p2p_plan import expected
from boxcheck.stress.runtime import RuntimeGpus
from boxcheck.stress.safety import Blind, BlindStop, Near, Safety, SafetyStop
from boxcheck.stress.survived_checks import Downtime, Survival, Trace
from boxcheck.stress.watched import Watching
from boxcheck.telemetry.boundary import GpuCounters, Snapshot
from tests.boxes import build
from tests.boxes.memory import host
from tests.stress import around_doubles as around

WOPR, GREEN, GREEN2, RED, DEV = "wopr-7x4090", "tinybox-green", "tinybox-green-v2", "tinybox-red", "geohot-amd-dev"
STRIX = "strix-halo"
GIB = 1 << 30
ROUNDS = 8
"""Samples of a kind: as many as the checks want to tell whether a rate falls."""
ELEMENTS = ("bf16", "fp16", "int8", "tf32", "e4m3", "fp32")
FAST = 500.0
"""TFLOPS above every limit."""

Made = Mapping[type, Any]
"""What a check reads, by type."""


class Notch(NamedTuple):
    check: str
    box: str
    """Profile whose limits are asked."""
    make: Callable[[Any], Made]
    sides: Sequence[tuple[Any, str]]
    """Values in order, each with the gravest outcome that the check may then find."""
    limit: str | None = None
    """The limit of the profile that decides. The finding must say the value as what was measured."""


def device(index: int, **changes: Any) -> GpuInfo:
    found = GpuInfo(
        backend="cuda", index=index, name="RTX 4090", arch="sm_89", bdf=Bdf(f"0000:{0x01 + 0x20 * index:02x}:00.0"),
        memory_bytes=24 * GIB, free_bytes=23 * GIB, compute_units=128, unified=False, is_gpu=True, driver="CUDA 13.0")
    return msgspec.structs.replace(found, **changes)


def results(
    module: str, samples: Iterable[Sample] = (), *, gpus: int | Sequence[GpuInfo] = 2, **changes: Any
) -> dict[type, Any]:
    """A run of a module on that many GPUs that came to its end, with instruments that showed nothing bad."""
    infos = tuple(map(device, range(gpus))) if isinstance(gpus, int) else tuple(gpus)
    keys = tuple(info.key for info in infos)
    found = StressResults(
        module=module, gpus=infos, slots={key: f"PCIE{at}" for at, key in enumerate(keys, 1)}, samples=tuple(samples),
        troubles=(), ended=keys)
    watching = Watching(
        seconds=60.0, hottest_celsius={key: {"core": 70.0, "mem": 80.0} for key in keys},
        most_watts=dict.fromkeys(keys, 440.0), throttled={}, readings=dict.fromkeys(keys, 120), silent={}, link_errors={},
        links=tuple(info.bdf for info in infos if info.bdf is not None))
    return {StressResults: msgspec.structs.replace(found, **changes), Watching: watching}


def sample(what: str, gpu: str = "cuda:0", **fields: Any) -> Sample:
    return Sample(**{"what": what, "gpu": gpu, "seconds": 0.25, "checked": 1000, "wrong": 0, **fields})


def watched(**fields: Any) -> Made:
    """A run whose instruments showed this."""
    made = results("matmul")
    return {**made, Watching: msgspec.structs.replace(made[Watching], **fields)}


# Matrix products


def products(**changes: Any) -> list[Sample]:
    """Samples of two GPUs, each element in each phase. `changes` are of those of `cuda:0`: by element what it reaches,
    or by the end of a sample's name the fields of it."""
    found = []
    for key in ("cuda:0", "cuda:1"):
        mine = changes if key == "cuda:0" else {}
        for element in ELEMENTS:
            base: dict[str, Any] = {"gpu": key, "of": "elements"}
            notes = {"kernel": f"mma-{element}", "shape": "8192x8192x8192", "engine": "own", "digest": "aa"}
            proof = {"notes": {"kernel": f"mma-{element}", "verdict": "right"}}
            for phase, fields in (("self-test", proof), ("exact", {}), ("inputs", {})):
                found.append(sample(f"matmul.{element}.{phase}", **{**base, **fields, **mine.get(phase, {})}))
            for number in range(ROUNDS):
                value = mine.get(element, FAST) * (mine.get("last", 1.0) if number >= ROUNDS * 3 // 4 else 1.0)
                found.append(sample(f"matmul.{element}.power", **{
                    **base, "of": "digests", "checked": 1, "value": value, "unit": "TFLOPS", "notes": notes,
                    **mine.get("power", {})}))
    return found


def matmul(**changes: Any) -> Made:
    return results("matmul", products(**changes))


def multiplies(element: str) -> Callable[[float], Made]:
    return lambda tflops: matmul(**{element: tflops})


def unlike(digest: str) -> Made:
    """Three GPUs of a model, of which one has another digest."""
    found = [
        sample("matmul.bf16.power", f"cuda:{at}", of="digests", checked=1, value=FAST, unit="TFLOPS", notes={
            "kernel": "mma-bf16", "shape": "8192x8192x8192", "digest": digest if at == 1 else "aa"}) for at in range(3)]
    return results("matmul", found, gpus=3)


def by_library(wrong: int) -> Made:
    """Products of a library, of which those of one element may be wrong."""
    notes = {"engine": "cuBLAS 12.9", "library": "cuBLAS 12.9", "library_state": "right"}
    found = [sample(f"matmul.{element}.{phase}", notes=notes, value=FAST, unit="TFLOPS", wrong=bad)
             for element in ("bf16", "fp16") for phase, bad in (
                 ("library", wrong if element == "fp16" else 0), ("power", 0))]
    return results("matmul", found, gpus=1)


def library_reaches(percent: float) -> Made:
    found = [sample("matmul.bf16.trial", value=value, unit="TFLOPS", notes={"engine": engine})
             for engine, value in (("own", 100.0), ("cuBLAS 12.9", percent))]
    return results("matmul", found, gpus=1)


# Memory


def vram(
    wrong: int = 0, blind: int = 0, copy: float = 1700.0, held: float = 100.0, free: float = 100.0, last: float = 100.0,
    info: GpuInfo | None = None,
) -> Made:
    """One GPU's memory: percent of what is free that was held, of its memory that was free, and of the rate at the end."""
    info = device(0, memory_bytes=24_000 << 20) if info is None else info
    usable = round(info.memory_bytes * free / 100)
    notes = {
        "held_bytes": round(usable * held / 100), "usable_bytes": usable, "free_bytes": usable,
        "accounting": "read+write"}
    found = [sample("vram.self-test", info.key, wrong=blind)]
    found += [sample(what, info.key, value=copy, unit="GB/s", notes={"accounting": "copy_rw"})
              for what in ("vram.copy", "vram.copy.engine")]
    for number in range(ROUNDS):
        for family in ("address", "retention", "inversion", "random", "walking"):
            rate = min(1000.0, copy) * (last / 100 if number >= ROUNDS * 3 // 4 else 1.0)
            found.append(sample(
                f"vram.{family}", info.key, value=rate, unit="GB/s", notes=notes, checked=info.memory_bytes,
                wrong=wrong if (number, family) == (1, "random") else 0))
    return results("vram", found, gpus=[info])


# Copies


def copies(wrong: int = 0, last: float = 100.0, **rates: float) -> Made:
    """One GPU and the host; `rates` of pinned copies by direction, `to` and `of` the GPU."""
    pinned = {"copy.host-to-device.pinned": rates.get("to", 60.0), "copy.device-to-host.pinned": rates.get("of", 60.0)}
    return results("copy", [
        sample(what, peer="host", unit="GB/s", notes={"together": "no", "bytes": 1 << 28},
               value=pinned.get(what, 60.0) * (last / 100 if number >= ROUNDS * 3 // 4 else 1.0),
               wrong=wrong if (number, what) == (1, "copy.device-to-host.pinned") else 0)
        for number in range(ROUNDS) for what in names()], gpus=1)


def between(
    count: int = 3, wrong: int = 0, last: float = 100.0, one_way: float = 60.0, both_ways: float = 120.0,
    reached: bool = True, crowd: float = 60.0,
) -> Made:
    """All that a run between GPUs gives; the rates are those of the first pair, `crowd` that of writes all to all."""
    ends = [(one, other) for one in range(count) for other in range(count) if one != other]
    found = [
        sample("p2p.access", f"cuda:{one}", peer=f"cuda:{other}", checked=0, notes={
            "access": "yes" if reached or (one, other) != (0, 1) else "no"}) for one, other in ends]
    reach = {pair: reached or pair != (0, 1) for pair in ends}
    for number in range(ROUNDS):
        for (one, other), whats in expected(count, reach).items():
            for what in whats:
                rate = one_way if what.startswith("p2p.one-way.") else both_ways / 2 if "both-ways" in what else 60.0
                rate = rate if {one, other} == {0, 1} else 60.0
                rate = crowd if what == "p2p.all-to-all.engine-write" else rate
                found.append(sample(
                    what, f"cuda:{one}", peer=f"cuda:{other}", unit="us" if "latency" in what else "GB/s",
                    value=rate * (last / 100 if number >= ROUNDS * 3 // 4 else 1.0), notes={"bytes": 1 << 26},
                    wrong=wrong if (number, one, other) == (1, 0, 1) else 0))
    return results("p2p", found, gpus=count)


def collective(wrong: int = 0, product: int = 0, busbw: float = 100.0, last: float = 100.0) -> Made:
    found = []
    for number in range(ROUNDS):
        for key in ("cuda:0", "cuda:1"):
            now = number == 1 and key == "cuda:1"
            for name in (*NAMES, TRAINING):
                found.append(sample(
                    f"collective.{name}", key, value=busbw * (last / 100 if number >= ROUNDS * 3 // 4 else 1.0),
                    unit="GB/s", wrong=wrong if now and name == "all-reduce" else 0, notes={"bytes": 1 << 28}))
            found.append(sample(
                "collective.product", key, value=100.0, unit="TFLOPS", of="digests", checked=1,
                wrong=product if now else 0))
    return results("collective", found)


def by_nccl(wrong: int = 0, percent: float = 100.0, state: str = "found") -> Made:
    """The own ring at 20 GB/s, and the library beside it at so many percent of that."""
    found, engine = [], {"engine": "nccl 2.32.3"}
    for key in ("cuda:0", "cuda:1"):
        for name in NAMES:
            found.append(sample(f"collective.{name}", key, value=20.0, unit="GB/s", notes={
                "library": "nccl 2.32.3", "library_state": state}))
            found.append(sample(f"collective.library.{name}", key, value=20.0 * percent / 100, unit="GB/s",
                                wrong=wrong if name == "all-gather" else 0, notes=engine))
    return results("collective", found)


# Power, waking, the run as a whole


def pulses(wrong: int = 0, late: float = 1.0, made: int = 10, first: float = 50.0) -> Made:
    """Two GPUs that pulse once a second from 50 to 60; the second of them so late, so often, since `first`."""
    return results("power-pulse", [
        sample("power-pulse.bf16", f"cuda:{at}", value=100.0, unit="TFLOPS", of="digests", checked=100,
               wrong=wrong * at, notes={
                   "late_percent": late, "hertz": 1.0, "planned": 1, "missed": 0 if at == 0 else 10 - made,
                   "pulses": 10 if at == 0 else made, "first_pulse": 50.0 if at == 0 else first,
                   "last_pulse": 59.0}) for at in range(2)])


def proofs(module: str) -> Callable[[Any], Made]:
    """What a module that multiplies beside something else shows of its kernel, by a verdict."""
    return lambda verdict: results(module, [
        sample("matmul.bf16.self-test", f"cuda:{at}", of="elements", wrong=int(verdict != "right"), notes={
            "kernel": "portable-bf16", "verdict": verdict}) for at in range(2)])


def waking(wrong: int) -> Made:
    return results("wake", [sample("wake.copies", f"cuda:{at}", peer="host", wrong=wrong * at) for at in range(2)])


def ending(kind: str | None) -> Made:
    """Two GPUs, of which one ended by a trouble of this kind."""
    done = [
        Sample(what="matmul.bf16.exact", gpu=f"cuda:{at}", seconds=1.0, checked=100, of="elements", wrong=0) for at in range(2)]
    if kind is None:
        return results("matmul", done)
    trouble = Trouble(gpus=("cuda:0",), module="matmul", kind=kind, says="it gave no sign of life for 60 s", help="wait")
    return results("matmul", done, troubles=(trouble,), ended=("cuda:1",))


BOTH = (device(0).bdf or "", device(1).bdf or "")
"""Addresses of two GPUs."""


def guarded(box: str, name: str, value: float) -> Made:
    """Readings of that value, held against the limit of the profile as a run does; twice, as power asks."""
    want = load_profile(box)
    spec, bound = LIMITS[name], limits_of(want).stops[name]
    beyond = value < bound.bound if spec.compare == "ge" else value > bound.bound
    near = Near(subject=device(0).bdf or "", sensor="it", value=value, bound=bound.bound, source=bound.source)
    stop = SafetyStop(
        limit=name, subject=near.subject, sensor=near.sensor, value=value, bound=near.bound, unit=spec.unit,
        source=near.source, readings=(value, value), monotonic_seconds=9.0, wall=9.0)
    return results("matmul", safety=Safety(nearest={name: near}, watched=BOTH, stop=stop if beyond else None))


NEAR = Near(subject=device(0).bdf or "", sensor="core", value=80.0, bound=100.0, source="a test")


def dark(stopped: bool) -> Made:
    """Whether a GPU told no temperature any more."""
    blind = BlindStop(subject=NEAR.subject, silent_seconds=30.1, monotonic_seconds=9.0)
    return results("matmul", safety=Safety(
        nearest={"safety.gpu_celsius": NEAR}, watched=BOTH, blind_stop=blind if stopped else None))


def silent(sensor: str) -> Made:
    """A sensor that was silent for a while."""
    blind = (Blind(limit="safety.gpu_celsius", subject=NEAR.subject, sensor=sensor, silent_seconds=8.0),) if sensor else ()
    return results("matmul", safety=Safety(nearest={"safety.gpu_celsius": NEAR}, watched=BOTH, blind=blind))


def looked_at(gpus: int) -> Made:
    """Of how many of two GPUs a temperature was read."""
    return results("matmul", safety=Safety(nearest={"safety.gpu_celsius": NEAR}, watched=BOTH[:gpus]))


def held_down(kind: str) -> Made:
    return watched(throttled={"cuda:0": {"a reason": (kind, 7)}})


def linked(module: str, width: Fall, speed: Fall) -> Made:
    """Two GPUs, of which one has this link."""
    sound = {Bdf("0000:21:00.0"): Fall(best=16.0, least=16.0, seconds=60.0)}
    made, own = {**results(module), Links: wopr_facts(WOPR)[Links]}, Bdf("0000:01:00.0")
    return {**made, Watching: msgspec.structs.replace(
        made[Watching], link_widths={own: width, **sound}, link_speeds_gts={own: speed, **sound})}


def lanes_stay(lanes: int) -> Made:
    low = 10.0 if lanes < 16 else 0.0
    return linked("matmul", Fall(best=16.0, least=lanes, low_seconds=low, seconds=60.0), Fall(best=16.0, least=16.0))


def lanes_flap(lanes: int) -> Made:
    return linked("matmul", Fall(best=16.0, least=lanes, dips=int(lanes < 16), seconds=60.0), Fall(best=16.0, least=16.0))


def speed_stays(seconds: float) -> Made:
    return linked("copy", Fall(best=16.0, least=16.0), Fall(best=16.0, least=2.5, low_seconds=seconds, seconds=60.0))


def shown(missing: int) -> Made:
    """The GPUs of the WOPR on its bus, and those of them that CUDA shows: all but so many."""
    gpus = read_facts(host(build(WOPR)), (Gpus,)).of(Gpus)
    assert isinstance(gpus, Gpus)
    seen = tuple(device(at, bdf=gpu.bdf) for at, gpu in enumerate(gpus.gpus[missing:]))
    return {Gpus: gpus, RuntimeGpus: RuntimeGpus(seen, {}, ("cuda", "hip"))}


def warm_rate(percent: float) -> Made:
    """A run of half an hour whose first GPU has this rate in the last third of what follows its warm-up."""
    made = results("matmul", [
        sample("matmul.bf16.power", f"cuda:{at}", seconds=10.0, unit="TFLOPS", value=percent if at == 0 and (
            number > 150) else 100.0) for at in range(2) for number in range(180)])
    return {**made, Watching: msgspec.structs.replace(made[Watching], seconds=1800.0)}


def climbing(
    celsius_per_minute: float, watts: tuple[float, float] | None = (440.0, 440.0), seconds: float = 1800.0
) -> Made:
    """A run of half an hour whose GPUs climb so at its end."""
    return watched(seconds=seconds, courses={f"cuda:{at}": Course(
        seconds=seconds, throttle_seconds={}, climb=Climb(
            sensor="core", celsius_per_minute=celsius_per_minute, seconds=seconds / 3, celsius=70.0, watts=watts))
        for at in range(2)})


@cache
def wopr_facts(box: str) -> dict[type, Any]:
    found = read_facts(host(build(box)))
    return {kind: found.of(kind) for kind in (Links, Aer, PciInventory, KernelLogs)}


def on_links(module: str = "copy", box: str = WOPR, moved: int = 1_000_000_000_000, **watching: Any) -> Made:
    """Two GPUs of the WOPR that copied so many bytes each way in two minutes, while the ports showed this."""
    cards = (Bdf("0000:01:00.0"), Bdf("0000:02:00.0"))
    gpus = tuple(device(at, bdf=bdf) for at, bdf in enumerate(cards))
    made = results(module, [sample("copy.both.host-to-device.pinned", f"cuda:{at}", moved={
        f"host>cuda:{at}": moved, f"cuda:{at}>host": moved}) for at in range(2)], gpus=gpus)
    ports = (Bdf("0000:00:01.1"), Bdf("0000:00:03.1"))
    return {**made, **wopr_facts(box), Watching: msgspec.structs.replace(made[Watching], **{
        "seconds": 120.0, "links": (*ports, *cards), "link_speeds_gts": dict.fromkeys(ports, Fall(best=16.0, least=16.0)),
        "link_widths": dict.fromkeys(ports, Fall(best=16.0, least=16.0)), **watching})}


def replays(count: int) -> Made:
    """What NVML counted at the first boundary of a run and at the last."""
    first, last = (Snapshot(monotonic_seconds=at, gpus={Bdf("0000:01:00.0"): GpuCounters(replays=7 + number)})
                   for at, number in ((0.0, 0), (60.0, count)))
    return {LinkMap: LinkMap(hops={}, ways={}), Boundaries: boundaries((
        Boundary(after="", snapshot=first), Boundary(after="copy", snapshot=last)))}


def bit_errors(count: int) -> Made:
    """A rate below 1e-12 was asked for, and eight terabits were moved with so many errors in them."""
    hop = Hop(port=Bdf("0000:00:01.1"), card=Bdf("0000:01:00.0"), slot="PCIE5", gigatransfers=16.0, lanes=16)
    return {BerAsked: BerAsked(ber=1e-12, directions=(Direction(
        hop=hop, toward="card", payload_bits=8_000_000_000_000, most_bits=3e13, seconds=120.0,
        received={"BadTLP": count} if count else {}),))}


AS_STRIX = device(0, name="Radeon 8060S", arch="gfx1151", unified=True)

def cut_off(times: int, finished: bool = True, **fields: Any) -> Made:
    """A run that went down in the pulse so many times; by default without a word in the log."""
    down = Downtime(**{
        "session": 1, "phase": "power-pulse", "modules": ("power-pulse",), "gpus": ("cuda:0", "cuda:1"), "watts": 880.0,
        "watts_of": 2, "rebooted": True, "looked": True, "log": "the journal", "resumed": True, **fields})
    return {Survival: Survival(downs=(down,) * times, finished=finished)}


NOTCHES: tuple[Notch, ...] = (
    # matrix products
    Notch("matmul.wrong-elements", WOPR, lambda wrong: matmul(exact={"wrong": wrong}), ((0, "pass"), (1, "fail"))),
    Notch("matmul.damaged-inputs", WOPR, lambda wrong: matmul(inputs={"wrong": wrong}), ((0, "pass"), (1, "fail"))),
    Notch("matmul.damaged-inputs", WOPR, lambda words: matmul(exact={"wrong": 0, "notes": {"wrong_input_words": words}}),
          ((0, "pass"), (1, "fail"))),
    Notch("matmul.repeatability", WOPR, lambda wrong: matmul(power={"wrong": wrong}), ((0, "pass"), (1, "fail"))),
    Notch("matmul.repeatability", WOPR, unlike, (("aa", "pass"), ("ab", "fail"))),
    Notch("matmul.self-test", WOPR, lambda verdict: matmul(**{"self-test": {"notes": {
        "kernel": "portable-bf16", "verdict": verdict}}}),
        (("right", "pass"), ("own defect", "unknown"), ("blind", "unknown"), ("wrong on this device", "fail"))),
    Notch("matmul.rate", WOPR, multiplies("bf16"),
          ((158.0, "pass"), (157.9, "marginal"), (140.0, "marginal"), (139.9, "fail")), "matmul.bf16_tflops"),
    Notch("matmul.rate", RED, multiplies("fp16"),
          ((85.0, "pass"), (84.9, "marginal"), (70.0, "marginal"), (69.9, "fail")), "matmul.fp16_tflops"),
    Notch("matmul.rate", STRIX, multiplies("fp16"),
          ((30.0, "pass"), (29.9, "marginal"), (22.0, "marginal"), (21.9, "fail")), "matmul.fp16_tflops"),
    Notch("matmul.rate-advised", RED, multiplies("fp32"), ((22.0, "pass"), (21.9, "marginal")), "matmul.fp32_tflops"),
    Notch("matmul.rate-advised", WOPR, multiplies("tf32"), ((60.0, "pass"), (59.9, "marginal")), "matmul.tf32_tflops"),
    Notch("matmul.rate-advised", WOPR, multiplies("e4m3"), ((158.0, "pass"), (157.9, "marginal")), "matmul.e4m3_tflops"),
    Notch("matmul.rate-advised", GREEN2, multiplies("int8"), ((380.0, "pass"), (379.9, "marginal")), "matmul.int8_tflops"),
    Notch("matmul.rate-drop", WOPR, lambda percent: matmul(last=percent / 100),
          ((85.0, "pass"), (84.9, "marginal"), (50.0, "marginal"), (49.9, "fail"))),
    Notch("matmul.spread", WOPR, lambda percent: matmul(bf16=FAST * (100 - percent) / 100),
          ((8.0, "pass"), (8.1, "marginal"), (14.9, "marginal"), (15.1, "fail")), "matmul.spread_percent"),
    Notch("matmul.library", WOPR, by_library, ((0, "pass"), (1, "fail"))),
    Notch("matmul.library-slow", WOPR, library_reaches, ((10.0, "pass"), (9.9, "marginal"))),
    # memory
    Notch("vram.wrong-words", WOPR, lambda wrong: vram(wrong=wrong), ((0, "pass"), (1, "fail"))),
    Notch("vram.self-test", WOPR, lambda wrong: vram(blind=wrong), ((0, "pass"), (1, "fail"))),
    Notch("vram.coverage", WOPR, lambda percent: vram(held=percent), ((95.0, "pass"), (94.9, "unknown"))),
    Notch("vram.coverage", WOPR, lambda percent: vram(free=percent), ((80.0, "pass"), (79.9, "marginal"))),
    Notch("vram.rate", WOPR, lambda gbs: vram(copy=gbs),
          ((910.0, "pass"), (909.9, "marginal"), (850.0, "marginal"), (849.9, "fail")), "vram.copy_gbs"),
    Notch("vram.rate", STRIX, lambda gbs: vram(copy=gbs, info=AS_STRIX),
          ((210.0, "pass"), (209.9, "marginal"), (190.0, "marginal"), (189.9, "fail")), "vram.copy_gbs"),
    Notch("vram.rate-drop", WOPR, lambda percent: vram(last=percent),
          ((85.0, "pass"), (84.9, "marginal"), (50.0, "marginal"), (49.9, "fail"))),
    # copies from and to the host
    Notch("copy.wrong-words", WOPR, lambda wrong: copies(wrong=wrong), ((0, "pass"), (1, "fail"))),
    Notch("copy.rate", WOPR, lambda gbs: copies(to=gbs),
          ((25.0, "pass"), (24.9, "marginal"), (22.0, "marginal"), (21.9, "fail")), "copy.host_to_device_gbs"),
    Notch("copy.rate", RED, lambda gbs: copies(of=gbs),
          ((27.0, "pass"), (26.9, "marginal"), (22.0, "marginal"), (21.9, "fail")), "copy.device_to_host_gbs"),
    Notch("copy.asymmetry", WOPR, lambda percent: copies(to=60.0 * percent / 100),
          ((75.0, "pass"), (74.9, "marginal"), (50.0, "marginal"), (49.9, "fail"))),
    Notch("copy.rate-drop", WOPR, lambda percent: copies(last=percent),
          ((80.0, "pass"), (79.9, "marginal"), (50.0, "marginal"), (49.9, "fail"))),
    # copies between GPUs
    Notch("p2p.wrong-words", GREEN, lambda wrong: between(wrong=wrong), ((0, "pass"), (1, "fail"))),
    Notch("p2p.access", GREEN, lambda reached: between(reached=reached), ((True, "pass"), (False, "fail")), "p2p.access"),
    Notch("p2p.rate", GREEN, lambda gbs: between(one_way=gbs),
          ((24.0, "pass"), (23.9, "marginal"), (22.0, "marginal"), (21.9, "fail")), "p2p.one_way_gbs"),
    Notch("p2p.rate", RED, lambda gbs: between(both_ways=gbs),
          ((48.0, "pass"), (47.9, "marginal"), (47.0, "marginal"), (46.9, "fail")), "p2p.both_ways_gbs"),
    Notch("p2p.crowd", GREEN, lambda gbs: between(crowd=gbs), ((30.0, "pass"), (29.9, "marginal"))),
    Notch("p2p.slow-pair", GREEN, lambda gbs: between(count=4, one_way=gbs), ((36.0, "pass"), (35.9, "fail"))),
    Notch("p2p.rate-drop", GREEN, lambda percent: between(last=percent),
          ((80.0, "pass"), (79.9, "marginal"), (50.0, "marginal"), (49.9, "fail"))),
    # collectives
    Notch("collective.wrong-words", GREEN, lambda wrong: collective(wrong=wrong), ((0, "pass"), (1, "fail"))),
    Notch("collective.wrong-products", GREEN, lambda wrong: collective(product=wrong), ((0, "pass"), (1, "fail"))),
    Notch("collective.rate", GREEN, lambda gbs: collective(busbw=gbs),
          ((24.0, "pass"), (23.9, "marginal"), (12.0, "marginal"), (11.9, "fail")), "collective.all_reduce_busbw_gbs"),
    Notch("collective.rate", DEV, lambda gbs: collective(busbw=gbs),
          ((12.0, "pass"), (11.9, "marginal")), "collective.all_reduce_busbw_gbs"),
    Notch("collective.library", GREEN, lambda wrong: by_nccl(wrong=wrong), ((0, "pass"), (1, "fail"))),
    Notch("collective.library", GREEN, lambda state: by_nccl(state=state),
          (("found", "pass"), ("unusable", "unknown"), ("hung", "fail"))),
    Notch("collective.library-slow", GREEN, lambda percent: by_nccl(percent=percent),
          ((10.0, "pass"), (9.9, "marginal"))),
    Notch("collective.rate-drop", GREEN, lambda percent: collective(last=percent),
          ((80.0, "pass"), (79.9, "marginal"), (50.0, "marginal"), (49.9, "fail"))),
    # power and waking
    Notch("power-pulse.repeatability", WOPR, lambda wrong: pulses(wrong=wrong), ((0, "pass"), (1, "fail"))),
    Notch("power-pulse.edges", WOPR, lambda percent: pulses(late=percent),
          ((10.0, "pass"), (10.1, "marginal"), (25.0, "marginal"), (25.1, "unknown"))),
    Notch("power-pulse.together", WOPR, lambda made: pulses(made=made), ((8, "pass"), (7, "unknown"))),
    Notch("power-pulse.together", WOPR, lambda first: pulses(first=first), ((52.0, "pass"), (52.1, "unknown"))),
    Notch("power-pulse.self-test", WOPR, proofs("power-pulse"), (
        ("right", "pass"), ("own defect", "unknown"), ("blind", "unknown"), ("wrong on this device", "fail"))),
    Notch("collective.self-test", GREEN, proofs("collective"), (
        ("right", "pass"), ("own defect", "unknown"), ("blind", "unknown"), ("wrong on this device", "fail"))),
    Notch("wake.wrong-words", WOPR, waking, ((0, "pass"), (1, "fail"))),
    # the run as a whole
    Notch("gpu.in-runtime", WOPR, shown, ((0, "pass"), (1, "fail"))),
    Notch("burn.survived", WOPR, lambda times: cut_off(times), ((0, "pass"), (1, "fail"))),
    Notch("burn.survived", WOPR, lambda finished: cut_off(1, finished, orderly="System is rebooting"), (
        (True, "marginal"), (False, "unknown"))),
    Notch("burn.survived", WOPR, lambda log: cut_off(1, log=log), (("", "unknown"), ("the journal", "fail"))),
    *(Notch("burn.survived", WOPR, lambda grave, kind=kind: cut_off(  # type: ignore[misc]
        1, orderly="System is rebooting", traces=(Trace(kind=kind, says="it", source="kernel log", grave=grave),)), (
        (False, "marginal"), (True, "fail"))) for kind in (
            "bmc-power", "thermal", "mce", "gpu-lost", "aer-fatal", "kernel-panic")),
    Notch("stress.completed", WOPR, ending,
          ((None, "pass"), ("hang", "fail"), ("lost", "fail"), ("crash", "fail"), ("out-of-memory", "unknown"))),
    Notch("stress.completed", WOPR, lambda done: ending(None) if done else results("matmul"), (
        (True, "pass"), (False, "unknown"))),
    Notch("stress.wrong-results", WOPR, lambda wrong: results("matmul", [Sample(
        what="matmul.bf16.unheard-of", gpu=f"cuda:{at}", seconds=1.0, checked=9, of="words", wrong=wrong)
        for at in range(2)]), ((0, "pass"), (1, "fail"))),
    Notch("stress.size", WOPR, lambda full: results("matmul", full_size=full), ((True, "pass"), (False, "unknown"))),
    Notch("stress.injected", WOPR, lambda fault: results("matmul", injected=fault),
          ((None, "pass"), ("flip-output", "unknown"))),
    Notch("stress.temperature", WOPR, lambda celsius: watched(hottest_celsius={
        f"cuda:{at}": {"core": celsius} for at in range(2)}), ((95.0, "pass"), (95.1, "fail")), "thermal.gpu_celsius"),
    Notch("stress.temperature", WOPR, ending, ((None, "pass"), ("too-hot", "fail"))),
    Notch("stress.safety", WOPR, dark, ((False, "pass"), (True, "fail"))),
    Notch("stress.safety", WOPR, silent, (("", "pass"), ("core", "unknown"))),
    *(Notch("stress.safety", box, partial(guarded, box, name), sides, name) for box, name, sides in (
        (WOPR, "safety.gpu_celsius", ((100.0, "pass"), (100.1, "fail"))),
        (WOPR, "safety.gpu_junction_celsius", ((110.0, "pass"), (110.1, "fail"))),
        (WOPR, "safety.gpu_memory_celsius", ((110.0, "pass"), (110.1, "fail"))),
        (WOPR, "safety.cpu_celsius", ((100.0, "pass"), (100.1, "fail"))),
        (WOPR, "safety.rail_volts", ((11.4, "pass"), (11.3, "fail"))),
        (GREEN, "safety.gpu_watts", ((563.0, "pass"), (563.1, "fail"))),
        (GREEN, "safety.gpus_watts", ((2975.0, "pass"), (2975.1, "fail"))),
        (GREEN, "safety.supply_watts", ((3556.0, "pass"), (3556.1, "fail"))))),
    Notch("stress.safety", WOPR, looked_at, ((2, "pass"), (1, "unknown"))),
    Notch("stress.throttled", WOPR, held_down,
          (("power-cap", "pass"), ("thermal-software", "marginal"), ("thermal-hardware", "fail"),
           ("power-brake", "fail"))),
    Notch("stress.link-errors", WOPR, lambda name: on_links(link_errors={"0000:01:00.0": {name: 1}}),
          (("NonFatalErr", "pass"), ("BadTLP", "marginal"), ("Rollover", "fail"), ("fatal DLP", "fail"))),
    Notch("stress.link-errors", WOPR, lambda box: on_links(box=box),
          (("wopr-7x4090", "pass"), ("wopr-7x4090+aer-firmware-owned", "unknown"))),
    Notch("stress.link-rate", WOPR, lambda count: on_links(
        link_errors={"0000:01:00.0": {"BadTLP": count}} if count else {}),
        ((0, "pass"), (1, "marginal"), (21, "marginal"), (300, "fail")), "aer.ber"),
    Notch("stress.link-rate", WOPR, lambda name: on_links(link_errors={"0000:00:01.1": {name: 1}}),
          (("NonFatalErr", "pass"), ("Timeout", "marginal"), ("Rollover", "fail"))),
    Notch("burn.link-counters", WOPR, replays, ((0, "pass"), (1, "marginal"))),
    Notch("burn.until-ber", WOPR, lambda count: bit_errors(count), ((0, "pass"), (1, "pass"), (1_000, "fail"))),
    Notch("stress.completed", WOPR, ending,
          ((None, "pass"), ("stuck-building", "unknown"), ("crashed-opening", "unknown"))),
    Notch("stress.link-speed", WOPR, lanes_stay, ((16, "pass"), (8, "fail"))),
    Notch("stress.link-speed", WOPR, lanes_flap, ((16, "pass"), (8, "marginal"))),
    Notch("stress.link-speed", WOPR, speed_stays, ((3.0, "pass"), (3.1, "fail"))),
    Notch("stress.memory-errors", WOPR, lambda number: watched(memory_errors={
        f"cuda:{at}": {"corrected": number} for at in range(2)}), ((0, "pass"), (1, "marginal"))),
    Notch("stress.memory-errors", WOPR, lambda number: watched(memory_errors={
        f"cuda:{at}": {"corrected": 0, "uncorrected": number} for at in range(2)}), ((0, "pass"), (1, "fail"))),
    Notch("stress.kept-rate", WOPR, warm_rate, ((95.0, "pass"), (94.9, "marginal")), "stress.kept_percent"),
    Notch("stress.still-heating", WOPR, climbing, ((1.0, "pass"), (1.1, "marginal")),
          "stress.climb_celsius_per_minute"),
    Notch("stress.still-heating", WOPR, lambda watts: climbing(1.0 if watts is None else 1.1, watts), (
        (None, "pass"), ((440.0, 462.0), "marginal"))),
    Notch("stress.temperature", WOPR, lambda seconds: watched(untold_seconds={"cuda:0": {"temperature": seconds}}),
          ((5.0, "pass"), (5.1, "unknown"))),
    Notch("stress.throttled", WOPR, lambda seconds: watched(untold_seconds={"cuda:0": {"throttled": seconds}}),
          ((5.0, "pass"), (5.1, "unknown"))),
    # what happened around it
    *(Notch(f"burn.{name}", WOPR, partial(around.told, source),
            (("info", "pass"), ("warn", "marginal"), ("fail", "fail")))
      for name, source in (("log", "log"), ("devices", "devices"), ("memory-errors", "memory"))),
    *(Notch(name, WOPR, lambda word: around.happened(followed=word != "unread", closed=word != "cut"),
            (("all", "pass"), ("unread", "unknown"), ("cut", "unknown")))
      for name in ("burn.log", "burn.devices", "burn.memory-errors", "watch.instruments")),
    Notch("watch.instruments", WOPR, lambda gpus: around.happened(gpus=gpus),
          ((7, "pass"), (6, "unknown"), (0, "unknown"))),
    Notch("watch.changed", WOPR, around.worse, (("pass", "pass"), ("marginal", "marginal"), ("fail", "fail"))),
    Notch("watch.changed", WOPR, lambda required: around.worse("fail", required), ((False, "pass"), (True, "fail"))),
)

NEVER_FIRES: dict[str, str] = {
    "watch.instruments": "it judges whether the watch was one, not the machine: unknown, and never a pass",
    "power-pulse.together": "it judges whether the test was one, not the machine: unknown, and never a pass",
    "stress.size": "test sizes on a GPU prove little of it: unknown, and never a pass",
    "stress.injected": "a fault that was put in on purpose says nothing of the machine: unknown, and never a pass",
}
"""Checks that neither fail nor are marginal, each with its reason."""


def findings(notch: Notch, value: Any) -> list[Finding]:
    """What the check of a notch finds, by the limits of its profile."""
    made, check = notch.make(value), CHECKS[notch.check]
    return list(run_check(check, [made[kind] for kind in check.reads], load_profile(notch.box)))

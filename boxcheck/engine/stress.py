"""A stress run: which devices there are, modules one after the other over them, findings, a verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

from boxcheck.engine.inspect import Facts, findings_of
from boxcheck.engine.messages import Beat, Run, Watched
from boxcheck.engine.supervise import SILENCE_SECONDS, Crew, Part, list_devices
from boxcheck.gpu import BACKENDS, Backend, GpuInfo
from boxcheck.judge import judge
from boxcheck.model import Crash, Finding, Outcome, Unread, Verdict
from boxcheck.probes.gpus import Gpus
from boxcheck.profile import Profile
from boxcheck.registry import CHECKS, STRESSES, Stress, selected
from boxcheck.stress import Sample, StressResults, Trouble
from boxcheck.stress.runtime import RuntimeGpus
from boxcheck.stress.watched import Tally, Watching

START_TOGETHER_SECONDS = {True: 5.0, False: 2.0}
"""For modules that need a common start: from when all workers have their devices, until kernels are ready. By full
size."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be run."""

    modules: tuple[str, ...]
    seconds: float
    """For each module."""
    backend: Backend | None = None
    """None: every GPU by the runtime of its vendor; processors only when named."""
    gpus: tuple[str, ...] = ()
    """Keys, numbers in the list, addresses or slots; empty: all."""
    seed: int = 1
    options: Mapping[str, str] = {}
    inject: str | None = None
    inject_after: int = 2
    silence_seconds: float = SILENCE_SECONDS
    environment: Mapping[str, str] | None = None


class StressRun(msgspec.Struct, frozen=True, kw_only=True):
    """What a stress run gave."""

    results: tuple[StressResults, ...]
    watching: tuple[Watching, ...]
    """What the instruments showed during each of them."""
    runtime: RuntimeGpus
    verdict: Verdict
    started: float
    """Seconds since the epoch."""
    seconds: float


def find_devices(backend: Backend | None, *, environment: Mapping[str, str] | None = None) -> RuntimeGpus:
    """What the runtimes show. Without a backend every one is asked but the CPU's, and a GPU that several show is taken
    from the first."""
    asked: tuple[Backend, ...] = (backend,) if backend else tuple(name for name in BACKENDS if name != "cpu")
    found: list[GpuInfo] = []
    troubles: dict[str, Trouble] = {}
    for name in asked:
        answer = list_devices(name, environment=environment)
        if isinstance(answer, Trouble):
            troubles[name] = answer
            continue
        known = {info.bdf for info in found if info.bdf is not None}
        names = {info.name for info in found}
        found += [
            info for info in answer
            if backend is not None or (info.is_gpu and info.bdf not in known and not (
                info.bdf is None and info.name in names))]
    return RuntimeGpus(tuple(found), troubles, asked)


def pick(gpus: Sequence[GpuInfo], words: Sequence[str], slots: Mapping[str, str]) -> tuple[GpuInfo, ...]:
    """The devices that the words name. LookupError with the word that names none."""
    if not words:
        return tuple(gpus)
    chosen: dict[str, GpuInfo] = {}
    for word in words:
        match = [
            info for number, info in enumerate(gpus)
            if word in (info.key, str(number), info.bdf, (info.bdf or "").removeprefix("0000:"), slots.get(info.key))]
        if not match:
            raise LookupError(word)
        chosen.update({info.key: info for info in match})
    return tuple(chosen.values())


def run_module(
    module: Stress, gpus: Sequence[GpuInfo], slots: Mapping[str, str], wanted: Wanted, *,
    stopping: Callable[[], bool] = lambda: False,
    seen: Callable[[tuple[GpuInfo, ...], Beat | Sample | Watched], None] = lambda gpus, what: None,
) -> tuple[StressResults, Watching]:
    """One module over the devices: a worker each, or one for all of a backend."""
    tally = Tally(gpus)

    def heard(of: tuple[GpuInfo, ...], what: Beat | Sample | Watched) -> None:
        if isinstance(what, Watched):
            tally.add(what.readings)
        seen(of, what)

    by_backend = {name: [info for info in gpus if info.backend == name] for name in BACKENDS}
    groups = [[info] for info in gpus] if module.scope == "each" else [
        found for found in by_backend.values() if len(found) >= module.peers]
    worked = [info for group in groups for info in group]
    left_out = [info for info in gpus if info not in worked]
    troubles = []
    if left_out:
        here = f"{len(left_out)} {'is' if len(left_out) == 1 else 'are'} here"
        troubles.append(Trouble(
            gpus=tuple(info.key for info in left_out), module=module.name, kind="unsupported",
            says=f"it needs {module.peers} GPUs of one runtime, {here}"))
    full_size = all(info.is_gpu for info in gpus) and wanted.options.get("size") != "test"
    order = Run(
        module=module.name, seconds=wanted.seconds, seed=wanted.seed, options=wanted.options, inject=wanted.inject,
        inject_after=wanted.inject_after,
        start_at=START_TOGETHER_SECONDS[full_size] if module.name == "power-pulse" else None)
    parts: list[Part] = []
    if groups:
        with Crew(groups, environment=wanted.environment, silence_seconds=wanted.silence_seconds) as crew:
            if module.alone_first and len(groups) > 1:
                parts += _alone(crew, order, len(groups), stopping, heard)
            parts += crew.run(order, stopping=stopping, seen=heard)
    troubles += [part.trouble for part in parts if part.trouble is not None]
    results = StressResults(
        module=module.name, gpus=tuple(gpus), slots=slots, samples=tuple(one for part in parts for one in part.samples),
        troubles=tuple(troubles), ended=tuple(
            info.key for info in worked if not any(info in part.gpus for part in parts if part.trouble is not None)),
        stopped=any(part.stopped for part in parts), injected=wanted.inject, full_size=full_size)
    return results, tally.result()


def _alone(
    crew: Crew, order: Run, count: int, stopping: Callable[[], bool],
    seen: Callable[[tuple[GpuInfo, ...], Beat | Sample | Watched], None],
) -> list[Part]:
    """Each group by itself, one after the other, in half of the time between them."""
    parts: list[Part] = []
    one = msgspec.structs.replace(
        order, seconds=order.seconds / 2 / count, options={**order.options, "together": "no"})
    for number in range(count):
        if not stopping():
            parts += crew.run(one, only=number, stopping=stopping, seen=seen)
    return parts


def judge_results(
    results: StressResults, watching: Watching, facts: Facts, want: Profile
) -> tuple[list[Finding], list[Crash]]:
    """Findings of every check of a module over what it gave."""
    facts.put(StressResults, results)
    facts.put(Watching, watching)
    crashes = [
        Crash(f"{results.module} on {', '.join(one.gpus)}", one.traceback or one.says)
        for one in results.troubles if one.kind in ("bug", "compile")]
    crashes += [
        Crash(
            f"the kernel {one.notes.get('kernel')} on {one.gpu}",
            str(one.notes.get("says", "wrong on a small product")))
        for one in results.samples if one.notes.get("verdict") == "own defect"]
    findings: list[Finding] = []
    for _, check in sorted(CHECKS.items()):
        if check.stress == results.module or (check.stress == "*" and check.id != "gpu.in-runtime"):
            findings += findings_of(check, facts, want, crashes)
    return findings, crashes


def run_stress(
    wanted: Wanted, runtime: RuntimeGpus, facts: Facts, want: Profile, *,
    stopping: Callable[[], bool] = lambda: False,
    seen: Callable[[str, tuple[GpuInfo, ...], Beat | Sample | Watched], None] = lambda module, gpus, what: None,
) -> StressRun:
    """Runs every module that is wanted, and judges. LookupError when a word of `wanted.gpus` names no device."""
    started, began = time.time(), time.monotonic()
    slots = slots_of(runtime.gpus, facts)
    gpus = pick(runtime.gpus, wanted.gpus, slots)
    every: list[tuple[StressResults, Watching]] = []
    facts.put(RuntimeGpus, runtime)
    crashes: list[Crash] = []
    findings = findings_of(CHECKS["gpu.in-runtime"], facts, want, crashes)
    for name in wanted.modules:
        if stopping():
            break
        results, watching = run_module(
            STRESSES[name], gpus, slots, wanted, stopping=stopping,
            seen=lambda of, what, name=name: seen(name, of, what))  # type: ignore[misc]
        every.append((results, watching))
        found, broken = judge_results(results, watching, facts, want)
        findings += found
        crashes += broken
    blocking = [msgspec.structs.replace(one, blocker=decides(one, want)) for one in findings]
    left_out = wanted.modules[len(every):]
    return StressRun(
        results=tuple(one for one, _ in every), watching=tuple(one for _, one in every), runtime=runtime,
        started=started, seconds=time.monotonic() - began,
        verdict=judge(blocking, want, left_out=left_out, crashes=crashes))


def decides(finding: Finding, want: Profile) -> bool:
    """Whether a finding is part of the verdict of a stress run. Whoever names a module asks for all that its checks find;
    what the instruments could not read counts only where the profile requires it, since an ordinary user of a card
    without NVML could otherwise never pass."""
    if finding.outcome is Outcome.SKIP or selected(want.advisory, finding.check):
        return False
    if finding.outcome is not Outcome.UNKNOWN or want.is_blocker(finding.check, "stress"):
        return True
    return CHECKS[finding.check].stress != "*" or finding.check in ALWAYS


ALWAYS = frozenset(("stress.completed", "stress.injected"))
"""Checks of every module that no profile can leave out."""


def slots_of(gpus: Sequence[GpuInfo], facts: Facts) -> Mapping[str, str]:
    """Key of a device to the label of its slot, by address."""
    found = facts.of(Gpus)
    if isinstance(found, Unread):
        return {}
    labels = {gpu.bdf: gpu.slot for gpu in found.gpus if gpu.slot}
    return {info.key: labels[info.bdf] for info in gpus if info.bdf is not None and info.bdf in labels}

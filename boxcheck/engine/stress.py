"""A stress run: which devices there are, modules one after the other over them, findings, a verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

from boxcheck.engine.identities import with_cards
from boxcheck.engine.inspect import Facts, findings_of
from boxcheck.engine.modules import Wanted, run_module
from boxcheck.engine.plan import is_rate
from boxcheck.engine.safety import limits_of
from boxcheck.engine.supervise import Told, list_backends
from boxcheck.gpu import BACKENDS, Backend, GpuInfo
from boxcheck.judge import judge
from boxcheck.model import Crash, Finding, Outcome, Unread, Verdict
from boxcheck.probes.gpus import Gpus
from boxcheck.profile import Profile
from boxcheck.registry import CHECKS, STRESSES, selected
from boxcheck.report.measured import Measured
from boxcheck.stress import StressResults, Trouble
from boxcheck.stress.runtime import RuntimeGpus
from boxcheck.stress.watched import Watching


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
    profile: str = ""
    """Name and revision of the profile that it was judged by."""
    profile_why: str = ""
    """Why it was that one."""
    profile_certain: bool = True
    """False where no profile is the box's own, and it was judged by what holds for any."""
    left_out: tuple[str, ...] = ()
    """Keys of devices that are here and were not asked for."""
    measured: tuple[Measured, ...] = ()
    """Of each of `results`, where these are without samples; else it is made of them when it is shown."""
    asked_seconds: float | None = None
    """How long each module was to run; None for a stored run, whose phases have each its own."""
    options: Mapping[str, str] = {}
    """Those that were given."""
    without_work: Mapping[str, str] = {}
    """Modules of `all` that have nothing to work on here, and why."""


def find_devices(
    backend: Backend | None, *, environment: Mapping[str, str] | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> RuntimeGpus:
    """What the runtimes show. Without a backend every one is asked but the CPU's, and a GPU that several show is taken
    from the first. A runtime that has not answered when `stopping()` turns true is a trouble."""
    asked: tuple[Backend, ...] = (backend,) if backend else tuple(name for name in BACKENDS if name != "cpu")
    found: list[GpuInfo] = []
    troubles: dict[str, Trouble] = {}
    for name, answer in list_backends(asked, environment=environment, stopping=stopping).items():
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
        names = [
            (info.key, *((info.bdf, info.bdf.removeprefix("0000:")) if info.bdf is not None else ())) for info in gpus]
        match = [info for info, of in zip(gpus, names, strict=True) if word in of]
        if not match and word.isdecimal():  # before slots: some boards print plain numbers on theirs
            match = list(gpus[int(word):int(word) + 1])
        match = match or [info for info in gpus if slots.get(info.key) == word]
        if not match:
            raise LookupError(word)
        chosen.update({info.key: info for info in match})
    return tuple(chosen.values())


def judge_results(
    results: StressResults, watching: Watching, facts: Facts, want: Profile
) -> tuple[list[Finding], list[Crash]]:
    """Findings of every check of a module over what it gave."""
    if (gpus := with_cards(results.gpus, facts)) != results.gpus:
        results = msgspec.structs.replace(results, gpus=gpus)
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
        mine = check.stress == results.module or (check.stress == "*" and check.id != "gpu.in-runtime")
        if mine and not (results.warm_up and is_rate(check.id)):
            findings += findings_of(check, facts, want, crashes)
    return findings, crashes


def run_stress(
    wanted: Wanted, runtime: RuntimeGpus, facts: Facts, want: Profile, *,
    stopping: Callable[[], bool] = lambda: False,
    seen: Callable[[str, tuple[GpuInfo, ...], Told], None] = lambda module, gpus, what: None,
) -> StressRun:
    """Runs every module that is wanted, and judges. LookupError when a word of `wanted.gpus` names no device."""
    started, began = time.time(), time.monotonic()
    wanted = msgspec.structs.replace(wanted, limits=limits_of(want))
    slots = slots_of(runtime.gpus, facts)
    gpus = pick(runtime.gpus, wanted.gpus, slots)
    every: list[tuple[StressResults, Watching]] = []
    facts.put(RuntimeGpus, runtime)
    crashes: list[Crash] = list(facts.crashes)
    on_gpus = any(STRESSES[name].scope != "host" for name in wanted.modules)
    findings = findings_of(CHECKS["gpu.in-runtime"], facts, want, crashes) if on_gpus or not wanted.modules else []
    for name in wanted.modules:
        if stopping():
            break
        results, watching = run_module(
            STRESSES[name], gpus, slots, wanted, stopping=stopping,
            seen=lambda module, worker, of, what: seen(module.name, of, what))
        every.append((results, watching))
        found, broken = judge_results(results, watching, facts, want)
        findings += found
        crashes += broken
        if results.safety is not None and (results.safety.stop or results.safety.blind_stop):
            break
    blocking = [msgspec.structs.replace(one, blocker=decides(one, want)) for one in findings]
    left_out = wanted.modules[len(every):]
    return StressRun(
        results=tuple(one for one, _ in every), watching=tuple(one for _, one in every), runtime=runtime,
        started=started, seconds=time.monotonic() - began, profile=f"{want.name} r{want.revision}",
        left_out=tuple(info.key for info in runtime.gpus if info not in gpus), asked_seconds=wanted.seconds,
        options=dict(wanted.options),
        verdict=judge(blocking, want, left_out=left_out, crashes=crashes))


def decides(finding: Finding, want: Profile) -> bool:
    """Whether a finding is part of the verdict of a stress run. Whoever names a module asks for all that its checks
    find; what the instruments could not read counts only where the profile requires it, since an ordinary user of a
    card without NVML could otherwise never pass."""
    if finding.outcome is Outcome.SKIP:
        return False
    if finding.check in ALWAYS or (finding.cause or "").startswith(GRAVE):
        return True
    if selected(want.advisory, finding.check):
        return False
    if finding.outcome is not Outcome.UNKNOWN or want.is_blocker(finding.check, "stress"):
        return True
    return CHECKS[finding.check].stress != "*"


ALWAYS = frozenset(("gpu.in-runtime", "stress.completed", "stress.injected", "stress.size", "stress.wrong-results"))
"""Checks of every module that no profile can leave out."""
GRAVE = ("gpu-lost:", "safety-stop:", "guard-gone:")
"""Causes that decide whatever a profile says. The first two end a run with exit code 5."""


def slots_of(gpus: Sequence[GpuInfo], facts: Facts) -> Mapping[str, str]:
    """Key of a device to the label of its slot, by address."""
    found = facts.of(Gpus)
    if isinstance(found, Unread):
        return {}
    labels = {gpu.bdf: gpu.slot for gpu in found.gpus if gpu.slot}
    return {info.key: labels[info.bdf] for info in gpus if info.bdf is not None and info.bdf in labels}

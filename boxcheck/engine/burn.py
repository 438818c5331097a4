"""A burn-in: doctor, the steps of a plan, doctor again, all of it into a store as it happens.

Runs in a process of its own (`python -m boxcheck.engine.burn`, started by boxcheck.engine.detach), so that it outlives
the terminal. What it decides is in the store; whoever follows reads that. SIGTERM ends it in order: the step that runs
comes to an end, doctor reads once more, the verdict says that it was stopped.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from boxcheck import __version__
from boxcheck.engine.inspect import Facts, findings_of, name_slots, read_facts
from boxcheck.engine.logwatch import LogWatch
from boxcheck.engine.messages import Beat, Watched
from boxcheck.engine.modules import Wanted, run_together
from boxcheck.engine.plan import Plan, Step, words
from boxcheck.engine.stress import decides, find_devices, judge_results, pick, slots_of
from boxcheck.gpu import Backend, GpuInfo
from boxcheck.host.live import LiveHost
from boxcheck.judge import judge
from boxcheck.model import Crash, Finding, Outcome, Verdict
from boxcheck.profile import Profile, load_profile
from boxcheck.registry import CHECKS, STRESSES, Stress, discover, discover_stress
from boxcheck.store.rows import PhasePlan, PhaseStart
from boxcheck.store.writer import RunWriter
from boxcheck.stress import Sample
from boxcheck.stress.runtime import RuntimeGpus

LOG_SECONDS = 2.0
"""Between looks into the kernel's log."""
OVERTIME = 1.5
"""How far a run may go beyond its plan, as a factor, before it is stopped: steps that hang cost their time-outs."""
SPARE_SECONDS = 600.0


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done, as the command made it."""

    plan: Plan
    folder: str
    """Where stores lie."""
    gpus: tuple[str, ...] = ()
    """Keys of the devices."""
    backend: Backend | None = None
    profile: str
    profile_why: str = ""
    certain: bool = True
    seed: int = 1
    inject: str | None = None
    silence_seconds: float = 45.0
    stop_on_error: bool = False
    box: str = ""
    boot: str = ""


class Burn:
    """One run."""

    def __init__(self, job: Job, store: RunWriter, want: Profile) -> None:
        self._job, self._store, self._want = job, store, want
        self._log = LogWatch()
        self._looked = 0.0
        self._stop = threading.Event()
        self._number = 0
        self._began = time.monotonic()
        self._hard_end = self._began + job.plan.seconds * OVERTIME + SPARE_SECONDS
        self._stopped_by = ""
        self._findings: list[Finding] = []
        self._crashes: list[Crash] = []
        self._ended_early = False

    def stop(self, why: str) -> None:
        """Asks for an end in order. May be called from a signal's handler."""
        if not self._stop.is_set():
            self._stopped_by = why
            self._stop.set()

    def _stopping(self) -> bool:
        """Asked ten times a second while a module runs; looks into the log now and then."""
        now = time.monotonic()
        if now > self._hard_end:
            self.stop("it went far beyond its plan")
        if now - self._looked > LOG_SECONDS:
            self._looked = now
            self._look_into_log()
        return self._stop.is_set()

    def _look_into_log(self) -> None:
        for event, more in self._log.news():
            self._store.event(
                event.kind, event.says, severity=_severity(event.severity), subject=event.bdf or "", phase=self._number,
                data={"count": more, "labels": list(event.labels), "help": list(event.help), "text": event.text})

    def run(self) -> Verdict:
        """All steps, and the verdict. What boxcheck itself does wrong in a step costs that step."""
        plan = self._job.plan
        if self._log.unread is not None:
            self._store.event(
                "log-unread", f"the kernel's log is not followed: {self._log.unread.why}", severity="warn")
        facts, runtime, gpus = self._prepare()
        for step in plan.steps:
            if self._stop.is_set() and step.kind != "doctor":
                self._ended_early = True
                continue
            self._number += 1
            self._step(step, facts, runtime, gpus)
        self._look_into_log()
        self._log.close()
        return self._verdict()

    def _prepare(self) -> tuple[Facts, RuntimeGpus, tuple[GpuInfo, ...]]:
        host = LiveHost()
        facts = read_facts(host)
        name_slots(facts, self._want)
        self._store.attach(CAPTURE, _packed(host), "application/gzip")
        runtime = find_devices(self._job.backend)
        facts.put(RuntimeGpus, runtime)
        gpus = pick(runtime.gpus, self._job.gpus, slots_of(runtime.gpus, facts)) if runtime.gpus else ()
        found = findings_of(CHECKS["gpu.in-runtime"], facts, self._want, self._crashes)
        self._take(0, found)
        return facts, runtime, gpus

    def _take(self, phase: int, findings: Sequence[Finding]) -> None:
        placed = [msgspec.structs.replace(one, blocker=decides(one, self._want)) for one in findings]
        self._findings += placed
        self._store.findings(phase, placed)

    def _step(self, step: Step, facts: Facts, runtime: RuntimeGpus, gpus: tuple[GpuInfo, ...]) -> None:
        if step.kind == "doctor":
            self._doctor(step)
        elif step.kind == "cool-down":
            self._cool_down(step)
        else:
            self._load(step, facts, gpus)

    def _open(self, step: Step, module: str, number: int, devices: Sequence[GpuInfo] = ()) -> None:
        self._store.plan_phase(PhasePlan(
            number=number, name=step.name, module=module, devices=tuple(info.key for info in devices),
            planned_seconds=step.seconds))
        self._store.about(number, f"{step.name}{f' ({module})' if module and module != step.name else ''}")

    def _doctor(self, step: Step) -> None:
        from boxcheck.commands.doctor import Options, examine
        from boxcheck.report.json import run_json

        self._open(step, "", self._number)
        self._store.begin_phase(self._number, PhaseStart())
        account, _ = examine(Options(profile=self._job.profile, save=False))
        self._store.attach(step.name.replace(" ", "-"), run_json(account, with_facts=False).encode())
        last = step is self._job.plan.steps[-1]
        if last:  # what doctor finds after the load decides; what it found before is for comparison
            self._findings += account.verdict.findings
            self._crashes += account.crashes
        self._store.findings(self._number, account.verdict.findings)
        self._store.end_phase(self._number, outcome=account.verdict.outcome.value)

    def _cool_down(self, step: Step) -> None:
        self._open(step, "", self._number)
        self._store.begin_phase(self._number, PhaseStart())
        until = time.monotonic() + step.seconds
        while time.monotonic() < until and not self._stopping():
            time.sleep(0.2)
        self._store.end_phase(self._number, outcome="pass")

    def _load(self, step: Step, facts: Facts, gpus: tuple[GpuInfo, ...]) -> None:
        modules = [STRESSES[name] for name in step.modules]
        slots = slots_of(gpus, facts)
        numbers = {module.name: self._number + at for at, module in enumerate(modules)}
        for module in modules:
            self._open(step, module.name, numbers[module.name], gpus)
            self._store.begin_phase(numbers[module.name], PhaseStart(
                gpus=gpus, slots=slots, injected=self._job.inject, full_size=all(info.is_gpu for info in gpus)))
        self._number += len(modules) - 1

        def seen(module: Stress, worker: int, of: tuple[GpuInfo, ...], what: Beat | Sample | Watched) -> None:
            if isinstance(what, Watched):
                self._store.watched(numbers[module.name], what.readings)
            elif isinstance(what, Sample):
                self._store.sample(numbers[module.name], what, worker=worker)
                if what.wrong:
                    self._store.event(
                        "wrong-result", f"{what.what}: {what.wrong} wrong of {what.checked} {what.of}", severity="fail",
                        subject=what.gpu, phase=numbers[module.name])

        wanted = Wanted(
            modules=step.modules, seconds=step.seconds, backend=self._job.backend, seed=self._job.seed,
            options=step.options, inject=self._job.inject, silence_seconds=self._job.silence_seconds)
        for module, (results, watching) in zip(
                modules, run_together(modules, gpus, slots, wanted, stopping=self._stopping, seen=seen), strict=True):
            number = numbers[module.name]
            for trouble in results.troubles:
                self._store.event(
                    f"worker-{trouble.kind}", trouble.says, severity="fail", subject=", ".join(trouble.gpus),
                    phase=number)
            found, crashes = judge_results(results, watching, facts, self._want)
            self._crashes += crashes
            self._take(number, found)
            outcome = _gravest(found)
            self._store.end_phase(number, results, outcome=outcome.value)
            if any(one.kind == "too-hot" for one in results.troubles):
                self.stop("a device was too hot")
            elif self._job.stop_on_error and outcome is Outcome.FAIL:
                self.stop("a step failed, and --on-error is stop")

    def _verdict(self) -> Verdict:
        left_out = [step.name for step in self._job.plan.steps] if self._ended_early else []
        return judge(
            self._findings, self._want, left_out=left_out[:1], crashes=self._crashes,
            profile_certain=self._job.certain)

    @property
    def stopped_by(self) -> str:
        """Why it was stopped before its end; empty where it was not."""
        return self._stopped_by


CAPTURE = "capture.tar.gz"
"""What was read of the machine before the load, as `boxcheck capture` keeps it: judging again reads it."""


def _packed(host: LiveHost) -> bytes:
    import tempfile

    from boxcheck.host.write import members_of, write_capture

    with tempfile.TemporaryDirectory(prefix="boxcheck-") as folder:
        path = Path(folder) / CAPTURE
        write_capture(members_of(host.recording), str(path))
        return path.read_bytes()


def _gravest(findings: Sequence[Finding]) -> Outcome:
    ranked = sorted((one.outcome for one in findings if one.outcome is not Outcome.SKIP), key=lambda one: one.rank)
    return ranked[0] if ranked else Outcome.UNKNOWN


def _severity(word: str) -> Any:
    return word if word in ("info", "warn", "fail") else "info"


def work(job: Job, told: Mapping[str, Any] | None = None) -> Iterator[str]:
    """Makes the store, says where it is, runs. For `main`; a generator so that the path is told before the work."""
    from boxcheck.store.creating import create_run
    from boxcheck.store.rows import ProfileName, RunInfo

    discover()
    discover_stress()
    want = load_profile(job.profile)
    store = create_run(job.folder, RunInfo(
        kind="burn", version=__version__, boot=job.boot, box=job.box, profile=ProfileName(
            want.name, want.revision, want.sha256), plan={
            **msgspec.to_builtins(job.plan), "certain": job.certain, "profile_why": job.profile_why}))
    burn = Burn(job, store, want)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: burn.stop(f"stopped by {signal.Signals(number).name}"))
    with suppress(ValueError):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    yield store.path
    verdict = burn.run()
    if burn.stopped_by:
        store.event("stopped", burn.stopped_by, severity="warn")
    store.end("stopped" if burn.stopped_by else "finished", verdict, reason=burn.stopped_by)


def main() -> None:
    """Takes the job on standard input; the first line on standard output is the store's path, or `error: ...`."""
    from boxcheck.usage import UsageError

    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    try:
        for path in work(job):
            print(path, flush=True)
            print(f"a run of {words(job.plan.seconds)} begins", file=sys.stderr, flush=True)
    except UsageError as error:
        print(f"error: {error}\nhelp: {getattr(error, 'help', '')}", flush=True)
        sys.exit(2)


if __name__ == "__main__":
    main()

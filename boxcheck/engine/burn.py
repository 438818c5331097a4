"""A burn-in: doctor, the steps of a plan, doctor again, all of it into a store as it happens.

Runs in a process of its own (`python -m boxcheck.engine.burn`, started by boxcheck.engine.detach), so that it outlives
the terminal. What it decides is in the store; whoever follows reads that. SIGTERM ends it in order: the step that runs
comes to an end, doctor reads once more, the verdict says that it was stopped.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from boxcheck.engine.around import earlier_happenings, judge_around
from boxcheck.engine.aside import Aside
from boxcheck.engine.begin import AFTER, CAPTURE, gravest, packed, serve
from boxcheck.engine.bounded import seconds_left, within
from boxcheck.engine.history_store import Gathered
from boxcheck.engine.identities import identified
from boxcheck.engine.inspect import Facts, findings_of, name_slots, read_facts
from boxcheck.engine.job import Job as Job
from boxcheck.engine.late_bridging import bridge_gap
from boxcheck.engine.link_course import LinkCourse
from boxcheck.engine.modules import Wanted, run_together
from boxcheck.engine.plan import WARM_UP, Pace, Step
from boxcheck.engine.safety import limits_of
from boxcheck.engine.stress import decides, find_devices, judge_results, pick, slots_of
from boxcheck.engine.supervise import Told
from boxcheck.engine.surroundings import Surroundings, keep
from boxcheck.engine.survival import findings_of_survival, survived
from boxcheck.engine.told_troubles import Telling, keep_crashes
from boxcheck.engine.wholeness import as_part, lacks_at, last_look, rows_gone_at, without_rows
from boxcheck.gpu import GpuInfo
from boxcheck.host.live import LiveHost
from boxcheck.judge import judge
from boxcheck.model import Crash, Finding, Outcome, Unread, Verdict
from boxcheck.probes.gpus import Gpus
from boxcheck.profile import Profile
from boxcheck.registry import CHECKS, STRESSES, Stress
from boxcheck.store.rows import PhasePlan, PhaseStart
from boxcheck.store.writer import RunWriter
from boxcheck.stress.runtime import RuntimeGpus
from boxcheck.stress.safety import BlindStop, SafetyStop

if TYPE_CHECKING:
    from boxcheck.engine.resume import Resumption

LOG_SECONDS = 2.0
"""Between looks into the kernel's log."""
LOOK_SECONDS = 10.0
"""For the last look at devices, of which one may hang."""
OVERTIME = 1.5
"""How far a run may go beyond its plan, as a factor, before it is stopped: steps that hang cost their time-outs."""
SPARE_SECONDS = 600.0


class Burn:
    """One run."""

    def __init__(self, job: Job, store: RunWriter, want: Profile, resumption: Resumption | None = None) -> None:
        self._job, self._store, self._want = job, store, want
        self._around = Surroundings()
        self._looking = Aside(self._around.look, "look around")
        self._looked = 0.0
        self._stop = threading.Event()
        self._resumption = resumption
        self._number = resumption.number if resumption else 0
        self._began = time.monotonic()
        self._hard_end = self._began + job.plan.seconds * OVERTIME + SPARE_SECONDS
        self._stopped_by = ""
        self.figures = Gathered()
        self._findings: list[Finding] = []
        self._crashes: list[Crash] = []
        self._stuck = False
        """Whether a reading by doctor never came to an end."""
        self._place = 0
        """Of the step in the plan, from 1."""
        self._unsafe: SafetyStop | BlindStop | None = None

    def stop(self, why: str) -> None:
        """Asks for an end in order. May be called from a signal's handler."""
        if not self._stop.is_set():
            self._stopped_by = why
            self._stop.set()

    def _stopping(self) -> bool:
        """Asked ten times a second while a module runs; looks around now and then."""
        now = time.monotonic()
        if now > self._hard_end:
            self.stop("it went far beyond its plan")
        if now - self._looked > LOG_SECONDS:
            self._looked = now
            self._look_around()
        return self._stop.is_set()

    def _crossed(self, stop: SafetyStop | BlindStop) -> None:
        """The reading that ends all load, or that none came, goes into the store at once; load waits for no disk."""
        self._unsafe = stop
        self.stop(f"stopped for safety: {stop.subject}: {stop.says}")
        self._store.event(
            "safety-stop" if isinstance(stop, SafetyStop) else "safety-blind", f"{stop.subject}: {stop.says}",
            severity="fail", subject=stop.subject, phase=self._number, data=msgspec.to_builtins(stop), wait=False)

    def _look_around(self) -> None:
        """What a look shows is kept at the next: one that hangs in a dying device must not hold up the rest."""
        for one in self._looking.poll() or ():
            keep(self._store, one, self._number)

    def _judge_around(self) -> None:
        ended, found = self._looking.finish(LOOK_SECONDS)
        for one in (*(found or ()), *(self._around.close() if ended else ())):
            keep(self._store, one, self._number)
        judged = judge_around(self._around.happened(), self._want, self._crashes)
        self._findings += judged
        self._store.findings(0, judged)

    def run(self) -> Verdict:
        """All steps, and the verdict. What boxcheck itself does wrong in a step costs that step."""
        plan = self._job.plan
        if self._resumption is not None:
            self._around.take_in(earlier_happenings(self._store.path))
            for one in bridge_gap(self._store.path):
                keep(self._store, self._around.tell(one))
        self._look_around()
        facts, runtime, gpus = self._prepare()
        of_box = facts.of(Gpus)
        self._around.follow(gpus, slots_of(gpus, facts), () if isinstance(of_box, Unread) else of_box.gpus)
        self._links = LinkCourse(self._store, gpus, facts, plan.steps)
        if self._resumption is not None:
            self._take_over(self._resumption, facts)
        steps = self._resumption.steps if self._resumption else plan.steps
        places = self._resumption.places if self._resumption else range(len(steps))
        pace = Pace(plan, steps, self._began)
        for at, place in enumerate(places):
            step = pace.of(at, time.monotonic())
            if self._stop.is_set() and (step.kind != "doctor" or self._stuck):
                continue
            self._number, self._place = self._number + 1, place + 1
            self._step(step, facts, runtime, gpus)
            self._links.boundary(step.name, self._number)
        self._judge_around()
        self._findings += self._links.judged(self._want, self._crashes)
        return self._verdict()

    def _take_over(self, resumption: Resumption, facts: Facts) -> None:
        from boxcheck.engine.resume import earlier

        self._links.take_over()
        found, crashes = earlier(self._job, resumption, facts, self._want)
        self._findings += [one for one in found if one not in self._findings]
        self._crashes += crashes

    def _prepare(self) -> tuple[Facts, RuntimeGpus, tuple[GpuInfo, ...]]:
        host = LiveHost()
        facts = read_facts(host)
        name_slots(facts, self._want)
        self._store.attach(CAPTURE, packed(host), "application/gzip")
        runtime = find_devices(self._job.backend)
        facts.put(RuntimeGpus, runtime)
        gpus = pick(runtime.gpus, self._job.gpus, slots_of(runtime.gpus, facts)) if runtime.gpus else ()
        gpus = identified(gpus, facts)
        found = findings_of(CHECKS["gpu.in-runtime"], facts, self._want, self._crashes)
        keep_crashes(self._store, 0, self._crashes)
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
        elif step.kind == "until-ber":
            self._until_ber(step, facts, gpus)
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
        self._store.begin_phase(self._number, PhaseStart(step=self._place))
        # A box that was stopped before harm gets no load, not even that of the copies that wake its links.
        options = Options(want=self._want, save=False, wake=self._unsafe is None)
        try:
            account, host = within(
                seconds_left(self._hard_end, time.monotonic()), lambda: examine(options), self._stopping)
        except TimeoutError as error:
            self._is_stuck(f"{step.name}: {error}")
            return
        self._store.attach(step.name.replace(" ", "-"), run_json(account, with_facts=False).encode())
        if step.name == last_look(self._job.plan.steps):  # it decides; what was found before is for comparison
            self._findings += account.verdict.findings
            self._crashes += account.crashes
            keep_crashes(self._store, self._number, account.crashes)
            if isinstance(host, LiveHost):
                with suppress(OSError):  # a full disk takes no verdict with it
                    self._store.attach(AFTER, packed(host), "application/gzip")
        self._store.findings(self._number, account.verdict.findings)
        self._store.end_phase(self._number, outcome=account.verdict.outcome.value)

    def _is_stuck(self, says: str) -> None:
        """A box on which a reading never comes back gets no load any more, and is not passed. The phase has no end in
        the store, so that judging again leaves it out as well."""
        self._store.event("doctor-stuck", says, severity="fail", phase=self._number)
        self._stuck = True
        self.stop(says)

    def _cool_down(self, step: Step) -> None:
        self._open(step, "", self._number)
        self._store.begin_phase(self._number, PhaseStart(step=self._place))
        until = time.monotonic() + step.seconds
        while time.monotonic() < until and not self._stopping():
            time.sleep(0.2)
        if not self._stop.is_set():
            self._store.end_phase(self._number, outcome="pass")

    def _until_ber(self, step: Step, facts: Facts, gpus: tuple[GpuInfo, ...]) -> None:
        """Rounds of copies, each a phase of its own, within one that stands for the step."""
        number = self._number
        self._open(step, "", number)
        self._store.begin_phase(number, PhaseStart(step=self._place))

        def load(one: Step) -> None:
            self._number += 1
            self._load(one, facts, gpus)

        self._links.until_ber(step, number, load, self._stopping)
        if not self._stop.is_set():  # else it did not come to its end, and is run again when the run is gone on with
            self._store.end_phase(number)

    def _load(self, step: Step, facts: Facts, gpus: tuple[GpuInfo, ...]) -> None:
        modules = [STRESSES[name] for name in step.modules]
        slots = slots_of(gpus, facts)
        numbers = {module.name: self._number + at for at, module in enumerate(modules)}
        for module in modules:
            self._open(step, module.name, numbers[module.name], gpus)
            self._store.begin_phase(numbers[module.name], PhaseStart(
                gpus=gpus, slots=slots, injected=self._job.inject, full_size=all(info.is_gpu for info in gpus),
                warm_up=step.name == WARM_UP, step=self._place))
        self._number += len(modules) - 1

        telling = Telling(self._store, self.stop if self._job.stop_on_error else None)

        def seen(module: Stress, worker: int, of: tuple[GpuInfo, ...], what: Told) -> None:
            telling.heard(numbers[module.name], worker, what)

        wanted = Wanted(
            modules=step.modules, seconds=step.seconds, backend=self._job.backend, seed=self._job.seed,
            options=step.options, inject=self._job.inject, silence_seconds=self._job.silence_seconds,
            limits=limits_of(self._want), warm_up=step.name == WARM_UP)
        for module, (results, watching) in zip(
                modules, run_together(
                    modules, gpus, slots, wanted, stopping=self._stopping, seen=seen, crossed=self._crossed),
                strict=True):
            number = numbers[module.name]
            for trouble in results.troubles:
                telling.trouble(number, trouble)
            self.figures.take(number, step, results, watching)
            self._links.add(results, watching)
            found, crashes = judge_results(results, watching, facts, self._want)
            self._crashes += crashes
            self._take(number, found)
            outcome = gravest(found)
            self._store.end_phase(number, results, outcome=outcome.value)
            if self._job.stop_on_error and outcome is Outcome.FAIL:
                self.stop("a step failed, and --on-error is stop")

    def _verdict(self) -> Verdict:
        survival = survived(self._resumption.survival if self._resumption else None, self._stopped_by == "")
        verdict = judge(
            [*self._findings, *findings_of_survival(survival, self._want, self._crashes)], self._want,
            crashes=self._crashes, profile_certain=self._job.certain)
        self._store.flush()
        path = self._store.path
        return without_rows(as_part(verdict, lacks_at(path, self._want, self._stopped_by)), rows_gone_at(path))

    @property
    def stopped_by(self) -> str:
        """Why it was stopped before its end; empty where it was not."""
        return self._stopped_by


def main() -> None:
    """The engine: takes the job on standard input, and tells its store's path on standard output."""
    serve(Burn)


if __name__ == "__main__":
    main()

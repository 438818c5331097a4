"""Burn-ins that are killed, in any of their processes at any moment, and what must hold afterwards.

tests/engine/test_kills.py does a few of them, tests/bench/kills.py hundreds.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import msgspec

os.environ.setdefault("BOXCHECK_LOCK", f"boxcheck-kills-{os.getpid()}")  # two of these may run side by side

from boxcheck.engine.survival import engine_sessions
from boxcheck.store.errors import StoreError
from boxcheck.store.listing import list_runs
from boxcheck.store.reader import RunReader
from boxcheck.store.verify import complaints

Victim = Literal["engine", "worker", "guard", "command"]
Since = Literal["engine", "store"]
MARK = "BOXCHECK_KILL_TEST"
WORDS: dict[Victim, tuple[str, ...]] = {
    "engine": ("boxcheck.engine.burn",), "command": ("boxcheck burn",),
    "worker": ("boxcheck.engine.worker", "boxcheck.stress.host_child"),
    "guard": ("boxcheck.engine.guard", "boxcheck.telemetry.boundary")}
PLAN = """
name = "short"
[[step]]
module = "doctor"
minutes = 0.01
[[step]]
module = "matmul"
minutes = 0.01
options = { elements = "bf16" }
[[step]]
module = "vram"
minutes = 0.01
options = { megabytes = "2" }
[[step]]
module = "cool-down"
minutes = 0.003
[[step]]
module = "doctor"
minutes = 0.01
"""

QUICK = """
name = "quick"
[[step]]
module = "matmul"
minutes = 0.01
options = { elements = "bf16" }
[[step]]
module = "vram"
minutes = 0.01
options = { megabytes = "2" }
"""


class Seen(msgspec.Struct):
    """What a follower saw of a run: it was committed, so it must stay."""

    events: dict[int, str] = {}
    marks: dict[int, str] = {}
    """Furthest state of a phase."""
    samples: dict[int, int] = {}
    findings: int = 0
    attachments: set[str] = set()


class Yard:
    """A machine of its own for runs of two processors."""

    def __init__(self, folder: Path, seed: int = 1, plan: str = PLAN) -> None:
        self.folder, self.chance = folder, random.Random(seed)
        self.mark = f"{os.getpid()}-{seed}-{time.monotonic_ns()}"
        self.runs = folder / "state" / "boxcheck" / "runs"
        self.plan = folder / "plan.toml"
        self.plan.write_text(plan)
        self.seen: dict[str, Seen] = {}
        self.environment = {
            **os.environ, "XDG_STATE_HOME": str(folder / "state"), "OPENBLAS_NUM_THREADS": "1",
            "BOXCHECK_CPU_DEVICES": "2", MARK: self.mark}

    def start(self, *words: str, **options: Any) -> subprocess.Popen[bytes]:
        log = open(self.folder / "out.log", "ab")  # noqa: SIM115  the child's
        with log:
            return subprocess.Popen(
                [sys.executable, "-m", "boxcheck", "burn", *words], env=self.environment,
                **{"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, **options})

    def burn(self, *words: str, **options: Any) -> subprocess.Popen[bytes]:
        return self.start(
            "--backend", "cpu", "--profile", "generic", "--plan", str(self.plan), "--quiet", *words, **options)

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "boxcheck", *words], env=self.environment, capture_output=True, text=True,
            timeout=60, check=False)

    def processes(self, victim: Victim | None = None) -> list[int]:
        """Those of this yard, whoever their parent is by now."""
        found = []
        for name in os.listdir("/proc"):
            if name.isdecimal() and int(name) != os.getpid():
                with suppress(OSError):
                    if f"{MARK}={self.mark}".encode() not in Path(f"/proc/{name}/environ").read_bytes().split(b"\0"):
                        continue
                    line = Path(f"/proc/{name}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                    if line and (victim is None or any(word in line for word in WORDS[victim])):
                        found.append(int(name))
        return found

    def stores(self) -> list[str]:
        with suppress(FileNotFoundError):
            return sorted(str(path) for path in self.runs.iterdir() if path.name.endswith(".sqlite"))
        return []

    def look(self) -> None:
        """As a follower does."""
        for path in self.stores():
            with suppress(StoreError), RunReader(path) as reader:
                seen = self.seen.setdefault(path, Seen())
                seen.events.update((one.number, one.says) for one in reader.events(after=max(seen.events, default=0)))
                for phase in reader.phases():
                    seen.marks[phase.plan.number] = "ended" if phase.state == "ended" else seen.marks.get(
                        phase.plan.number, "about")
                seen.samples.update(Counter(one.phase for one in reader.samples()))
                seen.findings = sum(1 for _ in reader.findings())
                seen.attachments.update(reader.attachments())

    def kept(self) -> None:
        """All that was seen is there, and each store is whole."""
        for path, seen in self.seen.items():
            assert complaints(path) == (), path
            with RunReader(path) as reader:
                events = {one.number: one.says for one in reader.events()}
                assert seen.events.items() <= events.items()
                phases = {one.plan.number: one for one in reader.phases()}
                assert all(phases[number].end is not None for number, state in seen.marks.items() if state == "ended")
                samples = Counter(one.phase for one in reader.samples())
                assert all(samples[number] >= count for number, count in seen.samples.items())
                assert sum(1 for _ in reader.findings()) >= seen.findings
                assert seen.attachments <= set(reader.attachments())

    def gone(self, within_seconds: float = 15.0) -> None:
        """No process is left."""
        until = time.monotonic() + within_seconds
        while (left := self.processes()) and time.monotonic() < until:
            time.sleep(0.05)
        if left:
            told = [(one, Path(f"/proc/{one}/cmdline").read_bytes()) for one in left]
            self.end()
            raise AssertionError(f"left behind: {told}")

    def end(self) -> None:
        for one in self.processes():
            with suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)

    def state(self) -> str:
        """Of the newest run; empty where there is none."""
        listed = [one for one in list_runs(str(self.runs)) if one.kind == "burn"]
        return listed[0].state if listed else ""

    def strike(
        self, victim: Victim, wait_seconds: float, number: int = signal.SIGKILL, since: Since = "store"
    ) -> int | None:
        """Waits so long, from when there is an engine or its store (a command: from now), looking on, and kills one
        such process. Gives its id; None where all was through before."""
        if victim != "command":
            self._until("engine")
        while since == "store" and victim != "command" and self.processes("engine") and self.state() != "running":
            time.sleep(0.02)
        until = time.monotonic() + wait_seconds
        while time.monotonic() < until and self.processes():
            self.look()
            time.sleep(0.02)
        for one in self.chance.sample(found := self._until(victim), len(found)):
            with suppress(ProcessLookupError):
                os.kill(one, number)
                return one
        return None

    def _until(self, victim: Victim) -> list[int]:
        """Waits for such a process; none where all is over."""
        until = time.monotonic() + 60
        while not (found := self.processes(victim)) and self.processes() and time.monotonic() < until:
            time.sleep(0.02)
        return found

    def wait(self, process: subprocess.Popen[bytes], within_seconds: float = 60.0) -> int:
        """Until a command and its engine are through."""
        until = time.monotonic() + within_seconds
        while (process.poll() is None or self.processes("engine")) and time.monotonic() < until:
            self.look()
            time.sleep(0.1)
        return process.wait(5)

    def round(self, victim: Victim, wait_seconds: float, since: Since = "store") -> Counter[str]:
        """One kill and all that must hold after it. Goes on with the newest run where that was cut off."""
        told: Counter[str] = Counter()
        before = self.state() if self.stores() else ""
        again = before in ("crashed", "stopped")
        newest = self.stores()[-1] if self.stores() else ""
        sessions = self._sessions(newest) if again else 0
        alone = ["--detach"] if victim != "command" and self.chance.random() < 0.5 else []
        process = self.start("--resume", _id(newest), "--quiet", *alone) if again else self.burn(*alone)
        struck = self.strike(victim, wait_seconds, since=since)
        if victim == "engine" and struck:
            process.wait(30)
        elif self.chance.random() < 0.5 and self.strike("engine", self.chance.uniform(0, 1.5)):
            told["engine killed too"] += 1
            process.wait(30)
        else:
            self.wait(process)
        self.gone()
        self.look()
        self.kept()
        told["resumed" if again else "begun"] += 1
        told[f"{victim} {'killed' if struck else 'through before'}"] += 1
        if again and self._sessions(newest) == sessions:
            told["the command went before the engine began"] += 1
            assert struck, "nothing was killed, and the run did not go on"
            assert self.state() == before
            return told
        self._truth(told)
        return told

    def _truth(self, told: Counter[str]) -> None:
        killed = told["engine killed"] + told["engine killed too"]
        listed = self.call("runs")
        assert "Traceback" not in listed.stderr, listed.stderr
        stores = self.stores()
        state = self.state()
        told[state or "no store yet"] += 1
        if not stores:
            assert "went down" not in listed.stderr
            return
        with RunReader(stores[-1]) as reader:
            run, phases, outcome = reader.run(), reader.phases(), reader.run().end
        assert run.state == state != "running"
        if state == "crashed":
            assert killed, "another process took the run with it"
            cut = [one.plan.name for one in phases if one.state == "cut"]
            if "went-down" in self._events(stores[-1])[self._resumed(stores[-1]):]:
                told["a follower told the crash"] += 1
                assert f"run {_id(stores[-1])}: " not in listed.stderr
            else:
                told["the next command told the crash"] += 1
                assert f"run {_id(stores[-1])}: boxcheck went down in" in listed.stderr
                assert not cut or cut[-1] in listed.stderr or "its start" in listed.stderr
        else:
            assert f"run {_id(stores[-1])}: " not in listed.stderr
            assert outcome is not None
            died = [one for one in self._events(stores[-1]) if one.startswith("worker-")]
            if died:
                told["a worker's death was told"] += 1
                assert outcome.outcome != "pass"

    def _sessions(self, path: str) -> int:
        with RunReader(path) as reader:
            return len(engine_sessions(reader))

    def _resumed(self, path: str) -> int:
        """Where the last session of the engine begins among the events."""
        kinds = list(self._events(path))
        return len(kinds) - kinds[::-1].index("resumed") if "resumed" in kinds else 0

    def _events(self, path: str) -> Sequence[str]:
        with RunReader(path) as reader:
            return [one.kind for one in reader.events()]


def _id(path: str) -> str:
    return os.path.basename(path).removesuffix(".sqlite")

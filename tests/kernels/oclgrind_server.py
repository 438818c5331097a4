"""Runs portable kernels under Oclgrind: one job a line of standard input, one answer a line of standard output.

Oclgrind counts errors for the whole life of a process, and tells them on its standard error. So each job runs in a
process of its own: a copy of this one (fork), which has loaded everything, and whose standard error is a file.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Literal

import msgspec

from boxcheck.gpu.opencl import OpenClGpu
from boxcheck.kernels import Source
from tests.kernels.oclgrind_bench import Bench, Stop, simulator
from tests.kernels.oclgrind_cases import CASES


class Job(msgspec.Struct, frozen=True):
    source: Source
    kernels: tuple[str, ...]
    stop: Literal["", "told", "seen"] = ""
    """When it may end before all is done: once Oclgrind told something; or once a result is wrong, too."""
    seconds: int = 60
    """Of the processor: other work on the machine ends no job. It is ended by SIGXCPU after these, and by SIGALRM where it
    waits for something ten times as long."""


class Answer(msgspec.Struct):
    launched: list[str] = []
    wrong: list[str] = []
    """What differs from the oracle."""
    log: str = ""
    """All that Oclgrind told."""
    ended: str = ""
    """Why there is no more; empty where all was done, or where it might stop."""


def work(gpu: OpenClGpu, job: Job, log: Path) -> Answer:
    """Builds the source, and runs the cases of its kernels."""

    def enough(wrong: list[str]) -> bool:
        return bool((job.stop and log.stat().st_size) or (job.stop == "seen" and wrong))

    bench, ended = None, ""
    try:
        bench = Bench(gpu, job.source, enough)
        for kernel in job.kernels:
            if kernel in CASES:
                CASES[kernel](bench)
    except Stop:
        pass
    except Exception:  # noqa: BLE001  whatever it is, the answer must say so
        ended = traceback.format_exc()
    return Answer(sorted(bench.launched), bench.wrong, ended=ended) if bench else Answer(ended=ended)


def done(gpu: OpenClGpu, job: Job) -> Answer:
    """The answer of a child that does the job."""
    with tempfile.TemporaryDirectory() as folder:
        log, told = Path(folder) / "log", Path(folder) / "answer"
        child = os.fork()
        if child == 0:
            resource.setrlimit(resource.RLIMIT_CPU, (job.seconds, job.seconds + 5))
            signal.alarm(10 * job.seconds)
            with log.open("wb") as file:
                os.dup2(file.fileno(), 2)
            told.write_bytes(msgspec.json.encode(work(gpu, job, log)))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            answer = Answer(ended=f"ended by signal {os.WTERMSIG(status)}, {signal.strsignal(os.WTERMSIG(status))}")
        elif status:
            answer = Answer(ended=f"ended with status {status}")
        else:
            answer = msgspec.json.decode(told.read_bytes(), type=Answer)
        answer.log = log.read_text("utf-8", errors="replace") if log.exists() else ""
        return answer


def main() -> None:
    gpu = simulator()
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(msgspec.json.encode(done(gpu, msgspec.json.decode(line, type=Job))) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()

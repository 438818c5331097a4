"""Time, memory and size of the report of a day. By hand: `python -m tests.bench.report_speed`; ten minutes.

Simulates a day of 8 GPUs by the plan of a burn-in (as tests.bench.store_size does), then makes its report as HTML, and as
PDF where that can be made, each in a process of its own, whose peak of memory is its own.

    python -m tests.bench.report_speed --hours 2            a shorter run
    python -m tests.bench.report_speed --store RUN.sqlite   of a run that is there

Exit code 1 when a promise is broken: HTML in 10 s, 300 MB and 3 MB of file, PDF in 30 s.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

from boxcheck.store.reader import RunReader
from boxcheck.store.rows import EndState
from boxcheck.store.writer import RunWriter
from tests.bench.store_size import peak_mb, simulate_plan

PATIENCE_SECONDS = 300.0
PROMISES = {"html": {"seconds": 10.0, "MB at most": 300.0, "MB of file": 3.0}, "pdf": {"seconds": 30.0}}


def make(path: str, form: str) -> None:
    """The report in this process; prints figures as JSON."""
    began = time.monotonic()
    if form == "html":
        from boxcheck.report.html import run_html

        data = run_html(path).encode()
    else:
        from boxcheck.report.pdf import run_pdf

        data = run_pdf(path, None, None)
    spent = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({
        "seconds": time.monotonic() - began, "seconds of processor": spent.ru_utime + spent.ru_stime,
        "MB at most": peak_mb(), "MB of file": len(data) / 1e6}))


def make_apart(path: str, form: str) -> dict[str, float]:
    """The same in a fresh process; empty where it did not come to its end."""
    told = subprocess.run(
        [sys.executable, "-m", "tests.bench.report_speed", "--make", form, "--store", path], stdout=subprocess.PIPE,
        text=True, cwd=Path(__file__).parents[2], timeout=PATIENCE_SECONDS, check=False)
    return dict(json.loads(told.stdout)) if told.returncode == 0 else {}


def day(folder: str, seconds: int) -> str:
    """A store by the plan that ends with a verdict, as runs do: that of a shorter one, which has as many findings."""
    from boxcheck.engine.kept_profile import profile_of
    from boxcheck.engine.rejudge import rejudge

    with tempfile.TemporaryDirectory() as small, RunReader(simulate_plan(small, seconds=600)) as reader:
        verdict = rejudge(reader, profile_of(reader)[0], False).verdict
    end = RunWriter.end

    def with_verdict(store: RunWriter, state: EndState, **_: object) -> object:
        return end(store, state, verdict)

    with patch.object(RunWriter, "end", with_verdict):
        return simulate_plan(folder, seconds=seconds)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--store")
    parser.add_argument("--make", choices=("html", "pdf"))
    asked = parser.parse_args()
    if asked.make:
        make(asked.store, asked.make)
        return 0
    broken = []
    with tempfile.TemporaryDirectory() as folder:
        path = asked.store or day(folder, round(asked.hours * 3600))
        print(f"{os.path.getsize(path) / 1e6:.0f} MB of store, load of the machine {os.getloadavg()[0]:.1f}")
        for form, promises in PROMISES.items():
            if form == "pdf" and importlib.util.find_spec("boxcheck.report.pdf") is None:
                continue
            found = make_apart(path, form)
            print(f"{form}  " + "  ".join(f"{name} {value:.2f}" for name, value in found.items()))
            broken += [f"{form}: {name}" for name, most in promises.items() if found.get(name, 1e9) > most]
    print(f"broken: {', '.join(broken)}" if broken else "all promises are kept")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

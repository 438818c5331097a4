"""Follows the newest run below a folder, and writes down what of it a reader finds: all of that is committed.

    witness.py FOLDER OUT

One JSON object a line, written only when something is new. `tests.kernel.test_burn` compares it with what a cut leaves.
"""

import json
import os
import sys
import time
from glob import glob
from typing import Any

from boxcheck.store.errors import StoreError
from boxcheck.store.reader import RunReader


def told(reader: RunReader) -> dict[str, Any]:
    """What was told to be kept, so far: marks of the phases, events, findings."""
    phases = {
        str(phase.plan.number): [name for name in ("about", "started", "ended") if getattr(phase, name) is not None]
        for phase in reader.phases()}
    return {
        "phases": phases, "events": [[one.number, one.kind, one.says] for one in reader.events()],
        "findings": {number: len(list(reader.findings(int(number)))) for number in ("0", *phases)}}


def written(path: str) -> list[tuple[int, int]]:
    """What changes with each write to a store."""
    found = [os.stat(name) for name in (path, f"{path}-wal") if os.path.exists(name)]
    return [(one.st_size, one.st_mtime_ns) for one in found]


def main(folder: str, out: str) -> None:
    last = before = None
    again = 0.0
    with open(out, "a") as stream:
        while True:
            paths = sorted(glob(f"{folder}/*.sqlite"), key=os.path.getmtime)
            # A look costs as much of the emulated processor as the work beside it, so only where something was written. That
            # a run has died nobody writes.
            now_written = written(paths[-1]) if paths else None
            if now_written is not None and now_written == before and time.monotonic() < again:
                time.sleep(0.15)
                continue
            before, again = now_written, time.monotonic() + 5
            try:
                with RunReader(paths[-1]) as reader:
                    now = told(reader)
                    state = reader.run().state
            except (IndexError, StoreError):
                before = None
                time.sleep(0.3)
                continue
            if now != last or state != "running":
                last = now
                stream.write(json.dumps({"run": os.path.basename(paths[-1]), "state": state, **now}) + "\n")
                stream.flush()
            if state != "running":
                return
            time.sleep(0.15)


if __name__ == "__main__":
    main(*sys.argv[1:])

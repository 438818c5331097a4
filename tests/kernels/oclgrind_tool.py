"""Oclgrind itself: where it is, how it is asked to look, what it said.

Oclgrind (J. Price and S. McIntosh-Smith, "Oclgrind: an extensible OpenCL device simulator", IWOCL 2015; version 21.10)
interprets the LLVM code of a kernel. It compares each access with the bounds of the buffer or the array that its pointer
came from; it remembers between barriers which work-item touched which byte, and for a whole launch which group did, so a
race shows whatever the order in which they ran; and it follows which bytes were ever written.
"""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import msgspec

from tests.kernels.oclgrind_server import Answer, Job

LIBRARY = "BOXCHECK_OCLGRIND"
"""An environment variable that names Oclgrind's OpenCL library, where it does not lie beside pyopencl's loader."""
LOOK = {
    # The text as it is written: optimised, loads whose value is not used are gone, out of bounds or not; and the check of
    # uninitialised values does not know all instructions of optimised code (`freeze`), crashes on some, errs on others.
    "OCLGRIND_BUILD_OPTIONS": "-O0",
    "OCLGRIND_DATA_RACES": "1",
    # Two work-items that write the same value to the same place are a race as well.
    "OCLGRIND_UNIFORM_WRITES": "1",
    # One thread, so it is cheap where others test too. What is seen does not depend on it.
    "OCLGRIND_NUM_THREADS": "1",
    "OCLGRIND_MAX_ERRORS": "4",
}
UNINITIALIZED = {"OCLGRIND_UNINITIALIZED": "1"}
"""Two to three times slower."""


class Message(msgspec.Struct, frozen=True):
    """One thing that Oclgrind says."""

    says: str
    kernel: str


def library() -> Path | None:
    """The library that an OpenCL loader is given. That of the wheel lies beside pyopencl's loader."""
    if named := os.environ.get(LIBRARY):
        return Path(named)
    spec = find_spec("pyopencl")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for found in sorted(Path(folder, ".libs").glob("liboclgrind-rt-icd*.so")):
            return found
    return None


def messages(log: str) -> list[Message]:
    """What was told: a line at the margin begins a message, those behind a tab belong to it.

    Only empty lines are no message. A text of another kind is one too, so that it cannot pass for silence.
    """
    found = []
    for block in re.split(r"\n(?=\S)", log):
        if block.strip():
            kernel = re.search(r"^\tKernel: (\w+)$", block, re.MULTILINE)
            found.append(Message(block.strip().split("\n")[0], kernel[1] if kernel else ""))
    return found


class Oclgrind:
    """A server of jobs (oclgrind_server.py)."""

    def __init__(self, icd: Path, look: dict[str, str]) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OCLGRIND_")}
        # OCL_ICD_VENDORS: the loader shows this platform alone.
        environment = {**kept, **look, "OCL_ICD_VENDORS": str(icd), "PYOPENCL_NO_CACHE": "1"}
        self._process = subprocess.Popen(
            (sys.executable, "-m", "tests.kernels.oclgrind_server"), env=environment, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=Path(__file__).parents[2])

    def run(self, job: Job) -> Answer:
        """RuntimeError with what it said where it does not run at all."""
        process = self._process
        assert process.stdin and process.stdout  # noqa: PT018
        line = b""
        try:
            process.stdin.write(msgspec.json.encode(job) + b"\n")
            process.stdin.flush()
            if select.select((process.stdout,), (), (), 10 * job.seconds + 30)[0]:
                line = process.stdout.readline()
        except BrokenPipeError:
            pass
        if not line:
            process.kill()
            raise RuntimeError(f"Oclgrind does not run: {process.communicate()[1].decode(errors='replace')}")
        return msgspec.json.decode(line, type=Answer)

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

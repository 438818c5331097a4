"""Sources to machine code of one GPU, by hiprtc, in a process that may crash or hang without harm (`hip_child`)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence

import msgspec

from boxcheck.gpu import GpuError
from boxcheck.gpu.cache import Compiled, cached
from boxcheck.gpu.hip_child import Answer, Order
from boxcheck.kernels import Source

TIMEOUT_SECONDS = 180.0
"""A kernel takes less than a second; the first use of a ROCm installed on a network disk takes many."""
WORDS_LIMIT = 1500
OWN_DEFECT = "this is a defect of boxcheck, or of ROCm's compiler: report it"


def compile_source(source: Source, arch: str, version: str) -> Compiled:
    """A code object, from the cache or from hiprtc. `version` is HIP's, which hiprtc comes with.

    GpuError: `compile`, `timeout`, `no-driver` without hiprtc, or `unsupported` for a source of CUDA.
    """
    if source.language == "cuda":
        raise GpuError("unsupported", f"{source.name} is written for CUDA")
    options = options_of(source, arch)
    return cached(source, arch, options, f"hiprtc of HIP {version}", lambda: _compiled(source, arch, options))


def options_of(source: Source, arch: str) -> tuple[str, ...]:
    given = source.options if source.language == "hip" else ()
    return (f"--offload-arch={arch}", "-O3", *(f"-D{name}={value}" for name, value in source.defines), *given)


def _compiled(source: Source, arch: str, options: Sequence[str]) -> Compiled:
    where = f"{source.name} for {arch}"
    order = msgspec.json.encode(Order(source.name, list(options))) + b"\n" + source.text.encode()
    # -P: the child must not import from the directory that boxcheck was started in. No session of its own: who ends a
    # worker ends its group, and this child with it.
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "boxcheck.gpu.hip_child", str(os.getpid())], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        out, err = process.communicate(order, timeout=TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        raise GpuError("timeout", f"hiprtc did not compile {where} within {TIMEOUT_SECONDS:.0f} s") from None
    finally:
        process.kill()  # one that hangs inside the driver does not die of it; it is left behind
    if process.returncode < 0:
        words = f"hiprtc crashed ({signal.Signals(-process.returncode).name}) when it compiled {where}"
        raise GpuError("compile", _with(words, err), "this ROCm may not know the GPU: update it")
    return _answered(where, out, err)


def _answered(where: str, out: bytes, err: bytes) -> Compiled:
    head, _, code = out.partition(b"\n")
    try:
        answer = msgspec.json.decode(head, type=Answer)
    except msgspec.DecodeError:
        raise GpuError("compile", _with(f"hiprtc's process gave no answer for {where}", err), OWN_DEFECT) from None
    if answer.kind == "compile":
        words = " ".join(answer.says.split())[:WORDS_LIMIT]
        raise GpuError("compile", f"{where} does not compile: {words}", OWN_DEFECT)
    if answer.kind is not None:
        raise GpuError(answer.kind, answer.says, answer.help)
    if len(code) != answer.code_bytes or not code:
        raise GpuError("compile", f"hiprtc's process gave {len(code)} of {answer.code_bytes} bytes for {where}")
    return Compiled(code, answer.log)


def _with(words: str, err: bytes) -> str:
    """The sentence, with the end of what was printed to standard error."""
    printed = " ".join(err.decode("utf-8", "replace").split())[-300:]
    return f"{words}: {printed}" if printed else words

"""Compiles one source by hiprtc in a process of its own, which may crash or hang without harm.

Debian's hiprtc 5.2 ends the process with `munmap_chunk(): invalid pointer` on an architecture that it does not know;
whatever a newer one does, it does it here. `hip_compile` starts this module with `-m`. Standard input: a line of JSON
with name and options, then the text. Standard output: a line of JSON, then the code; what the compiler itself prints
there goes to standard error. The one argument is the process that started it, with which it ends.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any

import msgspec

from boxcheck.gpu import GpuError, GpuErrorKind
from boxcheck.gpu.hip_absent import no_library
from boxcheck.gpu.hip_binding import part
from boxcheck.host.parent import die_with_parent


class Order(msgspec.Struct):
    name: str
    options: list[str]


class Answer(msgspec.Struct):
    """`kind` is None where code follows; else `says` tells what went wrong, as in GpuError."""

    kind: GpuErrorKind | None
    says: str
    help: str
    log: str
    code_bytes: int


def main() -> int:
    die_with_parent(int(sys.argv[1]))
    # The answer goes to what standard output is now; after this, whoever prints there prints to standard error.
    answer_to = os.dup(1)
    os.dup2(2, 1)
    head, _, text = sys.stdin.buffer.read().partition(b"\n")
    order = msgspec.json.decode(head, type=Order)
    code = b""
    try:
        code, log = compile_text(text, order)
        answer = Answer(None, "", "", log, len(code))
    except GpuError as error:
        answer = Answer(error.kind, error.says, error.help, "", 0)
    with os.fdopen(answer_to, "wb") as out:
        out.write(msgspec.json.encode(answer) + b"\n" + code)
    return 0


def compile_text(text: bytes, order: Order) -> tuple[bytes, str]:
    """Code and log. GpuError of kind `compile` holds the compiler's words."""
    hiprtc = part("hiprtc")
    program = _call(hiprtc, "hiprtcCreateProgram", text + b"\0", order.name.encode() + b"\0", 0, None, None)
    # An array of our own, by its address: releases 6 and 7 of hip-python free theirs before the call.
    options = (ctypes.c_char_p * len(order.options))(*(option.encode() for option in order.options))
    try:
        _call(hiprtc, "hiprtcCompileProgram", program, len(options), ctypes.addressof(options))
    except GpuError as error:
        if error.kind != "compile":
            raise
        raise GpuError("compile", _log(hiprtc, program) or error.says) from None
    code = bytearray(int(_call(hiprtc, "hiprtcGetCodeSize", program)))
    _call(hiprtc, "hiprtcGetCode", program, code)
    return bytes(code), _log(hiprtc, program)


def _log(hiprtc: Any, program: Any) -> str:
    size = int(_call(hiprtc, "hiprtcGetProgramLogSize", program))
    if size <= 1:
        return ""
    log = bytearray(size)
    _call(hiprtc, "hiprtcGetProgramLog", program, log)
    return log.rstrip(b"\0").decode("utf-8", "replace").strip()


def _call(hiprtc: Any, name: str, *arguments: Any) -> Any:
    try:
        answer = getattr(hiprtc, name)(*arguments)
    except RuntimeError as error:
        raise no_library(error) from None
    except (AttributeError, ValueError) as error:
        raise GpuError("version", f"hiprtc cannot be used: {error}") from None
    if int(answer[0]):
        raise GpuError("compile", f"hiprtc failed ({name}: {getattr(answer[0], 'name', '')} {int(answer[0])})")
    return answer[1] if len(answer) == 2 else None


if __name__ == "__main__":
    sys.exit(main())

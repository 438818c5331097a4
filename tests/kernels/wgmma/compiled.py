"""What NVRTC makes of the Hopper kernel: registers, spills, warnings and opcodes. Needs no GPU.

    python -m tests.kernels.wgmma.compiled

prints one line a kernel. Needs `cuda-bindings` and an NVRTC of CUDA 12 or 13; opcodes also `nvidia-cuda-nvdisasm`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from boxcheck.kernels import Source
from boxcheck.kernels.wgmma import TUNED, kernel, kernels

OPCODES = re.compile(r"\b(HGMMA|QGMMA|IGMMA|HMMA|IMMA|UTMALDG\.2D(?:\.MULTICAST)?|USETMAXREG|LDL|STL)\b")


class Compiled(msgspec.Struct, frozen=True):
    cubin: bytes
    log: str

    @property
    def registers(self) -> int:
        return int(re.search(r"Used (\d+) registers", self.log)[1])  # type: ignore[index]

    @property
    def spill_bytes(self) -> int:
        stack, stores, loads = re.search(  # type: ignore[misc]
            r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", self.log).groups()
        return int(stack) + int(stores) + int(loads)

    @property
    def warnings(self) -> list[str]:
        """ptxas says C7508 when it ignores setmaxnreg, and C7510 to C7514 when it serialises wgmma."""
        return [line for line in self.log.splitlines() if re.search(r"warning|\bC7\d{3}\b|Potential Performance Loss", line)]


def compiled(source: Source) -> Compiled:
    """RuntimeError holds the log where it does not compile."""
    nvrtc: Any = import_module("cuda.bindings.nvrtc")
    options = [*source.options, "--ptxas-options=-v", *(f"-D{name}={value}" for name, value in source.defines)]
    code, program = nvrtc.nvrtcCreateProgram(source.text.encode(), source.name.encode(), 0, [], [])
    done, = nvrtc.nvrtcCompileProgram(program, len(options), [option.encode() for option in options])
    code, size = nvrtc.nvrtcGetProgramLogSize(program)
    log = bytearray(size)
    nvrtc.nvrtcGetProgramLog(program, log)
    text = log.rstrip(b"\0").decode()
    if int(done):
        raise RuntimeError(text)
    code, size = nvrtc.nvrtcGetCUBINSize(program)
    cubin = bytearray(size)
    code, = nvrtc.nvrtcGetCUBIN(program, cubin)
    assert not int(code)
    return Compiled(bytes(cubin), text)


def disassembler() -> str | None:
    """The program nvdisasm, from the wheel or the path."""
    try:
        places = [Path(place) / "bin/nvdisasm" for place in import_module("nvidia.cu13").__path__]
    except ImportError:
        places = []
    return next((str(place) for place in places if place.exists()), shutil.which("nvdisasm"))


def opcodes(program: str, cubin: bytes) -> Counter[str]:
    """How often the opcodes that matter are in the code."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kernel.cubin"
        file.write_bytes(cubin)
        done = subprocess.run([program, "-c", str(file)], capture_output=True, text=True, timeout=60, check=True)
    return Counter(OPCODES.findall(done.stdout))


def main() -> None:
    program = disassembler()
    for one in (*kernels(), *(kernel(element, cluster=2) for element in TUNED)):
        made = compiled(one.source)
        found = dict(opcodes(program, made.cubin)) if program else "no nvdisasm"
        print(f"{one.name}: {made.registers} registers, {made.spill_bytes} bytes spilt, {made.warnings or 'no warnings'}, {found}")


if __name__ == "__main__":
    main()

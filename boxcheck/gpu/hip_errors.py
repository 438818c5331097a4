"""What HIP's error codes mean, in words for a person.

The codes and when they come: HIP runtime API reference, `hipError_t` (hip_runtime_api.h). Most have the numbers of
CUDA. `LASTS` marks those after which nothing works on the GPU until the process is gone. Often HIP gives no code at
all there: on a memory fault or a reset of the GPU its runtime ends the process, with a line like `Memory access fault
by GPU node-1` on its standard error.
"""

from __future__ import annotations

from boxcheck.gpu.calls import DriverError, Fault

LASTS = True
_LOG = "read the kernel log of that moment (`journalctl -k | grep -i amdgpu`), or give it to `boxcheck triage`"
_OWN = "this is a defect of boxcheck unless other checks of this GPU fail as well: report it, with the kernel log"
_ROCM = "install ROCm's runtime again, all of one version"

_CALLER = Fault("error", "boxcheck called HIP in a way that it refuses: a defect of boxcheck")
_CALLER_CODES = (
    1, 4, 5, 6, 7, 8, 9, 12, 13, 17, 21, 52, 202, 205, 206, 207, 208, 210, 211, 212, 213, 216, 219, 400, 401, 500, 600,
    708, 712, 713, 900, 901, 902, 903, 904, 905, 906, 907, 908, 910, 911, 912, 916, 1055,
)

FAULTS: dict[int, Fault] = {
    **dict.fromkeys(_CALLER_CODES, _CALLER),
    2: Fault("out-of-memory", "the GPU has not enough memory"),
    3: Fault("error", "HIP could not be started in this process", _LOG),
    35: Fault("version", "the kernel's amdgpu driver is too old for this ROCm", "update the kernel, or amdgpu-dkms"),
    53: Fault("lost", "a kernel before this call failed", _LOG, LASTS),
    98: Fault("version", "the kernel is not made for this GPU"),
    100: Fault("no-device", "HIP shows no GPU"),
    101: Fault("no-device", "HIP shows no GPU of this number"),
    200: Fault("version", "HIP does not load the compiled kernel"),
    201: Fault("lost", "the GPU's context is gone", _LOG, LASTS),
    209: Fault("version", "the compiled kernel is for another GPU than this"),
    214: Fault("lost", "the GPU met an error in its memory that ECC could not repair",
               "read `journalctl -k | grep -i -e ras -e amdgpu`, reset the GPU, test its memory", LASTS),
    215: Fault("unsupported", "the GPU has no such limit"),
    217: Fault("unsupported", "the two GPUs cannot use each other's memory"),
    218: Fault("compile", "HIP does not accept the kernel's code"),
    300: Fault("compile", "HIP does not accept the kernel's code"),
    301: Fault("no-driver", "a file of ROCm is missing", _ROCM),
    302: Fault("no-driver", "a library of ROCm lacks a function", _ROCM),
    303: Fault("no-driver", "a library of ROCm could not be started", _ROCM),
    304: Fault("error", "the operating system refused a call of the driver", _LOG),
    700: Fault("error", "a kernel of boxcheck used an address outside its memory", _OWN, LASTS),
    701: Fault("unsupported", "a kernel asks for more registers or shared memory than this GPU has"),
    702: Fault("timeout", "a kernel ran longer than the driver lets it", _LOG, LASTS),
    704: Fault("error", "access to the other GPU's memory was given before"),
    705: Fault("unsupported", "access to the other GPU's memory was not given"),
    709: Fault("lost", "the GPU's context was destroyed", _LOG, LASTS),
    710: Fault("error", "an assertion failed in a kernel of boxcheck", _OWN, LASTS),
    719: Fault("lost", "a kernel ended in an error that the driver does not name", _LOG, LASTS),
    720: Fault("unsupported", "the GPU cannot hold all groups of a cooperative kernel at once"),
    801: Fault("unsupported", "this GPU or ROCm cannot do that"),
    914: Fault("unsupported", "the GPU has no such resource"),
    915: Fault("unsupported", "the GPU's resources cannot be divided so"),
    999: Fault("lost", "HIP failed for a reason that it does not name", _LOG, LASTS),
    1052: Fault("out-of-memory", "ROCm's runtime could not get memory for the GPU"),
    1053: Fault("lost", "ROCm's runtime failed for a reason that it does not name", _LOG, LASTS),
    1054: Fault("unsupported", "the GPU has no clusters of this size"),
}


def error_of(code: int, name: str, call: str, doing: str = "", help: str = "") -> DriverError:
    """The error for a code that `call` returned. `name` is HIP's own of the code, `doing` what was tried."""
    # hipErrorInvalidClusterSize of ROCm 10 took the number of what was hipErrorTbd, "to be decided", before.
    fault = FAULTS.get(code, Fault("error", "HIP reports an error that boxcheck does not know"))
    says = f"{doing + ': ' if doing else ''}{fault.says} ({call}: {name} {code})"
    return DriverError(fault.kind, says, help or fault.help, code=code, lasts=fault.lasts)

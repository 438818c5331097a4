"""What CUDA's error codes mean, in words for a person.

The codes and when they come: CUDA Driver API reference, `CUresult` (cuda.h). `LASTS` marks those of which it says that
the context is corrupt, or that the process must end: nothing works on that GPU until the process is gone.

An address that a kernel should not have used (700, 716, 717) is told as `error`, not `lost`: first of all it is a
defect of boxcheck's kernel. A GPU that computes wrong addresses from right code does it too, but fails other checks.
"""

from __future__ import annotations

from boxcheck.gpu.calls import DriverError, Fault

LASTS = True
_LOG = "read the kernel log of that moment (`journalctl -k | grep -i -e NVRM -e Xid`), or give it to `boxcheck triage`"
_OWN = "this is a defect of boxcheck unless other checks of this GPU fail as well: report it, with the kernel log"
_DRIVER_FILES = "install the driver again; its libraries must all be of the version in /proc/driver/nvidia/version"
_FABRIC = "start NVIDIA's fabric manager, of the same version as the driver (`systemctl status nvidia-fabricmanager`)"
_MPS = "look at the MPS control daemon, or run boxcheck without it (unset CUDA_MPS_PIPE_DIRECTORY)"

_CALLER = Fault("error", "boxcheck called the driver in a way that it refuses: a defect of boxcheck")
_CALLER_CODES = (
    1, 4, 5, 6, 7, 8, 202, 205, 206, 207, 208, 210, 211, 212, 213, 216, 219, 400, 401, 402, 500, 600, 703, 708, 712,
    713, 811, 812, 900, 901, 902, 903, 904, 905, 906, 907, 908, 910, 913, 917, 918,
)

FAULTS: dict[int, Fault] = {
    **dict.fromkeys(_CALLER_CODES, _CALLER),
    2: Fault("out-of-memory", "the GPU has not enough memory"),
    3: Fault("error", "the driver was not initialised in this process"),
    34: Fault("no-driver", "the libcuda that was found is the toolkit's stub and not the driver's library",
              "take the toolkit's `stubs` folder out of LD_LIBRARY_PATH"),
    36: Fault("version", "the driver is too old for this call", "update NVIDIA's driver"),
    46: Fault("busy", "the GPU takes no further process: another one holds it, or its compute mode forbids all",
              "see who with `nvidia-smi`; `sudo nvidia-smi -c DEFAULT` lets processes share it"),
    47: Fault("error", "the GPU has no multicast resources left"),
    100: Fault("no-device", "the driver shows no GPU"),
    101: Fault("no-device", "the driver shows no GPU of this number"),
    102: Fault("forbidden", "the GPU is virtual and has no licence", "license it (`nvidia-smi -q | grep -i licen`)"),
    200: Fault("version", "the driver does not load the compiled kernel"),
    201: Fault("lost", "the GPU's context is gone", _LOG, LASTS),
    209: Fault("version", "the compiled kernel is for another GPU than this"),
    214: Fault("lost", "the GPU met an error in its memory that ECC could not repair",
               "read `nvidia-smi -q -d ECC,ROW_REMAPPER`, reset the GPU, test its memory; replace it if it comes back",
               LASTS),
    215: Fault("unsupported", "the GPU has no such limit"),
    217: Fault("unsupported", "the two GPUs cannot use each other's memory"),
    218: Fault("compile", "the driver does not accept the kernel's PTX"),
    220: Fault("lost", "an NVLink met an error that it could not repair",
               "read `nvidia-smi nvlink -e`; " + _LOG, LASTS),
    221: Fault("version", "the driver's own compiler (libnvidia-ptxjitcompiler) is missing", _DRIVER_FILES),
    222: Fault("version", "the kernel's PTX is newer than the driver"),
    223: Fault("unsupported", "the driver's own compiler is switched off", "unset CUDA_DISABLE_JIT"),
    224: Fault("unsupported", "the GPU cannot confine work to some of its processors"),
    225: Fault("unsupported", "kernels cannot wait for kernels that they start"),
    226: Fault("lost", "the GPU contained an error of its hardware, or of an access to another GPU over NVLink",
               _LOG, LASTS),
    227: Fault("version", "the driver's loader is too old", _DRIVER_FILES),
    300: Fault("compile", "the driver does not accept the kernel's code"),
    301: Fault("no-driver", "a file of the driver is missing", _DRIVER_FILES),
    302: Fault("no-driver", "a library of the driver lacks a function", _DRIVER_FILES),
    303: Fault("no-driver", "a library of the driver could not be started", _DRIVER_FILES),
    304: Fault("error", "the operating system refused a call of the driver", _LOG),
    700: Fault("error", "a kernel of boxcheck used an address outside its memory", _OWN, LASTS),
    701: Fault("unsupported", "a kernel asks for more registers or shared memory than this GPU has"),
    702: Fault("timeout", "a kernel ran longer than the driver lets it on a GPU with a display",
               "run without a desktop on this GPU (`sudo systemctl isolate multi-user.target`)", LASTS),
    704: Fault("error", "access to the other GPU's memory was given before"),
    705: Fault("unsupported", "access to the other GPU's memory was not given"),
    709: Fault("lost", "the GPU's context was destroyed", _LOG, LASTS),
    710: Fault("error", "an assertion failed in a kernel of boxcheck", _OWN, LASTS),
    711: Fault("unsupported", "the GPU has access to as many others as it can have"),
    714: Fault("lost", "the GPU met an error in a kernel's call stack", _LOG, LASTS),
    715: Fault("lost", "the GPU met an instruction that it does not know, in a kernel made for it", _LOG, LASTS),
    716: Fault("error", "a kernel of boxcheck used an address that is not aligned", _OWN, LASTS),
    717: Fault("error", "a kernel of boxcheck used an address of the wrong space", _OWN, LASTS),
    718: Fault("lost", "the GPU went on at an address where no instruction is", _LOG, LASTS),
    719: Fault("lost", "a kernel ended in an error that the driver does not name", _LOG, LASTS),
    720: Fault("unsupported", "the GPU cannot hold all groups of a cooperative kernel at once"),
    721: Fault("error", "a kernel of boxcheck kept tensor memory", _OWN, LASTS),
    800: Fault("forbidden", "this user may not do that", "run as root, or ask who set the limits of this machine"),
    801: Fault("unsupported", "this GPU or driver cannot do that"),
    802: Fault("no-driver", "the GPUs' NVSwitch fabric is not started", _FABRIC),
    803: Fault("version", "the driver's kernel module and its libraries are of different versions",
               "reboot, or unload and load the module: the driver was updated while it ran"),
    804: Fault("version", "NVIDIA's compatibility library (cuda-compat) does not work with this GPU",
               "take cuda-compat out of LD_LIBRARY_PATH, or update the driver"),
    805: Fault("error", "the MPS server could not be reached", _MPS),
    806: Fault("error", "the MPS server failed", _MPS),
    807: Fault("busy", "the MPS server is not ready for further clients", _MPS),
    808: Fault("busy", "the MPS server has as many clients as it takes", _MPS),
    809: Fault("busy", "the MPS server has as many connections as it takes", _MPS),
    810: Fault("lost", "the MPS server ended this process's work", _MPS, LASTS),
    909: Fault("timeout", "a call of the driver did not come back in time"),
    911: Fault("lost", "a device outside CUDA met an error in work that this GPU shared with it", _LOG, LASTS),
    912: Fault("unsupported", "the GPU has no clusters of this size"),
    914: Fault("unsupported", "the GPU has no such resource"),
    915: Fault("unsupported", "the GPU's resources cannot be divided so"),
    916: Fault("lost", "the keys of confidential computing ran out and must be renewed",
               "start the process again", LASTS),
    919: Fault("no-driver", "the GPUs' NVLink fabric is not ready", _FABRIC),
    999: Fault("lost", "the driver failed for a reason that it does not name", _LOG, LASTS),
}


def error_of(code: int, name: str, call: str, doing: str = "", help: str = "") -> DriverError:
    """The error for a code that `call` returned. `name` is the driver's own of the code, `doing` what was tried."""
    fault = FAULTS.get(code, Fault("error", "the driver reports an error that boxcheck does not know"))
    says = f"{doing + ': ' if doing else ''}{fault.says} ({call}: {name} {code})"
    return DriverError(fault.kind, says, help or fault.help, code=code, lasts=fault.lasts)

"""Why HIP is not here, or shows no GPU: what its own code does not say.

HIP answers `no device` alike where the amdgpu driver is not loaded, where the user may not open /dev/kfd or a render
node, and where ROCm does not support the GPU; which of them it is shows in /dev.

By hand: ls -l /dev/kfd /dev/dri; id; rocminfo
"""

from __future__ import annotations

import os
from pathlib import Path

from boxcheck.gpu import GpuError

VAGUE = frozenset({3, 100, 101, 304, 999, 1053})
"""Codes of hipInit and of counting that may mean any of it."""
DEV = Path("/dev")
CONTAINER = "a container needs `--device=/dev/kfd --device=/dev/dri`"
OWN_VERSION = "install the hip-python of the ROCm that is here: pip install 'hip-python==6.4.*' for ROCm 6.4, and so on"
SELECTORS = ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")


def no_binding(error: ImportError) -> GpuError:
    """`hip` could not be imported: it is not installed, or not whole."""
    if isinstance(error, ModuleNotFoundError) and getattr(error, "name", None) in ("hip", "rocm", "rocm.bindings"):
        return GpuError(
            "no-binding", "AMD's binding for Python (hip-python) is not installed",
            f"pip install 'boxcheck[rocm]'; {OWN_VERSION}")
    return GpuError("version", f"AMD's binding for Python (hip-python) cannot be loaded: {_line(error)}", OWN_VERSION)


def no_library(error: Exception) -> GpuError:
    """The binding raised instead of giving a code: a library of ROCm is missing, or lacks what the binding needs."""
    words = _line(error)
    if "dlsym" in words:
        return GpuError("version", f"hip-python and the ROCm that is here do not go together: {words}", OWN_VERSION)
    named = words.partition("'':")[0]  # failed to dlopen 'b'libamdhip64.so'': b'what the loader said'
    library, package = ("libhiprtc", "hiprtc") if "hiprtc" in named else ("libamdhip64", "hip-runtime-amd")
    if "dlopen" in words and "No such file" not in words:
        return GpuError("no-driver", f"a library of ROCm cannot be loaded: {words}", "install ROCm's runtime again")
    return GpuError(
        "no-driver", f"ROCm's {library}.so was not found",
        f"install ROCm's runtime (package {package}); set ROCM_PATH where it is not in /opt/rocm")


def why_no_gpu(error: GpuError, dev: Path | None = None) -> GpuError:
    """A better reason for a vague code, from device nodes and environment; the error itself where there is none.

    In this order: no /dev/kfd; a node that this user may not open; a variable that hides GPUs.
    """
    dev = dev or DEV
    kfd = dev / "kfd"
    if not kfd.exists():
        return GpuError(
            "no-driver", f"the kernel's amdgpu driver offers no compute: there is no {kfd}; {error.says}",
            f"`sudo modprobe amdgpu`, and `journalctl -k | grep -i -e amdgpu -e kfd` if it fails; {CONTAINER}")
    renders = sorted((dev / "dri").glob("renderD*"))
    if not renders:
        return GpuError(
            "no-driver", f"there is no {dev / 'dri'}/renderD*, which HIP opens beside {kfd}; {error.says}", CONTAINER)
    for node in (kfd, *renders):
        if not os.access(node, os.R_OK | os.W_OK):
            return GpuError("forbidden", f"this user may not open {node}; {error.says}", join_help(node))
    hidden = [f"{name} is `{os.environ[name][:40]}`" for name in SELECTORS if name in os.environ]
    if hidden:
        return GpuError(error.kind, f"{error.says}; {' and '.join(hidden)}", "unset those variables")
    return error


def join_help(node: Path) -> str:
    """How to be let in: by the group that owns the node."""
    import grp

    try:
        number = node.stat().st_gid
    except OSError:
        return "run as root"
    try:
        group = grp.getgrgid(number).gr_name
    except KeyError:  # in a container, whose /etc/group is not the host's
        return f"start the container with `--group-add {number}`"
    return f"`sudo usermod -aG {group} $USER`, then log out and in again; a container needs `--group-add {number}`"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]

"""Why CUDA is not here, or shows no GPU: what the driver's own code does not say.

The driver answers `no device`, `unknown error` or `operating system call failed` alike where its kernel module is not
loaded, where nvidia-uvm is not, and where the user may not open a device node; which of them it is shows in /dev.

By hand: ls -l /dev/nvidia*; lsmod | grep nvidia
"""

from __future__ import annotations

import os
from pathlib import Path

from boxcheck.gpu import GpuError

VAGUE = frozenset({3, 100, 101, 304, 999})
"""Codes of cuInit and of making a context that may mean any of it."""
DEV = Path("/dev")
OLDEST_CUDA = 12000
"""CUDA 12.0: driver 525 (CUDA compatibility, table of minimum driver versions)."""


def no_binding(error: ImportError) -> GpuError:
    """`cuda.bindings` could not be imported: it is not installed, or what is installed is another cuda-python."""
    missing = getattr(error, "name", None)
    help = "pip install 'boxcheck[cuda13]' for driver 580 and newer, 'boxcheck[cuda12]' for 525 to 575"
    if isinstance(error, ModuleNotFoundError) and missing == "cuda":
        return GpuError("no-binding", "NVIDIA's binding for Python (cuda-python) is not installed", help)
    if isinstance(error, ModuleNotFoundError) and (missing or "").startswith("cuda."):
        return GpuError(
            "version", f"the cuda-python that is installed is too old or not whole: it has no {missing}", help)
    return GpuError("version", f"NVIDIA's binding for Python (cuda-python) cannot be loaded: {_line(error)}", help)


def no_library(error: Exception, dev: Path | None = None) -> GpuError:
    """The binding raised instead of giving a code: the driver's library is missing, or lacks what the binding needs."""
    words, dev = _line(error), dev or DEV
    if "cuGetProcAddress" in words or ("function" in words.lower() and "not found" in words.lower()):
        return GpuError(
            "version", f"NVIDIA's driver is too old for cuda-python: {words}", "update the driver to 525 or newer")
    nodes = _nodes(dev)
    if nodes:
        return GpuError(
            "no-driver", f"{nodes[0]} is here, but the driver's library libcuda.so.1 is not",
            "install the driver's compute libraries (libcuda1, nvidia-driver-cuda-libs); in a container, start it with "
            "`--gpus all` and NVIDIA_DRIVER_CAPABILITIES=compute,utility")
    return GpuError(
        "no-driver", "NVIDIA's driver is not installed: there is no libcuda.so.1", "install NVIDIA's driver")


def old_driver(version: int) -> GpuError:
    """The driver is older than any that boxcheck's extras go with."""
    return GpuError(
        "version", f"NVIDIA's driver is for CUDA {version_text(version)}, and 12.0 is the oldest that will do",
        "update the driver to 525 or newer")


def version_text(version: int) -> str:
    """`12.4` for 12040, as cuDriverGetVersion counts."""
    return f"{version // 1000}.{version % 1000 // 10}"


def why_no_gpu(error: GpuError, dev: Path | None = None) -> GpuError:
    """A better reason for a vague code, from device nodes and environment; the error itself where there is none.

    In this order: no node at all; a node that this user may not open; no /dev/nvidia-uvm; CUDA_VISIBLE_DEVICES.
    """
    dev = dev or DEV
    nodes = _nodes(dev)
    control = dev / "nvidiactl"
    if not nodes and not control.exists():
        return GpuError(
            "no-driver", f"NVIDIA's kernel module is not loaded: there is no {control}; {error.says}",
            "`sudo modprobe nvidia`, and `journalctl -k | grep NVRM` if it fails; start a container with `--gpus all`")
    for node in (control, *nodes):
        if node.exists() and not os.access(node, os.R_OK | os.W_OK):
            return GpuError(
                "forbidden", f"this user may not open {node}; {error.says}",
                f"`ls -l {node}` shows who may: join that group, or run as root; in a container, start it with "
                "`--gpus all`")
    uvm = dev / "nvidia-uvm"
    if not uvm.exists():
        return GpuError(
            "no-driver", f"the kernel module nvidia-uvm is not loaded: there is no {uvm}; {error.says}",
            "`sudo nvidia-modprobe -u -c 0` loads it and makes the node; pass the node on to a container")
    if not os.access(uvm, os.R_OK | os.W_OK):
        return GpuError(
            "forbidden", f"this user may not open {uvm}; {error.says}",
            f"`ls -l {uvm}` shows who may: join that group, or run as root")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and error.kind == "no-device":
        return GpuError(
            "no-device", f"CUDA_VISIBLE_DEVICES is `{visible[:80]}` and leaves no GPU; {error.says}",
            "unset CUDA_VISIBLE_DEVICES")
    return error


def _nodes(dev: Path) -> list[Path]:
    """/dev/nvidia0 and so on."""
    return sorted(node for node in dev.glob("nvidia[0-9]*") if node.name[6:].isdigit())


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]

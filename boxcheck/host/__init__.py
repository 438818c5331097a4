"""How boxcheck reads a machine: one `Host`, live or captured. Nothing else opens /sys, /proc or /dev or runs a program.

Every path is the absolute path on the machine that is being read. Every answer is a value or `Unread(why)`;
no method raises because of what the machine holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

from boxcheck.model import Unread

Phase = Literal["idle", "load", "after"]
StatKind = Literal["file", "dir", "link", "char", "block", "fifo", "socket"]

FILE_LIMIT_BYTES = 4 << 20
"""No file that a probe reads is larger, save logs and the package database, which say so."""

LOG_LIMIT_BYTES = 64 << 20

ENVIRONMENT = (
    "HSA_OVERRIDE_GFX_VERSION", "HSA_ENABLE_SDMA", "HSA_XNACK", "HSA_ENABLE_PEER_SDMA", "HIP_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "GPU_MAX_HW_QUEUES", "AMD_SERIALIZE_KERNEL", "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER", "CUDA_LAUNCH_BLOCKING", "NVIDIA_VISIBLE_DEVICES", "NCCL_P2P_DISABLE", "NCCL_P2P_LEVEL",
    "NCCL_SHM_DISABLE", "NCCL_IB_DISABLE", "NCCL_DEBUG", "RCCL_MSCCL_ENABLE", "PYTORCH_HIP_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF", "ROCBLAS_USE_HIPBLASLT", "TORCH_BLAS_PREFER_HIPBLASLT", "LD_LIBRARY_PATH",
    "LD_PRELOAD", "OCL_ICD_VENDORS", "LANG", "LC_ALL", "container",
)
"""The only environment variables that are ever read or recorded."""


class Stat(msgspec.Struct, frozen=True):
    """Type and permissions of a path. `uid`/`gid` are None where a capture does not say."""

    kind: StatKind
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None


class ProgramOutput(msgspec.Struct, frozen=True):
    """What a program printed. A program that is missing or timed out is Unread instead."""

    argv: tuple[str, ...]
    exit: int
    stdout: str
    stderr: str
    milliseconds: int = 0


class Who(msgspec.Struct, frozen=True):
    """The login that reads the machine. `groups` are the groups of this session, not those in /etc/group."""

    name: str
    uid: int
    gid: int | None
    """None where a capture does not say."""
    groups: tuple[int, ...]
    root: bool
    invoked_by: int | None = None
    """uid of the user behind sudo, None without sudo."""


class DiskSpace(msgspec.Struct, frozen=True):
    total_bytes: int
    free_bytes: int


class Host(Protocol):
    """A machine that answers questions. See `LiveHost` and `CaptureHost`."""

    live: bool
    origin: str
    """`this machine`, or the path of the capture."""

    def read(self, path: str, limit_bytes: int = FILE_LIMIT_BYTES) -> bytes | Unread:
        """The bytes of a regular file."""

    def text(self, path: str, limit_bytes: int = FILE_LIMIT_BYTES) -> str | Unread:
        """The text of a file, surrounding white space removed, undecodable bytes and control characters replaced
        (tabs and line ends stay)."""

    def entries(self, path: str) -> tuple[str, ...] | Unread:
        """Names in a directory, sorted."""

    def target(self, path: str) -> str | Unread:
        """Absolute path that a symbolic link points to, all links on the way resolved."""

    def exists(self, path: str) -> bool | Unread:
        """True, False when the machine was asked and has no such path, Unread when nobody knows."""

    def stat(self, path: str) -> Stat | Unread: ...

    def opens(self, path: str) -> Literal[True] | Unread:
        """True when this login opened the device node for reading and writing, else why not."""

    def run(self, argv: Sequence[str], timeout_seconds: float = 10.0) -> ProgramOutput | Unread: ...

    def answer(self, library: str, request: str, ask: Callable[[], Any] | None = None) -> Any | Unread:
        """An answer of a library (NVML, statvfs ...) as plain JSON values. Live: `ask` is called, with its failure
        turned into Unread by the caller returning one. Captured: the recorded answer, `ask` is never called."""

    def disk(self, path: str) -> DiskSpace | Unread: ...

    def environment(self) -> Mapping[str, str] | Unread: ...

    def who(self) -> Who | Unread: ...

    def kernel_log(self, boot: Literal[0, -1] = 0) -> str | Unread: ...

    def again(self, path: str, phase: Phase) -> tuple[bytes, ...] | Unread:
        """Later readings of a path, oldest first. Unread(kind="one-reading") when it was read only once."""

    def time(self) -> float | Unread:
        """Seconds since the epoch (UTC) when the machine was read."""

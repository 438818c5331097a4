"""What the NVIDIA driver says of itself and its GPUs, without NVML: module, libraries, parameters.

Reads   /proc/driver/nvidia/{version,params}, /proc/driver/nvidia/gpus/<bdf>/information, /sys/module/nvidia/version,
        whether /sys/module/{nvidia,nvidia_uvm,nouveau} exist, where libnvidia-ml.so.1 and libcuda.so.1 lead in the
        library directories, /run/nvidia-persistenced/socket                                         (any user)
Absent  /proc/driver/nvidia when the module is not loaded
By hand cat /proc/driver/nvidia/version /proc/driver/nvidia/gpus/*/information; readlink -f /usr/lib/*/libcuda.so.1
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from boxcheck.decode.text import clean_text
from boxcheck.host import Host
from boxcheck.model import Bdf, Unread
from boxcheck.probes.pci import parse_bdf
from boxcheck.probes.rocm import LIBRARY_DIRECTORIES
from boxcheck.registry import probe

PROC = "/proc/driver/nvidia"
LIBRARIES = ("libnvidia-ml.so.1", "libcuda.so.1")
PERSISTENCED = "/run/nvidia-persistenced/socket"
GPU_LIMIT = 64

_VERSION = re.compile(
    r"NVIDIA UNIX (Open )?.{0,40}?Kernel Module.{0,40}?\s(\d{1,5}\.\d{1,4}(?:\.\d{1,4})?[\w.-]{0,20})")
_LIBRARY = re.compile(r"\.so\.(\d{1,5}\.\d{1,4}(?:\.\d{1,4})?)$")


class NvidiaGpu(msgspec.Struct, frozen=True):
    """A GPU that the kernel driver has taken."""

    bdf: Bdf
    model: str | None
    uuid: str | None
    vbios: str | None
    """None where the GPU does not answer; the driver then prints question marks."""
    minor: int | None
    """N of /dev/nvidiaN."""
    silent: bool
    """The driver prints question marks in place of what the GPU should have said."""


class Library(msgspec.Struct, frozen=True):
    path: str
    version: str


class Nvidia(msgspec.Struct, frozen=True):
    loaded: bool | Unread
    version: str | None | Unread
    """`570.133.20`; None when the module is not loaded."""
    open_module: bool | None
    """The open kernel module; None when the banner was not read."""
    parameters: Mapping[str, str] | Unread
    """/proc/driver/nvidia/params; `RegistryDwords` holds what was set through NVreg_RegistryDwords."""
    gpus: tuple[NvidiaGpu, ...] | Unread
    libraries: tuple[Library, ...]
    uvm_loaded: bool | Unread
    nouveau_loaded: bool | Unread
    persistenced: bool | Unread
    """Whether nvidia-persistenced runs, by its socket."""

    def library(self, name: str) -> Library | None:
        """The library that a name of `LIBRARIES` leads to; None where it leads nowhere, or to a file of no version."""
        stem = f"{name.rpartition('.')[0]}."
        return next((one for one in self.libraries if one.path.rsplit("/", 1)[-1].startswith(stem)), None)

    @property
    def registry(self) -> str | Unread:
        """The registry keys that were set; empty when none."""
        if isinstance(self.parameters, Unread):
            return self.parameters
        return self.parameters.get("RegistryDwords", "").strip('"')


def parse_banner(text: str) -> tuple[str, bool] | Unread:
    """(version, open module) of /proc/driver/nvidia/version:

    `NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.133.20  Release Build  (...)`,
    `NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.161.07  Sat Feb 17 22:55:48 UTC 2024`.
    """
    found = _VERSION.search(text[:1000])
    if found is None:
        return Unread(f"{PROC}/version names no version", "malformed")
    return found[2], found[1] is not None


def parse_colons(text: str) -> dict[str, str]:
    """`Name: value` lines, values stripped; the first of a name counts."""
    found: dict[str, str] = {}
    for line in text.splitlines()[:300]:
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip(), clean_text(value.strip()))
    return found


def parse_information(text: str, bdf: Bdf) -> NvidiaGpu:
    """/proc/driver/nvidia/gpus/<bdf>/information. What holds a question mark was not told by the GPU."""
    rows = parse_colons(text)

    def known(name: str) -> str | None:
        value = rows.get(name, "")
        return value if value and "?" not in value else None

    minor = rows.get("Device Minor", "")
    return NvidiaGpu(
        bdf=bdf, model=known("Model"), uuid=known("GPU UUID"), vbios=known("Video BIOS"),
        minor=int(minor) if minor.isascii() and minor.isdigit() and len(minor) < 5 else None,
        silent="??" in rows.get("Video BIOS", ""))


def _libraries(host: Host) -> tuple[Library, ...]:
    """Each library where the linker finds it. The link behind `.so.1` carries the version in its target's name."""
    found: dict[str, Library] = {}
    for directory in LIBRARY_DIRECTORIES:
        for name in LIBRARIES:
            real = host.target(f"{directory}/{name}")
            version = _LIBRARY.search(real) if isinstance(real, str) else None
            if version is not None and isinstance(real, str):
                found.setdefault(real, Library(real, version[1]))
    return tuple(found.values())


def _gpus(host: Host) -> tuple[NvidiaGpu, ...] | Unread:
    names = host.entries(f"{PROC}/gpus")
    if isinstance(names, Unread):
        return names
    found: list[NvidiaGpu] = []
    for name in names[:GPU_LIMIT]:
        text = host.text(f"{PROC}/gpus/{name}/information")
        if isinstance(text, Unread):
            return text
        if (bdf := parse_bdf(name)) is not None:
            found.append(parse_information(text, bdf))
    return tuple(found)


@probe("nvidia", Nvidia)
def nvidia(host: Host) -> Nvidia:
    banner = host.text(f"{PROC}/version")
    parsed = banner if isinstance(banner, Unread) else parse_banner(banner)
    loaded: bool | Unread = True
    if isinstance(banner, Unread):
        module = host.exists("/sys/module/nvidia")
        loaded = False if isinstance(module, Unread) and banner.kind == "absent" else module
    version: str | None | Unread = None
    if not isinstance(parsed, Unread):
        version = parsed[0]
    elif loaded is not False:
        own = host.text("/sys/module/nvidia/version")
        version = clean_text(own, 40) if not isinstance(own, Unread) else own if loaded is not True else parsed
    parameters = host.text(f"{PROC}/params")
    return Nvidia(
        loaded=loaded, version=version, open_module=None if isinstance(parsed, Unread) else parsed[1],
        parameters=parameters if isinstance(parameters, Unread) else parse_colons(parameters),
        gpus=_gpus(host), libraries=_libraries(host), uvm_loaded=host.exists("/sys/module/nvidia_uvm"),
        nouveau_loaded=host.exists("/sys/module/nouveau"), persistenced=host.exists(PERSISTENCED),
    )

"""The ROCm installations of this machine, by their directories and libraries.

Reads   names in /opt, /opt/rocm*/.info/version, names in /opt/rocm*/lib; where libamdhip64.so leads in the library
        directories                                                                                   (any user)
Absent  where ROCm comes as Python wheels or in a container; these are not looked for
By hand ls -d /opt/rocm*; cat /opt/rocm/.info/version; ldconfig -p | grep libamdhip64
"""

from __future__ import annotations

import msgspec

from boxcheck.decode.text import clean_text
from boxcheck.host import Host
from boxcheck.model import Unread
from boxcheck.registry import probe

LIBRARY_DIRECTORIES = (
    "/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/lib/aarch64-linux-gnu", "/lib/x86_64-linux-gnu",
    "/usr/local/lib", "/run/opengl-driver/lib",
)
"""Where distributions keep shared libraries: Debian, Fedora, Arch, Debian on ARM, old Debian, by hand, NixOS."""

HIP_NAMES = ("libamdhip64.so.7", "libamdhip64.so.6", "libamdhip64.so.5", "libamdhip64.so")
HIP = "libamdhip64.so"
HSA = "libhsa-runtime64.so"


class RocmInstall(msgspec.Struct, frozen=True):
    path: str
    """Real directory; for a distribution's libraries the directory they lie in."""
    version: str | None
    """Of .info/version (`6.3.3-74`), else the number in the name of the HIP library; None when neither says."""
    has_hip: bool
    has_hsa: bool


class Rocm(msgspec.Struct, frozen=True):
    installs: tuple[RocmInstall, ...]
    chosen: str | None
    """Real directory behind /opt/rocm, None where there is none."""
    unread: Unread | None
    """Set when /opt or the libraries of an installation could not be listed; then no installation proves nothing."""


def library_version(names: tuple[str, ...], stem: str) -> str | None:
    """The longest number behind `stem.`: `5.7.31921` of libamdhip64.so.5.7.31921."""
    found = [name[len(stem) + 1:] for name in names if name.startswith(stem + ".")]
    numbers = [text for text in found if text.replace(".", "").isdigit()]
    return max(numbers, key=lambda text: (text.count("."), text), default=None)


def _has(names: tuple[str, ...], stem: str) -> bool:
    return any(name == stem or name.startswith(stem + ".") for name in names)


def _install(host: Host, path: str) -> RocmInstall | Unread | None:
    """What is installed in a directory, None where it is no installation, Unread where its libraries were not seen."""
    version = host.text(f"{path}/.info/version")
    libraries = host.entries(f"{path}/lib")
    if isinstance(libraries, Unread) and libraries.kind != "absent":
        return libraries
    names = () if isinstance(libraries, Unread) else libraries
    if isinstance(version, Unread) and not _has(names, HIP) and not _has(names, HSA):
        return None
    said = None if isinstance(version, Unread) else clean_text(version.split("\n", 1)[0], 40)
    return RocmInstall(path, said or library_version(names, HIP), _has(names, HIP), _has(names, HSA))


@probe("rocm", Rocm)
def rocm(host: Host) -> Rocm:
    names = host.entries("/opt")
    candidates = [] if isinstance(names, Unread) else [f"/opt/{name}" for name in names if name.startswith("rocm")]
    target = host.target("/opt/rocm")
    chosen = target if isinstance(target, str) else "/opt/rocm" if "/opt/rocm" in candidates else None
    found: dict[str, RocmInstall] = {}
    unread = names if isinstance(names, Unread) and names.kind != "absent" else None
    for path in candidates[:50]:
        link = host.target(path)
        real = link if isinstance(link, str) else path
        install = None if real in found else _install(host, real)
        if isinstance(install, Unread):
            unread = install if unread is None else unread
        elif install is not None:
            found[real] = install
    for directory in LIBRARY_DIRECTORIES:
        # The links are followed one by one: listing such a directory would put thousands of names into a capture.
        for name in HIP_NAMES:
            library = host.target(f"{directory}/{name}")
            if isinstance(library, str) and not library.startswith("/opt/rocm"):
                home, _, file = library.rpartition("/")
                found.setdefault(home, RocmInstall(
                    home, library_version((file,), HIP), True, host.exists(f"{directory}/{HSA}.1") is True))
                break
    return Rocm(tuple(found.values()), chosen, unread)

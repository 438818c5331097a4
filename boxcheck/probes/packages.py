"""The installed packages that drivers depend on, and the modules that DKMS builds.

Reads   /var/lib/dpkg/status; or `rpm -q linux-firmware`, `rpm -q amd-gpu-firmware`; or names in
        /var/lib/pacman/local; names in /var/lib/dkms                                                 (any user)
Absent  on a distribution without such a database; in most containers
By hand dpkg -l | grep -E 'linux-firmware|nvidia|amdgpu|rocm'; apt-mark showhold; dkms status

Only packages whose name tells of a GPU driver, its runtime or firmware are kept.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from boxcheck.decode.text import clean_text
from boxcheck.host import Host
from boxcheck.model import Unread
from boxcheck.probes.kernel import Kernel
from boxcheck.registry import probe

DPKG_STATUS = "/var/lib/dpkg/status"
PACMAN_LOCAL = "/var/lib/pacman/local"
DKMS = "/var/lib/dkms"
DATABASE_LIMIT_BYTES = 64 << 20
"""A workstation's dpkg database has 3 to 12 MB."""

FIRMWARE_PACKAGES = ("linux-firmware", "amd-gpu-firmware", "linux-firmware-amdgpu", "firmware-amd-graphics")
"""Fedora, Arch and Debian ship the firmware of AMD GPUs in packages of their own beside linux-firmware."""

_KEPT = ("nvidia", "amdgpu", "rocm", "cuda", "libnvidia", "libcuda", "firmware", "hip-runtime")
_KEPT_BYTES = tuple(word.encode() for word in _KEPT)
_RPM_FIRMWARE = ("linux-firmware", "amd-gpu-firmware")


class Package(msgspec.Struct, frozen=True):
    name: str
    version: str
    held: bool
    """Marked `hold`: no upgrade touches it."""


class DkmsModule(msgspec.Struct, frozen=True):
    name: str
    versions: tuple[str, ...]
    installed_for: Mapping[str, str]
    """Kernel release -> version that is installed for it."""
    built_for: tuple[str, ...]
    """Kernel releases for which some version was built, installed or not."""
    loaded: bool | Unread
    """Whether a module of that name runs in the kernel, wherever it came from."""


class Packages(msgspec.Struct, frozen=True):
    manager: str | None
    """`dpkg`, `rpm`, `pacman`; None when no database was found."""
    packages: Mapping[str, Package] | Unread
    """Of the packages that matter to GPUs, those that are installed."""
    unread: Unread | None = None
    """Why some package was not asked for; then one that is missing in `packages` may be installed."""

    def version(self, name: str) -> str | None:
        """Version of an installed package, None when it is not installed or the database was not read."""
        if isinstance(self.packages, Unread):
            return None
        found = self.packages.get(name)
        return None if found is None else found.version


class Dkms(msgspec.Struct, frozen=True):
    modules: tuple[DkmsModule, ...] | Unread
    """Unread of kind absent: no DKMS on this machine."""
    unread: Mapping[str, Unread] = {}
    """Module -> why what DKMS holds of it was not read, in whole or in part."""

    def module(self, name: str) -> DkmsModule | None:
        if isinstance(self.modules, Unread):
            return None
        return next((module for module in self.modules if module.name == name), None)


def _matters(name: str) -> bool:
    return any(word in name for word in _KEPT)


def parse_dpkg_status(text: str) -> dict[str, Package]:
    """Installed packages that matter, of a dpkg status file (deb822 paragraphs)."""
    found: dict[str, Package] = {}
    for paragraph in text.split("\n\n"):
        paragraph = paragraph.lstrip("\n")
        if not paragraph.startswith("Package:"):
            continue
        name = paragraph[8:paragraph.find("\n")].strip() if "\n" in paragraph else ""
        if not _matters(name):
            continue
        fields = {}
        for line in paragraph.splitlines():
            key, colon, value = line.partition(":")
            if colon and key in ("Status", "Version"):
                fields[key] = value.strip()
        status = fields.get("Status", "").split()
        # want, flag, state: dpkg-query(1). `config-files` is a package that was removed.
        if len(status) == 3 and status[2] in ("installed", "unpacked", "half-configured"):
            version = clean_text(fields.get("Version", ""), 80)
            found[name] = Package(clean_text(name, 80), version, status[0] == "hold")
    return found


def parse_pacman_names(names: tuple[str, ...]) -> dict[str, Package]:
    """Packages that matter among directory names `name-version-release` of pacman's database."""
    found: dict[str, Package] = {}
    for entry in names:
        parts = entry.rsplit("-", 2)
        if len(parts) == 3 and _matters(parts[0]):
            found[parts[0]] = Package(parts[0], f"{parts[1]}-{parts[2]}", False)
    return found


def parse_rpm_names(text: str) -> dict[str, Package]:
    """Packages of `rpm -q` output, lines `name-version-release.arch`."""
    found: dict[str, Package] = {}
    for line in text.splitlines():
        parts = line.strip().rsplit("-", 2)
        if len(parts) == 3 and " " not in line.strip():
            found[parts[0]] = Package(parts[0], f"{parts[1]}-{parts[2].rsplit('.', 1)[0]}", False)
    return found


def relevant_paragraphs(status: bytes) -> str:
    """The paragraphs of a dpkg status file whose first line names a package that matters. The rest, megabytes of
    descriptions, is not even decoded."""
    kept = [
        paragraph for paragraph in status.split(b"\n\n")
        if any(word in paragraph[:200].lstrip().split(b"\n", 1)[0] for word in _KEPT_BYTES)
    ]
    return b"\n\n".join(kept).decode("utf-8", "replace")


@probe("packages", Packages)
def packages(host: Host) -> Packages:
    status = host.read(DPKG_STATUS, DATABASE_LIMIT_BYTES)
    if not isinstance(status, Unread):
        return Packages("dpkg", parse_dpkg_status(relevant_paragraphs(status)))
    if status.kind not in ("absent", "not-captured"):
        return Packages("dpkg", status)
    local = host.entries(PACMAN_LOCAL)
    if not isinstance(local, Unread):
        return Packages("pacman", parse_pacman_names(local))
    if host.exists("/var/lib/rpm") is True or host.exists("/usr/lib/sysimage/rpm") is True:
        found: dict[str, Package] = {}
        problem: Unread | None = None
        for name in _RPM_FIRMWARE:
            output = host.run(["rpm", "-q", name])
            if isinstance(output, Unread):
                problem = output if problem is None else problem
            elif output.exit == 0:
                found.update(parse_rpm_names(output.stdout))
            elif problem is None and "is not installed" not in output.stdout:
                said = clean_text((output.stderr or output.stdout).split("\n", 1)[0], 120)
                problem = Unread(f"rpm -q {name}: {said or f'ended with {output.exit}'}", "error")
        return Packages("rpm", problem if problem is not None and not found else found, problem)
    if status.kind == local.kind == "absent":
        return Packages(None, Unread("no package database of dpkg, rpm or pacman is here", "absent"))
    return Packages(None, status)


def _hides(host: Host, path: str, why: Unread) -> bool:
    """Whether a directory that was not listed may hold something; plain files such as dkms_dbversion do not."""
    stat = host.stat(path)
    return why.kind != "absent" and (isinstance(stat, Unread) or stat.kind != "file")


@probe("dkms", Dkms, reads=[Kernel])
def dkms(host: Host, kernel: Kernel) -> Dkms:
    names = host.entries(DKMS)
    if isinstance(names, Unread):
        return Dkms(names)
    found = []
    unread: dict[str, Unread] = {}
    for name in names:
        inside = host.entries(f"{DKMS}/{name}")
        if name == "mok":
            continue
        if isinstance(inside, Unread):
            if _hides(host, f"{DKMS}/{name}", inside):
                unread[name] = inside
            continue
        versions: list[str] = []
        built: set[str] = set()
        installed: dict[str, str] = {}
        for entry in inside:
            if entry.startswith("kernel-"):
                # kernel-<release>-<arch> is a link to <version>/<release>/<arch>, and means `installed`.
                target = host.target(f"{DKMS}/{name}/{entry}")
                release = entry.removeprefix("kernel-").rpartition("-")[0]
                parts = [] if isinstance(target, Unread) else target.split("/")
                installed[release] = parts[-3] if len(parts) > 3 else ""
                continue
            kernels = host.entries(f"{DKMS}/{name}/{entry}")
            if entry == "original_module":
                continue
            if isinstance(kernels, Unread):
                if _hides(host, f"{DKMS}/{name}/{entry}", kernels):
                    unread[name] = kernels
                continue
            versions.append(entry)
            built |= {one for one in kernels if one[:1].isdigit()}
        if versions or installed:
            found.append(DkmsModule(
                name, tuple(versions), installed, tuple(sorted(built | set(installed))),
                host.exists(f"/sys/module/{name.replace('-', '_')}"),
            ))
    return Dkms(tuple(found), unread)

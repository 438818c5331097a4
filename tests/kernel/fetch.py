"""Kernels and QEMU from the distribution's archives: downloaded and unpacked into the cache, never installed.

apt resolves all versions. The archives are those that apt is configured with; the line for backports, which bookworm
needs for QEMU 10, is derived from the distribution's own line. apt works on lists, a cache and a download folder of its
own, so that the machine's are left alone, and needs no root.

QEMU must be 10 or newer: 7.2 (bookworm) says OK to an injected correctable error and delivers nothing.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.kernel.cache import Unavailable, cache, check_machine, check_space, only_one
from tests.kernel.initramfs import write_modules

FORMAT = 2
"""Raise when what is kept in the cache changes its form: an older cache is fetched anew."""

QEMU = "qemu-system-x86_64"
OLDEST_QEMU = (10, 0)
KERNEL = re.compile(r"linux-image-((\d+)\.(\d+)\.[0-9.]+(?:-\d+|\+deb[0-9.]+)?)-amd64")
"""The standard flavour. `cloud` lacks 9p, pci-stub and aer_inject; `rt`, `dbg` and `unsigned` are not wanted."""

PROGRAM_SECONDS = 600.0
"""For apt, which downloads 100 MB, and for dpkg-deb."""
APT_WORDS = ("indextargets", "update", "install", "download", "pkgnames", "depends")

GUEST_PACKAGES = ("busybox-static", "udev", "libudev1", "libkmod2")
"""busybox for the initramfs; a real udev daemon for the rules, with the libraries that it has beside the C library's."""


@dataclass(frozen=True)
class Kernel:
    release: str
    """6.12.117+deb12-amd64, as uname -r says it."""
    series: str
    """6.12"""

    @property
    def folder(self) -> Path:
        return cache() / "kernels" / self.release

    @property
    def image(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def modules(self) -> Path:
        return self.folder / "modules.cpio"


@dataclass(frozen=True)
class Bench:
    """What was fetched."""

    qemu: str
    """The program."""
    qemu_version: str
    kernels: tuple[Kernel, ...]
    """Oldest series first."""

    @property
    def unpacked(self) -> Path:
        """The root of the unpacked packages."""
        return cache() / "root"

    def kernel(self, series: str | None = None) -> Kernel:
        series = series or os.environ.get("BOXCHECK_BENCH_KERNEL")
        if series is None:
            return self.kernels[-1]
        for kernel in self.kernels:
            if kernel.series == series:
                return kernel
        raise Unavailable(f"no kernel of series {series} was fetched; there are "
                          f"{', '.join(kernel.series for kernel in self.kernels)}")

    def qemu_environment(self) -> dict[str, str]:
        """QEMU out of the cache finds its libraries and modules there."""
        if not self.qemu.startswith(str(cache())):
            return {}
        libraries = [self.unpacked / "usr/lib/x86_64-linux-gnu", self.unpacked / "lib/x86_64-linux-gnu"]
        return {"LD_LIBRARY_PATH": ":".join(map(str, libraries)), "QEMU_MODULE_DIR": str(libraries[0] / "qemu")}

    def qemu_command(self) -> list[str]:
        if not self.qemu.startswith(str(cache())):
            return [self.qemu]
        share = self.unpacked / "usr/share"
        return [self.qemu, "-L", str(share / "qemu"), "-L", str(share / "seabios")]


def known() -> Bench | None:
    """What the cache holds, None when it holds nothing complete."""
    try:
        held = json.loads((cache() / "bench.json").read_text())
        if held.pop("format") != FORMAT:
            return None
        found = Bench(held["qemu"], held["qemu_version"], tuple(Kernel(**kernel) for kernel in held["kernels"]))
        there = [Path(found.qemu), *(path for kernel in found.kernels for path in (kernel.image, kernel.modules))]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return found if found.kernels and all(path.exists() for path in there) else None


def fetch(refresh: bool = False) -> Bench:
    """What the cache holds, after fetching what is missing. Raises Unavailable where that cannot be done."""
    check_machine()
    found = known()
    if found is not None and not refresh:
        return found
    with only_one("fetch"):
        found = known()
        if found is not None and not refresh:
            return found
        return _fetch()


def _fetch() -> Bench:
    if shutil.which("apt-get") is None:
        raise Unavailable("nothing was fetched before, and there is no apt-get to fetch with")
    check_space(cache())
    if known() is None:
        shutil.rmtree(cache() / "kernels", ignore_errors=True)
    apt = Apt(cache() / "apt")
    apt.update()
    names = newest_kernels(apt.kernels())
    if not names:
        raise Unavailable("the configured archives hold no Debian kernel for amd64 (linux-image-*-amd64)")
    root = cache() / "root"
    shutil.rmtree(root, ignore_errors=True)
    qemu, version = installed_qemu() or (None, None)
    packages = apt.download(GUEST_PACKAGES)
    if qemu is None:
        packages += apt.download_with_dependencies("qemu-system-x86")
    for package in packages:
        run(["dpkg-deb", "-x", str(package), str(root)])
    if qemu is None:
        qemu = str(root / "usr/bin" / QEMU)
        version = qemu_version(Bench(qemu, "", ()))
        if number(version) < OLDEST_QEMU:
            raise Unavailable(f"the archives' QEMU is {version}; errors are delivered from 10.0 on")
    kernels = tuple(_kernel(apt, name, release, series) for name, release, series in names)
    bench = Bench(qemu, version or "", kernels)
    held = {"format": FORMAT, "qemu": bench.qemu, "qemu_version": bench.qemu_version,
            "kernels": [asdict(kernel) for kernel in kernels]}
    (cache() / "bench.json.part").write_text(json.dumps(held, indent=1))
    os.replace(cache() / "bench.json.part", cache() / "bench.json")
    shutil.rmtree(apt.folder, ignore_errors=True)
    return bench


def _kernel(apt: Apt, name: str, release: str, series: str) -> Kernel:
    kernel = Kernel(release, series)
    if kernel.image.exists() and kernel.modules.exists():
        return kernel
    unpacked = cache() / "unpacked"
    shutil.rmtree(unpacked, ignore_errors=True)
    try:
        for package in apt.download([name, *apt.parts(name, release)]):
            run(["dpkg-deb", "-x", str(package), str(unpacked)])
        kernel.folder.mkdir(parents=True, exist_ok=True)
        write_modules(unpacked, release, cache() / "root/bin/busybox", kernel.modules)
        shutil.copy(_of_kernel(unpacked, "vmlinuz", release), kernel.image)
        shutil.copy(_of_kernel(unpacked, "config", release), kernel.folder / "config")
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
    return kernel


def _of_kernel(unpacked: Path, name: str, release: str) -> Path:
    """A file that packages keep in /boot, and those of Linux 7 beside the modules."""
    for path in (unpacked / f"boot/{name}-{release}", unpacked / f"usr/lib/modules/{release}/{name}"):
        if path.exists():
            return path
    raise Unavailable(f"the package of {release} holds no {name}")


def parts_of(depends: str, release: str) -> list[str]:
    """Packages that a kernel's image consists of, by what `apt-cache depends` prints. Since Linux 7 the image is empty, and
    needs linux-binary, linux-modules and linux-base of the same release; before, all is in it."""
    return re.findall(rf"^ *Depends: (linux-[a-z]+-{re.escape(release)})$", depends, re.MULTILINE)


def newest_kernels(names: Sequence[str]) -> list[tuple[str, str, str]]:
    """Package, release and series: the newest of the oldest and of the newest series that the archives hold."""
    series: dict[tuple[int, int], list[tuple[list[int], str, str]]] = {}
    for name in names:
        match = KERNEL.fullmatch(name)
        if match:
            version = [int(part) for part in re.findall(r"\d+", match[1])]
            series.setdefault((int(match[2]), int(match[3])), []).append((version, name, f"{match[1]}-amd64"))
    wanted = sorted(series)
    return [(*max(series[key])[1:], f"{key[0]}.{key[1]}") for key in dict.fromkeys((*wanted[:1], *wanted[-1:]))]


def number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])


def qemu_version(bench: Bench) -> str:
    text = run([*bench.qemu_command(), "--version"], bench.qemu_environment())
    match = re.search(r"version (\d+\.\d+(?:\.\d+)?)", text)
    if match is None:
        raise Unavailable("QEMU does not say its version")
    return match[1]


def installed_qemu() -> tuple[str, str] | None:
    """The machine's own QEMU where it is new enough."""
    path = shutil.which(QEMU)
    if path is None:
        return None
    version = qemu_version(Bench(path, "", ()))
    return (path, version) if number(version) >= OLDEST_QEMU else None


def run(command: Sequence[str], environment: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    what = f"{command[0]} {next((word for word in command[1:] if word in APT_WORDS), command[1])}"
    try:
        done = subprocess.run(command, cwd=cwd, env={**os.environ, "LC_ALL": "C", **(environment or {})}, text=True,
                              capture_output=True, stdin=subprocess.DEVNULL, timeout=PROGRAM_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{what}: no answer within {PROGRAM_SECONDS:g} s") from None
    except OSError as error:
        raise Unavailable(f"{what}: {error.strerror}") from None
    if done.returncode:
        last = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()][-1:] or ["no message"]
        raise Unavailable(f"{what}: {last[0][:200]}")
    return done.stdout


class Apt:
    """apt on folders of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("lists/partial", "cache/archives/partial"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        lines, self.backports = sources(run(
            ["apt-get", "indextargets", "--format", "$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(SIGNED_BY)|$(ORIGIN)",
             "Created-By: Packages"]), codename())
        if not lines:
            raise Unavailable("apt is configured with no archive of Debian")
        (folder / "sources.list").write_text("\n".join(lines) + "\n")
        self.options = [
            word for option in (
                f"Dir::Etc::sourcelist={folder}/sources.list", "Dir::Etc::sourceparts=/dev/null",
                f"Dir::State::lists={folder}/lists", f"Dir::Cache={folder}/cache", "Debug::NoLocking=1",
                "APT::Get::List-Cleanup=0", "Acquire::Retries=2", "Acquire::Languages=none",
            ) for word in ("-o", option)
        ]
        if os.geteuid() == 0:
            # The download user may not look into the cache of root.
            self.options += ["-o", "APT::Sandbox::User=root"]

    def update(self) -> None:
        run(["apt-get", *self.options, "-qq", "--error-on=any", "update"])

    def kernels(self, prefix: str = "linux-image-") -> list[str]:
        names = run(["apt-cache", *self.options, "pkgnames", prefix]).split()
        # apt's cache also names packages that others only mention; those cannot be downloaded.
        return [name for name in names if KERNEL.fullmatch(name)]

    def parts(self, name: str, release: str) -> list[str]:
        return parts_of(run(["apt-cache", *self.options, "depends", name]), release)

    def download(self, names: Sequence[str]) -> list[Path]:
        folder = self.folder / "packages"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        run(["apt-get", *self.options, "-qq", "download", *names], cwd=folder)
        kept = self.folder / "kept"
        kept.mkdir(exist_ok=True)
        return [Path(shutil.move(path, kept / path.name)) for path in sorted(folder.glob("*.deb"))]

    def download_with_dependencies(self, name: str) -> list[Path]:
        """The package and what it needs that this machine has not installed."""
        release = ["-t", self.backports] if self.backports else []
        run(["apt-get", *self.options, "-qq", "-y", "--no-install-recommends", "--download-only", *release, "install",
             name])
        return sorted((self.folder / "cache/archives").glob("*.deb"))


def sources(targets: str, codename: str) -> tuple[list[str], str | None]:
    """Lines of sources.list for the distribution's own archives, and the name of backports, which is added where it
    is not configured. None where there is no line to derive it from."""
    backports = f"{codename}-backports"
    lines: dict[str, None] = {}
    suites: set[str] = set()
    base: tuple[str, str] | None = None
    for row in targets.splitlines():
        uri, suite, component, key, origin = row.split("|")
        if origin != "Debian" and not suite.startswith(codename):
            continue
        option = f"[signed-by={key}] " if key.startswith("/") else ""
        lines[f"deb {option}{uri} {suite} {component}"] = None
        suites.add(suite)
        if suite == codename and component == "main":
            base = (option, uri)
    if backports not in suites and base is not None:
        lines[f"deb {base[0]}{base[1]} {backports} main"] = None
    return list(lines), backports if backports in suites or base is not None else None


def codename() -> str:
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.partition("=")[2].strip('"')
    raise Unavailable("/etc/os-release names no release of Debian (VERSION_CODENAME)")

"""The file system that the guest starts from: busybox, modules and `init`, as cpio archives (newc).

The kernel unpacks several archives one after the other, so the modules, which need a package to be unpacked, are one
archive in the cache, and what changes with the checkout is another, made at each boot.
(Documentation/driver-api/early-userspace/buffer-format.rst)
"""

from __future__ import annotations

import lzma
import os
import re
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.kernel.cache import Unavailable, cache

CHECKOUT = Path(__file__).resolve().parents[2]

MODULES = ("crc32c_generic", "virtio_pci", "9pnet_virtio", "9p")
"""Loaded at boot in this order, each after what it needs. Those that a kernel has built in are left out: 6.1 has virtio_pci
as a module, 6.12 does not. crc32c comes first: it is asked for by name, which no list of dependencies shows."""

LATER = ("aer_inject", "vgem", "virtio_blk", "ext4")
"""Loaded by a test that wants them (`Guest.load`). virtio_blk and ext4 are for a disk that outlives a guest."""

SUFFIXES = (".ko", ".ko.xz", ".ko.zst")
DIRECTORIES = ("bin", "dev", "etc", "mods", "new", "ro", "proc", "run", "sys", "tmp")


class Cpio:
    """An archive in the making."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._count = 0

    def add(self, name: str, data: bytes, mode: int) -> None:
        self._count += 1
        path = name.encode() + b"\0"
        fields = (self._count, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + path
        self._parts += [head, b"\0" * (-len(head) % 4), data, b"\0" * (-len(data) % 4)]

    def directory(self, name: str) -> None:
        self.add(name, b"", stat.S_IFDIR | 0o755)

    def file(self, name: str, data: bytes, mode: int = 0o644) -> None:
        self.add(name, data, stat.S_IFREG | mode)

    def link(self, name: str, target: str) -> None:
        self.add(name, target.encode(), stat.S_IFLNK | 0o777)

    def bytes(self) -> bytes:
        self.add("TRAILER!!!", b"", 0)
        data = b"".join(self._parts)
        return data + b"\0" * (-len(data) % 512)


def _module_files(folder: Path) -> Mapping[str, Path]:
    found: dict[str, Path] = {}
    for suffix in SUFFIXES:
        for path in folder.rglob(f"*{suffix}"):
            found[path.name.removesuffix(suffix).replace("-", "_")] = path
    return found


def _plain(path: Path) -> bytes:
    data = path.read_bytes()
    if path.name.endswith(".xz"):
        return lzma.decompress(data)
    if path.name.endswith(".zst"):
        import zstandard

        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return data


def _needs(module: bytes) -> list[str]:
    """Names in `depends=` of a module's .modinfo, which is what depmod's list is made from."""
    match = re.search(rb"\0depends=([\w,-]{0,4096})\0", module)
    return [name.replace("-", "_") for name in match[1].decode().split(",") if name] if match else []


def write_modules(unpacked: Path, release: str, busybox: Path, out: Path) -> None:
    """The archive of busybox and the modules of one kernel package."""
    folders = [path for path in (unpacked / "lib/modules" / release, unpacked / "usr/lib/modules" / release)
               if path.is_dir()]
    if not folders:
        raise Unavailable(f"the package of {release} holds no modules")
    files = _module_files(folders[0])
    data: dict[str, bytes] = {}

    def load(name: str, order: dict[str, None]) -> None:
        if name in order or name not in files:
            return
        data.setdefault(name, _plain(files[name]))
        for needed in _needs(data[name]):
            load(needed, order)
        order[name] = None

    orders: dict[str, dict[str, None]] = {"order": {}, **{f"{name}.order": {} for name in LATER}}
    for name in MODULES:
        load(name, orders["order"])
    for name in LATER:
        load(name, orders[f"{name}.order"])
    for name in ("9p", "aer_inject"):
        if name not in data:
            raise Unavailable(f"the kernel {release} has no module {name}")
    archive = Cpio()
    for directory in DIRECTORIES:
        archive.directory(directory)
    archive.file("bin/busybox", busybox.read_bytes(), 0o755)
    for name in ("sh", "mount", "mkdir", "insmod"):
        archive.link(f"bin/{name}", "busybox")
    for name, module in data.items():
        archive.file(f"mods/{name}.ko", module)
    for name, order in orders.items():
        archive.file(f"mods/{name}", "".join(f"{module}\n" for module in order).encode())
    part = out.with_suffix(".part")
    part.write_bytes(archive.bytes())
    part.replace(out)


def overlay(files: Mapping[str, bytes | tuple[bytes, int]], links: Mapping[str, str]) -> bytes:
    """The archive of what changes: paths without a leading slash to bytes, or bytes and mode."""
    archive = Cpio()
    made: set[str] = set()
    for name in sorted({*files, *links}):
        for parent in reversed(Path(name).parents[:-1]):
            if str(parent) not in made:
                made.add(str(parent))
                archive.directory(str(parent))
        if name in links:
            archive.link(name, links[name])
        else:
            held = files[name]
            archive.file(name, *((held,) if isinstance(held, bytes) else held))
    return archive.bytes()


def _binds() -> tuple[list[str], dict[str, str]]:
    """Host paths that the guest sees, and symbolic links at the root (/bin -> usr/bin)."""
    wanted = [Path("/usr"), Path(sys.prefix), Path(sys.base_prefix), Path(os.path.realpath(sys.executable)).parents[1],
              CHECKOUT, cache()]
    links: dict[str, str] = {}
    for name in ("bin", "lib", "lib32", "lib64", "libx32", "sbin"):
        path = Path("/") / name
        if path.is_symlink():
            links[f"/{name}"] = os.readlink(path)
        elif path.is_dir():
            wanted.append(path)
    paths = sorted({path.resolve() for path in wanted})
    return [str(path) for path in paths if not any(other in path.parents for other in paths)], links


def mounts() -> bytes:
    """What `init` makes of the guest's root, a line each."""
    binds, links = _binds()
    return "".join([*(f"bind {path}\n" for path in binds), *(f"link {name} {to}\n" for name, to in links.items())]).encode()

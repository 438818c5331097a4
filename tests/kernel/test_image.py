"""Kernels are unpacked on the host, whatever their distribution packs them with; what nobody can unpack is started as it is."""

from __future__ import annotations

import gzip
import lzma
import os
import struct
from pathlib import Path

import pytest
import zstandard

from tests.kernel.image import ELF, unpacked

KERNEL = ELF + bytes(range(256)) * 64
PACKED = {"xz": lzma.compress(KERNEL, check=lzma.CHECK_CRC32), "gzip": gzip.compress(KERNEL), "zstd": zstandard.compress(KERNEL)}
CONFIG = "# Linux\nCONFIG_PVH=y\n"


def image(folder: Path, payload: bytes, config: str = CONFIG) -> Path:
    """A bzImage with two sectors of setup; behind the packed kernel stands its size, as the kernel's build puts it."""
    head = bytearray(3 * 512)
    head[0x1F1], head[0x202:0x206] = 2, b"HdrS"
    payload += struct.pack("<I", len(KERNEL))
    struct.pack_into("<II", head, 0x248, 64, len(payload))
    (folder / "config").write_text(config)
    path = folder / "vmlinuz"
    path.write_bytes(bytes(head) + b"\x90" * 64 + payload + b"\x90" * 512)
    return path


@pytest.mark.parametrize("way", PACKED)
def test_a_kernel_comes_out_whole_and_once(tmp_path: Path, way: str) -> None:
    packed = image(tmp_path, PACKED[way])
    found = unpacked(packed)
    assert found.read_bytes() == KERNEL
    before = found.stat().st_ino
    assert unpacked(packed).stat().st_ino == before
    os.utime(packed, (found.stat().st_mtime + 9, found.stat().st_mtime + 9))
    assert unpacked(packed).stat().st_ino != before, "the image is a newer one"
    assert {path.name for path in tmp_path.iterdir()} == {"config", "vmlinuz", "vmlinux"}


@pytest.mark.parametrize(("payload", "config"), [
    (b"BZh9" + KERNEL, CONFIG), (PACKED["xz"][:-40], CONFIG), (lzma.compress(b"no kernel"), CONFIG),
    (PACKED["zstd"], "# CONFIG_PVH is not set\n")])
def test_what_cannot_be_unpacked_or_started_so_stays_as_it_is(tmp_path: Path, payload: bytes, config: str) -> None:
    packed = image(tmp_path, payload, config)
    assert unpacked(packed) == packed
    assert not (tmp_path / "vmlinux").exists()

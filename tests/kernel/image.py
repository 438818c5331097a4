"""A kernel as QEMU starts it soonest: unpacked here instead of by an emulated processor, which takes seconds for it.

A bzImage names where in it the packed kernel lies (Documentation/arch/x86/boot.rst, payload_offset). What comes out is an ELF
file, which QEMU starts by the entry for virtual machines (CONFIG_PVH). All after that is as with the bzImage.
"""

from __future__ import annotations

import lzma
import os
import struct
import zlib
from pathlib import Path
from typing import Any

SECTOR = 512
SETUP_SECTORS, HEADER, PAYLOAD = 0x1F1, 0x202, 0x248
XZ, ZSTD, GZIP, ELF = b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"\x1f\x8b", b"\x7fELF"


def _unpack(image: bytes) -> bytes:
    """Empty where it is packed in a way that nobody here knows."""
    if image[HEADER:HEADER + 4] != b"HdrS":
        return b""
    offset, length = struct.unpack_from("<II", image, PAYLOAD)
    at = ((image[SETUP_SECTORS] or 4) + 1) * SECTOR + offset
    packed = image[at:at + length]
    try:
        if packed.startswith(XZ):
            way: Any = lzma.LZMADecompressor()
        elif packed.startswith(GZIP):
            way = zlib.decompressobj(31)
        elif packed.startswith(ZSTD):
            import zstandard

            way = zstandard.ZstdDecompressor().decompressobj()
        else:
            return b""
        data: bytes = way.decompress(packed)
    except (lzma.LZMAError, zlib.error, ImportError, ValueError):
        return b""
    return data if way.eof else b""


def unpacked(image: Path) -> Path:
    """The kernel unpacked, kept beside its image; the image itself where that cannot be, or QEMU could not start it."""
    found = image.with_name("vmlinux")
    if found.exists() and found.stat().st_mtime >= image.stat().st_mtime:
        return found
    config = image.with_name("config")
    if not config.exists() or "\nCONFIG_PVH=y\n" not in config.read_text():
        return image
    data = _unpack(image.read_bytes())
    if not data.startswith(ELF):
        return image
    part = found.with_suffix(f".{os.getpid()}")
    part.write_bytes(data)
    part.replace(found)
    return found

"""Tars made by hand, and what must hold for any capture at all."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from unicodedata import bidirectional, category

import msgspec

from boxcheck.host import Host
from boxcheck.host.capture import CaptureHost
from tests.host.asked import every_question

TURNING = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
CANARY = b"canary-that-lies-outside"
META = b'{"schema":"boxcheck.capture/1","kind":"built","covers":["/*"]}'
ASKED = (
    "/",
    "/sys",
    "/sys/a",
    "/sys/a/b",
    "/sys/link",
    "/sys/link/canary",
    "/sys/link/x",
    "/proc/cmdline",
    "/etc/passwd",
    "/dev/kfd",
    "/var/log/dmesg",
    "/sys/loop",
    "/sys/loop/x",
    "/../../canary",
    "/sys/../../canary",
    "/canary",
    "/boxcheck/capture.json",
    "/sys/bus/pci/devices",
    "/sys/bus/pci/devices/0000:01:00.0/config",
    "/sys/bus/pci/devices/0000:01:00.0",
    "/sys/none",
)


class Member(tarfile.TarInfo):
    data = b""


def member(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "", **fields: Any) -> Member:
    made = Member(name)
    made.type, made.linkname, made.size, made.data = kind, link, len(data), data
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def tar(members: Iterable[Member], meta: bytes | None = META) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape") as archive:
        for made in ([] if meta is None else [member("boxcheck/capture.json", meta)]) + list(members):
            archive.addfile(made, io.BytesIO(made.data))
    return out.getvalue()


def header(
    name: bytes, size: bytes = b"0000000", kind: bytes = b"0", link: bytes = b"", magic: bytes = b"ustar\0"
) -> bytes:
    """One header block with whatever is given, and a checksum that is right."""
    block = bytearray(512)
    block[0 : len(name[:100])] = name[:100]
    block[100:107] = b"0000644"
    block[124 : 124 + len(size)] = size
    block[148:156] = b" " * 8
    block[156:157] = kind
    block[157 : 157 + len(link[:100])] = link[:100]
    block[257:263] = magic
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


END = bytes(1024)


def opened(data: bytes, path: Path) -> CaptureHost:
    path.write_bytes(data)
    return CaptureHost(str(path))


def texts(value: Any) -> Iterable[str]:
    """Every text in an answer."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, bytes) or value is None:
        return
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from texts(key)
            yield from texts(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from texts(inner)
    elif isinstance(value, msgspec.Struct):
        yield from texts(msgspec.structs.asdict(value))


def is_clean(text: str) -> bool:
    """No control character, no separator a terminal may take for a line end, no lone surrogate, no turned direction."""
    return not any(
        category(character) in ("Cc", "Cs", "Zl", "Zp") or bidirectional(character) in TURNING
        for character in text
        if character not in "\n\t"
    )


def interrogate(host: Host, more: Iterable[str] = ()) -> None:
    """Asks a host everything: nothing raises, nothing from outside the capture comes out, nothing drives a terminal."""
    answers: list[Any] = [every_question(host, path) for path in (*ASKED, *more)]
    answers += [
        host.run(["true"]),
        host.answer("lib", "request"),
        host.disk("/dev/shm"),
        host.environment(),
        host.who(),
        host.kernel_log(0),
        host.kernel_log(-1),
        host.time(),
        host.origin,
        getattr(host, "complaints", []),
    ]
    assert CANARY.decode() not in repr(answers)
    for text in texts(answers):
        # The environment's and the answers' own texts too: no control characters, no lone surrogates.
        assert is_clean(text.replace("\ufffd", "?")), repr(text[:200])
        text.encode()

"""Decompression of a capture with bounds: a bomb ends as an error, after a fixed amount of work and memory."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import partial
from typing import IO, Any, Protocol

GZIP, BZIP2, XZ, ZSTANDARD = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"
CHUNK_BYTES = 1 << 18
STREAM_LIMIT = 50_000
"""Compressed streams one after another in a file. bgzip, which makes the most, has one for each 64 KiB: 16 384 of them
in what may be unpacked at all. Empty ones unpack to nothing, so that no other bound meets them."""
DICTIONARY_LIMIT_BYTES = 1 << 27
"""Memory that a decompressor may take for its window: `zstd --ultra -22` needs 128 MiB, nothing common needs more."""


class InflateError(Exception):
    """Not readable as the format that its first bytes promise, or larger than allowed."""


class Source(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Plain:
    """An uncompressed stream, and the base of the others: hands out exactly what was asked for, until the end."""

    def __init__(self, raw: IO[bytes], limit_bytes: int) -> None:
        self._raw = raw
        self._left = limit_bytes
        self._limit = limit_bytes
        self._buffer = b""
        self._at = 0
        self.given = 0
        """Bytes handed out so far."""

    def read(self, size: int) -> bytes:
        """`size` bytes, fewer only at the end of the stream."""
        at = self._at
        data = self._buffer[at : at + size]
        if len(data) == size:
            self._at = at + size
            self.given += size
            return data
        chunks = [data]
        missing = size - len(data)
        while missing:
            self._buffer, self._at = self._more(), 0
            if not self._buffer:
                break
            self._left -= len(self._buffer)
            if self._left < 0:
                raise InflateError(f"unpacks to more than {self._limit >> 20} MiB")
            chunks.append(self._buffer[:missing])
            self._at = len(chunks[-1])
            missing -= self._at
        data = b"".join(chunks)
        self.given += len(data)
        return data

    def skip(self, size: int) -> bool:
        """Passes over bytes without keeping them; False when the stream ends before."""
        while size > 0:
            got = len(self.read(min(size, CHUNK_BYTES)))
            if not got:
                return False
            size -= got
        return True

    def left_over(self) -> bool:
        """At the end of the stream: whether the file goes on with what is none of it, but for zeros."""
        return False

    def _more(self) -> bytes:
        return self._raw.read(CHUNK_BYTES)


class _Decompressed(Plain):
    """gzip, bzip2 and xz: one or more streams after another, as their tools write and read them."""

    def __init__(self, raw: IO[bytes], limit_bytes: int, magic: bytes) -> None:
        super().__init__(raw, limit_bytes)
        self._magic = magic
        self._make, self._errors = _decompressor(magic)
        self._machine = self._make()
        self._streams = 1
        self._rest = b""
        self._behind = b""

    def left_over(self) -> bool:
        data = self._behind
        while data and not data.strip(b"\0"):
            data = self._raw.read(CHUNK_BYTES)
        return bool(data)

    def _more(self) -> bytes:
        while not self._behind:
            if self._machine.eof:
                rest = self._machine.unused_data
                if len(rest) < len(self._magic):
                    rest += self._raw.read(CHUNK_BYTES)
                if not rest.startswith(self._magic):
                    self._behind = rest
                    return b""
                self._streams += 1
                if self._streams > STREAM_LIMIT:
                    raise InflateError(f"is made of more than {STREAM_LIMIT} compressed streams")
                self._machine, self._rest = self._make(), rest
            hungry = getattr(self._machine, "needs_input", True)  # zlib has no such word
            data = (self._rest or self._raw.read(CHUNK_BYTES)) if hungry else b""
            try:
                out: bytes = self._machine.decompress(data, CHUNK_BYTES)
            except self._errors as error:
                raise InflateError(f"is damaged ({error})") from None
            self._rest = getattr(self._machine, "unconsumed_tail", b"")
            if out:
                return out
            if hungry and not data and not self._machine.eof:
                raise InflateError("ends in the middle of the compressed data")
        return b""


def _decompressor(magic: bytes) -> tuple[Callable[[], Any], tuple[type[Exception], ...]]:
    """What makes a decompressor, and what it raises at damaged bytes."""
    if magic == GZIP:
        return partial(zlib.decompressobj, 31), (zlib.error,)
    if magic == BZIP2:
        import bz2

        return bz2.BZ2Decompressor, (OSError, ValueError)
    import lzma

    return partial(lzma.LZMADecompressor, memlimit=DICTIONARY_LIMIT_BYTES), (lzma.LZMAError, MemoryError)


class _Zstandard(Plain):
    def __init__(self, raw: IO[bytes], limit_bytes: int) -> None:
        super().__init__(raw, limit_bytes)
        import zstandard

        self._error = zstandard.ZstdError
        self._stream: Source = zstandard.ZstdDecompressor(max_window_size=DICTIONARY_LIMIT_BYTES).stream_reader(
            raw, read_across_frames=True
        )

    def _more(self) -> bytes:
        try:
            return self._stream.read(CHUNK_BYTES)
        except (self._error, ValueError, MemoryError) as error:
            raise InflateError(f"is damaged ({error})") from None


def inflate(raw: IO[bytes], limit_bytes: int) -> Plain:
    """The uncompressed bytes of a file, whatever of gzip, bzip2, xz and zstd it was packed with."""
    magic = raw.read(6)
    raw.seek(0)
    for known in (GZIP, BZIP2, XZ):
        if magic.startswith(known):
            return _Decompressed(raw, limit_bytes, known)
    return (_Zstandard if magic.startswith(ZSTANDARD) else Plain)(raw, limit_bytes)

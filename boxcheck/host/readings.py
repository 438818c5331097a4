"""What every host makes of a file that it reads its own way, so that a capture answers in the words of the machine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

from boxcheck.host import FILE_LIMIT_BYTES, LOG_LIMIT_BYTES
from boxcheck.host.common import BOOTS, to_text, unread
from boxcheck.host.record import LOG_PATHS
from boxcheck.model import Unread


class Readings(ABC):
    """The part of `boxcheck.host.Host` that needs nothing but the bytes of a path."""

    @abstractmethod
    def _read(self, path: str, limit_bytes: int) -> bytes | Unread:
        """The bytes of a regular file. An Unread says why without naming the path."""

    def read(self, path: str, limit_bytes: int = FILE_LIMIT_BYTES) -> bytes | Unread:
        data = self._read(path, limit_bytes)
        return data if isinstance(data, bytes) else unread(path, data.why, data.kind)

    def text(self, path: str, limit_bytes: int = FILE_LIMIT_BYTES) -> str | Unread:
        data = self._read(path, limit_bytes)
        return to_text(data) if isinstance(data, bytes) else unread(path, data.why, data.kind)

    def kernel_log(self, boot: Literal[0, -1] = 0) -> str | Unread:
        data = self._read(LOG_PATHS[boot], LOG_LIMIT_BYTES)
        return to_text(data) if isinstance(data, bytes) else Unread(f"{BOOTS[boot]}: {data.why}", data.kind)

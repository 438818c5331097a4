"""A machine whose functions are bytes, whose registers may do something when they are read or written, and whose clock
stands still but for `sleep`. Models of links and of margining hang themselves into it."""

from __future__ import annotations

from collections.abc import Callable

from boxcheck.model import Bdf, Unread
from boxcheck.riser.links.ports import Refused, RefusedKind, Size


class Machine:
    """Fulfils `boxcheck.riser.links.ports.Ports`."""

    def __init__(self) -> None:
        self.space: dict[Bdf, bytearray] = {}
        self.attributes: dict[str, str] = {}
        self.now = 100.0
        self.gone: set[Bdf] = set()
        """Functions that answer all ones."""
        self.refuses: RefusedKind | None = None
        self.on_write: list[Callable[[Bdf, int, int, int], bool]] = []
        """Each is asked with (function, offset, size, value); true: it was dealt with, and no byte is stored."""
        self.on_read: list[Callable[[Bdf, int, int], int | None]] = []
        """Each may give the value of a register; None: not mine."""
        self.on_set: list[Callable[[str, str], bool]] = []
        self.on_tick: list[Callable[[float, float], None]] = []
        """Each is told (before, after) when time goes on."""
        self.log: list[tuple[float, str, Bdf, int, int, int]] = []
        """(time, `read` or `write`, function, offset, size, value)."""
        self.cut: Callable[[int], bool] = lambda number: False
        """Asked with the number of each write before it is made; true: the program is interrupted there."""

    def add(self, bdf: str, size_bytes: int = 4096) -> bytearray:
        self.space[Bdf(bdf)] = bytearray(size_bytes)
        return self.space[Bdf(bdf)]

    def read(self, bdf: Bdf, offset: int, size_bytes: Size) -> int | Unread:
        if bdf not in self.space:
            return Unread(f"{bdf}: no such device", "absent")
        value: int | None = None
        if bdf in self.gone:
            value = (1 << 8 * size_bytes) - 1
        else:
            for hook in self.on_read:
                value = hook(bdf, offset, size_bytes)
                if value is not None:
                    break
        if value is None:
            value = int.from_bytes(self.space[bdf][offset:offset + size_bytes], "little")
        self.log.append((self.now, "read", bdf, offset, size_bytes, value))
        return value

    def write(self, bdf: Bdf, offset: int, size_bytes: Size, value: int) -> None:
        if self.cut(sum(1 for entry in self.log if entry[1] == "write")):
            raise KeyboardInterrupt
        if self.refuses is not None:
            raise Refused(self.refuses, f"{bdf}: the write was refused")
        self.log.append((self.now, "write", bdf, offset, size_bytes, value))
        if bdf not in self.space or bdf in self.gone:
            return
        for hook in self.on_write:
            if hook(bdf, offset, size_bytes, value):
                return
        self.space[bdf][offset:offset + size_bytes] = value.to_bytes(size_bytes, "little")

    def writable(self, bdf: Bdf) -> Refused | None:
        return None if self.refuses is None else Refused(self.refuses, f"{bdf}: writes are refused")

    def attribute(self, path: str) -> str | Unread:
        return self.attributes.get(path, Unread(f"{path}: no such file", "absent"))

    def set_attribute(self, path: str, text: str) -> None:
        for hook in self.on_set:
            if hook(path, text):
                return
        if path not in self.attributes:
            raise Refused("unsupported", f"{path}: no such file")
        self.attributes[path] = text

    def seconds(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        before, self.now = self.now, self.now + max(0.0, seconds)
        for tick in self.on_tick:
            tick(before, self.now)

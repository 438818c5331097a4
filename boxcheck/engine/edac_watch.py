"""Errors of the host's memory while a run goes on.

Reads   /sys/devices/system/edac/mc/mc*/{ce_count,ue_count} each time, and dimm*/dimm_{ce_count,ue_count,label} to say
        which module, when these grew                                                                       (any user)
Absent  where no driver of a memory controller is loaded, or ECC is off.
By hand grep . /sys/devices/system/edac/mc/mc*/{ce,ue}_count
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from boxcheck.model import Unread
from boxcheck.telemetry.files import SysFile, names_in, text_of

EDAC = "/sys/devices/system/edac/mc"


class MemoryEvent(msgspec.Struct, frozen=True):
    corrected: bool
    count: int
    name: str
    """`DIMM_C1`, or the controller where it names no module."""


class EdacWatch:
    """`look` gives what was counted since the look before."""

    def __init__(self, root: str = "/") -> None:
        self._root = root.rstrip("/")
        self.unread: Unread | None = None
        names = names_in(self._root, EDAC)
        controllers = [] if isinstance(names, Unread) else [one for one in names if re.fullmatch(r"mc\d+", one)]
        if isinstance(names, Unread) and names.kind != "absent":
            self.unread = names
        elif not controllers:
            self.unread = Unread("no driver of a memory controller is loaded", "absent")
        self._files = {
            (mc, word): SysFile(self._root, f"{EDAC}/{mc}/{word}_count") for mc in controllers for word in ("ce", "ue")}
        self._counts: dict[tuple[str, str], int] = {}
        self._modules: dict[tuple[str, str], dict[str, int]] = {}
        for key, file in self._files.items():
            count = file.count()
            if isinstance(count, int):
                self._counts[key] = count
                self._modules[key] = self._by_module(*key)
            else:
                self.unread = Unread(f"{file.path} is not there", "error") if count is None else count

    @property
    def counting(self) -> bool:
        """Whether there is a controller at all."""
        return bool(self._files)

    @property
    def says(self) -> str:
        controllers = len({mc for mc, _ in self._files})
        return f"EDAC counts {controllers} memory controller{'' if controllers == 1 else 's'}"

    def look(self) -> list[MemoryEvent]:
        found: list[MemoryEvent] = []
        for (mc, word), file in self._files.items():
            count, before = file.count(), self._counts.get((mc, word))
            if not isinstance(count, int):
                if self.unread is None:
                    self.unread = Unread(f"{file.path} went away", "error") if count is None else count
                continue
            self._counts[mc, word] = count
            if before is None:
                self._modules[mc, word] = self._by_module(mc, word)
            if before is None or count == before:
                continue
            more = count - before if count > before else count  # it was set back, and counts from zero
            found += self._placed(mc, word, more)
        return found

    def _placed(self, mc: str, word: str, more: int) -> Iterator[MemoryEvent]:
        before, now = self._modules[mc, word], self._by_module(mc, word)
        self._modules[mc, word] = now
        for name, count in now.items():
            grown = count - before.get(name, 0)
            if 0 < grown <= more:
                more -= grown
                yield MemoryEvent(word == "ce", grown, name)
        if more > 0:
            yield MemoryEvent(word == "ce", more, f"memory controller {mc}")

    def _by_module(self, mc: str, word: str) -> dict[str, int]:
        names = names_in(self._root, f"{EDAC}/{mc}")
        found: dict[str, int] = {}
        for one in () if isinstance(names, Unread) else names:
            if not re.fullmatch(r"(dimm|rank)\d+", one):
                continue
            label = text_of(self._root, f"{EDAC}/{mc}/{one}/dimm_label")
            count = text_of(self._root, f"{EDAC}/{mc}/{one}/dimm_{word}_count")
            if isinstance(count, str) and count.isdecimal():
                found[label if isinstance(label, str) and label else f"{mc} {one}"] = int(count)
        return found

    def close(self) -> None:
        for file in self._files.values():
            file.close()

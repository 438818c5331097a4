"""Changes a device's configuration space from outside the guest, by writing into QEMU's own memory (/proc/PID/mem).

QEMU keeps the 4096 bytes of each device on its heap and answers the guest's reads from them, so what is written there is
what the guest's kernel reads next: identity, link capability and state, all ones for a card that fell off the bus. A port
copies the lower of its own capability and the state of what hangs below it at each read (hw/pci/pcie.c,
pcie_sync_bridge_lnk). There is no training and no traffic behind it.

This rests on QEMU's insides, so every search must hit exactly as often as asked, else it raises.
"""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path

from tests.kernel.cache import Unavailable

SPEEDS_GTS = {2.5: 1, 5.0: 2, 8.0: 3, 16.0: 4, 32.0: 5}
CONFIG_BYTES = 4096
EXPRESS = 0x10
AER = 0x0001


class Space:
    """One device's configuration space."""

    def __init__(self, memory: Memory, at: int) -> None:
        self.memory = memory
        self.at = at

    def read(self, offset: int, length: int) -> bytes:
        return self.memory.read(self.at + offset, length)

    def write(self, offset: int, data: bytes) -> None:
        assert offset in range(CONFIG_BYTES - len(data) + 1)
        self.memory.write(self.at + offset, data)

    def word(self, offset: int) -> int:
        return int(struct.unpack("<H", self.read(offset, 2))[0])

    def set_word(self, offset: int, value: int, mask: int = 0xFFFF) -> None:
        self.write(offset, struct.pack("<H", self.word(offset) & ~mask | value & mask))

    def long(self, offset: int) -> int:
        return int(struct.unpack("<I", self.read(offset, 4))[0])

    def set_long(self, offset: int, value: int, mask: int = 0xFFFFFFFF) -> None:
        self.write(offset, struct.pack("<I", self.long(offset) & ~mask | value & mask))

    @property
    def express(self) -> int:
        """Offset of the PCI Express capability."""
        at = self.read(0x34, 1)[0]
        for _ in range(48):
            if at < 0x40:
                break
            kind, after = self.read(at, 2)
            if kind == EXPRESS:
                return at
            at = after
        raise Unavailable("a device of this QEMU has no PCI Express capability where one was expected")

    def extended(self, wanted: int) -> int:
        """Offset of an extended capability."""
        at = 0x100
        for _ in range(64):
            head = self.long(at)
            if head & 0xFFFF == wanted:
                return at
            at = head >> 20
            if not at:
                break
        raise Unavailable(f"a device of this QEMU has no extended capability {wanted:#x}")

    def identify(self, vendor: int, device: int, card: tuple[int, int] | None, class_code: int | None, revision: int = 0) -> None:
        self.write(0, struct.pack("<HH", vendor, device))
        if class_code is not None:
            self.write(8, struct.pack("<I", class_code << 8 | revision))
        if card is not None:
            self.write(0x2C, struct.pack("<HH", *card))

    def link_capability(self, width: int, speed_gts: float) -> None:
        """LnkCap and the speeds that LnkCap2 names."""
        speed = SPEEDS_GTS[speed_gts]
        self.set_long(self.express + 0x0C, speed | width << 4, 0x3FF)
        self.set_long(self.express + 0x2C, ((1 << speed) - 1) << 1, 0xFE)

    def link(self, width: int | None = None, speed_gts: float | None = None) -> None:
        """LnkSta: what was negotiated. From 8 GT/s on the end has finished equalisation (LnkSta2)."""
        if speed_gts is not None:
            self.set_word(self.express + 0x12, SPEEDS_GTS[speed_gts], 0xF)
            if speed_gts >= 8.0:
                self.equalised()
        if width is not None:
            self.set_word(self.express + 0x12, width << 4, 0x3F0)

    def equalised(self) -> None:
        """LnkSta2: complete, and phases 1 to 3 successful."""
        self.set_word(self.express + 0x32, 0x1E, 0x1E)

    def whole(self) -> bytes:
        return self.read(0, CONFIG_BYTES)


class Memory:
    """The heap of a running QEMU of the same user."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        try:
            self._file = open(f"/proc/{pid}/mem", "r+b", buffering=0)  # noqa: SIM115  closed with the guest
        except OSError as error:
            raise Unavailable(f"QEMU's memory cannot be opened: {error.strerror}") from None

    def read(self, at: int, length: int) -> bytes:
        return os.pread(self._file.fileno(), length, at)

    def write(self, at: int, data: bytes) -> None:
        os.pwrite(self._file.fileno(), data, at)

    def close(self) -> None:
        self._file.close()

    def _heap(self) -> list[tuple[int, bytes]]:
        found: list[tuple[int, bytes]] = []
        for line in Path(f"/proc/{self._pid}/maps").read_text().splitlines():
            if line.endswith("[heap]"):
                first, last = (int(word, 16) for word in line.split()[0].split("-"))
                try:
                    found.append((first, self.read(first, last - first)))
                except OSError as error:
                    raise Unavailable(f"QEMU's memory cannot be read: {error.strerror}") from None
        return found

    def by_identity(self, vendor: int, device: int, count: int) -> list[Space]:
        """All devices of a kind, before the guest has told them apart. Each must have a PCI Express capability."""
        pattern = re.compile(re.escape(struct.pack("<HH", vendor, device)))
        found = [Space(self, first + match.start()) for first, data in self._heap() for match in pattern.finditer(data)
                 if match.start() + CONFIG_BYTES <= len(data) and _is_config(data, match.start())]
        if len(found) != count:
            raise Unavailable(f"QEMU's memory shows {len(found)} devices {vendor:04x}:{device:04x} instead of {count}")
        return found

    def by_header(self, headers: dict[str, bytes]) -> dict[str, Space]:
        """Devices by the first 64 bytes that the guest reads. Command, status and what follows the identity can change
        between the two readings, so that the addresses of its BARs or buses tell which it is."""
        heap = self._heap()
        found: dict[str, Space] = {}
        # By the identity first: to look for a header, mostly zeros, in a heap of mostly zeros takes ten times as long.
        places = {identity: [(first + at, data[at:at + 0x34]) for first, data in heap for at in _all(data, identity)]
                  for identity in {header[:4] for header in headers.values()}}
        for name, header in headers.items():
            hits = [at for at, there in places[header[:4]] if there[8:] == header[8:0x34]]
            if len(hits) != 1:
                raise Unavailable(f"QEMU's memory shows the device {name} {len(hits)} times instead of once")
            found[name] = Space(self, hits[0])
        return found


def _all(data: bytes, wanted: bytes) -> list[int]:
    found: list[int] = []
    at = data.find(wanted)
    while at >= 0:
        found.append(at)
        at = data.find(wanted, at + 1)
    return found


def _is_config(data: bytes, at: int) -> bool:
    """A header of type 0 or 1 whose capabilities lie where they must and lead to PCI Express."""
    if data[at + 0x0E] & 0x7F > 1:
        return False
    next_at = data[at + 0x34]
    for _ in range(48):
        if next_at < 0x40 or next_at & 3:
            return False
        if data[at + next_at] == EXPRESS:
            return True
        next_at = data[at + next_at + 1]
    return False

"""Made-up links below a folder that stands for /: both ends' files, changed in place as a kernel would."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from boxcheck.model import Bdf, Unread
from boxcheck.stress.link_routes import Hop

CORRECTABLE = ("RxErr", "BadTLP", "BadDLLP", "Rollover", "Timeout", "NonFatalErr", "CorrIntErr", "HeaderOF")
UNCORRECTABLE = ("Undefined", "DLP", "SDES", "TLP", "FCP", "CmpltTO", "CmpltAbrt", "UnxCmplt", "RxOF", "MalfTLP",
                 "ECRC", "UnsupReq", "ACSViol", "UncorrIntErr")


class End:
    """One function's files. Each is written as a whole at its old length, so that a reader sees old or new."""

    def __init__(self, root: Path, bdf: str, speed: str = "16.0 GT/s PCIe", width: int = 16) -> None:
        self.bdf, self._root = Bdf(bdf), root
        self._folder = root / "sys/devices/pci0000:40" / bdf
        self._number = 0
        link = root / "sys/bus/pci/devices" / bdf
        link.parent.mkdir(parents=True, exist_ok=True)
        self._link = link
        self._counts = {"correctable": dict.fromkeys(CORRECTABLE, 0), "nonfatal": dict.fromkeys(UNCORRECTABLE, 0),
                        "fatal": dict.fromkeys(UNCORRECTABLE, 0)}
        self._unnamed = 0
        self._speed, self._width = speed, width
        self._make()

    def _make(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._link.is_symlink():
            self._link.unlink()
        self._link.symlink_to(self._folder)
        self._put("power/runtime_status", "active")
        self.train(self._speed, self._width)
        for kind in self._counts:
            self._write(kind)

    def _put(self, name: str, text: str) -> None:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.pwrite(descriptor, f"{text}\n".encode(), 0)
        os.close(descriptor)

    def _write(self, kind: str) -> None:
        counts = self._counts[kind]
        total = sum(counts.values()) + (self._unnamed if kind == "correctable" else 0)
        name = {"correctable": "COR", "nonfatal": "NONFATAL", "fatal": "FATAL"}[kind]
        lines = [f"{key} {count:012d}" for key, count in counts.items()] + [f"TOTAL_ERR_{name} {total:012d}"]
        self._put(f"aer_dev_{kind}", "\n".join(lines))

    def train(self, speed: str, width: int) -> None:
        self._speed, self._width = speed, width
        self._put("current_link_speed", f"{speed:<16}")
        self._put("current_link_width", f"{width:<4}")

    def count(self, name: str, more: int = 1, kind: str = "correctable") -> None:
        """More errors of a name; `?` for one without."""
        if name == "?":
            self._unnamed += more
        else:
            self._counts[kind][name] += more
        self._write(kind)

    def reset(self) -> None:
        """All counters at 0, as after a driver of the bus enumerated the device again."""
        for counts in self._counts.values():
            counts.update(dict.fromkeys(counts, 0))
        for kind in self._counts:
            self._write(kind)

    def ones(self) -> None:
        """It answers nothing any more."""
        self.train("Unknown", 63)

    def uncounted(self) -> None:
        """Without AER."""
        for kind in self._counts:
            (self._folder / f"aer_dev_{kind}").unlink()

    def remove(self) -> None:
        shutil.rmtree(self._folder)
        self._link.unlink()

    def seated_again(self) -> None:
        """The same address, another device of the kernel's."""
        self._number += 1
        self._folder = self._root / f"sys/devices/again{self._number}" / self.bdf
        for counts in self._counts.values():
            counts.update(dict.fromkeys(counts, 0))
        self._make()


class FakeLink:
    """A port and a card."""

    def __init__(self, root: Path, number: int = 0, *, speed: str = "16.0 GT/s PCIe", width: int = 16) -> None:
        self.port = End(root, f"0000:4{number}:01.1", speed, width)
        self.card = End(root, f"0000:5{number}:00.0", speed, width)

    def train(self, speed: str, width: int = 16) -> None:
        self.port.train(speed, width)
        self.card.train(speed, width)

    def hop(self, **silent: str | Unread) -> Hop:
        """`port=why` or `card=why`: ends that count nothing."""
        return Hop(
            port=self.port.bdf, card=self.card.bdf, slot="PCIE3", gigatransfers=16.0, lanes=16,
            silent={{"port": self.port.bdf, "card": self.card.bdf}[end]: why for end, why in silent.items()})

"""PCIe Advanced Error Reporting in the kernel log: several lines, one event.

    pcieport 0000:00:03.1: AER: Correctable error message received from 0000:00:00.0
    pcieport 0000:00:03.1: PCIe Bus Error: severity=Correctable, type=Data Link Layer, (Receiver ID)
    pcieport 0000:00:03.1:   device [1022:1453] error status/mask=00000040/00006000
    pcieport 0000:00:03.1:    [ 6] BadTLP

The device is the one that the Bus Error line names: "received from" is the sender's claim and wrong on AMD root ports.
The bits come from status and mask, as the kernel prints those of `status & ~mask`; the bit lines stand in where that
line is missing. Spellings of 4.x ("Corrected", `id=0700`, long bit names) to 7.x ("Correctable", agent and layer behind
each bit) are one. The log of Linux 6.16 and newer is limited by device: counts that reached the limit are lower bounds.
Source: drivers/pci/pcie/aer.c (aer_print_error, aer_print_source, aer_isr_one_error, aer_ratelimit).
"""

from __future__ import annotations

import functools
import re
from collections import deque

from boxcheck.model import Bdf

from .aer_bits import (
    CORRECTABLE,
    CORRECTABLE_NAMES,
    MEANING,
    REFUSALS,
    SIGNAL_LABELS,
    UNCORRECTABLE,
    UNCORRECTABLE_NAMES,
    cause_of,
    labels_of,
    layer_of,
    seen_by,
)
from .aer_limit import Limit
from .aer_lines import KIND, Bit, BusError, NoWayBack, Received, Status, SuppressedCalls, Unrecovered, look
from .beside import Beside
from .envelope import Line
from .events import Severity
from .ledger import Fold, Ledger
from .steps import CABLES, COUNTERS
from .words import forget_oldest, normal_bdf, packed_bdf

_RECORD_LINES = 12
"""Lines after a record's head within which its other lines come, records of other devices between them."""
_MANY_OPEN = 1024
"""Devices with an unfinished record at once."""
_FIND_DEVICE = 40
"""Lines within which a "received" line belongs to the Bus Error lines after it."""

_CORRECTABLE_BITS = sum(1 << bit for bit in CORRECTABLE)

KINDS = ("aer-correctable", "aer-nonfatal", "aer-fatal")

_RESEAT = (
    COUNTERS, "reseat card and riser of this slot, then try a shorter riser",
)
_ASPM = ("boot once with pcie_aspm=off; if it stops, it is link power management and no damage", *_RESEAT)
_DROPPED = ("look for a lost GPU at the same time", CABLES)
_LOST_BELOW = ("power the machine off and on; the devices stay unusable until then",)
_SOFTWARE = ("look at what the device's driver logged around this time", "update driver and firmware of the device")


class _Received:
    """A "message received" line: which port said so, and whether details followed."""

    __slots__ = ("kind", "line", "multiple", "port", "requester", "used")

    def __init__(self, line: Line, kind: str, port: Bdf | None, requester: Bdf | None, multiple: bool) -> None:
        self.line = line
        self.kind = kind
        self.port = port
        self.requester = requester
        self.multiple = multiple
        self.used = False


class _Record:
    """A record whose status line has not come yet."""

    __slots__ = ("advisory", "agent", "bdf", "kind", "labels", "layer", "line", "mask", "received", "status")

    def __init__(self, line: Line, bdf: Bdf | None, kind: str | None) -> None:
        self.line = line
        self.bdf = bdf
        self.kind = kind
        self.advisory = False
        self.agent: str | None = None
        self.layer: str | None = None
        self.received: _Received | None = None
        self.labels: list[str] = []
        self.status: int | None = None
        self.mask = 0


class Aer:
    """Joins AER lines to events."""

    def __init__(self) -> None:
        self._open: dict[Bdf | None, _Record] = {}
        self._received: dict[Bdf | None, _Received] = {}
        self._recent: deque[_Received] = deque(maxlen=8)
        self._last_fold: Fold | None = None
        self._waiting_suppressed = 0
        self._limit = Limit()
        self._advisories: dict[Bdf | None, int] = {}
        """Device -> line of its latest corrected error with NonFatalErr in it."""
        self._no_way_back = Beside(_FIND_DEVICE, _book_no_way_back)

    follow = re.compile(rb"\[ ?\d{1,2}\] [A-Za-z]|Error of this|TLP Header")
    """What the lines after a record's head hold, those without a word that the family is called for anyway."""

    def read(self, line: Line, out: Ledger) -> int:
        """Take in a line that says AER, Bus Error, error status or suppressed, or one that follows such a line."""
        # Without driver and device, so that the same line of many devices is one.
        said = look(line.rest)
        if said is None:
            return 0
        out.take(line)
        if isinstance(said, BusError):
            return self._bus_error(line, said, out)
        if isinstance(said, Status):
            return self._status(line, said, out)
        if isinstance(said, Bit):
            self._bit(line, said)
        elif isinstance(said, Received):
            return self._message_received(line, said, out)
        elif isinstance(said, SuppressedCalls):
            self._suppressed(line, said, out)
        elif isinstance(said, NoWayBack):
            self._no_way_back.see(line, out)
        elif isinstance(said, Unrecovered):
            self._no_way_back.event(line.number, None)
            fold = out.add("aer-recovery-failed", line, bdf=line.bdf)
            if fold.fresh:
                fold.describe("fail", "driver", "the devices below this port could not be brought back after an error",
                              _LOST_BELOW)
        return 0

    def _bus_error(self, line: Line, said: BusError, out: Ledger) -> int:
        bdf = line.bdf
        before = self._open.pop(bdf, None)
        if before is not None:
            self._book(before, out)
        record = _Record(line, bdf, said.kind)
        if said.kind == KIND["Non-Fatal"] and self._is_advisory(line):
            record.advisory, record.kind = True, KIND["correct"]
        record.agent, record.layer = said.agent, said.layer
        if said.limited:
            out.limits_log = True
        record.received = None if record.advisory else self._claim(line, said.kind)
        if said.inaccessible:
            record.labels.append("Inaccessible")
            self._book(record, out)
            return 0
        if len(self._open) >= _MANY_OPEN:
            self._book(self._open.pop(next(iter(self._open))), out)
        self._open[bdf] = record
        return _RECORD_LINES

    def _is_advisory(self, line: Line) -> bool:
        """Since 7.3 the kernel tells behind a corrected error with NonFatalErr which errors the device means, with the
        severity that they would have had. No message of that severity came, so none was received."""
        after = self._advisories.get(line.bdf)
        return after is not None and line.number - after <= _RECORD_LINES and not any(
            received.kind == KIND["Non-Fatal"] and received.line.number > after for received in self._recent)

    def _claim(self, line: Line, kind: str | None) -> _Received | None:
        """The "received" line that led to this record: of its own port, else about it, else the latest of its kind."""
        bdf = line.bdf
        rank, best = 0, None
        for received in reversed(self._recent):
            if received.kind != kind or line.number - received.line.number > _FIND_DEVICE:
                continue
            fits = 3 if received.port == bdf else 2 if received.requester == bdf else 1
            if fits > rank:
                rank, best = fits, received
                if fits == 3:
                    break
        if best is not None:
            best.used = True
        return best

    def _status(self, line: Line, said: Status, out: Ledger) -> int:
        record = self._open.pop(line.bdf, None)
        if record is not None and record.status is not None:
            # Of a record without a head, as this line's is.
            self._book(record, out)
            record = None
        if record is None and line.bdf is None and self._open:
            # Pasted without the device in front: it belongs to the record opened last.
            record = self._open.pop(next(reversed(self._open)))
        if record is None:
            # Cut at the top: the severity is in a line that is gone. The bit lines' names tell it.
            record = _Record(line, line.bdf, None)
            record.status, record.mask = said
            if len(self._open) >= _MANY_OPEN:
                self._book(self._open.pop(next(iter(self._open))), out)
            self._open[line.bdf] = record
            return _RECORD_LINES
        correctable = record.kind == KIND["correct"]
        names = _names(said.bits, correctable and not record.advisory)
        self._book(record, out, names)
        return 0

    def _bit(self, line: Line, said: Bit) -> None:
        """A `[ 6] BadTLP` line; matters only to a record whose status line is missing or whose head is."""
        label = said.label
        if not self._open:
            return
        record = self._open.get(line.bdf)
        if record is None and line.bdf is None:
            record = self._open[next(reversed(self._open))]
        if record is not None and label not in record.labels:
            record.labels.append(label)

    def _message_received(self, line: Line, said: Received, out: Ledger) -> int:
        port = line.bdf
        domain = port.partition(":")[0] if port else "0000"
        requester = packed_bdf(said.packed, domain) if said.packed is not None else normal_bdf(said.address)
        before = self._received.pop(port, None)
        if before is not None and not before.used and not _same_moment(before.line, line):
            self._book_bare(before, out)
        received = _Received(line, said.kind, port, requester, said.multiple)
        self._no_way_back.event(line.number, None)
        forget_oldest(self._received, _MANY_OPEN)
        self._received[port] = received
        self._recent.append(received)
        return 1

    def _suppressed(self, line: Line, said: SuppressedCalls, out: Ledger) -> None:
        name, count = said
        if name.startswith(("aer_", "pcie_aer", "pci_aer")):
            # The limit is kept per device, and its message comes just before the record that it lets through.
            self._waiting_suppressed += count
            return
        for prefix, kind in _SUPPRESSED_KINDS:
            if prefix in name:
                fold = out.latest(kind)
                if fold is not None:
                    fold.suppressed += count
                return

    def _book(self, record: _Record, out: Ledger, labels: tuple[str, ...] | None = None) -> None:
        """Turn a finished record into an event; with its labels, where the status line gave them."""
        if labels is None:
            labels = tuple(record.labels)
        kind = record.kind
        if kind is None:
            status = record.status or 0
            named = [label for label in labels if label != "Inaccessible"]
            # Some bits are of both registers: their names tell which, else the mask, as only one register has its bits.
            correctable = all(label in CORRECTABLE_NAMES for label in named) and not (
                status & ~_CORRECTABLE_BITS or (not named and record.mask & ~_CORRECTABLE_BITS))
            kind = KIND["correct"] if correctable else KIND["Non-Fatal"]
            labels = labels or labels_of(status, CORRECTABLE if correctable else UNCORRECTABLE)
        received = record.received
        fold = out.add(kind, record.line, bdf=record.bdf, labels=labels)
        if not record.advisory:
            self._limit.logged(fold, record.line.seconds)
        if fold.fresh:
            # Linux 7.3 tells both behind each bit, and not of the record.
            agent, layer = record.agent or seen_by(labels), record.layer or layer_of(labels)
            _describe(fold, agent)
            fold.details.update(agent=agent, layer=layer)
            if received is not None:
                fold.details["requester"] = received.requester
                if received.port != record.bdf:
                    fold.details["reporter"] = received.port
        if received is not None and received.multiple:
            fold.multiple = True
        if kind == KIND["correct"] and "NonFatalErr" in labels:
            forget_oldest(self._advisories, _MANY_OPEN)
            self._advisories[record.bdf] = record.line.number
        self._settle(fold, record.line.number)

    def _book_bare(self, received: _Received, out: Ledger) -> None:
        """An error message came, and the log has no record of what it was."""
        received.used = True
        fold = out.add(received.kind, received.line, bdf=received.port)
        if fold.fresh:
            _describe(fold, None)
            fold.details["requester"] = received.requester
            if received.requester not in (None, received.port) and not str(received.requester).endswith(":00:00.0"):
                fold.says += f", only that {received.requester} sent it"
        elif fold.details.get("requester") != received.requester:
            fold.says = fold.says.partition(", only that ")[0]
        fold.multiple = fold.multiple or received.multiple
        self._settle(fold, received.line.number)

    def _settle(self, fold: Fold, number: int) -> None:
        self._last_fold = fold
        self._no_way_back.event(number, None)
        if self._waiting_suppressed:
            fold.suppressed += self._waiting_suppressed
            self._waiting_suppressed = 0

    def finish(self, out: Ledger) -> None:
        """Book what is still open, and let the events of one device explain each other."""
        for record in self._open.values():
            if record.labels or record.kind is not None or record.status:
                self._book(record, out)
        for received in self._received.values():
            if not received.used:
                self._book_bare(received, out)
        self._open.clear()
        self._received.clear()
        self._recent.clear()
        self._advisories.clear()
        if self._last_fold is not None:
            self._settle(self._last_fold, self._last_fold.line)
        self._waiting_suppressed = 0
        self._no_way_back.finish(out)
        self._limit.finish(out)
        self._last_fold = None
        _relate(out)


def _book_no_way_back(line: Line, out: Ledger) -> None:
    """Said after an error that was not corrected, whose own lines are missing."""
    fold = out.add("aer-recovery-failed", line, bdf=line.bdf, labels=("no callback",))
    if fold.fresh:
        fold.describe("fail", "driver", "after a PCIe error the device's driver could not bring it back: it has no code"
                      " for that", _LOST_BELOW)


_SUPPRESSED_KINDS = (
    ("amd_iommu", "iommu-fault"), ("dmar_fault", "iommu-fault"), ("report_page_fault", "iommu-fault"),
    ("mce_notify", "mce"), ("gmc_v", "amdgpu-page-fault"),
)


@functools.lru_cache(maxsize=256)
def _names(status: int, correctable: bool) -> tuple[str, ...]:
    return labels_of(status, CORRECTABLE if correctable else UNCORRECTABLE)


def _same_moment(one: Line, two: Line) -> bool:
    return one.when is not None and one.when == two.when and one.message == two.message


def _describe(fold: Fold, agent: str | None) -> None:
    """Severity, cause, words and help for the bits of one AER event."""
    labels = fold.labels
    cause = cause_of(labels)
    said = [MEANING[label][1] for label in labels if label in MEANING]
    side = f", seen by the {agent}" if agent in ("receiver", "transmitter") else ""
    what = "; ".join(said) + side if said else "the log has no details of it"
    severity: Severity
    if fold.kind == KIND["correct"]:
        word = "corrected PCIe error"
        severity = "fail" if "Rollover" in labels else "warn"
        if labels and set(labels) <= UNCORRECTABLE_NAMES:
            word = "PCIe error that its device took for harmless"
            severity = "info" if set(labels) <= REFUSALS else "warn"
        elif labels and set(labels) <= {"NonFatalErr", "HeaderOF"}:
            severity = "info"
        helps = _SOFTWARE if severity == "info" else _ASPM if labels == ("Timeout",) else _RESEAT
    else:
        word = "fatal PCIe error" if fold.kind == KIND["Fatal"] else "uncorrected PCIe error"
        severity = "fail"
        helps = _DROPPED if {"SDES", "DLP", "Inaccessible"} & set(labels) or not labels else _SOFTWARE
    named = f" ({', '.join(labels)})" if labels else ""
    fold.describe(severity, cause, f"{word}{named}: {what}", helps)


def _relate(out: Ledger) -> None:
    """A missing acknowledgement alone may be link power management; beside damaged packets of the same link it is not.

    The two ends of a link are a device and the port that reported it. The topology is not in the log, so two devices
    below one port are not taken for one link.
    """
    folds = out.of_kind(KIND["correct"])
    damaged = [fold for fold in folds if SIGNAL_LABELS & set(fold.labels)]
    seen_at = {(fold.boot, fold.bdf) for fold in damaged}
    reported_at = {(fold.boot, fold.details.get("reporter")) for fold in damaged}
    for fold in folds:
        if fold.labels != ("Timeout",) or fold.bdf is None:
            continue
        here, above = (fold.boot, fold.bdf), (fold.boot, fold.details.get("reporter"))
        if here in seen_at or here in reported_at or (above[1] is not None and above in seen_at):
            fold.cause = "signal"
            fold.help = _RESEAT

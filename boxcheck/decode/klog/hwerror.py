"""Lines marked `[Hardware Error]`: firmware-first records (APEI/GHES, BERT) and machine checks.

    {1}[Hardware Error]: Hardware error from APEI Generic Hardware Error Source: 5
    {1}[Hardware Error]: event severity: recoverable
    {1}[Hardware Error]:  Error 0, type: fatal
    {1}[Hardware Error]:   section_type: PCIe error
    {1}[Hardware Error]:   device_id: 0000:04:00.0
    {1}[Hardware Error]:   aer_uncor_status: 0x00100000, aer_uncor_mask: 0x00010000

    mce: [Hardware Error]: Machine check events logged
    [Hardware Error]: CPU:0 (17:71:0) MC17_STATUS[-|CE|MiscV|AddrV|-|SyndV|CECC|-|-|Scrub]: 0x9c2041000000011b
    [Hardware Error]: Unified Memory Controller Ext. Error Code: 0, DRAM ECC error.
    mce: [Hardware Error]: CPU 0: Machine Check: 0 Bank 5: bea0000000000108

Lines without a record number are of the BERT, what firmware wrote down before this boot.
A section's own type is its gravity; the event's is how the firmware wants it handled. The PCIe record is repeated by
the device's `aer_status` lines (`aer_cor_status` since Linux 7.3), which are not counted again.
Sources: drivers/firmware/efi/cper.c, drivers/acpi/apei/ghes.c, arch/x86/kernel/cpu/mce/core.c, drivers/edac/mce_amd.c
(status bits: AMD64 Architecture Programmer's Manual volume 2, 9.3.2.1; Intel SDM volume 3B, 17.3.2.2).
"""

from __future__ import annotations

from boxcheck.model import Bdf

from .aer_bits import CORRECTABLE, UNCORRECTABLE, cause_of, label_of, labels_of
from .aer_lines import BIT
from .beside import Beside
from .envelope import Line
from .events import Cause, Severity
from .ledger import Fold, Ledger
from .steps import BMC, DIMM
from .words import Rx, forget_oldest, normal_bdf

_GHES = Rx(r"(?:\{(\d{1,6})\})?\[Hardware Error\]: *(.*)")
_MCE_STATUS = Rx(r"MC(\d{1,2})_STATUS\[[^\]]{0,120}\]: *0x([0-9a-fA-F]{1,16})")
_MCE_RAW = Rx(r"Machine [Cc]heck(?: Exception)?: *[0-9a-fA-F]{1,8} Bank (\d{1,3}): *([0-9a-fA-F]{1,16})")
_MCE_UNIT = Rx(r"\[Hardware Error\]: *([A-Z][\w /,.-]{2,50}?) Ext\. Error Code: *\d{1,4}(?:, *(.{0,80}?))?\.?$")
_HEX = Rx(r"(aer_(?:un)?cor_(?:status|mask)): *0x([0-9a-fA-F]{1,8})")
_AER_STATUS = Rx(
    r"aer_((?:un)?cor)?_?status: *0x([0-9a-fA-F]{1,8}), *aer_(?:(?:un)?cor_)?mask: *0x([0-9a-fA-F]{1,8})")
"""Since Linux 7.3 the device's line says which of its two registers it is, as the record's does."""
_MEMORY_PLACE = Rx(r"^node:(\d{1,5})(?: card:(\d{1,5}))?(?: module:(\d{1,5}))?")

_RECORD_LINES = 20
_DEVICE_LINES = 60
"""Lines after a GHES record within which the device's own `aer_status` line is the same error."""
_DECODE_LINES = 8
"""Lines after "Machine check events logged" within which its decoding comes."""

_DEVICE_STATUS = ("aer_status: ", "aer_cor_status: ", "aer_uncor_status: ")
_SEVERITY_WORDS = (
    "no action required.", "software restartable error.", "software containable error.", "System Fatal error.",
)
_UC, _PCC, _DEFERRED = 1 << 61, 1 << 57, 1 << 44

_FIRMWARE_FIRST = (BMC, "do not trust AER counters that stay at zero: here firmware takes the errors first")
_DIMM = (DIMM,)
_MCE_EXPLAINED = Rx(r"Machine check: ([A-Z][\w ,/()-]{3,80})$")
_MCE_HELP = ("note which core and bank it is, then test with stock clocks and memory speed",)


class _Section:
    """One error of a GHES record."""

    __slots__ = ("fields", "line", "numbers", "text")

    def __init__(self, line: Line) -> None:
        self.line = line
        self.fields: dict[str, str] = {}
        self.numbers: dict[str, int] = {}


class HardwareErrors:
    """Joins `[Hardware Error]` lines to events."""

    def __init__(self) -> None:
        self._sections: dict[str, _Section] = {}
        self._booked_pcie: dict[Bdf, int] = {}
        self._status_lines: dict[Bdf | None, tuple[Line, list[str]]] = {}
        self._logged: list[Line] = []
        self._last_mce: Fold | None = None
        self._explained = Beside(_RECORD_LINES, _book_explained)
        self._lost = ""
        """What the machine check read last says of the processor's state, at the end of its words."""

    def read(self, line: Line, out: Ledger) -> int:
        """Take in one such line, or one of those that follow."""
        self._expire(line, out)
        message = line.message
        if "[Hardware Error]" not in message:
            if any(words in message for words in _DEVICE_STATUS):
                return self._device_status(line, out)
            self._device_bit(line, out)
            return 0
        if "Machine check events logged" in message:
            self._logged.append(line)
            out.take(line)
            return 0
        if any(words in message for words in _SEVERITY_WORDS):
            # The record that follows says it in bits.
            out.take(line)
            return 0
        if self._machine_check(line, out):
            out.take(line)
            return 0
        found = _GHES.search(message)
        if found is None:
            return 0
        more = self._ghes(line, found[1] or "", found[2], out)
        if more:
            out.take(line)
        return more

    # Firmware-first records

    def _ghes(self, line: Line, record: str, body: str, out: Ledger) -> int:
        if "APEI Generic" in body or body.startswith("event severity"):
            before = self._sections.get(record)
            if before is not None and "section_type" in before.fields:
                self._book_section(record, out)
        elif body.startswith("Error ") and ", type:" in body:
            before = self._sections.get(record)
            if before is not None and "type" in before.fields:
                gravity = before.fields.get("event severity")
                self._book_section(record, out)
                if gravity:
                    self._sections[record] = _Section(line)
                    self._sections[record].fields["event severity"] = gravity
            self._section(record, line).fields["type"] = body.rpartition(":")[2].strip()
            return 1
        elif record not in self._sections and not body.startswith(("section_type", "section type", "It has been corr")):
            return 0
        section = self._section(record, line)
        for name, digits in _HEX.pattern.findall(body):
            section.numbers[name] = int(digits, 16)
        place = _MEMORY_PLACE.match(body)
        if place is not None:
            names = zip(("node", "card", "module"), place.groups(), strict=True)
            section.fields["place"] = " ".join(f"{name} {number}" for name, number in names if number)
            return 1
        key, colon, value = body.partition(":")
        key = key.strip().replace("section type", "section_type")
        if colon and key not in section.fields:
            section.fields[key] = value.strip()
        return 1

    def _section(self, record: str, line: Line) -> _Section:
        section = self._sections.get(record)
        if section is None:
            section = self._sections[record] = _Section(line)
        return section

    def _book_section(self, record: str, out: Ledger) -> None:
        section = self._sections.pop(record)
        fields = section.fields
        kind_of_section = fields.get("section_type", "")
        gravity = fields.get("type") or fields.get("event severity") or "unknown"
        if not kind_of_section and "type" not in fields:
            return
        severity = _GRAVITY.get(gravity, "fail")
        if kind_of_section == "PCIe error":
            self._book_pcie(section, severity, gravity, _when(record), out)
        elif kind_of_section == "memory error":
            where = fields.get("DIMM location") or fields.get("fru_text") or ""
            if not where or "not present" in where:
                where = fields.get("place", "")
            labels = (where,) if where else ()
            fold = out.add("ghes-memory", section.line, labels=labels)
            if fold.wants(severity):
                named = f" at {labels[0]}" if labels else ""
                what = fields.get("error_type", "").partition(",")[2].strip()
                what = f" ({what})" if what else ""
                says = f"firmware reported {_a(gravity)} memory error{_when(record)}{named}{what}"
                fold.describe(severity, "memory", says, _DIMM)
        else:
            labels = (kind_of_section,) if kind_of_section else ()
            fold = out.add("ghes-other", section.line, labels=labels)
            if fold.wants(severity):
                what = kind_of_section or "no section type"
                fold.describe(severity, None, f"firmware reported {_a(gravity)} error{_when(record)}: {what}",
                              (BMC,))

    def _book_pcie(self, section: _Section, severity: Severity, gravity: str, when: str, out: Ledger) -> None:
        bdf = normal_bdf(section.fields.get("device_id", "").split(",")[0].split(" ")[0])
        numbers = section.numbers
        uncorrected = numbers.get("aer_uncor_status", 0) & ~numbers.get("aer_uncor_mask", 0)
        corrected = numbers.get("aer_cor_status", 0) & ~numbers.get("aer_cor_mask", 0)
        labels = labels_of(uncorrected, UNCORRECTABLE) or labels_of(corrected, CORRECTABLE)
        fold = out.add("ghes-pcie", section.line, bdf=bdf, labels=labels)
        if bdf is not None:
            forget_oldest(self._booked_pcie, 1024)
            self._booked_pcie[bdf] = section.line.number
        if fold.wants(severity):
            _describe_pcie(fold, severity, gravity, when)

    # The device's own lines about the same error

    def _device_status(self, line: Line, out: Ledger) -> int:
        bdf = line.bdf
        found = _AER_STATUS.search(line.message)
        if found is not None:
            out.take(line)
        recent = self._booked_pcie.get(bdf) if bdf is not None else None
        same = recent is not None and line.number - recent <= _DEVICE_LINES
        open_here = any(normal_bdf(section.fields.get("device_id")) == bdf for section in self._sections.values())
        if found is None or same or open_here:
            return 0
        bits = int(found[2], 16) & ~int(found[3], 16)
        if not bits:
            # Firmware handed over a record in which no error is set, or none that the device may report.
            fold = out.add("ghes-pcie", line, bdf=bdf, labels=("no bits",))
            if fold.fresh:
                fold.describe("info", None, "firmware reported the device's errors, and none that it may report is set",
                              (BMC,))
            return 0
        named = {"cor": CORRECTABLE, "uncor": UNCORRECTABLE}.get(found[1] or "")
        self._status_lines[bdf] = (line, list(labels_of(bits, named)) if named else [])
        return _DECODE_LINES

    def _device_bit(self, line: Line, out: Ledger) -> None:
        pending = self._status_lines.get(line.bdf)
        if pending is None:
            return
        found = BIT.search(line.message)
        label = label_of(found[2]) if found is not None else None
        if label is None:
            return
        out.take(line)
        if label not in pending[1]:
            pending[1].append(label)

    def _book_status(self, bdf: Bdf | None, out: Ledger) -> None:
        line, labels = self._status_lines.pop(bdf)
        fold = out.add("ghes-pcie", line, bdf=bdf, labels=tuple(labels))
        if fold.fresh:
            corrected = bool(labels) and set(labels) <= set(CORRECTABLE.values())
            _describe_pcie(fold, "warn" if corrected else "fail", "corrected" if corrected else "uncorrected")

    # Machine checks

    def _machine_check(self, line: Line, out: Ledger) -> bool:
        message = line.message
        found = _MCE_STATUS.search(message)
        bank_name = "MC"
        if found is None:
            found = _MCE_RAW.search(message)
            bank_name = "bank "
        if found is not None:
            status = int(found[2], 16)
            kind_of_error = "UE" if status & _UC else "deferred" if status & _DEFERRED else "CE"
            # The "logged" line and this one are one event, told twice.
            if self._logged and line.number - self._logged[-1].number <= _DECODE_LINES:
                self._logged.pop()
            self._explained.event(line.number, None)
            fold = out.add("mce", line, labels=(f"{bank_name}{int(found[1])}", kind_of_error))
            if fold.fresh:
                self._lost = ", the processor's state was lost" if status & _PCC and status & _UC else ""
                severity: Severity = "fail" if kind_of_error == "UE" else "warn"
                words = {"UE": "uncorrected", "CE": "corrected", "deferred": "deferred"}[kind_of_error]
                fold.describe(severity, None, f"{words} machine check in {bank_name}{int(found[1])}{self._lost}",
                              _MCE_HELP)
            self._last_mce = fold
            return True
        if "Machine check: " in message and _MCE_EXPLAINED.search(message) is not None:
            self._explained.see(line, out)
            return True
        found = _MCE_UNIT.search(message)
        if found is not None and self._last_mce is not None:
            fold = self._last_mce
            if fold.cause is None:
                unit, what = found[1], found[2]
                fold.cause = _unit_cause(unit, what or "")
                of_unit = f" of the {unit}" + (f" ({what})" if what else "")
                fold.says = fold.says.removesuffix(self._lost) + of_unit + self._lost
                if fold.cause == "memory":
                    fold.help = _DIMM
            return True
        return message.startswith("mce: ")

    # Housekeeping

    def _expire(self, line: Line, out: Ledger) -> None:
        """Close what is too far back to get more lines. Records of one error come in one piece."""
        self._explained.expire(line.number, out)
        while self._logged and line.number - self._logged[0].number > _DECODE_LINES:
            self._book_logged(self._logged.pop(0), out)
        for record in [key for key, section in self._sections.items()
                       if line.number - section.line.number > _DEVICE_LINES]:
            self._book_section(record, out)
        for bdf in [key for key, (first, _) in self._status_lines.items()
                    if line.number - first.number > _RECORD_LINES]:
            self._book_status(bdf, out)

    def _book_logged(self, line: Line, out: Ledger) -> None:
        fold = out.add("mce", line)
        if fold.fresh:
            fold.describe("warn", None, "machine check logged, without its details",
                          ("load the EDAC driver of this processor, or run rasdaemon, to have it decoded",))

    def finish(self, out: Ledger) -> None:
        """Book what is open."""
        for line in self._logged:
            self._book_logged(line, out)
        self._logged.clear()
        for record in list(self._sections):
            self._book_section(record, out)
        for bdf in list(self._status_lines):
            recent = self._booked_pcie.get(bdf) if bdf is not None else None
            if recent is not None and abs(self._status_lines[bdf][0].number - recent) <= _DEVICE_LINES:
                del self._status_lines[bdf]
            else:
                self._book_status(bdf, out)
        self._booked_pcie.clear()
        self._explained.finish(out)
        self._last_mce = None


_GRAVITY: dict[str, Severity] = {"corrected": "warn", "recoverable": "fail", "fatal": "fail", "info": "info"}


def _book_explained(line: Line, out: Ledger) -> None:
    """What the kernel makes of a machine check before it stops, where the record with core and bank is missing."""
    found = _MCE_EXPLAINED.search(line.message)
    why = found[1].lower() if found is not None else "no reason given"
    fold = out.add("mce", line, labels=(why,))
    if fold.fresh:
        fold.describe("fail", None, f"machine check that the kernel could not survive: {why}", _MCE_HELP)


def _a(gravity: str) -> str:
    return f"an {gravity}" if gravity[:1] in ("a", "e", "i", "o", "u") else f"a {gravity}"


def _when(record: str) -> str:
    """Of a record without a number, that the error was before this boot."""
    return "" if record else " before this boot"


def _describe_pcie(fold: Fold, severity: Severity, gravity: str, when: str = "") -> None:
    named = f" ({', '.join(fold.labels)})" if fold.labels else ""
    fold.describe(severity, cause_of(fold.labels), f"firmware reported {_a(gravity)} PCIe error{when}{named}",
                  _FIRMWARE_FIRST)


def _unit_cause(unit: str, what: str) -> Cause | None:
    """The part behind an SMCA bank: memory for the memory controllers, None where the text leaves it open."""
    if "Memory Controller" in unit or "DRAM" in what:
        return "memory"
    return "signal" if "PCI Express" in unit or "PCIe" in unit else None

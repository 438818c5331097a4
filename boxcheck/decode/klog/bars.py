"""Address space that a device asked for and did not get: BARs, bridge windows, expansion ROMs.

    amdgpu 0000:0d:00.0: BAR 0: failed to assign [mem size 0x400000000 64bit pref]         until 6.8 or so
    pci 0000:0a:00.0: BAR 0 [mem size 0x00040000]: can't assign; no space                   since
    pcieport 0000:04:09.0: bridge window [mem size 0x00200000 64bit pref]: can't assign; no space

The kernel tries more than once, so a failure that is followed by "assigned" was repaired; what was given may be smaller
than what was asked for. Failed I/O windows are harmless: nothing that matters uses I/O ports.
Source: drivers/pci/setup-res.c, drivers/pci/setup-bus.c, drivers/pci/pci.c (__pci_request_region); resource numbers:
include/linux/pci.h.
"""

from __future__ import annotations

from .envelope import Line
from .events import Severity
from .ledger import Fold, Ledger
from .steps import ABOVE_4G, CABLES, HOLDER
from .words import Rx, forget_oldest, size_text

_NEW = Rx(r"(?:(VF BAR|BAR|ROM|bridge window) ?(\d{1,2})?) ?\[(io|mem)([^\]]{0,80})\](?:[^:]{0,40})?: *(.{0,60})")
_OLD = Rx(r"BAR (\d{1,2}): (no space for|failed to assign|can't assign|assigned) (?:\[)?(io|mem)([^\]]{0,80})")
_SIZE = Rx(r"size (0x[0-9a-fA-F]{1,16})")
_RANGE = Rx(r"(0x[0-9a-fA-F]{1,16})-(0x[0-9a-fA-F]{1,16})")
_NOT_CLAIMED = Rx(r"BAR (\d{1,2}) \[[^\]]{0,80}\]:? not (?:claimed|assigned)")
_RESIZE = Rx(r"(?:Problem resizing|Failed to resize) BAR ?(\d)")
_TAKEN = Rx(r"BAR (\d{1,2})(?: \[[^\]]{0,80}\])?: can't reserve")

_PORTS = ("boot with pci=realloc; a bridge with I/O ports left for it is needed above the device",)
_REALLOC = "boot with pci=realloc"
_ABOVE_4G = (ABOVE_4G, _REALLOC)


def _name(kind: str, index: str | None, flavour: str, flags: str) -> tuple[str, int | None]:
    """The label and BAR number of a resource, in the newer words, from either spelling."""
    if kind == "bridge window":
        return _window(flavour, flags), None
    if kind == "ROM":
        return "ROM", None
    if kind == "VF BAR":
        return f"VF BAR {index or '?'}", None
    number = int(index) if index else -1
    if number <= 5:
        return f"BAR {index or '?'}", number if number >= 0 else None
    if number == 6:
        return "ROM", None
    if number <= 12:
        return f"VF BAR {number - 7}", None
    return _window(flavour, flags), None


def _window(flavour: str, flags: str) -> str:
    return f"window {flavour}" + (" pref" if "pref" in flags else "")


class Bars:
    """Reads assignment failures and what became of them."""

    def __init__(self) -> None:
        self._failed: dict[tuple[str | None, str], Fold] = {}

    def read(self, line: Line, out: Ledger) -> int:
        """Take in one line."""
        message = line.message
        if "can't enable device" in message:
            _not_enabled(line, out)
            return 0
        if "resources are unassigned" in message:
            fold = out.add("bar-assign-fail", line, bdf=line.bdf, labels=("unassigned",))
            if fold.fresh:
                fold.describe("info", "config", "some device got less address space than it asked for: other lines of"
                              " the same boot name it", (_REALLOC,))
            return 0
        if "assigned" in message and not self._failed:
            # Every boot has hundreds of these.
            return 0
        if "resizing BAR" in message or "resize BAR" in message or "large BAR" in message:
            found = _RESIZE.search(message)
            fold = out.add("bar-resize-fail", line, bdf=line.bdf)
            if fold.fresh:
                fold.describe("warn", "config", "the driver could not make the VRAM BAR as large as the VRAM",
                              _ABOVE_4G, bar=int(found[1]) if found is not None else 0)
            return 0
        if "can't reserve [" in message or "error updating (" in message:
            _not_usable(line, out)
            return 0
        found = _NEW.search(message)
        if found is not None:
            kind, index, flavour, flags, verdict = found.groups()
        else:
            found = _OLD.search(message)
            if found is None:
                return 0
            kind, (index, verdict, flavour, flags) = "BAR", found.groups()
        label, bar = _name(kind, index, flavour, flags)
        if verdict.startswith("assigned"):
            out.take(line)
            self._given(line, label, flags)
        elif verdict.startswith(("can't assign", "failed to assign", "no space")):
            variant = "failed" if verdict.startswith("failed") else "no space"
            self._refused(line, label, bar, flavour, flags, variant, out)
        return 0

    def _refused(
        self, line: Line, label: str, bar: int | None, flavour: str, flags: str, variant: str, out: Ledger
    ) -> None:
        fold = out.add("bar-assign-fail", line, bdf=line.bdf, labels=(label,), variant=variant)
        size = _SIZE.search(flags)
        size_bytes = int(size[1], 16) if size is not None else None
        if size_bytes is not None and size_bytes > (fold.details.get("size_bytes") or 0):
            fold.details["size_bytes"] = size_bytes
        fold.details["assigned_bytes"] = None
        forget_oldest(self._failed, 4096)
        self._failed[line.bdf, label] = fold
        severity: Severity
        if flavour == "io":
            severity = "benign"
            says = "no I/O port space for this window; harmless, nothing here needs I/O ports"
        elif label == "ROM" or label.startswith("VF "):
            severity = "info"
            says = "no address space for " + ("the expansion ROM" if label == "ROM" else "virtual functions")
        elif label.startswith("window"):
            severity = "warn"
            says = "no address space for this bridge's window; the devices below it may miss theirs"
        else:
            severity = "fail"
            says = f"no address space for {label}; the device cannot work without it"
        asked = fold.details.get("size_bytes")
        if asked and severity != "benign":
            says += f" (asked for {size_text(asked)})"
        fold.describe(severity, "benign" if severity == "benign" else "config", says,
                      _ABOVE_4G if severity in ("fail", "warn") else (), bar=bar)

    def _given(self, line: Line, label: str, flags: str) -> None:
        fold = self._failed.pop((line.bdf, label), None)
        if fold is None or fold.severity == "benign":
            return
        found = _RANGE.search(flags)
        given = int(found[2], 16) - int(found[1], 16) + 1 if found is not None else None
        asked = fold.details.get("size_bytes")
        fold.details["assigned_bytes"] = given
        if given is not None and asked is not None and given < asked:
            fold.severity = "warn"
            fold.says = f"{label} wanted {size_text(asked)} and was given {size_text(max(given, 0))}"
            return
        fold.severity = "info"
        fold.help = ()
        fold.says = f"{label} did not fit at first and was assigned on a later try"

    def finish(self, out: Ledger) -> None:
        """A failure without a later "assigned" stands."""
        self._failed.clear()


def _not_enabled(line: Line, out: Ledger) -> None:
    """The driver wanted the device on, and one of its BARs has no place."""
    found = _NOT_CLAIMED.search(line.message)
    bar = int(found[1]) if found is not None else None
    fold = out.add("bar-assign-fail", line, bdf=line.bdf, labels=(f"BAR {bar}",) if bar is not None else ())
    if fold.fresh:
        which = f"BAR {bar}" if bar is not None else "a BAR"
        ports = "[io" in line.message
        fold.describe("fail", "config",
                      f"the device was not switched on: {which} has no {'I/O ports' if ports else 'address space'}",
                      _PORTS if ports else _ABOVE_4G, bar=bar)


def _not_usable(line: Line, out: Ledger) -> None:
    """A BAR that another driver holds, or one that does not keep what is written to it."""
    if "error updating (" in line.message:
        fold = out.add("bar-write-fail", line, bdf=line.bdf)
        if fold.fresh:
            fold.describe("fail", "signal", "the device does not keep the address written to it: it does not answer",
                          ("power the machine off and on", CABLES))
        return
    found = _TAKEN.search(line.message)
    labels = (f"BAR {int(found[1])}",) if found is not None else ()
    fold = out.add("bar-taken", line, bdf=line.bdf, labels=labels)
    if fold.fresh:
        fold.describe("warn", "config", f"{labels[0] if labels else 'a BAR'} is held by another driver",
                      (HOLDER,))

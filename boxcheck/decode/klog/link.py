"""Links that went down or did not come up: DPC, hot plug, retraining, bandwidth notes, devices that do not answer.

    pcieport 0000:00:1b.0: DPC: containment event, status:0x1f01 source:0x0000
    pcieport 0000:5f:00.0: pciehp: Slot(3): Link Down
    pcieport 0000:00:01.1: broken device, retraining non-functional downstream link at 2.5GT/s
    pci 0000:0b:00.0: 126.016 Gb/s available PCIe bandwidth, limited by 8.0 GT/s PCIe x16 link at 0000:00:03.1 (...)
    vfio-pci 0000:03:00.0: Unable to change power state from D3cold to D0, device inaccessible
    igc 0000:0c:00.0 eno1: PCIe link lost, device now detached

Until 4.16 the port service wrote `dpc 0000:10:01.2:pcie008: DPC containment event, ...`. Harmless, and often feared: a
log size of 0, the notes about ASPM, and a hotplug command that Intel's ports never complete (erratum CF118).

Sources: drivers/pci/pcie/dpc.c, drivers/pci/hotplug/pciehp_ctrl.c, drivers/pci/quirks.c (pcie_failed_link_retrain),
drivers/pci/pci.c (__pcie_print_link_status, pci_dev_wait, pci_power_up), drivers/pci/pcie/aspm.c,
drivers/pci/hotplug/pciehp_hpc.c, drivers/net/ethernet/intel/{igb,igc,ixgbe,fm10k}. DPC status bits:
PCI Express 7.9.14.4.
"""

from __future__ import annotations

from .beside import Beside
from .envelope import Line
from .family import Rule, apply
from .ledger import Fold, Ledger
from .steps import CABLES, COUNTERS
from .words import BDF, Rx, forget_oldest, normal_bdf, packed_bdf

_BANDWIDTH = Rx(
    r"[\d.]{1,12} Gb/s available PCIe bandwidth, limited by ([\w.]{1,12})(?: GT/s)?(?: PCIe)? x(\d{1,2}) link at "
    rf"({BDF})(?: \(capable of [\d.]{{1,12}} Gb/s with ([\w.]{{1,12}})(?: GT/s)?(?: PCIe)? x(\d{{1,2}}) link)?"
)
_DPC = Rx(
    r"containment event(?:, status:0x([0-9a-fA-F]{1,4}))?(?: source:0x([0-9a-fA-F]{1,4}))?"
    rf"(?:.{{0,40}}received from ({BDF}))?"
)
_DPC_DETECTED = Rx(
    r"DPC: (?P<label>unmasked uncorrectable error|ERR_NONFATAL|ERR_FATAL|RP PIO error|software trigger) detected")
_DPC_LINES = 12
_DPC_REASONS = ("unmasked uncorrectable error", "ERR_NONFATAL", "ERR_FATAL")
_DPC_EXTENDED = ("RP PIO error", "software trigger", "a reserved reason", "a reserved reason")
_SLOT = Rx(r"[Ss]lot\(([^)]{1,24})\)")
_POWER = Rx(r"change power state(?: from (\w{2,9}))?(?: to (\w{2,9}))?")

_LINK_HELP = (CABLES, COUNTERS)
_GONE_HELP = ("power the machine off and on: a reboot may not bring the device back", CABLES)

_RULES = (
    Rule("retraining non-functional downstream link", "link-retrain", "fail", "signal",
         "the link below {bdf} did not come up at full speed and is held at 2.5 GT/s",
         ("reseat card and riser, then power the machine off and on: until then the port keeps the low speed",),
         variant="try"),
    Rule("retraining failed", "link-retrain", "fail", "signal",
         "the link below {bdf} did not come up, not even at 2.5 GT/s", _LINK_HELP, variant="fail"),
    Rule("removing 2.5GT/s downstream link speed restriction", "link-retrain", "info", "signal",
         "the link below {bdf} was held at 2.5 GT/s and is released again", label="released"),
    Rule("Link Active not set", "link-down", "warn", "signal",
         "the link below {bdf} did not become active after a reset or wake-up", _LINK_HELP, label="not active"),
    Rule("PCIe link lost", "device-lost", "fail", "signal", "the device no longer answers, its driver let go of it",
         _GONE_HELP, Rx(r"PCIe link lost, device now detached")),
    Rule("PCIe link lost", "device-lost", "warn", "signal",
         "the device did not answer once: it was asleep, or is gone", _LINK_HELP, label="once"),
    Rule("Power fault", "slot-power-fault", "fail", "power", "the slot's supply cut out",
         (CABLES, "try the card in another slot"),
         Rx(r"[Ss]lot\((?P<label>[^)]{1,24})\): Power fault|Power fault on [Ss]lot ?(?P<label2>\S{1,24})")),
    Rule("No bus number available", "bus-numbers", "warn", "config",
         "no bus number was left for what is behind this bridge, so it stays invisible",
         ("boot with pci=assign-busses, or give the slot more buses in the BIOS",),
         Rx(r"pci_bus (?P<label>[0-9a-f]{4,8}:[0-9a-f]{2})|No bus number")),
    Rule("hotplug command", "harmless", "benign", "benign",
         "the port does not report that a hotplug command is done, an old fault of many ports: nothing happened", (),
         Rx(r"Timeout on hotplug command 0x"), label="hotplug command"),
    Rule("disable ASPM; OS doesn't have ASPM control", "harmless", "benign", "benign",
         "firmware keeps link power management to itself, and nothing is wrong", (), label="ASPM"),
    Rule("override BIOS ASPM; OS doesn't have ASPM control", "harmless", "benign", "benign",
         "firmware keeps link power management to itself, and nothing is wrong", (), label="ASPM"),
    Rule("disabling ASPM on pre-1.1", "harmless", "benign", "benign",
         "an old device does without link power management, and nothing is wrong", (), label="ASPM"),
    Rule("_OSC failed (", "harmless", "benign", "benign",
         "firmware and kernel did not agree on who manages links, so firmware goes on to: common, and no fault", (),
         label="ACPI _OSC"),
    Rule("VPD access failed", "harmless", "benign", "benign",
         "the device's product data could not be read, and nothing needs it", (), label="VPD"),
    Rule("unknown header type", "device-inaccessible", "fail", "power",
         "the device answers only ones (header type 7f), and the kernel ignores it", _GONE_HELP,
         Rx(r"unknown header type (?:0x)?7f, ignoring device"), label="header type"),
    Rule("unknown header type", "device-inaccessible", "fail", "signal",
         "the device answers nonsense for its header, and the kernel ignores it", _GONE_HELP,
         Rx(r"unknown header type \w{1,4}, ignoring device"), label="header type"),
    Rule("giving up", "device-not-ready", "fail", "power", "the device did not answer after a reset or wake-up",
         _GONE_HELP,
         pattern=Rx(r"not ready \d{1,7}ms after [\w ]{2,40}; *giving up")),
)


_DETECTED_RULES = (
    Rule("DPC: ", "dpc", "fail", "signal", "the port cut the link below it off to contain an error ({label})",
         _LINK_HELP, _DPC_DETECTED),
)


class Links:
    """Reads link and presence messages."""

    def __init__(self) -> None:
        self._planned: dict[tuple[str | None, str], int] = {}
        self._detected = Beside(_DPC_LINES, _book_detected)

    def read(self, line: Line, out: Ledger) -> int:
        """Take in one line."""
        message = line.message
        self._detected.expire(line.number, out)
        if "error containment capabilities" in message:
            out.take(line)
        elif "available PCIe bandwidth" in message:
            _bandwidth(line, out)
        elif "containment event" in message or "RP PIO log size" in message:
            return self._dpc(line, out)
        elif "DPC: " in message and _DPC_DETECTED.search(message) is not None:
            self._detected.see(line, out)
        elif "lot(" in message and "Power fault" not in message and ("pciehp" in message or "Link Down" in message):
            self._slot(line, out)
        elif "change power state" in message:
            _power_state(line, out)
        else:
            fold = apply(_RULES, line, out)
            if fold is not None and fold.kind == "link-retrain":
                if "retraining failed" in message:
                    _nothing_there(fold)
                    return 0
                fold.details["speed_gts"] = 2.5
                return 4
        return 0

    def _dpc(self, line: Line, out: Ledger) -> int:
        message = line.message
        if "RP PIO log size" in message:
            if "invalid" not in message:
                return 0
            fold = out.add("dpc", line, bdf=line.bdf, labels=("RP PIO log size",))
            if fold.fresh:
                fold.describe("benign", "benign",
                              "the port's firmware left the size of an error log at 0; nothing happened")
            return 0
        found = _DPC.search(message)
        if found is None:
            return 0
        bdf = line.bdf
        reason, source = "", None
        if found[1] is not None:
            status = int(found[1], 16)
            trigger = status >> 1 & 3
            reason = _DPC_REASONS[trigger] if trigger < 3 else _DPC_EXTENDED[status >> 5 & 3]
            if trigger in (1, 2):
                # The source register is valid only for an error message from below.
                domain = bdf.partition(":")[0] if bdf else "0000"
                source = normal_bdf(found[3]) or (packed_bdf(int(found[2], 16), domain) if found[2] else None)
        self._detected.event(line.number, bdf)
        fold = out.add("dpc", line, bdf=bdf, labels=(reason,) if reason else ())
        if fold.fresh:
            why = f" ({reason})" if reason else ""
            fold.describe("fail", "signal", f"the port cut the link below it off to contain an error{why}", _LINK_HELP,
                          requester=source)
        return 0

    def _slot(self, line: Line, out: Ledger) -> None:
        message = line.message
        slot = _SLOT.search(message)
        name = slot[1] if slot is not None else ""
        key = (line.bdf, name)
        if "utton press" in message:
            forget_oldest(self._planned, 1024)
            self._planned[key] = line.number
            out.take(line)
            return
        if "No link" in message or "annot train link" in message:
            labels = (f"slot {name}", "no link") if name else ("no link",)
            fold = out.add("link-down", line, bdf=line.bdf, labels=labels)
            if fold.fresh:
                fold.describe("warn", "signal", "a card is in the slot and its link does not come up", _LINK_HELP)
            return
        if "Link Down" not in message and "not present" not in message:
            return
        planned = line.number - self._planned.get(key, -1000) < 200
        gone = "Link Down" not in message
        fold = out.add("link-down", line, bdf=line.bdf, labels=(f"slot {name}",) if name else (),
                       variant="gone" if gone else "down")
        if fold.wants("info" if planned else "warn"):
            what = "the card left the slot" if gone else "the link of a slot went down"
            # Pulling a cable or a dock looks the same, so it is no fail by itself.
            fold.describe("info" if planned else "warn", "benign" if planned else "signal",
                          what + (", as asked by its button" if planned else ""), () if planned else _LINK_HELP)

    def finish(self, out: Ledger) -> None:
        """Tell what stood alone."""
        self._planned.clear()
        self._detected.finish(out)


def _book_detected(line: Line, out: Ledger) -> None:
    """The second line of a containment event, whose first is missing."""
    apply(_DETECTED_RULES, line, out)


def _nothing_there(fold: Fold) -> None:
    """No link at any speed: a dead card, and as well a slot that was emptied: the port remembers that there was a link.

    Severity stays at fail where another try of the same port succeeded.
    """
    tries, failures = (fold.tallies.get(name, (0, None))[0] for name in ("try", "fail"))
    if failures < tries:
        return
    fold.severity = "warn"
    fold.says = f"the link below {fold.bdf or 'a port'} did not come up, not even at 2.5 GT/s: with a card in it"
    fold.says += ", that is a fault, and empty slots log it too"
    fold.details.pop("speed_gts", None)


def _speed(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _bandwidth(line: Line, out: Ledger) -> None:
    """Link status as the kernel saw it when it found the device. Facts; the profile knows what the slot should do.

    Speeds may be lower than under load. Behind a chipset, and on cards made for more than the slot has, it is normal.
    """
    found = _BANDWIDTH.search(line.message)
    if found is None:
        return
    limited_at = normal_bdf(found[3])
    speed, width = _speed(found[1]), int(found[2])
    able_speed, able_width = _speed(found[4]), int(found[5]) if found[5] else None
    labels = (f"x{width}",) if speed is None else (f"{speed:g} GT/s", f"x{width}")
    fold = out.add("bw-limited", line, bdf=line.bdf, labels=labels)
    if not fold.fresh:
        return
    able = "" if able_speed is None else f", the device can do {able_speed:g} GT/s x{able_width}"
    had = "an unknown speed" if speed is None else f"{speed:g} GT/s"
    fold.describe(
        "info", "config", f"the link at {limited_at} ran {had} x{width} when the device was found{able}",
        ("read the link under load: an idle link may be slow, a chipset slot is",),
        speed_gts=speed, width=width, limited_at=limited_at, capable_speed_gts=able_speed, capable_width=able_width,
    )


def _power_state(line: Line, out: Ledger) -> None:
    """A device that does not come back to D0, or answers nothing, is gone; one that does not go to sleep is not."""
    message = line.message
    found = _POWER.search(message)
    before, wanted = (found[1] or "", found[2] or "") if found is not None else ("", "")
    gone = (
        "inaccessible" in message or "Unable to change" in message or "currently in D3" in message
        or (wanted == "D0" and before.startswith("D3"))
    )
    if not gone:
        fold = out.add("power-state-refused", line, bdf=line.bdf)
        if fold.fresh:
            fold.describe("info", "driver", "the device did not go into a power saving state")
        return
    fold = out.add("device-inaccessible", line, bdf=line.bdf)
    if fold.fresh:
        fold.describe("fail", "power", "the device no longer answers, seen when its power state was to change",
                      _GONE_HELP)

"""Holds one decoded function against what lspci printed of it, and notes what was compared and what differs."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import msgspec

from boxcheck.decode.pci_config import ConfigSpace, decode_config
from boxcheck.decode.pci_express import PciExpress
from boxcheck.model import Unread

from .lspci_ours import registers_of
from .lspci_text import UNKNOWN, Capability, Function, parse_lspci, read_register

MISSING = "register not printed"


class Difference(msgspec.Struct, frozen=True):
    source: str
    bdf: str
    register: str
    name: str
    """Empty where one side has the register and the other does not."""
    ours: Any
    theirs: Any
    port_type: str = ""

    @property
    def first_function(self) -> bool:
        return self.bdf.endswith(":00.0")


# Names that lspci prints in registers we compare and that the decoder leaves alone, with the reason.
NOT_DECODED = {
    ("DevCap", "AttnBtn"): "undefined since PCIe 1.1",
    ("DevCap", "AttnInd"): "undefined since PCIe 1.1",
    ("DevCap", "PwrInd"): "undefined since PCIe 1.1",
    ("DevCtl", "FLReset"): "a trigger, reads as 0",
    ("DpcCtl", "SwTrigger"): "a trigger, reads as 0",
    ("Phy32Cap", "ModTsMode0"): "alternate protocols, not PCIe links",
    ("Phy32Cap", "ModTsMode1"): "alternate protocols, not PCIe links",
    ("Phy32Cap", "ModTsMode2"): "alternate protocols, not PCIe links",
}

NOT_DECODED_REGISTERS = {
    "Flags": "power management capabilities; the state is in its Status",
    "Bridge": "power management of a bridge's secondary bus",
}

# Capability as lspci names it -> field of ConfigSpace.
FIELDS = {
    "Express": "express",
    "Power Management": "power",
    "Vital Product Data": "vpd",
    "Advanced Error Reporting": "aer",
    "Access Control Services": "acs",
    "Device Serial Number": "serial",
    "Physical Resizable BAR": "rebar",
    "Virtual Resizable BAR": "vf_rebar",
    "Downstream Port Containment": "dpc",
    "L1 PM Substates": "l1ss",
    "Secondary PCI Express": "secondary",
    "Latency Tolerance Reporting": "ltr",
    "Physical Layer 16.0 GT/s": "phy16",
    "Physical Layer 32.0 GT/s": "phy32",
    "Physical Layer 64.0 GT/s": "phy64",
    "Lane Margining at the Receiver": "margining",
}

# Registers whose presence both sides must agree on, besides their content.
EXPRESS_REGISTERS = (
    "DevCap", "DevCtl", "DevSta", "LnkCap", "LnkCtl", "LnkSta", "SltCap", "SltCtl", "SltSta", "RootCtl", "RootCap",
    "RootSta", "DevCap2", "DevCtl2", "LnkCap2", "LnkCtl2", "LnkSta2",
)  # fmt: skip


class Comparison:
    """What was compared, so that a test can tell a match from a look that never happened, and what differs."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.compared: Counter[str] = Counter()
        self.differences: list[Difference] = []

    def add(self, bdf: str, register: str, name: str, ours: Any, theirs: Any) -> None:
        self.compared[register] += 1
        if ours != theirs and theirs is not UNKNOWN:
            self.differ(bdf, register, name, ours, theirs)

    def differ(self, bdf: str, register: str, name: str, ours: Any, theirs: Any, port_type: str = "") -> None:
        self.differences.append(Difference(self.source, bdf, register, name, ours, theirs, port_type))


def compare(source: str, spaces: dict[str, bytes], text: str) -> Comparison:
    """Compare every function that lspci printed with the decoder's view of the same bytes."""
    comparison = Comparison(source)
    functions = parse_lspci(text)
    assert set(functions) == set(spaces), f"{source}: lspci and parse_hex_dump found different functions"
    for bdf, data in spaces.items():
        space = decode_config(data)
        assert isinstance(space, ConfigSpace), f"{source} {bdf}: {space}"
        _compare_header(comparison, space, functions[bdf])
        _compare_capabilities(comparison, space, data, functions[bdf])
    return comparison


def _compare_header(comparison: Comparison, space: ConfigSpace, function: Function) -> None:
    def add(register: str, name: str, ours: Any, theirs: Any) -> None:
        comparison.add(function.bdf, register, name, ours, theirs)

    for name in ("vendor", "device", "revision"):
        add("header", name, getattr(space, name), getattr(function, name))
    add("header", "class", space.class_code >> 8, function.class_code)
    control = read_register("Control", function.header["Control"])
    for name, ours in (
        ("I/O", space.io_enabled),
        ("Mem", space.memory_enabled),
        ("BusMaster", space.bus_master_enabled),
        ("SERR", space.serr_enabled),
    ):
        add("Control", name, ours, control.get(name.removeprefix("I/")))
    if "Subsystem" in function.header:
        add("header", "subsystem", f"{space.subsystem_vendor:04x}:{space.subsystem_device:04x}",
            function.header["Subsystem"])  # fmt: skip
    if space.bridge is None:
        return
    bridge = space.bridge
    for name, theirs in read_register("Bus", function.header["Bus"]).items():
        add("Bus", name, getattr(bridge, name), theirs)
    flags = read_register("BridgeCtl", function.header["BridgeCtl"])
    control_of = bridge.control
    for name, ours in (
        ("Parity", control_of.parity_response),
        ("SERR", control_of.serr),
        ("NoISA", control_of.isa),
        ("VGA", control_of.vga),
        ("VGA16", control_of.vga16),
        ("MAbort", control_of.master_abort),
        (">Reset", control_of.secondary_bus_reset),
    ):
        add("BridgeCtl", name, ours, flags[name])
    for label, window in (
        ("I/O behind bridge", bridge.io),
        ("Memory behind bridge", bridge.memory),
        ("Prefetchable memory behind bridge", bridge.prefetchable),
    ):
        # A window that is closed or switched off is `[disabled]`, with or without its registers.
        theirs_open = re.match(r"([0-9a-f]+)-([0-9a-f]+)", function.header.get(label, ""))
        if window is not None and theirs_open:
            add(label, "window", (window.base, window.limit), (int(theirs_open[1], 16), int(theirs_open[2], 16)))
        elif window is None and label in function.header:
            add(label, "closed", True, "[disabled]" in function.header[label])


def _compare_capabilities(comparison: Comparison, space: ConfigSpace, data: bytes, function: Function) -> None:
    def add(register: str, name: str, ours: Any, theirs: Any) -> None:
        comparison.add(function.bdf, register, name, ours, theirs)

    broken = ("<chain looped>", "<chain broken>", "<access denied>")
    low = [c for c in function.capabilities if c.version is None]
    high = [c for c in function.capabilities if c.version is not None]
    for register, listed_by_us, theirs in (
        ("list", space.capabilities, tuple(c.offset for c in low)),
        ("extended list", space.extended, tuple((c.version, c.offset) for c in high)),
    ):
        if isinstance(listed_by_us, Unread):
            listed = low if register == "list" else high
            add(register, "broken", True, not listed or listed[-1].title in broken)
        else:
            add(
                register, "offsets", tuple(entry[1:] if len(entry) == 3 else entry[1] for entry in listed_by_us), theirs
            )

    ours_by_place = registers_of(space, data)
    seen = set()
    for capability in function.capabilities:
        field = next((field for title, field in FIELDS.items() if capability.title.startswith(title)), None)
        if field is None or field in seen:
            continue
        seen.add(field)
        value = getattr(space, field)
        if "<error in resizable BAR" in str(capability.registers):
            add(field, "broken", True, isinstance(value, Unread))
            continue
        assert value not in (None, False), f"{comparison.source} {function.bdf}: no {capability.title}"
        assert not isinstance(value, Unread), f"{comparison.source} {function.bdf}: {value}"
        if field == "serial":
            add("serial", "number", value, capability.title.removeprefix("Device Serial Number "))
        if field == "express":
            _compare_express_title(comparison, space, capability, function.bdf)
        for register, text in capability.registers.items():
            _compare_register(comparison, function.bdf, register, text, ours_by_place, capability.offset)
        if field == "express":
            for register in EXPRESS_REGISTERS:
                if (capability.offset, register) in ours_by_place and register not in capability.registers:
                    assert isinstance(space.express, PciExpress)
                    ours = ours_by_place[capability.offset, register]
                    comparison.differ(function.bdf, register, "", ours, MISSING, space.express.port_type)


def _compare_register(
    comparison: Comparison,
    bdf: str,
    register: str,
    text: str,
    ours_by_place: dict[tuple[int, str], dict[str, Any]],
    offset: int,
) -> None:
    theirs = read_register(register, text)
    ours = ours_by_place.get((offset, register))
    if ours is None:
        if register not in NOT_DECODED_REGISTERS:
            comparison.differ(bdf, register, "", MISSING, text)
        return
    for name, value in theirs.items():
        if (register, name) in NOT_DECODED:
            continue
        if name not in ours:
            comparison.differ(bdf, register, name, MISSING, value)
            continue
        comparison.add(bdf, register, name, ours[name], value)


def _compare_express_title(comparison: Comparison, space: ConfigSpace, capability: Capability, bdf: str) -> None:
    names = {
        "endpoint": "Endpoint",
        "legacy-endpoint": "Legacy Endpoint",
        "root-port": "Root Port",
        "upstream-port": "Upstream Port",
        "downstream-port": "Downstream Port",
        "pcie-to-pci-bridge": "PCI-Express to PCI/PCI-X Bridge",
        "pci-to-pcie-bridge": "PCI/PCI-X to PCI-Express Bridge",
        "integrated-endpoint": "Root Complex Integrated Endpoint",
        "event-collector": "Root Complex Event Collector",
        "reserved": "Unknown type",
    }
    assert isinstance(space.express, PciExpress)
    match = re.match(
        r"Express \(v(\d+)\) (.*?)(?: \d+)?(?: \(Slot([+-])\))?, (?:MSI|IntMsgNum) ([0-9a-f]+)", capability.title
    )
    assert match, capability.title
    version, kind, slot, message = match.groups()
    comparison.add(bdf, "express", "version", space.express.version, int(version))
    comparison.add(bdf, "express", "type", names[space.express.port_type], kind)
    base = 10 if "IntMsgNum" in capability.title else 16
    comparison.add(bdf, "express", "message", space.express.interrupt_message, int(message, base))
    if slot:
        comparison.add(bdf, "express", "slot", space.express.slot_implemented, slot == "+")

"""Register texts of lspci turned into the fields of `LspciFunction`.

Every function takes a register's text with its continuation lines joined, of any pciutils from 3.1 on, and gives what
it finds; what is not there is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from boxcheck.decode.lspci_lines import FLAG
from boxcheck.decode.lspci_types import LspciRebar, LspciRegion, RegionState
from boxcheck.decode.pci_aer import (
    AER_CORRECTABLE,
    AER_CORRECTABLE_BIT,
    AER_UNCORRECTABLE,
    AER_UNCORRECTABLE_BIT,
)
from boxcheck.decode.text import clean_text

Facts = dict[str, Any]

PORT_TYPES = {
    "Endpoint": "endpoint", "Legacy Endpoint": "legacy-endpoint", "Root Port": "root-port",
    "Upstream Port": "upstream-port", "Downstream Port": "downstream-port",
    "PCI-Express to PCI/PCI-X Bridge": "pcie-to-pci-bridge", "PCI/PCI-X to PCI-Express Bridge": "pci-to-pcie-bridge",
    "Root Complex Integrated Endpoint": "integrated-endpoint", "Root Complex Event Collector": "event-collector",
}  # fmt: skip
_TITLE = re.compile(r"Express \(v\d{1,2}\) ([A-Z][\w /-]{3,50}?)(?: \(Slot([+-])\))?,")
_SPEED = re.compile(r"Speed ([\d.]{1,5}|[Uu]nknown)(?:GT/s)?(?: \((\w{2,12})\))?")
_WIDTH = re.compile(r"Width x(\d{1,3})(?: \((\w{2,12})\))?")
_TARGET = re.compile(r"Target Link Speed: ([\d.]{1,5})GT/s")
_SUPPORTED = re.compile(r"Supported Link Speeds: (?:[\d.]{1,5}-)?([\d.]{1,5})GT/s")
_SLOT = re.compile(r"Slot #(\d{1,5})")
_POWER = re.compile(r"PowerLimit ([\d.]{1,8})W")
_SIZE = re.compile(r"\[size=(\d{1,6})([KMGT]?)\]")
_REGION = re.compile(r"(?:Region ([0-5]): )?(?:\[virtual\] )?(Memory|I/O ports) at (\S{1,40})(.{0,300})")
_BUS = re.compile(r"primary=([0-9a-f]{2}), secondary=([0-9a-f]{2}), subordinate=([0-9a-f]{2})")
_BAR = re.compile(r"current size: (\d{1,4})([MGTPE]B)(?:, supported:((?: \d{1,4}[MGTPE]B){1,48}))?")
_SOURCES = re.compile(r"ERR_COR: ([0-9a-f]{4}) ERR_FATAL/NONFATAL: ([0-9a-f]{4})")
_REASON = re.compile(r"Reason:([0-9a-f]{2})")
_LANES = re.compile(r"LaneErr at lane:((?: \d{1,2}){1,32})")
_SERIAL = re.compile(r"Device Serial Number ((?:[0-9a-f]{2}-){7}[0-9a-f]{2})")
_POWER_STATE = re.compile(r"(D[0-3])\b")
_NUMA = re.compile(r"NUMA node (\d{1,5})")
_IOMMU = re.compile(r"IOMMU group (\d{1,5})")

_BINARY = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_UNITS = {"MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40, "PB": 1 << 50, "EB": 1 << 60}
"""lspci says MB and means MiB (ls-ecaps.c, cap_rebar)."""
_STATES: Mapping[str, RegionState] = {
    "<ignored>": "ignored", "<unassigned>": "unassigned", "<broken-64-bit-slot>": "broken",
    "<invalid-64-bit-slot>": "broken",
}  # fmt: skip


def flags(text: str) -> dict[str, bool]:
    """`DLActive+ Train-` as booleans; of a name that stands twice the first counts."""
    found: dict[str, bool] = {}
    for name, sign in FLAG.findall(text):
        found.setdefault(name, sign == "+")
    return found


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _pick(text: str, names: Mapping[str, str]) -> Facts:
    """lspci's flag names -> our fields, for those that the text has."""
    found = flags(text)
    return {field: found[name] for name, field in names.items() if name in found}


def express_title(title: str) -> Facts:
    """`Express (v2) Root Port (Slot+), MSI 00`."""
    match = _TITLE.match(title + ",")
    if match is None or match[1] not in PORT_TYPES:
        return {}
    facts: Facts = {"port_type": PORT_TYPES[match[1]]}
    if match[2]:
        facts["slot_implemented"] = match[2] == "+"
    return facts


def _link_cap(text: str) -> Facts:
    facts = _pick(text, {"LLActRep": "dll_reporting"})
    if match := _SPEED.search(text):
        facts["max_speed_gts"] = _number(match[1])
    if match := _WIDTH.search(text):
        facts["max_width"] = int(match[1])
    return facts


def _link_sta(text: str) -> Facts:
    facts = _pick(text, {"Train": "training", "DLActive": "dll_active"})
    if match := _SPEED.search(text):
        facts["speed_gts"], facts["speed_mark"] = _number(match[1]), match[2]
    if match := _WIDTH.search(text):
        facts["width"], facts["width_mark"] = int(match[1]), match[2]
    return facts


def _link_ctl2(text: str) -> Facts:
    match = _TARGET.search(text)
    return {"target_speed_gts": _number(match[1])} if match else {}


def _link_cap2(text: str) -> Facts:
    match = _SUPPORTED.search(text)
    return {"top_speed_gts": _number(match[1])} if match else {}


def _slot_cap(text: str) -> Facts:
    facts = _pick(text, {"HotPlug": "hot_plug"})
    if match := _SLOT.search(text):
        facts["slot_number"] = int(match[1])
    if match := _POWER.search(text):
        facts["slot_power_watts"] = _number(match[1])
    return facts


def _dev_ctl(text: str) -> Facts:
    # `Report errors: Correctable-` before 3.6, `CorrErr-` since.
    return _pick(text, {"CorrErr": "correctable_reporting", "Correctable": "correctable_reporting"})


def _dev_cap2(text: str) -> Facts:
    part = text.partition("AtomicOpsCap:")[2]
    return _pick(part, {"Routing": "atomic_routing", "32bit": "atomic_32bit", "64bit": "atomic_64bit"})


def _dev_ctl2(text: str) -> Facts:
    part = text.partition("AtomicOpsCtl:")[2]
    return _pick(part, {"ReqEn": "atomic_requester", "EgressBlck": "atomic_egress_blocked"})


def _aer(field: str, names: Mapping[int, str], bits: Mapping[str, int]) -> Callable[[str], Facts]:
    def read(text: str) -> Facts:
        found = flags(text)
        numbers = sorted(bits[name] for name, is_set in found.items() if is_set and name in bits)
        return {field: tuple(names[number] for number in numbers)} if any(name in bits for name in found) else {}

    return read


def _error_source(text: str) -> Facts:
    match = _SOURCES.search(text)
    return {"correctable_source": int(match[1], 16), "uncorrectable_source": int(match[2], 16)} if match else {}


def _acs(text: str) -> Facts:
    found = flags(text)
    return {"acs_enabled": tuple(name for name, is_set in found.items() if is_set)} if found else {}


def _dpc(text: str) -> Facts:
    facts = _pick(text, {"Trigger": "dpc_triggered"})
    if match := _REASON.search(text):
        facts["dpc_reason"] = int(match[1], 16)
    return facts


def _lanes(text: str) -> Facts:
    if text.strip() == "0":
        return {"lane_errors": ()}
    match = _LANES.search(text)
    return {"lane_errors": tuple(int(lane) for lane in match[1].split())} if match else {}


def _root_sta(text: str) -> Facts:
    return _pick(text, {"CERcvd": "correctable_received"})


REGISTERS: Mapping[str, Callable[[str], Facts]] = {
    "LnkCap": _link_cap,
    "LnkCtl": lambda text: _pick(text, {"LnkDisable": "link_disabled", "Disabled": "link_disabled"}),
    "LnkSta": _link_sta,
    "LnkCap2": _link_cap2,
    "LnkCtl2": _link_ctl2,
    "LnkSta2": lambda text: _pick(text, {"Retimer": "retimer"}),
    "SltCap": _slot_cap,
    "SltCtl": lambda text: _pick(text, {"Power": "power_off"}),
    "SltSta": lambda text: _pick(text.partition("Changed:")[0], {"PresDet": "presence"}),
    "DevCtl": _dev_ctl,
    "DevCap2": _dev_cap2,
    "DevCtl2": _dev_ctl2,
    "AtomicOpsCap": lambda text: _dev_cap2("AtomicOpsCap:" + text),
    "AtomicOpsCtl": lambda text: _dev_ctl2("AtomicOpsCtl:" + text),
    "UESta": _aer("uncorrectable_status", AER_UNCORRECTABLE, AER_UNCORRECTABLE_BIT),
    "UEMsk": _aer("uncorrectable_mask", AER_UNCORRECTABLE, AER_UNCORRECTABLE_BIT),
    "UESvrt": _aer("uncorrectable_severity", AER_UNCORRECTABLE, AER_UNCORRECTABLE_BIT),
    "CESta": _aer("correctable_status", AER_CORRECTABLE, AER_CORRECTABLE_BIT),
    "CEMsk": _aer("correctable_mask", AER_CORRECTABLE, AER_CORRECTABLE_BIT),
    "RootCmd": lambda text: _pick(text, {"CERptEn": "root_correctable_interrupt"}),
    "RootSta": _root_sta,
    "ErrorSrc": _error_source,
    "ACSCtl": _acs,
    "DpcSta": _dpc,
    "LaneErrStat": _lanes,
}


def header(key: str, text: str) -> Facts:
    """A line of the header: Control, Bus, Flags of -v, Physical Slot, the driver."""
    match key:
        case "Control":
            return _pick(text, {"Mem": "memory_enabled"})
        case "Bus":
            buses = _BUS.match(text)
            names = ("primary_bus", "secondary_bus", "subordinate_bus")
            return {name: int(value, 16) for name, value in zip(names, buses.groups(), strict=True)} if buses else {}
        case "Flags":
            facts: Facts = {}
            if numa := _NUMA.search(text):
                facts["numa_node"] = int(numa[1])
            if group := _IOMMU.search(text):
                facts["iommu_group"] = int(group[1])
            return facts
        case "NUMA node" | "IOMMU group":
            field = "numa_node" if key == "NUMA node" else "iommu_group"
            return {field: int(text)} if text.isascii() and text.isdigit() and len(text) <= 6 else {}
        case "Physical Slot":
            return {"physical_slot": clean_text(text, 64)} if text else {}
        case "Kernel driver in use" | "Driver in use":
            return {"driver": clean_text(text, 64)} if text else {}
        case "Kernel modules":
            return {"modules": tuple(clean_text(name.strip(), 64) for name in text.split(",")[:16] if name.strip())}
        case "PM Status":
            state = _POWER_STATE.match(text)
            return {"power_state": "D3hot" if state[1] == "D3" else state[1]} if state else {}
    return {}


def serial(title: str) -> Facts:
    """`Device Serial Number 00-0e-df-10-b5-97-00-aa`, the title of that capability."""
    match = _SERIAL.match(title)
    return {"serial": match[1]} if match else {}


def rebar(lines: Mapping[int, str]) -> tuple[LspciRebar, ...]:
    """The lines `BAR 1: current size: 256MB, supported: 64MB 128MB 256MB`, by BAR number."""
    found = []
    for bar, text in lines.items():
        match = _BAR.match(text)
        if match is None:
            continue
        supported = [_unit_size(word) for word in (match[3] or "").split()]
        found.append(LspciRebar(
            bar=bar, current_size_bytes=int(match[1]) * _UNITS[match[2]],
            supported_sizes_bytes=tuple(size for size in supported if size)))
    return tuple(found)


def _unit_size(word: str) -> int:
    return int(word[:-2]) * _UNITS[word[-2:]]


def regions(texts: list[str]) -> tuple[LspciRegion, ...]:
    """The lines `Region 1: Memory at ...`; without numbers (-v) they are counted through."""
    found: list[LspciRegion] = []
    following = 0
    for text in texts[:6]:
        match = _REGION.match(text)
        if match is None:
            continue
        place, rest = match[3], match[4]
        index = int(match[1]) if match[1] else following
        following = index + (2 if "64-bit" in rest else 1)
        state: RegionState = "virtual" if "[virtual]" in text else _STATES.get(place, "assigned")
        size = _SIZE.search(rest)
        found.append(LspciRegion(
            index=index, memory=match[2] == "Memory", state=state,
            size_bytes=int(size[1]) * _BINARY[size[2]] if size else None,
            prefetchable=None if match[2] != "Memory" or "prefetchable" not in rest else "non-prefetchable" not in rest,
            disabled="[disabled]" in rest))
    return tuple(found)

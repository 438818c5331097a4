"""PCI configuration space: header, capability lists and everything boxcheck knows inside them.

The kernel gives an ordinary user the first 64 bytes (128 of a CardBus bridge), root the first 256, and 4096 where the
device has an extended space (`drivers/pci/pci-sysfs.c`). What was not given is `Unread`, never absent:

* None: the list was read to its end and the capability is not there.
* `Unread("permission")`: the list lies beyond the bytes an ordinary user gets.
* `Unread("unsupported")`: a PCI Express function of which only 256 bytes could be read.
* `Unread("malformed")`: the list loops, points where it cannot, or a capability is cut off.
* `Unread("error")`: the device does not answer (all bits read as ones).

A capability that was found before its list broke is decoded; only those not found are then unread.
Nothing here raises on any bytes, or takes longer than the lists can be long.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct as Layout
from typing import Any, Literal

import msgspec

from boxcheck.decode import pci_extended as ext
from boxcheck.decode.pci_aer import AER_BYTES, AER_ROOT_BYTES, AerCapability, decode_aer
from boxcheck.decode.pci_bridge import Bridge, decode_bridge
from boxcheck.decode.pci_dump import parse_hex_dump
from boxcheck.decode.pci_express import WITH_ROOT_REGISTERS, PciExpress, decode_express, express_bytes
from boxcheck.decode.pci_redact import redact_config
from boxcheck.decode.pci_walk import (
    CONVENTIONAL_BYTES,
    EXTENDED_BYTES,
    HEADER_BYTES,
    walk_capabilities,
    walk_extended,
)
from boxcheck.model import Unread

__all__ = ["ConfigSpace", "PowerManagement", "decode_config", "parse_hex_dump", "redact_config"]

CAP_PM = 0x01
CAP_VPD = 0x03
CAP_PCIX = 0x07
CAP_SSVID = 0x0D
CAP_EXPRESS = 0x10

EXT_AER = 0x0001
EXT_SERIAL = 0x0003
EXT_ACS = 0x000D
EXT_REBAR = 0x0015
EXT_LTR = 0x0018
EXT_SECONDARY = 0x0019
EXT_DPC = 0x001D
EXT_L1SS = 0x001E
EXT_VF_REBAR = 0x0024
EXT_PHY16 = 0x0026
EXT_MARGINING = 0x0027
EXT_PHY32 = 0x002A
EXT_PHY64 = 0x0031

PowerState = Literal["D0", "D1", "D2", "D3hot"]
_POWER_STATES: tuple[PowerState, ...] = ("D0", "D1", "D2", "D3hot")


class PowerManagement(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """PCI Power Management (capability 0x01). D3cold cannot be read: the device would not answer."""

    state: PowerState
    no_soft_reset: bool
    """The device keeps its configuration on the way from D3hot to D0."""
    pme_enabled: bool
    pme_status: bool


class ConfigSpace(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One function's configuration space. See the module for what None and Unread mean in the fields below `size`."""

    vendor: int
    device: int
    revision: int
    class_code: int
    """24 bits: class, subclass, programming interface."""
    header_type: int
    """0 endpoint, 1 bridge, 2 CardBus bridge."""
    multifunction: bool
    command: int
    status: int
    bars: tuple[int, ...]
    """The raw dwords: six of an endpoint, two of a bridge, one of a CardBus bridge, none of an unknown header."""
    all_ones: bool
    """The device is gone: vendor, device, class and revision all read as ones, and every other value here is noise.

    0xffff for vendor and device alone is no fault: it is what an SR-IOV virtual function answers."""
    size: int
    """Bytes read, at most 4096."""
    subsystem_vendor: int | Unread | None
    subsystem_device: int | Unread | None
    bridge: Bridge | None
    """None on everything but a PCI-to-PCI bridge."""
    capabilities: tuple[tuple[int, int], ...] | Unread
    """(id, offset) in list order."""
    extended: tuple[tuple[int, int, int], ...] | Unread
    """(id, version, offset) in list order; empty where the function has no extended configuration space."""
    express: PciExpress | Unread | None
    power: PowerManagement | Unread | None
    vpd: bool | Unread
    """Whether there is a Vital Product Data capability."""
    aer: AerCapability | Unread | None
    acs: ext.AcsCapability | Unread | None
    rebar: tuple[ext.ResizableBar, ...] | Unread | None
    vf_rebar: tuple[ext.ResizableBar, ...] | Unread | None
    dpc: ext.DpcCapability | Unread | None
    l1ss: ext.L1Substates | Unread | None
    secondary: ext.SecondaryPcie | Unread | None
    phy16: ext.Phy16 | Unread | None
    phy32: ext.Phy32 | Unread | None
    phy64: ext.Phy64 | Unread | None
    margining: ext.Margining | Unread | None
    ltr: ext.Ltr | Unread | None
    serial: str | Unread | None

    @property
    def virtual_function(self) -> bool:
        """An SR-IOV virtual function: it answers 0xffff as its vendor, and its link registers are reserved zeros."""
        return self.vendor == 0xFFFF and not self.all_ones

    @property
    def io_enabled(self) -> bool:
        return bool(self.command & 0x0001)

    @property
    def memory_enabled(self) -> bool:
        """Off means that the BARs do not answer: no driver has taken the device, or it was reset since."""
        return bool(self.command & 0x0002)

    @property
    def bus_master_enabled(self) -> bool:
        return bool(self.command & 0x0004)

    @property
    def serr_enabled(self) -> bool:
        return bool(self.command & 0x0100)


_GONE = Unread("the device does not answer, its configuration space reads all ones", "error")
_NOT_READY = Unread("the device is not ready, it answers configuration reads with retry status", "error")
_SHORT = Unread(
    "only the first 256 bytes of configuration space are readable, extended capabilities lie above", "unsupported"
)

_HEADER = Layout("<HHHHIBBBB")  # vendor device command status class+revision, 0x0c to 0x0f
_BARS: dict[int, Layout] = {0: Layout("<6I"), 1: Layout("<2I"), 2: Layout("<I")}
_U16X2 = Layout("<HH")
_U32 = Layout("<I")

_Decoder = Callable[[bytes, int], Any]

# Extended capability id -> field of ConfigSpace, length that must be there, decoder. AER and the two Resizable BARs
# depend on more than their id and are handled apart.
_EXTENDED: dict[int, tuple[str, int, _Decoder]] = {
    EXT_SERIAL: ("serial", 0x0C, ext.decode_serial),
    EXT_ACS: ("acs", 0x08, ext.decode_acs),
    EXT_LTR: ("ltr", 0x08, ext.decode_ltr),
    EXT_SECONDARY: ("secondary", 0x0C, ext.decode_secondary),
    EXT_DPC: ("dpc", 0x0C, ext.decode_dpc),
    EXT_L1SS: ("l1ss", 0x10, ext.decode_l1ss),
    EXT_PHY16: ("phy16", 0x1C, ext.decode_phy16),
    EXT_MARGINING: ("margining", 0x08, ext.decode_margining),
    EXT_PHY32: ("phy32", 0x10, ext.decode_phy32),
    EXT_PHY64: ("phy64", 0x10, ext.decode_phy64),
}
_REBAR = {EXT_REBAR: "rebar", EXT_VF_REBAR: "vf_rebar"}
_EXTENDED_FIELDS = ("aer", *_REBAR.values(), *(field for field, _, _ in _EXTENDED.values()))


def decode_config(data: bytes) -> ConfigSpace | Unread:
    """Decode what `/sys/bus/pci/devices/*/config` gave, or a hex dump of it.

    Returns `Unread("malformed")` when not even the 64 bytes of the header are there. Bytes after 4096 are ignored.
    """
    size = min(len(data), EXTENDED_BYTES)
    if size < HEADER_BYTES:
        return Unread(f"configuration space is {size} bytes, its header alone has {HEADER_BYTES}", "malformed")

    vendor, device, command, status, class_revision, _, _, header_type, _ = _HEADER.unpack_from(data)
    layout = header_type & 0x7F
    all_ones = vendor == 0xFFFF and class_revision == 0xFFFF_FFFF
    dead = _GONE if all_ones else _NOT_READY if (vendor, device) == (0x0001, 0xFFFF) else None
    fields = _decode_dead(dead) if dead is not None else _decode_lists(data, size, layout, status)
    return ConfigSpace(
        vendor=vendor,
        device=device,
        revision=class_revision & 0xFF,
        class_code=class_revision >> 8,
        header_type=layout,
        multifunction=bool(header_type & 0x80),
        command=command,
        status=status,
        bars=_BARS[layout].unpack_from(data, 0x10) if layout in _BARS else (),
        all_ones=all_ones,
        size=size,
        bridge=decode_bridge(data) if layout == 1 else None,
        **fields,
    )


def _decode_dead(dead: Unread) -> dict[str, Any]:
    names = ("subsystem_vendor", "subsystem_device", "capabilities", "extended", "express", "power", "vpd")
    return dict.fromkeys((*names, *_EXTENDED_FIELDS), dead)


def _decode_lists(data: bytes, size: int, layout: int, status: int) -> dict[str, Any]:
    entries, broken = walk_capabilities(data, layout, status)
    where: dict[int, int] = {}
    for capability, offset in entries:
        where.setdefault(capability, offset)

    conventional = min(size, CONVENTIONAL_BYTES)
    fields: dict[str, Any] = {"capabilities": tuple(entries) if broken is None else broken}
    fields["vpd"] = True if CAP_VPD in where else False if broken is None else broken
    fields["power"] = _if_there(where.get(CAP_PM), data, 8, conventional, broken, _decode_power)
    fields["subsystem_vendor"], fields["subsystem_device"] = _subsystem(data, layout, where, conventional, broken)

    express: PciExpress | Unread | None = broken
    offset = where.get(CAP_EXPRESS, 0)
    if offset:
        # The walk has seen the first two bytes only; the flags behind them say how long the capability is.
        needed = 4 if offset + 4 > conventional else express_bytes(data[offset + 2] | data[offset + 3] << 8)
        express = _if_there(offset, data, needed, conventional, broken, decode_express)
    fields["express"] = express

    _decode_extended(fields, data, size, where, broken)
    return fields


def _decode_extended(
    fields: dict[str, Any], data: bytes, size: int, where: dict[int, int], broken: Unread | None
) -> None:
    chain: list[tuple[int, int, int]] = []
    stop = None
    if CAP_EXPRESS in where or _is_pcix_mode2(data, where.get(CAP_PCIX), size):
        if size <= CONVENTIONAL_BYTES:
            stop = _SHORT if size == CONVENTIONAL_BYTES else _cut_off(CONVENTIONAL_BYTES, size)
        else:
            chain, stop = walk_extended(data)
    elif broken is not None:
        stop = broken  # Whether this function has an extended space at all is what the broken list would have told.

    fields["extended"] = tuple(chain) if stop is None else stop
    for name in _EXTENDED_FIELDS:
        fields[name] = stop
    seen = set()
    for capability, version, offset in chain:
        if capability in seen:
            continue
        seen.add(capability)
        if capability in _EXTENDED:
            name, needed, decoder = _EXTENDED[capability]
            fields[name] = decoder(data, offset) if offset + needed <= size else _cut_off(offset, size)
        elif capability == EXT_AER:
            express = fields["express"]
            has_root = isinstance(express, PciExpress) and express.port_type in WITH_ROOT_REGISTERS
            needed = AER_ROOT_BYTES if has_root else AER_BYTES
            whole = offset + needed <= size
            fields["aer"] = decode_aer(data, offset, version, has_root) if whole else _cut_off(offset, size)
        elif capability in _REBAR:
            fields[_REBAR[capability]] = _rebar(data, offset, size)


def _rebar(data: bytes, offset: int, size: int) -> tuple[ext.ResizableBar, ...] | Unread:
    if offset + 12 > size:
        return _cut_off(offset, size)
    count = ext.rebar_count(data, offset)
    if count == 0:
        return Unread(f"the Resizable BAR capability at {offset:#x} does not say 1 to 6 BARs", "malformed")
    return ext.decode_rebar(data, offset, count) if offset + 4 + 8 * count <= size else _cut_off(offset, size)


def _if_there(
    offset: int | None, data: bytes, needed: int, limit: int, broken: Unread | None, decoder: _Decoder
) -> Any:
    if offset is None:
        return broken
    return decoder(data, offset) if offset + needed <= limit else _cut_off(offset, limit)


def _cut_off(offset: int, size: int) -> Unread:
    return Unread(f"the capability at {offset:#x} is cut off, configuration space ends at {size:#x}", "malformed")


def _decode_power(data: bytes, offset: int) -> PowerManagement:
    control = data[offset + 4] | data[offset + 5] << 8
    return PowerManagement(
        state=_POWER_STATES[control & 3],
        no_soft_reset=bool(control & 0x0008),
        pme_enabled=bool(control & 0x0100),
        pme_status=bool(control & 0x8000),
    )


def _subsystem(
    data: bytes, layout: int, where: dict[int, int], limit: int, broken: Unread | None
) -> tuple[int | Unread | None, int | Unread | None]:
    """Endpoints have the subsystem ids in their header, CardBus bridges just after it, bridges in a capability."""
    if layout == 0:
        return _U16X2.unpack_from(data, 0x2C)
    at = 0x40 if layout == 2 else where[CAP_SSVID] + 4 if CAP_SSVID in where else None
    if at is None:
        return broken, broken
    if at + 4 > limit:
        missing = _cut_off(at, limit)
        return missing, missing
    return _U16X2.unpack_from(data, at)


def _is_pcix_mode2(data: bytes, offset: int | None, size: int) -> bool:
    """PCI-X at 266 or 533 MHz, the only conventional bus with an extended space (Linux, `pci_cfg_space_size`)."""
    if offset is None or offset + 8 > min(size, CONVENTIONAL_BYTES):
        return False
    (status,) = _U32.unpack_from(data, offset + 4)
    return bool(status & 0xC000_0000)

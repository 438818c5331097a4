"""The PCI Express capability (0x10): device and root registers, and which registers a function has.

Offsets and bits are those of the PCI Express Base Specification, section 7.5.3, named as in Linux'
`include/uapi/linux/pci_regs.h`. Which registers exist depends on the port type and the capability version: a register
that the specification does not define for this function is None, whatever its bytes say.
"""

from __future__ import annotations

from struct import Struct as Layout
from typing import Literal

import msgspec

from boxcheck.decode.pci_link import (
    L0S_EXIT_NS,
    L1_EXIT_NS,
    LinkCap,
    LinkCap2,
    LinkControl,
    LinkCtl2,
    LinkSta2,
    LinkStatus,
    decode_link_cap,
    decode_link_cap2,
    decode_link_ctl,
    decode_link_ctl2,
    decode_link_sta,
    decode_link_sta2,
)
from boxcheck.decode.pci_slot import (
    SlotCap,
    SlotCtl,
    SlotSta,
    decode_slot_cap,
    decode_slot_ctl,
    decode_slot_sta,
    power_limit_watts,
)

PortType = Literal[
    "endpoint",
    "legacy-endpoint",
    "root-port",
    "upstream-port",
    "downstream-port",
    "pcie-to-pci-bridge",
    "pci-to-pcie-bridge",
    "integrated-endpoint",
    "event-collector",
    "reserved",
]

PORT_TYPES: dict[int, PortType] = {
    0x0: "endpoint",
    0x1: "legacy-endpoint",
    0x4: "root-port",
    0x5: "upstream-port",
    0x6: "downstream-port",
    0x7: "pcie-to-pci-bridge",
    0x8: "pci-to-pcie-bridge",
    0x9: "integrated-endpoint",
    0xA: "event-collector",
}

_WITHOUT_LINK = frozenset({"integrated-endpoint", "event-collector"})
WITH_ROOT_REGISTERS: frozenset[str] = frozenset({"root-port", "event-collector"})
_DOWNSTREAM: frozenset[str] = frozenset({"root-port", "downstream-port", "pci-to-pcie-bridge"})
_ENDPOINTS = frozenset({"endpoint", "legacy-endpoint"})
_WITH_FLR = _ENDPOINTS | {"integrated-endpoint"}
_WITH_POWER_LIMIT = frozenset({"endpoint", "upstream-port", "pcie-to-pci-bridge"})

_PAYLOAD = (128, 256, 512, 1024, 2048, 4096, None, None)

_TIMEOUT_RANGES = {1: "A", 2: "B", 3: "AB", 6: "BC", 7: "ABC", 14: "BCD", 15: "ABCD"}
COMPLETION_TIMEOUT_US: dict[int, tuple[int, int]] = {
    0: (50, 50_000),
    1: (50, 100),
    2: (1_000, 10_000),
    5: (16_000, 55_000),
    6: (65_000, 210_000),
    9: (260_000, 900_000),
    10: (1_000_000, 3_500_000),
    13: (4_000_000, 13_000_000),
    14: (17_000_000, 64_000_000),
}
"""Completion Timeout Value of DevCtl2 -> (shortest, longest) in microseconds."""

Obff = Literal["message", "wake", "message+wake", "message-a", "message-b"]
_OBFF_CAP: tuple[Obff | None, ...] = (None, "message", "wake", "message+wake")
_OBFF_CTL: tuple[Obff | None, ...] = (None, "message-a", "message-b", "wake")


class DevCap(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    max_payload_bytes: int | None
    """None for a reserved code."""
    phantom_functions: int
    extended_tag: bool
    l0s_latency_ns: int | None
    l1_latency_ns: int | None
    """Acceptable exit latency, endpoints only: None elsewhere and for `no limit`."""
    role_based_error_reporting: bool
    slot_power_limit_watts: float | None
    """What the slot granted this card (Set_Slot_Power_Limit); None where undefined or only known as above 600 W."""
    function_level_reset: bool | None
    """None where the port type has no such bit."""
    tee_io: bool


class DevCtl(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    correctable_reporting: bool
    nonfatal_reporting: bool
    fatal_reporting: bool
    unsupported_reporting: bool
    relaxed_ordering: bool
    max_payload_bytes: int | None
    extended_tag: bool
    phantom_functions: bool
    aux_power: bool
    no_snoop: bool
    max_read_request_bytes: int | None
    bridge_config_retry: bool | None
    """PCIe-to-PCI bridges only."""


class DevSta(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    correctable: bool
    nonfatal: bool
    fatal: bool
    unsupported_request: bool
    """Errors detected since the bit was last cleared, reported or not."""
    aux_power: bool
    transactions_pending: bool


class RootCtl(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    system_error_on_correctable: bool
    system_error_on_nonfatal: bool
    system_error_on_fatal: bool
    pme_interrupt: bool
    crs_visible: bool


class RootCap(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    crs_visible: bool


class RootSta(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    pme_requester: int
    """Requester id; see `pci_aer.requester_bdf`."""
    pme_status: bool
    pme_pending: bool


class DevCap2(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    completion_timeout_ranges: str | None
    """Letters of the programmable ranges (`ABCD`), empty when not programmable, None for a reserved code."""
    completion_timeout_disable: bool
    ari_forwarding: bool
    atomic_routing: bool
    """Root and switch ports: AtomicOps pass through."""
    atomic_32bit: bool
    atomic_64bit: bool
    atomic_cas128: bool
    """AtomicOps this function completes."""
    no_ro_pr_passing: bool
    ltr: bool
    tph_completer: int
    tag10_completer: bool
    tag10_requester: bool
    obff: Obff | None
    extended_fmt: bool
    end_end_prefix: bool
    max_end_end_prefixes: int
    emergency_power_reduction: int
    emergency_power_reduction_init: bool
    frs: bool


class DevCtl2(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    completion_timeout_us: tuple[int, int] | None
    """Shortest and longest, None for a reserved code."""
    completion_timeout_disabled: bool
    ari_forwarding: bool
    atomic_requester: bool
    """This function may send AtomicOps."""
    atomic_egress_blocked: bool
    ido_request: bool
    ido_completion: bool
    ltr: bool
    emergency_power_reduction_request: bool
    tag10_requester: bool
    obff: Obff | None
    end_end_prefix_blocked: bool


class PciExpress(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The PCI Express capability. A register that is None is not defined for this port type and version."""

    offset: int
    version: int
    port_type: PortType
    slot_implemented: bool
    """Meaningful on downstream ports: a slot, not a soldered chip, hangs on this port."""
    interrupt_message: int
    flit_supported: bool
    dev_cap: DevCap
    dev_ctl: DevCtl
    dev_sta: DevSta
    link_cap: LinkCap | None = None
    link_ctl: LinkControl | None = None
    link_sta: LinkStatus | None = None
    slot_cap: SlotCap | None = None
    slot_ctl: SlotCtl | None = None
    slot_sta: SlotSta | None = None
    root_ctl: RootCtl | None = None
    root_cap: RootCap | None = None
    root_sta: RootSta | None = None
    dev_cap2: DevCap2 | None = None
    dev_ctl2: DevCtl2 | None = None
    link_cap2: LinkCap2 | None = None
    link_ctl2: LinkCtl2 | None = None
    link_sta2: LinkSta2 | None = None

    @property
    def is_downstream(self) -> bool:
        """Whether the link's other end is further from the CPU: root ports and the lower side of switches."""
        return self.port_type in _DOWNSTREAM

    @property
    def max_speed_gts(self) -> float | None:
        """The fastest speed of this port: LnkCap2's vector where it is set, else LnkCap. None without a link."""
        if self.link_cap2 is not None and self.link_cap2.supported_speeds_gts:
            return self.link_cap2.supported_speeds_gts[-1]
        return self.link_cap.max_speed_gts if self.link_cap is not None else None


_DEVICE = Layout("<HIHH")  # flags, DevCap, DevCtl, DevSta, from offset 2
_LINK = Layout("<IHH")  # LnkCap, LnkCtl, LnkSta, from offset 0x0c
_SLOT = Layout("<IHH")  # SltCap, SltCtl, SltSta, from offset 0x14
_ROOT = Layout("<HHI")  # RootCtl, RootCap, RootSta, from offset 0x1c
_DEVICE2 = Layout("<IH")  # DevCap2, DevCtl2, from offset 0x24
_LINK2 = Layout("<IHH")  # LnkCap2, LnkCtl2, LnkSta2, from offset 0x2c


def express_bytes(flags: int) -> int:
    """Length of the registers that a capability with these flags (the word at offset 2) must have."""
    port_type = PORT_TYPES.get(flags >> 4 & 0xF, "reserved")
    linked = port_type not in _WITHOUT_LINK
    if flags & 0xF >= 2:
        return 0x34 if linked else 0x2C
    if port_type in WITH_ROOT_REGISTERS:
        return 0x24
    if port_type in _DOWNSTREAM and flags & 0x0100:
        return 0x1C
    return 0x14 if linked else 0x0C


def decode_express(data: bytes, offset: int) -> PciExpress:
    """The capability at `offset`. The caller has checked that `express_bytes` are there."""
    flags, dev_cap, dev_ctl, dev_sta = _DEVICE.unpack_from(data, offset + 2)
    version = flags & 0xF
    port_type = PORT_TYPES.get(flags >> 4 & 0xF, "reserved")
    slot_implemented = bool(flags & 0x0100)
    link_cap = link_ctl = link_sta = slot_cap = slot_ctl = slot_sta = root_ctl = root_cap = root_sta = None
    dev_cap2 = dev_ctl2 = link_cap2 = link_ctl2 = link_sta2 = None

    if port_type not in _WITHOUT_LINK:
        capability, control, status = _LINK.unpack_from(data, offset + 0x0C)
        link_cap = decode_link_cap(capability)
        link_ctl = decode_link_ctl(control, port_type)
        link_sta = decode_link_sta(status)
        if version >= 2:
            capability, control, status = _LINK2.unpack_from(data, offset + 0x2C)
            link_cap2 = decode_link_cap2(capability)
            link_ctl2 = decode_link_ctl2(control, link_cap.max_speed_code)
            link_sta2 = decode_link_sta2(status)
    if slot_implemented and port_type in _DOWNSTREAM:
        capability, control, status = _SLOT.unpack_from(data, offset + 0x14)
        slot_cap = decode_slot_cap(capability)
        slot_ctl = decode_slot_ctl(control)
        slot_sta = decode_slot_sta(status)
    if port_type in WITH_ROOT_REGISTERS:
        control, capability, status = _ROOT.unpack_from(data, offset + 0x1C)
        root_ctl = _root_ctl(control)
        root_cap = RootCap(crs_visible=bool(capability & 1))
        root_sta = RootSta(
            pme_requester=status & 0xFFFF, pme_status=bool(status & 0x10000), pme_pending=bool(status & 0x20000)
        )
    if version >= 2:
        capability, control = _DEVICE2.unpack_from(data, offset + 0x24)
        dev_cap2 = _dev_cap2(capability)
        dev_ctl2 = _dev_ctl2(control)

    return PciExpress(
        offset=offset,
        version=version,
        port_type=port_type,
        slot_implemented=slot_implemented,
        interrupt_message=flags >> 9 & 0x1F,
        flit_supported=bool(flags & 0x8000),
        dev_cap=_dev_cap(dev_cap, port_type),
        dev_ctl=_dev_ctl(dev_ctl, port_type),
        dev_sta=_dev_sta(dev_sta),
        link_cap=link_cap,
        link_ctl=link_ctl,
        link_sta=link_sta,
        slot_cap=slot_cap,
        slot_ctl=slot_ctl,
        slot_sta=slot_sta,
        root_ctl=root_ctl,
        root_cap=root_cap,
        root_sta=root_sta,
        dev_cap2=dev_cap2,
        dev_ctl2=dev_ctl2,
        link_cap2=link_cap2,
        link_ctl2=link_ctl2,
        link_sta2=link_sta2,
    )


def _dev_cap(word: int, port_type: PortType) -> DevCap:
    endpoint = port_type in _ENDPOINTS
    return DevCap(
        max_payload_bytes=_PAYLOAD[word & 7],
        phantom_functions=(1 << (word >> 3 & 3)) - 1,
        extended_tag=bool(word & 0x0020),
        l0s_latency_ns=L0S_EXIT_NS[word >> 6 & 7] if endpoint else None,
        l1_latency_ns=L1_EXIT_NS[word >> 9 & 7] if endpoint else None,
        role_based_error_reporting=bool(word & 0x8000),
        slot_power_limit_watts=(
            power_limit_watts(word >> 18 & 0xFF, word >> 26 & 3) if port_type in _WITH_POWER_LIMIT else None
        ),
        function_level_reset=bool(word & 0x1000_0000) if port_type in _WITH_FLR else None,
        tee_io=bool(word & 0x4000_0000),
    )


def _dev_ctl(word: int, port_type: PortType) -> DevCtl:
    return DevCtl(
        correctable_reporting=bool(word & 0x0001),
        nonfatal_reporting=bool(word & 0x0002),
        fatal_reporting=bool(word & 0x0004),
        unsupported_reporting=bool(word & 0x0008),
        relaxed_ordering=bool(word & 0x0010),
        max_payload_bytes=_PAYLOAD[word >> 5 & 7],
        extended_tag=bool(word & 0x0100),
        phantom_functions=bool(word & 0x0200),
        aux_power=bool(word & 0x0400),
        no_snoop=bool(word & 0x0800),
        max_read_request_bytes=_PAYLOAD[word >> 12 & 7],
        bridge_config_retry=bool(word & 0x8000) if port_type == "pcie-to-pci-bridge" else None,
    )


def _dev_sta(word: int) -> DevSta:
    return DevSta(
        correctable=bool(word & 0x01),
        nonfatal=bool(word & 0x02),
        fatal=bool(word & 0x04),
        unsupported_request=bool(word & 0x08),
        aux_power=bool(word & 0x10),
        transactions_pending=bool(word & 0x20),
    )


def _root_ctl(word: int) -> RootCtl:
    return RootCtl(
        system_error_on_correctable=bool(word & 0x01),
        system_error_on_nonfatal=bool(word & 0x02),
        system_error_on_fatal=bool(word & 0x04),
        pme_interrupt=bool(word & 0x08),
        crs_visible=bool(word & 0x10),
    )


def _dev_cap2(word: int) -> DevCap2:
    timeout = word & 0xF
    return DevCap2(
        completion_timeout_ranges=_TIMEOUT_RANGES.get(timeout) if timeout else "",
        completion_timeout_disable=bool(word & 0x0010),
        ari_forwarding=bool(word & 0x0020),
        atomic_routing=bool(word & 0x0040),
        atomic_32bit=bool(word & 0x0080),
        atomic_64bit=bool(word & 0x0100),
        atomic_cas128=bool(word & 0x0200),
        no_ro_pr_passing=bool(word & 0x0400),
        ltr=bool(word & 0x0800),
        tph_completer=word >> 12 & 3,
        tag10_completer=bool(word & 0x0001_0000),
        tag10_requester=bool(word & 0x0002_0000),
        obff=_OBFF_CAP[word >> 18 & 3],
        extended_fmt=bool(word & 0x0010_0000),
        end_end_prefix=bool(word & 0x0020_0000),
        max_end_end_prefixes=(word >> 22 & 3 or 4) if word & 0x0020_0000 else 0,
        emergency_power_reduction=word >> 24 & 3,
        emergency_power_reduction_init=bool(word & 0x0400_0000),
        frs=bool(word & 0x8000_0000),
    )


def _dev_ctl2(word: int) -> DevCtl2:
    return DevCtl2(
        completion_timeout_us=COMPLETION_TIMEOUT_US.get(word & 0xF),
        completion_timeout_disabled=bool(word & 0x0010),
        ari_forwarding=bool(word & 0x0020),
        atomic_requester=bool(word & 0x0040),
        atomic_egress_blocked=bool(word & 0x0080),
        ido_request=bool(word & 0x0100),
        ido_completion=bool(word & 0x0200),
        ltr=bool(word & 0x0400),
        emergency_power_reduction_request=bool(word & 0x0800),
        tag10_requester=bool(word & 0x1000),
        obff=_OBFF_CTL[word >> 13 & 3],
        end_end_prefix_blocked=bool(word & 0x8000),
    )

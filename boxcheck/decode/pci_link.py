"""The link registers of the PCI Express capability: LnkCap, LnkCtl, LnkSta and their second set.

Offsets and bits are those of the PCI Express Base Specification, section 7.5.3, named as in Linux'
`include/uapi/linux/pci_regs.h`. `pci_express` decides which of them a function has.
"""

from __future__ import annotations

from typing import Literal

import msgspec

SPEED_GTS = {1: 2.5, 2: 5.0, 3: 8.0, 4: 16.0, 5: 32.0, 6: 64.0, 7: 128.0}
"""Speed code of LnkCap, LnkSta and LnkCtl2 -> GT/s per lane. Code n stands for bit n of LnkCap2; the rest is reserved.

Code 7 follows that rule and Linux; pciutils 3.14 prints 128 GT/s for code 8 instead. No such device exists to ask."""

LEGAL_WIDTHS = frozenset({1, 2, 4, 8, 12, 16, 32})
"""The widths a link can have. 0 means no link; anything else is a misread (63 = all bits set)."""

_SPEED_VECTORS = tuple(
    tuple(speed for code, speed in SPEED_GTS.items() if vector >> (code - 1) & 1) for vector in range(128)
)

AspmStates = tuple[Literal["L0s", "L1"], ...]
_ASPM: tuple[AspmStates, ...] = ((), ("L0s",), ("L1",), ("L0s", "L1"))

# Upper bounds in ns, the last code has none. Section 7.5.3.3 (DevCap) and 7.5.3.6 (LnkCap) share the scales.
L0S_EXIT_NS = (64, 128, 256, 512, 1_000, 2_000, 4_000, None)
L1_EXIT_NS = (1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, None)

Crosslink = Literal["unsupported", "upstream", "downstream", "incomplete"]
_CROSSLINK: tuple[Crosslink, ...] = ("unsupported", "upstream", "downstream", "incomplete")

DownstreamComponent = Literal[
    "link-down", "link-down-not-present", "link-down-present", "link-up-present", "link-up-ready", "reserved"
]
_COMPONENT: tuple[DownstreamComponent, ...] = (
    "link-down",
    "link-down-not-present",
    "link-down-present",
    "reserved",
    "link-up-present",
    "link-up-ready",
    "reserved",
    "reserved",
)


class LinkCap(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    max_speed_gts: float | None
    """None for a reserved code."""
    max_speed_code: int
    max_width: int
    """As read: 0 and 63 are possible values, see `max_width_is_legal`."""
    aspm: AspmStates
    l0s_exit_ns: int | None
    l1_exit_ns: int | None
    """Upper bound of the exit latency; None for unbounded. Means something only where `aspm` has the state."""
    clock_power_management: bool
    surprise_down: bool
    """Surprise Down errors can be reported."""
    dll_active_reporting: bool
    """`LinkStatus.dll_active` is implemented; where this is False that bit says nothing."""
    bandwidth_notification: bool
    """`LinkStatus.bw_management` and `autonomous_bw` are implemented."""
    aspm_optionality: bool
    port: int

    @property
    def max_width_is_legal(self) -> bool:
        return self.max_width in LEGAL_WIDTHS


class LinkControl(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    aspm: AspmStates
    """The states enabled; empty when ASPM is off."""
    read_completion_boundary_bytes: int | None
    """None where the port type has no such bit."""
    disabled: bool
    retrain: bool
    common_clock: bool
    extended_synch: bool
    clock_power_management: bool
    hw_autonomous_width_disable: bool
    bandwidth_management_interrupt: bool
    autonomous_bandwidth_interrupt: bool
    flit_mode_disabled: bool


class LinkStatus(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    speed_gts: float | None
    """None for a reserved code (0 on a port with no link on some chips, 15 when the device is gone)."""
    speed_code: int
    width: int
    """Lanes as read: 0 without a link, 63 when all bits read as ones; see `width_is_legal`."""
    training_error: bool
    training: bool
    slot_clock: bool
    dll_active: bool
    """The data link layer is up. Valid only where `LinkCap.dll_active_reporting`."""
    bw_management: bool
    """Sticky: the link was retrained, or changed speed or width to keep working, since this was cleared."""
    autonomous_bw: bool
    """Sticky: the hardware changed speed or width on its own, for reasons other than reliability."""

    @property
    def width_is_legal(self) -> bool:
        return self.width in LEGAL_WIDTHS

    @property
    def gone(self) -> bool:
        """Every bit of speed and width reads as one: the device no longer answers."""
        return self.speed_code == 0xF and self.width == 0x3F


class LinkCap2(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    supported_speeds_gts: tuple[float, ...]
    """Ascending. Empty before PCIe 3.0, when this register was reserved: then LnkCap alone counts."""
    crosslink: bool
    retimer_presence: bool
    two_retimers: bool
    """Whether one, two retimers *can be detected*; whether they are there is in `LinkSta2`."""
    drs: bool


class LinkCtl2(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    target_speed_gts: float | None
    """The speed this port aims for when it trains: below the link's best, it is a cap. None for a reserved code."""
    target_speed_code: int
    """0 is what functions that know only 2.5 GT/s are hardwired to."""
    enter_compliance: bool
    hw_autonomous_speed_disable: bool
    selectable_deemphasis: bool
    transmit_margin: int
    modified_compliance: bool
    compliance_sos: bool
    compliance_preset: int


class LinkSta2(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    deemphasis_3_5_db: bool
    """Of a link at 5 GT/s: -3.5 dB if set, -6 dB if not."""
    eq_complete: bool
    eq_phase1: bool
    eq_phase2: bool
    eq_phase3: bool
    """Equalization at 8 GT/s; 16, 32 and 64 GT/s have capabilities of their own."""
    link_eq_request: bool
    retimer: bool
    two_retimers: bool
    crosslink: Crosslink
    flit: bool
    downstream_component: DownstreamComponent
    """Valid only on downstream ports with `LinkCap2.drs`."""
    drs_received: bool


_WITH_RCB: frozenset[str] = frozenset({"endpoint", "legacy-endpoint", "root-port", "pcie-to-pci-bridge"})


def decode_link_cap(word: int) -> LinkCap:
    """LnkCap, 32 bits at 0x0c."""
    code = word & 0xF
    return LinkCap(
        max_speed_gts=SPEED_GTS.get(code),
        max_speed_code=code,
        max_width=word >> 4 & 0x3F,
        aspm=_ASPM[word >> 10 & 3],
        l0s_exit_ns=L0S_EXIT_NS[word >> 12 & 7],
        l1_exit_ns=L1_EXIT_NS[word >> 15 & 7],
        clock_power_management=bool(word & 0x0004_0000),
        surprise_down=bool(word & 0x0008_0000),
        dll_active_reporting=bool(word & 0x0010_0000),
        bandwidth_notification=bool(word & 0x0020_0000),
        aspm_optionality=bool(word & 0x0040_0000),
        port=word >> 24,
    )


def decode_link_ctl(word: int, port_type: str) -> LinkControl:
    """LnkCtl, 16 bits at 0x10."""
    return LinkControl(
        aspm=_ASPM[word & 3],
        read_completion_boundary_bytes=(128 if word & 0x0008 else 64) if port_type in _WITH_RCB else None,
        disabled=bool(word & 0x0010),
        retrain=bool(word & 0x0020),
        common_clock=bool(word & 0x0040),
        extended_synch=bool(word & 0x0080),
        clock_power_management=bool(word & 0x0100),
        hw_autonomous_width_disable=bool(word & 0x0200),
        bandwidth_management_interrupt=bool(word & 0x0400),
        autonomous_bandwidth_interrupt=bool(word & 0x0800),
        flit_mode_disabled=bool(word & 0x2000),
    )


def decode_link_sta(word: int) -> LinkStatus:
    """LnkSta, 16 bits at 0x12."""
    code = word & 0xF
    return LinkStatus(
        speed_gts=SPEED_GTS.get(code),
        speed_code=code,
        width=word >> 4 & 0x3F,
        training_error=bool(word & 0x0400),
        training=bool(word & 0x0800),
        slot_clock=bool(word & 0x1000),
        dll_active=bool(word & 0x2000),
        bw_management=bool(word & 0x4000),
        autonomous_bw=bool(word & 0x8000),
    )


def decode_link_cap2(word: int) -> LinkCap2:
    """LnkCap2, 32 bits at 0x2c."""
    return LinkCap2(
        supported_speeds_gts=_SPEED_VECTORS[word >> 1 & 0x7F],
        crosslink=bool(word & 0x0000_0100),
        retimer_presence=bool(word & 0x0080_0000),
        two_retimers=bool(word & 0x0100_0000),
        drs=bool(word & 0x8000_0000),
    )


def decode_link_ctl2(word: int, max_speed_code: int) -> LinkCtl2:
    """LnkCtl2, 16 bits at 0x30. A function that knows only 2.5 GT/s may hardwire the target to 0."""
    code = word & 0xF
    return LinkCtl2(
        target_speed_gts=2.5 if code == 0 and max_speed_code == 1 else SPEED_GTS.get(code),
        target_speed_code=code,
        enter_compliance=bool(word & 0x0010),
        hw_autonomous_speed_disable=bool(word & 0x0020),
        selectable_deemphasis=bool(word & 0x0040),
        transmit_margin=word >> 7 & 7,
        modified_compliance=bool(word & 0x0400),
        compliance_sos=bool(word & 0x0800),
        compliance_preset=word >> 12,
    )


def decode_link_sta2(word: int) -> LinkSta2:
    """LnkSta2, 16 bits at 0x32."""
    return LinkSta2(
        deemphasis_3_5_db=bool(word & 0x0001),
        eq_complete=bool(word & 0x0002),
        eq_phase1=bool(word & 0x0004),
        eq_phase2=bool(word & 0x0008),
        eq_phase3=bool(word & 0x0010),
        link_eq_request=bool(word & 0x0020),
        retimer=bool(word & 0x0040),
        two_retimers=bool(word & 0x0080),
        crosslink=_CROSSLINK[word >> 8 & 3],
        flit=bool(word & 0x0400),
        downstream_component=_COMPONENT[word >> 12 & 7],
        drs_received=bool(word & 0x8000),
    )

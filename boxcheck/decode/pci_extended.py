"""Extended capabilities beside AER: ACS, Resizable BAR, DPC, L1 substates, equalization, lane margining, LTR, serial.

Offsets and bits are those of the PCI Express Base Specification, section 7.7 to 7.9, named as in Linux'
`include/uapi/linux/pci_regs.h`. Every decoder takes the configuration space and the capability's offset; the caller
(`pci_config`) has checked that the bytes that it reads are there.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct as Layout

import msgspec

_U16 = Layout("<H")
_U16X2 = Layout("<HH")
_U16X4 = Layout("<HHHH")
_U32X2 = Layout("<II")
_U32X3 = Layout("<III")
_U32X4 = Layout("<IIII")


@lru_cache(maxsize=1024)
def set_bits(mask: int) -> tuple[int, ...]:
    """Numbers of the bits set, lowest first: the lanes of a lane mask."""
    return tuple(bit for bit in range(mask.bit_length()) if mask >> bit & 1)


class AcsFlags(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    source_validation: bool
    translation_blocking: bool
    request_redirect: bool
    completion_redirect: bool
    upstream_forwarding: bool
    egress_control: bool
    direct_translated: bool


class AcsCapability(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Access Control Services (0x0d): whether requests between two ports must go up to the root complex and back."""

    supported: AcsFlags
    enabled: AcsFlags
    egress_vector_bits: int

    @property
    def redirects(self) -> bool:
        """Peer-to-peer requests or completions are sent up to the root complex instead of straight across."""
        return self.enabled.request_redirect or self.enabled.completion_redirect


# Two words of seven bits: a machine holds few of the 128 combinations, and the structs are frozen.
@lru_cache(maxsize=128)
def _acs_flags(word: int) -> AcsFlags:
    return AcsFlags(
        source_validation=bool(word & 0x01),
        translation_blocking=bool(word & 0x02),
        request_redirect=bool(word & 0x04),
        completion_redirect=bool(word & 0x08),
        upstream_forwarding=bool(word & 0x10),
        egress_control=bool(word & 0x20),
        direct_translated=bool(word & 0x40),
    )


def decode_acs(data: bytes, offset: int) -> AcsCapability:
    """ACS Capability and Control, 16 bits each from offset 4."""
    capability, control = _U16X2.unpack_from(data, offset + 4)
    return AcsCapability(
        supported=_acs_flags(capability & 0x7F),
        enabled=_acs_flags(control & 0x7F),
        # A size of 0 stands for 256; the field means something only where egress control is supported.
        egress_vector_bits=(capability >> 8 or 256) if capability & 0x20 else 0,
    )


class ResizableBar(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One entry of the Resizable BAR capability (0x15, or 0x24 for virtual functions)."""

    bar: int
    size_code: int
    current_size_bytes: int | None
    """None for a reserved code (above 43 = 8 EiB)."""
    supported_sizes_bytes: tuple[int, ...]


_MAX_SIZE_CODE = 43


@lru_cache(maxsize=256)
def _sizes(mask: int) -> tuple[int, ...]:
    return tuple(1 << (20 + bit) for bit in set_bits(mask))


def rebar_count(data: bytes, offset: int) -> int:
    """Entries of the capability at `offset`, from its first control register; 0 where that number is not 1 to 6."""
    count: int = data[offset + 8] >> 5
    return count if 1 <= count <= 6 else 0


def decode_rebar(data: bytes, offset: int, count: int) -> tuple[ResizableBar, ...]:
    """`count` pairs of Capability and Control, 32 bits each from offset 4; `rebar_count` gives the count."""
    bars = []
    for position in range(offset + 4, offset + 4 + 8 * count, 8):
        capability, control = _U32X2.unpack_from(data, position)
        code = control >> 8 & 0x3F
        bars.append(
            ResizableBar(
                bar=control & 7,
                size_code=code,
                current_size_bytes=1 << (20 + code) if code <= _MAX_SIZE_CODE else None,
                # Bits 31:4 are 1 MiB to 128 TiB; the control register's upper half goes on from 256 TiB to 8 EiB.
                supported_sizes_bytes=_sizes(capability >> 4 | control >> 16 << 28),
            )
        )
    return tuple(bars)


class DpcCapability(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Downstream Port Containment (0x1d). While `triggered`, the hardware holds the link disabled."""

    interrupt_message: int
    rp_extensions: bool
    poisoned_tlp_capable: bool
    software_trigger_capable: bool
    rp_pio_log_size: int
    dl_active_error_capable: bool
    trigger_enable: int
    """0 off, 1 on fatal errors, 2 on non-fatal and fatal errors, 3 reserved."""
    completion_control: bool
    interrupt_enabled: bool
    err_cor_enabled: bool
    poisoned_tlp_enabled: bool
    dl_active_error_enabled: bool
    triggered: bool
    trigger_reason: int
    """0 unmasked uncorrectable error here, 1 ERR_NONFATAL received, 2 ERR_FATAL received, 3 see the extension."""
    trigger_reason_extension: int
    """0 RP PIO error, 1 software trigger."""
    interrupt_pending: bool
    rp_busy: bool
    rp_pio_first_error: int
    source: int
    """Requester id of the sender for reasons 1 and 2; see `pci_aer.requester_bdf`."""


def decode_dpc(data: bytes, offset: int) -> DpcCapability:
    """DPC Capability, Control, Status and Error Source, 16 bits each from offset 4."""
    capability, control, status, source = _U16X4.unpack_from(data, offset + 4)
    return DpcCapability(
        interrupt_message=capability & 0x1F,
        rp_extensions=bool(capability & 0x0020),
        poisoned_tlp_capable=bool(capability & 0x0040),
        software_trigger_capable=bool(capability & 0x0080),
        rp_pio_log_size=capability >> 8 & 0xF,
        dl_active_error_capable=bool(capability & 0x1000),
        trigger_enable=control & 3,
        completion_control=bool(control & 0x0004),
        interrupt_enabled=bool(control & 0x0008),
        err_cor_enabled=bool(control & 0x0010),
        poisoned_tlp_enabled=bool(control & 0x0020),
        dl_active_error_enabled=bool(control & 0x0080),
        triggered=bool(status & 0x0001),
        trigger_reason=status >> 1 & 3,
        interrupt_pending=bool(status & 0x0008),
        rp_busy=bool(status & 0x0010),
        trigger_reason_extension=status >> 5 & 3,
        rp_pio_first_error=status >> 8 & 0x1F,
        source=source,
    )


class L1Substates(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """L1 PM Substates (0x1e). Times that the hardware does not define are None."""

    supported: bool
    pm_l12_supported: bool
    pm_l11_supported: bool
    aspm_l12_supported: bool
    aspm_l11_supported: bool
    pm_l12_enabled: bool
    pm_l11_enabled: bool
    aspm_l12_enabled: bool
    aspm_l11_enabled: bool
    port_common_mode_restore_us: int | None
    port_power_on_us: int | None
    common_mode_us: int | None
    power_on_us: int | None
    ltr_threshold_ns: int | None


_POWER_ON_US = (2, 10, 100)
_LTR_SCALE_NS = (1, 32, 1_024, 32_768, 1_048_576, 33_554_432)


def _power_on_us(value: int, scale: int) -> int | None:
    return value * _POWER_ON_US[scale] if scale < len(_POWER_ON_US) else None


def _ltr_ns(value: int, scale: int) -> int | None:
    return value * _LTR_SCALE_NS[scale] if scale < len(_LTR_SCALE_NS) else None


def decode_l1ss(data: bytes, offset: int) -> L1Substates:
    """L1 PM Substates Capabilities, Control 1 and Control 2, 32 bits each from offset 4."""
    capability, control1, control2 = _U32X3.unpack_from(data, offset + 4)
    l12 = bool(capability & 0x05)
    return L1Substates(
        supported=bool(capability & 0x10),
        pm_l12_supported=bool(capability & 0x01),
        pm_l11_supported=bool(capability & 0x02),
        aspm_l12_supported=bool(capability & 0x04),
        aspm_l11_supported=bool(capability & 0x08),
        pm_l12_enabled=bool(control1 & 0x01),
        pm_l11_enabled=bool(control1 & 0x02),
        aspm_l12_enabled=bool(control1 & 0x04),
        aspm_l11_enabled=bool(control1 & 0x08),
        port_common_mode_restore_us=capability >> 8 & 0xFF if l12 else None,
        port_power_on_us=_power_on_us(capability >> 19 & 0x1F, capability >> 16 & 3) if l12 else None,
        common_mode_us=control1 >> 8 & 0xFF if l12 else None,
        power_on_us=_power_on_us(control2 >> 3 & 0x1F, control2 & 3) if l12 else None,
        ltr_threshold_ns=_ltr_ns(control1 >> 16 & 0x3FF, control1 >> 29) if capability & 0x04 else None,
    )


class SecondaryPcie(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Secondary PCI Express (0x19): equalization control at 8 GT/s and lane errors."""

    perform_equalization: bool
    equalization_interrupt: bool
    lane_errors: tuple[int, ...]
    """Lanes that saw an error since the bit was cleared (8 GT/s and faster)."""


def decode_secondary(data: bytes, offset: int) -> SecondaryPcie:
    """Link Control 3 and Lane Error Status, 32 bits each from offset 4."""
    control, errors = _U32X2.unpack_from(data, offset + 4)
    return SecondaryPcie(
        perform_equalization=bool(control & 1),
        equalization_interrupt=bool(control & 2),
        lane_errors=set_bits(errors),
    )


class Phy16(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Physical Layer 16.0 GT/s (0x26). The parity masks name lanes whose control SKP parity did not match."""

    eq_complete: bool
    eq_phase1: bool
    eq_phase2: bool
    eq_phase3: bool
    link_eq_request: bool
    local_parity_lanes: tuple[int, ...]
    first_retimer_parity_lanes: tuple[int, ...]
    second_retimer_parity_lanes: tuple[int, ...]


def decode_phy16(data: bytes, offset: int) -> Phy16:
    """16.0 GT/s Status and the three masks of parity mismatches, 32 bits each from offset 0x0c."""
    status, local, first, second = _U32X4.unpack_from(data, offset + 0x0C)
    return Phy16(
        eq_complete=bool(status & 0x01),
        eq_phase1=bool(status & 0x02),
        eq_phase2=bool(status & 0x04),
        eq_phase3=bool(status & 0x08),
        link_eq_request=bool(status & 0x10),
        local_parity_lanes=set_bits(local),
        first_retimer_parity_lanes=set_bits(first),
        second_retimer_parity_lanes=set_bits(second),
    )


class Phy32(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Physical Layer 32.0 GT/s (0x2a)."""

    eq_bypass_capable: bool
    no_eq_needed_capable: bool
    eq_bypass_disabled: bool
    no_eq_needed_disabled: bool
    eq_complete: bool
    eq_phase1: bool
    eq_phase2: bool
    eq_phase3: bool
    link_eq_request: bool
    modified_ts_received: bool
    precoding_on: bool
    precoding_requested: bool
    no_eq_needed_received: bool


def decode_phy32(data: bytes, offset: int) -> Phy32:
    """32.0 GT/s Capabilities, Control and Status, 32 bits each from offset 4."""
    capability, control, status = _U32X3.unpack_from(data, offset + 4)
    return Phy32(
        eq_bypass_capable=bool(capability & 0x01),
        no_eq_needed_capable=bool(capability & 0x02),
        eq_bypass_disabled=bool(control & 0x01),
        no_eq_needed_disabled=bool(control & 0x02),
        eq_complete=bool(status & 0x01),
        eq_phase1=bool(status & 0x02),
        eq_phase2=bool(status & 0x04),
        eq_phase3=bool(status & 0x08),
        link_eq_request=bool(status & 0x10),
        modified_ts_received=bool(status & 0x20),
        precoding_on=bool(status & 0x100),
        precoding_requested=bool(status & 0x200),
        no_eq_needed_received=bool(status & 0x400),
    )


class Phy64(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Physical Layer 64.0 GT/s (0x31)."""

    eq_complete: bool
    eq_phase1: bool
    eq_phase2: bool
    eq_phase3: bool
    link_eq_request: bool
    precoding_on: bool
    precoding_requested: bool
    no_eq_needed_received: bool


def decode_phy64(data: bytes, offset: int) -> Phy64:
    """64.0 GT/s Status, the low 16 bits at offset 0x0c."""
    (status,) = _U16.unpack_from(data, offset + 0x0C)
    return Phy64(
        eq_complete=bool(status & 0x01),
        eq_phase1=bool(status & 0x02),
        eq_phase2=bool(status & 0x04),
        eq_phase3=bool(status & 0x08),
        link_eq_request=bool(status & 0x10),
        precoding_on=bool(status & 0x20),
        precoding_requested=bool(status & 0x40),
        no_eq_needed_received=bool(status & 0x80),
    )


class Margining(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Lane Margining at the Receiver (0x27): whether this port can be margined now."""

    uses_driver: bool
    """Software of the device's maker must be loaded; then `software_ready` counts, else `ready`."""
    ready: bool
    software_ready: bool


def decode_margining(data: bytes, offset: int) -> Margining:
    """Margining Port Capabilities and Status, 16 bits each from offset 4."""
    capability, status = _U16X2.unpack_from(data, offset + 4)
    return Margining(uses_driver=bool(capability & 1), ready=bool(status & 1), software_ready=bool(status & 2))


class Ltr(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Latency Tolerance Reporting (0x18): the most that firmware lets the device ask for; None for a reserved scale."""

    max_snoop_ns: int | None
    max_no_snoop_ns: int | None


def decode_ltr(data: bytes, offset: int) -> Ltr:
    """Max Snoop and Max No-Snoop Latency, 16 bits each from offset 4."""
    snoop, no_snoop = _U16X2.unpack_from(data, offset + 4)
    return Ltr(
        max_snoop_ns=_ltr_ns(snoop & 0x3FF, snoop >> 10 & 7),
        max_no_snoop_ns=_ltr_ns(no_snoop & 0x3FF, no_snoop >> 10 & 7),
    )


SERIAL_AT = 4
SERIAL_BYTES = 8


def decode_serial(data: bytes, offset: int) -> str:
    """Device Serial Number (0x03), most significant byte first, as lspci writes it: `00-0e-df-10-b5-97-00-aa`."""
    return data[offset + SERIAL_AT : offset + SERIAL_AT + SERIAL_BYTES][::-1].hex("-")

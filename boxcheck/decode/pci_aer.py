"""Advanced Error Reporting (AER): the names of its error bits, and the capability decoded.

The names serve three readers: this decoder, the counters of `/sys/bus/pci/devices/*/aer_dev_*` and the kernel log.
Bits and short names are those of Linux (`drivers/pci/pcie/aer.c`), the plain terms those of the PCI Express Base
Specification, section 7.8.4 (and of `include/ras/ras_event.h`, which older logs and rasdaemon print).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from struct import Struct as Layout

import msgspec

AER_CORRECTABLE: Mapping[int, str] = {
    0: "RxErr",
    6: "BadTLP",
    7: "BadDLLP",
    8: "Rollover",
    12: "Timeout",
    13: "NonFatalErr",
    14: "CorrIntErr",
    15: "HeaderOF",
}
"""Bit of the Correctable Error Status and Mask registers -> short name of the kernel."""

AER_UNCORRECTABLE: Mapping[int, str] = {
    0: "Undefined",
    4: "DLP",
    5: "SDES",
    12: "TLP",
    13: "FCP",
    14: "CmpltTO",
    15: "CmpltAbrt",
    16: "UnxCmplt",
    17: "RxOF",
    18: "MalfTLP",
    19: "ECRC",
    20: "UnsupReq",
    21: "ACSViol",
    22: "UncorrIntErr",
    23: "BlockedTLP",
    24: "AtomicOpBlocked",
    25: "TLPBlockedErr",
    26: "PoisonTLPBlocked",
    27: "DMWrReqBlocked",
    28: "IDECheck",
    29: "MisIDETLP",
    30: "PCRC_CHECK",
    31: "TLPXlatBlocked",
}
"""Bit of the Uncorrectable Error Status, Mask and Severity registers -> short name of the kernel."""

AER_CORRECTABLE_TERMS: Mapping[str, str] = {
    "RxErr": "Receiver Error",
    "BadTLP": "Bad TLP",
    "BadDLLP": "Bad DLLP",
    "Rollover": "Replay Number Rollover",
    "Timeout": "Replay Timer Timeout",
    "NonFatalErr": "Advisory Non-Fatal Error",
    "CorrIntErr": "Corrected Internal Error",
    "HeaderOF": "Header Log Overflow",
}
"""Short name -> the term of the specification, for people."""

AER_UNCORRECTABLE_TERMS: Mapping[str, str] = {
    "Undefined": "Undefined",
    "DLP": "Data Link Protocol Error",
    "SDES": "Surprise Down Error",
    "TLP": "Poisoned TLP",
    "FCP": "Flow Control Protocol Error",
    "CmpltTO": "Completion Timeout",
    "CmpltAbrt": "Completer Abort",
    "UnxCmplt": "Unexpected Completion",
    "RxOF": "Receiver Overflow",
    "MalfTLP": "Malformed TLP",
    "ECRC": "ECRC Error",
    "UnsupReq": "Unsupported Request Error",
    "ACSViol": "ACS Violation",
    "UncorrIntErr": "Uncorrectable Internal Error",
    "BlockedTLP": "MC Blocked TLP",
    "AtomicOpBlocked": "AtomicOp Egress Blocked",
    "TLPBlockedErr": "TLP Prefix Blocked Error",
    "PoisonTLPBlocked": "Poisoned TLP Egress Blocked",
    "DMWrReqBlocked": "DMWr Request Egress Blocked",
    "IDECheck": "IDE Check Failed",
    "MisIDETLP": "Misrouted IDE TLP",
    "PCRC_CHECK": "PCRC Check Failed",
    "TLPXlatBlocked": "TLP Translation Egress Blocked",
}
"""Short name -> the term of the specification, for people."""

# Spellings beside the short name and the term: lspci's own, and those of kernels before the terms were settled.
_CORRECTABLE_ALIASES = {
    "AdvNonFatalErr": 13,
    "Advisory Non-Fatal": 13,
    "RELAY_NUM Rollover": 8,
    "REPLAY_NUM Rollover": 8,
}
_UNCORRECTABLE_ALIASES = {
    "Data Link Protocol": 4,
    "Surprise Down": 5,
    "Flow Control Protocol": 13,
    "Unsupported Request": 20,
}


def _bits(names: Mapping[int, str], terms: Mapping[str, str], aliases: Mapping[str, int]) -> Mapping[str, int]:
    short = {name: bit for bit, name in names.items()}
    return {**aliases, **{term: short[name] for name, term in terms.items()}, **short}


AER_CORRECTABLE_BIT: Mapping[str, int] = _bits(AER_CORRECTABLE, AER_CORRECTABLE_TERMS, _CORRECTABLE_ALIASES)
"""Any known spelling of a correctable error (kernel, sysfs, lspci, specification) -> its bit."""

AER_UNCORRECTABLE_BIT: Mapping[str, int] = _bits(AER_UNCORRECTABLE, AER_UNCORRECTABLE_TERMS, _UNCORRECTABLE_ALIASES)
"""Any known spelling of an uncorrectable error (kernel, sysfs, lspci, specification) -> its bit."""


# A machine has a handful of distinct masks; the bound only matters for hostile input.
@lru_cache(maxsize=1024)
def correctable_names(mask: int) -> tuple[str, ...]:
    """Short names of the bits set in a correctable status or mask, lowest bit first; `bit3` for a bit with no name."""
    return tuple(AER_CORRECTABLE.get(bit, f"bit{bit}") for bit in range(32) if mask >> bit & 1)


@lru_cache(maxsize=1024)
def uncorrectable_names(mask: int) -> tuple[str, ...]:
    """Short names of the bits set in an uncorrectable status, mask or severity, lowest first; `bit7` where unnamed."""
    return tuple(AER_UNCORRECTABLE.get(bit, f"bit{bit}") for bit in range(32) if mask >> bit & 1)


def requester_bdf(requester_id: int, domain: int = 0) -> str:
    """The PCI address of a 16-bit requester id (bus 15:8, device 7:3, function 2:0): `0000:41:00.0`."""
    return f"{domain:04x}:{requester_id >> 8 & 0xFF:02x}:{requester_id >> 3 & 0x1F:02x}.{requester_id & 7}"


class AerRoot(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Root Error Command, Status and Source registers: only root ports and root complex event collectors have them."""

    correctable_interrupt: bool
    nonfatal_interrupt: bool
    fatal_interrupt: bool
    """Whether a message of that class raises an interrupt (Root Error Command). All off: nobody is told."""
    correctable_received: bool
    multiple_correctable: bool
    uncorrectable_received: bool
    multiple_uncorrectable: bool
    first_fatal: bool
    nonfatal_received: bool
    fatal_received: bool
    interrupt_message: int
    correctable_source: int
    """Requester id of the first sender of ERR_COR since the status was cleared; see `requester_bdf`."""
    uncorrectable_source: int
    """Requester id of the first sender of ERR_NONFATAL or ERR_FATAL."""


class AerCapability(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The Advanced Error Reporting capability (0x01). Status bits stay set until written, whatever the mask says."""

    offset: int
    version: int
    uncorrectable_status: tuple[str, ...]
    uncorrectable_mask: tuple[str, ...]
    uncorrectable_severity: tuple[str, ...]
    """The errors that count as fatal; the rest are non-fatal."""
    correctable_status: tuple[str, ...]
    correctable_mask: tuple[str, ...]
    """Masked errors set their status bit and send no message."""
    first_error_pointer: int
    """Bit number of the first uncorrectable error; means something only while that status bit is set."""
    first_error: str | None
    """Name of the first uncorrectable error, None where its status bit is not set."""
    ecrc_generation_capable: bool
    ecrc_generation_enabled: bool
    ecrc_check_capable: bool
    ecrc_check_enabled: bool
    multiple_header_capable: bool
    multiple_header_enabled: bool
    tlp_prefix_log_present: bool
    completion_timeout_log_capable: bool
    header_log: tuple[int, int, int, int]
    """The first four dwords of the TLP behind `first_error`."""
    root: AerRoot | None
    """None on everything but root ports and event collectors."""


_BASE = Layout("<10I")  # UESta UEMsk UESvrt CESta CEMsk AERCap HeaderLog[4], from offset 4
_ROOT = Layout("<IIHH")  # RootCmd RootSta and the two sources, from offset 0x2c

AER_BYTES = 0x2C
"""Length of the capability without the root registers."""
AER_ROOT_BYTES = 0x38
"""Length of the capability of a root port or event collector."""


def decode_aer(data: bytes, offset: int, version: int, has_root: bool) -> AerCapability:
    """The capability at `offset`. The caller has checked that `AER_BYTES` (or `AER_ROOT_BYTES`) are there."""
    ue_status, ue_mask, ue_severity, ce_status, ce_mask, control, log0, log1, log2, log3 = _BASE.unpack_from(
        data, offset + 4
    )
    first = control & 0x1F
    return AerCapability(
        offset=offset,
        version=version,
        uncorrectable_status=uncorrectable_names(ue_status),
        uncorrectable_mask=uncorrectable_names(ue_mask),
        uncorrectable_severity=uncorrectable_names(ue_severity),
        correctable_status=correctable_names(ce_status),
        correctable_mask=correctable_names(ce_mask),
        first_error_pointer=first,
        first_error=AER_UNCORRECTABLE.get(first, f"bit{first}") if ue_status >> first & 1 else None,
        ecrc_generation_capable=bool(control & 0x0020),
        ecrc_generation_enabled=bool(control & 0x0040),
        ecrc_check_capable=bool(control & 0x0080),
        ecrc_check_enabled=bool(control & 0x0100),
        multiple_header_capable=bool(control & 0x0200),
        multiple_header_enabled=bool(control & 0x0400),
        tlp_prefix_log_present=bool(control & 0x0800),
        completion_timeout_log_capable=bool(control & 0x1000),
        header_log=(log0, log1, log2, log3),
        root=_decode_root(data, offset) if has_root else None,
    )


def _decode_root(data: bytes, offset: int) -> AerRoot:
    command, status, correctable_source, uncorrectable_source = _ROOT.unpack_from(data, offset + AER_BYTES)
    return AerRoot(
        correctable_interrupt=bool(command & 1),
        nonfatal_interrupt=bool(command & 2),
        fatal_interrupt=bool(command & 4),
        correctable_received=bool(status & 0x01),
        multiple_correctable=bool(status & 0x02),
        uncorrectable_received=bool(status & 0x04),
        multiple_uncorrectable=bool(status & 0x08),
        first_fatal=bool(status & 0x10),
        nonfatal_received=bool(status & 0x20),
        fatal_received=bool(status & 0x40),
        interrupt_message=status >> 27,
        correctable_source=correctable_source,
        uncorrectable_source=uncorrectable_source,
    )

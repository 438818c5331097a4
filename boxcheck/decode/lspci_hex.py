"""The hex dump below a function, decoded into the same fields as its text, and where the two differ."""

from __future__ import annotations

from typing import Any

from boxcheck.decode.lspci_types import LspciRebar
from boxcheck.decode.pci_aer import AerCapability
from boxcheck.decode.pci_config import ConfigSpace, decode_config, parse_hex_dump
from boxcheck.decode.pci_express import PciExpress
from boxcheck.decode.pci_extended import AcsCapability, DpcCapability, SecondaryPcie
from boxcheck.model import Unread

NOT_COMPARED = frozenset((
    # lspci takes these from sysfs, where quirks of the kernel and SR-IOV may have changed them.
    "vendor", "device", "class_code", "subsystem_vendor", "subsystem_device", "hex_bytes", "detailed", "denied", "gone",
    # Printed with units or in words, which lose what the register has.
    "slot_power_watts", "serial", "rebar",
))  # fmt: skip
_ACS = (
    ("SrcValid", "source_validation"), ("TransBlk", "translation_blocking"), ("ReqRedir", "request_redirect"),
    ("CmpltRedir", "completion_redirect"), ("UpstreamFwd", "upstream_forwarding"), ("EgressCtrl", "egress_control"),
    ("DirectTrans", "direct_translated"),
)  # fmt: skip


def decode_rows(rows: list[str]) -> ConfigSpace | None:
    """The bytes of rows as `-x` prints them; None where not even a header is there."""
    spaces = parse_hex_dump("\n".join(("00:00.0 ", *rows)))
    space = decode_config(spaces.get("0000:00:00.0", b""))
    return None if isinstance(space, Unread) else space


def facts_of(space: ConfigSpace) -> dict[str, Any]:
    """The fields of `LspciFunction` that configuration space tells. What was not read is left out."""
    if space.all_ones:
        return {"gone": True, "hex_bytes": space.size}
    facts: dict[str, Any] = {"hex_bytes": space.size, "gone": False, "memory_enabled": space.memory_enabled}
    if not space.virtual_function:
        facts |= {"vendor": space.vendor, "device": space.device}
        # 0 is also what a device without a subsystem answers.
        if isinstance(space.subsystem_vendor, int) and space.subsystem_vendor:
            facts |= {"subsystem_vendor": space.subsystem_vendor, "subsystem_device": space.subsystem_device}
    facts |= {"revision": space.revision, "class_code": space.class_code}
    if space.bridge is not None:
        facts |= {"primary_bus": space.bridge.primary, "secondary_bus": space.bridge.secondary,
                  "subordinate_bus": space.bridge.subordinate}
    if not isinstance(space.capabilities, Unread):
        facts |= {"detailed": True, "denied": False}
    if space.power is not None and not isinstance(space.power, Unread):
        facts["power_state"] = space.power.state
    if isinstance(space.express, PciExpress):
        facts |= _express(space.express)
    if isinstance(space.aer, AerCapability):
        facts |= _aer(space.aer)
    if isinstance(space.acs, AcsCapability):
        facts["acs_enabled"] = tuple(name for name, field in _ACS if getattr(space.acs.enabled, field))
    if isinstance(space.dpc, DpcCapability):
        facts |= {"dpc_triggered": space.dpc.triggered, "dpc_reason": space.dpc.trigger_reason,
                  "dpc_source": space.dpc.source}
    if isinstance(space.secondary, SecondaryPcie):
        facts["lane_errors"] = space.secondary.lane_errors
    if isinstance(space.rebar, tuple):
        facts["rebar"] = tuple(
            LspciRebar(bar=bar.bar, current_size_bytes=bar.current_size_bytes,
                       supported_sizes_bytes=bar.supported_sizes_bytes) for bar in space.rebar)
    if isinstance(space.serial, str):
        facts["serial"] = space.serial
    return facts


def _express(express: PciExpress) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "port_type": express.port_type, "correctable_reporting": express.dev_ctl.correctable_reporting,
    }
    if express.is_downstream:
        facts["slot_implemented"] = express.slot_implemented
    if express.link_cap is not None and express.link_ctl is not None and express.link_sta is not None:
        facts |= {
            "max_speed_gts": express.link_cap.max_speed_gts, "max_width": express.link_cap.max_width,
            "dll_reporting": express.link_cap.dll_active_reporting, "link_disabled": express.link_ctl.disabled,
            "speed_gts": express.link_sta.speed_gts, "width": express.link_sta.width,
            "training": express.link_sta.training, "dll_active": express.link_sta.dll_active,
        }
    if express.link_cap2 is not None and express.link_cap2.supported_speeds_gts:
        facts["top_speed_gts"] = express.link_cap2.supported_speeds_gts[-1]
    if express.link_ctl2 is not None:
        facts["target_speed_gts"] = express.link_ctl2.target_speed_gts
    if express.link_sta2 is not None:
        facts["retimer"] = express.link_sta2.retimer
    if express.slot_cap is not None and express.slot_ctl is not None and express.slot_sta is not None:
        facts |= {
            "slot_number": express.slot_cap.number, "slot_power_watts": express.slot_cap.power_limit_watts,
            "hot_plug": express.slot_cap.hot_plug, "power_off": express.slot_ctl.power_off,
            "presence": express.slot_sta.presence_detect,
        }
    if express.dev_cap2 is not None and express.dev_ctl2 is not None:
        facts |= {
            "atomic_32bit": express.dev_cap2.atomic_32bit, "atomic_64bit": express.dev_cap2.atomic_64bit,
            "atomic_requester": express.dev_ctl2.atomic_requester,
        }
        if express.is_downstream or express.port_type == "upstream-port":
            facts |= {"atomic_routing": express.dev_cap2.atomic_routing,
                      "atomic_egress_blocked": express.dev_ctl2.atomic_egress_blocked}
    return facts


def _aer(aer: AerCapability) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "uncorrectable_status": aer.uncorrectable_status, "uncorrectable_mask": aer.uncorrectable_mask,
        "uncorrectable_severity": aer.uncorrectable_severity, "correctable_status": aer.correctable_status,
        "correctable_mask": aer.correctable_mask,
    }
    if aer.root is not None:
        facts |= {
            "root_correctable_interrupt": aer.root.correctable_interrupt,
            "correctable_received": aer.root.correctable_received,
            "correctable_source": aer.root.correctable_source, "uncorrectable_source": aer.root.uncorrectable_source,
        }
    return facts


def disagreements(text: dict[str, Any], bytes_: dict[str, Any]) -> tuple[str, ...]:
    """Fields that both have and that differ. A name that the text's lspci did not know yet is no difference."""
    found = []
    for name, value in text.items():
        other = bytes_.get(name)
        if name in NOT_COMPARED or value is None or other is None or value == other:
            continue
        # Older versions print the first twelve uncorrectable bits and the first six correctable ones.
        if (isinstance(value, tuple) and isinstance(other, tuple) and set(value) <= set(other)
                and not (set(other) - set(value)) & _FIRST_NAMES):
            continue
        found.append(name)
    return tuple(sorted(found))


_FIRST_NAMES = frozenset((
    "RxErr", "BadTLP", "BadDLLP", "Rollover", "Timeout", "NonFatalErr", "DLP", "SDES", "TLP", "FCP", "CmpltTO",
    "CmpltAbrt", "UnxCmplt", "RxOF", "MalfTLP", "ECRC", "UnsupReq", "ACSViol",
))  # fmt: skip
"""What every version prints."""

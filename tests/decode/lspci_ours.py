"""The decoder's values under the names that lspci prints, register by register."""

from __future__ import annotations

from typing import Any

from boxcheck.decode.pci_aer import AER_CORRECTABLE, AER_UNCORRECTABLE, AerCapability
from boxcheck.decode.pci_config import CAP_PM, ConfigSpace, PowerManagement
from boxcheck.decode.pci_express import PciExpress
from boxcheck.decode.pci_extended import AcsFlags
from boxcheck.decode.pci_walk import walk_capabilities, walk_extended
from boxcheck.model import Unread

Registers = dict[tuple[int, str], dict[str, Any]]

# lspci's name where it differs from the kernel's, which the decoder uses.
_CE = {bit: {"NonFatalErr": "AdvNonFatalErr"}.get(name, name) for bit, name in AER_CORRECTABLE.items()}
_UE = {bit: name for bit, name in AER_UNCORRECTABLE.items() if bit}


def registers_of(space: ConfigSpace, data: bytes) -> Registers:
    """(offset of the capability, register) -> name -> value, of everything that was decoded."""
    found: Registers = {}
    if isinstance(space.express, PciExpress):
        for register, values in _express(space.express).items():
            found[space.express.offset, register] = values
    if isinstance(space.power, PowerManagement):
        entries, _ = walk_capabilities(data, space.header_type, space.status)
        at = next(offset for capability, offset in entries if capability == CAP_PM)
        found[at, "Status"] = {
            "state": space.power.state,
            "NoSoftRst": space.power.no_soft_reset,
            "PME-Enable": space.power.pme_enabled,
            "PME": space.power.pme_status,
        }
    where: dict[int, int] = {}
    for extended, _, offset in walk_extended(data)[0] if len(data) > 256 else ():
        where.setdefault(extended, offset)
    for key, values in _extended(space).items():
        number, _, register = key.partition(" ")
        found[where[int(number, 16)], register] = values
    return found


def _express(express: PciExpress) -> dict[str, dict[str, Any]]:
    cap, ctl, sta = express.dev_cap, express.dev_ctl, express.dev_sta
    found: dict[str, dict[str, Any]] = {
        "DevCap": {
            "MaxPayload": cap.max_payload_bytes,
            "PhantFunc": cap.phantom_functions,
            "Latency L0s": cap.l0s_latency_ns,
            "Latency L1": cap.l1_latency_ns,
            "ExtTag": cap.extended_tag,
            "RBE": cap.role_based_error_reporting,
            "FLReset": cap.function_level_reset,
            "SlotPowerLimit": cap.slot_power_limit_watts,
            "TEE-IO": cap.tee_io,
        },
        "DevCtl": {
            "CorrErr": ctl.correctable_reporting,
            "NonFatalErr": ctl.nonfatal_reporting,
            "FatalErr": ctl.fatal_reporting,
            "UnsupReq": ctl.unsupported_reporting,
            "RlxdOrd": ctl.relaxed_ordering,
            "ExtTag": ctl.extended_tag,
            "PhantFunc": ctl.phantom_functions,
            "AuxPwr": ctl.aux_power,
            "NoSnoop": ctl.no_snoop,
            "BrConfRtry": ctl.bridge_config_retry,
            "MaxPayload": ctl.max_payload_bytes,
            "MaxReadReq": ctl.max_read_request_bytes,
        },
        "DevSta": {
            "CorrErr": sta.correctable,
            "NonFatalErr": sta.nonfatal,
            "FatalErr": sta.fatal,
            "UnsupReq": sta.unsupported_request,
            "AuxPwr": sta.aux_power,
            "TransPend": sta.transactions_pending,
        },
    }
    _link(express, found)
    _slot(express, found)
    _second(express, found)
    if express.root_ctl is not None:
        root = express.root_ctl
        found["RootCtl"] = {
            "ErrCorrectable": root.system_error_on_correctable,
            "ErrNon-Fatal": root.system_error_on_nonfatal,
            "ErrFatal": root.system_error_on_fatal,
            "PMEIntEna": root.pme_interrupt,
            "CRSVisible": root.crs_visible,
        }
    if express.root_cap is not None:
        found["RootCap"] = {"CRSVisible": express.root_cap.crs_visible}
    if express.root_sta is not None:
        status = express.root_sta
        found["RootSta"] = {
            "PME ReqID": status.pme_requester,
            "PMEStatus": status.pme_status,
            "PMEPending": status.pme_pending,
        }
    return found


def _link(express: PciExpress, found: dict[str, dict[str, Any]]) -> None:
    if express.link_cap is not None:
        cap = express.link_cap
        found["LnkCap"] = {
            "Port": cap.port,
            "Speed": cap.max_speed_gts,
            "Width": cap.max_width,
            "ASPM": cap.aspm,
            "L0s": cap.l0s_exit_ns,
            "L1": cap.l1_exit_ns,
            "ClockPM": cap.clock_power_management,
            "Surprise": cap.surprise_down,
            "LLActRep": cap.dll_active_reporting,
            "BwNot": cap.bandwidth_notification,
            "ASPMOptComp": cap.aspm_optionality,
        }
    if express.link_ctl is not None:
        ctl = express.link_ctl
        found["LnkCtl"] = {
            "ASPM": ctl.aspm,
            "RCB": ctl.read_completion_boundary_bytes,
            "LnkDisable": ctl.disabled,
            "CommClk": ctl.common_clock,
            "ExtSynch": ctl.extended_synch,
            "ClockPM": ctl.clock_power_management,
            "AutWidDis": ctl.hw_autonomous_width_disable,
            "BWInt": ctl.bandwidth_management_interrupt,
            "AutBWInt": ctl.autonomous_bandwidth_interrupt,
            "FltModeDis": ctl.flit_mode_disabled,
        }
    if express.link_sta is not None:
        sta = express.link_sta
        found["LnkSta"] = {
            "Speed": sta.speed_gts,
            "Width": sta.width,
            "TrErr": sta.training_error,
            "Train": sta.training,
            "SlotClk": sta.slot_clock,
            "DLActive": sta.dll_active,
            "BWMgmt": sta.bw_management,
            "ABWMgmt": sta.autonomous_bw,
        }


def _slot(express: PciExpress, found: dict[str, dict[str, Any]]) -> None:
    if express.slot_cap is not None:
        cap = express.slot_cap
        found["SltCap"] = {
            "AttnBtn": cap.attention_button,
            "PwrCtrl": cap.power_controller,
            "MRL": cap.mrl_sensor,
            "AttnInd": cap.attention_indicator,
            "PwrInd": cap.power_indicator,
            "HotPlug": cap.hot_plug,
            "Surprise": cap.hot_plug_surprise,
            "Slot": cap.number,
            "PowerLimit": cap.power_limit_watts,
            "Interlock": cap.interlock,
            "NoCompl": cap.no_command_completed,
        }
    if express.slot_ctl is not None:
        ctl = express.slot_ctl
        found["SltCtl"] = {
            "AttnBtn": ctl.attention_button_enabled,
            "PwrFlt": ctl.power_fault_enabled,
            "MRL": ctl.mrl_changed_enabled,
            "PresDet": ctl.presence_changed_enabled,
            "CmdCplt": ctl.command_completed_enabled,
            "HPIrq": ctl.hot_plug_interrupt_enabled,
            "LinkChg": ctl.link_changed_enabled,
            "AttnInd": ctl.attention_indicator,
            "PwrInd": ctl.power_indicator,
            "Power": ctl.power_off,
            "Interlock": ctl.interlock,
        }
    if express.slot_sta is not None:
        sta = express.slot_sta
        found["SltSta"] = {
            "AttnBtn": sta.attention_button,
            "PowerFlt": sta.power_fault,
            "MRL": sta.mrl_open,
            "CmdCplt": sta.command_completed,
            "PresDet": sta.presence_detect,
            "Interlock": sta.interlock_engaged,
            "Changed MRL": sta.mrl_changed,
            "Changed PresDet": sta.presence_changed,
            "Changed LinkState": sta.link_changed,
        }


def _second(express: PciExpress, found: dict[str, dict[str, Any]]) -> None:
    if express.dev_cap2 is not None:
        cap = express.dev_cap2
        found["DevCap2"] = {
            "Completion Timeout": cap.completion_timeout_ranges,
            "TimeoutDis": cap.completion_timeout_disable,
            "NROPrPrP": cap.no_ro_pr_passing,
            "LTR": cap.ltr,
            "10BitTagComp": cap.tag10_completer,
            "10BitTagReq": cap.tag10_requester,
            "OBFF": cap.obff,
            "ExtFmt": cap.extended_fmt,
            "EETLPPrefix": cap.end_end_prefix,
            "MaxEETLPPrefixes": cap.max_end_end_prefixes,
            "EmergencyPowerReductionInit": cap.emergency_power_reduction_init,
            "FRS": cap.frs,
            "TPHComp": cap.tph_completer in (1, 3),
            "ExtTPHComp": cap.tph_completer == 3,
            "ARIFwd": cap.ari_forwarding,
            "Routing": cap.atomic_routing,
            "32bit": cap.atomic_32bit,
            "64bit": cap.atomic_64bit,
            "128bitCAS": cap.atomic_cas128,
        }
    if express.dev_ctl2 is not None:
        ctl = express.dev_ctl2
        found["DevCtl2"] = {
            "Completion Timeout": ctl.completion_timeout_us,
            "TimeoutDis": ctl.completion_timeout_disabled,
            "ARIFwd": ctl.ari_forwarding,
            "ReqEn": ctl.atomic_requester,
            "EgressBlck": ctl.atomic_egress_blocked,
            "IDOReq": ctl.ido_request,
            "IDOCompl": ctl.ido_completion,
            "LTR": ctl.ltr,
            "EmergencyPowerReductionReq": ctl.emergency_power_reduction_request,
            "10BitTagReq": ctl.tag10_requester,
            "OBFF": ctl.obff,
            "EETLPPrefixBlk": ctl.end_end_prefix_blocked,
        }
    if express.link_cap2 is not None:
        link = express.link_cap2
        found["LnkCap2"] = {
            "Supported Link Speeds": max(link.supported_speeds_gts, default=None),
            "Crosslink": link.crosslink,
            "Retimer": link.retimer_presence,
            "2Retimers": link.two_retimers,
            "DRS": link.drs,
        }
    if express.link_ctl2 is not None:
        control = express.link_ctl2
        found["LnkCtl2"] = {
            "Target Link Speed": control.target_speed_gts,
            "EnterCompliance": control.enter_compliance,
            "SpeedDis": control.hw_autonomous_speed_disable,
            "EnterModifiedCompliance": control.modified_compliance,
            "ComplianceSOS": control.compliance_sos,
        }
    if express.link_sta2 is not None:
        status = express.link_sta2
        found["LnkSta2"] = {
            "-3.5dB": status.deemphasis_3_5_db,
            "EqualizationComplete": status.eq_complete,
            "EqualizationPhase1": status.eq_phase1,
            "EqualizationPhase2": status.eq_phase2,
            "EqualizationPhase3": status.eq_phase3,
            "LinkEqualizationRequest": status.link_eq_request,
            "Retimer": status.retimer,
            "2Retimers": status.two_retimers,
            "CrosslinkRes": status.crosslink,
            "FltMode": status.flit,
            "DRS": status.drs_received,
            "DownstreamComp": status.downstream_component,
        }


def _extended(space: ConfigSpace) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    if isinstance(space.aer, AerCapability):
        _aer(space.aer, found)
    if (acs := space.acs) is not None and not isinstance(acs, Unread):
        found["d ACSCap"] = _acs(acs.supported)
        found["d ACSCtl"] = _acs(acs.enabled)
    for capability, bars in (("15", space.rebar), ("24", space.vf_rebar)):
        for bar in () if bars is None or isinstance(bars, Unread) else bars:
            found[f"{capability} BAR {bar.bar}"] = {
                "current size": bar.current_size_bytes,
                "supported": bar.supported_sizes_bytes,
            }
    if (dpc := space.dpc) is not None and not isinstance(dpc, Unread):
        found["1d DpcCap"] = {
            "IntMsg": dpc.interrupt_message,
            "RPExt": dpc.rp_extensions,
            "PoisonedTLP": dpc.poisoned_tlp_capable,
            "SwTrigger": dpc.software_trigger_capable,
            "RP PIO Log": dpc.rp_pio_log_size,
            "DL_ActiveErr": dpc.dl_active_error_capable,
        }
        found["1d DpcCtl"] = {
            "Trigger": dpc.trigger_enable,
            "Cmpl": dpc.completion_control,
            "INT": dpc.interrupt_enabled,
            "ErrCor": dpc.err_cor_enabled,
            "PoisonedTLP": dpc.poisoned_tlp_enabled,
            "DL_ActiveErr": dpc.dl_active_error_enabled,
        }
        found["1d DpcSta"] = {
            "Trigger": dpc.triggered,
            "Reason": dpc.trigger_reason,
            "INT": dpc.interrupt_pending,
            "RPBusy": dpc.rp_busy,
            "TriggerExt": dpc.trigger_reason_extension,
            "RP PIO ErrPtr": dpc.rp_pio_first_error,
        }
        found["1d Source"] = {"RID": dpc.source}
    if (l1ss := space.l1ss) is not None and not isinstance(l1ss, Unread):
        found["1e L1SubCap"] = {
            "PCI-PM_L1.2": l1ss.pm_l12_supported,
            "PCI-PM_L1.1": l1ss.pm_l11_supported,
            "ASPM_L1.2": l1ss.aspm_l12_supported,
            "ASPM_L1.1": l1ss.aspm_l11_supported,
            "L1_PM_Substates": l1ss.supported,
            "PortCommonModeRestoreTime": l1ss.port_common_mode_restore_us,
            "PortTPowerOnTime": l1ss.port_power_on_us,
        }
        found["1e L1SubCtl1"] = {
            "PCI-PM_L1.2": l1ss.pm_l12_enabled,
            "PCI-PM_L1.1": l1ss.pm_l11_enabled,
            "ASPM_L1.2": l1ss.aspm_l12_enabled,
            "ASPM_L1.1": l1ss.aspm_l11_enabled,
            "T_CommonMode": l1ss.common_mode_us,
            "LTR1.2_Threshold": l1ss.ltr_threshold_ns,
        }
        found["1e L1SubCtl2"] = {"T_PwrOn": l1ss.power_on_us}
    if (secondary := space.secondary) is not None and not isinstance(secondary, Unread):
        found["19 LnkCtl3"] = {
            "LnkEquIntrruptEn": secondary.equalization_interrupt,
            "PerformEqu": secondary.perform_equalization,
        }
        found["19 LaneErrStat"] = {"lanes": secondary.lane_errors}
    if (ltr := space.ltr) is not None and not isinstance(ltr, Unread):
        found["18 Max snoop latency"] = {"ns": ltr.max_snoop_ns}
        found["18 Max no snoop latency"] = {"ns": ltr.max_no_snoop_ns}
    if (margining := space.margining) is not None and not isinstance(margining, Unread):
        found["27 PortCap"] = {"Uses Driver": margining.uses_driver}
        found["27 PortSta"] = {"MargReady": margining.ready, "MargSoftReady": margining.software_ready}
    _physical_layers(space, found)
    return found


def _physical_layers(space: ConfigSpace, found: dict[str, dict[str, Any]]) -> None:
    for capability, speed, phy in (("26", 16, space.phy16), ("2a", 32, space.phy32), ("31", 64, space.phy64)):
        if phy is None or isinstance(phy, Unread):
            continue
        found[f"{capability} Phy{speed}Sta"] = {
            "EquComplete": phy.eq_complete,
            "EquPhase1": phy.eq_phase1,
            "EquPhase2": phy.eq_phase2,
            "EquPhase3": phy.eq_phase3,
            "LinkEquRequest": phy.link_eq_request,
        }
    for capability, speed, late in (("2a", 32, space.phy32), ("31", 64, space.phy64)):
        if late is not None and not isinstance(late, Unread):
            found[f"{capability} Phy{speed}Sta"] |= {
                "TxPrecodeOn": late.precoding_on,
                "TxPrecodeReq": late.precoding_requested,
                "NoEqualizationNeededRecv": late.no_eq_needed_received,
            }
    if (phy32 := space.phy32) is not None and not isinstance(phy32, Unread):
        found["2a Phy32Sta"]["ModTsRecv"] = phy32.modified_ts_received
        found["2a Phy32Cap"] = {
            "EqualizationBypass": phy32.eq_bypass_capable,
            "NoEqualizationNeeded": phy32.no_eq_needed_capable,
        }
        found["2a Phy32Ctl"] = {
            "EqualizationBypassDis": phy32.eq_bypass_disabled,
            "NoEqualizationNeededDis": phy32.no_eq_needed_disabled,
        }


def _acs(flags: AcsFlags) -> dict[str, Any]:
    return {
        "SrcValid": flags.source_validation,
        "TransBlk": flags.translation_blocking,
        "ReqRedir": flags.request_redirect,
        "CmpltRedir": flags.completion_redirect,
        "UpstreamFwd": flags.upstream_forwarding,
        "EgressCtrl": flags.egress_control,
        "DirectTrans": flags.direct_translated,
    }


def _aer(aer: AerCapability, found: dict[str, dict[str, Any]]) -> None:
    for register, names in (
        ("UESta", aer.uncorrectable_status),
        ("UEMsk", aer.uncorrectable_mask),
        ("UESvrt", aer.uncorrectable_severity),
    ):
        found[f"1 {register}"] = {name: name in names for name in _UE.values()}
    for register, names in (("CESta", aer.correctable_status), ("CEMsk", aer.correctable_mask)):
        found[f"1 {register}"] = {name: AER_CORRECTABLE[bit] in names for bit, name in _CE.items()}
    found["1 AERCap"] = {
        "First Error Pointer": aer.first_error_pointer,
        "ECRCGenCap": aer.ecrc_generation_capable,
        "ECRCGenEn": aer.ecrc_generation_enabled,
        "ECRCChkCap": aer.ecrc_check_capable,
        "ECRCChkEn": aer.ecrc_check_enabled,
        "MultHdrRecCap": aer.multiple_header_capable,
        "MultHdrRecEn": aer.multiple_header_enabled,
        "TLPPfxPres": aer.tlp_prefix_log_present,
        "HdrLogCap": aer.completion_timeout_log_capable,
    }
    found["1 HeaderLog"] = {"log": aer.header_log}
    if aer.root is not None:
        root = aer.root
        found["1 RootCmd"] = {
            "CERptEn": root.correctable_interrupt,
            "NFERptEn": root.nonfatal_interrupt,
            "FERptEn": root.fatal_interrupt,
        }
        found["1 RootSta"] = {
            "CERcvd": root.correctable_received,
            "MultCERcvd": root.multiple_correctable,
            "UERcvd": root.uncorrectable_received,
            "MultUERcvd": root.multiple_uncorrectable,
            "FirstFatal": root.first_fatal,
            "NonFatalMsg": root.nonfatal_received,
            "FatalMsg": root.fatal_received,
            "IntMsg": root.interrupt_message,
        }
        found["1 ErrorSrc"] = {
            "ERR_COR": root.correctable_source,
            "ERR_FATAL/NONFATAL": root.uncorrectable_source,
        }

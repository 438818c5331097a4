"""Writes what `lspci -vvv -nn` prints of ports, switches and cards, for tests. Independent of the decoder: words only.

The shape is that of pciutils 3.10; `old` and `new` rewrite it into the wordings of 3.1 and 3.14.
"""

from __future__ import annotations

import re

AMD_PORT = "Advanced Micro Devices, Inc. [AMD] Starship/Matisse GPP Bridge [1022:1483]"
UP_1478 = "Advanced Micro Devices, Inc. [AMD/ATI] Navi 10 XL Upstream Port of PCI Express Switch [1002:1478]"
DOWN_1479 = "Advanced Micro Devices, Inc. [AMD/ATI] Navi 10 XL Downstream Port of PCI Express Switch [1002:1479]"
RTX_4090 = "NVIDIA Corporation AD102 [GeForce RTX 4090] [10de:2684]"
RX_7900XTX = "Advanced Micro Devices, Inc. [AMD/ATI] Navi 31 [Radeon RX 7900 XT/7900 XTX] [1002:744c]"
NVME = "Samsung Electronics Co Ltd NVMe SSD Controller PM9A1/PM9A3/980PRO [144d:a80a]"

_UE = ("DLP", "SDES", "TLP", "FCP", "CmpltTO", "CmpltAbrt", "UnxCmplt", "RxOF", "MalfTLP", "ECRC", "UnsupReq", "ACSViol")
_CE = ("RxErr", "BadTLP", "BadDLLP", "Rollover", "Timeout", "AdvNonFatalErr")
_FATAL = ("DLP", "SDES", "FCP", "RxOF", "MalfTLP")
_ACS = ("SrcValid", "TransBlk", "ReqRedir", "CmpltRedir", "UpstreamFwd", "EgressCtrl", "DirectTrans")


def flags(names: tuple[str, ...], on: str) -> str:
    """`RxErr+ BadTLP-`; `on` is a list with blanks."""
    chosen = on.split()
    return " ".join(f"{name}{'+' if name in chosen else '-'}" for name in names)


def _mark(now: float, most: float) -> str:
    return "ok" if now == most else "downgraded"


def express(
    kind: str, *, speed: float, width: int, best: float = 16, lanes: int = 16, target: float | None = None,
    dll: str = "-", reports_dll: str = "-", slot: str = "", corr: str = "+", atomics: str = "32bit- 64bit- 128bitCAS-",
    request: str = "ReqEn-",
) -> list[str]:
    endpoint = "Endpoint" in kind
    lines = [
        f"\tCapabilities: [58] Express (v2) {kind}, MSI 00",
        "\t\tDevCap:\tMaxPayload 256 bytes, PhantFunc 0" + (", Latency L0s unlimited, L1 <64us" if endpoint else ""),
        "\t\t\tExtTag+ RBE+",
        f"\t\tDevCtl:\tCorrErr{corr} NonFatalErr+ FatalErr+ UnsupReq-",
        "\t\t\tRlxdOrd+ ExtTag+ PhantFunc- AuxPwr- NoSnoop+",
        "\t\t\tMaxPayload 256 bytes, MaxReadReq 512 bytes",
        "\t\tDevSta:\tCorrErr- NonFatalErr- FatalErr- UnsupReq- AuxPwr- TransPend-",
        f"\t\tLnkCap:\tPort #0, Speed {best:g}GT/s, Width x{lanes}, ASPM L1, Exit Latency L1 <64us",
        f"\t\t\tClockPM- Surprise- LLActRep{reports_dll} BwNot- ASPMOptComp+",
        "\t\tLnkCtl:\tASPM Disabled; RCB 64 bytes, Disabled- CommClk+",
        "\t\t\tExtSynch- ClockPM- AutWidDis- BWInt- AutBWInt-",
        f"\t\tLnkSta:\tSpeed {speed:g}GT/s ({_mark(speed, best)}), Width x{width} ({_mark(width, lanes)})",
        f"\t\t\tTrErr- Train- SlotClk+ DLActive{dll} BWMgmt- ABWMgmt-",
    ]
    if slot:
        lines += slot.splitlines()
    lines += [
        "\t\tDevCap2: Completion Timeout: Range ABCD, TimeoutDis+ NROPrPrP- LTR-",
        "\t\t\t 10BitTagComp- 10BitTagReq- OBFF Not Supported, ExtFmt+ EETLPPrefix+, MaxEETLPPrefixes 1",
        "\t\t\t EmergencyPowerReduction Not Supported, EmergencyPowerReductionInit-",
        "\t\t\t FRS-",
        f"\t\t\t AtomicOpsCap: {atomics}",
        "\t\tDevCtl2: Completion Timeout: 65ms to 210ms, TimeoutDis- LTR- OBFF Disabled,",
        f"\t\t\t AtomicOpsCtl: {request}",
        f"\t\tLnkCap2: Supported Link Speeds: 2.5-{best:g}GT/s, Crosslink- Retimer+ 2Retimers+ DRS-",
        f"\t\tLnkCtl2: Target Link Speed: {best if target is None else target:g}GT/s, EnterCompliance- SpeedDis-",
        "\t\t\t Transmit Margin: Normal Operating Range, EnterModifiedCompliance- ComplianceSOS-",
        "\t\t\t Compliance De-emphasis: -6dB",
        "\t\tLnkSta2: Current De-emphasis Level: -3.5dB, EqualizationComplete+ EqualizationPhase1+",
        "\t\t\t EqualizationPhase2+ EqualizationPhase3+ LinkEqualizationRequest-",
        "\t\t\t Retimer- 2Retimers- CrosslinkRes: unsupported",
    ]
    return lines


def slot_lines(number: int, *, present: str = "+", hot: str = "+", power: str = "-") -> str:
    return "\n".join((
        f"\t\tSltCap:\tAttnBtn- PwrCtrl- MRL- AttnInd- PwrInd- HotPlug{hot} Surprise-",
        f"\t\t\tSlot #{number}, PowerLimit 75.000W; Interlock- NoCompl+",
        "\t\tSltCtl:\tEnable: AttnBtn- PwrFlt- MRL- PresDet+ CmdCplt- HPIrq+ LinkChg+",
        f"\t\t\tControl: AttnInd Unknown, PwrInd Unknown, Power{power} Interlock-",
        f"\t\tSltSta:\tStatus: AttnBtn- PowerFlt- MRL- CmdCplt- PresDet{present} Interlock-",
        "\t\t\tChanged: MRL- PresDet- LinkState-",
    ))


def aer(
    *, ce: str = "", ce_mask: str = "", ue: str = "", ue_mask: str = "", severity: tuple[str, ...] = _FATAL,
    root: bool = False, source: str = "0000", fatal_source: str = "0000", reports: str = "+", received: str = "-",
) -> list[str]:
    lines = [
        "\tCapabilities: [150 v2] Advanced Error Reporting",
        f"\t\tUESta:\t{flags(_UE, ue)}",
        f"\t\tUEMsk:\t{flags(_UE, ue_mask)}",
        f"\t\tUESvrt:\t{flags(_UE, ' '.join(severity))}",
        f"\t\tCESta:\t{flags(_CE, ce)}",
        f"\t\tCEMsk:\t{flags(_CE, ce_mask)}",
        "\t\tAERCap:\tFirst Error Pointer: 00, ECRCGenCap+ ECRCGenEn- ECRCChkCap+ ECRCChkEn-",
        "\t\t\tMultHdrRecCap- MultHdrRecEn- TLPPfxPres- HdrLogCap-",
        "\t\tHeaderLog: 00000000 00000000 00000000 00000000",
    ]
    if root:
        lines += [
            f"\t\tRootCmd: CERptEn{reports} NFERptEn{reports} FERptEn{reports}",
            f"\t\tRootSta: CERcvd{received} MultCERcvd- UERcvd- MultUERcvd-",
            "\t\t\t FirstFatal- NonFatalMsg- FatalMsg- IntMsg 0",
            f"\t\tErrorSrc: ERR_COR: {source} ERR_FATAL/NONFATAL: {fatal_source} ",
        ]
    return lines


def acs(on: str = "SrcValid") -> list[str]:
    return [
        "\tCapabilities: [2a0 v1] Access Control Services",
        f"\t\tACSCap:\t{flags(_ACS, 'SrcValid TransBlk ReqRedir CmpltRedir UpstreamFwd DirectTrans')}",
        f"\t\tACSCtl:\t{flags(_ACS, on)}",
    ]


def dpc(trigger: str = "-", reason: int = 0) -> list[str]:
    return [
        "\tCapabilities: [380 v1] Downstream Port Containment",
        "\t\tDpcCap:\tINT Msg #0, RPExt+ PoisonedTLP+ SwTrigger+ RP PIO Log 6, DL_ActiveErr+",
        "\t\tDpcCtl:\tTrigger:0 Cmpl- INT- ErrCor- PoisonedTLP- SwTrigger- DL_ActiveErr-",
        f"\t\tDpcSta:\tTrigger{trigger} Reason:{reason:02x} INT- RPBusy- TriggerExt:00 RP PIO ErrPtr:1f",
        "\t\tSource:\t0000",
    ]


def lane_errors(lanes: str = "") -> list[str]:
    return [
        "\tCapabilities: [270 v1] Secondary PCI Express",
        "\t\tLnkCtl3: LnkEquIntrruptEn- PerformEqu-",
        f"\t\tLaneErrStat: {'LaneErr at lane: ' + lanes if lanes else '0'}",
    ]


_STATUS = (
    "\tControl: I/O+ Mem+ BusMaster+ SpecCycle- MemWINV- VGASnoop- ParErr- Stepping- SERR- FastB2B- DisINTx+",
    "\tStatus: Cap+ 66MHz- UDF- FastB2B- ParErr- DEVSEL=fast >TAbort- <TAbort- <MAbort- >SERR- <PERR- INTx-",
    "\tLatency: 0, Cache Line Size: 64 bytes",
)


def bridge(
    bdf: str, secondary: int, *, name: str = AMD_PORT, kind: str = "Root Port (Slot+)", subordinate: int | None = None,
    rev: str = "", extra: tuple[list[str], ...] = (), **link: object,
) -> str:
    bus = int(bdf.split(":")[-2], 16)
    last = secondary if subordinate is None else subordinate
    options: dict[str, object] = {"speed": 16, "width": 16}
    if kind.startswith(("Root", "Downstream")):
        options |= {"dll": "+", "reports_dll": "+"}
    body = express(kind, **{**options, **link})  # type: ignore[arg-type]
    return "\n".join((
        f"{bdf} PCI bridge [0604]: {name}{rev} (prog-if 00 [Normal decode])",
        *_STATUS,
        "\tInterrupt: pin ? routed to IRQ 34",
        "\tNUMA node: 0",
        f"\tBus: primary={bus:02x}, secondary={secondary:02x}, subordinate={last:02x}, sec-latency=0",
        "\tI/O behind bridge: 0000f000-00000fff [disabled]",
        "\tMemory behind bridge: f2000000-f30fffff [size=17M]",
        "\tPrefetchable memory behind bridge: 0000018000000000-00000187ffffffff [size=32G]",
        "\tBridgeCtl: Parity- SERR+ NoISA- VGA- VGA16+ MAbort- >Reset- FastB2B-",
        "\t\tPriDiscTmr- SecDiscTmr- DiscTmrStat- DiscTmrSERREn-",
        "\tCapabilities: [50] Power Management version 3",
        "\t\tFlags: PMEClk- DSI- D1- D2- AuxCurrent=0mA PME(D0+,D1-,D2-,D3hot+,D3cold+)",
        "\t\tStatus: D0 NoSoftRst- PME-Enable- DSel=0 DScale=0 PME-",
        *body,
        *(line for part in extra for line in part),
        "\tKernel driver in use: pcieport",
    )) + "\n"


def nvidia(
    bdf: str, *, name: str = RTX_4090, vram: str = "[size=32G]", place: str = "18000000000", io: str = "f000",
    rebar: str = "256MB 512MB 1GB 2GB 4GB 8GB 16GB 32GB", current: str = "32GB", driver: str | None = "nvidia",
    rev: str = "(rev a1)", extra: tuple[list[str], ...] = (), **link: object,
) -> str:
    body = express("Legacy Endpoint", **{"speed": 2.5, "width": 16, **link})  # type: ignore[arg-type]
    return "\n".join((
        f"{bdf} VGA compatible controller [0300]: {name} {rev} (prog-if 00 [VGA controller])",
        "\tSubsystem: Gigabyte Technology Co., Ltd Device [1458:40bf]",
        "\tPhysical Slot: 3",
        *_STATUS,
        "\tInterrupt: pin A routed to IRQ 211",
        "\tNUMA node: 0",
        "\tIOMMU group: 41",
        "\tRegion 0: Memory at f2000000 (32-bit, non-prefetchable) [size=16M]",
        f"\tRegion 1: Memory at {place} (64-bit, prefetchable) {vram}".rstrip(),
        "\tRegion 3: Memory at 18800000000 (64-bit, prefetchable) [size=32M]",
        f"\tRegion 5: I/O ports at {io} [size=128]",
        "\tExpansion ROM at f3000000 [virtual] [disabled] [size=512K]",
        "\tCapabilities: [60] Power Management version 3",
        "\t\tFlags: PMEClk- DSI- D1- D2- AuxCurrent=0mA PME(D0+,D1-,D2-,D3hot+,D3cold-)",
        "\t\tStatus: D0 NoSoftRst+ PME-Enable- DSel=0 DScale=0 PME-",
        *body,
        "\tCapabilities: [bb0 v1] Physical Resizable BAR",
        "\t\tBAR 0: current size: 16MB, supported: 16MB",
        f"\t\tBAR 1: current size: {current}, supported: {rebar}",
        "\t\tBAR 3: current size: 32MB, supported: 32MB",
        *(line for part in extra for line in part),
        *((f"\tKernel driver in use: {driver}",) if driver else ()),
        "\tKernel modules: nvidiafb, nouveau, nvidia_drm, nvidia",
    )) + "\n"


def amd(bdf: str, *, name: str = RX_7900XTX, rev: str = "(rev c8)", driver: str | None = "amdgpu", vram: str = "[size=32G]",
        extra: tuple[list[str], ...] = (), **link: object) -> str:
    body = express("Legacy Endpoint", **{"speed": 16, "width": 16, "request": "ReqEn+", **link})  # type: ignore[arg-type]
    return "\n".join((
        f"{bdf} VGA compatible controller [0300]: {name} {rev} (prog-if 00 [VGA controller])",
        "\tSubsystem: Sapphire Technology Limited Device [1da2:471e]",
        *_STATUS,
        f"\tRegion 0: Memory at 28000000000 (64-bit, prefetchable) {vram}",
        "\tRegion 2: Memory at 28800000000 (64-bit, prefetchable) [size=256M]",
        "\tRegion 4: I/O ports at 3000 [size=256]",
        "\tRegion 5: Memory at d4000000 (32-bit, non-prefetchable) [size=1M]",
        *body,
        *(line for part in extra for line in part),
        *((f"\tKernel driver in use: {driver}",) if driver else ()),
        "\tKernel modules: amdgpu",
    )) + "\n"


def nvme(bdf: str, **link: object) -> str:
    body = express("Endpoint", **{"speed": 16, "width": 4, "lanes": 4, **link})  # type: ignore[arg-type]
    return "\n".join((
        f"{bdf} Non-Volatile memory controller [0108]: {NVME} (prog-if 02 [NVM Express])",
        *_STATUS,
        "\tRegion 0: Memory at f2410000 (64-bit, non-prefetchable) [size=16K]",
        *body,
        "\tKernel driver in use: nvme",
        "\tKernel modules: nvme",
    )) + "\n"


def rdna_card(first_bus: int, port: str = "0000:40:01.1", slot: dict[str, object] | None = None,
              inner: dict[str, object] | None = None, card: dict[str, object] | None = None) -> str:
    """Root port, the card's own switch, the GPU. `slot` is of the root port and 1478 both, `inner` of 1479 and GPU."""
    up, down, gpu = (f"{first_bus + step:02x}:00.0" for step in range(3))
    outer = slot or {}
    return "\n".join((
        bridge(port, first_bus, subordinate=first_bus + 2, atomics="Routing- 32bit+ 64bit+ 128bitCAS-",
               slot=slot_lines(3), **outer),
        bridge(up, first_bus + 1, name=UP_1478, kind="Upstream Port", subordinate=first_bus + 2, rev=" (rev 10)",
               atomics="Routing+", request="EgressBlck-", **outer),
        bridge(down, first_bus + 2, name=DOWN_1479, kind="Downstream Port (Slot-)", rev=" (rev 10)",
               atomics="Routing+", request="EgressBlck-", **(inner or {})),
        amd(gpu, **{**(inner or {}), **(card or {})}),  # type: ignore[arg-type]
    ))


def flattened(text: str) -> str:
    """As a forum shows it: leading blanks gone, runs of blanks one, tabs gone."""
    return "\n".join(re.sub(r"\s+", " ", line).strip() for line in text.splitlines())


def wrapped(text: str, columns: int = 72) -> str:
    """As a mailer breaks it, tabs turned into eight blanks."""
    out: list[str] = []
    for line in text.splitlines():
        line = line.replace("\t", "        ")
        while len(line) > columns:
            at = line.rfind(" ", len(line) - len(line.lstrip()) + 1, columns + 1)
            if at <= 0:
                break
            out.append(line[:at])
            line = line[at + 1:]
        out.append(line)
    return "\n".join(out)


def old(text: str) -> str:
    """As pciutils 3.1 to 3.5 word it: no marks, one line of LnkSta, `Report errors`, `NonFatalErr`, `Speed unknown`."""
    text = re.sub(r" \((?:ok|downgraded)\)", "", text)
    text = re.sub(r"(LnkSta:\t[^\n]*)\n\t\t\tTrErr", r"\1, TrErr", text)
    text = re.sub(r"DevCtl:\tCorrErr([+-]) NonFatalErr([+-]) FatalErr([+-]) UnsupReq([+-])",
                  r"DevCtl:\tReport errors: Correctable\1 Non-Fatal\2 Fatal\3 Unsupported\4", text)
    text = text.replace("AdvNonFatalErr", "NonFatalErr")
    text = re.sub(r" \[size=\d+[KMG]\](?=\n\t(?:Prefetchable|BridgeCtl))", "", text)
    return text


def new(text: str) -> str:
    """As pciutils 3.14: `IntMsgNum`, `LnkDisable`, marks only where a link is below, bits of PCIe 6 on lines of their own."""
    text = text.replace(" (ok)", "").replace(", MSI 00", ", IntMsgNum 0").replace("bytes, Disabled-", "bytes, LnkDisable-")
    text = re.sub(r"(UE(?:Sta|Msk|Svrt):\t[^\n]*MalfTLP[+-])( [^\n]*ACSViol[+-])",
                  r"\1\n\t\t\t\2 UncorrIntErr- BlockedTLP- AtomicOpBlocked- TLPBlockedErr-"
                  r"\n\t\t\t PoisonTLPBlocked- DMWrReqBlocked- IDECheck- MisIDETLP- PCRC_CHECK- TLPXlatBlocked-", text)
    return re.sub(r"(CE(?:Sta|Msk):\t[^\n]*)", r"\1 CorrIntErr- HeaderOF-", text)

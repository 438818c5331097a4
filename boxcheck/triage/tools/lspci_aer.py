"""Error bits that lspci prints: at which end, in which direction, and whether anybody would have counted.

A bit is set since power-on or since somebody cleared it, once or a million times: there is no count. The receiver of
damaged bits sets RxErr, BadTLP and BadDLLP, the sender of what was never acknowledged sets Timeout and Rollover
(PCI Express Base Specification, 6.2; Linux drivers/pci/pcie/aer.c names the same two sides).

Severity follows the one rule for links: a signal bit is rare and worth a look, a Rollover or an uncorrectable error
fails on the way to a GPU, advisory non-fatal errors never count against a link. A bit that is masked is never cleared
by anybody, so it may stem from training at power-on: on a server with eight sound H100 every GPU link shows some
(gpud's `lspci-vvv.dell-h100`), and it is said without being held against the link.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from boxcheck.decode.klog.events import Cause, Event, Severity
from boxcheck.decode.lspci import LspciFunction
from boxcheck.decode.pci_aer import requester_bdf
from boxcheck.model import Bdf
from boxcheck.probes.pcie_aer import SIGNAL
from boxcheck.triage.tools.lspci_event import called, counted, event, listed
from boxcheck.triage.tools.lspci_scene import Scene, short
from boxcheck.triage.tools.steps import LOG_AROUND

RECEIVED = frozenset(("RxErr", "BadTLP", "BadDLLP"))
ADVISORY = "NonFatalErr"
REFUSED = frozenset(("UnsupReq",))
_DOWNSTREAM = frozenset(("root-port", "downstream-port", "pci-to-pcie-bridge"))
_UPSTREAM = frozenset(("endpoint", "legacy-endpoint", "upstream-port", "pcie-to-pci-bridge"))
_SINCE = "since power-on or the last clear"
_COUNT = "`boxcheck doctor` and /sys/bus/pci/devices/{bdf}/aer_dev_correctable count; read before and after a load"
_CLEAR = "the bits stay until cleared: `sudo setpci -s {bdf} ECAP_AER+10.l=ffffffff`, load the link, read again"
_LOG = LOG_AROUND


def aer_events(scene: Scene) -> Iterator[Event]:
    """Every judgement of error bits, in the order of the text; advisory ones away from GPUs are folded into one."""
    advisory: list[LspciFunction] = []
    refused: list[LspciFunction] = []
    for function in (*scene.functions.values(), *scene.nameless):
        if function.gone:
            continue
        yield from _correctable(scene, function, advisory)
        yield from _uncorrectable(scene, function, refused)
        yield from _source(scene, function)
        yield from _lanes(scene, function)
    if advisory:
        yield event(
            advisory[0], "aer-correctable", "info", "benign",
            f"{_who(scene, advisory)} logged an advisory non-fatal error: software asked for something that was "
            "refused; the link is not at fault", bdf=advisory[0].bdf if len(advisory) == 1 else None,
            labels=(ADVISORY,), count=len(advisory))
    if refused:
        yield event(
            refused[0], "aer-nonfatal", "info", "benign",
            f"{_who(scene, refused)} refused a request (UnsupReq): firmware and software probe devices so at boot; the "
            "link is not at fault", bdf=refused[0].bdf if len(refused) == 1 else None,
            labels=("UnsupReq",), count=len(refused))


def _who(scene: Scene, functions: list[LspciFunction]) -> str:
    return called(scene, functions[0]) if len(functions) == 1 else f"{len(functions)} functions"


def _direction(function: LspciFunction) -> str:
    """What a receiver's bits say of the way the damaged packets came."""
    if function.port_type in _DOWNSTREAM:
        return "what arrives from the card below is damaged (card to host)"
    if function.port_type in _UPSTREAM:
        return "what arrives from the port above is damaged (host to card)"
    return "what arrives here is damaged"


def _correctable(scene: Scene, function: LspciFunction, advisory: list[LspciFunction]) -> Iterator[Event]:
    status = function.correctable_status or ()
    signal = tuple(name for name in status if name in SIGNAL)
    who = called(scene, function)
    if signal:
        received = [name for name in signal if name in RECEIVED]
        if received:
            says = f"{who} logged {listed(signal)} {_SINCE}: {_direction(function)}"
        else:
            says = f"{who} logged {listed(signal)} {_SINCE}: what it sent was not acknowledged in time"
        masked = set(signal) <= set(function.correctable_mask or ())
        severity: Severity = "fail" if "Rollover" in signal else "info" if masked else "warn"
        if masked:
            says += "; the bits are masked, so nobody counts or clears them, and training at power-on may have set them"
        bdf = short(function.bdf)
        # Without damaged packets a time-out is more often a link that wakes slowly from power saving.
        cause: Cause = "config" if signal == ("Timeout",) else "signal"
        yield event(
            function, "aer-correctable", severity, cause, says, labels=signal,
            agent="receiver" if received else "transmitter",
            layer="physical" if signal == ("RxErr",) else "data link",
            help=(_COUNT.format(bdf=function.bdf or "ADDRESS"), _CLEAR.format(bdf=bdf)) if function.bdf else (
                "sudo lspci -vvv, whole, names the device",))
    own = tuple(name for name in status if name not in SIGNAL and name != ADVISORY)
    if own:
        yield event(function, "aer-correctable", "warn", "firmware",
                    f"{who} corrected an error of its own ({listed(own)}) {_SINCE}", labels=own,
                    help=("look for a firmware update of the device; the link is not at fault",))
    if ADVISORY in status:
        advisory.append(function)


def _uncorrectable(scene: Scene, function: LspciFunction, refused: list[LspciFunction]) -> Iterator[Event]:
    status = function.uncorrectable_status or ()
    if not status:
        return
    fatal_bits = set(function.uncorrectable_severity or ())
    masked = set(function.uncorrectable_mask or ())
    for fatal in (True, False):
        found = tuple(name for name in status if (name in fatal_bits) is fatal)
        if not found:
            continue
        if not fatal and set(found) <= REFUSED:
            refused.append(function)
            continue
        severity = _gravity(scene, function, found, masked, fatal)
        dropped = "SDES" in found or "DLP" in found
        says = f"{called(scene, function)} logged {listed(found)} {_SINCE}"
        if dropped:
            says += ": the link dropped"
        if set(found) <= masked:
            says += "; the bits are masked, so nobody was told"
        yield event(
            function, "aer-fatal" if fatal else "aer-nonfatal", severity, "signal" if dropped else None, says,
            labels=found, help=(_LOG, *(("check the card's power leads and its riser",) if dropped else ())))


def _gravity(
    scene: Scene, function: LspciFunction, found: tuple[str, ...], masked: set[str], fatal: bool
) -> Severity:
    """On the way to a GPU an uncorrectable error fails, unless it was masked or can have been advisory."""
    if function.bdf not in scene.gpu_ends or set(found) <= masked:
        return "warn"
    if not fatal and ADVISORY in (function.correctable_status or ()):
        return "warn"
    return "fail"


def _source(scene: Scene, function: LspciFunction) -> Iterator[Event]:
    """ErrorSrc of a root port: who sent the first error message since somebody cleared it."""
    if function.bdf is None:
        return
    domain = int(function.bdf[:-8], 16)
    for source, received, kind, label in (
        (function.correctable_source, function.correctable_received, "a correctable", "ERR_COR"),
        (function.uncorrectable_source, None, "an uncorrectable", "ERR_FATAL/NONFATAL"),
    ):
        if not source:
            continue
        sender = Bdf(requester_bdf(source, domain))
        whom = "itself" if sender == function.bdf else "this device"
        says = f"root port {short(function.bdf)} keeps {whom} as the sender of {kind} error message"
        if received:
            says += ", and nobody has cleared it"
        mild = label == "ERR_COR"
        yield event(
            function, "aer-correctable" if mild else "aer-nonfatal", "info" if mild else "warn", None, says,
            bdf=sender, reporter=function.bdf, labels=(f"{label} source",), help=(_LOG,))


def _lanes(scene: Scene, function: LspciFunction) -> Iterator[Event]:
    """A few lanes of a link: training sets most of them alike, a bad contact one or two."""
    lanes = function.lane_errors or ()
    width = function.width or 16
    if not lanes or 4 * len(lanes) > width or function.bdf not in scene.gpu_ends:
        return
    yield event(
        function, "lane-errors", "info", "signal",
        f"{called(scene, function)} logged errors on {'lane' if len(lanes) == 1 else 'lanes'} {listed(lanes, 16)} of "
        f"x{width} (LaneErrStat), not on the others", labels=tuple(f"lane {lane}" for lane in lanes),
        help=("training sets these bits too; read them again after a load: sudo lspci -vvv | grep LaneErrStat",))


def silent_notes(scene: Scene) -> Iterator[str]:
    """Why a clean error register proves nothing, one clause for each reason."""
    reasons: Counter[str] = Counter()
    for gpu in scene.gpus:
        link = scene.slot_link(gpu)
        ends = (link.port, link.below) if link is not None else (gpu.function,)
        for end in ends:
            if end is None or end.gone or not end.detailed or gpu.integrated:
                continue
            if end.correctable_status is None:
                continue
            if reason := _blind(end):
                reasons[reason] += 1
    for reason, number in reasons.items():
        yield f"nobody counts corrected errors at {counted(number, 'end')} of GPU links: {reason}"


def _blind(end: LspciFunction) -> str | None:
    if end.correctable_reporting is False:
        return "reporting is off (DevCtl CorrErr-)"
    masked = [name for name in SIGNAL if name in (end.correctable_mask or ())]
    if masked:
        return f"{listed(masked)} masked (CEMsk)"
    if end.root_correctable_interrupt is False:
        return "the root port raises no interrupt (RootCmd CERptEn-), as where firmware keeps AER"
    return None

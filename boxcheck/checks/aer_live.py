"""Whether anybody counts the errors of a link: without that, zero proves nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from boxcheck.checks.pcie_signal import config_of, dead, ends
from boxcheck.checks.places import link_evidence, link_subject, path_links, short, unjudged, where
from boxcheck.checks.steps import GRUB_FILE, GRUB_RUN
from boxcheck.checks.wording import listed
from boxcheck.model import BOX, Bdf, Finding, Subject, Unread
from boxcheck.probes.gpus import Gpu, Gpus
from boxcheck.probes.kernel_log import KernelLogs
from boxcheck.probes.links import Link, Links
from boxcheck.probes.pci import PciInventory
from boxcheck.probes.pcie_aer import SIGNAL, Aer
from boxcheck.profile import Profile
from boxcheck.registry import check, marginal, passed, unknown

Severity = Literal["correctable", "uncorrectable"]
_CLASSES: Mapping[Severity, tuple[str, ...]] = {
    "correctable": ("correctable",), "uncorrectable": ("non-fatal", "fatal"),
}
"""Severity -> the messages that tell of it, each with an enable bit of its own."""
SERR_ENABLE = 0x100
NEVER_MASKED = ("DLP", "FCP", "RxOF", "MalfTLP")
"""Uncorrectable errors that no firmware has a reason to mask. It masks Surprise Down on ports whose cards may be
pulled, Completion Timeout and Unsupported Request on some devices."""

TOLD_BY_FIRMWARE = "the log holds an error of it that the firmware reported: the firmware handles its errors first"


def silence(
    link: Link, links: Links, aer: Aer, pci: PciInventory, logs: KernelLogs, severity: Severity = "correctable",
) -> str | None | Unread:
    """Why nobody counts errors of this link; None when both ends are known to be counted; Unread when unknown.

    The words name the part that an end plays and no address, so that one cause of many links reads the same on each.
    """
    if isinstance(aer.disabled_by, Unread):
        return aer.disabled_by
    if aer.disabled_by is not None:
        return f"{aer.disabled_by} on the kernel command line switches AER off"
    above = aer.uncounted.get(link.downstream.bdf)
    if above is not None and above.kind == "absent":
        return "the port above has no AER counters"
    root = root_of(link, links)
    if isinstance(aer.service_ports, Unread):
        return aer.service_ports
    if root not in aer.service_ports:
        return "the kernel's AER service is not bound to the root port: the firmware keeps AER"
    if told_by_firmware(link, logs):
        return TOLD_BY_FIRMWARE
    hidden: Unread | None = None
    for end, part in ((link.downstream, "the port"), (link.upstream, "the card")):
        if end is None:
            continue
        blind = _blind(end.bdf, part, pci, severity)
        if blind is None and end.bdf not in aer.counters:
            # Zero counted at the other end says nothing about the packets that arrive at this one.
            why = aer.uncounted.get(end.bdf)
            hidden = Unread(
                f"{part} has an AER capability, and its counters were not read"
                + (f": {why.why}" if why is not None else ""), why.kind if why is not None else "error")
        elif isinstance(blind, Unread):
            hidden = blind
        elif blind is not None:
            return blind
    if hidden is None and root != link.id:
        return _unheard(root, pci, severity)
    return hidden


def root_of(link: Link, links: Links) -> Bdf:
    """The root port that the error messages of a link arrive at."""
    return (*links.chain(link.id), link)[0].id


def told_by_firmware(link: Link, logs: KernelLogs) -> bool:
    """Whether this boot's log holds a firmware-first record (APEI, GHES) of an end of this link. Such an error never
    reaches the kernel's counters."""
    log = logs.this_boot
    if isinstance(log, Unread):
        return False
    ends = {link.downstream.bdf} | ({link.upstream.bdf} if link.upstream is not None else set())
    return any(event.kind == "ghes-pcie" and event.bdf in ends for event in log.events)


def _unheard(root: Bdf, pci: PciInventory, severity: Severity) -> str | None | Unread:
    """Why the root port tells nobody of messages that arrive from below."""
    function = pci.functions.get(root)
    config = Unread(f"{short(root)} is not in the inventory", "error") if function is None else function.config
    if isinstance(config, Unread):
        return config
    registers = config.aer
    if isinstance(registers, Unread):
        return registers
    if registers is None or registers.root is None:
        return None
    enabled = {"correctable": registers.root.correctable_interrupt, "non-fatal": registers.root.nonfatal_interrupt,
               "fatal": registers.root.fatal_interrupt}
    off = [name for name in _CLASSES[severity] if not enabled[name]]
    return f"the root port raises no interrupt for {' and '.join(off)} errors (RootCmd)" if off else None


def _blind(bdf: Bdf, part: str, pci: PciInventory, severity: Severity) -> str | None | Unread:
    """Why this end reports no link errors of a severity. `part` is what to call it."""
    function = pci.functions.get(bdf)
    if function is None:
        return Unread(f"{short(bdf)} is not in the inventory", "error")
    config = function.config
    if isinstance(config, Unread):
        return config
    if config.all_ones:
        return f"{part} no longer answers"
    if isinstance(config.express, Unread):
        return config.express
    control = config.express.dev_ctl if config.express is not None else None
    if control is not None:
        # SERR# Enable of the Command register lets uncorrectable messages out as well (PCI Express Base, 6.2.6).
        serr = bool(config.command & SERR_ENABLE)
        reports = {"correctable": control.correctable_reporting, "non-fatal": control.nonfatal_reporting or serr,
                   "fatal": control.fatal_reporting or serr}
        off = [name for name in _CLASSES[severity] if not reports[name]]
        if off:
            return f"{part} does not report {' and '.join(off)} errors (DevCtl)"
    if isinstance(config.aer, Unread):
        return config.aer
    if config.aer is None:
        return f"{part} has no AER capability"
    if severity == "correctable":
        masked = [name for name in config.aer.correctable_mask if name in SIGNAL]
    else:
        masked = [name for name in config.aer.uncorrectable_mask if name in NEVER_MASKED]
    if masked:
        return f"{part} masks {', '.join(masked)}"
    return _unheard(bdf, pci, severity)


@check("aer.live", reads=[Gpus, Links, Aer, PciInventory, KernelLogs], needs=["root"])
def live(
    gpus: Gpus, links: Links, aer: Aer, pci: PciInventory, logs: KernelLogs, want: Profile,
) -> Iterator[Finding]:
    """Nobody counts the errors of a GPU's link, so that zero proves nothing.

    Why it matters: the counter files exist whenever the device can report, also where the firmware kept error reporting
    to itself and every count stays at 0 for ever.
    What to do: BIOS setup, PCIe AER (or "AER reporting mechanism"): OS first. No such setting: boot with
    `pcie_ports=native`. Remove pci=noaer and pcie_ports=compat from the kernel command line.
    Completion time-outs that are switched off are told too: what they would have reported hangs instead.
    Not a fault: of the link. Consumer boards often keep AER in firmware.
    By hand: ls /sys/bus/pci_express/drivers/aer; sudo lspci -vv -s <port> | grep -E 'DevCtl|CEMsk|RootCmd'
    """
    judged = False
    silences: dict[str, list[tuple[Gpu, Link]]] = {}
    for gpu, link in path_links(gpus, links, want):
        judged = True
        subject = link_subject(link, gpu)
        silent = silence(link, links, aer, pci, logs)
        if silent is None:
            silent = silence(link, links, aer, pci, logs, "uncorrectable")
        evidence = (*LIVE_EVIDENCE, *link_evidence(link, "config"))
        if isinstance(silent, Unread):
            yield unknown(subject, f"whether errors are counted was not read: {silent.why}", evidence=evidence,
                          needs_root=silent.kind == "permission")
        elif silent is not None and gpu.gone:
            yield unknown(subject, silent, evidence=evidence)
        elif silent is not None:
            silences.setdefault(silent, []).append((gpu, link))
        else:
            yield passed(subject, "both ends report and the kernel counts", evidence=evidence)
        endless = [end.bdf for end in ends(link) if not gpu.gone and _waits_for_ever(end.bdf, pci)]
        if endless:
            names = " and ".join(map(short, endless))
            yield marginal(
                subject, f"completion time-outs are switched off at {names} (DevCtl2): a request that nobody answers "
                "hangs instead of being an error", evidence=link_evidence(link, "config"),
                cause=f"link-timeout:{link.id}", where=where(link, gpu, links, want),
                title=f"{names} waits for ever for an answer",
                help=("reboot; if it is set again, look for completion timeout in the BIOS, or a tool that sets it",))
    for why, found in silences.items():
        yield _silent(why, found, links, want)
    yield from unjudged(gpus, want, judged)


def _waits_for_ever(bdf: Bdf, pci: PciInventory) -> bool:
    config = config_of(bdf, pci)
    express = config if isinstance(config, Unread) else config.express
    if express is None or isinstance(express, Unread) or dead(config) or express.dev_ctl2 is None:
        return False
    return express.dev_ctl2.completion_timeout_disabled


LIVE_EVIDENCE = ("/sys/bus/pci_express/drivers/aer", "/proc/cmdline")


def _silent(why: str, found: Sequence[tuple[Gpu, Link]], links: Links, want: Profile) -> Finding:
    """One finding for one cause, however many links it holds for."""
    gpu, link = found[0]
    subject, place = link_subject(link, gpu), where(link, gpu, links, want)
    whose = f"the link of {link_name(link, subject)}"
    if len(found) > 1:
        whose = f"{len(found)} GPU links"
        names = sorted((str(link_subject(link, gpu)) for gpu, link in found), key=lambda name: (len(name), name))
        subject, place = BOX, listed(names, most=16)
    ends = tuple(path for _, link in found for path in link_evidence(link, "config"))
    # That the firmware reported this link's error is the same happening as the error.
    cause = f"link:{link.id}" if why == TOLD_BY_FIRMWARE and len(found) == 1 else "aer-silent:"
    return marginal(
        subject, f"errors of {whose} are not counted: {why}", evidence=(*LIVE_EVIDENCE, *ends), cause=cause,
        title=f"errors of {whose} are not counted", where=place, help=silence_help(why),
        not_=("a clean link (nobody looked)",))


def silence_help(silent: str) -> tuple[str, ...]:
    if "command line" in silent:
        return (f"take that word out of {GRUB_FILE}", GRUB_RUN)
    if "firmware" in silent:
        return ("BIOS setup: PCIe AER (AER reporting mechanism): OS first",
                f"no such setting: add pcie_ports=native to {GRUB_FILE}, {GRUB_RUN}")
    return ("reboot; if it stays so, firmware or a tool switched reporting off at this end",)


def link_name(link: Link, subject: Subject) -> str:
    return f"slot {link.slot}" if link.slot else str(subject)

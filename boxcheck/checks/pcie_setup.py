"""Settings of links and ports that firmware, the kernel or a tool made: power saving, payload, containment."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.checks.pcie_signal import config_of, ends
from boxcheck.checks.places import link_evidence, link_subject, path_links, seat, short, slot_links, unjudged, where
from boxcheck.checks.steps import READ_THE_LOG
from boxcheck.checks.wording import counted
from boxcheck.model import BOX, Finding, Quantity, Subject, Unread
from boxcheck.probes.gpus import Gpus
from boxcheck.probes.links import Links
from boxcheck.probes.pci import PciInventory
from boxcheck.probes.pcie_runtime import PcieRuntime
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, limit, marginal, passed, skipped, unknown

SLOT_POWER = limit(
    "link.slot_power_watts", float, "ge", "W", "Power that a slot must be set to grant a card.", low=10, high=1000
)


@check("pcie.speed-disable", reads=[Gpus, Links, PciInventory], needs=["root"])
def speed_disable(gpus: Gpus, links: Links, pci: PciInventory, want: Profile) -> Iterator[Finding]:
    """The port above a GPU forbids the hardware to change the link speed by itself.

    Why it matters: a card that rested at a low speed can then stay there while it works.
    What to do: find the tool or rule that set it (link margining tools do); a reboot clears it.
    Not a fault: some firmware sets it on purpose; then the speed under load tells.
    By hand: sudo lspci -vv -s <port> | grep 'SpeedDis'
    """
    judged = False
    for gpu, link in path_links(gpus, links, want):
        judged = True
        subject = link_subject(link, gpu)
        config = config_of(link.id, pci)
        express = config if isinstance(config, Unread) else config.express
        evidence = link_evidence(link, "config")[:1]
        if isinstance(express, Unread):
            yield unknown(subject, f"not read: {express.why}", needs_root=express.kind == "permission",
                          evidence=evidence)
        elif express is None or express.link_ctl2 is None:
            yield skipped(subject, "the port has no such setting")
        elif express.link_ctl2.hw_autonomous_speed_disable:
            yield marginal(
                subject, "autonomous speed change is disabled at the port (LnkCtl2)", evidence=evidence,
                cause=f"link:{link.id}", where=where(link, gpu, links, want),
                title=f"the speed of {subject} is frozen by a setting",
                help=("reboot; if it is set again, look for a udev rule or a margining tool that sets it",),
            )
        else:
            yield passed(subject, "the hardware may change the link speed", evidence=evidence)
    yield from unjudged(gpus, want, judged)


@check("pcie.aspm", reads=[Gpus, Links, PciInventory, PcieRuntime], needs=["root"])
def aspm(gpus: Gpus, links: Links, pci: PciInventory, runtime: PcieRuntime, want: Profile) -> Iterator[Finding]:
    """Active-state power saving (ASPM) is on between a GPU and its port.

    Why it matters: a link that wakes slowly shows replay time-outs, and some cards drop out on the way.
    What to do: `pcie_aspm=off` on the kernel command line, or
    `echo performance | sudo tee /sys/module/pcie_aspm/parameters/policy` until the next boot.
    Not a fault: on a laptop or an APU, where it saves battery.
    By hand: sudo lspci -vv -s <port> | grep -E 'LnkCtl:.*ASPM'
    """
    judged = False
    for gpu, link in path_links(gpus, links, want):
        judged = True
        subject = link_subject(link, gpu)
        states: dict[str, tuple[str, ...]] = {}
        hidden: Unread | None = None
        known = 0
        for end in ends(link):
            config = config_of(end.bdf, pci)
            express = config if isinstance(config, Unread) else config.express
            if isinstance(express, Unread):
                hidden = express
            elif express is not None and express.link_ctl is not None:
                known += 1
                if express.link_ctl.aspm:
                    states[short(end.bdf)] = express.link_ctl.aspm
        policy = runtime.aspm_policy
        noted = (f"the kernel's policy is {policy}",) if isinstance(policy, str) else ()
        if states and not gpu.gone:
            text = "; ".join(f"{' and '.join(names)} at {end}" for end, names in states.items())
            yield marginal(
                subject, f"power saving is on: {text}", evidence=link_evidence(link, "config"), notes=noted,
                cause=f"link-power:{link.id}", where=where(link, gpu, links, want),
                title=f"power saving is on for the link of {subject}",
                help=("add pcie_aspm=off to the kernel command line and reboot, or until then: "
                      "echo performance | sudo tee /sys/module/pcie_aspm/parameters/policy",),
            )
        elif hidden is not None:
            yield unknown(subject, f"not read: {hidden.why}", needs_root=hidden.kind == "permission")
        elif gpu.gone:
            yield unknown(subject, "the card no longer answers")
        elif not known:
            yield skipped(subject, "neither end has such a setting")
        else:
            yield passed(subject, "no power saving on the link")
    yield from unjudged(gpus, want, judged)


@check("pcie.payload", reads=[Gpus, Links, PciInventory], needs=["root"])
def payload(gpus: Gpus, links: Links, pci: PciInventory, want: Profile) -> Iterator[Finding]:
    """Ports between a GPU and the root are set to different maximum payload sizes.

    Why it matters: packets larger than a port takes are errors; smaller ones than it could take cost bandwidth.
    What to do: boot with `pci=pcie_bus_safe`, or `pci=pcie_bus_perf` for the largest that each path takes.
    Not a fault: a path on which all ports agree on 128 bytes is slow, and right.
    By hand: sudo lspci -vv -s <port> | grep MaxPayload
    """
    judged = False
    for gpu, link in slot_links(gpus, links, want):
        judged = True
        subject = link_subject(link, gpu)
        sizes: dict[str, int] = {}
        hidden: Unread | None = None
        for step in links.chain(gpu.bdf):
            for end in ends(step):
                config = config_of(end.bdf, pci)
                express = config if isinstance(config, Unread) else config.express
                if isinstance(express, Unread):
                    hidden = express
                elif express is not None and express.dev_ctl.max_payload_bytes is not None and not gpu.gone:
                    sizes[short(end.bdf)] = express.dev_ctl.max_payload_bytes
        if hidden is not None:
            yield unknown(subject, f"not read: {hidden.why}", needs_root=hidden.kind == "permission")
        elif gpu.gone:
            yield unknown(subject, "the card no longer answers")
        elif len(set(sizes.values())) > 1:
            text = ", ".join(f"{end} {size} bytes" for end, size in sizes.items())
            yield marginal(
                subject, f"payload sizes differ on the path: {text}", cause=f"link-payload:{link.id}",
                where=where(link, gpu, links, want), title=f"payload sizes differ on the path to {subject}",
                help=("boot with pci=pcie_bus_safe; sudo lspci -vv shows MaxPayload of every port afterwards",),
            )
        elif not sizes:
            yield unknown(subject, "no port on the path says a payload size that is known")
        else:
            yield passed(subject, f"payload of {next(iter(sizes.values()))} bytes on the whole path")
    yield from unjudged(gpus, want, judged)


@check("pcie.slot-power", reads=[Gpus, Links], limits=[SLOT_POWER], needs=["root"])
def slot_power(gpus: Gpus, links: Links, want: Profile) -> Iterator[Finding]:
    """A GPU's slot is set to grant its card less power than a graphics slot gives.

    Why it matters: a card may keep to the limit that the port announces and stay slow, or not start.
    What to do: BIOS setup: slot power limit to 75 W or Auto.
    Not a fault: the limit covers the slot's own pins; leads from the supply are not counted.
    A power fault that the port has logged is told as well; the bit stays until software clears it.
    By hand: sudo lspci -vv -s <port> | grep -E 'PowerLimit|PwrFlt'
    """
    bound = want.limit(SLOT_POWER)
    faulty = [(gpu, link) for gpu, link in path_links(gpus, links, want) if link.power_fault]
    for gpu, link in faulty:
        subject = link_subject(link, gpu)
        yield marginal(
            subject, "the port has seen a fault of the slot's power (SltSta PwrFlt)", cause=f"link:{link.id}",
            evidence=link_evidence(link, "config")[:1], where=where(link, gpu, links, want),
            title=f"the power of the slot of {subject} failed once", help=seat(link, want))
    if bound is None and faulty:
        return
    if bound is None:
        yield skipped(BOX, f"the profile sets no {SLOT_POWER}")
        return
    judged = False
    for gpu, link in path_links(gpus, links, want):
        judged = True
        subject = link_subject(link, gpu)
        least = bound.must if bound.must is not None else bound.should
        if isinstance(link.presence_detect, Unread):
            yield unknown(subject, f"not read: {link.presence_detect.why}",
                          needs_root=link.presence_detect.kind == "permission")
        elif not link.slot_power_watts:
            yield skipped(subject, "the port announces no slot power")
        elif link.slot_power_watts >= least:
            yield passed(subject, f"{link.slot_power_watts:g} W, {least:g} W wanted", limit=bound,
                         measured=Quantity(link.slot_power_watts, "W"))
        else:
            make = failed if bound.must is not None and link.slot_power_watts < bound.must else marginal
            yield make(
                subject, f"the slot grants {link.slot_power_watts:g} W, {least:g} W wanted", limit=bound,
                measured=Quantity(link.slot_power_watts, "W"), evidence=link_evidence(link, "config")[:1],
                cause=f"slot-power:{link.id}", where=where(link, gpu, links, want),
                title=f"{subject} is set to grant {link.slot_power_watts:g} W only",
                help=("BIOS setup: slot power limit to 75 W or Auto",),
            )
    yield from unjudged(gpus, want, judged)


POWER_STATES = frozenset({"D0", "D1", "D2", "D3hot", "D3cold"})
"""What a function can be in; the kernel also says `error` and `unknown` (drivers/pci/pci.c, pci_power_names)."""


@check("pcie.power-state", reads=[Gpus])
def power_state(gpus: Gpus, want: Profile) -> Iterator[Finding]:
    """A GPU sleeps (D3) while it should be ready.

    Why it matters: a sleeping card answers late or not at all, and its readings are not real.
    What to do: `echo on | sudo tee /sys/bus/pci/devices/<gpu>/power/control`; boot with `amdgpu.runpm=0`.
    Not a fault: a laptop's second GPU, which sleeps until it is used.
    By hand: cat /sys/bus/pci/devices/<gpu>/power_state
    """
    judged = [gpu for gpu in gpus.gpus if not gpu.integrated]
    if gpus.unreadable is not None:
        yield unknown(BOX, f"not read: {gpus.unreadable.why}")
    elif not judged:
        yield skipped(BOX, "no card that could sleep")
    for gpu in judged:
        state = gpu.function.power_state
        evidence = (f"/sys/bus/pci/devices/{gpu.bdf}/power_state",)
        if state == "unknown":
            # What a kernel says of a card that no driver has ever bound (drivers/pci/pci.c, pci_power_name).
            yield unknown(gpu.subject, "the kernel knows no power state of it: no driver has bound it",
                          evidence=evidence)
        elif state not in POWER_STATES:
            yield unknown(gpu.subject, "its power state was not read", evidence=evidence)
        elif state == "D0":
            yield passed(gpu.subject, "awake (D0)", evidence=evidence)
        elif not want.gpus.parts:
            yield passed(gpu.subject, f"asleep ({state}), as an unused GPU may be", evidence=evidence)
        else:
            yield marginal(
                gpu.subject, f"asleep ({state}) while it should be ready", evidence=evidence,
                cause=f"gpu-asleep:{gpu.bdf}", title=f"{gpu.slot or gpu.subject.name} sleeps",
                help=(f"echo on | sudo tee /sys/bus/pci/devices/{gpu.bdf}/power/control",
                      "for good: boot with amdgpu.runpm=0 (AMD), or set the power control by a udev rule"),
            )


@check("pcie.containment", reads=[Gpus, Links, PciInventory], needs=["root"])
def containment(gpus: Gpus, links: Links, pci: PciInventory, want: Profile) -> Iterator[Finding]:
    """Downstream port containment (DPC) has shut a port after a fatal error.

    Why it matters: the port holds its link down, so nothing below it answers, until software releases it.
    What to do: look at the kernel log for the error that triggered it; power off, check the card's power and riser.
    Not a fault: `RP PIO log size 0 is invalid` in the log; it says nothing about errors.
    By hand: sudo lspci -vv -s <port> | grep DpcSta
    """
    if pci.unreadable is not None:
        yield unknown(BOX, f"not read: {pci.unreadable.why}")
        return
    hidden: Unread | None = None
    ports = triggered = 0
    for link in links.links.values():
        config = config_of(link.id, pci)
        dpc = config if isinstance(config, Unread) else config.dpc
        if isinstance(dpc, Unread):
            hidden = dpc
            continue
        if dpc is None:
            continue
        ports += 1
        if not dpc.triggered:
            continue
        triggered += 1
        gpu = next((gpu for gpu in gpus.gpus if gpu.slot_link == link.id), None)
        reason = _REASONS.get(dpc.trigger_reason, "an unknown reason")
        yield failed(
            Subject("link", name=f"port {short(link.id)}", slot=link.slot, bdf=link.id),
            f"containment holds the port shut, triggered by {reason}", evidence=link_evidence(link, "config")[:1],
            cause=f"link-down:{link.id}", where=where(link, gpu, links, want),
            title=f"the port of {link.slot or short(link.id)} was shut after a fatal error",
            help=(READ_THE_LOG, *seat(link, want)),
        )
    if triggered:
        return
    if hidden is not None:
        yield unknown(BOX, f"not read: {hidden.why}", needs_root=hidden.kind == "permission")
    elif pci.incomplete is not None:
        yield unknown(BOX, f"not read: {pci.incomplete.why}")
    elif not ports:
        yield skipped(BOX, "no port of this machine has containment")
    else:
        yield passed(BOX, f"{counted(ports, 'port has', 'ports have')} containment, none is triggered")


_REASONS = {
    0: "an unmasked uncorrectable error", 1: "an ERR_NONFATAL message", 2: "an ERR_FATAL message",
    3: "an extended reason (RP PIO or software)",
}
"""DPC Status, trigger reason (PCI Express Base Specification, section 7.9.14.4)."""

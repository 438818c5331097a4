"""The rule about a GPU that was lost, where nothing before it in the order explains why."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.decode.klog.events import KernelLog
from boxcheck.model import Bdf
from boxcheck.triage.machine import bus_of
from boxcheck.triage.rules import rule
from boxcheck.triage.rules.links import LONG_AGO_SECONDS
from boxcheck.triage.rules.words import (
    AER,
    LINK_TROUBLE,
    START_FAILED,
    indices,
    is_lost,
    is_signal,
    lost_gpu,
    sign_text,
    wake_of,
)
from boxcheck.triage.scene import Diagnosis, Scene, Sighting, apart_seconds, gravest, not_after, same_log

FALL_SECONDS = 90.0
"""The kernel waits 65 s in all for a device to become ready (PCIE_RESET_READY_POLL_MS) before it gives it up."""


@rule("gpu-lost")
def gpu_lost(scene: Scene) -> Iterator[Diagnosis]:
    """A GPU was lost, and nothing else in the evidence says why: power or its link.

    Why: a GPU that no longer answers over PCIe has lost power, its link or itself; the driver cannot tell which. Cards
    that are lost under load, and come back after a power cycle, most often lacked power for a moment.
    Not: an application: no program can take a card off the bus.
    Source: NVIDIA's Xid catalogue (79: hardware, driver, thermal or power).
    """
    lost = [sighting for sighting in scene.free if lost_gpu(scene, sighting)]
    yield from _same_reading(scene, lost)
    lost = [sighting for sighting in lost if sighting in scene.free]
    for card in dict.fromkeys(_card(sighting) for sighting in lost):
        mine = [sighting for sighting in lost if _card(sighting) == card]
        links = {sighting.link for sighting in mine if sighting.link is not None}
        around = [
            sighting for sighting in scene.free
            if sighting not in mine and any(same_log(sighting, one) for one in mine) and (
                (card is not None and _card(sighting) == card and sighting.kind in ("xid", *AER, *START_FAILED))
                or (sighting.kind in (*AER, "aer-recovery-failed", "amdgpu-pci-error") and sighting.link in links))]
        around += [sighting for sighting in wake_of(scene, mine) if sighting not in around]
        bdf = mine[0].bdf
        name = scene.machine.name(bdf) if bdf is not None else "a GPU"
        yield Diagnosis(
            rule="", key=f"gpu-lost:{bdf or ''}", title=f"{name} was lost",
            where=scene.machine.where(bdf) if bdf is not None else "a GPU that the text does not name", cause="power",
            sure="possible", because=tuple(dict.fromkeys((
                *(sighting.event.says for sighting in mine[:3]), *(sign_text(sighting) for sighting in around[:3]),
                _no_damage(scene, mine, around)))),
            events=indices(mine, around), severity=gravest(mine),
            help=(
                "power the machine off and on; the GPU does not come back without",
                "check the card's power plugs and cables at both ends, one cable a plug; then its seat and riser",
                "lower its power limit and run the same load again: if it holds, it is power; if not, move the card to"
                " another slot",
            ),
            not_=("an application: no program can take a card off the bus",),
        )


def _same_reading(scene: Scene, lost: list[Sighting]) -> Iterator[Diagnosis]:
    """Several cards that one output of a tool calls lost: when each went, it does not tell."""
    for source in dict.fromkeys(sighting.source for sighting in lost if not sighting.log):
        mine = [sighting for sighting in lost if sighting.source == source and not sighting.log]
        cards = list(dict.fromkeys(_card(sighting) for sighting in mine if sighting.bdf is not None))
        if len(cards) < 2:
            continue
        names = ", ".join(dict.fromkeys(scene.machine.short(one.bdf) for one in mine if one.bdf is not None))
        yield Diagnosis(
            rule="", key="gpu-lost:several", title=f"{len(cards)} GPUs do not answer", where=names, cause="power",
            sure="possible", because=(f"not answering: {names}", "when each was lost, this output does not tell: the"
                                      " kernel log does (sudo dmesg)"),
            events=indices(mine), severity=gravest(mine), help=(
                "power the machine off and on; lost GPUs do not come back without",
                "read the kernel log: lost in the same second points to the supply, one after another to each one's"
                " link", "check the power plugs of these cards, then their seats and risers"),
            not_=("an application: no program can take a card off the bus",),
        )


@rule("device-lost")
def device_lost(scene: Scene) -> Iterator[Diagnosis]:
    """A device stopped answering, mostly after it was put to sleep or reset: power saving, firmware, or its link.

    Why: a device that does not come back from D3cold was without power, and something on its way up failed: its own
    firmware, the port's power switch, or the link's training.
    Not: an application.
    Source: drivers/pci/pci.c (pci_power_up, pci_dev_wait); PCI Express Base Specification 5.3 (power states).
    """
    lost = [sighting for sighting in scene.free if is_lost(sighting)]
    while lost:
        first = lost[0]
        group = [sighting for sighting in lost if sighting is first or _one_fall(scene, first, sighting)]
        lost = [sighting for sighting in lost if sighting not in group]
        links = {sighting.link for sighting in group} | {sighting.bdf for sighting in group}
        signs = [sighting for sighting in scene.free if sighting.bad and sighting.kind in LINK_TROUBLE
                 and any(not_after(sighting, one) and _near(sighting, one) for one in group)]
        # A device that is dead reads as D3cold as well, so that word alone says nothing of sleep.
        asleep = any("after resume" in sighting.event.text for sighting in group)
        named = [bdf for bdf in dict.fromkeys(sighting.bdf for sighting in group) if bdf is not None]
        names = ", ".join(scene.machine.short(bdf) for bdf in named[:6])
        yield Diagnosis(
            rule="", key=f"device-lost:{named[0] if named else ''}",
            title=f"{names or 'a device'} does not answer" if len(named) < 2 else f"{len(named)} devices do not answer",
            where=scene.machine.where(named[0]) if len(named) == 1 else names, cause="power",
            sure="likely" if asleep or signs else "possible",
            because=tuple(dict.fromkeys((
                *(sign_text(sighting) for sighting in signs[:2]), *(sighting.event.says for sighting in group[:3]),
                *(("it was being woken up just before",) if asleep else
                  ("a device without power, and one that is dead, both read as D3cold",) if any(
                      "D3cold" in sighting.event.text for sighting in group) else ())))),
            events=indices(group, [sign for sign in signs if sign.link in links or len(signs) == 1]),
            severity=gravest(group), help=(
                "power the machine off and on: the device may not come back without",
                *((f"keep it awake: boot with pcie_port_pm=off, or echo on | sudo tee {_control(named)}",)
                  if asleep else ()),
                "update the BIOS and the device's firmware", "then check its seat, riser and power plugs"),
            not_=("an application",),
        )


def _control(named: list[Bdf]) -> str:
    return f"/sys/bus/pci/devices/{named[0] if named else 'ADDRESS'}/power/control"


def _one_fall(scene: Scene, one: Sighting, other: Sighting) -> bool:
    """Whether two losses are one happening: the same card, one below the other, or within a minute of one log."""
    if _near(one, other):
        return True
    if one.bdf is None or other.bdf is None:
        return False
    return scene.machine.same_card(one.bdf, other.bdf) or one.bdf in scene.machine.ancestors(other.bdf) or (
        other.bdf in scene.machine.ancestors(one.bdf))


def _near(one: Sighting, other: Sighting) -> bool:
    apart = apart_seconds(one, other)
    return apart is not None and apart <= FALL_SECONDS


def _no_damage(scene: Scene, mine: list[Sighting], around: list[Sighting]) -> str:
    """What the evidence tells of damage on the link of a card that was lost."""
    if any(is_signal(sighting) for sighting in around):
        return "the errors of its link came after the loss, so they may be its wake"
    stray = next((one for one in scene.all if is_signal(one) and one.bdf is not None
                  and not scene.machine.below(one.bdf) and not scene.machine.is_gpu(one.bdf)), None)
    if stray is not None and stray.bdf is not None:
        return (f"{bus_of(stray.bdf)} reports damaged packets, and the evidence does not say what hangs below it: sudo"
                " lspci -vvv would")
    if not any(_covers(scene.logs[source], mine, source) for source in scene.logs):
        return ("whether its link had errors before is not known, so the riser is as open as power: a kernel log from"
                " the boot to the loss would tell (sudo dmesg, whole)")
    if scene.of("aer-not-owned", free=False):
        return "firmware keeps PCIe errors to itself here, so a log without them does not clear the riser"
    return "no damaged packet of its link is in the kernel log, so power comes before the riser"


def _covers(log: KernelLog, mine: list[Sighting], source: int) -> bool:
    """Whether a log holds the loss and would hold the link's errors before it. One that is mostly events is what grep
    left of one."""
    lost = next((one.event for one in mine if one.log and one.source == source), None)
    filtered = log.lines < 2 * sum(event.count for event in log.events)
    if lost is None or log.truncated or log.before_since or filtered:
        return False
    if log.facts.from_boot or lost.boot:
        return True
    return log.first_seconds is not None and isinstance(lost.first, float) and (
        lost.first - log.first_seconds >= LONG_AGO_SECONDS)


def _card(sighting: Sighting) -> str | None:
    return sighting.bdf.rsplit(".", 1)[0] if sighting.bdf is not None else None

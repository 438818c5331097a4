"""The links on the way to each GPU, what each end of them counts, and which links a payload crossed. Pure.

A hop is one link: the port above (root port, downstream port of a switch) and what hangs below (a card, the upstream
port of a switch). A card with a switch of its own (RDNA) has two: the slot's and the one on the card. Where a payload's
way is not known it is on no hop: bits that a link did not move would make a bound on its error rate better than it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from boxcheck.checks.aer_live import silence
from boxcheck.gpu import GpuInfo
from boxcheck.model import Bdf, Unread
from boxcheck.probes.kernel_log import KernelLogs
from boxcheck.probes.links import Link, Links
from boxcheck.probes.pci import PciInventory
from boxcheck.probes.pcie_aer import Aer
from boxcheck.stress.copy_checks import C2C

Toward = Literal["card", "host"]
"""Which way bits go: `card` from the port above to what hangs below, `host` the other way."""
WAYS: tuple[Toward, ...] = ("card", "host")
OWN_FABRIC = "it may have gone over NVLink or xGMI: not attributed"
PCIE_ALONE = ("sm_89", "sm_120", "gfx11", "gfx12")
"""Architectures whose cards have nothing but PCI Express between them: Ada and the desktop Blackwell have no NVLink
(NVIDIA's data sheets of RTX 4090, RTX 6000 Ada, L40S, RTX 5090, RTX PRO 6000), RDNA 3 and 4 no xGMI."""


class Hop(msgspec.Struct, frozen=True, kw_only=True):
    """One link on the way to a GPU."""

    port: Bdf
    card: Bdf | None
    """None where nothing below the port was read."""
    slot: str | None = None
    on_card: bool = False
    gigatransfers: float | None = None
    """GT/s that both ends can do; None where that was not read."""
    lanes: int | None = None
    silent: Mapping[Bdf, str | Unread] = {}
    """Ends that count no errors, or of which it is not known (Unread). An end that is not here counts."""

    def receiver(self, toward: Toward) -> Bdf | None:
        """The end at which bits of a direction arrive: it counts RxErr, BadTLP and BadDLLP."""
        return self.card if toward == "card" else self.port

    def sender(self, toward: Toward) -> Bdf | None:
        """The end that sends them: it counts Timeout and Rollover (drivers/pci/pcie/aer.c, AER_AGENT_TRANSMITTER)."""
        return self.port if toward == "card" else self.card

    @property
    def gigabits(self) -> float | None:
        """What crosses it one way in a second, at the most that both ends can do; line code included."""
        return None if self.gigatransfers is None or self.lanes is None else self.gigatransfers * self.lanes


class LinkMap(msgspec.Struct, frozen=True, kw_only=True):
    """The hops above the GPUs of a run."""

    hops: Mapping[Bdf, Hop]
    """By the port above: those that payloads cross."""
    ways: Mapping[str, tuple[Bdf, ...]]
    """Device key -> its hops, root first. Devices that hang on no link that can be seen are left out, and those that
    compute in the host's memory or reach it over NVLink-C2C: what is copied there crosses none of these links."""
    ends: Mapping[Bdf, str | None | Unread] = {}
    """Every function on the way to a device, and why it counts no errors; None where it is known to count."""
    pcie_alone: frozenset[str] = frozenset()
    """Devices that reach each other over PCI Express and over nothing else."""

    def silent(self, bdf: Bdf) -> str | None | Unread:
        """Why this function counts no errors; None where it is known to count; Unread where that is not known."""
        if bdf in self.ends:
            return self.ends[bdf]
        return Unread("it is on no link that was read when the run began", "absent")


def link_map(gpus: Sequence[GpuInfo], links: Links, aer: Aer, pci: PciInventory, logs: KernelLogs) -> LinkMap:
    """The hops above these devices, as they were read before the load."""
    ways = {
        info.key: tuple(link.id for link in links.chain(info.bdf))
        for info in gpus if info.bdf is not None and links.chain(info.bdf)}
    hops = {port: hop_of(links.links[port], links, aer, pci, logs) for way in ways.values() for port in way}
    ends = {end: hop.silent.get(end) for hop in hops.values() for end in (hop.port, hop.card) if end is not None}
    for info in gpus:
        if info.unified or C2C.search(info.name):
            ways.pop(info.key, None)
    crossed_ones = {port for way in ways.values() for port in way}
    alone = frozenset(info.key for info in gpus if info.key in ways and info.arch.startswith(PCIE_ALONE))
    return LinkMap(
        hops={port: hop for port, hop in hops.items() if port in crossed_ones}, ways=ways, ends=ends, pcie_alone=alone)


def hop_of(link: Link, links: Links, aer: Aer, pci: PciInventory, logs: KernelLogs) -> Hop:
    silent: dict[Bdf, str | Unread] = {}
    for end in filter(None, (link.downstream, link.upstream)):
        # A link of one end, so that each end is asked for itself: what arrives at one is counted there alone.
        one = msgspec.structs.replace(link, downstream=end, upstream=None)
        found = _silence(one, links, aer, pci, logs)
        if found is not None:
            silent[end.bdf] = found
    speed, lanes = link.capable_speed_gts, link.capable_width
    return Hop(
        port=link.id, card=link.upstream.bdf if link.upstream else None, slot=link.slot, on_card=link.on_card,
        gigatransfers=speed if isinstance(speed, float) else None, lanes=lanes if isinstance(lanes, int) else None,
        silent=silent)


def _silence(end: Link, links: Links, aer: Aer, pci: PciInventory, logs: KernelLogs) -> str | None | Unread:
    missing = aer.uncounted.get(end.id)
    if missing is not None and missing.kind == "absent":
        return "it has no AER counters"
    found = silence(end, links, aer, pci, logs)
    if isinstance(found, str):
        return found.replace("the port ", "it ")
    return Unread(found.why.replace("the port ", "it "), found.kind) if isinstance(found, Unread) else None


class Crossing(msgspec.Struct, frozen=True):
    """The hops that a payload surely crossed, and what is not known of its way."""

    hops: tuple[tuple[Bdf, Toward], ...]
    unknown: str | None = None
    """Why it may have crossed others, or is on none; None where all are known."""


def crossed(way: str, where: LinkMap) -> Crossing:
    """For a way as a sample names it: `host>cuda:0`, `cuda:0>cuda:1`."""
    source, _, target = way.partition(">")
    if source == "host" or target == "host":
        key = target if source == "host" else source
        toward: Toward = "card" if source == "host" else "host"
        hops = where.ways.get(key)
        if hops is None:
            return Crossing((), f"{key} hangs on no link that can be seen")
        return Crossing(tuple((port, toward) for port in hops))
    up, down = where.ways.get(source), where.ways.get(target)
    if up is None or down is None or source == target:
        return Crossing((), f"{source if up is None else target} hangs on no link that can be seen")
    if not {source, target} <= where.pcie_alone:
        return Crossing((), OWN_FABRIC)
    shared = 0
    while shared < min(len(up), len(down)) and up[shared] == down[shared]:
        shared += 1
    own = (*((port, WAYS[1]) for port in up[shared:]), *((port, WAYS[0]) for port in down[shared:]))
    # ACS may send packets between two ports of a switch up to the root and back; what the switch does now is not asked.
    return Crossing(own, "whether it also went above the switch that both share is not known" if shared else None)

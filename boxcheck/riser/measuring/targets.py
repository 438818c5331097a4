"""The links that can be measured, and what can put traffic on each: from the facts of the box.

On a card with a switch of its own (RDNA) the slot's link is the one above that switch, and its traffic is what the GPU
behind it moves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from boxcheck.checks.pcie_link import wanted_speed, wanted_width
from boxcheck.engine.inspect import Facts
from boxcheck.engine.until_ber import map_of
from boxcheck.gpu import GpuInfo
from boxcheck.model import Bdf, Limit, Unread
from boxcheck.probes.gpus import Gpus
from boxcheck.probes.kernel_log import KernelLogs
from boxcheck.probes.links import Link, Links
from boxcheck.probes.pci import PciInventory
from boxcheck.probes.pcie_aer import Aer
from boxcheck.profile import Profile
from boxcheck.riser.links.link_pair import pci_pair
from boxcheck.riser.links.ports import LinkPair
from boxcheck.stress.link_routes import Hop, LinkMap, hop_of


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One link that is to be measured."""

    hop: Hop
    slot: str
    """What looks at it are called after: the board's name, else the address of the port."""
    keys: tuple[str, ...] = ()
    """Devices of a runtime whose traffic crosses it. Empty: no runtime drives what is there."""
    gpus: tuple[tuple[Bdf, str], ...] = ()
    """Functions whose driver tells replays and temperatures, with the vendor's PCI id."""
    pair: LinkPair | None = None
    """Offsets of registers; None where they cannot be read."""
    full_width: int | None = None
    full_speed_gts: float | None = None
    present: bool | None = None
    active: bool | None = None
    """As the facts say; what is read anew goes before."""
    status_bits: frozenset[Bdf] = frozenset()
    """Ends of which the kernel counts no errors, so that their status bits are looked at."""

    @property
    def port(self) -> Bdf:
        return self.hop.port


class Measurable(msgspec.Struct, frozen=True, kw_only=True):
    """Links with the way that the payload of each device takes."""

    targets: tuple[Target, ...]
    where: LinkMap

    def of(self, slot: str) -> Target | None:
        return next((target for target in self.targets if target.slot == slot), None)


def measurable(
    links: Iterable[tuple[str, Link]], facts: Facts, want: Profile, devices: Sequence[GpuInfo] = ()
) -> Measurable | Unread:
    """Those links, each with the name of its slot. `devices`: what the runtimes show. Unread where the bus was not
    read; a link without a device can be watched all the same."""
    found, aer, pci, logs = facts.of(Links), facts.of(Aer), facts.of(PciInventory), facts.of(KernelLogs)
    if isinstance(found, Unread):
        return found
    if isinstance(aer, Unread):
        return aer
    if isinstance(pci, Unread):
        return pci
    if isinstance(logs, Unread):
        return logs
    where = map_of(devices, facts)
    gpus = facts.of(Gpus)
    below: Mapping[Bdf, str] = {} if isinstance(gpus, Unread) else {
        gpu.bdf: gpu.vendor for gpu in gpus.gpus if not gpu.integrated}
    targets: list[Target] = []
    for slot, link in links:
        pair = pci_pair(link, pci)
        hop = where.hops.get(link.id) or hop_of(link, found, aer, pci, logs)
        targets.append(Target(
            hop=hop, slot=slot, pair=None if isinstance(pair, Unread) else pair,
            keys=tuple(key for key, way in where.ways.items() if link.id in way),
            gpus=tuple((bdf, vendor) for bdf, vendor in below.items() if link.id in found.above.get(bdf, ())),
            full_width=_whole(wanted_width(link, want)), full_speed_gts=_number(wanted_speed(link, want)),
            present=link.presence_detect if isinstance(link.presence_detect, bool) else None,
            active=link.dll_active if isinstance(link.dll_active, bool) else None,
            status_bits=frozenset(end for end, silent in hop.silent.items() if isinstance(silent, str))))
    return Measurable(targets=tuple(targets), where=where)


def _number(limit: Limit | None | Unread) -> float | None:
    if limit is None or isinstance(limit, Unread):
        return None
    value = limit.should if limit.must is None else limit.must
    return float(value) if isinstance(value, (int, float)) else None


def _whole(limit: Limit | None | Unread) -> int | None:
    value = _number(limit)
    return None if value is None else int(value)

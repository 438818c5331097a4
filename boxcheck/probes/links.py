"""PCI Express links as pairs of ports, with slot names and, where taken, readings under load.

Reads   the PCI inventory; later readings of current_link_{speed,width}      (config registers beyond 64 bytes: root)
By hand lspci -vv -s 40:01.1 | grep -E 'LnkCap|LnkSta|LnkCtl2|SltSta'

One link is the wire between a downstream port (root port, switch downstream port) and what hangs below it. A port with
nothing below is a link too: it may be an empty slot, or a seated card that did not train.

RDNA cards carry a switch of their own: root port > 1002:1478 > 1002:1479 > GPU. The GPU function shows the on-card
link, which is always at full speed; the slot's link is the one above 1002:1478. (LACT issue 334, amdgpu-sysfs-rs PR 6.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from boxcheck.decode.pci_express import PciExpress
from boxcheck.decode.pci_link import LEGAL_WIDTHS
from boxcheck.host import Host
from boxcheck.model import Bdf, Unread
from boxcheck.probes.pci import PciFunction, PciInventory, parse_speed_gts
from boxcheck.probes.slots import SYSFS, Slots
from boxcheck.registry import probe

ON_CARD_UPSTREAM = frozenset({(0x1002, 0x1478)})
ON_CARD_DOWNSTREAM = frozenset({(0x1002, 0x1479)})
"""Ports of the switch on RDNA cards (pci.ids: Navi 10 XL Upstream/Downstream Port of PCI Express Switch)."""


INTEL = 0x8086
TUNNEL_GTS = 2.5


class LinkEnd(msgspec.Struct, frozen=True):
    """One port of a link. Speeds are None where the register or the kernel says `Unknown`."""

    bdf: Bdf
    speed_gts: float | None | Unread
    width: int | Unread
    """Negotiated lanes; 0 no link, 63 the register read all ones."""
    max_speed_gts: float | None | Unread
    max_width: int | Unread
    target_speed_gts: float | None | Unread
    """LnkCtl2: what software or firmware asked for; below `max_speed_gts` it is a cap."""


class LoadReading(msgspec.Struct, frozen=True):
    """The link while its card was busy, the lower of its two ends. The last reading counts."""

    speed_gts: float | None
    width: int
    """0 where the reading is no number."""
    fell_to_gts: float | None
    """Lowest reading after the highest: a link that was up and fell back. None when it only rose."""
    readings: int


class Link(msgspec.Struct, frozen=True):
    downstream: LinkEnd
    """The port above."""
    upstream: LinkEnd | None
    """What hangs below: an endpoint or a switch's upstream port. None when nothing answered."""
    slot: str | None
    """Printed name of the slot, None where no table names it."""
    on_card: bool
    """The link between a card's own switch and its GPU: says nothing about the slot."""
    presence_detect: bool | None | Unread
    """The slot feels a card. None when the port has no slot."""
    dll_active: bool | None | Unread
    """The data link layer is up. None when the port cannot tell."""
    under_load: LoadReading | Unread
    slot_number: int | None = None
    """Physical slot number of SltCap."""
    kernel_slot: str | None = None
    """Number under which the kernel keeps the slot (`3`, `3-1`): firmware's count, never the print on the board."""
    slot_power_watts: float | None = None
    power_fault: bool = False
    """SltSta, where the port has a power controller: it has seen a fault of the slot's power since that was cleared."""
    switched_off: str | None = None
    """What of the port keeps its link down as it was told to, in words; None where nothing does."""

    @property
    def id(self) -> Bdf:
        return self.downstream.bdf

    @property
    def capable_speed_gts(self) -> float | None | Unread:
        """The most that both ends can do; None when an end does not say."""
        ends = [self.downstream, self.upstream] if self.upstream else [self.downstream]
        best: float | None = None
        for end in ends:
            if isinstance(end.max_speed_gts, Unread):
                return end.max_speed_gts
            if end.max_speed_gts is None:
                return None
            best = end.max_speed_gts if best is None else min(best, end.max_speed_gts)
        return best

    @property
    def capable_width(self) -> int | None | Unread:
        ends = [self.downstream, self.upstream] if self.upstream else [self.downstream]
        best: int | None = None
        for end in ends:
            if isinstance(end.max_width, Unread):
                return end.max_width
            if end.max_width not in LEGAL_WIDTHS:
                return None
            best = end.max_width if best is None else min(best, end.max_width)
        return best

    @property
    def width(self) -> int | None | Unread:
        """Negotiated lanes as the port above says, since a dying card answers all ones; None when not a legal width."""
        if isinstance(self.downstream.width, Unread):
            return self.downstream.width
        return self.downstream.width if self.downstream.width in LEGAL_WIDTHS else None

    @property
    def speed_gts(self) -> float | None | Unread:
        return self.downstream.speed_gts


class Links(msgspec.Struct, frozen=True):
    links: Mapping[Bdf, Link]
    """By the downstream port."""
    above: Mapping[Bdf, tuple[Bdf, ...]]
    """Function -> ids of the links between it and the root, root first."""
    slots_unread: Unread | None
    unreadable: Unread | None = None

    def chain(self, bdf: Bdf) -> tuple[Link, ...]:
        """The links from the root down to a function."""
        return tuple(self.links[id] for id in self.above.get(bdf, ()))

    def tunnels(self, bdf: Bdf) -> frozenset[Bdf]:
        """Ids of the links on the way to a function that run through Thunderbolt or USB4: both ends say that they can
        do 2.5 GT/s, whatever the cable carries (USB4 specification, chapter 11), though ports below can do more."""
        chain = self.chain(bdf)
        fastest = [link.downstream.max_speed_gts for link in chain]
        return frozenset(
            link.id for at, link in enumerate(chain)
            if link.upstream is not None and link.upstream.max_speed_gts == fastest[at] == TUNNEL_GTS
            and any(isinstance(below, float) and below > TUNNEL_GTS for below in fastest[at + 1:]))

    def slot_link(self, bdf: Bdf) -> Link | None:
        """The link of the slot that a function's card sits in: the nearest one that is not on the card itself."""
        return next((link for link in reversed(self.chain(bdf)) if not link.on_card), None)


def _end(function: PciFunction) -> LinkEnd:
    config = function.config
    express = None if isinstance(config, Unread) else config.express
    why = config if isinstance(config, Unread) else express if isinstance(express, Unread) else None
    registers = express if express is not None and not isinstance(express, Unread) else None
    target: float | None | Unread
    if registers is not None:
        target = registers.link_ctl2.target_speed_gts if registers.link_ctl2 else None
    else:
        target = why if why is not None else None
    match function.link:
        case None | Unread() if registers is not None and registers.link_sta and registers.link_cap:
            return LinkEnd(
                function.bdf, registers.link_sta.speed_gts, registers.link_sta.width, registers.link_cap.max_speed_gts,
                registers.link_cap.max_width, target,
            )
        case None:
            unread = why or Unread(f"{function.bdf} has no link registers", "unsupported")
            return LinkEnd(function.bdf, unread, unread, unread, unread, target)
        case Unread() as unread:
            return LinkEnd(function.bdf, unread, unread, unread, unread, target)
        case link:
            end = LinkEnd(function.bdf, link.speed_gts, link.width, link.max_speed_gts, link.max_width, target)
            gone = isinstance(config, Unread) or config.all_ones
            return end if registers is None or gone else _doubted(end, registers)


def _doubted(end: LinkEnd, registers: PciExpress) -> LinkEnd:
    """The end without what sysfs and its own registers tell differently. Both are read within moments of each other,
    and nothing but the speed changes by itself; which of the two is wrong nobody can tell."""

    def doubt(what: str, here: object, there: object) -> Unread:
        return Unread(f"{what} of {end.bdf} is {here} in sysfs and {there} in its register", "malformed")

    status, able, control = registers.link_sta, registers.link_cap, registers.link_ctl
    if status is not None and isinstance(end.width, int) and status.width != end.width:
        end = msgspec.structs.replace(end, width=doubt("the width", f"x{end.width}", f"x{status.width}"))
    if control is not None and control.disabled and isinstance(end.width, int) and end.width in LEGAL_WIDTHS:
        why = f"the link of {end.bdf} is x{end.width} in sysfs and disabled in its register (LnkCtl)"
        end = msgspec.structs.replace(end, width=Unread(why, "malformed"))
    if able is not None and isinstance(end.max_width, int) and able.max_width in LEGAL_WIDTHS - {end.max_width}:
        end = msgspec.structs.replace(
            end, max_width=doubt("the most lanes", f"x{end.max_width}", f"x{able.max_width}"))
    # A reserved code says nothing; the kernel then goes by the speeds of LnkCap2 (drivers/pci/pci.c).
    if able is not None and isinstance(end.max_speed_gts, float) and able.max_speed_gts not in (
            None, end.max_speed_gts):
        end = msgspec.structs.replace(
            end, max_speed_gts=doubt("the highest speed", f"{end.max_speed_gts} GT/s", f"{able.max_speed_gts} GT/s"))
    return end


def _is_downstream(function: PciFunction, depth: int) -> bool:
    """Whether a bridge is the upper end of a link. Without its capabilities (no root) the place in the tree tells:
    root ports, switch upstream ports and switch downstream ports alternate."""
    config = function.config
    if not isinstance(config, Unread) and config.express is not None and not isinstance(config.express, Unread):
        return config.express.port_type in ("root-port", "downstream-port")
    return function.link is not None and depth % 2 == 0


def _load(host: Host, paths: Sequence[str]) -> LoadReading | Unread:
    """Readings under load of both ends. The port above must have been read; a card that was not leaves the port's."""
    ends: list[LoadReading] = []
    for path in paths:
        speeds = host.again(f"{path}/current_link_speed", "load")
        widths = host.again(f"{path}/current_link_width", "load")
        if isinstance(speeds, Unread) or isinstance(widths, Unread):
            if ends:
                continue
            return Unread("the link was read at rest only", "one-reading")
        known = [parse_speed_gts(speed.decode("ascii", "replace").strip()) for speed in speeds]
        rates = [0.0 if speed is None else speed for speed in known]
        after = rates[rates.index(max(rates)):]
        lanes = [int(width.strip()[:4]) if width.strip().isdigit() else 0 for width in widths]
        ends.append(LoadReading(known[-1], min(lanes), min(after) if min(after) < max(rates) else None, len(known)))
    falls = [end.fell_to_gts for end in ends if end.fell_to_gts is not None]
    return LoadReading(
        None if any(end.speed_gts is None for end in ends) else min(end.speed_gts or 0.0 for end in ends),
        min(end.width for end in ends), min(falls, default=None), min(end.readings for end in ends))


def _switched_off(express: PciExpress) -> str | None:
    if express.link_ctl is not None and express.link_ctl.disabled:
        return "its port's link is switched off (LnkCtl: Link Disable)"
    if (express.slot_cap is not None and express.slot_cap.power_controller
            and express.slot_ctl is not None and express.slot_ctl.power_off):
        return "its slot's power is switched off (SltCtl: Power Controller Control)"
    return None


def _is_on_card(port: PciFunction, children: tuple[Bdf, ...], pci: PciInventory) -> bool:
    """A downstream port of a card's own switch: AMD's by its ids, Intel's by what hangs below it, since Intel makes no
    switches but those on its Arc cards."""
    if (port.vendor, port.device) in ON_CARD_DOWNSTREAM:
        return True
    return port.vendor == INTEL and port.parent is not None and any(
        pci.functions[child].vendor == INTEL and pci.functions[child].class_code >> 16 == 0x03 for child in children)


def _slot_labels(slots: Slots) -> Mapping[str, str]:
    """Address of a function or of a whole card -> name in the board's own table. An address that it gives to two slots
    names neither."""
    printed = [slot for slot in slots.slots if slot.source != SYSFS]
    claims: dict[str, set[str]] = {}
    for slot in printed:
        claims.setdefault(slot.address.rsplit(".", 1)[0], set()).add(slot.label)
    labels: dict[str, str] = {}
    for slot in printed:
        card = slot.address.rsplit(".", 1)[0]
        if len(claims[card]) > 1:
            continue
        labels.setdefault(slot.address, slot.label)
        labels.setdefault(card, slot.label)
    return labels


def _label(port: PciFunction, children: tuple[Bdf, ...], labels: Mapping[str, str]) -> str | None:
    by_port = labels.get(port.bdf)
    if by_port is not None:
        return by_port
    for child in children:
        if child.rsplit(".", 1)[0] in labels:
            return labels[child.rsplit(".", 1)[0]]
    if not isinstance(port.config, Unread) and port.config.bridge is not None and port.config.bridge.secondary:
        domain = port.bdf.split(":", 1)[0]
        return labels.get(f"{domain}:{port.config.bridge.secondary:02x}:00")
    return None


@probe("links", Links, reads=[PciInventory, Slots])
def links(host: Host, pci: PciInventory, slots: Slots) -> Links:
    labels = _slot_labels(slots)
    numbers = {slot.address.rsplit(".", 1)[0]: slot.label for slot in slots.slots if slot.source == SYSFS}
    found: dict[Bdf, Link] = {}
    above: dict[Bdf, tuple[Bdf, ...]] = {}
    depths: dict[Bdf, int] = {}

    def depth(function: PciFunction) -> int:
        known = depths.get(function.bdf)
        if known is None:
            known = depths[function.bdf] = sum(1 for _ in pci.ancestors(function.bdf))
        return known

    for function in pci.functions.values():
        if not function.is_bridge or not _is_downstream(function, depth(function)):
            continue
        children = pci.children.get(function.bdf, ())
        below = pci.functions[children[0]] if children else None
        config = function.config
        express = None if isinstance(config, Unread) or isinstance(config.express, Unread) else config.express
        unread = config if isinstance(config, Unread) else config.express
        hidden = unread if isinstance(unread, Unread) else None
        found[function.bdf] = Link(
            downstream=_end(function), upstream=None if below is None else _end(below),
            slot=_label(function, children, labels), kernel_slot=_label(function, children, numbers),
            on_card=_is_on_card(function, children, pci),
            presence_detect=hidden if express is None else (
                express.slot_sta.presence_detect if express.slot_sta else None),
            dll_active=hidden if express is None else (
                express.link_sta.dll_active
                if express.link_sta and express.link_cap and express.link_cap.dll_active_reporting else None),
            under_load=_load(host, [function.path, *([below.path] if below else [])]),
            slot_number=express.slot_cap.number if express and express.slot_cap else None,
            slot_power_watts=express.slot_cap.power_limit_watts if express and express.slot_cap else None,
            power_fault=bool(express and express.slot_cap and express.slot_cap.power_controller
                             and express.slot_sta and express.slot_sta.power_fault),
            switched_off=None if express is None else _switched_off(express),
        )
    for function in pci.functions.values():
        above[function.bdf] = tuple(
            reversed([port.bdf for port in pci.ancestors(function.bdf) if port.bdf in found])
        )
    return Links(found, above, slots.unread, pci.unreadable)

"""A link by the name that a person gives it, as its two ends with the offsets of their capabilities.

From facts alone (`pci_pair`), or read anew through `Ports` where the facts may be old: after a restart of the program,
before anything is written. The decoders are those of the inventory.
"""

from __future__ import annotations

import re
from struct import pack_into

import msgspec

from boxcheck.decode.pci_config import (
    EXT_AER,
    EXT_L1SS,
    EXT_MARGINING,
    EXT_PHY16,
    EXT_PHY32,
    EXT_SECONDARY,
    EXT_SERIAL,
    ConfigSpace,
    decode_config,
)
from boxcheck.decode.pci_express import PciExpress
from boxcheck.decode.pci_link import SPEED_GTS
from boxcheck.host.common import one_line
from boxcheck.model import Bdf, Unread
from boxcheck.probes.links import Link, Links
from boxcheck.probes.pci import PciInventory
from boxcheck.riser.links.ports import End, LinkPair, Ports
from boxcheck.usage import UsageError, nearest

_ADDRESS = re.compile(r"(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}:[0-9a-f]{2}\.[0-7])")


class Identity(msgspec.Struct, frozen=True):
    """What tells one function from another at the same address."""

    vendor: int
    device: int
    subsystem: str = ""
    """`10de:167c`, empty where it does not tell."""
    serial: str = ""
    """Device Serial Number; most cards have none."""

    def __str__(self) -> str:
        return f"{self.vendor:04x}:{self.device:04x}" + (f", serial {self.serial}" if self.serial else "")


def find_link(name: str, links: Links) -> Link:
    """The link of a slot (`PCIE3`, `3`), of a port's address or of a card's. UsageError where there is none such, or
    more than one."""
    word = one_line(name.strip())
    address = _ADDRESS.fullmatch(word.lower())
    if address is not None:
        bdf = Bdf(f"{address[1] or '0000'}:{address[2]}")
        if bdf in links.links:
            return links.links[bdf]
        # On RDNA cards the slot's link is the one above 1002:1478, and not the one that the GPU shows.
        below = links.slot_link(bdf)
        if below is not None:
            return below
        if bdf in links.above:
            raise UsageError(f"{bdf} hangs on no link: it is part of the processor, or a virtual machine's own",
                             "boxcheck riser --all names the links that there are")
        raise UsageError(f"there is no device {bdf}", "lspci -D lists them")
    named = [link for link in links.links.values() if link.slot and not link.on_card]
    for key in (word, re.sub(r"^slot\s+", "", word, flags=re.IGNORECASE)):
        found = [link for link in named if str(link.slot).casefold() == key.casefold()]
        if len(found) > 1:
            ports = ", ".join(link.id for link in found)
            raise UsageError(f"slot {found[0].slot} has {len(found)} links: {ports}", "give the address of one of them")
        if found:
            return found[0]
    known = sorted({str(link.slot) for link in named})
    says = f"no slot is called {word!r}"
    if not known:
        raise UsageError(f"{says}: this board's table names none", "give the address of the card or of its port")
    raise UsageError(f"{says}; there are {', '.join(known)}", nearest(word, known))


def pci_pair(link: Link, pci: PciInventory) -> LinkPair | Unread:
    """The two ends of a link from the inventory. Unread where the registers of the port were not, or of a card that
    answers."""
    functions = pci.functions
    port = _end_of(link.id, functions[link.id].config) if link.id in functions else Unread(f"{link.id} is not there")
    if isinstance(port, Unread):
        return port
    card: End | None | Unread = None
    below = functions.get(link.upstream.bdf) if link.upstream is not None else None
    if below is not None and not below.gone:
        if not below.bdf.endswith(".0"):
            return Unread(f"function 0 below {link.id} does not show itself", "absent")
        card = _end_of(below.bdf, below.config)
    if isinstance(card, Unread):
        return card
    return LinkPair(port=port, card=card, slot=link.slot, on_card=link.on_card)


def _end_of(bdf: Bdf, config: ConfigSpace | Unread) -> End | Unread:
    if isinstance(config, Unread):
        return config
    express, extended = config.express, config.extended
    if isinstance(express, Unread):
        return express
    if express is None or express.link_cap is None:
        return Unread(f"{bdf} has no PCI Express link", "unsupported")
    if isinstance(extended, Unread):
        return extended
    where: dict[int, int] = {}
    for id, _, offset in extended:
        where.setdefault(id, offset)
    speeds = _speeds(express)
    if not speeds:
        return Unread(f"{bdf} does not say which speeds it can run at", "malformed")
    return End(
        bdf=bdf, express=express.offset, aer=where.get(EXT_AER), secondary=where.get(EXT_SECONDARY),
        phy16=where.get(EXT_PHY16), phy32=where.get(EXT_PHY32), margining=where.get(EXT_MARGINING),
        l1_substates=where.get(EXT_L1SS), max_speed_gts=speeds[-1], max_width=express.link_cap.max_width,
        speeds_gts=speeds)


def _speeds(express: PciExpress) -> tuple[float, ...]:
    """LnkCap2's vector, else the speeds up to LnkCap's."""
    if express.link_cap2 is not None and express.link_cap2.supported_speeds_gts:
        return express.link_cap2.supported_speeds_gts
    most = express.link_cap.max_speed_gts if express.link_cap else None
    return () if most is None else tuple(speed for speed in SPEED_GTS.values() if speed <= most)


def read_config(ports: Ports, bdf: Bdf) -> ConfigSpace | Unread:
    """Config space as far as its header, its lists and its serial number go: bodies of extended capabilities are zeros
    here, since reading registers that nobody needs is not always harmless (lspci(8), -xxxx)."""
    data = bytearray(4096)
    for at in range(0, 256, 4):
        word = ports.read(bdf, at, 4)
        if isinstance(word, Unread):
            return word
        pack_into("<I", data, at, word)
        if at == 0x0C and data[:16] == b"\xff" * 16:
            return Unread(f"{bdf} does not answer", "error")
    at, seen = 0x100, set[int]()
    while at >= 0x100 and at not in seen:
        seen.add(at)
        header = ports.read(bdf, at, 4)
        if isinstance(header, Unread):
            if header.kind == "unsupported" and at == 0x100:
                break  # conventional PCI, or firmware that shows no extended space
            return header
        pack_into("<I", data, at, header)
        if header in (0, 0xFFFF_FFFF):
            break
        if header & 0xFFFF == EXT_SERIAL:
            for more in (at + 4, at + 8):
                word = ports.read(bdf, more, 4)
                if isinstance(word, Unread):
                    return word
                pack_into("<I", data, more, word)
        at = header >> 20 & 0xFFC
    return decode_config(bytes(data))


def identity_of(bdf: Bdf, config: ConfigSpace | Unread) -> Identity | Unread:
    if isinstance(config, Unread):
        return config
    if config.all_ones or (config.vendor, config.device) in ((0xFFFF, 0xFFFF), (0x0001, 0xFFFF)):
        return Unread(f"{bdf} does not answer", "error")
    vendor, device = config.subsystem_vendor, config.subsystem_device
    subsystem = f"{vendor:04x}:{device:04x}" if isinstance(vendor, int) and isinstance(device, int) else ""
    return Identity(
        config.vendor, config.device, subsystem, config.serial if isinstance(config.serial, str) else "")


def read_end(ports: Ports, bdf: Bdf) -> tuple[End, Identity] | Unread:
    """An end and who it is, read anew."""
    config = read_config(ports, bdf)
    end, identity = _end_of(bdf, config), identity_of(bdf, config)
    if isinstance(identity, Unread):
        return identity
    return end if isinstance(end, Unread) else (end, identity)


def all_ones(value: int, size_bytes: int) -> bool:
    """What a function that left answers."""
    return value == (1 << 8 * size_bytes) - 1


def speed_code(gts: float) -> int:
    """Code of LnkSta and LnkCtl2. ValueError for a speed that does not exist."""
    for code, speed in SPEED_GTS.items():
        if speed == gts:
            return code
    raise ValueError(f"there is no link speed of {gts:g} GT/s")

"""A machine with one simulated link, named as a person would, and what of its registers must be as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from boxcheck.model import Bdf, Unread
from boxcheck.riser.links.link_pair import read_end
from boxcheck.riser.links.ports import LinkPair
from tests.riser.simulated.link import SYS, SimulatedLink
from tests.riser.simulated.machine import Machine

BOOT = "11111111-2222-3333-4444-555555555555"
STATUS = {"DevSta": 0x0A, "LnkSta": 0x12, "LnkSta2": 0x32}


def pair_of(link: SimulatedLink, slot: str = "PCIE3") -> LinkPair:
    ends = [read_end(link.machine, bdf) for bdf in (link.port_bdf, link.card_bdf)]
    assert not isinstance(ends[0], Unread)
    assert not isinstance(ends[1], Unread)
    return LinkPair(port=ends[0][0], card=ends[1][0], slot=slot)


def linked(**options: Any) -> tuple[Machine, SimulatedLink, LinkPair]:
    machine = Machine()
    link = SimulatedLink(machine, **options)
    pair = pair_of(link)
    machine.log.clear()
    return machine, link, pair


def settings(link: SimulatedLink) -> dict[str, Any]:
    """All bytes of both ends but the status registers of link and lanes, and the attributes that can be set."""
    found: dict[str, Any] = {}
    for one, bdf in ((link.port, link.port_bdf), (link.card, link.card_bdf)):
        data = bytearray(one.data[0:4096])
        for at in STATUS.values():
            data[one.express + at:one.express + at + 2] = bytes(2)
        for name, offset, size in (("secondary", 8, 4), ("aer", 0x10, 4), ("phy16", 0x0C, 0x10), ("phy32", 0x0C, 4)):
            data[one.at[name] + offset:one.at[name] + offset + size] = bytes(size)
        found[bdf] = bytes(data)
    found |= {path: text for path, text in link.machine.attributes.items() if "/link/" in path or "/power/" in path}
    return found


def counts(machine: Machine, bdf: Bdf) -> dict[str, int]:
    text = machine.attributes[f"{SYS}{bdf}/aer_dev_correctable"]
    return {name: int(count) for name, count in (line.split() for line in text.splitlines())}


def journals(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())

"""The management controller (BMC) of a server board, and what it says of supplies, fans and events.

Reads   whether /dev/ipmi0 is there, an ASPEED function on the PCI bus        (any user); SMBIOS type 38        (root)
        ipmitool mc info; sdr type "Power Supply"; sdr type Fan; sel elist last 100                 (root, ipmitool)
Absent  desktop boards have no BMC. Boards with ATX supplies have no supply sensors.
By hand sudo ipmitool sdr; sudo ipmitool sel elist

Each command takes seconds over the KCS interface, so none is run without root or without the device node.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from boxcheck.decode.text import clean_text
from boxcheck.host import Host
from boxcheck.model import Unread
from boxcheck.probes.dmi import Dmi
from boxcheck.probes.pci import PciInventory
from boxcheck.registry import probe

NODES = ("/dev/ipmi0", "/dev/ipmi/0", "/dev/ipmidev/0")
ASPEED_VENDOR = 0x1A03
MC_INFO = ("ipmitool", "mc", "info")
SUPPLIES = ("ipmitool", "sdr", "type", "Power Supply")
FANS = ("ipmitool", "sdr", "type", "Fan")
EVENTS = ("ipmitool", "sel", "elist", "last", "100")
TIMEOUT_SECONDS = 20.0
ROW_LIMIT = 1000


class BmcSensor(msgspec.Struct, frozen=True):
    """A row of `ipmitool sdr`."""

    name: str
    status: str
    """`ok`, `nc` non-critical, `cr` critical, `nr` non-recoverable, `ns` no reading."""
    entity: str
    reading: str
    """`1400 RPM`, `Presence detected`, `No Reading` ..."""


class BmcEvent(msgspec.Struct, frozen=True):
    """A row of the system event log."""

    when: str
    sensor: str
    event: str
    asserted: bool


class BmcInfo(msgspec.Struct, frozen=True):
    firmware: str | None
    manufacturer: str | None


class Bmc(msgspec.Struct, frozen=True, kw_only=True):
    node: str | None | Unread
    """Device node of the driver; None when there is none."""
    announced: bool | Unread
    """Whether the firmware's table or the PCI bus shows that the board has a BMC."""
    info: BmcInfo | Unread
    supplies: tuple[BmcSensor, ...] | Unread
    """Empty where the BMC sees no supply."""
    fans: tuple[BmcSensor, ...] | Unread
    events: tuple[BmcEvent, ...] | Unread
    """The last 100, oldest first."""


def parse_sensors(text: str) -> tuple[BmcSensor, ...]:
    """Rows `name | id | status | entity | reading`."""
    found = []
    for line in text.splitlines()[:ROW_LIMIT]:
        fields = [clean_text(field, 80).strip() for field in line.split("|")]
        if len(fields) >= 5 and fields[0]:
            found.append(BmcSensor(fields[0], fields[2].lower(), fields[3], fields[4]))
    return tuple(found)


def parse_events(text: str) -> tuple[BmcEvent, ...]:
    """Rows `id | date | time | sensor | event | Asserted`; those before the clock was set say `Pre-Init`."""
    found = []
    for line in text.splitlines()[:ROW_LIMIT]:
        fields = [clean_text(field, 80).strip() for field in line.split("|")]
        if len(fields) >= 5:
            found.append(BmcEvent(
                " ".join(filter(None, fields[1:3])), fields[3], fields[4],
                len(fields) < 6 or not fields[5].lower().startswith("deasserted")))
    return tuple(found)


def parse_info(text: str) -> BmcInfo:
    """`ipmitool mc info`: lines `name : value`."""
    rows = {name.strip(): clean_text(value, 80).strip() for name, colon, value in (
        line.partition(":") for line in text.splitlines()[:ROW_LIMIT]) if colon}
    return BmcInfo(rows.get("Firmware Revision") or None, rows.get("Manufacturer Name") or None)


def _node(host: Host) -> str | None | Unread:
    unsure: Unread | None = None
    for path in NODES:
        there = host.exists(path)
        if there is True:
            return path
        if isinstance(there, Unread):
            unsure = there
    return unsure


def _ask(host: Host, node: str | None | Unread, root: bool | Unread, argv: tuple[str, ...]) -> str | Unread:
    if isinstance(node, Unread):
        return node
    if node is None:
        return Unread("there is no /dev/ipmi0", "absent")
    if root is False:
        return Unread("the BMC is asked with root and ipmitool only", "permission")
    answer = host.run(argv, TIMEOUT_SECONDS)
    if isinstance(answer, Unread):
        return answer
    if answer.exit != 0:
        why = clean_text((answer.stderr or answer.stdout).split("\n", 1)[0], 80)
        return Unread(f"{' '.join(argv)} failed: {why or f'exit status {answer.exit}'}", "error")
    return answer.stdout


def _announced(dmi: Dmi, pci: PciInventory) -> bool | Unread:
    if any(function.vendor == ASPEED_VENDOR for function in pci.functions.values()):
        return True
    if not isinstance(dmi.smbios, Unread) and dmi.smbios.ipmi:
        return True
    if pci.unreadable is not None:
        return pci.unreadable
    if isinstance(dmi.smbios, Unread) and dmi.smbios.kind != "absent":
        return dmi.smbios
    return False


Row = TypeVar("Row", BmcSensor, BmcEvent)


def _rows(
    text: str | Unread, parse: Callable[[str], tuple[Row, ...]], argv: tuple[str, ...]
) -> tuple[Row, ...] | Unread:
    """The rows of a table. ipmitool prints nothing where it has none; text without a row is none that was read."""
    if isinstance(text, Unread):
        return text
    rows = parse(text)
    if not rows and text.strip() and "no entries" not in text.lower():
        first = clean_text(text.strip().split("\n", 1)[0], 60)
        return Unread(f"{' '.join(argv)} printed no row that is known: {first}", "malformed")
    return rows


@probe("bmc", Bmc, reads=[Dmi, PciInventory])
def bmc(host: Host, dmi: Dmi, pci: PciInventory) -> Bmc:
    node = _node(host)
    who = host.who()
    root = who if isinstance(who, Unread) else who.root
    info, supplies, fans, events = (_ask(host, node, root, argv) for argv in (MC_INFO, SUPPLIES, FANS, EVENTS))
    return Bmc(
        node=node, announced=_announced(dmi, pci),
        info=info if isinstance(info, Unread) else parse_info(info),
        supplies=_rows(supplies, parse_sensors, SUPPLIES), fans=_rows(fans, parse_sensors, FANS),
        events=_rows(events, parse_events, EVENTS),
    )

"""The settings of a link as they were before anything was changed, and what differs from them now.

Only bits that software sets and that stay as they are set: no status, nothing that clears when a one is written to it,
nothing that acts when it is written (Retrain Link, function level reset, Perform Equalization), and not what the
kernel's hot-plug driver owns (Link Disable).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from boxcheck.host.common import one_line
from boxcheck.model import Bdf, Unread
from boxcheck.riser.links.link_state import LNKCTL, LNKCTL2, LNKCTL3, TARGET, read_register
from boxcheck.riser.links.ports import End, LinkPair, Ports
from boxcheck.riser.links.training import command_of

Which = Literal["port", "card"]
ENDS: tuple[Which, Which] = ("port", "card")

DEVCTL, DEVCTL2 = 0x08, 0x28
L1SS_CTL1, L1SS_CTL2 = 0x08, 0x0C
ASPM = 0x0003
L1SS_ENABLES = 0x0000_000F
COMPLIANCE = 0x0410
"""Enter Compliance and Modified Compliance of LnkCtl2: never set, never restored."""

MASKS = {
    "LnkCtl": 0xEFCB,  # without Link Disable, Retrain Link and what is reserved
    "LnkCtl2": 0xFFFF & ~COMPLIANCE,
    "LnkCtl3": 0xFE02,  # without Perform Equalization
    "DevCtl": 0x7FFF,  # bit 15 resets an endpoint
    "DevCtl2": 0xF7FF,  # bit 11 asks for less power
    "L1SSCtl1": 0xE3FF_FF0F,
    "L1SSCtl2": 0x0000_00FB,
}
"""Register -> bits that are kept and restored."""

ASPM_ATTRIBUTES = ("l0s_aspm", "l1_aspm", "l1_1_aspm", "l1_2_aspm", "l1_1_pcipm", "l1_2_pcipm")
"""Below `link/` of the card, in the order in which they are switched on (drivers/pci/pcie/aspm.c). `clkpm` is left
as it is."""

COOLING = "/sys/class/thermal/cooling_device{}"
COOLING_MOST, COOLING_GAP = 4096, 256
"""Cooling devices are numbered; holes are left by those that went."""


class Field(msgspec.Struct, frozen=True):
    """The settings that a register of one end held."""

    end: Which
    register: str
    value: int
    """Under the mask of its register."""


class Attribute(msgspec.Struct, frozen=True):
    end: Which
    name: str
    """Below the function's directory: `link/l1_aspm`, `power/control`."""
    text: str


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    fields: tuple[Field, ...]
    attributes: tuple[Attribute, ...] = ()
    cooling: str | None = None
    """The kernel's cooling device of the port, where there is one. What it shows is the speed of the moment, and no
    setting (drivers/thermal/pcie_cooling.c): the target speed in LnkCtl2 is what counts."""
    speed_gts: float | None = None
    width: int = 0
    command: int | None = None
    """The card's command register: never written, but it tells whether the card was reset."""

    def field(self, end: Which, register: str) -> int | None:
        return next((one.value for one in self.fields if (one.end, one.register) == (end, register)), None)

    @property
    def target_code(self) -> int | None:
        control = self.field("port", "LnkCtl2")
        return None if control is None else control & TARGET


def place_of(end: End, register: str) -> tuple[int, Literal[2, 4]] | None:
    """Offset and width of a register; None where this end has none."""
    match register:
        case "LnkCtl":
            return end.express + LNKCTL, 2
        case "LnkCtl2":
            return end.express + LNKCTL2, 2
        case "DevCtl":
            return end.express + DEVCTL, 2
        case "DevCtl2":
            return end.express + DEVCTL2, 2
        case "LnkCtl3" if end.secondary is not None:
            return end.secondary + LNKCTL3, 4
        case "L1SSCtl1" if end.l1_substates is not None:
            return end.l1_substates + L1SS_CTL1, 4
        case "L1SSCtl2" if end.l1_substates is not None:
            return end.l1_substates + L1SS_CTL2, 4
    return None


def end_of(pair: LinkPair, which: Which) -> End | None:
    return pair.port if which == "port" else pair.card


def attribute_path(bdf: Bdf, name: str) -> str:
    return f"/sys/bus/pci/devices/{bdf}/{name}"


def cooling_of(ports: Ports, port: Bdf) -> str | None:
    """Directory of the kernel's cooling device that sets the speed below a port (CONFIG_PCIE_THERMAL, Linux 6.13)."""
    wanted, gap = f"PCIe_Port_Link_Speed_{port}", 0
    for number in range(COOLING_MOST):
        kind = ports.attribute(f"{COOLING.format(number)}/type")
        if kind == wanted:
            return COOLING.format(number)
        gap = gap + 1 if isinstance(kind, Unread) else 0
        if gap > COOLING_GAP:
            return None
    return None


def take_snapshot(ports: Ports, pair: LinkPair, speed_gts: float | None, width: int) -> Snapshot | Unread:
    """Settings of both ends. Unread where one of them was not read: what is not known cannot be restored."""
    fields: list[Field] = []
    attributes: list[Attribute] = []
    for which in ENDS:
        end = end_of(pair, which)
        if end is None:
            continue
        for register, mask in MASKS.items():
            value = _value(ports, end, register)
            if isinstance(value, Unread):
                return value
            if value is not None:
                fields.append(Field(which, register, value & mask))
        names = ("power/control", *(f"link/{name}" for name in ASPM_ATTRIBUTES if which == "card"))
        for name in names:
            text = ports.attribute(attribute_path(end.bdf, name))
            if isinstance(text, str):
                attributes.append(Attribute(which, name, one_line(text, 32)))
    return Snapshot(
        fields=tuple(fields), attributes=tuple(attributes), cooling=cooling_of(ports, pair.port.bdf),
        speed_gts=speed_gts, width=width, command=command_of(ports, pair))


def _value(ports: Ports, end: End, register: str) -> int | None | Unread:
    place = place_of(end, register)
    return None if place is None else read_register(ports, end, *place)


class Difference(msgspec.Struct, frozen=True):
    """A setting that is not what it was."""

    end: Which
    name: str
    was: int | str
    now: int | str | Unread

    def says(self, pair: LinkPair) -> str:
        end = end_of(pair, self.end)
        bdf = end.bdf if end is not None else self.end
        if isinstance(self.was, str):
            return f"{self.name} of {bdf} is {_shown(self.now)} and was {self.was}"
        return f"{self.name} of {bdf} reads {_shown(self.now)} and was {self.was:#x}"


def _shown(value: int | str | Unread) -> str:
    if isinstance(value, Unread):
        return f"unread ({value.why})"
    return value if isinstance(value, str) else f"{value:#x}"


def differences(ports: Ports, pair: LinkPair, before: Snapshot) -> tuple[Difference, ...]:
    """What is not as it was, in the order of the snapshot."""
    found: list[Difference] = []
    for field in before.fields:
        end = end_of(pair, field.end)
        if end is None or field.register not in MASKS:
            continue
        value = _value(ports, end, field.register)
        now = value if isinstance(value, Unread) else None if value is None else value & MASKS[field.register]
        if now is None:
            found.append(Difference(
                field.end, field.register, field.value, Unread("the register is no longer there", "absent")))
        elif isinstance(now, Unread) or now != field.value:
            found.append(Difference(field.end, field.register, field.value, now))
    for attribute in before.attributes:
        end = end_of(pair, attribute.end)
        if end is None:
            continue
        text = ports.attribute(attribute_path(end.bdf, attribute.name))
        if isinstance(text, Unread) or text != attribute.text:
            found.append(Difference(attribute.end, attribute.name, attribute.text, text))
    return tuple(found)

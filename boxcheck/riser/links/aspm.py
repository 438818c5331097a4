"""Switches Active State Power Management of a link off for a while, and on again: replay time-outs that go with it come
from waking up, not from noise.

Needs   root. Where the kernel shows switches below `link/` of the card they are used, also under lockdown; config space
        is written only where it shows none (firmware keeps ASPM, or the kernel was built without it)
By hand grep . /sys/bus/pci/devices/0000:41:00.0/link/*; sudo lspci -vv -s 41:00.0 | grep LnkCtl:

Function 0 speaks for the whole card: a link rests only in states that all functions allow (PCIe Base 7.5.3.7).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import msgspec

from boxcheck.host.config_space import may_write
from boxcheck.model import Unread
from boxcheck.riser.links.hold import Held
from boxcheck.riser.links.link_state import LNKCTL, read_register
from boxcheck.riser.links.ports import End, Refused
from boxcheck.riser.links.snapshot import ASPM, ASPM_ATTRIBUTES, L1SS_CTL1, L1SS_ENABLES, attribute_path


class AspmOff(msgspec.Struct, frozen=True, kw_only=True):
    """How ASPM came to be off."""

    state: Literal["off", "already-off", "still-on"]
    how: Literal["kernel", "registers", "none"]
    was: tuple[str, ...] = ()
    """What was on: names of the kernel's switches, or ends with their states."""

    @property
    def says(self) -> str:
        if self.state == "already-off":
            return "ASPM is off already: there is nothing to switch off"
        what = ", ".join(self.was)
        if self.state == "still-on":
            return f"ASPM stays on although it was switched off ({what})"
        by = "by the kernel" if self.how == "kernel" else "in the registers of both ends"
        return f"ASPM is off, switched {by}; it was on: {what}"


@contextmanager
def without_aspm(held: Held) -> Iterator[AspmOff]:
    """ASPM off while the body runs, then on again as it was. Refused where it cannot be switched."""
    done = aspm_off(held)
    yield done
    if done.how != "none":
        aspm_back(held)


def aspm_off(held: Held) -> AspmOff:
    """Refused where it cannot be switched off."""
    card = held.pair.card
    if card is None:
        raise Refused("gone", f"nothing answers below the port of {held.pair.name}")
    switches = {name: held.attribute(attribute_path(card.bdf, f"link/{name}")) for name in ASPM_ATTRIBUTES}
    shown = {name: text for name, text in switches.items() if isinstance(text, str)}
    on = [name for name, text in shown.items() if text != "0"]
    ends = (card, held.pair.port)
    bits = {end.bdf: _aspm_of(held, end) for end in ends}
    if not on and not any(bits.values()):
        return AspmOff(state="already-off", how="none")
    if shown and on:
        held.announce(f"switching ASPM of {held.pair.name} off")
        # The substates before L1, which is needed for them. Only those that are on: the kernel remembers a switch that
        # was set to 0, and shows no difference.
        for name in reversed(on):
            held.set_attribute(attribute_path(card.bdf, f"link/{name}"), "0")
        state: Literal["off", "still-on"] = "still-on" if any(_aspm_of(held, end) for end in ends) else "off"
        return AspmOff(state=state, how="kernel", was=tuple(on))
    refused = may_write(held, *(end.bdf for end in ends))
    if refused is not None:
        raise refused
    held.announce(f"switching ASPM of {held.pair.name} off in the registers of both ends")
    was = tuple(f"{_STATES[bits[end.bdf]]} at {end.bdf}" for end in ends if bits[end.bdf])
    # Off: the card first, then the port above it (drivers/pci/pcie/aspm.c, pcie_config_aspm_link; PCIe Base 5.4.1.3);
    # L1 before its substates, which may be set only while it is off.
    for end in ends:
        _clear(held, end, end.express + LNKCTL, 2, ASPM)
    for end in ends:
        if end.l1_substates is not None:
            _clear(held, end, end.l1_substates + L1SS_CTL1, 4, L1SS_ENABLES)
    still = any(_aspm_of(held, end) for end in ends)
    return AspmOff(state="still-on" if still else "off", how="registers", was=was)


_STATES = ("off", "L0s", "L1", "L0s and L1")


def aspm_back(held: Held) -> None:
    """As it was when the link was taken. What fails here is put back, or told, when the link is let go."""
    pair, before = held.pair, held.before
    held.announce(f"switching ASPM of {pair.name} on again, as it was")
    for attribute in before.attributes:
        end = pair.card if attribute.end == "card" else None
        path = "" if end is None else attribute_path(end.bdf, attribute.name)
        if path and attribute.name.startswith("link/") and held.attribute(path) != attribute.text:
            held.set_attribute(path, attribute.text)
    pairs = [(which, end) for which, end in (("port", pair.port), ("card", pair.card)) if end is not None]
    for which, end in pairs:  # on: the port first
        value = before.field(which, "L1SSCtl1")  # type: ignore[arg-type]
        if value is not None and end.l1_substates is not None:
            _set(held, end, end.l1_substates + L1SS_CTL1, 4, L1SS_ENABLES, value)
    for which, end in pairs:
        value = before.field(which, "LnkCtl")  # type: ignore[arg-type]
        if value is not None:
            _set(held, end, end.express + LNKCTL, 2, ASPM, value)


def aspm_is_off(held: Held) -> bool | Unread:
    """Whether it is off at both ends now: drivers and tools switch it too."""
    try:
        return not any(_aspm_of(held, end) for end in (held.pair.card, held.pair.port) if end is not None)
    except Refused as gone:
        return Unread(gone.says, "absent")


def _aspm_of(held: Held, end: End) -> int:
    word = read_register(held, end, end.express + LNKCTL)
    if isinstance(word, Unread):
        raise Refused("gone", f"the link of {held.pair.name}: {word.why}")
    return word & ASPM


def _clear(held: Held, end: End, at: int, size: Literal[2, 4], bits: int) -> None:
    _set(held, end, at, size, bits, 0)


def _set(held: Held, end: End, at: int, size: Literal[2, 4], bits: int, value: int) -> None:
    word = read_register(held, end, at, size)
    if isinstance(word, Unread):
        raise Refused("gone", f"the link of {held.pair.name}: {word.why}")
    if (word ^ value) & bits:
        held.write(end.bdf, at, size, word & ~bits | value & bits)

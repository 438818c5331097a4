"""The slot registers of the PCI Express capability: SltCap, SltCtl, SltSta.

Offsets and bits are those of the PCI Express Base Specification, section 7.5.3. Only downstream ports with a slot
have them, which `pci_express` decides.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Indicator = Literal["on", "blink", "off"]
_INDICATOR: tuple[Indicator | None, ...] = (None, "on", "blink", "off")

_SCALE = (1, 10, 100, 1000)


class SlotCap(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    attention_button: bool
    power_controller: bool
    mrl_sensor: bool
    attention_indicator: bool
    power_indicator: bool
    hot_plug_surprise: bool
    hot_plug: bool
    power_limit_watts: float | None
    """None where the register only says above 600 W."""
    interlock: bool
    no_command_completed: bool
    number: int
    """Physical slot number, as the board's maker set it: 0 often means nobody did."""


class SlotCtl(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    attention_button_enabled: bool
    power_fault_enabled: bool
    mrl_changed_enabled: bool
    presence_changed_enabled: bool
    command_completed_enabled: bool
    hot_plug_interrupt_enabled: bool
    link_changed_enabled: bool
    attention_indicator: Indicator | None
    power_indicator: Indicator | None
    """None for the reserved code, which ports without the indicator read as."""
    power_off: bool
    """The power controller, where `SlotCap.power_controller`, is told to keep the slot off."""
    interlock: bool


class SlotSta(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    attention_button: bool
    power_fault: bool
    mrl_changed: bool
    presence_changed: bool
    command_completed: bool
    link_changed: bool
    mrl_open: bool
    presence_detect: bool
    """A card is seated. Hard-wired to 1 where the slot has no way to tell (no hot-plug support)."""
    interlock_engaged: bool


def power_limit_watts(value: int, scale: int) -> float | None:
    """Slot power limit, section 7.5.3.9. At scale 0 the values from 0xf0 are steps of 25 W from 250 W to 600 W."""
    if scale == 0 and value >= 0xF0:
        return None if value == 0xFF else 250.0 + 25 * (value - 0xF0)
    return value / _SCALE[scale]


def decode_slot_cap(word: int) -> SlotCap:
    """SltCap, 32 bits at 0x14."""
    return SlotCap(
        attention_button=bool(word & 0x01),
        power_controller=bool(word & 0x02),
        mrl_sensor=bool(word & 0x04),
        attention_indicator=bool(word & 0x08),
        power_indicator=bool(word & 0x10),
        hot_plug_surprise=bool(word & 0x20),
        hot_plug=bool(word & 0x40),
        power_limit_watts=power_limit_watts(word >> 7 & 0xFF, word >> 15 & 3),
        interlock=bool(word & 0x0002_0000),
        no_command_completed=bool(word & 0x0004_0000),
        number=word >> 19,
    )


def decode_slot_ctl(word: int) -> SlotCtl:
    """SltCtl, 16 bits at 0x18."""
    return SlotCtl(
        attention_button_enabled=bool(word & 0x0001),
        power_fault_enabled=bool(word & 0x0002),
        mrl_changed_enabled=bool(word & 0x0004),
        presence_changed_enabled=bool(word & 0x0008),
        command_completed_enabled=bool(word & 0x0010),
        hot_plug_interrupt_enabled=bool(word & 0x0020),
        link_changed_enabled=bool(word & 0x1000),
        attention_indicator=_INDICATOR[word >> 6 & 3],
        power_indicator=_INDICATOR[word >> 8 & 3],
        power_off=bool(word & 0x0400),
        interlock=bool(word & 0x0800),
    )


def decode_slot_sta(word: int) -> SlotSta:
    """SltSta, 16 bits at 0x1a."""
    return SlotSta(
        attention_button=bool(word & 0x0001),
        power_fault=bool(word & 0x0002),
        mrl_changed=bool(word & 0x0004),
        presence_changed=bool(word & 0x0008),
        command_completed=bool(word & 0x0010),
        link_changed=bool(word & 0x0100),
        mrl_open=bool(word & 0x0020),
        presence_detect=bool(word & 0x0040),
        interlock_engaged=bool(word & 0x0080),
    )

"""A card that does not appear: what its slot shows, and what each of that rules out. Pure.

Reads   nothing; SltSta (presence), LnkSta (data link layer active), SltCap (power), LnkCtl (disabled), bridge windows
By hand sudo lspci -vv -s 40:01.1 | grep -E 'SltSta|LnkSta|LnkCtl'

Presence detect is a short pin at each end of the slot's connector (PCI Express Card Electromechanical Specification,
PRSNT1# and PRSNT2#): a riser that does not carry it shows an empty slot with a card in it. A link that trains sets the
data link layer active; a port that cannot tell that is not asked.
"""

from __future__ import annotations

import msgspec

from boxcheck.engine.inspect import Facts
from boxcheck.model import Unread
from boxcheck.probes.links import Link
from boxcheck.probes.pci import PciInventory


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a slot without a card's answer shows."""

    what: str
    """`presence`, `link`, `power`, `address space`."""
    says: str
    rules_out: str = ""
    help: str = ""


def shown(link: Link, facts: Facts) -> tuple[Shown, ...]:
    """In the order in which a card comes up: felt, powered, linked, given an address."""
    return (_presence(link), _power(link), _trained(link, facts), _address(link, facts))


def _presence(link: Link) -> Shown:
    felt = link.presence_detect
    if isinstance(felt, Unread):
        return Shown(what="presence", says=f"not read: {felt.why}", help="run it with sudo")
    if felt is None:
        return Shown(what="presence", says="this port has no presence detect, so it feels no card anyhow")
    if felt:
        return Shown(what="presence", says="the slot feels a card",
                     rules_out="a card or riser that is not plugged in at all")
    return Shown(
        what="presence", says="the slot feels no card",
        rules_out="nothing yet: not plugged in, a riser without the presence wire and a dead riser all look so",
        help="push card and both ends of the riser home; look whether the riser carries PRSNT (pins A1, and B17, B31, "
             "B48 or B81)")


def _power(link: Link) -> Shown:
    if link.power_fault:
        return Shown(what="power", says="the slot has seen a power fault since that was cleared",
                     rules_out="a fault of settings alone", help="check the card's and the riser's power leads")
    if link.slot_power_watts:
        return Shown(what="power", says=f"the slot announces {link.slot_power_watts:g} W, and no power fault is shown; "
                     "the card's own leads are seen by nobody", help="check the card's power leads at both ends")
    return Shown(what="power", says="the port tells nothing of power", help="check the card's power leads at both ends")


def _trained(link: Link, facts: Facts) -> Shown:
    pci = facts.of(PciInventory)
    function = None if isinstance(pci, Unread) else pci.functions.get(link.id)
    config = None if function is None or isinstance(function.config, Unread) else function.config
    express = None if config is None or config.express is None or isinstance(config.express, Unread) else config.express
    if express is not None and express.link_ctl is not None and express.link_ctl.disabled:
        return Shown(what="link", says="the port's link is switched off (LnkCtl)",
                     rules_out="slot, riser and card so far",
                     help="BIOS setup: enable the slot; a hot-plug or containment event may have switched it off")
    if isinstance(link.dll_active, Unread):
        return Shown(what="link", says=f"not read: {link.dll_active.why}", help="run it with sudo")
    if link.dll_active:
        return Shown(what="link", says="the link is up and nothing answers behind it",
                     rules_out="a dead riser and a card without power",
                     help="sudo dmesg | grep -i pci; restart, and look whether the card's firmware comes up")
    how = "the port cannot tell whether the data link layer is up" if link.dll_active is None else (
        "the link did not train")
    speed = link.downstream.target_speed_gts
    cap = ""
    if isinstance(speed, float) and isinstance(link.downstream.max_speed_gts, float) and (
            speed < link.downstream.max_speed_gts):
        cap = f"; the port aims for {speed:g} GT/s of {link.downstream.max_speed_gts:g}"
    late = "" if link.dll_active is None else "address space: a card needs a link before it is given one"
    return Shown(what="link", says=f"{how}{cap}", rules_out=late,
                 help="the card in another slot, without its riser, tells card from riser in one start")


def _address(link: Link, facts: Facts) -> Shown:
    pci = facts.of(PciInventory)
    function = None if isinstance(pci, Unread) else pci.functions.get(link.id)
    if function is None or isinstance(function.config, Unread) or function.config.bridge is None:
        return Shown(what="address space", says="the port's windows were not read", help="run it with sudo")
    if not function.config.bridge.secondary:
        return Shown(
            what="address space", says="the port was given no bus number, so nothing behind it can be found",
            help="BIOS setup: Above 4G Decoding on; then boot with pci=realloc")
    bus = function.config.bridge.secondary
    return Shown(what="address space", says=f"the port has bus {bus:02x} for what hangs below",
                 rules_out="a port that was never set up")

"""What fixes what, cheapest first, each with the source that it rests on. Pure; words for a person.

Loss budgets: 28 dB at 8 GHz for 16 GT/s (Intel, "PCI Express 4.0 Retimer Supplemental Features", tech brief; Texas
Instruments, e2e.ti.com thread 934255), 36 dB at 16 GHz for 32 GT/s, of which 16 dB are left for the board after
processor package, card and connector (Astera Labs, "PCI Express 5.0 Architecture Channel Insertion Loss Budget").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from boxcheck.riser.certainty import percent
from boxcheck.riser.evidence import NO_RISER, Boot, Look, Notebook, PartKind, Suspect, Way, Weighed
from boxcheck.riser.measuring.bounds import BITS_A_TERABYTE, call_link, number, size

BUDGET = {
    16.0: ("16 GT/s allows 28 dB of loss from chip to chip, and 12 inches of board take 15.6 of them",
           "Texas Instruments, e2e.ti.com thread 934255"),
    32.0: ("32 GT/s allows 36 dB of loss from chip to chip, of which 16 are left for board and riser",
           "Astera Labs, PCIe 5.0 channel insertion loss budget"),
}
REDRIVER = (
    "a riser with a redriver amplifies what arrives, noise too: enough where the loss is a little too high, and "
    "invisible to software", "Astera Labs, PCI Express retimers vs. redrivers")
RETIMER = (
    "a riser with a retimer sends a fresh copy of every bit and starts the loss budget anew: the cure for long ways. "
    "It shows as `Retimer+` in lspci -vv (LnkSta2)", "Intel, PCI Express 4.0 retimer tech brief; Astera Labs")
SHORTER = (
    "a shorter riser, made for this speed: cables above 30 cm are where 32 GT/s begins to fail in users' boxes, and "
    "plain ones of 90 cm looked well at 16 GT/s and were not",
    "rtx6kpro build logs; mov-axbx.com/wopr/wopr_risers.html")
POWER = (
    "power for a riser's own adapter from a 6-pin or Molex lead: a SATA plug carries 54 W, a slot gives 75",
    "build logs of MI50 boxes; PCI Express Card Electromechanical Specification, 75 W")


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    says: str
    source: str = ""
    """Where that comes from; empty for what follows from the experiment itself."""


def advice(weighed: Weighed, notebook: Notebook) -> tuple[Advice, ...]:
    """For what was found, else nothing: advice on a part that is not proven sends people shopping."""
    found: dict[str, Advice] = {}
    for suspect in weighed.accused:
        for one in _for(suspect, notebook):
            found.setdefault(one.says, one)
    return tuple(found.values())


def _for(suspect: Suspect, notebook: Notebook) -> Iterator[Advice]:
    name, kind = suspect.name, suspect.kind
    if kind == "seat":
        yield Advice(says=f"leave {name} as it is plugged now, and fix card and riser so that nothing pulls at them")
        yield Advice(says="clean the gold contacts with isopropyl alcohol before plugging once more")
    elif kind == "riser":
        yield Advice(says=f"replace riser {name}")
        yield from _way(notebook)
        yield from _stopgap(notebook)
    elif kind == "card":
        yield Advice(says=f"return card {name}: its errors went with it from slot to slot")
        yield from _stopgap(notebook)
    elif kind == "slot":
        yield Advice(says=f"leave slot {name} empty, or use it for what needs less speed; look into it with a lamp for "
                          "dirt and bent contacts first")
        yield Advice(says=f"BIOS setup: slot {name} to the next lower generation, where nothing else is free",
                     source="the vendor of Mihawk boards does so for its riser slots (op-build issue 678)")
        yield from _stopgap(notebook)
    elif kind == "supply":
        yield Advice(says=f"the supply {name}: check its leads at both ends, and give its cards to another supply")
        yield Advice(says=POWER[0], source=POWER[1])
        yield Advice(
            says="as a stopgap lower the power limit of its cards: nvidia-smi -pl WATTS, or power1_cap of hwmon")
    elif kind == "setting":
        yield from _settings(name, suspect.because, notebook)


def _way(notebook: Notebook) -> Iterator[Advice]:
    speed = max((look.full_speed_gts or 0.0 for look in _looks(notebook)), default=0.0)
    if speed in BUDGET:
        yield Advice(says=BUDGET[speed][0], source=BUDGET[speed][1])
    for says, source in (SHORTER, REDRIVER, RETIMER):
        yield Advice(says=says, source=source)


def _settings(name: str, because: Sequence[str], notebook: Notebook) -> Iterator[Advice]:
    for says in notebook.settings.values():
        yield Advice(says=f"doctor found: {says}")
    yield Advice(says=f"BIOS setup: speed, lane split (bifurcation) and ASPM of slot {name}")
    if any("ASPM" in reason for reason in because):
        yield Advice(says="pcie_aspm=off on the kernel's command line, or ASPM off in BIOS setup",
                     source="the kernel's admin-guide/kernel-parameters.txt")


def _stopgap(notebook: Notebook) -> Iterator[Advice]:
    """A lower speed, where the experiment has shown that it is clean, with what it costs as it was measured."""
    for look in _looks(notebook):
        forced = look.conditions.speed_gts
        if look.slot != notebook.slot or forced is None or call_link(look).call != "bounded":
            continue
        full = [other for other in _looks(notebook) if other.slot == look.slot and other.conditions.speed_gts is None]
        cost = _cost(look, full)
        yield Advice(
            says=f"until then: {forced:g} GT/s, where no error was counted{cost}. BIOS setup: this slot to "
                 f"{generation(forced)}")
        return


def _cost(slow: Look, full: Sequence[Look]) -> str:
    for toward in ("card", "host"):
        here = slow.way(toward)
        there = [way for look in full if (way := look.way(toward)) is not None and way.seconds and way.bits]
        if here is not None and here.seconds and here.bits and there:
            low = here.bits / here.seconds / 8e9
            high = max(way.bits / way.seconds for way in there) / 8e9
            return f"; copies to the {toward} ran at {low:.1f} GB/s there and at {high:.1f} at full speed"
    return ""


def _looks(notebook: Notebook) -> tuple[Look, ...]:
    return tuple(look for boot in notebook.boots for look in boot.looks)


GENERATIONS = {2.5: "Gen1", 5.0: "Gen2", 8.0: "Gen3", 16.0: "Gen4", 32.0: "Gen5", 64.0: "Gen6"}


def generation(speed_gts: float) -> str:
    return GENERATIONS.get(speed_gts, f"{speed_gts:g} GT/s")


def tape(suspect: Suspect, notebook: Notebook) -> str:
    """The card to tape to the part: name, rates where it sat, what to do. Three lines at most."""
    lines = [f"{PARTS[suspect.kind]} {suspect.name}"]
    seen = [text for boot in notebook.boots for text in _where(suspect, boot)]
    if seen:
        lines.append("; ".join(dict.fromkeys(seen)))
    lines.append(f"{ORDERS[suspect.kind]} ({percent(suspect.probability)} by experiment {notebook.id})")
    return "\n".join(lines)


PARTS: dict[PartKind, str] = {
    "slot": "SLOT", "riser": "RISER", "card": "CARD", "seat": "CONTACTS OF", "supply": "SUPPLY", "setting": "SETTING"}
ORDERS: dict[PartKind, str] = {
    "slot": "Do not use at full speed.", "riser": "Replace.", "card": "Return.",
    "seat": "Was plugged badly; plug with care.", "supply": "Check leads and load.", "setting": "Change it."}


def _where(suspect: Suspect, boot: Boot) -> Iterator[str]:
    for place in boot.places:
        inside = {"slot": place.slot, "riser": place.riser, "card": place.card}.get(suspect.kind)
        if inside != suspect.name or suspect.name == NO_RISER:
            continue
        worst = max((rate for look in boot.looks if look.slot == place.slot and look.conditions.speed_gts is None
                     for way in look.ways if (rate := _rate(way)) is not None), default=None)
        if worst:
            yield f"{number(worst)} errors per TB in {place.slot}"
        elif worst is not None:
            yield f"no error counted in {place.slot}, in {size(_bits(boot, place.slot))}"
        elif any(look.slot == place.slot and look.active is False for look in boot.looks):
            yield f"no link in {place.slot}"


def _bits(boot: Boot, slot: str) -> float:
    return sum(way.bits for look in boot.looks if look.slot == slot for way in look.ways if way.unread is None)


def _rate(way: Way) -> float | None:
    """Errors per terabyte; None where they are not known."""
    return way.errors / way.bits * BITS_A_TERABYTE if way.bits and (way.unread is None or way.errors) else None

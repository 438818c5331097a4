"""dmidecode: board, BIOS and processors, which slot has which address, and how memory is fitted.

All of it is the firmware's claim at boot. Channels and labels are told as doctor tells them (`probes.memory`), so that
both say the same of the same machine.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from boxcheck.decode.dmidecode_text import Structure, is_row, is_start, smbios, structures
from boxcheck.decode.klog.events import Cause, Event, Severity
from boxcheck.decode.smbios_facts import Smbios
from boxcheck.decode.text import clean_text, meaningful
from boxcheck.model import Unread
from boxcheck.probes.memory import Channel, Module, modules_by_channel
from boxcheck.triage.evidence import Device, Evidence, Section, at_line, fields_of

VARIANT = "dmidecode"
GIB = 1 << 30
MOST_LISTED = 256
SPEED_ROUNDING_MTS = 5
"""Firmware writes 2666 and 2667 for the same speed (as in checks/memory_modules)."""
CHANNELS_TO_TELL = 3
"""So many filled channels make a single empty one stand out."""
_DENIED = re.compile(r"(?:/sys/firmware/dmi/tables/\w{3,20}|/dev/mem): Permission denied$")
_BOOT_FINE = ("no errors detected",)


def begins(line: str) -> str | None:
    """The variant, when this line begins an output of dmidecode, or a structure of one that was cut."""
    text = line[:200].strip()
    if _DENIED.match(text):
        return VARIANT
    # The kernel logs `SMBIOS 3.3.0 present.` too; a structure or the tool's name is needed.
    return VARIANT if is_start(line) and not text.startswith("SMBIOS ") else None


def belongs(variant: str, line: str) -> bool:
    """Whether the line goes on with it; the tool's own name begins another run."""
    text = line[:200].strip()
    return not text.startswith("# dmidecode ") and (is_row(line) or _DENIED.match(text) is not None)


def read(section: Section) -> Evidence:
    """The machine, its slots and its memory. Never raises."""
    found = structures(section.lines)
    kinds = Counter(one.kind for one in found)
    counts = [one.rows.get("number of devices", "") for one in found if one.kind == 16]
    promised = sum(int(text) for text in counts if text.isdecimal() and len(text) < 5)
    cut = section.cut_short or kinds[17] < promised
    table = smbios(found, "the text is cut" if cut else None)
    denied = any(_DENIED.match(line.strip()[:200]) for line in section.lines)
    modules, channels = modules_by_channel(table)
    line_of = {one.handle: one.offset for one in found if one.kind == 17}
    judged: list[Event] = []
    if kinds[17] and modules:
        at = at_line(section, line_of.get(table.memory_devices[0].handle, 0))
        judged += _memory(table, modules, channels, at, complete=not cut and kinds[16] > 0)
    judged += _boot(found, section)
    slots = [_slot(slot) for slot in table.slots[:MOST_LISTED]]
    readings: dict[str, Any] = {}
    if slots:
        readings["slots"] = slots
    if kinds[17]:
        readings["modules"] = [_module(module) for module in modules[:MOST_LISTED]]
    return Evidence(tool=VARIANT, devices=tuple(_devices(table, found, section)), events=tuple(judged),
                    notes=tuple(_notes(table, cut, denied)), box=_box(table, modules), readings=readings)


def _box(table: Smbios, modules: Sequence[Module]) -> dict[str, str]:
    box: dict[str, str] = {}
    board = table.baseboard
    if not isinstance(board, Unread):
        named = [word for word in (meaningful(board.manufacturer), meaningful(board.product)) if word is not None]
        if named:
            box["board"] = " ".join(named)
    if not isinstance(table.system, Unread):
        named = [word for word in (meaningful(table.system.manufacturer), meaningful(table.system.product))
                 if word is not None]
        if named:
            box["product"] = " ".join(named)
        serial = meaningful(table.system.serial)
        if serial is not None and serial != "--":
            box["serial"] = serial
    if not isinstance(table.bios, Unread):
        named = [word for word in (meaningful(table.bios.vendor), table.bios.version, table.bios.date) if word]
        if named:
            box["bios"] = " ".join(named)
    cpus = [one.version.strip() for one in table.processors if one.version is not None and meaningful(one.version)
            and one.populated is not False]
    if cpus:
        name, times = Counter(cpus).most_common(1)[0]
        box["cpu"] = f"{times} x {name}" if times > 1 else name
    fitted = [module for module in modules if module.installed is True]
    total = sum(module.size_bytes for module in fitted if isinstance(module.size_bytes, int))
    if fitted:
        box["memory"] = f"{total / GIB:g} GiB in {len(fitted)} of {len(modules)} sockets"
    return {name: clean_text(value, 120) for name, value in box.items()}


def _devices(table: Smbios, found: Sequence[Structure], section: Section) -> Iterator[Device]:
    """Slots that name an address: what is in them, by the board's own label."""
    lines = {one.handle: one.offset for one in found if one.kind == 9}
    for slot in table.slots[:MOST_LISTED]:
        if isinstance(slot.address, Unread) or slot.designation is None or slot.usage == "Available":
            continue
        yield Device(
            line=at_line(section, lines.get(slot.handle, 0)), bdf=slot.address, slot=slot.designation,
            more=fields_of((("slot_type", None if isinstance(slot.kind, Unread) else slot.kind),
                            ("slot_usage", None if isinstance(slot.usage, Unread) else slot.usage))))


def _slot(slot: Any) -> dict[str, Any]:
    values = {"designation": slot.designation, "type": slot.kind, "width_lanes": slot.width_lanes,
              "usage": slot.usage, "address": slot.address}
    return {name: value for name, value in values.items() if value is not None and not isinstance(value, Unread)}


def _module(module: Module) -> dict[str, Any]:
    values = {"label": module.label, "channel": module.channel, "size_bytes": module.size_bytes, "kind": module.kind,
              "rated_mts": module.rated_mts, "configured_mts": module.configured_mts, "part": module.part}
    return {name: value for name, value in values.items() if value is not None and not isinstance(value, Unread)}


def _memory(
    table: Smbios, modules: Sequence[Module], channels: tuple[Channel, ...] | Unread, line: int, complete: bool,
) -> Iterator[Event]:
    def event(kind: str, severity: Severity, says: str, cause: Cause | None, help_: tuple[str, ...] = (),
              labels: tuple[str, ...] = ()) -> Event:
        return Event(kind=kind, severity=severity, says=clean_text(says, 300), cause=cause, help=help_,
                     labels=tuple(clean_text(label, 64) for label in labels), line=line, text="Memory Device")

    fitted = [module for module in modules if module.installed is True]
    if complete and not isinstance(channels, Unread):
        yield from _population(channels, event)
    sizes = Counter(module.size_bytes for module in fitted if isinstance(module.size_bytes, int))
    parts = Counter(module.part for module in fitted if module.part is not None)
    if len(sizes) > 1 or len(parts) > 1:
        by_size = ", ".join(f"{times} of {size / GIB:g} GiB" for size, times in sizes.most_common(6))
        by_part = ", ".join(f"{times} of {part}" for part, times in parts.most_common(4))
        yield event(
            "memory-mixed", "info", f"memory modules differ: {by_size if len(sizes) > 1 else by_part}", None,
            ("mixed modules train to the slowest; where memory errors show, make them alike first",),
            ("size",) if len(sizes) > 1 else ("part number",))
    yield from _speed(fitted, event)
    array = next((one for one in table.memory_arrays if one.use == "System Memory"), None)
    checked = [module for module in fitted if isinstance(module.check_bits, int) and module.check_bits > 0]
    if array is not None and array.error_correction == "None" and checked and len(checked) == len(fitted):
        yield event("memory-ecc-off", "warn", "the modules have ECC, and the firmware says that it is not used",
                    "config", ("enable ECC in the BIOS; then sudo dmidecode -t 16 says Multi-bit ECC",))


def _population(channels: Sequence[Channel], event: Any) -> Iterator[Event]:
    empty = [channel for channel in channels if channel.populated is False]
    filled = [channel for channel in channels if channel.populated is True]
    reseat = ("power off, reseat the module, power on; not cured: swap it with a neighbour and see which goes missing",
              "the BMC's event log names a module that failed training")
    if len(empty) == 1 and len(filled) >= CHANNELS_TO_TELL:
        yield event("memory-missing", "warn", f"memory channel {empty[0].name} is empty, the other {len(filled)} are "
                    "filled: its module is dead, or was never fitted", "memory", reseat, (f"channel {empty[0].name}",))
    elif empty and filled:
        yield event("memory-population", "info",
                    f"{len(filled)} of {len(channels)} memory channels are filled, empty: "
                    + ", ".join(channel.name for channel in empty[:16]), "config",
                    ("bandwidth grows with the channels: one module in each comes first",))
    counts = {channel.name: sum(module.installed is True for module in channel.modules) for channel in filled}
    most = max(counts.values(), default=0)
    short = [name for name, number in counts.items() if number < most]
    if not empty and len(short) == 1 and len(filled) > CHANNELS_TO_TELL:
        yield event("memory-missing", "warn", f"memory channel {short[0]} has a module less than the other "
                    f"{len(filled) - 1}", "memory", reseat, (f"channel {short[0]}",))


def _speed(fitted: Sequence[Module], event: Any) -> Iterator[Event]:
    rated = [module.rated_mts for module in fitted if isinstance(module.rated_mts, int)]
    runs = [module.configured_mts for module in fitted if isinstance(module.configured_mts, int)]
    if not rated or not runs:
        return
    if min(runs) + SPEED_ROUNDING_MTS < min(rated):
        yield event(
            "memory-slow", "info", f"memory runs at {min(runs)} MT/s, its modules are rated {min(rated)}", "config",
            ("set the memory speed in the BIOS (memory clock, XMP or EXPO)",
             "two modules a channel run slower by design on many boards; the processor may allow no more"))
    elif min(rated) + SPEED_ROUNDING_MTS < max(rated):
        slow = [module.label for module in fitted if module.rated_mts == min(rated)]
        yield event("memory-slow", "info", f"modules of {min(rated)} MT/s hold others of {max(rated)} back: "
                    + ", ".join(slow[:4]), "config", ("replace the slow ones by the others' part number",), ("mixed",))


def _boot(found: Sequence[Structure], section: Section) -> Iterator[Event]:
    """Type 32: what the firmware says of this boot."""
    for one in found:
        status = one.rows.get("status", "") if one.kind == 32 else ""
        if status and not status.lower().startswith((*_BOOT_FINE, "<out of spec>", "unknown")):
            yield Event(kind="boot-status", severity="warn", cause="firmware", line=at_line(section, one.offset),
                        text=clean_text(status, 120), says=f"the firmware says of this boot: {clean_text(status, 120)}",
                        help=("read the BMC's event log: ipmitool sel elist",))
            return


def _notes(table: Smbios, cut: bool, denied: bool) -> Iterator[str]:
    if denied:
        yield "dmidecode may read the tables as root only: sudo dmidecode"
    if cut:
        yield "the text ends early: it lists fewer memory sockets than it says the board has"
    if table.slots and all(isinstance(slot.address, Unread) for slot in table.slots):
        yield "this board gives no addresses of its slots, so they cannot be joined to devices: match them by eye"
    if table.memory_devices:
        yield "all of it is what the firmware wrote at boot; a module that fails later still shows"

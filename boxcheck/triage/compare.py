"""What only two pieces of evidence of one machine show together: a GPU that one lists and the other does not, a device
that changed between two lspci runs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from boxcheck.decode.klog.events import Event
from boxcheck.model import Bdf
from boxcheck.triage.evidence import Device, Evidence
from boxcheck.triage.machine import Machine, bus_of
from boxcheck.triage.reading import SourceReading
from boxcheck.triage.tools.steps import NARROW_HELP

_VENDOR_TOOLS = (("nvidia-smi", 0x10DE, "NVIDIA"), ("dcgmi discovery", 0x10DE, "NVIDIA"), ("rocm-smi", 0x1002, "AMD"),
                 ("amd-smi", 0x1002, "AMD"))
SAME_SHARE = 0.6
"""Several cards may be lost at once; a list of one device (-s) covers nothing."""
_FOREIGN_DRIVERS = ("vfio-pci", "pci-stub")
_NO_FAULT_DRIVERS = "held by another driver on purpose"


def compared(readings: Sequence[SourceReading], machine: Machine) -> Iterator[tuple[int, Event]]:
    """(source, event) for everything of that kind."""
    yield from _missing(readings, machine)
    yield from _changed(readings, machine)
    yield from _narrow(readings, machine)


# A GPU that a tool of its vendor does not list

def _missing(readings: Sequence[SourceReading], machine: Machine) -> Iterator[tuple[int, Event]]:
    for reading in readings:
        for piece, line in zip(reading.evidence, reading.evidence_lines, strict=True):
            vendor, name = next(((vendor, name) for tool, vendor, name in _VENDOR_TOOLS if piece.tool.startswith(tool)),
                                (0, ""))
            count = piece.readings.get("gpus")
            chosen = bool(piece.readings.get("may_be_chosen"))
            if not vendor or not (chosen or piece.readings.get("whole")) or not isinstance(count, int):
                continue
            known = [gpu for gpu in machine.gpus() if machine.vendor(gpu) == vendor]
            listed = {device.bdf or machine.by_mark(device) for device in piece.devices}
            absent = [gpu for gpu in known if gpu not in listed]
            if len(known) <= count or not absent:
                continue
            if not piece.readings.get("whole"):
                machine.disputes.append(
                    f"whether {piece.tool.split(',')[0]} has all {len(known)} {name} GPUs: it was asked for fields of "
                    "one, as with -i; nvidia-smi -L lists all")
                continue
            named = absent if None not in listed else []
            yield reading.index, _not_listed(piece, line, name, len(known), count, named, machine, chosen)


def _not_listed(
    piece: Evidence, line: int, vendor: str, known: int, count: int, absent: Sequence[Bdf], machine: Machine,
    chosen: bool,
) -> Event:
    """`chosen`: what it prints is also what it prints of one GPU that an option chose."""
    tool = piece.tool.split(",")[0]
    are = "is" if len(absent) == 1 else "are"
    which = f": {', '.join(machine.short(gpu) for gpu in absent)} {are} not among them" if absent else ""
    held = [gpu for gpu in absent if machine.driver(gpu) in _FOREIGN_DRIVERS]
    on_purpose = bool(absent) and len(held) == len(absent)
    return Event(
        kind="gpu-missing", bdf=absent[0] if len(absent) == 1 else None, labels=tuple(map(bus_of, absent)) or (tool,),
        count=1, cause=None, severity="info" if on_purpose else "warn" if chosen else "fail",
        says=f"the machine has {known} {vendor} GPUs and {tool} lists {count}{which}"
        + (f" ({_NO_FAULT_DRIVERS})" if on_purpose else
           "; with -i 0 it prints the same, and lists one on purpose" if chosen else ""),
        help=() if on_purpose else (
            *(("nvidia-smi -L  lists all that the driver has",) if chosen else ()),
            "read the kernel log for this address: did it fall off the bus, or did its driver not start?",
            "sudo lspci -vvv -s <address>: `rev ff` is a card that no longer answers; another driver holds it",
        ), line=line)


# A link in one output of amd-smi, its card in another

def _narrow(readings: Sequence[SourceReading], machine: Machine) -> Iterator[tuple[int, Event]]:
    """`amd-smi metric` shows lanes and names no card, `static` and `list` the other way round; the number is the
    same."""
    pieces = [(reading.index, piece) for reading in readings for piece in reading.evidence
              if piece.tool.startswith("amd-smi")]
    cards = {device.index: known for _, piece in pieces for device in piece.devices
             if device.index is not None and device.bdf is not None and (known := machine.devices.get(device.bdf))}
    told: set[int] = set()
    for source, piece in pieces:
        for device in piece.devices:
            known = cards.get(device.index) if device.index is not None else None
            width = device.link.width if device.link is not None and device.bdf is None else None
            if known is None or width is None or device.index is None or device.index in told:
                continue
            link = known.device.link
            lanes = (link.max_width if link is not None else None) or (known.part.link_width if known.part else None)
            if lanes is not None and 0 < width < lanes:
                told.add(device.index)
                yield source, Event(
                    kind="link-width", bdf=known.device.bdf, severity="warn", cause=None, width=width,
                    capable_width=lanes, help=NARROW_HELP, line=device.line,
                    says=f"the link is x{width}, the card can do x{lanes}; the slot may have fewer lanes")


# Two runs of lspci

def _changed(readings: Sequence[SourceReading], machine: Machine) -> Iterator[tuple[int, Event]]:
    runs = [(reading.index, line, piece) for reading in readings
            for piece, line in zip(reading.evidence, reading.evidence_lines, strict=True)
            if piece.tool.startswith("lspci")]
    for (_, _, before), (source, line, after) in itertools.pairwise(runs):
        old, new = _by_address(before), _by_address(after)
        whole = bool(before.readings.get("whole") and after.readings.get("whole"))
        for bdf in sorted(old.keys() - new.keys()):
            if machine.is_gpu(bdf) and _covers(bdf, old, new):
                yield source, Event(
                    kind="gpu-lost", bdf=bdf, labels=("not listed any more",), cause="signal",
                    severity="fail" if whole else "warn",
                    says="the GPU is in an earlier lspci and not in the later one", line=line, help=(
                        "not taken out on purpose: power off, check its power plugs, reseat card and riser",
                        "read the kernel log for the moment it went"))
        for bdf in sorted(old.keys() & new.keys()):
            words = _difference(old[bdf], new[bdf])
            if words:
                yield source, Event(
                    kind="lspci-changed", bdf=bdf, labels=(words,), cause=None, severity="info",
                    says=f"between the two lspci runs: {words}", line=line)


def _covers(bdf: Bdf, old: dict[Bdf, Device], new: dict[Bdf, Device]) -> bool:
    """Whether the later list shows what else the earlier one showed, so that what is absent from it is gone."""
    card = bdf.rsplit(".", 1)[0]
    others = {other for other in old if other.rsplit(".", 1)[0] != card}
    return bool(others) and len(others & new.keys()) >= SAME_SHARE * len(others)


def _by_address(piece: Evidence) -> dict[Bdf, Device]:
    return {device.bdf: device for device in piece.devices if device.bdf is not None}


def _difference(old: Device, new: Device) -> str:
    before, after = old.link, new.link
    if before is None or after is None:
        return ""
    parts = []
    if before.width and after.width and before.width != after.width:
        parts.append(f"x{before.width} became x{after.width}")
    if before.speed_gts and after.speed_gts and before.speed_gts != after.speed_gts:
        parts.append(f"{before.speed_gts:g} GT/s became {after.speed_gts:g} GT/s")
    return ", ".join(parts)

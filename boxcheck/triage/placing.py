"""Puts the events of one machine at their devices and links, and weighs those whose gravity the machine decides."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from boxcheck.decode.klog.events import Event
from boxcheck.model import Bdf
from boxcheck.profile import load_gpus
from boxcheck.triage.compare import compared
from boxcheck.triage.evidence import Device, Evidence
from boxcheck.triage.machine import Machine, join
from boxcheck.triage.modesetting import nomodeset_severity
from boxcheck.triage.reading import SourceReading
from boxcheck.triage.rules.words import is_narrow
from boxcheck.triage.scene import Sighting
from boxcheck.triage.stretches import stretches
from boxcheck.triage.times import moment
from boxcheck.triage.tools.card_form import is_module

_NVIDIA_KINDS = frozenset(("xid", "gpu-lost", "nvidia-init-fail", "gsp-timeout", "gpu-power-cable"))
_AMD_KINDS = frozenset(("ib-test-fail", "ring-test-fail", "psp-fail", "psp-command-fail", "kfd-device-fail"))
_GPU_DRIVER = re.compile(r"(nvidia|amdgpu|nouveau|radeon|xe) [0-9a-fA-F]{2,8}:")
"""A message that one of these drivers' devices is the subject of: `nvidia 0000:07:00.0: AMD-Vi: ...`."""
_FAMILY_OF_DRIVER = {"nvidia": "nvidia", "nouveau": "nvidia", "amdgpu": "amd", "radeon": "amd"}
_CARD_LANES = 16
_GPU_NUMBER = re.compile(r"gpu(\d{1,3})")
_VENDORS = {"nvidia": 0x10DE, "amd": 0x1002}
_OWN_LINK = ("aer-correctable", "aer-nonfatal", "aer-fatal", "ghes-pcie", "dpc", "link-down", "link-retrain")
"""Kinds that are about the very link of the device that they name; others are about the card, and its slot's link."""


def place(readings: Sequence[SourceReading], number: int) -> tuple[Machine, list[Sighting]]:
    """The machine behind the readings, `number` among several, and its events."""
    sightings = list(_sightings(readings, number))
    machine = _machine(readings, sightings)
    placed = list(_placed(sightings, machine))
    found = compared(readings, machine)
    placed += [_at_link(Sighting(index=-1, event=event, source=source, machine=number, file=_name(readings, source),
                                 log=False), machine) for source, event in found]
    return machine, [_weighed(sighting, readings, machine) for sighting in placed]


def _name(readings: Sequence[SourceReading], source: int) -> str:
    return next((reading.name for reading in readings if reading.index == source), "")


def _sightings(readings: Sequence[SourceReading], machine: int) -> Iterator[Sighting]:
    """All events, those of tools with those of logs, each happening once though two sources tell it."""
    seen: set[tuple[object, ...]] = set()
    within = stretches(readings)
    for reading in readings:
        mine = within.get(reading.index)
        logged = [(event, None) for event in (reading.log.events if reading.log is not None else ())]
        shown = [(event, piece) for piece in reading.evidence for event in piece.events]
        for event, piece in (*logged, *shown):
            if piece is None and event.first is not None:
                key = (event.kind, event.bdf, event.labels, event.first, event.last, event.count)
                if key in seen:
                    continue
                seen.add(key)
            yield Sighting(
                index=-1, event=event, source=reading.index, machine=machine, file=reading.name, log=piece is None,
                first=moment(event.first), last=moment(event.last), card=_card_of(event, piece),
                whole_log=mine.log if mine is not None else None, part=mine.part if mine is not None else 0,
                boots_before=mine.boots_before if mine is not None else 0)


def _card_of(event: Event, piece: Evidence | None) -> Device | None:
    """The device that a tool numbers as the event's label does, in the same output: `gpu1` is its GPU 1."""
    found = _GPU_NUMBER.fullmatch(event.labels[0]) if piece is not None and event.labels else None
    if found is None or piece is None or event.bdf is not None:
        return None
    number = int(found[1])
    return next((device for device in piece.devices
                 if device.more.get("cuda_index", device.index) == number), None)


def _machine(readings: Sequence[SourceReading], sightings: Iterable[Sighting]) -> Machine:
    pieces = [(piece, reading.index) for reading in readings for piece in reading.evidence]
    pieces += [(reading.machine, reading.index) for reading in readings if reading.machine is not None]
    heard: list[tuple[Bdf, Bdf | None, bool]] = []
    for sighting in sightings:
        event = sighting.event
        if event.bdf is not None:
            gpu = _family(sighting) is not None
            heard.append((event.bdf, event.reporter or event.limited_at, gpu))
    machine = join(pieces, heard)
    machine.host = next((reading.host for reading in readings if reading.host), None)
    return machine


def _family(sighting: Sighting) -> str | None:
    """Whose GPU an event is about, by its kind or by the driver that speaks."""
    kind = sighting.kind
    if kind in _NVIDIA_KINDS:
        return "nvidia"
    if kind.startswith("amdgpu-") or kind in _AMD_KINDS:
        return "amd"
    found = _GPU_DRIVER.match(sighting.event.text)
    return _FAMILY_OF_DRIVER.get(found[1], "intel") if found is not None and kind != "harmless" else None


def _families(sightings: Iterable[Sighting]) -> dict[Bdf, set[str]]:
    """Address -> whose driver spoke of it."""
    found: dict[Bdf, set[str]] = {}
    for sighting in sightings:
        family = _family(sighting)
        if sighting.bdf is not None and family is not None:
            found.setdefault(sighting.bdf, set()).add(family)
    return found


def _placed(sightings: Sequence[Sighting], machine: Machine) -> Iterator[Sighting]:
    """The sightings at their devices. What a GPU's driver says without an address is about the one GPU that it can
    mean; what a tool says of a number, about the card that the same output gives that number."""
    spoken = _families(sightings)
    for sighting in sightings:
        bdf, assumed = sighting.bdf, False
        if bdf is None and sighting.card is not None:
            bdf = sighting.card.bdf or machine.by_mark(sighting.card)
        if bdf is None and not (sighting.card is not None and sighting.card.more.get("chosen")):
            bdf = _meant(sighting, machine, spoken)
            assumed = bdf is not None
        if bdf is not None and bdf != sighting.bdf:
            sighting = msgspec.structs.replace(
                sighting, event=msgspec.structs.replace(sighting.event, bdf=bdf), assumed=assumed)
        yield _at_link(sighting, machine)


def _at_link(sighting: Sighting, machine: Machine) -> Sighting:
    event = sighting.event
    if event.limited_at is not None:
        return msgspec.structs.replace(sighting, link=machine.link(event.limited_at))
    if event.bdf is None:
        return sighting
    link = machine.link(event.bdf) if event.kind in _OWN_LINK else machine.slot_link(event.bdf)
    return msgspec.structs.replace(sighting, link=link)


def _meant(sighting: Sighting, machine: Machine, spoken: dict[Bdf, set[str]]) -> Bdf | None:
    """The only GPU that an event without an address can be about; None where nobody knows."""
    if not sighting.log and sighting.labels and _GPU_NUMBER.fullmatch(sighting.labels[0]):
        return _numbered(sighting.labels[0], machine)
    family = _family(sighting)
    if family is not None:
        if sighting.event.near is not None:
            return sighting.event.near
        candidates = {
            gpu for gpu in (*machine.gpus(), *spoken)
            if machine.vendor(gpu) in (None, _VENDORS.get(family)) and family in spoken.get(gpu, {family})}
        return next(iter(candidates)) if len(candidates) == 1 else None
    return None


def _numbered(label: str, machine: Machine) -> Bdf | None:
    """The GPU that a tool calls `gpu3`, where another tool gives the address of GPU 3. Programs may count in another
    order (CUDA_VISIBLE_DEVICES, CUDA_DEVICE_ORDER), so this is an assumption, and only made for cards of one model."""
    found = _GPU_NUMBER.fullmatch(label)
    if found is None:
        return None
    by_index = {known.device.index: bdf for bdf, known in machine.devices.items() if known.device.index is not None}
    models = {machine.model(bdf) for bdf in by_index.values()}
    return by_index.get(int(found[1])) if len(models) == 1 else None


def _weighed(sighting: Sighting, readings: Sequence[SourceReading], machine: Machine) -> Sighting:
    """An event whose gravity depends on what is behind it.

    A GPU's link with fewer lanes than the card is worth a look, unless the port above has no more; of one that is in no
    database, as those of laptops are, a quarter of them. A module has no slot that could be narrower. A link that goes
    down below a root port with a GPU behind it is a GPU that is gone.
    """
    event = sighting.event
    if event.kind == "nomodeset":
        return _graver(sighting, nomodeset_severity(sighting, readings, machine), "config")
    gpu = event.bdf if event.bdf is not None and machine.is_gpu(event.bdf) else (
        machine.gpu_of(sighting.link) if sighting.link is not None else None)
    if event.kind == "bw-limited" and _is_cards(event, gpu, machine):
        on_card = sighting.link is not None and machine.on_card(sighting.link)
        if not on_card or 4 * (event.width or 0) <= (event.capable_width or 0):
            sighting = _graver(sighting, "warn", "signal" if on_card else None)
    if is_narrow(sighting) and sighting.bdf is not None:
        weighed = _against_port(sighting, machine)
        module = is_narrow(weighed) and gpu is not None and is_module(machine.model(gpu))
        return _graver(weighed, "fail", "signal") if module else weighed
    if gpu is None:
        return sighting
    if (event.kind == "link-down" and event.severity == "warn" and event.cause == "signal"
            and sighting.link is not None and machine.is_root_port(sighting.link)):
        return _graver(sighting, "fail", "signal")
    return sighting


def _is_cards(event: Event, gpu: Bdf | None, machine: Machine) -> bool:
    """Whether a link with too few lanes is that of a GPU, or of the switch on its card, or may be: of a device of
    sixteen lanes that nothing in the evidence names."""
    if not event.width or not event.capable_width or event.width >= event.capable_width or event.bdf is None:
        return False
    if gpu is not None and (gpu == event.bdf or event.bdf in machine.ancestors(gpu)):
        known = machine.devices.get(gpu)
        pci_id = known.pci_id if known is not None else None
        return event.width * 4 <= event.capable_width or (pci_id is not None and bool(load_gpus().of_id(pci_id))) or (
            known is not None and known.part is not None)
    known = machine.devices.get(event.bdf)
    nameless = known is None or known.device.class_code is None
    return nameless and event.capable_width >= _CARD_LANES and event.text.startswith("pci ")


def _against_port(sighting: Sighting, machine: Machine) -> Sighting:
    """A narrow link whose other end is in the evidence: no fault where that has no more lanes, one where it has."""
    event = sighting.event
    assert event.bdf is not None
    port = machine.devices.get(machine.slot_link(event.bdf))
    link = port.device.link if port is not None and port.device.bdf != event.bdf else None
    if link is None or link.max_width is None or event.width is None or link.width != event.width:
        return sighting
    if link.max_width <= event.width:
        says = f"the link is x{event.width}, fewer lanes than the card has; its port has no more"
        return msgspec.structs.replace(sighting, event=msgspec.structs.replace(event, severity="info", says=says))
    return _graver(sighting, "fail", "signal") if event.kind == "link-width" else sighting


def _graver(sighting: Sighting, severity: str, cause: str | None) -> Sighting:
    return msgspec.structs.replace(
        sighting, event=msgspec.structs.replace(sighting.event, severity=severity, cause=cause))

"""`lspci` in every flavour: devices, links, errors, memory windows, and what hangs below what.

Decoding is `decode/lspci`, which prefers bytes (-xxxx) over words; here it is recognised, judged and told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from boxcheck.decode.klog.events import Event
from boxcheck.decode.lspci import LspciDump, LspciFunction, parse
from boxcheck.decode.lspci_lines import (
    COMPLAINT,
    VMM_KEYS,
    clean,
    is_foreign,
    is_fragment,
    is_part,
    is_tree,
    read_head,
    read_slot,
)
from boxcheck.decode.text import clean_text
from boxcheck.model import Bdf
from boxcheck.triage.evidence import Device, DeviceBar, DeviceLink, Evidence, Section, at_line, fields_of
from boxcheck.triage.tools.lspci_aer import aer_events, silent_notes
from boxcheck.triage.tools.lspci_event import counted, event, listed
from boxcheck.triage.tools.lspci_gpu import gpu_events
from boxcheck.triage.tools.lspci_link import link_events
from boxcheck.triage.tools.lspci_names import device_of, part_for
from boxcheck.triage.tools.lspci_scene import Scene, short

TREE = "lspci -t"
VMM = "lspci -vmm"
_ROOT = re.compile(r"\s{0,40}-[-+]{0,4}\[(?:[0-9a-f]{4,8}:)?[0-9a-f]{2}\]-")
_FLAVOURS = ("-t", "-n", "-nn", "-mm", "-vmm", "-vv", "-v", "-k", "-xxx", "-x")
_IMPLIED = {"-v": "-vv", "-n": "-nn", "-x": "-xxx", "-k": "-v", "-mm": "-vmm"}
"""A flavour that is not worth naming beside the other."""


def begins(line: str) -> str | None:
    """See `boxcheck.triage.tools`."""
    if _ROOT.match(line):
        return TREE
    text = clean(line)
    if is_foreign(text):
        return None
    if read_head(text, strict=True) is not None:
        return "lspci"
    if read_slot(text) is not None:
        return VMM
    return "lspci" if is_fragment(text) or COMPLAINT.match(text) else None


def belongs(variant: str, line: str) -> bool:
    """See `boxcheck.triage.tools`."""
    if variant == TREE:
        return is_tree(line)
    if variant == VMM:
        text = clean(line)
        return text.partition(":")[0] in VMM_KEYS and ":" in text[:12]
    return is_part(line)


def read(section: Section) -> Evidence:
    """See `boxcheck.triage.tools`."""
    dump = parse(section.lines)
    scene = Scene(dump)
    events = sorted(_events(scene), key=lambda found: found.line)
    return Evidence(
        tool=_tool(dump),
        devices=tuple(_device(scene, function, section) for function in dump.functions),
        events=tuple(
            msgspec.structs.replace(found, line=at_line(section, found.line)) for found in events),
        notes=tuple(_notes(scene, section)),
        readings=_readings(scene, section.cut_short),
    )


def _events(scene: Scene) -> Iterator[Event]:
    yield from gpu_events(scene)
    yield from link_events(scene)
    yield from aer_events(scene)
    for function in scene.functions.values():
        if function.disagrees:
            yield event(
                function, "evidence-disagrees", "info", None,
                f"words and bytes of {short(function.bdf)} differ in {listed(function.disagrees)}; the bytes count",
                labels=function.disagrees)
    changed: dict[Bdf, list[str]] = {}
    for change in scene.dump.changes:
        changed.setdefault(change.bdf, []).append(f"{change.field} {change.before} -> {change.after}")
    for bdf, changes in changed.items():
        yield event(
            scene.functions[bdf], "lspci-changed", "info", None,
            clean_text(f"{short(bdf)} stands in this text more than once; the last reading counts: {listed(changes)}"),
            labels=tuple(clean_text(text, 64) for text in changes))


def _tool(dump: LspciDump) -> str:
    shown = [name for name in _FLAVOURS if name in dump.flavours and _IMPLIED.get(name) not in dump.flavours]
    return " ".join(("lspci", *shown))


def _device(scene: Scene, function: LspciFunction, section: Section) -> Device:
    part = part_for(function) if function.bdf in scene.gpu_at else None
    link = DeviceLink(
        speed_gts=function.speed_gts, width=function.width, max_speed_gts=function.best_speed_gts,
        max_width=function.max_width, target_speed_gts=function.target_speed_gts)
    slot = function.physical_slot or (str(function.slot_number) if function.slot_number else None)
    return Device(
        line=at_line(section, function.line),
        bdf=function.bdf,
        name=function.name,
        vendor=function.vendor,
        device=device_of(function),
        revision=None if function.gone and function.revision == 0xFF else function.revision,
        class_code=function.class_code,
        subsystem_vendor=function.subsystem_vendor,
        subsystem_device=function.subsystem_device,
        driver=function.driver,
        slot=slot,
        # `serial` is the maker's, printed on the card; the capability's number is none of that.
        numa_node=function.numa_node,
        iommu_group=function.iommu_group,
        port_type=function.port_type,
        parent=scene.parents.get(function.bdf) if function.bdf else None,
        secondary_bus=function.secondary_bus,
        subordinate_bus=function.subordinate_bus,
        link=link if link != DeviceLink() and not function.gone else None,
        bars=tuple(
            DeviceBar(index=region.index, size_bytes=region.size_bytes, prefetchable=region.prefetchable,
                      assigned=region.state not in ("ignored", "unassigned", "broken"))
            for region in function.regions if region.memory),
        aer=_aer(function),
        more=fields_of((
            ("gone", True if function.gone else None),
            ("part", part.key if part else None),
            ("part_name", part.name if part else None),
            ("part_vram_gib", part.vram_gib if part else None),
            ("part_link_generation", part.link_generation if part else None),
            ("part_link_width", part.link_width if part else None),
            ("device_serial_number", function.serial),
            ("power_state", function.power_state),
            ("slot_power_watts", function.slot_power_watts),
            ("presence_detect", function.presence),
            ("dll_active", function.dll_active if function.dll_reporting else None),
            ("retimer", function.retimer),
            ("aer_masked", ", ".join(function.correctable_mask) if function.correctable_mask else None),
            ("correctable_reporting", function.correctable_reporting),
            ("acs_enabled", ", ".join(function.acs_enabled) if function.acs_enabled else None),
        )),
    )


def _aer(function: LspciFunction) -> dict[str, dict[str, int]] | None:
    """The bits that are set, each as 1: lspci has no counts. None where the registers were not printed."""
    if function.gone or (function.correctable_status is None and function.uncorrectable_status is None):
        return None
    fatal = set(function.uncorrectable_severity or ())
    status = function.uncorrectable_status or ()
    return {
        "correctable": dict.fromkeys(function.correctable_status or (), 1),
        "nonfatal": {name: 1 for name in status if name not in fatal},
        "fatal": {name: 1 for name in status if name in fatal},
    }


def _readings(scene: Scene, cut_short: bool) -> dict[str, Any]:
    """The way from the root to each GPU, root first, how many functions and GPUs there are, and whether that is known
    to be all of them."""
    chains = {gpu.bdf: [*reversed(scene.above(gpu.bdf))] for gpu in scene.gpus if scene.above(gpu.bdf)}
    whole = scene.shows_whole_bus and not cut_short
    found: dict[str, Any] = {"functions": len(scene.functions), "runs": scene.dump.runs, "gpus": len(scene.gpus),
                             "whole": whole}
    return found | ({"gpu_chains": chains} if chains else {})


def _notes(scene: Scene, section: Section) -> Iterator[str]:
    dump = scene.dump
    denied = sum(function.denied for function in scene.functions.values())
    if denied:
        yield (f"capabilities of {counted(denied, 'function')} are hidden from this user, not absent: run "
               "`sudo lspci -vvv`")
    elif scene.functions and not any(function.detailed for function in scene.functions.values()):
        yield "this lspci shows no links, errors or capabilities: run `sudo lspci -vvv -nn`"
    if scene.nameless:
        yield ("registers without the line that names their device: no pair of ports can be judged; run "
               "`sudo lspci -vvv` whole")
    if any(function.correctable_status or function.uncorrectable_status for function in dump.functions):
        yield ("error bits say `at least once since power-on or the last clear`, never how often: "
               "/sys/bus/pci/devices/*/aer_dev_correctable counts")
    yield from silent_notes(scene)
    hidden = [gpu for gpu in scene.gpus if gpu.has_own_switch and scene.slot_link(gpu) is None
              and gpu.function.detailed and not gpu.function.gone]
    if hidden:
        yield (f"{counted(len(hidden), 'card')} with a switch of its own: the GPU shows the link on the card; the "
               "slot's is the one above 1002:1478, which this text does not show")
    if dump.tree_flattened:
        yield "the tree has lost its columns, so what hangs below what cannot be read from it"
    if dump.complaints:
        yield f"lspci complained: {listed(dump.complaints, 3)}"
    if dump.truncated or section.cut_short:
        yield "part of this text was not read: absence proves nothing"

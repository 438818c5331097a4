"""The facts as JSON values: PCI functions, links and GPUs in a shape of their own, all else as the probes give it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from boxcheck.model import Unread
from boxcheck.probes.gpus import Gpus
from boxcheck.probes.links import Link, LinkEnd, Links
from boxcheck.probes.pci import PciFunction, PciInventory
from boxcheck.probes.pci_names import PciNames
from boxcheck.probes.pcie_aer import Aer


def plain(value: Any) -> Any:
    """JSON values of any fact; Unread becomes {"type": "unread", "why", "kind"}. Keys that are no text are written as
    text, those of pairs as `0-1`."""
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, Unread):
        return {"type": "unread", "why": value.why, "kind": value.kind}
    if isinstance(value, msgspec.Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, Mapping):
        return {_key(key): plain(item) for key, item in value.items()}
    if isinstance(value, (frozenset, set)):
        return sorted(map(plain, value), key=str)
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    raise TypeError(f"{type(value).__name__} is no fact")


def _key(key: Any) -> str:
    return "-".join(map(str, key)) if isinstance(key, tuple) else str(key)


def facts_object(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Probe name -> JSON value."""
    found: dict[str, Any] = {}
    links, aer = facts.get("links"), facts.get("aer")
    known = facts.get("pci_names")
    names = known.names if isinstance(known, PciNames) and not isinstance(known.names, Unread) else {}
    for name, value in facts.items():
        if isinstance(value, PciInventory):
            found["pci"] = [
                {**_function(function, aer if isinstance(aer, Aer) else None,
                             links if isinstance(links, Links) else None), "name": names.get(function.pci_id)}
                for function in value.functions.values()
            ] if value.unreadable is None else plain(value.unreadable)
        elif isinstance(value, Links):
            found["links"] = [_link(link) for link in value.links.values()]
        elif isinstance(value, Gpus):
            found["gpus"] = [
                {
                    "index": gpu.index, "bdf": gpu.bdf, "pci_id": gpu.pci_id, "revision": gpu.revision,
                    "name": gpu.name, "part": gpu.part.key if gpu.part else None, "slot": gpu.slot,
                    "link": gpu.slot_link, "integrated": gpu.integrated, "driver": plain(gpu.driver), "gone": gpu.gone,
                }
                for gpu in value.gpus
            ] if value.unreadable is None else plain(value.unreadable)
        else:
            found[name] = plain(value)
    return found


def _function(function: PciFunction, aer: Aer | None, links: Links | None) -> dict[str, Any]:
    counters = aer.counters.get(function.bdf) if aer else None
    link = function.link
    target = None
    if not isinstance(function.config, Unread) and not isinstance(function.config.express, Unread):
        express = function.config.express
        target = express.link_ctl2.target_speed_gts if express and express.link_ctl2 else None
    chain = links.chain(function.bdf) if links else ()
    return {
        "bdf": function.bdf, "vendor": f"{function.vendor:04x}", "device": f"{function.device:04x}",
        "revision": None if function.revision is None else f"{function.revision:02x}",
        "class": f"{function.class_code:06x}", "driver": plain(function.driver),
        "slot": chain[-1].slot if chain else None, "numa_node": function.numa_node,
        "iommu_group": plain(function.iommu_group),
        "bars": plain(function.regions) if isinstance(function.regions, Unread) else [
            {"index": region.index, "bytes": region.size_bytes, "flags": region.flags, "start": region.start}
            for region in function.regions
        ],
        "link": plain(link) if link is None or isinstance(link, Unread) else {
            "speed_gts": link.speed_gts, "width": link.width, "max_speed_gts": link.max_speed_gts,
            "max_width": link.max_width, "target_speed_gts": target,
        },
        "aer": None if counters is None else {
            "correctable": plain(counters.correctable), "nonfatal": plain(counters.nonfatal),
            "fatal": plain(counters.fatal),
        },
        "parent": function.parent, "gone": function.gone, "power_state": function.power_state,
        "config": plain(function.config),
    }


def _end(end: LinkEnd | None) -> dict[str, Any] | None:
    return None if end is None else plain(end)


def _link(link: Link) -> dict[str, Any]:
    return {
        "downstream_port": link.downstream.bdf, "upstream_port": link.upstream.bdf if link.upstream else None,
        "slot": link.slot, "slot_number": link.slot_number, "slot_power_watts": link.slot_power_watts,
        "on_card": link.on_card, "presence_detect": plain(link.presence_detect), "dll_active": plain(link.dll_active),
        "downstream": _end(link.downstream), "upstream": _end(link.upstream), "under_load": plain(link.under_load),
    }

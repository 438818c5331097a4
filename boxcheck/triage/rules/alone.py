"""What no rule across events explains stands alone: an event of a device is its own explanation."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.triage.rules import rule
from boxcheck.triage.rules.words import indices, wake_of
from boxcheck.triage.scene import Diagnosis, Scene, Sighting, gravest, helps

NVLINK = "the NVLink: its bridge, switch or module"


@rule("alone")
def alone(scene: Scene) -> Iterator[Diagnosis]:
    """An event that no other one explains, read by itself.

    Why: nothing in the evidence goes with it.
    Not: certain: one line tells what happened, and seldom why.
    Source: the event's own page, docs/reference/events.md.
    """
    for xid in [one for one in scene.free if one.kind == "xid" and one.event.severity == "fail"]:
        wake = wake_of(scene, [xid])
        if wake and xid in scene.free:
            yield _told(scene, [xid, *wake])
    groups: dict[tuple[str, str | None], list[Sighting]] = {}
    for sighting in scene.free:
        if sighting.bad:
            card = sighting.bdf.rsplit(".", 1)[0] if sighting.bdf is not None else None
            groups.setdefault((sighting.kind, card), []).append(sighting)
    for group in groups.values():
        yield _told(scene, [sighting for sighting in group if sighting in scene.free])


def _told(scene: Scene, group: list[Sighting]) -> Diagnosis:
    lead = min(group, key=lambda sighting: (sighting.event.severity != "fail", sighting.index))
    bdf = lead.bdf
    name = scene.machine.short(bdf) if bdf is not None else ""
    title = f"{name}: {lead.event.says}" if name else lead.event.says
    return Diagnosis(
        rule="", key=f"{lead.kind}:{bdf or ''}", title=title,
        where=scene.machine.where(bdf) if bdf is not None else (lead.event.labels[0] if lead.labels else ""),
        cause=lead.event.cause, sure="likely" if lead.event.cause is not None else "possible",
        because=tuple(dict.fromkeys(sighting.event.says for sighting in group[1:5])),
        events=indices(group), severity=gravest(group), help=helps(group)[:6],
        part=NVLINK if lead.kind in ("sxid", "nvlink-down", "nvlink-errors") or lead.event.blame == "nvlink" else "",
    )

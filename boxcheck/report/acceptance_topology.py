"""The ways to the GPUs as doctor read them before the load, for the drawing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from boxcheck.account import bus_of
from boxcheck.model import Bdf, Finding, Outcome, Unread, worst
from boxcheck.probes.gpus import Gpu, Gpus
from boxcheck.probes.links import Link, Links
from boxcheck.probes.pci import PciInventory
from boxcheck.report.acceptance_told import Told
from boxcheck.report.acceptance_words import WORDS
from boxcheck.report.document import Figure
from boxcheck.report.drawing_topology import Part, topology

LINK_CHECKS = ("pcie.", "aer.", "stress.link", "burn.", "p2p.", "copy.")


def link_words(width: object, speed: object) -> str:
    """`x16 16 GT/s`; `?` for what was not read."""
    lanes = f"x{width}" if isinstance(width, int) else "x?"
    return f"{lanes} {f'{speed:g}' if isinstance(speed, (int, float)) else '?'} GT/s"


def seen_link(told: Told, link: Link) -> tuple[int | None, float | None]:
    """Lanes and speed of a link under load: the best that the instruments saw, lanes the least; else by doctor."""
    ends = [link.downstream.bdf, *([link.upstream.bdf] if link.upstream else [])]
    speeds = [one.watching.link_speeds_gts[end].best for one in told.done for end in ends
              if end in one.watching.link_speeds_gts]
    widths = [one.watching.link_widths[end].least for one in told.done for end in ends
              if end in one.watching.link_widths]
    load = link.under_load
    width = min(map(int, widths), default=None)
    speed = max(speeds, default=None)
    if width is None:
        width = load.width if not isinstance(load, Unread) else link.width if isinstance(link.width, int) else None
    if speed is None:
        speed = load.speed_gts if not isinstance(load, Unread) else (
            link.speed_gts if isinstance(link.speed_gts, float) else None)
    return width, speed


def drawn_topology(told: Told) -> Figure | None:
    """None where the machine was not read, or has no GPU on a bus."""
    links, gpus, pci = told.facts.of(Links), told.facts.of(Gpus), told.facts.of(PciInventory)
    if isinstance(links, Unread) or isinstance(gpus, Unread) or isinstance(pci, Unread) or not gpus.gpus:
        return None
    keys = {info.bdf: info.key for info in told.gpus if info.bdf}
    ordered = sorted(gpus.gpus, key=lambda one: ([*_root(one, pci)], one.bdf))
    ways = [_way(one, told, links, pci, keys) for one in ordered]
    says = "; ".join(" > ".join(" ".join(filter(None, (part.name, part.under, part.word))) for part in way)
                     for way in ways)
    return topology(ways, caption="The ways to the GPUs, as doctor read them before the load; links as seen under load",
                    says=says)


def _root(gpu: Gpu, pci: PciInventory) -> Sequence[str]:
    return [one.bdf for one in reversed(list(pci.ancestors(gpu.bdf)))]


def _outcome(told: Told, slot: str | None, ids: Sequence[str]) -> Outcome | None:
    """The gravest that was found on a link."""
    def is_here(one: Finding) -> bool:
        subject = one.subject
        here = (slot is not None and subject.slot == slot) or (
            subject.bdf in ids and (subject.slot is None or slot is None))
        return here and one.check.startswith(LINK_CHECKS) and one.outcome is not Outcome.SKIP

    bad = [one.outcome for one in told.findings if is_here(one) and one.outcome in (Outcome.FAIL, Outcome.MARGINAL)]
    return worst(bad)


def _way(
    gpu: Gpu, told: Told, links: Links, pci: PciInventory, keys: Mapping[Bdf, str]
) -> list[Part]:
    chain = links.chain(gpu.bdf)
    top = next((one for one in reversed(list(pci.ancestors(gpu.bdf)))), None)
    bus = top.bus if top is not None else gpu.function.bus
    numa = gpu.function.numa_node
    found = [Part(kind="root", id=f"root {bus}", name=f"bus {bus_of(Bdf(f'{bus}:'))}".rstrip(":"),
                  under="" if numa is None else f"NUMA node {numa}")]
    if top is not None:
        found.append(Part(kind="port", id=top.bdf, name=bus_of(top.bdf), under="root port"))
    slot_link = links.links.get(gpu.slot_link) if gpu.slot_link else None
    for link in chain:
        switch = _switch(link, pci)
        if link is slot_link:
            found += _slot(link, gpu, told)
            if switch is not None and link.upstream is not None:
                on_card = any(one.on_card for one in chain)
                found.append(Part(kind="switch", id=f"switch {switch}", name="on the card" if on_card else "switch",
                                  under=bus_of(switch)))
        elif switch is not None and not link.on_card:
            width, speed = seen_link(told, link)
            found.append(Part(kind="switch", id=f"switch {switch}", name="switch", under=link_words(width, speed)))
    number = keys.get(gpu.bdf)
    name = gpu.part.name if gpu.part else gpu.name
    under = f"{bus_of(gpu.bdf)}  {name}"
    if gpu.gone:
        under = f"{bus_of(gpu.bdf)}  answers no more"
    mine = [one.outcome for one in told.findings if one.subject.kind == "gpu" and (
        one.subject.bdf == gpu.bdf or (gpu.slot is not None and one.subject.slot == gpu.slot))
        and one.outcome in (Outcome.FAIL, Outcome.MARGINAL)]
    gravest = worst(mine)
    found.append(Part(kind="gpu", id=f"gpu {gpu.bdf}", name=number or f"GPU {gpu.index}", under=under, outcome=gravest,
                      word=WORDS[gravest] if gravest else ""))
    return found


def _switch(link: Link, pci: PciInventory) -> Bdf | None:
    """The upstream port of a switch that hangs below a link; None where an endpoint does."""
    below = link.upstream.bdf if link.upstream else None
    function = pci.functions.get(below) if below is not None else None
    return below if function is not None and function.is_bridge else None


def _slot(link: Link, gpu: Gpu, told: Told) -> list[Part]:
    width, speed = seen_link(told, link)
    ends = [link.downstream.bdf, *([link.upstream.bdf] if link.upstream else [])]
    outcome = _outcome(told, link.slot, ends)
    name = link.slot or "slot unnamed"
    found = [Part(kind="slot", id=f"slot {link.id}", name=name, under=link_words(width, speed), outcome=outcome,
                  word=WORDS[outcome] if outcome else "")]
    riser = told.risers.get(link.slot or "")
    if told.risers:
        found.append(Part(kind="riser", id=f"riser {link.id}", name=riser or "-",
                          under="label" if riser else "no label", dashed=True))
    return found

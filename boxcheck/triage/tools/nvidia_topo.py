"""`nvidia-smi topo -m` (how GPUs reach each other) and `topo -p2p` (whether the driver lets them copy directly).

A topology is no fault: NODE and SYS say where the slots hang. A refused peer-to-peer is the driver's decision: by its
list of cards (GNS), of chipsets (CNS), or by the topology (TNS).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from boxcheck.decode.klog.events import Event
from boxcheck.decode.nvidia_topo import LEGEND, STATUS, Matrix, head, matrix, row, tail
from boxcheck.decode.text import clean_text
from boxcheck.triage.evidence import Device, Evidence, Section, at_line
from boxcheck.triage.tools.listing import listing
from boxcheck.triage.tools.steps import NVLINK_ERRORS

TOPOLOGY, PEERS = "nvidia-smi topo -m", "nvidia-smi topo -p2p"

FAR = {"SYS": "between processors (SYS)", "SOC": "between processors (SOC)",
       "NODE": "between host bridges of one NUMA node (NODE)", "PHB": "through the processor's host bridge (PHB)",
       "PXB": "through several switches (PXB)", "PIX": "through one switch (PIX)"}
UNIFORM_LINKS = 12
"""From A100 modules (NV12) on, all pairs have as many links; the meshes before had one or two by design."""
REASONS = {
    "GNS": "the GPU does not support it by NVIDIA's list: the stock driver allows none on GeForce cards",
    "CNS": "the chipset is not on the driver's list, or the card is a GeForce, for which the stock driver allows none",
    "TNS": "the driver does not allow it over this topology",
    "NS": "not supported (of -p2p n: no NVLink between them)",
    "DR": "switched off by a registry key of the driver", "U": "the driver cannot tell"}


def begins(line: str) -> str | None:
    """The variant, when this line is the head of a matrix."""
    found = head(line)
    return None if found is None else TOPOLOGY if found[1] else PEERS


def belongs(variant: str, line: str) -> bool:
    """Whether the line is a row of the matrix or of its legend."""
    if head(line) is not None:
        return False
    return row(line) is not None or tail(line) is not None or line.strip() in ("Legend:", "NIC Legend:") or (
        LEGEND.match(line[:200]) is not None)


def read(section: Section) -> Evidence:
    """The matrix, what it means for copies between GPUs, and the GPUs with their NUMA nodes. Never raises."""
    found = matrix(section.lines)
    if found is None or (section.variant == PEERS and not found.pairs()):
        return Evidence(tool=section.variant)
    # Where a mailer broke the head, its columns of affinities are on another line; the cells tell.
    ways = section.variant == TOPOLOGY or any(cell not in STATUS for _, _, cell in found.pairs())
    line = at_line(section, found.offset)
    text = clean_text(section.lines[found.offset].strip())
    events = tuple(_far(found, line, text) if ways else _peers(found, line, text))
    name = "topology" if ways else "peer_to_peer"
    return Evidence(
        tool=TOPOLOGY if ways else PEERS,
        devices=tuple(
            Device(line=line, index=int(gpu[3:]), vendor=0x10DE, numa_node=found.numa_affinity[gpu])
            for gpu in found.gpus if gpu in found.numa_affinity),
        events=events, notes=tuple(_notes(section, found)),
        readings=listing(found.gpus, whole=not found.short and not section.cut_short) | {
            name: {"devices": list(found.columns),
                   "rows": {key: list(cells) for key, cells in found.cells.items()}}})


def _far(found: Matrix, line: int, text: str) -> Iterator[Event]:
    pairs = Counter(cell for _, _, cell in found.pairs())
    if not pairs:
        return
    parts = ", ".join(f"{(times + 1) // 2} {FAR.get(cell, 'over NVLink (' + cell + ')')}" for cell, times in
                      sorted(pairs.items(), key=lambda item: -item[1])[:8])
    apart = "SYS" in pairs or "SOC" in pairs
    yield Event(
        kind="topology", severity="info", cause=None, labels=tuple(sorted(pairs))[:16], line=line, text=text,
        says=f"pairs of GPUs: {parts}",
        help=("copies between processors cross their interconnect: keep rings within one processor where it matters",)
        if apart else ())
    links = {cell: times for cell, times in pairs.items() if cell.startswith("NV")}
    most = max((int(cell[2:]) for cell in links), default=0)
    if len(links) == len(pairs) > 1 and most >= UNIFORM_LINKS:
        fewer = [f"{a}-{b} {cell}" for a, b, cell in found.pairs() if int(cell[2:]) < most]
        yield Event(
            kind="nvlink-down", severity="warn", cause="signal", labels=tuple(sorted(links)), line=line, text=text,
            says=f"some pairs have fewer NVLinks than NV{most}: {_first(fewer)}",
            help=("nvidia-smi nvlink -s  names the links that are down", NVLINK_ERRORS))
    if found.gpus and len(set(found.numa_affinity.values())) > 1:
        nodes = sorted(set(found.numa_affinity.values()))
        members = {node: [gpu for gpu in found.gpus if found.numa_affinity.get(gpu) == node] for node in nodes[:16]}
        parts = "; ".join(f"node {node}: {', '.join(gpus)}" for node, gpus in members.items())
        yield Event(kind="numa", severity="info", cause=None, line=line, text=text, says=f"the GPUs hang on {parts}",
                    help=("pin each process to its GPU's node: numactl --cpunodebind",))


def _peers(found: Matrix, line: int, text: str) -> Iterator[Event]:
    pairs = found.pairs()
    for status, reason in REASONS.items():
        refused = [(a, b) for a, b, cell in pairs if cell == status]
        if not refused:
            continue
        all_ = len(refused) == len(pairs)
        some = "" if all_ else f" ({_first([f'{a}-{b}' for a, b in refused])})"
        mixed = status in ("GNS", "CNS", "TNS") and any(cell == "OK" for _, _, cell in pairs)
        yield Event(
            kind="p2p-unavailable", severity="warn" if mixed else "info",
            cause="config" if status == "DR" else "driver",
            labels=(status,), count=len(refused), line=line, text=text,
            says=f"no direct copies between {'all' if all_ else len(refused)} pairs of GPUs{some}: {reason}",
            help=("copies go through the host's memory all the same; for direct ones a patched open kernel module is "
                  "needed, with Resizable BAR and the IOMMU off or in passthrough",
                  "boxcheck doctor --goal cuda-p2p  checks what it needs") if not mixed else (
                "some pairs may and some may not: compare their slots (nvidia-smi topo -m) and VBIOS",))


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")


def _notes(section: Section, found: Matrix) -> Iterator[str]:
    if found.short or section.cut_short:
        yield "rows or columns are missing: the text was cut"
    if section.variant == PEERS and any(cell == "OK" for _, _, cell in found.pairs()):
        yield "OK means that the driver allows it, not that data arrives: only a verified copy shows that"

"""amd-smi: `list`, `static`, `metric`, `topology`, its table, and what it says when it finds no GPU."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from boxcheck.decode.amd_smi import VERSION, box_gpus, gpu_head, is_row, json_access, json_gpus, states, tables
from boxcheck.decode.amd_smi_gpu import AmdGpu
from boxcheck.decode.klog.events import Event
from boxcheck.decode.klog.words import normal_bdf
from boxcheck.decode.text import clean_text
from boxcheck.triage.evidence import Evidence, Section, at_line
from boxcheck.triage.tools.amd_smi_judge import device, events, mixed, parts
from boxcheck.triage.tools.listing import ends_alike, in_order, listing
from boxcheck.triage.tools.samples import told_once, typical
from boxcheck.triage.tools.steps import AMDGPU_BUILT_IN, LOAD_AMDGPU, ROCM_GOAL

TEXT, TOPOLOGY, TABLE, REFUSAL = "amd-smi", "amd-smi topology", "amd-smi (table)", "amd-smi message"
MOST_EVENTS = 1000
_TABLES = re.compile(r"(?:ACCESS|WEIGHT|HOPS|LINK TYPE|NUMA BW) TABLE:$")
_BOX = re.compile(r"\| ?AMD-SMI [\d.]{3,12}")
_REFUSALS = (
    ("Unable to get devices, driver not initialized", "driver-missing", "amd-smi finds no amdgpu module"),
    ("Unable to detect any GPU devices", "gpu-missing", "amd-smi finds no GPU"),
)
_LEGEND = re.compile(r"(?:SELF|ENABLED / DISABLED|N/A|T/F|C/NC|64,32|<\w{1,8}|XGMI|PCIE|UNKNOWN) *[=/] *\S.{0,80}$"
                     r"|Legend:$")
_BORDER = frozenset("+-=| ")


def begins(line: str) -> str | None:
    """The variant, when this line begins an output of amd-smi."""
    text = line[:400].strip()
    if gpu_head(text) is not None:
        return TEXT
    if _TABLES.match(text):
        return TOPOLOGY
    if _BOX.match(text):
        return TABLE
    return REFUSAL if any(words in text[:120] for words, *_ in _REFUSALS) else None


def belongs(variant: str, line: str) -> bool:
    """Whether the line goes on with it."""
    text = line[:4200].strip()
    if variant == REFUSAL:
        return text.startswith(("ERROR:root:", "AMDSMI Tool", "Unable to"))
    if variant == TABLE:
        return not _BOX.match(text) and (text.startswith(("|", "+-", "+=")) or _BORDER.issuperset(text))
    if variant == TOPOLOGY:
        return gpu_head(text) is None and (is_row(text) or _LEGEND.match(text) is not None)
    return _TABLES.match(text) is None and is_row(text)


def read(section: Section) -> Evidence:
    """The GPUs and what is wrong with them. Never raises."""
    if section.variant == REFUSAL:
        return Evidence(tool="amd-smi", events=tuple(_refused(section)))
    if section.variant == TOPOLOGY:
        found = tables(section.lines)
        line, text = at_line(section, 0), clean_text(section.lines[0].strip())
        return Evidence(tool=TOPOLOGY, events=tuple(_topology(found, line, text)),
                        readings={"topology": {name: {row: dict(cells) for row, cells in rows.items()}
                                               for name, rows in found.items()}} if found else {})
    shown = [[gpu] for gpu in box_gpus(section.lines)] if section.variant == TABLE else states(section.lines)
    listed = [replace(typical(one), offset=one[0].offset) for one in shown]
    judged: list[Event] = []
    for one in shown:
        if len(judged) >= MOST_EVENTS:
            break
        judged += told_once(
            event for gpu in one
            for event in events(gpu, at_line(section, gpu.offset), clean_text(section.lines[gpu.offset].strip())))
    if listed:
        judged += mixed(listed, at_line(section, listed[0].offset), "")
    version = next((said for line in section.lines[:3] if (said := VERSION.search(line[:200])) is not None), None)
    box = {"rocm": version[3]} if version is not None else {}
    return Evidence(
        tool=f"amd-smi {version[1]}" if version is not None else "amd-smi",
        devices=tuple(device(gpu, at_line(section, gpu.offset)) for gpu in listed), events=tuple(judged),
        notes=tuple(_notes(listed)), box=box, readings=listing(listed, whole=_whole(section, listed)))


def _whole(section: Section, listed: Sequence[AmdGpu]) -> bool:
    """Whether all GPUs that amd-smi has are in the text; `-g` chooses one of them."""
    if section.cut_short or not in_order([gpu.index for gpu in listed]):
        return False
    if section.variant == TABLE:
        return bool(listed) and _BOX.match(section.lines[0].strip()) is not None and any(
            line.lstrip().startswith("+") for line in section.lines[listed[-1].offset + 1:])
    return ends_alike(section.lines, [gpu.offset for gpu in listed])


def read_json(value: Any) -> Evidence | None:
    """`amd-smi ... --json`, None for other JSON."""
    found = json_gpus(value)
    if not found:
        return None
    access = json_access(value)
    return Evidence(
        tool="amd-smi --json", devices=tuple(device(gpu, 1) for gpu in found),
        events=tuple([event for gpu in found for event in events(gpu, 1, f"GPU: {gpu.index}")] + list(
            mixed(found, 1, "")) + list(_topology({"access": access}, 1, ""))),
        notes=() if access else tuple(_notes(found)),
        readings=listing(found, whole=len(found) > 1 and in_order([gpu.index for gpu in found])) | (
            {"topology": {"access": {row: dict(cells) for row, cells in access.items()}}} if access else {}))


def _refused(section: Section) -> Iterator[Event]:
    for offset, line in enumerate(section.lines):
        for words, kind, says in _REFUSALS:
            if words in line[:200]:
                yield Event(
                    kind=kind, severity="fail", cause="driver", line=at_line(section, offset), says=says,
                    text=clean_text(line.strip()),
                    help=(LOAD_AMDGPU, AMDGPU_BUILT_IN))
                return


def _topology(found: Mapping[str, Mapping[str, Mapping[str, str]]], line: int, text: str) -> Iterator[Event]:
    closed = [(a, b) for a, row in found.get("access", {}).items() for b, cell in row.items()
              if a != b and cell == "DISABLED"]
    if closed:
        yield Event(
            kind="p2p-unavailable", severity="info", cause="config", labels=("access",), count=len(closed), line=line,
            bdf=normal_bdf(closed[0][0]) if len(closed) <= 2 else None, text=text,
            says="the driver allows no direct access between "
                 + clean_text(", ".join(f"{a} and {b}" for a, b in closed[:3])) + (", ..." if len(closed) > 3 else ""),
            help=("needs Resizable BAR on each card, and the IOMMU off or in passthrough (iommu=pt)", ROCM_GOAL))
    kinds = {cell for row in found.get("link type", {}).values() for cell in row.values()} - {"SELF"}
    if kinds:
        yield Event(kind="topology", severity="info", cause=None, labels=tuple(sorted(kinds))[:8], line=line, text=text,
                    says=f"{len(found['link type'])} GPUs reach each other over {' and '.join(sorted(kinds)[:4])}")


def _notes(found: Sequence[AmdGpu]) -> Iterator[str]:
    if not found:
        return
    links = [gpu for gpu in found if gpu.width is not None]
    if not links and not all(gpu.on_board for gpu in found):
        yield "it does not show the PCIe link as it is now: amd-smi metric --pcie does"
    elif any(not gpu.at_work for gpu in links):
        yield "the link was not read under load: amdgpu lowers its speed at rest"
    if links and all(gpu.replays is None and gpu.naks_sent is None for gpu in links):
        yield "no replays are counted (N/A), so damaged packets would not be seen here; lspci and the log tell AER"
    bare = [gpu for gpu in links if gpu.width_max is None and not parts(gpu) and not gpu.on_board]
    if bare:
        told = ", ".join(dict.fromkeys(f"x{gpu.width}" for gpu in bare))
        yield (f"whether the links ({told}) have all lanes of their cards: it names no card here, amd-smi static --bus "
               "--asic does")
    if any(gpu.bdf is None for gpu in found):
        yield "it names no PCI addresses: amd-smi list does"

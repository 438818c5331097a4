"""rocm-smi: the concise table, `--showhw`, `--showallinfo`, `--showtopo` and its other lists, as text and JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from boxcheck.decode.amd_smi_gpu import AmdGpu
from boxcheck.decode.klog.events import Event
from boxcheck.decode.rocm_smi import banner, gpu_line, gpus, is_table_row, json_gpus, peers
from boxcheck.decode.text import clean_text
from boxcheck.triage.evidence import Evidence, Section, at_line
from boxcheck.triage.tools.amd_smi_judge import device, events, mixed
from boxcheck.triage.tools.listing import in_order, listing
from boxcheck.triage.tools.steps import AMD_LOG, AMDGPU_BUILT_IN, LOAD_AMDGPU, ROCM_GOAL

TEXT = "rocm-smi"
MOST_EVENTS = 1000
_START = re.compile(r"=+ ?ROCm System Management Interface ?=+$")
_TITLES = ("Concise Info", "between two GPUs")
"""Of lists without the tool's name, which is lost where a text is cut."""
_HEADERS = re.compile(r"(?:GPU|Device) +(?:Temp|Node|DID|\[Model|NODE)|\((?:DID|Edge|Junction|Mem),|\[Model|Name \(20"
                      r"|\(\w{1,12}\) +\(\w{1,12}\) +\(Mem")
_NOT_LOADED = "Driver not initialized (amdgpu not found in modules)"
_ASLEEP = "in a low-power state"
_ASIDE = ("ERROR: ", "ERROR:root:", "WARNING: AMD GPU", "WARNING: ", "No KFD PIDs", "PID ", "KFD process", "Legend",
          "cat: /sys/module/amdgpu", "Unable to ", "Not supported on the given", "No JSON data")


def begins(line: str) -> str | None:
    """The variant, when this line begins an output of rocm-smi."""
    text = line[:400].strip()
    if _START.match(text) or _failed(text):
        return TEXT
    title = banner(text)
    if title is not None and any(words in title for words in _TITLES):
        return TEXT
    return TEXT if gpu_line(text) is not None and text.startswith("GPU[") else None


def _failed(text: str) -> bool:
    """Its refusal; amd-smi's begins with other words."""
    return text.startswith("ERROR:root:Driver not initialized") and _NOT_LOADED in text


def belongs(variant: str, line: str) -> bool:
    """Whether the line is of a table, a list or a banner of rocm-smi."""
    text = line[:4200].strip()
    if _START.match(text):
        return False
    return (text.startswith(("==", *_ASIDE)) or gpu_line(text) is not None or is_table_row(text)
            or _HEADERS.match(text) is not None or _of_matrix(text)
            or re.match(r"(?:AMD |Radeon |Instinct )[\w .\[\]/()-]{2,60}$", text) is not None)


def _of_matrix(text: str) -> bool:
    """`GPU0 GPU1`, or a GPU and its short cells."""
    words = text.split()
    return bool(words) and len(words) <= 129 and re.fullmatch(r"GPU\d{1,3}", words[0]) is not None and all(
        len(word) <= 6 for word in words)


def read(section: Section) -> Evidence:
    """The GPUs and what is wrong with them. Never raises."""
    found = gpus(section.lines)
    judged = _events(section, found)
    matrices = peers(section.lines)
    return Evidence(
        tool=TEXT, devices=tuple(device(gpu, at_line(section, gpu.offset)) for gpu in found), events=judged,
        notes=tuple(_notes(found, bool(matrices), section.cut_short)),
        readings=listing(found, whole=_whole(section, found)) | (
            {"topology": {title: dict(rows) for title, rows in matrices.items()}} if matrices else {}))


def _whole(section: Section, found: Sequence[AmdGpu]) -> bool:
    """Whether all GPUs that rocm-smi has are in the text; `-d` chooses one of them."""
    text = [line[:200].strip() for line in section.lines]
    return (not section.cut_short and len(found) > 1 and in_order([gpu.index for gpu in found])
            and any(map(_START.match, text[:4])) and any("End of ROCm SMI Log" in line for line in text))


def read_json(value: Any) -> Evidence | None:
    """`rocm-smi ... --json`, None for other JSON."""
    found = json_gpus(value)
    if not found:
        return None
    return Evidence(
        tool=f"{TEXT} --json", devices=tuple(device(gpu, 1) for gpu in found),
        events=tuple([event for gpu in found for event in events(gpu, 1, f"GPU[{gpu.index}]")] + list(
            mixed(found, 1, ""))), notes=tuple(_notes(found, False, False)),
        readings=listing(found, whole=len(found) > 1 and in_order([gpu.index for gpu in found])))


def _events(section: Section, found: Sequence[AmdGpu]) -> tuple[Event, ...]:
    judged: list[Event] = []
    for offset, line in enumerate(section.lines):
        text = line.strip()[:400]
        if _failed(text) and not judged:
            judged.append(Event(
                kind="driver-missing", severity="fail", cause="driver", line=at_line(section, offset),
                text=clean_text(text), says="rocm-smi finds no amdgpu module",
                help=(LOAD_AMDGPU, AMDGPU_BUILT_IN)))
        elif _ASLEEP in text:
            judged.append(Event(
                kind="gpu-asleep", severity="benign", cause="benign", line=at_line(section, offset),
                text=clean_text(text), says="a GPU sleeps (runtime power management), so its readings are old or zero"))
    for gpu in found:
        if len(judged) >= MOST_EVENTS:
            break
        judged += events(gpu, at_line(section, gpu.offset), clean_text(section.lines[gpu.offset].strip()))
    if found:
        judged += mixed(found, at_line(section, found[0].offset), clean_text(section.lines[found[0].offset].strip()))
    judged += _silent(section, found)
    judged += _topology(section)
    return tuple(judged)


def _silent(section: Section, found: Sequence[AmdGpu]) -> Iterator[Event]:
    """GPUs of the concise table whose sensors gave nothing, while those of another did."""
    if not any("Concise Info" in line for line in section.lines):
        return
    silent = [gpu for gpu in found if gpu.edge_celsius is None and gpu.power_watts is None]
    if not silent or len(silent) == len(found):
        return
    asleep = any(_ASLEEP in line for line in section.lines)
    for gpu in silent[:MOST_EVENTS]:
        yield Event(
            kind="gpu-unreadable", severity="info" if asleep else "warn", cause=None, bdf=gpu.bdf,
            labels=(f"GPU {gpu.index}",), line=at_line(section, gpu.offset),
            text=clean_text(section.lines[gpu.offset].strip()),
            says="it shows neither temperature nor power, and another GPU does: it "
            + ("sleeps" if asleep else "sleeps, or no longer answers"),
            help=("put load on it and read it again", AMD_LOG))


def _topology(section: Section) -> Iterator[Event]:
    for title, rows in peers(section.lines).items():
        cells = {cell for row in rows.values() for cell in row} - {"0", "SELF"}
        line, text = at_line(section, 0), clean_text(section.lines[0].strip())
        if title.startswith("link type") and cells:
            kinds = " and ".join(sorted(cells)[:4])
            yield Event(kind="topology", severity="info", cause=None, labels=tuple(sorted(cells))[:8], line=line,
                        says=f"{len(rows)} GPUs reach each other over {kinds}", text=text)
        if title.startswith("hops") and any(
                cell.isdecimal() and len(cell) < 6 and int(cell) > 2 for cell in cells):
            most = max(int(cell) for cell in cells if cell.isdecimal() and len(cell) < 6)
            yield Event(kind="topology", severity="info", cause=None, labels=("hops",), line=line,
                        says=f"up to {most} hops between two GPUs: they hang on different host bridges or processors",
                        text=text, help=("direct copies then cross the processor",
                                         ROCM_GOAL))


def _notes(found: Sequence[AmdGpu], matrices: bool, cut_short: bool) -> Iterator[str]:
    if cut_short:
        yield "the output was too long to be read whole"
    if found and all(gpu.width is None for gpu in found) and not matrices:
        yield "it does not show the PCIe link: rocm-smi --showclocks or amd-smi metric --pcie do"
    elif any(gpu.width is not None and not gpu.at_work for gpu in found):
        yield "the link was not read under load: amdgpu lowers its speed at rest"
    if found and all(gpu.bdf is None for gpu in found):
        yield "it names no PCI addresses: rocm-smi --showbus does"

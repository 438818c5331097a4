"""nvidia-smi: the long text (`-q`), its XML, the table, `-L`, `nvlink -s`, `--query-gpu` as CSV, and what it says when
it cannot answer. The matrices (`topo`) are nvidia_topo's.

An idle GPU at Gen1 is no fault: the judgements on speed ask whether the GPU was at work.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from boxcheck.decode.klog.events import Event
from boxcheck.decode.nvidia_smi_flat import gpu_line, is_new_head, is_row, is_tail, rows_of
from boxcheck.decode.nvidia_smi_forms import csv_fields, csv_states, is_xml, listed_gpu, table_gpus, versions, xml_gpus
from boxcheck.decode.nvidia_smi_gpu import SmiGpu, gpu_of
from boxcheck.decode.nvidia_smi_messages import is_tail as is_rest
from boxcheck.decode.nvidia_smi_messages import message
from boxcheck.decode.pci_link import SPEED_GTS
from boxcheck.decode.text import clean_text
from boxcheck.triage.evidence import Device, DeviceBar, DeviceLink, Evidence, Section, at_line, fields_of
from boxcheck.triage.tools import TOOLS, gpu_burn, nvidia_smi_messages, nvidia_smi_nvlink
from boxcheck.triage.tools.listing import in_order, listing
from boxcheck.triage.tools.matrix_cards import CLASS
from boxcheck.triage.tools.nvidia_smi_judge import Judged, judge, judge_mixed, part
from boxcheck.triage.tools.nvidia_smi_whole import attached, ends_within_a_gpu, missing, table_ends
from boxcheck.triage.tools.samples import told_once, typical

QUERY, XML, TABLE, LIST, CSV, MESSAGE = (
    "nvidia-smi -q", "nvidia-smi -q -x", "nvidia-smi", "nvidia-smi -L", "nvidia-smi --query-gpu", "nvidia-smi message")

MOST_EVENTS = 2000
_TITLE = re.compile(r"=+ ?NVSMI LOG ?=+$")
_TABLE = re.compile(r"\|? ?NVIDIA-SMI +[\d.]{3,24}[ |]")
_TABLE_ROW = re.compile(r"\|\s{0,4}\d{1,3}\s+\S.{0,60}\|\s{0,6}[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-7]"
                        r"\s{1,8}(?:On|Off|N/A|ERR!)\s{0,4}\|")
_EXCERPTS = re.compile(r"(?:GPU Link Info|PCIe Generation|Link Width"
                       r"|(?:Replays Since Reset|Replay Number Rollovers) +: \S+"
                       r"|Product Name +: (?:NVIDIA|GeForce|Tesla|Quadro|TITAN) .{1,60})$")
"""Lines from the midst of the long text that are unmistakable: people paste what grep found."""
_DCGM = ("| Health Monitor Report", "| Diagnostic ")
"""Tables of dcgmi that may stand right below."""
_BORDER = frozenset("+-=| ")
_OTHERS = tuple(word for tool in TOOLS if tool.module != "nvidia_smi" for word in tool.anchors)
"""Words on lines that may begin another tool's output."""


def begins(line: str) -> str | None:
    """The variant, when this line begins an output of nvidia-smi."""
    text = line[:2000].strip()
    if message(text) is not None:
        return MESSAGE
    if _TABLE.match(text) or _TABLE_ROW.match(text):
        return TABLE
    if _TITLE.match(text) or gpu_line(line) is not None or _EXCERPTS.match(text):
        return QUERY
    if text.startswith(("<nvidia_smi_log", "<!DOCTYPE nvidia_smi_log")):
        return XML
    if listed_gpu(line) is not None:
        return LIST
    fields = csv_fields(line[:20_000])
    return f"{CSV}, {len(fields)} fields" if fields else None


def belongs(variant: str, line: str) -> bool:
    """Whether the line goes on with that output; its messages may follow any of them."""
    text = line[:2000].strip()
    if message(text) is not None:
        return True
    if variant == MESSAGE:
        return is_rest(text)
    if variant == QUERY:
        return _TITLE.match(text) is None and (is_row(line) or is_tail(text) or (
            is_new_head(line) and not any(word in line for word in _OTHERS)))
    if variant == TABLE:
        return _TABLE.match(text) is None and not text.startswith(_DCGM) and (
            text.startswith(("|", "+-", "+=")) or text.endswith(("|", "-+")) or _BORDER.issuperset(text))
    if variant == XML:
        return not text.startswith(("<?xml", "<!DOCTYPE")) and is_xml(text)
    if variant == LIST:
        # gpu_burn prints the list first: what follows is its own.
        return listed_gpu(line) is not None or nvidia_smi_nvlink.belongs(text) or gpu_burn.belongs("gpu_burn", line)
    return _is_csv_row(variant, line[:20_000])


def _is_csv_row(variant: str, line: str) -> bool:
    wanted = variant.removeprefix(f"{CSV}, ").partition(" ")[0]
    if not wanted.isdecimal() or line.count(",") + 1 != int(wanted):
        return False
    return not csv_fields(line) and re.match(r"\[ *\d+\.\d+\]|<\d+>|\w{3} [ \d]\d \d\d:\d\d:", line) is None


def read(section: Section) -> Evidence:
    """The GPUs of a section and what is wrong with them. Never raises."""
    lines = _joined(section.lines) if section.variant == TABLE else section.lines
    shown, box, cut = _gpus(section.variant, lines)
    gpus = [msgspec.structs.replace(typical(states), offset=states[0].offset) for states in shown]
    told = attached(lines) if section.variant in (QUERY, XML) else None
    events: list[Event] = []
    for offset, found in ((at, said) for at, line in enumerate(lines) if (said := message(line)) is not None):
        event = nvidia_smi_messages.event(found, at_line(section, offset), clean_text(lines[offset].strip()))
        if event is not None:
            events.append(event)
        if len(events) >= MOST_EVENTS:
            break
    if section.variant == LIST and gpu_burn.runs(lines):
        burnt = gpu_burn.read(section)
        return msgspec.structs.replace(burnt, events=(*events, *burnt.events))
    unanswered = len({event.bdf or event.line for event in events if event.kind == "gpu-lost"})
    if section.variant == LIST:
        events += nvidia_smi_nvlink.events(section)
    for event in _judged(section, lines, shown):
        if len(events) >= MOST_EVENTS:
            break
        events.append(event)
    if (fewer := missing(section, told, len(gpus), unanswered, cut)) is not None:
        events.append(fewer)
    driver = f", driver {box['driver']}" if "driver" in box else ""
    return Evidence(
        tool=section.variant.partition(",")[0] + driver,
        devices=tuple(device(gpu, at_line(section, gpu.offset)) for gpu in gpus), events=tuple(events),
        notes=tuple(_notes(section, gpus, fewer is not None and fewer.severity == "info",
                           cut and section.variant.startswith(CSV))), box=box,
        readings=_readings(section, gpus, told[0] if told is not None else None))


def _judged(section: Section, lines: Sequence[str], shown: Sequence[Sequence[SmiGpu]]) -> Iterator[Event]:
    def event(judged: Judged) -> Event:
        offset = min(judged.gpu.offset, len(lines) - 1)
        return judged.event(at_line(section, offset), clean_text(lines[offset].strip()))

    gpus = [typical(states) for states in shown]
    for at, states in enumerate(shown):
        found = (event(one) for gpu in states for one in judge(gpu, [*gpus[:at], *gpus[at + 1:]]))
        yield from told_once(found) if len(states) > 1 else found
    yield from map(event, judge_mixed(gpus))


def _readings(section: Section, gpus: Sequence[SmiGpu], told: int | None) -> dict[str, int | bool]:
    """How many GPUs are listed, and whether that is known to be all of them."""
    shown: dict[str, int | bool] = {} if told is None else {"attached_gpus": told}
    if section.cut_short:
        whole = False
    elif section.variant in (QUERY, XML):
        whole = told == len(gpus)
    else:
        # Who asks for fields of a single GPU has often chosen it with -i; the table of one GPU is the same with -i 0.
        table = section.variant == TABLE
        single = len(gpus) == 1 and gpus[0].index in (0, None) and (table or section.variant.startswith(CSV))
        whole = not (single and not table) and in_order([gpu.index for gpu in gpus]) and (
            not table or table_ends(section.lines, gpus))
        shown |= {"may_be_chosen": True} if single else {}
    return shown | listing(gpus, whole=whole)


def _joined(lines: Sequence[str]) -> Sequence[str]:
    """The table's lines as they were printed: a mailer breaks them, and the rest of a line only ends with a border."""
    whole = list(lines)
    for at in range(len(whole) - 1):
        first, second = whole[at].strip(), whole[at + 1].strip()
        if first.startswith("|") and second.endswith("|") and not second.startswith(("|", "+")):
            whole[at], whole[at + 1] = f"{first} {second}", ""
    return whole


def _gpus(variant: str, lines: Sequence[str]) -> tuple[list[list[SmiGpu]], Mapping[str, str], bool]:
    """The states of each GPU, facts of the box, and whether the text stops within the last GPU or goes on beyond what
    is read. Only a log (CSV) shows a GPU more than once."""
    if variant.startswith(CSV):
        shown, more = csv_states(lines)
        return shown, {}, more
    gpus, box, cut = _each(variant, lines)
    return [[gpu] for gpu in gpus], box, cut


def _each(variant: str, lines: Sequence[str]) -> tuple[list[SmiGpu], Mapping[str, str], bool]:
    if variant == QUERY:
        blocks = [(offset, bus, rows) for offset, bus, rows in rows_of(lines) if bus or rows]
        # The text numbers no GPU, and lists them in nvidia-smi's order; with -i, fewer than are attached.
        told = attached(lines)
        whole = told is not None and told[0] == len(blocks)
        return [gpu_of(rows, offset, bus or None, place if whole else None)
                for place, (offset, bus, rows) in enumerate(blocks)], _box(lines, " : "), ends_within_a_gpu(
                    [rows for _, _, rows in blocks])
    if variant == XML:
        return list(xml_gpus(lines)), _box(lines, ">"), not any("</nvidia_smi_log>" in line for line in lines[-3:])
    if variant == TABLE:
        found: dict[str, str] = {}
        for line in lines[:3]:
            found.update(versions(line))
        return list(table_gpus(lines)), found, False
    if variant == LIST:
        listed = [(offset, one) for offset, line in enumerate(lines) if (one := listed_gpu(line)) is not None][:256]
        return [SmiGpu(offset=offset, index=one[0], name=clean_text(one[1], 96), uuid=one[2])
                for offset, one in listed], {}, False
    return [], {}, False


def _box(lines: Sequence[str], mark: str) -> Mapping[str, str]:
    """Versions of driver and CUDA from the head of the long text or of the XML."""
    found: dict[str, str] = {}
    for line in lines[:40]:
        for name, words in (("driver", ("Driver Version", "<driver_version")), ("cuda", ("CUDA Version",
                                                                                         "<cuda_version"))):
            if line.lstrip().startswith(words):
                value = line.partition(mark)[2].partition("<")[0].strip()
                if re.fullmatch(r"[\d.]{3,24}", value):
                    found.setdefault(name, value)
    return found


def device(gpu: SmiGpu, line: int) -> Device:
    """The GPU for the join with other evidence."""
    known = part(gpu)
    link = None
    if gpu.width is not None or gpu.generation is not None:
        link = DeviceLink(
            speed_gts=SPEED_GTS.get(gpu.generation or 0), width=gpu.width,
            max_speed_gts=SPEED_GTS.get(gpu.generation_max or 0), max_width=gpu.width_max,
            under_load=gpu.at_work)
    bars = (DeviceBar(index=1, size_bytes=int(gpu.bar1_mib) << 20),) if gpu.bar1_mib is not None else ()
    return Device(
        line=line, bdf=gpu.bdf, name=gpu.name, vendor=gpu.vendor or 0x10DE, device=gpu.device, class_code=CLASS,
        subsystem_vendor=gpu.subsystem_vendor, subsystem_device=gpu.subsystem_device, driver="nvidia",
        index=gpu.index, serial=gpu.serial, uuid=gpu.uuid, link=link, bars=bars,
        vram_bytes=int(gpu.memory_mib) << 20 if gpu.memory_mib is not None else None,
        more=fields_of((
            ("part", known.key if known is not None else None), ("vbios", gpu.vbios),
            ("architecture", gpu.architecture), ("temperature_celsius", gpu.temperature_celsius),
            ("power_watts", gpu.power_watts), ("power_limit_watts", gpu.power_limit_watts),
            ("utilization_percent", gpu.utilization_percent),
            ("performance_state", f"P{gpu.performance_state}" if gpu.performance_state is not None else None),
            ("pcie_replays", gpu.replays), ("pcie_replay_rollovers", gpu.rollovers), ("ecc", gpu.ecc),
            ("mig", gpu.mig), ("persistence", gpu.persistence))))


def _notes(section: Section, gpus: Sequence[SmiGpu], fewer: bool, more: bool) -> Iterator[str]:
    """`fewer`: than are attached, for a reason that is no fault. `more`: lines of a log than were read."""
    if section.cut_short or more:
        yield "the output was too long to be read whole: GPUs at its end may be missing"
    if fewer:
        yield "some of the attached GPUs are not in the text: it is cut, or -i chose what it shows"
    if not gpus or section.variant in (MESSAGE, LIST):
        return
    variant = section.variant.partition(",")[0]
    if all(gpu.width is None and gpu.generation is None for gpu in gpus):
        yield "it does not show the PCIe link: nvidia-smi -q -d PCIE does"
    elif not any(gpu.at_work for gpu in gpus):
        yield "the link's speed was not read under load: nvidia-smi -q -d PCIE while a training runs"
    if any(gpu.replays is None and gpu.width is not None for gpu in gpus) and variant in (QUERY, XML):
        yield "no replay counter is shown: damaged packets would not be seen here; the kernel log and lspci tell AER"
    silent = [gpu for gpu in gpus if gpu.ecc_uncorrected_volatile is None and gpu.remap_failed is None
              and gpu.retired_pending is None]
    if silent:
        whose = "" if len(silent) == len(gpus) else f" of {', '.join(gpu.bdf or gpu.name or '' for gpu in silent[:8])}"
        yield f"it shows no count of memory errors{whose}, so it says nothing about them"
    if any(gpu.mig for gpu in gpus):
        yield "MIG is on: utilisation is not told for the whole GPU"

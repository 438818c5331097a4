"""Whether nvidia-smi lists all GPUs that it knows of, and what it means where it does not."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from boxcheck.decode.klog.events import Event
from boxcheck.decode.nvidia_smi_gpu import SmiGpu, count
from boxcheck.decode.text import clean_text
from boxcheck.triage.evidence import Section, at_line
from boxcheck.triage.tools.steps import NVIDIA_LOG, NVIDIA_ON_BUS

_XML = re.compile(r"\s*<attached_gpus>(\d{1,6})</attached_gpus>")
_HEAD_LINES = 40
_HELP = (NVIDIA_ON_BUS, NVIDIA_LOG,
         "where -i chose the GPUs, the others were not asked for: nvidia-smi -q without it lists all")


def attached(lines: Sequence[str]) -> tuple[int, int] | None:
    """(how many the driver has, offset of that line): `Attached GPUs` of the long text or of the XML."""
    for offset, line in enumerate(lines[:_HEAD_LINES]):
        name, _, value = line[:200].partition(":")
        element = _XML.match(line[:200])
        told = count(value) if name.strip() == "Attached GPUs" else int(element[1]) if element is not None else None
        if told is not None:
            return told, offset
    return None


def table_ends(lines: Sequence[str], gpus: Sequence[SmiGpu]) -> bool:
    """Whether the table has its head and a border below the last GPU."""
    if not gpus or not any("NVIDIA-SMI" in line[:40] for line in lines[:3]):
        return False
    return any(line.lstrip().startswith("+") for line in lines[gpus[-1].offset + 1:])


def ends_within_a_gpu(blocks: Sequence[Mapping[str, str]]) -> bool:
    """Whether the last GPU's rows stop before what the one above it ends with. A single GPU is taken for cut."""
    if len(blocks) < 2 or not blocks[-2]:
        return True
    last = list(blocks[-2])[-1].partition("/")[0]
    return not any(path.partition("/")[0] == last for path in blocks[-1])


def missing(
    section: Section, told: tuple[int, int] | None, listed: int, unanswered: int, cut: bool,
) -> Event | None:
    """`gpu-missing` where fewer are listed than are attached. `unanswered`: those that the text says are lost, which
    have events of their own."""
    if told is None or not listed or told[0] <= listed + unanswered:
        return None
    number, offset = told
    says = f"{number} GPUs are attached, {listed} {'is' if listed == 1 else 'are'} listed"
    uncertain = cut or listed == 1 or section.cut_short
    return Event(
        kind="gpu-missing", severity="info" if uncertain else "fail", cause=None, labels=(f"{listed} of {number}",),
        says=says + (": the text is cut, or -i chose what it shows" if uncertain else ""), help=_HELP,
        line=at_line(section, offset), text=clean_text(section.lines[offset].strip()))

"""rocminfo: which agents ROCm has, with their addresses, and why it has none.

Memory: a card's pool is its VRAM. A GPU inside the processor has a pool of system memory, whose size is a setting
(GTT; half of the memory by default, and a part of what the firmware left of it).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from boxcheck.decode.amd_smi_gpu import APUS
from boxcheck.decode.klog.events import Cause, Event, Severity
from boxcheck.decode.rocminfo import Agent, agents, is_row
from boxcheck.decode.text import clean_text
from boxcheck.profile import load_gpus
from boxcheck.triage.evidence import Device, Evidence, Section, at_line, fields_of
from boxcheck.triage.tools.matrix_cards import AMD, CLASS
from boxcheck.triage.tools.steps import AMD_LOG, AMD_ON_BUS, COMPARE_CARDS, LOAD_AMDGPU, PARTITIONED

VARIANT = "rocminfo"
_STARTS = re.compile(r"(?:ROCk module (?:version \S{1,24} )?is loaded|HSA System Attributes"
                     r"|ROCk module is NOT loaded.{0,60}|Unable to open /dev/kfd read-write: .{1,60}"
                     r"|hsa api call failure at(?::| line) .{1,200})$")
_MEMBER = re.compile(r"\S{1,40} is (?:not )?(?:a )?member of \"?\w{1,16}\"? group|Failed to get user name")
_CONTAINER = "in a container: --device /dev/kfd --device /dev/dri --group-add render"
APU_SHARE = 0.45
"""Linux gives GTT half of the memory by default; below this share the GPU has less than that."""

_FAILURES: tuple[tuple[str, str, Severity, Cause | None, str, tuple[str, ...]], ...] = (
    ("ROCk module is NOT loaded", "driver-missing", "fail", "driver",
     "the amdgpu module is not loaded, or it found no GPU",
     (LOAD_AMDGPU,
      "in WSL and in containers the module is the host's: give the container /dev/kfd and /dev/dri")),
    ("Unable to open /dev/kfd read-write: Permission denied", "kfd-permission", "warn", "config",
     "this user may not open /dev/kfd",
     ("sudo usermod -aG render,video $USER, then log in anew", "ls -l /dev/kfd; id",
      _CONTAINER)),
    ("Unable to open /dev/kfd read-write: No such file", "driver-missing", "fail", "driver",
     "there is no /dev/kfd: amdgpu has no compute part here",
     (AMD_LOG, _CONTAINER)),
    ("Unable to open /dev/kfd read-write", "kfd-open", "fail", "driver", "opening /dev/kfd failed",
     (AMD_LOG, "a GPU that was lost or pulled leaves KFD in this state: reboot")),
    ("hsa api call failure", "hsa-failure", "fail", None, "the HSA runtime could not start",
     ("run it as root to tell permissions from the driver", AMD_LOG)),
)


def begins(line: str) -> str | None:
    """The variant, when this line begins an output of rocminfo, or an agent of one that was cut."""
    text = _plain(line)
    return VARIANT if _STARTS.match(text) is not None or re.fullmatch(r"Agent \d{1,3}", text) is not None else None


def belongs(variant: str, line: str) -> bool:
    """Whether the line goes on with it. Its first line tells of the module, so that one begins another run."""
    text = _plain(line)
    if text.startswith("ROCk module"):
        return False
    return is_row(text) or _STARTS.match(text) is not None or _MEMBER.match(text) is not None or text.startswith(
        ("Call returned HSA_STATUS", "to spawn threads", "This error may also"))


def _plain(line: str) -> str:
    """Without the colour that rocminfo puts on failures, of which clean text keeps the letters."""
    text = line[:600].strip()
    return re.sub(r"^\[\d{1,2}m|\[0m$", "", text)


def read(section: Section) -> Evidence:
    """The agents, and what keeps ROCm from starting. Never raises."""
    found = agents(section.lines)
    judged = list(_failures(section))
    gpus = [agent for agent in found if agent.gpu]
    processors = [agent for agent in found if not agent.gpu]
    for gpu in gpus:
        judged += _memory(gpu, processors, section, shared=sum(_of_processor(other) for other in gpus) == 1)
    ended = any("*** Done ***" in line for line in section.lines[-3:])
    begun = any(_plain(line).startswith(("ROCk module", "HSA System Attributes")) for line in section.lines[:4])
    if processors and not gpus and ended:
        judged.append(Event(
            kind="gpu-missing", severity="warn", cause=None, line=at_line(section, processors[0].offset),
            text=clean_text(section.lines[processors[0].offset].strip()), says="ROCm has processors and no GPU",
            help=(AMD_ON_BUS, AMD_LOG)))
    box = {"cpu": clean_text(processors[0].name, 96)} if processors and processors[0].name else {}
    notes = []
    if found and not ended:
        notes.append("the text ends before rocminfo's last line: agents may be missing")
    if gpus:
        notes.append("rocminfo shows no PCIe link and no error counts")
    return Evidence(
        tool=VARIANT, devices=tuple(_device(gpu, at_line(section, gpu.offset)) for gpu in gpus), events=tuple(judged),
        notes=tuple(notes), box=box,
        readings={"agents": len(found), "gpus": len(gpus), "whole": begun and ended and not section.cut_short}
        if found else {})


def _failures(section: Section) -> Iterator[Event]:
    said: set[str] = set()
    opened = False
    for offset, line in enumerate(section.lines):
        text = _plain(line)
        for words, kind, severity, cause, says, help_ in _FAILURES:
            if not text.startswith(words):
                continue
            # The runtime's failure follows from what was said before it.
            if kind not in said and not (kind == "hsa-failure" and opened):
                detail = text.partition("read-write: ")[2]
                yield Event(kind=kind, severity=severity, cause=cause, line=at_line(section, offset),
                            text=clean_text(text), help=help_,
                            says=f"{says}: {clean_text(detail, 60)}" if kind == "kfd-open" and detail else says)
            said.add(kind)
            opened = True
            break


def _of_processor(gpu: Agent) -> bool:
    return bool(gpu.of_processor or gpu.isa in APUS)


def _memory(gpu: Agent, processors: Sequence[Agent], section: Section, shared: bool) -> Iterator[Event]:
    """`shared`: it alone shares the processors' memory. Each of several (MI300A) has a part of its own."""
    apu = _of_processor(gpu)
    have = gpu.memory_bytes
    memory = sum(agent.memory_bytes or 0 for agent in processors)
    line, text = at_line(section, gpu.offset), clean_text(section.lines[gpu.offset].strip())
    gib = 1 << 30
    if have is None:
        return
    if apu and shared and memory and have < APU_SHARE * memory:
        yield Event(
            kind="apu-memory", bdf=gpu.bdf, severity="info", cause="config", line=line, text=text, size_bytes=have,
            says=f"the GPU may use {have / gib:.1f} GiB of {memory / gib:.1f} GiB of memory",
            help=("raise it: ttm.pages_limit on the kernel command line, and a small carve-out in the BIOS",
                  "boxcheck doctor  shows what carve-out and GTT leave"))
    known = {part.vram_gib for part in load_gpus().of_id(f"1002:{gpu.chip:04x}")} if gpu.chip is not None else set()
    nominal = next(iter(known)) if len(known) == 1 else None
    if not apu and nominal and have < 0.9 * nominal * gib:
        yield Event(
            kind="memory-small", bdf=gpu.bdf, severity="warn", cause="memory", line=line, text=text, size_bytes=have,
            says=f"it shows {have / gib:.1f} GiB of memory, the card has {nominal:g} GiB",
            help=(PARTITIONED, COMPARE_CARDS))


def _device(gpu: Agent, line: int) -> Device:
    apu = _of_processor(gpu)
    return Device(
        line=line, bdf=gpu.bdf, name=gpu.name, vendor=AMD, device=gpu.chip, class_code=CLASS, driver="amdgpu",
        uuid=gpu.uuid, vram_bytes=None if apu else gpu.memory_bytes,
        more=fields_of((("arch", gpu.isa), ("hsa_node", gpu.node), ("compute_units", gpu.compute_units),
                        ("usable_memory_bytes", gpu.memory_bytes if apu else None))))

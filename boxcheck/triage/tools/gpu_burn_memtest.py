"""memtest_vulkan and cuda_memtest: VRAM that gives back what was not written."""

from __future__ import annotations

import re
from typing import Any

from boxcheck.decode.gpu_burn_memtest import (
    CUDA,
    FOUND,
    LISTED,
    SELECTED,
    Memtest,
    Tested,
    parse_cuda,
    parse_vulkan,
)
from boxcheck.decode.klog.events import Event
from boxcheck.triage.evidence import Evidence, Section, at_line
from boxcheck.triage.tools.listing import listing
from boxcheck.triage.tools.matrix_cards import is_card_name
from boxcheck.triage.tools.matrix_judge import Gpu, make
from boxcheck.triage.tools.runtime_device import runtime_device

_VULKAN = re.compile(r"https://github\.com/GpuZelenograd/memtest_vulkan|memtest_vulkan(?: v[0-9]|:)|"
                     r"Standard 5-minute test|Error found\. Mode ")
_CUDA = re.compile(r"Running cuda memtest, version|ERROR: \(.{1,80}\) [0-9]{1,10} errors found in block")
_BELONGS = re.compile(
    r"To finish testing use Ctrl\+C|Tester (?:console|worker) logging|Override index|\(first device will|"
    r"\.\.\.(?:first|testing)|[0-9]{1,12} iteration\. |Errors address range: |values range: |"
    r"(?:bit-level )?(?:stats )?table:$|0x0 0x1  ?0x2|0x[0-9A-F](?:[ |]{1,3}0x[0-9A-F]){0,16}$|"
    r"(?:SinglIdx|TogglCnt|1sInValu)|0x[1-9A-F]\? |"
    r"\([0-9.]{1,14}%\)|checked: |[0-9.]{1,10}GB|LAST ERROR at |Extended endless test|use Ctrl\+C to stop|"
    r"received user interruption|Runtime error: |due to: |"
    r"press any key|written: |logging finished at|Verbose feature enabled|(?:[0-9|. km]{1,100}$)|\^C$")
_CUDA_REST = re.compile(
    r"(?:global )?(?:memory )?size=[0-9]{1,15}|serial=|(?:(?:errors )?found )?in block|(?:error, )?expected value=|"
    r"(?:current )?value=0x|diff=0x|\(?second_read=|expect=0x|(?:diff )?with expected|expected value=")
_PROSE = ("Standard 5-minute test PASSed! Just press Ctrl+C unless you plan long test run. Extended endless test "
          "started; testing more than 2 hours is usually unneeded use Ctrl+C to stop it when you decide it's enough")
_SOFTWARE = re.compile(r"llvmpipe|lavapipe|SwiftShader", re.IGNORECASE)


def begins(line: str) -> str | None:
    line = line.strip()
    if _VULKAN.match(line) or LISTED.match(line):
        return "memtest_vulkan"
    cuda = CUDA.match(line)
    return "cuda_memtest" if cuda and _CUDA.match(cuda[2]) else None


def belongs(variant: str, line: str) -> bool:
    line = line.strip()
    if variant == "cuda_memtest":
        return bool(CUDA.match(line) or _CUDA_REST.match(line) or re.fullmatch(r"(?:0x[0-9a-f]{1,16}\s*){1,64}", line))
    return bool(begins(line) == "memtest_vulkan" or FOUND.match(line) or SELECTED.match(line) or _BELONGS.match(line)
                or is_card_name(line) or (len(line) > 3 and " ".join(line.split()) in _PROSE))


def read(section: Section) -> Evidence:
    found = (parse_cuda if section.variant == "cuda_memtest" else parse_vulkan)(section.lines)
    seen = found.listed or found.tested
    devices = tuple(runtime_device(line=at_line(section, one.line), bdf=one.bdf, name=one.name or None,
                                   index=one.index if found.tool == "cuda_memtest" else None, device=one.device,
                                   serial=one.serial, vram_bytes=one.vram_bytes)
                    for one in seen if one.index >= 0 and not _SOFTWARE.search(one.name))
    notes = []
    if found.verdict is None and not any(one.finished or one.reports for one in found.tested):
        notes.append("the outcome: its last lines are missing")
    if found.tool == "memtest_vulkan":
        notes.append("memory that it could not allocate, and the link: it tests one GPU's own memory")
    return Evidence(tool=found.tool, devices=devices, events=tuple(_events(found, section)), notes=tuple(notes),
                    readings=listing(devices) | _readings(found))


def _readings(found: Memtest) -> dict[str, Any]:
    return {"verdict": found.verdict, "errors": {str(one.index): one.errors for one in found.tested},
            "reports": {str(one.index): one.reports for one in found.tested}}


def _events(found: Memtest, section: Section) -> list[Event]:
    events = []
    for one in found.tested:
        if _SOFTWARE.search(one.name):
            says = f"the test ran on {one.name}, which is the processor: no GPU was tested"
            events.append(make("not-tested", "warn", says, at_line(section, one.line), labels=("software",),
                               help=("the GPU's Vulkan driver is missing: `vulkaninfo --summary` lists the devices",)))
        elif one.reports or (found.verdict == "errors" and found.tool == "memtest_vulkan"):
            events.append(_wrong(one, found, section))
    if found.verdict == "aborted":
        says = f"{found.tool} stopped with an error, so the memory was not tested to the end"
        events.append(make("tool-error", "warn", says, at_line(section, found.verdict_line), labels=(found.tool,),
                           text=found.verdict_text,
                           help=("`dmesg | grep -iE 'xid|nvrm|amdgpu'`: the driver says why",)))
    return events


def _wrong(one: Tested, found: Memtest, section: Section) -> Event:
    line = at_line(section, one.first_line if one.first_line is not None else found.verdict_line)
    name = (f" ({one.name})" if one.name else "")
    which = f"GPU {one.index}" if one.index >= 0 and found.tool == "cuda_memtest" else "the GPU"
    if one.reports and not one.errors:
        return make("wrong-results", "warn", f"{which}{name} ended a test without an answer: no wrong word was counted",
                    line, gpu=Gpu(index=one.index, bdf=one.bdf), labels=("aborted",), text=one.text, count=one.reports,
                    help=("a shader that was aborted, so driver or core rather than memory: "
                          "`dmesg | grep -iE 'xid|amdgpu'`",))
    kind = ""
    if one.second_read_right and not one.second_read_wrong:
        kind = ", all of them right when read again"
    elif one.reread_reports and one.reread_reports == one.reports:
        kind = ", all in data that was written one pass before"
    counted = f"{one.errors} wrong words in {one.reports} reports" if one.errors else "errors"
    return make(
        "wrong-results", "fail", f"the memory of {which}{name} gave back {counted}{kind}", line,
        gpu=Gpu(index=one.index, bdf=one.bdf), text=one.text,
        labels=(f"gpu{one.index}",) if found.tool == "cuda_memtest" else ("vram",), count=max(one.reports, 1),
        help=("set clocks and voltages to stock and run it again: what stays is the memory or its controller, a case "
              "for the warranty",
              "gone at a lower memory clock: a chip near its limit, or heat; gone with another supply or cable: power",
              "no link is part of it"))

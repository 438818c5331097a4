"""gpu_burn: wrong products, workers that died, a GPU slower than its peers; and what its `OK` does not say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from statistics import median
from typing import Any

from boxcheck.decode.gpu_burn import LISTED, PROBLEM, PROGRESS, SECONDS, Burn, Burned, parse
from boxcheck.decode.klog.events import Event
from boxcheck.triage.evidence import Device, Evidence, Section, at_line
from boxcheck.triage.tools.matrix_judge import make

SLOW_SHARE = 0.9
"""Of the median of equal cards under the same load; 5 % is usual between samples (stas00/ml-engineering)."""
HOT_CELSIUS = 95
"""tinyos stops a tinybox above this."""
SHORT_SECONDS = 300

_BEGINS = re.compile(r"Using compare file: |Burning for [0-9]{1,8} sec|Run length not specified in the command line|"
                     r"Initialized device [0-9]{1,3} with [0-9]{1,8} MB of memory|Tested [0-9]{1,3} GPUs:|"
                     r"Couldn't init a GPU test|Failure during compute: ")
_BELONGS = re.compile(
    r"Results are [0-9]{1,12} bytes each|Summary at:|Killing processes|Freed memory for dev|Uninitted cublas|done$|"
    r"Using compare file|Initialized device|GPU [0-9]{1,3}: |GPU-[0-9a-f-]{8,40}\)|"
    r".{1,60}\(UUID:$|No clients are alive|Could not invoke nvidia-smi")
_PIECE = re.compile(r"(?:-?[0-9]{1,20}|\(?[0-9]{1,12}|--|-|C|Gflop/s\)|\(?(?:WARNING|DIED)!\)-?|errors:|temps:|proc'd:|"
                    r"[0-9.]{1,6}%|\([0-9]{1,12}|Gflop/s\)-?)")
_NOTES = (
    "whether a product is right: gpu_burn compares products with one another, and never sees one that is no number",
    "anything by its exit status: it is 0 for FAULTY as well",
)
POWER_OR_MEMORY = (
    "one GPU alone, wherever it is plugged: its memory or its core; memtest_vulkan on it tells memory from computing",
    "several GPUs under full load only, none when each runs alone: power (supply, cables, the limit set with "
    "nvidia-smi -pl) or heat",
    "the fault stays with the slot when cards are swapped: riser, slot or their supply; `dmesg | grep -iE 'xid|aer'`",
)


def begins(line: str) -> str | None:
    line = line.strip()
    return "gpu_burn" if _BEGINS.match(line) or PROGRESS.search(line[:4096]) else None


def belongs(variant: str, line: str) -> bool:
    line = line.strip()
    if _BELONGS.match(line) or begins(line) or LISTED.match(line) or SECONDS.search(line) or PROBLEM.match(line):
        return True
    words = line.split() if len(line) <= 4096 else []
    return bool(words) and all(map(_PIECE.fullmatch, words))  # the rest of a progress line that was wrapped


def read(section: Section) -> Evidence:
    found = parse(section.lines)
    devices = tuple(Device(line=at_line(section, 0), name=name, uuid=uuid, index=index)
                    for index, (name, uuid) in sorted(found.names.items()))
    notes = list(_NOTES)
    if found.seconds is not None and found.seconds < SHORT_SECONDS:
        notes.append(f"stability: it ran for {found.seconds} s, and heat needs ten minutes to settle")
    if found.gpus and all(one.products is None for one in found.gpus.values()):
        notes.append("whether anything was computed: no progress line is here, and OK is said of idle GPUs too")
    if found.gpus and all(one.faulty is None for one in found.gpus.values()):
        notes.append("the verdict: its last lines are missing")
    return Evidence(tool="gpu_burn", devices=devices, events=tuple(_events(found, section)), notes=tuple(notes),
                    readings=_readings(found))


def _readings(found: Burn) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if found.gpus:
        gpus = found.gpus.values()
        shown = {"gpu": [one.index for one in gpus], "gigaflops": [one.rate for one in gpus],
                 "products": [one.products for one in gpus], "errors_at_least": [one.errors for one in gpus],
                 "hottest_celsius": [one.hottest_celsius for one in gpus]}
    if found.seconds is not None:
        shown["run_seconds"] = found.seconds
    return shown


def _events(found: Burn, section: Section) -> list[Event]:
    events = _wrong(found, section) + _died(found, section) + _idle(found, section)
    events += _slow(found, section)
    for one in found.gpus.values():
        if (one.hottest_celsius or 0) > HOT_CELSIUS:
            says = f"GPU {one.index} reached {one.hottest_celsius} C"
            events.append(make("hot", "warn", says, at_line(section, one.line), labels=(f"gpu{one.index}",),
                               help=("airflow: fans, dust, the card above it; then `nvidia-smi -q -d TEMPERATURE`",)))
    seen: set[str] = set()
    for offset, text in found.problems:
        kind = text.split(":")[0][:24]
        if kind not in seen and not kind.startswith(("read[", "No clients")):
            seen.add(kind)
            events.append(make("tool-error", "warn", "gpu_burn could not run on every GPU, or stopped within the run",
                               at_line(section, offset), labels=(kind,), text=text,
                               help=("`dmesg | grep -iE 'nvrm|xid'`, and look for compare.fatbin beside the program",)))
    return events


def _wrong(found: Burn, section: Section) -> list[Event]:
    bad = [one for one in found.gpus.values() if one.errors or one.overflowed or (one.faulty and not one.died)]
    events = []
    for one in bad:
        lines = [line for line in (one.error_line, one.faulty_line) if line is not None]
        count = ("more errors than its counter holds" if one.overflowed else
                 f"at least {one.errors} wrong elements" if one.errors else "FAULTY")
        everyone = len(bad) == len(found.gpus) and len(bad) > 1
        events.append(make(
            "wrong-results", "fail", f"GPU {one.index} computed wrong products ({count})"
            + (", as all GPUs did" if everyone else ""), at_line(section, min(lines)), labels=(f"gpu{one.index}",),
            help=POWER_OR_MEMORY))
    return events


def _died(found: Burn, section: Section) -> list[Event]:
    events = []
    for one in found.gpus.values():
        if not one.died or one.died_line is None:
            continue
        worked = (one.products or 0) > 0
        line = at_line(section, one.died_line)
        if worked:
            events.append(make(
                "worker-died", "fail", f"the worker of GPU {one.index} died after it had computed", line,
                labels=(f"gpu{one.index}",),
                help=("`dmesg | grep -iE 'xid|nvrm|aer|oom'`: Xid 79 is a GPU that is gone, 13, 31 and 48 name the "
                      "kind of fault, oom-killer is none of the GPU's", *POWER_OR_MEMORY[1:])))
        else:
            events.append(make(
                "tool-error", "warn", f"the worker of GPU {one.index} died before it computed anything, so it was not "
                "tested; its error count is no count", line, labels=(f"gpu{one.index}", "died"),
                help=("`dmesg | grep -iE 'nvrm|xid'`, and look for compare.fatbin beside the program",)))
    return events


def _idle(found: Burn, section: Section) -> list[Event]:
    """GPUs that are `OK` and computed nothing."""
    events = []
    for one in found.gpus.values():
        if one.products == 0 and not one.died and (one.faulty is False or any(
                other.products for other in found.gpus.values())):
            events.append(make(
                "not-tested", "warn", f"GPU {one.index} computed nothing"
                + (", yet gpu_burn calls it OK" if one.faulty is False else ""), at_line(section, one.line),
                labels=(f"gpu{one.index}",), help=("run it longer, or on this GPU alone with `gpu_burn -i N 300`",)))
    return events


def _slow(found: Burn, section: Section) -> list[Event]:
    models: dict[str, dict[int, Burned]] = {}
    for index, one in found.gpus.items():
        if one.rate:
            models.setdefault(found.names[index][0] if index in found.names else "", {})[index] = one
    events = []
    for model, gpus in models.items():
        if len(gpus) >= 3:
            events += _slow_of(model, gpus, section)
    return events


def _slow_of(model: str, gpus: Mapping[int, Burned], section: Section) -> list[Event]:
    rates = {index: one.rate or 0.0 for index, one in gpus.items()}
    centre = median(rates.values())
    events = []
    for index, rate in rates.items():
        if rate >= SLOW_SHARE * centre:
            continue
        hot = gpus[index].hottest_celsius
        others = [one.hottest_celsius for one in gpus.values() if one.hottest_celsius is not None]
        heat = f"; it reached {hot} C, the median GPU {median(others):.0f} C" if hot is not None else ""
        events.append(make(
            "slow", "warn" if model else "info",
            f"GPU {index} computes {rate:.0f} Gflop/s, the median {'' if model else 'GPU'}{model} {centre:.0f} "
            f"({rate / centre:.1%}){heat}{'' if model else '; if the cards are the same'}",
            at_line(section, gpus[index].line), labels=(f"gpu{index}",),
            help=("`nvidia-smi -q -d PERFORMANCE,CLOCK,POWER` during the run names the reason: heat, power cap, brake",
                  "swap its power leads with a good card's, then its place")))
    return events

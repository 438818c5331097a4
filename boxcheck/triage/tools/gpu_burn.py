"""gpu_burn: wrong products, workers that died, a GPU slower than its peers; and what its `OK` does not say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from boxcheck.decode.gpu_burn import (
    LISTED,
    PROBLEM,
    PROGRESS,
    SECONDS,
    WORKER,
    Burn,
    Burned,
    blameless,
    is_reason_tail,
    parse,
    reason,
)
from boxcheck.decode.klog.events import Event
from boxcheck.triage.evidence import Device, Evidence, Section, at_line
from boxcheck.triage.tools.listing import listing
from boxcheck.triage.tools.matrix_cards import NVIDIA
from boxcheck.triage.tools.matrix_judge import make
from boxcheck.triage.tools.runtime_device import runtime_device

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
    r".{1,60}\(UUID:$|No clients are alive|Could not invoke nvidia-smi|"
    r"[0-9MBofitusing (),]{0,60}using (?:FLOATS|DOUBLES)\b")
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
DIED = (
    "`dmesg | grep -iE 'xid|nvrm|aer|oom'`: Xid 79 is a GPU that is gone, 13, 31 and 48 name the kind of fault, "
    "oom-killer is none of the GPU's", *POWER_OR_MEMORY[1:])
NOT_RUN = ("free the GPU's memory (`nvidia-smi` lists who holds it), look for compare.fatbin or compare.ptx beside the "
           "program, and build it for this card and driver: `make COMPUTE=...`",)


def begins(line: str) -> str | None:
    line = line.strip()
    return "gpu_burn" if _BEGINS.match(line) or PROGRESS.search(line[:4096]) else None


def belongs(variant: str, line: str) -> bool:
    line = line.strip()
    if _BELONGS.match(line) or begins(line) or LISTED.match(line) or SECONDS.search(line) or PROBLEM.match(line):
        return True
    if is_reason_tail(line):
        return True
    words = line.split() if len(line) <= 4096 else []
    return bool(words) and all(map(_PIECE.fullmatch, words))  # the rest of a progress line that was wrapped


def runs(lines: Sequence[str]) -> bool:
    """Whether an output of `nvidia-smi -L` is the first thing that gpu_burn prints: its own lines follow."""
    return any(begins(line) is not None for line in lines)


def read(section: Section) -> Evidence:
    found = parse(section.lines)
    notes = list(_NOTES)
    if found.names and not found.one_order:
        chosen = found.numbered is not None and found.numbered != len(found.names)
        why = f"it ran on {found.numbered} (CUDA_VISIBLE_DEVICES or -i chose)" if chosen else (
            "of several models, and CUDA puts the fastest first")
        notes.append(f"which card is its GPU 0: {len(found.names)} are listed, {why}")
    if found.seconds is not None and found.seconds < SHORT_SECONDS:
        notes.append(f"stability: it ran for {found.seconds} s, and heat needs ten minutes to settle")
    if found.gpus and all(one.products is None for one in found.gpus.values()):
        notes.append("whether anything was computed: no progress line is here, and OK is said of idle GPUs too")
    if found.gpus and all(one.faulty is None for one in found.gpus.values()):
        notes.append("the verdict: its last lines are missing")
    return Evidence(tool="gpu_burn", devices=tuple(_devices(found, section)), events=tuple(_events(found, section)),
                    notes=tuple(notes), readings=listing(found.names) | _readings(found))


def _devices(found: Burn, section: Section) -> Iterator[Device]:
    """The cards of the list. Where gpu_burn's numbers are not the list's, the numbers come without a card."""
    for index, (name, uuid) in sorted(found.names.items()):
        yield runtime_device(line=at_line(section, found.name_lines.get(uuid, 0)), name=name, uuid=uuid, vendor=NVIDIA,
                             index=index if found.one_order else None)
    if found.names and not found.one_order:
        models = {name for name, _ in found.names.values()}
        for index, one in found.gpus.items():
            yield runtime_device(line=at_line(section, one.line), vendor=NVIDIA, index=index, chosen=True,
                                 name=next(iter(models)) if len(models) == 1 else None)


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
    return events + _problems(found, section)


def _problems(found: Burn, section: Section) -> list[Event]:
    """What it said on standard error, where no progress line shows whose worker died of it."""
    events = []
    dead = any(one.died for one in found.gpus.values())
    seen: set[tuple[str, bool]] = set()
    for offset, text in found.problems:
        kind, why = text.split(":")[0][:24], reason(text)
        faulty = why is not None and not blameless(text)
        if kind.startswith("read[") or (faulty and dead) or (kind, faulty) in seen:
            continue
        if kind.startswith("No clients") and (dead or any(WORKER.match(said) for _, said in found.problems)):
            continue
        seen.add((kind, faulty))
        line = at_line(section, offset)
        if faulty or kind.startswith("No clients"):
            says = ("all workers of gpu_burn died" if why is None else "a worker of gpu_burn died") + (
                f": {why[:120]}" if why else "")
            events.append(make("worker-died", "fail", says, line, text=text, help=DIED,
                               labels=("gpu0",) if found.numbered == 1 else ("worker",)))
        else:
            events.append(make("tool-error", "warn", "gpu_burn could not run on every GPU, or stopped within the run"
                               + (f": {why[:120]}" if why else ""), line, labels=(kind,), text=text, help=NOT_RUN))
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
    """Workers that died. What they computed is not known to be right, and a kernel that does not launch is a fault of
    card, driver or power, so it fails, but for those whose last words name another reason."""
    dead = [one for one in found.gpus.values() if one.died and one.died_line is not None]
    words = [text for _, text in found.problems if WORKER.match(text)]
    faults = list(dict.fromkeys(reason(text) or "" for text in words if not blameless(text)))
    # The words carry no number: they excuse only where each that did no work has its own.
    idle = sum((one.products or 0) <= 0 for one in dead)
    excused = not faults and len(words) >= idle
    working = not faults and any(text.startswith("Failure during") for text in words)
    why = f": {faults[0][:120]}" if len(faults) == 1 and faults[0] else ""
    events = []
    for one in dead:
        worked = (one.products or 0) > 0
        line = at_line(section, one.died_line or 0)
        if not (working if worked else excused):
            when = "after it had computed" if worked else "before it computed anything"
            events.append(make("worker-died", "fail", f"the worker of GPU {one.index} died {when}{why}", line,
                               labels=(f"gpu{one.index}",), help=DIED))
        else:
            says = f"the worker of GPU {one.index} ended " + (
                "within the run, by its own words through no fault of the card" if worked else
                "before it computed anything, so it was not tested; its error count is no count")
            events.append(make("tool-error", "warn", says, line, labels=(f"gpu{one.index}", "died"), help=NOT_RUN))
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

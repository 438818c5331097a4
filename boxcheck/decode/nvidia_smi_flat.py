"""`nvidia-smi -q` as it was printed, or as a mail made of it: indentation lost, runs of blanks collapsed.

Sections of the long text are told by indentation. Where that is gone, they are told by name: a line without a colon is
the head of a section, and each head has its place. `Total` is then of the section that was named last; names that
belong to one section only (`Replays Since Reset`, after the sub-section `Bridge Chip`) go back to it.

Layouts of drivers 418 to 595, from captures and from NVIDIA's own man page nvidia-smi(1).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from boxcheck.decode.nvidia_smi import MOST_GPUS, MOST_ROWS, parse_query

MOST_NAME = 64
"""Characters of a row's name."""

HEADS: Mapping[str, str] = {
    name.rsplit("/", 1)[-1]: name for name in (
        "mig mode", "mig device", "driver model", "platform info", "inforom version", "inforom bbx object flush",
        "gpu operation mode", "gpu virtualization mode", "gpu reset status", "ibmnpu", "pci", "pci/gpu link info",
        "pci/gpu link info/pcie generation", "pci/gpu link info/link width", "pci/bridge chip",
        "clocks event reasons", "clocks throttle reasons", "clocks event reasons counters", "fb memory usage",
        "memory usage", "bar1 memory usage", "conf compute protected memory usage", "utilization", "encoder stats",
        "fbc stats", "dram encryption mode", "ecc mode", "ecc errors", "ecc errors/volatile", "ecc errors/aggregate",
        "ecc errors/aggregate uncorrectable sram sources", "retired pages", "remapped rows",
        "remapped rows/bank remap availability histogram", "temperature", "power readings", "gpu power readings",
        "gpu memory power readings", "module power readings", "power smoothing", "workload power profiles", "clocks",
        "applications clocks", "default applications clocks", "deferred clocks", "max clocks",
        "max customer boost clocks", "clock policy", "voltage", "fabric", "fabric/health", "processes", "capabilities",
        "vgpu software licensed product", "edpp multiplier", "accounting mode", "supported clocks", "performance state",
    )}
_NESTED = ("single bit", "double bit", "device attributes", "shared", "shared fb memory usage", "shared bar1 memory")
"""Heads below the section that is open."""

OWN: Mapping[str, str] = {
    "replays since reset": "pci", "replay number rollovers": "pci", "tx throughput": "pci", "rx throughput": "pci",
    "atomic caps outbound": "pci", "atomic caps inbound": "pci", "hw thermal slowdown": "hw slowdown",
    "hw power brake slowdown": "hw slowdown", "unrepairable memory": "ecc errors", "channel repair pending":
    "ecc errors", "tpc repair pending": "ecc errors", "product name": "", "product brand": "",
    "product architecture": "", "display mode": "", "display active": "", "display attached": "",
    "persistence mode": "", "addressing mode": "", "accounting mode": "", "accounting mode buffer size": "",
    "serial number": "", "gpu uuid": "", "gpu pdi": "", "minor number": "", "vbios version": "", "multigpu board": "",
    "board id": "", "board part number": "", "gpu part number": "", "fru part number": "", "module id": "",
    "gpu c2c mode": "", "gpu recovery action": "", "gsp firmware version": "", "fan speed": "",
    "performance state": "", "sparse operation mode": "", "compute mode": "", "remapped rows": "", "processes": "",
    "edpp multiplier": "", "power smoothing": "",
}
"""Rows of one place only, whatever section was named before them."""

_OTHERS = frozenset((
    "timestamp", "driver version", "cuda version", "attached gpus", "current", "pending", "image version",
    "oem object", "ecc object", "power management object", "latest timestamp", "latest duration",
    "virtualization mode", "host vgpu mode", "vgpu heterogeneous mode", "reset required", "drain and reset recommended",
    "relaxed ordering mode", "bus", "device", "domain", "base classcode", "sub classcode", "device id", "bus id",
    "sub system id", "max", "device current", "device max", "host max", "type", "firmware", "idle",
    "applications clocks setting", "sw power cap", "hw slowdown", "sync boost", "sw thermal slowdown",
    "display clock setting", "sw power capping", "hw power braking", "total", "reserved", "used", "free", "gpu",
    "memory", "encoder", "decoder", "jpeg", "ofa", "active sessions", "average fps", "average latency",
    "sram correctable", "sram uncorrectable", "sram uncorrectable parity", "sram uncorrectable sec-ded",
    "dram correctable", "dram uncorrectable", "sram threshold exceeded", "sram l2", "sram sm", "sram microcontroller",
    "sram pcie", "sram other", "device memory", "register file", "l1 cache", "l2 cache", "texture memory",
    "texture shared", "cbu", "single bit ecc", "double bit ecc", "pending page blacklist", "correctable error",
    "uncorrectable error", "remapping failure occurred", "high", "partial", "low", "none", "gpu current temp",
    "gpu t.limit temp", "gpu shutdown t.limit temp", "gpu slowdown t.limit temp", "gpu max operating t.limit temp",
    "gpu shutdown temp", "gpu slowdown temp", "gpu max operating temp", "gpu target temperature",
    "memory current temp", "memory max operating t.limit temp", "memory max operating temp", "power management",
    "power draw", "average power draw", "instantaneous power draw", "power limit", "current power limit",
    "requested power limit", "default power limit", "enforced power limit", "min power limit", "max power limit",
    "requested profiles", "enforced profiles", "graphics", "sm", "video", "auto boost", "auto boost default", "state",
    "status", "cliqueid", "clusteruuid", "bandwidth", "summary", "route recovery in progress", "route unhealthy",
    "access timeout recovery", "incorrect configuration", "partition assigned", "gpu instance id",
    "compute instance id", "process id", "name", "used gpu memory", "egm", "index", "chassis serial number",
    "slot number", "tray index", "host id", "peer type", "gpu fabric guid", "product", "license status",
    "multiprocessor count", "copy engine count", "encoder count", "decoder count", "ofa count", "jpg count",
    "extra slot", "violations", "power state",
))
_TAIL = re.compile(r"(?:GPU-[0-9a-f-]{8,40}|[\d.]{1,24}|[\d.]{1,12} ?(?:MiB|W|C|MHz|KB/s|%|us|mV|bank\(s\))|\d{1,5}x"
                   r"|[0-9a-f]{4,12}(?:-[0-9a-f]{4,12}){1,4}|(?:\d{1,2} )?\d\d:\d\d:\d\d \d{4}"
                   r"|N/A|None|(?:Not )?Active|Enabled|Disabled|Yes|No|Error|lost|reset)$")
_DEPRECATED = "requested functionality has been deprecated"
_CARD_WORDS = frozenset((
    "nvidia", "geforce", "rtx", "gtx", "quadro", "tesla", "titan", "ti", "super", "ada", "generation", "blackwell",
    "laptop", "gpu", "d", "pcie", "nvl", "workstation", "edition", "server", "max-q", "lovelace", "hbm3", "hbm3e",
    "pro",
))
_GPU = re.compile(r" *GPU ((?:[0-9A-Fa-f]{4,8}:)?[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-7])$")
_NEAR_ROW = re.compile(r" {4,24}[A-Za-z][\w ./()-]{0,60}? *: \S")
_NEW_ROW = re.compile(r"[A-Z][\w./()-]{0,24}(?: [A-Z0-9(][\w./()-]{0,24}){0,6} {1,40}: \S")
"""A row of a name that is not known, its indentation lost: `Name In Capitals : value`. Logs write `Name: value`."""
_NEAR_HEAD = re.compile(r"(?: {4,24}|\t{1,6})[A-Z][\w./()+-]{0,32}(?: [\w./()+-]{1,32}){0,6}$")
_NEW_HEAD = re.compile(r"[A-Z][\w/()+-]{1,24}(?: [A-Z][\w/()+-]{0,24}){1,5}$")


def gpu_line(line: str) -> str | None:
    """The bus address of `GPU 00000000:41:00.0`, None for any other line."""
    if not line.lstrip(" ").startswith("GPU "):
        return None
    found = _GPU.match(line.rstrip()[:64])
    return found[1] if found is not None else None


def is_tail(line: str) -> bool:
    """Whether the line is the end of a value that a mailer broke off: a UUID, a number, the end of a card's name."""
    text = line.strip()[:100]
    if _TAIL.match(text) or (len(text) > 9 and _DEPRECATED.endswith(text.lower())):
        return True
    words = text.lower().split()
    if words and all(re.fullmatch(r"[a-z]{2,12}_\d{1,3}", word) for word in words):
        return True  # atomics: FETCHADD_32 SWAP_64
    return 0 < len(words) <= 7 and words[0] != "gpu" and any(word in _CARD_WORDS for word in words) and all(
        word in _CARD_WORDS or re.fullmatch(r"[a-z]{0,2}\d{2,4}[a-z]{0,2}|\d{1,3}gb|sxm\d", word) for word in words)


def joined(lines: Sequence[str]) -> list[str]:
    """The rows as they were printed: ends that were broken off go back, and leave an empty line."""
    whole = list(lines)
    last = -1
    for at, line in enumerate(whole):
        if ":" in line:
            last = at
        elif last >= 0 and at - last <= 2 and " ".join(line.split()).lower() not in HEADS and is_tail(line):
            whole[last], whole[at] = f"{whole[last].rstrip()} {line.strip()}"[:600], ""
        elif line.strip():
            last = -1
    return whole


def is_new_head(line: str) -> bool:
    """Whether this may be the head of a section that is not known yet: a name alone, indented or all in capitals. Each
    driver adds some."""
    bare = line[:200].rstrip()
    if len(bare) > 160 or bare.endswith(".") or not (_NEAR_HEAD.match(bare) or _NEW_HEAD.match(bare)):
        return False
    plain = " ".join(bare.split()).lower()
    return plain not in HEADS and plain not in _NESTED and not is_tail(line)


def is_row(line: str) -> bool:
    """Whether this is a line of the long text: a head, a GPU, or `Name : value` of a name that it has, or in its
    layout."""
    if gpu_line(line) is not None:
        return True
    name, colon, rest = line[:400].partition(" : " if " : " in line[:120] else ":")
    plain = " ".join(name.split()).lower()
    if not colon:
        return plain in HEADS or plain in _NESTED
    if len(plain) > MOST_NAME or rest.startswith(":"):
        return False
    if plain in _OTHERS or plain in OWN or plain in HEADS:
        return name.endswith(" ") or colon == " : "
    return _NEAR_ROW.match(line) is not None or _NEW_ROW.match(line) is not None


def rows_of(lines: Sequence[str]) -> Iterator[tuple[int, str, Mapping[str, str]]]:
    """(line, bus address, rows) of each GPU, in order. A GPU without its line (the text was cut) has the address ''."""
    blocks: list[tuple[int, str, list[str]]] = []
    head: list[str] = []
    for offset, line in enumerate(joined(lines)):
        bus = gpu_line(line)
        if bus is not None:
            if len(blocks) >= MOST_GPUS:
                break
            blocks.append((offset, bus, []))
        elif blocks:
            if len(blocks[-1][2]) < 4 * MOST_ROWS:
                blocks[-1][2].append(line)
        elif len(head) < MOST_ROWS:
            head.append(line)
    if not blocks or any(" ".join(line.partition(":")[0].split()).lower() in _ONCE for line in head):
        blocks = [*((offset, "", block) for offset, block in _headless(head)), *blocks][:MOST_GPUS]
    for offset, bus, block in blocks:
        yield offset, bus, _rows(block) if bus else _flat(block)


_ONCE = ("product name", "gpu link info", "pcie generation", "link width", "replays since reset")
"""Heads and rows that a GPU has once."""


def _headless(lines: Sequence[str]) -> list[tuple[int, list[str]]]:
    """What grep found, without the lines that name the GPUs: where one of `_ONCE` comes again, it is another GPU's."""
    blocks: list[tuple[int, list[str]]] = [(0, [])]
    seen: set[str] = set()
    for offset, line in enumerate(lines):
        name = " ".join(line.partition(":")[0].split()).lower()
        if name in seen and len(blocks) < MOST_GPUS:
            blocks.append((offset, []))
            seen.clear()
        if name in _ONCE:
            seen.add(name)
        blocks[-1][1].append(line)
    return blocks


def _rows(block: Sequence[str]) -> Mapping[str, str]:
    indented = sum(1 for line in block if line.startswith("    ") and ":" in line)
    flat = sum(1 for line in block if line.strip() and not line.startswith("  ") and ":" in line)
    if indented > flat:
        return parse_query("\n".join(("GPU here", *block))).get("here", {})
    return _flat(block)


def _flat(block: Sequence[str]) -> Mapping[str, str]:
    rows: dict[str, str] = {}
    section = above = ""
    of_mig = False
    for line in block:
        name, colon, value = line[:600].partition(":")
        name = " ".join(name.split()).lower()
        if not name or len(name) > MOST_NAME or len(rows) >= MOST_ROWS:
            continue
        if not colon:
            if name in HEADS:
                section = above = HEADS[name]
                of_mig = name == "mig device" or of_mig
            elif name in _NESTED:
                section = f"{above}/{name}"
            elif is_new_head(line):
                # Its rows are none of the section's before it.
                section = above = f"? {name}"
            continue
        if name == "accounting mode":
            of_mig = False  # the row after the last MIG device, whose sections are named like the GPU's own
        if of_mig:
            continue
        place = section
        if name in OWN:
            place = OWN[name]
            if place == "hw slowdown":
                if section.endswith("counters"):
                    place = section
                else:
                    place = f"{section}/{place}" if section.startswith("clocks ") else f"clocks event reasons/{place}"
            elif place == "":
                section = above = ""
            elif place in ("pci", "ecc errors"):
                section = above = place
        rows.setdefault(f"{place}/{name}" if place else name, value.strip())
    return rows

"""rocminfo: the HSA agents, their addresses and memory pools, and what it says when ROCm does not start.

Rows are `Name: value` below `Agent N`, `Pool N`, `ISA N`; the names tell the level, so indentation is not needed. The
address is BDFID (bus in bits 15:8, device in 7:3, function in 2:0) within Domain, which older versions do not print.
Layouts of ROCm 2 to 7.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from boxcheck.decode.klog.words import packed_bdf
from boxcheck.decode.text import clean_text, meaningful
from boxcheck.model import Bdf

MOST_AGENTS = 128
MOST_POOLS = 16

_AGENT = re.compile(r"Agent (\d{1,4})$")
_BLOCK = re.compile(r"(?:Pool|ISA) (\d{1,3})$")
_ROW = re.compile(r"([A-Za-z][\w .()/-]{0,46}?):{1,2}\s{0,60}(\S.{0,200})?$")
_NUMBER = re.compile(r"(\d{1,15})(?!\d)")
_NAMES = frozenset((
    "runtime version", "runtime ext version", "system timestamp freq.", "sig. max wait duration", "machine model",
    "system endianness", "mwaitx", "xnack enabled", "dmabuf support", "vmm support", "name", "uuid", "marketing name",
    "vendor name", "feature", "profile", "float round mode", "max queue number", "queue min size", "queue max size",
    "queue type", "node", "device type", "cache info", "l1", "l2", "l3", "chip id", "asic revision", "cacheline size",
    "max clock freq. (mhz)", "max clock frequency (mhz)", "bdfid", "internal node id", "compute unit", "simds per cu",
    "shader engines", "shader arrs. per eng.", "watchpts on addr. ranges", "coherent host access",
    "memory properties", "features", "fast f16 operation", "wavefront size", "workgroup max size",
    "workgroup max size per dimension", "max waves per cu", "max work-item per cu", "grid max size",
    "grid max size per dimension", "max fbarriers/workgrp", "max fbarrier/workgrp", "packet processor ucode",
    "sdma engine ucode", "iommu support", "pool info", "segment", "size", "allocatable", "alloc granule",
    "alloc recommended granule", "alloc alignment", "accessible by all", "acessible by all", "isa info",
    "machine models", "profiles", "default rounding mode", "fast f16", "fbarrier max size", "domain", "num xcc",
    "max cu per wave", "x", "y", "z", "memory properties", "clusters", "dispatch",
))
_TITLES = ("HSA System Attributes", "HSA Agents", "*** Done ***")
_RULE = re.compile(r"(?:=|\*){3,60}$")
_ADDRESSES = re.compile(r"[xyz] {1,40}\d{1,10}\(0x[0-9a-f]{1,8}\)$")


class Pool(msgspec.Struct, frozen=True):
    """A memory pool of an agent."""

    segment: str
    size_bytes: int | None


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """A processor or a GPU as the HSA runtime has it."""

    offset: int
    number: int
    gpu: bool
    isa: str | None = None
    """`gfx1151`; of a processor its name."""
    name: str | None = None
    """Marketing name."""
    uuid: str | None = None
    node: int | None = None
    chip: int | None = None
    compute_units: int | None = None
    bdf: Bdf | None = None
    of_processor: bool | None = None
    """An APU (`Memory Properties: APU`); None where this version does not tell."""
    pools: tuple[Pool, ...] = ()

    @property
    def memory_bytes(self) -> int | None:
        """The largest pool of global memory that it may allocate from."""
        sizes = [pool.size_bytes for pool in self.pools if pool.segment.startswith("GLOBAL")
                 and pool.size_bytes is not None]
        return max(sizes, default=None)


def is_row(line: str) -> bool:
    """Whether the line is one of rocminfo's."""
    text = line.strip()[:300]
    if text in _TITLES or _AGENT.match(text) or _BLOCK.match(text) or _RULE.match(text) or _ADDRESSES.match(text):
        return True
    found = _ROW.match(text)
    return (found is not None and found[1].lower() in _NAMES) or text in ("N/A", "KERNEL_DISPATCH", "AGENT_DISPATCH")


def first_number(text: str | None) -> int | None:
    """The decimal number at the beginning of `16777216(0x1000000) KB`; None for anything else."""
    found = _NUMBER.match(text.strip()) if text else None
    return int(found[1]) if found is not None else None


def agents(lines: Sequence[str]) -> list[Agent]:
    """The agents of a text, as far as it goes."""
    found: list[Agent] = []
    rows: dict[str, str] = {}
    pools: list[dict[str, str]] = []
    at = number = 0
    block = ""

    def close() -> None:
        if rows and len(found) < MOST_AGENTS:
            found.append(_agent(rows, pools, at, number))

    for offset, line in enumerate(lines):
        text = line.strip()[:300]
        head = _AGENT.match(text)
        if head is not None:
            close()
            if len(found) >= MOST_AGENTS:
                return found
            rows, pools, at, number, block = {}, [], offset, int(head[1]), "agent"
            continue
        inner = _BLOCK.match(text)
        if inner is not None:
            block = text.split(" ")[0].lower()
            if block == "pool" and len(pools) < MOST_POOLS:
                pools.append({})
            continue
        row = _ROW.match(text)
        if row is None or not block:
            continue
        name, value = row[1].lower(), (row[2] or "").strip()
        if name in ("isa info", "pool info"):
            block = name.split(" ")[0]
        elif block == "agent":
            rows.setdefault(name, value)
        elif block == "pool" and pools:
            pools[-1].setdefault(name, value)
    close()
    return found


def _agent(rows: dict[str, str], pools: Sequence[dict[str, str]], at: int, number: int) -> Agent:
    kind = rows.get("device type", "").upper()
    isa = clean_text(rows.get("name", ""), 64).strip() or None
    gpu = kind == "GPU" or (not kind and (isa or "").startswith("gfx"))
    packed = first_number(rows.get("bdfid"))
    domain = first_number(rows.get("domain")) or 0
    uuid = rows.get("uuid", "")
    properties = rows.get("memory properties")
    chip = first_number(rows.get("chip id"))
    return Agent(
        offset=at, number=number, gpu=gpu, isa=isa, name=meaningful(clean_text(rows.get("marketing name", ""), 96)),
        uuid=clean_text(uuid, 40) if uuid and not uuid.endswith("-XX") else None, node=first_number(rows.get("node")),
        chip=chip if chip is not None and 0 < chip < 0x10000 else None,
        compute_units=first_number(rows.get("compute unit")),
        bdf=packed_bdf(packed & 0xFFFF, f"{domain & 0xFFFFFFFF:04x}") if gpu and packed else None,
        of_processor=None if properties is None else "APU" in properties.upper() or None,
        pools=tuple(Pool(clean_text(pool.get("segment", ""), 64),
                         size * 1024 if (size := first_number(pool.get("size"))) is not None else None)
                    for pool in pools))

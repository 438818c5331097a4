"""lspci text of any flavour, read: plain, -v to -vvv, -n, -nn, -D, -k, -mm, -vmm, -t, with or without -x to -xxxx.

`parse` takes lines as people paste them: indented or not, broken by mailers, cut at both ends, several runs after each
other. Where bytes are printed (-x) they are decoded and preferred. Nothing here raises on any text; time is linear in
it, and `MAX_FUNCTIONS` bounds the result.

Sources  pciutils 3.9.0 and 3.14 (lspci.c, ls-caps.c, ls-ecaps.c, ls-kernel.c, ls-tree.c) for the wordings;
         `decode/pci_*` for the bytes.
By hand  sudo lspci -vvv -nn
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from boxcheck.decode import lspci_facts as facts_of_text
from boxcheck.decode.lspci_block import Block
from boxcheck.decode.lspci_hex import decode_rows, disagreements, facts_of
from boxcheck.decode.lspci_lines import (
    COMPLAINT,
    EXPRESS_KEYS,
    HEADER_KEYS,
    KERNEL_KEYS,
    REGISTER_KEYS,
    clean,
    is_continuation,
    is_foreign,
    is_tree,
    is_unkept,
    key_of,
    read_group,
    read_head,
    read_hex_row,
    read_slot,
)
from boxcheck.decode.lspci_merge import changes_of, merged
from boxcheck.decode.lspci_tree import Tree
from boxcheck.decode.lspci_types import LspciChange, LspciDump, LspciFunction, LspciRebar, LspciRegion
from boxcheck.decode.text import clean_text
from boxcheck.model import Bdf

__all__ = ["LspciChange", "LspciDump", "LspciFunction", "LspciRebar", "LspciRegion", "parse"]

MAX_FUNCTIONS = 16384
"""A machine with 8 GPUs and all virtual functions has under a thousand; a bus number space has 65536."""
MAX_COMPLAINTS = 8
WRAPPED = 48
"""A line that a mailer broke is at least this long: the break stands where the next word would pass column 72, and the
longest word of a device's name is about 24 characters."""

_CONTEXTS: tuple[tuple[str, str], ...] = (
    ("Express", "express"), ("Power Management", "pm"), ("Advanced Error Reporting", "aer"),
    ("Access Control Services", "acs"), ("Physical Resizable BAR", "rebar"), ("Downstream Port Containment", "dpc"),
    ("Secondary PCI Express", "secondary"), ("Device Serial Number", "serial"),
)  # fmt: skip
_CAPABILITY = re.compile(r"\[([0-9a-f]{2,3})(?: v\d{1,2})?\] (.*)")
_PLACE = re.compile(r"(?:\[virtual\] )?(?:Memory|I/O ports) at |Region [0-5]: ")
_REBAR_LINE = re.compile(r"BAR ([0-5]): (current .*)")


class _Reader:
    """The state between lines: which function, which of its fields goes on with the next line."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.tree = Tree()
        self.complaints: list[str] = []
        self.flavours: set[str] = set()
        self.truncated = False
        self._block: Block | None = None
        self._group: int | None = None
        self.in_runs: list[set[Bdf]] = []
        self._length = 0
        """Of the line before, to tell a broken line from a stray word."""

    def take(self, number: int, line: str) -> None:
        text = clean(line)
        if not text:
            self._rest(None)
            return
        self._read(number, line, text)
        self._length = len(text)

    def _read(self, number: int, line: str, text: str) -> None:
        block = self._block
        if (head := read_head(text)) is not None:
            self._begin(number, head.bdf)
            assert self._block is not None
            self._block.head = head.rest
            self._block.quoted = head.kind == "mm"
            self._block.facts["iommu_group"] = head.group if head.group is not None else self._group
            self.flavours |= {"-mm"} if head.kind == "mm" else set()
        elif (row := read_hex_row(text)) is not None:
            if block is not None:
                block.rows.append(text)
                block.rest = None
                self.flavours.add("-x" if row[0] < 0x40 else "-xxx")
        elif (slot := read_slot(text)) is not None and not (block is not None and block.vmm and block.bdf is None):
            self._begin(number, slot)
            assert self._block is not None
            self._block.vmm = True
            self.flavours.add("-vmm")
        elif is_tree(line):  # before the rest, since a name in a tree may look like anything
            self.tree.take(number, line)
            self.flavours.add("-t")
        elif (group := read_group(text)) is not None:
            self._group = group
        elif COMPLAINT.match(text):
            if len(self.complaints) < MAX_COMPLAINTS:
                self.complaints.append(clean_text(text))
        elif block is not None and block.vmm:
            block.take_vmm(text)
        elif is_foreign(text):
            self._rest(None)
        else:
            self._detail(number, text)

    def _rest(self, what: Any) -> None:
        if self._block is not None:
            self._block.rest = what

    def _begin(self, number: int, bdf: Bdf | None) -> None:
        if len(self.blocks) >= MAX_FUNCTIONS:
            self.truncated = True
            self._block = Block(number, bdf)  # a place to put its lines; nobody looks at it again
            return
        if bdf is not None:
            if not self.in_runs or bdf in self.in_runs[-1]:
                self.in_runs.append(set())
            self.in_runs[-1].add(bdf)
        self._block = Block(number, bdf)
        self.blocks.append(self._block)

    def _owner(self, number: int, register: str | None = None) -> Block:
        """The function that a line belongs to. A register that it has already, when no line names the function, is of
        the next one (`lspci -vv | grep LnkSta`)."""
        block = self._block
        if block is None or (block.bdf is None and register is not None and register in block.fields):
            self._begin(number, None)
            block = self._block
        assert block is not None
        return block

    def _detail(self, number: int, text: str) -> None:
        if _PLACE.match(text):
            block = self._owner(number)
            if block.context == "":
                block.regions.append(text)
                block.rest = block.regions
                self.flavours.add("-vv" if text.startswith("Region") else "-v")
            else:
                block.rest = None  # Regions of SR-IOV
            return
        if bar := _REBAR_LINE.match(text):
            block = self._owner(number)
            if block.context in ("rebar", ""):
                block.rebars.setdefault(int(bar[1]), []).append(bar[2])
                block.rest = block.rebars[int(bar[1])]
            return
        keyed = key_of(text)
        if keyed is None and is_unkept(text):
            self._rest(None)
        elif keyed is None:
            self._more(text)
        else:
            self._keyed(number, *keyed)

    def _more(self, text: str) -> None:
        """A line without a name: more of what the line before it said, or of nothing that is kept."""
        block = self._block
        if block is None:
            return
        if text.startswith("!!! Unknown header type 7f"):
            block.facts["gone"] = True
        elif text.startswith("<access denied"):
            block.facts["denied"] = True
        elif block.rest is not None and (block.rest is not block.head_parts or self._length >= WRAPPED):
            # Prose that follows a paste must not become part of a register.
            if block.rest is not block.head_parts and not is_continuation(text):
                return
            block.rest.append(text)

    def _keyed(self, number: int, key: str, value: str) -> None:
        if key == "Capabilities":
            self._capability(self._owner(number), value)
        elif key in KERNEL_KEYS:
            self._put(self._owner(number, key), key, value)
            self.flavours.add("-k")
        elif key in REGISTER_KEYS or key in ("AtomicOpsCap", "AtomicOpsCtl"):
            self._register(number, key, value)
        elif key == "Status" and self._block is not None and self._block.context == "pm":
            self._put(self._block, "PM Status", value)
        elif key in HEADER_KEYS:
            block = self._block
            if key == "Control" and value.startswith("Att"):
                # The second half of SltCtl: its `Power+` is what the slot is told.
                if block is not None and block.rest is not None and block.rest is block.fields.get("SltCtl"):
                    block.rest.append(f"{key}: {value}")
                return
            block = self._owner(number, key)
            if block.context == "":
                self._put(block, key, value)
                if key == "Flags":
                    self.flavours.add("-v")
        elif self._block is not None:
            self._block.rest = None

    def _register(self, number: int, key: str, value: str) -> None:
        self.flavours.add("-vv")
        if key.startswith("AtomicOps"):
            block = self._owner(number)
            where = "DevCap2" if key == "AtomicOpsCap" else "DevCtl2"
            if where in block.fields:
                block.fields[where].append(f"{key}: {value}")
                block.rest = block.fields[where]
                return
        if key == "RootSta" and "PME ReqID" in value:
            key = "RootSta PME"
        block = self._owner(number, key)
        if block.context == "" or (key in EXPRESS_KEYS and block.context != "express"):
            block.context = "registers"
        self._put(block, key, value)

    def _put(self, block: Block, key: str, value: str) -> None:
        if key in block.fields:
            block.rest = None  # the first one counts: a register stands once
            return
        block.rest = block.fields[key] = [value]

    def _capability(self, block: Block, value: str) -> None:
        if value.startswith("<access denied"):
            block.facts["denied"] = True
            block.context, block.rest = "capabilities", None
            return
        match = _CAPABILITY.match(value)
        if match is None:
            block.context, block.rest = "capabilities", None
            return
        title = match[2]
        self.flavours.add("-v")
        block.context = next((name for words, name in _CONTEXTS if title.startswith(words)), "capabilities")
        block.rest = [title]
        if len(block.titles) < 128:
            block.titles.append((block.context, block.rest))


def _function(block: Block) -> LspciFunction:
    """A block, with its bytes preferred to its text."""
    facts: dict[str, Any] = {}
    for context, title in block.titles:
        if context == "express":
            facts |= facts_of_text.express_title(" ".join(title))
        elif context == "serial":
            facts |= facts_of_text.serial(title[0])
    for key, parts in block.fields.items():
        reader = facts_of_text.REGISTERS.get(key)
        text = " ".join(parts)
        facts |= reader(text) if reader is not None else facts_of_text.header(key, text)
    facts["regions"] = facts_of_text.regions(_joined(block.regions))
    if block.rebars:
        facts["rebar"] = facts_of_text.rebar({bar: " ".join(parts) for bar, parts in block.rebars.items()})
    facts["detailed"] = any(key in REGISTER_KEYS for key in block.fields)
    facts |= block.identity()
    facts |= {name: value for name, value in block.facts.items() if value is not None}
    if block.rows:
        space = decode_rows(block.rows)
        if space is not None:
            told = facts_of(space)
            differs = disagreements(facts, told)
            detailed = facts["detailed"] or told.get("detailed", False)
            gone = facts.get("gone", False) or told.get("gone", False)
            facts |= told
            facts |= {"disagrees": differs, "detailed": detailed, "gone": gone}
    return LspciFunction(line=block.line, bdf=block.bdf, **facts)


def _vanished(runs: list[set[Bdf]]) -> tuple[Bdf, ...]:
    """What a later list lacks, unless it is no list of the whole machine (`lspci -s`, a paste cut short)."""
    if len(runs) < 2:
        return ()
    last, before = runs[-1], runs[-2]
    return tuple(sorted(before - last)) if len(last) >= 4 and 2 * len(before & last) >= len(before) else ()


def _joined(lines: list[str]) -> list[str]:
    """Regions with their broken ends: a line that does not begin one is the rest of the one before."""
    found: list[str] = []
    for line in lines:
        if found and not _PLACE.match(line):
            found[-1] += " " + line
        else:
            found.append(line)
    return found


def parse(lines: Iterable[str]) -> LspciDump:
    """Read the lines of a text. See the module."""
    reader = _Reader()
    for number, line in enumerate(lines):
        reader.take(number, line)
    runs: dict[Bdf, list[LspciFunction]] = {}
    nameless: list[LspciFunction] = []
    for block in reader.blocks:
        function = _function(block)
        if function.bdf is None:
            nameless.append(function)
        else:
            runs.setdefault(function.bdf, []).append(function)
        if block.identified:
            reader.flavours.add(block.identified)
    found = {bdf: merged(readings) for bdf, readings in runs.items()}
    for node in reader.tree.nodes:
        here = found.get(node.bdf)
        if here is not None:
            found[node.bdf] = msgspec.structs.replace(here, tree_parent=node.parent)
        elif len(found) < MAX_FUNCTIONS:
            found[node.bdf] = LspciFunction(
                line=node.line, bdf=node.bdf, name=node.name, vendor=node.vendor, device=node.device,
                tree_parent=node.parent, secondary_bus=node.secondary_bus, subordinate_bus=node.subordinate_bus)
    return LspciDump(
        functions=(*found.values(), *nameless),
        runs=len(reader.in_runs),
        vanished=_vanished(reader.in_runs),
        changes=tuple(change for readings in runs.values() if len(readings) > 1 for change in changes_of(readings)),
        complaints=tuple(reader.complaints),
        flavours=frozenset(reader.flavours),
        tree_flattened=reader.tree.flattened,
        truncated=reader.truncated,
    )

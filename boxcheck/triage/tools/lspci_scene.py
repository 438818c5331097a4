"""What lspci shows of a machine as a whole: which GPU hangs below which ports, and the links between them as pairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

import msgspec

from boxcheck.decode.lspci import LspciDump, LspciFunction
from boxcheck.model import Bdf
from boxcheck.probes.gpus import DISPLAY_CLASSES, GPU_VENDORS, VENDOR_NAMES
from boxcheck.probes.links import INTEL, ON_CARD_DOWNSTREAM, ON_CARD_UPSTREAM
from boxcheck.profile import GpuPart
from boxcheck.triage.tools.lspci_names import device_of, part_for

MAX_DEPTH = 64
"""Bridges above a function. The longest chain of a real machine is under 12; a loop of bus numbers ends here."""
VIRTUAL_PORTS = frozenset(((0x1B36, 0x000C), (0x1B36, 0x000E), (0x15AD, 0x07A0)))
"""Ports that a hypervisor makes up (QEMU root port and bridge, VMware): their link registers say nothing."""
_VIRTUAL_NAMES = ("Red Hat, Inc. QEMU", "VMware")
_DOWNSTREAM = frozenset(("root-port", "downstream-port", "pci-to-pcie-bridge"))
FEWEST = 6
"""Functions of a machine. A virtual one of QEMU has that many; a text with fewer was cut out."""
_GPU_MAKERS = (0x10DE,)
"""Whose audio, USB and bridge functions come with a GPU, so that `grep -i nvidia` shows them. AMD and Intel make the
rest of the machine as well."""
_RDNA = ("gfx10", "gfx11", "gfx12")
"""Architectures whose cards carry a switch of their own."""


class Gpu(msgspec.Struct, frozen=True):
    """A GPU that does work: not the graphics of a management controller, nor a virtual function."""

    function: LspciFunction
    part: GpuPart | None
    integrated: bool
    """Part of the processor: no slot, no memory of its own."""

    @property
    def bdf(self) -> Bdf:
        assert self.function.bdf is not None
        return self.function.bdf

    @property
    def name(self) -> str:
        """`RTX 4090`; else what lspci calls it."""
        if self.part is not None:
            return self.part.name
        vendor = VENDOR_NAMES[GPU_VENDORS[self.function.vendor or 0]]
        name = self.function.name or ""
        inner = name[name.find("[", 24) + 1 : -1] if name.endswith("]") and "[" in name[24:] else ""
        return f"{vendor} {inner}" if inner else f"{vendor} GPU"

    @property
    def has_own_switch(self) -> bool:
        """RDNA: the GPU's own link is on the card and says nothing about the slot."""
        if self.function.vendor != 0x1002 or self.integrated:
            return False
        if self.part is not None:
            return self.part.arch.startswith(_RDNA)
        return "Navi" in (self.function.name or "")


class Link(msgspec.Struct, frozen=True):
    """A port and what hangs below it."""

    port: LspciFunction
    below: LspciFunction | None
    """None where the text shows nothing on that bus."""
    on_card: bool
    """Between a card's own switch and its GPU."""
    gpus: tuple[Gpu, ...]
    """Discrete GPUs anywhere below."""


def short(bdf: str | None) -> str:
    """`0000:41:00.0` -> `41:00.0`; other domains stay whole."""
    return "?" if bdf is None else bdf[5:] if bdf.startswith("0000:") else bdf


class Scene:
    """The functions of a dump with what lies between them."""

    def __init__(self, dump: LspciDump) -> None:
        self.dump = dump
        self.functions: dict[Bdf, LspciFunction] = {
            function.bdf: function for function in dump.functions if function.bdf is not None}
        self.nameless = tuple(function for function in dump.functions if function.bdf is None)
        self.parents: Mapping[Bdf, Bdf] = dict(self._parents())
        self.children: dict[Bdf, list[Bdf]] = {}
        for child, parent in self.parents.items():
            self.children.setdefault(parent, []).append(child)

    def _parents(self) -> Iterator[tuple[Bdf, Bdf]]:
        buses: dict[tuple[str, int], Bdf] = {}
        for bdf, function in self.functions.items():
            if function.secondary_bus:
                buses.setdefault((bdf[:-8], function.secondary_bus), bdf)
        for bdf, function in self.functions.items():
            parent = function.tree_parent or buses.get((bdf[:-8], int(bdf[-7:-5], 16)))
            if parent is not None and parent != bdf:
                yield bdf, parent

    def above(self, bdf: Bdf) -> tuple[Bdf, ...]:
        """The bridges between a function and its root, nearest first."""
        found: list[Bdf] = []
        here = self.parents.get(bdf)
        while here is not None and here not in found and len(found) < MAX_DEPTH:
            found.append(here)
            here = self.parents.get(here)
        return tuple(found)

    @cached_property
    def gpus(self) -> tuple[Gpu, ...]:
        """By address."""
        return tuple(
            self._gpu(function) for _, function in sorted(self.functions.items()) if self._is_gpu(function))

    @cached_property
    def gpu_at(self) -> Mapping[Bdf, Gpu]:
        return {gpu.bdf: gpu for gpu in self.gpus}

    def _is_gpu(self, function: LspciFunction) -> bool:
        if function.vendor not in GPU_VENDORS or (function.class_code or 0) >> 8 not in DISPLAY_CLASSES:
            return False
        return not is_virtual_function(function)

    def _gpu(self, function: LspciFunction) -> Gpu:
        part = part_for(function)
        assert function.bdf is not None
        if part is not None:
            integrated = part.vram_gib == 0
        else:
            integrated = function.vendor == INTEL and function.bdf[-7:-5] == "00"
        return Gpu(function, part, integrated)

    @cached_property
    def gpus_below(self) -> Mapping[Bdf, tuple[Gpu, ...]]:
        """Bridge -> discrete GPUs anywhere below it."""
        found: dict[Bdf, list[Gpu]] = {}
        for gpu in self.gpus:
            if not gpu.integrated:
                for bridge in self.above(gpu.bdf):
                    found.setdefault(bridge, []).append(gpu)
        return {bridge: tuple(gpus) for bridge, gpus in found.items()}

    @cached_property
    def links(self) -> tuple[Link, ...]:
        """Every downstream port that shows link registers, in the order of the text."""
        found = []
        for bdf, port in self.functions.items():
            if port.port_type not in _DOWNSTREAM or port.gone or _is_virtual(port):
                continue
            if port.width is None and port.speed_gts is None:
                continue
            below = self._first(self.children.get(bdf, ()))
            found.append(Link(port, below, self._on_card(port, below), self.gpus_below.get(bdf, ())))
        return tuple(found)

    def _first(self, children: list[Bdf] | tuple[Bdf, ...]) -> LspciFunction | None:
        """Function 0, which speaks for a card's link."""
        return self.functions.get(min(children)) if children else None

    def _on_card(self, port: LspciFunction, below: LspciFunction | None) -> bool:
        if (port.vendor, device_of(port)) in ON_CARD_DOWNSTREAM:
            return True
        return (
            port.vendor == INTEL and port.bdf in self.parents and below is not None and below.vendor == INTEL
            and (below.class_code or 0) >> 16 == 0x03)

    def own_switch(self, function: LspciFunction | None) -> bool:
        """Whether this is the upstream port of a card's own switch, which rests as its GPU does."""
        if function is None:
            return False
        if (function.vendor, device_of(function)) in ON_CARD_UPSTREAM:
            return True
        children = self.children.get(function.bdf or Bdf(""), ())
        return any(
            self._on_card(self.functions[child], self._first(self.children.get(child, ())))
            for child in children if child in self.functions)

    @cached_property
    def shows_whole_bus(self) -> bool:
        """Whether the text is the list of a whole machine, not what grep, -s or -d left of it: it begins with the root
        of the first bus, has bridges, and devices that are neither bridge nor GPU."""
        if self.nameless or self.dump.truncated or len(self.functions) < FEWEST:
            return False
        first = next(iter(self.functions))
        bases = {(function.class_code or 0) >> 16 for function in self.functions.values()
                 if function.vendor not in _GPU_MAKERS}
        return first.endswith(":00:00.0") and 0x06 in bases and bool(bases - {0x00, 0x03, 0x06, 0x12})

    @cached_property
    def shows_drivers(self) -> bool:
        """Whether the text prints drivers at all."""
        return any(function.driver is not None for function in self.functions.values())

    @cached_property
    def last_line(self) -> int:
        """Where the last function begins."""
        return max((function.line for function in self.functions.values()), default=0)

    @cached_property
    def link_of(self) -> Mapping[Bdf, Link]:
        """By the port."""
        return {link.port.bdf: link for link in self.links if link.port.bdf is not None}

    def slot_link(self, gpu: Gpu) -> Link | None:
        """The link of the slot: the nearest one above that is not on the card itself. None where the text lacks it."""
        for bridge in self.above(gpu.bdf):
            link = self.link_of.get(bridge)
            if link is not None and not link.on_card:
                return link
        return None

    @cached_property
    def gpu_ends(self) -> frozenset[Bdf]:
        """Both ends of every link on the way to a discrete GPU."""
        ends: set[Bdf] = {gpu.bdf for gpu in self.gpus if not gpu.integrated}
        for bridge, gpus in self.gpus_below.items():
            if gpus:
                ends.add(bridge)
        return frozenset(ends)


def _is_virtual(port: LspciFunction) -> bool:
    return (port.vendor, port.device) in VIRTUAL_PORTS or (port.name or "").startswith(_VIRTUAL_NAMES)


def is_virtual_function(function: LspciFunction) -> bool:
    """An SR-IOV virtual function: it has no link of its own (x0), and its BARs are the physical function's."""
    memory = [region for region in function.regions if region.memory]
    return function.width == 0 and not function.gone and bool(memory) and all(
        region.state == "virtual" for region in memory)

"""One machine, joined from all evidence by PCI address: a dmesg names the port, the lspci its slot and width, the
nvidia-smi the serial of the card behind it.

The topology comes from bridges' bus numbers and from parents that a tool printed; where neither is there, from who
reported whose error. Values that two pieces of evidence give differently are kept from the first, and said.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from boxcheck.model import Bdf
from boxcheck.probes.gpus import DISPLAY_CLASSES, GPU_VENDORS
from boxcheck.probes.links import ON_CARD_DOWNSTREAM, ON_CARD_UPSTREAM
from boxcheck.profile import GpuPart, part_of
from boxcheck.triage.evidence import Device, Evidence
from boxcheck.triage.tools.matrix_cards import part_called

BRIDGE = 0x0604
_IDENTITY = ("vendor", "device")
_MOST_CHAIN = 32
MOST_DEVICES = 20_000
"""A hostile text names any number of devices; the largest real dump at hand has 517."""


class Known(msgspec.Struct, frozen=True):
    """A device as all evidence together describes it."""

    device: Device
    sources: tuple[int, ...]
    """Indices of the sources that speak of it."""

    @property
    def pci_id(self) -> str | None:
        """`10de:2684`, None where no evidence has it."""
        if self.device.vendor is None or self.device.device is None:
            return None
        return f"{self.device.vendor:04x}:{self.device.device:04x}"

    @property
    def part(self) -> GpuPart | None:
        """The card of the GPU database, by id and revision; by its whole name where no evidence has the id."""
        if self.pci_id is not None:
            return part_of(self.pci_id, self.device.revision)
        return part_called(self.device.name) if self.device.name else None


def bus_of(bdf: Bdf) -> str:
    """The address as people write it: without the domain where that is 0."""
    return bdf[5:] if bdf.startswith("0000:") else bdf


def _bus_number(bdf: Bdf) -> int:
    return int(bdf.rsplit(":", 2)[1], 16)


class Machine:
    """What is known of the machine. Built once, then read."""

    def __init__(self) -> None:
        self.devices: dict[Bdf, Known] = {}
        self.unplaced: list[Device] = []
        """Devices that no evidence gives an address for, and that are no other device's twin by UUID or serial."""
        self.box: dict[str, str] = {}
        self.host: str | None = None
        """Its name, where a log's envelopes have it."""
        self.disputes: list[str] = []
        """Where pieces of evidence contradict each other."""
        self._reporters: dict[Bdf, Bdf] = {}
        self._gpus: set[Bdf] = set()
        self._parents: dict[Bdf, Bdf] = {}
        self._children: dict[Bdf, list[Bdf]] = {}
        self._disputed: set[Bdf] = set()
        self._marks: dict[str, Bdf] = {}
        """UUID or serial -> address."""

    # Building

    def add(self, evidence: Evidence, source: int) -> None:
        """Take in what one piece of evidence says."""
        for name, value in evidence.box.items():
            self.box.setdefault(name, value)
        for device in evidence.devices:
            if device.bdf is None:
                twin = self._twin(device)
                if twin is None:
                    if len(self.unplaced) < MOST_DEVICES:
                        self.unplaced.append(device)
                    continue
                device = msgspec.structs.replace(device, bdf=twin)
            self._put(device, source)

    def heard(self, bdf: Bdf, reporter: Bdf | None = None, *, gpu: bool = False) -> None:
        """An event is about this device, and this port above it reported it."""
        if gpu:
            self._gpus.add(bdf)
        if reporter is not None and reporter != bdf:
            self._reporters.setdefault(bdf, reporter)

    def finish(self) -> None:
        """All evidence is in: place what came before its address was known, and derive the topology."""
        waiting, self.unplaced = self.unplaced, []
        for device in waiting:
            twin = self._twin(device)
            if twin is None:
                self.unplaced.append(device)
            else:
                self._put(msgspec.structs.replace(device, bdf=twin), -1)
        self._trust_reporters()
        behind: dict[tuple[str, int], Bdf] = {}
        for bdf, known in self.devices.items():
            if known.device.secondary_bus:
                behind.setdefault((bdf.rsplit(":", 2)[0], known.device.secondary_bus), bdf)
        for bdf, known in self.devices.items():
            above = known.device.parent or behind.get((bdf.rsplit(":", 2)[0], _bus_number(bdf)))
            if above is not None and above != bdf:
                self._parents[bdf] = above
        for bdf in sorted({*self.devices, *self._reporters}):
            above = self.parent(bdf)
            if above is not None:
                self._children.setdefault(above, []).append(bdf)

    def _trust_reporters(self) -> None:
        """A port that reports the errors of one bus only, of its device 0, is taken for the port right above it: a
        port has one device below, number 0. Of more there is a switch between, and nobody knows which port of it."""
        buses: dict[Bdf, set[str]] = {}
        for bdf, port in self._reporters.items():
            buses.setdefault(port, set()).add(bdf.rsplit(":", 1)[0])
        self._reporters = {
            bdf: port for bdf, port in self._reporters.items()
            if len(buses[port]) == 1 and bdf.rsplit(":", 1)[1].startswith("00.") and port.rsplit(":", 1)[0]
            != bdf.rsplit(":", 1)[0]}

    def by_mark(self, device: Device) -> Bdf | None:
        """The address of the device with this UUID or serial."""
        return self._twin(device)

    def _twin(self, device: Device) -> Bdf | None:
        """The address under which a device without one is known by its UUID or serial."""
        for mark in (device.uuid, device.serial):
            if mark is not None and mark in self._marks:
                return self._marks[mark]
        return None

    def _put(self, device: Device, source: int) -> None:
        bdf = device.bdf
        assert bdf is not None
        for mark in (device.uuid, device.serial):
            if mark:
                self._marks.setdefault(mark, bdf)
        known = self.devices.get(bdf)
        if known is None:
            if len(self.devices) >= MOST_DEVICES:
                return
            self.devices[bdf] = Known(device, (source,) if source >= 0 else ())
            return
        self._dispute(known.device, device)
        fields = {}
        for name in Device.__struct_fields__:
            before, now = getattr(known.device, name), getattr(device, name)
            if before in (None, (), {}) and now not in (None, (), {}):
                fields[name] = now
            elif name == "more" and now:
                fields[name] = {**now, **before}
        sources = known.sources if source in known.sources or source < 0 else (*known.sources, source)
        self.devices[bdf] = Known(msgspec.structs.replace(known.device, **fields), sources)

    def _dispute(self, before: Device, now: Device) -> None:
        bdf = before.bdf
        if bdf is None or bdf in self._disputed:
            return
        for name in _IDENTITY:
            one, two = getattr(before, name), getattr(now, name)
            if one is not None and two is not None and one != two:
                self._disputed.add(bdf)
                self.disputes.append(
                    f"{bus_of(bdf)} is {before.vendor or 0:04x}:{before.device or 0:04x} in one piece of evidence and "
                    f"{now.vendor or 0:04x}:{now.device or 0:04x} in another: they may be of two machines")
                return

    # Topology

    def parent(self, bdf: Bdf) -> Bdf | None:
        """The bridge above, None where no evidence tells (or on a root bus)."""
        return self._parents.get(bdf) or self._reporters.get(bdf)

    def ancestors(self, bdf: Bdf) -> Iterator[Bdf]:
        """The bridges above, nearest first."""
        seen = {bdf}
        here = self.parent(bdf)
        while here is not None and here not in seen and len(seen) < _MOST_CHAIN:
            yield here
            seen.add(here)
            here = self.parent(here)

    def _ids(self, bdf: Bdf) -> tuple[int, int] | None:
        known = self.devices.get(bdf)
        if known is None or known.device.vendor is None or known.device.device is None:
            return None
        return known.device.vendor, known.device.device

    def link(self, bdf: Bdf) -> Bdf:
        """The link that a device's own errors are about, named by the port above it; `bdf` itself for a port that has
        something below, and where nothing is known."""
        known = self.devices.get(bdf)
        if known is not None and not self._looks_up(bdf, known.device):
            return bdf
        return self.parent(bdf) or bdf

    def slot_link(self, bdf: Bdf) -> Bdf:
        """The link of the slot that a device's card sits in. A card's own switch (RDNA: 1002:1478 over 1002:1479)
        belongs to the card: the slot's link is the one above it."""
        link = self.link(bdf)
        while self.on_card(link):
            above = self.parent(link)
            if above is None:
                break
            link = self.link(above) if self._ids(above) in ON_CARD_UPSTREAM else above
        return link

    def on_card(self, link: Bdf) -> bool:
        """Whether a link runs between a card's own switch and its GPU."""
        return self._ids(link) in ON_CARD_DOWNSTREAM

    def is_root_port(self, bdf: Bdf) -> bool:
        """Whether nothing is above it, as far as the evidence goes, and something is below."""
        known = self.devices.get(bdf)
        if known is not None and known.device.port_type is not None:
            return known.device.port_type == "root-port"
        return self.parent(bdf) is None and bool(self._children.get(bdf))

    def _looks_up(self, bdf: Bdf, device: Device) -> bool:
        """Whether the link that it speaks of is the one above: an endpoint, or the upstream port of a switch."""
        ids = self._ids(bdf)
        if ids in ON_CARD_UPSTREAM:
            return True
        if ids in ON_CARD_DOWNSTREAM:
            return False
        if device.port_type is not None:
            return device.port_type not in ("root-port", "downstream-port")
        is_bridge = device.secondary_bus is not None or (
            device.class_code is not None and device.class_code >> 8 == BRIDGE)
        return not is_bridge

    def below(self, port: Bdf) -> tuple[Bdf, ...]:
        """All devices known to hang below a port, at any depth."""
        found: dict[Bdf, None] = {}
        waiting = [port]
        while waiting:
            for child in self._children.get(waiting.pop(), ()):
                if child not in found and child != port:
                    found[child] = None
                    waiting.append(child)
        return tuple(found)

    def all_devices(self) -> tuple[Device, ...]:
        """The devices with an address, in order, then those without."""
        return (*(self.devices[bdf].device for bdf in sorted(self.devices)), *self.unplaced)

    # GPUs and names

    def is_gpu(self, bdf: Bdf) -> bool:
        """Whether evidence says that this function is a GPU, by its class or by whose driver speaks of it."""
        known = self.devices.get(bdf)
        if known is not None and known.device.class_code is not None:
            return known.device.class_code >> 8 in DISPLAY_CLASSES and known.device.vendor in (None, *GPU_VENDORS)
        return bdf in self._gpus or (known is not None and known.part is not None)

    def is_other(self, bdf: Bdf) -> bool:
        """Whether it is known to be a device that is neither a GPU nor a bridge: a network card, a drive."""
        return self._is_endpoint(bdf) and not self.is_gpu(bdf)

    def vendor(self, bdf: Bdf) -> int | None:
        """PCI vendor id, None where no evidence has it."""
        known = self.devices.get(bdf)
        return known.device.vendor if known is not None else None

    def driver(self, bdf: Bdf) -> str | None:
        """The driver that holds it, None where no evidence says."""
        known = self.devices.get(bdf)
        return known.device.driver if known is not None else None

    def gpus(self) -> tuple[Bdf, ...]:
        """Addresses of all GPUs, in order."""
        return tuple(sorted(bdf for bdf in {*self.devices, *self._gpus} if self.is_gpu(bdf)))

    def gpu_of(self, link: Bdf) -> Bdf | None:
        """The one GPU below a link, None where none or several are known."""
        if self.is_gpu(link):
            return link
        found = [bdf for bdf in self.below(link) if self.is_gpu(bdf)]
        return found[0] if len(found) == 1 else None

    def same_card(self, one: Bdf, two: Bdf) -> bool:
        """Whether two functions are of one card."""
        return one.rsplit(".", 1)[0] == two.rsplit(".", 1)[0]

    def slot(self, bdf: Bdf) -> str | None:
        """Name of the slot that a device sits in, or that a port serves."""
        for here in (bdf, *self.ancestors(bdf)):
            known = self.devices.get(here)
            if known is not None and known.device.slot:
                return known.device.slot
        gpu = self.gpu_of(bdf)
        known = self.devices.get(gpu) if gpu is not None else None
        return known.device.slot if known is not None else None

    def model(self, bdf: Bdf) -> str | None:
        """Short name of what the device is: `RTX 4090`."""
        known = self.devices.get(bdf)
        if known is None:
            return None
        return known.part.name if known.part is not None else known.device.name

    def name(self, bdf: Bdf) -> str:
        """For a sentence: `RTX 4090 41:00.0`, `GPU 41:00.0`, `40:01.1`."""
        model = self.model(bdf) if self.is_gpu(bdf) or self._is_endpoint(bdf) else None
        return f"{model or 'GPU'} {bus_of(bdf)}" if model or self.is_gpu(bdf) else bus_of(bdf)

    def _is_endpoint(self, bdf: Bdf) -> bool:
        known = self.devices.get(bdf)
        return known is not None and known.device.class_code is not None and known.device.class_code >> 8 != BRIDGE

    def short(self, bdf: Bdf) -> str:
        """For a column: the slot where it is known, and the address."""
        slot = self.slot(bdf)
        return f"{slot_words(slot)} {bus_of(bdf)}" if slot else bus_of(bdf)

    def where(self, bdf: Bdf) -> str:
        """The chain as a builder would walk it: `root port 40:01.1 > slot PCIE3 > RTX 4090 41:00.0 (serial 4417)`."""
        link = self.slot_link(bdf)
        end = bdf if bdf != link else self.gpu_of(link)
        if end is None:
            children = sorted(self.below(link))
            end = children[0] if len({child.rsplit(".", 1)[0] for child in children}) == 1 else None
        steps = []
        known = self.devices.get(link)
        if link != end:
            root = known is not None and known.device.port_type == "root-port"
            steps.append(f"{'root port' if root else 'port'} {bus_of(link)}")
        slot = self.slot(bdf)
        if slot:
            steps.append(f"slot {slot}")
        if end is not None:
            steps.append(self.name(end) + self._serial(end))
        return " > ".join(steps)

    def _serial(self, bdf: Bdf) -> str:
        known = self.devices.get(bdf)
        serial = known.device.serial if known is not None else None
        return f" (serial {serial})" if serial and self.is_gpu(bdf) else ""


def slot_words(slot: str) -> str:
    """Boards that print plain numbers on their slots get the word with it."""
    return f"slot {slot}" if slot.isdigit() else slot


def join(pieces: Iterable[tuple[Evidence, int]], heard: Iterable[tuple[Bdf, Bdf | None, bool]]) -> Machine:
    """The machine behind pieces of evidence (each with its source) and events (device, reporting port, is a GPU)."""
    machine = Machine()
    # Of two runs of lspci the later one is the machine as it is now.
    order = list(enumerate(pieces))
    order.sort(key=lambda entry: (_rank(entry[1][0].tool), -entry[0] if entry[1][0].tool.startswith("lspci") else 0))
    for _, (evidence, source) in order:
        machine.add(evidence, source)
    for bdf, reporter, gpu in heard:
        machine.heard(bdf, reporter, gpu=gpu)
    machine.finish()
    return machine


_RANKS: Mapping[str, int] = {"lspci": 0, "capture": 0, "dmidecode": 1, "nvidia-smi": 2}


def _rank(tool: str) -> int:
    """What knows the bus best goes first: of two values the first is kept."""
    return next((rank for word, rank in _RANKS.items() if tool.startswith(word)), 3)

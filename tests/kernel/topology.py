"""The machines of the bench: root ports on host bridges, cards below them, switches on cards, kernel command lines.

A card is QEMU's virtio-rng behind a port: the one endpoint that reports all errors which are injected into it. It is given
a GPU's identity and link before the guest's kernel looks, so that the kernel finds a GPU from its first line on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tests.kernel.poke import Memory, Space

VIRTIO, RNG = 0x1AF4, 0x1044
REDHAT, ROOT_PORT = 0x1B36, 0x000C
TEXAS, UPSTREAM, DOWNSTREAM = 0x104C, 0x8232, 0x8233
"""QEMU's x3130-upstream and xio3130-downstream."""


@dataclass(frozen=True)
class Identity:
    vendor: int
    device: int
    card: tuple[int, int]
    revision: int
    width: int = 16
    speed_gts: float = 16.0
    class_code: int = 0x030000


RTX_4090 = Identity(0x10DE, 0x2684, (0x10DE, 0x167C), 0xA1)
RX_7900_XTX = Identity(0x1002, 0x744C, (0x1EAE, 0x7901), 0xC8)


@dataclass(frozen=True)
class Slot:
    """A root port and what is in it. Devices are called g0 and rp0 by number, s0 and d0 a card's own switch."""

    number: int
    bus: int
    """Number of the host bridge's bus."""
    filled: bool = True
    switch: bool = False
    hotplug: bool = True
    """Whether the kernel may take the card out and in. Most boards' slots cannot."""

    @property
    def gpu(self) -> str:
        return f"g{self.number}"

    @property
    def port(self) -> str:
        return f"rp{self.number}"


@dataclass(frozen=True)
class Topology:
    name: str
    slots: tuple[Slot, ...]
    identity: Identity = RTX_4090
    cmdline: str = ""
    smbios: tuple[str, ...] = ()
    nodes: dict[int, int] = field(default_factory=dict)
    """Host bridge's bus -> NUMA node."""
    extra: tuple[str, ...] = ()
    """More of QEMU's arguments."""
    before: str = ""
    """Shell that the guest runs before anything else of user space."""

    @property
    def filled(self) -> tuple[Slot, ...]:
        return tuple(slot for slot in self.slots if slot.filled)

    def arguments(self) -> list[str]:
        words = ["-M", "q35,kernel-irqchip=split" if "intel-iommu" in " ".join(self.extra) else "q35", *self.extra]
        if self.nodes:
            for number in sorted(set(self.nodes.values())):
                words += ["-object", f"memory-backend-ram,id=m{number},size=512M",
                          "-numa", f"node,nodeid={number},cpus={number},memdev=m{number}"]
        for text in self.smbios:
            words += ["-smbios", text]
        for bus in dict.fromkeys(slot.bus for slot in self.slots):
            node = f",numa_node={self.nodes[bus]}" if bus in self.nodes else ""
            words += ["-device", f"pxb-pcie,id=px{bus:x},bus=pcie.0,bus_nr={bus}{node}"]
        for slot in self.slots:
            words += ["-device", f"pcie-root-port,id={slot.port},bus=px{slot.bus:x},chassis=1,slot={slot.number + 1},"
                      f"x-speed=16,x-width=16,hotplug={'on' if slot.hotplug else 'off'}"]
            if slot.filled:
                words += card(slot)
        return words

    def dress(self, memory: Memory) -> None:
        """Gives the cards their identity. The guest must not have started: all cards look the same until then."""
        for space in memory.by_identity(VIRTIO, RNG, len(self.filled)):
            dress_card(space, self.identity)
        for space in memory.by_identity(REDHAT, ROOT_PORT, len(self.slots)):
            space.equalised()
        switches = sum(slot.switch for slot in self.filled)
        if switches:
            for space in memory.by_identity(TEXAS, UPSTREAM, switches):
                space.identify(0x1002, 0x1478, None, None)
                space.link_capability(self.identity.width, self.identity.speed_gts)
                space.link(self.identity.width, self.identity.speed_gts)
            for space in memory.by_identity(TEXAS, DOWNSTREAM, switches):
                space.identify(0x1002, 0x1479, None, None)
                space.link_capability(self.identity.width, self.identity.speed_gts)
                space.equalised()


def dress_card(space: Space, identity: Identity) -> None:
    space.identify(identity.vendor, identity.device, identity.card, identity.class_code, identity.revision)
    space.link_capability(identity.width, identity.speed_gts)
    space.link(identity.width, identity.speed_gts)


def card(slot: Slot) -> list[str]:
    """QEMU's words for what is in a slot."""
    if not slot.switch:
        return ["-device", f"virtio-rng-pci,id={slot.gpu},bus={slot.port},aer=on,disable-legacy=on"]
    number = slot.number
    return [
        "-device", f"x3130-upstream,id=s{number},bus={slot.port}",
        "-device", f"xio3130-downstream,id=d{number},bus=s{number},chassis={number + 10},slot={number + 40}",
        "-device", f"virtio-rng-pci,id={slot.gpu},bus=d{number},aer=on,disable-legacy=on",
    ]


def slots(*counts: tuple[int, int], **options: bool) -> tuple[Slot, ...]:
    """Slots by host bridge: `slots((0x40, 3), (0x80, 2))`."""
    buses = [bus for bus, count in counts for _ in range(count)]
    return tuple(Slot(number, bus, **options) for number, bus in enumerate(buses))


ROMED8_2T: tuple[str, ...] = (
    "type=0,vendor=American Megatrends Inc.,version=P3.50",
    "type=1,manufacturer=To Be Filled By O.E.M.,product=To Be Filled By O.E.M.",
    "type=2,manufacturer=ASRockRack,product=ROMED8-2T",
    "type=17,manufacturer=Samsung,part=M393A8G40AB2-CWE,speed=3200,loc_pfx=DIMM,bank=NODE 1",
    *(f"type=9,slot_designation=PCIE{number},slot_type=0xb6,slot_data_bus_width=0xd,current_usage=4,slot_length=4,"
      f"slot_id={number},slot_characteristics1=4,slot_characteristics2=1" for number in range(1, 8)),
)

WOPR = Topology("wopr", slots((0x40, 3), (0x80, 2), (0xC0, 2)), smbios=ROMED8_2T)
TINYBOX_RED = Topology("tinybox-red", slots((0x40, 3), (0x80, 3), switch=True), identity=RX_7900_XTX)
POLLING = "pciehp.pciehp_poll_mode=1 pciehp.pciehp_poll_time=1"
"""QEMU raises no interrupt for what is written into its memory, so the kernel must look by itself."""
HOTPLUG = Topology(
    "hotplug", (*slots((0x40, 4)), Slot(4, 0x40, hotplug=False), Slot(5, 0x40, filled=False), Slot(6, 0x40, filled=False)),
    cmdline=POLLING)
FOUR_LINKS = Topology("four-links", slots((0x40, 2), (0x80, 2), hotplug=False))
"""For experiments on links: four cards that stay, each alone behind its root port, errors counted by the kernel."""
RISER_LINKS = replace(FOUR_LINKS, name="riser-links")
"""The same once more: others lock the kernel of theirs, which cannot be undone."""
FOUR_TO_LOSE = Topology("four-to-lose", slots((0x40, 4)), cmdline=POLLING)
ONE_GPU = Topology("one", slots((0x40, 1)))
NOAER = Topology("noaer", slots((0x40, 1), switch=True), identity=RX_7900_XTX, cmdline="pci=noaer")
COMPAT = replace(ONE_GPU, name="compat", cmdline="pcie_ports=compat iommu=pt amd_iommu=pt")
INTEL_IOMMU: Sequence[str] = ("-device", "intel-iommu,intremap=on")
NUMA_TRANSLATING = Topology(
    "numa-translating", slots((0x40, 2), (0x80, 2)), nodes={0x40: 0, 0x80: 1}, extra=tuple(INTEL_IOMMU),
    cmdline="intel_iommu=on")
PASS_THROUGH = Topology("passthrough", slots((0x40, 2)), extra=tuple(INTEL_IOMMU), cmdline="intel_iommu=on iommu=pt")

ALL = {topology.name: topology for topology in (
    WOPR, TINYBOX_RED, HOTPLUG, FOUR_LINKS, RISER_LINKS, FOUR_TO_LOSE, ONE_GPU, NOAER, COMPAT, NUMA_TRANSLATING, PASS_THROUGH)}

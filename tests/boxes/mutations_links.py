"""Mutations of links, error counters, BARs and isolation: what a bad riser, slot or setting leaves in the registers."""

from __future__ import annotations

from tests.boxes.machine import Machine
from tests.boxes.mutations import (
    CARDS,
    DEV,
    GREEN,
    NVIDIA,
    PRO,
    RADEON,
    RED,
    RED2,
    WOPR,
    card_of,
    gpu_of,
    mutation,
    port_of,
)
from tests.boxes.pci_build import Function
from tests.boxes.pci_extended import Dpc, Physical16, SecondaryExpress


def retrain(machine: Machine, speed_gts: float, width: int) -> None:
    """The slot's link as it trained at boot; a card that idles slowly still does."""
    port = port_of(machine)
    idle = port.express.speed_gts if port.load_link else None
    port.train(speed_gts, width)
    if speed_gts < 16:
        for end in (port, *port.children):
            physical = end.get(Physical16)
            if physical is not None:
                physical.status = 0
    if idle is not None and idle < speed_gts:
        port.idle_at(idle)


# Speed and width


@mutation("riser-x8", *CARDS, area="link width: x8 of x16, both ends can do x16", slot="PCIE3")
def riser_x8(machine: Machine) -> None:
    retrain(machine, _full_speed(machine), 8)


@mutation("riser-x4", *CARDS, area="link width: x4 of x16", slot="PCIE3")
def riser_x4(machine: Machine) -> None:
    retrain(machine, _full_speed(machine), 4)


def _full_speed(machine: Machine) -> float:
    port = port_of(machine)
    return port.load_link[0] if port.load_link else port.express.speed_gts


@mutation(
    "gen3-both-capable",
    *CARDS,
    area="link speed: 8.0 GT/s under load, both ends capable, target not capped",
    slot="PCIE3",
)
def gen3_both_capable(machine: Machine) -> None:
    retrain(machine, 8.0, 16)


@mutation("gen3-target-capped", *CARDS, area="link speed: the port's target link speed is 8.0 GT/s", slot="PCIE3")
def gen3_target_capped(machine: Machine) -> None:
    retrain(machine, 8.0, 16)
    port_of(machine).express.target_speed_gts = 8.0


@mutation(
    "hidden-gen3-behind-1478",
    RED,
    RED2,
    DEV,
    area="link speed at the slot: 8.0 GT/s between root port and 1002:1478, 16.0 at the GPU function",
    slot="PCIE3",
)
def hidden_gen3(machine: Machine) -> None:
    retrain(machine, 8.0, 16)
    assert gpu_of(machine).express.speed_gts >= 16.0


@mutation("stuck-gen1", *NVIDIA, area="link speed: stays at 2.5 GT/s under load", slot="PCIE3")
def stuck_gen1(machine: Machine) -> None:
    port = port_of(machine)
    for end in (port, *port.children):
        end.load_link = 2.5, 16


@mutation(
    "retrain-quirk",
    *CARDS,
    area="link speed: the kernel retrained a flaky link at 2.5 GT/s and left the target there",
    slot="PCIE3",
)
def retrain_quirk(machine: Machine) -> None:
    port = port_of(machine)
    port.train(2.5, 16)
    port.express.target_speed_gts = 2.5
    machine.boot_lines.setdefault(port.bdf, []).append(
        f"pci {port.bdf}: broken device, retraining non-functional downstream link at 2.5GT/s"
    )


@mutation("4090-idle-gen1", WOPR, GREEN, PRO, area="none: 2.5 GT/s at idle, 16.0 under load", healthy=True)
def idle_gen1(machine: Machine) -> None:
    for gpu in machine.nvidia:
        port = gpu.function.parent
        assert port is not None
        if port.express.speed_gts != 2.5:
            port.idle_at(2.5)


@mutation(
    "7900xtx-idle-gen1",
    RED,
    RED2,
    DEV,
    area="none: slot links at 2.5 GT/s at idle, full speed under load",
    healthy=True,
)
def radeon_idle_gen1(machine: Machine) -> None:
    for slot in machine.slots:
        port = slot.root_port
        if port is not None and port.live_children() and port.express.speed_gts != 2.5:
            port.idle_at(2.5)


@mutation(
    "link-flap", WOPR, area="link changes while the box is under steady load (PCIe bwctrl interrupts)", slot="PCIE3"
)
def link_flap(machine: Machine) -> None:
    port = port_of(machine)
    machine.interrupts[port.bdf] = 5120
    port.express.bandwidth_status = 1


@mutation("hasd-set", *CARDS, area="hardware autonomous speed disable is set on the port", slot="PCIE3")
def hasd_set(machine: Machine) -> None:
    port_of(machine).express.speed_disable = True


@mutation("slot-power-25w", *CARDS, area="slot power limit: 25 W, 75 W wanted", slot="PCIE3")
def slot_power(machine: Machine) -> None:
    port_of(machine).express.slot_power_watts = 25.0


@mutation("aspm-l1", *CARDS, area="ASPM L1 is on between root port and card", slot="PCIE3")
def aspm_l1(machine: Machine) -> None:
    for end in (port_of(machine), card_of(machine)):
        end.express.aspm = 2


@mutation("mps-128", *CARDS, area="maximum payload differs along the path", slot="PCIE3")
def mps_128(machine: Machine) -> None:
    port_of(machine).express.payload = 128


@mutation("thermal-link-throttle", WOPR, area="a PCIe cooling device holds the link at 8.0 GT/s", slot="PCIE3")
def thermal_throttle(machine: Machine) -> None:
    gen3_target_capped(machine)
    machine.thermal_zones[port_of(machine).bdf] = "acpitz"


@mutation("lane-errors", *CARDS, area="lane error status: lane 11 at the card", slot="PCIE3")
def lane_errors(machine: Machine) -> None:
    card_of(machine).need(SecondaryExpress).lane_errors = 1 << 11


@mutation("eq-incomplete", *CARDS, area="equalisation at 16 GT/s incomplete, request pending", slot="PCIE3")
def eq_incomplete(machine: Machine) -> None:
    port_of(machine).need(Physical16).status = 0x13  # complete clear would read 0; phases 2 and 3 missing, request set
    card_of(machine).need(Physical16).status = 0x13


@mutation("runtime-suspended", *RADEON, area="the GPU is in D3hot while it should be ready", slot="PCIE3")
def suspended(machine: Machine) -> None:
    gpu = gpu_of(machine)
    gpu.power_state, gpu.power_control = "D3hot", "auto"


# Presence


def unplug(port: Function) -> Function:
    for child in port.children:
        child.visible = False
    port.express.speed_gts, port.express.width, port.express.equalisation = 2.5, 0, 0
    port.boot_link = port.load_link = None
    port.need(Physical16).status = 0
    return port


@mutation(
    "link-down-card-present", *CARDS, area="a card is seated and did not train: presence set, link down", slot="PCIE3"
)
def link_down(machine: Machine) -> None:
    unplug(port_of(machine)).express.presence = True


@mutation("card-unlisted", *CARDS, area="a card has its link and is not listed: its chip hangs, or `remove`", slot="PCIE3")
def card_unlisted(machine: Machine) -> None:
    for child in port_of(machine).children:
        child.visible = False


@mutation("link-disabled", WOPR, area="a card is seated and its port's link is switched off (LnkCtl)", slot="PCIE3")
def link_disabled(machine: Machine) -> None:
    port = unplug(port_of(machine))
    port.express.presence = port.express.link_disable = True


@mutation("slot-power-off", WOPR, area="a card is seated and its slot's power is switched off (SltCtl)", slot="PCIE3")
def slot_power_off(machine: Machine) -> None:
    port = unplug(port_of(machine))
    port.express.presence = port.express.slot_power_controller = port.express.slot_power_off = True


@mutation("card-absent", *CARDS, area="one GPU missing, its slot reads empty", slot="PCIE3")
def card_absent(machine: Machine) -> None:
    unplug(port_of(machine)).express.presence = False


@mutation("dpc-triggered", *CARDS, area="downstream port containment holds the link down", slot="PCIE3")
def dpc_triggered(machine: Machine) -> None:
    port = port_of(machine)
    port.need(Dpc).status = 0x1F01
    port.count(fatal={"SDES": 1})
    port.express.width, port.express.presence = 0, True
    for function in card_of(machine).walk():
        function.lost = True
    for function in port.children:
        function.lost = True
    machine.log_lines += [
        f"pcieport {port.bdf}: DPC: containment event, status:0x1f01 source:0x0000",
        f"pcieport {port.bdf}: DPC: unmasked uncorrectable error detected",
        f"pcieport {port.bdf}: PCIe Bus Error: severity=Uncorrectable (Fatal), type=Transaction Layer, (Receiver ID)",
        f"pcieport {port.bdf}:   device [{port.vendor:04x}:{port.device:04x}] error status/mask=00000020/00004000",
        f"pcieport {port.bdf}:    [ 5] SDES                   (First)",
    ]
    for gpu in machine.nvidia:
        gpu.fallen = gpu.fallen or gpu.function.lost


@mutation("gpu-fallen-off", *NVIDIA, area="a GPU fell off the bus: all ones, Xid 79", slot="PCIE3")
def fallen_off(machine: Machine) -> None:
    for function in port_of(machine).children:
        function.lost = True
    gpu = gpu_of(machine)
    for one in machine.nvidia:
        if one.function is gpu:
            one.fallen = True
    short = gpu.bdf.rsplit(".", 1)[0]
    machine.log_lines += [
        f"NVRM: GPU at PCI:{short}: GPU-{gpu.bus:08x}-4417-4000-8000-000000004417",
        f"NVRM: Xid (PCI:{short}): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.",
        f"NVRM: GPU {gpu.bdf}: GPU has fallen off the bus.",
        f"NVRM: GPU {gpu.bdf}: GPU serial number is 1324623041{gpu.bus & 7}.",
    ]


@mutation("experiment-cut-off", *CARDS, area="boxcheck riser was killed while it held a link at 8 GT/s", slot="PCIE3")
def experiment_cut_off(machine: Machine) -> None:
    retrain(machine, 8, 16)
    port_of(machine).express.target_speed_gts = 8.0
    machine.edits.append(lambda tree: tree.answer("boxcheck", "left-changed", [
        {"kind": "link", "bdf": port_of(machine).bdf, "what": "lower speeds", "at_work": False}]))


@mutation("experiment-put-back", *CARDS, area="none: boxcheck riser put everything back", healthy=True)
def experiment_put_back(machine: Machine) -> None:
    machine.edits.append(lambda tree: tree.answer("boxcheck", "left-changed", []))

"""Mutations of links, error counters, BARs and isolation: what a bad riser, slot or setting leaves in the registers."""

from __future__ import annotations

from tests.boxes.machine import Machine
from tests.boxes.mutations import mutation
from tests.boxes.pci_build import MIB, Function
from tests.boxes.pci_config import CORRECTABLE, UNCORRECTABLE
from tests.boxes.pci_extended import Acs, Aer, Dpc, Physical16, ResizableBar, SecondaryExpress
from tests.boxes.render_log import aer_lines

WOPR, RED, RED2, GREEN, GREEN2, PRO, DEV = (
    "wopr-7x4090",
    "tinybox-red",
    "tinybox-red-v2",
    "tinybox-green",
    "tinybox-green-v2",
    "tinybox-pro",
    "geohot-amd-dev",
)
NVIDIA = (WOPR, GREEN, GREEN2, PRO)
RADEON = (RED, RED2, DEV)
CARDS = (*NVIDIA, *RADEON)
TARGET = {WOPR: "PCIE3", DEV: "PCIE3"}


def port_of(machine: Machine) -> Function:
    """The root port of the slot that the mutations hit: PCIE3 on every box."""
    return machine.slot_port("PCIE3")


def card_of(machine: Machine) -> Function:
    """The end of the card at that slot."""
    return port_of(machine).children[0]


def gpu_of(machine: Machine) -> Function:
    """The GPU function behind that slot, past the on-card switch where there is one."""
    here = card_of(machine)
    while here.bridge:
        here = here.children[0]
    return here


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
    machine.cooling_states[port_of(machine).bdf] = 1


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


def unplug(machine: Machine) -> Function:
    port = port_of(machine)
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
    unplug(machine).express.presence = True


@mutation("card-absent", *CARDS, area="one GPU missing, its slot reads empty", slot="PCIE3")
def card_absent(machine: Machine) -> None:
    unplug(machine).express.presence = False


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


# Errors


def _log_errors(machine: Machine, function: Function, label: str, times: int) -> None:
    for _ in range(times):
        machine.log_lines += aer_lines(function, label, CORRECTABLE[label])


@mutation(
    "badtlp-root-port", *CARDS, area="correctable errors: bad TLPs counted by the root port (GPU to CPU)", slot="PCIE3"
)
def badtlp_root_port(machine: Machine) -> None:
    port = port_of(machine)
    port.count({"BadTLP": 412})
    port.load_errors = {"BadTLP": 61}
    _log_errors(machine, port, "BadTLP", 4)


@mutation("badtlp-card", *CARDS, area="correctable errors: bad TLPs counted by the card (CPU to GPU)", slot="PCIE3")
def badtlp_card(machine: Machine) -> None:
    card = card_of(machine)
    card.count({"BadTLP": 37, "RxErr": 9})
    card.load_errors = {"BadTLP": 12}
    _log_errors(machine, card, "BadTLP", 3)


@mutation(
    "timeout-rollover", *CARDS, area="replay timer timeouts and a replay number rollover at the root port", slot="PCIE3"
)
def timeout_rollover(machine: Machine) -> None:
    port = port_of(machine)
    port.count({"Timeout": 31, "Rollover": 2})
    port.load_errors = {"Timeout": 7, "Rollover": 1}
    _log_errors(machine, port, "Timeout", 2)
    _log_errors(machine, port, "Rollover", 1)


@mutation(
    "rxerr-once", *CARDS, area="none: one receiver error when the link came up, none since", slot="PCIE3", healthy=True
)
def rxerr_once(machine: Machine) -> None:
    card_of(machine).count({"RxErr": 1})


@mutation(
    "advisory-only",
    *CARDS,
    area="none against the link: advisory non-fatal errors of the GPU",
    slot="PCIE3",
    healthy=True,
)
def advisory_only(machine: Machine) -> None:
    gpu = gpu_of(machine)
    gpu.need(Aer).correctable_mask = 0
    gpu.count({"NonFatalErr": 240})
    _log_errors(machine, gpu, "NonFatalErr", 2)


@mutation("aer-nonfatal", *CARDS, area="uncorrectable non-fatal: completion timeouts of the GPU", slot="PCIE3")
def aer_nonfatal(machine: Machine) -> None:
    gpu, port = gpu_of(machine), port_of(machine)
    gpu.count(nonfatal={"CmpltTO": 3})
    machine.log_lines += [
        f"pcieport {port.bdf}: AER: Uncorrectable (Non-Fatal) error message received from {gpu.bdf}",
        f"{gpu.driver} {gpu.bdf}: PCIe Bus Error: severity=Uncorrectable (Non-Fatal), type=Transaction Layer, (Requester ID)",
        f"{gpu.driver} {gpu.bdf}:   device [{gpu.vendor:04x}:{gpu.device:04x}] error status/mask=00004000/00000000",
        f"{gpu.driver} {gpu.bdf}:    [{UNCORRECTABLE['CmpltTO']:2d}] CmpltTO                (First)",
    ]


@mutation(
    "aer-fatal-at-root",
    *CARDS,
    area="uncorrectable fatal: counted at the root port only, the card's own counter stays 0",
    slot="PCIE3",
)
def aer_fatal(machine: Machine) -> None:
    port, card = port_of(machine), card_of(machine)
    port.root_port().errors.root_fatal += 1
    machine.log_lines += [
        f"pcieport {port.bdf}: AER: Uncorrectable (Fatal) error message received from {card.bdf}",
        f"{card.driver} {card.bdf}: AER: PCIe Bus Error: severity=Uncorrectable (Fatal), type=Inaccessible, "
        "(Unregistered Agent ID)",
        f"pcieport {port.bdf}: AER: Root Port link has been reset (0)",
        f"pcieport {port.bdf}: AER: device recovery failed",
    ]


@mutation("aer-firmware-owned", *CARDS, area="nobody knows: firmware kept AER, zero counters prove nothing")
def aer_firmware(machine: Machine) -> None:
    machine.aer_owner = "firmware"


@mutation(
    "aer-firmware-raw-status", *CARDS, area="firmware kept AER; the raw status of the port shows bad TLPs", slot="PCIE3"
)
def aer_firmware_raw(machine: Machine) -> None:
    machine.aer_owner = "firmware"
    port_of(machine).latch({"BadTLP": 1})


@mutation("noaer", *CARDS, area="nobody knows: pci=noaer, zero counters prove nothing")
def noaer(machine: Machine) -> None:
    machine.aer_owner = "nobody"
    machine.kernel.parameters.append("pci=noaer")


@mutation("pcie-ports-compat", *CARDS, area="nobody knows: pcie_ports=compat, zero counters prove nothing")
def ports_compat(machine: Machine) -> None:
    machine.aer_owner = "nobody"
    machine.kernel.parameters.append("pcie_ports=compat")
    for function in machine.functions():
        if function.driver == "pcieport":
            function.driver, function.services = None, []


@mutation(
    "aer-masked", *CARDS, area="the port's correctable error mask hides receiver errors and bad TLPs", slot="PCIE3"
)
def aer_masked(machine: Machine) -> None:
    port_of(machine).need(Aer).correctable_mask = 0xF1C1


@mutation("aer-reporting-off", *CARDS, area="error reporting is off in the card's device control", slot="PCIE3")
def aer_reporting_off(machine: Machine) -> None:
    card_of(machine).express.reporting = 0


@mutation(
    "card-without-aer", *CARDS, area="the card has no AER: one direction is blind, the other is not", slot="PCIE3"
)
def card_without_aer(machine: Machine) -> None:
    card_of(machine).drop(Aer)


# BARs, IOMMU, ACS


def shrink_bar(gpu: Function, size_mib: int) -> None:
    bar = max(gpu.bars, key=lambda one: one.size)
    bar.size = size_mib * MIB
    for entry in gpu.need(ResizableBar).entries:
        if entry.bar == bar.index:
            entry.current_mib = size_mib
        elif gpu.vendor == 0x1002 and entry.bar == 2:
            gpu.bar(2).size, entry.current_mib = 2 * MIB, 2


@mutation("bar-256mb", *CARDS, area="the GPU's BAR is 256 MiB, smaller than its memory", slot="PCIE3")
def bar_256mb(machine: Machine) -> None:
    shrink_bar(gpu_of(machine), 256)


@mutation("bar-256mb-all", *CARDS, area="resizable BAR is off: every GPU's BAR is 256 MiB")
def bar_256mb_all(machine: Machine) -> None:
    for gpu in machine.gpu_functions():
        shrink_bar(gpu, 256)


@mutation("above-4g-off", *CARDS, area="Above 4G decoding is off: BARs of 256 MiB below 4 GiB")
def above_4g_off(machine: Machine) -> None:
    bar_256mb_all(machine)
    for number, root in enumerate(machine.buses):
        root.prefetch_base = 0x6000_0000 + number * 0x1800_0000


@mutation("bar-unassigned", *CARDS, area="the GPU's BAR has no address: bridge window too small", slot="PCIE3")
def bar_unassigned(machine: Machine) -> None:
    gpu = gpu_of(machine)
    max(gpu.bars, key=lambda one: one.size).assign = False
    gpu.driver = None
    if gpu.vendor == 0x10DE:
        short = gpu.bdf.rsplit(".", 1)[0]
        machine.log_lines += [
            "NVRM: This PCI I/O region assigned to your NVIDIA device is invalid:",
            f"NVRM: BAR1 is 0M @ 0x0 (PCI:{short})",
            f"nvidia {gpu.bdf}: probe with driver nvidia failed with error -1",
        ]
    for one in machine.amd:
        if one.function is gpu:
            one.initialised = False


@mutation("iommu-translating", *CARDS, area="the IOMMU translates on a box whose goal wants it off or in passthrough")
def iommu_translating(machine: Machine) -> None:
    machine.iommu, machine.iommu_present = "DMA-FQ", True
    machine.kernel.parameters = [
        word for word in machine.kernel.parameters if word not in ("iommu=pt", "amd_iommu=off")
    ]


@mutation("acs-redirect", *CARDS, area="ACS redirects peer-to-peer traffic to the root complex on every port")
def acs_redirect(machine: Machine) -> None:
    for gpu in machine.gpu_functions():
        here = gpu.parent
        while here is not None:
            acs = here.get(Acs)
            if acs is not None:
                acs.control = 0x1D
            here = here.parent


@mutation("acs-override", *CARDS, area="pcie_acs_override is on the command line")
def acs_override(machine: Machine) -> None:
    machine.kernel.parameters.append("pcie_acs_override=downstream,multifunction")
    machine.boot_lines.setdefault("early", []).append(
        "Warning: PCIe ACS overrides enabled; This may allow non-IOMMU protected peer-to-peer DMA"
    )


# NVMe


@mutation("nvme-x2", WOPR, RED, GREEN, DEV, area="an NVMe drive's link is x2 of x4")
def nvme_x2(machine: Machine) -> None:
    port = machine.drives[0].function.parent
    assert port is not None
    port.train(16.0, 2)


@mutation("nvme-gen3", WOPR, RED, GREEN, DEV, area="an NVMe drive's link runs at 8.0 GT/s, both ends capable of 16.0")
def nvme_gen3(machine: Machine) -> None:
    port = machine.drives[0].function.parent
    assert port is not None
    port.train(8.0, 4)
    for end in (port, *port.children):
        end.need(Physical16).status = 0

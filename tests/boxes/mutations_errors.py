"""Mutations of error counters, BARs, isolation and drives: what a bad link or setting leaves behind."""

from __future__ import annotations

from tests.boxes.machine import Machine
from tests.boxes.mutations import CARDS, DEV, GREEN, RED, WOPR, card_of, gpu_of, mutation, port_of
from tests.boxes.pci_build import MIB, Function
from tests.boxes.pci_config import CORRECTABLE, UNCORRECTABLE
from tests.boxes.pci_extended import Acs, Aer, Physical16, ResizableBar
from tests.boxes.render_log import aer_lines

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


@mutation("rxerr-once", *CARDS, area="correctable errors: one receiver error since boot, none under load", slot="PCIE3")
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
        f"{gpu.driver} {gpu.bdf}: PCIe Bus Error: severity=Uncorrectable (Non-Fatal), type=Transaction Layer, "
        "(Requester ID)",
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


@mutation("above-4g-off", DEV, area="Above 4G decoding is off: BARs of 256 MiB below 4 GiB")
def above_4g_off(machine: Machine) -> None:
    bar_256mb_all(machine)
    for number, root in enumerate(machine.buses):
        root.prefetch_base = 0x1000_0000 + number * 0x2800_0000


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


@mutation("iommu-unknown-word", RED, WOPR, DEV, area="amd_iommu= is given a word that it does not know")
def iommu_word(machine: Machine) -> None:
    machine.kernel.parameters.append("amd_iommu=passthrough")
    machine.boot_lines.setdefault("early", []).append("AMD-Vi: Unknown option - 'passthrough'")


@mutation("amd-iommu-pt", RED, WOPR, DEV, area="amd_iommu=pt is asked for instead of iommu=pt, so the IOMMU translates")
def amd_iommu_pt(machine: Machine) -> None:
    iommu_translating(machine)
    machine.kernel.parameters.append("amd_iommu=pt")
    machine.boot_lines.setdefault("early", []).append("AMD-Vi: Unknown option - 'pt'")


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

"""The sysfs files of a PCI function, derived from its registers.

Names, formats and presence: Linux drivers/pci/pci-sysfs.c, pcie/aer.c, pcie/portdrv.c.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.boxes.pci_build import Function, speed_text
from tests.boxes.pci_config import CORRECTABLE, UNCORRECTABLE, Express, MsiX
from tests.boxes.pci_extended import Aer, ResizableBar
from tests.boxes.tree import Tree

Put = Callable[[str, str | int | bytes], None]
"""Writes an attribute of one function."""


def render(function: Function, tree: Tree, root: bool) -> None:
    """Writes everything that the PCI core shows of this function."""
    here = function.path
    link = tree.link

    def put(name: str, value: str | int | bytes) -> None:
        tree.put(f"{here}/{name}", value)

    config = function.config()
    put("config", config if root else config[:64])
    put("vendor", f"0x{function.vendor:04x}")
    put("device", f"0x{function.device:04x}")
    put("class", f"0x{function.class_code:06x}")
    put("revision", f"0x{function.revision:02x}")
    subsystem = function.shown_subsystem()
    put("subsystem_vendor", f"0x{subsystem[0]:04x}")
    put("subsystem_device", f"0x{subsystem[1]:04x}")
    put("modalias", function.modalias)
    put("resource", "\n".join(function.resource_lines()))
    put("irq", function.message_interrupts[0] if function.message_interrupts else function.irq)
    put("enable", function.enabled)
    put("power_state", function.power_state)
    put("power/control", function.power_control)
    put("power/runtime_status", "suspended" if function.power_state.startswith("D3") else "active")
    put("power/runtime_enabled", "forbidden" if function.power_control == "on" else "enabled")
    put("numa_node", function.numa_node)
    put("local_cpulist", function.cpulist)
    put("driver_override", "(null)")
    put("ari_enabled", 0)
    put("d3cold_allowed", 1)
    put("broken_parity_status", 0)
    put("msi_bus", 1)
    put("dma_mask_bits", 47 if function.vendor == 0x10DE else 64 if function.driver else 32)
    put("consistent_dma_mask_bits", 47 if function.vendor == 0x10DE else 64 if function.driver else 32)
    if not function.bridge or function.get(Express):
        put("reset_method", function.reset_method)
    _express(function, put)
    if function.get(Aer):
        _aer(function, put)
    for number in function.message_interrupts:
        put(f"msi_irqs/{number}", "msix" if function.get(MsiX) else "msi")
    rebar = function.get(ResizableBar)
    if rebar:
        for entry in rebar.entries:
            bits = sum(1 << (size.bit_length() - 1) for size in entry.sizes_mib)
            put(f"resource{entry.bar}_resize", f"{bits:016x}")
    if function.bridge:
        put("secondary_bus_number", function.secondary)
        put("subordinate_bus_number", function.subordinate)
    uevent = [
        f"PCI_CLASS={function.class_code:X}",
        f"PCI_ID={function.vendor:04X}:{function.device:04X}",
        f"PCI_SUBSYS_ID={subsystem[0]:04X}:{subsystem[1]:04X}",
        f"PCI_SLOT_NAME={function.bdf}",
        f"MODALIAS={function.modalias}",
    ]
    if function.driver:
        uevent.insert(0, f"DRIVER={function.driver}")
        link(f"{here}/driver", f"/sys/bus/pci/drivers/{function.driver}")
        link(f"/sys/bus/pci/drivers/{function.driver}/{function.bdf}", here)
    put("uevent", "\n".join(uevent))
    link(f"{here}/subsystem", "/sys/bus/pci")
    link(f"/sys/bus/pci/devices/{function.bdf}", here)
    for number, driver in function.services:
        name = f"{function.bdf}:pcie{number:03x}"
        tree.put(f"{here}/{name}/uevent", f"DRIVER={driver}")
        link(f"{here}/{name}/driver", f"/sys/bus/pci_express/drivers/{driver}")
        link(f"{here}/{name}/subsystem", "/sys/bus/pci_express")
        link(f"/sys/bus/pci_express/devices/{name}", f"{here}/{name}")
        link(f"/sys/bus/pci_express/drivers/{driver}/{name}", f"{here}/{name}")
    if function.iommu_group is not None:
        link(f"{here}/iommu_group", f"/sys/kernel/iommu_groups/{function.iommu_group}")
        link(f"/sys/kernel/iommu_groups/{function.iommu_group}/devices/{function.bdf}", here)
    for name, data in function.files.items():
        tree[f"{here}/{name}"] = data


def _express(function: Function, put: Put) -> None:
    express = function.get(Express)
    if express is None:
        return
    if not express.has_link:
        speed, width, top_speed, top_width = "Unknown", 0, "Unknown", 0
    elif function.lost:
        # reads of a lost device return all ones: speed code 0xf, width 63, as seen on a kernel with a vanished device
        speed, width, top_speed, top_width = "Unknown", 63, "Unknown", 63
    else:
        speed, width = speed_text(express.speed_gts), express.width
        top_speed, top_width = speed_text(express.max_speed_gts), express.max_width
    put("current_link_speed", speed)
    put("current_link_width", width)
    put("max_link_speed", top_speed)
    put("max_link_width", top_width)
    if express.has_link and not express.downstream_facing and express.aspm_support:
        for name, bit in (("l0s_aspm", 1), ("l1_aspm", 2)):
            if express.aspm_support & bit:
                put(f"link/{name}", int(bool(express.aspm & bit)))
        if express.clock_pm:
            put("link/clkpm", 1)


def _aer(function: Function, put: Put) -> None:
    errors = function.errors
    put("aer_dev_correctable", counter_text(CORRECTABLE, errors.correctable, "TOTAL_ERR_COR", ()))
    put("aer_dev_nonfatal", counter_text(UNCORRECTABLE, errors.nonfatal, "TOTAL_ERR_NONFATAL", ("Undefined",)))
    put("aer_dev_fatal", counter_text(UNCORRECTABLE, errors.fatal, "TOTAL_ERR_FATAL", ("Undefined",)))
    if function.need(Aer).root:
        put("aer_rootport_total_err_cor", errors.root_correctable)
        put("aer_rootport_total_err_nonfatal", errors.root_nonfatal)
        put("aer_rootport_total_err_fatal", errors.root_fatal)


def counter_text(names: dict[str, int], counts: dict[str, int], total: str, first: tuple[str, ...]) -> str:
    """One line per named bit and the total, as aer.c prints them since Linux 5.x."""
    rows = [f"{name} {counts.get(name, 0)}" for name in (*first, *names)]
    return "\n".join([*rows, f"{total} {sum(counts.values())}"])

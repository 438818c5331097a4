"""Machine -> Tree: the order of rendering, and what belongs to the PCI bus as a whole."""

from __future__ import annotations

from tests.boxes import pci_sysfs, render_gpu, render_log, render_people, render_programs, render_storage, render_system
from tests.boxes.machine import Machine
from tests.boxes.pci_build import Function, speed_text
from tests.boxes.pci_config import CORRECTABLE, Express
from tests.boxes.pci_extended import Aer
from tests.boxes.pci_sysfs import counter_text
from tests.boxes.tree import Tree

DRIVERS = (
    "ahci",
    "ast",
    "amdgpu",
    "bnxt_en",
    "i801_smbus",
    "igb",
    "ixgbe",
    "nvidia",
    "nouveau",
    "nvme",
    "pcieport",
    "snd_hda_intel",
    "vfio-pci",
    "xhci_hcd",
)
PORT_DRIVERS = ("aer", "dpc", "pcie_pme", "pciehp")


def tree(machine: Machine) -> Tree:
    out = Tree(login=machine.login(), environment=dict(machine.environment))
    _pci(machine, out)
    _iommu(machine, out)
    _slots(machine, out)
    _interrupts(machine, out)
    _cooling(machine, out)
    render_system.render(machine, out)
    render_people.render(machine, out)
    render_storage.render(machine, out)
    render_gpu.render(machine, out)
    render_programs.render(machine, out)
    render_log.render(machine, out)
    _load_readings(machine, out)
    for edit in machine.edits:
        edit(out)
    if not machine.as_root:
        render_people.hide_from_user(machine, out)
    return out


def _pci(machine: Machine, out: Tree) -> None:
    for function in machine.functions():
        if machine.iommu != "off" and function.iommu_group is not None:
            number = _iommu_of(machine, function)
            if number is not None:
                out.link(f"{function.path}/iommu", f"/sys/class/iommu/ivhd{number}")
        pci_sysfs.render(function, out, machine.as_root)
    for root in machine.buses:
        out.put(f"/sys/devices/pci0000:{root.bus:02x}/uevent", b"")
        out.put(
            f"/sys/devices/pci0000:{root.bus:02x}/pci_bus/0000:{root.bus:02x}/cpulistaffinity",
            machine.node_cpulist(root.numa_node),
        )
    used = {function.driver for function in machine.functions()}
    for driver in DRIVERS:
        if driver in used:
            out.directory(f"/sys/bus/pci/drivers/{driver}")
    for driver in (*PORT_DRIVERS, *(("pcie_bwctrl",) if machine.kernel.has_bwctrl else ())):
        if driver in ("aer", "dpc") and machine.aer_owner == "nobody":
            continue
        out.directory(f"/sys/bus/pci_express/drivers/{driver}")
    out.put("/sys/bus/pci/drivers_autoprobe", 1)
    out.put("/sys/module/pcie_aspm/parameters/policy", _aspm_policy(machine))


def _aspm_policy(machine: Machine) -> str:
    chosen = "default"
    for word in machine.kernel.parameters:
        if word.startswith("pcie_aspm.policy="):
            chosen = word.split("=", 1)[1]
    return (
        " ".join(
            f"[{name}]" if name == chosen else name
            for name in ("default", "performance", "powersave", "powersupersave")
        )
        + " "
    )


def _iommu_of(machine: Machine, function: Function) -> int | None:
    units = [root.bus for root in machine.buses if root.iommu is not None]
    return units.index(function.root_bus) if function.root_bus in units else None


def _iommu(machine: Machine, out: Tree) -> None:
    out.directory("/sys/class/iommu")
    out.directory("/sys/kernel/iommu_groups")
    intel = machine.cpu.vendor == "GenuineIntel"
    if machine.iommu_present:
        name = "DMAR" if intel else "IVRS"
        out.put(f"/sys/firmware/acpi/tables/{name}", name.encode() + bytes(44))
    if machine.iommu == "off":
        return
    if intel:
        out.put("/sys/devices/virtual/iommu/dmar0/intel-iommu/version", "1:0")
        out.link("/sys/class/iommu/dmar0", "/sys/devices/virtual/iommu/dmar0")
    for number, root in enumerate(one for one in machine.buses if one.iommu is not None):
        assert root.iommu is not None
        home = f"{root.iommu.path}/iommu/ivhd{number}"
        out.put(f"{home}/amd-iommu/cap", "40001")
        out.put(f"{home}/amd-iommu/features", "25bf732fa2295afe:1d")
        out.link(f"/sys/class/iommu/ivhd{number}", home)
    for group in sorted({one.iommu_group for one in machine.functions() if one.iommu_group is not None}):
        out.put(f"/sys/kernel/iommu_groups/{group}/type", machine.iommu)
        out.put(
            f"/sys/kernel/iommu_groups/{group}/reserved_regions",
            "0x00000000fee00000 0x00000000feefffff msi\n0x000000fd00000000 0x000000ffffffffff reserved",
        )


def _slots(machine: Machine, out: Tree) -> None:
    """/sys/bus/pci/slots, named by the slot numbers of the ports (not by the designations of SMBIOS)."""
    out.directory("/sys/bus/pci/slots")
    for function in machine.functions():
        express = function.get(Express)
        if express is None or not express.downstream_facing or express.slot is None:
            continue
        here = f"/sys/bus/pci/slots/{express.slot}"
        out.put(f"{here}/address", f"0000:{function.secondary:02x}:00")
        active = express.width > 0
        out.put(f"{here}/cur_bus_speed", speed_text(express.speed_gts) if active else "Unknown")
        out.put(f"{here}/max_bus_speed", speed_text(express.max_speed_gts))


def _interrupts(machine: Machine, out: Tree) -> None:
    """/proc/interrupts: the rows of PCI functions; services of one port share its vector."""
    threads = machine.cpu.threads
    rows = [" " * 12 + "".join(f"CPU{cpu:<8d}" for cpu in range(threads)).rstrip()]

    def row(number: str, count: int, cpu: int, chip: str, names: str) -> None:
        counts = "".join(f"{count if one == cpu else 0:10d} " for one in range(threads))
        rows.append(f"{number:>4s}: {counts} {chip}      {names}")

    row("0", 124, 0, "IR-IO-APIC    2-edge", "timer")
    row("9", 0, 1, "IR-IO-APIC    9-fasteoi", "acpi")
    remap = "IR-" if machine.iommu != "off" else ""
    for function in machine.functions():
        for position, number in enumerate(function.message_interrupts):
            chip = f"{remap}PCI-MSI{'X' if function.driver in ('nvme', 'ixgbe', 'igb', 'bnxt_en', 'xhci_hcd') else ''}"
            names = _interrupt_names(machine, function, position)
            if names is not None:
                count = machine.interrupts.get(function.bdf, 0) if function.driver == "pcieport" else 4000 + number * 7
                row(str(number), count, number % threads, f"{chip}-{function.bdf}    {position}-edge", names)
    row("NMI", 96, 0, "", "Non-maskable interrupts")
    row("MCE", 0, 0, "", "Machine check exceptions")
    row("MCP", 39, 0, "", "Machine check polls")
    out.put("/proc/interrupts", "\n".join(rows))


def _interrupt_names(machine: Machine, function: Function, position: int) -> str | None:
    if function.driver == "pcieport":
        handlers = {"pcie_pme": "PCIe PME", "aer": "aerdrv", "dpc": "pcie-dpc", "pcie_bwctrl": "PCIe bwctrl"}
        names = [handlers[driver] for _, driver in function.services if driver in handlers]
        return ", ".join(names) or None
    if function.driver == "nvme":
        drives = [one.function for one in machine.drives]
        number = drives.index(function) if function in drives else 0
        return f"nvme{number}q{position}"
    return {
        "nvidia": "nvidia",
        "amdgpu": "amdgpu",
        "snd_hda_intel": "snd_hda_intel:card0",
        "xhci_hcd": "xhci_hcd",
        "ahci": f"ahci[{function.bdf}]",
        "pcieport": None,
    }.get(function.driver or "", f"{function.driver}-{position}")


def _cooling(machine: Machine, out: Tree) -> None:
    """PCIe bandwidth cooling devices, one a port where the kernel has bwctrl (drivers/thermal/pcie_cooling.c). Their
    state is how far the link is below the port's fastest, at rest too."""
    out.directory("/sys/class/thermal")
    if not machine.kernel.has_bwctrl:
        return
    number = 0
    for function in machine.functions():
        if (0x010, "pcie_bwctrl") not in function.services:
            continue
        here = f"/sys/devices/virtual/thermal/cooling_device{number}"
        express = function.express
        speeds = [speed for speed in (2.5, 5.0, 8.0, 16.0, 32.0) if speed <= express.max_speed_gts]
        out.put(f"{here}/type", f"PCIe_Port_Link_Speed_{function.bdf}")
        out.put(f"{here}/max_state", len(speeds) - 1)
        out.put(f"{here}/cur_state", sum(speed > express.speed_gts for speed in speeds))
        out.link(f"/sys/class/thermal/cooling_device{number}", here)
        if function.bdf in machine.thermal_zones:
            zone = f"/sys/devices/virtual/thermal/thermal_zone{number}"
            out.put(f"{zone}/type", machine.thermal_zones[function.bdf])
            out.put(f"{zone}/temp", 97000)
            out.put(f"{zone}/trip_point_1_temp", 95000)
            out.link(f"{zone}/cdev0", here)
            out.put(f"{zone}/cdev0_trip_point", 1)
            out.link(f"/sys/class/thermal/thermal_zone{number}", zone)
        number += 1


def _load_readings(machine: Machine, out: Tree) -> None:
    """A second reading of the links and error counters while the GPUs copied, and a third after it."""
    if not machine.load_readings:
        return
    seen: set[str] = set()
    for gpu in machine.gpu_functions():
        here: Function | None = gpu
        while here is not None and not gpu.lost:
            if here.bdf not in seen and here.get(Express) is not None and here.express.has_link:
                seen.add(here.bdf)
                _load_reading(machine, out, here)
            here = here.parent


def _load_reading(machine: Machine, out: Tree, function: Function) -> None:
    express = function.express
    idle = express.speed_gts, express.width
    load = function.load_link or idle
    for link, phase, seconds in ((load, "load", 3.0), (load, "load", 4.0), (idle, "after", 9.0)):
        out.again(f"{function.path}/current_link_speed", f"{speed_text(link[0])}\n", phase, seconds)  # type: ignore[arg-type]
        out.again(f"{function.path}/current_link_width", f"{link[1]}\n", phase, seconds)  # type: ignore[arg-type]
    config = function.config(load)
    out.again(f"{function.path}/config", config if machine.as_root else config[:64], "load", 4.0)
    if function.get(Aer) is not None:
        for name in ("aer_dev_nonfatal", "aer_dev_fatal"):
            out.again(f"{function.path}/{name}", out.text(f"{function.path}/{name}"), "load", 5.0)
        counts = dict(function.errors.correctable)
        for label, more in function.load_errors.items():
            counts[label] = counts.get(label, 0) + more
        out.again(
            f"{function.path}/aer_dev_correctable",
            counter_text(CORRECTABLE, counts, "TOTAL_ERR_COR", ()) + "\n",
            "load",
            5.0,
        )

"""What amdgpu, KFD and the NVIDIA driver show of their GPUs.

Sources: drivers/gpu/drm/amd/pm/amdgpu_pm.c, amdkfd/kfd_topology.c (order of the lines of `properties`) and kfd_crat.h
(flags of links); NVIDIA's /proc/driver/nvidia as printed by drivers 550 to 575.
"""

from __future__ import annotations

from tests.boxes import render_kfd, render_nvidia
from tests.boxes.hardware import AmdGpu, Module, NodeFile
from tests.boxes.machine import Machine
from tests.boxes.pci_build import MIB, Function
from tests.boxes.tree import Tree


def working(machine: Machine) -> list[AmdGpu]:
    return [gpu for gpu in machine.amd if gpu.function.known and gpu.initialised and gpu.function.driver == "amdgpu"]


def _minor(machine: Machine, gpu: AmdGpu) -> int:
    """Position among DRM devices; the BMC's graphics, found first, has card0."""
    return working(machine).index(gpu)


def _first_card(machine: Machine) -> int:
    return 1 if any(one.driver == "ast" for one in machine.functions()) else 0


def render(machine: Machine, out: Tree) -> None:
    out.directory("/sys/class/drm")
    out.put("/sys/class/drm/version", "drm 1.1.0 20060810")
    for gpu in working(machine):
        _amdgpu(machine, out, gpu)
    if machine.amd:
        render_kfd.topology(machine, out, working(machine))
        render_kfd.rocm(machine, out)
    for function in machine.functions():
        if function.driver in ("ast", "i915"):
            _drm(out, function, "card0", "renderD128" if function.driver == "i915" else None)
    if machine.nvidia_driver:
        render_nvidia.render(machine, out)


def _drm(out: Tree, function: Function, card: str, render_node: str | None) -> None:
    for name in (card, render_node):
        if name is None:
            continue
        home = f"{function.path}/drm/{name}"
        out.put(f"{home}/dev", f"226:{name.lstrip('cardenD')}")
        out.link(f"{home}/device", function.path)
        out.link(f"{home}/subsystem", "/sys/class/drm")
        out.link(f"/sys/class/drm/{name}", home)


def _pcie_levels(gpu: AmdGpu) -> str:
    """pp_dpm_pcie: the levels that the slot's link allows, the current one starred."""
    port = slot_side(gpu.function)
    speed, width = port.express.speed_gts, port.express.width
    top, lanes = port.load_link or (speed, width)
    levels = [(2.5, 1), (8.0, lanes), (top, lanes)] if top > 8 else [(2.5, 1), (top, lanes)]
    rows = []
    for number, (level, count) in enumerate(levels):
        star = "*" if (level, count) == (top, lanes) else ""
        rows.append(f"{number}: {level:.1f}GT/s, x{count} 619Mhz {star}")
    return "\n".join(rows)


def slot_side(function: Function) -> Function:
    """The end of the card at the slot: the upstream port of the on-card switch where there is one."""
    here = function
    while here.parent is not None and here.parent.vendor == 0x1002:
        here = here.parent
    return here


def _amdgpu(machine: Machine, out: Tree, gpu: AmdGpu) -> None:
    function = gpu.function
    here, minor = function.path, _minor(machine, gpu)
    vram = gpu.vram_mib * MIB
    visible = gpu.visible_mib * MIB if gpu.visible_mib is not None else min(vram, function.bar(0).size)
    values: dict[str, str | int] = {
        "mem_info_vram_total": vram,
        "mem_info_vram_used": 24 * MIB,
        "mem_info_vis_vram_total": visible,
        "mem_info_vis_vram_used": 24 * MIB,
        "mem_info_gtt_total": gpu.gtt_mib * MIB,
        "mem_info_gtt_used": 15 * MIB,
        "mem_info_vram_vendor": gpu.vram_vendor,
        "vbios_version": gpu.vbios,
        "unique_id": f"{gpu.unique_id:016x}",
        "pp_dpm_sclk": f"0: 500Mhz \n1: 0Mhz *\n2: {gpu.core_mhz}Mhz ",
        "gpu_busy_percent": 0,
        "mem_busy_percent": 0,
        "pp_dpm_mclk": f"0: 96Mhz *\n1: 456Mhz \n2: 772Mhz \n3: {gpu.memory_mhz}Mhz ",
        "power_dpm_force_performance_level": "auto",
        "power_dpm_state": "performance",
        "thermal_throttling_logging": f"{function.bdf}: thermal throttling logging enabled, with interval 60 seconds",
        "fw_version/mec_fw_version": "0x0000022b",
        "fw_version/sdma_fw_version": "0x00000015",
        "fw_version/smc_fw_version": "0x004e7e00",
        "fw_version/vcn_fw_version": "0x09118010",
    }
    if not gpu.apu:
        values["pp_dpm_pcie"] = _pcie_levels(gpu)
        values["pcie_replay_count"] = gpu.replay_count
        values["serial_number"] = f"{gpu.unique_id:016x}"
    for name, value in values.items():
        out.put(f"{here}/{name}", value)
    _drm(out, function, f"card{minor + _first_card(machine)}", f"renderD{128 + minor}")
    sensor = f"{here}/hwmon/hwmon{minor + 1}"
    rows: dict[str, str | int] = {
        "name": "amdgpu",
        "temp1_label": "edge",
        "temp1_input": round(gpu.edge_celsius * 1000),
        "freq1_label": "sclk",
        "freq1_input": 500_000_000,
        "in0_label": "vddgfx",
        "in0_input": 38,
    }
    if gpu.apu:
        rows["power1_average"] = round(gpu.idle_watts * 1e6)
        rows["power1_label"] = "PPT"
    else:
        rows |= {
            "temp1_crit": 100000,
            "temp1_emergency": 105000,
            "temp2_label": "junction",
            "temp2_input": round(gpu.junction_celsius * 1000),
            "temp2_crit": 110000,
            "temp2_emergency": 115000,
            "temp3_label": "mem",
            "temp3_input": round(gpu.memory_celsius * 1000),
            "temp3_crit": 108000,
            "temp3_emergency": 113000,
            "power1_label": "PPT",
            "power1_average": round(gpu.idle_watts * 1e6),
            "power1_cap": gpu.cap_watts * 1_000_000,
            "power1_cap_default": gpu.default_cap_watts * 1_000_000,
            "power1_cap_max": gpu.max_cap_watts * 1_000_000,
            "power1_cap_min": 0,
            "freq2_label": "mclk",
            "freq2_input": 96_000_000,
        }
        if gpu.fan_rpm is not None:
            rows |= {
                "fan1_input": gpu.fan_rpm,
                "fan1_min": 0,
                "fan1_max": 3300,
                "fan1_enable": 0,
                "pwm1": 0,
                "pwm1_enable": 2,
            }
    for name, value in rows.items():
        out.put(f"{sensor}/{name}", value)
    out.link(f"{sensor}/device", here)
    out.link(f"/sys/class/hwmon/hwmon{minor + 1}", sensor)


def gpu_modules(machine: Machine) -> list[Module]:
    out: list[Module] = []
    if machine.amd and any(gpu.function.driver == "amdgpu" for gpu in machine.amd):
        parameters = {
            "cwsr_enable": "1",
            "ppfeaturemask": "0xfff7bfff",
            "noretry": "-1",
            "lockup_timeout": "",
            "gttsize": "-1",
            "vm_fragment_size": "-1",
            "aspm": "-1",
            "runpm": "-1",
            "mes": "0",
            "gpu_recovery": "-1",
            "dpm": "-1",
            "rebar": "-1",
            **machine.amdgpu_parameters,
        }
        taint = "OE" if machine.amdgpu_version else ""
        out.append(Module("amdgpu", machine.amdgpu_version, parameters, taint, 20_484_096))
        limit = machine.ttm_pages_limit or machine.mem_total_kib // 8
        name = "amdttm" if machine.amdgpu_version else "ttm"
        out.append(
            Module(
                name,
                None,
                {"pages_limit": str(limit), "page_pool_size": str(limit), "dma32_pages_limit": "0"},
                taint,
                110592,
                ("amdgpu",),
            )
        )
    driver = machine.nvidia_driver
    if machine.nouveau:
        out.append(Module("nouveau", None, {"modeset": "-1"}, "", 3_096_576))
    elif driver and any(gpu.function.driver == "nvidia" for gpu in machine.nvidia):
        taint = "OE" if driver.open_module else "POE"
        out.append(Module("nvidia_uvm", None, {"uvm_disable_hmm": "N"}, taint, 2_109_440))
        out.append(Module("nvidia_drm", driver.version, {"modeset": "Y", "fbdev": "N"}, taint, 122880))
        out.append(Module("nvidia_modeset", driver.version, {}, taint, 1_720_320, ("nvidia_drm",)))
        out.append(Module("nvidia", driver.version, {}, taint, 11_493_376, ("nvidia_uvm", "nvidia_modeset")))
    if any(function.driver == "vfio-pci" for function in machine.functions()):
        out.append(Module("vfio_pci", None, {"disable_idle_d3": "N"}, "", 16384))
    return out


def gpu_nodes(machine: Machine) -> list[NodeFile]:
    out: list[NodeFile] = []
    cards = working(machine)
    if machine.amd and cards:
        out.append(NodeFile("/dev/kfd", 0o660, "render"))
    first = _first_card(machine)
    if first:
        out.append(NodeFile("/dev/dri/card0", 0o660, "video"))
    for number, _ in enumerate(cards):
        out.append(NodeFile(f"/dev/dri/card{number + first}", 0o660, "video"))
        out.append(NodeFile(f"/dev/dri/renderD{128 + number}", 0o660, "render"))
    if machine.nvidia_driver and not machine.nouveau and any(gpu.function.driver == "nvidia" for gpu in machine.nvidia):
        visible = [gpu for gpu in machine.nvidia if gpu.function.known]
        out += [NodeFile(f"/dev/nvidia{number}", 0o666) for number, _ in enumerate(visible)]
        out += [
            NodeFile(f"/dev/{name}", 0o666)
            for name in ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset")
        ]
    known = {node.path for node in machine.nodes}
    return [node for node in out if node.path not in known]

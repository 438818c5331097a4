"""What amdgpu, KFD and the NVIDIA driver show of their GPUs.

Sources: drivers/gpu/drm/amd/pm/amdgpu_pm.c, amdkfd/kfd_topology.c (order of the lines of `properties`) and kfd_crat.h
(flags of links); NVIDIA's /proc/driver/nvidia as printed by drivers 550 to 575.
"""

from __future__ import annotations

from tests.boxes.hardware import AmdGpu, Module, NodeFile, NvidiaGpu
from tests.boxes.machine import Machine
from tests.boxes.pci_build import MIB, Function
from tests.boxes.tree import Tree

LINK_ENABLED, LINK_NON_COHERENT, LINK_NO_ATOMICS, LINK_NO_PEER = 1 << 0, 1 << 1, 1 << 2 | 1 << 3, 1 << 4


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
        _kfd(machine, out)
        _rocm(machine, out)
    for function in machine.functions():
        if function.driver in ("ast", "i915"):
            _drm(out, function, "card0", "renderD128" if function.driver == "i915" else None)
    if machine.nvidia_driver:
        _nvidia(machine, out)


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


# KFD

TOPOLOGY = "/sys/devices/virtual/kfd/kfd/topology"


def _kfd(machine: Machine, out: Tree) -> None:
    out.link("/sys/class/kfd/kfd", "/sys/devices/virtual/kfd/kfd")
    out.put(f"{TOPOLOGY}/generation_id", 2)
    out.put(
        f"{TOPOLOGY}/system_properties", "platform_oem 4777524452235890003\nplatform_id 85015745549651\nplatform_rev 2"
    )
    gpus = [gpu for gpu in working(machine) if not gpu.no_atomics or gpu.apu]
    sockets = machine.cpu.sockets
    for socket in range(sockets):
        here = f"{TOPOLOGY}/nodes/{socket}"
        out.put(f"{here}/gpu_id", 0)
        out.put(f"{here}/name", "")
        others = len(gpus) + sockets - 1
        out.put(
            f"{here}/properties",
            _lines(
                {
                    **_node(machine.cpu.cores * machine.cpu.threads_per_core, 0, 1, 0, others, 0),
                    "max_engine_clk_ccompute": machine.cpu.max_mhz,
                }
            ),
        )
        out.put(
            f"{here}/mem_banks/0/properties",
            _lines(
                {
                    "heap_type": 0,
                    "size_in_bytes": machine.mem_total_kib * 1024 // sockets,
                    "flags": 0,
                    "width": 72,
                    "mem_clk_max": 3200,
                }
            ),
        )
        targets = [*range(socket), *range(socket + 1, sockets), *range(sockets, sockets + len(gpus))]
        for number, target in enumerate(targets):
            peer = target >= sockets
            flags = _flags(gpus[target - sockets]) if peer else LINK_ENABLED
            out.put(
                f"{here}/io_links/{number}/properties",
                _link(2 if peer else 1, socket, target, 20 if peer else 32, flags),
            )
    for number, gpu in enumerate(gpus):
        _kfd_gpu(machine, out, gpus, number, gpu, sockets)


def _flags(gpu: AmdGpu) -> int:
    return LINK_ENABLED | (LINK_NO_ATOMICS if gpu.no_atomics else 0)


def _kfd_gpu(machine: Machine, out: Tree, gpus: list[AmdGpu], number: int, gpu: AmdGpu, sockets: int) -> None:
    function, node = gpu.function, sockets + number
    here = f"{TOPOLOGY}/nodes/{node}"
    large_bar = gpu.apu or function.bar(0).size >= gpu.vram_mib * MIB
    peers = (
        []
        if gpu.apu or not large_bar or machine.kernel.config.get("CONFIG_HSA_AMD_P2P") == "n"
        else [
            sockets + other
            for other, peer in enumerate(gpus)
            if peer is not gpu
            and not peer.no_peer
            and peer.function.bar(0).size >= peer.vram_mib * MIB
            and not gpu.no_peer
        ]
    )
    out.put(f"{here}/gpu_id", 1024 + (gpu.unique_id & 0x3FFF) * 3 + number)
    out.put(f"{here}/name", {11: "ip discovery"}.get(gpu.gfx_target // 10000, "ip discovery"))
    out.put(
        f"{here}/properties",
        _lines(
            {
                **_node(0, gpu.compute_units * 2, 1, 16, 1, len(peers)),
                "max_waves_per_simd": 16,
                "lds_size_in_kb": 64,
                "wave_front_size": 32,
                "num_gws": 64,
                "array_count": gpu.shader_engines * 2,
                "simd_arrays_per_engine": 2,
                "cu_per_simd_array": max(1, gpu.compute_units // (gpu.shader_engines * 2)),
                "simd_per_cu": 2,
                "max_slots_scratch_cu": 32,
                "gfx_target_version": gpu.gfx_target,
                "vendor_id": 0x1002,
                "device_id": function.device,
                "location_id": function.requester_id,
                "domain": 0,
                "drm_render_minor": 128 + _minor(machine, gpu),
                "hive_id": 0,
                "num_sdma_engines": 1 if gpu.apu else 2,
                "num_sdma_xgmi_engines": 0,
                "num_sdma_queues_per_engine": 6,
                "num_cp_queues": 8,
                "max_engine_clk_fcompute": gpu.core_mhz,
                "local_mem_size": 0,
                "fw_version": 555,
                "capability": 671588992,
                "debug_prop": 1495,
                "sdma_fw_version": 21,
                "unique_id": gpu.unique_id,
                "num_xcc": 1,
                "max_engine_clk_ccompute": machine.cpu.max_mhz,
            }
        ),
    )
    memory = gpu.kfd_memory_bytes if gpu.kfd_memory_bytes is not None else gpu.vram_mib * MIB
    out.put(
        f"{here}/mem_banks/0/properties",
        _lines(
            {
                "heap_type": 1 if large_bar else 2,
                "size_in_bytes": memory,
                "flags": 0,
                "width": gpu.memory_width,
                "mem_clk_max": gpu.memory_mhz,
            }
        ),
    )
    home = function.numa_node if 0 <= function.numa_node < sockets else 0
    out.put(f"{here}/io_links/0/properties", _link(2, node, home, 20, _flags(gpu)))
    for position, peer in enumerate(peers):
        out.put(f"{here}/p2p_links/{position}/properties", _link(2, node, peer, 40, LINK_ENABLED))


NODE_KEYS = (
    "cpu_cores_count",
    "simd_count",
    "mem_banks_count",
    "caches_count",
    "io_links_count",
    "p2p_links_count",
    "cpu_core_id_base",
    "simd_id_base",
    "max_waves_per_simd",
    "lds_size_in_kb",
    "gds_size_in_kb",
    "num_gws",
    "wave_front_size",
    "array_count",
    "simd_arrays_per_engine",
    "cu_per_simd_array",
    "simd_per_cu",
    "max_slots_scratch_cu",
    "gfx_target_version",
    "vendor_id",
    "device_id",
    "location_id",
    "domain",
    "drm_render_minor",
    "hive_id",
    "num_sdma_engines",
    "num_sdma_xgmi_engines",
    "num_sdma_queues_per_engine",
    "num_cp_queues",
)


def _node(cores: int, simds: int, banks: int, caches: int, links: int, peers: int) -> dict[str, int]:
    rows = dict.fromkeys(NODE_KEYS, 0)
    rows |= {
        "cpu_cores_count": cores,
        "simd_count": simds,
        "mem_banks_count": banks,
        "caches_count": caches,
        "io_links_count": links,
        "p2p_links_count": peers,
        "simd_id_base": 0x80001000 if simds else 0,
    }
    return rows


def _link(kind: int, start: int, end: int, weight: int, flags: int) -> str:
    return _lines(
        {
            "type": kind,
            "version_major": 0,
            "version_minor": 0,
            "node_from": start,
            "node_to": end,
            "weight": weight,
            "min_latency": 0,
            "max_latency": 0,
            "min_bandwidth": 312 if kind == 2 else 0,
            "max_bandwidth": 32000 if kind == 2 else 0,
            "recommended_transfer_size": 0,
            "recommended_sdma_engine_id_mask": 0,
            "flags": flags,
        }
    )


def _lines(rows: dict[str, int]) -> str:
    return "\n".join(f"{name} {value}" for name, value in rows.items())


def _rocm(machine: Machine, out: Tree) -> None:
    if machine.rocm is None:
        return
    home = f"/opt/rocm-{machine.rocm}"
    out.put(f"{home}/.info/version", f"{machine.rocm}-{'74' if machine.rocm == '6.3.3' else '43'}")
    for name in ("libamdhip64.so.6", "libhsa-runtime64.so.1", "libhiprtc.so.6", "librocblas.so.4", "librccl.so.1"):
        out.put(f"{home}/lib/{name}", b"\x7fELF")
        out.link(f"{home}/lib/{name.rsplit('.', 1)[0]}", name)
    out.link("/opt/rocm", "/etc/alternatives/rocm")
    out.link("/etc/alternatives/rocm", home)
    out.put("/etc/ld.so.conf.d/10-rocm-opencl.conf", f"{home}/lib")


# NVIDIA

LIBRARIES = "/usr/lib/x86_64-linux-gnu"


def _nvidia(machine: Machine, out: Tree) -> None:
    driver = machine.nvidia_driver
    assert driver is not None
    library = driver.library_version or driver.version
    for name in ("libnvidia-ml", "libcuda", "libnvidia-ptxjitcompiler"):
        out.put(f"{LIBRARIES}/{name}.so.{library}", b"\x7fELF")
        out.link(f"{LIBRARIES}/{name}.so.1", f"{name}.so.{library}")
    if machine.nouveau or not any(gpu.function.driver == "nvidia" for gpu in machine.nvidia):
        return
    kind = "NVIDIA UNIX Open Kernel Module for x86_64" if driver.open_module else "NVIDIA UNIX x86_64 Kernel Module"
    built = "Release Build  (dvs-builder@U22-I3-AE18-09-6)  Wed Jan 22 02:09:02 UTC 2026"
    if not driver.open_module:
        built = "Wed Jan 22 02:09:02 UTC 2026"
    out.put(
        "/proc/driver/nvidia/version",
        f"NVRM version: {kind}  {driver.version}  {built}\n"
        "GCC version:  gcc version 13.3.0 (Ubuntu 13.3.0-6ubuntu2~24.04) ",
    )
    registry = (
        "ForceP2P=0x11;RMForceP2PType=1;RMPcieP2PType=2;GrdmaPciTopoCheckOverride=1" if driver.peer_patched else ""
    )
    parameters = {
        "ResmanDebugLevel": "4294967295",
        "RmLogonRC": "1",
        "ModifyDeviceFiles": "1",
        "DeviceFileUID": "0",
        "DeviceFileGID": "0",
        "DeviceFileMode": "438",
        "InitializeSystemMemoryAllocations": "1",
        "UsePageAttributeTable": "4294967295",
        "EnableMSI": "1",
        "EnablePCIeGen3": "0",
        "MemoryPoolSize": "0",
        "DynamicPowerManagement": "3",
        "EnableResizableBar": "0",
        "EnableGpuFirmware": "18",
        "OpenRmEnableUnsupportedGpus": "1",
        **driver.parameters,
    }
    out.put(
        "/proc/driver/nvidia/params",
        "\n".join(
            [f"{name}: {value}" for name, value in parameters.items()]
            + [f'RegistryDwords: "{registry}"', 'RegistryDwordsPerDevice: ""']
        ),
    )
    minor = 0
    for gpu in machine.nvidia:
        if not gpu.function.known:
            continue
        _nvidia_card(out, gpu, minor, driver.version)
        minor += 1


def _nvidia_card(out: Tree, gpu: NvidiaGpu, minor: int, version: str) -> None:
    function = gpu.function
    here = f"/proc/driver/nvidia/gpus/{function.bdf}"
    lost = gpu.fallen
    rows = [
        ("Model", gpu.model),
        ("IRQ", str(function.irq)),
        ("GPU UUID", gpu.uuid),
        ("Video BIOS", "??.??.??.??.??" if lost else gpu.vbios),
        ("Bus Type", "PCIe"),
        ("DMA Size", "47 bits"),
        ("DMA Mask", "0x7fffffffffff"),
        ("Bus Location", function.bdf),
        ("Device Minor", str(minor)),
        ("GPU Firmware", version),
        ("GPU Excluded", "No"),
    ]
    tabs = {"Model": "\t\t ", "IRQ": "  \t\t ", "GPU Excluded": "\t "}
    out.put(
        f"{here}/information", "\n".join(f"{name}:{tabs.get(name, ' ' + chr(9) + ' ')}{value}" for name, value in rows)
    )
    out.put(f"{here}/power", "Runtime D3 status:          Disabled by default\nVideo Memory:               Active")
    out.put(f"{here}/registry", 'Binary: ""')


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

"""KFD's topology and the ROCm installation. Order of lines: amdkfd/kfd_topology.c; flags: kfd_crat.h."""

from __future__ import annotations

from tests.boxes.hardware import AmdGpu
from tests.boxes.machine import Machine
from tests.boxes.pci_build import MIB
from tests.boxes.tree import Tree

LINK_ENABLED, LINK_NON_COHERENT, LINK_NO_ATOMICS, LINK_NO_PEER = 1 << 0, 1 << 1, 1 << 2 | 1 << 3, 1 << 4


PEER_OPTIONS = ("CONFIG_HSA_AMD_P2P", "CONFIG_PCI_P2PDMA", "CONFIG_DMABUF_MOVE_NOTIFY")

# KFD

TOPOLOGY = "/sys/devices/virtual/kfd/kfd/topology"


def topology(machine: Machine, out: Tree, cards: list[AmdGpu]) -> None:
    out.link("/sys/class/kfd/kfd", "/sys/devices/virtual/kfd/kfd")
    out.put(f"{TOPOLOGY}/generation_id", 2)
    out.put(
        f"{TOPOLOGY}/system_properties", "platform_oem 4777524452235890003\nplatform_id 85015745549651\nplatform_rev 2"
    )
    gpus = [gpu for gpu in cards if not gpu.no_atomics or gpu.apu]
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
    for number in range(len(gpus)):
        _kfd_gpu(machine, out, cards, gpus, number, sockets)


def _flags(gpu: AmdGpu) -> int:
    return LINK_ENABLED | (LINK_NO_ATOMICS if gpu.no_atomics else 0)


def _kfd_gpu(machine: Machine, out: Tree, cards: list[AmdGpu], gpus: list[AmdGpu], number: int, sockets: int) -> None:
    gpu = gpus[number]
    function, node = gpu.function, sockets + number
    here = f"{TOPOLOGY}/nodes/{node}"
    large_bar = gpu.apu or function.bar(0).size >= gpu.vram_mib * MIB
    peers = (
        []
        if gpu.apu or not large_bar or "n" in (machine.kernel.config.get(one) for one in PEER_OPTIONS)
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
                "drm_render_minor": 128 + cards.index(gpu),
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


def rocm(machine: Machine, out: Tree) -> None:
    if machine.rocm is None:
        return
    home = f"/opt/rocm-{machine.rocm}"
    out.put(f"{home}/.info/version", f"{machine.rocm}-{'74' if machine.rocm == '6.3.3' else '43'}")
    major = machine.rocm.partition(".")[0]
    for name in (f"libamdhip64.so.{major}", "libhsa-runtime64.so.1", f"libhiprtc.so.{major}", "librocblas.so.4",
                 "librccl.so.1"):
        out.put(f"{home}/lib/{name}", b"\x7fELF")
        out.link(f"{home}/lib/{name.rsplit('.', 1)[0]}", name)
    out.link("/opt/rocm", "/etc/alternatives/rocm")
    out.link("/etc/alternatives/rocm", home)
    out.put("/etc/ld.so.conf.d/10-rocm-opencl.conf", f"{home}/lib")

"""What programs and libraries answer on a machine: NVML, nvidia-smi, ipmitool, timedatectl.

Formats: nvidia-smi 550 to 575, ipmitool 1.8.19, systemd 255. NVML's answer has the fields of nvml.h, by the names under
which captures keep them (docs/reference/captures.md).
"""

from __future__ import annotations

from typing import Any

from tests.boxes.hardware import NvidiaGpu
from tests.boxes.machine import Machine
from tests.boxes.tree import Tree

GPU_IS_LOST, VERSION_MISMATCH, NO_PERMISSION = 15, 18, 4
P2P_OK, P2P_GPU_NOT_SUPPORTED = 0, 2
SMI_FIELDS = (
    "pci.bus_id,name,uuid,serial,vbios_version,persistence_mode,memory.total,power.limit,power.default_limit,"
    "temperature.gpu"
)


def render(machine: Machine, out: Tree) -> None:
    _clock(machine, out)
    if machine.bmc_driver and machine.as_root:
        _bmc(machine, out)
    if machine.nvidia_driver and not machine.nouveau:
        cards = [gpu for gpu in machine.nvidia if gpu.function.known and gpu.function.driver == "nvidia"]
        if cards:
            _nvml(machine, out, cards)


def _clock(machine: Machine, out: Tree) -> None:
    yes = machine.clock_synchronized
    if yes:
        out.put("/run/systemd/timesync/synchronized", b"")
    out.run(["timedatectl", "show", "-p", "NTPSynchronized", "--value"], "yes\n" if yes else "no\n")


def _bmc(machine: Machine, out: Tree) -> None:
    out.run(["ipmitool", "mc", "info"], (
        "Device ID                 : 32\nDevice Revision           : 1\nFirmware Revision         : 2.02\n"
        "IPMI Version              : 2.0\nManufacturer ID           : 49622\nManufacturer Name         : ASRock Rack\n"
        "Product ID                : 514 (0x0202)\nDevice Available          : yes\n"))  # fmt: skip
    rows = []
    for number, supply in enumerate(machine.supplies if machine.supplies_on_bmc else [], 1):
        state = "Presence detected" if supply.ok else "Presence detected, Power Supply AC lost"
        if not supply.present:
            state = "No Reading"
        rows.append(f"{supply.name + ' Status':<16s} | C{number}h | ok  | 10.{number} | {state}")
    out.run(["ipmitool", "sdr", "type", "Power Supply"], "".join(f"{row}\n" for row in rows))
    fans = [f"{f'FAN{number}':<16s} | {0x40 + number:02X}h | {machine.fan_status or ('ok' if rpm else 'cr'):3s} | "
            f"29.{number} | {rpm} RPM\n"
            for number, rpm in enumerate(machine.fan_rpm, 1)]  # fmt: skip
    out.run(["ipmitool", "sdr", "type", "Fan"], "".join(fans))
    events = ["System Event #0x72 | Timestamp Clock Sync | Asserted", *machine.bmc_events]
    rows = [f"{number:4x} | 08/30/2026 | 09:{number:02d}:12 | {event}\n" for number, event in enumerate(events, 1)]
    out.run(["ipmitool", "sel", "elist", "last", "100"], "".join(rows))


def _nvml(machine: Machine, out: Tree, cards: list[NvidiaGpu]) -> None:
    driver = machine.nvidia_driver
    assert driver is not None
    smi = ["nvidia-smi", f"--query-gpu={SMI_FIELDS}", "--format=csv,noheader,nounits"]
    if driver.library_version and driver.library_version != driver.version:
        out.answer("nvml", "gpus", {"error": VERSION_MISMATCH, "says": "Driver/library version mismatch"})
        version = driver.library_version.rpartition(".")[0]
        out.run(smi, "Failed to initialize NVML: Driver/library version mismatch\n"
                f"NVML library version: {version}\n", exit_status=18)  # fmt: skip
        return
    nodes = [node for node in machine.nodes if node.path.startswith("/dev/nvidia")]
    if any(machine.may_open(node) != "ok" for node in nodes):
        out.answer("nvml", "gpus", {"error": NO_PERMISSION, "says": "Insufficient Permissions"})
        out.run(smi, "Failed to initialize NVML: Insufficient Permissions\n", exit_status=4)
        return
    if driver.persistence:
        out.stat("/run/nvidia-persistenced/socket", 0o755, 0, 0, "socket", None)
    peer = P2P_OK if driver.peer_patched else P2P_GPU_NOT_SUPPORTED
    matrix = [[None if one is other else peer for other in cards] for one in cards]
    out.answer("nvml", "gpus", {
        "driver": driver.nvml_version or driver.version, "nvml": f"12.{driver.version}", "cuda": 12080, "count": len(cards),
        "gpus": [_gpu(machine, gpu, index) for index, gpu in enumerate(cards)], "p2p_read": matrix})  # fmt: skip
    rows = [_smi_row(gpu, driver.persistence) for gpu in cards if not gpu.fallen]
    lost = [gpu for gpu in cards if gpu.fallen]
    rows += [f"Unable to determine the device handle for GPU{gpu.function.bdf}: Unknown Error" for gpu in lost]
    out.run(smi, "".join(f"{row}\n" for row in rows), exit_status=255 if lost else 0)


def _gpu(machine: Machine, gpu: NvidiaGpu, index: int) -> dict[str, Any]:
    if gpu.fallen:
        return {"index": index, "error": GPU_IS_LOST, "says": "GPU is lost"}
    driver = machine.nvidia_driver
    assert driver is not None
    bar = max((bar.size for bar in gpu.function.bars if bar.kind == "mem64pref"), default=0)
    return {
        "index": index, "bdf": f"0000{gpu.function.bdf}".upper(), "name": gpu.model, "uuid": gpu.uuid,
        "vbios": gpu.vbios,
        "persistence": int(driver.persistence), "memory_bytes": gpu.memory_mib << 20, "bar1_bytes": bar,
        "power_limit_milliwatts": gpu.cap_watts * 1000, "power_default_milliwatts": gpu.default_cap_watts * 1000,
        "temperature_celsius": gpu.core_celsius, "pcie_replays": gpu.replays, "event_reasons": gpu.event_reasons,
        "remapped_rows": [0, gpu.remapped_rows, 0, int(gpu.remap_failed)],
    }  # fmt: skip


def _smi_row(gpu: NvidiaGpu, persistence: bool) -> str:
    mode = "Enabled" if persistence else "Disabled"
    return (f"0000{gpu.function.bdf}, {gpu.model}, {gpu.uuid}, [N/A], {gpu.vbios}, {mode}, {gpu.memory_mib}, "
            f"{gpu.cap_watts}.00, {gpu.default_cap_watts}.00, {gpu.core_celsius}")  # fmt: skip

"""What the NVIDIA driver shows of its GPUs: /proc/driver/nvidia as drivers 550 to 575 print it, and its libraries."""

from __future__ import annotations

from tests.boxes.hardware import NvidiaGpu
from tests.boxes.machine import Machine
from tests.boxes.tree import Tree

# NVIDIA

LIBRARIES = "/usr/lib/x86_64-linux-gnu"


def render(machine: Machine, out: Tree) -> None:
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
        _card(out, gpu, minor, driver.version)
        minor += 1


def _card(out: Tree, gpu: NvidiaGpu, minor: int, version: str) -> None:
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

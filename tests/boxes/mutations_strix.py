"""Mutations of Strix Halo: memory limits, kernel and firmware."""

from __future__ import annotations

from tests.boxes.machine import Machine
from tests.boxes.mutations import STRIX, mutation
from tests.boxes.mutations_system import without_driver

PAGES_PER_MIB = 256


def _set(machine: Machine, word: str, value: int) -> None:
    machine.kernel.parameters = [one for one in machine.kernel.parameters if not one.startswith(f"{word}=")]
    machine.kernel.parameters.append(f"{word}={value}")


def _limits(machine: Machine, pages: int, gtt_mib: int | None = None) -> None:
    """What kernel and driver make of a TTM limit: GTT and KFD's memory follow it."""
    machine.ttm_pages_limit = pages
    gpu = machine.amd[0]
    gpu.gtt_mib = gtt_mib if gtt_mib is not None else pages // PAGES_PER_MIB
    gpu.kfd_memory_bytes = pages * 4096


@mutation("strix-memory-default-half", STRIX, area="GPU memory is the kernel's default, half of the RAM")
def default_half(machine: Machine) -> None:
    machine.kernel.parameters = [
        one for one in machine.kernel.parameters if not one.startswith(("ttm.", "amdgpu.gttsize"))
    ]
    machine.amdgpu_parameters.pop("gttsize", None)
    _limits(machine, machine.mem_total_kib // 8)


@mutation("strix-memory-gtt-mismatch", STRIX, area="amdgpu.gttsize and ttm.pages_limit contradict each other")
def gtt_mismatch(machine: Machine) -> None:
    _set(machine, "amdgpu.gttsize", 65536)
    machine.amdgpu_parameters["gttsize"] = "65536"
    _limits(machine, machine.ttm_pages_limit or 0, 65536)


@mutation("strix-memory-all-memory", STRIX, area="the GPU may take all 128 GiB, nothing is left for the system")
def all_memory(machine: Machine) -> None:
    _set(machine, "ttm.pages_limit", 33554432)
    _set(machine, "amdgpu.gttsize", 131072)
    machine.amdgpu_parameters["gttsize"] = "131072"
    _limits(machine, 33554432)


@mutation("strix-pages-suffix", STRIX, area="ttm.pages_limit=124G is no number to the kernel, which refuses it")
def pages_suffix(machine: Machine) -> None:
    default_half(machine)
    machine.kernel.parameters.append("ttm.pages_limit=124G")


@mutation("strix-pages-negative", STRIX, area="ttm.pages_limit=-1 is no number of pages")
def pages_negative(machine: Machine) -> None:
    default_half(machine)
    machine.kernel.parameters.append("ttm.pages_limit=-1")


@mutation("strix-gtt-size-typo", STRIX, area="amdgpu.gtt_size is not a parameter, the kernel ignored it")
def gtt_size(machine: Machine) -> None:
    default_half(machine)
    _set(machine, "amdgpu.gtt_size", 126976)
    machine.boot_lines.setdefault("early", []).append("amdgpu: unknown parameter 'gtt_size' ignored")


@mutation("strix-kfd-15gb", STRIX, area="KFD shows 15.5 GB: the kernel is older than 6.16.9")
def kfd_15gb(machine: Machine) -> None:
    machine.kernel.release = "6.15.9-201.fc42.x86_64"
    machine.amd[0].kfd_memory_bytes = 15_500 << 20


@mutation("strix-kernel-too-old", STRIX, area="Linux 6.17 is older than what is stable on gfx1151 (6.18.4)")
def kernel_old(machine: Machine) -> None:
    machine.kernel.release = "6.17.4-300.fc43.x86_64"


@mutation("linux-firmware-20251125", STRIX, area="linux-firmware 20251125 breaks ROCm on Strix Halo")
def firmware(machine: Machine) -> None:
    machine.packages["linux-firmware"] = "20251125-1.fc43"


@mutation("strix-carve-out-large", STRIX, area="64 GiB are carved out for the GPU in the BIOS")
def carve_out(machine: Machine) -> None:
    gpu = machine.amd[0]
    gpu.vram_mib = gpu.visible_mib = 65536
    machine.memory_total_kib -= (65536 - 512) * 1024
    default_half(machine)


@mutation("strix-8050s", STRIX, area="the processor's GPU has 32 compute units, as an 8050S, under the id of the 8060S")
def strix_8050s(machine: Machine) -> None:
    machine.amd[0].compute_units = 32


@mutation("strix-no-gpu", STRIX, area="the processor's GPU is not on the bus, as one that the BIOS switched off")
def strix_no_gpu(machine: Machine) -> None:
    for function in machine.functions():
        if function.name in ("Radeon 8060S", "Radeon audio"):
            function.visible = False
    without_driver(machine)


@mutation("strix-no-driver", STRIX, area="amdgpu is not loaded, and nothing says why")
def strix_no_driver(machine: Machine) -> None:
    without_driver(machine)


@mutation("strix-iommu-on", STRIX, area="the IOMMU is on; amd_iommu=off is faster where no NPU or VFIO is used")
def iommu_on(machine: Machine) -> None:
    machine.kernel.parameters = [one for one in machine.kernel.parameters if one != "amd_iommu=off"]
    machine.iommu = "DMA-FQ"


@mutation("tuned-balanced", STRIX, area="tuned runs its profile balanced")
def tuned_balanced(machine: Machine) -> None:
    machine.edits.append(lambda tree: tree.put("/etc/tuned/active_profile", "balanced"))


@mutation("tuned-missing", STRIX, area="tuned is not installed")
def tuned_missing(machine: Machine) -> None:
    machine.edits.append(lambda tree: tree.remove("/etc/tuned"))


@mutation("strix-mes-hang", STRIX, area="the MES scheduler stopped answering")
def mes_hang(machine: Machine) -> None:
    bdf = machine.amd[0].function.bdf
    machine.log_lines += [
        f"amdgpu {bdf}: amdgpu: MES failed to respond to msg=REMOVE_QUEUE",
        f"amdgpu {bdf}: amdgpu: MES might be in unrecoverable state, issue a GPU reset",
        f"amdgpu {bdf}: amdgpu: GPU reset begin!",
        f"amdgpu {bdf}: amdgpu: MODE2 reset",
    ]

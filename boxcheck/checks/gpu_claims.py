"""Whether what a driver finds on a card is what its PCI id claims: memory, compute units, name."""

from __future__ import annotations

import re
from collections.abc import Iterator

from boxcheck.checks.driver import DRIVERS, on_own_driver
from boxcheck.checks.gpu_sensors import nvml_of
from boxcheck.checks.places import wanted_gpus, where
from boxcheck.checks.wording import GIB, a, listed, not_read, size
from boxcheck.model import BOX, Finding, Quantity, Unread
from boxcheck.probes.amdgpu import Amdgpu
from boxcheck.probes.gpus import Gpu, Gpus
from boxcheck.probes.kfd import NODES, Kfd
from boxcheck.probes.links import Links
from boxcheck.probes.nvml import Nvml, NvmlGpu
from boxcheck.profile import GpuPart, Profile
from boxcheck.registry import check, failed, marginal, passed, skipped, unknown

APART = 0.1
"""Share by which a driver's figure may differ from the nominal one. Drivers keep up to 3 % for themselves, inline ECC
takes 6.25 %; cards of one id differ by a sixth or more."""
_NUMBER = re.compile(r"[A-Z]*\d+[A-Z]*")
_VGPU = re.compile(r"-\d{1,3}(?:-\d{1,3})?(?:AC|[QCAB])$")
"""Ends of the names of a card's parts that a hypervisor hands out: `NVIDIA A10-12Q`."""
LABEL = "read the label on the card; its VBIOS may be another card's, or part of its memory is dead: replace the card"


def _memory(
    gpu: Gpu, amdgpu: Amdgpu, kfd: Kfd, nvml: NvmlGpu | Finding | None
) -> Iterator[tuple[str, str, int | Unread]]:
    """Who says it, where it was read, and the memory in bytes."""
    if gpu.vendor == "1002":
        base = f"/sys/bus/pci/devices/{gpu.bdf}/mem_info_vram_total"
        card, node = amdgpu.cards.get(gpu.bdf), kfd.of(gpu.bdf)
        yield "amdgpu", base, Unread(f"{base}: not read", "absent") if card is None else card.vram_bytes
        if node is not None and node.gfx_target is not None and node.gfx_target.startswith("gfx1"):
            # A partition of a large Instinct (gfx9) is a node of its own, with its share of the memory.
            yield "KFD", f"{NODES}/{node.index}/mem_banks", node.memory_bytes
    elif isinstance(nvml, NvmlGpu):
        missing = nvml.missing("memory_bytes") or Unread("NVML does not say how much memory it has", "unsupported")
        yield "NVML", "NVML", missing if nvml.memory_bytes is None else nvml.memory_bytes


def _hidden_units(gpu: Gpu, part: GpuPart, kfd: Kfd) -> Unread | None:
    """Why it is not known how many compute units an AMD card has, where KFD is there to tell."""
    if gpu.vendor != "1002" or part.compute_units is None or kfd.of(gpu.bdf) is not None:
        return None
    if isinstance(kfd.nodes, Unread):
        return None if kfd.nodes.kind == "absent" else kfd.nodes
    return next((node.unread for node in kfd.nodes if node.unread is not None and node.gpu_id != 0), None)


def _wrong(
    gpu: Gpu, part: GpuPart, memory: list[tuple[str, str, int]], kfd: Kfd, nvml: NvmlGpu | Finding | None
) -> Iterator[tuple[str, bool]]:
    """What does not fit the model, with whether the card is the lesser for it."""
    nominal = part.vram_gib or 0
    for by, _, found in memory:
        if abs(found / GIB - nominal) > APART * nominal:
            yield f"{by} finds {size(found)} of memory, {a(part.name)} has {nominal:g} GiB", found / GIB < nominal
    node = kfd.of(gpu.bdf)
    if node is not None and node.compute_units is not None and part.compute_units is not None and (
            node.compute_units != part.compute_units):
        yield (f"KFD finds {node.compute_units} compute units, {a(part.name)} has {part.compute_units}",
               node.compute_units < part.compute_units)
    if isinstance(nvml, NvmlGpu) and nvml.name is not None:
        number = _NUMBER.search(part.name)
        if number is not None and number[0] not in _NUMBER.findall(nvml.name.upper()):
            yield f"the driver calls it {nvml.name}, its PCI id is that of {a(part.name)}", True


@check("inventory.gpu-claims", reads=[Gpus, Links, Amdgpu, Kfd, Nvml], needs=["NVML for NVIDIA cards"])
def gpu_claims(
    gpus: Gpus, links: Links, amdgpu: Amdgpu, kfd: Kfd, nvml: Nvml, want: Profile
) -> Iterator[Finding]:
    """A card has another amount of memory, or another number of compute units, than its model.

    Why it matters: PCI id and revision are what the card's VBIOS says. A card with a lesser card's VBIOS, with memory
    that was switched off, or with a crippled chip answers to the right id and holds or computes less than was paid for.
    What to do: read the label on the card, compare its VBIOS with the others', swap it into another slot; then replace
    it.
    Not a fault: a few percent less than the label says, which driver and ECC keep for themselves.
    By hand: cat /sys/bus/pci/devices/<gpu>/mem_info_vram_total; grep simd_count
    /sys/class/kfd/kfd/topology/nodes/*/properties; nvidia-smi --query-gpu=name,memory.total --format=csv
    """
    if gpus.unreadable is not None:
        yield not_read(BOX, gpus.unreadable)
        return
    judged = wanted_gpus(gpus, want)
    if not judged:
        yield unknown(BOX, "none of the profile's GPUs answers, so none could be compared with its model") if (
            want.gpus.parts) else skipped(BOX, "no GPU with memory of its own")
    for gpu in judged:
        yield _judge(gpu, links, amdgpu, kfd, nvml, want)


def _asked(gpu: Gpu, nvml: Nvml, want: Profile) -> NvmlGpu | Finding | None:
    if gpu.vendor != "10de":
        return None
    return not_read(gpu.subject, nvml.gpus) if isinstance(nvml.gpus, Unread) else nvml_of(gpu, nvml, want)


def _judge(gpu: Gpu, links: Links, amdgpu: Amdgpu, kfd: Kfd, nvml: Nvml, want: Profile) -> Finding:
    part = gpu.part
    if part is None or not part.vram_gib:
        why = "shares the memory of the system" if gpu.integrated else "the database holds no memory size for it"
        return skipped(gpu.subject, why)
    if on_own_driver(want) and not isinstance(gpu.driver, Unread) and gpu.driver not in DRIVERS[gpu.vendor]:
        return skipped(gpu.subject, f"no driver of its own is bound, as goal {want.goal} wants it")
    seen = _asked(gpu, nvml, want)
    if isinstance(seen, NvmlGpu) and seen.name is not None and _VGPU.search(seen.name):
        return skipped(gpu.subject, f"{seen.name} is a part of a card, which has a part of its memory")
    sources = list(_memory(gpu, amdgpu, kfd, seen))
    memory = [(by, path, found) for by, path, found in sources if isinstance(found, int)]
    evidence = tuple(path for _, path, _ in sources)
    wrong = list(_wrong(gpu, part, memory, kfd, seen))
    if wrong:
        link = links.slot_link(gpu.bdf)
        make = failed if any(less for _, less in wrong) else marginal
        return make(
            gpu.subject, "; ".join(says for says, _ in wrong), evidence=evidence, cause=f"gpu:{gpu.bdf}",
            measured=Quantity(round(memory[0][2] / GIB, 1), "GiB") if memory else None,
            title=f"{gpu.slot or gpu.subject.name} holds a card that is not what its PCI id says: {part.name}",
            where=where(link, gpu, links, want) if link else None, help=(LABEL,))
    unread = next((found for _, _, found in sources if isinstance(found, Unread)), None)
    if isinstance(seen, Finding):
        return seen
    unread = _hidden_units(gpu, part, kfd) if unread is None else unread
    if unread is not None or not memory:
        missing = Unread("how much memory it has", "unsupported") if unread is None else unread
        return not_read(gpu.subject, missing, evidence=evidence)
    node = kfd.of(gpu.bdf)
    units = "" if node is None or node.compute_units is None else f", {node.compute_units} compute units"
    return passed(
        gpu.subject, f"{listed(f'{by} {size(found)}' for by, _, found in memory)}{units}, as {a(part.name)} has",
        measured=Quantity(round(memory[0][2] / GIB, 1), "GiB"), evidence=evidence)

"""What a box has, from the facts that doctor's probes read: cards, links, memory, processor, versions. Pure.

By hand: nvidia-smi -q; lspci -vv; dmidecode -t memory; uname -r
"""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.compare.side import Item
from boxcheck.engine.figures import Card
from boxcheck.engine.identities import numbers_in
from boxcheck.engine.inspect import Facts
from boxcheck.model import Scalar, Unread
from boxcheck.probes.amdgpu import Amdgpu
from boxcheck.probes.cpu import Cpu
from boxcheck.probes.dmi import Dmi
from boxcheck.probes.gpus import Gpu, Gpus
from boxcheck.probes.kernel import Kernel
from boxcheck.probes.links import Link, Links
from boxcheck.probes.memory import Memory
from boxcheck.probes.nvidia import Nvidia
from boxcheck.probes.nvme import Nvme
from boxcheck.probes.nvml import Nvml

Value = Scalar | None | Unread
MODEL = "GPU model"


def cards_in(facts: Facts) -> tuple[tuple[Card, ...], str]:
    """The GPUs of the bus, and why there may be others."""
    gpus = facts.of(Gpus)
    if isinstance(gpus, Unread):
        return (), gpus.why
    numbers = numbers_in(facts)
    cards = tuple(_card(gpu, *numbers.get(gpu.bdf, (None, None))) for gpu in gpus.gpus)
    return cards, gpus.unreadable.why if gpus.unreadable is not None else ""


def _card(gpu: Gpu, serial: str | None, uuid: str | None) -> Card:
    return Card(key=gpu.bdf, name=gpu.name, backend="", uuid=uuid, serial=serial, bdf=gpu.bdf, slot=gpu.slot)


def items_in(facts: Facts) -> tuple[Item, ...]:
    return (*_of_cards(facts), *_of_links(facts), *_of_box(facts))


def _of_cards(facts: Facts) -> Iterator[Item]:
    gpus, nvml, amdgpu = facts.of(Gpus), facts.of(Nvml), facts.of(Amdgpu)
    for gpu in () if isinstance(gpus, Unread) else gpus.gpus:
        yield Item(what=MODEL, value=Unread("it answers all ones", "error") if gpu.gone else gpu.name,
                   kind="setting", card=gpu.bdf)
        if gpu.integrated:
            continue
        known = None if isinstance(nvml, Unread) else nvml.of(gpu.bdf)
        card = None if isinstance(amdgpu, Unread) else amdgpu.cards.get(gpu.bdf)
        unasked = Unread("its driver was not asked", "not-captured")

        def told(name: str, nvidia: Value, amd: Value, known: object = known, card: object = card,
                 unasked: Unread = unasked) -> Value:
            if known is not None:
                missing = known.missing(name)  # type: ignore[attr-defined]
                return missing if missing is not None else nvidia
            return amd if card is not None else unasked

        yield Item(what="GPU memory", unit="bytes", card=gpu.bdf, value=told(
            "memory_bytes", known.memory_bytes if known else None, card.vram_bytes if card else None))
        yield Item(what="VBIOS", kind="setting", card=gpu.bdf, value=told(
            "vbios", known.vbios if known else None, card.vbios if card else None))
        if known is not None:
            yield Item(what="power limit", unit="W", kind="setting", card=gpu.bdf, value=told(
                "power_limit_watts", known.power_limit_watts, None))
            yield Item(what="ECC of its memory", kind="setting", card=gpu.bdf, value=told("ecc", known.ecc, None))


def _of_links(facts: Facts) -> Iterator[Item]:
    gpus, links = facts.of(Gpus), facts.of(Links)
    if isinstance(gpus, Unread) or isinstance(links, Unread):
        return
    for gpu in gpus.gpus:
        link = None if gpu.slot_link is None else links.links.get(gpu.slot_link)
        if link is not None:
            place = gpu.slot or gpu.bdf
            yield Item(what="link width", unit="lanes", place=place, value=_width(link))
            yield Item(what="link speed under load", unit="GT/s", place=place, value=_speed(link))


def _width(link: Link) -> Value:
    if not isinstance(link.under_load, Unread) and link.under_load.width:
        return link.under_load.width
    return Unread("the port tells no legal width", "error") if link.width is None else link.width


def _speed(link: Link) -> Value:
    """An idle GPU slows its link down, so that only the speed under load says anything."""
    if isinstance(link.under_load, Unread):
        return Unread(f"not read under load ({link.under_load.why})", link.under_load.kind)
    speed = link.under_load.speed_gts
    return Unread("the port tells no speed", "error") if speed is None else speed


def _of_box(facts: Facts) -> Iterator[Item]:
    dmi, kernel, cpu, memory = facts.of(Dmi), facts.of(Kernel), facts.of(Cpu), facts.of(Memory)
    nvme, nvidia, amdgpu = facts.of(Nvme), facts.of(Nvidia), facts.of(Amdgpu)
    yield Item(what="memory installed", unit="bytes", value=memory if isinstance(memory, Unread) else (
        memory.installed_bytes))
    modules: Value = memory if isinstance(memory, Unread) else memory.modules if isinstance(
        memory.modules, Unread) else _modules(memory)
    yield Item(what="memory modules", value=modules)
    yield Item(what="processor", kind="setting", value=cpu if isinstance(cpu, Unread) else cpu.model)
    yield Item(what="processor cores", value=cpu if isinstance(cpu, Unread) else cpu.cores)
    yield Item(what="NVMe drives", value=nvme if isinstance(nvme, Unread) else (
        len(nvme.drives) if nvme.unreadable is None else nvme.unreadable))
    yield Item(what="board", kind="setting", value=dmi if isinstance(dmi, Unread) else dmi.board_name)
    yield Item(what="BIOS", kind="setting", value=dmi if isinstance(dmi, Unread) else dmi.bios_version)
    yield Item(what="kernel", kind="setting", value=kernel if isinstance(kernel, Unread) else kernel.release)
    line = kernel if isinstance(kernel, Unread) else kernel.command_line
    yield Item(what="kernel command line", kind="setting", value=line if isinstance(line, Unread) else _words(
        tuple(one.text for one in line.parameters)))
    if not isinstance(nvidia, Unread):
        yield Item(what="NVIDIA driver", kind="setting", value=nvidia.version)
    if not isinstance(amdgpu, Unread) and amdgpu.loaded is not False:
        yield Item(what="amdgpu driver", kind="setting", value=amdgpu.loaded if isinstance(
            amdgpu.loaded, Unread) else amdgpu.version if isinstance(amdgpu.version, Unread) else (
            amdgpu.version or "of the kernel"))


def _words(parameters: tuple[str, ...]) -> str:
    """Without what names the image and its disk: these are others on each box and after each update."""
    return " ".join(one for one in parameters if not one.startswith(("BOOT_IMAGE=", "root=", "initrd="))) or "empty"


def _modules(memory: Memory) -> Value:
    assert not isinstance(memory.modules, Unread)
    states = [one.installed for one in memory.modules]
    unread = next((state for state in states if isinstance(state, Unread)), None)
    return unread if unread is not None else sum(1 for state in states if state is True)

"""The windows through which the processor and other cards reach a GPU's memory."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.checks.places import short, wanted_gpus, where
from boxcheck.checks.steps import BIOS_ROOM, REALLOC, STILL_SMALL
from boxcheck.checks.wording import size
from boxcheck.model import BOX, Finding, Limit, Quantity, Unread
from boxcheck.probes.amdgpu import Amdgpu
from boxcheck.probes.gpus import Gpu, Gpus
from boxcheck.probes.links import Links
from boxcheck.probes.pci import PciFunction, PciInventory, Region
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, limit, marginal, passed, skipped, unknown

FULL = limit(
    "bar.full_vram", bool, "eq", "", "Whether the BAR of every GPU must cover all of its memory (Resizable BAR)."
)

GIB = 1 << 30
FOUR_GIB = 4 * GIB
SLACK = 0.9
"""Cards keep some of their memory from the driver, so what it reports is up to a few percent below nominal."""


def memory_regions(gpu: Gpu) -> tuple[Region, ...] | Unread:
    regions = gpu.function.regions
    if isinstance(regions, Unread):
        return regions
    return tuple(region for region in regions if region.is_memory and region.index < 6)


def vram_bytes(gpu: Gpu, amdgpu: Amdgpu) -> int | None:
    """What the driver reports, else the nominal size of the model; None when neither is known."""
    card = amdgpu.cards.get(gpu.bdf)
    if card is not None and not isinstance(card.vram_bytes, Unread) and card.vram_bytes > 0:
        return card.vram_bytes
    if gpu.part is not None and gpu.part.vram_gib:
        return int(gpu.part.vram_gib * GIB)
    return None


def _judged(gpus: Gpus, want: Profile) -> list[Gpu]:
    return [gpu for gpu in wanted_gpus(gpus, want) if not gpu.integrated]


def _nothing(gpus: Gpus) -> Finding:
    if gpus.unreadable is not None:
        return unknown(BOX, f"not read: {gpus.unreadable.why}")
    return skipped(BOX, "no GPU with memory of its own")


@check("bar.full-vram", reads=[Gpus, Links, Amdgpu], limits=[FULL])
def full_vram(gpus: Gpus, links: Links, amdgpu: Amdgpu, want: Profile) -> Iterator[Finding]:
    """A GPU shows less of its memory on the bus than it has: its BAR is too small.

    Why it matters: other cards and the processor reach GPU memory through this window. With 256 MiB of 24 GiB,
    peer-to-peer between cards is refused or goes through the host.
    What to do: BIOS setup: Above 4G Decoding on, Resizable BAR (Smart Access Memory) on, CSM off. On some cards the
    VBIOS must be updated first.
    Not a fault: for work on one card alone the small window costs little. Where the profile asks for nothing, only a
    card is told that is behind another of its model.
    By hand: sudo lspci -vv -s <gpu> | grep -E 'Region [01]|BAR [01]: current size'
    """
    judged = _judged(gpus, want)
    if not judged:
        yield _nothing(gpus)
        return
    wanted = want.limit(FULL)
    small = [gpu for gpu in judged if _is_small(gpu, amdgpu)]
    full = {gpu.pci_id for gpu in judged if isinstance(_largest(gpu), int) and gpu not in small}
    for gpu in judged:
        yield _judge_size(gpu, links, amdgpu, want, wanted, everywhere=len(small) == len(judged) > 1,
                          odd=gpu.pci_id in full)


def _largest(gpu: Gpu) -> int | Unread:
    regions = memory_regions(gpu)
    if isinstance(regions, Unread):
        return regions
    return max((region.size_bytes for region in regions), default=0)


def _is_small(gpu: Gpu, amdgpu: Amdgpu) -> bool:
    largest, vram = _largest(gpu), vram_bytes(gpu, amdgpu)
    return isinstance(largest, int) and vram is not None and largest < vram * SLACK


def _judge_size(
    gpu: Gpu, links: Links, amdgpu: Amdgpu, want: Profile, wanted: Limit | None, everywhere: bool, odd: bool
) -> Finding:
    """`odd`: another card of this model shows all of its memory."""
    evidence = (f"/sys/bus/pci/devices/{gpu.bdf}/resource",)
    largest, vram = _largest(gpu), vram_bytes(gpu, amdgpu)
    if isinstance(largest, Unread):
        return unknown(gpu.subject, f"BAR size not read: {largest.why}", evidence=evidence)
    if vram is None:
        return unknown(gpu.subject, f"the largest BAR is {size(largest)}; how much memory the card has is not known",
                       evidence=evidence)
    measured = Quantity(largest, "bytes")
    if largest >= vram * SLACK:
        return passed(gpu.subject, f"BAR {size(largest)} for {size(vram)} of memory", measured=measured, limit=wanted,
                      evidence=evidence)
    says = f"BAR {size(largest)} for {size(vram)} of memory"
    link = links.slot_link(gpu.bdf)
    config = gpu.function.config
    could: tuple[str, ...] = ()
    if not isinstance(config, Unread) and isinstance(config.rebar, tuple):
        most = max((supported for bar in config.rebar for supported in bar.supported_sizes_bytes), default=0)
        could = (f"the card could open {size(most)}",) if most >= vram * SLACK else (
            f"the card offers {size(most)} at most: its VBIOS needs an update",)
    options = {
        "measured": measured, "limit": wanted, "evidence": evidence, "notes": could,
        "cause": "bar-small:" if everywhere else f"bar:{gpu.bdf}",
        "title": None if lost_bars(gpu) else "Resizable BAR is off: no GPU shows all of its memory" if everywhere
        else f"{gpu.slot or gpu.subject.name} shows {size(largest)} of its {size(vram)}",
        "where": where(link, gpu, links, want) if link and not everywhere else None,
        "help": (BIOS_ROOM, STILL_SMALL),
    }
    if wanted is not None and wanted.must:
        return failed(gpu.subject, says, **options)
    if wanted is not None and wanted.should:
        return marginal(gpu.subject, says, **options)
    if wanted is None and odd:
        return marginal(gpu.subject, f"{says}, others of its model show all of theirs", **options)
    return passed(gpu.subject, f"{says}; the profile does not ask for more", measured=measured, evidence=evidence)


@check("bar.unassigned", reads=[Gpus, Links])
def unassigned(gpus: Gpus, links: Links, want: Profile) -> Iterator[Finding]:
    """A memory BAR of a GPU has no address, or the card does not answer at the one that it has.

    Why it matters: the driver cannot reach the card and refuses to load for it.
    Memory decoding or bus mastering that is off under the card's own driver is told here as well.
    What to do: BIOS setup: Above 4G Decoding on, a larger MMIO high size; or boot with `pci=realloc`.
    Not a fault: I/O port windows without an address are harmless; expansion ROMs too.
    By hand: cat /sys/bus/pci/devices/<gpu>/resource; sudo dmesg | grep -E "can't assign|no space"
    """
    judged = _judged(gpus, want)
    if not judged:
        yield _nothing(gpus)
        return
    for gpu in judged:
        regions = memory_regions(gpu)
        evidence = (f"/sys/bus/pci/devices/{gpu.bdf}/resource", f"/sys/bus/pci/devices/{gpu.bdf}/config")
        if isinstance(regions, Unread):
            yield unknown(gpu.subject, f"not read: {regions.why}", evidence=evidence)
            continue
        lost = lost_bars(gpu)
        link = links.slot_link(gpu.bdf)
        if lost:
            yield failed(
                gpu.subject, f"{', '.join(lost)} has no address", evidence=evidence, cause=f"bar:{gpu.bdf}",
                title=f"no room on the bus for the memory of {gpu.slot or gpu.subject.name}",
                where=where(link, gpu, links, want) if link else None,
                help=(BIOS_ROOM, REALLOC),
            )
        elif not regions:
            yield unknown(gpu.subject, "the kernel lists no memory BAR", evidence=evidence)
        elif isinstance(gpu.function.config, Unread):
            # The kernel lists a BAR that it could not place as one that does not exist: the registers tell them apart.
            yield unknown(gpu.subject, f"the {len(regions)} memory BARs that the kernel lists have addresses; whether "
                          f"the card has more was not read: {gpu.function.config.why}", evidence=evidence)
        elif off := switched_off(gpu):
            yield failed(
                gpu.subject, f"switched off in the Command register while {gpu.driver} is bound to it: {off}",
                evidence=evidence, cause=f"bar:{gpu.bdf}", where=where(link, gpu, links, want) if link else None,
                title=f"{gpu.slot or gpu.subject.name} does not answer at its memory" if off.startswith(MEMORY) else
                f"{gpu.slot or gpu.subject.name} may not reach memory by itself",
                help=("reboot; if it is so again, read why its driver gave up: boxcheck doctor log -v",),
            )
        else:
            yield passed(gpu.subject, f"{len(regions)} memory BARs have addresses", evidence=evidence)


MEMORY = "memory decoding"
MEMORY_ENABLE, BUS_MASTER = 0x2, 0x4
DRIVERS = frozenset({"amdgpu", "nvidia", "i915", "xe", "nouveau", "radeon"})


def switched_off(gpu: Gpu) -> str:
    """What of memory decoding and bus mastering is off at a card that its own driver drives and that is awake. A driver
    for guests (vfio-pci) switches both off while no guest runs, and so does a card at rest."""
    config, function = gpu.function.config, gpu.function
    if isinstance(config, Unread) or gpu.gone or gpu.driver not in DRIVERS or function.power_state != "D0":
        return ""
    off = [name for bit, name in ((MEMORY_ENABLE, MEMORY), (BUS_MASTER, "bus mastering")) if not config.command & bit]
    return " and ".join(off)


def lost_bars(gpu: Gpu) -> list[str]:
    """Memory BARs without an address: `BAR 1 of 32 GiB`, or `BAR 1` where the kernel dropped its size too."""
    regions = memory_regions(gpu)
    if isinstance(regions, Unread):
        return []
    known = {region.index for region in regions}
    return [
        *(f"BAR {region.index} of {size(region.size_bytes)}" for region in regions if not region.assigned),
        *(f"BAR {index}" for index in _implemented(gpu) if index not in known),
    ]


def _implemented(gpu: Gpu) -> list[int]:
    """Indices of memory BARs that the card implements as its registers tell, without the upper halves of 64-bit ones.
    The kernel zeroes the `resource` line of a BAR that it could not place, while type bits stay in the register."""
    config = gpu.function.config
    if isinstance(config, Unread) or config.all_ones:
        return []
    found: list[int] = []
    index = 0
    while index < len(config.bars):
        register = config.bars[index]
        is_io = register & 1
        wide = not is_io and register & 0b110 == 0b100
        # A register of plain zeros is a BAR that does not exist or a 32-bit one without address: nobody can tell.
        if not is_io and register & 0xF:
            found.append(index)
        index += 2 if wide else 1
    return found


@check("bar.above-4g", reads=[Gpus, Links])
def above_4g(gpus: Gpus, links: Links, want: Profile) -> Iterator[Finding]:
    """A GPU's memory window lies below 4 GiB, where there is no room for a full one.

    Why it matters: all devices share the space below 4 GiB; with several GPUs it runs out, and windows stay small.
    What to do: BIOS setup: Above 4G Decoding on, CSM off.
    Not a fault: register windows (16 to 32 MiB) always lie there.
    By hand: head -2 /sys/bus/pci/devices/<gpu>/resource
    """
    judged = _judged(gpus, want)
    if not judged:
        yield _nothing(gpus)
        return
    below: list[Gpu] = []
    for gpu in judged:
        regions = memory_regions(gpu)
        if isinstance(regions, Unread):
            yield unknown(gpu.subject, f"not read: {regions.why}")
            continue
        windows = [region for region in regions if region.size_bytes >= 256 << 20 and region.assigned]
        if windows and all(region.start < FOUR_GIB for region in windows):
            below.append(gpu)
        elif windows:
            yield passed(gpu.subject, "its memory window lies above 4 GiB")
        else:
            yield unknown(gpu.subject, "no memory window of 256 MiB or more has an address")
    for gpu in below:
        everywhere = len(below) == len(judged)
        yield marginal(
            gpu.subject, "its memory window lies below 4 GiB",
            cause="bar-small:" if everywhere and len(judged) > 1 else f"bar:{gpu.bdf}",
            evidence=(f"/sys/bus/pci/devices/{gpu.bdf}/resource",), title="Above 4G Decoding is off",
            help=(BIOS_ROOM,),
        )


def _window_unread(bridge: PciFunction) -> Unread | None:
    """Why nobody knows which addresses a bridge passes on."""
    if isinstance(bridge.config, Unread):
        return bridge.config
    return None if bridge.config.bridge is not None else Unread(f"{short(bridge.bdf)} shows no windows", "malformed")


@check("bar.bridge-window", reads=[Gpus, Links, PciInventory])
def bridge_window(gpus: Gpus, links: Links, pci: PciInventory, want: Profile) -> Iterator[Finding]:
    """A bridge above a GPU has a window that does not hold the GPU's memory.

    Why it matters: what lies outside the window of a bridge is not reachable through it.
    What to do: BIOS setup: a larger MMIO high size; or boot with `pci=realloc`.
    Not a fault: a bridge above a card whose BAR has no address at all; that is bar.unassigned.
    By hand: sudo lspci -vv -s <port> | grep 'Prefetchable memory behind bridge'
    """
    judged = _judged(gpus, want)
    if not judged:
        yield _nothing(gpus)
        return
    for gpu in judged:
        regions = memory_regions(gpu)
        if isinstance(regions, Unread):
            yield unknown(gpu.subject, f"not read: {regions.why}")
            continue
        outside = next((
            (region, bridge.bdf) for region in regions if region.assigned
            for bridge in pci.ancestors(gpu.bdf)
            if not isinstance(bridge.config, Unread) and bridge.config.bridge is not None
            and not any(
                window is not None and window.base <= region.start
                and region.start + region.size_bytes - 1 <= window.limit
                for window in (bridge.config.bridge.memory, bridge.config.bridge.prefetchable)
            )
        ), None)
        hidden = next((why for bridge in pci.ancestors(gpu.bdf) if (why := _window_unread(bridge)) is not None), None)
        if outside is None and hidden is not None:
            yield unknown(gpu.subject, f"a bridge above was not read: {hidden.why}")
            continue
        if not any(region.assigned for region in regions):
            yield unknown(gpu.subject, "none of its memory has an address that could lie in a window")
            continue
        if outside is None:
            yield passed(gpu.subject, "every bridge above passes its memory on")
            continue
        region, bridge_bdf = outside
        yield failed(
            gpu.subject, f"BAR {region.index} of {size(region.size_bytes)} lies outside the window of bridge "
            f"{short(bridge_bdf)}", cause=f"bar:{gpu.bdf}",
            evidence=(f"/sys/bus/pci/devices/{gpu.bdf}/resource", f"/sys/bus/pci/devices/{bridge_bdf}/config"),
            title=f"bridge {short(bridge_bdf)} does not pass on the memory of {gpu.slot or gpu.subject.name}",
            help=("BIOS setup: MMIO high size to the largest value", "still so: boot with pci=realloc"),
        )

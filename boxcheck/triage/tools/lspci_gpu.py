"""GPUs out of lspci: fallen off the bus, memory windows, drivers, atomics, ACS.

Source  gpus.toml for what a card has; pciutils lspci.c (`show_bases`) for `<ignored>` and `<unassigned>`; Linux
        drivers/pci/pci.c (`pci_enable_atomic_ops_to_root`) for what atomics need of the ports.
"""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.decode.klog.events import Event
from boxcheck.decode.lspci import LspciFunction, LspciRegion
from boxcheck.triage.tools.lspci_event import GIB, MIB, called, event, listed, size
from boxcheck.triage.tools.lspci_scene import Gpu, Scene, short
from boxcheck.triage.tools.steps import CHECK_POWER, LARGE_BAR, POWER_CYCLE

SLACK = 0.9
"""A card's nominal memory against its window: the driver keeps a few percent, windows are powers of two."""
SMALL = 256 * MIB
"""What firmware gives every card when Resizable BAR is off."""
_GONE_HELP = (
    POWER_CYCLE,
    CHECK_POWER,
    "on a laptop it may only be switched off to save power: `cat /sys/bus/pci/devices/{bdf}/power_state`",
)
_BAR_HELP = (
    "BIOS setup: Above 4G Decoding on, Resizable BAR on, CSM off, and a larger MMIO High size where it has one",
    "read why: sudo dmesg | grep -E \"can't assign|no space|BAR\"",
)
_REBAR_HELP = (
    LARGE_BAR,
    "still small: update the card's VBIOS, then look for `can't assign` in the kernel log",
)
_DRIVERS = {0x10DE: ("nvidia",), 0x1002: ("amdgpu",), 0x8086: ("i915", "xe")}


def gpu_events(scene: Scene) -> Iterator[Event]:
    """Every judgement of a GPU, by address, then of other devices that are gone, then of ACS."""
    vanished = frozenset(scene.dump.vanished)
    for gpu in scene.gpus:
        if gpu.function.gone:
            yield _gone(gpu)
            continue
        if gpu.bdf in vanished:
            yield event(
                gpu.function, "gpu-lost", "warn", None,
                f"the {gpu.name} stands in an earlier list of this text and not in the last one",
                labels=("not listed",), help=("was it taken out? If not: sudo dmesg | grep -iE 'pciehp|fallen|lost'",))
            continue
        yield from _bars(gpu)
        yield from _driver(scene, gpu)
        yield from _atomics(scene, gpu)
    yield from _others_gone(scene)
    yield from _acs(scene)


def _gone(gpu: Gpu) -> Event:
    help = tuple(step.format(bdf=gpu.bdf) for step in _GONE_HELP)
    return event(
        gpu.function, "gpu-lost", "fail", "signal",
        f"the {gpu.name} does not answer: its registers read as all ones", labels=("all ones",), help=help)


def _others_gone(scene: Scene) -> Iterator[Event]:
    lost_cards = {gpu.bdf[:-2] for gpu in scene.gpus if gpu.function.gone}
    for bdf, function in scene.functions.items():
        if not function.gone or bdf in scene.gpu_at or bdf[:-2] in lost_cards:
            continue
        yield event(
            function, "device-lost", "warn", "signal",
            f"{called(scene, function)} does not answer: its registers read as all ones",
            labels=("all ones",), help=("power off and on; a device that only sleeps (D3cold) reads so too",))


def vram_region(gpu: Gpu) -> LspciRegion | None:
    """The window onto the card's memory; None where the text does not show it. NVIDIA: BAR 1, or 2 where BAR 0 has
    64 bits (Hopper and newer); AMD: BAR 0; Intel: BAR 2."""
    wanted = {0x10DE: (1, 2), 0x1002: (0,), 0x8086: (2,)}.get(gpu.function.vendor or 0, ())
    return next(
        (region for region in gpu.function.regions if region.memory and region.index in wanted), None)


def _bars(gpu: Gpu) -> Iterator[Event]:
    if gpu.integrated:
        return
    function = gpu.function
    who = f"the {gpu.name}"
    vram = vram_region(gpu)
    for region in function.regions:
        if region.state == "virtual" and region.memory:
            yield event(
                function, "bar-lost", "warn", "firmware",
                f"the register behind memory window {region.index} of {who} is empty: the card was reset, or lost "
                "power, and nobody restored it", labels=(f"BAR {region.index}",), bar=region.index,
                help=("reboot; if it comes back, read what reset the card: sudo dmesg | grep -iE 'reset|AER|DPC'",))
        if region.state not in ("ignored", "unassigned", "broken"):
            continue
        if not region.memory:
            yield event(
                function, "bar-assign-fail", "benign", "benign",
                f"the I/O window of {who} has no address: harmless, GPUs work without it",
                labels=(f"BAR {region.index} I/O",), bar=region.index)
        elif region is vram or region.state == "ignored" or region.size_bytes:
            what = "the window onto the memory" if region is vram else f"memory window {region.index}"
            yield event(
                function, "bar-assign-fail", "fail", "config",
                f"{what} of {who} has no address ({region.state}): no driver can use the card",
                labels=(f"BAR {region.index}",), bar=region.index, size_bytes=region.size_bytes, help=_BAR_HELP)
    if vram is not None and vram.state == "assigned" and vram.size_bytes is not None:
        yield from _small(gpu, vram, vram.size_bytes)


def _small(gpu: Gpu, region: LspciRegion, window: int) -> Iterator[Event]:
    """A window smaller than the card's memory. Where the card is not in the database, what it offers tells."""
    bars = gpu.function.rebar
    offered = max(
        (most for bar in bars or () if bar.bar == region.index for most in bar.supported_sizes_bytes), default=0)
    memory = int(gpu.part.vram_gib * GIB) if gpu.part is not None and gpu.part.vram_gib else None
    who = f"the {gpu.name}"
    if memory is None:
        if window > SMALL or offered <= window:
            return
        of = f"although the card offers {size(offered)}"
    elif window >= memory * SLACK:
        return
    else:
        of = f"of {size(memory)}"
    more = {"labels": (f"BAR {region.index}",), "bar": region.index, "size_bytes": window}
    if bars is not None and offered and offered <= window:
        yield event(
            gpu.function, "bar-small", "info", "config",
            f"{who} shows {size(window)} {of}, the most that its VBIOS offers", help=_REBAR_HELP[1:], **more)
        return
    could = f"; it could open {size(offered)}" if offered and memory is not None else ""
    yield event(
        gpu.function, "bar-small", "warn", "config",
        f"{who} shows {size(window)} of its memory on the bus {of}{could}: Resizable BAR is off",
        help=_REBAR_HELP, **more)


def _driver(scene: Scene, gpu: Gpu) -> Iterator[Event]:
    function = gpu.function
    who = f"the {gpu.name}"
    driver = function.driver
    wanted = _DRIVERS.get(function.vendor or 0, ())
    if driver is None:
        # Known only where this text prints drivers, and of a GPU whose own lines go on past that place.
        shown = function.modules or (function.detailed and scene.shows_drivers)
        if shown and not _is_last(scene, function):
            modules = f"; modules that know it: {listed(function.modules)}" if function.modules else ""
            yield event(
                function, "driver-missing", "warn", "driver", f"no driver has taken {who}{modules}",
                help=("sudo dmesg | grep -iE 'nvidia|nvrm|amdgpu|nouveau' says why",
                      f"sudo lspci -k -s {short(gpu.bdf)}  shows the driver once it is loaded"))
    elif driver in ("vfio-pci", "pci-stub"):
        yield event(function, "driver-other", "info", "config",
                    f"{who} is held by {driver}, for a virtual machine", labels=(driver,))
    elif driver == "nouveau":
        yield event(
            function, "driver-other", "warn", "driver",
            f"{who} runs with nouveau: CUDA does not work with it", labels=(driver,),
            help=("install NVIDIA's driver; its package blacklists nouveau, then reboot",))
    elif driver not in wanted:
        yield event(function, "driver-other", "info", "driver", f"{who} is driven by {driver}", labels=(driver,))


def _is_last(scene: Scene, function: LspciFunction) -> bool:
    """The text may have been cut before the line that names the driver, unless it names the modules, which follow."""
    return not function.modules and function.line == scene.last_line


def _atomics(scene: Scene, gpu: Gpu) -> Iterator[Event]:
    """ROCm wants PCIe atomics to reach memory: every switch routes them, the root port completes them. When the driver
    found that they do, it has set ReqEn at the GPU."""
    function = gpu.function
    if function.vendor != 0x1002 or gpu.integrated or function.atomic_requester:
        return
    chain = [scene.functions[bdf] for bdf in scene.above(gpu.bdf) if bdf in scene.functions]
    blocker = next((found for port in chain if (found := _stops(port)) is not None), None)
    if blocker is None:
        return
    yield event(
        function, "atomics-unsupported", "warn", "config",
        f"PCIe atomics of the {gpu.name} do not reach memory: {blocker}",
        help=("move the card to a slot of the processor; switches and chipset slots often do not route atomics",
              "`sudo dmesg | grep -i atomic`: whether ROCm minds depends on the card's generation"))


def _stops(port: LspciFunction) -> str | None:
    name = short(port.bdf)
    if port.atomic_egress_blocked:
        return f"port {name} blocks them (EgressBlck+)"
    if port.port_type == "root-port" and (port.atomic_32bit is False or port.atomic_64bit is False):
        return f"root port {name} does not complete 32 and 64 bit atomics"
    if port.port_type in ("upstream-port", "downstream-port") and port.atomic_routing is False:
        return f"switch port {name} does not route them"
    return None


def _acs(scene: Scene) -> Iterator[Event]:
    """Redirection matters to packets between GPUs, so to ports with GPUs below, on a machine with more than one."""
    if sum(not gpu.integrated for gpu in scene.gpus) < 2:
        return
    redirects = [
        (scene.functions[bdf], bits) for bdf in scene.gpus_below if bdf in scene.functions
        and (bits := [bit for bit in scene.functions[bdf].acs_enabled or () if bit in ("ReqRedir", "CmpltRedir")])]
    if not redirects:
        return
    first = min(redirects, key=lambda item: item[0].line)[0]
    names = listed(sorted({bit for _, bits in redirects for bit in bits}))
    yield event(
        first, "acs-redirect", "info", "config",
        f"ACS sends packets between GPUs up to the root at {len(redirects)} of the ports above them ({names}): meant "
        "for virtual machines, slow or broken for peer-to-peer",
        bdf=first.bdf if len(redirects) == 1 else None, labels=(names,), count=len(redirects),
        help=("BIOS setup: ACS off, or per port and boot: sudo setpci -s PORT ECAP_ACS+6.w=0000",))

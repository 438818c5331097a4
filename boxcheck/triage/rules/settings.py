"""Rules about settings of BIOS and kernel: address space, IOMMU mode, atomics, speed caps."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.triage.machine import bus_of
from boxcheck.triage.modesetting import AMD, held_back
from boxcheck.triage.rules import rule
from boxcheck.triage.rules.words import START_FAILED, counted, indices
from boxcheck.triage.scene import Diagnosis, Scene, gravest, helps

SMALL_BAR_BYTES = 256 << 20
"""What every card offers before Resizable BAR (PCI Express Base Specification 7.8.6; AMD and NVIDIA default)."""
NO_DRIVER = (
    "driver-missing", "kfd-open", "hsa-failure", "gpu-missing", "driver-binding", "driver-amdgpu-loaded", "kfd-nodes",
    "node-kfd", "node-render")
"""What tools and doctor say where a driver of GPUs did not start."""

_BIOS = (
    "in the BIOS: enable Above 4G Decoding and Resizable BAR, raise MMIO High Size (or MMIOH) where it has one, and"
    " turn CSM off",
    "no such setting, or not cured: boot with pci=realloc",
)


@rule("no-address-space")
def no_address_space(scene: Scene) -> Iterator[Diagnosis]:
    """A card's memory window found no room, or stayed at 256 MiB: a BIOS setting.

    Why: firmware hands out address space before Linux starts. With Above 4G Decoding or Resizable BAR off, or too small
    a window above the slot, the card's memory does not fit, and its driver may refuse to start.
    Not: a broken card or riser: the card told what it needs, so it was there and answered.
    Source: drivers/pci/setup-res.c, setup-bus.c; NVIDIA/open-gpu-kernel-modules issue 510.
    """
    signs = [sighting for sighting in scene.of("bar-assign-fail", "bar-small", "bar-resize-fail") if sighting.bad]
    if not signs:
        return
    machine = scene.machine
    cards = {sighting.bdf.rsplit(".", 1)[0] for sighting in signs if sighting.bdf is not None}
    failed = [
        sighting for sighting in scene.of(*START_FAILED, bad=True)
        if sighting.bdf is None or sighting.bdf.rsplit(".", 1)[0] in cards
        or any(sign.bdf is not None and sign.bdf in set(machine.ancestors(sighting.bdf)) for sign in signs)]
    because = list(dict.fromkeys(
        f"{machine.short(sign.bdf) + ': ' if sign.bdf is not None else ''}{sign.event.says}" for sign in signs[:4]))
    because += [f"so the driver did not start it: {sighting.event.says}" for sighting in failed[:2]]
    small = any(sign.kind == "bar-small" or sign.event.assigned_bytes == SMALL_BAR_BYTES for sign in signs)
    where = ", ".join(dict.fromkeys(machine.short(sign.bdf) for sign in signs if sign.bdf is not None))
    short = len(signs) == 1 and signs[0].bdf is not None
    yield Diagnosis(
        rule="", key="bar:", title=f"the memory window of {_cards_text(cards)} is small"
        if small and gravest(signs) != "fail" else f"the memory of {_cards_text(cards)} found no address space",
        where=machine.where(signs[0].bdf) if short and signs[0].bdf is not None else where, cause="config",
        sure="certain" if gravest(signs) == "fail" else "likely", because=tuple(because),
        events=indices(signs, failed), severity=gravest([*signs, *failed]), help=_BIOS,
        not_=("a broken card or riser: the card answered, and said how much it needs",),
    )


@rule("nomodeset")
def nomodeset(scene: Scene) -> Iterator[Diagnosis]:
    """The kernel was booted with nomodeset, and the drivers of AMD's and Intel's GPUs do not start with it.

    Why: the word leaves the screen to the firmware; amdgpu, i915 and xe refuse to load as long as it is there, so that
    no program sees the GPU. Installers and guides for a black screen put it there.
    Not: the GPU, its slot or its riser. NVIDIA's own driver runs with it.
    Source: drivers/video/nomodeset.c; drivers/gpu/drm/amd/amdgpu/amdgpu_drv.c (amdgpu_init).
    """
    machine = scene.machine
    held = held_back(machine)
    signs = [*scene.of("nomodeset", bad=True), *(
        scene.of("kernel-cmdline-lint", labels=("nomodeset",), bad=True) if held else ())]
    if not signs:
        return
    without = [
        sighting for sighting in scene.of(*NO_DRIVER, bad=True)
        if (sighting.bdf is None or sighting.bdf in held) and not any(
            word in sighting.event.says for word in ("NVIDIA", "CUDA", "nvidia-smi"))]
    others = held and not any(machine.vendor(gpu) == AMD for gpu in held)
    yield Diagnosis(
        rule="", key="nomodeset:", title="nomodeset on the kernel command line keeps "
        f"{'the driver of the GPU' if others else 'amdgpu'} from starting",
        where=", ".join(map(machine.short, held[:6])) or "the kernel command line", cause="config",
        sure="certain" if without else "likely" if held else "possible",
        because=tuple(dict.fromkeys(one.event.says for one in (*signs[:1], *without[:4]))),
        events=indices(signs, without), severity=gravest([*signs, *without]),
        help=(
            "take nomodeset out of GRUB_CMDLINE_LINUX in /etc/default/grub, sudo update-grub (Fedora: sudo"
            " grub2-mkconfig -o /boot/grub2/grub.cfg), then reboot",
            "then: lspci -nnk | grep -A3 -E 'VGA|Display'  shows `Kernel driver in use`"),
        not_=("the GPU, its slot or its riser", "a broken module: it is refused until the word is gone"),
    )


@rule("iommu-refuses-peers")
def iommu_refuses_peers(scene: Scene) -> Iterator[Diagnosis]:
    """The IOMMU refused memory accesses of GPUs: its mode does not suit what runs.

    Why: a GPU that copies to another one uses bus addresses; a translating IOMMU that was not told of them refuses.
    Not: damaged memory or a damaged link: the access was whole, and was not allowed.
    Source: drivers/iommu/amd/iommu.c, drivers/iommu/intel/dmar.c; ROCm's page on the IOMMU, tinygrad's page on its AM
    driver and the peer-to-peer drivers for the RTX 4090, which each want another mode.
    """
    faults = scene.of("iommu-fault", bad=True)
    gpus = [fault for fault in faults if fault.bdf is not None and scene.machine.is_gpu(fault.bdf)]
    if not gpus:
        return
    named = sorted({fault.bdf for fault in gpus if fault.bdf is not None})
    others = len(scene.machine.gpus()) > 1
    count = sum(fault.event.count for fault in gpus)
    yield Diagnosis(
        rule="", key="iommu:", title="the IOMMU refuses memory accesses of GPUs",
        where=", ".join(scene.machine.short(bdf) for bdf in named), cause="config",
        sure="likely" if others else "possible",
        because=(
            f"{count} refused access{'' if count == 1 else 'es'} of {', '.join(bus_of(bdf) for bdf in named)}",
            "several GPUs are in the machine, so copies between them are the usual reason" if others else
            "one GPU only is known here: a driver that uses a wrong address looks the same",
        ),
        events=indices(list(gpus)), severity=gravest(gpus),
        help=(
            "look at the mode: boxcheck doctor iommu, with --goal rocm, cuda-p2p or tinygrad",
            "ROCm: iommu=pt on the kernel command line; CUDA peer copies on GeForce: IOMMU off or iommu=pt, and ACS"
            " redirect off",
            "the mode is right already: update the GPU's driver",
        ),
        not_=("a bad riser or bad memory: the access arrived whole and was not allowed",),
    )


@rule("iommu-refuses")
def iommu_refuses(scene: Scene) -> Iterator[Diagnosis]:
    """The IOMMU refused memory accesses of a device: its driver used a wrong address, or the mode does not suit it.

    Why: the IOMMU lets a device reach only what its driver asked for; an access beside that is refused and logged.
    Not: damaged memory or a damaged link: the access was whole, and was not allowed.
    Source: drivers/iommu/amd/iommu.c, drivers/iommu/intel/dmar.c.
    """
    faults = list(scene.of("iommu-fault", bad=True))
    if not faults:
        return
    named = [bdf for bdf in dict.fromkeys(fault.bdf for fault in faults) if bdf is not None]
    names = ", ".join(scene.machine.short(bdf) for bdf in named[:6])
    yield Diagnosis(
        rule="", key="iommu:other", title="the IOMMU refuses memory accesses" + (f" of {names}" if names else ""),
        where=names or "a device that the log does not name", cause="driver", sure="possible",
        because=tuple(dict.fromkeys(
            counted(fault) for fault in faults))[:4],
        events=indices(faults), severity=gravest(faults), help=helps(faults)[:4],
        not_=("bad memory: the access was not allowed, and nothing was written",),
    )


@rule("atomics-unsupported")
def atomics_unsupported(scene: Scene) -> Iterator[Diagnosis]:
    """The path to an AMD GPU does not carry atomic operations: the slot or the processor, not the card.

    Why: ROCm's driver leaves out a GPU (gfx8 and older for certain, later ones in part) when a port on the way does not
    route PCIe atomics.
    Not: a broken card.
    Source: drivers/gpu/drm/amd/amdkfd/kfd_device.c (kfd_is_pci_atomics_supported); PCI Express 6.15.
    """
    signs = list(scene.of("atomics-unsupported", bad=True))
    if not signs:
        return
    named = [bdf for bdf in dict.fromkeys(sighting.bdf for sighting in signs) if bdf is not None]
    yield Diagnosis(
        rule="", key="atomics:", title="the slot of an AMD GPU does not carry atomic operations" if len(named) < 2 else
        f"the slots of {len(named)} AMD GPUs do not carry atomic operations",
        where=scene.machine.where(named[0]) if len(named) == 1 else ", ".join(map(scene.machine.short, named))
        or "a GPU that the log does not name", cause="config", sure="likely",
        because=tuple(dict.fromkeys(sighting.event.says for sighting in signs))[:4], events=indices(signs),
        severity=gravest(signs), help=(
            "move the card to a slot of the processor, not of the chipset, with no switch between", *helps(signs))[:4],
        not_=("a broken card",),
    )


@rule("capped-link")
def capped_link(scene: Scene) -> Iterator[Diagnosis]:
    """A link runs slow because it was told to: the port's target speed is below what both ends can do.

    Why: the target (LnkCtl2) is set by firmware or software; a link never trains above it.
    Not: a bad riser: training did not fail, it was not tried.
    Source: PCI Express Base Specification 7.5.3.19 (Link Control 2).
    """
    for sighting in scene.of("link-speed", bad=True, where=lambda item: item.event.cause == "config"):
        if sighting.bdf is None or sighting.link is None:
            continue
        quirk = [item for item in scene.of("link-retrain") if item.link == sighting.link]
        yield Diagnosis(
            rule="", key=f"cap:{sighting.link}",
            title=f"{scene.machine.short(sighting.link)} is capped below its speed",
            where=scene.machine.where(sighting.bdf), cause="config", sure="certain",
            because=(sighting.event.says, *(item.event.says for item in quirk)),
            events=indices([sighting], quirk), severity=gravest([sighting, *quirk]),
            help=sighting.event.help or ("in the BIOS: set the slot's link speed to Auto or its highest generation",),
            not_=("a bad riser: no higher speed was tried",),
        )


@rule("peers-behind-redirect")
def peers_behind_redirect(scene: Scene) -> Iterator[Diagnosis]:
    """Peer copies are slower than copies through the host: ACS redirect or a translating IOMMU is on the way.

    Why: with ACS request redirect set, peer traffic climbs to the root complex and back instead of crossing the switch.
    Not: a bad link: copies through the host use the same links and are faster.
    Source: PCI Express Base Specification 6.12 (ACS); NCCL user guide, troubleshooting, PCI Access Control Services.
    """
    for sighting in scene.of("p2p-slow", bad=True, where=lambda item: item.event.cause == "config"):
        yield Diagnosis(
            rule="", key="acs:", title="peer copies are slower than copies through the host", where="all GPU pairs",
            cause="config", sure="likely", because=(sighting.event.says,), events=(sighting.index,),
            severity=sighting.event.severity,
            help=sighting.event.help or ("on the box: sudo boxcheck doctor acs iommu",), not_=("a bad link",),
        )



def _cards_text(cards: set[str]) -> str:
    return "a card" if len(cards) < 2 else f"{len(cards)} cards"

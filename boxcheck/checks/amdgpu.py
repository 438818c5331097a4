"""What amdgpu says of each GPU: firmware alike, parameters as the profile has them, link errors and link levels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from boxcheck.checks.places import link_evidence, reseat, wanted_gpus, where
from boxcheck.checks.wording import judged, listed, not_read, shown, wish_of
from boxcheck.decode.cmdline import parse_number
from boxcheck.model import BOX, Finding, Quantity, Subject, Unread
from boxcheck.probes.amdgpu import MODULE, Amdgpu, AmdgpuCard
from boxcheck.probes.gpus import Gpu, Gpus
from boxcheck.probes.links import Link, Links
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, limit, marginal, passed, skipped, unknown

CWSR = limit(
    "amdgpu.cwsr_enable", int, "eq", "", "Parameter cwsr_enable of amdgpu: 0 switches off saving of compute waves.",
    low=0, high=1)
FEATURE_MASK = limit(
    "amdgpu.ppfeaturemask", int, "eq", "", "Parameter ppfeaturemask of amdgpu, as 0xffffbfff.", low=0, high=0xFFFFFFFF)

PARAMETERS = {"cwsr_enable": CWSR, "ppfeaturemask": FEATURE_MASK}
SPEEDS_GTS = {1: 2.5, 2: 5.0, 3: 8.0, 4: 16.0, 5: 32.0, 6: 64.0}
"""Transfer rate of each PCIe generation."""


def _cards(gpus: Gpus, amdgpu: Amdgpu, want: Profile) -> list[tuple[Gpu, AmdgpuCard]]:
    """The AMD GPUs that the profile is about and that amdgpu drives."""
    return [
        (gpu, amdgpu.cards[gpu.bdf]) for gpu in wanted_gpus(gpus, want)
        if gpu.vendor == "1002" and gpu.driver == "amdgpu" and gpu.bdf in amdgpu.cards
    ]


def _discrete(gpus: Gpus, amdgpu: Amdgpu, want: Profile) -> tuple[list[tuple[Gpu, AmdgpuCard]], Finding | None]:
    """Of these, the cards; or the finding that says why there is none to judge."""
    cards = _cards(gpus, amdgpu, want)
    found = [(gpu, card) for gpu, card in cards if not gpu.integrated]
    if cards and not found:
        return [], skipped(BOX, "the GPU is part of the processor, and sits in no slot")
    return found, None if found else _none(gpus, want)


def _untold(gpus: Gpus, want: Profile) -> Iterator[Finding]:
    """The cards that amdgpu may drive: nobody read which driver they have."""
    for gpu in wanted_gpus(gpus, want):
        if gpu.vendor == "1002" and isinstance(gpu.driver, Unread):
            yield not_read(gpu.subject, gpu.driver, evidence=(f"/sys/bus/pci/devices/{gpu.bdf}/driver",))


def _none(gpus: Gpus, want: Profile) -> Finding:
    if gpus.unreadable is not None:
        return not_read(BOX, gpus.unreadable)
    if "1002" in want.gpus.vendors and want.goal not in ("tinygrad", "vm"):
        return unknown(BOX, "amdgpu drives none of the profile's GPUs, so it says nothing of them")
    return skipped(BOX, "amdgpu drives no GPU that the profile is about")


@check("amdgpu.vbios-uniform", reads=[Gpus, Amdgpu])
def vbios_uniform(gpus: Gpus, amdgpu: Amdgpu, want: Profile) -> Iterator[Finding]:
    """The GPUs of this box run different VBIOS versions.

    Why it matters: cards of one model with different VBIOS have different power limits, clocks and quirks: one is
    slower, or fails alone.
    What to do: note it; flash with the board maker's tool where you need them alike.
    Not a fault: of a card by itself.
    By hand: cat /sys/class/drm/card*/device/vbios_version
    """
    untold = list(_untold(gpus, want))
    yield from untold
    cards = _cards(gpus, amdgpu, want)
    if not cards:
        if not untold:
            yield _none(gpus, want)
        return
    versions: dict[str, str] = {}
    for gpu, card in cards:
        if isinstance(card.vbios, Unread):
            yield not_read(gpu.subject, card.vbios)
        else:
            versions[gpu.bdf] = card.vbios
    models: dict[tuple[str, int | None], list[Gpu]] = {}
    for gpu, _ in cards:
        models.setdefault((gpu.pci_id, gpu.revision), []).append(gpu)
    for alike in models.values():  # cards of another model have another VBIOS
        yield from _uniform("VBIOS", {gpu.bdf: versions[gpu.bdf] for gpu in alike if gpu.bdf in versions}, alike,
                            "vbios_version")


def _uniform(what: str, values: dict[str, str], gpus: list[Gpu], name: str) -> Iterator[Finding]:
    """One finding for each GPU that differs from most, or one pass."""
    if not values:
        return
    usual = Counter(values.values()).most_common(1)[0][0]
    odd = [gpu for gpu in gpus if values.get(gpu.bdf, usual) != usual]
    for gpu in odd:
        yield marginal(
            gpu.subject, f"{what} {values[gpu.bdf]}, the others have {usual}", cause=f"gpu-differs:{gpu.bdf}",
            evidence=(f"/sys/bus/pci/devices/{gpu.bdf}/{name}",),
            title=f"{gpu.subject.name} has another {what} than the others",
            help=("note it in the report; flash it with the board maker's tool if the cards should be alike",))
    if not odd:
        yield passed(BOX, f"{what} {usual} on {len(values)} of {len(gpus)}")


@check("amdgpu.unique-id", reads=[Gpus, Amdgpu])
def unique_id(gpus: Gpus, amdgpu: Amdgpu, want: Profile) -> Iterator[Finding]:
    """Two GPUs claim the same unique id.

    Why it matters: the id tells cards apart when they are moved between slots. Two alike mean a faulty or forged
    card, or one chip that is listed twice.
    What to do: compare with the stickers; swap the cards and read again.
    Not a fault: an id of 0, which cards without one show.
    By hand: cat /sys/class/drm/card*/device/unique_id
    """
    cards, instead = _discrete(gpus, amdgpu, want)
    untold = list(_untold(gpus, want))
    yield from untold
    if instead is not None:
        if not untold:
            yield instead
        return
    owners: dict[str, list[Gpu]] = {}
    for gpu, card in cards:
        if isinstance(card.unique_id, Unread):
            yield not_read(gpu.subject, card.unique_id)
        elif card.unique_id.strip("0"):
            owners.setdefault(card.unique_id, []).append(gpu)
    twice = {number: found for number, found in owners.items() if len(found) > 1}
    for number, found in twice.items():
        yield failed(
            found[0].subject, f"{listed(gpu.subject.name for gpu in found)} all claim unique id {number}",
            cause=f"gpu-twins:{found[0].bdf}", title="two GPUs claim one unique id",
            evidence=tuple(f"/sys/bus/pci/devices/{gpu.bdf}/unique_id" for gpu in found),
            help=("compare with the cards' stickers; swap them between slots and read again",))
    if owners and not twice:
        yield passed(BOX, f"{len(owners)} GPUs, {len(owners)} unique ids")


@check("amdgpu.parameters", reads=[Gpus, Amdgpu], limits=[CWSR, FEATURE_MASK])
def parameters(gpus: Gpus, amdgpu: Amdgpu, want: Profile) -> Iterator[Finding]:
    """A parameter of amdgpu is not what the profile has it.

    Why it matters: the maker of the box set it for a reason: cwsr_enable=0 avoids a hang of the scheduler,
    ppfeaturemask switches power features.
    What to do: put `options amdgpu NAME=VALUE` into /etc/modprobe.d/amdgpu.conf, rebuild the initramfs, reboot.
    Not a fault: of the GPU.
    By hand: grep . /sys/module/amdgpu/parameters/{cwsr_enable,ppfeaturemask}
    """
    wanted = [(name, bound) for name, key in PARAMETERS.items() if (bound := want.limit(key)) is not None]
    if not wanted:
        yield skipped(BOX, "the profile sets no parameter of amdgpu")
        return
    if amdgpu.loaded is False and want.goal in ("tinygrad", "vm"):
        yield skipped(BOX, f"amdgpu is not loaded, as goal {want.goal} wants it")
        return
    for name, bound in wanted:
        subject = Subject("module", name=f"amdgpu.{name}")
        evidence = (f"{MODULE}/parameters/{name}",)
        value = amdgpu.parameters if isinstance(amdgpu.parameters, Unread) else amdgpu.parameters.get(
            name, Unread(f"amdgpu has no parameter {name}", "absent"))
        number = value if isinstance(value, Unread) else parse_number(value)
        if isinstance(number, Unread):
            yield not_read(subject, number, evidence=evidence)
        elif number is None:
            yield unknown(subject, f"not decoded: {name} is {str(value)[:40]!r}", evidence=evidence)
        else:
            wish = wish_of(bound)
            text = f"{wish:#x}" if name == "ppfeaturemask" else shown(wish)
            yield judged(
                subject, number & 0xFFFFFFFF, bound, f"{name} is {value}, profile asks for {text}", evidence=evidence,
                cause="amdgpu-parameters:", title=f"amdgpu runs with {name}={value}",
                help=(f"echo 'options amdgpu {name}={text}' | sudo tee -a /etc/modprobe.d/amdgpu.conf",
                      "sudo update-initramfs -u (Fedora: sudo dracut -f), then reboot"))


@check("amdgpu.replay", reads=[Gpus, Amdgpu, Links])
def replay(gpus: Gpus, amdgpu: Amdgpu, links: Links, want: Profile) -> Iterator[Finding]:
    """amdgpu counts packets that had to be sent again over PCIe.

    Why it matters: a replay is a packet that was damaged or not acknowledged. The count works where AER does not.
    What to do: reseat the card; not cured: move it alone to another slot, to tell card from riser.
    Not a fault: a handful from the moment the link came up. On RDNA cards the counter is that of the GPU behind the
    card's own switch, so a bad slot may leave it at 0.
    By hand: cat /sys/class/drm/card*/device/pcie_replay_count
    """
    cards, instead = _discrete(gpus, amdgpu, want)
    untold = list(_untold(gpus, want))
    yield from untold
    if instead is not None and not untold:
        yield instead
    for gpu, card in cards:
        evidence = (f"/sys/bus/pci/devices/{gpu.bdf}/pcie_replay_count",)
        link = links.links.get(gpu.slot_link) if gpu.slot_link is not None else None
        if isinstance(card.replay_count, Unread):
            if card.replay_count.kind in ("absent", "unsupported"):
                yield skipped(gpu.subject, "this GPU has no replay counter", evidence=evidence)
            else:
                yield not_read(gpu.subject, card.replay_count, evidence=evidence)
        elif card.replay_count:
            yield marginal(
                gpu.subject, f"{card.replay_count} packets were sent again since the driver was loaded, 0 is clean",
                measured=Quantity(card.replay_count, "packets"), evidence=evidence,
                cause=f"link:{link.id}" if link else f"gpu-replay:{gpu.bdf}",
                where=where(link, gpu, links, want) if link else None,
                help=reseat(link, want) if link else ("power off, reseat the card, power on",))
        else:
            yield passed(gpu.subject, "no packet was sent again", measured=Quantity(0, "packets"), evidence=evidence)


@check("amdgpu.pp-dpm", reads=[Gpus, Amdgpu, Links])
def pp_dpm(gpus: Gpus, amdgpu: Amdgpu, links: Links, want: Profile) -> Iterator[Finding]:
    """amdgpu found the way to a GPU narrower or slower than card and slot can do.

    Why it matters: the driver works out the best link on the whole way when it starts. On RDNA cards, whose own
    function always shows full speed, this is a second witness of a riser that fell back.
    What to do: as for pcie.link-speed and pcie.link-width: power off, reseat card and riser, look at the slot's speed
    in the BIOS.
    Not a fault: a lower level that is in use while the GPU is idle; only the highest one counts here.
    By hand: cat /sys/class/drm/card*/device/pp_dpm_pcie
    """
    cards, instead = _discrete(gpus, amdgpu, want)
    untold = list(_untold(gpus, want))
    yield from untold
    if instead is not None and not untold:
        yield instead
    for gpu, card in cards:
        evidence = (f"/sys/bus/pci/devices/{gpu.bdf}/pp_dpm_pcie",)
        link = links.links.get(gpu.slot_link) if gpu.slot_link is not None else None
        if isinstance(card.pcie_levels, Unread):
            yield (skipped(gpu.subject, "this GPU shows no PCIe levels", evidence=evidence)
                   if card.pcie_levels.kind == "absent" else not_read(gpu.subject, card.pcie_levels, evidence=evidence))
            continue
        if link is None:
            yield unknown(gpu.subject, "the link of this GPU's slot is not known", evidence=evidence)
            continue
        yield _judge_levels(gpu, card, link, links, want, evidence)


def _judge_levels(
    gpu: Gpu, card: AmdgpuCard, link: Link, links: Links, want: Profile, evidence: tuple[str, ...]
) -> Finding:
    assert not isinstance(card.pcie_levels, Unread)
    speed = max(level.speed_gts for level in card.pcie_levels)
    width = max(level.width for level in card.pcie_levels)
    able_speed, able_width = link.capable_speed_gts, link.capable_width
    if not isinstance(able_speed, float) or not isinstance(able_width, int):
        why = next((value for value in (able_speed, able_width) if isinstance(value, Unread)), None)
        if why is not None:
            return not_read(gpu.subject, why, evidence=evidence)
        return unknown(gpu.subject, "slot or card does not say what its link can do", evidence=evidence)
    if gpu.part is not None and gpu.part.link_generation is not None:
        able_speed = min(able_speed, SPEEDS_GTS.get(gpu.part.link_generation, able_speed))
    slot = want.slot(gpu.slot)
    able_width = min(able_width, slot.width) if slot is not None and slot.width else able_width
    able_speed = min(able_speed, slot.speed_gts) if slot is not None and slot.speed_gts else able_speed
    says = f"the driver's highest link level is x{width} {speed:g} GT/s"
    target = link.downstream.target_speed_gts
    uncapped = isinstance(target, float) and target >= able_speed
    if speed < able_speed or width < able_width:
        return marginal(
            gpu.subject, f"{says}, card and slot can do x{able_width} {able_speed:g} GT/s",
            evidence=(*evidence, *link_evidence(link, "max_link_speed", "max_link_width")),
            cause=f"link:{link.id}", where=where(link, gpu, links, want),
            help=reseat(link, want) if uncapped else (
                "BIOS setup: look at the speed and the width of this slot", *reseat(link, want)))
    return passed(gpu.subject, says, evidence=evidence)

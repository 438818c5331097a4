"""Whether the GPUs that the profile names are there, are the right ones and answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from boxcheck.checks.places import short, wanted_gpus, where
from boxcheck.checks.steps import READ_THE_LOG, REVIVE
from boxcheck.checks.wording import a, counted
from boxcheck.model import BOX, Finding, Limit, Quantity, Subject, Unread
from boxcheck.probes.gpus import Gpu, Gpus
from boxcheck.probes.links import Link, Links
from boxcheck.probes.pci import PciInventory
from boxcheck.probes.slots import Slots
from boxcheck.profile import GpuPart, Profile
from boxcheck.registry import check, failed, marginal, passed, skipped, unknown


def _unreadable(gpus: Gpus) -> Finding | None:
    return None if gpus.unreadable is None else unknown(BOX, f"not read: {gpus.unreadable.why}")


def _empty_places(gpus: Gpus, links: Links, want: Profile) -> list[Link]:
    """Named slots with nothing below them, where a missing card should sit. The profile's own slots where it names any,
    else those that the board's table names and that are as wide as the others."""
    named = {slot.label for slot in want.slots}
    taken = {gpu.slot_link for gpu in gpus.gpus}
    widths = [width for gpu in wanted_gpus(gpus, want) if gpu.slot_link is not None
              and isinstance(width := links.links[gpu.slot_link].downstream.max_width, int)]
    usual = max(widths, default=16)
    found = [
        link for link in links.links.values()
        if link.upstream is None and link.id not in taken and link.slot is not None
        and (link.slot in named if named else link.downstream.max_width == usual)
    ]
    return sorted(found, key=lambda link: (len(link.slot or ""), link.slot or ""))


OWN_GPU_HELP = (
    "echo 1 | sudo tee /sys/bus/pci/rescan  brings back one that was taken off the bus by hand; in a virtual machine "
    "it has to be passed through",
    "BIOS setup: integrated graphics (iGPU) on: not Disabled, nor Auto where a card is in a slot",
    "still missing: power off, mains off for half a minute, power on; then update the BIOS, or load its defaults",
)
"""For the GPU of a processor: nothing to reseat, no lead, no slot."""


@check("inventory.gpu-count", reads=[Gpus, Links])
def gpu_count(gpus: Gpus, links: Links, want: Profile) -> Iterator[Finding]:
    """Fewer or more GPUs answer on the PCI bus than the profile names.

    Why it matters: a card that is not on the bus cannot be tested, and nothing after this is about all of the box.
    What to do: power off; check the missing card's power leads, reseat it and its riser. Still missing: put it into a
    slot that works, to tell card from slot. A processor's own GPU has neither: look in the BIOS setup whether it is
    switched off, then at the log.
    Not a fault: the management controller's own graphics and virtual functions are not counted; a card of another
    revision is counted here and judged by inventory.gpu-model.
    By hand: lspci -Dnn | grep -E '03(00|02|80)\\]|1200\\]'
    """
    if (unread := _unreadable(gpus)) is not None:
        yield unread
        return
    if want.gpus.count is None:
        found = wanted_gpus(gpus, want)
        yield skipped(BOX, f"the profile names no number of GPUs; {len(found)} found")
        return
    yield _judge_count(gpus, links, want, want.gpus.count)


def _judge_count(gpus: Gpus, links: Links, want: Profile, count: int) -> Finding:
    found = wanted_gpus(gpus, want)
    names = ", ".join(dict.fromkeys(part.name for part in want.gpus.parts)) or "GPUs"
    limit = Limit(
        "gpus.count", "eq", must=count, unit="GPUs", source=f"profile {want.name}, [gpus] count"
    )
    measured = Quantity(len(found), "GPUs")
    evidence = ("/sys/bus/pci/devices",)
    if len(found) == count:
        planned = f"; {want.gpus.planned} planned" if want.gpus.planned and want.gpus.planned > count else ""
        return passed(BOX, f"{count} of {count} x {names}{planned}", measured=measured, limit=limit, evidence=evidence)
    if len(found) > count:
        return failed(
            BOX, f"{len(found)} x {names} answer, profile names {count}", measured=measured, limit=limit,
            evidence=evidence, cause="gpu-extra:",
            title=f"{counted(len(found) - count, 'more GPU', 'more GPUs')} than the profile names",
            help=("choose the profile of this box, or write one: boxcheck profile draft",),
        )
    missing = count - len(found)
    wrong = [gpu for gpu in gpus.gpus if gpu not in found and not gpu.integrated]
    if want.gpus.parts and len(wrong) == missing:
        return failed(
            wrong[0].subject,
            f"{len(found)} x {names} answer, profile names {count}; "
            f"{counted(missing, 'other card sits', 'other cards sit')} there",
            measured=measured, limit=limit, evidence=evidence, cause=f"gpu:{wrong[0].bdf}",
        )
    if want.gpus.integrated:
        return failed(
            BOX, f"{names} is not on the PCI bus: it is the processor's own GPU, in no slot", measured=measured,
            limit=limit, evidence=evidence, cause="own-gpu-missing:", where="the processor",
            title="the processor's own GPU is not on the bus", help=OWN_GPU_HELP,
            not_=("a driver or a setting of the kernel (a GPU without a driver is still on the bus)",))
    places = _empty_places(gpus, links, want)
    felt = [place for place in places if place.presence_detect is True]
    if len(felt) == missing:  # the slots that feel a card, of many empty ones
        places = felt
    says = f"{len(found)} x {names} answer, profile names {count}: {missing} missing"
    if len(places) == missing == 1:
        place = places[0]
        return failed(
            Subject("slot", name=f"port {short(place.id)}", slot=place.slot, bdf=place.id), says, measured=measured,
            limit=limit, evidence=evidence, cause=f"gpu-missing:{place.id}", where=where(place, None, links, want),
            title=f"no GPU answers in slot {place.slot}",
            help=(
                f"power off; check the power leads of the card in slot {place.slot}, reseat it and its riser",
                "still missing: put the card into a slot that works; it answers there: riser or slot, else the card",
            ),
        )
    where_text = ", ".join(f"slot {place.slot}" for place in places)
    return failed(
        BOX, says, measured=measured, limit=limit, evidence=evidence, cause="gpu-missing:",
        where=f"empty: {where_text}" if where_text else "no table names the slot",
        title=f"{missing} of {counted(count, 'GPU')} {'does' if missing == 1 else 'do'} not answer",
        notes=(f"nothing answers in {where_text}",) if where_text else (),
        help=("power off; count the cards, check the power leads of each, reseat the ones whose fans stand still",
              "put a missing card into a slot that works, to tell card from slot"),
    )


def _is_part(gpu: Gpu, part: GpuPart) -> bool:
    """By id and revision, not by key: a profile may name a card by its PCI id, which makes a part of its own."""
    return gpu.pci_id in part.pci_ids and (not part.revisions or gpu.revision in part.revisions)


@check("inventory.gpu-model", reads=[Gpus, Links])
def gpu_model(gpus: Gpus, links: Links, want: Profile) -> Iterator[Finding]:
    """A card is not the model that the profile names, though its PCI id may be the same.

    Why it matters: 1002:744c is a 7900 XTX, XT, GRE or M by its revision alone, and they differ in memory and speed.
    What to do: read the label on the card; replace it, or choose the profile of what was built.
    Not a fault: a different board partner; that is inventory.gpu-uniform.
    By hand: cat /sys/bus/pci/devices/<gpu>/{vendor,device,revision}
    """
    if (unread := _unreadable(gpus)) is not None:
        yield unread
        return
    if not want.gpus.parts:
        yield skipped(BOX, "the profile names no GPU model")
        return
    names = " or ".join(dict.fromkeys(part.name for part in want.gpus.parts))
    judged = wanted_gpus(gpus, want)
    for gpu in judged:
        says_revision = "unknown revision" if gpu.revision is None else f"revision {gpu.revision:02x}"
        evidence = tuple(f"/sys/bus/pci/devices/{gpu.bdf}/{name}" for name in ("vendor", "device", "revision"))
        if any(_is_part(gpu, part) for part in want.gpus.parts):
            yield passed(gpu.subject, f"{gpu.name}, {gpu.pci_id} {says_revision}", evidence=evidence)
            continue
        if gpu.revision is None:
            yield unknown(
                gpu.subject, f"{gpu.pci_id}: its revision was not read, and several models share the id",
                evidence=evidence)
            continue
        link = links.slot_link(gpu.bdf)
        yield failed(
            gpu.subject, f"is {gpu.name}, {gpu.pci_id} {says_revision}; profile names {names}", evidence=evidence,
            measured=Quantity(f"{gpu.pci_id} {gpu.revision:02x}"), cause=f"gpu:{gpu.bdf}",
            title=f"{gpu.slot or gpu.subject.name} holds {a(gpu.name)}, not {a(names)}",
            where=where(link, gpu, links, want) if link else None,
            help=("read the label on the card: replace it, or choose the profile of what was built",),
        )
    others = [gpu for gpu in gpus.gpus if gpu not in judged and not gpu.integrated]
    short_of = want.gpus.count is not None and len(judged) < want.gpus.count
    for gpu in others:
        link = links.slot_link(gpu.bdf)
        make = failed if short_of else marginal  # beside all the cards that are wanted, one more does no harm
        yield make(
            gpu.subject, f"is {gpu.name} ({gpu.pci_id}); profile names {names}", cause=f"gpu:{gpu.bdf}",
            title=f"{gpu.slot or gpu.subject.name} holds {a(gpu.name)}, not {a(names)}" if short_of
            else f"{a(gpu.name)} that the profile does not name",
            where=where(link, gpu, links, want) if link else None,
            help=("replace it, or choose the profile of what was built" if short_of
                  else "take it out, or choose the profile of what was built",),
        )
    if not judged and not others:
        yield unknown(BOX, f"no {names} answers, so no model could be judged")


@check("inventory.gpu-lost", reads=[Gpus, Links])
def gpu_lost(gpus: Gpus, links: Links, want: Profile) -> Iterator[Finding]:
    """A GPU fell off the bus: its configuration space reads all ones.

    Why it matters: nothing that runs on it can end, and every other reading of it is stale.
    What to do: power off fully (a warm reboot may not bring it back), check the card's power leads and riser, then look
    at the kernel log for what happened first.
    Not a fault: a card in D3cold also does not answer; GPUs that compute are not put there.
    By hand: xxd -l 4 /sys/bus/pci/devices/<gpu>/config      (ffffffff)
    """
    if (unread := _unreadable(gpus)) is not None:
        yield unread
        return
    judged = wanted_gpus(gpus, want)
    if not judged:
        yield skipped(BOX, "no GPU on the bus") if not want.gpus.count else unknown(BOX, "none of the GPUs answers")
        return
    for gpu in judged:
        config = gpu.function.config
        evidence = (f"/sys/bus/pci/devices/{gpu.bdf}/config",)
        link = links.slot_link(gpu.bdf)
        if isinstance(config, Unread):
            why = config.why if gpu.function.estranged else f"not read: {config.why}"
            yield unknown(gpu.subject, why, evidence=evidence)
        elif gpu.gone:
            yield failed(
                gpu.subject, "configuration space reads all ones: the card fell off the bus", evidence=evidence,
                cause=f"gpu-lost:{gpu.bdf}", title=f"{gpu.slot or gpu.subject.name}: the GPU fell off the bus",
                where=where(link, gpu, links, want) if link else None,
                help=(READ_THE_LOG, REVIVE),
            )
        else:
            yield passed(gpu.subject, "answers", evidence=evidence)


@check("inventory.gpu-uniform", reads=[Gpus])
def gpu_uniform(gpus: Gpus, want: Profile) -> Iterator[Finding]:
    """The GPUs are not all the same card: board partner or revision differ.

    Why it matters: mixed cards differ in power limit, cooling and firmware, and the slowest sets the pace of all.
    What to do: note it in the report, or swap the odd one.
    Not a fault: of any one card.
    By hand: grep . /sys/bus/pci/devices/*/subsystem_{vendor,device}
    """
    if (unread := _unreadable(gpus)) is not None:
        yield unread
        return
    judged = wanted_gpus(gpus, want)
    if len(judged) < 2:
        yield skipped(BOX, "fewer than two GPUs to compare")
        return
    silent = [gpu for gpu in judged if None in (
        gpu.revision, gpu.function.subsystem_vendor, gpu.function.subsystem_device)]
    if silent:
        yield unknown(
            BOX, f"not read: board partner or revision of {len(silent)} of {len(judged)} GPUs, "
            f"{silent[0].subject.name} among them", evidence=tuple(
                f"/sys/bus/pci/devices/{silent[0].bdf}/{name}"
                for name in ("subsystem_vendor", "subsystem_device", "revision")))
        judged = tuple(gpu for gpu in judged if gpu not in silent)
        if len({_kind(gpu) for gpu in judged}) < 2:
            return
    kinds = Counter(_kind(gpu) for gpu in judged)
    usual = kinds.most_common(1)[0][0]
    odd = [gpu for gpu in judged if _kind(gpu) != usual]
    if not odd:
        yield passed(BOX, f"{len(judged)} identical cards")
        return
    listed = ", ".join(f"{gpu.slot or gpu.subject.name} {_kind(gpu)}" for gpu in odd)
    yield marginal(BOX, f"{len(odd)} of {len(judged)} differ from {usual}: {listed}", cause="gpu-mixed:",
                   title="the GPUs are not all the same card")


def _kind(gpu: Gpu) -> str:
    function = gpu.function
    board = "board unknown" if function.subsystem_vendor is None or function.subsystem_device is None else (
        f"board {function.subsystem_vendor:04x}:{function.subsystem_device:04x}")
    revision = "" if gpu.revision is None else f" rev {gpu.revision:02x}"
    return f"{gpu.pci_id}{revision} {board}"


@check("inventory.slot-map", reads=[Gpus, Links, Slots, PciInventory], needs=["root"])
def slot_map(gpus: Gpus, links: Links, slots: Slots, pci: PciInventory, want: Profile) -> Iterator[Finding]:
    """No table says which slot a GPU sits in, so findings name bus addresses.

    Why it matters: a bus address changes with what is plugged in; the print on the board does not.
    What to do: run as root once (the board's slot table needs it), or name the slots in the profile.
    Not a fault: of any part. Where only the kernel counts the slot (as on switches), findings say `slot 14 (kernel
    number)`: that is the firmware's count, and not what is printed beside the slot.
    By hand: sudo dmidecode -t 9; grep . /sys/bus/pci/slots/*/address  (the kernel's numbers, not the print)
    """
    judged = [gpu for gpu in wanted_gpus(gpus, want) if gpu.slot_link is not None]
    if (unread := _unreadable(gpus)) is not None:
        yield unread
        return
    if not judged:
        yield skipped(BOX, "no GPU sits in a slot of this machine")
        return
    for gpu in judged:
        link = links.links.get(gpu.slot_link) if gpu.slot_link is not None else None
        number = None if link is None else link.kernel_slot
        if gpu.slot is not None:
            yield passed(gpu.subject, f"sits in slot {gpu.slot}")
        elif slots.unread is not None:
            yield unknown(gpu.subject, f"slot name not read: {slots.unread.why}",
                          needs_root=slots.unread.kind == "permission")
        elif number is not None:
            yield passed(gpu.subject, f"the kernel counts its slot as {number}; the board's table names no such slot")
        else:
            yield marginal(
                gpu.subject, f"no table of this board names the slot of {short(gpu.bdf)}", cause="slot-names:",
                evidence=("/sys/firmware/dmi/tables/DMI", "/sys/bus/pci/slots"),
                title="no table of this board names the slots of the GPUs",
                help=("name them in a profile of this box, each by the port above it: boxcheck profile draft writes "
                      "one to fill in",))

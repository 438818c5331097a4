"""Judgements on the NVIDIA GPUs as their driver and NVML show them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from boxcheck.checks.driver import on_own_driver
from boxcheck.checks.gpu_sensors import nvml_of
from boxcheck.checks.nvidia_driver import applies
from boxcheck.checks.places import reseat, wanted_gpus, where
from boxcheck.checks.steps import REVIVE
from boxcheck.checks.wording import counted, listed, not_read
from boxcheck.model import BOX, Bdf, Finding, Unread
from boxcheck.probes.gpus import Gpu, Gpus
from boxcheck.probes.links import Links
from boxcheck.probes.nvidia import PROC, Nvidia
from boxcheck.probes.nvml import Nvml, NvmlGpu
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, marginal, passed, skipped, unknown


def _cards(gpus: Gpus, want: Profile) -> list[Gpu]:
    return [gpu for gpu in wanted_gpus(gpus, want) if gpu.vendor == "10de"]


def _unloaded(nvidia: Nvidia, want: Profile) -> Finding | None:
    """The finding in place of a judgement where the driver is not loaded."""
    if isinstance(nvidia.loaded, Unread):
        return not_read(BOX, nvidia.loaded)
    if nvidia.loaded:
        return None
    if "10de" not in want.gpus.vendors or on_own_driver(want):
        return skipped(BOX, "NVIDIA's driver is not loaded, and nothing asks for it")
    return unknown(BOX, "NVIDIA's driver is not loaded, so it says nothing of the GPUs")


@check("nvidia.runtime-count", reads=[Gpus, Nvidia, Nvml], needs=["NVML"])
def runtime_count(gpus: Gpus, nvidia: Nvidia, nvml: Nvml, want: Profile) -> Iterator[Finding]:
    """A GPU that is on the bus is missing from NVIDIA's driver or runtime.

    Why it matters: programs see one GPU less, and number the others differently.
    What to do: look for `RmInitAdapter failed` and Xid in the log; power off and on; reseat the card.
    Not a fault: a GPU that was handed to a guest (vfio-pci) on purpose.
    By hand: nvidia-smi -L; ls /proc/driver/nvidia/gpus; lspci -d 10de: -d ::03xx
    """
    if (instead := applies(gpus, want)) is not None:
        yield instead
        return
    if (instead := _unloaded(nvidia, want)) is not None:
        yield instead
        return
    found = [_judge_listed(gpu, nvidia, nvml, want) for gpu in _cards(gpus, want)]
    yield from (one for one in found if one is not None)
    if isinstance(nvml.gpus, Unread) and None in found:
        yield not_read(BOX, nvml.gpus, evidence=(f"{PROC}/gpus",),
                       notes=(f"NVIDIA's driver has {found.count(None)} of {len(found)} GPUs",))


def _judge_listed(gpu: Gpu, nvidia: Nvidia, nvml: Nvml, want: Profile) -> Finding | None:
    """None where the driver has the GPU and NVML as a whole did not answer: one finding then stands for all."""
    evidence = (f"{PROC}/gpus/{gpu.bdf}/information",)
    help_ = ("sudo dmesg | grep -E 'NVRM|Xid' | tail -30  says why", REVIVE)
    seen = nvml.of(gpu.bdf)
    lost_by_count = not isinstance(nvml.gpus, Unread) and [one for one in nvml.gpus if one.lost]
    if isinstance(gpu.driver, Unread):
        return not_read(gpu.subject, gpu.driver, evidence=evidence)
    if gpu.driver != "nvidia":
        if on_own_driver(want):
            return passed(gpu.subject, f"not NVIDIA's, as goal {want.goal} wants it")
        return unknown(gpu.subject, "NVIDIA's driver is not bound to it, see driver.binding")
    if isinstance(nvidia.gpus, Unread):
        return not_read(gpu.subject, nvidia.gpus, evidence=evidence)
    own = next((one for one in nvidia.gpus if one.bdf == gpu.bdf), None)
    if own is not None and own.silent:
        return failed(gpu.subject, "the driver has it, and it does not answer (its VBIOS reads as question marks)",
                      evidence=evidence, cause=f"gpu-lost:{gpu.bdf}",
                      title=f"{gpu.subject.name} does not answer its driver",
                      help=(REVIVE,))
    if own is None:
        return failed(gpu.subject, "on the bus, and unknown to NVIDIA's driver", evidence=evidence,
                      cause=f"driver-binding:{gpu.bdf}", title=f"NVIDIA's driver does not have {gpu.subject.name}",
                      help=help_)
    if isinstance(nvml.gpus, Unread):
        return None
    if seen is None:
        lost = bool(lost_by_count)
        return failed(
            gpu.subject, f"{nvml.by} shows {len(nvml.gpus)} GPUs, not this one", evidence=evidence,
            cause=f"{'gpu-lost' if lost else 'nvml'}:{gpu.bdf}", title=f"{nvml.by} does not show {gpu.subject.name}",
            help=help_)
    if seen.lost:
        return failed(
            gpu.subject, f"the driver has it, and {nvml.by} says: {seen.error or 'GPU is lost'}", evidence=evidence,
            cause=f"gpu-lost:{gpu.bdf}", title=f"{gpu.subject.name} does not answer its driver",
            help=(REVIVE,))
    if seen.error is not None:
        return not_read(gpu.subject, Unread(f"{nvml.by}: {seen.error}"), evidence=evidence)
    return passed(gpu.subject, f"driver and {nvml.by} show it", evidence=evidence)


@check("nvidia.vbios-uniform", reads=[Gpus, Nvidia, Nvml])
def vbios_uniform(gpus: Gpus, nvidia: Nvidia, nvml: Nvml, want: Profile) -> Iterator[Finding]:
    """The NVIDIA GPUs of this box run different VBIOS versions.

    Why it matters: cards of one model with different VBIOS differ in power limit, fan curve and quirks.
    What to do: note it; the board maker offers updates. A mix of board makers is a mix of VBIOS.
    Not a fault: of a card by itself.
    By hand: grep 'Video BIOS' /proc/driver/nvidia/gpus/*/information
    """
    if (instead := applies(gpus, want) or _unloaded(nvidia, want)) is not None:
        yield instead
        return
    if isinstance(nvidia.gpus, Unread):
        yield not_read(BOX, nvidia.gpus, evidence=(f"{PROC}/gpus",))
        return
    cards = [gpu for gpu in _cards(gpus, want) if gpu.driver == "nvidia" or isinstance(gpu.driver, Unread)]
    if not cards:
        yield unknown(BOX, "NVIDIA's driver is bound to none of the GPUs, so none told its VBIOS")
    versions: dict[Bdf, str] = {one.bdf: one.vbios for one in nvidia.gpus if one.vbios is not None}
    models: dict[str, list[Gpu]] = {}
    for gpu in cards:
        models.setdefault(gpu.pci_id, []).append(gpu)
    for alike in models.values():
        yield from _vbios_of(alike, versions)


def _vbios_of(alike: list[Gpu], versions: dict[Bdf, str]) -> Iterator[Finding]:
    """Of the cards of one model; those of another have another VBIOS."""
    told = [gpu for gpu in alike if gpu.bdf in versions]
    silent = [gpu for gpu in alike if gpu.bdf not in versions]
    if silent:
        yield not_read(BOX, Unread(f"the VBIOS of {listed(gpu.subject.name for gpu in silent)}", "malformed"),
                       evidence=tuple(f"{PROC}/gpus/{gpu.bdf}/information" for gpu in silent))
    if not told:
        return
    usual = Counter(versions[gpu.bdf] for gpu in told).most_common(1)[0][0]
    odd = [gpu for gpu in told if versions[gpu.bdf] != usual]
    for gpu in odd:
        yield marginal(
            gpu.subject, f"VBIOS {versions[gpu.bdf]}, the others have {usual}", cause=f"gpu-differs:{gpu.bdf}",
            evidence=(f"{PROC}/gpus/{gpu.bdf}/information",),
            title=f"{gpu.subject.name} has another VBIOS than the others", help=("note it in the report",))
    if not odd:
        yield passed(BOX, f"VBIOS {usual} on {len(told)} of {len(alike)} x {alike[0].name}", evidence=(f"{PROC}/gpus",))


@check("nvidia.uuid", reads=[Gpus, Nvidia, Nvml])
def uuid(gpus: Gpus, nvidia: Nvidia, nvml: Nvml, want: Profile) -> Iterator[Finding]:
    """Two NVIDIA GPUs claim the same UUID.

    Why it matters: the UUID follows a card from slot to slot; two alike are a forged or damaged card.
    What to do: compare with the stickers; try the cards one by one.
    Not a fault: of the slots.
    By hand: nvidia-smi -L
    """
    if (instead := applies(gpus, want) or _unloaded(nvidia, want)) is not None:
        yield instead
        return
    if isinstance(nvidia.gpus, Unread):
        yield not_read(BOX, nvidia.gpus, evidence=(f"{PROC}/gpus",))
        return
    owners: dict[str, list[Bdf]] = {}
    for one in nvidia.gpus:
        if one.uuid is not None:
            owners.setdefault(one.uuid, []).append(one.bdf)
    twice = {number: found for number, found in owners.items() if len(found) > 1}
    for number, found in twice.items():
        cards = [gpu for gpu in gpus.gpus if gpu.bdf in found]
        yield failed(cards[0].subject if cards else BOX,
                     f"{listed([gpu.subject.name for gpu in cards] or found)} all claim {number}",
                     cause=f"gpu-twins:{found[0]}", title="two GPUs claim one UUID",
                     evidence=tuple(f"{PROC}/gpus/{bdf}/information" for bdf in found),
                     help=("try the cards one by one, and compare with their stickers",))
    silent = [one.bdf for one in nvidia.gpus if one.uuid is None]
    if not owners:
        yield unknown(BOX, "no GPU told its UUID", evidence=(f"{PROC}/gpus",))
    elif silent:
        yield not_read(BOX, Unread(f"the UUID of {listed(silent)}", "malformed"), evidence=(f"{PROC}/gpus",))
    elif not twice:
        yield passed(BOX, f"{len(owners)} GPUs, {len(owners)} UUIDs", evidence=(f"{PROC}/gpus",))


@check("nvidia.row-remap", reads=[Gpus, Nvidia, Nvml], needs=["NVML"])
def row_remap(gpus: Gpus, nvidia: Nvidia, nvml: Nvml, want: Profile) -> Iterator[Finding]:
    """A GPU replaced bad rows of its memory, could not, or waits for a reset to do so.

    Why it matters: rows are replaced after uncorrectable errors. The spare ones are few; when replacing fails the
    card is at its end.
    What to do: pending: reset the GPU (sudo nvidia-smi -r) or reboot, then look again. Failed: have the card replaced.
    Not a fault: a card that keeps no such record, as many GeForce cards; rows that were replaced in time.
    By hand: nvidia-smi -q -d ROW_REMAPPER,PAGE_RETIREMENT,ECC
    """
    if (instead := applies(gpus, want) or _unloaded(nvidia, want)) is not None:
        yield instead
        return
    if isinstance(nvml.gpus, Unread):
        yield not_read(BOX, nvml.gpus)
        return
    silent: list[str] = []
    for gpu in _cards(gpus, want):
        one = nvml_of(gpu, nvml, want)
        if isinstance(one, Finding):
            yield one
        elif (bad := _bad_memory(gpu, one)) is not None:
            yield bad
        elif (unread := one.missing(*MEMORY_RECORDS)) is not None:
            yield not_read(gpu.subject, unread)
        elif all(getattr(one, name) is None for name in MEMORY_RECORDS):
            silent.append(gpu.subject.name)
        else:
            clean = [text for value, text in (
                (one.remapped_uncorrected, "no bad row"), (one.retired_pending, "no page waits to be retired"),
                (one.ecc_uncorrected, "no uncorrectable error in its life")) if value is not None]
            early = [f"{counted(one.remapped_corrected, 'row')} replaced in time"] if one.remapped_corrected else []
            yield passed(gpu.subject, listed([*clean, *early]))
    if silent:
        yield skipped(BOX, f"{listed(silent)} keep no such record")


MEMORY_RECORDS = ("remap_failed", "remap_pending", "remapped_uncorrected", "retired_pending", "ecc_uncorrected",
                  "ecc_uncorrected_volatile")


def _bad_memory(gpu: Gpu, one: NvmlGpu) -> Finding | None:
    """Errors of a card's life are no verdict on it when their rows were replaced: NVIDIA takes a card back when
    replacing fails (NVIDIA GPU Memory Error Management, RMA policy)."""
    cause, rows = f"gpu-memory:{gpu.bdf}", one.remapped_uncorrected
    if one.remap_failed:
        return failed(gpu.subject, "replacing a bad row of its memory failed, no spare is left", cause=cause,
                      title=f"the memory of {gpu.subject.name} is at its end", help=("have the card replaced",))
    if one.remap_pending or one.retired_pending:
        return failed(gpu.subject, "bad memory waits to be taken out of use", cause=cause,
                      title=f"the memory of {gpu.subject.name} has bad places",
                      help=("reboot, or sudo nvidia-smi -r, then look again",))
    if one.ecc_uncorrected_volatile:
        return failed(gpu.subject, f"{one.ecc_uncorrected_volatile} uncorrectable memory errors since the driver was "
                      "loaded, limit 0", cause=cause, title=f"the memory of {gpu.subject.name} makes errors",
                      help=("reboot, then test its memory; have the card replaced when more come",))
    if rows or one.ecc_uncorrected:
        parts = [text for number, text in (
            (rows, f"{counted(rows or 0, 'bad row')} of its memory replaced"),
            (one.ecc_uncorrected, f"{counted(one.ecc_uncorrected or 0, 'uncorrectable memory error')}")) if number]
        return marginal(gpu.subject, f"{' and '.join(parts)} in its life, limit 0", cause=cause,
                        title=f"the memory of {gpu.subject.name} had errors",
                        help=("watch it: nvidia-smi -q -d ROW_REMAPPER,ECC",))
    return None


@check("nvidia.replay", reads=[Gpus, Nvidia, Nvml, Links], needs=["NVML"])
def replay(gpus: Gpus, nvidia: Nvidia, nvml: Nvml, links: Links, want: Profile) -> Iterator[Finding]:
    """NVIDIA's driver counts packets that had to be sent again over PCIe.

    Why it matters: a replay is a packet that was damaged or not acknowledged. The GPU counts it itself, so it shows
    where AER is silent.
    What to do: reseat the card; not cured: move it alone to another slot, to tell card from riser.
    Not a fault: a handful from the moment the link came up or changed its speed.
    By hand: nvidia-smi -q | grep -i replay
    """
    if (instead := applies(gpus, want) or _unloaded(nvidia, want)) is not None:
        yield instead
        return
    if isinstance(nvml.gpus, Unread):
        yield not_read(BOX, nvml.gpus)
        return
    for gpu in _cards(gpus, want):
        one = nvml_of(gpu, nvml, want)
        link = links.links.get(gpu.slot_link) if gpu.slot_link is not None else None
        if isinstance(one, Finding):
            yield one
        elif (unread := one.missing("pcie_replays")) is not None:
            yield not_read(gpu.subject, unread)
        elif one.pcie_replays is None:
            yield skipped(gpu.subject, "this GPU has no replay counter")
        elif one.pcie_replays:
            yield marginal(
                gpu.subject, f"{one.pcie_replays} packets were sent again since the driver was loaded, 0 is clean",
                cause=f"link:{link.id}" if link else f"gpu-replay:{gpu.bdf}",
                where=where(link, gpu, links, want) if link else None,
                help=reseat(link, want) if link else ("power off, reseat the card, power on",))
        else:
            yield passed(gpu.subject, f"{one.pcie_replays} packets were sent again")

"""The IOMMU has no single right setting: these checks judge it by what the box is for.

| goal      | off | passes through (identity) | translates (DMA, DMA-FQ) |
| rocm      | works, not recommended by AMD | right | marginal with several GPUs: RCCL hangs, slower |
| cuda-p2p  | right | right | wrong: copies between GPUs arrive damaged or not at all |
| tinygrad  | right | right | wrong: its driver hands bus addresses to the GPUs |
| vm        | wrong: no device can be given to a guest | right | right |
| any       | right | right | right |

Sources: AMD ROCm documentation, conceptual/iommu.rst; tinygrad docs/developer/am.md; tinygrad's and aikitoria's
open-gpu-kernel-modules READMEs (IOMMU off, or passthrough); RCCL's warning where iommu=pt is missing (ROCm/vllm#390).
"""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.checks.places import wanted_gpus
from boxcheck.checks.steps import GRUB_FILE, GRUB_RUN, GRUB_WRITE
from boxcheck.checks.wording import listed, not_read
from boxcheck.decode.cmdline import CommandLine
from boxcheck.model import BOX, Finding, Unread
from boxcheck.probes.gpus import Gpu, Gpus
from boxcheck.probes.iommu import GROUPS, TRANSLATING, UNITS, Iommu, IommuGroup, cards_in
from boxcheck.probes.kernel import Kernel
from boxcheck.probes.pci import PciInventory
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, marginal, passed, skipped, unknown

TRADE_OFF = (
    "off: fastest and simplest for peer-to-peer; no NPU, no devices for guests, at most 255 CPUs without x2APIC",
    "iommu=pt: devices use memory directly, guests still work; right for ROCm, CUDA peer-to-peer and tinygrad",
    "translating: protects memory from devices; copies between GPUs may be refused, slow or damaged",
)
PASS_THROUGH = (f"add iommu=pt to {GRUB_FILE} (Intel: intel_iommu=on iommu=pt)", GRUB_RUN)
BLOCKED = "blocked"
MODES = frozenset({*TRANSLATING, "identity", BLOCKED})
"""What iommu_group_show_type prints for a domain that is in force (drivers/iommu/iommu.c)."""
WANTS_DIRECT = {"cuda-p2p": "copies between GPUs under it arrive damaged or not at all",
                "tinygrad": "tinygrad's driver hands bus addresses to the GPUs",
                "rocm": "RCCL hangs or is slow under it"}


def _state(gpu: Gpu, iommu: Iommu) -> IommuGroup | None | Unread:
    """The group that a GPU goes through; None when no IOMMU stands in its way."""
    active = iommu.active
    if active is False:
        return None
    group = iommu.group_of(gpu.function.iommu_group)
    if group is None and isinstance(active, Unread):
        return active
    if group is None:
        return Unread(f"an IOMMU is active, and no group of {gpu.bdf} was found", "not-captured")
    return group


def _chosen(gpus: Gpus, want: Profile) -> tuple[tuple[Gpu, ...], Finding | None]:
    chosen = wanted_gpus(gpus, want)
    if chosen:
        return chosen, None
    if gpus.unreadable is not None:
        return (), not_read(BOX, gpus.unreadable)
    if want.gpus.parts:
        return (), unknown(BOX, "none of the profile's GPUs answers")
    return (), skipped(BOX, "no GPU is here that the profile is about")


@check("iommu.translating", reads=[Gpus, Iommu])
def translating(gpus: Gpus, iommu: Iommu, want: Profile) -> Iterator[Finding]:
    """The IOMMU translates the GPUs' memory accesses, and what this box is for does not go with that.

    Why it matters: a GPU that writes into another GPU's memory uses bus addresses. Behind a translating IOMMU such
    copies are refused, slow, or land in the wrong place without an error; tinygrad's driver cannot work at all.
    What to do: iommu=pt on the kernel command line: addresses pass through, guests still work. Where even that is in
    the way, switch it off in the BIOS.
    Not a fault: with goal vm, which needs it, or on a machine whose GPUs never talk to each other.
    By hand: cat /sys/kernel/iommu_groups/*/type | sort | uniq -c; cat /proc/cmdline
    """
    chosen, instead = _chosen(gpus, want)
    if instead is not None:
        yield instead
        return
    states = [(gpu, _state(gpu, iommu)) for gpu in chosen]
    unread = next((state for _, state in states if isinstance(state, Unread)), None)
    types = [(gpu, state.type) for gpu, state in states if isinstance(state, IommuGroup)]
    bad_type = next((kind for _, kind in types if isinstance(kind, Unread)), None)
    strange = next((kind for _, kind in types if not isinstance(kind, Unread) and kind not in MODES), None)
    if bad_type is None and strange is not None:
        bad_type = Unread(f"{strange!r} is no type of an IOMMU group that is known", "malformed")
    evidence = (GROUPS, UNITS)
    for reading in (unread, bad_type):
        if reading is not None:
            yield not_read(BOX, reading, evidence=evidence)
            return
    behind = [(gpu, str(kind)) for gpu, kind in types if kind in TRANSLATING or kind == BLOCKED]
    yield _judge_mode(behind, types, len(chosen), iommu, want)


def _judge_mode(
    behind: list[tuple[Gpu, str]], types: list[tuple[Gpu, str | Unread]], total: int, iommu: Iommu, want: Profile
) -> Finding:
    evidence = (GROUPS, UNITS)
    if want.goal == "vm":
        if not types:
            table = "; the firmware offers none" if iommu.firmware_table is None else ""
            return failed(
                BOX, f"no IOMMU is active, devices cannot be given to a guest{table}",
                evidence=evidence, cause="iommu:", title="the IOMMU is off",
                help=(f"Intel: add intel_iommu=on to {GRUB_FILE}, {GRUB_WRITE}", "BIOS setup: IOMMU (AMD-Vi, VT-d) on"),
                notes=TRADE_OFF)
        return passed(BOX, f"an IOMMU stands between {len(types)} of {total} GPUs and memory", evidence=evidence)
    if not behind:
        how = f"passes {len(types)} of {total} GPUs through" if types else "is off"
        notes = TRADE_OFF if want.goal == "rocm" and not types and total > 1 else ()
        return passed(BOX, f"the IOMMU {how}", evidence=evidence, notes=notes)
    names = listed(gpu.subject.name for gpu, _ in behind)
    says = f"the IOMMU translates {len(behind)} of {total} GPUs ({listed(dict.fromkeys(kind for _, kind in behind))})"
    why = WANTS_DIRECT.get(want.goal)
    alone = want.goal == "rocm" and sum(not gpu.integrated for gpu, _ in types) < 2
    if why is None or alone:
        return passed(BOX, says, evidence=evidence, notes=TRADE_OFF)
    make = marginal if want.goal == "rocm" else failed
    return make(
        BOX, f"{says}, goal {want.goal} wants passthrough: {why}", evidence=evidence, cause="iommu:",
        title="the IOMMU translates GPU traffic", where=names, help=PASS_THROUGH, notes=TRADE_OFF)


AMD_WORDS = frozenset({"off", "fullflush", "force_enable", "force_isolation", "pgtbl_v1", "pgtbl_v2", "irtcachedis"})
"""What amd_iommu= takes (drivers/iommu/amd/init.c, parse_amd_iommu_options); `on` is no such word and does nothing."""


X86_WORDS, PASSTHROUGH = ("iommu", "amd_iommu", "intel_iommu"), "iommu.passthrough"
"""The last is for all architectures, and the only one on ARM (drivers/iommu/iommu.c, kstrtobool)."""
TRUE, FALSE = ("1", "y", "Y", "yes", "on", "t", "true"), ("0", "n", "N", "no", "off", "f", "false")


@check("iommu.cmdline", reads=[Gpus, Iommu, Kernel])
def cmdline(gpus: Gpus, iommu: Iommu, kernel: Kernel, want: Profile) -> Iterator[Finding]:
    """What the command line asks of the IOMMU is not what it does, or contradicts itself.

    Why it matters: the owner believes in a mode that is not in force: a word that means nothing, one for the other
    maker's processors, or an IOMMU that is off in the BIOS.
    What to do: keep one word: iommu=pt (iommu.passthrough=1 on ARM), or amd_iommu=off (intel_iommu=off); on Intel
    intel_iommu=on as well.
    Not a fault: `amd_iommu=on`, which is in many guides and does nothing.
    By hand: grep -oE '(amd_|intel_)?iommu[^ ]*' /proc/cmdline; ls /sys/class/iommu
    """
    evidence = ("/proc/cmdline", UNITS)
    if isinstance(kernel.command_line, Unread):
        yield not_read(BOX, kernel.command_line, evidence=evidence)
        return
    line = kernel.command_line
    words = [parameter.text for name in (*X86_WORDS, PASSTHROUGH) for parameter in line.all(name)]
    notes = ("amd_iommu=on does nothing: AMD's IOMMU is on unless told otherwise",) if "on" in line.words(
        "amd_iommu") else ()
    if not words:
        yield passed(BOX, "no word for the IOMMU on the command line", evidence=evidence)
        return
    asked = listed(words)
    off = "off" in (*line.words("iommu"), *line.words("amd_iommu"), *line.words("intel_iommu"))
    through = "pt" in line.words("iommu") or line.value(PASSTHROUGH) in TRUE
    active = iommu.active
    problem = _contradiction(line, iommu, off, through)
    if problem is not None:
        yield marginal(BOX, f"{asked}: {problem}", evidence=evidence, cause="iommu-cmdline:", notes=notes,
                       title="the command line asks for an IOMMU mode that is not in force",
                       help=(f"keep one word for the IOMMU in {GRUB_FILE}", GRUB_RUN))
    elif isinstance(active, Unread) and (off or through):
        yield not_read(BOX, active, evidence=evidence)
    elif off and active:
        yield marginal(BOX, f"{asked} asks for no IOMMU, and one is active", evidence=evidence, cause="iommu-cmdline:",
                       title="the IOMMU is on although the command line switches it off",
                       help=(f"use your processor's word in {GRUB_FILE}: amd_iommu=off or intel_iommu=off", GRUB_RUN),
                       notes=notes)
    elif through and active and (kinds := _translating_kinds(gpus, iommu)):
        yield marginal(
            BOX, f"{asked} asks for passthrough, and GPUs are in groups of type {listed(kinds)}", evidence=evidence,
            cause="iommu:", title="passthrough is asked for and the IOMMU translates",
            help=("look for a later iommu= word on the command line; cat /proc/cmdline",), notes=notes)
    else:
        yield passed(BOX, f"{asked}, as it is", evidence=evidence, notes=notes)


def _contradiction(line: CommandLine, iommu: Iommu, off: bool, through: bool) -> str | None:
    """Words that cannot both be meant, or mean nothing on this machine."""
    if line.value(PASSTHROUGH) in FALSE and "pt" in line.words("iommu"):
        return f"{PASSTHROUGH}=0 and iommu=pt cannot both be meant"
    if off and through:
        return "off and pt cannot both be meant"
    strange = [word for word in line.words("amd_iommu") if word not in AMD_WORDS and word not in ("on", "pt")]
    if "pt" in line.words("amd_iommu") and not through:
        return "amd_iommu has no word pt, iommu=pt is meant"
    if strange:
        return f"amd_iommu does not know {listed(strange)}"
    table = iommu.firmware_table
    if table == "IVRS" and line.has("intel_iommu") and not line.has("amd_iommu") and not line.has("iommu"):
        return "intel_iommu is for Intel processors, this one is AMD's"
    if table == "DMAR" and line.has("amd_iommu") and not line.has("intel_iommu") and not line.has("iommu"):
        return "amd_iommu is for AMD processors, this one is Intel's"
    if table is None and iommu.active is False and through and not line.has(PASSTHROUGH):
        return "the firmware offers no IOMMU (no IVRS or DMAR table), so there is nothing to pass through"
    return None


def _translating_kinds(gpus: Gpus, iommu: Iommu) -> list[str]:
    groups = [iommu.group_of(gpu.function.iommu_group) for gpu in gpus.gpus]
    kinds = {group.type for group in groups if isinstance(group, IommuGroup) and not isinstance(group.type, Unread)}
    return sorted(kinds & TRANSLATING)


@check("iommu.vm-groups", reads=[Gpus, Iommu, PciInventory])
def vm_groups(gpus: Gpus, iommu: Iommu, pci: PciInventory, want: Profile) -> Iterator[Finding]:
    """A GPU shares its IOMMU group with another card, so it cannot be given to a guest alone.

    Why it matters: a group is given to a guest as a whole: what cannot be kept apart by the hardware must not be in two
    guests.
    What to do: another slot, one below a root port of its own; ACS on in the BIOS.
    Not a fault: the GPU's own audio and USB functions, and the ports above it, in the same group.
    By hand: ls /sys/bus/pci/devices/0000:41:00.0/iommu_group/devices
    """
    if want.goal != "vm":
        yield skipped(BOX, "no GPU is to be given to a guest")
        return
    chosen, instead = _chosen(gpus, want)
    if instead is not None:
        yield instead
    for gpu in chosen:
        group = _state(gpu, iommu)
        evidence = (f"/sys/bus/pci/devices/{gpu.bdf}/iommu_group",)
        if isinstance(group, Unread):
            yield not_read(gpu.subject, group, evidence=evidence)
        elif group is None:
            yield failed(gpu.subject, "is in no IOMMU group: the IOMMU is off", evidence=evidence, cause="iommu:",
                         help=("BIOS setup: IOMMU (AMD-Vi, VT-d) on",))
        elif isinstance(group.devices, Unread):
            yield not_read(gpu.subject, group.devices, evidence=evidence)
        else:
            own = gpu.bdf.rsplit(".", 1)[0]
            bridges = {function.bdf.rsplit(".", 1)[0] for function in pci.functions.values() if function.is_bridge}
            others = sorted(cards_in(group) - {own} - bridges)
            if others:
                yield failed(
                    gpu.subject, f"shares group {group.number} with {listed(others)}", evidence=evidence,
                    cause=f"iommu-group:{group.number}", title=f"cards share IOMMU group {group.number}",
                    help=("use a slot below a root port of its own; switch ACS on in the BIOS",))
            else:
                yield passed(gpu.subject, f"alone in group {group.number}", evidence=evidence)

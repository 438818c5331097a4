"""Judgements on Strix Halo: whether the GPU gets the memory that was asked for, and leaves enough to the system."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from boxcheck.checks.steps import GRUB_FILE, GRUB_RUN, WHY_NO_DRIVER
from boxcheck.checks.strix_memory import CARVE_OUT, GIB, NO_DRIVER, Shared, shared, wanted
from boxcheck.checks.versions import version_outcome
from boxcheck.checks.wording import broken_bound, decided, judged, not_read, size, wish_of
from boxcheck.decode.version import parse_release
from boxcheck.model import BOX, Finding, Limit, Outcome, Quantity, Subject, Unread
from boxcheck.probes.amdgpu import PAGE_BYTES, Amdgpu
from boxcheck.probes.gpus import Gpus
from boxcheck.probes.kernel import Kernel
from boxcheck.probes.kfd import Kfd
from boxcheck.probes.memory import Memory
from boxcheck.probes.modules import COMMAND_LINE, ModuleSettings
from boxcheck.probes.tuning import ACTIVE_PROFILE, Tuning
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, limit, marginal, outcome_of, passed, skipped, unknown

GPU_MEMORY = limit(
    "strix.gpu_memory_gib", float, "ge", "GiB",
    "System memory that programs on the GPU may use (GTT within TTM's limit, or the BIOS carve-out).",
    low=1, high=4096)
KFD_MEMORY = limit(
    "strix.kfd_memory_gib", float, "ge", "GiB", "Memory that KFD, and so ROCm, shows for the GPU.", low=1, high=4096)
IOMMU_OFF = limit(
    "strix.iommu_off", bool, "eq", "",
    "Whether the IOMMU is switched off on the command line (amd_iommu=off), worth 5 to 12 % of memory bandwidth.")
TUNED = limit("strix.tuned_profile", str, "in", "", "Profiles of tuned that this box should run under.")

KFD_FULL = "6.16.9"
"""First kernel on which KFD shows all of it (ROCm issue 5444)."""
CAUSE = "strix-memory:"
ASKED = "strix-asked:"
"""What was asked for is wrong or not in force; that explains the memory that the GPU has."""
NOTHING = "no GPU of this kind is here and the profile names none"
WHY_NO_GPU = "boxcheck doctor inventory kernel  says what to do about it (PARTIAL, nothing failed, once it is there)"

GTT_MISSPELT = {
    "amdgpu.gtt_size": "amdgpu.gttsize", "amdgpu.gtt": "amdgpu.gttsize", "amdgpu.pages_limit": "ttm.pages_limit",
    "ttm.page_limit": "ttm.pages_limit", "ttm.pages_limits": "ttm.pages_limit", "ttm.gttsize": "amdgpu.gttsize",
    "amdttm.page_limit": "amdttm.pages_limit", "amdttm.gttsize": "amdgpu.gttsize",
}
"""What guides write -> what was meant. The first is ROCm issue 5595."""


def _each(
    gpus: Gpus, amdgpu: Amdgpu, memory: Memory, settings: ModuleSettings, want: Profile
) -> tuple[tuple[Shared, ...], Finding | None]:
    """The APUs, or the one finding that says why there are none to judge."""
    found = shared(gpus, amdgpu, memory, settings, want)
    if found:
        return found, None
    if gpus.unreadable is not None:
        return (), not_read(BOX, gpus.unreadable)
    if wanted(want):
        return (), unknown(BOX, "no Strix Halo GPU answers, so its memory cannot be judged")
    return (), skipped(BOX, NOTHING)


def _paths(one: Shared) -> tuple[str, ...]:
    base = f"/sys/bus/pci/devices/{one.gpu.bdf}"
    return (f"{base}/mem_info_gtt_total", f"{base}/mem_info_vram_total",
            f"/sys/module/{one.ttm}/parameters/pages_limit", COMMAND_LINE)


def _unread_part(one: Shared) -> Unread | None:
    parts = (one.card, one.ttm_limit_bytes, one.usable_bytes)
    return next((part for part in parts if isinstance(part, Unread)), None)


def _unread(one: Shared, unread: Unread, evidence: tuple[str, ...] = (), help: tuple[str, ...] = ()) -> Finding:
    """Of a GPU without a driver it is the driver that is missing, not the files that it would have made."""
    if one.gpu.driver is not None or unread.kind == "permission":
        return not_read(one.subject, unread, evidence=evidence)
    return unknown(one.subject, NO_DRIVER, evidence=evidence, help=help)


def _beyond(one: Shared, usable: int, installed: int, bound: Limit) -> Finding:
    """More was promised to the GPU than there is: the promise counts as far as memory goes, and is no pass even so."""
    outcome = outcome_of(installed / GIB, bound)
    return decided(
        Outcome.MARGINAL if outcome is Outcome.PASS else outcome, one.subject,
        f"{size(usable)} were given to programs on the GPU, and {size(installed)} of memory are installed, "
        f"{broken_bound(installed / GIB, bound)} GiB", measured=Quantity(installed / GIB, "GiB"), limit=bound,
        evidence=_paths(one), cause=CAUSE, title="the GPU was promised more memory than there is", help=one.setting)


@check("strix.gpu-memory", reads=[Gpus, Amdgpu, Memory, ModuleSettings], limits=[GPU_MEMORY])
def gpu_memory(
    gpus: Gpus, amdgpu: Amdgpu, memory: Memory, settings: ModuleSettings, want: Profile
) -> Iterator[Finding]:
    """The GPU may use less of the shared memory than this box is meant to give it.

    Why it matters: the kernel gives a GPU half of the memory unless told otherwise. A model that fits into 100 GiB then
    fails to load, or runs on the processor.
    What to do: set ttm.pages_limit as the help says, with the number for this box, and reboot.
    Not a fault: of the memory. `rocm-smi --showmeminfo vram` shows the carve-out alone, and is no sign of it.
    By hand: cat /sys/module/ttm/parameters/pages_limit /sys/class/drm/card*/device/mem_info_gtt_total
    """
    found, instead = _each(gpus, amdgpu, memory, settings, want)
    if instead is not None:
        lost = instead.outcome is Outcome.UNKNOWN and gpus.unreadable is None
        yield msgspec.structs.replace(instead, help=(WHY_NO_GPU,)) if lost else instead
    bound = want.limit(GPU_MEMORY)
    for one in found:
        if bound is None:
            yield skipped(one.subject, f"the profile sets no {GPU_MEMORY}")
        elif (unread := _unread_part(one)) is not None:
            yield _unread(one, unread, _paths(one), (WHY_NO_DRIVER,))
        elif isinstance(one.installed_bytes, Unread):
            yield not_read(one.subject, one.installed_bytes, evidence=_paths(one))
        else:
            yield _judge_usable(one, memory, bound)


def _judge_usable(one: Shared, memory: Memory, bound: Limit) -> Finding:
    usable, limit_bytes = one.usable_bytes, one.ttm_limit_bytes
    assert isinstance(usable, int)
    assert isinstance(limit_bytes, int)
    if isinstance(one.installed_bytes, int) and usable > one.installed_bytes:
        return _beyond(one, usable, one.installed_bytes, bound)
    total = memory.total_bytes
    asked = "nothing was asked, so it is the kernel's default of half the memory"
    if one.asked_gtt_bytes is not None and (one.asked_pages_bytes is None or one.asked_gtt_bytes == usable):
        asked = f"asked for by {one.gttsize_asked}"
    elif one.asked_pages_bytes is not None:
        asked = f"asked for by {one.pages_asked}"
    elif not isinstance(total, Unread) and abs(limit_bytes * 2 - total) > total // 20:
        asked = "set by something else than command line and modprobe.d"
    if isinstance(one.carve_out_bytes, int) and usable == one.carve_out_bytes and usable > limit_bytes:
        asked = f"that is what the BIOS keeps for it, {one.ttm} gives out {size(limit_bytes)}"
    says = f"programs on the GPU may use {size(usable)}, profile asks for {wish_of(bound):g} GiB; {asked}"
    if not isinstance(one.card, Unread) and isinstance(one.card.gtt_bytes, int) and one.card.gtt_bytes > limit_bytes:
        says = (f"the GTT is {size(one.card.gtt_bytes)}, but {one.ttm} gives out {size(limit_bytes)} only, "
                f"profile asks for {wish_of(bound):g} GiB")
    return judged(
        one.subject, usable / GIB, bound, says, evidence=_paths(one), cause=CAUSE,
        title=f"the GPU may use {size(usable)} of the shared memory", help=one.setting)


@check("strix.gtt-as-asked", reads=[Gpus, Amdgpu, Memory, ModuleSettings])
def gtt_as_asked(
    gpus: Gpus, amdgpu: Amdgpu, memory: Memory, settings: ModuleSettings, want: Profile
) -> Iterator[Finding]:
    """The GPU's share of memory is not what command line or modprobe.d ask for.

    Why it matters: the owner believes in a number that is not in force: two settings contradict each other, or name a
    module that is not loaded (`ttm` where AMD's DKMS driver uses `amdttm`), or stand in a file that the initramfs
    does not hold.
    What to do: keep one setting, ttm.pages_limit (amdttm.pages_limit with the DKMS driver), on the kernel command line.
    After an edit in /etc/modprobe.d rebuild the initramfs: sudo update-initramfs -u, or sudo dracut -f.
    Not a fault: amdgpu.gttsize beside a matching ttm.pages_limit, which older kernels need.
    By hand: cat /proc/cmdline /sys/module/ttm/parameters/pages_limit; grep -r gttsize /etc/modprobe.d
    """
    found, instead = _each(gpus, amdgpu, memory, settings, want)
    if instead is not None:
        yield instead
    for one in found:
        yield _judge_asked(one, settings)


def _judge_asked(one: Shared, settings: ModuleSettings) -> Finding:
    options = {"evidence": _paths(one), "cause": ASKED}
    pages, gtt = one.asked_pages_bytes, one.asked_gtt_bytes
    if one.pages_asked is not None and pages is None:
        return failed(
            one.subject, f"{one.pages_asked} in {one.pages_asked.place} is no number of pages: the kernel refuses it",
            title="the GPU's memory was asked for in a way that the kernel does not take", help=one.setting, **options)
    if pages is not None and gtt is not None and pages != gtt:
        return failed(
            one.subject, f"{one.gttsize_asked} asks for {size(gtt)}, {one.pages_asked} for {size(pages)}: "
            f"{gtt // PAGE_BYTES} pages would match", title="two settings of the GPU's memory contradict each other",
            help=one.setting, **options)
    if pages is None and one.pages_elsewhere is not None and one.ttm_loaded is True:
        return failed(
            one.subject, f"{one.pages_elsewhere} in {one.pages_elsewhere.place} has no effect: the driver uses "
            f"{one.ttm}, not {one.pages_elsewhere.module}", title="the GPU's memory was asked of the wrong module",
            help=one.setting, **options)
    if (unread := _unread_part(one)) is not None and (pages is not None or gtt is not None):
        return _unread(one, unread, _paths(one))
    if pages is not None and one.pages_asked is not None and one.ttm_limit_bytes != pages:
        assert isinstance(one.ttm_limit_bytes, int)
        rebuilt = () if one.pages_asked.place == COMMAND_LINE else (
            f"{one.pages_asked.place} was edited after the initramfs was built: sudo update-initramfs -u "
            "(or sudo dracut -f), reboot",)
        return failed(
            one.subject, f"{one.pages_asked} in {one.pages_asked.place} asks for {size(pages)}, "
            f"{one.ttm} has {size(one.ttm_limit_bytes)}", title="the GPU's memory is not what was asked for",
            help=rebuilt or one.setting, **options)
    wished = gtt if gtt is not None else pages
    if wished is not None and not isinstance(one.card, Unread) and isinstance(one.card.gtt_bytes, int) \
            and abs(one.card.gtt_bytes - wished) >= 1 << 20:
        return failed(
            one.subject, f"{one.gttsize_asked or one.pages_asked} asks for {size(wished)}, amdgpu reports "
            f"{size(one.card.gtt_bytes)}", title="the GPU's memory is not what was asked for", help=one.setting,
            **options)
    if wished is not None:
        return passed(one.subject, f"{size(wished)} asked for and in force", evidence=_paths(one))
    for lost in (settings.command_line_unread, settings.modprobe_unread):
        if lost is not None:
            return not_read(one.subject, lost)
    return passed(one.subject, "nothing was asked for, so nothing contradicts", evidence=_paths(one))


@check("strix.gtt-unknown-param", reads=[Gpus, Amdgpu, Memory, ModuleSettings])
def gtt_unknown_param(
    gpus: Gpus, amdgpu: Amdgpu, memory: Memory, settings: ModuleSettings, want: Profile
) -> Iterator[Finding]:
    """The setting of the GPU's memory is misspelt, so the kernel ignored it.

    Why it matters: `amdgpu.gtt_size=` is in many guides. The kernel answers with one line (`unknown parameter
    'gtt_size' ignored`) and leaves the GPU half of the memory.
    What to do: spell it as the help says.
    Not a fault: of kernel or driver.
    By hand: cat /proc/cmdline; sudo dmesg | grep 'unknown parameter'
    """
    dead = [one for one in settings.asked if f"{one.module}.{one.parameter}" in GTT_MISSPELT]
    found = shared(gpus, amdgpu, memory, settings, want)
    for one in dead:
        subject = found[0].subject if found else Subject("module", name=one.module)
        meant = GTT_MISSPELT[f"{one.module}.{one.parameter}"]
        make = failed if found or wanted(want) else marginal
        yield make(
            subject, f"{one} in {one.place} is ignored: no such parameter, {meant} is meant", evidence=(one.place,),
            cause=ASKED, title=f"{one.module}.{one.parameter} is no parameter, so the GPU's memory was not set",
            help=(f"take {one} out of {'/etc/default/grub' if one.place == COMMAND_LINE else one.place}",
                  *(found[0].setting if found else (f"write {meant} instead", GRUB_RUN))))
    if dead:
        return
    _, instead = _each(gpus, amdgpu, memory, settings, want)
    if instead is not None:
        yield instead
    elif settings.command_line_unread is not None:
        yield not_read(BOX, settings.command_line_unread, evidence=(COMMAND_LINE,))
    elif settings.modprobe_unread is not None and (settings.modprobe_unread.kind != "absent" or not settings.asked):
        yield not_read(BOX, settings.modprobe_unread)
    else:
        for one_gpu in found:
            yield passed(one_gpu.subject, "no misspelt setting of the GPU's memory", evidence=(COMMAND_LINE,))


@check("strix.gtt-headroom", reads=[Gpus, Amdgpu, Memory, ModuleSettings])
def gtt_headroom(
    gpus: Gpus, amdgpu: Amdgpu, memory: Memory, settings: ModuleSettings, want: Profile
) -> Iterator[Finding]:
    """The GPU may take so much memory that less than 4 GiB stay to the system.

    Why it matters: what a program allocates on the GPU is gone for the kernel. With all of it given away, a large model
    ends in the out-of-memory killer or a machine that stands still.
    What to do: lower ttm.pages_limit to the number in the help: 124 of 128 GiB is the usual setting.
    Not a fault: as long as no program asks for that much; so this is never more than marginal.
    By hand: echo $(( $(cat /sys/module/ttm/parameters/pages_limit) / 262144 )) GiB; free -g
    """
    found, instead = _each(gpus, amdgpu, memory, settings, want)
    if instead is not None:
        yield instead
    for one in found:
        room, limit_bytes = one.room_bytes, one.ttm_limit_bytes
        unread = next((part for part in (one.installed_bytes, limit_bytes, room) if isinstance(part, Unread)), None)
        if unread is not None:
            yield _unread(one, unread, _paths(one))
            continue
        assert isinstance(room, int)
        assert isinstance(limit_bytes, int)
        assert isinstance(one.installed_bytes, int)
        guess = "installed memory worked out from MemTotal; root reads it from SMBIOS"
        notes = (guess,) if one.installed_guessed else ()
        says = (f"{one.ttm} may give out {size(limit_bytes)} of {size(one.installed_bytes)}, "
                f"{size(room)} would leave 4 GiB to the system")
        if limit_bytes > room:
            yield marginal(one.subject, says, measured=Quantity(limit_bytes / GIB, "GiB"), evidence=_paths(one),
                           cause=CAUSE, notes=notes, help=one.setting, title="the GPU may take all of the memory")
        else:
            yield passed(
                one.subject, says, measured=Quantity(limit_bytes / GIB, "GiB"), evidence=_paths(one), notes=notes)


@check("strix.carve-out", reads=[Gpus, Amdgpu, Memory, ModuleSettings], limits=[CARVE_OUT])
def carve_out(
    gpus: Gpus, amdgpu: Amdgpu, memory: Memory, settings: ModuleSettings, want: Profile
) -> Iterator[Finding]:
    """The BIOS takes more memory for the GPU than it should.

    Why it matters: the carve-out is lost to the system whether the GPU uses it or not; GTT gives the GPU the same
    memory when it needs it, and gives it back.
    What to do: set UMA frame buffer size (or iGPU memory) to 512 MB in the BIOS, and ttm.pages_limit instead, to the
    number in the help: it is computed for the small carve-out.
    Not a fault: a choice, for programs that look at VRAM alone.
    By hand: cat /sys/class/drm/card*/device/mem_info_vram_total
    """
    found, instead = _each(gpus, amdgpu, memory, settings, want)
    if instead is not None:
        yield instead
    bound = want.limit(CARVE_OUT)
    for one in found:
        if bound is None:
            yield skipped(one.subject, f"the profile sets no {CARVE_OUT}")
            continue
        vram = one.carve_out_bytes
        if isinstance(vram, Unread):
            yield not_read(one.subject, vram, evidence=_paths(one))
            continue
        yield judged(
            one.subject, vram / GIB, bound,
            f"the BIOS keeps {size(vram)} for the GPU, profile asks for {wish_of(bound):g} GiB at most",
            evidence=_paths(one), cause="strix-carve-out:", title=f"the BIOS keeps {size(vram)} for the GPU",
            help=one.setting)


@check("strix.kfd-memory", reads=[Gpus, Amdgpu, Memory, ModuleSettings, Kfd, Kernel], limits=[KFD_MEMORY])
def kfd_memory(
    gpus: Gpus, amdgpu: Amdgpu, memory: Memory, settings: ModuleSettings, kfd: Kfd, kernel: Kernel, want: Profile
) -> Iterator[Finding]:
    """ROCm is shown less memory than this box is meant to give it.

    Why it matters: before Linux 6.16.9 KFD shows ROCm some 15 GiB on Strix Halo, whatever is set.
    What to do: a newer kernel (6.18.4 or later); on a new one set ttm.pages_limit.
    Not a fault: of ROCm; Vulkan programs see the whole GTT on the same machine.
    By hand: cat /sys/class/kfd/kfd/topology/nodes/1/mem_banks/*/properties
    """
    found, instead = _each(gpus, amdgpu, memory, settings, want)
    if instead is not None:
        yield instead
    bound = want.limit(KFD_MEMORY)
    for one in found:
        if bound is None:
            yield skipped(one.subject, f"the profile sets no {KFD_MEMORY}")
            continue
        node = kfd.of(one.gpu.bdf)
        shown = kfd.nodes if isinstance(kfd.nodes, Unread) else node.memory_bytes if node is not None else Unread(
            f"KFD has no node for {one.gpu.bdf}", "absent")
        if isinstance(shown, Unread):
            yield _unread(one, shown)
            continue
        old = _shows_a_fraction(kernel)
        yield judged(
            one.subject, shown / GIB, bound,
            f"KFD shows ROCm {size(shown)}, profile asks for {wish_of(bound):g} GiB"
            + (f"; kernel {kernel.release} is older than {KFD_FULL}" if old else ""),
            evidence=(f"/sys/class/kfd/kfd/topology/nodes/{node.index if node else '*'}/mem_banks",),
            cause="kernel-too-old:" if old else CAUSE, title=f"ROCm sees {size(shown)} of the shared memory",
            help=(f"run kernel {KFD_FULL} or later, better 6.18.4",) if old else one.setting)


def _shows_a_fraction(kernel: Kernel) -> bool:
    """Whether this kernel is known to hide memory from ROCm; OEM kernels have the change ported back."""
    release = None if isinstance(kernel.release, Unread) else parse_release(kernel.upstream or kernel.release)
    if release is None or (isinstance(kernel.release, str) and kernel.release.endswith("-oem")):
        return False
    return version_outcome(release.numbers, Limit("", "ge", must=KFD_FULL)) is Outcome.FAIL


@check("strix.iommu", reads=[Gpus, Amdgpu, Memory, ModuleSettings, Kernel], limits=[IOMMU_OFF])
def iommu(
    gpus: Gpus, amdgpu: Amdgpu, memory: Memory, settings: ModuleSettings, kernel: Kernel, want: Profile
) -> Iterator[Finding]:
    """The IOMMU is on, which costs this machine 5 to 12 % of its memory bandwidth.

    Why it matters: on Strix Halo every access of the GPU to memory passes the IOMMU; iommu=pt gains nothing, switching
    it off does.
    What to do: put amd_iommu=off on the kernel command line and reboot, unless you need the NPU or give devices to a
    guest: both need the IOMMU.
    Not a fault: a trade.
    By hand: grep -o 'amd_iommu=[^ ]*' /proc/cmdline; ls /sys/class/iommu
    """
    found, instead = _each(gpus, amdgpu, memory, settings, want)
    if instead is not None:
        yield instead
    bound = want.limit(IOMMU_OFF)
    for one in found:
        if bound is None:
            yield skipped(one.subject, f"the profile sets no {IOMMU_OFF}")
            continue
        if isinstance(kernel.command_line, Unread):
            yield not_read(one.subject, kernel.command_line, evidence=(COMMAND_LINE,))
            continue
        off = "off" in (*kernel.command_line.words("amd_iommu"), *kernel.command_line.words("iommu"))
        yield judged(
            one.subject, off, bound, "amd_iommu=off is on the command line" if off else
            "amd_iommu=off is not on the command line; off is worth 5 to 12 % of memory bandwidth",
            evidence=(COMMAND_LINE,), cause="strix-iommu:", title="the IOMMU costs memory bandwidth",
            help=(f"unless NPU or guests need it: put amd_iommu=off into {GRUB_FILE}", GRUB_RUN),
            notes=("without the IOMMU the NPU and passing devices to a guest do not work",))


@check("strix.tuned", reads=[Gpus, Amdgpu, Memory, ModuleSettings, Tuning], limits=[TUNED])
def tuned(
    gpus: Gpus, amdgpu: Amdgpu, memory: Memory, settings: ModuleSettings, tuning: Tuning, want: Profile
) -> Iterator[Finding]:
    """The box does not run under the tuned profile that it should.

    Why it matters: accelerator-performance keeps processor and fabric awake: 221 instead of 214 GB/s on Strix Halo.
    What to do: sudo apt install tuned (or dnf), then sudo tuned-adm profile accelerator-performance
    Not a fault: of the hardware.
    By hand: tuned-adm active
    """
    _, instead = _each(gpus, amdgpu, memory, settings, want)
    if instead is not None:
        yield instead
        return
    bound = want.limit(TUNED)
    if bound is None:
        yield skipped(BOX, f"the profile sets no {TUNED}")
    elif isinstance(tuning.tuned_profile, Unread):
        yield not_read(BOX, tuning.tuned_profile, evidence=(ACTIVE_PROFILE,))
    else:
        wish = wish_of(bound)
        first = wish[0] if not isinstance(wish, str) and wish else wish
        yield judged(
            BOX, tuning.tuned_profile or "none", bound,
            f"tuned runs {tuning.tuned_profile or 'nothing'}, profile asks for {first}", evidence=(ACTIVE_PROFILE,),
            cause="tuned:",
            help=(f"sudo apt install tuned (Fedora: sudo dnf install tuned); sudo tuned-adm profile {first}",))

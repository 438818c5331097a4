"""Judgements on the kernel command line: words that harm, and words that nobody understood."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from boxcheck.checks.log_events import incomplete
from boxcheck.checks.steps import GRUB_FILE, GRUB_RUN, INITRAMFS
from boxcheck.checks.strix import GTT_MISSPELT
from boxcheck.checks.wording import listed, not_read
from boxcheck.decode.cmdline import CommandLine
from boxcheck.model import BOX, Finding, Outcome, Subject, Unread
from boxcheck.probes.cpu import Cpu
from boxcheck.probes.gpus import Gpus
from boxcheck.probes.kernel import Kernel
from boxcheck.probes.kernel_log import KernelLogs
from boxcheck.probes.modules import COMMAND_LINE, MODPROBE_DIRECTORIES, ModuleSettings
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, marginal, passed, unknown

GRUB = f"take it out of {GRUB_FILE}, {GRUB_RUN}"


class Context(msgspec.Struct, frozen=True):
    goal: str
    vendors: frozenset[str]
    """PCI vendors of the GPUs that the profile names, and of the discrete ones that are here."""
    windows: bool = False
    """It is the kernel of WSL, whose command line Windows writes."""
    integrated: frozenset[str] = frozenset()
    """PCI vendors of the processor's own GPU."""


class Rule(msgspec.Struct, frozen=True):
    """One thing on the command line that should not be there. `test` gives the offending text, or None."""

    test: Callable[[CommandLine, Context], str | None]
    says: str
    outcome: Outcome = Outcome.MARGINAL


def _word(name: str, word: str | None = None) -> Callable[[CommandLine, Context], str | None]:
    """Finds a parameter, or one of its comma-separated words."""

    def test(line: CommandLine, context: Context) -> str | None:
        if word is None:
            found = line.last(name)
            return None if found is None else found.text
        return f"{name}={word}" if word in line.words(name) else None

    return test


def _nomodeset(line: CommandLine, context: Context) -> str | None:
    return "nomodeset" if _keeps_out(line) and "1002" in context.vendors else None


def _nomodeset_of_own(line: CommandLine, context: Context) -> str | None:
    """It is no fault that the processor's own GPU has no driver where nothing asks for it, as beside others."""
    return "nomodeset" if _keeps_out(line) and not context.vendors and "1002" in context.integrated else None


def _keeps_out(line: CommandLine) -> bool:
    return line.has("nomodeset") and line.value("amdgpu.modeset") != "1"


def _acs_override(line: CommandLine, context: Context) -> str | None:
    found = line.last("pcie_acs_override")
    return found.text if found is not None and context.goal != "vm" else None


def _machine_checks_off(line: CommandLine, context: Context) -> str | None:
    for name, word in (("mce", "off"), ("mce", "0"), ("mce", "ignore_ce"), ("mce", "no_cmci")):
        if word in line.words(name):
            return f"{name}={word}"
    return "nomce" if line.has("nomce") else None


def _dpm_off(line: CommandLine, context: Context) -> str | None:
    return "amdgpu.dpm=0" if line.value("amdgpu.dpm") == "0" else None


def _few_processors(line: CommandLine, context: Context) -> str | None:
    """`nr_cpus=`, which Windows gives WSL with the number of all that there are."""
    return None if context.windows else _word("nr_cpus")(line, context)


RULES: tuple[Rule, ...] = (
    Rule(_nomodeset, "amdgpu refuses to start with it", Outcome.FAIL),
    Rule(_nomodeset_of_own, "the processor's own GPU gets no driver with it"),
    Rule(_dpm_off, "it takes the GPU's power management away, which then stays at its lowest clocks"),
    Rule(_word("pci", "nommconf"), "it hides the extended configuration space, and with it AER and the BAR sizes"),
    Rule(_word("pci", "nomsi"), "it takes message interrupts away, which GPUs and NVMe drives need"),
    Rule(_word("pci", "nocrs"), "it makes the kernel ignore the windows that the firmware gives to PCI"),
    Rule(_word("pcie_aspm", "force"), "it switches ASPM on where the hardware did not offer it: links drop out"),
    Rule(_acs_override, "it claims an isolation that the hardware lacks; a leftover of passing GPUs to a guest"),
    Rule(_machine_checks_off, "it hides errors of memory and processor, so their absence proves nothing"),
    Rule(_word("mem"), "it hides memory from the kernel"),
    Rule(_word("maxcpus"), "it keeps processors off"),
    Rule(_few_processors, "it keeps processors off"),
    Rule(_word("nosmp"), "it keeps all processors but one off"),
    Rule(_word("numa", "off"), "it hides which memory is near which GPU"),
    Rule(_word("acpi", "off"), "it takes interrupts, slots and power states away"),
    Rule(_word("noapic"), "it takes interrupts away"),
)


@check("kernel.cmdline-lint", reads=[Kernel, Gpus, ModuleSettings, Cpu])
def cmdline_lint(kernel: Kernel, gpus: Gpus, settings: ModuleSettings, cpu: Cpu, want: Profile) -> Iterator[Finding]:
    """The kernel command line holds something that harms this box.

    Why it matters: such words are copied from guides and outlive their reason. `nomodeset` keeps amdgpu from starting,
    `pci=nommconf` hides the error counters, `mce=off` hides the errors themselves.
    What to do: take the named word out of /etc/default/grub, run sudo update-grub (Fedora: grubby --update-kernel=ALL
    --remove-args=...), reboot.
    Not a fault: iommu=, amd_iommu= and intel_iommu=, which iommu.* judges; pci=noaer, which aer.* judges.
    By hand: cat /proc/cmdline
    """
    evidence = (COMMAND_LINE,)
    if isinstance(kernel.command_line, Unread):
        yield not_read(BOX, kernel.command_line, evidence=evidence)
        return
    windows = isinstance(kernel.release, str) and "microsoft" in kernel.release
    discrete = {gpu.vendor for gpu in gpus.gpus if not gpu.integrated}
    own = {gpu.vendor for gpu in gpus.gpus if gpu.integrated}
    if isinstance(cpu.model, str) and "radeon" in cpu.model.lower():
        own.add("1002")  # also where the BIOS switched it off
    context = Context(want.goal, want.gpus.vendors | discrete, windows, frozenset(own))
    clean = True
    for rule in RULES:
        text = rule.test(kernel.command_line, context)
        if text is None:
            continue
        clean = False
        make = failed if rule.outcome is Outcome.FAIL else marginal
        title = f"{text} is on the kernel command line"
        cause = "nomodeset:" if text == "nomodeset" else f"cmdline:{text}"
        yield make(Subject("kernel", name=text), f"{title}: {rule.says}", evidence=evidence, cause=cause, title=title,
                   help=(GRUB,))
    for finding in _kept_out(settings, want):
        clean = False
        yield finding
    if _asked_drivers(want) and settings.modprobe_unread is not None and settings.modprobe_unread.kind != "absent":
        clean = False
        yield not_read(BOX, settings.modprobe_unread, evidence=MODPROBE_DIRECTORIES)
    if clean:
        yield passed(BOX, f"nothing harmful among {len(kernel.command_line.parameters)} parameters", evidence=evidence)


_DRIVERS = {"1002": ("amdgpu",), "10de": ("nvidia", "nvidia_uvm")}


def _asked_drivers(want: Profile) -> tuple[str, ...]:
    """The modules that the profile's GPUs need."""
    if want.goal in ("tinygrad", "vm"):
        return ()
    return tuple(module for vendor in sorted(want.gpus.vendors) for module in _DRIVERS.get(vendor, ()))


def _kept_out(settings: ModuleSettings, want: Profile) -> Iterator[Finding]:
    """Drivers that the profile's GPUs need and that a blacklist keeps from loading."""
    for module in _asked_drivers(want):
        place = settings.blacklisted.get(module)
        if place is not None:
            yield marginal(
                Subject("module", name=module), f"{module} is blacklisted in {place}", evidence=(place,),
                cause=f"driver:{module.partition('_')[0]}",
                help=(f"take `blacklist {module}` out of {place}", INITRAMFS))


ALL_VISIBLE = frozenset({"amdgpu", "ttm", "amdttm"})
"""Modules that show every parameter in sysfs, so that one missing there does not exist (amdgpu_drv.c, ttm_tt.c)."""

OF_INTEREST = ("iommu", "pci", "aspm", "amdgpu", "nvidia", "nouveau", "ttm", "hugepage", "rebar", "vfio", "kfd")
"""Parts of names by which a parameter that nobody took is probably misspelt, and not meant for user space."""

INTENDED = ("amd_iommu", "intel_iommu", "iommu", "pci", "pcie_aspm", "pcie_ports", "pcie_port_pm", "pcie_acs_override",
            "nomodeset", "mitigations", "numa_balancing", "hugepages", "hugepagesz", "default_hugepagesz", "isolcpus",
            "transparent_hugepage", "nmi_watchdog", "crashkernel", "processor.max_cstate", "amd_pstate")
"""What owners of such boxes set; a name close to one of these is probably meant to be it."""


def _meant(name: str) -> str | None:
    """The parameter that a misspelt one was probably meant to be, None when it resembles none."""
    from difflib import get_close_matches

    found = get_close_matches(name.replace("-", "_")[:40], INTENDED, 1, 0.8)
    return found[0] if found else None


@check("kernel.cmdline-unknown", reads=[Kernel, ModuleSettings, KernelLogs], needs=["root"])
def cmdline_unknown(kernel: Kernel, settings: ModuleSettings, logs: KernelLogs, want: Profile) -> Iterator[Finding]:
    """A parameter was set that nothing understands, so it has no effect.

    Why it matters: the kernel drops a misspelt parameter with one line in the log, and the box runs without the setting
    that its owner believes in.
    What to do: correct the spelling, or take it out. `modinfo -p <module>` lists what a module knows.
    Not a fault: words meant for the boot loader or user space (BOOT_IMAGE, splash, systemd.*, rd.*).
    By hand: sudo dmesg | grep -iE 'unknown (parameter|kernel command line)'
    """
    if isinstance(kernel.command_line, Unread) and settings.modprobe_unread is not None:
        yield not_read(BOX, kernel.command_line, evidence=(COMMAND_LINE,))
        return
    dead: dict[str, tuple[str, str]] = {}
    for one in settings.asked:
        known = settings.parameters.get(one.module)
        if one.module in ALL_VISIBLE and not isinstance(known, Unread | None) and one.parameter not in known:
            dead[f"{one.module}.{one.parameter}"] = (one.place, f"{one.module} has no parameter {one.parameter}")
    log = logs.this_boot
    if not isinstance(log, Unread):
        for module, parameter in log.facts.ignored_parameters:
            asked = settings.last(module, parameter)
            dead.setdefault(f"{module}.{parameter}", (
                asked.place if asked else COMMAND_LINE, f"{module} has no parameter {parameter}, the log says"))
        for text in log.facts.unknown_command_line:
            name = text.partition("=")[0]
            meant = _meant(name)
            if meant is not None or any(part in name.lower() for part in OF_INTEREST):
                also = f"; {meant} is probably meant" if meant is not None and meant != name else ""
                dead.setdefault(name, (COMMAND_LINE, f"the kernel has no such parameter, the log says{also}"))
    for name in GTT_MISSPELT:
        dead.pop(name, None)  # strix.gtt-unknown-param speaks of these, with the right number
    for name, (place, why) in dead.items():
        yield marginal(
            Subject("kernel", name=name), f"{name} in {place} has no effect: {why}", evidence=(place,),
            cause=f"cmdline:{name}", title=f"{name} has no effect",
            help=(f"correct or remove it in {'/etc/default/grub' if place == COMMAND_LINE else place}; "
                  f"modinfo -p {name.partition('.')[0]} lists what is known",))
    if dead:
        return
    seen = listed(sorted({one.module for one in settings.asked if one.module in ALL_VISIBLE})) if settings.asked else ""
    unread = kernel.command_line if isinstance(kernel.command_line, Unread) else settings.modprobe_unread
    if isinstance(log, Unread) and isinstance(kernel.command_line, Unread):
        yield not_read(BOX, kernel.command_line, evidence=(COMMAND_LINE,))
    elif isinstance(log, Unread) or incomplete(log, logs) is not None:
        gap = log.why if isinstance(log, Unread) else incomplete(log, logs)
        yield unknown(
            BOX, f"not read: {gap}; of the modules asked, {seen or 'none'} could be checked without it",
            needs_root=isinstance(log, Unread) and log.kind == "permission", evidence=(COMMAND_LINE,))
    elif unread is not None and unread.kind != "absent":
        yield not_read(BOX, unread, evidence=(COMMAND_LINE, *MODPROBE_DIRECTORIES))
    else:
        yield passed(BOX, "every parameter was understood", evidence=(COMMAND_LINE,))

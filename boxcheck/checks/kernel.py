"""Judgements on the running kernel: its version, what tainted it, lockdown, and a reboot that is due."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.checks.versions import demanded, judged_version, version_outcome, wish
from boxcheck.checks.wording import listed, not_read
from boxcheck.decode.version import KernelRelease, parse_numbers, parse_release, release_order
from boxcheck.model import BOX, Finding, Outcome, Subject, Unread
from boxcheck.probes.amdgpu import Amdgpu
from boxcheck.probes.kernel import Kernel
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, limit, marginal, passed, skipped, unknown

VERSION = limit(
    "kernel.version", str, "ge", "", "Linux release that this box needs, as `6.18.4`; the stable release counts, "
    "not the number of a distribution's package.")
OEM_VERSION = limit(
    "kernel.oem_version", str, "ge", "", "Release of Ubuntu's OEM kernel (`uname -r` ends in -oem) that will do,"
    " since support for new machines is ported back into it.")

NEWER_KERNEL: dict[str, str] = {
    "ubuntu": "install the newest kernel of your release: sudo apt install linux-generic-hwe-$(lsb_release -rs), "
              "or linux-oem-24.04 for a new machine; then reboot",
    "debian": "install the kernel of backports: sudo apt install -t $(lsb_release -cs)-backports linux-image-amd64; "
              "then reboot",
    "fedora": "sudo dnf upgrade kernel linux-firmware, then reboot",
    "arch": "sudo pacman -Syu linux linux-firmware, then reboot",
}
ANY_NEWER_KERNEL = "install a newer kernel from your distribution, then reboot"


def kernel_subject(kernel: Kernel) -> Subject:
    return Subject("kernel", name="" if isinstance(kernel.release, Unread) else kernel.release)


@check("kernel.too-old", reads=[Kernel, Amdgpu], limits=[VERSION, OEM_VERSION])
def too_old(kernel: Kernel, amdgpu: Amdgpu, want: Profile) -> Iterator[Finding]:
    """The kernel is older than this box's hardware.

    Why it matters: a driver older than the GPU does not know it, or knows it badly: no device, no compute, hangs under
    load. RDNA 3 needs Linux 6.1 at least. Strix Halo shows ROCm a fraction of its memory before 6.16.9 and hangs
    before 6.18.4.
    What to do: install the newer kernel of your distribution (on Ubuntu the HWE or OEM kernel) and reboot.
    Not a fault: of the GPU or its seating; a GPU without a driver is explained by this. An OEM or enterprise kernel may
    have the support ported back, and a driver built by DKMS brings its own.
    By hand: uname -r; cat /proc/version
    """
    bound = want.limit(VERSION)
    evidence = ("/proc/sys/kernel/osrelease", "/proc/version")
    if bound is None:
        yield skipped(BOX, "the profile asks for no kernel version")
        return
    if isinstance(kernel.release, Unread):
        yield not_read(BOX, kernel.release, evidence=evidence)
        return
    subject = kernel_subject(kernel)
    release = parse_release(kernel.release)
    if release is None:
        yield unknown(subject, f"not decoded: kernel release {kernel.release[:40]!r} does not begin with a version",
                      evidence=evidence)
        return
    yield _judge_version(kernel, amdgpu, want, release)


def _judge_version(kernel: Kernel, amdgpu: Amdgpu, want: Profile, release: KernelRelease) -> Finding:
    bound, oem = want.limit(VERSION), want.limit(OEM_VERSION)
    assert bound is not None
    subject = kernel_subject(kernel)
    evidence = ("/proc/sys/kernel/osrelease", "/proc/version")
    numbers, shown = release.numbers, release.text
    if kernel.upstream is not None and (stable := parse_release(kernel.upstream)) is not None:
        numbers = max(numbers, stable.numbers)
        shown = f"{release.text} (Linux {kernel.upstream})"
    says = f"kernel {shown}, {wish(bound)}"
    outcome = version_outcome(numbers, bound)
    if outcome is not Outcome.PASS:
        if release.flavour == "oem" and oem is not None and version_outcome(numbers, oem) is Outcome.PASS:
            says = f"kernel {shown}; of OEM kernels {demanded(oem)} will do"
            return passed(subject, says, limit=oem, evidence=evidence)
        if outcome is Outcome.FAIL and (why := _not_by_number(release, amdgpu)) is not None:
            return marginal(subject, f"{says}; {why}", limit=bound, evidence=evidence, cause="kernel-too-old:",
                            title=f"kernel {release.text} is older than this box asks for",
                            help=(NEWER_KERNEL.get(kernel.os_id, ANY_NEWER_KERNEL),))
    return judged_version(
        subject, release.text, numbers, bound, says, evidence=evidence, cause="kernel-too-old:",
        title=f"kernel {release.text} is too old for this box",
        help=(NEWER_KERNEL.get(kernel.os_id, ANY_NEWER_KERNEL),),
    )


def _not_by_number(release: KernelRelease, amdgpu: Amdgpu) -> str | None:
    """Why the number alone does not condemn this kernel; None when it does."""
    if amdgpu.out_of_tree:
        return f"amdgpu {amdgpu.version} is built apart from it and brings its own support"
    if release.flavour.startswith("el"):
        return "an enterprise kernel, whose drivers are newer than its number"
    return None


TAINTS: tuple[tuple[int, str, str, Outcome], ...] = (
    # bit, letter, what it says, outcome: Documentation/admin-guide/tainted-kernels.rst
    (0, "P", "a proprietary module was loaded", Outcome.PASS),
    (1, "F", "a module was loaded by force", Outcome.MARGINAL),
    (2, "S", "the kernel runs on a machine out of its specification", Outcome.MARGINAL),
    (3, "R", "a module was removed by force", Outcome.MARGINAL),
    (4, "M", "the processor reported a machine check", Outcome.FAIL),
    (5, "B", "a page of memory was found corrupt", Outcome.FAIL),
    (6, "U", "a program asked for the mark", Outcome.PASS),
    (7, "D", "the kernel died before (an oops or BUG)", Outcome.FAIL),
    (8, "A", "an ACPI table was overridden", Outcome.PASS),
    (9, "W", "the kernel gave a warning", Outcome.MARGINAL),
    (10, "C", "a staging driver was loaded", Outcome.PASS),
    (11, "I", "a fault of the firmware was worked around", Outcome.PASS),
    (12, "O", "an out-of-tree module was loaded", Outcome.PASS),
    (13, "E", "an unsigned module was loaded", Outcome.PASS),
    (14, "L", "a CPU hung (soft lockup)", Outcome.FAIL),
    (15, "K", "the kernel was live-patched", Outcome.PASS),
    (16, "X", "the distribution set its own mark", Outcome.PASS),
    (17, "T", "the kernel was built with randomised structures", Outcome.PASS),
    (18, "N", "an in-kernel test was run", Outcome.PASS),
    (19, "J", "firmware was changed by a debugging call", Outcome.MARGINAL),
)


@check("kernel.taint", reads=[Kernel])
def taint(kernel: Kernel, want: Profile) -> Iterator[Finding]:
    """The kernel carries the mark of a fault since boot: a machine check, an oops, a lockup, corrupt memory.

    Why it matters: the mark outlives the log. After a machine check or a corrupt page the hardware is suspect; after an
    oops no later reading of this boot can be trusted.
    What to do: read what was logged (`journalctl -k -b | grep -iE 'mce|BUG|WARNING|lockup'`), reboot, and look whether
    it comes back.
    Not a fault: the marks of proprietary, out-of-tree and unsigned modules, which NVIDIA's driver and DKMS builds set.
    By hand: cat /proc/sys/kernel/tainted
    """
    evidence = ("/proc/sys/kernel/tainted",)
    if isinstance(kernel.taint, Unread):
        yield not_read(BOX, kernel.taint, evidence=evidence)
        return
    subject = kernel_subject(kernel)
    marks = [(letter, says, outcome) for bit, letter, says, outcome in TAINTS if kernel.taint >> bit & 1]
    new = kernel.taint >> len(TAINTS)
    letters = "".join(letter for letter, _, _ in marks) or "none"
    bad = [(letter, says) for letter, says, outcome in marks if outcome is Outcome.FAIL]
    odd = [(letter, says) for letter, says, outcome in marks if outcome is Outcome.MARGINAL]
    help_ = ("see what it was: journalctl -k -b | grep -iE 'mce|hardware error|BUG|WARNING|Oops|lockup'",
             "reboot, and look whether it comes back")
    if bad:
        yield failed(subject, f"{'; '.join(says for _, says in bad)} since boot (taint {letters})", evidence=evidence,
                     cause="taint:", title=f"the kernel is marked: {bad[0][1]}", help=help_)
    elif odd:
        yield marginal(subject, f"{'; '.join(says for _, says in odd)} (taint {letters})", evidence=evidence,
                       cause="taint:", help=help_)
    elif new:
        yield marginal(
            subject, f"taint {kernel.taint} holds marks that this boxcheck does not know", evidence=evidence,
            cause="taint:", help=("look the bits up in your kernel's Documentation/admin-guide/tainted-kernels.rst",))
    else:
        yield passed(subject, f"no mark of a fault (taint {letters})", evidence=evidence)


@check("kernel.lockdown", reads=[Kernel])
def lockdown(kernel: Kernel, want: Profile) -> Iterator[Finding]:
    """The kernel is locked down against its own administrator.

    Why it matters: under lockdown root may not write PCI registers or map BARs, and unsigned modules are refused.
    Drivers in user space (tinygrad's) cannot work, setpci cannot retrain a link, and a driver built by DKMS
    loads only with an enrolled key.
    What to do: switch Secure Boot off in the BIOS, or enrol the key of your modules (sudo mokutil --import FILE).
    Not a fault: for a box that uses its distribution's signed driver; then this is information.
    By hand: cat /sys/kernel/security/lockdown; mokutil --sb-state
    """
    evidence = ("/sys/kernel/security/lockdown",)
    match kernel.lockdown:
        case Unread() as unread:
            yield not_read(BOX, unread, evidence=evidence)
        case None:
            yield passed(BOX, "this kernel has no lockdown", evidence=evidence)
        case "none":
            yield passed(BOX, "lockdown is off", evidence=evidence)
        case mode if want.goal == "tinygrad":
            yield failed(
                BOX, f"lockdown is {mode}; a driver in user space needs it off", evidence=evidence, cause="lockdown:",
                title="the kernel is locked down", help=("switch Secure Boot off in the BIOS",))
        case mode if want.gpus.parts:
            yield marginal(
                BOX, f"lockdown is {mode}: unsigned modules are refused, PCI registers cannot be written",
                evidence=evidence, cause="lockdown:", title="the kernel is locked down",
                help=("BIOS setup: Secure Boot off, or enrol the key of your modules: sudo mokutil --import FILE",),
                notes=("commands that change PCI registers (setpci) will not work",))
        case mode:
            yield passed(BOX, f"lockdown is {mode}: unsigned modules are refused", evidence=evidence)


@check("kernel.reboot-pending", reads=[Kernel])
def reboot_pending(kernel: Kernel, want: Profile) -> Iterator[Finding]:
    """Another kernel is installed than the one that runs, or an update waits for a reboot.

    Why it matters: after an upgrade the user-space half of a driver is new and the kernel half is old, the usual cause
    of "Driver/library version mismatch"; and the next boot may be a kernel for which no driver was built.
    What to do: reboot now, before the acceptance run, so that what is tested is what will run.
    Not a fault: a kernel that you chose on purpose; the newer one of the same kind can then be removed.
    By hand: cat /run/reboot-required.pkgs; uname -r; ls /boot/vmlinuz-*
    """
    if isinstance(kernel.release, Unread):
        yield not_read(BOX, kernel.release)
        return
    subject = kernel_subject(kernel)
    help_ = ("sudo reboot, then run this again",)
    evidence = ("/run/reboot-required", "/boot", "/lib/modules")
    newer = _newer_of_its_kind(kernel.release, kernel.installed)
    if kernel.reboot_required is True:
        why = f" for {listed(kernel.reboot_packages, 3)}" if kernel.reboot_packages else ""
        also = f"; {newer} is installed, {kernel.release} runs" if newer else ""
        yield marginal(subject, f"the distribution asks for a reboot{why}{also}", evidence=evidence,
                       cause="reboot-pending:", title="a reboot is due", help=help_)
    elif newer is not None:
        yield marginal(subject, f"{newer} is installed, {kernel.release} runs", evidence=evidence,
                       cause="reboot-pending:", title="a newer kernel is installed than the one that runs", help=help_)
    elif kernel.modules_present is False and not isinstance(kernel.installed, Unread) and kernel.installed:
        yield marginal(
            subject, f"the modules of {kernel.release} are gone from /lib/modules, {listed(sorted(kernel.installed))} "
            "is installed: nothing can be loaded any more", evidence=evidence, cause="reboot-pending:", help=help_)
    elif isinstance(kernel.installed, Unread):
        yield not_read(subject, kernel.installed, evidence=evidence)
    elif isinstance(kernel.reboot_required, Unread):
        yield not_read(subject, kernel.reboot_required, evidence=evidence)
    elif not kernel.installed:
        yield skipped(subject, "no kernel is installed on this file system: it came from outside")
    else:
        yield passed(subject, f"{kernel.release} is the newest of its kind here, no reboot is due", evidence=evidence)


def _newer_of_its_kind(running: str, installed: tuple[str, ...] | Unread) -> str | None:
    """The newest installed kernel of the running one's flavour, where it is newer; None otherwise.

    Other flavours do not count: an OEM kernel may run on purpose beside a newer generic one.
    """
    release = parse_release(running)
    if release is None or isinstance(installed, Unread):
        return None
    kind = [
        name for name in installed if (other := parse_release(name)) is not None and other.flavour == release.flavour
    ]
    newest = max(kind, key=release_order, default=None)
    if newest is None or release_order(newest) <= release_order(running) or parse_numbers(newest) is None:
        return None
    return newest

"""Judgements on what was built for the kernel: DKMS modules, firmware, options for copies between GPUs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from boxcheck.checks.kernel import kernel_subject
from boxcheck.checks.steps import INITRAMFS, P2P_KERNEL
from boxcheck.checks.wording import judged, listed, not_read
from boxcheck.decode.version import at_least, parse_release, snapshot_date
from boxcheck.model import BOX, Finding, Subject, Unread
from boxcheck.probes.amdgpu import Amdgpu
from boxcheck.probes.gpus import Gpus
from boxcheck.probes.kernel import Kernel
from boxcheck.probes.packages import DKMS, DPKG_STATUS, FIRMWARE_PACKAGES, Dkms, DkmsModule, Packages
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, limit, marginal, passed, skipped, unknown

FIRMWARE_DENIED = limit(
    "kernel.firmware_denied", str, "not-in", "",
    "Snapshots of linux-firmware (`20251125`) with which this box does not work.")

GPU_MODULES = {"nvidia": "10de", "nvidia_open": "10de", "amdgpu": "1002"}
"""DKMS names of GPU drivers -> PCI vendor. NVIDIA's own installer and the distributions all say `nvidia`."""


@check("kernel.dkms", reads=[Kernel, Dkms, Gpus])
def dkms(kernel: Kernel, dkms: Dkms, gpus: Gpus, want: Profile) -> Iterator[Finding]:
    """A module that DKMS manages is not installed for the running kernel.

    Why it matters: after a kernel upgrade a driver that could not be built is simply missing, and the GPU has none.
    What to do: install the headers of the running kernel and build:
    `sudo apt install linux-headers-$(uname -r) && sudo dkms autoinstall`; why a build failed is in
    /var/lib/dkms/<module>/<version>/build/make.log.
    Not a fault: of the GPU. A driver that is loaded from elsewhere (a distribution's prebuilt module) works.
    By hand: dkms status
    """
    evidence = (DKMS,)
    if isinstance(dkms.modules, Unread):
        if dkms.modules.kind == "absent":
            yield skipped(BOX, "no module is built by DKMS here")
        else:
            yield not_read(BOX, dkms.modules, evidence=evidence)
        return
    if isinstance(kernel.release, Unread):
        yield not_read(BOX, kernel.release)
        return
    if not dkms.modules and not dkms.unread:
        yield skipped(BOX, "no module is built by DKMS here")
    for name, why in dkms.unread.items():
        known = dkms.module(name)
        if known is None or kernel.release not in known.installed_for:
            yield not_read(Subject("module", name=name), why, evidence=(f"{DKMS}/{name}",))
    for module in dkms.modules:
        if module.name not in dkms.unread or kernel.release in module.installed_for:
            yield _judge_dkms(module, kernel.release, gpus, want)


def _judge_dkms(module: DkmsModule, release: str, gpus: Gpus, want: Profile) -> Finding:
    subject = Subject("module", name=module.name)
    evidence = (f"{DKMS}/{module.name}",)
    version = module.installed_for.get(release)
    if version is not None:
        return passed(subject, f"{module.name} {version or listed(module.versions)} is installed for {release}",
                      evidence=evidence)
    built = "built but not installed" if release in module.built_for else "not built"
    others = f"; installed for {listed(sorted(module.installed_for), 3)}" if module.installed_for else ""
    says = f"{module.name} {listed(module.versions)} is {built} for the running {release}{others}"
    vendor = GPU_MODULES.get(module.name.replace("-", "_"))
    help_ = (
        f"sudo apt install linux-headers-{release} && sudo dkms autoinstall  (or your distribution's headers package)",
        f"still not: read {DKMS}/{module.name}/{module.versions[-1] if module.versions else '*'}/build/make.log",
    )
    needed = vendor is not None and (vendor in want.gpus.vendors or bool(gpus.of_vendor(vendor)))
    if needed and module.loaded is False:
        return failed(
            subject, says, evidence=evidence, cause=f"driver:{'nvidia' if vendor == '10de' else 'amdgpu'}",
            title=f"the {module.name} driver was not built for the running kernel", help=help_)
    notes = (f"a module {module.name} is loaded, from elsewhere",) if module.loaded is True else ()
    return marginal(subject, says, evidence=evidence, cause=f"dkms:{module.name}", help=help_, notes=notes)


@check("kernel.firmware-package", reads=[Packages], limits=[FIRMWARE_DENIED])
def firmware_package(packages: Packages, want: Profile) -> Iterator[Finding]:
    """A firmware package is installed that is known to break this box.

    Why it matters: the GPU runs what linux-firmware holds. The snapshot 20251125 broke ROCm on Strix Halo and was
    recalled; nothing in the log says so.
    What to do: install a newer snapshot (on Strix Halo 20260108 or later), rebuild the initramfs, reboot.
    Not a fault: of the GPU, of ROCm, or of the kernel.
    By hand: dpkg -s linux-firmware | grep Version; rpm -q linux-firmware amd-gpu-firmware
    """
    bound = want.limit(FIRMWARE_DENIED)
    if bound is None:
        yield skipped(BOX, "the profile denies no firmware")
        return
    if isinstance(packages.packages, Unread):
        yield not_read(BOX, packages.packages, evidence=(DPKG_STATUS,))
        return
    found = [(name, version) for name in FIRMWARE_PACKAGES if (version := packages.version(name)) is not None]
    if packages.unread is not None:
        yield not_read(BOX, packages.unread)
    if not found:
        yield unknown(BOX, f"not read: {packages.manager} knows no package {' or '.join(FIRMWARE_PACKAGES[:2])}")
        return
    for name, version in found:
        date = snapshot_date(version)
        subject = Subject("module", name=name)
        if date is None:
            yield unknown(subject, f"{name} {version} names no snapshot, so it cannot be told from a denied one")
            continue
        yield judged(
            subject, date, bound, f"{name} {version}, denied is {listed(bound.must or bound.should)}",
            cause="firmware-package:", title=f"{name} {date} breaks this box",
            help=(f"install a newer {name}", INITRAMFS,),
        )


P2P_OPTIONS = ("CONFIG_PCI_P2PDMA", "CONFIG_DMABUF_MOVE_NOTIFY", "CONFIG_HSA_AMD_P2P")
"""AMD's ROCm documentation, conceptual/iommu.rst: what copies between Radeon GPUs need of the kernel."""
MOVE_NOTIFY = "CONFIG_DMABUF_MOVE_NOTIFY"
MOVE_NOTIFY_ALWAYS = (7, 0)
"""Linux commit 609fc8766d68 of January 2026, after 6.19, took the option away: its code is always built."""


def _move_notify_says(kernel: Kernel, config: Mapping[str, str]) -> str | None:
    """What a configuration means that does not mention the option; None where nobody knows. Until it went, every
    kernel with a GPU driver mentioned it, on or off."""
    release = None if isinstance(kernel.release, Unread) else parse_release(kernel.release)
    if release is None or not at_least(release.numbers, MOVE_NOTIFY_ALWAYS) or "CONFIG_SYNC_FILE" not in config:
        return None
    return f"{MOVE_NOTIFY} is part of every kernel since {'.'.join(map(str, MOVE_NOTIFY_ALWAYS))}"


@check("kernel.p2p-config", reads=[Kernel, Gpus, Amdgpu])
def p2p_config(kernel: Kernel, gpus: Gpus, amdgpu: Amdgpu, want: Profile) -> Iterator[Finding]:
    """The kernel was built without what direct copies between AMD GPUs need.

    Why it matters: without PCI_P2PDMA, DMABUF_MOVE_NOTIFY and HSA_AMD_P2P every copy from one GPU to another goes
    through the host's memory, at less than half the speed, and hipDeviceCanAccessPeer says no.
    What to do: use a kernel that has them (Ubuntu's and Fedora's have), or AMD's DKMS driver, which brings its own
    HSA_AMD_P2P.
    Not a fault: on a box with one AMD GPU, or with NVIDIA's driver, which does not use these.
    By hand: grep -E 'PCI_P2PDMA|DMABUF_MOVE_NOTIFY|HSA_AMD_P2P' /boot/config-$(uname -r)
    """
    cards = [gpu for gpu in gpus.of_vendor("1002") if not gpu.integrated]
    planned = (want.gpus.planned or want.gpus.count or 0) if "1002" in want.gpus.vendors else 0
    if want.goal != "rocm" or (len(cards) < 2 and planned < 2):
        yield skipped(BOX, "no copies between AMD GPUs are asked for")
        return
    evidence = (kernel.config_path,)
    if isinstance(kernel.config, Unread):
        yield not_read(BOX, kernel.config, evidence=evidence)
        return
    # HSA_AMD_P2P of a DKMS build is that build's own; the two below are the kernel's in any case.
    wanted = [name for name in P2P_OPTIONS if name != "CONFIG_HSA_AMD_P2P" or not amdgpu.out_of_tree]
    off = [name for name in wanted if kernel.config.get(name) == "n"]
    if not off and "CONFIG_HSA_AMD_P2P" in wanted and "CONFIG_HSA_AMD_P2P" not in kernel.config:
        off = ["CONFIG_HSA_AMD_P2P"]  # Kconfig does not offer it where what it depends on is off
    if not off and "CONFIG_PCI_P2PDMA" not in kernel.config:
        off = ["CONFIG_PCI_P2PDMA"]
    if off:
        yield marginal(
            kernel_subject(kernel), f"{listed(off)} off in the kernel's configuration", evidence=evidence,
            cause="kfd-p2p:", title="this kernel cannot copy between AMD GPUs directly",
            help=(P2P_KERNEL,))
        return
    on = [name for name in wanted if name in kernel.config]
    always = None if MOVE_NOTIFY in on else _move_notify_says(kernel, kernel.config)
    if MOVE_NOTIFY in on or always is not None:
        yield passed(kernel_subject(kernel), f"{listed(on)} on in the kernel's configuration", evidence=evidence,
                     notes=() if always is None else (always,))
    else:
        yield unknown(kernel_subject(kernel), f"not read: the kernel's configuration does not mention {MOVE_NOTIFY}",
                      evidence=evidence)

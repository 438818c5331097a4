"""Judgements on the NVIDIA driver: there, whole, of the right kind, and likely to stay so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from boxcheck.checks.driver import LOAD_HELP, NOT_LOADED, NOUVEAU_HELP, on_own_driver
from boxcheck.checks.log_events import incomplete
from boxcheck.checks.versions import judged_version, wish
from boxcheck.checks.wording import decided, judged, listed, not_read, wants, wish_of
from boxcheck.decode.version import parse_numbers
from boxcheck.model import BOX, Finding, Limit, Outcome, Subject, Unread
from boxcheck.probes.gpus import Gpus
from boxcheck.probes.kernel_log import KernelLogs
from boxcheck.probes.modules import ModuleSettings
from boxcheck.probes.nvidia import LIBRARIES, PERSISTENCED, PROC, Nvidia
from boxcheck.probes.nvml import Nvml
from boxcheck.probes.packages import DPKG_STATUS, Dkms, Packages
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, limit, outcome_of, passed, skipped, unknown

VERSION = limit("driver.nvidia_version", str, "ge", "", "Version of the NVIDIA driver, as `570.133.20`.")
FLAVOUR = limit(
    "driver.nvidia_flavour", str, "eq", "", "Kind of NVIDIA kernel module: open or proprietary.",
    among=("open", "proprietary"))
HELD = limit(
    "driver.nvidia_held", bool, "eq", "", "Whether the NVIDIA packages are held, so that no upgrade splits them.")
P2P = limit(
    "driver.nvidia_p2p", bool, "eq", "", "Whether the NVIDIA driver must let GPUs copy to each other directly.")
PERSISTENCE = limit(
    "driver.nvidia_persistence", bool, "eq", "",
    "Whether the driver keeps the GPUs initialised while nothing uses them.")

MODULE = Subject("module", name="nvidia")
SILENT = Unread("the nvidia module does not say its version", "absent")
_DRIVER_PACKAGE = re.compile(
    r"(nvidia-(driver|dkms|kernel|open|utils|compute)|lib(nvidia-(compute|gl|ml|decode|encode)|cuda1)|cuda-drivers)")
_SUFFIX = re.compile(r"[^\d.].*")


def applies(gpus: Gpus, want: Profile) -> Finding | None:
    """None where NVIDIA's driver is to be judged, else the one finding that says why not."""
    if "10de" in want.gpus.vendors or any(not gpu.integrated for gpu in gpus.of_vendor("10de")):
        return None
    if gpus.unreadable is not None and not want.gpus.vendors:
        return not_read(BOX, gpus.unreadable)
    return skipped(BOX, "no NVIDIA GPU is here and the profile names none")


def _needed(want: Profile) -> bool:
    return "10de" in want.gpus.vendors and not on_own_driver(want)


def _not_loaded(want: Profile) -> Finding:
    """The finding in place of a judgement on a driver that is not there."""
    if _needed(want):
        return unknown(MODULE, "the module is not loaded")
    return skipped(MODULE, "the module is not loaded, and nothing asks for it")


@check("driver.nvidia-loaded", reads=[Gpus, Nvidia, ModuleSettings], limits=[VERSION])
def nvidia_loaded(gpus: Gpus, nvidia: Nvidia, settings: ModuleSettings, want: Profile) -> Iterator[Finding]:
    """NVIDIA's kernel module is not loaded, or older than this box asks for.

    Why it matters: without it there is no CUDA, no NVML, no device node.
    What to do: `sudo modprobe nvidia` and read the log. Usual reasons: the module was not built for this kernel (dkms
    status), nouveau holds the GPUs, Secure Boot refuses an unsigned module.
    Not a fault: with goals tinygrad and vm, or on a desktop that runs nouveau.
    By hand: cat /proc/driver/nvidia/version; sudo dmesg | grep -i nvidia
    """
    if (instead := applies(gpus, want)) is not None:
        yield instead
        return
    evidence = (f"{PROC}/version",)
    bound = want.limit(VERSION)
    if isinstance(nvidia.loaded, Unread):
        yield not_read(MODULE, nvidia.loaded, evidence=evidence)
    elif not nvidia.loaded and not _needed(want):
        yield passed(MODULE, "not loaded, and nothing asks for it", evidence=evidence)
    elif not nvidia.loaded:
        place = settings.blacklisted.get("nvidia")
        steps = (f"take `blacklist nvidia` out of {place}, rebuild the initramfs, reboot",) if place else ()
        yield failed(
            MODULE, "not loaded", evidence=evidence, cause="driver:nvidia",
            title=NOT_LOADED["10de"],
            help=(*steps, LOAD_HELP["10de"],
                  "dkms status  shows whether it was built for the running kernel",
                  "mokutil --sb-state  shows whether Secure Boot refuses it"))
    elif isinstance(nvidia.version, Unread) or nvidia.version is None:
        yield not_read(MODULE, SILENT if nvidia.version is None else nvidia.version, evidence=evidence)
    elif bound is None:
        yield passed(MODULE, f"nvidia {nvidia.version} is loaded", evidence=evidence)
    elif (numbers := parse_numbers(nvidia.version)) is None:
        yield unknown(MODULE, f"not decoded: version {nvidia.version[:40]!r} of the nvidia module holds no number",
                      evidence=evidence)
    else:
        yield judged_version(
            MODULE, nvidia.version, numbers, bound, f"nvidia {nvidia.version}, {wish(bound)}",
            evidence=evidence, cause="driver:nvidia", title=f"NVIDIA driver {nvidia.version} is too old for this box",
            help=("install the newer driver, then reboot",))


@check("driver.nouveau", reads=[Gpus, Nvidia, ModuleSettings])
def nouveau(gpus: Gpus, nvidia: Nvidia, settings: ModuleSettings, want: Profile) -> Iterator[Finding]:
    """The nouveau driver is loaded on a box that needs NVIDIA's.

    Why it matters: nouveau takes the GPUs first; NVIDIA's module then cannot, and there is no CUDA.
    What to do: blacklist nouveau, rebuild the initramfs, reboot, as the help spells out.
    Not a fault: on a desktop that has no use for CUDA.
    By hand: ls -d /sys/module/nouveau; lspci -nnk -d 10de:
    """
    if (instead := applies(gpus, want)) is not None:
        yield instead
        return
    subject = Subject("module", name="nouveau")
    evidence = ("/sys/module/nouveau",)
    bound = [gpu for gpu in gpus.of_vendor("10de") if gpu.driver == "nouveau"]
    if isinstance(nvidia.nouveau_loaded, Unread) and not bound:
        yield not_read(subject, nvidia.nouveau_loaded, evidence=evidence)
    elif nvidia.nouveau_loaded is not True and not bound:
        yield passed(subject, "nouveau is not loaded", evidence=evidence)
    elif not _needed(want):
        yield passed(subject, "nouveau is loaded, and nothing asks for NVIDIA's driver", evidence=evidence)
    else:
        known = settings.blacklisted.get("nouveau")
        steps = NOUVEAU_HELP if known is None else (
            f"nouveau is blacklisted in {known}, but the initramfs does not know: {NOUVEAU_HELP[1]}",)
        yield failed(
            subject, f"nouveau is loaded and holds {len(bound)} of {len(gpus.of_vendor('10de'))} NVIDIA GPUs",
            evidence=evidence, cause="nouveau:", title="nouveau drives the GPUs", help=steps)


@check("driver.nvidia-mismatch", reads=[Gpus, Nvidia, Nvml])
def nvidia_mismatch(gpus: Gpus, nvidia: Nvidia, nvml: Nvml, want: Profile) -> Iterator[Finding]:
    """NVIDIA's kernel module and its libraries are of different versions.

    Why it matters: they must agree to the last digit. Otherwise every CUDA program fails, mostly after an unattended
    upgrade: "Driver/library version mismatch".
    What to do: reboot, so that the module of the installed version is loaded; then hold the packages.
    Not a fault: of the GPUs.
    By hand: cat /proc/driver/nvidia/version; readlink -f /usr/lib/x86_64-linux-gnu/libcuda.so.1
    """
    if (instead := applies(gpus, want)) is not None:
        yield instead
        return
    if nvidia.loaded is False:
        yield (unknown(MODULE, "the module is not loaded, so nothing can be compared") if _needed(want)
               else skipped(MODULE, "the module is not loaded, and nothing asks for it"))
        return
    evidence = (f"{PROC}/version", *(library.path for library in nvidia.libraries))
    help_ = ("sudo reboot, so that the installed module is loaded",
             "then keep them together: sudo apt-mark hold $(dpkg-query -W -f '${Package}\\n' '*nvidia*')")
    if isinstance(nvidia.version, Unread) or nvidia.version is None:
        yield not_read(MODULE, SILENT if nvidia.version is None else nvidia.version, evidence=evidence)
    elif not nvidia.libraries:
        yield (failed(MODULE, f"the module is {nvidia.version}, NVML refuses: another version", evidence=evidence,
                      cause="driver-mismatch:nvidia", help=help_) if nvml.mismatch
               else unknown(MODULE, f"not read: no {' or '.join(LIBRARIES)} in the usual library directories"))
    else:
        module = _SUFFIX.sub("", nvidia.version).rstrip(".")
        other = [library for library in nvidia.libraries if library.version != module]
        if not other and not nvml.mismatch and nvml.driver is not None and _SUFFIX.sub("", nvml.driver) != module:
            yield failed(
                MODULE, f"the module is {nvidia.version}, NVML speaks for {nvml.driver}",
                evidence=(*evidence, "NVML"), cause="driver-mismatch:nvidia",
                title="NVIDIA's module and NVML are of different versions", help=help_)
            return
        if other or nvml.mismatch:
            names = listed(dict.fromkeys(library.version for library in other)) if other else "others (NVML says so)"
            yield failed(
                MODULE, f"the module is {nvidia.version}, the libraries are {names}", evidence=evidence,
                cause="driver-mismatch:nvidia", title="NVIDIA's module and libraries are of different versions",
                help=help_)
        elif missing := [name for name in LIBRARIES if nvidia.library(name) is None]:
            found = listed(library.path.rsplit("/", 1)[-1] for library in nvidia.libraries)
            yield unknown(
                MODULE, f"not read: no {listed(missing)} in the usual library directories; the module is {module}, "
                f"beside it is {found}", evidence=evidence,
                help=("install the package that brings it (Ubuntu: libnvidia-compute), or in a container ask for the "
                      "capabilities compute and utility",))
        else:
            yield passed(MODULE, f"module and libraries are {module}", evidence=evidence)


@check("driver.nvidia-flavour", reads=[Gpus, Nvidia], limits=[FLAVOUR])
def nvidia_flavour(gpus: Gpus, nvidia: Nvidia, want: Profile) -> Iterator[Finding]:
    """The NVIDIA kernel module is of the wrong kind, open or proprietary.

    Why it matters: Blackwell GPUs run with the open module only, and the patch for peer-to-peer on GeForce is made
    for it.
    What to do: install the -open package of the same version (on Ubuntu nvidia-driver-570-open), reboot.
    Not a fault: on Ada and older without peer-to-peer.
    By hand: head -1 /proc/driver/nvidia/version; modinfo -F license nvidia
    """
    if (instead := applies(gpus, want)) is not None:
        yield instead
        return
    bound = want.limit(FLAVOUR)
    evidence = (f"{PROC}/version",)
    if bound is None:
        yield skipped(MODULE, "the profile asks for no kind of module")
    elif nvidia.loaded is False:
        yield _not_loaded(want)
    elif nvidia.open_module is None:
        why = nvidia.loaded if isinstance(nvidia.loaded, Unread) else Unread(f"{PROC}/version was not read")
        yield not_read(MODULE, why, evidence=evidence)
    else:
        kind = "open" if nvidia.open_module else "proprietary"
        yield judged(
            MODULE, kind, bound, f"the {kind} module, profile asks for the {wish_of(bound)} one", evidence=evidence,
            cause="nvidia-flavour:", title=f"the {kind} NVIDIA module is loaded",
            help=("install the -open package of the same version, then reboot",))


@check("driver.nvidia-p2p", reads=[Gpus, Nvidia, Nvml, Packages, Dkms, KernelLogs], limits=[P2P])
def nvidia_p2p(
    gpus: Gpus, nvidia: Nvidia, nvml: Nvml, packages: Packages, dkms: Dkms, logs: KernelLogs, want: Profile
) -> Iterator[Finding]:
    """The NVIDIA driver does not let the GPUs copy to each other directly.

    Why it matters: NVIDIA's own driver refuses peer-to-peer on GeForce cards; copies then go through the host's
    memory at half the speed. A patched open module allows it, until an upgrade puts the stock one back.
    What to do: install the patched module of your driver version again (tinygrad's or aikitoria's
    open-gpu-kernel-modules), hold the packages, reboot.
    Not a fault: of risers or slots. That the driver allows it does not prove that data arrives: only a verified copy
    does.
    By hand: nvidia-smi topo -p2p r; grep Registry /proc/driver/nvidia/params
    """
    if (instead := applies(gpus, want)) is not None:
        yield instead
        return
    cards = gpus.of_vendor("10de")
    bound = want.limit(P2P)
    if (want.goal != "cuda-p2p" and bound is None) or (len(cards) < 2 and (want.gpus.count or 0) < 2):
        yield skipped(BOX, "no direct copies between NVIDIA GPUs are asked for")
    elif nvidia.loaded is False:
        yield _not_loaded(want)
    elif nvml.peers:
        yield _judge_peers(nvml, bound)
    else:
        yield _judge_marks(nvidia, packages, dkms, logs, bound)


STATUS = {1: "chipset not supported", 2: "GPU not supported", 3: "I/O hub topology not supported",
          4: "switched off by a registry key", 5: "not supported", 6: "unknown"}
"""nvmlGpuP2PStatus_t."""
P2P_HELP = ("install the patched open module of this driver version again, then hold the NVIDIA packages and reboot",)


def _refused(says: str, bound: Limit | None, **options: Any) -> Finding:
    """Graver than marginal only where the profile requires it: copies work without it, at half the speed."""
    outcome = Outcome.MARGINAL if bound is None else outcome_of(False, bound)
    return decided(outcome, BOX, says, limit=bound, cause="nvidia-p2p:", help=P2P_HELP, **options)


def _judge_peers(nvml: Nvml, bound: Limit | None) -> Finding:
    refused = {pair: status for pair, status in nvml.peers.items() if status != 0}
    total = len(nvml.peers)
    cards = 0 if isinstance(nvml.gpus, Unread) else len(nvml.gpus)
    if not refused and total < cards * (cards - 1):
        return unknown(BOX, f"not read: NVML answered for {total} of {cards * (cards - 1)} pairs of GPUs")
    if not refused:
        return passed(BOX, f"NVML allows peer reads on {total} of {total} pairs",
                      notes=("only a copy whose payload was verified proves that data arrives",))
    why = listed(dict.fromkeys(STATUS.get(status, f"status {status}") for status in refused.values()))
    return _refused(f"NVML allows peer reads on {total - len(refused)} of {total} pairs: {why}", bound,
                    title="the NVIDIA driver refuses peer-to-peer")


def _beside(packages: Packages, dkms: Dkms) -> Iterator[str]:
    """Versions of NVIDIA's driver that lie on the disk. An upgrade leaves them there and loads another module."""
    if not isinstance(packages.packages, Unread):
        yield from (f"{package.name} {package.version}" for package in packages.packages.values()
                    if "nvidia" in package.name)
    module = dkms.module("nvidia")
    yield from () if module is None else (f"nvidia {version} of DKMS" for version in module.versions)


def _judge_marks(
    nvidia: Nvidia, packages: Packages, dkms: Dkms, logs: KernelLogs, bound: Limit | None
) -> Finding:
    """Without NVML's word: the marks that a patched module leaves."""
    marks: list[str] = []
    unread: list[Unread] = []
    if isinstance(nvidia.registry, Unread):
        unread.append(nvidia.registry)
    elif "ForceP2P" in nvidia.registry:
        marks.append("ForceP2P is set")
    names = [nvidia.version if isinstance(nvidia.version, str) else ""]
    module = dkms.module("nvidia")
    if module is not None and isinstance(logs.release, str):
        names.append(module.installed_for.get(logs.release, ""))
    if any("p2p" in name.lower() for name in names):
        marks.append("a version names p2p")
    elif aside := [name for name in _beside(packages, dkms) if "p2p" in name.lower()]:
        unread.append(Unread(
            f"{listed(aside, 2)} is installed, and whether that module runs is not known", "unsupported"))
    log = logs.this_boot
    if isinstance(log, Unread):
        unread.append(log)
    elif log.facts.nvidia_static_bar1:
        marks.append(f"{log.facts.nvidia_static_bar1} GPUs map their whole memory statically")
    elif (gap := incomplete(log, logs)) is not None:
        unread.append(Unread(gap, "malformed"))
    evidence = (f"{PROC}/params", "/var/log/dmesg")
    if marks:
        return passed(BOX, f"the module is patched for peer-to-peer: {listed(marks)}", evidence=evidence,
                      notes=("nvidia-ml-py (pip install nvidia-ml-py) lets NVML say it for every pair",))
    if unread:
        return not_read(BOX, unread[0], evidence=evidence)
    return _refused(
        "no mark of a module patched for peer-to-peer: no ForceP2P, no p2p version, no static BAR1", bound,
        evidence=evidence, title="the NVIDIA module is not patched for peer-to-peer")


@check("driver.nvidia-held", reads=[Gpus, Packages], limits=[HELD])
def nvidia_held(gpus: Gpus, packages: Packages, want: Profile) -> Iterator[Finding]:
    """The NVIDIA packages are not held, so an unattended upgrade may replace them under a running driver.

    Why it matters: it is the usual cause of "Driver/library version mismatch", on a box that ran for months.
    What to do: sudo apt-mark hold $(dpkg-query -W -f '${Package}\\n' '*nvidia*')
    Not a fault: today.
    By hand: apt-mark showhold
    """
    if (instead := applies(gpus, want)) is not None:
        yield instead
        return
    bound = want.limit(HELD)
    evidence = (DPKG_STATUS,)
    if bound is None:
        yield skipped(BOX, "the profile does not ask for held packages")
    elif packages.manager not in (None, "dpkg"):
        yield skipped(BOX, f"{packages.manager} marks no packages as held")
    elif isinstance(packages.packages, Unread):
        yield not_read(BOX, packages.packages, evidence=evidence)
    else:
        names = {name: package for name, package in packages.packages.items() if _DRIVER_PACKAGE.match(name)}
        loose = sorted(name for name, package in names.items() if not package.held)
        if not names:
            yield skipped(BOX, "NVIDIA's driver was not installed as packages")
            return
        says = (f"{len(names) - len(loose)} of {len(names)} NVIDIA packages are held"
                + (f", not {listed(loose, 3)}" if loose else ""))
        yield judged(
            BOX, not loose, bound, says, evidence=evidence, cause="nvidia-held:",
            title="the NVIDIA packages are not held", help=(f"sudo apt-mark hold {' '.join(loose[:12])}",))


@check("driver.nvidia-persistence", reads=[Gpus, Nvidia, Nvml], limits=[PERSISTENCE], needs=["NVML"])
def nvidia_persistence(gpus: Gpus, nvidia: Nvidia, nvml: Nvml, want: Profile) -> Iterator[Finding]:
    """The driver lets go of a GPU whenever nothing uses it.

    Why it matters: without persistence every start of a program begins the GPU anew, seconds each; power limits and
    clocks that were set are lost in between.
    What to do: sudo systemctl enable --now nvidia-persistenced, or sudo nvidia-smi -pm 1 at every boot.
    Not a fault: on a laptop.
    By hand: nvidia-smi --query-gpu=index,persistence_mode --format=csv
    """
    if (instead := applies(gpus, want)) is not None:
        yield instead
        return
    bound = want.limit(PERSISTENCE)
    if bound is None:
        yield skipped(BOX, "the profile does not ask for persistence")
        return
    if nvidia.loaded is False:
        yield _not_loaded(want)
        return
    asked = () if isinstance(nvml.gpus, Unread) else nvml.gpus
    modes = {gpu.index: gpu.persistence for gpu in asked if gpu.persistence is not None}
    unread = next((why for gpu in asked if (why := gpu.missing("persistence")) is not None), None)
    if modes and all(modes.values()) and unread is not None:
        yield not_read(BOX, Unread(
            f"persistence is on for {len(modes)} of {len(asked)} GPUs, and another did not tell: {unread.why}",
            unread.kind), evidence=(PERSISTENCED,))
        return
    if modes:
        off = [str(index) for index, on in sorted(modes.items()) if not on]
        on, says = not off, (f"persistence is on for {len(modes) - len(off)} of {len(modes)} GPUs"
                             + (f", off for GPU {listed(off)}" if off else ""))
    elif isinstance(nvidia.persistenced, Unread):
        yield not_read(BOX, nvidia.persistenced, evidence=(PERSISTENCED,))
        return
    elif nvidia.persistenced:
        # Debian's and Ubuntu's unit starts it with --no-persistence-mode: it then runs and keeps nothing.
        reason = nvml.gpus.why if isinstance(nvml.gpus, Unread) else "NVML does not say"
        yield unknown(BOX, f"not read: nvidia-persistenced runs, and whether it keeps the GPUs started was not read "
                      f"({reason})", evidence=(PERSISTENCED,))
        return
    else:
        reason = nvml.gpus.why if isinstance(nvml.gpus, Unread) else "NVML does not say"
        yield unknown(BOX, f"not read: nvidia-persistenced does not run, and the mode itself was not read ({reason})")
        return
    yield judged(
        BOX, on, bound, f"{says}, {wants(bound)} it {'on' if wish_of(bound) else 'off'}", evidence=(PERSISTENCED,),
        cause="nvidia-persistence:", help=("sudo systemctl enable --now nvidia-persistenced",))

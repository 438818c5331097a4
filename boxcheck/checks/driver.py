"""Whether every GPU has the driver it needs, and ROCm is there in the version that the box wants."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.checks.places import wanted_gpus
from boxcheck.checks.steps import INITRAMFS
from boxcheck.checks.versions import demanded, judged_version, wish
from boxcheck.checks.wording import listed, not_read
from boxcheck.decode.version import Numbers, parse_numbers
from boxcheck.model import BOX, Finding, Limit, Subject, Unread
from boxcheck.probes.amdgpu import MODULE, Amdgpu
from boxcheck.probes.gpus import VENDOR_NAMES, Gpu, Gpus
from boxcheck.probes.modules import ModuleSettings
from boxcheck.probes.nvidia import Nvidia
from boxcheck.probes.rocm import Rocm
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, limit, marginal, passed, skipped, unknown

ROCM_VERSION = limit("driver.rocm_version", str, "ge", "", "Version of ROCm, as `6.3.3`.")
AMDGPU_VERSION = limit(
    "driver.amdgpu_version", str, "ge", "", "Version of an out-of-tree amdgpu (DKMS); the kernel's own has none.")

DRIVERS = {"1002": ("amdgpu",), "10de": ("nvidia",), "8086": ("i915", "xe")}
UNKNOWN = Unread("not looked for", "unsupported")
HANDED_OUT = ("vfio-pci", "uio_pci_generic", "pci-stub")
"""Drivers that keep a device for a guest or for a driver in user space."""


def on_own_driver(want: Profile) -> bool:
    """Whether the GPUs of this box may be without a kernel driver on purpose."""
    return want.goal in ("tinygrad", "vm")


NOT_LOADED = {"10de": "NVIDIA's kernel module is not loaded", "1002": "the amdgpu driver is not loaded"}
LOAD_HELP = {
    "10de": "sudo modprobe nvidia, then read what it says: sudo dmesg | tail -30",
    "1002": "sudo modprobe amdgpu, then read what it says: sudo dmesg | grep amdgpu | tail -30",
}


def _all_bare(gpu: Gpu, gpus: Gpus) -> list[Gpu]:
    """The GPUs of this one's vendor, where they are several and none of them has any driver; else nothing."""
    alike = [one for one in gpus.of_vendor(gpu.vendor) if not one.integrated]
    return alike if len(alike) > 1 and all(one.driver is None for one in alike) else []


def unbound_cause(gpu: Gpu, gpus: Gpus, loaded: bool | Unread) -> str:
    """One cause for all GPUs when their driver is not there at all or has none of them, else each GPU for itself."""
    if gpu.driver is None and (loaded is False or _all_bare(gpu, gpus)):
        return f"driver:{DRIVERS[gpu.vendor][0]}"
    return f"driver-binding:{gpu.bdf}"


@check("driver.binding", reads=[Gpus, ModuleSettings, Amdgpu, Nvidia])
def binding(
    gpus: Gpus, settings: ModuleSettings, amdgpu: Amdgpu, nvidia: Nvidia, want: Profile
) -> Iterator[Finding]:
    """A GPU has no driver, or not its own.

    Why it matters: without its driver a GPU is a heater. It is on the bus, and no program sees it.
    What to do: load the driver (`sudo modprobe amdgpu` or nvidia) and read what it says (`sudo dmesg | tail -50`); take
    blacklists and vfio-pci.ids= away.
    Not a fault: with the goals vm and tinygrad, where vfio-pci or no driver at all is what is wanted; where no profile
    asks for NVIDIA's driver, one card that nouveau drives.
    By hand: lspci -nnk -d ::0300
    """
    if gpus.unreadable is not None:
        yield not_read(BOX, gpus.unreadable)
        return
    chosen = wanted_gpus(gpus, want)
    if not chosen:
        yield skipped(BOX, "no GPU is here that the profile is about") if not want.gpus.parts else unknown(
            BOX, "none of the profile's GPUs answers, so no driver can be bound to one")
    loaded = {"1002": amdgpu.loaded, "10de": nvidia.loaded}
    for gpu in chosen:
        yield _judge_binding(gpu, settings, gpus, loaded.get(gpu.vendor, UNKNOWN), want)


def _judge_binding(gpu: Gpu, settings: ModuleSettings, gpus: Gpus, loaded: bool | Unread, want: Profile) -> Finding:
    evidence = (f"/sys/bus/pci/devices/{gpu.bdf}/driver",)
    name = f"{gpu.subject.name} in slot {gpu.slot}" if gpu.slot else f"{gpu.subject.name} {gpu.bdf}"
    if isinstance(gpu.driver, Unread):
        return not_read(gpu.subject, gpu.driver, evidence=evidence)
    own = DRIVERS[gpu.vendor]
    if gpu.driver in own:
        return passed(gpu.subject, f"bound to {gpu.driver}", evidence=evidence)
    if on_own_driver(want) and (gpu.driver is None or gpu.driver in HANDED_OUT):
        says = f"bound to {gpu.driver}" if gpu.driver else "bound to no driver"
        return passed(gpu.subject, f"{says}, as goal {want.goal} wants it", evidence=evidence)
    needed = gpu.vendor in want.gpus.vendors
    if gpu.driver == "nouveau":
        if not needed and sum(not one.integrated for one in gpus.of_vendor("10de")) < 2:
            return passed(gpu.subject, "bound to nouveau", evidence=evidence)
        return (failed if needed else marginal)(
            gpu.subject, "bound to nouveau, nvidia is needed" + ("" if needed else " to compute"), evidence=evidence,
            cause="nouveau:", title="nouveau drives the GPUs", help=NOUVEAU_HELP)
    says = f"{f'bound to {gpu.driver}' if gpu.driver else 'no driver'}, {' or '.join(own)} is needed"
    place = settings.blacklisted.get(own[0])
    steps = [f"{own[0]} is blacklisted in {place}: take it out, rebuild the initramfs, reboot"] if place else []
    bare = _all_bare(gpu, gpus)
    if loaded is not True:
        steps.append(LOAD_HELP.get(
            gpu.vendor, f"sudo modprobe {own[0]}, then read what it says: sudo dmesg | grep {own[0]} | tail -30"))
    if loaded is True or gpu.driver is not None:
        steps.append(_bind_help(gpu, bare or [gpu]))
    if gpu.driver is not None:
        steps.append(f"for good: take its id or address out of what hands it to {gpu.driver}: "
                     "grep -rs vfio /proc/cmdline /etc/modprobe.d")
    if gpu.driver is not None:
        title = f"{name} is bound to {gpu.driver}"
    elif loaded is False and gpu.vendor in NOT_LOADED:
        title = NOT_LOADED[gpu.vendor]
    else:
        title = f"none of the {len(bare)} {VENDOR_NAMES[gpu.vendor]} GPUs has a driver" if bare else (
            f"{name} has no driver")
    if not needed and gpu.driver in HANDED_OUT:
        steps.insert(0, "meant for a guest: boxcheck doctor --goal vm")
    # Of a machine that no profile describes, a card that waits for a guest may be meant so, and so may all that no
    # driver has. One that is left out beside others of its kind is not.
    alone = gpu.driver is None and any(one.driver in own for one in gpus.of_vendor(gpu.vendor) if not one.integrated)
    make = failed if needed or alone or (gpu.driver is not None and gpu.driver not in HANDED_OUT) else marginal
    return make(
        gpu.subject, says, evidence=evidence, cause=unbound_cause(gpu, gpus, loaded), title=title, help=tuple(steps))


def _bind_help(gpu: Gpu, alike: list[Gpu]) -> str:
    """Loading a module that is loaded does nothing: the card has to be handed to it."""
    bus, own = "/sys/bus/pci", DRIVERS[gpu.vendor][0]
    if gpu.driver is not None:
        return (f"echo {gpu.bdf} | sudo tee {bus}/drivers/{gpu.driver}/unbind; echo | sudo tee "
                f"{bus}/devices/{gpu.bdf}/driver_override; echo {gpu.bdf} | sudo tee {bus}/drivers/{own}/bind")
    look = f"refused: sudo dmesg | grep -E '{own}|{alike[0].bdf}' | tail -30"
    if len(alike) == 1:
        return f"echo {gpu.bdf} | sudo tee {bus}/drivers/{own}/bind; {look}"
    return (f"for gpu in {' '.join(one.bdf for one in alike)}; do echo $gpu | sudo tee {bus}/drivers/{own}/bind; done; "
            f"{look}")


NOUVEAU_HELP = (
    "install NVIDIA's driver where it is missing",
    "printf 'blacklist nouveau\\noptions nouveau modeset=0\\n' | sudo tee /etc/modprobe.d/blacklist-nouveau.conf",
    INITRAMFS,
)


@check("driver.amdgpu-loaded", reads=[Gpus, Amdgpu, ModuleSettings], limits=[AMDGPU_VERSION])
def amdgpu_loaded(gpus: Gpus, amdgpu: Amdgpu, settings: ModuleSettings, want: Profile) -> Iterator[Finding]:
    """The amdgpu driver is not loaded, or older than this box asks for.

    Why it matters: without it there is no device node, no KFD and no ROCm.
    What to do: `sudo modprobe amdgpu` and read the log; nomodeset on the command line, a blacklist, or a DKMS build
    that failed for this kernel keep it out.
    Not a fault: with goal tinygrad, whose driver in user space wants amdgpu gone.
    By hand: ls /sys/module/amdgpu; cat /sys/module/amdgpu/version
    """
    evidence = (MODULE,)
    subject = Subject("module", name="amdgpu")
    cards = gpus.of_vendor("1002")
    if "1002" not in want.gpus.vendors and not any(not gpu.integrated for gpu in cards):
        if gpus.unreadable is not None and want.gpus.vendors == frozenset():
            yield not_read(BOX, gpus.unreadable)
        else:
            yield skipped(BOX, "no AMD GPU is here that the profile is about")
        return
    bound = want.limit(AMDGPU_VERSION)
    if isinstance(amdgpu.loaded, Unread):
        yield not_read(subject, amdgpu.loaded, evidence=evidence)
    elif not amdgpu.loaded and on_own_driver(want):
        yield passed(subject, f"not loaded, as goal {want.goal} wants it", evidence=evidence)
    elif not amdgpu.loaded:
        place = settings.blacklisted.get("amdgpu")
        steps = (f"take `blacklist amdgpu` out of {place}, rebuild the initramfs, reboot",) if place else ()
        make = failed if "1002" in want.gpus.vendors else marginal
        yield make(
            subject, "not loaded", evidence=evidence, cause="driver:amdgpu", title=NOT_LOADED["1002"],
            help=(*steps, LOAD_HELP["1002"]))
    elif isinstance(amdgpu.version, Unread):
        yield not_read(subject, amdgpu.version, evidence=(f"{MODULE}/version",))
    elif amdgpu.version is None and bound is not None:
        make = failed if bound.must is not None else marginal
        yield make(
            subject, f"the kernel's own amdgpu is loaded, profile asks for AMD's {demanded(bound)}", evidence=evidence,
            limit=bound, cause="driver:amdgpu", title="the kernel's own amdgpu is loaded, not AMD's",
            help=("install amdgpu-dkms from AMD's repository, then reboot",))
    elif amdgpu.version is None:
        yield passed(subject, "the kernel's own amdgpu is loaded", evidence=evidence)
    else:
        numbers = parse_numbers(amdgpu.version)
        if bound is None:
            yield passed(subject, f"amdgpu {amdgpu.version} is loaded, built apart from the kernel", evidence=evidence)
        elif numbers is None:
            yield unknown(subject, f"not decoded: version {amdgpu.version[:40]!r} of amdgpu holds no number",
                          evidence=(f"{MODULE}/version",))
        else:
            yield judged_version(
                subject, amdgpu.version, numbers, bound, f"amdgpu {amdgpu.version}, {wish(bound)}",
                evidence=(f"{MODULE}/version",), cause="driver:amdgpu", help=("update amdgpu-dkms, then reboot",))


def _too_short(numbers: Numbers, bound: Limit) -> bool:
    """Whether a version is only the beginning of one that is asked for: the 6 of libamdhip64.so.6 may be any 6.x."""
    asked = [parse_numbers(str(side)) for side in (bound.must, bound.should) if side is not None]
    return len(numbers) == 1 and any(one is not None and len(one) > 1 and one[0] == numbers[0] for one in asked)


@check("driver.rocm", reads=[Rocm, Gpus], limits=[ROCM_VERSION])
def rocm(rocm: Rocm, gpus: Gpus, want: Profile) -> Iterator[Finding]:
    """ROCm is missing, older than this box asks for, or installed several times.

    Why it matters: too old a ROCm does not know the GPU; of two installations a program may load one's runtime and the
    other's libraries.
    What to do: install the version named, from AMD's repository; remove the others (`ls -d /opt/rocm*`).
    Not a fault: when your programs bring ROCm along, as wheels or in a container: this check looks at the system only.
    By hand: cat /opt/rocm/.info/version; ls -d /opt/rocm*; ldconfig -p | grep libamdhip64
    """
    bound = want.limit(ROCM_VERSION)
    subject = Subject("module", name="ROCm")
    evidence = ("/opt", "/opt/rocm/.info/version")
    if bound is None and ("1002" not in want.gpus.vendors or want.goal != "rocm"):
        yield skipped(BOX, "the profile asks for no ROCm")
        return
    with_hip = [install for install in rocm.installs if install.has_hip]
    if not with_hip:
        if rocm.unread is not None:
            yield not_read(subject, rocm.unread, evidence=evidence)
            return
        make = failed if bound is not None and bound.must is not None else marginal
        yield make(
            subject, f"no libamdhip64 in /opt/rocm*/lib or the library directories, profile asks for "
            f"{demanded(bound) if bound else 'ROCm'}", evidence=evidence, limit=bound, cause="rocm:",
            title="ROCm is not installed", help=("install ROCm from AMD's repository (amdgpu-install --usecase=rocm)",),
            notes=("ROCm in Python wheels or in a container is not seen here",))
        return
    paths = listed(f"{install.path} ({install.version or 'version unknown'})" for install in with_hip)
    chosen = next((install for install in with_hip if install.path == rocm.chosen), with_hip[0])
    numbers = parse_numbers(chosen.version or "")
    if bound is not None and (numbers is None or _too_short(numbers, bound)):
        more = " but for the name of its library" if numbers else ""
        yield unknown(subject, f"not read: {chosen.path} does not say its version{more}", evidence=evidence)
    elif bound is not None and numbers is not None and chosen.version is not None:
        yield judged_version(
            subject, chosen.version, numbers, bound,
            f"ROCm {chosen.version} in {chosen.path}, {wish(bound)}", evidence=evidence,
            cause="rocm:", title=f"ROCm {chosen.version} is too old for this box",
            help=("install the newer ROCm from AMD's repository, remove the old one",))
    versions = {install.version for install in with_hip}
    if len(versions) > 1:
        yield marginal(subject, f"{len(with_hip)} installations: {paths}", evidence=evidence, cause="rocm:",
                       title="several versions of ROCm are installed",
                       help=("keep one: sudo apt remove the others, or set the alternative: "
                             "sudo update-alternatives --config rocm",))
    elif rocm.unread is not None:
        yield not_read(subject, rocm.unread, evidence=evidence)
    elif bound is None:
        yield passed(subject, f"ROCm in {paths}", evidence=evidence)

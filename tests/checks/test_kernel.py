from __future__ import annotations

from typing import Any

import msgspec
import pytest

from boxcheck.decode.cmdline import parse_cmdline
from boxcheck.decode.klog import KernelLog, parse_log
from boxcheck.model import Unread
from boxcheck.probes.amdgpu import Amdgpu, Ttm
from boxcheck.probes.kernel import Kernel
from boxcheck.probes.kernel_log import KernelLogs
from boxcheck.probes.modules import Asked, ModuleSettings
from boxcheck.probes.packages import Dkms, DkmsModule, Package, Packages
from boxcheck.profile import GpuPart, GpusWanted, Profile
from tests.checks.cards import PART, gpu, gpus
from tests.checks.judging import DENIED, GONE, judge, outcome, outcomes, want
from tests.checks.test_cpu import HEALTHY as CPU

RELEASE = "6.8.0-60-generic"
HEALTHY = Kernel(
    release=RELEASE, upstream="6.8.12", command_line=parse_cmdline("ro iommu=pt"), taint=1 << 12 | 1 << 13,
    lockdown="none", secure_boot=False, config={"CONFIG_PCI_P2PDMA": "y", "CONFIG_DMABUF_MOVE_NOTIFY": "y",
                                               "CONFIG_HSA_AMD_P2P": "y"}, config_path=f"/boot/config-{RELEASE}",
    installed=(RELEASE,), modules_present=True, reboot_required=False, reboot_packages=(), os_id="ubuntu",
    os_name="Ubuntu 24.04")
IN_TREE = Amdgpu(loaded=True, version=None, source_version="A", parameters={}, ttm=Ttm("ttm", 1, 1), cards={})
DKMS = msgspec.structs.replace(IN_TREE, version="6.10.5")
NVIDIA_PART = GpuPart(key="rtx4090", name="RTX 4090", pci_ids=("10de:2684",))


def kernel(**changes: Any) -> Kernel:
    return msgspec.structs.replace(HEALTHY, **changes)


def box(limits: dict[str, Any] | None = None, part: GpuPart = PART, goal: str = "rocm", count: int = 2) -> Profile:
    """A profile about cards of one model."""
    return msgspec.structs.replace(want(limits), gpus=GpusWanted(parts=(part,), count=count), goal=goal)


def log(text: str = "", booted: bool = True) -> KernelLogs:
    first = "[    0.000000] Linux version 6.8.0-60-generic (x) #1\n" + "[    0.000000] usable\n" * 20 if booted else ""
    return KernelLogs(parse_log(f"{first}{text}"), parse_log(first), 11520.0, ())


def settings(*asked: Asked, parameters: Any = None, blacklisted: Any = None, unread: Unread | None = None) -> ModuleSettings:
    return ModuleSettings(asked, blacklisted or {}, {one.module: True for one in asked}, parameters or {}, unread)


# Version


@pytest.mark.parametrize(("changes", "limit", "wanted"), [
    ({}, "6.8.12", "pass"), ({}, "6.8.13", "fail"), ({"upstream": None}, "6.8.12", "fail"),
    ({"release": "6.18.4", "upstream": None}, {"should": "6.18.4"}, "pass"),
    ({"release": "6.18.3", "upstream": None}, {"should": "6.18.4"}, "marginal"),
    ({"release": "6.5.0", "upstream": None}, {"must": "6.1", "should": "6.5"}, "pass"),
    ({"release": "6.4.9", "upstream": None}, {"must": "6.1", "should": "6.5"}, "marginal"),
    ({"release": "5.15.0-91-generic", "upstream": "5.15.131"}, {"must": "6.1", "should": "6.5"}, "fail"),
    ({"release": "5.14.0-503.11.1.el9_5.x86_64", "upstream": None}, "6.1", "marginal"),
    ({"release": GONE}, "6.1", "unknown"), ({"release": "Unknown"}, "6.1", "unknown"), ({}, None, "skip")])
def test_too_old(changes: dict[str, Any], limit: Any, wanted: str) -> None:
    limits = {"kernel.version": limit} if limit else None
    assert outcome("kernel.too-old", kernel(**changes), IN_TREE, limits=limits) == wanted


def test_an_oem_kernel_has_its_own_limit() -> None:
    limits = {"kernel.version": {"should": "6.18.4"}, "kernel.oem_version": "6.14"}
    oem = kernel(release="6.14.0-1014-oem", upstream=None)
    assert outcome("kernel.too-old", oem, IN_TREE, limits=limits) == "pass"
    older = kernel(release="6.11.0-1014-oem", upstream=None)
    assert outcome("kernel.too-old", older, IN_TREE, limits=limits) == "marginal"
    generic = kernel(release="6.14.0-24-generic", upstream=None)
    assert outcome("kernel.too-old", generic, IN_TREE, limits=limits) == "marginal"


def test_a_driver_of_its_own_excuses_the_number() -> None:
    old = kernel(release="5.15.0-91-generic", upstream=None)
    assert outcome("kernel.too-old", old, DKMS, limits={"kernel.version": "6.1"}) == "marginal"


def test_a_limit_that_is_no_version_passes_nobody() -> None:
    assert outcome("kernel.too-old", kernel(), IN_TREE, limits={"kernel.version": "new"}) == "fail"


# Taint, lockdown, reboot


@pytest.mark.parametrize(("taint", "wanted"), [
    (0, "pass"), (1 | 1 << 12 | 1 << 13, "pass"), (1 << 4, "fail"), (1 << 5, "fail"), (1 << 7, "fail"), (1 << 14, "fail"),
    (1 << 9, "marginal"), (1 << 9 | 1 << 4, "fail"), (1 << 11, "pass"), (1 << 20, "marginal"), (GONE, "unknown")])
def test_taint(taint: Any, wanted: str) -> None:
    assert outcome("kernel.taint", kernel(taint=taint)) == wanted


@pytest.mark.parametrize(("mode", "goal", "wanted"), [
    ("none", "tinygrad", "pass"), ("integrity", "tinygrad", "fail"), ("integrity", "rocm", "marginal"),
    (None, "tinygrad", "pass"), (DENIED, "rocm", "unknown")])
def test_lockdown(mode: Any, goal: str, wanted: str) -> None:
    assert outcome("kernel.lockdown", kernel(lockdown=mode), profile=box(goal=goal)) == wanted


def test_lockdown_is_no_fault_of_a_laptop() -> None:
    assert outcome("kernel.lockdown", kernel(lockdown="integrity")) == "pass"


@pytest.mark.parametrize(("changes", "wanted"), [
    ({}, "pass"), ({"reboot_required": True, "reboot_packages": ("linux-base",)}, "marginal"),
    ({"installed": (RELEASE, "6.8.0-61-generic")}, "marginal"), ({"installed": (RELEASE, "6.8.0-9-generic")}, "pass"),
    ({"installed": (RELEASE, "6.14.0-1014-oem")}, "pass"),  # another kind, kept on purpose
    ({"modules_present": False}, "marginal"), ({"installed": ()}, "skip"), ({"installed": GONE}, "unknown"),
    ({"installed": GONE, "modules_present": False}, "unknown"),
    ({"reboot_required": GONE}, "unknown"), ({"reboot_required": GONE, "installed": (RELEASE, "6.9.0-1-generic")},
                                             "marginal"), ({"release": GONE}, "unknown")])
def test_reboot_pending(changes: dict[str, Any], wanted: str) -> None:
    assert outcome("kernel.reboot-pending", kernel(**changes)) == wanted


# DKMS, firmware, options


def nvidia_module(**changes: Any) -> Dkms:
    made = DkmsModule("nvidia", ("570.133.20",), {RELEASE: "570.133.20"}, (RELEASE,), True)
    return Dkms((msgspec.structs.replace(made, **changes),))


@pytest.mark.parametrize(("dkms", "wanted"), [
    (nvidia_module(), "pass"),
    (nvidia_module(installed_for={"6.8.0-59-generic": "570.133.20"}, built_for=(), loaded=False), "fail"),
    (nvidia_module(installed_for={}, built_for=(RELEASE,), loaded=True), "marginal"),
    (nvidia_module(name="zfs", installed_for={}, built_for=(), loaded=False), "marginal"),
    (Dkms(()), "skip"), (Dkms(Unread("none", "absent")), "skip"), (Dkms(GONE), "unknown")])
def test_dkms(dkms: Dkms, wanted: str) -> None:
    assert outcome("kernel.dkms", kernel(), dkms, gpus(), profile=box(part=NVIDIA_PART)) == wanted


def packages(**versions: str) -> Packages:
    return Packages("dpkg", {name.replace("_", "-"): Package(name, version, False) for name, version in versions.items()})


@pytest.mark.parametrize(("found", "wanted"), [
    (packages(linux_firmware="20251111-1"), "pass"), (packages(linux_firmware="20251125-1.fc43"), "fail"),
    (packages(firmware_amd_graphics="20251125-1"), "fail"), (packages(linux_firmware="1.187"), "unknown"),
    (packages(), "unknown"), (Packages("dpkg", GONE), "unknown")])
def test_firmware_package(found: Packages, wanted: str) -> None:
    assert outcome("kernel.firmware-package", found, limits={"kernel.firmware_denied": ["20251125"]}) == wanted
    assert outcome("kernel.firmware-package", found) == "skip"


def test_a_firmware_package_that_was_not_asked_for_is_not_fine() -> None:
    denied = {"kernel.firmware_denied": ["20251125"]}
    for version, wanted in (("20251111-1", ["unknown", "pass"]), ("20251125-1", ["unknown", "fail"])):
        found = msgspec.structs.replace(packages(linux_firmware=version), unread=GONE)
        assert outcomes(judge("kernel.firmware-package", found, limits=denied)) == wanted


@pytest.mark.parametrize(("config", "amdgpu", "wanted"), [
    (HEALTHY.config, IN_TREE, "pass"), ({**HEALTHY.config, "CONFIG_HSA_AMD_P2P": "n"}, IN_TREE, "marginal"),  # type: ignore[dict-item]
    ({**HEALTHY.config, "CONFIG_HSA_AMD_P2P": "n"}, DKMS, "pass"),  # type: ignore[dict-item]
    ({"CONFIG_PCI_P2PDMA": "n"}, DKMS, "marginal"), ({"CONFIG_PCI_P2PDMA": "y", "CONFIG_HSA_AMD_P2P": "y"}, IN_TREE, "unknown"),
    ({}, IN_TREE, "marginal"), (GONE, IN_TREE, "unknown")])
def test_p2p_config(config: Any, amdgpu: Amdgpu, wanted: str) -> None:
    two = gpus(gpu(0), gpu(1))
    assert outcome("kernel.p2p-config", kernel(config=config), two, amdgpu, profile=box()) == wanted


@pytest.mark.parametrize(("release", "config", "wanted"), [
    ("7.1.3-arch1-1", {"CONFIG_SYNC_FILE": "y"}, "pass"), ("7.1.3-arch1-1", {}, "unknown"),
    ("6.18.4-arch1-1", {"CONFIG_SYNC_FILE": "y"}, "unknown")])
def test_an_option_that_newer_kernels_no_longer_have(release: str, config: dict[str, str], wanted: str) -> None:
    """Unmentioned it is on there, where the configuration was read as far as its place."""
    found = kernel(release=release, config={"CONFIG_PCI_P2PDMA": "y", "CONFIG_HSA_AMD_P2P": "y", **config})
    assert outcome("kernel.p2p-config", found, gpus(gpu(0), gpu(1)), IN_TREE, profile=box()) == wanted


def test_one_card_copies_to_nobody() -> None:
    assert outcome("kernel.p2p-config", kernel(), gpus(gpu()), IN_TREE, profile=box(count=1)) == "skip"


# Command line


@pytest.mark.parametrize(("line", "goal", "wanted"), [
    ("ro quiet iommu=pt pcie_aspm=off", "rocm", ["pass"]), ("nomodeset", "rocm", ["fail"]),
    ("pci=realloc,nommconf", "rocm", ["marginal"]), ("pci=realloc", "rocm", ["pass"]),
    ("pcie_acs_override=downstream", "rocm", ["marginal"]), ("pcie_acs_override=downstream", "vm", ["pass"]),
    ("mce=off", "rocm", ["marginal"]), ("mce=ignore_ce mem=64G", "rocm", ["marginal", "marginal"]),
    ("amdgpu.dpm=0", "rocm", ["marginal"]), ("amdgpu.dpm=1", "rocm", ["pass"]), ("pcie_aspm=force", "rocm", ["marginal"])])
def test_cmdline_lint(line: str, goal: str, wanted: list[str]) -> None:
    found = judge("kernel.cmdline-lint", kernel(command_line=parse_cmdline(line)), gpus(gpu()), settings(), CPU,
                  profile=box(goal=goal))
    assert [finding.outcome.value for finding in found] == wanted


def test_nomodeset_harms_amd_only() -> None:
    line = kernel(command_line=parse_cmdline("nomodeset"))
    assert outcome("kernel.cmdline-lint", line, gpus(), settings(), CPU, profile=box(part=NVIDIA_PART)) == "pass"


def test_a_blacklisted_driver() -> None:
    kept_out = settings(blacklisted={"amdgpu": "/etc/modprobe.d/x.conf"})
    assert outcome("kernel.cmdline-lint", kernel(), gpus(gpu()), kept_out, CPU, profile=box()) == "marginal"
    assert outcome("kernel.cmdline-lint", kernel(), gpus(gpu()), kept_out, CPU, profile=box(goal="tinygrad")) == "pass"


def test_an_unread_command_line_is_unknown() -> None:
    assert outcome("kernel.cmdline-lint", kernel(command_line=GONE), gpus(), settings(), CPU) == "unknown"
    assert outcome("kernel.cmdline-unknown", kernel(command_line=GONE), settings(unread=GONE), log()) == "unknown"


UNKNOWN = '[    0.1] Unknown kernel command line parameters "{}", will be passed to user space.'


@pytest.mark.parametrize(("text", "wanted"), [
    ("", "pass"), (UNKNOWN.format("BOOT_IMAGE=/boot/vmlinuz splash"), "pass"),
    (UNKNOWN.format("BOOT_IMAGE=/boot/vmlinuz amd_iomu=pt"), "marginal"),
    (UNKNOWN.format("pcie_acs_override=downstream"), "marginal"),
    ("[    3.6] amdgpu: unknown parameter 'foo' ignored", "marginal"),
    ("[    3.6] amdgpu: unknown parameter 'gtt_size' ignored", "pass")])  # strix.gtt-unknown-param speaks of this one
def test_cmdline_unknown(text: str, wanted: str) -> None:
    assert outcome("kernel.cmdline-unknown", kernel(), settings(), log(text)) == wanted


def test_a_parameter_that_the_module_does_not_show() -> None:
    asked = Asked("amdgpu", "pp_feature_mask", "1", "/etc/modprobe.d/a.conf")
    shown = settings(asked, parameters={"amdgpu": ("ppfeaturemask", "gttsize")})
    assert outcome("kernel.cmdline-unknown", kernel(), shown, log()) == "marginal"
    right = settings(msgspec.structs.replace(asked, parameter="gttsize"), parameters={"amdgpu": ("gttsize",)})
    assert outcome("kernel.cmdline-unknown", kernel(), right, log()) == "pass"
    other = settings(msgspec.structs.replace(asked, module="nvidia"), parameters={"nvidia": ()})
    assert outcome("kernel.cmdline-unknown", kernel(), other, log()) == "pass"  # nvidia hides its parameters


def test_without_the_log_nothing_passes() -> None:
    hidden = msgspec.structs.replace(log(), this_boot=DENIED)
    (finding,) = judge("kernel.cmdline-unknown", kernel(), settings(), hidden)
    assert (finding.outcome.value, finding.needs_root) == ("unknown", True)
    assert outcome("kernel.cmdline-unknown", kernel(), settings(), log(booted=False)) == "unknown"


def test_what_was_asked_and_not_read_was_not_understood() -> None:
    denied = Unread("permission denied", "permission")
    assert outcome("kernel.cmdline-unknown", kernel(), settings(unread=denied), log()) == "unknown"
    assert outcome("kernel.cmdline-unknown", kernel(command_line=GONE), settings(), log()) == "unknown"
    assert outcome("kernel.cmdline-unknown", kernel(), settings(unread=Unread("no such file", "absent")), log()) == "pass"
    other = msgspec.structs.replace(log(), release="6.11.0-26-generic")  # the log of another kernel's boot
    assert outcome("kernel.cmdline-unknown", kernel(), settings(), other) == "unknown"


def test_the_log_of_a_test_is_a_log() -> None:
    assert isinstance(log().this_boot, KernelLog)


def test_a_blacklist_that_was_not_read_is_no_clean_one() -> None:
    amd = box(goal="rocm")
    facts = (kernel(), gpus(), settings(unread=DENIED))
    assert outcome("kernel.cmdline-lint", *facts, CPU, profile=amd) == "unknown"
    assert outcome("kernel.cmdline-lint", *facts, CPU) == "pass"  # no driver is asked for, so no blacklist matters
    nothing = settings(unread=Unread("no such file", "absent"))
    assert outcome("kernel.cmdline-lint", kernel(), gpus(), nothing, CPU, profile=amd) == "pass"


def test_a_module_of_dkms_that_was_not_read() -> None:
    assert outcome("kernel.dkms", kernel(), Dkms((), {"nvidia": DENIED}), gpus()) == "unknown"

"""Less information never makes a result better, and nonsense is no fault: each case was once a wrong pass or a false
alarm. `python -m tests.bench.less_information` looks for more of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import msgspec
import pytest

from boxcheck.engine.inspect import choose_checks
from boxcheck.model import Finding, Outcome
from boxcheck.probes.pci import parse_hex
from boxcheck.profile import load_profile
from tests.boxes import Tree, build
from tests.test_wrong_passes import judged

CMDLINE = "/proc/cmdline"
EDAC = "/sys/devices/system/edac/mc/mc0"
PCI = "/sys/bus/pci/devices"
GPU = f"{PCI}/0000:41:00.0"
KFD = "/sys/devices/virtual/kfd/kfd/topology/nodes"
NVME, MD = "/sys/class/nvme/nvme0", "/sys/block/md0"


def denied(path: str, kind: str = "permission") -> Callable[[Tree], None]:
    def change(tree: Tree) -> None:
        real = tree.resolve(path)
        if not tree.listing(real):
            tree.denied(real, "permission denied", kind)
        for inner in [one for one in tree if one.startswith(f"{real}/")]:
            tree.denied(inner, "permission denied", kind)
    return change


def no_link(path: str) -> Callable[[Tree], None]:
    """A symbolic link that may not be read."""
    def change(tree: Tree) -> None:
        folder, _, name = path.rpartition("/")
        real = f"{tree.resolve(folder)}/{name}"
        del tree[real]
        tree.denied(real, "permission denied")
    return change


def holding(path: str, data: bytes) -> Callable[[Tree], None]:
    def change(tree: Tree) -> None:
        if path == "boxcheck/run":  # what the first of the drives answers
            next(one for one in tree.programs if one["argv"][:2] == ["nvme", "smart-log"])["stdout"] = data.decode()
        else:
            tree[tree.resolve(path)] = data
    return change


@cache
def base(name: str) -> Tree:
    return build(name)


def findings(name: str, check: str, change: Callable[[Tree], None]) -> list[Finding]:
    tree = base(name).copy()
    change(tree)
    verdict = judged(tree, name.partition("+")[0])
    assert not verdict.crashes
    return [finding for finding in verdict.findings if finding.check == check]


def outcomes(name: str, check: str, change: Callable[[Tree], None]) -> set[Outcome]:
    return {finding.outcome for finding in findings(name, check, change)}


@pytest.mark.parametrize(("box", "check", "change", "wanted"), [
    # A word of the command line that nobody read is no word that is not there.
    ("strix-halo+strix-gtt-size-typo", "strix.gtt-unknown-param", denied(CMDLINE), Outcome.UNKNOWN),
    ("strix-halo+nomodeset-no-driver", "strix.gtt-as-asked", denied(CMDLINE), Outcome.UNKNOWN),
    # One rank that does not tell speaks for none of the others.
    ("wopr-7x4090+edac-mode-none", "memory.ecc", denied(f"{EDAC}/rank3/dimm_edac_mode"), Outcome.FAIL),
    ("wopr-7x4090+edac-mode-none", "memory.ecc", holding(f"{EDAC}/rank3/dimm_edac_mode", b"Unknown\n"), Outcome.FAIL),
    ("wopr-7x4090+edac-mode-none", "memory.edac-ue", denied(f"{EDAC}/rank3/dimm_edac_mode"), Outcome.UNKNOWN),
    ("tinybox-red+card-units-off", "inventory.gpu-claims", denied(f"{KFD}/3/properties"), Outcome.UNKNOWN),
    ("wopr-7x4090+smt-off", "cpu.offline", denied("/sys/devices/system/cpu/smt/control"), Outcome.UNKNOWN),
    ("wopr-7x4090+edac-ue-unplaced", "memory.edac-ue", denied(f"{EDAC}/ue_noinfo_count"), Outcome.UNKNOWN),
    ("wopr-7x4090+audio-function-errors", "aer.correctable", denied(f"{PCI}/0000:41:00.1/aer_dev_correctable"),
     Outcome.UNKNOWN),
    ("wopr-7x4090+root-total-only", "aer.correctable", denied(f"{PCI}/0000:40:01.1/aer_rootport_total_err_cor"),
     Outcome.UNKNOWN),
    ("tinybox-red+nvme-read-only", "disk.nvme-state", denied("/sys/class/nvme/nvme1/nvme1n1/ro"), Outcome.UNKNOWN),
    ("tinybox-red+raid-read-only", "disk.raid", denied(f"{MD}/ro"), Outcome.UNKNOWN),
])
def test_what_was_not_read_passes_nothing(
    box: str, check: str, change: Callable[[Tree], None], wanted: Outcome
) -> None:
    found = outcomes(box, check, change)
    assert wanted in found
    assert found <= {wanted, Outcome.PASS} if check.startswith(("disk", "aer", "inventory")) else found == {wanted}  # others pass


@pytest.mark.parametrize("check", ["amdgpu.replay", "amdgpu.pp-dpm", "amdgpu.unique-id", "amdgpu.vbios-uniform"])
def test_a_card_whose_driver_nobody_read_is_not_left_out(check: str) -> None:
    card = f"{PCI}/0000:83:00.0"
    found = findings("tinybox-red", check, no_link(f"{card}/driver"))
    assert [one.subject.bdf for one in found if one.outcome is Outcome.UNKNOWN] == ["0000:83:00.0"]


def test_a_card_whose_driver_nobody_read_is_not_known_to_have_another() -> None:
    tree = build("wopr-7x4090")
    no_link(f"{GPU}/driver")(tree)
    want = msgspec.structs.replace(load_profile("wopr-7x4090"), goal="tinygrad")
    verdict = judged(tree, want, choose_checks(["nvidia.runtime-count"]))
    found = {one.subject.bdf: one.outcome for one in verdict.findings}
    assert found["0000:41:00.0"] is Outcome.UNKNOWN


@pytest.mark.parametrize(("box", "check", "bdf"), [
    ("wopr-7x4090+lane-errors", "pcie.lane-errors", "0000:41:00.0"),
    ("wopr-7x4090+dpc-triggered", "pcie.containment", "0000:40:01.1"),
    ("wopr-7x4090", "bar.unassigned", "0000:41:00.0"),
    ("wopr-7x4090", "aer.live", "0000:41:00.0"),
    ("wopr-7x4090", "inventory.gpu-lost", "0000:41:00.0"),
])
def test_registers_of_another_device_say_nothing_of_this_one(box: str, check: str, bdf: str) -> None:
    """Zeros, as of a device that is held in reset behind a port that answers for it."""
    found = outcomes(box, check, holding(f"{PCI}/{bdf}/config", bytes(64)))
    assert Outcome.UNKNOWN in found
    assert found <= {Outcome.UNKNOWN, Outcome.PASS}  # the other links pass


@pytest.mark.parametrize(("box", "check", "path", "data"), [
    ("wopr-7x4090", "bar.full-vram", f"{GPU}/resource", b""),
    ("wopr-7x4090", "bar.unassigned", f"{GPU}/resource", b"\n"),
    ("wopr-7x4090", "pcie.power-state", f"{GPU}/power_state", b"\xff" * 64),
    ("wopr-7x4090", "pcie.power-state", f"{GPU}/power_state", b""),
    ("wopr-7x4090", "cpu.half-bandwidth-sku", "/proc/cpuinfo", b"not a value\n"),
    ("wopr-7x4090+half-bandwidth-cpu", "cpu.half-bandwidth-sku", "/proc/cpuinfo", b""),
    ("wopr-7x4090", "cpu.offline", "/sys/devices/system/cpu/online", b"\n"),
    ("wopr-7x4090+root-read-only", "disk.read-only", "/proc/self/mountinfo",
     b"25 30 0:23 / /sys rw - sysfs sysfs rw\n31 30 8:2 / /home rw - ext4 /dev/sda2 rw\n"),
    ("tinybox-red", "disk.nvme-state", f"{NVME}/state", b"not a value\n"),
    ("tinybox-red", "disk.raid", f"{MD}/md/array_state", b"4294967295\n"),
    ("tinybox-red", "kfd.p2p", f"{KFD}/1/p2p_links/0/properties", b""),
    ("tinybox-red", "kfd.nodes", f"{KFD}/1/properties", b"cpu_cores_count 0\nsimd_count 192\n"),
    ("geohot-amd-dev", "kernel.p2p-config", "/boot/config-6.8.0-60-generic", b"\n"),
    ("tinybox-red", "driver.rocm", "/opt/rocm-6.3.3/.info/version", b"\n"),
    ("tinybox-red", "disk.nvme-health", "boxcheck/run", b'{"critical_warning": -1}'),
    ("tinybox-red", "disk.nvme-health", "boxcheck/run",
     b'{"critical_warning": 0, "media_errors": 0, "percent_used": 1, "unsafe_shutdowns": 3}'),
    ("wopr-7x4090", "inventory.gpu-uniform", f"{GPU}/subsystem_device", b"0x0\n"),
])
def test_nonsense_is_unread_and_no_fault(box: str, check: str, path: str, data: bytes) -> None:
    found = outcomes(box, check, holding(path, data))
    assert Outcome.UNKNOWN in found
    assert found <= {Outcome.UNKNOWN, Outcome.PASS}


@pytest.mark.parametrize("check", ["nic.present", "pcie.containment", "pcie.link-down", "pcie.link-flap"])
def test_functions_that_say_nothing_are_not_missing(check: str) -> None:
    def all_of_them(tree: Tree) -> None:
        for root in {path.split("/")[3] for path in tree if path.startswith("/sys/devices/pci")}:
            denied(f"/sys/devices/{root}")(tree)

    assert outcomes("wopr-7x4090", check, all_of_them) == {Outcome.UNKNOWN}


@pytest.mark.parametrize(("box", "up"), [("wopr-7x4090+card-unlisted", True), ("tinybox-red+card-unlisted", True),
                                         ("wopr-7x4090+link-down-card-present", False)])
def test_a_link_that_is_up_is_not_said_to_be_down(box: str, up: bool) -> None:
    found = [one for one in findings(box, "pcie.link-down", lambda tree: None) if one.outcome is Outcome.FAIL]
    assert [("its link is up" in one.says, "rescan" in " ".join(one.help)) for one in found] == [(up, up)]


def test_a_sys_without_a_kernel_shows_no_lockdown() -> None:
    def change(tree: Tree) -> None:
        for path in [path for path in tree if path.startswith("/sys/kernel/")]:
            del tree[path]
        tree.directories -= {path for path in tree.directories if path.startswith("/sys/kernel")}

    assert outcomes("tinybox-red", "kernel.lockdown", change) == {Outcome.UNKNOWN}


def test_a_drive_is_one_whatever_its_transport_says() -> None:
    """As in a tar of sysfs, which GNU tar fills up with zeros to the 4096 bytes that each file was said to have."""
    change = holding(f"{NVME}/transport", b"pcie\n".ljust(4096, b"\0"))
    assert outcomes("wopr-7x4090", "disk.nvme-count", change) == {Outcome.PASS}


def test_a_drive_that_does_not_say_which_it_is_is_one() -> None:
    def change(tree: Tree) -> None:
        no_link(f"{NVME}/device")(tree)
        denied(f"{NVME}/address")(tree)

    assert outcomes("wopr-7x4090", "thermal.nvme", change) == {Outcome.UNKNOWN}


@pytest.mark.parametrize(("text", "digits", "value"), [
    ("0x10de", 4, 0x10DE), ("0x030000", 6, 0x30000), ("0xC8", 2, 0xC8), ("0x03", 6, None), ("0x30000", 6, None),
    ("65535", 4, None), ("-0x1", 2, None), ("0x", 2, None), ("0x10_e", 4, None), ("", 4, None),
])
def test_an_id_has_all_of_its_digits(text: str, digits: int, value: int | None) -> None:
    assert parse_hex(text, digits) == value


def test_a_gpu_whose_class_is_cut_off_is_not_gone() -> None:
    """`0x03` is no class; the registers still say it, and where they do not the function is unidentified."""
    assert outcomes("wopr-7x4090", "inventory.gpu-count", holding(f"{GPU}/class", b"0x03\n")) == {Outcome.PASS}

    def both(tree: Tree) -> None:
        holding(f"{GPU}/class", b"0x03\n")(tree)
        denied(f"{GPU}/config")(tree)

    assert outcomes("wopr-7x4090", "inventory.gpu-count", both) == {Outcome.UNKNOWN}

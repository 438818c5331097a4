from __future__ import annotations

import gzip
from pathlib import Path

from boxcheck.model import Unread
from boxcheck.probes.attributes import parse_uptime
from boxcheck.probes.kernel import Kernel, parse_config, parse_lockdown, parse_os_release, parse_secure_boot
from boxcheck.probes.kernel_log import KernelLogs
from boxcheck.probes.modules import ModuleSettings, parse_modprobe
from boxcheck.probes.packages import Dkms, Packages, parse_dpkg_status, parse_pacman_names, parse_rpm_names
from boxcheck.probes.tuning import Tuning
from tests.boxes.tree import Symlink
from tests.probes.reading import HOSTILE, fact, kind_of, live, never_raises, tree

RELEASE = "6.8.0-60-generic"
EFI = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"


def test_reads_a_kernel(tmp_path: Path) -> None:
    kernel = fact(Kernel, tree({
        "/proc/sys/kernel/osrelease": RELEASE, "/proc/version": f"Linux version {RELEASE} (x) #63-Ubuntu SMP",
        "/proc/version_signature": "Ubuntu 6.8.0-60.63-generic 6.8.12", "/proc/cmdline": "ro iommu=pt",
        "/proc/sys/kernel/tainted": 12289, "/sys/kernel/security/lockdown": "none [integrity] confidentiality",
        EFI: b"\x06\x00\x00\x00\x01", f"/boot/config-{RELEASE}": "CONFIG_PCI_P2PDMA=y\n# CONFIG_HSA_AMD_P2P is not set\n",
        f"/boot/vmlinuz-{RELEASE}": b"MZ", "/boot/vmlinuz-6.11.0-26-generic": b"MZ", "/boot/vmlinuz-linux": b"MZ",
        f"/lib/modules/{RELEASE}/modules.dep": "", "/lib/modules/6.12.1-arch1-1/vmlinuz": b"MZ",
        "/run/reboot-required": "*** System restart required ***",
        "/run/reboot-required.pkgs": "linux-image-6.11.0-26-generic\nlinux-base\nlinux-base",
        "/etc/os-release": 'ID=ubuntu\nPRETTY_NAME="Ubuntu 24.04.2 LTS"\n',
    }), tmp_path)
    assert (kernel.release, kernel.upstream) == (RELEASE, "6.8.12")
    assert kernel.taint == 12289
    assert kernel.lockdown == "integrity"
    assert kernel.secure_boot is True
    assert kernel.config == {"CONFIG_PCI_P2PDMA": "y", "CONFIG_HSA_AMD_P2P": "n"}
    assert kernel.installed == ("6.11.0-26-generic", "6.12.1-arch1-1", RELEASE)
    assert kernel.modules_present is True
    assert kernel.reboot_required is True
    assert kernel.reboot_packages == ("linux-image-6.11.0-26-generic", "linux-base")
    assert (kernel.os_id, kernel.os_name) == ("ubuntu", "Ubuntu 24.04.2 LTS")


def test_what_a_machine_lacks_and_what_nobody_captured(tmp_path: Path) -> None:
    bare = fact(Kernel, tree({"/proc/version": f"Linux version {RELEASE} (x) #1", "/sys/kernel/profiling": 0}), tmp_path)
    assert bare.release == RELEASE
    assert bare.lockdown is None
    assert bare.secure_boot is None
    assert bare.installed == ()
    assert bare.reboot_required is False
    assert kind_of(bare.config) == "absent"
    other = fact(Kernel, tree({"/proc/version": "Linux version 6.1 (x)"}, whole=False), tmp_path)
    for value in (other.lockdown, other.secure_boot, other.installed, other.reboot_required, other.taint, other.config):
        assert kind_of(value) == "not-captured"


def test_the_configuration_may_be_in_proc(tmp_path: Path) -> None:
    packed = gzip.compress(b"CONFIG_HSA_AMD=m\nCONFIG_PCI_P2PDMA_X=y\n")
    kernel = fact(Kernel, tree({"/proc/sys/kernel/osrelease": "6.1.0", "/proc/config.gz": packed}), tmp_path)
    assert kernel.config == {"CONFIG_HSA_AMD": "m"}
    assert kernel.config_path == "/proc/config.gz"
    broken = fact(Kernel, tree({"/proc/sys/kernel/osrelease": "6.1.0", "/proc/config.gz": b"no gzip"}), tmp_path)
    assert kind_of(broken.config) == "malformed"


def test_parsers() -> None:
    assert parse_lockdown("[none] integrity confidentiality") == "none"
    assert kind_of(parse_lockdown("none")) == "malformed"
    assert parse_secure_boot(b"\x06\x00\x00\x00\x00") is False
    assert kind_of(parse_secure_boot(b"\x01")) == "malformed"
    assert parse_config("# CONFIG_DMABUF_MOVE_NOTIFY is not set") == {"CONFIG_DMABUF_MOVE_NOTIFY": "n"}
    assert parse_os_release("ID='arch'\n#ID=x\n") == {"ID": "arch"}
    assert parse_uptime("11520.00 737280.00") == 11520.0
    assert kind_of(parse_uptime("nan")) == "malformed"
    for parse in (parse_lockdown, parse_config, parse_os_release, parse_uptime, parse_dpkg_status, parse_rpm_names):
        never_raises(parse, *HOSTILE)
    never_raises(lambda text: parse_modprobe(text, "x"), *HOSTILE)


STATUS = """Package: linux-firmware
Status: install ok installed
Version: 20240318.git3b128b60-0ubuntu2.12
Description: firmware
 with a second line

Package: nvidia-driver-570-open
Status: hold ok installed
Version: 570.133.20-0ubuntu1

Package: nvidia-driver-535
Status: deinstall ok config-files
Version: 535.1

Package: bash
Status: hold ok installed
Version: 5.2
"""


def test_packages_of_dpkg(tmp_path: Path) -> None:
    packages = fact(Packages, tree({"/var/lib/dpkg/status": STATUS}), tmp_path)
    assert packages.manager == "dpkg"
    assert packages.version("linux-firmware") == "20240318.git3b128b60-0ubuntu2.12"
    assert isinstance(packages.packages, dict)
    assert sorted(packages.packages) == ["linux-firmware", "nvidia-driver-570-open"]
    assert packages.packages["nvidia-driver-570-open"].held


def test_packages_of_the_others(tmp_path: Path) -> None:
    assert parse_pacman_names(("linux-firmware-amdgpu-20251125-1", "bash-5.2-1", "x"))["linux-firmware-amdgpu"].version \
        == "20251125-1"
    assert parse_rpm_names("linux-firmware-20260110-1.fc43.noarch\n")["linux-firmware"].version == "20260110-1.fc43"
    assert parse_rpm_names("package amd-gpu-firmware is not installed") == {}
    made = tree({"/var/lib/rpm/rpmdb.sqlite": b"x"})
    made.run(["rpm", "-q", "linux-firmware"], "linux-firmware-20251125-1.fc43.noarch\n")
    made.run(["rpm", "-q", "amd-gpu-firmware"], "package amd-gpu-firmware is not installed\n", exit_status=1)
    packages = fact(Packages, made, tmp_path)
    assert (packages.manager, packages.version("linux-firmware")) == ("rpm", "20251125-1.fc43")
    none = fact(Packages, tree({}), tmp_path)
    assert kind_of(none.packages) == "absent"
    assert kind_of(fact(Packages, tree({}, whole=False), tmp_path).packages) == "not-captured"


def test_dkms(tmp_path: Path) -> None:
    base = "/var/lib/dkms/nvidia"
    made = tree({"/proc/sys/kernel/osrelease": RELEASE, f"{base}/570.133.20/{RELEASE}/x86_64/module/nvidia.ko.zst": b"",
                 f"{base}/570.133.20/6.11.0-26-generic/x86_64/module/nvidia.ko.zst": b"", "/sys/module/nvidia/version": "x"})
    made[f"{base}/kernel-{RELEASE}-x86_64"] = Symlink(f"570.133.20/{RELEASE}/x86_64")
    dkms = fact(Dkms, made, tmp_path)
    module = dkms.module("nvidia")
    assert module is not None
    assert module.versions == ("570.133.20",)
    assert module.installed_for == {RELEASE: "570.133.20"}
    assert module.built_for == ("6.11.0-26-generic", RELEASE)
    assert module.loaded is True
    assert kind_of(fact(Dkms, tree({}), tmp_path).modules) == "absent"


def test_module_settings(tmp_path: Path) -> None:
    made = tree({
        "/proc/cmdline": "ttm.pages_limit=32505856 modprobe.blacklist=nouveau quiet amdgpu.gtt_size=1",
        "/etc/modprobe.d/amdgpu.conf": "options amdgpu cwsr_enable=0 \\\n ppfeaturemask=0xffffbfff\nblacklist radeon\n",
        "/etc/modprobe.d/x.conf": "# options a b=1\noptions ttm pages_limit=1\ninstall floppy /bin/true\n",
        "/usr/lib/modprobe.d/amdgpu.conf": "options amdgpu cwsr_enable=1\n",  # hidden by the one in /etc
        "/sys/module/ttm/parameters/pages_limit": 32505856, "/sys/module/amdgpu/parameters/gttsize": -1,
    })
    settings = fact(ModuleSettings, made, tmp_path)
    cwsr, pages = settings.last("amdgpu", "cwsr_enable"), settings.last("ttm", "pages_limit")
    assert cwsr is not None
    assert (cwsr.value, cwsr.place) == ("0", "/etc/modprobe.d/amdgpu.conf")
    assert pages is not None
    assert (pages.value, pages.place) == ("32505856", "/proc/cmdline")  # the command line comes last
    assert str(pages) == "ttm.pages_limit=32505856"
    assert settings.blacklisted == {
        "radeon": "/etc/modprobe.d/amdgpu.conf", "floppy": "/etc/modprobe.d/x.conf", "nouveau": "/proc/cmdline"}
    assert settings.loaded == {"amdgpu": True, "ttm": True, "modprobe": False}
    assert settings.parameters["amdgpu"] == ("gttsize",)
    assert settings.modprobe_unread is None
    assert kind_of(fact(ModuleSettings, tree({}, whole=False), tmp_path).modprobe_unread) == "not-captured"


def test_kernel_logs(tmp_path: Path) -> None:
    made = tree({"/var/log/dmesg": "[    0.000000] Linux version 6.8.0 (x) #1\n[   12.5] NVRM: Xid (PCI:0000:41:00): 79, x",
                 "/proc/uptime": "100.0 1.0", "/sys/fs/pstore/dmesg-efi-1": "Panic#1"})
    logs = fact(KernelLogs, made, tmp_path)
    assert not hasattr(logs.this_boot, "why")
    assert kind_of(logs.previous_boot) == "absent"
    assert logs.uptime_seconds == 100.0
    assert logs.crash_records == ("/sys/fs/pstore/dmesg-efi-1",)


def test_tuned(tmp_path: Path) -> None:
    made = tree({"/etc/tuned/active_profile": "accelerator-performance\n"})
    assert fact(Tuning, made, tmp_path).tuned_profile == "accelerator-performance"
    assert fact(Tuning, tree({}), tmp_path).tuned_profile is None


def test_reads_this_machine() -> None:
    kernel = live(Kernel)
    assert isinstance(kernel.release, str)
    live(Packages)
    live(Dkms)
    live(ModuleSettings)


def test_what_dkms_and_modprobe_do_not_show_is_unread(tmp_path: Path) -> None:
    made = tree({"/var/lib/dkms/dkms_dbversion": "3.0.0", "/etc/modprobe.d/a.conf": "blacklist amdgpu"})
    assert fact(Dkms, made, tmp_path) == Dkms(())
    made.directory("/var/lib/dkms/nvidia/570.133.20")
    made.denied("/var/lib/dkms/nvidia", "permission denied", "permission")
    assert kind_of(fact(Dkms, made, tmp_path).unread["nvidia"]) == "permission"
    assert fact(ModuleSettings, made, tmp_path).modprobe_unread is None
    made.put("/etc/modprobe.d/b.conf", "blacklist nvidia")
    made.denied("/etc/modprobe.d/b.conf", "permission denied", "permission")
    found = fact(ModuleSettings, made, tmp_path)
    assert (found.blacklisted, kind_of(found.modprobe_unread)) == ({"amdgpu": "/etc/modprobe.d/a.conf"}, "permission")


def test_an_empty_command_line_was_not_read(tmp_path: Path) -> None:
    assert kind_of(fact(Kernel, tree({"/proc/cmdline": "\n"}), tmp_path).command_line) == "malformed"


def test_a_package_database_that_cannot_be_opened_is_no_missing_package(tmp_path: Path) -> None:
    made = tree({"/var/lib/rpm/rpmdb.sqlite": b"x"})
    made.run(["rpm", "-q", "linux-firmware"], "linux-firmware-20260110-1.fc43.noarch\n")
    made.run(["rpm", "-q", "amd-gpu-firmware"], "", "error: cannot open Packages database in /var/lib/rpm\n", 1)
    packages = fact(Packages, made, tmp_path)
    assert (packages.manager, packages.version("linux-firmware")) == ("rpm", "20260110-1.fc43")
    assert isinstance(packages.unread, Unread)
    assert "cannot open Packages database" in packages.unread.why


def test_a_container_without_securityfs_does_not_lift_a_lockdown(tmp_path: Path) -> None:
    made = tree({"/proc/sys/kernel/osrelease": RELEASE})
    made.directory("/sys/kernel/security")
    assert kind_of(fact(Kernel, made, tmp_path).lockdown) == "unsupported"
    made.put("/sys/kernel/security/lsm", "capability,landlock")
    assert fact(Kernel, made, tmp_path).lockdown is None


def test_a_boot_directory_that_nobody_may_list_is_no_machine_without_kernels(tmp_path: Path) -> None:
    made = tree({"/proc/sys/kernel/osrelease": RELEASE, f"/lib/modules/{RELEASE}/modules.dep": "",
                 f"/boot/vmlinuz-{RELEASE}": b"x"})
    assert fact(Kernel, made, tmp_path).installed == (RELEASE,)
    made.denied("/boot", "permission denied")
    assert kind_of(fact(Kernel, made, tmp_path).installed) == "permission"

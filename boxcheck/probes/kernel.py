"""The running kernel: release, command line, taint, lockdown, configuration, and what is installed beside it.

Reads   /proc/sys/kernel/{osrelease,tainted}, /proc/{version,version_signature,cmdline}, /etc/os-release,
        /sys/kernel/security/lockdown, the EFI variable SecureBoot, /boot/config-<release> or /proc/config.gz,
        names in /boot and /lib/modules, /run/reboot-required[.pkgs]            (any user)
Since   lockdown Linux 5.4; config.gz where built with IKCONFIG_PROC
Absent  lockdown when the kernel was built without it or securityfs is not mounted; SecureBoot on a BIOS boot
By hand uname -r; cat /proc/cmdline /proc/sys/kernel/tainted; ls /boot /lib/modules
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import msgspec

from boxcheck.decode.cmdline import CommandLine, parse_cmdline
from boxcheck.decode.text import clean_text
from boxcheck.decode.version import upstream_version
from boxcheck.host import Host
from boxcheck.model import Unread
from boxcheck.registry import probe

OPTIONS = (
    "CONFIG_PCI_P2PDMA", "CONFIG_DMABUF_MOVE_NOTIFY", "CONFIG_HSA_AMD", "CONFIG_HSA_AMD_P2P", "CONFIG_SYNC_FILE")
"""CONFIG_SYNC_FILE is the neighbour of CONFIG_DMABUF_MOVE_NOTIFY (drivers/dma-buf/Kconfig): a configuration that
mentions it was read as far as there."""
CONFIG_LIMIT_BYTES = 8 << 20
SECURE_BOOT = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
"""EFI_GLOBAL_VARIABLE, UEFI 2.10, 3.3."""


class Kernel(msgspec.Struct, frozen=True):
    release: str | Unread
    """`uname -r`."""
    upstream: str | None
    """The stable version that a distribution's kernel is built from, where its banner says so."""
    command_line: CommandLine | Unread
    taint: int | Unread
    """Bits of /proc/sys/kernel/tainted."""
    lockdown: str | None | Unread
    """`none`, `integrity`, `confidentiality`; None for a kernel without lockdown."""
    secure_boot: bool | None | Unread
    """None when the machine was not started by EFI."""
    config: Mapping[str, str] | Unread
    """Of `OPTIONS`, those that the configuration mentions: `y`, `m` or `n`."""
    config_path: str
    installed: tuple[str, ...] | Unread
    """Releases of the kernels that are installed, by their images."""
    modules_present: bool | Unread
    """Whether the running kernel's modules are on the file system."""
    reboot_required: bool | Unread
    reboot_packages: tuple[str, ...]
    os_id: str
    """`ubuntu`, `fedora`; empty when nobody says."""
    os_name: str


def parse_lockdown(text: str) -> str | Unread:
    """The word in brackets of `none [integrity] confidentiality`."""
    _, opened, rest = text.partition("[")
    word, closed, _ = rest.partition("]")
    if not opened or not closed or not word.isalpha():
        return Unread("/sys/kernel/security/lockdown names no mode in brackets", "malformed")
    return word


def parse_secure_boot(data: bytes) -> bool | Unread:
    """An efivarfs file is four bytes of attributes, then the value; SecureBoot is one byte."""
    if len(data) != 5:
        return Unread(f"SecureBoot has {len(data)} bytes instead of 5", "malformed")
    return data[4] == 1


def parse_config(text: str) -> dict[str, str]:
    """Values of `OPTIONS` in a kernel configuration; one that is not mentioned has no entry."""
    found: dict[str, str] = {}
    for name in OPTIONS:
        at = -1
        while (at := text.find(name, at + 1)) >= 0:
            rest = text[at + len(name):at + len(name) + 12]
            if rest[:1] == "=" and rest[1:2] in ("y", "m", "n"):
                found[name] = rest[1]
            elif rest == " is not set\n" or rest.rstrip() == " is not set":
                found[name] = "n"
    return found


def parse_os_release(text: str) -> dict[str, str]:
    """`KEY=value` lines of os-release(5), quotes removed."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and not name.startswith("#"):
            found[name.strip()] = clean_text(value.strip().strip("\"'"), 80)
    return found


def _config(host: Host, release: str | Unread) -> tuple[Mapping[str, str] | Unread, str]:
    path = "/proc/config.gz"
    if not isinstance(release, Unread):
        path = f"/boot/config-{release}"
        for place in (path, f"/lib/modules/{release}/config"):
            text = host.text(place)
            if not isinstance(text, Unread):
                return parse_config(text) if "CONFIG_" in text else Unread(
                    f"{place} holds no option of a kernel", "malformed"), place
    packed = host.read("/proc/config.gz")
    if isinstance(packed, Unread):
        return Unread(f"the kernel's configuration is neither at {path} nor at /proc/config.gz", packed.kind), path
    try:
        text = zlib.decompressobj(31).decompress(packed, CONFIG_LIMIT_BYTES).decode("ascii", "replace")
    except zlib.error:
        return Unread("/proc/config.gz is not gzip", "malformed"), "/proc/config.gz"
    return parse_config(text), "/proc/config.gz"


def _lockdown(host: Host) -> str | None | Unread:
    text = host.text("/sys/kernel/security/lockdown")
    if isinstance(text, str):
        return parse_lockdown(text)
    if text.kind == "absent" and host.entries("/sys/kernel/security") == ():
        # Containers see the empty directory that securityfs is mounted on: no kernel that mounts it shows nothing.
        return Unread("securityfs is not mounted here, so nobody sees whether the kernel is locked down", "unsupported")
    if text.kind == "absent" and host.exists("/sys/kernel") is False:
        return Unread("/sys shows nothing of the kernel, so nobody sees whether it is locked down", "unsupported")
    return None if text.kind == "absent" else text


def _installed(host: Host) -> tuple[str, ...] | Unread:
    boot = host.entries("/boot")
    modules = host.entries("/lib/modules")
    if isinstance(boot, Unread) and isinstance(modules, Unread):
        return () if boot.kind == modules.kind == "absent" else modules if boot.kind == "absent" else boot
    found = set()
    if not isinstance(boot, Unread):
        found = {name.removeprefix("vmlinuz-") for name in boot if name.startswith("vmlinuz-")}
    if not isinstance(modules, Unread):
        found |= {name for name in modules if host.exists(f"/lib/modules/{name}/vmlinuz") is True}
    if not found and isinstance(boot, Unread) and boot.kind != "absent":
        return boot  # Debian and Ubuntu keep the images there and nowhere else
    return tuple(sorted(name for name in found if name[:1].isdigit()))


@probe("kernel", Kernel)
def kernel(host: Host) -> Kernel:
    release = host.text("/proc/sys/kernel/osrelease")
    version = host.text("/proc/version")
    if isinstance(release, Unread) and not isinstance(version, Unread):
        words = version.split()
        if words[:2] == ["Linux", "version"] and len(words) > 2:
            release = words[2]
    release = release if isinstance(release, Unread) else clean_text(release, 80) or Unread(
        "/proc/sys/kernel/osrelease is empty", "malformed")
    signature = host.text("/proc/version_signature")
    banner = " ".join(text for text in (version, signature) if not isinstance(text, Unread))
    line = host.text("/proc/cmdline")
    if line == "":  # the boot loader always hands something over; a sandbox may cover the file with an empty one
        line = Unread("/proc/cmdline is empty", "malformed")
    tainted = host.text("/proc/sys/kernel/tainted")
    lockdown = _lockdown(host)
    secure: bool | None | Unread
    if host.exists("/sys/firmware/efi") is False:
        secure = None
    else:
        variable = host.read(SECURE_BOOT)
        secure = variable if isinstance(variable, Unread) else parse_secure_boot(variable)
    config, config_path = _config(host, release)
    required = host.exists("/run/reboot-required")
    packages = host.text("/run/reboot-required.pkgs") if required is True else ""
    os_release = host.text("/etc/os-release")
    system = {} if isinstance(os_release, Unread) else parse_os_release(os_release)
    return Kernel(
        release=release,
        upstream=None if isinstance(release, Unread) else upstream_version(banner, release),
        command_line=line if isinstance(line, Unread) else parse_cmdline(line),
        taint=tainted if isinstance(tainted, Unread) else (
            int(tainted) if tainted.isascii() and tainted.isdigit() and len(tainted) < 20
            else Unread("/proc/sys/kernel/tainted holds no number", "malformed")),
        lockdown=lockdown,
        secure_boot=secure,
        config=config, config_path=config_path,
        installed=_installed(host),
        modules_present=release if isinstance(release, Unread) else host.exists(f"/lib/modules/{release}"),
        reboot_required=required,
        reboot_packages=() if isinstance(packages, Unread) else tuple(
            clean_text(name, 80) for name in dict.fromkeys(packages.split()[:20])),
        os_id=system.get("ID", ""), os_name=system.get("PRETTY_NAME", ""),
    )

"""Whether this is a container or a virtual machine: then some of what is read belongs to the host.

Reads   /.dockerenv, /run/.containerenv, /run/systemd/container, the variable `container`; the flag `hypervisor` of
        /proc/cpuinfo (x86), /sys/hypervisor/type, DMI names                                 (any user)
By hand systemd-detect-virt --container; systemd-detect-virt --vm
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from boxcheck.decode.text import clean_text
from boxcheck.host import Host
from boxcheck.model import Unread
from boxcheck.probes.dmi import Dmi
from boxcheck.registry import probe

MARKS: Mapping[str, str] = {"/.dockerenv": "docker", "/run/.containerenv": "podman"}
"""File -> the container engine that makes it."""

VENDORS: tuple[tuple[str, str], ...] = (
    ("qemu", "QEMU"), ("kvm", "KVM"), ("vmware", "VMware"), ("innotek", "VirtualBox"), ("virtualbox", "VirtualBox"),
    ("xen", "Xen"), ("bochs", "Bochs"), ("parallels", "Parallels"), ("bhyve", "bhyve"), ("openstack", "OpenStack"),
    ("google compute engine", "Google Compute Engine"), ("amazon ec2", "Amazon EC2"), ("virtual machine", "Hyper-V"),
    ("digitalocean", "DigitalOcean"), ("alibaba cloud", "Alibaba Cloud"),
)
"""Part of a DMI name, in lower case -> the hypervisor or cloud. systemd's detect-virt knows the same names."""


class Container(msgspec.Struct, frozen=True):
    container: str | None | Unread
    """The engine (`docker`, `podman`, `lxc`, ...), None outside of any."""
    hypervisor: str | None | Unread
    """The hypervisor where its name is known, else `unknown`; None on the bare machine."""


def hypervisor_flag(cpuinfo: str) -> bool | None:
    """Whether the first processor's flags name a hypervisor; None where it has no flags line (not x86)."""
    at = cpuinfo.find("\nflags")
    if at < 0:
        return None
    line = cpuinfo[at + 1 : cpuinfo.find("\n", at + 1)] if "\n" in cpuinfo[at + 1 :] else cpuinfo[at + 1 :]
    return "hypervisor" in line.split()


def name_of_hypervisor(*names: str | None | Unread) -> str | None:
    """The hypervisor that DMI names show, None when they show none."""
    text = " ".join(name for name in names if isinstance(name, str)).lower()
    return next((shown for part, shown in VENDORS if part in text), None)


def _container(host: Host) -> str | None | Unread:
    variables = host.environment()
    if not isinstance(variables, Unread) and variables.get("container"):
        return clean_text(variables["container"], 32)
    named = host.text("/run/systemd/container")
    if isinstance(named, str) and named:
        return clean_text(named, 32)
    answers = {path: host.exists(path) for path in MARKS}
    for path, there in answers.items():
        if there is True:
            return MARKS[path]
    return next((there for there in answers.values() if isinstance(there, Unread)), None)


def _hypervisor(host: Host, dmi: Dmi) -> str | None | Unread:
    kind = host.text("/sys/hypervisor/type")
    if isinstance(kind, str) and kind:
        return "Xen" if kind == "xen" else clean_text(kind, 32)
    cpuinfo = host.text("/proc/cpuinfo")
    flag = cpuinfo if isinstance(cpuinfo, Unread) else hypervisor_flag(cpuinfo)
    # Clouds put their name on bare machines, too, so where there is a flag it decides.
    if flag is False:
        return None
    named = name_of_hypervisor(dmi.sys_vendor, dmi.product_name)
    if flag is True:
        return named or "unknown"
    if named is not None:
        return named
    if flag is None:
        return None if not isinstance(dmi.sys_vendor, Unread) else Unread(
            "neither processor flags nor DMI names tell whether this is a virtual machine", "unsupported")
    return flag


@probe("container", Container, reads=[Dmi])
def container(host: Host, dmi: Dmi) -> Container:
    return Container(_container(host), _hypervisor(host, dmi))

"""What the kernel does with links while it runs: power management policy, and how often it saw a link change.

Reads   /sys/module/pcie_aspm/parameters/policy, /sys/bus/pci/devices/<port>/power/control, /proc/interrupts (any user)
Since   the interrupt `PCIe bwctrl` Linux 6.13; it carries the port's address where the irq chip has a name per device
By hand cat /sys/module/pcie_aspm/parameters/policy; grep bwctrl /proc/interrupts
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from boxcheck.host import Host
from boxcheck.model import Bdf, Unread
from boxcheck.probes.gpus import Gpus
from boxcheck.probes.links import Links
from boxcheck.probes.pci import PciInventory
from boxcheck.registry import probe


class PcieRuntime(msgspec.Struct, frozen=True):
    aspm_policy: str | None | Unread
    """`default`, `performance`, `powersave`, `powersupersave`; None when the kernel has no ASPM."""
    link_changes: Mapping[Bdf, int] | Unread
    """Port -> interrupts of the bandwidth controller since boot. Empty before Linux 6.13."""
    port_control: Mapping[Bdf, str]
    """Port above a GPU -> `on` or `auto` of its runtime power management."""


def parse_policy(text: str) -> str | None:
    """`[default] performance powersave` -> default."""
    found = re.search(r"\[(\w+)\]", text)
    return found.group(1) if found else None


def parse_link_changes(text: str) -> Mapping[Bdf, int]:
    """Sums of the `PCIe bwctrl` lines of /proc/interrupts by port, where the line names the port."""
    found: dict[Bdf, int] = {}
    for line in text.splitlines():
        if "bwctrl" not in line:
            continue
        head, _, rest = line.partition(":")
        port = re.search(r"MSI[X-]*-([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])", rest)
        if port is None or not head.strip().isdecimal():
            continue
        total = 0
        for word in rest.split():
            if not word.isdecimal():
                break
            total += int(word[:19])
        bdf = Bdf(port.group(1))
        found[bdf] = found.get(bdf, 0) + total
    return found


@probe("pcie_runtime", PcieRuntime, reads=[PciInventory, Links, Gpus])
def pcie_runtime(host: Host, pci: PciInventory, links: Links, gpus: Gpus) -> PcieRuntime:
    policy = host.text("/sys/module/pcie_aspm/parameters/policy")
    interrupts = host.text("/proc/interrupts")
    control: dict[Bdf, str] = {}
    for gpu in gpus.gpus:
        for link in links.chain(gpu.bdf):
            text = host.text(f"{pci.functions[link.id].path}/power/control")
            if isinstance(text, str):
                control[link.id] = text
    return PcieRuntime(
        policy if isinstance(policy, Unread) and policy.kind != "absent" else (
            None if isinstance(policy, Unread) else parse_policy(policy)),
        interrupts if isinstance(interrupts, Unread) else parse_link_changes(interrupts)
        if interrupts.lstrip().startswith("CPU") else Unread("/proc/interrupts is no table", "malformed"), control,
    )

"""PCIe Advanced Error Reporting: counters, and whether anybody counts.

Reads   /sys/bus/pci/devices/<bdf>/aer_dev_{correctable,nonfatal,fatal}, aer_rootport_total_err_{cor,nonfatal,fatal}
        (Linux >= 4.19, any user); /sys/bus/pci_express/drivers/aer, /proc/cmdline, /proc/uptime
Absent  when the device has no AER capability or the kernel was built without AER.
Zero    proves nothing where nobody counts: firmware keeps AER (_OSC), pci=noaer, pcie_ports=compat, reporting off in
        DevCtl, errors masked. Liveness is a fact of its own.
By hand cat /sys/bus/pci/devices/0000:40:01.1/aer_dev_correctable

Counters run since boot. A port counts what arrives damaged: bad TLPs at the root port came from the card
(Documentation/ABI/testing/sysfs-bus-pci-devices-aer). The ABI page and Linux 4.19 print long names, later kernels short
ones; both are read into the short ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from boxcheck.decode.pci_aer import (
    AER_CORRECTABLE,
    AER_CORRECTABLE_BIT,
    AER_UNCORRECTABLE,
    AER_UNCORRECTABLE_BIT,
)
from boxcheck.host import Host
from boxcheck.model import Bdf, Unread
from boxcheck.probes.attributes import parse_uptime
from boxcheck.probes.pci import PciFunction, PciInventory
from boxcheck.registry import probe

SIGNAL = ("RxErr", "BadTLP", "BadDLLP", "Rollover", "Timeout")
"""Correctable errors that the wire makes. NonFatalErr is advisory and never counts against a link; CorrIntErr and
HeaderOF are the device's own."""

ADVISORY = "NonFatalErr"

OLDEST_FATES = ("DLP", "TLP", "CmpltTO", "MalfTLP", "UnsupReq")
"""Uncorrectable errors of PCI Express 1.0a: every kernel that has the counter files prints them (also at 0)."""


class AerCounters(msgspec.Struct, frozen=True):
    """Counts since boot by short kernel name; zeros are kept. TOTAL_ lines are under `TOTAL`."""

    bdf: Bdf
    correctable: Mapping[str, int] | Unread
    nonfatal: Mapping[str, int] | Unread
    fatal: Mapping[str, int] | Unread


class RootTotals(msgspec.Struct, frozen=True):
    """Error messages that arrived at a root port from anywhere below it."""

    correctable: int | Unread
    nonfatal: int | Unread
    fatal: int | Unread


class Aer(msgspec.Struct, frozen=True):
    counters: Mapping[Bdf, AerCounters]
    root_totals: Mapping[Bdf, RootTotals]
    service_ports: frozenset[Bdf] | Unread
    """Ports that the kernel's AER service driver is bound to."""
    disabled_by: str | None | Unread
    """The word of the kernel command line that switches AER off, None when there is none."""
    uptime_seconds: float | Unread
    uncounted: Mapping[Bdf, Unread]
    """Functions without an aer_dev_correctable, and why: `absent` (the machine has no such file: no AER capability, or
    a kernel without AER) or `not-captured` (nobody knows)."""


def parse_counters(
    text: str, spellings: Mapping[str, int], names: Mapping[int, str], needed: Iterable[str] = ()
) -> Mapping[str, int] | Unread:
    """`BadTLP 412` lines -> {"BadTLP": 412}. Unknown names stay as the kernel spells them (`dev_cor_errs_bit[9]`).

    `needed` are the names that every kernel prints: a file without one of them was cut, and its zeros prove nothing.
    """
    found: dict[str, int] = {}
    for line in text.splitlines()[:80]:
        name, _, count = line.strip().rpartition(" ")
        if not name:
            continue
        if not count.isdecimal():
            return Unread(f"an AER counter line is not `name count`: {line[:40]!r}", "malformed")
        if name.startswith("TOTAL_"):
            name = "TOTAL"
        elif name in spellings:
            name = names[spellings[name]]
        found[name] = found.get(name, 0) + int(count[:20])
    if not found:
        return Unread("the AER counter file is empty", "malformed")
    lost = [name for name in needed if name not in found]
    return Unread(f"the AER counter file has no line for {', '.join(lost)}", "malformed") if lost else found


def unnamed(counts: Mapping[str, int]) -> int:
    """Messages in the total that no counter with a name accounts for. One message can set several of the named bits,
    so the named ones may well add up to more."""
    return max(counts.get("TOTAL", 0) - sum(count for name, count in counts.items() if name != "TOTAL"), 0)


def is_advisory(
    nonfatal: Mapping[str, int] | Unread, correctable: Mapping[str, int] | Unread, messages: int | Unread | None,
) -> bool:
    """Whether a device reported all its non-fatal errors as advisory, so that none is an uncorrectable one.

    Since Linux 7.3 the kernel counts an advisory error twice: as the NonFatalErr that the device reported, and as the
    non-fatal error that it took for harmless (drivers/pci/pcie/aer.c, aer_print_error). No message of a non-fatal error
    came then. `messages` are those that the root port above counted (aer_rootport_total_err_nonfatal); only 0 shows it.
    """
    if messages != 0 or isinstance(nonfatal, Unread) or isinstance(correctable, Unread):
        return False
    return 0 < nonfatal.get("TOTAL", 0) <= correctable.get(ADVISORY, 0)


def _counters(host: Host, function: PciFunction) -> AerCounters | Unread:
    text = host.text(f"{function.path}/aer_dev_correctable")
    if isinstance(text, Unread) and text.kind in ("absent", "not-captured"):
        return text
    nonfatal = host.text(f"{function.path}/aer_dev_nonfatal")
    fatal = host.text(f"{function.path}/aer_dev_fatal")
    return AerCounters(
        function.bdf,
        text if isinstance(text, Unread) else parse_counters(text, AER_CORRECTABLE_BIT, AER_CORRECTABLE, SIGNAL),
        *(
            kind if isinstance(kind, Unread)
            else parse_counters(kind, AER_UNCORRECTABLE_BIT, AER_UNCORRECTABLE, OLDEST_FATES)
            for kind in (nonfatal, fatal)
        ),
    )


def parse_total(text: str | Unread) -> int | Unread:
    """The count in an aer_rootport_total_err file; Unread when it is none, or was not read."""
    if isinstance(text, Unread):
        return text
    return int(text[:20]) if text.isdecimal() else Unread(f"{text[:20]!r} is no count", "malformed")


def _services(host: Host) -> frozenset[Bdf] | Unread:
    """Devices of the AER service driver: `0000:40:01.1:pcie002` names the port."""
    names = host.entries("/sys/bus/pci_express/drivers/aer")
    if isinstance(names, Unread):
        return frozenset() if names.kind == "absent" else names
    return frozenset(Bdf(name.rsplit(":", 1)[0]) for name in names if ":pcie" in name)


def parse_disabled(cmdline: str) -> str | None:
    """The word that switches AER off (Documentation/admin-guide/kernel-parameters.txt), None when there is none.

    Any word that switches it off holds, whatever stands before or after it (drivers/pci/pcie/portdrv.c: each only sets
    its flag).
    """
    for word in cmdline.split():
        key, _, value = word.partition("=")
        if key == "pci" and "noaer" in value.split(","):
            return "pci=noaer"
        if key == "pcie_ports" and value == "compat":
            return "pcie_ports=compat"
    return None


@probe("aer", Aer, reads=[PciInventory])
def aer(host: Host, pci: PciInventory) -> Aer:
    counters: dict[Bdf, AerCounters] = {}
    totals: dict[Bdf, RootTotals] = {}
    uncounted: dict[Bdf, Unread] = {}
    for function in pci.functions.values():
        found = _counters(host, function)
        if isinstance(found, Unread):
            uncounted[function.bdf] = found
            continue
        counters[function.bdf] = found
        if function.is_bridge and function.parent is None:
            totals[function.bdf] = RootTotals(*(
                parse_total(host.text(f"{function.path}/aer_rootport_total_err_{name}"))
                for name in ("cor", "nonfatal", "fatal")
            ))
    cmdline = host.text("/proc/cmdline")
    uptime = host.text("/proc/uptime")
    return Aer(
        counters, totals, _services(host), cmdline if isinstance(cmdline, Unread) else parse_disabled(cmdline),
        uptime if isinstance(uptime, Unread) else parse_uptime(uptime), uncounted,
    )

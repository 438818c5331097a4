"""NVMe drives: identity, state, size, and the drive's own account of its health.

Reads   /sys/class/nvme/nvme*/{model,serial,firmware_rev,state,transport,address}, size, ro of namespaces  (any user)
        `nvme smart-log /dev/nvmeN -o json` (nvme-cli), a read-only admin command                            (root)
Absent  /sys/class/nvme where the driver is not loaded: then there is no drive that it drives.
By hand nvme list; sudo nvme smart-log /dev/nvme0

The link of a drive is in the Links fact, by its bus address; its temperature in the Sensors fact.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from boxcheck.decode.text import clean_text
from boxcheck.host import Host
from boxcheck.model import Bdf, Unread
from boxcheck.probes.attributes import integer, numbered, words
from boxcheck.probes.pci import PciInventory, parse_bdf
from boxcheck.registry import probe

CLASS = "/sys/class/nvme"
SECTOR_BYTES = 512
"""Unit of `size` in sysfs, whatever the drive's own block size."""
NVME_CLASS_CODE = 0x010802
SMART_TIMEOUT_SECONDS = 5.0
_NAMESPACE = re.compile(r"nvme\d{1,4}(?:c\d{1,4})?n\d{1,9}")


class Namespace(msgspec.Struct, frozen=True):
    name: str
    size_bytes: int | Unread
    read_only: bool | None | Unread = None
    """None where that was not read."""


NO_FILE = ("absent", "not-captured")
"""The hidden paths of multipath have no `ro`, and captures of others leave it out."""


class SmartLog(msgspec.Struct, frozen=True, kw_only=True):
    """The SMART / Health Information log page (NVM Express Base Specification 2.0, 5.16.1.3)."""

    critical_warning: int
    """Bits: 0 spare low, 1 temperature, 2 reliability degraded, 3 read-only, 4 volatile memory backup, 5 persistent
    memory region."""
    spare_percent: int | None
    spare_threshold_percent: int | None
    used_percent: int | None
    """May exceed 100."""
    media_errors: int | None
    unsafe_shutdowns: int | None
    power_on_hours: int | None
    temperature_celsius: float | None


class NvmeDrive(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    """`nvme0`."""
    bdf: Bdf | None
    """None for a drive over a network fabric."""
    transport: str | None | Unread
    model: str | None | Unread
    serial: str | None | Unread
    firmware: str | None | Unread
    state: str | None | Unread
    """`live`, `resetting`, `connecting`, `deleting`, `dead` ..."""
    namespaces: tuple[Namespace, ...]
    smart: SmartLog | Unread
    namespaces_unread: Unread | None = None
    """Why its namespaces could not be listed; then `namespaces` is empty and proves nothing."""


class Nvme(msgspec.Struct, frozen=True):
    drives: tuple[NvmeDrive, ...]
    """Of the PCIe kind and others."""
    undriven: tuple[Bdf, ...]
    """NVMe controllers on the PCI bus that the nvme driver does not drive."""
    unreadable: Unread | None = None
    """Set when the drives could not be listed; then `drives` is empty and proves nothing."""


def _count(table: Mapping[str, Any], *names: str) -> int | None:
    """A counter under one of its names. nvme-cli prints 128-bit ones as numbers, as text or as floats."""
    for name in names:
        value = table.get(name)
        if isinstance(value, bool):
            continue
        if isinstance(value, int):
            return value
        if isinstance(value, float) and value == value and abs(value) < 1e40:
            return int(value)
        if isinstance(value, str) and value.replace(",", "").isdecimal() and len(value) < 60:
            return int(value.replace(",", ""))
    return None


def parse_smart_log(text: str) -> SmartLog | Unread:
    """What `nvme smart-log -o json` prints, in nvme-cli 1.x and 2.x."""
    try:
        table = msgspec.json.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        import json  # takes NaN and what else is no number to JSON; importing it costs more than the rest of this file

        try:
            table = json.loads(text)
        except (ValueError, RecursionError):
            return Unread("nvme smart-log printed no JSON", "malformed")
    if not isinstance(table, dict):
        return Unread("nvme smart-log printed no JSON object", "malformed")
    warning = table.get("critical_warning")
    if isinstance(warning, dict):  # nvme-cli 2.x with -v
        warning = warning.get("value")
    if not isinstance(warning, int) or isinstance(warning, bool) or not 0 <= warning <= 0xFF:
        return Unread("nvme smart-log printed no critical_warning", "malformed")
    kelvin = _count(table, "temperature")
    return SmartLog(
        critical_warning=warning, spare_percent=_count(table, "avail_spare"),
        spare_threshold_percent=_count(table, "spare_thresh"),
        used_percent=_count(table, "percent_used", "percentage_used"), media_errors=_count(table, "media_errors"),
        unsafe_shutdowns=_count(table, "unsafe_shutdowns"), power_on_hours=_count(table, "power_on_hours"),
        temperature_celsius=None if kelvin is None or not 200 < kelvin < 500 else round(kelvin - 273.15, 1),
    )


def _smart(host: Host, name: str, root: bool | Unread) -> SmartLog | Unread:
    if root is False:
        return Unread("the drive's health log needs root and nvme-cli", "permission")
    answer = host.run(["nvme", "smart-log", f"/dev/{name}", "-o", "json"], SMART_TIMEOUT_SECONDS)
    if isinstance(answer, Unread):
        return Unread("nvme-cli is not installed", "absent") if answer.kind == "absent" else answer
    if answer.exit != 0:
        why = clean_text((answer.stderr or answer.stdout).split("\n", 1)[0], 80)
        return Unread(f"nvme smart-log /dev/{name} failed: {why or f'exit status {answer.exit}'}", "error")
    return parse_smart_log(answer.stdout)


def _namespaces(host: Host, name: str, inside: tuple[str, ...]) -> tuple[Namespace, ...]:
    """Namespaces of one controller. With multipath on, they and its own paths to them (nvme0c1n1) have the number of
    its subsystem, which need not be its own (drivers/nvme/host/multipath.c, nvme_mpath_set_disk_name)."""
    found = []
    for entry in inside:
        if _NAMESPACE.fullmatch(entry):
            sectors = integer(host, f"{CLASS}/{name}/{entry}/size")
            refuses = integer(host, f"/sys/class/block/{entry}/ro")
            found.append(Namespace(
                entry, sectors if isinstance(sectors, Unread) else sectors * SECTOR_BYTES,
                refuses != 0 if isinstance(refuses, int) else None if refuses.kind in NO_FILE else refuses))
    return tuple(found)


def _drive(host: Host, name: str, root: bool | Unread) -> NvmeDrive:
    base = f"{CLASS}/{name}"
    inside = host.entries(base)
    device = host.target(f"{base}/device")
    bdf = parse_bdf(device.rsplit("/", 1)[-1]) if isinstance(device, str) else None
    if bdf is None:
        address = host.text(f"{base}/address")
        bdf = parse_bdf(address) if isinstance(address, str) else None
    return NvmeDrive(
        name=name, bdf=bdf, transport=words(host, f"{base}/transport"), model=words(host, f"{base}/model"),
        serial=words(host, f"{base}/serial"), firmware=words(host, f"{base}/firmware_rev"),
        state=words(host, f"{base}/state"),
        namespaces=() if isinstance(inside, Unread) else _namespaces(host, name, inside),
        smart=_smart(host, name, root), namespaces_unread=inside if isinstance(inside, Unread) else None,
    )


@probe("nvme", Nvme, reads=[PciInventory])
def nvme(host: Host, pci: PciInventory) -> Nvme:
    controllers = [function for function in pci.functions.values() if function.class_code == NVME_CLASS_CODE]
    undriven = tuple(function.bdf for function in controllers if function.driver is None)
    names = host.entries(CLASS)
    if isinstance(names, Unread):
        return Nvme((), undriven, None if names.kind == "absent" else names)
    who = host.who()
    root = who if isinstance(who, Unread) else who.root
    return Nvme(tuple(_drive(host, name, root) for name in numbered(names, "nvme")), undriven)

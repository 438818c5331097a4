"""The text of dmidecode, brought to the values that boxcheck decodes from the table itself (`smbios_facts`).

A structure begins at `Handle 0x0011, DMI type 17, 92 bytes`, or, with `-q`, at its title. Rows are `Name: value`; lists
(characteristics, flags) are passed over. Layouts of dmidecode 2.12 to 3.7: sizes in MB or GiB, speeds in MHz or MT/s,
`Configured Clock Speed` before 3.2. Names tell the row, so indentation is not needed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from boxcheck.decode import smbios_facts as facts
from boxcheck.decode.klog.words import normal_bdf
from boxcheck.decode.text import clean_text
from boxcheck.model import Bdf, Unread

MOST_STRUCTURES = 4000
MOST_ROWS = 64

TITLES: Mapping[str, int] = {
    "BIOS Information": 0, "System Information": 1, "Base Board Information": 2, "Chassis Information": 3,
    "Processor Information": 4, "Cache Information": 7, "Port Connector Information": 8,
    "System Slot Information": 9, "On Board Device Information": 10, "OEM Strings": 11,
    "System Configuration Options": 12, "BIOS Language Information": 13, "Group Associations": 14,
    "System Event Log": 15, "Physical Memory Array": 16, "Memory Device": 17, "32-bit Memory Error Information": 18,
    "Memory Array Mapped Address": 19, "Memory Device Mapped Address": 20, "Built-in Pointing Device": 21,
    "Portable Battery": 22, "System Reset": 23, "Hardware Security": 24, "System Power Controls": 25,
    "Voltage Probe": 26, "Cooling Device": 27, "Temperature Probe": 28, "Electrical Current Probe": 29,
    "Out-of-band Remote Access": 30, "System Boot Information": 32, "64-bit Memory Error Information": 33,
    "Management Device": 34, "Management Device Component": 35, "Management Device Threshold Data": 36,
    "IPMI Device Information": 38, "System Power Supply": 39, "Onboard Device": 41,
    "Management Controller Host Interface": 42, "TPM Device": 43, "OEM-specific Type": 128, "Unknown Type": 129,
    "End Of Table": 127, "Memory Controller Information": 5, "Memory Module Information": 6,
    "Additional Information": 40, "Inactive": 126, "Firmware Inventory Information": 45, "String Property": 46,
}
"""Titles of the structures, by type."""

_HANDLE = re.compile(r"Handle 0x([0-9A-Fa-f]{4}), DMI type (\d{1,3}), \d{1,4} bytes\.?$")
_NUMBERED = re.compile(r"(?:Additional Information|On Board Device) \d{1,2}(?: Information)?$")
_NUMBERED_ROW = re.compile(r"(?:String|Option|Descriptor|Data Format|Language|Boot Option|Strings?) \d{1,3}$")
_ROW = re.compile(r"([A-Z][A-Za-z0-9 ./()#-]{0,46}?):(?: (.{0,300})|\s*)$")
_LIST = re.compile(r".{2,60} (?:is|are) (?:supported|provided|shared|upgradeable|allowed|socketed|removable|replaceable"
                   r"|not supported|a hosting board|hot swappable|not hot swappable)\b.{0,30}$"
                   r"|[A-Z0-9][A-Z0-9-]{1,11} \([A-Za-z0-9 ,/-]{3,60}\)$"
                   r"|(?:64-bit capable|Multi-Core|Hardware Thread|Execute Protection|Enhanced Virtualization"
                   r"|Power/Performance Control|Write-through|None|Pipeline Burst|Burst|Non-burst"
                   r"|Synchronous|Asynchronous|Unknown|Other|DIMM|SIMM|[a-z]{2}\|[A-Z]{2}\|[\w-]{3,12}"
                   r"|(?:[0-9A-F]{2} ){1,15}[0-9A-F]{2}|FPM|EDO|Parity|ECC|[0-9A-F]{32}|\d{2} ns)$"
                   r"|.{2,40} is (?:available|enabled|disabled)$")
_PREAMBLE = re.compile(r"# dmidecode \d\.\d{1,2}|Getting SMBIOS data from |SMBIOS \d\.\d{1,2}(?:\.\d)? present\.?$"
                       r"|Table at 0x[0-9A-F]{4,16}\.?$|\d{1,5} structures occupying \d{1,7} bytes\.?$"
                       r"|# SMBIOS implementations newer|# fully supported by this version|Scanning /dev/mem"
                       r"|Wrong DMI structures|Invalid entry length|Table is unreachable|Reading SMBIOS/DMI data")
_WORD = re.compile(r"[A-Za-z0-9<(\[]")
_SIZE = re.compile(r"(\d{1,7}) (bytes|kB|MB|GB|TB|KiB|MiB|GiB|TiB)$")
_SPEED = re.compile(r"(\d{1,6}) (?:MT/s|MHz)$")
_BITS = re.compile(r"(\d{1,5}) bits$")
_COUNT = re.compile(r"(\d{1,6})$")
_LANES = re.compile(r"x(\d{1,2}) ")
_TYPE_LANES = re.compile(r" x(\d{1,2})$")
_EXPRESS = re.compile(r"PCI Express (\d)(?: |$|\+)")
_UNITS = {"bytes": 1, "kB": 1 << 10, "KiB": 1 << 10, "MB": 1 << 20, "MiB": 1 << 20, "GB": 1 << 30, "GiB": 1 << 30,
          "TB": 1 << 40, "TiB": 1 << 40}
"""dmidecode writes MB and means MiB."""
_NO_ADDRESS = ("0000:00:00.0",)
_NO_DEVICE = "ff:1f.7"
"""Bus and device of all ones."""
NAMES = frozenset((
    "access address", "access method", "accuracy", "address", "administrator password status", "area length",
    "array handle", "asset tag", "associated memory slots", "associativity", "bank connections", "bank locator",
    "base address", "bios revision", "boot option", "boot option on limit", "boot-up state", "bus address",
    "cache size", "change token", "characteristics", "chassis handle", "configuration", "configured clock speed",
    "configured memory speed", "configured voltage", "contained elements", "contained object handles",
    "cooling device handle", "cooling unit group", "core count", "core enabled", "current interleave",
    "current speed", "current usage", "currently installed language", "data bus width", "data start offset",
    "data width", "description", "designation", "device address", "device type",
    "enabled error correcting capabilities", "enabled size", "ending address", "error correcting capabilities",
    "error correction type", "error detecting method", "error information handle", "error status", "external clock",
    "external connector type", "external reference designator", "family", "features", "firmware revision",
    "firmware version", "flags", "form factor", "front panel reset status", "granularity", "header and data",
    "header format", "header length", "header start offset", "height", "host interface type",
    "host ip address format", "host ip assignment type", "hot replaceable", "i2c slave address", "id",
    "inbound connection", "input current probe handle", "input voltage probe handle", "input voltage range switching",
    "installable languages", "installed size", "installed sram type", "interface type", "interleave position",
    "interleaved data depth", "internal connector type", "internal reference designator", "ipv4 address", "ipv4 mask",
    "ipv4 redfish service address", "ipv4 redfish service mask", "keyboard password status", "l1 cache handle",
    "l2 cache handle", "l3 cache handle", "language description format", "length", "location", "location in chassis",
    "locator", "lock", "logical size", "manufacturer", "manufacturer name", "max power capacity", "max speed",
    "maximum capacity", "maximum memory module size", "maximum size", "maximum total memory size", "maximum value",
    "maximum voltage", "memory array address", "memory array mapped address handle", "memory module voltage",
    "memory operating mode capability", "memory subsystem controller manufacturer id",
    "memory subsystem controller product id", "memory technology", "minimum value", "minimum voltage",
    "model part number", "module manufacturer id", "module product id", "name", "nominal speed", "nominal value",
    "non-volatile size", "number of devices", "number of power cords", "nv storage device",
    "nv storage device address", "oem information", "oem-specific information", "operation", "operational mode",
    "outbound connection", "part number", "partition row position", "partition width", "peer devices",
    "physical array handle", "physical device handle", "pitch", "plugged", "pmic0 manufacturer id",
    "pmic0 revision number", "port type", "power supply state", "power unit group", "power-on password status",
    "product name", "protocol id", "range size", "rank", "rcd manufacturer id", "rcd revision number",
    "redfish service hostname", "redfish service ip address format", "redfish service ip discovery type",
    "redfish service port", "redfish service vlan", "reference designation", "referenced handle", "referenced offset",
    "register spacing", "release date", "reset count", "reset limit", "resolution", "revision", "rom size",
    "runtime size", "security status", "serial number", "service uuid", "set", "signature", "size", "sku number",
    "slot length", "slot physical width", "socket designation", "specification version", "speed", "starting address",
    "status", "string", "strings", "supported interleave", "supported log type descriptors", "supported memory types",
    "supported speeds", "supported sram types", "system type", "temperature probe handle", "thermal state",
    "thread count", "thread enabled", "timeout", "timer interval", "tolerance", "total width", "type", "type detail",
    "type instance", "upgrade", "use", "uuid", "value", "vendor", "vendor id", "vendor syndrome", "version",
    "volatile size", "voltage", "wake-up type", "watchdog timer",
))


class Structure(msgspec.Struct, frozen=True, kw_only=True):
    """One structure as printed."""

    offset: int
    kind: int
    handle: int
    rows: Mapping[str, str]


def is_start(line: str) -> bool:
    """Whether the line begins a structure or the whole output."""
    text = line.strip()[:200]
    return _HANDLE.match(text) is not None or text in TITLES or _PREAMBLE.match(text) is not None


def is_row(line: str) -> bool:
    """Whether the line is one of dmidecode's."""
    text = line[:400].strip()
    if line.startswith(("\t", "   ")) and _WORD.match(text):
        return True
    found = _ROW.match(text)
    if found is not None and (found[1].lower() in NAMES or _NUMBERED_ROW.match(found[1])):
        return True
    return is_start(text) or _NUMBERED.match(text) is not None or _LIST.match(text) is not None


def structures(lines: Sequence[str]) -> list[Structure]:
    """The structures of a text, in order."""
    found: list[Structure] = []
    rows: dict[str, str] = {}
    open_: tuple[int, int, int] | None = None
    titled = False

    def close() -> None:
        if open_ is not None and len(found) < MOST_STRUCTURES:
            found.append(Structure(offset=open_[0], kind=open_[1], handle=open_[2], rows=dict(rows)))

    for offset, line in enumerate(lines):
        text = line.strip()[:400]
        head = _HANDLE.match(text)
        if head is not None or (text in TITLES and (titled or open_ is None or TITLES[text] != open_[1])):
            close()
            if len(found) >= MOST_STRUCTURES:
                return found
            rows = {}
            kind = int(head[2]) if head is not None else TITLES[text]
            # Without handles (`-q`) a structure has none; its place in the text serves.
            open_ = (offset, kind, int(head[1], 16) if head is not None else 0x10000 + offset)
            titled = head is None
            continue
        row = _ROW.match(text) if open_ is not None and len(rows) < MOST_ROWS else None
        if row is not None:
            rows.setdefault(row[1].lower(), (row[2] or "").strip())
    close()
    return found


def _unsaid(text: str | None, what: str) -> Unread:
    return Unread(f"dmidecode gives no {what}" if text is None else f"the firmware gives no {what}", "absent")


def _string(text: str | None) -> str | None:
    return clean_text(text.strip(), 96) if text is not None and text.strip() not in ("Not Specified", "") else None


def _measure(pattern: re.Pattern[str], text: str | None, what: str) -> int | Unread:
    found = pattern.match(text) if text else None
    return int(found[1]) if found is not None else _unsaid(text, what)


def size_bytes(text: str | None) -> int | Unread:
    """`64 GB`, `16384 MB`; `No Module Installed` is 0."""
    if text in ("No Module Installed", "Not Installed"):
        return 0
    found = _SIZE.match(text) if text else None
    return int(found[1]) * _UNITS[found[2]] if found is not None else _unsaid(text, "size")


def _words(text: str | None, what: str) -> str | Unread:
    return _unsaid(text, what) if text is None or text in ("", "Unknown", "<OUT OF SPEC>", "Other") else (
        clean_text(text, 64))


def slot_address(text: str | None) -> Bdf | Unread:
    """The address of what is in a slot; boards that do not fill it in print 0000:00:00.0, the host bridge."""
    plain = (text or "").strip()
    found = normal_bdf(plain) if plain not in _NO_ADDRESS and not plain.endswith(_NO_DEVICE) else None
    return found if found is not None else _unsaid(text, "address")


def _slot(one: Structure) -> facts.Slot:
    """`Type: x8 PCI Express 4 x16`: the width that is wired, then the slot's type with the connector's lanes."""
    rows = one.rows
    kind = rows.get("type", "")
    lanes, express = _LANES.match(kind + " "), _EXPRESS.search(kind)
    width = int(lanes[1]) if lanes is not None else _unsaid(kind or None, "width")
    connector = _TYPE_LANES.search(kind)
    return facts.Slot(
        handle=one.handle, designation=_string(rows.get("designation")), kind=_words(kind or None, "type"),
        pcie_generation=int(express[1]) if express is not None else _unsaid(kind or None, "generation"),
        type_lanes=int(connector[1]) if connector is not None else _unsaid(kind or None, "lanes of the type"),
        width_lanes=width, usage=_words(rows.get("current usage"), "usage"),
        length=_words(rows.get("length"), "length"), id=_measure(_COUNT, rows.get("id"), "id"),
        characteristics=_unsaid(None, "characteristics"), hot_plug=_unsaid(None, "characteristics"),
        address=slot_address(rows.get("bus address")), base_width_lanes=_unsaid(None, "base width"), peers=(),
        physical_width_lanes=_unsaid(None, "physical width"))


def _array(one: Structure) -> facts.MemoryArray:
    rows = one.rows
    return facts.MemoryArray(
        handle=one.handle, location=_words(rows.get("location"), "location"), use=_words(rows.get("use"), "use"),
        error_correction=_words(rows.get("error correction type"), "error correction"),
        maximum_capacity_bytes=size_bytes(rows.get("maximum capacity")),
        devices=_measure(_COUNT, rows.get("number of devices"), "count"))


def _device(one: Structure) -> facts.MemoryDevice:
    rows = one.rows
    array = re.match(r"0x([0-9A-Fa-f]{4})$", rows.get("array handle", ""))
    configured = rows.get("configured memory speed", rows.get("configured clock speed"))
    return facts.MemoryDevice(
        handle=one.handle, array_handle=int(array[1], 16) if array is not None else _unsaid(None, "array"),
        locator=_string(rows.get("locator")), bank_locator=_string(rows.get("bank locator")),
        size_bytes=size_bytes(rows.get("size")), form_factor=_words(rows.get("form factor"), "form factor"),
        kind=_words(rows.get("type"), "type"), details=_unsaid(None, "details"),
        speed_mts=_measure(_SPEED, rows.get("speed"), "speed"),
        configured_speed_mts=_measure(_SPEED, configured, "configured speed"),
        rank=_measure(_COUNT, rows.get("rank"), "rank"),
        total_width_bits=_measure(_BITS, rows.get("total width"), "width"),
        data_width_bits=_measure(_BITS, rows.get("data width"), "width"),
        manufacturer=_string(rows.get("manufacturer")), serial=_string(rows.get("serial number")),
        asset=_string(rows.get("asset tag")),
        part=_string(rows.get("part number")))


def _processor(one: Structure) -> facts.Processor:
    rows = one.rows
    status = rows.get("status", "")
    populated: bool | Unread = _unsaid(None, "status")
    if status:
        populated = status.startswith("Populated")
    unsaid = _unsaid(None, "value")
    return facts.Processor(
        handle=one.handle, socket=_string(rows.get("socket designation")), kind=_words(rows.get("type"), "type"),
        manufacturer=_string(rows.get("manufacturer")), version=_string(rows.get("version")), populated=populated,
        state=_words(status.partition(", ")[2] or None, "state"),
        cores=_measure(_COUNT, rows.get("core count"), "cores"),
        cores_enabled=_measure(_COUNT, rows.get("core enabled"), "cores"),
        threads=_measure(_COUNT, rows.get("thread count"), "threads"), threads_enabled=unsaid,
        max_speed_mhz=_measure(_SPEED, rows.get("max speed"), "speed"),
        current_speed_mhz=_measure(_SPEED, rows.get("current speed"), "speed"), external_clock_mhz=unsaid,
        serial=_string(rows.get("serial number")), asset=_string(rows.get("asset tag")),
        part=_string(rows.get("part number")))


def smbios(found: Sequence[Structure], truncated: str | None) -> facts.Smbios:
    """The values of a listing. With `truncated` set (the text was cut, or -t showed some types) some may be missing."""
    def first(kind: int) -> Structure | None:
        return next((one for one in found if one.kind == kind), None)

    bios, system = first(0), first(1)
    unsaid = _unsaid(None, "value")
    return facts.Smbios(
        version=unsaid,
        bios=facts.missing("BIOS", 0, truncated) if bios is None else facts.Bios(
            handle=bios.handle, vendor=_string(bios.rows.get("vendor")), version=_string(bios.rows.get("version")),
            date=_string(bios.rows.get("release date")), uefi=unsaid, virtual_machine=unsaid),
        system=facts.missing("system", 1, truncated) if system is None else facts.System(
            handle=system.handle, manufacturer=_string(system.rows.get("manufacturer")),
            product=_string(system.rows.get("product name")), version=_string(system.rows.get("version")),
            serial=_string(system.rows.get("serial number")), uuid=_words(system.rows.get("uuid"), "UUID"),
            sku=_string(system.rows.get("sku number")), family=_string(system.rows.get("family"))),
        baseboards=tuple(facts.Baseboard(
            handle=one.handle, manufacturer=_string(one.rows.get("manufacturer")),
            product=_string(one.rows.get("product name")), version=_string(one.rows.get("version")),
            serial=_string(one.rows.get("serial number")), asset=_string(one.rows.get("asset tag")),
            location=_string(one.rows.get("location in chassis")), kind=_words(one.rows.get("type"), "type"),
            hosting=unsaid) for one in found if one.kind == 2),
        chassis=(), processors=tuple(_processor(one) for one in found if one.kind == 4),
        slots=tuple(_slot(one) for one in found if one.kind == 9),
        memory_arrays=tuple(_array(one) for one in found if one.kind == 16),
        memory_devices=tuple(_device(one) for one in found if one.kind == 17), ipmi=(), power_supplies=(),
        onboard_devices=(), others=(), truncated=truncated, faults=())

"""dmidecode as a second opinion: run it over a built table, read what it prints, compare with our values.

dmidecode is GPL and only ever run, never read into this project; what it prints is the specification's own wording.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from boxcheck.decode import smbios_facts as facts
from boxcheck.model import Unread
from tests.boxes.smbios_build import GIB, KIB, MIB, TIB, dump

UNSAID = {None, "Unknown", "<OUT OF SPEC>", "Unspecified", "Not Specified", "Not Provided", "Not Present", "None",
          "Not Settable", "<BAD INDEX>"}
"""How dmidecode prints a value that is not known, None being no line at all."""

NO_ADDRESS = {None, "0000:00:00.0", "0000:ff:1f.7"}
"""dmidecode prints these as they stand; ours knows that no slot is there (see `smbios_fields.address`)."""


class Block(msgspec.Struct):
    """One structure as dmidecode prints it."""

    handle: int
    type: int
    length: int
    values: dict[str, str]
    lists: dict[str, list[str]]


def blocks(text: str) -> list[Block]:
    """The structures of a dmidecode listing, in order."""
    found: list[Block] = []
    key = ""
    for line in text.splitlines():
        if line.startswith("Handle 0x"):
            handle, kind, length = line.split(", ")
            found.append(Block(int(handle.split()[1], 16), int(kind.split()[-1]), int(length.split()[0]), {}, {}))
        elif line.startswith("\t\t") and found:
            found[-1].lists.setdefault(key, []).append(line.strip())
        elif line.startswith("\t") and found:
            key, _, value = line.strip("\t").partition(":")
            found[-1].values.setdefault(key, value.strip())
    return found


def run(dmi: bytes, entry_point: bytes, folder: Path) -> list[Block]:
    """What dmidecode makes of a table; skips the test where it is not installed."""
    return blocks(run_text(dmi, entry_point, folder))


def run_text(dmi: bytes, entry_point: bytes, folder: Path) -> str:
    program = shutil.which("dmidecode") or shutil.which("/usr/sbin/dmidecode")
    if program is None:
        pytest.skip("dmidecode is not installed")
    path = folder / "dump.bin"
    path.write_bytes(dump(dmi, entry_point))
    done = subprocess.run([program, "--from-dump", str(path)], capture_output=True, timeout=60, check=True)
    return done.stdout.decode("utf-8", "replace")


def differences(ours: facts.Smbios, theirs: list[Block]) -> list[str]:
    """Every field of ours that is not what dmidecode printed, and every structure that only one of them has."""
    printed = {(block.type, block.handle): block for block in theirs}
    wrong = []
    for kind, handle, fields in described(ours):
        block = printed.pop((kind, handle), None)
        if block is None:
            wrong.append(f"type {kind} handle 0x{handle:04x}: not printed")
            continue
        empty = kind == 17 and block.values.get("Size") == "No Module Installed"
        for key, value in fields.items():
            shown = block.values.get(key)
            if empty and key not in block.values:
                continue  # dmidecode stops at the type detail of an empty socket
            if key == "Bus Address" and isinstance(value, Unread):
                same = shown in NO_ADDRESS
            elif value is None or isinstance(value, Unread):
                same = shown in UNSAID
            elif isinstance(value, tuple):
                same = list(value) == block.lists.get(key, [])
            elif isinstance(value, bool):
                same = (key in block.lists.get("Characteristics", []) + block.lists.get("Features", [])) == value
            elif shown is not None and kind == 9 and key == "Type":
                same = value in {_joined(shown), _joined(_NO_LANES.sub("", shown))}
            else:
                same = shown is not None and _joined(shown) == _joined(str(value))
            if not same:
                wrong.append(f"type {kind} handle 0x{handle:04x} {key}: ours {value!r}, dmidecode {shown!r} "
                             f"{block.lists.get(key, '')}")
    missed = [f"type {kind} handle 0x{handle:04x}: not decoded" for kind, handle in printed
              if kind in {0, 1, 2, 3, 4, 9, 16, 17, 38, 39, 41}]
    return wrong + missed


def _joined(shown: str) -> str:
    """One blank between words, and one word for a value that is not known."""
    return " ".join(shown.replace("<OUT OF SPEC>", "Unknown").split())


_NO_LANES = re.compile(r"^(\d+-bit|<OUT OF SPEC>) ")
"""How a slot's type begins when its width is no number of lanes."""


def described(ours: facts.Smbios) -> Iterator[tuple[int, int, dict[str, object]]]:
    """Our values by the keys, and in the spelling, that dmidecode uses."""
    if isinstance(ours.bios, facts.Bios):
        yield 0, ours.bios.handle, {
            "Vendor": ours.bios.vendor, "Version": ours.bios.version, "Release Date": ours.bios.date,
            "UEFI is supported": ours.bios.uefi, "System is a virtual machine": ours.bios.virtual_machine}
    if isinstance(ours.system, facts.System):
        system = ours.system
        yield 1, system.handle, {
            "Manufacturer": system.manufacturer, "Product Name": system.product, "Version": system.version,
            "Serial Number": system.serial, "UUID": system.uuid, "SKU Number": system.sku, "Family": system.family}
    for board in ours.baseboards:
        yield 2, board.handle, {
            "Manufacturer": board.manufacturer, "Product Name": board.product, "Version": board.version,
            "Serial Number": board.serial, "Asset Tag": board.asset, "Location In Chassis": board.location,
            "Type": board.kind, "Board is a hosting board": board.hosting}
    for case in ours.chassis:
        yield 3, case.handle, {
            "Manufacturer": case.manufacturer, "Type": case.kind, "Version": case.version, "Serial Number": case.serial,
            "Asset Tag": case.asset, "SKU Number": case.sku, "Number Of Power Cords": case.power_cords}
    for cpu in ours.processors:
        yield 4, cpu.handle, {
            "Socket Designation": cpu.socket, "Type": cpu.kind, "Manufacturer": cpu.manufacturer,
            "Version": cpu.version,
            "Status": f"Populated, {_plain(cpu.state)}" if cpu.populated is True else "Unpopulated",
            "Core Count": cpu.cores, "Core Enabled": cpu.cores_enabled, "Thread Count": cpu.threads,
            "Max Speed": _with(cpu.max_speed_mhz, "MHz"), "Current Speed": _with(cpu.current_speed_mhz, "MHz"),
            "External Clock": _with(cpu.external_clock_mhz, "MHz"), "Serial Number": cpu.serial,
            "Asset Tag": cpu.asset, "Part Number": cpu.part}
    for slot in ours.slots:
        yield 9, slot.handle, _slot(slot)
    for array in ours.memory_arrays:
        yield 16, array.handle, {
            "Location": array.location, "Use": array.use, "Error Correction Type": array.error_correction,
            "Maximum Capacity": _bytes(array.maximum_capacity_bytes), "Number Of Devices": array.devices}
    for device in ours.memory_devices:
        yield 17, device.handle, {
            "Array Handle": _with(device.array_handle, form="0x{:04X}"), "Locator": device.locator,
            "Bank Locator": device.bank_locator,
            "Size": "No Module Installed" if device.installed is False else _bytes(device.size_bytes),
            "Form Factor": device.form_factor, "Type": device.kind,
            "Type Detail": " ".join(device.details) or "None" if isinstance(device.details, tuple) else device.details,
            "Speed": _with(device.speed_mts, "MT/s"),
            "Configured Memory Speed": _with(device.configured_speed_mts, "MT/s"),
            "Rank": device.rank, "Total Width": _with(device.total_width_bits, "bits"),
            "Data Width": _with(device.data_width_bits, "bits"), "Manufacturer": device.manufacturer,
            "Serial Number": device.serial, "Asset Tag": device.asset, "Part Number": device.part}
    for bmc in ours.ipmi:
        yield 38, bmc.handle, _ipmi(bmc)
    for supply in ours.power_supplies:
        yield 39, supply.handle, {
            "Location": supply.location, "Name": supply.name, "Manufacturer": supply.manufacturer,
            "Serial Number": supply.serial, "Asset Tag": supply.asset, "Model Part Number": supply.part,
            "Revision": supply.revision, "Max Power Capacity": _with(supply.max_power_watts, "W"),
            "Status": f"Present, {_plain(supply.state)}" if supply.present is True else "Not Present",
            "Type": supply.kind, "Input Voltage Range Switching": supply.input_switching,
            "Plugged": "Yes" if supply.plugged is True else "No",
            "Hot Replaceable": "Yes" if supply.hot_replaceable is True else "No"}
    for chip in ours.onboard_devices:
        yield 41, chip.handle, {
            "Reference Designation": chip.designation, "Type": chip.kind,
            "Status": "Enabled" if chip.enabled is True else "Disabled", "Type Instance": chip.instance,
            "Bus Address": chip.address}


def _slot(slot: facts.Slot) -> dict[str, object]:
    kind = _plain(slot.kind)
    width = "" if isinstance(slot.width_lanes, Unread) else f"x{slot.width_lanes} "
    fields: dict[str, object] = {
        "Designation": slot.designation, "Type": width + kind, "Current Usage": slot.usage, "Length": slot.length,
        "Characteristics": slot.characteristics, "Bus Address": slot.address}
    if not isinstance(slot.base_width_lanes, Unread):
        fields["Data Bus Width"] = slot.base_width_lanes
    for number, peer in enumerate(slot.peers, start=1):
        fields[f"Peer Device {number}"] = f"{_plain(peer.address)} (Width {_plain(peer.width_lanes)})"
    if not isinstance(slot.physical_width_lanes, Unread):
        fields["Slot Physical Width"] = f"x{slot.physical_width_lanes}"
    return fields


def _ipmi(bmc: facts.IpmiDevice) -> dict[str, object]:
    names = {"KCS": "KCS (Keyboard Control Style)", "SMIC": "SMIC (Server Management Interface Chip)",
             "BT": "BT (Block Transfer)", "SSIF": "SSIF (SMBus System Interface)"}
    spacing = {1: "Successive Byte Boundaries", 4: "32-bit Boundaries", 16: "16-byte Boundaries"}
    fields: dict[str, object] = {
        "Interface Type": names.get(_plain(bmc.interface), bmc.interface), "Specification Version": bmc.revision,
        "I2C Slave Address": _with(bmc.i2c_address, form="0x{:02x}")}
    if bmc.io is True or bmc.io is False:
        space = "I/O" if bmc.io else "Memory-mapped"
        fields["Base Address"] = _with(bmc.base_address, f"({space})", form="0x{:016X}")
        fields["Register Spacing"] = spacing.get(bmc.register_spacing_bytes) if isinstance(
            bmc.register_spacing_bytes, int) else bmc.register_spacing_bytes
    return fields


def _plain(value: object) -> str:
    """Text of a value inside a longer one, where dmidecode writes Unknown for what is not known."""
    return "Unknown" if isinstance(value, Unread) else str(value)


def _with(value: int | Unread, unit: str = "", form: str = "{}") -> str | Unread:
    return value if isinstance(value, Unread) else f"{form.format(value)} {unit}".strip()


def _bytes(value: int | Unread) -> str | Unread:
    """A size as dmidecode prints it: the largest unit that divides it."""
    if isinstance(value, Unread):
        return value
    for size, unit in ((TIB, "TB"), (GIB, "GB"), (MIB, "MB"), (KIB, "kB")):
        if value % size == 0:
            return f"{value // size} {unit}"
    return f"{value} bytes"


def size_of(text: str) -> int:
    """The bytes of a size that dmidecode printed."""
    number, unit = text.split()
    return int(number) * {"kB": KIB, "MB": MIB, "GB": GIB, "TB": TIB, "bytes": 1}[unit]

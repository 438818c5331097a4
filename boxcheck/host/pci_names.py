"""Names of PCI vendors and devices, from the udev database of the machine or its copy of pci.ids. Live only.

Neither is a reading of hardware: names make an inventory readable and decide nothing. The answer is recorded with the
capture, so that an account reads the same elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from boxcheck.model import Unread

PLACES = ("/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids", "/usr/share/pci.ids")
"""Debian and Ubuntu; Fedora, Arch and SUSE; older systems."""


def from_udev() -> dict[str, str]:
    """`10de:2684` -> name, for the devices that udev knows. Empty where libudev or its database is missing."""
    try:
        import pyudev

        devices = list(pyudev.Context().list_devices(subsystem="pci"))
    except (ImportError, OSError):  # no libudev, or no udev in this container
        return {}
    found: dict[str, str] = {}
    for device in devices:
        key = str(device.properties.get("PCI_ID", "")).lower()
        vendor = device.properties.get("ID_VENDOR_FROM_DATABASE")
        model = device.properties.get("ID_MODEL_FROM_DATABASE")
        if key and vendor and model:
            found[key] = f"{vendor} {model}"
    return found


def parse_pci_ids(text: bytes, wanted: Iterable[str]) -> dict[str, str]:
    """Names of the wanted ids out of pci.ids: vendors at the line's start, devices after one tab."""
    found: dict[str, str] = {}
    for key in wanted:
        vendor, _, device = key.partition(":")
        start = text.find(b"\n" + vendor.encode() + b"  ")
        if start < 0:
            continue
        name_end = text.find(b"\n", start + 1)
        vendor_name = text[start + 7:name_end].decode("utf-8", "replace").strip()
        end = name_end
        while end >= 0 and text[end + 1:end + 2] in (b"\t", b"#"):  # the vendor's own lines
            line_end = text.find(b"\n", end + 1)
            line = text[end + 1:line_end if line_end >= 0 else None]
            if line.startswith(b"\t" + device.encode() + b"  "):
                found[key] = f"{vendor_name} {line[7:].decode('utf-8', 'replace').strip()}"
                break
            end = line_end
        found.setdefault(key, vendor_name)
    return found


def names_of(ids: Iterable[str]) -> Mapping[str, str] | Unread:
    """Names of the ids, from udev first, from pci.ids for the rest."""
    wanted = set(ids)
    found = {key: name for key, name in from_udev().items() if key in wanted}
    missing = sorted(wanted - found.keys())
    for place in PLACES if missing else ():
        try:
            with open(place, "rb") as stream:
                text = stream.read(16 << 20)
        except OSError:
            continue
        return {**found, **parse_pci_ids(b"\n" + text, missing)}
    return found or Unread("this machine has neither a udev database nor pci.ids", "absent")

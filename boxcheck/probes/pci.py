"""Every PCI function of the machine, with the ports above it.

Reads   /sys/bus/pci/devices/<bdf>/{vendor,device,subsystem_vendor,subsystem_device,revision,class,config,resource,
        current_link_speed,current_link_width,max_link_speed,max_link_width,numa_node,enable,power_state}
        and the links driver, iommu_group, physfn                (any user; without root only 64 bytes of config)
Since   link attributes Linux 4.13, power_state 5.12
Absent  the machine has no PCI bus, or the capture does not hold sysfs.
By hand lspci -Dnn; xxd /sys/bus/pci/devices/0000:41:00.0/config

The parent of a function is read from the real path of its directory, which nests as the buses do. Captures of other
tools may hold plain directories instead of links; then the bus numbers of the bridges tell.
Vendor and device come from the kernel's own files, which keep them after a device has fallen off the bus.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import msgspec

from boxcheck.decode.pci_config import ConfigSpace, decode_config
from boxcheck.host import Host
from boxcheck.model import Bdf, Unread
from boxcheck.registry import probe

DEVICES = "/sys/bus/pci/devices"

IORESOURCE_MEM = 0x200
IORESOURCE_DISABLED = 0x10000000
IORESOURCE_UNSET = 0x20000000
"""Flags of include/linux/ioport.h as they appear in the third column of `resource`."""

UNUSED = " ".join(["0x0000000000000000"] * 3)
"""A line of `resource` that holds nothing, which most do."""

_BDF = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")


class Region(msgspec.Struct, frozen=True):
    """One line of `resource`: BARs 0-5, expansion ROM 6, SR-IOV 7-12, bridge windows 13-16."""

    index: int
    start: int
    size_bytes: int
    flags: int

    @property
    def is_memory(self) -> bool:
        return bool(self.flags & IORESOURCE_MEM)

    @property
    def assigned(self) -> bool:
        """The kernel found room for it. Address 0 is never handed to a memory BAR, and a resource that the kernel has
        disabled is decoded by nobody."""
        return not self.flags & (IORESOURCE_UNSET | IORESOURCE_DISABLED) and self.start != 0


class SysfsLink(msgspec.Struct, frozen=True):
    """What the kernel's link attributes say. Speeds are None where the kernel prints `Unknown`; a width of 0 means no
    link, 63 that the register read all ones."""

    speed_gts: float | None
    width: int
    max_speed_gts: float | None
    max_width: int


class PciFunction(msgspec.Struct, frozen=True):
    bdf: Bdf
    path: str
    """Real directory under /sys/devices."""
    parent: Bdf | None
    """The bridge above, None on a root bus."""
    vendor: int
    device: int
    revision: int | None
    subsystem_vendor: int | None
    subsystem_device: int | None
    class_code: int
    """24 bits: base class, sub-class, programming interface."""
    driver: str | None | Unread
    """None when no driver is bound."""
    numa_node: int | None
    """None where the firmware says nothing (-1) or the file is missing."""
    iommu_group: int | None | Unread
    regions: tuple[Region, ...] | Unread
    link: SysfsLink | None | Unread
    """None when the function has no link attributes (not PCI Express, or integrated)."""
    config: ConfigSpace | Unread
    power_state: str | None = None
    virtual_function: bool = False
    estranged: bool = False
    """Config space names another device than the kernel found at boot: what answers is not what was there, so `config`
    is unread."""

    @property
    def pci_id(self) -> str:
        """`10de:2684`."""
        return f"{self.vendor:04x}:{self.device:04x}"

    @property
    def bus(self) -> str:
        """Domain and bus, `0000:41`."""
        return self.bdf.rsplit(":", 1)[0]

    @property
    def slot_address(self) -> str:
        """Domain, bus and device, `0000:41:00`: all functions of a card share it."""
        return self.bdf.rsplit(".", 1)[0]

    @property
    def is_bridge(self) -> bool:
        return self.class_code >> 8 == 0x0604

    @property
    def gone(self) -> bool:
        """Config space reads all ones: the device no longer answers."""
        config = self.config
        return not isinstance(config, Unread) and (
            config.all_ones or (config.vendor == config.device == 0xFFFF and not self.virtual_function))



class PciInventory(msgspec.Struct, frozen=True):
    functions: Mapping[Bdf, PciFunction]
    children: Mapping[Bdf, tuple[Bdf, ...]]
    """Bridge -> functions directly below it."""
    unreadable: Unread | None = None
    """Set when the bus could not be listed at all; then `functions` is empty and proves nothing."""
    unidentified: tuple[Bdf, ...] = ()
    """Functions that are listed and whose ids could not be read: any of them may be a GPU or a port."""

    @property
    def incomplete(self) -> Unread | None:
        """Why something may be missing in `functions`; None where it holds all that is on the bus."""
        if self.unreadable is not None or not self.unidentified:
            return self.unreadable
        count = len(self.unidentified)
        return Unread(f"{self.unidentified[0]} does not say what it is" if count == 1 else
                      f"{count} PCI functions do not say what they are, {self.unidentified[0]} among them", "error")

    def ancestors(self, bdf: Bdf) -> Iterator[PciFunction]:
        """The bridges above a function, nearest first."""
        seen = {bdf}
        here = self.functions.get(bdf)
        while here is not None and here.parent is not None and here.parent not in seen:
            seen.add(here.parent)
            above = self.functions.get(here.parent)
            if above is None:
                return
            yield above
            here = above


def parse_hex(text: str | Unread, digits: int) -> int | None:
    """`0x10de` -> 4318; None when unread, or not of the width that the kernel prints: a class that is cut off would be
    that of another device."""
    if isinstance(text, Unread) or re.fullmatch(rf"0x[0-9a-fA-F]{{{digits}}}", text) is None:
        return None
    return int(text, 16)


def parse_speed_gts(text: str) -> float | None:
    """`16.0 GT/s PCIe`, `8 GT/s` -> 16.0, 8.0; None for `Unknown` and anything else."""
    head = text.split(" ", 1)[0]
    try:
        speed = float(head)
    except ValueError:
        return None
    return speed if "GT/s" in text and 0 < speed < 1000 else None


def parse_regions(text: str) -> tuple[Region, ...] | Unread:
    """Lines `start end flags` of the sysfs `resource` file; lines of zeros are left out."""
    if not text:
        return Unread("resource is empty, and the kernel writes a line for each BAR", "malformed")
    found: list[Region] = []
    for index, line in enumerate(text.splitlines()[:64]):
        if line == UNUSED:
            continue
        try:
            start, end, flags = (int(word, 16) for word in line.split())
        except ValueError:
            return Unread("resource holds a line that is not three numbers", "malformed")
        if flags and end >= start:
            found.append(Region(index, start, end - start + 1, flags))
    return tuple(found)


def parse_bdf(name: str) -> Bdf | None:
    """A name in /sys/bus/pci/devices as an address; None for any other name."""
    return Bdf(name) if _BDF.fullmatch(name) else None


def _parent_of(path: str) -> Bdf | None:
    """The bridge above, from a real path such as /sys/devices/pci0000:40/0000:40:01.1/0000:41:00.0."""
    for part in reversed(path.split("/")[:-1]):
        if _BDF.fullmatch(part):
            return Bdf(part)
        if part.startswith("pci") and part != "pci":  # pci0000:40 is a root bus; 0000:80:00.5/pci10000:00 is VMD's
            return None
    return None


def _link(host: Host, base: str) -> SysfsLink | None | Unread:
    width = host.text(f"{base}/current_link_width")
    if isinstance(width, Unread):
        return None if width.kind == "absent" else width
    speed, max_speed, max_width = (
        host.text(f"{base}/{name}") for name in ("current_link_speed", "max_link_speed", "max_link_width")
    )
    if isinstance(speed, Unread):
        return speed
    if not width.isdecimal():
        return Unread(f"{base}/current_link_width: {width[:20]!r} is no number", "malformed")
    return SysfsLink(
        parse_speed_gts(speed), int(width[:4]),
        None if isinstance(max_speed, Unread) else parse_speed_gts(max_speed),
        int(max_width[:4]) if isinstance(max_width, str) and max_width.isdecimal() else 0,
    )


def _number_at_end(target: str | Unread) -> int | None | Unread:
    if isinstance(target, Unread):
        return None if target.kind == "absent" else target
    name = target.rsplit("/", 1)[-1]
    return int(name) if name.isdecimal() else None


def read_function(host: Host, bdf: Bdf, path: str | Unread) -> PciFunction | None:
    """One function; None when not even its ids can be read."""
    base = f"{DEVICES}/{bdf}" if isinstance(path, Unread) else path
    config_bytes = host.read(f"{base}/config", 8192)
    config = config_bytes if isinstance(config_bytes, Unread) else decode_config(config_bytes)
    from_config = None if isinstance(config, Unread) or config.all_ones else config
    vendor, device = parse_hex(host.text(f"{base}/vendor"), 4), parse_hex(host.text(f"{base}/device"), 4)
    if vendor is None and from_config is not None:
        vendor = from_config.vendor
    if device is None and from_config is not None:
        device = from_config.device
    class_code = parse_hex(host.text(f"{base}/class"), 6)
    if class_code is None and from_config is not None:
        class_code = from_config.class_code
    if vendor is None or device is None or class_code is None:
        return None
    revision = parse_hex(host.text(f"{base}/revision"), 2)
    if revision is None and from_config is not None:
        revision = from_config.revision  # the file is younger (Linux 4.10) than the register
    driver = host.target(f"{base}/driver")
    resource = host.text(f"{base}/resource")
    numa = host.text(f"{base}/numa_node")
    state = host.text(f"{base}/power_state")
    virtual = host.exists(f"{base}/physfn") is True
    # All ones, as of a card that is gone, are no other device; virtual functions show no ids.
    estranged = from_config is not None and not virtual and (
        (from_config.vendor, from_config.device) not in ((vendor, device), (0xFFFF, 0xFFFF)))
    if estranged and from_config is not None:
        names = f"{from_config.vendor:04x}:{from_config.device:04x}"
        config = Unread(
            f"configuration space names {names}, the kernel found {vendor:04x}:{device:04x} at boot", "malformed")
    return PciFunction(
        bdf=bdf, path=base, parent=None if isinstance(path, Unread) else _parent_of(path), vendor=vendor, device=device,
        revision=revision, subsystem_vendor=parse_hex(host.text(f"{base}/subsystem_vendor"), 4),
        subsystem_device=parse_hex(host.text(f"{base}/subsystem_device"), 4), class_code=class_code,
        driver=driver.rsplit("/", 1)[-1] if isinstance(driver, str) else None if driver.kind == "absent" else driver,
        numa_node=int(numa) if isinstance(numa, str) and numa.isdecimal() and len(numa) < 10 else None,
        iommu_group=_number_at_end(host.target(f"{base}/iommu_group")),
        regions=resource if isinstance(resource, Unread) else parse_regions(resource),
        link=_link(host, base), config=config, power_state=state if isinstance(state, str) else None,
        virtual_function=virtual, estranged=estranged,
    )


def _adopt_by_bus(functions: dict[Bdf, PciFunction]) -> dict[Bdf, PciFunction]:
    """Parents from the bridges' secondary bus numbers, for trees without the kernel's directory nesting."""
    below: dict[str, Bdf] = {}
    for function in functions.values():
        if isinstance(function.config, Unread) or function.config.bridge is None:
            continue
        domain = function.bdf.split(":", 1)[0]
        if function.config.bridge.secondary:
            below[f"{domain}:{function.config.bridge.secondary:02x}"] = function.bdf
    return {
        bdf: function if function.parent is not None or below.get(function.bus) in (None, bdf)
        else msgspec.structs.replace(function, parent=below[function.bus])
        for bdf, function in functions.items()
    }


@probe("pci", PciInventory)
def pci(host: Host) -> PciInventory:
    names = host.entries(DEVICES)
    if isinstance(names, Unread):
        return PciInventory({}, {}, names)
    functions: dict[Bdf, PciFunction] = {}
    unidentified: list[Bdf] = []
    nested = False
    for name in names:
        bdf = parse_bdf(name)
        if bdf is None:
            continue
        path = host.target(f"{DEVICES}/{bdf}")
        nested = nested or not isinstance(path, Unread)
        function = read_function(host, bdf, path)
        if function is None:
            unidentified.append(bdf)
        else:
            functions[bdf] = function
    if not nested:
        functions = _adopt_by_bus(functions)
    children: dict[Bdf, list[Bdf]] = {}
    for function in functions.values():
        if function.parent is not None:
            children.setdefault(function.parent, []).append(function.bdf)
    return PciInventory(
        functions, {parent: tuple(found) for parent, found in children.items()}, unidentified=tuple(unidentified))

"""Main memory: what the firmware lists by channel, what the kernel has of it, and what EDAC counted.

Reads   /proc/meminfo; /sys/devices/system/edac/mc/mc*/{mc_name,ce_count,ue_count,ce_noinfo_count,ue_noinfo_count,
        seconds_since_reset,{dimm,rank}*/{dimm_label,dimm_location,dimm_edac_mode,size,dimm_ce_count,
        dimm_ue_count}}                                                                             (any user)
        SMBIOS types 16 and 17 through the DMI probe                                                        (root)
        mem_info_vram_total of a GPU that is part of the processor                                          (any user)
Since   the per-module files of EDAC Linux 3.6
Absent  EDAC where no driver of the memory controller is loaded, or ECC is off: amd64_edac loads only with ECC.
By hand sudo dmidecode -t 16,17; grep . /sys/devices/system/edac/mc/mc*/{ce,ue}_count; grep MemTotal /proc/meminfo

An SMBIOS record is the firmware's claim at boot. EDAC lists populated modules only.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from boxcheck.decode.smbios import ChannelKey, MemoryDevice, Smbios, meaningful, memory_channels
from boxcheck.decode.text import clean_text
from boxcheck.host import Host
from boxcheck.model import Unread
from boxcheck.probes.attributes import count, integer, numbered, words
from boxcheck.probes.dmi import Dmi
from boxcheck.probes.gpus import Gpus
from boxcheck.registry import probe

EDAC = "/sys/devices/system/edac/mc"
HARDWARE_EDAC = (
    "K8", "F0Fh", "F10h", "F11h", "F14h", "F15h", "F16h", "F17h", "F18h", "F19h", "F1Ah", "MI200", "MI300",
    "Skylake", "Intel_10nm", "Intel_client_SoC", "Sandy Bridge", "Ivy Bridge", "Haswell", "Broadwell",
    "Knights Landing", "IE31200", "E3-1200", "i7 core", "i3", "i5", "E7", "X38", "x38",
)
"""Starts of mc_name that drivers of memory controllers give (drivers/edac: amd64, skx, i10nm, igen6, sb, ie31200,
i7core and the older Intel ones)."""
KIB, MIB = 1 << 10, 1 << 20


class Module(msgspec.Struct, frozen=True, kw_only=True):
    """A memory socket (or soldered memory), whether or not there is something in it."""

    label: str
    """The locator, with the bank where the locator alone names several: `P0 CHANNEL C DIMM 0`, `DIMM_C1`."""
    channel: str | None
    """Printed name, `C` or `socket 1 C`; None where the locators' spelling is not known."""
    size_bytes: int | Unread
    """0: empty."""
    kind: str | Unread
    """`DDR4`, `LPDDR5` ..."""
    rated_mts: int | Unread
    configured_mts: int | Unread
    check_bits: int | Unread
    """Total width less data width; 0 on a module without ECC."""
    data_width_bits: int | Unread
    manufacturer: str | None
    part: str | None

    @property
    def installed(self) -> bool | Unread:
        return self.size_bytes if isinstance(self.size_bytes, Unread) else self.size_bytes > 0


class Channel(msgspec.Struct, frozen=True):
    name: str
    modules: tuple[Module, ...]

    @property
    def populated(self) -> bool | Unread:
        states = [module.installed for module in self.modules]
        if any(state is True for state in states):
            return True
        return next((state for state in states if isinstance(state, Unread)), False)


class EdacModule(msgspec.Struct, frozen=True):
    name: str
    """`dimm3`, `rank2`."""
    label: str
    """dimm_label, as the board's label table or the driver wrote it."""
    location: str | None
    """`csrow 0 channel 3`."""
    size_mib: int | Unread
    corrected: int | Unread
    uncorrected: int | Unread
    mode: str | None = None
    """dimm_edac_mode: `SECDED`, `S4ECD4ED`, `None` without ECC; None where it was not read."""


class EdacController(msgspec.Struct, frozen=True):
    name: str
    driver: str | None
    """mc_name, such as `F17h_M30h`; None where it was not read."""
    corrected: int | Unread
    uncorrected: int | Unread
    corrected_unplaced: int | Unread
    """Of `corrected`, those that name no module."""
    uncorrected_unplaced: int | Unread
    seconds: int | Unread
    """Since the counters were reset, in most cases since boot."""
    modules: tuple[EdacModule, ...]

    @property
    def of_hardware(self) -> bool:
        """Whether a driver that reads the memory controller itself runs it. Such a driver refuses to load where ECC is
        off; ghes_edac passes on what the firmware reports, and loads on any machine with firmware error records."""
        return self.driver is not None and self.driver.startswith(HARDWARE_EDAC)


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    total_bytes: int | Unread
    """MemTotal: what the kernel has, without what firmware, a GPU of the processor and the kernel itself took."""
    swap_bytes: int | Unread
    huge_pages_bytes: int | Unread
    """Set aside in the pool of the default size."""
    installed_bytes: int | Unread
    """Sum of the modules that the firmware lists."""
    modules: tuple[Module, ...] | Unread
    channels: tuple[Channel, ...] | Unread
    """In the order of their names. Unread as well when a locator's spelling is not known."""
    theoretical_gbs: float | Unread
    """What the populated channels could move at most, GB/s: channels x MT/s x bytes. Measured STREAM figures reach 55
    to 85 % of it."""
    error_correction: str | Unread
    ecc: bool | Unread
    """What SMBIOS type 16 says of the array of main memory."""
    edac: tuple[EdacController, ...] | Unread
    """Empty when no driver of a memory controller is loaded."""
    carve_out_bytes: int | None | Unread
    """What the firmware gave to GPUs that are part of the processor. None without such a GPU."""


def parse_meminfo(text: str, row: str) -> int | Unread:
    """A row of /proc/meminfo in bytes, or a plain number where the row has no unit (HugePages_Total)."""
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon and name.strip() == row:
            parts = value.split()
            if parts and parts[0].isascii() and parts[0].isdecimal() and len(parts[0]) <= 18:
                return int(parts[0]) * (KIB if parts[1:] == ["kB"] else 1)
            return Unread(f"/proc/meminfo: row {row} holds no number", "malformed")
    return Unread(f"/proc/meminfo has no row {row}", "malformed")


def _row(text: str | Unread, row: str) -> int | Unread:
    return text if isinstance(text, Unread) else parse_meminfo(text, row)


def _product(count: int | Unread, size: int | Unread) -> int | Unread:
    if isinstance(count, Unread):
        return count
    return size if isinstance(size, Unread) else count * size


def _labels(devices: tuple[MemoryDevice, ...]) -> dict[int, str]:
    """Handle -> a name that is unique on this board."""
    locators = {device.handle: meaningful(device.locator) for device in devices}
    seen = Counter(locators.values())
    labels: dict[int, str] = {}
    for index, device in enumerate(devices):
        locator, bank = locators[device.handle], meaningful(device.bank_locator)
        if locator is not None and seen[locator] == 1:
            labels[device.handle] = locator
        else:
            labels[device.handle] = " ".join(filter(None, (bank, locator))) or f"memory socket {index}"
    return labels


def _module(device: MemoryDevice, label: str, channel: str | None) -> Module:
    total, data = device.total_width_bits, device.data_width_bits
    return Module(
        label=label, channel=channel, size_bytes=device.size_bytes, kind=device.kind, rated_mts=device.speed_mts,
        configured_mts=device.configured_speed_mts,
        check_bits=total if isinstance(total, Unread) else data if isinstance(data, Unread) else max(total - data, 0),
        data_width_bits=data, manufacturer=meaningful(device.manufacturer), part=meaningful(device.part),
    )


def _named(key: ChannelKey, several: bool) -> str:
    return f"socket {key.socket} {key.channel}" if several else key.channel


def modules_by_channel(smbios: Smbios) -> tuple[tuple[Module, ...], tuple[Channel, ...] | Unread]:
    """All modules in the table's order, and the channels with theirs."""
    grouped = memory_channels(smbios)
    several = len({key.socket for key in grouped if key is not None}) > 1
    names = {
        device.handle: None if key is None else _named(key, several)
        for key, devices in grouped.items() for device in devices
    }
    devices = smbios.system_memory_devices
    labels = _labels(devices)
    modules = tuple(_module(device, labels[device.handle], names.get(device.handle)) for device in devices)
    if None in grouped:
        stranger = labels[grouped[None][0].handle]
        return modules, Unread(f"the memory channel is not known from the locator {stranger!r}", "unsupported")
    return modules, tuple(
        Channel(_named(key, several), tuple(module for module in modules if module.channel == _named(key, several)))
        for key in sorted(key for key in grouped if key is not None)
    )


def theoretical_gbs(channels: tuple[Channel, ...] | Unread) -> float | Unread:
    """Sum over the populated channels of slowest module's rate times widest module's width, GB/s."""
    if isinstance(channels, Unread):
        return channels
    bits_a_second = 0.0
    for channel in channels:
        fitted = [module for module in channel.modules if module.installed is True]
        rates = [module.configured_mts for module in fitted]
        widths = [module.data_width_bits for module in fitted]
        missing = next((value for value in (*rates, *widths) if isinstance(value, Unread)), None)
        if missing is not None:
            return missing
        if fitted:
            bits_a_second += 1e6 * min(rate for rate in rates if isinstance(rate, int)) * max(
                width for width in widths if isinstance(width, int))
    if not bits_a_second:
        return Unread("the firmware lists no module in any channel", "absent")
    return round(bits_a_second / 8e9, 1)


def _array_ecc(smbios: Smbios) -> tuple[str | Unread, bool | Unread]:
    """Error correction of the array that holds main memory."""
    array = next((array for array in smbios.memory_arrays if array.use == "System Memory"), None)
    if array is None:
        unread = Unread("the SMBIOS table has no array of system memory (type 16)", "absent")
        return unread, unread
    return array.error_correction, array.ecc


def _edac_module(host: Host, base: str, name: str) -> EdacModule:
    label, location = words(host, f"{base}/dimm_label"), words(host, f"{base}/dimm_location")
    corrected, uncorrected = count(host, f"{base}/dimm_ce_count"), count(host, f"{base}/dimm_ue_count")
    mode = host.text(f"{base}/dimm_edac_mode")  # its `None` is an answer, where `words` takes it for a placeholder
    return EdacModule(
        name, label if isinstance(label, str) else name, location if isinstance(location, str) else None,
        integer(host, f"{base}/size"), corrected, uncorrected, clean_text(mode, 32) if isinstance(mode, str) else None,
    )


def _edac(host: Host) -> tuple[EdacController, ...] | Unread:
    names = host.entries(EDAC)
    if isinstance(names, Unread):
        return () if names.kind == "absent" else names
    found = []
    for name in numbered(names, "mc"):
        base = f"{EDAC}/{name}"
        inside = host.entries(base)
        parts = () if isinstance(inside, Unread) else (*numbered(inside, "dimm"), *numbered(inside, "rank"))
        driver = words(host, f"{base}/mc_name")
        found.append(EdacController(
            name, driver if isinstance(driver, str) else None, count(host, f"{base}/ce_count"),
            count(host, f"{base}/ue_count"), count(host, f"{base}/ce_noinfo_count"),
            count(host, f"{base}/ue_noinfo_count"), count(host, f"{base}/seconds_since_reset"),
            tuple(_edac_module(host, f"{base}/{part}", part) for part in parts),
        ))
    return tuple(found)


def _carve_out(host: Host, gpus: Gpus) -> int | None | Unread:
    if gpus.unreadable is not None:  # a machine without a PCI bus has no such GPU
        return None if gpus.unreadable.kind == "absent" else gpus.unreadable
    total: int | None = None
    for gpu in gpus.gpus:
        if not gpu.integrated or gpu.vendor != "1002":
            continue
        found = integer(host, f"{gpu.function.path}/mem_info_vram_total")
        if isinstance(found, Unread):
            return Unread(f"the share of {clean_text(gpu.name)} is not known: {found.why}", found.kind)
        total = (total or 0) + found
    return total


@probe("memory", Memory, reads=[Dmi, Gpus])
def memory(host: Host, dmi: Dmi, gpus: Gpus) -> Memory:
    meminfo = host.text("/proc/meminfo")
    modules: tuple[Module, ...] | Unread
    channels: tuple[Channel, ...] | Unread
    correction: str | Unread
    ecc: bool | Unread
    installed: int | Unread
    if isinstance(dmi.smbios, Unread):
        modules = channels = correction = ecc = installed = dmi.smbios
    else:
        modules, channels = modules_by_channel(dmi.smbios)
        installed = dmi.smbios.installed_memory_bytes
        correction, ecc = _array_ecc(dmi.smbios)
        if dmi.smbios.truncated is not None or not modules:
            why = dmi.smbios.truncated or "it has no memory device (type 17)"
            modules = channels = Unread(f"the SMBIOS table is incomplete: {why}", "malformed")
    return Memory(
        total_bytes=_row(meminfo, "MemTotal"), swap_bytes=_row(meminfo, "SwapTotal"),
        huge_pages_bytes=_product(_row(meminfo, "HugePages_Total"), _row(meminfo, "Hugepagesize")),
        installed_bytes=installed, modules=modules, channels=channels, theoretical_gbs=theoretical_gbs(channels),
        error_correction=correction, ecc=ecc,
        edac=_edac(host), carve_out_bytes=_carve_out(host, gpus),
    )

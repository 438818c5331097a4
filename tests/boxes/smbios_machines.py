"""SMBIOS tables of whole boards, built.

Facts (names, locators, lengths, codes) are those of the boards' own firmware as captured in linuxhw/DMI (CC-BY-4.0,
commit 57b21bc6); serial numbers and part selections are made up.

Each returns the bytes of /sys/firmware/dmi/tables/DMI and of smbios_entry_point. What goes wrong on a real board is a
parameter: a channel without its module, a module that is slower, a slot's address.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from tests.boxes import smbios_build as b
from tests.boxes.smbios_build import GIB, TIB, Structure, Text

EPYC_CHANNELS = "ABCDEFGH"
Tables = tuple[bytes, bytes]


def romed8_2t(
    *, cpu: str = "AMD EPYC 7262 8-Core Processor                 ", cores: int = 8, threads: int = 16,
    bios_version: str = "P1.30", bios_date: str = "08/11/2020", populated: Collection[str] = EPYC_CHANNELS,
    dimm_bytes: int = 16 * GIB, speed_mts: int = 3200, configured_speeds_mts: Mapping[str, int] | None = None,
    rated_speeds_mts: Mapping[str, int] | None = None, slots: Sequence[Structure] | None = None,
    error_correction: int = b.MULTI_BIT_ECC, serial: Text = "M80-D2000100042", extra: Sequence[Structure] = (),
) -> Tables:
    """ASRock Rack ROMED8-2T: one EPYC, eight channels with one socket each, SMBIOS 3.2.

    `populated` names the channels with a module; the two mappings set single channels' speeds. The board's firmware
    lists four of its seven slots and gives none an address; pass `slots` for one that does.
    """
    members = [
        b.bios("American Megatrends Inc.", bios_version, bios_date),
        b.system(),
        b.baseboard("ASRockRack", "ROMED8-2T", "                       ", serial,
                    "                       ", "                       "),
        b.chassis(kind=2),
        *(romed8_2t_slots() if slots is None else slots),
        *_template_onboard_devices(),
        b.oem_strings("To Be Filled By O.E.M."),
        b.configuration_options("To Be Filled By O.E.M."),
        b.memory_array(devices=8, maximum_capacity_bytes=2 * TIB, error_correction=error_correction),
        b.processor("CPU1", cpu, cores=cores, threads=threads),
        *_amd_channels(
            EPYC_CHANNELS, populated, dimm_bytes, speed_mts, configured_speeds_mts or {}, rated_speeds_mts or {},
            lambda channel: ("DIMM 0", f"P0 CHANNEL {channel}"), length=84),
        *extra,
    ]
    return b.table(members, (3, 2, 0))


def romed8_2t_slots(addresses: Mapping[str, str] | None = None) -> list[Structure]:
    """Slots PCIE1 to PCIE7 with the bus addresses given, else the four that firmware P1.30 lists, all 0000:00:00.0."""
    if addresses is None:
        return [b.slot(f"PCIE{number}", usage=2, address="0000:00:00.0", id=number - 1,
                       characteristics=0x0604 if number == 4 else 0x0004) for number in range(1, 5)]
    return [b.slot(name, usage=b.IN_USE, address=address, id=number)
            for number, (name, address) in enumerate(addresses.items())]


def wrx80e_sage(*, populated: Collection[str] = EPYC_CHANNELS, dimm_bytes: int = 32 * GIB) -> Tables:
    """ASUS Pro WS WRX80E-SAGE SE WIFI: Threadripper PRO, unbuffered modules without ECC, SMBIOS 3.3. Its slots are all
    in use, at 0000:00:00.0, and every other one is said to have x8."""
    members = [
        b.bios("American Megatrends Inc.", "1003", "02/18/2022"),
        b.system("ASUS", "System Product Name", "System Version", "System Serial Number", sku="SKU",
                 family="To be filled by O.E.M."),
        b.baseboard("ASUSTeK COMPUTER INC.", "Pro WS WRX80E-SAGE SE WIFI", "Rev 1.xx", "210000000000123",
                    "Default string", "Default string"),
        b.chassis("Default string", 3, "Default string", "Default string", "Default string", "Default string"),
        *(b.slot(f"PCIEX16_{number}", width=b.WIDTH_X16 if number % 2 else b.WIDTH_X8, address="0000:00:00.0",
                 id=number - 1, characteristics=0x010C) for number in range(1, 5)),
        *_template_onboard_devices(),
        b.memory_array(devices=8, maximum_capacity_bytes=512 * GIB, error_correction=b.NO_ECC),
        b.processor("AM4", "AMD Ryzen Threadripper PRO 3995WX 64-Cores     ", cores=64, threads=128,
                    max_speed_mhz=4300, current_speed_mhz=2700),
        *_amd_channels(
            EPYC_CHANNELS, populated, dimm_bytes, 2133, {}, {}, lambda channel: ("DIMM 0", f"P0 CHANNEL {channel}"),
            length=92, manufacturer="Corsair", part="CMK32GX4M1D3000C16", total_width_bits=64,
            detail=b.SYNCHRONOUS | b.UNBUFFERED),
    ]
    return b.table(members, (3, 3, 0))


def esc4000a_e10(*, populated: Collection[str] = EPYC_CHANNELS) -> Tables:
    """ASUS ESC4000A-E10: one EPYC in a rack server, two supplies, a BMC; slots without a card have bus 0xff."""
    slots = (
        ("PCIE5-f00", b.PCIE3_X16, b.WIDTH_X16, "0000:47:00.0", 1), ("PCIE6", b.PCIE3_X16, b.WIDTH_X16, None, 2),
        ("FR_PCIE", b.PCIE3_X8, b.WIDTH_X8, "0000:82:00.0", 3), ("RX_PCIE2", b.PCIE3_X16, b.WIDTH_X16, None, 5),
        ("RX_PCIE4", b.PCIE3_X16, b.WIDTH_X16, "0000:01:00.0", 7),
        ("LX_PCIE1", b.PCIE3_X16, b.WIDTH_X16, "0000:c1:00.0", 8),
        ("LX_PCIE3", b.PCIE3_X16, b.WIDTH_X16, "0000:81:00.0", 16),
    )
    members = [
        b.bios("American Megatrends Inc.", "0701", "09/07/2022"),
        b.system("ASUSTeK COMPUTER INC.", "ESC4000A-E10", " ", "N1S0XX000042", sku="SKU", family="Server"),
        b.baseboard("ASUSTeK COMPUTER INC.", "KRPG-U8-M Series", "60SB08F0-SB0A06", "210000000000456"),
        b.chassis("Default string", 0x17, "13SF01A1", "Default string", "Default string", "Default string"),
        *(b.slot(name, kind, width, b.AVAILABLE if address is None else b.IN_USE, id=number, slot_length=3,
                 characteristics=0x010C, raw_address=(0, 0xFF, 0xFF) if address is None else None, address=address)
          for name, kind, width, address, number in slots),
        b.power_supply("DPS-2200AB-2 E", "DELTA", "DHTD2000000001", part="DPS-2200AB-2 E", revision="S3F",
                       max_power_watts=2200, state=5),
        b.power_supply("DPS-2200AB-2 E", "DELTA", "DHTD2000000002", location="PSU2", part="DPS-2200AB-2 E",
                       revision="S3F", max_power_watts=2200, state=5),
        b.onboard_device(" ASPEED 2500", 3, address="0000:c3:00.0"),
        b.onboard_device(" Intel i350-AM2", 5, address="0000:03:00.0"),
        b.onboard_device(" Intel i350-AM2", 5, instance=2, address="0000:03:00.1"),
        b.ipmi(),
        b.memory_array(devices=8, maximum_capacity_bytes=4 * TIB),
        b.processor("CPU1", "AMD EPYC 7453 28-Core Processor                ", cores=28, threads=56,
                    max_speed_mhz=3475, current_speed_mhz=2750),
        *_amd_channels(
            EPYC_CHANNELS, populated, 64 * GIB, 3200, {}, {}, lambda channel: (f"DIMM_{channel}1", "NODE 1"), length=92,
            manufacturer="Micron Technology", part="36ASF8G72PZ-3G2E1   "),
    ]
    return b.table(members, (3, 3, 0))


def as_4124gs_tnr(*, populated: Collection[str] = EPYC_CHANNELS) -> Tables:
    """Supermicro AS -4124GS-TNR: two EPYCs, sixteen channels of two sockets, the second of each filled; four supplies.

    The locators count processors from 1, the bank locators from 0.
    """
    slots = {"SLOT1": "e1", "SLOT2": "c1", "SLOT3": "81", "SLOT4": "a1", "SLOT5": "c2", "SLOT7": "61", "SLOT8": "41",
             "SLOT9": "01", "SLOT10": "25"}
    sockets = [(cpu, channel, dimm) for cpu in (0, 1) for channel in EPYC_CHANNELS for dimm in (0, 1)]
    devices = []
    for number, (cpu, channel, dimm) in enumerate(sockets):
        names = (f"P{cpu + 1}-DIMM{channel}{dimm + 1}",
                 f"P{cpu}_Node0_Channel{EPYC_CHANNELS.index(channel)}_Dimm{dimm}")
        if dimm == 1 and channel in populated:
            devices.append(b.memory_device(
                *names, 32 * GIB, manufacturer="Micron Technology", serial=f"2E0000{number:02X}",
                asset=f"{names[0]}_AssetTag (date:21/08)", part="18ASF4G72PZ-3G2E1   "))
        else:
            devices.append(b.empty_memory_device(*names, manufacturer="NO DIMM"))
    members = [
        b.bios("American Megatrends Inc.", "2.0", "03/12/2021"),
        b.system("Supermicro", "AS -4124GS-TNR", "0123456789", "S400000X0000042", sku="To be filled by O.E.M.",
                 family="To be filled by O.E.M."),
        b.baseboard("Supermicro", "H12DSG-O-CPU", "1.01A", "OM000S000042", "To be filled by O.E.M."),
        b.chassis("Supermicro", 0x11, "0123456789", "C4180AM00000042"),
        *(b.slot(f"{name} PCI-E 4.0 X16", b.PCIE4_X16, address=f"0000:{bus}:00.0", id=number, characteristics=0x010C)
          for number, (name, bus) in enumerate(slots.items(), start=1)),
        *(b.power_supply(serial=f"P2K8ACL000000{number}", location=f"PSU{number}", group=number)
          for number in range(1, 5)),
        b.onboard_device("ASPEED Video AST2500"),
        b.onboard_device("Intel Ethernet i350 #1", 5, address="0000:e5:00.0"),
        b.onboard_device("Intel Ethernet i350 #2", 5, instance=2, address="0000:e5:00.1"),
        b.ipmi(),
        b.memory_array(devices=32, maximum_capacity_bytes=8 * TIB),
        *(b.processor(f"CPU{number}", "AMD EPYC 7452 32-Core Processor                ", cores=32, threads=64,
                      max_speed_mhz=3350, current_speed_mhz=2350) for number in (1, 2)),
        *devices,
    ]
    return b.table(members, (3, 2, 0))


def framework_desktop(*, device_bytes: int = 16 * GIB) -> Tables:
    """Framework Desktop (Strix Halo): eight soldered LPDDR5 devices at 8000 MT/s. The parts and speeds are known, the
    spelling of the locators is inferred from other AMD client boards, for no table of this machine is public."""
    members = [
        b.bios("INSYDE Corp.", "03.04", "11/19/2025"),
        b.system("Framework", "Desktop (AMD Ryzen AI Max 300 Series)", "A6", "FRAAAAAAAA00000042", sku="FRAMFACP06",
                 family="Desktop"),
        b.baseboard("Framework", "FRANMFCP06", "A6", "FRANMFCPA600000042", "*"),
        b.chassis("Framework", 3, "A6", "FRAAAAAAAA00000042", "*", None),
        b.memory_array(devices=8, maximum_capacity_bytes=128 * GIB, error_correction=b.NO_ECC),
        b.processor("FP11", "AMD RYZEN AI MAX+ 395 w/ Radeon 8060S", cores=16, threads=32, max_speed_mhz=5150,
                    current_speed_mhz=3000),
        *_amd_channels(
            EPYC_CHANNELS, EPYC_CHANNELS, device_bytes, 8000, {}, {},
            lambda channel: ("DIMM 0", f"P0 CHANNEL {channel}"), length=92, manufacturer="Micron Technology",
            part="MT62F4G32D8DV-023 WT", kind=b.LPDDR5, form_factor=b.ROW_OF_CHIPS, total_width_bits=32,
            data_width_bits=32, detail=b.SYNCHRONOUS | b.UNBUFFERED),
    ]
    return b.table(members, (3, 3, 0))


MACHINES: dict[str, Callable[..., Tables]] = {
    "ROMED8-2T": romed8_2t, "WRX80E-SAGE": wrx80e_sage, "ESC4000A-E10": esc4000a_e10, "AS-4124GS-TNR": as_4124gs_tnr,
    "Framework Desktop": framework_desktop,
}


def _template_onboard_devices() -> list[Structure]:
    """What AMI's template lists on boards that have none of it."""
    return [
        b.onboard_device(" Onboard IGD", 3, address="0000:00:02.0"),
        b.onboard_device(" Onboard LAN", 5, address="0000:00:19.0"),
        b.onboard_device(" Onboard 1394", 1, address="0000:03:1c.2"),
    ]


def _amd_channels(
    channels: str, populated: Collection[str], dimm_bytes: int, speed_mts: int, configured: Mapping[str, int],
    rated: Mapping[str, int], names: Callable[[str], tuple[str, str]], *, length: int, manufacturer: str = "Samsung",
    part: str = "M393A2K40DB3-CWE    ", kind: int = b.DDR4, form_factor: int = b.DIMM, total_width_bits: int = 72,
    data_width_bits: int = 64, detail: int = b.SYNCHRONOUS | b.REGISTERED,
) -> list[Structure]:
    """One memory device a channel."""
    devices = []
    for number, channel in enumerate(channels):
        locator, bank = names(channel)
        if channel not in populated:
            devices.append(b.empty_memory_device(locator, bank, length=length))
            continue
        rated_mts = rated.get(channel, speed_mts)
        devices.append(b.memory_device(
            locator, bank, dimm_bytes, kind=kind, form_factor=form_factor, detail=detail, speed_mts=rated_mts,
            configured_speed_mts=configured.get(channel, rated_mts), total_width_bits=total_width_bits,
            data_width_bits=data_width_bits, manufacturer=manufacturer, serial=f"4{number}8A31F{number}", part=part,
            length=length))
    return devices

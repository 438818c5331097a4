"""SMBIOS tables of a machine, through tests/boxes/smbios_build.py (codes from DMTF DSP0134)."""

from __future__ import annotations

from tests.boxes import smbios_build as smbios
from tests.boxes.hardware import Dimm, Slot
from tests.boxes.machine import Machine
from tests.boxes.tree import Tree

GENERATION_CODES = {3: smbios.PCIE3_X16, 4: smbios.PCIE4_X16, 5: smbios.PCIE5_X16}
KINDS = {"DDR4": smbios.DDR4, "DDR5": smbios.DDR5, "LPDDR5": smbios.LPDDR5}
ECC_CODES = {"None": smbios.NO_ECC, "Single-bit ECC": smbios.SINGLE_BIT_ECC, "Multi-bit ECC": smbios.MULTI_BIT_ECC}
FORM_FACTORS = {"DIMM": smbios.DIMM, "SODIMM": smbios.SODIMM, "Row Of Chips": smbios.ROW_OF_CHIPS}


def render(machine: Machine, out: Tree) -> None:
    dmi, cpu = machine.dmi, machine.cpu
    rows = [
        smbios.bios(dmi.bios_vendor, dmi.bios_version, dmi.bios_date),
        smbios.system(
            dmi.sys_vendor,
            dmi.product_name,
            serial=dmi.product_serial,
            uuid=dmi.product_uuid,
            sku=dmi.product_sku,
            family=dmi.product_family,
        ),
        smbios.baseboard(dmi.board_vendor, dmi.board_name, dmi.board_version or "Default string", dmi.board_serial),
        smbios.chassis(dmi.chassis_vendor, dmi.chassis_type),
    ]
    for socket in range(cpu.sockets):
        rows.append(
            smbios.processor(
                cpu.socket_name if cpu.sockets == 1 else f"P{socket}",
                cpu.model_name,
                cores=cpu.cores,
                manufacturer="Advanced Micro Devices, Inc." if cpu.vendor == "AuthenticAMD" else "Intel(R) Corporation",
                threads=cpu.cores * cpu.threads_per_core,
                max_speed_mhz=cpu.max_mhz,
                current_speed_mhz=cpu.base_mhz,
            )
        )
    rows += [_slot(slot) for slot in machine.slots]
    if machine.memory:
        rows.append(smbios.memory_array(error_correction=ECC_CODES[machine.ecc], devices=len(machine.memory)))
        rows += [_dimm(dimm) for dimm in machine.memory]
    for supply in machine.supplies:
        rows.append(
            smbios.power_supply(
                supply.model or supply.name,
                location=supply.name,
                max_power_watts=supply.watts,
                present=supply.present,
                plugged=supply.ok,
                state=3 if supply.ok else 5,
            )
        )
    if machine.bmc:
        rows.append(smbios.ipmi())
    table, entry_point = smbios.table(rows)
    out.put("/sys/firmware/dmi/tables/DMI", table)
    out.put("/sys/firmware/dmi/tables/smbios_entry_point", entry_point)


def _slot(slot: Slot) -> smbios.Structure:
    port = slot.root_port
    used = slot.in_use and port is not None and bool(port.live_children())
    address = f"0000:{port.secondary:02x}:00.0" if port is not None else "0000:ff:1f.7"
    widths = {1: smbios.WIDTH_X1, 4: smbios.WIDTH_X4, 8: smbios.WIDTH_X8, 16: smbios.WIDTH_X16}
    return smbios.slot(
        slot.name,
        GENERATION_CODES[slot.generation],
        widths[slot.width],
        smbios.IN_USE if used else smbios.AVAILABLE,
        address=slot.address or address,
        id=slot.number,
    )


def _dimm(dimm: Dimm) -> smbios.Structure:
    if not dimm.size_mib:
        return smbios.empty_memory_device(dimm.locator, dimm.bank)
    detail = smbios.SYNCHRONOUS | (smbios.REGISTERED if dimm.registered else smbios.UNBUFFERED)
    wide = 80 if dimm.kind == "DDR5" else 72
    data = 64 if dimm.form_factor != "Row Of Chips" else 32
    return smbios.memory_device(
        dimm.locator,
        dimm.bank,
        dimm.size_mib << 20,
        kind=KINDS[dimm.kind],
        form_factor=FORM_FACTORS[dimm.form_factor],
        detail=detail,
        speed_mts=dimm.rated_mts,
        configured_speed_mts=dimm.configured_mts,
        rank=dimm.ranks,
        total_width_bits=wide if dimm.ecc else data,
        data_width_bits=data,
        manufacturer=dimm.manufacturer,
        serial=dimm.serial or "00000000",
        part=dimm.part_number,
    )

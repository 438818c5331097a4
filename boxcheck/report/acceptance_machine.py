"""The machine as found: how the GPUs hang together, every part with its place and firmware, how the system was set."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.account import bus_of
from boxcheck.model import Unread
from boxcheck.probes.amdgpu import Amdgpu
from boxcheck.probes.bmc import Bmc
from boxcheck.probes.cpu import Cpu
from boxcheck.probes.dmi import Dmi
from boxcheck.probes.gpus import Gpus
from boxcheck.probes.identity import Identity
from boxcheck.probes.kernel import Kernel
from boxcheck.probes.memory import Memory
from boxcheck.probes.network import Network
from boxcheck.probes.nvme import Nvme
from boxcheck.probes.nvml import Nvml
from boxcheck.report.acceptance_told import Told
from boxcheck.report.acceptance_topology import drawn_topology
from boxcheck.report.acceptance_words import code, facts_table, value_words
from boxcheck.report.document import Block, Facts, Fold, Heading, Paragraph, Words

GIB = 1 << 30


def machine(told: Told) -> Iterator[Block]:
    yield Heading(level=2, text="Machine as found", anchor="machine")
    if not told.has_capture:
        yield Paragraph(words="The store holds no reading of the machine: what hangs where, and with which firmware, "
                              "is not known.")
        return
    figure = drawn_topology(told)
    if figure is not None:
        yield figure
    else:
        yield Paragraph(words="No GPU was found on a bus, so there is no way to draw.")
    yield facts_table(
        told.kinds, ("place", "bus", told.kind, "serial", "UUID", "VBIOS", "memory"), tuple(_gpus(told)),
        shares=(0.8, 0.8, 1.6, 1.3, 2.0, 1.4, 0.8))
    yield Facts(rows=tuple(_system(told)))
    yield Fold(title="Memory, drives, network", blocks=tuple(_parts(told)))


def _gpus(told: Told) -> Iterator[tuple[Words, ...]]:
    nvml, amdgpu = told.facts.of(Nvml), told.facts.of(Amdgpu)
    for info in told.gpus:
        vbios: object = Unread("its driver was not asked", "absent")
        if info.bdf is not None and not isinstance(nvml, Unread) and (card := nvml.of(info.bdf)) is not None:
            vbios = card.vbios or Unread("NVML did not tell", "error")
        elif info.bdf is not None and not isinstance(amdgpu, Unread):
            known = next((one for bdf, one in amdgpu.cards.items() if bdf == info.bdf), None)
            vbios = known.vbios if known is not None else vbios
        yield (told.place(info), (code(bus_of(info.bdf) if info.bdf else info.key),), info.name,
               info.serial or "not read", (code(info.uuid),) if info.uuid else "not read",
               value_words(vbios) if not isinstance(vbios, Unread) else "not read",
               f"{info.memory_bytes / GIB:.1f} GiB" if info.memory_bytes else "not read")


def _system(told: Told) -> Iterator[tuple[str, Words]]:
    dmi, kernel, cpu = told.facts.of(Dmi), told.facts.of(Kernel), told.facts.of(Cpu)
    if isinstance(dmi, Unread):
        yield "Board", value_words(dmi)
    else:
        yield "Board", beside(dmi.board_vendor, dmi.board_name)
        if not isinstance(dmi.smbios, Unread):
            board, system = dmi.smbios.baseboard, dmi.smbios.system
            yield "Board serial", value_words(board if isinstance(board, Unread) else board.serial)
            yield "System serial", value_words(system if isinstance(system, Unread) else system.serial)
        else:
            yield "Board serial", value_words(dmi.smbios)
        yield "BIOS", f"{beside(dmi.bios_vendor, dmi.bios_version)}, {value_words(dmi.bios_date)}"
    bmc = told.facts.of(Bmc)
    if not isinstance(bmc, Unread):
        info = bmc.info
        yield "BMC", value_words(info) if isinstance(info, Unread) else f"firmware {value_words(info.firmware)}"
    if not isinstance(cpu, Unread):
        sockets = "1 socket" if cpu.sockets == 1 else f"{value_words(cpu.sockets)} sockets"
        yield "Processor", f"{value_words(cpu.model)}, {value_words(cpu.cores)} cores, {sockets}"
    if not isinstance(kernel, Unread):
        yield "Kernel", (code(value_words(kernel.release)),)
        line = kernel.command_line
        yield "Command line", value_words(line) if isinstance(line, Unread) else (
            code(" ".join(one.text for one in line.parameters) or "empty"),)
        yield "System", kernel.os_name or "-"
    drivers = dict.fromkeys(info.driver for info in told.gpus if info.driver)
    yield "Driver", "; ".join(drivers) or "not read"
    host = told.facts.of(Identity)
    if not isinstance(host, Unread):
        yield "Host name", value_words(host.host_name)


def _parts(told: Told) -> Iterator[Block]:
    memory, nvme, network = told.facts.of(Memory), told.facts.of(Nvme), told.facts.of(Network)
    dmi = told.facts.of(Dmi)
    serials: dict[str, str] = {}
    if not isinstance(dmi, Unread) and not isinstance(dmi.smbios, Unread):
        serials = {one.locator or "": one.serial or "-" for one in dmi.smbios.memory_devices}
    if isinstance(memory, Unread) or isinstance(memory.modules, Unread):
        why = memory if isinstance(memory, Unread) else memory.modules
        yield Paragraph(words=f"Memory modules {value_words(why)}.")
    else:
        yield facts_table("Memory modules", ("socket", "size", "kind", "speed", "maker", "part", "serial"), tuple(
            (one.label, _gib(one.size_bytes), value_words(one.kind), value_words(one.configured_mts, "MT/s"),
             value_words(one.manufacturer), value_words(one.part), serials.get(one.label, "-"))
            for one in memory.modules), numeric=(1,))
    if isinstance(nvme, Unread):
        yield Paragraph(words=f"Drives {value_words(nvme)}.")
    elif nvme.drives:
        yield facts_table("NVMe drives", ("drive", "bus", "model", "serial", "firmware", "wear"), tuple(
            (one.name, bus_of(one.bdf) if one.bdf else "-", value_words(one.model), value_words(one.serial),
             value_words(one.firmware), "not read" if isinstance(one.smart, Unread) else value_words(
                one.smart.used_percent, "%")) for one in nvme.drives))
    if isinstance(network, Unread) or isinstance(network.ports, Unread):
        yield Paragraph(words="Network ports were not read.")
    elif network.ports:
        yield facts_table("Network ports", ("port", "bus", "driver", "state", "speed", "MAC"), tuple(
            (one.name, bus_of(one.bdf), one.driver or "-", value_words(one.state),
             value_words(one.speed_mbps, "Mbit/s"), value_words(one.mac)) for one in network.ports))
    gpus = told.facts.of(Gpus)
    if not isinstance(gpus, Unread) and gpus.unreadable is not None:
        yield Paragraph(words=f"Some of the bus was not read: {gpus.unreadable.why}.")


def beside(maker: str | None | Unread, name: str | None | Unread) -> str:
    """Two words of one name, or two clauses where one of them was not read."""
    parted = "; " if isinstance(maker, Unread) or isinstance(name, Unread) else " "
    return f"{value_words(maker)}{parted}{value_words(name)}"


def _gib(value: int | Unread) -> str:
    if isinstance(value, Unread):
        return f"not read: {value.why}"
    return f"{value / GIB:.0f} GiB" if value else "empty"

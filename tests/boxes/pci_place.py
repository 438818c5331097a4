"""Putting functions on buses: numbers, addresses, bridge windows; and the bandwidth that the kernel works out."""

from __future__ import annotations

from typing import Literal

from tests.boxes.pci_build import KIB, MIB, Bar, Function, speed_text
from tests.boxes.pci_config import Express, Msi, MsiX


def number_buses(
    bus: int, functions: list[Function], parent: Function | None = None, first_secondary: int | None = None
) -> int:
    """Gives every function its bus, depth first, starting below `bus`. Returns the highest bus number used."""
    top = bus if first_secondary is None else first_secondary - 1
    for function in functions:
        function.bus, function.parent, function.siblings = bus, parent, functions
        if function.bridge:
            function.secondary = function.secondary or top + 1
            function.subordinate = max(
                function.secondary, number_buses(function.secondary, function.children, function)
            )
            top = max(top, function.subordinate)
    return top


def _align(value: int, to: int) -> int:
    return (value + to - 1) // to * to


def _wanted(function: Function, kind: str) -> list[Bar]:
    def is_kind(bar: Bar) -> bool:
        if bar.kind == "io":
            return kind == "io"
        return (kind == "prefetch") == bar.prefetchable and kind != "io"

    return [bar for bar in function.bars if is_kind(bar)]


def place(functions: list[Function], kind: Literal["io", "memory", "prefetch"], start: int) -> int:
    """Assigns addresses to all BARs of one kind on a bus, then to the windows below. Returns the first free address."""
    grain = {"io": 4 * KIB, "memory": MIB, "prefetch": MIB}[kind]
    cursor = start
    bars = [(bar.size, function, bar) for function in functions if function.visible for bar in _wanted(function, kind)]
    for size, _, bar in sorted(bars, key=lambda item: -item[0]):
        cursor = _align(cursor, size)
        bar.address = cursor
        cursor += size
    if kind == "memory":
        for function in functions:
            if function.visible and function.rom_size and not function.bridge:
                cursor = _align(cursor, function.rom_size)
                function.rom_address = cursor
                cursor += function.rom_size
    for function in functions:
        if not function.bridge:
            continue
        below = _largest(function.children, kind)
        window = {"io": function.io_window, "memory": function.memory_window, "prefetch": function.prefetch_window}[
            kind
        ]
        if not below:
            window.size = 0
            continue
        window.start = _align(cursor, max(grain, below))
        cursor = _align(place(function.children, kind, window.start), grain)
        window.size = cursor - window.start
    return cursor


def _largest(functions: list[Function], kind: str) -> int:
    sizes = [0]
    for function in functions:
        if not function.visible:
            continue
        sizes += [bar.size for bar in _wanted(function, kind)]
        if kind == "memory" and function.rom_size:
            sizes.append(function.rom_size)
        sizes.append(_largest(function.children, kind))
    return max(sizes)


def bandwidth_line(function: Function) -> str | None:
    """What the kernel prints when a card's path is slower than the card: pcie_report_downtraining()."""
    express = function.get(Express)
    if express is None or function.function_number or express.port_type not in ("endpoint", "legacy", "upstream"):
        return None

    capable = rate(express.max_speed_gts) * express.max_width
    available, where, speed_gts, width = capable + 1, function, 0.0, 0
    here: Function | None = function
    while here is not None:  # from the card up; of equal links the one nearest the root is named
        own = here.get(Express)
        if own is not None and own.has_link:
            speed, lanes = here.boot_link or (own.speed_gts, own.width)
            if rate(speed) * lanes <= available:
                available, where, speed_gts, width = rate(speed) * lanes, here, speed, lanes
        here = here.parent
    if available >= capable:
        return None
    return (
        f"{available // 1000}.{available % 1000:03d} Gb/s available PCIe bandwidth, limited by "
        f"{speed_text(speed_gts)} x{width} link at {where.bdf} (capable of {capable // 1000}.{capable % 1000:03d} "
        f"Gb/s with {speed_text(express.max_speed_gts)} x{express.max_width} link)"
    )


def rate(speed_gts: float) -> int:
    """Mb/s per lane after encoding, the integers of PCIE_SPEED2MBS_ENC."""
    return {2.5: 2000, 5.0: 4000, 8.0: 7876, 16.0: 15753, 32.0: 31507, 64.0: 63015}[speed_gts]


def has_message_interrupts(function: Function) -> bool:
    return function.get(Msi) is not None or function.get(MsiX) is not None

"""Functions made up for the tests: a switch with a card behind it, and functions whose every register is random."""

from __future__ import annotations

from random import Random

from .pci_builder import (
    DOWNSTREAM,
    ENDPOINT,
    EVENT_COLLECTOR,
    FROM_PCI_BRIDGE,
    INTEGRATED,
    LEGACY,
    ROOT_PORT,
    TO_PCI_BRIDGE,
    UPSTREAM,
    ConfigBuilder,
    dwords,
    root_port,
    words,
)

_VECTOR = {3: 0x0E, 4: 0x1E, 5: 0x3E, 6: 0x7E}


def _link(speed: int, port: int) -> dict[int, tuple[int, int]]:
    return {
        0x04: (4, 0x0000_8FE1),
        0x08: (2, 0x2936),
        0x0A: (2, 0x0000),
        0x0C: (4, speed | 16 << 4 | 0x0040_0C00 | port << 24),
        0x10: (2, 0x0040),
        0x12: (2, speed | 16 << 4 | 0x1000),
        0x24: (4, 0x7000_0990),
        0x28: (2, 0x0440),
        0x2C: (4, _VECTOR[speed] | 0x0180_0000),
        0x30: (2, speed),
        0x32: (2, 0x041E if speed == 6 else 0x001E),
    }


def _physical_layers(port: ConfigBuilder, speed: int) -> None:
    port.ext(0x0019, dwords(0, 0) + bytes(32))
    if speed >= 4:
        port.ext(0x0026, dwords(0, 0, 0x000F, 0, 0, 0, 0) + bytes(16))
        port.ext(0x0027, words(0, 1) + bytes(64))
    if speed >= 5:
        port.ext(0x002A, dwords(0x0001, 0, 0x000F, 0, 0, 0, 0) + bytes(16))
    if speed >= 6:
        port.ext(0x0031, dwords(0, 0, 0x000F, 0) + bytes(16))


def switch_tree(speed: int) -> dict[str, bytes]:
    """Root port, upstream and downstream port of a card's own switch, and the GPU behind them, with its audio."""
    up = ConfigBuilder(vendor=0x1002, device=0x1478)
    up.u8(0x18, 0x41).u8(0x19, 0x42).u8(0x1A, 0x43)
    up.cap(0x01, words(0x0003, 0x0000) + bytes(2))
    up.express(UPSTREAM, registers=_link(speed, 0))
    up.ext(0x0001, dwords(0, 0, 0x0046_2030, 0, 0x6000, 0, *[0] * 4))
    _physical_layers(up, speed)

    down = ConfigBuilder(vendor=0x1002, device=0x1479)
    down.u8(0x18, 0x42).u8(0x19, 0x43).u8(0x1A, 0x43)
    down.express(DOWNSTREAM, registers=_link(speed, 0) | {0x32: (2, 0x001E)})
    down.ext(0x0001, dwords(0, 0, 0x0046_2030, 0, 0x6000, 0, *[0] * 4))
    down.ext(0x000D, words(0x005F, 0x0000))
    _physical_layers(down, speed)

    gpu = ConfigBuilder(vendor=0x1002, device=0x744C, class_code=0x030000, header_type=0x80)
    gpu.u32(0x10, 0x0000_000C).u32(0x14, 0x0000_0018).u16(0x2C, 0x1002).u16(0x2E, 0x0E3B)
    gpu.cap(0x01, words(0x0003, 0x0000) + bytes(2))
    gpu.express(LEGACY, registers=_link(speed, 0))
    gpu.ext(0x0001, dwords(0, 0, 0x0046_2030, 0, 0x6000, 0, *[0] * 4))
    gpu.ext(0x0015, dwords(0x000F_F000, 0x0000_0F60, 0x0000_1FE0, 0x0000_0802, 0x0000_0010, 0x0000_0004))
    gpu.ext(0x001E, dwords(0x0000_001F, 0x0000_0000, 0x0000_0000))
    _physical_layers(gpu, speed)

    audio = ConfigBuilder(vendor=0x1002, device=0xAB30, class_code=0x040300, header_type=0x80)
    audio.express(LEGACY, registers=_link(speed, 0))
    return {
        "0000:40:01.1": root_port(speed=min(speed, 5), link_speed=min(speed, 5)).bytes(),
        "0000:41:00.0": up.bytes(),
        "0000:42:00.0": down.bytes(),
        "0000:43:00.0": gpu.bytes(),
        "0000:43:00.1": audio.bytes(),
    }


_TYPES = (ENDPOINT, LEGACY, ROOT_PORT, UPSTREAM, DOWNSTREAM, TO_PCI_BRIDGE, FROM_PCI_BRIDGE, INTEGRATED,
          EVENT_COLLECTOR, 0x2, 0xF)  # fmt: skip
_BRIDGES = (ROOT_PORT, UPSTREAM, DOWNSTREAM, TO_PCI_BRIDGE, FROM_PCI_BRIDGE)

# Extended capability -> length of its body, beyond what any decoder here reads.
_BODIES = {
    0x0001: 0x44, 0x0003: 0x08, 0x000D: 0x08, 0x0018: 0x04, 0x0019: 0x28, 0x001D: 0x40, 0x001E: 0x0C, 0x0026: 0x2C,
    0x0027: 0x44, 0x002A: 0x2C, 0x0031: 0x1C,
}  # fmt: skip


def random_function(random: Random, port_type: int, version: int, slot: bool) -> bytes:
    bridge = port_type in _BRIDGES
    header_type = (1 if bridge else 0) | random.choice((0, 0x80))
    function = ConfigBuilder(header_type=header_type, class_code=0x060400 if bridge else 0x020000)
    function.u16(0x04, random.getrandbits(16))
    function.u16(0x06, random.getrandbits(16) & ~0x0010)
    for offset in range(0x10, 0x34, 4):
        function.u32(offset, random.getrandbits(32))
    function.u16(0x3E, random.getrandbits(16))
    function.cap(0x01, random.randbytes(6))
    registers = {offset: (4, random.getrandbits(32)) for offset in range(0x04, 0x3C, 4)}
    if random.getrandbits(3) == 0:
        registers[0x2C] = (4, 0)  # LnkCap2 as it was before PCIe 3.0
    function.express(port_type, version=version, slot=slot, registers=registers)
    chosen = list(_BODIES)
    random.shuffle(chosen)
    for capability in chosen:
        function.ext(capability, random.randbytes(_BODIES[capability]), version=random.randint(1, 15))
    for capability in (0x0015, 0x0024):
        count = random.randint(0, 7)
        pairs = [random.getrandbits(32) for _ in range(14)]
        pairs[1] = pairs[1] & ~0xE0 | count << 5
        # Each entry names a BAR of its own, as hardware does: two entries for one BAR have no name to compare by.
        for entry in range(7):
            pairs[2 * entry + 1] = pairs[2 * entry + 1] & ~0x7 | entry
        function.ext(capability, dwords(*pairs))
    return function.bytes()


def random_functions(random: Random, count: int) -> dict[str, bytes]:
    """`count` functions of all port types, versions and slots, on buses of their own."""
    found = {}
    for index in range(count):
        port_type = _TYPES[index % len(_TYPES)]
        version = random.choice((1, 2, 2, 2))
        function = random.choice((0, 0, 0, 1))
        data = random_function(random, port_type, version, bool(random.getrandbits(1)))
        found[f"0000:{index & 0xFF:02x}:00.{function}"] = data
    return found

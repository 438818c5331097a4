"""A link whose two ends have lane margining, as registers of a `Machine`: seeded eyes, and faults on demand.

`Registers` are those of the header, of the power management, PCI Express and AER capabilities, and of 0x27. It shares no
code with `boxcheck.riser`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from boxcheck.model import Bdf
from tests.riser.simulated.machine import Machine
from tests.riser.simulated.margin_lane import Eye, Kind, LaneModel, MarginOwner, PortModel, Stepping

POWER, EXPRESS, AER, MARGINING = 0x40, 0x60, 0x100, 0x200
CODES = {8.0: 3, 16.0: 4, 32.0: 5, 64.0: 6}
PORT, CARD = Bdf("0000:40:01.1"), Bdf("0000:41:00.0")


class MarginLink(MarginOwner):
    """Of one link. `wear` scales an eye by (receiver number, lane)."""

    def __init__(self, machine: Machine, *, width: int = 16, max_width: int = 16, speed_gts: float = 16.0,
                 retimers: int = 0, kind: Kind | None = None, seed: int = 1,
                 wear: dict[tuple[int, int], float] | None = None, reversed_lanes: bool = False,
                 link_control: int = 0x0042, link_control_2: int = 0x0004, power: str = "auto") -> None:
        self.machine, self.width, self.max_width, self.speed_gts = machine, width, max_width, speed_gts
        self.retimers, self.reversed_lanes = retimers, reversed_lanes
        self.rng = random.Random(seed)
        self.waits, self.steps = [], []
        self.freezes: Stepping | None = None
        self.step_count = 0
        self.at_step: dict[int, Callable[[LaneModel], None]] = {}
        self.freeze_step: int | None = None
        self.lost_writes: set[int] = set()
        self.control_writes = 0
        self.never_ready: set[Bdf] = set()
        self.uses_driver: dict[Bdf, float] = {}
        """Function -> time at which its software is ready."""
        self.sticky_aspm: set[Bdf] = set()
        self.wired_zero = False
        """LnkCtl.9 and LnkCtl2.5 stay 0."""
        self.recovery = "suspend"
        self.recovers_until: float | None = None
        self.down_until: float | None = None
        self.comes_back_width = width
        self.keeps_settings = False
        """A card that a drop does not reset, or whose driver puts its settings back at once."""
        self.recovers_on_errors = False
        self.trainings = 0
        self.violations: list[str] = []
        base = kind or Kind()
        numbers = [1, *range(2, 2 + 2 * retimers), 6]
        self.eyes: dict[tuple[int, int], Eye] = {}
        for number in numbers:
            for lane in range(width):
                scale = (wear or {}).get((number, lane), 1.0)
                self.eyes[number, lane] = Eye(
                    *(scale * self.rng.uniform(0.95, 1.05) * side for side in (0.255, 0.245, 0.062, 0.055)))
        self.ports = {PORT: PortModel(self, {number: replace(base) for number in numbers if number != 6}, max_width,
                                      seed + 1),
                      CARD: PortModel(self, {6: replace(base)}, max_width, seed + 2)}
        self.control = {PORT: link_control, CARD: link_control}
        self.control_2 = {PORT: link_control_2, CARD: link_control_2}
        for bdf in (PORT, CARD):
            self._fill(bdf)
            machine.attributes[f"/sys/bus/pci/devices/{bdf}/power/control"] = power
            machine.attributes[f"/sys/bus/pci/devices/{bdf}/aer_dev_correctable"] = "RxErr 0\nBadTLP 0\nTOTAL_ERR_COR 0"
        machine.on_read.append(self._read)
        machine.on_write.append(self._write)
        machine.on_tick.append(self._tick)

    def _fill(self, bdf: Bdf) -> None:
        space = self.machine.add(bdf)
        port = bdf == PORT

        def put(at: int, size: int, value: int) -> None:
            space[at:at + size] = value.to_bytes(size, "little")

        put(0, 4, 0x1453_1022 if port else 0x2684_10DE)
        put(6, 2, 0x0010)
        put(8, 4, 0x06040000 if port else 0x0300_0000)
        put(0x0E, 1, 1 if port else 0)
        put(0x34, 1, POWER)
        put(POWER, 2, 0x6001)
        put(EXPRESS, 2, 0x0010)
        put(EXPRESS + 2, 2, 0x0042 if port else 0x0002)
        put(EXPRESS + 0x0C, 4, CODES[self.speed_gts] | self.max_width << 4 | 3 << 10 | (1 << 20 if port else 0))
        put(EXPRESS + 0x2C, 4, sum(2 << code for code in range(CODES[self.speed_gts])))
        put(EXPRESS + 0x32, 2, {0: 0, 1: 1 << 6, 2: 3 << 6}[self.retimers])
        put(AER, 4, 0x0001 | 2 << 16 | MARGINING << 20)
        put(MARGINING, 4, 0x0027 | 1 << 16)

    # What the lanes ask.

    def logical(self, register_lane: int, max_width: int) -> int | None:
        lane = max_width - 1 - register_lane if self.reversed_lanes else register_lane
        return lane if lane < self.width else None

    def step_taken(self) -> None:
        self.step_count += 1

    def step_began(self, lane: LaneModel, step: Stepping) -> None:
        if self.freeze_step is not None and self.step_count >= self.freeze_step and self.freezes is None and (
                step.trips_after is None):
            self.freezes = step
        if self.step_count in self.at_step:
            self.at_step[self.step_count](lane)

    # Events.

    def recover(self, seconds: float = 0.02) -> None:
        """The link goes through Recovery and comes back."""
        self.trainings += 1
        self.recovers_until = self.machine.now + seconds
        for lane in self._all_lanes():
            if self.recovery == "suspend":
                lane.suspend(self.machine.now)
            else:
                lane.terminate(self.machine.now, freeze=self.recovery == "freeze")

    def drop(self, seconds: float = 0.3) -> None:
        """DL_Down."""
        self.down_until = self.machine.now + seconds
        self.machine.gone.add(CARD)
        for lane in self._all_lanes():
            lane.reset()

    def _all_lanes(self) -> list[LaneModel]:
        return [lane for port in self.ports.values() for lane in port.lanes]

    def _tick(self, before: float, after: float) -> None:
        if self.recovers_until is not None and after >= self.recovers_until:
            self.recovers_until = None
            for lane in self._all_lanes():
                lane.resume(after)
        if self.down_until is not None and after >= self.down_until:
            self.down_until = None
            self.machine.gone.discard(CARD)
            if not self.keeps_settings:
                self.control[CARD], self.control_2[CARD] = 0, CODES[self.speed_gts]
            self.width = self.comes_back_width
        for bdf, port in self.ports.items():
            for number, kind in port.kinds.items():
                if not kind.ind_sampler:
                    self._damage(bdf, port, number, before, after)

    def _damage(self, bdf: Bdf, port: PortModel, number: int, before: float, after: float) -> None:
        """The receiver samples the data itself: what it misses is lost."""
        seen = 0
        for lane in port.lanes:
            step = lane.moved.get(number)
            if step is not None and after >= step.looks_from:
                seen += max(0, step.errors(after) - step.errors(max(before, step.looks_from)))
        if seen:
            path = f"/sys/bus/pci/devices/{bdf}/aer_dev_correctable"
            counts = {line.split()[0]: int(line.split()[1]) for line in self.machine.attributes[path].splitlines()}
            counts["BadTLP"] += seen
            counts["TOTAL_ERR_COR"] += seen
            self.machine.attributes[path] = "\n".join(f"{name} {count}" for name, count in counts.items())
            if self.recovers_on_errors and self.recovers_until is None:
                self.recover()

    # Registers.

    def _read(self, bdf: Bdf, offset: int, size: int) -> int | None:
        if bdf not in self.ports:
            return None
        if offset == EXPRESS + 0x10 and size == 2:
            return self.control[bdf]
        if offset == EXPRESS + 0x30 and size == 2:
            return self.control_2[bdf]
        if offset == EXPRESS + 0x12 and size == 2:
            if self.down_until is not None:
                return 0x1000
            training = 0x800 if self.recovers_until is not None else 0
            return CODES[self.speed_gts] | self.width << 4 | 0x1000 | training | (0x2000 if bdf == PORT else 0)
        if offset == MARGINING + 4 and size == 2:
            return 1 if bdf in self.uses_driver else 0
        if offset == MARGINING + 6 and size == 2:
            soft = 2 if bdf in self.uses_driver and self.machine.now >= self.uses_driver[bdf] else 0
            return (0 if bdf in self.never_ready else 1) | soft
        lane, which = divmod(offset - MARGINING - 8, 4)
        if 0 <= lane < self.max_width and offset >= MARGINING + 8 and size == 2:
            model = self.ports[bdf].lanes[lane]
            return model.read(self.machine.now) if which == 2 else model.control
        return None

    def _write(self, bdf: Bdf, offset: int, size: int, value: int) -> bool:
        if bdf not in self.ports:
            return False
        if size != 2:
            self.violations.append(f"{bdf}: {size} bytes written at {offset:#x}")
        if offset == EXPRESS + 0x10:
            if value & 0x30:
                self.violations.append(f"{bdf}: Retrain or Link Disable written")
            kept = self.control[bdf] & 3 if bdf in self.sticky_aspm else value & 3
            self.control[bdf] = value & ~0x23 & (~0x200 if self.wired_zero else ~0) | kept
            return True
        if offset == EXPRESS + 0x30:
            self.control_2[bdf] = value & (~0x20 if self.wired_zero else ~0)
            return True
        lane, which = divmod(offset - MARGINING - 8, 4)
        if 0 <= lane < self.max_width and offset >= MARGINING + 8:
            self.control_writes += 1
            if which == 0 and self.control_writes not in self.lost_writes and (
                    self.recovers_until is None and self.down_until is None):
                self.ports[bdf].lanes[lane].write(value, self.machine.now)
            return True
        self.violations.append(f"{bdf}: a write at {offset:#x}")
        return True

    # What tests ask afterwards.

    @property
    def all_violations(self) -> list[str]:
        return self.violations + [one for port in self.ports.values() for one in port.violations]

    @property
    def in_place(self) -> bool:
        """Every sampler of every lane is at home, and no command is left in a register."""
        for lane in self._all_lanes():
            lane.settle(self.machine.now + 1.0)
        return all(lane.in_place for lane in self._all_lanes())

    @property
    def settings(self) -> tuple[object, ...]:
        """Everything that must be as it was."""
        return (dict(self.control), dict(self.control_2), {
            bdf: self.machine.attributes[f"/sys/bus/pci/devices/{bdf}/power/control"] for bdf in self.ports})

    def edge_steps(self, number: int, lane: int, direction: str) -> float:
        """Where the simulated edge lies, in steps of its receiver."""
        kind = self.ports[CARD if number == 6 else PORT].kinds[number]
        eye = self.eyes[number, lane]
        if direction in ("up", "down"):
            volts = getattr(eye, direction) if kind.ind_up_down else min(eye.up, eye.down)
            return volts / (kind.true_voltage_percent / 100 / kind.voltage_steps)
        part = getattr(eye, direction) if kind.ind_left_right else min(eye.left, eye.right)
        return part / (kind.true_timing_percent / 100 / kind.timing_steps)

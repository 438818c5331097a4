"""A link between a port and a card on the fake machine, at the level of registers: it trains, equalises, drops, makes
errors, and what the kernel shows of it in sysfs. Written from the specification and the kernel's sources alone; it shares
no code with what it tests, and knows no offset of it.

All that outlives a program is in the registers' bytes and the attributes, so that a model can be hung into a machine
whose bytes another process left behind.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable

from boxcheck.model import Bdf
from boxcheck.riser.links.ports import Refused
from tests.riser.simulated.machine import Machine

RATE = {1: 2.5e9, 2: 5e9, 3: 8e9, 4: 16e9, 5: 32e9}
FATES = ("full", "slow", "narrow", "down")
ATTRS = ("l0s_aspm", "l1_aspm", "l1_1_aspm", "l1_2_aspm", "l1_1_pcipm", "l1_2_pcipm")
SYS = "/sys/bus/pci/devices/"


class Registers:
    """One function's bytes, with what may be written and what clears by a one."""

    def __init__(self, data: bytearray, express: int, extended: int) -> None:
        self.data, self.express = data, express
        self.at = {"aer": extended, "serial": extended + 0x48, "secondary": extended + 0x54, "l1ss": extended + 0x80,
                   "phy16": extended + 0x90, "phy32": extended + 0xC0, "margining": extended + 0xF0}
        self.rw = bytearray(4096)
        self.w1c = bytearray(4096)
        e = express
        self._may(0x04, 2, 0x0547)
        self._may(e + 0x08, 2, 0x7FFF)
        self._clears(e + 0x0A, 2, 0x000F)
        self._may(e + 0x10, 2, 0xEFDB)
        self._clears(e + 0x12, 2, 0xC000)
        self._may(e + 0x28, 2, 0xFFFF)
        self._may(e + 0x30, 2, 0xFFFF)
        self._clears(e + 0x32, 2, 0x0020)
        self._clears(self.at["aer"] + 0x04, 4, 0xFFFF_FFFF)
        self._clears(self.at["aer"] + 0x10, 4, 0xFFFF_FFFF)
        self._may(self.at["aer"] + 0x08, 8, (1 << 64) - 1)
        self._may(self.at["aer"] + 0x14, 4, 0xFFFF_FFFF)
        self._may(self.at["secondary"] + 4, 4, 0xFE02)
        self._clears(self.at["secondary"] + 8, 4, 0xFFFF_FFFF)
        self._may(self.at["l1ss"] + 8, 8, (1 << 64) - 1)
        for more in (0x10, 0x14, 0x18):
            self._clears(self.at["phy16"] + more, 4, 0xFFFF_FFFF)
        self._clears(self.at["phy16"] + 0x0C, 4, 0x10)
        self._clears(self.at["phy32"] + 0x0C, 4, 0x10)
        for lane in range(16):
            self._may(self.at["margining"] + 8 + 4 * lane, 2, 0xFFFF)

    def _may(self, at: int, size: int, mask: int) -> None:
        self.rw[at:at + size] = mask.to_bytes(size, "little")

    def _clears(self, at: int, size: int, mask: int) -> None:
        self.w1c[at:at + size] = mask.to_bytes(size, "little")

    def get(self, at: int, size: int = 2) -> int:
        return int.from_bytes(self.data[at:at + size], "little")

    def put(self, at: int, value: int, size: int = 2) -> None:
        """By the hardware: no mask."""
        self.data[at:at + size] = value.to_bytes(size, "little")

    def bits(self, at: int, mask: int, value: int, size: int = 2) -> None:
        self.put(at, self.get(at, size) & ~mask | value & mask, size)

    def write(self, at: int, size: int, value: int) -> None:
        """By software: byte for byte, so that a wide write hits its neighbours."""
        for number, byte in enumerate(value.to_bytes(size, "little")):
            here = at + number
            old = self.data[here]
            self.data[here] = old & ~self.rw[here] & ~(self.w1c[here] & byte) | byte & self.rw[here]


class SimulatedLink:
    """Hangs itself into a machine. Times are seconds, speeds are codes (1: 2.5 GT/s ... 5: 32 GT/s)."""

    def __init__(
        self, machine: Machine, *, port: str = "0000:40:01.1", card: str = "0000:41:00.0", port_code: int = 4,
        card_code: int = 4, lanes: int = 16, card_lanes: int = 16, seed: int = 1, chances: dict[str, float] | None = None,
        fates: Iterable[str] = (), rises_after: float = 0.0002, trains_for: float = 0.006, equalises_for: float = 0.08,
        unequal: float = 0.0, hotplug: bool = False, cooling: int | None = None, aspm: str | None = "l1",
        substates: bool = False, rests: bool = False, driver_sets: tuple[float, int] | None = None,
        ber: dict[tuple[str, int], float] | None = None, bad_lanes: dict[str, int] | None = None, reports: bool = True,
        keeps_retrain: bool = False, tells_active: bool = True, card_id: tuple[int, int] = (0x10DE, 0x2684),
        serial: int = 0x1122334455667788, attach: bool = False, aspm_switches: bool = True,
        deaf: bool = False,
    ) -> None:
        """`chances`: of `slow`, `narrow`, `down` at each training; `fates`: the first trainings' outcomes, before chance
        rules. `unequal`: chance that an equalisation stays unfinished. `ber`: (`card` or `host`, speed) -> errors a bit.
        `driver_sets`: (seconds after traffic began, code) at which the driver rewrites the target speed. `attach`: the
        bytes are there already. `keeps_retrain`: Retrain Link reads as it was written, and the link trains while it
        stands. `deaf`: the port's link control takes no writes and does nothing, as QEMU's."""
        self.machine, self.random = machine, random.Random(seed)
        self.port_bdf, self.card_bdf = Bdf(port), Bdf(card)
        self.port_code, self.card_code, self.lanes = port_code, card_code, min(lanes, card_lanes)
        self.chances, self.fates = chances or {}, list(fates)
        self.rises_after, self.trains_for, self.equalises_for, self.unequal = (
            rises_after, trains_for, equalises_for, unequal)
        self.hotplug, self.rests, self.driver_sets = hotplug, rests, driver_sets
        self.ber, self.bad_lanes, self.reports = ber or {}, bad_lanes or {}, reports
        self.keeps_retrain, self.deaf = keeps_retrain, deaf
        self.traffic: set[str] = set()
        """`card`, `host`: which way data goes; idle links make no errors that are seen here."""
        self.traffic_since: float | None = None
        self.violations: list[str] = []
        self.trainings = self.equalisations = 0
        self.removed = False
        self._training: tuple[float, float, bool] | None = None
        self._eq_asked = False
        self.card_defaults = b""
        self.cooling = None if cooling is None else f"/sys/class/thermal/cooling_device{cooling}"
        if not attach:
            machine.add(port)
            machine.add(card)
        self.port = Registers(machine.space[self.port_bdf], 0x58, 0x100)
        self.card = Registers(machine.space[self.card_bdf], 0x78, 0x100)
        if not attach:
            self._build(lanes, card_lanes, card_id, serial, tells_active, substates, aspm, aspm_switches)
        status = self.port.get(self.port.express + 0x12)
        self.up, self.code, self.width = bool(status & 0x2000) or not tells_active, status & 0xF or 1, status >> 4 & 0x3F
        self.cached = self.code
        self.card_defaults = self._defaults()
        if attach and status & 0x0800:
            self._end_training(machine.now, False)
        machine.on_write.append(self._on_write)
        machine.on_set.append(self._on_set)
        machine.on_tick.append(self._on_tick)

    # What there is when the machine starts.

    def _build(
        self, lanes: int, card_lanes: int, card_id: tuple[int, int], serial: int, tells_active: bool, substates: bool,
        aspm: str | None, aspm_switches: bool,
    ) -> None:
        common = min(self.port_code, self.card_code)
        for one, code, width, ids, kind, header in (
                (self.port, self.port_code, lanes, (0x1022, 0x1483), 0x4, 1),
                (self.card, self.card_code, card_lanes, card_id, 0x0, 0)):
            one.put(0, ids[0])
            one.put(2, ids[1])
            one.put(4, 0x0006)
            one.put(6, 0x0010)
            one.put(8, 0x0604_0000 if header else 0x0300_00A1, 4)
            one.data[0x0E] = header
            one.data[0x34] = one.express
            if not header:
                one.put(0x2C, 0x1043)
                one.put(0x2E, 0x889C)
            e = one.express
            one.put(e, 0x10)
            one.put(e + 2, 2 | kind << 4 | (0x100 if header else 0))
            one.put(e + 0x04, 0x8002, 4)
            one.put(e + 0x08, 0x283F)
            active = 0x0010_0000 if tells_active and header else 0
            one.put(e + 0x0C, code | width << 4 | (0x0C00 if aspm else 0) | 0x0020_0000 | active, 4)
            one.put(e + 0x10, 0x0040 | (0x0C00 if header else 0) | (2 if aspm else 0))
            one.put(e + 0x28, 0x0009)
            one.put(e + 0x2C, sum(1 << number for number in range(1, code + 1)), 4)
            one.put(e + 0x30, code)
            chain = [("aer", 0x01), ("serial", 0x03), ("secondary", 0x19), ("l1ss", 0x1E), ("phy16", 0x26)]
            chain += [("phy32", 0x2A)] if code >= 5 else []
            chain += [("margining", 0x27)] if code >= 4 else []
            for (name, id), following in zip(chain, [*chain[1:], ("", 0)], strict=True):
                one.put(one.at[name], id | 1 << 16 | (one.at[following[0]] << 20 if following[0] else 0), 4)
            one.put(one.at["serial"] + 4, serial + header, 8)
            if substates:
                one.put(one.at["l1ss"] + 4, 0x1F, 4)
                one.put(one.at["l1ss"] + 8, 0x4003_280F, 4)
                one.put(one.at["l1ss"] + 12, 0x28, 4)
            for lane in range(16) if code >= 4 else ():
                one.put(one.at["margining"] + 8 + 4 * lane, 0x9C38)
            self._equalised(one, common, True)
        self.port.data[0x19] = int(self.card_bdf[5:7], 16)
        self.port.put(self.port.express + 0x1A, 0x0040)
        self._show(common, self.lanes, up=True)
        attributes = self.machine.attributes
        for bdf in (self.port_bdf, self.card_bdf):
            attributes[f"{SYS}{bdf}/power/control"] = "auto"
            attributes[f"{SYS}{bdf}/aer_dev_correctable"] = _counts({})
        if aspm and aspm_switches:
            on = {"l1_aspm", *(ATTRS[2:] if substates else ())}
            for name in ATTRS[:2] if not substates else ATTRS:
                attributes[f"{SYS}{self.card_bdf}/link/{name}"] = "1" if name in on else "0"
        if self.cooling is not None:
            attributes[f"{self.cooling}/type"] = f"PCIe_Port_Link_Speed_{self.port_bdf}"
            attributes[f"{self.cooling}/max_state"] = str(self.port_code - 1)
            attributes[f"{self.cooling}/cur_state"] = str(self.port_code - common)

    def _defaults(self) -> bytes:
        """A card after its link went down: what software had set is at its default."""
        data = bytearray(self.card.data[0:4096])
        for at, value in ((0x04, 0), (self.card.express + 0x08, 0x2810), (self.card.express + 0x10, 0),
                          (self.card.express + 0x28, 0), (self.card.express + 0x30, self.card_code)):
            data[at:at + 2] = value.to_bytes(2, "little")
        data[self.card.at["l1ss"] + 8:self.card.at["l1ss"] + 16] = bytes(8)
        return bytes(data)

    # What software sees.

    def _ends(self) -> tuple[Registers, Registers]:
        return self.port, self.card

    def _show(self, code: int, width: int, *, up: bool, training: bool = False) -> None:
        for one in self._ends():
            at = one.express + 0x12
            sticky = one.get(at) & 0xC000
            value = code | width << 4 | 0x1000 | (0x0800 if training and one is self.port else 0)
            has_active = one.get(one.express + 0x0C, 4) & 0x0010_0000
            one.put(at, value | sticky | (0x2000 if up and has_active else 0) if up else 0x1001 | sticky | (
                0x0800 if training and one is self.port else 0))

    def _equalised(self, one: Registers, code: int, complete: bool) -> None:
        phases = 0b1111 if complete else 0b0000
        if code >= 3:
            one.bits(one.express + 0x32, 0x3E, (0b1111 if complete or code > 3 else 0b0000) << 1 | (
                0x20 if not complete and code == 3 else 0))
        if code >= 4:
            one.bits(one.at["phy16"] + 0x0C, 0x1F, (phases if code == 4 else 0b1111) | (
                0x10 if not complete and code == 4 else 0), 4)
        if code >= 5:
            one.bits(one.at["phy32"] + 0x0C, 0x1F, phases | (0 if complete else 0x10), 4)

    @property
    def target(self) -> int:
        wanted = self.port.get(self.port.express + 0x30) & 0xF
        return max(1, min(wanted, self.port_code, self.card_code))

    # What software does.

    def _on_write(self, bdf: Bdf, offset: int, size: int, value: int) -> bool:
        if bdf not in (self.port_bdf, self.card_bdf):
            return False
        one = self.port if bdf == self.port_bdf else self.card
        control, second = one.express + 0x10, one.express + 0x30
        written = {offset + number: byte for number, byte in enumerate(value.to_bytes(size, "little"))}
        if written.get(second, 0) & 0x10 or written.get(second + 1, 0) & 0x04:
            self.violations.append("compliance")
        if written.get(one.express + 0x09, 0) & 0x80:
            self.violations.append("function level reset")
        if written.get(control, 0) & 0x10:
            self.violations.append("link disable")
        if offset in (control, one.express + 0x08) and size == 4:
            self.violations.append("a wide write over status bits")
        if self.deaf and one is self.port:
            return True
        one.write(offset, size, value)
        if written.get(control, 0) & 0x20:
            if one is self.card:
                self.violations.append("retrain at the upstream port")
            else:
                if self.keeps_retrain:
                    one.bits(control, 0x20, 0x20)
                self.retrain()
        elif control in written and self.keeps_retrain and one is self.port and one.get(control) & 0x20:
            one.bits(control, 0x20, 0)
        if one is self.port and one.at["secondary"] + 4 in written:
            asked = written[one.at["secondary"] + 4] & 1
            one.bits(one.at["secondary"] + 4, 1, asked, 4)
            self._eq_asked = bool(asked)
        return True

    def retrain(self) -> None:
        if self.port.get(self.port.express + 0x30) & 0xF > min(self.port_code, self.card_code) and (
                self.port.get(self.port.express + 0x30) & 0xF != self.port_code):
            self.violations.append("target above the common speeds")
        rises = self.target > self.code or self._eq_asked
        start = self.machine.now + self.rises_after
        self._training = (start, start + self.trains_for + (self.equalises_for if rises else 0.0), rises)

    def _on_tick(self, before: float, after: float) -> None:
        if self._training is not None:
            start, end, rises = self._training
            stands = self.keeps_retrain and self.port.get(self.port.express + 0x10) & 0x20
            if after >= end and not stands:
                self._training = None
                self._end_training(after, rises)
            elif after >= start:
                self._show(self.code, self.width, up=self.up, training=True)
        if self.traffic:
            if self.traffic_since is None:
                self.traffic_since = before
            if self.rests and self.up and self._training is None and self.code != self.target:
                self._speed(self.target)
            self._driver(before, after)
            self._errors(after - before)
        else:
            self.traffic_since = None
            if self.rests and self.up and self._training is None and self.code > 1 and (
                    not self.card.get(self.card.express + 0x30) & 0x20):
                self._speed(1)

    def _speed(self, code: int) -> None:
        self.code = self.cached = code
        self._show(code, self.width, up=self.up)

    def _driver(self, before: float, after: float) -> None:
        if self.driver_sets is not None and self.traffic_since is not None and self.up:
            delay, code = self.driver_sets
            if before < self.traffic_since + delay <= after:
                self.port.bits(self.port.express + 0x30, 0xF, code)
                self._speed(self.target)

    def _end_training(self, now: float, rises: bool) -> None:
        self.trainings += 1
        fate = self.fates.pop(0) if self.fates else self._chance()
        was_up = self.up
        self.up = fate != "down"
        if not self.up:
            self._show(1, 0, up=False)
            self._lost()
            return
        if self.removed:
            self.up = False
            self._show(1, 0, up=False)
            return
        if not was_up:
            self.card.data[0:4096] = self.card_defaults
            self.machine.gone.discard(self.card_bdf)
            rises = True
        self.code = max(1, self.target - 1) if fate == "slow" else self.target
        self.width = max(1, self.lanes // 2) if fate == "narrow" else self.lanes
        self.cached = self.code
        if rises and self.code >= 3:
            self.equalisations += 1
            complete = self.random.random() >= self.unequal
            for one in self._ends():
                self._equalised(one, self.code, complete)
        self._eq_asked = False
        self.port.bits(self.port.at["secondary"] + 4, 1, 0, 4)
        self._show(self.code, self.width, up=True)
        self.port.bits(self.port.express + 0x12, 0x4000, 0x4000)

    def _chance(self) -> str:
        drawn = self.random.random()
        for fate in FATES[1:]:
            drawn -= self.chances.get(fate, 0.0)
            if drawn < 0:
                return fate
        return "full"

    def drop(self) -> None:
        """The link goes down by itself: the card has lost its power for a moment."""
        self._training, self.up = None, False
        self._show(1, 0, up=False)
        self._lost()

    def _lost(self) -> None:
        self.width = 0
        self.machine.gone.add(self.card_bdf)
        if self.hotplug:
            self.removed = True
            self.machine.space.pop(self.card_bdf, None)
            for path in [path for path in self.machine.attributes if f"/{self.card_bdf}/" in path]:
                del self.machine.attributes[path]

    def replace_card(self, ids: tuple[int, int], serial: int) -> None:
        """Another card in the same slot."""
        self.card.put(0, ids[0])
        self.card.put(2, ids[1])
        self.card.put(self.card.at["serial"] + 4, serial, 8)
        self.card_defaults = self._defaults()

    # What the kernel shows and takes.

    def _on_set(self, path: str, text: str) -> bool:
        if self.cooling is not None and path == f"{self.cooling}/cur_state":
            self._cool(int(text))
            return True
        prefix = f"{SYS}{self.card_bdf}/link/"
        if path.startswith(prefix) and path in self.machine.attributes:
            self._aspm(path.removeprefix(prefix), text in ("1", "y", "on"))
            return True
        return False

    def _cool(self, state: int) -> None:
        """drivers/thermal/pcie_cooling.c and pcie_set_target_speed: nothing is done at a speed that it believes in."""
        if not 0 <= state <= self.port_code - 1:
            raise Refused("error", "EINVAL")
        wanted = self.port_code - state
        if self.cached != wanted:
            self.port.bits(self.port.express + 0x30, 0xF, min(wanted, self.card_code))
            self.retrain()
            self.machine.sleep(self.rises_after)
            self.machine.sleep(self.trains_for + self.equalises_for)
        self.machine.attributes[f"{self.cooling}/cur_state"] = str(self.port_code - self.cached)
        if self.cached != wanted:
            raise Refused("busy", "EAGAIN")

    def _aspm(self, name: str, on: bool) -> None:
        """drivers/pci/pcie/aspm.c: a substate needs L1; without L1 there are none."""
        base = f"{SYS}{self.card_bdf}/link/"
        attributes = self.machine.attributes
        attributes[base + name] = "1" if on else "0"
        if on and name in ATTRS[2:]:
            attributes[base + "l1_aspm"] = "1"
        if not on and name == "l1_aspm":
            for other in ATTRS[2:]:
                if base + other in attributes:
                    attributes[base + other] = "0"
        control = (attributes.get(base + "l0s_aspm") == "1") | (attributes.get(base + "l1_aspm") == "1") << 1
        enables = sum(1 << bit for bit, other in ((3, "l1_1_aspm"), (2, "l1_2_aspm"), (1, "l1_1_pcipm"), (0, "l1_2_pcipm"))
                      if attributes.get(base + other) == "1")
        for one in self._ends():
            one.bits(one.express + 0x10, 3, control)
            if one.get(one.at["l1ss"] + 4, 4):
                one.bits(one.at["l1ss"] + 8, 0xF, enables, 4)

    # Errors.

    def _errors(self, seconds: float) -> None:
        if not self.up or self._training is not None:
            return
        for toward in sorted(self.traffic):
            rate = self.ber.get((toward, self.code), 0.0)
            count = _poisson(self.random, rate * RATE[self.code] * self.width * seconds)
            if not count:
                continue
            one, bdf = (self.card, self.card_bdf) if toward == "card" else (self.port, self.port_bdf)
            one.bits(one.at["aer"] + 0x10, 0x41, 0x41, 4)
            if toward in self.bad_lanes:
                one.bits(one.at["secondary"] + 8, 1 << self.bad_lanes[toward], 1 << self.bad_lanes[toward], 4)
            path = f"{SYS}{bdf}/aer_dev_correctable"
            if self.reports and path in self.machine.attributes:
                now = _parsed(self.machine.attributes[path])
                bad = sum(self.random.random() < 0.7 for _ in range(min(count, 1000))) * max(1, count // 1000)
                now["BadTLP"] += bad
                now["RxErr"] += max(0, count - bad)
                self.machine.attributes[path] = _counts(now)


NAMES = ("RxErr", "BadTLP", "BadDLLP", "Rollover", "Timeout", "NonFatalErr", "CorrIntErr", "HeaderOF")


def _counts(found: dict[str, int]) -> str:
    lines = [f"{name} {found.get(name, 0)}" for name in NAMES]
    return "\n".join([*lines, f"TOTAL_ERR_COR {sum(found.get(name, 0) for name in NAMES)}"])


def _parsed(text: str) -> dict[str, int]:
    return {name: int(count) for name, count in (line.split() for line in text.splitlines()) if name in NAMES}


def _poisson(source: random.Random, mean: float) -> int:
    if mean > 200:
        return max(0, round(source.gauss(mean, math.sqrt(mean))))
    count, left = -1, 0.0
    while left < mean:
        left += source.expovariate(1.0)
        count += 1
    return max(0, count)


Load = Callable[[Callable[[], None]], object]


def load_for(link: SimulatedLink, seconds: float, ways: Iterable[str] = ("card", "host")) -> Load:
    """Traffic for a while, with ten looks at it."""
    def load(sample: Callable[[], None]) -> None:
        link.traffic = set(ways)
        for _ in range(10):
            link.machine.sleep(seconds / 10)
            sample()
        link.traffic = set()
    return load

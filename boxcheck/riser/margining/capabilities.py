"""What a receiver can do: the answers to the nine reports, with the quirks of known chips, and its steps as units.

Ranges are those of revision 5.0, Table 8-11 (timing steps 6 to 63 over 20 to 50 % of a unit interval, voltage steps 32
to 127 over 50 to 500 mV). A receiver need not report how far its last step goes: then only steps are known.
"""

from __future__ import annotations

import msgspec

from boxcheck.model import Unread
from boxcheck.riser.margining.commands import Receiver
from boxcheck.riser.margining.wire import Wire

SAMPLE_PARTS = 64
"""Sampling rates are reported in 64ths of all bits, less one."""
BITS_PER_STEP = 1e8
"""What a step must compare at least (6.0, section 4.2.18.4)."""
PERCENT_VOLTS = {16.0: 0.01, 32.0: 0.01, 64.0: 0.01 / 3}
"""One percent of MaxVoltageOffset: of 1 V, at 64 GT/s of a third of it (pciutils pull request 230)."""


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """Of one receiver, asked at one lane."""

    voltage: bool
    """Optional at 16 GT/s, required from 32 GT/s on."""
    independent_up_down: bool
    independent_left_right: bool
    counts_samples: bool
    """Reports the number of bits that a step compared, in place of a rate."""
    independent_sampler: bool
    """Errors are sampled beside the data. Where not, stepping damages the data itself."""
    timing_steps: int
    voltage_steps: int = 0
    timing_percent: int = 0
    """Of a unit interval, reached by the last step; 0: not reported."""
    voltage_percent: int = 0
    timing_rate: int = 0
    voltage_rate: int = 0
    max_lanes: int = 0
    """Lanes that may be stepped together, less one."""
    whole_eye: bool = False
    """One side reports the whole width of the eye: not doubled."""
    quirks: tuple[str, ...] = ()

    @property
    def timing_reported(self) -> bool:
        return self.timing_percent > 0

    @property
    def voltage_reported(self) -> bool:
        return self.voltage and self.voltage_percent > 0

    def bits_per_second(self, voltage: bool, speed_gts: float) -> float | None:
        """That a step compares, per lane. None where the receiver counts samples: nobody knows beforehand."""
        if self.counts_samples:
            return None
        rate = self.voltage_rate if voltage else self.timing_rate
        return speed_gts * 1e9 * (rate + 1) / SAMPLE_PARTS

    def ui(self, steps: int) -> float | None:
        """Parts of a unit interval that `steps` move the sampler."""
        if not self.timing_reported or not self.timing_steps:
            return None
        return steps * self.timing_percent / self.timing_steps / 100

    def volts(self, steps: int, speed_gts: float) -> float | None:
        if not self.voltage_reported or not self.voltage_steps:
            return None
        return steps * self.voltage_percent * PERCENT_VOLTS.get(speed_gts, 0.01) / self.voltage_steps


def read(wire: Wire, lane: int, receiver: Receiver) -> Capabilities:
    """Asks a receiver. The lane is in No Command before and after. Silent where it does not answer."""
    wire.rest(lane)
    bits = wire.ask(lane, receiver, "capabilities")
    voltage = bool(bits & 1)
    return Capabilities(
        voltage=voltage, independent_up_down=bool(bits & 2), independent_left_right=bool(bits & 4),
        counts_samples=not bits & 8, independent_sampler=bool(bits & 0x10),
        timing_steps=wire.ask(lane, receiver, "timing-steps"),
        voltage_steps=wire.ask(lane, receiver, "voltage-steps") if voltage else 0,
        timing_percent=wire.ask(lane, receiver, "max-timing-offset"),
        voltage_percent=wire.ask(lane, receiver, "max-voltage-offset") if voltage else 0,
        timing_rate=wire.ask(lane, receiver, "timing-rate"),
        voltage_rate=wire.ask(lane, receiver, "voltage-rate") if voltage else 0,
        max_lanes=wire.ask(lane, receiver, "max-lanes"))


ICE_LAKE_PORT = (0x8086, 0x347A, 0x04)
"""Root ports of Ice Lake servers, by vendor, device and revision. pciutils (lmr/margin_hw.c) sets a MaxVoltageOffset of
12 for their receiver A, and takes one side's width as the whole eye's."""


def with_quirks(wire: Wire, receiver: Receiver, found: Capabilities) -> Capabilities:
    """The capabilities as this chip means them."""
    ids = wire.ports.read(wire.end.bdf, 0, 4)
    revision = wire.ports.read(wire.end.bdf, 8, 1)
    if isinstance(ids, Unread) or isinstance(revision, Unread):
        return found
    if receiver == "A" and (ids & 0xFFFF, ids >> 16, revision) == ICE_LAKE_PORT:
        return msgspec.structs.replace(found, voltage_percent=12, whole_eye=True, quirks=(
            *found.quirks, "Ice Lake root port: 12 % taken as MaxVoltageOffset, one side's width as the whole eye's"))
    return found


def odd(found: Capabilities) -> tuple[str, ...]:
    """What a receiver says of itself that the specification does not allow, in words."""
    says = []
    if not 6 <= found.timing_steps <= 63:
        says.append(f"{found.timing_steps} timing steps, where 6 to 63 are allowed")
    if found.timing_reported and not 20 <= found.timing_percent <= 50:
        says.append(f"timing steps end at {found.timing_percent} % of a unit interval, where 20 to 50 are allowed")
    if found.voltage and not 32 <= found.voltage_steps <= 127:
        says.append(f"{found.voltage_steps} voltage steps, where 32 to 127 are allowed")
    if found.voltage_reported and not found.quirks and not 5 <= found.voltage_percent <= 50:
        says.append(f"voltage steps end at {found.voltage_percent * 10} mV, where 50 to 500 are allowed")
    return tuple(says)

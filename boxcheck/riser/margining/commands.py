"""Words of lane margining: what is written to a lane's control register, and what its status register answers. Pure.

PCI Express Base Specification 5.0, sections 4.2.13.1 (commands; 4.2.18 in revision 6.0) and 7.7.7 (registers).
Both registers have 16 bits: receiver number 2:0, margin type 5:3, usage model 6 (0), reserved 7, payload 15:8.
By hand  `setpci -s 41:00.0 ECAP27+8.w` is lane 0's control, `ECAP27+a.w` its status
"""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

Receiver = Literal["A", "B", "C", "D", "E", "F"]
"""As the specification letters them: A in the port above, B to E in retimers, F in the card."""
RECEIVERS: tuple[Receiver, ...] = get_args(Receiver)
BROADCAST = 0
"""Receiver number that all receivers of a lane listen to; only Go to Normal and Clear Error Log may use it."""

REPORT, SET, TIMING, VOLTAGE, VENDOR, NONE = 1, 2, 3, 4, 5, 7
"""Margin types; 0 and 6 are reserved."""

Reported = Literal["capabilities", "voltage-steps", "timing-steps", "max-timing-offset", "max-voltage-offset",
                   "voltage-rate", "timing-rate", "sample-count", "max-lanes"]
REPORTS: dict[Reported, tuple[int, int]] = {
    "capabilities": (0x88, 0x1F), "voltage-steps": (0x89, 0x7F), "timing-steps": (0x8A, 0x3F),
    "max-timing-offset": (0x8B, 0x7F), "max-voltage-offset": (0x8C, 0x7F), "voltage-rate": (0x8D, 0x3F),
    "timing-rate": (0x8E, 0x3F), "sample-count": (0x8F, 0x7F), "max-lanes": (0x90, 0x1F),
}
"""What a receiver can be asked -> payload of the question, mask of the answer (Table 4-26)."""

MOST_TIMING_STEPS, MOST_VOLTAGE_STEPS = 63, 127
MOST_ERRORS = 63
"""Where the error count stays, and the highest limit."""

StepState = Literal["too-many-errors", "setting-up", "in-progress", "nak"]
_STATES: tuple[StepState, ...] = ("too-many-errors", "setting-up", "in-progress", "nak")


def number(receiver: Receiver) -> int:
    """1 for A to 6 for F."""
    return RECEIVERS.index(receiver) + 1


class Command(msgspec.Struct, frozen=True):
    """One command, as its fields."""

    receiver: int
    type: int
    payload: int

    @property
    def word(self) -> int:
        """For the control register, reserved bit 7 clear."""
        return self.payload << 8 | self.type << 3 | self.receiver

    def echoed_by(self, status: int) -> bool:
        """Whether a status word answers this command. Reports and steps answer with a payload of their own, so type and
        receiver must match; commands that set something, and No Command, come back as they are."""
        if self.type in (SET, NONE):
            return (status ^ self.word) & 0xFF3F == 0
        return (status ^ self.word) & 0x3F == 0


NO_COMMAND = Command(0, NONE, 0x9C)
"""Goes between any two commands: a receiver takes the same word twice for one command."""


def report(receiver: Receiver, what: Reported) -> Command:
    return Command(number(receiver), REPORT, REPORTS[what][0])


def answered(what: Reported, status: int) -> int:
    """The value in the answer to `report`."""
    return status >> 8 & REPORTS[what][1]


def retimer_register(receiver: Receiver, register: int) -> Command:
    """Access Retimer Register: a read of a byte, through receiver B or D. ValueError for what the specification
    forbids: other receivers, and 0x88 to 0x9F, which mean something else."""
    if receiver not in ("B", "D") or not 0 <= register <= 0xFF or 0x88 <= register <= 0x9F:
        raise ValueError(f"register {register:#x} of receiver {receiver} cannot be asked for")
    return Command(number(receiver), REPORT, register)


def error_limit(receiver: Receiver, limit: int) -> Command:
    """Stepping stops by itself when more errors than this were counted, 0 to 63."""
    if not 0 <= limit <= MOST_ERRORS:
        raise ValueError(f"an error limit is 0 to {MOST_ERRORS}, not {limit}")
    return Command(number(receiver), SET, 0xC0 | limit)


def go_to_normal(receiver: Receiver | None = None) -> Command:
    """The sampler back to where it was; None: of all receivers of the lane."""
    return Command(BROADCAST if receiver is None else number(receiver), SET, 0x0F)


def clear_error_log(receiver: Receiver | None = None) -> Command:
    return Command(BROADCAST if receiver is None else number(receiver), SET, 0x55)


def step_timing(receiver: Receiver, steps: int, left: bool | None) -> Command:
    """The sampler `steps` away from its place in time. `left` None: the receiver knows no sides, bit 6 stays 0."""
    if not 0 <= steps <= MOST_TIMING_STEPS:
        raise ValueError(f"a timing step is 0 to {MOST_TIMING_STEPS}, not {steps}")
    return Command(number(receiver), TIMING, steps | (0x40 if left else 0))


def step_voltage(receiver: Receiver, steps: int, down: bool | None) -> Command:
    """The same in voltage: bit 7 is down."""
    if not 0 <= steps <= MOST_VOLTAGE_STEPS:
        raise ValueError(f"a voltage step is 0 to {MOST_VOLTAGE_STEPS}, not {steps}")
    return Command(number(receiver), VOLTAGE, steps | (0x80 if down else 0))


class StepStatus(msgspec.Struct, frozen=True):
    """The answer to a step."""

    state: StepState
    """`too-many-errors`: the sampler is back in its place already. `nak`: the receiver cannot do this step."""
    errors: int
    """Stays at 63. Bits if the receiver samples errors by itself, else errors of the logical layer."""


def step_status(status: int) -> StepStatus:
    payload = status >> 8
    return StepStatus(_STATES[payload >> 6 & 3], payload & 0x3F)

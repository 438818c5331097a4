"""The registers of lane margining (extended capability 0x27) at one end of a link: a command and its answer.

A command is written as 16 bits: one of 32 would write the status as well. It took effect when the status echoes it,
at the latest after `COMMAND_SECONDS`; then a No Command follows, whose echo proves that the status is not a stale one.
Nothing else here waits, and nothing is believed without an echo.
"""

from __future__ import annotations

import msgspec

from boxcheck.model import Unread
from boxcheck.riser.links.ports import End, Ports
from boxcheck.riser.margining.commands import NO_COMMAND, Command, Receiver, Reported, answered, report

POLL_SECONDS, FIRST_POLL_SECONDS, FIRST_SECONDS = 0.001, 0.00025, 0.008
"""Most answers come within milliseconds: the first of them are looked at more often."""
COMMAND_SECONDS = 0.25
"""The specification answers No Command within 10 ms and sets up a step within 200 ms; others wait 250 ms for any."""
NO_COMMAND_SECONDS = 0.01
PAUSE_SECONDS = 0.05
"""Before the one repetition of a command that nobody answered."""

USES_DRIVER, READY, SOFTWARE_READY = 1, 1, 2
ALL_ONES = 0xFFFF


class Silent(Exception):
    """A lane that does not answer as the specification asks, in a sentence."""


class LinkLost(Exception):
    """The link left L0 for good, changed, or an end no longer answers: margining ends here."""


class PortStatus(msgspec.Struct, frozen=True):
    """PortCap and PortSta."""

    uses_driver: bool
    """Parts of margining are done by a driver's software."""
    ready: bool
    software_ready: bool

    @property
    def can_start(self) -> bool:
        return self.ready and (self.software_ready or not self.uses_driver)


class Wire:
    """One end's lanes. `lane` is the number that its registers have."""

    def __init__(self, ports: Ports, end: End) -> None:
        if end.margining is None:
            raise ValueError(f"{end.bdf} has no lane margining")
        self.ports, self.end, self.base = ports, end, end.margining
        self._reserved: dict[int, int] = {}
        self._at_rest: set[int] = set()

    def status_of_port(self) -> PortStatus | Unread:
        capability = self.ports.read(self.end.bdf, self.base + 4, 2)
        status = self.ports.read(self.end.bdf, self.base + 6, 2)
        if isinstance(capability, Unread):
            return capability
        if isinstance(status, Unread):
            return status
        if capability == ALL_ONES or status == ALL_ONES:
            return Unread(f"{self.end.bdf} does not answer", "error")
        return PortStatus(bool(capability & USES_DRIVER), bool(status & READY), bool(status & SOFTWARE_READY))

    def write(self, lane: int, command: Command) -> None:
        """Without waiting. The reserved bit 7 is kept as it was read first."""
        if lane not in self._reserved:
            self._reserved[lane] = self._control(lane) & 0x80
        self._at_rest.discard(lane)
        self.ports.write(self.end.bdf, self.base + 8 + 4 * lane, 2, command.word | self._reserved[lane])

    def _control(self, lane: int) -> int:
        word = self.ports.read(self.end.bdf, self.base + 8 + 4 * lane, 2)
        return 0 if isinstance(word, Unread) or word == ALL_ONES else word

    def status(self, lane: int) -> int:
        """LinkLost where the end does not answer: no status is all ones, as its receiver number would be reserved."""
        word = self.ports.read(self.end.bdf, self.base + 0xA + 4 * lane, 2)
        if isinstance(word, Unread):
            raise LinkLost(f"{self.end.bdf} can no longer be read: {word.why}")
        if word == ALL_ONES:
            raise LinkLost(f"{self.end.bdf} no longer answers: its registers read all ones")
        return word

    def await_echo(self, lane: int, command: Command, seconds: float = COMMAND_SECONDS) -> int | None:
        """The status that answers a command that was written; None after that time."""
        began = self.ports.seconds()
        end = began + seconds
        while True:
            word = self.status(lane)
            if command.echoed_by(word):
                return word
            now = self.ports.seconds()
            if now >= end:
                return None
            self.ports.sleep(FIRST_POLL_SECONDS if now - began < FIRST_SECONDS else POLL_SECONDS)

    def order(self, lane: int, command: Command) -> int:
        """Writes a command, waits for its answer, and once more if there is none (a write can be lost). Silent after
        that."""
        for attempt in range(2):
            self.write(lane, command)
            word = self.await_echo(lane, command)
            if word is not None:
                return word
            if attempt == 0 and command != NO_COMMAND:
                self.write(lane, NO_COMMAND)
                self.await_echo(lane, NO_COMMAND)
            self.ports.sleep(PAUSE_SECONDS)
        raise Silent(f"{self.end.bdf} lane {lane} gave no answer to the command {command.word:#06x} "
                     f"in 2 tries of {COMMAND_SECONDS * 1000:.0f} ms")

    def done(self, lane: int) -> None:
        """No Command, and its echo."""
        self.order(lane, NO_COMMAND)
        self._at_rest.add(lane)

    def rest(self, lane: int) -> None:
        """No Command before the first command. A register that holds it already, as after a reset, need not echo it
        again: the status begins as 0."""
        if lane in self._at_rest:
            return
        if (self._control(lane) ^ NO_COMMAND.word) & 0xFF3F:
            self.done(lane)
            return
        self.write(lane, NO_COMMAND)
        self.await_echo(lane, NO_COMMAND, NO_COMMAND_SECONDS)
        self._at_rest.add(lane)

    def ask(self, lane: int, receiver: Receiver, what: Reported) -> int:
        """What a receiver reports of itself."""
        value = answered(what, self.order(lane, report(receiver, what)))
        self.done(lane)
        return value

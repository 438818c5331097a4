"""Links that train: QEMU's ports keep Link Control and Link Control 2 read-only, so a retrain that the guest asks for does
nothing. Here these registers become writable, and somebody outside the guest does what a link would do.

QEMU allocates five tables of a device one after the other (hw/pci/pci.c, pci_config_alloc): its configuration space,
which bytes are checked, which bits the guest may write (wmask), which it clears by writing ones (w1cmask), which are used.
They are found by what QEMU itself puts into them, else nothing is written.

The guest's boxcheck waits, after a write that asks for a retraining, until somebody outside has taken it
(`guest/agent.py`): a board's port takes it at once, a busy host some time later. What comes of a training is the test's to say. There are no electrical signals behind it, and no interrupt: a kernel that
waits for one (bandwidth notification, hot-plug without polling) is not told.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType

from tests.kernel.cache import Unavailable
from tests.kernel.poke import CONFIG_BYTES, SPEEDS_GTS, Space

CHUNK_BYTES = CONFIG_BYTES + 16
"""What malloc of the C library puts between two blocks of this size that it gives out one after the other."""
WMASK, W1CMASK = 2 * CHUNK_BYTES, 3 * CHUNK_BYTES
COMMAND, STATUS, INTERRUPT_LINE = 0x04, 0x06, 0x3C

LNKCTL, LNKSTA, LNKCTL2 = 0x10, 0x12, 0x30
"""Offsets in the PCI Express capability (Base Specification, 7.5.3.7, 7.5.3.8, 7.5.3.19)."""
ASPM, DISABLE, RETRAIN, COMMON_CLOCK, EXTENDED_SYNCH, NO_WIDTH_CHANGE = 0x3, 1 << 4, 1 << 5, 1 << 6, 1 << 7, 1 << 9
TARGET, NO_SPEED_CHANGE = 0xF, 1 << 5
TRAINING, ACTIVE, BANDWIDTH_MANAGED, BANDWIDTH_CHANGED = 1 << 11, 1 << 13, 1 << 14, 1 << 15
TICK_SECONDS = 0.001

GTS = {number: speed for speed, number in SPEEDS_GTS.items()}


@dataclass(frozen=True)
class Trained:
    """What a link comes to."""

    speed_gts: float
    width: int = 16


Outcome = Callable[[float], Trained | None]
"""What a link comes to by the target speed of its port; None where it goes down."""


def as_asked(target_gts: float) -> Trained | None:
    return Trained(target_gts)


@dataclass
class Link:
    """A port and the device below it."""

    port: Space
    below: Space
    outcome: Outcome = as_asked
    seconds: float = 0.02
    """How long a training is seen to take. 0: it is over when the write that asked for it is, so that nothing depends on how
    late a busy host looks; software waits for a training up to a second."""
    trained: list[Trained | None] = field(default_factory=list)
    """What each training came to."""
    _card: bytes = b""
    """What the card shows while its link is up; empty while it shows that itself."""
    _disabled: bool = False
    _shown: int | None = None
    """What the port shows of training and activity, None until the first training."""

    def open_registers(self) -> None:
        """Lets the guest write them. LBMS and LABS are cleared by writing ones."""
        for space, control, control2, status in (
                (self.port, ASPM | DISABLE | RETRAIN | COMMON_CLOCK | EXTENDED_SYNCH | NO_WIDTH_CHANGE,
                 TARGET | NO_SPEED_CHANGE, BANDWIDTH_MANAGED | BANDWIDTH_CHANGED),
                (self.below, ASPM | COMMON_CLOCK | EXTENDED_SYNCH | NO_WIDTH_CHANGE, TARGET | NO_SPEED_CHANGE, 0)):
            wmask, w1cmask = masks_of(space)
            wmask.set_word(space.express + LNKCTL, control, control)
            wmask.set_word(space.express + LNKCTL2, control2, control2)
            w1cmask.set_word(space.express + LNKSTA, status, status)

    def look(self) -> None:
        """Does what the port asks for, if it asks. A link that did not come up waits to be asked again."""
        self._show(self._shown)
        control = self.port.word(self.port.express + LNKCTL)
        was, self._disabled = self._disabled, bool(control & DISABLE)
        if self._disabled and not was:
            self._down()
        elif not self._disabled and (was or control & RETRAIN):
            self._train()

    def _down(self) -> None:
        if not self._card:
            self._card = self.below.whole()
            self.below.write(0, b"\xff" * len(self._card))
        self._show(0)

    def _show(self, shown: int | None) -> None:
        """Also again and again: QEMU reads, changes and writes the same register whenever the guest reads it, and now and
        then writes back what it had read before this was written."""
        at = self.port.express + LNKSTA
        if shown is not None and self.port.word(at) & (ACTIVE | TRAINING) != shown:
            self.port.set_word(at, shown, ACTIVE | TRAINING)
        self._shown = shown

    def _train(self) -> None:
        at = self.port.express
        if self.seconds:
            self._show(self.port.word(at + LNKSTA) & ACTIVE | TRAINING)
            self.port.set_word(at + LNKCTL, 0, RETRAIN)
            time.sleep(self.seconds)
        found = self.outcome(GTS[self.port.word(at + LNKCTL2) & TARGET])
        self.trained.append(found)
        if found is None:
            self._down()
        else:
            if self._card:
                self.below.write(0, self._card)
                self._card = b""
            self.below.link(found.width, found.speed_gts)
            self.port.set_word(at + LNKSTA, BANDWIDTH_MANAGED, BANDWIDTH_MANAGED)
            self._show(ACTIVE)
        # Last: who waits for it finds the link as it came up.
        self.port.set_word(at + LNKCTL, 0, RETRAIN)


def masks_of(space: Space) -> tuple[Space, Space]:
    """wmask and w1cmask of a device. Raises where they do not hold what QEMU puts into every one (pci_init_wmask,
    pci_init_w1cmask): a command register that can be written, an interrupt line, status bits that ones clear."""
    wmask, w1cmask = Space(space.memory, space.at + WMASK), Space(space.memory, space.at + W1CMASK)
    if (wmask.word(0), wmask.word(COMMAND) & 0x0507, wmask.read(INTERRUPT_LINE, 1)) != (0, 0x0507, b"\xff") or (
            w1cmask.word(0), w1cmask.word(STATUS)) != (0, 0xF900):
        raise Unavailable("this QEMU keeps what the guest may write elsewhere; training.py says what it looks for")
    return wmask, w1cmask


@contextmanager
def training(links: Mapping[str, Link]) -> Iterator[Mapping[str, Link]]:
    """The links train until the block ends. A fault in it is raised at its end."""
    for link in links.values():
        link.open_registers()
    stop = threading.Event()
    errors: list[BaseException] = []

    def watch() -> None:
        try:
            while not stop.wait(TICK_SECONDS):
                for link in links.values():
                    link.look()
        except BaseException as error:  # noqa: BLE001  a thread's fault is the test's
            errors.append(error)

    thread = threading.Thread(target=watch, name="training", daemon=True)
    thread.start()
    try:
        yield MappingProxyType(dict(links))
    finally:
        stop.set()
        thread.join(10)
        if errors:
            raise errors[0]

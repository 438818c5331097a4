"""Makes the two ends of a link tune to each other once more, at the speed it runs at.

Needs   root, and a kernel that is not locked down; a link of 8 GT/s or more
Source  PCI Express Base 7.7.3.2 (Link Control 3, Perform Equalization)

A link whose equalisation ends unfinished, or is asked for again, has too little margin for that speed.
"""

from __future__ import annotations

import msgspec

from boxcheck.decode.pci_link import SPEED_GTS
from boxcheck.model import Unread
from boxcheck.riser.links.hold import Held
from boxcheck.riser.links.link_state import LNKCTL3, Equalisation, equalisation_of, read_register
from boxcheck.riser.links.ports import Refused
from boxcheck.riser.links.retrain import refuse_raw
from boxcheck.riser.links.speed_control import target_code
from boxcheck.riser.links.training import Training, refuse_deaf, train

PERFORM = 0x0001
FIRST_GTS = 8.0
"""Links below do not equalise."""


class Redone(msgspec.Struct, frozen=True, kw_only=True):
    """One equalisation that was asked for."""

    training: Training
    equalisation: Equalisation
    taken: bool
    """The port has cleared the request, as it does when it acts on it, and was seen to train."""

    @property
    def says(self) -> str:
        if not self.taken:
            return f"the port did not act on the request for equalisation; the link is {self.training.says}"
        eq = self.equalisation
        words = [*eq.unfinished, *eq.asks_again, *eq.skipped]
        end = ", ".join(words) if words else "complete at both ends" if eq.read else "not shown"
        return f"equalisation done again: {end}; the link is {self.training.says}"


def redo_equalisation(held: Held) -> Redone:
    """Refused where registers cannot be written, or the link does not equalise."""
    refuse_raw(held)
    port, name = held.pair.port, held.pair.name
    code = target_code(held, held.pair)
    wanted = max((gts for gts in held.pair.common_gts
                  if isinstance(code, int) and gts <= SPEED_GTS.get(code, 0.0)), default=0.0)
    if port.secondary is None or wanted < FIRST_GTS:
        raise Refused("unsupported", f"the link of {name} does not equalise: it runs at {wanted:g} GT/s at most")
    at = port.secondary + LNKCTL3
    word = read_register(held, port, at, 4)
    if isinstance(word, Unread):
        raise Refused("gone", f"the link of {name} was left alone: {word.why}")
    held.announce(f"letting both ends of {name} equalise again at {wanted:g} GT/s; traffic pauses for some 100 ms")
    refuse_deaf(held, held.pair)
    held.write(port.bdf, at, 4, word & 0xFE02 | PERFORM)
    training = train(held, held.pair, command=held.before.command)
    after = read_register(held, port, at, 4)
    taken = isinstance(after, int) and not after & PERFORM and training.seen
    if isinstance(after, int) and after & PERFORM:
        held.write(port.bdf, at, 4, after & 0xFE02)
    now = training.now
    speed = now.speed_gts if now is not None and now.up else None
    return Redone(training=training, equalisation=equalisation_of(held, held.pair, speed), taken=taken)

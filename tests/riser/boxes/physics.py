"""How links train, and how many bits of them are damaged."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

from boxcheck.riser.evidence import Conditions
from tests.riser.boxes.box import Box
from tests.riser.boxes.faults import Fault, Toward

GTS = {1: 2.5, 2: 5.0, 3: 8.0, 4: 16.0, 5: 32.0}
GENERATION = {speed: generation for generation, speed in GTS.items()}
BACKGROUND = (-16.0, -14.5)
"""log10 of the error rate of a healthy link: about 1e-15."""
NARROW_DECADES = 3.0
"""By which errors fall when the bad lane is left out."""
WARM = 0.03
"""What is seen of a fault that needs heat where nobody took care of heat."""
LIGHT = 0.1
"""What is seen of a fault that needs the full power of a card, while it only copies."""


@dataclass
class Trained:
    """How a link came up in a boot. `active` false: nothing answers."""

    present: bool
    active: bool
    width: int
    generation: int

    @property
    def speed_gts(self) -> float:
        return GTS[self.generation]


def live(box: Box, slot: str) -> list[Fault]:
    """What is wrong on the link of a slot now. A supply's fault reaches some of its cards."""
    return [fault for fault in box.faults if not fault.dormant and box.on_link(fault, slot)
            and (fault.kind != "supply" or slot in fault.shares)]


def train(box: Box, slot: str, source: Random) -> Trained:
    """One training, as at a boot or a retraining."""
    found = Trained(True, True, box.lanes, box.generation)
    if box.seats[slot].card is None:
        return Trained(False, False, 0, 1)
    for fault in live(box, slot):
        if fault.symptom == "capped":
            found.generation = max(1, min(found.generation, box.generation - fault.amount))
        elif fault.symptom == "split":
            found.width = min(found.width, fault.amount)
        elif fault.symptom == "disabled":
            found.active = found.present = False  # what firmware leaves off shows no presence
        elif source.random() < fault.full_chance:
            continue
        elif fault.symptom == "lane":
            found.width = min(found.width, narrow(fault.lane, box.lanes))
        elif fault.symptom == "slow":
            found.generation = max(1, min(found.generation, box.generation - fault.amount))
        elif fault.symptom == "absent":
            found.active, found.present = False, found.present and not fault.pins_open
        if fault.symptom in ("lane", "slow", "absent", "capped", "split", "disabled"):
            fault.traced_in.add(box.boot)
    return found


def narrow(lane: int, lanes: int) -> int:
    """Lanes that are left without a bad one: those below it; the upper half, reversed, where it is the first."""
    widths = [width for width in (8, 4, 2, 1) if width < lanes]
    return next((width for width in widths if width <= lane), widths[0])


def dose(fault: Fault, conditions: Conditions) -> float:
    """Part of a fault's strength that these conditions bring out."""
    if fault.needs == "loaded":
        return float(conditions.neighbours == "loaded")
    if fault.needs == "hot":
        return {True: 1.0, False: 0.0, None: WARM}[conditions.hot]
    if fault.needs == "uncapped":
        return 0.0 if conditions.power_capped else 1.0 if conditions.neighbours == "loaded" else LIGHT
    return 1.0


def bit_error_rate(
    box: Box, fault: Fault, slot: str, toward: Toward, conditions: Conditions, trained: Trained, generation: int,
) -> float:
    """Per bit of one direction, from one fault."""
    log, part = fault.log_ber.get(toward), dose(fault, conditions)
    if log is None or not part:
        return 0.0
    log -= fault.shares.get(slot, 0.0) + fault.decades_a_generation * max(0, box.generation - generation)
    if fault.symptom == "lane" and trained.width < box.lanes:
        log -= NARROW_DECADES
    return float(10 ** (log + math.log10(part)))

"""What no solver can tell in made-up boxes: a slot that is always the same way short, and a setting that makes it so.

    python -m tests.bench.riser_ceiling --boxes 100000 --seed 1

A link that has the same few lanes, the same low speed or no card in every boot, whatever is plugged into its slot, is
all that there is to see, with what doctor says of it and whether the slot feels a card. Where such boxes of both kinds
look alike, whoever guesses the more frequent kind does best. Printed is how often that is right, and how many boxes
that leaves wrong.
"""

from __future__ import annotations

import argparse
import collections
import sys
from random import Random

from tests.riser.boxes.box import Box, random_box
from tests.riser.boxes.physics import train

ALWAYS = {"slot": ("lane", "slow", "absent"), "setting": ("capped", "split", "disabled")}


def is_always_so(box: Box) -> bool:
    """Whether the one bad part is a slot or a setting that takes the same from every training."""
    if len(box.faults) != 1:
        return False
    fault = box.faults[0]
    return fault.symptom in ALWAYS.get(fault.kind, ()) and not fault.responds and (
        fault.kind == "setting" or fault.full_chance == 0)


def seen(box: Box) -> tuple[object, ...]:
    """All that a boot shows of it."""
    trained = train(box, box.reported, Random(0))  # nothing is left to chance where no training comes out whole
    told = tuple(name for name in box.settings if name != "pcie.aspm")
    if not trained.active:
        return "absent", trained.present if box.presence else None, told
    return box.lanes // trained.width, box.generation - trained.generation, told


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.riser_ceiling", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--boxes", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    alike: dict[tuple[object, ...], collections.Counter[str]] = collections.defaultdict(collections.Counter)
    every: collections.Counter[str] = collections.Counter()
    for index in range(asked.boxes):
        box = random_box(asked.seed, index)
        every[box.kind] += 1
        if is_always_so(box):
            alike[seen(box)][box.kind] += 1
    print("seen of the link, and what doctor says                      slot  setting")
    for what, kinds in sorted(alike.items(), key=lambda item: -sum(item[1].values())):
        print(f"{what!s:<58}  {kinds['slot']:>5}  {kinds['setting']:>7}")
    for kind in ALWAYS:
        same = sum(kinds[kind] for kinds in alike.values())
        right = sum(kinds[kind] for kinds in alike.values() if kinds.most_common(1)[0][0] == kind)
        print(f"{kind}: always so in {100 * same / every[kind]:.1f} % of {every[kind]} boxes; "
              f"told rightly at best {100 * right / same:.1f} % of these, so wrong {100 * (same - right) / every[kind]:.1f} % "
              f"of all {kind} boxes")
    lost = sum(sum(kinds.values()) - max(kinds.values()) for kinds in alike.values())
    print(f"{100 * lost / asked.boxes:.2f} % of all boxes are beyond any solver for this alone")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Hundreds of kills of burn-ins, each process in turn, at random moments; runs that were cut off are gone on with.

    python -m tests.bench.kills [--rounds 200] [--seed 1]

Exits with 1 where a store did not open, something that a follower had seen was missing, a process stayed, or the next
command did not tell the truth.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from tests.engine.kills import Victim, Yard

VICTIMS: tuple[Victim, ...] = ("engine", "worker", "engine", "command", "engine", "guard")
LONGEST_WAIT_SECONDS = 6.0
"""A run of this plan takes about as long on two cores that have other work too."""


def main() -> int:
    asked = argparse.ArgumentParser()
    asked.add_argument("--rounds", type=int, default=200)
    asked.add_argument("--seed", type=int, default=1)
    options = asked.parse_args()
    told: Counter[str] = Counter()
    broken = 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="boxcheck-kills-") as folder:
        yard = Yard(Path(folder), options.seed)
        for number in range(options.rounds):
            victim = VICTIMS[number % len(VICTIMS)]
            wait = yard.chance.uniform(0, LONGEST_WAIT_SECONDS)
            try:
                told += yard.round(victim, wait, "engine" if number % 5 == 0 else "store")
            except AssertionError:
                broken += 1
                print(f"round {number}: {victim} after {wait:.2f} s", file=sys.stderr)
                traceback.print_exc()
            finally:
                yard.end()
            if number % 20 == 19:
                print(f"{number + 1} rounds, {time.monotonic() - began:.0f} s: {dict(told)}", flush=True)
        samples = sum(sum(one.samples.values()) for one in yard.seen.values())
        events = sum(len(one.events) for one in yard.seen.values())
        runs = len(yard.seen)
    kills = sum(count for what, count in told.items() if what.endswith((" killed", " killed too")))
    print(f"{options.rounds} rounds, {kills} kills in {time.monotonic() - began:.0f} s, {runs} runs, {broken} broken promises; "
          f"a follower saw {samples} samples and {events} events, all of which are there")
    for what, count in sorted(told.items()):
        print(f"        {what}: {count}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

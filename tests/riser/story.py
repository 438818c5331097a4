"""The WOPR's story, told by boxcheck: seven cards on risers, of which one now and then throws PCIe errors.

`python -m tests.riser.story` prints it, with `--write` the how-to page shows it anew. The box is simulated (see
tests/riser/boxes); what boxcheck makes of it is what it makes of a real one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

from boxcheck.report.riser import riser_text
from boxcheck.report.text import Style
from boxcheck.riser.account import RiserAccount, Tried
from boxcheck.riser.advice import advice, tape
from boxcheck.riser.evidence import Notebook, Weighed
from boxcheck.riser.notebook import Stored
from boxcheck.riser.suspects.weigh import weigh
from tests.riser.boxes.box import Box, Seat
from tests.riser.boxes.drive import drive
from tests.riser.boxes.faults import Fault

PAGE = Path(__file__).parents[2] / "docs/how-to/find-a-bad-riser.md"
MARK = "<!-- boot {} -->\n```\n"
SLOTS = tuple(f"PCIE{number}" for number in range(1, 8))
LEFT = tuple(Tried(name=name, done=False, says="these write to the link's registers and put them back",
                   help="sudo boxcheck riser --resume r-20261121-1 --again --allow-writes")
             for name in ("retrain", "lower speeds", "ASPM off", "margining"))


def wopr(seed: int = 7) -> Box:
    """Seven cards, four supplies; riser R7 is too long for 16 GT/s. Counters are read at both ends, nothing is
    written."""
    cards = {slot: f"GPU-{number}c0ffee0-0000-4000-8000-0000000044{number}7" for number, slot in enumerate(SLOTS, 1)}
    return Box(
        seed=seed, index=0, source=Random(f"wopr {seed}"),
        seats={slot: Seat(riser=f"R{number}", card=cards[slot]) for number, slot in enumerate(SLOTS, 1)},
        supplies=dict(zip(SLOTS, "AABBCCD", strict=True)), generation=4, lanes=16, counts="both", writes=False,
        plain_user=False, margining=False, margin_bias=0.0, caps_power=False, takes_time=False, presence=True,
        replay_counter=False, notes_lanes=False, supply_known=True, efficiency=0.8, dead_seconds=0.02, faults=[Fault(
            kind="riser", name="R7", symptom="errors", nature="signal", needs="always", log_ber={"card": -11.9},
            full_chance=1.0, per_minute=0.0, decades_a_generation=4.0, burst=1.0, lane=3, joint="upper", sender="card")],
        reported="PCIE7", cannot=(), spares=[], settings={}, home=dict(cards),
        labels={slot: f"R{number}" for number, slot in enumerate(SLOTS, 1)})


def accounts(box: Box) -> Iterator[RiserAccount]:
    """What is told in each boot."""
    story = drive(box, weigh)
    for number, weighed in enumerate(story.weighed, 1):
        book = Notebook(
            id="r-20261121-1", slot=box.reported, started=0.0, boots=story.notebook.boots[:number], next=weighed.next)
        yield _account(book, weighed)


def _account(book: Notebook, weighed: Weighed) -> RiserAccount:
    over = weighed.verdict != "not-yet"
    return RiserAccount(
        version="0.1.0", started=0.0, seconds=130.0, stored=Stored(box="W-0007", notebook=book), weighed=weighed,
        state="found" if weighed.verdict == "found" else "healthy" if weighed.verdict == "healthy" else "waiting",
        tried=LEFT, advice=advice(weighed, book), tape=tuple(tape(one, book) for one in weighed.accused),
        command="" if over else "sudo boxcheck riser --resume r-20261121-1")


def told(box: Box | None = None, columns: int = 100) -> list[str]:
    """The text of each boot."""
    return [re.sub(r"\S+ -m boxcheck", "boxcheck", riser_text(one, Style(columns=columns)))
            for one in accounts(box or wopr())]


def page(text: str, story: list[str]) -> str:
    """The how-to page with the story in it."""
    for number, shown in enumerate(story, 1):
        mark = MARK.format(number)
        if mark not in text:
            continue
        head, tail = text.split(mark, 1)
        text = head + mark + shown + "```" + tail.split("```", 1)[1]
    return text


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(page(PAGE.read_text(), told()))
    else:
        seed = int(sys.argv[1]) if len(sys.argv) > 1 else 7
        print(("=" * 100 + "\n").join(told(wopr(seed))))

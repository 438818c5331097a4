"""What this report says and what it does not."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.certify.proves import PROVES, PROVES_NOT
from boxcheck.checks.wording import duration
from boxcheck.report.acceptance_told import Told
from boxcheck.report.acceptance_words import dim, facts_table, mixed, strong
from boxcheck.report.document import Block, Heading, Items, Paragraph, Words


def scope(told: Told) -> Iterator[Block]:
    yield Heading(level=2, text="What this does and does not say", anchor="scope")
    yield Paragraph(words=mixed(strong(
        "A pass applies to these checks, on this box, with these parts in these places, on this day. It is not a "
        "general statement that the machine is healthy, nor that it will stay as it is."),))
    yield Items(items=(
        "Zero is a bound. No error in the bits that were moved says that the rate is below a number, which is given; "
        "it does not say that there are none.",
        "What was not read is called unread. It is never a zero and never a pass; where it was required, the box has "
        "not passed.",
        "Rates count only where the result was compared and right.",
        "Links are judged under load: at rest a GPU lowers its link to save power.",
        "A riser has no identity that software can read; its label is what the operator said.",
    ))
    yield _ran(told) if told.phases else Paragraph(words="Nothing was run.")
    not_run = tuple(_not_run(told))
    if not_run:
        yield Paragraph(words=mixed(strong("Not tested in this run:"),))
        yield Items(items=not_run)
    if told.acceptance is not None:
        yield Paragraph(words=mixed(strong("A signature over this report: "), PROVES, " It does not prove:"))
        yield Items(items=PROVES_NOT)


STATES = {"planned": "not begun", "about": "not begun", "running": "goes on", "ended": "to its end", "cut": "cut off"}


def _ran(told: Told) -> Block:
    rows: list[tuple[Words, ...]] = []
    for phase in told.phases:
        begin = phase.started or phase.about
        end = phase.ended.seconds if phase.ended else told.seconds if phase.state in ("cut", "running") else None
        took = duration(end - begin.seconds) if begin is not None and end is not None else "-"
        planned = phase.plan.planned_seconds
        results = phase.end.results if phase.end else None
        state = "stopped" if results is not None and results.stopped else STATES[phase.state]
        small = " (small sizes: rates not judged)" if results is not None and not results.full_size else ""
        warm = " (warm-up: rates not judged)" if results is not None and results.warm_up else ""
        devices = str(len(phase.plan.devices)) if phase.plan.devices else "-"
        rows.append((phase.plan.name, phase.plan.module or "doctor", devices, duration(planned) if planned else "-",
                     took, f"{state}{small}{warm}"))
    heads = ("phase", "load", "devices", "planned", "took", "how it ended")
    return facts_table("What was run, in this order", heads, rows, numeric=(2,), shares=(1.6, 1.2, 0.7, 1, 1, 2.2))


def _not_run(told: Told) -> Iterator[Words]:
    plan = told.run.info.plan if isinstance(told.run.info.plan, dict) else {}
    left = plan.get("left_out")
    for name, why in left.items() if isinstance(left, dict) else ():
        yield mixed(strong(str(name)), f": {why}")
    for name in plan.get("not_asked") or () if isinstance(plan.get("not_asked"), (list, tuple)) else ():
        yield mixed(strong(str(name)), ": left out with --only")
    yield from told.missing
    yield mixed(strong("Beyond this box: "), dim("the room, the mains, the network, software that will run on it"))

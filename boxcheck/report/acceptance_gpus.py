"""GPUs: all of them small beside each other, then a sheet for each: courses, rates, what was verified, what held it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from boxcheck.account import bus_of
from boxcheck.checks.thermal_gpu import ANY_TIME
from boxcheck.checks.wording import duration
from boxcheck.gpu import GpuInfo
from boxcheck.model import Bdf, Outcome
from boxcheck.report.acceptance_series import Course
from boxcheck.report.acceptance_told import Told
from boxcheck.report.acceptance_words import cell, code, many, mixed, number, outcome_cell
from boxcheck.report.document import Block, Column, Facts, Fold, Heading, Paragraph, Row, Table, Words
from boxcheck.report.drawing_plot import Bound, Held, Small, Span, Stripe, multiples, sheet
from boxcheck.report.stress_rates import Row as Rate
from boxcheck.report.stress_rates import count, figure, judged_rows
from boxcheck.stress.watched import CUTS

EMPTY = Course(lines={}, lowest={}, highest={}, highest_at={}, readings=0)
GRAVE = CUTS | {"thermal-software"}
TITLES = {"rate": "rate, % of usual", "heat": "temperature, °C", "power": "power, W", "clock": "clock, MHz"}
USUAL = ("100 % is the median of the same kind of work over all devices of this run, so that unlike work has one axis; "
         "copies between GPUs are in their matrices, and not here.")


def gpus(told: Told) -> Iterator[Block]:
    yield Heading(level=2, text=told.kinds, anchor="gpus")
    devices = told.gpus
    if not devices:
        yield Paragraph(words="No GPU was under load in this run.")
        return
    axes = _axes(told)
    begin, end = _span(told)
    if len(devices) > 1 and axes:
        yield _all(told, devices, axes, begin, end)
        yield Paragraph(words=f"The axes are the same for every {told.kind}. Rate: {USUAL} A gap is a time of which "
                              "nothing was read.")
    if missing := [title.partition(",")[0] for name, title in TITLES.items() if name not in axes]:
        small = "" if "rate" in axes else " Rates of small sizes say nothing."
        yield Paragraph(words=f"Not drawn, since nothing was read of any device: {', '.join(missing)}.{small}")
    yield Paragraph(words=(
        "In the tables of rates, what is expected is what the profile should have, else must have; * the lowest that "
        "others measured on such a card, by which nothing is judged. The spread is how far the slowest is behind the "
        "fastest. "
        "Work that was compared and not timed is in the sum of what was verified alone."))
    for place, info in enumerate(devices):
        yield from _sheet(place, info, told, axes, begin, end)


def course_of(told: Told, info: GpuInfo) -> Course:
    return told.series.gpus.get(info.bdf or info.key) or told.series.gpus.get(info.key) or EMPTY


def _span(told: Told) -> tuple[float, float]:
    """From the first load to the end."""
    begins = [one.phase.started.seconds for one in told.done if one.phase.started is not None]
    return max(0.0, min(begins, default=0.0) - 1), max(told.series.end, 1.0)


def _quantity(name: str) -> str:
    return name.partition(" ")[0]


def _axes(told: Told) -> Mapping[str, tuple[float, float]]:
    """Lowest and highest value of each quantity over all GPUs; rates and temperatures with room around."""
    found: dict[str, tuple[float, float]] = {}
    for info in told.gpus:
        course = course_of(told, info)
        for name in course.lines:
            low, high = found.get(_quantity(name), (course.lowest[name], course.highest[name]))
            found[_quantity(name)] = min(low, course.lowest[name]), max(high, course.highest[name])
        for limit in course.limit_watts if "power" in course.lines else ():
            found["power"] = found["power"][0], max(found["power"][1], limit)
    if "rate" in found:
        found["rate"] = min(found["rate"][0], 80.0), max(found["rate"][1], 105.0)
    return found


def _all(
    told: Told, devices: Sequence[GpuInfo], axes: Mapping[str, tuple[float, float]], begin: float, end: float
) -> Block:
    columns = [Small(title=title, low=axes[name][0], high=axes[name][1])
               for name, title in TITLES.items() if name in axes]
    rows, says = [], []
    for info in devices:
        course = course_of(told, info)
        lines = []
        for name in TITLES:
            if name in axes:
                own = next((one for one in course.lines if _quantity(one) == name), None)
                lines.append(course.lines[own] if own is not None else ())
        rows.append((told.place(info), f"{info.key}  {info.name}", lines))
        highest = ", ".join(f"{_quantity(name)} {number(course.lowest[name], 3)} to {number(course.highest[name], 3)}"
                            for name in course.lines) or "nothing read"
        says.append(f"{told.place(info)}: {highest}")
    return multiples(columns, rows, begin, end, caption=f"All GPUs over {duration(end - begin)}", says="; ".join(says))


def _sheet(
    place: int, info: GpuInfo, told: Told, axes: Mapping[str, tuple[float, float]], begin: float, end: float
) -> Iterator[Block]:
    course = course_of(told, info)
    name = told.place(info)
    yield Heading(level=3, text=f"{name}: {info.name}", anchor=f"gpu-{place}")
    yield Facts(rows=tuple(_facts(info, course, told)))
    stripes = [_stripe(quantity, title, course, told, axes) for quantity, title in TITLES.items() if quantity in axes]
    held = _held(info, course, told)
    phases = [Span(one.phase.plan.name, one.phase.started.seconds,
                   one.phase.ended.seconds if one.phase.ended else told.seconds)
              for one in told.done if one.phase.started is not None]
    says = "; ".join([
        *(f"{title} {number(course.lowest[one], 3)} to {number(course.highest[one], 3)}"
          for quantity, title in TITLES.items() for one in course.lines if _quantity(one) == quantity),
        *(f"held down by {one.says}, {one.total}" for one in held)]) or "nothing was read"
    if stripes or held:
        yield sheet(stripes, held, phases, begin, end, caption=f"{name} over the run", says=says,
                    held_read=any(one.watching.readings.get(info.key) for one in told.done))
    yield from _rates(info, told)


def _stripe(quantity: str, title: str, course: Course, told: Told, axes: Mapping[str, tuple[float, float]]) -> Stripe:
    lines = {name.partition(" ")[2]: segments for name, segments in course.lines.items() if _quantity(name) == quantity}
    names = [name for name in course.lines if _quantity(name) == quantity]
    low, high = axes.get(quantity, (0.0, 1.0))
    bounds: list[Bound] = []
    if quantity == "power":
        bounds = [Bound(limit, f"limit in force {number(limit)}") for limit in course.limit_watts]
    if quantity == "heat" and (limit := told.want.limits.get(ANY_TIME)) is not None:
        bounds = [Bound(float(value), f"{word} {number(float(value))}") for value, word in (
            (limit.must, "limit"), (limit.should, "should be below")) if isinstance(value, (int, float))]
        high = max([high, *(bound.value for bound in bounds if bound.value < high + 25)])
    if quantity == "rate":
        bounds = [Bound(100.0, "usual", "dim")]
        says = f"lowest {number(course.lowest['rate'], 3)}" if "rate" in course.lowest else ""
    else:
        says = f"highest {', '.join(number(course.highest[one], 3) for one in names)}" if names else ""
    return Stripe(title=title, lines=lines, low=low, high=high, bounds=tuple(bounds), says=says)


def _held(info: GpuInfo, course: Course, told: Told) -> list[Held]:
    found: list[Held] = []
    kinds = {says: kind for one in told.done for says, (kind, _) in one.watching.throttled.get(info.key, {}).items()}
    for says, seconds in sorted(held_seconds(info, told).items(), key=lambda one: -one[1]):
        if kinds.get(says) != "idle":
            found.append(Held(says=says, spans=course.held.get(says, ()), total=duration(seconds),
                              grave=kinds.get(says) in GRAVE))
    return found


def held_seconds(info: GpuInfo, told: Told) -> Mapping[str, float]:
    """For how long each reason held the clock down, over all phases."""
    found: dict[str, float] = {}
    for one in told.done:
        course = one.watching.courses.get(info.key)
        for says, seconds in course.throttle_seconds.items() if course is not None else ():
            found[says] = found.get(says, 0.0) + seconds
    return found


def _facts(info: GpuInfo, course: Course, told: Told) -> Iterator[tuple[str, Words]]:
    yield "Bus, device", mixed(code(bus_of(Bdf(info.bdf))), f"  {info.key}") if info.bdf else info.key
    yield "Serial, UUID", mixed(
        info.serial or "serial not read", ", ", code(info.uuid) if info.uuid else "UUID not read")
    if told.risers:
        yield "Riser", told.risers.get(told.place(info), "no label")
    yield "Verified", verified_words(info, told)
    hottest: dict[str, float] = {}
    for one in told.done:
        for sensor, value in one.watching.hottest_celsius.get(info.key, {}).items():
            hottest[sensor] = max(value, hottest.get(sensor, value))
    yield "Hottest", ", ".join(f"{sensor} {value:g} °C" for sensor, value in hottest.items()) or _unread(info, told)
    watts = [one.watching.most_watts[info.key] for one in told.done if info.key in one.watching.most_watts]
    if watts:
        limits = " and ".join(number(one) for one in course.limit_watts)
        yield "Most power", f"{max(watts):.0f} W{f', limit in force {limits} W' if limits else ''}"
    else:
        yield "Most power", _unread(info, told)
    if course.energy_joules is not None:
        yield "Energy", f"{many(round(course.energy_joules / 3600))} Wh, {course.energy_how}"
    errors = [f"{grown} {name}" for one in told.done
              for name, grown in one.watching.memory_errors.get(info.key, {}).items() if grown]
    unread = next((one.watching.unread_memory[info.key] for one in told.done if info.key in one.watching.unread_memory),
                  None)
    read = any(info.key in one.watching.memory_errors for one in told.done)
    yield "Memory errors", ", ".join(errors) or ("0 counted" if read else f"not read: {unread}" if unread else
                                                 "the card counts none")


def _unread(info: GpuInfo, told: Told) -> str:
    why = next((one.watching.silent[info.key] for one in told.done if info.key in one.watching.silent), "")
    return f"not read: {why}" if why else "not read"


def verified_words(info: GpuInfo, told: Told) -> str:
    """`1.9e15 elements checked, 0 wrong`; that nothing was where nothing was."""
    checked: dict[str, int] = {}
    wrong = 0
    for one in told.done:
        for (_, gpu, _), row in one.measured.rows.items():
            if gpu == info.key:
                checked[row.of] = checked.get(row.of, 0) + row.checked
                wrong += row.wrong
    told_of = ", ".join(f"{many(number)} {of}" for of, number in checked.items() if number)
    if not told_of:
        return "nothing that this device did was compared"
    return f"{told_of} compared, {count(wrong)} wrong"


COLUMNS = (
    Column(head="work", share=4.3), Column(head="best", numeric=True, share=0.8),
    Column(head="median", numeric=True, share=0.9), Column(head="spread", numeric=True, share=0.9),
    Column(head="unit", share=1.0), Column(head="expected", numeric=True, share=1.15),
    Column(head="of it", numeric=True, share=0.8), Column(head="samples", numeric=True, share=1.1),
    Column(head="compared", numeric=True, share=1.9), Column(head="wrong", numeric=True, share=0.8))
"""Wide enough for the longest name and number: a sheet of a GPU is one page of print, where no row needs two lines."""


def _rates(info: GpuInfo, told: Told) -> Iterator[Block]:
    rows: list[Row] = []
    for one in told.done:
        for rate in judged_rows(one.results, one.measured.rows, told.findings):
            if rate.gpu == info.key and (rate.best is not None or rate.wrong):
                rows.append(rate_row(rate, one.results.module, one.phase.plan.name))
    if not rows:
        yield Paragraph(words="No rate of this device was measured.")
        return
    table = Table(caption=f"Rates of {told.place(info)}", columns=COLUMNS, rows=tuple(rows))
    yield table if len(rows) <= 24 else Fold(title=f"{table.caption}: {len(rows)} kinds of work", blocks=(table,))


def rate_row(rate: Rate, module: str, phase: str) -> Row:
    percent = "" if rate.percent is None else f"{rate.percent:.0f} %"
    mark = "*" if rate.from_database else ""
    named = f"{module} {rate.what}" if phase == module else f"{phase}: {module} {rate.what}"
    bad = Outcome.FAIL if rate.wrong else None
    of = rate.of.removesuffix("s") if rate.checked == 1 else rate.of
    return Row(head=True, cells=(
        cell(named), cell(figure(rate.best)), cell(figure(rate.middle)),
        cell("-" if rate.spread_percent is None else f"{rate.spread_percent:.1f} %"), cell(rate.unit or "-"),
        cell("-" if rate.expected is None else f"{figure(rate.expected)}{mark}"), cell(percent or "-"),
        cell(count(rate.samples)), cell(f"{many(rate.checked)} {of}"),
        cell(count(rate.wrong)) if bad is None else outcome_cell(Outcome.FAIL, f"{count(rate.wrong)} WRONG")))

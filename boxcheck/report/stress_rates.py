"""The table of rates of a stress run: what was measured, what is expected of it, what was verified.

What is expected comes from the limits by which the checks judged: what a rate should be, or must be where the profile
says no more. Where the profile says nothing of a product, it is the lowest rate that others measured on the same card
(gpus.toml). Renders and decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from boxcheck.model import Finding, Subject
from boxcheck.profile import part_of
from boxcheck.stress import Sample, StressResults
from boxcheck.stress.judging import Kind, by_kind, subject_of

LIMITS: Mapping[str, tuple[str, ...]] = {
    **{f"matmul.{element}_tflops": (f"matmul.{element}.power",) for element in (
        "bf16", "fp16", "tf32", "fp32", "int8", "e4m3")},
    "copy.host_to_device_gbs": ("copy.host-to-device.pinned",),
    "copy.device_to_host_gbs": ("copy.device-to-host.pinned",),
    "vram.copy_gbs": ("vram.copy", "vram.copy.engine"),
    "cpu.fp64_gflops": ("cpu.fp64.together",),
    "dram.triad_gbs": ("dram.triad",),
}
"""Names of limits, and of the samples that are judged by each: the better kind where there are two."""
FROM_DATABASE = "*"
"""Behind a rate that others measured, which nothing is judged by."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """All samples of one kind on one device."""

    what: str
    """Without the module's name where all begin with it."""
    gpu: str
    unit: str
    best: float | None
    middle: float | None
    spread_percent: float | None
    """How far the slowest is behind the fastest."""
    samples: int
    checked: int
    of: str
    wrong: int
    peer: str | None = None
    """The other device of a pair; None where there is none, or it is the host."""
    expected: float | None = None
    percent: float | None = None
    """What was judged, or the best where nothing was, in percent of what was expected."""
    from_database: bool = False


def groups_of(results: StressResults) -> dict[Kind, Row]:
    """One row a kind, device and peer, in the order in which they came; the host is no peer of its own."""
    groups: dict[Kind, list[Sample]] = {}
    for (what, gpu, peer), some in by_kind(results).items():
        groups.setdefault((what, gpu, None if peer == "host" else peer), []).extend(some)
    return {key: _row(results, *key, some) for key, some in groups.items()}


def rows_of(results: StressResults, findings: Sequence[Finding] = ()) -> list[Row]:
    """One row a kind and device, in the order in which they came; pairs of devices are in the matrices."""
    return judged_rows(results, groups_of(results), findings)


def judged_rows(results: StressResults, groups: Mapping[Kind, Row], findings: Sequence[Finding]) -> list[Row]:
    """The same from rows that were made before, without the samples."""
    rows = {(what, gpu): row for (what, gpu, peer), row in groups.items() if peer is None}
    for (what, gpu), row in rows.items():
        measured = _measured_by_others(results, what, gpu)
        if measured is not None and row.best is not None:
            rows[what, gpu] = msgspec.structs.replace(
                row, expected=measured, percent=100 * row.best / measured, from_database=True)
    subjects = [(subject_of(results, info.key), info.key) for info in results.gpus]
    for finding in findings:
        if finding.limit is None or finding.limit.name not in LIMITS:  # nearly all, asked for each phase and device
            continue
        judged = _judged(subjects, finding, rows)
        if judged is not None:
            rows[judged[0]] = msgspec.structs.replace(
                rows[judged[0]], expected=judged[1], percent=judged[2], from_database=False)
    return list(rows.values())


def _row(results: StressResults, what: str, gpu: str, peer: str | None, some: Sequence[Sample]) -> Row:
    return row_of(
        results.module, what, gpu, peer, unit=some[0].unit, of=some[0].of, samples=len(some),
        checked=sum([one.checked for one in some]), wrong=sum([one.wrong for one in some]),
        values=sorted([one.value for one in some if one.value is not None]))


def row_of(
    module: str, what: str, gpu: str, peer: str | None, *, unit: str, of: str, samples: int, checked: int, wrong: int,
    values: Sequence[float],
) -> Row:
    """`values`: in order."""
    return Row(
        what=what.removeprefix(f"{module}."), gpu=gpu, peer=peer, unit=unit, samples=samples, checked=checked, of=of,
        wrong=wrong, best=values[0 if unit == "us" else -1] if values else None,
        middle=_middle(values),
        spread_percent=100 * (1 - values[0] / values[-1]) if values and values[-1] > 0 else None)


def _middle(values: Sequence[float]) -> float | None:
    """The median of values that are in order."""
    half = len(values) // 2
    return None if not values else values[half] if len(values) % 2 else (values[half - 1] + values[half]) / 2


def _judged(
    subjects: Sequence[tuple[Subject, str]], finding: Finding, rows: Mapping[tuple[str, str], Row]
) -> tuple[tuple[str, str], float, float] | None:
    """The row that a finding judged, what was expected of it and the percent of that. `subjects`: with their keys."""
    limit, measured = finding.limit, finding.measured
    names = LIMITS.get(limit.name, ()) if limit is not None else ()
    gpu = next((key for subject, key in subjects if subject == finding.subject), None) if names else None
    mine = [
        (name, gpu) for name in names
        if gpu is not None and (name, gpu) in rows and rows[name, gpu].best is not None]
    if not mine or limit is None or measured is None:
        return None
    expected = limit.must if limit.should is None else limit.should
    if not isinstance(expected, (int, float)) or not isinstance(measured.value, (int, float)) or expected <= 0:
        return None
    return max(mine, key=lambda key: rows[key].best or 0.0), expected, 100 * measured.value / expected


def _measured_by_others(results: StressResults, what: str, gpu: str) -> float | None:
    """The lowest rate of a product at full power that others measured on the same card; None where nobody did."""
    info = next((one for one in results.gpus if one.key == gpu), None)
    module, _, phase = what.partition(".")
    element, _, phase = phase.partition(".")
    if info is None or info.pci_id is None or not results.full_size or (module, phase) != ("matmul", "power"):
        return None
    if (info.uuid or "").startswith("MIG-"):  # a part of the card
        return None
    part = part_of(info.pci_id, info.pci_revision)
    found = part.measured_tflops.get(element) if part is not None else None
    return found[0] if found is not None else None


def figure(value: float | None, digits: int = 4) -> str:
    """Four significant digits, `-` for none."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 10 ** (digits - 1) else f"{value:.{digits}g}"


def count(number: int) -> str:
    """Whole numbers in groups of three, large ones in powers of ten."""
    return f"{number:.3g}" if number >= 10**9 else f"{number:,}".replace(",", " ")


_EXPECTED: Mapping[bool, tuple[str, ...]] = {True: ("expected", "of it"), False: ()}
Line = tuple[str, bool]
"""Text, and whether it tells of something wrong."""


def table(module: str, rows: Sequence[Row], columns: int) -> Iterator[Line]:
    """The rows as lines: one each where that fits into the columns, else rates alone, and below what was verified. And
    where expected rates come from."""
    has = any(row.expected is not None for row in rows)
    wide = _grid(
        ("what", "device", "best", "median", "spread", "unit", *_EXPECTED[has], "verified", "wrong"), module, rows)
    if all(len(line) <= columns for line, _ in wide):
        yield from wide
    else:
        yield from _narrow(module, rows, has, columns)
    if any(row.from_database for row in rows):
        yield f"  {FROM_DATABASE} the lowest that others measured on such a card; not judged", False


def _narrow(module: str, rows: Sequence[Row], has: bool, columns: int) -> Iterator[Line]:
    timed = [row for row in rows if row.best is not None]
    if timed:
        lines = _grid(("what", "device", "best", "median", "spread", "unit", *_EXPECTED[has]), module, timed)
        if any(len(line) > columns for line, _ in lines):
            lines = _grid(("what", "device", "best", "median", "unit", *_EXPECTED[has]), module, timed)
        yield from lines
    else:
        yield module, False
    for row in rows:
        if row.wrong:
            yield f"  WRONG: {row.what} on {row.gpu}: {count(row.wrong)} of {count(row.checked)} {row.of}", True
    for gpu in dict.fromkeys(row.gpu for row in rows):
        sums: dict[str, int] = {}
        for row in rows:
            if row.gpu == gpu:
                sums[row.of] = sums.get(row.of, 0) + row.checked
        told = ", ".join(f"{count(number)} {of}" for of, number in sums.items())
        yield f"  verified on {gpu}: {told}", False


def _cell(row: Row, column: str) -> str:
    match column:
        case "what":
            return row.what
        case "device":
            return row.gpu
        case "best":
            return figure(row.best)
        case "median":
            return figure(row.middle)
        case "spread":
            return "-" if row.spread_percent is None else f"{row.spread_percent:.1f} %"
        case "unit":
            return row.unit
        case "expected":
            mark = FROM_DATABASE if row.from_database else ""
            return "" if row.expected is None else f"{figure(row.expected)}{mark}"
        case "of it":
            return "" if row.percent is None else f"{row.percent:.0f} %"
        case "verified":
            return f"{count(row.checked)} {row.of.removesuffix('s') if row.checked == 1 else row.of}"
        case "wrong":
            return count(row.wrong)
    raise AssertionError(f"no column is called {column}")


_TO_THE_LEFT = ("what", "device", "unit")


def _grid(names: Sequence[str], module: str, rows: Sequence[Row]) -> list[Line]:
    """A line of names, then one for each row; each column as wide as it must be."""
    heads = [module if name == "what" else "" if name == "unit" else name for name in names]
    cells = [["  " + _cell(row, name) if name == "what" else _cell(row, name) for name in names] for row in rows]
    widths = [max(len(line[at]) for line in (heads, *cells)) for at in range(len(names))]
    lines = [
        "  ".join(
            text.ljust(width) if name in _TO_THE_LEFT else text.rjust(width)
            for text, width, name in zip(line, widths, names, strict=True)).rstrip()
        for line in (heads, *cells)]
    return [(lines[0], False), *((line, bool(row.wrong)) for line, row in zip(lines[1:], rows, strict=True))]

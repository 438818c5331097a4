"""Results of transfers as matrices: who sent to whom, how fast, and whether what arrived was compared and right.

Renders samples and decides nothing. A cell is the median of the samples that were found right; a pair that was not run
has a question mark, never an empty cell or a zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import TypeAlias

import msgspec

from boxcheck.stress import Sample, StressResults
from boxcheck.stress.judging import by_kind

Pairs: TypeAlias = Mapping[tuple[str, str | None], Sequence[Sample]]

SAME, NOT_RUN, NO_ACCESS = ".", "?", "x"
MARKS = {NOT_RUN: "not run", NO_ACCESS: "no peer access", "!": "wrong data arrived"}
TITLES = {
    "p2p.one-way.engine-write": "one way, the source's copy engine writes",
    "p2p.one-way.engine-read": "one way, the target's copy engine reads",
    "p2p.one-way.kernel-write": "one way, a kernel of the source writes",
    "p2p.one-way.kernel-read": "one way, a kernel of the target reads",
    "p2p.both-ways.engine-write": "both ways at once, each direction",
    "p2p.ring.engine-write": "each to the next, all at once",
    "p2p.all-to-all.engine-write": "all to all at once, written",
    "p2p.all-to-all.engine-read": "all to all at once, read",
    "p2p.one-to-all.engine-write": "one to all others at once",
    "p2p.all-to-one.engine-write": "all others to one at once",
    "p2p.staged": "by way of the host's memory, no peer access: no figure of a link between GPUs",
    "p2p.latency.load": "latency of a load from the column's memory",
    "p2p.latency.round-trip": "latency of a small copy there and back",
}
"""By `Sample.what`, in this order. Rows are sources, columns are targets, but for loads, which the row's GPU makes."""
MAIN = "p2p.one-way.engine-write"
"""Shown even where none of it was run."""
COPIES = {
    "to GPU": "host-to-device", "from GPU": "device-to-host", "to, both": "both.host-to-device",
    "from, both": "both.device-to-host",
}


class Matrix(msgspec.Struct, frozen=True, kw_only=True):
    """A table with names of rows and columns; cells are text."""

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]

    @property
    def marks(self) -> tuple[str, ...]:
        """What the marks mean that are in it."""
        text = {cell[-1] for row in self.cells for cell in row}
        return tuple(f"{mark} {words}" for mark, words in MARKS.items() if mark in text)


def matrices(results: StressResults) -> list[Matrix]:
    """All matrices that a run of `copy`, `p2p` or `collective` gives; none for other modules."""
    make = MAKERS.get(results.module)
    return [] if make is None else make(results)


def lines(matrix: Matrix, width: int = 80) -> list[str]:
    """The matrix as text, in blocks of columns where it is wider than that."""
    label = max(len(row) for row in ("", *matrix.rows))
    wide = 2 + max(len(text) for text in ("", *matrix.columns, *(cell for row in matrix.cells for cell in row)))
    fit = max(1, (width - label) // wide)
    found = [matrix.title]
    for at in range(0, len(matrix.columns), fit):
        found.append(" " * label + "".join(text.rjust(wide) for text in matrix.columns[at:at + fit]))
        for row, cells in zip(matrix.rows, matrix.cells, strict=True):
            found.append(row.ljust(label) + "".join(cell.rjust(wide) for cell in cells[at:at + fit]))
    if matrix.marks:
        found.append("; ".join(matrix.marks))
    return found


def _name(results: StressResults, key: str) -> str:
    slot = results.slots.get(key)
    return f"{key} {slot}" if slot else key


def _cell(samples: Sequence[Sample]) -> str:
    """The median rate; with an exclamation mark where something wrong arrived in any of them."""
    wrong = "!" if any(one.wrong for one in samples) else ""
    values = [one.value for one in samples if one.value is not None and one.checked and (wrong or not one.wrong)]
    if not values:
        return wrong or NOT_RUN
    value = median(values)
    return f"{value:.{1 if value >= 10 else 2}f}{wrong}"


def _verified(samples: Iterable[Sample]) -> str:
    """In words, whether all that was moved was compared."""
    samples = [*samples]
    if not samples:
        return "nothing was compared"
    wrong = sum(1 for one in samples if one.wrong)
    if wrong:
        return f"WRONG in {wrong} of {len(samples)} transfers"
    return "every payload verified" if all(one.checked for one in samples) else "not everything was compared"


def _title(results: StressResults, words: str, unit: str, samples: Sequence[Sample]) -> str:
    small = "" if results.full_size else "; small sizes, no rates of links"
    return f"{words}, {unit}; {_verified(samples)}{small}"


def _pairs(results: StressResults) -> list[Matrix]:
    keys, found = [info.key for info in results.gpus], []
    access = {(one.gpu, one.peer): one.notes.get("access") for one in results.named("p2p.access")}
    kinds = by_kind(results)
    for what, words in TITLES.items():
        pairs = {(gpu, peer): some for (name, gpu, peer), some in kinds.items() if name == what}
        samples = [one for some in pairs.values() for one in some]
        if not samples and what != MAIN:
            continue

        def cell(row: str, column: str, pairs: Pairs = pairs, what: str = what) -> str:
            if row == column:
                return SAME
            here = pairs.get((row, column), ())
            staged = what == "p2p.staged"
            if not here and not staged and access.get(_asks(what, row, column)) in ("no", "refused"):
                return NO_ACCESS
            return _cell(here) if here or _wanted(what, keys, row, column, access) else SAME

        unit = next((one.unit for one in samples if one.unit), "GB/s")
        found.append(_square(results, _title(results, words, unit, samples), keys, cell))
    return found


def _asks(what: str, row: str, column: str) -> tuple[str, str]:
    """Who must reach whom: the one that reads, or writes."""
    return (column, row) if what.endswith("-read") else (row, column)


def _wanted(
    what: str, keys: Sequence[str], row: str, column: str, access: Mapping[tuple[str, str | None], object]
) -> bool:
    """Whether a pair belongs to a matrix: a ring has one target for each source, a staged one pairs without access."""
    if what == "p2p.staged":
        return access.get((row, column)) != "yes" and access.get((column, row)) != "yes"
    return what != "p2p.ring.engine-write" or keys[(keys.index(row) + 1) % len(keys)] == column


def _square(
    results: StressResults, title: str, keys: Sequence[str], cell: Callable[[str, str], str]
) -> Matrix:
    return Matrix(
        title=title, rows=tuple(_name(results, key) for key in keys), columns=tuple(keys),
        cells=tuple(tuple(cell(row, column) for column in keys) for row in keys))


def _copies(results: StressResults) -> list[Matrix]:
    found = []
    parts: dict[tuple[object, str, str], list[Sample]] = {}
    for (what, gpu, _), some in by_kind(results).items():
        for one in some:
            parts.setdefault((one.notes.get("together"), what, gpu), []).append(one)
    for together, how in (("no", "one GPU at a time"), ("yes", "all GPUs at once")):
        for kind in ("pinned", "pageable"):
            samples = [
                one for (when, what, _), some in parts.items() if when == together and what.endswith(f".{kind}")
                for one in some]
            if not samples:
                continue
            cells = tuple(
                tuple(_cell(parts.get((together, f"copy.{way}.{kind}", info.key), ())) for way in COPIES.values())
                for info in results.gpus)
            device = "GPU" if all(info.is_gpu for info in results.gpus) else "device"  # a processor is no GPU
            words = how.replace("GPU", device) if len(results.gpus) > 1 else f"the one {device}"
            found.append(Matrix(
                title=_title(results, f"host and {device}, {kind} memory, {words}", "GB/s", samples), cells=cells,
                rows=tuple(_name(results, info.key) for info in results.gpus),
                columns=tuple(name.replace("GPU", device) for name in COPIES)))
    return found


def _collectives(results: StressResults) -> list[Matrix]:
    names = ("all-reduce", "all-gather", "reduce-scatter", "zero3")
    kinds: dict[str, list[Sample]] = {}
    for (what, _, peer), some in by_kind(results).items():
        if peer is None:
            kinds.setdefault(what, []).extend([one for one in some if one.unit == "GB/s"])
    taken = [one for some in kinds.values() for one in some]
    if not taken:
        return []
    staged = any(some and what.startswith("collective.staged.") for what, some in kinds.items())
    rows, cells = [], []
    for name in names:
        mine = [
            one for what, some in kinds.items()
            if what.removeprefix("collective.").removeprefix("staged.") == name for one in some]
        products = [
            one for (what, _, _), some in by_kind(results).items() if what == "collective.product"
            for one in some if one.value is not None] if name == "zero3" else []
        sizes = {int(one.notes.get("bytes", 0)) for one in mine}
        rows.append("zero3, overlapped" if name == "zero3" else name)
        cells.append((
            _cell(mine), f"{max(sizes) / 1e6:.3g} MB" if sizes else NOT_RUN,
            f"{median(one.value or 0.0 for one in products):.3g} TFLOPS" if products else SAME))
    words = f"ring over {len(results.gpus)} GPUs, bus bandwidth" + (" by way of the host" if staged else "")
    found = [Matrix(
        title=_title(results, words, "GB/s", taken), rows=tuple(rows), columns=("bus", "vector", "products"),
        cells=tuple(cells))]
    of_hops: dict[str, list[Sample]] = {}
    for (what, gpu, _), some in by_kind(results).items():
        if what == "collective.hop.zero3":
            of_hops.setdefault(gpu, []).extend(some)
    hops = [one for some in of_hops.values() for one in some]
    if hops:
        keys = [info.key for info in results.gpus]
        found.append(Matrix(
            title=_title(results, "each rank's copy to the next, under matrix products", "GB/s", hops),
            columns=("hop",), rows=tuple(f"{key} > {keys[(at + 1) % len(keys)]}" for at, key in enumerate(keys)),
            cells=tuple((_cell(of_hops.get(key, ())),) for key in keys)))
    return found


MAKERS: Mapping[str, Callable[[StressResults], list[Matrix]]] = {
    "copy": _copies, "p2p": _pairs, "collective": _collectives}
"""By module: those that have matrices."""

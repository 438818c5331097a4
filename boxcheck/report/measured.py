"""What a report shows of the samples of one module: rows and matrices. Made while the samples are there, kept when they
are not: a day has two million.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from boxcheck.report.matrices import Matrix, matrices
from boxcheck.report.stress_rates import Row, groups_of
from boxcheck.stress import StressResults
from boxcheck.stress.judging import Kind


class Measured(msgspec.Struct, frozen=True):
    """Of one module in one phase."""

    rows: Mapping[Kind, Row]
    matrices: tuple[Matrix, ...]


def measured_of(results: StressResults) -> Measured:
    return Measured(groups_of(results), tuple(matrices(results)))


def row_objects(measured: Measured) -> list[Mapping[str, Any]]:
    """As JSON: all samples of one name, device and peer in one object."""
    return [{
        "what": what, "gpu": gpu, "peer": peer, "unit": row.unit, "samples": row.samples, "best": row.best,
        "median": row.middle, "spread_percent": row.spread_percent, "checked": row.checked, "of": row.of,
        "wrong": row.wrong} for (what, gpu, peer), row in measured.rows.items()]

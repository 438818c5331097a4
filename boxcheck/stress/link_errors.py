"""Which of a function's AER counters tell of its link. Pure."""

from __future__ import annotations

from boxcheck.probes.pcie_aer import SIGNAL

UNREPAIRED = ("nonfatal ", "fatal ")
"""How names of counters begin that count what was not repaired."""


def is_link_error(name: str) -> bool:
    """Whether a counter, by the name that `Watching.link_errors` has, tells of the link itself: of a damaged packet on
    the wire, or of an error that was not repaired. Advisory errors and errors within a device do not."""
    return name in SIGNAL or name.startswith(UNREPAIRED)

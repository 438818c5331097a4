"""Which of a device's samples are the rate that its row shows, and what that is called."""

from __future__ import annotations

from boxcheck.report.matrices import MAIN
from boxcheck.stress import Sample

TRANSFERS = frozenset(("copy", "p2p", "collective"))
LEADING = {"copy": "copy.host-to-device.pinned", "p2p": MAIN, "collective": "collective.all-reduce"}
"""Of modules that time many kinds of copies in turn: the kind whose rate a row shows, so that it does not jump."""


def leads(one: Sample, last: Sample | None) -> bool:
    """Whether a sample is what a row shows from now on, instead of the one that it shows."""
    module = one.what.partition(".")[0]
    wanted = LEADING.get(module)
    if wanted is None:
        return True
    if one.unit != "GB/s":  # a latency is no rate
        return False
    same = last is not None and last.what.startswith(f"{module}.")
    return not same or last is None or one.what in (wanted, last.what)


def kind_of(one: Sample) -> str:
    """What a rate is of. While others use the same memory it is another than alone."""
    name = one.what.partition(".")[2] or one.what
    return f"{name}, all at once" if one.notes.get("together") == "yes" else name

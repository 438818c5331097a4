"""The long text of `nvidia-smi -q`: what it says of each GPU, for machines on which NVML itself cannot be asked.

Layout as of drivers 450 to 595: a line `GPU 00000000:41:00.0`, below it sections that are told by indentation and rows
`Name : value`. `N/A` means that the GPU has no such thing. Labels were renamed over the years (throttle reasons became
event reasons, in 535); both are read. A row that is not there, or says `Unknown Error`, answers nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

MOST_LINES = 40_000
MOST_GPUS = 64
MOST_ROWS = 2_000
"""Of one GPU; a busy one lists its processes."""

REASONS = ("clocks event reasons", "clocks throttle reasons")
REASON_BITS: tuple[tuple[int, Sequence[str]], ...] = (
    (0x01, ("idle",)), (0x02, ("applications clocks setting",)), (0x04, ("sw power cap",)), (0x08, ("hw slowdown",)),
    (0x10, ("sync boost",)), (0x20, ("sw thermal slowdown",)), (0x40, ("hw slowdown/hw thermal slowdown",)),
    (0x80, ("hw slowdown/hw power brake slowdown",)), (0x100, ("display clock setting", "display clocks setting")),
)
"""Bits of nvmlClocksEventReasons (nvml.h) by their rows."""
NEEDED_BITS = 0x08 | 0x20 | 0x40 | 0x80
"""Without the rows of these the rest does not tell that nothing is wrong."""

Value = int | bool | None


def parse_query(text: str) -> Mapping[str, Mapping[str, str]]:
    """Bus id as printed -> rows by their lower-case path, `clocks event reasons/hw slowdown` -> `Not Active`."""
    found: dict[str, dict[str, str]] = {}
    rows: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in text.splitlines()[:MOST_LINES]:
        if line.startswith("GPU "):
            bus = line[4:].strip()[:32]
            if bus in found or len(found) >= MOST_GPUS:
                rows = {}
                continue
            rows = found[bus] = {}
            above = []
            continue
        name, colon, value = line.partition(":")
        depth, name = len(name) - len(name.lstrip(" ")), name.strip().lower()
        if depth == 0 or not name or len(rows) >= MOST_ROWS:
            continue
        while above and above[-1][0] >= depth:
            above.pop()
        path = "/".join([*(parent for _, parent in above[-8:]), name])
        above.append((depth, name))
        if colon:
            rows.setdefault(path, value.strip())
    return found


def gpu_values(rows: Mapping[str, str]) -> Mapping[str, Value]:
    """Values by the names of the `nvml` fact. None: the GPU has no such thing; left out: the text does not say."""
    found: dict[str, Value] = {}
    reasons = _reasons(rows)
    if reasons != "":
        found["event_reasons"] = None if reasons is None else int(reasons)
    _put(found, "pcie_replays", _count(rows.get("pci/replays since reset")))
    _put(found, "ecc", _word(rows.get("ecc mode/current"), "Enabled", "Disabled"))
    _put(found, "retired_pending", _word(rows.get("retired pages/pending page blacklist"), "Yes", "No"))
    for name, label in (("ecc_uncorrected", "aggregate"), ("ecc_uncorrected_volatile", "volatile")):
        _put(found, name, _uncorrected(rows, f"ecc errors/{label}/"))
    whole = rows.get("remapped rows")
    for name, label in (("remapped_corrected", "correctable error"), ("remapped_uncorrected", "uncorrectable error")):
        _put(found, name, _count(rows.get(f"remapped rows/{label}", whole)))
    for name, label in (("remap_pending", "pending"), ("remap_failed", "remapping failure occurred")):
        _put(found, name, _word(rows.get(f"remapped rows/{label}", whole), "Yes", "No"))
    return found


def _put(found: dict[str, Value], name: str, value: Value | str) -> None:
    """Empty text stands for what was not said."""
    if not isinstance(value, str):
        found[name] = value


def _count(text: str | None) -> int | None | str:
    if text == "N/A":
        return None
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 19 else ""


def _word(text: str | None, yes: str, no: str) -> bool | None | str:
    if text == "N/A":
        return None
    return text == yes if text in (yes, no) else ""


def _reasons(rows: Mapping[str, str]) -> int | None | str:
    section = next((name for name in REASONS if name in rows or any(path.startswith(f"{name}/") for path in rows)), "")
    if not section:
        return ""
    if rows.get(section) == "N/A":
        return None
    bits = known = 0
    for bit, labels in REASON_BITS:
        for label in labels:
            state = _word(rows.get(f"{section}/{label}"), "Active", "Not Active")
            if isinstance(state, bool):
                known |= bit
                bits |= bit if state else 0
    # One that is active is told, whatever the rows that are not there would say.
    return bits if known & NEEDED_BITS == NEEDED_BITS or bits & NEEDED_BITS else ""


def _uncorrected(rows: Mapping[str, str], section: str) -> int | None | str:
    """Sum of the uncorrectable errors: SRAM and DRAM since Turing, `Double Bit` with a total of its own before."""
    total = rows.get(f"{section}double bit/total")
    counts = [_count(total)] if total is not None else [
        _count(text) for path, text in rows.items()
        if path.startswith(section) and "uncorrectable" in path.removeprefix(section)
    ]
    known = [count for count in counts if isinstance(count, int)]
    if not counts or ("" in counts and not any(known)):
        return ""  # a row without a count hides no error that another one counts
    return sum(known) if known else None

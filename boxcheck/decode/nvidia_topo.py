"""`nvidia-smi topo -m` and `topo -p2p r|w|n|a|p`: a matrix each, with the GPUs (and network cards) as rows.

Columns are separated by tabs; pasted text has blanks in their place, and affinities have blanks within. So a row is
read as: its name, as many cells as the head has devices, then what is left.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

DEVICE = re.compile(r"(?:GPU|NIC)\d{1,3}$|(?:mlx5|bnxt_re|hfi1|irdma|rocep|ibp|mlx4|erdma|efa)_?\w{0,16}$")
PATHS = re.compile(r"(?:X|SYS|NODE|PHB|PXB|PIX|SOC|NV\d{1,3}|C2C|PSB)$")
STATUS = ("X", "OK", "CNS", "GNS", "TNS", "NS", "U", "DR")
_CPUS = re.compile(r"[\d,-]{1,400}$")
_HEAD_TAILS = ("Affinity NUMA Affinity GPU NUMA ID", "CPU Affinity NUMA Affinity GPU NUMA ID",
               "NUMA Affinity GPU NUMA ID",
               "Affinity GPU NUMA ID", "GPU NUMA ID", "NUMA ID", "ID", "Affinity NUMA Affinity", "Affinity",
               "CPU Affinity NUMA Affinity", "NUMA Affinity")
MOST_DEVICES = 128
MOST_ROWS = 512

LEGEND = re.compile(r" *(?:X|SYS|NODE|PHB|PXB|PIX|SOC|PSB|NV#|OK|CNS|GNS|TNS|NS|U|DR|NIC\d{1,3})"
                    r" *[=:] *\S.{0,160}$")


class Matrix(msgspec.Struct, frozen=True, kw_only=True):
    """What a topology matrix says. `cells[row][column]`; a row that is missing has no entry."""

    columns: tuple[str, ...]
    cells: Mapping[str, tuple[str, ...]]
    cpu_affinity: Mapping[str, str] = {}
    numa_affinity: Mapping[str, int] = {}
    offset: int = 0
    """Line of the head within the text, from 0."""
    short: bool = False
    """Rows or cells are missing: the text was cut."""

    @property
    def gpus(self) -> tuple[str, ...]:
        return tuple(name for name in self.columns if name.startswith("GPU"))

    def pairs(self) -> list[tuple[str, str, str]]:
        """(GPU, GPU, cell) of every ordered pair that the text has."""
        gpus = set(self.gpus)
        return [(row, column, cell) for row, cells in self.cells.items() if row in gpus
                for column, cell in zip(self.columns, cells, strict=False) if column in gpus and column != row]


def plain(line: str) -> str:
    """Without the underline that nvidia-smi puts on the head, of which clean text keeps the letters."""
    return line.replace("[4m", "").replace("[0m", "").replace("\u200b", "")


def head(line: str) -> tuple[tuple[str, ...], bool] | None:
    """(devices, whether affinities follow) of a matrix's first line, None for any other."""
    if "GPU0" not in line:
        return None
    names, mark, _ = plain(line[:4000]).partition("CPU Affinity")
    words = names.split()
    if words and words[-1] == "CPU":  # a mailer broke the line here
        words, mark = words[:-1], "CPU"
    if not words or len(words) > MOST_DEVICES or not words[0].startswith("GPU"):
        return None
    if not all(DEVICE.match(word) for word in words) or len(set(words)) != len(words):
        return None
    return (tuple(words), True) if mark else (tuple(words), False) if len(words) > 1 else None


def is_cell(word: str) -> bool:
    """Whether a word can stand in a matrix: a way between two devices, or a status of `-p2p`."""
    return word in STATUS or PATHS.match(word) is not None


def row(line: str) -> list[str] | None:
    """The words of a row, None for another line."""
    words = plain(line[:4000]).split()
    if len(words) < 2 or not DEVICE.match(words[0]):
        return None
    return words if is_cell(words[1]) else None


def tail(line: str) -> list[str] | None:
    """The words of a row's end that a mailer broke off, None for another line."""
    words = plain(line[:4000]).split()
    if words and all(is_cell(word) or _CPUS.match(word) or word == "N/A" for word in words):
        return words
    return [] if words and " ".join(words) in _HEAD_TAILS else None


def matrix(lines: Sequence[str]) -> Matrix | None:
    """The first matrix of a text."""
    columns: tuple[str, ...] = ()
    cells: dict[str, tuple[str, ...]] = {}
    cpus: dict[str, str] = {}
    nodes: dict[str, int] = {}
    at = 0
    short = False
    rows: list[list[str]] = []
    for offset, line in enumerate(lines):
        found = head(line)
        if found is not None:
            if columns:
                break
            columns, at = found[0], offset
            continue
        if not columns or len(rows) >= MOST_ROWS:
            continue
        words, more = row(line), None
        if words is not None:
            rows.append(words)
        elif rows and (more := tail(line)) is not None and len(rows[-1]) < 4 * MOST_DEVICES:
            rows[-1] = [*rows[-1], *more]
    for words in rows:
        own = tuple(words[1:1 + len(columns)])
        kept = tuple(cell for cell in own if is_cell(cell))
        short = short or len(kept) < len(columns) or kept != own
        cells.setdefault(words[0], kept if kept == own else own[:_agreeing(own)])
        rest = words[1 + len(columns):]
        if rest and _CPUS.match(rest[0]):
            cpus[words[0]] = rest[0]
            if len(rest) > 1 and rest[1].isdecimal() and len(rest[1]) < 5:
                nodes[words[0]] = int(rest[1])
    if not columns:
        return None
    return Matrix(columns=columns, cells=cells, cpu_affinity=cpus, numa_affinity=nodes, offset=at,
                  short=short or any(name not in cells for name in columns if name.startswith("GPU")))


def _agreeing(cells: Sequence[str]) -> int:
    for number, cell in enumerate(cells):
        if not is_cell(cell):
            return number
    return len(cells)

"""The output of p2pBandwidthLatencyTest (NVIDIA/cuda-samples).

Its rows write to its columns; with `--p2p_read` a second matrix is of reads. The diagonal is a copy within the GPU,
counted twice (read and write). A pair without peer access is copied through the host, silently, under P2P=Enabled as
well. The buffers hold zeros and are never compared.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import msgspec

from boxcheck.decode.matrix import MAX_SIDE, Cells, read_table
from boxcheck.decode.text import clean_text
from boxcheck.model import Bdf

DEVICE = re.compile(
    r"Device: ([0-9]{1,3}), (.{1,80}?), pciBusID: ([0-9a-f]{1,2}), pciDeviceID: ([0-9a-f]{1,2})"
    r"(?:, pciDomainID: ?([0-9a-f]{1,8}))?")
ACCESS = re.compile(r"Device=([0-9]{1,3}) (CAN|CANNOT) Access Peer Device=([0-9]{1,3})")
TITLE = re.compile(
    r"(?:(Uni|Bi)directional )?P2P=(Enabled|Disabled) (Bandwidth|Latency)(?: \(P2P (Writes|Reads)\))?"
    r"(?: Matrix(?: \((?:GB/s|us)\))?)?$")
TITLE_REST = re.compile(r"(?:Matrix )?\((?:GB/s|us)\)|\(P2P (?:Writes|Reads)\) Matrix \((?:GB/s|us)\)")
"""What a mailer may have wrapped off a title."""
CONNECTIVITY = "P2P Connectivity Matrix"
FAILURE = re.compile(r"Cuda failure .{1,120}")
MAX_MATRICES = 64


class Device(msgspec.Struct, frozen=True):
    index: int
    name: str
    bdf: Bdf
    line: int


class Matrix(msgspec.Struct, frozen=True, kw_only=True):
    """One matrix with its title. Bandwidth in GB/s, latency in microseconds."""

    quantity: Literal["bandwidth", "gpu-latency", "cpu-latency"]
    both_ways: bool
    enabled: bool
    reads: bool
    cells: Cells
    line: int
    cut: bool


class P2pTest(msgspec.Struct, frozen=True, kw_only=True):
    devices: tuple[Device, ...]
    access: tuple[tuple[int, int, bool], ...]
    """(row, column, whether it can), from the matrix where there is one, else from the sentences."""
    access_line: int
    matrices: tuple[Matrix, ...]
    failure: str | None
    failure_line: int
    cut: bool
    """A matrix was cut off."""

    def matrix(self, quantity: str, both_ways: bool, enabled: bool) -> Matrix | None:
        """The first such matrix, of writes where both are there."""
        return next((one for one in self.matrices
                     if (one.quantity, one.both_ways, one.enabled) == (quantity, both_ways, enabled)), None)


def parse(lines: Sequence[str]) -> P2pTest:
    """Facts of a text. Never raises."""
    devices: dict[int, Device] = {}
    said: dict[tuple[int, int], bool] = {}
    told: dict[tuple[int, int], bool] = {}
    matrices: list[Matrix] = []
    access_line, failure, failure_line, cut = -1, None, 0, False
    at = 0
    while at < len(lines):
        line = lines[at].strip()[:512]
        here, at = at, at + 1
        if found := DEVICE.match(line):
            bdf = Bdf(f"{int(found[5] or '0', 16):04x}:{int(found[3], 16):02x}:{int(found[4], 16):02x}.0")
            devices.setdefault(int(found[1]), Device(int(found[1]), clean_text(found[2]), bdf, here))
        elif (found := ACCESS.match(line)) and len(said) < MAX_SIDE * MAX_SIDE:
            access_line = here if access_line < 0 else access_line
            said[int(found[1]), int(found[3])] = found[2] == "CAN"
        elif line.startswith(CONNECTIVITY):
            table = read_table(lines, at, True)
            if table is None:
                cut = True
                continue
            access_line, at, cut = here, table.end, cut or table.cut
            told |= {(row, column): word == "1" for row, words in enumerate(table.rows)
                     for column, word in enumerate(words) if row != column}
        elif (found := TITLE.match(line)) and len(matrices) < MAX_MATRICES:
            at = _matrices(lines, at, found, here, matrices)
            cut = cut or not matrices or matrices[-1].line != here or matrices[-1].cut
        elif failure is None and FAILURE.match(line):
            failure, failure_line = clean_text(line), here
    access = tuple((row, column, can) for (row, column), can in sorted((told or said).items()))
    return P2pTest(devices=tuple(devices.values()), access=access, access_line=max(access_line, 0),
                   matrices=tuple(matrices), failure=failure, failure_line=failure_line, cut=cut)


def _matrices(lines: Sequence[str], at: int, title: re.Match[str], here: int, into: list[Matrix]) -> int:
    """The one or two matrices under a title (latency: as the GPU and as the CPU saw it); returns where they end."""
    latency = title[3] == "Latency"
    at += at < len(lines) and TITLE_REST.fullmatch(lines[at].strip()) is not None
    kinds: tuple[Literal["bandwidth", "gpu-latency", "cpu-latency"], ...] = (
        ("gpu-latency", "cpu-latency") if latency else ("bandwidth",))
    for kind in kinds:
        table = read_table(lines, at, True)
        if table is None:
            break
        into.append(Matrix(quantity=kind, both_ways=title[1] == "Bi", enabled=title[2] == "Enabled",
                           reads=title[4] == "Reads", cells=table.cells, line=here, cut=table.cut))
        at = table.end
    return at

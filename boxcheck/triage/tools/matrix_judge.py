"""What a matrix of copies between GPUs, or between the host and GPUs, says about links. Shared by several readers.

A copy is compared with its peers first: that needs no knowledge of the machine. All low alike is a setting, or the
board; then the card's own link is what it is held against.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median

import msgspec

from boxcheck.decode.klog.events import Cause, Event, Severity
from boxcheck.decode.matrix import SLOW_SHARE, Cells, middle, pairs_of, slow_in
from boxcheck.decode.matrix_link import HOST_SHARE, Link, fits, fits_says
from boxcheck.model import Bdf
from boxcheck.triage.tools.matrix_cards import has_fabric, link_of, no_peer_reason, one_link
from boxcheck.triage.tools.steps import SLOW_BY_DESIGN

ANY_LINK = Link(5, 16)
LATENCY_FACTOR = 5.0
P2P_GAIN = 0.9
"""Peer copies slower than this share of the way through the host: something redirects them."""
HALF = 0.5
"""Of what the card's own link gives: half the lanes, or one generation less."""
MAX_EVENTS = 64
SWAP = "narrow or slow there: reseat the card, then swap riser and slot with a good one, and see which it follows"
WRONG_COPY = (
    "wrong between GPUs only: the IOMMU, ACS or a patched driver; `boxcheck doctor --goal cuda-p2p`, and "
    "`dmesg | grep -iE 'io_page_fault|dmar|xid'`",
    "wrong to or from the host as well: the link of that GPU or the memory; `dmesg | grep -iE 'aer|edac|mce'`, and a "
    "run with the card in another slot",
    "one GPU in all failing pairs points to that card or its riser, all pairs to a setting",
)
"""Steps after a copy that arrived wrong."""
ZERO = "run it again and read what it says on its error output; then `dmesg | grep -iE 'xid|amdgpu'`"


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU of a benchmark, by the number that it has in the matrices."""

    index: int
    name: str | None = None
    bdf: Bdf | None = None


Gpus = Mapping[int, Gpu]


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One matrix of bandwidths between GPUs, GB/s."""

    cells: Cells
    words: str
    """Which: `one way, P2P enabled`."""
    line: int
    both_ways: bool = False


class HostCopies(msgspec.Struct, frozen=True, kw_only=True):
    """Copies between the host and each GPU, alone at a time, one way, GB/s."""

    rates: Mapping[int, float]
    words: str
    """`host to device`."""
    line: int


def make(kind: str, severity: Severity, says: str, line: int, *, cause: Cause | None = None, gpu: Gpu | None = None,
         labels: Iterable[str] = (), help: Sequence[str] = (), count: int = 1, text: str = "") -> Event:
    """An event of a tool's output."""
    return Event(kind=kind, severity=severity, says=says, line=line, cause=cause, bdf=gpu.bdf if gpu else None,
                 labels=tuple(labels), help=tuple(help), count=count, text=text)


def gbs(value: float) -> str:
    return f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def read_under_load(gpu: Gpu | None) -> str:
    where = f"sudo lspci -vvs {gpu.bdf}" if gpu and gpu.bdf else "sudo lspci -vvs <address>"
    return f"read the link while the copy runs: `{where}` and the port above it, or `boxcheck doctor`"


def known(gpus: Gpus, index: int) -> Gpu:
    return gpus.get(index) or Gpu(index=index)


def _fit(value: float, link: Link | None, both_ways: bool) -> str:
    says = fits_says(fits(value, link.generation if link else None, link.width if link else None, both_ways))
    return f", as a link at {says} gives" if says else ""


# Pairs


def judge_pairs(matrices: Sequence[Measured], gpus: Gpus) -> list[Event]:
    """`p2p-slow` for GPUs, pairs and groups that are far below their peers; the clearest matrix speaks for each."""
    zero = _zero_pairs(matrices)
    names = [gpu.name for gpu in gpus.values()]
    link = one_link(names) if names else None
    if link is None and len(set(names)) > 1:
        return zero  # cards of several kinds: their links differ by design
    raw = (link or ANY_LINK).raw_gbs
    found: dict[tuple[str, ...], tuple[float, Event]] = {}

    def keep(ratio: float, event: Event) -> None:
        if event.labels not in found or ratio < found[event.labels][0]:
            found[event.labels] = (ratio, event)

    for matrix in sorted(matrices, key=lambda one: one.both_ways):
        if matrix.both_ways and found:
            break  # one way tells which link it is like; both ways say the same again
        slow = slow_in(matrix.cells, raw * (2 if matrix.both_ways else 1))
        if slow is None:
            continue
        for index, value in slow.devices:
            keep(value / slow.peers, _slow_gpu(known(gpus, index), value, slow.peers, matrix, link))
        for row, column, value in slow.pairs:
            low, high = sorted((row, column))
            keep(value / slow.peers, _slow_pair(low, high, value, slow.peers, matrix))
        if slow.groups and slow.between is not None:
            keep(slow.between / slow.peers, _slow_groups(slow.groups, slow.between, slow.peers, matrix))
    if not found and link is not None and not any(map(has_fabric, names)):
        for matrix in matrices:
            centre = middle(value for _, _, value in pairs_of(matrix.cells))
            expected = HOST_SHARE * link.raw_gbs
            # Both ways at once through the host is bound by its memory (25 GB/s on sound Gen4 x16): only one way tells.
            if not matrix.both_ways and centre is not None and centre < HALF * expected:
                keep(centre / expected, _all_slow(centre, expected, matrix, link))
    return [*zero, *[event for _, event in found.values()][:MAX_EVENTS]]


def _zero_pairs(matrices: Sequence[Measured]) -> list[Event]:
    """`p2p-slow` where 0.00 GB/s is printed between different GPUs: no copy is that slow, so none was measured."""
    for matrix in matrices:
        pairs = [value for row, line in enumerate(matrix.cells) for column, value in enumerate(line) if row != column]
        if count := pairs.count(0.0):
            return [make(
                "p2p-slow", "warn", f"{count} of {len(pairs)} copies between GPUs are printed as 0 GB/s "
                f"({matrix.words}): they failed, or were not measured", matrix.line, labels=("zero",),
                help=(ZERO,))]
    return []


def uncompared(gpus: Gpus) -> tuple[str, ...]:
    """A note for boxes whose cards are of several kinds: their pairs are not held against each other."""
    names = [gpu.name for gpu in gpus.values()]
    if len(set(names)) > 1 and one_link(names) is None:
        return ("slow pairs: the cards have different links, so their copies are not compared",)
    return ()


def _slow_gpu(gpu: Gpu, value: float, peers: float, matrix: Measured, link: Link | None) -> Event:
    return make(
        "p2p-slow", "warn",
        f"GPU {gpu.index} copies at {gbs(value)} GB/s with every peer, the others at {gbs(peers)} "
        f"({value / peers:.0%}; {matrix.words}){_fit(value, link, matrix.both_ways)}",
        matrix.line, gpu=gpu, labels=(f"gpu{gpu.index}",),
        help=(read_under_load(gpu),
              SWAP,
              SLOW_BY_DESIGN))


def _slow_pair(low: int, high: int, value: float, peers: float, matrix: Measured) -> Event:
    return make(
        "p2p-slow", "warn",
        f"GPU {low} and GPU {high} copy at {gbs(value)} GB/s between them, their other pairs at {gbs(peers)} "
        f"({value / peers:.0%}; {matrix.words})",
        matrix.line, labels=(f"gpu{low}-gpu{high}",),
        help=("both do well with others, so it is the route between the two, not a card or its riser: "
              "`nvidia-smi topo -m` or `lspci -tv` shows it",
              "run it again: one low reading alone can be another program's traffic"))


def _slow_groups(groups: Sequence[Sequence[int]], between: float, peers: float, matrix: Measured) -> Event:
    shown = ", ".join("{" + ", ".join(map(str, group[:16])) + "}" for group in groups[:8])
    return make(
        "p2p-slow", "info",
        f"GPUs copy at {gbs(peers)} GB/s within the groups {shown} and at {gbs(between)} between them "
        f"({between / peers:.0%}; {matrix.words})",
        matrix.line, labels=("groups",), cause="config",
        help=("as two sockets, two PCIe switches or NVLink bridges give it; no single link: `nvidia-smi topo -m`",))


def _all_slow(value: float, expected: float, matrix: Measured, link: Link) -> Event:
    # Of two GPUs one can be on a bad link; that all links of three or more are equally bad is a setting or the board.
    few = len(matrix.cells) < 3
    return make(
        "p2p-slow", "warn" if few else "info",
        f"GPUs copy at {gbs(value)} GB/s between them, {link} cards can do about {gbs(expected)} "
        f"({value / expected:.0%}; {matrix.words}){_fit(value, link, False)}", matrix.line, labels=("all",),
        cause=None if few else "config", help=(read_under_load(None),
              "no pair is better, so it is one slow link of two GPUs, or a setting or the board for all: link speed "
              "and bifurcation in the BIOS, ACS, IOMMU"))


def judge_p2p_gain(off: Cells, on: Cells, able: set[tuple[int, int]] | None, line: int) -> list[Event]:
    """`p2p-slow` where peer copies are slower than the way through the host. `able`: pairs with peer access, if known.
    """
    staged = {(row, column): value for row, column, value in pairs_of(off)}
    both = [(row, column, staged[row, column], value) for row, column, value in pairs_of(on)
            if (row, column) in staged and (able is None or (row, column) in able)]
    worse = [pair for pair in both if pair[3] < P2P_GAIN * pair[2]]
    if not worse:
        return []
    before, after = median(pair[2] for pair in worse), median(pair[3] for pair in worse)
    which = "all pairs" if len(worse) == len(both) else "pairs " + ", ".join(
        f"{row}-{column}" for row, column, _, _ in worse[:6]) + (" ..." if len(worse) > 6 else "")
    return [make(
        "p2p-slow", "warn", f"peer copies are slower than copies through the host for {which}: "
        f"{gbs(after)} GB/s with P2P, {gbs(before)} without", line, cause="config",
        labels=("p2p-enabled",) if len(worse) == len(both) else ("p2p-enabled", "some"),
        help=("ACS or the IOMMU sends peer traffic up to the root complex, or the BAR holds only a part of VRAM: "
              "`boxcheck doctor --goal cuda-p2p`",
              "then verify the payload with simpleP2P: a slow peer copy is often a wrong one"))]


def judge_latency(cells: Cells, words: str, line: int) -> list[Event]:
    """`p2p-latency` for pairs that take more than five times as long as the median pair."""
    pairs = pairs_of(cells)
    centre = middle(value for _, _, value in pairs)
    if centre is None or len(pairs) < 3:
        return []
    slow = [pair for pair in pairs if pair[2] > LATENCY_FACTOR * centre]
    if not slow:
        return []
    worst = max(slow, key=lambda pair: pair[2])
    return [make(
        "p2p-latency", "warn", f"GPU {worst[0]} to GPU {worst[1]} takes {worst[2]:.1f} us, the median pair "
        f"{centre:.1f} us ({len(slow)} of {len(pairs)} pairs above five times the median; {words})", line,
        labels=(f"gpu{worst[0]}-gpu{worst[1]}",),
        help=("run it again; when it stays, look for link errors and power management: `dmesg | grep -i aer`, "
              "`pcie_aspm=off` on the kernel's command line as a trial",))]


def judge_access(pairs_without: Sequence[tuple[int, int]], total: int, gpus: Gpus, line: int) -> list[Event]:
    """`p2p-unavailable` for pairs without peer access, with the reason that such cards usually have."""
    if not pairs_without:
        return []
    members = sorted({index for pair in pairs_without for index in pair})
    why, step = no_peer_reason(known(gpus, index).name for index in members)
    which = "no pair of GPUs has" if len(pairs_without) == total else (
        f"{len(pairs_without)} of {total} pairs of GPUs have no")
    says = f"{which} peer access, so copies between them go through the host; {why}"
    return [make("p2p-unavailable", "info", says, line, cause="config", labels=("peer-access",), help=(step,))]


# Host


def judge_host(copies: Sequence[HostCopies], gpus: Gpus) -> list[Event]:
    """`copy-slow`: a GPU far below the others, else one below half of what its own link gives."""
    found: dict[tuple[str, ...], tuple[float, Event]] = {}

    def keep(ratio: float, event: Event) -> None:
        if event.labels not in found or ratio < found[event.labels][0]:
            found[event.labels] = (ratio, event)

    for copy in copies:
        for index in [index for index, value in copy.rates.items() if not value]:
            keep(0.0, _zero_host(known(gpus, index), copy))
        copy = msgspec.structs.replace(copy, rates={index: value for index, value in copy.rates.items() if value})
        low = _below_peers(copy, gpus)
        for index, (value, peers) in low.items():
            keep(value / peers, _slow_host(known(gpus, index), value, peers, copy))
        rest = {index: value for index, value in copy.rates.items() if index not in low}
        uniform = _as_board(rest, gpus)
        for index, value in rest.items():
            link = link_of(known(gpus, index).name)
            if link is None or has_fabric(known(gpus, index).name):
                continue
            expected = HOST_SHARE * link.raw_gbs
            if value < HALF * expected and uniform is None:
                keep(value / expected, _half_host(known(gpus, index), value, expected, link, copy))
        if uniform is not None:
            rate = gbs(median(rest.values()))
            keep(1.0, make(
                "copy-slow", "info", f"all {len(rest)} GPUs copy {copy.words} at {rate} GB/s, as a link at "
                f"{uniform[0]} gives; the cards can do {uniform[1]}", copy.line, cause="config", labels=("all",),
                help=("where the board or the slots are made so, it is no fault; else a BIOS setting (link speed, "
                      "bifurcation): " + read_under_load(None),)))
    return [event for _, event in found.values()][:MAX_EVENTS]


def _below_peers(copy: HostCopies, gpus: Gpus) -> dict[int, tuple[float, float]]:
    """GPUs far below the others -> (rate, rate of the others). Empty for cards whose links differ."""
    names = {known(gpus, index).name for index in copy.rates}
    if len(copy.rates) < 2 or (len(names) > 1 and one_link(names) is None):
        return {}
    top = max(copy.rates.values())
    peers = median(value for value in copy.rates.values() if value >= SLOW_SHARE * top)
    low = {index: (value, peers) for index, value in copy.rates.items() if value < SLOW_SHARE * peers}
    return low if 2 * len(low) <= len(copy.rates) else {}


def _as_board(rates: Mapping[int, float], gpus: Gpus) -> tuple[str, Link] | None:
    """(the links that fit, the cards' own) where several equal cards all run alike below half: by design or setting."""
    if len(rates) < 2:
        return None
    link = one_link(known(gpus, index).name for index in rates)
    if link is None or any(has_fabric(known(gpus, index).name) for index in rates):
        return None
    centre = median(rates.values())
    alike = all(abs(value - centre) <= 0.1 * centre for value in rates.values())
    half = tuple(fit for fit in fits(centre, link.generation, link.width)
                 if fit.width == link.width or (fit.generation, 2 * fit.width) == (link.generation, link.width))
    if not alike or not half or centre >= HALF * HOST_SHARE * link.raw_gbs:
        return None
    return fits_says(half), link


def _zero_host(gpu: Gpu, copy: HostCopies) -> Event:
    return make("copy-slow", "warn", f"GPU {gpu.index}: copies {copy.words} are printed as 0 GB/s: they failed, or "
                "were not measured", copy.line, gpu=gpu, labels=(f"gpu{gpu.index}",), help=(ZERO,))


def _slow_host(gpu: Gpu, value: float, peers: float, copy: HostCopies) -> Event:
    return make(
        "copy-slow", "warn", f"GPU {gpu.index} copies {copy.words} at {gbs(value)} GB/s, the others at {gbs(peers)} "
        f"({value / peers:.0%}){_fit(value, link_of(gpu.name), False)}", copy.line, gpu=gpu,
        labels=(f"gpu{gpu.index}",),
        help=(read_under_load(gpu),
              SWAP,
              SLOW_BY_DESIGN))


def _half_host(gpu: Gpu, value: float, expected: float, link: Link, copy: HostCopies) -> Event:
    return make(
        "copy-slow", "warn", f"GPU {gpu.index} copies {copy.words} at {gbs(value)} GB/s, a {link} card at about "
        f"{gbs(expected)} ({value / expected:.0%}){_fit(value, link, False)}", copy.line, gpu=gpu,
        labels=(f"gpu{gpu.index}",),
        help=(read_under_load(gpu),
              "the link is full there: pageable memory, a small copy or a busy host memory reads low too"))

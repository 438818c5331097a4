"""The output of pcilmr, pciutils' lane margining, versions 3.11 to 3.14: its log, its results, its CSV files.

Addresses are hexadecimal without leading zeros (`40:1.1 -> 41:0.0`, with the domain in front where a machine has
several). 3.11 and 3.12 grade each side against 20 % UI and 50 mV (Bad, Okay, Perfect, and Weird where all lanes stop
at exactly those), 3.13 and 3.14 the whole eye against the specification's limits (Fail, Pass, Perfect) or the user's.
Where a receiver reports no scale the program assumes the largest there is and says so: then only steps are true.
NAK is printed as well for a receiver that was still setting up.

A CSV file has no address and no receiver in it; they are in its name: `lmr_0000.41.00.0_RxF_2026-11-28T21:59:59.csv`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from boxcheck.decode.eye_limits import EYE_LIMITS, VOLTAGE_REQUIRED_GTS, Grade, grade_of, worst_grade
from boxcheck.decode.matrix import number
from boxcheck.decode.text import clean_text
from boxcheck.model import Bdf

Stop = Literal["LIM", "NAK", "THR"]
"""LIM: too many errors one step further. THR: no further step was to be tried. NAK: the receiver did not do it."""
Direction = Literal["left", "right", "up", "down"]
_LETTERS: Mapping[str, Direction] = {"L": "left", "R": "right", "T": "left", "U": "up", "D": "down", "V": "up"}

MAX_LANES = 2048

LINK = re.compile(
    r"Link\s+((?:[0-9a-f]{1,8}:)?[0-9a-f]{1,2}:[0-9a-f]{1,2}\.[0-7])\s+->\s+"
    r"((?:[0-9a-f]{1,8}:)?[0-9a-f]{1,2}:[0-9a-f]{1,2}\.[0-7])\s*:?$")
SCANNED = re.compile(
    r"((?:[0-9a-f]{1,8}:)?[0-9a-f]{1,2}:[0-9a-f]{1,2}\.[0-7])\s+->\s+"
    r"((?:[0-9a-f]{1,8}:)?[0-9a-f]{1,2}:[0-9a-f]{1,2}\.[0-7])(\s+-\s+Ready)?$")
SCAN = re.compile(r"Links ready for margining:$|Links with Lane Margining at the Receiver capabilities:$")
LANE = re.compile(
    r"Rx\(([A-F])\)\s+Lane\s+([0-9]{1,2})(?::|\s+-)\s+(Fail|Pass|Perfect|Bad|Okay|Weird)\b(.*)", re.DOTALL)
REMARK = re.compile(r"Rx\(([A-F])\) -(.*)", re.DOTALL)
_WIDTH = re.compile(r"\(W\s+([0-9.]{1,12})%\s+UI\s+-\s+([0-9.]{1,12})ps(?:,\s+H\s+([0-9.]{1,12})\s+mV)?\)")
_TIMING = re.compile(r"\b([LRT])\s+([0-9.]{1,12})%\s+UI\s+-\s+([0-9.]{1,12})ps\s+-\s+([0-9]{1,3})st\s+(NAK|LIM|THR)\b")
_VOLTAGE = re.compile(r"\b([UDV])\s+([0-9.]{1,12})\s+mV\s+-\s+([0-9]{1,3})st\s+(NAK|LIM|THR)\b")
_NOT_RUN = re.compile(r"Couldn't run test\s+\((.{1,100})\)", re.DOTALL)
_SPEED = re.compile(r"Link Speed:\s+([0-9]{1,3})\.0\s+GT/s")
_LINK_WIDTH = re.compile(r"Negotiated Link Width:\s+([0-9]{1,2})$")
CSV_NEW, CSV_OLD = "Lane,EW Min,EW Rec,EW,EH Min", "Lane,Lane Status,Left % UI,Left ps"
_CSV_NAME = re.compile(r"lmr_([0-9a-f]{4,8})\.([0-9a-f]{2})\.([0-9a-f]{2})\.([0-7])_Rx([A-F])_(\S{1,40})\.csv$")
_CSV_SIDES: tuple[tuple[str, Direction], ...] = (
    ("Left", "left"), ("Right", "right"), ("Time", "left"), ("Up", "up"), ("Down", "down"), ("Voltage", "up"))


class Edge(msgspec.Struct, frozen=True, kw_only=True):
    """The last step that worked in one direction."""

    steps: int
    stop: Stop
    ui: float | None = None
    """Parts of a unit interval, as printed; of timing."""
    picoseconds: float | None = None
    millivolts: float | None = None
    """Of voltage."""


class Lane(msgspec.Struct, frozen=True, kw_only=True):
    lane: int
    grade: str
    """pcilmr's own word."""
    edges: Mapping[Direction, Edge]
    """`left` alone, or `up` alone: the receiver knows no sides."""
    width_picoseconds: float | None = None
    """Of the whole eye, as pcilmr made it of the sides; 3.13 and newer."""
    height_millivolts: float | None = None
    line: int


class Receiver(msgspec.Struct, frozen=True, kw_only=True):
    """One receiver's results."""

    letter: str | None
    """None of a CSV file whose name is not known."""
    lanes: tuple[Lane, ...] = ()
    not_run: str | None = None
    """Why there are none, in pcilmr's words."""
    timing_reported: bool = True
    """False: the receiver tells no scale, pcilmr assumed 50 % UI."""
    voltage_reported: bool = True
    whole_timing: bool = False
    """One side's result was taken for the whole eye."""
    whole_voltage: bool = False
    own_criteria: bool = False
    """Graded by limits that the user gave."""
    reversed: bool = False
    line: int

    @property
    def speed_gts(self) -> float | None:
        """Told by the ratio of picoseconds and unit intervals. None where no lane has both."""
        for lane in self.lanes:
            for edge in lane.edges.values():
                # Printed to a hundredth of a ps and a tenth of a percent: small ones tell too little.
                if edge.ui is not None and edge.ui >= 0.02 and edge.picoseconds:
                    return 16.0 if edge.picoseconds / edge.ui > 45 else 32.0
        return None


class Link(msgspec.Struct, frozen=True, kw_only=True):
    port: Bdf | None
    card: Bdf | None
    receivers: tuple[Receiver, ...]
    speed_gts: float | None = None
    width: int | None = None
    line: int
    not_run: str | None = None
    """Why the link as a whole was not margined."""


class Pcilmr(msgspec.Struct, frozen=True, kw_only=True):
    links: tuple[Link, ...]
    scanned: tuple[tuple[Bdf, Bdf, bool, int], ...] = ()
    """(port, card, ready, line) of `--scan`."""
    finished: bool = False
    """The results are there; a log without them is of a run that was cut off."""


def address(text: str) -> Bdf:
    """`40:1.1` or `0:40:1.1` as the kernel writes it. The text has matched `LINK`."""
    *front, last = text.split(":")
    slot, function = last.split(".")
    domain, bus = front if len(front) == 2 else ("0", front[0])
    return Bdf(f"{int(domain, 16):04x}:{int(bus, 16):02x}:{int(slot, 16):02x}.{function}")


def csv_name(name: str) -> tuple[Bdf, str] | None:
    """(address, receiver) of the name of a CSV file."""
    found = _CSV_NAME.search(name)
    return None if found is None else (Bdf(f"{found[1]}:{found[2]}:{found[3]}.{found[4]}"), found[5])


def _records(lines: Sequence[str]) -> Iterable[tuple[int, str]]:
    """(line, text): results with what a mailer wrapped joined to them, each other line by itself."""
    start, text = 0, ""
    for here, raw in enumerate(lines):
        # Progress overwrites itself: the last of it counts.
        line = " ".join(raw.replace("\033[2K", "").rsplit("\r", 1)[-1][:1024].split())
        wraps = text.startswith("Rx(") and len(text) < 1024 and not text.endswith(":") and not line.startswith(
            ("Rx(", "Link ", "----", "Receiver = ", "Results:"))
        if line and wraps:
            text = f"{text} {line}"
            continue
        if text:
            yield start, text
        start, text = here, line
    if text:
        yield start, text


class _Reading:
    """What has been gathered of one receiver."""

    def __init__(self, letter: str, line: int) -> None:
        self.letter, self.line = letter, line
        self.lanes: dict[int, Lane] = {}
        self.facts: dict[str, bool] = {}
        self.not_run: str | None = None

    def made(self) -> Receiver:
        return Receiver(
            letter=self.letter, line=self.line, lanes=tuple(self.lanes.values()), not_run=self.not_run,
            timing_reported=not self.facts.get("no timing"), voltage_reported=not self.facts.get("no voltage"),
            whole_timing=self.facts.get("whole EW", False), whole_voltage=self.facts.get("whole EH", False),
            own_criteria=self.facts.get("own", False), reversed=self.facts.get("reversed", False))


def parse(lines: Sequence[str], name: str = "") -> Pcilmr:
    """Facts of a text, or of a CSV file (`name`: its own). Never raises."""
    for at, line in enumerate(lines[:16]):
        head = line.strip().removeprefix("\ufeff")
        if head.startswith((CSV_NEW, CSV_OLD)):
            return _csv(lines, at, name)
    return _text(lines)


def _text(lines: Sequence[str]) -> Pcilmr:
    links: list[Link] = []
    scanned: list[tuple[Bdf, Bdf, bool, int]] = []
    logged: dict[tuple[Bdf, Bdf], tuple[float | None, int | None, int]] = {}
    current: tuple[Bdf, Bdf, int] | None = None
    receivers: dict[str, _Reading] = {}
    not_run: str | None = None
    finished = scanning = False
    last, part = "", ""
    count = 0

    def close() -> None:
        if current is not None and (receivers or not_run) and len(links) < 256:
            speed, width, _ = logged.get(current[:2], (None, None, 0))
            made = tuple(one.made() for one in receivers.values())
            known = next((value for one in made if (value := one.speed_gts) is not None), speed)
            links.append(Link(port=current[0], card=current[1], receivers=made, speed_gts=known, width=width,
                              line=current[2], not_run=not_run))

    def reading(letter: str, line: int) -> _Reading:
        return receivers.setdefault(letter, _Reading(letter, line))

    for line, text in _records(lines):
        if SCAN.match(text):
            scanning = True
        elif found := LINK.match(text):
            close()
            pair = (address(found[1]), address(found[2]))
            current, receivers, not_run, scanning, last = (*pair, line), {}, None, False, ""
        elif scanning and (found := SCANNED.match(text)) and len(scanned) < 256:
            scanned.append((address(found[1]), address(found[2]), bool(found[3]), line))
        elif text == "Results:" or text.startswith("Margining statuses:"):
            close()
            current, receivers, not_run, finished = None, {}, None, True
        elif (found := _LINK_WIDTH.match(text)) and current is not None:
            speed, _, at = logged.get(current[:2], (None, None, line))
            logged[current[:2]] = (speed, int(found[1]), at)
        elif (found := _SPEED.match(text)) and current is not None:
            _, width, at = logged.get(current[:2], (None, None, line))
            logged[current[:2]] = (float(found[1]), width, at)
        elif (found := LANE.match(text)) and count < MAX_LANES:
            if current is None:
                continue
            count += 1
            one = reading(found[1], line)
            one.lanes[int(found[2])] = _lane(int(found[2]), found[3], found[4], line)
        elif found := REMARK.match(text):
            last, part = found[1], "EH" if found[2].strip().startswith("EH") else "EW"
            _remark(reading(last, line) if current is not None else _Reading(last, line), found[2].strip())
        elif (found := _NOT_RUN.match(text)) and current is not None:
            not_run = clean_text(found[1])
        elif last and text.startswith("manual setting - the entire margin"):
            reading(last, line).facts[f"whole {part}"] = True
        elif last and re.match(r"E[WH]: pass - ", text):
            reading(last, line).facts["own"] = True
    close()
    if not finished:
        links = [link for link in links if any(one.lanes or one.not_run for one in link.receivers) or link.not_run]
        finished = any(one.lanes for link in links for one in link.receivers)
    return Pcilmr(links=tuple(links), scanned=tuple(scanned), finished=finished)


def _remark(one: _Reading, says: str) -> None:
    if (found := _NOT_RUN.match(says)) is not None:
        one.not_run = clean_text(found[1])
    elif says.startswith("Lane Reversal"):
        one.facts["reversed"] = True
    elif "Max Timing Offset" in says:
        one.facts["no timing"] = True
    elif "Max Voltage Offset" in says:
        one.facts["no voltage"] = True


def _lane(lane: int, grade: str, rest: str, line: int) -> Lane:
    edges: dict[Direction, Edge] = {}
    for found in _TIMING.finditer(rest):
        ui, ps = number(found[2]), number(found[3])
        edges[_LETTERS[found[1]]] = Edge(steps=int(found[4]), stop=_stop(found[5]), picoseconds=ps,
                                         ui=None if ui is None else ui / 100)
    for found in _VOLTAGE.finditer(rest):
        edges[_LETTERS[found[1]]] = Edge(steps=int(found[3]), stop=_stop(found[4]), millivolts=number(found[2]))
    whole = _WIDTH.search(rest)
    return Lane(lane=lane, grade=grade, edges=edges, line=line,
                width_picoseconds=number(whole[2]) if whole is not None else None,
                height_millivolts=number(whole[3]) if whole is not None and whole[3] else None)


def _stop(word: str) -> Stop:
    return "LIM" if word == "LIM" else "THR" if word == "THR" else "NAK"


def _csv(lines: Sequence[str], head: int, name: str) -> Pcilmr:
    columns = lines[head].strip().removeprefix("\ufeff").split(",")
    lanes: dict[int, Lane] = {}
    whole = False
    own = False
    for at in range(head + 1, min(len(lines), head + 1 + MAX_LANES)):
        cells = dict(zip(columns, lines[at].strip().split(","), strict=False))
        lane = number(cells.get("Lane", ""))
        if lane is None or lane > 31 or lane != int(lane):
            continue
        edges: dict[Direction, Edge] = {}
        for column, direction in _CSV_SIDES:
            steps, word = number(cells.get(f"{column} Steps", "")), cells.get(f"{column} Status", "")
            if steps is None or word not in ("LIM", "NAK", "THR"):
                continue
            ui = number(cells.get(f"{column} % UI", ""))
            edges[direction] = Edge(
                steps=int(steps), stop=_stop(word), ui=None if ui is None else ui / 100,
                picoseconds=number(cells.get(f"{column} ps", "")), millivolts=number(cells.get(f"{column} mV", "")))
        width = number(cells.get("EW", ""))
        left = edges.get("left")
        if width is not None and left is not None and left.picoseconds and "right" not in edges:
            whole = whole or abs(width - left.picoseconds) < 0.01
        own = own or ("EW Rec" in cells and cells["EW Rec"] == "NA")
        lanes[int(lane)] = Lane(lane=int(lane), grade=clean_text(cells.get("Lane Status", "")), edges=edges, line=at,
                                width_picoseconds=width, height_millivolts=number(cells.get("EH", "")))
    named = csv_name(name)
    made = Receiver(letter=named[1] if named else None, lanes=tuple(lanes.values()), whole_timing=whole,
                    own_criteria=own, line=head)
    port = named[0] if named is not None and named[1] != "F" else None
    card = named[0] if named is not None and named[1] == "F" else None
    link = Link(port=port, card=card, receivers=(made,), speed_gts=made.speed_gts, line=head)
    return Pcilmr(links=(link,) if lanes else (), finished=bool(lanes))


ROUNDED_PICOSECONDS, ROUNDED_MILLIVOLTS = 0.011, 0.11
"""What the sum of two printed sides may have lost."""


def eye_width(one: Receiver, lane: Lane) -> tuple[float, float | None] | None:
    """(at least, at most) ps of the whole eye. None where the receiver told no scale or it was not measured."""
    left, right = lane.edges.get("left"), lane.edges.get("right")
    if not one.timing_reported or left is None or left.picoseconds is None:
        return None
    whole = left.picoseconds * (1 if one.whole_timing else 2) if right is None else (
        None if right.picoseconds is None else left.picoseconds + right.picoseconds)
    return _bounded(lane.width_picoseconds if lane.width_picoseconds is not None else whole, left, right)


def eye_height(one: Receiver, lane: Lane) -> tuple[float, float | None] | None:
    """The same in mV."""
    up, down = lane.edges.get("up"), lane.edges.get("down")
    if not one.voltage_reported or up is None or up.millivolts is None:
        return None
    whole = up.millivolts * (1 if one.whole_voltage else 2) if down is None else (
        None if down.millivolts is None else up.millivolts + down.millivolts)
    return _bounded(lane.height_millivolts if lane.height_millivolts is not None else whole, up, down)


def _bounded(value: float | None, one: Edge, other: Edge | None) -> tuple[float, float | None] | None:
    """Only an edge that errors ended is known not to lie further out."""
    if value is None:
        return None
    ended = one.stop == "LIM" and (other is None or other.stop == "LIM")
    return value, value if ended else None


def grades(one: Receiver, lane: Lane, speed_gts: float | None) -> tuple[Grade, Grade | None]:
    """Of its width and its height, by the specification's limits, whatever pcilmr graded by. None for a height that the
    receiver cannot measure and need not."""
    limits = EYE_LIMITS.get(speed_gts or 0.0)
    if limits is None:
        return "unknown", "unknown"
    width, height = eye_width(one, lane), eye_height(one, lane)
    across: Grade = "unknown" if width is None else grade_of(
        *width, limits.width_minimum, limits.width_recommended, ROUNDED_PICOSECONDS)
    if "up" not in lane.edges and (speed_gts or 0.0) < VOLTAGE_REQUIRED_GTS:
        return across, None
    along: Grade = "unknown" if height is None else grade_of(
        *height, limits.height_minimum, limits.height_recommended, ROUNDED_MILLIVOLTS)
    return across, along


def grade(one: Receiver, lane: Lane, speed_gts: float | None) -> Grade:
    """The worse of both."""
    across, along = grades(one, lane, speed_gts)
    return across if along is None else worst_grade((across, along))

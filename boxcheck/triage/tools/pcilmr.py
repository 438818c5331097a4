"""pcilmr (pciutils): how large the eye of each lane is at each receiver of a link."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

from boxcheck.decode.eye_limits import EYE_LIMITS, SOURCE, WEAK_SHARE
from boxcheck.decode.klog.events import Event
from boxcheck.decode.pcilmr import (
    CSV_NEW,
    CSV_OLD,
    LANE,
    LINK,
    REMARK,
    SCAN,
    SCANNED,
    Lane,
    Link,
    Pcilmr,
    Receiver,
    eye_height,
    eye_width,
    grade,
    parse,
)
from boxcheck.model import Bdf
from boxcheck.triage.evidence import Device, DeviceLink, Evidence, Section, at_line

_ROW = re.compile(r"[0-9]{1,2}(?:,[0-9A-Za-z.]{1,16}){18,23}$")
_REST = re.compile(
    r"Negotiated Link Width:|Link Speed:|Available receivers:|Receiver = Rx\(|Error Count Limit =|Parallel Lanes:|"
    r"Margining |Independent |Sample Reporting|Voltage Margining|Number of |Max |Warning: |Utility |However, utility|"
    r"Applying next quirks|- (?:Set|Force) |----$|Results:$|LIM\b|NAK\b|THR\b|so result may|step threshold|"
    r"Notations:$|st - steps$|Using spec only:|E[WH]: |manual setting|default - calculating|Keep in mind|reliable\.$|"
    r"is what is reported|Pass/fail criteria:|Timing:$|Voltage:$|Minimum Offset|Recommended Offset|Error during caps|"
    r"Invalid (?:RecNums|lanes)|Couldn't run test|Links not found|(?:steps )?values? (?:are|\()|receiver\b|"
    r"(?:(?:reported )?by )?(?:one )?side margining|and ps\.|(?:Timing |Voltage )?Offset\.|only steps|are reliable\.|"
    r"logical lane|timing margin|"
    r"(?:voltage )?margining is not|margin across|the eye|supported:$|calculations|of (?:mV|% UI)|"
    r"\(?[LRTUDVWH]\s{1,4}[0-9]|"
    r"(?:%|UI|ps|mV|st)\b|[0-9.]{1,8}(?:%|ps|st|\s(?:mV|UI|%))|-\s{1,4}[0-9]|calculations of|(?:mV|ps)\)")
_HELP = (
    "seat the card and its riser anew and margin again: the same lane small means a contact, a trace or a pin of the "
    "card; `sudo boxcheck riser SLOT` tells which part by swaps",
    "this direction only: the other receiver of the link measures the other pair of contacts",
)
_ALIKE = (
    "many lanes alike: the length of the path, the receiver's own way of measuring, or a riser that is too long; "
    "compare with a sound link of the same kind",
)
_UNKNOWN = "receiver ? (a CSV file has it in its name)"


def begins(line: str) -> str | None:
    line = line.strip()
    if line.startswith((CSV_NEW, CSV_OLD)):
        return "pcilmr csv"
    if LINK.match(line) or SCAN.match(line) or LANE.match(line) or REMARK.match(line) or (
            line.startswith("Margining statuses:")):
        return "pcilmr"
    return None


def belongs(variant: str, line: str) -> bool:
    line = line.strip()
    if variant == "pcilmr csv":
        return _ROW.match(line) is not None
    return begins(line) == "pcilmr" or SCANNED.match(line) is not None or _REST.match(line) is not None


def read(section: Section) -> Evidence:
    found = parse(section.lines)
    notes = []
    if any(one.lanes for link in found.links for one in link.receivers):
        notes.append("whether ASPM of these links is on again: pcilmr 3.11 to 3.14 leaves it off "
                     "(`sudo lspci -vv`, LnkCtl)")
    for link in found.links:
        if link.not_run:
            notes.append(f"{_name(link)}: it was not margined ({link.not_run})")
        for one in link.receivers:
            if one.not_run:
                notes.append(f"{_receiver(link, one)}: it was not margined ({one.not_run})")
            elif one.lanes and not one.timing_reported:
                notes.append(f"{_receiver(link, one)}: how large its eyes are, since it reports no scale for its steps")
    if found.links and not found.finished:
        notes.append("the results: the text ends before them")
    return Evidence(tool="pcilmr", devices=tuple(_devices(found, section)), events=tuple(_events(found, section)),
                    notes=tuple(dict.fromkeys(notes))[:32], readings=_readings(found))


def _name(link: Link) -> str:
    return f"link {link.port} to {link.card}" if link.port and link.card else f"link of {link.port or link.card or '?'}"


def _receiver(link: Link, one: Receiver) -> str:
    return f"Rx {one.letter} of {_name(link)}" if one.letter else _UNKNOWN


def _bdf(link: Link, one: Receiver) -> Bdf | None:
    """The device that the receiver is in; of a retimer's, the port above."""
    return link.card if one.letter == "F" else link.port


def _devices(found: Pcilmr, section: Section) -> Iterator[Device]:
    ends: dict[Bdf, Device] = {}
    for link in found.links:
        here = at_line(section, link.line)
        wide = DeviceLink(speed_gts=link.speed_gts, width=link.width)
        if link.port is not None:
            ends.setdefault(link.port, Device(line=here, bdf=link.port, link=wide))
        if link.card is not None:
            ends.setdefault(link.card, Device(line=here, bdf=link.card, parent=link.port, link=wide))
    for port, card, _, line in found.scanned:
        ends.setdefault(port, Device(line=at_line(section, line), bdf=port))
        ends.setdefault(card, Device(line=at_line(section, line), bdf=card, parent=port))
    yield from ends.values()


def _readings(found: Pcilmr) -> dict[str, Any]:
    """Lanes: port, card, receiver, lane, ps, mV, grade by the specification; null where it is not known."""
    shown: dict[str, Any] = {}
    for link in found.links:
        for one in link.receivers:
            for lane in one.lanes:
                width, height = eye_width(one, lane), eye_height(one, lane)
                shown.setdefault("lane_eyes", []).append([
                    link.port, link.card, one.letter, lane.lane, None if width is None else round(width[0], 2),
                    None if height is None else round(height[0], 1), grade(one, lane, link.speed_gts)])
    if shown:
        shown["limits"] = SOURCE
    if found.scanned:
        shown["links"] = [[port, card, ready] for port, card, ready, _ in found.scanned]
    return shown


def _events(found: Pcilmr, section: Section) -> Iterator[Event]:
    for link in found.links:
        for one in link.receivers:
            yield from _lanes(link, one, section)


def _steps(lane: Lane, names: tuple[str, ...]) -> int | None:
    steps = [edge.steps for name, edge in lane.edges.items() if name in names]
    return sum(steps) if steps else None


def _lanes(link: Link, one: Receiver, section: Section) -> Iterator[Event]:
    """Lanes below the limits, and lanes far below their like. All small alike is the path or the way of measuring, and
    no lane's fault."""
    small = [lane for lane in one.lanes if grade(one, lane, link.speed_gts) == "fail"]
    weak: dict[int, tuple[str, float]] = {}
    for of, names in (("width", ("left", "right")), ("height", ("up", "down"))):
        steps = {lane.lane: amount for lane in one.lanes if (amount := _steps(lane, names)) is not None}
        middle = median(steps.values()) if len(steps) > 1 else 0
        for number, amount in steps.items():
            if middle and amount < WEAK_SHARE * middle and (number not in weak or amount / middle < weak[number][1]):
                weak[number] = (of, amount / middle)
    cut = {lane.lane for lane in one.lanes if any(edge.stop != "LIM" for edge in lane.edges.values())}
    alone = [lane for lane in one.lanes if lane.lane in weak and (lane in small or lane.lane not in cut)]
    for lane in alone:
        of, share = weak[lane.lane]
        below = lane in small
        yield _event(
            link, one, section, [lane], "fail" if below else "warn",
            f"lane {lane.lane} has {share:.0%} of the other lanes' eye {of} at {_receiver(link, one)}"
            + (f", below the smallest allowed{_amounts(one, lane, link)}" if below else _amounts(one, lane, link)))
    rest = [lane for lane in small if lane not in alone]
    if rest:
        of_all = "all its lanes" if len(rest) == len(one.lanes) else "lanes " + ", ".join(str(x.lane) for x in rest)
        doubled = ", by one side doubled" if "right" not in rest[0].edges and not one.whole_timing else ""
        yield _event(link, one, section, rest, "warn",
                     f"{of_all} at {_receiver(link, one)} have eyes below the smallest allowed{doubled}"
                     f"{_amounts(one, rest[0], link)}", alike=True)


def _amounts(one: Receiver, lane: Lane, link: Link) -> str:
    limits = EYE_LIMITS.get(link.speed_gts or 0.0)
    width, height = eye_width(one, lane), eye_height(one, lane)
    parts = []
    if width is not None:
        parts.append(f"{width[0]:.1f} ps" + (f" of {limits.width_minimum:g}" if limits else ""))
    if height is not None:
        parts.append(f"{height[0]:.0f} mV" + (f" of {limits.height_minimum:g}" if limits else ""))
    return f" ({', '.join(parts)})" if parts else ""


def _event(link: Link, one: Receiver, section: Section, lanes: Sequence[Lane], severity: Any, says: str, *,
           alike: bool = False) -> Event:
    return Event(
        kind="lane-margin", severity=severity, cause=None if alike else "signal", bdf=_bdf(link, one), says=says,
        labels=(f"Rx {one.letter or '?'}", *(f"lane {lane.lane}" for lane in lanes[:16])),
        line=at_line(section, lanes[0].line), help=_ALIKE if alike else _HELP)

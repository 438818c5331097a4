"""`dcgmi health -c` and `dcgmi discovery -l`, as tables, and the former as JSON.

    | Overall Health            | Failure                                                  |
    | GPU                       |                                                          |
    | -> 3                      | Failure                                                  |
    |    -> Errors              |                                                          |
    |       -> Memory system    | Failure                                                  |
    |                           | A message, broken between words                          |

Sources: NVIDIA/DCGM, dcgmi/Health.cpp, Query.cpp and DcgmiOutput.cpp (v2.1.4, v4.6.0).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from boxcheck.decode.dcgm import GPU, MOST_REMARKS, MOST_TEXT, cells, joined
from boxcheck.decode.text import clean_text
from boxcheck.model import Bdf

_GROUPS = frozenset((GPU, "NvSwitch", "Switch", "CPU", "ConnectX", "NVSwitch"))
_SYSTEMS = frozenset(("Driver", "Internal error"))
_OVERALL = "Overall Health"
_FOUND = re.compile(r"(\d{1,3}) GPUs? found(?: \((All|Active)\))?\.?$")
_BUS = re.compile(r"PCI Bus ID: (?:([0-9A-Fa-f]{4,8}):)?([0-9A-Fa-f]{2}):([0-9A-Fa-f]{2})\.([0-7])")
_UUID = re.compile(r"(?:Device )?UUID: (GPU-[0-9a-fA-F-]{8,40})")
_STATUS = re.compile(r"Status: ([A-Z]{2,20})")


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """What a watch found."""

    group: str
    number: int | None
    system: str
    status: str
    """`Warning` or `Failure`, as printed."""
    text: str
    offset: int


class Health(msgspec.Struct, kw_only=True):
    overall: str | None = None
    offset: int = 0
    incidents: list[Incident] = []
    watches: dict[str, str] = {}
    """System -> `On` or `Off`, of `dcgmi health -f`."""


class Listed(msgspec.Struct, kw_only=True):
    """A GPU of `discovery -l`."""

    index: int
    offset: int
    name: str | None = None
    bdf: Bdf | None = None
    uuid: str | None = None
    status: str | None = None
    """`LOST`, `INACCESSIBLE` ...; None where the text has none, which is for a GPU that answers."""


class Discovery(msgspec.Struct, kw_only=True):
    gpus: list[Listed] = []
    told: int | None = None
    """How many the text says that there are."""
    active_only: bool = False


def parse_health(lines: Sequence[str]) -> Health:
    """The report, or the list of watches."""
    found = Health()
    group, number, system, status = "", None, "", ""
    said: list[str] = []
    at = 0

    def close() -> None:
        if system and len(found.incidents) < MOST_REMARKS:
            found.incidents.append(Incident(
                group=group, number=number, system=system, status=status, offset=at,
                text=clean_text(" ".join(said), MOST_TEXT)))

    for offset, row in joined(lines):
        pair = cells(row)
        if pair is None:
            continue
        label, value = pair[0].lstrip("-> ").strip(), pair[1]
        head, _, rest = label.partition(": ")
        if value in ("On", "Off") and label:
            found.watches[clean_text(label, 30)] = value
        elif label == _OVERALL:
            found.overall, found.offset = clean_text(value, 40) or None, offset
        elif label in _GROUPS:
            close()
            group, number, system, said = label, None, "", []
        elif label.isdecimal() and len(label) < 5:
            close()
            number, system, said = int(label), "", []
        elif label.endswith(" system") or label in _SYSTEMS or head.endswith("system"):
            close()
            system, status, said, at = clean_text(head, 40), clean_text(value, 40), [rest] if rest else [], offset
        elif not label and system and len(said) < MOST_TEXT:
            said.append(value)
    close()
    return found


def parse_health_json(value: object) -> Health | None:
    """The report of `dcgmi health -c -j`, None for another document."""
    body = value.get("body") if isinstance(value, dict) else None
    header = value.get("header") if isinstance(value, dict) else None
    if not isinstance(body, dict) or not isinstance(header, list) or "Health Monitor Report" not in header:
        return None
    found = Health(overall=_value(body.get(_OVERALL)))
    for group in body:
        for number, entity in _children(body[group]):
            for system, one in _children(dict(_children(entity)).get("Errors")):
                said = one.get("overflow") if isinstance(one, dict) else None
                parts = [part if isinstance(part, str) else _value(part) or "" for part in said] if isinstance(
                    said, list) else []
                if len(found.incidents) < MOST_REMARKS:
                    found.incidents.append(Incident(
                        group=clean_text(group, 20), number=int(number) if number.isdecimal() and len(number) < 5 else
                        None, system=clean_text(system, 40), status=_value(one) or "", offset=0,
                        text=clean_text(" ".join(parts), MOST_TEXT)))
    return found


def _value(node: object) -> str | None:
    text = node.get("value") if isinstance(node, dict) else None
    return clean_text(text, 200) if isinstance(text, str) else None


def _children(node: object) -> Iterator[tuple[str, Any]]:
    children: Mapping[str, Any] | None = node.get("children") if isinstance(node, dict) else None
    yield from children.items() if isinstance(children, dict) else ()


def found_line(text: str) -> re.Match[str] | None:
    """`8 GPUs found.`"""
    return _FOUND.match(text)


def parse_discovery(lines: Sequence[str]) -> Discovery:
    """The GPUs of the list; those of switches and processors after it are no GPUs."""
    found = Discovery()
    here: Listed | None = None
    among_gpus = True
    for offset, row in joined(lines):
        told = _FOUND.match(row)
        if told is not None:
            found.told, found.active_only, among_gpus = int(told[1]), told[2] == "Active", True
            continue
        pair = cells(row)
        if pair is None:
            among_gpus = among_gpus and not row.endswith(" found.")
            continue
        name, value = pair
        if name.endswith("ID"):
            among_gpus = name == "GPU ID"
        if not among_gpus:
            continue
        if name.isdecimal() and len(name) < 5 and len(found.gpus) < 256:
            here = Listed(index=int(name), offset=offset)
            found.gpus.append(here)
        if here is not None:
            _describe(here, value)
    return found


def _describe(gpu: Listed, value: str) -> None:
    value = value.removesuffix(" (last known)")
    if value.startswith("Name: "):
        gpu.name = clean_text(value[6:], 96) or None
    elif (bus := _BUS.match(value)) is not None:
        gpu.bdf = Bdf(f"{int(bus[1] or '0', 16):04x}:{bus[2]}:{bus[3]}.{bus[4]}".lower())
    elif (uuid := _UUID.match(value)) is not None:
        gpu.uuid = uuid[1]
    elif (status := _STATUS.match(value)) is not None:
        gpu.status = status[1]

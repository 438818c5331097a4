"""`boxcheck riser --json`: the objects of docs/reference/riser.schema.json. Additive changes only within /1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from boxcheck.riser.absent import Shown
from boxcheck.riser.account import RiserAccount, State, Tried
from boxcheck.riser.advice import Advice
from boxcheck.riser.cold_boots import cold_boots
from boxcheck.riser.evidence import Look, Notebook, Retrains, Step, Suspect
from boxcheck.riser.measuring.bounds import Called, Showing, call_link, call_way, showing
from boxcheck.riser.measuring.rank import Ranked
from boxcheck.riser.notebook import Stored


class Tool(msgspec.Struct, frozen=True):
    name: str
    version: str


class CalledLook(msgspec.Struct, frozen=True, kw_only=True):
    """A look of the last boot with what it proves."""

    slot: str
    boot: str
    look: Look
    call: Called
    ways: tuple[Called, ...]
    showing: tuple[tuple[Showing, ...], ...]
    """For each direction: how much longer until it is shown to be below 1e-12, 1e-13, 1e-15 at 95 %."""


class RiserDocument(msgspec.Struct, frozen=True, kw_only=True):
    """Of one experiment."""

    schema: str = "boxcheck.riser/1"
    tool: Tool
    started: str
    seconds: float
    box: str
    state: State
    closed: str
    experiment: Notebook
    suspects: tuple[Suspect, ...]
    accused: tuple[Suspect, ...]
    healthy: float
    verdict: str
    says: str
    next: Step | None
    calls: tuple[CalledLook, ...]
    tried: tuple[Tried, ...]
    advice: tuple[Advice, ...]
    tape: tuple[str, ...]
    absent: tuple[Shown, ...]
    """What the slot shows where no card answers in it."""
    eye: tuple[str, ...]
    cold_boots: Retrains | None
    """How the link in question trained at the boots of the experiment; null where no boot shows it."""
    of_capture: bool
    complaints: tuple[str, ...]
    command: str
    path: str


class RankingDocument(msgspec.Struct, frozen=True, kw_only=True):
    """Of `riser --all`."""

    schema: str = "boxcheck.riser-ranking/1"
    tool: Tool
    started: str
    box: str
    links: tuple[Ranked, ...]
    looks: tuple[Look, ...]
    not_margined: Mapping[str, str] = {}
    """Slots whose lanes were not margined, and why."""


class ListedExperiment(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    started: str
    box: str
    slot: str
    boots: int
    closed: str
    waiting: bool


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _text(document: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(document), indent=1).decode()


def riser_json(account: RiserAccount) -> str:
    weighed, book = account.weighed, account.stored.notebook
    last = book.boots[-1:]
    return _text(RiserDocument(
        tool=Tool("boxcheck", account.version), started=_stamp(account.started), seconds=account.seconds,
        box=account.stored.box, state=account.state, closed=account.stored.closed, experiment=book,
        suspects=weighed.suspects, accused=weighed.accused, healthy=weighed.healthy, verdict=weighed.verdict,
        says=weighed.says, next=weighed.next, tried=account.tried, advice=account.advice, tape=account.tape,
        absent=account.absent, eye=account.eye, cold_boots=cold_boots(book), of_capture=account.of_capture,
        complaints=account.complaints,
        command=account.command, path=account.path, calls=tuple(
            CalledLook(
                slot=look.slot, boot=boot.id, look=look, call=call_link(look),
                ways=tuple(call_way(way) for way in look.ways), showing=tuple(showing(way) for way in look.ways))
            for boot in last for look in boot.looks if look.ways)))


def ranking_json(
    ranked: Sequence[Ranked], looks: Sequence[Look], version: str, started: float, box: str,
    left_out: Mapping[str, str],
) -> str:
    return _text(RankingDocument(
        tool=Tool("boxcheck", version), started=_stamp(started), box=box, links=tuple(ranked), looks=tuple(looks),
        not_margined=left_out))


def list_json(every: Sequence[Stored]) -> str:
    """An array, the newest first."""
    return _text([ListedExperiment(
        id=one.notebook.id, started=_stamp(one.notebook.started), box=one.box, slot=one.notebook.slot,
        boots=len(one.notebook.boots), closed=one.closed, waiting=one.notebook.next is not None) for one in every])


def schemas() -> dict[str, Any]:
    """Of the published schemas: file name -> schema."""
    found = {}
    for name, document in (("riser", RiserDocument), ("riser-ranking", RankingDocument)):
        schema = msgspec.json.schema(document)
        found[f"{name}.schema.json"] = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return found

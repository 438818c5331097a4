"""What happened around a run while it went on: in the kernel's log, among the devices, in the host's memory. The fact
that `burn_checks` judges.

A store keeps each as an event; a `Chronicle` sums them up, the same while a run goes on and when it is judged again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import msgspec

from boxcheck.model import Bdf, Outcome, Subject

Source = Literal["log", "devices", "memory", "instruments"]
"""`log`: the kernel's log; `devices`: the PCI bus and what hangs on it; `memory`: the host's memory, by EDAC;
`instruments`: the readings of a watch, which come from a process of their own."""
Severity = Literal["info", "warn", "fail"]
GRAVITY: Mapping[str, Outcome] = {"fail": Outcome.FAIL, "warn": Outcome.MARGINAL}
"""Happenings of severity info make no finding."""


FOR_ROOT = "root"
"""Label of a gap: root would have had none."""


class Concerned(msgspec.Struct, frozen=True, omit_defaults=True):
    """A GPU that something happened to."""

    bdf: Bdf
    key: str = ""
    """Of the run's device (`cuda:0`); empty for a GPU that is not part of the run."""
    name: str = ""
    slot: str | None = None

    @property
    def subject(self) -> Subject:
        key = f" ({self.key})" if self.key else ""
        return Subject("gpu", f"{self.name}{key}" if self.name else self.bdf, slot=self.slot, bdf=self.bdf)


class Detail(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an event of a store holds beside its words, as its `data`."""

    source: Source
    state: Literal["", "began", "ended", "gap", "bridged"] = ""
    """Not something that happened, but how far the source was followed: from here, to here, or not, and why. `bridged`:
    of a time in which a run was cut off, what is left was looked at afterwards."""
    bdf: Bdf | None = None
    name: str = ""
    """Of the part, where it is no GPU: `network card 0000:03:00.0`, `DIMM_C1`."""
    slot: str | None = None
    gpus: tuple[Concerned, ...] = ()
    """GPUs that it concerns: itself, or those below it."""
    lost: bool = False
    """Whether those GPUs are gone."""
    count: int = 1
    labels: tuple[str, ...] = ()
    help: tuple[str, ...] = ()
    text: str = ""
    """The first message of it, as it was."""


class Happening(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened."""

    kind: str
    says: str
    severity: Severity = "info"
    detail: Detail

    @property
    def subject(self) -> str:
        """For the list of events: slot or name of the part; empty for the box."""
        of = self.detail
        if len(of.gpus) == 1:
            return str(of.gpus[0].subject)
        return str(Subject("function", of.name, slot=of.slot, bdf=of.bdf)) if of.name or of.bdf else ""


class Happened(msgspec.Struct, frozen=True, kw_only=True):
    """All that happened around one run."""

    happenings: tuple[Happening, ...] = ()
    """What happened again is one, with how often."""
    gaps: Mapping[Source, str] = {}
    """Why a source was not followed, or not all the time; the first reason."""
    followed: Mapping[Source, str] = {}
    """Sources that were followed to the end: how, in words."""
    for_root: tuple[Source, ...] = ()
    """Those that were not followed since root alone may."""

    def of(self, source: Source) -> tuple[Happening, ...]:
        return tuple(one for one in self.happenings if one.detail.source == source)

    def missing(self, source: Source) -> str | None:
        """Why the absence of a happening proves nothing; None where it was looked for all the time."""
        if source in self.gaps:
            return self.gaps[source]
        return None if source in self.followed else "this run does not tell that it was looked at to its end"


class Chronicle:
    """Sums up what happened."""

    def __init__(self) -> None:
        self._found: dict[tuple[object, ...], Happening] = {}
        self._open: dict[Source, int] = {}
        """How often a source was begun without being ended: a run that was cut off has one left."""
        self._ended: dict[Source, str] = {}
        self._bridged: dict[Source, str] = {}
        self._gaps: dict[Source, str] = {}
        self._for_root: dict[Source, None] = {}

    def add(self, one: Happening) -> None:
        of = one.detail
        if of.state == "began":
            self._open[of.source] = self._open.get(of.source, 0) + 1
        elif of.state == "ended":
            self._open[of.source] = self._open.get(of.source, 0) - 1
            self._ended[of.source] = one.says
        elif of.state == "bridged":
            if self._open.get(of.source, 0) > 0:
                self._open[of.source] -= 1
                self._bridged[of.source] = one.says
        elif of.state == "gap":
            self._gaps.setdefault(of.source, one.says)
            if FOR_ROOT in of.labels:
                self._for_root[of.source] = None
        else:
            # Not by severity: what began as a warning and became grave is one thing, and grave.
            key = (of.source, one.kind, of.bdf, of.labels, of.name)
            before = self._found.get(key)
            self._found[key] = one if before is None else _joined(before, one)

    def result(self, *, goes_on: bool = False) -> Happened:
        """`goes_on`: somebody still follows what was begun last."""
        cut = [source for source, times in self._open.items() if times > 0]
        gaps = dict(self._gaps)
        for source in cut:
            now = goes_on and self._open[source] == 1
            gaps.setdefault(source, "the run goes on" if now else "the run was cut off, and nobody looked from then on")
        return Happened(
            happenings=tuple(self._found.values()), gaps=gaps, for_root=tuple(self._for_root),
            followed={
                source: "; ".join(filter(None, (says, self._bridged.get(source, ""))))
                for source, says in self._ended.items() if source not in gaps})


_RANK = {"fail": 0, "warn": 1, "info": 2}


def _joined(before: Happening, one: Happening) -> Happening:
    graver = one if _RANK[one.severity] < _RANK[before.severity] else before
    detail = msgspec.structs.replace(graver.detail, count=before.detail.count + one.detail.count)
    return msgspec.structs.replace(graver, detail=detail)


def happening_of(kind: str, says: str, severity: Severity, data: Any) -> Happening | None:
    """A happening from what an event of a store holds; None for an event of another kind. One whose details are not
    understood, as of a later boxcheck, counts all the same by its severity."""
    if not isinstance(data, dict) or data.get("source") not in get_args(Source):
        return None
    try:
        detail = msgspec.convert(data, Detail)
    except msgspec.ValidationError:
        detail = Detail(source=data["source"])
    return Happening(kind=kind, says=says, severity=severity, detail=detail)

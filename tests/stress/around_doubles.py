"""What happened around made-up runs, for the checks that judge it."""

from __future__ import annotations

from typing import Any

from boxcheck.model import BOX, Bdf, Finding, Outcome
from boxcheck.stress.happenings import Chronicle, Concerned, Detail, Happened, Happening, Source
from boxcheck.stress.watch_checks import Change, Changes, Looked

GPU = Concerned(Bdf("0000:41:00.0"), "cuda:0", "RTX 4090", "PCIE3")


def happened(
    *happenings: Happening, followed: bool = True, closed: bool = True, gpus: int = 7
) -> dict[type, Any]:
    """A run in which this happened, and all was followed; or the kernel's log was not, or nothing to its end."""
    chronicle = Chronicle()
    sources: tuple[Source, ...] = ("log", "devices", "memory", "instruments")
    for source in sources:
        chronicle.add(Happening(kind="followed", says="followed", detail=Detail(source=source, state="began")))
    for one in happenings:
        chronicle.add(one)
    for source in sources:
        if not followed:
            chronicle.add(Happening(
                kind="unread", says="not read", severity="warn", detail=Detail(source=source, state="gap")))
        elif closed:
            chronicle.add(Happening(kind="followed", says="for 60 s", detail=Detail(source=source, state="ended")))
    return {Happened: chronicle.result(), Looked: Looked(gpus)}


def told(source: Source, severity: Any, **fields: Any) -> dict[type, Any]:
    """A run in which one thing happened, and to that GPU."""
    detail = Detail(**{"source": source, "bdf": GPU.bdf, "gpus": (GPU,), **fields})
    return happened(Happening(kind="something", says="it happened", severity=severity, detail=detail))


def worse(outcome: str, required: bool = True) -> dict[type, Any]:
    """doctor finds this where it passed before."""
    finding = Finding(check="pcie.link-width", subject=BOX, outcome=Outcome(outcome), says="x8", blocker=required)
    return {Changes: Changes(() if outcome == "pass" else (Change(Outcome.PASS, finding),), 0, 40)}

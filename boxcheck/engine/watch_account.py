"""What a stored watch came to, as it was told when it ended: so its account is that of a watch, whoever prints it."""

from __future__ import annotations

from typing import Any

import msgspec

from boxcheck.engine.stress import StressRun
from boxcheck.engine.watch_judging import MODULE
from boxcheck.engine.watching_run import Ended
from boxcheck.store.reader import RunReader
from boxcheck.store.texts import decode_plain
from boxcheck.stress import StressResults
from boxcheck.stress.tally import Tally
from boxcheck.stress.watch_checks import Changes


class _Command(msgspec.Struct, frozen=True):
    """The part of `command.json` that is shown."""

    says: str = ""
    status: int | None = None


class _Gpu(msgspec.Struct, frozen=True):
    key: str
    name: str
    slot: str | None
    sent_bytes: int | float | None
    received_bytes: int | float | None
    bytes_unknown: str | None


class _Link(msgspec.Struct, frozen=True):
    bdf: str
    width: int | None
    least_gts: float | None
    most_gts: float | None
    errors: dict[str, int]
    counted: bool


class _Ledger(msgspec.Struct, frozen=True):
    gpus: tuple[_Gpu, ...] = ()
    links: tuple[_Link, ...] = ()


def stored_watch(reader: RunReader, judged: StressRun) -> tuple[Ended, str]:
    """What it came to by a judgement of now, and what was watched, in words. A watch that was cut off has no ledger:
    its links are in the findings alone. StoreError where its documents are not what a watch leaves."""
    command, ledger = _document(reader, "command.json", _Command), _document(reader, "ledger.json", _Ledger)
    run = reader.run()
    plan = run.info.plan if isinstance(run.info.plan, dict) else {}
    asked = plan.get("command")
    words = " ".join(map(str, asked)) if isinstance(asked, list) else ""
    results = judged.results[0] if judged.results else StressResults(
        module=MODULE, gpus=(), samples=(), troubles=(), ended=())
    shown: dict[str, Any] = msgspec.to_builtins(ledger)
    for one in shown["gpus"]:
        if one["bytes_unknown"] is None and None in (one["sent_bytes"], one["received_bytes"]):
            one["bytes_unknown"] = "the store does not tell"
    return Ended(
        verdict=judged.verdict, watching=judged.watching[0] if judged.watching else Tally(()).result(), results=results,
        changes=Changes((), 0, 0, "told by its findings"), ledger=shown, events=(), events_in_all=0,
        seconds=judged.seconds, status=command.status), command.says or words or "the machine"


def _document(reader: RunReader, name: str, type: Any) -> Any:
    packed = reader.attachment(name)
    if packed is None:
        return type()
    with reader.guarded(name):
        return decode_plain(packed, type)

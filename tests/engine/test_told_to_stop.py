"""A run that a person stops says so, and is told apart from one that the machine stopped."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from boxcheck.engine import begin, detach
from boxcheck.store.creating import create_run
from boxcheck.store.rows import RunInfo


@pytest.mark.parametrize(("came", "says"), [
    (signal.SIGINT, "stopped by the operator"), (signal.SIGTERM, "stopped by SIGTERM")])
def test_what_ended_a_run_is_named(monkeypatch: pytest.MonkeyPatch, came: signal.Signals, says: str) -> None:
    coming, told = iter([came]), list[str]()

    def wait(awaited: Any) -> int:
        assert came in awaited
        return next(coming)

    monkeypatch.setattr("boxcheck.engine.begin.signal.sigwait", wait)
    with pytest.raises(StopIteration):
        begin._heed(SimpleNamespace(stop=told.append))  # type: ignore[arg-type]
    assert told == [says]


def test_who_follows_a_run_stops_it_as_ctrl_c_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = create_run(str(tmp_path), RunInfo(kind="burn", version="1", boot="b"))
    store.flush()
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(detach, "_is_engine", lambda pid: True)
    monkeypatch.setattr("boxcheck.engine.detach.os.kill", lambda *words: sent.append(words))
    detach.tell_to_stop(store.path)
    assert sent == [(os.getpid(), signal.SIGINT)]
    store.end("stopped", outcome="unknown")
    detach.tell_to_stop(store.path)
    assert len(sent) == 1
    store.close()

"""A store from elsewhere, and a plan, whose every text is made to drive the terminal: no command passes any of it on."""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from boxcheck import cli
from boxcheck.model import Finding, Outcome, Subject, Unread
from boxcheck.profile import load_profile
from boxcheck.store.creating import create_run
from boxcheck.store.rows import PhasePlan, PhaseStart, ProfileName, RunInfo
from boxcheck.store.writer import RunWriter
from boxcheck.stress import Sample
from boxcheck.telemetry.readings import GpuSilent
from tests.store.machine import Machine

EVIL = "\x1b]0;owned\x07\x1b[31mRED\x9b2J\u202e\u2028\r\nPASS   nothing is wrong\n"
FAKE = re.compile(r"^PASS ", re.MULTILINE)
"""As the last words of an account begin: at the edge. What is wrapped hangs below its own first line."""
Call = Callable[..., str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = tmp_path / "boxcheck" / "runs"
    found.mkdir(parents=True)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return found


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """All that a command says."""

    def body(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["boxcheck", *words])
        capfd.readouterr()
        with pytest.raises(SystemExit):
            cli.run()
        said = capfd.readouterr()
        return said.out + said.err

    return body


def evil_run(folder: Path, kind: str = "burn") -> RunWriter:
    want = load_profile("generic")
    machine = Machine(1)
    store = create_run(str(folder), RunInfo(
        kind=kind, version=f"0{EVIL}", boot=f"b{EVIL}", box=f"box{EVIL}", host=f"h{EVIL}", commit=f"c{EVIL}",
        profile=ProfileName("generic", 1, want.sha256), plan={
            "name": f"n{EVIL}", "certain": True, "profile_why": f"why{EVIL}", "left_out": {f"x{EVIL}": f"y{EVIL}"},
            "steps": [{"name": f"s{EVIL}", "seconds": 1.0, "modules": [f"m{EVIL}"], "kind": "stress"}]}))
    store.plan_phase(PhasePlan(
        number=1, name=f"s{EVIL}", module="matmul", devices=(f"dev{EVIL}",), planned_seconds=1.0))
    store.about(1, f"doing{EVIL}")
    store.begin_phase(1, PhaseStart(gpus=machine.gpus, slots={"cuda:0": f"slot{EVIL}"}))
    bdf = machine.gpus[0].bdf
    assert bdf is not None
    store.watched(1, [GpuSilent(bdf=bdf, monotonic_seconds=1.0, state="lost", why=Unread(f"why{EVIL}", "error"))])
    store.sample(1, Sample(
        what=f"matmul{EVIL}", gpu="cuda:0", seconds=1.0, value=1.0, unit=f"u{EVIL}", checked=9, wrong=1,
        of="words", notes={f"note{EVIL}": f"value{EVIL}"}), worker=0)
    store.event(f"kind{EVIL}", f"says{EVIL}", severity="fail", subject=f"subject{EVIL}", phase=1, data={EVIL: [EVIL]})
    store.event("oops", f"log{EVIL}", severity="fail", subject=f"of{EVIL}", data={
        "source": "log", "name": f"part{EVIL}", "text": f"text{EVIL}", "help": [f"help{EVIL}"], "labels": [EVIL]})
    store.findings(0, [Finding(
        check="gpu.in-runtime", outcome=Outcome.FAIL, subject=Subject("gpu", f"n{EVIL}"), says=f"found{EVIL}",
        notes=(f"note{EVIL}",), help=(f"help{EVIL}",), title=f"title{EVIL}", where=f"where{EVIL}", cause=EVIL,
        blocker=True)])
    store.attach(f"name{EVIL}", b"{}")
    return store


def is_plain(said: str) -> None:
    odd = {
        hex(ord(one)) for one in said if one != "\n" and unicodedata.category(one) in ("Cc", "Cf", "Zl", "Zp")}
    assert not odd, "controls reached the terminal"
    assert not FAKE.search(said), "a line was drawn by the store"


@pytest.mark.parametrize("words", [
    ("runs",), ("runs", "show", "last"), ("runs", "show", "last", "-v"), ("runs", "show", "last", "--json", "-"),
    ("runs", "prune", "--keep", "0", "--dry-run", "--last-too"), ("runs", "--json", "-"), ("judge", "last"),
    ("judge", "last", "-v"), ("judge", "last", "--json", "-"), ("attach", "last"), ("attach", "last", "--jsonl", "-"),
    ("runs", "salvage", "last"), ("burn", "--resume", "last"), ("runs", "show", "nothing-like-it"),
], ids=" ".join)
def test_no_text_of_a_store_drives_the_terminal(folder: Path, call: Call, words: tuple[str, ...]) -> None:
    evil_run(folder).end("stopped", None, reason=f"reason{EVIL}")
    said = call(*words)
    assert said
    is_plain(said)


@pytest.mark.parametrize("kind", ["burn", "watch"])
def test_neither_does_that_of_a_run_that_crashed(folder: Path, call: Call, kind: str) -> None:
    evil_run(folder, kind).close()
    assert list(folder.glob("*.sqlite"))
    (folder / f"{next(folder.glob('*.sqlite')).name}.lock").touch()
    for words in (("runs",), ("judge", "last"), ("runs", "show", "last")):
        is_plain(call(*words))


def test_neither_does_the_name_of_a_file(folder: Path, call: Call) -> None:
    store = evil_run(folder)
    store.end("finished", None)
    os.rename(store.path, folder / "20990101-\x1b[31m\nPASS   nothing is wrong\n-burn.sqlite")
    for words in (("runs",), ("runs", "show", "last"), ("judge", "last"), ("runs", "salvage", "last"),
                  ("runs", "prune", "--keep", "0", "--dry-run", "--last-too"), ("attach", "last")):
        is_plain(call(*words))


def test_neither_does_the_name_of_a_plan(folder: Path, call: Call, tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(
        'name = "night\\u001b[31m\\nPASS   nothing is wrong"\n[[step]]\nmodule = "matmul"\nminutes = 1\n')
    said = call("burn", "--plan", str(plan), "--dry-run", "--backend", "cpu", "--profile", "generic")
    assert "night" in said
    is_plain(said)

"""The project's own logs, written in the drivers' formats: one file at least for each kind, with its events beside it.

`tests/corpus/klog/<kind>-<variant>.log` and `<same>.expected.json`; `benign-*.log` holds nothing to be frightened of.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from boxcheck.decode.klog import Event, KernelLog, Severity, parse_log
from boxcheck.decode.klog.kinds import KINDS, SECTIONS

CORPUS = Path(__file__).parents[1] / "corpus" / "klog"
SOURCE = Path(__file__).parents[2] / "boxcheck" / "decode" / "klog"
LOGS = sorted(path.name for path in CORPUS.glob("*.log"))
GRAVITY: tuple[Severity, ...] = ("fail", "warn", "info", "benign")


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One expected event."""

    kind: str
    bdf: str | None
    labels: tuple[str, ...]
    count: int
    suppressed: int
    severity: str
    cause: str | None


def read(name: str) -> KernelLog:
    return parse_log((CORPUS / name).read_bytes())


def row(event: Event) -> Row:
    return Row(event.kind, event.bdf, event.labels, event.count, event.suppressed, event.severity, event.cause)


def expected(name: str) -> list[Row]:
    return msgspec.json.decode((CORPUS / name.replace(".log", ".expected.json")).read_bytes(), type=list[Row])


@pytest.mark.parametrize("name", LOGS)
def test_a_log_holds_its_events(name: str) -> None:
    events = read(name).events
    assert [row(event) for event in events] == expected(name)
    for event in events:
        assert event.says
        assert event.says == event.says.strip()
        assert not event.says.endswith(".")
        assert "{" not in event.says
        assert event.help or event.severity in ("info", "benign")
        assert event.severity in KINDS[event.kind].severities


@pytest.mark.parametrize("name", [name for name in LOGS if name.startswith("benign-")])
def test_a_benign_log_frightens_nobody(name: str) -> None:
    assert {event.severity for event in read(name).events} <= {"info", "benign"}


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "> ", "| "])
def test_a_log_quoted_in_a_mail_is_the_same(mark: str, ending: str) -> None:
    for name in LOGS:
        lines = (CORPUS / name).read_text().splitlines()
        events = parse_log("".join(mark + line + ending for line in lines)).events
        assert [row(event) for event in events] == expected(name), name


def test_every_log_is_named_after_a_kind_that_it_holds() -> None:
    for name in LOGS:
        if name.startswith("benign-"):
            continue
        assert any(name.startswith(f"{kind}-") for kind in {event.kind for event in read(name).events}), name


def test_every_kind_has_a_log() -> None:
    """At its gravest at least."""
    found = {(event.kind, event.severity) for name in LOGS for event in read(name).events}
    assert {kind for kind, _ in found} == set(KINDS)
    missing = {(name, kind.severities[0]) for name, kind in KINDS.items()} - found
    assert missing == set()


def test_every_expectation_has_its_log() -> None:
    assert {path.name for path in CORPUS.iterdir()} == {
        name for log in LOGS for name in (log, log.replace(".log", ".expected.json"))
    }


def test_the_kinds_are_those_that_the_families_write() -> None:
    """Every kind in the families' source is in the table, none twice."""
    text = "\n".join(path.read_text() for path in SOURCE.glob("*.py") if path.name != "kinds.py")
    written = set(re.findall(r'Rule\(\s*"(?:[^"\\]|\\.)*",\s*"([a-z0-9-]+)"', text))
    written |= set(re.findall(r'\.add\(\s*"([a-z0-9-]+)"', text))
    assert written <= set(KINDS)
    assert len(written) > 60
    assert sum(len(section) for section in SECTIONS.values()) == len(KINDS)
    for kind in KINDS.values():
        assert list(kind.severities) == sorted(kind.severities, key=GRAVITY.index)

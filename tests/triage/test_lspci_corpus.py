"""Our own lspci texts, in the formats of pciutils 3.1 to 3.14, each with what must be found in it.

`tests/corpus/lspci/NAME.txt` is as somebody would paste it, `NAME.expected.json` what a person expects of it: events,
how many devices, words of the notes. Each event kind has a text on which it fires and one on which it barely does not.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from boxcheck.triage.cut import cut
from boxcheck.triage.evidence import Evidence
from boxcheck.triage.tools import lspci

from .lspci_text import flattened, wrapped

CORPUS = Path(__file__).parents[1] / "corpus" / "lspci"
FILES = sorted(CORPUS.glob("*.txt"))


def read(path: Path) -> Evidence:
    found, _ = cut(path.read_bytes())
    ((reader, section),) = found
    assert reader is lspci  # type: ignore[comparison-overlap]
    return reader.read(section)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_text_of_the_corpus(path: Path) -> None:
    expected = json.loads(path.with_suffix(".expected.json").read_text())
    evidence = read(path)
    assert [
        {"kind": event.kind, "severity": event.severity, "cause": event.cause, "bdf": event.bdf, "labels": list(event.labels)}
        for event in evidence.events] == expected["events"]
    assert len(evidence.devices) == expected["devices"]
    for words in expected.get("notes", ()):
        assert any(words in note for note in evidence.notes), (words, evidence.notes)
    if "tool" in expected:
        assert evidence.tool == expected["tool"]


def _told(text: str) -> list[tuple[str, str, str | None, tuple[str, ...]]]:
    return [(event.kind, event.severity, event.bdf, event.labels)
            for reader, section in cut(text)[0] if reader is lspci  # type: ignore[comparison-overlap]
            for event in reader.read(section).events]


@pytest.mark.parametrize("shape", [flattened, wrapped, lambda text: "".join(f"> {line}\n" for line in text.splitlines()),
                                   lambda text: text.replace("\n", "\r\n")], ids=["flattened", "mailed", "quoted", "crlf"])
@pytest.mark.parametrize("path", [path for path in FILES if "tree" not in path.stem], ids=lambda path: path.stem)
def test_the_way_it_was_pasted_changes_nothing(path: Path, shape: Callable[[str], str]) -> None:
    text = path.read_text()
    assert _told(shape(text)) == _told(text)


def test_no_text_is_without_its_expectation() -> None:
    assert {path.stem for path in FILES} == {path.name.removesuffix(".expected.json") for path in CORPUS.glob("*.json")}
    assert len(FILES) >= 40


def test_every_kind_fires_somewhere_and_every_event_can_help() -> None:
    events = [event for path in FILES for event in read(path).events]
    assert {event.kind for event in events} == {
        "acs-redirect", "aer-correctable", "aer-fatal", "aer-nonfatal", "atomics-unsupported", "bar-assign-fail",
        "bar-lost", "bar-small", "device-lost", "dpc", "driver-missing", "driver-other", "evidence-disagrees", "gpu-lost",
        "lane-errors", "link-down", "link-ends-disagree", "link-speed", "link-width", "lspci-changed"}
    for event in events:
        assert not event.says.endswith(".")
        if event.severity in ("fail", "warn"):
            assert event.help, event.says

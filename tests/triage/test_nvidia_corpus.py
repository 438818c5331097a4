"""Own outputs of nvidia-smi, rocm-smi, amd-smi, rocminfo and dmidecode: each that makes an event, and each by a notch
that does not. The expected events stand beside each text and were written with it, not recorded from the reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from boxcheck.triage.cut import cut
from boxcheck.triage.evidence import Evidence

CORPUS = Path(__file__).parents[1] / "corpus"
TOOLS = ("nvidia-smi", "rocm-smi", "amd-smi", "rocminfo", "dmidecode")
TEXTS = sorted(path for tool in TOOLS for path in (CORPUS / tool).glob("*.txt"))


def evidence(text: str) -> tuple[list[Evidence], str]:
    """What all sections of a text say, and what no tool claimed."""
    sections, log = cut(text)
    return [reader.read(section) for reader, section in sections], log.decode()


def told(found: list[Evidence]) -> list[dict[str, Any]]:
    return [{"kind": event.kind, "severity": event.severity, "bdf": event.bdf, "labels": list(event.labels)}
            for one in found for event in one.events]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_what_each_text_says(path: Path) -> None:
    wanted = json.loads(path.with_name(f"{path.stem}.expected.json").read_text())
    found, _ = evidence(path.read_text())
    assert told(found) == wanted["events"]
    assert [device.bdf for one in found for device in one.devices] == wanted["devices"]
    for note in wanted.get("notes", ()):
        assert any(note in one.notes for one in found)


def test_there_are_texts_of_each_tool() -> None:
    assert {path.parent.name for path in TEXTS} == set(TOOLS)
    assert len(TEXTS) > 120


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_nothing_of_it_is_left_to_the_kernel_log(path: Path) -> None:
    """But for the table's first border, the date above it, what stands before a beginning that is known, and prose."""
    if path.stem in ("message-in-prose", "q-cut-head", "q-cut-head-two", "xml-entity"):
        return
    _, log = evidence(path.read_text())
    rest = [line for line in log.splitlines() if line.strip()]
    aside = ("$", "--", "*****", "+-", "Sun Aug", "Mon Oct", "<?xml", "cat:")
    assert [line for line in rest if not line.startswith(aside)] == []


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_prompt_prose_and_a_log_line_end_it(path: Path) -> None:
    if path.stem == "message-in-prose":
        return
    after = ("[   12.345678] nvidia 0000:41:00.0: enabling device (0000 -> 0003)",
             "Aug 30 09:12:44 box kernel: pcieport 0000:40:01.1: AER: Corrected error received: 0000:40:01.1",
             "ada@box:~$ uname -r", "Thanks, it still does not work for me. What can I do?")
    text = path.read_text()
    before, _ = evidence(text)
    for line in after:
        found, log = evidence(f"{text}{line}\n{line}\n")
        assert log.count(line) == 2
        assert told(found) == told(before)

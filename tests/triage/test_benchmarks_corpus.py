"""The corpus of benchmark and burn-in outputs, against what was written down beside each file after reading it by hand.

`tests/corpus/<tool>/<name>.txt` and `<name>.expected.json`. `python -m tests.triage.test_benchmarks_corpus` writes
the expected files anew; read their diff line by line.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.triage.benchmarks import CORPUS, MINE, anchored, cut, one, plain

TOOLS = ("nvbandwidth", "p2p", "rocm-bandwidth", "gpu-burn", "rvs", "nccl", "dcgm")
FILES = sorted(path for tool in TOOLS for path in (CORPUS / tool).glob("*.txt"))


def expected_of(path: Path) -> Path:
    return path.with_suffix(".expected.json")


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_text_says_what_was_written_down(path: Path) -> None:
    assert plain(one(path.read_text())) == json.loads(expected_of(path).read_text())


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_text_is_one_section_to_its_last_line_and_the_log_around_it_is_not_taken(path: Path) -> None:
    before = "[  100.000001] pcieport 0000:40:01.1: AER: Correctable error message received from 0000:40:01.1\n"
    after = "[  101.000001] NVRM: Xid (PCI:0000:41:00): 79, pid=0, GPU has fallen off the bus.\nuser@bench:~$ exit\n"
    text = path.read_text().strip("\n")
    found = [(module, section) for module, section in cut(before + text + "\n" + after) if module in MINE]
    assert len(found) == 1, [(module, section.first_line) for module, section in found]
    module, section = found[0]
    assert [line.split() for line in section.lines] == [
        line.removeprefix("> ").split() for line in _from_first(module, text).split("\n")]


def _from_first(module: str, text: str) -> str:
    """The text from the first line that a reader can be asked about: progress dots come before it."""
    lines = text.split("\n")
    return "\n".join(lines[next(at for at, line in enumerate(lines) if anchored(module, line)):])


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_flattened_and_quoted_text_says_the_same(path: Path) -> None:
    flat = "\n".join("> " + " ".join(line.split()) if line.strip() else ">" for line in path.read_text().split("\n"))
    ours, theirs = plain(one(flat)), json.loads(expected_of(path).read_text())
    assert ours["events"] == theirs["events"]
    assert ours["readings"] == theirs["readings"]


def wrapped(text: str, columns: int) -> str:
    """As a mailer breaks lines, at the last blank before a column."""
    out = []
    for line in text.split("\n"):
        while len(line) > columns and line.rfind(" ", 0, columns) > 0:
            at = line.rfind(" ", 0, columns)
            out.append(line[:at])
            line = line[at + 1:]
        out.append(line)
    return "\n".join(out)


@pytest.mark.parametrize("columns", [72, 76, 80])
@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_text_that_a_mailer_wrapped_has_the_same_events(path: Path, columns: int) -> None:
    evidence = plain(one(wrapped(path.read_text(), columns)))
    theirs = json.loads(expected_of(path).read_text())
    assert [(event["kind"], event["bdf"], event["labels"], event["severity"]) for event in evidence["events"]] == [
        (event["kind"], event["bdf"], event["labels"], event["severity"]) for event in theirs["events"]]


if __name__ == "__main__":
    for file in FILES:
        expected_of(file).write_text(json.dumps(plain(one(file.read_text())), indent=1) + "\n")

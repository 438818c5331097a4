"""What somebody quotes within a sentence is told as weaker; what begins its line is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxcheck.decode.klog import KernelLog, parse_log
from boxcheck.decode.klog.envelope import read_line
from boxcheck.decode.text import clean_text

CORPUS = Path(__file__).parents[1] / "corpus" / "klog"
XID = "NVRM: Xid (PCI:0000:41:00): 79, pid=0, GPU has fallen off the bus."
AER = "pcieport 0000:40:01.1: PCIe Bus Error: severity=Corrected, type=Physical Layer, (Receiver ID)"


def told(log: KernelLog) -> list[tuple[str, str]]:
    return [(event.kind, event.severity) for event in log.events]


@pytest.mark.parametrize("text", [
    f'My card never reports "{XID}" and everything works fine.',
    f"What does {XID} mean?",
    f"never seen before: {XID}",
    'Is it safe to ignore "PCIe Bus Error: severity=Corrected, type=Physical Layer"?',
    f"I get this with every kernel: {AER}", f'What does this message: "{XID}" mean?', f"I get this message: {XID}",
    "Search terms: amdgpu ring gfx_0.0.0 timeout, signaled seq=1, emitted seq=2",
    "they say that 'GPU reset begin!' is harmless",
])
def test_a_sentence_is_weaker(text: str) -> None:
    for around in ("{}\n", "[   10.000000] usb 1-1: an ordinary line\n{}\n[   11.000000] usb 1-1: another one\n"):
        log = parse_log(around.format(text))
        assert log.events
        assert {event.severity for event in log.events} == {"info"}
        assert all(event.says.endswith("(quoted in a sentence, so perhaps of no machine)") for event in log.events)
        assert all(event.help == () for event in log.events)


@pytest.mark.parametrize("text", [
    XID, f'"{XID}"', f"'{XID}'", f"`{XID}`", f"> {XID}", f"- {XID}", f"dmesg: {XID}", f"Nov 20 {XID}",
    f"{XID} <- what does this mean?", f"kernel: {XID}", f"[   12.345678] what is this: {XID}",
    f'{{"host": {{"name": "rig1"}}, "message": "{XID}"}}', f'  message: "{XID}"', f"msg={XID}", f'{{"log":"{XID}\\n"}}',
])
def test_what_begins_its_line_is_not(text: str) -> None:
    assert told(parse_log(f"Hi, since the update my box hangs:\n{text}\nAny idea?\n")) == [("xid", "fail")]


def test_a_quote_and_the_log_itself_are_two() -> None:
    log = parse_log(f"I see {XID}\n[   12.345678] {XID}\n")
    assert told(log) == [("xid", "info"), ("xid", "fail")]


def test_a_quote_begins_nothing_that_the_log_goes_on_with() -> None:
    begin, end = "amdgpu 0000:0b:00.0: amdgpu: GPU reset begin!", "amdgpu 0000:0b:00.0: amdgpu: GPU reset(2) succeeded!"
    log = parse_log(f"what is {begin}\n[   12.345678] {begin}\n[   13.345678] {end}\n")
    assert [(event.severity, event.labels) for event in log.events] == [("info", ()), ("fail", ("succeeded",))]
    log = parse_log(f"[   12.345678] {begin}\nthen it says {end}\n")
    assert [(event.severity, event.labels) for event in log.events] == [("fail", ()), ("info", ("succeeded",))]


def test_no_message_of_the_corpus_is_taken_for_a_sentence() -> None:
    """Without their envelopes: messages that a person pasted bare."""
    seen = 0
    for path in sorted(path for path in CORPUS.glob("*.log") if not path.name.startswith("benign-")):
        bare = [read_line(clean_text(raw, 2000), 1).message for raw in path.read_bytes().decode("utf-8", "replace").splitlines()]
        for event in parse_log("\n".join(bare) + "\n").events:
            seen += 1
            assert "quoted in a sentence" not in event.says, (path.name, event.text)
    assert seen > 200

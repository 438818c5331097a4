"""JSON that holds a log: as a string with its line ends, or as records."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.triage.texts import BUSES, aer, fell, rules, told

USB = "".join(f"[{at:5}.000000] usb 1-1: new device number {at}\n" for at in range(2000))
LOG = BUSES + USB + aer(3000.0, "0000:40:01.1", 6, "BadTLP") + fell(3000.6, "41")


@pytest.mark.parametrize("value", [{"log": LOG}, {"hosts": [{"name": "rig1", "dmesg": LOG}]}, [{"note": "x"}, LOG]])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_log_in_a_string_is_read_to_its_end(value: object, indent: int | None, tmp_path: Path) -> None:
    """It is one line of the file, far longer than a line of a log: nothing of it was read."""
    found = told(tmp_path, json.dumps(value, indent=indent))
    assert rules(found) == ["link-took-the-gpu"]
    assert any("within JSON" in words for words in found.sources[0].complaints)


def test_what_is_read_as_it_stands_is_not_replaced(tmp_path: Path) -> None:
    """Records, one of which has several lines; a text that is too long for a line is said to be."""
    xid = "NVRM: Xid (PCI:0000:41:00): 79, pid=1, GPU has fallen off the bus."
    for long, said in (("a\nb", False), (LOG, True)):
        records = [{"msg": xid}, {"output": long}]
        found = told(tmp_path, json.dumps(records, indent=1))
        assert any(one.kind == "xid" for one in found.events)
        assert any("of many lines" in words for words in found.sources[0].complaints) is said


def test_json_without_a_log_is_nothing(tmp_path: Path) -> None:
    found = told(tmp_path, json.dumps({"text": "a\nb\nc"}))
    assert not found.recognised
    assert found.sources[0].lines == 1

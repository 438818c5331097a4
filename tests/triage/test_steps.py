"""The steps that the readers give: none twice in other words."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from itertools import combinations
from pathlib import Path

import pytest

from boxcheck.triage.cut import cut
from tests.triage.texts import told

CORPUS = Path(__file__).parents[1] / "corpus"
ALIKE = 0.8
"""From here on two steps are one. Chosen: what differs in more than a name stays below."""
_ADDRESS = re.compile(r"(?:[0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]|<address>")
_VENDOR = re.compile(r"10de|1002|nvidia|amdgpu", re.IGNORECASE)


def plain(step: str) -> str:
    """Without address, quotes and sudo: what a reader takes in."""
    return re.sub(r"[^a-z0-9 ]", "", _ADDRESS.sub("", step.lower().replace("sudo ", "")))


def steps() -> set[str]:
    return {step for path in CORPUS.rglob("*.txt") for reader, section in cut(path.read_bytes())[0]
            for event in reader.read(section).events for step in event.help}


def alike(one: str, two: str) -> bool:
    """Whether two steps say the same. One that names another vendor's thing is another one."""
    if set(map(str.lower, _VENDOR.findall(one))) != set(map(str.lower, _VENDOR.findall(two))):
        return False
    matcher = SequenceMatcher(None, plain(one), plain(two), autojunk=False)
    return matcher.quick_ratio() > ALIKE and matcher.ratio() > ALIKE


def test_no_step_in_two_wordings() -> None:
    by_words = {plain(step): step for step in steps()}
    assert len(by_words) > 100
    assert [(one, two) for one, two in combinations(sorted(by_words.values()), 2) if alike(one, two)] == []


def test_the_test_sees_what_was_wrong() -> None:
    assert alike("sudo dmesg | grep -E 'NVRM|Xid'", "`sudo dmesg | grep -iE 'nvrm|xid'`")
    assert alike("check the card's power cables, its seat and its riser", "check the card's power leads and its riser")


NVBANDWIDTH = """\
nvbandwidth Version: v0.5
Driver Version: 550.120

Device 0: NVIDIA GeForce RTX 4090 (00000000:01:00)
Device 1: NVIDIA GeForce RTX 4090 (00000000:41:00)
Device 2: NVIDIA GeForce RTX 4090 (00000000:81:00)

Running host_to_device_memcpy_ce.
memcpy CE CPU(row) -> GPU(column) bandwidth (GB/s)
           0         1         2
 0     26.33     26.31      3.22

SUM host_to_device_memcpy_ce 55.86

Running device_to_device_memcpy_read_ce.
{waived}
Running device_to_device_memcpy_write_ce.
memcpy CE GPU(row) <- GPU(column) bandwidth (GB/s)
           0         1         2
 0       N/A     25.10      3.10
 1     25.11       N/A      3.11
 2      3.12      3.09       N/A

SUM device_to_device_memcpy_write_ce 62.6
"""


@pytest.mark.parametrize("waived", ["Waived: ", "WAIVED: "])
def test_a_card_that_is_slow_twice_has_each_step_once(waived: str, tmp_path: Path) -> None:
    found = told(tmp_path, NVBANDWIDTH.format(waived=waived))
    problem, = [problem for problem in found.problems if problem.rule == "slow-card"]
    assert len(problem.events) == 2
    assert not [pair for pair in combinations(problem.help, 2) if alike(*pair)]
    assert len(problem.help) == 3


def test_a_card_is_named_once_in_a_title(tmp_path: Path) -> None:
    text = (CORPUS / "gpu-burn" / "one-faulty.txt").read_text()
    problem, = told(tmp_path, text).problems
    assert problem.title.startswith("GPU 2 computed wrong products")


def test_a_card_that_is_not_in_the_database_is_a_gpu(tmp_path: Path) -> None:
    found = told(tmp_path, NVBANDWIDTH.format(waived="Waived: ").replace("GeForce RTX 4090", "QX 1234"))
    assert found.machines[0].gpus() == ("0000:01:00.0", "0000:41:00.0", "0000:81:00.0")
    assert found.problems[0].where == "NVIDIA QX 1234 81:00.0"

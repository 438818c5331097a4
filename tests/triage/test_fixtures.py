"""Every text of other people's machines that is at hand: what triage finds in it, held as it was agreed by hand.

`python -m tests.triage.test_fixtures` writes the table anew; read its diff line by line. Skipped without ../shared.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from boxcheck.triage.account import triage

FIXTURES = Path(__file__).parents[3] / "shared" / "fixtures"
TABLE = Path(__file__).parent / "fixtures.json"
NO_TEXT = {".xml", ".ttar", ".json"}
BENIGN = (
    "issues/bar-io-nospace-benign-epyc7r13.log", "issues/bwlimited-rx6800-b450.log", "issues/bwlimited-vega56-rpi5.log",
    "issues/cmdline-4090-tr-7.0.txt", "lkml/dpc-rp-pio-log.log", "lkml/dmesg-nvme-2024.log", "gpud/kmsg.1.log",
    "gpud/lspci-vvv.dell-h100", "gpud/lspci.nn.a10", "stelline/asus-esc8000a-e12.md",
    "linuxhw-LsPCI/ROMED8-2T-B3DE8D2A1D8F-6.2.0.excerpt.lspci", "thamada-nvidia-smi/L40S.out_a.q.txt",
    "nvidia_gpu_exporter/linux-x86_64__nvidia-geforce-rtx-4080-super__595.71.05.txt",
)
"""Texts of machines without a fault that hold what is often taken for one: chipset bandwidth, I/O windows, sizes of
error logs, idle links, ordinary boots."""

pytestmark = pytest.mark.skipif(not FIXTURES.is_dir(), reason="../shared/fixtures is not beside this checkout")


def places() -> list[Path]:
    return sorted(
        place for place in FIXTURES.rglob("*")
        if place.is_file() and place.suffix not in NO_TEXT and place.name not in ("README.md", "SOURCES.md"))


def entry(place: Path) -> dict[str, object]:
    """What is found in a text, short enough to be read."""
    found = triage([str(place)])
    events = Counter(f"{sighting.event.severity} {sighting.kind}" for sighting in found.events)
    return {
        "holds": [piece.split(" of Linux ")[0].split(", from ")[0] for piece in found.sources[0].pieces],
        "events": dict(sorted(events.items())),
        "problems": [f"{problem.rule}: {problem.title}" for problem in found.faults],
    }


def table() -> dict[str, dict[str, object]]:
    return {str(place.relative_to(FIXTURES)): entry(place) for place in places()}


@pytest.mark.parametrize("name", sorted(json.loads(TABLE.read_text())) if TABLE.exists() else [])
def test_a_text_gives_what_was_agreed(name: str) -> None:
    assert entry(FIXTURES / name) == json.loads(TABLE.read_text())[name]


def test_no_text_is_without_its_row() -> None:
    assert {str(place.relative_to(FIXTURES)) for place in places()} == set(json.loads(TABLE.read_text()))


@pytest.mark.parametrize("name", BENIGN)
def test_nothing_frightens_in_a_text_without_a_fault(name: str) -> None:
    found = triage([str(FIXTURES / name)])
    assert [(sighting.kind, sighting.event.says) for sighting in found.events if sighting.bad] == []
    assert found.faults == ()
    assert found.recognised


if __name__ == "__main__":
    TABLE.write_text(json.dumps(table(), indent=1, ensure_ascii=False) + "\n")

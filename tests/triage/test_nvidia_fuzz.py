"""Hostile outputs: no reader raises, lines and events stay bounded, and time grows with length only.

    BOXCHECK_FUZZ_EXAMPLES=20000 .venv/bin/python -m pytest tests/triage/test_nvidia_fuzz.py

runs each property that many times.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from boxcheck.triage.evidence import Evidence, Section
from boxcheck.triage.tools import (
    amd_smi,
    device_query,
    dmidecode,
    nvidia_smi,
    nvidia_topo,
    rocm_smi,
    rocminfo,
)

CORPUS = Path(__file__).parents[1] / "corpus"
READERS: dict[str, Any] = {
    "nvidia-smi": nvidia_smi, "topo": nvidia_topo, "devicequery": device_query, "rocm-smi": rocm_smi,
    "amd-smi": amd_smi, "rocminfo": rocminfo, "dmidecode": dmidecode,
}
fuzz = settings(max_examples=int(os.environ.get("BOXCHECK_FUZZ_EXAMPLES", "60")), deadline=None,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def seeds(name: str) -> list[str]:
    """Own texts that the reader begins on, from their first line of it."""
    reader = READERS[name]
    found = []
    folder = "nvidia-smi" if name in ("topo", "devicequery") else name
    for path in sorted((CORPUS / folder).glob("*.txt")):
        lines = path.read_text().splitlines()
        start = next((at for at, line in enumerate(lines) if reader.begins(line) is not None), None)
        if start is not None:
            found.append("\n".join(lines[start:]))
    assert found, name
    return found


VALUES = ("N/A", "-1", "9" * 400, "nan", "1e999", "ERR!", "[Unknown Error]", "GPU is lost", "", "\u0663", "\u00b2", "0x", "::",
          "\x1b[31m", "<&;>", "%s{}", "=" * 90, "GPU 00000000:41:00.0", "Memory Device", "0000:41:00.0", "16x", "\ud800")


@st.composite
def mutated(draw: st.DrawFn, name: str) -> list[str]:
    """A text with lines dropped, doubled, moved, cut, and values replaced."""
    lines = draw(st.sampled_from(SEEDS[name])).split("\n")
    for _ in range(draw(st.integers(0, 8))):
        at = draw(st.integers(0, len(lines) - 1))
        what = draw(st.integers(0, 6))
        if what == 0 and len(lines) > 1:
            del lines[at]
        elif what == 1:
            lines.insert(at, lines[draw(st.integers(0, len(lines) - 1))])
        elif what == 2:
            lines[at] = lines[at][:draw(st.integers(0, 80))]
        elif what == 3:
            head, colon, _ = lines[at].rpartition(":")
            lines[at] = f"{head}{colon} {draw(st.sampled_from(VALUES))}"
        elif what == 4:
            lines[at] = draw(st.text(max_size=120))
        elif what == 5:
            words = lines[at].split(" ")
            words[draw(st.integers(0, len(words) - 1))] = draw(st.sampled_from(VALUES))
            lines[at] = " ".join(words)
        else:
            lines[at] = " ".join(lines[at].split())
    return lines


SEEDS = {name: seeds(name) for name in READERS}


def check(found: Evidence, lines: Sequence[str], first: int) -> None:
    assert len(found.events) <= 4000
    assert len(found.devices) <= 4000
    for event in found.events:
        assert first <= event.line < first + len(lines)
        assert event.says
        assert "\x1b" not in "".join(event.labels)
        assert "\x1b" not in event.says + event.text
        assert event.count >= 1
    for device in found.devices:
        assert first <= device.line < first + len(lines)
        assert device.vram_bytes is None or device.vram_bytes >= 0
        assert "\x1b" not in f"{device.name}{device.serial}{device.uuid}{device.slot}"
        assert not any("\x1b" in str(value) for value in device.more.values())
    told = json.dumps([dict(found.readings), dict(found.box), found.notes, found.tool])
    assert "\\u001b" not in told


@pytest.mark.parametrize("name", sorted(READERS))
def test_fuzz(name: str) -> None:
    reader = READERS[name]

    @fuzz
    @given(lines=mutated(name), first=st.integers(1, 10 ** 9))
    def run(lines: list[str], first: int) -> None:
        variants = {variant for line in lines if (variant := reader.begins(line)) is not None}
        for variant in variants:
            for line in lines:
                reader.belongs(variant, line)
            check(reader.read(Section(variant=variant, lines=tuple(lines), first_line=first)), lines, first)

    run()


@fuzz
@given(value=st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(VALUES),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(("gpu", "gpu_data", "bus", "bdf", "pcie", "ecc", "value", "unit", "card0", "PCI Bus", "width")),
        inner, max_size=6), max_leaves=20))
def test_fuzz_json(value: Any) -> None:
    for reader in (amd_smi, rocm_smi):
        reader.read_json(value)


HOSTILE = {
    "equals": "=" * 400 + "x", "blanks": " " * 60_000, "pipes": "|" * 60_000, "digits": "9" * 60_000,
    "commas": ", ".join(["name"] * 10_000), "gpu0": "GPU0 " * 12_000, "colon": "a:" * 30_000, "angle": "<a>" * 20_000,
    "key": "    Product Name" + " " * 50_000 + ": x", "words": "AMD " * 15_000, "long name": "A" * 60_000 + ":",
    "brackets": "GPU[" * 15_000, "uuid": "GPU 0: " + "x" * 50_000 + " (UUID: GPU-", "address": "0000:03:00.0 " * 5_000,
}


@pytest.mark.parametrize("shape", sorted(HOSTILE))
@pytest.mark.parametrize("name", sorted(READERS))
def test_overlong_lines_take_no_longer_than_they_are_long(name: str, shape: str) -> None:
    """20 such lines: the slowest of them took 0.1 s on two cores; quadratic time would take minutes."""
    reader = READERS[name]
    variant = next(variant for line in SEEDS[name][0].splitlines() if (variant := reader.begins(line)) is not None)
    lines = (SEEDS[name][0].splitlines()[0], *[HOSTILE[shape]] * 20)
    begun = time.process_time()
    for line in lines:
        reader.begins(line)
        reader.belongs(variant, line)
    check(reader.read(Section(variant=variant, lines=lines, first_line=1)), lines, 1)
    assert time.process_time() - begun < 3.0


@pytest.mark.parametrize("name", sorted(READERS))
def test_a_million_devices_are_cut_short(name: str) -> None:
    reader = READERS[name]
    text = max(SEEDS[name], key=len).splitlines()
    variant = next(variant for line in text if (variant := reader.begins(line)) is not None)
    lines = tuple(text * (60_000 // len(text)))
    begun = time.process_time()
    found = reader.read(Section(variant=variant, lines=lines, first_line=1))
    assert time.process_time() - begun < 10.0
    check(found, lines, 1)

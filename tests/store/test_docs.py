"""docs/reference/store.md says what is so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from boxcheck.commands.runs import salvage
from boxcheck.store import clocks, folding, making, pending, schema, writer
from boxcheck.store.creating import create_run
from boxcheck.store.errors import StoreError
from boxcheck.store.rows import RunInfo
from tests.store.machine import HandClock, Machine

PAGE = (Path(__file__).parents[2] / "docs/reference/store.md").read_text()


def test_every_table_and_column_is_described() -> None:
    described = {match[1]: match[0] for match in re.finditer(r"(?m)^\| `(\w+)` \|.*\|$", PAGE)}
    for table in schema.TABLES.values():
        missing = [name for name, _ in table.columns if f"`{name}`" not in described[table.name]]
        assert not missing, table.name
    assert all(f"`{name}`" in described["copies"] for name in schema.COPIED)


def test_the_figures_are_those_of_the_code() -> None:
    assert f"0x{schema.APPLICATION_ID:08X}" in PAGE
    assert f"the version of these tables: {schema.VERSION}." in PAGE
    for number, noun in (
        (pending.TELEMETRY_BYTES >> 20, "MiB for telemetry"), (pending.SAMPLE_BYTES >> 20, "MiB for samples"),
        (pending.OTHER_BYTES >> 20, "MiB for events"), (schema.BLOB_LIMIT >> 20, "MiB"),
        (f"{making.MOST_WORDS:,}".replace(",", " "), "words"), (writer.HOST_SECONDS, "s is kept"),
        (f"{clocks.LONGEST_AWAY_SECONDS / 86400:g}", "days"),
    ):
        assert f"{number} {noun}" in " ".join(PAGE.split())
    assert folding.FOLD_MS == 60_000, "about a minute"


def test_the_example_reads_a_store_without_boxcheck(tmp_path: Path) -> None:
    hand, machine = HandClock(), Machine(1, links=2)
    store = create_run(str(tmp_path), RunInfo(kind="burn", version="0.4.0"), clock=hand.clock())
    told = []
    for _ in range(30):
        hand.pass_by(1)
        (gpu, *_) = machine.told_by(0, hand.monotonic, host=False)
        told.append(gpu.power_watts)  # type: ignore[union-attr]
        store.watched(0, [gpu])
    store.end("finished")
    (example,) = re.findall(r"(?s)```python\n(.*?)```", PAGE)
    assert "boxcheck" not in example
    done = subprocess.run(
        [sys.executable, "-c", example.replace("RUN.sqlite", store.path)], capture_output=True, text=True, check=True)
    assert done.stdout == f"1000 {told}\n"


def test_salvage_by_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = create_run(str(tmp_path), RunInfo(kind="burn", version="0.4.0"))
    for number in range(200):
        store.event("tick", f"event {number}, which takes some room on a page")
    store.end("finished")
    assert salvage(store.path, str(tmp_path / "one.sqlite")) == 0
    assert "200 events" in capsys.readouterr().out
    data = bytearray(Path(store.path).read_bytes())
    place = data.rindex(b"event 77,")
    data[place + 6:place + 8] = b"78"
    Path(store.path).write_bytes(data)
    assert salvage(store.path, str(tmp_path / "two.sqlite")) == 3
    assert "missing 1 events\n1 rows were found damaged" in capsys.readouterr().out
    with pytest.raises(StoreError, match=f"{tmp_path}/two.sqlite is there already") as caught:
        salvage(store.path, str(tmp_path / "two.sqlite"))
    assert caught.value.help == "choose another name"

"""What is kept of a kernel, and what a newer one shows otherwise, without a guest: from the captures that are kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.kernel import record
from tests.kernel.fetch import Bench, Kernel

OLD, NEW = (record.KEPT / f"errors-{series}.tar.gz" for series in ("6.1", "6.12"))


def test_what_a_newer_kernel_shows_otherwise_is_named() -> None:
    """AER's words changed between the two, the labels of its counters did not."""
    lines = record.compare(OLD, NEW)
    assert any(line.startswith("- log ") and "Corrected error message received" in line for line in lines)
    assert any(line.startswith("+ log ") and "Correctable error message received" in line for line in lines)
    assert not [line for line in lines if line[2:].startswith("counter")]


def test_the_same_kernel_once_more_shows_nothing_otherwise() -> None:
    assert record.compare(OLD, OLD) == []


def test_a_label_a_file_and_a_finding_that_changed_are_named(tmp_path: Path) -> None:
    import io
    import tarfile

    changed = tmp_path / "changed.tar.gz"
    with tarfile.open(OLD) as old, tarfile.open(changed, "w:gz") as new:
        for member in old.getmembers():
            file = old.extractfile(member) if member.isfile() else None
            data = file.read() if file else b""
            if member.name.endswith("/aer_dev_correctable"):
                data = data.replace(b"RxErr 3", b"Receiver 3")
            if member.name.endswith("/aer_rootport_total_err_fatal"):
                continue
            member.size = len(data)
            new.addfile(member, io.BytesIO(data))
    lines = record.compare(OLD, changed)
    assert "+ counter aer_dev_correctable: Receiver" in lines
    assert [line for line in lines if line.startswith("- file ") and line.endswith("/aer_rootport_total_err_fatal")]
    assert [line for line in lines if line.startswith("+ finding aer.uncorrectable")]


@pytest.mark.parametrize("words", [[], ["--dry"]])
def test_a_capture_takes_its_place_unless_told_not_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    shutil.copy(OLD, tmp_path)
    monkeypatch.setattr(record, "KEPT", tmp_path)
    monkeypatch.setattr(record, "INDEX", tmp_path / "index.json")
    monkeypatch.setattr(record, "fetch", lambda: Bench("qemu", "10.0.2", (Kernel("6.12.117+deb12-amd64", "6.12"),)))
    monkeypatch.setattr(record, "take", lambda bench, kernel, scenario: NEW.read_bytes())
    assert record.record(["errors", *words]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[0] == "errors on 6.12.117+deb12-amd64: the first capture"
    kept = {"errors-6.1.tar.gz"} if words else {"errors-6.1.tar.gz", NEW.name, "index.json"}
    assert {path.name for path in tmp_path.iterdir()} == kept
    if not words:
        assert json.loads((tmp_path / "index.json").read_text())[NEW.name]["kernel"] == "6.12.117+deb12-amd64"
        assert record.record(["errors"]) == 0
        assert "against errors-6.12.tar.gz: nothing changed" in capsys.readouterr().out


def test_a_scenario_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert record.record(["no-such"]) == 2
    assert capsys.readouterr().err.startswith("no scenario is called no-such; there are wopr, errors,")

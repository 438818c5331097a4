"""`boxcheck triage` as a person and as a script meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.report.schemas import published, strict
from tests.triage.texts import BUSES, aer, fell

FAILING = BUSES + aer(499.0, "0000:40:01.1", 6, "BadTLP") + fell(500.0, "41")
WATCH = BUSES + aer(499.0, "0000:40:01.1", 6, "BadTLP")
BENIGN = BUSES + "[    1.0] pcieport 0000:40:01.1: DPC: RP PIO log size 0 is invalid\n"


def run(*arguments: str, text: str | bytes = "", **environment: str) -> subprocess.CompletedProcess[str]:
    import os

    return subprocess.run(
        [sys.executable, "-m", "boxcheck", "triage", *arguments], capture_output=True, text=True, timeout=60,
        input=text if isinstance(text, str) else text.decode("latin-1"), env={**os.environ, **environment})


@pytest.fixture
def log(tmp_path: Path) -> Path:
    place = tmp_path / "dmesg.txt"
    place.write_text(FAILING)
    return place


def test_a_failing_event_is_exit_code_1(log: Path) -> None:
    done = run(str(log))
    assert done.returncode == 1
    assert "the link of RTX 4090 41:00.0 failed, and the GPU with it" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(("text", "options", "code", "word"), [
    (WATCH, (), 0, "WARN"), (WATCH, ("--strict",), 1, "WARN"), (BENIGN, (), 0, "NOTHING"), ("hello\n", (), 3, "UNKNOWN"),
    ("", (), 3, "UNKNOWN"), (FAILING, ("--only", "aer"), 0, "WARN"), (FAILING, ("--only", "xid,gpu-lost"), 1, "FAIL"),
    (FAILING, ("--since", "499.5"), 1, "FAIL"), (FAILING, ("--since", "600"), 0, "NOTHING"),
])
def test_exit_codes(text: str, options: tuple[str, ...], code: int, word: str) -> None:
    done = run("-", *options, text=text)
    assert done.returncode == code, done.stdout + done.stderr
    assert word in done.stdout.splitlines()[-4:][0] or any(line.startswith(word) for line in done.stdout.splitlines())


def test_nothing_is_no_verdict_on_the_machine() -> None:
    done = run("-", text=BENIGN)
    assert "no verdict on the machine" in " ".join(done.stdout.split())
    assert "PASS" not in done.stdout


def test_what_is_not_recognised_is_no_pass() -> None:
    done = run("-", text="all is well\n" * 50)
    assert done.returncode == 3
    assert "nothing that boxcheck knows" in done.stdout


@pytest.mark.parametrize(("arguments", "words"), [
    (("/nonexistent/dmesg",), "no such file"), (("-", "--since", "yesterday evening"), "is no time"),
    (("-", "--only", "xidd"), "did you mean xid?"),
    (("-", "--only", "xid,nonsense"), "no kind of event"), (("-", "--json", ""), "is empty"), (("-", "--no-such"), "has no option --no-such"),
])
def test_usage_is_one_error_and_exit_code_2(arguments: tuple[str, ...], words: str) -> None:
    done = run(*arguments, text=WATCH)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def document(*texts: str, tmp_path: Path) -> dict[str, Any]:
    places = []
    for number, text in enumerate(texts):
        place = tmp_path / f"{number}.txt"
        place.write_text(text)
        places.append(str(place))
    done = run("--json", "-", *places)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("text", [FAILING, WATCH, BENIGN, "hello\n", ""], ids=["fail", "watch", "benign", "none", "empty"])
def test_json_is_what_its_schema_says(text: str, tmp_path: Path) -> None:
    found = document(text, tmp_path=tmp_path)
    jsonschema.validate(found, published("triage.schema.json"))
    jsonschema.validate(found, strict(published("triage.schema.json")))


def test_json_holds_what_the_contract_promises(tmp_path: Path) -> None:
    found = document(FAILING, tmp_path=tmp_path)
    assert found["outcome"] == "fail"
    lost = next(event for event in found["events"] if event["kind"] == "xid")
    assert lost["bdf"] == "0000:41:00.0"
    assert lost["labels"] == ["79"]
    assert lost["line"] == 12
    assert lost["file"].endswith("0.txt")
    assert found["problems"][0]["events"] == [0, 1, 2]
    assert {device["bdf"] for device in found["devices"]} >= {"0000:40:01.1", "0000:41:00.0"}


def test_only_data_on_standard_output(log: Path) -> None:
    done = run(str(log), "--json", "-")
    assert done.returncode == 1
    json.loads(done.stdout)
    assert done.stderr == ""


def test_plain_is_one_event_a_line(log: Path) -> None:
    rows = run(str(log), "--plain").stdout.splitlines()
    assert rows[0].startswith("warn aer-correctable 40:01.1 x1 ")
    assert rows[1].startswith("fail xid 41:00.0 x1 ")


@pytest.mark.parametrize("columns", [40, 80, 120, 200])
def test_the_account_fits_the_terminal(log: Path, columns: int) -> None:
    done = run(str(log), COLUMNS=str(columns))
    # A command is never broken, so that it can be copied.
    lines = [line for line in done.stdout.replace(str(log), "").splitlines() if "boxcheck explain" not in line and "sudo " not in line]
    widest = max(lines, key=len)
    assert len(widest) <= columns, widest


def test_no_colour_no_control_characters(log: Path) -> None:
    hostile = FAILING + "[  501.0] usb \x1b]0;owned\x07 *ERROR* \x1b[2J failed \u202e\n"
    done = run("-", text=hostile)
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout
    assert "\x1b[" in run(str(log), "--color", "always").stdout


def test_ascii_is_ascii(log: Path) -> None:
    done = run(str(log), "--ascii", "-v")
    assert done.stdout.isascii()


def test_the_shortest_account_names_what_it_found(log: Path) -> None:
    whole, short = run(str(log)).stdout, run(str(log), "-q").stdout
    assert len(short.splitlines()) <= 3
    assert "see above" not in short
    title = whole.partition("problem 1 of 1: ")[2].partition("  ")[0]
    assert title
    assert title in " ".join(short.split())
    watched = run("-", "-q", text=WATCH).stdout
    assert "above" not in watched
    assert "40:01.1" in watched

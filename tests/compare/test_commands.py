"""`boxcheck compare`, `boxcheck yield` and `boxcheck judge` on the command line: real stores and captures, exit codes,
schemas, and what is no run at all."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import jsonschema
import msgspec
import pytest

from boxcheck.certify.contents import ACCEPTANCE
from boxcheck.golden.reference import parse_reference, reference_bytes
from tests.boxes import build
from tests.certify.attempt import acceptance
from tests.compare.test_yield import put
from tests.golden.test_reference import GOOD
from tests.report.scenes import Scene
from tests.report.scenes import made as scene_made
from tests.report.schemas import published, strict

Ran = tuple[int, str, str]


@pytest.fixture
def boxcheck(tmp_path: Path) -> Callable[..., Ran]:
    """As somebody calls it, with a home of their own."""
    def call(*words: object, **environment: str) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "boxcheck", *map(str, words)], capture_output=True, text=True, timeout=120,
            env={**os.environ, "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state"), "LC_ALL": "C.UTF-8",
                 "PYTHONPATH": str(Path(__file__).parents[2]), **environment})
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout, done.stderr

    return call


@cache
def capture(box: str) -> str:
    path = f"{mkdtemp(prefix='boxcheck-test-')}/{box}.tar.gz"
    build(box).write_tar(path)
    return path


@cache
def scene(name: str) -> Scene:
    """A run with short phases, made once."""
    return scene_made(name, mkdtemp(prefix="boxcheck-test-"), 0.2)


def attempt(folder: Path, name: str) -> Path:
    """The folder of an attempt with the run of a scene."""
    folder.mkdir()
    shutil.copyfile(scene(name).path, folder / "run.sqlite")
    told = scene(name).acceptance or acceptance(disposition="INCOMPLETE", verdict="unknown")
    (folder / ACCEPTANCE).write_bytes(msgspec.json.encode(told))
    return folder


def test_a_box_before_and_after_its_riser_as_captures(boxcheck: Callable[..., Ran]) -> None:
    code, out, err = boxcheck("compare", capture("wopr-7x4090+riser-x8"), capture("wopr-7x4090"))
    assert (code, err) == (0, "")
    assert "one box twice: by its name" in out
    assert "better  pcie.link-width: fail  8 lanes -> 16 lanes" in out
    assert "better  link width: x8 -> x16" in out
    assert out.splitlines()[-1].startswith("3 differences: 2 judged otherwise, 1 in what the box has; ")


def test_a_run_and_the_capture_of_its_box(boxcheck: Callable[..., Ran]) -> None:
    code, out, _ = boxcheck("compare", capture("wopr-7x4090"), scene("bad-riser").path)
    assert code == 0
    assert "load was run in B alone" in out
    assert "worse   pcie.link-width: 16 lanes -> fail  8 lanes" in out


def test_runs_side_by_side_as_json_by_its_schema(boxcheck: Callable[..., Ran], tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    code, out, err = boxcheck("compare", scene("passing").path, attempt(tmp_path / "a", "bad-riser"), "--json", "-", "--csv", table)
    assert (code, err) == (0, "")
    found = json.loads(out)
    jsonschema.validate(found, strict(published("comparison.schema.json")))
    assert (found["b"]["source"], found["b"]["disposition"]) == ("attempt", "FAIL")
    first = found["differences"][0]
    assert (first["what"], first["a"]["text"], first["b"]["text"]) == ("verdict", "pass", "FAIL")
    measured = {one["where"] for one in found["differences"] if one["section"] == "measured" and one["unit"] == "GB/s"}
    assert measured == {"PCIE3"}
    assert table.read_text().count("\n") == len(found["differences"]) + 1


def test_a_run_that_was_cut_off_is_compared_as_far_as_it_came(boxcheck: Callable[..., Ran]) -> None:
    code, out, _ = boxcheck("compare", scene("passing").path, scene("crashed").path)
    assert code == 0
    assert "verdict: pass -> no verdict: crashed" in out
    assert "! it did not come to its end" in out
    assert "what p2p measured is not compared: B: it did not come to its end on all devices" in " ".join(out.split())


@pytest.mark.parametrize(("one", "other", "code"), [
    ("wopr-7x4090", "wopr-7x4090", 0), ("wopr-7x4090", "wopr-7x4090+riser-x8", 1), ("wopr-7x4090+not-root", "wopr-7x4090+not-root", 3)])
def test_what_a_script_is_told(boxcheck: Callable[..., Ran], tmp_path: Path, one: str, other: str, code: int) -> None:
    """The same box captured twice: the same bytes are the same capture, so that one is a folder."""
    folder = tmp_path / "again"
    build(other).write_dir(folder)
    assert boxcheck("compare", capture(one), folder, "--fail-on-change", "-q")[0] == code
    assert boxcheck("compare", capture(one), folder, "-q")[0] == 0


def test_many_as_tables_by_their_schema(boxcheck: Callable[..., Ran]) -> None:
    three = [scene(name).path for name in ("passing", "bad-riser", "crashed")]
    code, out, err = boxcheck("compare", *three, "--json", "-", "-v", "--fail-on-change")
    found = json.loads(out)
    jsonschema.validate(found, strict(published("comparison-table.schema.json")))
    assert code == 1
    odd = {table["what"]: [(cell["input"], cell["where"], cell["stands_out"]) for cell in table["cells"] if cell["stands_out"]]
           for table in found["tables"]}
    assert odd["copy.host-to-device.pinned"] == odd["p2p.one-way.kernel-read"] == [("B", "PCIE3", "low")]
    assert odd["link width"] == [], "its link fell under load, after it had been read"
    assert "link width, lanes   RTX 4090" in err
    assert re.search(r"^ *PCIE3 .*\d !", err, re.MULTILINE)


def test_doctors_json_is_compared_and_says_what_it_lacks(boxcheck: Callable[..., Ran], tmp_path: Path) -> None:
    for at, box in enumerate(("wopr-7x4090", "wopr-7x4090+riser-x8")):
        boxcheck("doctor", "--sysroot", capture(box), "--json", tmp_path / f"{at}.json", "-q")
    code, out, _ = boxcheck("compare", tmp_path / "0.json", tmp_path / "1.json")
    assert code == 0
    assert "worse   pcie.link-width: 16 lanes -> fail  8 lanes" in out
    assert "a record of doctor holds what it found, not what the machine has" in " ".join(out.split())


def test_runs_of_the_list_by_their_names(boxcheck: Callable[..., Ran], tmp_path: Path) -> None:
    folder = tmp_path / "state" / "boxcheck" / "runs"
    folder.mkdir(parents=True)
    for name in ("passing", "bad-riser"):
        shutil.copyfile(scene(name).path, folder / f"2026-{name}.sqlite")
    code, out, _ = boxcheck("compare", "2026-passing", "2026-bad", "-q")
    assert (code, "judged otherwise" in out) == (0, True)


@pytest.mark.parametrize(("content", "says"), [
    (b"SQLite format 3\0" + bytes(4000), "error"), (b"{", "is JSON, but no account of doctor"),
    (b'{"schema": "other/1"}', "no account of doctor"), (b"", "error"), (b"\x7fELF" + bytes(64), "error"),
    (b"[" * 100_000, "error")])
def test_what_is_no_run_is_one_clear_error(boxcheck: Callable[..., Ran], tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "foreign"
    path.write_bytes(content)
    code, out, err = boxcheck("compare", capture("wopr-7x4090"), path)
    assert (code, out) == (2, "")
    assert says in err
    assert err.startswith("error: ")


@pytest.mark.parametrize("turned", [False, True])
def test_a_pipe_is_no_side_and_is_not_waited_for(boxcheck: Callable[..., Ran], tmp_path: Path, turned: bool) -> None:
    os.mkfifo(tmp_path / "pipe")
    sides = [tmp_path / "pipe", capture("wopr-7x4090")]
    code, out, err = boxcheck("compare", *(reversed(sides) if turned else sides))
    assert (code, out) == (2, "")
    assert "pipe: is no file" in err


def test_a_damaged_store_says_what_could_be_saved(boxcheck: Callable[..., Ran], tmp_path: Path) -> None:
    path = tmp_path / "damaged.sqlite"
    data = bytearray(Path(scene("passing").path).read_bytes())
    for at in range(8192, len(data), 4096):
        data[at:at + 64] = b"\xff" * 64
    path.write_bytes(data)
    code, _, err = boxcheck("compare", scene("passing").path, path)
    assert code == 2
    assert err.count("error: ") == 1


def test_the_same_twice_and_too_few_are_mistakes(boxcheck: Callable[..., Ran], tmp_path: Path) -> None:
    copy = tmp_path / "copy.sqlite"
    shutil.copyfile(scene("passing").path, copy)
    for words, says in (((scene("passing").path, copy), "are the same"), ((copy, copy), "are the same"),
                        ((copy,), "one side is not enough"), ((copy, "no-such-run"), "no run is called"),
                        ((copy, tmp_path), "holds neither a capture nor an attempt"), ((capture("laptop"), copy, "--json", "-", "--csv", "-"), "only one of them")):
        code, _, err = boxcheck("compare", *words)
        assert (code, says in err) == (2, True), err


def test_a_profile_that_judges_nothing_is_a_mistake(boxcheck: Callable[..., Ran]) -> None:
    code, _, err = boxcheck("compare", scene("passing").path, scene("bad-riser").path, "--profile", "generic")
    assert (code, "none of these is one" in err) == (2, True)
    code, out, _ = boxcheck("compare", capture("wopr-7x4090"), scene("bad-riser").path, "--profile", "generic")
    assert (code, "profile generic" in out) == (0, True)


def test_the_folder_of_an_attempt_without_its_run(boxcheck: Callable[..., Ran], tmp_path: Path) -> None:
    folder = attempt(tmp_path / "a", "passing")
    (folder / "run.sqlite").unlink()
    code, _, err = boxcheck("compare", capture("laptop"), folder)
    assert (code, "holds its run" in err) == (2, True)


def test_a_compared_folder_stays_as_it_is(boxcheck: Callable[..., Ran], tmp_path: Path) -> None:
    folder = attempt(tmp_path / "a", "crashed")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert boxcheck("compare", scene("passing").path, folder, "-q")[0] == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("columns", ["80", "200"])
def test_the_text_fits_and_needs_no_colour(boxcheck: Callable[..., Ran], columns: str) -> None:
    code, out, _ = boxcheck("compare", scene("passing").path, scene("bad-riser").path, "--ascii", COLUMNS=columns, NO_COLOR="1")
    assert (code, out.isascii()) == (0, True)
    assert max(map(len, out.splitlines())) <= int(columns)
    assert "\x1b" not in out


def test_a_reference_measurement_is_laid_beside_and_not_compared(boxcheck: Callable[..., Ran], tmp_path: Path) -> None:
    path = tmp_path / "rates of a box.json"
    path.write_bytes(reference_bytes(parse_reference(msgspec.json.encode(GOOD), "x")))
    code, out, err = boxcheck("compare", scene("passing").path, path)
    assert (code, out) == (2, "")
    assert "is a reference measurement, which holds rates of cards and no findings" in err
    assert f"boxcheck profile beside RUN '{path}'" in " ".join(err.split())


# yield


def test_the_yield_of_a_line_by_its_schema(boxcheck: Callable[..., Ran], tmp_path: Path) -> None:
    line = tmp_path / "line"
    for number in range(8):
        put(line, f"W-{number}", 1, "FAIL" if number < 2 else "PASS", "pcie.link-width PCIE3" if number < 2 else "")
    put(line, "W-0", 2, "PASS", day=1)
    code, out, err = boxcheck("yield", line, "--by", "station", "--json", "-")
    assert (code, err) == (0, "")
    found = json.loads(out)
    jsonschema.validate(found, strict(published("yield.schema.json")))
    assert (found["total"]["first_pass"]["passed"], found["total"]["first_pass"]["of"]) == (6, 8)
    code, out, _ = boxcheck("yield", line, "--until", "2026-11-28")
    assert "first-pass yield   75.0 % (6 of 8), between 34.9 and 96.8 %" in out
    assert "final yield        75.0 % (6 of 8)" in out
    assert "pcie.link-width     2  100 %  sum 100 %" in out


def test_a_damaged_attempt_makes_the_yield_incomplete(boxcheck: Callable[..., Ran], tmp_path: Path) -> None:
    put(tmp_path / "line", "W-1")
    (tmp_path / "line" / "W-2" / "attempt-01").mkdir(parents=True)
    (tmp_path / "line" / "W-2" / "attempt-01" / ACCEPTANCE).write_text("{")
    code, out, _ = boxcheck("yield", tmp_path / "line")
    assert (code, "! " in out, "W-2" in out) == (3, True, True)


def test_nothing_to_count_and_windows_that_are_none(boxcheck: Callable[..., Ran], tmp_path: Path) -> None:
    put(tmp_path / "line", "W-1")
    (tmp_path / "empty").mkdir()
    for words, says in (((tmp_path / "empty",), "no attempt lies in"), ((), "no attempt lies in"),
                        ((tmp_path / "line", "--since", "yesterday"), "is no time"),
                        ((tmp_path / "line", "--since", "2026-11-02", "--until", "2026-11-01"), "ends before it begins"),
                        ((tmp_path / "line", "--by", "colour"), "colour")):
        code, _, err = boxcheck("yield", *words)
        assert (code, says in err) == (2, True), err


# judge


def test_the_folder_of_an_attempt_is_judged_and_stays_as_it_is(boxcheck: Callable[..., Ran], tmp_path: Path) -> None:
    folder = attempt(tmp_path / "a", "bad-riser")
    before = (folder / "run.sqlite").read_bytes()
    code, out, _ = boxcheck("judge", folder)
    assert (code, "FAIL" in out) == (1, True)
    assert (folder / "run.sqlite").read_bytes() == before


def test_a_run_is_judged_by_the_profile_that_another_keeps_and_by_a_revision(boxcheck: Callable[..., Ran], tmp_path: Path) -> None:
    run = scene("bad-riser").path
    own = boxcheck("judge", run, "--profile", "wopr-7x4090")
    assert boxcheck("judge", run, "--profile", scene("passing").path)[:2] == own[:2]
    assert boxcheck("judge", run, "--profile", attempt(tmp_path / "a", "passing"))[:2] == own[:2]
    assert boxcheck("judge", run, "--profile", "wopr-7x4090@1")[:2] == own[:2]
    code, _, err = boxcheck("judge", run, "--profile", "wopr-7x4090@99")
    assert code == 2
    assert "is r1 here, not r99" in err


def test_a_profile_file_judges_by_its_own_limits(boxcheck: Callable[..., Ran], tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "profiles" / "wopr-7x4090.toml").read_text()
    own = tmp_path / "own.toml"
    own.write_text(text.replace('name = "wopr-7x4090"', 'name = "wopr-own"').replace(
        "[burn]", "[copy]\nhost_to_device_gbs = { must = 30.0 }\n\n[burn]") + (
        '\n[[source]]\nlimit = "copy.host_to_device_gbs"\nfrom = "a limit of this test"\n'))
    code, out, _ = boxcheck("judge", scene("passing").path, "--profile", own)
    assert (code, "must be at least 30" in out) == (1, True), out

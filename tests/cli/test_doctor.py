"""`boxcheck doctor` as a user meets it: exit codes, what goes to which stream, bad input without a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.boxes import build


def boxcheck(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "boxcheck", *words], capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment})


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("captures")
    names = ("wopr-7x4090", "wopr-7x4090+riser-x8", "wopr-7x4090+gpu-fallen-off", "wopr-7x4090-one-reading", "laptop",
             "wopr-7x4090+badtlp-card")
    return {name: str(build(name).write_tar(folder / f"{name}.tar.gz")) for name in names}


@pytest.mark.parametrize(
    ("name", "options", "code"),
    [
        ("wopr-7x4090", (), 0),
        ("wopr-7x4090+riser-x8", (), 1),
        ("wopr-7x4090-one-reading", (), 3),
        ("laptop", (), 3),
        ("laptop", ("--profile", "generic"), 3),
        ("wopr-7x4090+gpu-fallen-off", (), 5),
        ("wopr-7x4090+badtlp-card", (), 0),
        ("wopr-7x4090+badtlp-card", ("--strict",), 1),
        ("wopr-7x4090", ("pcie",), 3),
        ("wopr-7x4090", ("--profile", "tinybox-red"), 1),
    ],
)
def test_exit_codes(capture: dict[str, str], name: str, options: tuple[str, ...], code: int) -> None:
    done = boxcheck("doctor", "--sysroot", capture[name], *options)
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("doctor", "--sysroot", "/nowhere.tar"), "/nowhere.tar: no such file\nhelp: name a capture that boxcheck capture"),
        (("doctor", "--sysroot", __file__), "is no tar archive\nhelp: boxcheck triage FILE reads logs"),
        (("doctor", "pcie.link-witdh"), "did you mean pcie.link-width?"),
        (("doctor", "storge"), "did you mean storage?"),
        *((("doctor", word), f"help: {command}\n") for word, command in (
            ("matmul", "boxcheck stress run matmul"), ("copy.rate", "boxcheck stress run copy"), ("burn", "boxcheck burn"),
            ("gpu", "boxcheck burn, or a module of boxcheck stress list"))),
        (("doctor", "--profile", "wopr-7x4900"), "did you mean wopr-7x4090"),
        (("doctor", "--goal", "fun"), "fun"),
        (("doctor", "--json", "-", "--junit", "-"), "both want standard output"),
        (("doctor", "--nonsense"), "--nonsense"),
        *((("doctor", option, ""), f"{option}: is empty")
          for option in ("--json", "--jsonl", "--junit", "--ocptv", "--sysroot", "--profile")),
        (("facts", "--json", ""), "is empty"),
        (("checks", "--json", ""), "is empty"),
        (("profile", "list", "--json", ""), "is empty"),
        (("profile", "check", ""), "is empty"),
        (("capture", ""), "say where to write the capture"),
        (("explain", "nothing-of-it"), "no check, event or term is called 'nothing-of-it'"),
        (("profile", "show", "nothing"), "nothing"),
    ],
)
def test_wrong_use_is_one_clear_error(words: tuple[str, ...], says: str) -> None:
    done = boxcheck(*words)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert done.stdout == ""


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x1f\x8b\x08garbage", os.urandom(5000)])
def test_a_file_that_is_no_capture_is_one_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.tar.gz"
    path.write_bytes(content)
    done = boxcheck("doctor", "--sysroot", str(path))
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("row", "areas"), [
        ("platform", {"inventory", "cpu", "memory", "bmc"}), ("acs/iommu", {"iommu", "acs", "atomics"}), ("bars", {"bar"}),
        ("storage", {"disk"}), ("network", {"nic"}), ("udev", {"node"})])
def test_a_row_of_the_account_names_its_checks(capture: dict[str, str], row: str, areas: set[str]) -> None:
    done = boxcheck("doctor", row, "--sysroot", capture["wopr-7x4090"], "--json", "-")
    assert {finding["check"].partition(".")[0] for finding in json.loads(done.stdout)["findings"]} == areas
    assert done.returncode == 3  # a part of the checks passes no box
    without = boxcheck("doctor", "--except", row, "--sysroot", capture["wopr-7x4090"], "--json", "-")
    left = {finding["check"].partition(".")[0] for finding in json.loads(without.stdout)["findings"]}
    assert "pcie" in left
    assert not left & areas


def test_data_alone_goes_to_standard_output(capture: dict[str, str]) -> None:
    done = boxcheck("doctor", "--sysroot", capture["wopr-7x4090+riser-x8"], "--json", "-")
    assert json.loads(done.stdout)["verdict"]["outcome"] == "fail"
    assert done.returncode == 1


def test_reports_go_to_files(capture: dict[str, str], tmp_path: Path) -> None:
    places = {name: tmp_path / name for name in ("json", "jsonl", "junit", "ocptv")}
    done = boxcheck("doctor", "--sysroot", capture["wopr-7x4090"],
                    *(word for name, path in places.items() for word in (f"--{name}", str(path))))
    assert done.returncode == 0
    assert all(path.stat().st_size > 1000 for path in places.values())
    assert "PASS" in done.stdout


def test_an_unwritable_place_is_one_clear_error(capture: dict[str, str]) -> None:
    done = boxcheck("doctor", "--sysroot", capture["wopr-7x4090"], "--json", "/nowhere/out.json")
    assert done.returncode == 2
    assert done.stderr.startswith("error: /nowhere: no such file or directory")


def test_a_full_disk_is_one_clear_error(capture: dict[str, str]) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    done = boxcheck("doctor", "--sysroot", capture["wopr-7x4090"], "--json", "/dev/full")
    assert done.returncode == 2
    assert "no space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_place_that_is_a_directory_is_one_clear_error(capture: dict[str, str], tmp_path: Path) -> None:
    done = boxcheck("doctor", "--sysroot", capture["wopr-7x4090"], "--json", str(tmp_path))
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, f"error: {tmp_path}: is a directory")


def test_two_reports_for_one_new_file_are_a_usage_error(capture: dict[str, str], tmp_path: Path) -> None:
    place = str(tmp_path / "out")
    done = boxcheck("doctor", "--sysroot", capture["wopr-7x4090"], "--json", place, "--junit", place)
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, f"error: {place}: two reports want this file")
    assert not os.path.exists(place)


@pytest.mark.parametrize(
    "words", [("--version",), ("doctor", "--help"), ("checks",), ("explain", "pcie.link-width"), ("capture", "--script"),
              ("profile", "list")])
def test_a_full_disk_behind_standard_output_is_one_clear_error(words: tuple[str, ...]) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "boxcheck", *words], stdout=full, stderr=subprocess.PIPE, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == "error: standard output: no space left on device"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("words", "code"), [(("doctor", "--nonsense"), 2), (("doctor", "nothing"), 2), (("explain", "x"), 2)])
def test_a_full_disk_behind_standard_error_changes_no_exit_code(words: tuple[str, ...], code: int) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "boxcheck", *words], stdout=subprocess.PIPE, stderr=full, timeout=120)
    assert (done.returncode, done.stdout) == (code, b"")


@pytest.mark.parametrize("columns", [40, 50, 60, 70])
def test_the_link_table_drops_columns_where_it_is_narrow(capture: dict[str, str], columns: int) -> None:
    lines = boxcheck("doctor", "--sysroot", capture["wopr-7x4090+riser-x8"], COLUMNS=str(columns)).stdout.splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("  slot "))
    rows = lines[first:lines.index("", first)]
    assert sum("GT/s" in row for row in rows) == 7
    assert all(len(row) <= columns for row in rows)
    assert [row.strip() for row in rows if "want" in row]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_changes_no_verdict(capture: dict[str, str], closed: str) -> None:
    script = f"{sys.executable} -m boxcheck doctor -q --sysroot {capture['wopr-7x4090+riser-x8']} {closed}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "broke" not in done.stderr


def test_a_closed_pipe_is_quiet(capture: dict[str, str]) -> None:
    script = f"{sys.executable} -m boxcheck doctor -vv --sysroot {capture['wopr-7x4090']} | head -1"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("boxcheck ")
    assert done.stderr == ""


@pytest.mark.parametrize("columns", [80, 100, 200])
def test_no_line_is_wider_than_the_terminal(capture: dict[str, str], columns: int) -> None:
    for name in ("wopr-7x4090+riser-x8", "wopr-7x4090+gpu-fallen-off", "laptop"):
        done = boxcheck("doctor", "-v", "--sysroot", capture[name], COLUMNS=str(columns))
        wide = [line for line in done.stdout.splitlines() if len(line) > columns and " " in line.strip()]
        assert wide == []


def test_ascii_is_ascii_and_without_colour(capture: dict[str, str]) -> None:
    done = boxcheck("doctor", "--ascii", "-v", "--sysroot", capture["wopr-7x4090+riser-x8"])
    assert done.stdout.isascii()
    assert "\x1b" not in done.stdout


def test_colour_is_there_when_it_is_asked_for_and_not_with_no_color(capture: dict[str, str]) -> None:
    path = capture["wopr-7x4090+riser-x8"]
    assert "\x1b[" in boxcheck("doctor", "--color", "always", "--sysroot", path).stdout
    assert "\x1b[" not in boxcheck("doctor", "--sysroot", path, NO_COLOR="1").stdout


def test_plain_is_one_finding_a_line_and_the_verdict_last(capture: dict[str, str]) -> None:
    lines = boxcheck("doctor", "--plain", "--sysroot", capture["wopr-7x4090+riser-x8"]).stdout.splitlines()
    assert lines[0] == "fail pcie.link-width PCIE3 trained x8, x16 required"
    assert lines[-1] == "verdict fail 1 required check failed"
    quiet = boxcheck("doctor", "--plain", "-q", "--sysroot", capture["wopr-7x4090+riser-x8"]).stdout.splitlines()
    assert quiet == lines[-1:]


def test_a_capture_is_judged_alike_wherever_it_is(capture: dict[str, str], tmp_path: Path) -> None:
    import shutil

    other = tmp_path / "elsewhere.tar.gz"
    shutil.copy(capture["wopr-7x4090+riser-x8"], other)
    first, second = (
        json.loads(boxcheck("doctor", "--sysroot", path, "--json", "-").stdout)
        for path in (capture["wopr-7x4090+riser-x8"], str(other)))
    for run in (first, second):
        for key in ("origin", "finished"):
            run.pop(key)
    assert first == second


def test_this_machine_is_read_without_a_traceback(tmp_path: Path) -> None:
    done = boxcheck("doctor", XDG_STATE_HOME=str(tmp_path))
    assert done.returncode in (0, 1, 3)
    assert "Traceback" not in done.stderr + done.stdout
    saved = list((tmp_path / "boxcheck" / "runs").glob("*-doctor.json"))
    assert len(saved) == 1
    assert json.loads(saved[0].read_text())["schema"] == "boxcheck.run/1"
    assert saved[0].stat().st_mode & 0o777 == 0o600


def test_the_record_that_cannot_be_saved_costs_nothing_else(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    done = boxcheck("doctor", XDG_STATE_HOME=str(blocker))
    assert done.returncode in (0, 1, 3)
    assert "the record was not saved" in done.stderr


def test_control_characters_of_a_capture_never_reach_the_terminal(tmp_path: Path) -> None:
    tree = build("laptop")
    tree.put(tree.resolve("/sys/class/dmi/id/board_name"), "\x1b[31mEvil\x07\x9b2J\n")
    tree.put("/proc/sys/kernel/hostname", "box\x1b]0;title\x07\n")
    done = boxcheck("doctor", "-vv", "--sysroot", str(tree.write_tar(tmp_path / "x.tar.gz")))
    assert not [character for character in done.stdout if ord(character) < 32 and character not in "\n"]
    assert "\x9b" not in done.stdout

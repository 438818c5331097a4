"""What the TAB key offers, through the scripts that a shell runs; nothing of it touches hardware."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from boxcheck.cli import app
from boxcheck.commands import complete
from boxcheck.commands.glossary import TERMS
from boxcheck.profile import shipped_profiles
from boxcheck.registry import CHECKS

PROGRAM = os.path.join(os.path.dirname(sys.executable), "boxcheck")


def offered(line: str) -> list[str]:
    """What bash would offer behind `line`."""
    words = line.split(" ")
    done = subprocess.run(
        [PROGRAM], capture_output=True, text=True, timeout=60, env={
            **os.environ, "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1), "_BOXCHECK_COMPLETE": "complete_bash"})
    assert done.stderr == ""
    return done.stdout.split()


pytestmark = pytest.mark.skipif(not os.path.exists(PROGRAM), reason="boxcheck is not installed beside this Python")


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("boxcheck doctor pcie.link-w", ["pcie.link-width"]),
        ("boxcheck doctor pcie aer.l", ["aer.live"]),
        ("boxcheck doctor stor", ["storage"]),
        ("boxcheck doctor --except acs/", ["acs/iommu"]),
        ("boxcheck doctor --except pcie.link-s", ["pcie.link-speed"]),
        ("boxcheck explain pcie.link-w", ["pcie.link-width"]),
        ("boxcheck doctor --profile wo", ["wopr-7x4090"]),
        ("boxcheck explain --profile stri", ["strix-halo"]),
        ("boxcheck profile show strix", ["strix-halo"]),
        ("boxcheck doctor --goal cu", ["cuda-p2p"]),
        ("boxcheck doc", ["doctor"]),
        ("boxcheck doctor --profile ./my", []),
        ("boxcheck explain triage.link-to", ["triage.link-took-the-gpu"]),
        ("boxcheck triage --only xi", ["xid"]),
        ("boxcheck burn --only matm", ["matmul"]),
        ("boxcheck burn --inject stal", ["stale"]),
        ("boxcheck certify --backend c", ["cuda", "cpu"]),
        ("boxcheck runs --state cra", ["crashed"]),
        ("boxcheck riser PCIE7", ["PCIE7"]),
        ("boxcheck report --ht", ["--html"]),
        ("boxcheck report --he", ["--help"]),
        ("boxcheck report sig", ["sign"]),
        ("boxcheck report last --pd", ["--pdf"]),
    ],
)
def test_tab_offers(line: str, wanted: list[str]) -> None:
    assert offered(line) == wanted


AUDITED = """
import sys
seen = []
def heard(event, arguments):
    if event in ("open", "os.listdir", "os.scandir", "ctypes.dlopen", "subprocess.Popen", "os.exec", "socket.connect"):
        name = arguments[0]
        seen.append(f"{event} {name.decode() if isinstance(name, bytes) else name}")
sys.addaudithook(heard)
sys.argv = ["boxcheck"]
from boxcheck.__main__ import main
try:
    main()
except SystemExit:
    pass
heavy = sorted(set(sys.modules) & {"numpy", "textual", "pyudev", "pynvml", "rich", "sqlite3", "ssl"})
print("\\n".join([*seen, *(f"imported {name}" for name in heavy)]), file=sys.stderr)
"""
"""Says on standard error what the process opened, listed, loaded or started while it completed."""


@pytest.mark.parametrize("line", [
    "boxcheck doctor pcie.", "boxcheck explain x", "boxcheck doctor --profile w", "boxcheck stress run m", "boxcheck riser P",
    "boxcheck judge 2", "boxcheck attach ", "boxcheck report ", "boxcheck burn --only ", "boxcheck triage --only "])
def test_the_tab_key_touches_no_hardware(line: str, tmp_path: Path) -> None:
    """As an auditor of the process sees it, who hears of every file that Python opens, and every library and program."""
    done = subprocess.run(
        [sys.executable, "-c", AUDITED], capture_output=True, text=True, timeout=60, env={
            **os.environ, "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1), "XDG_STATE_HOME": str(tmp_path),
            "_BOXCHECK_COMPLETE": "complete_bash"})
    heard = done.stderr.splitlines()
    assert any(one.startswith("open ") for one in heard)  # Python's own modules: the auditor hears
    touched = [one for one in heard if one.split(" ", 1)[0] in ("imported", "subprocess.Popen", "os.exec", "socket.connect")
               or one.split(" ", 1)[1].startswith(("/sys", "/dev", "/proc", "libcuda", "libnvidia", "libamd", "libhsa"))]
    assert touched == []
    assert list(tmp_path.iterdir()) == []  # and no folder is made


def test_runs_are_offered_by_the_names_of_their_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "boxcheck" / "runs"
    folder.mkdir(parents=True)
    for name in ("2026-11-27T080000Z-burn.sqlite", "2026-11-28T080000Z-burn.sqlite", "2026-11-28T090000Z-doctor.json"):
        (folder / name).touch()  # of no bytes: a store that was opened would be no store
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert complete.run_names("") == ["2026-11-28T080000Z-burn", "2026-11-27T080000Z-burn", "last"]
    assert offered("boxcheck judge 2026-11-27") == ["2026-11-27T080000Z-burn"]
    assert offered("boxcheck runs show l") == ["last"]
    assert offered("boxcheck report 2026-11-27") == ["2026-11-27T080000Z-burn"]


def test_doctor_is_offered_no_check_of_a_stress_module() -> None:
    """It would make none of them: `boxcheck doctor matmul` is a usage error."""
    words = complete.check_ids("")
    judged = {id for id, check in CHECKS.items() if check.stress is not None}
    assert judged >= {"matmul.rate", "gpu.in-runtime", "stress.completed"}
    assert not judged & {*words}
    assert "matmul" not in words
    assert complete.check_ids("matmul") == []
    assert complete.whole_ids("matmul.rate") == ["matmul.rate", "matmul.rate-advised", "matmul.rate-drop"]  # to explain


def test_ids_and_areas() -> None:
    words = complete.check_ids("")
    assert {"pcie", "aer", "pcie.link-width"} <= set(words)
    assert complete.whole_ids("") == sorted([*CHECKS, *TERMS])
    assert set(complete.profile_names("")) == set(shipped_profiles())
    assert all(word.startswith("pcie.") for word in complete.check_ids("pcie."))


@pytest.mark.parametrize(("shell", "says"), [("bash", "complete -o default"), ("zsh", "#compdef boxcheck"), ("fish", "--no-files")])
def test_the_script_of_the_shell_that_was_named(shell: str, says: str) -> None:
    done = subprocess.run([PROGRAM, "--show-completion", shell], capture_output=True, text=True, timeout=60)
    assert says in done.stdout
    assert done.returncode == 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_it_is_installed_for_the_shell_that_was_named(shell: str, tmp_path: Path) -> None:
    done = subprocess.run([PROGRAM, "--install-completion", shell], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "HOME": str(tmp_path)})
    first = done.stdout.splitlines()[0]
    assert first.startswith(f"{shell} completion installed in {tmp_path}/")
    assert "boxcheck" in Path(first.rpartition(" in ")[2]).read_text()


def test_a_shell_that_is_none_is_a_usage_error() -> None:
    done = subprocess.run([PROGRAM, "--show-completion", "fishy"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")


def paths() -> list[list[str]]:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    return [[], *([name] for name in sorted(commands)),
            *([name, inner] for name, one in sorted(commands.items()) for inner in sorted(getattr(one, "commands", {})))]


@pytest.mark.parametrize("words", paths(), ids=" ".join)
def test_help_fits_80_columns_and_cuts_no_sentence(words: list[str]) -> None:
    done = subprocess.run(
        [PROGRAM, *words, "--help"], capture_output=True, text=True, timeout=60, env={**os.environ, "COLUMNS": "80"})
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert all(len(line) <= 80 for line in lines)
    listed = lines[lines.index("Commands:"):] if "Commands:" in lines else []
    assert [line for line in listed if line.endswith("...")] == []

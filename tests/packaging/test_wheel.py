"""The wheel holds all that an installed boxcheck needs, runs from what it holds, and takes nothing along that is not its
own. Built without a network, by the hatchling that is installed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.main import get_command

from boxcheck.cli import app
from boxcheck.version import SHORT, commit_of, source_commit, version_line

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "boxcheck"
SHARED = {
    "share/man/man1/boxcheck.1", "share/bash-completion/completions/boxcheck", "share/zsh/site-functions/_boxcheck",
    "share/fish/vendor_completions.d/boxcheck.fish"}
BUILD = "import sys, hatchling.build as build\nprint(getattr(build, sys.argv[1])(sys.argv[2]))"

pytestmark = pytest.mark.skipif(find_spec("hatchling") is None, reason="hatchling is not installed: pip install -e '.[dev]'")


def built(kind: str, out: Path, root: Path = ROOT) -> Path:
    done = subprocess.run(
        [sys.executable, "-c", BUILD, kind, str(out)], cwd=root, capture_output=True, text=True, timeout=300.0, check=False)
    assert done.returncode == 0, done.stderr
    return out / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("build_wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def names(wheel: Path) -> frozenset[str]:
    return frozenset(zipfile.ZipFile(wheel).namelist())


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What pip would unpack into site-packages."""
    folder = tmp_path_factory.mktemp("site")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def run(installed: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-c", "import boxcheck, sys; print(boxcheck.__file__, file=sys.stderr)\n"
         "from boxcheck.__main__ import main; main()", *words],
        capture_output=True, text=True, timeout=120.0, check=False, cwd=installed, stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(installed), "XDG_STATE_HOME": str(installed / "state"),
             "PYTHONDONTWRITEBYTECODE": "1"})


def test_it_holds_every_file_of_the_package(names: frozenset[str]) -> None:
    own = {path.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("*")
           if path.is_file() and "__pycache__" not in path.parts}
    profiles = {f"boxcheck/_profiles/{path.relative_to(ROOT / 'profiles').as_posix()}"
                for path in (ROOT / "profiles").rglob("*.toml")}
    schemas = {f"boxcheck/data/schemas/{path.name}" for path in (ROOT / "docs/reference").glob("*.schema.json")}
    assert len(own) > 500
    assert len(profiles) > 20
    assert len(schemas) > 10
    assert own | profiles | schemas <= names


def test_it_holds_nothing_else(names: frozenset[str]) -> None:
    shared = {name.partition(".data/data/")[2] for name in names if ".data/data/" in name}
    assert shared == SHARED
    own = {name for name in names if re.match(r"boxcheck-[^/]+\.(dist-info|data)/", name) is None}
    there = {path.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("*") if path.is_file()}
    more = {name for name in own - there if not name.startswith(("boxcheck/_profiles/", "boxcheck/data/schemas/"))}
    assert more <= {"boxcheck/data/COMMIT"}
    assert [name for name in names if re.search(r"(^|/)(tests?|shared|fixtures|__pycache__|\.git)(/|$)|\.pyc$", name)] == []


def test_its_own_words_name_no_place_of_the_machine_that_built_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if ".data/" in name or name.endswith(("COMMIT", "METADATA")):
                assert str(ROOT).encode() not in archive.read(name), name


def test_the_commit_is_that_of_the_checkout(installed: Path) -> None:
    commit = commit_of(str(ROOT))
    if commit is None or shutil.which("git") is None:
        pytest.skip("not a checkout of git")
    kept = (installed / "boxcheck/data/COMMIT").read_text().strip()
    assert kept.removesuffix("-dirty") == commit
    told = run(installed, "--version").stdout
    assert re.fullmatch(rf"boxcheck \S+ \({commit[:SHORT]}(-dirty)?\)\n", told)
    assert source_commit() == commit[:SHORT], "the checkout says it without a file"
    assert version_line().endswith(f"({commit[:SHORT]})")


def test_building_leaves_the_index_of_git_as_it_was(tmp_path: Path) -> None:
    """`git status` writes it anew where a file is younger; by sudo it would be root's, in a user's checkout."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    git = ("git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.example")
    (tmp_path / "file").write_text("text")
    for words in (("init", "-q"), ("add", "file"), ("commit", "-q", "-m", "one")):
        subprocess.run([*git, *words], check=True, timeout=60)
    os.utime(tmp_path / "file", (1, 1))
    before = (tmp_path / ".git/index").read_bytes()
    told = subprocess.run(
        [sys.executable, "-c", "import sys, pathlib, hatch_hook\nprint(hatch_hook._commit(pathlib.Path(sys.argv[1])))", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "docs")}, capture_output=True, text=True, timeout=60, check=True).stdout
    assert re.fullmatch(r"[0-9a-f]{40}\n", told)
    assert (tmp_path / ".git/index").read_bytes() == before


def test_without_git_the_commit_is_unknown_and_said_so(installed: Path, tmp_path: Path) -> None:
    shutil.copytree(installed / "boxcheck", tmp_path / "boxcheck")
    (tmp_path / "boxcheck/data/COMMIT").unlink(missing_ok=True)
    assert run(tmp_path, "--version").stdout.endswith(" (commit unknown)\n")
    (tmp_path / "boxcheck/data/COMMIT").write_text("<b>not a hash</b>\n")
    assert run(tmp_path, "--version").stdout.endswith(" (commit unknown)\n")


def test_what_is_checked_out_is_read_as_git_lays_it(tmp_path: Path) -> None:
    (tmp_path / ".git/refs/heads").mkdir(parents=True)
    (tmp_path / ".git/HEAD").write_text("ref: refs/heads/main\n")
    (tmp_path / ".git/packed-refs").write_text(f"# pack-refs with: peeled\n{'a' * 40} refs/heads/other\n{'b' * 40} refs/heads/main\n")
    assert commit_of(str(tmp_path)) is None, "a checkout of something else tells nothing of boxcheck"
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/hatch_hook.py").touch()
    assert commit_of(str(tmp_path)) == "b" * 40
    (tmp_path / ".git/refs/heads/main").write_text("c" * 40 + "\n")
    assert commit_of(str(tmp_path)) == "c" * 40, "what is not packed counts"
    (tmp_path / ".git/HEAD").write_text("d" * 40 + "\n")
    assert commit_of(str(tmp_path)) == "d" * 40
    (tmp_path / ".git/worktrees/more").mkdir(parents=True)
    (tmp_path / ".git/worktrees/more/HEAD").write_text("ref: refs/heads/main\n")
    (tmp_path / ".git/worktrees/more/commondir").write_text("../..\n")
    (tmp_path / "more/docs").mkdir(parents=True)
    (tmp_path / "more/docs/hatch_hook.py").touch()
    (tmp_path / "more/.git").write_text(f"gitdir: {tmp_path / '.git/worktrees/more'}\n")
    assert commit_of(str(tmp_path / "more")) == "c" * 40


@pytest.mark.parametrize(("words", "code", "says"), [
    (("demo",), 0, "demo doctor wopr"),
    (("demo", "doctor", "wopr"), 0, "PCIE3: trained x8, x16 required"),
    (("demo", "triage"), 0, "fell off the bus"),
    (("explain", "pcie.link-width"), 0, "pcie.link-width"),
    (("profile", "list"), 0, "wopr-7x4090"),
    (("checks",), 0, "pcie.link-width"),
    (("capture", "--script"), 0, "#!/bin/sh"),
    (("profile", "check"), 0, ""),
], ids=lambda value: " ".join(value) if isinstance(value, tuple) else None)
def test_it_runs_from_what_it_holds(installed: Path, words: tuple[str, ...], code: int, says: str) -> None:
    done = run(installed, *words)
    assert done.stderr.splitlines()[0] == str(installed / "boxcheck/__init__.py"), "not the checkout"
    assert done.returncode == code, done.stderr
    assert says in done.stdout


def test_the_schemas_are_those_of_the_documents(installed: Path) -> None:
    for path in (ROOT / "docs/reference").glob("*.schema.json"):
        kept = (installed / "boxcheck/data/schemas" / path.name).read_bytes()
        assert kept == path.read_bytes()
        assert json.loads(kept)


def commands(command: object, begun: str = "boxcheck") -> list[str]:
    below = getattr(command, "commands", {})
    return [words for name, one in below.items() if not one.hidden
            for words in (f"{begun} {name}", *commands(one, f"{begun} {name}"))]


def test_the_manual_page_has_every_command(installed: Path) -> None:
    (page,) = installed.rglob("boxcheck.1")
    text = page.read_text()
    plain = text.replace("\\-", "-")
    every = commands(get_command(app))
    assert len(every) > 25
    assert [words for words in every if f'.SS "{words}"' not in plain] == []
    assert "\\fB\\-\\-sysroot\\fR \\fIDIR|TAR\\fR" in text
    assert re.search(r"\.TP\n\\fB75\\fR\na power cycle is needed", text)
    assert not re.search(r"^\.(?!TH |SH |SS |PP$|TP$|br$|nf$|fi$|RS |RE$|\\\")", text, re.MULTILINE), "no line is a macro by chance"


@pytest.mark.skipif(shutil.which("groff") is None, reason="there is no groff")
def test_the_manual_page_is_one_to_groff(installed: Path) -> None:
    (page,) = installed.rglob("boxcheck.1")
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8", str(page)], capture_output=True, text=True, timeout=60.0, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "boxcheck doctor" in re.sub(r"\x1b\[[\d;]*m|.\x08", "", done.stdout)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions_are_read_by_their_shell(installed: Path, shell: str) -> None:
    (script,) = (path for path in installed.rglob("*") if path.is_file() and f"/{shell}" in str(path) and "share" in path.parts)
    assert "_BOXCHECK_COMPLETE=complete_" in script.read_text()
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    done = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True, timeout=60.0, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_wheel_of_the_sdist_is_the_same(wheel: Path, tmp_path: Path) -> None:
    import tarfile

    archive = built("build_sdist", tmp_path)
    with tarfile.open(archive) as tar:
        inside = tar.getnames()
        tar.extractall(tmp_path / "from", filter="data")
    assert [name for name in inside if re.search(r"/(tests|shared|fixtures|\.venv|\.git)(/|$)", name)] == []
    (root,) = (tmp_path / "from").iterdir()
    again = built("build_wheel", tmp_path, root)
    one, other = (zipfile.ZipFile(path) for path in (wheel, again))
    assert set(one.namelist()) == set(other.namelist())
    made = [name for name in one.namelist() if ".data/data/" in name or name.startswith("boxcheck/data/")]
    assert len(made) > 25
    assert [name for name in made if one.read(name) != other.read(name)] == [], "the commit too, without git"

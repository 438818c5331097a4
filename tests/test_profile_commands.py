"""`boxcheck profile ...`: what is printed, what is written, and the exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from boxcheck.commands import profile as commands
from boxcheck.commands.profile_doubts import comments
from boxcheck.engine.inspect import choose_checks, inspect_facts, read_facts
from boxcheck.profile import ProfileError, load_profile, shipped_profiles
from boxcheck.registry import CHECKS
from boxcheck.report import profile as report
from tests.boxes import BOXES, build
from tests.boxes.memory import host
from tests.report.schemas import published, strict

Capture = pytest.CaptureFixture[str]


def valid(text: str, schema: str) -> dict[str, object]:
    found = json.loads(text)
    jsonschema.validate(found, published(f"{schema}.schema.json"))
    jsonschema.validate(found, strict(published(f"{schema}.schema.json")))
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """The folder of a built box, written once."""
    def write(name: str) -> str:
        folder = tmp_path_factory.getbasetemp() / f"profile-{name}"
        if not folder.exists():
            build(name).write_dir(folder)
        return str(folder)

    return write


def test_list_names_every_shipped_profile(capsys: Capture) -> None:
    assert commands.profile_list(None) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(shipped_profiles())
    assert commands.profile_list("-") == 0
    found = valid(capsys.readouterr().out, "profiles")
    assert [entry["name"] for entry in found["profiles"]] == list(shipped_profiles())  # type: ignore[attr-defined,index]


@pytest.mark.parametrize("name", shipped_profiles())
def test_show_says_every_limit_with_its_source(name: str, capsys: Capture) -> None:
    profile = load_profile(name)
    assert commands.profile_show(name, "-") == 0
    found = valid(capsys.readouterr().out, "profile")
    assert {entry["name"] for entry in found["limits"]} == set(profile.limits)  # type: ignore[attr-defined]
    for width in (60, 80, 100):
        text = report.show_text(profile, width)
        assert text.isascii()
        words = " ".join(text.split())
        for limit in profile.limits.values():
            assert limit.name in words
            assert " ".join(limit.source.split()) in words


def test_show_writes_lines_that_fit(capsys: Capture) -> None:
    for name in shipped_profiles():
        long = [line for line in report.show_text(load_profile(name), 100).splitlines() if len(line) > 100]
        assert not long, long


def test_check_of_a_sound_profile(capsys: Capture) -> None:
    assert commands.profile_check("wopr-7x4090") == 0
    assert "no mistakes" in capsys.readouterr().out


def test_check_prints_every_mistake_and_leaves_with_2(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "wopr.toml"
    path.write_text('name = "wopr"\nrevision = 1\ntitle = "x"\n[link]\nwidth = "16"\n[source]\n')
    assert commands.profile_check(str(path)) == 2
    errors = capsys.readouterr().err
    assert f'error: profile {path}:5: link.width is "16", expected a number\nhelp: remove the quotes\n' in errors
    assert f"error: profile {path}:6: source is a table, expected a list of tables" in errors
    path.write_bytes(b"\xff")
    assert commands.profile_check(str(path)) == 2
    assert "not UTF-8 text" in capsys.readouterr().err
    with pytest.raises(ProfileError):
        commands.profile_check("no-such-profile")


HEALTHY = [name for name in BOXES if name in shipped_profiles()]


@pytest.mark.parametrize("name", HEALTHY)
def test_detect_names_the_built_box(name: str, tree: Callable[[str], str], capsys: Capture) -> None:
    assert commands.profile_detect(tree(name), None) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{name}: matched by ")


def test_detect_leaves_with_3_where_no_profile_matches(tree: Callable[[str], str], capsys: Capture) -> None:
    assert commands.profile_detect(tree("laptop"), None) == 3
    assert capsys.readouterr().out.startswith("no profile: ")
    assert commands.profile_detect(tree("laptop"), "-") == 3
    assert valid(capsys.readouterr().out, "detection")["name"] is None


@pytest.mark.parametrize("name", [*HEALTHY, "laptop"])
def test_a_draft_loads_as_it_stands_and_says_that_nobody_agreed(
        name: str, tree: Callable[[str], str], tmp_path: Path, capsys: Capture) -> None:
    assert commands.profile_draft(tree(name)) == 0
    text = capsys.readouterr().out
    path = tmp_path / "draft.toml"
    path.write_text(text)
    profile = load_profile(str(path))
    assert {limit.source for limit in profile.limits.values()} == {"measured on this machine, not agreed"}
    marked = [line for line in text.splitlines() if line.endswith("# measured, not agreed")]
    assert len(marked) >= len(profile.limits)
    verdict = inspect_facts(read_facts(host(build(name))), profile, choose_checks(["inventory.gpu-model"]))
    assert {finding.outcome.value for finding in verdict.findings} <= {"pass", "skip"}, verdict.findings
    for limit in profile.limits:
        assert any(limit in check.limits and profile.is_blocker(check.id) for check in CHECKS.values()), limit
    if name in shipped_profiles():
        shipped = load_profile(name)
        assert profile.is_blocker("inventory.gpu-count")
        assert profile.gpus.parts == shipped.gpus.parts
        assert profile.gpus.count == shipped.gpus.count
        assert profile.limits["memory.total_gib"].must == shipped.limits["memory.total_gib"].must


def test_a_draft_of_this_machine_loads(tmp_path: Path, capsys: Capture) -> None:
    assert commands.profile_draft(None) == 0
    path = tmp_path / "draft.toml"
    path.write_text(capsys.readouterr().out)
    load_profile(str(path))


@pytest.mark.parametrize(("box", "failed"), [("wopr-7x4090", set()), ("wopr-7x4090+riser-x8", {"pcie.link-width"})])
def test_a_box_with_a_bad_riser_does_not_pass_its_own_draft(
    box: str, failed: set[str], tmp_path: Path, capsys: Capture,
) -> None:
    path = build(box).write_tar(tmp_path / "box.tar.gz")
    assert commands.profile_draft(str(path)) == 0
    draft = tmp_path / "draft.toml"
    draft.write_text(capsys.readouterr().out)
    want = load_profile(str(draft))
    verdict = inspect_facts(read_facts(host(build(box))), want, choose_checks(()))
    assert {finding.check for finding in verdict.findings if finding.outcome == "fail" and finding.blocker} == failed


@pytest.mark.parametrize(("box", "near", "says"), [
    ("wopr-7x4090+card-absent", "wopr-7x4090", "no GPU answers in slot PCIE"),
    ("wopr-7x4090+riser-x8", "wopr-7x4090", "fail: "),
])
def test_a_draft_of_a_faulty_box_says_what_is_wrong_and_which_profile_is_near(
    box: str, near: str, says: str, tmp_path: Path, capsys: Capture,
) -> None:
    path = build(box).write_tar(tmp_path / "box.tar.gz")
    assert commands.profile_draft(str(path)) == 0
    out, err = capsys.readouterr()
    assert err.startswith(f"{near} r{load_profile(near).revision} comes with boxcheck and matches this machine")
    assert "cure it first" in err
    assert says in err
    for line in err.splitlines():
        assert f"# {line}\n" in out
    draft = tmp_path / "draft.toml"
    draft.write_text(out)
    load_profile(str(draft))


def test_a_draft_of_a_box_as_it_should_be_speaks_of_no_fault(tree: Callable[[str], str], capsys: Capture) -> None:
    assert commands.profile_draft(tree("wopr-7x4090")) == 0
    out, err = capsys.readouterr()
    assert "cure it first" not in out + err
    assert "matches this machine" in err


def test_what_a_machine_says_ends_no_comment_of_a_draft() -> None:
    assert comments(["one\ntwo\x1b[31m"]) == "# onetwo[31m\n"

"""`boxcheck report` and `boxcheck keys` as commands: exit codes, JSON, what goes where, what never changes."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from boxcheck.certify.contents import contents_of_folder
from boxcheck.certify.manifest import write_manifest
from boxcheck.report import forms
from boxcheck.riser.evidence import Boot, Notebook, Place
from boxcheck.riser.notebook import Stored
from tests.certify.attempt import attempt
from tests.cli.test_runs import Call, begun, call, ended, folder

__all__ = ["call", "folder"]  # fixtures


@pytest.fixture
def signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call) -> Path:
    """A folder, signed by a key that the list of this user names."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    code, out, _ = call("keys", "new", "--no-passphrase", "--comment", "station 3")
    assert code == 0
    key = out.split()[0]
    assert call("keys", "allow", f"{key}.pub", "quality@maker.example", "--add")[0] == 0
    made = attempt(tmp_path / "attempt-01")
    assert call("report", "sign", str(made), "--key", key)[0] == 0
    return made


def test_from_key_to_verified_report(signed: Path, call: Call) -> None:
    code, out, err = call("report", "verify", str(signed))
    assert (code, err) == (0, "")
    assert out.startswith("VERIFIED\n  PASS of box W-0007: signed by quality@maker.example, nothing was changed\n")
    code, out, _ = call("keys")
    assert code == 0
    assert "allowed as quality@maker.example  station 3" in out
    listed, line = json.loads(call("keys", "--json", "-")[1])
    assert (line["fingerprint"], line["signs"]) == (listed["fingerprint"], False)
    assert (listed["signs"], listed["encrypted"], listed["allowed_as"]) == (True, False, "quality@maker.example")


def test_exit_codes_and_json_of_verify(signed: Path, call: Call, tmp_path: Path) -> None:
    code, out, err = call("report", "verify", str(signed), "--json", "-")
    assert (code, err) == (0, "")
    assert json.loads(out)["outcome"] == "verified"
    assert call("report", "verify", str(signed), "--allowed-signers", str(tmp_path / "none"))[0] == 2
    assert call("report", "verify", str(signed), "--at", "yesterday")[0] == 2
    assert call("report", "verify", str(tmp_path / "none"))[0] == 2
    assert call("report", "verify", str(signed), "--at", "1999-01-01")[0] == 0
    (tmp_path / "empty").write_text("")
    assert call("report", "verify", str(signed), "--allowed-signers", str(tmp_path / "empty"))[0] == 1
    with (signed / "profile.toml").open("ab") as stream:
        stream.write(b"\n")
    code, out, _ = call("report", "verify", str(signed), "--json", "-")
    found = json.loads(out)
    assert (code, found["exit_code"], found["outcome"]) == (1, 1, "refused")
    assert [one["name"] for one in found["changes"]] == ["profile.toml"]
    assert call("report", "verify", "-q", str(signed))[1] == "REFUSED  profile.toml was changed, 35 bytes instead of 34\n"
    (signed / "manifest.json.sig").unlink()
    write_manifest(str(signed))
    assert call("report", "verify", str(signed))[0] == 3


def test_sign_says_what_it_lacks(signed: Path, call: Call, tmp_path: Path) -> None:
    for words, says in (
        ((), "error: say which key signs"),
        (("--key", str(tmp_path / "none")), "signed already"),
        (("--again", "--key", str(tmp_path / "none")), "no such file"),
        (("--again", "--agent"), "there is no ssh-agent"),
    ):
        code, _, err = call("report", "sign", str(signed), *words)
        assert code == 2
        assert says in err


def test_keys_are_not_made_twice_nor_without_somebody_to_type(signed: Path, call: Call, tmp_path: Path) -> None:
    assert "is there already" in call("keys", "new", "--no-passphrase")[2]
    assert call("keys", "new", "third.pub", "--no-passphrase")[0] == 2
    code, _, err = call("keys", "new", "second")
    assert code == 2
    assert "--no-passphrase" in err
    assert call("keys", "allow", str(tmp_path / "none"), "a@b")[0] == 2
    key = next((tmp_path / "config" / "boxcheck" / "keys").glob("*.pub"))
    for words in (("a b",), ("a@b", "--valid-after", "tomorrow"), ('a"b',)):
        assert call("keys", "allow", str(key), *words)[0] == 2


def test_a_key_that_others_may_read_is_listed_as_not_used(signed: Path, call: Call, tmp_path: Path) -> None:
    key = tmp_path / "config" / "boxcheck" / "keys" / "acceptance"
    key.chmod(0o644)
    assert "not used" in call("keys")[1]
    code, _, err = call("report", "sign", str(signed), "--again", "--key", str(key))
    assert (code, "may be read by others" in err) == (2, True)


def test_keys_that_cannot_be_listed_are_not_none(
    signed: Path, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config" / "boxcheck"
    (config / "keys").rename(config / "elsewhere")
    (config / "keys").write_text("no folder")
    (config / "allowed_signers").unlink()
    (config / "allowed_signers").mkdir()
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "no-agent"))
    code, out, err = call("keys")
    assert (code, out) == (0, "")
    assert err.splitlines() == [
        f"not listed: {config}/keys: not a directory",
        f"not listed: the ssh-agent at {tmp_path}/no-agent cannot be reached: no such file or directory",
        f"not listed: {config}/allowed_signers: is no file"]


# Reports of a run

def test_without_a_form_it_is_the_account_of_judge(folder: Path, call: Call) -> None:
    path = ended(folder)
    assert call("report", path) == call("judge", path)
    assert call("report", path, "--json", "-")[1] == call("judge", path, "--json", "-")[1]
    name = Path(path).name.removesuffix(".sqlite")
    assert call("report", name)[1] == call("judge", name)[1]


def test_the_folder_of_an_attempt_is_read_and_stays_as_it_is(folder: Path, call: Call, tmp_path: Path) -> None:
    """Also where the run was cut off, of which judge would take in what the logs of that time hold."""
    store, _ = begun(folder)
    store.flush()
    store.close()
    made = attempt(tmp_path / "attempt-01", run=Path(store.path).name.removesuffix(".sqlite"))
    (made / "run.sqlite").write_bytes(Path(store.path).read_bytes())
    write_manifest(str(made))
    before = contents_of_folder(str(made))
    code, out, _ = call("report", str(made))
    assert code == 3
    assert f"run {Path(store.path).name.removesuffix('.sqlite')} crashed" in out
    assert call("report", str(made / "report.html"))[1] == out
    assert contents_of_folder(str(made)) == before


@pytest.fixture
def html(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """A form that somebody makes."""
    asked: list[object] = []
    module = types.ModuleType("boxcheck.report.made_up")

    def run_html(path: str, profile: str | None, told: object) -> Iterator[str]:
        asked.append((path, profile, told))
        yield "<p>one"
        yield "</p>"

    module.run_html = run_html  # type: ignore[attr-defined]
    module.__spec__ = types.SimpleNamespace()  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "boxcheck.report.made_up", module)
    monkeypatch.setattr(forms, "FORMS", (
        forms.Form("html", "HTML", "boxcheck.report.made_up", "run_html", "report.html"),
        forms.Form("pdf", "PDF", "boxcheck.report.no_such", "run_pdf", "report.pdf")))
    monkeypatch.setattr("boxcheck.commands.report.FORMS", forms.FORMS)
    return asked


def test_a_form_is_written_whole_and_exits_with_0(folder: Path, call: Call, tmp_path: Path, html: list[object]) -> None:
    path = ended(folder)
    assert call("report", path, "--html", str(tmp_path / "r.html")) == (0, "", "")
    assert (tmp_path / "r.html").read_text() == "<p>one</p>"
    assert call("report", "--html", "-", path)[1] == "<p>one</p>"
    assert call("report", path, "--html", str(tmp_path / "none" / "r.html"))[0] == 2
    code, _, err = call("report", path, "--html", "-", "--json", "-")
    assert (code, "only one of them" in err) == (2, True)
    code, _, err = call("report", path, "--pdf", str(tmp_path / "r.pdf"))
    assert (code, "makes no PDF" in err) == (2, True)
    assert not (tmp_path / "r.pdf").exists()
    assert html[0] == (path, None, None)


def test_a_riser_experiment_of_that_box_is_shown_and_one_of_another_is_refused(
        folder: Path, call: Call, tmp_path: Path) -> None:
    path, box = ended(folder, box="W-0007 (wopr)"), "W-0007 (wopr)"
    book = Notebook(id="r-20261121-1", slot="PCIE7", started=1.0, boots=(
        Boot(id="boot-1", started=1.0, places=(Place(slot="PCIE7", riser="R7"),)),))
    kept = tmp_path / "r-20261121-1.json"
    kept.write_bytes(msgspec.json.encode(Stored(box=box, notebook=book)))
    code, page, _ = call("report", path, "--riser", str(kept), "--html", "-")
    assert (code, "Riser experiment at PCIE7" in page) == (0, True)
    assert "Riser experiment" not in call("report", path, "--html", "-")[1]
    kept.write_bytes(msgspec.json.encode(Stored(box="W-0008 (wopr)", notebook=book)))
    code, _, err = call("report", path, "--riser", str(kept), "--html", "-")
    assert (code, "experiment r-20261121-1 is of the box W-0008" in err) == (2, True)
    code, _, err = call("report", path, "--riser", str(kept))
    assert (code, "--riser shows an experiment in --html and --pdf" in err) == (2, True)
    assert call("report", path, "--riser", "r-1", "--html", "-")[0] == 2


def test_forms_of_an_attempt_know_its_acceptance(folder: Path, call: Call, tmp_path: Path, html: list[object]) -> None:
    made = attempt(tmp_path / "attempt-01")
    assert call("report", str(made), "--html", "-")[0] == 0
    assert html[0][2].identity.serial == "W-0007"  # type: ignore[index]


def test_signing_on_the_tested_box_makes_its_report_anew(
    folder: Path, call: Call, tmp_path: Path, html: list[object], monkeypatch: pytest.MonkeyPatch,
) -> None:
    from boxcheck.certify.machine import marks

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    made = attempt(tmp_path / "attempt-01", machine=marks())
    key = call("keys", "new", "--no-passphrase")[1].split()[0]
    code, _, err = call("report", "sign", str(made), "--key", key)
    assert (code, "this is the box under test" in err) == (2, True)
    code, out, _ = call("report", "sign", str(made), "--key", key, "--self-signed")
    assert code == 0
    assert "Self-signed" in out
    assert (made / "report.html").read_text() == "<p>one</p>"
    assert html[-1][2].self_signed  # type: ignore[index]
    assert json.loads(call("report", "verify", str(made), "--json", "-")[1])["self_signed"]


@pytest.mark.parametrize("word", ["no-such-run", "/nowhere", ""])
def test_what_is_no_run_is_one_clear_error(folder: Path, call: Call, word: str) -> None:
    code, _, err = call("report", word)
    assert code == 2
    assert err.strip()


def test_a_folder_without_acceptance_is_one_clear_error(folder: Path, call: Call, tmp_path: Path) -> None:
    code, _, err = call("report", str(tmp_path))
    assert (code, "holds no acceptance.json" in err) == (2, True)

"""A profile that has the name of a shipped one and asks for less says so in report, account and manifest."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from boxcheck.certify.acceptance import Identity
from boxcheck.certify.as_shipped import not_as_shipped
from boxcheck.certify.attempts import FILES, Asked
from boxcheck.certify.changes import compare
from boxcheck.certify.contents import contents_of_folder
from boxcheck.certify.folder import write_folder
from boxcheck.certify.manifest import canonical, parse_manifest
from boxcheck.certify.run import accept
from boxcheck.profile import load_profile, shipped_profiles
from boxcheck.report.certified import certified_text
from boxcheck.report.text import Style
from boxcheck.store.reader import RunReader
from tests.golden.runs import stored

SAYS = "calls itself wopr-7x4090 r1, and is not the one that boxcheck ships: other load of an acceptance"


@pytest.mark.parametrize("name", shipped_profiles())
def test_what_is_shipped_is_as_shipped(name: str) -> None:
    assert not_as_shipped(load_profile(name)) == ""


def test_what_was_cut_says_so_wherever_it_passes(tmp_path: Path) -> None:
    path = stored("one")
    with RunReader(path) as reader:
        began = reader.run().started
    made = accept(
        Asked(id="one", identity=Identity(serial="W-1", serial_from="operator"), attempt=1, began=began, run=path,
              planned="28 s (profile wopr-7x4090)"), (), now=began + 60, clock_trusted=True, machine={})
    assert (made.told.disposition, made.told.profile_note) == ("PASS", SAYS)
    write_folder(str(tmp_path), path, made.told, made.want, made.verdict_json)
    folder = Path(shutil.move(tmp_path / FILES, tmp_path / "whole"))
    assert f"It {SAYS}." in (folder / "report.html").read_text()
    assert SAYS in " ".join(certified_text(made.told, str(folder), Style()).split())
    manifest = parse_manifest((folder / "manifest.json").read_bytes())
    assert (manifest.planned, manifest.profile_note) == ("28 s (profile wopr-7x4090)", SAYS)
    assert compare(contents_of_folder(str(folder)))[1] == ()
    earlier = msgspec.to_builtins(manifest)
    del earlier["planned"], earlier["profile_note"]
    (folder / "manifest.json").write_bytes(canonical(earlier))
    assert compare(contents_of_folder(str(folder)))[1] == (), "signed before it was said"


def test_another_revision_or_name_is_another_profile() -> None:
    want = load_profile("generic")
    cut = msgspec.structs.replace(want, inspect=want.inspect[:1])
    assert not_as_shipped(cut).endswith(": other limits or required checks")
    assert not_as_shipped(msgspec.structs.replace(cut, name="ours")) == ""
    assert not_as_shipped(msgspec.structs.replace(cut, revision=99)) == ""

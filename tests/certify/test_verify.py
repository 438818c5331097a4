"""`report verify`: whoever changes anything in a folder is found out, and told exactly what."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boxcheck.certify.acceptance import Manifest
from boxcheck.certify.contents import Contents, contents_of_folder
from boxcheck.certify.manifest import ManifestError, canonical, parse_manifest, write_manifest
from boxcheck.certify.verify import NothingToVerify
from boxcheck.report.verification import schemas, verification_object, verification_text
from tests.certify.attempt import CONTENTS, acceptance, attempt
from tests.certify.signed import SIGNER, STYLE, Bench, change_manifest, needs_keygen, quiet


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_what_was_signed_and_left_alone_is_verified(bench: Bench) -> None:
    found = bench.verify()
    assert (found.outcome, found.exit_code, found.reasons, found.changes) == ("verified", 0, (), ())
    assert found.signature.name == SIGNER
    text = verification_text(found, STYLE)
    assert "VERIFIED" in text
    assert "PASS of box W-0007: signed by quality@maker.example" in text
    assert "It does not prove" in text


@needs_keygen
def test_the_standard_tools_agree(bench: Bench) -> None:
    assert bench.keygen() == 0
    done = subprocess.run(["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=bench.folder, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.count(": OK") == len(CONTENTS) + 1


@needs_keygen
def test_single_changed_bytes_in_all_files_are_refused_and_named(bench: Bench) -> None:
    """Thirty in each of the twelve files; those of manifest and signature by ssh-keygen as well."""
    chance, tried, by_keygen = random.Random(7), 0, 0
    files = [path for path in bench.folder.rglob("*") if path.is_file()]
    assert len(files) == 12
    for path in files:
        whole = path.read_bytes()
        name = str(path.relative_to(bench.folder))
        for at in sorted(chance.sample(range(len(whole)), min(30, len(whole)))):
            changed = bytearray(whole)
            changed[at] ^= chance.randrange(1, 256)
            path.write_bytes(changed)
            found = bench.verify()
            tried += 1
            assert found.exit_code == 1, (name, at, found.reasons)
            if name in CONTENTS or name == "acceptance.json":
                assert [one.name for one in found.changes if one.kind == "changed"] == [name]
                assert found.reasons[0] == f"{name} was changed"
            else:
                assert name in " ".join(found.reasons), (name, found.reasons)
            blank = name == "manifest.json.sig" and whole[at:at + 1].isspace() and bytes(changed)[at:at + 1].isspace()
            if name.startswith("manifest") and not blank and at < len(whole) - 1:
                assert bench.keygen() != 0, (name, at)
                by_keygen += 1
        path.write_bytes(whole)
    assert tried > 300
    assert by_keygen >= 50
    assert bench.verify().exit_code == 0


def test_a_changed_file_is_told_with_both_hashes_and_sizes(bench: Bench) -> None:
    with (bench.folder / "report.html").open("ab") as stream:
        stream.write(b"<p>")
    found = bench.verify()
    change, = found.changes
    assert (change.name, change.kind) == ("report.html", "changed")
    assert change.says == "report.html was changed, 72 bytes instead of 69"
    assert len(change.expected) == len(change.found) == 64
    assert change.found in verification_text(found, STYLE)


@pytest.mark.parametrize(("does", "kind", "says"), [
    (lambda folder: (folder / "kernel.log").unlink(), "missing", "kernel.log is missing"),
    (lambda folder: (folder / "SHA256SUMS").unlink(), "missing", "SHA256SUMS is missing"),
    (lambda folder: (folder / "run.sqlite-wal").write_bytes(b"x"), "added", "run.sqlite-wal was added: manifest.json does not list it"),
    (lambda folder: (folder / "evidence" / "manifest.json").write_bytes(b"x"), "added", "evidence/manifest.json was added: manifest.json does not list it"),
    (lambda folder: (folder / "SHA256SUMS").write_bytes(b""), "sums", "SHA256SUMS was changed: it is not what manifest.json says"),
    (lambda folder: os.mkfifo(folder / "pipe"), "not-a-file", "pipe is a device, a pipe or a socket, not a file"),
    (lambda folder: (folder / "back\\slash").write_bytes(b""), "not-a-file", "back\\slash is no name that a file of an attempt may have"),
])
def test_each_way_to_change_a_folder_is_told(bench: Bench, does: Callable[[Path], object], kind: str, says: str) -> None:
    does(bench.folder)
    found = bench.verify()
    assert (found.exit_code, found.reasons) == (1, (says,))
    assert [one.kind for one in found.changes] == [kind]


@pytest.mark.parametrize("target", ["/dev/zero", "../elsewhere", "kernel.log", "nowhere"])
def test_a_link_in_the_place_of_a_file_is_never_followed(bench: Bench, target: str) -> None:
    shutil.copyfile(bench.folder / "report.html", bench.top / "elsewhere")
    (bench.folder / "report.html").unlink()
    (bench.folder / "report.html").symlink_to(target)
    found = bench.verify()
    assert found.reasons == ("report.html is a symbolic link, not a file",)
    assert found.exit_code == 1


def test_a_linked_folder_is_not_followed_either(bench: Bench) -> None:
    shutil.move(bench.folder / "evidence", bench.top / "evidence")
    (bench.folder / "evidence").symlink_to(bench.top / "evidence")
    assert bench.verify().reasons[:2] == ("evidence is a symbolic link, not a file", "evidence/lspci.txt is missing")


def test_a_manifest_that_was_changed_is_told_from_a_signature_that_was(bench: Bench) -> None:
    change_manifest(bench, serial="W-0008", disposition="MARGINAL PASS")
    found = bench.verify()
    assert found.reasons == (
        "manifest.json was changed: the signature holds over what the other files say",
        "manifest.json says serial is W-0008, acceptance.json says W-0007",
        "manifest.json says disposition is MARGINAL PASS, acceptance.json says PASS")


def test_a_signer_cannot_sign_another_verdict_than_the_acceptance_holds(bench: Bench) -> None:
    change_manifest(bench, disposition="MARGINAL PASS")
    bench.sign()
    found = bench.verify()
    assert found.signature.state == "good"
    assert (found.exit_code, found.reasons) == (1, ("manifest.json says disposition is MARGINAL PASS, acceptance.json says PASS",))


@pytest.mark.parametrize("bad", ["../../etc/passwd", "/etc/passwd", "a/../b", "a//b", "", ".", "a\nb", "a\x1b[2Jb", "manifest.json", "SHA256SUMS", "a\u202eb", "x" * 2000])
def test_names_that_lead_elsewhere_are_refused_though_they_are_signed(bench: Bench, bad: str) -> None:
    manifest = json.loads((bench.folder / "manifest.json").read_bytes())
    files = [*manifest["files"], {"name": bad, "size_bytes": 3, "sha256": "0" * 64}]
    change_manifest(bench, files=sorted(files, key=lambda one: one["name"]))
    bench.sign()
    found = bench.verify()
    assert found.exit_code == 1
    assert "names a file that no folder of an attempt has" in found.reasons[0]
    assert verification_text(found, STYLE).replace("\n", "").isprintable()


@pytest.mark.parametrize("data", [
    b"", b"{}", b"[]\n", b"null\n", b"{" * 100_000, b'{"a":' + b"[" * 100_000, b"\xff" * 50, b'{"schema":"boxcheck.manifest/1"}\n', b'{"schema":"boxcheck.manifest/2"}\n',
    b'{"a":1e999}\n', b'{"a":"\\ud800"}\n',
])
def test_a_manifest_that_is_none_is_refused(bench: Bench, data: bytes) -> None:
    (bench.folder / "manifest.json").write_bytes(data)
    found = bench.verify()
    assert found.exit_code == 1
    assert any("manifest.json was changed: it is no" in one or "not the canonical ones" in one for one in found.reasons), found.reasons


def test_a_huge_manifest_is_not_read(bench: Bench) -> None:
    os.truncate(bench.folder / "manifest.json", 1 << 40)
    began = time.process_time()
    found = bench.verify()
    assert found.exit_code == 1
    assert "manifest.json is larger than 16 MiB" in found.reasons
    assert time.process_time() - began < 2


def test_a_file_full_of_holes_is_not_read(bench: Bench) -> None:
    os.truncate(bench.folder / "telemetry.csv", 1 << 42)
    began = time.process_time()
    assert bench.verify().reasons == ("telemetry.csv has 4398046511104 bytes, of which none was read",)
    assert time.process_time() - began < 2


def test_fields_of_a_later_boxcheck_are_left_alone(bench: Bench) -> None:
    change_manifest(bench, zone={"new": [1, 2]})
    bench.sign()
    assert bench.verify().exit_code == 0


def test_other_bytes_for_the_same_values_are_no_manifest(bench: Bench) -> None:
    path = bench.folder / "manifest.json"
    whole = path.read_bytes()
    for made in (whole[:-1], whole + b"\n", whole.replace(b'":', b'": '), whole.replace(b'"attempt":1', b'"attempt":1.0'),
                 whole.replace(b'{"attempt":1', b'{"attempt":2,"attempt":1'), whole.replace(b"W-0007", b"W\\u002d0007")):
        assert made != whole
        with pytest.raises(ManifestError):
            parse_manifest(made)


def test_anybody_makes_the_same_manifest_from_the_same_folder(bench: Bench) -> None:
    first = (bench.folder / "manifest.json").read_bytes()
    shutil.copytree(bench.folder, bench.top / "copy")
    write_manifest(str(bench.top / "copy"))
    assert (bench.top / "copy" / "manifest.json").read_bytes() == first
    by_hand = json.dumps(json.loads(first), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
    assert by_hand == first


def test_a_folder_with_what_cannot_be_signed_gets_no_manifest(tmp_path: Path) -> None:
    folder = attempt(tmp_path / "a")
    (folder / "link").symlink_to("kernel.log")
    with pytest.raises(ManifestError, match="link is a symbolic link"):
        write_manifest(str(folder))
    (folder / "link").unlink()
    (folder / "acceptance.json").unlink()
    with pytest.raises(ManifestError, match=r"no acceptance\.json"):
        write_manifest(str(folder))


@settings(max_examples=200, deadline=None)
@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["boxcheck.manifest/1", "PASS", "a" * 64]),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(Manifest.__struct_fields__) | st.text(), inner), max_leaves=12))
def test_fuzz_of_manifests_ends_in_a_manifest_or_one_error(value: object) -> None:
    for made in (value, {"schema": "boxcheck.manifest/1", "value": value}, {"schema": "boxcheck.manifest/1", "files": value}):
        with suppress(ManifestError, UnicodeEncodeError):
            data = canonical(made)
            assert canonical(parse_manifest(data)) == data


# Where it lies

def test_a_file_of_the_folder_names_the_folder(bench: Bench) -> None:
    for name in ("manifest.json", "report.html", "manifest.json.sig", "capture.tar.gz", "SHA256SUMS"):
        assert bench.verify(bench.folder / name).exit_code == 0
    (bench.top / "link.html").symlink_to(bench.folder / "report.html")
    assert bench.verify(bench.top / "link.html").exit_code == 0


def test_a_zip_says_that_it_is_to_be_unpacked(bench: Bench) -> None:
    with pytest.raises(NothingToVerify, match="a zip is not read") as caught:
        bench.verify(Path(shutil.make_archive(str(bench.top / "attempt-01"), "zip", bench.folder)))
    assert caught.value.help == "unpack it and name the folder"


def test_a_report_alone_says_what_to_ask_for(bench: Bench) -> None:
    shutil.copyfile(bench.folder / "report.html", bench.top / "mailed.html")
    with pytest.raises(NothingToVerify, match="a report alone carries no signature"):
        bench.verify(bench.top / "mailed.html")
    with pytest.raises(NothingToVerify, match="no such file"):
        bench.verify(bench.top / "nowhere")
    (bench.top / "empty").mkdir()
    with pytest.raises(NothingToVerify, match=r"holds no manifest\.json"):
        bench.verify(bench.top / "empty")


# While it changes

def test_a_folder_that_is_written_to_meanwhile_is_not_verified(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file grows after its size was read; a new one comes after the names were."""
    import boxcheck.certify.contents as contents

    before = contents.enter

    def slow(made: Contents, name: str, *rest: object) -> None:
        before(made, name, *rest)  # type: ignore[arg-type]
        if name == "telemetry.csv":
            with (bench.folder / name).open("ab") as stream:
                stream.write(b"9,0,9\n")
        if name == "kernel.log":
            (bench.folder / "late").write_bytes(b"")

    monkeypatch.setattr(contents, "enter", slow)
    found = bench.verify()
    assert found.exit_code == 3
    assert found.reasons == (
        "telemetry.csv was written to while it was read; read it again when nothing writes",
        "the folder changed while it was read: a file came or went; read it again")


def test_a_file_that_may_not_be_read_is_not_verified(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    opens = os.open

    def refusing(path: str, *rest: object, **more: object) -> int:  # root, which runs these tests in places, reads everything
        if path == "kernel.log":
            raise PermissionError(13, "Permission denied")
        return opens(path, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refusing)
    found = bench.verify()
    assert (found.exit_code, found.reasons) == (3, ("kernel.log cannot be read: permission denied",))


def test_hostile_words_in_every_field_stay_inert(tmp_path: Path) -> None:
    hostile = "\x1b[31m\u202e<script>=1+1\r\n" + "x" * 300
    told = acceptance(profile=hostile, verdict="pass", reason=hostile)
    told = msgspec.structs.replace(told, identity=msgspec.structs.replace(told.identity, serial=hostile), id=hostile)
    fields = {name: getattr(told, name) for name in ("profile", "reason", "identity", "id")}
    bench = Bench(tmp_path, **fields)
    text = verification_text(bench.verify(), STYLE)
    assert text.replace("\n", "").isprintable()
    assert json.dumps(verification_object(bench.verify()))


def test_the_published_schema_holds(bench: Bench) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    published = Path(__file__).parents[2] / "docs" / "reference"
    for name, schema in schemas().items():
        assert json.loads((published / name).read_text()) == json.loads(json.dumps(schema))
    schema = json.loads((published / "verification.schema.json").read_text())
    jsonschema.validate(json.loads(json.dumps(verification_object(bench.verify()))), schema)
    (bench.folder / "manifest.json").write_bytes(b"x")
    jsonschema.validate(json.loads(json.dumps(verification_object(bench.verify()))), schema)
    jsonschema.validate(
        json.loads(canonical(json.loads((attempt(bench.top / "b") / "manifest.json").read_bytes()))),
        json.loads((published / "manifest.schema.json").read_text()))


def test_a_folder_of_a_hundred_megabytes_is_verified_in_two_seconds(bench: Bench) -> None:
    (bench.folder / "run.sqlite").write_bytes(os.urandom(1 << 20) * 100)
    write_manifest(str(bench.folder))
    bench.sign()
    began = time.process_time()
    assert bench.verify().exit_code == 0
    assert time.process_time() - began < 2


def test_contents_of_what_is_no_folder_is_one_sentence(tmp_path: Path) -> None:
    from boxcheck.certify.contents import ContentsError

    for path in (tmp_path / "no", "/dev/null", "a\0b"):
        with pytest.raises(ContentsError):
            contents_of_folder(str(path))


def test_a_pass_with_waivers_is_never_told_as_a_plain_one(tmp_path: Path) -> None:
    found = Bench(tmp_path, with_waivers=True).verify()
    assert found.exit_code == 0
    assert "PASS with waivers of box W-0007: signed by" in quiet(found)
    assert "PASS with waivers, attempt 1" in verification_text(found, STYLE)

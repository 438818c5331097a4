"""`report verify`: whoever changes anything in a folder is found out, and told exactly what."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boxcheck.certify import verify as verify_module
from boxcheck.certify.acceptance import Manifest
from boxcheck.certify.allowed import allowed_line
from boxcheck.certify.contents import Contents, contents_of_folder
from boxcheck.certify.keys import public_of, sign_with_file
from boxcheck.certify.manifest import ManifestError, canonical, parse_manifest, write_manifest
from boxcheck.certify.sshsig import NAMESPACE
from boxcheck.certify.verify import Asking, NothingToVerify, Verification, verify
from boxcheck.report.text import Style
from boxcheck.report.verification import schemas, verification_object, verification_text
from tests.certify.attempt import CONTENTS, acceptance, attempt, new_key

SIGNER = "quality@maker.example"
STYLE = Style(columns=80, color=False, ascii=False, verbose=1, quiet=False)
needs_keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs OpenSSH")


class Bench:
    """A signed folder, and what is needed to verify it."""

    def __init__(self, top: Path, **fields: object) -> None:
        self.top = top
        self.key = new_key(top / "keys" / "station")
        self.list = top / "allowed_signers"
        self.list.write_text(allowed_line(public_of(f"{self.key}.pub"), SIGNER, namespace=NAMESPACE) + "\n")
        self.folder = attempt(top / "attempt-01", **fields)
        self.sign()

    def sign(self, key: Path | None = None, namespace: str = NAMESPACE) -> None:
        message = (self.folder / "manifest.json").read_bytes()
        (self.folder / "manifest.json.sig").write_text(sign_with_file(str(key or self.key), message, namespace))

    def verify(self, path: Path | None = None, **asking: object) -> Verification:
        return verify(str(path or self.folder), msgspec.structs.replace(
            Asking(allowed=str(self.list), allowed_named=True), **asking))

    def keygen(self) -> int:
        return subprocess.run(
            ["ssh-keygen", "-Y", "verify", "-f", self.list, "-I", SIGNER, "-n", NAMESPACE, "-s", self.folder / "manifest.json.sig"],
            input=(self.folder / "manifest.json").read_bytes(), capture_output=True, timeout=20).returncode


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


# The manifest

def change_manifest(bench: Bench, **fields: object) -> None:
    path = bench.folder / "manifest.json"
    path.write_bytes(canonical({**json.loads(path.read_bytes()), **fields}))


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
    began = time.monotonic()
    found = bench.verify()
    assert found.exit_code == 1
    assert "manifest.json is larger than 16 MiB" in found.reasons
    assert time.monotonic() - began < 2


def test_a_file_full_of_holes_is_not_read(bench: Bench) -> None:
    os.truncate(bench.folder / "telemetry.csv", 1 << 42)
    began = time.monotonic()
    assert bench.verify().reasons == ("telemetry.csv has 4398046511104 bytes, of which none was read",)
    assert time.monotonic() - began < 2


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


# Signature and signer

def test_without_a_signature_it_is_not_verified_and_nothing_was_changed(bench: Bench) -> None:
    (bench.folder / "manifest.json.sig").unlink()
    found = bench.verify()
    assert (found.exit_code, found.reasons) == (3, ("it is not signed: anybody can have written it",))
    assert "Not signed, but the manifest says" in verification_text(found, STYLE)


def test_without_a_manifest_nothing_is_verified(bench: Bench) -> None:
    (bench.folder / "manifest.json").unlink()
    found = bench.verify()
    assert found.exit_code == 3
    assert found.reasons[0] == "manifest.json is missing: nothing says what the files were"


def test_a_signature_by_a_key_that_the_list_does_not_name_is_refused(bench: Bench) -> None:
    bench.sign(new_key(bench.top / "keys" / "other"))
    found = bench.verify()
    assert found.exit_code == 1
    assert found.signature.signer == "unknown"
    assert found.signature.name == ""
    assert found.reasons[0].startswith("it is signed by the key SHA256:")


def test_without_any_list_the_signer_is_not_named(bench: Bench) -> None:
    found = bench.verify(allowed=str(bench.top / "none"), allowed_named=False)
    assert (found.exit_code, found.signature.signer, found.signature.name) == (3, "no-list", "")
    assert "nobody says whose the key" in found.reasons[0]


def test_a_signature_of_another_namespace_is_refused(bench: Bench) -> None:
    bench.sign(namespace="file")
    found = bench.verify()
    assert found.exit_code == 1
    assert found.reasons == ("the signature is for the namespace file, not for boxcheck-acceptance@v1: something else was signed",)


def test_a_signature_of_another_folder_is_refused(bench: Bench) -> None:
    other = Bench(bench.top / "second", disposition="FAIL", verdict="fail")
    shutil.copyfile(bench.folder / "manifest.json.sig", other.folder / "manifest.json.sig")
    shutil.copyfile(bench.list, other.list)
    assert other.verify().reasons == ("the signature does not hold: manifest.json or manifest.json.sig was changed",)


def test_a_report_that_failed_is_verified_and_says_fail_first(tmp_path: Path) -> None:
    found = Bench(tmp_path, disposition="FAIL", verdict="fail").verify()
    assert found.exit_code == 0
    assert "FAIL of box W-0007" in verification_text(found, msgspec.structs.replace(STYLE, quiet=True))


def test_self_signed_is_said_and_refused_when_strict(tmp_path: Path) -> None:
    bench = Bench(tmp_path, self_signed=True)
    found = bench.verify()
    assert (found.exit_code, found.self_signed) == (0, True)
    assert "self-signed" in verification_text(found, msgspec.structs.replace(STYLE, quiet=True))
    assert "whoever had the box could have written and signed" in " ".join(verification_text(found, STYLE).split())
    assert verification_object(found)["self_signed"] is True
    strict = bench.verify(strict=True)
    assert (strict.exit_code, strict.reasons) == (1, ("it is self-signed, which --strict refuses",))


def test_only_the_named_signer_will_do(bench: Bench) -> None:
    assert bench.verify(signer=SIGNER).exit_code == 0
    found = bench.verify(signer="somebody@else.example")
    assert (found.exit_code, found.reasons) == (1, (f"{SIGNER} signed it, not somebody@else.example",))


@pytest.mark.parametrize(("options", "at", "state"), [
    ('namespaces="file,git"', None, "namespace"),
    ('namespaces="boxcheck-*"', None, "known"),
    ('namespaces="*,!boxcheck-*"', None, "namespace"),
    ('valid-before="20200101Z"', None, "expired"),
    ('valid-before="20200101Z"', 1.5e9, "known"),
    ('valid-after="20990101Z"', None, "not-yet"),
    ('valid-after="20990101Z"', 5e9, "known"),
    ("cert-authority", None, "unknown"),
    ("no-such-option", None, "unknown"),
])
@needs_keygen
def test_options_of_the_list_count_as_they_do_for_the_standard_tool(bench: Bench, options: str, at: float | None, state: str) -> None:
    bench.list.write_text(f"{SIGNER} {options} {public_of(f'{bench.key}.pub').line}\n")
    found = bench.verify(at=at)
    assert found.signature.signer == state
    assert found.exit_code == (0 if state == "known" else 1)
    if at is None:
        assert (bench.keygen() == 0) == (state == "known")


def without_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_module, "has_library", lambda: False)


@needs_keygen
def test_without_the_library_the_standard_tool_checks(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    without_library(monkeypatch)
    assert bench.verify().exit_code == 0
    change_manifest(bench, serial="W-0008")
    found = bench.verify()
    assert (found.exit_code, found.signature.state) == (1, "wrong")


def test_with_neither_it_is_not_verified(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    without_library(monkeypatch)
    monkeypatch.setattr(verify_module, "find_keygen", lambda: None)
    found = bench.verify()
    assert found.exit_code == 3
    assert "pip install 'boxcheck[sign]'" in found.reasons[0]


@needs_keygen
@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_signatures_of_other_kinds_are_checked_by_the_standard_tool(bench: Bench, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", bench.top / kind], check=True)
    (bench.folder / "manifest.json.sig").unlink()
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-f", bench.top / kind, "-n", NAMESPACE, bench.folder / "manifest.json"], check=True)
    bench.list.write_text(allowed_line(public_of(f"{bench.top / kind}.pub"), SIGNER, namespace=NAMESPACE) + "\n")
    assert bench.verify().exit_code == 0
    path = bench.folder / "kernel.log"
    path.write_bytes(path.read_bytes() + b"x")
    assert bench.verify().exit_code == 1
    monkeypatch.setattr(verify_module, "find_keygen", lambda: None)
    assert "which needs ssh-keygen, and that is not installed" in " ".join(bench.verify().reasons)


@needs_keygen
def test_a_signature_of_a_token_is_checked_by_the_standard_tool(bench: Bench) -> None:
    """A key that a token holds (PROTOCOL.u2f of OpenSSH, "SSH U2F signatures"), played by the library."""
    import hashlib

    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from boxcheck.certify.sshsig import armored, public_key, signed_bytes, string

    token, kind, flags = Ed25519PrivateKey.generate(), "sk-ssh-ed25519@openssh.com", b"\x01\0\0\0\x07"
    raw = token.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    key = public_key(string(kind) + string(raw) + string("ssh:"))
    message = (bench.folder / "manifest.json").read_bytes()
    made = token.sign(hashlib.sha256(b"ssh:").digest() + flags + hashlib.sha256(signed_bytes(message, NAMESPACE)).digest())
    (bench.folder / "manifest.json.sig").write_text(armored(key, string(kind) + string(made) + flags, NAMESPACE))
    bench.list.write_text(allowed_line(key, SIGNER, namespace=NAMESPACE) + "\n")
    assert bench.verify().exit_code == 0
    assert bench.keygen() == 0
    change_manifest(bench, serial="W-0008")
    assert bench.verify().signature.state == "wrong"


@needs_keygen
def test_a_certificate_is_not_read_and_not_passed(bench: Bench) -> None:
    authority = new_key(bench.top / "keys" / "authority")
    subprocess.run(["ssh-keygen", "-q", "-s", authority, "-I", "id", "-n", SIGNER, f"{bench.key}.pub"], check=True)
    (bench.folder / "manifest.json.sig").unlink()
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-f", f"{bench.key}-cert.pub", "-n", NAMESPACE, bench.folder / "manifest.json"], check=True)
    bench.list.write_text(f"{SIGNER} cert-authority {public_of(f'{authority}.pub').line}\n")
    found = bench.verify()
    assert found.exit_code == 3
    assert found.reasons == ("it is signed with an OpenSSH certificate, which boxcheck does not read; ssh-keygen -Y verify does",)


@settings(max_examples=200, deadline=None)
@given(st.text() | st.text(alphabet='a@ ",=\\#!*?\n' + "namespaces") | st.from_regex(r'a@b valid-(after|before)="\d{6,15}Z?" ssh-ed25519 AAAA', fullmatch=True))
def test_fuzz_of_lists_allows_nobody_by_mistake(text: str) -> None:
    from boxcheck.certify.allowed import parse_list

    found = parse_list(text)
    assert found.lines == ()
    assert all(one.isprintable() for one in found.complaints)


# Where it lies

def test_a_file_of_the_folder_names_the_folder(bench: Bench) -> None:
    for name in ("manifest.json", "report.html", "manifest.json.sig", "capture.tar.gz", "SHA256SUMS"):
        assert bench.verify(bench.folder / name).exit_code == 0
    (bench.top / "link.html").symlink_to(bench.folder / "report.html")
    assert bench.verify(bench.top / "link.html").exit_code == 0


def test_a_report_alone_says_what_to_ask_for(bench: Bench) -> None:
    shutil.copyfile(bench.folder / "report.html", bench.top / "mailed.html")
    with pytest.raises(NothingToVerify, match="a report alone carries no signature"):
        bench.verify(bench.top / "mailed.html")
    with pytest.raises(NothingToVerify, match="no such file"):
        bench.verify(bench.top / "nowhere")
    (bench.top / "empty").mkdir()
    with pytest.raises(NothingToVerify, match=r"holds no manifest\.json"):
        bench.verify(bench.top / "empty")


def packed(bench: Bench, mode: str = "w:gz", name: str = "attempt-01.tar.gz", top: str = "attempt-01") -> Path:
    path = bench.top / name
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        tar.add(bench.folder, top)
    return path


@pytest.mark.parametrize(("mode", "name", "top"), [
    ("w:gz", "a.tar.gz", "attempt-01"), ("w", "a.tar", "."), ("w:xz", "a.tar.xz", "a/b/attempt-01")])
def test_a_tar_of_the_folder_is_verified_without_being_unpacked(bench: Bench, mode: str, name: str, top: str) -> None:
    assert bench.verify(packed(bench, mode, name, top)).exit_code == 0
    (bench.folder / "profile.toml").write_bytes(b"name = 'x'\n")
    assert bench.verify(packed(bench, mode, name, top)).reasons == ("profile.toml was changed, 11 bytes instead of 34",)


def test_a_tar_with_what_no_folder_has_is_refused(bench: Bench) -> None:
    path = packed(bench, "w", "a.tar")
    for says, kind, name, link in (
        ("../evil is no name", tarfile.REGTYPE, "attempt-01/../evil", ""),
        ("lies outside of the attempt's folder", tarfile.REGTYPE, "elsewhere/x", ""),
        ("kernel.log is there twice", tarfile.REGTYPE, "attempt-01/kernel.log", ""),
        ("l is a link", tarfile.SYMTYPE, "attempt-01/l", "/etc/passwd"),
        ("h is a link", tarfile.LNKTYPE, "attempt-01/h", "attempt-01/kernel.log"),
        ("d is no plain file", tarfile.CHRTYPE, "attempt-01/d", ""),
    ):
        copy = bench.top / "hostile.tar"
        shutil.copyfile(path, copy)
        with tarfile.open(copy, "a") as tar:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, link
            tar.addfile(member)
        found = bench.verify(copy)
        assert found.exit_code == 1, says
        assert any(says in one for one in found.reasons), (says, found.reasons)


def test_tars_that_hold_no_attempt_or_several_are_told(bench: Bench) -> None:
    (bench.folder / "manifest.json").unlink()
    with pytest.raises(NothingToVerify, match=r"holds no manifest\.json"):
        bench.verify(packed(bench, "w", "b.tar"))
    bench = Bench(bench.top / "two")
    path = packed(bench, "w", "c.tar")
    with tarfile.open(path, "a") as tar:
        tar.add(bench.folder, "attempt-02")
    with pytest.raises(NothingToVerify, match="holds 2 attempts"):
        bench.verify(path)
    whole = packed(bench, "w:gz", "d.tar.gz").read_bytes()
    for cut in (0, 5, 30, 100, len(whole) // 2, len(whole) - 5):
        (bench.top / "cut.tar.gz").write_bytes(whole[:cut])
        with pytest.raises(NothingToVerify):
            bench.verify(bench.top / "cut.tar.gz")


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


def quiet(found: Verification) -> str:
    return " ".join(verification_text(found, msgspec.structs.replace(STYLE, quiet=True)).split())


def test_a_pass_with_waivers_is_never_told_as_a_plain_one(tmp_path: Path) -> None:
    found = Bench(tmp_path, with_waivers=True).verify()
    assert found.exit_code == 0
    assert "PASS with waivers of box W-0007: signed by" in quiet(found)
    assert "PASS with waivers, attempt 1" in verification_text(found, STYLE)


@pytest.mark.parametrize(("mode", "behind"), [
    ("w", b"\0" * 5000 + b"x"), ("w:gz", b"\0" * 600_000 + b"x"), ("w:gz", b"x"), ("w:xz", b"\0\0\0\0junk"),
    ("w:bz2", b"junk")])
def test_a_tar_with_bytes_behind_its_end_is_not_verified(bench: Bench, mode: str, behind: bytes) -> None:
    path = packed(bench, mode, "a.tar")
    whole = path.read_bytes()
    path.write_bytes(whole + behind)
    with pytest.raises(NothingToVerify, match="holds something behind its end mark"):
        bench.verify(path)
    path.write_bytes(whole + (b"" if mode == "w:xz" else bytes(len(behind))))
    assert bench.verify(path).exit_code == 0, "a tape drive fills its last block with zeros"


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_second_tar_behind_the_first_is_not_verified(bench: Bench, mode: str) -> None:
    path = packed(bench, mode, "a.tar.gz")
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(NothingToVerify, match="holds something behind its end mark"):
        bench.verify(path)


def test_a_list_that_is_a_pipe_is_waited_for_by_nobody(bench: Bench) -> None:
    pipe = bench.top / "pipe"
    os.mkfifo(pipe)
    done = subprocess.run(
        [sys.executable, "-m", "boxcheck", "report", "verify", str(bench.folder), "--allowed-signers", str(pipe)],
        capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "pipe: is no file" in done.stderr


@pytest.mark.parametrize("options", ["", 'valid-before="20200101Z" '])
def test_a_key_of_several_names_signs_as_each_of_them(bench: Bench, options: str) -> None:
    key = public_of(f"{bench.key}.pub").line
    bench.list.write_text(f"old@maker.example {options}{key}\n{SIGNER} {key}\n")
    found = bench.verify(signer=SIGNER)
    assert (found.exit_code, found.signature.name) == (0, SIGNER)
    assert bench.verify(signer="old@maker.example").exit_code == (1 if options else 0)
    other = bench.verify(signer="somebody@else.example")
    assert (other.exit_code, other.signature.signer) == (1, "another")
    bench.list.write_text(f'old@maker.example {key}\n{SIGNER} valid-before="20200101Z" {key}\n')
    gone = bench.verify(signer=SIGNER)
    assert (gone.exit_code, gone.signature.signer) == (1, "expired"), "another name that is valid does not lift it"


@pytest.mark.parametrize("principals", ["*", "*@maker.example", "a@maker.example,quality@maker.example"])
def test_a_pattern_is_not_told_as_a_signer(bench: Bench, principals: str) -> None:
    bench.list.write_text(f"{principals} {public_of(f'{bench.key}.pub').line}\n")
    found = bench.verify()
    assert found.exit_code == 0
    assert f"signed by a key that the list allows for {principals}, nothing was changed" in quiet(found)
    assert "signer " not in verification_text(found, msgspec.structs.replace(STYLE, verbose=0)).split("It does not")[0]
    if principals != "*":
        assert f"signed by a key that the list allows for {principals}, not for x@y" in quiet(bench.verify(signer="x@y"))
    assert f"signed by {'x@y' if principals == '*' else SIGNER}," in quiet(
        bench.verify(signer="x@y" if principals == "*" else SIGNER))

"""`report verify`: who signed, with which key and by which list."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boxcheck.certify import verify as verify_module
from boxcheck.certify.allowed import allowed_line
from boxcheck.certify.keys import public_of
from boxcheck.certify.sshsig import NAMESPACE
from boxcheck.report.verification import verification_object, verification_text
from tests.certify.attempt import new_key
from tests.certify.signed import SIGNER, STYLE, Bench, change_manifest, needs_keygen, quiet


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


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
    ("namespaces=boxcheck-acceptance@v1", None, "unknown"),
    ("valid-after=20200101Z", None, "unknown"),
    ('namespaces="boxcheck-acceptance@v1",valid-before="20990101Z"', None, "known"),
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


def test_a_key_that_has_ended_since_is_told_beside_the_time_that_was_asked_for(bench: Bench) -> None:
    assert bench.verify(at=1.5e9).signature.not_now == ""
    bench.list.write_text(f'{SIGNER} valid-before="20200101Z" {public_of(f"{bench.key}.pub").line}\n')
    found = bench.verify(at=1.5e9)
    assert found.exit_code == 0
    assert f"signed by {SIGNER}, whose key is not allowed today, nothing was changed" in quiet(found)
    assert "allowed its key until 2020-01-01" in " ".join(verification_text(found, STYLE).split())
    assert verification_object(found)["signature"]["not_now"]


@needs_keygen
def test_a_byte_order_mark_belongs_to_no_name(bench: Bench) -> None:
    bench.list.write_text("\ufeff" + bench.list.read_text())
    found = bench.verify()
    assert (found.signature.signer, bench.keygen() == 0) == ("unknown", False)
    assert "byte order mark" in found.reasons[0]


@needs_keygen
@pytest.mark.parametrize("blank", ["\t", " ", "\u00a0", "\u2003", "\x0b"])
def test_what_is_a_blank_in_a_list_is_what_ssh_keygen_takes_for_one(bench: Bench, blank: str) -> None:
    kind, key = public_of(f"{bench.key}.pub").line.split()[:2]
    for line in (f"{SIGNER}{blank}{kind} {key}", f"{SIGNER} {kind}{blank}{key}", f"{SIGNER} {kind} {key}{blank}station"):
        bench.list.write_text(f"{line}\n")
        assert (bench.verify().signature.signer == "known") == (bench.keygen() == 0), (line, blank)


@needs_keygen
@pytest.mark.parametrize("line", [
    "{key}=", "{name} namespaces=\"*\",, {key}", "{name} cert-authority, {key}", "\"quality@maker\".example {key}",
    "\"{name}\" {key}", "\"\"{name}\"\" {key}", "{name}\0 {key}", "*\x01 {key}", "{name} valid-after=\"19691231Z\" {key}",
    "{name} valid-before=\"99991231Z\" {key}"])
def test_no_line_allows_more_than_it_does_for_the_standard_tool(bench: Bench, line: str) -> None:
    line = line if "{name}" in line or line[0] in '*"' else f"{{name}} {line}"
    bench.list.write_text(line.format(name=SIGNER, key=public_of(f"{bench.key}.pub").line) + "\n")
    found = bench.verify()
    assert (found.signature.signer == "known", found.exit_code == 0) == (bench.keygen() == 0,) * 2, found.signature.name


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

"""The signature's format, against OpenSSH's own program wherever that can say something."""

from __future__ import annotations

import base64
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boxcheck.certify.keygen import keygen_sign
from boxcheck.certify.keys import KeyTrouble, read_key_file, sign_with_file
from boxcheck.certify.sshsig import (
    BEGIN,
    END,
    NAMESPACE,
    SignatureError,
    armored,
    holds,
    parse_armor,
    public_key,
    string,
)
from tests.certify.attempt import new_key

MESSAGE = b'{"a":1}\n'
needs_keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs OpenSSH")


def keygen(*words: object, data: bytes = b"", cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["ssh-keygen", *map(str, words)], input=data, capture_output=True, cwd=cwd, timeout=20)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_key(tmp_path_factory.mktemp("keys") / "one")


@pytest.fixture(scope="module")
def armor(key: Path) -> bytes:
    return sign_with_file(str(key), MESSAGE, NAMESPACE).encode()


def allowed(key: Path, folder: Path) -> Path:
    path = folder / "allowed"
    path.write_text(f"a@b {(key.parent / f'{key.name}.pub').read_text()}")
    return path


@needs_keygen
def test_the_standard_tool_accepts_what_is_signed_here(key: Path, armor: bytes, tmp_path: Path) -> None:
    (tmp_path / "s.sig").write_bytes(armor)
    for verb in (("verify", "-f", allowed(key, tmp_path), "-I", "a@b"), ("check-novalidate",)):
        done = keygen("-Y", *verb, "-n", NAMESPACE, "-s", tmp_path / "s.sig", data=MESSAGE)
        assert done.returncode == 0, done.stderr
    assert keygen("-Y", "check-novalidate", "-n", "file", "-s", tmp_path / "s.sig", data=MESSAGE).returncode != 0


@needs_keygen
def test_what_the_standard_tool_signs_is_the_same_bytes(key: Path, armor: bytes) -> None:
    """Ed25519 is deterministic, and so is the file around it."""
    done = keygen("-Y", "sign", "-q", "-f", key, "-n", NAMESPACE, data=MESSAGE)
    assert done.stdout == armor


@needs_keygen
def test_signing_by_the_standard_tool_says_nothing_of_files_that_are_gone(key: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert keygen_sign(str(key), MESSAGE, NAMESPACE).startswith("-----BEGIN SSH SIGNATURE-----")
    assert capfd.readouterr().err == ""


def test_fingerprints_are_those_of_the_standard_tool(key: Path) -> None:
    found = read_key_file(f"{key}.pub")
    assert keygen("-l", "-f", f"{key}.pub").stdout.split()[1].decode() == found.fingerprint  # type: ignore[union-attr]


def test_it_holds_over_its_message_and_no_other(armor: bytes) -> None:
    found = parse_armor(armor)
    assert found.namespace == NAMESPACE
    assert holds(found, MESSAGE)
    assert not holds(found, MESSAGE + b" ")
    assert not holds(found, b"")


def test_every_single_changed_bit_of_the_file_is_refused(armor: bytes) -> None:
    """All of them: 300 bytes, 8 bits each."""
    accepted = []
    for at in range(len(armor)):
        for bit in range(8):
            changed = bytearray(armor)
            changed[at] ^= 1 << bit
            try:
                found = parse_armor(bytes(changed))
            except SignatureError:
                continue
            if found.namespace == NAMESPACE and holds(found, MESSAGE):
                accepted.append((at, bit))
    assert accepted == []


def test_every_truncated_and_lengthened_file_is_refused(armor: bytes) -> None:
    for made in (*(armor[:n] for n in range(len(armor))), armor + b"\n", armor + b" ", b"\n" + armor, armor * 2, b"\xef\xbb\xbf" + armor):
        with pytest.raises(SignatureError):
            parse_armor(made)


def rearmored(blob: bytes) -> bytes:
    text = base64.b64encode(blob).decode()
    return "\n".join((BEGIN, *(text[at:at + 70] for at in range(0, len(text), 70)), END, "")).encode()


def blob_of(armor: bytes) -> bytes:
    return base64.b64decode(b"".join(armor.split(b"\n")[1:-2]))


@pytest.mark.parametrize(("says", "change"), [
    ("is no SSHSIG", lambda blob: b"SSHSIH" + blob[6:]),
    ("version 2", lambda blob: blob[:6] + b"\0\0\0\2" + blob[10:]),
    ("no namespace", lambda blob: blob.replace(string(NAMESPACE), string(""))),
    ("field that is reserved", lambda blob: blob.replace(
        string(NAMESPACE) + string(""), string(NAMESPACE) + string("x"))),
    ("hashes by sha1", lambda blob: blob.replace(string("sha512"), string("sha1"))),
    ("two kinds", lambda blob: blob[:-87] + string(string("ssh-rsa") + string(b"x" * 64))),
    ("kind that is not known: ssh-ed25518", lambda blob: blob.replace(b"ssh-ed25519", b"ssh-ed25518", 1)),
    ("ends in the middle", lambda blob: blob[:-1]),
    ("ends in the middle", lambda blob: blob[:10] + b"\xff\xff\xff\xff" + blob[14:]),
    ("something follows", lambda blob: blob + b"x"),
    ("not printable", lambda blob: blob.replace(b"boxcheck-acc", b"boxcheck\x1b[31")),
])
def test_a_blob_that_is_none_says_why(armor: bytes, says: str, change: object) -> None:
    with pytest.raises(SignatureError, match=says):
        parse_armor(rearmored(change(blob_of(armor))))  # type: ignore[operator]


def test_a_huge_file_is_not_decoded(armor: bytes) -> None:
    with pytest.raises(SignatureError, match="larger than"):
        parse_armor(armor.replace(BEGIN.encode(), BEGIN.encode() + b"\n" + b"A" * 70_000))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_fuzz_of_armor_and_blob_ends_in_a_signature_or_one_error(data: bytes) -> None:
    for made in (data, rearmored(data), rearmored(b"SSHSIG\0\0\0\1" + data)):
        with suppress(SignatureError):
            parse_armor(made)
            assert rearmored(blob_of(made)) == made


def test_a_signature_for_another_key_does_not_hold(armor: bytes, tmp_path: Path) -> None:
    other = read_key_file(str(new_key(tmp_path / "other")))
    mine = parse_armor(armor)
    swapped = parse_armor(armored(other.public, mine.blob, NAMESPACE).encode())  # type: ignore[union-attr]
    assert not holds(swapped, MESSAGE)


def test_an_ed25519_key_of_another_length_is_none() -> None:
    with pytest.raises(SignatureError, match="32 bytes"):
        public_key(string("ssh-ed25519") + string(b"x" * 31))


# Key files

def test_a_key_that_others_may_read_is_not_used(key: Path, tmp_path: Path) -> None:
    copy = tmp_path / "loose"
    copy.write_bytes(key.read_bytes())
    for mode in (0o640, 0o604, 0o660, 0o601):
        copy.chmod(mode)
        with pytest.raises(KeyTrouble, match="may be read by others"):
            sign_with_file(str(copy), MESSAGE, NAMESPACE)
    copy.chmod(0o600)
    assert sign_with_file(str(copy), MESSAGE, NAMESPACE)


@needs_keygen
@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_keys_of_other_kinds_are_refused_with_what_to_do(kind: str, tmp_path: Path) -> None:
    keygen("-q", "-t", kind, "-N", "", "-f", tmp_path / kind)
    with pytest.raises(KeyTrouble, match="boxcheck signs with ssh-ed25519") as caught:
        sign_with_file(str(tmp_path / kind), MESSAGE, NAMESPACE)
    assert "boxcheck keys new" in caught.value.help


@needs_keygen
def test_an_encrypted_key_is_opened_by_the_standard_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, armor: bytes) -> None:
    """The passphrase comes from an askpass program, as on a desktop."""
    keygen("-q", "-t", "ed25519", "-N", "correct horse", "-f", tmp_path / "k")
    ask = tmp_path / "ask"
    ask.write_text("#!/bin/sh\necho 'correct horse'\n")
    ask.chmod(0o755)
    monkeypatch.setenv("SSH_ASKPASS", str(ask))
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    made = parse_armor(sign_with_file(str(tmp_path / "k"), MESSAGE, NAMESPACE).encode())
    assert holds(made, MESSAGE)
    ask.write_text("#!/bin/sh\necho wrong\n")
    with pytest.raises(KeyTrouble, match="signed nothing"):
        sign_with_file(str(tmp_path / "k"), MESSAGE, NAMESPACE)


@pytest.mark.parametrize("data", [
    b"", b"\n", b"-----BEGIN OPENSSH PRIVATE KEY-----\n", b"-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n",
    b"ssh-ed25519 AAAA\nssh-ed25519 BBBB\n", b"ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIKt2\n", b"\xff\xfe\0\0" * 99,
    b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\n-----END OPENSSH PRIVATE KEY-----\n",
])
def test_what_is_no_key_gets_one_sentence(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "k").write_bytes(data)
    (tmp_path / "k").chmod(0o600)
    with pytest.raises(KeyTrouble, match="is no key that is understood"):
        sign_with_file(str(tmp_path / "k"), MESSAGE, NAMESPACE)


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, 10_000), value=st.integers(0, 255))
def test_fuzz_of_key_files_never_signs_with_another_key(at: int, value: int, key: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    data = bytearray(key.read_bytes())
    data[at % len(data)] = value
    path = tmp_path_factory.mktemp("fuzz") / "k"
    path.write_bytes(data)
    path.chmod(0o600)
    try:
        made = sign_with_file(str(path), MESSAGE, NAMESPACE)
    except KeyTrouble:
        return
    found = parse_armor(made.encode())
    whole = read_key_file(str(key))
    assert found.key.blob == whole.public.blob  # type: ignore[union-attr]


def test_without_library_and_program_it_says_what_to_install(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boxcheck.certify.keys.has_library", lambda: False)
    monkeypatch.setattr("boxcheck.certify.keys.find_keygen", lambda: None)
    with pytest.raises(KeyTrouble, match="neither cryptography nor ssh-keygen") as caught:
        sign_with_file(str(key), MESSAGE, NAMESPACE)
    assert "boxcheck[sign]" in caught.value.help


@needs_keygen
def test_an_encrypted_key_without_the_program_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keygen("-q", "-t", "ed25519", "-N", "correct horse", "-f", tmp_path / "k")
    monkeypatch.setattr("boxcheck.certify.keys.find_keygen", lambda: None)
    with pytest.raises(KeyTrouble, match="is encrypted, and ssh-keygen, which asks for its passphrase, is not installed"):
        sign_with_file(str(tmp_path / "k"), MESSAGE, NAMESPACE)


@needs_keygen
def test_without_the_library_the_program_signs_the_same(key: Path, armor: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boxcheck.certify.keys.has_library", lambda: False)
    assert sign_with_file(str(key), MESSAGE, NAMESPACE).encode() == armor

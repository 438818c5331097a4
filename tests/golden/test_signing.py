"""Signed reference measurements: ssh-keygen accepts them, any change is refused, and whose key it is is told."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from boxcheck.certify.keys import public_of, sign_with_file
from boxcheck.certify.sshsig import NAMESPACE as ACCEPTANCE
from boxcheck.golden import signing
from boxcheck.golden.reference import parse_reference, reference_bytes
from boxcheck.golden.signing import NAMESPACE, Signing, line_for_others, refuse_tested_box, sign_reference, signature_of
from boxcheck.usage import UsageError
from tests.certify.attempt import new_key
from tests.golden.test_reference import GOOD


class Signed:
    """A reference, a key, its signature, and the list of those who take it."""

    def __init__(self, folder: Path) -> None:
        self.key = new_key(folder / "keys" / "rates")
        self.place = folder / "rates.json"
        self.data = reference_bytes(parse_reference(msgspec.json.encode(GOOD), "x"))
        self.place.write_bytes(self.data)
        armor, self.public = sign_reference(self.data, Signing(key=str(self.key)))
        self.signature = folder / "rates.json.sig"
        self.signature.write_text(armor)
        self.allowed = folder / "allowed"
        self.allowed.write_text(line_for_others(self.public, "maker@example") + "\n")


@pytest.fixture
def signed(tmp_path: Path) -> Signed:
    return Signed(tmp_path)


def test_the_signer_is_named_by_the_list(signed: Signed) -> None:
    seen = signature_of(str(signed.place), signed.data, str(signed.allowed))
    assert (seen.state, seen.name, seen.fingerprint) == ("good", "maker@example", signed.public.fingerprint)
    assert public_of(f"{signed.key}.pub").fingerprint == seen.fingerprint


@pytest.mark.parametrize("names", ["*", "*@maker.example", "a@maker.example,b@maker.example"])
def test_a_line_for_many_names_nobody_as_the_signer(signed: Signed, names: str) -> None:
    signed.allowed.write_text(line_for_others(signed.public, names) + "\n")
    seen = signature_of(str(signed.place), signed.data, str(signed.allowed))
    assert (seen.state, seen.name) == ("good", "")
    assert seen.says.startswith(f"signed by the key {signed.public.fingerprint}, which ")
    assert seen.says.endswith(f"allows for {names}; that names nobody")


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs OpenSSH")
def test_ssh_keygen_accepts_it_and_refuses_a_change(signed: Signed) -> None:
    def verify(data: bytes) -> int:
        return subprocess.run(
            ["ssh-keygen", "-Y", "verify", "-f", str(signed.allowed), "-I", "maker@example", "-n", NAMESPACE, "-s",
             str(signed.signature)], input=data, capture_output=True, timeout=30, check=False).returncode

    assert verify(signed.data) == 0
    assert verify(signed.data.replace(b"163.0", b"163.1")) != 0


@pytest.mark.parametrize("at", range(0, 1200, 37))
def test_every_changed_byte_of_the_file_is_refused(signed: Signed, at: int) -> None:
    at %= len(signed.data)
    changed = signed.data[:at] + bytes([signed.data[at] ^ 1]) + signed.data[at + 1:]
    with pytest.raises(UsageError, match="does not hold"):
        signature_of(str(signed.place), changed)


def test_a_damaged_signature_is_refused(signed: Signed) -> None:
    signed.signature.write_text("hello\n")
    with pytest.raises(UsageError, match="is no signature"):
        signature_of(str(signed.place), signed.data)


def test_a_signature_for_something_else_is_refused(signed: Signed) -> None:
    signed.signature.write_text(sign_with_file(str(signed.key), signed.data, ACCEPTANCE))
    with pytest.raises(UsageError, match=f"not for {NAMESPACE}"):
        signature_of(str(signed.place), signed.data)


def test_a_key_that_nobody_knows(signed: Signed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert "no list of allowed signers" in signature_of(str(signed.place), signed.data).says
    other = tmp_path / "others"
    other.write_text(line_for_others(public_of(f"{new_key(tmp_path / 'keys' / 'other')}.pub"), "else@example") + "\n")
    with pytest.raises(UsageError, match="does not allow"):
        signature_of(str(signed.place), signed.data, str(other))
    signed.signature.unlink()
    assert signature_of(str(signed.place), signed.data).state == "missing"
    with pytest.raises(UsageError, match="is missing"):
        signature_of(str(signed.place), signed.data, str(signed.allowed))


def test_an_acceptance_key_does_not_count_for_references(signed: Signed) -> None:
    signed.allowed.write_text(signed.allowed.read_text().replace(NAMESPACE, ACCEPTANCE))
    with pytest.raises(UsageError, match="only, not for"):
        signature_of(str(signed.place), signed.data, str(signed.allowed))


def test_a_key_file_on_a_box_that_was_measured_is_refused_unless_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    here = {"machine-id": "0123456789abcdef"}
    monkeypatch.setattr(signing, "marks", lambda: here)
    monkeypatch.setattr(signing, "_marks_of", lambda path: here)
    with pytest.raises(UsageError, match="this is a box that was measured") as refused:
        refuse_tested_box(["x"], Signing(key="k"))
    assert "--self-signed" in refused.value.help
    refuse_tested_box(["x"], Signing(key="k", self_signed=True))
    refuse_tested_box(["x"], Signing())
    monkeypatch.setattr(signing, "agent_place", lambda: "unknown")
    with pytest.raises(UsageError, match="not known to be forwarded"):
        refuse_tested_box(["x"], Signing(agent=True))
    monkeypatch.setattr(signing, "agent_place", lambda: "elsewhere")
    refuse_tested_box(["x"], Signing(agent=True))
    monkeypatch.setattr(signing, "_marks_of", lambda path: {"machine-id": "fedcba9876543210"})
    refuse_tested_box(["x"], Signing(key="k"))


def test_no_key_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        sign_reference(b"{}", Signing(key=str(tmp_path / "none")))

"""A signed folder, and what is needed to verify it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from boxcheck.certify.allowed import allowed_line
from boxcheck.certify.keys import public_of, sign_with_file
from boxcheck.certify.manifest import canonical
from boxcheck.certify.sshsig import NAMESPACE
from boxcheck.certify.verify import Asking, Verification, verify
from boxcheck.report.text import Style
from boxcheck.report.verification import verification_text
from tests.certify.attempt import attempt, new_key

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


# The manifest

def change_manifest(bench: Bench, **fields: object) -> None:
    path = bench.folder / "manifest.json"
    path.write_bytes(canonical({**json.loads(path.read_bytes()), **fields}))


def quiet(found: Verification) -> str:
    return " ".join(verification_text(found, msgspec.structs.replace(STYLE, quiet=True)).split())

"""Folders of attempts as `certify` leaves them, and keys to sign them with; made in a moment, without a run."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from boxcheck.certify.acceptance import Acceptance, Identity
from boxcheck.certify.keyring import _make
from boxcheck.certify.manifest import write_manifest
from boxcheck.store.creating import create_run
from boxcheck.store.rows import RunInfo

CONTENTS = {
    "run.sqlite": b"SQLite format 3\0" + bytes(range(256)) * 40,
    "capture.tar.gz": b"\x1f\x8b" + os.urandom(3000),
    "kernel.log": b"[    0.000000] Linux version 6.8.0\n" * 30,
    "telemetry.csv": b"seconds,gpu,watts\n" + b"".join(b"%d,0,%d\n" % (n, 300 + n % 7) for n in range(200)),
    "report.html": b"<!doctype html><html lang=en><title>W-0007</title><p>PASS</p></html>\n",
    "profile.toml": b'name = "wopr-7x4090"\nrevision = 3\n',
    "verdict.json": b'{"schema":"boxcheck.stress/1","acceptance":{"disposition":"PASS","self_signed":false},"later":1}\n',
    "evidence/lspci.txt": b"00:00.0 Host bridge\n",
}


def acceptance(**fields: object) -> Acceptance:
    told = Acceptance(
        id="0b2c7d0e-6d6f-4c8e-9d55-0f6f7e5f9a01", version="0.4.0", identity=Identity(serial="W-0007", serial_from="operator"),
        attempt=1, attempts=1, profile="wopr-7x4090", profile_revision=3, profile_sha256="a" * 64,
        started=1795881600.0, finished=1795896000.0, run="2026-11-28T160000Z-burn", disposition="PASS", verdict="pass",
        reason="every required check passed", machine={"machine-id": "0123456789abcdef", "boot": "fedcba9876543210"})
    return msgspec.structs.replace(told, **fields)


def attempt(folder: Path, **fields: object) -> Path:
    """A folder, with its manifest, not signed."""
    folder.mkdir(parents=True)
    for name, data in CONTENTS.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    told = msgspec.json.encode(acceptance(**fields))
    (folder / "acceptance.json").write_bytes(msgspec.json.format(told, indent=1))
    write_manifest(str(folder))
    return folder


def new_key(path: Path, comment: str = "station 3") -> Path:
    """A key without passphrase, beside its `.pub`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _make(str(path), comment)
    return path


def run_of(folder: Path, machine: str, attempt: str = "") -> str:
    """Path of the store of a run that was begun on a machine, and cut off. `attempt`: what it says that it is of."""
    folder.mkdir(exist_ok=True)
    plan = {"machine": machine, **({"job": {"attempt": attempt}} if attempt else {})}
    with create_run(str(folder), RunInfo(kind="burn", version="0.4.0", plan=plan), least_free_bytes=0) as run:
        return run.path

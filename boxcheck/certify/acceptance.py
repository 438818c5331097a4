"""The nouns of an acceptance. Pure data; JSON is its stored form (`acceptance.json`, schema "boxcheck.acceptance/1").

The folder of an attempt:

    acceptance.json     this; what was asked, who asked, what came of it
    run.sqlite          the run: doctor, burn, doctor, as the engine wrote it
    capture.tar.gz      what doctor read before the load    capture-after.tar.gz   after it
    kernel.log          of the time of the run
    telemetry.csv       report.html  report.pdf  junit.xml  run.ocptv.jsonl  verdict.json
    profile.toml        limits as they were resolved
    riser.json          the notebook of a riser experiment at this box, where there was one lately
    SHA256SUMS          of all of these, for `sha256sum -c`
    manifest.json       canonical; what is signed       manifest.json.sig   the signature, where there is one

Vocabulary: openhtf (disposition, attempt), OCP Test & Validation (verdict string).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from boxcheck.store.texts import plain_line

SCHEMA = "boxcheck.acceptance/1"

Disposition = Literal["PASS", "MARGINAL PASS", "FAIL", "INCOMPLETE", "ABORTED"]
"""PASS: every required check passed. MARGINAL PASS: passed, some within the margin. FAIL: a required check failed.
INCOMPLETE: nothing failed, and something required was not read or not run. ABORTED: somebody, or a safety limit,
stopped it. Exit codes 0, 0, 1, 3, 3 (5 where a safety limit stopped it)."""


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who and what, as told by the operator or read from the machine."""

    serial: str
    """Of the box."""
    serial_from: str
    """`operator`, `baseboard`, `product`, `chassis`: who says so."""
    work_order: str = ""
    operator: str = ""
    station: str = ""
    risers: Mapping[str, str] = {}
    """Slot -> the riser's label."""
    notes: str = ""
    more: Mapping[str, str] = {}
    """Fields that a factory adds by its file of patterns."""


class Waiver(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody answers for a finding that would fail. It is shown, and never makes FAIL a plain PASS."""

    check: str
    """Id, or glob of one area."""
    where: str = ""
    """Slot, address or name of the subject; empty: wherever it is found."""
    who: str
    why: str
    until: str
    """Date, ISO, the last day on which it holds."""
    state: Literal["used", "unused", "expired", "not-yet-dated"] = "unused"


class AttemptFile(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    size_bytes: int
    sha256: str


class Acceptance(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt."""

    schema: str = SCHEMA
    id: str
    """UUID, also in the report's footer."""
    version: str
    commit: str = ""
    identity: Identity
    attempt: int
    """From 1."""
    attempts: int
    """How many there are of this box up to this one, this one included."""
    earlier: tuple[str, ...] = ()
    """`1: FAIL 2026-11-28`, the oldest first."""
    profile: str
    profile_revision: int
    profile_sha256: str
    """Of its resolved limits."""
    profile_note: str = ""
    """What is to be said of it: that it has name and revision of one that boxcheck ships, and is another."""
    forced: str = ""
    """What says that this is not the profile's box, where `--force-profile` had it taken all the same."""
    started: float
    finished: float
    """Seconds since the epoch, by the box's clock."""
    clock_trusted: bool | None = None
    """Whether it was synchronised; None where nobody tells."""
    run: str
    """Id of the run."""
    disposition: Disposition
    verdict: Literal["pass", "marginal", "fail", "unknown"]
    """Before waivers."""
    reason: str
    verdict_string: str = ""
    """Short, for a Pareto: `pcie.link-width PCIE3`; empty for a pass."""
    waivers: tuple[Waiver, ...] = ()
    with_waivers: bool = False
    """Whether the disposition rests on one."""
    files: tuple[AttemptFile, ...] = ()
    exit_code: int = 0
    planned: str = ""
    """What load was asked for: `level 3, 1 h`."""
    shortened: str = ""
    """How that is less than the profile asks for; empty where it is not. The reason says it too."""
    strict: bool = False
    """Whether `--strict` was given, by which a marginal verdict fails."""
    left_out: tuple[str, ...] = ()
    """Files of the folder that were not made, and why: `report.pdf: ...`."""
    machine: Mapping[str, str] = {}
    """Marks of the box under test, hashed (`boxcheck.certify.machine.marks`): by these `report sign` knows it again."""
    self_signed: bool = False
    """Whether the key lay on the box under test; cover, JSON and manifest say so."""


def attempt_name(number: int, serial: str) -> str:
    """As the run that is its load says of which attempt it is."""
    return f"attempt {number} of box {plain_line(serial)}"


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What is signed. Canonical: keys sorted, no white space, UTF-8, numbers as JSON has them, one line feed at the
    end; so anybody can make the same bytes from the same files."""

    schema: str = "boxcheck.manifest/1"
    id: str
    serial: str
    attempt: int
    disposition: Disposition
    with_waivers: bool
    verdict: str
    profile: str
    profile_revision: int
    profile_sha256: str
    started: str
    finished: str
    """ISO, UTC."""
    self_signed: bool = False
    """Whether the key lay on the box under test."""
    planned: str = ""
    """What load was asked for; empty in a manifest from before it was said, as is the next."""
    profile_note: str = ""
    files: tuple[AttemptFile, ...]
    """Sorted by name; every file of the folder but this one, its signature and SHA256SUMS."""

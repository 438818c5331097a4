"""Doctor's records: those that a run holds, and one that is made now by a process of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from boxcheck.model import Outcome
from boxcheck.store.errors import StoreError
from boxcheck.store.reader import RunReader

TIMEOUT_SECONDS = 180.0
STORED = ("doctor-before", "doctor-after")


class Found(msgspec.Struct, frozen=True, kw_only=True):
    check: str
    outcome: Outcome
    says: str
    subject: dict[str, Any] = {}
    blocker: bool = False
    help: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    problem: int | None = None

    @property
    def place(self) -> str:
        slot = str(self.subject.get("slot") or "")
        named = f"slot {slot}" if slot.isdigit() else slot
        return named or str(self.subject.get("name") or self.subject.get("bdf") or self.subject.get("kind") or "box")


class Grouped(msgspec.Struct, frozen=True, kw_only=True):
    title: str
    outcome: Outcome
    where: str = ""
    help: tuple[str, ...] = ()
    not_: tuple[str, ...] = msgspec.field(default=(), name="not")


class Verdict(msgspec.Struct, frozen=True):
    outcome: Outcome
    reason: str


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What of boxcheck.run/1 is shown."""

    started: str
    verdict: Verdict
    box: str = ""
    findings: tuple[Found, ...]
    problems: tuple[Grouped, ...] = ()


class Whose(msgspec.Struct, frozen=True):
    """Of which box a run is."""

    box: str = ""
    is_here: bool | None = None
    """Whether it is this machine; None where nobody knows."""


def whose(path: str | None, is_here: Callable[[str], bool | None]) -> Whose:
    """Without a run it is this machine that is looked at."""
    if path is None:
        return Whose("", True)
    try:
        with RunReader(path) as reader:
            info = reader.run().info
    except StoreError:
        return Whose()
    return Whose(info.box or info.host, is_here(path))


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """A record, or why there is none."""

    name: str
    """`doctor before`, `doctor after`, `doctor now`."""
    record: Record | None = None
    why: str = ""


def stored(path: str | None) -> tuple[Reading, ...]:
    """Those of a run, as far as it has come."""
    if path is None:
        return ()
    try:
        with RunReader(path) as reader:
            return tuple(
                _read(name.replace("-", " "), data) for name in STORED if (data := reader.attachment(name)) is not None)
    except StoreError as error:
        return (Reading(name="doctor of this run", why=str(error)),)


def read_now(
    program: Sequence[str], began: Callable[[subprocess.Popen[bytes]], None] = lambda child: None,
) -> Reading:
    """Reads the machine. Takes seconds, and no longer than a time-out. `began` is told what can be ended."""
    try:
        child = subprocess.Popen(
            program, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        began(child)
        out, err = child.communicate(timeout=TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()  # and not waited for: it may hang in a driver
        return Reading(name="doctor now", why=f"it did not end within {TIMEOUT_SECONDS:.0f} s")
    except OSError as error:
        return Reading(name="doctor now", why=f"it cannot be started: {error.strerror}")
    if not out.strip():
        lines = err.decode("utf-8", "replace").strip().splitlines() or [f"exit code {child.returncode}"]
        return Reading(name="doctor now", why=lines[-1])
    return _read("doctor now", out)


def _read(name: str, data: bytes) -> Reading:
    try:
        return Reading(name=name, record=msgspec.json.decode(data, type=Record))
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return Reading(name=name, why=f"its record cannot be read: {error}")

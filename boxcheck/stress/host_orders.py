"""What a module of the host and its processes say to each other: one JSON object a line, over two pipes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from boxcheck.stress import Rig, WrongWord

Setting = str | int | float
Notes = Mapping[str, str | int | float]


class Job(msgspec.Struct, frozen=True, kw_only=True, tag="job", tag_field="is"):
    """The first line to a process: what it is there for."""

    work: Literal["cpu", "memory", "drive", "network"]
    name: str
    """What it works on, as a person calls it: `core 3`, `nvme0n1`."""
    number: int
    """Of this process among those of the run, from 0."""
    cpu: int | None = None
    """The logical processor that it is pinned to; None: it may run anywhere."""
    seed: int = 1
    settings: Mapping[str, Setting] = {}
    fault: str | None = None
    """A fault to put in (`boxcheck.stress.FAULTS`), and at which piece of work, counted from 0."""
    after: int = 2


class Order(msgspec.Struct, frozen=True, kw_only=True, tag="order", tag_field="is"):
    """One piece of work."""

    do: str
    seconds: float = 0.0
    start_at: float | None = None
    """CLOCK_MONOTONIC at which all processes begin together; None: at once."""
    settings: Mapping[str, Setting] = {}


class Stop(msgspec.Struct, frozen=True, tag="stop", tag_field="is"):
    """End the piece at your next chance. The end of the pipe ends the process at once."""


class Ready(msgspec.Struct, frozen=True, tag="ready", tag_field="is"):
    """Everything that the work needs is there."""

    notes: Notes = {}


class Alive(msgspec.Struct, frozen=True, tag="alive", tag_field="is"):
    """A sign of life within a piece."""


class Done(msgspec.Struct, frozen=True, kw_only=True, tag="done", tag_field="is"):
    """What a piece came to."""

    seconds: float = 0.0
    """Time of the work alone, without its verification."""
    amount: float = 0.0
    """Operations done, or bytes moved, in that time."""
    checked: int = 0
    wrong: int = 0
    words: tuple[WrongWord, ...] = ()
    notes: Notes = {}


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag="refused", tag_field="is"):
    """The process could not do it, and ends."""

    kind: str
    """A GpuErrorKind, or `bug`."""
    says: str
    help: str = ""
    traceback: str = ""


ToChild = Job | Order | Stop
FromChild = Ready | Alive | Done | Refused

encode = msgspec.json.Encoder().encode
decode_order = msgspec.json.Decoder(ToChild).decode
decode_report = msgspec.json.Decoder(FromChild).decode


def fault_of(rig: Rig) -> tuple[str | None, int]:
    """The fault that was asked for, and at which piece it happens. The worker puts a `FaultyGpu` before the device;
    what a module of the host does goes through no device, so it puts the fault in itself."""
    return getattr(rig.gpu, "fault", None), int(getattr(rig.gpu, "after", 2))


def full_size(rig: Rig) -> bool:
    """Whether sizes are those of the machine. Other than for GPU modules a processor is no reason for small ones."""
    return rig.options.get("size") != "test"

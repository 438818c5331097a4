"""What a worker and its supervisor say to each other: one JSON object a line, over two pipes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from boxcheck.gpu import Backend, GpuInfo
from boxcheck.stress import Sample
from boxcheck.telemetry.readings import Reading


class Open(msgspec.Struct, frozen=True, tag="open", tag_field="is"):
    """Open these devices of one backend, and keep them."""

    backend: Backend
    indices: tuple[int, ...]


class List(msgspec.Struct, frozen=True, tag="list", tag_field="is"):
    """Say which devices a backend shows."""

    backend: Backend


class Run(msgspec.Struct, frozen=True, tag="run", tag_field="is", kw_only=True):
    """Run a module over the opened devices."""

    module: str
    seconds: float
    seed: int
    options: Mapping[str, str] = {}
    inject: str | None = None
    inject_after: int = 2
    together: bool = False
    """Whether it says Ready when it could begin, and waits for Start."""


class Start(msgspec.Struct, frozen=True, tag="start", tag_field="is"):
    """Begin at this moment, as all others that are ready."""

    at: float
    """CLOCK_MONOTONIC, one for the whole machine."""


class Stop(msgspec.Struct, frozen=True, tag="stop", tag_field="is"):
    """End the running module at its next chance."""


Order = Open | List | Run | Start | Stop


class Devices(msgspec.Struct, frozen=True, tag="devices", tag_field="is"):
    """What was listed or opened."""

    gpus: tuple[GpuInfo, ...]


Stage: TypeAlias = Literal["open", "build", "load", "library"]
"""What a worker is at: opening devices, building a kernel, the work itself, or the same by a library of the vendor.
Only what goes wrong in the work says something of the GPU: a driver or a compiler that does not come back before it is
another matter, and so is a library that crashes, for it runs on the host as well."""


class Beat(msgspec.Struct, frozen=True, tag="beat", tag_field="is"):
    """A sign of life."""

    text: str
    done: float
    """Part of the whole that is done, 0 to 1."""
    stage: Stage = "load"


class Ready(msgspec.Struct, frozen=True, tag="ready", tag_field="is"):
    """Kernels are built, memory is filled, proofs are made: it waits for Start."""


class Sampled(msgspec.Struct, frozen=True, tag="sample", tag_field="is"):
    sample: Sample


class Watched(msgspec.Struct, frozen=True, tag="watched", tag_field="is"):
    """What the instruments showed of this worker's devices, the links above them and the host, at one moment."""

    readings: tuple[Reading, ...]


class Ended(msgspec.Struct, frozen=True, tag="ended", tag_field="is"):
    """The module came to its end, or (`stopped`) to the end that it was told to come to."""

    stopped: bool


class Failed(msgspec.Struct, frozen=True, tag="failed", tag_field="is"):
    """An order came to nothing."""

    kind: str
    says: str
    help: str = ""
    traceback: str = ""


Report = Devices | Beat | Ready | Sampled | Watched | Ended | Failed

_encode = msgspec.json.Encoder().encode


def encode(message: Order | Report) -> bytes:
    """One line, without its end. Halves of surrogate pairs, which names of files and words of drivers may hold and
    JSON may not, become question marks."""
    try:
        return _encode(message)
    except UnicodeEncodeError:
        return _encode(_printable(msgspec.to_builtins(message)))


def _printable(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode("utf-8")
        case dict():
            return {_printable(name): _printable(one) for name, one in value.items()}
        case list() | tuple():
            return [_printable(one) for one in value]
    return value


decode_order = msgspec.json.Decoder(Order).decode
decode_report = msgspec.json.Decoder(Report).decode

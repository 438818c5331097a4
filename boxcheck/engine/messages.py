"""What a worker and its supervisor say to each other: one JSON object a line, over two pipes."""

from __future__ import annotations

from collections.abc import Mapping

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
    start_at: float | None = None


class Stop(msgspec.Struct, frozen=True, tag="stop", tag_field="is"):
    """End the running module at its next chance."""


Order = Open | List | Run | Stop


class Devices(msgspec.Struct, frozen=True, tag="devices", tag_field="is"):
    """What was listed or opened."""

    gpus: tuple[GpuInfo, ...]


class Beat(msgspec.Struct, frozen=True, tag="beat", tag_field="is"):
    """A sign of life."""

    text: str
    done: float
    """Part of the whole that is done, 0 to 1."""


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


Report = Devices | Beat | Sampled | Watched | Ended | Failed

encode = msgspec.json.Encoder().encode
decode_order = msgspec.json.Decoder(Order).decode
decode_report = msgspec.json.Decoder(Report).decode

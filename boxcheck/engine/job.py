"""What a burn-in is asked to do, as the command hands it to the engine and as the run's store keeps it."""

from __future__ import annotations

import msgspec

from boxcheck.engine.plan import Plan
from boxcheck.gpu import Backend, GpuInfo


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done, as the command made it."""

    plan: Plan
    folder: str
    """Where stores lie."""
    gpus: tuple[str, ...] = ()
    """Keys of the devices."""
    backend: Backend | None = None
    profile: str
    profile_why: str = ""
    forced: str = ""
    """What says that this is not the profile's box, where it was taken by `--force-profile`."""
    certain: bool = True
    seed: int = 1
    inject: str | None = None
    silence_seconds: float = 45.0
    stop_on_error: bool = False
    attempt: str = ""
    """Of an acceptance, that the run is the load of; the run alone is none."""
    box: str = ""
    boot: str = ""
    left_out: tuple[str, ...] = ()
    """Keys of devices that were there and were not asked for."""
    devices: tuple[GpuInfo, ...] = ()
    """Those that `gpus` name, as they were when the run began."""
    resume: str = ""
    """The store that is gone on with; empty for a new run."""
    missing: tuple[tuple[str, str], ...] = ()
    """Devices of the run that are not there any more: name and address."""

"""Profiles: what a box must be. TOML in, a `Profile` with resolved limits out; every error names file and line.

See docs/reference/profiles.md for the format. A profile names its parts (`parts = ["romed8-2t"]`, `[gpus] part = ...`),
each of which is a file or table of its own; the profile's own values win, and there is no deeper inheritance.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec

from boxcheck.model import Limit
from boxcheck.registry import LIMITS, LimitSpec, discover

Goal = Literal["any", "rocm", "cuda-p2p", "tinygrad", "vm"]
GOALS: tuple[Goal, ...] = ("any", "rocm", "cuda-p2p", "tinygrad", "vm")


class ProfileError(Exception):
    """A profile that cannot be used: `FILE:LINE: what is wrong`, and what to do in `help`."""

    def __init__(self, message: str, help: str = "") -> None:
        super().__init__(message)
        self.help = help


class GpuPart(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of gpus.toml. An empty `revisions` means that any revision is this card."""

    key: str
    name: str
    pci_ids: tuple[str, ...]
    """`10de:2684`, lower case."""
    revisions: tuple[int, ...] = ()
    vendor: str = ""
    arch: str = ""
    """`sm_89`, `gfx1100`."""
    vram_gib: float | None = None
    """Nominal; 0 for an APU that shares system memory."""
    link_generation: int | None = None
    link_width: int | None = None
    board_power_watts: float | None = None
    bar_gib: float | None = None
    """Size of the BAR that exposes VRAM when it is fully open."""
    source: str = ""


class GpusWanted(msgspec.Struct, frozen=True, kw_only=True):
    """The GPUs a profile demands. `count` None means: any number."""

    parts: tuple[GpuPart, ...] = ()
    count: int | None = None
    planned: int | None = None
    """Number the builder is heading for, where it is larger than `count`."""

    @property
    def vendors(self) -> frozenset[str]:
        """`10de`, `1002`: vendors whose driver this box needs."""
        return frozenset(pci_id.split(":")[0] for part in self.parts for pci_id in part.pci_ids)


class SlotWanted(msgspec.Struct, frozen=True, kw_only=True):
    """What the profile says of one physical slot, by the designation that SMBIOS type 9 gives it."""

    label: str
    riser: str | None = None
    width: int | None = None
    """Lanes that this slot is meant to have where that is less than the card's: reduced by design."""
    speed_gts: float | None = None
    note: str = ""


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    revision: int
    title: str
    goal: Goal = "any"
    gpus: GpusWanted = GpusWanted()
    limits: Mapping[str, Limit] = {}
    inspect: tuple[str, ...] = ()
    stress: tuple[str, ...] = ()
    advisory: tuple[str, ...] = ()
    slots: tuple[SlotWanted, ...] = ()
    match: Mapping[str, Any] = {}
    """How `profile detect` recognises the box."""
    recommend: Mapping[str, Any] = {}
    """What the owner should set beyond limits: environment, training settings; each with its source."""
    notes: tuple[str, ...] = ()
    path: str = ""
    sha256: str = ""
    """Of the resolved limits, so that two runs judged alike can be told to be so."""

    def limit(self, name: str) -> Limit | None:
        """The limit, None when this profile sets none. A name that no check declared is a bug."""
        if name not in LIMITS:
            raise KeyError(f"no limit is called {name}")
        return self.limits.get(name)

    def slot(self, label: str | None) -> SlotWanted | None:
        return next((slot for slot in self.slots if slot.label == label), None)

    def is_blocker(self, check_id: str, stage: Literal["inspect", "stress"] = "inspect") -> bool:
        """Advisory wins over inspect, so that a glob can be narrowed."""
        from boxcheck.registry import selected

        if selected(self.advisory, check_id):
            return False
        return selected(self.inspect if stage == "inspect" else self.stress, check_id)

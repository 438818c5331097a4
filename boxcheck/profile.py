"""Profiles: what a box must be. TOML in, a `Profile` with resolved limits out; every error names file and line.

See docs/reference/profiles.md for the format. A profile names its parts (`parts = ["romed8-2t"]`, `[gpus] part = ...`),
each of which is a file or table of its own; the profile's own values win, and there is no deeper inheritance.

Here are the structs and the way in. `profile_read` checks one file, `profile_resolve` puts a profile and its parts
together, `profile_gpus` reads the GPU database; all three are loaded when a profile is.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from boxcheck.model import Limit, Outcome
from boxcheck.registry import LIMITS

if TYPE_CHECKING:
    from boxcheck.profile_gpus import Cards

Goal = Literal["any", "rocm", "cuda-p2p", "tinygrad", "vm"]
GOALS: tuple[Goal, ...] = ("any", "rocm", "cuda-p2p", "tinygrad", "vm")


class Mistake(msgspec.Struct, frozen=True, order=True):
    """Something that makes a profile unusable, with its place. `line` counts from 1."""

    file: str
    line: int
    says: str
    help: str = ""

    def __str__(self) -> str:
        return f"profile {self.file}:{self.line}: {self.says}"


class ProfileError(Exception):
    """A profile that cannot be used: `profile FILE:LINE: what is wrong`, and what to do in `help`.

    `mistakes` holds everything that is wrong with it; the message is the first of them.
    """

    def __init__(self, message: str, help: str = "", mistakes: tuple[Mistake, ...] = ()) -> None:
        super().__init__(message)
        self.help = help
        self.mistakes = mistakes


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
    compute_units: int | None = None
    """Of AMD cards; None where one id and revision has several."""
    link_generation: int | None = None
    link_width: int | None = None
    board_power_watts: float | None = None
    bar_gib: float | None = None
    """Size of the BAR that exposes VRAM when it is fully open."""
    memory_gbs: float | None = None
    """Bandwidth of VRAM from the data sheet, GB/s."""
    peak_tflops: Mapping[str, float] = {}
    """By number format, dense. For reports: a limit never uses a peak."""
    measured_tflops: Mapping[str, tuple[float, float]] = {}
    """Lowest and highest matrix product that others measured, by number format."""
    note: str = ""
    source: str = ""


class GpusWanted(msgspec.Struct, frozen=True, kw_only=True):
    """The GPUs a profile demands. `count` None means: any number; 0: the box has none, and needs none to pass."""

    parts: tuple[GpuPart, ...] = ()
    count: int | None = None
    planned: int | None = None
    """Number the builder is heading for, where it is larger than `count`."""

    @property
    def none(self) -> bool:
        """Whether the profile says that the box has no GPU. One that says nothing of GPUs does not: a box that lost all
        of its own looks like one without."""
        return self.count == 0

    @property
    def vendors(self) -> frozenset[str]:
        """`10de`, `1002`: vendors whose driver this box needs."""
        return frozenset(pci_id.split(":")[0] for part in self.parts for pci_id in part.pci_ids)

    @property
    def integrated(self) -> bool:
        """Whether they are part of the processor: in no slot, without memory of their own."""
        return bool(self.parts) and all(part.vram_gib == 0 for part in self.parts)


class Recommendation(msgspec.Struct, frozen=True, kw_only=True):
    """A setting that the profile recommends and no check judges."""

    group: str
    """Table under `recommend`: `env`, `training` ..."""
    name: str
    value: str | int | float | bool
    source: str
    note: str = ""


class SlotWanted(msgspec.Struct, frozen=True, kw_only=True):
    """What the profile says of one physical slot, by the designation that SMBIOS type 9 gives it."""

    label: str
    riser: str | None = None
    root_port: str | None = None
    """Address of the port that this slot hangs on, for boards whose own table does not say (`0000:40:01.1`)."""
    width: int | None = None
    """Lanes that this slot is meant to have where that is less than the card's: reduced by design."""
    speed_gts: float | None = None
    note: str = ""


PHASES = (
    "warm-up", "matmul", "vram", "copy", "p2p", "collective", "everything", "power-pulse", "cool-down")
"""Phases of a burn-in between the two readings by doctor, in their order."""


class BurnWanted(msgspec.Struct, frozen=True, kw_only=True):
    """How a burn-in of this box differs from that of others, by phase."""

    shares: Mapping[str, float] = {}
    """Part of the time."""
    left_out: Mapping[str, str] = {}
    """With the reason."""
    options: Mapping[str, Mapping[str, str]] = {}
    acceptance_seconds: float | None = None
    """How long `certify` burns in."""
    acceptance_least_seconds: float | None = None
    """The shortest that still is an acceptance, where that is less."""
    acceptance_source: str = ""
    """Where that time comes from."""


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    revision: int
    title: str
    goal: Goal = "any"
    gpus: GpusWanted = GpusWanted()
    limits: Mapping[str, Limit] = {}
    inspect: tuple[str, ...] = ()
    stress: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    """Checks that block when they find something, and not when they cannot look: what many sound boxes cannot read."""
    advisory: tuple[str, ...] = ()
    slots: tuple[SlotWanted, ...] = ()
    match: Mapping[str, Any] = {}
    """How `profile detect` recognises the box."""
    recommend: tuple[Recommendation, ...] = ()
    """What the owner should set beyond limits: environment, training settings; each with its source."""
    burn: BurnWanted = BurnWanted()
    parts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    path: str = ""
    judged: bytes = b""
    """All that a judgement depends on, as the files say it: see `profile_resolve.judged`."""

    @property
    def sha256(self) -> str:
        """Of what is judged, so that two runs judged alike can be told to be so. Empty for a profile of no file."""
        if not self.judged:
            return ""
        from hashlib import sha256  # loads OpenSSL, which takes as long as reading all links

        return sha256(self.judged).hexdigest()

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

    def blocks(self, check_id: str, outcome: Outcome) -> bool:
        """Whether a finding of doctor decides the verdict: required checks always, `faults` when they could look."""
        from boxcheck.registry import selected

        if self.is_blocker(check_id):
            return True
        looked = outcome in (Outcome.PASS, Outcome.MARGINAL, Outcome.FAIL)
        return looked and selected(self.faults, check_id) and not selected(self.advisory, check_id)


def profiles_directory() -> Path:
    """Where the shipped profiles are: inside the installed package, or beside it in a source checkout."""
    here = Path(__file__).resolve().parent
    installed = here / "_profiles"
    return installed if installed.is_dir() else here.parent / "profiles"


@cache
def shipped_profiles() -> tuple[str, ...]:
    """Names of the profiles that come with boxcheck, sorted. Empty when the installation lost them."""
    try:
        files = sorted(profiles_directory().glob("*.toml"))
    except OSError:
        return ()
    return tuple(file.stem for file in files if file.stem != "gpus")


def load_profile(name_or_path: str) -> Profile:
    """The profile of that name, or in that file (a name with `/` or ending in `.toml`).

    Raises ProfileError, and nothing else, for a name that nobody knows and for a file with any mistake in it.
    """
    from boxcheck.profile_resolve import load

    return load(name_or_path)


def check_profile(name_or_path: str) -> list[Mistake]:
    """Everything that is wrong with a profile, in the order of its lines; empty when it is sound.

    Raises ProfileError when there is no such profile.
    """
    from boxcheck.profile_resolve import resolve

    _, mistakes = resolve(name_or_path)
    return mistakes


@cache
def load_gpus() -> Cards:
    """The GPU database, by key (`rtx4090`). Raises ProfileError when the shipped file, or a card asked for, is damaged.
    """
    from boxcheck.profile_gpus import Cards

    return Cards(profiles_directory() / "gpus.toml")


def part_of(pci_id: str, revision: int | None) -> GpuPart | None:
    """The card with this `vendor:device` (lower-case hex) and revision.

    None for an id that is not in the database, and for a revision that none of the id's cards has: 1002:744c is four
    different cards. A revision that was not read (None) identifies only a card of which every revision is the same.
    """
    anyone = None
    for part in load_gpus().of_id(pci_id):
        if revision is not None and revision in part.revisions:
            return part
        if not part.revisions:
            anyone = part
    return anyone

"""One account of one machine: who read it, when, judged by what, and the verdict. Every report renders this."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from boxcheck.model import Bdf, Crash, Subject, Verdict
from boxcheck.profile import Profile


class LinkRow(msgspec.Struct, frozen=True):
    """One row of the link table. Texts are ready to print; None is shown as `-`, unread values as `?`."""

    subject: Subject
    slot: str | None
    gpu: str
    bus: str
    link: str
    """`x16  16.0 GT/s`."""
    bar: str
    bad_tlp: str
    bad_dllp: str
    replay: str
    outcome: str
    """Gravest outcome of the findings on this link; empty where its width and speed were not among what was judged."""
    want: str | None
    """`want x16  16.0 GT/s` where it is not so."""


class Account(msgspec.Struct, frozen=True, kw_only=True):
    version: str
    commit: str | None
    started: float
    finished: float
    """Seconds since the epoch, UTC: when the machine was read, and when judging ended."""
    origin: str
    """`this machine` or the capture's path."""
    live: bool
    root: bool | None
    box: str
    """Serial or host name, whatever names the box; empty when nothing does."""
    profile: Profile | None
    profile_why: str
    """`matched by board name and 7 x 10de:2684`, `chosen with --profile` ..."""
    goal: str
    """What it was judged for: the profile's own goal, or what `--goal` names."""
    own_goal: str = "any"
    """The profile's own."""
    strict: bool = False
    """Whether a marginal finding of a required check fails."""
    checks: tuple[str, ...]
    """Ids of the checks that were run."""
    verdict: Verdict
    summaries: Mapping[str, str]
    """Area -> what its passes amount to, in one clause."""
    link_rows: tuple[LinkRow, ...]
    links_under_load: bool
    facts: Mapping[str, Any]
    """Probe name -> fact."""
    crashes: tuple[Crash, ...] = ()
    complaints: tuple[str, ...] = ()
    """What was ignored in the capture."""
    record: str | None = None
    """Path of the saved run."""
    elapsed_seconds: float = 0.0
    sysroot: str | None = None
    asked: tuple[str, ...] = ()
    """Words that chose the checks: patterns, and `--except` with its patterns."""
    options: tuple[str, ...] = ()
    """Words that say what to read and judge by: `--sysroot`, `--profile`, `--goal` with their values."""

    @property
    def needs_root(self) -> tuple[str, ...]:
        """Checks that are unknown only because they ran without root."""
        return tuple(dict.fromkeys(finding.check for finding in self.verdict.findings if finding.needs_root))


AREAS: Mapping[str, tuple[str, ...]] = {
    "platform": ("inventory", "cpu", "memory", "boot", "bmc"),
    "kernel": ("kernel", "log", "clock"),
    "driver": ("driver", "amdgpu", "kfd", "nvidia", "strix", "rocm", "cuda"),
    "pcie": ("pcie", "aer"),
    "acs/iommu": ("iommu", "acs", "atomics"),
    "bars": ("bar",),
    "storage": ("disk",),
    "network": ("nic",),
    "thermal": ("thermal", "fan"),
    "power": ("power",),
    "udev": ("node",),
    "limits": ("limits", "env"),
}
"""Areas of the terminal account, and the first parts of the check ids that each shows."""


_AREA_OF = {head: area for area, heads in AREAS.items() for head in heads}


def area_of(check_id: str) -> str:
    head = check_id.partition(".")[0]
    return _AREA_OF.get(head, head)


def in_row(pattern: str) -> tuple[str, ...]:
    """The areas in a row of doctor's account (`storage`) whose name is no area itself; else the pattern."""
    areas = AREAS.get(pattern, (pattern,))
    return (pattern,) if pattern in areas else areas


def bus_of(bdf: Bdf) -> str:
    return bdf[5:] if bdf.startswith("0000:") else bdf

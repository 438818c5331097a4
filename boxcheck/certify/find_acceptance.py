"""The acceptance that a run is the load of, from the run: its store tells that it is one, the folders of attempts hold
what came of it."""

from __future__ import annotations

import os
from contextlib import suppress

import msgspec

from boxcheck.certify.acceptance import Acceptance, attempt_name
from boxcheck.certify.contents import ACCEPTANCE, KEPT_LIMIT_BYTES
from boxcheck.certify.manifest import ManifestError, parse_acceptance
from boxcheck.store.rows import Run
from boxcheck.store.texts import plain_line

SAME_SECONDS = 1.0


class Found(msgspec.Struct, frozen=True, kw_only=True):
    told: Acceptance | None = None
    attempt: str = ""
    """`attempt 2 of box W-0007`; empty where the run is of none."""

    @property
    def says(self) -> str:
        """That the verdict is no disposition, where none is there."""
        if self.told is not None or not self.attempt:
            return ""
        return (f"this is the verdict on the run alone, and no acceptance: it is the load of {self.attempt}, "
                f"which is not finished, or its folder is not here")


def find_acceptance(run: Run, root: str) -> Found:
    """`root`: where the attempts of boxes lie."""
    return Found(told=_told(run, root), attempt=attempt_of(run))


def attempt_of(run: Run) -> str:
    """`attempt 2 of box W-0007`, whose load the run is; empty where it is of none."""
    job = run.info.plan.get("job") if isinstance(run.info.plan, dict) else None
    return plain_line(str(job.get("attempt") or "")) if isinstance(job, dict) else ""


def says_alone(run: Run) -> str:
    """That the verdict on the run of an attempt is no disposition; empty for another run."""
    return Found(attempt=attempt_of(run)).says


def _told(run: Run, root: str) -> Acceptance | None:
    name, of = plain_line(os.path.basename(run.path).rpartition(".")[0]), attempt_of(run)
    for box in _listed(root):
        for attempt in _listed(os.path.join(root, box)):
            with suppress(OSError, ManifestError):
                with open(os.path.join(root, box, attempt, ACCEPTANCE), "rb") as stream:
                    told = parse_acceptance(stream.read(KEPT_LIMIT_BYTES))
                if told.run == name and abs(told.started - run.started) < SAME_SECONDS and of in (
                        "", attempt_name(told.attempt, told.identity.serial)):
                    return told
    return None


def _listed(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder), reverse=True)
    except OSError:
        return []

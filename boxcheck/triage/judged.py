"""What doctor finds wrong in a capture, as events beside those of its logs.

Only what fails or is marginal, and only what the profile requires: triage says what happened, doctor gives the verdict.
What doctor reads from the logs is left out, since the logs themselves are read here.
"""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.decode.klog.events import Cause, Event
from boxcheck.engine.inspect import choose_checks, inspect_facts, name_slots, read_facts
from boxcheck.host.capture import CaptureHost
from boxcheck.model import Finding, Outcome
from boxcheck.profile import load_profile
from boxcheck.profile_detect import detect

_CAUSES: dict[str, Cause] = {
    "pcie": "signal", "aer": "signal", "bar": "config", "iommu": "config", "acs": "config", "atomics": "config",
    "kernel": "config", "strix": "config", "node": "config", "limits": "config", "env": "config", "driver": "driver",
    "amdgpu": "driver", "kfd": "driver", "nvidia": "driver", "memory": "memory", "power": "power", "thermal": "power",
    "fan": "power",
}
_CAPPED = ("capped", "target")
"""Words of a link's finding that says: no higher speed was tried."""


def findings_of(host: CaptureHost) -> tuple[str, Iterator[Event]]:
    """The profile that doctor chose, and what it finds wrong."""
    facts = read_facts(host)
    detection = detect(facts)
    profile = load_profile(detection.name or "generic")
    name_slots(facts, profile)
    verdict = inspect_facts(facts, profile, choose_checks((), ("log.*",)), profile_certain=detection.name is not None)
    bad = [finding for finding in verdict.findings
           if finding.blocker and finding.outcome in (Outcome.FAIL, Outcome.MARGINAL)]
    return profile.name, map(_event, bad)


def _event(finding: Finding) -> Event:
    area, _, name = finding.check.partition(".")
    kind = name if name in ("link-width", "link-speed") else finding.check.replace(".", "-")
    cause = _CAUSES.get(area)
    if kind == "link-speed" and any(word in finding.says for word in _CAPPED):
        cause = "config"
    return Event(
        kind=kind, bdf=finding.subject.bdf, labels=(str(finding.subject),), count=1, cause=cause,
        severity="fail" if finding.outcome is Outcome.FAIL else "warn", says=finding.says, help=finding.help, line=1,
        text=finding.evidence[0] if finding.evidence else "",
    )

"""Judges a watch: what its instruments showed by the checks of a stress run that need no samples, what happened around
it, and what doctor finds worse than before. As it ends, or from its store alone."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from boxcheck.engine.around import CHECKED, happened_of, judge_around
from boxcheck.engine.begin import AFTER as AFTER
from boxcheck.engine.begin import CAPTURE
from boxcheck.engine.inspect import Facts, choose_checks, findings_of, inspect_facts, name_slots, read_facts
from boxcheck.engine.stress import judge_results
from boxcheck.host.capture import CaptureHost
from boxcheck.model import Crash, Finding, Subject, Unread
from boxcheck.probes.nvme import Nvme
from boxcheck.probes.pci import PciInventory
from boxcheck.profile import Profile
from boxcheck.registry import CHECKS
from boxcheck.store.reader import RunReader
from boxcheck.stress import StressResults
from boxcheck.stress.happenings import Happened
from boxcheck.stress.watch_checks import Changes, Looked, changes_between
from boxcheck.stress.watched import Watching

BEFORE = CAPTURE
MODULE = "watch"
"""Stands for the module where there is none: nothing was run, and there are no samples."""
WATCHED = (
    "stress.temperature", "stress.throttled", "stress.link-errors", "stress.link-speed", "stress.memory-errors",
)
"""Checks of a stress run that judge what the instruments showed, whoever did the work. The others ask for samples:
here they would call everything unknown, since nothing was verified, and nothing was to be."""

def judge_phase(
    results: StressResults, watching: Watching, facts: Facts, want: Profile
) -> tuple[list[Finding], list[Crash]]:
    """Findings on one phase of a run: by every check of its module, or by those of a watch."""
    if results.module != MODULE:
        return judge_results(results, watching, facts, want)
    facts.put(StressResults, results)
    facts.put(Watching, _whoever_worked(watching))
    crashes: list[Crash] = []
    asked = [CHECKS[id] for id in WATCHED]
    if not results.gpus:  # a machine without a GPU: the log, the devices and doctor are what is left
        asked = []
    return [one for check in asked for one in findings_of(check, facts, want, crashes)], crashes


def _whoever_worked(watching: Watching) -> Watching:
    """Without falls of a link's speed: cards lower it at rest, and nobody knows when the work that was watched rested.
    What speed it reached is told; lanes are judged, since nothing takes these away to save power."""
    level = {
        bdf: msgspec.structs.replace(fall, least=fall.best, dips=0, longest_seconds=0.0, low_seconds=0.0)
        for bdf, fall in watching.link_speeds_gts.items()}
    return msgspec.structs.replace(watching, link_speeds_gts=level)


def judge_watch(
    happened: Happened, changes: Changes, looked: Looked, want: Profile, crashes: list[Crash]
) -> list[Finding]:
    """What is judged once a watch: with whether it decides."""
    others = Facts()
    others.put(Changes, changes)
    others.put(Looked, looked)
    return judge_around(
        happened, want, crashes, ids=(*CHECKED, "watch.instruments", "watch.changed"), others=others)


def judge_whole(reader: RunReader, kind: str, facts: Facts, want: Profile, crashes: list[Crash]) -> list[Finding]:
    """What is judged once a run, from its store. `facts`: of the machine before it."""
    happened = happened_of(reader)
    if kind != MODULE:
        return judge_around(happened, want, crashes)
    after = facts_in(reader, AFTER)
    if after is None:
        return judge_watch(happened, Changes((), 0, 0, "doctor did not look again"), looked_in(reader), want, crashes)
    return judge_watch(happened, compare(facts, after, want), looked_in(reader), want, crashes)


def looked_in(reader: RunReader) -> Looked:
    """What a watch had to look at, from its store."""
    return Looked(sum(len(one.plan.devices) for one in reader.phases() if one.plan.module == MODULE))


def compare(before: Facts, after: Facts, want: Profile) -> Changes:
    """What doctor makes of the machine after against before, both by the same profile."""
    checks = choose_checks(())
    name_slots(before, want)
    name_slots(after, want)
    then, now = inspect_facts(before, want, checks), inspect_facts(after, want, checks)
    return changes_between(then.findings, now.findings, _unlisted(after))


def _unlisted(facts: Facts) -> Callable[[Subject], str | None]:
    """Why a part that facts say nothing of may be there all the same; None where it is not."""
    pci, nvme = facts.of(PciInventory), facts.of(Nvme)
    bus = pci if isinstance(pci, Unread) else pci.unreadable
    drives = nvme if isinstance(nvme, Unread) else nvme.unreadable
    nameless = () if isinstance(pci, Unread) else pci.unidentified

    def why(part: Subject) -> str | None:
        if bus is not None:
            return bus.why
        if part.bdf in nameless:
            return "its place on the bus does not say what it is"
        return drives.why if part.kind == "nvme" and drives is not None else None

    return why


def facts_in(reader: RunReader, name: str) -> Facts | None:
    """What a capture in a store holds; None where there is none."""
    packed = reader.attachment(name)
    if packed is None:
        return None
    with tempfile.TemporaryDirectory(prefix="boxcheck-") as folder:
        path = Path(folder) / name
        path.write_bytes(packed)
        return read_facts(CaptureHost(str(path)))

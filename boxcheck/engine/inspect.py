"""One inspection: read the facts, run the checks, judge. Reading is the only step that touches the host."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from boxcheck.checks.places import wanted_gpus
from boxcheck.host import Host
from boxcheck.judge import judge, without_gpus
from boxcheck.model import BOX, Crash, Finding, Outcome, Unread, Verdict
from boxcheck.probes.gpus import Gpus
from boxcheck.probes.links import Links
from boxcheck.profile import Profile
from boxcheck.registry import CHECKS, PROBES, Check, discover, run_check, selected

T = TypeVar("T")


class Facts:
    """Facts by type. A probe that crashed left an Unread of kind `crashed` in its place."""

    def __init__(self) -> None:
        self._values: dict[type, Any] = {}
        self.crashes: list[Crash] = []

    def of(self, kind: type[T]) -> T | Unread:
        value: T | Unread = self._values.get(kind, Unread(f"{kind.__name__} was not read", "not-captured"))
        return value

    def put(self, kind: type, value: Any) -> None:
        self._values[kind] = value

    def __contains__(self, kind: type) -> bool:
        return kind in self._values

    def by_name(self) -> Mapping[str, Any]:
        """For `boxcheck facts`: probe name -> fact."""
        return {PROBES[kind].name: value for kind, value in self._values.items() if kind in PROBES}


def read_facts(host: Host, wanted: Iterable[type] | None = None) -> Facts:
    """Runs the probes that give the wanted types (all of them by default) and what these read, each once."""
    discover()
    facts = Facts()
    for kind in PROBES if wanted is None else wanted:
        _read(host, kind, facts, ())
    return facts


def _read(host: Host, kind: type, facts: Facts, chain: tuple[type, ...]) -> None:
    if kind in facts:
        return
    if kind in chain:
        raise ValueError(f"probes read each other in a circle: {[item.__name__ for item in (*chain, kind)]}")
    probe = PROBES[kind]
    for needed in probe.reads:
        _read(host, needed, facts, (*chain, kind))
    inputs = [facts.of(needed) for needed in probe.reads]
    broken = next((value for value in inputs if isinstance(value, Unread)), None)
    if broken is not None:
        facts.put(kind, Unread(f"{probe.name} was not read: {broken.why}", broken.kind))
        return
    try:
        facts.put(kind, probe.function(host, *inputs))
    except Exception as error:  # noqa: BLE001  a bug in a probe costs its facts and exit code 4, never the account
        facts.crashes.append(Crash(f"probe {probe.name}", traceback.format_exc()))
        facts.put(kind, Unread(f"boxcheck's own probe {probe.name} broke: {type(error).__name__}", "crashed"))


def name_slots(facts: Facts, want: Profile) -> None:
    """Puts the profile's slot names on the links it names by their port: many boards' own tables hold no addresses."""
    links, gpus = facts.of(Links), facts.of(Gpus)
    named = {slot.root_port: slot.label for slot in want.slots if slot.root_port}
    if not named or isinstance(links, Unread) or isinstance(gpus, Unread):
        return
    renamed = {
        id: msgspec.structs.replace(link, slot=named[id]) if id in named else link for id, link in links.links.items()
    }
    facts.put(Links, msgspec.structs.replace(links, links=renamed))
    facts.put(Gpus, msgspec.structs.replace(gpus, gpus=tuple(
        msgspec.structs.replace(gpu, slot=renamed[gpu.slot_link].slot) if gpu.slot_link in named else gpu
        for gpu in gpus.gpus
    )))


def choose_checks(patterns: Sequence[str], without: Sequence[str] = ()) -> tuple[Check, ...]:
    """The checks that the patterns name (all without patterns), in stable order."""
    discover()
    return tuple(
        check for id, check in sorted(CHECKS.items())
        if check.stress is None and (not patterns or selected(patterns, id)) and not selected(without, id)
    )


def findings_of(check: Check, facts: Facts, want: Profile, crashes: list[Crash]) -> list[Finding]:
    """All findings of a check. A missing fact or a crash is an `unknown` finding, never silence."""
    inputs = [facts.of(kind) for kind in check.reads]
    broken = next((value for value in inputs if isinstance(value, Unread)), None)
    if broken is not None:
        return [_unknown(check, broken.why, needs_root=broken.kind == "permission")]
    try:
        found = list(run_check(check, inputs, want))
    except Exception as error:  # noqa: BLE001  a bug in a check is an unknown finding and exit code 4
        crashes.append(Crash(f"check {check.id}", traceback.format_exc()))
        return [_unknown(check, f"the check itself crashed ({type(error).__name__}); please report it")]
    if not found:
        # A check that says nothing has judged nothing; a blocker must not pass that way.
        return [_unknown(check, "found nothing to judge")]
    return found


def _unknown(check: Check, why: str, needs_root: bool = False) -> Finding:
    return Finding(check=check.id, subject=BOX, outcome=Outcome.UNKNOWN, says=f"not read: {why}", needs_root=needs_root)


def inspect_facts(facts: Facts, want: Profile, checks: Sequence[Check], *, profile_certain: bool = True) -> Verdict:
    """Judges facts that were read before. Pure."""
    crashes = list(facts.crashes)
    findings: list[Finding] = []
    for check in checks:
        findings += [
            msgspec.structs.replace(finding, blocker=want.blocks(check.id, finding.outcome))
            for finding in findings_of(check, facts, want, crashes)
        ]
    chosen = {check.id for check in checks}
    left_out = [
        id for id, check in CHECKS.items()
        if check.stress is None and id not in chosen and want.blocks(id, Outcome.FAIL)]
    verdict = judge(findings, want, left_out=left_out, crashes=crashes, profile_certain=profile_certain)
    gpus = facts.of(Gpus)
    about_gpus = any(Gpus in check.reads for check in checks)
    none = not isinstance(gpus, Unread) and gpus.unreadable is None and not wanted_gpus(gpus, want)
    none = none and not want.gpus.none  # else it is as the profile says
    return without_gpus(verdict, want) if none and about_gpus else verdict

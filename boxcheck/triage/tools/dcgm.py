"""NVIDIA's DCGM: `dcgmi diag` as a table and as JSON, `dcgmi health -c`, `dcgmi discovery -l`, and its refusals.

A test that was skipped is not passed. What passed is named with what it does not look at: DCGM's copy test compares
no rate unless a limit is set for the model, its product test holds each product against the first one.

Sources: NVIDIA/DCGM, nvvs/plugin_src and nvvs/diag-skus.yaml.in (v4.6.0); issues 55 and 139 (tests skipped on models
that are not in its list), 263 (health says Healthy of a GPU that waits for a reset), 284 (Pass beside an error).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from boxcheck.decode.dcgm import Diag, Remark, Status, Test, is_head, is_result, parse, parse_json, section_of
from boxcheck.decode.dcgm_health import (
    Discovery,
    Health,
    found_line,
    parse_discovery,
    parse_health,
    parse_health_json,
)
from boxcheck.decode.klog.events import Event, Severity
from boxcheck.decode.text import clean_text
from boxcheck.triage.evidence import Device, Evidence, Section, at_line
from boxcheck.triage.tools.dcgm_judge import Judged, judge
from boxcheck.triage.tools.listing import in_order, listing
from boxcheck.triage.tools.matrix_cards import CLASS, NVIDIA
from boxcheck.triage.tools.steps import CHECK_POWER, NVIDIA_LOG, POWER_CYCLE

DIAG, HEALTH, DISCOVERY, MESSAGE = "dcgmi diag", "dcgmi health", "dcgmi discovery", "dcgmi message"
MOST_EVENTS = 2000
SOFTWARE = "Deployment"
"""The category of tests that run nothing on a GPU."""
_RAN = "Successfully ran diagnostic for group"
_HEALTH = re.compile(r"\| (?:Health Monitor Report|Overall Health:?) {0,120}\||Health [Mm]onitor [Ss]ystems [Rr]eport$")
_GPU_LIST = re.compile(r"\| GPU ID {1,8}\| Device Information")
_OTHER_LIST = re.compile(r"\d{1,3} (?:NvSwitch(?:es)?|ConnectX|CPUs?) found\.$|Note: Use -a flag")
_REFUSAL = re.compile(
    r"Error: (?:Unable to complete diagnostic\b|Diagnostic (?:can only be performed|could not be run)|"
    r"Unable to (?:check|get|set) health watches|Health watches not enabled|Unsupported entities are indicated|"
    r"[Uu]nable to establish a connection to the specified host|Unable to connect to host engine|"
    r"Unable to start an embedded host engine|Unable to run diagnostic on).{0,400}")
_REST = re.compile(r"'|(?:GPU )?(?:is )?lost\b|(?:fallen )?(?:off )?(?:the )?bus\b")
"""What a refusal goes on with on a line of its own: the reason, in quotes, or what a mailer broke off."""
_LOST = re.compile(r"GPU is lost|fallen off the bus|GPU_IS_LOST", re.IGNORECASE)
_BORDER = frozenset("+-=| ")

_LEFT_OUT: frozenset[Status] = frozenset(("skip", "not run"))
_LOOKS: Mapping[str, str] = {
    "pcie": "links: dcgmi's PCIe test judges copy rates only against limits that are set for the model, and lets some "
            "replays pass; lanes and errors of both ends are doctor's",
    "memory": "all of a GPU's memory: dcgmi's memory test writes five patterns into three quarters of it",
    "diagnostic": "products: dcgmi's diagnostic compares each with the first one, so what is wrong alike passes",
}
"""What a pass of these tests leaves open, by the name of the test in small letters."""
_NAMES = {"gpu memory": "memory", "gpumemory": "memory"}


def begins(line: str) -> str | None:
    """The variant, when this line begins an output of dcgmi."""
    text = line[:2000].strip()
    if text.startswith(_RAN) or is_head(text) or is_result(text) or (
            section_of(text) is not None and text.startswith(("|-", "+-"))):
        return DIAG
    if _HEALTH.match(text):
        return HEALTH
    if found_line(text) is not None or _GPU_LIST.match(text):
        return DISCOVERY
    return MESSAGE if _REFUSAL.match(text) else None


def belongs(variant: str, line: str) -> bool:
    text = line[:2000].strip()
    if variant == MESSAGE:
        return _REST.match(text) is not None
    if text.startswith(_RAN) or "-SMI " in text[:24]:
        return False
    if variant == DISCOVERY and (_OTHER_LIST.match(text) or found_line(text) is not None):
        return True
    if variant != HEALTH and _HEALTH.match(text):
        return False
    return text.startswith(("|", "+-", "+=")) or text.endswith(("|", "-+")) or _BORDER.issuperset(text)


def read(section: Section) -> Evidence:
    """Never raises."""
    if section.variant == HEALTH:
        return _health(parse_health(section.lines), section)
    if section.variant == DISCOVERY:
        return _discovery(parse_discovery(section.lines), section)
    if section.variant == MESSAGE:
        text = clean_text(" ".join(line.strip() for line in section.lines[:4]), 400)
        return Evidence(tool=MESSAGE, events=(_refusal(text, at_line(section, 0)),))
    runs = parse(section.lines)
    return _diag(runs, section)


def read_json(value: object) -> Evidence | None:
    """`dcgmi diag -j` or `dcgmi health -c -j`."""
    run = parse_json(value)
    if run is not None:
        return _diag([run], None)
    health = parse_health_json(value)
    return _health(health, None) if health is not None else None


def _line(section: Section | None, offset: int) -> int:
    return at_line(section, offset) if section is not None else 1


# The diagnostic

def _diag(runs: Sequence[Diag], section: Section | None) -> Evidence:
    events: list[Event] = []
    for run in runs:
        for event in _events(run, section):
            if len(events) < MOST_EVENTS:
                events.append(event)
    first = next(iter(runs), None)
    version = f", DCGM {first.version}" if first is not None and first.version else ""
    box = {"driver": first.driver} if first is not None and first.driver else {}
    devices = tuple(
        Device(line=1, index=number, serial=serial, vendor=NVIDIA, class_code=CLASS, driver="nvidia")
        for number, serial in (first.serials.items() if first is not None else ()))
    return Evidence(tool=f"{DIAG}{version}", devices=devices, events=tuple(events), box=box,
                    notes=tuple(_notes(runs, section)), readings=_readings(runs))


def _readings(runs: Sequence[Diag]) -> dict[str, Any]:
    """Tests with what came out, the last run's where one stands several times."""
    shown: dict[str, list[str]] = {}
    for run in runs:
        for test in run.tests:
            if test.name:
                shown[test.name] = sorted(test.statuses)
    return {"tests": shown} if shown else {}


def _events(run: Diag, section: Section | None) -> Iterator[Event]:
    if run.error is not None:
        yield _refusal(run.error, _line(section, run.offset))
    elif not run.tests:
        yield Event(
            kind="tool-error", severity="warn", cause=None, labels=("dcgmi",), line=_line(section, run.offset),
            says="dcgmi's output holds no test, so it says nothing",
            help=("GPUs that DCGM does not support run none: dcgmi discovery -l, and what it printed beside this",
                  NVIDIA_LOG))
    for test in run.tests:
        yield from _told(test, section)
    waived = [test for test in run.tests if test.statuses & _LEFT_OUT]
    if waived:
        yield Event(
            kind="tool-waived", severity="info", cause=None, labels=("dcgmi",), count=len(waived),
            says=f"dcgmi did not run {_listed(waived)}; skipped is not passed", line=_line(section, waived[0].offset),
            help=("DCGM skips what its list of models does not have (GeForce and most workstation cards), and what an "
                  "earlier test made pointless", "boxcheck stress list  shows what tests such a card"))


def _which(test: Test) -> str:
    left = [gpu for status in ("skip", "not run") for gpu in test.gpus_of(status)]
    several = len(test.statuses) > 1 and left
    return f"{test.name or 'a test'}{' on GPU ' + ', '.join(map(str, left[:8])) if several else ''}"


def _told(test: Test, section: Section | None) -> Iterator[Event]:
    """What a test warned of, and the GPUs that failed without a word."""
    status = _worst(test)
    spoken: set[int | None] = set()
    seen: set[tuple[str, int | None, tuple[str, ...]]] = set()
    for remark in test.remarks:
        if not remark.warns:
            continue
        mine = _status_of(test, remark, status)
        found = judge(remark.text, remark.code, mine)
        spoken.add(remark.gpu)
        key = (found.kind, remark.gpu, found.labels)
        if key not in seen:
            seen.add(key)
            yield _event(test, remark.gpu, found, mine, _line(section, remark.offset), remark.text)
    for bad in ("fail", "warn"):
        if bad not in test.statuses:
            continue
        numbers: tuple[int | None, ...] = test.gpus_of(bad) or (None,)
        silent = [gpu for gpu in numbers if gpu not in spoken and None not in spoken]
        if numbers == (None,) and spoken:
            silent = []
        for gpu in silent:
            severity: Severity = "fail" if bad == "fail" else "warn"
            plain = Judged("test-failed", severity, None, "no reason is in this text", (
                "dcgmi diag -r <level> -v  prints the reason", NVIDIA_LOG))
            yield _event(test, gpu, plain, bad, _line(section, test.offset), "")


def _worst(test: Test) -> Status:
    order: tuple[Status, ...] = ("fail", "warn", "pass", "skip", "not run")
    return next((status for status in order if status in test.statuses), "not run")


def _status_of(test: Test, remark: Remark, worst: Status) -> Status:
    """The result that a message goes with: of its GPU where that is told."""
    if remark.gpu is None:
        return worst
    mine = [result.status for result in test.results if remark.gpu in result.gpus]
    if not mine or test.summary == "warn":
        return worst
    return mine[0]


def _event(test: Test, gpu: int | None, found: Judged, status: Status, line: int, text: str) -> Event:
    name = f"dcgmi's {test.name.removesuffix(' Test')} test" if test.name else "dcgmi"
    how = {"fail": "fails", "warn": "warns", "pass": "passes", "skip": "was skipped", "not run": "did not run"}[status]
    of = f" on GPU {gpu}" if gpu is not None else ""
    label = (f"gpu{gpu}",) if gpu is not None else ()
    beside = " all the same" if status == "pass" and found.severity != "info" else ""
    return Event(
        kind=found.kind, severity=found.severity, cause=found.cause, help=found.help, line=line,
        labels=(*label, *found.labels, test.name or "dcgmi"),
        says=f"{name} {how}{of}{beside}: {found.says}", text=clean_text(text, 300), width=found.width,
        capable_width=found.capable_width)


def _notes(runs: Sequence[Diag], section: Section | None) -> Iterator[str]:
    tests = [test for run in runs for test in run.tests]
    if section is not None and section.cut_short:
        yield "the output was too long to be read whole"
    if any(not run.whole for run in runs):
        yield "tests after the last one here: the table has no end, so it is cut off"
    on_gpus = [test for test in tests if test.category != SOFTWARE and test.name.lower() != "software"]
    waived = [test for test in on_gpus if test.statuses & _LEFT_OUT]
    if tests and not any(test.statuses - _LEFT_OUT for test in on_gpus):
        yield ("whether a GPU works: this run of dcgmi looked at software and settings, and ran nothing on a GPU"
               + (f"; it skipped {_listed(waived)}" if waived else ""))
        return
    if waived:
        yield f"what {_listed(waived)} would have found: dcgmi skipped it"
    names = {_NAMES.get(test.name.lower(), test.name.lower()) for test in tests if "pass" in test.statuses}
    yield from (words for name, words in _LOOKS.items() if name in names)


def _listed(tests: Sequence[Test]) -> str:
    return ", ".join(map(_which, tests[:8])) + (" ..." if len(tests) > 8 else "")


def _refusal(text: str, line: int) -> Event:
    if _LOST.search(text):
        return Event(kind="gpu-lost", severity="fail", cause="signal", labels=("dcgmi",), line=line, text=text,
                     says=f"dcgmi says that a GPU is lost: {text[:240]}", help=(POWER_CYCLE, CHECK_POWER, NVIDIA_LOG))
    host = "connect" in text or "host engine" in text or "not enabled" in text
    return Event(
        kind="tool-error", severity="info" if host else "warn", cause=None, labels=("dcgmi",), line=line, text=text,
        says=f"dcgmi did not do its work, so it says nothing: {text[:240]}",
        help=("sudo systemctl start nvidia-dcgm, then dcgmi discovery -l",) if "connect" in text else
        ("dcgmi health -s a, some minutes of work, then dcgmi health -c",) if "not enabled" in text else
        ("dcgmi discovery -l  shows which GPUs it has; the diagnostic asks for GPUs of one model, a driver of the data "
         "centre and nobody else on them", NVIDIA_LOG))


# Health

_STATUSES: Mapping[str, Status] = {"Warning": "warn", "Failure": "fail", "Healthy": "pass"}


def _health(found: Health, section: Section | None) -> Evidence:
    events: list[Event] = []
    for incident in found.incidents[:MOST_EVENTS]:
        status = _STATUSES.get(incident.status, "warn")
        if status == "pass":
            continue
        said = judge(incident.text or f"the {incident.system} has a {incident.status.lower()}", None, status)
        on = incident.group == "GPU" and incident.number is not None
        label = (f"gpu{incident.number}",) if on else (f"{incident.group} {incident.number}",)
        who = f"GPU {incident.number}" if on else f"{incident.group} {incident.number}"
        events.append(Event(
            kind=said.kind, severity=said.severity, cause=said.cause, help=said.help, text=incident.text[:300],
            line=_line(section, incident.offset), width=said.width, capable_width=said.capable_width,
            labels=(*label, *said.labels, incident.system),
            says=f"dcgmi health, {incident.system} of {who}: {said.says}"))
    if found.overall not in (None, "Healthy") and not events:
        events.append(Event(
            kind="test-failed", severity="fail" if found.overall == "Failure" else "warn", cause=None,
            labels=("dcgmi",), line=_line(section, found.offset),
            says=f"dcgmi health says {found.overall}, and the reason is not in this text",
            help=("dcgmi health -c  prints it below each GPU", NVIDIA_LOG)))
    return Evidence(tool=HEALTH, events=tuple(events), notes=tuple(_health_notes(found)),
                    readings={"health": found.overall} if found.overall else {})


def _health_notes(found: Health) -> Iterator[str]:
    off = [system for system, state in found.watches.items() if state == "Off"]
    if off:
        yield f"{', '.join(off[:12])}: dcgmi does not watch them (dcgmi health -s a)"
    if found.overall is None and not found.watches:
        yield "the health of anything: dcgmi's report holds no result"
    if found.overall is not None:
        yield ("what was before the watches were set: dcgmi health tells what they saw since, says Healthy right after "
               "dcgmi health -s, and knows nothing of a GPU that waits for a reset")


# The list

def _discovery(found: Discovery, section: Section) -> Evidence:
    gpus = found.gpus
    lost = [gpu for gpu in gpus if gpu.status in ("LOST", "INACCESSIBLE")]
    events = tuple(
        Event(kind="gpu-lost", severity="fail", cause="signal", bdf=gpu.bdf, labels=(f"gpu{gpu.index}",),
              says=f"dcgmi lists the GPU as {(gpu.status or '').lower()}", line=at_line(section, gpu.offset),
              help=(POWER_CYCLE, CHECK_POWER, NVIDIA_LOG)) for gpu in lost)
    devices = tuple(
        Device(line=at_line(section, gpu.offset), bdf=gpu.bdf, name=gpu.name, uuid=gpu.uuid, index=gpu.index,
               vendor=NVIDIA, class_code=CLASS) for gpu in gpus)
    whole = found.told == len(gpus) and in_order([gpu.index for gpu in gpus])
    return Evidence(tool=DISCOVERY, devices=devices, events=events, readings=listing(gpus, whole=whole),
                    notes=() if whole or not gpus else ("all GPUs: the list is cut off",))

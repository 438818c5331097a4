"""How events of the kernel log become findings: one for each device and subject, with count and time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from boxcheck.checks.places import short, where
from boxcheck.checks.steps import cost
from boxcheck.checks.wording import decided, duration, not_read
from boxcheck.decode.klog import Event, KernelLog
from boxcheck.model import BOX, Bdf, Finding, Outcome, Subject, Unread
from boxcheck.probes.gpus import Gpu, Gpus
from boxcheck.probes.kernel_log import KernelLogs
from boxcheck.probes.links import Links
from boxcheck.profile import Profile
from boxcheck.registry import passed, skipped, unknown

LOG = "/var/log/dmesg"
GRAVITY = {"fail": Outcome.FAIL, "warn": Outcome.MARGINAL}
"""Events of severity info and benign make no finding."""
FEWEST_LINES = 20
"""Lines that any kernel prints before it starts a driver; a log with fewer was made by hand or cut."""
LATEST_FIRST_LINE = 40
"""Headers of a program, and a line on microcode, may stand before `Linux version`."""
RECENT_SECONDS = 60.0
MOST_WORDS = 3
"""Different events of one device that a finding spells out."""


class Scene(msgspec.Struct, frozen=True):
    """What a log check looks at, and where the devices that it names are."""

    logs: KernelLogs
    gpus: Gpus
    links: Links
    want: Profile

    def gpu(self, bdf: Bdf | None) -> Gpu | None:
        """The GPU at an address; a log may name function 0 of the card, or another function of it."""
        if bdf is None:
            return None
        card = bdf.rsplit(".", 1)[0]
        return next((gpu for gpu in self.gpus.gpus if gpu.bdf == bdf), None) or next(
            (gpu for gpu in self.gpus.gpus if gpu.bdf.rsplit(".", 1)[0] == card), None)

    def subject(self, bdf: Bdf | None) -> Subject:
        """The GPU where the device is one or lies on the way to one card, else the device itself."""
        gpu = self.gpu(bdf) or self.below(bdf)
        if gpu is not None:
            return gpu.subject
        if bdf is None:
            return BOX
        link = self.links.links.get(bdf)
        return Subject("function", name=f"device {bdf}", slot=link.slot if link else None, bdf=bdf)

    def below(self, bdf: Bdf | None) -> Gpu | None:
        """The one GPU whose slot's link a port belongs to."""
        link = self.link_id(bdf)
        found = [gpu for gpu in self.gpus.gpus if link is not None and gpu.slot_link == link]
        return found[0] if len(found) == 1 else None

    def link_id(self, bdf: Bdf | None) -> Bdf | None:
        """The link that an error of this device belongs to: a port's own, else the one above it."""
        if bdf is None:
            return None
        own = self.links.links.get(bdf)
        if own is not None and not own.on_card:
            return bdf
        slot = self.links.slot_link(bdf)
        return None if slot is None else slot.id

    def place(self, bdf: Bdf | None) -> str | None:
        """The chain of parts down to a device, None when it hangs on no link."""
        link = self.links.links.get(self.link_id(bdf) or Bdf(""))
        return None if link is None else where(link, self.gpu(bdf) or self.below(bdf), self.links, self.want)

    def ago(self, event: Event) -> str:
        """`3 h 12 min ago`, `at Sep 19 16:18:02`, or nothing."""
        uptime = self.logs.uptime_seconds
        if isinstance(event.last, float) and not isinstance(uptime, Unread) and uptime >= event.last:
            return f"{duration(uptime - event.last)} ago"
        if isinstance(event.last, float):
            return f"{duration(event.last)} after boot"
        return f"at {event.last}" if event.last else ""


def _said(scene: Scene, event: Event) -> str:
    count = event.count + event.suppressed
    log = scene.logs.this_boot
    lost = not isinstance(log, Unread) and cut(log, "this boot") is not None
    least = "at least " if event.at_least or (lost and count > 1) else ""
    often = "" if count == 1 and not least else f", {least}{count} x"
    when = scene.ago(event)
    last = "last " if count > 1 and when.endswith("ago") else ""
    return f"{event.says}{often}" + (f", {last}{when}" if when else "")


def _group(events: Iterable[Event], key: Callable[[Event], object]) -> list[list[Event]]:
    groups: dict[object, list[Event]] = {}
    for event in events:
        groups.setdefault(key(event), []).append(event)
    return list(groups.values())


def _joined(groups: list[list[Event]]) -> list[list[Event]]:
    """Lines that name no device belong to the one device that has trouble; with several nobody knows."""
    nameless = [group for group in groups if all(event.bdf is None for event in group)]
    named = [group for group in groups if group not in nameless]
    if len(named) != 1:
        return groups
    return [sorted((event for group in groups for event in group), key=lambda event: (event.bdf is None, event.line))]


def judge_events(
    scene: Scene, kinds: Sequence[str], nothing: str, cause: Callable[[Scene, Sequence[Event]], str], *,
    key: Callable[[Event], object] = lambda event: event.bdf,
    title: Callable[[Scene, Sequence[Event]], str] | None = None,
    keep: Callable[[Event], bool] = lambda event: True,
) -> Iterator[Finding]:
    """The findings of the events of some kinds: one for each device (`key`).

    `nothing` is what a pass says. Without a single bad event the check passes only when the log holds the whole boot,
    of the kernel that runs, up to when the machine was read.
    """
    log = scene.logs.this_boot
    if isinstance(log, Unread):
        yield not_read(BOX, log, evidence=(LOG,))
        return
    mine = [event for event in log.events if event.kind in kinds and keep(event)]
    bad = [event for event in mine if event.severity in GRAVITY]
    for group in _joined(_group(bad, key)):
        yield _finding(scene, group, cause(scene, group), title(scene, group) if title else None)
    if bad:
        return
    notes = tuple(_said(scene, event) for event in mine if event.severity == "info")[:MOST_WORDS]
    if (gap := incomplete(log, scene.logs)) is not None:
        yield unknown(BOX, f"not read: {gap}; in the rest, {nothing}", evidence=(LOG,), notes=notes,
                      help=("sudo journalctl -k -b holds the whole boot where journald keeps logs",))
    else:
        yield passed(BOX, nothing, evidence=(LOG,), notes=notes)


def incomplete(log: KernelLog, logs: KernelLogs) -> str | None:
    """Why the absence of an event in the log of this boot proves nothing; None when it does."""
    return cut(log, "this boot") or _not_this_boot(log, logs) or _ends_early(log, logs)


def cut(log: KernelLog, boot: str) -> str | None:
    """Why a text is not the whole log of a boot from its start; None when it is."""
    if log.truncated:
        return "the kernel log is too long to be read whole"
    if not log.facts.from_boot:
        begins = f" (it begins {duration(log.first_seconds)} after it)" if log.first_seconds is not None else ""
        return f"the kernel log no longer holds the start of {boot}{begins}"
    return _not_a_boot(log)


def _not_a_boot(log: KernelLog) -> str | None:
    """Why a text with the first line of a boot is not the log of one."""
    first = log.facts.boot_line or 1
    if log.boots <= 1 and first > LATEST_FIRST_LINE:
        return f"the kernel's first line is line {first} of the log, so the lines before it are not of this boot"
    held = log.lines - first + 1
    if held < FEWEST_LINES:
        return f"the kernel log has {held} line{'s' if held > 1 else ''}, and no machine starts with so few"
    return None if log.timed else "the lines of the kernel log carry no time, so nobody knows how far it reaches"


def _not_this_boot(log: KernelLog, logs: KernelLogs) -> str | None:
    release = log.facts.kernel_release
    if isinstance(logs.release, Unread) or release is None or release == logs.release:
        return None
    return f"the kernel log is of {release}, and {logs.release} runs"


def _ends_early(log: KernelLog, logs: KernelLogs) -> str | None:
    """A log ends when nothing more is said, so its end proves nothing; but only a log that was read with the machine
    is known to be that one."""
    if logs.recorded:
        return None
    uptime, last = logs.uptime_seconds, log.last_seconds
    if not isinstance(uptime, Unread) and last is not None and 0 <= uptime - last <= RECENT_SECONDS:
        return None
    until = "" if last is None else f" (it ends {duration(last)} after boot"
    until += "" if not until else ")" if isinstance(uptime, Unread) else f", read after {duration(uptime)})"
    return f"the kernel log is a file that may hold the start of the machine only{until}"


GOES_ON = ("not ", "still", "refused", "it is ", "then ", "or ", "if ")
"""How a step begins that goes on where the one before it did not cure."""


def _steps(events: Sequence[Event]) -> tuple[str, ...]:
    """The steps of several events, each once, cheap ones first; one that goes on stays behind the one it follows."""
    groups: list[list[str]] = []
    for step in dict.fromkeys(step for event in events for step in event.help):
        if groups and step.startswith(GOES_ON):
            groups[-1].append(step)
        else:
            groups.append([step])
    return tuple(step for group in sorted(groups, key=cost) for step in group)


def _finding(scene: Scene, group: Sequence[Event], cause: str, title: str | None) -> Finding:
    worst = sorted(group, key=lambda event: (GRAVITY[event.severity].rank, event.line))
    outcome = GRAVITY[worst[0].severity]
    bdf = group[0].bdf
    # Both ends of a link make one finding; the same words of both are told apart by their addresses.
    several = len({event.bdf for event in worst}) > 1
    said = [(f"at {short(event.bdf)}: " if several and event.bdf else "") + _said(scene, event)
            for event in worst[:MOST_WORDS]]
    more = len(worst) - MOST_WORDS
    helps = _steps(worst)
    return decided(
        outcome, scene.subject(bdf), "; ".join(said) + (f"; and {more} more kinds" if more > 0 else ""),
        evidence=(LOG,), cause=cause, title=title, where=scene.place(bdf), help=helps,
        notes=tuple(f"log line {event.line}: {event.text[:160]}" for event in worst[:MOST_WORDS] if event.text),
    )


def no_vendor(scene: Scene, vendor: str, name: str) -> Finding | None:
    """The skip of a check about one vendor's driver, where neither machine nor profile has such a GPU."""
    if vendor in scene.want.gpus.vendors or scene.gpus.of_vendor(vendor):
        return None
    if scene.gpus.unreadable is not None:
        return None
    return skipped(BOX, f"no {name} GPU is here and the profile names none")

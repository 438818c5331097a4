"""Judgements on the management controller and what it reports: events and case fans."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.checks.wording import counted, decided, not_read, why_not, wish_of
from boxcheck.model import BOX, Finding, Quantity, Subject, Unread
from boxcheck.probes.bmc import EVENTS, FANS, Bmc, BmcEvent, BmcSensor
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, limit, marginal, outcome_of, passed, skipped

PRESENT = limit("bmc.present", bool, "eq", "", "Whether the board has a management controller that can be asked.")

SUBJECT = Subject("bmc", "BMC")
ATTENTION = (
    "non-recoverable", "failure detected", "ac lost", "uncorrectable", "fatal", "ierr",
    "thermal trip", "redundancy lost", "critical going", "critical stop", "os stop", "processor disabled",
    "configuration error", "critical interrupt", "predictive failure", "power supply failure", "pci perr", "pci serr",
    "fault status",
)
"""Parts of event texts, in lower case, that need attention when they are asserted (IPMI 2.0, tables 42-2 and 42-3)."""
HARMLESS = ("non-critical going", "presence detected", "fully redundant")


def _no_bmc(bmc: Bmc) -> Finding | None:
    """The finding where there is surely no BMC, None where there is one or where it is not known."""
    return skipped(BOX, "the board has no BMC") if bmc.node is None and bmc.announced is False else None


def no_driver(bmc: Bmc) -> Unread | None:
    if bmc.node is None:
        if isinstance(bmc.announced, Unread):
            return Unread(f"there is no /dev/ipmi0, and whether the board has a BMC: {bmc.announced.why}",
                          bmc.announced.kind)
        why = "its driver is not loaded" if bmc.announced else "the board shows no BMC"
        return Unread(f"there is no /dev/ipmi0: {why}", "unsupported")
    return bmc.node if isinstance(bmc.node, Unread) else None


LOAD = "sudo modprobe ipmi_si ipmi_devintf"


@check("bmc.present", reads=[Bmc], limits=[PRESENT])
def present(bmc: Bmc, want: Profile) -> Iterator[Finding]:
    """The board's management controller cannot be asked.

    Why it matters: without it nobody sees the supplies, the fans and the log of hardware errors, and a hung box cannot
    be restarted from afar.
    What to do: `sudo modprobe ipmi_si ipmi_devintf`. Where the board shows no controller at all, cut mains for a
    minute: a BMC that hung starts again with standby power.
    Not a fault: desktop boards have none.
    By hand: ls /dev/ipmi0; sudo ipmitool mc info
    """
    bound = want.limit(PRESENT)
    if bound is None or wish_of(bound) is False:
        yield skipped(BOX, f"the profile sets no {PRESENT}")
        return
    evidence = ("/dev/ipmi0",)
    if isinstance(bmc.node, str):
        known = "" if isinstance(bmc.info, Unread) else f", firmware {bmc.info.firmware or 'not given'}"
        yield passed(SUBJECT, f"{bmc.node} is there{known}", measured=Quantity(True), limit=bound, evidence=evidence)
    elif isinstance(bmc.node, Unread):
        yield not_read(SUBJECT, bmc.node, evidence=evidence)
    elif bmc.announced is True:
        yield marginal(
            SUBJECT, "the board has a BMC and there is no /dev/ipmi0, profile asks for it",
            measured=Quantity(False), limit=bound, evidence=evidence, cause="bmc-driver:",
            title="the BMC's driver is not loaded", help=(LOAD,))
    elif isinstance(bmc.announced, Unread):
        yield not_read(SUBJECT, bmc.announced, evidence=evidence)
    else:
        yield decided(
            outcome_of(False, bound), SUBJECT, "neither the PCI bus nor the firmware's table shows a BMC",
            measured=Quantity(False), limit=bound, evidence=evidence, cause="bmc-missing:",
            title="the BMC does not answer", help=("switch off at the mains for a minute, then on again",))


def needs_attention(event: BmcEvent) -> bool:
    """Whether an event tells of a fault."""
    text = event.event.lower()
    if not event.asserted or any(part in text for part in HARMLESS):
        return False
    return any(part in text for part in ATTENTION)


@check("bmc.sel-critical", reads=[Bmc], needs=["root", "ipmitool"])
def sel_critical(bmc: Bmc, want: Profile) -> Iterator[Finding]:
    """The board's event log holds hardware faults.

    Why it matters: the BMC logs what the operating system never sees: mains lost on one supply, a fan that stopped, a
    memory or bus error before boot.
    What to do: deal with what it names, save the log (`sudo ipmitool sel elist`), clear it
    (`sudo ipmitool sel clear`), and see whether it comes again.
    Not a fault: old events of work on the box; the log keeps them until somebody clears it.
    By hand: sudo ipmitool sel elist
    """
    nothing = _no_bmc(bmc)
    evidence = (" ".join(EVENTS),)
    if nothing is not None:
        yield nothing
        return
    if isinstance(bmc.events, Unread):
        yield not_read(SUBJECT, why_not(no_driver(bmc), bmc.events), help=driver_help(bmc), evidence=evidence)
        return
    bad = [event for event in bmc.events if needs_attention(event)]
    if not bad:
        yield passed(
            SUBJECT, f"0 faults among the last {counted(len(bmc.events), 'event')}", measured=Quantity(0, "events"),
            evidence=evidence)
        return
    latest = [f"{event.when} {event.sensor}: {event.event}" for event in bad[-3:]]
    yield marginal(
        SUBJECT,
        f"{counted(len(bad), 'fault')} among the last {counted(len(bmc.events), 'event')}, limit 0; last: {latest[-1]}",
        measured=Quantity(len(bad), "events"), evidence=evidence, cause="bmc-events:", notes=tuple(latest[:-1]),
        title="the board's event log holds hardware faults",
        help=("sudo ipmitool sel elist, and deal with what it names",
              "then sudo ipmitool sel clear, and see what returns"))


def driver_help(bmc: Bmc) -> tuple[str, ...]:
    if bmc.node is None:
        return () if isinstance(bmc.announced, Unread) else (LOAD,)
    return ("install ipmitool",) if isinstance(bmc.events, Unread) and bmc.events.kind == "absent" else ()


@check("fan.case", reads=[Bmc], needs=["root", "ipmitool"])
def case_fans(bmc: Bmc, want: Profile) -> Iterator[Finding]:
    """A fan that the board watches is too slow or stands still.

    Why it matters: GPUs in a row live on the air of the case fans; one that stands still heats two cards.
    What to do: look for a cable in it, then for its plug; replace it.
    Not a fault: a fan header with nothing plugged in, which shows no reading.
    By hand: sudo ipmitool sdr type Fan
    """
    nothing = _no_bmc(bmc)
    evidence = (" ".join(FANS),)
    if nothing is not None:
        yield nothing
        return
    if isinstance(bmc.fans, Unread):
        yield not_read(SUBJECT, why_not(no_driver(bmc), bmc.fans), help=driver_help(bmc), evidence=evidence)
        return
    turning = [fan for fan in bmc.fans if fan.status not in ("ns", "na")]
    if not turning:
        yield skipped(SUBJECT, "the BMC has no fan with a reading")
    fine = True
    for fan in turning:
        if fan.status in ("cr", "nr", "nc"):
            fine = False
            make = marginal if fan.status == "nc" else failed
            yield make(
                Subject("sensor", fan.name), f"{fan.reading}, past the board's own limit ({_STATUS[fan.status]})",
                measured=Quantity(fan.reading), evidence=evidence, cause=f"fan:{fan.name}",
                title=f"fan {fan.name} is too slow", help=("look for a cable in it, then for its plug; replace it",))
        elif _speed(fan) == 0:
            fine = False
            yield marginal(
                Subject("sensor", fan.name), f"{fan.reading}, and the board sets no limit that calls it a fault",
                measured=Quantity(fan.reading), evidence=evidence, cause=f"fan:{fan.name}",
                title=f"fan {fan.name} stands still", help=(
                    f"nothing is plugged in at {fan.name}: disable that sensor in the BMC, so that others are seen",
                    "look for a cable in it, then for its plug; replace it"))
    if turning and fine:
        yield passed(
            SUBJECT, f"{counted(len(turning), 'fan')} within the board's limits, slowest {_slowest(turning)}",
            measured=Quantity(0, "fans"), evidence=evidence)


_STATUS = {"nc": "non-critical", "cr": "critical", "nr": "non-recoverable"}


def _speed(fan: BmcSensor) -> float:
    """Infinite where the reading is no number."""
    head = fan.reading.split(" ", 1)[0]
    return float(head) if head.replace(".", "", 1).isdecimal() and len(head) < 12 else float("inf")


def _slowest(fans: list[BmcSensor]) -> str:
    return min(fans, key=_speed).reading

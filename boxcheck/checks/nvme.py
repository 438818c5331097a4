"""Judgements on NVMe drives."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.checks.places import in_slot
from boxcheck.checks.steps import COOL_DRIVE, COPY_AND_REPLACE, LANE_SHARING
from boxcheck.checks.wording import broken_bound, counted, decided, judged, listed, not_read, why_not, wish_of
from boxcheck.model import BOX, Finding, Limit, Outcome, Quantity, Subject, Unread
from boxcheck.probes.links import Link, Links
from boxcheck.probes.nvme import Nvme, NvmeDrive, SmartLog
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, limit, marginal, outcome_of, passed, skipped

COUNT = limit("disk.nvme_count", int, "ge", "drives", "NVMe drives on PCIe.", low=0, high=128)
LINK_SPEED = limit(
    "disk.nvme_link_speed_gts", float, "ge", "GT/s", "Link speed of each NVMe drive that can do it.", low=2.5, high=128,
)
LINK_WIDTH = limit(
    "disk.nvme_link_width", int, "ge", "lanes", "Link width of each NVMe drive that can do it.", low=1, high=16,
)
USED = limit(
    "disk.nvme_used_percent", int, "le", "%", "Wear of each NVMe drive by its own estimate (percentage used).",
    low=0, high=255,
)

WARNINGS = (
    (1, "spare capacity is low"), (2, "temperature is outside its range"), (4, "reliability is degraded"),
    (8, "media is read-only"), (16, "backup of volatile memory failed"), (32, "persistent memory region is unreliable"),
)
"""Bits of Critical Warning (NVM Express Base Specification 2.0, 5.16.1.3)."""
TOO_HOT = 2
"""The one warning that passes when the drive cools."""
HEALTHY_STATES = frozenset({"live"})
PASSING_STATES = frozenset({"new", "resetting", "connecting"})
"""States that a drive leaves by itself within seconds."""
STATES = HEALTHY_STATES | PASSING_STATES | {"deleting", "deleting (no IO)", "dead"}
"""All that the kernel says (drivers/nvme/host/sysfs.c)."""


def drive_subject(drive: NvmeDrive) -> Subject:
    return Subject("nvme", drive.name, bdf=drive.bdf)


def _path(drive: NvmeDrive, name: str) -> str:
    return f"/sys/class/nvme/{drive.name}/{name}"


FABRICS = frozenset({"rdma", "tcp", "fc", "loop"})


def local(nvme: Nvme) -> tuple[NvmeDrive, ...]:
    """The drives on PCIe; those over a network fabric are not the box's."""
    return tuple(
        drive for drive in nvme.drives if isinstance(drive.transport, Unread) or drive.transport in ("pcie", None)
        or (drive.bdf is not None and drive.transport not in FABRICS))


def _none_to_judge(nvme: Nvme) -> Finding | None:
    """The one finding where there is no drive to look at; None where there is."""
    if nvme.unreadable is not None:
        return not_read(BOX, nvme.unreadable, evidence=("/sys/class/nvme",))
    if local(nvme):
        return None
    if nvme.undriven:
        why = f"{listed(nvme.undriven)} on the PCI bus, without the nvme driver"
        return not_read(BOX, Unread(f"NVMe controller {why}", "unsupported"), evidence=("/sys/class/nvme",))
    return skipped(BOX, "there is no NVMe drive")


@check("disk.nvme-count", reads=[Nvme], limits=[COUNT])
def count(nvme: Nvme, want: Profile) -> Iterator[Finding]:
    """Fewer NVMe drives are there than the box has.

    Why it matters: a striped array is gone with one of its drives; on ROMED8-2T boards an M.2 drive that vanished may
    also mean that slot 2's jumper gives its lanes to something else.
    What to do: power off, reseat the drive, look at the slot's lane sharing in the board's manual.
    Not a fault: drives over a network fabric are not counted.
    By hand: nvme list; lspci -d ::0108
    """
    bound = want.limit(COUNT)
    if bound is None:
        yield skipped(BOX, f"the profile sets no {COUNT}")
        return
    if nvme.unreadable is not None:
        yield not_read(BOX, nvme.unreadable, evidence=("/sys/class/nvme",))
        return
    drives = local(nvme)
    notes = (f"on the PCI bus without the nvme driver: {listed(nvme.undriven)}",) if nvme.undriven else ()
    yield judged(
        BOX, len(drives), bound, f"{counted(len(drives), 'NVMe drive')}, {broken_bound(len(drives), bound)}",
        evidence=("/sys/class/nvme",), notes=notes, cause="nvme-missing:",
        title=f"{wish_of(bound) - len(drives)} of {wish_of(bound)} NVMe drives missing",
        help=("sudo modprobe nvme, then look at the kernel log",) if nvme.undriven else (
            "power off, reseat the drive that nvme list does not show, power on",
            LANE_SHARING),
    )


@check("disk.nvme-link", reads=[Nvme, Links], limits=[LINK_SPEED, LINK_WIDTH])
def link(nvme: Nvme, links: Links, want: Profile) -> Iterator[Finding]:
    """An NVMe drive's link runs with fewer lanes or slower than it could.

    Why it matters: x2 halves the drive's bandwidth, and a striped array runs as slow as its slowest member.
    What to do: reseat the drive; look at lane sharing and at the slot's speed in the BIOS.
    Not a fault: a drive that itself can do no more; a slot that has fewer lanes or an older generation by design, on
    boxes whose profile sets no limit.
    By hand: cat /sys/class/nvme/nvme0/device/{current,max}_link_{width,speed}
    """
    nothing = _none_to_judge(nvme)
    if nothing is not None:
        yield nothing
        return
    for drive in local(nvme):
        above = links.slot_link(drive.bdf) if drive.bdf else None
        if above is None:
            none = Unread(f"{drive.name} has no port above it that shows a link", "unsupported")
            yield not_read(drive_subject(drive), why_not(links.unreadable, none), evidence=(_path(drive, "address"),))
            continue
        yield from _link_of(drive, above, want)


def _link_of(drive: NvmeDrive, above: Link, want: Profile) -> Iterator[Finding]:
    """One finding for width and one for speed; a single pass where both are as they should be."""
    subject = drive_subject(drive)
    evidence = (_path(drive, "device/current_link_width"), _path(drive, "device/current_link_speed"))
    width, speed = above.width, above.speed_gts
    for value, name in ((width, "width"), (speed, "speed")):
        if value is None or isinstance(value, Unread):
            why = value if isinstance(value, Unread) else Unread(f"the link shows no legal {name}", "malformed")
            yield not_read(subject, why, evidence=evidence)
            return
    end = above.upstream
    if end is not None and end.width != width:
        differ = Unread(f"the two ends of the link do not agree: the port says x{width}, the drive x{end.width}")
        yield not_read(subject, why_not(end.width, differ), evidence=evidence)
        return
    if end is not None and not isinstance(end.speed_gts, float):
        silent = Unread("the drive shows no legal speed of its link", "malformed")
        yield not_read(subject, why_not(end.speed_gts, silent), evidence=evidence)
        return
    if end is not None and isinstance(end.speed_gts, float) and isinstance(speed, float):
        speed = min(speed, end.speed_gts)
    found = [
        _below("lanes", width, above.capable_width, end.max_width if end else None, want.limit(LINK_WIDTH), "x{:g}"),
        _below("GT/s", speed, above.capable_speed_gts, end.max_speed_gts if end else None, want.limit(LINK_SPEED),
               "{:.1f} GT/s"),
    ]
    for both, name in ((above.capable_width, LINK_WIDTH), (above.capable_speed_gts, LINK_SPEED)):
        if want.limit(name) is None and not isinstance(both, (int, float)):
            silent = Unread("neither the profile nor both ends say what its link should be", "unsupported")
            yield not_read(subject, why_not(both, silent), evidence=evidence)
            return
    where = f"port {above.id} > {in_slot(above)}{drive.name} {drive.bdf}"
    for outcome, says, measured, bound in filter(None, found):
        yield decided(
            outcome, subject, says, measured=measured, limit=bound, evidence=evidence, cause=f"link:{above.id}",
            title=f"the link of {drive.name} runs below what it can do", where=where,
            help=(f"power off, reseat {drive.name} ({drive.model if isinstance(drive.model, str) else drive.bdf})",
                  LANE_SHARING))
    if not any(found):
        yield passed(
            subject, f"x{width} at {speed:.1f} GT/s", measured=Quantity(width or 0, "lanes"), evidence=evidence)


Below = tuple[Outcome, str, Quantity, Limit | None]


def _below(
    unit: str, value: object, both: object, drive: object, bound: Limit | None, spell: str
) -> Below | None:
    """None where `value` is what it should be: the profile's limit, but no more than the drive itself can do; without
    a limit, what both ends can do."""
    if not isinstance(value, (int, float)):
        return None
    measured = Quantity(value, unit)
    now = spell.format(value)
    if bound is not None:
        outcome = outcome_of(value, bound)
        if outcome is Outcome.PASS:
            return None
        if isinstance(drive, (int, float)) and value >= drive:
            says = f"runs at {now}, {broken_bound(value, bound)} {unit}; the drive itself can do no more"
            return Outcome.MARGINAL, says, measured, bound
        return outcome, f"runs at {now}, {broken_bound(value, bound)} {unit}", measured, bound
    if isinstance(both, (int, float)) and value < both:
        return Outcome.MARGINAL, f"runs at {now}, both ends can do {spell.format(both)}", measured, None
    return None


@check("disk.nvme-state", reads=[Nvme])
def state(nvme: Nvme, want: Profile) -> Iterator[Finding]:
    """The kernel has given up on an NVMe drive, or the drive takes no data.

    Why it matters: its data cannot be reached until the next boot, and an array without redundancy is gone.
    What to do: read the kernel log for `nvme` and the drive's bus address; power-cycle, reseat; a drive that dies again
    is replaced.
    Not a fault: a short `resetting`, which comes out as marginal.
    By hand: cat /sys/class/nvme/nvme*/state
    """
    nothing = _none_to_judge(nvme)
    if nothing is not None:
        yield nothing
        return
    for drive in local(nvme):
        subject, evidence = drive_subject(drive), (_path(drive, "state"),)
        if isinstance(drive.state, Unread) or drive.state not in STATES:
            none = "its state is empty" if drive.state is None else f"{drive.state!r} is no state of a drive"
            yield not_read(subject, why_not(drive.state, Unread(none, "malformed")), evidence=evidence)
        elif drive.state in HEALTHY_STATES and (broken := _unusable(drive)) is not None:
            yield failed(
                subject, f"is {drive.state}, and {broken}", measured=Quantity(drive.state), evidence=evidence,
                cause=f"nvme:{drive.name}", title=f"{drive.name} cannot be written to",
                help=(f"read the kernel log for {drive.name} and {drive.bdf}", COPY_AND_REPLACE))
        elif drive.state in HEALTHY_STATES and (unread := _unread_size(drive)) is not None:
            yield not_read(subject, unread, evidence=evidence)
        elif drive.state in HEALTHY_STATES and not drive.namespaces:
            yield marginal(
                subject, f"is {drive.state}, and shows no namespace: nothing on it can be reached", evidence=evidence,
                measured=Quantity(0, "namespaces"), cause=f"nvme:{drive.name}",
                title=f"{drive.name} shows no namespace", help=(
                    f"read the kernel log for {drive.name} and {drive.bdf}",
                    f"sudo nvme list-ns /dev/{drive.name} --all  shows whether the drive has one at all"))
        elif drive.state in HEALTHY_STATES:
            yield passed(subject, drive.state, measured=Quantity(drive.state), evidence=evidence)
        else:
            make = marginal if drive.state in PASSING_STATES else failed
            yield make(
                subject, f"is {drive.state}, not live", measured=Quantity(drive.state), evidence=evidence,
                cause=f"nvme:{drive.name}", title=f"{drive.name} is {drive.state}",
                help=(f"read the kernel log for {drive.name} and {drive.bdf}", "power-cycle the box, reseat the drive"))


def _unusable(drive: NvmeDrive) -> str | None:
    """What is wrong with a namespace of a drive that answers; None where nothing is."""
    for namespace in drive.namespaces:
        if namespace.size_bytes == 0:
            return f"{namespace.name} has no capacity"
        if namespace.read_only is True:
            return f"{namespace.name} refuses writes"
    return None


def _unread_size(drive: NvmeDrive) -> Unread | None:
    """Why the size of a namespace is not known, which would be 0 on a drive that gave up, or whether it takes data."""
    if drive.namespaces_unread is not None:
        return drive.namespaces_unread
    return next((value for one in drive.namespaces for value in (one.size_bytes, one.read_only)
                 if isinstance(value, Unread)), None)


@check("disk.nvme-health", reads=[Nvme], limits=[USED], needs=["root", "nvme-cli"])
def health(nvme: Nvme, want: Profile) -> Iterator[Finding]:
    """An NVMe drive says that it is failing, worn or has lost data.

    Why it matters: the drive knows first. A critical warning comes before it turns read-only; media errors are data
    that it could not give back.
    What to do: copy what is on it and replace it.
    Not a fault: unsafe shutdowns (power cuts), which are shown and not judged.
    By hand: sudo nvme smart-log /dev/nvme0
    """
    nothing = _none_to_judge(nvme)
    if nothing is not None:
        yield nothing
        return
    bound = want.limit(USED)
    for drive in local(nvme):
        subject = drive_subject(drive)
        if isinstance(drive.smart, Unread):
            yield not_read(subject, drive.smart, help=("install nvme-cli",) if drive.smart.kind == "absent" else ())
        else:
            yield from _health_of(drive, drive.smart, subject, bound)


def _health_of(drive: NvmeDrive, smart: SmartLog, subject: Subject, bound: Limit | None) -> Iterator[Finding]:
    evidence = (f"nvme smart-log /dev/{drive.name} -o json",)
    common = {"evidence": evidence, "cause": f"nvme:{drive.name}"}
    fine = True
    dying = bool(smart.critical_warning and smart.critical_warning & ~TOO_HOT)
    if smart.critical_warning == TOO_HOT:
        fine = False
        yield marginal(
            subject, f"critical warning 0x{TOO_HOT:02x}, must be 0x00: temperature is outside its range",
            measured=Quantity(TOO_HOT), title=f"{drive.name} is hot", help=(COOL_DRIVE,),
            evidence=evidence, cause=f"hot:{drive.bdf or drive.name}")
    elif smart.critical_warning:
        words = [text for bit, text in WARNINGS if smart.critical_warning & bit] or ["reason not known"]
        fine = False
        yield failed(
            subject, f"critical warning 0x{smart.critical_warning:02x}, must be 0x00: {listed(words)}",
            measured=Quantity(smart.critical_warning), title=f"{drive.name} warns: {words[0]}",
            help=(COPY_AND_REPLACE,), **common)
    if smart.media_errors:
        fine = False
        yield marginal(
            subject, f"{smart.media_errors} media errors, limit 0", measured=Quantity(smart.media_errors, "errors"),
            title=f"{drive.name} has lost data", **common,
            help=(COPY_AND_REPLACE,) if dying else ("copy what is on it; replace it when the number grows",))
    spare, threshold = smart.spare_percent, smart.spare_threshold_percent
    if spare is not None and threshold is not None and spare < threshold and not smart.critical_warning & 1:
        fine = False
        yield failed(
            subject, f"spare {spare} %, below the drive's own threshold of {threshold} %",
            measured=Quantity(spare, "%"), title=f"{drive.name} has no spare left", help=(COPY_AND_REPLACE,), **common)
    used = smart.used_percent
    if bound is not None and used is not None and outcome_of(used, bound) is not Outcome.PASS:
        fine = False
        yield judged(
            subject, used, bound, f"{used} % used, {broken_bound(used, bound)} % or less",
            title=f"{drive.name} is worn", help=(COPY_AND_REPLACE,) if dying else ("plan its replacement",), **common)
    missing = [name for name, value in (
        ("media errors", smart.media_errors), ("percentage used", smart.used_percent), ("spare", spare),
        ("spare threshold", threshold)) if value is None]
    if missing:
        yield not_read(subject, Unread(f"its health log has no {listed(missing)}", "malformed"), evidence=evidence)
    elif fine:
        yield passed(
            subject, f"no warning, {smart.media_errors} media errors, {smart.used_percent} % used, spare "
            f"{smart.spare_percent} %, {smart.unsafe_shutdowns} unsafe shutdowns",
            measured=Quantity(smart.critical_warning), evidence=evidence)


@check("disk.nvme-firmware-uniform", reads=[Nvme])
def firmware_uniform(nvme: Nvme, want: Profile) -> Iterator[Finding]:
    """NVMe drives of one model run different firmware.

    Why it matters: a fault or slowness in one firmware then looks like one bad drive; batches are meant to be alike.
    What to do: bring the drives to one version with the vendor's tool or fwupd.
    Not a fault: of the drive; different models have different firmware.
    By hand: nvme list
    """
    nothing = _none_to_judge(nvme)
    if nothing is not None:
        yield nothing
        return
    models: dict[str, dict[str, list[str]]] = {}
    for drive in local(nvme):
        for value, what in ((drive.model, "model"), (drive.firmware, "firmware version")):
            if not isinstance(value, str):
                none = Unread(f"{drive.name} gives no {what}", "malformed")
                yield not_read(drive_subject(drive), why_not(value, none))
                return
        models.setdefault(str(drive.model), {}).setdefault(str(drive.firmware), []).append(drive.name)
    for model, versions in models.items():
        if len(versions) > 1:
            said = listed(f"{listed(names)} {version}" for version, names in sorted(versions.items()))
            yield marginal(
                BOX, f"{len(versions)} firmware versions on {model}: {said}",
                measured=Quantity(len(versions), "versions"), evidence=("/sys/class/nvme",), cause="nvme-firmware:",
                help=("update them to one version",))
        elif sum(map(len, versions.values())) > 1:
            version, names = next(iter(versions.items()))
            yield passed(BOX, f"{len(names)} x {model} run {version}", measured=Quantity(1, "versions"))
    if all(len(names) == 1 for versions in models.values() for names in versions.values()) and len(
            models) == len(local(nvme)):
        yield skipped(BOX, "no two NVMe drives are of one model")

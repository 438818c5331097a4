"""Judgements on temperatures of everything but GPUs, and on links that are slowed down to stay cool."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.checks.nvme import local
from boxcheck.checks.places import link_subject, short, where
from boxcheck.checks.steps import COOL_DRIVE, FANS, LOAD_OFF
from boxcheck.checks.wording import broken_bound, counted, judged, listed, not_read, why_not
from boxcheck.model import BOX, Bdf, Finding, Quantity, Subject, Unread
from boxcheck.probes.gpus import Gpus
from boxcheck.probes.links import Links
from boxcheck.probes.nvme import Nvme
from boxcheck.probes.sensors import CPU_CHIPS, Chip, LinkCooling, Sensors, Temperature
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, limit, marginal, passed, skipped

CPU = limit("thermal.cpu_celsius", float, "le", "°C", "Temperature of the processor.", low=20, high=120)

CPU_LABELS = ("Tdie", "Tctl", "Package id 0", "Package id 1", "Package id 2", "Package id 3", "temp1")
"""Tdie comes first: on early Ryzen and Threadripper, Tctl is up to 27 degrees higher than the die."""
TRUSTED_CHIPS = frozenset({
    "amdgpu", "xe", "i915", "k10temp", "coretemp", "zenpower", "nvme", "jc42", "spd5118", "drivetemp", "mlx5",
    "bnxt_en", "ixgbe", "i350bb",
})
"""Drivers whose alarms mean something. Super I/O chips raise alarms of inputs that nothing is wired to."""


@check("thermal.cpu", reads=[Sensors], limits=[CPU])
def cpu(sensors: Sensors, want: Profile) -> Iterator[Finding]:
    """The processor is hot.

    Why it matters: it lowers its clock from about 95 °C, and with it everything that feeds the GPUs.
    What to do: look whether the cooler is fastened and its fan turns; renew the paste.
    Not a fault: short peaks under load; on early Ryzen and Threadripper, Tctl is higher than the die by design, which
    is why Tdie is taken where there is one.
    By hand: sensors k10temp-*
    """
    bound = want.limit(CPU)
    if bound is None:
        yield skipped(BOX, f"the profile sets no {CPU}")
        return
    if isinstance(sensors.chips, Unread):
        yield not_read(BOX, sensors.chips, evidence=("/sys/class/hwmon",))
        return
    chips = [chip for chip in sensors.chips if chip.name in CPU_CHIPS]
    if not chips:
        yield not_read(
            BOX, Unread("no driver shows the processor's temperature", "unsupported"), evidence=("/sys/class/hwmon",),
            help=("sudo modprobe k10temp (AMD) or coretemp (Intel)",))
    elif sensors.chips_unread is not None:  # it may be that of another socket
        yield not_read(BOX, sensors.chips_unread, evidence=("/sys/class/hwmon",))
    for index, chip in enumerate(chips):
        subject = Subject("cpu", "CPU" if len(chips) == 1 else f"CPU {index}")
        item = chip.temperature(*CPU_LABELS)
        if item is None or isinstance(item.celsius, Unread):
            none = Unread(f"{chip.name} shows no temperature of the package", "unsupported")
            yield not_read(subject, why_not(item.celsius if item else None, none))
            continue
        yield judged(
            subject, item.celsius, bound,
            f"{item.label} {item.celsius:g} °C, {broken_bound(item.celsius, bound)} °C or less", evidence=(item.path,),
            cause=f"cpu-hot:{index}", title=f"{subject.name} is hot",
            help=("look whether the cooler is fastened and its fan turns", "renew the paste"))


@check("thermal.critical-alarm", reads=[Sensors, Gpus])
def critical_alarm(sensors: Sensors, gpus: Gpus, want: Profile) -> Iterator[Finding]:
    """A part is past its own critical temperature.

    Why it matters: the next step is a shutdown, or damage.
    What to do: take the load off, look for a fan that stands still.
    Not a fault: alarms of a board's Super I/O chip, whose inputs are often not wired; they are left out.
    By hand: sensors | grep -i alarm
    """
    if isinstance(sensors.chips, Unread):
        yield not_read(BOX, sensors.chips, evidence=("/sys/class/hwmon",))
        return
    looked = 0
    bad = False
    unread: list[tuple[Temperature, Unread]] = []
    for chip in sensors.chips:
        for item in chip.temperatures if chip.name in TRUSTED_CHIPS else ():
            limited = item.critical_celsius is not None and isinstance(item.celsius, float)
            if item.alarm is None and not limited:
                # A card that sleeps (`unsupported`) is not past anything.
                if item.critical_celsius is not None and isinstance(item.celsius, Unread):
                    unread += [(item, item.celsius)] if item.celsius.kind != "unsupported" else []
                elif item.limits_unread is not None:
                    unread.append((item, item.limits_unread))
                continue
            looked += 1
            over = limited and isinstance(item.celsius, float) and item.celsius >= (item.critical_celsius or 0)
            if item.alarm or over:
                bad = True
                yield _alarm(chip, item, gpus)
    for item, why in unread:
        yield not_read(Subject("sensor", item.label), why, evidence=(item.path,))
    if sensors.chips_unread is not None:
        yield not_read(BOX, sensors.chips_unread, evidence=("/sys/class/hwmon",))
    elif not looked and not unread:
        yield skipped(BOX, "no sensor here has an alarm or a critical temperature")
    elif not bad and not unread:
        yield passed(
            BOX, f"{counted(looked, 'temperature')} with an alarm or a critical limit, none past it",
            measured=Quantity(0, "alarms"), evidence=("/sys/class/hwmon",))


def _part(chip: Chip, item: Temperature, gpus: Gpus) -> tuple[Subject, str]:
    """The part that a chip measures, and what to call it."""
    gpu = next((gpu for gpu in gpus.gpus if gpu.bdf == chip.bdf), None)
    if gpu is not None:
        return gpu.subject, f"{gpu.subject.name} in slot {gpu.slot}" if gpu.slot else gpu.subject.name
    if chip.name == "nvme" and chip.device:
        return Subject("nvme", chip.device, bdf=chip.bdf), chip.device
    return Subject("sensor", f"{chip.name} {item.label}", bdf=chip.bdf), f"{chip.name} {chip.bdf or chip.device}"


def _alarm(chip: Chip, item: Temperature, gpus: Gpus) -> Finding:
    subject, name = _part(chip, item, gpus)
    now = "not read" if isinstance(item.celsius, Unread) else f"{item.celsius:g} °C"
    critical = "given by the device" if item.critical_celsius is None else f"{item.critical_celsius:g} °C"
    return failed(
        subject, f"{item.label} of {chip.name} {chip.bdf or chip.device}: {now}, critical limit {critical}",
        measured=None if isinstance(item.celsius, Unread) else Quantity(item.celsius, "°C"), evidence=(item.path,),
        cause=_alarm_cause(chip), title=f"{name} is past its critical temperature",
        help=(LOAD_OFF, FANS))


def _alarm_cause(chip: Chip) -> str:
    if chip.name in CPU_CHIPS:
        return "cpu-hot:0"
    return f"gpu-hot:{chip.bdf}" if chip.name in ("amdgpu", "xe", "i915") else f"hot:{chip.bdf or chip.device}"


@check("thermal.nvme", reads=[Nvme, Sensors])
def nvme(nvme: Nvme, sensors: Sensors, want: Profile) -> Iterator[Finding]:
    """An NVMe drive is past the temperature at which it warns or slows down.

    Why it matters: it throttles to a fraction of its speed, and a striped array with it.
    What to do: give it a heat sink or air; drives below a GPU's exhaust are the usual case.
    Not a fault: below the limits that the drive itself gives (WCTEMP, CCTEMP).
    By hand: sensors nvme-*
    """
    drives = [drive for drive in nvme.drives if drive.bdf is not None]
    if nvme.unreadable is not None:
        yield not_read(BOX, nvme.unreadable, evidence=("/sys/class/nvme",))
    hidden = [drive for drive in local(nvme) if drive.bdf is None]
    for drive in hidden:
        none = Unread("which PCI device it is was not read", "not-captured")
        yield not_read(Subject("nvme", drive.name), why_not(drive.transport, none), evidence=("/sys/class/nvme",))
    if nvme.unreadable is None and not drives and not hidden:
        yield skipped(BOX, "there is no NVMe drive")
    for drive in drives:
        yield _nvme_of(drive.name, drive.bdf, sensors)


def _nvme_of(name: str, bdf: Bdf | None, sensors: Sensors) -> Finding:
    subject = Subject("nvme", name, bdf=bdf)
    chip = next((chip for chip in sensors.all() if chip.name == "nvme" and chip.bdf == bdf), None)
    item = chip.temperature("Composite", "temp1") if chip else None
    if item is None:
        missing = Unread("the kernel shows no hwmon of it", "unsupported")
        why = sensors.chips if isinstance(sensors.chips, Unread) else missing
        return not_read(subject, why, evidence=("/sys/class/hwmon",))
    if isinstance(item.celsius, Unread):
        return not_read(subject, item.celsius, evidence=(item.path,))
    options = {"measured": Quantity(item.celsius, "°C"), "evidence": (item.path,)}
    for bound, make, word in ((item.critical_celsius, failed, "critical"), (item.max_celsius, marginal, "warning")):
        if bound is not None and item.celsius >= bound:
            return make(
                subject, f"{item.celsius:g} °C, its {word} temperature is {bound:g} °C", cause=f"hot:{bdf}",
                title=f"{name} is hot", help=(COOL_DRIVE,), **options)
    if item.max_celsius is None and item.limits_unread is not None:
        return not_read(subject, item.limits_unread, **options)
    if item.max_celsius is None and item.critical_celsius is None:
        return skipped(subject, f"{item.celsius:g} °C, and the drive gives no limit", **options)
    bound = item.max_celsius if item.max_celsius is not None else item.critical_celsius
    return passed(subject, f"{item.celsius:g} °C, it warns at {bound:g} °C", **options)


@check("pcie.thermal-link-limit", reads=[Sensors, Links, Gpus], needs=["root"])
def thermal_link_limit(sensors: Sensors, links: Links, gpus: Gpus, want: Profile) -> Iterator[Finding]:
    """The thermal framework holds a PCIe link at a lower speed.

    Why it matters: the link looks broken and is not: something told the port to run slower to stay cool.
    What to do: cool what the named thermal zone measures; look for a daemon (thermald) that writes cur_state.
    Not a fault: of the riser or the card. cur_state above 0 alone: it tells how far the link is below the port's
    fastest, and a card at rest or a slower card shows it too. It counts where a zone is bound to the port and the
    port's target speed was lowered.
    By hand: grep -H . /sys/class/thermal/cooling_device*/{type,cur_state}; ls -l /sys/class/thermal/thermal_zone*/cdev*
    """
    if isinstance(sensors.link_cooling, Unread):
        yield not_read(BOX, sensors.link_cooling, evidence=("/sys/class/thermal",))
        return
    if sensors.link_cooling_unread is not None:
        yield not_read(BOX, sensors.link_cooling_unread, evidence=("/sys/class/thermal",))
    elif not sensors.link_cooling:
        yield skipped(BOX, "this kernel has no cooling device for the speed of links")
        return
    free = 0
    for device in sensors.link_cooling:
        finding = _throttled(device, links, gpus, want)
        if finding is None:
            free += 1
        else:
            yield finding
    if free == len(sensors.link_cooling) and sensors.link_cooling_unread is None:
        yield passed(
            BOX, f"{counted(free, 'port')} with a cooling device, none is slowed down by the thermal framework",
            measured=Quantity(0), evidence=("/sys/class/thermal",))


def _throttled(device: LinkCooling, links: Links, gpus: Gpus, want: Profile) -> Finding | None:
    """None where this port is not slowed down to stay cool."""
    link = links.links.get(device.port)
    gpu = next((gpu for gpu in gpus.gpus if gpu.slot_link == device.port), None)
    port = f"port {short(device.port)}"
    subject = link_subject(link, gpu) if link else Subject("link", port, bdf=device.port)
    if isinstance(device.state, Unread):
        return not_read(subject, device.state, evidence=(device.path,))
    if device.state <= 0:
        return None
    if isinstance(device.zones, Unread):
        return not_read(subject, device.zones, evidence=(device.path,))
    if not device.zones:
        return None
    missing = Unread(f"the link below {short(device.port)}", "not-captured")
    target, top = (link.downstream.target_speed_gts, link.downstream.max_speed_gts) if link else (missing, missing)
    for value in (target, top):
        if isinstance(value, Unread):
            return not_read(subject, value, evidence=(device.path,))
    if not isinstance(target, float) or not isinstance(top, float) or target >= top:
        return None
    zones = listed(device.zones)
    says = f"its target speed is {target:g} of {top:g} GT/s, and thermal zone {zones} may lower it"
    excluded: tuple[str, ...] = ("the riser or the card",)
    if device.hot:
        says = f"slowed down to {target:g} of {top:g} GT/s: thermal zone {zones} is at its trip point"
        excluded = ("a BIOS speed cap (the zone is hot, and lowers the target)", *excluded)
    return marginal(
        subject, says, evidence=(device.path, "/sys/class/thermal"), measured=Quantity(target, "GT/s"),
        cause=f"link-throttled:{device.port}",
        where=where(link, gpu, links, want) if link else None,
        title=f"the platform slows the link of {f'slot {link.slot}' if link and link.slot else port} down to "
        "stay cool",
        help=(f"grep . /sys/class/thermal/thermal_zone*/{{type,temp}} shows how hot {zones} is: give it air",
              f"echo 0 | sudo tee {device.path} lets the link run until the zone is hot again",
              *(() if device.hot else ("still slow: BIOS setup: link speed of the slot to Auto",))),
        not_=excluded)

"""What GPUs show of themselves through hwmon and NVML: where it is, and the judgements on fans and power caps."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.checks.driver import DRIVERS, on_own_driver
from boxcheck.checks.steps import LOAD_OFF
from boxcheck.checks.wording import not_read, why_not
from boxcheck.model import BOX, Finding, Quantity, Unread
from boxcheck.probes.gpus import Gpu, Gpus
from boxcheck.probes.nvml import Nvml, NvmlGpu
from boxcheck.probes.sensors import Chip, Fan, PowerCap, Sensors, Temperature
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, marginal, passed, skipped

HOT_EDGE_CELSIUS = 75.0
HOT_JUNCTION_CELSIUS = 90.0
"""A fan must turn at these. Cards stop their fans at rest and start them at about 50 to 60 degrees of edge."""
NVML_CHIP = "NVML"
"""Name of the chip that stands for what NVML says."""
GPU_IDLE = 0x1
"""nvmlClocksEventReasonGpuIdle (nvml.h): nothing runs, and the clocks are down."""
CAP_ROUNDING_WATTS = 1.0
SINGLE_OUTLET_WATTS = 150.0
"""tinyOS' `power-limit 150`: what its documentation sets for a tinybox on one 120 V outlet."""


def nothing_asks(nvml: Nvml, want: Profile) -> Finding | None:
    """The one finding where NVIDIA's driver is not loaded and need not be."""
    if not isinstance(nvml.gpus, Unread) or nvml.gpus.kind != "absent":
        return None
    if "10de" in want.gpus.vendors and not on_own_driver(want):
        return None
    return skipped(BOX, "NVIDIA's driver is not loaded, and nothing asks for it")


def gpu_readings(
    gpus: Gpus, sensors: Sensors, nvml: Nvml, want: Profile
) -> Iterator[tuple[Gpu, Chip | Finding]]:
    """Each GPU with its chip, or with the finding that says why there is none.

    NVIDIA's driver has no hwmon; what NVML says is put into the same form. Where NVML as a whole gave no answer, one
    finding stands for all its GPUs.
    """
    silent = False
    for gpu in gpus.gpus:
        chip = sensors.of_function(gpu.bdf)
        if chip is not None:
            yield gpu, chip
        elif on_own_driver(want) and gpu.driver not in DRIVERS[gpu.vendor] and not isinstance(gpu.driver, Unread):
            yield gpu, skipped(gpu.subject, f"no driver reads its sensors, as goal {want.goal} wants it")
        elif gpu.vendor == "10de":
            if not isinstance(nvml.gpus, Unread):
                yield gpu, _by_nvml(gpu, nvml, want)
            elif not silent:
                silent = True
                yield gpu, not_read(BOX, nvml.gpus)
        elif isinstance(sensors.chips, Unread):
            yield gpu, not_read(gpu.subject, sensors.chips, evidence=("/sys/class/hwmon",))
        elif gpu.driver is None:
            yield gpu, not_read(gpu.subject, Unread("no driver is bound, so nothing reads its sensors", "unsupported"))
        elif gpu.vendor == "8086":
            yield gpu, skipped(gpu.subject, "its driver shows no hwmon for this GPU")
        else:
            yield gpu, not_read(gpu.subject, Unread("its driver shows no hwmon", "unsupported"))


def nvml_of(gpu: Gpu, nvml: Nvml, want: Profile) -> NvmlGpu | Finding:
    """What NVML says of a GPU, or the finding that says why it says nothing."""
    one = nvml.of(gpu.bdf)
    if one is None and on_own_driver(want) and not isinstance(gpu.driver, Unread) and gpu.driver != "nvidia":
        return skipped(gpu.subject, f"NVIDIA's driver does not have it, as goal {want.goal} wants it")
    if one is None:
        return not_read(gpu.subject, Unread(f"{nvml.by} does not show it", "error"))
    return one if one.error is None else not_read(gpu.subject, Unread(f"{nvml.by}: {one.error}", "error"))


def _by_nvml(gpu: Gpu, nvml: Nvml, want: Profile) -> Chip | Finding:
    one = nvml_of(gpu, nvml, want)
    if isinstance(one, Finding):
        return one
    none = Unread(f"{nvml.by} does not tell it", "unsupported")
    celsius = one.temperature_celsius
    core = Temperature(
        label="core", celsius=why_not(one.missing("temperature_celsius"), none) if celsius is None else celsius,
        max_celsius=None, critical_celsius=None, alarm=None, path="nvidia-smi -q -d TEMPERATURE")
    no_cap, no_default = one.missing("power_limit_watts"), one.missing("power_default_watts")
    cap = PowerCap(
        cap_watts=one.power_limit_watts if no_cap is None else no_cap,
        default_watts=one.power_default_watts if no_default is None else no_default, max_watts=None, drawn_watts=None)
    busy = none if one.event_reasons is None else 0 if one.event_reasons & GPU_IDLE else 100
    return Chip(
        hwmon="", name=NVML_CHIP, bdf=gpu.bdf, device=gpu.bdf, temperatures=(core,), fans=(), power=cap,
        busy_percent=busy)


def no_gpu(gpus: Gpus) -> Finding | None:
    """The one finding where there is no GPU to look at."""
    if gpus.unreadable is not None:
        return not_read(BOX, gpus.unreadable, evidence=("/sys/bus/pci/devices",))
    return None if gpus.gpus else skipped(BOX, "there is no GPU")


@check("fan.gpu", reads=[Gpus, Sensors, Nvml])
def fan(gpus: Gpus, sensors: Sensors, nvml: Nvml, want: Profile) -> Iterator[Finding]:
    """A GPU's fan stands still although the GPU is hot.

    Why it matters: the card protects itself by slowing down, and its memory is the first to go.
    What to do: look for a cable in the fan, then for its plug; set the fan control back to automatic; a dead fan is a
    warranty case.
    Not a fault: 0 rpm at rest. Cards stop their fans below 50 to 60 °C.
    By hand: grep . /sys/class/hwmon/hwmon*/{fan1_input,temp1_input}
    """
    nothing = no_gpu(gpus)
    if nothing is not None:
        yield nothing
        return
    if any(gpu.vendor == "10de" and sensors.of_function(gpu.bdf) is None for gpu in gpus.gpus):
        yield skipped(BOX, "of NVIDIA GPUs, NVML tells the speed that the fan was asked for, not the one it has")
    for gpu, chip in gpu_readings(gpus, sensors, nvml, want):
        if gpu.vendor == "10de" and (isinstance(chip, Finding) or chip.name == NVML_CHIP):
            continue
        if isinstance(chip, Finding):
            yield chip
        elif not chip.fans:
            yield skipped(gpu.subject, "the card has no fan that its driver shows")
        else:
            for item in chip.fans:
                yield _fan(gpu, chip, item)


def _fan(gpu: Gpu, chip: Chip, item: Fan) -> Finding:
    if isinstance(item.rpm, Unread):
        return not_read(gpu.subject, item.rpm, evidence=(item.path,))
    measured = Quantity(item.rpm, "rpm")
    if item.rpm > 0:
        return passed(gpu.subject, f"{item.label} turns at {item.rpm} rpm", measured=measured, evidence=(item.path,))
    known: list[tuple[str, float, float]] = []
    for label, hot in (("edge", HOT_EDGE_CELSIUS), ("junction", HOT_JUNCTION_CELSIUS)):
        reading = chip.temperature(label)
        if reading is not None and isinstance(reading.celsius, float):
            known.append((label, reading.celsius, hot))
    if not known:
        why = Unread("the fan stands still and no temperature tells whether it may", "unsupported")
        return not_read(gpu.subject, why, evidence=(item.path,))
    label, celsius, hot = max(known, key=lambda entry: entry[1] - entry[2])
    if celsius >= hot:
        return failed(
            gpu.subject, f"{item.label} stands still at {label} {celsius:g} °C, it must turn from {hot:g} °C",
            measured=measured, evidence=(item.path,), cause=f"gpu-hot:{gpu.bdf}",
            title=f"the fan of GPU {gpu.index} stands still",
            help=(LOAD_OFF, "look for a cable in the fan, then for its plug; pwm1_enable must be 2"))
    return passed(
        gpu.subject, f"{item.label} at rest at {label} {celsius:g} °C", measured=measured, evidence=(item.path,),
        notes=("a fan at rest says nothing about what it does under load",))


@check("power.gpu-cap", reads=[Gpus, Sensors, Nvml], needs=["NVML for NVIDIA cards"])
def gpu_cap(gpus: Gpus, sensors: Sensors, nvml: Nvml, want: Profile) -> Iterator[Finding]:
    """A GPU's power cap is not the one it comes with.

    Why it matters: a cap that somebody left behind makes one card slower than the others, or all of them slower than
    their figures; one above the default can overload supply and cables.
    What to do: where nobody wants it, write the default back to power1_cap.
    Not a fault: a cap that is meant: 150 W is tinyOS' setting for a tinybox on one 120 V outlet.
    By hand: grep . /sys/class/drm/card*/device/hwmon/hwmon*/power1_cap{,_default}; nvidia-smi -q -d POWER
    """
    nothing = no_gpu(gpus)
    if nothing is not None:
        yield nothing
        return
    for gpu, chip in gpu_readings(gpus, sensors, nvml, want):
        if isinstance(chip, Finding):
            yield (nothing_asks(nvml, want) if gpu.vendor == "10de" else None) or chip
        elif chip.power is None or (chip.power.cap_watts is None and chip.power.default_watts is None):
            yield skipped(gpu.subject, "its driver offers no power cap")
        else:
            path = f"/sys/class/hwmon/{chip.hwmon}/power1_cap"
            if chip.name == NVML_CHIP:
                yield _cap(gpu, chip.power, ("nvidia-smi -q -d POWER",), "sudo nvidia-smi -i {bdf} -pl {watts:g}")
            else:
                yield _cap(gpu, chip.power, (path, f"{path}_default"), f"echo {{micro}} | sudo tee {path}")


def _cap(gpu: Gpu, power: PowerCap, evidence: tuple[str, ...], remedy: str) -> Finding:
    cap, default = power.cap_watts, power.default_watts
    for value, name in ((cap, "power cap"), (default, "default of its power cap")):
        if isinstance(value, Unread):
            return not_read(gpu.subject, value, evidence=evidence)
        if value is None:
            why = Unread(f"the driver gives no {name}", "unsupported")
            return not_read(gpu.subject, why, evidence=evidence)
    assert isinstance(cap, float)
    assert isinstance(default, float)
    measured = Quantity(cap, "W")
    if abs(cap - default) <= CAP_ROUNDING_WATTS:
        return passed(gpu.subject, f"capped at {cap:g} W, its default", measured=measured, evidence=evidence)
    known = cap == SINGLE_OUTLET_WATTS
    return marginal(
        gpu.subject, f"capped at {cap:g} W, its default is {default:g} W", measured=measured, evidence=evidence,
        cause="gpu-power-cap:", title=f"GPUs are capped at other than their default ({cap:g} W, not {default:g} W)",
        notes=("150 W is tinyOS' setting for a box on one 120 V outlet",) if known else (),
        help=("where it is not meant: " + remedy.format(bdf=gpu.bdf, watts=default, micro=round(default * 1e6)),))

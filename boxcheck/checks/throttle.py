"""Judgement on what holds the clocks of NVIDIA GPUs down right now."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.checks.gpu_sensors import nothing_asks, nvml_of
from boxcheck.checks.steps import FANS
from boxcheck.checks.wording import counted, listed, not_read
from boxcheck.model import BOX, Finding, Quantity, Unread
from boxcheck.probes.gpus import Gpu, Gpus
from boxcheck.probes.nvml import Nvml
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, marginal, passed, skipped
from boxcheck.telemetry.throttle import NVML

HW_SLOWDOWN, SW_THERMAL, HW_THERMAL, POWER_BRAKE = 0x08, 0x20, 0x40, 0x80
BAD = HW_SLOWDOWN | SW_THERMAL | HW_THERMAL | POWER_BRAKE
"""Several bits are set at once, a hardware slowdown with its reason; so they are masked, never compared as a whole."""
REASONS = tuple((1 << bit, reason.says) for bit, reason in enumerate(NVML))


@check("power.throttle", reads=[Gpus, Nvml], needs=["NVML"])
def throttle(gpus: Gpus, nvml: Nvml, want: Profile) -> Iterator[Finding]:
    """A GPU is held down by its hardware: too hot, or the power brake is pulled.

    Why it matters: a slowdown by hardware halves the clock or worse. The power brake is a signal of the supply or the
    board: mains, a cable or a connector, not the card's own doing.
    What to do: for heat, see thermal.gpu-idle. For the brake, reseat the card's power connector at both ends and look
    at the supply; swap the cable with a neighbour's.
    Not a fault: `idle`, a power cap under load, clocks that an application set.
    By hand: nvidia-smi -q -d PERFORMANCE
    """
    cards = gpus.of_vendor("10de")
    if gpus.unreadable is not None:
        yield not_read(BOX, gpus.unreadable)
        return
    if not cards:
        yield skipped(BOX, "there is no NVIDIA GPU; AMD's throttle flags matter under load and are read there")
        return
    if isinstance(nvml.gpus, Unread):
        yield nothing_asks(nvml, want) or not_read(BOX, nvml.gpus)
        return
    fine: list[str] = []
    silent: list[str] = []
    for gpu in cards:
        one = nvml_of(gpu, nvml, want)
        if isinstance(one, Finding):
            yield one
        elif (unread := one.missing("event_reasons")) is not None:
            yield not_read(gpu.subject, unread)
        elif one.event_reasons is None:
            silent.append(gpu.subject.name)
        elif one.event_reasons & BAD:
            yield _held(gpu, one.event_reasons)
        else:
            fine.append(gpu.subject.name)
    if silent:
        yield not_read(BOX, Unread(f"{nvml.by} does not tell what holds {listed(silent, most=8)} down", "unsupported"))
    if fine:
        yield passed(BOX, f"nothing holds {counted(len(fine), 'GPU')} down but idling, settings or a power cap")


def _held(gpu: Gpu, reasons: int) -> Finding:
    named = [word for bit, word in REASONS if reasons & bit and bit != 0x01]
    brake = bool(reasons & POWER_BRAKE) or not reasons & (SW_THERMAL | HW_THERMAL)
    make = marginal if reasons & BAD == SW_THERMAL else failed
    gravest = next(bit for bit in (POWER_BRAKE, HW_THERMAL, SW_THERMAL, HW_SLOWDOWN) if reasons & bit)
    return make(
        gpu.subject, f"held down by {listed(named)} (0x{reasons:x}), must be none",
        measured=Quantity(reasons), evidence=("nvidia-smi -q -d PERFORMANCE",),
        cause=f"{'gpu-power' if brake else 'gpu-hot'}:{gpu.bdf}",
        title=f"GPU {gpu.index} is held down by {dict(REASONS)[gravest]}",
        help=("reseat the card's power connector at both ends; swap the cable with a neighbour's",
              "not cured: look at the supply") if brake else (FANS,))

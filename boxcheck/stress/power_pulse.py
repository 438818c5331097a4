"""All GPUs start and stop together: the load step that trips a marginal power supply.

Every worker follows one clock (CLOCK_MONOTONIC, one for the whole machine): at 2 Hz and a duty of 0.5 each multiplies
for 250 ms from every full half second on, then rests as long. Products are of full-range data and verified by digest
in each rest. The clocks and limits of the GPUs are left alone.

By hand  boxcheck stress run power-pulse --seconds 60 --option hertz=0.5,1,2,5,10
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from boxcheck.gpu import GpuError
from boxcheck.registry import stress
from boxcheck.stress import Rig, Sample

if TYPE_CHECKING:
    from boxcheck.stress.products import Random

FREQUENCIES = (0.5, 1.0, 2.0, 5.0, 10.0)
LOWEST_HERTZ, HIGHEST_HERTZ = 0.05, 50.0
SHAPE = (4096, 4096, 4096)
"""Small enough that a product ends within a millisecond or two of an edge."""


@stress("power-pulse", faults=("flip-input", "flip-output", "drop-write", "hang"))
def power_pulse(rig: Rig) -> Iterator[Sample]:
    """Full power on all GPUs at once, then rest, 0.5 to 10 times a second.

    Options: `hertz` (a list, 0.05 to 50), `duty` (0.05 to 0.95, of full power), `size=test`.
    """
    from boxcheck.stress.kernel_choice import choose
    from boxcheck.stress.products import Random

    hertz, duty = frequencies(rig), _number(rig, "duty", 0.5, 0.05, 0.95)
    kernel, proofs = choose(getattr(rig.gpu, "real", rig.gpu), "bf16")
    yield from proofs
    if kernel is None:
        raise GpuError("unsupported", "no matrix kernel runs on this device")
    shape = SHAPE if rig.full_size else (256, 256, 256)
    epoch = rig.start_at if rig.start_at is not None else time.monotonic()
    with Random(rig.gpu, kernel, shape, rig.seed) as product:
        product.poison()
        product.multiply()
        first = product.digest()
        rig.wait_for_start()
        part = rig.seconds / len(hertz)
        for number, rate in enumerate(hertz):
            if not rig.stopping():
                yield _pulses(rig, product, rate, duty, epoch + (number + 1) * part, first, (number, len(hertz)))


def frequencies(rig: Rig) -> tuple[float, ...]:
    """What was asked for. GpuError for what is no frequency, or out of range."""
    words = rig.options.get("hertz")
    if not words:
        return FREQUENCIES
    try:
        found = tuple(float(word) for word in words.split(","))
    except ValueError:
        raise GpuError("unsupported", f"hertz={words} is no list of numbers") from None
    if not all(LOWEST_HERTZ <= one <= HIGHEST_HERTZ for one in found):
        raise GpuError("unsupported", f"hertz must lie from {LOWEST_HERTZ} to {HIGHEST_HERTZ:g}")
    return found


def _number(rig: Rig, name: str, default: float, low: float, high: float) -> float:
    try:
        value = float(rig.options.get(name, default))
    except ValueError:
        value = low - 1
    if not low <= value <= high:
        raise GpuError("unsupported", f"{name} must be a number from {low:g} to {high:g}")
    return value


def _pulses(
    rig: Rig, product: Random, hertz: float, duty: float, until: float, first: int, place: tuple[int, int]
) -> Sample:
    """One frequency, until its time is over; at least one pulse."""
    gpu, period = rig.gpu, 1.0 / hertz
    pulses = products = wrong = 0
    busy = latest = 0.0
    bad = ""
    while (time.monotonic() < until or not pulses) and not rig.stopping():
        now = time.monotonic()
        edge = (now // period + 1) * period if now % period > period / 50 else now - now % period
        time.sleep(max(0.0, edge - time.monotonic()))
        began = time.monotonic()
        latest = max(latest, began - edge)
        while time.monotonic() < edge + duty * period:
            product.multiply()
            gpu.finish(0)
            products += 1
        busy += time.monotonic() - began
        pulses += 1
        found = product.digest()
        if found != first:
            wrong, bad = wrong + 1, f"{found:016x}"
        product.poison()
        part = min(1.0, pulses * period / max(period, rig.seconds / place[1]))
        rig.beat(f"{hertz:g} Hz: {pulses} pulses", (place[0] + part) / place[1])
    m, n, k = product.shape
    notes: dict[str, str | int | float] = {
        "kernel": product.kernel.name, "shape": f"{m}x{n}x{k}", "hertz": hertz, "duty": duty, "pulses": pulses,
        "late_percent": round(100 * latest / (duty * period), 2), "digest": f"{first:016x}"}
    return Sample(
        what="power-pulse.bf16", gpu=gpu.info.key, seconds=busy, unit="TFLOPS", checked=pulses, of="digests",
        value=products * product.operations / max(busy, 1e-9) / 1e12, wrong=wrong,
        notes={**notes, "found": bad} if bad else notes)

"""All GPUs start and stop together: the load step that trips a marginal power supply.

Every worker follows one clock (CLOCK_MONOTONIC, one for the whole machine): at 2 Hz and a duty of 0.5 each multiplies
for 250 ms from every full half second on, then rests as long. The first pulse comes when all are ready
(`engine.start`). Products are of full-range data, two by turns. The last of each pulse is digested, and of those before
it as many as 3 % of the time allows: samples say how many. A pulse whose time was over before a product could be
started is missed, and counted so. The clocks and limits of the GPUs are left alone.

By hand  boxcheck stress run power-pulse --seconds 60 --option hertz=0.5,1,2,5,10
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from math import floor
from typing import TYPE_CHECKING

from boxcheck.gpu import GpuError
from boxcheck.registry import stress
from boxcheck.stress import Rig, Sample
from boxcheck.stress.options import number_of
from boxcheck.stress.pulse_lateness import lateness

if TYPE_CHECKING:
    from boxcheck.stress.products import Random
    from boxcheck.stress.random_proof import Reference

FREQUENCIES = (0.5, 1.0, 2.0, 5.0, 10.0)
DUTY = 0.5
LOWEST_HERTZ, HIGHEST_HERTZ = 0.05, 50.0
SHAPE = (4096, 4096, 4096)
"""Small enough that a product ends within a millisecond or two of an edge."""


@stress("power-pulse", faults=("flip-input", "flip-output", "drop-write", "hang"))
def power_pulse(rig: Rig) -> Iterator[Sample]:
    """Full power on all GPUs at once, then rest, 0.5 to 10 times a second.

    Options: `hertz` (a list, 0.05 to 50), `duty` (0.05 to 0.95, of full power), `size=test`.
    """
    from boxcheck.stress.kernel_choice import choose
    from boxcheck.stress.matmul_exact import exact_phase
    from boxcheck.stress.matmul_power import costs, spacing
    from boxcheck.stress.products import Random
    from boxcheck.stress.random_proof import learn

    asked = number_of(rig.options, "duty", 0.05, 0.95)
    hertz, duty = frequencies(rig), DUTY if asked is None else asked
    kernel, proofs = choose(getattr(rig.gpu, "real", rig.gpu), "bf16")
    yield from proofs
    if kernel is None:
        raise GpuError("unsupported", "no matrix kernel runs on this device")
    shape = SHAPE if rig.full_size else (256, 256, 256)
    yield from exact_phase(rig, kernel, shape, 0.0)
    with Random(rig.gpu, kernel, shape, rig.seed) as product:
        reference = learn(product, rig.beat)
        if reference.wrong:
            yield Sample(
                what="power-pulse.bf16", gpu=rig.gpu.info.key, seconds=0.0, checked=reference.checked, of="digests",
                wrong=reference.wrong, words=reference.words, notes={
                    **_which(product), "digest": reference.text, "products": reference.checked,
                    "doing": "the first products"})
        if not reference.usable:
            return
        every = spacing(*costs(product))
        epoch = rig.wait_for_start()
        part = rig.seconds / len(hertz)
        for number, rate in enumerate(hertz):
            if not rig.stopping():
                since = epoch if number == 0 else time.monotonic()
                until = epoch + (number + 1) * part
                yield _pulses(rig, product, reference, every, rate, duty, (since, until), (number, len(hertz)))


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


def _which(product: Random) -> dict[str, str | int | float]:
    return {"kernel": product.kernel.name, "shape": "x".join(map(str, product.shape))}


def _pulses(
    rig: Rig, product: Random, reference: Reference, every: int, hertz: float, duty: float, span: tuple[float, float],
    place: tuple[int, int],
) -> Sample:
    """One frequency, until its time is over; at least one pulse, made or missed."""
    from boxcheck.stress.digests import SLOTS

    gpu, period = rig.gpu, 1.0 / hertz
    edges: list[float] = []
    wrong: list[int] = []
    products = missed = checked = 0
    busy = 0.0
    late: list[float] = []
    while ((not edges and not missed) or time.monotonic() < span[1]) and not rig.stopping():
        now = time.monotonic()
        edge = (now // period + 1) * period if now % period > period / 50 else now - now % period
        if edge >= span[1] and (edges or missed):
            break
        time.sleep(max(0.0, edge - time.monotonic()))
        began = time.monotonic()
        numbers: list[int] = []
        first = products
        while time.monotonic() < edge + duty * period:
            product.multiply(products)
            products += 1
            if (products - first) % every == 0 and len(numbers) < SLOTS - 1:
                product.take(len(numbers))
                numbers.append(products - 1)
            gpu.finish(0)
        if products == first:  # woken when the pulse should have been over: nothing was multiplied
            missed += 1
            rig.beat(f"{hertz:g} Hz: a pulse was missed", (place[0] + min(1.0, len(edges) / max(1, hertz))) / place[1])
            continue
        busy += time.monotonic() - began
        late.append(100 * (began - edge) / (duty * period))
        edges.append(edge)
        if not numbers or numbers[-1] != products - 1:
            product.take(len(numbers))
            numbers.append(products - 1)
        checked += len(numbers)
        wrong += reference.wrong_of(numbers, product.taken(len(numbers)))
        part = min(1.0, len(edges) * period / max(period, rig.seconds / place[1]))
        rig.beat(f"{hertz:g} Hz: {len(edges)} pulses", (place[0] + part) / place[1])
    notes: dict[str, str | int | float] = {
        **_which(product), "digest": reference.text, "hertz": hertz, "duty": duty, "pulses": len(edges),
        "missed": missed, "planned": max(1, floor((span[1] - span[0]) / period)), "products": products,
        "verified_percent": round(100 * checked / max(1, products), 1), "rate_of": "products with verification"}
    if edges:
        notes |= {"first_pulse": edges[0], "last_pulse": edges[-1], **lateness(late)}
    return Sample(
        what="power-pulse.bf16", gpu=gpu.info.key, seconds=busy, unit="TFLOPS", checked=checked, of="digests",
        value=products * product.operations / busy / 1e12 if edges else None, wrong=len(wrong),
        notes={**notes, "found": f"{wrong[0]:016x}"} if wrong else notes)

"""Judgements on the temperatures of GPUs: AMD's edge, junction and memory through hwmon, NVIDIA's core through NVML."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from boxcheck.checks.gpu_sensors import NVML_CHIP, gpu_readings, no_gpu
from boxcheck.checks.steps import FANS
from boxcheck.checks.wording import broken_bound, decided, judged, listed, median, not_read, why_not, wish_of
from boxcheck.model import BOX, Finding, Limit, Outcome, Quantity, Unread
from boxcheck.probes.gpus import Gpu, Gpus
from boxcheck.probes.nvml import Nvml
from boxcheck.probes.sensors import Chip, Sensors, Temperature
from boxcheck.profile import Profile
from boxcheck.registry import check, limit, outcome_of, passed, skipped

EDGE = limit(
    "thermal.gpu_idle_celsius", float, "le", "°C", "Edge (AMD) or core (NVIDIA) temperature of a GPU at rest.",
    low=20, high=120,
)
ANY_TIME = limit(
    "thermal.gpu_celsius", float, "le", "°C", "Edge (AMD) or core (NVIDIA) temperature of a GPU, whatever it does.",
    low=20, high=120,
)
JUNCTION = limit(
    "thermal.gpu_junction_idle_celsius", float, "le", "°C", "Hottest spot of a GPU at rest.", low=20, high=120,
)
MEMORY = limit("thermal.gpu_memory_idle_celsius", float, "le", "°C", "Memory of a GPU at rest.", low=20, high=120)
SPREAD = limit(
    "thermal.gpu_spread_celsius", float, "le", "°C", "How much a GPU may be hotter than the median of its like.",
    low=1, high=60,
)
GPU_LABELS = (("edge", EDGE), ("core", EDGE), ("junction", JUNCTION), ("mem", MEMORY))
AT_REST_PERCENT = 10
"""A GPU that is busier than this is not at rest."""


def _busy(chip: Chip) -> str | None:
    """Why this is no reading at rest; None where it is one, or where the driver has no such file."""
    if isinstance(chip.busy_percent, Unread):
        return "whether the GPU is at rest was not read"
    if chip.busy_percent is not None and chip.busy_percent > AT_REST_PERCENT:
        return "NVML does not call the GPU idle" if chip.name == NVML_CHIP else f"the GPU is {chip.busy_percent} % busy"
    return None


@check("thermal.gpu-idle", reads=[Gpus, Sensors, Nvml], limits=[EDGE, ANY_TIME, JUNCTION, MEMORY],
       needs=["NVML for NVIDIA cards"])
def gpu_idle(gpus: Gpus, sensors: Sensors, nvml: Nvml, want: Profile) -> Iterator[Finding]:
    """A GPU is hot although it has nothing to do.

    Why it matters: a card that is warm at rest has no headroom under load: a stopped fan, dried paste, or the exhaust
    of its neighbour. It will throttle, and its memory wears.
    What to do: look whether its fans turn, whether air reaches it, and whether a process keeps it at high clocks.
    Not a fault: a few degrees more than the others, which thermal.gpu-spread judges; a card that is at work.
    By hand: sensors amdgpu-*; cat /sys/class/drm/card*/device/gpu_busy_percent; nvidia-smi -q -d TEMPERATURE
    """
    nothing = no_gpu(gpus)
    if nothing is not None:
        yield nothing
        return
    bounds = {label: bound for label, name in GPU_LABELS if (bound := want.limit(name)) is not None}
    if not bounds:
        yield skipped(BOX, f"the profile sets no {EDGE}")
        return
    readings = list(gpu_readings(gpus, sensors, nvml, want))
    models: dict[str, list[tuple[Gpu, Chip]]] = {}
    for gpu, chip in readings:
        if isinstance(chip, Chip):
            models.setdefault(f"{gpu.pci_id} {gpu.revision}", []).append((gpu, chip))
    shown = {model: _shown(chip for _, chip in alike) for model, alike in models.items()}
    for gpu, chip in readings:
        if isinstance(chip, Finding):
            yield chip
        else:
            here = _while_busy(bounds, want.limit(ANY_TIME)) if _busy(chip) else bounds
            yield from _gpu_idle(gpu, chip, here, shown[f"{gpu.pci_id} {gpu.revision}"])
    for model, alike in models.items():
        never = [label for label in bounds if label in ("junction", "mem") and label not in shown[model]]
        # NVML has the core of every card and nothing else, so there the question does not arise.
        if never and shown[model] and alike[0][1].name != NVML_CHIP:
            yield skipped(BOX, f"no {alike[0][0].name} here shows a {listed(never)} temperature")


def _while_busy(bounds: dict[str, Limit], any_time: Limit | None) -> dict[str, Limit]:
    """The bounds of a GPU that is at work: what must hold at rest does not, what must hold always does."""
    must = None if any_time is None else any_time.must
    return {label: msgspec.structs.replace(bound, must=must) if label in ("edge", "core") else bound
            for label, bound in bounds.items()}


def _shown(chips: Iterable[Chip]) -> frozenset[str]:
    """The temperatures that at least one of these cards shows."""
    return frozenset(item.label for chip in chips for item in chip.temperatures)


def _gpu_idle(gpu: Gpu, chip: Chip, bounds: dict[str, Limit], shown_alike: frozenset[str]) -> Iterator[Finding]:
    """`shown_alike`: what cards of this model show; one that lacks some of it was not looked at in full."""
    read = [item for label in bounds if (item := chip.temperature(label)) is not None]
    if not read:
        yield not_read(gpu.subject, Unread(f"its driver shows no {listed(bounds)} temperature", "unsupported"))
        return
    shown = []
    busy = _busy(chip)
    missing = [label for label in bounds if label in shown_alike and chip.temperature(label) is None]
    fine = not missing
    if missing:
        yield not_read(gpu.subject, Unread(
            f"it shows no {listed(missing)} temperature, and other cards of its kind do", "unsupported"))
    for item in read:
        bound = bounds[item.label]
        if isinstance(item.celsius, Unread):
            fine = False
            yield not_read(gpu.subject, Unread(f"{item.label} temperature: {item.celsius.why}", item.celsius.kind),
                           evidence=(item.path,))
            continue
        shown.append(f"{item.label} {item.celsius:g} °C")
        outcome = outcome_of(item.celsius, bound)
        if outcome is Outcome.PASS:
            continue
        fine = False
        if busy and outcome is Outcome.MARGINAL:
            why = Unread(f"{item.label} {item.celsius:g} °C, but {busy}", "one-reading")
            yield not_read(gpu.subject, why, evidence=(item.path,))
            continue
        rest = "" if busy else " at rest"
        says = f"{item.label} {item.celsius:g} °C{rest}, {broken_bound(item.celsius, bound)} °C or less"
        yield decided(
            outcome, gpu.subject, says, measured=Quantity(item.celsius, "°C"), limit=bound, evidence=(item.path,),
            cause=f"gpu-hot:{gpu.bdf}", title=f"GPU {gpu.index} is hot{rest}",
            help=(FANS, "look for a process that keeps its clocks high"))
    if fine:
        first = read[0]
        yield passed(
            gpu.subject, f"{listed(shown)}{f', {busy}' if busy else ''}, limit {wish_of(bounds[first.label]):g} °C",
            measured=Quantity(first.celsius if isinstance(first.celsius, float) else 0.0, "°C"),
            limit=bounds[first.label], evidence=tuple(item.path for item in read))


@check("thermal.gpu-spread", reads=[Gpus, Sensors, Nvml], limits=[SPREAD], needs=["NVML for NVIDIA cards"])
def gpu_spread(gpus: Gpus, sensors: Sensors, nvml: Nvml, want: Profile) -> Iterator[Finding]:
    """One GPU is hotter than the others of its kind.

    Why it matters: cards side by side see the same air; one that stands out has a fan, paste or airflow of its own
    trouble, long before it reaches a limit.
    What to do: swap it with a cooler one; where the heat follows the card, clean or repaste it; where it stays, mend
    the airflow of that slot.
    Not a fault: the middle cards of a tight row run warmer by some degrees.
    By hand: sensors | grep -A2 amdgpu
    """
    bound = want.limit(SPREAD)
    nothing = no_gpu(gpus)
    if nothing is not None or bound is None:
        yield nothing or skipped(BOX, f"the profile sets no {SPREAD}")
        return
    alike: dict[str, list[tuple[Gpu, Temperature, Chip]]] = {}
    for gpu, chip in gpu_readings(gpus, sensors, nvml, want):
        if isinstance(chip, Finding):
            yield chip
            continue
        edge = chip.temperature("edge", "core")
        if edge is None or isinstance(edge.celsius, Unread):
            none = Unread("its driver shows no edge or core temperature", "unsupported")
            yield not_read(gpu.subject, why_not(edge.celsius if edge else None, none))
        else:
            alike.setdefault(f"{gpu.pci_id} {gpu.revision}", []).append((gpu, edge, chip))
    for group in alike.values():
        yield from _spread_of(group, bound)


def _spread_of(group: Sequence[tuple[Gpu, Temperature, Chip]], bound: Limit) -> Iterator[Finding]:
    if len(group) < 2:
        yield skipped(group[0][0].subject, "there is no second GPU of its kind to compare it with")
        return
    worst = 0.0
    hot = []
    for gpu, edge, chip in group:
        others = median(
            item.celsius for other, item, _ in group if other is not gpu and isinstance(item.celsius, float))
        above = round(edge.celsius - others, 1) if isinstance(edge.celsius, float) else 0.0
        worst = max(worst, above)
        if outcome_of(above, bound) is not Outcome.PASS:
            hot.append((gpu, edge, chip, above, others))
    for gpu, edge, chip, above, others in hot:
        busy = _busy(chip)
        if busy is not None:
            why = Unread(f"{above:g} °C above the others, but {busy}", "one-reading")
            yield not_read(gpu.subject, why, evidence=(edge.path,))
            continue
        yield judged(
            gpu.subject, above, bound,
            f"{edge.celsius:g} °C, {above:g} °C above the median of the others ({others:g} °C), "
            f"{broken_bound(above, bound)} °C or less", evidence=(edge.path,), cause=f"gpu-hot:{gpu.bdf}",
            title=f"GPU {gpu.index} is hotter than the others",
            help=("swap it with a cooler card: heat that follows the card is its cooler, else it is the airflow",))
    if not hot:
        name = group[0][0].name
        yield passed(
            BOX,
            f"{len(group)} x {name}: at most {worst:g} °C above the median of the others, limit {wish_of(bound):g} °C",
            measured=Quantity(worst, "°C"), limit=bound, evidence=tuple(edge.path for _, edge, _ in group))



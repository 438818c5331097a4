"""Judgements on power: the supplies, and whether they suffice for what the parts may draw."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.checks.bmc import driver_help, no_driver
from boxcheck.checks.gpu_sensors import no_gpu
from boxcheck.checks.steps import SUPPLY
from boxcheck.checks.wording import broken_bound, counted, decided, judged, listed, not_read, why_not, wish_of
from boxcheck.model import BOX, Finding, Limit, Outcome, Quantity, Subject, Unread
from boxcheck.probes.bmc import SUPPLIES, Bmc, BmcSensor
from boxcheck.probes.dmi import Dmi
from boxcheck.probes.gpus import Gpu, Gpus
from boxcheck.probes.nvml import Nvml
from boxcheck.probes.sensors import Sensors
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, limit, outcome_of, skipped

SUPPLIES_WANTED = limit(
    "power.supplies", int, "ge", "supplies", "Power supplies that the board sees and that have mains.", low=1, high=16,
)
SUPPLY_WATTS = limit(
    "power.supply_watts", float, "info", "W", "What all power supplies can give together.", low=100, high=50000,
)
MAINS_WATTS = limit(
    "power.mains_watts", float, "info", "W",
    "What the mains outlets can give, where that is less than the supplies (two 15 A outlets at 120 V: 2880 W).",
    low=100, high=50000,
)
CPU_WATTS = limit(
    "power.cpu_watts", float, "info", "W", "Allowance for processors, memory, drives and fans.", low=0, high=5000,
)
BUDGET = limit(
    "power.budget_percent", float, "le", "%", "Share of the supplies that GPUs at their caps and the rest may take.",
    low=10, high=200,
)

BROKEN_SUPPLY = ("failure", "lost", "out-of-range", "config error", "error")
"""Parts of a supply's states that mean it gives no power (IPMI 2.0, table 42-3, sensor type 08h)."""


def _powered(supply: BmcSensor) -> bool:
    text = supply.reading.lower()
    return "presence detected" in text and not any(part in text for part in BROKEN_SUPPLY)


@check("power.psu-missing", reads=[Bmc, Dmi], limits=[SUPPLIES_WANTED], needs=["root", "ipmitool"])
def psu_missing(bmc: Bmc, dmi: Dmi, want: Profile) -> Iterator[Finding]:
    """A power supply is missing, has no mains, or reports a failure.

    Why it matters: the others carry its share; under full load they switch off, and all GPUs fall off the bus at once.
    What to do: check the mains lead and the circuit breaker of that supply, then the supply.
    Not a fault: supplies that the board cannot see (ATX); their profile asks for none.
    By hand: sudo ipmitool sdr type 'Power Supply'
    """
    bound = want.limit(SUPPLIES_WANTED)
    evidence = (" ".join(SUPPLIES),)
    states = () if isinstance(bmc.supplies, Unread) else tuple(
        row for row in bmc.supplies if "presence" in row.reading.lower() or _broken(row))
    broken = [row for row in states if _broken(row)]
    for row in broken:
        yield failed(
            Subject("sensor", row.name), row.reading.lower(), measured=Quantity(row.reading), evidence=evidence,
            cause=f"power-supply:{row.name}", title=f"power supply {row.name}: {row.reading.lower()}",
            help=(SUPPLY,))
    if bound is None:
        if not broken:
            yield skipped(BOX, f"the profile sets no {SUPPLIES_WANTED}")
        return
    if states:
        working = sum(_powered(row) for row in states)
        yield judged(
            BOX, working, bound, f"{counted(working, 'supply', 'supplies')} with mains, {broken_bound(working, bound)}",
            evidence=evidence, title="a power supply is missing or has no mains",
            cause=f"power-supply:{broken[0].name}" if len(broken) == 1 else "power-supply:",
            help=(SUPPLY,))
        return
    yield _by_firmware(bmc, dmi, bound)


def _broken(row: BmcSensor) -> bool:
    text = row.reading.lower()
    return row.status in ("cr", "nr") or any(part in text for part in BROKEN_SUPPLY)


def _by_firmware(bmc: Bmc, dmi: Dmi, bound: Limit) -> Finding:
    """What the firmware's table says of supplies. It is fixed text on many boards: it can accuse, and acquit nobody."""
    no_sensor = Unread("the BMC has no sensor of a supply", "unsupported")
    why = why_not(no_driver(bmc), why_not(bmc.supplies, no_sensor))
    supplies = dmi.power_supplies
    if isinstance(supplies, Unread) or not supplies:
        return not_read(BOX, why, help=driver_help(bmc))
    good = [item for item in supplies if item.present is not False and item.plugged is not False
            and item.state not in ("Critical", "Non-critical")]
    if outcome_of(len(good), bound) is not Outcome.PASS:
        bad = [item.location or item.name or "a supply" for item in supplies if item not in good]
        return judged(
            BOX, len(good), bound,
            f"the firmware lists {counted(len(good), 'working supply', 'working supplies')}, "
            f"{broken_bound(len(good), bound)}" + (f"; not well: {listed(bad)}" if bad else ""),
            evidence=("/sys/firmware/dmi/tables/DMI",), cause="power-supply:",
            title="a power supply is missing or has no mains",
            help=(SUPPLY,))
    said = f"the firmware lists {len(good)} supplies, but its text may be from boot"
    return not_read(BOX, Unread(f"{said}; {why.why}", why.kind), help=driver_help(bmc))


def gpu_cap_watts(gpu: Gpu, sensors: Sensors, nvml: Nvml) -> float | Unread:
    """The power cap of a GPU, as its driver tells."""
    chip, one = sensors.of_function(gpu.bdf), nvml.of(gpu.bdf)
    cap = chip.power.cap_watts if chip is not None and chip.power is not None else None
    if cap is None and one is not None:
        cap = one.power_limit_watts
    if cap is None:
        return Unread(f"the power cap of GPU {gpu.index} was not read", "unsupported")
    return cap


def _rating(want: Profile, dmi: Dmi) -> tuple[float, str] | None:
    """Watts that may be drawn, and where the figure comes from; None when nobody says."""
    supply, mains = want.limit(SUPPLY_WATTS), want.limit(MAINS_WATTS)
    watts = float(wish_of(supply)) if supply is not None else None
    source = "of the profile's supplies"
    if watts is None and isinstance(dmi.power_supplies, tuple) and dmi.power_supplies:
        ratings = [item.max_power_watts for item in dmi.power_supplies if item.present is not False]
        known = [rating for rating in ratings if isinstance(rating, int) and rating > 0]
        if known and len(known) == len(ratings):
            watts, source = float(sum(known)), f"of {counted(len(known), 'supply', 'supplies')} by the firmware's table"
    if mains is not None and (watts is None or wish_of(mains) < watts):
        watts, source = float(wish_of(mains)), "from the mains outlets"
    return None if watts is None else (watts, source)


@check("power.budget", reads=[Gpus, Sensors, Nvml, Dmi],
       limits=[BUDGET, SUPPLY_WATTS, MAINS_WATTS, CPU_WATTS], needs=["NVML for NVIDIA cards"])
def budget(gpus: Gpus, sensors: Sensors, nvml: Nvml, dmi: Dmi, want: Profile) -> Iterator[Finding]:
    """The parts may draw more than the power supplies or the mains outlets can give.

    Why it matters: caps are averages; the peaks of GPUs that start together go well above. A supply that protects
    itself takes all its GPUs off the bus at once, which looks like a broken riser.
    What to do: lower the GPUs' caps, or add a supply or an outlet on another circuit.
    Not a fault: a share near the limit that the box ships with; tinybox green's is 91 %.
    By hand: power1_cap (AMD) or nvidia-smi --query-gpu=power.limit (NVIDIA), summed, plus the processor
    """
    nothing = no_gpu(gpus)
    bound = want.limit(BUDGET)
    if nothing is not None or bound is None:
        yield nothing or skipped(BOX, f"the profile sets no {BUDGET}")
        return
    rating = _rating(want, dmi)
    if rating is None:
        yield skipped(BOX, f"neither profile ({SUPPLY_WATTS}) nor firmware says what the supplies can give")
        return
    allowance = want.limit(CPU_WATTS)
    rest = float(wish_of(allowance)) if allowance is not None else 0.0
    caps, assumed, unknown_gpus = 0.0, [], []
    for gpu in gpus.gpus:
        if gpu.integrated:
            continue
        cap = gpu_cap_watts(gpu, sensors, nvml)
        nominal = gpu.part.board_power_watts if gpu.part is not None else None
        if isinstance(cap, float):
            caps += cap
        elif nominal is not None:
            caps += nominal
            assumed.append(gpu)
        else:
            unknown_gpus.append(gpu)
    if unknown_gpus:
        yield not_read(BOX, Unread(f"neither cap nor board power of {_names(unknown_gpus)} is known", "unsupported"))
        return
    yield _budget(caps, rest, rating, assumed, bound)


def _budget(caps: float, rest: float, rating: tuple[float, str], assumed: list[Gpu], bound: Limit) -> Finding:
    watts, source = rating
    percent = 100 * (caps + rest) / watts
    shown = f"{round(percent, 2):g} %"
    sum_text = f"GPUs {caps:g} W and the rest {rest:g} W are {shown} of {watts:g} W {source}"
    demand = f"{broken_bound(percent, bound)} % or less"
    if assumed:
        return not_read(BOX, Unread(
            f"the caps of {_names(assumed)}; at their board power, {sum_text}, {demand}", "unsupported"),
            help=("nvidia-smi --query-gpu=power.limit --format=csv shows the caps",))
    return decided(
        outcome_of(percent, bound), BOX, f"{sum_text}, {demand}", measured=Quantity(percent, "%"), limit=bound,
        cause="power-budget:", title=f"the box may draw {shown} of what there is",
        help=("lower the GPUs' power caps, or add a supply or an outlet on another circuit",))


def _names(gpus: list[Gpu]) -> str:
    return listed((f"GPU {gpu.index}" for gpu in gpus), most=8)

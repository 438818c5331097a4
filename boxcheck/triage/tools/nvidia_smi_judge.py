"""Judgements on the GPUs that nvidia-smi lists: link, memory, ECC, clocks, heat. One GPU at a time, then its peers.

Severities follow doctor's checks (`boxcheck explain nvidia.row-remap`, `power.throttle`, `nvidia.replay`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from boxcheck.decode.klog.events import Cause, Event, Severity
from boxcheck.decode.nvidia_smi_gpu import SmiGpu
from boxcheck.decode.pci_link import SPEED_GTS
from boxcheck.profile import GpuPart, load_gpus, part_of
from boxcheck.triage.tools.card_form import is_mobile, is_module
from boxcheck.triage.tools.steps import (
    CHECK_POWER,
    COMPARE_CARDS,
    LARGE_BAR,
    MODULE_HELP,
    NARROW_HELP,
    NVIDIA_LOG,
    POWER_CYCLE,
    RESEAT,
    RESET_NVIDIA,
)

READ_UNDER_LOAD = "read it under load: nvidia-smi -q -d PCIE while a training runs, or sudo lspci -vv -s {bdf}"
SMALL_BAR_MIB = 256
"""What a card gets without Resizable BAR: the size that all boards can place."""
MEMORY_SHARE = 0.9
"""ECC in GDDR memory takes 1/16 of it; a memory below this share of the card's is smaller than that explains."""
OLDER = ("Kepler", "Maxwell", "Pascal", "Volta", "Turing")
"""Architectures whose stock VBIOS has no Resizable BAR (GeForce 10 and 20)."""
HARDWARE_SLOWDOWN, SOFTWARE_THERMAL, HARDWARE_THERMAL, POWER_BRAKE, POWER_CAP = 0x08, 0x20, 0x40, 0x80, 0x04
NEAR_SHUTDOWN_CELSIUS = 3.0
MANY_UNREADABLE = 3
"""So many refused readings of one GPU are a GPU that does not answer; a single one (fan, power) is a driver's quirk."""

_GONE = (POWER_CYCLE, CHECK_POWER, NVIDIA_LOG)
_VGPU = re.compile(r"-\d{1,3}[QCAB]$")
"""Ends of vGPU profiles' names: `NVIDIA A10-12Q`."""


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """One event before it has its line."""

    gpu: SmiGpu
    kind: str
    severity: Severity
    says: str
    cause: Cause | None = None
    labels: tuple[str, ...] = ()
    help: tuple[str, ...] = ()
    count: int = 1
    width: int | None = None
    speed_gts: float | None = None
    capable_width: int | None = None
    capable_speed_gts: float | None = None
    size_bytes: int | None = None

    def event(self, line: int, text: str) -> Event:
        named = () if self.gpu.bdf is not None or self.gpu.index is None else (f"GPU {self.gpu.index}",)
        return Event(
            kind=self.kind, bdf=self.gpu.bdf, labels=(*self.labels, *named), count=self.count, cause=self.cause,
            severity=self.severity, says=self.says, help=self.help, line=line, text=text, width=self.width,
            speed_gts=self.speed_gts, capable_width=self.capable_width, capable_speed_gts=self.capable_speed_gts,
            size_bytes=self.size_bytes)


def part(gpu: SmiGpu) -> GpuPart | None:
    """The card in the GPU database, by id or, where the output has only a name, by the whole name."""
    if gpu.vendor is not None and gpu.device is not None:
        return part_of(f"{gpu.vendor:04x}:{gpu.device:04x}", None)
    wanted = _plain(gpu.name or "")
    if not wanted or wanted.endswith("..."):
        return None
    return next((card for card in load_gpus().values() if card.vendor == "10de" and _plain(card.name) == wanted), None)


def _plain(name: str) -> str:
    words = name.lower().replace("-", " ").split()
    return " ".join(word for word in words if word not in ("nvidia", "geforce", "tesla"))


def judge(gpu: SmiGpu, others: Sequence[SmiGpu]) -> Iterator[Judged]:
    """What is wrong with one GPU, beside the others of the box."""
    if (gone := _gone(gpu)) is not None:
        yield gone
        return
    yield from _unreadable(gpu)
    yield from _width(gpu, others)
    yield from _speed(gpu)
    yield from _replays(gpu)
    yield from _bar(gpu)
    yield from _memory(gpu)
    yield from _ecc(gpu)
    yield from _clocks(gpu)
    yield from _heat(gpu)
    yield from _recovery(gpu)


def _gone(gpu: SmiGpu) -> Judged | None:
    if (said := gpu.lost) is not None:
        if "reset" in said.lower():
            return Judged(gpu=gpu, kind="gpu-reset-needed", severity="fail", says="the GPU waits for a reset",
                          help=(RESET_NVIDIA, NVIDIA_LOG))
        return Judged(gpu=gpu, kind="gpu-lost", severity="fail", cause="signal",
                      says="nvidia-smi says that the GPU is lost", help=_GONE)
    refused = [row for row, said in gpu.unreadable if not said.lower().startswith(("insufficient", "not found"))]
    if len(refused) >= MANY_UNREADABLE:
        return Judged(gpu=gpu, kind="gpu-lost", severity="fail", cause="signal",
                      says=f"{len(refused)} readings of the GPU fail ({gpu.unreadable[0][1]}): it no longer answers",
                      help=_GONE)
    return None


def _unreadable(gpu: SmiGpu) -> Iterator[Judged]:
    for row, said in gpu.unreadable:
        if said.lower().startswith("insufficient"):
            continue
        yield Judged(
            gpu=gpu, kind="gpu-unreadable", severity="warn" if len(gpu.unreadable) > 1 else "info",
            labels=(row.rsplit("/", 1)[-1],), says=f"{row.rsplit('/', 1)[-1]} reads {said}",
            help=("read it again; known to pass by itself for power, and to be a driver's fault for fans",
                  NVIDIA_LOG))


def _width(gpu: SmiGpu, others: Sequence[SmiGpu]) -> Iterator[Judged]:
    """`Link Width / Max` is the card's own, whatever the slot has, so that fewer lanes alone prove nothing: they may be
    the slot's. So may the one lane of a chipset's slot or of a mining riser, and the eight of a board whose other slots
    have sixteen; the port above tells, and is weighed where it is in the evidence. A module has no slot: there it is a
    fault."""
    if gpu.width is None or gpu.width_max is None or gpu.width >= gpu.width_max:
        return
    alike = [other for other in others if other.name == gpu.name and other.width is not None]
    wider = sum(other.width >= gpu.width_max for other in alike if other.width is not None)
    if is_mobile(gpu.name):
        yield Judged(gpu=gpu, kind="link-width", severity="info", width=gpu.width, capable_width=gpu.width_max,
                     says=f"the link is x{gpu.width} of x{gpu.width_max}, as many laptops are wired")
        return
    module = is_module(gpu.name)
    why = ("a module has no narrower slot" if module
           else f"{wider} of the same card {'runs' if wider == 1 else 'run'} x{gpu.width_max} here" if wider
           else "the slot may have fewer lanes than the card")
    yield Judged(
        gpu=gpu, kind="link-width", severity="fail" if module else "warn", cause="signal" if module else None,
        says=f"the link is x{gpu.width}, the card can do x{gpu.width_max}; {why}", width=gpu.width,
        capable_width=gpu.width_max,
        speed_gts=SPEED_GTS.get(gpu.generation or 0),
        help=MODULE_HELP if module else NARROW_HELP)


def _speed(gpu: SmiGpu) -> Iterator[Judged]:
    now, most = gpu.generation, gpu.generation_max
    if now is not None and most is not None and now < most:
        busy = gpu.at_work
        where = gpu.bdf or "<address>"
        yield Judged(
            gpu=gpu, kind="link-speed", severity="warn" if busy else "info", cause="signal" if busy else None,
            labels=("under load" if busy else "idle",) if busy is not None else (),
            says=f"the link runs at Gen{now} of Gen{most} under load" if busy else
            f"the link is at Gen{now} of Gen{most}" + (", as idle GPUs have it" if busy is False else
                                                       "; whether the GPU was at work is not told"),
            speed_gts=SPEED_GTS[now], capable_speed_gts=SPEED_GTS[most], width=gpu.width,
            help=("sudo lspci -vv of the port: LnkCtl2 tells whether the speed is capped by a setting",
                  "not capped: reseat card and riser, and read the AER counters of the port") if busy else (
                READ_UNDER_LOAD.format(bdf=where),))
    device, host = gpu.generation_device, gpu.generation_host
    if device is not None and host is not None and host < device:
        yield Judged(
            gpu=gpu, kind="link-speed", severity="info", cause="config", labels=("slot",),
            says=f"the card can Gen{device}, its slot gives Gen{host} at most",
            speed_gts=SPEED_GTS[host], capable_speed_gts=SPEED_GTS[device],
            help=("look whether processor and board can more, and at the slot's speed in the BIOS (Auto or fixed)",))


def _replays(gpu: SmiGpu) -> Iterator[Judged]:
    help_ = (RESEAT,
             "read it twice with a load between: what matters is whether it grows")
    if gpu.rollovers:
        yield Judged(gpu=gpu, kind="link-replays", severity="fail", cause="signal", labels=("rollover",),
                     count=gpu.rollovers, help=help_,
                     says="packets were repeated until the link gave up and trained anew (replay number rollover)")
    elif gpu.replays:
        yield Judged(gpu=gpu, kind="link-replays", severity="warn", cause="signal", count=gpu.replays, help=help_,
                     says="packets had to be sent again over PCIe since the driver was loaded")


def _bar(gpu: SmiGpu) -> Iterator[Judged]:
    if gpu.bar1_mib is None or gpu.memory_mib is None or gpu.virtual:
        return
    if gpu.bar1_mib > SMALL_BAR_MIB or gpu.memory_mib <= gpu.bar1_mib:
        return
    newer = _resizable(gpu)
    yield Judged(
        gpu=gpu, kind="bar-small", severity="warn" if newer else "info", cause="config" if newer else None,
        size_bytes=int(gpu.bar1_mib) << 20,
        says=f"BAR1 is {gpu.bar1_mib:g} MiB for {gpu.memory_mib:g} MiB of memory" + (
            ": Resizable BAR is off" if newer else
            ", as GeForce cards before the 30 series have it" if newer is False else ""),
        help=(LARGE_BAR,
              "then sudo lspci -vv shows Region 1 as large as the memory",
              "needed for peer-to-peer between GeForce cards; copies through the host work without",
              ) if newer is not False else ("only direct copies between GPUs need more",))


def _resizable(gpu: SmiGpu) -> bool | None:
    if gpu.architecture is not None:
        return not gpu.architecture.startswith(OLDER)
    if gpu.device is not None:
        return 0x2080 <= gpu.device < 0x2100 or gpu.device >= 0x2200
    known = part(gpu)
    digits = known.arch.removeprefix("sm_") if known is not None else ""
    return int(digits) >= 80 if digits.isdecimal() and len(digits) < 4 else None


def _memory(gpu: SmiGpu) -> Iterator[Judged]:
    known = part(gpu)
    if known is None or not known.vram_gib or gpu.memory_mib is None or gpu.virtual or _VGPU.search(gpu.name or ""):
        return
    if gpu.memory_mib < MEMORY_SHARE * known.vram_gib * 1024:
        yield Judged(
            gpu=gpu, kind="memory-small", severity="warn", cause="memory", size_bytes=int(gpu.memory_mib) << 20,
            says=f"it shows {gpu.memory_mib:g} MiB of memory, {known.name} has {known.vram_gib:g} GiB",
            help=(COMPARE_CARDS, "a part of the memory may be disabled, or the card is not what its sticker says"))


def _ecc(gpu: SmiGpu) -> Iterator[Judged]:
    def found(severity: Severity, label: str, says: str, help_: str, count: int = 1) -> Judged:
        return Judged(gpu=gpu, kind="ecc-errors", severity=severity, cause="memory", labels=(label,), says=says,
                      help=(help_,), count=count)

    if gpu.remap_failed:
        yield found("fail", "remap failed", "replacing a bad row of its memory failed, no spare is left",
                    "have the card replaced")
    if gpu.unrepairable:
        yield found("fail", "unrepairable", "the GPU says that its memory cannot be repaired", "have the card replaced")
    if gpu.sram_threshold_exceeded:
        yield found("fail", "sram threshold", "more SRAM errors than NVIDIA allows", "have the card replaced")
    if gpu.remap_pending or gpu.retired_pending:
        yield found("fail", "pending", "bad memory waits to be taken out of use",
                    "reboot, or sudo nvidia-smi -r, then look again: nvidia-smi -q -d ROW_REMAPPER,PAGE_RETIREMENT")
    if gpu.ecc_uncorrected_volatile:
        yield found("fail", "uncorrected", "uncorrectable memory errors since the driver was loaded",
                    "results of that time are void; reboot, test its memory, have it replaced when more come",
                    gpu.ecc_uncorrected_volatile)
    elif gpu.ecc_uncorrected:
        yield found("warn", "uncorrected, lifetime", "uncorrectable memory errors in the life of the card",
                    "watch it: nvidia-smi -q -d ROW_REMAPPER,ECC", gpu.ecc_uncorrected)
    if gpu.remapped_uncorrected:
        yield found("warn", "remapped", "rows of its memory were replaced after uncorrectable errors",
                    "watch it: nvidia-smi -q -d ROW_REMAPPER,ECC", gpu.remapped_uncorrected)
    if gpu.retired_double:
        yield found("warn", "retired", "pages of its memory were retired after double-bit errors",
                    "watch it: nvidia-smi -q -d PAGE_RETIREMENT; NVIDIA replaces a card at 60 retired pages",
                    gpu.retired_double)


def _clocks(gpu: SmiGpu) -> Iterator[Judged]:
    reasons = gpu.event_reasons or 0
    if reasons & POWER_BRAKE:
        yield Judged(gpu=gpu, kind="throttled", severity="warn", cause="power", labels=("power brake",),
                     says="the power brake holds its clock down: a signal of the supply or the board",
                     help=("reseat the power connector at both ends, swap the cable with a neighbour's",
                           "look at the supply's load and at the mains"))
    if reasons & (HARDWARE_THERMAL | SOFTWARE_THERMAL):
        yield Judged(gpu=gpu, kind="throttled", severity="warn", labels=("heat",),
                     says="heat holds its clock down", help=("look at fans, airflow and dust; nvidia-smi -q -d "
                                                             "TEMPERATURE shows what is left to the limit",))
    if reasons & HARDWARE_SLOWDOWN and not reasons & (POWER_BRAKE | HARDWARE_THERMAL):
        yield Judged(gpu=gpu, kind="throttled", severity="warn", cause="power", labels=("hardware slowdown",),
                     says="the hardware holds its clock down, and gives neither heat nor power brake as its reason",
                     help=("check the power connectors; nvidia-smi -q -d PERFORMANCE under load",))
    if reasons & POWER_CAP and not reasons & (POWER_BRAKE | HARDWARE_THERMAL | SOFTWARE_THERMAL | HARDWARE_SLOWDOWN):
        yield Judged(gpu=gpu, kind="throttled", severity="info", labels=("power cap",),
                     says="its power limit holds the clock, as it does under full load")
    limit, usual = gpu.power_limit_watts, gpu.power_default_watts
    if limit is not None and usual is not None and 0 < limit < 0.95 * usual:
        yield Judged(gpu=gpu, kind="power-limit-set", severity="info", cause="config",
                     says=f"its power limit is {limit:g} W, the card's own {usual:g} W",
                     help=("meant or left over: sudo nvidia-smi -pl sets it",))


def _heat(gpu: SmiGpu) -> Iterator[Judged]:
    now, stop = gpu.temperature_celsius, gpu.shutdown_celsius
    left, floor = gpu.margin_celsius, gpu.shutdown_margin_celsius
    near = (now is not None and stop is not None and 0 < stop <= now + NEAR_SHUTDOWN_CELSIUS) or (
        left is not None and floor is not None and left <= floor + NEAR_SHUTDOWN_CELSIUS)
    hot = (now is not None and gpu.slowdown_celsius is not None and 0 < gpu.slowdown_celsius <= now) or (
        left is not None and gpu.slowdown_margin_celsius is not None and left <= gpu.slowdown_margin_celsius)
    if near or hot:
        at = f"{now:g} C" if now is not None else f"{left:g} C to its limit"
        yield Judged(gpu=gpu, kind="gpu-hot", severity="fail" if near else "warn",
                     says=f"it is at {at}, " + ("about to switch off" if near else "where it slows down"),
                     help=("stop the load, look at fans, airflow and dust",))


def _recovery(gpu: SmiGpu) -> Iterator[Judged]:
    if gpu.recovery_action is not None or gpu.reset_required:
        action = gpu.recovery_action or "Reset"
        yield Judged(gpu=gpu, kind="gpu-reset-needed", severity="fail", labels=(action,),
                     says=f"the driver asks for: {action}",
                     help=(RESET_NVIDIA, NVIDIA_LOG))


def judge_mixed(gpus: Sequence[SmiGpu]) -> Iterator[Judged]:
    """Cards of one name that differ in what should be alike: worth knowing, no fault."""
    by_name: dict[str, list[SmiGpu]] = {}
    for gpu in gpus:
        if gpu.name is not None:
            by_name.setdefault(gpu.name, []).append(gpu)
    for name, alike in by_name.items():
        for what, values in (("VBIOS", [gpu.vbios for gpu in alike]),
                             ("power limit", [gpu.power_limit_watts for gpu in alike])):
            told = Counter(value for value in values if value is not None)
            if len(told) < 2:
                continue
            usual = told.most_common(1)[0][0]
            odd = next(gpu for gpu, value in zip(alike, values, strict=True) if value not in (None, usual))
            parts = ", ".join(f"{times} of {value:g} W" if isinstance(value, float) else f"{times} of {value}"
                              for value, times in told.most_common(4))
            yield Judged(gpu=odd, kind="gpus-differ", severity="info", labels=(what,),
                         says=f"{what} differs among {len(alike)} {name}: {parts}")

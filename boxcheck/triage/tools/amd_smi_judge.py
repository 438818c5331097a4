"""Judgements on the GPUs that amd-smi and rocm-smi list, and the devices made of them.

amdgpu's link figures are the driver's own (gpu_metrics, pp_dpm_pcie): those of the slot's link, while lspci of the GPU
function shows the link inside the card.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from boxcheck.decode.amd_smi_gpu import AmdGpu
from boxcheck.decode.klog.events import Cause, Event, Severity
from boxcheck.decode.pci_link import SPEED_GTS
from boxcheck.profile import GpuPart, load_gpus, part_of
from boxcheck.triage.evidence import Device, DeviceBar, DeviceLink, fields_of
from boxcheck.triage.tools.matrix_cards import AMD, CLASS
from boxcheck.triage.tools.steps import COMPARE_CARDS, LARGE_BAR, NARROW_HELP, PARTITIONED, RESEAT

SMALL_BAR_BYTES = 256 << 20
MEMORY_SHARE = 0.9
HOT_JUNCTION_CELSIUS = 105.0
"""RDNA cards throttle at 110 (amdgpu's temp2_crit); instinct cards say their own limit."""
_RESEAT = (RESEAT,
           "sudo lspci -vv of the root port and of the card's switch (1002:1478) shows both ends of the slot's link")


def parts(gpu: AmdGpu) -> tuple[GpuPart, ...]:
    """The cards of the GPU database that it may be: one id is often several."""
    if gpu.device is None:
        return ()
    pci_id = f"{gpu.vendor or AMD:04x}:{gpu.device:04x}"
    if gpu.revision is not None:
        found = part_of(pci_id, gpu.revision)
        return (found,) if found is not None else ()
    return load_gpus().of_id(pci_id)


def _agreed(gpu: AmdGpu, name: str) -> float | None:
    """A figure in which all cards that it may be agree."""
    values = {getattr(part, name) for part in parts(gpu)}
    value = next(iter(values)) if len(values) == 1 else None
    return float(value) if value else None


def device(gpu: AmdGpu, line: int) -> Device:
    """The GPU for the join with other evidence."""
    known = parts(gpu)
    link = None
    if gpu.width is not None or gpu.speed_gts is not None or gpu.width_max is not None:
        link = DeviceLink(width=gpu.width, speed_gts=gpu.speed_gts, max_width=gpu.width_max,
                          max_speed_gts=gpu.speed_max_gts, under_load=gpu.at_work)
    visible = None if gpu.on_board else gpu.visible_vram_bytes
    bars = (DeviceBar(index=0, size_bytes=visible),) if visible else ()
    return Device(
        line=line, bdf=gpu.bdf, name=gpu.name, vendor=gpu.vendor or AMD, device=gpu.device, revision=gpu.revision,
        class_code=CLASS,
        subsystem_vendor=gpu.subsystem_vendor, subsystem_device=gpu.subsystem_device, driver="amdgpu",
        index=gpu.index, serial=gpu.serial, uuid=gpu.uuid, numa_node=gpu.numa_node, link=link, bars=bars,
        vram_bytes=gpu.vram_bytes,
        more=fields_of((
            ("part", known[0].key if len(known) == 1 else None), ("arch", gpu.arch), ("vbios", gpu.vbios),
            ("driver_version", gpu.driver), ("gtt_bytes", gpu.gtt_bytes), ("edge_celsius", gpu.edge_celsius),
            ("junction_celsius", gpu.junction_celsius), ("memory_celsius", gpu.memory_celsius),
            ("power_watts", gpu.power_watts), ("power_limit_watts", gpu.power_cap_watts),
            ("utilization_percent", gpu.utilization_percent), ("pcie_replays", gpu.replays),
            ("pcie_recoveries", gpu.recoveries), ("pcie_naks_sent", gpu.naks_sent),
            ("pcie_naks_received", gpu.naks_received))))


def events(gpu: AmdGpu, line: int, text: str) -> Iterator[Event]:
    """What is wrong with one GPU, or worth knowing."""
    named = () if gpu.bdf is not None or gpu.index is None else (f"GPU {gpu.index}",)

    def found(
        kind: str, severity: Severity, says: str, cause: Cause | None = None, help_: tuple[str, ...] = (),
        labels: tuple[str, ...] = (), count: int = 1, size_bytes: int | None = None, capable_width: int | None = None,
    ) -> Event:
        return Event(kind=kind, bdf=gpu.bdf, severity=severity, says=says, cause=cause, help=help_,
                     labels=(*labels, *named), count=count, line=line, text=text, size_bytes=size_bytes,
                     capable_width=capable_width,
                     width=gpu.width if kind.startswith("link") else None,
                     speed_gts=gpu.speed_gts if kind.startswith("link") else None)

    lanes = gpu.width_max or _agreed(gpu, "link_width")
    if gpu.width is not None and lanes is not None and gpu.width < lanes and not gpu.on_board:
        at_rest = gpu.link_level == 0 and not gpu.at_work
        yield found(
            "link-width", "info" if at_rest else "warn", f"the link is x{gpu.width}, the card can do x{lanes:g}; " + (
                "this is the lowest of its power states, read it under load" if at_rest else
                "the slot may have fewer lanes"), None, NARROW_HELP, capable_width=int(lanes))
    speed = gpu.speed_max_gts or SPEED_GTS.get(int(_agreed(gpu, "link_generation") or 0))
    if gpu.speed_gts is not None and speed is not None and 0 < gpu.speed_gts < speed and not gpu.on_board:
        busy = gpu.at_work is True
        yield found(
            "link-speed", "warn" if busy else "info", f"the link runs at {gpu.speed_gts:g} GT/s of {speed:g}" + (
                " under load" if busy else ": amdgpu lowers it at rest"), "signal" if busy else None,
            ("read it under load: amd-smi metric --pcie, or cat /sys/bus/pci/devices/<address>/pp_dpm_pcie",)
            if not busy else (*_RESEAT, "the slot may be of an older generation, or held lower in the BIOS"),
            ("under load",) if busy else ())
    if gpu.rollovers:
        yield found("link-replays", "fail", "packets were repeated until the link gave up and trained anew (replay "
                    "rollover)", "signal", _RESEAT, ("rollover",), gpu.rollovers)
    elif gpu.replays or gpu.naks_sent or gpu.naks_received:
        total = (gpu.replays or 0) or (gpu.naks_sent or 0) + (gpu.naks_received or 0)
        yield found("link-replays", "warn", "packets had to be sent again over PCIe since the driver was loaded",
                    "signal", ("read it twice with a load between: what matters is whether it grows", *_RESEAT),
                    count=total)
    if gpu.ecc_uncorrected:
        yield found("ecc-errors", "fail", "uncorrectable errors in its memory or units", "memory",
                    ("results of that time are void; reboot, test its memory, have it replaced when more come",
                     "amd-smi metric --ecc-blocks  tells the unit; the kernel log tells when"),
                    ("uncorrected",), gpu.ecc_uncorrected)
    if gpu.ecc_deferred:
        yield found("ecc-errors", "warn", "errors that were found and set aside (deferred)", "memory",
                    ("amd-smi bad-pages  lists what was taken out of use",), ("deferred",), gpu.ecc_deferred)
    if gpu.ecc_corrected:
        yield found("ecc-errors", "info", "errors that were corrected", "memory",
                    ("watch whether they grow: amd-smi metric --ecc",), ("corrected",), gpu.ecc_corrected)
    yield from _memory(gpu, found)
    limit = gpu.shutdown_junction_celsius or 0
    if gpu.junction_celsius is not None and gpu.junction_celsius >= (limit - 5 if limit > 0 else HOT_JUNCTION_CELSIUS):
        yield found("gpu-hot", "warn", f"its hottest spot is at {gpu.junction_celsius:g} C", None,
                    ("look at fans, airflow and dust; a hot spot far above the edge is the cooler's seat",))
    if gpu.throttled:
        yield found("throttled", "info" if gpu.at_work else "warn", "its clocks are held down",
                    None, ("amd-smi metric --violation  tells whether by heat or power",))


def _memory(gpu: AmdGpu, found: object) -> Iterator[Event]:
    assert callable(found)
    vram = gpu.vram_bytes
    nominal = _agreed(gpu, "vram_gib")
    if vram is None or gpu.on_board:
        return
    if nominal and vram < MEMORY_SHARE * nominal * (1 << 30):
        yield found("memory-small", "warn",
                    f"it shows {vram / (1 << 30):.1f} GiB of memory, the card has {nominal:g} GiB", "memory",
                     (PARTITIONED, COMPARE_CARDS), size_bytes=vram)
    visible = gpu.visible_vram_bytes
    if visible is not None and visible <= SMALL_BAR_BYTES < vram:
        yield found("bar-small", "warn", f"the processor reaches {visible >> 20} MiB of its {vram >> 20} MiB: "
                    "Resizable BAR is off", "config",
                    (LARGE_BAR,
                     "ROCm needs it for direct copies between GPUs"), size_bytes=visible)


def mixed(gpus: Sequence[AmdGpu], line: int, text: str) -> Iterator[Event]:
    """Cards of one id that run different VBIOS: worth knowing."""
    by_id: dict[int, Counter[str]] = {}
    for gpu in gpus:
        if gpu.device is not None and gpu.vbios is not None:
            by_id.setdefault(gpu.device, Counter())[gpu.vbios] += 1
    for chip, versions in by_id.items():
        if len(versions) > 1:
            listed = ", ".join(f"{times} of {version}" for version, times in versions.most_common(4))
            yield Event(kind="gpus-differ", severity="info", cause=None, labels=("VBIOS", f"{chip:04x}"), line=line,
                        text=text, says=f"VBIOS differs among {sum(versions.values())} of 1002:{chip:04x}: {listed}")

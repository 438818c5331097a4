"""Every limit that is a number, on built boxes: bytes with the last good value pass, with the next one they do not.

A change is made to the machine, rendered, read and judged by the shipped profile of its box, as a capture is. A notch
is the smallest step that the kernel, a register or a table can show.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest

from boxcheck.engine.inspect import Facts, findings_of, name_slots, read_facts
from boxcheck.judge import Crash
from boxcheck.model import Finding, Scalar
from boxcheck.probes.gpus import Gpus
from boxcheck.probes.links import Links
from boxcheck.profile import load_profile
from boxcheck.registry import CHECKS, LIMITS, discover
from tests.boxes import machine
from tests.boxes.machine import Machine
from tests.boxes.memory import host
from tests.boxes.mutations import DEV, GREEN, PRO, RED, RED2, STRIX, WOPR, card_of, gpu_of, port_of
from tests.boxes.mutations_errors import shrink_bar
from tests.boxes.mutations_links import retrain, unplug
from tests.boxes.mutations_parts import behind_switch, with_prefetch_limit
from tests.boxes.mutations_strix import PAGES_PER_MIB, _limits, _set
from tests.boxes.pci_build import GIB, MIB
from tests.boxes.tree import Tree

discover()
GIB_PAGES = 1024 * PAGES_PER_MIB


class Notch(NamedTuple):
    """One number on one box. `sides` are values in order, each with the outcome that it must have."""

    check: str
    box: str
    subject: str
    change: Callable[[Machine, Any], None]
    sides: Sequence[tuple[Any, str]]
    measured: Callable[[Any], Scalar] | None = lambda value: value
    """From the value to what the finding must say was measured; None where the check measures nothing."""


def of(path: str) -> Callable[[Machine, Any], None]:
    """A change of one attribute of the machine: `cpu.governor`."""

    def change(built: Machine, value: Any) -> None:
        here: Any = built
        *parts, last = path.split(".")
        for part in parts:
            here = here[int(part)] if part.isdigit() else getattr(here, part)
        setattr(here, last, value)

    return change


def amd(name: str) -> Callable[[Machine, Any], None]:
    """A change of the AMD GPU in the slot that mutations hit."""

    def change(built: Machine, value: Any) -> None:
        gpu = gpu_of(built)
        setattr(next(one for one in built.amd if one.function is gpu), name, value)

    return change


def nvidia(name: str) -> Callable[[Machine, Any], None]:
    def change(built: Machine, value: Any) -> None:
        gpu = gpu_of(built)
        setattr(next(one for one in built.nvidia if one.function is gpu), name, value)

    return change


def hot_at_work(built: Machine, celsius: int) -> None:
    nvidia("core_celsius")(built, celsius)
    nvidia("event_reasons")(built, 0)


def resting_hot(**celsius: float) -> Callable[[Machine, Any], None]:
    """One temperature of all GPUs, so that no one stands out, and the fans turn."""

    def change(built: Machine, value: float) -> None:
        for gpu in built.amd:
            gpu.fan_rpm = 900
            for name in celsius:
                setattr(gpu, name, value)

    return change


# GPUs and links


def cards(built: Machine, count: int) -> None:
    """The cards of the last slots are pulled out."""
    for slot in built.slots[count:]:
        assert slot.root_port is not None
        unplug(slot.root_port).express.presence = False


def lanes(built: Machine, width: int) -> None:
    retrain(built, 16.0, width)


def speed(built: Machine, speed_gts: float) -> None:
    retrain(built, speed_gts, 16)


def slot_power(built: Machine, watts: float) -> None:
    port_of(built).express.slot_power_watts = watts


def link_changes(built: Machine, count: int) -> None:
    built.interrupts[port_of(built).bdf] = count


def uplink(built: Machine, width: int) -> None:
    behind_switch(built, width)


def bad_packets(built: Machine, count: int) -> None:
    port_of(built).count({"BadTLP": count})


def rollovers(built: Machine, count: int) -> None:
    port_of(built).count({"Timeout": 1, "Rollover": count})


def fatal_errors(built: Machine, count: int) -> None:
    card_of(built).count(fatal={"SDES": count})


def nvme_lanes(built: Machine, width: int) -> None:
    port = built.drives[0].function.parent
    assert port is not None
    port.train(16.0, width)


def nvme_speed(built: Machine, speed_gts: float) -> None:
    port = built.drives[0].function.parent
    assert port is not None
    port.train(speed_gts, 4)


# BARs


def bar_mib(built: Machine, size_mib: int) -> None:
    shrink_bar(gpu_of(built), size_mib)


def bar_start(built: Machine, start: int) -> None:
    shrink_bar(gpu_of(built), 256)
    root = next(root for root in built.buses if port_of(built) in root.functions)
    root.prefetch_base = start


def window_end(built: Machine, beyond_bar: int) -> None:
    """The last byte of the root port's window, counted from the last byte of the GPU's largest BAR."""

    def change(tree: Tree) -> None:
        bar = max(gpu_of(built).bars, key=lambda one: one.size)
        path = f"{port_of(built).path}/config"
        node = tree[path]
        assert isinstance(node, bytes)
        assert bar.address is not None
        tree[path] = with_prefetch_limit(node, bar.address + bar.size - 1 + beyond_bar)

    gpu = gpu_of(built)  # its BAR alone behind the port: others lie after it
    gpu.bars = [bar for bar in gpu.bars if not bar.prefetchable or bar.size == max(one.size for one in gpu.bars)]
    built.edits.append(change)


# Processor and memory


def cores(built: Machine, count: int) -> None:
    """Cores above the count are switched off, both threads of each."""
    off = range(count, built.cpu.cores)
    built.cpu.offline = tuple(sorted((*off, *(built.cpu.cores + one for one in off))))


def threads_off(built: Machine, count: int) -> None:
    built.cpu.offline = tuple(range(built.cpu.threads - count, built.cpu.threads))


def sockets(built: Machine, count: int) -> None:
    built.cpu.sockets = count


def channels(built: Machine, count: int) -> None:
    for dimm in built.memory[count:]:
        dimm.size_mib = 0


def memory_mib(built: Machine, total_mib: int) -> None:
    built.memory[0].size_mib = total_mib - sum(dimm.size_mib for dimm in built.memory[1:])


def memory_mts(built: Machine, rate: int) -> None:
    for dimm in built.memory:
        dimm.configured_mts = rate


# Drives, network, power


def raid_members(built: Machine, count: int) -> None:
    array = built.raid[0]
    array.members = array.members[:count]


def nvme_drives(built: Machine, count: int) -> None:
    for drive in built.drives[count:]:
        drive.function.visible = False


def free(built: Machine, percent: float) -> None:
    built.free_fraction = percent / 100


def limit_of(name: str) -> Callable[[Machine, Any], None]:
    def change(built: Machine, value: int) -> None:
        built.limits[name] = (str(value), str(value))

    return change


def ports(built: Machine, count: int) -> None:
    for port in built.ports[count:]:
        port.function.visible = False


def caps(built: Machine, total_watts: int) -> None:
    """Caps of all GPUs with this sum, each the card's own default."""
    share, rest = divmod(total_watts, len(built.nvidia))
    for number, gpu in enumerate(built.nvidia):
        gpu.cap_watts = gpu.default_cap_watts = share + (number < rest)


def supplies(built: Machine, count: int) -> None:
    for supply in built.supplies[count:]:
        supply.ok = False


# Strix Halo


def pages(built: Machine, count: int) -> None:
    """TTM's limit in pages; GTT and KFD follow it, as the driver has it."""
    _set(built, "ttm.pages_limit", count)
    built.kernel.parameters = [one for one in built.kernel.parameters if not one.startswith("amdgpu.gttsize")]
    built.amdgpu_parameters.pop("gttsize", None)
    _limits(built, count, -(-count // PAGES_PER_MIB))


def gtt_mib(built: Machine, size_mib: int) -> None:
    """amdgpu.gttsize beside the box's ttm.pages_limit."""
    _set(built, "amdgpu.gttsize", size_mib)
    built.amdgpu_parameters["gttsize"] = str(size_mib)


def reported_gtt_mib(built: Machine, size_mib: int) -> None:
    built.amd[0].gtt_mib = size_mib


def carve_out(built: Machine, size_mib: int) -> None:
    built.amd[0].vram_mib = size_mib


def kfd_bytes(built: Machine, size_bytes: int) -> None:
    built.amd[0].kfd_memory_bytes = size_bytes


# Versions


def release(built: Machine, version: str) -> None:
    built.kernel.release = version
    built.kernel.newest_installed = None


def nvidia_version(built: Machine, version: str) -> None:
    assert built.nvidia_driver is not None
    built.nvidia_driver.version = version


def firmware(built: Machine, snapshot: str) -> None:
    built.packages["linux-firmware"] = f"{snapshot}-1.fc43"


def gib(size_mib: int) -> float:
    return size_mib / 1024


NOTCHES: tuple[Notch, ...] = (
    # GPUs and links
    Notch("inventory.gpu-count", WOPR, "box", cards, ((7, "pass"),)),
    Notch("inventory.gpu-count", WOPR, "PCIE7", cards, ((6, "fail"),)),
    Notch("pcie.link-width", WOPR, "PCIE3", lanes, ((16, "pass"), (8, "fail"))),
    Notch("pcie.link-width", RED, "PCIE3", lanes, ((16, "pass"), (8, "fail"))),
    Notch("pcie.link-speed", WOPR, "PCIE3", speed, ((16.0, "pass"), (8.0, "fail"))),
    Notch("pcie.link-speed", RED, "PCIE3", speed, ((16.0, "pass"), (8.0, "fail"))),
    Notch("pcie.chain", WOPR, "GPU 2", uplink, ((16, "pass"), (8, "marginal")), None),
    Notch("pcie.slot-power", WOPR, "PCIE3", slot_power, ((75.0, "pass"), (74.0, "marginal"))),
    Notch("pcie.link-flap", WOPR, "PCIE3", link_changes, ((99, "pass"), (100, "marginal"))),
    Notch("aer.correctable", WOPR, "PCIE3", bad_packets, ((0, "pass"), (1, "marginal"), (3039, "marginal"),
                                                           (3040, "fail"))),
    Notch("aer.correctable", RED, "PCIE3", rollovers, ((0, "marginal"), (1, "fail")), lambda count: count + 1),
    Notch("aer.uncorrectable", WOPR, "PCIE3", fatal_errors, ((0, "pass"), (1, "fail")), None),
    Notch("amdgpu.replay", RED, "PCIE3", amd("replay_count"), ((0, "pass"), (1, "marginal"))),
    Notch("disk.nvme-link", RED, "nvme0", nvme_lanes, ((4, "pass"), (2, "fail"))),
    Notch("disk.nvme-link", RED, "nvme0", nvme_speed, ((16.0, "pass"), (8.0, "fail")),
          lambda rate: 4 if rate == 16.0 else rate),
    # BARs
    Notch("bar.full-vram", RED, "PCIE3", bar_mib, ((32768, "pass"), (16384, "fail")), lambda size: size * MIB),
    Notch("bar.full-vram", RED2, "PCIE3", bar_mib, ((16384, "pass"), (8192, "fail")), lambda size: size * MIB),
    Notch("bar.above-4g", DEV, "PCIE3", bar_start, ((4 * GIB, "pass"), (4 * GIB - 256 * MIB, "marginal")), None),
    Notch("bar.bridge-window", WOPR, "PCIE3", window_end, ((0, "pass"), (-MIB, "fail")), None),
    # processor and memory
    Notch("cpu.cores", RED, "CPU", cores, ((32, "pass"), (31, "fail"))),
    Notch("cpu.cores", WOPR, "CPU", cores, ((16, "pass"), (15, "marginal"), (8, "marginal"), (7, "fail"))),
    Notch("cpu.sockets", RED, "CPU", sockets, ((1, "pass"), (2, "fail"))),
    Notch("cpu.offline", RED, "CPU", threads_off, ((0, "pass"), (1, "marginal"))),
    Notch("cpu.numa-balancing", PRO, "CPU", of("kernel.numa_balancing"), ((0, "pass"), (1, "marginal"))),
    Notch("memory.channels", RED, "box", channels, ((8, "pass"),)),
    Notch("memory.channels", RED, "DIMM_H1", channels, ((7, "fail"),)),
    Notch("memory.total", RED, "box", memory_mib, ((128 * 1024, "pass"), (128 * 1024 - 1, "fail")), gib),
    Notch("memory.speed", RED, "memory", memory_mts, ((3194, "marginal"),)),
    Notch("memory.speed", RED, "box", memory_mts, ((3200, "pass"), (3195, "pass"))),
    Notch("memory.edac-ce", WOPR, "DIMM_D1", of("memory.3.corrected_errors"), ((1, "marginal"),)),
    Notch("memory.edac-ce", WOPR, "box", of("memory.3.corrected_errors"), ((0, "pass"),)),
    Notch("memory.edac-ue", WOPR, "DIMM_D1", of("memory.3.uncorrected_errors"), ((1, "fail"),)),
    Notch("memory.edac-ue", WOPR, "box", of("memory.3.uncorrected_errors"), ((0, "pass"),)),
    # temperatures and fans
    Notch("thermal.cpu", RED, "CPU", of("cpu_celsius"),
          ((85.0, "pass"), (85.1, "marginal"), (90.0, "marginal"), (90.1, "fail"))),
    Notch("thermal.cpu", STRIX, "CPU", of("cpu_celsius"),
          ((90.0, "pass"), (90.1, "marginal"), (100.0, "marginal"), (100.1, "fail"))),
    Notch("thermal.gpu-idle", RED, "PCIE3", resting_hot(edge_celsius=0),
          ((60.0, "pass"), (60.1, "marginal"), (85.0, "marginal"), (85.1, "fail"))),
    Notch("thermal.gpu-idle", RED, "PCIE3", resting_hot(junction_celsius=0),
          ((75.0, "pass"), (75.1, "marginal"), (110.0, "marginal"), (110.1, "fail")),
          lambda value: value if value > 75.0 else 36.0),
    Notch("thermal.gpu-idle", RED, "PCIE3", resting_hot(memory_celsius=0),
          ((85.0, "pass"), (85.1, "marginal"), (105.0, "marginal"), (105.1, "fail")),
          lambda value: value if value > 85.0 else 36.0),
    Notch("thermal.gpu-idle", WOPR, "PCIE3", nvidia("core_celsius"),
          ((60, "pass"), (61, "marginal"), (85, "marginal"), (86, "fail"))),
    Notch("thermal.gpu-idle", WOPR, "PCIE3", hot_at_work, ((95, "unknown"), (96, "fail")), None),
    Notch("thermal.gpu-spread", RED, "PCIE3", amd("edge_celsius"), ((47.1, "marginal"),), lambda value: 12.1),
    Notch("thermal.gpu-spread", RED, "box", amd("edge_celsius"), ((47.0, "pass"),), lambda value: 12.0),
    Notch("thermal.critical-alarm", RED, "PCIE3", amd("junction_celsius"), ((110.0, "fail"),)),
    Notch("thermal.critical-alarm", RED, "box", amd("junction_celsius"), ((109.9, "pass"),), lambda value: 0),
    Notch("thermal.nvme", RED, "nvme0", of("drives.0.celsius"),
          ((80.85, "pass"), (81.85, "marginal"), (83.85, "marginal"), (84.85, "fail")), lambda value: round(value, 1)),
    Notch("fan.gpu", RED, "PCIE3", amd("edge_celsius"), ((74.9, "pass"), (75.0, "fail")), lambda value: 0),
    Notch("fan.gpu", RED, "PCIE3", amd("junction_celsius"), ((89.9, "pass"), (90.0, "fail")), lambda value: 0),
    # drives
    Notch("disk.nvme-count", RED, "box", nvme_drives, ((4, "pass"), (3, "fail"))),
    Notch("disk.nvme-health", RED, "nvme0", of("drives.0.percentage_used"), ((80, "pass"),), lambda value: 0),
    Notch("disk.nvme-health", RED, "nvme0", of("drives.0.percentage_used"),
          ((81, "marginal"), (100, "marginal"), (101, "fail"))),
    Notch("disk.nvme-health", RED, "nvme0", of("drives.0.media_errors"), ((0, "pass"), (1, "marginal"))),
    Notch("disk.raid", RED, "box", raid_members, ((4, "pass"), (3, "fail"))),
    Notch("disk.boot-usb-speed", RED, "sda", of("usb_disk.speed_mbps"), ((5000, "pass"), (480, "fail"))),
    Notch("disk.free", WOPR, "/", free, ((10.0, "pass"), (9.99, "marginal"), (2.0, "marginal"), (1.99, "fail"))),
    # limits of the login, network, power
    Notch("limits.memlock", WOPR, "box", limit_of("Max locked memory"),
          ((1 << 36, "pass"), ((1 << 36) - 1, "marginal")), lambda count: count / GIB),
    Notch("limits.nofile", WOPR, "box", limit_of("Max open files"), ((65536, "pass"), (65535, "marginal"))),
    Notch("limits.shm", WOPR, "box", of("shm_bytes"), ((GIB, "pass"), (GIB - 4096, "marginal")), lambda count: count / GIB),
    Notch("nic.present", RED, "box", ports, ((2, "pass"), (1, "marginal"))),
    Notch("power.budget", WOPR, "box", caps,
          ((3320, "pass"), (3321, "marginal"), (3720, "marginal"), (3721, "fail")), lambda watts: (watts + 280) / 40),
    Notch("power.psu-missing", RED, "box", supplies, ((2, "pass"), (1, "marginal"))),
    Notch("power.gpu-cap", RED, "PCIE3", amd("cap_watts"), ((327, "pass"), (326, "pass"), (325, "marginal"))),
    # Strix Halo
    Notch("disk.raid", RED, "md0", of("raid.0.size_bytes"),
          ((3500 * GIB, "pass"), (3500 * GIB - 512, "fail")), None),
    Notch("strix.compute-units", STRIX, "GPU 0", of("amd.0.compute_units"), ((40, "pass"), (39, "fail"))),
    Notch("strix.gpu-memory", STRIX, "GPU 0", pages,
          ((120 * GIB_PAGES, "pass"), (120 * GIB_PAGES - 1, "marginal"), (96 * GIB_PAGES, "marginal"),
           (96 * GIB_PAGES - 1, "fail")), lambda count: count / GIB_PAGES),
    Notch("strix.gtt-headroom", STRIX, "GPU 0", pages,
          ((124 * GIB_PAGES, "pass"), (124 * GIB_PAGES + 1, "marginal")), lambda count: count / GIB_PAGES),
    Notch("strix.gtt-as-asked", STRIX, "GPU 0", gtt_mib, ((124 * 1024, "pass"), (124 * 1024 + 1, "fail")), None),
    Notch("strix.gtt-as-asked", STRIX, "GPU 0", reported_gtt_mib,
          ((124 * 1024, "pass"), (124 * 1024 - 1, "fail")), None),
    Notch("strix.kfd-memory", STRIX, "GPU 0", kfd_bytes,
          ((120 * GIB, "pass"), (120 * GIB - 4096, "marginal"), (96 * GIB, "marginal"), (96 * GIB - 4096, "fail")),
          lambda size: size / GIB),
    Notch("strix.carve-out", STRIX, "GPU 0", carve_out, ((512, "pass"), (513, "marginal")), gib),
    # versions
    Notch("kernel.too-old", DEV, "{value}", release,
          (("6.5.0-14-generic", "pass"), ("6.4.16-060416-generic", "marginal"), ("6.1.0-13-generic", "marginal"),
           ("6.0.19-060019-generic", "fail"))),
    Notch("kernel.too-old", STRIX, "{value}", release,
          (("6.18.4-200.fc43.x86_64", "pass"), ("6.18.3-200.fc43.x86_64", "marginal"))),
    Notch("kernel.too-old", STRIX, "{value}", release,
          (("6.14.0-1018-oem", "pass"), ("6.11.0-1027-oem", "marginal")), None),
    Notch("kernel.firmware-package", STRIX, "linux-firmware", firmware,
          (("20251111", "pass"), ("20251125", "fail"), ("20251126", "pass"))),
    Notch("driver.rocm", RED, "ROCm", of("rocm"), (("6.3.3", "pass"), ("6.3.2", "marginal")),
          lambda text: f"{text}-{'74' if text == '6.3.3' else '43'}"),
    Notch("driver.rocm", STRIX, "ROCm", of("rocm"), (("7.2.0", "pass"), ("7.1.9", "marginal")),
          lambda text: f"{text}-43"),
    Notch("driver.amdgpu-loaded", RED, "amdgpu", of("amdgpu_version"), (("6.10.5", "pass"), ("6.10.4", "marginal"))),
    Notch("driver.nvidia-loaded", GREEN, "nvidia", nvidia_version,
          (("570.133.20", "pass"), ("570.133.19", "marginal"))),
    Notch("driver.nvidia-loaded", WOPR, "nvidia", nvidia_version, (("535.54.03", "pass"), ("530.41.03", "marginal"))),
)

CASES = [(notch, value, outcome) for notch in NOTCHES for value, outcome in notch.sides]


def judge(built: Machine, box: str, check: str) -> list[Finding]:
    """What one check finds on a machine, by the shipped profile of its box."""
    want = load_profile(box)
    facts: Facts = read_facts(host(built.tree()), {*CHECKS[check].reads, Links, Gpus})
    crashes: list[Crash] = []
    name_slots(facts, want)
    found = findings_of(CHECKS[check], facts, want, crashes)
    assert not [*facts.crashes, *crashes]
    return found


@pytest.mark.parametrize(
    ("notch", "value", "outcome"), CASES, ids=[f"{notch.check}-{notch.box}-{value}" for notch, value, _ in CASES])
def test_a_notch(notch: Notch, value: Any, outcome: str) -> None:
    built = machine(notch.box)
    notch.change(built, value)
    built.assemble()
    subject = notch.subject.format(value=value)
    found = judge(built, notch.box, notch.check)
    mine = sorted((one for one in found if str(one.subject) == subject), key=lambda one: one.outcome.rank)
    assert mine, [str(one.subject) for one in found]
    assert mine[0].outcome == outcome, mine[0].says
    if notch.measured is not None:
        shown = notch.measured(value)
        measured = mine[0].measured.value if mine[0].measured is not None else None
        assert measured == (pytest.approx(shown, rel=1e-9) if isinstance(shown, float) else shown), mine[0].says


def test_every_limit_that_is_a_number_has_a_notch() -> None:
    """Limits of versions count as numbers. Those of words, of yes and no, and of information alone do not. Limits that
    only checks of stress modules read have their notches in tests/stress/test_every_check.py."""
    doctors = {name for check in CHECKS.values() if check.stress is None for name in check.limits}
    numbers = {
        name for name, spec in LIMITS.items()
        if name in doctors and (
            spec.type in (int, float) or (spec.type is str and spec.compare == "ge")) and spec.compare != "info"
    }
    read = {name for notch in NOTCHES for name in CHECKS[notch.check].limits}
    assert numbers - read == ELSEWHERE.keys()


ELSEWHERE: dict[str, str] = {
    "amdgpu.cwsr_enable": "equal or not: tinybox-red+amdgpu-cwsr-on",
    "amdgpu.ppfeaturemask": "equal or not, as the other parameter",
}
"""Limits without a smallest step, and what shows them."""

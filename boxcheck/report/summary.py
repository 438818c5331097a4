"""What the account says beside its findings: one clause an area, and the rows of the link table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from boxcheck import __version__
from boxcheck.account import Account, LinkRow, area_of, bus_of
from boxcheck.checks.places import link_subject, slot_links
from boxcheck.checks.wording import natural, size
from boxcheck.engine.box import name_of
from boxcheck.engine.inspect import Facts
from boxcheck.host import Host
from boxcheck.model import Finding, Outcome, Unread, Verdict, worst
from boxcheck.probes.amdgpu import Amdgpu
from boxcheck.probes.cpu import Cpu
from boxcheck.probes.dmi import Dmi
from boxcheck.probes.gpus import Gpu, Gpus
from boxcheck.probes.kernel import Kernel
from boxcheck.probes.links import Link, Links
from boxcheck.probes.memory import Memory
from boxcheck.probes.nvidia import Nvidia
from boxcheck.probes.nvme import Nvme
from boxcheck.probes.pcie_aer import Aer
from boxcheck.probes.rocm import Rocm
from boxcheck.probes.sensors import Sensors
from boxcheck.probes.storage import Storage
from boxcheck.profile import Profile
from boxcheck.registry import Check
from boxcheck.version import source_commit


def account_of(
    *, host: Host, facts: Facts, profile: Profile, certain: bool, why: str, checks: Sequence[Check], verdict: Verdict,
    started: float, elapsed_seconds: float, sysroot: str | None,
) -> Account:
    taken = host.time()
    who = host.who()
    links = facts.of(Links)
    judged = {check.id for check in checks} >= LINK_CHECKS
    rows = _rows(facts, profile, verdict, judged)
    began = started if isinstance(taken, Unread) else taken
    return Account(
        version=__version__, commit=source_commit(), started=began, finished=began + elapsed_seconds,
        origin=host.origin,
        live=host.live,
        root=None if isinstance(who, Unread) else who.root, box=name_of(facts),
        profile=profile if certain else None, profile_why=why, goal=profile.goal,
        checks=tuple(check.id for check in checks), verdict=verdict,
        summaries=_summaries(facts, rows if judged else (), verdict), link_rows=rows,
        links_under_load=not isinstance(links, Unread) and bool(rows) and all(
            not isinstance(link.under_load, Unread) for link in _judged_links(facts, profile)),
        facts=facts.by_name(), crashes=verdict.crashes,
        complaints=tuple(getattr(host, "complaints", ())), elapsed_seconds=elapsed_seconds, sysroot=sysroot,
    )


def _judged_links(facts: Facts, want: Profile) -> list[Link]:
    """The links of cards that answer: one that is lost cannot be put under load."""
    gpus, links = facts.of(Gpus), facts.of(Links)
    if isinstance(gpus, Unread) or isinstance(links, Unread):
        return []
    return [link for gpu, link in slot_links(gpus, links, want) if not gpu.gone]


LINK_CHECKS = frozenset({"pcie.link-width", "pcie.link-speed"})
"""Without these a row of the link table is no `ok`, whatever else was found on it."""


def _rows(facts: Facts, want: Profile, verdict: Verdict, judged: bool) -> tuple[LinkRow, ...]:
    gpus, links, aer = facts.of(Gpus), facts.of(Links), facts.of(Aer)
    if isinstance(gpus, Unread) or isinstance(links, Unread):
        return ()
    by_subject: dict[str, list[Finding]] = {}
    for finding in verdict.findings:
        if finding.subject.kind == "link" and finding.subject.bdf:
            by_subject.setdefault(finding.subject.bdf, []).append(finding)
    rows = [
        _row(gpu, link, aer if isinstance(aer, Aer) else None, by_subject.get(gpu.bdf, []), judged)
        for gpu, link in slot_links(gpus, links, want)
    ]
    return tuple(sorted(rows, key=lambda row: (row.slot is None, natural(row.slot or ""), row.bus)))


def _row(gpu: Gpu, link: Link, aer: Aer | None, findings: Sequence[Finding], judged: bool) -> LinkRow:
    loaded = link.under_load
    speed = link.speed_gts if isinstance(loaded, Unread) else loaded.speed_gts
    width = link.width if isinstance(loaded, Unread) else loaded.width
    shown_speed = "?" if speed is None or isinstance(speed, Unread) else f"{speed:.1f}"
    shown_width = f"x{width}" if isinstance(width, int) else "x?"
    demanded = [
        f"x{finding.limit.must}" if finding.check == "pcie.link-width" else f"{finding.limit.must} GT/s"
        for finding in findings
        if finding.outcome is Outcome.FAIL and finding.limit is not None and finding.limit.must is not None
        and finding.check in ("pcie.link-width", "pcie.link-speed")
    ]
    graver = worst(
        Outcome.MARGINAL if finding.outcome is Outcome.FAIL and not finding.blocker else finding.outcome
        for finding in findings)  # what is not required fails no row
    said = graver if judged or graver not in (None, Outcome.PASS, Outcome.SKIP) else None
    live = [finding.outcome for finding in findings if finding.check == "aer.live"]
    if any(outcome is not Outcome.PASS for outcome in live):
        aer = None  # zeros that nobody is known to count are not shown as zeros
    return LinkRow(
        subject=link_subject(link, gpu), slot=link.slot, gpu=str(gpu.index), bus=bus_of(gpu.bdf),
        link=f"{shown_width:>3} {shown_speed:>5} GT/s", bar=_bar(gpu), bad_tlp=_sum(link, aer, "BadTLP"),
        bad_dllp=_sum(link, aer, "BadDLLP"), replay=_sum(link, aer, "Rollover", "Timeout"),
        outcome=said.value if said else Outcome.UNKNOWN.value if judged else "", want="  ".join(demanded) or None,
    )


def _bar(gpu: Gpu) -> str:
    regions = gpu.function.regions
    if isinstance(regions, Unread):
        return "?"
    largest = max((region.size_bytes for region in regions if region.is_memory and region.index < 6), default=0)
    return size(largest) if largest else "-"


def _sum(link: Link, aer: Aer | None, *names: str) -> str:
    """Counts of both ends, `?` where neither end has counters: an unread zero is no zero."""
    total, read = 0, False
    for end in (link.downstream, link.upstream):
        counters = aer.counters.get(end.bdf) if aer and end else None
        if counters is None or isinstance(counters.correctable, Unread):
            continue
        read = True
        total += sum(counters.correctable.get(name, 0) for name in names)
    return str(total) if read else "?"


def _summaries(facts: Facts, rows: Sequence[LinkRow], verdict: Verdict) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for area, describe in _DESCRIBE.items():
        text = describe(facts)
        if text:
            found[area] = text
    if rows:
        found["pcie"] = _links(rows, all(
            finding.outcome in (Outcome.PASS, Outcome.SKIP) for finding in verdict.findings
            if area_of(finding.check) == "pcie"))
    return found


def _links(rows: Sequence[LinkRow], nothing_else: bool) -> str:
    """`nothing_else`: whether all of the area passed, what is no link of a GPU too."""
    good, unread, unjudged = (
        sum(row.outcome == word for row in rows) for word in ("pass", "unknown", "skip"))
    if good == len(rows) and not nothing_else:
        return f"{good} of {len(rows)} GPU links pass by themselves"
    if unread:  # told first: "0 as they should be" reads as so many bad ones
        bad = len(rows) - good - unread - unjudged
        text = ", ".join(filter(None, (
            f"{unread} of {len(rows)} GPU links not fully read", f"{good} as they should be" if good else "",
            f"{bad} not as {'it' if bad == 1 else 'they'} should be" if bad else "")))
    else:
        text = f"{good} of {len(rows)} GPU links as they should be"
    return f"{text}, {unjudged} not judged" if unjudged else text


def _read(value: Any) -> Any | None:
    return None if isinstance(value, Unread) else value


def _platform(facts: Facts) -> str:
    words: list[str] = []
    dmi, cpu, memory, gpus = facts.of(Dmi), facts.of(Cpu), facts.of(Memory), facts.of(Gpus)
    if isinstance(dmi, Dmi):
        board = _read(dmi.board_name) or _read(dmi.product_name)
        bios = _read(dmi.bios_version)
        words += [text for text in (board, f"BIOS {bios}" if bios else None) if text]
    if isinstance(cpu, Cpu) and _read(cpu.model):
        words.append(str(cpu.model).replace("(R)", "").replace("(TM)", ""))
    if isinstance(memory, Memory):
        modules = _read(memory.modules)
        installed = _read(memory.installed_bytes) or _read(memory.total_bytes)
        if modules:
            fitted = sum(1 for module in modules if isinstance(module.size_bytes, int) and module.size_bytes > 0)
            words.append(f"{fitted} of {len(modules)} memory modules")
        if installed:
            words.append(size(installed))
        if memory.ecc is True:
            words.append("ECC")
    if isinstance(gpus, Gpus) and gpus.unreadable is None:
        discrete = [gpu for gpu in gpus.gpus if not gpu.integrated]
        names = list(dict.fromkeys(gpu.name for gpu in discrete or gpus.gpus))
        words.append(f"{len(discrete) or len(gpus.gpus)} x {' and '.join(names)}" if names else "no GPU")
    return " · ".join(words)


def _kernel(facts: Facts) -> str:
    kernel = facts.of(Kernel)
    if not isinstance(kernel, Kernel):
        return ""
    return " · ".join(text for text in (_read(kernel.release), kernel.os_name) if text)


def _driver(facts: Facts) -> str:
    words: list[str] = []
    nvidia, amdgpu, rocm = facts.of(Nvidia), facts.of(Amdgpu), facts.of(Rocm)
    if isinstance(nvidia, Nvidia) and nvidia.loaded is True and _read(nvidia.version):
        flavour = "" if nvidia.open_module is None else " open" if nvidia.open_module else " proprietary"
        words.append(f"nvidia {nvidia.version}{flavour}")
    if isinstance(amdgpu, Amdgpu) and amdgpu.loaded is True:
        version = _read(amdgpu.version)
        words.append(f"amdgpu {version}" if version else "amdgpu of the kernel")
    if isinstance(rocm, Rocm):
        versions = list(dict.fromkeys(install.version for install in rocm.installs if install.version))
        if versions:
            words.append(f"ROCm {' and '.join(versions)}")
    return " · ".join(words)


def _storage(facts: Facts) -> str:
    words: list[str] = []
    nvme, storage = facts.of(Nvme), facts.of(Storage)
    if isinstance(nvme, Nvme) and nvme.unreadable is None and nvme.drives:
        words.append(f"{len(nvme.drives)} NVMe drive{'' if len(nvme.drives) == 1 else 's'}")
    if isinstance(storage, Storage):
        for array in _read(storage.arrays) or ():
            words.append(" ".join(text for text in (array.name, _read(array.level)) if text))
        for volume in storage.volumes:
            if not isinstance(volume.space, Unread):
                words.append(f"{size(volume.space.free_bytes)} free on {volume.path}")
    return " · ".join(words)


def _bars(facts: Facts) -> str:
    gpus = facts.of(Gpus)
    if not isinstance(gpus, Gpus):
        return ""
    shown = [_bar(gpu) for gpu in gpus.gpus if not gpu.integrated]
    return ", ".join(f"BAR {bar} on {shown.count(bar)} of {len(shown)}" for bar in dict.fromkeys(shown))


def _thermal(facts: Facts) -> str:
    sensors = facts.of(Sensors)
    if not isinstance(sensors, Sensors):
        return ""
    hottest: dict[str, float] = {}
    for chip in sensors.all():
        kind = {"amdgpu": "GPUs", "k10temp": "CPU", "coretemp": "CPU", "zenpower": "CPU", "nvme": "NVMe"}.get(chip.name)
        for reading in chip.temperatures:
            if kind and not isinstance(reading.celsius, Unread):
                hottest[kind] = max(hottest.get(kind, 0.0), reading.celsius)
    return " · ".join(f"{kind} up to {celsius:.0f} °C" for kind, celsius in hottest.items())


_DESCRIBE = {
    "platform": _platform, "kernel": _kernel, "driver": _driver, "storage": _storage, "bars": _bars,
    "thermal": _thermal,
}


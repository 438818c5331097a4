"""Processors: model, sockets, cores, threads, frequency scaling, NUMA nodes.

Reads   /proc/cpuinfo, /sys/devices/system/cpu/{present,online,smt/control,amd_pstate/status}
        /sys/devices/system/cpu/cpufreq/{boost,policy*/{scaling_governor,scaling_driver,
        scaling_max_freq,cpuinfo_max_freq,energy_performance_preference}}
        /sys/devices/system/node/node*/{cpulist,meminfo}, /proc/sys/kernel/numa_balancing           (any user)
Absent  cpufreq in virtual machines and where the firmware scales on its own; amd_pstate on other processors.
By hand lscpu; cat /sys/devices/system/cpu/cpufreq/policy0/scaling_governor; numactl -H

/proc/cpuinfo lists the processors that are online, so cores and sockets are counted over these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import msgspec

from boxcheck.decode.text import clean_text
from boxcheck.host import Host
from boxcheck.model import Unread
from boxcheck.probes.attributes import integer, numbered, parse_cpu_list
from boxcheck.registry import probe

CPU = "/sys/devices/system/cpu"
NODES = "/sys/devices/system/node"
KIB = 1024

CPUINFO_ROWS = ("processor", "model name", "physical id", "core id")


class NumaNode(msgspec.Struct, frozen=True):
    id: int
    cpus: int | Unread
    """Logical processors; 0 for a node of memory alone."""
    memory_bytes: int | Unread


class Cpuinfo(msgspec.Struct, frozen=True):
    """What /proc/cpuinfo says of the processors that are online."""

    models: tuple[str, ...]
    """Different model names, in order; in most cases one."""
    threads: int
    sockets: int | Unread
    cores: int | Unread


class Cpu(msgspec.Struct, frozen=True, kw_only=True):
    model: str | None | Unread
    """None where the kernel names none (most ARM machines). Several different ones are joined with ` + `."""
    sockets: int | Unread
    cores: int | Unread
    """Physical cores online, over all sockets."""
    threads: int | Unread
    """Logical processors online."""
    present: tuple[int, ...] | Unread
    offline: tuple[int, ...] | Unread
    """Logical processors that are there and switched off."""
    smt: str | None | Unread
    """`on`, `off`, `forceoff`, `notsupported`, `notimplemented`; None on a kernel without the control."""
    governors: Mapping[str, int] | None | Unread
    """Governor -> number of frequency domains that use it. None where the kernel does not scale frequency."""
    driver: str | None
    preference: str | None
    """energy_performance_preference: what `powersave` means under amd-pstate and intel_pstate. Different ones of
    several domains are joined with ` + `; None where that of some domain was not read."""
    amd_pstate: str | None
    """`active`, `passive`, `guided`, `disable`."""
    boost: bool | None
    capped_khz: tuple[int, int] | None | Unread = None
    """scaling_max_freq and cpuinfo_max_freq of the domain that is held down the most. None without scaling."""
    nodes: tuple[NumaNode, ...] | Unread
    numa_balancing: int | None | Unread
    """/proc/sys/kernel/numa_balancing: 0 off, 1 on, 2 tiering. None on a kernel without it."""


def parse_cpuinfo(text: str) -> Cpuinfo:
    """Counts over /proc/cpuinfo. Sockets and cores need `physical id` and `core id`, which only x86 prints."""
    models: dict[str, None] = {}
    threads = 0
    cores: set[tuple[str, str]] = set()
    sockets: set[str] = set()
    package = ""
    complete = True
    seen_package = seen_core = 0
    for line in text.splitlines():
        if not line.lstrip().startswith(CPUINFO_ROWS):
            continue  # nine rows in ten, of thousands
        name, colon, value = line.partition(":")
        if not colon:
            continue
        match name.strip():
            case "processor":
                threads += 1
            case "model name":
                models[clean_text(value, 128).strip()] = None
            case "physical id":
                package = value.strip()
                sockets.add(package)
                seen_package += 1
            case "core id":
                cores.add((package, value.strip()))
                seen_core += 1
    complete = threads > 0 and seen_package == seen_core == threads
    unread = Unread("/proc/cpuinfo does not tell sockets and cores apart", "unsupported")
    return Cpuinfo(tuple(models), threads, len(sockets) if complete else unread, len(cores) if complete else unread)


def parse_node_memory(text: str) -> int | Unread:
    """MemTotal of a node's meminfo, in bytes."""
    for line in text.splitlines():
        words = line.split()
        if "MemTotal:" in words and words[-1] == "kB" and words[-2].isdecimal() and len(words[-2]) < 16:
            return int(words[-2]) * KIB
    return Unread("the node's meminfo has no MemTotal", "malformed")


def _list(host: Host, path: str) -> tuple[int, ...] | Unread:
    text = host.text(path)
    return text if isinstance(text, Unread) else parse_cpu_list(text, path)


def _optional(host: Host, path: str) -> str | None | Unread:
    text = host.text(path)
    if isinstance(text, Unread):
        return None if text.kind == "absent" else text
    return clean_text(text, 64)


def _known(value: str | None | Unread) -> str | None:
    return None if isinstance(value, Unread) else value


def _nodes(host: Host) -> tuple[NumaNode, ...] | Unread:
    names = host.entries(NODES)
    if isinstance(names, Unread):
        return names
    found = []
    for name in numbered(names, "node"):
        cpus = _list(host, f"{NODES}/{name}/cpulist")
        memory = host.text(f"{NODES}/{name}/meminfo")
        found.append(NumaNode(
            int(name[4:]), cpus if isinstance(cpus, Unread) else len(cpus),
            memory if isinstance(memory, Unread) else parse_node_memory(memory),
        ))
    return tuple(found)


def _governors(host: Host) -> tuple[Mapping[str, int] | None | Unread, str | None]:
    """Governors with their number of domains, and the name of the first domain."""
    names = host.entries(f"{CPU}/cpufreq")
    if isinstance(names, Unread):
        return (None if names.kind == "absent" else names), None
    policies = numbered(names, "policy")
    found: Counter[str] = Counter()
    for name in policies:
        governor = host.text(f"{CPU}/cpufreq/{name}/scaling_governor")
        if isinstance(governor, Unread):
            return governor, name
        found[clean_text(governor, 32)] += 1
    return (dict(found) if policies else None), (policies[0] if policies else None)


def _preference(host: Host, governors: Mapping[str, int] | None | Unread) -> str | None:
    names = () if governors is None or isinstance(governors, Unread) else host.entries(f"{CPU}/cpufreq")
    found = [_optional(host, f"{CPU}/cpufreq/{name}/energy_performance_preference")
             for name in (() if isinstance(names, Unread) else numbered(names, "policy"))]
    if all(one is None for one in found):
        return None
    words = {"none" if one is None else one for one in found if not isinstance(one, Unread)}
    return None if any(isinstance(one, Unread) for one in found) else " + ".join(sorted(words))


def _capped(host: Host, governors: Mapping[str, int] | None | Unread) -> tuple[int, int] | None | Unread:
    if governors is None or isinstance(governors, Unread):
        return governors
    names = host.entries(f"{CPU}/cpufreq")
    worst: tuple[int, int] | None = None
    for name in () if isinstance(names, Unread) else numbered(names, "policy"):
        allowed, able = (integer(host, f"{CPU}/cpufreq/{name}/{what}_max_freq") for what in ("scaling", "cpuinfo"))
        if isinstance(allowed, Unread):
            return allowed
        if isinstance(able, Unread):
            return able
        if able <= 0 or allowed <= 0:
            return Unread(f"{CPU}/cpufreq/{name}: {allowed} of {able} kHz is no frequency", "malformed")
        if worst is None or allowed * worst[1] < worst[0] * able:
            worst = allowed, able
    return worst


@probe("cpu", Cpu)
def cpu(host: Host) -> Cpu:
    text = host.text("/proc/cpuinfo")
    info = text if isinstance(text, Unread) else parse_cpuinfo(text)
    present, online = _list(host, f"{CPU}/present"), _list(host, f"{CPU}/online")
    if online == ():  # the one that reads it is on
        online = Unread(f"{CPU}/online names no processor", "malformed")
    governors, first = _governors(host)
    policy = f"{CPU}/cpufreq/{first}"
    boost = host.text(f"{CPU}/cpufreq/boost") if first else "?"
    balancing = integer(host, "/proc/sys/kernel/numa_balancing")
    return Cpu(
        model=info if isinstance(info, Unread) else " + ".join(info.models) or None,
        sockets=info if isinstance(info, Unread) else info.sockets,
        cores=info if isinstance(info, Unread) else info.cores,
        threads=info if isinstance(info, Unread) else info.threads,
        present=present,
        offline=present if isinstance(present, Unread) else online if isinstance(online, Unread)
        else tuple(sorted(set(present) - set(online))),
        smt=_optional(host, f"{CPU}/smt/control"),
        governors=governors,
        driver=_known(_optional(host, f"{policy}/scaling_driver")) if first else None,
        preference=_preference(host, governors),
        amd_pstate=_known(_optional(host, f"{CPU}/amd_pstate/status")),
        capped_khz=_capped(host, governors),
        boost={"0": False, "1": True}.get(boost) if isinstance(boost, str) else None,
        nodes=_nodes(host),
        numa_balancing=None if isinstance(balancing, Unread) and balancing.kind == "absent" else balancing,
    )

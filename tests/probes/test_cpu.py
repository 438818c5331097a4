from __future__ import annotations

from pathlib import Path

import pytest

from boxcheck.probes.cpu import Cpu, parse_cpuinfo, parse_node_memory
from tests.probes.reading import HOSTILE, fact, kind_of, live, never_raises, tree

CPU = "/sys/devices/system/cpu"


def block(number: int, package: int, core: int, model: str = "AMD EPYC 7532 32-Core Processor") -> str:
    return (f"processor\t: {number}\nmodel name\t: {model}\nphysical id\t: {package}\nsiblings\t: 4\n"
            f"core id\t\t: {core}\nflags\t\t: fpu sse2\n")


def test_counts_sockets_cores_and_threads() -> None:
    # two sockets of two cores with two threads; core ids repeat in the second socket
    text = "\n".join(block(number, number % 4 // 2, number % 2) for number in range(8))
    info = parse_cpuinfo(text)
    assert (info.threads, info.cores, info.sockets) == (8, 4, 2)
    assert info.models == ("AMD EPYC 7532 32-Core Processor",)


def test_without_ids_sockets_and_cores_are_unread() -> None:
    info = parse_cpuinfo("processor\t: 0\nBogoMIPS\t: 50.00\n\nprocessor\t: 1\n")
    assert info.threads == 2
    assert kind_of(info.cores) == kind_of(info.sockets) == "unsupported"
    assert info.models == ()


def test_hostile_texts_end() -> None:
    never_raises(parse_cpuinfo, *HOSTILE)
    never_raises(parse_node_memory, *HOSTILE)


def test_reads_a_box(tmp_path: Path) -> None:
    cpu = fact(Cpu, tree({
        "/proc/cpuinfo": "\n".join(block(number, 0, number) for number in range(3)),
        f"{CPU}/present": "0-3", f"{CPU}/online": "0-2", f"{CPU}/smt/control": "on",
        f"{CPU}/cpufreq/boost": "1", f"{CPU}/cpufreq/policy0/scaling_governor": "performance",
        f"{CPU}/cpufreq/policy0/scaling_driver": "amd-pstate-epp",
        f"{CPU}/cpufreq/policy0/energy_performance_preference": "performance",
        f"{CPU}/cpufreq/policy1/scaling_governor": "powersave", f"{CPU}/amd_pstate/status": "active",
        f"{CPU}/cpufreq/policy1/energy_performance_preference": "performance",
        "/sys/devices/system/node/node0/cpulist": "0-2", "/sys/devices/system/node/node0/meminfo":
        "Node 0 MemTotal:       65536 kB\nNode 0 MemFree:        1 kB", "/proc/sys/kernel/numa_balancing": "1",
    }), tmp_path)
    assert cpu.model == "AMD EPYC 7532 32-Core Processor"
    assert (cpu.cores, cpu.sockets, cpu.threads) == (3, 1, 3)
    assert cpu.offline == (3,)
    assert cpu.governors == {"performance": 1, "powersave": 1}
    assert (cpu.driver, cpu.preference, cpu.amd_pstate, cpu.boost) == ("amd-pstate-epp", "performance", "active", True)
    assert isinstance(cpu.nodes, tuple)
    assert [(node.id, node.cpus, node.memory_bytes) for node in cpu.nodes] == [(0, 3, 65536 << 10)]
    assert cpu.numa_balancing == 1


def test_one_domain_that_saves_power_is_not_hidden_by_the_first(tmp_path: Path) -> None:
    made = tree({"/proc/cpuinfo": block(0, 0, 0), f"{CPU}/present": "0-1", f"{CPU}/online": "0-1"} | {
        f"{CPU}/cpufreq/policy{number}/{name}": text for number, preference in ((0, "performance"), (1, "balance_power"))
        for name, text in (("scaling_governor", "powersave"), ("energy_performance_preference", preference))})
    assert fact(Cpu, made, tmp_path).preference == "balance_power + performance"
    made.denied(f"{CPU}/cpufreq/policy1/energy_performance_preference", "input/output error", "error")
    assert fact(Cpu, made, tmp_path).preference is None
    made = tree({"/proc/cpuinfo": block(0, 0, 0), f"{CPU}/present": "0", f"{CPU}/online": "0",
                 f"{CPU}/cpufreq/policy0/scaling_governor": "powersave"})
    assert fact(Cpu, made, tmp_path).preference is None


def test_a_virtual_machine_has_no_frequency_scaling(tmp_path: Path) -> None:
    cpu = fact(Cpu, tree({"/proc/cpuinfo": block(0, 0, 0), f"{CPU}/present": "0", f"{CPU}/online": "0"}), tmp_path)
    assert cpu.governors is None
    assert cpu.smt is None
    assert cpu.numa_balancing is None
    assert kind_of(cpu.nodes) == "absent"


def test_nothing_captured_is_nothing_read(tmp_path: Path) -> None:
    cpu = fact(Cpu, tree(whole=False), tmp_path)
    values = (cpu.model, cpu.cores, cpu.sockets, cpu.threads, cpu.offline, cpu.governors, cpu.smt, cpu.nodes,
              cpu.numa_balancing)
    assert {kind_of(value) for value in values} == {"not-captured"}


def test_this_machine() -> None:
    cpu = live(Cpu)
    assert isinstance(cpu.threads, int)
    assert cpu.threads >= 1


@pytest.mark.parametrize("text", ["-1", "0"])
def test_a_frequency_that_is_none_hides_no_cap(text: str, tmp_path: Path) -> None:
    base = f"{CPU}/cpufreq/policy0"
    made = tree({"/proc/cpuinfo": block(0, 0, 0), f"{base}/scaling_governor": "performance",
                 f"{base}/scaling_max_freq": "3000000", f"{base}/cpuinfo_max_freq": text})
    assert kind_of(fact(Cpu, made, tmp_path).capped_khz) == "malformed"

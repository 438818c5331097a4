"""Cores and nodes as the kernel tells them, and workers that are kept next to their GPU."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from boxcheck.model import Unread
from boxcheck.stress.host_cores import cores, last_cache_bytes, nodes_without_cores
from boxcheck.stress.placement import place_near, placement, ranges, read_placement
from tests.stress.host_doubles import machine

GPU = "0000:41:00.0"
DEVICE = f"/sys/bus/pci/devices/{GPU}"
CPU = "/sys/devices/system/cpu"


def test_a_worker_is_kept_on_the_processors_next_to_its_gpu() -> None:
    found = read_placement(machine({f"{DEVICE}/local_cpulist": "8-15,40-47", f"{DEVICE}/numa_node": 1}), GPU, range(64))
    assert found.cpus == (*range(8, 16), *range(40, 48))
    assert found.says == "kept on 16 of 64 processors (8-15,40-47), next to 0000:41:00.0 (NUMA node 1)"


def test_only_processors_that_may_be_used_count() -> None:
    assert placement(GPU, range(8), 0, range(4, 64)).cpus == (4, 5, 6, 7)
    found = placement(GPU, range(8), 0, range(32, 64))
    assert (found.cpus, "none that is next to it may be used here" in found.says) == ((), True)


@pytest.mark.parametrize(("files", "says"), [
    ({f"{DEVICE}/local_cpulist": "0-63", f"{DEVICE}/numa_node": -1}, "each is as near to 0000:41:00.0 as any (no known NUMA node)"),
    ({f"{DEVICE}/local_cpulist": "", f"{DEVICE}/numa_node": 2}, "the kernel names none that is next to it"),
    ({f"{DEVICE}/local_cpulist": "zero"}, "is no number and no range"),
    ({"/proc/version": "x"}, "no such file"),
])
def test_where_nothing_is_known_nothing_is_changed(files: dict[str, str | int], says: str) -> None:
    found = read_placement(machine(files), GPU, range(64))
    assert found.cpus == ()
    assert found.says.startswith("left on all processors: ")
    assert says in found.says


def test_an_unread_list_says_why() -> None:
    assert placement(GPU, Unread("permission denied", "permission"), 0, range(4)).says == (
        "left on all processors: permission denied")


@pytest.mark.parametrize("bdf", [None, "card0", "0000:ff:1f.7"])
def test_it_never_raises_and_leaves_this_process_alone(bdf: str | None) -> None:
    before = os.sched_getaffinity(0)
    assert place_near(bdf).startswith("left on all processors: ")
    assert os.sched_getaffinity(0) == before


def test_it_pins_the_thread_that_asks() -> None:
    script = (
        "import os\nfrom boxcheck.stress.placement import place_near\nfrom tests.stress.host_doubles import machine\n"
        "one = min(os.sched_getaffinity(0))\n"
        f"host = machine({{'{DEVICE}/local_cpulist': one, '{DEVICE}/numa_node': 0}})\n"
        f"print(place_near('{GPU}', host))\nassert os.sched_getaffinity(0) == {{one}} or len(os.sched_getaffinity(0)) == 1\n")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ("kept on 1 of" in done.stdout) == (len(os.sched_getaffinity(0)) > 1)


def test_a_refusal_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(who: int, cpus: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    monkeypatch.setattr(os, "sched_getaffinity", lambda who: {0, 1})
    host = machine({f"{DEVICE}/local_cpulist": "1", f"{DEVICE}/numa_node": 0})
    assert place_near(GPU, host) == "left on all processors: pinning was refused (Operation not permitted)"


def test_ranges_are_written_as_the_kernel_does() -> None:
    assert ranges([0, 1, 2, 5, 7, 8]) == "0-2,5,7-8"
    assert ranges([]) == ""


# Cores.


def topology() -> dict[str, str | int]:
    """Two sockets of two cores with two threads each, a node each, and a node of memory alone."""
    files: dict[str, str | int] = {}
    for cpu in range(8):
        base = f"{CPU}/cpu{cpu}"
        files[f"{base}/topology/thread_siblings_list"] = f"{cpu % 4},{cpu % 4 + 4}"
        files[f"{base}/topology/physical_package_id"] = cpu % 4 // 2
        files[f"{base}/cache/index0/level"], files[f"{base}/cache/index0/size"] = 1, "32K"
        files[f"{base}/cache/index0/shared_cpu_list"] = f"{cpu % 4},{cpu % 4 + 4}"
        files[f"{base}/cache/index3/level"], files[f"{base}/cache/index3/size"] = 3, "16384K"
        files[f"{base}/cache/index3/shared_cpu_list"] = "0-1,4-5" if cpu % 4 < 2 else "2-3,6-7"
    files["/sys/devices/system/node/node0/cpulist"] = "0-1,4-5"
    files["/sys/devices/system/node/node1/cpulist"] = "2-3,6-7"
    files["/sys/devices/system/node/node2/cpulist"] = ""
    return files


def test_one_processor_of_each_core_is_taken() -> None:
    found = cores(machine(topology()), range(8))
    assert [(core.cpu, core.threads, core.package, core.node) for core in found] == [
        (0, (0, 4), 0, 0), (1, (1, 5), 0, 0), (2, (2, 6), 1, 1), (3, (3, 7), 1, 1)]
    part = cores(machine(topology()), (4, 5, 6))
    assert [(core.cpu, core.threads) for core in part] == [(4, (4,)), (5, (5,)), (6, (6,))]
    assert nodes_without_cores(machine(topology())) == (2,)
    assert last_cache_bytes(machine(topology()), range(8)) == 32 << 20


def test_small_cores_are_told_apart() -> None:
    found = cores(machine({**topology(), "/sys/devices/cpu_atom/cpus": "2-3,6-7"}), range(8))
    assert [core.kind for core in found] == ["", "", "efficient", "efficient"]


def test_where_the_kernel_tells_nothing_each_processor_is_a_core() -> None:
    found = cores(machine({"/proc/version": "x"}), (3, 1))
    assert [(core.cpu, core.node, core.name) for core in found] == [(1, 0, "core 1"), (3, 0, "core 3")]
    assert last_cache_bytes(machine({"/proc/version": "x"}), (1, 3)) is None

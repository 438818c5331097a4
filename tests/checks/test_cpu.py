from __future__ import annotations

from typing import Any

import msgspec
import pytest

from boxcheck.model import Unread
from boxcheck.probes.cpu import Cpu, NumaNode
from boxcheck.probes.dmi import Dmi
from tests.checks.judging import DENIED, GONE, judge, outcome

ONE_NODE = (NumaNode(0, 64, 128 << 30),)
TWO_NODES = (NumaNode(0, 32, 64 << 30), NumaNode(1, 32, 64 << 30))
HEALTHY = Cpu(
    model="AMD EPYC 7532 32-Core Processor", sockets=1, cores=32, threads=64, present=tuple(range(64)), offline=(),
    smt="on", governors={"performance": 64}, driver="acpi-cpufreq", preference=None, amd_pstate=None, boost=True,
    nodes=ONE_NODE, numa_balancing=0,
)
NO_DMI = Dmi(
    sys_vendor=None, product_name=None, board_vendor=None, board_name=None, bios_vendor=None, bios_version=None,
    bios_date=None, smbios=DENIED,
)
SAMPLE = "AMD Eng Sample: 100-000000314-04"


def cpu(**changes: Any) -> Cpu:
    return msgspec.structs.replace(HEALTHY, **changes)


@pytest.mark.parametrize(("changes", "limit", "wanted"), [
    ({}, ["AMD EPYC 75?2*"], "pass"),
    ({"model": f"{SAMPLE}_30/16_N".lower()}, [f"{SAMPLE}*", "AMD EPYC 7763*"], "pass"),
    ({}, ["AMD EPYC 7763*"], "fail"),
    ({}, {"should": ["AMD EPYC 7763*"]}, "marginal"),
    ({"model": GONE}, ["*"], "unknown"),
    ({"model": None}, ["*"], "unknown"),
    ({}, None, "skip"),
])
def test_model(changes: dict[str, Any], limit: Any, wanted: str) -> None:
    assert outcome("cpu.model", cpu(**changes), limits={"cpu.model": limit} if limit else None) == wanted


@pytest.mark.parametrize(("changes", "limit", "wanted"), [
    ({}, 32, "pass"), ({"cores": 31}, 32, "fail"), ({"cores": 16}, {"must": 8, "should": 32}, "marginal"),
    ({"cores": GONE}, 32, "unknown"), ({}, None, "skip")])
def test_cores(changes: dict[str, Any], limit: Any, wanted: str) -> None:
    assert outcome("cpu.cores", cpu(**changes), NO_DMI, limits={"cpu.cores": limit} if limit else None) == wanted


@pytest.mark.parametrize(("sockets", "wanted"), [(2, "pass"), (1, "fail"), (Unread("x", "unsupported"), "unknown")])
def test_sockets(sockets: Any, wanted: str) -> None:
    assert outcome("cpu.sockets", cpu(sockets=sockets), limits={"cpu.sockets": 2}) == wanted


@pytest.mark.parametrize(("changes", "wanted"), [
    ({}, "pass"), ({"governors": {"performance": 63, "powersave": 1}}, "marginal"),
    ({"governors": {"powersave": 64}}, "marginal"),
    ({"governors": {"powersave": 64}, "preference": "performance"}, "pass"),
    ({"governors": {"powersave": 64}, "preference": "balance_performance"}, "marginal"),
    ({"governors": None}, "skip"), ({"governors": DENIED}, "unknown")])
def test_governor(changes: dict[str, Any], wanted: str) -> None:
    assert outcome("cpu.governor", cpu(**changes), limits={"cpu.governor": {"should": ["performance"]}}) == wanted


@pytest.mark.parametrize(("changes", "wanted"), [
    ({}, "pass"), ({"offline": (63,)}, "marginal"),
    ({"offline": tuple(range(32, 64)), "smt": "off"}, "pass"),
    ({"offline": tuple(range(32, 64)), "smt": "on"}, "marginal"),
    ({"offline": tuple(range(31, 64)), "smt": "off"}, "marginal"),  # one more than SMT explains
    ({"offline": GONE}, "unknown"), ({"present": GONE}, "unknown"), ({"present": (), "offline": ()}, "unknown")])
def test_offline(changes: dict[str, Any], wanted: str) -> None:
    assert outcome("cpu.offline", cpu(**changes)) == wanted


@pytest.mark.parametrize(("changes", "wanted"), [
    ({"numa_balancing": 1}, "pass"),  # one node
    ({"numa_balancing": 1, "nodes": TWO_NODES}, "marginal"),
    ({"numa_balancing": 0, "nodes": TWO_NODES}, "pass"),
    ({"numa_balancing": None, "nodes": TWO_NODES}, "pass"),
    ({"numa_balancing": GONE, "nodes": TWO_NODES}, "unknown"),
    ({"numa_balancing": 1, "nodes": GONE}, "unknown"),
    ({"numa_balancing": 0, "nodes": GONE}, "pass")])
def test_numa_balancing(changes: dict[str, Any], wanted: str) -> None:
    assert outcome("cpu.numa-balancing", cpu(**changes), limits={"cpu.numa_balancing": {"should": 0}}) == wanted


@pytest.mark.parametrize(("model", "wanted"), [
    ("AMD EPYC 7282 16-Core Processor", "marginal"), ("AMD EPYC 7232P 8-Core Processor", "marginal"),
    ("AMD EPYC 7302 16-Core Processor", "pass"), ("AMD EPYC", "skip"),
    ("AMD RYZEN AI MAX+ 395 w/ Radeon 8060S", "skip"), (GONE, "unknown")])
def test_half_bandwidth(model: Any, wanted: str) -> None:
    assert outcome("cpu.half-bandwidth-sku", cpu(model=model)) == wanted


def test_says_holds_both_numbers() -> None:
    finding = judge("cpu.cores", cpu(cores=16), NO_DMI, limits={"cpu.cores": {"must": 24, "should": 32}})[0]
    assert finding.says == "16 cores online, profile requires 24"

"""Counters between phases: read from a tree of files, compared, and never zero where they were not read."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from boxcheck.engine.until_ber import judge_links
from boxcheck.model import Bdf, Unread
from boxcheck.profile import load_profile
from boxcheck.registry import discover, discover_stress
from boxcheck.stress.boundaries import Boundary, boundaries, in_words
from boxcheck.stress.link_ledger import Ledger
from boxcheck.stress.link_routes import LinkMap
from boxcheck.telemetry.boundary import GpuCounters, PortBits, Snapshot, difference, snapshot
from tests.telemetry.trees import amd_card, home, put

discover()
discover_stress()
GPU, PORT = Bdf("0000:43:00.0"), Bdf("0000:40:01.1")
LINK_CAP = 0x0020_0103
"""Of a root port: x16, 8 GT/s, able to tell of bandwidth changes (bit 21)."""


def config(status: int, *, port_type: int = 4, cap: int = LINK_CAP, size: int = 256) -> bytes:
    """Configuration space of a bridge with a PCI Express capability at 0x40 and this Link Status."""
    data = bytearray(256)
    data[0:4], data[6], data[0x0A:0x0C], data[0x0E], data[0x34] = b"\x22\x10\x83\x14", 0x10, b"\x04\x06", 1, 0x40
    data[0x40:0x44] = bytes((0x10, 0)) + (port_type << 4 | 2).to_bytes(2, "little")
    data[0x4C:0x50] = cap.to_bytes(4, "little")
    data[0x52:0x54] = status.to_bytes(2, "little")
    return bytes(data[:size])


def tree(root: Path, status: int = 0x1103) -> Path:
    """A card with its switch below a root port, memory with ECC, and a kernel that counts changes of links."""
    assert amd_card(root) == GPU
    put(root, f"{home(root, PORT).relative_to(root.resolve())}/config", config(status))
    for name, value in {"ce_count": 5, "ue_count": 0}.items():
        put(root, f"sys/devices/system/edac/mc/mc0/{name}", value)
    put(root, "proc/interrupts", "            CPU0   CPU1\n  41:   2   1  IR-PCI-MSI-0000:40:01.1  0-edge  PCIe bwctrl\n")
    return root


def taken(root: Path, at: float = 0.0) -> Snapshot:
    return snapshot([(GPU, "1002")], at, str(root))


def test_a_snapshot_reads_ports_cards_and_memory(tmp_path: Path) -> None:
    found = taken(tree(tmp_path))
    assert found.ports[PORT] == PortBits(managed=False, autonomous=False, notified=3)
    assert found.gpus[GPU].replays == 3
    assert found.memory == {"mc0 corrected": 5, "mc0 uncorrected": 0}
    assert msgspec.json.decode(msgspec.json.encode(found), type=Snapshot) == found


def test_what_grew_is_told_by_who_counted_it(tmp_path: Path) -> None:
    before = taken(tree(tmp_path))
    folder = home(tmp_path, PORT).relative_to(tmp_path.resolve())
    put(tmp_path, f"{folder}/config", config(0x5103))
    put(tmp_path, f"{home(tmp_path, GPU).relative_to(tmp_path.resolve())}/pcie_replay_count", 10)
    put(tmp_path, "sys/devices/system/edac/mc/mc0/ce_count", 6)
    found = difference(before, taken(tmp_path, 60.0))
    assert found.seconds == 60.0
    assert found.grown == {PORT: {"LBMS": 1}, GPU: {"replays": 7}, "mc0": {"corrected": 1}}
    assert "replays" in found.compared[GPU]


@pytest.mark.parametrize(("content", "kind"), [
    (config(0x1103, size=64), "permission"), (b"\xff" * 256, "error"), (b"\x01", "malformed")])
def test_bits_that_cannot_be_read_are_unread_and_no_zero(tmp_path: Path, content: bytes, kind: str) -> None:
    tree(tmp_path)
    put(tmp_path, f"{home(tmp_path, PORT).relative_to(tmp_path.resolve())}/config", content)
    managed = taken(tmp_path).ports[PORT].managed
    assert isinstance(managed, Unread)
    assert managed.kind == kind


@pytest.mark.parametrize("fields", [{"port_type": 5}, {"cap": 0x103}])
def test_a_port_that_cannot_tell_has_no_such_bits(tmp_path: Path, fields: dict[str, int]) -> None:
    tree(tmp_path)
    put(tmp_path, f"{home(tmp_path, PORT).relative_to(tmp_path.resolve())}/config", config(0x5103, **fields))
    assert taken(tmp_path).ports[PORT].managed is None


def of(**fields: Any) -> Snapshot:
    return Snapshot(monotonic_seconds=0.0, **fields)


def test_a_bit_that_stood_before_proves_nothing() -> None:
    standing = of(ports={PORT: PortBits(managed=True)})
    found = difference(standing, standing)
    assert found.grown == {}
    assert "LBMS" in found.unread[PORT]
    assert "LBMS" not in found.compared.get(PORT, ())


def test_a_counter_that_fell_is_told_and_counts_from_zero() -> None:
    found = difference(of(gpus={GPU: GpuCounters(replays=9)}), of(gpus={GPU: GpuCounters(replays=2)}))
    assert found.grown == {GPU: {"replays": 2}}
    assert found.anew == {GPU: ("replays",)}


@pytest.mark.parametrize(("was", "now", "why"), [
    (GpuCounters(replays=1), GpuCounters(silent="NVML is gone"), "NVML is gone"),
    (GpuCounters(replays=Unread("busy", "error")), GpuCounters(replays=1), "busy"),
    (GpuCounters(replays=1), GpuCounters(), "it was there only once")])
def test_what_was_read_once_is_unread(was: GpuCounters, now: GpuCounters, why: str) -> None:
    found = difference(of(gpus={GPU: was}), of(gpus={GPU: now}))
    assert found.grown == {}
    assert found.unread == {GPU: {"replays": why}}
    assert found.compared == {}


def test_a_gpu_without_a_counter_is_left_out() -> None:
    found = difference(of(gpus={GPU: GpuCounters()}), of(gpus={GPU: GpuCounters()}))
    assert found.unread == {}
    assert found.uncounted == (GPU,)


def test_memory_controllers_that_cannot_be_listed_are_unread_and_not_none(tmp_path: Path) -> None:
    folder = tree(tmp_path) / "sys/devices/system/edac"
    shutil.rmtree(folder)
    assert taken(tmp_path).memory == {}
    folder.mkdir()
    (folder / "mc").symlink_to("mc")
    found = taken(tmp_path)
    assert all(isinstance(count, Unread) for count in found.memory.values())
    grown = difference(found, found)
    assert grown.unread["edac"].keys() == {"corrected", "uncorrected"}
    assert in_words(grown) == "no counter grew of those that could be read both times"
    (finding,) = judge_links(Ledger(LinkMap(hops={}, ways={})), None, boundaries((
        Boundary(after="", snapshot=found), Boundary(after="copy", snapshot=found))), load_profile("generic"), [])
    assert finding.subject.bdf == GPU


def test_bytes_are_kept_apart_from_errors() -> None:
    found = difference(of(gpus={GPU: GpuCounters(sent_bytes=5)}), of(gpus={GPU: GpuCounters(sent_bytes=9)}))
    assert found.grown == {}
    assert found.bytes == {GPU: {"sent": 4}}

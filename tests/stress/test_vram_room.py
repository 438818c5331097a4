"""How much of a memory may be taken: all but a little of a GPU's own, and what the host can spare of its own."""

from __future__ import annotations

import msgspec
import pytest

from boxcheck.gpu import GpuError, GpuInfo
from boxcheck.model import Bdf
from boxcheck.stress.vram_room import GIB, MIB, Room, host_spares, own_room, shared_room
from tests.stress.vram_doubles import Machine, meminfo

APU = GpuInfo(
    backend="hip", index=0, name="Radeon 8060S", arch="gfx1151", bdf=Bdf("0000:c5:00.0"), memory_bytes=120 * GIB,
    free_bytes=119 * GIB, compute_units=40, unified=True, is_gpu=True, driver="HIP 7.2")


def _shared(free_gib: float, memory: str = "", info: GpuInfo = APU, ttm: float | None = None, **card_gib: float) -> Room:
    machine = Machine()
    base = f"/sys/bus/pci/devices/{APU.bdf}"
    machine.files |= {f"{base}/mem_info_{name}": int(gib * GIB) for name, gib in card_gib.items()}
    if memory:
        machine.files["/proc/meminfo"] = memory
    if ttm is not None:
        machine.files["/sys/module/ttm/parameters/pages_limit"] = int(ttm * GIB) // 4096
    return shared_room(info, int(free_gib * GIB), machine)  # type: ignore[arg-type]


def test_of_a_gpus_own_memory_a_fiftieth_is_left_to_the_driver_and_never_more_than_half_a_gib() -> None:
    assert own_room(8 * GIB).target_bytes == 8 * GIB - int(8 * GIB * 0.02)
    assert own_room(24 * GIB).target_bytes == 24 * GIB - int(24 * GIB * 0.02)
    assert own_room(141 * GIB).target_bytes == 141 * GIB - 512 * MIB
    assert own_room(24 * GIB).usable_bytes == 24 * GIB
    assert not own_room(24 * GIB).of_host


def test_strix_halo_leaves_the_host_a_tenth_of_its_memory() -> None:
    room = _shared(119, vram_total=0.5, vram_used=0.1, gtt_total=124, gtt_used=1, ttm=124)
    assert room.usable_bytes == pytest.approx((120.0 - 12.51) * GIB, abs=MIB)
    assert room.of_host
    assert room.words == "GTT, and what the host can spare"


def test_a_small_machine_leaves_the_host_4_gib() -> None:
    room = _shared(15, meminfo(15.2, 12.0))
    assert room.usable_bytes == 8 * GIB


def test_the_gtt_and_the_limit_of_ttm_bound_it() -> None:
    assert _shared(119, vram_total=0.5, gtt_total=62.5, gtt_used=2.5).usable_bytes == 60 * GIB
    assert _shared(119, vram_total=0.5, gtt_total=124, gtt_used=2, ttm=32).usable_bytes == 30 * GIB


def test_a_large_carve_out_is_the_gpus_own_and_costs_the_host_nothing() -> None:
    room = _shared(95.5, meminfo(31.0, 28.0), vram_total=96, vram_used=1, gtt_total=15.5, gtt_used=0)
    assert room.usable_bytes == 95 * GIB
    assert not room.of_host


def test_more_is_never_taken_than_the_driver_says_is_free() -> None:
    room = _shared(20, vram_total=0.5, gtt_total=124, gtt_used=1)
    assert room.usable_bytes == 20 * GIB
    assert room.words == ""


def test_without_amdgpu_the_hosts_need_alone_counts() -> None:
    nameless = msgspec.structs.replace(APU, bdf=None)
    assert _shared(119, info=nameless).usable_bytes == pytest.approx((120.0 - 12.51) * GIB, abs=MIB)


def test_a_host_that_has_nothing_to_spare_gives_nothing() -> None:
    assert _shared(119, meminfo(125.1, 12.0)).target_bytes == 0
    assert host_spares(Machine(__proc__meminfo=meminfo(125.1, 12.0))) < 0  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "MemTotal: 5 kB\n", "MemTotal: x kB\nMemAvailable: 5 kB\n"])
def test_a_host_whose_need_is_not_known_is_not_filled(text: str) -> None:
    with pytest.raises(GpuError, match="what the host needs is not known"):
        host_spares(Machine(__proc__meminfo=text))  # type: ignore[arg-type]

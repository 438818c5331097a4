"""gpu_metrics tables put together by offset, and what becomes of them."""

from __future__ import annotations

import random

import pytest

from boxcheck.model import Unread
from boxcheck.telemetry.gpu_metrics import GpuMetrics, counters_grown, decode
from boxcheck.telemetry.readings import Count, named
from tests.telemetry.tables import SIZES, strix, table, xtx


def decoded(data: bytes) -> GpuMetrics:
    found = decode(data)
    assert isinstance(found, GpuMetrics), found
    return found


def test_a_card_is_read_field_by_field() -> None:
    found = decoded(xtx(hbm1=0, vrgfx=70))
    assert (found.revision, found.of_socket, found.power_watts) == ("v1.3", False, 327)
    assert {one.name: one.value for one in found.temperatures_celsius} == {
        "edge": 62, "junction": 81, "mem": 74, "regulator gfx": 70}
    assert {one.name: one.value for one in found.clocks_mhz} == {
        "gfx": 2402, "gfx average": 2391, "mem": 1249, "soc": 1200}
    assert (found.busy_percent, found.memory_busy_percent, found.fan_rpm) == (99, 41, 1510)
    assert (found.pcie_width, found.pcie_speed_gts) == (16, 16.0)
    assert {one.name: one.value for one in found.voltages_volts} == {"gfx": 0.912, "soc": 0.88, "mem": 1.32}
    assert (found.throttle_status, found.indep_throttle_status, found.throttle_counters) == (0, 0, ())


@pytest.mark.parametrize("revision", ["1.0", "1.1", "1.2", "1.3"])
def test_all_tables_of_cards_hold_the_same_in_their_places(revision: str) -> None:
    found = decoded(table(revision, edge=55, hotspot=66, mem=77, power=200, gfx_busy=50, gfx=2100, uclk=1000, fan=900,
                          throttle=5, width=8, speed=80))
    assert [one.value for one in found.temperatures_celsius] == [55, 66, 77]
    assert (found.power_watts, found.busy_percent, found.fan_rpm) == (200, 50, 900)
    assert (named(found.clocks_mhz, "gfx"), named(found.clocks_mhz, "mem")) == (2100, 1000)
    assert (found.throttle_status, found.pcie_width, found.pcie_speed_gts) == (5, 8, 8.0)


@pytest.mark.parametrize("revision", ["2.0", "2.1", "2.2", "2.3", "2.4"])
def test_tables_of_processors_count_in_hundredths_and_milliwatts(revision: str) -> None:
    found = decoded(table(revision, gfx_temp=5125, soc_temp=4800, core0=6100, core7=7350, gfx_busy=8750, power=14_500,
                          gfx_power=9_250, gfx=1600, uclk=3200, throttle=0))
    assert {one.name: one.value for one in found.temperatures_celsius} == {"edge": 51.25, "soc": 48.0, "cpu": 73.5}
    assert (found.power_watts, found.of_socket, found.busy_percent) == (14.5, True, 87.5)
    assert named(found.power_parts_watts, "gfx") == 9.25
    assert (named(found.clocks_mhz, "gfx"), named(found.clocks_mhz, "mem")) == (1600, 3200)
    assert found.fan_rpm is None


def test_a_socket_power_in_watts_is_not_taken_for_milliwatts() -> None:
    assert decoded(table("2.2", power=42)).power_watts == 42.0
    assert isinstance(decoded(table("2.2", power=280)).power_watts, Unread)
    assert decoded(table("2.3", power=280)).power_watts == 0.28


def test_the_table_of_strix_halo_has_the_parts_of_its_power_and_counters() -> None:
    found = decoded(strix(prochot=7, thm_soc=2))
    assert (found.revision, found.of_socket, found.power_watts) == ("v3.0", True, 119.5)
    assert {one.name: one.value for one in found.power_parts_watts} == {"gfx": 84.25, "cpu": 9.125}
    assert {one.name: one.value for one in found.temperatures_celsius} == {"edge": 68.5, "soc": 63.12, "cpu": 71.23}
    assert {one.name: one.value for one in found.clocks_mhz} == {
        "gfx": 2785, "mem": 1000, "soc": 1103, "fabric": 2000, "gfx limit": 2900}
    assert found.busy_percent == 98.4
    assert {one.name: one.count for one in found.throttle_counters} == {
        "prochot": 7, "spl": 0, "fppt": 0, "sppt": 0, "thm_core": 0, "thm_gfx": 0, "thm_soc": 2}


@pytest.mark.parametrize("revision", sorted(SIZES))
def test_a_field_of_all_ones_is_absent_and_never_a_number(revision: str) -> None:
    first = "edge" if revision.startswith("1") else "gfx_temp"
    found = decoded(table(revision, **{first: 50 if first == "edge" else 5000}))
    assert found.power_watts is found.busy_percent is found.fan_rpm is None
    assert found.pcie_speed_gts is found.pcie_width is found.throttle_status is found.indep_throttle_status is None
    assert [one.name for one in found.temperatures_celsius] == ["edge"]
    assert found.clocks_mhz == found.voltages_volts == found.power_parts_watts == found.throttle_counters == ()


def test_the_energy_counter_of_cards_is_not_taken_since_its_unit_is_not_known() -> None:
    assert not any("energy" in name for name in GpuMetrics.__struct_fields__)


@pytest.mark.parametrize(("data", "word"), [
    (b"", "0 bytes"), (b"\x78\x00\x01", "3 bytes"), (xtx()[:100], "100 were read"), (xtx() + b"\0" * 8, "128 were read"),
    (b"\x68\x00" + xtx()[2:], "header says 104"), (xtx()[:2] + b"\x01\x05" + xtx()[4:], "v1.5 is not known"),
    (xtx()[:2] + b"\x04\x00" + xtx()[4:], "v4.0 is not known"), (b"\xff" * 120, "v255.255 is not known"),
    (table("1.3"), "all ones"), (xtx()[:2] + b"\x03\x00" + xtx()[4:], "v3.0 has 264 bytes"),
])
def test_bytes_that_are_no_known_table_are_one_sentence(data: bytes, word: str) -> None:
    found = decode(data)
    assert isinstance(found, Unread)
    assert word in found.why


def test_numbers_that_cannot_be_are_not_believed() -> None:
    found = decoded(xtx(hotspot=0, mem=200, gfx_busy=101, power=0, width=5, speed=7))
    assert [isinstance(one.value, Unread) for one in found.temperatures_celsius] == [False, True, True]
    for value in (found.busy_percent, found.power_watts, found.pcie_width, found.pcie_speed_gts):
        assert isinstance(value, Unread)


@pytest.mark.parametrize(("code", "speed"), [(1, 2.5), (4, 16.0), (25, 2.5), (50, 5.0), (80, 8.0), (320, 32.0)])
def test_a_link_speed_is_read_as_tenths_and_as_a_generation(code: int, speed: float) -> None:
    assert decoded(xtx(speed=code)).pcie_speed_gts == speed


def test_random_bytes_never_raise() -> None:
    chance = random.Random(7)
    for _ in range(2000):
        revision = chance.choice(sorted(SIZES))
        data = table(revision)[:4] + chance.randbytes(SIZES[revision] - 4)
        assert isinstance(decode(data), GpuMetrics)
        decode(chance.randbytes(chance.randrange(300)))


def counts(*values: int) -> tuple[Count, ...]:
    return tuple(Count(name, value) for name, value in zip(("prochot", "spl"), values, strict=True))


def test_counters_tell_what_grew_since_the_reading_before() -> None:
    assert counters_grown(counts(5, 9), counts(5, 9)) == ()
    assert counters_grown(counts(5, 9), counts(6, 9)) == ("prochot",)
    assert counters_grown(counts(5, 0xFFFF_FFFE), counts(6, 3)) == ("prochot", "spl")
    for before in (None, counts(5, 9)[:1]):
        found = counters_grown(before, counts(5, 9))
        assert isinstance(found, Unread)
        assert found.kind == "one-reading"


def test_counters_that_start_anew_are_not_taken_for_an_overflow() -> None:
    assert isinstance(counters_grown(counts(50_000, 9), counts(12, 9)), Unread)

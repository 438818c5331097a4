"""Readings and samples come back as they were, also odd ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from boxcheck.model import Bdf, Unread
from boxcheck.store.blocks import inflated, pack_block, unpack_block
from boxcheck.store.cells import Record, Records
from boxcheck.store.rebuild import Rows, Stream, readings_of
from boxcheck.store.samples import Samples
from boxcheck.stress import Sample, WrongWord
from boxcheck.telemetry.readings import (
    Clocks,
    Count,
    GpuReading,
    GpuSilent,
    HostReading,
    LinkReading,
    Named,
    Pcie,
    Reading,
)
from boxcheck.telemetry.throttle import nvml_reasons
from tests.store.machine import Machine

GPU = Bdf("0000:41:00.0")
WHY = Unread("permission denied", "permission")
EVERYTHING = GpuReading(
    bdf=GPU, monotonic_seconds=5.0, power_watts=0.0, power_instant_watts=WHY, power_of="socket",
    power_parts_watts=(Named("gfx", 1.5), Named("cpu", WHY)), power_limit_watts=450.0, energy_joules=1e9,
    temperatures_celsius=(Named("core", 55.0), Named("mem/odd name", 60.125)), clocks_mhz=WHY,
    throttle=nvml_reasons(0x44), throttle_bits=(1 << 64) - 1, throttle_counters=(Count("power", 1 << 63),),
    busy_percent=0.0, memory_busy_percent=WHY, memory_used_bytes=0, memory_total_bytes=1 << 40, fan_rpm=WHY,
    voltages_volts=(Named("in0", 0.9), Named("in0", 0.95)), performance_state=0,
    pcie=Pcie(speed_gts=32.0, width=WHY, replays=0, received_bytes=(1 << 64) - 1, errors=(Count("bad TLPs", WHY),)),
    memory_errors=WHY, unread=(WHY, Unread("no table", "absent")))
ODD: tuple[Reading, ...] = (
    EVERYTHING,
    GpuReading(bdf=GPU, monotonic_seconds=5.0),
    GpuReading(bdf=GPU, monotonic_seconds=5.0, throttle=(), power_watts=float("inf"), temperatures_celsius=WHY),
    GpuReading(bdf=GPU, monotonic_seconds=5.0, throttle=WHY, throttle_bits=0, pcie=Pcie(errors=WHY)),
    GpuSilent(bdf=GPU, monotonic_seconds=5.0, state="lost", why=Unread("gone: Gerät \\ \"1\"", "error")),
    LinkReading(bdf=GPU, monotonic_seconds=5.0, speed_gts=None, width=None, correctable=None, nonfatal=(), fatal=WHY),
    LinkReading(bdf=GPU, monotonic_seconds=5.0, speed_gts=WHY, width=63, correctable=(Count("BadTLP", 0),),
                nonfatal=WHY, fatal=None, gone=True),
    HostReading(
        monotonic_seconds=5.0, cpu_power_watts=(), cpu_clocks=None, cpu_temperatures_celsius=WHY,
        cpu_busy_percent=WHY, memory_available_bytes=0, memory_total_bytes=WHY, core_throttles=None,
        package_throttles=()),
    HostReading(
        monotonic_seconds=5.0, cpu_power_watts=(Named("package-0", 0.1),), cpu_clocks=Clocks(1.5, 2.5, 3.5, 4),
        cpu_temperatures_celsius=(), cpu_busy_percent=3.3, memory_available_bytes=1, memory_total_bytes=2,
        core_throttles=0, package_throttles=(Count("0", 3),)),
)


def through(records: Sequence[Record]) -> Rows:
    """Records of one stream as they are read back."""
    first = records[0]
    assert all(one.columns == first.columns and one.subject == first.subject for one in records)
    constants, others = unpack_block(inflated(pack_block(list(zip(*(one.cells for one in records), strict=True)))))
    return Rows(
        Stream(1, first.kind, first.subject, first.columns), 1, list(range(len(records))),
        [round(one.monotonic_seconds * 1000) for one in records], 0, constants, others, {})


@pytest.mark.parametrize("reading", ODD, ids=lambda one: type(one).__name__)
def test_a_reading_comes_back_as_it_was(reading: Reading) -> None:
    (record,) = Records().of_readings([reading])
    for rows in (through([record]), through([record, record, record])):
        for _, found in readings_of(rows):
            assert found == reading
            assert typed(found) == typed(reading), "an int stays an int, a float a float, Unread its kind"


def typed(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return (type(value).__name__, *(typed(getattr(value, name)) for name in value.__struct_fields__))
    return [typed(one) for one in value] if isinstance(value, tuple) else (type(value).__name__, value)


def test_what_is_absent_has_no_column_and_what_is_zero_has_one() -> None:
    nothing, zero = (Records().of_readings([one])[0] for one in (
        GpuReading(bdf=GPU, monotonic_seconds=1.0),
        GpuReading(bdf=GPU, monotonic_seconds=1.0, power_watts=0.0, fan_rpm=0)))
    assert nothing.columns == ()
    assert dict(zip(zero.columns, zero.cells, strict=True)) == {"power_watts": 0.0, "fan_rpm": 0}


def test_numbers_that_come_and_go_within_a_minute_stay_apart() -> None:
    """A sensor that answers, fails, answers: the failure is no number."""
    values = (55.0, WHY, 0.0, Unread("timeout", "timeout"), 55.0)
    records = [
        Records().of_readings([GpuReading(bdf=GPU, monotonic_seconds=1.0, power_watts=value)])[0] for value in values]
    assert [one.power_watts for _, one in readings_of(through(records)) if isinstance(one, GpuReading)] == list(values)


@pytest.mark.parametrize("vendor", ["nvidia", "amd"])
def test_a_minute_of_a_machine_comes_back(vendor: str) -> None:
    machine, records, said = Machine(1, vendor=vendor), Records(), list[Reading]()
    by_kind: dict[tuple[str, tuple[str, ...]], list[Record]] = {}
    for second in range(60):
        if second == 30:
            machine.errors["0000:41:00.0"] = 3
        told = tuple(
            msgspec.structs.replace(one, monotonic_seconds=float(second)) for one in machine.told_by(0, second))
        said += told
        for record in records.of_readings(told):
            by_kind.setdefault((record.kind, record.columns), []).append(record)
    found = [reading for some in by_kind.values() for _, reading in readings_of(through(some))]
    assert sorted(map(repr, found)) == sorted(map(repr, said))


SAMPLES = (
    Sample(what="vram.walk", gpu="hip:0", seconds=0.5, checked=1 << 40, wrong=3, words=(
        WrongWord(index=7, expected=0xFFFF_FFFF, found=0, again=1, where="address 0x1c", kind="one bit"),)),
    Sample(what="copy", gpu="cuda:0", peer="host", seconds=1.0, value=25.0, unit="GB/s", checked=5, of="bytes", wrong=0,
           moved={"host>cuda:0": 1 << 33, "cuda:0>host": 0}, notes={"rounds": 8, "part": 0.5, "says": "fine"}),
    Sample(what="copy", gpu="cuda:0", seconds=1e-9, value=float("inf"), checked=1 << 63, wrong=0,
           notes={"": "", "product": 1, "odd/name": 1.0, "kernel": "naïve ☠"}),
)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda one: one.what)
def test_a_sample_comes_back_as_it_was(sample: Sample) -> None:
    record = Records().of_sample(sample, 3, 1.0)
    for count in (1, 4):
        made = Samples()
        rows = through([record] * count)
        assert made.of(rows) == [sample] * count
        assert typed_notes(made.of(rows)[0]) == typed_notes(sample)
        assert made.head(rows.stream).worker == 3


def typed_notes(sample: Sample) -> list[tuple[str, type]]:
    return [(name, type(value)) for name, value in sample.notes.items()]


def test_notes_that_differ_each_time_make_no_streams_without_end() -> None:
    records, machine = Records(), Machine(1)
    made = [
        msgspec.structs.replace(machine.sample(0), notes={"found": f"{number:016x}", "round": number % 2 or 0.0})
        for number in range(300)]
    streams: dict[tuple[str, tuple[str, ...]], list[tuple[Sample, Record]]] = {}
    for sample in made:
        record = records.of_sample(sample, 0, 1.0)
        streams.setdefault((record.subject, record.columns), []).append((sample, record))
    assert len(streams) < 20
    for some in streams.values():
        found = Samples().of(through([record for _, record in some]))
        assert found == [sample for sample, _ in some]
        assert [typed_notes(one) for one in found] == [typed_notes(one) for one, _ in some]


def test_text_that_no_file_can_hold_is_mended() -> None:
    silent = GpuSilent(bdf=GPU, monotonic_seconds=1.0, state="unread", why=Unread("bad \udcff byte"))
    (record,) = Records().of_readings([silent])
    ((_, found),) = readings_of(through([record]))
    assert isinstance(found, GpuSilent)
    assert found.why.why == "bad ? byte"

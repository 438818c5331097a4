"""Series for plots, in one pass: the same as one by one."""

from __future__ import annotations

import msgspec
import pytest

from boxcheck.model import Unread
from boxcheck.store.creating import create_run
from boxcheck.store.database import Database
from boxcheck.store.reader import RunReader
from boxcheck.store.rows import RunInfo
from boxcheck.store.series import Rate, Series, rates_by_kind, several_of
from boxcheck.stress import Sample
from tests.store.machine import HandClock, Machine

INFO = RunInfo(kind="burn", version="0")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Machine]:
    """Two cards that multiply, then copy, alone and both at once; the last records are not folded yet."""
    hand, machine = HandClock(), Machine(2, vendor="amd")
    store = create_run(str(tmp_path_factory.mktemp("store")), INFO, clock=hand.clock())
    for second in range(150):
        hand.pass_by(1)
        for number, info in enumerate(machine.gpus):
            store.watched(1, machine.told_by(number, hand.monotonic))
            if second < 70:
                store.sample(1, machine.sample(number), worker=number)
                continue
            together = "yes" if second % 2 else "no"
            for what, rate in (("copy.host-to-device.pinned", 26.0), ("copy.device-to-host.pinned", 25.0)):
                store.sample(2, Sample(
                    what=what, gpu=info.key, peer="host", seconds=0.1, value=rate + second / 1000, unit="GB/s", checked=1,
                    of="bytes", wrong=0, notes={"together": together, "word": f"w{second}"}), worker=number)
        store.sample(1, Sample(what="matmul.bf16.exact", gpu="hip:0", seconds=0.1, checked=1, wrong=0), worker=0)
        if second % 10 == 0:
            store.flush()
    store.flush()
    store.close()
    return store.path, machine


def samples_of(run: RunReader, what: str, gpu: str) -> Series:
    """The same, from the samples put together whole."""
    found = [(one.seconds, one.sample.value) for one in run.samples() if (one.sample.what, one.sample.gpu) == (what, gpu)]
    return Series([seconds for seconds, _ in found], [value for _, value in found if value is not None])


def test_rates_of_each_kind_are_those_of_its_samples(store: tuple[str, Machine]) -> None:
    with RunReader(store[0]) as run:
        found = rates_by_kind(run, "hip:1")
        assert [(one.what, one.together, one.unit) for one in found] == [
            ("matmul.bf16.power", False, "TFLOPS"), ("copy.host-to-device.pinned", False, "GB/s"),
            ("copy.device-to-host.pinned", False, "GB/s"), ("copy.host-to-device.pinned", True, "GB/s"),
            ("copy.device-to-host.pinned", True, "GB/s")]
        power = found[Rate("matmul.bf16.power", False, "TFLOPS")]
        assert power == samples_of(run, "matmul.bf16.power", "hip:1")
        alone, both = (
            found[Rate("copy.host-to-device.pinned", together, "GB/s")] for together in (False, True))
        every = samples_of(run, "copy.host-to-device.pinned", "hip:1")
        assert sorted(zip((*alone.seconds, *both.seconds), (*alone.values, *both.values), strict=True)) == list(
            zip(every.seconds, every.values, strict=True))
        assert all(round(second) % 2 == 1 for second in alone.seconds)  # the first second of the run is its first
        assert rates_by_kind(run, "hip:7") == {}


def test_columns_in_one_pass_are_those_one_by_one(store: tuple[str, Machine]) -> None:
    path, machine = store
    names = ["temperatures_celsius/edge", "temperatures_celsius/junction", "power_watts", "power_instant_watts",
             "clocks_mhz/gfx", "throttle_bits"]
    with RunReader(path) as run:
        found = several_of(run, machine.bdfs[1], [*names, "nothing"])
        assert list(found) != []
        assert set(found) == set(names)
        for name in names:
            assert {name: found[name]} == several_of(run, machine.bdfs[1], [name])
        assert isinstance(found["power_instant_watts"].values[0], Unread)


def test_what_is_not_asked_for_is_not_unpacked(store: tuple[str, Machine], monkeypatch: pytest.MonkeyPatch) -> None:
    """A day has two million samples."""
    unpacked: list[int] = []
    real = Database._of_block

    def of_block(self: Database, row: tuple[object, ...], plain: bytes) -> object:
        unpacked.append(row[3])  # type: ignore[arg-type]
        return real(self, row, plain)

    monkeypatch.setattr(Database, "_of_block", of_block)
    with RunReader(store[0]) as run:
        rates_by_kind(run, "hip:1")
        streams = run.database.streams()
    assert unpacked
    assert {msgspec.json.decode(streams[number].subject)["gpu"] for number in unpacked} == {"hip:1"}

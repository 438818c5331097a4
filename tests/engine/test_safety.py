"""Stop limits: the defaults, a profile's own, what it takes to cross one, and that load ends in time everywhere."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from boxcheck.engine.guard import Looker, Order
from boxcheck.engine.guarding import Guarding
from boxcheck.engine.modules import Wanted, run_together
from boxcheck.engine.safety import DEFAULTS, IN_A_ROW, Guard, Limits, in_words, limits_of
from boxcheck.engine.supervise import list_devices
from boxcheck.gpu import GpuInfo
from boxcheck.model import BOX, Bdf, Limit, Outcome, Unread
from boxcheck.profile import GpuPart, GpusWanted, Profile, ProfileError, load_profile
from boxcheck.registry import LIMITS, STRESSES, discover, discover_stress
from boxcheck.stress import StressResults, safety_checks
from boxcheck.stress.judging import completed
from boxcheck.stress.safety import Near, Safety, SafetyStop
from boxcheck.telemetry.readings import GpuReading, HostReading, Named, Reading
from boxcheck.telemetry.supply import SupplyReading
from tests.telemetry.tables import xtx
from tests.telemetry.trees import amd_card, home, put

discover()
discover_stress()
GPU = Bdf("0000:43:00.0")
PLAIN = Profile(name="plain", revision=1, title="no limits")


def gpu(at: float = 1.0, watts: float | None = None, kept: float | None = None, **celsius: float) -> GpuReading:
    return GpuReading(
        bdf=GPU, monotonic_seconds=at, power_watts=watts, power_limit_watts=kept, power_of="card",
        temperatures_celsius=tuple(Named(name, value) for name, value in celsius.items()))


def processor(celsius: float | Unread, at: float = 1.0) -> HostReading:
    no = Unread("not asked", "unsupported")
    return HostReading(
        monotonic_seconds=at, cpu_power_watts=(), cpu_clocks=None, cpu_temperatures_celsius=(Named("Tctl", celsius),),
        cpu_busy_percent=no, memory_available_bytes=no, memory_total_bytes=no, core_throttles=None, package_throttles=())


def supply(watts: float | Unread = 900.0, volts: float | Unread = 12.0) -> SupplyReading:
    return SupplyReading(watts=(Named("hwmon7", watts),), twelve_volts=(Named("v_out +12v hwmon7", volts),))


def limits(**values: float) -> Limits:
    return limits_of(msgspec.structs.replace(PLAIN, limits={
        name: Limit(name, LIMITS[name].compare, must=value, unit=LIMITS[name].unit, source="a test")
        for name, value in ((f"{key.replace('__', '.')}", value) for key, value in values.items())}))


@pytest.mark.parametrize(("name", "celsius", "stops"), [
    ("core", 100.0, False), ("core", 100.5, True), ("edge", 101.0, True), ("junction", 110.0, False),
    ("junction", 111.0, True), ("mem", 111.0, True), ("soc", 140.0, False)])
def test_heat_of_a_gpu_stops_a_run_with_one_reading(name: str, celsius: float, stops: bool) -> None:
    stop = Guard(Limits()).see("a", [gpu(**{name: celsius})])
    assert (stop is not None) == stops
    if stop is not None:
        assert (stop.subject, stop.sensor, stop.value, stop.readings) == (GPU, name, celsius, (celsius,))
        assert stop.source == DEFAULTS[stop.limit].source


ROWS: dict[str, tuple[Limits, Any, Any]] = {
    "safety.cpu_celsius": (Limits(), processor(105.0), processor(105.5)),
    "safety.gpu_watts": (Limits(), gpu(watts=500.0, kept=400.0), gpu(watts=500.5, kept=400.0)),
    "safety.gpus_watts": (limits(power__supply_watts=1000, power__cpu_watts=300), gpu(watts=700.0), gpu(watts=701.0)),
    "safety.supply_watts": (limits(power__mains_watts=1440), supply(1440.0), supply(1441.0)),
    "safety.rail_volts": (Limits(), supply(volts=11.4), supply(volts=11.3)),
}


@pytest.mark.parametrize("name", ROWS)
def test_power_and_the_processor_stop_a_run_with_two_readings_in_a_row(name: str) -> None:
    held, good, bad = ROWS[name]
    guard = Guard(held)

    def see(reader: str, what: Any) -> SafetyStop | None:
        if isinstance(what, SupplyReading):
            return guard.see(reader, [], what)
        return guard.see(reader, [what])

    assert see("a", bad) is None
    assert guard.pending
    assert see("b", bad) is None  # another reader's row is its own
    assert see("a", good) is None
    assert see("a", bad) is None
    stop = see("a", bad)
    assert stop is not None
    assert (stop.limit, len(stop.readings)) == (name, IN_A_ROW[name])


def test_what_was_not_read_stops_nothing_and_is_no_reading_between_two() -> None:
    guard = Guard(Limits())
    assert guard.see("a", [processor(106.0)]) is None
    assert guard.see("a", [processor(Unread("no", "error"))]) is None
    assert guard.see("a", [processor(106.0)]) is not None
    assert Guard(Limits()).see("a", [gpu(core=90)], supply(Unread("no", "error"), Unread("no", "error"))) is None


def test_power_of_all_gpus_is_added_up_where_they_are_read_together() -> None:
    readings: list[Reading] = [
        gpu(watts=600.0), msgspec.structs.replace(gpu(watts=500.0), bdf=Bdf("0000:44:00.0"))]
    guard = Guard(limits(safety__gpus_watts=1000))
    assert guard.see("a", readings) is None
    stop = guard.see("a", readings)
    assert stop is not None
    assert (stop.subject, stop.value) == ("all GPUs", 1100.0)


def test_a_card_whose_driver_tells_no_limit_is_held_against_its_board_power() -> None:
    card = GpuPart(key="x", name="X", pci_ids=("10de:1",), board_power_watts=400.0)
    guard = Guard(limits_of(msgspec.structs.replace(PLAIN, gpus=GpusWanted(parts=(card,), count=1))))
    assert guard.see("a", [gpu(watts=501.0)]) is None
    assert guard.see("a", [gpu(watts=501.0)]) is not None
    shared = msgspec.structs.replace(gpu(watts=9999.0), power_of="socket")
    alone = Guard(Limits(board_watts=400.0))
    assert (alone.see("a", [shared]), alone.see("a", [shared])) == (None, None)


@pytest.mark.parametrize(("celsius", "stops"), [(100.6, False), (105.0, False), (105.5, True)])
def test_a_gpu_in_the_processors_package_is_not_stopped_where_it_throttles(celsius: float, stops: bool) -> None:
    through_a_pipe = msgspec.json.decode(msgspec.json.encode(Limits()), type=Limits)
    for held in (Limits(), through_a_pipe, limits_of(load_profile("strix-halo"))):
        shared = msgspec.structs.replace(gpu(edge=celsius), power_of="socket")
        found = Guard(held).see("a", [shared])
        assert (found is not None) is stops
        assert found is None or (found.bound == 105.0 and "throttle" in found.source)
    assert Guard(limits(safety__gpu_celsius=90)).see("a", [shared]) is not None
    assert (Guard(Limits()).see("a", [gpu(edge=celsius)]) is not None) is True


def test_every_limit_has_a_default_or_follows_from_the_box() -> None:
    assert set(IN_A_ROW) == set(safety_checks.STOPS)
    green = load_profile("tinybox-green")
    assert set(limits_of(green).stops) >= set(safety_checks.STOPS) - {"safety.gpu_watts"}
    assert all(stop.source for stop in limits_of(green).stops.values())
    told = "\n".join(in_words(limits_of(PLAIN)))
    assert "safety.gpu_celsius: above 100 °C" in told
    assert "safety.gpu_watts: 1.25 times" in told


@pytest.mark.parametrize("name", [path.stem for path in Path("profiles").glob("*.toml") if path.stem != "gpus"])
def test_no_shipped_box_is_stopped_by_what_it_is_built_for(name: str) -> None:
    """All cards at their board power, the processor at its own: below each limit."""
    want = load_profile(name)
    stops = limits_of(want).stops
    boards = max((part.board_power_watts or 0.0 for part in want.gpus.parts), default=0.0) * (want.gpus.count or 1)
    assert boards <= stops["safety.gpus_watts"].bound if "safety.gpus_watts" in stops else True


def test_a_profile_may_move_a_limit_and_it_is_said() -> None:
    held = limits(safety__gpu_celsius=105)
    assert held.stops["safety.gpu_celsius"].default == 100.0
    assert any("weaker than 100: a test" in line for line in in_words(held))
    assert Guard(held).see("a", [gpu(core=104.0)]) is None
    strict = limits(safety__gpu_celsius=80)
    assert any("stricter than 100" in line for line in in_words(strict))
    assert Guard(strict).see("a", [gpu(core=81.0)]) is not None


@pytest.mark.parametrize(("text", "says"), [
    ("gpu_celsius = 500", "possible is 60 to 110"), ("gpu_celsius = 0", "possible is"), ("gpu = 90", "is not a limit"),
    ("cpu_celsius = 110", "has no source")])
def test_a_profile_cannot_switch_a_limit_off_or_move_it_without_a_source(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "own.toml"
    file.write_text(f'name = "own"\nrevision = 1\ntitle = "x"\n[safety]\n{text}\n')
    with pytest.raises(ProfileError, match=says):
        load_profile(str(file))


def test_a_wish_alone_leaves_the_default() -> None:
    wished = Limit("safety.gpu_celsius", "le", should=70.0, unit="°C", source="a test")
    held = limits_of(msgspec.structs.replace(PLAIN, limits={wished.name: wished}))
    assert held.stops["safety.gpu_celsius"] == DEFAULTS["safety.gpu_celsius"]


# Judged.

INFO = GpuInfo(
    backend="cuda", index=0, name="RTX 4090", arch="sm_89", bdf=GPU, memory_bytes=1, free_bytes=1, compute_units=1,
    unified=False, is_gpu=True, driver="test")
STOP = SafetyStop(
    limit="safety.cpu_celsius", subject="processor", sensor="Tctl", value=106.0, bound=105.0, unit="°C", source="a test",
    readings=(106.5, 106.0), monotonic_seconds=12.0, wall=1.0)


def judged(safety: Safety | None) -> Any:
    results = StressResults(
        module="matmul", gpus=(INFO,), samples=(), troubles=(), ended=("cuda:0",), safety=safety)
    (finding,) = safety_checks.safety(results, PLAIN)
    return finding


def test_the_reading_that_stopped_a_run_is_in_the_finding() -> None:
    finding = judged(Safety(stop=STOP, ended_after_seconds=0.8))
    assert finding.outcome is Outcome.FAIL
    assert finding.cause == "safety-stop:processor"
    assert finding.measured.value == 106.0
    assert (finding.limit.name, finding.limit.must, finding.limit.source) == ("safety.cpu_celsius", 105.0, "a test")
    assert "Tctl at 106 °C, above 105 °C in 2 readings; the load ended 0.8 s" in finding.says
    assert "106.5, 106 °C" in finding.notes[0]
    assert "12.000 s" in finding.notes[1]


def test_a_stop_by_a_gpu_is_one_problem_with_its_temperature() -> None:
    heat = msgspec.structs.replace(STOP, limit="safety.gpu_celsius", subject=GPU, sensor="core")
    finding = judged(Safety(stop=heat))
    assert finding.cause == f"safety-stop:{GPU}"
    assert finding.subject.bdf == GPU


@pytest.mark.parametrize("safety", [None, Safety(), Safety(silent="it ended")])
def test_where_nothing_was_read_nothing_is_passed(safety: Safety | None) -> None:
    assert judged(safety).outcome is Outcome.UNKNOWN


def test_processors_that_show_no_sensor_are_skipped_and_not_passed() -> None:
    alone = msgspec.structs.replace(INFO, backend="cpu", is_gpu=False)
    for told, outcome in ((Safety(), Outcome.SKIP), (Safety(silent="it ended"), Outcome.UNKNOWN), (None, Outcome.UNKNOWN)):
        results = StressResults(
            module="cpu", gpus=(alone,), samples=(), troubles=(), ended=("cpu:0",), safety=told)
        (finding,) = safety_checks.safety(results, PLAIN)
        assert finding.outcome is outcome


def test_where_nobody_looked_for_a_while_it_is_unknown() -> None:
    near = Near(subject=GPU, sensor="core", value=81.0, bound=100.0, source="a test")
    results = StressResults(module="matmul", gpus=(INFO,), samples=(), troubles=(), ended=("cuda:0",), safety=Safety(
        nearest={"safety.gpu_celsius": near}, silent="it ended"))
    assert [one.outcome for one in safety_checks.safety(results, PLAIN)] == [Outcome.UNKNOWN, Outcome.PASS]


def test_a_run_below_all_limits_passes_and_says_how_near_it_came() -> None:
    finding = judged(Safety(nearest={"safety.gpu_celsius": Near(
        subject=GPU, sensor="core", value=81.0, bound=100.0, source="a test")}))
    assert finding.outcome is Outcome.PASS
    assert finding.subject.bdf == GPU
    assert finding.says == "core at most 81 °C; load would have ended at 100"


# The whole of it, on trees.


def chip(root: Path, number: int, files: dict[str, str | int]) -> None:
    for name, value in files.items():
        put(root, f"sys/class/hwmon/hwmon{number}/{name}", value)


def k10temp(root: Path, celsius: float) -> None:
    chip(root, 0, {"name": "k10temp", "temp1_label": "Tctl", "temp1_input": round(celsius * 1000)})


def meter(root: Path, watts: float) -> None:
    chip(root, 1, {"name": "power_meter", "power1_average": round(watts * 1e6)})


def rail(root: Path, volts: float) -> None:
    chip(root, 3, {"name": "corsairpsu", "in1_label": "v_out +12v", "in1_input": round(volts * 1000),
                        "power1_label": "power total", "power1_input": 800_000_000})


def test_supplies_that_tell_are_read_and_regulators_are_none(tmp_path: Path) -> None:
    rail(tmp_path, 12.08)
    chip(tmp_path, 4, {"name": "xdpe12284", "power1_label": "pin1", "power1_input": 90_000_000})
    _, told = Looker(Order(root=str(tmp_path))).look()
    assert told == SupplyReading(
        watts=(Named("hwmon3", 800.0),), twelve_volts=(Named("v_out +12v hwmon3", 12.08),))
    meter(tmp_path, 1234)
    _, told = Looker(Order(root=str(tmp_path))).look()
    assert told.watts == (Named("hwmon1", 1234.0),)
    meter(tmp_path, 0)
    _, told = Looker(Order(root=str(tmp_path))).look()
    assert isinstance(told.watts, tuple)
    assert isinstance(told.watts[0].value, Unread)


def devices(root: Path) -> tuple[GpuInfo, ...]:
    """Two processors that the guard takes for AMD cards."""
    found = list_devices("cpu", environment={"BOXCHECK_CPU_DEVICES": "2"})
    assert isinstance(found, tuple)
    return tuple(
        msgspec.structs.replace(info, bdf=amd_card(root, index, xtx(power=300)), arch="gfx1100")
        for index, info in enumerate(found))


def hot_edge(root: Path, cards: tuple[GpuInfo, ...]) -> None:
    put(home(root, cards[1].bdf or Bdf("")), "gpu_metrics", xtx(edge=104, power=300))


CROSSINGS: dict[str, Any] = {
    "safety.gpu_celsius": hot_edge,
    "safety.gpu_junction_celsius": lambda root, cards: put(
        home(root, cards[0].bdf), "gpu_metrics", xtx(hotspot=112, power=300)),
    "safety.gpu_watts": lambda root, cards: put(home(root, cards[0].bdf), "gpu_metrics", xtx(power=430)),
    "safety.cpu_celsius": lambda root, cards: k10temp(root, 107),
    "safety.supply_watts": lambda root, cards: meter(root, 1500),
    "safety.rail_volts": lambda root, cards: rail(root, 11.2),
}


@pytest.mark.parametrize(("name", "inject"), [
    *((name, None) for name in CROSSINGS), ("safety.gpu_celsius", "hang"), ("safety.cpu_celsius", "hang")])
def test_all_load_ends_within_two_seconds_of_a_crossing(
    tmp_path: Path, name: str, inject: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a worker hangs. Measured from the moment at which the sensor changed."""
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    cards = devices(tmp_path)
    k10temp(tmp_path, 60)
    meter(tmp_path, 900)
    rail(tmp_path, 12.0)
    crossed_at: list[float] = []

    def cross() -> None:
        crossed_at.append(time.monotonic())
        CROSSINGS[name](tmp_path, cards)

    stops: list[SafetyStop] = []
    timer = threading.Timer(1.2, cross)
    timer.start()
    modules = [STRESSES["matmul"], *([STRESSES["cpu"]] if inject is None else [])]
    wanted = Wanted(
        modules=("matmul",), seconds=30, backend="cpu", options={"size": "test"}, inject=inject, root=str(tmp_path),
        limits=limits(safety__supply_watts=1440), environment={"BOXCHECK_CPU_DEVICES": "2"})
    found = run_together(modules, cards, {}, wanted, crossed=stops.append)
    ended = time.monotonic()
    timer.cancel()
    assert crossed_at
    (results, _), *rest = found
    assert ended - crossed_at[0] < 2.5  # and the processes are gone
    assert results.safety is not None
    assert results.safety.stop is not None
    assert [results.safety.stop] == stops
    assert (results.safety.stop.limit, results.safety.stop.unit) == (name, LIMITS[name].unit)
    after = results.safety.ended_after_seconds
    assert after is not None
    assert results.safety.stop.monotonic_seconds + after - crossed_at[0] < 2.0
    assert not any(one.kind in ("hang", "crash", "bug") for one in results.troubles)
    assert all(other.safety == results.safety for other, _ in rest)
    (finding,) = safety_checks.safety(results, PLAIN)
    assert finding.outcome is Outcome.FAIL


def test_a_stop_while_each_gpu_works_alone_lets_none_begin_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    cards = devices(tmp_path)
    begun: list[str] = []
    stops: list[SafetyStop] = []

    def seen(module: Any, worker: int, of: Any, what: Any) -> None:
        if not begun:
            hot_edge(tmp_path, cards)
        begun.append(of[0].key)

    ((results, _),) = run_together([STRESSES["copy"]], cards, {}, Wanted(
        modules=("copy",), seconds=120, backend="cpu", options={"size": "test"}, root=str(tmp_path),
        environment={"BOXCHECK_CPU_DEVICES": "2"}), crossed=stops.append, seen=seen)
    assert len(stops) == 1
    assert set(begun) == {"cpu:0"}, "the second one never worked"
    assert results.stopped
    assert {one.outcome for one in completed(results, PLAIN)} <= {Outcome.UNKNOWN}


def test_the_fault_hot_ends_all_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    cards = list_devices("cpu", environment={"BOXCHECK_CPU_DEVICES": "2"})
    assert isinstance(cards, tuple)
    began = time.monotonic()
    ((results, _),) = run_together([STRESSES["matmul"]], cards, {}, Wanted(
        modules=("matmul",), seconds=60, backend="cpu", inject="hot", environment={"BOXCHECK_CPU_DEVICES": "2"}))
    assert time.monotonic() - began < 10
    assert results.safety is not None
    assert results.safety.stop is not None
    assert results.safety.stop.value == 120.0
    assert [one.kind for one in results.troubles] == ["too-hot"]


def test_a_guard_that_dies_is_started_anew_and_its_silence_is_told(tmp_path: Path) -> None:
    cards = devices(tmp_path)
    with Guarding(cards, Limits(), root=str(tmp_path)) as guarding:
        until = time.monotonic() + 20
        while not guarding.result().nearest and time.monotonic() < until:
            time.sleep(0.05)
        assert guarding.result().nearest["safety.gpu_junction_celsius"].value == 81.0
        assert not guarding.halted()
        process = guarding._process
        assert process is not None
        os.kill(process.pid, 9)
        hot_edge(tmp_path, cards)
        while not guarding.halted() and time.monotonic() < until:
            time.sleep(0.05)
        assert guarding.halted()
        told = guarding.result()
        assert told.stop is not None
        assert told.stop.subject == cards[1].bdf
        again = guarding._process
        assert again is not None
    assert again.wait(5) is not None


def test_what_a_guard_saw_is_kept_when_it_dies(tmp_path: Path) -> None:
    cards = devices(tmp_path)
    hottest = "safety.gpu_junction_celsius"
    put(home(tmp_path, cards[0].bdf or Bdf("")), "gpu_metrics", xtx(hotspot=109, power=300))
    with Guarding(cards, Limits(), root=str(tmp_path)) as guarding:
        until = time.monotonic() + 20
        while hottest not in guarding.result().nearest and time.monotonic() < until:
            time.sleep(0.05)
        put(home(tmp_path, cards[0].bdf or Bdf("")), "gpu_metrics", xtx(hotspot=70, power=300))
        process = guarding._process
        assert process is not None
        os.kill(process.pid, 9)
        while guarding._told.nearest[hottest].value == 109.0 and time.monotonic() < until:
            time.sleep(0.05)
        assert guarding._told.nearest[hottest].value < 109.0  # by the one that was started anew
        told = guarding.result()
    assert told.nearest[hottest].value == 109.0
    assert told.watched == tuple(sorted(str(info.bdf) for info in cards))


def test_a_guard_that_tells_nothing_is_no_silent_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boxcheck.engine.guarding.SILENT_SECONDS", 0.0)
    with Guarding((), Limits(), root=str(tmp_path)) as guarding:
        pass
    assert "told nothing" in guarding.result().silent


def test_a_guard_that_is_gone_at_once_is_told_however_short_the_run_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boxcheck.engine.guarding.sys.executable", "/bin/false")
    began = time.monotonic()
    with Guarding((), Limits()) as guarding:
        pass
    told = guarding.result()
    assert time.monotonic() - began < 3
    assert told.silent == "the process that looks beside the workers told nothing at all (it ended)"
    alone = msgspec.structs.replace(INFO, backend="cpu", is_gpu=False)
    results = StressResults(module="cpu", gpus=(alone,), samples=(), troubles=(), ended=("cpu:0",), safety=told)
    (finding,) = safety_checks.safety(results, PLAIN)
    assert finding.outcome is Outcome.UNKNOWN


def test_a_guard_that_told_something_and_is_gone_for_good_is_told(tmp_path: Path) -> None:
    with Guarding(devices(tmp_path), Limits(), root=str(tmp_path)) as guarding:
        assert guarding._settled.wait(20)
        assert guarding.result().silent == ""
        until = time.monotonic() + 20
        while not guarding._given_up and time.monotonic() < until:
            process = guarding._process
            if process is not None and process.returncode is None:
                process.kill()
            time.sleep(0.02)
    told = guarding.result()
    assert told.silent.startswith("the process that looks beside the workers is gone, and was started 3 times (it ended")
    assert told.nearest


def test_a_guard_whose_libraries_complain_without_end_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe that nobody reads holds 64 KiB; whoever writes more waits, and its watch with it."""
    noisy = tmp_path / "python"
    noisy.write_text(
        f"#!/bin/sh\nhead -c 300000 /dev/zero | tr '\\0' 'x' >&2\necho >&2\necho 'said last' >&2\n"
        f"exec {sys.executable} \"$@\"\n")
    noisy.chmod(0o755)
    monkeypatch.setattr("boxcheck.engine.guarding.sys.executable", str(noisy))
    with Guarding(devices(tmp_path), Limits(), root=str(tmp_path)) as guarding:
        assert guarding._settled.wait(20)
        assert guarding.result().nearest
        process = guarding._process
        assert process is not None
        process.kill()
        until = time.monotonic() + 10
        while not guarding._died and time.monotonic() < until:
            time.sleep(0.02)
        assert guarding._died == "it ended: said last"


def test_a_run_that_ends_at_once_waits_for_the_first_account(tmp_path: Path) -> None:
    with Guarding(devices(tmp_path), Limits(), root=str(tmp_path)) as guarding:
        pass
    told = guarding.result()
    assert (told.silent, guarding._given_up) == ("", False)
    assert told.nearest
    assert Guarding((), Limits()).result().silent == "", "nothing was to be watched"


def test_a_guard_that_is_gone_decides_whatever_the_profile_says() -> None:
    from boxcheck.engine.stress import decides
    from boxcheck.registry import discover, discover_stress
    from boxcheck.registry import unknown as unknown_finding

    discover()
    discover_stress()
    finding = msgspec.structs.replace(
        unknown_finding(BOX, "the process that looks beside the workers is gone"), check="stress.safety")
    want = load_profile("generic")
    assert not decides(finding, want)
    assert decides(msgspec.structs.replace(finding, cause="guard-gone:box"), want)

from __future__ import annotations

from pathlib import Path

import pytest

from boxcheck.model import Bdf
from boxcheck.probes.sensors import Sensors
from tests.boxes.tree import Tree
from tests.probes.reading import fact, kind_of, live, tree

GPU = "/sys/devices/pci0000:00/0000:00:03.1/0000:01:00.0/0000:02:00.0/0000:03:00.0"
CHIP = f"{GPU}/hwmon/hwmon4"


def gpu_box(**files: str) -> Tree:
    rows = {
        "name": "amdgpu", "temp1_label": "edge", "temp1_input": "36000", "temp1_crit": "100000",
        "temp2_label": "junction", "temp2_input": "41500", "temp3_label": "mem", "temp3_input": "junk",
        "fan1_input": "0", "power1_average": "21000000", "power1_cap": "327000000",
        "power1_cap_default": "327000000", "power1_cap_max": "376000000", **files}
    made = tree({f"{CHIP}/{name}": text for name, text in rows.items()} | {
        f"{GPU}/gpu_busy_percent": "0", f"{GPU}/power/runtime_status": "active"})
    made.link(f"{CHIP}/device", GPU)
    made.link("/sys/class/hwmon/hwmon4", CHIP)
    return made


def test_a_gpu_is_found_by_its_address(tmp_path: Path) -> None:
    chip = fact(Sensors, gpu_box(), tmp_path).of_function(Bdf("0000:03:00.0"))
    assert chip is not None
    assert [(item.label, item.celsius) for item in chip.temperatures[:2]] == [("edge", 36.0), ("junction", 41.5)]
    assert kind_of(chip.temperatures[2].celsius) == "malformed"
    assert chip.temperatures[0].critical_celsius == 100.0
    assert [(fan.label, fan.rpm) for fan in chip.fans] == [("fan1", 0)]
    assert chip.power is not None
    assert (chip.power.cap_watts, chip.power.default_watts, chip.power.drawn_watts) == (327.0, 327.0, 21.0)
    assert chip.busy_percent == 0


def test_a_sleeping_card_is_not_read(tmp_path: Path) -> None:
    made = gpu_box()
    made.put(f"{GPU}/power/runtime_status", "suspended")
    chip = fact(Sensors, made, tmp_path).of_function(Bdf("0000:03:00.0"))
    assert chip is not None
    assert {kind_of(item.celsius) for item in chip.temperatures} == {"unsupported"}
    assert chip.power is not None
    assert kind_of(chip.fans[0].rpm) == kind_of(chip.power.cap_watts) == "unsupported"


def test_impossible_temperatures_are_none(tmp_path: Path) -> None:
    chip = fact(Sensors, gpu_box(temp1_input="-128000", temp1_crit="65261850", temp2_input="255000"), tmp_path).all()[0]
    assert [kind_of(item.celsius) for item in chip.temperatures] == ["malformed", "malformed", "malformed"]
    assert chip.temperatures[0].critical_celsius is None


@pytest.mark.parametrize(("limit", "rings"), [("0", None), ("-1000", None), ("95000", True), (None, True)])
def test_an_alarm_whose_limit_nobody_set_is_none(limit: str | None, rings: bool | None, tmp_path: Path) -> None:
    """What `sensors` shows of many memory modules: jc42, +35.0 °C, ALARM (HIGH, CRIT), crit = +0.0 °C."""
    chip = "/sys/devices/pci0000:00/0000:00:1f.4/i2c-0/0-0018/hwmon/hwmon2"
    made = tree({f"{chip}/name": "jc42", f"{chip}/temp1_input": "35000", f"{chip}/temp1_crit_alarm": "1",
                 **({} if limit is None else {f"{chip}/temp1_crit": limit})})
    made.link("/sys/class/hwmon/hwmon2", chip)
    (module,) = fact(Sensors, made, tmp_path).all()
    assert module.temperatures[0].alarm is rings
    assert module.temperatures[0].limits_unread is None


def test_processor_and_drive(tmp_path: Path) -> None:
    cpu, drive = "/sys/devices/platform/coretemp.0", "/sys/devices/pci0000:00/0000:00:01.1/0000:01:00.0"
    made = tree({
        f"{cpu}/hwmon/hwmon0/name": "coretemp", f"{cpu}/hwmon/hwmon0/temp1_label": "Package id 0",
        f"{cpu}/hwmon/hwmon0/temp1_input": "45000", f"{cpu}/hwmon/hwmon0/temp1_crit_alarm": "0",
        f"{drive}/nvme/nvme0/hwmon1/name": "nvme", f"{drive}/nvme/nvme0/hwmon1/temp1_label": "Composite",
        f"{drive}/nvme/nvme0/hwmon1/temp1_input": "38850"})
    made.link("/sys/class/hwmon/hwmon0", f"{cpu}/hwmon/hwmon0")
    made.link(f"{cpu}/hwmon/hwmon0/device", cpu)
    made.link("/sys/class/hwmon/hwmon1", f"{drive}/nvme/nvme0/hwmon1")
    made.link(f"{drive}/nvme/nvme0/hwmon1/device", f"{drive}/nvme/nvme0")
    first, second = fact(Sensors, made, tmp_path).all()
    assert (first.name, first.bdf, first.device, first.temperatures[0].alarm) == ("coretemp", None, "coretemp.0", False)
    assert (second.name, second.bdf, second.device) == ("nvme", "0000:01:00.0", "nvme0")


def test_links_that_the_thermal_framework_can_slow_down(tmp_path: Path) -> None:
    made = tree({
        "/sys/class/thermal/cooling_device0/type": "Processor", "/sys/class/thermal/cooling_device0/cur_state": "0",
        "/sys/class/thermal/cooling_device10/type": "PCIe_Port_Link_Speed_0000:40:01.1",
        "/sys/class/thermal/cooling_device10/cur_state": "1", "/sys/class/thermal/cooling_device10/max_state": "3"})
    zones = "/sys/devices/virtual/thermal/thermal_zone"
    for number, (kind, device) in enumerate((("acpitz", 10), ("x86_pkg_temp", 0))):
        made.put(f"{zones}{number}/type", kind)
        made.link(f"{zones}{number}/cdev0", f"/sys/class/thermal/cooling_device{device}")
        made.put(f"{zones}{number}/cdev0_trip_point", "1")
        made.put(f"{zones}{number}/trip_point_1_temp", "95000")
        made.put(f"{zones}{number}/temp", "95000")
        made.link(f"/sys/class/thermal/thermal_zone{number}", f"{zones}{number}")
    found = fact(Sensors, made, tmp_path).link_cooling
    assert isinstance(found, tuple)
    assert [(one.port, one.state, one.max_state, one.zones, one.hot) for one in found] == [
        ("0000:40:01.1", 1, 3, ("acpitz",), True)]
    made.put(f"{zones}0/temp", "94999")
    found = fact(Sensors, made, tmp_path).link_cooling
    assert isinstance(found, tuple)
    assert found[0].hot is False
    made.put("/sys/class/thermal/cooling_device10/cur_state", "0")  # nothing to explain, so nobody looks
    found = fact(Sensors, made, tmp_path).link_cooling
    assert isinstance(found, tuple)
    assert found[0].zones == ()


def test_no_sensor_and_nobody_looked_are_not_the_same(tmp_path: Path) -> None:
    assert fact(Sensors, tree(), tmp_path) == Sensors((), ())
    nobody = fact(Sensors, tree(whole=False), tmp_path)
    assert kind_of(nobody.chips) == kind_of(nobody.link_cooling) == "not-captured"


def test_this_machine() -> None:
    assert isinstance(live(Sensors).chips, tuple)


def test_no_chip_that_runs_is_at_zero(tmp_path: Path) -> None:
    chip = fact(Sensors, gpu_box(temp1_input="0", temp2_input="-5000", temp3_input="151000"), tmp_path).all()[0]
    assert [kind_of(item.celsius) for item in chip.temperatures] == ["malformed"] * 3
    chip = fact(Sensors, gpu_box(temp1_input="1000"), tmp_path).all()[0]
    assert chip.temperatures[0].celsius == 1.0
    room = gpu_box(name="nct6798", temp1_input="-5000")  # a sensor of the air outside
    assert fact(Sensors, room, tmp_path).all()[0].temperatures[0].celsius == -5.0


def test_what_the_driver_has_and_does_not_tell_is_unread(tmp_path: Path) -> None:
    made = gpu_box()
    made.denied(f"{CHIP}/temp1_crit", "input/output error", "error")
    first = fact(Sensors, made, tmp_path).all()[0].temperatures[0]
    assert first.critical_celsius is None
    assert kind_of(first.limits_unread) == "error"
    made.denied(f"{CHIP}/name", "input/output error", "error")
    made.put("/sys/class/thermal/cooling_device0/type", "Processor")
    found = fact(Sensors, made, tmp_path)
    assert (found.chips, kind_of(found.chips_unread), found.link_cooling_unread) == ((), "error", None)
    made.denied("/sys/class/thermal/cooling_device0/type", "input/output error", "error")
    assert kind_of(fact(Sensors, made, tmp_path).link_cooling_unread) == "error"

"""The line of the host: what was read, as much as fits, in words what was not, and nothing old as if it were of now."""

from __future__ import annotations

import msgspec
import pytest

from boxcheck.model import Unread
from boxcheck.telemetry.readings import BoxReading, HostReading, Named
from boxcheck.tui.frame import OLD_BOX_SECONDS, SILENT_SECONDS, HostRow
from boxcheck.tui.host import HostState
from boxcheck.tui.look import UNICODE
from boxcheck.tui.widgets.host_line import GAP, LEAD, fitting, parts_of
from tests.tui.conftest import Frames
from tests.tui.showing import app_over, line_with, on_screen, run, shown

WHY = Unread("no answer for 9 s", "timeout")
HOST = HostReading(
    monotonic_seconds=0.0, cpu_power_watts=(Named("package-0", 180.0), Named("dram", 30.0)), cpu_clocks=None,
    cpu_temperatures_celsius=(Named("Tctl", 71.0),), cpu_busy_percent=5.0, memory_available_bytes=10 << 30,
    memory_total_bytes=256 << 30, core_throttles=None, package_throttles=())
BOX = BoxReading(
    monotonic_seconds=0.0, drives_celsius=(Named("nvme0", 41.0), Named("nvme1", 52.0)),
    drives_busy_percent=(Named("nvme0n1", 0.0), Named("nvme1n1", 97.0)), supply_watts=(Named("hwmon5", 3240.0),),
    fans_rpm=(Named("nct6798 fan1", 1180.0), Named("nct6798 fan2", 1320.0), Named("nct6798 fan3", 0.0)))


def row_of(*boxes: BoxReading, age: float = 1.0, host: HostReading | None = HOST) -> HostRow:
    state = HostState()
    if host is not None:
        state.take(host, 100.0)
    for one in boxes:
        state.take(one, 100.0)
    row = state.row(100.0 + age, ())
    assert row is not None
    return row


def line(row: HostRow, stills: Frames, width: int = 200) -> str:
    frame = msgspec.structs.replace(stills("all-well").frame, host=row)
    return LEAD + GAP.join(text for text, _ in fitting(parts_of(row, frame, UNICODE), width))


def test_processor_memory_drives_mains_and_fans_are_told(stills: Frames) -> None:
    assert line(row_of(BOX), stills) == (
        " host   cpu 5 %   Tctl 71 °C   180 W   memory 246 of 256 GiB   nvme 52 °C, 97 % busy   mains 3240 W   "
        "fans 1180-1320 rpm")


@pytest.mark.parametrize("width", [60, 70, 80, 96, 120])
def test_a_narrow_line_has_whole_parts_the_weightiest_first(stills: Frames, width: int) -> None:
    shown_line = line(row_of(BOX), stills, width)
    assert len(shown_line) <= width
    assert "~" not in shown_line
    assert shown_line.startswith(" host   cpu 5 %")
    for wide, word in ((60, "mem 246/256 GiB"), (80, "nvme 52 °C"), (80, "mains 3240 W"), (96, "fans 1180-1320 rpm")):
        assert (word.split()[0] in shown_line) or width < wide, (word, shown_line)


def test_what_was_not_read_is_said_and_is_no_zero(stills: Frames) -> None:
    unread = msgspec.structs.replace(
        BOX, drives_celsius=WHY, drives_busy_percent=(), supply_watts=(Named("hwmon5", WHY),), fans_rpm=WHY)
    for row in (row_of(unread), row_of(BoxReading(monotonic_seconds=0.0)), row_of()):
        told = line(row, stills)
        assert told.endswith("nvme, mains, fans not read")
        assert not any(word in told.replace("nvme, mains", "") for word in ("nvme ", "mains ", "rpm", " 0 W"))
        assert "not read" not in line(row, stills, 80), "there is no room for it"


def test_the_power_of_some_supplies_is_not_that_of_the_box(stills: Frames) -> None:
    two = (Named("hwmon5", 900.0), Named("hwmon6", 800.0))
    assert "mains 1700 W" in line(row_of(msgspec.structs.replace(BOX, supply_watts=two)), stills)
    half = (Named("hwmon5", 900.0), Named("hwmon6", WHY))
    told = line(row_of(msgspec.structs.replace(BOX, supply_watts=half)), stills)
    assert "mains not read" in told
    assert "900" not in told


def test_a_drive_that_was_not_read_beside_one_that_was_is_counted(stills: Frames) -> None:
    one = msgspec.structs.replace(BOX, drives_celsius=(Named("nvme0", 41.0), Named("nvme1", WHY)))
    assert "nvme 41 °C, 97 % busy, 1 not read" in line(row_of(one), stills)
    assert "nvme 41 °C, 1 not read" in line(row_of(one), stills, 90)


def test_a_fan_that_turned_and_does_no_more_is_said_and_an_empty_plug_is_none(stills: Frames) -> None:
    stopped = msgspec.structs.replace(BOX, fans_rpm=(
        Named("nct6798 fan1", 1180.0), Named("nct6798 fan2", 0.0), Named("nct6798 fan3", 0.0)))
    told = line(row_of(BOX, stopped), stills)
    assert "fans 1180 rpm" in told
    assert "fan nct6798 fan2 has stopped" in told
    assert "fan3" not in told
    assert "1 fan stopped" in line(row_of(BOX, stopped), stills, 80), "that is said before all else"
    assert "stopped" not in line(row_of(stopped), stills)
    nothing = msgspec.structs.replace(BOX, fans_rpm=(Named("a", 0.0),))
    assert "fans not read" in line(row_of(nothing), stills)


@pytest.mark.parametrize(("age", "told"), [(OLD_BOX_SECONDS - 1, True), (OLD_BOX_SECONDS + 1, False)])
def test_drives_and_fans_that_were_read_long_ago_are_not_shown_as_of_now(
    stills: Frames, age: float, told: bool
) -> None:
    row = msgspec.structs.replace(row_of(BOX, age=age), told_seconds=1.0)
    found = line(row, stills)
    assert ("52 °C" in found) is told
    assert (f"nvme, mains, fans not read for {age:.0f} s" in found) is not told
    assert "cpu 5 %" in found


def test_a_host_that_was_read_long_ago_shows_none_of_its_figures(stills: Frames) -> None:
    found = line(row_of(BOX, age=SILENT_SECONDS + 1), stills)
    assert found == " host   no reading for 5 s"


def test_of_a_run_that_is_over_it_says_that_it_is_of_the_end_before_it_shows_more(stills: Frames) -> None:
    for width, says in ((200, "as it was at the end"), (80, "at the end"), (60, "at the end")):
        frame = msgspec.structs.replace(stills("finished").frame, host=row_of(BOX))
        told = GAP.join(text for text, _ in fitting(parts_of(row_of(BOX), frame, UNICODE), width))
        assert told.endswith(says), told
        assert len(LEAD + told) <= width


def test_it_is_on_the_screen_at_every_size(stills: Frames) -> None:
    async def test() -> None:
        for size in ((80, 24), (120, 34), (200, 60)):
            async with on_screen(app_over(stills("all-well")), size) as pilot:
                found = line_with(shown(pilot.app), " host ")
                assert "nvme 4" in found
                assert "mains 3" in found
                assert ("rpm" in found) is (size[0] > 80)

    run(test)

"""JSON of amd-smi and rocm-smi, and the values of their texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from boxcheck.decode.amd_smi import MOST_STATES, states
from boxcheck.decode.amd_smi_gpu import count, link, size
from boxcheck.decode.rocm_smi import banner, gpu_line
from boxcheck.decode.rocminfo import agents
from boxcheck.triage.cut import cut
from boxcheck.triage.tools import amd_smi, rocm_smi, rocminfo

CORPUS = Path(__file__).parents[1] / "corpus"


def metric(**pcie: Any) -> dict[str, Any]:
    return {"gpu": 0, "usage": {"gfx_activity": {"value": 99, "unit": "%"}},
            "temperature": {"edge": {"value": 33, "unit": "C"}, "hotspot": {"value": 37, "unit": "C"}},
            "pcie": {"width": 16, "speed": {"value": 16, "unit": "GT/s"}, "replay_count": 0,
                     "replay_roll_over_count": 0, "nak_sent_count": 0, "nak_received_count": 0, **pcie},
            "ecc": {"total_correctable_count": 0, "total_uncorrectable_count": 0, "total_deferred_count": 0}}


def static(**over: Any) -> dict[str, Any]:
    return {"gpu": 1, "asic": {"market_name": "AMD Radeon RX 7900 XTX", "vendor_id": "0x1002", "device_id": "0x744c",
                               "rev_id": "0xc8", "target_graphics_version": "gfx1100", **over},
            "bus": {"bdf": "0000:0C:00.0", "max_pcie_width": 16, "max_pcie_speed": {"value": 16, "unit": "GT/s"}},
            "vram": {"type": "GDDR6", "size": {"value": 24560, "unit": "MB"}}, "numa": {"node": 0, "affinity": 0}}


@pytest.mark.parametrize("wrapped", [False, True], ids=["list", "gpu_data"])
def test_amd_smi_json(wrapped: bool) -> None:
    """A list until ROCm 6, an object with `gpu_data` since 7."""
    value: Any = [metric(), static()]
    found = amd_smi.read_json({"gpu_data": value} if wrapped else value)
    assert found is not None
    assert found.events == ()
    assert [(one.index, one.bdf, one.vram_bytes) for one in found.devices] == [
        (0, None, None), (1, "0000:0c:00.0", 24560 << 20)]


def test_amd_smi_json_by_a_notch() -> None:
    found = amd_smi.read_json([metric(replay_count=1)])
    assert found is not None
    assert [(event.kind, event.count, event.labels) for event in found.events] == [("link-replays", 1, ("GPU 0",))]


def test_rocm_smi_json() -> None:
    card = {"Device Name": "AMD Radeon RX 7900 XTX", "Device ID": "0x744c", "Device Rev": "0xc8", "PCI Bus": "0000:03:00.0",
            "PCIe Replay Count": "147", "VRAM Total Memory (B)": "25753026560",
            "VIS_VRAM Total Memory (B)": "25753026560", "pcie clock level": "1 (16.0GT/s x16)"}
    found = rocm_smi.read_json({"card0": card, "system": {"Driver version": "6.12"}})
    assert found is not None
    assert [(event.kind, event.bdf, event.count) for event in found.events] == [("link-replays", "0000:03:00.0", 147)]
    card["PCIe Replay Count"] = "0"
    sound = rocm_smi.read_json({"card0": card})
    assert sound is not None
    assert sound.events == ()


@pytest.mark.parametrize(("state", "wanted"), [("DISABLED", [("p2p-unavailable", 2)]), ("ENABLED", [])])
@pytest.mark.parametrize("new", [False, True], ids=["link_accessibility", "links"])
def test_topology_as_json(new: bool, state: str, wanted: list[tuple[str, int]]) -> None:
    addresses = ["0000:03:00.0", "0000:0c:00.0"]
    value: Any = [
        {"gpu": own, "bdf": address, "links": [
            {"gpu": other, "bdf": there, "weight": 40, "link_status": "ENABLED" if other == own else state,
             "link_type": "PCIE"} for other, there in enumerate(addresses)]} if new else
        {"gpu": own, "bdf": address, "link_accessibility": {
            f"gpu_{other}": "ENABLED" if other == own else state for other in (0, 1)}}
        for own, address in enumerate(addresses)]
    found = amd_smi.read_json(value)
    assert found is not None
    assert [(event.kind, event.count) for event in found.events] == wanted
    assert [device.bdf for device in found.devices] == addresses


@pytest.mark.parametrize("value", [
    None, 1, "x", [], {}, [1, 2], {"gpu_data": 3}, {"gpu_data": [[]]}, [{"gpu": "0"}], [{"gpu": 0}], {"card": {}},
    {"card0": []}, {"card0": {}}, [{"gpu": 10 ** 300, "pcie": {}}], {"events": []}, {"schema": "boxcheck.run/1"},
])
def test_other_json_is_none_of_it(value: Any) -> None:
    assert amd_smi.read_json(value) is None
    assert rocm_smi.read_json(value) is None


def test_hostile_numbers_in_json() -> None:
    deep: Any = 1
    for _ in range(500):
        deep = {"value": deep}
    for number in (10 ** 6000, -(10 ** 6000), float("nan"), float("inf"), -1, True, deep, "9" * 400):
        found = amd_smi.read_json([metric(replay_count=number, width=number, nak_sent_count=number)])
        assert found is not None
        assert "link-replays" not in [event.kind for event in found.events]
        assert rocm_smi.read_json({"card0": {"PCIe Replay Count": number, "PCI Bus": "0000:03:00.0"}}) is not None


def test_what_json_readers_give_can_be_json() -> None:
    found = amd_smi.read_json([static()])
    assert found is not None
    json.dumps(dict(found.readings))
    sections, _ = cut((CORPUS / "amd-smi" / "topology-access.txt").read_text())
    json.dumps(dict(sections[0][0].read(sections[0][1]).readings))


@pytest.mark.parametrize(("written", "wanted"), [
    ("1 (16.0GT/s x16)", (16.0, 16)), ("8.0GT/s, x16 619Mhz", (8.0, 16)), ("0: (2.5 GT/s, 1)", (None, None)), (None, (None, None)),
])
def test_links(written: str | None, wanted: tuple[float | None, int | None]) -> None:
    assert link(written) == wanted


@pytest.mark.parametrize(("written", "wanted"), [
    ("0", 0), ("12", 12), ("N/A", None), ("-3", None), ("4294967295", None), ("65535", None), ("18446744073709551615", None),
])
def test_counters_of_all_ones_are_no_counts(written: str, wanted: int | None) -> None:
    assert count(written) == wanted


def test_sizes() -> None:
    assert size("24560 MB") == 24560 << 20
    assert size("25753026560") == 25753026560
    assert size("-1 MB") is None


def test_lines_of_rocm_smi() -> None:
    assert gpu_line("GPU[12]\t\t: PCIe Replay Count: 0") == (12, "PCIe Replay Count: 0")
    assert gpu_line("GPU 3          : (Topology) Numa Node: 0") == (3, "(Topology) Numa Node: 0")
    assert gpu_line("GPU 0: NVIDIA H200 (UUID: GPU-0)") == (0, "NVIDIA H200 (UUID: GPU-0)")
    assert banner("==== Concise Info ====") == "Concise Info"
    assert banner("=======") == ""
    assert banner("== a = b ==") is None


def test_addresses_of_rocminfo() -> None:
    """BDFID 11520 is bus 2d; Domain counts."""
    lines = ["Agent 1", "  Name:  gfx1100", "  Device Type:  GPU", "  BDFID:  11520", "  Domain:  1"]
    assert agents(lines)[0].bdf == "0001:2d:00.0"
    assert agents([*lines[:3], "  BDFID:  11521"])[0].bdf == "0000:2d:00.1"
    assert agents([*lines[:3], "  BDFID:  99999999999999999999"])[0].bdf is None


@pytest.mark.parametrize(("line", "wanted"), [
    ("ROCk module is loaded", True), ("[37mROCk module version 6.16.6 is loaded[0m", True),
    ("HSA System Attributes", True), ("my ROCk module is not working", False), ("[   1.0] kfd kfd: added device", False),
])
def test_beginnings_of_rocminfo(line: str, wanted: bool) -> None:
    assert (rocminfo.begins(line) is not None) is wanted


METRIC = """GPU: 0
    PCIE:
        WIDTH: {width}
        REPLAY_COUNT: {replays}
    ECC:
        TOTAL_UNCORRECTABLE_COUNT: {errors}
GPU: 1
    PCIE:
        WIDTH: 16
        REPLAY_COUNT: 0
    ECC:
        TOTAL_UNCORRECTABLE_COUNT: 0

"""
STATIC = "GPU: 0\n    BUS:\n        BDF: 0000:03:00.0\n        MAX_PCIE_WIDTH: 16\n\n"


def test_what_comes_with_the_load_is_told_though_the_reading_before_it_was_sound() -> None:
    before, after = METRIC.format(width=16, replays=0, errors=0), METRIC.format(width=8, replays=9, errors=2)
    later = METRIC.format(width=16, replays=12, errors=2)
    (reader, section), = cut(STATIC + before + after + later)[0]
    found = reader.read(section)
    assert [(event.kind, event.bdf, event.count, event.line) for event in found.events] == [
        ("link-width", "0000:03:00.0", 1, 19), ("link-replays", "0000:03:00.0", 12, 32),
        ("ecc-errors", "0000:03:00.0", 2, 19)]
    assert [(one.index, one.bdf, one.line) for one in found.devices] == [(0, "0000:03:00.0", 1), (1, None, 12)]
    unread = METRIC.format(width=16, replays=0, errors="N/A")
    (reader, section), = cut(METRIC.format(width=16, replays=0, errors=3) + unread)[0]
    assert ("ecc-errors", 3) in [(event.kind, event.count) for event in reader.read(section).events]


def test_many_readings_are_bounded_and_the_last_counts() -> None:
    text = "".join(METRIC.format(width=16, replays=number, errors=0) for number in range(2 * MOST_STATES))
    assert sum(map(len, states(text.splitlines()))) <= MOST_STATES + 2
    (reader, section), = cut(text)[0]
    assert [(event.kind, event.count) for event in reader.read(section).events] == [
        ("link-replays", 2 * MOST_STATES - 1)]


def test_of_several_readings_of_rocm_smi_the_highest_count_is_told() -> None:
    line = "GPU[0]\t\t: PCIe Replay Count: {}\n"
    (reader, section), = cut("".join(map(line.format, (0, 7, 9, "N/A", 9))))[0]
    assert [(event.kind, event.count) for event in reader.read(section).events] == [("link-replays", 9)]
    (reader, section), = cut("".join(map(line.format, (0, "N/A", 0, "9" * 40))))[0]
    assert reader.read(section).events == ()


def test_errors_that_only_the_blocks_count_are_summed() -> None:
    """`amd-smi metric --ecc-blocks`, as text and JSON, on a GPU whose totals are not asked for."""
    block = "        {}:\n            CORRECTABLE_COUNT: {}\n            UNCORRECTABLE_COUNT: {}\n"
    text = "GPU: 0\n    ECC_BLOCKS:\n" + "".join(
        block.format(*one) for one in (("UMC", 0, 7), ("SMN", 0, "N/A"), ("PCIE_BIF", 4, 2)))
    value = [{"gpu": 0, "ecc_blocks": {
        "UMC": {"correctable_count": 0, "uncorrectable_count": 7}, "SMN": "N/A", "DF": {"uncorrectable_count": "N/A"},
        "PCIE_BIF": {"correctable_count": 4, "uncorrectable_count": 2}}}]
    (reader, section), = cut(text)[0]
    for found in (reader.read(section), amd_smi.read_json(value)):
        assert found is not None
        assert [(event.kind, event.severity, event.count) for event in found.events] == [
            ("ecc-errors", "fail", 9), ("ecc-errors", "info", 4)]
    (reader, section), = cut(text.replace(": 7", ": 0").replace(": 2", ": 0").replace(": 4", ": 0"))[0]
    assert reader.read(section).events == ()

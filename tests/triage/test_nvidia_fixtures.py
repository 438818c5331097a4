"""Outputs of real machines (`../shared/fixtures`): what is found in each, checked by hand against the text."""

from __future__ import annotations

import textwrap
from collections import Counter
from pathlib import Path

import pytest

from boxcheck.triage.cut import cut
from boxcheck.triage.evidence import Evidence

FIXTURES = Path(__file__).parents[3] / "shared" / "fixtures"
needs_fixtures = pytest.mark.skipif(not FIXTURES.is_dir(), reason="no shared/fixtures beside the checkout")
RTX4090 = [f"0000:{bus}:00.0" for bus in ("01", "25", "41", "61", "81", "a1", "c1", "e1")]
FLAT = ("as printed", "flattened", "wrapped")


def read(name: str, how: str = "as printed") -> tuple[list[Evidence], str]:
    text = (FIXTURES / name).read_text(errors="replace")
    if how == "flattened":
        text = "\n".join(" ".join(line.split()) for line in text.splitlines())
    elif how == "wrapped":
        lines = [line for long in text.expandtabs().splitlines() for line in textwrap.wrap(
            long, 72, break_long_words=False, break_on_hyphens=False) or [""]]
        text = "\n".join(lines)
    sections, log = cut(text)
    return [reader.read(section) for reader, section in sections], log.decode()


def events(found: list[Evidence]) -> list[tuple[str, str, str | None]]:
    return [(event.kind, event.severity, event.bdf) for one in found for event in one.events]


def addresses(found: list[Evidence]) -> list[str | None]:
    return [device.bdf for one in found for device in one.devices]


@needs_fixtures
@pytest.mark.parametrize("how", FLAT)
@pytest.mark.parametrize(("name", "wanted", "gpus"), [
    # Two cards at full width and speed under P0, ECC clean.
    ("H100NVLx2.out_a.q.txt", [], ["0000:ad:00.0", "0000:ae:00.0"]),
    # Idle in P8 at Gen1 of 4: no fault.
    ("L40S.out_a.q.txt", [("link-speed", "info", "0000:a1:00.0")], ["0000:a1:00.0"]),
    # The first card runs x4 of its 8 lanes, as in a chipset's slot; the second x8.
    ("RTX4060Ti.out_a.q.txt", [("link-width", "warn", "0000:03:00.0")], ["0000:03:00.0", "0000:09:00.0"]),
    # Eight idle cards, all with BAR1 of 256 MiB.
    ("RTX4090.out_a.q.txt", [one for bus in RTX4090 for one in (("link-speed", "info", bus), ("bar-small", "warn", bus))],
     RTX4090),
])
def test_long_texts(name: str, wanted: list[tuple[str, str, str]], gpus: list[str], how: str) -> None:
    found, _ = read(f"thamada-nvidia-smi/{name}", how)
    assert events(found) == wanted
    assert addresses(found) == gpus
    assert all((device.uuid and device.vram_bytes and device.serial is not None) or "GeForce" in str(device.name)
               for one in found for device in one.devices)


@needs_fixtures
@pytest.mark.parametrize("how", FLAT)
@pytest.mark.parametrize(("name", "gpus", "mib"), [
    ("H100NVLx2.out.smi.txt", ["0000:ad:00.0", "0000:ae:00.0"], 95830), ("L40S.out.smi.txt", ["0000:a1:00.0"], 46068),
    ("RTX4060Ti.out.smi.txt", ["0000:03:00.0", "0000:09:00.0"], 16380), ("RTX4090.out.smi.txt", RTX4090, 24564),
])
def test_tables(name: str, gpus: list[str], mib: int, how: str) -> None:
    found, _ = read(f"thamada-nvidia-smi/{name}", how)
    assert events(found) == []
    assert addresses(found) == gpus
    assert {device.vram_bytes for one in found for device in one.devices} == {mib << 20}


@needs_fixtures
@pytest.mark.parametrize("how", FLAT[:2])
def test_device_query(how: str) -> None:
    found, log = read("thamada-nvidia-smi/RTX4090_deviceQuery.txt", how)
    assert addresses(found) == RTX4090
    assert [(event.kind, event.severity, event.count) for one in found for event in one.events] == [
        ("p2p-unavailable", "info", 56)]
    assert not log.strip()


@needs_fixtures
@pytest.mark.parametrize(("name", "gpus", "wanted"), [
    # Turing: 256 MiB of BAR1 is all it has. The driver shows a power cap at rest.
    ("linux-x86_64__nvidia-geforce-rtx-2080-super__595.71.05.txt", {"0000:0c:00.0"},
     {("link-speed", "info"): 2, ("bar-small", "info"): 2, ("throttled", "info"): 1, ("topology", "info"): 0}),
    ("linux-x86_64__nvidia-geforce-rtx-4080-super__595.71.05.txt", {"0000:01:00.0"}, {("link-speed", "info"): 2}),
    # Nine replays, the same before and under load.
    ("linux-x86_64__nvidia-h100-80gb-hbm3__590.48.01.txt", {"0000:00:09.0"}, {("link-replays", "warn"): 2}),
    ("linux-x86_64__nvidia-h200__590.48.01.txt", {"0000:83:00.0"}, {}),
    ("linux-x86_64__nvidia-h200-mig__590.48.01.txt", {"0000:83:00.0"}, {}),
])
def test_whole_captures(name: str, gpus: set[str], wanted: dict[tuple[str, str], int]) -> None:
    """Every form of nvidia-smi in one file, idle and under load: nothing in them fails."""
    found, _ = read(f"nvidia_gpu_exporter/{name}")
    counted = Counter((kind, severity) for kind, severity, _ in events(found))
    assert counted == Counter({key: number for key, number in wanted.items() if number})
    assert {bdf for bdf in addresses(found) if bdf is not None} == gpus
    tools = {one.tool.partition(",")[0] for one in found}
    assert {"nvidia-smi", "nvidia-smi -q", "nvidia-smi -L", "nvidia-smi --query-gpu", "nvidia-smi topo -m"} <= tools


@needs_fixtures
def test_retired_pages() -> None:
    """The edited negative case: pending on four GPUs, double-bit errors on four."""
    sound, _ = read("azurehpc-health-checks/orig_nvsmi8_output.txt")
    assert events(sound) == []
    found, _ = read("azurehpc-health-checks/bad_nvsmi8_output.txt")
    gpu = [f"000{number}:00:00.0" for number in range(9)]
    assert sorted(events(found)) == sorted(
        [("ecc-errors", "fail", gpu[number]) for number in (2, 4, 6, 8)]
        + [("ecc-errors", "warn", gpu[number]) for number in (1, 2, 6, 8)])


@needs_fixtures
def test_nvlink() -> None:
    assert events(read("azurehpc-health-checks/good_nvlink_status.txt")[0]) == []
    assert events(read("gpud/nvidia-smi.nvlink.status.a100")[0]) == []
    assert events(read("azurehpc-health-checks/bad_nvlink_status.txt")[0]) == [("nvlink-down", "fail", None)]


@needs_fixtures
def test_lost_gpus() -> None:
    """Four machines, one line each; the address of the last one is none."""
    found, _ = read("issues/nvidia-smi-lost-variants.txt")
    assert events(found) == [("gpu-lost", "fail", bdf) for bdf in ("0000:0b:00.0", "0000:17:00.0", "0000:02:00.0", None)]


@needs_fixtures
@pytest.mark.parametrize("how", FLAT)
def test_topologies(how: str) -> None:
    found, _ = read("issues/topo-m-8gpu-dual-socket.txt", how)
    assert [(event.kind, event.labels) for one in found for event in one.events] == [
        ("topology", ("NODE", "PHB", "SYS")), ("numa", ())]
    assert [device.numa_node for one in found for device in one.devices] == [0] * 6 + [1] * 2
    found, _ = read("issues/topo-m-p2p-2x5090-tr3975.txt", how)
    assert [(event.kind, event.labels, event.severity) for one in found for event in one.events] == [
        ("topology", ("PHB",), "info"), ("p2p-unavailable", ("GNS",), "info")]


@needs_fixtures
def test_a_report_of_many_tools() -> None:
    """ESC8000A: four RTX 6000 Ada in two sockets, among lspci and prose."""
    found, _ = read("stelline/asus-esc8000a-e12.md")
    tables = [one for one in found if one.tool.startswith("nvidia-smi, ")]
    assert [device.bdf for one in tables for device in one.devices] == [
        f"0000:{bus}:00.0" for bus in ("01", "41", "c1", "e1")]
    topology = next(one for one in found if one.tool == "nvidia-smi topo -m")
    assert topology.readings["topology"]["devices"] == [*(f"GPU{n}" for n in range(4)), *(f"NIC{n}" for n in range(4))]
    assert [device.numa_node for device in topology.devices] == [0, 0, 1, 1]
    mine = [event for one in (*tables, topology) for event in one.events]
    assert {event.severity for event in mine} == {"info"}


@needs_fixtures
def test_rocm_smi() -> None:
    found, log = read("issues/rocm-smi-showhw-7900xtx.txt")
    assert [(device.index, device.bdf, device.device) for one in found for device in one.devices] == [
        (0, "0000:12:00.0", 0x164E), (1, "0000:03:00.0", 0x744C)]
    assert events(found) == []
    found, log = read("issues/rocm-smi-showtopo-4gpu-hops3.txt")
    assert {event.severity for one in found for event in one.events} == {"info"}
    assert not log.strip()


@needs_fixtures
@pytest.mark.parametrize(("name", "board", "cpu", "memory", "wanted"), [
    ("ROMED8-2T-0487F7A59151", "ASRockRack ROMED8-2T", "AMD EPYC 7262 8-Core Processor", "256 GiB in 4 of 8 sockets",
     ["memory-population"]),
    ("AS_-4124GS-TNR-54803F617EBD", "Supermicro H12DSG-O-CPU", "2 x AMD EPYC 7452 32-Core Processor",
     "512 GiB in 16 of 32 sockets", []),
    ("ESC4000A-E10-AA0745354901", "ASUSTeK COMPUTER INC. KRPG-U8-M Series", "AMD EPYC 7453 28-Core Processor",
     "512 GiB in 8 of 8 sockets", []),
    ("KRPA-U16_Series-82DA471925AE", "ASUSTeK COMPUTER INC. KRPA-U16 Series", "AMD EPYC 7502P 32-Core Processor",
     "512 GiB in 16 of 16 sockets", ["memory-mixed"]),
    ("Pro_WS_WRX80E-SAGE_SE_WIFI-15D8220AC445", "ASUSTeK COMPUTER INC. Pro WS WRX80E-SAGE SE WIFI",
     "AMD Ryzen Threadripper PRO 3995WX 64-Cores", "256 GiB in 8 of 8 sockets", []),
])
def test_dmidecode(name: str, board: str, cpu: str, memory: str, wanted: list[str]) -> None:
    found, log = read(f"linuxhw-DMI/{name}.dmidecode")
    assert len(found) == 1
    assert not log.strip()
    assert (found[0].box["board"], found[0].box["cpu"], found[0].box["memory"]) == (board, cpu, memory)
    assert [event.kind for event in found[0].events] == wanted
    assert {event.severity for event in found[0].events} <= {"info"}


@needs_fixtures
def test_slots_of_dmidecode() -> None:
    found, _ = read("linuxhw-DMI/AS_-4124GS-TNR-54803F617EBD.dmidecode")
    assert {device.slot: device.bdf for device in found[0].devices}["SLOT7 PCI-E 4.0 X16"] == "0000:61:00.0"
    assert len(found[0].devices) == 9
    found, _ = read("linuxhw-DMI/ROMED8-2T-0487F7A59151.dmidecode")
    assert found[0].devices == ()  # it gives every slot the address of the host bridge


@needs_fixtures
@pytest.mark.parametrize("name", ["jc/dmidecode.centos-7.7.out", "jc/dmidecode.ubuntu-18.04.out", "gpud/dmidecode"])
def test_dmidecode_of_virtual_machines_and_of_a_part(name: str) -> None:
    found, _ = read(name)
    assert events(found) == []
    assert "product" in found[0].box

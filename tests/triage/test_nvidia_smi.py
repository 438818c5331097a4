"""nvidia-smi, topo and nvlink: what begins an output, what belongs to it, and values that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxcheck.decode.nvidia_smi_forms import MOST_STATES, csv_fields, listed_gpu, table_gpus, xml_gpus
from boxcheck.decode.nvidia_smi_gpu import count, lanes, number, pci_ids, refusal
from boxcheck.decode.nvidia_smi_messages import message
from boxcheck.triage.account import triage
from boxcheck.triage.cut import cut
from boxcheck.triage.evidence import Evidence, Section
from boxcheck.triage.tools import device_query, nvidia_smi, nvidia_topo

CORPUS = Path(__file__).parents[1] / "corpus" / "nvidia-smi"


def text(name: str) -> str:
    return (CORPUS / f"{name}.txt").read_text()


def only(written: str) -> Evidence:
    sections, _ = cut(written)
    assert len(sections) == 1
    reader, section = sections[0]
    return reader.read(section)


@pytest.mark.parametrize(("line", "variant"), [
    ("==============NVSMI LOG==============", "nvidia-smi -q"), ("GPU 00000000:41:00.0", "nvidia-smi -q"),
    ("GPU 0000:41:00.0", "nvidia-smi -q"), ("        GPU Link Info", "nvidia-smi -q"),
    ("| NVIDIA-SMI 418.87.00    Driver Version: 418.87.00    CUDA Version: 10.1     |", "nvidia-smi"),
    ("<nvidia_smi_log>", "nvidia-smi -q -x"),
    ("GPU 0: NVIDIA H200 (UUID: GPU-00000000-0000-0000-0000-000000000000)", "nvidia-smi -L"),
    ("name, pci.bus_id, memory.total [MiB]", "nvidia-smi --query-gpu, 3 fields"),
    ("Failed to initialize NVML: Driver/library version mismatch", "nvidia-smi message"),
    ("NVRM: GPU 0000:41:00.0: RmInitAdapter failed! (0x26:0x56:1463)", None),
    ("[  123.4] NVRM: GPU 00000000:41:00.0", None),
    ("GPU 0000:41:00.0: something", None), ("I ran NVIDIA-SMI 570 yesterday", None),
    ("name, age, city", None), ("No devices were found on the second machine", None),
    ("the log says Failed to initialize NVML, more or less: what now", None),
    ("[   12.0] NVRM: Failed to initialize NVML: nothing", None),
])
def test_beginnings(line: str, variant: str | None) -> None:
    assert nvidia_smi.begins(line) == variant


@pytest.mark.parametrize(("line", "variant"), [
    ("\tGPU0\tGPU1\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID", "nvidia-smi topo -m"),
    ("\t[4mGPU0\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID[0m", "nvidia-smi topo -m"),
    ("        GPU0    mlx5_0  CPU Affinity", "nvidia-smi topo -m"), (" \tGPU0\tGPU1\t", "nvidia-smi topo -p2p"),
    ("GPU0 GPU0", None), ("GPU0", None), ("NVRM: GPU0 GPU1 are fine", None), ("GPU0 is lost and GPU1 too", None),
])
def test_beginnings_of_matrices(line: str, variant: str | None) -> None:
    assert nvidia_topo.begins(line) == variant


@pytest.mark.parametrize(("written", "wanted"), [
    ("16x", 16), ("8", 8), ("0x", None), ("3x", None), ("-8x", None), ("N/A", None), (None, None), ("", None),
    ("1" * 400, None), ("nan", None),
])
def test_lanes(written: str | None, wanted: int | None) -> None:
    assert lanes(written) == wanted


@pytest.mark.parametrize(("written", "wanted"), [
    ("12", 12), ("12 MiB", 12), ("0", 0), ("-1", None), ("1.5", None), ("18446744073709551615", None), ("inf", None),
])
def test_counts(written: str, wanted: int | None) -> None:
    assert count(written) == wanted


def test_numbers() -> None:
    assert number("35.50 W") == 35.5
    assert number("-7 C") == -7
    assert number("W 35") is None
    assert pci_ids("0x268410DE") == (0x10DE, 0x2684)
    assert pci_ids("0x2684") == (None, None)


@pytest.mark.parametrize(("written", "wanted"), [
    ("[GPU requires reset]", "GPU requires reset"), ("Unknown Error", "Unknown Error"), ("ERR!", "ERR!"),
    ("GPU is lost", "GPU is lost"), ("[N/A]", None), ("[Not Supported]", None), ("N/A", None), ("P0", None),
])
def test_what_refuses_and_what_is_merely_absent(written: str, wanted: str | None) -> None:
    assert refusal(written) == wanted


def test_a_header_needs_two_names_that_are_known() -> None:
    assert csv_fields("index, name, pci.bus_id") == ["index", "name", "pci.bus_id"]
    assert csv_fields("memory.total [MiB], uuid") == ["memory.total", "uuid"]
    assert csv_fields("index, colour, taste, smell, weight, age, town, street, number, code") == []
    assert csv_fields("[N/A], name, index") == []


def test_processes_and_pages_are_no_gpus() -> None:
    written = ("timestamp, gpu_name, gpu_bus_id, gpu_uuid, pid, process_name\n"
               "2026/06/26 11:59:44.371, NVIDIA H200, 00000000:01:00.0, GPU-0, 2165, python\n")
    assert only(written).devices == ()


HEAD = ("timestamp, pci.bus_id, name, pcie.link.width.current, pcie.link.width.max, "
        "ecc.errors.uncorrected.volatile.total, temperature.gpu, utilization.gpu\n")
ROW = "2026/01/01 00:{minute:02}:00.000, 00000000:{bus:02x}:00.0, NVIDIA A100, {width}, 16, {errors}, {heat}, {use} %\n"


def sampled(minute: int, **other: int) -> str:
    """A line of a log: GPU 2 runs x8, the others x16."""
    return "".join(ROW.format(**{"minute": minute, "bus": bus, "width": 8 if bus == 2 else 16, "errors": 0,
                                 "heat": 40 + minute, "use": 100, **(other if bus == 3 else {})}) for bus in (1, 2, 3))


def test_a_log_is_read_to_its_end_and_shows_each_gpu_once() -> None:
    sound = HEAD + "".join(map(sampled, range(59)))
    found = only(sound)
    assert [one.bdf for one in found.devices] == ["0000:01:00.0", "0000:02:00.0", "0000:03:00.0"]
    assert [(event.kind, event.bdf, event.line) for event in found.events] == [("link-width", "0000:02:00.0", 3)]
    assert found.events[0].says == only(HEAD + sampled(0)).events[0].says
    late = only(sound + sampled(59, errors=3) + sampled(59, errors=4) + sampled(59, use=0))
    assert [(event.kind, event.bdf, event.count) for event in late.events] == [
        ("link-width", "0000:02:00.0", 1), ("ecc-errors", "0000:03:00.0", 4)]
    assert [one.link.under_load for one in late.devices if one.link is not None] == [True] * 3


def test_a_log_of_too_many_states_says_so() -> None:
    text = HEAD + "".join(sampled(0, errors=number) for number in range(MOST_STATES))
    assert any("too long to be read whole" in note for note in only(text).notes)
    assert not any("too long" in note for note in only(HEAD + 1000 * sampled(0)).notes)


def test_lines_are_those_of_the_file() -> None:
    found = only("one\ntwo\n" + text("q-replays"))
    lines = ("one\ntwo\n" + text("q-replays")).splitlines()
    assert lines[found.events[0].line - 1] == "GPU 00000000:01:00.0"
    assert lines[found.devices[0].line - 1] == "GPU 00000000:01:00.0"


def test_two_outputs_after_each_other_are_two() -> None:
    sections, _ = cut(text("q-replays") + text("q-replays") + text("table-sound") + text("table-sound"))
    assert [section.variant for _, section in sections] == ["nvidia-smi -q"] * 2 + ["nvidia-smi"] * 2


def test_what_a_device_says_for_the_join() -> None:
    device = only(text("q-width-alone")).devices[0]
    assert (device.bdf, device.vendor, device.device, device.index) == ("0000:01:00.0", 0x10DE, 0x2684, 0)
    assert device.link is not None
    assert device.link.under_load is True
    assert (device.link.width, device.link.max_width, device.link.speed_gts) == (8, 16, 16.0)
    assert (device.vram_bytes, device.bars[0].size_bytes) == (24564 << 20, 32768 << 20)
    assert device.more["part"] == "rtx4090"


def test_numbers_only_where_all_gpus_are_listed() -> None:
    """`nvidia-smi -q -i 2` lists one of them."""
    whole = text("q-width-one-of-four")
    assert [device.index for device in only(whole).devices] == [0, 1, 2, 3]
    part = whole.split("GPU 00000000:61:00.0")[0]
    assert [device.index for device in only(part).devices] == [None, None, None]


def test_it_says_what_it_cannot_tell() -> None:
    assert any("under load" in note for note in only(text("q-idle-gen1")).notes)
    assert any("does not show the PCIe link" in note for note in only(text("table-sound")).notes)
    assert any("no count of memory errors" in note for note in only(text("table-sound")).notes)
    assert any("only a verified copy" in note for note in only(text("p2p-allowed")).notes)
    assert any("runs no computation" in note for note in only(text("devicequery-peers")).notes)


def test_an_output_of_nothing_says_nothing() -> None:
    for reader, variant in ((nvidia_smi, "nvidia-smi -q"), (nvidia_smi, "nvidia-smi -q -x"), (nvidia_smi, "nvidia-smi"),
                            (nvidia_topo, "nvidia-smi topo -m"), (nvidia_topo, "nvidia-smi topo -p2p"),
                            (device_query, "deviceQuery")):
        found = reader.read(Section(variant=variant, lines=("", "x"), first_line=1))
        assert (found.devices, found.events) == ((), ())


def test_a_message_that_a_kernel_log_quotes_is_the_logs() -> None:
    assert message("NVRM: Unable to determine the device handle for GPU 0000:41:00.0: Unknown Error") is None
    assert message("Unable to determine the device handle for gpu 0000:41:00.0: GPU is lost.  Reboot") is not None


def test_a_lost_gpu_is_named_by_its_address_also_behind_a_number() -> None:
    found = message("Unable to determine the device handle for GPU3: 0000:C1:00.0: Unknown Error")
    assert found is not None
    assert (found.kind, found.bdf, found.detail) == ("lost", "0000:c1:00.0", "Unknown Error")


def test_names_come_clean() -> None:
    assert listed_gpu("GPU 0: NVIDIA \x1b[31mH200 (UUID: GPU-00000000-0000)") is not None
    found = nvidia_smi.read(Section(variant="nvidia-smi -L", first_line=1, lines=(
        "GPU 0: NVIDIA \x1b[31mH200 (UUID: GPU-00000000-0000)",)))
    assert found.devices[0].name == "NVIDIA [31mH200"


def test_errors_of_cards_before_turing_are_read_from_the_xml_too() -> None:
    """They count single and double bits, with a total of their own (V100, P100)."""
    def counted(total: int) -> str:
        return (f"<single_bit>\n<total>0</total>\n</single_bit>\n"
                f"<double_bit>\n<device_memory>{total}</device_memory>\n<total>{total}</total>\n</double_bit>\n")

    written = (f'<nvidia_smi_log>\n<attached_gpus>1</attached_gpus>\n<gpu id="00000000:41:00.0">\n'
               f"<product_name>Tesla V100-SXM2-16GB</product_name>\n<ecc_errors>\n<volatile>\n{counted(3)}</volatile>\n"
               f"<aggregate>\n{counted(7)}</aggregate>\n</ecc_errors>\n<retired_pages>\n<double_bit_retirement>\n"
               "<retired_count>2</retired_count>\n</double_bit_retirement>\n</retired_pages>\n</gpu>\n</nvidia_smi_log>\n")
    gpu, = xml_gpus(written.splitlines())
    assert (gpu.ecc_uncorrected_volatile, gpu.ecc_uncorrected, gpu.retired_double) == (3, 7, 2)
    assert [(event.kind, event.severity) for event in only(written).events] == [
        ("ecc-errors", "fail"), ("ecc-errors", "warn")]


@pytest.mark.parametrize(("cell", "wanted"), [("0", True), ("Off", False), ("²", None), ("٣", None), ("1" * 4000, None)])
def test_a_count_in_the_table_has_plain_digits(cell: str, wanted: bool | None) -> None:
    lines = text("table-sound").replace("                 Off |\n", f"                 {cell} |\n").splitlines()
    assert next(iter(table_gpus(lines))).ecc is wanted


def test_errors_of_nvlinks_are_told_for_each_gpu() -> None:
    """`nvidia-smi nvlink -e`, which our own advice names; it was taken for a list of GPUs and no more."""
    head = "GPU {}: NVIDIA A100-SXM4-40GB (UUID: GPU-0000000{}-0000-0000-0000-000000000000)\n"
    rows = "\t Link {0}: Replay Errors: {1}\n\t Link {0}: Recovery Errors: 0\n\t Link {0}: CRC Errors: {2}\n"
    found = only(head.format(0, 0) + rows.format(0, 0, 0) + rows.format(1, 0, 0)
                 + head.format(1, 1) + rows.format(0, 2, 7) + rows.format(1, 0, 0))
    event, = found.events
    assert (event.kind, event.severity, event.count, event.labels, event.line) == (
        "nvlink-errors", "warn", 9, ("GPU 1", "link 0"), 8)
    assert len(found.devices) == 2


def test_errors_of_an_nvlink_are_none_of_a_riser(tmp_path: Path) -> None:
    place = tmp_path / "nvlink.txt"
    place.write_text(text("nvlink-errors"))
    problem, = triage([str(place)]).problems
    assert "NVLink" in problem.part

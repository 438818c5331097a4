"""nvidia-smi: sections of drivers to come, and whether all GPUs that the driver has are listed."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxcheck.decode.nvidia_smi_flat import is_new_head
from boxcheck.triage.cut import cut
from boxcheck.triage.evidence import Evidence
from boxcheck.triage.tools import nvidia_smi

CORPUS = Path(__file__).parents[1] / "corpus" / "nvidia-smi"
HEADS = ("Some New Section", "Sparse Operation Mode", "Health Summary", "Channel/TPC Repair Pending", "BBX",
         "Adaptive Tick Rate", "Graphics Processing Clusters", "Row Remapper Histogram", "Rack Info", "JPEG Utilization")
QUERY = """\
==============NVSMI LOG==============

Driver Version                            : 640.12

Attached GPUs                             : 1
GPU 00000000:07:00.0
    Product Name                          : NVIDIA A100-SXM4-80GB
    {head}
        Xyzzy Count                       : N/A
    GPU Power Readings
        Average Power Draw                : [GPU requires reset]
    Temperature
        GPU Current Temp                  : 30 C
"""


def text(name: str) -> str:
    return (CORPUS / f"{name}.txt").read_text()


def only(written: str) -> Evidence:
    sections, _ = cut(written)
    assert len(sections) == 1
    reader, section = sections[0]
    return reader.read(section)


def flat(written: str) -> str:
    return "\n".join(" ".join(line.split()) for line in written.split("\n"))


@pytest.mark.parametrize("head", HEADS)
def test_a_section_that_is_not_known_stays_inside(head: str) -> None:
    found = only(QUERY.format(head=head))
    assert [(event.kind, event.bdf) for event in found.events] == [("gpu-reset-needed", "0000:07:00.0")]


@pytest.mark.parametrize("head", [head for head in HEADS if " " in head])
def test_it_stays_inside_where_the_indentation_is_lost(head: str) -> None:
    found = only(flat(QUERY.format(head=head)))
    assert [(event.kind, event.bdf) for event in found.events] == [("gpu-reset-needed", "0000:07:00.0")]


@pytest.mark.parametrize("line", [
    "Thanks in advance for any help", "I see the same here.", "    and then it crashed.", "HSA System Attributes",
    "Memory Device", "System Slot Information", "ada@box:~$ uname -r", "[   12.0] NVRM: loading",
    "Nov 20 10:11:12 rig kernel: nvidia 0000:41:00.0: enabling device", "Call Trace:", "Kind Regards, Ada",
    "Modules linked in: nvidia(OE) snd_hda_intel", "Hardware name: ASUS System Product Name/ROMED8-2T, BIOS 3.80",
])
def test_prose_logs_and_other_tools_end_it(line: str) -> None:
    assert not nvidia_smi.belongs("nvidia-smi -q", line)


def test_rows_below_a_new_head_are_none_of_the_section_before() -> None:
    found = only(flat(QUERY.format(head="Brand New Status")).replace(
        "Brand New Status", "FB Memory Usage\nTotal : 81920 MiB\nBAR1 Memory Usage\nUsed : 1 MiB\nBrand New Status\nTotal : 5 MiB"))
    assert found.devices[0].vram_bytes == 81920 << 20
    assert found.devices[0].bars == ()


def test_new_heads() -> None:
    assert is_new_head("    Some New Section")
    assert is_new_head("Some New Section")
    assert not is_new_head("    PCI")
    assert not is_new_head("NVIDIA GeForce RTX 4090")
    assert not is_new_head("A" * 5000)


@pytest.mark.parametrize(("name", "severity"), [
    ("q-attached-three-listed-two", "fail"), ("q-attached-three-cut", "info"), ("q-one-of-two-listed", "info"),
])
def test_fewer_than_are_attached(name: str, severity: str) -> None:
    event = next(event for event in only(text(name)).events if event.kind == "gpu-missing")
    assert event.severity == severity
    assert text(name).splitlines()[event.line - 1].startswith("Attached GPUs")


def test_a_gpu_that_the_text_calls_lost_is_not_missing_as_well() -> None:
    assert [event.kind for event in only(text("q-attached-three-one-lost")).events] == ["gpu-lost"]


def test_fewer_in_xml() -> None:
    written = text("xml-sound")
    listed = written.count("<gpu id=")
    more = written.replace(f"<attached_gpus>{listed}<", f"<attached_gpus>{listed + 1}<")
    assert more != written
    wanted = "info" if listed == 1 else "fail"
    assert [(event.kind, event.severity) for event in only(more).events] == [("gpu-missing", wanted)]
    assert only(more).readings == {"attached_gpus": listed + 1, "gpus": listed, "whole": False}


@pytest.mark.parametrize(("name", "readings"), [
    ("q-attached-three-listed-two", {"attached_gpus": 3, "gpus": 2, "whole": False}),
    ("q-width-one-of-four", {"attached_gpus": 4, "gpus": 4, "whole": True}),
    ("q-cut-head", {"gpus": 1, "whole": False}), ("grep-width-without-rules", {"gpus": 3, "whole": False}),
    ("table-sound", {"gpus": 2, "whole": True}), ("table-cut-head", {"gpus": 2, "whole": False}),
])
def test_the_count_and_whether_it_is_whole(name: str, readings: dict[str, int | bool]) -> None:
    assert only(text(name)).readings == readings


def test_a_table_that_stops_within_a_gpu_is_not_whole() -> None:
    lines = text("table-sound").splitlines()
    last = max(at for at, line in enumerate(lines) if ".0 Off" in line or ".0  On" in line)
    assert only("\n".join(lines[:last + 2])).readings["whole"] is False


def test_a_list_without_its_first_lines_is_not_whole() -> None:
    lines = [f"GPU {index}: NVIDIA H200 (UUID: GPU-0000000{index}-0000)" for index in range(3)]
    assert only("\n".join(lines)).readings == {"gpus": 3, "whole": True}
    assert only("\n".join(lines[1:])).readings == {"gpus": 2, "whole": False}


def test_what_it_lists_is_a_gpu_though_its_card_is_not_in_the_database() -> None:
    assert only(text("table-sound").replace("GeForce RTX 4090", "QX 1234")).devices[0].class_code == 0x030200

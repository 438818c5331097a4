"""How many GPUs each tool lists, and whether that is known to be all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxcheck.triage.cut import cut
from boxcheck.triage.evidence import Evidence
from boxcheck.triage.tools.listing import ends_alike, in_order, listing
from boxcheck.triage.tools.matrix_cards import vendor_named
from boxcheck.triage.tools.runtime_device import runtime_device

CORPUS = Path(__file__).parents[1] / "corpus"
LSPCI = """\
00:00.0 Host bridge: Advanced Micro Devices, Inc. [AMD] Starship/Matisse Root Complex
00:01.1 PCI bridge: Advanced Micro Devices, Inc. [AMD] Starship/Matisse GPP Bridge
00:14.0 SMBus: Advanced Micro Devices, Inc. [AMD] FCH SMBus Controller (rev 61)
01:00.0 VGA compatible controller: NVIDIA Corporation AD102 [GeForce RTX 4090] (rev a1)
01:00.1 Audio device: NVIDIA Corporation AD102 High Definition Audio Controller (rev a1)
02:00.0 Non-Volatile memory controller: Samsung Electronics Co Ltd NVMe SSD Controller PM9A1/PM9A3/980PRO
41:00.0 VGA compatible controller: NVIDIA Corporation AD102 [GeForce RTX 4090] (rev a1)
"""


def only(text: str) -> Evidence:
    sections, _ = cut(text)
    assert len(sections) == 1
    reader, section = sections[0]
    return reader.read(section)


def count(text: str) -> tuple[object, object]:
    readings = only(text).readings
    return readings.get("gpus"), readings.get("whole")


def corpus(name: str) -> str:
    return (CORPUS / f"{name}.txt").read_text()


def grep(text: str, *words: str) -> str:
    return "".join(f"{line}\n" for line in text.splitlines() if any(word in line for word in words))


@pytest.mark.parametrize(("text", "wanted"), [
    (LSPCI, (2, True)), (grep(LSPCI, "NVIDIA"), (2, False)), (grep(LSPCI, "VGA", "bridge"), (2, False)),
    (LSPCI.partition("\n")[2], (2, False)), ("\n".join(LSPCI.splitlines()[:4]), (1, False)),
])
def test_lspci(text: str, wanted: tuple[int, bool]) -> None:
    assert count(text) == wanted


@pytest.mark.parametrize(("name", "wanted"), [
    ("rocminfo/card", (1, True)), ("rocminfo/cut", (0, False)), ("rocminfo/cut-head", (1, False)),
    ("rocm-smi/vbios-differs", (2, True)), ("rocm-smi/allinfo-x8", (1, False)),
    ("amd-smi/x8", (1, False)), ("amd-smi/table-sound", (1, True)),
    ("nvidia-smi/topo-two-sockets", (2, True)), ("nvidia-smi/topo-cut", (3, False)),
    ("nvidia-smi/devicequery-peers", (2, False)), ("p2p/patched-sound", (4, False)),
    ("nvbandwidth/riser-x4", (4, False)), ("nccl/sound", (2, False)), ("rvs/pbqt-slow-gpu", (4, False)),
    ("rocm-bandwidth/no-peers", (2, False)), ("gpu-burn/sound", (4, False)),
])
def test_each_tool(name: str, wanted: tuple[int, bool]) -> None:
    assert count(corpus(name)) == wanted


def test_a_text_of_amd_smi_that_stops_within_a_gpu_is_not_whole() -> None:
    one = "    PCIE:\n        WIDTH: 16\n        SPEED: 16 GT/s\n        REPLAY_COUNT: N/A\n"
    text = f"GPU: 0\n{one}\nGPU: 1\n{one}"
    assert count(text) == (2, True)
    assert count(text.removesuffix("        REPLAY_COUNT: N/A\n")) == (2, False)
    assert count(text.replace("GPU: 0", "GPU: 2")) == (2, False)


def test_fields_of_a_single_gpu_may_be_of_one_that_was_chosen() -> None:
    head, row = "index, name, pci.bus_id\n", "{0}, NVIDIA GeForce RTX 4090, 00000000:{0}1:00.0\n"
    assert count(head + row.format(0)) == (1, False)
    assert count(head + row.format(0) + row.format(1)) == (2, True)
    assert count(head + 3 * (row.format(0) + row.format(1))) == (2, True)


@pytest.mark.parametrize("name", ["p2p/patched-sound", "nvbandwidth/riser-x4", "nccl/sound", "gpu-burn/sound",
                                  "nvidia-smi/devicequery-peers", "p2p/superbench-stream-slow",
                                  "p2p/simple-passed"])
def test_numbers_of_the_cuda_runtime_are_none_of_nvidia_smis(name: str) -> None:
    devices = only(corpus(name)).devices
    assert devices
    for number, device in enumerate(devices):
        assert device.index is None
        assert device.more["cuda_index"] == number
        assert (device.vendor, device.class_code) == (0x10DE, 0x030200)


def test_numbers_of_the_hip_runtime_have_their_own_name() -> None:
    assert dict(runtime_device(line=1, index=2, name="AMD Radeon RX 7900 XTX").more) == {"hip_index": 2}
    assert dict(runtime_device(line=1, index=None, name="NVIDIA H200").more) == {}


@pytest.mark.parametrize(("name", "vendor"), [
    ("NVIDIA GeForce RTX 4090", 0x10DE), ("Tesla V100-PCIE-32GB", 0x10DE), ("AMD Instinct MI300X", 0x1002),
    ("Radeon RX 7900 XTX", 0x1002), ("Intel(R) Arc(TM) A770", None), ("", None), (None, None),
])
def test_vendors_by_name(name: str | None, vendor: int | None) -> None:
    assert vendor_named(name) == vendor


def test_what_makes_a_list_whole() -> None:
    assert in_order([0, 1, 2])
    assert not in_order([1, 2])
    assert not in_order([None])
    assert listing([]) == {}
    assert not ends_alike(["GPU: 0", "A: 1"], [0])
    assert ends_alike(["GPU: 0", "A: 1", "GPU: 1", "A: 2"], [0, 2])
    assert not ends_alike(["GPU: 0", "A: 1", "B: 1", "GPU: 1", "A: 2"], [0, 3])

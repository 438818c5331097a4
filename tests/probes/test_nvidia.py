from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from boxcheck.model import Unread
from boxcheck.probes.nvidia import Nvidia, parse_banner, parse_colons, parse_information
from boxcheck.probes.nvml import (
    SMI,
    SMI_FIELDS,
    SMI_LONG,
    SMI_LONG_FIELDS,
    Nvml,
    parse_bus_id,
    parse_nvml,
    parse_smi,
)
from tests.boxes.smi_text import query
from tests.boxes.tree import Symlink
from tests.probes.reading import HOSTILE, fact, kind_of, never_raises, tree

OPEN = ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.133.20  Release Build  (dvs-builder@U22)  "
        "Sun Mar 30 00:31:04 UTC 2025\nGCC version:  gcc version 13.3.0")
CLOSED = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.161.07  Sat Feb 17 22:55:48 UTC 2024\nGCC version: 12"
INFORMATION = ("Model: \t\t NVIDIA GeForce RTX 4090\nIRQ:   \t\t 128\nGPU UUID: \t GPU-aaaa\n"
               "Video BIOS: \t 95.02.3c.40.b1\nBus Location: \t 0000:41:00.0\nDevice Minor: \t 3\nGPU Excluded:\t No\n")


@pytest.mark.parametrize(("text", "version", "is_open"), [
    (OPEN, "570.133.20", True), (CLOSED, "535.161.07", False),
    (OPEN.replace("570.133.20", "570.133.20-p2p"), "570.133.20-p2p", True),
    ("NVRM version: NVIDIA UNIX aarch64 Kernel Module  550.54  x", "550.54", False)])
def test_banners(text: str, version: str, is_open: bool) -> None:
    assert parse_banner(text) == (version, is_open)


def test_what_the_driver_says_of_a_card() -> None:
    card = parse_information(INFORMATION, "0000:41:00.0")  # type: ignore[arg-type]
    assert (card.uuid, card.vbios, card.minor, card.silent) == ("GPU-aaaa", "95.02.3c.40.b1", 3, False)
    lost = parse_information(INFORMATION.replace("95.02.3c.40.b1", "??.??.??.??.??"), "x")  # type: ignore[arg-type]
    assert (lost.vbios, lost.silent) == (None, True)


def machine(**more: str) -> dict[str, Any]:
    return {"/proc/driver/nvidia/version": OPEN, "/proc/driver/nvidia/params":
            'EnableMSI: 1\nRegistryDwords: "ForceP2P=0x11;X=1"\n',
            "/proc/driver/nvidia/gpus/0000:41:00.0/information": INFORMATION, "/sys/module/nvidia_uvm/version": "x", **more}


def test_reads_a_driver(tmp_path: Path) -> None:
    made = tree(machine())
    made["/usr/lib/x86_64-linux-gnu/libcuda.so.1"] = Symlink("libcuda.so.570.133.20")
    made["/usr/lib/x86_64-linux-gnu/libcuda.so.570.133.20"] = b"\x7fELF"
    nvidia = fact(Nvidia, made, tmp_path)
    assert (nvidia.loaded, nvidia.version, nvidia.open_module) == (True, "570.133.20", True)
    assert nvidia.registry == "ForceP2P=0x11;X=1"
    assert [library.version for library in nvidia.libraries] == ["570.133.20"]
    assert (nvidia.uvm_loaded, nvidia.nouveau_loaded, nvidia.persistenced) == (True, False, False)
    assert isinstance(nvidia.gpus, tuple)
    assert [(gpu.bdf, gpu.minor) for gpu in nvidia.gpus] == [("0000:41:00.0", 3)]


def test_no_driver_and_no_knowledge_are_two_things(tmp_path: Path) -> None:
    none = fact(Nvidia, tree({}), tmp_path)
    assert (none.loaded, none.version, none.nouveau_loaded) == (False, None, False)
    unknown = fact(Nvidia, tree({}, whole=False), tmp_path)
    assert kind_of(unknown.loaded) == kind_of(unknown.version) == "not-captured"
    built_in = fact(Nvidia, tree({"/sys/module/nvidia/version": "570.1"}), tmp_path)
    assert (built_in.loaded, built_in.version, built_in.open_module) == (True, "570.1", None)


def test_hostile_texts_end() -> None:
    for parse in (parse_banner, parse_colons, parse_smi, parse_bus_id):
        never_raises(parse, *HOSTILE)
    never_raises(lambda text: parse_information(text, "x"), *HOSTILE)  # type: ignore[arg-type]


# NVML

CARD = {"index": 0, "bdf": "00000000:41:00.0", "name": "NVIDIA GeForce RTX 4090", "uuid": "GPU-a", "vbios": "95.02",
        "persistence": 1, "memory_bytes": 25757220864, "bar1_bytes": 34359738368, "power_limit_milliwatts": 450000,
        "power_default_milliwatts": 450000, "temperature_celsius": 34, "pcie_replays": 2, "event_reasons": 1,
        "remapped_rows": [0, 1, 0, 1], "serial": "0"}


def test_an_answer_of_nvml() -> None:
    nvml = parse_nvml({"driver": "570.133.20", "count": 2, "gpus": [CARD, {"index": 1, "error": 15, "says": "GPU is lost"}],
                       "p2p_read": [[None, 0], [2, None]]})
    assert isinstance(nvml.gpus, tuple)
    first, second = nvml.gpus
    assert (first.bdf, first.persistence, first.power_limit_watts) == ("0000:41:00.0", True, 450.0)
    assert (first.remapped_uncorrected, first.remap_pending, first.remap_failed) == (1, False, True)
    assert (first.serial, first.ecc) == (None, None)
    assert second.lost
    assert nvml.peers == {(0, 1): 0, (1, 0): 2}


def test_nvml_refuses() -> None:
    refused = parse_nvml({"error": 18, "says": "Driver/library version mismatch"})
    assert refused.mismatch
    assert kind_of(refused.gpus) == "error"
    assert kind_of(parse_nvml({"error": "no-binding"}).gpus) == "unsupported"


@pytest.mark.parametrize("value", [
    None, [], 5, "x", {}, {"gpus": None}, {"gpus": [1, None, {"bdf": 7, "remapped_rows": [True], "persistence": "on",
                                                              "temperature_celsius": "hot", "event_reasons": -1}]},
    {"gpus": [], "p2p_read": {"0": 1}}, {"gpus": [], "p2p_read": [[1, "x"], 3]}])
def test_any_answer_is_taken(value: Any) -> None:
    nvml = parse_nvml(value)
    if isinstance(nvml.gpus, tuple):
        for gpu in nvml.gpus:
            assert gpu.temperature_celsius is None
            assert gpu.persistence is None


@pytest.mark.parametrize(("text", "bdf"), [
    ("00000000:41:00.0", "0000:41:00.0"), ("0001:C1:1F.7", "0001:c1:1f.7"), ("00010000:41:00.0", "10000:41:00.0"),
    ("41:00.0", None), ("00000000:41:20.0", None), (5, None)])
def test_bus_ids(text: object, bdf: str | None) -> None:
    assert parse_bus_id(text) == bdf


def test_a_capture_answers_and_is_never_asked_again(tmp_path: Path) -> None:
    made = tree(machine())
    made.answer("nvml", "gpus", {"driver": "570.133.20", "count": 1, "gpus": [CARD], "p2p_read": []})
    nvml = fact(Nvml, made, tmp_path)
    assert nvml.of("0000:41:00.0") is not None  # type: ignore[arg-type]
    assert nvml.by == "NVML"


def test_nvidia_smi_answers_in_place_of_nvml(tmp_path: Path) -> None:
    row = "00000000:41:00.0, NVIDIA GeForce RTX 4090, GPU-a, [N/A], 95.02, Enabled, 24564, 450.00, 450.00, 34"
    assert len(row.split(", ")) == len(SMI_FIELDS)
    made = tree(machine())
    made.run(list(SMI), f"{row}\n")
    nvml = fact(Nvml, made, tmp_path)
    card = nvml.of("0000:41:00.0")  # type: ignore[arg-type]
    assert card is not None
    assert (nvml.by, card.persistence, card.memory_bytes, card.serial) == ("nvidia-smi", True, 24564 << 20, None)
    broken = tree(machine())
    broken.run(list(SMI), "Failed to initialize NVML: Driver/library version mismatch\n", exit_status=18)
    assert fact(Nvml, broken, tmp_path).mismatch


def test_the_long_text_of_nvidia_smi_tells_the_rest(tmp_path: Path) -> None:
    rows = [f"00000000:{bus}:00.0, NVIDIA GeForce RTX 4090, GPU-{bus}, [N/A], 95.02, Enabled, 24564, {watts}, 450.00, 34"
            for bus, watts in (("41", "[Unknown Error]"), ("81", "[N/A]"))]
    made = tree(machine())
    made.run(list(SMI), "\n".join(rows))
    short = fact(Nvml, made, tmp_path)
    assert isinstance(short.gpus, tuple)
    assert set(short.gpus[1].unread) == set(SMI_LONG_FIELDS)
    made.run(list(SMI_LONG), query([("00000000:41:00.0", 0x80, 7)], rows=2, failed=True))
    nvml = fact(Nvml, made, tmp_path)
    assert isinstance(nvml.gpus, tuple)
    first, second = nvml.gpus
    assert (first.event_reasons, first.pcie_replays, first.remapped_uncorrected, first.remap_failed) == (0x80, 7, 2, True)
    assert dict(first.unread) == {"power_limit_watts": "nvidia-smi says [Unknown Error]"}
    assert second.missing("power_limit_watts") is None
    assert second.missing("event_reasons") == Unread("nvidia-smi -q does not say", "error")


def test_without_a_driver_nothing_is_asked(tmp_path: Path) -> None:
    assert kind_of(fact(Nvml, tree({}), tmp_path).gpus) == "absent"
    assert kind_of(fact(Nvml, tree(machine()), tmp_path).gpus) == "not-captured"


def test_the_answer_is_plain_json() -> None:
    assert parse_nvml(json.loads(json.dumps({"gpus": [CARD]}))) == parse_nvml({"gpus": [CARD]})
    assert isinstance(parse_nvml(Unread("x")).gpus, Unread)


@pytest.mark.parametrize("celsius", [-273, 0, 151, 1e9, float("nan")])
def test_a_gpu_that_runs_is_neither_frozen_nor_molten(celsius: float) -> None:
    found = parse_nvml({"gpus": [{"index": 0, "bdf": "0000:41:00.0", "temperature_celsius": celsius}]}).gpus
    assert not isinstance(found, Unread)
    assert found[0].temperature_celsius is None
    assert found[0].missing("temperature_celsius") is not None
    row = f"00000000:41:00.0, RTX, GPU-1, 0, 95.02, Enabled, 24564, 450.00, 450.00, {celsius}"
    assert parse_smi(row)[0].temperature_celsius is None
    assert parse_smi(row)[0].missing("temperature_celsius") is not None


def test_a_gpu_just_above_zero_was_read() -> None:
    found = parse_nvml({"gpus": [{"index": 0, "bdf": "0000:41:00.0", "temperature_celsius": 1}]}).gpus
    assert not isinstance(found, Unread)
    assert found[0].temperature_celsius == 1.0
    assert found[0].missing("temperature_celsius") is None

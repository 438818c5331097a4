"""Outputs of benchmarks on other people's machines: what is in them, checked by hand against each file."""

from __future__ import annotations

import pytest

from tests.triage.benchmarks import MINE, SHARED, cut, kinds, one, read

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/fixtures is not beside this checkout")

FOUND: dict[str, tuple[str, list[tuple[str, str, str | None]]]] = {
    # file -> (tool, events), by hand
    "issues/nvbandwidth-6xa6000-p2p.txt": ("nvbandwidth v0.8, driver 580.95.05", []),
    "issues/nvbandwidth-8x5090.txt": ("nvbandwidth", []),
    "issues/nvbandwidth-waived-2080ti.txt": (
        "nvbandwidth v0.2, driver 525.125.06", [("tool-waived", "info", None)]),
    "issues/p2p-3x4090-tuxedo.txt": ("p2pBandwidthLatencyTest", []),
    "issues/rbt-validate-fail-vega-riser.txt": ("rocm_bandwidth_test 1.0.0", [("validation-failed", "fail", None)]),
    "issues/rvs-pqt-mi25.txt": ("rvs", []),
    "issues/gpu-burn-16gpu-faulty.txt": ("gpu_burn", [("wrong-results", "fail", None)] * 9),
    "strix-halo-testing/rocm-bandwidth-test.out": ("rocm_bandwidth_test 2.6.0", []),
    "superbenchmark/cuda_memory_d2d_bw.log": ("bandwidthTest", []),
    "superbenchmark/cuda_memory_d2h_bw.log": ("bandwidthTest", []),
    "superbenchmark/cuda_memory_h2d_bw.log": ("bandwidthTest", []),
    "superbenchmark/gpu_copy_bw_performance.log": ("superbench gpu_copy", []),
    "superbenchmark/gpu_stream.log": ("superbench gpu_stream", []),
    "superbenchmark/nvbandwidth_results.log": (
        "nvbandwidth v0.6, driver 550.54.15", [("tool-waived", "info", None)]),
}


@pytest.mark.parametrize("name", sorted(FOUND))
def test_a_capture_says_what_is_in_it(name: str) -> None:
    evidence = one((SHARED / name).read_text(errors="replace"))
    assert (evidence.tool, kinds(evidence)) == FOUND[name]


def test_eight_a100_under_gpu_burn_are_sound() -> None:
    found = cut((SHARED / "superbenchmark/gpu_burn.log").read_text(errors="replace"))
    ours = [section for module, section in found if module == "gpu_burn"]
    assert len(ours) == 1
    from boxcheck.triage.tools import gpu_burn

    evidence = gpu_burn.read(ours[0])
    assert not evidence.events
    assert evidence.readings["gpu"] == list(range(8))
    assert min(evidence.readings["gigaflops"]) > 16_800
    assert max(evidence.readings["hottest_celsius"]) == 62


def test_four_rtx_6000_ada_in_a_page_with_everything_are_sound() -> None:
    evidence = read((SHARED / "stelline/asus-esc8000a-e12.md").read_text())
    assert [one.tool for one in evidence] == ["bandwidthTest"] * 4 + ["p2pBandwidthLatencyTest"]
    assert not [event for one in evidence for event in one.events]
    assert [device.bdf for device in evidence[4].devices] == [f"0000:{bus}:00.0" for bus in ("01", "41", "c1", "e1")]
    assert evidence[4].readings["unidirectional_p2p_on_gigabytes_per_second"][0] == [802.93, 26.33, 26.32, 26.32]
    assert evidence[0].readings["h2d_highest_gigabytes_per_second"] == 26.8


def test_the_readings_are_those_of_the_files() -> None:
    strix = one((SHARED / "strix-halo-testing/rocm-bandwidth-test.out").read_text())
    assert strix.readings["unidirectional_gigabytes_per_second"] == [[None, 83.715], [85.476, 212.588]]
    assert [device.bdf for device in strix.devices] == ["0000:c3:00.0"]
    tuxedo = one((SHARED / "issues/p2p-3x4090-tuxedo.txt").read_text())
    assert tuxedo.readings["bidirectional_p2p_on_gigabytes_per_second"][1] == [41.38, 923.19, 41.37]
    v100 = one((SHARED / "superbenchmark/cuda_memory_h2d_bw.log").read_text())
    assert 12 < v100.readings["h2d_highest_gigabytes_per_second"] < 13
    faulty = one((SHARED / "issues/gpu-burn-16gpu-faulty.txt").read_text())
    assert [event.labels[0] for event in faulty.events] == [f"gpu{index}" for index in (0, 1, 2, 3, 4, 9, 11, 14, 15)]
    riser = one((SHARED / "issues/rbt-validate-fail-vega-riser.txt").read_text())
    assert riser.events[0].labels == ("gpu1",)


@pytest.mark.parametrize("path", sorted(
    path for folder in ("issues", "lkml", "gpud", "pciutils", "linuxhw-DMI", "nvidia_gpu_exporter", "thamada-nvidia-smi",
                        "jc", "linuxhw-LsPCI", "azurehpc-health-checks")
    for path in (SHARED / folder).glob("*") if path.is_file() and path.suffix not in (".gz", ".bz2", ".md")
    and f"{folder}/{path.name}" not in FOUND), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_is_no_benchmark_is_not_taken_for_one(path: object) -> None:
    from pathlib import Path

    assert isinstance(path, Path)
    assert not [module for module, _ in cut(path.read_text(errors="replace")) if module in MINE]

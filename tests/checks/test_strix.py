from __future__ import annotations

from typing import Any

import msgspec
import pytest

from boxcheck.checks.steps import GRUB_WRITE
from boxcheck.checks.strix_memory import CARVE_OUT_STEP
from boxcheck.decode.cmdline import parse_cmdline
from boxcheck.model import Finding
from boxcheck.probes.amdgpu import Amdgpu, Ttm
from boxcheck.probes.kfd import Kfd
from boxcheck.probes.memory import Memory
from boxcheck.probes.modules import COMMAND_LINE, Asked, ModuleSettings
from boxcheck.probes.tuning import Tuning
from boxcheck.problems import group
from boxcheck.profile import GpuPart, Profile
from tests.checks.cards import gpu, gpus
from tests.checks.judging import DENIED, GONE, judge, outcome
from tests.checks.test_amdgpu import amdgpu, card, node
from tests.checks.test_kernel import box, kernel, settings

GIB = 1 << 30
PAGES_124, PAGES_128 = 32505856, 33554432
PART = GpuPart(key="strix-halo", name="Strix Halo", pci_ids=("1002:1586",), arch="gfx1151", vram_gib=0)
APU = gpu(0, pci_id="1002:1586", part=PART, integrated=True, slot=None, name="Strix Halo")
ONE = gpus(APU)
MEMORY = Memory(
    total_bytes=round(125.1 * GIB), swap_bytes=0, huge_pages_bytes=0, installed_bytes=128 * GIB, modules=(), channels=(),
    error_correction="None", ecc=False, edac=(), carve_out_bytes=GIB >> 1, theoretical_gbs=256.0)


def asked(*texts: str, place: str = COMMAND_LINE) -> ModuleSettings:
    found = []
    for text in texts:
        name, _, value = text.partition("=")
        module, _, parameter = name.partition(".")
        found.append(Asked(module, parameter, value, place))
    return settings(*found)


def driver(pages: Any = PAGES_124, gtt: Any = None, vram: Any = GIB >> 1, ttm: str = "ttm") -> Amdgpu:
    gtt_bytes = pages * 4096 if gtt is None else gtt
    return amdgpu(card(APU, vram_bytes=vram, visible_vram_bytes=vram, gtt_bytes=gtt_bytes), ttm=Ttm(ttm, pages, pages))


HALF = round(125.1 * GIB) // 2 // 4096
SET = asked(f"ttm.pages_limit={PAGES_124}")


def profile(limits: dict[str, Any] | None = None) -> Profile:
    return box(limits, part=PART, count=1)


def strix(check: str, amd: Amdgpu, set_: ModuleSettings = SET, *more: Any, memory: Memory = MEMORY,
          limits: dict[str, Any] | None = None) -> Finding:
    (finding,) = judge(f"strix.{check}", ONE, amd, memory, set_, *more, profile=profile(limits))
    return finding


@pytest.mark.parametrize(("amd", "wanted"), [
    (driver(), "pass"), (driver(120 * 262144), "pass"), (driver(120 * 262144 - 4096), "marginal"), (driver(HALF), "marginal"),
    (driver(HALF, gtt=124 * GIB), "marginal"),  # what the GTT promises and TTM does not give
    (driver(HALF, vram=120 * GIB), "pass"),  # the BIOS route
    (driver(GONE, gtt=GIB), "unknown"), (driver(gtt=GONE), "unknown")])
def test_gpu_memory(amd: Amdgpu, wanted: str) -> None:
    limits = {"strix.gpu_memory_gib": {"should": 120.0}}
    assert strix("gpu-memory", amd, limits=limits).outcome.value == wanted
    assert strix("gpu-memory", amd).outcome.value == "skip"


def test_the_help_has_the_numbers_of_this_box() -> None:
    finding = strix("gpu-memory", driver(HALF), asked(), limits={"strix.gpu_memory_gib": 120.0})
    assert f"ttm.pages_limit={PAGES_124} ttm.page_pool_size={PAGES_124}" in finding.help[0]
    assert "amdgpu.gttsize=126976" in finding.help[0]
    assert "124 of 128 GiB" in finding.help[0]
    assert "default of half" in finding.says
    smaller = msgspec.structs.replace(MEMORY, installed_bytes=64 * GIB)
    finding = strix("gpu-memory", driver(HALF // 2, ttm="amdttm"), asked(), memory=smaller,
                    limits={"strix.gpu_memory_gib": 60.0})
    assert "amdttm.pages_limit=15728640" in finding.help[0]


@pytest.mark.parametrize(("set_", "amd", "wanted", "words"), [
    (SET, driver(), "pass", "124 GiB"), (asked(), driver(HALF), "pass", "nothing was asked"),
    (asked(f"ttm.pages_limit={PAGES_124}", "amdgpu.gttsize=126976"), driver(), "pass", "124 GiB"),
    (asked(f"ttm.pages_limit={PAGES_124}", "amdgpu.gttsize=131072"), driver(), "fail", "33554432 pages"),
    (asked("amdgpu.gttsize=126976"), driver(HALF, gtt=124 * GIB), "pass", "124 GiB"),
    (asked("amdgpu.gttsize=126976"), driver(HALF), "fail", "reports"), (asked("amdgpu.gttsize=-1"), driver(HALF), "pass", ""),
    (asked(f"amdttm.pages_limit={PAGES_124}"), driver(HALF), "fail", "not amdttm"),
    (asked(f"amdttm.pages_limit={PAGES_124}", f"ttm.pages_limit={PAGES_124}"), driver(), "pass", ""),
    (asked(f"amdttm.pages_limit={PAGES_124}"), driver(ttm="amdttm"), "pass", ""),
    (asked(f"ttm.pages_limit={PAGES_124}", place="/etc/modprobe.d/ttm.conf"), driver(HALF), "fail", "/etc/modprobe.d"),
    (SET, driver(GONE, gtt=GIB), "unknown", ""), (settings(unread=GONE), driver(), "unknown", "")])
def test_gtt_as_asked(set_: ModuleSettings, amd: Amdgpu, wanted: str, words: str) -> None:
    finding = strix("gtt-as-asked", amd, set_)
    assert finding.outcome.value == wanted
    assert words in finding.says


def test_an_initramfs_that_was_not_rebuilt() -> None:
    finding = strix("gtt-as-asked", driver(HALF), asked(f"ttm.pages_limit={PAGES_124}", place="/etc/modprobe.d/ttm.conf"))
    assert "update-initramfs" in finding.help[0]


@pytest.mark.parametrize(("text", "wanted"), [
    ("amdgpu.gtt_size=126976", "fail"), ("ttm.page_limit=1", "fail"), ("amdgpu.gttsize=126976", "pass")])
def test_gtt_unknown_param(text: str, wanted: str) -> None:
    assert strix("gtt-unknown-param", driver(HALF), asked(text)).outcome.value == wanted
    assert strix("gtt-unknown-param", driver(HALF), settings(unread=GONE)).outcome.value == "unknown"
    half_read = settings(*asked(text).asked, unread=DENIED)
    assert strix("gtt-unknown-param", driver(HALF), half_read).outcome.value == ("unknown" if wanted == "pass" else wanted)


def test_a_leftover_elsewhere_is_only_marginal() -> None:
    facts = (gpus(gpu()), amdgpu(), MEMORY, asked("amdgpu.gtt_size=1"))
    assert outcome("strix.gtt-unknown-param", *facts) == "marginal"


@pytest.mark.parametrize(("pages", "wanted"), [
    (PAGES_124, "pass"), (PAGES_124 + 1, "marginal"), (PAGES_128, "marginal"), (GONE, "unknown")])
def test_gtt_headroom(pages: Any, wanted: str) -> None:
    assert strix("gtt-headroom", driver(pages, gtt=GIB)).outcome.value == wanted


def test_installed_memory_without_root() -> None:
    guessed = msgspec.structs.replace(MEMORY, installed_bytes=GONE)
    finding = strix("gtt-headroom", driver(), memory=guessed)
    assert finding.outcome.value == "pass"
    assert "root reads it from SMBIOS" in finding.notes[0]
    nothing = msgspec.structs.replace(guessed, total_bytes=GONE)
    assert strix("gtt-headroom", driver(), memory=nothing).outcome.value == "unknown"


@pytest.mark.parametrize(("vram", "wanted"), [(GIB >> 1, "pass"), (GIB, "marginal"), (GONE, "unknown")])
def test_carve_out(vram: Any, wanted: str) -> None:
    limits = {"strix.carve_out_gib": {"should": 0.5}}
    assert strix("carve-out", driver(vram=vram), limits=limits).outcome.value == wanted


@pytest.mark.parametrize(("memory", "release", "wanted", "cause"), [
    (124 * GIB, "6.18.4", "pass", None), (32 * GIB, "6.18.4", "pass", None),
    (32 * GIB - 1024 ** 2 * 10, "6.18.4", "fail", "strix-memory:"), (15 * GIB, "6.16.8", "fail", "kernel-too-old:"),
    (15 * GIB, "6.16.9", "fail", "strix-memory:"), (15 * GIB, "6.14.0-1014-oem", "fail", "strix-memory:"),
    (GONE, "6.18.4", "unknown", None)])
def test_kfd_memory(memory: Any, release: str, wanted: str, cause: str | None) -> None:
    shown = Kfd((node(APU, memory_bytes=memory),))
    finding = strix("kfd-memory", driver(), SET, shown, kernel(release=release, upstream=None),
                    limits={"strix.kfd_memory_gib": 32.0})
    assert (finding.outcome.value, finding.cause) == (wanted, cause)


def test_kfd_without_the_apu() -> None:
    finding = strix("kfd-memory", driver(), SET, Kfd(()), kernel(), limits={"strix.kfd_memory_gib": 32.0})
    assert finding.outcome.value == "unknown"


@pytest.mark.parametrize(("line", "wanted"), [
    ("amd_iommu=off", "pass"), ("iommu=pt", "marginal"), ("quiet", "marginal"), (None, "unknown")])
def test_iommu(line: str | None, wanted: str) -> None:
    facts = kernel(command_line=GONE if line is None else parse_cmdline(line))
    assert strix("iommu", driver(), SET, facts, limits={"strix.iommu_off": {"should": True}}).outcome.value == wanted


@pytest.mark.parametrize(("active", "wanted"), [
    ("accelerator-performance", "pass"), ("balanced", "marginal"), (None, "marginal"), (GONE, "unknown")])
def test_tuned(active: Any, wanted: str) -> None:
    limits = {"strix.tuned_profile": {"should": ["accelerator-performance"]}}
    assert strix("tuned", driver(), SET, Tuning(active), limits=limits).outcome.value == wanted


@pytest.mark.parametrize("check", ["strix.gpu-memory", "strix.gtt-as-asked", "strix.gtt-headroom", "strix.carve-out"])
def test_other_machines(check: str) -> None:
    other = (gpus(gpu()), amdgpu(), MEMORY, asked())
    assert outcome(check, *other) == "skip"
    assert outcome(check, *other, profile=profile()) == "unknown"


@pytest.mark.parametrize(("installed", "asks", "wanted"), [
    (128 * GIB, {"must": 96.0, "should": 120.0}, "pass"), (64 * GIB, {"must": 96.0, "should": 120.0}, "fail"),
    (96 * GIB, {"must": 96.0, "should": 120.0}, "marginal"), (64 * GIB, {"must": 32.0}, "marginal")])
def test_more_memory_than_there_is_cannot_be_given(installed: int, asks: Any, wanted: str) -> None:
    small = msgspec.structs.replace(MEMORY, installed_bytes=installed, total_bytes=installed - 3 * GIB)
    finding = strix("gpu-memory", driver(), memory=small, limits={"strix.gpu_memory_gib": asks})
    assert finding.outcome.value == wanted
    if wanted != "pass":
        assert "124 GiB" in finding.says
        assert f"{installed // GIB} GiB of memory are installed" in finding.says
    nobody = msgspec.structs.replace(MEMORY, installed_bytes=GONE, total_bytes=GONE)
    finding = strix("gpu-memory", driver(), memory=nobody, limits={"strix.gpu_memory_gib": asks})
    assert finding.outcome.value == "unknown"


def test_a_large_carve_out_explains_what_the_gpu_lacks_and_the_help_reckons_with_a_small_one() -> None:
    """64 GiB in the BIOS: pages_limit for what is left, 60 GiB, would be wrong once the BIOS was set as told."""
    limits = {"strix.carve_out_gib": {"should": 0.5}, "strix.gpu_memory_gib": 120.0}
    found = [strix(check, driver(HALF // 2, vram=64 * GIB), asked(), limits=limits)
             for check in ("gpu-memory", "carve-out")]
    (problem,), _ = group(found)
    assert problem.title == "the BIOS keeps 64 GiB for the GPU"
    assert f"ttm.pages_limit={PAGES_124} " in problem.help[0]
    assert problem.help[1:] == (GRUB_WRITE, CARVE_OUT_STEP)  # one reboot for both


def test_a_carve_out_that_the_profile_does_not_mind_stays_in_the_sum() -> None:
    finding = strix("gpu-memory", driver(HALF // 2, vram=64 * GIB), asked(), limits={"strix.gpu_memory_gib": 120.0})
    assert "ttm.pages_limit=15728640 " in finding.help[0]  # 128 - 64 - 4 GiB
    assert "BIOS" not in " ".join(finding.help)


def test_what_stands_in_the_way_of_the_remedy_is_named() -> None:
    finding = strix("gtt-as-asked", driver(PAGES_124, gtt=64 * GIB),
                    asked(f"ttm.pages_limit={PAGES_124}", "amdgpu.gttsize=65536"))
    assert "in place of `amdgpu.gttsize=65536`:" in finding.help[0]
    finding = strix("gtt-headroom", driver(PAGES_128), asked(f"ttm.pages_limit={PAGES_128}", place="/etc/modprobe.d/a"))
    assert f"in place of `ttm.pages_limit={PAGES_128}` of /etc/modprobe.d/a:" in finding.help[0]
    assert "in place of" not in strix("gpu-memory", driver(HALF), asked(), limits={"strix.gpu_memory_gib": 120.0}).help[0]

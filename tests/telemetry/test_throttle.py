"""Every bit by name and kind."""

from __future__ import annotations

import pytest

from boxcheck.checks import throttle as check
from boxcheck.telemetry.throttle import AMDGPU, AMDGPU_COUNTERS, amdgpu_reasons, nvml_reasons

NVML_BITS = {
    0x1: ("GpuIdle", "idle"), 0x2: ("ApplicationsClocksSetting", "setting"), 0x4: ("SwPowerCap", "power-cap"),
    0x8: ("HwSlowdown", "hardware"), 0x10: ("SyncBoost", "setting"), 0x20: ("SwThermalSlowdown", "thermal-software"),
    0x40: ("HwThermalSlowdown", "thermal-hardware"), 0x80: ("HwPowerBrakeSlowdown", "power-brake"),
    0x100: ("DisplayClockSetting", "setting"), 0x200: ("BoardLimit", "power-cap"), 0x400: ("Reliability", "reliability"),
}
AMD_BITS = {
    0: ("PPT0", "power-cap"), 1: ("PPT1", "power-cap"), 2: ("PPT2", "power-cap"), 3: ("PPT3", "power-cap"),
    4: ("SPL", "power-cap"), 5: ("FPPT", "power-cap"), 6: ("SPPT", "power-cap"), 7: ("SPPT_APU", "power-cap"),
    16: ("TDC_GFX", "current"), 17: ("TDC_SOC", "current"), 18: ("TDC_MEM", "current"), 19: ("TDC_VDD", "current"),
    20: ("TDC_CVIP", "current"), 21: ("EDC_CPU", "current"), 22: ("EDC_GFX", "current"), 23: ("APCC", "current"),
    32: ("TEMP_GPU", "thermal-software"), 33: ("TEMP_CORE", "thermal-software"), 34: ("TEMP_MEM", "thermal-software"),
    35: ("TEMP_EDGE", "thermal-software"), 36: ("TEMP_HOTSPOT", "thermal-software"),
    37: ("TEMP_SOC", "thermal-software"), 38: ("TEMP_VR_GFX", "thermal-software"),
    39: ("TEMP_VR_SOC", "thermal-software"), 40: ("TEMP_VR_MEM0", "thermal-software"),
    41: ("TEMP_VR_MEM1", "thermal-software"), 42: ("TEMP_LIQUID0", "thermal-software"),
    43: ("TEMP_LIQUID1", "thermal-software"), 44: ("VRHOT0", "thermal-hardware"), 45: ("VRHOT1", "thermal-hardware"),
    46: ("PROCHOT_CPU", "prochot"), 47: ("PROCHOT_GFX", "prochot"), 56: ("PPM", "thermal-software"),
    57: ("FIT", "reliability"),
}


@pytest.mark.parametrize("bits", NVML_BITS)
def test_a_reason_of_nvml_has_its_name_and_kind(bits: int) -> None:
    (found,) = nvml_reasons(bits)
    assert (found.code, found.kind) == NVML_BITS[bits]


@pytest.mark.parametrize("bit", range(64))
def test_a_reason_of_amdgpu_has_its_name_and_kind(bit: int) -> None:
    (found,) = amdgpu_reasons(1 << bit)
    assert (found.code, found.kind) == AMD_BITS.get(bit, (f"bit {bit}", "unknown"))


def test_several_bits_are_several_reasons_lowest_first() -> None:
    assert [one.code for one in nvml_reasons(0x88)] == ["HwSlowdown", "HwPowerBrakeSlowdown"]
    assert [one.code for one in amdgpu_reasons(1 << 36 | 1)] == ["PPT0", "TEMP_HOTSPOT"]
    assert nvml_reasons(0) == amdgpu_reasons(0) == ()


def test_a_bit_without_a_name_is_not_lost() -> None:
    (found,) = nvml_reasons(1 << 40)
    assert (found.code, found.kind) == ("bit 40", "unknown")


def test_no_two_reasons_share_a_name() -> None:
    assert len({one.code for one in AMDGPU.values()}) == len({one.says for one in AMDGPU.values()}) == len(AMDGPU) == 34
    assert set(AMDGPU_COUNTERS) == {"prochot", "spl", "fppt", "sppt", "thm_core", "thm_gfx", "thm_soc"}


def test_doctor_and_a_run_call_a_reason_of_nvml_by_the_same_words() -> None:
    assert [(bit, one.says) for bit, _ in check.REASONS for one in nvml_reasons(bit)] == list(check.REASONS)

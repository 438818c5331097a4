"""GPU cards as PCI functions: NVIDIA cards, and RDNA cards with their on-card switch."""

from __future__ import annotations

from tests.boxes.parts import ATI, NVIDIA
from tests.boxes.pci_build import KIB, MIB, Bar, Function
from tests.boxes.pci_config import Express, Msi, PowerManagement, SubsystemIds, VendorSpecific
from tests.boxes.pci_extended import (
    Acs,
    Aer,
    DataLinkFeature,
    L1Substates,
    LaneMargining,
    LatencyTolerance,
    Physical16,
    Physical32,
    RebarEntry,
    ResizableBar,
    SecondaryExpress,
    VendorExtended,
    VirtualChannel,
)


def rtx_4090(serial: int = 0, audio: bool = True, bar1_mib: int = 32 * 1024) -> list[Function]:
    """GeForce RTX 4090 (AD102): display function and audio function."""
    return nvidia_card(
        "GeForce RTX 4090",
        0x2684,
        0x22BA,
        0xA1,
        16.0,
        bar1_mib,
        (0x10DE, 0x16F4),
        (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768),
        audio,
    )


def rtx_5090(serial: int = 0, audio: bool = True, bar1_mib: int = 32 * 1024) -> list[Function]:
    """GeForce RTX 5090 (GB202)."""
    return nvidia_card(
        "GeForce RTX 5090",
        0x2B85,
        0x22E8,
        0xA1,
        32.0,
        bar1_mib,
        (0x10DE, 0x2057),
        (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768),
        audio,
    )


def nvidia_card(
    name: str,
    device: int,
    audio_device: int,
    revision: int,
    max_speed_gts: float,
    bar1_mib: int,
    subsystem: tuple[int, int],
    sizes_mib: tuple[int, ...],
    audio: bool,
) -> list[Function]:
    bar0 = 16 * MIB if device == 0x2684 else 64 * MIB
    gpu = Function(
        name,
        NVIDIA,
        device,
        0x030000,
        revision=revision,
        subsystem=subsystem,
        driver="nvidia",
        rom_size=512 * KIB,
        reset_method="flr bus",
    )
    gpu.bars = [
        Bar(0, bar0, "mem32" if device == 0x2684 else "mem64"),
        Bar(1, bar1_mib * MIB, "mem64pref"),
        Bar(3, 32 * MIB, "mem64pref"),
        Bar(5, 128, "io"),
    ]
    if device != 0x2684:
        gpu.bars = [Bar(0, bar0, "mem64"), Bar(2, bar1_mib * MIB, "mem64pref"), Bar(4, 32 * MIB, "mem64pref")]
    express = Express(
        0x78,
        "legacy",
        max_payload=256,
        payload=256,
        max_speed_gts=max_speed_gts,
        max_width=16,
        speed_gts=max_speed_gts,
        aspm_support=3,
        l1_exit_code=4,
        l0s_exit_code=3,
        clock_pm=True,
        ltr=True,
        function_level_reset=True,
        completion_ranges=0x3,
        completion_timeout=0,
        atomic_64=True,
        atomic_32=True,
        ten_bit_completer=True,
        ten_bit_requester=True,
        retimer_detect=True,
    )
    gpu.capabilities = [
        PowerManagement(0x60),
        Msi(0x68),
        express,
        VendorSpecific(0xB4),
        VirtualChannel(0x100),
        LatencyTolerance(0x250),
        L1Substates(0x258, 0x1F),
        Aer(0x420, correctable_mask=0),
        VendorExtended(0x600, 0x0001, 1, 0x24),
        SecondaryExpress(0x900),
        ResizableBar(0xBB0, entries=[RebarEntry(1 if device == 0x2684 else 2, sizes_mib, bar1_mib)]),
        Physical16(0xC1C),
        LaneMargining(0xD00),
        DataLinkFeature(0xE00),
    ]
    if max_speed_gts >= 32:
        gpu.capabilities.append(Physical32(0xE40))
    if not audio:
        return [gpu]
    sound = Function(
        f"{name} audio",
        NVIDIA,
        audio_device,
        0x040300,
        0,
        1,
        revision=revision,
        subsystem=subsystem,
        driver="snd_hda_intel",
        bars=[Bar(0, 16 * KIB, "mem32")],
        power_control="on",
    )
    sound.capabilities = [
        PowerManagement(0x60),
        Msi(0x68, enabled=False),
        Express(
            0x78,
            "endpoint",
            max_payload=256,
            payload=256,
            max_speed_gts=max_speed_gts,
            max_width=16,
            speed_gts=max_speed_gts,
            aspm_support=3,
            clock_pm=True,
        ),
        VendorExtended(0x100, 0x0001, 1, 0x24),
        Aer(0x160, correctable_mask=0),
        DataLinkFeature(0x1A8),
    ]
    return [gpu, sound]


def radeon_card(
    name: str,
    device: int,
    revision: int,
    audio_device: int,
    *,
    vram_mib: int,
    bar0_mib: int | None = None,
    max_speed_gts: float = 16.0,
    internal_gts: float = 16.0,
    subsystem: tuple[int, int] = (0x1DA2, 0x471E),
    sizes_mib: tuple[int, ...] = (256, 512, 1024, 2048, 4096, 8192, 16384, 32768),
) -> list[Function]:
    """An RDNA card: upstream port 1478 at the slot, downstream port 1479, GPU and audio function behind it.

    The link between 1479 and the GPU is on the card and always runs at full speed.
    """
    aperture = bar0_mib or max(one for one in sizes_mib)
    gpu = Function(
        name,
        ATI,
        device,
        0x030000,
        revision=revision,
        subsystem=subsystem,
        driver="amdgpu",
        rom_size=128 * KIB,
        reset_method="bus",
    )
    gpu.bars = [
        Bar(0, aperture * MIB, "mem64pref"),
        Bar(2, 256 * MIB if aperture > 256 else 2 * MIB, "mem64pref"),
        Bar(4, 256, "io"),
        Bar(5, MIB, "mem32"),
    ]
    gpu.capabilities = [
        VendorSpecific(0x48, data=b"\x08\x00\x00\x00\x00"),
        PowerManagement(0x50),
        Express(
            0x64,
            "legacy",
            max_payload=256,
            payload=256,
            max_speed_gts=internal_gts,
            max_width=16,
            speed_gts=internal_gts,
            aspm_support=3,
            l1_exit_code=0,
            l0s_exit_code=0,
            ltr=True,
            ltr_enabled=True,
            atomic_32=True,
            atomic_64=True,
            atomic_request=True,
            ten_bit_completer=True,
            ten_bit_requester=True,
            completion_timeout=0,
        ),
        Msi(0xA0),
        VendorExtended(0x100),
        Aer(0x150, correctable_mask=0x2000),
        ResizableBar(
            0x200,
            entries=[
                RebarEntry(0, sizes_mib, aperture),
                RebarEntry(2, (2, 4, 8, 16, 32, 64, 128, 256), gpu.bars[1].size // MIB),
            ],
        ),
        SecondaryExpress(0x270),
        Acs(0x2A0, 0x00, 0x00),
        LatencyTolerance(0x320),
        Physical16(0x410),
        LaneMargining(0x440),
    ]
    sound = Function(
        f"{name} audio",
        ATI,
        audio_device,
        0x040300,
        0,
        1,
        subsystem=(ATI, audio_device),
        driver="snd_hda_intel",
        bars=[Bar(0, 16 * KIB, "mem32")],
    )
    sound.capabilities = [
        VendorSpecific(0x48, data=b"\x08\x00\x00\x00\x00"),
        PowerManagement(0x50),
        Express(
            0x64,
            "legacy",
            max_payload=256,
            payload=256,
            max_speed_gts=internal_gts,
            max_width=16,
            speed_gts=internal_gts,
            aspm_support=3,
            l1_exit_code=0,
            l0s_exit_code=0,
            completion_timeout=0,
        ),
        Msi(0xA0),
        VendorExtended(0x100),
        Aer(0x150, correctable_mask=0x2000),
        Acs(0x2A0, 0x00, 0x00),
    ]
    downstream = Function(
        f"{name} switch, downstream port",
        ATI,
        0x1479,
        0x060400,
        bridge=True,
        children=[gpu, sound],
        driver="pcieport",
        revision=0x10 if device == 0x744C else 0x24,
    )
    downstream.capabilities = [
        VendorSpecific(0x48, data=b"\x08\x00\x00\x00\x00"),
        PowerManagement(0x50),
        Express(
            0x58,
            "downstream",
            max_payload=256,
            payload=256,
            max_speed_gts=internal_gts,
            max_width=16,
            speed_gts=internal_gts,
            aspm_support=2,
            ari_forwarding=True,
            atomic_route=True,
            ltr=True,
            ltr_enabled=True,
            completion_timeout=0,
            completion_ranges=0,
            slot=None,
        ),
        Msi(0xA0),
        SubsystemIds(0xC0, ATI, 0x1479),
        VendorExtended(0x100),
        Aer(0x150, correctable_mask=0x2000),
        SecondaryExpress(0x270),
        Acs(0x2A0, 0x5F, 0x01),
        DataLinkFeature(0x400),
        Physical16(0x410),
        LaneMargining(0x440),
    ]
    upstream = Function(
        f"{name} switch, upstream port",
        ATI,
        0x1478,
        0x060400,
        bridge=True,
        children=[downstream],
        driver="pcieport",
        bars=[Bar(0, 16 * KIB, "mem32")],
        revision=downstream.revision,
    )
    upstream.capabilities = [
        VendorSpecific(0x48, data=b"\x08\x00\x00\x00\x00"),
        PowerManagement(0x50),
        Express(
            0x58,
            "upstream",
            max_payload=256,
            payload=256,
            max_speed_gts=max_speed_gts,
            max_width=16,
            speed_gts=max_speed_gts,
            aspm_support=3,
            l1_exit_code=7,
            l0s_exit_code=0,
            ltr=True,
            ltr_enabled=True,
            atomic_route=True,
            completion_timeout=0,
            completion_ranges=0,
        ),
        Msi(0xA0),
        SubsystemIds(0xC0, ATI, 0x1478),
        VendorExtended(0x100),
        Aer(0x150, correctable_mask=0x2000),
        SecondaryExpress(0x270),
        LatencyTolerance(0x320),
        DataLinkFeature(0x400),
        Physical16(0x410),
        LaneMargining(0x440),
    ]
    return [upstream]


def radeon_7900_xtx(revision: int = 0xC8, bar0_mib: int = 32768) -> list[Function]:
    return radeon_card("Radeon RX 7900 XTX", 0x744C, revision, 0xAB30, vram_mib=24 * 1024, bar0_mib=bar0_mib)


def radeon_9070_xt(revision: int = 0xC0, bar0_mib: int = 16384) -> list[Function]:
    return radeon_card(
        "Radeon RX 9070 XT",
        0x7550,
        revision,
        0xAB40,
        vram_mib=16 * 1024,
        bar0_mib=bar0_mib,
        max_speed_gts=32.0,
        internal_gts=32.0,
        subsystem=(0x1DA2, 0xE490),
        sizes_mib=(256, 512, 1024, 2048, 4096, 8192, 16384),
    )

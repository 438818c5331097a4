"""What the amdgpu driver says of itself and of each GPU it drives.

Reads   /sys/module/amdgpu/{version,srcversion,parameters/*}, /sys/module/{ttm,amdttm}/parameters/{pages_limit,
        page_pool_size}, and in each GPU's PCI directory mem_info_{vram,vis_vram,gtt}_total, vbios_version, unique_id,
        serial_number, pp_dpm_pcie, pcie_replay_count, gpu_busy_percent, names in drm/
        (any user; amdgpu's gttsize parameter needs root)
Since   mem_info_* Linux 4.19, pcie_replay_count 5.1, unique_id 5.3; version exists for out-of-tree builds (DKMS) only
Absent  /sys/module/amdgpu when the driver is not loaded; pcie_replay_count where the chip's NBIO has no such counter
By hand cat /sys/bus/pci/devices/0000:03:00.0/mem_info_gtt_total; cat /sys/module/ttm/parameters/pages_limit

Presence is taken from /sys/module, not from lsmod, which does not list a driver that is built in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from boxcheck.decode.text import clean_text
from boxcheck.host import Host
from boxcheck.model import Bdf, Unread
from boxcheck.probes.gpus import Gpus
from boxcheck.probes.pci import DEVICES
from boxcheck.registry import probe

MODULE = "/sys/module/amdgpu"
PAGE_BYTES = 4096
"""TTM counts pages of the machine; every machine with an AMD APU has 4 KiB ones."""

_LEVEL = re.compile(r"(\d{1,2}):\s*(\d{1,3}(?:\.\d{1,2})?)\s*GT/s,?\s*x\s*(\d{1,2})\b[^*]{0,40}(\*?)")


class Ttm(msgspec.Struct, frozen=True):
    """The memory manager below amdgpu. AMD's DKMS driver brings its own, `amdttm`, and the kernel's is then unused."""

    module: str
    pages_limit: int | Unread
    """Pages that GPUs together may take of system memory."""
    page_pool_size: int | Unread

    @property
    def limit_bytes(self) -> int | Unread:
        return self.pages_limit if isinstance(self.pages_limit, Unread) else self.pages_limit * PAGE_BYTES


class PcieLevel(msgspec.Struct, frozen=True):
    """A line of pp_dpm_pcie: one speed and width that the power firmware may choose."""

    speed_gts: float
    width: int
    current: bool


class AmdgpuCard(msgspec.Struct, frozen=True):
    bdf: Bdf
    vram_bytes: int | Unread
    visible_vram_bytes: int | Unread
    """What the CPU can address through the BAR."""
    gtt_bytes: int | Unread
    """System memory that this GPU may map."""
    vbios: str | Unread
    unique_id: str | Unread
    serial: str | Unread
    pcie_levels: tuple[PcieLevel, ...] | Unread
    replay_count: int | Unread
    busy_percent: int | Unread
    drm_nodes: tuple[str, ...] | Unread
    """`card0`, `renderD128`."""


class Amdgpu(msgspec.Struct, frozen=True):
    loaded: bool | Unread
    version: str | None | Unread
    """Version of an out-of-tree build; None for the kernel's own driver."""
    source_version: str | None
    parameters: Mapping[str, str | Unread] | Unread
    ttm: Ttm | Unread
    cards: Mapping[Bdf, AmdgpuCard]

    @property
    def out_of_tree(self) -> bool:
        """Built by DKMS, with its own support for GPUs, whatever the kernel's version."""
        return isinstance(self.version, str)


def parse_count(text: str | Unread, what: str) -> int | Unread:
    """A decimal number of a sysfs attribute; Unread when it is none."""
    if isinstance(text, Unread):
        return text
    if not text.isascii() or not text.isdigit() or len(text) > 20:
        return Unread(f"{what} holds no number", "malformed")
    return int(text)


def parse_pcie_levels(text: str) -> tuple[PcieLevel, ...] | Unread:
    """Lines of pp_dpm_pcie, `1: 16.0GT/s, x16 619Mhz *` (amd/pm/swsmu, print_clk_levels)."""
    levels = [
        PcieLevel(float(found[2]), int(found[3]), found[4] == "*")
        for found in map(_LEVEL.match, text.splitlines()[:16]) if found is not None
    ]
    return tuple(levels) if levels else Unread("pp_dpm_pcie holds no level", "malformed")


def _ttm(host: Host) -> Ttm | Unread:
    """amdttm where it is loaded, since amdgpu of the same build uses it and nothing else does."""
    for module in ("amdttm", "ttm"):
        present = host.exists(f"/sys/module/{module}")
        if present is True:
            base = f"/sys/module/{module}/parameters"
            return Ttm(
                module, parse_count(host.text(f"{base}/pages_limit"), f"{base}/pages_limit"),
                parse_count(host.text(f"{base}/page_pool_size"), f"{base}/page_pool_size"),
            )
    if isinstance(present, Unread):
        return present
    return Unread("neither ttm nor amdttm is loaded", "absent")


def _text(host: Host, path: str) -> str | Unread:
    """An attribute as one clean line."""
    text = host.text(path)
    return text if isinstance(text, Unread) else clean_text(text, 80)


def _named(host: Host, path: str) -> str | Unread:
    """An attribute that names something: one that is empty was not read."""
    text = _text(host, path)
    return Unread(f"{path}: empty", "malformed") if text == "" else text


def _parameters(host: Host) -> Mapping[str, str | Unread] | Unread:
    names = host.entries(f"{MODULE}/parameters")
    if isinstance(names, Unread):
        return names
    return {name: _text(host, f"{MODULE}/parameters/{name}") for name in names[:400]}


def _card(host: Host, bdf: Bdf) -> AmdgpuCard:
    base = f"{DEVICES}/{bdf}"
    drm = host.entries(f"{base}/drm")
    levels = host.text(f"{base}/pp_dpm_pcie")

    def count(name: str) -> int | Unread:
        return parse_count(host.text(f"{base}/{name}"), f"{base}/{name}")

    return AmdgpuCard(
        bdf=bdf, vram_bytes=count("mem_info_vram_total"), visible_vram_bytes=count("mem_info_vis_vram_total"),
        gtt_bytes=count("mem_info_gtt_total"), vbios=_named(host, f"{base}/vbios_version"),
        unique_id=_text(host, f"{base}/unique_id"), serial=_text(host, f"{base}/serial_number"),
        pcie_levels=levels if isinstance(levels, Unread) else parse_pcie_levels(levels),
        replay_count=count("pcie_replay_count"), busy_percent=count("gpu_busy_percent"),
        drm_nodes=drm if isinstance(drm, Unread) else tuple(
            name for name in drm if name.startswith(("card", "renderD")) and "-" not in name),
    )


@probe("amdgpu", Amdgpu, reads=[Gpus])
def amdgpu(host: Host, gpus: Gpus) -> Amdgpu:
    loaded = host.exists(MODULE)
    version: str | None | Unread = None
    if loaded is True:
        version = _text(host, f"{MODULE}/version")
        if isinstance(version, Unread) and version.kind == "absent":
            version = None
    source = _text(host, f"{MODULE}/srcversion") if loaded is True else ""
    return Amdgpu(
        loaded=loaded, version=version, source_version=None if isinstance(source, Unread) or not source else source,
        parameters=_parameters(host), ttm=_ttm(host),
        cards={gpu.bdf: _card(host, gpu.bdf) for gpu in gpus.of_vendor("1002")},
    )

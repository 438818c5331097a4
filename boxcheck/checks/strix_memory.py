"""The arithmetic of memory on an AMD APU: carve-out, GTT, TTM's limit, and what each of them means for ROCm.

Three numbers bound what a GPU without memory of its own may use:
- the carve-out, which the BIOS takes from the system for good (mem_info_vram_total);
- the GTT, system memory that the GPU may map (mem_info_gtt_total);
- TTM's limit on pages that all GPUs may hold (ttm.pages_limit). ROCm gets no more, whatever the GTT says.
The carve-out comes first: what the BIOS takes is not there to be given out, so every number printed as a remedy is
computed with the carve-out that the same help tells to set.

From Linux 6.16.9 on KFD shows ROCm the larger of carve-out and TTM limit, before that a fraction.

Sources: drivers/gpu/drm/amd/amdgpu/amdgpu_ttm.c (gttsize deprecated for ttm.pages_limit), ttm/ttm_tt.c,
amdkfd's local memory on APUs; ROCm issues 5444 and 5595; kyuz0/amd-strix-halo-toolboxes (124 of 128 GiB).
"""

from __future__ import annotations

import re

import msgspec

from boxcheck.checks.steps import GRUB_FILE, GRUB_RUN, GRUB_WRITE
from boxcheck.decode.cmdline import parse_number
from boxcheck.model import Subject, Unread
from boxcheck.probes.amdgpu import PAGE_BYTES, Amdgpu, AmdgpuCard
from boxcheck.probes.gpus import Gpu, Gpus
from boxcheck.probes.memory import Memory
from boxcheck.probes.modules import COMMAND_LINE, Asked, ModuleSettings
from boxcheck.profile import Profile
from boxcheck.registry import limit

CARVE_OUT = limit(
    "strix.carve_out_gib", float, "le", "GiB", "Memory that the BIOS takes for the GPU for good.", low=0, high=4096)
GIB = 1 << 30
MIB = 1 << 20
_PLAIN = re.compile(r"0[xX][0-9a-fA-F]{1,16}|[0-9]{1,20}")
NO_DRIVER = "not read: no driver is bound to it, and nothing else knows"
APU_ARCHES = frozenset({"gfx1151"})
SMALLEST_CARVE_OUT_BYTES = 512 * MIB
"""What the help tells to set in the BIOS (kyuz0, lhl)."""
CARVE_OUT_STEP = "reboot into the BIOS setup: UMA frame buffer size (iGPU memory) to 512 MB"
SYSTEM_GIB = 4
"""What must stay to the system: kyuz0's 124 of 128 GiB."""
MODULE_SIZE_GIB = 8
"""Memory of these boards is soldered in whole multiples of this, so installed memory can be told from MemTotal."""


class Shared(msgspec.Struct, frozen=True):
    """What is known of one APU's memory."""

    gpu: Gpu
    card: AmdgpuCard | Unread
    installed_bytes: int | Unread
    installed_guessed: bool
    """From MemTotal and carve-out, since the SMBIOS table was not read."""
    ttm: str
    """The module that counts: `ttm`, or `amdttm` of AMD's DKMS driver."""
    ttm_loaded: bool | Unread
    ttm_limit_bytes: int | Unread
    pages_asked: Asked | None
    """Of the module that counts."""
    pages_elsewhere: Asked | None
    """Of the other one, which is not loaded."""
    gttsize_asked: Asked | None
    carve_out_limit_gib: float | None = None
    """What the profile allows the BIOS to keep, None where it does not care."""

    @property
    def subject(self) -> Subject:
        return self.gpu.subject

    @property
    def asked_pages_bytes(self) -> int | None:
        """None where nothing was asked, and where the kernel takes the value for no number."""
        pages = parse_pages(self.pages_asked.value) if self.pages_asked else None
        return None if pages is None else pages * PAGE_BYTES

    @property
    def asked_gtt_bytes(self) -> int | None:
        """None when nothing was asked; -1 means `as TTM says` and counts as nothing."""
        size = parse_number(self.gttsize_asked.value) if self.gttsize_asked else None
        return None if size is None or size < 0 else size * MIB

    @property
    def usable_bytes(self) -> int | Unread:
        """What a program may allocate: the carve-out, or the GTT as far as TTM gives it out, whichever is larger."""
        if isinstance(self.card, Unread):
            return self.card
        gtt, vram, limit = self.card.gtt_bytes, self.card.vram_bytes, self.ttm_limit_bytes
        for value in (gtt, vram, limit):
            if isinstance(value, Unread):
                return value
        assert isinstance(gtt, int)
        assert isinstance(vram, int)
        assert isinstance(limit, int)
        return max(vram, min(gtt, limit))

    @property
    def carve_out_bytes(self) -> int | Unread:
        """What the BIOS keeps now."""
        return self.card if isinstance(self.card, Unread) else self.card.vram_bytes

    @property
    def carve_out_too_large(self) -> bool:
        """Whether the profile is known to want less of it."""
        now = self.carve_out_bytes
        return self.carve_out_limit_gib is not None and isinstance(now, int) and now > self.carve_out_limit_gib * GIB

    @property
    def best_pages(self) -> int | None:
        """Pages that leave the system its share once the help was followed: (installed less carve-out less 4 GiB) /
        4 KiB, in whole GiB. None where that is not known or nothing is left."""
        if isinstance(self.installed_bytes, Unread):
            return None
        now = 0 if isinstance(self.carve_out_bytes, Unread) else self.carve_out_bytes
        room = _room(self.installed_bytes, SMALLEST_CARVE_OUT_BYTES if self.carve_out_too_large else now)
        return room // PAGE_BYTES if room > 0 else None

    @property
    def room_bytes(self) -> int | Unread:
        """The most that should be given to the GPU as the carve-out is now."""
        if isinstance(self.installed_bytes, Unread):
            return self.installed_bytes
        return _room(self.installed_bytes, 0 if isinstance(self.carve_out_bytes, Unread) else self.carve_out_bytes)

    @property
    def setting(self) -> tuple[str, ...]:
        """The steps that set it right on this very box, in the order in which they are to be done."""
        pages = self.best_pages
        end = (GRUB_WRITE, CARVE_OUT_STEP) if self.carve_out_too_large else (GRUB_RUN,)
        if pages is None:
            return (f"set ttm.pages_limit in {GRUB_FILE} to (memory in GiB - {SYSTEM_GIB}) x 262144", *end)
        words = f"{self.ttm}.pages_limit={pages} {self.ttm}.page_pool_size={pages}"
        assert isinstance(self.installed_bytes, int)
        return (
            f"put `{words}` into {GRUB_FILE}{self._instead(pages)}: {pages * PAGE_BYTES // GIB} of "
            f"{self.installed_bytes // GIB} GiB, {SYSTEM_GIB} GiB stay to the system; "
            f"before Linux 6.14 also amdgpu.gttsize={pages // 256}",
            *end,
        )

    def _instead(self, pages: int) -> str:
        """The settings that stand in the way of `pages` and have to go."""
        old = [asked for asked in (self.pages_asked, self.pages_elsewhere)
               if asked is not None and parse_pages(asked.value) != pages]
        if self.gttsize_asked is not None and self.asked_gtt_bytes not in (None, pages * PAGE_BYTES):
            old.append(self.gttsize_asked)
        places = [f"`{asked}`" + ("" if asked.place == COMMAND_LINE else f" of {asked.place}") for asked in old]
        return f", in place of {' and '.join(places)}" if places else ""


def parse_pages(value: str | None) -> int | None:
    """A number of pages as the kernel takes it (kstrtoul: decimal, 0x hex, 0 octal); None for what it refuses, which
    is anything with a sign or with a suffix such as G."""
    text = (value or "").strip()
    return parse_number(text) if _PLAIN.fullmatch(text) else None


def _room(installed_bytes: int, carve_out_bytes: int) -> int:
    """A carve-out below 1 GiB is left out of the sum, as everybody's numbers do."""
    return (installed_bytes - carve_out_bytes + GIB - 1) // GIB * GIB - SYSTEM_GIB * GIB


def is_apu(gpu: Gpu) -> bool:
    return gpu.vendor == "1002" and gpu.integrated and gpu.part is not None and gpu.part.arch in APU_ARCHES


def wanted(want: Profile) -> bool:
    """Whether the profile is about such a machine."""
    return any(part.arch in APU_ARCHES for part in want.gpus.parts)


def _installed(memory: Memory) -> tuple[int | Unread, bool]:
    if not isinstance(memory.installed_bytes, Unread):
        return memory.installed_bytes, False
    if isinstance(memory.total_bytes, Unread):
        return memory.total_bytes, True
    if isinstance(memory.carve_out_bytes, Unread):
        return memory.carve_out_bytes, True
    step = MODULE_SIZE_GIB * GIB
    return -(-(memory.total_bytes + (memory.carve_out_bytes or 0)) // step) * step, True


def shared(
    gpus: Gpus, amdgpu: Amdgpu, memory: Memory, settings: ModuleSettings, want: Profile
) -> tuple[Shared, ...]:
    """One for each APU of the machine."""
    bound = want.limit(CARVE_OUT)
    most = None if bound is None else bound.should if bound.should is not None else bound.must
    installed, guessed = _installed(memory)
    ttm = amdgpu.ttm
    module = "ttm" if isinstance(ttm, Unread) else ttm.module
    other = "amdttm" if module == "ttm" else "ttm"
    return tuple(
        Shared(
            gpu=gpu, card=amdgpu.cards.get(gpu.bdf, Unread(f"amdgpu says nothing of {gpu.bdf}", "absent")),
            installed_bytes=installed, installed_guessed=guessed, ttm=module,
            ttm_loaded=True if not isinstance(ttm, Unread) else False if ttm.kind == "absent" else ttm,
            ttm_limit_bytes=ttm if isinstance(ttm, Unread) else ttm.limit_bytes,
            pages_asked=settings.last(module, "pages_limit"), pages_elsewhere=settings.last(other, "pages_limit"),
            gttsize_asked=settings.last("amdgpu", "gttsize"),
            carve_out_limit_gib=None if most is None else float(most),
        )
        for gpu in gpus.gpus if is_apu(gpu)
    )

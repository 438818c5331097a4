"""The arithmetic of memory on an AMD APU: carve-out, GTT, TTM's limit, and what each of them means for ROCm.

Three numbers bound what a GPU without memory of its own may use:
- the carve-out, which the BIOS takes from the system for good (mem_info_vram_total);
- the GTT, system memory that the GPU may map (mem_info_gtt_total);
- TTM's limit on pages that all GPUs may hold (ttm.pages_limit). ROCm gets no more, whatever the GTT says.
From Linux 6.16.9 on KFD shows ROCm the larger of carve-out and TTM limit, before that a fraction.

Sources: drivers/gpu/drm/amd/amdgpu/amdgpu_ttm.c (gttsize deprecated for ttm.pages_limit), ttm/ttm_tt.c,
amdkfd's local memory on APUs; ROCm issues 5444 and 5595; kyuz0/amd-strix-halo-toolboxes (124 of 128 GiB).
"""

from __future__ import annotations

import msgspec

from boxcheck.decode.cmdline import parse_number
from boxcheck.model import Subject, Unread
from boxcheck.probes.amdgpu import PAGE_BYTES, Amdgpu, AmdgpuCard
from boxcheck.probes.gpus import Gpu, Gpus
from boxcheck.probes.memory import Memory
from boxcheck.probes.modules import Asked, ModuleSettings
from boxcheck.profile import Profile

GIB = 1 << 30
MIB = 1 << 20
APU_ARCHES = frozenset({"gfx1151"})
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

    @property
    def subject(self) -> Subject:
        return self.gpu.subject

    @property
    def asked_pages_bytes(self) -> int | None:
        pages = parse_number(self.pages_asked.value) if self.pages_asked else None
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
    def best_pages(self) -> int | None:
        """Pages that leave the system its share: (installed less carve-out less 4 GiB) / 4 KiB, in whole GiB."""
        room = self.room_bytes
        return None if isinstance(room, Unread) or room <= 0 else room // PAGE_BYTES

    @property
    def room_bytes(self) -> int | Unread:
        """The most that should be given to the GPU. A carve-out below 1 GiB is left out, as everybody's numbers do."""
        if isinstance(self.installed_bytes, Unread):
            return self.installed_bytes
        vram = 0 if isinstance(self.card, Unread) or isinstance(self.card.vram_bytes, Unread) else self.card.vram_bytes
        return (self.installed_bytes - vram + GIB - 1) // GIB * GIB - SYSTEM_GIB * GIB

    @property
    def setting(self) -> tuple[str, ...]:
        """The step that sets it right on this very box."""
        pages = self.best_pages
        if pages is None:
            return ("set ttm.pages_limit on the kernel command line to (memory in GiB - 4) x 262144, then reboot",)
        words = f"{self.ttm}.pages_limit={pages} {self.ttm}.page_pool_size={pages}"
        assert isinstance(self.installed_bytes, int)
        return (
            f"put `{words}` into GRUB_CMDLINE_LINUX of /etc/default/grub: {pages * PAGE_BYTES // GIB} of "
            f"{self.installed_bytes // GIB} GiB, {SYSTEM_GIB} GiB stay to the system; "
            f"before Linux 6.14 also amdgpu.gttsize={pages // 256}",
            "run update-grub (Fedora: grub2-mkconfig -o /boot/grub2/grub.cfg), reboot, run this again",
        )


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


def shared(gpus: Gpus, amdgpu: Amdgpu, memory: Memory, settings: ModuleSettings) -> tuple[Shared, ...]:
    """One for each APU of the machine."""
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
        )
        for gpu in gpus.gpus if is_apu(gpu)
    )

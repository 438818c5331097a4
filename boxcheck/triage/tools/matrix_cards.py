"""GPUs by the name that a benchmark prints: which card of the database it is, and why it may have no peer copies."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from boxcheck.decode.matrix_link import Link
from boxcheck.profile import GpuPart, load_gpus
from boxcheck.triage.tools.steps import P2P_REASON

CLASS = 0x030200
"""Class of a GPU for tools that list nothing else and print no class: 3D controller, whether or not it has outputs."""
NVIDIA, AMD = 0x10DE, 0x1002
_AMD_NAME = re.compile(r"\b(?:AMD|Radeon|Instinct|Vega|gfx[0-9a-f]{3,4})\b")
_NVIDIA_NAME = re.compile(r"\b(?:NVIDIA|GeForce|Tesla|Quadro|RTX|GTX|TITAN|GRID)\b")

_WORD = re.compile(r"[a-z0-9]+")
_FILLER = frozenset(("nvidia", "geforce", "tesla", "quadro", "amd", "ati", "radeon", "tm", "r", "graphics",
                     "generation", "edition", "gpu"))
_SIZE = re.compile(r"\d+gb")
_RTX = re.compile(r"\bGeForce (RTX [2-9]0[0-9]0|GTX 16[0-9]0)\b")
_FABRIC = re.compile(r"SXM|NVL|GH200|GB200|HBM3|\bB200|\bB300|Instinct|\bMI[0-9]{2,3}")


_CARD_WORD = re.compile(
    r"NVIDIA|GeForce|RTX|GTX|Quadro|Tesla|AMD|Radeon|Instinct|RX|XTX?|GRE|Ti|SUPER|PRO|Pro|VII|Graphics|Blackwell|Ada|"
    r"Generation|Workstation|Server|Edition|Max-Q|Laptop|GPU|PCIe|[A-Z]{0,2}[0-9]{2,5}[A-Z]{0,3}")


def vendor_named(name: str | None) -> int | None:
    """PCI vendor id by the name that a tool prints, None where the name does not tell."""
    if not name:
        return None
    return AMD if _AMD_NAME.search(name) else NVIDIA if _NVIDIA_NAME.search(name) else None


def is_card_name(line: str) -> bool:
    """Whether a line is nothing but (the rest of) a card's name: what a mailer wraps off the end of a line."""
    words = line.split() if len(line) < 80 else []
    return all(map(_CARD_WORD.fullmatch, words)) and not all(word.isdigit() for word in words)


def _key(name: str) -> str:
    return " ".join(word for word in _WORD.findall(name.lower()[:128]) if word not in _FILLER)


@cache
def _by_name() -> dict[str, GpuPart]:
    return {_key(part.name): part for part in load_gpus().values()}


@cache
def part_called(name: str) -> GpuPart | None:
    """The card of the database with this very name, whatever words for makers stand beside it; None for another."""
    return _by_name().get(_key(name))


@cache
def part_named(name: str) -> GpuPart | None:
    """The card of the database with this name (`NVIDIA GeForce RTX 4090`), or the only one that has it and a size of
    memory behind it: an RTX 2080 is no RTX 2080 Ti.

    None for a card that is not there, and where several could be meant.
    """
    exact, key = part_called(name), _key(name)
    if exact is not None or not key:
        return exact
    sized = [part for known, part in _by_name().items() if known.startswith(f"{key} ") and _SIZE.fullmatch(
        known[len(key) + 1:])]
    return sized[0] if len(sized) == 1 else None


def link_of(name: str | None) -> Link | None:
    """The card's own link, full width at its highest generation; None for an unknown card."""
    part = part_named(name) if name else None
    if part is None or not part.link_generation or not part.link_width:
        return None
    return Link(part.link_generation, part.link_width)


def one_link(names: Iterable[str | None]) -> Link | None:
    """The link that all of these cards have; None when one is unknown or they differ."""
    links = {link_of(name) for name in names}
    return next(iter(links)) if len(links) == 1 else None


def has_fabric(name: str | None) -> bool:
    """Whether such cards are usually joined by NVLink or xGMI rather than by PCIe."""
    return bool(name and _FABRIC.search(name))


def no_peer_reason(names: Iterable[str | None]) -> tuple[str, str]:
    """Why cards may have no peer access, and what tells: a clause and a step."""
    known = [name for name in names if name]
    geforce = [name for name in known if _RTX.search(name)]
    if geforce:
        return ("NVIDIA's stock driver gives GeForce cards since the RTX 20 series none over PCIe",
                "it takes NVLink, or a driver patched for peer access")
    if any("Radeon" in name or "Instinct" in name or "AMD" in name or "Vega" in name for name in known):
        return ("amdgpu gives it with CONFIG_HSA_AMD_P2P in the kernel and all of VRAM in the BAR",
                "`zgrep HSA_AMD_P2P /proc/config.gz /boot/config-$(uname -r)`, and `boxcheck doctor --goal rocm`")
    if len(set(known)) > 1:
        return ("the driver joins no cards of different generations",
                P2P_REASON)
    return ("the driver, a virtual machine or the route between the slots rules it out",
            P2P_REASON)

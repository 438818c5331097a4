"""What a GPU is built as, by its name: a card for a slot, a module on a baseboard, or soldered into a laptop."""

from __future__ import annotations

_MODULES = ("SXM", "HBM3", "H200", "B200", "GB200", "GB300")
_CARDS = ("PCIe", "NVL")
"""In names of cards that are called like the modules: `NVIDIA H200 NVL`."""
_MOBILE = ("Mobile", "Max-Q", "Laptop")
_WORKSTATION = "Workstation"
"""In names of cards for slots that are called like a laptop's: `RTX PRO 6000 Blackwell Max-Q Workstation Edition`."""


def is_module(name: str | None) -> bool:
    """Whether it sits on a baseboard, which has no slot that could be narrower by design."""
    return name is not None and any(word in name for word in _MODULES) and not any(word in name for word in _CARDS)


def is_mobile(name: str | None) -> bool:
    """Whether it is soldered into a laptop, often with half of its lanes."""
    return name is not None and any(word in name for word in _MOBILE) and _WORKSTATION not in name

"""Which card of the GPU database a name of lspci means, for texts without numbers.

Names are those of pci.ids in the versions that distributions shipped from 2020 to 2026: a name grows as a chip gets
more cards, so each is known by how it begins. Several cards behind one number are told apart by the revision, which
lspci prints in any case.
"""

from __future__ import annotations

from boxcheck.decode.lspci import LspciFunction
from boxcheck.decode.lspci_classes import vendor_of
from boxcheck.profile import GpuPart, load_gpus, part_of
from boxcheck.triage.tools.matrix_cards import part_called

_NVIDIA = 0x10DE
_AMD = 0x1002

BEGINNINGS: dict[int, tuple[tuple[str, int], ...]] = {
    _NVIDIA: (
        ("GP102GL [Tesla P40]", 0x1B38), ("GV100GL [Tesla V100 PCIe 16GB]", 0x1DB4),
        ("GV100GL [Tesla V100 PCIe 32GB]", 0x1DB6), ("TU102 [GeForce RTX 2080 Ti Rev. A]", 0x1E07),
        ("GA100 [A100 SXM4 40GB]", 0x20B0), ("GA100 [A100 SXM4 80GB]", 0x20B2), ("GA100 [A100 PCIe 80GB]", 0x20B5),
        ("GA100 [A100 PCIe 40GB]", 0x20F1), ("GA102 [GeForce RTX 3090 Ti]", 0x2203),
        ("GA102 [GeForce RTX 3090]", 0x2204), ("GA102 [GeForce RTX 3080]", 0x2206), ("GA102GL [RTX A6000]", 0x2230),
        ("GA102GL [A40]", 0x2235), ("GA102GL [A10]", 0x2236), ("GH100 [H100 NVL]", 0x2321),
        ("GH100 [H100 SXM5 80GB]", 0x2330), ("GH100[H100 SXM5 80GB]", 0x2330), ("GH100 [H100 PCIe]", 0x2331),
        ("GH100 [H200 SXM 141GB]", 0x2335), ("GH100 [H200 NVL]", 0x233B), ("AD102 [GeForce RTX 4090]", 0x2684),
        ("AD102 [GeForce RTX 4090 D]", 0x2685), ("AD102GL [RTX 6000 Ada Generation]", 0x26B1),
        ("AD102GL [L6000 / RTX 6000 Ada Generation]", 0x26B1), ("AD102GL [L40]", 0x26B5), ("AD102GL [L40S]", 0x26B9),
        ("AD103 [GeForce RTX 4080]", 0x2704), ("AD104GL [L4]", 0x27B8), ("GB202 [GeForce RTX 5090]", 0x2B85),
        ("GB202 [GeForce RTX 5090 D]", 0x2B87), ("GB203 [GeForce RTX 5080]", 0x2C02),
        ("GB203 [GeForce RTX 5070 Ti]", 0x2C05),
    ),
    _AMD: (
        ("Navi 31 [Radeon RX 7900", 0x744C), ("Navi 21 [Radeon RX 6800/6800 XT / 6900 XT]", 0x73BF),
        ("Navi 21 [Radeon RX 6900 XT]", 0x73AF), ("Navi 32 [Radeon RX 7700 XT / 7800 XT]", 0x747E),
        ("Navi 48 [Radeon RX 9070", 0x7550), ("Navi 44 [Radeon RX 9060", 0x7590), ("Vega 20 [Radeon VII]", 0x66AF),
        ("Vega 20 [Radeon Pro VII", 0x66A1), ("Arcturus GL-XL [Instinct MI100]", 0x738C),
        ("Aldebaran/MI200 [Instinct MI250X/MI250]", 0x740C), ("Aldebaran/MI200 [Instinct MI210]", 0x740F),
        ("Aqua Vanjaram [Instinct MI300X]", 0x74A1), ("Strix Halo [Radeon", 0x1586), ("Strix [Radeon", 0x150E),
        ("Krackan [Radeon", 0x1114), ("Granite Ridge [Radeon", 0x13C0), ("Mendocino", 0x1506), ("Phoenix1", 0x15BF),
        ("Phoenix2", 0x15C8), ("Picasso/Raven 2", 0x15D8), ("Raven Ridge", 0x15DD), ("Barcelo", 0x15E7),
        ("Renoir [Radeon", 0x1636), ("Renoir", 0x1636), ("Cezanne", 0x1638), ("VanGogh", 0x163F), ("Lucienne", 0x164C),
        ("Raphael", 0x164E), ("Rembrandt", 0x1681), ("HawkPoint1", 0x1900), ("HawkPoint2", 0x1901),
    ),
}  # fmt: skip
"""Vendor -> how a name begins after the vendor's -> device id. A closing bracket makes a beginning exact."""


def device_of(function: LspciFunction) -> int | None:
    """The device id: as printed or read, else by name; None for a name that is not in the table."""
    if function.device is not None or function.vendor is None or function.name is None:
        return function.device
    for beginning, device in BEGINNINGS.get(function.vendor, ()):
        at = function.name.find(beginning)
        # After the vendor's own words, which differ from version to version.
        if 0 < at < 48 and (at + len(beginning) == len(function.name) or beginning[-1] == "]" or "[" in beginning
                            or function.name[at + len(beginning)] in " /["):
            return device
    return _of_a_typed_name(function.vendor, function.name)


def _of_a_typed_name(vendor: int, name: str) -> int | None:
    """The device id of a name that no edition of pci.ids has: `NVIDIA RTX 4090`, `AD102 [RTX 4090]`. The whole of it
    must be a card's name: a longer one is another card (`RTX 4090 Laptop GPU`)."""
    found = vendor_of(name)
    rest = found[1] if found is not None else name
    if rest.endswith("]") and "[" in rest:
        rest = rest[rest.rfind("[") + 1 : -1]
    part = part_called(rest)
    ids = part.pci_ids if part is not None else ()
    return int(ids[0][5:], 16) if ids and ids[0].startswith(f"{vendor:04x}:") else None


def part_for(function: LspciFunction) -> GpuPart | None:
    """The card in the GPU database. A revision that reads as ones, or is not printed, settles it only where all cards
    of the number are the same or differ in name alone."""
    device = device_of(function)
    if device is None or function.vendor is None:
        return None
    pci_id = f"{function.vendor:04x}:{device:04x}"
    revision = None if function.gone and function.revision == 0xFF else function.revision
    found = part_of(pci_id, revision)
    if found is None and revision is None:
        cards = load_gpus().of_id(pci_id)
        return cards[0] if len(cards) == 1 else None
    return found

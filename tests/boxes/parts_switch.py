"""PCI Express switches that are no part of a card: a board in a slot that carries several cards.

Ids: pci.ids (1000:c010, PEX880xx PCIe Gen 4 Switch; subsystem a048, PEX88048).
"""

from __future__ import annotations

from tests.boxes.pci_build import Function
from tests.boxes.pci_config import Express, Msi, PortType, PowerManagement, SubsystemIds
from tests.boxes.pci_extended import Acs, Aer, DataLinkFeature, Dpc, LaneMargining, Physical16, SecondaryExpress

LSI = 0x1000
PEX880XX, PEX88048 = 0xC010, 0xA048
FIRST_SLOT_NUMBER = 64


def _port(kind: PortType, number: int, children: list[Function], slot: int | None = None) -> Function:
    port = Function(
        f"PEX88048 {kind} port",
        LSI,
        PEX880XX,
        0x060400,
        number,
        revision=0xB0,
        bridge=True,
        children=children,
        driver="pcieport",
    )
    port.capabilities = [
        PowerManagement(0x40),
        Msi(0x48),
        Express(
            0x68,
            kind,
            max_payload=512,
            payload=256,
            max_speed_gts=16.0,
            max_width=16,
            slot=slot,
            aspm_support=2,
            ari_forwarding=kind == "downstream",
            atomic_route=True,
            presence=kind == "downstream" and bool(children),
            ten_bit_completer=True,
            port_number=number,
        ),
        SubsystemIds(0xA4, LSI, PEX88048),
        Aer(0x100, correctable_mask=0x2000),
        SecondaryExpress(0x148),
        Acs(0x180, control=0x00),
        DataLinkFeature(0x1B0),
        Physical16(0x1C0),
        LaneMargining(0x200),
    ]
    if kind == "downstream":
        port.capabilities.append(Dpc(0x260))
    else:
        port.drop(Acs)
    return port


def pex88048(cards: list[list[Function]]) -> Function:
    """A Gen4 switch with one x16 downstream port for each card. Returns its upstream port, whose link the caller
    trains; links that idled go on doing so."""
    below = []
    for number, card in enumerate(cards):
        port = _port("downstream", number, card, FIRST_SLOT_NUMBER + number)
        far = card[0]
        port.boot_link, port.load_link = far.boot_link, far.load_link
        port.express.speed_gts, port.express.width = far.express.speed_gts, far.express.width
        below.append(port)
    return _port("upstream", 0, below)

"""Names of the PCI functions, for people.

Reads   the udev database through pyudev, else /usr/share/{misc,hwdata}/pci.ids      (any user)
By hand lspci -nn
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from boxcheck.decode.text import clean_text
from boxcheck.host import Host
from boxcheck.model import Unread
from boxcheck.probes.pci import PciInventory
from boxcheck.registry import probe


class PciNames(msgspec.Struct, frozen=True):
    names: Mapping[str, str] | Unread
    """`10de:2684` -> vendor and device."""


@probe("pci_names", PciNames, reads=[PciInventory])
def pci_names(host: Host, pci: PciInventory) -> PciNames:
    ids = sorted({function.pci_id for function in pci.functions.values()})
    if not ids:
        return PciNames({})

    def ask() -> Any:
        from boxcheck.host.pci_names import names_of

        found = names_of(ids)
        return found if isinstance(found, Unread) else dict(found)

    answer = host.answer("pci.ids", "names", ask)
    if isinstance(answer, Unread):
        return PciNames(answer)
    if not isinstance(answer, dict):
        return PciNames(Unread("the names of PCI devices are no table", "malformed"))
    return PciNames({
        str(key)[:9]: clean_text(str(name)) for key, name in list(answer.items())[:20_000] if isinstance(name, str)
    })

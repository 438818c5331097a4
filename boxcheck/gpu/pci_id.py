"""Which card a device is, by its place on the bus: the same for every runtime.

Reads   /sys/bus/pci/devices/<bdf>/{vendor,device,revision} (any user; revision since Linux 4.10)
By hand lspci -Dnn -s 0000:41:00.0
"""

from __future__ import annotations

import msgspec

from boxcheck.gpu import GpuInfo
from boxcheck.host import Host
from boxcheck.probes.attributes import integer
from boxcheck.probes.pci import DEVICES, parse_bdf


def identified(info: GpuInfo, host: Host | None = None) -> GpuInfo:
    """The device with the id and revision of its card; as it is where the bus does not tell. Never raises."""
    bdf = parse_bdf(info.bdf) if info.bdf is not None else None
    if bdf is None:
        return info
    if host is None:
        from boxcheck.host.live import LiveHost

        host = LiveHost()
    vendor, device, revision = (integer(host, f"{DEVICES}/{bdf}/{name}") for name in ("vendor", "device", "revision"))
    if not isinstance(vendor, int) or not isinstance(device, int):
        return info
    return msgspec.structs.replace(
        info, pci_id=f"{vendor:04x}:{device:04x}", pci_revision=revision if isinstance(revision, int) else None)

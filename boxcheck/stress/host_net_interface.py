"""The interface that a connection goes over, and what it counts.

Reads   getifaddrs(3) by psutil (which interface has the connection's own address);
        /sys/class/net/IF/{statistics/*,carrier_changes,speed}                                  (any user)
Since   carrier_changes Linux 3.15
Absent  speed where the link is down, and on virtual interfaces
By hand ip route get ADDRESS; ip -s -s link show dev IF; ethtool -S IF
"""

from __future__ import annotations

import os
from collections.abc import Mapping

COUNTERS = (
    "rx_bytes", "tx_bytes", "rx_packets", "tx_packets", "rx_errors", "tx_errors", "rx_dropped", "tx_dropped",
    "rx_crc_errors", "rx_frame_errors", "rx_length_errors", "rx_missed_errors", "rx_fifo_errors", "rx_over_errors",
    "tx_carrier_errors", "tx_aborted_errors", "tx_fifo_errors", "collisions")
"""Documentation/ABI/testing/sysfs-class-net-statistics."""
CARRIER = "carrier_changes"
NET = "/sys/class/net"


def interface_of(own: str, other: str) -> str:
    """Name of the interface with the connection's own address; empty where none has it. A connection to an address of
    this machine itself goes over the loopback, whatever interface has the address."""
    own, other = _plain(own), _plain(other)
    if own == other or own.startswith("127.") or own == "::1":
        return "lo"
    import psutil

    try:
        every = psutil.net_if_addrs()
    except OSError:
        return ""
    # An address beyond the first of an interface may have a label of its own, `eth0:1`.
    return next((name.partition(":")[0] for name, addresses in every.items()
                 if any(_plain(one.address) == own for one in addresses)), "")


def _plain(address: str) -> str:
    return address.partition("%")[0].removeprefix("::ffff:")


def counters(name: str, root: str = "/") -> Mapping[str, int]:
    """What the interface counts since it was made; what cannot be read is left out."""
    base = f"{root.rstrip('/')}{NET}/{name}"
    found: dict[str, int] = {}
    for counter in (*COUNTERS, CARRIER):
        value = _number(f"{base}/{CARRIER}" if counter == CARRIER else f"{base}/statistics/{counter}")
        if value is not None:
            found[counter] = value
    return found


def speed_mbps(name: str, root: str = "/") -> int | None:
    """Of a link that is up and that is real: virtual interfaces tell numbers that bind nobody."""
    base = f"{root.rstrip('/')}{NET}/{name}"
    value = _number(f"{base}/speed") if os.path.exists(f"{base}/device") else None
    return value if value is not None and value > 0 else None


def _number(path: str) -> int | None:
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read(64))
    except (OSError, ValueError):
        return None

"""How runtime power management stands with each GPU.

Reads   /sys/bus/pci/devices/<gpu>/power/runtime_status                                               (any user)
Since   Linux 2.6.32 (Documentation/ABI/testing/sysfs-devices-power)
Absent  on kernels without power management (CONFIG_PM)
By hand cat /sys/bus/pci/devices/<gpu>/power/runtime_status
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from boxcheck.host import Host
from boxcheck.model import Bdf, Unread
from boxcheck.probes.attributes import words
from boxcheck.probes.gpus import Gpus
from boxcheck.probes.pci import DEVICES
from boxcheck.registry import probe


class GpuRuntime(msgspec.Struct, frozen=True):
    status: Mapping[Bdf, str | None | Unread]
    """`active`, `suspended`, `suspending`, `resuming`, `unsupported`; `error` once the driver failed to suspend or wake
    the GPU: the kernel then leaves it alone until somebody resets that (drivers/base/power/runtime.c)."""


@probe("gpu_runtime", GpuRuntime, reads=[Gpus])
def gpu_runtime(host: Host, gpus: Gpus) -> GpuRuntime:
    return GpuRuntime({gpu.bdf: words(host, f"{DEVICES}/{gpu.bdf}/power/runtime_status") for gpu in gpus.gpus})

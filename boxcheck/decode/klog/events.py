"""What a kernel log says, as values: events (something happened to a device) and facts (how this boot was set up)."""

from __future__ import annotations

from typing import Literal

import msgspec

from boxcheck.model import Bdf

from .asides import Residue, Suppressed

Cause = Literal["signal", "power", "config", "driver", "firmware", "memory", "benign"]
"""What is most likely behind one event taken alone. Rules across events may know better."""

Severity = Literal["fail", "warn", "info", "benign"]
"""`fail`: a healthy machine never logs it. `warn`: rare on a healthy machine, a matter of how often.
`info`: worth knowing, judged by others (a profile, a counter). `benign`: harmless, and often mistaken for a fault."""

Stamp = float | str | None
"""Seconds since boot where the envelope has them, else the wall time as the log spells it, else None."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened, with its repetitions folded in: same kind, device, labels and boot."""

    kind: str
    """One of the kinds of the triage contract (`aer-correctable`, `xid` ...) or another one as found."""
    bdf: Bdf | None = None
    """The device, None when the line names none. Of an Xid function 0 is named, the log has no function."""
    labels: tuple[str, ...] = ()
    """What tells this event from others of its kind: error bits, Xid number, ring, BAR, DIMM."""
    count: int = 1
    """How often the text has it. A lower bound where `at_least` says so."""
    suppressed: int = 0
    """Messages that the kernel says it left out (rate limit). Not part of `count`."""
    multiple: bool = False
    """The kernel itself says that one record stands for several errors."""
    limited: bool = False
    """AER: as many were logged as the kernel logs of one device in a while, so that more may have happened."""
    cause: Cause | None
    """None where the text does not tell."""
    severity: Severity
    says: str
    """What happened, one lower-case clause without full stop and without the count."""
    help: tuple[str, ...] = ()
    """What to do, one step each."""
    first: Stamp = None
    last: Stamp = None
    line: int
    """Line of the text where it first shows, from 1."""
    boot: int = 0
    """Which boot of the text it belongs to, from 0."""
    text: str = ""
    """The first message of it, cleaned, without its envelope."""

    agent: str | None = None
    """AER: the side that saw the error: receiver, transmitter, requester, completer."""
    layer: str | None = None
    """AER: physical, data link or transaction."""
    reporter: Bdf | None = None
    """AER, DPC: the port that reported it, where that is not `bdf`."""
    requester: Bdf | None = None
    """AER, DPC: the sender that the error message claims. AMD root ports put 0000:00:00.0 there."""
    near: Bdf | None = None
    """The device that the same driver named on the lines around, for a line that names none. Likely, not certain: it is
    set only where those lines name a single device."""
    xid: int | None = None
    blame: str | None = None
    """Xid: whose fault it most likely is: application, driver, gpu, memory, link, nvlink or power."""
    process: str | None = None
    """The process named with an Xid, ring timeout, page fault, hung task or one killed for memory (name, pid)."""
    bar: int | None = None
    size_bytes: int | None = None
    """Of a BAR or bridge window: what was asked for."""
    assigned_bytes: int | None = None
    """Of a BAR or window that first failed: what it was given in the end."""
    speed_gts: float | None = None
    width: int | None = None
    """bw-limited: the link that limits. link-retrain: the speed it was held at."""
    limited_at: Bdf | None = None
    capable_speed_gts: float | None = None
    capable_width: int | None = None
    client_version: str | None = None
    module_version: str | None = None

    @property
    def at_least(self) -> bool:
        """Whether it may have happened more often than the text has it."""
        return self.multiple or self.limited or self.suppressed > 0


class BridgeControl(msgspec.Struct, frozen=True, kw_only=True):
    """What firmware and kernel agreed on for one PCI host bridge (ACPI _OSC, drivers/acpi/pci_root.c)."""

    bridge: str
    """The ACPI name that the line carries: `PNP0A08:00`."""
    buses: str | None = None
    """Domain and bus range as logged just before, `0000:40-5f`; None when that line is missing."""
    os_controls: tuple[str, ...] | None = None
    """Features that the kernel runs ("OS now controls"). None when no such line was seen."""
    platform_lacks: tuple[str, ...] = ()
    """Features that firmware does not support."""
    retained: bool = False
    """Firmware kept all of them ("platform retains control")."""
    lines: tuple[str, ...] = ()

    @property
    def os_owns_aer(self) -> bool | None:
        """Whether the kernel may report AER below this bridge; None when the log does not say."""
        if self.os_controls is not None:
            return "AER" in self.os_controls
        return False if self.retained else None


class AmdgpuMemory(msgspec.Struct, frozen=True, kw_only=True):
    """What amdgpu said of its memory at load. MiB throughout; None when that line is missing."""

    bdf: Bdf | None
    vram_mib: int | None = None
    vram_used_mib: int | None = None
    """The `(24560M used)` of the VRAM line: what the driver manages."""
    vram_ready_mib: int | None = None
    gtt_mib: int | None = None
    bar_mib: int | None = None
    """Size of the VRAM BAR (`Detected VRAM RAM=24560M, BAR=32768M`)."""


class NvidiaModule(msgspec.Struct, frozen=True, kw_only=True):
    """The `NVRM: loading NVIDIA UNIX ...` line."""

    version: str
    open_kernel_module: bool
    text: str


class Firmware(msgspec.Struct, frozen=True, kw_only=True):
    """The kernel's `DMI:` line: `vendor product/board, BIOS version date`."""

    text: str
    machine: str | None = None
    bios_version: str | None = None
    bios_date: str | None = None


class KernelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """How the last boot of the text was set up. None and () mean "not in this text", never "not so"."""

    from_boot: bool = False
    """The text holds the first line of this boot (`Linux version`), so an absent boot line was not logged."""
    boot_line: int | None = None
    """Number of that line in the text."""
    kernel_release: str | None = None
    kernel_line: str | None = None
    command_line: str | None = None
    unknown_command_line: tuple[str, ...] = ()
    """Parameters that nobody took ("Unknown kernel command line parameters"), harmless ones included."""
    ignored_parameters: tuple[tuple[str, str], ...] = ()
    """(module, parameter) that a module did not know: `('amdgpu', 'gtt_size')`."""
    firmware: Firmware | None = None
    host_bridges: tuple[BridgeControl, ...] = ()
    aer_enabled_ports: tuple[Bdf, ...] = ()
    """Ports whose AER service came up (`AER: enabled with IRQ`)."""
    iommu_default_domain: str | None = None
    """`Translated`, `Passthrough` ... (`iommu: Default domain type:`)."""
    amdgpu_memory: tuple[AmdgpuMemory, ...] = ()
    nvidia_module: NvidiaModule | None = None
    nvidia_uuids: tuple[tuple[Bdf, str], ...] = ()
    """(address, UUID) of `NVRM: GPU at PCI:...: GPU-...`."""
    nvidia_static_bar1: int = 0
    """How many GPUs mapped all VRAM into BAR1 (`kbusEnableStaticBar1Mapping`): the mark of a P2P-patched driver."""
    nvme_functions: tuple[tuple[str, Bdf], ...] = ()
    """(controller, address): `('nvme0', '0000:04:00.0')`."""


class KernelLog(msgspec.Struct, frozen=True, kw_only=True):
    """A kernel log, read. `events` are in the order of their first line."""

    events: tuple[Event, ...]
    facts: KernelFacts
    lines: int
    """Lines that were read."""
    first_seconds: float | None = None
    last_seconds: float | None = None
    """Seconds since boot of the first and last line that carry them."""
    boots: int = 1
    """Boots in the text, as far as it marks them; 0 for a text without any line."""
    stamped: bool = False
    """The text has the shape of a kernel log: a time stamp or level was found on it."""
    timed: bool = False
    """A line near its start or end says when it was written."""
    truncated: bool = False
    """Part of the text was not read, or more different events were found than are kept: absence proves nothing."""
    suppressed: tuple[Suppressed, ...] = ()
    """Messages that somebody left out, by whom."""
    residue: tuple[Residue, ...] = ()
    """Lines at warning level and worse that no family knows, the gravest first; () where they were not asked for."""
    residue_dropped: int = 0
    """Lines of that sort beyond those that are kept."""
    dump_lines: int = 0
    """Lines of registers and call traces that belong to the event or residue above them."""
    before_since: int = 0
    """Events and residue left out, as they were last seen before the moment asked for."""
    since_unknown: int = 0
    """Events and residue kept though the text has no time of that sort, so that nobody knows."""

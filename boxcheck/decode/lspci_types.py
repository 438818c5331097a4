"""What lspci says, as values. None means that this text does not say: capabilities hidden from a user who is not root,
a lower verbosity, a text cut at an end.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from boxcheck.model import Bdf, Scalar

RegionState = Literal["assigned", "ignored", "unassigned", "virtual", "broken"]
"""`ignored`: the hardware holds an address that the kernel did not take over. `unassigned`: no address at all.
`virtual`: the kernel has an address, the hardware has lost it (or never had a register, as a virtual function)."""


class LspciRegion(msgspec.Struct, frozen=True, kw_only=True):
    """One base address register, as `Region 1: Memory at ...` (-vv) or `Memory at ...` (-v)."""

    index: int
    """Of -v, which does not print it, counted through: a 64-bit BAR takes two."""
    memory: bool
    """False for I/O ports."""
    state: RegionState
    size_bytes: int | None = None
    """None where none is printed: a dump read back with -F, or a BAR that nobody sized."""
    prefetchable: bool | None = None
    disabled: bool = False
    """Memory or I/O decoding is off in the command register: normal until a driver takes the device."""


class LspciRebar(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the Physical Resizable BAR capability."""

    bar: int
    current_size_bytes: int | None
    supported_sizes_bytes: tuple[int, ...] = ()


class LspciFunction(msgspec.Struct, frozen=True, kw_only=True):
    """One function. Of several runs in one text the last reading of each field counts."""

    line: int
    """Offset of its first line in the lines given to `parse`, from 0."""
    bdf: Bdf | None
    """None for registers without the line that names their device (`lspci -vv | grep LnkSta`)."""
    name: str | None = None
    """Vendor and device as printed, without numbers and revision."""
    class_name: str | None = None
    class_code: int | None = None
    """24 bits; the lower 8 are 0 where no programming interface is printed."""
    vendor: int | None = None
    device: int | None = None
    revision: int | None = None
    subsystem_vendor: int | None = None
    subsystem_device: int | None = None
    gone: bool = False
    """The device does not answer: revision or header type read as ones."""
    denied: bool = False
    """`Capabilities: <access denied>`: they are unread, not absent."""
    detailed: bool = False
    """Capability registers were printed (-vv and more), or their bytes."""
    hex_bytes: int = 0
    disagrees: tuple[str, ...] = ()
    """Fields in which the text and the hex dump below it differ. The bytes count."""
    driver: str | None = None
    modules: tuple[str, ...] = ()
    physical_slot: str | None = None
    numa_node: int | None = None
    iommu_group: int | None = None
    serial: str | None = None
    power_state: str | None = None
    regions: tuple[LspciRegion, ...] = ()
    rebar: tuple[LspciRebar, ...] | None = None
    memory_enabled: bool | None = None
    primary_bus: int | None = None
    secondary_bus: int | None = None
    subordinate_bus: int | None = None
    port_type: str | None = None
    """As `pci_express.PortType`."""
    slot_implemented: bool | None = None
    correctable_reporting: bool | None = None
    max_speed_gts: float | None = None
    max_width: int | None = None
    dll_reporting: bool | None = None
    """LLActRep: whether `dll_active` means anything."""
    link_disabled: bool | None = None
    speed_gts: float | None = None
    width: int | None = None
    speed_mark: str | None = None
    """`ok`, `downgraded`, `overdriven` (`strange` before 3.10) where lspci printed one."""
    width_mark: str | None = None
    training: bool | None = None
    dll_active: bool | None = None
    top_speed_gts: float | None = None
    """The fastest of LnkCap2's supported speeds."""
    target_speed_gts: float | None = None
    retimer: bool | None = None
    slot_number: int | None = None
    slot_power_watts: float | None = None
    hot_plug: bool | None = None
    power_off: bool | None = None
    """The slot's power controller is told to keep the slot off."""
    presence: bool | None = None
    atomic_routing: bool | None = None
    atomic_32bit: bool | None = None
    atomic_64bit: bool | None = None
    atomic_requester: bool | None = None
    atomic_egress_blocked: bool | None = None
    uncorrectable_status: tuple[str, ...] | None = None
    uncorrectable_mask: tuple[str, ...] | None = None
    uncorrectable_severity: tuple[str, ...] | None = None
    correctable_status: tuple[str, ...] | None = None
    """AER bits by the kernel's short names (`pci_aer`); () where the register was printed and no bit is set."""
    correctable_mask: tuple[str, ...] | None = None
    root_correctable_interrupt: bool | None = None
    correctable_received: bool | None = None
    correctable_source: int | None = None
    uncorrectable_source: int | None = None
    acs_enabled: tuple[str, ...] | None = None
    dpc_triggered: bool | None = None
    dpc_reason: int | None = None
    dpc_source: int | None = None
    lane_errors: tuple[int, ...] | None = None
    tree_parent: Bdf | None = None
    """The bridge above, from `lspci -t`."""

    @property
    def best_speed_gts(self) -> float | None:
        """The fastest speed of this port: LnkCap2 where it is printed, else LnkCap."""
        return self.top_speed_gts if self.top_speed_gts is not None else self.max_speed_gts

    @property
    def is_bridge(self) -> bool:
        return self.secondary_bus is not None or (self.class_code is not None and self.class_code >> 8 == 0x0604)


class LspciChange(msgspec.Struct, frozen=True, kw_only=True):
    """A field that two runs in one text tell differently."""

    bdf: Bdf
    field: str
    before: Scalar
    after: Scalar


class LspciDump(msgspec.Struct, frozen=True, kw_only=True):
    """A text of lspci, read."""

    functions: tuple[LspciFunction, ...] = ()
    """In the order of their first line; those without an address last."""
    runs: int = 0
    """How often the text starts over with an address that it already had, plus one; 0 for no function."""
    changes: tuple[LspciChange, ...] = ()
    vanished: tuple[Bdf, ...] = ()
    """Functions of an earlier run that the last one does not list, where that one lists most of what came before."""
    complaints: tuple[str, ...] = ()
    """What pcilib and lspci wrote on standard error, cleaned; a few of them."""
    flavours: frozenset[str] = frozenset()
    """Which of `-n`, `-nn`, `-v`, `-vv`, `-x`, `-k`, `-mm`, `-vmm`, `-t` the text shows."""
    tree_flattened: bool = False
    """A tree whose columns are gone, so that its lines name no addresses."""
    truncated: bool = False
    """There were more functions than are kept."""

"""What the kernel says of itself while it starts: the facts that doctor needs from a log, and unknown parameters.

    acpi PNP0A08:00: _OSC: OS now controls [PCIeHotplug SHPCHotplug PME AER PCIeCapability LTR]
    pcieport 0000:00:01.1: AER: enabled with IRQ 45
    Unknown kernel command line parameters "splash BOOT_IMAGE=/vmlinuz", will be passed to user space.
    amdgpu: unknown parameter 'gtt_size' ignored

Sources: drivers/acpi/pci_root.c (decode_osc_bits, negotiate_os_control), drivers/pci/pcie/aer.c, init/main.c
(print_unknown_bootoptions), kernel/module/main.c (unknown_module_param_cb), kernel/params.c, drivers/pci/pci.c
(pci_setup), drivers/iommu/iommu.c, drivers/video/nomodeset.c, amdgpu_ttm.c, amdgpu_drv.c (amdgpu_init).
"""

from __future__ import annotations

import msgspec

from boxcheck.decode.cmdline import parse_cmdline
from boxcheck.model import Bdf

from .aer_limit import is_limited
from .envelope import Line
from .events import AmdgpuMemory, BridgeControl, Firmware, KernelFacts, NvidiaModule
from .ledger import Ledger
from .words import BDF, Rx, normal_bdf

_OSC = Rx(r"acpi ([\w:.-]{4,24}): (?:_OSC: *)?(.{0,300})")
_FEATURES = Rx(r"\[([^\]]{0,200})\]")
_ROOT_BRIDGE = Rx(
    r"PCI Root Bridge \[[^\]]{0,16}\] \(domain ([0-9a-fA-F]{4,8}) \[bus ([0-9a-fA-F]{2})(?:-([0-9a-fA-F]{2}))?\]\)"
)
_AER_PORT = Rx(rf"({BDF}).{{0,24}}AER:? enabled with IRQ")
_COMMAND_LINE = Rx(r"(Kernel c|C)ommand line: *(.*)")
_UNKNOWN_COMMAND_LINE = Rx(r'Unknown kernel command line parameters "(.{0,4000})", will be passed')
_IGNORED = Rx(r"([\w-]{1,64}): unknown parameter '([^']{1,80})' ignored")
_REFUSED = Rx(r"([\w-]{1,64}): Unknown parameter `([^'`]{1,80})'")
_INVALID = Rx(r"([\w-]{1,64}): `([^'`]{0,80})' invalid for parameter `([^'`]{1,80})'")
_OPTION = Rx(r"(?:\b(PCI|AMD-Vi|DMAR|ACPI|iommu): )?Unknown (?:boot )?option(?: -|:)? *[`']([^'`]{1,80})'")
_NOMODESET = Rx(r"(?:You have b|B)ooted with (?:the )?nomodeset\b")
_KERNEL = Rx(r"Linux version (\S{1,120})")
_DATE = Rx(r" (\d\d/\d\d/\d{4})\s*$")
_DOMAIN_TYPE = Rx(r"iommu: Default domain type: *(\w{3,24})")
_VRAM = Rx(r"VRAM: (\d{1,9})M 0x[0-9A-Fa-f]{1,16} - 0x[0-9A-Fa-f]{1,16}(?: \((\d{1,9})M used\))?")
_READY = Rx(r"(\d{1,9})M of (VRAM|GTT) memory ready")
_DETECTED = Rx(r"Detected VRAM RAM=(\d{1,9})M, BAR=(\d{1,9})M")
_MODULE = Rx(r"NVRM: loading (NVIDIA UNIX .{0,160}?)[ ,]+(\d{3,4}\.\d{1,4}(?:\.\d{1,4})?)(?:\s|$)")
_GPU_UUID = Rx(r"GPU at PCI:([0-9a-fA-F:]{7,16}): (GPU-[0-9a-f-]{8,40})")
_PCI_FUNCTION = Rx(rf"nvme (nvme\d{{1,4}}): pci function ({BDF})")

_RETAINED = ("retains control", "not requesting OS control", "not requesting _OSC control", "_OSC failed")
_EARLY_SECONDS = 60.0
_MANY = 4096
"""Ports, bridges or GPUs kept; a hostile log could name any number."""

# Taken by initramfs, plymouth and init, so the kernel does not know them and nobody made a mistake.
_USERS_OWN = frozenset(("BOOT_IMAGE", "splash", "nosplash", "rhgb", "auto", "verbose", "single", "rescue", "emergency"))


class BootFacts:
    """Collects facts of one boot."""

    def __init__(self) -> None:
        self._facts: KernelFacts = KernelFacts()
        self._kernel_command_line = False
        self._nomodeset = False
        self._bridges: dict[str, BridgeControl] = {}
        self._buses: str | None = None
        self._ports: dict[Bdf, None] = {}
        self._memory: dict[Bdf | None, AmdgpuMemory] = {}
        self._latest_gpu: Bdf | None = None
        self._uuids: dict[Bdf, str] = {}
        self._drives: dict[str, Bdf] = {}
        self._ignored: dict[tuple[str, str], None] = {}

    def facts(self) -> KernelFacts:
        """What was found of the boot that was read last."""
        return msgspec.structs.replace(
            self._facts, host_bridges=tuple(self._bridges.values()), aer_enabled_ports=tuple(self._ports),
            amdgpu_memory=tuple(self._memory.values()), nvidia_uuids=tuple(self._uuids.items()),
            nvme_functions=tuple(self._drives.items()), ignored_parameters=tuple(self._ignored),
        )

    def read(self, line: Line, out: Ledger) -> int:
        """Take in one line."""
        for needle, reader in _READERS:
            if needle in line.message:
                reader(self, line, out)
                if reader is not BootFacts.gpu_memory:
                    # Facts are no events: whatever else amdgpu says of its memory is for others.
                    out.take(line)
                break
        return 0

    def finish(self, out: Ledger) -> None:
        """Facts are fetched with `facts`."""

    def _set(self, **changes: object) -> None:
        self._facts = msgspec.structs.replace(self._facts, **changes)

    def osc(self, line: Line, out: Ledger) -> None:
        """One _OSC line of a host bridge."""
        found = _OSC.search(line.message)
        if found is None or len(self._bridges) >= _MANY:
            return
        name, text = found[1], found[2]
        bridge = self._bridges.get(name) or BridgeControl(bridge=name, buses=self._buses)
        listed = _FEATURES.search(text)
        features = tuple(listed[1].split()) if listed is not None else ()
        controls, lacks, retained = bridge.os_controls, bridge.platform_lacks, bridge.retained
        if "OS now controls" in text:
            # A CXL bridge has a second line for CXL's own features.
            controls = (*(controls or ()), *(word for word in features if word not in (controls or ())))
        elif "does not support" in text:
            lacks = (*lacks, *(word for word in features if word not in lacks))
        elif any(phrase in text for phrase in _RETAINED):
            retained = True
        if ("AER" in lacks and "AER" not in bridge.platform_lacks) or (retained and not bridge.retained):
            fold = out.add("aer-not-owned", line)
            if fold.fresh and "not requesting" in text:
                fold.describe("info", "config", "the kernel leaves PCIe errors below a host bridge alone, so AER lines"
                              " and counters may be missing", ("boot without pcie_ports=compat and pci=noaer",))
            elif fold.fresh:
                fold.describe("info", "config", "firmware keeps PCIe error reporting to itself below a host bridge, so"
                              " AER lines and counters may be missing",
                              ("give AER to the operating system in the BIOS; until then read the BMC's event log",))
        lines = (*bridge.lines, text) if len(bridge.lines) < 16 and text not in bridge.lines else bridge.lines
        self._bridges[name] = BridgeControl(bridge=name, buses=bridge.buses, os_controls=controls, platform_lacks=lacks,
                                            retained=retained, lines=lines)

    def root_bridge(self, line: Line, out: Ledger) -> None:
        """The line before a bridge's _OSC lines: which buses it has."""
        found = _ROOT_BRIDGE.search(line.message)
        if found is not None:
            self._buses = f"{int(found[1], 16):04x}:{found[2].lower()}-{(found[3] or found[2]).lower()}"

    def aer_port(self, line: Line, out: Ledger) -> None:
        """A port whose AER service came up."""
        found = _AER_PORT.search(line.message)
        bdf = normal_bdf(found[1]) if found is not None else None
        if bdf is not None and len(self._ports) < _MANY:
            self._ports[bdf] = None

    def command_line(self, line: Line, out: Ledger) -> None:
        """The command line; the later `Kernel command line` has what the kernel added."""
        unknown = _UNKNOWN_COMMAND_LINE.search(line.message)
        if unknown is not None:
            words = tuple(unknown[1].split()[:64])
            self._set(unknown_command_line=words)
            odd = tuple(word for word in words if word.partition("=")[0] not in _USERS_OWN)
            if odd:
                fold = out.add("unknown-param", line, labels=odd)
                if fold.fresh:
                    names = ", ".join(odd)[:160]
                    fold.describe("info", "config", f"the kernel does not know {names} and leaves it to user space",
                                  ("check the spelling, if it was meant for the kernel",))
            return
        found = _COMMAND_LINE.match(line.message)
        if found is None or self._kernel_command_line:
            return
        self._kernel_command_line = found[1] == "Kernel c"
        self._set(command_line=found[2])
        asked = parse_cmdline(found[2])
        if asked.has("nomodeset") and asked.value("amdgpu.modeset") != "1":
            self.nomodeset(line, out)

    def nomodeset(self, line: Line, out: Ledger) -> None:
        """The word on the command line, and what the kernel says of it; one event a boot."""
        if self._nomodeset:
            return
        self._nomodeset = True
        fold = out.add("nomodeset", line)
        if fold.fresh:
            fold.describe("info", "config", "the kernel was booted with nomodeset: amdgpu and other drivers of GPUs do"
                          " not start with it, NVIDIA's own does")

    def booted_with(self, line: Line, out: Ledger) -> None:
        """The words of drivers/video/nomodeset.c, and of vgacon before Linux 5.17, for a log without the command line.
        """
        if self._facts.command_line is None and _NOMODESET.match(line.message):
            self.nomodeset(line, out)

    def ignored(self, line: Line, out: Ledger) -> None:
        """A parameter that its module does not have."""
        found = _IGNORED.search(line.message)
        if found is None:
            found = _REFUSED.search(line.message)
            if found is not None:
                fold = out.add("unknown-param", line, labels=(found[1], found[2]))
                if fold.fresh:
                    fold.describe("warn", "config",
                                  f"module {found[1]} has no parameter {found[2]} and was not loaded because of it",
                                  (f"look the parameter up in those that the module has: modinfo -p {found[1]}",))
            return
        if len(self._ignored) < _MANY:
            self._ignored[found[1], found[2]] = None
        fold = out.add("unknown-param", line, labels=(found[1], found[2]))
        if fold.fresh:
            fold.describe("warn", "config", f"module {found[1]} has no parameter {found[2]} and ignored it",
                          (f"look the parameter up in those that the module has: modinfo -p {found[1]}",))

    def invalid(self, line: Line, out: Ledger) -> None:
        """A parameter whose value its module does not take."""
        found = _INVALID.search(line.message)
        if found is None:
            return
        fold = out.add("unknown-param", line, labels=(found[1], f"{found[3]}={found[2]}"))
        if fold.fresh:
            fold.describe("warn", "config", f"{found[1]} does not take {found[2] or 'nothing'} for {found[3]}",
                          (f"look up what the parameter takes: modinfo -p {found[1]}",))

    def option(self, line: Line, out: Ledger) -> None:
        """A word of `pci=`, `amd_iommu=` or `intel_iommu=` that nobody knows, or a boot option of an old kernel."""
        found = _OPTION.search(line.message)
        if found is None:
            return
        where = {"PCI": "pci=", "AMD-Vi": "amd_iommu=", "DMAR": "intel_iommu="}.get(found[1] or "", "the kernel")
        fold = out.add("unknown-param", line, labels=(where, found[2]))
        if fold.fresh:
            fold.describe("warn", "config", f"{where} does not know {found[2]} and ignored it",
                          ("check the spelling (Documentation/admin-guide/kernel-parameters.txt)",))

    def kernel(self, line: Line, out: Ledger) -> None:
        """The first line of a boot."""
        found = _KERNEL.search(line.message)
        # Whatever writes such a line an hour later, it is not the first one of a kernel.
        if found is not None and (line.seconds is None or line.seconds < _EARLY_SECONDS):
            self._set(from_boot=True, boot_line=line.number, kernel_release=found[1], kernel_line=line.message[:400])
            out.limits_log = is_limited(found[1])

    def dmi(self, line: Line, out: Ledger) -> None:
        """The machine and its BIOS."""
        machine, bios, version = line.message.removeprefix("DMI: ").rpartition(", BIOS ")
        if not line.message.startswith("DMI: ") or not bios:
            return
        date = _DATE.search(version)
        if date is not None:
            version = version[:date.start()]
        self._set(firmware=Firmware(
            text=line.message[5:400], machine=machine[:200] or None, bios_version=version[:100] or None,
            bios_date=date[1] if date is not None else None,
        ))

    def domain_type(self, line: Line, out: Ledger) -> None:
        """How the IOMMU treats devices by default."""
        found = _DOMAIN_TYPE.search(line.message)
        if found is not None:
            self._set(iommu_default_domain=found[1])

    def gpu_memory(self, line: Line, out: Ledger) -> None:
        """amdgpu's memory lines; old ones name no device and belong to the one that a line before them named."""
        message = line.message
        bdf = line.bdf
        changes: dict[str, int] = {}
        vram, detected, ready = _VRAM.search(message), _DETECTED.search(message), _READY.search(message)
        if vram is not None:
            changes["vram_mib"] = int(vram[1])
            if vram[2]:
                changes["vram_used_mib"] = int(vram[2])
        elif detected is not None:
            changes["bar_mib"] = int(detected[2])
        elif ready is not None:
            changes["gtt_mib" if ready[2] == "GTT" else "vram_ready_mib"] = int(ready[1])
        if not changes or line.driver == "radeon" or "radeon:" in message:
            return
        if bdf is None:
            bdf = self._latest_gpu
        else:
            self._latest_gpu = bdf
        if bdf in self._memory or len(self._memory) < _MANY:
            before = self._memory.get(bdf) or AmdgpuMemory(bdf=bdf)
            self._memory[bdf] = msgspec.structs.replace(before, **changes)

    def nvidia_module(self, line: Line, out: Ledger) -> None:
        """Version and flavour of the NVIDIA module."""
        found = _MODULE.search(line.message)
        if found is not None:
            self._set(nvidia_module=NvidiaModule(version=found[2], open_kernel_module="Open Kernel Module" in found[1],
                                                 text=line.message[:240]))

    def uuid(self, line: Line, out: Ledger) -> None:
        """An NVIDIA GPU's UUID, logged with its first Xid."""
        found = _GPU_UUID.search(line.message)
        bdf = normal_bdf(found[1]) if found is not None else None
        if found is not None and bdf is not None and len(self._uuids) < _MANY:
            self._uuids[bdf] = found[2]

    def static_bar1(self, line: Line, out: Ledger) -> None:
        """The line that a P2P-patched NVIDIA module writes for each GPU."""
        self._set(nvidia_static_bar1=self._facts.nvidia_static_bar1 + 1)

    def nvme(self, line: Line, out: Ledger) -> None:
        """Which PCI function an NVMe controller is."""
        found = _PCI_FUNCTION.search(line.message)
        bdf = normal_bdf(found[2]) if found is not None else None
        if found is not None and bdf is not None and len(self._drives) < _MANY:
            self._drives[found[1]] = bdf


_READERS = (
    ("_OSC", BootFacts.osc),
    ("PCI Root Bridge [", BootFacts.root_bridge),
    ("enabled with IRQ", BootFacts.aer_port),
    ("nknown parameter", BootFacts.ignored),
    ("nvalid for parameter", BootFacts.invalid),
    ("Unknown option", BootFacts.option),
    ("Unknown boot option", BootFacts.option),
    # Before the command line, which it may mention.
    ("Default domain type", BootFacts.domain_type),
    ("ommand line", BootFacts.command_line),
    ("ooted with ", BootFacts.booted_with),
    ("Linux version ", BootFacts.kernel),
    ("DMI: ", BootFacts.dmi),
    ("VRAM", BootFacts.gpu_memory),
    ("of GTT memory", BootFacts.gpu_memory),
    ("NVRM: loading ", BootFacts.nvidia_module),
    ("GPU at PCI:", BootFacts.uuid),
    ("Static bar1 mapped", BootFacts.static_bar1),
    ("pci function ", BootFacts.nvme),
)

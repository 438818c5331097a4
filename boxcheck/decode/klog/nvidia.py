"""NVIDIA's kernel driver (NVRM) and what it says when a GPU fails, is lost, or does not start.

    NVRM: Xid (PCI:0000:cb:00): 79, pid=0, GPU has fallen off the bus.
    NVRM: GPU 0000:83:00.0: GPU has fallen off the bus.
    NVRM: GPU 0000:09:00.0: RmInitAdapter failed! (0x22:0x56:894)
    NVRM: API mismatch: the client has the version 535.247.01, but
    NVRM: this kernel module has the version 535.230.02.
    NVRM: BAR1 is 0M @ 0x0 (PCI:0000:14:00.0)

Source: the open kernel modules (kernel-open/nvidia/nv-pci.c, src/nvidia/arch/nvalloc/unix).
"""

from __future__ import annotations

from boxcheck.model import Bdf

from .envelope import Line
from .family import Rule, apply
from .ledger import Ledger
from .words import BDF, Rx, normal_bdf
from .xids import UNKNOWN, XIDS

_BOARD = r"(?:[0-9a-fA-F]{4,8}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2}(?:\.[0-7])?"
_NAMED = Rx(rf"NVIDIA GPU ({BDF})")
_NAMED_LINES = 4
"""A message of several lines names the GPU on its first."""
_XID = Rx(rf"Xid \((?:PCI:)?({_BOARD})\): *(\d{{1,5}})(?:, *(.{{0,240}}))?")
_PROCESS = Rx(r"pid='?(<?\w+>?)'?(?:, *name=(<?[\w./:@-]{1,64}>?))?")
_CLIENT = Rx(r"the client(?: '([^']{0,64})'(?: \(pid \d{1,9}\))?)? *has the version ([\d.]{3,24})")
_CLIENT_ALONE = Rx(r"NVRM: *has the version ([\d.]{3,24})")
_MODULE = Rx(r"kernel module has the version ([\d.]{3,24})")

_GONE = (
    "power the machine off and on, the GPU does not come back without",
    "check the card's power cables, its seat and its riser",
    "look for PCIe errors of its port in the seconds before; two GPUs lost at once point to power",
)
_REBOOT = ("reboot, so that the module of the installed driver is loaded", "then hold the driver's packages")
_START = ("power the machine off and on; if it returns, move the card to another slot to tell card from slot",)

_RULES = (
    Rule("fallen off the bus", "gpu-lost", "fail", "signal", "the GPU fell off the bus: it no longer answers over PCIe",
         _GONE,
         pattern=Rx(rf"(?:GPU (?:at )?(?:PCI:)?(?P<bdf>{_BOARD}).{{0,40}})?fallen off the bus")),
    Rule("device handle for GPU", "gpu-lost", "fail", "signal", "nvidia-smi can no longer talk to the GPU", _GONE,
         pattern=Rx(rf"device handle for GPU ?(?P<bdf>{BDF})?")),
    Rule("RmInitAdapter failed", "nvidia-init-fail", "fail", "firmware",
         "the driver could not start the GPU ({label})", _START,
         pattern=Rx(rf"GPU (?:at )?(?:PCI:)?(?P<bdf>{_BOARD}): RmInitAdapter failed!"
                    r" *\((?P<label>[0-9a-fx:]{3,40})\)")),
    Rule("RmInitAdapter failed", "nvidia-init-fail", "fail", "firmware", "the driver could not start the GPU", _START,
         pattern=Rx(rf"NVRM: (?:GPU (?:at )?(?:PCI:)?(?P<bdf>{_BOARD}): )?RmInitAdapter failed")),
    Rule("is not supported by", "nvidia-init-fail", "fail", "driver", "the driver does not support this GPU",
         ("install a driver that knows the card; the open kernel module needs Turing or newer",),
         Rx(r"NVRM: .{0,200}is not supported by"), label="not supported"),
    Rule("requires use of the NVIDIA open kernel modules", "nvidia-init-fail", "fail", "driver",
         "this GPU needs the open kernel module, and the proprietary one is loaded",
         ("install the -open variant of the driver package",), label="needs the open module"),
    Rule("probe routine was not called", "nvidia-init-fail", "warn", "driver", "another driver holds the GPU",
         ("lspci -k names the driver; nouveau must be blacklisted, vfio-pci may be meant",),
         label="held by another driver"),
    Rule("probe", "nvidia-init-fail", "fail", "driver", "the driver gave up on the GPU ({label})", _START,
         pattern=Rx(rf"nvidia: probe of (?P<bdf>{BDF}) failed with error (?P<label>-?\d{{1,6}})")),
    Rule("probe", "nvidia-init-fail", "fail", "driver", "the driver gave up on the GPU ({label})", _START,
         pattern=Rx(r"probe with driver nvidia failed with error (?P<label>-?\d{1,6})")),
    Rule("pci_enable_device failed", "nvidia-init-fail", "fail", "config",
         "the driver could not switch the GPU on", _START,
         label="pci_enable_device"),
    Rule(" is 0M @ ", "bar-assign-fail", "fail", "config",
         "{label} has no address space: the firmware gave the card none",
         ("in the BIOS: enable Above 4G Decoding and Resizable BAR, and raise the MMIO High size where it has one",),
         pattern=Rx(rf"(?P<label>BAR\d) is 0M @ 0x0+ \(PCI:(?P<bdf>{_BOARD})\)")),
    Rule("SXid (PCI:", "sxid", "fail", "signal", "the NVLink switch reported error {label}",
         ("read the fabric manager's log",),
         pattern=Rx(rf"SXid \(PCI:(?P<bdf>{_BOARD})\): *(?P<label>\d{{1,6}})")),
)


_MINOR_RULES = (
    Rule("rm_init_adapter failed", "nvidia-init-fail", "fail", "firmware",
         "the driver could not start the GPU (/dev/nvidia{label})", _START,
         pattern=Rx(rf"NVRM: (?:GPU (?:at )?(?:PCI:)?(?P<bdf>{_BOARD}): )?rm_init_adapter failed"
                    r"(?:, device minor number (?P<label>\d{1,5}))?")),
)
"""What the caller of RmInitAdapter adds, told only where RmInitAdapter itself said nothing just before."""
_INIT_LINES = 4


class Nvidia:
    """Reads NVRM's messages."""

    def __init__(self) -> None:
        self._client: tuple[Line, str | None] | None = None
        self._named: tuple[int, Bdf | None] = (-_NAMED_LINES, None)
        self._init_line = -_INIT_LINES - 1

    def read(self, line: Line, out: Ledger) -> int:
        """Take in one line."""
        message = line.message
        if "Xid (" in message and "SXid (" not in message:
            _xid(line, out)
            return 0
        if "API mismatch" in message or self._client is not None:
            return self._mismatch(line, out)
        named = _NAMED.search(message) if "NVIDIA GPU " in message else None
        if named is not None:
            self._named = (line.number, normal_bdf(named[1]))
        fallback = self._named[1] if line.number - self._named[0] <= _NAMED_LINES else None
        if "rm_init_adapter failed" in message:
            if line.number - self._init_line > _INIT_LINES:
                apply(_MINOR_RULES, line, out, fallback)
            return 0
        if "RmInitAdapter failed" in message:
            self._init_line = line.number
        fold = apply(_RULES, line, out, fallback)
        if fold is not None and fold.kind == "bar-assign-fail" and fold.fresh:
            label = fold.labels[0]
            fold.labels = (f"BAR {label[3:]}",)
            fold.details["bar"] = int(label[3:])
        return 0

    def _mismatch(self, line: Line, out: Ledger) -> int:
        """The two versions stand on two lines, or on one."""
        message = line.message
        if "API mismatch" in message:
            if self._client is not None:
                self._book_mismatch(None, out)
            client = _CLIENT.search(message)
            self._client = (line, client[2] if client is not None else None)
        elif self._client is not None and self._client[1] is None:
            client = _CLIENT_ALONE.search(message)
            if client is not None:
                self._client = (self._client[0], client[1])
        module = _MODULE.search(message)
        if module is not None:
            self._book_mismatch(module[1].rstrip("."), out)
            return 0
        if self._client is not None and line.number - self._client[0].number >= 6:
            self._book_mismatch(None, out)
            return 0
        return 1

    def _book_mismatch(self, module: str | None, out: Ledger) -> None:
        if self._client is None:
            return
        line, client = self._client
        self._client = None
        client = client.rstrip(".") if client else None
        fold = out.add("driver-mismatch", line, labels=tuple(text for text in (client, module) if text))
        if fold.fresh:
            libraries, loaded = client or "another version", module or "not that"
            fold.describe("fail", "driver", f"the NVIDIA libraries are {libraries}, the kernel module is {loaded}",
                          _REBOOT, client_version=client, module_version=module)

    def finish(self, out: Ledger) -> None:
        """Book a mismatch whose second line never came."""
        self._init_line = -_INIT_LINES - 1
        self._book_mismatch(None, out)


def _xid(line: Line, out: Ledger) -> None:
    found = _XID.search(line.message)
    if found is None:
        return
    number = int(found[2])
    fold = out.add("xid", line, bdf=normal_bdf(found[1]), labels=(str(number),))
    if not fold.fresh:
        return
    entry = XIDS.get(number, UNKNOWN)
    fold.describe(entry.severity, entry.cause, f"Xid {number}: {entry.says}", (entry.help,), xid=number)
    process = _PROCESS.search(found[3] or "")
    if process is not None:
        words = [word for word in (process[2], process[1]) if word and word not in ("<unknown>", "0", "unknown")]
        if words:
            fold.details["process"] = " ".join(words)

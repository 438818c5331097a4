"""NVIDIA's kernel driver (NVRM) and what it says when a GPU fails, is lost, or does not start.

    NVRM: Xid (PCI:0000:cb:00): 79, pid=0, GPU has fallen off the bus.
    NVRM: GPU 0000:83:00.0: GPU has fallen off the bus.
    NVRM: GPU 0000:09:00.0: RmInitAdapter failed! (0x22:0x56:894)
    NVRM: API mismatch: the client has the version 535.247.01, but
    NVRM: this kernel module has the version 535.230.02.
    NVRM: BAR1 is 0M @ 0x0 (PCI:0000:14:00.0)

An Xid names the board without its function, on a part of a divided GPU with it (`PCI:0000:01:00 GPU-I:05`), in drivers
before 260 or so bus and device alone (`0001:00`). Before 525 an Xid 119 says "Timeout waiting for RPC from GSP!",
since "Timeout after 6s of waiting for RPC response from GPU0 GSP!"; GSP may also be slow, or fail, without an Xid.
Source: the open kernel modules (kernel-open/nvidia/{nv,nv-pci}.c, kernel-open/nvidia-peermem/nvidia-peermem.c,
src/nvidia/arch/nvalloc/unix/src/osinit.c, src/nvidia/src/kernel/gpu/{gsp/kernel_gsp,rc/kernel_rc,gpu}.c,
src/common/nvswitch/kernel/inc/common_nvswitch.h).
"""

from __future__ import annotations

import functools

from boxcheck.model import Bdf

from .envelope import Line
from .family import Rule, apply
from .ledger import Ledger
from .steps import ABOVE_4G, BEFORE, CABLES, GPU_OFF, HOLDER, PROGRAM
from .words import BDF, Rx, normal_bdf
from .xids import UNKNOWN, XIDS

_BOARD = r"(?:[0-9a-fA-F]{4,8}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2}(?:\.[0-7])?"
_NAMED = Rx(rf"NVIDIA GPU ({BDF})")
_NAMED_LINES = 4
"""A message of several lines names the GPU on its first."""
_CONTINUED = ("fallen off the bus", "is not supported by", "NVIDIA open kernel modules")
"""What stands on the later lines of such messages."""
_XID = Rx(rf"Xid \((?:PCI:)?({_BOARD}|[0-9a-fA-F]{{4}}:[0-9a-fA-F]{{2}})(?: GPU-I:\d{{1,3}})?\): *(\d{{1,5}})"
          r"(?:, *(.{0,240}))?")
_MISREAD = Rx(r"Xid \((?:PCI:)?[0-9A-Za-z:. ]{5,16}\): *(\d{1,3})(?:, *(.{0,240}))?")
"""With an address that is none: read off a picture (`OOOO:41:OO`). The number stands by itself."""
_ACTION = Rx(r"GPU recovery action changed from 0x[0-9a-f]{1,4} \([^)]{1,40}\) to 0x[0-9a-f]{1,4} \(([^)]{1,40})\)")
_OLD_BOARD = Rx(r"00([0-9a-fA-F]{2}):([0-9a-fA-F]{2})$")
_PROCESS = Rx(r"pid='?(<?\w+>?)'?(?:, *name=(<?[\w./:@-]{1,64}>?))?")
_CLIENT = Rx(r"the client(?: '([^']{0,64})'(?: \(pid \d{1,9}\))?)? *has the version ([\d.]{3,24})")
_CLIENT_ALONE = Rx(r"NVRM: *has the version ([\d.]{3,24})")
_MODULE = Rx(r"kernel module has the version ([\d.]{3,24})")

_GONE = (GPU_OFF, CABLES, BEFORE)
_REBOOT = ("reboot, so that the module of the installed driver is loaded", "then hold the driver's packages")
_IRQ = ("look whether another device shares the interrupt (/proc/interrupts)", "boot with pci=msi, or update the BIOS")
_GSP = ("update the driver; when it returns, power the machine off and on, and look for PCIe errors before it",)
_ABOVE_4G = (ABOVE_4G,)
_UPDATE = "update the driver"
_START = ("power the machine off and on; if it returns, move the card to another slot to tell card from slot",)

_RULES = (
    Rule("fallen off the bus", "gpu-lost", "fail", "signal", "the GPU fell off the bus: it no longer answers over PCIe",
         _GONE,
         pattern=Rx(rf"(?:GPU (?:at )?(?:PCI:)?(?P<bdf>{_BOARD}).{{0,40}})?fallen off the bus")),
    Rule("device handle for GPU", "gpu-lost", "fail", "signal", "nvidia-smi can no longer talk to the GPU", _GONE,
         pattern=Rx(rf"device handle for GPU ?(?:\d{{1,3}}: ?)?(?P<bdf>{BDF})?")),
    Rule("power cables connected", "gpu-power-cable", "fail", "power",
         "the card's power cables are not all plugged in, and the driver leaves it off",
         ("plug in every power cable of the card, each on its own lead of the supply",),
         Rx(rf"GPU (?:at )?(?:PCI:)?(?P<bdf>{_BOARD}).{{0,40}}power cables")),
    Rule("WPR2 already up", "nvidia-init-fail", "fail", "firmware",
         "the GPU still holds the firmware of an earlier start, and the driver could not start it", _START,
         Rx(r"unexpected (?P<label>WPR2 already up)")),
    Rule("uvm encountered global fatal error", "nvidia-uvm-fatal", "fail", "driver",
         "the driver's memory manager (UVM) gave up, and no CUDA program starts any more",
         ("reboot; look at the Xid before it for the reason",)),
    Rule("of waiting for RPC", "gsp-timeout", "fail", "firmware",
         "the GPU's system processor (GSP) did not answer the driver", _GSP,
         Rx(r"Timeout after \d{1,9}s of waiting for RPC response"), label="timeout"),
    Rule("waiting for RPC from GSP", "gsp-timeout", "fail", "firmware",
         "the GPU's system processor (GSP) did not answer the driver", _GSP, label="timeout"),
    Rule("waiting for RPC response from GSP", "gsp-timeout", "fail", "firmware",
         "the GPU's system processor (GSP) answered nonsense", _GSP,
         Rx(r"sanity check failed 0x[0-9a-f]{1,8} waiting for RPC response"), label="sanity check"),
    Rule("Rate limiting GSP RPC error prints", "gsp-timeout", "fail", "firmware",
         "the GPU's system processor (GSP) fails so often that the driver logs only some of it", _GSP,
         Rx(rf"prints(?: for GPU at PCI:(?P<bdf>{_BOARD}))?"), label="rate limited"),
    Rule("Slow RPC response from", "gsp-slow", "info", "firmware",
         "the GPU's system processor (GSP) was slow to answer"),
    Rule("Failed to copy vbios to system memory", "nvidia-init-fail", "fail", "firmware",
         "the driver could not read the GPU's firmware (VBIOS)", _START,
         Rx(rf"GPU (?:at )?(?:PCI:)?(?P<bdf>{_BOARD})"), label="no VBIOS"),
    Rule("request_mem_region failed", "nvidia-init-fail", "fail", "config",
         "another driver holds the GPU's memory window",
         (HOLDER,), label="window taken"),
    Rule("to allocate resized BAR1", "bar-resize-fail", "warn", "config",
         "the driver could not make the GPU's BAR1 as large as its memory", _ABOVE_4G),
    Rule("Failed to re-allocate BAR1", "bar-assign-fail", "fail", "config",
         "the GPU lost its BAR1 when the driver tried to resize it", _ABOVE_4G, label="BAR 1"),
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
         ("blacklist the driver that lspci -k names where it is nouveau; vfio-pci may be meant",),
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
         _ABOVE_4G,
         pattern=Rx(rf"(?P<label>BAR\d) is 0M @ 0x0+ \(PCI:(?P<bdf>{_BOARD})\)")),
    Rule("RC watchdog: GPU is probably locked", "gpu-hang", "fail", "driver",
         "the driver's watchdog got no answer from a GPU, which hangs", (_UPDATE, PROGRAM), label="watchdog"),
    Rule("unhandled interrupt threshold", "irq-unhandled", "warn", "driver",
         "interrupts came that the driver did not know (irq {label})", _IRQ,
         Rx(r"interrupt threshold for irq (?P<label>\d{1,5})")),
    Rule("waiting for GPU progress", "display-timeout", "warn", "driver",
         "the display waited for a GPU that stood still", ("look for a hung or lost GPU at the same moment",)),
    Rule("invalid context, skipping", "nvidia-peermem", "info", "driver",
         "a program ended while the network card still used its GPU memory", (),
         Rx(r"nvidia-peermem \w{4,40}:\d{1,5} ERROR detected invalid context")),
    # Many of the non-fatal ones only follow a GPU that was reset or a program that died (fabric manager's guide, D.4).
    Rule("SXid (PCI:", "sxid", "warn", "signal", "the NVLink switch reported error {label}, not a fatal one",
         ("read the fabric manager's log",),
         pattern=Rx(rf"SXid \(PCI:(?P<bdf>{_BOARD})\): *(?P<label>\d{{1,6}}), *Non-fatal")),
    Rule("SXid (PCI:", "sxid", "fail", "signal", "the NVLink switch reported error {label}",
         ("read the fabric manager's log",),
         pattern=Rx(rf"SXid \(PCI:(?P<bdf>{_BOARD})\): *(?P<label>\d{{1,6}})")),
    Rule("NVSwitch non-fatal error", "sxid", "warn", "signal",
         "the fabric manager found error {label} on an NVLink switch, not a fatal one", ("look for Xids of the GPUs",),
         pattern=Rx(rf"NVSwitch non-fatal error (?P<label>\d{{1,6}}) .{{0,80}}bus id (?P<bdf>{_BOARD})")),
    Rule("NVSwitch fatal error", "sxid", "fail", "signal",
         "the fabric manager found fatal error {label} on an NVLink switch", ("look for Xids of the GPUs",),
         pattern=Rx(rf"NVSwitch fatal error (?P<label>\d{{1,6}}) .{{0,80}}bus id (?P<bdf>{_BOARD})")),
)


_LOST_RULES = (
    Rule("GPU is lost", "gpu-lost", "fail", "signal",
         "the driver found the GPU lost: it no longer answers over PCIe", _GONE,
         Rx(rf"NVRM: (?:GPU (?:at )?(?:PCI:)?(?P<bdf>{_BOARD}): )?GPU is lost")),
    Rule("NV_ERR_GPU_IS_LOST", "gpu-lost", "fail", "signal",
         "the driver found the GPU lost: it no longer answers over PCIe", _GONE),
)
"""What the driver says again and again once a GPU is lost: told only where the loss itself is not in the text."""
_LOST_BOARD = Rx(rf"NVRM: GPU (?:at )?(?:PCI:)?({_BOARD}): ")
_MANY_LOST = 256
_LOST_WORDS = ("NV_ERR_GPU_IS_LOST", "GPU is lost")
_LOST_XIDS = ("79", "154")
_MINOR_RULES = (
    Rule("rm_init_adapter failed", "nvidia-init-fail", "fail", "firmware",
         "the driver could not start the GPU, and the line with the reason is missing", _START,
         pattern=Rx(rf"NVRM: (?:GPU (?:at )?(?:PCI:)?(?P<bdf>{_BOARD}): )?rm_init_adapter failed")),
)
"""What the caller of RmInitAdapter adds, told only where RmInitAdapter itself said nothing just before."""
_INIT_LINES = 4
_NONE_STARTED = "None of the NVIDIA devices were initialized"
_NONE_RULES = (
    Rule(_NONE_STARTED, "nvidia-init-fail", "fail", None,
         "the driver started no GPU, and the lines with the reason are missing", _START, label="none started"),
)
_REASONS = ("nvidia-init-fail", "gpu-power-cable", "gpu-lost", "bar-assign-fail", "xid")
"""Events that tell why the driver started no GPU."""
_FOLLOWS = (
    "NVIDIA probe routine failed for", _NONE_STARTED, "may have misconfigured your GPU",
    "bailing out of RmInitAdapter", "Cannot attach gpu", "_kgspLogXid", "RC all channels for critical error",
    "A GPU crash dump has been created", "GPU_ATTACHED_SANITY_CHECK failed", "rpcSendMessage failed with status",
)
"""What the driver adds to a failure that it has told already."""
_MISMATCH_LINES = 6
_MISMATCH_REST = ("make sure that this kernel module", "components have the same version")


class Nvidia:
    """Reads NVRM's messages."""

    def __init__(self) -> None:
        self._client: tuple[Line, str | None] | None = None
        self._named: tuple[int, Bdf | None] = (-_NAMED_LINES, None)
        self._init_line = -_INIT_LINES - 1
        self._none_started: Line | None = None
        self._lost: dict[Bdf | None, Line] = {}
        """First line about each GPU that says it is lost, which says so again and again."""

    def read(self, line: Line, out: Ledger) -> int:
        """Take in one line."""
        message = line.message
        if "Xid (" in message and "SXid (" not in message:
            _xid(line, out)
            return 0
        if "API mismatch" in message or (self._client is not None and "has the version" in message):
            return self._mismatch(line, out)
        waiting = self._still_waits(line, out)
        named = _NAMED.search(message) if "NVIDIA GPU " in message else None
        if named is not None:
            self._named = (line.number, normal_bdf(named[1]))
            out.take(line)
        near = line.number - self._named[0] <= _NAMED_LINES and any(word in message for word in _CONTINUED)
        fallback = self._named[1] if near else None
        if "rm_init_adapter failed" in message:
            out.take(line)
            if line.number - self._init_line > _INIT_LINES:
                apply(_MINOR_RULES, line, out, fallback)
            return waiting
        if "RmInitAdapter failed" in message:
            self._init_line = line.number
        if "NVRM: " in message and any(words in message for words in _LOST_WORDS):
            named = _LOST_BOARD.search(message)
            bdf = normal_bdf(named[1]) if named is not None else line.bdf
            if len(self._lost) < _MANY_LOST:
                self._lost.setdefault(bdf, line)
            out.take(line)
            return waiting
        fold = apply(_RULES, line, out, fallback)
        if fold is not None and fold.kind == "bar-assign-fail" and fold.fresh:
            number = fold.labels[0].removeprefix("BAR").strip()
            fold.labels = (f"BAR {number}",)
            fold.details["bar"] = int(number)
        if fold is None and any(words in message for words in _FOLLOWS):
            out.take(line)
            if _NONE_STARTED in message and self._none_started is None:
                self._none_started = line
        return waiting

    def _still_waits(self, line: Line, out: Ledger) -> int:
        """1 while the second version of a mismatch may still come."""
        if self._client is None:
            return 0
        if line.number - self._client[0].number >= _MISMATCH_LINES:
            self._book_mismatch(None, out)
            return 0
        if any(words in line.message for words in _MISMATCH_REST):
            out.take(line)
        return 1

    def _mismatch(self, line: Line, out: Ledger) -> int:
        """The two versions stand on two lines, or on one."""
        message = line.message
        if "API mismatch" in message:
            out.take(line)
            if self._client is not None:
                self._book_mismatch(None, out)
            client = _CLIENT.search(message)
            self._client = (line, client[2] if client is not None else None)
        elif self._client is not None and self._client[1] is None:
            client = _CLIENT_ALONE.search(message)
            if client is not None:
                self._client = (self._client[0], client[1])
                out.take(line)
        module = _MODULE.search(message)
        if module is not None:
            out.take(line)
            self._book_mismatch(module[1].rstrip("."), out)
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
        """Book a mismatch whose second line never came, and lost GPUs and failed starts whose reason is not told."""
        told = [fold for fold in out.of_kind("gpu-lost", "xid") if fold.boot == out.boot and (
            fold.kind == "gpu-lost" or fold.labels[0] in _LOST_XIDS)]
        if len(self._lost) > 1:
            # Those that name no GPU are about those that are named.
            self._lost.pop(None, None)
        for bdf, line in self._lost.items():
            if not any(bdf is None or fold.bdf in (bdf, None) for fold in told):
                apply(_LOST_RULES, line, out, bdf)
        self._lost.clear()
        if self._none_started is not None and not any(fold.boot == out.boot for fold in out.of_kind(*_REASONS)):
            apply(_NONE_RULES, self._none_started, out)
        self._none_started = None
        self._init_line = -_INIT_LINES - 1
        self._book_mismatch(None, out)


@functools.lru_cache(maxsize=1024)
def _numbered(message: str) -> tuple[int, Bdf | None, tuple[str, ...], str] | None:
    """Number, board, label and details of an Xid: one that comes again and again is taken apart once."""
    found = _XID.search(message)
    if found is None:
        misread = _MISREAD.search(message)
        return None if misread is None else (int(misread[1]), None, (misread[1],), misread[2] or "")
    number = int(found[2])
    return number, _board(found[1]), (str(number),), found[3] or ""


def _xid(line: Line, out: Ledger) -> None:
    found = _numbered(line.message)
    if found is None:
        return
    number, board, labels, details = found
    fold = out.add("xid", line, bdf=board, labels=labels)
    if not fold.fresh:
        return
    entry = XIDS.get(number, UNKNOWN)
    says = f"Xid {number}: {entry.says}"
    action = _ACTION.search(details)
    if action is not None:
        says = f"Xid {number}: the driver now recommends for this GPU: {action[1]}"
    fold.describe(entry.severity, entry.cause, says, (entry.help,), xid=number, blame=entry.blame)
    process = _PROCESS.search(details)
    if process is not None:
        words = [word for word in (process[2], process[1]) if word and word not in ("<unknown>", "0", "unknown")]
        if words:
            fold.details["process"] = " ".join(words)


def _board(text: str) -> Bdf | None:
    """The address of a board as an Xid names it; the oldest drivers give bus and device as `0001:00`."""
    old = _OLD_BOARD.match(text)
    return normal_bdf(f"{old[1]}:{old[2]}.0" if old is not None else text)

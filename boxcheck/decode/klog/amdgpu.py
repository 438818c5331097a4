"""amdgpu and KFD: hangs, resets, failed starts, memory errors.

    amdgpu 0000:45:00.0: amdgpu: ring gfx_0.0.0 timeout, signaled seq=57638, emitted seq=57641
    amdgpu 0000:28:00.0: GPU reset begin!. Source:  1
    amdgpu 0000:28:00.0: BACO reset
    [drm:amdgpu_device_fw_loading [amdgpu]] *ERROR* hw_init of IP block <psp> failed -22
    amdgpu 0000:0a:00.0: amdgpu: Fatal error during GPU init

The second `amdgpu:` came with 5.8 and went with 7.0; old DRM_ERROR lines name no device. A reset is several lines and
one event; its method, whether VRAM was lost and how it ended are its labels.
Sources: drivers/gpu/drm/amd/amdgpu (amdgpu_job.c, amdgpu_device.c, mes_v11_0.c, amdgpu_ib.c, amdgpu_ras.c,
amdgpu_psp.c), drivers/gpu/drm/amd/pm/swsmu/smu_cmn.c, drivers/gpu/drm/amd/amdkfd/kfd_device.c.
"""

from __future__ import annotations

from boxcheck.model import Bdf

from .envelope import Line
from .family import Rule, apply
from .ledger import Ledger
from .words import BDF, Rx, forget_oldest, normal_bdf

_HANG = (
    "update kernel and linux-firmware; look at the program that ran",
    "if it needs load and any program does it, check power and temperature of this GPU",
)
_FIRMWARE = ("update linux-firmware and the kernel together, then power the machine off and on",)
_START = ("power the machine off and on, a warm reboot may keep the GPU's firmware hung", "update linux-firmware")
_ATOMICS = (
    "move the card to a slot of the CPU; every port between it and the CPU must route atomic operations",
)
_GONE = (
    "power the machine off and on, the GPU does not come back without",
    "check the card's power cables, its seat and its riser; look for PCIe errors of its port just before",
)

_RULES = (
    Rule(" timeout, but soft recovered", "amdgpu-ring-timeout", "warn", "driver",
         "work on ring {label} hung and was cleared without a reset", _HANG,
         Rx(r"ring (?P<label>[\w.]{2,40}) timeout, but (?P<label2>soft recovered)")),
    Rule(" timeout", "amdgpu-ring-timeout", "fail", "driver", "work on ring {label} hung", _HANG,
         Rx(r"ring (?P<label>[\w.]{2,40}) timeout(?:,|$)")),
    Rule("MES", "amdgpu-mes-fail", "fail", "firmware", "the GPU's scheduler firmware (MES) did not answer", _FIRMWARE,
         Rx(r"MES(?:\(\d\))? failed to resp\w+(?: to)?(?: msg=(?P<label>[\w() ,-]{1,40}?))?(?:\.|$)")),
    Rule("MES ring buffer is full", "amdgpu-mes-fail", "fail", "firmware",
         "the GPU's scheduler firmware (MES) takes no more work", _FIRMWARE, label="ring buffer full"),
    Rule("SMU: I'm not done", "amdgpu-smu-fail", "fail", "firmware",
         "the GPU's power firmware (SMU) did not finish a command", _FIRMWARE),
    Rule("SMU: No response", "amdgpu-smu-fail", "fail", "firmware",
         "the GPU's power firmware (SMU) did not answer", _FIRMWARE),
    Rule("SMU: response:0xFFFFFFFF", "gpu-lost", "fail", "signal",
         "the GPU answers only ones: it is off the bus", _GONE),
    Rule("is hung!", "amdgpu-ip-hung", "fail", "driver", "the GPU's {label} block is hung", _HANG,
         Rx(r"IP block:(?P<label>[\w.]{2,40}) is hung!")),
    Rule("IB test failed on", "ib-test-fail", "fail", "firmware", "ring {label} did not run its test commands", _START,
         Rx(r"IB test failed on (?P<label>[\w.]{2,40})")),
    Rule("IB test timed out", "ib-test-fail", "fail", "firmware", "test commands on {label} did not finish", _START,
         Rx(r"(?:\[drm:(?P<label>\w{2,40}?)_ring_test_ib\b)?.{0,80}IB test timed out")),
    Rule(" test failed (-", "ring-test-fail", "fail", "firmware", "ring {label} did not answer its test", _START,
         Rx(r"ring (?P<label>[\w.]{2,40}) test failed \(-")),
    Rule(" of IP block <", "amdgpu-resume-fail", "fail", "firmware", "the GPU's {label} block did not come back",
         _START,
         Rx(r"(?:resume|suspend) of IP block <(?P<label>\w{2,40})> failed")),
    Rule("page fault", "amdgpu-page-fault", "warn", "driver", "a program touched GPU memory that is not mapped",
         ("look at the program that ran; without any program, update kernel and firmware",),
         Rx(r"\[(?P<label>gfxhub|mmhub|vmhub)[\w.]{0,6}\].{0,24}page fault"
            r"(?:.{0,80}process (?P<process>[\w./:-]{1,64} pid [1-9]\d{0,8}))?")),
    Rule("lost from bus", "gpu-lost", "fail", "signal", "the GPU is off the bus", _GONE),
    Rule("PCIE atomic ops is not supported", "atomics-unsupported", "warn", "config",
         "atomic operations do not reach the GPU from its slot", _ATOMICS),
    Rule("PCI rejects atomics", "atomics-unsupported", "fail", "config",
         "ROCm leaves the GPU {label} out, atomic operations do not reach it from its slot", _ATOMICS,
         Rx(r"skipped device (?P<label>[0-9a-f]{4}:[0-9a-f]{4}), PCI rejects atomics")),
    Rule("over temperature range", "thermal", "fail", "power", "the GPU passed its shutdown temperature",
         ("check the GPU's fans, its heat sink and the air in front of it",), label="gpu"),
    Rule("Critical Temperature Fault", "thermal", "fail", "power", "the GPU passed its critical temperature",
         ("check the GPU's fans, its heat sink and the air in front of it",), label="gpu"),
    Rule("PSP ", "psp-fail", "fail", "firmware", "the GPU's security processor (PSP) failed: {label}", _START,
         Rx(r"\bPSP (?P<label>(?:firmware loading|create ring|load \w{2,12}|tmr|load tmr) ?(?:init )?failed)")),
    Rule("firmware load for", "firmware-load-fail", "warn", "firmware",
         "the firmware file {label} was not found or not readable",
         ("install or update linux-firmware, then rebuild the initramfs",),
         Rx(r"Direct firmware load for (?P<label>amdgpu/[\w./-]{1,80}) failed")),
    Rule("firmware load for", "firmware-load-fail", "info", "firmware",
         "the firmware file {label} was not found; often an optional or newer one",
         (), Rx(r"Direct firmware load for (?P<label>[\w./-]{1,80}) failed")),
)

_BEGIN = "GPU reset begin!"
_METHOD = Rx(r"(?i)\b(BACO|MODE ?[0-9]|pci config|link)\b reset")
_RESET_DONE = Rx(r"GPU reset(?:\(\d{1,6}\))? succeeded|GPU reset end with ret = 0\b")
_RESET_FAILED = Rx(
    r"GPU reset(?:\(\d{1,6}\))? failed|GPU reset end with ret = -\d|ASIC reset failed|(?i:mode\d) reset failed"
)
_RING_RESET = Rx(r"(?i)\bring (\S{2,40}) reset (succeeded|failed)")
_INIT_BLOCK = Rx(r"(?:(?:hw|sw|early|late)_init|init) of IP block <(\w{2,40})> failed")
_INIT_FATAL = Rx(
    r"Fatal error during GPU init|amdgpu_device_ip_init failed"
    rf"|(?:amdgpu: probe of ({BDF})|probe with driver amdgpu) failed with error"
)
_RAS = Rx(
    r"(\d{1,12}) (new )?(uncorrectable|correctable|deferred) hardware errors? detected"
    r"(?: in total)? in (\w{2,16}) block"
)
_RAS_BOGUS = 1_048_560
"""What the counters read while the GPU sleeps: all ones of a 20-bit register, less 15; multiples as it accumulates."""
_RESET_LINES = 400
_INIT_LINES = 40
_MANY_OPEN = 1024


class _Reset:
    __slots__ = ("ended", "line", "lost", "method")

    def __init__(self, line: Line) -> None:
        self.line = line
        self.method: str | None = None
        self.lost = False
        self.ended: str | None = None


class _Start:
    __slots__ = ("blocks", "fatal", "line")

    def __init__(self, line: Line) -> None:
        self.line = line
        self.blocks: list[str] = []
        self.fatal = 0


class Amdgpu:
    """Reads amdgpu's and KFD's messages."""

    def __init__(self) -> None:
        self._resets: dict[Bdf | None, _Reset] = {}
        self._starts: dict[Bdf | None, _Start] = {}

    def read(self, line: Line, out: Ledger) -> int:
        """Take in one line."""
        message = line.message
        if "reset" in message or "VRAM is lost" in message:
            if _BEGIN in message:
                self._close_reset(line.bdf, out)
                forget_oldest(self._resets, _MANY_OPEN)
                self._resets[line.bdf] = _Reset(line)
                return 0
            if self._reset_progress(line, out):
                return 0
        if "init" in message or "probe" in message:
            handled = self._start(line, out)
            if handled:
                return 0
        if "hardware error" in message and "detected" in message:
            _ras(line, out)
            return 0
        apply(_RULES, line, out)
        return 0

    def _reset_progress(self, line: Line, out: Ledger) -> bool:
        message = line.message
        ring = _RING_RESET.search(message)
        if ring is not None:
            fold = out.add("amdgpu-ring-reset", line, bdf=line.bdf, labels=(ring[1], ring[2].lower()))
            if fold.fresh:
                went = "was reset alone" if ring[2].lower() == "succeeded" else "could not be reset alone"
                fold.describe("warn", "driver", f"ring {ring[1]} {went}", _HANG)
            return True
        reset = self._resets.get(line.bdf)
        if reset is None or line.number - reset.line.number > _RESET_LINES:
            return False
        method = _METHOD.search(message)
        if _RESET_FAILED.search(message) is not None:
            reset.ended = "failed"
        elif _RESET_DONE.search(message) is not None:
            reset.ended = reset.ended or "succeeded"
        elif "VRAM is lost" in message:
            reset.lost = True
        elif method is not None:
            reset.method = reset.method or method[1].upper().replace(" ", "")
        else:
            return False
        return True

    def _close_reset(self, bdf: Bdf | None, out: Ledger) -> None:
        reset = self._resets.pop(bdf, None)
        if reset is None:
            return
        labels = [word for word in (reset.method, reset.ended) if word]
        if reset.lost:
            labels.append("VRAM lost")
        fold = out.add("amdgpu-reset", reset.line, bdf=bdf, labels=tuple(labels))
        if fold.fresh:
            how = {"failed": ", which did not come back", "succeeded": ", which came back"}.get(reset.ended or "", "")
            lost = "; its memory was lost" if reset.lost else ""
            fold.describe("fail", "driver", f"the driver reset the GPU{how}{lost}", _HANG)

    def _start(self, line: Line, out: Ledger) -> bool:
        """Failed starts: the block that failed is named on one line, the device on another."""
        message = line.message
        block = _INIT_BLOCK.search(message)
        fatal = _INIT_FATAL.search(message) if block is None else None
        if block is None and fatal is None:
            return False
        bdf = line.bdf or (normal_bdf(fatal[1]) if fatal is not None else None)
        start = self._starts.get(bdf)
        if start is None:
            orphan = self._starts.get(None)
            if orphan is not None and bdf is not None and line.number - orphan.line.number <= _INIT_LINES:
                start = self._starts[bdf] = self._starts.pop(None)
            else:
                forget_oldest(self._starts, _MANY_OPEN)
                start = self._starts[bdf] = _Start(line)
        if block is not None:
            if block[1] not in start.blocks and len(start.blocks) < 8:
                start.blocks.append(block[1])
        elif "Fatal error" in message:
            start.fatal += 1
        return True

    def finish(self, out: Ledger) -> None:
        """Book resets and failed starts."""
        for bdf in list(self._resets):
            self._close_reset(bdf, out)
        for bdf, start in self._starts.items():
            blocks = tuple(start.blocks)
            fold = out.add("amdgpu-init-fail", start.line, bdf=bdf, labels=blocks, count=max(1, start.fatal))
            if fold.fresh:
                where = f" in its {', '.join(blocks)} block" if blocks else ""
                fold.describe("fail", "firmware", f"the driver could not start the GPU{where}", _START)
        self._starts.clear()


def _ras(line: Line, out: Ledger) -> None:
    """Memory error counters of the GPU. Totals are repeated in every report, so the largest is the count."""
    found = _RAS.search(line.message)
    if found is None:
        return
    number, word = int(found[1]), found[3]
    if number == 0 or number % _RAS_BOGUS == 0:
        return
    kind = "amdgpu-ras-ce" if word == "correctable" else "amdgpu-ras-ue"
    fold = out.add(kind, line, bdf=line.bdf, labels=(found[4],), variant="new" if found[2] else "total", count=0)
    seen, _ = fold.tallies["new" if found[2] else "total"]
    total = seen + number if found[2] else max(seen, number)
    fold.tallies["new" if found[2] else "total"] = (total, line.seconds)
    if fold.fresh:
        uncorrected = kind == "amdgpu-ras-ue"
        fold.describe("fail" if uncorrected else "warn", "memory",
                      f"the GPU counted {word} errors in its {found[4]} block",
                      ("reset the GPU and run a VRAM test; replace the card when they return",))

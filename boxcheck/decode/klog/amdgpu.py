"""amdgpu and KFD: hangs, resets, failed starts, memory errors.

    amdgpu 0000:45:00.0: amdgpu: ring gfx_0.0.0 timeout, signaled seq=57638, emitted seq=57641
    amdgpu 0000:28:00.0: GPU reset begin!. Source:  1
    amdgpu 0000:28:00.0: BACO reset
    [drm:amdgpu_device_fw_loading [amdgpu]] *ERROR* hw_init of IP block <psp> failed -22
    amdgpu 0000:0a:00.0: amdgpu: Fatal error during GPU init

The second `amdgpu:` came with 5.8 and went with 7.0; old DRM_ERROR lines name no device. A reset is several lines and
one event; its method, whether VRAM was lost and how it ended are its labels. Of a log that begins within a reset the
end is enough. What is added about queues that cannot be taken back is told where no event beside it says so already.
Sources: drivers/gpu/drm/amd/amdgpu (amdgpu_job.c, amdgpu_device.c, mes_v11_0.c, amdgpu_ib.c, amdgpu_ras.c,
amdgpu_psp.c); the messages of one line are in `amdgpu_rules`.
"""

from __future__ import annotations

from collections import deque

from boxcheck.model import Bdf

from .amdgpu_rules import FIRMWARE, HANG, RULES, START
from .beside import Beside
from .envelope import Line
from .family import apply
from .ledger import Fold, Ledger
from .words import BDF, Rx, forget_oldest, normal_bdf

_BEGIN = "GPU reset begin!"
_METHOD = Rx(r"(?i)\b(BACO|MODE ?[0-9]|pci config|link|soft|legacy)\b reset(?! failed)")
_RESET_DONE = Rx(r"GPU reset(?:\(\d{1,6}\))? succeeded|GPU reset end with ret = 0\b")
_RESET_FAILED = Rx(
    r"GPU reset(?:\(\d{1,6}\))? failed|GPU reset end with ret = -\d|(?i:asic reset failed|mode\d reset failed)"
    r"|GPU Recovery Failed"
)
_PROCESS = Rx(r"[Pp]rocess(?: information: process)? {1,2}([\w./:-]{1,64}) pid ([1-9]\d{0,8})\b")
_PROCESS_LINES = 3
"""The process stands on a line of its own after the ring timeout or page fault."""
_QUEUE_HELD = ("queue from MES", "MES might be in unrecoverable", "cp might be in an unrecoverable")
"""What the driver adds when a queue cannot be taken from a GPU: its scheduler, or the GPU, does not let go of it."""
_QUEUE_FOLLOWS = (
    "ailed to evict ", "ailed to quiesce KFD", "ailed to remove queue", "ailed to unmap legacy queue",
    "suspend all gangs", "resume all gangs", "uspending all queues failed",
)
"""What follows from it. By themselves they may mean a program that is gone as well."""
_QUEUE_EVENTS = ("amdgpu-mes-fail", "amdgpu-queue-hang", "amdgpu-ring-timeout", "amdgpu-ip-hung")
_QUEUE_LINES = 12
_WEDGED = "device wedged, "
_REVIVED_LINES = 40
_NEAR_LINES = 12
"""Lines on both sides within which amdgpu's lines name the device that one without it means."""
_MANY_ORPHANS = 256
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
    __slots__ = ("begun", "ended", "line", "lost", "method")

    def __init__(self, line: Line, begun: bool) -> None:
        self.line = line
        self.begun = begun
        """False: the log has no beginning of it."""
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
        self._wants_process: tuple[Fold, int] | None = None
        self._near = _Near()
        self._queue_held = Beside(_QUEUE_LINES, self._book_queue)
        self._queue_follows = Beside(_QUEUE_LINES, self._book_queue)
        self._revived = Beside(_REVIVED_LINES, _book_wedged)
        self._beside = (self._queue_held, self._queue_follows, self._revived)

    def read(self, line: Line, out: Ledger) -> int:
        """Take in one line."""
        self._near.see(line)
        for beside in self._beside:
            if beside.held:
                beside.expire(line.number, out)
        message = line.message
        if self._wants_process is not None and "rocess " in message:
            self._process(line, out)
        if _WEDGED in message:
            if "needs recovery" in message:
                _book_wedged(line, out)
            else:
                self._revived.see(line, out)
            return 0
        if ("MES" in message or "cp might be" in message) and any(words in message for words in _QUEUE_HELD):
            self._queue_follows.event(line.number, line.bdf)
            self._queue_held.see(line, out)
            return 0
        if "reset" in message or "VRAM is lost" in message or "Recovery Failed" in message:
            if _BEGIN in message:
                self._close_reset(line.bdf, out)
                forget_oldest(self._resets, _MANY_OPEN)
                self._resets[line.bdf] = _Reset(line, True)
                self._queue_follows.event(line.number, line.bdf)
                self._revived.event(line.number, line.bdf)
                out.take(line)
                return 0
            if self._reset_progress(line, out):
                out.take(line)
                return 0
        if "init" in message or "probe" in message:
            handled = self._start(line, out)
            if handled:
                out.take(line)
                return 0
        if "hardware error" in message and "detected" in message and _ras(line, out):
            return 0
        if "kiq" in message and " test failed (" in message and self._in_reset(line):
            # Of a GPU that hangs and is about to be reset, nothing answers.
            out.take(line)
            return 0
        fold = apply(RULES, line, out)
        if fold is None:
            if any(words in message for words in _QUEUE_FOLLOWS):
                self._queue_follows.see(line, out)
            return 0
        if fold.kind in _QUEUE_EVENTS:
            self._queue_follows.event(line.number, line.bdf)
            if fold.kind in ("amdgpu-mes-fail", "amdgpu-queue-hang"):
                self._queue_held.event(line.number, line.bdf)
        if fold.bdf is None:
            self._near.miss(fold, line)
        if fold.kind in ("amdgpu-ring-timeout", "amdgpu-page-fault") and "process" not in fold.details:
            self._wants_process = (fold, line.number)
            return _PROCESS_LINES
        return _QUEUE_LINES if fold.kind in ("amdgpu-mes-fail", "amdgpu-queue-hang") else 0

    def _process(self, line: Line, out: Ledger) -> None:
        """The process that a ring timeout or page fault just before this line was about."""
        if self._wants_process is None:
            return
        fold, number = self._wants_process
        found = _PROCESS.search(line.message)
        if line.number - number > _PROCESS_LINES:
            self._wants_process = None
        elif found is not None:
            fold.details["process"] = f"{found[1]} {found[2]}"
            out.take(line)
            self._wants_process = None

    def _reset_progress(self, line: Line, out: Ledger) -> bool:
        message = line.message
        ring = _RING_RESET.search(message)
        if ring is not None:
            fold = out.add("amdgpu-ring-reset", line, bdf=line.bdf, labels=(ring[1], ring[2].lower()))
            self._revived.event(line.number, line.bdf)
            if fold.fresh:
                went = "was reset alone" if ring[2].lower() == "succeeded" else "could not be reset alone"
                fold.describe("warn", "driver", f"ring {ring[1]} {went}", HANG)
            return True
        failed = _RESET_FAILED.search(message) is not None
        done = not failed and _RESET_DONE.search(message) is not None
        lost = "VRAM is lost due to GPU reset" in message
        method = _METHOD.search(message)
        if "soft reset failed" in message and not failed and not done:
            # It goes on with a full one.
            return self._open_reset(line) is not None
        if not (failed or done or lost) and method is None:
            return False
        reset = self._open_reset(line, ending=failed or done)
        if reset is None:
            self._close_reset(line.bdf, out)
            forget_oldest(self._resets, _MANY_OPEN)
            reset = self._resets[line.bdf] = _Reset(line, False)
        if failed:
            reset.ended = "failed"
        elif done:
            reset.ended = reset.ended or "succeeded"
        elif lost:
            reset.lost = True
        elif method is not None:
            reset.method = reset.method or method[1].upper().replace(" ", "")
        if failed or done or lost:
            self._queue_follows.event(line.number, line.bdf)
            self._revived.event(line.number, line.bdf)
        return True

    def _open_reset(self, line: Line, ending: bool = False) -> _Reset | None:
        """The reset that a line goes on with. One that names no device goes on with the latest; an end may be far."""
        reset = self._resets.get(line.bdf)
        if reset is None and line.bdf is None and self._resets:
            reset = self._resets[next(reversed(self._resets))]
        if reset is None or (ending and reset.ended is None):
            return reset
        return reset if line.number - reset.line.number <= _RESET_LINES else None

    def _in_reset(self, line: Line) -> bool:
        """Whether a reset of this line's GPU has begun and its method has not been told yet."""
        reset = self._open_reset(line)
        return reset is not None and reset.method is None and reset.ended is None

    def _book_queue(self, line: Line, out: Ledger) -> None:
        """A queue was not taken back, and no message beside it says what happened."""
        message = line.message
        if "MES" in message:
            fold = out.add("amdgpu-mes-fail", line, bdf=line.bdf, labels=("queue",))
            if fold.fresh:
                fold.describe("fail", "firmware", "the GPU's scheduler firmware (MES) did not give a queue back",
                              FIRMWARE)
        elif "cp might be" in message:
            fold = out.add("amdgpu-queue-hang", line, bdf=line.bdf)
            if fold.fresh:
                fold.describe("fail", "driver", "the GPU did not let go of a program's queue", HANG)
        else:
            fold = out.add("amdgpu-queue-hang", line, bdf=line.bdf, labels=("evict",))
            if fold.fresh:
                fold.describe("warn", "driver", "the driver could not take a program's queues off the GPU: it hangs, or"
                              " the program was gone", HANG)
        if fold.bdf is None:
            self._near.miss(fold, line)

    def _close_reset(self, bdf: Bdf | None, out: Ledger) -> None:
        reset = self._resets.pop(bdf, None)
        if reset is None:
            return
        if not reset.begun and reset.ended is None and not reset.lost:
            # The method alone is also what the driver says when it starts or wakes a GPU.
            return
        labels = [word for word in (reset.method, reset.ended) if word]
        if reset.lost:
            labels.append("VRAM lost")
        fold = out.add("amdgpu-reset", reset.line, bdf=bdf, labels=tuple(labels))
        if fold.fresh:
            how = {"failed": ", which did not come back", "succeeded": ", which came back"}.get(reset.ended or "", "")
            lost = "; its memory was lost" if reset.lost else ""
            fold.describe("fail", "driver", f"the driver reset the GPU{how}{lost}", HANG)

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
                fold.describe("fail", "firmware", f"the driver could not start the GPU{where}", START)
        self._starts.clear()
        self._wants_process = None
        for beside in self._beside:
            beside.finish(out)
        self._near.settle()


class _Near:
    """Finds out which GPU a line of amdgpu without a device means, from the lines of amdgpu around it."""

    def __init__(self) -> None:
        self._named: deque[tuple[int, Bdf]] = deque(maxlen=_NEAR_LINES)
        self._orphans: list[tuple[Fold, int]] = []
        self._found: dict[int, tuple[Fold, set[Bdf]]] = {}

    def see(self, line: Line) -> None:
        """Note the device that a line names."""
        bdf = line.bdf
        if bdf is None or line.driver != "amdgpu":
            return
        self._named.append((line.number, bdf))
        if not self._orphans:
            return
        for fold, number in self._orphans:
            if line.number - number <= _NEAR_LINES:
                self._found[id(fold)][1].add(bdf)
        self._orphans = [entry for entry in self._orphans if line.number - entry[1] <= _NEAR_LINES]

    def miss(self, fold: Fold, line: Line) -> None:
        """An event's line named no device."""
        if id(fold) not in self._found and len(self._found) >= _MANY_ORPHANS:
            return
        devices = self._found.setdefault(id(fold), (fold, set()))[1]
        devices.update(bdf for number, bdf in self._named if line.number - number <= _NEAR_LINES)
        if len(self._orphans) < _MANY_ORPHANS:
            self._orphans.append((fold, line.number))

    def settle(self) -> None:
        """Write down the devices that are beyond doubt."""
        for fold, devices in self._found.values():
            if len(devices) == 1:
                fold.details["near"] = next(iter(devices))
        self._found.clear()
        self._orphans.clear()
        self._named.clear()


def _book_wedged(line: Line, out: Ledger) -> None:
    """What DRM says when a driver gives a GPU up, or has just revived it (drm_dev_wedged_event, drm_drv.c)."""
    recovered = "needs recovery" not in line.message
    fold = out.add("gpu-hang", line, bdf=line.bdf, labels=("recovered" if recovered else "wedged",))
    if not fold.fresh:
        return
    if recovered:
        fold.describe("warn", "driver", "a GPU hung and was revived by a reset", HANG)
    else:
        fold.describe("fail", "driver", "a GPU hung and its driver could not revive it", START)


def _ras(line: Line, out: Ledger) -> bool:
    """Memory error counters of the GPU. Totals are repeated in every report, so the largest is the count.

    Returns False for a line that gives no count.
    """
    found = _RAS.search(line.message)
    if found is None:
        return False
    number, word = int(found[1]), found[3]
    if number == 0 or number % _RAS_BOGUS == 0:
        return True
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
    return True

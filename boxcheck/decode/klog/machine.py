"""The machine around the GPUs: memory controllers, heat, hangs, crashes, memory pressure, NVMe.

    EDAC MC0: 1 CE memory read error on CPU_SrcID#0_MC#0_Chan#1_DIMM#0 (channel:1 slot:0 ...)
    mce: CPU3: Package temperature above threshold, cpu clock throttled (total events = 1)
    watchdog: BUG: soft lockup - CPU#12 stuck for 22s! [kworker/12:1:345]
    BUG: kernel NULL pointer dereference, address: 0000000000000010
    Oops: 0000 [#1] PREEMPT SMP NOPTI
    NMI: PCI system error (SERR) for reason a1 on CPU 0.
    nvme nvme0: I/O 448 QID 3 timeout, aborting

Sources: drivers/edac/edac_mc.c, arch/x86/kernel/cpu/mce/therm_throt.c, kernel/watchdog.c, kernel/hung_task.c,
kernel/rcu/tree_stall.h, mm/oom_kill.c, mm/memory-failure.c, arch/x86/mm/fault.c, arch/x86/kernel/{dumpstack,nmi}.c,
drivers/nvme/host/pci.c, block/blk-core.c, kernel/irq/spurious.c, kernel/workqueue.c,
kernel/panic.c (taint), kernel/module/main.c, drivers/i2c/busses/
i2c-nvidia-gpu.c, drivers/acpi/acpica.
"""

from __future__ import annotations

from boxcheck.model import Bdf

from .disks import DISKS
from .envelope import Line
from .family import Rule, apply
from .harmless import HARMLESS
from .ledger import Ledger
from .steps import BEFORE, BMC, DIMM, PROGRAM, UPDATE
from .words import BDF, Rx, normal_bdf

_DIMM = (DIMM,)
_COOL = ("check coolers, fans and the air flow",)
_HUNG = ("read the call trace that follows; a GPU or disk that does not answer is the usual reason",)
_DISK = ("read the drive's health (sudo nvme smart-log), check its slot and its PCIe errors",)

# "... on LABEL (details", and without a label "on unknown memory ( page".
_EDAC = Rx(r"EDAC (MC\d{1,3}): (\d{1,9}) (CE|UE) (.{0,300})")
# Until 3.6: `EDAC MC0: CE page 0x283, offset 0xce0, grain 8, syndrome 0x6ec3, row 0, channel 1, label "DIMM_B1": ...`
_EDAC_OLD = Rx(r"EDAC (MC\d{1,3}): (CE|UE) (?:page|row|- no information)(?:.{0,160}? label(?:s)? \"([^\"]{1,60})\")?")
_DIED = Rx(r"(?:^|: )(?:Oops: )?(?P<label>[A-Za-z][\w ,/-]{2,80}): [0-9a-f]{4,16} \[#\d{1,6}\]")
_DIED_LINES = 60
"""Lines after the message of a crash within which its `Oops: 0002 [#1]` line is the same crash."""
_EDAC_WHERE = Rx(r"(?:^| )on ([^(]{1,120}?) *(?:\(|$)")
_DRIVE = Rx(r"(?:\b(nvme\d{1,4}): | dev (nvme\d{1,4})(?:c\d{1,4})?n\d)")
_PCI_FUNCTION = Rx(rf"nvme (nvme\d{{1,4}}): pci function ({BDF})")

_REBUILD = ("rebuild the module for the running kernel (dkms autoinstall), or boot the kernel that it was built for",)
_ODD_MODULE = r"\b(?P<label>%s[\w-]{0,24}): (?:version magic '|Unknown symbol \w{1,80})"
_NOT_LOADED = "the module {label} does not fit the running kernel and was not loaded"

_RULES = (
    Rule("hardware memory error in ", "memory-failure", "fail", "memory",
         "a program or the kernel read memory that is damaged", _DIMM,
         Rx(r"Uncorrected hardware memory error in (?:user-access|copyin)"), variant="access"),
    Rule("Sending SIGBUS to", "memory-failure", "fail", "memory", "a program was killed: its memory is damaged",
         _DIMM, Rx(r"Memory failure: 0x[0-9a-f]{1,16}: Sending SIGBUS to (?P<process>[^ :]{1,32}:\d{1,9})"),
         variant="killed"),
    Rule("due to hardware memory corruption", "memory-failure", "fail", "memory",
         "a program was killed: its memory is damaged", _DIMM,
         Rx(r"(?:MCE|Memory failure): (?:0x[0-9a-f]{1,16}: )?Killing (?P<process>[^ :]{1,32}:\d{1,9})"),
         variant="killed"),
    Rule("NMI received for unknown reason", "nmi", "warn", None,
         "an alarm of the chipset that nobody could place (NMI)", (BMC, BEFORE), label="unknown reason"),
    Rule("MCE broadcast", "mce", "fail", None, "processors did not answer to a machine check and the kernel gave up",
         (BMC, "test with stock clocks and memory speed"),
         Rx(r"CPUs not responding to MCE (?P<label>broadcast)")),
    Rule("host controller not responding", "device-lost", "warn", "driver",
         "a USB controller stopped answering, and what hangs on it is gone",
         ("unbind and bind its driver (xhci_hcd), or reboot; update the BIOS",),
         Rx(r"(?P<label>xHCI) host controller not responding, assume dead")),
    Rule("health compromised", "device-lost", "fail", "firmware", "a network card's firmware stopped answering",
         ("read what its driver (mlx5_core) logged just after", "update its firmware, power the machine off and on"),
         Rx(r"device's health compromised - (?P<label>reached miss count)")),
    Rule("ndervoltage detected", "undervoltage", "warn", "power", "the board's supply voltage fell too low",
         ("use a stronger supply, or a shorter and thicker cable to it",),
         Rx(r"hwmon\b.{0,24}: Undervoltage detected!")),
    Rule("Memory failure: 0x", "memory-failure", "fail", "memory",
         "a damaged page of memory was taken out of use", _DIMM,
         Rx(r"Memory failure: 0x[0-9a-f]{1,16}: recovery action")),
    Rule("temperature above threshold", "thermal", "warn", "power", "the CPU was slowed down, it was too hot", _COOL,
         Rx(r"(?i)(?P<label>core|package) temperature above threshold")),
    Rule("ower limit notification", "power-limit", "info", "power",
         "the CPU was held at its power limit, which is how it is meant to work under load", (),
         Rx(r"(?i)(?P<label>core|package) power limit notification")),
    Rule("HARDWARE PROTECTION shutdown", "thermal", "fail", "power", "the kernel shut the machine down: {label}", _COOL,
         Rx(r"HARDWARE PROTECTION shutdown \((?P<label>[^)]{1,60})\)")),
    Rule("ritical temperature reached", "thermal", "fail", "power", "a sensor reached the shutdown temperature", _COOL,
         Rx(r"(?P<label>thermal_zone\d{1,4})(?=.{0,40}ritical temperature)|[Cc]ritical temperature reached")),
    Rule("soft lockup", "lockup", "warn", "driver", "a CPU was stuck in the kernel", _HUNG, label="soft lockup"),
    Rule("hard LOCKUP", "lockup", "warn", "driver", "a CPU was stuck with interrupts off", _HUNG, label="hard lockup"),
    Rule("for more than", "lockup", "warn", "driver", "a task waited for minutes without moving", _HUNG,
         Rx(r"task (?P<process>.{1,64}) blocked (?:in I/O wait )?for more than"), label="hung task"),
    Rule("workqueue lockup", "lockup", "warn", "driver", "kernel work waited for its CPU", _HUNG,
         Rx(r"BUG: workqueue lockup - pool"), label="workqueue"),
    Rule("expedited stall", "lockup", "warn", "driver", "a CPU held up the kernel's housekeeping (RCU stall)", _HUNG,
         Rx(r"detected expedited stall"), label="RCU stall"),
    Rule("detected stall", "lockup", "warn", "driver", "a CPU held up the kernel's housekeeping (RCU stall)", _HUNG,
         label="RCU stall"),
    Rule("ut of memory: Kill", "oom", "info", "config", "memory ran out and a program was killed",
         ("give the program less, or the machine more memory or swap",),
         Rx(r"of memory: Kill(?:ed)? process \d{1,9}(?:, UID \d{1,9},)? \((?P<process>[^)]{1,64})\)|of memory: Kill")),
    Rule("Kernel panic - not syncing", "kernel-panic", "fail", None, "the kernel stopped: {label}", _HUNG,
         Rx(r"not syncing: *(?P<label>.{1,90})")),
    Rule("BUG: unable to handle", "oops", "fail", "driver", "the kernel crashed on a bad address",
         ("read the call trace that follows for the driver's name",), variant="bug"),
    Rule("Unable to handle kernel", "oops", "fail", "driver", "the kernel crashed on a bad address",
         ("read the call trace that follows for the driver's name",), variant="bug"),
    Rule("BUG: kernel NULL pointer dereference", "oops", "fail", "driver", "the kernel crashed on a bad address",
         ("read the call trace that follows for the driver's name",), variant="bug"),
    Rule("kernel BUG at", "oops", "fail", "driver", "the kernel stopped at a broken assumption: {label}",
         ("read the call trace that follows for the driver's name",),
         Rx(r"kernel BUG at (?P<label>[\w./-]{1,80}:\d{1,6})")),
    Rule("general protection fault", "oops", "fail", "driver", "the kernel crashed on a protection fault",
         ("read the call trace that follows for the driver's name",),
         Rx(r"general protection fault(?:, |: [0-9a-f]{4} \[#)"), label="protection fault"),
    Rule("NMI: PCI system error", "nmi", "fail", "signal",
         "the chipset reported an error that nothing could mend (SERR)",
         (BMC, BEFORE), label="SERR"),
    Rule("NMI: memory parity error", "nmi", "fail", "memory", "the chipset reported a memory error", _DIMM,
         label="memory parity"),
    Rule("NMI: IOCK error", "nmi", "fail", "signal", "the chipset reported an error of a card (IOCHK)",
         (BMC, BEFORE), label="IOCHK"),
    Rule("WARNING: ", "kernel-warning", "info", "driver", "the kernel met something it did not expect at {label}", (),
         Rx(r"^WARNING: (?:CPU: \d{1,5} PID: \d{1,9} at )?(?P<label>[\w./-]{1,80}\.[chS]:\d{1,6})")),
)
_DEATHS = (
    Rule(" [#", "oops", "fail", "driver", "the kernel crashed: {label}",
         ("read the call trace that follows for the driver's name",), _DIED),
)
_MODULE_TAINT = "module {label} came from outside the kernel, so the kernel carries a mark (not free, or not signed)"
_QUIET = (
    Rule("nobody cared (try", "irq-unhandled", "warn", "driver", "interrupts came that no driver took (irq {label})",
         ("look which devices share the interrupt (/proc/interrupts), and update their drivers and the BIOS",),
         Rx(r"irq (?P<label>\d{1,5}): nobody cared")),
    Rule("GPU HANG: ecode", "gpu-hang", "fail", "driver", "an Intel GPU hung",
         (UPDATE, PROGRAM),
         Rx(r"GPU HANG: ecode \S{3,40}(?:, in (?P<process>[^\[]{1,40} \[\d{1,9}\]))?")),
    Rule("has declared device", "gpu-hang", "fail", "driver", "an Intel GPU hung, and its driver gave it up",
         (UPDATE, PROGRAM), Rx(rf"Xe has declared device (?P<bdf>{BDF}) as wedged"), label="wedged"),
    Rule("loading out-of-tree module taints kernel", "taint", "info", None,
         _MODULE_TAINT, (), Rx(r"(?P<label>[\w-]{1,64}): loading out-of-tree module"), variant="outside"),
    Rule("taints kernel", "taint", "info", None, _MODULE_TAINT, (),
         Rx(r"(?P<label>[\w-]{1,64}): module license .{1,40} taints kernel"), variant="licence"),
    Rule("ainting kernel", "taint", "info", None, _MODULE_TAINT, (),
         Rx(r"(?P<label>[\w-]{1,64}): module verification failed"), variant="signature"),
    Rule("SCHED_ERROR", "gpu-hang", "fail", "driver", "an NVIDIA GPU hung under the nouveau driver ({label})",
         (UPDATE, PROGRAM), Rx(r"fifo: SCHED_ERROR [0-9a-f]{2} \[(?P<label>\w{0,24})\]")),
    Rule(": version magic '", "nvidia-init-fail", "fail", "driver", _NOT_LOADED, _REBUILD,
         Rx(_ODD_MODULE % "nvidia"), variant="magic"),
    Rule(": Unknown symbol ", "nvidia-init-fail", "fail", "driver", _NOT_LOADED, _REBUILD,
         Rx(_ODD_MODULE % "nvidia"), variant="symbol"),
    Rule(": version magic '", "amdgpu-init-fail", "fail", "driver", _NOT_LOADED, _REBUILD,
         Rx(_ODD_MODULE % "amd(?:gpu|kfd|ttm|kcl)"), variant="magic"),
    Rule(": Unknown symbol ", "amdgpu-init-fail", "fail", "driver", _NOT_LOADED, _REBUILD,
         Rx(_ODD_MODULE % "amd(?:gpu|kfd|ttm|kcl)"), variant="symbol"),
    Rule("flip_done timed out", "display-timeout", "warn", "driver", "the display did not finish a picture in time",
         ("look for a hung or lost GPU at the same moment",)),
    *HARMLESS,
)
_TAINTED = Rx(r"(?:^|\s)Tainted: (\[[A-Z]\]=[A-Z_, =\[\]]{1,300}|[A-Z][A-Z ]{0,40})")
_TAINTS = {
    "P": "a module that is not free software", "F": "a module was forced in", "S": "a processor out of its limits",
    "R": "a module was forced out", "M": "a machine check before", "B": "a bad page before",
    "U": "a program asked for it", "D": "a crash before", "A": "ACPI tables were replaced",
    "W": "a warning before", "C": "a module on trial", "I": "a workaround for the firmware",
    "O": "a module from outside", "E": "a module without a signature", "L": "a lockup before", "K": "a live patch",
    "X": "the distribution's own mark", "T": "a randomised layout", "N": "a test module", "J": "a fwctl command",
}
"""Letters of a kernel's taint (Documentation/admin-guide/tainted-kernels.rst); G means that P is not set."""
_NVME_RULES = (
    Rule("medium error, dev nvme", "disk-io-error", "fail", "memory", "the drive could not read what it stores", _DISK,
         Rx(r"critical (?P<label2>medium) error, dev (?P<label>nvme\d{1,4})")),
    Rule("blocks, I/O Error (sct 0x2 ", "disk-io-error", "fail", "memory", "the drive could not read what it stores",
         _DISK, Rx(r"\b(?P<label>nvme\d{1,4})(?:c\d{1,4})?n\d{1,4}: I/O Cmd.{1,80} \(sct 0x2 / sc 0x81\)"),
         variant="media"),
    Rule("blocks, I/O Error (sct ", "disk-io-error", "warn", None, "a request to the drive failed", _DISK,
         Rx(r"\b(?P<label>nvme\d{1,4})(?:c\d{1,4})?n\d{1,4}: I/O Cmd"), variant="command"),
    Rule("I/O error, dev nvme", "disk-io-error", "warn", None, "a request to the drive failed", _DISK,
         Rx(r"I/O error, dev (?P<label>nvme\d{1,4})")),
    Rule("timeout, ", "nvme-timeout", "warn", "driver", "the drive did not finish a request in time", _DISK,
         Rx(r"\b(?P<label>nvme\d{1,4}): I/O .{1,80} timeout, (?!completion polled)")),
    Rule("controller is down", "nvme-reset", "fail", "power", "the drive's controller stopped answering", _DISK,
         Rx(r"\b(?P<label>nvme\d{1,4}): controller is down"), variant="down"),
    Rule("not ready; aborting", "nvme-reset", "fail", "firmware", "the drive's controller did not become ready", _DISK,
         Rx(r"\b(?P<label>nvme\d{1,4}): Device not ready; aborting"), variant="not ready"),
    Rule("after probe failure", "nvme-reset", "fail", "firmware", "the drive was given up when it was to start", _DISK,
         Rx(r"\b(?P<label>nvme\d{1,4}): Removing after probe failure"), variant="probe"),
    Rule("after reset failure", "nvme-reset", "fail", "power", "the drive was given up after a failed reset", _DISK,
         Rx(r"\b(?P<label>nvme\d{1,4}): Disabling device after reset failure"), variant="reset"),
)


class Machine:
    """Reads messages about the rest of the machine."""

    def __init__(self) -> None:
        self._drives: dict[str, Bdf] = {}
        self._crash_line = -_DIED_LINES - 1
        self._asked_line = -_DIED_LINES - 1

    def read(self, line: Line, out: Ledger) -> int:
        """Take in one line."""
        message = line.message
        if out.taken == line.number and line.driver == "amdgpu":
            # The GPU's own driver has understood it.
            return 0
        if "EDAC MC" in message:
            _edac(line, out)
        elif "nvme" in message:
            found = _PCI_FUNCTION.search(message)
            if found is not None:
                out.take(line)
                bdf = normal_bdf(found[2])
                if bdf is not None and len(self._drives) < 1000:
                    self._drives[found[1]] = bdf
                return 0
            name = _DRIVE.search(message)
            drive = self._drives.get(name[1] or name[2]) if name is not None else None
            if "completion polled" in message:
                # The drive had finished; only its interrupt was late.
                out.take(line)
            elif apply(_NVME_RULES, line, out, drive) is None:
                self._rules(line, out)
        else:
            self._rules(line, out)
        return 0

    def _rules(self, line: Line, out: Ledger) -> None:
        """The table, and the line that ends the report of every crash, for those whose first line is not in it."""
        message = line.message
        if "Tainted: " in message:
            _taint(line, out)
        if "Trigger a crash" in message:
            self._asked_line = line.number
        fold = apply(_RULES, line, out) or apply(DISKS, line, out) or apply(_QUIET, line, out)
        asked = line.number - self._asked_line <= _DIED_LINES
        if asked and fold is not None and fold.fresh and fold.kind in ("oops", "kernel-panic"):
            fold.describe("info", "benign", "the kernel was crashed on purpose (sysrq)")
        if fold is not None and fold.kind == "oops":
            self._crash_line = line.number
        elif fold is None and " [#" in line.message:
            if line.number - self._crash_line > _DIED_LINES:
                apply(_DEATHS, line, out)
            else:
                out.take(line)
            self._crash_line = line.number

    def finish(self, out: Ledger) -> None:
        """Drives may be numbered anew after a boot."""
        self._drives.clear()
        self._crash_line = -_DIED_LINES - 1
        self._asked_line = -_DIED_LINES - 1


def _edac(line: Line, out: Ledger) -> None:
    found = _EDAC.search(line.message)
    if found is not None:
        controller, number, word = found[1], int(found[2]), found[3]
        where = _EDAC_WHERE.search(found[4])
        labels = (controller, where[1].strip()) if where is not None else (controller,)
    else:
        found = _EDAC_OLD.search(line.message)
        if found is None:
            return
        controller, number, word = found[1], 1, found[2]
        labels = (controller, found[3]) if found[3] else (controller,)
    kind = "edac-ue" if word == "UE" else "edac-ce"
    fold = out.add(kind, line, labels=labels, count=max(number, 1))
    if fold.fresh:
        place = f"{labels[1]} ({controller})" if len(labels) > 1 else controller
        if word == "UE":
            fold.describe("fail", "memory", f"memory error that ECC could not correct at {place}", _DIMM)
        else:
            fold.describe("warn", "memory", f"memory error that ECC corrected at {place}", _DIMM)


def _taint(line: Line, out: Ledger) -> None:
    """The letters on the report of a crash or warning: how the kernel differs from a fresh one. Never a fault."""
    found = _TAINTED.search(line.message)
    if found is None:
        return
    text = found[1]
    named = text.startswith("[")
    flags = [letter for letter in _TAINTS if (f"[{letter}]" if named else letter) in text]
    if not flags:
        return
    fold = out.add("taint", line, labels=("".join(flags),))
    if fold.fresh:
        fold.describe("info", None, "the kernel carried marks: " + ", ".join(_TAINTS[flag] for flag in flags))

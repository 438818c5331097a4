"""Lines at warning level and worse that no family knows: listed, never judged.

Where the envelope gives a level (kmsg, `<4>`, dmesg -x, a journal's export, Talos), levels 0 to 4 count. Where it gives
none (plain dmesg, syslog), a line counts when it has a word that drivers use for errors. Lines that differ only in
numbers and addresses are one entry with a count.

The dump that follows a crash (registers, call trace) belongs to the line above it and is counted, not listed. Chatter
that machines without a fault log at each boot is listed last and marked `common`, so that it does not drown the rest.
"""

from __future__ import annotations

import re

from .asides import Residue
from .envelope import Line, begins_message
from .words import Rx

LEVEL_WORDS = (
    *(b"<%d>" % level for level in range(5)),
    *(b"\n%d," % level for level in range(5)),
    b":emerg ", b":alert ", b":crit ", b":err ", b":warn ",
    b"kern: emerg", b"kern: alert", b"kern:    crit", b"kern: crit", b"kern:     err", b"kern: err", b"kern: warning",
    *(b'"PRIORITY":"%d"' % level for level in range(5)),
    *(b'"PRIORITY" : "%d"' % level for level in range(5)),
)
"""What stands on a line that an envelope puts at level 4 or below."""
ERROR_WORDS = (
    b"ERROR", b"Error", b"error", b"FAILED", b"Failed", b"failed", b"failure", b"Failure", b"FATAL", b"Fatal", b"fatal",
    b"WARNING", b"timed out", b"imeout", b"BUG", b"Oops", b"orrupt", b"nable to", b"annot ", b"ould not ", b"hung",
    b"nvalid", b"mismatch", b"aborted", b"stuck", b"overrun", b"overflow", b"refused", b"rejected",
    b"FAILURE", b"TIMEOUT", b"TIMED OUT", b"INVALID", b"CORRUPT", b" FAULT", b" fault", b" lost", b" LOST",
    b"t responding", b"assume dead", b"compromised", b"efused", b"ejected", b"ismatch", b"borted",
)
WORDS = (*LEVEL_WORDS, *ERROR_WORDS)
WORST_UNINTERESTING_LEVEL = 5
"""Levels from here on (notice, info, debug) are no residue."""
MAX_ENTRIES = 300
_MAX_TEXT = 240

# With word borders, so that `errors=remount-ro` of a mount, `terror` and `Correctable error` of a family are apart.
_ERROR = Rx(
    r"\*ERROR\*|\b(?:WARNING|BUG|Oops|(?i:error|fail(?:ed|ure)|fatal|timed? ?out|corrupt(?:ed|ion)?|unable to|cannot"
    r"|could not|hung|invalid|mismatch|aborted|stuck|overrun|overflow|refused|rejected|fault|lost|not responding"
    r"|assume dead|compromised))\b(?![=-])"
)
_DUMP = Rx(
    r"^(?:Call Trace:|Modules linked in:|Code: |Hardware name: |CPU: \d+ (?:UID: \d+ )?PID: |RIP:? |RSP:? |EIP: "
    r"|R[A-Z0-9]{2}: |[CDEFGS]S: |CR[0-9]: |PKRU: |FS: |CS: |DR\d: |IP: \[|PGD |Stack:|task: "
    r"|Call Trace|</?(?:TASK|IRQ|NMI|#DF)>|---\[ |={8,}|Workqueue: |Comm: |irq event stamp"
    r"|(?:hard|soft)irqs last|Tainted: |Unloaded tainted|\? ?[\w.]{1,80}\+0x|\[<[0-9a-f]{4,16}>\]"
    r"|[\w.]{1,80}\+0x[0-9a-f]{1,8}/0x|[0-9a-f]{8,16} [0-9a-f]{8,16}"
    r"|Supported: |note: .{1,60} exited with|ORIG_RAX|Kernel Offset: |x\d{1,2}\s?: |pc : |lr : |sp : |pstate: "
    r"|Mem-Info:|Node \d+ |active_anon|Tasks state|\[ *\d{1,8}\] +\d+ +\d+)"
)
_DUMP_LINES = 200
"""Lines of a dump that belong to one head. A trace of the kernel has at most 64 entries (lib/dump_stack.c)."""
# What a line's repetitions differ in.
_VARIES = re.compile(r"\b(?:0x)?[0-9a-fA-F]{6,}\b|0x[0-9a-fA-F]{1,16}|\d+")

_COMPANIONS = (
    "handling fault status reg", "[fault reason ", "GPU Board Serial Number", "GPU serial number is",
    "A GPU crash dump has been created", "DPC: unmasked uncorrectable error", "DPC: ERR_",
    "Process information: process ", "oom-kill:constraint=", "oom_reaper: reaped", "invoked oom-killer",
    "[Hardware Error]: Corrected error", "[Hardware Error]: Deferred error", "[Hardware Error]: Uncorrected",
    "[Hardware Error]: Error Addr", "[Hardware Error]: IPID", "[Hardware Error]: cache level",
    "[Hardware Error]: TSC ", "[Hardware Error]: PROCESSOR ", "[Hardware Error]: RIP ",
    "Run the above through 'mcelog", "HANDLING MCE MEMORY ERROR", "BERT: Error records", "] RxErr", "] BadTLP",
    "] BadDLLP", "in page starting at address", "Faulty UTCL2 client", "GPU fault detected", "ring reset",
    "finishing device", "amdgpu_device_ip_init failed", "No hardware hang detected", "[ cut here ]", "#PF: ",
    "Trigger a crash", "Dazed and confused", "faulty power saving mode", "Disabling IRQ #",
    "Disabling lock debugging", "KGQ disable failed", "KCQ disable failed", "failed to reg_write_reg_wait",
    "likely in a bad state and may need to be reset", "Memory error not recovered", "HC died; cleaning up",
    "host not responding to stop endpoint", "FAILED Result: hostbyte=", "Buffer I/O error on dev", ": failed command: ",
)
"""Lines that come with an event and add nothing to it: beside one, they count as lines of its dump."""
_BESIDE_LINES = 40
"""So near is beside, on either side."""
_MOST_PENDING = 64
_SUCCESS = ("support is initialized.",)
"""Ends of lines that report a success, whatever their words."""
_COMMON = (
    "Cannot find any crtc or sizes", "invalid SUBNQN field", "Shutdown timeout set to", "could not be reserved",
    "ACPI BIOS Error (bug)", "ACPI BIOS Warning (bug)", "ACPI Error: ", "ACPI Warning: ",
    "ACPI: OSL: Resource conflict", "ACPI: \\_", "ENERGY_PERF_BIAS", "regulatory.db", "Unknown NMI",
    "x86/cpu: SGX disabled", "VMX (outside TXT)", "tpm_tis", "TPM interrupt", "i8042: ", "platform eisa", "EISA",
    "hpet", "pmd_set_huge", "core: CPUID", "resource sanity check", "caller ", "pnp ", "system 00:", "usbhid",
    "hid-generic", "Bluetooth: ", "cfg80211: ", "bpf: ", "systemd[1]: ", "loop: module", "block device autoloading",
    "device-mapper: core: CONFIG_IMA", "spl: loading out-of-tree", "module license", "taints kernel",
    "module verification failed", "MDS CPU bug", "TAA: ", "MMIO Stale Data", "RETBleed",
    "Spectre", "SRBDS", "Speculative Return", "SRSO", "floppy", "Invalid PCCT", "ERST: ", "[Firmware Bug]",
    "[Firmware Warn]", "usb: port power management", "Warning: PCIe ACS overrides enabled", "kauditd_printk_skb",
    "overlayfs: ", "process '", "nf_conntrack: ", "can't derive routing", "PCI INT ", "not using NPIV", "ata_id",
    "irq 7: nobody", "Scanning for low memory corruption", "failed to read out thermal zone",
    "EDAC amd64: Error: F0 not", "Unable to init MCE device", "device descriptor read/64, error",
)
"""Logged by machines without a fault, as often as not. From the ordinary boots among public captures."""


class _Entry:
    __slots__ = ("boot", "common", "count", "first", "last", "level", "line", "stamp", "text")

    def __init__(self, line: Line, boot: int) -> None:
        self.text = line.message[:_MAX_TEXT]
        self.count = 0
        self.level = line.level
        self.first: float | str | None = line.when
        self.last: float | str | None = line.when
        self.stamp = line.stamp
        self.line = line.number
        self.boot = boot
        self.common = any(word in line.message for word in _COMMON)


class ResidueLines:
    """Collects such lines."""

    def __init__(self) -> None:
        self._entries: dict[tuple[int, str], _Entry] = {}
        self._common = 0
        """How many of them are common chatter."""
        self.dropped = 0
        self.dump_lines = 0
        self._head_line = -_DUMP_LINES
        self._taken_line = -_BESIDE_LINES - 1
        self._pending: list[tuple[Line, int]] = []
        """Companions whose event may still come."""

    def head(self, number: int) -> None:
        """A family took this line: a dump after it is its."""
        self._head_line = self._taken_line = number
        if self._pending:
            self._settle(number)

    def read(self, line: Line, boot: int, stamped: bool) -> None:
        """Take in one line that no family took. Without an envelope in a log that has them (`stamped`) it is prose."""
        message = line.message
        if not message:
            return
        # lspci's `[100 v2] Advanced Error Reporting` is the beginning of no message either.
        bare = not line.headed
        if bare and (stamped or message[1:2].isdigit() or not begins_message(message, stamped=False)):
            return
        if line.level is not None:
            if line.level >= WORST_UNINTERESTING_LEVEL:
                return
        elif _ERROR.search(message) is None or message.endswith(_SUCCESS):
            return
        if line.number - self._head_line < _DUMP_LINES and _DUMP.match(message) is not None:
            self.dump_lines += 1
            return
        if not any(words in message for words in _COMPANIONS):
            self._head_line = line.number
            self._keep(line, boot)
        elif line.number - self._taken_line <= _BESIDE_LINES:
            self.dump_lines += 1
        else:
            if len(self._pending) >= _MOST_PENDING:
                self._settle(None)
            self._pending.append((line, boot))

    def _settle(self, taken: int | None) -> None:
        """Companions beside the line `taken` are of its event; the others have none."""
        for line, boot in self._pending:
            if taken is not None and taken - line.number <= _BESIDE_LINES:
                self.dump_lines += 1
            else:
                self._keep(line, boot)
        self._pending.clear()

    def _keep(self, line: Line, boot: int) -> None:
        message = line.message
        key = (boot, _VARIES.sub("#", message[:_MAX_TEXT]))
        entry = self._entries.get(key)
        if entry is None:
            entry = _Entry(line, boot)
            if len(self._entries) >= MAX_ENTRIES and not self._make_room(entry):
                self.dropped += 1
                return
            self._entries[key] = entry
            self._common += entry.common
        entry.count += 1
        if line.level is not None:
            entry.level = line.level if entry.level is None else min(entry.level, line.level)
        if line.when is not None:
            entry.last = line.when
            entry.stamp = line.stamp

    def _make_room(self, entry: _Entry) -> bool:
        """Common chatter gives way to what is not."""
        if entry.common or not self._common:
            return False
        for key, old in self._entries.items():
            if old.common:
                self.dropped += old.count
                self._common -= 1
                del self._entries[key]
                return True
        return False

    def entries(self) -> list[tuple[Residue, str | None]]:
        """What was found, the gravest and the uncommon first; with the wall time of each entry's last line."""
        self._settle(None)
        order = sorted(self._entries.values(),
                       key=lambda entry: (entry.common, 4 if entry.level is None else entry.level, entry.line))
        return [(
            Residue(text=entry.text, count=entry.count, level=entry.level, first=entry.first, last=entry.last,
                    line=entry.line, boot=entry.boot, common=entry.common), entry.stamp,
        ) for entry in order]

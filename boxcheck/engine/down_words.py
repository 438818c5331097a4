"""How a BMC, a processor and a system say why a machine went down: words to kinds. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from boxcheck.decode.text import clean_text
from boxcheck.probes.bmc import BmcEvent
from boxcheck.stress.survived_checks import Trace

BMC_KINDS: Sequence[tuple[str, re.Pattern[str], bool]] = (
    # IPMI 2.0, tables 42-1 to 42-3, in the words of ipmitool (lib/ipmi_sel.c, ipmi_sdr.c); from memory.
    ("bmc-heat", re.compile(
        r"temp.*(?:critical|non-recoverable).*going high|thermal trip|over ?temp", re.I), True),
    ("bmc-power", re.compile(
        r"ac lost|power supply.*(?:failure|lost)|power unit.*(?:failure|power off/down)|interlock"
        r"|(?:volt|12v|vcore).*(?:critical|non-recoverable).*going low", re.I), True),
    ("bmc-hardware", re.compile(
        r"\bierr\b|uncorrectable|bus fatal|fatal nmi|pci (?:serr|perr)|machine check|frb[123]", re.I), True),
    ("bmc-hang", re.compile(
        r"watchdog.*(?:hard reset|power|timer expired)|run-time critical stop|os critical stop", re.I), True),
    ("bmc-button", re.compile(r"(?:power|reset) button pressed", re.I), False),
)
_OFF = re.compile(r"power off/down", re.I)
"""A box that is switched off in order says so too: no proof by itself."""


def of_bmc(event: BmcEvent) -> Trace | None:
    """What a row of the event log says of an end; None where it says nothing."""
    text = f"{event.sensor} | {event.event}"
    for kind, pattern, grave in BMC_KINDS:
        if pattern.search(text):
            return Trace(kind=kind, says=text, source="BMC", grave=grave and not _OFF.search(text))
    return None


_RESET = re.compile(r"Previous system reset reason \[0x[0-9a-f]{1,16}\]: (.{3,120})")
"""arch/x86/kernel/cpu/amd.c, Linux 6.16 and later."""
RESET_KINDS: Sequence[tuple[str, re.Pattern[str], bool]] = (
    ("reset-heat", re.compile(r"therm", re.I), True),
    ("reset-hardware", re.compile(r"uncorrected error|sync flood|parity", re.I), True),
    ("reset-hang", re.compile(r"watchdog|cpu shutdown", re.I), True),
    ("reset-button", re.compile(r"button", re.I), False),
    ("reset-software", re.compile(r"software (?:issued|wrote)|ACPI power state|keyboard", re.I), False),
)


def reset_reasons(text: str) -> Iterator[Trace]:
    """Why the processor was reset, as the kernel reads it out of its registers when it starts."""
    for found in _RESET.finditer(text):
        for kind, pattern, grave in RESET_KINDS:
            if pattern.search(found[1]):
                says = f"the processor says: {clean_text(found[1], 120)}"
                yield Trace(kind=kind, says=says, source="next start", grave=grave)
                break


UNCLEAN = re.compile(
    r"recovery (?:required|complete)|recovering journal|orphan inodes? deleted|uncleanly shut down")
"""File systems and the journal, when they are opened that were not closed."""
_ORDERLY = re.compile(
    r"System is (?:rebooting|powering down|halting)|The system will (?:reboot|power ?off|halt)|Power key pressed"
    r"|Reached target .*(?:Reboot|Power ?Off|Shutdown|Halt)|Rebooting\.|Powering off\.", re.I)
"""systemd-logind, systemd and systemd-shutdown."""
_STAMPED = re.compile(r"\[ *(\d+\.\d+)\]")


def orderly_line(journal: str, since_seconds: float) -> str:
    """The first line since then that tells of a shutdown; empty where there is none. Of `journalctl -o
    short-monotonic`."""
    for line in journal.splitlines():
        found = _STAMPED.match(line)
        if found and float(found[1]) >= since_seconds and _ORDERLY.search(line):
            return clean_text(line[found.end():].strip(), 120)
    return ""

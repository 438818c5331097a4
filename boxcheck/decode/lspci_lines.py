"""The lines of lspci's output: which there are, and how each is told from a kernel log, prose or another tool.

Wordings of pciutils 3.1 to 3.14 (lspci.c, ls-caps.c, ls-ecaps.c, ls-kernel.c, ls-tree.c). Pasted text has often lost
its indentation, and mailers break lines at 72 to 80 columns, so nothing here depends on leading blanks; a continuation
is known by its flags (`RxErr-`, `ExtTag+`).
"""

from __future__ import annotations

import re
from typing import Literal

from boxcheck.decode.lspci_classes import CLASS_CODES
from boxcheck.model import Bdf

MAX_LINE = 2000
"""Characters of a line that are looked at. The longest that lspci prints is a list of sizes, about 250."""

ADDRESS = r"(?:([0-9A-Fa-f]{4,8}):)?([0-9A-Fa-f]{2}):([01][0-9A-Fa-f])\.([0-7])"

_HEAD = re.compile(rf"(?:IOMMU Group \d{{1,5}}:?\s+)?{ADDRESS}\s+(\S.{{0,{MAX_LINE}}})$")
_GROUP = re.compile(r"IOMMU Group (\d{1,5}):?(?=\s|$)")
_NUMERIC = re.compile(
    r"(?:Class )?\[?([0-9A-Fa-f]{4})\]?:\s(?:Device )?\[?([0-9A-Fa-f]{4}):([0-9A-Fa-f]{4})\]?(?=\s|$)")
_NAMED = re.compile(r"([A-Z0-9][^:\[\"]{1,62}?)(?: \[([0-9a-f]{4})\])?:(?=\s|$)")
_QUOTED = re.compile(r"\"([^\"]{1,80})\" \"[^\"]{0,200}\"")
_HEX_ROW = re.compile(r"([0-9a-f]{1,2}0):((?: [0-9a-f]{2}){1,16})$")
_SLOT = re.compile(rf"(?:Slot|Device):\s+{ADDRESS}$")
_TREE = re.compile(r"(?:-|[ |]*[+\\]-)[-+]{0,4}(?:\[[0-9a-f]{2,4}|[01][0-9a-f]\.[0-7])|[ |]*[+\\]-[01][0-9a-f]\.[0-7]")
FLAG = re.compile(r"(?<![\w.])([<>]?[A-Za-z0-9][\w./()-]{0,40}?)([+-])(?=[\s,;)]|$)")
"""A name with its sign: `DLActive+`. `L0s` and `16-bit` are none, what follows the sign must end the word."""
_KERNEL_LOG = re.compile(
    r"\[ *\d{1,8}\.\d{1,9}\]|[A-Z][a-z]{2} +\d{1,2} \d\d:\d\d:\d\d |\d{4}-\d\d-\d\d[T ]|<\d{1,3}>"
    r"|NVRM: |[a-z][\w-]{1,30} [0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]: ")
_PROMPT = re.compile(r"[\w.-]{1,64}@[\w.-]{1,64}[: ~]|[#$] ?\w|\[[\w.-]{1,64}@")

Kind = Literal["head", "mm", "vmm"]


class Head:
    """A line that begins a function. Plain slots: there is one a function, and they are made in a hot loop."""

    __slots__ = ("bdf", "group", "kind", "rest")

    def __init__(self, bdf: Bdf, kind: Kind, rest: str, group: int | None) -> None:
        self.bdf = bdf
        self.kind = kind
        self.rest = rest
        """What follows the address."""
        self.group = group


def clean(line: str) -> str:
    """A line as the patterns here want it: bounded, no-break spaces turned into blanks, without blanks around it."""
    return line[:MAX_LINE].replace("\xa0", " ").strip()


def address(domain: str | None, bus: str, device: str, function: str) -> Bdf:
    """The kernel's spelling: a domain of 4 digits, more only where it needs them (`00000000:41:00.0`, `10000:e1:00.0`).
    """
    number = int(domain, 16) if domain else 0
    return Bdf(f"{number:04x}:{bus}:{device}.{function}".lower())


def read_head(text: str, strict: bool = False) -> Head | None:
    """The function that a clean line begins, None for another line.

    `strict` also asks for a class that pci.ids has or for numbers: a line alone must prove more than one among its
    kind.
    """
    if not text or text[0] not in "0123456789abcdefABCDEFI":
        return None
    match = _HEAD.match(text)
    if match is None:
        return None
    rest = match[5]
    if rest[0] == '"':
        if _QUOTED.match(rest) is None:
            return None
        kind: Kind = "mm"
    elif _NUMERIC.match(rest) is not None:
        kind = "head"
    else:
        named = _NAMED.match(rest)
        if named is None or (strict and named[2] is None and named[1] not in CLASS_CODES):
            return None
        kind = "head"
    group = _GROUP.match(text)
    return Head(address(match[1], match[2], match[3], match[4]), kind, rest, int(group[1]) if group else None)


def read_slot(text: str) -> Bdf | None:
    """The address of a `Slot:` line (`Device:` in the oldest -vm), which begins a function of -vmm."""
    match = _SLOT.match(text) if text.startswith(("Slot:", "Device:")) else None
    return address(match[1], match[2], match[3], match[4]) if match else None


def read_hex_row(text: str) -> tuple[int, str] | None:
    """Offset and bytes of a row of -x, as text."""
    match = _HEX_ROW.match(text)
    return (int(match[1], 16), match[2]) if match else None


def read_group(text: str) -> int | None:
    """`IOMMU Group 29:` alone on its line, as the scripts of the VFIO articles print it above its devices."""
    match = _GROUP.match(text)
    return int(match[1]) if match and match.end() == len(text) else None


def is_tree(line: str) -> bool:
    """Whether a line, with its leading blanks, is one of `lspci -t`."""
    return _TREE.match(line[:MAX_LINE].replace("\xa0", " ")) is not None


HEADER_KEYS = frozenset((
    "DeviceName", "Subsystem", "Physical Slot", "Device tree node", "Control", "Status", "Latency", "Interrupt",
    "NUMA node", "IOMMU group", "Flags", "Bus", "I/O behind bridge", "Memory behind bridge",
    "Prefetchable memory behind bridge", "Secondary status", "BridgeCtl", "Capabilities",
))  # fmt: skip
KERNEL_KEYS = frozenset(("Kernel driver in use", "Kernel modules", "Driver in use"))
"""Printed after the capabilities."""
EXPRESS_KEYS = frozenset((
    "DevCap", "DevCtl", "DevSta", "LnkCap", "LnkCtl", "LnkSta", "SltCap", "SltCtl", "SltSta", "RootCtl", "RootCap",
    "RootSta", "DevCap2", "DevCtl2", "LnkCap2", "LnkCtl2", "LnkSta2",
))  # fmt: skip
REGISTER_KEYS = EXPRESS_KEYS | frozenset((
    "UESta", "UEMsk", "UESvrt", "CESta", "CEMsk", "AERCap", "HeaderLog", "RootCmd", "ErrorSrc", "ACSCap", "ACSCtl",
    "DpcCap", "DpcCtl", "DpcSta", "LnkCtl3", "LaneErrStat",
))  # fmt: skip
"""Registers whose names no other tool prints; each says which capability it is of."""
_OTHER_KEYS = frozenset((
    "AtomicOpsCap", "AtomicOpsCtl", "Transmit Margin", "Compliance De-emphasis", "Compliance Preset/De-emphasis",
    "Vector table", "PBA", "Masking", "ARICap", "ARICtl", "ATSCap", "ATSCtl", "PRICtl", "PRISta", "PASIDCap",
    "PASIDCtl", "IOVCap", "IOVCtl", "IOVSta", "Initial VFs", "VF offset", "Supported Page Size", "VF Migration",
    "Page Request Capacity", "McastCap", "McastCtl", "McastBAR", "McastReceiveVec", "McastBlockAllVec",
    "McastBlockUntransVec", "McastOverlayBAR", "L1SubCap", "L1SubCtl1", "L1SubCtl2", "PTMCap", "PTMControl",
    "PTMClockGranularity", "PTMEffectiveGranularity", "Max snoop latency", "Max no snoop latency", "PortCap", "PortSta",
    "Phy16Sta", "Phy32Cap", "Phy32Ctl", "Phy32Sta", "Phy64Sta", "DOECap", "DOECtl", "DOESta", "IDECap", "IDECtl",
    "CXLCap", "CXLCtl", "CXLSta", "CXLCap2", "CXLCtl2", "CXLSta2", "CXLCap3", "CXLCtl3", "CXLPortSta", "CXLPortCtl",
    "FBCap", "FBCtl", "FBSta", "FBModTS", "AFCap", "AFCtrl", "AFStatus", "RCiEPBitmap", "AssociatedBusNumbers",
    "Read-only fields", "Link Config", "Link Control", "Linkcap", "AlternateBus", "AlternateMem",
    "SltCap2", "SltCtl2", "Steering table", "Interrupt vector mode", "Device specific mode", "TPH", "Component Table",
))  # fmt: skip
_SHAPED: dict[str, re.Pattern[str]] = {
    "Control": re.compile(r"\S+[+-]|Att[ne]\w+ "), "Status": re.compile(r"\S*[+-](?:\s|$)|D\d "),
    "Flags": re.compile(r".*\bdevsel\b|\S+[+-]"), "Address": re.compile(r"[0-9a-f]{8,16}\s+Data:"),
    "Source": re.compile(r"[0-9a-f]{4}$"), "Bus": re.compile(r"primary="), "Interrupt": re.compile(r"pin "),
    "Latency": re.compile(r"\d"), "Bridge": re.compile(r"\S+[+-]"), "Caps": re.compile(r"LPEVC="),
    "Arb": re.compile(r"Fixed"), "Ctrl": re.compile(r"ArbSelect|Enable[+-]"), "Command": re.compile(r"\S+[+-=]"),
    "Max Latency": re.compile(r"\d"), "Subsystem": re.compile(r"\S"), "Capabilities": re.compile(r"[\[<]"),
    "Changed": re.compile(r"MRL"), "Link Control 0": re.compile(r"\S+[+-]"), "Link Config 0": re.compile(r"\S+="),
    "Masking": re.compile(r"[0-9a-f]{8}\b"),
}
"""Names that other tools print too, and what must follow here."""
_NUMBERED = re.compile(
    r"Region [0-5]: (?:Memory|I/O)|BAR [0-5]: current|VC\d{1,2}:|(?:\[virtual\] )?(?:Memory|I/O ports) at "
    r"|(?:\[virtual\] )?Expansion ROM |RP PIO |SelectiveIDE#\d|LinkIDE#\d|(?:Memory|I/O) window \d:|16-bit legacy")
_OTHER_LINES = re.compile(
    r"!!! (?:Unknown|Invalid) |<access denied|BIST (?:is running|result)|WARNING: Cannot show hex-")
_COMMAND = re.compile(r"(?:[^$#>]{0,160}[$#>] ?)?(?:sudo )?lspci(?: |$)|```\w{0,16}$")
"""The command line of another lspci, or a code fence between two: what follows is of the same text."""
COMPLAINT = re.compile(r"pcilib: |lspci: ")
VMM_KEYS = frozenset((
    "Slot", "Class", "Vendor", "Device", "SVendor", "SDevice", "PhySlot", "Rev", "ProgIf", "Driver", "Module",
    "NUMANode", "IOMMUGroup", "DTNode",
))  # fmt: skip
_TAILS = re.compile(
    r"\(rev [0-9a-f]{2}\)(?: \(prog-if .{2,80}\))?$|\(prog-if(?: |$)|^[0-9a-f]{2} \[.{2,60}\]\)$"
    r"|\[[0-9a-f]{4}:[0-9a-f]{4}\]$"
    r"|\[size=\d|<\?>$|bytes, MaxReadReq|\bunlimited\b|<\d{1,3}(?:ns|us)\b|^[0-9a-f]{8,16}-[0-9a-f]{8,16}\b"
    r"|^(?:MSI|IntMsgNum) \d{1,2}$|^Latency L[01]|OBFF |^\[[A-Z][A-Z0-9]\] [A-Z]|^BAR=\d offset="
    r"|^multiplier=|CommonMode\w{0,16}=|^Interrupt Message Num|\bde-?emphasis\b|-\d(?:\.\d)?dB|^Slot #\d"
    r"|^(?:\d{1,4}[MGTPE]B ?){1,40}$|^\[(?:disabled|virtual)\]|^x\d{1,2}(?: \(|,|$)|^[0-9a-f]{4}$"
    r"|^\((?:ok|downgraded|overdriven|strange)\)|^EmergencyPower|Not Supported,?$")
_ENDS = re.compile(
    r"\(rev$|^\[?[A-Za-z0-9 ]{1,40}\]?\)$|^(?:unsupported|[Ss]upported,|Disabled,|preshoot|0dB preshoot)$"
    r"|^\d{1,2}(?: \d{1,2}){0,31}$|^[\w-]{1,40}=\w{1,16}$|^(?:MaxEETLPPrefixes|PhantFunc|IntMsg) \d|^Width x\d|^bytes$"
    r"|^TriggerExt:|^(?:RP )?PIO ErrPtr:"
    r"|^(?:node \d{1,3}, )?(?:IOMMU )?group \d{1,5}$|^\S{0,20} ?-r[0-9a-f]{2} \"|^\"\"( \"\")?$")
"""Short ends of lines that a mailer broke."""
_INDENTED = re.compile(r"(?:\t\t| {12,40}(?![-+\\|<])(?!.{0,60} : ))\s{0,40}\S")
"""Registers and what belongs to them stand this deep, until a mailer or a forum takes the blanks away."""
_NAME_WORDS = re.compile(
    r"\b(?:Controller|Registers?|Xeon|Core i\d|Root (?:Port|Complex)|Bridge|Express|Corporation|Technolog\w{1,4}|NVMe|"
    r"Decoder|Chipset|Series|Processor|Radeon|GeForce|Generation)\b")
_SENTENCE = re.compile(r"[:=<>{}?!|]|\.$")
_WORD = re.compile(r"[A-Z][\w./-]{1,30}$")


def key_of(text: str) -> tuple[str, str] | None:
    """The name before the first colon of a clean line, and what follows it; None where no name of lspci stands there.
    """
    key, colon, value = text.partition(":")
    key = key.rstrip()
    if not colon or len(key) > 40:
        return None
    shape = _SHAPED.get(key)
    value = value.strip()
    if shape is not None:
        return (key, value) if shape.match(value) else None
    if key in REGISTER_KEYS or key in HEADER_KEYS or key in KERNEL_KEYS or key in _OTHER_KEYS:
        return key, value
    return None


def is_unkept(text: str) -> bool:
    """A clean line that says something of its own, of which nothing is kept: expansion ROMs, VC0, IDE streams."""
    return bool(_NUMBERED.match(text))


def is_command(text: str) -> bool:
    """A clean line that runs lspci, or a code fence."""
    return ("lspci" in text or text.startswith("```")) and _COMMAND.match(text) is not None


def is_foreign(text: str) -> bool:
    """A clean line that is surely no reading: a kernel log with its envelope, a prompt, a command."""
    return bool(is_command(text) or _KERNEL_LOG.match(text) or _PROMPT.match(text))


def is_continuation(text: str) -> bool:
    """A clean line that goes on with what the line before it began, as lspci or a mailer broke it."""
    if len(text) > 300:
        return False
    if _TAILS.search(text) is not None or _ENDS.search(text) is not None:
        return True
    if 8 <= len(text) <= 80 and _NAME_WORDS.search(text) and not _SENTENCE.search(text):
        # The middle of a long name, broken twice: nearly all its words are names or numbers.
        words = text.split()
        if 3 * sum(not word[0].islower() or word[-1].isdigit() for word in words) >= 2 * len(words):
            return True
    flags = len(FLAG.findall(text))
    return (flags > 0 and 2 * flags >= len(text.split()) - 3) or _WORD.match(text) is not None


def is_part(line: str) -> bool:
    """Whether a line can be one of lspci's, other than those of -t and -vmm."""
    if len(line) > MAX_LINE:
        return False
    text = clean(line)
    if key_of(text) is not None or read_head(text) is not None or read_hex_row(text) is not None or is_command(text):
        return True
    if is_foreign(text) or is_tree(line):
        return False
    return bool(
        _NUMBERED.match(text) or _OTHER_LINES.match(text) or COMPLAINT.match(text)
        or read_group(text) is not None or is_continuation(text) or _INDENTED.match(line))


_FRAGMENT = re.compile(
    r"(?:LnkCap|LnkSta):\s*(?:Port #\d|Speed )|LnkCap2:\s*Supported Link|LnkCtl2:\s*Target Link|LnkSta2:\s*Current De"
    r"|DevCap2?:\s*(?:MaxPayload|Completion)|DevCtl2?:\s*(?:CorrErr|Report errors|Completion)|SltSta:\s*Status:"
    r"|UESta:\s*DLP|CESta:\s*RxErr|CEMsk:\s*RxErr|ACSCtl:\s*SrcValid|DpcSta:\s*Trigger|LaneErrStat:"
    r"|Capabilities: (?:\[[0-9a-f]{2,3}(?: v\d)?\] |<access)|Region [0-5]: (?:Memory|I/O ports) at "
    r"|Kernel driver in use: |BAR [0-5]: current size:|AtomicOpsC(?:ap|tl):")


def is_fragment(text: str) -> bool:
    """A clean line that only lspci prints, though no line above it names its device (cut, or found by grep)."""
    return _FRAGMENT.match(text) is not None

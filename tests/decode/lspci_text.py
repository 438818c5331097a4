"""Reads what `lspci -D -n -vvv` prints, so that it can be held against the decoder."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

_FUNCTION = re.compile(
    r"^([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]) ([0-9a-f]{4}): ([0-9a-f]{4}):([0-9a-f]{4})(.*)$"
)
_CAPABILITY = re.compile(r"^\tCapabilities: \[([0-9a-f]+)(?: v(\d+))?\] (.*)$")
_REGISTER = re.compile(r"^\t{1,2}([^\t:][^:]*):\s*(.*)$")
_FLAG = re.compile(r"([\w.>-]+?)([+-])(?=[\s,;)]|$)")


class Capability(msgspec.Struct):
    offset: int
    version: int | None
    title: str
    registers: dict[str, str] = msgspec.field(default_factory=dict)


class Function(msgspec.Struct):
    bdf: str
    class_code: int
    vendor: int
    device: int
    revision: int
    header: dict[str, str] = msgspec.field(default_factory=dict)
    capabilities: list[Capability] = msgspec.field(default_factory=list)


def parse_lspci(text: str) -> dict[str, Function]:
    functions: dict[str, Function] = {}
    function: Function | None = None
    registers: dict[str, str] = {}
    last = ""
    for line in text.splitlines():
        if match := _FUNCTION.match(line):
            bdf, class_code, vendor, device, rest = match.groups()
            revision = re.search(r"\(rev ([0-9a-f]{2})\)", rest)
            function = functions[bdf] = Function(
                bdf, int(class_code, 16), int(vendor, 16), int(device, 16), int(revision[1], 16) if revision else 0
            )
            registers, last = function.header, ""
        elif function is None:
            continue
        elif match := _CAPABILITY.match(line):
            offset, version, title = match.groups()
            capability = Capability(int(offset, 16), int(version) if version else None, title)
            function.capabilities.append(capability)
            registers, last = capability.registers, ""
        elif line.startswith("\t\t\t") or (line.startswith("\t\t") and registers is function.header):
            if last:
                registers[last] += " " + line.strip()
        elif match := _REGISTER.match(line):
            last = match[1]
            registers[last] = match[2].strip()
    return functions


UNKNOWN = "lspci does not know"
"""lspci found a code that it has no words for; what the decoder makes of it is not compared."""

_WATTS = r"(>600|[\d.e+-]+)W"
_LATENCY_NS = {
    "<64ns": 64, "<128ns": 128, "<256ns": 256, "<512ns": 512, "<1us": 1000, "<2us": 2000, "<4us": 4000, "<8us": 8000,
    "<16us": 16000, "<32us": 32000, "<64us": 64000, "unlimited": None,
}  # fmt: skip


def _speed(text: str) -> float | None:
    return None if text.lower() == "unknown" else float(text.removesuffix("GT/s"))


def _watts(text: str) -> float | None:
    return None if text == ">600" else float(text)


def _aspm(text: str) -> tuple[str, ...]:
    return tuple(word for word in ("L0s", "L1") if word in text.split())


def _top_speed(text: str) -> float | str:
    return UNKNOWN if text in ("RsvdP", "Unknown") else float(text.removesuffix("GT/s").rpartition("-")[2])


def _hex(text: str) -> int:
    return int(text, 16)


def _lanes(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.partition(":")[2].split())


def _time(text: str) -> int | None:
    return None if text == "<error>" else int(text.rstrip("nsu"))


def _timeout_ranges(text: str) -> str | None:
    return "" if text == "Not Supported" else None if text == "Unknown" else text.removeprefix("Range ")


_UNITS_US = {"us": 1, "ms": 1_000, "s": 1_000_000}


def _timeout_us(text: str) -> tuple[int, ...] | None:
    if text == "Unknown":
        return None
    pairs = [re.fullmatch(r"([\d.]+)(us|ms|s)", word) for word in text.split(" to ")]
    return tuple(int(float(pair[1]) * _UNITS_US[pair[2]]) for pair in pairs if pair)


def _words(table: dict[str, str | None]) -> Callable[[str], Any]:
    return lambda text: table.get(text, text)


_OBFF = _words(
    {"Not Supported": None, "Disabled": None, "Via message": "message", "Via WAKE#": "wake",
     "Via message/WAKE#": "message+wake", "Via message A": "message-a", "Via message B": "message-b"}
)  # fmt: skip
_INDICATOR = _words({"Unknown": None, "On": "on", "Blink": "blink", "Off": "off"})
_CROSSLINK = _words({"Upstream Port": "upstream", "Downstream Port": "downstream"})
_COMPONENT = _words(
    {"Link Down - Not Determined": "link-down", "Link Down - Not Present": "link-down-not-present",
     "Link Down - Present": "link-down-present", "Link Up - Present": "link-up-present",
     "Link Up - Present and DRS Received": "link-up-ready", "Reserved": "reserved"}
)  # fmt: skip

_MIB = {"MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40, "PB": 1 << 50, "EB": 1 << 60}


def _size(text: str) -> int | None:
    match = re.fullmatch(r"(\d+)([MGTPE]B)", text)
    return int(match[1]) * _MIB[match[2]] if match else None


def _sizes(text: str) -> tuple[int | None, ...]:
    return tuple(_size(word) for word in text.split())


VALUES: dict[str, dict[str, tuple[str, Callable[[str], Any]]]] = {
    "DevCap": {
        "MaxPayload": (r"MaxPayload (\d+)", int),
        "PhantFunc": (r"PhantFunc (\d+)", int),
        "Latency L0s": (r"Latency L0s ([^\s,]+)", _LATENCY_NS.__getitem__),
        "Latency L1": (r"Latency L0s [^\s,]+, L1 (\S+)", _LATENCY_NS.__getitem__),
        "SlotPowerLimit": (r"SlotPowerLimit " + _WATTS, _watts),
    },
    "DevCtl": {
        "MaxPayload": (r"MaxPayload (\d+)", int),
        "MaxReadReq": (r"MaxReadReq (\d+)", int),
    },
    "LnkCap": {
        "Port": (r"Port #(\d+)", int),
        "Speed": (r"Speed ([^\s,]+)", _speed),
        "Width": (r"Width x(\d+)", int),
        "ASPM": (r"ASPM ([^,]+?)(?:,| ClockPM)", _aspm),
        "L0s": (r"Exit Latency L0s ([^\s,]+)", _LATENCY_NS.__getitem__),
        "L1": (r"Exit Latency (?:L0s \S+ )?L1 (\S+)", _LATENCY_NS.__getitem__),
    },
    "LnkCtl": {
        "ASPM": (r"ASPM ([^;]+);", _aspm),
        "RCB": (r"RCB (\d+)", int),
    },
    "LnkSta": {
        "Speed": (r"Speed ([^\s,]+)", _speed),
        "Width": (r"Width x(\d+)", int),
    },
    "SltCap": {
        "Slot": (r"Slot #(\d+)", int),
        "PowerLimit": (r"PowerLimit " + _WATTS, _watts),
    },
    "SltCtl": {
        "AttnInd": (r"AttnInd (\w+),", _INDICATOR),
        "PwrInd": (r"PwrInd (\w+),", _INDICATOR),
    },
    "RootSta": {
        "PME ReqID": (r"PME ReqID ([0-9a-f]+)", _hex),
        "IntMsg": (r"IntMsg(?:Num)? (\d+)", int),
    },
    "DevCap2": {
        "Completion Timeout": (r"Completion Timeout: ([^,]+)", _timeout_ranges),
        "OBFF": (r"OBFF ([^,]+)", _OBFF),
        "MaxEETLPPrefixes": (r"MaxEETLPPrefixes (\d+)", int),
    },
    "DevCtl2": {
        "Completion Timeout": (r"Completion Timeout: ([^,]+)", _timeout_us),
        "OBFF": (r"OBFF ([^,]+)", _OBFF),
    },
    "LnkCap2": {"Supported Link Speeds": (r"Supported Link Speeds: ([^,]+)", _top_speed)},
    "LnkCtl2": {"Target Link Speed": (r"Target Link Speed: ([^\s,]+)", _speed)},
    "LnkSta2": {
        "-3.5dB": (r"Current De-emphasis Level: ([^,]+)", "-3.5dB".__eq__),
        "CrosslinkRes": (r"CrosslinkRes: (.+?)(?:,|$)", _CROSSLINK),
        "DownstreamComp": (r"DownstreamComp: (.+)$", _COMPONENT),
    },
    "AERCap": {"First Error Pointer": (r"First Error Pointer: ([0-9a-f]+)", _hex)},
    "HeaderLog": {"log": (r"^([0-9a-f ]+)$", lambda text: tuple(_hex(word) for word in text.split()))},
    "ErrorSrc": {
        "ERR_COR": (r"ERR_COR: ([0-9a-f]+)", _hex),
        "ERR_FATAL/NONFATAL": (r"ERR_FATAL/NONFATAL: ([0-9a-f]+)", _hex),
    },
    "DpcCap": {
        "IntMsg": (r"(?:INT Msg #|IntMsgNum )(\d+)", int),
        "RP PIO Log": (r"RP PIO Log (\d+)", int),
    },
    "DpcCtl": {"Trigger": (r"Trigger:([0-9a-f]+)", _hex)},
    "DpcSta": {
        "Reason": (r"Reason:([0-9a-f]+)", _hex),
        "TriggerExt": (r"TriggerExt:([0-9a-f]+)", _hex),
        "RP PIO ErrPtr": (r"RP PIO ErrPtr:([0-9a-f]+)", _hex),
    },
    "Source": {"RID": (r"^([0-9a-f]+)$", _hex)},
    "LaneErrStat": {"lanes": (r"^(.*)$", _lanes)},
    "L1SubCap": {
        "PortCommonModeRestoreTime": (r"PortCommonModeRestoreTime=(\S+)", _time),
        "PortTPowerOnTime": (r"PortTPowerOnTime=(\S+)", _time),
    },
    "L1SubCtl1": {
        "T_CommonMode": (r"T_CommonMode=(\S+)", _time),
        "LTR1.2_Threshold": (r"LTR1.2_Threshold=(\S+)", _time),
    },
    "L1SubCtl2": {"T_PwrOn": (r"T_PwrOn=(\S+)", _time)},
    "Max snoop latency": {"ns": (r"^(\S+)$", _time)},
    "Max no snoop latency": {"ns": (r"^(\S+)$", _time)},
    "BAR": {
        "current size": (r"current size: ([^,]+)", _size),
        "supported": (r"supported: (.+)$", _sizes),
    },
    "Status": {"state": (r"^(D\w+)", lambda text: {"D3": "D3hot"}.get(text, text))},
    "Bus": {
        "primary": (r"primary=([0-9a-f]+)", _hex),
        "secondary": (r"secondary=([0-9a-f]+)", _hex),
        "subordinate": (r"subordinate=([0-9a-f]+)", _hex),
    },
}
"""Register -> name -> (where in the text, how to read it). What is not found is not compared."""

# Spellings that changed between versions, told as the newest one tells them.
_RENAMED = {
    ("LnkCtl", "Disabled"): "LnkDisable",
    ("DevSta", "UncorrErr"): "NonFatalErr",
    ("DevSta", "UnsuppReq"): "UnsupReq",
    ("CESta", "NonFatalErr"): "AdvNonFatalErr",
    ("CEMsk", "NonFatalErr"): "AdvNonFatalErr",
    ("PortCap", "Driver"): "Uses Driver",
}


def read_register(register: str, text: str) -> dict[str, Any]:
    """The names and values of one register: flags as booleans, the rest as `VALUES` reads it."""
    found: dict[str, Any] = {}
    prefix = ""
    for part in re.split(r"(Changed:)", text):
        if part == "Changed:":  # SltSta has MRL and PresDet twice, as status and as change
            prefix = "Changed "
            continue
        for name, sign in _FLAG.findall(part):
            found[prefix + _RENAMED.get((register, name), name)] = sign == "+"
    for name, (pattern, convert) in VALUES.get(register.split(" ")[0] if "BAR" in register else register, {}).items():
        if match := re.search(pattern, text):
            found[name] = convert(match[1])
    return found

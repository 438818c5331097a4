"""The lines of one function, collected before they are read, and what its first line says of it."""

from __future__ import annotations

import re
from typing import Any

from boxcheck.decode.lspci_classes import ON_CARD_NAMES, class_of, vendor_of
from boxcheck.decode.lspci_lines import VMM_KEYS
from boxcheck.decode.text import clean_text
from boxcheck.model import Bdf

_NUMBERS = re.compile(
    r"(?:Class )?\[?([0-9a-f]{4})\]?: (?:Device )?\[?([0-9a-f]{4}):([0-9a-f]{4})\]?", re.IGNORECASE)
_CLASS = re.compile(r"([^:\[\"]{1,62}?)(?: \[([0-9a-f]{4})\])?: ?(.*)$")
_REVISION = re.compile(r"\(rev ([0-9a-f]{2})\)")
_PROG_IF = re.compile(r"\(prog-if ([0-9a-f]{2})")
_IDS = re.compile(r"\[([0-9a-f]{4}):([0-9a-f]{4})\]")
_DEVICE = re.compile(r"Device ([0-9a-f]{4})\b")
_TAIL = re.compile(r" ?(?:\[[0-9a-f]{4}:[0-9a-f]{4}\]|\(rev [0-9a-f]{2}\)|\(prog-if).*$")
_QUOTED = re.compile(r"\"([^\"]{0,200})\"|-r([0-9a-f]{2})(?= |$)|-p([0-9a-f]{2})(?= |$)")
_BRACKETED = re.compile(r"(.{0,200}?) ?\[([0-9a-f]{4})\]$")
_HEX4 = re.compile(r"[0-9a-f]{4}$")
_MM_FIELDS = ("Class", "Vendor", "Device", "SVendor", "SDevice")

Facts = dict[str, Any]


class Block:
    """What the lines of one function said, as text. Plain slots: a dump has hundreds, each filled line by line."""

    __slots__ = (
        "bdf", "context", "facts", "fields", "head_parts", "identified", "line", "quoted", "rebars", "regions", "rest",
        "rows", "titles", "vmm",
    )  # fmt: skip

    def __init__(self, line: int, bdf: Bdf | None) -> None:
        self.line = line
        self.bdf = bdf
        self.head_parts: list[str] = []
        self.quoted = False
        self.vmm = False
        self.context = ""
        """Empty in the header, then the capability that was begun last."""
        self.fields: dict[str, list[str]] = {}
        self.regions: list[str] = []
        self.rebars: dict[int, list[str]] = {}
        self.titles: list[tuple[str, list[str]]] = []
        self.rows: list[str] = []
        self.facts: Facts = {}
        self.rest: list[str] | None = None
        """Where the next line goes if it is a continuation."""
        self.identified = ""
        """The flavour of the first line: `-n`, `-nn` or none."""

    @property
    def head(self) -> str:
        return " ".join(self.head_parts)

    @head.setter
    def head(self, text: str) -> None:
        self.head_parts.append(text)
        self.rest = self.head_parts

    def take_vmm(self, text: str) -> None:
        """`Vendor:\\tNVIDIA Corporation [10de]`."""
        key, colon, value = text.partition(":")
        if colon and key in VMM_KEYS and key not in self.fields:
            self.fields[key] = [value.strip()]

    def identity(self) -> Facts:
        """Class, vendor, device, revision and name, from the first line or the lines of -vmm."""
        if self.vmm:
            return self._of_words({key: parts[0] for key, parts in self.fields.items()})
        if self.quoted:
            return self._of_quoted()
        return self._of_head() if self.head_parts else {}

    def _of_head(self) -> Facts:
        text = self.head
        facts: Facts = {}
        revision, interface = _REVISION.search(text), _PROG_IF.search(text)
        if revision:
            facts["revision"] = int(revision[1], 16)
            facts["gone"] = revision[1] == "ff"
        elif _IDS.search(text) or _NUMBERS.match(text):
            facts["revision"] = 0  # lspci leaves `(rev 00)` out
        low = int(interface[1], 16) if interface else 0
        numbers = _NUMBERS.match(text)
        if numbers:
            self.identified = "-n"
            return facts | {"class_code": int(numbers[1], 16) << 8 | low, "vendor": int(numbers[2], 16),
                            "device": int(numbers[3], 16)}
        match = _CLASS.match(text)
        if match is None:
            return facts
        code = int(match[2], 16) if match[2] else class_of(match[1])
        if code is not None:
            facts["class_code"] = code << 8 | low
        facts["class_name"] = clean_text(match[1], 64)
        facts["name"] = clean_text(_TAIL.sub("", match[3])) or None
        if ids := _IDS.findall(match[3]):
            self.identified = "-nn"
            return facts | {"vendor": int(ids[-1][0], 16), "device": int(ids[-1][1], 16)}
        return facts | _ids_of_name(facts["name"])

    def _of_quoted(self) -> Facts:
        words: dict[str, str] = {}
        quoted: list[str] = []
        for text, revision, interface in _QUOTED.findall(self.head):
            if revision:
                words["Rev"] = revision
            elif interface:
                words["ProgIf"] = interface
            else:
                quoted.append(text)
        words.update(zip(_MM_FIELDS, quoted, strict=False))
        return self._of_words(words)

    def _of_words(self, words: dict[str, str]) -> Facts:
        """The named values of -vmm, or those of -mm by their place. Each is a name, a number, or a name with it."""
        facts: Facts = {}
        texts: dict[str, str] = {}
        numbers: dict[str, int] = {}
        for key in _MM_FIELDS:
            value = words.get(key, "")
            bracketed = _BRACKETED.match(value)
            if bracketed:
                texts[key], numbers[key] = bracketed[1], int(bracketed[2], 16)
                self.identified = "-nn"
            elif _HEX4.match(value):
                numbers[key] = int(value, 16)
                self.identified = "-n"
            else:
                texts[key] = value
        facts["revision"] = _hex2(words.get("Rev", "00"))
        facts["gone"] = facts["revision"] == 0xFF
        code = numbers.get("Class", class_of(texts.get("Class", "")))
        if code is not None:
            facts["class_code"] = code << 8 | (_hex2(words.get("ProgIf", "00")) or 0)
        for key, field in (("Vendor", "vendor"), ("Device", "device"), ("SVendor", "subsystem_vendor"),
                           ("SDevice", "subsystem_device")):
            if key in numbers:
                facts[field] = numbers[key]
        facts["class_name"] = clean_text(texts["Class"], 64) if texts.get("Class") else None
        name = clean_text(f"{texts.get('Vendor', '')} {texts.get('Device', '')}".strip())
        facts["name"] = name or None
        if name and "vendor" not in facts:
            facts |= _ids_of_name(name)
        if words.get("PhySlot"):
            facts["physical_slot"] = clean_text(words["PhySlot"], 64)
        if words.get("Driver"):
            facts["driver"] = clean_text(words["Driver"], 64)
        for key, field in (("NUMANode", "numa_node"), ("IOMMUGroup", "iommu_group")):
            value = words.get(key, "")
            if value.isascii() and value.isdigit() and len(value) <= 6:
                facts[field] = int(value)
        return facts


def _hex2(text: str) -> int | None:
    return int(text, 16) if re.match(r"[0-9a-f]{2}$", text) else None


def _ids_of_name(name: str | None) -> Facts:
    """The numbers that a name gives away: the vendor, and `Device 2330` of a card that pci.ids did not know."""
    vendor = vendor_of(name or "")
    if vendor is None:
        return {}
    number, rest = vendor
    facts: Facts = {"vendor": number}
    if device := _DEVICE.match(rest):
        facts["device"] = int(device[1], 16)
    elif rest in ON_CARD_NAMES and number in (0x1002, 0x1022):
        facts |= {"vendor": 0x1002, "device": ON_CARD_NAMES[rest]}
    return facts

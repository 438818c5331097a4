"""What nvidia-smi says in place of an answer, and beside one: a line each.

Texts as of drivers 390 to 595; NVML's own words behind a colon (nvmlErrorString).
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from boxcheck.decode.klog.words import normal_bdf
from boxcheck.decode.text import clean_text
from boxcheck.model import Bdf


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One such line."""

    kind: str
    """`no-driver`, `mismatch`, `nvml-failed`, `permissions`, `no-gpu`, `lost`, `inforom`, `library-version`."""
    bdf: Bdf | None = None
    detail: str | None = None
    """NVML's words, the version, or an address that is none."""


_HANDLE = re.compile(r"Unable to determine the device handle for (?:gpu|GPU) ?(?:\d{1,3}: )?([0-9A-Za-z:.]{0,24}): ?"
                     r"(.{0,120})")
"""Drivers since 555 or so number the GPU before its address: `GPU3: 0000:C1:00.0: Unknown Error`."""
_INFOROM = re.compile(r"WARNING: infoROM is corrupted at gpu ([0-9A-Fa-f:.]{4,20})")
_NVML = re.compile(r"Failed to initialize NVML: (.{1,80})")
_LIBRARY = re.compile(r"NVML library version: ([\d.]{1,16})$")
_NVML_KINDS = (
    ("driver/library version mismatch", "mismatch"), ("driver not loaded", "no-driver"),
    ("insufficient permissions", "permissions"), ("gpu is lost", "lost"),
)


def _handle(text: str) -> Message | None:
    found = _HANDLE.search(text)
    if found is None:
        return None
    bdf = normal_bdf(found[1])
    said = found[2].split(". ")[0].strip(" .") or None
    return Message(kind="lost", bdf=bdf, detail=clean_text(said if bdf is not None or not found[1] else
                                                           f"{said} (address printed as {found[1]})", 120)
                   if said else None)


def _nvml(text: str) -> Message | None:
    found = _NVML.search(text)
    if found is None:
        return None
    said = found[1].strip()
    kind = next((kind for words, kind in _NVML_KINDS if said.lower().startswith(words)), "nvml-failed")
    return Message(kind=kind, detail=clean_text(said, 80))


def _inforom(text: str) -> Message | None:
    found = _INFOROM.search(text)
    return Message(kind="inforom", bdf=normal_bdf(found[1])) if found is not None else None


def _library(text: str) -> Message | None:
    found = _LIBRARY.match(text)
    return Message(kind="library-version", detail=found[1]) if found is not None else None


def _no_driver(text: str) -> Message | None:
    return Message(kind="no-driver") if text.startswith("NVIDIA-SMI has failed because it couldn") else None


def _no_gpu(text: str) -> Message | None:
    """The line alone: the words within a sentence are a person's."""
    return Message(kind="no-gpu") if text in ("No devices were found", "No devices found.", "No devices were found.",
                                              ) else None


_READERS: tuple[tuple[str, Callable[[str], Message | None]], ...] = (
    ("device handle for", _handle), ("Failed to initialize NVML", _nvml), ("infoROM is corrupted", _inforom),
    ("NVML library version", _library), ("NVIDIA-SMI has failed", _no_driver), ("No devices", _no_gpu),
)
_TAILS = ("Make sure that the latest NVIDIA driver is installed", "Reboot the system to recover this GPU",
          "NVIDIA driver. Make sure", "installed and running", "communicate with the NVIDIA driver",
          "driver is installed and running", "latest NVIDIA driver")
"""How such a line goes on where a mailer broke it."""


def message(line: str) -> Message | None:
    """What nvidia-smi says in this line, None where it says no such thing. A kernel log that quotes it (`NVRM: ...`)
    is not meant: the words must begin the line."""
    text = line[:400].strip()
    for words, read in _READERS:
        if words in text:
            found = read(text)
            at = text.find(words)
            return found if found is not None and at <= 40 and "NVRM" not in text[:at] else None
    return None


def is_tail(line: str) -> bool:
    """Whether the line is the rest of a broken message."""
    return line.strip().startswith(_TAILS)

"""One line of an AER record, taken apart. Spellings of 4.x ("Corrected", `id=0700`) to 7.x ("Correctable") are one.

Linux 7.3 tells agent and layer of each bit instead of once for the record, and limits the log by device:

    pcieport 0000:40:00.0: AER: Multiple Correctable Error messages received, first one from 0000:41:00.0
    pci 0000:41:00.0: PCIe Bus Error: severity=Correctable
    pci 0000:41:00.0:   device [10de:2684] error status/mask=00000040/0000c000
    pci 0000:41:00.0:   [ 6] BadTLP            | Receiver    | Data Link Layer

The same few lines come millions of times in a flood, so what a message says is remembered by its text.
Source: drivers/pci/pcie/aer.c, drivers/pci/pcie/err.c.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from .aer_bits import label_of
from .words import BDF, Rx

_RECEIVED = Rx(
    r"(Multiple )?(Correct\w+|Uncorrect\w+)(?: error)? ?(?:\((Non-Fatal|Fatal)\))?(?: [Ee]rror)?(?: messages?)?"
    rf" received(?:, first one)?(?: from)?:? *(?:id=([0-9a-fA-F]{{4}})|({BDF}))?"
)
_BUS_ERROR = Rx(
    r"(?:PCIe|CXL) Bus Error: *\w{0,8}erity=(Correct\w*|Uncorrect\w*)? *(?:\((Non-Fatal|Fatal)\))?"
    r"(?:, *type=([A-Z][A-Za-z ]{2,30})| *\((Inaccessible)\))?"
)
_AGENT = Rx(r"\((Receiver|Transmitter|Requester|Completer) ID\)")
_STATUS = Rx(r"error status/mask=([0-9a-fA-F]{8})/([0-9a-fA-F]{8})")
BIT = Rx(
    r"\[ ?(\d{1,2})\] ([A-Za-z][\w -]{2,40}?) *"
    r"(?:\| *(Receiver|Transmitter|Requester|Completer|Component)? *"
    r"\| *(?:([A-Z][a-z]{1,12}(?: Link)?)(?: Layer)?)? *)?"
    r"(?:\(First\))?$")
"""A bit by its number and name; since 7.3 with who saw it and in which layer."""
_SUPPRESSED = Rx(r"([\w.]{1,64}): (\d{1,9}) callbacks suppressed")
_CONTINUED = Rx(
    r"TLP Header: |Error of this Agent|no (?:error )?details|broadcast \w{4,16} message|device recovery successful"
    r"|can't recover |enabled with IRQ|aer_layer=|aer_agent=|aer_uncor_severity: |HBM error counter"
    r"|Root Port link has been reset|Downstream Port link has been reset|subordinate device reset failed"
)

KIND = {"correct": "aer-correctable", "Non-Fatal": "aer-nonfatal", "Fatal": "aer-fatal"}


class BusError(NamedTuple):
    """The head of a record."""

    kind: str
    agent: str | None
    layer: str | None
    inaccessible: bool
    """The kernel could not read the device's registers: there is no status line to wait for."""
    limited: bool
    """In the words of Linux 7.3, which limits how many errors of a device it logs."""


class Status(NamedTuple):
    """The bits: those of `status & ~mask` are printed."""

    bits: int
    mask: int


class Bit(NamedTuple):
    """A `[ 6] BadTLP` line."""

    label: str
    agent: str | None
    layer: str | None


class Received(NamedTuple):
    """An error message came in, from whom it claims to be."""

    kind: str
    packed: int | None
    address: str | None
    multiple: bool


class SuppressedCalls(NamedTuple):
    """Messages that a rate limit swallowed."""

    name: str
    calls: int


class Unrecovered(NamedTuple):
    """The devices below could not be brought back."""


class NoWayBack(NamedTuple):
    """The driver of the device has no code for errors, so that nothing below the port is brought back."""


class Continued(NamedTuple):
    """Belongs to a record, and tells nothing that counts here."""


AerLine = BusError | Status | Bit | Received | SuppressedCalls | Unrecovered | NoWayBack | Continued


def _kind(word: str | None, gravity: str | None) -> str:
    """The kind for the severity words of either vocabulary. Uncorrectable without its gravity counts as non-fatal."""
    if word is None or word.startswith("Correct"):
        return KIND["correct"]
    return KIND[gravity or "Non-Fatal"]


_LONGEST_REMEMBERED = 512


def look(message: str) -> AerLine | None:
    """What a line says of an AER error, None when it is no line of a record as far as its words go."""
    return _look(message) if len(message) > _LONGEST_REMEMBERED else _remembered(message)


@functools.lru_cache(maxsize=2048)
def _remembered(message: str) -> AerLine | None:
    return _look(message)


def _look(message: str) -> AerLine | None:
    if "Bus Error" in message:
        return _bus_error(message)
    if "error status/mask=" in message:
        found = _STATUS.search(message)
        if found is None:
            return None
        mask = int(found[2], 16)
        return Status(int(found[1], 16) & ~mask, mask)
    if " received" in message:
        found = _RECEIVED.search(message)
        if found is not None:
            return Received(_kind(found[2], found[3]), int(found[4], 16) if found[4] else None, found[5],
                            found[1] is not None)
        return None
    if "device recovery failed" in message:
        return Unrecovered()
    if "can't recover (no error_detected callback)" in message:
        return NoWayBack()
    if "callbacks suppressed" in message:
        found = _SUPPRESSED.search(message)
        return SuppressedCalls(found[1], int(found[2])) if found is not None else None
    found = BIT.search(message)
    label = label_of(found[2]) if found is not None else None
    if found is not None and label is not None:
        return Bit(label, found[3].lower() if found[3] else None, found[4].lower() if found[4] else None)
    return Continued() if _CONTINUED.search(message) is not None else None


def _bus_error(message: str) -> BusError | None:
    found = _BUS_ERROR.search(message)
    if found is None:
        return None
    agent = _AGENT.search(message)
    layer = found[3]
    return BusError(
        _kind(found[1], found[2]), agent[1].lower() if agent is not None else None,
        layer.removesuffix(" Layer").lower() if layer is not None and layer.endswith(" Layer") else None,
        layer == "Inaccessible" or found[4] is not None,
        layer is None and (found[1] or "").endswith("able"),
    )

"""NVIDIA's Xid numbers: what each one means, whose fault it most likely is, how grave it is, what to do.

Numbers and meanings are facts of NVIDIA's Xid catalogue (docs.nvidia.com/deploy/xid-errors, analyzing-xid-catalog for
Ampere and newer, working-with-xid-errors for older ones) and of the open kernel modules' nverror.h (595); the words
are ours. Which numbers fail a machine follows the lists that fleet health checks use (48, 62 to 64, 74, 79, 92, 94, 95,
119, 120 and their like); 13, 31, 43 and 45 are what a faulty program causes on a GPU without a fault.

An engine's exception (copy, video, JPEG ...) blames the program first: NVIDIA's first action is to restart it.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from .events import Cause, Severity
from .steps import CABLES

Blame = Literal["application", "driver", "gpu", "memory", "link", "nvlink", "power"]
"""Whose fault an Xid most likely is. `gpu`: the chip or its firmware; `memory`: the GPU's own memory; `link`: PCIe."""


class Xid(NamedTuple):
    """One number of the catalogue."""

    severity: Severity
    cause: Cause | None
    says: str
    help: str
    blame: Blame | None = None
    """None where the text leaves it open."""


_APP = "look at the program that ran; on a GPU that does it with every program, test the GPU's memory"
_MEMORY = "reset the GPU, then read its row remapping state (nvidia-smi -q -d ROW_REMAPPER); replace it when it returns"
_GSP = "update the driver; when it returns, power the machine off and on, and look for PCIe errors before it"
_LINK = "check power cables, the seat of the card and its riser; read the link's error counters from before the loss"
_NVLINK = "read the NVLink counters (nvidia-smi nvlink -e); reseat the bridge"
_DRIVER = "update the driver; when it returns on another driver, swap the GPU"
_INTERNAL = "power the machine off and on; replace the GPU when it returns"
_NOTHING = "nothing to do for this one alone; look at the Xid beside it"


def _app(says: str, severity: Severity = "info") -> Xid:
    return Xid(severity, "driver", says, _APP, "application")


def _driver(says: str, severity: Severity = "warn") -> Xid:
    return Xid(severity, "driver", says, _DRIVER, "driver")


def _gpu(says: str, severity: Severity = "fail") -> Xid:
    return Xid(severity, "firmware", says, _INTERNAL, "gpu")


def _memory(says: str, severity: Severity = "fail") -> Xid:
    return Xid(severity, "memory", says, _MEMORY, "memory")


def _nvlink(says: str, severity: Severity = "fail") -> Xid:
    return Xid(severity, "signal", says, _NVLINK, "nvlink")


def _note(says: str, severity: Severity = "info", blame: Blame | None = None) -> Xid:
    return Xid(severity, None, says, _NOTHING, blame)


def _engines(what: str, numbers: tuple[int, ...]) -> dict[int, Xid]:
    entry = _app(f"the GPU's {what} raised an exception", "warn")
    return dict.fromkeys(numbers, entry)


_UNUSED = Xid("warn", None, "NVIDIA lists this number without a meaning", "look at what the line itself says")

XIDS: dict[int, Xid] = {
    **dict.fromkeys((5, 10, 14, 15, 17, 23, 49, 50, 51, 52, 53, 55, 91), _UNUSED),
    **dict.fromkeys((1, 2, 3, 6), _app("a program sent the GPU an invalid command stream")),
    4: _app("a program sent the GPU an invalid command stream, or a semaphore was not released in time"),
    7: _app("a program sent the GPU commands at an invalid address"),
    8: Xid("warn", "driver", "the GPU stopped processing a program's work", _APP, "application"),
    9: _driver("the driver programmed the GPU wrongly"),
    11: _app("a program sent the GPU an invalid command stream"),
    12: _driver("the driver handled an exception of the GPU wrongly"),
    13: _app("a program made the graphics or compute engine raise an exception"),
    16: _driver("the display engine hung"),
    18: Xid("fail", "config", "the GPU may not read or write memory: bus mastering is off in its PCI configuration",
            "look at what switched it off (a reset, vfio, setpci); power the machine off and on", "driver"),
    19: _driver("the display engine raised an error"),
    **_engines("video processor", (20, 21, 22, 27, 28, 29, 34, 35, 36, 42, 60)),
    24: _driver("a GPU semaphore was not released in time"),
    25: _app("a program sent the GPU an illegal command stream"),
    26: Xid("warn", "memory", "the GPU's memory did not answer in time", _MEMORY, "memory"),
    30: _driver("a GPU semaphore was accessed wrongly"),
    31: _app("a program touched GPU memory that is not mapped"),
    32: Xid("warn", "driver", "the GPU was sent a corrupted command stream",
            "look at the program that ran; if several programs see it, look for PCIe errors", "application"),
    33: _gpu("a micro-controller inside the GPU failed"),
    37: _driver("the driver's firmware refused a command"),
    38: Xid("fail", "firmware", "the driver's firmware failed", _DRIVER, "driver"),
    **_engines("copy engine", (39, 40, 41, 70, 71, 72, 75, 76, 77, 85, *range(126, 136))),
    43: _app("a program's work was stopped after its own error"),
    44: Xid("fail", "firmware", "the graphics engine failed while it switched between programs", _DRIVER, "driver"),
    45: _app("a program's work was cleaned up after another error or a kill"),
    46: Xid("warn", "driver", "the GPU stopped processing", _DRIVER, "driver"),
    **_engines("video encoder", (47, 65, 73, 142)),
    48: _memory("GPU memory had an error that ECC could not correct"),
    54: Xid("fail", "power", "the card's power connector is not plugged in or lost its supply",
            CABLES, "power"),
    56: _gpu("the display engine failed"),
    57: Xid("fail", "memory", "the GPU's memory interface could not be set up", _INTERNAL, "memory"),
    58: Xid("fail", "memory", "the GPU's memory interface is unstable", _INTERNAL, "memory"),
    59: _gpu("the GPU's power controller failed"),
    61: _gpu("the GPU's power controller stopped at a breakpoint"),
    62: _gpu("the GPU's power controller halted"),
    63: _memory("a bad row or page of GPU memory was marked for replacement"),
    64: _memory("a bad row or page of GPU memory could not be marked for replacement"),
    66: _driver("the driver made an illegal access"),
    67: _driver("the driver made an illegal access"),
    **_engines("video decoder", (68, 83, 84, 88, 89, 96, 97, 98)),
    69: Xid("warn", "driver", "the graphics engine refused a command class", _APP, "application"),
    74: _nvlink("an NVLink connection failed"),
    78: Xid("warn", "driver", "a virtual GPU could not start", _DRIVER, "driver"),
    79: Xid("fail", "signal", "the GPU fell off the bus: it no longer answers over PCIe", _LINK, "link"),
    80: Xid("fail", "signal", "data reached the GPU corrupted", _LINK, "link"),
    81: _gpu("the VGA part of the GPU failed"),
    **_engines("JPEG engine", (82, *range(99, 106))),
    **_engines("optical flow engine", (86, 139)),
    87: _note("the driver wrote a report for telemetry"),
    90: _memory("the GPU's second-level cache had an error"),
    92: _memory("GPU memory corrects errors at a high rate"),
    93: _note("the GPU's information ROM is written more often than planned", "warn", "gpu"),
    94: _memory("an uncorrectable memory error was contained to one program"),
    95: _memory("an uncorrectable memory error could not be contained"),
    **dict.fromkeys((106, 107), _note("a test message of the board's management bus")),
    108: _nvlink("an address that came over NVLink could not be translated", "warn"),
    109: Xid("warn", "driver", "switching between programs took too long", _APP, "application"),
    110: _gpu("the GPU's security unit failed"),
    111: _driver("the graphics engine was set up wrongly"),
    **dict.fromkeys(range(112, 119), _driver("the display engine raised an error")),
    119: Xid("fail", "firmware", "the GPU's system processor (GSP) did not answer the driver", _GSP, "gpu"),
    120: Xid("fail", "firmware", "the GPU's system processor (GSP) reported an error", _GSP, "gpu"),
    121: _nvlink("a chip-to-chip link corrected an error", "warn"),
    **dict.fromkeys((122, 123, 124), _gpu("the GPU's ROM could not be read, written or erased", "warn")),
    125: _gpu("the file system in the GPU's information ROM is damaged", "warn"),
    136: _nvlink("an NVLink connection did not train"),
    137: Xid("warn", "driver", "a program used an NVLink address that it may not use", _APP, "application"),
    **_engines("deep learning accelerator", (138, 152, 153)),
    140: _memory("an ECC error was not recovered from"),
    141: _driver("a fast path of CUDA met an error"),
    143: _gpu("the GPU failed to initialise"),
    **dict.fromkeys(range(144, 151), _nvlink("an NVLink connection failed")),
    151: _driver("encryption keys of confidential computing could not be renewed"),
    154: Xid("warn", None, "the driver changed what it recommends for this GPU (reset, drain or reboot)",
             "look at the Xid just before it"),
    155: _nvlink("software reported an NVLink error", "warn"),
    156: _memory("a damaged part of the GPU was retired"),
    157: _memory("a damaged part of the GPU could not be retired"),
    158: _gpu("the GPU ran into a fatal timeout"),
    159: _driver("an access to coherent memory failed"),
    160: _memory("a channel to GPU memory was retired", "warn"),
    161: _memory("a channel to GPU memory could not be retired"),
    162: _note("the circuit that smooths the GPU's power draw is at work again", "info", "power"),
    163: Xid("warn", "power", "the circuit that smooths the GPU's power draw is off", _NOTHING, "power"),
    164: Xid("warn", "power", "the circuit that smooths the GPU's power draw is near the end of its life", _NOTHING,
             "power"),
    165: Xid("fail", "power", "the circuit that smooths the GPU's power draw is worn out",
             "ask the vendor for a replacement", "power"),
    166: _nvlink("an encrypted NVLink carried data before it was set up", "warn"),
    167: Xid("fail", "signal", "a PCIe request of the GPU was not answered in time", _LINK, "link"),
    168: _memory("the GPU runs with less memory, a protected part of it is damaged"),
    169: _gpu("the GPU's security processor halted"),
    170: _nvlink("an encrypted NVLink reported an error", "warn"),
    171: _memory("GPU memory (DRAM) had an error that could not be corrected"),
    172: _memory("memory inside the GPU (SRAM) had an error that could not be corrected"),
    173: Xid("fail", "signal", "the chip-to-chip link to the processor failed", _INTERNAL, "link"),
    174: _app("a program was stopped after its own error"),
    175: _memory("the GPU's memory subsystem failed"),
    176: Xid("warn", "signal", "the GPU counted corrected PCIe errors", _LINK, "link"),
}

UNKNOWN = Xid("warn", None, "the driver reported an error that this catalogue does not explain",
              "look the number up in NVIDIA's Xid catalogue")

"""NVIDIA's Xid numbers: what each one means, whose fault it most likely is, how grave it is.

Numbers and meanings are facts of NVIDIA's Xid catalogue (docs.nvidia.com/deploy/xid-errors); the words are ours. Which
numbers fail a machine follows the lists that fleet health checks use (48, 62 to 64, 74, 79, 92, 94, 95, 119, 120 and
their like); 13, 31, 43 and 45 are what a faulty program causes on a healthy GPU.
"""

from __future__ import annotations

from typing import NamedTuple

from .events import Cause, Severity


class Xid(NamedTuple):
    """One number of the catalogue."""

    severity: Severity
    cause: Cause | None
    says: str
    help: str


_APP = "look at the program that ran; on a GPU that does it with every program, test the GPU's memory"
_MEMORY = "reset the GPU, then read its row remapping state (nvidia-smi -q -d ROW_REMAPPER); replace it when it returns"
_GSP = "update the driver; when it returns, power the machine off and on, and look for PCIe errors before it"
_LINK = "check power cables, the seat of the card and its riser; read the link's error counters from before the loss"
_NVLINK = "read the NVLink counters (nvidia-smi nvlink -e); reseat the bridge"
_DRIVER = "update the driver; when it returns on another driver, swap the GPU"
_INTERNAL = "power the machine off and on; replace the GPU when it returns"

XIDS: dict[int, Xid] = {
    8: Xid("warn", "driver", "the GPU stopped processing a program's work", _APP),
    11: Xid("info", "driver", "a program sent the GPU an invalid command stream", _APP),
    13: Xid("info", "driver", "a program made the graphics or compute engine raise an exception", _APP),
    16: Xid("warn", "driver", "the display engine hung", _DRIVER),
    24: Xid("warn", "driver", "a GPU semaphore was not released in time", _DRIVER),
    31: Xid("info", "driver", "a program touched GPU memory that is not mapped", _APP),
    32: Xid("warn", "driver", "the GPU was sent a corrupted command stream",
            "if several programs see it, look for PCIe errors"),
    38: Xid("fail", "firmware", "the driver's firmware failed", _DRIVER),
    43: Xid("info", "driver", "a program's work was stopped after its own error", _APP),
    44: Xid("fail", "firmware", "the graphics engine failed while it switched between programs", _DRIVER),
    45: Xid("info", "driver", "a program's work was cleaned up after another error or a kill", _APP),
    46: Xid("warn", "driver", "the GPU stopped processing", _DRIVER),
    48: Xid("fail", "memory", "GPU memory had an error that ECC could not correct", _MEMORY),
    54: Xid("fail", "power", "the card's power connector is not plugged in or lost its supply",
            "check the card's power cables"),
    56: Xid("fail", "firmware", "the display engine failed", _INTERNAL),
    57: Xid("fail", "memory", "the GPU's memory interface could not be set up", _INTERNAL),
    58: Xid("fail", "memory", "the GPU's memory interface is unstable", _INTERNAL),
    61: Xid("fail", "firmware", "the GPU's power controller stopped at a breakpoint", _INTERNAL),
    62: Xid("fail", "firmware", "the GPU's power controller halted", _INTERNAL),
    63: Xid("fail", "memory", "a bad row or page of GPU memory was marked for replacement", _MEMORY),
    64: Xid("fail", "memory", "a bad row or page of GPU memory could not be marked for replacement", _MEMORY),
    65: Xid("warn", "driver", "the video processor raised an exception", _DRIVER),
    66: Xid("warn", "driver", "the driver made an illegal access", _DRIVER),
    68: Xid("warn", "driver", "the video decoder raised an exception", _DRIVER),
    69: Xid("warn", "driver", "the graphics engine refused a command class", _APP),
    73: Xid("warn", "driver", "the video encoder raised an exception", _DRIVER),
    74: Xid("fail", "signal", "an NVLink connection failed", _NVLINK),
    79: Xid("fail", "signal", "the GPU fell off the bus: it no longer answers over PCIe", _LINK),
    80: Xid("fail", "signal", "data reached the GPU corrupted", _LINK),
    81: Xid("fail", "firmware", "the VGA part of the GPU failed", _INTERNAL),
    92: Xid("fail", "memory", "GPU memory corrects errors at a high rate", _MEMORY),
    94: Xid("fail", "memory", "an uncorrectable memory error was contained to one program", _MEMORY),
    95: Xid("fail", "memory", "an uncorrectable memory error could not be contained", _MEMORY),
    109: Xid("warn", "driver", "switching between programs took too long", _APP),
    110: Xid("fail", "firmware", "the GPU's security unit failed", _INTERNAL),
    119: Xid("fail", "firmware", "the GPU's system processor (GSP) did not answer the driver", _GSP),
    120: Xid("fail", "firmware", "the GPU's system processor (GSP) reported an error", _GSP),
    121: Xid("warn", "signal", "a chip-to-chip link corrected an error", _NVLINK),
    136: Xid("fail", "signal", "an NVLink connection did not train", _NVLINK),
    137: Xid("warn", "driver", "a program used an NVLink address that it may not use", _APP),
    140: Xid("fail", "memory", "an ECC error was not recovered from", _MEMORY),
    143: Xid("fail", "firmware", "the GPU failed to initialise", _INTERNAL),
    **{
        number: Xid("fail", "signal", "an NVLink connection failed", _NVLINK) for number in range(144, 151)
    },
    154: Xid("warn", None, "the driver changed what it recommends for this GPU (reset, drain or reboot)",
             "look at the Xid just before it"),
    155: Xid("warn", "signal", "software reported an NVLink error", _NVLINK),
    156: Xid("fail", "memory", "a damaged part of the GPU was retired", _MEMORY),
    157: Xid("fail", "memory", "a damaged part of the GPU could not be retired", _MEMORY),
    158: Xid("fail", "firmware", "the GPU ran into a fatal timeout", _INTERNAL),
}

UNKNOWN = Xid("warn", None, "the driver reported an error that this catalogue does not explain",
              "look the number up in NVIDIA's Xid catalogue")

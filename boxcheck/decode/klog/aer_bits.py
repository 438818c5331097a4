"""AER status bits as the kernel log names them, in its short and its long vocabulary, and what each one points to.

Sources: PCI Express Base Specification 7.8.4 (bit positions); drivers/pci/pcie/aer.c (names that the log uses; which
side detects what: replay rollover and timeout are seen by the transmitter, the other data link errors by the receiver).
"""

from __future__ import annotations

from .events import Cause

CORRECTABLE: dict[int, str] = {
    0: "RxErr", 6: "BadTLP", 7: "BadDLLP", 8: "Rollover", 12: "Timeout", 13: "NonFatalErr", 14: "CorrIntErr",
    15: "HeaderOF",
}
UNCORRECTABLE: dict[int, str] = {
    0: "Undefined", 4: "DLP", 5: "SDES", 12: "TLP", 13: "FCP", 14: "CmpltTO", 15: "CmpltAbrt", 16: "UnxCmplt",
    17: "RxOF", 18: "MalfTLP", 19: "ECRC", 20: "UnsupReq", 21: "ACSViol", 22: "UncorrIntErr", 23: "BlockedTLP",
    24: "AtomicOpBlocked", 25: "TLPBlockedErr", 26: "PoisonTLPBlocked", 27: "DMWrReqBlocked", 28: "IDECheck",
    29: "MisIDETLP", 30: "PCRC_CHECK", 31: "TLPXlatBlocked",
}

# What kernels before 4.20 wrote, and lspci's spelling of bit 13.
LONG_NAMES: dict[str, str] = {
    "receiver error": "RxErr", "bad tlp": "BadTLP", "bad dllp": "BadDLLP", "relay_num rollover": "Rollover",
    "replay_num rollover": "Rollover", "replay timer timeout": "Timeout", "advisory non-fatal": "NonFatalErr",
    "advisory non-fatal error": "NonFatalErr", "advnonfatalerr": "NonFatalErr",
    "corrected internal error": "CorrIntErr",
    "header log overflow": "HeaderOF", "data link protocol": "DLP", "surprise down error": "SDES",
    "poisoned tlp": "TLP", "flow control protocol": "FCP", "completion timeout": "CmpltTO",
    "completer abort": "CmpltAbrt", "unexpected completion": "UnxCmplt", "receiver overflow": "RxOF",
    "malformed tlp": "MalfTLP", "unsupported request": "UnsupReq", "acs violation": "ACSViol",
    "uncorrectable internal error": "UncorrIntErr", "mc blocked tlp": "BlockedTLP",
    "atomicop egress blocked": "AtomicOpBlocked", "tlp prefix blocked error": "TLPBlockedErr",
}
_SHORT_NAMES = {name.lower(): name for name in (*CORRECTABLE.values(), *UNCORRECTABLE.values())}
CORRECTABLE_NAMES = frozenset(CORRECTABLE.values())
UNCORRECTABLE_NAMES = frozenset(UNCORRECTABLE.values())
REFUSALS = frozenset(("CmpltAbrt", "UnxCmplt", "UnsupReq", "ACSViol"))
"""Uncorrectable bits of a request or an answer that somebody turned down: nothing was damaged or lost on the way."""


def label_of(name: str) -> str | None:
    """The short name for either vocabulary, None for a word that is no AER bit."""
    plain = name.strip().lower()
    return _SHORT_NAMES.get(plain) or LONG_NAMES.get(plain)


def labels_of(status: int, names: dict[int, str]) -> tuple[str, ...]:
    """The names of the bits set in a 32-bit status, lowest first; a bit without a name is `bit 3`."""
    return tuple(names.get(bit, f"bit {bit}") for bit in range(32) if status >> bit & 1)


_TRANSMITTER = frozenset(("Rollover", "Timeout"))
_RECEIVER = frozenset(("RxErr", "BadTLP", "BadDLLP"))
_LAYERS = {
    "RxErr": "physical", **dict.fromkeys(("BadTLP", "BadDLLP", "Rollover", "Timeout", "DLP", "SDES"), "data link")}


def seen_by(labels: tuple[str, ...]) -> str | None:
    """Which end of the link saw errors of these bits, None where they are of both, or of no link."""
    bits = set(labels)
    return "receiver" if bits and bits <= _RECEIVER else "transmitter" if bits and bits <= _TRANSMITTER else None


def layer_of(labels: tuple[str, ...]) -> str | None:
    """Physical or data link, None where the bits are of several layers, or of another one."""
    layers = {_LAYERS.get(label) for label in labels}
    return layers.pop() if len(layers) == 1 else None


SIGNAL_LABELS = frozenset(("RxErr", "BadTLP", "BadDLLP", "Rollover"))
"""Correctable bits that only a damaged signal sets."""

# label -> (cause, what it says). Causes after the reference of the project's AER study: physical and data link bits are
# the link, the transaction layer's are software, configuration or the device.
MEANING: dict[str, tuple[Cause, str]] = {
    "RxErr": ("signal", "the receiver lost symbols or block lock"),
    "BadTLP": ("signal", "a packet arrived damaged and was sent again"),
    "BadDLLP": ("signal", "a link-level acknowledgement or credit packet arrived damaged"),
    "Rollover": ("signal", "one packet was sent four times without success, so the link was retrained"),
    "Timeout": ("power", "a packet was not acknowledged in time"),
    "NonFatalErr": ("driver", "a request was refused, reported as advisory only"),
    "CorrIntErr": ("firmware", "the device repaired an error inside itself"),
    "HeaderOF": ("driver", "more errors than the device can log"),
    "Undefined": ("signal", "the link was in a training error"),
    "DLP": ("signal", "the link-level sequence broke"),
    "SDES": ("signal", "the link dropped without warning"),
    "TLP": ("memory", "data arrived that its sender had already marked as bad (poisoned)"),
    "FCP": ("firmware", "flow control credits went wrong"),
    "CmpltTO": ("driver", "the device did not answer a request in time"),
    "CmpltAbrt": ("driver", "the device aborted a request"),
    "UnxCmplt": ("driver", "an answer came that nobody asked for"),
    "RxOF": ("firmware", "the receiver's buffer overflowed"),
    "MalfTLP": ("config", "a packet was malformed, often a payload size that both ends do not share"),
    "ECRC": ("signal", "a packet failed its end-to-end check"),
    "UnsupReq": ("driver", "the device refused a request that it does not support"),
    "ACSViol": ("config", "access control refused a request between devices"),
    "UncorrIntErr": ("firmware", "the device failed inside"),
    "BlockedTLP": ("config", "a multicast packet was blocked"),
    "AtomicOpBlocked": ("config", "a port on the way blocked an atomic operation"),
    "TLPBlockedErr": ("config", "a packet with a prefix was blocked"),
    "PoisonTLPBlocked": ("memory", "poisoned data was stopped at a port"),
    "DMWrReqBlocked": ("config", "a deferrable write was blocked"),
    "IDECheck": ("config", "an encrypted link failed its check"),
    "MisIDETLP": ("config", "an encrypted packet was misrouted"),
    "PCRC_CHECK": ("signal", "an encrypted packet failed its check"),
    "TLPXlatBlocked": ("config", "an address translation was blocked"),
    "Inaccessible": ("signal", "the device could not be reached to read its error registers"),
}

# When an event has several bits, the cause that names a part outranks the others.
_CAUSE_RANK: tuple[Cause, ...] = ("signal", "memory", "firmware", "config", "power", "driver", "benign")


def cause_of(labels: tuple[str, ...]) -> Cause | None:
    """The cause that a set of bits points to, None without a known bit."""
    causes = {MEANING[label][0] for label in labels if label in MEANING}
    return min(causes, key=_CAUSE_RANK.index, default=None)

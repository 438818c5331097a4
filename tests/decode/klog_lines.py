"""What tests of kernel logs share: lines to events, lines of AER."""

from __future__ import annotations

from boxcheck.decode.klog import Event, parse_log

Want = tuple[str, str | None, tuple[str, ...], int, str, str | None]


def events(*lines: str) -> tuple[Event, ...]:
    """Parse lines, each with a time stamp of its own."""
    return parse_log("".join(f"[{100 + number:5d}.000000] {line}\n" for number, line in enumerate(lines))).events


def seen(*lines: str) -> list[Want]:
    return [(e.kind, e.bdf, e.labels, e.count, e.severity, e.cause) for e in events(*lines)]


GPU = "0000:41:00.0"
PORT = "0000:40:01.1"


def aer(
    word: str, status: int, mask: int = 0, agent: str = "Receiver", device: str = PORT, port: str = PORT
) -> list[str]:
    return [
        f"pcieport {port}: AER: {word} error message received from 0000:00:00.0",
        f"pcieport {device}: PCIe Bus Error: severity={word}, type=Data Link Layer, ({agent} ID)",
        f"pcieport {device}:   device [1022:1483] error status/mask={status:08x}/{mask:08x}",
    ]

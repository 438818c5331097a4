"""Texts in the drivers' formats, written for the tests: a machine with GPUs on risers, seen through its log."""

from __future__ import annotations

from pathlib import Path

from boxcheck.triage.account import Triage, triage


def told(tmp_path: Path, *texts: str, **options: object) -> Triage:
    """What triage makes of texts, a file each."""
    places = []
    for number, text in enumerate(texts):
        place = tmp_path / f"evidence-{number}.txt"
        place.write_text(text)
        places.append(str(place))
    return triage(places, **options)  # type: ignore[arg-type]


def rules(found: Triage) -> list[str]:
    """Ids of the rules that explained something, gravest first."""
    return [problem.rule for problem in found.problems]


BUSES = """\
[    0.000000] Linux version 6.14.0-36-generic (buildd@lcy02) #36-Ubuntu SMP PREEMPT_DYNAMIC
[    0.900001] pci 0000:40:01.1: [1022:1483] type 01 class 0x060400 PCIe Root Port
[    0.900101] pci 0000:40:03.1: [1022:1483] type 01 class 0x060400 PCIe Root Port
[    0.900201] pci 0000:41:00.0: [10de:2684] type 00 class 0x030000 PCIe Legacy Endpoint
[    0.900301] pci 0000:40:01.1: PCI bridge to [bus 41]
[    0.900401] pci 0000:42:00.0: [10de:2684] type 00 class 0x030000 PCIe Legacy Endpoint
[    0.900501] pci 0000:40:03.1: PCI bridge to [bus 42]
"""
"""Boot lines: two RTX 4090 below two root ports."""


def aer(at: float, port: str, bit: int, name: str, *, side: str = "Receiver", layer: str = "Data Link Layer") -> str:
    """One corrected error, as Linux 6.14 logs it."""
    return (
        f"[{at:12.6f}] pcieport {port}: AER: Correctable error message received from {port}\n"
        f"[{at + 0.000011:12.6f}] pcieport {port}: PCIe Bus Error: severity=Correctable, type={layer}, ({side} ID)\n"
        f"[{at + 0.000022:12.6f}] pcieport {port}:   device [1022:1483] error status/mask={1 << bit:08x}/00002000\n"
        f"[{at + 0.000033:12.6f}] pcieport {port}:    [{bit:2}] {name:<22}\n")


def fatal(at: float, port: str, bit: int, name: str) -> str:
    """One fatal error, as Linux 6.14 logs it."""
    return (
        f"[{at:12.6f}] pcieport {port}: AER: Uncorrectable (Fatal) error message received from {port}\n"
        f"[{at + 0.000011:12.6f}] pcieport {port}: PCIe Bus Error: severity=Uncorrectable (Fatal), type=Data Link Layer,"
        " (Receiver ID)\n"
        f"[{at + 0.000022:12.6f}] pcieport {port}:   device [1022:1483] error status/mask={1 << bit:08x}/04400000\n"
        f"[{at + 0.000033:12.6f}] pcieport {port}:    [{bit:2}] {name:<22}\n")


def fell(at: float, bus: str) -> str:
    """A GPU that NVIDIA's driver lost."""
    return (
        f"[{at:12.6f}] NVRM: Xid (PCI:0000:{bus}:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.\n"
        f"[{at + 0.0001:12.6f}] NVRM: GPU 0000:{bus}:00.0: GPU has fallen off the bus.\n")

"""What `nvidia-smi -q` prints, as far as boxcheck reads it: own text in the layout of drivers 550 to 570."""

from __future__ import annotations

from collections.abc import Iterable

REASONS = (
    (0x01, 8, "Idle"), (0x02, 8, "Applications Clocks Setting"), (0x04, 8, "SW Power Cap"), (0x08, 8, "HW Slowdown"),
    (0x40, 12, "HW Thermal Slowdown"), (0x80, 12, "HW Power Brake Slowdown"), (0x10, 8, "Sync Boost"),
    (0x20, 8, "SW Thermal Slowdown"), (0x100, 8, "Display Clock Setting"),
)
COLUMN = 42
"""Where the values begin, less two."""


def _row(indent: int, name: str, value: object) -> str:
    return f"{' ' * indent + name:<{COLUMN}}: {value}"


def _errors(indent: int) -> list[str]:
    names = ("SRAM Correctable", "SRAM Uncorrectable Parity", "SRAM Uncorrectable SEC-DED", "DRAM Correctable",
             "DRAM Uncorrectable")
    return [_row(indent, name, "N/A") for name in names]


def query(cards: Iterable[tuple[str, int, int]], rows: int = 0, failed: bool = False) -> str:
    """Each card by bus address, event reasons and replays; remapped rows are alike on all."""
    listed = list(cards)
    lines = ["", "==============NVSMI LOG==============", "",
             _row(0, "Timestamp", "Sun Aug 30 09:12:44 2026"), _row(0, "Driver Version", "570.133.20"),
             _row(0, "CUDA Version", "12.8"), "", _row(0, "Attached GPUs", len(listed))]
    for bus, reasons, replays in listed:
        lines += [
            f"GPU {bus}", _row(4, "Product Name", "NVIDIA GeForce RTX 4090"), _row(4, "Persistence Mode", "Enabled"),
            "    PCI", _row(8, "Bus", f"0x{bus[9:11]}"), "        GPU Link Info", "            PCIe Generation",
            _row(16, "Max", 4), _row(16, "Current", 1), _row(8, "Replays Since Reset", replays),
            _row(8, "Replay Number Rollovers", 0), _row(4, "Fan Speed", "0 %"), _row(4, "Performance State", "P8"),
            "    Clocks Event Reasons",
            *(_row(indent, name, "Active" if reasons & bit else "Not Active") for bit, indent, name in REASONS),
            "    ECC Mode", _row(8, "Current", "Disabled"), _row(8, "Pending", "Disabled"),
            "    ECC Errors", "        Volatile", *_errors(12), "        Aggregate", *_errors(12),
            _row(12, "SRAM Threshold Exceeded", "N/A"),
            "    Retired Pages", _row(8, "Single Bit ECC", "N/A"), _row(8, "Double Bit ECC", "N/A"),
            _row(8, "Pending Page Blacklist", "N/A"),
            "    Remapped Rows", _row(8, "Correctable Error", 0), _row(8, "Uncorrectable Error", rows),
            _row(8, "Pending", "No"), _row(8, "Remapping Failure Occurred", "Yes" if failed else "No"),
            "        Bank Remap Availability Histogram", _row(12, "Max", "192 bank(s)"),
            "    Temperature", _row(8, "GPU Current Temp", "34 C"),
            _row(4, "Processes", "None"), "",
        ]
    return "\n".join(lines)

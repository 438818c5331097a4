"""What the box takes from the mains, and the 12 V of supplies that tell them.

Reads   /sys/class/hwmon of power_meter (ACPI), corsairpsu and supplies on PMBus: power*_input, power1_average,
        in*_input with in*_label (any user)
Absent  on most boxes: a supply must have a wire for it. The BMC's own reading (ipmitool dcmi power reading) takes
        longer than a run may go on beyond a limit, so it is not asked here.
By hand grep . /sys/class/hwmon/hwmon*/name; sensors power_meter-* corsairpsu-*

Regulators on boards speak PMBus too, and none of them is a supply: only chips with the names of supplies are read.
"""

from __future__ import annotations

import re

import msgspec

from boxcheck.model import Unread
from boxcheck.telemetry.cpu import HWMON
from boxcheck.telemetry.files import SysFile, names_in, text_of
from boxcheck.telemetry.readings import Named, Values

METER = "power_meter"
"""ACPI 4.0's power meter, which reads all that the box takes (Documentation/hwmon/acpi_power_meter.rst)."""
SUPPLIES = frozenset(("corsairpsu", "cffps", "cffps1", "cffps2", "dps920ab", "ipsps1", "fsp3y_ym2151e"))
"""hwmon names of supplies: Documentation/hwmon/{corsair-psu,ibm-cffps,dps920ab,inspur-ipsps1,fsp-3y}.rst."""
INPUT_POWER = re.compile(r"power total|pin\d?", re.IGNORECASE)
TWELVE = re.compile(r".*\+?12 ?v.*", re.IGNORECASE)


class SupplyReading(msgspec.Struct, frozen=True, kw_only=True):
    """What the supplies told at one moment."""

    watts: Values = ()
    """What is taken from the mains: of the meter alone where there is one, else of each supply by its chip."""
    twelve_volts: Values = ()
    """12 V outputs by their labels."""


class Supply:
    """The files of all supplies, opened once."""

    def __init__(self, root: str) -> None:
        self._power: dict[str, SysFile] = {}
        self._rails: dict[str, SysFile] = {}
        chips = names_in(root, HWMON)
        self._unlisted = chips if isinstance(chips, Unread) and chips.kind != "absent" else None
        meters: dict[str, SysFile] = {}
        for chip in () if isinstance(chips, Unread) else chips:
            name = text_of(root, f"{HWMON}/{chip}/name")
            if name == METER:
                meters[chip] = SysFile(root, f"{HWMON}/{chip}/power1_average")
            elif name in SUPPLIES:
                self._find(root, chip)
        self._power = meters or self._power

    def _find(self, root: str, chip: str) -> None:
        files = names_in(root, f"{HWMON}/{chip}")
        for file in () if isinstance(files, Unread) else files:
            if (match := re.fullmatch(r"((?:power|in)\d{1,3})_label", file)) is None:
                continue
            label = text_of(root, f"{HWMON}/{chip}/{file}")
            value = f"{HWMON}/{chip}/{match[1]}_input"
            if not isinstance(label, str):
                continue
            if file.startswith("power") and INPUT_POWER.fullmatch(label):
                self._power.setdefault(chip, SysFile(root, value))
            elif file.startswith("in") and TWELVE.fullmatch(label):
                self._rails[f"{label} {chip}"] = SysFile(root, value)

    def read(self) -> SupplyReading:
        if self._unlisted is not None:
            return SupplyReading(watts=self._unlisted, twelve_volts=self._unlisted)
        return SupplyReading(watts=_values(self._power, 1e6), twelve_volts=_values(self._rails, 1e3))

    def close(self) -> None:
        for file in (*self._power.values(), *self._rails.values()):
            file.close()


def _values(files: dict[str, SysFile], parts: float) -> tuple[Named, ...]:
    """hwmon counts in millionths of watts and thousandths of volts (Documentation/hwmon/sysfs-interface.rst). A 0 is
    what a supply without mains, or a meter that does not work, gives: nothing was read."""
    return tuple(
        Named(name, value if isinstance(value, Unread) else value / parts
              or Unread("0 is no power and no voltage of a box that runs", "malformed"))
        for name, file in files.items() if (value := file.count()) is not None)

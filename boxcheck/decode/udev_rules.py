"""Rules of udev, as far as they set owner and mode of device nodes.

    SUBSYSTEM=="kfd", KERNEL=="kfd", GROUP="render", MODE="0660"

Source: udev(7), RULES FILES.
By hand  grep -rn kfd /etc/udev/rules.d /usr/lib/udev/rules.d
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

import msgspec

_PAIR = re.compile(r'([A-Z]{1,20})(?:\{[^}"]{0,80}\})?\s{0,4}(==|!=|\+=|:=|=)\s{0,4}"([^"]{0,200})"')
LINE_LIMIT = 2000


class UdevRule(msgspec.Struct, frozen=True):
    """One rule that sets a group or a mode."""

    place: str
    line: int
    subsystem: str | None
    kernel: str | None
    """Pattern of the names it is for."""
    kernel_not: str | None
    group: str | None
    mode: int | None
    text: str

    def names(self, subsystem: str, kernel: str) -> bool:
        """Whether the rule is for a device of this subsystem and name. One that asks for neither is for none."""
        if self.subsystem is None and self.kernel is None:
            return False
        if self.subsystem is not None and not _matches(subsystem, self.subsystem):
            return False
        if self.kernel_not is not None and _matches(kernel, self.kernel_not):
            return False
        return self.kernel is None or _matches(kernel, self.kernel)


def _matches(name: str, pattern: str) -> bool:
    """udev patterns are shell globs, several joined with `|`."""
    return any(fnmatchcase(name, one) for one in pattern.split("|")[:20])


def parse_udev_rules(text: str, place: str) -> tuple[UdevRule, ...]:
    """The rules of a file that set GROUP or MODE, in order. Never raises; lines that are no rules are left out."""
    found: list[UdevRule] = []
    number = 0
    held = ""
    for line in text.splitlines()[:20000]:
        number += 1
        if line.endswith("\\"):
            held = (held + line[:-1])[:LINE_LIMIT]
            continue
        whole, held = (held + line)[:LINE_LIMIT].strip(), ""
        if not whole or whole.startswith("#") or ("GROUP" not in whole and "MODE" not in whole):
            continue
        tests: dict[tuple[str, str], str] = {}
        sets: dict[str, str] = {}
        for key, operator, value in _PAIR.findall(whole):
            if operator in ("==", "!="):
                tests[key, operator] = value
            else:
                sets[key] = value
        mode = sets.get("MODE", "")
        octal = int(mode, 8) if mode and set(mode) <= set("01234567") and len(mode) <= 5 else None
        if "GROUP" in sets or octal is not None:
            found.append(UdevRule(
                place, number, tests.get(("SUBSYSTEM", "==")), tests.get(("KERNEL", "==")),
                tests.get(("KERNEL", "!=")), sets.get("GROUP"), octal, whole[:200]))
    return tuple(found)

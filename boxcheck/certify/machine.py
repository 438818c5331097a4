"""Knows the box under test again: marks that `certify` leaves in acceptance.json, all of them hashed.

Reads   /etc/machine-id, /proc/sys/kernel/random/boot_id                     (any user)
        /sys/class/dmi/id/{product_uuid,board_serial,product_serial}         (root)
By hand cat /etc/machine-id; sudo cat /sys/class/dmi/id/board_serial

What these can tell: whether this machine says that it is that machine. A box whose owner writes other marks is not
known again, and machines that were installed from one image have one machine-id; then the serials, which root reads,
decide.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

from boxcheck.decode.smbios import meaningful
from boxcheck.engine.aftermath import boot_id
from boxcheck.engine.resume import machine_name
from boxcheck.store.errors import StoreError
from boxcheck.store.reader import RunReader

HARDWARE = ("product-uuid", "board-serial", "product-serial")
_SHARED = frozenset((
    "03000200-0400-0500-0006-000700080009",  # what AMI's firmware has where nobody wrote one
    "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"))


class Sameness(msgspec.Struct, frozen=True):
    answer: Literal["same", "other", "unknown"]
    says: str


def marks() -> dict[str, str]:
    """Of this machine: `machine-id`, `boot`, and as root `product-uuid`, `board-serial`, `product-serial`; those that
    can be read."""
    found = {"machine-id": machine_name(), "boot": _hashed("boot", boot_id())}
    for name in HARDWARE:
        with suppress(OSError, UnicodeError):
            text = meaningful((Path("/sys/class/dmi/id") / name.replace("-", "_")).read_text().strip())
            if text and text.lower() not in _SHARED:
                found[name] = _hashed(name, text.lower())
    return {name: value for name, value in found.items() if value}


def marks_of_run(path: str) -> dict[str, str]:
    """Those that the store of a run keeps of the machine that it was made on; none where it cannot be read."""
    try:
        with RunReader(path) as reader:
            run = reader.run()
    except (StoreError, OSError):
        return {}
    machine = run.info.plan.get("machine") if isinstance(run.info.plan, dict) else None
    found = {
        "machine-id": machine if isinstance(machine, str) else "",
        "boot": _hashed("boot", run.sessions[-1].boot if run.sessions else "")}
    return {name: value for name, value in found.items() if value}


def _hashed(name: str, text: str) -> str:
    return hashlib.sha256(f"boxcheck {name} {text}".encode()).hexdigest()[:16] if text else ""


def is_tested_box(there: Mapping[str, str], here: Mapping[str, str]) -> Sameness:
    """Whether the machine with the marks `here` is the box under test with the marks `there`."""
    equal = {name for name in there if there[name] and there[name] == here.get(name)}
    both = {name for name in there if there[name] and here.get(name)}
    hardware = both & set(HARDWARE)
    if "boot" in equal:
        return Sameness("same", "its kernel has been running since the test")
    if hardware & equal:
        return Sameness("same", f"its {_words(hardware & equal)} is that of the box under test")
    if hardware:
        return Sameness("other", f"its {_words(hardware)} is another than that of the box under test")
    if "machine-id" in equal:
        return Sameness("same", "its machine-id is that of the box under test")
    if "machine-id" in both:
        return Sameness("other", "its machine-id is another than that of the box under test")
    return Sameness("unknown", "the acceptance and this machine have no mark in common that could tell")


def _words(names: set[str]) -> str:
    return " and ".join(sorted(names)).replace("-", " ")

"""The framing of SMBIOS: the entry point, and one structure after another with its strings.

Source  DMTF DSP0134 (System Management BIOS Reference Specification) 3.7, sections 5.2 (entry points) and 6.1
        (structures, strings); Linux drivers/firmware/dmi_scan.c for what the kernel hands out in
        /sys/firmware/dmi/tables/{smbios_entry_point,DMI} (Linux >= 4.2, root only).

A structure is a header (type, length, handle), `length` bytes in all, then its strings, each ended by NUL, the set
ended by one more NUL. Two NULs follow a structure that has no strings. Nothing here trusts any of it: a table is
whatever the firmware, or whoever made the capture, wrote.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from boxcheck.decode.text import clean_text
from boxcheck.model import Unread

Version = tuple[int, int]

END_OF_TABLE = 127
HEADER_BYTES = 4
MAX_STRUCTURES = 0x10000
"""A handle has 16 bits and none may occur twice, so a table with more is no table."""
MAX_FAULTS = 32

# Versions that firmware is known to write wrongly, and what it means (the same list in the kernel and in dmidecode).
_WRONG_VERSIONS: dict[Version, Version] = {(2, 31): (2, 3), (2, 33): (2, 3), (2, 51): (2, 6)}

# The version of the specification that a structure of this type and length belongs to, at the least.
_LENGTH_VERSIONS: dict[int, tuple[tuple[int, Version], ...]] = {
    4: ((0x30, (3, 0)), (0x2A, (2, 6))),
    9: ((0x13, (3, 2)), (0x11, (2, 6))),
    16: ((0x17, (2, 7)),),
    17: ((0x5C, (3, 3)), (0x54, (3, 2)), (0x28, (2, 8)), (0x22, (2, 7)), (0x1C, (2, 6))),
}


class EntryPoint(msgspec.Struct, frozen=True):
    """What an entry point announces. `count` and `size_bytes` are None where it announces none, or a maximum (3.x)."""

    version: Version
    count: int | None
    size_bytes: int | None
    fault: str | None


def read_entry_point(raw: bytes) -> EntryPoint | None:
    """Decode a `_SM3_`, `_SM_` or bare `_DMI_` entry point; None when it is none of them or too short."""
    if raw.startswith(b"_SM3_") and len(raw) >= 24:
        return EntryPoint(_fixed(raw[7], raw[8]), None, None, _checksum(raw, raw[6], "_SM3_"))
    if raw.startswith(b"_SM_") and len(raw) >= 31:
        # Some 2.1 firmware writes 0x1e for its length of 0x1f (DSP0134, 5.2.1).
        length = 31 if raw[5] == 0x1E else raw[5]
        return EntryPoint(_fixed(raw[6], raw[7]), _word(raw, 28), _word(raw, 22), _checksum(raw, length, "_SM_"))
    if raw.startswith(b"_DMI_") and len(raw) >= 15:
        return EntryPoint((raw[14] >> 4, raw[14] & 15), _word(raw, 12), _word(raw, 6), _checksum(raw, 15, "_DMI_"))
    return None


def _fixed(major: int, minor: int) -> Version:
    return _WRONG_VERSIONS.get((major, minor), (major, minor))


def _word(raw: bytes, at: int) -> int:
    return int.from_bytes(raw[at : at + 2], "little")


def _checksum(raw: bytes, length: int, name: str) -> str | None:
    total = sum(raw[:length]) & 0xFF
    return f"the checksum of the {name} entry point is off by 0x{total:02x}" if total else None


class Structure(msgspec.Struct):
    """One structure: `body` is the formatted area with its header, `strings` are raw, in order, without their NULs."""

    type: int
    handle: int
    offset: int
    end: int
    """First byte after the string set."""
    body: bytes
    strings: list[bytes]
    faults: list[str]
    """Where to note what is wrong with a field; shared by the whole table."""

    def byte(self, at: int) -> int | None:
        """The byte at `at`; None when the structure ends before it."""
        return self.body[at] if at < len(self.body) else None

    def number(self, at: int, size: int) -> int | None:
        """The little-endian number of `size` bytes at `at`; None when the structure ends before its last byte."""
        return int.from_bytes(self.body[at : at + size], "little") if at + size <= len(self.body) else None

    def text(self, at: int) -> str | None:
        """The cleaned string whose number stands at `at`; None when there is none (number 0, or a short structure).

        A number beyond the structure's strings is noted among the faults and gives None as well.
        """
        number = self.byte(at)
        if not number:
            return None
        if number > len(self.strings):
            note(self.faults, f"structure 0x{self.handle:04x} (type {self.type}) names its string {number}, "
                              f"it has {len(self.strings)}")
            return None
        return clean_text(self.strings[number - 1]).strip()


def note(faults: list[str], fault: str) -> None:
    """Add `fault`, once, as long as there are not too many."""
    if len(faults) < MAX_FAULTS and fault not in faults:
        faults.append(fault)


class Table(msgspec.Struct):
    """The structures of a table in order. The end-of-table structure is among them."""

    version: Version | Unread
    structures: list[Structure]
    skipped: list[tuple[int, int, int]]
    """(type, handle, announced length) of structures whose body is not all there."""
    truncated: str | None
    faults: list[str]


def walk(table: bytes, entry: EntryPoint | None = None) -> Table:
    """Split `table` into structures. Never raises; `truncated` says why the end was not reached, or None.

    A 2.x entry point gives the number of structures, and some firmware has structures behind the end-of-table one;
    3.x, and a table with no entry point, end at type 127.
    """
    found = Table(Unread("no SMBIOS entry point", "absent"), [], [], None, [])
    count = entry.count if entry is not None else None
    ended = False
    offset = 0
    while (count is None and not ended) or (count is not None and len(found.structures) < count):
        problem = _next(table, offset, found)
        if problem is not None:
            # Behind an end-of-table structure comes padding, whatever the count says.
            found.truncated = None if ended else problem
            break
        last = found.structures[-1]
        ended = ended or last.type == END_OF_TABLE
        offset = last.end
        if len(found.structures) >= MAX_STRUCTURES:
            found.truncated = f"more than {MAX_STRUCTURES} structures"
            break
    if entry is not None:
        _compare(table, entry, found, ended)
    found.version = entry.version if entry is not None else _least_version(found.structures)
    return found


def _next(table: bytes, offset: int, found: Table) -> str | None:
    """Append the structure at `offset` to `found`; the reason when there is no whole one."""
    left = len(table) - offset
    if left == 0:
        return "the table is empty" if not table else "the table has no end-of-table structure (type 127)"
    if left < HEADER_BYTES:
        return f"the table ends inside a structure header, {left} bytes at byte {offset}"
    kind, length, handle = table[offset], table[offset + 1], _word(table, offset + 2)
    if length < HEADER_BYTES:
        return (f"the structure at byte {offset} (type {kind}) says it is {length} bytes long, a header alone takes "
                f"{HEADER_BYTES}; {left} bytes were not read")
    if length > left:
        found.skipped.append((kind, handle, length))
        return f"the structure at byte {offset} (type {kind}) says it is {length} bytes long, {left} are left"
    start = offset + length
    stop = table.find(b"\0\0", start)
    end = stop + 2 if stop >= 0 else len(table)
    region = table[start : stop if stop >= 0 else end]
    # A structure names its strings with one byte, so the 256th cannot be named.
    strings = region.split(b"\0", 255)[:255] if region else []
    found.structures.append(Structure(kind, handle, offset, end, table[offset:start], strings, found.faults))
    if stop >= 0 or kind == END_OF_TABLE:
        return None
    # The last string lost at least its end. What was read stays; the walk ends here.
    return f"the strings of the structure at byte {offset} (type {kind}) have no end"


def _compare(table: bytes, entry: EntryPoint, found: Table, ended: bool) -> None:
    """Hold what the entry point announces against what was found."""
    if entry.fault is not None:
        note(found.faults, entry.fault)
    wrong = []
    if entry.size_bytes is not None and len(table) < entry.size_bytes:
        wrong.append(f"the entry point announces {entry.size_bytes} bytes, the table has {len(table)}")
    if entry.count is not None and len(found.structures) < entry.count:
        wrong.append(f"the entry point announces {entry.count} structures, {len(found.structures)} were found")
    if not ended and found.truncated is None and wrong:
        found.truncated = wrong[0]
    # Where the end-of-table structure was reached nothing is missing: the firmware miscounted.
    for fault in wrong if ended else ():
        note(found.faults, fault)


def _least_version(structures: list[Structure]) -> Version | Unread:
    """The lowest version that has structures as long as these; Unread when they give no hint."""
    hints = [version for structure in structures
             for length, version in _LENGTH_VERSIONS.get(structure.type, ()) if len(structure.body) >= length]
    return max(hints) if hints else Unread("no SMBIOS entry point, and no structure that dates the table", "absent")


def iterate_regions(table: bytes) -> Iterator[tuple[Structure | None, int, int]]:
    """Yield (structure, start, end) for the whole of `table`, the end-of-table structure and all behind it included.

    The structure is None for a last stretch that is no whole structure. The stretches have no gaps.
    """
    offset = 0
    scratch = Table(Unread("not asked for", "absent"), [], [], None, [])
    while offset < len(table):
        scratch.structures.clear()
        _next(table, offset, scratch)
        if not scratch.structures:
            yield None, offset, len(table)
            return
        structure = scratch.structures[0]
        yield structure, offset, structure.end
        offset = structure.end

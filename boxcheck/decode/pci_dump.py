"""Hex dumps of configuration space, as `lspci -x`, `-xxx` and `-xxxx` print them."""

from __future__ import annotations

from boxcheck.decode.pci_walk import EXTENDED_BYTES

_HEX = frozenset("0123456789abcdefABCDEF")


def parse_hex_dump(text: str) -> dict[str, bytes]:
    """Configuration space by PCI address (`0000:41:00.0`, the domain added where the text has none).

    Other lines may stand between, before and after: `lspci -vvxxxx`, a mail that quotes it. A dump holds the bytes up
    to its first gap or malformed row, so that what is missing is missing from the end, as in a short read. Functions
    without a row of bytes are left out; of two dumps of one function the last counts. Any text is taken without error.
    """
    spaces: dict[str, bytearray] = {}
    current: bytearray | None = None
    for line in text.splitlines():
        stripped = line.lstrip("> \t")
        address = _address(stripped)
        if address is not None:
            current = spaces[address] = bytearray()
            continue
        if current is None:
            continue
        head, colon, rest = stripped.partition(":")
        if not colon or not 2 <= len(head) <= 3 or not _HEX.issuperset(head):
            continue
        # A row out of order ends this function's dump: its bytes would land at the wrong offsets.
        row = _row(rest) if int(head, 16) == len(current) else b""
        current += row
        if len(row) < 16 or len(current) >= EXTENDED_BYTES:
            current = None
    return {address: bytes(data) for address, data in spaces.items() if data}


def _row(rest: str) -> bytes:
    """The bytes of a row, up to the first word that is not two hex digits, 16 at most."""
    values = []
    for word in rest.split(None, 16)[:16]:
        if len(word) != 2 or not _HEX.issuperset(word):
            break
        values.append(int(word, 16))
    return bytes(values)


def _address(line: str) -> str | None:
    """`0000:41:00.0` of a line that starts with a PCI address (`41:00.0 VGA ...`, `10000:e1:00.0 ...`), else None."""
    word = line.split(" ", 1)[0]
    parts = word.rstrip().split(":")
    if len(parts) not in (2, 3):
        return None
    slot, dot, function = parts[-1].partition(".")
    bus = parts[-2]
    domain = parts[0] if len(parts) == 3 else "0000"
    if not dot or len(slot) != 2 or len(bus) != 2 or not 4 <= len(domain) <= 8 or function not in tuple("01234567"):
        return None
    if not _HEX.issuperset(slot + bus + domain) or int(slot, 16) > 0x1F:
        return None
    return f"{domain}:{bus}:{slot}.{function}".lower()

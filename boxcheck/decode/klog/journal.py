"""A journal's records of many lines (`-o export`, `-o verbose`, `-o json-pretty`), each made one line of `-o json`.

    __REALTIME_TIMESTAMP=1756765529123456          {
    PRIORITY=3                                             "PRIORITY" : "3",
    _TRANSPORT=kernel                                      "_TRANSPORT" : "kernel",
    MESSAGE=NVRM: Xid (PCI:0000:41:00): 79                 "MESSAGE" : "NVRM: Xid (PCI:0000:41:00): 79"
                                                   }

The line stands where the record's MESSAGE began, empty lines where its others were, so that line numbers hold. A value
with control characters is binary in the export format: the name alone, 64 bits of length (little endian), the bytes.
Source: systemd's docs/JOURNAL_EXPORT_FORMATS.md.
"""

from __future__ import annotations

import re

import msgspec

# `-o verbose` puts blanks before the names, and a line with the time before the record.
_EXPORT = re.compile(rb"[ ]{0,8}(_{0,2}[A-Z][A-Z0-9_]{0,63})(=|$)")
_PRETTY = re.compile(rb'[ \t]{1,8}"(_{0,2}[A-Z][A-Z0-9_]{0,63})" : ')
_WANTED = frozenset((
    b"MESSAGE", b"PRIORITY", b"_TRANSPORT", b"SYSLOG_IDENTIFIER", b"_SOURCE_MONOTONIC_TIMESTAMP",
    b"__REALTIME_TIMESTAMP", b"_BOOT_ID",
))
_MAX_VALUE_BYTES = 8 * 1024
_MAX_RECORD_LINES = 400
_HEAD_LINES = 12


def looks_like_records(head: bytes) -> bool:
    """Whether a text that begins so is such an export: most of its first lines are fields of a record."""
    lines = [line.rstrip(b"\r") for line in head[:16 * 1024].split(b"\n")[:_HEAD_LINES] if line.strip()]
    if len(lines) < 2:
        return False
    if lines[0].strip() == b"{":
        return _PRETTY.match(lines[1]) is not None
    export = sum(1 for line in lines if (found := _EXPORT.match(line)) is not None and found[2] == b"=")
    pretty = sum(1 for line in lines if _PRETTY.match(line) is not None)
    return max(export, pretty) * 3 >= len(lines) * 2 and max(export, pretty) >= 2


class Records:
    """Turns records into lines, in pieces."""

    def __init__(self) -> None:
        self._rest = b""
        self._fields: dict[str, str] = {}
        self._lines = 0
        """Lines of the record that is open."""
        self._message_line = 0
        self._binary: bytes | None = None
        """Name of the field whose binary value comes next."""
        self._array: tuple[bytes, list[bytes]] | None = None
        """A json-pretty value that is an array of bytes, over several lines."""

    def feed(self, data: bytes) -> bytes:
        """Whole records of what came so far, as lines."""
        data = self._rest + data
        out: list[bytes] = []
        at = 0
        while True:
            if self._binary is not None:
                after = self._take_binary(data, at)
                if after < 0:
                    break
                at = after
                continue
            end = data.find(b"\n", at)
            if end < 0:
                if len(data) - at > 4 * _MAX_VALUE_BYTES:
                    # One endless line: it is handed on as it is, in parts.
                    out.append(data[at:])
                    at = len(data)
                break
            self._line(data[at:end].rstrip(b"\r"), out)
            at = end + 1
        self._rest = data[at:]
        return b"".join(out)

    def finish(self) -> bytes:
        """The last record, cut or not."""
        out: list[bytes] = []
        if self._rest:
            self._binary = None
            self._line(self._rest, out)
            self._rest = b""
        self._close(out)
        return b"".join(out)

    def _line(self, line: bytes, out: list[bytes]) -> None:
        if self._array is not None:
            self._lines += 1
            self._array[1].append(line)
            if b"]" in line or len(self._array[1]) > _MAX_VALUE_BYTES:
                self._take_array()
            return
        bare = line.strip()
        if bare in (b"", b"{", b"}", b"},", b"[", b"]", b"},{", b"}{"):
            self._lines += 1
            if self._fields or bare != b"{":
                self._close(out)
            return
        found = _EXPORT.match(line)
        if found is not None:
            self._lines += 1
            if found[2]:
                self._keep(found[1], line[found.end():found.end() + _MAX_VALUE_BYTES].decode("utf-8", "replace"))
            elif found.end() == len(line):
                self._binary = found[1]
        elif (found := _PRETTY.match(line)) is not None:
            self._lines += 1
            value = line[found.end():].rstrip().removesuffix(b",")
            if value.startswith(b"[") and b"]" not in value:
                self._array = (found[1], [value])
            else:
                self._keep(found[1], _pretty_value(value[:_MAX_VALUE_BYTES]))
        else:
            # Something else between the records, such as a prompt or another paste.
            self._close(out)
            out.append(line + b"\n")
            return
        if self._lines >= _MAX_RECORD_LINES:
            self._close(out)

    def _keep(self, name: bytes, value: str) -> None:
        if name in _WANTED:
            if name == b"MESSAGE":
                self._message_line = self._lines - 1
            self._fields[name.decode()] = value

    def _take_array(self) -> None:
        if self._array is not None:
            name, parts = self._array
            self._array = None
            self._keep(name, _pretty_value(b" ".join(parts).rstrip().removesuffix(b",")))

    def _take_binary(self, data: bytes, at: int) -> int:
        """Read a binary value; -1 while it is not here whole."""
        if self._binary is None or len(data) - at < 8:
            return -1
        size = int.from_bytes(data[at:at + 8], "little")
        name = self._binary
        if size > _MAX_VALUE_BYTES:
            # No message is so long: a text that was taken for a name of a field, or a core dump.
            self._binary = None
            return at
        if len(data) - at < 8 + size + 1:
            return -1
        value = data[at + 8:at + 8 + size]
        self._binary = None
        self._keep(name, value.decode("utf-8", "replace"))
        self._lines += data.count(b"\n", at, at + 8 + size + 1)
        return at + 8 + size + 1

    def _close(self, out: list[bytes]) -> None:
        """Give the record out as one line of JSON, and empty lines for the rest of it."""
        self._take_array()
        lines, fields, place = self._lines, self._fields, self._message_line
        self._lines, self._fields, self._message_line = 0, {}, 0
        if "MESSAGE" not in fields:
            out.append(b"\n" * lines)
            return
        out.append(b"\n" * place + msgspec.json.encode(fields) + b"\n" * max(lines - place, 1))


def _pretty_value(text: bytes) -> str:
    """A JSON value: a string, or the bytes of one as an array of numbers."""
    try:
        value = msgspec.json.decode(text, type=str | list[int] | None)
        return value if isinstance(value, str) else bytes(value or ()).decode("utf-8", "replace")
    except (msgspec.DecodeError, ValueError):
        return text.decode("utf-8", "replace")

"""Reads the text archives in which the procfs project keeps its test data, and writes them as tars.

Format: `Path: NAME`, then `SymlinkTo: TARGET` or `Lines: N` and N lines, then `Mode: OCTAL`; `Directory: NAME`; lines
of dashes and `#` between. In content NULLBYTE and EOF stand for a zero byte and a missing last line end; a backslash
guards them.
"""

from __future__ import annotations

import io
import re
import tarfile


def to_tar(text: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        lines = iter(text.split("\n"))
        for line in lines:
            word, _, rest = line.partition(": ")
            if word == "Directory":
                entry = tarfile.TarInfo(rest)
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(entry)
            elif word == "Path":
                entry = tarfile.TarInfo(rest)
                word, _, rest = next(lines).partition(": ")
                if word == "SymlinkTo":
                    entry.type, entry.linkname = tarfile.SYMTYPE, rest
                    archive.addfile(entry)
                else:
                    data = _content("\n".join(next(lines) for _ in range(int(rest))))
                    entry.size = len(data)
                    archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def _content(text: str) -> bytes:
    whole = text.removesuffix("EOF") if text.endswith("EOF") and not text.endswith("\\EOF") else text + "\n"
    return re.sub(r"(?<!\\)NULLBYTE", "\0", whole).replace("\\NULLBYTE", "NULLBYTE").encode()

"""Faults put into portable sources, one at a time: what the test must see, or it proves nothing.

They are found in the text, so a kernel that is added gets its own: each barrier is taken out, each `<` becomes `<=`, each
atomic count becomes an ordinary one, and each record goes to the same place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from boxcheck.kernels import Source, text_of

CHANGES = (
    # What is found, what it becomes, what must be told. Nothing: any message, or a wrong result, will do.
    ("BC_BARRIER();", "", "data race"),
    (" < ", " <= ", ""),
    ("BC_COUNT(&errors[0])", "errors[0]++", "data race"),
    ("BC_COUNT(&errors[0])", "0u * BC_COUNT(&errors[0])", "data race"),
)


class Mutant(msgspec.Struct, frozen=True):
    function: str
    line: int
    """In the file."""
    words: str
    """Of that line, as it was."""
    change: str
    source: Source
    kernels: tuple[str, ...]
    """That may show it: the kernel, or all of the source where it is in a function."""
    sign: str

    @property
    def name(self) -> str:
        return f"{self.source.name}:{self.line} {self.function}: {self.change}"


def mutants(source: Source) -> Iterator[Mutant]:
    """Every change of the file's own text; what stands before it is left alone."""
    file, lines = text_of(source.name), text_of(source.name).splitlines()
    declared = tuple(kernel.name for kernel in source.kernels)
    for old, new, sign in CHANGES:
        for found in re.finditer(re.escape(old), file):
            if function := function_at(file, found.start()):
                line = file.count("\n", 0, found.start()) + 1
                changed = file[:found.start()] + new + file[found.end():]
                yield Mutant(
                    function, line, lines[line - 1].strip(), f"{old.strip()} becomes {new.strip() or 'nothing'}",
                    msgspec.structs.replace(source, text=source.text.replace(file, changed)),
                    (function,) if function in declared else declared, sign)


def function_at(file: str, at: int) -> str:
    """The function or kernel whose text holds this place; empty before the first."""
    heads = re.finditer(r"^BC_(?:KERNEL\((\w+)\)|FN [^(\n]*?(\w+)\()", file, re.MULTILINE)
    return next((head[1] or head[2] for head in reversed(list(heads)) if head.start() <= at), "")

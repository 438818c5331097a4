"""Line numbers of the keys of a TOML text, for error messages. tomllib gives none.

The text has been parsed by tomllib before, so it is well formed; on anything else the map is merely incomplete.
"""

from __future__ import annotations

from collections.abc import Mapping

Path = tuple[str | int, ...]

_SPACE = " \t"
_WHITE = " \t\r\n"


class _Scanner:
    """Walks over the text once. `at` never goes back."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.end = len(text)
        self.at = 0
        self.line = 1
        self.lines: dict[Path, int] = {}
        self.table: Path = ()
        self.arrays: dict[Path, int] = {}

    def run(self) -> dict[Path, int]:
        while self.at < self.end:
            start = self.at
            self.skip(_WHITE)
            if self.at >= self.end:
                break
            if self.text[self.at] == "#":
                self.skip_line()
            elif self.text[self.at] == "[":
                self.header()
            else:
                self.pair()
            if self.at == start:
                self.step()
        return self.lines

    def step(self, count: int = 1) -> None:
        self.line += self.text.count("\n", self.at, self.at + count)
        self.at += count

    def skip(self, characters: str) -> None:
        while self.at < self.end and self.text[self.at] in characters:
            self.step()

    def skip_line(self) -> None:
        newline = self.text.find("\n", self.at)
        self.at = self.end if newline < 0 else newline

    def header(self) -> None:
        line = self.line
        many = self.text.startswith("[[", self.at)
        self.step(2 if many else 1)
        keys = self.keys("]")
        self.step(2 if many else 1)
        path: Path = ()
        for key in keys[:-1]:
            path = self.element((*path, key))
        path = (*path, *keys[-1:])
        if many:
            self.arrays[path] = self.arrays.get(path, -1) + 1
            self.lines.setdefault(path, line)
            path = (*path, self.arrays[path])
        self.lines.setdefault(path, line)
        self.table = path

    def element(self, path: Path) -> Path:
        """`source` is the newest element of [[source]] in a header that goes on below it."""
        return (*path, self.arrays[path]) if path in self.arrays else path

    def pair(self) -> None:
        line = self.line
        keys = self.keys("=")
        self.step()
        path = self.table
        for key in keys:
            path = (*path, key)
            self.lines.setdefault(path, line)
        self.skip(_SPACE)
        self.value(path)

    def keys(self, stop: str) -> tuple[str, ...]:
        """The parts of a dotted key up to `stop` or the end of the line."""
        found: list[str] = []
        plain = ""
        while self.at < self.end and self.text[self.at] not in stop + "\n":
            character = self.text[self.at]
            if character in "\"'":
                plain = _unescaped(self.string())
                continue
            if character == ".":
                found.append(plain)
                plain = ""
            elif character not in _WHITE:
                plain += character
            self.step()
        return (*found, plain)

    def string(self) -> str:
        """Passes over a string of any of the four kinds. Escapes are left as they stand."""
        quote = self.text[self.at]
        mark = quote * 3 if self.text.startswith(quote * 3, self.at) else quote
        self.step(len(mark))
        start = self.at
        while self.at < self.end and not self.text.startswith(mark, self.at):
            self.step(2 if quote == '"' and self.text[self.at] == "\\" else 1)
        stop = self.at
        self.step(len(mark))
        # A multi-line string may end in one or two more quotes that belong to it.
        while len(mark) == 3 and self.at < self.end and self.text[self.at] == quote:
            self.step()
        return self.text[start:stop]

    def value(self, path: Path) -> None:
        """Passes over a value, and notes the lines of the elements of an array."""
        if self.at < self.end and self.text[self.at] in "\"'":
            self.string()
            return
        array = self.at < self.end and self.text[self.at] == "["
        depth = 0
        index = 0
        fresh = False
        while self.at < self.end:
            character = self.text[self.at]
            if character == "\n" and depth == 0:
                return
            if character == "#":
                self.skip_line()
                continue
            if fresh and character not in _WHITE + "]":
                self.lines.setdefault((*path, index), self.line)
                fresh = False
            if character in "\"'":
                self.string()
                continue
            if character in "[{":
                depth += 1
                fresh = array and depth == 1
            elif character in "]}":
                depth -= 1
            elif character == "," and depth == 1:
                index += 1
                fresh = array
            self.step()


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    import tomllib

    try:
        return str(tomllib.loads(f'key = "{text}"')["key"])
    except ValueError:
        return text


def line_map(text: str) -> Mapping[Path, int]:
    """Line (from 1) of every table, key and array element: `("source", 0, "from")` -> 12."""
    return _Scanner(text).run()


def line_of(lines: Mapping[Path, int], path: Path) -> int:
    """Line of a path, or of the nearest thing above it; 1 for the file itself."""
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return 1

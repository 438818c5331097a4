"""Words that redaction must leave alone, because boxcheck itself reads them.

A user may be called `data`, `link` or `dev`, a host `nvidia`. Replaced wherever it stands, such a name would rename
drivers, directories and what the kernel says of a link, and a redacted capture would be judged differently. So a name
that is a word of boxcheck's own parsers, checks and profiles, or of the capture's own directories, goes only where it
stands as a name: in /etc/passwd, in /home/NAME, before an @.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import boxcheck

_WORD = re.compile(r"[a-z0-9]+")
_OWNED = re.compile(r"/dev/(?:mapper|disk|md)/|/(?:home|media|run/media|root|mnt)/")


@cache
def _corpus() -> str:
    """All that boxcheck knows: its sources and its profiles, in lower case."""
    package = Path(boxcheck.__file__).parent
    places = [*package.rglob("*.py"), *package.rglob("*.toml"), *(package.parent / "profiles").glob("*.toml")]
    return "\n".join(path.read_text(encoding="utf-8").lower() for path in sorted(places))


@cache
def _words() -> frozenset[str]:
    return frozenset(_WORD.findall(_corpus()))


class Vocabulary:
    def __init__(self) -> None:
        self._local: set[str] = set()

    def learn(self, paths: Iterable[str]) -> None:
        """Takes in the words of a capture's paths, save where people name things."""
        for path in paths:
            if path.startswith(("/sys/", "/proc/", "/dev/", "/etc/")) and not _OWNED.search(path):
                self._local.update(_WORD.findall(path.lower()))

    def is_word(self, name: str) -> bool:
        """Whether a name is a word, or words, that are needed as they are."""
        parts = _WORD.findall(name.lower())
        return all(part in self._local or part in _words() for part in parts)

    def holds(self, text: str) -> bool:
        """Whether boxcheck itself says this text somewhere."""
        return text.lower() in _corpus()

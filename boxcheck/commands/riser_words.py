"""Words of the command line of `boxcheck riser`."""

from __future__ import annotations

from collections.abc import Mapping

from boxcheck.usage import UsageError

LABEL_LETTERS = 40


def pairs_of(name: str, words: tuple[str, ...]) -> Mapping[str, str]:
    """`SLOT=LABEL` words."""
    found: dict[str, str] = {}
    for word in words:
        slot, equals, label = word.partition("=")
        slot, label = slot.strip(), label.strip()
        if not equals or not slot or not label or not label.isprintable() or len(label) > LABEL_LETTERS:
            raise UsageError(f"{name} {word[:60]!r}: is no SLOT=LABEL", f"as in {name} PCIE3=R3")
        found[slot] = label
    return found

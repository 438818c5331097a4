"""How many GPUs a text lists, and whether that is known to be all that its tool would list: for `Evidence.readings`.

`whole` decides whether one tool's count may be held against another's, so it is true only where the text shows its
beginning and its end.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence


def listing(devices: Collection[object], *, whole: bool = False) -> dict[str, int | bool]:
    """Programs of CUDA and HIP list what they may see: never whole."""
    return {"gpus": len(devices), "whole": whole} if devices else {}


def in_order(numbers: Sequence[int | None]) -> bool:
    """Whether they are numbered 0, 1, 2 ..., none left out."""
    return list(numbers) == list(range(len(numbers)))


def ends_alike(lines: Sequence[str], starts: Sequence[int]) -> bool:
    """Whether the last block of `Name: value` lines holds what the one before it ends with; a single block may be what
    an option chose."""
    if len(starts) < 2:
        return False
    before = [_name(line) for line in lines[starts[-2]:starts[-1]] if line.strip()]
    return bool(before) and before[-1] in {_name(line) for line in lines[starts[-1]:]}


def _name(line: str) -> str:
    return " ".join(line[:200].partition(":")[0].split())

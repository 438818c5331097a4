"""`python -m tests.tui.snapshots --write` writes the pictures again; without it, says which are no longer as they were."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from boxcheck.tui.frame import Frame
from tests.tui.picturing import colours, pictures
from tests.tui.runs import made
from tests.tui.showing import Still, app_over, frame_of

HERE = Path(__file__).parent
SMALL, MEDIUM, LARGE = (80, 24), (120, 34), (200, 60)


SIZES = (SMALL, MEDIUM, LARGE)


class Scene(NamedTuple):
    """One screen over one run, at several sizes."""

    run: str
    sizes: tuple[tuple[int, int], ...] = SIZES
    keys: tuple[str, ...] = ()
    ascii: bool = False
    light: bool = False
    what: str = ""
    """What tells it from others of the same run."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(
            "-".join(part for part in (self.run, self.what, f"{width}x{height}") if part) for width, height in self.sizes)


SCENES = (
    *(Scene(run) for run in (
        "all-well", "failing", "stale", "lost", "marginal", "finished", "crashed", "sixteen", "no-gpu")),
    *(Scene(run, keys=("b",), what="big") for run in (
        "all-well", "finished", "marginal", "failing", "failed", "stale", "crashed", "stopped")),
    Scene("failing", keys=("l",), ascii=True, what="ascii"),
    Scene("failing", (MEDIUM,), ("m",), what="copies"), Scene("failing", (MEDIUM,), light=True, what="light"),
    Scene("failing", (MEDIUM,), ("question_mark",), what="help"))


async def taken(one: Scene, path: str, frame: Frame) -> list[str]:
    """The pictures of a scene, in the order of its sizes."""
    with colours(not one.ascii):
        app = app_over(
            Still(path, frame), ascii=one.ascii, light=one.light, color=not one.ascii, stop=lambda path: "told")
        return await pictures(app, one.sizes, one.keys, titles=one.names)


def main(write: bool) -> int:
    changed = []
    with tempfile.TemporaryDirectory() as folder:
        for run in dict.fromkeys(one.run for one in SCENES):
            with made(run, f"{folder}/{run}") as burning:
                frame = frame_of(burning)
                for one in SCENES:
                    if one.run != run:
                        continue
                    for name, svg in zip(one.names, asyncio.run(taken(one, burning.path, frame)), strict=True):
                        place = HERE / f"{name}.svg"
                        if not place.exists() or place.read_text(encoding="utf-8") != svg:
                            changed.append(name)
                            if write:
                                place.write_text(svg, encoding="utf-8")
    if write:
        known = {f"{name}.svg" for one in SCENES for name in one.names}
        for place in HERE.glob("*.svg"):
            if place.name not in known:
                place.unlink()
    for name in changed:
        print(f"{'written' if write else 'not as it was'}: {name}")
    return 0 if write or not changed else 1


if __name__ == "__main__":
    raise SystemExit(main("--write" in sys.argv[1:]))

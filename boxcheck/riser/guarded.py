"""What an experiment gives, also where it is refused, or broken off by Ctrl-C or a link that did not come back."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from boxcheck.riser.account import Tried
from boxcheck.riser.evidence import Look
from boxcheck.riser.links.ports import Refused


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What one experiment gave."""

    looks: tuple[Look, ...] = ()
    tried: tuple[Tried, ...] = ()
    eye: tuple[str, ...] = ()


class Found:
    """What one experiment has found so far: kept also where it is broken off."""

    def __init__(self) -> None:
        self.looks: list[Look] = []
        self.tried: list[Tried] = []
        self.eye: tuple[str, ...] = ()

    def done(self) -> Iterator[Done]:
        if self.looks or self.tried or self.eye:
            yield Done(looks=tuple(self.looks), tried=tuple(self.tried), eye=self.eye)


def guarded(name: str, run: Callable[[Found], None]) -> Iterator[Done]:
    found = Found()
    try:
        run(found)
    except Refused as refused:
        found.tried.append(Tried(name=name, done=False, says=refused.says, help=refused.help))
    except BaseException:
        yield from found.done()
        raise
    yield from found.done()

"""How the restoration of a link ended, in words: all as before, or what is not and what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from boxcheck.model import Unread
from boxcheck.riser.links.link_state import TARGET, Now, link_now
from boxcheck.riser.links.ports import LinkPair, Ports
from boxcheck.riser.links.snapshot import Difference, Snapshot
from boxcheck.riser.links.speed_control import effective_code
from boxcheck.riser.links.training import COMMAND_LIVE, command_of

COLD_BOOT = "shut down, switch the supply off for 10 s and start again: a cold boot sets the link anew"

Load = Callable[[Callable[[], None]], object]
"""Keeps a link busy for a while, and calls what it is given a few times meanwhile."""

Outcome = Literal[
    "restored",  # all as before, and the link as good as before
    "rests",  # all settings as before, the link slower, and nobody loaded the card to tell whether it rests
    "differs",  # a setting could not be put back
    "slow", "narrow", "down",  # the settings are back, the link is not
    "gone",  # the port does not answer
]


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """How a restoration ended."""

    outcome: Outcome
    says: str
    """One sentence."""
    help: str = ""
    differs: tuple[str, ...] = ()
    """Settings that are not as they were, a clause each."""
    refused: tuple[str, ...] = ()
    """Writes that were not let through."""

    @property
    def complete(self) -> bool:
        """All settings are as they were, and nothing speaks against the link being so too."""
        return self.outcome in ("restored", "rests")


def told(
    ports: Ports, pair: LinkPair, before: Snapshot, left: tuple[Difference, ...], refused: tuple[str, ...],
    reached: Now | None, trained: bool,
) -> Restored:
    now, command = link_now(ports, pair), command_of(ports, pair)
    was_up = before.width > 0 and before.speed_gts is not None
    was = f"x{before.width} at {before.speed_gts:g} GT/s" if was_up else "down"
    differs = tuple(one.says(pair) for one in left if not _harmless(one, pair))

    def ended(outcome: Outcome, says: str) -> Restored:
        return Restored(outcome=outcome, says=says, help="" if outcome == "restored" else COLD_BOOT, differs=differs,
                        refused=refused)

    if isinstance(now, Unread) or reached is None:
        why = now.why if isinstance(now, Unread) else "it shows no link"
        return ended("gone", f"the port of {pair.name} stopped answering ({why})")
    if was_up and (not now.up or (pair.card is not None and command is None)):
        what = "is down" if not now.up else f"is {now.says} and the card does not answer"
        tried = "; retraining it did not help" if trained else ""
        return ended("down", f"the link of {pair.name} {what}; it was {was}{tried}")
    if before.command is not None and before.command & COMMAND_LIVE and not (command or 0) & COMMAND_LIVE:
        return ended("down", f"the link of {pair.name} went down and came back {now.says}, and the card was reset by"
                     " that: no driver can use it as it is")
    if differs:
        return ended("differs", f"the link of {pair.name} is {now.says}, and not all of it is as it was: "
                     f"{'; '.join(differs)}")
    worse: Outcome | None = "narrow" if reached.width < before.width else (
        "slow" if (reached.speed_gts or 0.0) < (before.speed_gts or 0.0) else None)
    if was_up and worse is not None:
        return ended(worse, f"the settings of {pair.name} are as they were, and its link came back {reached.says};"
                     f" it was {was}")
    return ended("restored", f"{pair.name} is as it was: {now.says}")


def _harmless(one: Difference, pair: LinkPair) -> bool:
    """A target above what both ends can do, which the kernel rounds down: the link aims for the same speed."""
    if (one.end, one.name) != ("port", "LnkCtl2") or not isinstance(one.was, int) or not isinstance(one.now, int):
        return False
    return not (one.was ^ one.now) & ~TARGET and effective_code(pair, one.was & TARGET) == effective_code(
        pair, one.now & TARGET)

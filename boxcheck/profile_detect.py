"""Which shipped profile is this machine? Pure: facts in, a name or the reason why there is none out.

A profile says in [match] by what it is recognised: board, product, processor (globs over what the firmware and the
kernel say), sockets, how much memory, and how many of its GPUs may be there. A card that is missing must not hide what
box this is, so the number is a range; GPUs are counted by id, since one card of the wrong revision is a fault of the
box and not another box.
A sign that was not read decides nothing: two profiles that it could tell apart leave the box ambiguous.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

import msgspec

from boxcheck.model import Unread
from boxcheck.profile import Profile, shipped_profiles

if TYPE_CHECKING:
    from boxcheck.engine.inspect import Facts
    from boxcheck.probes.memory import Memory

Sign = Literal["yes", "no", "unread"]

GIB = 1 << 30
MODULE = 8 * GIB
"""No box that a profile tells apart by memory has smaller modules."""
WORDS = {"board": "board name", "product": "product name", "cpu": "processor", "sockets": "number of sockets"}


class SeenGpu(msgspec.Struct, frozen=True):
    pci_id: str
    key: str | None
    """Key of gpus.toml, None for a card (or a revision) that it does not know."""


class BoxSigns(msgspec.Struct, frozen=True):
    """What a box is recognised by. A name is None where the firmware gives none."""

    board: str | None | Unread = None
    product: str | None | Unread = None
    cpu: str | None | Unread = None
    sockets: int | Unread = 1
    gpus: tuple[SeenGpu, ...] | Unread = ()
    memory_gib: float | Unread = Unread("memory was not asked for", "unsupported")
    """Main memory that is fitted."""


class Detection(msgspec.Struct, frozen=True):
    """`name` is None when no profile matches, or more than one; `candidates` are those that could be meant."""

    name: str | None
    why: str
    candidates: tuple[str, ...] = ()
    near: tuple[str, ...] = ()
    """Where no profile matches: those with these cards against which the fewest things speak."""


class _Match(msgspec.Struct, frozen=True):
    profile: Profile
    signs: dict[str, Sign]
    found: int

    @property
    def exact(self) -> bool:
        return self.found in (self.profile.gpus.count, self.profile.gpus.planned)

    @property
    def score(self) -> int:
        return sum(sign == "yes" for sign in self.signs.values()) + self.exact

    @property
    def best_score(self) -> int:
        """What the score would be if everything that was not read spoke for the profile."""
        return self.score + sum(sign == "unread" for sign in self.signs.values())

    @property
    def named(self) -> bool:
        """Whether the firmware names this very board or product."""
        return "yes" in (self.signs.get("board"), self.signs.get("product"))

    @property
    def grounds(self) -> str:
        """What speaks for it: `wopr-7x4090 by board name and 6 of 7 cards`."""
        words = [WORDS[name] for name, sign in self.signs.items() if sign == "yes"]
        count = self.profile.gpus.count or self.found
        return f"{self.profile.name} by {_and([*words, f'{self.found} of {count} cards'])}"

    @property
    def cards(self) -> str:
        ids = " or ".join(dict.fromkeys(pci_id for part in self.profile.gpus.parts for pci_id in part.pci_ids))
        count = self.profile.gpus.count
        return f"{self.found} x {ids}" if self.exact or count is None else f"{self.found} of {count} x {ids}"


def signs_of(facts: Facts) -> BoxSigns:
    """The signs, out of all the facts of a machine."""
    from boxcheck.probes.cpu import Cpu
    from boxcheck.probes.dmi import Dmi
    from boxcheck.probes.gpus import Gpus
    from boxcheck.probes.memory import Memory

    dmi, cpu, gpus, memory = facts.of(Dmi), facts.of(Cpu), facts.of(Gpus), facts.of(Memory)
    seen: tuple[SeenGpu, ...] | Unread
    if isinstance(gpus, Unread):
        seen = gpus
    elif gpus.unreadable is not None:
        seen = gpus.unreadable
    else:
        seen = tuple(SeenGpu(gpu.pci_id, gpu.part.key if gpu.part else None) for gpu in gpus.gpus)
    return BoxSigns(
        board=dmi if isinstance(dmi, Unread) else dmi.board_name,
        product=dmi if isinstance(dmi, Unread) else dmi.product_name,
        cpu=cpu if isinstance(cpu, Unread) else cpu.model,
        sockets=cpu if isinstance(cpu, Unread) else cpu.sockets,
        gpus=seen,
        memory_gib=memory if isinstance(memory, Unread) else _fitted_gib(memory),
    )


def _fitted_gib(memory: Memory) -> float | Unread:
    """What the firmware lists; without its table (it needs root) what the kernel has and what a GPU was given of it.
    That lacks what firmware and kernel took for themselves, so it is rounded up to whole modules."""
    if not isinstance(memory.installed_bytes, Unread):
        return memory.installed_bytes / GIB
    parts = (memory.total_bytes, memory.carve_out_bytes)
    unread = next((part for part in parts if isinstance(part, Unread)), None)
    if unread is not None:
        return unread
    return -(-sum(part for part in parts if isinstance(part, int)) // MODULE) * MODULE / GIB


def detect(facts: Facts) -> Detection:
    """The shipped profile that these facts belong to. Raises ProfileError only when a shipped profile is damaged."""
    from boxcheck.profile_resolve import outline

    return detect_signs(signs_of(facts), [outline(name) for name in shipped_profiles()])


def detect_signs(seen: BoxSigns, profiles: Sequence[Profile]) -> Detection:
    if isinstance(seen.gpus, Unread):
        return Detection(None, f"the GPUs were not read: {seen.gpus.why}")
    if not seen.gpus:
        return _without_cards(seen, profiles, "no GPU of a known box")
    matches = [match for profile in profiles if (match := _match(seen, seen.gpus, profile)) is not None]
    if not matches:
        if not _known_cards(seen.gpus, profiles):
            return _without_cards(seen, profiles, f"{_describe(seen)}: no GPU of a known box")
        near = _nearest(seen, seen.gpus, profiles)
        shown = ", ".join(f"{name} but for {_and(words)}" for name, words in list(near.items())[:MOST_NEAR])
        return Detection(None, f"{_describe(seen)}: no profile matches{f'; near: {shown}' if shown else ''}",
                         near=tuple(near))
    matches.sort(key=lambda match: match.score, reverse=True)
    best = matches[0]
    # A card more or less says little: what the firmware calls the board is not outvoted by the right number of them.
    rivals = [match for match in matches[1:] if match.best_score >= best.score or (match.named and not best.named)]
    if rivals:
        return _ambiguous([best, *rivals])
    identified = [WORDS[name] for name, sign in best.signs.items() if sign == "yes"]
    unread = [WORDS[name] for name, sign in best.signs.items() if sign == "unread"]
    if unread and not identified:
        return Detection(None, f"{best.cards}: could be {best.profile.name}; {_and(unread)} not read",
                         (best.profile.name,))
    return Detection(best.profile.name, f"matched by {_and([*identified, best.cards])}", (best.profile.name,))


def _without_cards(seen: BoxSigns, profiles: Sequence[Profile], why: str) -> Detection:
    """A box that has none of the cards of any profile: near is one whose GPU is part of the processor that is here.
    Boards that cards are plugged into are in boxes of all kinds."""
    near = [
        profile for profile in profiles
        if profile.gpus.integrated and (signs := _signs(seen, profile)).get("cpu") == "yes"
        and "no" not in signs.values() and _fits_memory(seen, profile)
    ]
    shown = ", ".join(f"{profile.name} but for its GPU" for profile in near[:MOST_NEAR])
    return Detection(None, f"{why}{f'; near: {shown}' if shown else ''}",
                     near=tuple(profile.name for profile in near))


def _ambiguous(matches: Sequence[_Match]) -> Detection:
    names = tuple(match.profile.name for match in matches)
    unread = dict.fromkeys(
        WORDS[name] for match in matches for name, sign in match.signs.items() if sign == "unread")
    even = len({match.score for match in matches}) == 1
    grounds = "; ".join(match.grounds for match in matches)
    why = f"{matches[0].cards}: {' and '.join(names)} match{' equally' if even else ''} ({grounds}); {CHOOSE}"
    if unread:
        why = f"{matches[0].cards}: could be {' or '.join(names)}; {_and(list(unread))} not read; {CHOOSE}"
    return Detection(None, why, names)


CHOOSE = "say which was built with --profile NAME"
MOST_NEAR = 3
"""Profiles that came near, named where none matches."""


def _nearest(seen: BoxSigns, gpus: Sequence[SeenGpu], profiles: Sequence[Profile]) -> dict[str, list[str]]:
    """The profiles with these cards that the fewest things speak against, and what these are."""
    against = {profile.name: words for profile in profiles if (words := _against(seen, gpus, profile))}
    fewest = min((len(words) for words in against.values()), default=0)
    return {name: words for name, words in against.items() if len(words) == fewest}


def _against(seen: BoxSigns, gpus: Sequence[SeenGpu], profile: Profile) -> list[str]:
    """What was read and speaks against a profile with these cards; empty for one with others."""
    keys = {part.key for part in profile.gpus.parts}
    if not profile.match or not any(gpu.key in keys for gpu in gpus):
        return []
    words = [WORDS[name] for name, sign in _signs(seen, profile).items() if sign == "no"]
    fewest, most = _card_range(profile)
    if not fewest <= _found(gpus, profile) <= most:
        words.append(f"the number of cards ({profile.gpus.count or fewest})")
    if not _fits_memory(seen, profile):
        words.append("the amount of memory")
    return words


def against(seen: BoxSigns, profile: Profile) -> list[str]:
    """What was read of the box and is another than the profile recognises it by, with both; empty where nothing is.
    What was not read, and a name that the firmware does not give, say nothing; nor does the number of cards."""
    words = []
    for name in ("board", "product", "cpu"):
        value, globs = getattr(seen, name), profile.match.get(name)
        if globs and isinstance(value, str) and _glob(value, globs) == "no":
            words.append(f"the {WORDS[name]} is {value}, not {' or '.join(globs)}")
    sockets = profile.match.get("sockets")
    if sockets is not None and isinstance(seen.sockets, int) and seen.sockets != sockets:
        words.append(f"it has {seen.sockets} sockets, not {sockets}")
    if profile.gpus.parts and not isinstance(seen.gpus, Unread) and not _found(seen.gpus, profile):
        asked = " or ".join(dict.fromkeys(part.name for part in profile.gpus.parts))
        cards = ", ".join(f"{count} x {pci_id}" for pci_id, count in Counter(gpu.pci_id for gpu in seen.gpus).items())
        words.append(f"no {asked} is in it, but {cards}" if cards else f"no {asked} is in it, and no other GPU")
    if profile.match and not _fits_memory(seen, profile) and not isinstance(seen.memory_gib, Unread):
        least, most = profile.match["memory_gib"]
        words.append(f"it has {seen.memory_gib:.0f} GiB of memory, not {least} to {most}")
    return words


def _match(seen: BoxSigns, gpus: Sequence[SeenGpu], profile: Profile) -> _Match | None:
    """How the box fits the profile; None when something that was read speaks against it."""
    if not profile.match or not profile.gpus.parts:
        return None
    keys = {part.key for part in profile.gpus.parts}
    found = _found(gpus, profile)
    if not any(gpu.key in keys for gpu in gpus):
        return None
    fewest, most = _card_range(profile)
    if not fewest <= found <= most or not _fits_memory(seen, profile):
        return None
    signs = _signs(seen, profile)
    return None if "no" in signs.values() else _Match(profile, signs, found)


def _found(gpus: Sequence[SeenGpu], profile: Profile) -> int:
    ids = {pci_id for part in profile.gpus.parts for pci_id in part.pci_ids}
    return sum(gpu.pci_id in ids for gpu in gpus)


def _card_range(profile: Profile) -> tuple[int, int]:
    fewest, most = profile.match.get("gpu_count", (1, profile.gpus.planned or profile.gpus.count or 64))
    return fewest, most


def _fits_memory(seen: BoxSigns, profile: Profile) -> bool:
    """No sign of its own: many boxes have that much. Another amount is another box."""
    if "memory_gib" not in profile.match or isinstance(seen.memory_gib, Unread):
        return True
    least, largest = profile.match["memory_gib"]
    return bool(least <= seen.memory_gib <= largest)


def _signs(seen: BoxSigns, profile: Profile) -> dict[str, Sign]:
    signs: dict[str, Sign] = {
        name: _glob(getattr(seen, name), profile.match[name])
        for name in ("board", "product", "cpu") if name in profile.match
    }
    if "sockets" in profile.match:
        signs["sockets"] = (
            "unread" if isinstance(seen.sockets, Unread) else
            "yes" if seen.sockets == profile.match["sockets"] else "no")
    return signs


def _glob(name: str | None | Unread, globs: Sequence[str]) -> Sign:
    if isinstance(name, Unread):
        # A machine that has no such table was asked, and is no machine whose table names a board.
        return "no" if name.kind == "absent" else "unread"
    if name is None:
        return "no"
    return "yes" if any(fnmatchcase(name.casefold(), glob.casefold()) for glob in globs) else "no"


def _known_cards(gpus: Sequence[SeenGpu], profiles: Sequence[Profile]) -> bool:
    keys = {part.key for profile in profiles for part in profile.gpus.parts}
    return any(gpu.key in keys for gpu in gpus)


def _describe(seen: BoxSigns) -> str:
    assert not isinstance(seen.gpus, Unread)
    cards = ", ".join(f"{count} x {pci_id}" for pci_id, count in Counter(gpu.pci_id for gpu in seen.gpus).items())
    board = f" on board {seen.board}" if isinstance(seen.board, str) else ""
    return f"{cards}{board}"


def _and(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"

"""Puts a link back as it was, and says so or says what is not: the end of every experiment, and the start after one
that was killed.

The order is that of the snapshot's registers from the wire upwards: target speed and a retraining to the old one, the
switches of autonomous changes, the rest of both ends' control registers, L1 substates, ASPM, power. Then every field is
read back; what differs is written again, and what still differs is told. Nothing here assumes that it is the first try.
"""

from __future__ import annotations

import msgspec

from boxcheck.model import Unread
from boxcheck.riser.links.link_state import RETRAIN, Now, link_now, read_register
from boxcheck.riser.links.ports import LinkPair, Ports, Refused
from boxcheck.riser.links.restored import COLD_BOOT, Load, Restored, told
from boxcheck.riser.links.snapshot import (
    ASPM,
    ASPM_ATTRIBUTES,
    COMPLIANCE,
    ENDS,
    L1SS_ENABLES,
    MASKS,
    Difference,
    Snapshot,
    Which,
    attribute_path,
    differences,
    end_of,
    place_of,
)
from boxcheck.riser.links.speed_control import effective_code, put_target, set_by_kernel, target_code
from boxcheck.riser.links.training import Training, command_of, settle, train

TRIES = 3
RETRAININGS = 3
RETRY_SECONDS = 0.05
TRIGGERS = {"LnkCtl": RETRAIN, "LnkCtl2": COMPLIANCE, "LnkCtl3": 0x0001}
"""Bits that are never written as ones, whatever they read."""
_WORDS = frozenset({"0", "1", "on", "auto"})

__all__ = ["COLD_BOOT", "Load", "Restored", "restore"]


def restore(
    ports: Ports, pair: LinkPair, before: Snapshot, *, retrain: bool, load: Load | None = None,
) -> Restored:
    """Puts both ends back, or one, where the pair has no card. `retrain`: the experiment may have left the link at
    another speed, so it is trained where it is slower than it could be; False: it is trained only where it is worse
    than it was. `load` keeps the card busy, so that one that rests is not taken for one that came back slow."""
    refused: dict[str, None] = {}
    trained: Training | None = None
    left: tuple[Difference, ...] = ()
    start = link_now(ports, pair)
    if isinstance(start, Unread):
        return Restored(
            outcome="gone", says=f"the port of {pair.name} does not answer ({start.why}), so its settings cannot be put"
            " back", help=COLD_BOOT)
    for number in range(TRIES):
        if number:
            ports.sleep(RETRY_SECONDS)
        _standing(ports, pair, refused)
        trained = _speed(ports, pair, before, retrain, refused) or trained
        left = _settings(ports, pair, before, refused)
        if not left:
            break
    reached = _reached(ports, pair, before, trained, load)
    ended = told(ports, pair, before, left, tuple(refused), reached, trained is not None)
    if ended.outcome == "slow" and load is None:
        ended = msgspec.structs.replace(
            ended, outcome="rests", says=f"{ended.says}, as of a card that rests; nobody loaded it to tell",
            help=f"load the card and look again; if it stays so, {COLD_BOOT}")
    return ended


def _reached(
    ports: Ports, pair: LinkPair, before: Snapshot, trained: Training | None, load: Load | None
) -> Now | None:
    """The best that the link has shown since: what it trained to, what it is now, what it is under load. A card that
    rests lowers its speed by itself a moment after training."""
    seen = [trained.now if trained is not None and trained.state != "down" else None]

    def sample() -> None:
        now = link_now(ports, pair)
        seen.append(now if isinstance(now, Now) else None)

    sample()
    best = max((now for now in seen if now is not None), key=lambda now: now.rank, default=None)
    if load is not None and best is not None and best.up and best.rank < ((before.speed_gts or 0.0), before.width):
        load(sample)
    return max((now for now in seen if now is not None), key=lambda now: now.rank, default=None)


def _standing(ports: Ports, pair: LinkPair, refused: dict[str, None]) -> None:
    """Requests that still stand at the port: Perform Equalization waits for a retraining, and some bridges train for as
    long as Retrain Link is set."""
    for name, bit in (("LnkCtl3", TRIGGERS["LnkCtl3"]), ("LnkCtl", RETRAIN)):
        _put(ports, pair, "port", name, bit, 0, refused)


def _speed(
    ports: Ports, pair: LinkPair, before: Snapshot, retrain: bool, refused: dict[str, None]
) -> Training | None:
    """Target speed first, then the link itself."""
    code = before.target_code
    now = target_code(ports, pair)
    by_kernel = False
    changed = code is not None and isinstance(now, int) and effective_code(pair, now) != effective_code(pair, code)
    command = command_of(ports, pair)
    started = ports.seconds()
    if changed and code is not None and before.cooling is not None:
        wanted = effective_code(pair, code)
        try:
            set_by_kernel(ports, pair, before.cooling, wanted)
            by_kernel = True
        except Refused as error:
            refused[error.says] = None
        now = target_code(ports, pair)
    if code is not None and isinstance(now, int) and now != code:
        try:
            put_target(ports, pair, code)
        except Refused as error:
            refused[error.says] = None
    trained = settle(ports, pair, started=started, command=command) if by_kernel else None
    worse = _worse(link_now(ports, pair), before)
    if retrain or changed or worse:
        for _ in range(RETRAININGS):
            if trained is not None and trained.now is not None and _as_good(trained.now, before, pair):
                break
            here = link_now(ports, pair)
            if trained is None and not changed and not worse and isinstance(here, Now) and _at_best(here, pair):
                break
            try:
                trained = train(ports, pair)
            except Refused as error:
                refused[error.says] = None
                if error.kind in ("permission", "lockdown") and before.cooling is not None and code is not None:
                    wanted = effective_code(pair, code)
                    trained = _kernel_retrain(ports, pair, before.cooling, wanted, refused) or trained
                break
    return trained


def _worse(now: Now | Unread, before: Snapshot) -> bool:
    was = (before.speed_gts or 0.0, before.width)
    return isinstance(now, Now) and (now.rank[0] < was[0] or now.rank[1] < was[1])


def _kernel_retrain(
    ports: Ports, pair: LinkPair, cooling: str, code: int, refused: dict[str, None]
) -> Training | None:
    command, started = command_of(ports, pair), ports.seconds()
    try:
        set_by_kernel(ports, pair, cooling, code)
    except Refused as error:
        refused[error.says] = None
        return None
    return settle(ports, pair, started=started, command=command)


def _at_best(now: Now, pair: LinkPair) -> bool:
    limit = max((gts for gts in pair.common_gts if now.target_gts is None or gts <= now.target_gts), default=None)
    return now.up and now.width >= pair.lanes and (limit is None or now.speed_gts == limit)


def _as_good(now: Now, before: Snapshot, pair: LinkPair) -> bool:
    return now.up and (now.speed_gts or 0.0) >= (before.speed_gts or 0.0) and now.width >= before.width and (
        _at_best(now, pair) or (now.speed_gts, now.width) == (before.speed_gts, before.width))


def _settings(
    ports: Ports, pair: LinkPair, before: Snapshot, refused: dict[str, None]
) -> tuple[Difference, ...]:
    """One round over what differs; what differs after it."""
    found = differences(ports, pair, before)
    if not found:
        return ()
    registers = {(one.end, one.name): one.was for one in found if isinstance(one.was, int)}
    order: list[tuple[Which, str]] = [(end, name) for name in ("LnkCtl2", "LnkCtl", "LnkCtl3", "DevCtl", "DevCtl2")
                                      for end in ENDS if (end, name) in registers]
    for end, name in order:
        mask = MASKS[name] & ~(ASPM if name == "LnkCtl" else 0)
        _put(ports, pair, end, name, mask, int(registers[end, name]), refused)
    if any(name.startswith("L1SS") for _, name in registers):
        _substates(ports, pair, before, refused)
    _attributes(ports, pair, found, refused, "link/")
    # On: the port first; off: the card first (drivers/pci/pcie/aspm.c, pcie_config_aspm_link).
    turned_off = [end for end in ENDS if not (before.field(end, "LnkCtl") or 0) & ASPM]
    for end in [*(end for end in reversed(ENDS) if end in turned_off), *(end for end in ENDS if end not in turned_off)]:
        value = before.field(end, "LnkCtl")
        if value is not None:
            _put(ports, pair, end, "LnkCtl", ASPM, value, refused)
    _attributes(ports, pair, found, refused, "power/")
    return differences(ports, pair, before)


def _substates(ports: Ports, pair: LinkPair, before: Snapshot, refused: dict[str, None]) -> None:
    """L1 and its substates off, card first; then the timing, then the enables, port first (drivers/pci/pcie/aspm.c,
    pcie_config_aspm_l1ss). ASPM comes after."""
    for end in reversed(ENDS):
        _put(ports, pair, end, "LnkCtl", ASPM, 0, refused)
        _put(ports, pair, end, "L1SSCtl1", L1SS_ENABLES, 0, refused)
    for name, mask in (("L1SSCtl2", MASKS["L1SSCtl2"]), ("L1SSCtl1", MASKS["L1SSCtl1"] & ~L1SS_ENABLES),
                       ("L1SSCtl1", L1SS_ENABLES)):
        for end in ENDS:
            value = before.field(end, name)
            if value is not None:
                _put(ports, pair, end, name, mask, value, refused)


def _put(
    ports: Ports, pair: LinkPair, which: Which, name: str, mask: int, value: int, refused: dict[str, None]
) -> None:
    """Bits of a register, if they differ."""
    end = end_of(pair, which)
    place = None if end is None else place_of(end, name)
    if end is None or place is None:
        return
    now = read_register(ports, end, *place)
    if isinstance(now, Unread) or not (now ^ value) & mask:
        return
    try:
        ports.write(end.bdf, *place, (now & ~mask | value & mask) & ~TRIGGERS.get(name, 0))
    except Refused as error:
        refused[error.says] = None


def _attributes(
    ports: Ports, pair: LinkPair, found: tuple[Difference, ...], refused: dict[str, None], prefix: str
) -> None:
    """Those of the kernel that differ: off before on, the substates before L1 on the way off."""
    ranks = {f"link/{name}": number for number, name in enumerate(ASPM_ATTRIBUTES)} | {"power/control": 99}
    chosen = [one for one in found if isinstance(one.was, str) and one.name.startswith(prefix) and one.name in ranks]
    off = [one for one in chosen if one.was == "0"]
    on = [one for one in chosen if one.was != "0"]
    for one in [*sorted(off, key=lambda one: -ranks[one.name]), *sorted(on, key=lambda one: ranks[one.name])]:
        end = end_of(pair, one.end)
        if end is None or one.was not in _WORDS:
            continue
        try:
            ports.set_attribute(attribute_path(end.bdf, one.name), str(one.was))
        except Refused as error:
            refused[error.says] = None

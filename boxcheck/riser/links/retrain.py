"""Retraining a link, once and many times: how often it comes back with all its lanes at full speed, how long that
takes, and whether its ends finish tuning to each other.

Needs   root, and a kernel that is not locked down
By hand setpci -s 40:01.1 CAP_EXP+0x10.w=20:20, then lspci -vv -s 40:01.1 | grep LnkSta

A healthy link goes through Recovery and is back within some 10 ms; nothing that runs over it notices more than a pause.
"""

from __future__ import annotations

import msgspec

from boxcheck.host.config_space import may_write
from boxcheck.model import Unread
from boxcheck.riser.evidence import Retrains
from boxcheck.riser.links.hold import Held
from boxcheck.riser.links.link_state import (
    LINK_REQUEST_8,
    LINK_REQUEST_16,
    LNKSTA2,
    PHY_STATUS,
    Equalisation,
    Now,
    equalisation_of,
    link_now,
    read_register,
)
from boxcheck.riser.links.ports import Refused
from boxcheck.riser.links.restore import Load
from boxcheck.riser.links.training import Training, refuse_deaf, train, wanted_speed

OFTEN = 100
"""A link that fails once in 50 trainings is found by this with 87 % (1 - 0.98^100)."""


class Retrained(msgspec.Struct, frozen=True, kw_only=True):
    """One retraining with what its ends say of equalisation."""

    training: Training
    equalisation: Equalisation

    @property
    def full(self) -> bool:
        return self.training.state == "full" and self.training.card_answers and not self.training.card_reset

    @property
    def says(self) -> str:
        """`x16 at 16 GT/s after 21 ms; equalisation complete`."""
        eq = self.equalisation
        words = [*eq.unfinished, *eq.asks_again, *eq.skipped]
        end = f"; equalisation: {', '.join(words)}" if words else "; equalisation complete" if eq.read else ""
        lost = "; the card was reset" if self.training.card_reset else "" if (
            self.training.card_answers or self.training.state == "down") else "; the card does not answer"
        return f"{self.training.says}{end}{lost}"


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """Many retrainings."""

    retrains: Retrains
    dropped: int = 0
    """How often the data link layer went down on the way."""
    trained: tuple[Retrained, ...] = ()
    asked: int = 0
    stopped: str | None = None
    """Why there were fewer than asked."""
    noted: tuple[str, ...] = ()

    @property
    def says(self) -> str:
        """`97 of 100 retrainings came back x16 at 16 GT/s; 3 narrow; the longest took 24 ms`."""
        tally = self.retrains
        wanted = next((one.training.now.says for one in self.trained if one.full and one.training.now), "in full")
        parts = [f"{tally.full} of {tally.tried} retrainings came back {wanted}"]
        parts += [f"{count} {word}" for count, word in (
            (tally.narrow, "with fewer lanes"), (tally.slow, "slower"), (tally.down, "not at all")) if count]
        if self.dropped:
            parts.append(f"the link went down {self.dropped} time{'s' if self.dropped > 1 else ''} on the way")
        if tally.incomplete_equalisation:
            parts.append(f"equalisation was not complete {tally.incomplete_equalisation} times")
        if tally.longest_seconds is not None:
            parts.append(f"the longest took {tally.longest_seconds * 1000:.0f} ms")
        if self.stopped is not None:
            parts.append(self.stopped)
        parts += self.noted
        return "; ".join(parts)


def retrain_once(held: Held) -> Retrained:
    """Refused where registers cannot be written."""
    refuse_raw(held)
    held.announce(f"retraining the link of {held.pair.name} once; traffic pauses for some milliseconds")
    refuse_deaf(held, held.pair)
    return _retrain(held, known=_requests(held))


def retrain_often(held: Held, times: int = OFTEN, *, clear: bool = False, load: Load | None = None) -> Tally:
    """A tally. `clear`: requests for equalisation are cleared before each, so that each time's own is seen; they clear
    by a write and cannot be set again. `load` tells a card that rests, and lowers its speed by itself, from a link that
    came back slow. The tally ends where the link does not come back, or the card was reset."""
    refuse_raw(held)
    held.announce(f"retraining the link of {held.pair.name} {times} times; each pauses traffic for some milliseconds")
    refuse_deaf(held, held.pair)
    done: list[Retrained] = []
    stopped: str | None = None
    noted: list[str] = []
    now = link_now(held, held.pair)
    rests = isinstance(now, Now) and now.up and _slower(held, now) and (load is None or _wakes(held, load))
    if rests and isinstance(now, Now):
        noted.append(f"speed was not judged: the card rested, {now.says} before the first")
    known = _requests(held)
    for _ in range(times):
        if clear:
            _clear_requests(held)
            known = _requests(held)
        try:
            one = _retrain(held, known=known)
        except Refused as refused:
            stopped = refused.says
            break
        if one.training.state == "slow" and not rests and load is not None and _wakes(held, load):
            rests = True
            noted.append("speed was not judged any more once the card rested; under load it was at full speed")
        if one.training.state == "slow" and rests:
            one = msgspec.structs.replace(one, training=msgspec.structs.replace(one.training, state="full"))
        done.append(one)
        if one.training.card_reset:
            stopped = "stopped: the card was reset by it"
            break
        if one.training.state == "down" or not one.training.card_answers:
            stopped = _revived(held)
            if stopped is not None:
                break
    if done and not any(one.training.seen for one in done):
        noted.append(
            "the port showed no sign of training in any of them: they were too short to be seen, or none was made")
    if load is None and not rests and any(one.training.state == "slow" for one in done):
        noted.append("nobody loaded the card: those that came back slower may have been at rest")
    return Tally(
        retrains=_tally(done), dropped=sum(one.training.dropped for one in done), trained=tuple(done), asked=times,
        stopped=stopped, noted=tuple(noted))


def _slower(held: Held, now: Now) -> bool:
    wanted = wanted_speed(held.pair, now)
    return wanted is not None and (now.speed_gts or 0.0) < wanted


def _wakes(held: Held, load: Load) -> bool:
    """Whether the link is at full speed under load."""
    seen: list[Now] = []

    def sample() -> None:
        now = link_now(held, held.pair)
        if isinstance(now, Now):
            seen.append(now)

    load(sample)
    return any(now.up and not _slower(held, now) for now in seen)


def _revived(held: Held) -> str | None:
    """One more try after a training that failed; why there is no use in going on, where there is none."""
    try:
        again = train(held, held.pair, command=held.before.command)
    except Refused as refused:
        return refused.says
    lost = again.state == "down" or not again.card_answers or again.card_reset
    return "stopped: the link did not come back as it was" if lost else None


def _tally(done: list[Retrained]) -> Retrains:
    came = [one for one in done if one.training.state != "down" and one.training.card_answers]
    # A port may leave phases 2 and 3 out each time; one that does them now and then does not finish them each time.
    varies = len({one.equalisation.skipped for one in came if one.equalisation.read and one.full}) > 1
    return Retrains(
        tried=len(done), full=sum(one.full for one in done),
        narrow=sum(one.training.state == "narrow" for one in came),
        slow=sum(one.training.state == "slow" for one in came),
        down=len(done) - len(came) + sum(one.training.state == "full" and one.training.card_reset for one in came),
        longest_seconds=max((one.training.seconds for one in came), default=None),
        incomplete_equalisation=sum(
            one.equalisation.read and (not one.equalisation.complete or (varies and bool(one.equalisation.skipped)))
            for one in came))


def _retrain(held: Held, known: frozenset[str]) -> Retrained:
    training = train(held, held.pair, command=held.before.command)
    now = training.now
    equalisation = equalisation_of(held, held.pair, now.speed_gts if now is not None and now.up else None)
    new = tuple(says for says in equalisation.asks_again if says not in known)
    return Retrained(training=training, equalisation=msgspec.structs.replace(equalisation, asks_again=new))


def _requests(held: Held) -> frozenset[str]:
    """Requests that stand already, from before: the bits stay until they are cleared."""
    now = link_now(held, held.pair)
    speed = now.speed_gts if isinstance(now, Now) else None
    return frozenset(equalisation_of(held, held.pair, speed).asks_again)


def _clear_requests(held: Held) -> None:
    for end in (held.pair.port, held.pair.card):
        if end is None:
            continue
        places = [(end.express + LNKSTA2, 2, LINK_REQUEST_8)]
        places += [(at + PHY_STATUS, 4, LINK_REQUEST_16) for at in (end.phy16, end.phy32) if at is not None]
        for at, size, bit in places:
            word = read_register(held, end, at, size)
            if isinstance(word, int) and word & bit:
                held.write(end.bdf, at, 2 if size == 2 else 4, bit)


def refuse_raw(held: Held) -> None:
    """Refused where config space cannot be written, before anything is said or done."""
    ends = [end.bdf for end in (held.pair.port, held.pair.card) if end is not None]
    refused = may_write(held, *ends)
    if refused is not None:
        raise refused
    if isinstance(state := link_now(held, held.pair), Unread):
        raise Refused("gone", f"the link of {held.pair.name} was left alone: {state.why}")

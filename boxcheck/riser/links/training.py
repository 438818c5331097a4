"""One retraining of a link: asked of the port above, and watched until it has settled.

Source  PCI Express Base 7.5.3.7 (Retrain Link) with its note; drivers/pci/pci.c, pcie_retrain_link; 6.6.1 (100 ms)

The port's Link Training bit may still read 0 just after the request. So a link has settled when it says the same speed
and lanes for 20 ms, read every millisecond, with its data link layer active. Ports that cannot tell get a whole second.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from boxcheck.model import Unread
from boxcheck.riser.links.link_pair import all_ones
from boxcheck.riser.links.link_state import (
    LNKCTL,
    RETRAIN,
    Now,
    best_gts,
    link_now,
    read_register,
    status_of,
    tells_active,
)
from boxcheck.riser.links.ports import LinkPair, Ports, Refused

POLL_SECONDS = 0.001
LIMIT_SECONDS = 1.0
"""As long as the kernel waits (LINK_RETRAIN_TIMEOUT_MS in drivers/pci/pci.c)."""
STABLE_SECONDS = 0.020
AFTER_DOWN_SECONDS = 0.1
"""Between the link coming up and the first access to the card (PCIe Base 6.6.1)."""
LINK_DISABLE = 0x0010
HARMLESS = (0x0080, 0x0200)
"""Extended Synch, Hardware Autonomous Width Disable; the second may be wired to 0 (PCIe Base 7.5.3.7)."""
COMMAND, COMMAND_LIVE = 0x04, 0x0006
"""Command register; memory or bus mastering switched on: a driver or the firmware has set the card up."""

TrainingState = Literal["full", "slow", "narrow", "down"]


class Training(msgspec.Struct, frozen=True, kw_only=True):
    """How a link came out of training."""

    state: TrainingState
    now: Now | None
    """None where the port itself did not answer."""
    seconds: float
    """From the request until it had settled, to about a millisecond; until it was given up where it did not."""
    dropped: bool = False
    """The data link layer went down on the way: the card was reset by that, and a slot with hot-plug lets it go."""
    card_answers: bool = True
    seen: bool = False
    """There was a sign that the port trained: its training bit, or that it noted a retraining (LBMS) which it had not
    before. A short one may leave none where the kernel clears that note, as it does since Linux 6.13."""
    card_reset: bool = False
    """The card's command register is at its default, and was not before: nobody has set it up again."""

    @property
    def says(self) -> str:
        """`x16 at 16 GT/s after 21 ms`."""
        if self.now is None or self.state == "down":
            return f"down after {self.seconds:.1f} s"
        return f"{self.now.says} {'within 1' if self.seconds < 0.001 else f'after {self.seconds * 1000:.0f}'} ms"


def command_of(ports: Ports, pair: LinkPair) -> int | None:
    """The card's command register; None where nothing answers."""
    if pair.card is None:
        return None
    word = ports.read(pair.card.bdf, COMMAND, 2)
    return None if isinstance(word, Unread) or all_ones(word, 2) else word


def request_retraining(ports: Ports, pair: LinkPair) -> None:
    """Sets Retrain Link at the port, once its training bit is clear. Refused where the port does not answer, is still
    training, or has the link switched off."""
    at = pair.port.express + LNKCTL
    until = ports.seconds() + LIMIT_SECONDS
    while True:
        now = link_now(ports, pair)
        if isinstance(now, Unread):
            raise Refused("gone", f"the link of {pair.name} was not retrained: {now.why}")
        if not now.training:
            break
        if ports.seconds() > until:
            raise Refused("busy", f"the link of {pair.name} was not retrained: it has been training for "
                          f"{LIMIT_SECONDS:g} s", "reseat the card, or power off")
        ports.sleep(POLL_SECONDS)
    control = read_register(ports, pair.port, at)
    if isinstance(control, Unread):
        raise Refused("gone", f"the link of {pair.name} was not retrained: {control.why}")
    if control & LINK_DISABLE:
        raise Refused("unsupported", f"the link of {pair.name} is switched off at its port (LnkCtl)",
                      "switch the slot on, or power off and on")
    ports.write(pair.port.bdf, at, 2, control | RETRAIN)
    after = read_register(ports, pair.port, at)
    if isinstance(after, int) and after & RETRAIN:
        # Reads as 0 by the specification; some bridges of Pericom train for as long as it stays set
        # (quirk_enable_clear_retrain_link in drivers/pci/quirks.c).
        ports.write(pair.port.bdf, at, 2, after & ~RETRAIN)


def settle(
    ports: Ports, pair: LinkPair, *, started: float, wanted_gts: float | None = None, command: int | None = None,
    noted: bool = True,
) -> Training:
    """Waits until the link has settled, or for a second. `wanted_gts`: it is given that long to show this speed; None:
    the fastest that both ends and the target speed allow. `noted`: the port's note of a retraining was set before, and
    says nothing."""
    can_tell = tells_active(ports, pair.port)
    dropped = seen_training = False
    last: Now | None = None
    since: float | None = None
    while True:
        now, at = link_now(ports, pair), ports.seconds()
        if isinstance(now, Unread):
            last, since = None, None
        else:
            seen_training = seen_training or now.training
            dropped = dropped or (can_tell and not now.up)
            wanted = wanted_gts if wanted_gts is not None else wanted_speed(pair, now)
            # An old speed without a sign of training may be read before training has begun.
            early = not seen_training and wanted is not None and now.speed_gts != wanted
            steady = now.up and not now.training and not early
            since = None if not steady else at if since is None or now != last else since
            last = now
        if since is not None and at - since >= STABLE_SECONDS and (can_tell or at - started >= LIMIT_SECONDS):
            break
        if at - started > LIMIT_SECONDS + STABLE_SECONDS:
            since = at
            break
        ports.sleep(POLL_SECONDS)
    first = started if since is None else since
    seen = seen_training or dropped or (not noted and has_noted(ports, pair))
    return _judged(ports, pair, last, seconds=first - started, dropped=dropped, command=command, wanted_gts=wanted_gts,
                   seen=seen)


def has_noted(ports: Ports, pair: LinkPair) -> bool:
    """Whether the port notes that a retraining which was asked for has ended (LBMS; PCIe Base 7.5.3.8)."""
    status = status_of(ports, pair.port)
    return not isinstance(status, Unread) and status.bw_management


def refuse_deaf(ports: Ports, pair: LinkPair) -> None:
    """Refused where the port's Link Control takes no writes: QEMU keeps it read-only, says nothing, and would come out
    of every retraining unharmed. Tried with Extended Synch, which acts in training only, or another switch, set and set
    back."""
    at = pair.port.express + LNKCTL
    for bit in HARMLESS:
        word = read_register(ports, pair.port, at)
        if isinstance(word, Unread):
            raise Refused("gone", f"the link of {pair.name} was left alone: {word.why}")
        ports.write(pair.port.bdf, at, 2, word & ~RETRAIN ^ bit)
        back = read_register(ports, pair.port, at)
        if isinstance(back, int) and (back ^ word) & bit:
            ports.write(pair.port.bdf, at, 2, back & ~RETRAIN ^ bit)
            return
    raise Refused("unsupported", f"the port {pair.port.bdf} takes no writes to its link's control, as those of a"
                  " hypervisor: what it would show proves nothing", "run it on the machine itself")


def wanted_speed(pair: LinkPair, now: Now) -> float | None:
    """The speed that both ends and the port's target allow."""
    best = best_gts(pair)
    if best is None or now.target_gts is None:
        return best
    return max((speed for speed in pair.common_gts if speed <= now.target_gts), default=best)


def _judged(
    ports: Ports, pair: LinkPair, now: Now | None, *, seconds: float, dropped: bool, command: int | None,
    wanted_gts: float | None, seen: bool,
) -> Training:
    state: TrainingState = "full"
    if now is None or not now.up or now.training:
        state = "down"
    elif now.width < pair.lanes:
        state = "narrow"
    else:
        wanted = wanted_gts if wanted_gts is not None else wanted_speed(pair, now)
        if now.speed_gts is None or (wanted is not None and now.speed_gts < wanted):
            state = "slow"
    answers, after = True, command
    if pair.card is not None and state != "down":
        if dropped:
            ports.sleep(AFTER_DOWN_SECONDS)
        after = command_of(ports, pair)
        until = ports.seconds() + LIMIT_SECONDS
        while after is None and ports.seconds() < until:
            ports.sleep(0.010)
            after = command_of(ports, pair)
        answers = after is not None
    elif pair.card is not None:
        answers = False
    reset = answers and command is not None and after is not None and bool(
        command & COMMAND_LIVE) and not after & COMMAND_LIVE
    return Training(
        state=state, now=now, seconds=seconds, dropped=dropped or reset, card_answers=answers, card_reset=reset,
        seen=seen)


def train(
    ports: Ports, pair: LinkPair, wanted_gts: float | None = None, *, command: int | None = None,
) -> Training:
    """Retrains once. `command`: what the card's command register was before anything was done; None: what it is now.
    Refused where the request was not made."""
    command = command_of(ports, pair) if command is None else command
    noted = has_noted(ports, pair)
    request_retraining(ports, pair)
    return settle(ports, pair, started=ports.seconds(), wanted_gts=wanted_gts, command=command, noted=noted)

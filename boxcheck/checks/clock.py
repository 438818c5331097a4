"""Judgements on the clock."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.checks.wording import decided, not_read, wants, wish_of
from boxcheck.model import BOX, Finding, Outcome, Quantity, Unread
from boxcheck.probes.clock import SYNCHRONIZED, Clock
from boxcheck.probes.container import Container
from boxcheck.profile import Profile
from boxcheck.registry import check, limit, outcome_of, skipped

WANTED = limit("clock.synchronized", bool, "eq", "", "Whether the clock must follow a time server.")


@check("clock.synchronized", reads=[Clock, Container], limits=[WANTED])
def synchronized(clock: Clock, container: Container, want: Profile) -> Iterator[Finding]:
    """The clock does not follow a time server.

    Why it matters: reports and logs of several boxes do not line up; certificates and package signatures fail when the
    clock is off by much.
    What to do: `sudo timedatectl set-ntp true`, or install chrony; a box without a network needs neither.
    Not a fault: inside a container, whose clock is the host's.
    By hand: timedatectl | grep synchronized
    """
    bound = want.limit(WANTED)
    evidence = (SYNCHRONIZED,)
    if bound is None or wish_of(bound) is False:
        yield skipped(BOX, f"the profile sets no {WANTED}")
    elif isinstance(clock.synchronized, Unread):
        if isinstance(container.container, str):
            yield skipped(BOX, f"inside a container ({container.container}) the clock is the host's")
        else:
            yield not_read(BOX, clock.synchronized, evidence=evidence)
    else:
        outcome = outcome_of(clock.synchronized, bound)
        state = "follows a time server" if outcome is Outcome.PASS else f"follows no time server, {wants(bound)} one"
        yield decided(
            outcome, BOX, f"the clock {state} ({clock.source})", measured=Quantity(clock.synchronized), limit=bound,
            evidence=evidence, cause="clock:", title="the clock follows no time server",
            help=("sudo timedatectl set-ntp true, or install chrony",))

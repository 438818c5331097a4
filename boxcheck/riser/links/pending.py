"""Puts links back from what a journal holds: at the end of an experiment, and at the next start after one was killed.

Only to the devices that the settings were read from: registers are found anew, and both ends must be who they were. Of
a slot that has got another card meanwhile only the port's target speed is put back, since the rest was agreed with the
card that left.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from boxcheck.decode.pci_link import SPEED_GTS
from boxcheck.host.left_changed import is_over
from boxcheck.model import Unread
from boxcheck.riser.links.journal import Journal, Pending, boot_id, close_journal, lock_links, pending_journals
from boxcheck.riser.links.link_pair import read_end
from boxcheck.riser.links.link_state import Now, best_gts, link_now
from boxcheck.riser.links.ports import LinkPair, Ports, Refused
from boxcheck.riser.links.restore import COLD_BOOT, Load, Restored, restore
from boxcheck.riser.links.snapshot import Snapshot

MARGINING = "lane margining"
"""`Journal.what` of an experiment that moves samplers."""


class Recovered(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one journal of an earlier start."""

    port: str
    says: str
    help: str = ""
    closed: bool
    """It waits no longer: the link is as it was, or another boot began."""
    restored: Restored | None = None
    """None where nothing was tried."""


def restore_pending(
    ports: Ports, folder: str, *, boot: str | None = None, announce: Callable[[str], None] = lambda _: None,
    load: Load | None = None,
) -> tuple[Recovered, ...]:
    """Closes or applies every journal that an earlier start left in a folder, one sentence each. Refused while another
    boxcheck works on a link, or where the folder cannot be listed."""
    boot = boot_id() if boot is None else boot
    if not pending_journals(folder):
        return ()
    lock = lock_links(folder, must=False)
    try:
        return tuple(_recover(ports, pending, boot, announce, load) for pending in pending_journals(folder))
    finally:
        if lock is not None:
            lock.release()


def _recover(
    ports: Ports, pending: Pending, boot: str, announce: Callable[[str], None], load: Load | None
) -> Recovered:
    if is_over(pending.boot, boot):
        close_journal(pending.path)
        return Recovered(
            port=pending.port, closed=True, says=f"an experiment on the link below {pending.port} was cut off before"
            " the machine was restarted: its registers are fresh, nothing is to be put back")
    journal = pending.journal
    if journal is None:
        return Recovered(
            port=pending.port, closed=False, says=f"an experiment on the link below {pending.port} was cut off, and"
            f" what it was set to cannot be read ({pending.path}: {pending.trouble}){_seen(ports, pending)}",
            help=COLD_BOOT)
    what = f" ({journal.what})" if journal.what else ""
    announce(f"an experiment on {journal.pair.name} was cut off{what}: putting its link back")
    displaced = _samplers_back(ports, journal) if journal.what == MARGINING else ()
    restored = bring_back(ports, journal, retrain=True, load=load)
    closed = restored.complete and not displaced
    if closed:
        close_journal(pending.path)
    return Recovered(
        port=pending.port, says="; ".join((restored.says, *displaced)),
        help=restored.help or (COLD_BOOT if displaced else ""), closed=closed, restored=restored)


def _samplers_back(ports: Ports, journal: Journal) -> tuple[str, ...]:
    """What is not known to be in its place, in sentences. Before the settings, which may switch ASPM on: commands reach
    a receiver only through a link that is awake. Nothing where an end is not who it was: the samplers of a card that
    left went with it."""
    from boxcheck.riser.margining.normal import all_to_normal  # it holds links, and whoever holds one is built on this

    port = read_end(ports, journal.pair.port.bdf)
    card = None if journal.pair.card is None else read_end(ports, journal.pair.card.bdf)
    if isinstance(port, Unread) or port[1] != journal.port:
        return ()
    if isinstance(card, Unread) or (card is not None and card[1] != journal.card):
        return ()
    pair = LinkPair(port=port[0], card=None if card is None else card[0], slot=journal.pair.slot)
    try:
        return all_to_normal(ports, pair)
    except Refused as refused:
        return (refused.says,)


def _seen(ports: Ports, pending: Pending) -> str:
    """What the port of a damaged journal shows now."""
    read = read_end(ports, pending.port)
    if isinstance(read, Unread):
        return ""
    now = link_now(ports, LinkPair(port=read[0], card=None))
    if not isinstance(now, Now):
        return ""
    target = f"{now.target_gts:g} GT/s" if now.target_gts is not None else "no speed that is known"
    return f"; it is {now.says}, its port aims for {target} and can do {read[0].max_speed_gts:g} GT/s"


def bring_back(
    ports: Ports, journal: Journal, *, retrain: bool, load: Load | None = None,
) -> Restored:
    """Restores what can be. Not `complete` where anything may still be changed: only another boot ends that."""
    pair, before = journal.pair, journal.before
    port = read_end(ports, pair.port.bdf)
    if isinstance(port, Unread) and port.kind == "permission":
        return Restored(outcome="differs", says=f"the link of {pair.name} waits to be put back, which needs root",
                        help="run it with sudo")
    if isinstance(port, Unread):
        return Restored(outcome="gone", says=f"the port of {pair.name} does not answer ({port.why}), so its settings"
                        " cannot be put back", help=COLD_BOOT)
    if port[1] != journal.port:
        return Restored(
            outcome="gone", says=f"at {pair.port.bdf} there is {port[1]} now and not {journal.port}, whose settings"
            " were kept: nothing was written", help=f"the buses were numbered anew, or the board changed; {COLD_BOOT}")
    pair = msgspec.structs.replace(pair, port=port[0])
    if journal.card is None or pair.card is None:
        return restore(ports, pair, before, retrain=retrain, load=load)
    card = read_end(ports, pair.card.bdf)
    if isinstance(card, Unread):
        # The port first: that may bring the card back, and until then nobody knows which card that is.
        alone = restore(ports, pair, _of_port(before), retrain=True)
        card = read_end(ports, pair.card.bdf)
        if isinstance(card, Unread):
            return alone
    if card[1] != journal.card:
        return _replaced(ports, journal, msgspec.structs.replace(pair, card=card[0]), str(card[1]))
    pair = msgspec.structs.replace(pair, card=card[0])
    return restore(ports, pair, before, retrain=retrain, load=load)


def _of_port(before: Snapshot) -> Snapshot:
    return msgspec.structs.replace(
        before, fields=tuple(one for one in before.fields if one.end == "port"),
        attributes=tuple(one for one in before.attributes if one.end == "port"))


def _replaced(ports: Ports, journal: Journal, pair: LinkPair, card: str) -> Restored:
    """The slot has another card than the settings were read with: the port aims for what it did, no more."""
    before = journal.before
    kept = msgspec.structs.replace(
        before, fields=tuple(one for one in before.fields if (one.end, one.register) == ("port", "LnkCtl2")),
        attributes=(), speed_gts=None, width=0, command=None)
    done = restore(ports, pair, kept, retrain=True)
    target = SPEED_GTS.get(before.target_code or 0)
    aims = f"{target:g} GT/s" if target is not None else "what it did"
    best = best_gts(pair)
    can = f"; both ends can do {best:g} GT/s" if best is not None else ""
    now = link_now(ports, pair)
    shown = now.says if isinstance(now, Now) else "not read"
    says = (f"{pair.name} has another card ({card}) than the one whose settings were kept ({journal.card}): the port"
            f" aims for {aims} again, nothing was written to the card; its link is {shown}{can}")
    if done.complete:
        return msgspec.structs.replace(done, says=says)
    return msgspec.structs.replace(done, says=f"{says}; {done.says}")

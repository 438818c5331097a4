"""Holds a link while experiments change it: nothing is written before its settings are on the disk, and however the
experiments end the link is put back.

    with holding(ports, pair, folder) as held:
        ...                                      # held is a `Ports`; experiments write through it alone

Ctrl-C, SIGTERM, SIGHUP and Ctrl-Z are noted and obeyed at the next access to a register, between two writes and never
within one, and once: what an experiment does on its way out, and the putting back of the link, are not interrupted.
After that they are delivered to whoever had them before. What no program can hold (SIGKILL, power) is the journal's:
`restore_pending` at the next start.

`held` lets through what the experiments are known to need, at the two ends of this link, and no other write.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from boxcheck.decode.pci_link import SPEED_GTS
from boxcheck.host.refused import Size
from boxcheck.model import Bdf, Unread
from boxcheck.riser.links.held_signals import Signals
from boxcheck.riser.links.journal import Journal, boot_id, close_journal, lock_links, pending_journals, write_journal
from boxcheck.riser.links.link_pair import read_end
from boxcheck.riser.links.link_state import (
    LANE_ERRORS,
    LINK_REQUEST_8,
    LINK_REQUEST_16,
    LNKCTL,
    LNKCTL2,
    LNKCTL3,
    LNKSTA2,
    PARITY,
    PHY_STATUS,
    RETRAIN,
    TARGET,
    link_now,
)
from boxcheck.riser.links.pending import bring_back
from boxcheck.riser.links.ports import End, LinkPair, Ports, Refused
from boxcheck.riser.links.restore import Load, Restored
from boxcheck.riser.links.snapshot import (
    ASPM_ATTRIBUTES,
    COMPLIANCE,
    DEVCTL,
    DEVCTL2,
    L1SS_CTL1,
    L1SS_CTL2,
    Snapshot,
    attribute_path,
    take_snapshot,
)
from boxcheck.riser.links.training import LINK_DISABLE

NAP_SECONDS = 0.05
"""Longest sleep between two looks at whether somebody wants it to stop."""


class NotRestored(Exception):
    """A link that could not be put back. Its text is the sentence; `help` says what to do."""

    def __init__(self, restored: Restored) -> None:
        super().__init__(restored.says)
        self.restored, self.help = restored, restored.help


class Held:
    """The two ends of one link, to be written. Fulfils `Ports`."""

    def __init__(
        self, ports: Ports, pair: LinkPair, before: Snapshot, signals: Signals, announce: Callable[[str], None],
    ) -> None:
        self.pair, self.before = pair, before
        self.announce = announce
        """Says a sentence before the thing is done."""
        self.retrained = False
        """Whether the link was trained, or its speed set: then it may have to be trained anew."""
        self.restored: Restored | None = None
        """How it was put back; None before that."""
        self._ports, self._signals = ports, signals
        self._rules = {end.bdf: _allowed(end, end is pair.port) for end in (pair.port, pair.card) if end is not None}

    @property
    def stopping(self) -> bool:
        """Somebody asked to stop; for loads that run long without an access."""
        return self._signals.stopping

    def read(self, bdf: Bdf, offset: int, size_bytes: Size) -> int | Unread:
        self._signals.obey()
        return self._ports.read(bdf, offset, size_bytes)

    def write(self, bdf: Bdf, offset: int, size_bytes: Size, value: int) -> None:
        self._signals.obey()
        self._check(bdf, offset, size_bytes, value)
        self.retrained = self.retrained or self._trains(bdf, offset, value)
        self._ports.write(bdf, offset, size_bytes, value)

    def attribute(self, path: str) -> str | Unread:
        self._signals.obey()
        return self._ports.attribute(path)

    def set_attribute(self, path: str, text: str) -> None:
        self._signals.obey()
        cooling = self.before.cooling
        mine = {attribute_path(bdf, name) for bdf in self._rules for name in (
            "power/control", *(f"link/{name}" for name in ASPM_ATTRIBUTES))}
        if path not in mine and (cooling is None or path != f"{cooling}/cur_state"):
            raise ValueError(f"{path} is no setting of the link of {self.pair.name}")
        self.retrained = self.retrained or path not in mine
        self._ports.set_attribute(path, text)

    def writable(self, bdf: Bdf) -> Refused | None:
        return self._ports.writable(bdf)

    def seconds(self) -> float:
        return self._ports.seconds()

    def sleep(self, seconds: float) -> None:
        self._signals.obey()
        while seconds > NAP_SECONDS:
            self._ports.sleep(NAP_SECONDS)
            seconds -= NAP_SECONDS
            self._signals.obey()
        self._ports.sleep(seconds)
        self._signals.obey()

    def _trains(self, bdf: Bdf, offset: int, value: int) -> bool:
        port = self.pair.port
        return bdf == port.bdf and (offset == port.express + LNKCTL2 or (
            offset == port.express + LNKCTL and bool(value & RETRAIN)))

    def _check(self, bdf: Bdf, offset: int, size_bytes: int, value: int) -> None:
        """ValueError for a write that no experiment makes: a mistake in the program must not reach a register."""
        rule = self._rules.get(bdf, {}).get((offset, size_bytes))
        if rule is None:
            raise ValueError(f"no experiment writes {size_bytes} bytes at {offset:#x} of {bdf}")
        if value & ~rule:
            raise ValueError(f"no experiment writes {value:#x} at {offset:#x} of {bdf}")
        port = self.pair.port
        if bdf == port.bdf and offset == port.express + LNKCTL2:
            gts = SPEED_GTS.get(value & TARGET)
            kept = (self.before.field("port", "LnkCtl2") or 0) & TARGET
            if value & TARGET != kept and gts not in self.pair.common_gts:
                raise ValueError(f"target speed code {value & TARGET} is none of both ends of {self.pair.name}")


def _allowed(end: End, is_port: bool) -> dict[tuple[int, int], int]:
    """(offset, width) -> bits that may be ones."""
    link_control = 0xFFFF & ~LINK_DISABLE & ~(0 if is_port else RETRAIN)
    rules = {
        (end.express + LNKCTL, 2): link_control,
        (end.express + LNKCTL2, 2): 0xFFFF & ~COMPLIANCE,
        (end.express + LNKSTA2, 2): LINK_REQUEST_8,
        (end.express + DEVCTL, 2): 0x7FFF,
        (end.express + DEVCTL2, 2): 0xFFFF,
    }
    if end.secondary is not None:
        rules[end.secondary + LNKCTL3, 4] = 0xFE03 if is_port else 0xFE02
        rules[end.secondary + LANE_ERRORS, 4] = 0xFFFF_FFFF
    if end.phy16 is not None:
        rules[end.phy16 + PHY_STATUS, 4] = LINK_REQUEST_16
        rules |= {(end.phy16 + at, 4): 0xFFFF_FFFF for at in PARITY}
    if end.phy32 is not None:
        rules[end.phy32 + PHY_STATUS, 4] = LINK_REQUEST_16
    if end.l1_substates is not None:
        rules[end.l1_substates + L1SS_CTL1, 4] = rules[end.l1_substates + L1SS_CTL2, 4] = 0xFFFF_FFFF
    if end.margining is not None:
        rules |= {(end.margining + 8 + 4 * lane, 2): 0xFFFF for lane in range(32)}
    return rules


@contextmanager
def holding(
    ports: Ports, pair: LinkPair, journal_dir: str, *, boot: str | None = None, what: str = "",
    stakes: Sequence[str] = (), force: bool = False, announce: Callable[[str], None] = lambda _: None,
    load: Load | None = None,
) -> Iterator[Held]:
    """A link that experiments may change.

    `journal_dir`: a directory that is there, of the user who is asked for. `stakes`: what hangs on the link
    (`boxcheck.riser.links.stakes`), refused without `force`. `load` tells a card that rests from a link that came back
    slow.
    Refused, and nothing written, where the settings cannot be read or put on the disk, another boxcheck works on a
    link, or this one waits to be restored. NotRestored at the end where the link is not what it was and the experiments
    themselves raised nothing; else a note on what they raised.
    """
    if stakes and not force:
        raise Refused("unsupported", f"the link of {pair.name} is left alone: {'; '.join(stakes)}",
                      "--force, if the box may lose it")
    boot = boot_id() if boot is None else boot
    lock = lock_links(journal_dir)
    signals = Signals()
    try:
        for pending in pending_journals(journal_dir):
            if pending.port == pair.port.bdf:
                raise Refused("busy", f"the link below {pending.port} waits to be put back from an earlier start",
                              "boxcheck riser puts it back first")
        journal = _opened(ports, pair, boot, what)
        signals.hold()
        path = write_journal(journal_dir, journal)
        held = Held(ports, journal.pair, journal.before, signals, announce)
        raised: BaseException | None = None
        try:
            yield held
        except BaseException as error:
            raised = error
            raise
        finally:
            signals.restoring()
            held.restored = bring_back(ports, journal, retrain=held.retrained, load=load)
            if held.restored.complete:
                close_journal(path)
            else:
                sentence = f"{held.restored.says}. {held.restored.help}"
                if raised is not None:
                    raised.add_note(sentence)
                with suppress(Exception):  # a terminal that went away must not hide it in the journal too
                    announce(sentence)
        if not held.restored.complete:
            raise NotRestored(held.restored)
    finally:
        if lock is not None:
            lock.release()
        signals.release()


def _opened(ports: Ports, pair: LinkPair, boot: str, what: str) -> Journal:
    """The link as it is, from the machine itself: facts may be minutes old."""
    port = read_end(ports, pair.port.bdf)
    if isinstance(port, Unread):
        kind = "permission" if port.kind == "permission" else "gone"
        raise Refused(kind, f"the link of {pair.name} was left alone: {port.why}",  # type: ignore[arg-type]
                      "run it with sudo" if kind == "permission" else "")
    card = None if pair.card is None else read_end(ports, pair.card.bdf)
    if isinstance(card, Unread):
        raise Refused("gone", f"the link of {pair.name} was left alone: {card.why}")
    if port[0] != pair.port or (card is not None and card[0] != pair.card):
        raise Refused("error", f"the link of {pair.name} was left alone: its ends are no longer what they were when the"
                      " machine was read", "start it again")
    now = link_now(ports, pair)
    if isinstance(now, Unread):
        raise Refused("gone", f"the link of {pair.name} was left alone: {now.why}")
    before = take_snapshot(ports, pair, now.speed_gts if now.up else None, now.width if now.up else 0)
    if isinstance(before, Unread):
        raise Refused("gone", f"the link of {pair.name} was left alone: {before.why}")
    return Journal(
        boot=boot, started=time.time(), pid=os.getpid(), what=what, pair=pair, port=port[1],
        card=None if card is None else card[1], before=before)

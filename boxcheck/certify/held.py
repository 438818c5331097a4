"""An attempt that this process makes: it holds its lock, keeps which run is its load, decides when that is over, and
makes the folder. Begun here, or taken up where it was cut off."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING

import msgspec

from boxcheck.certify.acceptance import Acceptance
from boxcheck.certify.attempts import (
    Asked,
    AttemptHeldError,
    asked_at,
    attempts_of,
    earlier_lines,
    finish,
    forget,
    hold,
    open_attempts,
    reserve,
    safe_name,
    write_asked,
)
from boxcheck.certify.machine import HARDWARE, is_tested_box, marks, marks_of_run
from boxcheck.certify.run_gone import mark_of, refuse_other_run, without_run
from boxcheck.engine.record import as_user, kept_directory, state_and_owner
from boxcheck.host import Host
from boxcheck.store.errors import StoreError
from boxcheck.store.lock import RunLock
from boxcheck.store.reader import RunReader
from boxcheck.store.rows import RunState
from boxcheck.store.texts import plain_line
from boxcheck.usage import UsageError

if TYPE_CHECKING:
    from boxcheck.certify.run import Made
    from boxcheck.riser.notebook import Stored

NO_STATE = "set XDG_STATE_HOME to a directory that can be written"


class OtherMachineError(UsageError):
    """An attempt that was begun elsewhere."""


class HeldAttempt:
    """A context manager, which gives the lock up. Decided once, by whoever asks first: OCP's last lines, or the
    folder."""

    def __init__(self, place: str, asked: Asked, lock: RunLock, host: Host) -> None:
        self.place, self.asked = place, asked
        self.to_end = False
        """Whether it is over although its run was cut off."""
        self._lock, self._host = lock, host
        self._owner = state_and_owner(host)[1:]
        self._made: Made | None = None

    @property
    def name(self) -> str:
        return self.asked.name

    @property
    def begun(self) -> bool:
        """Whether it has a run."""
        return bool(self.asked.run)

    @property
    def state(self) -> RunState:
        """Of its run."""
        with RunReader(self.asked.run) as reader:
            return reader.run().state

    def run_began(self, path: str) -> None:
        """Keeps which run is its load. Where that cannot be written, the run goes on: it says itself whose it is."""
        mark = ""
        with contextlib.suppress(StoreError):  # what keeps it from being read is told where it is judged
            mark = mark_of(path)
        try:
            self._keep(msgspec.structs.replace(self.asked, run=path, run_mark=mark))
        except UsageError as error:
            print(f"which run it is could not be kept: {error}", file=sys.stderr)

    def be_strict(self) -> None:
        """Whoever ends it is as strict."""
        if not self.asked.strict:
            self._keep(msgspec.structs.replace(self.asked, strict=True))

    def _keep(self, asked: Asked) -> None:
        self.asked = asked
        try:
            with as_user(*self._owner):
                write_asked(self.place, asked)
        except OSError as error:
            says = f"{plain_line(str(error.filename or self.place))}: {os.strerror(error.errno or 0).lower()}"
            raise UsageError(says, "make room there; boxcheck certify --resume goes on") from None

    def forget(self) -> None:
        """Takes it back: its run never began."""
        with as_user(*self._owner):
            forget(self.place)

    def decided(self) -> Acceptance | None:
        return None if (made := self._decide()) is None else made.told

    def _decide(self) -> Made | None:
        """None while the run goes on, and where it was cut off and may go on."""
        from boxcheck.certify.run import accept

        state = self.state
        if state == "running" or (state == "crashed" and not self.to_end):
            return None
        if self._made is None:
            # As root where it is: of a run that was cut off, the logs of the boot before are looked up now.
            trusted = _clock_trusted(self._host)
            refuse_other_run(self.asked)
            self._made = accept(
                self.asked, self._earlier(), now=time.time(), clock_trusted=trusted, machine=self._machine())
        return self._made

    def write(self) -> Acceptance | None:
        """Decides and makes its files; None where its run is not over."""
        from boxcheck.certify.folder import write_folder

        made = self._decide()
        if made is None:
            return None
        with as_user(*self._owner):
            riser = self._riser()
        return write_folder(
            self.place, self.asked.run, made.told, made.want, made.verdict_json, *self._owner, riser)

    def write_without_run(self, why: str) -> Acceptance:
        """The same of an attempt whose run is gone, so that it does not stay open for ever."""
        from boxcheck.certify.folder import write_folder_alone

        return write_folder_alone(self.place, without_run(
            self.asked, why, self._earlier(), now=time.time(), clock_trusted=_clock_trusted(self._host),
            machine=self._machine()), *self._owner)

    def finish(self) -> str:
        """Gives the folder its name, and that."""
        with as_user(*self._owner):
            return finish(self.place)

    def _earlier(self) -> tuple[str, ...]:
        return earlier_lines(attempts_of(os.path.dirname(self.place)), self.asked.attempt)

    def _machine(self) -> dict[str, str]:
        return {**self.asked.machine, **marks()}

    def _riser(self) -> Stored | None:
        """The notebook of a riser experiment at this box, one that goes on or that ended lately. Whatever is wrong with
        those files, the acceptance is made."""
        from boxcheck.engine.record import state_directory
        from boxcheck.riser.notebook import recent

        with RunReader(self.asked.run) as reader:
            of = reader.run()
        folder = os.path.join(state_directory(self._host), "boxcheck", "riser")
        with contextlib.suppress(OSError):
            found = recent(folder, of.info.box, of.sessions[0].began.wall) if of.sessions else None
            if found is not None:
                state = "ended" if found.closed else "goes on"
                print(f"the report shows riser experiment {found.notebook.id}, which {state}", file=sys.stderr)
            return found
        return None

    def __enter__(self) -> HeldAttempt:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._lock.release()


def attempts_folder(host: Host) -> str:
    """Where the attempts of all boxes lie. UsageError where it cannot be made."""
    try:
        return kept_directory(host, "certify")
    except OSError as error:
        raise UsageError(f"{error.filename}: {os.strerror(error.errno or 0).lower()}", NO_STATE) from None


def begin(asked: Asked, host: Host) -> HeldAttempt:
    """Takes a number for an attempt, and its lock."""
    owner, root = state_and_owner(host)[1:], attempts_folder(host)
    try:
        with as_user(*owner):
            place, asked = reserve(os.path.join(root, safe_name(asked.identity.serial)), asked)
    except OSError as error:
        raise UsageError(
            f"{plain_line(str(error.filename or root))}: {os.strerror(error.errno or 0).lower()}", NO_STATE) from None
    try:
        with as_user(*owner):
            lock = hold(place)
    except UsageError:
        with as_user(*owner):
            forget(place)
        raise
    return HeldAttempt(place, asked, lock, host)


def take_up(serial: str | None, host: Host) -> tuple[HeldAttempt, int]:
    """The newest attempt of this machine that was cut off and that no other process makes, of that box where one is
    named; and how many more there are. UsageError where there is none."""
    root = attempts_folder(host)
    every = [one for one in open_attempts(root, every=True) if serial in (None, one[1].identity.serial)]
    waiting = [one for one in every if one[1].run]
    if every and not waiting:
        raise UsageError(f"{every[0][1].name} was cut off before its run began, or begins now",
                         "nothing was run: boxcheck certify begins the next")
    if not waiting:
        of = f" of box {plain_line(serial)}" if serial else ""
        raise UsageError(f"no attempt{of} was cut off", "boxcheck certify begins one")
    owner = state_and_owner(host)[1:]
    refused: UsageError | None = None
    for place, begun in waiting:
        try:
            _refuse_other_machine(begun, marks())
            with as_user(*owner):
                lock = hold(place)
        except (AttemptHeldError, OtherMachineError) as error:
            refused = refused or error
            continue
        if (asked := asked_at(place)) is not None and asked.run:  # as it is now that nobody else writes it
            return HeldAttempt(place, asked, lock, host), len(waiting) - 1
        lock.release()
    raise refused or UsageError("the attempt was ended by another boxcheck just now", "nothing is left to finish")


def _refuse_other_machine(asked: Asked, here: Mapping[str, str]) -> None:
    """OtherMachineError where the attempt is of another machine, whose home this one shares, or may be: what would be
    made here bears the marks of this one."""
    there = asked.machine or marks_of_run(asked.run)
    place = is_tested_box(there, here)
    if place.answer == "other":
        raise OtherMachineError(
            f"{asked.name} was begun on another machine ({place.says})", "boxcheck certify --resume over there")
    hardware = set(HARDWARE)
    if "boot" in there and there["boot"] != here.get("boot") and hardware & set(there) and not hardware & set(here):
        raise OtherMachineError(  # machines that were installed from one image have one machine-id
            f"{asked.name} was begun as root, which alone can tell since the restart whether this is that machine",
            "sudo boxcheck certify --resume")


def _clock_trusted(host: Host) -> bool | None:
    from boxcheck.engine.inspect import read_facts
    from boxcheck.probes.clock import Clock

    clock = read_facts(host, {Clock}).of(Clock)
    return clock.synchronized if isinstance(clock, Clock) and isinstance(clock.synchronized, bool) else None

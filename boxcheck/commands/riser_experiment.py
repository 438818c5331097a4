"""One call of `boxcheck riser` over one link: opens the notebook, experiments, weighs, tells."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

import msgspec

from boxcheck import __version__
from boxcheck.commands.riser_box import Box, Leave
from boxcheck.commands.riser_words import pairs_of
from boxcheck.engine.aftermath import boot_id
from boxcheck.engine.box_lock import whole_box
from boxcheck.judge import ExitCode
from boxcheck.probes.links import Link
from boxcheck.report import style_for
from boxcheck.report.output import write_output
from boxcheck.report.riser import riser_text
from boxcheck.report.riser_json import riser_json
from boxcheck.report.wrapping import wrapped
from boxcheck.riser import entry, notebook
from boxcheck.riser.absent import Shown, shown
from boxcheck.riser.account import RiserAccount, State, Tried
from boxcheck.riser.advice import advice, tape
from boxcheck.riser.evidence import Notebook, Place, Step, Weighed
from boxcheck.riser.experiments import Done, experiments
from boxcheck.riser.links.hold import NotRestored
from boxcheck.riser.links.link_pair import find_link
from boxcheck.riser.live import Live
from boxcheck.riser.motions import step_words
from boxcheck.riser.notebook import Stored
from boxcheck.riser.parts import Seat, first_places, slot_name
from boxcheck.riser.still import looks_in, settings_found
from boxcheck.riser.suspects.weigh import weigh
from boxcheck.usage import UsageError, nearest

if TYPE_CHECKING:
    from boxcheck.commands.riser import Options

class Experiment:
    """One call over one link."""

    def __init__(self, options: Options, box: Box) -> None:
        self.options, self.box = options, box
        self.started, self.began = time.time(), time.monotonic()
        self.risers = pairs_of("--riser", options.risers)
        self.tried: list[Tried] = []
        self.eye: tuple[str, ...] = ()
        self.absent: tuple[Shown, ...] = ()
        self.complaints: list[str] = []

    def run(self) -> int:
        return self._from_capture() if self.options.sysroot is not None else self._live()

    def _from_capture(self) -> int:
        """What a capture shows of presence, width and speed; nothing of errors, and nothing is kept."""
        link = find_link(self.options.slot or "", self.box.links())
        seats = self.box.seats(also=link.id)
        begun = entry.begin(self._new("of a capture", link), self._first(seats), "", self.started)
        seen = entry.with_looks(begun, looks_in(seats, self.box.facts, self.box.want))
        self._look_for_absent(link)
        self.complaints.append("a capture shows what trained; errors are counted on the machine itself")
        code = self._end(Stored(box=self.box.name, version=__version__, notebook=seen), folder=None)
        return int(ExitCode.INCOMPLETE) if code == ExitCode.REBOOT else code

    def _look_for_absent(self, link: Link) -> None:
        if link.upstream is None:
            self.absent = shown(link, self.box.facts)

    def _live(self) -> int:
        folder = self.box.folder()
        left = self.box.restore_pending(folder)
        stored, seats = self._opened(folder)
        port = next((seat.link.id for seat in seats if seat.slot == stored.notebook.slot), None)
        if port in left:  # it said so: what is measured now would be of a link that boxcheck itself has changed
            raise Leave(int(ExitCode.LOST))
        live = self.box.live(seats, folder)
        self.complaints += live.settings(stored.notebook.slot)
        code: int | None = None
        try:
            for done in self._work(live, stored.notebook):
                self.tried += done.tried
                self.eye = done.eye or self.eye
                if done.looks:
                    stored = msgspec.structs.replace(
                        stored, notebook=entry.with_looks(stored.notebook, done.looks))
                    notebook.save(folder, stored)
        except NotRestored as error:  # it says itself that the link is not what it was
            self.complaints.append(f"{error}; {error.help}" if error.help else str(error))
            code = int(ExitCode.LOST)
        except KeyboardInterrupt:
            self.box.say(f"interrupted; what was measured until then is in notebook {stored.notebook.id}")
            raise
        ended = self._end(stored, folder)
        return ended if code is None else code

    def _work(self, live: Live, of: Notebook) -> Iterator[Done]:
        options = self.options
        bench = live.bench(
            of.slot, options.seconds, writes=options.writes, retrainings=options.retrainings,
            margining=options.margining, full_margining=options.full_margining, force=options.force, soak=options.soak,
            again=f"{command(of)} --again --allow-writes")
        with whole_box():
            yield from experiments(bench)

    def _opened(self, folder: str) -> tuple[Stored, tuple[Seat, ...]]:
        """The notebook with this boot in it, on the disk, and the slots."""
        stored = self._resumed(folder)
        return self._begun(folder) if stored is None else self._gone_on(stored, folder)

    def _begun(self, folder: str) -> tuple[Stored, tuple[Seat, ...]]:
        link = find_link(self.options.slot or "", self.box.links())
        self._look_for_absent(link)
        seats = self.box.seats(also=link.id)
        known_slots("--riser", self.risers, [seat.slot for seat in seats])
        self.risers = {**self._asked_label(slot_name(link)), **self.risers}
        new = self._new(notebook.new_id(folder, self.started), link)
        stored = Stored(box=self.box.name, version=__version__, notebook=entry.begin(
            new, self._first(seats), boot_id(), self.started))
        notebook.save(folder, stored)
        return stored, seats

    def _new(self, id: str, link: Link) -> Notebook:
        return Notebook(
            id=id, slot=slot_name(link), started=self.started, cannot=self.options.cannot, spares=self.options.spares,
            settings=settings_found(self.box.facts, self.box.want, link.id))

    def _first(self, seats: Sequence[Seat]) -> tuple[Place, ...]:
        return first_places(seats, self.box.want, self.risers, pairs_of("--supply", self.options.supplies))

    def _gone_on(self, stored: Stored, folder: str) -> tuple[Stored, tuple[Seat, ...]]:
        asked = stored.notebook
        known_slots("--riser", self.risers, [place.slot for place in asked.boots[-1].places])
        seats = self._seats_of(asked)
        entered = entry.enter(asked, seats, self.risers, boot_id(), self.started)
        if entered.same_boot and asked.next is not None and not self.options.again:
            self._still_waiting(asked, asked.next)
        self.complaints += entered.complaints
        for told in () if entered.same_boot else entry.found_by_itself(entered.notebook):
            self.box.say(told)
        stored = msgspec.structs.replace(stored, notebook=msgspec.structs.replace(
            entered.notebook, cannot=(*asked.cannot, *self.options.cannot),
            spares=(*asked.spares, *self.options.spares)))
        notebook.save(folder, stored)
        return stored, seats

    def _resumed(self, folder: str) -> Stored | None:
        """The notebook to go on with; None for a new one."""
        if self.options.resume is None:
            link = find_link(self.options.slot or "", self.box.links())
            going_on = notebook.open_one(folder, slot_name(link))
            if going_on is None or going_on.box not in ("", self.box.name):
                return None
            self.box.say(f"going on with experiment {going_on.notebook.id}; --close ends it, for a new one")
            return going_on
        slot = slot_name(find_link(self.options.slot, self.box.links())) if self.options.slot else None
        found = notebook.find(folder, self.options.resume) if self.options.resume else notebook.open_one(folder, slot)
        if found is None:
            raise UsageError("no experiment goes on here", "boxcheck riser SLOT begins one")
        id = found.notebook.id
        if found.closed:
            raise UsageError(f"experiment {id} is over: {found.closed}", "boxcheck riser SLOT begins one")
        if found.box and self.box.name and found.box != self.box.name:
            raise UsageError(f"experiment {id} is of the box {found.box}, and this is {self.box.name}",
                             "boxcheck riser SLOT begins one of this box")
        return found

    def _still_waiting(self, of: Notebook, step: Step) -> NoReturn:
        """The step needs the box powered off, and it was not."""
        print("\n".join(wrapped(
            f"the box was not powered off since this was asked: {step_words(step, of)}", 100, "", "  ")))
        print("\n".join(wrapped(
            "help: --again measures once more as it is; --cannot KIND, such as --cannot swap-risers, says what is not "
            "possible, with --again for another step", 100, "", "  ")), file=sys.stderr)
        raise Leave(int(ExitCode.REBOOT))

    def _seats_of(self, of: Notebook) -> tuple[Seat, ...]:
        try:
            link = find_link(of.slot, self.box.links())
            self._look_for_absent(link)
            return self.box.seats(also=link.id)
        except UsageError:
            self.complaints.append(f"{of.slot} shows no link in this boot")
            return self.box.seats()

    def _asked_label(self, slot: str) -> Mapping[str, str]:
        """The label of the riser in question, asked once of somebody who sits there."""
        planned = {one.label: one.riser for one in self.box.want.slots}
        nobody = self.options.quiet or not (sys.stdin.isatty() and sys.stderr.isatty())
        if slot in self.risers or planned.get(slot) or nobody:
            return {}
        print(f"Label of the riser in {slot}, as it is written on it (Enter: R-{slot}; none: no riser): ",
              end="", file=sys.stderr, flush=True)
        label = sys.stdin.readline().strip()[:40]
        return {slot: label} if label and label.isprintable() else {}

    def _end(self, stored: Stored, folder: str | None) -> int:
        weighed = weigh(stored.notebook)
        state, code = state_of(weighed)
        closed = weighed.says if weighed.verdict in ("found", "healthy") else ""
        stored = msgspec.structs.replace(
            stored, closed=closed, notebook=msgspec.structs.replace(stored.notebook, next=weighed.next))
        path = notebook.save(folder, stored) if folder is not None else ""
        write(RiserAccount(
            version=__version__, started=self.started, seconds=time.monotonic() - self.began, stored=stored,
            weighed=weighed, state=state, tried=tuple(self.tried), advice=advice(weighed, stored.notebook),
            tape=tuple(tape(one, stored.notebook) for one in weighed.accused), complaints=tuple(self.complaints),
            eye=self.eye, absent=self.absent, of_capture=folder is None, path=path,
            command=command(stored.notebook) if folder is not None and not closed else "",
        ), self.options)
        return code


def command(of: Notebook) -> str:
    """How to go on, as it is typed."""
    return f"{'sudo ' if os.geteuid() == 0 and 'SUDO_UID' in os.environ else ''}boxcheck riser --resume {of.id}"


def known_slots(name: str, told: Mapping[str, str], known: Sequence[str]) -> None:
    """UsageError for a slot that is none of those."""
    for slot in told:
        if slot not in known:
            raise UsageError(f"{name}: no slot is called {slot!r}; there are {', '.join(known)}", nearest(slot, known))


def state_of(weighed: Weighed) -> tuple[State, int]:
    """State and exit code of a verdict."""
    match weighed.verdict:
        case "found":
            return "found", int(ExitCode.FAILED)
        case "healthy":
            return "healthy", int(ExitCode.PASSED)
        case "not-yet":
            return "waiting", int(ExitCode.REBOOT)
        case _:
            return "exhausted", int(ExitCode.INCOMPLETE)


def write(account: RiserAccount, options: Options) -> None:
    """On the terminal, and as JSON where it is asked for."""
    stream = sys.stderr if options.json == "-" else sys.stdout
    if options.json != "-" or stream.isatty() or options.verbose:
        stream.write(riser_text(account, style_for(options, stream)))
        stream.flush()
    if options.json:
        write_output(options.json, riser_json(account))

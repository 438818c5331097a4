"""One call of `boxcheck riser` over one link: opens the notebook, experiments, weighs, tells."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn, get_args, get_type_hints

import msgspec

from boxcheck import __version__
from boxcheck.commands.riser_box import Box, Leave
from boxcheck.commands.riser_pages import write_page
from boxcheck.commands.riser_words import pairs_of
from boxcheck.engine.aftermath import boot_id
from boxcheck.engine.box import same_box
from boxcheck.engine.box_lock import whole_box
from boxcheck.host.common import one_line
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
from boxcheck.riser.evidence import Look, Notebook, Place, Step, Weighed
from boxcheck.riser.experiments import Done, experiments
from boxcheck.riser.links.hold import NotRestored
from boxcheck.riser.links.link_pair import find_link
from boxcheck.riser.live import Live
from boxcheck.riser.motions import step_words
from boxcheck.riser.notebook import Stored
from boxcheck.riser.parts import Seat, first_places, repeated_labels, short_card, slot_name
from boxcheck.riser.still import looks_in, settings_excluded, settings_found
from boxcheck.riser.suspects.weigh import weigh
from boxcheck.usage import UsageError, nearest

if TYPE_CHECKING:
    from boxcheck.commands.riser import Options
    from boxcheck.report.document import Document


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
        if self.options.sysroot is not None:
            return self._from_capture()
        with whole_box():  # before anything is put back or begun: two would each undo what the other does
            return self._live()

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
        if self.box.restore_pending():  # it said so: all links are loaded and weighed, by a card's power, too
            raise Leave(int(ExitCode.LOST))
        stored, seats = self._opened(folder)
        port = next((seat.link.id for seat in seats if seat.slot == stored.notebook.slot), None)
        if port is None:
            gone = Look(slot=stored.notebook.slot, active=False)
            stored = msgspec.structs.replace(stored, notebook=entry.with_looks(stored.notebook, [gone]))
            return self._end(stored, folder)
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
            told = f"{error}; {error.help}" if error.help else str(error)
            self.complaints.append(told)
            print("\n".join(wrapped(f"! {told}", 100, "", "  ")), file=sys.stderr)
            code = int(ExitCode.LOST)
        except KeyboardInterrupt as stopped:
            for note in getattr(stopped, "__notes__", ()):  # a link that is not as it was, which nobody else tells
                print("\n".join(wrapped(f"! {note}", 100, "", "  ")), file=sys.stderr)
            self.box.say(f"interrupted; what was measured until then is in notebook {stored.notebook.id}")
            raise
        ended = self._end(stored, folder)
        return ended if code is None else code

    def _work(self, live: Live, of: Notebook) -> Iterator[Done]:
        options = self.options
        bench = live.bench(
            of.slot, options.seconds, writes=options.writes, retrainings=options.retrainings,
            margining=options.margining, full_margining=options.full_margining, force=options.force, soak=options.soak,
            again=f"{'' if os.geteuid() == 0 else 'sudo '}{command(of)} --again --allow-writes")
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
        known_slots("--supply", pairs_of("--supply", self.options.supplies), [seat.slot for seat in seats])
        self.risers = {**self._asked_label(slot_name(link)), **self.risers}
        places = self._first(seats)
        new = msgspec.structs.replace(
            self._new(notebook.new_id(folder, self.started), link), cannot=impossible(self.options.cannot, places))
        self.complaints += [f"two places have a riser labelled {label}: one label belongs to one riser"
                            for label in repeated_labels(places)]
        stored = Stored(box=self.box.name, version=__version__, notebook=entry.begin(
            new, places, boot_id(), self.started, self.risers))
        notebook.save(folder, stored)
        return stored, seats

    def _new(self, id: str, link: Link) -> Notebook:
        return Notebook(
            id=id, slot=slot_name(link), started=self.started, spares=self.options.spares,
            settings=settings_found(self.box.facts, self.box.want, link.id),
            excluded=settings_excluded(self.box.facts, self.box.want, self.box.seats(also=link.id)))

    def _first(self, seats: Sequence[Seat]) -> tuple[Place, ...]:
        return first_places(seats, self.box.want, self.risers, pairs_of("--supply", self.options.supplies))

    def _gone_on(self, stored: Stored, folder: str) -> tuple[Stored, tuple[Seat, ...]]:
        asked = stored.notebook
        known_slots("--riser", self.risers, [place.slot for place in asked.boots[-1].places])
        seats = self._seats_of(stored)
        if self.options.supplies:
            raise UsageError("--supply is told when an experiment begins", "--close ends this one, for a new one")
        entered = entry.enter(asked, seats, self.risers, boot_id(), self.started)
        if entered.same_boot and asked.next is not None and not self.options.again:
            self._still_waiting(stored, asked.next, folder)
        self.complaints += entered.complaints
        for told in () if entered.same_boot else entry.found_by_itself(entered.notebook):
            self.box.say(told)
        stored = msgspec.structs.replace(stored, notebook=msgspec.structs.replace(
            entered.notebook,
            cannot=(*asked.cannot, *impossible(self.options.cannot, entered.notebook.boots[-1].places)),
            spares=(*asked.spares, *self.options.spares)))
        notebook.save(folder, stored)
        return stored, seats

    def _resumed(self, folder: str) -> Stored | None:
        """The notebook to go on with; None for a new one."""
        if self.options.resume is None:
            link = find_link(self.options.slot or "", self.box.links())
            going_on = notebook.open_one(folder, self.box.name, slot_name(link)) or notebook.open_one(
                folder, self.box.name, link.id)
            if going_on is None:
                return None
            self.box.say(f"going on with experiment {going_on.notebook.id}; --close ends it, for a new one")
            return going_on
        slot = slot_name(find_link(self.options.slot, self.box.links())) if self.options.slot else None
        found = notebook.find(folder, self.options.resume) if self.options.resume else notebook.open_one(
            folder, self.box.name, slot)
        if found is None:
            raise UsageError("no experiment goes on here", "boxcheck riser SLOT begins one")
        id = found.notebook.id
        if found.closed:
            raise UsageError(f"experiment {id} is over: {one_line(found.closed)}", "boxcheck riser SLOT begins one")
        if same_box(found.box, self.box.name) is False:
            raise UsageError(f"experiment {id} is of the box {one_line(found.box)}, and this is {self.box.name}",
                             "boxcheck riser SLOT begins one of this box")
        return found

    def _still_waiting(self, stored: Stored, step: Step, folder: str) -> NoReturn:
        """The step needs the box powered off, and it was not: nothing is measured, and the account is given again."""
        says = f"the box was not powered off since this was asked: {step_words(step, stored.notebook)}"
        print("\n".join(wrapped(says, 100, "", "  ")), file=sys.stderr)
        print("\n".join(wrapped(
            "help: --again measures once more as it is; --cannot KIND, such as --cannot swap-risers, says what is not "
            "possible, with --again for another step", 100, "", "  ")), file=sys.stderr)
        self.complaints.append("the box was not powered off since the step was asked: nothing was measured")
        raise Leave(self._end(stored, folder))

    def _seats_of(self, stored: Stored) -> tuple[Seat, ...]:
        """The slots, by the names that the notebook knows them by: an ordinary user does not see the board's own."""
        of = stored.notebook
        links, known = self.box.links(), {place.slot for place in of.boots[-1].places}
        try:
            link = find_link(of.slot, links)
        except UsageError:
            if not any(link.slot in known or link.id in known for link in links.links.values()):
                raise UsageError(f"none of the slots of experiment {of.id} is known by its name here",
                                 _other_box(stored)) from None
            self.complaints.append(f"the port of {of.slot} shows no link in this boot")
            return tuple(_named(seat, known) for seat in self.box.seats())
        self._look_for_absent(link)
        return tuple(_named(seat, known) for seat in self.box.seats(also=link.id))

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

    def _command(self, of: Notebook, state: State) -> str:
        """How to go on. Where no step would tell more, errors that are too rare for this look may still come."""
        longer = f" --again --seconds {min(86400.0, LONGER * self.options.seconds):g}" if state == "exhausted" else ""
        return f"{command(of)}{longer}"

    def _end(self, stored: Stored, folder: str | None) -> int:
        """The verdict, kept and told. What cannot be kept is told nonetheless."""
        weighed = weigh(stored.notebook)
        state, code = state_of(weighed)
        closed = weighed.says if weighed.verdict in ("found", "healthy") else ""
        stored = msgspec.structs.replace(
            stored, closed=closed, notebook=msgspec.structs.replace(stored.notebook, next=weighed.next))
        path, trouble = "", None
        try:
            path = notebook.save(folder, stored) if folder is not None else ""
        except UsageError as error:
            trouble = error
        write(RiserAccount(
            version=__version__, started=self.started, seconds=time.monotonic() - self.began, stored=stored,
            weighed=weighed, state="capture" if folder is None and state == "waiting" else state,
            tried=tuple(self.tried), advice=advice(weighed, stored.notebook),
            tape=tuple(tape(one, stored.notebook) for one in weighed.accused), complaints=tuple(self.complaints),
            eye=self.eye, absent=self.absent, of_capture=folder is None, path=path,
            command=self._command(stored.notebook, state) if folder is not None and not closed else "",
        ), self.options)
        if trouble is not None:
            print(f"error: {trouble}\nhelp: {trouble.help}", file=sys.stderr)
            return code if code == ExitCode.FAILED else int(ExitCode.INCOMPLETE)
        return code


def _other_box(stored: Stored) -> str:
    """What helps where no slot has the name that a notebook knows it by."""
    if os.geteuid() != 0:
        return "run it with sudo, as it was begun: the board's table of slots is root's to read"
    of = f"of another box ({one_line(stored.box)})" if stored.box else "of another box"
    return f"it may be {of}; boxcheck riser --resume {stored.notebook.id} --close ends it"


LONGER = 10
"""Times as long is what is left to try where no step tells more."""


def _named(seat: Seat, known: Collection[str]) -> Seat:
    """By the port's address where the notebook has it so."""
    return msgspec.structs.replace(seat, slot=seat.link.id) if seat.link.id in known else seat


KINDS = get_args(get_type_hints(Step)["kind"])


def impossible(words: Sequence[str], places: Sequence[Place]) -> tuple[str, ...]:
    """What `--cannot` names: kinds of steps, slots, risers, cards also by their last letters. UsageError for a word
    that names none."""
    names = {name: name for place in places for name in (place.slot, place.riser, place.card) if name}
    names |= {kind: kind for kind in KINDS}
    for place in places:
        if place.card:
            names.setdefault(short_card(place.card), place.card)
            names.setdefault(short_card(place.card).lstrip("\u2026"), place.card)
    for word in words:
        if word not in names:
            raise UsageError(f"--cannot {one_line(word)!r}: is no kind of step ({', '.join(KINDS)}) and no part here",
                             nearest(word, names))
    return tuple(names[word] for word in words)


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
    data_apart = "-" in (options.json, options.html, options.pdf)
    stream = sys.stderr if data_apart else sys.stdout
    if not data_apart or stream.isatty() or options.verbose:
        stream.write(riser_text(account, style_for(options, stream)))
        stream.flush()
    if options.json:
        write_output(options.json, riser_json(account))

    def pages() -> Document:
        from boxcheck.report.riser_page import page

        return page(account)

    write_page(pages, account.started, options)

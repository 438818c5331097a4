"""`boxcheck riser --all`, `--list` and `--close`: every link in one order; experiments that are kept."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from boxcheck import __version__
from boxcheck.commands.riser_pages import write_page
from boxcheck.engine.box_lock import whole_box
from boxcheck.engine.record import kept_directory
from boxcheck.host.live import LiveHost
from boxcheck.judge import ExitCode
from boxcheck.model import Unread
from boxcheck.probes.gpus import Gpus
from boxcheck.report import style_for
from boxcheck.report.output import write_output
from boxcheck.report.riser_json import list_json, ranking_json
from boxcheck.report.riser_ranking import Ranking, ranking_page, ranking_text
from boxcheck.report.wrapping import wrapped
from boxcheck.riser import notebook
from boxcheck.riser.evidence import Conditions, Look
from boxcheck.riser.experiments import margined
from boxcheck.riser.links.hold import NotRestored
from boxcheck.riser.measuring.rank import Ranked, rank
from boxcheck.riser.still import looks_in
from boxcheck.store.texts import plain_line
from boxcheck.usage import UsageError

if TYPE_CHECKING:
    from boxcheck.commands.riser import Options
    from boxcheck.commands.riser_box import Box
    from boxcheck.riser.live import Live
    from boxcheck.riser.parts import Seat


def rank_all(options: Options, box: Box) -> int:
    """Measures all links at the same load and ranks them, the worst first."""
    started = time.time()
    seats = box.seats()
    if not seats:
        box.links()
        raise no_slot(box)
    looks: list[Look] = []
    left_out: dict[str, str] = {}
    lost, interrupted = False, None
    if options.sysroot is not None:
        looks += looks_in(seats, box.facts, box.want)
        left_out = dict.fromkeys((seat.slot for seat in seats), OF_CAPTURE)
    else:
        with whole_box():
            folder = box.folder()
            if left := box.restore_pending():
                print(f"error: the links below {', '.join(sorted(left))} are not as they were, so nothing was ranked",
                      file=sys.stderr)
                return int(ExitCode.LOST)
            live = box.live(seats, folder)
            looks += live.measure("", options.seconds, Conditions(neighbours="loaded"), everyone=True)
            try:
                lost = margins_of(options, live, seats, looks, left_out)
            except KeyboardInterrupt as stopped:  # every link was measured by then, and that is told
                interrupted = stopped
                for note in getattr(stopped, "__notes__", ()):  # a link that is not as it was, which nobody else tells
                    print("\n".join(wrapped(f"! {note}", 100, "", "  ")), file=sys.stderr)
    ranked = rank(looks)
    ranking = Ranking(
        ranked=ranked, version=__version__, started=started, box=box.name, left_out=left_out,
        margins={one.slot: tuple(margin for look in looks if look.slot == one.slot for margin in look.margins)
                 for one in ranked}, of_capture=options.sysroot is not None)
    data_apart = "-" in (options.json, options.html, options.pdf)
    stream = sys.stderr if data_apart else sys.stdout
    if not data_apart or stream.isatty() or options.verbose:
        stream.write(ranking_text(ranking, style_for(options, stream)))
        stream.flush()
    if options.json:
        write_output(options.json, ranking_json(ranked, looks, __version__, started, box.name, left_out))
    write_page(lambda: ranking_page(ranking), started, options)
    if interrupted is not None:
        raise interrupted
    return int(ExitCode.LOST) if lost else code_of(ranked)


def no_slot(box: Box) -> UsageError:
    """Why there is no link to rank."""
    gpus = box.facts.of(Gpus)
    if not isinstance(gpus, Unread) and gpus.gpus and all(gpu.integrated for gpu in gpus.gpus):
        return UsageError("the GPU of this machine is built in: it hangs on no riser and in no slot, and has no "
                          "link to measure", "boxcheck doctor looks at all else")
    return UsageError("no slot of this machine holds a GPU, and no profile names one",
                      "a card that does not appear: boxcheck riser SLOT, by the slot or the address of its port")


OF_CAPTURE = "margins are taken on the machine itself"
INTERRUPTED = "it was interrupted"
BY_WRITES = "it moves the samplers of receivers and puts them back: sudo boxcheck riser --all --allow-writes"


def margins_of(
    options: Options, live: Live, seats: Sequence[Seat], looks: list[Look], left_out: dict[str, str],
) -> bool:
    """Margins of every link that can be margined, put into `looks`; into `left_out` slots of which none were taken, or
    not all, and why: both as far as it came, also where Ctrl-C ends it. Gives whether a link is not what it was, after
    which no other is touched."""
    if not options.margining or not options.writes:
        why = BY_WRITES if options.margining else "they were left out by --no-margining"
        left_out |= dict.fromkeys((seat.slot for seat in seats), why)
        return False
    lost = ""
    for at, seat in enumerate(seats):
        if lost:
            left_out[seat.slot] = lost
            continue
        try:
            for done in margined(live.bench(
                    seat.slot, options.seconds, writes=True, full_margining=options.full_margining, force=options.force,
                    again="sudo boxcheck riser --all --allow-writes")):
                looks += done.looks
                whys = [one.says + (f"; {one.help}" if one.help else "") for one in done.tried]
                if whys:
                    left_out[seat.slot] = "; ".join(whys)
        except KeyboardInterrupt:
            left_out |= {left.slot: INTERRUPTED for left in seats[at:] if left.slot not in left_out}
            raise
        except NotRestored as error:
            told = f"{error}; {error.help}" if error.help else str(error)
            print("\n".join(wrapped(f"! {told}", 100, "", "  ")), file=sys.stderr)
            left_out[seat.slot], lost = told, f"the link of {seat.slot} was not put back, so no other was touched"
    return bool(lost)


def code_of(ranked: tuple[Ranked, ...]) -> int:
    """1 where a link fails, whatever else it is; 3 where none does and something was not looked at: a direction, width
    or speed that was not read, too few bits to show the rate that is allowed, a look that was cut short, a slot in
    which a card was looked for and none is felt; else 0: marginal passes."""
    if any(one.has_failed for one in ranked):
        return int(ExitCode.FAILED)
    whole = bool(ranked) and all(one.is_whole for one in ranked)
    return int(ExitCode.PASSED if whole else ExitCode.INCOMPLETE)


def _folder() -> str:
    try:
        return kept_directory(LiveHost(), "riser")
    except OSError as error:
        raise UsageError(f"{error.filename}: {os.strerror(error.errno or 0).lower()}",
                         "set XDG_STATE_HOME to a directory that can be written") from None


def list_all(options: Options) -> int:
    """Experiments of this user, the newest first."""
    folder = _folder()
    entries = tuple(notebook.entries(folder))
    for one in entries:
        if isinstance(one, UsageError):
            print(f"not read: {one}", file=sys.stderr)
    every = tuple(one for one in entries if not isinstance(one, UsageError))
    if options.json:
        write_output(options.json, list_json(every))
        return 0
    if not every:
        print("no experiment was begun; boxcheck riser SLOT begins one")
    for one in every:
        day = datetime.fromtimestamp(one.notebook.started, UTC).strftime("%Y-%m-%d %H:%MZ")
        boots = len(one.notebook.boots)
        state = one.closed or ("waits for a step" if one.notebook.next is not None else "goes on")
        print(plain_line(f"{one.notebook.id}  {day}  {one.notebook.slot}  boot {boots}  {one.box}  {state}"))
    return 0


def close_one(options: Options) -> int:
    """Ends an experiment that goes on, without a verdict."""
    folder = _folder()
    found = notebook.find(folder, options.resume) if options.resume else notebook.open_one(
        folder, "", options.slot)
    if found is None or found.closed:
        raise UsageError("no such experiment goes on", "boxcheck riser --list names them")
    notebook.save(folder, msgspec.structs.replace(found, closed="ended without a verdict, by --close"))
    stream = sys.stderr if options.json == "-" else sys.stdout
    print(plain_line(f"experiment {found.notebook.id} is over; boxcheck riser {found.notebook.slot} begins a new one"),
          file=stream)
    return 0

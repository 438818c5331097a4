"""`boxcheck certify`: identity, doctor, burn-in, doctor, disposition, and the folder of the attempt.

The load is a burn-in as `boxcheck burn` makes it (commands/burn.py): it outlives its terminal, and goes on after a
power cut. What is asked for is kept before it begins, so that `certify --resume` finishes an attempt that was cut off.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from boxcheck.judge import ExitCode
from boxcheck.store.texts import plain_line
from boxcheck.usage import NothingThereError, UsageError

if TYPE_CHECKING:
    from boxcheck.certify.acceptance import Acceptance, Identity
    from boxcheck.certify.attempts import Asked
    from boxcheck.certify.identity import Given, Station
    from boxcheck.certify.run import Made
    from boxcheck.commands.burn import Options as BurnOptions
    from boxcheck.commands.telling import Streams
    from boxcheck.engine.inspect import Facts
    from boxcheck.host import Host
    from boxcheck.profile import Profile
    from boxcheck.riser.notebook import Stored
    from boxcheck.store.lock import RunLock

class Options(msgspec.Struct, frozen=True, kw_only=True):
    profile: str | None = None
    force_profile: bool = False
    level: int | None = None
    lasting: str | None = None
    backend: str | None = None
    inject: str | None = None
    identity: str | None = None
    """File."""
    station_file: str | None = None
    waivers: str | None = None
    """File."""
    serial: str | None = None
    work_order: str | None = None
    operator: str | None = None
    station: str | None = None
    notes: str | None = None
    risers: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    dry_run: bool = False
    resume: bool = False
    box: str | None = None
    """With `resume`: serial number of the box."""
    end: bool = False
    """With `resume`: the run is not gone on with."""
    json: str | None = None
    jsonl: str | None = None
    ocptv: str | None = None
    strict: bool = False
    ascii: bool = False
    color: str = "auto"
    quiet: bool = False
    verbose: int = 0
    no_tui: bool = False


def certify(options: Options) -> int:
    from boxcheck.report.output import refuse_place

    asked = {"--json": options.json, "--jsonl": options.jsonl, "--ocptv": options.ocptv}
    to_stdout = [word for word, place in asked.items() if place == "-"]
    if len(to_stdout) > 1:
        raise UsageError(f"{' and '.join(to_stdout)} both want standard output", "name a file for one of them")
    for place in filter(None, asked.values()):
        if place != "-":
            refuse_place(place)
    if options.resume:
        _refuse_beside_resume(options)
        return _resume(options)
    if options.box is not None or options.end:
        raise UsageError("a box is named, and not that its attempt goes on", "boxcheck certify --resume SERIAL")
    return _begin(options)


def _begin(options: Options) -> int:
    from boxcheck.certify.attempts import Asked, refuse_other_case
    from boxcheck.certify.machine import marks
    from boxcheck.certify.waivers import read_waivers
    from boxcheck.checks.wording import duration as words
    from boxcheck.commands.burn import burn
    from boxcheck.commands.doctor import Options as DoctorOptions
    from boxcheck.commands.doctor import choose_profile, open_host
    from boxcheck.commands.no_device import no_device
    from boxcheck.commands.put_back import refuse_changed, says_aside
    from boxcheck.commands.runs import id_of, runs_folder
    from boxcheck.commands.stress import backend_named
    from boxcheck.engine.detach import running
    from boxcheck.engine.inspect import read_facts
    from boxcheck.engine.plan_profile import refuse_other_box
    from boxcheck.engine.stress import find_devices
    from boxcheck.registry import discover, discover_stress

    discover()
    discover_stress()
    station = _station(options.station_file)
    given = _given(options, station)
    waivers = () if options.waivers is None else read_waivers(options.waivers)
    host = open_host(None)
    facts = read_facts(host)
    want, certain, why = choose_profile(DoctorOptions(profile=options.profile), facts)
    if not certain:
        raise UsageError(f"no profile says what this box must be: {why}", "boxcheck certify --profile NAME|FILE")
    if options.profile is not None and not options.force_profile:
        refuse_other_box(want, facts)
    asked_seconds, planned, shortened = _asked(options, want)
    if options.dry_run:
        cut = f"; shortened: {shortened}" if shortened else ""
        print(f"acceptance by {want.name} r{want.revision}: {words(asked_seconds)} ({planned}){cut}")
        _say_no_pdf(options)
        return burn(_burn_options(options, asked_seconds))
    if (busy := running(runs_folder())) is not None:
        raise UsageError(f"a run is going on: {id_of(busy)}", "boxcheck attach follows it")
    # What keeps it from running comes before anybody types who the box is.
    if (code := refuse_changed(host, says_aside(options.quiet))) is not None:
        return code
    runtime = find_devices(backend_named(options.backend))
    if not runtime.gpus:
        return no_device(runtime, facts, options)
    _say_no_pdf(options)
    identity = _identify(given, station, want, facts, f"{want.name} r{want.revision}, {planned}")
    refuse_other_case(_root(host), identity.serial)
    if shortened:
        print(f"the plan is shortened: {shortened}; the disposition cannot be PASS", file=sys.stderr)
    asked = Asked(
        id=str(uuid.uuid4()), identity=identity, attempt=0, began=time.time(), machine=marks(),
        planned=f"{words(asked_seconds)} ({planned})", shortened=shortened, waivers=waivers, strict=options.strict,
        profile=want.name, profile_revision=want.revision, profile_sha256=want.sha256)
    return _run(options, asked, _burn_options(options, asked_seconds), host)


def _say_no_pdf(options: Options) -> None:
    """Before hours of load, what the folder will lack for want of a library."""
    from boxcheck.report.command import own_pip
    from boxcheck.report.pdf import require

    if options.quiet:
        return
    try:
        require()
    except UsageError as error:
        print(f"the folder will hold no report.pdf: {error} ({own_pip(error.help)})", file=sys.stderr)


def _run(options: Options, asked: Asked, burning: BurnOptions, host: Host) -> int:
    """Takes a number, burns in, and makes the folder."""
    from boxcheck.certify.attempts import forget, hold, reserve, safe_name
    from boxcheck.engine.record import as_user, state_and_owner

    _, uid, gid = state_and_owner(host)
    root = _root(host)
    try:
        with as_user(uid, gid):
            place, asked = reserve(os.path.join(root, safe_name(asked.identity.serial)), asked)
    except OSError as error:
        raise UsageError(f"{plain_line(str(error.filename or root))}: {os.strerror(error.errno or 0).lower()}",
                         "set XDG_STATE_HOME to a directory that can be written") from None
    try:
        with as_user(uid, gid):
            lock = hold(place)
    except UsageError:
        with as_user(uid, gid):
            forget(place)
        raise
    try:
        return _run_held(place, asked, options, burning, host)
    finally:
        lock.release()


def _run_held(place: str, asked: Asked, options: Options, burning: BurnOptions, host: Host) -> int:
    from boxcheck.certify.attempts import forget, write_asked
    from boxcheck.certify.run_gone import mark_of
    from boxcheck.commands.burn import burn
    from boxcheck.engine.record import as_user, state_and_owner
    from boxcheck.store.errors import StoreError

    _, uid, gid = state_and_owner(host)
    begun: list[Asked] = []
    acceptance = _Acceptance(lambda: begun[-1], place, options, host)

    def began(path: str) -> None:
        mark = ""
        with contextlib.suppress(StoreError):  # what keeps it from being read is told where it is judged
            mark = mark_of(path)
        begun.append(msgspec.structs.replace(asked, run=path, run_mark=mark))
        with as_user(uid, gid):
            write_asked(place, begun[-1])

    print(f"box {plain_line(asked.identity.serial)}, attempt {asked.attempt}", file=sys.stderr)
    try:
        with _data_apart(options):
            of = f"attempt {asked.attempt} of box {plain_line(asked.identity.serial)}"
            burn(msgspec.structs.replace(burning, attempt=of), began, _streams(
                asked, options, lambda: acceptance.told))
    except KeyboardInterrupt:
        if begun:
            print("boxcheck certify --resume makes the report when the run is over", file=sys.stderr)
        raise
    finally:
        if not begun:
            with as_user(uid, gid):
                forget(place)
    if not begun:  # the devices went while somebody typed: burn has said so
        raise NothingThereError(
            "nothing was run: there is no device to put load on", "boxcheck doctor says what there is")
    return _end(place, acceptance, options, host)


def _resume(options: Options) -> int:
    """Finishes an attempt that was cut off, whose terminal went, or whose folder could not be written."""
    from boxcheck.certify.attempts import open_attempts
    from boxcheck.commands.doctor import open_host
    from boxcheck.registry import discover, discover_stress

    discover()
    discover_stress()
    host = open_host(None)
    waiting = [one for one in open_attempts(_root(host)) if options.box in (None, one[1].identity.serial)]
    if not waiting:
        of = f" of box {plain_line(options.box)}" if options.box else ""
        raise UsageError(f"no attempt{of} was cut off", "boxcheck certify begins one")
    place, asked, lock = _first_free(waiting, host)
    try:
        return _resume_held(place, asked, len(waiting) - 1, options, host)
    finally:
        lock.release()


def _first_free(waiting: Sequence[tuple[str, Asked]], host: Host) -> tuple[str, Asked, RunLock]:
    """The newest attempt of this machine that no other process makes, held. UsageError where there is none."""
    from boxcheck.certify.attempts import AttemptHeldError, hold, read_asked
    from boxcheck.engine.record import as_user, state_and_owner

    _, uid, gid = state_and_owner(host)
    refused: UsageError | None = None
    for place, begun in waiting:
        try:
            _refuse_other_machine(begun)
            with as_user(uid, gid):
                lock = hold(place)
        except (AttemptHeldError, OtherMachineError) as error:
            refused = refused or error
            continue
        if (asked := read_asked(place)) is not None:  # as it is now that nobody else writes it
            return place, asked, lock
        lock.release()
    raise refused or UsageError("the attempt was ended by another boxcheck just now", "nothing is left to finish")


class OtherMachineError(UsageError):
    """An attempt that was begun elsewhere."""


def _refuse_other_machine(asked: Asked) -> None:
    """OtherMachineError where the attempt is of another machine, whose home this one shares: what would be made here
    bears the marks of this one."""
    from boxcheck.certify.machine import is_tested_box, marks, marks_of_run

    place = is_tested_box(asked.machine or marks_of_run(asked.run), marks())
    if place.answer == "other":
        raise OtherMachineError(
            f"attempt {asked.attempt} of box {plain_line(asked.identity.serial)} was begun on another machine "
            f"({place.says})", "boxcheck certify --resume over there")


def _resume_held(place: str, asked: Asked, more: int, options: Options, host: Host) -> int:
    from boxcheck.certify.attempts import write_asked
    from boxcheck.certify.run_gone import RunGoneError, refuse_other_run
    from boxcheck.commands.burn import attach, burn
    from boxcheck.engine.record import as_user, state_and_owner
    from boxcheck.store.reader import RunReader

    if options.strict and not asked.strict:  # kept: whoever ends it is as strict
        asked = msgspec.structs.replace(asked, strict=True)
        with as_user(*state_and_owner(host)[1:]):
            write_asked(place, asked)
    options = msgspec.structs.replace(options, strict=asked.strict)
    print(f"box {plain_line(asked.identity.serial)}, attempt {asked.attempt}", file=sys.stderr)
    if more:
        print(f"{more} more were not finished: boxcheck certify --resume SERIAL", file=sys.stderr)
    try:
        refuse_other_run(asked)
    except RunGoneError as error:
        if not options.end or options.jsonl or options.ocptv:
            raise
        return _end_without_run(place, asked, str(error), options, host)
    with RunReader(asked.run) as reader:
        state = reader.run().state
    acceptance = _Acceptance(lambda: asked, place, options, host)
    streams = _streams(asked, options, lambda: acceptance.told)
    with _data_apart(options):
        if state == "crashed" and not options.end:
            burn(msgspec.structs.replace(_burn_options(options, None), resume=True, run=asked.run), streams=streams)
        elif state == "running" or options.jsonl or options.ocptv:
            attach(asked.run, _burn_options(options, None), streams=streams)
    return _end(place, acceptance, options, host)


class _Acceptance:
    """Of an attempt that goes on: decided once, when its run is over, by whoever asks first (OCP's last lines, or the
    folder)."""

    def __init__(self, asked: Callable[[], Asked], place: str, options: Options, host: Host) -> None:
        self._asked, self._place, self._options, self._host = asked, place, options, host
        self._made: Made | None = None

    @property
    def run(self) -> str:
        """Path of its store."""
        return self._asked().run

    @property
    def told(self) -> Acceptance | None:
        return None if (made := self.made()) is None else made.told

    def made(self) -> Made | None:
        """None while the run goes on, and where it was cut off and may go on."""
        from boxcheck.certify.attempts import attempts_of, earlier_lines
        from boxcheck.certify.run_gone import refuse_other_run
        from boxcheck.certify.machine import marks
        from boxcheck.certify.run import accept

        state = self.state()
        if state == "running" or (state == "crashed" and not self._options.end):
            return None
        if self._made is None:
            asked = self._asked()
            earlier = earlier_lines(attempts_of(os.path.dirname(self._place)), asked.attempt)
            # As root where it is: of a run that was cut off, the logs of the boot before are looked up now.
            trusted = _clock_trusted(self._host)
            refuse_other_run(asked)
            machine = {**asked.machine, **marks()}
            self._made = accept(asked, earlier, now=time.time(), clock_trusted=trusted, machine=machine)
        return self._made

    def state(self) -> str:
        from boxcheck.store.reader import RunReader

        with RunReader(self.run) as reader:
            return reader.run().state


def _streams(asked: Asked, options: Options, decided: Callable[[], Acceptance | None]) -> Streams:
    """What makes the lines of `--jsonl` and `--ocptv`: those of the run, with the disposition at their end, in OCP's
    with who and what at their head."""
    from boxcheck.commands.telling import Streams
    from boxcheck.report.certified_stream import CertifiedStream
    from boxcheck.report.ocptv_run import OcptvStream, attempt_parameters

    attempt = attempt_parameters(asked.id, asked.identity, asked.attempt, asked.attempt)
    return Streams(jsonl=CertifiedStream(options.strict, decided), ocptv=OcptvStream(
        options.strict, decided=decided, attempt=attempt))


def _end(place: str, acceptance: _Acceptance, options: Options, host: Host) -> int:
    """The acceptance of a run that is over; word where it is not."""
    from boxcheck.certify.folder import write_folder
    from boxcheck.engine.record import as_user, state_and_owner

    made = acceptance.made()
    if made is None:
        print("boxcheck certify --resume makes the report when it is over" if acceptance.state() == "running" else
              "the run was cut off: boxcheck certify --resume goes on with it, --resume --end ends the attempt",
              file=sys.stderr)
        return int(ExitCode.INCOMPLETE)
    _, uid, gid = state_and_owner(host)
    with as_user(uid, gid):
        riser = _riser(host, acceptance.run)
    told = write_folder(place, acceptance.run, made.told, made.want, made.verdict_json, uid, gid, riser)
    return _told(place, told, options, host)


def _end_without_run(place: str, asked: Asked, why: str, options: Options, host: Host) -> int:
    """The acceptance of an attempt whose run is gone, so that it does not stay open for ever."""
    from boxcheck.certify.attempts import attempts_of, earlier_lines
    from boxcheck.certify.folder import write_folder_alone
    from boxcheck.certify.run_gone import without_run
    from boxcheck.certify.machine import marks
    from boxcheck.engine.record import state_and_owner

    _, uid, gid = state_and_owner(host)
    earlier = earlier_lines(attempts_of(os.path.dirname(place)), asked.attempt)
    told = write_folder_alone(place, without_run(
        asked, why, earlier, now=time.time(), clock_trusted=_clock_trusted(host),
        machine={**asked.machine, **marks()}), uid, gid)
    return _told(place, told, options, host)


def _told(place: str, told: Acceptance, options: Options, host: Host) -> int:
    """Gives the folder its name, and says what came of the attempt."""
    from boxcheck.certify.attempts import finish
    from boxcheck.engine.record import as_user, state_and_owner
    from boxcheck.report import style_for
    from boxcheck.report.certified import certified_json, certified_text
    from boxcheck.report.output import write_output

    _, uid, gid = state_and_owner(host)
    with as_user(uid, gid):
        folder = finish(place)
    stream = sys.stderr if "-" in (options.json, options.jsonl, options.ocptv) else sys.stdout
    stream.write(f"\n{certified_text(told, folder, style_for(options, stream))}")
    stream.flush()
    if options.json:
        write_output(options.json, certified_json(told, folder))
    return told.exit_code


def _riser(host: Host, run: str) -> Stored | None:
    """The notebook of a riser experiment at this box, one that goes on or that ended lately. Whatever is wrong with
    those files, the acceptance is made."""
    from boxcheck.engine.record import state_directory
    from boxcheck.riser.notebook import recent
    from boxcheck.store.reader import RunReader

    with RunReader(run) as reader:
        of = reader.run()
    folder = os.path.join(state_directory(host), "boxcheck", "riser")
    with contextlib.suppress(OSError):
        found = recent(folder, of.info.box, of.sessions[0].began.wall) if of.sessions else None
        if found is not None:
            state = "ended" if found.closed else "goes on"
            print(f"the report shows riser experiment {found.notebook.id}, which {state}", file=sys.stderr)
        return found
    return None


def _clock_trusted(host: Host) -> bool | None:
    from boxcheck.engine.inspect import read_facts
    from boxcheck.probes.clock import Clock

    clock = read_facts(host, {Clock}).of(Clock)
    return clock.synchronized if isinstance(clock, Clock) and isinstance(clock.synchronized, bool) else None


def _root(host: Host) -> str:
    from boxcheck.engine.record import kept_directory

    try:
        return kept_directory(host, "certify")
    except OSError as error:
        says = f"{error.filename}: {os.strerror(error.errno or 0).lower()}"
        raise UsageError(says, "set XDG_STATE_HOME to a directory that can be written") from None


def _station(path: str | None) -> Station:
    from boxcheck.certify.identity import read_station
    from boxcheck.certify.keys import config_folder

    if path is None:
        usual = os.path.join(config_folder(), "station.toml")
        path = usual if os.path.lexists(usual) else None
    return read_station(path)


def _given(options: Options, station: Station) -> Given:
    """What options and the identity file say; options win."""
    from boxcheck.certify.identity import OWN, Given, option_pairs, read_identity, refuse_unknown

    named = {name: getattr(options, name) for name in OWN if getattr(options, name) is not None}
    more = option_pairs(options.fields, "--field")
    given = Given(values={**more, **named}, risers=option_pairs(options.risers, "--riser"))
    refuse_unknown(given, station, "--field")
    return given if options.identity is None else given.over(read_identity(options.identity, station))


def _identify(given: Given, station: Station, want: Profile, facts: Facts, what: str) -> Identity:
    """The identity; on a terminal what is not given is asked for, and one key starts."""
    from boxcheck.certify.identity import RISER, collect, lines_of, serial_of
    from boxcheck.certify.prompts import Left, Prompts
    from boxcheck.commands.runs import at_terminal

    slots = {slot.label: slot.riser or "" for slot in want.slots}
    wanted: Sequence[str] = tuple(slots) if RISER in station.fields and station.field(RISER).ask else ()
    serial = serial_of(facts)
    if not at_terminal() or _all_given(given, station):
        return collect(given, station, serial, slots, None, wanted)
    prompts = Prompts(sys.stdin.fileno(), sys.stderr)
    try:
        identity = collect(given, station, serial, slots, prompts.ask, wanted)
        for name, text in lines_of(identity):
            print(f"  {name:<12} {text}", file=sys.stderr)
        prompts.start(f"{what}: enter starts, q leaves ")
    except Left:
        raise UsageError("nothing was started", "boxcheck certify asks again") from None
    return identity


def _all_given(given: Given, station: Station) -> bool:
    """Whether every field that is needed was given, so that nobody is asked for the others."""
    return all(given.values.get(name) for name in station.names if station.is_required(name)) and not any(
        station.is_required(name) and name == "riser" for name in station.fields)


def _asked(options: Options, want: Profile) -> tuple[float, str, str]:
    """How long the load is to last, in seconds and in words, and how that is less than the profile asks for."""
    from boxcheck.checks.wording import duration as words
    from boxcheck.engine.agreed_load import LEVEL, asked_seconds, least_seconds
    from boxcheck.engine.plan import LEVEL_SECONDS, duration

    if options.level is not None and options.lasting is not None:
        raise UsageError("--level and --for exclude each other", "say one of them")
    required, least = asked_seconds(want), least_seconds(want)
    if options.lasting is not None:
        seconds, name = duration(options.lasting), "--for"
    elif options.level is not None:
        seconds, name = LEVEL_SECONDS[options.level], f"level {options.level}"
    else:
        seconds = required
        name = f"profile {want.name}" if want.burn.acceptance_seconds else f"level {LEVEL}"
    shortened = f"{words(seconds)} instead of {words(least)}" if seconds < least else ""
    return seconds, name, shortened


def _burn_options(options: Options, seconds: float | None) -> BurnOptions:
    from boxcheck.commands.burn import Options as BurnOptions

    return BurnOptions(
        profile=options.profile if seconds is not None else None, force_profile=options.force_profile,
        lasting=None if seconds is None else f"{seconds:g}s", backend=options.backend if seconds is not None else None,
        inject=options.inject, dry_run=options.dry_run, jsonl=options.jsonl, ocptv=options.ocptv, strict=options.strict,
        ascii=options.ascii, color=options.color, quiet=options.quiet, verbose=options.verbose,
        no_tui=options.no_tui or options.json == "-")


@contextlib.contextmanager
def _data_apart(options: Options) -> Iterator[None]:
    """With `--json -` the account of the run goes to standard error: standard output holds the data alone."""
    if options.json == "-":
        with contextlib.redirect_stdout(sys.stderr):
            yield
    else:
        yield


def _refuse_beside_resume(options: Options) -> None:
    given = {
        "--profile": options.profile, "--level": options.level, "--for": options.lasting, "--backend": options.backend,
        "--inject": options.inject, "--identity": options.identity, "--waivers": options.waivers,
        "--serial": options.serial, "--work-order": options.work_order, "--operator": options.operator,
        "--station": options.station, "--notes": options.notes, "--riser": options.risers, "--field": options.fields,
        "--dry-run": options.dry_run, "--force-profile": options.force_profile}
    for word, value in given.items():
        if value:
            raise UsageError(f"--resume and {word} exclude each other", "an attempt that goes on keeps what was told")

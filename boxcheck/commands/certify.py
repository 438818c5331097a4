"""`boxcheck certify`: identity, doctor, burn-in, doctor, disposition, and the folder of the attempt.

The load is a burn-in as `boxcheck burn` makes it (commands/burn.py): it outlives its terminal, and goes on after a
power cut. What is asked for is kept before it begins, so that `certify --resume` finishes an attempt that was cut off.
"""

from __future__ import annotations

import contextlib
import sys
import time
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from boxcheck.judge import ExitCode
from boxcheck.store.texts import plain_line
from boxcheck.usage import NothingThereError, UsageError

if TYPE_CHECKING:
    from boxcheck.certify.acceptance import Acceptance
    from boxcheck.certify.held import HeldAttempt
    from boxcheck.certify.identity import Given, Station
    from boxcheck.commands.burn import Options as BurnOptions
    from boxcheck.commands.telling import Streams


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
    from boxcheck.certify.asking import identify, station_here
    from boxcheck.certify.attempts import Asked
    from boxcheck.certify.held import attempts_folder, begin
    from boxcheck.certify.known_boxes import doubts
    from boxcheck.certify.machine import marks
    from boxcheck.certify.planned_load import load_of
    from boxcheck.certify.waivers import read_waivers
    from boxcheck.commands.burn import burn
    from boxcheck.commands.doctor import Options as DoctorOptions
    from boxcheck.commands.doctor import choose_profile, open_host
    from boxcheck.commands.no_device import no_device
    from boxcheck.commands.put_back import refuse_changed, says_aside
    from boxcheck.commands.runs import at_terminal, id_of, runs_folder
    from boxcheck.commands.stress import backend_named
    from boxcheck.engine.detach import running
    from boxcheck.engine.inspect import read_facts
    from boxcheck.engine.plan_profile import refuse_other_box
    from boxcheck.engine.stress import find_devices
    from boxcheck.registry import discover, discover_stress

    discover()
    discover_stress()
    station = station_here(options.station_file)
    given = _given(options, station)
    waivers = () if options.waivers is None else read_waivers(options.waivers)
    host = open_host(None)
    facts = read_facts(host)
    want, certain, why = choose_profile(DoctorOptions(profile=options.profile), facts)
    if not certain:
        raise UsageError(f"no profile says what this box must be: {why}", "boxcheck certify --profile NAME|FILE")
    if options.profile is not None and not options.force_profile:
        refuse_other_box(want, facts)
    load = load_of(want, options.level, options.lasting)
    if options.dry_run:
        cut = f"; shortened: {load.shortened}" if load.shortened else ""
        print(f"acceptance by {want.name} r{want.revision}: {load.planned}{cut}")
        _say_no_pdf(options)
        return burn(_burn_options(options, load.seconds))
    if (busy := running(runs_folder())) is not None:
        raise UsageError(f"a run is going on: {id_of(busy)}", "boxcheck attach follows it")
    # What keeps it from running comes before anybody types who the box is.
    if (code := refuse_changed(host, says_aside(options.quiet))) is not None:
        return code
    runtime = find_devices(backend_named(options.backend))
    if not runtime.gpus:
        return no_device(runtime, facts, options)
    _say_no_pdf(options)
    identity = identify(
        given, station, want, facts, f"{want.name} r{want.revision}, {load.planned}", terminal=at_terminal(),
        doubts=lambda serial: doubts(attempts_folder(host), serial, marks()))
    if load.shortened:
        print(f"the plan is shortened: {load.shortened}; the disposition cannot be PASS", file=sys.stderr)
    asked = Asked(
        id=str(uuid.uuid4()), identity=identity, attempt=0, began=time.time(), machine=marks(), planned=load.planned,
        shortened=load.shortened, waivers=waivers, strict=options.strict, profile=want.name,
        profile_revision=want.revision, profile_sha256=want.sha256)
    with begin(asked, host) as attempt:
        return _run(attempt, options, _burn_options(options, load.seconds))


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


def _run(attempt: HeldAttempt, options: Options, burning: BurnOptions) -> int:
    """Burns in, and makes the folder."""
    from boxcheck.commands.burn import burn

    print(f"box {plain_line(attempt.asked.identity.serial)}, attempt {attempt.asked.attempt}", file=sys.stderr)
    try:
        with _data_apart(options):
            burn(msgspec.structs.replace(burning, attempt=attempt.name), attempt.run_began, _streams(attempt, options))
    except KeyboardInterrupt:
        if attempt.begun:
            print("boxcheck certify --resume makes the report when the run is over", file=sys.stderr)
        raise
    finally:
        if not attempt.begun:
            attempt.forget()
    if not attempt.begun:  # the devices went while somebody typed: burn has said so
        raise NothingThereError(
            "nothing was run: there is no device to put load on", "boxcheck doctor says what there is")
    return _end(attempt, options)


def _resume(options: Options) -> int:
    """Finishes an attempt that was cut off, whose terminal went, or whose folder could not be written."""
    from boxcheck.certify.held import take_up
    from boxcheck.commands.doctor import open_host
    from boxcheck.registry import discover, discover_stress

    discover()
    discover_stress()
    attempt, more = take_up(options.box, open_host(None))
    with attempt:
        if more:
            print(f"{more} more were not finished: boxcheck certify --resume SERIAL", file=sys.stderr)
        return _go_on(attempt, options)


def _go_on(attempt: HeldAttempt, options: Options) -> int:
    from boxcheck.certify.run_gone import RunGoneError, own_run

    attempt.to_end = options.end
    if options.strict:
        attempt.be_strict()
    options = msgspec.structs.replace(options, strict=attempt.asked.strict)
    print(f"box {plain_line(attempt.asked.identity.serial)}, attempt {attempt.asked.attempt}", file=sys.stderr)
    try:
        with own_run(attempt.asked):
            return _with_run(attempt, options)
    except RunGoneError as error:
        if not options.end or options.jsonl or options.ocptv:
            raise
        return _tell(attempt, attempt.write_without_run(str(error)), options)


def _with_run(attempt: HeldAttempt, options: Options) -> int:
    from boxcheck.commands.burn import attach, burn

    state, streams = attempt.state, _streams(attempt, options)
    with _data_apart(options):
        if state == "crashed" and not options.end:
            burn(msgspec.structs.replace(
                _burn_options(options, None), resume=True, run=attempt.asked.run), streams=streams)
        elif state == "running" or options.jsonl or options.ocptv:
            attach(attempt.asked.run, _burn_options(options, None), streams=streams)
    return _end(attempt, options)


def _streams(attempt: HeldAttempt, options: Options) -> Streams:
    """What makes the lines of `--jsonl` and `--ocptv`: those of the run, with the disposition at their end, in OCP's
    with who and what at their head."""
    from boxcheck.commands.telling import Streams
    from boxcheck.report.certified_stream import CertifiedStream
    from boxcheck.report.ocptv_run import OcptvStream, attempt_parameters

    asked = attempt.asked
    of = attempt_parameters(asked.id, asked.identity, asked.attempt, asked.attempt)
    return Streams(jsonl=CertifiedStream(options.strict, attempt.decided), ocptv=OcptvStream(
        options.strict, decided=attempt.decided, attempt=of))


def _end(attempt: HeldAttempt, options: Options) -> int:
    """The acceptance of a run that is over; word where it is not."""
    told = attempt.write()
    if told is None:
        print("boxcheck certify --resume makes the report when it is over" if attempt.state == "running" else
              "the run was cut off: boxcheck certify --resume goes on with it, --resume --end ends the attempt",
              file=sys.stderr)
        return int(ExitCode.INCOMPLETE)
    return _tell(attempt, told, options)


def _tell(attempt: HeldAttempt, told: Acceptance, options: Options) -> int:
    """Gives the folder its name, and says what came of the attempt."""
    from boxcheck.report import style_for
    from boxcheck.report.certified import certified_json, certified_text
    from boxcheck.report.output import write_output

    folder = attempt.finish()
    stream = sys.stderr if "-" in (options.json, options.jsonl, options.ocptv) else sys.stdout
    stream.write(f"\n{certified_text(told, folder, style_for(options, stream))}")
    stream.flush()
    if options.json:
        write_output(options.json, certified_json(told, folder))
    return told.exit_code


def _given(options: Options, station: Station) -> Given:
    """What options and the identity file say; options win."""
    from boxcheck.certify.identity import OWN, Given, option_pairs, read_identity, refuse_unknown

    named = {name: getattr(options, name) for name in OWN if getattr(options, name) is not None}
    more = option_pairs(options.fields, "--field")
    given = Given(values={**more, **named}, risers=option_pairs(options.risers, "--riser"))
    refuse_unknown(given, station, "--field")
    return given if options.identity is None else given.over(read_identity(options.identity, station))


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

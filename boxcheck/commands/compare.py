"""`boxcheck compare`: two sides beside each other, or many as tables. A side is a run, an attempt, a capture, or
an account of doctor as JSON."""

from __future__ import annotations

import filecmp
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from boxcheck import __version__
from boxcheck.commands.runs import entry_named, telling_what_could_be_saved
from boxcheck.judge import ExitCode
from boxcheck.report.output import refuse_place, write_output
from boxcheck.store.regular import open_regular
from boxcheck.store.texts import plain_line
from boxcheck.usage import UsageError

if TYPE_CHECKING:
    from boxcheck.compare.side import Side

OF_A_CAPTURE = ("boxcheck", "sys", "proc", "etc", "var")
"""Folders of which a capture has one at least."""
MOST = 200
"""Sides at once: a line's week."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    profile: str | None = None
    table: bool = False
    fail_on_change: bool = False
    json: str | None = None
    csv: str | None = None
    ascii: bool = False
    color: str = "auto"
    quiet: bool = False
    verbose: int = 0


def compare(words: Sequence[str], options: Options) -> int:
    """0 compared, whatever came of it; with `fail_on_change` 1 where something differs, 3 where nothing does and not
    all was read."""
    from boxcheck.compare.many import compare_many, label_of
    from boxcheck.compare.pair import compare as compare_two
    from boxcheck.registry import discover, discover_stress
    from boxcheck.report import style_for
    from boxcheck.report.compare import compare_csv, compare_json, compare_text
    from boxcheck.report.compare_many import many_csv, many_json, many_text

    if len(words) < 2:
        raise UsageError("one side is not enough to compare", "name two runs, folders or captures, or more")
    if len(words) > MOST:
        raise UsageError(f"{len(words)} sides are more than {MOST}", "compare them in parts")
    if options.json == options.csv == "-":
        raise UsageError("only one of them can go to standard output", "name a file for the other")
    for place in (options.json, options.csv):
        if place not in (None, "-"):
            refuse_place(place)
    paths = [_path_of(word) for word in words]
    _refuse_twice(words, paths)
    discover()
    discover_stress()
    sides = [_side(path, label_of(at), options) for at, path in enumerate(paths)]
    if options.profile is not None and not any(side.input.source == "capture" for side in sides):
        raise UsageError("--profile judges captures, and none of these is one",
                         "a run is judged by another profile with: boxcheck judge RUN --profile FILE")
    style = style_for(options, sys.stderr if "-" in (options.json, options.csv) else sys.stdout)
    if len(sides) == 2 and not options.table:
        two = compare_two(sides[0], sides[1], __version__)
        told = Told(compare_json(two), compare_csv(two), compare_text(two, style))
        changed, unread = two.changes > 0, two.unread > 0
    else:
        many = compare_many(sides, __version__)
        told = Told(many_json(many), many_csv(many), many_text(many, style))
        changed, unread = many.changes > 0, many.unread > 0
    write(told, options)
    if not options.fail_on_change:
        return int(ExitCode.PASSED)
    return int(ExitCode.FAILED if changed else ExitCode.INCOMPLETE if unread else ExitCode.PASSED)


class Told(msgspec.Struct, frozen=True):
    """One thing in all its forms."""

    json: str
    csv: str
    text: str


class Places(Protocol):
    """The options that say where each form goes."""

    @property
    def json(self) -> str | None: ...
    @property
    def csv(self) -> str | None: ...
    @property
    def verbose(self) -> int: ...


def write(told: Told, options: Places) -> None:
    """Data where it was asked for; the text on standard output, or beside data that goes there, for who watches."""
    if options.json is not None:
        write_output(options.json, told.json)
    if options.csv is not None:
        write_output(options.csv, told.csv)
    taken = "-" in (options.json, options.csv)
    stream = sys.stderr if taken else sys.stdout
    if not taken or stream.isatty() or options.verbose:
        stream.write(told.text)
        stream.flush()


def _path_of(word: str) -> str:
    """A path that is there, else the run of the list."""
    return word if os.path.exists(word) else entry_named(word).path


def _refuse_twice(words: Sequence[str], paths: Sequence[str]) -> None:
    """The same thing twice is a mistake, and of many it would move what is usual."""
    for at, path in enumerate(paths):
        for before, other in enumerate(paths[:at]):
            if os.path.samefile(path, other) or (
                    os.path.isfile(path) and os.path.isfile(other) and os.path.getsize(path) == os.path.getsize(other)
                    and filecmp.cmp(path, other, shallow=False)):
                raise UsageError(f"{plain_line(words[before])} and {plain_line(words[at])} are the same",
                                 "name another run, folder or capture")


def _side(path: str, label: str, options: Options) -> Side:
    """What lies there, told by its content: a folder may be an attempt or a capture, a file a store, JSON or a tar."""
    from boxcheck.certify.contents import ACCEPTANCE
    from boxcheck.commands.report import stored
    from boxcheck.compare.reading import of_record, of_store
    from boxcheck.engine.kept_profile import MAGIC

    if os.path.isdir(path):
        if not os.path.isfile(os.path.join(path, ACCEPTANCE)):
            if not any(os.path.isdir(os.path.join(path, name)) for name in OF_A_CAPTURE):
                raise UsageError(f"{plain_line(path)}: holds neither a capture nor an attempt",
                                 "name the folder of one attempt, or a capture as boxcheck capture writes it")
            return _capture(path, label, options)
        with stored(path) as (store, told), telling_what_could_be_saved(store):
            return of_store(store, label, told, path)
    try:
        with open_regular(path) as stream:
            begin = stream.read(512)
    except OSError as error:
        raise UsageError(f"{plain_line(path)}: {(error.strerror or '').lower()}",
                         "boxcheck runs lists runs") from None
    if begin.startswith(MAGIC):
        with telling_what_could_be_saved(path):
            return of_store(path, label)
    return of_record(path, label) if begin.lstrip().startswith(b"{") else _capture(path, label, options)


def _capture(path: str, label: str, options: Options) -> Side:
    """What doctor finds in it, by the profile that matches it or the one that is named."""
    from boxcheck.commands.doctor import Options as Asked
    from boxcheck.commands.doctor import choose_profile
    from boxcheck.compare.reading import clock_notes, of_facts, time_of
    from boxcheck.compare.side import Input
    from boxcheck.engine.box import name_of
    from boxcheck.engine.inspect import choose_checks, inspect_facts, name_slots, read_facts
    from boxcheck.host.capture import CaptureHost
    from boxcheck.model import Unread

    host = CaptureHost(path)
    facts = read_facts(host)
    want, certain, _ = choose_profile(Asked(profile=options.profile), facts)
    name_slots(facts, want)
    verdict = inspect_facts(facts, want, choose_checks(()), profile_certain=certain)
    taken = host.time()
    began = None if isinstance(taken, Unread) else taken
    notes = ["it is redacted: its names and numbers are hashes"] if host.redacted else []
    notes += [f"boxcheck itself broke in {crash.where}: what it reads is unread" for crash in verdict.crashes]
    notes += [plain_line(one) for one in host.complaints[:5]]
    return of_facts(facts, Input(
        label=label, name=os.path.basename(os.path.abspath(path)), source="capture", path=path, box=name_of(facts),
        began=time_of(began), profile=want.name if certain else None, revision=want.revision if certain else None,
        profile_sha256=want.sha256 if certain else None, outcome=verdict.outcome.value, disposition=None,
        reason=verdict.reason, state=None, gpus=None, notes=(*notes, *clock_notes(began))),
        verdict.findings, want, host.redacted)

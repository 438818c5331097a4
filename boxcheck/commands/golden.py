"""`boxcheck profile draft --from-run` and `boxcheck profile beside`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, NoReturn

import msgspec

from boxcheck.commands.report import stored
from boxcheck.commands.runs import answer, at_terminal
from boxcheck.golden.draft import golden_toml, one_profile, short_runs, with_doubts
from boxcheck.golden.good import NotGood, golden
from boxcheck.golden.lay_beside import lay_beside
from boxcheck.golden.limits import ALONE, Drafted, LeftOut, Pattern, limits_of, pattern_of
from boxcheck.golden.measure import NOTHING
from boxcheck.golden.signing import ENDING, Signing
from boxcheck.judge import ExitCode
from boxcheck.model import Outcome
from boxcheck.profile import Profile
from boxcheck.report.output import refuse_place, write_output
from boxcheck.store.reader import RunReader
from boxcheck.store.texts import plain_line
from boxcheck.usage import UsageError

if TYPE_CHECKING:
    from boxcheck.certify.acceptance import Acceptance

MOST_RUNS = 200


class Drafting(msgspec.Struct, frozen=True, kw_only=True):
    """What `profile draft` was asked for beside a machine."""

    runs: tuple[str, ...]
    accept_marginal: bool = False
    share: str | None = None
    signing: Signing = Signing()
    yes: bool = False


def draft_from_runs(asked: Drafting) -> int:
    """The profile on standard output; with `share` the reference measurement in its file."""
    if len(asked.runs) > MOST_RUNS:
        raise UsageError(f"{len(asked.runs)} runs are more than the {MOST_RUNS} that one draft takes", "name fewer")
    if asked.share is not None:
        refuse_place(asked.share)
    with ExitStack() as open_:
        paths = []
        for word in asked.runs:
            path, told = open_.enter_context(stored(word))
            _refuse_attempt(word, told)
            paths.append(path)
        return _draft(asked, paths)


def _refuse_attempt(word: str, told: Acceptance | None) -> None:
    """Checks may have passed in an attempt that is INCOMPLETE, and failed in one that passed with waivers."""
    if told is not None and (told.with_waivers or told.disposition not in ("PASS", "MARGINAL PASS")):
        word = f"{word}: attempt {told.attempt} of {told.identity.serial} is {told.disposition}"
        waived = " with waivers" if told.with_waivers else ""
        raise NotGood(plain_line(f"{word}{waived}: {told.reason}"), "take one that passed")


def _draft(asked: Drafting, paths: Sequence[str]) -> int:
    from boxcheck.engine.agreed_load import LEVEL
    from boxcheck.engine.plan import LEVEL_SECONDS
    from boxcheck.golden.signing import refuse_tested_box

    if asked.share is not None:
        refuse_tested_box(paths, asked.signing)
    found = sorted(
        (golden(path, accept_marginal=asked.accept_marginal) for path in paths), key=lambda one: one[0].started)
    pattern = pattern_of([measurement for measurement, _ in found])
    want, told = one_profile([profile for _, profile in found])
    pattern = msgspec.structs.replace(
        pattern, told=(*pattern.told, *told, *short_runs(want, pattern, LEVEL_SECONDS[LEVEL])))
    drafted, left_out = limits_of(pattern)
    if not drafted:
        _refuse_empty(left_out)
    drafted = with_doubts(want, drafted)
    write_output("-", golden_toml(want, pattern, drafted, left_out))
    doubts = [f"{one.limit}: {doubt}" for one in drafted for doubt in one.doubts if doubt != ALONE]
    for line in (*pattern.told, *doubts):
        print(plain_line(line), file=sys.stderr)
    if len(pattern.boxes) == 1:
        print(f"{ALONE}; runs of more boxes can: --from-run A --from-run B", file=sys.stderr)
    return 0 if asked.share is None else _share(asked, asked.share, want, pattern, drafted, left_out)


def _refuse_empty(left_out: Sequence[LeftOut]) -> NoReturn:
    """UsageError with what was measured and gives no limit, else what could not be judged; most limits are of what no
    plan of this box runs, which says nothing."""
    wide = [one for one in left_out if one.measured is not None]
    tried = [one for one in left_out if not one.why.endswith(NOTHING)]
    if not tried:
        raise UsageError("these runs give no limit; nothing of what they did measures one",
                         "burn in with GPUs, by all of the plan")
    one, more = (wide or tried)[0], len(wide or tried) - 1
    others = f", and {more} more" if more else ""
    raise UsageError(
        plain_line(f"these runs give no limit; {one.limit}: {one.why}{others}"),
        "burn in more boxes of this kind: --from-run A --from-run B" if wide else "burn in with GPUs, in full sizes")


def _share(
    asked: Drafting, place: str, want: Profile, pattern: Pattern, drafted: tuple[Drafted, ...],
    left_out: tuple[LeftOut, ...],
) -> int:
    from boxcheck.golden.reference import parse_reference, reference_bytes
    from boxcheck.golden.sharing import Private, leaked, reference_of
    from boxcheck.golden.signing import line_for_others, sign_reference
    from boxcheck.report.golden import reference_json

    private = Private(pattern.runs)
    reference = reference_of(
        pattern, want, drafted, left_out, private=private, made=time.time(),
        self_signed=asked.signing.asked and asked.signing.self_signed)
    data = reference_bytes(reference)
    parse_reference(data, place)
    if leaked(data, private):
        raise UsageError("something that names this box would be in the file: nothing was written",
                         "please report it; it is a mistake of boxcheck's")
    print(f"{plain_line(place)} will hold this, and nothing else:\n{reference_json(reference)}", file=sys.stderr)
    if not asked.yes and at_terminal():
        print(f"write {plain_line(place)}? [y/N] ", end="", file=sys.stderr, flush=True)
        if answer().strip().lower() not in ("y", "yes"):
            print("nothing was written", file=sys.stderr)
            return int(ExitCode.USAGE)
    signed = sign_reference(data, asked.signing) if asked.signing.asked else None
    write_output(place, data.decode())
    if signed is None:
        print(f"written, not signed: {plain_line(place)}", file=sys.stderr)
        return 0
    armor, key = signed
    write_output(place + ENDING, armor)
    print(f"written and signed: {plain_line(place)}, {plain_line(place)}{ENDING}", file=sys.stderr)
    print(f"who takes it needs this line in their list, with your name:\n{line_for_others(key)}", file=sys.stderr)
    return 0


class Laying(msgspec.Struct, frozen=True, kw_only=True):
    """How it is shown."""

    json: str | None = None
    ascii: bool = False
    color: str = "auto"
    quiet: bool = False
    verbose: int = 0
    strict: bool = False


def beside(run: str, reference: str, allowed: str | None, options: Laying) -> int:
    """0 laid beside, whatever it shows; 3 where nothing was comparable. With `strict` 3 where a fault was put in, 1
    where something is outside, 3 where something of the reference was not read or not comparable, and for a run that
    did not come to its end or whose clocks were held down."""
    from boxcheck.report import style_for
    from boxcheck.report.certified import settled
    from boxcheck.report.golden import beside_json, beside_text

    with stored(run) as (path, told):
        found = lay_beside(path, reference, allowed)
        one, judged = Outcome(found.outcome), None
        if told is not None:
            with RunReader(path) as reader:
                judged = reader.verdict()
    found = msgspec.structs.replace(found, outcome=settled(
        one, int(one not in (Outcome.PASS, Outcome.MARGINAL)), told, judged.findings if judged is not None else (),
        own=True)[0].value)
    stream = sys.stderr if options.json == "-" else sys.stdout
    if options.json != "-":
        stream.write(beside_text(found, style_for(options, stream)))
    if options.json:
        write_output(options.json, beside_json(found))
    if not options.strict:
        return 0 if found.compared else int(ExitCode.INCOMPLETE)
    if found.injected:
        return int(ExitCode.INCOMPLETE)  # what is outside is the fault, not the box
    if found.number("outside"):
        return int(ExitCode.FAILED)
    unsure = not found.compared or found.number("not-measured") or found.number("other") or found.unsound
    return int(ExitCode.INCOMPLETE) if unsure else 0

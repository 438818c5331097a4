"""`boxcheck riser`: which part of a link is at fault, over as few power cycles as it takes."""

from __future__ import annotations

import msgspec

from boxcheck.checks.left_changed import PUT_BACK
from boxcheck.commands.riser_words import pairs_of
from boxcheck.report.output import refuse_place
from boxcheck.usage import UsageError


class Options(msgspec.Struct, frozen=True, kw_only=True):
    slot: str | None = None
    resume: str | None = None
    """Id of an experiment, or empty for the newest that goes on."""
    every: bool = False
    listing: bool = False
    risers: tuple[str, ...] = ()
    supplies: tuple[str, ...] = ()
    spares: tuple[str, ...] = ()
    cannot: tuple[str, ...] = ()
    seconds: float = 60.0
    again: bool = False
    """Measure once more in a boot that was measured."""
    writes: bool = False
    retrainings: int = 100
    margining: bool = True
    full_margining: bool = False
    soak: bool = False
    force: bool = False
    close: bool = False
    restore: bool = False
    """Put back what an experiment that was cut off left changed, and nothing else."""
    backend: str | None = None
    option: tuple[str, ...] = ()
    profile: str | None = None
    sysroot: str | None = None
    json: str | None = None
    html: str | None = None
    pdf: str | None = None
    ascii: bool = False
    color: str = "auto"
    quiet: bool = False
    verbose: int = 0


def riser(options: Options) -> int:
    """Measures, experiments, weighs, says what to do next. Gives the exit code."""
    _refuse(options)
    from boxcheck.commands.riser_all import close_one, list_all, rank_all
    from boxcheck.commands.riser_box import Box, Leave
    from boxcheck.commands.riser_experiment import Experiment

    if options.restore:
        from boxcheck.commands.put_back import restore

        return restore(options.quiet)
    if options.listing:
        return list_all(options)
    if options.close:
        return close_one(options)
    try:
        box = Box(options)
        return rank_all(options, box) if options.every else Experiment(options, box).run()
    except Leave as leave:
        return leave.code


def _refuse(options: Options) -> None:
    places = [place for place in (options.json, options.html, options.pdf) if place is not None]
    if places.count("-") > 1:
        raise UsageError("only one of them can go to standard output", "name a file for the others")
    for place in places:
        if place != "-":
            refuse_place(place)
    if options.pdf is not None:
        from boxcheck.report.pdf import require

        require()  # before minutes of measuring
    asked = [word for word, given in (
        ("a slot", options.slot is not None), ("--resume", options.resume is not None), ("--all", options.every),
        ("--list", options.listing), ("--restore", options.restore)) if given]
    if not asked and not options.close:
        raise UsageError("say which link: a slot as the board prints it, or an address",
                         "boxcheck riser PCIE3; boxcheck riser --all ranks every link")
    if options.close and (options.every or options.listing):
        raise UsageError("--close ends one experiment", "boxcheck riser --close ID")
    idle = [word for word, given in (
        ("--riser", options.risers), ("--supply", options.supplies), ("--cannot", options.cannot),
        ("--spare", options.spares), ("--soak", options.soak), ("--again", options.again)) if given]
    if options.every:  # every link may be margined, and nothing else be written to
        idle += ["--retrain"] if options.retrainings != Options().retrainings else []
    else:
        idle += [word for word, given in (
            ("--html", options.html), ("--pdf", options.pdf), ("--force", options.force),
            ("--allow-writes", options.writes)) if given]
    if idle and (options.every or options.listing or options.close or options.restore):
        raise UsageError(f"{idle[0]} belongs to the experiment on one link", "boxcheck riser SLOT")
    measuring = _of_measuring(options)
    if measuring and (options.listing or options.close or options.restore):
        what = "--list" if options.listing else "--close" if options.close else "--restore"
        raise UsageError(f"{what} measures nothing, so {measuring[0]} has no meaning with it", f"boxcheck riser {what}")
    if options.listing and options.sysroot is not None:
        raise UsageError("--list lists this user's experiments, not those of a capture", "leave out --sysroot")
    if options.restore and (options.sysroot is not None or options.json is not None or options.close):
        raise UsageError("--restore puts links of this machine back, and has no options but --quiet", PUT_BACK)
    if len(asked) > 1 and asked != ["a slot", "--resume"]:
        raise UsageError(f"{asked[0]} and {asked[1]} exclude each other", "boxcheck riser --help")
    for name, words in (("--riser", options.risers), ("--supply", options.supplies)):
        pairs_of(name, words)
    if options.sysroot is not None and (options.writes or options.resume is not None):
        raise UsageError("a capture can be looked at, and nothing on it can be tried", "leave out --sysroot")
    if options.full_margining and not options.margining:
        raise UsageError("--full-margining and --no-margining exclude each other", "boxcheck riser --help")
    writing = [word for word, given in (
        ("--force", options.force), ("--full-margining", options.full_margining),
        ("--retrain", options.retrainings != Options().retrainings)) if given]
    if writing and not options.writes:
        raise UsageError(f"{writing[0]} changes nothing without --allow-writes, which lets links be written to",
                         f"add --allow-writes, or leave out {writing[0]}")


def _of_measuring(options: Options) -> list[str]:
    """Options of a measurement that were given, and not as they are by default."""
    usual = Options()
    return [word for word, value, default in (
        ("--seconds", options.seconds, usual.seconds), ("--retrain", options.retrainings, usual.retrainings),
        ("--no-margining", options.margining, usual.margining),
        ("--full-margining", options.full_margining, usual.full_margining),
        ("--backend", options.backend, usual.backend), ("--option", options.option, usual.option),
        ("--profile", options.profile, usual.profile)) if value != default]

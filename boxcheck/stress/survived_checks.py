"""Judgement on a run that was cut off: what took the box, or boxcheck, down. From what was taken in afterwards. Pure.

`Survival` is put together by boxcheck.engine.survival from the store, into which boxcheck.engine.aftermath has put what
the logs of that time said.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from boxcheck.checks.wording import duration
from boxcheck.model import BOX, Bdf, Finding, Subject
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, marginal, passed, unknown

Source = str
"""`kernel log`, `crash record` (pstore), `BMC`, `next start`: the log of the boot after."""


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a log of that time holds."""

    kind: str
    """As in boxcheck.decode.klog.kinds; `bmc-power`, `bmc-heat`, `bmc-hardware`, `bmc-hang`, `reset-...` of others."""
    says: str
    source: Source
    bdf: str | None = None
    grave: bool = True
    """A healthy machine never logs it."""


class Downtime(msgspec.Struct, frozen=True, kw_only=True):
    """One time that the run was cut off."""

    session: int
    """Number of the session that had no end."""
    phase: str = ""
    """Name of the step; empty where none had begun."""
    modules: tuple[str, ...] = ()
    gpus: tuple[str, ...] = ()
    """As a person calls them."""
    watts: float | None = None
    """The highest power of the last seconds, of all GPUs that told theirs; None where none did."""
    watts_of: int = 0
    """How many GPUs that is the sum of."""
    celsius: float | None = None
    """The hottest sensor in the last seconds."""
    celsius_of: str = ""
    last_record: float = 0.0
    """Seconds since the epoch."""
    quiet_seconds: float | None = None
    """From the last record until the machine started again, or until somebody looked; None where clocks disagree."""
    rebooted: bool | None = None
    """None where nobody knows."""
    looked: bool = False
    """Whether the logs of that time were looked for."""
    log: str = ""
    """Where the kernel's log of that time was read; empty where it was not."""
    unread: tuple[str, ...] = ()
    """What was not read, and why: a clause each."""
    orderly: str = ""
    """The line that shows that somebody shut the machine down; empty where there is none."""
    traces: tuple[Trace, ...] = ()
    """What the logs hold of the last minutes, the gravest source first."""
    hints: tuple[str, ...] = ()
    broke: str = ""
    """What the engine said of a fault of its own; empty where it did not."""
    resumed: bool = False
    """The run was gone on with afterwards."""


class Survival(msgspec.Struct, frozen=True, kw_only=True):
    """Every time that a run was cut off."""

    downs: tuple[Downtime, ...] = ()
    missing: tuple[tuple[str, str], ...] = ()
    """Devices that were not there any more when the run was gone on with: name, and address or empty."""
    finished: bool = False
    kind: str = "burn"
    """Of the run: only a burn-in can be gone on with."""


POWER_STEPS = frozenset(("power-pulse", "everything"))
"""Steps that are there to bring the supplies to their limit."""
QUIET_STEPS = ("", "doctor", "cool-down")
_POWER = ("bmc-power", "slot-power-fault", "undervoltage", "reset-power")
_HEAT = ("bmc-heat", "thermal", "reset-heat")
_HARDWARE = (
    "bmc-hardware", "mce", "edac-ue", "memory-failure", "ghes-memory", "ghes-other", "ghes-pcie", "nmi",
    "reset-hardware")
_GPU = ("gpu-lost", "xid", "gsp-timeout", "amdgpu-smu-fail", "amdgpu-reset", "device-lost")
_LINK = ("aer-fatal", "aer-nonfatal", "dpc", "link-down", "device-inaccessible")
_GENTLE = ("bmc-button", "reset-button", "reset-software")
"""Somebody or something switched it off, or started it anew."""
_KERNEL = ("kernel-panic", "oops", "lockup", "bmc-hang", "reset-hang")

_AGAIN = "boxcheck burn --resume  goes on with it, in the phase that it went down in"
_SUPPLY = (
    "look at the supply: its rating, its cables, one cable a connector, both supplies plugged in, the outlet's breaker",
    "ask whether the mains were cut: other machines on the same outlet went down too then",
    "lower the GPUs' power limit by a fifth and run it again: if it survives, it is the supply",
    _AGAIN)
_CLASSES: Sequence[tuple[tuple[str, ...], str, str, tuple[str, ...]]] = (
    (_POWER, "power", "the supply gave way", _SUPPLY),
    (_HEAT, "heat", "something became too hot", ("check coolers, fans and the air flow", _AGAIN)),
    (_HARDWARE, "hardware", "the hardware reported an error that nothing could mend",
     ("boxcheck triage on the log of that boot names the part: sudo journalctl -k -b -1 | boxcheck triage -", _AGAIN)),
    (_GPU, "gpu", "a GPU failed first", ("reseat the card and its power cables, then try another slot", _AGAIN)),
    (_LINK, "link", "a link failed first", ("reseat or replace the riser of that slot", _AGAIN)),
    (_KERNEL, "kernel", "the kernel stopped or hung",
     ("read the trace of that boot: sudo journalctl -k -b -1 | boxcheck triage -", _AGAIN)),
)
"""What a trace proves: kinds, key, in words, what to do. The first class that has a trace decides."""


@check("burn.survived", reads=[Survival], stress="burn")
def survived(survival: Survival, want: Profile) -> Iterator[Finding]:
    """The box, or boxcheck, went down while a run went on.

    Why it matters: a box that goes down under a load of minutes goes down under the owner's load of weeks. The phase,
    the power and the last lines of the logs are all that is left to tell the supply from heat, from a damaged part and
    from somebody who pressed a button.
    What to do: what the finding says of its reason; then boxcheck burn --resume.
    Not a fault: a shutdown in order, and a boxcheck that was killed while the box stayed up; neither is a pass until
    the run was gone on with and came to its end. A cut of the mains looks like a supply that gave way.
    By hand: sudo journalctl --list-boots; sudo journalctl -b -1 -e; sudo ipmitool sel elist; last -x
    """
    for down in survival.downs:
        found = _judged(down, survival.finished, len(survival.downs))
        yield found if survival.kind == "burn" else msgspec.structs.replace(
            found, help=tuple(step for step in found.help if step != _AGAIN))
    for name, bdf in survival.missing:
        yield failed(
            Subject("gpu", name, bdf=Bdf(bdf) if bdf else None),
            "was there when the run began, and not when it was gone on with",
            cause=f"gpu-lost:{bdf or name}", title=f"{name} is gone", where=name,
            help=("boxcheck doctor inventory pcie driver  (ends in PARTIAL)",))
    if not survival.downs and not survival.missing:
        yield passed(BOX, "nothing cut the run off")


def _judged(down: Downtime, finished: bool, times: int) -> Finding:
    notes = tuple(filter(None, (*(f"{one.source}: {one.says}" for one in down.traces[:6]), *down.hints, *(
        f"not read: {why}" for why in down.unread), f"the run was cut off {times} times" if times > 1 else "")))
    where = situation(down)
    for kinds, key, words, help in _CLASSES:
        found = [one for one in down.traces if one.kind in kinds and one.grave]
        if found and (down.rebooted is not False or key in ("gpu", "link", "hardware")):
            cause = f"gpu-lost:{found[0].bdf}" if found[0].kind == "gpu-lost" and found[0].bdf else f"box-down:{key}"
            return failed(
                BOX, f"{where}; {words}: {found[0].says}", notes=notes, help=help, cause=cause, where="the box",
                title=f"{_who(down)} went down in {step(down)}: {words}")
    if down.rebooted is None:
        return unknown(
            BOX, f"{where}; whether the box was restarted is not known", notes=notes, help=(_AGAIN,))
    if not down.rebooted:
        return _killed(down, finished, where, notes)
    if down.orderly:
        return _harmless(down, finished, f"{where}; somebody shut the box down: {down.orderly}", notes)
    gentle = next((one for one in down.traces if one.kind in _GENTLE), None)
    if gentle is not None:
        return _harmless(down, finished, f"{where}; no loss of power: {gentle.says}", notes)
    return _silent(down, where, notes)


def _killed(down: Downtime, finished: bool, where: str, notes: tuple[str, ...]) -> Finding:
    """The box stayed up."""
    if down.broke:
        return unknown(BOX, f"{where}; {down.broke}", notes=notes, help=(
            "please report it, with the engine.log beside the runs", _AGAIN))
    if not down.looked:
        return unknown(BOX, f"{where}; the logs of that time were not looked into", notes=notes, help=(_AGAIN,))
    oom = next((one for one in down.traces if one.kind == "oom"), None)
    says = f"memory ran out: {oom.says}" if oom else "the box stayed up: somebody or something killed boxcheck"
    if not oom and not down.log:
        says += ", and no log says what"
    return _harmless(down, finished, f"{where}; {says}", notes)


def _harmless(down: Downtime, finished: bool, says: str, notes: tuple[str, ...]) -> Finding:
    """Nothing that is held against the box, once the run was gone on with to its end."""
    if down.resumed and finished:
        return marginal(BOX, f"{says}; it was gone on with to its end", notes=notes, help=(
            "run it once more without a break where a certificate is wanted",))
    return unknown(BOX, says, notes=notes, help=(_AGAIN,))


def _silent(down: Downtime, where: str, notes: tuple[str, ...]) -> Finding:
    """It was restarted, and no log says why."""
    quiet = any(down.phase == word or (word and down.phase.startswith(word)) for word in QUIET_STEPS)
    peak = bool(POWER_STEPS & {down.phase, *down.modules})
    if not down.looked or not down.log:
        what = "no log of that time was read" if down.looked else "the logs of that time were not looked into"
        hint = ": the phase speaks for the supply, nothing proves it" if peak else ""
        return unknown(
            BOX, f"{where}; {what}, only the time and the phase speak{hint}", notes=notes,
            help=_SUPPLY if peak else ("keep the journal on the disk: sudo mkdir -p /var/log/journal", _AGAIN))
    ends = f"the log ({down.log}) ends without a word, nobody shut it down"
    if quiet:
        return unknown(
            BOX, f"{where}; {ends}, and there was no load: the mains, or a reset", notes=notes, help=(_AGAIN,))
    why = "that phase is the supply's test" if peak else "a supply that switches off leaves no word"
    return failed(
        BOX, f"{where}; {ends}: {why}", notes=notes, help=_SUPPLY, cause="box-down:power", where="the supply",
        title=f"the box went down in {step(down)}, as it does when the supply switches off")


def step(down: Downtime) -> str:
    """`phase power-pulse`, or that none had begun."""
    return f"phase {down.phase}" if down.phase else "its start"


def _who(down: Downtime) -> str:
    return "the box" if down.rebooted else "boxcheck" if down.rebooted is False else "the run"


def situation(down: Downtime) -> str:
    """`the box went down in phase power-pulse on cuda:0, cuda:1 at 812 W (2 GPUs), 71 °C`."""
    on = f" on {', '.join(down.gpus)}" if down.gpus else ""
    if down.watts is not None:
        power = f" at {down.watts:.0f} W" + (
            f" (what {down.watts_of} of {len(down.gpus)} told)" if down.watts_of != len(down.gpus) else "")
    else:
        power = " at a power that was not read" if down.gpus else ""
    heat = f", {down.celsius:.0f} °C ({down.celsius_of})" if down.celsius is not None else ""
    again = f"; it was up again {duration(down.quiet_seconds)} after the last record" if (
        down.rebooted and down.quiet_seconds is not None) else ""
    return f"{_who(down)} went down in {step(down)}{on}{power}{heat}{again}"

"""Puts back what an experiment that was cut off left changed, and keeps load off a box where that was not done."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from boxcheck.checks.left_changed import PUT_BACK
from boxcheck.checks.wording import listed
from boxcheck.host import Host
from boxcheck.host.left_changed import Changed, LeftChanged, folders_of, left_changed
from boxcheck.host.state import state_and_owner
from boxcheck.judge import ExitCode
from boxcheck.model import Bdf
from boxcheck.report.wrapping import wrapped
from boxcheck.riser.links.journal import boot_id, journal_directory
from boxcheck.riser.links.pending import Recovered, restore_pending
from boxcheck.riser.links.ports import Refused
from boxcheck.riser.links.restore import COLD_BOOT
from boxcheck.riser.measuring.power_cap import restore_power
from boxcheck.riser.measuring.power_limits import limiter_of
from boxcheck.usage import UsageError


def put_back(host: Host, say: Callable[[str], None]) -> frozenset[Bdf]:
    """Puts back all that can be, and tells it on standard error. Gives the ports and cards that are still not what they
    were. UsageError while another boxcheck works on a link."""
    from boxcheck.host.config_space import LivePorts

    ports = LivePorts()
    done: list[Recovered] = []
    power: list[str] = []
    try:
        for folder in _folders("link", journal_directory(host)):
            done += restore_pending(ports, folder, announce=say)
        for folder in _folders("power", _folder(host, "riser")):
            power += restore_power(folder, lambda bdf, vendor: limiter_of(bdf, vendor, ports))
    except Refused as refused:
        raise UsageError(refused.says, refused.help) from None
    for says in (*power, *(f"{one.says}{f'; {one.help}' if one.help else ''}" for one in done)):
        _tell(f"! {says}")
    told = {Bdf(one.port) for one in done if not one.closed}
    still = waiting(host)
    for left in still:
        if left.bdf not in told and not any(left.bdf in says for says in power):
            _tell(f"! {in_words(left)} was changed, and what it was set to before is not written down any more; "
                  f"{COLD_BOOT}")
    return frozenset(told | {left.bdf for left in still})


def _folders(kind: Changed, own: str) -> tuple[str, ...]:
    """Root puts back what any user's experiment has changed, others what their own has."""
    try:
        return folders_of(kind, own) if os.geteuid() == 0 else (own,)
    except OSError as error:
        raise _unknown(error) from None


def restore(quiet: bool) -> int:
    """`boxcheck riser --restore`: 0 where nothing waits any more, 5 where something is still changed."""
    from boxcheck.commands.doctor import open_host
    from boxcheck.engine.box_lock import whole_box

    host = open_host(None)
    left = waiting(host)
    if left and os.geteuid() != 0:
        raise UsageError(f"{_listed(left)} waits to be put back, which needs root", PUT_BACK)
    with whole_box():  # who works on a link now has left nothing yet
        still = put_back(host, says_aside(quiet))
    if not left:
        print("no experiment left anything changed")
    return int(ExitCode.LOST if still else ExitCode.PASSED)


def _listed(left: Sequence[LeftChanged]) -> str:
    return listed(list(dict.fromkeys(in_words(one) for one in left)))


def waiting(host: Host) -> tuple[LeftChanged, ...]:
    """What waits now. UsageError where that cannot be told."""
    try:
        return left_changed(state_and_owner(host)[0], boot_id())
    except OSError as error:
        raise _unknown(error) from None


def _unknown(error: OSError) -> UsageError:
    return UsageError(
        f"whether an experiment left a link changed is not known: {error.filename}: "
        f"{os.strerror(error.errno or 0).lower()}", "make that directory readable, or remove it")


def refuse_changed(host: Host, say: Callable[[str], None]) -> int | None:
    """None where load may begin: nothing was left changed, or root has put it back. Else the exit code, after it was
    said why: what is measured of a link that boxcheck itself holds at a lower speed is nothing about the box."""
    left = waiting(host)
    if not left:
        return None
    if any(one.at_work for one in left):
        raise UsageError("boxcheck riser works on a link now", "wait until it is done: two would measure each other")
    if os.geteuid() == 0:
        from boxcheck.engine.box_lock import whole_box

        with whole_box():  # an experiment that begins meanwhile holds what it changes
            put_back(host, say)
            left = waiting(host)
        if not left:
            return None
    _tell(f"error: nothing was begun: an experiment of boxcheck riser was cut off and left {_listed(left)} changed")
    _tell(f"help: {COLD_BOOT if os.geteuid() == 0 else PUT_BACK}")
    return int(ExitCode.LOST)


def says_aside(quiet: bool) -> Callable[[str], None]:
    """What is announced, on standard error."""
    return (lambda text: None) if quiet else _tell


def in_words(one: LeftChanged) -> str:
    of = f" ({one.what})" if one.what else ""
    return f"the power limit of {one.bdf}{of}" if one.kind == "power" else f"the link below {one.bdf}{of}"


def _folder(host: Host, name: str) -> str:
    """Where it would lie; it need not be there."""
    return os.path.join(state_and_owner(host)[0], "boxcheck", name)


def _tell(text: str) -> None:
    print("\n".join(wrapped(text, 100, "", "  ")), file=sys.stderr, flush=True)

"""Made-up runs that the screens are tested and drawn with: each a real store, the same at each run.

    with made("failing", folder) as run: ...       # run.path, run.hand: the clock as the run left it
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from boxcheck.stress import Trouble
from tests.store.machine import HandClock
from tests.tui.box import Burning

PLAN = (("doctor before", 8.0), ("matmul", 60.0), ("p2p", 120.0), ("copy", 40.0), ("doctor after", 8.0))
PCIE3, PCIE5 = 2, 4
"""Numbers of GPUs of the WOPR, which are ordered by slot."""
HOSTILE = "[red]bold[/red] \x1b[31mred\x1b[0m \u202eesrever\u202c " + "x" * 200


def _wopr(folder: str, box: str = "wopr-7x4090", **fields: object) -> Burning:
    return Burning(folder, box, planned=PLAN, **fields)  # type: ignore[arg-type]


def all_well(folder: str, second: int = 56) -> Burning:
    """Seven cards between the copies from card to card; products judged, nothing found."""
    run = _wopr(folder)
    run.doctor("doctor before")
    run.load("matmul", 60)
    run.load("p2p", second, planned=120.0, ends=False)
    return run


def failing(folder: str) -> Burning:
    """The link of slot PCIE3 damages packets, and falls to eight lanes under load."""
    run = _wopr(folder, "wopr-7x4090+riser-x8")
    machine, port = run.machine, run.machine._chains[PCIE3][0]

    def each(second: int) -> None:
        if second > 20:
            machine.lanes.update(dict.fromkeys(machine._chains[PCIE3], 8))
            machine.slow[PCIE3] = 0.96 if second % 7 else 0.7
        if second > 20 and second % 5 == 0:
            machine.errors[port] = machine.errors.get(port, 0) + 61
            run.event("aer-correctable", "61 bad TLPs", severity="warn", subject=port)

    run.doctor("doctor before")
    run.load("matmul", 60, each=each)
    machine.slow[PCIE3] = 0.25
    run.load("p2p", 40, planned=120.0, ends=False, each=lambda second: each(second + 20))
    return run


def stale(folder: str) -> Burning:
    """The instruments of PCIE7 tell nothing for 40 s; its work goes on."""
    run = _wopr(folder)
    run.load("matmul", 30)

    def each(second: int) -> None:
        run.silent |= {6} if second >= 5 else set()

    run.load("p2p", 45, planned=120.0, ends=False, each=each)
    return run


def lost(folder: str) -> Burning:
    """PCIE5 fell off the bus."""
    run = _wopr(folder)
    info = run.infos[PCIE5]

    def each(second: int) -> None:
        if second == 30:
            run.machine.gone.add(str(info.bdf))
            run.event("device-dead", "the GPU has left the bus: Xid 79", severity="fail", subject=str(info.bdf))

    run.load("matmul", 40, planned=60.0, ends=False, each=each)
    return run


def marginal(folder: str) -> Burning:
    """PCIE5 is warm, and a little slow."""
    run = _wopr(folder)
    run.machine.slow[PCIE5], run.machine.hot[PCIE5] = 0.93, 11.0
    run.doctor("doctor before")
    run.load("matmul", 60)
    run.load("p2p", 40, planned=120.0, ends=False)
    return run


def finished(folder: str) -> Burning:
    """To its end, and nothing found."""
    run = _wopr(folder)
    run.doctor("doctor before")
    run.load("matmul", 60)
    run.load("p2p", 80)
    run.doctor("doctor after")
    run.finish()
    return run


def failed(folder: str) -> Burning:
    """To its end; the link of PCIE3 has eight lanes from the beginning, and the card one wrong result."""
    run = _wopr(folder, "wopr-7x4090+riser-x8")
    run.machine.lanes.update(dict.fromkeys(run.machine._chains[PCIE3], 8))
    run.doctor("doctor before")
    run.machine.wrong[PCIE3] = 3
    run.load("matmul", 60)
    run.doctor("doctor after")
    run.finish()
    return run


def crashed(folder: str) -> Burning:
    run = _wopr(folder)
    run.doctor("doctor before")
    run.load("matmul", 60)
    run.load("p2p", 20, planned=120.0, ends=False)
    run.crash()
    return run


def stopped(folder: str) -> Burning:
    run = _wopr(folder)
    run.doctor("doctor before")
    run.load("matmul", 60)
    run.event("stopped", "stopped by SIGTERM", severity="warn")
    run.finish("stopped", "stopped by SIGTERM")
    return run


def sixteen(folder: str) -> Burning:
    run = Burning(folder, count=16, planned=PLAN, serial="BIG-16")
    run.load("p2p", 20, planned=120.0, ends=False)
    return run


def no_gpu(folder: str) -> Burning:
    """Processors alone."""
    run = Burning(folder, processor=True, planned=(("cpu", 120.0),), profile="generic", capture=False, serial="HOST-1")
    run.load("cpu", 40, planned=120.0, ends=False)
    return run


def strix(folder: str) -> Burning:
    """One APU."""
    run = Burning(folder, "strix-halo", planned=(("doctor before", 8.0), ("matmul", 120.0)), backend="hip",
                  arch="gfx1151", serial="FW-DESK-3")
    run.doctor("doctor before")
    run.load("matmul", 45, planned=120.0, ends=False)
    return run


def hostile(folder: str) -> Burning:
    """Names, slots, events that want to be markup, escapes, and right to left."""
    run = Burning(
        folder, planned=PLAN, serial=HOSTILE, names=lambda number, name: HOSTILE if number % 2 else "[bold]" * 30,
        slots=lambda slot: f"[u]{slot}\x1b[2J\u202e")
    run.load("matmul", 30)
    run.event("[blink]\x1b[5m", HOSTILE, severity="warn", subject="[/]\x1b]0;title\x07")
    run.load("p2p", 10, planned=120.0, ends=False)
    return run


def clock_back(folder: str) -> Burning:
    """Somebody sets the wall clock back by an hour in the middle."""
    run = _wopr(folder)

    def each(second: int) -> None:
        run.hand.wall -= 3600.0 if second == 10 else 0.0

    run.load("matmul", 30, planned=60.0, ends=False, each=each)
    return run


def hung(folder: str) -> Burning:
    """The worker of PCIE3 gave no sign of life; the step is judged, the run goes on."""
    run = _wopr(folder)
    key = run.infos[PCIE3].key
    run.load("matmul", 40, troubles=(Trouble(
        gpus=(key,), module="matmul", kind="hang", says="it gave no sign of life for 45 s", help="look at its log"),))
    run.load("p2p", 10, planned=120.0, ends=False)
    return run


def nothing_yet(folder: str) -> Burning:
    """A run in its first second."""
    return _wopr(folder)


RUNS: Mapping[str, Callable[[str], Burning]] = {
    "all-well": all_well, "failing": failing, "stale": stale, "lost": lost, "marginal": marginal, "finished": finished,
    "failed": failed, "crashed": crashed, "stopped": stopped, "sixteen": sixteen, "no-gpu": no_gpu, "strix": strix,
    "hostile": hostile, "clock-back": clock_back, "hung": hung, "nothing-yet": nothing_yet,
    "start": partial(all_well, second=3),
}


class Run:
    """What a test needs of one: it can no longer be written."""

    def __init__(self, burning: Burning) -> None:
        self.path, self.hand, self.want = burning.path, burning.hand, burning.want

    @property
    def clock(self) -> Callable[[], float]:
        return lambda: self.hand.monotonic


@contextmanager
def made(name: str, folder: str) -> Iterator[Burning]:
    """The run of that name in a folder; its writer holds it until the end of the block."""
    burning = RUNS[name](folder)
    burning.store.flush()
    try:
        yield burning
    finally:
        burning.close()


__all__ = ["RUNS", "Burning", "HandClock", "Run", "made"]

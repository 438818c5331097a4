"""Fixtures of the bench: one boot a topology, shared by the tests of a module; and the reason why nothing is run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import pytest

from tests.kernel.bench import Machine, boot
from tests.kernel.cache import Unavailable, asked, check_machine, room_for_another
from tests.kernel.fetch import Bench, fetch, known
from tests.kernel.topology import ALL
from tests.kernel.vm import SPENT

HERE = Path(__file__).parent
Beside = Callable[[Bench, Callable[[], bool]], object]
"""Something long, in a guest of its own; it is told whether to stop."""


@pytest.fixture(scope="session")
def bench(request: pytest.FixtureRequest) -> Bench:
    """What was fetched. Skips with one line of reason, or fails where BOXCHECK_BENCH=require."""
    word = asked()
    try:
        check_machine()
        found = known() if not word else fetch()
    except Unavailable as why:
        if word == "require":
            pytest.fail(f"the kernel bench cannot run: {why}", pytrace=False)
        pytest.skip(f"kernel bench: {why}")
    if found is None:
        pytest.skip("kernel bench: nothing is fetched; BOXCHECK_BENCH=1 fetches and runs it")
    return found


@pytest.fixture(scope="session")
def whole_bench(bench: Bench) -> Bench:
    """For all but the smoke boot: minutes, so only where they are asked for."""
    if not asked():
        pytest.skip("kernel bench: only the smoke boot runs unasked; BOXCHECK_BENCH=1 runs all")
    return bench


@dataclass
class Booted:
    """A machine that runs, or that boots in another thread."""

    name: str
    stack: ExitStack = field(default_factory=ExitStack)
    machine: Future[Machine] = field(default_factory=Future)

    def boot(self, bench: Bench) -> None:
        try:
            topology, _, series = self.name.partition("@")
            machine = self.stack.enter_context(boot(bench, ALL[topology], series or None))
            # boxcheck's imports take seconds in an emulated processor.
            machine.guest.boxcheck("--version").ok()
            self.machine.set_result(machine)
        except BaseException as error:  # noqa: BLE001  told to whoever wants the machine
            self.stack.close()
            self.machine.set_exception(error)

    def close(self) -> None:
        wait([self.machine])
        self.stack.close()


class Held:
    """The machine that runs, and the next one, which boots meanwhile. A module that wants the same one after another
    finds it as that left it."""

    def __init__(self, plan: Sequence[str]) -> None:
        self._plan = list(plan)
        """What is wanted one after the other; empty where a test boots one of its own."""
        self._now: Booted | None = None
        self._next: Booted | None = None
        self._thread = ThreadPoolExecutor(1, "boot")
        """Lives as long as its guests: QEMU dies with the thread that started it."""
        self.beside: Beside | None = None
        """What goes on in a guest of its own while the first machines are tested."""
        self._beside_thread = ThreadPoolExecutor(1, "beside")
        self._beside: Future[object] | None = None
        self._stopping = threading.Event()

    def result_beside(self) -> object | None:
        """What came of it; None where it was not begun. Raises what it raised."""
        return None if self._beside is None else self._beside.result()

    def get(self, bench: Bench, wanted: str) -> Machine:
        if self.beside is not None and room_for_another():
            self._beside, self.beside = self._beside_thread.submit(self.beside, bench, self._stopping.is_set), None
        if self._now is None or self._now.name != wanted:
            self._close(self._now)
            self._now = None
            if self._next is None or self._next.name != wanted:
                self._close(self._next)
                self._next = self._start(bench, wanted)
            self._now, self._next = self._next, None
            self._now.machine.exception()
            after = self._after(wanted)
            if after and room_for_another():
                self._next = self._start(bench, after)
        return self._now.machine.result()

    def _start(self, bench: Bench, name: str) -> Booted:
        found = Booted(name)
        self._thread.submit(found.boot, bench)
        return found

    def _after(self, wanted: str) -> str:
        if wanted not in self._plan:
            return ""
        del self._plan[:self._plan.index(wanted) + 1]
        return self._plan[0] if self._plan else ""

    def _close(self, one: Booted | None) -> None:
        if one is not None:
            one.close()

    def close(self) -> None:
        self._close(self._now)
        self._close(self._next)
        self._now = self._next = None

    def end(self) -> None:
        self.close()
        self._stopping.set()
        if self._beside is not None:
            wait([self._beside])


PLAN: list[str] = []
BESIDE: list[Beside] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is judged of something that goes on beside the other tests comes last (`beside` in its module)."""
    at = [number for number, item in enumerate(items) if item.path.parent == HERE]
    for number, item in zip(at, sorted((items[number] for number in at), key=lambda item: _beside_of(item) is not None),
                            strict=True):
        items[number] = item


def _beside_of(item: pytest.Item) -> Beside | None:
    return getattr(getattr(item, "module", None), "beside", None) if item.path.parent == HERE else None


def pytest_collection_finish(session: pytest.Session) -> None:
    """Which machines the tests want, in their order."""
    wanted: list[str] = []
    for item in session.items:
        names = getattr(item, "fixturenames", ())
        if "machine" in names and isinstance(item, pytest.Function) and item.path.parent == HERE:
            params = item.callspec.params if hasattr(item, "callspec") else {}
            wanted.append(str(params.get("machine") or item.module.TOPOLOGY))
        elif {"alone", "burnt"} & set(names):
            wanted.append("")
    PLAN[:] = [name for name, _ in groupby(wanted)]
    BESIDE[:] = [one for one in dict.fromkeys(map(_beside_of, session.items)) if one is not None]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if SPENT and asked():
        terminalreporter.section("guests: seconds, and of them of the processor")
        for one in SPENT:
            terminalreporter.line(f"{one.name:<24} boot {one.boot_seconds:5.1f} ({one.boot_processor_seconds:5.1f})"
                                  f"   in all ({one.processor_seconds:6.1f})")
        terminalreporter.line(f"{len(SPENT)} boots, {sum(one.processor_seconds for one in SPENT):.0f} s of the processor")


@pytest.fixture(scope="session")
def held() -> Iterator[Held]:
    found = Held(PLAN)
    found.beside = BESIDE[0] if BESIDE else None
    try:
        yield found
    finally:
        found.end()


@pytest.fixture
def alone(held: Held) -> None:
    """No machine of a module runs: for a test that boots one of its own."""
    held.close()


@pytest.fixture(scope="module")
def machine(request: pytest.FixtureRequest, whole_bench: Bench, held: Held) -> Machine:
    """The machine that the module names in TOPOLOGY, or the one that a test's parameter names (with @6.1 for the kernel
    of that series). Booted once for all tests that use it one after the other."""
    try:
        return held.get(whole_bench, str(getattr(request, "param", None) or request.module.TOPOLOGY))
    except Unavailable as why:
        pytest.skip(f"kernel bench: {why}")

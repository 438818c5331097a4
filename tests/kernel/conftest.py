"""Fixtures of the bench: one boot a topology, shared by tests one after the other; and the reason why nothing is run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.kernel.bench import Machine, boot
from tests.kernel.cache import Unavailable, asked, check_machine, place_for_a_guest
from tests.kernel.fetch import Bench, fetch, known
from tests.kernel.topology import ALL
from tests.kernel.units import order
from tests.kernel.vm import SPENT, Spent

HERE = Path(__file__).parent


def cannot_run(why: Unavailable) -> NoReturn:
    """Skips with one line of reason, or fails where BOXCHECK_BENCH=require."""
    if asked() == "require":
        pytest.fail(f"the kernel bench cannot run: {why}", pytrace=False)
    pytest.skip(f"kernel bench: {why}")


@pytest.fixture(scope="session")
def bench() -> Bench:
    """What was fetched, where a guest can run."""
    try:
        check_machine()
        found = fetch() if asked() else known()
        with place_for_a_guest():
            pass
    except Unavailable as why:
        cannot_run(why)
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
class Held:
    """The machine that runs. A module that wants the same one after another finds it as that left it."""

    name: str = ""
    machine: Machine | None = None
    stack: ExitStack = field(default_factory=ExitStack)

    def get(self, bench: Bench, wanted: str) -> Machine:
        if self.machine is None or self.name != wanted:
            self.close()
            topology, _, series = wanted.partition("@")
            self.name, self.machine = wanted, self.stack.enter_context(boot(bench, ALL[topology], series or None))
        return self.machine

    def close(self) -> None:
        self.machine = None
        self.stack.close()


HELD = Held()


def wanted(item: pytest.Item | None) -> str:
    """The machine that a test wants, by its topology's name, with @6.1 for the kernel of that series."""
    if not isinstance(item, pytest.Function) or item.path.parent != HERE or "machine" not in item.fixturenames:
        return ""
    params = item.callspec.params if hasattr(item, "callspec") else {}
    return str(params.get("machine") or item.module.TOPOLOGY)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """No machine outlives the tests that want it."""
    try:
        return (yield)
    finally:
        if wanted(nextitem) != HELD.name:
            HELD.close()


@pytest.fixture(scope="module")
def machine(request: pytest.FixtureRequest, whole_bench: Bench) -> Machine:
    """The machine that the module names in TOPOLOGY, or the one that a test's parameter names. Booted once for all tests
    that use it one after the other."""
    try:
        return HELD.get(whole_bench, str(getattr(request, "param", None) or request.module.TOPOLOGY))
    except Unavailable as why:
        cannot_run(why)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest first, so that processes which share the tests end together."""
    at = [number for number, item in enumerate(items) if item.path.parent == HERE]
    for number, item in zip(at, sorted((items[number] for number in at), key=lambda item: order(item.nodeid)), strict=True):
        items[number] = item


def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["spent"] = [astuple(one) for one in SPENT]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    SPENT.extend(Spent(*one) for one in getattr(node, "workeroutput", {}).get("spent", ()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if SPENT and asked():
        terminalreporter.section("guests: seconds, and of them of the processor")
        for one in SPENT:
            terminalreporter.line(f"{one.name:<24} boot {one.boot_seconds:5.1f} ({one.boot_processor_seconds:5.1f})"
                                  f"   in all {one.seconds:6.1f} ({one.processor_seconds:6.1f})")
        terminalreporter.line(f"{len(SPENT)} boots, {sum(one.processor_seconds for one in SPENT):.0f} s of the processor")

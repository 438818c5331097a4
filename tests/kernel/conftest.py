"""Fixtures of the bench: one boot a topology, shared by the tests of a module; and the reason why nothing is run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.kernel.bench import Machine, boot
from tests.kernel.cache import Unavailable, asked, check_machine
from tests.kernel.fetch import Bench, fetch, known
from tests.kernel.topology import ALL


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


class Held:
    """The machine that runs. A module that wants the same one after another finds it as that left it."""

    def __init__(self) -> None:
        self.name = ""
        self.stack = ExitStack()
        self.machine: Machine | None = None

    def get(self, bench: Bench, wanted: str) -> Machine:
        if self.machine is None or self.name != wanted:
            self.close()
            name, _, series = wanted.partition("@")
            self.machine = self.stack.enter_context(boot(bench, ALL[name], series or None))
            self.name = wanted
        return self.machine

    def close(self) -> None:
        self.machine = None
        self.stack.close()


@pytest.fixture(scope="session")
def held() -> Iterator[Held]:
    found = Held()
    try:
        yield found
    finally:
        found.close()


@pytest.fixture
def alone(held: Held) -> None:
    """No machine runs: for a test that boots one of its own."""
    held.close()


@pytest.fixture(scope="module")
def machine(request: pytest.FixtureRequest, whole_bench: Bench, held: Held) -> Machine:
    """The machine that the module names in TOPOLOGY, or the one that a test's parameter names (with @6.1 for the kernel
    of that series). Booted once for all tests that use it one after the other."""
    try:
        return held.get(whole_bench, str(getattr(request, "param", None) or request.module.TOPOLOGY))
    except Unavailable as why:
        pytest.skip(f"kernel bench: {why}")

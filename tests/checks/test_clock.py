from __future__ import annotations

from typing import Any

import pytest

from boxcheck.probes.clock import Clock
from boxcheck.probes.container import Container
from tests.checks.judging import GONE, outcome

BARE, DOCKER = Container(None, None), Container("docker", None)


@pytest.mark.parametrize(("clock", "container", "limit", "wanted"), [
    (Clock(True, "chronyc"), BARE, {"should": True}, "pass"),
    (Clock(False, "chronyc"), BARE, {"should": True}, "marginal"),
    (Clock(False, "chronyc"), BARE, True, "fail"), (Clock(GONE, None), BARE, True, "unknown"),
    (Clock(GONE, None), DOCKER, True, "skip"), (Clock(False, "chronyc"), BARE, None, "skip")])
def test_clock(clock: Clock, container: Container, limit: Any, wanted: str) -> None:
    limits = {"clock.synchronized": limit} if limit else None
    assert outcome("clock.synchronized", clock, container, limits=limits) == wanted

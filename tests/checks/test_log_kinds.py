"""Every kind of log event that a machine without a fault never logs is judged by a check of doctor."""

from __future__ import annotations

import ast
from pathlib import Path

from boxcheck.decode.klog.kinds import KINDS

CHECKS = Path(__file__).parents[2] / "boxcheck" / "checks"


def words_of_checks() -> set[str]:
    return {
        node.value for path in CHECKS.glob("*.py") for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_every_grave_kind_is_judged() -> None:
    grave = {name for name, kind in KINDS.items() if kind.severities[0] == "fail"}
    assert grave - words_of_checks() == set()

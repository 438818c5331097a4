"""Errors have one voice: a fact in small letters without a full stop, then a help that says what to do."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "boxcheck"
NAMES = {"UsageError", "ProfileError", "CaptureError"}
HELPED = {"UsageError", "ProfileError"}
"""Those that take a help beside the fact."""


def raised() -> Iterator[tuple[str, ast.Call]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text()
        for node in ast.walk(ast.parse(text)) if any(f"raise {name}(" in text for name in NAMES) else ():
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name) \
                    and node.exc.func.id in NAMES:
                yield f"{path.relative_to(PACKAGE)}:{node.lineno}", node.exc


def text_of(node: ast.expr) -> str | None:
    """The text as far as it is written there, `{}` for what is put in; None where it is a variable or a call."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    if isinstance(node, ast.BoolOp):  # `nearest(...) or "..."`
        return text_of(node.values[-1])
    return None


RAISED = list(raised())


def test_there_are_errors_to_look_at() -> None:
    assert len(RAISED) > 150


@pytest.mark.parametrize(("place", "call"), RAISED, ids=[place for place, _ in RAISED])
def test_an_error_has_the_voice_of_all(place: str, call: ast.Call) -> None:
    fact = text_of(call.args[0]) if call.args else None
    if fact is not None:
        assert not fact.endswith((".", "!")), f"{place}: {fact!r} ends as a sentence"
        assert not re.match(r"[A-Z][a-z]+ ", fact), f"{place}: {fact!r} begins with a capital"
        assert not re.search(r"\b(?:please|invalid|illegal|sorry|oops|failed to|could not be able)\b", fact, re.IGNORECASE), (
            f"{place}: {fact!r} does not say what is the case")
    help = text_of(call.args[1]) if len(call.args) > 1 else None
    if help is not None:
        assert not help.endswith((".", "!")) or help.endswith(("...", "install .")), f"{place}: {help!r}"
        assert not re.match(r"(?:Please|Try|You) ", help), f"{place}: {help!r}"


@pytest.mark.parametrize(
    ("place", "call"), [pytest.param(place, call, id=place) for place, call in RAISED
                        if isinstance(call.func, ast.Name) and call.func.id in HELPED])
def test_an_error_says_what_to_do(place: str, call: ast.Call) -> None:
    assert len(call.args) > 1 or any(one.arg == "help" for one in call.keywords) or any(
        isinstance(one, ast.Starred) for one in call.args), f"{place}: no help"

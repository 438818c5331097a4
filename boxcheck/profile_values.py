"""One value of one limit: is it of the right type, possible, and does `should` ask for more than `must`? Also which
names of checks and limits there are."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

import msgspec

from boxcheck.model import Scalar
from boxcheck.registry import CHECKS, LIMITS, LimitSpec, selected

INTEGER_LIMIT = 1 << 63
_VERSION = re.compile(r"\d{1,9}([.-]\w{1,16}){0,7}", re.ASCII)

_TYPES: Mapping[type, str] = {int: "a number", float: "a number", str: "text", bool: "true or false"}


class Complaint(msgspec.Struct, frozen=True):
    """What is wrong with a value. `path` goes on from the limit's own key."""

    path: tuple[str | int, ...]
    says: str
    help: str = ""


class LimitValue(msgspec.Struct, frozen=True):
    must: Any = None
    should: Any = None


class _Impossible(Exception):
    def __init__(self, says: str, help: str = "") -> None:
        super().__init__(says)
        self.says = says
        self.help = help


def show(value: object) -> str:
    """A value of a file as a person would write it, safe for a terminal and of sane length."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() if abs(value) >= 1 << 64:
            return f"a number of {value.bit_length()} bits"
        case int() | float():
            return str(value)
        case str():
            import json

            text = value if len(value) <= 60 else value[:57] + "..."
            return json.dumps(text, ensure_ascii=not text.isprintable())
        case list() | tuple():
            inner = ", ".join(show(item) if not isinstance(item, list | tuple) else "[...]" for item in value[:4])
            return f"[{inner}{', ...' if len(value) > 4 else ''}]"
        case dict():
            return "a table"
        case _:
            return f"a {type(value).__name__}"


def _scalar(spec: LimitSpec, value: object) -> Scalar:
    """`value` as the type of the limit. Raises _Impossible, with the words that follow the name of the limit."""
    expected = _TYPES[spec.type]
    if isinstance(value, float) and not math.isfinite(value):
        raise _Impossible(f"is {value}, expected a finite number")
    if spec.type in (int, float):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _Impossible(f"is {show(value)}, expected {expected}", _number_help(spec, value))
        if abs(value) >= INTEGER_LIMIT:
            raise _Impossible(f"is {show(value)}, which is no sane number")
        if spec.type is int and not float(value).is_integer():
            raise _Impossible(f"is {show(value)}, expected a whole number")
        number = spec.type(value)
        low, high = spec.low, spec.high
        if (low is not None and number < low) or (high is not None and number > high):
            raise _Impossible(f"is {show(value)}, possible is {_range(low, high)}{f' {spec.unit}' * bool(spec.unit)}")
        value = number
    elif not isinstance(value, spec.type):
        bare = spec.type is bool and isinstance(value, str) and value in ("true", "false")
        raise _Impossible(f"is {show(value)}, expected {expected}",
                          "remove the quotes" if bare else "put it in quotes" if spec.type is str else "")
    if isinstance(value, str) and (not value or len(value) > 200 or not value.isprintable()):
        raise _Impossible(f"is {show(value)}, expected printable text of 1 to 200 characters")
    if spec.type is str and spec.compare in ("ge", "le") and not _VERSION.fullmatch(str(value)):
        raise _Impossible(f"is {show(value)}, expected a version such as 6.18.4")
    if spec.among and value not in spec.among:
        raise _Impossible(f"is {show(value)}, possible are {', '.join(show(item) for item in spec.among)}")
    assert isinstance(value, str | int | float)
    return value


def _number_help(spec: LimitSpec, value: object) -> str:
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return f"give the number, in {spec.unit}" if spec.unit else "give the number"
        return "remove the quotes"
    return "this limit is one number, not a list" if isinstance(value, list) else ""


def _range(low: float | None, high: float | None) -> str:
    if low is None:
        return f"at most {high:g}"
    return f"at least {low:g}" if high is None else f"{low:g} to {high:g}"


def _value(spec: LimitSpec, value: object) -> Any:
    """A scalar, or the tuple of allowed or forbidden values of an `in` or `not-in` limit."""
    if spec.compare not in ("in", "not-in"):
        return _scalar(spec, value)
    items = value if isinstance(value, list) else [value]
    if not items:
        raise _Impossible("is an empty list", "name at least one value")
    found = tuple(_scalar(spec, item) for item in items)
    twice = next((item for index, item in enumerate(found) if item in found[:index]), None)
    if twice is not None:
        raise _Impossible(f"names {show(twice)} twice", "remove one")
    return found


def _ordered(text: str) -> tuple[int, ...]:
    """Numbers of a version, so that 6.9 comes before 6.18."""
    return tuple(int("".join(filter(str.isdecimal, word)) or 0) for word in text.replace("-", ".").split(".")[:8])


def _at_least(left: Any, right: Any) -> bool:
    if isinstance(left, str):
        return _ordered(left) >= _ordered(right)
    return bool(left >= right)


def _all_among(items: Iterable[Any], lists: Sequence[Any]) -> bool:
    """Whether each item is in the list, or is text that one of its globs stands for (`AMD EPYC*`)."""
    def covered(item: Any) -> bool:
        return item in lists or (
            isinstance(item, str) and any(fnmatchcase(item.casefold(), str(glob).casefold()) for glob in lists))

    return all(covered(item) for item in items)


_STRONGER: Mapping[str, tuple[Callable[[Any, Any], bool], str]] = {
    "ge": (_at_least, "should is the larger number: it asks for more than must"),
    "le": (lambda should, must: _at_least(must, should), "should is the smaller number: it asks for more than must"),
    "eq": (lambda should, must: should == must, "a value cannot equal both"),
    "in": (lambda should, must: _all_among(should, must), "should allows only what must allows"),
    "not-in": (lambda should, must: _all_among(must, should), "should forbids all that must forbids"),
    "info": (lambda should, must: True, ""),
}
"""Compare -> whether `should` asks for at least what `must` asks, and what to say when it does not."""


def check_limit(spec: LimitSpec, value: object) -> tuple[LimitValue | None, tuple[Complaint, ...]]:
    """The checked value of a limit, None when it cannot be used, with all that is wrong with it.

    A bare value is a `must`; a table may hold `must`, `should` or both.
    """
    if not isinstance(value, dict):
        value = {"must": value}
        plain = True
    else:
        plain = False
    complaints: list[Complaint] = []
    found: dict[str, Any] = {}
    for key, item in value.items():
        path = () if plain else (key,)
        if key not in ("must", "should"):
            shown = show(key)
            complaints.append(Complaint(path, f"{spec.name} has no {shown}", "a limit has must, should or both"))
            continue
        try:
            found[key] = _value(spec, item)
        except _Impossible as wrong:
            name = spec.name if plain else f"{spec.name}.{key}"
            complaints.append(Complaint(path, f"{name} {wrong.says}", wrong.help))
    if not complaints and not found:
        complaints.append(Complaint((), f"{spec.name} says neither must nor should", "give a number, or must = ..."))
    if len(found) == 2:
        complaints += _contradiction(spec, found["must"], found["should"])
    if complaints:
        return None, tuple(complaints)
    return LimitValue(found.get("must"), found.get("should")), ()


def _contradiction(spec: LimitSpec, must: Any, should: Any) -> Iterator[Complaint]:
    stronger, help = _STRONGER[spec.compare]
    if not stronger(should, must):
        yield Complaint(("should",), f"{spec.name}: should {show(should)} is weaker than must {show(must)}", help)


def names_check(pattern: str) -> bool:
    """Whether a pattern of [require] names a check. The usual spellings first: globs cost a regular expression."""
    if pattern in CHECKS:
        return True
    if pattern.endswith(".*") and not set("*?[") & set(pattern[:-2]):
        return any(check.area == pattern[:-2] for check in CHECKS.values())
    return any(selected((pattern,), id) for id in CHECKS)


def areas() -> frozenset[str]:
    """First halves of the names of all limits: the tables that may hold limits."""
    return _areas(len(LIMITS))


@lru_cache(maxsize=1)
def _areas(limits: int) -> frozenset[str]:
    return frozenset(name.split(".", 1)[0] for name in LIMITS)

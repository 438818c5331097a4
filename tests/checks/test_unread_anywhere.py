"""Each field of each fact made unread, one at a time: no check may fall over, and none may take it for a reading.

The facts are those of healthy built boxes. What a field may be unread for is read from its annotation.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import msgspec
import pytest

from boxcheck.engine.inspect import choose_checks, read_facts
from boxcheck.host.capture import CaptureHost
from boxcheck.model import Unread
from boxcheck.profile import load_profile
from boxcheck.registry import Check, run_check
from tests.boxes import build

BOXES = ("tinybox-red", "tinybox-green", "strix-halo")
AREAS = ("kernel", "driver", "log", "amdgpu", "kfd", "atomics.kfd", "nvidia", "node", "iommu", "strix")
DEEP = ("config", "links", "smbios")
"""Fields whose inside these checks never look at, with hundreds of places each."""
MISSING = Unread("taken away by the test", "not-captured")


def _may_be_unread(annotation: object) -> bool:
    return annotation is Unread or any(_may_be_unread(part) for part in typing.get_args(annotation)
                                       if typing.get_origin(annotation) in (typing.Union, type(int | str)))


def without(value: Any) -> Iterator[tuple[str, Any]]:
    """(name, copy) for every place in a fact that may be unread, of collections in their first element."""
    if isinstance(value, msgspec.Struct):
        hints = typing.get_type_hints(type(value))
        for name in value.__struct_fields__:
            held = getattr(value, name)
            if _may_be_unread(hints[name]):
                yield name, msgspec.structs.replace(value, **{name: MISSING})
            for inner, changed in without(held) if name not in DEEP else ():
                yield f"{name}.{inner}", msgspec.structs.replace(value, **{name: changed})
    elif isinstance(value, Mapping) and value:
        key = next(iter(value))
        if isinstance(value[key], msgspec.Struct):
            for inner, changed in without(value[key]):
                yield f"[{key}].{inner}", {**value, key: changed}
    elif isinstance(value, tuple) and value and isinstance(value[0], msgspec.Struct):
        for inner, changed in without(value[0]):
            yield f"[0].{inner}", (changed, *value[1:])


@cache
def facts_of(box: str, folder: str) -> Any:
    capture = f"{folder}/{box}.tar"
    with open(capture, "wb") as file:
        file.write(build(box).to_tar())
    checks = choose_checks(AREAS)
    return read_facts(CaptureHost(capture), {kind for check in checks for kind in check.reads})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("boxes"))


@pytest.mark.parametrize("check", choose_checks(AREAS), ids=lambda check: check.id)
@pytest.mark.parametrize("box", BOXES)
def test_a_missing_reading_breaks_no_check(box: str, check: Check, folder: str) -> None:
    facts, want = facts_of(box, folder), load_profile(box)
    inputs = [facts.of(kind) for kind in check.reads]
    for index, value in enumerate(inputs):
        for name, changed in without(value):
            try:
                found = list(run_check(check, [*inputs[:index], changed, *inputs[index + 1:]], want))
            except Exception as error:
                raise AssertionError(f"{check.id} with {check.reads[index].__name__}.{name} unread: {error}") from error
            assert found, f"{check.id} says nothing with {check.reads[index].__name__}.{name} unread"
            for finding in found:
                assert finding.outcome.value != "fail", f"{name}: {finding.says}"

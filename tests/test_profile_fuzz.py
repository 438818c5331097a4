"""The profile loader answers any input with a profile or a ProfileError, whose text is safe for a terminal.

`BOXCHECK_FUZZ_EXAMPLES=100000 python -m pytest tests/test_profile_fuzz.py` runs each property that many times.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boxcheck.profile import ProfileError, load_profile
from boxcheck.profile_lines import line_map, line_of
from tests.test_profile_errors import GOOD, HEAD

fuzz = settings(max_examples=int(os.environ.get("BOXCHECK_FUZZ_EXAMPLES", "150")), deadline=None)

PIECES = st.sampled_from([
    "[link]", "[[source]]", "[[slot]]", "[gpus]", "[require]", "[match]", "[recommend.env]", "[link.width]",
    "width = ", "limit = ", "from = ", "part = ", "count = ", "parts = ", "inspect = ", "name = ", "revision = 1",
    "{ must = 16, should = 8 }", '"link.width"', "16", "-1", "nan", "true", "[", "]", "{", "}", "=", ",", ".", "#",
    "'''", '"""', "\n", "\\", "1979-05-27", '"x"', "label = ", "now", "0x", "\x00", "\x1b[2J", "é", "\u202e",
    '"a.b".c = 1', "[a.b.c]",
])


def refuses_or_loads(path: str) -> None:
    try:
        load_profile(path)
    except ProfileError as error:
        caught = error
    else:
        return
    assert str(caught).isprintable()
    assert caught.help.isprintable()
    assert all(one.line >= 1 for one in caught.mistakes)


@fuzz
@given(st.lists(PIECES, max_size=40))
def test_anything_that_looks_like_a_profile_gives_a_profile_or_a_profile_error(
        tmp_path_factory: pytest.TempPathFactory, pieces: list[str]) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.toml"
    path.write_text(HEAD + "".join(piece + " " * (not piece.endswith("\n")) for piece in pieces), encoding="utf-8")
    refuses_or_loads(str(path))


@fuzz
@given(st.binary(max_size=300))
def test_any_bytes_give_a_profile_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz-bytes.toml"
    path.write_bytes(data)
    refuses_or_loads(str(path))


@fuzz
@given(st.integers(0, len(GOOD) - 1), st.text(max_size=4), st.integers(0, 6))
def test_a_sound_profile_with_a_bite_taken_out(
        tmp_path_factory: pytest.TempPathFactory, at: int, put: str, drop: int) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz-bite.toml"
    text = GOOD[:at] + put + GOOD[at + drop:]
    path.write_text(text, encoding="utf-8", errors="replace")
    refuses_or_loads(str(path))


NAMES = st.text("abcdefgh_-0123456789", min_size=1, max_size=6)
VALUES = st.sampled_from([
    "1", "-2.5", "true", '"text"', "'raw [#'", '"a \\" # [ quote"', "[1, 2]", "[\n  1,  # [\n  2,\n]",
    "{ a = 1, b = [2] }",
    '"""\ntwo\nlines [x]\n"""', "'''\n# [no.table]\n'''", "1979-05-27", "[ { a = 1 },\n { a = 2 } ]",
])


@fuzz
@given(st.lists(st.tuples(NAMES, st.lists(st.tuples(NAMES, VALUES), max_size=4, unique_by=lambda pair: pair[0])),
                max_size=5, unique_by=lambda table: table[0]))
def test_the_line_of_every_key_is_found(tables: list[tuple[str, list[tuple[str, str]]]]) -> None:
    text = ""
    expected: dict[tuple[str | int, ...], int] = {}
    for name, pairs in tables:
        text += "# [comment]\n\n"
        expected[name,] = text.count("\n") + 1
        text += f"[{name}]\n"
        for key, value in pairs:
            expected[name, key] = text.count("\n") + 1
            text += f"{key} = {value}  # = [x]\n"
    found = line_map(text)
    assert {path: line_of(found, path) for path in expected} == expected

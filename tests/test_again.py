"""Which failures may be the clock's doing."""

from __future__ import annotations

import pytest

from tests.again import CLOCKED, MOST_FILES, ROOT, to_repeat

WORKER = "tests/engine/test_turns.py::test_one"
GUEST = "tests/kernel/test_burn.py::test_cut[3]"


def test_files_of_guests_and_processes_run_again_whole() -> None:
    assert to_repeat([WORKER, GUEST, "tests/kernel/test_burn.py::test_cut[4]"]) == [
        "tests/engine/test_turns.py", "tests/kernel/test_burn.py"]


@pytest.mark.parametrize("other", ["tests/decode/test_a.py::test_b", "tests/test_verdicts.py", "tests/engine_more/test_a.py::b"])
def test_a_failure_elsewhere_stands(other: str) -> None:
    assert to_repeat([WORKER, other]) == []


def test_many_are_no_busy_machine_but_a_bench_falls_as_one() -> None:
    assert to_repeat([f"tests/engine/test_{number}.py::test" for number in range(MOST_FILES + 1)]) == []
    assert len(to_repeat([f"tests/kernel/test_{number}.py::test" for number in range(30)])) == 30


def test_the_folders_are_there_and_nothing_failed_is_nothing_to_repeat() -> None:
    assert [name for name in CLOCKED if not (ROOT / "tests" / name).is_dir()] == []
    assert to_repeat([]) == []

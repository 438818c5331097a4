"""Matrices for people: every pair has a cell, and what was not run, not reachable or wrong is said."""

from __future__ import annotations

from itertools import permutations

import msgspec
import pytest

from boxcheck.report.matrices import Matrix, lines, matrices
from boxcheck.stress import Sample, StressResults
from tests.stress.transfer_doubles import Transfer, doubles, processors, results_of, run


def sample(one: int, other: int, value: float, wrong: int = 0, what: str = "p2p.one-way.engine-write") -> Sample:
    return Sample(what=what, gpu=f"cpu:{one}", peer=f"cpu:{other}", seconds=1, value=value, unit="GB/s", checked=9, wrong=wrong)


def named(results: StressResults, words: str) -> Matrix:
    (found,) = [matrix for matrix in matrices(results) if matrix.title.startswith(words)]
    return found


def test_a_cell_is_the_median_of_its_pair_from_row_to_column() -> None:
    samples = [sample(0, 1, value) for value in (20.0, 24.4, 24.6)] + [sample(1, 0, 9.5)]
    matrix = named(results_of("p2p", doubles(2), samples), "one way, the source's copy engine writes")
    assert matrix.cells == ((".", "24.4"), ("9.50", "."))
    assert matrix.title == "one way, the source's copy engine writes, GB/s; every payload verified"


def test_wrong_data_is_marked_in_its_cell_and_said_in_the_title() -> None:
    matrix = named(results_of("p2p", doubles(2), [sample(0, 1, 24.0, wrong=3), sample(1, 0, 24.0)]), "one way")
    assert matrix.cells[0][1] == "24.0!"
    assert "WRONG in 1 of 2 transfers" in matrix.title
    assert "! wrong data arrived" in lines(matrix)[-1]


def test_pairs_that_were_not_run_have_a_question_mark_even_where_nothing_was_run() -> None:
    matrix = named(results_of("p2p", doubles(3), [sample(0, 1, 24.0)]), "one way, the source's")
    assert [cell for row in matrix.cells for cell in row].count("?") == 5
    (empty,) = matrices(results_of("p2p", doubles(3), ()))
    assert [cell for row in empty.cells for cell in row].count("?") == 6
    assert "nothing was compared" in empty.title
    assert lines(empty)[-1] == "? not run"


def test_pairs_without_access_say_so_and_their_staged_copies_stand_apart() -> None:
    results = run("p2p", doubles(3, reaches=lambda ends: set(ends) != {"cpu:0", "cpu:2"}))
    direct, staged = named(results, "one way, the source's"), named(results, "by way of the host's memory")
    assert direct.cells[0][2] == direct.cells[2][0] == "x"
    assert staged.cells[0][2] not in ("x", "?", ".")
    assert staged.cells[0][1] == staged.cells[1][2] == "."
    assert "no figure of a link between GPUs" in staged.title


def test_a_stopped_run_shows_what_is_missing() -> None:
    steps = iter(range(10_000))
    results = run("p2p", processors(3), stopping=lambda: next(steps) > 27)
    text = "\n".join(line for matrix in matrices(results) for line in lines(matrix))
    assert "? not run" in text


@pytest.mark.parametrize("count", [2, 7])
def test_a_real_run_fits_into_80_columns_with_slots(count: int) -> None:
    gpus = processors(count)
    results = msgspec.structs.replace(run("p2p", gpus), slots={gpu.info.key: f"PCIE{gpu.info.index + 1}" for gpu in gpus})
    found = matrices(results)
    assert len(found) == (7 if count == 2 else 12)
    for matrix in found:
        assert len(matrix.rows) == len(matrix.columns) == count
        assert all(len(line) <= 80 for line in lines(matrix)), matrix.title
    assert found[0].rows[0] == "cpu:0 PCIE1"


def test_wide_boxes_are_shown_in_blocks_with_every_column_once() -> None:
    keys = tuple(f"cuda:{number}" for number in range(16))
    matrix = Matrix(title="t", rows=keys, columns=keys, cells=tuple(("103.1",) * 16 for _ in keys))
    text = lines(matrix)
    assert all(len(line) <= 80 for line in text)
    heads = [line.split() for line in text[1:] if line.startswith(" ")]
    assert [word for head in heads for word in head] == list(keys)
    assert sum(line.count("103.1") for line in text) == 256


def test_a_ring_has_one_target_for_each_source() -> None:
    matrix = named(run("p2p", processors(4)), "each to the next")
    for one, other in permutations(range(4), 2):
        assert (matrix.cells[one][other] != ".") == (other == (one + 1) % 4)


def test_copies_with_the_host_are_shown_alone_and_together() -> None:
    gpus = processors(2)
    alone = [one for gpu in gpus for one in run("copy", [gpu], together="no").samples]
    together = [one for gpu in gpus for one in run("copy", [gpu]).samples]
    found = matrices(results_of("copy", gpus, [*alone, *together], full_size=False))
    assert [matrix.title.split("; ")[0] for matrix in found] == [
        f"host and device, {kind} memory, {how}, GB/s" for how in ("one device at a time", "all devices at once")
        for kind in ("pinned", "pageable")]
    assert found[0].columns == ("to device", "from device", "to, both", "from, both")  # processors are no GPUs
    assert all("small sizes, no rates of links" in matrix.title for matrix in found)


def test_collectives_are_a_table_and_hops() -> None:
    table, hops = matrices(run("collective", processors(3)))
    assert table.rows == ("all-reduce", "all-gather", "reduce-scatter", "zero3, overlapped")
    assert table.columns == ("bus", "vector", "products")
    assert hops.rows == ("cpu:0 > cpu:1", "cpu:1 > cpu:2", "cpu:2 > cpu:0")
    staged, *_ = matrices(run("collective", doubles(2, reaches=lambda ends: False)))
    assert "by way of the host" in staged.title


def test_other_modules_have_no_matrix() -> None:
    assert matrices(results_of("matmul", processors(1), ())) == []


def test_wrong_data_of_a_real_run_is_in_the_matrix() -> None:
    def rule(transfer: Transfer) -> None:
        transfer.go()
        if transfer.ends == ("cpu:1", "cpu:0") and not transfer.engine:
            transfer.flip(0)

    results = run("p2p", doubles(2, rule))
    assert named(results, "one way, a kernel of the source writes").cells[1][0].endswith("!")
    assert not named(results, "one way, the source's").cells[1][0].endswith("!")

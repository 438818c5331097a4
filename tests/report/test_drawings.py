"""Drawings: nothing is lost when a course is made thin, nothing stands outside, axes are shared."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from boxcheck.model import Outcome
from boxcheck.report.acceptance_thin import SPANS, Thinned
from boxcheck.report.document import Box, Figure, Label, Line
from boxcheck.report.drawing import CHAR, Panel, fitted, ticks, time_ticks, time_words
from boxcheck.report.drawing_heat import SHADES, Scale, scale_of, value_of
from boxcheck.report.drawing_plot import Bound, Held, Small, Span, Stripe, coarser, multiples, sheet
from boxcheck.report.drawing_topology import Part, topology

numbers = st.floats(-1e6, 1e6, allow_nan=False)


def thinned(values: list[float], pieces: int = 7) -> Thinned:
    """One value a second, in pieces as a store has them."""
    made = Thinned(0.0, float(len(values)))
    for at in range(0, len(values), pieces):
        made.add([float(one) for one in range(at, min(at + pieces, len(values)))], values[at:at + pieces])
    return made


@settings(max_examples=60, deadline=None)
@given(st.lists(numbers, min_size=1, max_size=1500), st.integers(1, 90))
def test_the_lowest_and_the_highest_value_stay(values: list[float], pieces: int) -> None:
    made = thinned(values, pieces)
    kept = [value for line in made.segments() for _, value in line]
    assert min(kept) == min(values) == made.lowest
    assert max(kept) == max(values) == made.highest
    assert values[int(made.highest_at)] == made.highest
    assert len(kept) <= 2 * SPANS + 2
    assert made.count == len(values)


def test_every_span_keeps_its_own_lowest_and_highest() -> None:
    values = [100.0 + (at % 3) - (40.0 if at == 43_210 else 0.0) + (60.0 if at == 5_000 else 0.0) for at in range(86_400)]
    kept = {value for line in thinned(values, 60).segments(gap=1e9) for _, value in line}
    assert {60.0, 62.0, 61.0} & kept
    assert {160.0, 161.0, 162.0} & kept


def test_points_are_in_order_of_time() -> None:
    line = [at for segment in thinned([math.sin(one) for one in range(900)]).segments() for at, _ in segment]
    assert line == sorted(line)


def test_a_time_without_readings_is_a_gap() -> None:
    made = Thinned(0.0, 100.0)
    made.add([float(one) for one in range(40)], [1.0] * 40)
    made.add([float(one) for one in range(60, 100)], [1.0] * 40)
    first, second = made.segments()
    assert first[-1][0] == 39.0
    assert second[0][0] == 60.0


def test_a_smaller_drawing_keeps_them_too() -> None:
    values = [0.0] * 1000
    values[777] = 9.0
    segments = coarser(thinned(values).segments(), 0.0, 1000.0, 20)
    assert max(value for line in segments for _, value in line) == 9.0


def inside(figure: Figure) -> None:
    """Every shape lies in the drawing, and no label is wider than what is left of it."""
    for shape in figure.shapes:
        if isinstance(shape, Line):
            for x, y in shape.points:
                assert -0.6 <= x <= figure.width + 0.6, shape
                assert -0.6 <= y <= figure.height + 0.6, shape
        elif isinstance(shape, Box):
            assert shape.x >= -0.1, shape
            assert shape.x + shape.width <= figure.width + 0.1, shape
            assert shape.y + shape.height <= figure.height + 0.1, shape
        else:
            wide = len(shape.text) * shape.size * CHAR
            left = shape.x - {"start": 0.0, "middle": wide / 2, "end": wide}[shape.anchor]
            assert left >= -4, shape
            assert left + wide <= figure.width + 6, shape
            assert shape.size <= shape.y <= figure.height, shape


def test_a_sheet_has_all_of_it_inside() -> None:
    line = thinned([50 + math.sin(one / 9) for one in range(400)]).segments()
    figure = sheet(
        [Stripe(title="temperature, °C", lines={"core": line, "mem": line, "junction": line}, low=40, high=90,
                bounds=(Bound(85, "limit 85"), Bound(200, "far away")), says="highest core 51, mem 51, junction 51"),
         Stripe(title="clock, MHz", lines={}, low=0, high=1)],
        [Held(says="power cap", spans=((10, 30, 0.5), (30, 60, 1.0), (390, 500, 1.0)), total="50 s", grave=True)],
        [Span("matmul", 0, 100), Span("a step with a very long name " * 3, 100, 130), Span("p2p", 130, 400)], 0, 400,
        caption="c", says="s")
    inside(figure)
    assert any(isinstance(one, Label) and one.text == "not read" for one in figure.shapes)


def test_small_multiples_of_sixteen_gpus_have_one_axis_each() -> None:
    line = thinned([50.0] * 50 + [70.0] * 50).segments()
    rows = [(f"PCIE{at}", "cuda:0 a card with a long name that does not fit", [line, ()]) for at in range(16)]
    figure = multiples([Small(title="power, W", low=0, high=450), Small(title="clock, MHz", low=0, high=1)], rows, 0, 100,
                       caption="c", says="s")
    inside(figure)
    heights = {one.points[0][1] - one.points[-1][1] for one in figure.shapes if isinstance(one, Line) and one.role == "series0"}
    assert len({round(one, 1) for one in heights}) == 1
    assert sum(isinstance(one, Label) and one.text == "not read" for one in figure.shapes) == 16


def test_a_chinese_label_is_cut_where_its_box_ends() -> None:
    assert fitted("转接卡三号深圳南山", 46, 8.5) == "转接卡三…"
    assert fitted("转接卡", 46, 8.5) == "转接卡"
    assert [fitted(text, 46, 8.5) for text in ("R3", "A long label", "")] == ["R3", "A long l…", ""]
    assert fitted("转接", 9.6, 8.5) == "…"


def test_of_a_name_that_is_too_long_what_stands_in_brackets_goes_first() -> None:
    for name, shown in (("Strix Halo (Radeon 8060S/8050S/8040S)", "Strix Halo"), ("RTX 4090 (48 GB)", "RTX 4090 (48 GB)")):
        way = (Part(kind="root", id="r", name="bus 00"), Part(kind="gpu", id="g", name="hip:0", under=f"c3:00.0 {name}"))
        texts = [one.text for one in topology([way], caption="c", says="s").shapes if isinstance(one, Label)]
        assert f"c3:00.0 {shown}" in texts


def test_a_topology_of_unlike_ways_has_all_of_it_inside() -> None:
    def part(kind: str, id: str, **more: object) -> Part:
        return Part(kind=kind, id=id, name=f"{kind} {id}"[:14], under="x16 16 GT/s, a long line below it", **more)  # type: ignore[arg-type]

    ways = [
        [part("root", "a"), part("port", "b"), part("slot", "c", outcome=Outcome.FAIL, word="FAIL"), part("riser", "r", dashed=True),
         part("switch", "s"), part("gpu", "1")],
        [part("root", "a"), part("port", "b2"), part("slot", "c2"), part("riser", "r2", dashed=True), part("switch", "s2"),
         part("gpu", "2", outcome=Outcome.MARGINAL, word="marginal")],
        [part("root", "a"), part("port", "b3"), part("gpu", "3")], [part("root", "z"), part("gpu", "4")]]
    figure = topology(ways, caption="c", says="s")
    inside(figure)
    labels = [one.text for one in figure.shapes if isinstance(one, Label)]
    assert "FAIL" in labels
    assert "marginal" in labels
    assert topology([], caption="c", says="s").shapes == ()


@given(numbers, numbers)
def test_ticks_hold_both_ends(one: float, other: float) -> None:
    low, high = sorted((one, other))
    found = ticks(low, high)
    seen = 1e-6 * max(abs(low), abs(high), 1.0)  # what no drawing shows
    assert found[0] <= low + seen
    assert found[-1] >= high - seen
    assert 2 <= len(found) <= 8
    Panel(x=0, y=0, width=10, height=10, begin=0, end=0, low=found[0], high=found[-1]).up(low)


def test_times_are_told_in_one_form_for_an_axis() -> None:
    assert time_ticks(0, 86_400) == tuple(float(at) for at in range(0, 86_401, 10_800))
    assert time_words(90, 100) == "90 s"
    assert time_words(90, 600) == "1:30"
    assert time_words(5400, 86_400) == "1:30"


def test_shades_go_from_the_least_to_the_most_and_an_even_matrix_is_even() -> None:
    scale = scale_of([["25.9", "25.8", "."], ["6.4!", "?", "x"]])
    assert scale is not None
    assert scale.shade(6.4) == SHADES[0]
    assert scale.shade(25.9) == SHADES[-1]
    even = scale_of([["25.9", "25.7"]])
    assert even is not None
    assert even.shade(25.9) == even.shade(25.7)
    assert scale_of([["?", "."]]) is None
    assert Scale(1, 1).shade(1) == SHADES[-1]
    assert value_of("x") is None
    assert value_of("1.40") == 1.4

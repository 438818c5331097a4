"""A run beside a reference: marked where it is outside, differences first, and what was not read never like it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from boxcheck.commands.golden import Drafting, Laying, beside, draft_from_runs
from boxcheck.golden.lay_beside import Beside, Row, lay_beside
from boxcheck.report.golden import beside_json, beside_text, schemas
from boxcheck.report.text import Style
from boxcheck.usage import UsageError
from tests.golden.runs import stored

BF16 = "matmul.bf16_tflops"


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of three boxes."""
    place = str(tmp_path_factory.mktemp("reference") / "rates.json")
    assert draft_from_runs(Drafting(runs=tuple(map(stored, ("one", "two", "three"))), share=place)) == 0
    return place


@pytest.fixture(scope="module")
def slow(reference: str) -> Beside:
    return lay_beside(stored("slow"), reference)


def row(found: Beside, name: str = BF16) -> Row:
    (one,) = (each for each in found.rows if each.limit == name)
    return one


def rewritten(reference: str, folder: Path, **changes: Any) -> str:
    """Another file, with fields of its first rate or of its box replaced."""
    raw = msgspec.json.decode(Path(reference).read_bytes())
    for name, value in changes.items():
        for one in [raw["box"], raw["conditions"], raw, *(each for each in raw["measured"] if each["limit"] == BF16)]:
            if name in one:
                one[name] = value
    place = folder / "other.json"
    place.write_bytes(msgspec.json.encode(raw))
    return str(place)


def test_a_slow_card_is_outside_and_named(slow: Beside) -> None:
    found = row(slow)
    assert found.state == "outside"
    assert found.mine is not None
    assert found.mine.worst_at == "PCIE4"
    assert found.says.startswith("PCIE4 is beyond the limit of ")
    assert found.ratio == pytest.approx(0.985, abs=0.01)
    assert slow.comparable


def test_one_of_the_patterns_is_within(reference: str) -> None:
    found = lay_beside(stored("one"), reference)
    assert {one.state for one in found.rows} == {"within"}
    assert found.compared == 6
    assert found.outcome == "pass"


@pytest.mark.parametrize(("changes", "state"), [
    ({"worst": 163.5, "mean": 164.0, "best": 165.9, "bound": 140.0}, "low"),
    ({"worst": 120.0, "mean": 125.0, "best": 130.0, "bound": 110.0}, "high"),
    ({"by": ["engine library, library cuBLAS 13"]}, "other")])
def test_the_states_between(reference: str, tmp_path: Path, changes: dict[str, Any], state: str) -> None:
    assert row(lay_beside(stored("one"), rewritten(reference, tmp_path, **changes))).state == state


def test_what_differs_is_said_and_other_cards_are_not_marked(reference: str, tmp_path: Path, slow: Beside) -> None:
    assert any(one.startswith("driver: ") and "590.10" in one for one in slow.differences)
    other = lay_beside(stored("other-cards"), reference)
    assert other.differences[0] == "other GPUs: 7 x RTX 5090 (24 GiB) here, 7 x RTX 4090 (24 GiB) there"
    assert not other.comparable
    assert {one.state for one in other.rows} == {"other"}
    assert other.compared == 0
    again = lay_beside(stored("one"), rewritten(
        reference, tmp_path, kernels=["5.15.0"], cpu="AMD EPYC 7262", seconds={"matmul": 3600.0}, held_unread=True,
        self_signed=True, boxcheck=[], profile_sha256="0" * 64))
    told = "\n".join(again.differences)
    for what in ("Linux: 6.14.0-36-generic here, 5.15.0 there", "processor: AMD Eng", "matmul ran for 12 s here, for 3600 s there",
                 "nobody told whether its clock", "self-signed", "boxcheck: not known there", "judged by other limits"):
        assert what in told, told


def test_what_was_not_read_is_never_like_the_reference(reference: str, tmp_path: Path) -> None:
    raw = msgspec.json.decode(Path(reference).read_bytes())
    raw["measured"].append({**raw["measured"][0], "limit": "vram.copy_gbs", "unit": "GB/s", "mean": 900.0, "worst": 890.0,
                            "best": 910.0, "bound": 850.0, "by": []})
    raw["measured"] = [one for one in raw["measured"] if one["limit"] != BF16]
    place = tmp_path / "more.json"
    place.write_bytes(msgspec.json.encode(raw))
    found = lay_beside(stored("one"), str(place))
    unread = row(found, "vram.copy_gbs")
    assert (unread.state, unread.mine, unread.ratio) == ("not-measured", None, None)
    assert row(found).state == "not-in-reference"
    assert found.number("within") == 5
    text = beside_text(found, Style())
    assert "vram.copy_gbs: nothing of the run measures it" in text
    assert "measured here alone: matmul.bf16_tflops" in text
    assert "1 not read" in text
    assert beside(stored("one"), str(place), None, Laying(quiet=True)) == 0
    assert beside(stored("one"), str(place), None, Laying(quiet=True, strict=True)) == 3


def test_exit_codes(reference: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert beside(stored("slow"), reference, None, Laying()) == 0
    assert beside(stored("slow"), reference, None, Laying(strict=True)) == 1
    assert beside(stored("one"), reference, None, Laying(strict=True)) == 0
    assert beside(stored("other-cards"), reference, None, Laying()) == 3
    assert "nothing could be compared" in capsys.readouterr().out


def test_strict_is_no_0_for_a_run_that_does_not_show_what_the_box_does(reference: str, tmp_path: Path) -> None:
    strict = Laying(quiet=True, strict=True)
    partly = rewritten(reference, tmp_path, by=["engine library, library cuBLAS 13"])
    assert beside(stored("one"), partly, None, strict) == 3, "one rate cannot be compared"
    assert beside(stored("one"), partly, None, Laying(quiet=True)) == 0
    for name in ("injected", "crashed", "stopped"):
        assert beside(stored(name), reference, None, strict) == 3, name
    held = lay_beside(stored("throttled"), reference)
    assert [one.split(":")[0] for one in held.unsound] == ["clocks were held down here"]
    assert beside(stored("throttled"), reference, None, strict) == (1 if held.number("outside") else 3)


def test_what_is_outside_by_a_fault_that_was_put_in_is_not_the_box(reference: str, tmp_path: Path) -> None:
    high = rewritten(reference, tmp_path, worst=900.0, mean=910.0, best=920.0, bound=800.0)
    assert row(lay_beside(stored("injected"), high)).state == "outside"
    assert beside(stored("injected"), high, None, Laying(quiet=True, strict=True)) == 3
    assert beside(stored("one"), high, None, Laying(quiet=True, strict=True)) == 1


def test_a_run_that_did_not_end_is_said_to_be_so(reference: str) -> None:
    found = lay_beside(stored("crashed"), reference)
    assert (found.run_state, found.outcome) == ("crashed", "unknown")
    assert "(2026-11-21, crashed, unknown)" in beside_text(found, Style())
    injected = lay_beside(stored("injected"), reference)
    assert any("put in on purpose" in one for one in injected.differences)


@pytest.mark.parametrize("columns", [80, 100, 120, 200])
@pytest.mark.parametrize("ascii", [False, True])
def test_the_text_fits_and_says_everything(slow: Beside, columns: int, ascii: bool) -> None:
    text = beside_text(slow, Style(columns=columns, ascii=ascii))
    assert all(len(line) <= columns for line in text.splitlines()), text
    assert text.index("Another than there") < text.index(BF16), "differences first"
    assert text.index("OUTSIDE") < text.index("ratio") + 200
    for word in ("3 boxes, 3 runs", "it is not signed", "PCIE4", "OUTSIDE"):
        assert word in " ".join(text.split())
    assert not ascii or text.isascii()


def test_the_json_is_as_its_schema_says(slow: Beside, reference: str) -> None:
    every = schemas()
    Draft202012Validator(every["beside.schema.json"]).validate(msgspec.json.decode(beside_json(slow)))
    Draft202012Validator(every["reference.schema.json"]).validate(msgspec.json.decode(Path(reference).read_bytes()))


def test_a_store_or_a_reference_that_is_none(reference: str, tmp_path: Path) -> None:
    (tmp_path / "no.sqlite").write_bytes(b"nothing")
    with pytest.raises(UsageError):
        lay_beside(str(tmp_path / "no.sqlite"), reference)
    with pytest.raises(UsageError, match="no reference measurement"):
        lay_beside(stored("one"), stored("one"))

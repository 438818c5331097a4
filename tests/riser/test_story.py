"""The how-to page shows what boxcheck says of the simulated WOPR, and what it says holds together."""

from __future__ import annotations

from boxcheck.report.riser import riser_text
from boxcheck.report.text import Style
from tests.riser.showing import found, waiting
from tests.riser.story import PAGE, accounts, page, told, wopr


def test_the_page_shows_what_boxcheck_says() -> None:
    text = PAGE.read_text()
    assert page(text, told()) == text, "python -m tests.riser.story --write"


def test_the_wopr_takes_one_power_cycle() -> None:
    first, last = accounts(wopr())
    assert first.state == "waiting"
    assert (last.state, [one.name for one in last.weighed.accused]) == ("found", ["R7"])
    assert "RISER R7" in last.tape[0]


def test_every_line_fits_a_terminal_of_80_columns_in_ascii() -> None:
    for account in (waiting(), found()):
        text = riser_text(account, Style(columns=80, ascii=True))
        assert text.isascii()
        assert max(map(len, text.splitlines())) <= 80


def test_what_is_asked_is_told_as_motions_with_both_places() -> None:
    text = riser_text(waiting(), Style(columns=200))
    assert "Move card …4417 with its riser R3 from PCIE3 to PCIE5." in text
    assert "Move card …90ab with its riser R5 from PCIE5 to PCIE3." in text
    assert "If errors stay in PCIE3" in text


def test_zero_errors_are_told_as_a_bound_in_the_table() -> None:
    row = next(line for line in riser_text(found(), Style()).splitlines() if line.startswith("  3 "))
    assert row.split()[-4:] == ["2.5", "<", "2.5", "bounded"]


def test_quiet_is_the_verdict_and_what_to_do() -> None:
    text = riser_text(waiting(), Style(quiet=True))
    assert "Do now" in text
    assert "Suspects" not in text


def test_json_is_as_its_schema_says() -> None:
    import json
    from pathlib import Path

    import jsonschema

    from boxcheck.report.riser_json import ranking_json, riser_json
    from boxcheck.riser.measuring.rank import rank

    published = Path(__file__).parents[2] / "docs/reference"
    for account in (waiting(), found(), *accounts(wopr())):
        text = riser_json(account)
        jsonschema.validate(json.loads(text), json.loads((published / "riser.schema.json").read_text()))
    looks = found().stored.notebook.boots[-1].looks
    ranking = json.loads(ranking_json(rank(looks), looks, "0.1", 0.0, "W-0007", {"PCIE1": "why"}))
    jsonschema.validate(ranking, json.loads((published / "riser-ranking.schema.json").read_text()))
    assert ranking["links"][0]["slot"] == "PCIE5"

"""The notebook of a riser experiment as a section of a report."""

from __future__ import annotations

from boxcheck.report.acceptance_riser import riser
from boxcheck.report.document import Document, Heading
from boxcheck.report.html import html_of
from boxcheck.riser.evidence import Notebook
from tests.report.pages import check, table, words
from tests.riser.story import accounts, wopr


def page_of(notebook: Notebook) -> str:
    return html_of(Document(title="t", blocks=(Heading(level=1, text="t", anchor="t"), *riser(notebook))))


def test_the_story_of_a_riser_is_told_with_its_boots_and_its_suspect() -> None:
    notebook = list(accounts(wopr()))[-1].stored.notebook
    page = page_of(notebook)
    tree = check(page)
    boots = table(tree, "Boots")
    assert {row[0] for row in boots} == {str(at) for at in range(1, len(notebook.boots) + 1)}
    assert {row[8] for row in boots if row[2] == "R7"} == {"marginal"}
    assert "at fault" in {row[2] for row in table(tree, "Suspects")}
    assert "no part at fault" in {row[0] for row in table(tree, "Suspects")}
    assert notebook.id in words(page)


def test_a_notebook_without_boots_is_told_as_one() -> None:
    page = page_of(Notebook(id="r-1", slot="PCIE3", started=0.0))
    check(page)
    assert "nothing was looked at yet" in words(page).lower()

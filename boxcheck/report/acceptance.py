"""The report of an acceptance, or of a plain run, as a Document: what HTML and PDF are both made of.

    document = document_of_run("RUN.sqlite")                  a run by itself
    document = document_of_run("run.sqlite", None, told)      in the folder of an attempt

Sections, in the order of docs/reference/report.md: cover, scope, requirements, problems, machine, GPUs, links, copies,
host, waivers, riser (where there is a notebook), method, raw appendix. The same store gives the same document, to the
last letter: nothing in it is of the time at which it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from boxcheck.certify.acceptance import Acceptance
from boxcheck.report.acceptance_cover import cover, serial_of, title_of
from boxcheck.report.acceptance_gpus import gpus
from boxcheck.report.acceptance_host import host
from boxcheck.report.acceptance_links import links
from boxcheck.report.acceptance_machine import machine
from boxcheck.report.acceptance_matrices import matrices
from boxcheck.report.acceptance_method import method
from boxcheck.report.acceptance_problems import problems
from boxcheck.report.acceptance_raw import raw
from boxcheck.report.acceptance_read import told_of
from boxcheck.report.acceptance_requirements import requirements
from boxcheck.report.acceptance_riser import riser
from boxcheck.report.acceptance_scope import scope
from boxcheck.report.acceptance_told import Told
from boxcheck.report.acceptance_waivers import waivers
from boxcheck.report.document import Block, Document, NewPage
from boxcheck.riser.evidence import Notebook

SECTIONS: tuple[Callable[[Told], Iterator[Block]], ...] = (
    scope, requirements, problems, machine, gpus, links, matrices, host, waivers)


def document_of_run(
    path: str, profile: str | None = None, acceptance: Acceptance | None = None, notebook: Notebook | None = None,
    strict: bool = False,
) -> Document:
    """The report of a stored run. `profile`: a name or file, to judge it by another than its own; `acceptance`: of the
    folder that it lies in; `notebook`: of a riser experiment at this box; `strict`: what is marginal fails.

    Raises StoreError, UsageError, ProfileError."""
    return document_of(told_of(path, profile, acceptance, notebook, strict))


def document_of(told: Told) -> Document:
    blocks = [*cover(told), NewPage()]
    for section in SECTIONS:
        blocks += section(told)
    if told.notebook is not None:
        blocks += riser(told.notebook)
    blocks += [*method(told), *raw(told)]
    return Document(title=title_of(told), blocks=tuple(blocks), footer=_footer(told))


def _footer(told: Told) -> str:
    own = told.acceptance
    named = f"report {own.id}" if own else f"run {told.run_id}"
    short = f", {told.store_sha256[:16]}" if told.store_sha256 else ""
    return f"{serial_of(told)}, {named}{short}".lstrip(", ")

"""The host: its own loads, and what its instruments showed."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.model import Outcome
from boxcheck.report.acceptance_gpus import COLUMNS, rate_row
from boxcheck.report.acceptance_told import Told
from boxcheck.report.acceptance_words import cell, facts_table, number, outcome_cell
from boxcheck.report.document import Block, Column, Fold, Heading, Paragraph, Row, Table, Words
from boxcheck.report.stress_rates import judged_rows
from boxcheck.stress.judging import subject_of

NAMES = {
    "cpu_temperatures_celsius": ("processor temperature", "°C"), "cpu_power_watts": ("processor power", "W"),
    "cpu_busy_percent": ("processors busy", "%"), "drives_celsius": ("drive temperature", "°C"),
    "supply_watts": ("power from the mains", "W"), "fans_rpm": ("fan", "rpm")}
HOST_MODULES = ("cpu", "dram", "nvme", "network", "net")
OF_HOST = tuple(f"{name}." for name in HOST_MODULES)


def host(told: Told) -> Iterator[Block]:
    yield Heading(level=2, text="Host", anchor="host")
    devices = {info.key for info in told.gpus if info.is_gpu}
    rows: list[Row] = []
    folded: list[Row] = []
    for one in told.done:
        if one.results.module not in HOST_MODULES:  # what a processor does as a device stands in its sheet
            continue
        for rate in judged_rows(one.results, one.measured.rows, told.findings):
            if rate.gpu not in devices and any(not info.is_gpu for info in one.results.gpus):
                row = rate_row(rate, one.results.module, one.phase.plan.name)
                (rows if len(rows) < 16 else folded).append(row)
    if rows:
        yield Table(caption="Loads of the host", columns=COLUMNS, rows=tuple(rows))
        if folded:
            yield Fold(title=f"More loads of the host: {len(folded)}", blocks=(
                Table(caption="More loads of the host", columns=COLUMNS, rows=tuple(folded)),))
    else:
        yield Paragraph(words="The host had no load of its own in this run.")
    found = tuple(_judged(told))
    if found:
        yield Table(caption="What was found on the host under load", rows=found, columns=(
            Column(head="outcome", share=0.8), Column(head="check", share=1.5), Column(head="where"),
            Column(head="found", share=3)))
    shown = tuple(_shown(told))
    if shown:
        yield facts_table("What the host's instruments showed", ("instrument", "lowest", "highest", "unit"), shown,
                          numeric=(1, 2), shares=(3, 1, 1, 1))
    else:
        yield Paragraph(words="No instrument of the host was read.")


def _judged(told: Told) -> Iterator[Row]:
    subjects = {subject_of(one.results, info.key) for one in told.done for info in one.results.gpus if not info.is_gpu}
    for one in sorted(told.findings, key=lambda item: (item.outcome.rank, item.check)):
        if one.outcome is Outcome.SKIP:  # the requirements tell them, by reason
            continue
        of_host = one.check.startswith(OF_HOST) and any(
            one.check.startswith(f"{done.results.module}.") for done in told.done)
        if of_host or (one.subject in subjects and one.outcome is not Outcome.PASS):
            yield Row(cells=(outcome_cell(one.outcome), cell(one.check), cell(str(one.subject)), cell(one.says)))


def _shown(told: Told) -> Iterator[tuple[Words, ...]]:
    for name, high in sorted(told.series.host_highest.items()):
        field, _, item = name.partition("/")
        what, unit = NAMES.get(field, (field, ""))
        still = ", stands or has no plug" if field == "fans_rpm" and not high else ""
        yield (f"{what} {item}".strip(), number(told.series.host_lowest[name], 3), f"{number(high, 3)}{still}", unit)

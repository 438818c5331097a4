"""Raw appendix: the files and their hashes, what is in them, how to judge again, where to sign."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.report.acceptance_told import Told
from boxcheck.report.acceptance_words import code, facts_table, grouped, mixed, strong
from boxcheck.report.document import Block, Fold, Heading, Items, Paragraph, SignatureLines, Words

RECORDS = {
    "gpu": "readings of GPUs", "silent": "times a GPU told nothing",
    "links": "readings of links, all functions of one worker in each", "host": "readings of the host",
    "box": "readings of drives, supplies and fans", "sample": "samples of work"}


def raw(told: Told) -> Iterator[Block]:
    yield Heading(level=2, text="Raw appendix", anchor="raw")
    own = told.acceptance
    store = "run.sqlite" if own else f"{told.run_id}.sqlite"
    rows: list[tuple[Words, ...]] = []
    if told.store_sha256:
        rows.append((store, grouped(told.store_bytes), (code(told.store_sha256),)))
    for one in sorted(own.files, key=lambda item: item.name) if own else ():
        if one.name not in ("run.sqlite", "report.html", "report.pdf"):
            rows.append((one.name, grouped(one.size_bytes), (code(one.sha256),)))
    if rows:
        yield facts_table("Files", ("file", "bytes", "SHA-256"), rows, numeric=(1,), shares=(1.6, 1, 5))
    if not told.store_sha256:
        yield Paragraph(words="The store is still written, so it has no hash yet.")
    if told.documents:
        yield facts_table("Documents inside the store", ("document", "bytes", "SHA-256"), tuple(
            (one.name, grouped(one.size_bytes), (code(one.sha256),)) for one in told.documents), numeric=(1,),
            shares=(1.6, 1, 5))
    records = tuple(
        (RECORDS.get(kind, kind), grouped(number)) for kind, number in told.series.records.items() if number)
    if records:
        yield facts_table("Records in the store", ("records", "number"), records, numeric=(1,), shares=(4, 1))
    else:
        yield Paragraph(words="The store holds no reading and no sample.")
    yield Paragraph(words=mixed(strong("To judge again"), ", from these records alone, by this or any other version of "
                                "a profile:"))
    yield Items(items=(
        mixed(code(f"boxcheck judge {store} --profile {'profile.toml' if own else told.want.name}")),
        mixed(code(f"boxcheck report {store} --html report.html")),
        *((mixed(code("sha256sum -c SHA256SUMS")), mixed(code("boxcheck report verify .")),
           mixed(code("ssh-keygen -Y verify"), "  as docs/how-to/verify-a-report.md says")) if own else ())))
    if told.verdict.crashes:
        yield Fold(title=f"Faults of boxcheck's own: {len(told.verdict.crashes)}", blocks=tuple(
            Paragraph(words=mixed(
                strong(f"{one.where}: "), code((one.traceback.strip() or "no traceback").splitlines()[-1])))
            for one in told.verdict.crashes))
    if own is not None:
        yield Heading(level=2, text="Signatures", anchor="signatures")
        yield Paragraph(words="On paper these lines are signed by hand. What is signed by a key is manifest.json "
                              "beside this report.")
        yield SignatureLines(roles=("Operator", "Quality", "Customer"))

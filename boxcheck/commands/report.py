"""`boxcheck report RUN`: a stored run, or the folder of an attempt, in every form."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from boxcheck.certify.acceptance import Acceptance
from boxcheck.certify.contents import ACCEPTANCE, KEPT_LIMIT_BYTES, RISER
from boxcheck.certify.manifest import ManifestError, parse_acceptance
from boxcheck.certify.sign import RUN, SignTrouble
from boxcheck.commands.burn import Options
from boxcheck.commands.runs import is_kept_here, path_of, telling_what_could_be_saved
from boxcheck.commands.runs import report as report_run
from boxcheck.report.forms import FORMS, SIGNED_FORMS, Form, form, is_made, made, write_form
from boxcheck.report.output import refuse_place
from boxcheck.riser.evidence import Notebook
from boxcheck.store.texts import plain_line
from boxcheck.usage import UsageError

FOLDER = "name a run, or the folder of an attempt"


class Outputs(msgspec.Struct, frozen=True, kw_only=True):
    """Where each form goes, and how the account is shown."""

    html: str | None = None
    pdf: str | None = None
    json: str | None = None
    junit: str | None = None
    ocptv: str | None = None
    csv: str | None = None
    openmetrics: str | None = None
    ascii: bool = False
    color: str = "auto"
    quiet: bool = False
    verbose: int = 0
    strict: bool = False

    def asked(self) -> list[tuple[Form, str]]:
        """The forms, and where each goes."""
        places = [(one, getattr(self, one.name)) for one in FORMS]
        return [(one, place) for one, place in places if place is not None]


def report(run: str, profile: str | None, outputs: Outputs, riser: str | None = None) -> int:
    """0 where forms were written; the verdict's exit code where the account is told. `riser`: id or path of the
    notebook of a riser experiment at that box."""
    asked = outputs.asked()
    if riser is not None and not any(one.riser for one, _ in asked):
        raise UsageError("--riser shows an experiment in --html and --pdf",
                         "boxcheck report RUN --riser ID --html FILE")
    places = [place for _, place in asked] + ([outputs.json] if outputs.json is not None else [])
    if places.count("-") > 1:
        raise UsageError("only one of them can go to standard output", "name a file for the others")
    for one, place in asked:
        if place != "-":
            refuse_place(place)
        if not is_made(one):
            raise UsageError(f"this boxcheck makes no {one.what} of a run", "boxcheck judge gives its account")
    with stored(run) as (path, acceptance), telling_what_could_be_saved(path):
        notebook = riser_in(folder_of(run)) if riser is None else notebook_of(riser, path)
        for one, place in asked:
            write_form(one, place, path, profile, acceptance, notebook, outputs.strict)
        if asked and outputs.json is None:
            return 0
        return report_run(path, profile, Options(
            json=outputs.json, strict=outputs.strict, ascii=outputs.ascii, color=outputs.color, quiet=outputs.quiet,
            verbose=outputs.verbose), acceptance=acceptance)


def notebook_of(word: str, path: str) -> Notebook:
    """The notebook that a word names, of the box of that run. UsageError where it is of another."""
    from boxcheck.engine.box import same_box
    from boxcheck.engine.record import kept_directory
    from boxcheck.host.live import LiveHost
    from boxcheck.riser.notebook import find
    from boxcheck.store.reader import RunReader

    try:
        found = find(kept_directory(LiveHost(), "riser"), word)
    except OSError as error:
        raise UsageError(f"{plain_line(str(error.filename))}: {os.strerror(error.errno or 0).lower()}",
                         "name the file of the notebook") from None
    with RunReader(path) as reader:
        box = reader.run().info.box
    if same_box(found.box, box) is False:
        raise UsageError(f"experiment {found.notebook.id} is of the box {plain_line(found.box)}, and the run of "
                         f"{plain_line(box)}", "boxcheck riser --list names those of each box")
    return found.notebook


def riser_in(folder: str | None) -> Notebook | None:
    """The notebook that lies in the folder of an attempt; None where there is none. UsageError where it is none."""
    from boxcheck.riser.notebook import load

    path = os.path.join(folder, RISER) if folder is not None else ""
    if not path or not os.path.lexists(path):
        return None
    if os.path.islink(path) or not os.path.isfile(path):
        raise UsageError(f"{plain_line(path)}: is no plain file", "boxcheck report verify says what else was changed")
    return load(path).notebook


def folder_of(run: str) -> str | None:
    """The folder of an attempt that a word names, or one of its files; None for another word."""
    folder = run if os.path.isdir(run) else os.path.dirname(run) or "." if os.path.basename(run) in (
        RUN, "report.html", "report.pdf", ACCEPTANCE) else None
    return folder if folder is not None and os.path.isfile(os.path.join(folder, ACCEPTANCE)) else None


@contextmanager
def stored(run: str) -> Iterator[tuple[str, Acceptance | None]]:
    """Path of the store that a word names, and the acceptance that it belongs to.

    Of the folder of an attempt a copy is read: what is looked up later of a run that was cut off is written into its
    store, and a folder that was signed must stay as it is.
    """
    folder = folder_of(run)
    if folder is None:
        if os.path.isdir(run):
            raise UsageError(f"{plain_line(run)}: holds no {ACCEPTANCE}", FOLDER)
        path = path_of(run)
        yield path, acceptance_of(path)
        return
    told = read_acceptance(folder)
    store = os.path.join(folder, RUN)
    if not os.path.isfile(store):
        raise UsageError(f"{plain_line(store)}: no such file", "the folder of an attempt holds its run")
    with tempfile.TemporaryDirectory(prefix="boxcheck-") as beside:
        path = os.path.join(beside, f"{_file_name(told.run)}.sqlite")
        try:
            shutil.copyfile(store, path)
        except OSError as error:
            says = f"{plain_line(str(error.filename or store))}: {os.strerror(error.errno or 0).lower()}"
            raise UsageError(says, "name another directory in TMPDIR") from None
        yield path, told


def acceptance_of(path: str) -> Acceptance | None:
    """That which a run of this user is the load of. Where it is of one that is not there, that is told."""
    from boxcheck.certify.find_acceptance import find_acceptance
    from boxcheck.store.reader import RunReader

    if not is_kept_here(path):
        return None
    with telling_what_could_be_saved(path), RunReader(path) as reader:
        found = find_acceptance(
            reader.run(), os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(path))), "certify"))
    if found.says:
        print(found.says, file=sys.stderr)
    return found.told


def _file_name(run: str) -> str:
    """The run's id as the name of a file; it comes from elsewhere and may hold anything."""
    kept = "".join(one if one.isascii() and (one.isalnum() or one in "-_") else "_" for one in run)
    return kept[:64] or "run"


def read_acceptance(folder: str) -> Acceptance:
    """UsageError where the folder holds none."""
    path = os.path.join(folder, ACCEPTANCE)
    try:
        with open(path, "rb") as stream:
            return parse_acceptance(stream.read(KEPT_LIMIT_BYTES))
    except OSError as error:
        raise UsageError(f"{plain_line(path)}: {os.strerror(error.errno or 0).lower()}", FOLDER) from None
    except ManifestError as error:
        raise UsageError(str(error), FOLDER) from None


def render_folder(folder: str, told: Acceptance) -> dict[str, bytes]:
    """The forms of an attempt that say whether it is self-signed, made anew; none is written. SignTrouble where one
    that lies there cannot be made: it would say something else than the manifest."""
    lying = [one for one in map(form, SIGNED_FORMS) if os.path.lexists(os.path.join(folder, one.file))]
    for one in lying:
        if not is_made(one):
            raise SignTrouble(
                f"{one.file} would have to say whether it is self-signed, and this boxcheck makes no {one.what}")
    fresh: dict[str, bytes] = {}
    with stored(folder) as (path, _):
        for one in lying:
            try:
                fresh[one.file] = b"".join(made(one, path, None, told, riser_in(folder)))
            except UsageError as error:
                raise SignTrouble(f"{one.file} cannot be made anew: {error}", error.help) from None
    return fresh

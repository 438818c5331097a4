"""Makes the files of `boxcheck demo`: from the built boxes, a made-up burn-in of one, and a simulated box with a bad riser.

Each is the same at each run, but for the stored run: what boxcheck says in it changes with boxcheck. So the run is
compared by its verdict.
"""

from __future__ import annotations

import io
import os
import tempfile
import zlib
from collections.abc import Callable, Mapping
from gzip import GzipFile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
import zstandard

from boxcheck import __version__
from boxcheck.commands import demo_files
from boxcheck.commands.demo_files import BOXES, FOLDER, LOG, LOG_BUILT_OF, NOTEBOOK, RUN, UNPACKED_LIMIT_BYTES
from boxcheck.model import Outcome
from boxcheck.report.judged_run import judge_stored
from boxcheck.riser import notebook
from boxcheck.riser.evidence import Notebook
from boxcheck.riser.suspects.weigh import weigh
from boxcheck.store.reader import RunReader
from boxcheck.store.rows import EndState
from boxcheck.store.writer import RunWriter
from tests.boxes import Tree, machine
from tests.boxes.mutations import port_of
from tests.report.scenes import PCIE3, Acceptable
from tests.riser.boxes.drive import drive
from tests.riser.story import wopr
from tests.tui import box as tui_box

LEVEL, WINDOW_LOG = 19, 25
NAMED = "demo"
"""In front of what each box calls itself, so that no account of one passes for that of a real box."""
SCALE = 0.35
"""Of the phases' lengths, so that the run stays small."""


def tree_of(name: str, bad_tlps: int = 0) -> Tree:
    """The capture of a built box that calls itself a demo. `bad_tlps`: that the port of PCIE3 has counted."""
    built = machine(name)
    if bad_tlps:
        port_of(built).count({"BadTLP": bad_tlps})
    built.name = f"{NAMED}-{built.name}"
    return built.tree()


def packed(tree: Tree) -> bytes:
    """As .tar.zst."""
    return compressed(plain_tar(tree))


def plain_tar(tree: Tree) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = tree.write_tar(os.path.join(folder, "box.tar.gz"))
        with GzipFile(path) as stream:
            return stream.read()


def compressed(data: bytes) -> bytes:
    how = zstandard.ZstdCompressionParameters.from_level(
        LEVEL, write_checksum=True, window_log=WINDOW_LOG, enable_ldm=True)
    return zstandard.ZstdCompressor(compression_params=how).compress(data)


def unpacked(data: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompress(data, max_output_size=UNPACKED_LIMIT_BYTES)


def stored_run() -> bytes:
    """The store of a burn-in in which the link of PCIE3 damages packets and falls to eight lanes under load. It ends
    with what is found in the whole of it, as a run does: that of the same run, made before and judged."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "run.sqlite")
        Path(path).write_bytes(_made_run())
        verdict = judge_stored(path, None).verdict
    end = RunWriter.end

    def with_verdict(store: RunWriter, state: EndState, *_: object, **more: Any) -> object:
        return end(store, state, verdict, **more)

    with patch.object(RunWriter, "end", with_verdict):
        return _made_run()


def _made_run() -> bytes:
    """Sound before the load; after it the link of PCIE3 is found at eight lanes."""
    def as_attached(box: str, bad_tlps: int = 0) -> bytes:
        built = tree_of(box, bad_tlps)
        loose = io.BytesIO()  # not compressed twice: the store as a whole is
        with GzipFile(fileobj=loose, mode="wb", compresslevel=0, mtime=0) as stream:
            stream.write(plain_tar(built))
        return loose.getvalue()

    compress = zlib.compress
    with tempfile.TemporaryDirectory() as folder, patch.object(tui_box, "packed", as_attached), patch(
            "boxcheck.report.summary.source_commit", lambda: None), patch.object(
            zlib, "compress", lambda data, _: compress(data, 0)):  # so that what both captures share is kept once
        for cached in (tui_box.facts_of, tui_box.doctor_record):
            cached.cache_clear()
        run = Acceptable(
            folder, "wopr-7x4090", scale=SCALE, serial="DEMO (a built machine)", version=__version__)
        lanes, port, age = run.machine._chains[PCIE3], run.machine._chains[PCIE3][0], 0

        def each(_: int) -> None:
            nonlocal age
            age += 1
            if age > 20:
                run.machine.lanes.update(dict.fromkeys(lanes, 8))
                run.machine.slow[PCIE3] = 0.5 if run._number > 2 else 0.97 if age % 7 else 0.71
            if age > 20 and age % 5 == 0:
                run.machine.errors[port] = run.machine.errors.get(port, 0) + 61
                run.event("aer-correctable", "61 bad TLPs", severity="warn", subject=port)

        run.whole(each, left=lambda: ("wopr-7x4090+riser-x8", run.machine.errors[port]))
        run.finish()
        assert not any("broke" in one.says for one in run._findings), "boxcheck broke while it was made"
        for cached in (tui_box.facts_of, tui_box.doctor_record):
            cached.cache_clear()
        return Path(run.path).read_bytes()


def worked_example() -> bytes:
    """The notebook of a simulated box, over the boots that it takes to find the riser."""
    story = drive(wopr(), weigh)
    book = msgspec.structs.replace(story.notebook, id="r-20261121-1", next=None)
    stored = notebook.Stored(box=f"{NAMED} (simulated)", version=__version__, notebook=book)
    return msgspec.json.format(msgspec.json.encode(stored), indent=1) + b"\n"


def log() -> bytes:
    return tree_of(LOG_BUILT_OF).text("/var/log/dmesg").encode()


FILES: Mapping[str, Callable[[], bytes]] = {
    **{one.file: (lambda of=one.built_of: packed(tree_of(of))) for one in BOXES},  # type: ignore[misc]
    RUN: lambda: compressed(stored_run()), LOG: log, NOTEBOOK: worked_example}


def judged(store: bytes) -> list[tuple[str, str, str]]:
    """What was found in a stored run that is no pass: check, subject, outcome. As it ended, and judged anew: a check
    that is newer than the run finds nothing in it to judge."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "run.sqlite")
        Path(path).write_bytes(store)
        with RunReader(path) as reader:
            ended = reader.verdict()
        again = judge_stored(path, None).verdict
    assert ended is not None
    return sorted({(one.check, str(one.subject), one.outcome.value) for one in (*ended.findings, *again.findings)
                   if one.outcome in (Outcome.FAIL, Outcome.MARGINAL, Outcome.UNKNOWN)})


def same(name: str, there: bytes, made: bytes) -> bool:
    """Whether a file is what would be made now."""
    if name == RUN:
        return judged(unpacked(there)) == judged(unpacked(made))
    if name == NOTEBOOK:  # by what it means: a field that is new changes the text alone, and the version is no evidence
        return _book(there) == _book(made)
    return unpacked(there) == unpacked(made) if name.endswith(".zst") else there == made


def _book(text: bytes) -> Notebook:
    return msgspec.json.decode(text, type=notebook.Stored).notebook


def stale() -> list[str]:
    """Names of files that are missing, or not what would be made now."""
    return [name for name, make in FILES.items()
            if not os.path.isfile(os.path.join(FOLDER, name))
            or not same(name, Path(FOLDER, name).read_bytes(), make())]


def write_all() -> list[str]:
    """Writes those that are not fresh, and gives their names."""
    os.makedirs(FOLDER, exist_ok=True)
    names = stale()
    for name in names:
        Path(FOLDER, name).write_bytes(FILES[name]())
    return names


__all__ = ["FILES", "demo_files", "judged", "stale", "unpacked", "write_all"]

"""How a burn-in begins and ends: its process, its store, new or gone on with, and what was read of the machine before
the load."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from boxcheck import __version__
from boxcheck.checks.wording import duration as words
from boxcheck.engine.box_lock import whole_box
from boxcheck.engine.job import Job
from boxcheck.engine.kept_profile import keep_profile, profile_of
from boxcheck.engine.survival import BROKE
from boxcheck.host.live import LiveHost
from boxcheck.model import Finding, Outcome, worst
from boxcheck.profile import Profile, ProfileError, load_profile
from boxcheck.registry import discover, discover_stress
from boxcheck.store.creating import create_run
from boxcheck.store.errors import StoreError
from boxcheck.store.reader import RunReader
from boxcheck.store.rows import ProfileName, RunInfo
from boxcheck.store.writer import RunWriter
from boxcheck.usage import UsageError

if TYPE_CHECKING:
    from boxcheck.engine.burn import Burn
    from boxcheck.engine.resume import Resumption

CAPTURE = "capture.tar.gz"
"""What was read of the machine before the load, as `boxcheck capture` keeps it: judging again reads it."""
AFTER = "capture-after.tar.gz"
"""The same after it."""


def open_store(job: Job, want: Profile) -> tuple[RunWriter, Resumption | None]:
    """A new store, or that of the run that is gone on with and where it goes on. UsageError where there is none."""
    from boxcheck.engine.resume import reopen, stored_plan

    if job.resume:
        return reopen(job, want)
    store = create_run(job.folder, RunInfo(
        kind="burn", version=__version__, boot=job.boot, box=job.box, plan=stored_plan(job),
        profile=ProfileName(want.name, want.revision, want.sha256)))
    keep_profile(store, want)
    return store, None


def profile_for(job: Job) -> Profile:
    """That of a run that is gone on with is the one that it was begun with, as it was then."""
    if not job.resume:
        return load_profile(job.profile)
    try:
        with RunReader(job.resume) as reader:
            return profile_of(reader)[0]
    except StoreError as error:
        raise UsageError(str(error), error.help) from None


def packed(host: LiveHost) -> bytes:
    """What was read so far, as a capture."""
    from boxcheck.host.write import members_of, write_capture

    with tempfile.TemporaryDirectory(prefix="boxcheck-") as folder:
        path = Path(folder) / CAPTURE
        write_capture(members_of(host.recording), str(path))
        return path.read_bytes()


def gravest(findings: Sequence[Finding]) -> Outcome:
    """Of a phase: `unknown` where nothing was found that arises."""
    found = worst(one.outcome for one in findings if one.outcome is not Outcome.SKIP)
    return Outcome.UNKNOWN if found is None else found


ENDING = (signal.SIGTERM, signal.SIGINT)
Make: TypeAlias = "Callable[[Job, RunWriter, Profile, Resumption | None], Burn]"


def work(job: Job, make: Make) -> Iterator[str]:
    """Opens the store, says where it is, runs. A generator so that the path is told before the work."""
    # Before there is any thread or child, since those inherit it. A machine that shuts down sends SIGTERM to every
    # process at once: workers that die of it would be taken for crashes under load. What comes now waits for `_heed`.
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    discover()
    discover_stress()
    want = profile_for(job)
    store, resumption = open_store(job, want)
    burn = make(job, store, want, resumption)
    threading.Thread(target=_heed, args=(burn,), daemon=True).start()
    yield store.path
    try:
        verdict = burn.run()
    except Exception as error:
        store.event(BROKE, f"boxcheck itself broke: {type(error).__name__}: {error}", severity="fail", data={
            "traceback": traceback.format_exc()})
        traceback.print_exc()  # into engine.log
        raise
    if burn.stopped_by:
        store.event("stopped", burn.stopped_by, severity="warn")
    burn.figures.keep(store, job.folder)
    store.end("stopped" if burn.stopped_by else "finished", verdict, reason=burn.stopped_by)


def _heed(burn: Burn) -> None:
    """Waits for signals that ask for an end."""
    while True:
        came = signal.Signals(signal.sigwait(ENDING))
        burn.stop("stopped by the operator" if came is signal.SIGINT else f"stopped by {came.name}")


def serve(make: Make) -> None:
    """Takes the job on standard input; the first line on standard output is the store's path, or `error: ...`."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    try:
        with whole_box():
            for path in work(job, make):
                with suppress(OSError):  # whoever started it may be gone already
                    os.write(1, f"{path}\n".encode())
                print(f"a run of {words(job.plan.seconds)} begins", file=sys.stderr, flush=True)
    except (UsageError, ProfileError) as error:
        print(f"error: {error}\nhelp: {getattr(error, 'help', '')}", flush=True)
        sys.exit(2)

"""`boxcheck burn --resume` and `boxcheck burn --systemd-unit`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import msgspec

from boxcheck.commands.runs import id_of, path_of, runs_folder
from boxcheck.usage import NothingThereError, UsageError

if TYPE_CHECKING:
    from boxcheck.commands.burn import Options
    from boxcheck.engine.job import Job
    from boxcheck.host import Host

AUTO = "auto"
"""In place of a run: the one that the last boot went down in, if nobody has looked at it since. For a unit."""


def resume(word: str | None, without_missing: bool, options: Options) -> str | None:
    """Starts a run anew where it was cut off, and gives its path; None where `auto` finds none."""
    from boxcheck.commands.doctor import open_host
    from boxcheck.engine.aftermath import boot_id, take_in
    from boxcheck.engine.box import name_of
    from boxcheck.engine.detach import running, start
    from boxcheck.engine.inspect import read_facts
    from boxcheck.engine.resume import refuse, stored_job
    from boxcheck.probes.dmi import Dmi
    from boxcheck.probes.identity import Identity
    from boxcheck.store.reader import RunReader
    from boxcheck.stress.survived_checks import situation

    folder = runs_folder()
    if (busy := running(folder)) is not None:
        raise UsageError(f"a run is going on: {id_of(busy)}", "boxcheck attach follows it")
    path = _chosen(folder, word)
    if path is None:
        print("no run was cut off by the last boot: nothing to go on with", file=sys.stderr)
        return None
    host = open_host(None)
    with RunReader(path) as reader:
        refuse(reader, named=word not in (None, AUTO), box=name_of(read_facts(host, {Dmi, Identity})))
        job = _here(stored_job(reader), without_missing, host, options)
    taken = take_in(path)
    for down in taken.downs:
        print(situation(down), file=sys.stderr)
    if taken.trouble:
        print(f"what the logs hold was not stored: {taken.trouble}", file=sys.stderr)
    start(msgspec.structs.replace(job, folder=folder, resume=path, boot=boot_id()))
    print(f"run {id_of(path)} goes on", file=sys.stderr)
    return path


def _chosen(folder: str, word: str | None) -> str | None:
    from boxcheck.engine.aftermath import boot_id
    from boxcheck.engine.untold import left_behind
    from boxcheck.store.listing import list_runs
    from boxcheck.store.reader import RunReader

    if word not in (None, AUTO):
        assert word is not None
        try:
            return path_of(word)
        except LookupError:
            raise UsageError(f"no run is called {word!r}", "boxcheck runs lists them") from None
    burns = [one for one in list_runs(folder) if one.kind == "burn"]
    if word == AUTO:
        if not burns or burns[0].state != "crashed" or burns[0].path not in left_behind(folder):
            return None
        with RunReader(burns[0].path) as reader:
            sessions = reader.run().sessions
        return burns[0].path if sessions and sessions[-1].boot not in ("", boot_id()) else None
    found = next((one.path for one in burns if one.state in ("crashed", "stopped")), None)
    if found is None:
        raise UsageError("no run was cut off or stopped", "boxcheck runs lists what there is")
    return found


def _here(job: Job, without_missing: bool, host: Host, options: Options) -> Job:
    """The job for the devices that are here now."""
    from boxcheck.commands.no_device import no_device
    from boxcheck.engine.inspect import read_facts
    from boxcheck.engine.resume import match_devices
    from boxcheck.engine.stress import find_devices
    from boxcheck.probes.gpus import Gpus
    from boxcheck.probes.pci import PciInventory

    runtime = find_devices(job.backend)
    if not runtime.gpus:
        no_device(runtime, read_facts(host, {Gpus, PciInventory}), options)
        raise NothingThereError("no device of the run is there any more", "boxcheck doctor says what there is")
    keys, missing = match_devices(job.devices, runtime.gpus)
    names = ", ".join(f"{name}{f' at {bdf}' if bdf else ''}" for name, bdf in missing)
    if missing and not keys:
        raise NothingThereError(
            f"no device of the run is there any more: {names}", "boxcheck doctor says what there is")
    if missing and not without_missing:
        verb = "is" if len(missing) == 1 else "are"
        raise UsageError(
            f"{names} {verb} not there any more", "boxcheck burn --resume --without-missing goes on with the others")
    if missing:
        print(f"goes on without {names}", file=sys.stderr)
    return msgspec.structs.replace(
        job, gpus=keys, missing=missing, devices=tuple(one for one in runtime.gpus if one.key in keys))


def print_unit() -> int:
    """Prints a unit of systemd that goes on with a run after a restart."""
    from boxcheck.engine.unit import unit_text
    from boxcheck.report.output import write_output

    write_output("-", unit_text(runs_folder()))
    return 0

"""The run that is the load of an attempt which does not know it: the power went, or certify, as it had just begun. Its
store says of which attempt it is."""

from __future__ import annotations

import os
from contextlib import suppress

from boxcheck.certify.find_acceptance import attempt_of
from boxcheck.store.errors import StoreError
from boxcheck.store.reader import RunReader
from boxcheck.store.schema import SUFFIX


def find_run(attempt: str, began: float, folder: str) -> str:
    """Path of the one store of a folder of runs that says so and was begun since; empty where there is none, or where
    several do: a number comes again where somebody removed an attempt."""
    found = []
    with suppress(OSError):
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            if not name.endswith(SUFFIX):
                continue
            with suppress(StoreError), RunReader(path) as reader:
                run = reader.run()
                if run.sessions and run.started >= began and attempt_of(run) == attempt:
                    found.append(path)
    return found[0] if len(found) == 1 else ""

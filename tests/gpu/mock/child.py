"""Runs the scenarios of a backend in this process, whose LD_LIBRARY_PATH shows the mock driver.

    python -m tests.gpu.mock.child cuda FOLDER

Prints a line of JSON when a scenario begins and one when it ends, with the traceback where it failed.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

from tests.gpu.mock.rig import Rig

COMMON = "tests.gpu.mock.scenarios"


def scenarios(backend: str) -> dict[str, Callable[[Rig], None]]:
    """Functions of the common module and of the backend's own, by name, in the order of the text."""
    modules: list[ModuleType] = [import_module(COMMON), import_module(f"{COMMON}_{backend}")]
    return {
        name: value for module in modules for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", "") == module.__name__ and not name.startswith("_")
    }


def main() -> int:
    backend, folder = sys.argv[1], Path(sys.argv[2])
    for name, scenario in scenarios(backend).items():
        print(json.dumps({"begins": name}), flush=True)
        rig = Rig(backend, folder)
        rig.reset()
        error = ""
        try:
            scenario(rig)
            rig.end()
        except Exception:  # noqa: BLE001
            error = traceback.format_exc()
            for gpu in rig.gpus:
                gpu.close()
        print(json.dumps({"ends": name, "error": error}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`boxcheck` as a program of its own, as it is called from a shell."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def boxcheck(*words: str, home: Path | None = None, columns: int = 100) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": str(columns), "LC_ALL": "C.UTF-8", "NO_COLOR": "1"}
    if home is not None:
        environment |= {"HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config"), "XDG_STATE_HOME": str(home / ".state")}
    return subprocess.run(
        [sys.executable, "-m", "boxcheck", *words], capture_output=True, text=True, timeout=300, env=environment,
        cwd=home or Path(__file__).parents[2], check=False)

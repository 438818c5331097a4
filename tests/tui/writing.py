"""Writes a run as another process does: `python -m tests.tui.writing FOLDER SECONDS`; tells the store's path first."""

from __future__ import annotations

import sys
import time

from tests.tui.box import Burning


def main(folder: str, seconds: int) -> None:
    run = Burning(folder, planned=(("matmul", float(seconds)),))
    print(run.path, run.hand.monotonic, flush=True)
    run.load("matmul", seconds, each=lambda second: time.sleep(0.02))
    run.finish()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

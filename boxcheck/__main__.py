"""Entry point of `boxcheck` and `python -m boxcheck`."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command line; `--version` alone answers without importing anything else."""
    if sys.argv[1:] == ["--version"]:
        from boxcheck import __version__

        print(f"boxcheck {__version__}")
        return
    import atexit
    import gc

    gc.set_threshold(100_000, 50, 50)  # modules and facts are many, small and all kept; walking over them costs 5 %
    atexit.register(gc.freeze)  # nor is there a use in walking over all of them once more when everything ends: 7 %
    from boxcheck.cli import run

    run()


if __name__ == "__main__":
    main()

"""Entry point of `boxcheck` and `python -m boxcheck`."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command line; `--version` alone answers without importing anything else."""
    if sys.argv[1:] == ["--version"]:
        from boxcheck import __version__

        print(f"boxcheck {__version__}")
        return
    from boxcheck.cli import run

    run()


if __name__ == "__main__":
    main()

"""`python -m tests.demo [--check]`."""

from __future__ import annotations

import sys

from tests.demo.making import stale, write_all

if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--check"]:
            names = stale()
            print("\n".join(f"not fresh: boxcheck/data/demo/{name}" for name in names), end="\n" if names else "")
            raise SystemExit(1 if names else 0)
        case []:
            print("\n".join(f"written: boxcheck/data/demo/{name}" for name in write_all()) or "all are fresh")
        case _:
            print("usage: python -m tests.demo [--check]", file=sys.stderr)
            raise SystemExit(2)

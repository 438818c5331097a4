"""`python -m tests.boxes list | build NAME OUT`."""

from __future__ import annotations

import sys

from tests.boxes import BOXES, MUTATIONS, build


def main(arguments: list[str]) -> int:
    match arguments:
        case ["list"]:
            for name in BOXES:
                print(name)
            for name, mutation in MUTATIONS.items():
                print(f"{mutation.base}+{name}  {mutation.area}{f'  [{mutation.slot}]' if mutation.slot else ''}")
        case ["build", name, out]:
            tree = build(name)
            if out.endswith((".tar.gz", ".tgz")):
                tree.write_tar(out)
            else:
                tree.write_dir(out)
        case _:
            print("usage: python -m tests.boxes list | build NAME OUT[.tar.gz]", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

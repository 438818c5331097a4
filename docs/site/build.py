"""Makes the static site of the docs: `python docs/site/build.py OUT`, with what `pip install 'boxcheck[docs]'` brings.

Every warning is an error: a page that is in no list, a link or an anchor that leads nowhere. Pages name nothing outside
of docs/ but the README and the licence, which the site does not have.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

SITE = Path(__file__).parent


def main() -> int:
    parser = argparse.ArgumentParser(description="Make the static site of the docs.")
    parser.add_argument("out", metavar="OUT", help="the folder to write, index.html in it")
    out = parser.parse_args().out
    try:
        from sphinx.cmd.build import build_main
    except ModuleNotFoundError:
        print("error: Sphinx is not installed\nhelp: pip install -e '.[docs]'", file=sys.stderr)
        return 2
    code = build_main(["-q", "-W", "--keep-going", "-c", str(SITE), str(SITE.parent), out])
    if code == 0:
        print(f"{out}/index.html")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())

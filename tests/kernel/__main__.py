"""`python -m tests.kernel fetch | smoke | run | record`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.kernel.cache import Unavailable
from tests.kernel.fetch import fetch

HERE = Path(__file__).parent


def _pytest(words: list[str]) -> int:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "--durations=0", "--durations-min=5", *words], check=False,
        env={**os.environ, "BOXCHECK_BENCH": os.environ.get("BOXCHECK_BENCH", "require")}, cwd=HERE.parents[1]).returncode


def main(words: list[str]) -> int:
    match words:
        case ["fetch", *more] if more in ([], ["--refresh"]):
            bench = fetch(refresh=bool(more))
            print(f"QEMU {bench.qemu_version}; kernels {', '.join(kernel.release for kernel in bench.kernels)}")
        case ["smoke", *more]:
            return _pytest([str(HERE / "test_smoke.py"), *more])
        case ["run", *more]:
            return _pytest([str(HERE), *more])
        case ["record", *more]:
            from tests.kernel.record import record

            return record(more)
        case _:
            print("usage: python -m tests.kernel fetch [--refresh] | smoke | run [pytest's words] | record [SCENARIO...]",
                  file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    try:
        raise SystemExit(main(sys.argv[1:]))
    except Unavailable as why:
        print(f"error: {why}", file=sys.stderr)
        raise SystemExit(3) from None

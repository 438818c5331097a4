"""Changes single bytes in the signed folder of an attempt, and verifies one of a hundred megabytes.

    python -m tests.bench.signatures [CHANGES]

Every byte of manifest and signature is changed once, and is to be refused by `report verify` and by ssh-keygen; then CHANGES
(2000) bytes anywhere in the folder. Exits with 1 where one is accepted, or where verifying takes 2 s.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from boxcheck.certify.manifest import write_manifest
from tests.certify.signed import Bench

PROMISE_SECONDS = 2.0
MEGABYTES = 100


def every_byte(bench: Bench, chance: random.Random) -> bool:
    """Of manifest and signature, by both; what ssh-keygen accepts is named."""
    changed, accepted, by_keygen = 0, [], []
    for name in ("manifest.json", "manifest.json.sig"):
        path = bench.folder / name
        whole = path.read_bytes()
        for at in range(len(whole)):
            data = bytearray(whole)
            data[at] ^= 1 << chance.randrange(8)
            path.write_bytes(data)
            changed += 1
            if bench.verify().exit_code != 1:
                accepted.append((name, at))
            if bench.keygen() == 0:
                by_keygen.append(f"{name} byte {at}: {whole[at:at + 1]!r} to {bytes(data[at:at + 1])!r}")
        path.write_bytes(whole)
    print(f"manifest and signature: {changed} bytes, boxcheck refused {changed - len(accepted)}, "
          f"ssh-keygen {changed - len(by_keygen)} (accepted: {'; '.join(by_keygen) or 'none'})")
    return not accepted


def anywhere(bench: Bench, chance: random.Random, changes: int) -> bool:
    files = sorted(path for path in bench.folder.rglob("*") if path.is_file())
    accepted = 0
    for _ in range(changes):
        path = chance.choice(files)
        whole = path.read_bytes()
        data = bytearray(whole)
        data[chance.randrange(len(data))] ^= chance.randrange(1, 256)
        path.write_bytes(data)
        accepted += bench.verify().exit_code != 1
        path.write_bytes(whole)
    print(f"all {len(files)} files: {changes} single bytes, refused {changes - accepted}")
    return accepted == 0 and bench.verify().exit_code == 0


def speed(bench: Bench) -> bool:
    """Of the command, start of the interpreter included: the median of five."""
    (bench.folder / "run.sqlite").write_bytes(os.urandom(1 << 20) * MEGABYTES)
    write_manifest(str(bench.folder))
    bench.sign()
    took = []
    for _ in range(5):
        began = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "boxcheck", "report", "verify", "-q", str(bench.folder), "--allowed-signers", str(bench.list)],
            check=True, stdout=subprocess.DEVNULL)
        took.append(time.monotonic() - began)
    print(f"{MEGABYTES} MiB: {sorted(took)[2]:.2f} s (promised: {PROMISE_SECONDS:g} s)")
    return sorted(took)[2] < PROMISE_SECONDS


def main() -> int:
    changes = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    with tempfile.TemporaryDirectory(prefix="boxcheck-bench-") as folder:
        bench, chance = Bench(Path(folder)), random.Random(1)
        if bench.verify().exit_code != 0 or bench.keygen() != 0:
            print("what was left alone is not verified")
            return 1
        return 0 if all((every_byte(bench, chance), anywhere(bench, chance, changes), speed(bench))) else 1


if __name__ == "__main__":
    sys.exit(main())

"""Takes readings away from built boxes, and looks whether a result got better, or a fault appeared.

    python -m tests.bench.less_information [--seconds S] [--seed N] [BOX...]

Of each box (all by default, in an order that the seed gives) one file or two, a folder, the answers of a program or of a
library are refused: no permission, an error, no answer in time, not captured. What was not read proves nothing, so a check
may only stay as it was or become unknown. Exits with 1 where one did otherwise, and names it.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from boxcheck.engine.inspect import choose_checks, inspect_facts, read_facts
from boxcheck.host import Phase, ProgramOutput, Stat
from boxcheck.host.capture import CaptureHost
from boxcheck.host.common import unread
from boxcheck.model import Outcome, Unread, Verdict, worst
from boxcheck.profile import Profile, load_profile
from tests.boxes import build, names
from tests.boxes.memory import MemoryTree

REFUSALS = (
    Unread("permission denied", "permission"), Unread("input/output error", "error"),
    Unread("did not answer in time", "timeout"), Unread("not in the capture", "not-captured"))

ACCEPTED: Mapping[str, str] = {
    "aer.correctable": "a log that was not read holds no word of the firmware's own handling of errors",
    "aer.live": "as aer.correctable",
    "aer.uncorrectable": "as aer.correctable",
    "driver.nvidia-mismatch": "without NVML the names of the libraries on the disk are compared",
    "node.group-session": "what may not be opened proves that somebody may not open it",
    "node.kfd": "as node.group-session",
    "node.nvidia": "as node.group-session",
    "node.render": "as node.group-session",
    "pcie.link-down": "a link of sysfs that cannot be read hides the device below a port; no kernel refuses one",
}
"""Check -> why it may come out otherwise with less."""


class Refusing(CaptureHost):
    """A capture of which some readings are refused. Keys are real paths, or what identifies a program or an answer."""

    def __init__(self, box: str) -> None:
        super().__init__("built box", MemoryTree(build(box)))
        self.refused: dict[object, Unread] = {}
        self.asked: set[object] = set()

    def _why(self, path: str) -> Unread | None:
        real = self._paths.resolve(path) or path
        self.asked.add(real)
        while real:
            if real in self.refused:
                return self.refused[real]
            real = real.rpartition("/")[0]
        return None

    def _read(self, path: str, limit_bytes: int) -> bytes | Unread:
        why = self._why(path)
        return super()._read(path, limit_bytes) if why is None else why

    def _entries(self, path: str) -> frozenset[str] | set[str] | Unread:
        why = self._why(path)
        return super()._entries(path) if why is None else why

    def stat(self, path: str) -> Stat | Unread:
        why = self._why(path)
        return super().stat(path) if why is None else unread(path, why.why, why.kind)

    def opens(self, path: str) -> Literal[True] | Unread:
        why = self._why(path)
        return super().opens(path) if why is None else unread(path, why.why, why.kind)

    def again(self, path: str, phase: Phase) -> tuple[bytes, ...] | Unread:
        why = self._why(path)
        return super().again(path, phase) if why is None else unread(path, "read once", "one-reading")

    def run(self, argv: Sequence[str], timeout_seconds: float = 10.0) -> ProgramOutput | Unread:
        self.asked.add(tuple(argv))
        why = self.refused.get(tuple(argv))
        return super().run(argv) if why is None else why

    def answer(self, library: str, request: str, ask: Any = None) -> Any | Unread:
        self.asked.add((library, request, ""))
        why = self.refused.get((library, request, ""))
        return super().answer(library, request) if why is None else why


def judge(host: CaptureHost, want: Profile) -> Verdict:
    return inspect_facts(read_facts(host), want, choose_checks([]))


def by_check(verdict: Verdict) -> dict[str, Outcome]:
    found: dict[str, list[Outcome]] = {}
    for finding in verdict.findings:
        found.setdefault(finding.check, []).append(finding.outcome)
    return {check: worst(outcomes) or Outcome.SKIP for check, outcomes in found.items()}


def strange(before: Verdict, after: Verdict) -> Iterator[str]:
    """What came out otherwise than as before or as unknown."""
    if after.crashes:
        yield f"broke in {after.crashes[0].where}"
    now = by_check(after)
    for check, outcome in by_check(before).items():
        if now[check] not in (outcome, Outcome.UNKNOWN) and check not in ACCEPTED and outcome is not Outcome.SKIP:
            yield f"{check}: {outcome.value} became {now[check].value}"


def choices(asked: Sequence[object], chance: random.Random) -> Iterator[tuple[object, ...]]:
    """What to refuse, for ever: mostly one reading, else two, or all below a folder."""
    while True:
        one, other = chance.choice(asked), chance.choice(asked)
        folder = one.rsplit("/", chance.randint(1, 2))[0] if isinstance(one, str) else ""
        yield chance.choice(((one,), (one,), (one, other), (folder or one,)))


def main() -> int:
    reading = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    reading.add_argument("boxes", nargs="*")
    reading.add_argument("--seconds", type=float, default=600.0)
    reading.add_argument("--seed", type=int, default=1)
    given = reading.parse_args()
    chance = random.Random(given.seed)
    boxes = given.boxes or chance.sample(names(), len(names()))
    end = time.monotonic() + given.seconds
    tried, found = 0, 0
    for number, box in enumerate(boxes):
        host = Refusing(box)
        base = box.partition("+")[0]
        want = load_profile("generic" if base == "laptop" else base.removesuffix("-one-reading"))
        before = judge(host, want)
        asked = sorted(host.asked, key=str)
        share = time.monotonic() + (end - time.monotonic()) / (len(boxes) - number)
        for keys in choices(asked, chance):
            if time.monotonic() > share:
                break
            host.refused = dict.fromkeys(keys, chance.choice(REFUSALS))
            tried += 1
            for text in strange(before, judge(host, want)):
                found += 1
                print(f"{box}: {text}, with {' and '.join(map(str, keys))} refused ({host.refused[keys[0]].kind})")
    print(f"{len(boxes)} boxes, {tried} times something was refused, {found} strange results")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

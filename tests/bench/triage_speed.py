"""Speed and memory of reading kernel logs. By hand: `python -m tests.bench.triage_speed`; about a minute.

Makes two logs in a temporary folder, the same bytes at each run: 200 MB of ordinary lines with 1 % event lines, and
40 MB of nothing but AER records; all time stamps are distinct. Each is read by `boxcheck triage` as a whole command
(where that command exists), by the parser alone, and by `grep -c -E` with the union of the words that the parser looks
for. Time is of the whole process, start included, the best of three runs taken in turn; memory is its peak.

    python -m tests.bench.triage_speed --wide      and a flood of 65 536 devices, where nothing can be remembered

Exit code 1 when a promise is broken: 40 MB/s, 8 MB/s for the flood, 150 MB.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from boxcheck.decode.klog import LogParser
from boxcheck.decode.klog.anchors import ANCHORS

RUNS = 3
ORDINARY = (
    "usb 1-{small}: new high-speed USB device number {number} using xhci_hcd",
    "systemd[1]: Started Session {number} of user root.",
    'audit: type=1400 audit(1700000000.{number}:{small}): apparmor="ALLOWED" operation="open" profile="snap.x"',
    "eth0: renamed from veth{number:x}",
    "docker0: port {small}(veth{number:x}) entered blocking state",
    "EXT4-fs (nvme0n1p{small}): mounted filesystem with ordered data mode. Quota mode: none.",
    "IPv6: ADDRCONF(NETDEV_CHANGE): veth{number:x}: link becomes ready",
    "[UFW BLOCK] IN=eth0 OUT= MAC=01:00:5e SRC=192.168.1.{small} DST=224.0.0.1 LEN=32 TTL=1 ID={number} DF PROTO=2",
)
RECORD = (
    "pcieport {bdf}: AER: Correctable error message received from {bdf}",
    "pcieport {bdf}: PCIe Bus Error: severity=Correctable, type=Data Link Layer, (Receiver ID)",
    "pcieport {bdf}:   device [1022:1483] error status/mask={status:08x}/00006000",
    "pcieport {bdf}:    [{bit:2d}] {name}                ",
)
BITS = ((6, "BadTLP"), (7, "BadDLLP"), (12, "Timeout"))
SINGLE = (
    "NVRM: Xid (PCI:0000:{bus:02x}:00): 31, pid={number}, name=python3, Ch 00000008, intr 00000000. MMU Fault: ENGINE"
    " GRAPHICS GPCCLIENT_T1_0 faulted @ 0x7f_00000000. Fault is of type FAULT_PDE ACCESS_TYPE_READ",
    "amdgpu 0000:{bus:02x}:00.0: amdgpu: ring gfx_0.0.0 timeout, signaled seq={small}, emitted seq={number}",
    "nvme nvme0: I/O {small} QID {number} timeout, aborting",
)
BUSES = (0x01, 0x02, 0x41, 0x42, 0x81, 0xC1)


Make = Callable[["Clock", random.Random], Iterator[str]]


class Clock:
    """Distinct time stamps."""

    def __init__(self) -> None:
        self.microseconds = 1_000_000

    def stamp(self, step: int) -> str:
        self.microseconds += step
        return f"[{self.microseconds // 1_000_000:5d}.{self.microseconds % 1_000_000:06d}] "


def record(clock: Clock, chance: random.Random, bdf: str) -> Iterator[str]:
    bit, name = chance.choice(BITS)
    for line in RECORD:
        yield clock.stamp(11) + line.format(bdf=bdf, status=1 << bit, bit=bit, name=name)


def mixed(clock: Clock, chance: random.Random) -> Iterator[str]:
    """1 % of the lines are event lines: 0.2 % of the turns write a record of four, 0.2 % a single one."""
    while True:
        turn = chance.random()
        if turn < 0.0020:
            yield from record(clock, chance, f"0000:{chance.choice(BUSES):02x}:01.1")
            continue
        line = chance.choice(SINGLE if turn < 0.0040 else ORDINARY)
        yield clock.stamp(731) + line.format(
            small=chance.randrange(9), number=chance.randrange(99_999), bus=chance.choice(BUSES))


def flood(clock: Clock, chance: random.Random) -> Iterator[str]:
    while True:
        yield from record(clock, chance, f"0000:{chance.choice(BUSES):02x}:01.1")


def wide(clock: Clock, chance: random.Random) -> Iterator[str]:
    while True:
        yield from record(clock, chance, "0000:{:02x}:{:02x}.{}".format(*divmod_address(chance.randrange(65_536))))


def divmod_address(packed: int) -> tuple[int, int, int]:
    return packed >> 8, packed >> 3 & 0x1F, packed & 7


def write(path: Path, lines: Iterator[str], size: int) -> None:
    written = 0
    with path.open("w") as file:
        for line in lines:
            written += file.write(line + "\n")
            if written >= size:
                return


class Cost(NamedTuple):
    wall: float
    cpu: float
    peak_mb: float


def run(argv: Sequence[str], output: Path) -> Cost:
    """Seconds on the clock and of processor, and peak memory (10^6 bytes), of one process.

    Its output goes to a file: GNU grep stops at the first match when it writes to /dev/null.
    """
    start = time.perf_counter()
    pid = os.posix_spawn(argv[0], list(argv), {**os.environ, "LC_ALL": "C"}, file_actions=[
        (os.POSIX_SPAWN_OPEN, 1, str(output), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)])
    _, _, usage = os.wait4(pid, 0)
    return Cost(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6)


def escaped(word: str) -> str:
    return "".join(f"\\{character}" if character in r".[]()*+?{}|^$\\" else character for character in word)


def parse(path: str) -> None:
    """What the child of this bench does: the parser alone, with residue as triage asks for it."""
    parser = LogParser(None, residue=True)
    with open(path, "rb") as file:
        while block := file.read(1 << 18):
            parser.feed(block)
    parser.finish()


def has_triage() -> bool:
    found = subprocess.run([sys.executable, "-m", "boxcheck", "triage", "--help"], capture_output=True, check=False)
    return found.returncode == 0


def measure(name: str, path: Path, promise: float | None, with_triage: bool) -> bool:
    size = path.stat().st_size / 1e6
    grep = shutil.which("grep")
    words = "|".join(escaped(word) for word in dict.fromkeys(word for _, words in ANCHORS for word in words))
    commands = {"parser": [sys.executable, "-m", "tests.bench.triage_speed", "--parse", str(path)]}
    if with_triage:
        commands["boxcheck triage"] = [sys.executable, "-m", "boxcheck", "triage", str(path)]
    if grep is not None:
        commands["grep -c -E"] = [grep, "-c", "-E", words, str(path)]
    best: dict[str, Cost] = {}
    for _ in range(RUNS):
        for command, argv in commands.items():
            cost = run(argv, path.with_suffix(".out"))
            before = best.get(command, cost)
            best[command] = Cost(min(cost.wall, before.wall), min(cost.cpu, before.cpu), max(cost.peak_mb, before.peak_mb))
    held = True
    for command, cost in best.items():
        ratio = f", {cost.cpu / best['grep -c -E'].cpu:.1f} x the processor time of grep" if grep is not None else ""
        mark, limit = "      ", ""
        if promise is not None and command == ("boxcheck triage" if with_triage else "parser"):
            good = size / cost.wall >= promise and cost.peak_mb < 150
            held, mark = held and good, "ok    " if good else "BROKEN"
            limit = f" (at least {promise:g})"
        print(f"{mark}  {name}, {command}: {size / cost.wall:.1f} MB/s{limit}, {size / cost.cpu:.1f} MB a second of "
              f"processor, peak {cost.peak_mb:.0f} MB{ratio}")
    return held


def main() -> int:
    if sys.argv[1:2] == ["--parse"]:
        parse(sys.argv[2])
        return 0
    load = os.getloadavg()[0]
    print(f"        Python {sys.version.split()[0]}, {os.cpu_count()} processors, load {load:.1f}")
    with_triage = has_triage()
    if not with_triage:
        print("        boxcheck triage is not there yet: the promise is held against the parser")
    held = True
    with tempfile.TemporaryDirectory() as name:
        logs: list[tuple[str, Make, int, float | None]] = [("1 % events", mixed, 200, 40.0), ("AER flood", flood, 40, 8.0)]
        if "--wide" in sys.argv:
            logs.append(("AER flood of 65 536 devices", wide, 20, None))
        for title, make, megabytes, promise in logs:
            path = Path(name) / "kernel.log"
            write(path, make(Clock(), random.Random(1)), megabytes * 1_000_000)
            held = measure(title, path, promise, with_triage) and held
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())

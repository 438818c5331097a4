"""Captures of what a real kernel shows, kept under tests/boxes/recorded, and what a newer kernel shows otherwise.

    python -m tests.kernel record                 # all scenarios on all kernels that are fetched
    python -m tests.kernel record errors          # one scenario
    python -m tests.kernel record --dry           # compare, write nothing
    python -m tests.kernel record --again         # judge what is kept once more, without a guest

Before a capture takes its place, it is compared with the one that is kept of the same scenario and series, else of the
next older series: files that came or went, labels of the counters, wordings of the kernel log, and what boxcheck makes of it.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.kernel.bench import Account, Machine, account_of, boot
from tests.kernel.cache import cache
from tests.kernel.fetch import Bench, Kernel, fetch
from tests.kernel.topology import HOTPLUG, NOAER, NUMA_TRANSLATING, TINYBOX_RED, WOPR, Topology
from tests.kernel.vm import CHECKOUT

KEPT = CHECKOUT / "tests/boxes/recorded"
INDEX = KEPT / "index.json"
AREAS = ("aer", "pcie", "iommu", "inventory", "acs", "log")
BDF = re.compile(r"\b[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]\b")


def _errors(machine: Machine) -> None:
    machine.inject("g1", "RCVR", 3)
    machine.inject("rp2", "BAD_TLP", 5)
    machine.inject("g3", "REP_ROLL")
    machine.inject("g4", "COMP_TIME")
    machine.inject("g5", "MALF_TLP")
    machine.inject("rp6", "SDN")
    assert machine.wait("[ $(dmesg | grep -c 'device recovery failed') = 3 ]")


def _lanes(machine: Machine) -> None:
    machine.space("s1").link(width=8)
    machine.space("g2").link(width=4)
    machine.inject("d3", "BAD_TLP", 3)
    machine.settled("d3", "correctable", 3)


def _lost(machine: Machine) -> None:
    card = machine.bdf("g1")
    machine.space("rp1")
    machine.all_ones("g0")
    machine.all_ones("g1")
    machine.link_down("rp1", present=False)
    assert machine.wait(f"[ ! -e /sys/bus/pci/devices/{card} ]")


def _nothing(machine: Machine) -> None:
    """As it booted."""


SCENARIOS: Mapping[str, tuple[Topology, Callable[[Machine], None], str]] = {
    "wopr": (WOPR, _nothing, "seven GPUs on three host bridges, no fault"),
    "errors": (WOPR, _errors, "3 RxErr at card 1, 5 BadTLP at port 2, a Rollover at card 3, CmpltTO at card 4, a fatal "
               "MalfTLP of card 5 (its root port counts it), SDES at port 6"),
    "on-card-switch": (TINYBOX_RED, _lanes, "six cards with a switch of their own: slot link of card 1 at x8, link on card 2 "
                       "at x4, 3 BadTLP on card 3"),
    "lost": (HOTPLUG, _lost, "card 0 reads as all ones, card 1 was pulled"),
    "noaer": (NOAER, lambda machine: machine.inject("g0", "BAD_TLP", 5), "pci=noaer, 5 BadTLP that nobody counted"),
    "translating": (NUMA_TRANSLATING, _nothing, "intel-iommu translating, two NUMA nodes"),
}


def name_of(scenario: str, kernel: Kernel) -> str:
    return f"{scenario}-{kernel.series}.tar.gz"


def take(bench: Bench, kernel: Kernel, scenario: str) -> bytes:
    """The capture, taken by boxcheck in the guest, without the paths of the machine that ran the bench."""
    topology, act, _ = SCENARIOS[scenario]
    with boot(bench, topology, kernel.series) as machine:
        act(machine)
        return neutral(machine.capture("record.tar.gz").read_bytes())


def neutral(data: bytes) -> bytes:
    """The same archive, always the same bytes for the same content: without the /usr of the machine that ran the bench,
    which the guest borrows, and with its paths replaced."""
    swaps = [(str(path).encode(), instead) for path, instead in (
        (cache(), b"/bench-cache"), (CHECKOUT, b"/checkout"), (Path(sys.prefix), b"/venv"),
        (Path(sys.base_prefix), b"/python"))]
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(data)) as old, tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as new:
        for member in sorted(old.getmembers(), key=lambda item: item.name):
            name = member.name.removeprefix("./")
            if name.startswith("usr/"):
                continue
            file = old.extractfile(member) if member.isfile() else None
            body = file.read() if file else b""
            if name.startswith("boxcheck/") and name.endswith(".jsonl"):
                body = b"".join(line for line in body.splitlines(keepends=True) if b'"/usr/' not in line)
            for path, instead in swaps:
                body = body.replace(path, instead)
            member.size, member.mtime, member.pax_headers = len(body), 0, {}
            new.addfile(member, io.BytesIO(body))
    return gzip.compress(out.getvalue(), mtime=0)


def members(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {item.name.removeprefix("./"): (tar.extractfile(item) or io.BytesIO()).read() if item.isfile() else b"link"
                for item in tar.getmembers() if not item.isdir()}


def shape(files: Mapping[str, bytes]) -> dict[str, set[str]]:
    """What can change between kernels, without what changes between boots: addresses, numbers, times."""
    log = files.get("var/log/dmesg", b"").decode("utf-8", "replace")
    wording = {re.sub(r"0x[0-9a-f]+|\b[0-9a-f]*\d[0-9a-f]*\b", "#", BDF.sub("BDF", line.partition("] ")[2].strip()))
               for line in log.splitlines() if re.search(r"AER|pciehp|_OSC|PCIe Bus Error|DMAR|iommu:", line)}
    labels: set[str] = set()
    for path, body in files.items():
        if "/aer_dev_" in path or "/aer_rootport_" in path:
            labels |= {f"{path.rsplit('/', 1)[1]}: {line.rsplit(' ', 1)[0]}" for line in body.decode().splitlines() if " " in line}
    paths = {re.sub(r"\d+", "#", BDF.sub("BDF", path)) for path in files if path.startswith(("sys/", "proc/"))}
    return {"file": paths, "counter": labels, "log": wording}


def judged(path: Path) -> Account:
    done = subprocess.run(
        [sys.executable, "-m", "boxcheck", "doctor", "--sysroot", str(path), "--json", "-", *AREAS],
        cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=120)
    return account_of(done.stdout, done.returncode, 0.0)


def findings(path: Path) -> list[list[str]]:
    """All that is neither a pass nor a skip: check, address, outcome and words (without what time does to them)."""
    return sorted([item.check, item.bdf or "", item.outcome, re.sub(r"\d+ (s|min) ago", "# ago", item.says)]
                  for item in judged(path).findings if item.outcome not in ("pass", "skip"))


def compare(old: Path, new: Path) -> list[str]:
    """What is otherwise in the newer capture, one line each."""
    before, after = shape(members(old.read_bytes())), shape(members(new.read_bytes()))
    lines = [f"{sign} {kind} {text}" for kind in before for sign, texts in (
        ("-", before[kind] - after[kind]), ("+", after[kind] - before[kind])) for text in sorted(texts)]
    was, now = ({tuple(row) for row in findings(path)} for path in (old, new))
    return lines + [f"- finding {' '.join(row)}" for row in sorted(was - now)] + [
        f"+ finding {' '.join(row)}" for row in sorted(now - was)]


def index() -> dict[str, dict[str, object]]:
    return json.loads(INDEX.read_text()) if INDEX.exists() else {}


def record(words: Sequence[str]) -> int:
    if "--again" in words:
        again()
        return 0
    dry = "--dry" in words
    wanted = [word for word in words if not word.startswith("-")] or list(SCENARIOS)
    unknown = [word for word in wanted if word not in SCENARIOS]
    if unknown:
        print(f"no scenario is called {unknown[0]}; there are {', '.join(SCENARIOS)}", file=sys.stderr)
        return 2
    bench = fetch()
    KEPT.mkdir(parents=True, exist_ok=True)
    for scenario in wanted:
        older: Path | None = None
        for kernel in bench.kernels:
            kept = KEPT / name_of(scenario, kernel)
            part = KEPT / f".{kept.name}"
            part.write_bytes(take(bench, kernel, scenario))
            try:
                against = kept if kept.exists() else older
                report(scenario, kernel, against, compare(against, part) if against else [])
                if not dry:
                    part.replace(kept)
                    found = index()
                    found[kept.name] = {
                        "scenario": SCENARIOS[scenario][2], "topology": SCENARIOS[scenario][0].name,
                        "kernel": kernel.release, "qemu": bench.qemu_version, "findings": findings(kept)}
                    INDEX.write_text(json.dumps(dict(sorted(found.items())), indent=1) + "\n")
            finally:
                part.unlink(missing_ok=True)
            older = kept if kept.exists() else older
    return 0


def again() -> None:
    """Neutral bytes and findings of all kept captures once more: after a change of boxcheck's words, or of `neutral`."""
    found = index()
    for name, entry in found.items():
        kept = KEPT / name
        kept.write_bytes(neutral(kept.read_bytes()))
        entry["findings"] = findings(kept)
    INDEX.write_text(json.dumps(found, indent=1) + "\n")


def report(scenario: str, kernel: Kernel, against: Path | None, lines: Sequence[str]) -> None:
    if against is None:
        print(f"{scenario} on {kernel.release}: the first capture")
        return
    print(f"{scenario} on {kernel.release} against {against.name}: "
          f"{'nothing changed' if not lines else f'{len(lines)} differences'}")
    for line in lines:
        print(f"  {line}")

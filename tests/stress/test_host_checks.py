"""Every check of the host's modules passes, and by a notch it does not; what was not looked at is unknown."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import pytest

from boxcheck.engine.inspect import read_facts
from boxcheck.model import Outcome, Unread, worst
from boxcheck.probes.memory import Memory
from boxcheck.probes.nvme import Nvme
from boxcheck.registry import CHECKS, LIMITS
from boxcheck.stress import Sample, StressResults, Trouble, WrongWord
from tests.boxes import build
from tests.boxes.memory import host
from tests.checks.judging import judge
from tests.stress.host_doubles import MODULES, only, results, sample

assert MODULES
WOPR = read_facts(host(build("wopr-7x4090")), (Memory, Nvme))
PASS, MARGINAL, FAIL, UNKNOWN, SKIP = Outcome.PASS, Outcome.MARGINAL, Outcome.FAIL, Outcome.UNKNOWN, Outcome.SKIP


def memory() -> Memory:
    found = WOPR.of(Memory)
    assert not isinstance(found, Unread)
    return found


def nvme() -> Nvme:
    found = WOPR.of(Nvme)
    assert not isinstance(found, Unread)
    return found


# The processor.


def cpu(
    *, rates: tuple[float, ...] = (50.0,) * 4, last: float = 1.0, busy: float = 100.0, full_size: bool = True,
    exact: dict[str, Any] | None = None, inputs: dict[str, Any] | None = None, together: dict[str, Any] | None = None,
    lost: dict[str, Any] | None = None, more: tuple[Sample, ...] = (),
) -> StressResults:
    """A run on as many cores as there are rates; the changes are those of the last core."""
    samples = []
    for core, rate in enumerate(rates):
        for piece in range(8):
            changes = (exact or {}) if core == len(rates) - 1 and not piece else {}
            notes = {"core": core, "busy_percent": busy, "products": 10, **changes.get("notes", {})}
            value = rate * busy / 100 * (last if piece >= 6 and core == len(rates) - 1 else 1.0)
            samples.append(sample("cpu.fp64.exact", **{
                "value": value, "unit": "GFLOPS", "of": "elements", **changes, "notes": notes}))
    samples.append(sample("cpu.fp64.inputs", **{"of": "elements", "notes": {"core": 3}, **(inputs or {})}))
    samples.append(sample("cpu.fp64.together", **{
        "checked": len(rates), "of": "digests", "value": sum(rates) * busy / 100, "notes": {
            "cores": len(rates), "library": "openblas 0.3", "core_name": "Zen", "odd": "core 2"}, **(together or {})}))
    samples.append(sample("cpu.cores", checked=len(rates), notes={"all": len(rates), "came_through": len(rates)}))
    if lost is not None:
        samples[-1] = sample("cpu.cores", checked=3, notes={"all": 4, "came_through": 3})
        samples.append(sample("cpu.cores", **lost))
    return results("cpu", [*samples, *more], full_size=full_size)


def lost_core(kind: str, core: int = 3) -> dict[str, Any]:
    bad = int(kind in ("hang", "crash"))
    return {"checked": bad, "wrong": bad, "notes": {"core": core, "kind": kind, "says": "its process went"}}


# Memory.


def dram(
    *, triad: tuple[float, ...] = (150.0,), wrong: int = 0, where: str = "inversion", swapped: int = 0,
    full_size: bool = True, busy: float = 100.0, lost: dict[str, Any] | None = None,
) -> StressResults:
    samples = []
    word = WrongWord(index=7, expected=1, found=3, where="core 0, virtual address 0x1000", kind="one bit")
    for piece in range(4):
        for node, rate in enumerate(triad):
            value = rate if piece == 2 else 0.9 * rate
            samples.append(sample(
                f"dram.triad.node{node}", value=value, unit="GB/s",
                notes={"piece": piece, "node": node, "busy_percent": busy},
                wrong=wrong if where == "triad" and piece == 2 else 0))
    for family in ("retention", "inversion", "random", "address"):
        bad = wrong if family == where else 0
        samples.append(sample(
            f"dram.{family}.node0", wrong=bad, words=(word,) * min(bad, 3), notes={
                "node": 0, "swapped_kib": swapped, "held_bytes": 64 << 30, "held_percent": 50.0,
                "bounded_by": "50 % of what is available"}))
    samples.append(sample("dram.processes", checked=4, notes={"all": 4, "came_through": 4}))
    if lost is not None:
        samples.append(sample("dram.processes", **lost))
    return results("dram", samples, full_size=full_size)


# Drives.


def drives(
    *, rate: float = 7.0, others: float = 7.0, p99: float = 100.0, last: float = 1.0, zeros: float = 0.0,
    full_size: bool = True, sample_of: dict[str, Any] | None = None, notes: dict[str, Any] | None = None,
    names: tuple[str, ...] = ("nvme0n1", "nvme1n1"), lost: dict[str, Any] | None = None,
) -> StressResults:
    samples = []
    for number, name in enumerate(names):
        mine = (sample_of or {}) if number == 0 else {}
        about = {"drive": name, "source": "device", "direct": 1, "blocks": 100, "errors": 0, "unproven": 0,
                 "zero_percent": zeros, "bytes": 1 << 30, **((notes or {}) if number == 0 else {})}
        for piece in range(8):
            value = (rate if number == 0 else others) * (last if number == 0 and piece >= 6 else 1.0)
            samples.append(sample(
                f"nvme.sequential.{name}", **{"value": value, "unit": "GB/s", "of": "bytes", "notes": about, **mine}))
        samples.append(sample(
            f"nvme.random.{name}", **{"value": 80.0, "unit": "us", "of": "bytes", "notes": {**about, "p99_us": p99}, **mine}))
    samples.append(sample("nvme.drives", checked=len(names), notes={"all": len(names), "came_through": len(names)}))
    if lost is not None:
        samples.append(sample("nvme.drives", **lost))
    return results("nvme", samples, full_size=full_size)


def refused(name: str, kind: str = "forbidden", says: str = "reading /dev/nvme0n1 needs root") -> dict[str, Any]:
    bad = int(kind in ("hang", "crash"))
    return {"checked": bad, "wrong": bad, "notes": {
        "drive": name, "source": "device", "kind": kind, "says": says, "help": "sudo boxcheck stress run nvme"}}


# The network.

COUNTED = {"rx_bytes": 10**12, "tx_bytes": 10**12, "rx_packets": 10**8, "tx_packets": 10**8, **dict.fromkeys(
    ("rx_errors", "tx_errors", "rx_dropped", "tx_dropped", "rx_crc_errors", "carrier_changes"), 0)}


def network(
    *, rate: float = 1.2, wrong: int = 0, denied: int = 0, checked: int = 1 << 30, speed: int | None = 10_000,
    interface: str = "eth0", full_size: bool = True, pieces: int = 8, counted: dict[str, int | None] | None = None,
) -> StressResults:
    about = {"own": "10.0.0.1", "other": "10.0.0.2", "interface": interface, "streams": 4, "agreed_seconds": 8.0,
             **({"speed_mbps": speed} if speed is not None else {})}
    counts = {f"if_{name}": value for name, value in {**COUNTED, **(counted or {})}.items() if value is not None}
    samples = []
    for piece in range(pieces + 1):
        last = piece == pieces
        for what, bad in (("net.receive", wrong), ("net.send", denied)):
            ended = {"came_through": 4, "retransmits": 3, **counts} if last and what == "net.receive" else {}
            samples.append(sample(
                what, value=None if last else rate, unit="GB/s", of="bytes", checked=checked,
                wrong=bad if not piece else 0, notes={**about, **ended}))
    return results("net", samples, full_size=full_size)


class Notch(NamedTuple):
    check: str
    make: Callable[[Any], StressResults]
    sides: tuple[tuple[Any, Outcome], ...]
    """Values, and the gravest outcome with each."""
    limits: dict[str, Any] = {}  # noqa: RUF012  a tuple's default; never changed
    facts: tuple[Callable[[], Any], ...] = ()


SIDES = {"must": 150.0, "should": 180.0}
NOTCHES = (
    Notch("cpu.wrong-elements", lambda wrong: cpu(exact={"wrong": wrong}), ((0, PASS), (1, FAIL))),
    Notch("cpu.wrong-elements", lambda odd: cpu(together={"wrong": odd}), ((0, PASS), (1, FAIL))),
    Notch("cpu.wrong-elements", lambda checked: cpu(together={"checked": checked}), ((4, PASS), (0, UNKNOWN))),
    Notch("cpu.damaged-inputs", lambda wrong: cpu(inputs={"wrong": wrong, "notes": {"core": 3}}), ((0, PASS), (1, FAIL))),
    Notch("cpu.damaged-inputs", lambda words: cpu(exact={"notes": {"wrong_input_words": words}}), ((0, PASS), (1, FAIL))),
    Notch("cpu.core-lost", lambda kind: cpu(lost=None if kind is None else lost_core(kind)), (
        (None, PASS), ("crash", FAIL), ("hang", FAIL), ("ended", UNKNOWN), ("forbidden", UNKNOWN))),
    Notch("cpu.rate", lambda each: cpu(rates=(each,) * 4), ((45.0, PASS), (44.9, MARGINAL), (37.5, MARGINAL), (37.4, FAIL)),
          {"cpu.fp64_gflops": SIDES}),
    Notch("cpu.rate", lambda busy: cpu(rates=(40.0,) * 4, busy=busy), ((100.0, MARGINAL), (79.0, UNKNOWN)),
          {"cpu.fp64_gflops": SIDES}),
    Notch("cpu.rate", lambda wrong: cpu(together={"wrong": wrong}), ((0, PASS), (1, UNKNOWN)), {"cpu.fp64_gflops": 150.0}),
    Notch("cpu.slow-core", lambda rate: cpu(rates=(50.0, 50.0, 50.0, rate)), (
        (46.0, PASS), (45.9, MARGINAL), (42.5, MARGINAL), (42.4, FAIL)), {"cpu.spread_percent": {"must": 15.0, "should": 8.0}}),
    Notch("cpu.slow-core", lambda busy: cpu(rates=(50.0, 50.0, 50.0, 49.0), busy=busy), ((100.0, PASS), (20.0, PASS)),
          {"cpu.spread_percent": 8.0}),
    Notch("cpu.rate-drop", lambda part: cpu(last=part), ((0.25, PASS), (0.249, FAIL))),
    Notch("dram.wrong-words", lambda wrong: dram(wrong=wrong), ((0, PASS), (1, FAIL))),
    Notch("dram.wrong-words", lambda wrong: dram(wrong=wrong, where="triad"), ((0, PASS), (1, FAIL))),
    Notch("dram.wrong-words", lambda swapped: dram(swapped=swapped), ((0, PASS), (4, UNKNOWN))),
    Notch("dram.page-lost", lambda kind: dram(lost=None if kind is None else {
        **lost_core(kind), "notes": {**lost_core(kind)["notes"], "node": 1}}), (
        (None, PASS), ("crash", FAIL), ("hang", FAIL), ("ended", UNKNOWN))),
    Notch("dram.triad", lambda rate: dram(triad=(rate / 2, rate / 2)), (
        (180.0, PASS), (179.9, MARGINAL), (150.0, MARGINAL), (149.9, FAIL)), {"dram.triad_gbs": SIDES}, (memory,)),
    Notch("dram.triad", lambda wrong: dram(triad=(170.0,), wrong=wrong, where="triad"), ((0, PASS), (1, FAIL)),
          {"dram.triad_gbs": 160.0}, (memory,)),
    Notch("dram.triad", lambda busy: dram(triad=(149.0,), busy=busy), ((80.0, FAIL), (79.9, UNKNOWN)),
          {"dram.triad_gbs": SIDES}, (memory,)),
    Notch("nvme.wrong-payload", lambda wrong: drives(sample_of={"wrong": wrong}), ((0, PASS), (8, FAIL))),
    Notch("nvme.wrong-payload", lambda checked: drives(sample_of={"checked": checked}), ((1, PASS), (0, UNKNOWN))),
    Notch("nvme.wrong-payload", lambda direct: drives(notes={"direct": direct}), ((1, PASS), (0, UNKNOWN))),
    Notch("nvme.read-errors", lambda errors: drives(notes={"errors": errors, "first_error": "Input/output error at byte 0"}), (
        (0, PASS), (1, FAIL))),
    Notch("nvme.read-errors", lambda kind: drives(lost=None if kind is None else refused("nvme2n1", kind)), (
        (None, PASS), ("hang", FAIL), ("forbidden", PASS))),
    Notch("nvme.read-errors", lambda kind: drives(lost=None if kind is None else refused("nvme0n1", kind)), (
        (None, PASS), ("ended", UNKNOWN), ("hang", FAIL))),
    Notch("nvme.not-read", lambda names: drives(names=names), (
        (("nvme0n1", "nvme1n1"), PASS), (("nvme0n1",), UNKNOWN), ((), UNKNOWN)), {}, (lambda: two_drives(),)),
    Notch("nvme.read-rate", lambda rate: drives(rate=rate), ((6.5, PASS), (6.4, MARGINAL), (5.0, MARGINAL), (4.9, FAIL)),
          {"nvme.read_gbs": {"must": 5.0, "should": 6.5}}),
    Notch("nvme.read-rate", lambda zeros: drives(zeros=zeros), ((50.0, PASS), (51.0, UNKNOWN)), {"nvme.read_gbs": 5.0}),
    Notch("nvme.read-rate", lambda zeros: drives(rate=4.0, zeros=zeros), ((0.0, FAIL), (90.0, FAIL)), {"nvme.read_gbs": 5.0}),
    Notch("nvme.read-rate", lambda rate: drives(others=rate), ((7.0, PASS), (6.9, FAIL)), {"nvme.all_read_gbs": 14.0}),
    Notch("nvme.latency", lambda p99: drives(p99=p99), ((150.0, PASS), (151.0, MARGINAL), (300.0, MARGINAL), (301.0, FAIL)),
          {"nvme.random_p99_us": {"must": 300.0, "should": 150.0}}),
    Notch("net.wrong-payload", lambda wrong: network(wrong=wrong), ((0, PASS), (1, FAIL))),
    Notch("net.wrong-payload", lambda denied: network(denied=denied), ((0, PASS), (1, FAIL))),
    Notch("net.wrong-payload", lambda checked: network(checked=checked), ((1, PASS), (0, UNKNOWN))),
    Notch("net.rate", lambda rate: network(rate=rate), (
        (1.1, PASS), (1.09, MARGINAL), (1.0, MARGINAL), (0.99, FAIL), (1.27, PASS), (1.28, UNKNOWN)),
        {"net.gbs": {"must": 1.0, "should": 1.1}}),
    Notch("net.rate", lambda wrong: network(wrong=wrong), ((0, PASS), (1, UNKNOWN)), {"net.gbs": 1.0}),
    Notch("net.rate", lambda pieces: network(pieces=pieces), ((3, PASS), (2, UNKNOWN), (0, UNKNOWN)), {"net.gbs": 1.0}),
    Notch("net.rate", lambda checked: network(checked=checked), ((1, PASS), (0, UNKNOWN)), {"net.gbs": 1.0}),
    Notch("net.errors", lambda downs: network(counted={"carrier_changes": downs}), (
        (0, PASS), (1, FAIL), (-1, UNKNOWN), (None, UNKNOWN))),
    # 2 TB are 1.6e13 bits: 161 frames at ten times the bit error rate of IEEE 802.3.
    Notch("net.errors", lambda bad: network(counted={"rx_crc_errors": bad, "rx_errors": bad}), (
        (0, PASS), (1, MARGINAL), (161, MARGINAL), (162, FAIL), (None, UNKNOWN))),
    Notch("net.errors", lambda bad: network(counted={"tx_errors": bad}), ((0, PASS), (1, MARGINAL), (None, UNKNOWN))),
    Notch("net.errors", lambda lost: network(counted={"rx_dropped": lost}), (
        (0, PASS), (20_000, PASS), (20_001, MARGINAL), (None, UNKNOWN))),
    Notch("net.errors", lambda moved: network(counted={"rx_bytes": moved, "tx_bytes": 0}), ((1, PASS), (0, UNKNOWN))),
    Notch("net.errors", lambda name: network(interface=name), (("eth0", PASS), ("", UNKNOWN), ("lo", SKIP))),
    Notch("nvme.rate-drop", lambda part: drives(last=part), ((0.5, PASS), (0.49, MARGINAL), (0.25, MARGINAL), (0.249, FAIL))),
)


def two_drives() -> Nvme:
    """The box's first drive, twice."""
    (first, *_) = nvme().drives
    return Nvme(drives=tuple(
        msgspec.structs.replace(first, name=name, namespaces=(
            msgspec.structs.replace(first.namespaces[0], name=f"{name}n1"),)) for name in ("nvme0", "nvme1")), undriven=())


@pytest.mark.parametrize(
    ("notch", "value", "outcome"), [(notch, *side) for notch in NOTCHES for side in notch.sides],
    ids=[f"{notch.check}-{value}" for notch in NOTCHES for value, _ in notch.sides])
def test_a_notch(notch: Notch, value: Any, outcome: Outcome) -> None:
    found = judge(notch.check, notch.make(value), *(fact() for fact in notch.facts), limits=notch.limits)
    assert worst(one.outcome for one in found) is outcome, [one.says for one in found]


MINE = [id for id, check in sorted(CHECKS.items()) if check.stress in ("cpu", "dram", "nvme", "net")]


def facts_of(check: str) -> tuple[Any, ...]:
    made: dict[type, Callable[[], Any]] = {Memory: memory, Nvme: two_drives}
    return tuple(made[kind]() for kind in CHECKS[check].reads if kind is not StressResults)


def test_every_check_has_a_notch_and_every_limit_decides() -> None:
    assert {notch.check for notch in NOTCHES} == {*MINE}
    mine = {name for check in MINE for name in CHECKS[check].limits}
    assert mine == {name for notch in NOTCHES for name in notch.limits}
    assert mine == {name for name in LIMITS if name.split(".")[0] in ("dram", "nvme", "net")} | {
        "cpu.fp64_gflops", "cpu.spread_percent"}
    fires = {notch.check for notch in NOTCHES if {FAIL, MARGINAL} & {outcome for _, outcome in notch.sides}}
    assert {*MINE} - fires == {"nvme.not-read"}  # of a drive that was not read nothing is proven


@pytest.mark.parametrize("check", MINE)
def test_nothing_is_unknown_and_never_a_pass(check: str) -> None:
    module = CHECKS[check].stress
    assert module is not None
    empty = results(module, [], full_size=True, ended=(), troubles=(
        Trouble(gpus=("cpu:0",), module=module, kind="out-of-memory", says="none is left"),))
    assert {one.outcome for one in judge(check, empty, *facts_of(check))} == {UNKNOWN}


@pytest.mark.parametrize("check", MINE)
def test_every_check_is_in_the_catalogue_in_full(check: str) -> None:
    text = CHECKS[check].text
    assert all(part in text for part in ("Why it matters:", "What to do:", "Not a fault:"))
    assert CHECKS[check].title


def test_small_sizes_are_not_judged_by_their_rates() -> None:
    for check, made, limits in (
            ("cpu.rate", cpu(full_size=False), {"cpu.fp64_gflops": 1e6}),
            ("cpu.slow-core", cpu(rates=(50.0, 50.0, 1.0), full_size=False), {"cpu.spread_percent": 1.0}),
            ("dram.triad", dram(full_size=False), {"dram.triad_gbs": 1e5}),
            ("nvme.read-rate", drives(full_size=False), {"nvme.read_gbs": 100.0}),
            ("net.rate", network(full_size=False), {"net.gbs": 100.0}),
            ("nvme.latency", drives(full_size=False), {"nvme.random_p99_us": 5.0})):
        assert {one.outcome for one in judge(check, made, *facts_of(check), limits=limits)} == {SKIP}, check


# What findings say.


def test_a_bad_core_is_one_problem_however_many_checks_see_it() -> None:
    word = WrongWord(index=3, expected=1, found=3, where="core 3, row 0, column 3", kind="one bit")
    made = cpu(exact={"wrong": 1, "words": (word,), "notes": {"wrong_input_words": 1}}, lost=lost_core("crash"))
    causes = {one.cause for check in ("cpu.wrong-elements", "cpu.damaged-inputs", "cpu.core-lost")
              for one in judge(check, made) if one.outcome is FAIL}
    assert causes == {"cpu-core:3"}
    assert "core 3, row 0, column 3: expected 0x00000001, found 0x00000003 (one bit)" in judge("cpu.wrong-elements", made)[0].notes


def test_cores_that_all_crash_alike_are_no_cores_fault() -> None:
    made = cpu(rates=(50.0, 50.0))
    crashed = [sample("cpu.cores", **lost_core("crash", core)) for core in (0, 1)]
    whole = sample("cpu.cores", checked=0, notes={"all": 2, "came_through": 0})
    kept = [one for one in made.samples if one.what != "cpu.cores"]
    assert only("cpu.core-lost", results("cpu", [*kept, *crashed, whole])).outcome is UNKNOWN


def test_small_cores_are_compared_among_themselves() -> None:
    small = tuple(sample("cpu.fp64.exact", value=20.0, notes={
        "core": core, "core_kind": "efficient", "busy_percent": 100.0, "products": 1}) for core in (8, 9, 10))
    found = judge("cpu.slow-core", cpu(more=small), limits={"cpu.spread_percent": 8.0})
    assert [one.outcome for one in found] == [PASS, PASS]


def test_triad_is_set_against_what_the_channels_could_move() -> None:
    theory = memory().theoretical_gbs
    assert isinstance(theory, float)
    says = only("dram.triad", dram(triad=(theory / 4, theory / 4)), memory(), **{"dram.triad_gbs": 10.0}).says
    assert f"50 % of the {theory:g} GB/s of 8 channels" in says
    assert f"node 0: {theory / 4:.1f}" in says
    unread = msgspec.structs.replace(memory(), theoretical_gbs=Unread("needs root", "permission"))
    found = only("dram.triad", dram(), unread, **{"dram.triad_gbs": 10.0})
    assert (found.outcome, "is not known (needs root)" in found.says) == (PASS, True)


def test_how_much_of_the_memory_was_tested_is_said() -> None:
    assert only("dram.wrong-words", dram()).notes[1] == (
        "64 GiB were tested, 50.0 % of what was available; bounded by: 50 % of what is available")


def test_a_drive_that_needs_root_says_so() -> None:
    found = judge("nvme.not-read", drives(names=("nvme1n1",), lost=refused("nvme0n1")), two_drives())
    assert [(one.outcome, one.needs_root) for one in found] == [(UNKNOWN, True), (PASS, False)]
    assert found[0].says == "reading /dev/nvme0n1 needs root"


def test_a_scratch_file_stands_for_the_drives_below_it() -> None:
    made = drives(names=("scratch0",), notes={"source": "scratch", "path": "/raid/x", "on": "nvme0n1,nvme1n1"})
    found = judge("nvme.not-read", made, two_drives())
    assert [one.outcome for one in found] == [PASS, PASS]
    assert found[0].says == "scratch file in /raid/x on it was read"


def test_a_box_without_drives_is_skipped() -> None:
    none = results("nvme", [])
    for check in MINE:
        if check.startswith("nvme."):
            assert only(check, none, *((Nvme((), ()),) if check == "nvme.not-read" else ())).outcome is SKIP
    assert only("nvme.not-read", none, Nvme((), ("0000:01:00.0",))).outcome is UNKNOWN  # type: ignore[arg-type]
    assert only("nvme.not-read", none, Nvme((), (), Unread("no sysfs", "error"))).outcome is UNKNOWN


def test_what_the_loopback_moved_is_no_network() -> None:
    here = network(interface="lo", speed=None)
    assert {one.outcome for one in judge("net.rate", here, limits={"net.gbs": 100.0})} == {SKIP}
    found = judge("net.wrong-payload", here)
    assert {one.outcome for one in found} == {PASS}
    assert all("no network" in one.notes[0] for one in found)


def test_a_network_without_a_limit_still_tells_its_rate_beside_the_link() -> None:
    found = judge("net.rate", network())
    assert {one.outcome for one in found} == {SKIP}
    assert "1.2 GB/s received over 4 streams, of 1.25 GB/s of the link (10000 Mb/s); 3 segments sent again" in found[0].says


def test_a_network_that_was_not_reached_is_unknown_and_one_that_nobody_asked_for_is_skipped() -> None:
    for check in MINE:
        if check.startswith("net."):
            assert only(check, results("net", [])).outcome is SKIP
            assert only(check, results("net", [], stopped=True)).outcome is UNKNOWN
    cut = network()
    kept = [one for one in cut.samples if "came_through" not in one.notes]
    assert only("net.errors", results("net", kept)).outcome is UNKNOWN


def test_the_checks_are_known_without_numpy() -> None:
    script = (
        "import sys\nfrom boxcheck.registry import CHECKS, discover\ndiscover()\n"
        f"assert {MINE!r} == [id for id, one in sorted(CHECKS.items()) if one.stress in ('cpu', 'dram', 'nvme', 'net')]\n"
        "print('numpy' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

"""Error rates of links: exact bounds, the end that counts, the way that bytes took, and what is not known."""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import msgspec
import pytest

from boxcheck.engine.inspect import Facts, read_facts
from boxcheck.engine.until_ber import map_of
from boxcheck.gpu import GpuInfo
from boxcheck.model import Bdf, Finding, Outcome, Unread
from boxcheck.poisson import lower, upper
from boxcheck.probes.gpus import Gpus
from boxcheck.probes.kernel_log import KernelLogs
from boxcheck.probes.links import Links
from boxcheck.probes.pci import PciInventory
from boxcheck.probes.pcie_aer import Aer
from boxcheck.profile import load_profile
from boxcheck.registry import CHECKS, discover, run_check
from boxcheck.stress import StressResults
from boxcheck.stress.growth import Fall
from boxcheck.stress.link_ledger import Direction, Ledger
from boxcheck.stress.link_rates import (
    bounds_in_words,
    is_above,
    is_shown,
    per_bit,
    rate_of,
    seconds_to_show,
)
from boxcheck.stress.link_routes import OWN_FABRIC, Hop, LinkMap, crossed
from boxcheck.stress.tally import Tally, Watching
from boxcheck.telemetry.readings import Count, LinkReading
from tests.boxes import build
from tests.boxes.memory import host
from tests.stress.every_check import device, results, sample

discover()
PORT, CARD = Bdf("0000:40:01.1"), Bdf("0000:41:00.0")
"""Of the WOPR's slot PCIE3, which is the third GPU."""
TERA = 1_000_000_000_000
WANT = load_profile("generic")


@cache
def machine(box: str) -> Facts:
    return read_facts(host(build(box)))


def gpus_of(box: str, arch: str = "sm_89") -> tuple[GpuInfo, ...]:
    found = machine(box).of(Gpus)
    assert isinstance(found, Gpus)
    return tuple(device(at, bdf=gpu.bdf, arch=arch, unified=gpu.integrated) for at, gpu in enumerate(found.gpus))


def where(box: str, arch: str = "sm_89") -> LinkMap:
    return map_of(gpus_of(box, arch), machine(box))


def run(moved: dict[str, int], *, box: str = "wopr-7x4090", module: str = "copy", **watching: Any) -> tuple[
        StressResults, Watching]:
    """A run of the box's GPUs that moved so many bytes over two minutes."""
    made = results(module, [sample("copy.both", moved=moved)], gpus=gpus_of(box))
    found = where(box)
    fields = {"seconds": 120.0, "links": tuple(found.ends), **watching}
    return made[StressResults], msgspec.structs.replace(made[Watching], **fields)


def judged(moved: dict[str, int], *, box: str = "wopr-7x4090", module: str = "copy", **watching: Any) -> dict[
        tuple[str, str], Finding]:
    """Findings by the port of the link and `to` or `from` the card."""
    ran, saw = run(moved, box=box, module=module, **watching)
    facts = [machine(box).of(kind) for kind in (Links, Aer, PciInventory, KernelLogs)]
    found = list(run_check(CHECKS["stress.link-rate"], [ran, saw, *facts], WANT))
    return {(str(one.subject.bdf), one.says.partition(" ")[0]): one for one in found}


EACH_WAY = {f"{a}>{b}": TERA for at in range(7) for a, b in ((f"cuda:{at}", "host"), ("host", f"cuda:{at}"))}


@pytest.mark.parametrize(("count", "chi_square_95"), [
    (0, 5.991), (1, 9.488), (2, 12.592), (4, 18.307), (9, 31.410), (14, 43.773)])
def test_the_upper_bound_is_half_of_the_tabled_chi_square_quantile(count: int, chi_square_95: float) -> None:
    """NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.4: upper critical values at 0.05 for 2(k + 1) degrees."""
    assert 2 * upper(count) == pytest.approx(chi_square_95, abs=6e-4)


@pytest.mark.parametrize(("count", "chi_square_05"), [(1, 0.103), (2, 0.711), (5, 3.940), (10, 10.851), (15, 18.493)])
def test_the_lower_bound_is_half_of_the_tabled_chi_square_quantile(count: int, chi_square_05: float) -> None:
    """The same table, lower critical values at 0.05 for 2k degrees."""
    assert 2 * lower(count) == pytest.approx(chi_square_05, abs=6e-4)


def test_the_bounds_hold_as_often_as_they_say() -> None:
    """Counts of a known rate, drawn 4000 times: each bound is wrong in at most 5 %, and not much less often."""
    source, mean = random.Random(3), 6.5
    wrong_high = wrong_low = 0
    for _ in range(4000):
        count, time = 0, source.expovariate(1.0)
        while time < mean:
            count, time = count + 1, time + source.expovariate(1.0)
        wrong_high += upper(count) < mean
        wrong_low += lower(count) > mean
    assert 0.01 < wrong_high / 4000 < 0.055
    assert 0.01 < wrong_low / 4000 < 0.055


def direction(bits: int = 10 ** 12, errors: int = 0, **changes: Any) -> Direction:
    hop = Hop(port=PORT, card=CARD, gigatransfers=16.0, lanes=16)
    fields: dict[str, Any] = {
        "hop": hop, "toward": "card", "payload_bits": bits, "most_bits": 3.0 * bits, "seconds": 60.0,
        "received": {"BadTLP": errors} if errors else {}, **changes}
    return Direction(**fields)


def test_zero_is_a_bound() -> None:
    assert bounds_in_words(direction(10 ** 14)) == "below 3.0e-14 per bit at 95 %"


def test_one_error_in_a_thousand_million_bits_is_above_the_specification() -> None:
    one = direction(10 ** 9, 1)
    assert is_above(one, 1e-12)
    assert bounds_in_words(one) == "1.7e-11 to 4.8e-09 per bit at 95 %"


@pytest.mark.parametrize(("bits", "shown"), [(2_995_732_273_553, False), (2_995_732_273_555, True)])
def test_a_rate_is_shown_by_the_last_bit_that_it_needs(bits: int, shown: bool) -> None:
    assert is_shown(direction(bits), 1e-12) is shown
    assert (seconds_to_show(direction(bits), 1e-12) == 0.0) is shown


def test_how_much_longer_goes_by_the_pace_so_far() -> None:
    assert seconds_to_show(direction(10 ** 12), 1e-12) == pytest.approx(60 * 1.99573, rel=1e-4)
    assert seconds_to_show(direction(10 ** 12, 1), 1e-12) is None  # at the rate so far it is never shown
    assert seconds_to_show(direction(2 * 10 ** 12, 1), 1e-12) == pytest.approx(60 * 1.37193, rel=1e-3)


def test_what_may_have_been_more_has_a_lower_bound_alone() -> None:
    rate = rate_of(direction(errors=50, at_least=("in bursts",)))
    assert rate is not None
    assert rate.at_most is None
    assert rate.at_least is not None
    assert bounds_in_words(direction(errors=50, at_least=("in bursts",))) == "at least 1.3e-11 per bit at 95 %"
    assert rate_of(direction(at_least=("its counters fell",))) is None


def test_one_packet_under_two_names_is_proven_once_and_allowed_for_twice() -> None:
    rate = rate_of(direction(received={"RxErr": 10, "BadTLP": 10}))
    assert rate is not None
    assert rate.at_most == pytest.approx(upper(20) / 1e12)
    assert rate.at_least == pytest.approx(lower(10) / 3e12)


def test_said_bounds_are_rounded_so_that_they_hold() -> None:
    assert [per_bit(value) for value in (2.9957e-14, 3e-14, 1e-12, 9.91e-13, 9.99e-13)] == [
        "3.0e-14", "3.0e-14", "1.0e-12", "1.0e-12", "1.0e-12"]


# The way that bytes took


def test_bytes_from_the_host_cross_every_link_down_to_a_card_with_its_own_switch() -> None:
    found = where("tinybox-red", "gfx1100")
    assert crossed("host>cuda:0", found).hops == (("0000:00:01.1", "card"), ("0000:02:00.0", "card"))
    assert crossed("cuda:0>host", found).hops == (("0000:00:01.1", "host"), ("0000:02:00.0", "host"))
    assert found.hops[Bdf("0000:00:01.1")].card == "0000:01:00.0"
    assert found.hops[Bdf("0000:02:00.0")].on_card


def test_bytes_between_two_root_ports_go_up_one_and_down_the_other() -> None:
    assert crossed("cuda:0>cuda:2", where("wopr-7x4090")).hops == (("0000:00:01.1", "host"), (PORT, "card"))


def test_bytes_that_may_go_over_nvlink_are_not_attributed() -> None:
    crossing = crossed("cuda:0>cuda:2", where("wopr-7x4090", "sm_80"))
    assert crossing.hops == ()
    assert crossing.unknown == OWN_FABRIC


def below_one_switch() -> LinkMap:
    """Two cards below a switch below one root port."""
    hops = {Bdf(port): Hop(port=Bdf(port), card=Bdf(card)) for port, card in (
        ("0000:00:01.0", "0000:01:00.0"), ("0000:02:00.0", "0000:03:00.0"), ("0000:02:01.0", "0000:04:00.0"))}
    up, one, other = hops
    return LinkMap(hops=hops, ways={"cuda:0": (up, one), "cuda:1": (up, other)},
                   pcie_alone=frozenset(("cuda:0", "cuda:1")))


def test_bytes_below_one_switch_are_put_up_to_it_and_no_further() -> None:
    crossing = crossed("cuda:0>cuda:1", below_one_switch())
    assert crossing.hops == (("0000:02:00.0", "host"), ("0000:02:01.0", "card"))
    assert crossing.unknown is not None
    assert crossed("host>cuda:1", below_one_switch()).hops == (("0000:00:01.0", "card"), ("0000:02:01.0", "card"))


def test_the_uplink_of_two_cards_carries_the_bytes_of_both() -> None:
    found = below_one_switch()
    ledger = Ledger(found)
    info = (device(0, bdf=Bdf("0000:03:00.0")), device(1, bdf=Bdf("0000:04:00.0")))
    made = results("copy", [sample("copy", moved={"host>cuda:0": 5, "host>cuda:1": 7, "cuda:0>cuda:1": 100})], gpus=info)
    ledger.add(made[StressResults], made[Watching])
    bits = {(one.hop.port, one.toward): one.payload_bits for one in ledger.directions() if one.payload_bits}
    assert bits == {("0000:00:01.0", "card"): 8 * 12, ("0000:02:00.0", "card"): 8 * 5,
                    ("0000:02:01.0", "card"): 8 * 107, ("0000:02:00.0", "host"): 8 * 100}
    assert list(ledger.unattributed.values()) == [100]


def test_a_gpu_in_the_hosts_memory_has_no_link_to_measure() -> None:
    found = where("strix-halo")
    assert found.ways == {}
    assert found.hops == {}
    assert {"0000:00:08.1", "0000:c3:00.0"} <= {*found.ends}


def test_a_gpu_that_reaches_the_host_over_nvlink_has_no_bytes_on_its_link() -> None:
    gpus = tuple(msgspec.structs.replace(info, name="NVIDIA GH200 480GB") for info in gpus_of("wopr-7x4090"))
    assert map_of(gpus, machine("wopr-7x4090")).ways == {}


# Who counts, and what that means


@pytest.mark.parametrize(("counter", "name", "port", "way"), [
    (CARD, "BadTLP", PORT, "to"), (PORT, "BadTLP", PORT, "from"), (CARD, "RxErr", PORT, "to"),
    (PORT, "BadDLLP", PORT, "from"), (PORT, "Timeout", PORT, "to"), (CARD, "Timeout", PORT, "from")])
def test_the_receiver_tells_of_damage_and_the_sender_of_silence(counter: Bdf, name: str, port: Bdf, way: str) -> None:
    found = judged(EACH_WAY, link_errors={counter: {name: 1}})
    blamed = {place: one for place, one in found.items() if one.outcome is not Outcome.PASS}
    assert {*blamed} == {(port, way)}
    (finding,) = blamed.values()
    assert finding.outcome is Outcome.MARGINAL
    assert finding.subject.slot == "PCIE3"
    assert f"1 {name} at {counter}" in finding.says
    assert len(found) == 14


def test_the_link_on_a_card_is_told_from_the_slots() -> None:
    box = "tinybox-red"
    moved = {"host>cuda:0": TERA, "cuda:0>host": TERA}
    found = judged(moved, box=box, link_errors={Bdf("0000:03:00.0"): {"BadTLP": 2}})
    blamed = {place: one for place, one in found.items() if one.outcome is Outcome.MARGINAL}
    assert {*blamed} == {("0000:02:00.0", "to")}
    (finding,) = blamed.values()
    assert "on the card" in finding.subject.name
    assert finding.subject.slot is None


def test_a_clean_link_tells_its_bound_and_what_shows_more() -> None:
    found = judged({"host>cuda:2": TERA // 8, "cuda:2>host": TERA})
    assert found[PORT, "to"].outcome is Outcome.PASS
    assert found[PORT, "to"].says == (
        "to the card: no error in 1.0e12 bits (0.12 TB), below 3.0e-12 per bit at 95 %; 4 min more show 1.0e-12")
    assert "more show" not in found[PORT, "from"].says
    assert found["0000:00:01.1", "to"].outcome is Outcome.UNKNOWN
    assert "no byte is known to have crossed it" in found["0000:00:01.1", "to"].says


def test_a_module_that_moves_nothing_asks_for_no_rate() -> None:
    ran, saw = run({}, module="matmul")
    facts = [machine("wopr-7x4090").of(kind) for kind in (Links, Aer, PciInventory, KernelLogs)]
    (finding,) = run_check(CHECKS["stress.link-rate"], [ran, saw, *facts], WANT)
    assert finding.outcome is Outcome.SKIP


@pytest.mark.parametrize(("box", "blind", "says"), [
    ("wopr-7x4090+aer-firmware-owned", ("to", "from"), "firmware keeps AER"),
    ("wopr-7x4090+noaer", ("to", "from"), "pci=noaer"),
    ("wopr-7x4090+aer-masked", ("from",), "it masks RxErr, BadTLP"),
    ("wopr-7x4090+card-without-aer", ("to",), "no AER")])
def test_an_end_that_counts_nothing_leaves_its_direction_unknown(box: str, blind: tuple[str, ...], says: str) -> None:
    found = judged(EACH_WAY, box=box)
    for way in ("to", "from"):
        one = found[PORT, way]
        assert one.outcome is (Outcome.UNKNOWN if way in blind else Outcome.PASS), one.says
        assert (says in one.says) is (way in blind), one.says
        assert "below" not in one.says or way not in blind


def test_what_an_ordinary_user_cannot_read_is_unknown_and_asks_for_root() -> None:
    hop = Hop(port=PORT, card=CARD, silent={PORT: Unread("config space needs root", "permission")})
    made = results("copy", [sample("copy", moved={"host>cuda:0": TERA, "cuda:0>host": TERA})], gpus=(
        device(0, bdf=CARD),))
    ledger = Ledger(LinkMap(hops={PORT: hop}, ways={"cuda:0": (PORT,)}))
    ledger.add(made[StressResults], msgspec.structs.replace(made[Watching], links=(PORT, CARD)))
    by_way = {one.toward: one for one in ledger.directions()}
    assert by_way["card"].unread is None
    assert by_way["host"].unread is not None
    assert by_way["host"].needs_root


def test_counters_that_were_read_once_give_no_bound() -> None:
    found = judged(EACH_WAY, links=(PORT,))
    assert found[PORT, "from"].outcome is Outcome.PASS
    assert found[PORT, "to"].outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("fields", [
    {"reset_links": (CARD,)}, {"unread_links": {CARD: "it did not answer"}}])
def test_counters_that_began_anew_or_were_not_read_are_no_zero(fields: dict[str, Any]) -> None:
    none = judged(EACH_WAY, **fields)
    assert none[PORT, "to"].outcome is Outcome.UNKNOWN
    assert none[PORT, "from"].outcome is Outcome.PASS
    some = judged(EACH_WAY, link_errors={CARD: {"BadTLP": 4}}, **fields)
    assert some[PORT, "to"].outcome is Outcome.MARGINAL
    assert "at least 4 BadTLP" in some[PORT, "to"].says


@pytest.mark.parametrize(("steps", "count", "least"), [
    ({CARD: {"BadTLP": 2}}, 20, False), ({CARD: {"BadTLP": 3}}, 20, True), ({}, 59, False), ({}, 60, True)])
def test_errors_that_come_near_one_a_second_or_in_bursts_are_at_least(
    steps: dict[Bdf, dict[str, int]], count: int, least: bool
) -> None:
    found = judged(EACH_WAY, link_errors={CARD: {"BadTLP": count}}, link_steps=steps)
    assert (" at least " in found[PORT, "to"].says) is least


def test_a_rollover_fails_whatever_the_rate() -> None:
    assert judged(EACH_WAY, link_errors={PORT: {"Rollover": 1}})[PORT, "to"].outcome is Outcome.FAIL


@pytest.mark.parametrize(("speed", "count", "outcome"), [(16.0, 40, "marginal"), (16.0, 42, "fail"), (8.0, 27, "fail")])
def test_a_link_fails_where_its_rate_is_proven_over_all_that_it_can_have_moved(
    speed: float, count: int, outcome: str
) -> None:
    fast, wide = Fall(best=speed, least=speed), Fall(best=16.0, least=16.0)
    found = judged(EACH_WAY, link_errors={CARD: {"BadTLP": count}}, link_speeds_gts={PORT: fast}, link_widths={PORT: wide})
    assert found[PORT, "to"].outcome == outcome


def test_growth_in_bursts_is_seen_by_the_tally() -> None:
    tally = Tally((device(0, bdf=CARD),))
    for at, count in enumerate((7, 7, 8, 12, 12)):
        tally.add([LinkReading(
            bdf=CARD, monotonic_seconds=float(at), speed_gts=16.0, width=16, nonfatal=(), fatal=(),
            correctable=(Count("BadTLP", count),))])
    tally.add([LinkReading(
        bdf=CARD, monotonic_seconds=9.0, speed_gts=16.0, width=16, nonfatal=None, fatal=None,
        correctable=Unread("it was busy", "error"))])
    found = tally.result()
    assert found.link_errors == {CARD: {"BadTLP": 5}}
    assert found.link_steps == {CARD: {"BadTLP": 4}}
    assert found.unread_links == {CARD: "it was busy"}


@pytest.mark.parametrize("kind", ["correctable", "nonfatal", "fatal"])
def test_a_counter_of_any_kind_that_was_not_read_is_told(kind: str) -> None:
    tally = Tally((device(0, bdf=CARD),))
    for at, told in enumerate(((), Unread("it holds no counters", "malformed"), ())):
        counts: dict[str, Any] = {"correctable": (Count("BadTLP", 7),), "nonfatal": (), "fatal": (), kind: told}
        tally.add([LinkReading(bdf=CARD, monotonic_seconds=float(at), speed_gts=16.0, width=16, **counts)])
    assert tally.result().unread_links == {CARD: "it holds no counters"}

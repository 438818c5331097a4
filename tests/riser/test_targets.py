"""Links of whole boxes as they can be measured."""

from __future__ import annotations

from functools import cache

import pytest

from boxcheck.engine.inspect import Facts, read_facts
from boxcheck.model import Unread
from boxcheck.probes.gpus import Gpus
from boxcheck.probes.links import Links
from boxcheck.profile import load_profile
from boxcheck.riser.measuring.targets import Measurable, measurable
from tests.boxes import build
from tests.boxes.memory import host
from tests.stress.every_check import device

WANT = load_profile("generic")


@cache
def facts(box: str) -> Facts:
    return read_facts(host(build(box)))


def of(box: str, *, with_devices: bool = True, profile: str = "generic") -> Measurable:
    known = facts(box)
    links, gpus = known.of(Links), known.of(Gpus)
    assert isinstance(links, Links)
    assert isinstance(gpus, Gpus)
    devices = tuple(device(at, bdf=gpu.bdf, arch="sm_89") for at, gpu in enumerate(gpus.gpus)) if with_devices else ()
    slots = [(gpu.slot or str(gpu.slot_link), links.links[gpu.slot_link]) for gpu in gpus.gpus if gpu.slot_link]
    found = measurable(slots, known, load_profile(profile), devices)
    assert isinstance(found, Measurable)
    return found


def test_each_card_carries_the_traffic_of_its_own_slot() -> None:
    found = of("wopr-7x4090")
    assert [target.keys for target in found.targets] == [(f"cuda:{at}",) for at in range(7)]
    assert len({target.port for target in found.targets}) == 7
    assert all(target.pair is not None and target.pair.port.bdf == target.port for target in found.targets)
    assert {(target.full_width, target.full_speed_gts) for target in found.targets} == {(16, 16.0)}
    assert all(len(target.gpus) == 1 and target.gpus[0][1] == "10de" for target in found.targets)


def test_without_a_runtime_links_are_measured_all_the_same() -> None:
    found = of("wopr-7x4090", with_devices=False)
    assert [target.keys for target in found.targets] == [()] * 7
    assert found.targets[2].hop.card is not None
    assert found.of(found.targets[3].slot) is found.targets[3]
    assert found.of("nowhere") is None


def test_a_profile_says_what_a_link_must_be() -> None:
    bad = of("wopr-7x4090+riser-x8")
    assert {target.full_width for target in bad.targets} == {16}


def test_the_slot_of_a_card_with_a_switch_of_its_own_is_measured_above_that_switch() -> None:
    found = of("tinybox-red")
    assert not any(target.hop.on_card for target in found.targets)
    assert [len(target.keys) for target in found.targets] == [1] * 6
    assert all(len(found.where.ways[target.keys[0]]) == 2 for target in found.targets)
    assert all(target.gpus[0][1] == "1002" and target.gpus[0][0] != target.hop.card for target in found.targets)


def test_a_user_who_may_not_read_whether_an_end_reports_gets_no_bound() -> None:
    found = of("wopr-7x4090+not-root")
    (unread,) = {type(why) for target in found.targets for why in target.hop.silent.values()}
    assert unread is Unread
    assert all(len(target.hop.silent) == 2 and target.pair is None for target in found.targets)
    assert not any(target.status_bits for target in found.targets)


@pytest.mark.parametrize("box", ["wopr-7x4090+aer-firmware-owned", "wopr-7x4090+noaer"])
def test_where_the_kernel_does_not_count_the_status_bits_are_looked_at(box: str) -> None:
    found = of(box)
    assert all(target.status_bits == {target.port, target.hop.card} for target in found.targets)


def test_a_card_that_does_not_report_blinds_one_direction() -> None:
    found = of("wopr-7x4090+aer-reporting-off")
    blind = [target for target in found.targets if target.status_bits]
    assert [target.status_bits for target in blind] == [{blind[0].hop.card}]


def test_a_card_that_did_not_train_is_a_link_without_one() -> None:
    known = facts("wopr-7x4090+link-down-card-present")
    links = known.of(Links)
    assert isinstance(links, Links)
    (down,) = [link for link in links.links.values() if link.presence_detect and link.upstream is None]
    found = measurable([("PCIE3", down)], known, WANT)
    assert isinstance(found, Measurable)
    (target,) = found.targets
    assert (target.present, target.active, target.hop.card, target.keys) == (True, False, None, ())


def test_facts_that_were_not_read_are_no_links() -> None:
    assert isinstance(measurable([], Facts(), WANT), Unread)

"""What is known of links without measuring: what doctor excludes of settings, and why errors are not known."""

from __future__ import annotations

import pytest

from boxcheck.engine.inspect import read_facts
from boxcheck.host.capture import CaptureHost
from boxcheck.profile import load_profile
from boxcheck.riser.parts import seats_of
from boxcheck.riser.still import UNCOUNTED, looks_in, settings_excluded
from boxcheck.riser.suspects.weigh import weigh
from tests.riser.facts import facts_of
from tests.riser.suspects.notebooks import boot, notebook, places

RECORDED = "tests/boxes/recorded"


@pytest.mark.parametrize(("box", "slot", "excluded"), [
    ("tinybox-red+hidden-gen3-behind-1478", "PCIE3", "a BIOS speed cap"), ("wopr-7x4090+riser-x8", "PCIE3", "bifurcated to fewer lanes")])
def test_what_doctor_excludes_of_settings_is_handed_over_for_its_slot(
        box: str, slot: str, excluded: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    facts, want = facts_of(box, box.partition("+")[0], str(tmp_path_factory.getbasetemp()))
    found = settings_excluded(facts, want, seats_of(facts, want))
    assert list(found) == [slot]
    assert excluded in found[slot][0]


def test_why_errors_are_not_known_is_said_as_doctor_says_it() -> None:
    ways = {}
    for name in ("noaer-6.1", "wopr-6.1"):
        facts, want = read_facts(CaptureHost(f"{RECORDED}/{name}.tar.gz")), load_profile("generic")
        ways[name] = {way.toward: way.unread for look in looks_in(seats_of(facts, want), facts, want) for way in look.ways}
    assert ways["noaer-6.1"] == {
        "card": "the card counts no errors: pci=noaer on the kernel command line switches AER off",
        "host": "the port counts no errors: pci=noaer on the kernel command line switches AER off"}
    assert set(ways["wopr-6.1"].values()) == {UNCOUNTED}


def test_a_link_whose_counters_were_read_once_is_not_said_to_count_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    facts, want = facts_of("wopr-7x4090", "wopr-7x4090", str(tmp_path_factory.getbasetemp()))
    looks = looks_in(seats_of(facts, want), facts, want)
    says = weigh(notebook(boot(0, places(7), looks))).says
    assert f"errors of PCIE3 were not counted ({UNCOUNTED}): lost lanes" in says

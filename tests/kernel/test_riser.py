"""`boxcheck riser` on a real kernel: errors at one end of one of four links, and experiments that write to a link whose
training somebody outside does.

No runtime drives the cards of this machine, so errors are counted without traffic: what is proven is the right link, class
and direction, and that a link is left as it was found.
"""

from __future__ import annotations

import json

import pytest

from tests.kernel.bench import Machine, on_every_kernel
from tests.kernel.training import LNKCTL, LNKCTL2, TARGET, Link, Trained, training

TOPOLOGY = "riser-links"
ERRORS = {("rp2", "BAD_TLP"): ("host", "received", "BadTLP", 12), ("g1", "BAD_DLLP"): ("card", "received", "BadDLLP", 5),
          ("g0", "REP_TIMER"): ("host", "unanswered", "Timeout", 7)}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "machine" in metafunc.fixturenames:
        metafunc.parametrize("machine", on_every_kernel(TOPOLOGY)[:1], indirect=True, scope="module")


def test_links_under_errors_are_ranked_with_class_and_direction(machine: Machine) -> None:
    for name, _ in ERRORS:
        machine.space(name)

    def act() -> None:
        for (name, error), (_, _, _, count) in ERRORS.items():
            machine.inject_counted(name, error, count)

    done = machine.boxcheck_under(["riser", "--all", "--seconds", "12", "--json", "-"], act, once="errors are counted")
    assert done.exit == 1, done.err[-2000:]
    told = json.loads(done.out)
    looks = {look["slot"]: look for look in told["looks"]}
    assert len(looks) == 4
    counted = {
        (slot, way["toward"], kind, name): count
        for slot, look in looks.items() for way in look["ways"] for kind in ("received", "unanswered")
        for name, count in way.get(kind, {}).items()}
    expected = {
        (machine.bdf(f"rp{name[-1]}"), toward, kind, label): count
        for (name, _), (toward, kind, label, count) in ERRORS.items()}
    assert counted == expected
    standings = {link["slot"]: link["standing"] for link in told["links"]}
    # 12 in 12 s at x16 are proven to be above 1e-12 whatever crossed; 5 are not, and time-outs prove no damaged bit.
    assert standings == {
        machine.bdf("rp2"): "failing", machine.bdf("rp1"): "marginal", machine.bdf("rp0"): "marginal",
        machine.bdf("rp3"): "unread"}, "no payload crossed the last: no error is no bound"


def test_an_error_whose_interrupt_never_came_makes_its_direction_unread(machine: Machine) -> None:
    """A status bit that stands at a card, put there from outside: the kernel was not told, so it neither counts nor
    clears it. The other end of that link, and the other links, are read as before."""
    card = machine.space("g3")
    status = card.extended(1) + 0x10
    try:
        card.set_long(status, 1 << 6, 1 << 6)
        done = machine.guest.boxcheck("riser", "--all", "--seconds", "6", "--json", "-")
        assert card.long(status) & 1 << 6, "the kernel has not cleared it"
    finally:
        card.set_long(status, 0, 1 << 6)
    told = json.loads(done.out)
    unread = {(look["slot"], way["toward"]): way["unread"] for look in told["looks"] for way in look["ways"] if way.get("unread")}
    assert set(unread) == {(machine.bdf("rp3"), "card")}, unread
    assert f"the counters of {machine.bdf('g3')} are stuck: BadTLP stands in its AER status" in unread[machine.bdf("rp3"), "card"]


def test_experiments_write_to_one_link_and_leave_it_as_it_was(machine: Machine) -> None:
    """Retrained ten times, of which three come back with half the lanes; run at lower speeds, since errors were counted;
    put back to what it was."""
    links = {slot: Link(machine.space(f"rp{slot}"), machine.space(f"g{slot}"), seconds=0) for slot in range(4)}
    tries = 0

    def sometimes_narrow(target: float) -> Trained:
        nonlocal tries
        tries += 1
        return Trained(target, 8 if tries in (3, 6, 9) else 16)

    links[1].outcome = sometimes_narrow
    port = links[1].port
    with training({f"g{slot}": link for slot, link in links.items()}):
        before = [port.word(port.express + at) for at in (LNKCTL, LNKCTL2)]
        done = machine.boxcheck_under(
            ["riser", machine.bdf("rp1"), "--seconds", "3", "--retrain", "10", "--allow-writes", "--json", "-"],
            lambda: machine.inject_counted("g1", "BAD_TLP", 3), once="errors are counted", links=links.values(), limit=300)
        assert done.exit in (3, 75), done.err[-3000:]
        after = [port.word(port.express + at) for at in (LNKCTL, LNKCTL2)]
    told = json.loads(done.out)
    tried = {one["name"]: one for one in told["tried"]}
    assert tried["retrained often"]["says"].startswith(
        "7 of 10 retrainings came back x16 at 16 GT/s; 3 with fewer lanes"), tried["retrained often"]
    assert any(name.endswith("GT/s") for name in tried), tried
    assert after == before
    assert before[1] & TARGET == 4
    assert links[1].trained[-1] == Trained(16.0, 16)
    assert [len(links[slot].trained) for slot in (0, 2, 3)] == [0, 0, 0]
    (boot,) = told["experiment"]["boots"]
    damaged = [way for look in boot["looks"] if look["slot"] == machine.bdf("rp1") for way in look["ways"]
               if way.get("received")]
    assert damaged[0]["toward"] == "card"
    assert damaged[0]["received"] == {"BadTLP": 3}


def test_a_locked_kernel_is_said_beforehand_and_nothing_is_written(machine: Machine) -> None:
    machine.guest.sh("mountpoint -q /sys/kernel/security || mount -t securityfs security /sys/kernel/security; "
                     "echo integrity >/sys/kernel/security/lockdown")
    done = machine.guest.boxcheck(*["riser", machine.bdf("rp3"), "--seconds", "2", "--allow-writes", "--json", "-"])
    left = {one["name"]: one for one in json.loads(done.out)["tried"] if not one["done"]}
    assert "lockdown" in left["retrain"]["says"]

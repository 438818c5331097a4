"""Six cards with a switch of their own (1002:1478, 1002:1479), as RDNA cards have: what the GPU shows is the card's own link."""

from __future__ import annotations

from tests.kernel.bench import Machine

TOPOLOGY = "tinybox-red"


def short(machine: Machine, name: str) -> str:
    return machine.bdf(name).removeprefix("0000:")


def test_the_hop_in_the_slot_is_judged_and_not_the_one_on_the_card(machine: Machine) -> None:
    machine.space("s1").link(width=8)
    machine.space("g2").link(width=4)
    machine.space("s4").link(speed_gts=8.0)
    assert (machine.text("rp1", "current_link_width"), machine.text("g1", "current_link_width")) == ("8", "16")
    assert (machine.text("rp2", "current_link_width"), machine.text("g2", "current_link_width")) == ("16", "4")
    found = machine.doctor("pcie", "inventory.gpu-count", "--profile", "generic")
    width = [found.of("pcie.link-width", machine.bdf(f"g{slot}"))[0] for slot in range(6)]
    assert [item.outcome for item in width] == ["pass", "marginal", "pass", "pass", "pass", "pass"]
    # No profile describes this machine, and boards announce lanes that nobody wired.
    assert width[1].says == "trained x8, x16 required"
    assert width[1].cause == f"link:{machine.bdf('rp1')}"
    # The card's own link is told too, as its own, beside the slot's that is whole.
    own = found.of("pcie.link-width", machine.bdf("g2"))[1]
    assert (own.outcome, own.says) == ("marginal", "the link on the card trained x4, x16 required")
    assert own.cause == f"link:{machine.bdf('d2')}"
    speed = [found.one("pcie.link-speed", machine.bdf(f"g{slot}")) for slot in range(6)]
    assert [item.outcome for item in speed] == ["pass", "pass", "pass", "pass", "unknown", "pass"]
    assert speed[4].says.startswith("runs at 8.0 GT/s at rest, 16.0 required")
    assert len(found.problems) == 2, found.problems
    for name in ("s1", "g2", "s4"):
        machine.space(name).link(16, 16.0)
    after = machine.doctor("pcie.link-width", "pcie.link-speed")
    assert {item.outcome for item in after.findings} == {"pass"}


def test_errors_are_told_of_the_link_that_made_them(machine: Machine) -> None:
    """rp1 and s2 are the two ends of slot links; d3 and g4 the two ends of links on cards."""
    for name in ("rp1", "s2", "d3", "g4"):
        machine.inject_counted(name, "BAD_TLP", 3)
    machine.inject("s5", "COMP_TIME")
    for name in ("rp1", "s2", "d3", "g4"):
        assert machine.settled(name, "correctable", 3) == {"BadTLP": 3, "TOTAL_ERR_COR": 3}
    assert machine.settled("s5", "nonfatal", 1) == {"CmpltTO": 1, "TOTAL_ERR_NONFATAL": 1}
    found = machine.doctor("aer", "--profile", "generic")
    wrong = {(item.bdf, item.cause): item.says for item in found.of("aer.correctable") if item.outcome in ("marginal", "fail")}
    assert wrong.keys() == {
        (machine.bdf("g1"), f"link:{machine.bdf('rp1')}"), (machine.bdf("g2"), f"link:{machine.bdf('rp2')}"),
        (machine.bdf("g3"), f"link:{machine.bdf('d3')}"), (machine.bdf("g4"), f"link:{machine.bdf('d4')}")}
    says = {bdf: text for (bdf, _), text in wrong.items()}
    assert says[machine.bdf("g1")].startswith(f"3 BadTLP at the port {short(machine, 'rp1')} since boot")
    assert says[machine.bdf("g2")].startswith(f"3 BadTLP at the card {short(machine, 's2')} since boot")
    assert says[machine.bdf("g3")].startswith(f"3 BadTLP at the port {short(machine, 'd3')} since boot, on the card itself")
    assert says[machine.bdf("g4")].startswith(f"3 BadTLP at the card {short(machine, 'g4')} since boot, on the card itself")
    for slot in (0, 5):
        assert [item.outcome for item in found.of("aer.correctable", machine.bdf(f"g{slot}"))] == ["pass"]
    uncorrected = [found.one("aer.uncorrectable", machine.bdf(f"g{slot}")) for slot in range(6)]
    assert [item.outcome for item in uncorrected] == ["pass"] * 5 + ["fail"]
    assert f"1 CmpltTO (nonfatal) at {short(machine, 's5')}" in uncorrected[5].says

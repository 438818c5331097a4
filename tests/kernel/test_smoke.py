"""One boot, one GPU, one error: the shortest proof that what boxcheck reads is what happens."""

from __future__ import annotations

from tests.kernel.bench import boot
from tests.kernel.fetch import Bench
from tests.kernel.topology import ONE_GPU


def test_one_error_is_counted_and_told(bench: Bench) -> None:
    with boot(bench, ONE_GPU) as machine:
        before = machine.counters("g0")
        assert before == {}
        machine.inject("g0", "BAD_TLP")
        assert machine.settled("g0", "correctable", 1) == {"BadTLP": 1, "TOTAL_ERR_COR": 1}
        found = machine.doctor("aer", "pcie.link-width", "pcie.link-speed", "--profile", "generic")
        card = machine.bdf("g0")
        assert found.one("aer.live", card).outcome == "pass"
        said = found.one("aer.correctable", card)
        assert said.says.startswith(f"1 BadTLP at the card {card[5:]}"), said.says
        assert said.outcome in ("marginal", "fail")
        assert found.one("aer.uncorrectable", card).outcome == "pass"
        assert found.one("pcie.link-width", card).says == "trained x16, x16 required"
        process = machine.guest.process
        folder = machine.guest.folder
    assert process.returncode is not None, "the guest is gone with its machine"
    assert not folder.exists()

"""A line of an area says `ok` of what was looked at alone, and never that all is well beside something that is not."""

from __future__ import annotations

from functools import cache

import msgspec
import pytest

from boxcheck.account import Account
from boxcheck.commands.doctor import Options, choose_profile
from boxcheck.engine.inspect import inspect_facts, name_slots, read_facts
from boxcheck.model import BOX, Finding, Outcome
from boxcheck.registry import CHECKS, discover
from boxcheck.report.summary import account_of
from boxcheck.report.text import Style, account_text
from tests.boxes import build
from tests.boxes.memory import host as host_of


@cache
def _account(box: str, profile: str | None = None) -> Account:
    discover()
    host = host_of(build(box))
    facts = read_facts(host)
    want, certain, why = choose_profile(Options(profile=profile), facts)
    name_slots(facts, want)
    checks = tuple(check for check in CHECKS.values() if check.stress is None)
    return account_of(
        host=host, facts=facts, profile=want, certain=certain, why=why, checks=checks, started=0.0, elapsed_seconds=0.0,
        sysroot=None, verdict=inspect_facts(facts, want, checks, profile_certain=certain))


def _areas(account: Account) -> dict[str, tuple[str, str]]:
    """Area -> its word and its text."""
    words = ("ok", "FAIL", "unknown", "marginal")
    lines = account_text(account, Style(columns=400)).split("\n\n")[1].splitlines()
    parted = [line.split(maxsplit=2) for line in lines]
    assert parted
    assert all(parts[0] in words for parts in parted)
    return {parts[1]: (parts[0], parts[2]) for parts in parted}


@pytest.mark.parametrize(("box", "word"), [
    ("wopr-7x4090+link-down-card-present", "FAIL"), ("wopr-7x4090+switch-uplink-gen3", "FAIL"),
    ("wopr-7x4090+internal-errors", "marginal")])
def test_what_is_wrong_beside_the_links_of_gpus_is_not_called_as_it_should_be(box: str, word: str) -> None:
    said, text = _areas(_account(box))["pcie"]
    assert said == word
    assert "as they should be" not in text
    assert "GPU links pass by themselves · 1 problem" in text


def test_all_links_of_a_sound_box_are_as_they_should_be() -> None:
    assert _areas(_account("wopr-7x4090"))["pcie"] == ("ok", "7 of 7 GPU links as they should be")


def test_a_link_that_nothing_judged_is_not_counted_as_good() -> None:
    account = _account("wopr-7x4090")
    first = msgspec.structs.replace(account.link_rows[0], outcome="skip")
    from boxcheck.report.summary import _links

    assert _links([first, *account.link_rows[1:]], True) == "6 of 7 GPU links as they should be, 1 not judged"


def test_a_link_that_was_not_read_is_not_told_like_a_bad_one() -> None:
    from boxcheck.report.summary import _links

    rows = _account("wopr-7x4090").link_rows

    def of(*outcomes: str) -> str:
        return _links([msgspec.structs.replace(row, outcome=word) for row, word in zip(rows, outcomes, strict=True)], False)

    assert of(*["unknown"] * 7) == "7 of 7 GPU links not fully read"
    assert of("fail", *["unknown"] * 6) == "6 of 7 GPU links not fully read, 1 not as it should be"
    assert of("fail", "marginal", "skip", "pass", *["unknown"] * 3) == (
        "3 of 7 GPU links not fully read, 1 as they should be, 2 not as they should be, 1 not judged")


def test_a_box_of_no_profile_says_how_little_of_it_was_judged() -> None:
    """Its model, memory and GPUs are shown, and by nothing that says what they must be."""
    for account in (_account("laptop"), _account("wopr-7x4090", "generic")):
        areas = _areas(account)
        assert set(areas) > {"platform", "kernel"}
        for area, (_, text) in areas.items():
            assert text.endswith(" judged"), area
    assert not any(text.endswith(" judged") for _, text in _areas(_account("wopr-7x4090")).values())


@pytest.mark.parametrize(("outcome", "word"), [(Outcome.SKIP, None), (Outcome.UNKNOWN, "unknown")])
def test_an_area_of_which_nothing_was_judged_is_not_ok(outcome: Outcome, word: str | None) -> None:
    account = _account("wopr-7x4090")
    others = [one for one in account.verdict.findings if not one.check.startswith("nic.")]
    alone = Finding(check="nic.present", subject=BOX, outcome=outcome, says="nobody looked", blocker=False)
    verdict = msgspec.structs.replace(account.verdict, findings=(*others, alone))
    said = _areas(msgspec.structs.replace(account, verdict=verdict)).get("network")
    assert (said[0] if said else None) == word


def test_who_has_no_gpu_is_not_sent_to_a_profile_that_gives_no_verdict_either() -> None:
    bare = account_text(_account("laptop"), Style(columns=400))
    assert "`boxcheck demo` shows what is said of boxes with GPUs" in bare
    assert "--profile generic" not in bare

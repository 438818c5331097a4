"""`boxcheck checks`, `explain` and `profile show`: widths, units, and commands that can be copied."""

from __future__ import annotations

import pytest

from boxcheck.commands.catalogue import explanation
from boxcheck.commands.glossary import TERMS
from boxcheck.model import Limit
from boxcheck.profile import load_profile
from boxcheck.registry import CHECKS, discover
from boxcheck.report.profile import bound_text
from boxcheck.report.wrapping import commands
from tests.cli.test_doctor import boxcheck

discover()


@pytest.mark.parametrize("columns", [60, 80])
def test_an_explanation_fits_and_breaks_no_command(columns: int) -> None:
    profile = load_profile("wopr-7x4090")
    for check in CHECKS.values():
        # What is wider is a command and nothing else but the brackets it stands in.
        for line in explanation(check, profile, columns).splitlines():
            if len(line) > columns:
                (start, end), = commands(line)
                assert not (line[:start] + line[end:]).strip(" (`),.;"), check.id


def test_explain_takes_the_width_that_it_is_told() -> None:
    done = boxcheck("explain", "pcie.slot-power", COLUMNS="60")
    assert done.returncode == 0
    assert all(len(line) <= 60 for line in done.stdout.splitlines())


@pytest.mark.parametrize(
    ("limit", "bound", "wanted"),
    [
        (Limit(name="limits.memlock_bytes", compare="ge", unit="bytes"), 64 << 30, "at least 64 GiB"),
        (Limit(name="cpu.sockets", compare="eq", unit="sockets"), 1, "1 socket"),
        (Limit(name="cpu.sockets", compare="eq", unit="sockets"), 2, "2 sockets"),
        (Limit(name="link.speed_gts", compare="ge", unit="GT/s"), 1.0, "at least 1 GT/s"),
        (Limit(name="link.slot_power_watts", compare="ge", unit="W"), 75.0, "at least 75 W"),
        (Limit(name="memory.ecc", compare="eq", unit=""), True, "true"),
    ],
)
def test_a_bound_is_shown_with_its_unit(limit: Limit, bound: object, wanted: str) -> None:
    assert bound_text(limit, bound) == wanted


def test_sizes_are_in_gib_for_people() -> None:
    assert "at least 64 GiB" in boxcheck("profile", "show", "wopr-7x4090").stdout
    assert "should be at least 64 GiB" in boxcheck("explain", "limits.memlock", "--profile", "wopr-7x4090").stdout


def test_a_kind_and_its_number_are_taken_as_two_words_too() -> None:
    assert boxcheck("explain", "xid", "79").stdout == boxcheck("explain", "xid.79").stdout != ""
    assert boxcheck("explain", "Xid", "79").stdout == boxcheck("explain", "xid.79").stdout
    assert "did you mean xid.79?" in boxcheck("explain", "79").stderr


def test_a_term_of_two_words_needs_no_quotes() -> None:
    assert boxcheck("explain", "root", "port").stdout == boxcheck("explain", "root port").stdout != ""


def test_without_a_word_all_terms_are_named() -> None:
    told = " ".join(boxcheck("explain").stdout.split())
    assert [term for term in TERMS if term not in told] == []


@pytest.mark.parametrize("word", [
    "PARTIAL", "partial", "DPC", "KFD", "SMBIOS", "goal", "capture", "disposition", "acceptance", "store", "slot"])
def test_words_of_the_screen_are_explained(word: str) -> None:
    done = boxcheck("explain", word)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > 2


@pytest.mark.parametrize(("word", "check"), [
    ("pcie", "pcie.link-width"), ("storage", "disk.free"), ("acs/iommu", "acs.redirect"), ("atomics", "atomics.route")])
def test_an_area_and_a_row_of_the_account_tell_their_checks(word: str, check: str) -> None:
    done = boxcheck("explain", word, COLUMNS="80")
    assert done.returncode == 0, done.stderr
    assert any(line.startswith(f"  {check} ") for line in done.stdout.splitlines())
    assert all(len(line) <= 80 for line in done.stdout.splitlines())


def test_the_list_keeps_to_the_columns_that_it_is_told_and_is_a_line_a_check_for_grep() -> None:
    told = boxcheck("checks", COLUMNS="80").stdout.splitlines()
    assert max(map(len, told)) <= 80
    plain = boxcheck("checks", COLUMNS="").stdout.splitlines()
    assert len(plain) == len(CHECKS) < len(told)
